"""立项项目: what systems are built for, with which money, until when; what is due and what is late, and what came of it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response
from wtforms import DecimalField, HiddenField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, settings, transaction
from console.choices import ChoiceField
from console.forms import DateField, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.programs import GENERATION, Given, listed, takes
from console.security import row
from console.words import _, events, lazy
from console.words import rules as rule_words
from quota import audit, inventory
from quota.actors import Actor, Role
from quota.db import Tx, among
from quota.directory import FundedProject, Pool, ProjectState, System, departments, funded_projects
from quota.errors import N_, Refused
from quota.inventory import Resource
from quota.requests import OPEN, Request
from quota.units import Amount

blueprint = Blueprint("funded_projects", __name__, url_prefix="/projects")
frame.page("resources", "funded_projects.index", N_("立项项目"), order=22)

KEEPERS = (Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT)
RULERS = (Role.AUTHORITY, Role.SUPERVISOR)
NEAR_DAYS = 90
"""A project that is due within so many days is on the due list."""
SHOWN = 8
"""How many a block of the home page shows."""
DUE = "due"
STATES = {
    DUE: N_("90 天内到期或逾期"), **{one.value: rule_words.PROJECT_LABELS[one.value] for one in ProjectState},
}  # fmt: skip


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


def code(project: FundedProject) -> str:
    """The state's code among all states."""
    return f"project_{project.state(_today()).value}"


def _due(today: date) -> Any:
    open_ = FundedProject.accepted_on.is_(None) & FundedProject.ended_on.is_(None)
    return open_ & (FundedProject.due_on <= today + timedelta(days=NEAR_DAYS))


def _state(query: Rows, value: str) -> Rows:
    return query.where(_due(_today()) if value == DUE else funded_projects.in_state(ProjectState(value), _today()))


