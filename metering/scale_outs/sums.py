"""Machines that tiers were given and gave back: how many, and how much, in a span."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select, true

from metering.scale_outs.scale_outs import ScaleOut, ScaleOutEnding
from quota.inventory import Tier
from quota.units import CLASSES, NOTHING, Amount

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class ScaleOutSum:
    """``added`` in the span, and what they have; ``returned`` and ``kept`` for good in it; ``there`` at its end, lent still."""

    added: int = 0
    returned: int = 0
    kept: int = 0
    there: int = 0
    amounts: Amount = NOTHING


def summed(
    tx: Tx, since: datetime | None = None, until: datetime | None = None, *where: ColumnElement[bool]
) -> ScaleOutSum:
    """Of what was delivered at all, from ``since`` on and before ``until``; ``where``: of these (`ScaleOut` joined with `Tier`). Summed
    where they lie."""

    def within(at: Any) -> ColumnElement[bool]:
        return and_(at >= since if since else true(), at < until if until else true(), at.is_not(None))

    def count(*holds: ColumnElement[bool]) -> Any:
        return func.count(case((and_(*holds), 1)))

    one, closed = ScaleOut, ScaleOut.closed_at
    came = within(one.delivered_at)
    there = and_(
        one.delivered_at < until if until else true(),
        closed.is_(None) if not until else or_(closed.is_(None), closed >= until),
    )
    columns = [
        count(came),
        count(within(closed), one.ending == ScaleOutEnding.RETURNED.value),
        count(within(closed), one.ending == ScaleOutEnding.KEPT.value),
        count(there),
        *(func.sum(case((came, one.shape[cls].as_integer()))) for cls in CLASSES),
    ]
    query = select(*columns).join(Tier, Tier.id == one.tier_id).where(one.delivered_at.is_not(None), *where)
    added, returned, kept, still, *sums = tx.execute(query).one()
    amounts = Amount({cls: int(figure) for cls, figure in zip(CLASSES, sums, strict=True) if figure})
    return ScaleOutSum(added, returned, kept, still, amounts)
