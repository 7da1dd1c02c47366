"""Contracts with companies and the sheets by which they are settled: what is payable now, what is withheld and why."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response as Answer
from wtforms import HiddenField, IntegerField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame, links, reports
from console.access import STEWARDS, allow, proven
from console.book import reading, transaction
from console.charts import timeline
from console.choices import ChoicesField, departments
from console.forms import DateField, answer, done, generation
from console.lists import Column, Filter, listing
from console.pages.orders import company_filter
from console.programs import GENERATION, listed, takes
from console.security import row
from console.words import _, kind_label, lazy, names
from metering.settlement import FINAL, LINE_LABELS, SettlementSheet, shares, sheets
from metering.statements import closings, yuan
from providers.contracts import (
    BASIS_LABELS,
    LABOUR,
    Contract,
    ContractBasis,
    ContractCoverage,
    ContractTerms,
    contracts,
)
from quota.actors import Actor, Role
from quota.db import Tx, among
from quota.directory import CatalogItem, CloudProvider, Department, Pool
from quota.errors import N_, Invalid, Refused
from quota.units import CLASSES

blueprint = Blueprint("contracts", __name__, url_prefix="/contracts")
frame.page("reports", "contracts.index", N_("合同与结算"), order=35)

READERS = (*STEWARDS, Role.PROVIDER)
MONTHS = 12
FILES = ("pdf", "xlsx")
ACTIONS = {"contract.enter": N_("登记合同"), "contract.amend": N_("变更合同"), "settlement.draft": N_("起草结算单"),
           "settlement.confirm": N_("确认结算单")}  # fmt: skip


def money(fen: int) -> str:
    """Yuan to the cent."""
    return f"{yuan(fen):,.2f}"


def code(sheet: SettlementSheet) -> str:
    """The state's code among all states."""
    return "settlement_confirmed" if sheet.confirmed else "settlement_drafted"


COLUMNS = [
    Column("number", N_("合同编号"), lambda c: c.number, sort=Contract.number, href=lambda c: url_for("contracts.show", contract_id=c.id),
           title=True),
    Column("name", N_("合同名称"), lambda c: c.name),
    Column("provider", N_("云服务商"), lambda c: c.provider.name, href=links.provider(lambda c: c.provider_id)),
    Column("payer", N_("付款单位"), lambda c: c.payer or None),
    Column("from", N_("开始日"), lambda c: c.first_day, sort=Contract.first_day, minor=True),
    Column("until", N_("终止日"), lambda c: c.last_day, sort=Contract.last_day),
    Column("ceiling", N_("合同上限"), lambda c: yuan(c.ceiling_fen), sort=Contract.ceiling_fen, number=True, unit=N_("元")),
    Column("basis", N_("计价方式"), lambda c: _(BASIS_LABELS[ContractBasis(c.basis)]), code=lambda c: c.basis, minor=True),
]  # fmt: skip
FILTERS = [Filter("q", N_("合同"), lambda q, v: q.where(frame.matching(v, Contract.number, Contract.name)))]


class ContractForm(FlaskForm):  # type: ignore[misc]
    provider = SelectField(lazy("云服务商"), coerce=int, choices=[])
    number = StringField(lazy("合同编号"), [InputRequired(lazy("请填写合同编号")), Length(max=64)])
    name = StringField(lazy("合同名称"), [Optional(), Length(max=128)])
    payer = StringField(lazy("付款单位"), [Optional(), Length(max=128)])
    first_day = DateField(lazy("开始日"), [InputRequired(lazy("请填写开始日"))])
    last_day = DateField(lazy("终止日"), [InputRequired(lazy("请填写终止日"))])
    ceiling = StringField(lazy("合同上限(元)"), [InputRequired(lazy("请填写合同上限")), Length(max=20)])
    basis = SelectField(lazy("计价方式"), choices=[])
    instalments = TextAreaField(lazy("分期"), [Optional(), Length(max=2000)],
                                description=lazy("按合同额分期时填写，一行一期：2026-12 30（月份和占合同上限的百分比，合计 100）"))  # fmt: skip
    retention_share = StringField(lazy("质保金比例(%)"), [Optional(), Length(max=6)])
    retention_months = IntegerField(lazy("质保期(月)"), [InputRequired(lazy("请填写整数")), NumberRange(0, 36)], default=2,
                                    description=lazy("合同终止后多少个月返还质保金"))  # fmt: skip
    warn_share = IntegerField(lazy("预警比例(%)"), [InputRequired(lazy("请填写整数")), NumberRange(1, 100)], default=80,
                              description=lazy("已结算和待结算金额达到合同上限的这一比例时预警"))  # fmt: skip
    pools = ChoicesField(lazy("覆盖的资源池"), description=lazy("标段写明范围；不选为不限"))
    classes = SelectMultipleField(lazy("覆盖的资源类别"), choices=[], description=lazy("不选为不限"))
    items = ChoicesField(lazy("覆盖的目录条目"), description=lazy("不选为不限"))
    departments = ChoicesField(lazy("覆盖的使用单位"), description=lazy("含下属单位；不选为不限"))
    note = TextAreaField(lazy("依据"), [Optional(), Length(max=4000)])

    def offer(self, tx: Tx) -> None:
        companies = tx.execute(select(CloudProvider.id, CloudProvider.name).order_by(CloudProvider.name))
        self.provider.choices = [SelectChoice(str(one), name) for one, name in companies]
        self.basis.choices = [SelectChoice(basis.value, _(label)) for basis, label in BASIS_LABELS.items()]
        self.pools.offer(tx, select(Pool.id, Pool.code, Pool.name))
        self.items.offer(tx, select(CatalogItem.id, CatalogItem.code, CatalogItem.name))
        self.departments.offer(tx, departments(ended=True))
        self.classes.choices = [SelectChoice(one, covered_class(one)) for one in (*CLASSES, LABOUR)]

    def terms(self) -> ContractTerms:
        """What was filled in. Raises Invalid naming the field."""
        return ContractTerms(
            number=self.number.data, name=self.name.data or "", payer=self.payer.data or "", first_day=self.first_day.data,
            last_day=self.last_day.data, ceiling_fen=int((figure(self.ceiling.data, "ceiling") * 100).to_integral_value()),
            basis=ContractBasis(self.basis.data), instalments=contracts.read_instalments(self.instalments.data or ""),
            retention_share=figure(self.retention_share.data or "0", "retention_share"), warn_share=self.warn_share.data,
            retention_months=self.retention_months.data, note=self.note.data or "",
            coverage=ContractCoverage(
                items=frozenset(self.items.data or ()), pools=frozenset(self.pools.data or ()),
                classes=frozenset(self.classes.data or ()), departments=frozenset(self.departments.data or ()),
            ),
        ).checked()  # fmt: skip


