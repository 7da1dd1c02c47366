"""The rules of a city: enacted in versions that are never edited, drafted and signed by two before that, tried on what was asked of late."""

from __future__ import annotations

from quota.requests.rulebook import proposals
from quota.requests.rulebook.enactment import (
    DEFAULT_BASIS,
    DEFAULTS,
    ApprovalRule,
    default_rules,
    enact,
    enacted,
    ends_terms,
    in_force,
    named,
    newest,
    standing,
)
from quota.requests.rulebook.proposals import RuleDraft
from quota.requests.rulebook.trials import Changed, Trial, trial

__all__ = [
    "DEFAULTS",
    "DEFAULT_BASIS",
    "ApprovalRule",
    "Changed",
    "RuleDraft",
    "Trial",
    "default_rules",
    "enact",
    "enacted",
    "ends_terms",
    "in_force",
    "named",
    "newest",
    "proposals",
    "standing",
    "trial",
]
