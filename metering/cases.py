"""Cases (案件): what becomes of a finding, from notice and reply to a certificate. The door to all their verbs.

``open_from`` opens them from an assessment, ``open_one`` from one finding; ``review``, ``issue``, ``reply`` and ``rule`` hear them; ``act`` begins
what they are for; ``settle`` takes in what became of an order; ``advance`` moves what time moves. Every verb of a
person takes the generation that the page showed; a stale one is refused. Read through ``case`` and ``queue``.
"""

from __future__ import annotations

from metering.case_files import (
    URGENT,
    Case,
    Confirmation,
    Reply,
    Ruling,
    Turn,
    acts,
    case,
    open_case,
    queue,
    timeline,
    visible,
    whose_turn,
)
from metering.case_steps import Act, Answer, Consent, Decision, Ending, Matter, State
from metering.certificates import Certificate, certificate
from metering.deadlines import Advanced, advance, advance_all, exempt
from metering.enforcement import (
    act,
    confirm_deletion,
    current_order,
    keep,
    last_look,
    objection,
    restore,
    roll_back,
    settle,
)
from metering.hearings import dismiss, issue, reply, review, rule, withdraw
from metering.openings import SKIPS, Opening, open_from, open_one
from metering.procedure import CaseKind, Procedure
from metering.recoveries import Recoveries, Regret, recoveries, regret

__all__ = [
    "SKIPS",
    "URGENT",
    "Act",
    "Advanced",
    "Answer",
    "Case",
    "CaseKind",
    "Certificate",
    "Confirmation",
    "Consent",
    "Decision",
    "Ending",
    "Matter",
    "Opening",
    "Procedure",
    "Recoveries",
    "Regret",
    "Reply",
    "Ruling",
    "State",
    "Turn",
    "act",
    "acts",
    "advance",
    "advance_all",
    "case",
    "certificate",
    "confirm_deletion",
    "current_order",
    "dismiss",
    "exempt",
    "issue",
    "keep",
    "last_look",
    "objection",
    "open_case",
    "open_from",
    "open_one",
    "queue",
    "recoveries",
    "regret",
    "reply",
    "restore",
    "review",
    "roll_back",
    "rule",
    "settle",
    "timeline",
    "visible",
    "whose_turn",
    "withdraw",
]
