"""Quota lent between departments: offered, taken, called back, given back; what is overdue is seen by both."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import IntegerField
from wtforms.validators import InputRequired, NumberRange

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.choices import ChoiceField, departments
from console.forms import answer, done
from console.lists import Column, Filter, listing
from console.pages.quota.wallet_choices import WalletForm
from console.programs import GENERATION, Given, Takes, listed, takes
from console.security import row, row_or
from console.words import _, amount, kind_label, lazy
from quota import ledger
from quota.actors import Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.directory import departments as agencies
from quota.errors import N_, Conflict, Invalid, NotAllowed, OverCapacity
from quota.ledger import MAX_DAYS, OUT, Holder, Loan, LoanState, Side, lending
from quota.units import CLASSES, base_units, shown

blueprint = Blueprint("loans", __name__, url_prefix="/quota/loans")
frame.page("quota", "loans.index", N_("出借"), order=40)

STATES = {
    LoanState.OFFERED.value: N_("待接受"), LoanState.ACTIVE.value: N_("在借"), LoanState.RECALLED.value: N_("召回中"),
    LoanState.OVERDUE.value: N_("逾期未还"), LoanState.RETURNED.value: N_("已归还"),
    LoanState.DECLINED.value: N_("已谢绝"), LoanState.WITHDRAWN.value: N_("已撤回"),
}  # fmt: skip
VERBS = {
    "loan.offer": N_("提出出借"), "loan.accept": N_("接受"), "loan.agree": N_("按求借出借"), "loan.decline": N_("谢绝"), "loan.withdraw": N_("撤回"),
    "loan.recall": N_("召回"), "loan.give_back": N_("归还一部分"), "loan.return": N_("全部归还"),
    "loan.overdue": N_("到期仍在用"),
}  # fmt: skip
COLUMNS = [
    Column("number", N_("编号"), lambda o: f"JC-{o.id:06d}", title=True, sort=Loan.id,
           href=lambda o: url_for("loans.show", loan_id=o.id)),
    Column("state", N_("状态"), lambda o: f"loan_{o.state}", sort=Loan.state, state=True),
    Column("lender", N_("出借单位"), lambda o: o.lender.name),
    Column("borrower", N_("借用单位"), lambda o: o.borrower.name),
    Column("pool", N_("资源池"), lambda o: o.pool.name, href=links.pool(lambda o: o.pool_id)),
    Column("class", N_("资源"), lambda o: kind_label(o.commodity)),
    Column("amount", N_("数量"), lambda o: shown(o.commodity.kind, o.amount), number=True),
    Column("out", N_("在借"), lambda o: shown(o.commodity.kind, o.outstanding), number=True),
    Column("unit", N_("计量单位"), lambda o: _(CLASSES[o.commodity.kind].shown)),
    Column("ends", N_("到期"), lambda o: o.ends_at, sort=Loan.ends_at),
]  # fmt: skip
FILTERS = [Filter("state", N_("状态"), lambda q, v: q.where(Loan.state == v), options=STATES)]


class LoanForm(WalletForm):
    borrower = ChoiceField(lazy(N_("借用单位")))
    days = IntegerField(lazy(N_("期限")), [InputRequired(lazy(N_("请填写期限"))), NumberRange(1, MAX_DAYS)], default=30)
    guaranteed_days = IntegerField(
        lazy(N_("保证期")), [InputRequired(lazy(N_("请填写保证期"))), NumberRange(0, MAX_DAYS)], default=7,
        description=lazy(N_("此期内召回不生效")),
    )  # fmt: skip
    notice_days = IntegerField(
        lazy(N_("召回提前期")), [InputRequired(lazy(N_("请填写召回提前期"))), NumberRange(0, MAX_DAYS)], default=5,
        description=lazy(N_("召回后满此天数才到期")),
    )  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(Loan)
        .where(lending.visible(tx, actor()))
        .options(joinedload(Loan.lender), joinedload(Loan.borrower), joinedload(Loan.pool))
    )
    found = listing(tx, query, COLUMNS, key=Loan.id, filters=FILTERS, sort="-number")
    return found.exported("loans") or render_template("loans/index.html", loans=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(LoanForm, sends={"confirm": "1"})
def offer() -> str | Response | tuple[str, int]:
    """Offer quota; the first sending shows the consequence. The authority may arrange a loan between any two."""
    tx = reading()
    form = LoanForm()
    who = actor()
    within = agencies.subtree(tx, who.department_id) if who.role is Role.TENANT and who.department_id else None
    form.offer(tx, within=within)
    form.borrower.offer(tx, departments())
    if request.method == "GET":
        form.department.data = request.args.get("lender", type=row) or form.department.data

    def act() -> str | Response:
        pool_id, cls, figure = form.chosen()
        if not request.form.get("confirm"):
            return _check(tx, form)
        with transaction() as writing:
            loan = lending.offer(
                writing, pool_id, cls, figure, form.department.data, form.borrower.data,
                days=form.days.data, guaranteed_days=form.guaranteed_days.data,
                notice_days=form.notice_days.data, reason=form.reason.data, key=f"form:{form.key.data[:64]}",
            )  # fmt: skip
        return done(_("已提出，等待借用单位接受"), "loans.show", loan_id=loan.id)

    page = partial(render_template, "loans/offer.html", form=form)
    return answer(form, act, page, Invalid, OverCapacity, Conflict, NotAllowed)


def _check(tx: Tx, form: LoanForm) -> str:
    """The offer once more before it binds. Raises OverCapacity where the lender has less unused."""
    pool_id, cls, figure = form.chosen()
    lender = agencies.department(tx, form.department.data)
    has = ledger.balance(tx, Side(pool_id, cls, Holder.GRANTED, lender.id))
    if has < figure:
        raise OverCapacity(
            "loan.short", N_("%(lender)s未使用的%(kind)s只有 %(have)s %(unit)s"),
            lender=lender.name, kind=CLASSES[cls.kind].label,
            have=shown(cls.kind, has), unit=CLASSES[cls.kind].shown, field="amount",
        )  # fmt: skip
    answers = _answers(tx, form)
    return render_template("loans/check.html", form=form, answers=answers, cls=cls, left=has - figure, lender=lender)


def _answers(tx: Tx, form: LoanForm) -> list[tuple[str, object, str]]:
    _pool, cls, figure = form.chosen()
    return [
        (_("出借单位"), agencies.department(tx, form.department.data).name, ""),
        (_("借用单位"), agencies.department(tx, form.borrower.data).name, ""),
        (_("资源"), kind_label(cls), ""),
        (_("数量"), amount(figure, cls), ""),
        (_("期限"), _("%(days)s 天", days=form.days.data), ""),
        (_("保证期"), _("%(days)s 天", days=form.guaranteed_days.data), ""),
        (_("召回提前期"), _("%(days)s 天", days=form.notice_days.data), ""),
        (_("理由"), form.reason.data or "", ""),
    ]


@blueprint.get("/<int:loan_id>")
@allow(*STEWARDS, Role.TENANT)
def show(loan_id: int) -> str:
    """One loan. NotFound for one that the visitor's departments have no part in."""
    tx = reading()
    one = lending.loan(tx, loan_id)
    lends, borrows = lending.acts_for(tx, one.lender_id), lending.acts_for(tx, one.borrower_id)
    records = tx.scalars(
        select(AuditRecord).where(AuditRecord.subject == one.subject).order_by(AuditRecord.sequence.desc()).limit(100)
    )
    history = [
        {
            "at": row.at,
            "who": row.actor,
            "what": _(VERBS.get(row.action, row.action)),
            "reason": row.reason,
            "changes": [],
        }
        for row in records
    ]
    return render_template(
        "loans/show.html", one=one, lends=lends, borrows=borrows, history=history, out=one.state in OUT,
        recall_ends=one.would_end(tx.now) if one.state in OUT else None, key=uuid4().hex,
    )  # fmt: skip


