"""Inquiries (征询): what departments were asked about resources, what they answered, and what is overdue."""

from __future__ import annotations

from typing import Any, cast

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import and_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, RadioField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.forms import DateField, answer, done, refused_here, sent_back
from console.lists import Column, Filter, PagedList, Rows, listing
from console.programs import GENERATION, Given, listed, takes
from console.security import row_or
from console.words import KINDS, _, amounts, lazy, who
from metering.judging import LABELS, Finding, findings
from quota import requests
from quota.actors import Actor, Role
from quota.db import Tx, among
from quota.errors import N_, Invalid, Refused, WrongState
from quota.inventory import (
    GivenAnswer,
    Inquiry,
    InquiryGround,
    InquiryItem,
    InquiryPurpose,
    InquiryState,
    Resource,
    inquiries,
)
from quota.requests import Request
from quota.units import Amount

blueprint = Blueprint("inquiries", __name__, url_prefix="/inquiries")
frame.page("resources", "inquiries.index", N_("征询"), order=17)

READERS = (*STEWARDS, Role.TENANT)
SHOWN_AT_HOME = 10
LATE = "late"


def standing(inquiry: Inquiry) -> str:
    """The state of an inquiry as one word."""
    late = inquiry.state == InquiryState.OPEN and inquiry.due_at < reading().now
    return "inquiry_late" if late else f"inquiry_{inquiry.state}"


def _state_is(query: Rows, value: str) -> Rows:
    if value == LATE:
        return query.where(inquiries.late(reading().now))
    return query.where(Inquiry.state == value)


def _purposes() -> dict[str, str]:
    return {one.code: one.label for one in inquiries.purposes()}


def item_of(row: Any) -> InquiryItem:
    """The item of a row of the list."""
    found: InquiryItem = row.InquiryItem
    return found


def _may_open(item: InquiryItem) -> bool:
    """Whether the visitor may see the resource's own page: whom it is asked whether it is theirs may not yet."""
    return actor().role is not Role.TENANT or item.resource.department_id == item.inquiry.department_id


COLUMNS = [
    Column("number", N_("编号"), lambda i: i.number, sort=Inquiry.id, title=True,
           href=lambda i: url_for("inquiries.show", inquiry_id=i.id)),
    Column("purpose", N_("事项"), lambda i: _(inquiries.purpose(i.purpose).label)),
    Column("department", N_("使用单位"), lambda i: i.department.name, href=links.department(lambda i: i.department_id)),
    Column("resources", N_("资源数"), lambda i: i.resources, number=True),
    Column("answered", N_("已答复"), lambda i: i.answered, number=True),
    Column("state", N_("状态"), standing, state=True),
    Column("due", N_("答复期限"), lambda i: i.due_on, sort=Inquiry.due_at),
    Column("asked_by", N_("征询人"), lambda i: i.asked_by, text=who, minor=True),
    Column("asked_at", N_("发出时间"), lambda i: i.asked_at, minor=True),
]  # fmt: skip
ITEMS = [
    Column("name", N_("资源"), lambda r: item_of(r).resource.called, title=True,
           href=lambda r: url_for("resources.show", resource_id=item_of(r).resource_id) if _may_open(item_of(r)) else None),
    Column("external_id", N_("云侧编号"), lambda r: item_of(r).resource.external_id, minor=True),
    Column("kind", N_("类别"), lambda r: _(KINDS[item_of(r).resource.kind]), code=lambda r: item_of(r).resource.kind),
    Column("takes", N_("规格"), lambda r: amounts(Amount.from_json(item_of(r).takes)) or None),
    Column("pool", N_("资源池"), lambda r: item_of(r).resource.pool.name),
    Column("address", N_("地址"), lambda r: item_of(r).resource.address, minor=True),
    Column("tags", N_("标签"), lambda r: _("、").join(f"{name}={value}" for name, value in sorted(item_of(r).resource.tags.items())) or None, minor=True),
]  # fmt: skip
USE = [
    Column("verdict", N_("结论"), lambda r: r.Finding.verdict if r.Finding else None, state=True),
    Column("cpu", N_("CPU 均值"), lambda r: _figure(r, "cpu_mean"), unit="%", number=True),
    Column("memory", N_("内存均值"), lambda r: _figure(r, "mem_mean"), unit="%", number=True),
]
"""How each was used, as it was judged last."""
SAID = [
    Column("answer", N_("答复"), lambda r: _(inquiries.purpose(item_of(r).inquiry.purpose).labels()[r.answer]) if r.answer else None),
    Column("reason", N_("理由"), lambda r: item_of(r).reason or None),
    Column("until", N_("到"), lambda r: item_of(r).until, minor=True),
    Column("by", N_("答复人"), lambda r: item_of(r).by or None, text=who, minor=True),
]  # fmt: skip


