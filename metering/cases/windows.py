"""When something may be changed: windows of the week, and freezes (重保期) in which nothing is taken away.

What is given back is never kept waiting by either. Where no window is set, any time will do, but what shuts a running machine down to
change its size is done at night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, String, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Pool
from quota.errors import N_, Invalid, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

REACH_DAYS = 60
"""How far ahead the next opening is looked for; it is looked for anew every few minutes."""


class ChangeWindow(Base):
    """Weekly hours in which orders that take something away may be sent. ``pool_id`` None: in every pool.

    ``weekdays``: ISO numbers of the days on which it begins ("67": Saturday and Sunday). ``begins`` and ``ends`` are
    minutes of the local day; an end not after the beginning is of the next day.
    """

    __tablename__ = "change_windows"
    __table_args__ = (CheckConstraint("begins BETWEEN 0 AND 1439 AND ends BETWEEN 0 AND 1440", name="minutes"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"), index=True)
    weekdays: Mapped[str] = mapped_column(String(7))
    begins: Mapped[int]
    ends: Mapped[int]
    set_by: Mapped[str] = mapped_column(String(64))
    set_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]

    pool: Mapped[Pool | None] = relationship()

    def span(self) -> WeeklyHours:
        return WeeklyHours(frozenset(int(day) for day in self.weekdays), self.begins, self.ends)


class ChangeFreeze(Base):
    """Local days ``first_day`` to ``last_day``, both included, on which nothing is taken away. None: in every pool."""

    __tablename__ = "change_freezes"
    __table_args__ = (CheckConstraint("last_day >= first_day", name="days"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"), index=True)
    first_day: Mapped[date]
    last_day: Mapped[date]
    reason: Mapped[str] = mapped_column(String(256))
    set_by: Mapped[str] = mapped_column(String(64))
    set_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]

    pool: Mapped[Pool | None] = relationship()


@dataclass(frozen=True, slots=True)
class WeeklyHours:
    """Minutes ``begins`` to ``ends`` of the days that are in ``weekdays`` (1 = Monday)."""

    weekdays: frozenset[int]
    begins: int
    ends: int


NIGHTS = WeeklyHours(frozenset(range(1, 8)), 22 * 60, 6 * 60)
"""When a running machine may be shut down where no window is set; our own default, in whose place any window comes."""


def next_open(spans: Sequence[WeeklyHours], frozen: Sequence[tuple[date, date]], moment: datetime) -> datetime | None:
    """The first instant from ``moment`` on that lies in one of ``spans`` (none: any time) and on no frozen day.

    Pure. None where there is none within REACH_DAYS.
    """
    today = moment.astimezone(ZONE).date()
    best: datetime | None = None
    for ahead in range(-1, REACH_DAYS):
        day = today + timedelta(days=ahead)
        for span in spans or (WeeklyHours(frozenset(range(1, 8)), 0, 1440),):
            if day.isoweekday() not in span.weekdays:
                continue
            start = datetime.combine(day, time(), ZONE) + timedelta(minutes=span.begins)
            end = datetime.combine(day, time(), ZONE) + timedelta(
                minutes=span.ends + (1440 if span.ends <= span.begins else 0)
            )
            found = max(start, moment)
            while found < end and any(first <= found.astimezone(ZONE).date() <= last for first, last in frozen):
                found = datetime.combine(found.astimezone(ZONE).date() + timedelta(days=1), time(), ZONE)
            if found < end and (best is None or found < best):
                best = found
        if best is not None and ahead >= 0:
            return best
    return best


def opening(tx: Tx, pool_id: int, *, any_time: bool = False, restarts: bool = False) -> datetime:
    """From when on the pool may be changed: now, or the next opening; with none in sight, far ahead. ``any_time``: by the
    freezes alone, windows or not. ``restarts``: by what shuts a running machine down, which is done at NIGHTS where no window is set."""
    spans = [one.span() for one in windows(tx) if one.pool_id in (None, pool_id)] if not any_time else []
    if restarts and not spans:
        spans = [NIGHTS]
    frozen = [(one.first_day, one.last_day) for one in freezes(tx) if one.pool_id in (None, pool_id)]
    return next_open(spans, frozen, tx.now) or tx.now + timedelta(days=REACH_DAYS)


def windows(tx: Tx) -> list[ChangeWindow]:
    """The windows that hold."""
    query = select(ChangeWindow).where(ChangeWindow.lifted_at.is_(None)).order_by(ChangeWindow.id)
    return list(tx.scalars(query))


def freezes(tx: Tx) -> list[ChangeFreeze]:
    """The freezes that hold or are to come."""
    today = tx.now.astimezone(ZONE).date()
    query = (
        select(ChangeFreeze)
        .where(ChangeFreeze.lifted_at.is_(None), ChangeFreeze.last_day >= today)
        .order_by(ChangeFreeze.first_day, ChangeFreeze.id)
    )
    return list(tx.scalars(query))


def set_window(tx: Tx, weekdays: str, begins: int, ends: int, pool_id: int | None = None) -> ChangeWindow:
    """Let changes be made in these hours (too). Raises Invalid for days or hours that are none."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    days = "".join(sorted(set(weekdays)))
    if not days or set(days) - set("1234567"):
        raise Invalid("window.days", N_("请选择星期"), field="weekdays")
    if not (0 <= begins < 1440 and 0 <= ends <= 1440) or begins == ends:
        raise Invalid("window.hours", N_("请填写起止时刻,两者不能相同"), field="begins")
    row = ChangeWindow(pool_id=pool_id, weekdays=days, begins=begins, ends=ends, set_by=tx.actor.login, set_at=tx.now)
    tx.add(row)
    tx.flush()
    told = {"pool": pool_id, "weekdays": days, "begins": begins, "ends": ends}
    tx.audit("window.set", f"change_window:{row.id}", after=told)
    return row


