"""Approval rules as data, and what follows from them: facts that conditions speak of, conditions, what rules say of a request,
and rules as a document that people exchange. All of it is pure."""

from __future__ import annotations

from quota.requests.rules.conditions import OPERATORS, Condition, Facts, holds, truth, why
from quota.requests.rules.documents import CODE, MOST_BYTES, RESERVED, RuleText, read, written
from quota.requests.rules.paths import (
    LONGEST_REASON,
    MAY_TAKE,
    OUTCOME_LABELS,
    SIGNED,
    STEP_LABELS,
    Ground,
    Judgement,
    Outcome,
    Rule,
    Step,
    StepName,
    allowed,
    check,
    in_force,
    judge,
    path,
    signers,
)
from quota.requests.rules.vocabulary import ADDED, FACTS, NAMED, RuleFact

__all__ = [
    "ADDED",
    "CODE",
    "FACTS",
    "LONGEST_REASON",
    "MAY_TAKE",
    "MOST_BYTES",
    "NAMED",
    "OPERATORS",
    "OUTCOME_LABELS",
    "RESERVED",
    "SIGNED",
    "STEP_LABELS",
    "Condition",
    "Facts",
    "Ground",
    "Judgement",
    "Outcome",
    "Rule",
    "RuleFact",
    "RuleText",
    "Step",
    "StepName",
    "allowed",
    "check",
    "holds",
    "in_force",
    "judge",
    "path",
    "read",
    "signers",
    "truth",
    "why",
    "written",
]