VERDICTS = {one.value: label for one, label in LABELS.items()}


def _figure(row: Any, name: str) -> float | None:
    value = row.Finding.numbers.get(name) if row.Finding else None
    return round(float(value), 1) if value is not None else None


def items(tx: Tx) -> Rows:
    """Items of inquiries, each with what its resource was judged to be last, for a list of ``ITEMS``, ``USE`` and ``SAID``."""
    run = findings.last_run(tx)
    judged = and_(Finding.resource_id == InquiryItem.resource_id, Finding.assessment_id == (run.id if run else 0))
    what = (InquiryItem.id.label("id"), InquiryItem.answer.label("answer"), InquiryItem.outcome.label("outcome"))
    query = select(*what, InquiryItem, Finding).outerjoin(Finding, judged)
    loaded = joinedload(InquiryItem.resource).joinedload(Resource.pool), joinedload(InquiryItem.inquiry)
    return cast("Rows", query.options(*loaded))


class AnswerForm(FlaskForm):  # type: ignore[misc]
    answer = RadioField(lazy("答复"), [InputRequired(lazy("请选择答复"))], choices=[])
    reason = TextAreaField(lazy("理由"), [Length(max=inquiries.LONGEST_REASON)])
    category = SelectField(
        lazy("类别"), choices=[], default="", validate_choice=False, description=lazy("申请豁免的填写，并写明到哪一天")
    )
    until = DateField(lazy("到哪一天"), [Optional()])
    every = BooleanField(lazy("对全部未答复的资源"))


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS)
def index() -> str | Response:
    tx = reading()
    query = select(Inquiry).where(inquiries.visible(tx, actor())).options(joinedload(Inquiry.department))
    states = {
        InquiryState.OPEN.value: N_("待答复"), LATE: N_("逾期"), InquiryState.ANSWERED.value: N_("已答复"),
        InquiryState.WITHDRAWN.value: N_("已撤回"),
    }  # fmt: skip
    filters = [
        Filter("state", N_("状态"), _state_is, options=states),
        Filter("purpose", N_("事项"), lambda q, v: q.where(Inquiry.purpose == v), options=_purposes()),
    ]
    found = listing(tx, query, COLUMNS, key=Inquiry.id, filters=filters, sort="-number")
    return found.exported("inquiries") or render_template("inquiries/index.html", inquiries=found)


@blueprint.route("/<int:inquiry_id>", methods=["GET", "POST"])
@allow(*READERS)
@takes(AnswerForm, Given("id", int, label=N_("条目;对全部未答复的资源答复时不填"), many=True), by=(Role.TENANT,))
def show(inquiry_id: int) -> str | Response | tuple[str, int]:
    """One inquiry with its resources; whom it asks answers here, for some of them or for all."""
    tx = reading()
    one = inquiries.inquiry(tx, inquiry_id)
    purpose = inquiries.purpose(one.purpose)
    answers = actor().role is Role.TENANT and one.state == InquiryState.OPEN
    rows = _items(tx, one, purpose, answers)
    if request.method != "POST" and (exported := rows.exported(f"inquiry-{one.number}")):
        return exported
    form = _form(purpose)
    if not answers and request.method == "POST":
        refused_here(WrongState("inquiry.not_yours", N_("现在不由您答复")))

    def act() -> Response:
        for name in ("until", "category"):
            if name not in form and request.form.get(name):
                raise Invalid("inquiry.unasked", N_("这项征询不问这一项"), field=name)
        said = GivenAnswer(
            form.answer.data,
            form.reason.data or "",
            form.until.data if form.until else None,
            form.category.data if form.category else "",
        )
        with transaction() as writing:
            ticked = sorted({number for text in request.form.getlist("id") if (number := row_or(text, 0))})
            left = inquiries.answer(writing, one.id, None if form.every.data else ticked, said)
        return done(
            _("已答复，还有 %(left)s 项", left=left.resources - left.answered)
            if left.resources > left.answered
            else _("已全部答复"),
            "inquiries.show",
            inquiry_id=one.id,
        )

    def page() -> str:
        return render_template(
            "inquiries/show.html",
            one=one,
            purpose=purpose,
            state=standing(one),
            rows=rows,
            form=form,
            answers=answers,
            dated=any(each.until for each in purpose.answers),
            may_withdraw=one.state == InquiryState.OPEN and actor().role in (Role.SUPERVISOR, Role.AUTHORITY),
            address=links.address,
        )

    return answer(form, act, page, Refused) if answers else page()