class ContractAmendForm(ContractForm):
    generation = HiddenField()
    reason = TextAreaField(lazy("变更依据"), [InputRequired(lazy("请写明变更合同的依据")), Length(max=2000)])


def covered_class(code: str) -> str:
    return _(N_("人工服务")) if code == LABOUR else kind_label(code)


def covered(tx: Tx, one: Contract) -> list[tuple[str, str]]:
    """What a contract covers, dimension by dimension; empty: all that the company does."""
    told = one.terms().coverage
    named = [
        (label, tx.scalars(select(model.name).where(among(model.id, ids)).order_by(model.id)).all())
        for label, model, ids in (
            (_("资源池"), Pool, told.pools), (_("目录条目"), CatalogItem, told.items), (_("使用单位"), Department, told.departments)
        )
        if ids
    ]  # fmt: skip
    if told.classes:
        named.insert(1, (_("资源类别"), [covered_class(one) for one in (*CLASSES, LABOUR) if one in told.classes]))
    return [(label, _("、").join(names)) for label, names in named]


def split(tx: Tx, one: Contract) -> list[list[Any]]:
    """The last closed months of the contract's company (month, (contract, its page), yuan), a row for each contract's part of the invoice and of the services of people,
    and for what no contract covers; nothing where all of it is this contract's."""
    if one.basis != ContractBasis.USAGE and not one.coverage:
        return []
    closed = [each for each in closings.closings(tx) if each.month in one.months()][-MONTHS:]
    told = shares.of(tx, [one.provider_id], closed)[one.provider_id]
    parts = {
        month: {*told.used.get(month, ()), *told.served.get(month, ())} for month in [each.month for each in closed]
    }
    numbers = dict(
        tx.execute(select(Contract.id, Contract.number).where(Contract.provider_id == one.provider_id)).all()
    )
    return [
        [
            month,
            (numbers[part], url_for("contracts.show", contract_id=part)) if part is not None else (_("不在任何合同范围内"), ""),
            money(told.fen(part, [month])),
        ]
        for month, those in sorted(parts.items(), reverse=True)
        if those != {one.id}
        for part in sorted(those, key=lambda each: (each is None, each or 0))
    ]  # fmt: skip


def figure(text: str, field: str) -> Decimal:
    """A figure as people write it. Raises Invalid naming the field."""
    try:
        found = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found) > 10**13 or found != round(found, 2):
        raise Invalid("contract.figure", N_("请填写数字，小数不超过两位"), field=field)
    return found


class SettlementForm(FlaskForm):  # type: ignore[misc]
    period = StringField(lazy("期间"), [InputRequired(lazy("请填写期间")), Length(max=7)],
                         description=lazy("写作 2026-10 或 2026-Q4；返还质保金写作 final"))  # fmt: skip
    acceptance = StringField(lazy("验收系数(%)"), [InputRequired(lazy("请填写验收系数")), Length(max=6)])
    reason = TextAreaField(lazy("依据"), [Optional(), Length(max=2000)], description=lazy("验收系数低于 100 时必填"))


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS, args=("provider",))
def index() -> str | Answer:
    tx = reading()
    query = select(Contract).where(contracts.visible(tx.actor)).options(joinedload(Contract.provider))
    filters = FILTERS if tx.actor.role is Role.PROVIDER else [*FILTERS, company_filter(tx, Contract.provider_id)]
    found = listing(tx, query, COLUMNS, key=Contract.id, filters=filters, sort="-until")
    return found.exported("contracts") or render_template("contracts/index.html", found=found)


