"""Billing years: laid down and signed by two, drawn up with an opinion once their months are closed, handed over to finance."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response as Answer
from wtforms import HiddenField, IntegerField, RadioField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange

from console import frame, links, reports
from console.access import STEWARDS, allow, proven
from console.book import reading, transaction
from console.charts import timeline
from console.forms import DateField, answer, done, generation
from console.lists import Column, Filter, as_csv, as_xlsx, listing, page_of
from console.pages.statements.contracts import money
from console.programs import GENERATION, listed, takes
from console.security import row
from console.words import _, lazy
from metering.settlement import FINDING_LABELS, BillingYear, YearFinding, YearTerms, YearUnit, years
from metering.statements import yuan
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.errors import N_, Refused

blueprint = Blueprint("billing_years", __name__, url_prefix="/billing-years")
frame.page("reports", "billing_years.index", N_("年度结算"), order=36)

READERS = (*STEWARDS, Role.TENANT)
KEEPERS = (Role.SUPERVISOR, Role.AUTHORITY)
ACTIONS = {
    "year.enter": N_("起草结算年度"), "year.enact": N_("签署结算年度"), "year.withdraw": N_("撤回结算年度"), "year.judge": N_("核定全年费用"),
    "year.hand_over": N_("报送财政"),
}  # fmt: skip


def code(year: BillingYear) -> str:
    """The state's code among all states."""
    return f"billing_year_{year.state}"


def _late(year: BillingYear) -> bool:
    return year.late(reading().now.astimezone(ZONE).date())


COLUMNS = [
    Column("name", N_("结算年度"), lambda r: r.name, href=lambda r: url_for("billing_years.show", year_id=r.id), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("from", N_("起始月份"), lambda r: r.first_month, sort=BillingYear.first_month),
    Column("until", N_("截止月份"), lambda r: r.last_month),
    Column("due", N_("报送期限"), lambda r: r.due_on),
    Column("overdue", N_("逾期"), lambda r: _("是") if _late(r) else None, code=_late),
    Column("paid_in", N_("付款预算年度"), lambda r: str(r.paid_in)),
    Column("finding", N_("审核意见"), lambda r: _(FINDING_LABELS[YearFinding(r.finding)]) if r.finding else None, code=lambda r: r.finding or None),
    Column("handed", N_("报送于"), lambda r: r.handed_at, minor=True),
]  # fmt: skip
UNIT_COLUMNS = [
    Column("unit", N_("使用单位"), lambda r: r.name or _("无归属"), href=links.department(lambda r: r.department_id), title=True),
    Column("code", N_("代码"), lambda r: r.code or None),
    Column("audited", N_("审核金额"), lambda r: yuan(r.audited_fen), sort=YearUnit.audited_fen, number=True, unit=N_("元")),
    Column("unmeasured", N_("无法计量"), lambda r: yuan(r.unmeasured_fen), number=True, unit=N_("元")),
    Column("budget", N_("付款年度预算"), lambda r: yuan(r.budget_fen), number=True, unit=N_("元")),
    Column("short", N_("预算缺口"), lambda r: yuan(r.short_fen), number=True, unit=N_("元")),
]  # fmt: skip
UNIT_FILTERS = [Filter("q", N_("使用单位"), lambda q, v: q.where(frame.matching(v, YearUnit.name, YearUnit.code)))]


SHARE_COLUMNS = [
    Column("unit", N_("使用单位"), lambda r: r.name or _("无归属"), href=links.department(lambda r: r.department_id), title=True),
    Column("code", N_("代码"), lambda r: r.code or None),
    Column("closed", N_("已月结"), lambda r: yuan(r.closed_fen), number=True, unit=N_("元")),
    Column("stated", N_("未月结暂计"), lambda r: yuan(r.stated_fen), number=True, unit=N_("元")),
    Column("known", N_("合计"), lambda r: yuan(r.known_fen), number=True, unit=N_("元")),
    Column("unmeasured", N_("无法计量"), lambda r: yuan(r.unmeasured_fen), number=True, unit=N_("元")),
    Column("budget", N_("付款年度预算"), lambda r: yuan(r.budget_fen), number=True, unit=N_("元")),
    Column("short", N_("预算缺口"), lambda r: yuan(r.short_fen), number=True, unit=N_("元")),
]  # fmt: skip
FILES = ("pdf", "xlsx")


class YearForm(FlaskForm):  # type: ignore[misc]
    name = StringField(lazy("结算年度名称"), [InputRequired(lazy("请填写结算年度名称")), Length(max=64)])
    first_month = StringField(
        lazy("起始月份"), [InputRequired(lazy("请填写月份")), Length(max=7)], description=lazy("写作 2026-10")
    )
    last_month = StringField(
        lazy("截止月份"),
        [InputRequired(lazy("请填写月份")), Length(max=7)],
        description=lazy("写作 2026-10；最多 12 个月"),
    )
    due_on = DateField(
        lazy("报送期限"), [InputRequired(lazy("请填写报送期限"))], description=lazy("在此日之前把审核金额报送财政")
    )
    paid_in = IntegerField(lazy("付款预算年度"), [InputRequired(lazy("请填写整数")), NumberRange(2000, 2100)],
                           description=lazy("各单位用哪一年的预算支付"))  # fmt: skip
    basis = TextAreaField(lazy("依据"), [InputRequired(lazy("请写明依据(文号)")), Length(max=years.MOST)])

    def terms(self) -> YearTerms:
        """What was filled in, to be checked."""
        return YearTerms(
            name=self.name.data, first_month=self.first_month.data.strip(), last_month=self.last_month.data.strip(),
            due_on=self.due_on.data, paid_in=self.paid_in.data, basis=self.basis.data,
        )  # fmt: skip


class OpinionForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    finding = RadioField(lazy("审核结论"), choices=[], validators=[InputRequired(lazy("请选择审核结论"))])
    opinion = TextAreaField(
        lazy("审核意见"), [InputRequired(lazy("请写明审核意见和依据")), Length(max=years.MOST)],
        description=lazy("对全年费用是否合理的意见，随清单报送"),
    )  # fmt: skip


class WithdrawYearForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=2000)])


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS)
def index() -> str | Answer:
    tx = reading()
    query = select(BillingYear).where(years.visible(tx.actor))
    found = listing(tx, query, COLUMNS, key=BillingYear.id, sort="-from")
    return found.exported("billing-years") or render_template("billing_years/index.html", found=found)


