"""Ceilings of letters: how many machines departments are written to about in a week, in the city and of one department.

Counted by machines, not by sheets of paper: a letter that lists forty of them asks forty questions. So there are never more
letters than the ceiling, either. A week begins on Monday, by the city's time. Whatever is dated in the present week or after
it counts, so that a clock that ran ahead for a while lets nothing through twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import Department, departments
from quota.errors import N_, Invalid, stated

if TYPE_CHECKING:
    from quota.db import Tx

ALONE = "letters"
"""What is to be alone with (``Tx.alone``) whoever counts letters and then sends one."""

FIRST = 20
"""Machines a week in a house that was just founded, until the authority says otherwise."""
MOST = 100_000


class CeilingScope(StrEnum):
    """city: of all departments together; each: of every department by itself; one: of that department, instead of ``each``."""

    CITY = "city"
    EACH = "each"
    ONE = "one"


CEILING_LABELS = {
    CeilingScope.CITY: N_("全市合计"),
    CeilingScope.EACH: N_("每个单位"),
    CeilingScope.ONE: N_("某个单位"),
}


class LetterCeiling(Base):
    """One word: from then on ``per_week`` machines a week; None: as many as there are. The last word on a scope holds."""

    __tablename__ = "letter_ceilings"
    __table_args__ = (
        CheckConstraint("per_week IS NULL OR per_week > 0", name="per_week"),
        CheckConstraint("(scope = 'one') = (department_id IS NOT NULL)", name="whose"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(String(8))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    per_week: Mapped[int | None]
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    department: Mapped[Department | None] = relationship()


append_only(LetterCeiling.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class LetterCeilings:
    """What holds now, machines a week; None: no ceiling. ``own``: of departments that have their own."""

    city: int | None = None
    each: int | None = None
    own: Mapping[int, int | None] = field(default_factory=dict)

    def of(self, department_id: int) -> int | None:
        return self.own.get(department_id, self.each)

    def any(self) -> bool:
        """Whether anything is limited at all."""
        return self.city is not None or self.each is not None or any(one is not None for one in self.own.values())


@dataclass(slots=True)
class LetterRoom:
    """How many machines were written about this week: in all, and by department id; and what may still be, by ``ceilings``."""

    ceilings: LetterCeilings
    sent: int = 0
    by_department: dict[int, int] = field(default_factory=dict)

    def full(self, department_id: int) -> str | None:
        """Why no letter about another machine may go to the department this week: letters (the city's), department_letters;
        None where it may."""
        if self.ceilings.city is not None and self.sent >= self.ceilings.city:
            return "letters"
        own = self.ceilings.of(department_id)
        return "department_letters" if own is not None and self.by_department.get(department_id, 0) >= own else None

    def take(self, department_id: int) -> None:
        """One more."""
        self.sent += 1
        self.by_department[department_id] = self.by_department.get(department_id, 0) + 1

    def left(self) -> int | None:
        """How many more this week, in the city; None: no ceiling."""
        return None if self.ceilings.city is None else max(0, self.ceilings.city - self.sent)

    def weeks(self, waiting: Iterable[int]) -> list[int]:
        """In which week the turn of each comes (0: this one), for department ids in the order in which they wait, if nothing
        else comes."""
        cities, own = {0: self.sent}, {(one, 0): count for one, count in self.by_department.items()}
        first_of_city, first_of = 0, dict[int, int]()
        found = []
        for department_id in waiting:
            limit = self.ceilings.of(department_id)
            while self.ceilings.city is not None and cities.get(first_of_city, 0) >= self.ceilings.city:
                first_of_city += 1
            week = max(first_of_city, first_of.get(department_id, 0))
            while limit is not None and own.get((department_id, week), 0) >= limit:
                week += 1
            first_of[department_id] = week if limit is not None else 0
            while self.ceilings.city is not None and cities.get(week, 0) >= self.ceilings.city:
                week += 1
            cities[week] = cities.get(week, 0) + 1
            own[department_id, week] = own.get((department_id, week), 0) + 1
            found.append(week)
        return found


def now(tx: Tx) -> LetterCeilings:
    """The ceilings that hold now."""
    last = select(func.max(LetterCeiling.id)).group_by(LetterCeiling.scope, LetterCeiling.department_id)
    rows = list(tx.scalars(select(LetterCeiling).where(LetterCeiling.id.in_(last))))
    said = {row.scope: row.per_week for row in rows if row.department_id is None}
    return LetterCeilings(
        said.get(CeilingScope.CITY.value),
        said.get(CeilingScope.EACH.value),
        {row.department_id: row.per_week for row in rows if row.department_id is not None},
    )


def set_ceiling(
    tx: Tx, scope: CeilingScope, per_week: int | None, reason: str, department_id: int | None = None
) -> LetterCeiling:
    """So many machines a week (None: as many as there are) from now on. Raises Invalid for what is no number of machines, without
    a reason, or where it is not said whose ceiling it is."""
    tx.actor.must_be(Role.AUTHORITY)
    if per_week is not None and not 0 < per_week <= MOST:
        raise Invalid("letters.ceiling", N_("每周通知上限须为1至%(most)s,或不填"), most=MOST, field="per_week")
    if scope is CeilingScope.ONE:
        if department_id is None:
            raise Invalid("letters.whose", N_("请选择使用单位"), field="department")
        departments.department(tx, department_id)
    return _say(tx, scope, per_week, stated(reason), department_id if scope is CeilingScope.ONE else None)


def begin_low(tx: Tx) -> LetterCeiling:
    """The first ceiling of a house that was just founded."""
    tx.actor.must_be(Role.SYSTEM)
    return _say(tx, CeilingScope.CITY, FIRST, N_("新建的管家先少发通知,由主管部门调整"), None)


def history(tx: Tx, most: int) -> list[LetterCeiling]:
    """The latest words, newest first, no more than ``most``."""
    return list(tx.scalars(select(LetterCeiling).order_by(LetterCeiling.id.desc()).limit(most)))


def week_of(moment: datetime) -> datetime:
    """When the local week of ``moment`` began. Pure."""
    day = moment.astimezone(ZONE).date()
    return datetime.combine(day - timedelta(days=day.weekday()), time(), ZONE)


def turn(moment: datetime, weeks: int) -> date:
    """The first local day of the week that is so many after that of ``moment``. Pure."""
    return week_of(moment).date() + timedelta(weeks=weeks)


def _say(tx: Tx, scope: CeilingScope, per_week: int | None, reason: str, department_id: int | None) -> LetterCeiling:
    row = LetterCeiling(
        scope=scope.value,
        department_id=department_id,
        per_week=per_week,
        reason=reason,
        by=tx.actor.login,
        at=tx.now,
    )
    tx.add(row)
    tx.flush()
    subject = "city:1" if department_id is None else f"department:{department_id}"
    tx.audit("letters.ceiling", subject, after={"scope": scope, "per_week": per_week}, reason=reason)
    return row