@blueprint.get("/<int:contract_id>")
@allow(*READERS)
def show(contract_id: int) -> str:
    tx = reading()
    one = contracts.contract(tx, contract_id)
    return render_template(
        "contracts/show.html", one=one, standing=sheets.standing(tx, one), sheets=sheets.of(tx, one.id), code=code, money=money,
        basis=_(BASIS_LABELS[ContractBasis(one.basis)]), final=FINAL, final_due=sheets.final_due(one),
        covered=covered(tx, one), split=split(tx, one),
        history=timeline(tx, f"contract:{one.id}", ACTIONS, {}, {}),
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(ContractForm)
def enter() -> str | Answer | tuple[str, int]:
    form = ContractForm()
    form.offer(reading())

    def act() -> Answer:
        terms = form.terms()
        with transaction() as tx:
            made = contracts.enter(tx, form.provider.data, terms)
        return done(_("合同已登记"), "contracts.show", contract_id=made.id)

    return answer(form, act, lambda: render_template("contracts/form.html", form=form, one=None), Refused)


@blueprint.route("/<int:contract_id>/amend", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(ContractAmendForm)
def amend(contract_id: int) -> str | Answer | tuple[str, int]:
    tx = reading()
    one = contracts.contract(tx, contract_id)
    form = ContractAmendForm(
        provider=one.provider_id, number=one.number, name=one.name, payer=one.payer, first_day=one.first_day,
        last_day=one.last_day, ceiling=yuan(one.ceiling_fen), basis=one.basis, retention_share=one.retention_share,
        retention_months=one.retention_months, warn_share=one.warn_share, note=one.note, generation=one.generation,
        instalments="\n".join(f"{part.month} {part.share.normalize():f}" for part in one.schedule),
        **{name: sorted(mine) for name, mine in one.coverage.items()},
    )  # fmt: skip
    form.offer(tx)
    form.provider.choices = [choice for choice in form.provider.choices if choice.value == str(one.provider_id)]

    def act() -> Answer:
        terms = form.terms()
        with transaction() as writing:
            contracts.amend(writing, contract_id, generation(form), terms, form.reason.data)
        return done(_("合同已变更"), "contracts.show", contract_id=contract_id)

    return answer(form, act, lambda: render_template("contracts/form.html", form=form, one=one), Refused)


@blueprint.route("/<int:contract_id>/settle", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(SettlementForm)
def settle(contract_id: int) -> str | Answer | tuple[str, int]:
    tx = reading()
    one = contracts.contract(tx, contract_id)
    form = SettlementForm(acceptance="100", period=request.args.get("period", ""))

    def act() -> Answer:
        acceptance = figure(form.acceptance.data, "acceptance")
        with transaction() as writing:
            made = sheets.draft(
                writing, contract_id, form.period.data.strip(), acceptance=acceptance, reason=form.reason.data or ""
            )
        return done(_("结算单已起草，待主管部门确认"), "contracts.sheet", sheet_id=made.id)

    return answer(form, act, lambda: render_template("contracts/settle.html", form=form, one=one), Refused)


@blueprint.get("/sheets/<int:sheet_id>")
@allow(*READERS)
def sheet(sheet_id: int) -> str:
    tx = reading()
    one = sheets.sheet(tx, sheet_id)
    latest = sheets.newest(tx, one.contract_id, one.period)
    return render_template(
        "contracts/sheet.html", one=one, code=code(one), money=money, labels=LINE_LABELS, final=FINAL, called=names.subject,
        address=links.address, latest=latest is None or latest.id == one.id, files=FILES,
        history=timeline(tx, one.subject, ACTIONS, {}, {}),
    )  # fmt: skip


@blueprint.post("/sheets/<int:sheet_id>/confirm")
@allow(Role.AUTHORITY)
@proven
@takes(None, GENERATION)
def confirm(sheet_id: int) -> Answer:
    with transaction() as tx:
        sheets.confirm(tx, sheet_id, request.form.get("generation", 0, row))
    flash(_("结算单已确认"), "success")
    return redirect(url_for("contracts.sheet", sheet_id=sheet_id))


@blueprint.get("/sheets/<int:sheet_id>/settlement.<any(pdf, xlsx):ending>")
@allow(*READERS)
def sheet_file(sheet_id: int, ending: str) -> Response:
    """The sheet as a file for finance."""
    tx = reading()
    one = sheets.sheet(tx, sheet_id)
    made = reports.settlement(one, reports.source, names.subject)
    found = Response(reports.drawn(made, [ending])[ending], mimetype=reports.MIME[ending])
    found.headers["Content-Disposition"] = f"attachment; filename=settlement-{one.number}.{ending}"
    return found


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, order=49)
def _ceilings(tx: Tx, _actor: Actor) -> str | None:
    """Contracts whose ceiling is about to be passed; nothing where there is none."""
    found = sheets.warned(tx)
    return render_template("contracts/_warned.html", found=found, money=money) if found else None
