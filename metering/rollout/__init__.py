"""Starting softly: where findings become cases and where they are only looked at (试运行), how many letters go out a week,
and what waits for either.

``scopes`` says for which departments and pools cases are opened; ``ceilings`` how many letters may be sent in a week and
when the turn of what waits probably is; ``candidates`` keeps what the last opening passed over.
"""

from __future__ import annotations

from metering.rollout import candidates, ceilings, scopes
from metering.rollout.candidates import AwaitedCase, RolloutStanding, ShadowSum
from metering.rollout.ceilings import CeilingScope, LetterCeiling, LetterCeilings, LetterRoom
from metering.rollout.scopes import ScopeDecision, Scopes

__all__ = [
    "AwaitedCase",
    "CeilingScope",
    "LetterCeiling",
    "LetterCeilings",
    "LetterRoom",
    "RolloutStanding",
    "ScopeDecision",
    "Scopes",
    "ShadowSum",
    "candidates",
    "ceilings",
    "scopes",
]