@blueprint.get("/<int:year_id>")
@allow(*READERS)
@listed(UNIT_COLUMNS, UNIT_FILTERS, at="units", alone=False)
def show(year_id: int) -> str | Answer:
    """A year, and the list for finance."""
    tx = reading()
    one = years.year(tx, year_id)
    query = select(YearUnit).where(years.units_of(tx, one))
    found = listing(tx, query, UNIT_COLUMNS, key=YearUnit.id, filters=UNIT_FILTERS, sort="-audited")
    exported = found.exported(f"billing-year-{one.id}")
    if exported:
        return exported
    audited, unmeasured = years.sums(tx, one)
    return render_template(
        "billing_years/show.html", one=one, code=code(one), found=found, money=money, late=_late(one), audited=audited,
        unmeasured=unmeasured, drawn_up=bool(one.digest), previewed=one.state in years.BEFORE, finding=FINDING_LABELS[YearFinding(one.finding)] if one.finding else None,
        companies=one.companies if tx.actor.role in STEWARDS else [],
        ruler=tx.actor.role is Role.AUTHORITY, files=FILES if one.digest else (), history=timeline(tx, one.ref, ACTIONS, {}, {}) if tx.actor.role in STEWARDS else [],
    )  # fmt: skip


@blueprint.get("/<int:year_id>/preview")
@allow(*STEWARDS)
def preview(year_id: int) -> str | Answer:
    """What is known of a year before it is drawn up."""
    tx = reading()
    one = years.year(tx, year_id)
    seen = years.preview(tx, year_id)
    if request.args.get("export") == "xlsx":
        return as_xlsx(f"billing-year-{one.id}-preview.xlsx", SHARE_COLUMNS, seen.shares)
    if request.args.get("export") == "csv":
        return as_csv(f"billing-year-{one.id}-preview.csv", SHARE_COLUMNS, seen.shares)
    return render_template(
        "billing_years/preview.html", one=one, code=code(one), seen=seen, found=page_of(tx, seen.shares, SHARE_COLUMNS), money=money,
        closed=sum(each.closed_fen for each in seen.shares), stated=sum(each.stated_fen for each in seen.shares),
        unmeasured=sum(each.unmeasured_fen for each in seen.shares), files=FILES,
    )  # fmt: skip


