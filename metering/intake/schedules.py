"""When each pool is collected, and how far back it is asked: an interval, a look-back and a window of its own, changed on record.

The look-back is how far behind the last mark each collection asks again, for samples that a store took in late. What comes later
still is found by a second reading: once a day, six hours into it, the days before that were not yet read twice are asked for anew,
after what is new: a second reading that fails keeps nothing from coming in.

The window bounds what is made up for: the first collection asks so far back, and one after an outage no further. What lies
between the last mark and the window is named as missed on the pool's mark (collection.Intake), and comes in when people have it
read again, within a wider window if need be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from providers.agents import ADAPTER
from providers.base import ProviderFault
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, Refused

if TYPE_CHECKING:
    from quota.db import Tx

log = logging.getLogger("guanjia.intake")

LEAST_MINUTES, MOST_MINUTES = 5, 1440
MOST_DAYS = 400
LEAST_LOOKBACK, MOST_LOOKBACK = 1, 48
"""Hours."""
TRIES = 3
"""So often a second reading is tried in a day; the next day's begins where it would have."""
SETTLED = timedelta(hours=6)
"""So long after its end a day is read a second time: most stores have by then what they take in late."""

EARLY = timedelta(seconds=30)
"""So much before its time a pool is due, as runs begin a little early or late."""


class PoolSchedule(Base):
    """采集安排 of one pool, where it is not the usual one."""

    __tablename__ = "pool_schedules"

    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), primary_key=True)
    every_minutes: Mapped[int]
    window_days: Mapped[int]
    lookback_hours: Mapped[int] = mapped_column(default=2, server_default="2")


@dataclass(frozen=True, slots=True)
class CollectionPace:
    """every_minutes: from one collection to the next; window_days: how far back is asked at the most; lookback_hours: how far behind
    the last collection each asks again."""

    every_minutes: int = LEAST_MINUTES
    window_days: int = 90
    lookback_hours: int = 2

    @property
    def every(self) -> timedelta:
        return timedelta(minutes=self.every_minutes)

    @property
    def window(self) -> timedelta:
        return timedelta(days=self.window_days)

    @property
    def lookback(self) -> timedelta:
        return timedelta(hours=self.lookback_hours)

    def due(self, last: datetime | None, now: datetime) -> bool:
        """Whether a pool that was collected at ``last`` is to be collected again."""
        return last is None or now - last >= self.every - EARLY


USUAL = CollectionPace()


def pace(tx: Tx, pool_id: int) -> CollectionPace:
    """How a pool is collected."""
    row = tx.get(PoolSchedule, pool_id)
    return CollectionPace(row.every_minutes, row.window_days, row.lookback_hours) if row else USUAL


def day_of_second_reading(now: datetime) -> date:
    """The local day on which, at ``now``, the day before is to have been read twice."""
    return (now - SETTLED).astimezone(ZONE).date()


@dataclass(frozen=True, slots=True)
class SecondReading:
    """The days before ``day`` that are to be read twice, from ``since`` on; ``tries`` that failed, and what was said of the last."""

    day: date
    since: datetime
    tries: int = 0
    said: str = ""

    def pieces(self, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Local days, or parts of them, none beyond ``end``."""
        since, end = self.since, min(end, _midnight(self.day))
        while since < end:
            until = min(_midnight(since.astimezone(ZONE).date() + timedelta(days=1)), end)
            yield since, until
            since = until

    def to_json(self) -> dict[str, Any]:
        since = self.since.astimezone(UTC).isoformat()
        return {"day": self.day.isoformat(), "since": since, "tries": self.tries, "said": self.said}


def second_reading(now: datetime, done: date | None, kept: Mapping[str, Any], oldest: datetime) -> SecondReading | None:
    """What is to be read twice at ``now``; None where that was done, or was tried TRIES times today. ``done``: the day of which this
    was last done; ``kept``: how far one came that was begun (``SecondReading.to_json``); ``oldest``: nothing before is asked for."""
    day = day_of_second_reading(now)
    if done is not None and done >= day:
        return None
    if kept.get("day") == day.isoformat():
        found = SecondReading(day, datetime.fromisoformat(kept["since"]), kept["tries"], kept["said"])
        return found if found.tries < TRIES else None
    first = day - timedelta(days=1)
    return SecondReading(day, max(_midnight(min(done or first, first)), oldest))


def read_again(
    second: SecondReading, end: datetime, read: Callable[[datetime, datetime], None], budget_s: float
) -> SecondReading | None:
    """Read piece by piece up to ``end``, and no further piece once ``budget_s`` have passed. How far it came; None: all was read."""
    begun = monotonic()
    try:
        for since, until in second.pieces(end):
            if since > second.since and monotonic() - begun > budget_s:
                return second
            read(since, until)
            second = replace(second, since=until)
    except Exception as error:  # told where people look; what is new was entered before
        if not isinstance(error, (ProviderFault, Refused)):
            log.exception("second reading of %s", second.day)
        return replace(second, tries=second.tries + 1, said=str(error)[:2000])
    return None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ZONE)


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
    if pool.adapter == ADAPTER and wanted.lookback != USUAL.lookback:
        raise Invalid(
            "schedule.agent_lookback", N_("由代理采集的资源池，回看由代理定：每小时回看两小时"), field="lookback_hours"
        )
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