def _acts() -> dict[str, Takes]:
    reason = Given("reason", label=N_("理由"), longest=500)
    return {
        "accept": Takes(given=(GENERATION,)),
        "decline": Takes(given=(GENERATION, reason)),
        "recall": Takes(given=(GENERATION, reason)),
        "give_back": Takes(given=(GENERATION, Given("amount", int, N_("归还数量")))),
    }


@blueprint.post("/<int:loan_id>/<verb>")
@allow(Role.AUTHORITY, Role.TENANT)
@takes(each=_acts, of="verb")
def act(loan_id: int, verb: str) -> Response:
    """accept, decline, recall, give_back; the page says beforehand what each does."""
    generation = request.form.get("generation", type=row) or 0
    reason = request.form.get("reason", "")[:500]
    with transaction() as tx:
        if verb == "accept":
            lending.accept(tx, loan_id, generation=generation)
        elif verb == "decline":
            lending.decline(tx, loan_id, generation=generation, reason=reason)
        elif verb == "recall":
            lending.recall(tx, loan_id, generation=generation, reason=reason)
        elif verb == "give_back":
            one = lending.loan(tx, loan_id)
            typed = request.form.get("amount", "").strip()
            if typed and not row_or(typed, 0):  # only what was left empty is everything
                raise Invalid("loan.amount", N_("归还数量须大于零且不超过在借数量"), field="amount")
            base = base_units(one.commodity.kind, row_or(typed, 0)) if typed else None
            lending.give_back(tx, loan_id, base, generation=generation)
        else:
            raise Invalid("loan.verb", N_("没有这种操作"))
    flash(_("已办理"), "success")
    return redirect(url_for("loans.show", loan_id=loan_id))
