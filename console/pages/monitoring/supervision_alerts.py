"""监管预警: what is beyond the limit of an item of supervision, whose turn it is to answer, what was answered."""

from __future__ import annotations

from decimal import Decimal

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import BUSINESS, allow
from console.book import actor, reading, transaction
from console.charts import timeline
from console.forms import act_on, done, generation, sent_back
from console.lists import Column, Filter, Rows, listing
from console.programs import GENERATION, listed, takes
from console.security import numbered, row
from console.words import _, lazy, number
from metering.supervision import (
    ALERT_LABELS,
    LEVEL_LABELS,
    OBJECT_LABELS,
    OPEN,
    Answerer,
    SupervisionAlert,
    SupervisionItem,
    SupervisionLevel,
    SupervisionSide,
    SupervisionState,
    alerts,
)
from quota.actors import ROLE_LABELS, Actor, Role
from quota.db import Tx
from quota.errors import N_, Refused

blueprint = Blueprint("supervision_alerts", __name__, url_prefix="/supervision")
frame.page("reports", "supervision_alerts.index", N_("监管预警"), order=50)

PARTIES = (Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT, Role.PROVIDER)
SHOWN = 8
"""How many a block of the home page shows."""
LATE = "late"
STATES = {
    "open": N_("在办"), LATE: N_("逾期未答复"),
    **{one.value: ALERT_LABELS[one] for one in SupervisionState if one is not SupervisionState.OPEN},
}  # fmt: skip
ACTIONS = {
    "supervision_alert.open": N_("预警"), "supervision_alert.acknowledge": N_("签收"), "supervision_alert.answer": N_("答复"),
    "supervision_alert.close": N_("了结"),
}  # fmt: skip


def code(one: SupervisionAlert) -> str:
    """The state's code among all states."""
    return f"alert_{one.state}"


def figured(figure: Decimal, item: SupervisionItem) -> str:
    """A figure with its unit: 85.25 %."""
    return f"{number(figure, 8)} {_(item.measured.unit)}"


def limited(item: SupervisionItem) -> str:
    """The limit in words: 高于 80 %."""
    figure = figured(item.threshold, item)
    return (
        _("高于 %(figure)s", figure=figure)
        if item.side == SupervisionSide.ABOVE
        else _("低于 %(figure)s", figure=figure)
    )


def about(one: SupervisionAlert) -> str:
    """Whom or what it is about."""
    return one.whom.name if one.whom is not None else _("全市")


def answers(item: SupervisionItem) -> str:
    """Who has to answer."""
    return _(ROLE_LABELS[Role(Answerer(item.answerer).value)])


def _where(one: SupervisionAlert) -> str | None:
    return links.address(one.object_key)


def counted(one: SupervisionAlert) -> str | None:
    """The list of the rows of which there are too many; none of an alert that is over, for they are those of now."""
    return links.counted(one.item.measure, one.item.of, one.object_id) if one.closed_at is None else None


def _state(query: Rows, value: str) -> Rows:
    if value == LATE:
        return query.where(alerts.late(reading().now))
    return query.where(SupervisionAlert.state.in_(OPEN) if value == "open" else SupervisionAlert.state == value)


