"""When each pool is collected, and how far back it is asked: an interval, a look-back and a window of its own (providers.paces),
changed on record. An agent beside a cloud is told its pool's, and reads the cloud by it.

The window bounds what is made up for: the first collection asks so far back, and one after an outage no further. What lies
between the last mark and the window is named as missed on the pool's mark (collection.Intake), and comes in when people have it
read again, within a wider window if need be.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from providers.paces import USUAL, CollectionPace
from quota.actors import Role
from quota.base import Base
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid

if TYPE_CHECKING:
    from quota.db import Tx

LEAST_MINUTES, MOST_MINUTES = 5, 1440
MOST_DAYS = 400
LEAST_LOOKBACK, MOST_LOOKBACK = 1, 48
"""Hours."""


class PoolSchedule(Base):
    """采集安排 of one pool, where it is not the usual one."""

    __tablename__ = "pool_schedules"

    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), primary_key=True)
    every_minutes: Mapped[int]
    window_days: Mapped[int]
    lookback_hours: Mapped[int] = mapped_column(default=2, server_default="2")


def pace(tx: Tx, pool_id: int) -> CollectionPace:
    """How a pool is collected."""
    row = tx.get(PoolSchedule, pool_id)
    return CollectionPace(row.every_minutes, row.window_days, row.lookback_hours) if row else USUAL


def check_lookback(hours: int) -> None:
    """Raises Invalid for what is out of bounds."""
    if not LEAST_LOOKBACK <= hours <= MOST_LOOKBACK:
        raise Invalid(
            "schedule.lookback", N_("回看须在 %(least)s 到 %(most)s 小时之间"), least=LEAST_LOOKBACK, most=MOST_LOOKBACK,
            field="lookback_hours",
        )  # fmt: skip


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
    check_lookback(wanted.lookback_hours)
    if wanted.window < wanted.lookback:
        raise Invalid("schedule.short_of_lookback", N_("回补窗口不能短于回看"), field="lookback_hours")
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
    row.lookback_hours = wanted.lookback_hours
    tx.audit("pool.schedule", f"pool:{pool.id}", before=asdict(now), after=asdict(wanted))
    tx.flush()
