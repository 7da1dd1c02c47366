"""启用处置: where findings become cases and where they are only looked at, how many letters go out a week, and what waits."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import IntegerField, RadioField, SelectMultipleField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import choices, frame, links
from console.access import STEWARDS, allow, proven
from console.book import reading, transaction
from console.choices import ChoiceField, ChoicesField
from console.forms import answer, done
from console.founding import Look, StepStanding, checklist
from console.lists import Column, Filter, listing, marks_of
from console.programs import listed, takes
from console.security import row as row_of
from console.words import _, amounts, identified, lazy
from metering.cases import SKIPS, hearings, openings
from metering.judging import KIND_LABELS
from metering.rollout import AwaitedCase, CeilingScope, ScopeDecision, candidates, ceilings, scopes
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Department, Pool
from quota.errors import N_, Invalid, WrongState
from quota.inventory import Resource
from quota.units import Amount

blueprint = Blueprint("rollout", __name__, url_prefix="/rollout")
frame.page("cases", "rollout.index", N_("启用处置"), order=60)

OPEN, SHUT = "open", "shut"
DIRECTIONS = {OPEN: N_("启用处置"), SHUT: N_("转回试运行")}
KINDS = {kind.value: label for kind, label in KIND_LABELS.items()}
BY = {"department": N_("使用单位"), "pool": N_("资源池")}
WHY = {
    "shadow": N_("试运行"),
    "letters": N_("等候通知名额"),
    "ceiling": N_("超出立案上限"),
}
SAID = 20
"""Words of the past that the page shows."""


class ScopeForm(FlaskForm):  # type: ignore[misc]
    direction = RadioField(lazy("办理"), choices=[], validators=[InputRequired(lazy("请选择启用还是试运行"))])
    departments = ChoicesField(lazy("使用单位"), [Optional()], description=lazy("可多选；不选为全部单位"))
    pools = SelectMultipleField(
        lazy("资源池"), coerce=int, choices=[], validators=[Optional()], description=lazy("可多选；不选为全部资源池")
    )
    reason = StringField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=500)])

    def offer(self, tx: Tx) -> None:
        self.direction.choices = [SelectChoice(value, _(label)) for value, label in DIRECTIONS.items()]
        self.departments.offer(tx, choices.departments())
        rows = tx.execute(select(Pool.id, Pool.name).where(Pool.active).order_by(Pool.name))
        self.pools.choices = [SelectChoice(str(id_), name) for id_, name in rows]


class CeilingForm(FlaskForm):  # type: ignore[misc]
    scope = RadioField(lazy("适用于"), choices=[], validators=[InputRequired(lazy("请选择适用于谁"))])
    department = ChoiceField(lazy("使用单位"), description=lazy("仅“某个单位”须选择"))
    per_week = IntegerField(
        lazy("每周最多通知"), [Optional()],
        description=lazy("按资源计：一封通知列明几台，即为几件。不填为不限"),
    )  # fmt: skip
    reason = StringField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=500)])

    def offer(self, tx: Tx) -> None:
        self.scope.choices = [SelectChoice(one.value, _(label)) for one, label in ceilings.CEILING_LABELS.items()]
        self.department.offer(tx, choices.departments(), ("0", "—"))


# ------------------------------------------------------------------------------------------------------------ the page


@blueprint.get("/")
@allow(*STEWARDS)
@listed((), args=("by",), open=True)
def index() -> str | Response:
    """What is in the shadow, summed by department or by pool, and what was said on it."""
    tx = reading()
    by = request.args.get("by", "department")
    by = by if by in BY else "department"
    found = listing(tx, _summed(by), _sums(by), key=(Department if by == "department" else Pool).id, sort="-worth")
    exported = found.exported("shadow")
    if exported:
        return exported
    limits = ceilings.now(tx)
    return render_template(
        "rollout/index.html",
        sums=found,
        by=by,
        BY=BY,
        outlook=openings.outlook(tx),
        decisions=scopes.decisions(tx, SAID),
        scope=_scope,
        limits=limits,
        own=sum(one is not None for one in limits.own.values()),
        room=hearings.letter_room(tx),
        words=ceilings.history(tx, SAID),
        labels=ceilings.CEILING_LABELS,
    )


def _summed(by: str) -> Any:
    model: Any = Department if by == "department" else Pool
    on = AwaitedCase.department_id if by == "department" else AwaitedCase.pool_id
    return (
        select(
            model.id.label("id"),
            model.name.label("name"),
            func.count(AwaitedCase.id).label("cases"),
            candidates.RECOVERED.label("worth"),
            candidates.NEEDED.label("needs"),
        )
        .select_from(AwaitedCase)
        .join(model, model.id == on)
        .where(AwaitedCase.why == candidates.SHADOW)
        .group_by(model.id, model.name)
    )


def _sums(by: str) -> list[Column]:
    model: Any = Department if by == "department" else Pool
    link: Any = links.department if by == "department" else links.pool
    cases = func.count(AwaitedCase.id)
    return [
        Column("name", BY[by], lambda g: g.name, sort=model.name, title=True, href=link(lambda g: g.id)),
        Column("cases", N_("本应立案"), lambda g: g.cases, sort=cases, unit=N_("件"), number=True),
        Column(
            "worth", N_("可回收折合"), lambda g: round(g.worth, 1), unit="vCPU", sort=candidates.RECOVERED, number=True
        ),
        Column(
            "needs", N_("扩容所需折合"), lambda g: round(g.needs, 1), unit="vCPU", sort=candidates.NEEDED, number=True
        ),
    ]


def _scope(decision: ScopeDecision) -> str:
    """``某局 · 全部资源池``"""
    department = decision.department.name if decision.department else _("全部单位")
    return f"{department} · {decision.pool.name if decision.pool else _('全部资源池')}"


# --------------------------------------------------------------------------------------------------------- what waits


def _why(query: Any, value: str) -> Any:
    if value == "letters":
        return query.where(AwaitedCase.why.in_(candidates.LETTERS))
    if value == "ceiling":
        return query.where(AwaitedCase.why.in_(candidates.HELD - candidates.LETTERS - {candidates.SHADOW}))
    return query.where(AwaitedCase.why == value)


WAITING = [
    Column("resource", N_("资源"), lambda a: identified(a.resource), title=True, href=links.resource(lambda a: a.resource_id)),
    *marks_of(lambda a: a.resource),
    Column("kind", N_("类别"), lambda a: _(KINDS[a.kind]), code=lambda a: a.kind),
    Column("department", N_("使用单位"), lambda a: a.department.name, href=links.department(lambda a: a.department_id)),
    Column("pool", N_("资源池"), lambda a: a.pool.name, href=links.pool(lambda a: a.pool_id), minor=True),
    Column("what", N_("可回收(扩容为所需)"), lambda a: amounts(Amount.from_json(a.recoverable))),
    Column("worth", N_("折合"), lambda a: round(a.worth, 1), unit="vCPU", sort=AwaitedCase.worth, number=True,
           total=func.sum(AwaitedCase.worth)),
    Column("why", N_("等候"), lambda a: _(SKIPS[a.why]), code=lambda a: a.why, href=lambda a: links.to("finding", a.finding_id)),
    Column("place", N_("次序"), lambda a: a.place, sort=AwaitedCase.place, number=True),
    Column("expected_on", N_("预计轮到（当周）"), lambda a: a.expected_on),
    Column("since", N_("等候自"), lambda a: a.since, sort=AwaitedCase.since, minor=True),
]  # fmt: skip
WAITING_FILTERS = [
    Filter("why", N_("等候"), _why, options=WHY),
    Filter("kind", N_("类别"), lambda q, v: q.where(AwaitedCase.kind == v), options=KINDS),
    Filter(
        "department",
        N_("使用单位"),
        lambda q, v: q.where(
            AwaitedCase.department_id.in_(select(Department.id).where(frame.matching(v, Department.name)))
        ),
    ),
    Filter(
        "pool",
        N_("资源池"),
        lambda q, v: q.where(AwaitedCase.pool_id.in_(select(Pool.id).where(frame.matching(v, Pool.name)))),
    ),
    Filter(
        "q",
        N_("资源名称"),
        lambda q, v: q.where(
            AwaitedCase.resource_id.in_(
                select(Resource.id).where(frame.matching(v, Resource.name, Resource.external_id))
            )
        ),
    ),
]


@blueprint.get("/waiting")
@allow(*STEWARDS)
@listed(WAITING, WAITING_FILTERS)
def waiting() -> str | Response:
    """Cases that findings call for and that are not opened yet, in the order in which they will be."""
    tx = reading()
    query = select(AwaitedCase).options(
        joinedload(AwaitedCase.resource), joinedload(AwaitedCase.department), joinedload(AwaitedCase.pool)
    )
    found = listing(tx, query, WAITING, key=AwaitedCase.id, filters=WAITING_FILTERS, sort="place")
    return found.exported("awaited-cases") or render_template("rollout/waiting.html", rows=found)


# ------------------------------------------------------------------------------------------------------- what is said


@blueprint.route("/decide", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(ScopeForm, sends={"step": "confirm"})
def decide() -> str | Response | tuple[str, int]:
    """Open scopes, or shut them; the first sending shows what follows."""
    tx = reading()
    form = ScopeForm()
    form.offer(tx)
    if request.method == "GET":
        form.direction.data = request.args.get("direction", OPEN)
        form.departments.data = request.args.getlist("departments", row_of)
        form.pools.data = request.args.getlist("pools", row_of)

    def page() -> str:
        return render_template("rollout/decide.html", form=form)

    def act() -> str | Response:
        step = request.form.get("step")
        if step == "edit":
            return page()
        opens = form.direction.data == OPEN
        if step == "confirm":
            with transaction() as writing:
                scopes.decide(writing, opens, form.departments.data, form.pools.data, form.reason.data)
            return done(
                _("已启用处置，下次立案（每日凌晨）起执行") if opens else _("已转回试运行，在办的案件照常办理"),
                "rollout.index",
            )
        return render_template(
            "rollout/check.html", form=form, opens=opens, answers=_answers(form), **_follows(tx, form)
        )

    return answer(form, act, page, Invalid, WrongState)


def _answers(form: ScopeForm) -> list[tuple[str, str, str]]:
    chosen = {str(one) for one in form.pools.data or ()}
    named = [one.label for one in form.pools.choices if str(one.value) in chosen]
    return [
        (_("办理"), _(DIRECTIONS[form.direction.data]), ""),
        (_("使用单位"), _("、").join(form.departments.labels) or _("全部单位"), ""),
        (_("资源池"), _("、").join(named) or _("全部资源池"), ""),
        (_("理由"), form.reason.data, ""),
    ]


def _follows(tx: Tx, form: ScopeForm) -> dict[str, Any]:
    """What the last assessment calls for in the scope that the form names, and how many letters a week there may be. Where cases
    were opened from it, that is what was passed over then; else it is reckoned now."""
    scope = form.departments.data or (), form.pools.data or ()
    known = openings.outlook(tx)
    would = candidates.in_shadow(tx, *scope) if known.newer is None else openings.shadow(tx, known.newer, *scope)
    day = known.day if known.newer is None else known.newer.last_day
    return {"would": would, "day": day, "limits": ceilings.now(tx)}


@blueprint.route("/ceiling", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(CeilingForm)
def limit() -> str | Response | tuple[str, int]:
    """How many machines departments may be written to about in a week."""
    tx = reading()
    form = CeilingForm()
    form.offer(tx)
    if request.method == "GET":
        form.scope.data = CeilingScope.CITY.value
        form.per_week.data = ceilings.now(tx).city

    def act() -> Response:
        with transaction() as writing:
            ceilings.set_ceiling(
                writing,
                CeilingScope(form.scope.data),
                form.per_week.data,
                form.reason.data,
                form.department.data or None,
            )
        return done(_("每周通知上限已设定"), "rollout.index")

    return answer(form, act, lambda: render_template("rollout/limit.html", form=form))


# ------------------------------------------------------------------------------------------------- home and checklist


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, order=18)
def shadowed(tx: Tx, _who: Actor) -> str | None:
    """That something is in the shadow and what would be opened, or that cases wait for letters; nothing otherwise."""
    outlook = openings.outlook(tx)
    if outlook.standing.whole is True and not outlook.standing.queued:
        return None
    return render_template("rollout/_home.html", outlook=outlook)


@checklist.step("enforcement", N_("启用处置"), N_("看过试运行的评估结论后，按单位或资源池启用处置，案件和通知才会发出。"), Role.AUTHORITY,
                endpoint="rollout.index", order=190)  # fmt: skip
def _opened(look: Look) -> StepStanding:
    return StepStanding(scopes.now(look.tx).whole() is not False)
