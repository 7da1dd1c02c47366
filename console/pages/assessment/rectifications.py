"""整改: orders to put right what a card or an incident found; plan and proof of whom it is about, the review of who oversees them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, RadioField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading, transaction
from console.forms import DateField, act_on, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.pages.orders import company_filter, dialogues
from console.programs import Given, listed, takes
from console.security import numbered
from console.words import _, lazy, who
from console.words import evidence as evidence_words
from providers.assessment import (
    SUBJECT_LABELS,
    Rectification,
    RectificationState,
    SubjectType,
    rectifications,
    whose,
)
from providers.assessment import cards as marks
from quota.actors import Actor, Role
from quota.calendar import ZONE, working_days
from quota.db import Tx
from quota.errors import N_, NotAllowed, Refused

blueprint = Blueprint("rectifications", __name__, url_prefix="/rectifications")
frame.page("providers", "rectifications.index", N_("整改"), order=45)

READERS = (*STEWARDS, Role.PROVIDER, Role.TENANT)
RULERS = (Role.SUPERVISOR, Role.AUTHORITY)
PARTIES = (Role.PROVIDER, Role.TENANT, Role.SUPERVISOR)
"""Who may be ordered to put something right; the supervisor what is asked of the steward itself."""
USUAL_DAYS = 10
"""Working days that the form proposes."""
SHOWN = 8
"""How many a block of the home page shows."""
STEPS = {
    RectificationState.ORDERED: N_("责令整改"), RectificationState.PLANNED: N_("提交整改方案"),
    RectificationState.PROVEN: N_("提交整改证明"), RectificationState.REFUSED: N_("复核退回"),
    RectificationState.ACCEPTED: N_("复核通过"), RectificationState.WITHDRAWN: N_("撤销整改"),
}  # fmt: skip


def code(rectification: Rectification) -> str:
    """The state's code among all states."""
    return f"rectification_{rectification.state}"


def _state(query: Rows, value: str) -> Rows:
    if value == "overdue":
        return query.where(rectifications.late(reading().now))
    if value == "open":
        return query.where(Rectification.state.in_([one.value for one in rectifications.OPEN]))
    return query.where(Rectification.state == value)


