"""Business calendars: when a department or a system is busy by its nature (月末, 报名, 考试, 节假日, 重保), as it says itself.

While one declared cycle has not been seen as a whole, and while a declared period runs, nothing is judged idle or
underused: a machine that works four days a year is not idle on the other days.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import chinese_calendar
from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Select, String, or_, select, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota import calendar
from quota.actors import Role
from quota.base import Base
from quota.directory import Department, System, departments, subtree
from quota.errors import N_, Invalid, NotAllowed, NotFound

if TYPE_CHECKING:
    from quota.db import Tx


class Recurs(StrEnum):
    """How often a period comes back, and with it how long a cycle is."""

    MONTHLY = "monthly"
    YEARLY = "yearly"
    FESTIVAL = "festival"
    ONCE = "once"


CYCLE_DAYS = {Recurs.MONTHLY: 31, Recurs.YEARLY: 366, Recurs.FESTIVAL: 366, Recurs.ONCE: 0}
MOST_DAYS = 183
"""Days of the coming year that may be declared busy for one department or system, all periods together: who is busy at any
time has no cycle to wait for, and would never be judged on its own word alone. That takes an exemption."""

ONCE_HELD = "Anti-Fascist 70th Day"
FESTIVALS = {name: label for name, label in calendar.FESTIVALS.items() if name != ONCE_HELD}
"""The festivals that come back every year."""
LABELS = {
    Recurs.MONTHLY: N_("每月"),
    Recurs.YEARLY: N_("每年"),
    Recurs.FESTIVAL: N_("节假日(含调休)"),
    Recurs.ONCE: N_("一次(重保等)"),
}


class BusinessPeriod(Base):
    """One declared busy period of a department (with all below it) or of one system.

    monthly: days ``first_day`` to ``last_day`` of the month, counted from its end where negative (-1 = the last);
    yearly and once: ``starts_on`` to ``ends_on`` (yearly: the year doesn't matter); festival: the holidays called
    ``festival``, with ``lead_days`` before and after.
    """

    __tablename__ = "business_periods"
    __table_args__ = (
        CheckConstraint("(department_id IS NULL) <> (system_id IS NULL)", name="one_owner"),
        CheckConstraint("lead_days BETWEEN 0 AND 60", name="lead_days"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    recurs: Mapped[str] = mapped_column(String(16))
    first_day: Mapped[int | None]
    last_day: Mapped[int | None]
    starts_on: Mapped[date | None]
    ends_on: Mapped[date | None]
    festival: Mapped[str] = mapped_column(String(32), default="")
    lead_days: Mapped[int] = mapped_column(default=0)
    declared_by: Mapped[str] = mapped_column(String(64))
    declared_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]

    department: Mapped[Department | None] = relationship()
    system: Mapped[System | None] = relationship()

    def span(self) -> Period:
        """The period as plain data."""
        return Period(
            self.name,
            Recurs(self.recurs),
            self.first_day,
            self.last_day,
            self.starts_on,
            self.ends_on,
            self.festival,
            self.lead_days,
        )


@dataclass(frozen=True, slots=True)
class Period:
    """When it is: see ``BusinessPeriod``. Pure."""

    name: str
    recurs: Recurs
    first_day: int | None = None
    last_day: int | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    festival: str = ""
    lead_days: int = 0

    @property
    def cycle_days(self) -> int:
        """Days that must have been seen before anything is judged idle."""
        return CYCLE_DAYS[self.recurs]

    def includes(self, day: date) -> bool:
        """Whether ``day`` is in it."""
        if self.recurs is Recurs.MONTHLY:
            return _in_month(day, self.first_day or 1, self.last_day or 1)
        if self.recurs is Recurs.FESTIVAL:
            return any(
                self.festival in holiday(day + timedelta(days=by)) for by in range(-self.lead_days, self.lead_days + 1)
            )
        if self.starts_on is None or self.ends_on is None:
            return False
        if self.recurs is Recurs.ONCE:
            return self.starts_on <= day <= self.ends_on
        low, high = _in_year(self.starts_on), _in_year(self.ends_on)
        at = _in_year(day)
        return low <= at <= high if low <= high else at >= low or at <= high

    def days_left(self, day: date) -> int:
        """Days until it ends, ``day`` among them; 0 where it does not run. At most a year."""
        left = 0
        while left < 366 and self.includes(day + timedelta(days=left)):
            left += 1
        return left


def _in_year(day: date) -> tuple[int, int]:
    return day.month, day.day


def _in_month(day: date, first: int, last: int) -> bool:
    length = ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)).day
    low, high = (edge if edge > 0 else length + 1 + edge for edge in (first, last))
    low, high = min(max(low, 1), length), min(max(high, 1), length)
    return low <= day.day <= high if low <= high else day.day >= low or day.day <= high


def holiday(day: date) -> Collection[str]:
    """The festivals whose days off ``day`` belongs to (调休 included), by the published calendar; where that is not
    published yet, those that it will likely belong to: nothing is taken from a department for want of a decree."""
    try:
        off, name = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        return calendar.usual(day)
    return [str(name)] if off and name else []


def hold(periods: Iterable[Period], seen_days: float, on: date) -> int:
    """Days for which a resource must still be left alone: until one whole cycle was seen, or a period that runs is
    over. 0 = judge it."""
    left = 0
    for one in periods:
        left = max(left, one.cycle_days - int(seen_days), one.days_left(on))
    return left


# ------------------------------------------------------------------------------------------------------------- verbs


def declare(
    tx: Tx,
    period: Period,
    *,
    department_id: int | None = None,
    system_id: int | None = None,
) -> BusinessPeriod:
    """Declare a busy period of a department or a system: by itself, or by the steward's staff for it.

    Raises Invalid for a period that can't be, or with which more than MOST_DAYS of the coming year are declared;
    NotAllowed for somebody else's department.
    """
    if (department_id is None) == (system_id is None):
        raise Invalid("business.owner", N_("请选择一个单位或一个信息系统"), field="system")
    system = tx.get(System, system_id) if system_id is not None else None
    if system_id is not None and system is None:
        raise NotFound("system.none", N_("没有编号为 %(id)s 的信息系统"), id=system_id)
    _may(tx, system.department_id if system else department_id)
    _check(period)
    holding = [*calendars(tx).of(system.department_id if system else department_id, system_id), period]
    today = tx.now.astimezone(calendar.ZONE).date()
    year = (today + timedelta(days=n) for n in range(366))
    if sum(any(one.includes(day) for one in holding) for day in year) > MOST_DAYS:
        raise Invalid(
            "business.always",
            N_("业务高峰日合计不得超过一年中的%(most)s天;全年不宜评判的资源,请申请豁免"),
            most=MOST_DAYS,
            field="recurs",
        )
    row = BusinessPeriod(
        department_id=department_id,
        system_id=system_id,
        name=period.name.strip(),
        recurs=period.recurs.value,
        first_day=period.first_day,
        last_day=period.last_day,
        starts_on=period.starts_on,
        ends_on=period.ends_on,
        festival=period.festival,
        lead_days=period.lead_days,
        declared_by=tx.actor.login,
        declared_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.audit("business.declare", f"business:{row.id}", after=_plain(row))
    return row


def withdraw(tx: Tx, period_id: int) -> BusinessPeriod:
    """Take a declaration back. Nothing happens where it was taken back before."""
    row = tx.scalar(select(BusinessPeriod).where(BusinessPeriod.id == period_id, visible(tx)))
    if row is None:
        raise NotFound("business.none", N_("没有编号为 %(id)s 的业务周期"), id=period_id)
    _may(tx, row.system.department_id if row.system else row.department_id)
    if row.withdrawn_at is None:
        row.withdrawn_at = tx.now
        tx.audit("business.withdraw", f"business:{row.id}", before=_plain(row))
    return row


def declared() -> Select[BusinessPeriod]:
    """Every declaration that holds."""
    return select(BusinessPeriod).where(BusinessPeriod.withdrawn_at.is_(None))


def visible(tx: Tx) -> ColumnElement[bool]:
    """A department sees what is declared for it and below; the steward's staff see all."""
    if tx.actor.role is not Role.TENANT:
        return true()
    mine = subtree(tx, tx.actor.department_id or -1)
    systems = select(System.id).where(System.department_id.in_(mine))
    return or_(BusinessPeriod.department_id.in_(mine), BusinessPeriod.system_id.in_(systems))


class Calendars:
    """The declared periods of the city, looked up by resource. ``closed``: departments that were merged into the one above
    them; what was declared for them holds for their successor, which has their machines now."""

    def __init__(
        self, rows: Sequence[BusinessPeriod], parents: Mapping[int, int | None], closed: Collection[int] = ()
    ) -> None:
        self.parents = parents
        self.of_department: dict[int, list[Period]] = {}
        self.of_system: dict[int, list[Period]] = {}
        for row in rows:
            if row.system_id is not None:
                self.of_system.setdefault(row.system_id, []).append(row.span())
            elif row.department_id is not None:
                owner = next((one for one in self.chain(row.department_id) if one not in closed), row.department_id)
                self.of_department.setdefault(owner, []).append(row.span())

    def chain(self, department_id: int | None) -> list[int]:
        """A department and those above it."""
        found: list[int] = []
        while department_id is not None and department_id not in found:
            found.append(department_id)
            department_id = self.parents.get(department_id)
        return found

    def of(self, department_id: int | None, system_id: int | None) -> list[Period]:
        """Periods that hold for a resource of this department and system."""
        found = list(self.of_system.get(system_id, ())) if system_id is not None else []
        for one in self.chain(department_id):
            found += self.of_department.get(one, ())
        return found


def calendars(tx: Tx) -> Calendars:
    """The declared periods of the city."""
    return _calendars(tx, select(Department.id, Department.parent_id, Department.active), declared())


def calendars_of(tx: Tx, department_id: int | None, system_id: int | None) -> Calendars:
    """The same, as far as they hold for one department and system."""
    chain = select(Department.id, Department.parent_id, Department.active).where(
        or_(Department.id.in_(departments.above(tx, department_id)), ~Department.active)
    )
    theirs = BusinessPeriod.department_id.in_(chain.with_only_columns(Department.id))
    return _calendars(tx, chain, declared().where(or_(theirs, BusinessPeriod.system_id == system_id)))


def _calendars(tx: Tx, whose: Select[int, int | None, bool], held: Select[BusinessPeriod]) -> Calendars:
    rows = tx.execute(whose).all()
    parents = {one: parent for one, parent, _active in rows}
    closed = {one for one, parent, active in rows if not active and parent is not None}
    return Calendars(tx.scalars(held.order_by(BusinessPeriod.id)).all(), parents, closed)


def _may(tx: Tx, department_id: int | None) -> None:
    if tx.actor.role in (Role.SUPERVISOR, Role.AUTHORITY, Role.SYSTEM):
        return
    if tx.actor.role is Role.TENANT and department_id in subtree(tx, tx.actor.department_id or -1):
        return
    raise NotAllowed("business.other", N_("只能为本单位申报业务周期"))


def _check(period: Period) -> None:
    if not 0 < len(period.name.strip()) <= 64:
        raise Invalid("business.name", N_("请填写名称,不超过64个字符"), field="name")
    if not 0 <= period.lead_days <= 60:
        raise Invalid("business.lead", N_("提前天数在0到60之间"), field="lead_days")
    if period.recurs is Recurs.MONTHLY:
        for field, value in (("first_day", period.first_day), ("last_day", period.last_day)):
            if value is None or value == 0 or not -31 <= value <= 31:
                raise Invalid("business.day", N_("请填写1到31,或从月末倒数的-1到-31"), field=field)
    elif period.recurs is Recurs.FESTIVAL:
        if period.festival not in FESTIVALS:
            raise Invalid("business.festival", N_("请选择一个节假日"), field="festival")
    elif period.starts_on is None or period.ends_on is None:
        raise Invalid("business.dates", N_("请填写起止日期"), field="starts_on")
    elif period.recurs is Recurs.ONCE and period.ends_on < period.starts_on:
        raise Invalid("business.order", N_("结束日早于开始日"), field="ends_on")


def _plain(row: BusinessPeriod) -> dict[str, Any]:
    return {
        name: getattr(row, name)
        for name in (
            "department_id",
            "system_id",
            "name",
            "recurs",
            "first_day",
            "last_day",
            "starts_on",
            "ends_on",
            "festival",
            "lead_days",
        )
    }
