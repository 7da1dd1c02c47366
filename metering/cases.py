"""Cases (案件): what becomes of a finding, from notice and reply to a certificate. The door to all their verbs.

``open_from`` opens them from an assessment; ``review``, ``issue``, ``reply``, ``rule`` hear them.
"""

from __future__ import annotations

from metering.case_files import (
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
from metering.case_steps import (
    Act,
    Answer,
    CaseKind,
    Consent,
    Decision,
    Ending,
    Matter,
    Procedure,
    State,
)
from metering.hearings import dismiss, issue, reply, review, rule, withdraw
from metering.openings import SKIPS, Opening, open_from

__all__ = [
    "SKIPS",
    "Act",
    "Answer",
    "Case",
    "CaseKind",
    "Confirmation",
    "Consent",
    "Decision",
    "Ending",
    "Matter",
    "Opening",
    "Procedure",
    "Reply",
    "Ruling",
    "State",
    "Turn",
    "acts",
    "case",
    "dismiss",
    "issue",
    "open_case",
    "open_from",
    "queue",
    "reply",
    "review",
    "rule",
    "timeline",
    "visible",
    "whose_turn",
    "withdraw",
]