STATES = {
    "open": N_("在办"), "overdue": N_("逾期"), "proven": N_("待复核"), "accepted": N_("整改通过"), "withdrawn": N_("已撤销"),
}  # fmt: skip
SUBJECTS = {kind.value: label for kind, label in SUBJECT_LABELS.items()}
COLUMNS = [
    Column("number", N_("整改编号"), lambda r: r.number, sort=Rectification.id,
           href=lambda r: url_for("rectifications.show", rectification_id=r.id), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("title", N_("整改事项"), lambda r: r.title),
    Column("whom", N_("被考核方"), lambda r: _(r.whose), code=lambda r: r.whose_code),
    Column("source", N_("依据"), lambda r: evidence_words.called(r.source), code=lambda r: r.source, href=lambda r: links.address(r.source)),
    Column("due", N_("期限"), lambda r: r.due_at, sort=Rectification.due_at),
    Column("overdue", N_("逾期"), lambda r: _("是") if r.overdue(reading().now) else None, code=lambda r: r.overdue(reading().now)),
    Column("handed_in", N_("提交"), lambda r: r.handed_in_at, minor=True),
    Column("ordered", N_("责令于"), lambda r: r.ordered_at, sort=Rectification.ordered_at, minor=True),
    Column("by", N_("责令人"), lambda r: r.ordered_by, text=who, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter(
        "kind", N_("被考核方"), lambda q, v: q.where(whose.of_type(Rectification, SubjectType(v))), options=SUBJECTS
    ),
    Filter("q", N_("整改事项"), lambda q, v: q.where(frame.matching(v, Rectification.title))),
]


NAMED = [joinedload(one) for one in (Rectification.provider, Rectification.department, Rectification.system)]


def rows(tx: Tx) -> Rows:
    return select(Rectification).where(rectifications.visible(tx, tx.actor)).options(*NAMED)


class OrderForm(FlaskForm):  # type: ignore[misc]
    source = StringField(
        lazy("依据"), [InputRequired(lazy("请填写依据")), Length(max=64)],
        description=lazy("故障写作 incident:12，评分的一项指标写作 scorecard:5/delivery；从故障页或评分页进入时已填好"),
    )  # fmt: skip
    title = StringField(lazy("整改事项"), [InputRequired(lazy("请填写整改事项")), Length(max=256)])
    demand = TextAreaField(lazy("整改要求"), [InputRequired(lazy("请写明整改要求")), Length(max=rectifications.MOST)])
    due_on = DateField(
        lazy("整改期限"), validators=[InputRequired(lazy("请填写整改期限"))], description=lazy("当日结束前提交证明")
    )


class StepForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(lazy("内容"), [InputRequired(lazy("请写明内容")), Length(max=rectifications.MOST)])


class ReviewForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    accepted = RadioField(lazy("复核结果"), choices=[], validators=[InputRequired(lazy("请选择复核结果"))])
    text = TextAreaField(lazy("复核意见"), [InputRequired(lazy("请写明复核意见")), Length(max=rectifications.MOST)])


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS, args=("provider", links.WATCHED))
def index() -> str | Response:
    tx = reading()
    own = tx.actor.role in (Role.PROVIDER, Role.TENANT)
    filters = [
        *FILTERS,
        *links.watched(tx, Rectification),
        *([] if own else [company_filter(tx, Rectification.provider_id)]),
    ]
    found = listing(tx, rows(tx), COLUMNS, key=Rectification.id, filters=filters, sort="-ordered")
    evidence_words.learn([one.source for one in found.rows])
    return found.exported("rectifications") or render_template("rectifications/index.html", found=found)


@blueprint.get("/<int:rectification_id>")
@allow(*READERS)
def show(rectification_id: int) -> str:
    tx = reading()
    one = rectifications.rectification(tx, rectification_id)
    return render_template(
        "rectifications/show.html",
        one=one,
        code=code(one),
        steps=[(step, _(STEPS[RectificationState(step.step)])) for step in one.steps],
        source=evidence_words.called(one.source),
        source_link=links.address(one.source),
        late=one.overdue(tx.now),
        theirs=one.state in rectifications.PARTYS_TURN,
        label=SUBJECT_LABELS[one.subject.type],
        overseer=whose.overseers(one.subject)[0].value,
        mine=whose.speaks_for(tx, tx.actor, one.subject),
        ruler=tx.actor.role in whose.overseers(one.subject),
        **dialogues.thread(tx, one.ref),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*RULERS)
@takes(OrderForm, args=(Given("source"),))
def order() -> str | Response | tuple[str, int]:
    """Order something to be put right; ``?source=incident:12`` says what it is about."""
    tx = reading()
    source = request.args.get("source", "")[:64]
    proposed = working_days(tx).due(tx.now, USUAL_DAYS).astimezone(ZONE).date()
    form = OrderForm(source=source, due_on=proposed, title=_proposed(tx, source))

    def act() -> Response:
        with transaction() as write:
            found = rectifications.order(
                write, form.source.data.strip(), form.title.data, form.demand.data, form.due_on.data
            )
        return done(_("已责令整改"), "rectifications.show", rectification_id=found.id)

    return answer(form, act, lambda: render_template("rectifications/order.html", form=form), Refused)


def _proposed(tx: Tx, source: str) -> str:
    """A title for what is ordered about ``source``: what it is called; nothing where it can't be ordered about."""
    if not source:
        return ""
    try:
        rectifications.accused(tx, source)
    except Refused:
        return ""
    kind, _colon, rest = source.partition(":")
    if kind == "scorecard":
        number, _slash, indicator = rest.partition("/")
        card = marks.scorecard(tx, int(number))
        return f"{card.month} {_(marks.formula_of(card).label(indicator))}"
    return evidence_words.called(source)


def _step(rectification_id: int, template: str, told: str, verb: Any) -> str | Response | tuple[str, int]:
    one, form = rectifications.rectification(reading(), rectification_id), StepForm()
    return act_on(
        form, one.generation, lambda tx: verb(tx, rectification_id, generation(form), form.text.data),
        lambda: render_template(template, form=form, one=one), told, "rectifications.show", rectification_id=rectification_id,
    )  # fmt: skip


@blueprint.route("/<int:rectification_id>/plan", methods=["GET", "POST"])
@allow(*PARTIES)
@takes(StepForm)
def plan(rectification_id: int) -> str | Response | tuple[str, int]:
    return _step(rectification_id, "rectifications/plan.html", _("整改方案已提交"), rectifications.plan)


@blueprint.route("/<int:rectification_id>/proof", methods=["GET", "POST"])
@allow(*PARTIES)
@takes(StepForm)
def prove(rectification_id: int) -> str | Response | tuple[str, int]:
    return _step(rectification_id, "rectifications/prove.html", _("整改证明已提交，等待复核"), rectifications.prove)


@blueprint.route("/<int:rectification_id>/withdraw", methods=["GET", "POST"])
@allow(*RULERS)
@takes(StepForm)
def withdraw(rectification_id: int) -> str | Response | tuple[str, int]:
    return _step(rectification_id, "rectifications/withdraw.html", _("已撤销"), rectifications.withdraw)


@blueprint.route("/<int:rectification_id>/review", methods=["GET", "POST"])
@allow(*RULERS)
@takes(ReviewForm)
def review(rectification_id: int) -> str | Response | tuple[str, int]:
    one = rectifications.rectification(reading(), rectification_id)
    form = ReviewForm(generation=one.generation)
    form.accepted.choices = [SelectChoice("1", _("整改通过")), SelectChoice("0", _("退回继续整改"))]

    def act() -> Response:
        with transaction() as write:
            rectifications.review(
                write, rectification_id, generation(form), accepted=form.accepted.data == "1", text=form.text.data
            )
        return done(_("已复核"), "rectifications.show", rectification_id=rectification_id)

    return answer(form, act, lambda: render_template("rectifications/review.html", form=form, one=one), Refused)


@blueprint.post("/<int:rectification_id>/remark")
@allow(Role.PROVIDER, Role.TENANT, *RULERS)
@takes(None, *dialogues.REMARK)
def remark(rectification_id: int) -> Response:
    tx = reading()
    one = rectifications.rectification(tx, rectification_id)
    if request.form.get("kind") == "dispute" and not whose.speaks_for(tx, tx.actor, one.subject):
        raise NotAllowed("rectification.not_yours", N_("只能办理本单位的整改"))
    dialogues.say(one.ref, one.provider_id)
    return redirect(url_for("rectifications.show", rectification_id=rectification_id))


@blueprint.post("/<int:rectification_id>/rule")
@allow(*RULERS)
@takes(None, *dialogues.RULING)
def rule(rectification_id: int) -> Response:
    one = rectifications.rectification(reading(), rectification_id)
    dialogues.rule(one.ref, issued_by=one.ordered_by)
    return redirect(url_for("rectifications.show", rectification_id=rectification_id))


@frame.home_block(*PARTIES, Role.AUTHORITY, order=46)
def _waiting(tx: Tx, actor: Actor) -> str | None:
    """What waits for the visitor to put right or to review; nothing where there is none."""
    found = rectifications.waiting(tx, actor, SHOWN)
    return render_template("rectifications/_home.html", found=found, code=code) if found else None


@frame.finder(*READERS, order=46)
def _find(tx: Tx, _actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    wanted = frame.matching(text, Rectification.title) | (Rectification.id == numbered(text, "ZG-"))
    found = tx.scalars(rows(tx).where(wanted).order_by(Rectification.id.desc()).limit(limit))
    return [
        frame.Hit(N_("整改"), f"{one.number} {one.title}", url_for("rectifications.show", rectification_id=one.id), _(one.whose), code(one))
        for one in found
    ]  # fmt: skip
