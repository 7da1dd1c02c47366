"""冗余提醒: departments that leave more idle than the policy allows; their answer, the authority's urging and ruling."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import STEWARDS, allow, proven
from console.book import reading
from console.forms import act_on, generation
from console.lists import Column, Filter, Rows, listing
from console.programs import listed, takes
from console.words import _, lazy, percent
from metering.judging import findings
from metering.surplus import OPEN, SURPLUS_LABELS, SurplusNotice, surpluses
from quota.actors import Actor, Role
from quota.db import Tx
from quota.errors import N_

blueprint = Blueprint("surpluses", __name__, url_prefix="/surpluses")
frame.page("cases", "surpluses.index", N_("冗余提醒"), order=27)

READERS = (*STEWARDS, Role.TENANT)
LONGEST = 2000
SHOWN = 8
"""How many a block of the home page shows."""


def code(one: SurplusNotice) -> str:
    """The state's code among all states."""
    return f"surplus_{one.state}"


def _state(query: Rows, value: str) -> Rows:
    if value == "over":
        return query.where(SurplusNotice.state.in_(OPEN), SurplusNotice.due_at < reading().now)
    return query.where(SurplusNotice.state.in_(OPEN) if value == "open" else SurplusNotice.state == value)


STATES = {"open": N_("在办"), "over": N_("已逾期"), **{one.value: label for one, label in SURPLUS_LABELS.items()}}
COLUMNS = [
    Column("department", N_("使用单位"), lambda n: n.department.name, title=True,
           href=lambda n: url_for("surpluses.show", notice_id=n.id)),
    Column("state", N_("状态"), code, state=True),
    Column("share", N_("闲置占比"), lambda n: round(n.share, 1), unit="%", number=True),
    Column("allowed", N_("允许的冗余"), lambda n: n.allowed, unit="%", number=True),
    Column("freed", N_("可腾出 vCPU"), lambda n: n.freed, number=True),
    Column("opened", N_("提醒于"), lambda n: n.opened_at, sort=SurplusNotice.id),
    Column("due", N_("期限"), lambda n: n.due_at if n.open else None, sort=SurplusNotice.due_at),
    Column("replied", N_("单位答复于"), lambda n: n.replied_at, minor=True),
]  # fmt: skip
FILTERS = [Filter("state", N_("状态"), _state, options=STATES)]


class SayForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(lazy("内容"), [InputRequired(lazy("请写明内容")), Length(max=LONGEST)])


class SurplusRulingForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    ruling = RadioField(lazy("裁定"), choices=[], validators=[InputRequired(lazy("请选择裁定"))])
    text = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=LONGEST)])

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.ruling.choices = [
            SelectChoice("cut", _("收回：对闲置资源逐台立案，单位仍可异议")),
            SelectChoice("keep", _("保留：允许继续使用")),
        ]


def _rows(tx: Tx) -> Rows:
    query = select(SurplusNotice).where(surpluses.visible(tx, tx.actor))
    return query.options(joinedload(SurplusNotice.department))


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, _rows(tx), COLUMNS, key=SurplusNotice.id, filters=FILTERS, sort="-opened")
    return found.exported("surpluses") or render_template("surpluses/index.html", found=found)


@blueprint.get("/<int:notice_id>")
@allow(*READERS)
def show(notice_id: int) -> str:
    tx = reading()
    one = surpluses.notice(tx, notice_id)
    run = findings.last_run(tx)
    now = surpluses.current(tx, run, one.department_id) if run is not None else None
    return render_template(
        "surpluses/show.html",
        one=one,
        code=code(one),
        current=now,
        held=_held(one),
        over=one.open and one.due_at < tx.now,
        urger=one.urged_by == tx.actor.login,
        own=one.department_id == tx.actor.department_id,
        department_link=links.address(f"department:{one.department_id}"),
    )


def _held(one: SurplusNotice) -> str | None:
    """What was idle in each month that the policy asked for."""
    told = [
        _("%(month)s：%(share)s", month=each["month"], share=percent(100 * each["freed"] / each["total"]))
        for each in one.months
    ]
    return _("；").join(told) or None


def _act(notice_id: int, form: Any, title: str, told: str, note: str, verb: Any) -> str | Response | tuple[str, int]:
    one = surpluses.notice(reading(), notice_id)
    return act_on(
        form, one.generation, verb, lambda: render_template("surpluses/act.html", form=form, one=one, title=title, note=note),
        told, "surpluses.show", notice_id=notice_id,
    )  # fmt: skip


@blueprint.route("/<int:notice_id>/answer", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(SayForm)
def reply(notice_id: int) -> str | Response | tuple[str, int]:
    form = SayForm()
    return _act(
        notice_id, form, _("答复"), _("已答复"), _("写明闲置的原因，以及何时核减或退订哪些资源。降到允许的比例以内，提醒自行了结。"),
        lambda tx: surpluses.answer(tx, notice_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:notice_id>/urge", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(SayForm)
def urge(notice_id: int) -> str | Response | tuple[str, int]:
    form = SayForm()
    return _act(
        notice_id, form, _("督促"), _("已督促"), _("督促后单位另有规定的工作日核减；逾期由另一人裁定。"),
        lambda tx: surpluses.urge(tx, notice_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:notice_id>/rule", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(SurplusRulingForm)
def rule(notice_id: int) -> str | Response | tuple[str, int]:
    form = SurplusRulingForm()
    return _act(
        notice_id, form, _("裁定"), _("已裁定"), _("单位的沉默不等于同意，请依据其答复与现状裁定。"),
        lambda tx: surpluses.rule(
            tx, notice_id, generation(form), cut=form.ruling.data == "cut", reason=form.text.data
        ),
    )  # fmt: skip


@frame.home_block(Role.TENANT, order=35)
def _own(tx: Tx, _who: Actor) -> str | None:
    """The own notices that are open."""
    query = _rows(tx).where(SurplusNotice.state.in_(OPEN)).order_by(SurplusNotice.due_at).limit(SHOWN)
    rows = tx.scalars(query).all()
    return render_template("surpluses/_home.html", rows=rows, title=_("冗余提醒")) if rows else None


@frame.home_block(Role.SUPERVISOR, order=46)
def _to_take(tx: Tx, _who: Actor) -> str | None:
    """Where cases are to be opened because it was ruled so."""
    rows = surpluses.to_take(tx, SHOWN)
    title = _("裁定收回冗余、待逐台立案的单位")
    return render_template("surpluses/_home.html", rows=rows, title=title, to_take=True) if rows else None


@frame.home_block(Role.AUTHORITY, order=46)
def _over(tx: Tx, _who: Actor) -> str | None:
    """Whose time is over: to be urged, or ruled on."""
    rows = surpluses.over(tx, SHOWN)
    return render_template("surpluses/_home.html", rows=rows, title=_("逾期未核减冗余的单位")) if rows else None
