"""Cases (案件): what becomes of a finding, from notice and reply to a certificate. The door to all their verbs.

``open_from`` opens them from an assessment, ``open_one`` from one finding; ``review``, ``issue``, ``reply`` and ``rule`` hear them; ``act`` begins
what they are for; ``settle`` takes in what became of an order; ``advance`` moves what time moves. Every verb of a
person takes the generation that the page showed; a stale one is refused. Read through ``case`` and ``queue``.
"""

from __future__ import annotations

from metering.cases import (
    authorisations,
    certificates,
    deadlines,
    enforcement,
    exemptions,
    files,
    hearings,
    matching,
    notices,
    openings,
    protections,
    recoveries,
    safeguards,
    surges,
    suspensions,
    windows,
)
from metering.cases.authorisations import Authorisation
from metering.cases.deadlines import advance, exempt
from metering.cases.enforcement import act, confirm_deletion, keep, last_look, objection, restore, roll_back
from metering.cases.exemptions import CATEGORY_LABELS, Category, Exemption
from metering.cases.figures import risk_label
from metering.cases.files import (
    TURNS,
    URGENT,
    Case,
    acts,
    case,
    close,
    confirmed_by,
    lock,
    may_answer,
    move,
    open_case,
    visible,
    whose_turn,
)
from metering.cases.hearings import dismiss, issue, reply, review, rule, withdraw
from metering.cases.notices import Notice
from metering.cases.openings import SKIPS, Opening, open_one
from metering.cases.safeguards import Obstacle
from metering.cases.steps import (
    ANSWER_LABELS,
    CONSENT_LABELS,
    DECISION_LABELS,
    ENDING_LABELS,
    MATTER_LABELS,
    OPEN,
    STATE_LABELS,
    Act,
    Answer,
    Consent,
    Decision,
    Ending,
    State,
    next_order,
)
from metering.cases.surges import Outcome, Surge
from metering.cases.suspensions import Suspension

__all__ = [
    "ANSWER_LABELS",
    "CATEGORY_LABELS",
    "CONSENT_LABELS",
    "DECISION_LABELS",
    "ENDING_LABELS",
    "MATTER_LABELS",
    "OPEN",
    "SKIPS",
    "STATE_LABELS",
    "TURNS",
    "URGENT",
    "Act",
    "Answer",
    "Authorisation",
    "Case",
    "Category",
    "Consent",
    "Decision",
    "Ending",
    "Exemption",
    "Notice",
    "Obstacle",
    "Opening",
    "Outcome",
    "State",
    "Surge",
    "Suspension",
    "act",
    "acts",
    "advance",
    "authorisations",
    "case",
    "certificates",
    "close",
    "confirm_deletion",
    "confirmed_by",
    "deadlines",
    "dismiss",
    "enforcement",
    "exempt",
    "exemptions",
    "files",
    "hearings",
    "issue",
    "keep",
    "last_look",
    "lock",
    "matching",
    "may_answer",
    "move",
    "next_order",
    "notices",
    "objection",
    "open_case",
    "open_one",
    "openings",
    "protections",
    "recoveries",
    "reply",
    "restore",
    "review",
    "risk_label",
    "roll_back",
    "rule",
    "safeguards",
    "surges",
    "suspensions",
    "visible",
    "whose_turn",
    "windows",
    "withdraw",
]
