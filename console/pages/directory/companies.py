"""Companies that operate the clouds: their pools, and what they are doing, billing and scoring; registered, amended, ended."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from werkzeug.wrappers import Response
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import reading, settings, transaction
from console.forms import DateField, answer, done
from console.founding import Look, checklist
from console.lists import Column, Filter, listing
from console.pages.assessment import incidents as incident_pages
from console.pages.assessment import scorecards as score_pages
from console.pages.orders import orders as order_pages
from console.programs import listed, takes
from console.words import _, lazy
from providers.assessment import ScorecardRecord, cards
from providers.billing import Bill, Incident, bills, incidents
from providers.orders import UNDER_WAY, VERB_LABELS, WorkOrder
from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.directory import CloudProvider, Person, companies, provider
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState

blueprint = Blueprint("companies", __name__, url_prefix="/companies")
frame.page("providers", "companies.index", N_("公司"), order=5)

READERS = (*STEWARDS, Role.PROVIDER)
STATES = {"active": N_("启用"), "ended": N_("已终止")}
VERBS = {
    "company.register": N_("登记公司"), "company.amend": N_("修改公司"), "company.end": N_("终止公司"),
    "company.resume": N_("恢复公司"),
}  # fmt: skip
MOST_EVENTS = 20


class CompanyForm(FlaskForm):  # type: ignore[misc]
    """What is said of a company; ``code`` of a new one alone."""

    code = StringField(
        lazy(N_("代码")),
        [InputRequired(lazy(N_("请填写代码"))), Length(max=32)],
        description=lazy(N_("清单和账单里的简称，登记后不变")),
    )
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    credit_code = StringField(lazy(N_("统一社会信用代码")), [Length(max=32)], description=lazy(N_("18 位")))
    contract_number = StringField(lazy(N_("合同编号")), [Length(max=64)])
    contract_from = DateField(lazy(N_("合同起始日")), [Optional()])
    contract_until = DateField(lazy(N_("合同截止日")), [Optional()])
    contacts = TextAreaField(
        lazy(N_("联系人")), [Length(max=4000)], description=lazy(N_("每行一位：姓名，职责，电话，邮箱"))
    )

    def facts(self) -> dict[str, Any]:
        """What was typed, as ``companies`` takes it. Raises Invalid for contacts that cannot be read."""
        said = {name: self[name].data for name in companies.FIELDS if name != "contacts"}
        said |= {name: said[name] or "" for name in ("credit_code", "contract_number")}
        return {**said, "contacts": companies.contacts_in(self.contacts.data or "")}


class EndCompanyForm(FlaskForm):  # type: ignore[misc]
    on = DateField(lazy(N_("终止日期")), [InputRequired(lazy(N_("请填写日期")))])
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


class ResumeForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


def _under_way(company: CloudProvider) -> int:
    tx = reading()
    return (
        tx.scalar(
            select(func.count(WorkOrder.id)).where(
                WorkOrder.provider_id == company.id, WorkOrder.state.in_([one.value for one in UNDER_WAY])
            )
        )
        or 0
    )


def _latest(company: CloudProvider) -> ScorecardRecord | None:
    tx = reading()
    return tx.scalar(
        select(ScorecardRecord)
        .where(ScorecardRecord.provider_id == company.id, cards.visible(tx, tx.actor))
        .order_by(ScorecardRecord.computed_at.desc())
        .limit(1)
    )


def _latest_text(company: CloudProvider) -> str | None:
    card = _latest(company)
    return f"{card.month} {card.total if card.rated else _(score_pages.UNRATED)}" if card else None


COLUMNS = [
    Column("name", N_("公司"), lambda c: c.name, sort=CloudProvider.name,
           href=lambda c: url_for("companies.show", provider_id=c.id), title=True),
    Column("code", N_("代码"), lambda c: c.code, sort=CloudProvider.code),
    Column("contract", N_("合同编号"), lambda c: c.contract_number or None, minor=True),
    Column("until", N_("合同截止日"), lambda c: c.contract_until, sort=CloudProvider.contract_until),
    Column("pools", N_("资源池"), lambda c: len(c.pools), number=True),
    Column("orders", N_("待交付工单"), _under_way, number=True),
    Column("score", N_("最近评分"), _latest_text),
    Column("state", N_("状态"), lambda c: standing(c), state=True),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("名称、代码或信用代码"), lambda q, v: q.where(
        frame.matching(v, CloudProvider.name, CloudProvider.code, CloudProvider.credit_code))),
    Filter("state", N_("状态"), lambda q, v: q.where(CloudProvider.active.is_(v == "active")), options=STATES,
           default="active"),
]  # fmt: skip


def standing(provider: CloudProvider) -> str:
    """The state of a company as one word."""
    return "active" if provider.active else "company_ended"


def _own(tx: Tx, query: Any) -> Any:
    if tx.actor.role is Role.PROVIDER:
        return query.where(CloudProvider.id == tx.actor.provider_id)
    return query


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = _own(tx, select(CloudProvider))
    found = listing(tx, query, COLUMNS, key=CloudProvider.id, filters=FILTERS, sort="name")
    return found.exported("companies") or render_template("companies/index.html", companies=found)


@blueprint.get("/<int:provider_id>")
@allow(*READERS)
def show(provider_id: int) -> str:
    tx = reading()
    one = provider(tx, provider_id)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != one.id:
        raise NotFound("provider.none", N_("没有编号为 %(id)s 的云服务商"), id=provider_id)
    open_orders = order_pages.rows(tx).where(
        WorkOrder.provider_id == one.id, WorkOrder.state.in_([state.value for state in UNDER_WAY])
    )
    return render_template(
        "companies/show.html",
        one=one,
        standing=standing(one),
        contacts=companies.contacts(one),
        people=tx.scalars(
            select(Person).where(Person.provider_id == one.id).order_by(Person.active.desc(), Person.name).limit(50)
        ).all(),
        history=_history(tx, one) if tx.actor.role is not Role.PROVIDER else [],
        orders=tx.scalars(open_orders.order_by(WorkOrder.due_at).limit(8)).all(),
        under_way=_under_way(one),
        late=tx.scalar(select(func.count()).select_from(open_orders.where(WorkOrder.due_at < tx.now).subquery())),
        times=order_pages.delivered_in(tx, one.id),
        days=order_pages.WINDOW.days,
        incidents=tx.scalars(
            select(Incident).where(Incident.provider_id == one.id, incidents.visible(tx.actor))
            .order_by(Incident.started_at.desc()).limit(8)
        ).all(),
        bills=tx.scalars(
            select(Bill).where(Bill.provider_id == one.id, bills.visible(tx.actor))
            .order_by(Bill.month.desc(), Bill.revision.desc()).limit(6)
        ).all(),
        cards=tx.scalars(
            select(ScorecardRecord).where(ScorecardRecord.provider_id == one.id, cards.visible(tx, tx.actor))
            .order_by(ScorecardRecord.month.desc(), ScorecardRecord.revision.desc()).limit(6)
        ).all(),
        order_code=order_pages.code,
        incident_code=incident_pages.code,
        card_code=score_pages.code,
        grade=score_pages.grade_of,
        verbs=VERB_LABELS,
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(CompanyForm)
def register() -> str | Response | tuple[str, int]:
    form = CompanyForm()

    def act() -> Response:
        with transaction() as tx:
            one = companies.register(tx, form.code.data, form.name.data, form.facts())
            company_id, name = one.id, one.name
        return done(_("已登记：%(name)s", name=name), "companies.show", provider_id=company_id)

    return answer(form, act, lambda: render_template("companies/edit.html", form=form, one=None), Invalid, Conflict)


@blueprint.route("/<int:provider_id>/edit", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(CompanyForm)
def edit(provider_id: int) -> str | Response | tuple[str, int]:
    one = provider(reading(), provider_id)
    said = {name: getattr(one, name) for name in companies.FIELDS}
    form = CompanyForm(data={**said, "contacts": companies.contacts_text(companies.contacts(one))})
    del form.code

    def act() -> Response:
        with transaction() as tx:
            companies.amend(tx, provider(tx, provider_id), form.facts())
        return done(_("已保存"), "companies.show", provider_id=provider_id)

    return answer(form, act, lambda: render_template("companies/edit.html", form=form, one=one), Invalid, Conflict)


@blueprint.route("/<int:provider_id>/end", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(EndCompanyForm)
def end(provider_id: int) -> str | Response | tuple[str, int]:
    """Say that a company operates nothing here any more. It stays on record with all that names it."""
    tx = reading()
    one = provider(tx, provider_id)
    form = EndCompanyForm(on=tx.now.astimezone(settings().zone).date())

    def act() -> Response:
        with transaction() as writing:
            companies.end(writing, provider(writing, provider_id), form.on.data, form.reason.data)
        return done(_("已终止：%(name)s", name=one.name), "companies.show", provider_id=provider_id)

    def page() -> str:
        told = {"under_way": _under_way(one), "accounts": _accounts(tx, one)}
        return render_template("companies/end.html", form=form, one=one, **told)

    return answer(form, act, page, Invalid, WrongState)


@blueprint.route("/<int:provider_id>/resume", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(ResumeForm)
def resume(provider_id: int) -> str | Response | tuple[str, int]:
    """Take back that a company has ended."""
    one = provider(reading(), provider_id)
    form = ResumeForm()

    def act() -> Response:
        with transaction() as tx:
            companies.resume(tx, provider(tx, provider_id), form.reason.data)
        return done(_("已恢复：%(name)s", name=one.name), "companies.show", provider_id=provider_id)

    return answer(form, act, lambda: render_template("companies/resume.html", form=form, one=one), Invalid, WrongState)


def _accounts(tx: Tx, provider: CloudProvider) -> int:
    """How many people of the company may log in."""
    return tx.scalar(select(func.count(Person.id)).where(Person.provider_id == provider.id, Person.active)) or 0


def _history(tx: Tx, provider: CloudProvider) -> list[dict[str, object]]:
    records = tx.scalars(
        select(AuditRecord)
        .where(AuditRecord.subject == f"provider:{provider.id}", AuditRecord.action.in_(VERBS))
        .order_by(AuditRecord.sequence.desc())
        .limit(MOST_EVENTS)
    )
    return [
        {
            "at": each.at,
            "who": each.actor,
            "what": _(VERBS[each.action]),
            "reason": each.reason,
            "changes": [
                (_(companies.FIELDS[name]), _written(name, each.before.get(name)), _written(name, value))
                for name, value in each.after.items()
                if name in companies.FIELDS and each.before.get(name) != value
            ],
        }
        for each in records
    ]


def _written(name: str, value: Any) -> Any:
    """A recorded value as people read it."""
    if name == "contacts" and value is not None:
        return companies.contacts_text(companies.Contact(**each) for each in value)
    return value


@frame.finder(*READERS, order=50)
def _find(tx: Tx, _actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    query = _own(tx, select(CloudProvider).where(frame.matching(text, CloudProvider.name)))
    return [
        frame.Hit(N_("云服务商"), one.name, url_for("companies.show", provider_id=one.id), one.code)
        for one in tx.scalars(query.limit(limit))
    ]


@checklist.step("companies", N_("云服务商公司"), N_("登记公司的名称、统一社会信用代码、合同和联系人。"), Role.AUTHORITY,
                endpoint="companies.index", order=50)  # fmt: skip
def _registered(look: Look) -> bool:
    return look.tx.scalar(select(CloudProvider.id).where(CloudProvider.active).limit(1)) is not None