def freeze(tx: Tx, first_day: date, last_day: date, reason: str, pool_id: int | None = None) -> ChangeFreeze:
    """Take nothing away on these days. Raises Invalid for days that are past or the wrong way round."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    if last_day < first_day or last_day < tx.now.astimezone(ZONE).date():
        raise Invalid("freeze.days", N_("结束日不能早于开始日或今天"), field="last_day")
    stated(reason, code="freeze.reason", message=N_("请写明封网的理由"))
    row = ChangeFreeze(
        pool_id=pool_id,
        first_day=first_day,
        last_day=last_day,
        reason=reason.strip()[:256],
        set_by=tx.actor.login,
        set_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    told = {"pool": pool_id, "first_day": first_day, "last_day": last_day}
    tx.audit("freeze.set", f"change_freeze:{row.id}", after=told, reason=row.reason)
    return row


def lift(tx: Tx, row: ChangeWindow | ChangeFreeze) -> None:
    """A window or a freeze holds no longer. WrongState where it did not."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    tx.lock(row)
    if row.lifted_at is not None:
        raise WrongState("window.lifted", N_("已经取消"))
    row.lifted_at = tx.now
    name = "change_window" if isinstance(row, ChangeWindow) else "change_freeze"
    tx.audit("window.lift", f"{name}:{row.id}")


def window(tx: Tx, window_id: int) -> ChangeWindow:
    """The window, or NotFound."""
    found = tx.get(ChangeWindow, window_id)
    if found is None:
        raise NotFound("window.none", N_("没有编号为 %(id)s 的变更窗口"), id=window_id)
    return found


def frozen(tx: Tx, freeze_id: int) -> ChangeFreeze:
    """The freeze, or NotFound."""
    found = tx.get(ChangeFreeze, freeze_id)
    if found is None:
        raise NotFound("freeze.none", N_("没有编号为 %(id)s 的封网期"), id=freeze_id)
    return found
