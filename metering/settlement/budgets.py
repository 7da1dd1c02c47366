"""Budgets of departments (年度预算): what one has for cloud in a calendar year, what of it is spent by closed months, and what it will
have spent at the year's end if it goes on as in the newest of them. What a request would add to that is a fact that approval rules may
speak of, and signers are told.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import (
    CTE,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.statements import CORRECTION, StatementLine, asked_costs, closings
from providers import labour
from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.calendar import ZONE
from quota.directory import Department, department, departments, subtree
from quota.errors import N_, Conflict, Invalid, stated
from quota.requests import Request, RuleFact, facts

if TYPE_CHECKING:
    from quota.db import Tx

MOST_FEN = 10**15
MONTHS = 12


class DepartmentBudget(Base):
    """What one department and those below it have for cloud in one calendar year, in fen."""

    __tablename__ = "department_budgets"
    __table_args__ = (
        UniqueConstraint("department_id", "year"),
        CheckConstraint("fen > 0", name="fen"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"))
    year: Mapped[int] = mapped_column(index=True)
    fen: Mapped[int] = mapped_column(Count)
    basis: Mapped[str] = mapped_column(Text)
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(default=1)

    department: Mapped[Department] = relationship()


@dataclass(frozen=True, slots=True)
class BudgetOutlook:
    """Fen of a year: what there is, what closed months and confirmed services of people spent, what is spent at its end at the pace of
    the newest month, without what that corrects of others (None: no month was closed that could say)."""

    budget: int
    spent: int
    expected: int | None

    @property
    def share(self) -> Decimal | None:
        """Per cent of the budget that is spent at the year's end."""
        return None if self.expected is None else round(Decimal(100) * self.expected / self.budget, 1)


def state(tx: Tx, department_id: int, year: int, fen: int, basis: str, generation: int = 0) -> DepartmentBudget:
    """Say what a department has in a year, or has by now; with what it rests on. By the authority. ``generation``: of the budget that
    the page showed, 0 where it showed none."""
    tx.actor.must_be(Role.AUTHORITY)
    whose = department(tx, department_id)
    stated(basis, "basis", code="budget.basis", message=N_("请写明预算依据(文号)"))
    if not 2000 <= year <= 2100:
        raise Invalid("budget.year", N_("请填写预算年度"), field="year")
    if not 0 < fen <= MOST_FEN:
        raise Invalid("budget.fen", N_("预算须大于 0"), field="yuan")
    tx.alone(f"budget:{whose.id}")
    row = of(tx, whose.id, year)
    if (row.generation if row is not None else 0) != generation:
        raise Conflict("budget.stale", N_("预算已被更新,请刷新后再操作"))
    before = {"fen": row.fen} if row is not None else None
    if row is None:
        row = DepartmentBudget(department_id=whose.id, year=year, generation=0)
        tx.add(row)
    row.fen, row.basis, row.entered_at, row.entered_by = fen, basis.strip()[:4000], tx.now, tx.actor.login
    row.generation += 1
    tx.flush()
    tx.audit("budget.state", f"budget:{row.id}", before=before,
             after={"department": whose.id, "year": year, "fen": fen}, reason=row.basis)  # fmt: skip
    return row


def of(tx: Tx, department_id: int, year: int) -> DepartmentBudget | None:
    """What was said of a department's year."""
    query = select(DepartmentBudget).where(
        DepartmentBudget.department_id == department_id, DepartmentBudget.year == year
    )
    return tx.scalar(query)


def given(tx: Tx, year: int, department_ids: Collection[int]) -> dict[int, int]:
    """Department → fen of a year, for those of whom something was said."""
    query = select(DepartmentBudget.department_id, DepartmentBudget.fen)
    return dict(
        tx.execute(query.where(DepartmentBudget.year == year, DepartmentBudget.department_id.in_(department_ids))).all()
    )


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A department its own and those of what lies under it; the steward, the authority and the auditor all."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return DepartmentBudget.department_id.in_(subtree(tx, actor.department_id))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def outlooks(tx: Tx, rows: Collection[DepartmentBudget]) -> dict[int, BudgetOutlook]:
    """Budget → how its year stands, for each of these."""
    if not rows:
        return {}
    tops = departments.trees({one.department_id for one in rows})
    closed = closings.closings(tx)
    pace = _spent(tx, [closed[-1].run_id], tops, StatementLine.charge != CORRECTION) if closed else {}
    newest = closed[-1].month[:4] if closed else ""
    found: dict[int, BudgetOutlook] = {}
    for year in {one.year for one in rows}:
        mine = [one for one in closed if one.month[:4] == str(year)]
        spent = _spent(tx, [one.run_id for one in mine], tops) if mine else {}
        served = labour.jobs.below(tx, f"{year}-01", f"{year}-{MONTHS}", tops)
        left = MONTHS - max([int(one.month[5:]) for one in mine], default=0) if str(year) >= newest else 0
        for row in (one for one in rows if one.year == year):
            already = spent.get(row.department_id, 0) + served.get(row.department_id, 0)
            to_come = left * pace.get(row.department_id, 0)
            found[row.id] = BudgetOutlook(row.fen, already, already + to_come if closed else None)
    return found


def _spent(tx: Tx, run_ids: Collection[int], tops: CTE, *which: ColumnElement[bool]) -> dict[int, int]:
    """Department of ``tops`` → fen of these runs, of it and of those below it."""
    query = (
        select(tops.c.top, func.sum(StatementLine.cost_fen))
        .join(StatementLine, StatementLine.department_id == tops.c.id)
        .where(StatementLine.run_id.in_(run_ids), *which)
        .group_by(tops.c.top)
    )
    return {one: int(fen or 0) for one, fen in tx.execute(query)}


def _nearest(tx: Tx, whose: Department | None, year: int) -> DepartmentBudget | None:
    """The budget that a department's requests are paid from: its own, or that of the next above it that has one."""
    while whose is not None and (row := of(tx, whose.id, year)) is None:
        whose = whose.parent
    return row if whose is not None else None


def budget_share(tx: Tx, request: Request) -> float | None:
    """Per cent of its department's budget of this year (its own, or the next above that has one) that would be spent at its end with what ``request`` adds until then. None where
    no budget is stated, nothing was closed to go by, or something has no price."""
    today = tx.now.astimezone(ZONE).date()
    row = _nearest(tx, request.department, today.year)
    if row is None:
        return None
    outlook = outlooks(tx, [row])[row.id]
    monthly, once = asked_costs.month_yuan(tx, request), labour.yuan(tx, request)
    if outlook.expected is None or monthly is None or once is None:
        return None
    end = date(today.year, 12, 31)
    until = min(request.use_until or end, end)
    days = max(0, (until - today).days + 1)
    added = Decimal(str(monthly)) * 100 * MONTHS * days / 365 + Decimal(str(once)) * 100
    return float(round(100 * (outlook.expected + added) / row.fen, 1))


facts.register("budget_share", RuleFact(float, N_("年度预算 预计占用 %"), 0), budget_share)