def _items(tx: Tx, inquiry: Inquiry, purpose: InquiryPurpose, answers: bool) -> PagedList:
    query = items(tx).where(InquiryItem.inquiry_id == inquiry.id)
    columns = [*ITEMS, *_grounds(tx, inquiry, purpose), *(USE if purpose.judged else ()), *SAID]
    labels = {"none": N_("未答复"), **purpose.labels()}
    filters = [
        Filter(
            "answer",
            N_("答复"),
            lambda q, v: q.where(InquiryItem.answer == ("" if v == "none" else v)),
            options=labels,
            default="none" if answers else "",
        )
    ]
    if purpose.judged:
        filters.append(Filter("verdict", N_("结论"), lambda q, v: q.where(Finding.verdict == v), options=VERDICTS))
    return listing(tx, query, columns, key=InquiryItem.id, filters=filters)


def _grounds(tx: Tx, inquiry: Inquiry, purpose: InquiryPurpose) -> list[Column]:
    """Why each is asked about, where the purpose tells it, looked up for all of an inquiry at once."""
    if purpose.grounds is None:
        return []
    ids = tx.scalars(select(InquiryItem.resource_id).where(InquiryItem.inquiry_id == inquiry.id)).all()
    found = purpose.grounds(tx, ids)
    named = [row_or(one.subject.partition(":")[2], 0) for one in found.values()]
    seen = tx.scalars(select(Request.id).where(among(Request.id, named), requests.visible(tx))).all()
    shown = {f"request:{one}" for one in seen}  # what was another's may not be read by who has it now

    def ground(row: Any) -> InquiryGround | None:
        return found.get(item_of(row).resource_id)

    def href(row: Any) -> str | None:
        one = ground(row)
        return links.address(one.subject) if one is not None and one.subject in shown else None

    return [
        Column("request", N_("所依据的申请"), lambda r: one.number if (one := ground(r)) else None, href=href),
        Column("last_day", N_("最后一天"), lambda r: one.until if (one := ground(r)) else None),
        Column("silence", N_("逾期未办结的"), lambda r: _(one.silence) if (one := ground(r)) and one.silence else None),
    ]


def _form(purpose: InquiryPurpose) -> AnswerForm:
    form = AnswerForm()
    form.answer.choices = [SelectChoice(each.code, _(each.label)) for each in purpose.answers]
    categories = {code: label for each in purpose.answers for code, label in each.categories.items()}
    form.category.choices = [
        SelectChoice("", "—"),
        *(SelectChoice(code, _(label)) for code, label in categories.items()),
    ]
    if not categories:
        del form.category
    if not any(each.until for each in purpose.answers):
        del form.until
    return form


@blueprint.post("/<int:inquiry_id>/withdraw")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, GENERATION, Given("reason", label=N_("理由")))
def withdraw(inquiry_id: int) -> Response:
    try:
        with transaction() as tx:
            inquiries.withdraw(
                tx, inquiry_id, row_or(request.form.get("generation"), 0), request.form.get("reason", "")[:500]
            )
    except Invalid as refused:
        return sent_back(refused, "inquiries.show", inquiry_id=inquiry_id)
    return done(_("征询已撤回"), "inquiries.show", inquiry_id=inquiry_id)


@frame.home_block(Role.TENANT, order=18)
def _to_answer(tx: Tx, who_: Actor) -> str | None:
    """What the department is asked and has not answered, the nearest day first; nothing where there is none."""
    query = select(Inquiry).where(inquiries.visible(tx, who_), Inquiry.state == InquiryState.OPEN.value)
    return _home(tx, query, N_("待答复的征询"), "open")


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, order=46)
def _overdue(tx: Tx, _who: Actor) -> str | None:
    """Inquiries whose day is over with something unanswered."""
    return _home(tx, select(Inquiry).where(inquiries.late(tx.now)), N_("逾期未答复的征询"), LATE)


def _home(tx: Tx, query: Rows, title: str, state: str) -> str | None:
    rows = tx.scalars(
        query.options(joinedload(Inquiry.department)).order_by(Inquiry.due_at, Inquiry.id).limit(SHOWN_AT_HOME)
    ).all()
    labels = _purposes()
    return render_template("inquiries/_home.html", rows=rows, title=title, state=state, labels=labels) if rows else None


@frame.finder(*READERS, order=45)
def find(tx: Tx, who_: Actor, text: str, limit: int) -> list[frame.Hit]:
    """Inquiries by number or department."""
    digits = text.strip().upper().removeprefix("ZX").rpartition("-")[2]
    number = row_or(digits, 0) if digits.isascii() and digits.isdigit() else 0
    if not number or not text.strip().upper().startswith("ZX"):
        return []
    rows = tx.scalars(
        select(Inquiry)
        .where(inquiries.visible(tx, who_), Inquiry.id == number)
        .options(joinedload(Inquiry.department))
        .limit(limit)
    )
    return [
        frame.Hit(
            N_("征询"), one.number, url_for("inquiries.show", inquiry_id=one.id), one.department.name, standing(one)
        )
        for one in rows
    ]  # fmt: skip