COLUMNS = [
    Column("approval_number", N_("立项批复文号"), lambda p: p.approval_number, sort=FundedProject.approval_number, title=True,
           href=lambda p: url_for("funded_projects.show", project_id=p.id)),
    Column("state", N_("状态"), code, state=True),
    Column("name", N_("项目名称"), lambda p: p.name),
    Column("department", N_("使用单位"), lambda p: p.department.name, href=links.department(lambda p: p.department_id)),
    Column("funds", N_("批复资金（元）"), lambda p: p.funds, text=lambda v: f"{v:,.2f}", number=True),
    Column("funding", N_("资金来源"), lambda p: p.funding, minor=True),
    Column("systems", N_("信息系统"), lambda p: len(p.systems), number=True),
    Column("approved_on", N_("批复日期"), lambda p: p.approved_on, text=str, minor=True),
    Column("due_on", N_("计划验收日期"), lambda p: p.due_on, text=str, sort=FundedProject.due_on),
    Column("accepted_on", N_("验收日期"), lambda p: p.accepted_on, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("q", N_("名称或文号"), lambda q, v: q.where(frame.matching(v, FundedProject.name, FundedProject.approval_number))),
]  # fmt: skip


class ProjectForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    department = ChoiceField(lazy(N_("使用单位")))
    approval_number = StringField(
        lazy(N_("立项批复文号")), [InputRequired(lazy(N_("请填写立项批复文号"))), Length(max=128)]
    )
    name = StringField(lazy(N_("项目名称")), [InputRequired(lazy(N_("请填写项目名称"))), Length(max=128)])
    funds = DecimalField(lazy(N_("批复资金（元）")), [InputRequired(lazy(N_("请填写批复资金")))], places=2)
    funding = StringField(lazy(N_("资金来源")), [InputRequired(lazy(N_("请填写资金来源"))), Length(max=128)])
    approved_on = DateField(lazy(N_("批复日期")), [InputRequired(lazy(N_("请填写批复日期")))])
    due_on = DateField(lazy(N_("计划验收日期")), [InputRequired(lazy(N_("请填写计划验收日期")))])

    def facts(self) -> dict[str, Any]:
        return {name: self._fields[name].data for name in funded_projects.FIELDS}


class CorrectionForm(ProjectForm):
    reason = StringField(
        lazy(N_("理由")), [Length(max=500)], description=lazy(N_("推迟计划验收日期须写明；过了该日期的，由主管部门或运营监督人员推迟"))
    )  # fmt: skip


class SystemsForm(FlaskForm):  # type: ignore[misc]
    systems = SelectMultipleField(
        lazy(N_("信息系统")), coerce=int, validators=[InputRequired(lazy(N_("请选择信息系统")))]
    )


class ClosingForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    on = DateField(lazy(N_("日期")), [InputRequired(lazy(N_("请填写日期")))])
    note = TextAreaField(lazy(N_("结论")), [InputRequired(lazy(N_("请写明结论或理由"))), Length(max=2000)])


def _rows(tx: Tx) -> Rows:
    return (
        select(FundedProject)
        .where(funded_projects.visible(tx, actor()))
        .options(joinedload(FundedProject.department), selectinload(FundedProject.systems))
    )


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    found = listing(reading(), _rows(reading()), COLUMNS, key=FundedProject.id, filters=FILTERS, sort="due_on")
    return found.exported("projects") or render_template("funded_projects/index.html", found=found)


@blueprint.get("/<int:project_id>")
@allow(*STEWARDS, Role.TENANT)
def show(project_id: int) -> str:
    """A project with its systems, and what these have in the cloud, as far as the visitor may see them: one that went to another
    department stays linked to the project, but is no longer this department's to look at."""
    tx = reading()
    one, who = funded_projects.project(tx, project_id), actor()
    within = departments.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None
    systems = [system for system in one.systems if within is None or system.department_id in within]
    has: dict[int | None, list[Amount]] = {}
    there = among(Resource.system_id, [system.id for system in systems]) & Resource.gone_at.is_(None)
    for system_id, amounts in tx.execute(
        select(Resource.system_id, Resource.amounts).where(there, inventory.visible(tx, who))
    ):
        has.setdefault(system_id, []).append(Amount.from_json(amounts))
    return render_template(
        "funded_projects/show.html", one=one, code=code(one), funds=f"{one.funds:,.2f}",
        systems=[(each, len(has.get(each.id, ())), Amount.total(has.get(each.id, ()))) for each in systems],
        elsewhere=len(one.systems) - len(systems), attaches=funded_projects.may_link(tx, one),
        detaches=funded_projects.may_link(tx, one, off=True), **_asked(tx, one),
        open=one.accepted_on is None and one.ended_on is None,
        history=events(audit.of(tx, one.subject, 50)),
    )  # fmt: skip


def _asked(tx: Tx, one: FundedProject) -> dict[str, Any]:
    """Requests for its acceptance, and for which pools a department may file one now."""
    query = select(Request.id, Request.number, Request.state).where(
        Request.kind == "project_accept", Request.entry_id == one.id
    )
    asked = tx.execute(query.order_by(Request.id.desc()).limit(20)).all()
    open_ = one.accepted_on is None and one.ended_on is None and actor().role is Role.TENANT
    asks = open_ and not any(state in OPEN for _id, _number, state in asked)
    pools = select(Pool).where(Pool.active).order_by(Pool.name)
    return {"asked": asked, "pools": tx.scalars(pools).all() if asks else []}


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(ProjectForm)
def register() -> str | Response | tuple[str, int]:
    form = _form()

    def act() -> Response:
        with transaction() as tx:
            made = funded_projects.register(tx, form.department.data, form.facts())
        return done(_("已登记：%(name)s", name=made.name), "funded_projects.show", project_id=made.id)

    return answer(form, act, lambda: render_template("funded_projects/edit.html", form=form, one=None), Refused)


@blueprint.route("/<int:project_id>/edit", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(CorrectionForm)
def edit(project_id: int) -> str | Response | tuple[str, int]:
    one = funded_projects.project(reading(), project_id)
    form = CorrectionForm(obj=one)
    del form.department

    def act() -> Response:
        with transaction() as tx:
            funded_projects.amend(
                tx, project_id, form.facts(), generation=generation(form), reason=form.reason.data or ""
            )
        return done(_("已保存"), "funded_projects.show", project_id=project_id)

    return answer(form, act, lambda: render_template("funded_projects/edit.html", form=form, one=one), Refused)


def _form() -> ProjectForm:
    form = ProjectForm(department=0)
    who = actor()
    within = departments.subtree(reading(), who.department_id or 0) if who.role is Role.TENANT else None
    form.department.offer(reading(), choices.departments(within=within))
    return form


@blueprint.route("/<int:project_id>/systems", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(SystemsForm)
def attach(project_id: int) -> str | Response | tuple[str, int]:
    """Say which systems the project is for."""
    tx = reading()
    one = funded_projects.project(tx, project_id)
    form = SystemsForm()
    has = {system.id for system in one.systems}
    within = departments.subtree(tx, one.department_id)
    offered = tx.execute(
        select(System.id, System.name).where(System.department_id.in_(within), System.active).order_by(System.name)
    )
    form.systems.choices = [SelectChoice(str(id_), name) for id_, name in offered if id_ not in has]

    def act() -> Response:
        with transaction() as writing:
            funded_projects.attach(writing, project_id, form.systems.data)
        return done(_("已关联"), "funded_projects.show", project_id=project_id)

    return answer(form, act, lambda: render_template("funded_projects/systems.html", form=form, one=one), Refused)


@blueprint.post("/<int:project_id>/detach")
@allow(*KEEPERS)
@takes(None, Given("system", int, N_("信息系统"), required=True))
def detach(project_id: int) -> Response:
    """Take back that a system belongs to the project."""
    with transaction() as tx:
        funded_projects.detach(tx, project_id, request.form.get("system", type=row) or 0)
    return done(_("已取消关联"), "funded_projects.show", project_id=project_id)


@blueprint.route("/<int:project_id>/accept", methods=["GET", "POST"])
@allow(*RULERS)
@takes(ClosingForm)
def accept(project_id: int) -> str | Response | tuple[str, int]:
    """Note that the project was accepted."""
    return _closed(project_id, funded_projects.accept, _("验收"), _("验收结论"), _("已记录验收"))


@blueprint.route("/<int:project_id>/terminate", methods=["GET", "POST"])
@allow(*RULERS)
@takes(ClosingForm)
def terminate(project_id: int) -> str | Response | tuple[str, int]:
    """Note that the project was given up."""
    return _closed(project_id, funded_projects.end, _("终止"), _("理由"), _("已记录终止"))


def _closed(project_id: int, verb: Any, label: str, note: str, said: str) -> str | Response | tuple[str, int]:
    one = funded_projects.project(reading(), project_id)
    form = ClosingForm(generation=one.generation, on=_today())
    form.note.label.text = note

    def act() -> Response:
        with transaction() as tx:
            verb(tx, project_id, form.on.data, form.note.data or "", generation=generation(form))
        return done(said, "funded_projects.show", project_id=project_id)

    return answer(
        form, act, lambda: render_template("funded_projects/close.html", form=form, one=one, label=label), Refused
    )


@blueprint.post("/<int:project_id>/reopen")
@allow(*RULERS)
@takes(None, GENERATION, Given("reason", label=N_("理由"), longest=500, required=True))
def reopen(project_id: int) -> Response:
    """Take back that it was accepted or ended."""
    with transaction() as tx:
        funded_projects.reopen(
            tx,
            project_id,
            request.form.get("reason", "")[:500],
            generation=request.form.get("generation", type=row) or 0,
        )
    return done(_("已撤销"), "funded_projects.show", project_id=project_id)


@frame.home_block(Role.SUPERVISOR, Role.TENANT, order=60)
def due_projects(tx: Tx, _who: Actor) -> str | None:
    """Projects that are due soon or late; nothing where there are none."""
    today = _today()
    due = _rows(tx).where(_due(today)).order_by(FundedProject.due_on, FundedProject.id)
    found, count = frame.shortened(tx, due, SHOWN)
    if not found:
        return None
    return render_template("funded_projects/_home.html", found=found, count=count, code=code, state=DUE)


@frame.finder(*STEWARDS, Role.TENANT, order=36)
def find(tx: Tx, _who: Actor, text: str, limit: int) -> list[frame.Hit]:
    """Projects by name or approval number."""
    wanted = frame.matching(text, FundedProject.name, FundedProject.approval_number)
    return [
        frame.Hit(N_("立项项目"), one.name, url_for("funded_projects.show", project_id=one.id), one.approval_number, code(one))
        for one in tx.scalars(_rows(tx).where(wanted).order_by(FundedProject.id.desc()).limit(limit))
    ]  # fmt: skip