@blueprint.get("/<int:year_id>/billing-year.<any(pdf, xlsx):ending>")
@allow(*READERS)
def year_file(year_id: int, ending: str) -> Response:
    """The list as a file for finance: of a year that is not drawn up, what is known of it, marked as a preview."""
    tx = reading()
    one = years.year(tx, year_id)
    if one.digest:
        units = tx.scalars(
            select(YearUnit).where(years.units_of(tx, one)).order_by(YearUnit.audited_fen.desc(), YearUnit.id)
        ).all()
        made = reports.billing_year(one, units, reports.source, companies=tx.actor.role in STEWARDS)
    else:
        today = tx.now.astimezone(ZONE).date()
        made = reports.billing_preview(one, years.preview(tx, year_id), reports.source, today)
    found = Response(reports.drawn(made, [ending])[ending], mimetype=reports.MIME[ending])
    found.headers["Content-Disposition"] = f"attachment; filename=billing-year-{one.id}.{ending}"
    return found


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(YearForm)
def enter() -> str | Answer | tuple[str, int]:
    form = YearForm()

    def act() -> Answer:
        with transaction() as tx:
            made = years.enter(tx, form.terms())
        return done(_("结算年度已起草，待另一人签署"), "billing_years.show", year_id=made.id)

    return answer(form, act, lambda: render_template("billing_years/form.html", form=form), Refused)


@blueprint.post("/<int:year_id>/enact")
@allow(Role.AUTHORITY)
@proven
@takes(None, GENERATION)
def enact(year_id: int) -> Answer:
    with transaction() as tx:
        years.enact(tx, year_id, request.form.get("generation", 0, row))
    flash(_("结算年度已生效"), "success")
    return redirect(url_for("billing_years.show", year_id=year_id))


@blueprint.route("/<int:year_id>/withdraw", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(WithdrawYearForm)
def withdraw(year_id: int) -> str | Answer | tuple[str, int]:
    one = years.year(reading(), year_id)
    form = WithdrawYearForm(generation=one.generation)

    def act() -> Answer:
        with transaction() as tx:
            years.withdraw(tx, year_id, generation(form), form.reason.data)
        return done(_("已撤回"), "billing_years.show", year_id=year_id)

    return answer(form, act, lambda: render_template("billing_years/withdraw.html", form=form, one=one), Refused)


@blueprint.route("/<int:year_id>/judge", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(OpinionForm)
def judge(year_id: int) -> str | Answer | tuple[str, int]:
    one = years.year(reading(), year_id)
    form = OpinionForm(generation=one.generation, opinion=one.opinion, finding=one.finding)
    form.finding.choices = [SelectChoice(finding.value, _(label)) for finding, label in FINDING_LABELS.items()]

    def act() -> Answer:
        with transaction() as tx:
            years.judge(tx, year_id, generation(form), YearFinding(form.finding.data), form.opinion.data)
        return done(_("全年费用已核定，待主管部门报送"), "billing_years.show", year_id=year_id)

    return answer(form, act, lambda: render_template("billing_years/judge.html", form=form, one=one), Refused)


@blueprint.post("/<int:year_id>/hand-over")
@allow(Role.AUTHORITY)
@proven
@takes(None, GENERATION)
def hand_over(year_id: int) -> Answer:
    with transaction() as tx:
        years.hand_over(tx, year_id, request.form.get("generation", 0, row))
    flash(_("已报送财政"), "success")
    return redirect(url_for("billing_years.show", year_id=year_id))


@frame.home_block(*KEEPERS, order=50)
def _pressing(tx: Tx, _actor: Actor) -> str | None:
    """Years that finance waits for or soon will, or that wait for a signature; nothing where there is none."""
    found = years.pressing(tx)
    return render_template("billing_years/_home.html", found=found, code=code, late=_late) if found else None
