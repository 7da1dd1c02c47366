"""Bills: what companies want paid, month by month, beside what was metered of it (the month's four-way line)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from sqlalchemy import func, select
from sqlalchemy.orm import aliased, joinedload
from werkzeug.wrappers import Response
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Regexp

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading, transaction
from console.forms import answer
from console.lists import Column, Filter, Rows, as_xlsx, listing
from console.pages.inventory import uploads
from console.pages.orders import company_filter, dialogues
from console.pages.statements.statements import as_billed
from console.programs import downloads, listed, takes
from console.words import ARCH_LABELS, CLASS_LABELS, _, kind_label, language, lazy, who
from metering.statements import reconciliation
from providers.assessment import periods
from providers.billing import Bill, BillLine, bills
from providers.comments import Remark, RemarkKind
from providers.readers import Reading, bill_words, read_bill
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotFound, Refused
from quota.units import CLASSES, Arch, ClassCode

blueprint = Blueprint("bills", __name__, url_prefix="/bills")
frame.page("providers", "bills.index", N_("账单"), order=30)

READERS = (*STEWARDS, Role.PROVIDER)


def _said(tx: Tx) -> dict[str, list[Remark]]:
    """Subject → remarks on bills, read once a page."""
    if "bill_remarks" not in g:
        found: dict[str, list[Remark]] = {}
        for one in tx.scalars(select(Remark).where(Remark.subject.like("bill:%")).order_by(Remark.id)):
            found.setdefault(one.subject, []).append(one)
        g.bill_remarks = found
    kept: dict[str, list[Remark]] = g.bill_remarks
    return kept


def code(bill: Bill) -> str:
    """How far the bill is among the parties."""
    said = _said(reading()).get(f"bill:{bill.id}", [])
    ruled = {remark.answers for remark in said if remark.answers}
    disputes = [remark for remark in said if remark.kind == RemarkKind.DISPUTE]
    if any(remark.id not in ruled for remark in disputes):
        return "bill_disputed"
    if disputes:
        return "bill_ruled"
    return "bill_reviewed" if any(remark.kind == RemarkKind.REVIEWED for remark in said) else "bill_submitted"


def _reviewer(bill: Bill) -> str | None:
    said = _said(reading()).get(f"bill:{bill.id}", [])
    names = [remark.name for remark in said if remark.kind == RemarkKind.REVIEWED]
    return names[-1] if names else None


def _standing(query: Rows, _value: str) -> Rows:
    later = aliased(Bill)
    return query.where(
        ~select(later.id)
        .where(later.pool_id == Bill.pool_id, later.month == Bill.month, later.revision > Bill.revision)
        .exists()
    )


COLUMNS = [
    Column("month", N_("账期"), lambda b: b.month, sort=Bill.month, href=lambda b: url_for("bills.show", bill_id=b.id),
           title=True),
    Column("state", N_("状态"), code, state=True),
    Column("pool", N_("资源池"), lambda b: b.pool.name, href=links.pool(lambda b: b.pool_id)),
    Column("provider", N_("云服务商"), lambda b: b.pool.provider.name, href=links.provider(lambda b: b.pool.provider_id)),
    Column("revision", N_("版本"), lambda b: b.revision, sort=Bill.revision, number=True),
    Column("source", N_("来源"), lambda b: b.source, minor=True),
    Column("taken", N_("提交于"), lambda b: b.taken_at, sort=Bill.taken_at),
    Column("by", N_("提交人"), lambda b: b.taken_by, text=who, minor=True),
    Column("reviewer", N_("复核人"), _reviewer),
]  # fmt: skip
FILTERS = [
    Filter("which", N_("版本"), _standing, options={"standing": N_("现行版本")}, default="standing"),
    Filter("month", N_("账期"), lambda q, v: q.where(Bill.month == v)),
]
LINES = [
    Column("resource", N_("资源编号"), lambda one: one.external_id, sort=BillLine.external_id, title=True),
    Column("kind", N_("类别"), lambda one: kind_label(one.kind), sort=BillLine.kind),
    Column("arch", N_("架构"), lambda one: _(ARCH_LABELS[Arch(one.arch)])),
    Column("quantity", N_("计费用量"), lambda one: one.quantity / CLASSES[ClassCode(one.kind)].factor, number=True),
    Column("unit", N_("计量单位"), lambda one: _(CLASSES[ClassCode(one.kind)].shown) + "·" + _("时")),
    Column("cost", N_("金额"), lambda one: one.cost, sort=BillLine.cost, number=True, text=as_billed),
    Column("currency", N_("币种"), lambda one: one.currency, minor=True),
    Column("payer", N_("付款单位"), lambda one: one.payer or None, minor=True),
    Column("since", N_("起"), lambda one: one.since, sort=BillLine.since),
    Column("until", N_("止"), lambda one: one.until),
]  # fmt: skip
LINE_FILTERS = [
    Filter("q", N_("资源编号"), lambda q, v: q.where(frame.matching(v, BillLine.external_id))),
    Filter("kind", N_("类别"), lambda q, v: q.where(BillLine.kind == v),
           options=CLASS_LABELS),
]  # fmt: skip


class BillForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy("资源池"), coerce=int, choices=[])
    month = StringField(
        lazy("账期"), [InputRequired(lazy("请填写账期")), Regexp(r"\d{4}-\d{2}$", message=lazy("写作 2026-10"))],
        description=lazy("写作 2026-10"),
    )  # fmt: skip
    file = FileField(
        lazy("账单文件"), validators=[FileRequired(lazy("请选择文件"))],
        description=lazy(
            "CSV、xlsx 或 xls。必须有列：资源编号、资源类别（如 vcpu、内存、云硬盘）、用量（单位×小时，没有单位列时内存按 MiB，其余按计量单位）；"
            "可有：单位（如 核·时、GB·时）、账期、起、止、服务、架构、金额（人民币元）、币种。合计行不读入；也可以是 FOCUS 1.2（CSV 或 Parquet）"
        ),
    )  # fmt: skip


def bill(tx: Tx, bill_id: int) -> Bill:
    """The bill, or NotFound, also where the visitor may not see it."""
    found = tx.scalar(select(Bill).where(Bill.id == bill_id, bills.visible(tx.actor)))
    if found is None:
        raise NotFound("bill.none", N_("没有编号为 %(id)s 的账单"), id=bill_id)
    return found


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS, args=("provider",))
def index() -> str | Response:
    tx = reading()
    query = select(Bill).where(bills.visible(tx.actor)).options(joinedload(Bill.pool).joinedload(Pool.provider))
    filters = FILTERS if tx.actor.role is Role.PROVIDER else [*FILTERS, company_filter(tx, Bill.provider_id)]
    found = listing(tx, query, COLUMNS, key=Bill.id, filters=filters, sort="-month")
    return found.exported("bills") or render_template("bills/index.html", bills=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.PROVIDER, Role.SUPERVISOR)
@takes(BillForm)
def submit() -> str | Response | tuple[str, int]:
    """A month's bill as a file: taken whole, or not at all with every place that is wrong. A company enters its own; the
    supervisor one that was handed in on paper or by mail."""
    tx = reading()
    form = BillForm(month=periods.before(periods.month_of(tx.now)))
    query = select(Pool).where(Pool.active).order_by(Pool.name)
    if tx.actor.role is Role.PROVIDER:
        query = select(Pool).where(Pool.provider_id == tx.actor.provider_id).order_by(Pool.name)
    pools = tx.scalars(query).all()
    form.pool.choices = [SelectChoice(str(one.id), one.name) for one in pools]
    report: dict[str, Any] | None = None

    def act() -> Response:
        nonlocal report
        pool = next(pool for pool in pools if pool.id == form.pool.data)
        with uploads.held(form.file.data) as path:
            result = Reading(path.name)
            try:
                lines = read_bill(path, form.month.data, result, arch=Arch(pool.arch))
            finally:
                report = uploads.told(result, month=form.month.data)
        if result.refused or result.duplicates:
            raise Invalid("bill.rows", N_("有 %(count)s 行不能采用，整份账单未入账；改正后重新提交"),
                          count=result.refused + result.duplicates, field="file")  # fmt: skip
        with transaction() as write:
            taken = bills.take(write, write.get_one(Pool, pool.id), form.month.data, lines, source=result.file[:128])
            if not taken.new:
                raise Conflict("bill.same", N_("与现行账单完全相同，未重复入账"), field="file")
        flash(_("账单已入账，%(count)s 行", count=taken.lines), "success")
        for note in uploads.notes(result):
            flash(note, "info")
        return redirect(url_for("bills.show", bill_id=taken.bill.id if taken.bill else 0))

    def page() -> str:
        words = [
            [_(CLASSES[code].label), "、".join(names), bill_words.units_of(code)]
            for code, names in bill_words.accepted().items()
        ]
        return render_template("bills/submit.html", form=form, report=report, words=words)

    return answer(form, act, page, Refused)


@blueprint.get("/template.xlsx")
@allow(Role.PROVIDER, Role.SUPERVISOR)
@downloads("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
def template() -> Response:
    """A workbook to fill in: the headings alone, so that nothing in it could be taken for a line."""
    heads = bill_words.HEADINGS.values() if language() == "zh_CN" else bill_words.HEADINGS.keys()
    return as_xlsx("bill-template.xlsx", [Column(head, head, lambda _row: None) for head in heads], ())


@blueprint.get("/<int:bill_id>")
@allow(*READERS)
@listed(LINES, LINE_FILTERS, at="lines")
def show(bill_id: int) -> str | Response:
    tx = reading()
    one = bill(tx, bill_id)
    lines = listing(
        tx, select(BillLine).where(BillLine.bill_id == one.id), LINES, key=BillLine.id, filters=LINE_FILTERS,
        sort="resource",
    )  # fmt: skip
    exported = lines.exported(f"bill-{one.month}-{one.pool.code}")
    if exported:
        return exported
    standing = bills.current(tx, one.pool_id, one.month)
    latest = standing is not None and standing.id == one.id
    run = reconciliation.latest(tx, one.pool_id, one.month)
    compared = run if run is not None and run.bill_id == one.id else None
    subject = f"bill:{one.id}"
    return render_template(
        "bills/show.html",
        one=one,
        code=code(one),
        reviewer=_reviewer(one),
        lines=lines,
        count=tx.scalar(select(func.count(BillLine.id)).where(BillLine.bill_id == one.id)),
        latest=latest,
        compared=compared,
        sums=_shown(reconciliation.billed_sums(tx, compared)) if compared is not None else {},
        **dialogues.thread(tx, subject),
    )


def _shown(sums: Mapping[ClassCode, reconciliation.BilledSums]) -> dict[ClassCode, dict[str, Decimal]]:
    """Billed, metered, unmeasured and disputed unit-hours in the unit that people read."""
    return {
        kind: {name: figure / CLASSES[kind].factor for name, figure in asdict(one).items()}
        for kind, one in sums.items()
    }


@blueprint.post("/<int:bill_id>/remark")
@allow(Role.PROVIDER, Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.REMARK)
def remark(bill_id: int) -> Response:
    one = bill(reading(), bill_id)
    dialogues.say(f"bill:{one.id}", one.provider_id)
    return redirect(url_for("bills.show", bill_id=bill_id))


@blueprint.post("/<int:bill_id>/rule")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.RULING)
def rule(bill_id: int) -> Response:
    dialogues.rule(f"bill:{bill(reading(), bill_id).id}")
    return redirect(url_for("bills.show", bill_id=bill_id))


@frame.finder(*READERS, order=47)
def _find(tx: Tx, actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    found = tx.scalars(
        select(Bill)
        .join(Pool, Pool.id == Bill.pool_id)
        .where(bills.visible(actor), frame.matching(text, Bill.month, Pool.name, Pool.code))
        .order_by(Bill.month.desc(), Bill.revision.desc())
        .limit(limit)
    )  # fmt: skip
    return [
        frame.Hit(N_("账单"), f"{one.month} {one.pool.name}", url_for("bills.show", bill_id=one.id),
                  _("第 %(revision)s 版", revision=one.revision))
        for one in found
    ]  # fmt: skip
