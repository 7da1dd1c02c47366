"""Billing years (年度结算): a city lays down which months are a year, by when the audited sums go to finance and out of which year's
budget they are paid; two people sign that. Once the months are closed the supervisor draws up what each department owes and what each
company claimed, with an opinion on whether the fees are reasonable; the authority hands it over, and from then on it stands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    and_,
    delete,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.settlement import budgets
from metering.statements import MonthClosing, StatementLine, closings, latest, reconciliation
from providers import labour
from providers.billing import month_bounds
from quota import inspection
from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.calendar import ZONE
from quota.directory import CloudProvider, Department, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated
from quota.seals import fingerprint

if TYPE_CHECKING:
    from quota.db import Tx

MOST_MONTHS = 12
MOST = 8000
"""Characters of an opinion."""

NEAR = timedelta(days=30)
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")


class YearState(StrEnum):
    DRAFTED = "drafted"
    ENACTED = "enacted"
    JUDGED = "judged"
    HANDED = "handed"
    WITHDRAWN = "withdrawn"


class YearFinding(StrEnum):
    """What the assessor says of a year's fees."""

    REASONABLE = "reasonable"
    REDUCED = "reduced"
    UNREASONABLE = "unreasonable"


FINDING_LABELS = {
    YearFinding.REASONABLE: N_("费用合理"),
    YearFinding.REDUCED: N_("核减后合理"),
    YearFinding.UNREASONABLE: N_("费用不合理"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class YearTerms:
    """``first_month`` to ``last_month``, both included, are settled together; the list is with finance by ``due_on`` and paid out of
    the budget of ``paid_in``."""

    name: str
    first_month: str
    last_month: str
    due_on: date
    paid_in: int
    basis: str

    def checked(self) -> YearTerms:
        """Itself. Raises Invalid naming the field that makes no sense."""
        stated(self.name, "name", code="year.name", message=N_("请填写结算年度名称"))
        stated(self.basis, "basis", code="year.basis", message=N_("请写明依据(文号)"))
        for field in ("first_month", "last_month"):
            if not _MONTH.fullmatch(getattr(self, field)):
                raise Invalid("year.month", N_("月份写作 2026-10"), field=field)
        if not self.first_month <= self.last_month or len(self.months()) > MOST_MONTHS:
            raise Invalid("year.months", N_("结算年度须有 1 至 12 个月"), field="last_month")
        ends = month_bounds(self.last_month)[1].astimezone(ZONE).date()
        if not ends <= self.due_on <= ends + timedelta(days=366):
            raise Invalid("year.due", N_("报送期限须在截止月份结束之后一年之内"), field="due_on")
        if not self.due_on.year <= self.paid_in <= self.due_on.year + 2:
            raise Invalid("year.paid_in", N_("付款预算年度须为报送当年或其后两年之内"), field="paid_in")
        return self

    def months(self) -> list[str]:
        found = [self.first_month]
        while found[-1] < self.last_month:
            found.append(closings.following(found[-1]))
        return found


class BillingYear(Base):
    """One year of settlement. ``companies``: what each company invoiced and what became of its bills, by id, as drawn up; ``digest``
    seals that and the units' lines."""

    __tablename__ = "billing_years"
    __table_args__ = (Index("ix_billing_years_first_month_id", "first_month", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    first_month: Mapped[str] = mapped_column(String(7))
    last_month: Mapped[str] = mapped_column(String(7))
    due_on: Mapped[date]
    paid_in: Mapped[int]
    basis: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(12))
    drafted_at: Mapped[datetime]
    drafted_by: Mapped[str] = mapped_column(String(64))
    enacted_at: Mapped[datetime | None]
    enacted_by: Mapped[str | None] = mapped_column(String(64))
    finding: Mapped[str] = mapped_column(String(16), default="")
    opinion: Mapped[str] = mapped_column(Text, default="")
    companies: Mapped[list[Any]] = mapped_column(default=list)
    digest: Mapped[str] = mapped_column(String(64), default="")
    judged_at: Mapped[datetime | None]
    judged_by: Mapped[str | None] = mapped_column(String(64))
    handed_at: Mapped[datetime | None]
    handed_by: Mapped[str | None] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(default=1)

    @property
    def ref(self) -> str:
        """As the audit trail names it."""
        return f"billing_year:{self.id}"

    @property
    def terms(self) -> YearTerms:
        return YearTerms(
            name=self.name, first_month=self.first_month, last_month=self.last_month, due_on=self.due_on,
            paid_in=self.paid_in, basis=self.basis,
        )  # fmt: skip

    def late(self, today: date) -> bool:
        """Whether finance should have it and does not."""
        return self.state in OPEN and self.due_on < today


OPEN = (YearState.ENACTED, YearState.JUDGED)
BEFORE = (YearState.DRAFTED, YearState.ENACTED)
"""While it is not drawn up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YearShare:
    """What a department owes of a year as far as it is known: ``closed_fen`` of its closed months, ``stated_fen`` of those that are
    not, as their newest statements have them; both with the services of people that it confirmed in them."""

    department_id: int | None
    code: str
    name: str
    closed_fen: int
    stated_fen: int
    unmeasured_fen: int
    budget_fen: int | None

    @property
    def known_fen(self) -> int:
        return self.closed_fen + self.stated_fen

    @property
    def short_fen(self) -> int | None:
        """What its budget lacks of what is known; None where no budget is known or it is enough."""
        return _short(self.known_fen, self.budget_fen)


@dataclass(frozen=True, slots=True, kw_only=True)
class YearPreview:
    """A year before it is drawn up: which months are closed, which were stated and may still change, of which nothing is known."""

    closed: Sequence[str]
    stated: Sequence[str]
    unknown: Sequence[str]
    shares: Sequence[YearShare]
    companies: Sequence[Mapping[str, Any]]


class YearUnit(Base):
    """What one department owes of a year: ``audited_fen`` as the closed months prove it, with the services of people that it confirmed
    in them, ``unmeasured_fen`` what they could not prove, which is not in it; ``budget_fen``: what it has for it in the year in which it pays, as known then. No department: nobody's."""

    __tablename__ = "billing_year_units"
    __table_args__ = (
        UniqueConstraint("year_id", "department_id"),
        Index("ix_billing_year_units_audited", "year_id", "audited_fen", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    year_id: Mapped[int] = mapped_column(ForeignKey("billing_years.id"))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    code: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(128))
    audited_fen: Mapped[int] = mapped_column(Count)
    unmeasured_fen: Mapped[int] = mapped_column(Count)
    budget_fen: Mapped[int | None] = mapped_column(Count)

    year: Mapped[BillingYear] = relationship()

    @property
    def short_fen(self) -> int | None:
        """What its budget lacks; None where no budget is known or it is enough."""
        return _short(self.audited_fen, self.budget_fen)


def _short(fen: int, budget_fen: int | None) -> int | None:
    short = fen - budget_fen if budget_fen is not None else 0
    return short if short > 0 else None


# --------------------------------------------------------------------------------------------------------------- verbs


def enter(tx: Tx, terms: YearTerms) -> BillingYear:
    """Draft a year, to be signed by somebody else. Raises Conflict where a month of it is another year's."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    terms.checked()
    tx.alone("billing_years")
    other = tx.scalar(
        select(BillingYear).where(
            BillingYear.state != YearState.WITHDRAWN.value,
            BillingYear.first_month <= terms.last_month,
            BillingYear.last_month >= terms.first_month,
        )
    )
    if other is not None:
        raise Conflict("year.overlaps", N_("其中有月份已属于结算年度“%(name)s”"), name=other.name)
    row = BillingYear(
        name=terms.name.strip()[:64], first_month=terms.first_month, last_month=terms.last_month, due_on=terms.due_on,
        paid_in=terms.paid_in, basis=terms.basis.strip()[:MOST], state=YearState.DRAFTED.value, drafted_at=tx.now,
        drafted_by=tx.actor.login, generation=1,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit("year.enter", row.ref, after={"name": row.name, "months": f"{row.first_month}/{row.last_month}", "due_on": row.due_on,
                                           "paid_in": row.paid_in}, reason=row.basis)  # fmt: skip
    return row


def enact(tx: Tx, year_id: int, generation: int) -> BillingYear:
    """The second signature, by somebody of the authority who did not draft it; the year holds from then on."""
    row = _signed(tx, year_id, generation, YearState.DRAFTED, "drafted_by")
    row.enacted_at, row.enacted_by = tx.now, tx.actor.login
    return _moved(tx, row, YearState.ENACTED, "year.enact")


def withdraw(tx: Tx, year_id: int, generation: int, reason: str) -> BillingYear:
    """Take a draft back, with the reason."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    row = _locked(tx, year_id, generation, YearState.DRAFTED)
    return _moved(tx, row, YearState.WITHDRAWN, "year.withdraw", stated(reason))


def judge(tx: Tx, year_id: int, generation: int, finding: YearFinding, opinion: str) -> BillingYear:
    """The supervisor draws up the year and says whether its fees are reasonable; again, until it was handed over. Raises WrongState
    naming the first month that is not closed."""
    tx.actor.must_be(Role.SUPERVISOR)
    row = _locked(tx, year_id, generation, *OPEN)
    stated(opinion, "opinion", code="year.opinion", message=N_("请写明审核意见和依据"))
    units, companies = _drawn_up(tx, row)
    tx.execute(delete(YearUnit).where(YearUnit.year_id == row.id))
    tx.add_all(YearUnit(year_id=row.id, **each) for each in units)
    row.companies, row.digest = companies, _sealed(units, companies)
    row.finding, row.opinion = finding.value, opinion.strip()[:MOST]
    row.judged_at, row.judged_by = tx.now, tx.actor.login
    return _moved(tx, row, YearState.JUDGED, "year.judge", row.opinion, finding=finding.value, digest=row.digest)


def hand_over(tx: Tx, year_id: int, generation: int) -> BillingYear:
    """The authority hands the list to finance: by somebody who did not draw it up. Raises Conflict where what it rests on has changed."""
    row = _signed(tx, year_id, generation, YearState.JUDGED, "judged_by")
    if _sealed(*_drawn_up(tx, row)) != row.digest:
        raise Conflict("year.changed", N_("年度结算的依据已有变化,请重新核定"))
    row.handed_at, row.handed_by = tx.now, tx.actor.login
    return _moved(tx, row, YearState.HANDED, "year.hand_over", digest=row.digest)


def _locked(tx: Tx, year_id: int, generation: int, *states: YearState) -> BillingYear:
    stale = Conflict("year.stale", N_("结算年度已被更新,请刷新后再操作"))
    row = tx.lock_as_shown(year(tx, year_id), generation, stale)
    if row.state not in states:
        raise WrongState("year.state", N_("结算年度现在不能这样办理"))
    return row


def _signed(tx: Tx, year_id: int, generation: int, state: YearState, by: str) -> BillingYear:
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    row = _locked(tx, year_id, generation, state)
    if getattr(row, by) == tx.actor.login:
        raise NotAllowed("year.own", N_("本人经办的须由另一人签署"))
    return row


def _moved(tx: Tx, row: BillingYear, state: YearState, action: str, reason: str = "", **more: Any) -> BillingYear:
    before, row.state = row.state, state.value
    row.generation += 1
    tx.flush()
    tx.audit(action, row.ref, before={"state": before}, after={"state": state.value, **more}, reason=reason)
    return row


# -------------------------------------------------------------------------------------------------------- what it says


def _drawn_up(tx: Tx, row: BillingYear) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Units and companies of the year as its closed months have them."""
    wanted = row.terms.months()
    closed = {one.month: one for one in closings.closings(tx) if one.month in wanted}
    for month in wanted:
        if month not in closed:
            raise WrongState("year.open", N_("%(month)s 尚未月结,不能核定全年"), month=month)
    return _units(tx, row, list(closed.values())), _companies(tx, list(closed.values()))


def preview(tx: Tx, year_id: int) -> YearPreview:
    """The year as far as it is known, those who owe most first. Raises WrongState once it was drawn up."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR)
    row = year(tx, year_id)
    if row.state not in BEFORE:
        raise WrongState("year.drawn_up", N_("已核定的结算年度没有预览"))
    wanted = row.terms.months()
    closed = [one for one in closings.closings(tx) if one.month in wanted]
    months = {one.month for one in closed}
    runs = {month: run.id for month in wanted if month not in months and (run := latest(tx, month)) is not None}
    sure, open_ = _owed(tx, [one.run_id for one in closed]), _owed(tx, list(runs.values()))
    _serve(tx, sure, [month for month in wanted if month in months])
    for month in wanted:
        if month not in months:
            _serve(tx, open_, [month])
    shares = [
        YearShare(
            **who, closed_fen=sure.get(department, NOTHING)[0], stated_fen=open_.get(department, NOTHING)[0],
            unmeasured_fen=sure.get(department, NOTHING)[1] + open_.get(department, NOTHING)[1],
        )
        for department, who in _named(tx, row, {**sure, **open_}).items()
    ]  # fmt: skip
    return YearPreview(
        closed=sorted(months), stated=sorted(runs), unknown=[one for one in wanted if one not in months and one not in runs],
        shares=sorted(shares, key=lambda one: -one.known_fen), companies=_companies(tx, closed),
    )  # fmt: skip


NOTHING = (0, 0)
Owed = dict[int | None, tuple[int, int]]
"""Department → fen that are proven, and that could not be measured."""


def _units(tx: Tx, row: BillingYear, closed: Sequence[MonthClosing]) -> list[dict[str, Any]]:
    owed = _owed(tx, [one.run_id for one in closed])
    _serve(tx, owed, row.terms.months())
    return [
        {**who, "audited_fen": owed[department][0], "unmeasured_fen": owed[department][1]}
        for department, who in _named(tx, row, owed).items()
    ]


def _owed(tx: Tx, run_ids: Collection[int]) -> Owed:
    """What these runs of statements say of departments."""
    sums = (
        select(StatementLine.department_id, func.sum(StatementLine.cost_fen), func.sum(StatementLine.unmeasured_fen))
        .where(StatementLine.run_id.in_(run_ids))
        .group_by(StatementLine.department_id)
    )
    return {department: (int(proven or 0), int(rest or 0)) for department, proven, rest in tx.execute(sums).all()}


def _serve(tx: Tx, owed: Owed, months: Sequence[str]) -> None:
    """Add the services of people that were confirmed in these months, which follow one another."""
    for department, fen in labour.jobs.by_department(tx, months[0], months[-1]).items() if months else ():
        proven, rest = owed.get(department, NOTHING)
        owed[department] = proven + fen, rest


def _named(tx: Tx, row: BillingYear, owed: Owed) -> dict[int | None, dict[str, Any]]:
    """Of departments who they are and what budget they pay out of, in order of their number; nobody's last."""
    ids = sorted(department for department in owed if department is not None)
    named = {one.id: one for one in tx.scalars(select(Department).where(Department.id.in_(ids)))}
    given = budgets.given(tx, row.paid_in, ids)
    found: dict[int | None, dict[str, Any]] = {
        one: {"department_id": one, "code": named[one].code, "name": named[one].name, "budget_fen": given.get(one)}
        for one in ids
    }
    return found | ({None: {"department_id": None, "code": "", "name": "", "budget_fen": None}} if None in owed else {})


def _companies(tx: Tx, closed: Sequence[MonthClosing]) -> list[dict[str, Any]]:
    """What each company invoiced by the closed months, what of its bills was proven, disputed, unmeasurable or not billed, and what its
    people's services cost."""
    served = labour.jobs.by_month(tx, {one.month for one in closed})
    names = {one.code: one for one in tx.scalars(select(CloudProvider))}
    told: dict[int, dict[str, Any]] = {}

    def of(provider: CloudProvider) -> dict[str, Any]:
        fresh = dict.fromkeys(("invoiced", "billed", "proven", "disputed", "unmeasured", "unbilled", "labour"), 0)
        return told.setdefault(provider.id, {"provider": provider.id, "name": provider.name, **fresh})

    for one in closed:
        for number, fen in one.invoices.items():
            provider = names.get(number.removeprefix(f"{one.month}-"))
            if provider is not None:
                of(provider)["invoiced"] += int(fen)
        for provider in names.values():
            if fen := served.get((provider.id, one.month)):
                of(provider)["labour"] += fen
        for run in reconciliation.standing(tx, one.month):
            line = of(run.provider)
            for name in ("billed", "proven", "disputed", "unmeasured", "unbilled"):
                line[name] += int(getattr(run, f"{name}_fen"))
    return [told[one] for one in sorted(told)]


def _sealed(units: Sequence[Mapping[str, Any]], companies: Sequence[Mapping[str, Any]]) -> str:
    return fingerprint({"units": [dict(one) for one in units], "companies": [dict(one) for one in companies]})


def check(tx: Tx) -> Iterator[str]:
    """A sentence for each year whose lines are not those that were sealed."""
    said: list[str] = []
    columns = ("department_id", "code", "name", "audited_fen", "unmeasured_fen", "budget_fen")
    for row in inspection.rows(tx, select(BillingYear).order_by(BillingYear.id), said):
        with inspection.going_on(said, "billing_years", row.id):
            found = tx.scalars(select(YearUnit).where(YearUnit.year_id == row.id)).all()
            units = [{name: getattr(one, name) for name in columns} for one in found]
            units.sort(key=lambda one: (one["department_id"] is None, one["department_id"] or 0))
            if row.digest and _sealed(units, row.companies) != row.digest:
                yield f"billing_years: row {row.id} does not match its digest: a line was changed, added or removed"
    yield from said


# ------------------------------------------------------------------------------------------------------------- reading


def year(tx: Tx, year_id: int) -> BillingYear:
    """The year, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(BillingYear).where(BillingYear.id == year_id, visible(tx.actor)))
    if found is None:
        raise NotFound("year.none", N_("没有编号为 %(id)s 的结算年度"), id=year_id)
    return found


def visible(actor: Actor) -> ColumnElement[bool]:
    """The steward, the authority and the auditor all; a department those that were handed over."""
    if actor.role is Role.TENANT:
        return BillingYear.state == YearState.HANDED.value
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def units_of(tx: Tx, row: BillingYear) -> ColumnElement[bool]:
    """The lines of a year that the actor may see: a department its own and those of what lies under it."""
    mine = YearUnit.year_id == row.id
    if tx.actor.role is not Role.TENANT:
        return mine
    own = subtree(tx, tx.actor.department_id) if tx.actor.department_id is not None else set()
    return and_(mine, YearUnit.department_id.in_(own))


def sums(tx: Tx, row: BillingYear) -> tuple[int, int]:
    """Audited and unmeasurable fen of the lines that the actor may see."""
    query = select(func.sum(YearUnit.audited_fen), func.sum(YearUnit.unmeasured_fen)).where(units_of(tx, row))
    audited, rest = tx.execute(query).one()
    return int(audited or 0), int(rest or 0)


def pressing(tx: Tx) -> Sequence[BillingYear]:
    """Years that finance waits for or soon will, and those that wait for the second signature; the nearest day first."""
    soon = (tx.now + NEAR).astimezone(ZONE).date()
    going = and_(BillingYear.state.in_([one.value for one in OPEN]), BillingYear.due_on <= soon)
    wanted = or_(going, BillingYear.state == YearState.DRAFTED.value, BillingYear.state == YearState.JUDGED.value)
    return tx.scalars(select(BillingYear).where(visible(tx.actor), wanted).order_by(BillingYear.due_on)).all()
