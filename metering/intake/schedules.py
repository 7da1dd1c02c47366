"""When each pool is collected, and how far back it is asked: an interval and a window of its own, changed on record.

The window bounds what is made up for: the first collection asks so far back, and one after an outage no further. What lies
between the last mark and the window is named as missed on the pool's mark (collection.Intake), and comes in when people have it
read again, within a wider window if need be.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid

if TYPE_CHECKING:
    from quota.db import Tx

LEAST_MINUTES, MOST_MINUTES = 5, 1440
MOST_DAYS = 400

EARLY = timedelta(seconds=30)
"""So much before its time a pool is due, as runs begin a little early or late."""


class PoolSchedule(Base):
    """采集安排 of one pool, where it is not the usual one."""

    __tablename__ = "pool_schedules"

    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), primary_key=True)
    every_minutes: Mapped[int]
    window_days: Mapped[int]


@dataclass(frozen=True, slots=True)
class CollectionPace:
    """every_minutes: from one collection to the next; window_days: how far back is asked at the most."""

    every_minutes: int = LEAST_MINUTES
    window_days: int = 90

    @property
    def every(self) -> timedelta:
        return timedelta(minutes=self.every_minutes)

    @property
    def window(self) -> timedelta:
        return timedelta(days=self.window_days)

    def due(self, last: datetime | None, now: datetime) -> bool:
        """Whether a pool that was collected at ``last`` is to be collected again."""
        return last is None or now - last >= self.every - EARLY


USUAL = CollectionPace()


def pace(tx: Tx, pool_id: int) -> CollectionPace:
    """How a pool is collected."""
    row = tx.get(PoolSchedule, pool_id)
    return CollectionPace(row.every_minutes, row.window_days) if row else USUAL


def arrange(tx: Tx, pool: Pool, wanted: CollectionPace, *, before: CollectionPace) -> None:
    """Collect ``pool`` as ``wanted``; ``before``: as the page showed it, Conflict where it is otherwise by now. Raises Invalid
    naming the field."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    if not LEAST_MINUTES <= wanted.every_minutes <= MOST_MINUTES:
        raise Invalid(
            "schedule.every", N_("采集间隔须在 %(least)s 到 %(most)s 分钟之间"), least=LEAST_MINUTES, most=MOST_MINUTES,
            field="every_minutes",
        )  # fmt: skip
    if not 1 <= wanted.window_days <= MOST_DAYS:
        raise Invalid("schedule.window", N_("回补窗口须在 1 到 %(most)s 天之间"), most=MOST_DAYS, field="window_days")
    if wanted.window < 2 * wanted.every:  # what came late, and the minutes by which a collection is late itself
        raise Invalid("schedule.short", N_("回补窗口至少要有两个采集间隔长"), field="window_days")
    tx.refresh(pool, with_for_update=True)
    now = pace(tx, pool.id)
    if now != before:
        raise Conflict("schedule.stale", N_("采集安排已被他人修改，请重新打开页面"))
    if now == wanted:
        return
    row = tx.get(PoolSchedule, pool.id)
    if row is None:
        row = PoolSchedule(pool_id=pool.id, every_minutes=0, window_days=0)
        tx.add(row)
    row.every_minutes, row.window_days = wanted.every_minutes, wanted.window_days
    tx.audit("pool.schedule", f"pool:{pool.id}", before=asdict(now), after=asdict(wanted))
    tx.flush()