COLUMNS = [
    Column("number", N_("编号"), lambda a: a.number, title=True, href=lambda a: url_for("supervision_alerts.show", alert_id=a.id)),
    Column("state", N_("状态"), code, state=True),
    Column("level", N_("级别"), lambda a: _(LEVEL_LABELS[SupervisionLevel(a.item.level)]), code=lambda a: a.item.level),
    Column("item", N_("监管事项"), lambda a: a.item.name),
    Column("type", N_("对象类型"), lambda a: _(OBJECT_LABELS[a.item.of]), code=lambda a: a.item.object_type, minor=True),
    Column("about", N_("对象"), about, href=_where),
    Column("figure", N_("最近一次"), lambda a: figured(a.figure, a.item), code=lambda a: a.figure, href=counted),
    Column("limit", N_("限值"), lambda a: limited(a.item), code=lambda a: a.item.threshold),
    Column("answerer", N_("由谁答复"), lambda a: answers(a.item), code=lambda a: a.item.answerer, minor=True),
    Column("opened_at", N_("预警于"), lambda a: a.opened_at, sort=SupervisionAlert.id),
    Column("due_at", N_("答复期限"), lambda a: a.due_at, sort=SupervisionAlert.due_at),
    Column("answered_at", N_("答复于"), lambda a: a.answered_at, minor=True),
    Column("closed_at", N_("了结于"), lambda a: a.closed_at, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("level", N_("级别"), lambda q, v: q.where(SupervisionItem.level == v), options={one.value: label for one, label in LEVEL_LABELS.items()}),
    Filter("q", N_("监管事项"), lambda q, v: q.where(frame.matching(v, SupervisionItem.name, SupervisionItem.code))),
]  # fmt: skip


class AlertAnswerForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(
        lazy(N_("原因和措施")), [InputRequired(lazy(N_("请写明原因和措施"))), Length(max=alerts.LONGEST)],
        description=lazy(N_("为什么超出限值，已经和将要做什么，何时恢复")),
    )  # fmt: skip


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = alerts.rows().where(alerts.visible(tx, actor()))
    found = listing(tx, query, COLUMNS, key=SupervisionAlert.id, filters=FILTERS, sort="-opened_at")
    return found.exported("supervision-alerts") or render_template("supervision_alerts/index.html", found=found)


@blueprint.get("/<int:alert_id>")
@allow(*BUSINESS)
def show(alert_id: int) -> str:
    tx = reading()
    one = alerts.alert(tx, alert_id)
    return render_template(
        "supervision_alerts/show.html", one=one, code=code(one), title=_("%(item)s：%(about)s", item=one.item.name, about=about(one)),
        where=_where(one), rows=counted(one), about=about(one), limit=limited(one.item), first=figured(one.opened_with, one.item),
        last=figured(one.figure, one.item), answerer=answers(one.item), level=_(LEVEL_LABELS[SupervisionLevel(one.item.level)]),
        own=alerts.may_answer(tx, one), history=timeline(tx, one.subject, ACTIONS, {}, {}),
    )  # fmt: skip


@blueprint.post("/<int:alert_id>/acknowledge")
@allow(*PARTIES)
@takes(None, GENERATION)
def acknowledge(alert_id: int) -> Response:
    """Say that it was read."""
    try:
        with transaction() as tx:
            alerts.acknowledge(tx, alert_id, generation=request.form.get("generation", type=row) or 0)
    except Refused as refused:
        return sent_back(refused, "supervision_alerts.show", alert_id=alert_id)
    return done(_("已签收，请在期限前答复"), "supervision_alerts.show", alert_id=alert_id)


@blueprint.route("/<int:alert_id>/answer", methods=["GET", "POST"])
@allow(*PARTIES)
@takes(AlertAnswerForm)
def answer(alert_id: int) -> str | Response | tuple[str, int]:
    """Say why it is so and what is done."""
    one = alerts.alert(reading(), alert_id)
    form = AlertAnswerForm(text=one.reply)
    return act_on(
        form, one.generation, lambda tx: alerts.answer(tx, alert_id, form.text.data or "", generation=generation(form)),
        lambda: render_template("supervision_alerts/answer.html", form=form, one=one, about=about(one)),
        _("已答复"), "supervision_alerts.show", alert_id=alert_id,
    )  # fmt: skip


@frame.home_block(*PARTIES, order=34)
def _waiting(tx: Tx, who: Actor) -> str | None:
    """What one is told of and nobody has answered; nothing where there is none."""
    query = alerts.rows().where(alerts.waiting(tx, who)).order_by(SupervisionAlert.due_at, SupervisionAlert.id)
    found, count = frame.shortened(tx, query, SHOWN)
    if not found:
        return None
    return render_template(
        "supervision_alerts/_home.html",
        found=found,
        count=count,
        code=code,
        about=about,
        limited=limited,
        figured=figured,
    )


@frame.finder(*BUSINESS, order=45)
def _find(tx: Tx, who: Actor, text: str, limit: int) -> list[frame.Hit]:
    """Alerts by their number, and by their item's name or code."""
    wanted = frame.matching(text, SupervisionItem.name, SupervisionItem.code) | (
        SupervisionAlert.id == numbered(text, "YJ-")
    )
    query = alerts.rows().where(alerts.visible(tx, who), wanted).order_by(SupervisionAlert.id.desc())
    return [
        frame.Hit(
            N_("监管预警"), f"{one.number} {one.item.name}", url_for("supervision_alerts.show", alert_id=one.id), about(one), code(one)
        )
        for one in tx.scalars(query.limit(limit))
    ]  # fmt: skip
