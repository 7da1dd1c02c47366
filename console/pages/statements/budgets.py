"""Budgets of departments: what each has in a year, what is spent, and what will be at its end."""

from __future__ import annotations

from flask import Blueprint, g, render_template, request
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading, transaction
from console.choices import ChoiceField, departments
from console.forms import answer, done, generation
from console.lists import Column, Filter, listing
from console.pages.statements.contracts import figure
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, lazy
from metering.settlement import BudgetOutlook, DepartmentBudget, budgets
from metering.statements import yuan
from quota.actors import Role
from quota.calendar import ZONE
from quota.errors import N_, Refused

blueprint = Blueprint("budgets", __name__, url_prefix="/budgets")
frame.page("reports", "budgets.index", N_("单位预算"), order=37)

READERS = (*STEWARDS, Role.TENANT)


def _outlook(row: DepartmentBudget) -> BudgetOutlook:
    found: BudgetOutlook = g.outlooks[row.id]
    return found


COLUMNS = [
    Column("department", N_("使用单位"), lambda r: r.department.name, href=links.department(lambda r: r.department_id), title=True),
    Column("year", N_("预算年度"), lambda r: str(r.year), sort=DepartmentBudget.year),
    Column("budget", N_("预算"), lambda r: yuan(r.fen), sort=DepartmentBudget.fen, number=True, unit=N_("元")),
    Column("spent", N_("已发生"), lambda r: yuan(_outlook(r).spent), number=True, unit=N_("元")),
    Column("expected", N_("预计全年"), lambda r: yuan(_outlook(r).expected), number=True, unit=N_("元")),
    Column("share", N_("预计占用"), lambda r: _outlook(r).share, number=True, unit="%"),
    Column("basis", N_("依据"), lambda r: r.basis, minor=True),
]  # fmt: skip
FILTERS = [
    Filter(
        "year",
        N_("预算年度"),
        lambda q, v: q.where(DepartmentBudget.year == (int(v) if v.isdigit() and len(v) == 4 else 0)),
    ),
]


class BudgetForm(FlaskForm):  # type: ignore[misc]
    department = ChoiceField(lazy("使用单位"))
    year = IntegerField(lazy("预算年度"), [InputRequired(lazy("请填写预算年度")), NumberRange(2000, 2100)])
    yuan = StringField(
        lazy("预算(元)"), [InputRequired(lazy("请填写数字")), Length(max=20)], description=lazy("含下级单位")
    )
    basis = TextAreaField(lazy("依据"), [InputRequired(lazy("请写明预算依据(文号)")), Length(max=4000)])
    generation = HiddenField(default="0")


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(DepartmentBudget).where(budgets.visible(tx, tx.actor)).options(joinedload(DepartmentBudget.department))
    )
    g.outlooks = _Outlooks()
    found = listing(tx, query, COLUMNS, key=DepartmentBudget.id, filters=FILTERS, sort="-year")
    g.outlooks.learn(found.rows)
    return found.exported("budgets") or render_template("budgets/index.html", found=found)


class _Outlooks(dict[int, BudgetOutlook]):
    """Budget → its outlook: of a page's rows looked up together, of others, as an export reads them, all that the visitor sees at once."""

    def learn(self, rows: list[DepartmentBudget]) -> None:
        self.update(budgets.outlooks(reading(), rows))

    def __missing__(self, budget_id: int) -> BudgetOutlook:
        tx = reading()
        self.learn(list(tx.scalars(select(DepartmentBudget).where(budgets.visible(tx, tx.actor)))))
        return self[budget_id]


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(BudgetForm, args=(Given("budget", int),))
def state() -> str | Response | tuple[str, int]:
    """Say what a department has in a year; ``?budget=3`` changes what was said."""
    tx = reading()
    known = tx.get(DepartmentBudget, request.args.get("budget", 0, row))
    form = BudgetForm(
        department=known.department_id if known else None, year=known.year if known else tx.now.astimezone(ZONE).year,
        yuan=yuan(known.fen) if known else "", generation=known.generation if known else 0,
    )  # fmt: skip
    form.department.offer(tx, departments())

    def act() -> Response:
        fen = int(figure(form.yuan.data, "yuan") * 100)
        with transaction() as writing:
            budgets.state(writing, form.department.data, form.year.data, fen, form.basis.data, generation(form))
        return done(_("预算已登记"), "budgets.index", year=form.year.data)

    return answer(form, act, lambda: render_template("budgets/form.html", form=form), Refused)
