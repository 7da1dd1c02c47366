"""架构换算: quota of one architecture for quota of another, of equal worth by the rule in force."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import SelectField
from wtforms.fields.choices import SelectChoice

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.forms import answer, done
from console.lists import Column, Filter, Rows, listing
from console.pages.quota.wallet_choices import WalletForm, parsed
from console.programs import GENERATION, Given, Takes, listed, takes
from console.security import row
from console.words import CLASS_LABELS, _, amount, kind_label, lazy, sentence
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Pool
from quota.directory import departments as agencies
from quota.errors import N_, Invalid, Refused
from quota.exchange import Conversion, ConversionState, ExchangeSubject, Worth, conversions, rules
from quota.ledger import Holder, lending
from quota.units import CLASSES, shown

blueprint = Blueprint("conversions", __name__, url_prefix="/quota/conversions")
frame.page("quota", "conversions.index", N_("架构换算"), order=44)

STATES = {
    ConversionState.ASKED.value: N_("待主管部门办理"), ConversionState.DONE.value: N_("已换算"),
    ConversionState.REFUSED.value: N_("不予换算"), ConversionState.WITHDRAWN.value: N_("已撤回"),
}  # fmt: skip
SHOWN = 8
"""How many a block of the home page shows."""
COLUMNS = [
    Column("number", N_("编号"), lambda c: c.number, title=True, sort=Conversion.id,
           href=lambda c: url_for("conversions.show", conversion_id=c.id)),
    Column("state", N_("状态"), lambda c: f"conversion_{c.state}", sort=Conversion.state, state=True),
    Column("department", N_("单位"), lambda c: c.department.name, href=links.department(lambda c: c.department_id)),
    Column("class", N_("资源"), lambda c: kind_label(c.source.kind), code=lambda c: c.kind),
    Column("from", N_("换出资源池"), lambda c: c.source_pool.name, href=links.pool(lambda c: c.source_pool_id)),
    Column("to", N_("换入资源池"), lambda c: c.target_pool.name, href=links.pool(lambda c: c.target_pool_id)),
    Column("asked", N_("申请换出"), lambda c: shown(c.source.kind, c.asked), number=True),
    Column("given", N_("换出"), lambda c: None if c.given is None else shown(c.source.kind, c.given), number=True),
    Column("received", N_("换入"), lambda c: None if c.received is None else shown(c.source.kind, c.received), number=True),
    Column("unit", N_("计量单位"), lambda c: _(CLASSES[c.source.kind].shown)),
    Column("at", N_("提出于"), lambda c: c.at, minor=True),
    Column("decided", N_("办结于"), lambda c: c.decided_at, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), lambda q, v: q.where(Conversion.state == v), options=STATES),
    Filter("kind", N_("资源"), lambda q, v: q.where(Conversion.kind == v), options=CLASS_LABELS),
]


class ConversionForm(WalletForm):
    target = SelectField(lazy(N_("换入资源池")), coerce=int)

    def offer(self, tx: Tx, holder: Holder = Holder.GRANTED, *, within: Collection[int] | None = None) -> None:
        """Wallets of classes that have an architecture, and the pools that they may go to."""
        super().offer(tx, holder, within=within)
        self.wallet.choices = [one for one in self.wallet.choices if CLASSES[parsed(one.value)[1].kind].by_arch]
        self.wallet.label.text = _("换出的资源池与资源")
        self.amount.label.text = _("换出数量")
        pools = tx.execute(select(Pool.id, Pool.name, Pool.arch, Pool.zone).where(Pool.active).order_by(Pool.name))
        self.target.choices = [SelectChoice(str(id_), f"{name} · {arch} · {zone}") for id_, name, arch, zone in pools]


def _rows(tx: Tx) -> Rows:
    return (
        select(Conversion)
        .where(conversions.visible(tx, actor()))
        .options(
            joinedload(Conversion.department), joinedload(Conversion.source_pool), joinedload(Conversion.target_pool)
        )
    )


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, _rows(tx), COLUMNS, key=Conversion.id, filters=FILTERS, sort="-number")
    return found.exported("conversions") or render_template(
        "conversions/index.html", found=found, ruled=rules.in_force(tx, ExchangeSubject.CONVERSION) is not None
    )


@blueprint.get("/<int:conversion_id>")
@allow(*STEWARDS, Role.TENANT)
def show(conversion_id: int) -> str:
    """One conversion; while it waits, what it would become today."""
    tx = reading()
    one = conversions.conversion(tx, conversion_id)
    waits = one.state == ConversionState.ASKED.value
    becomes: Worth | None = None
    why = ""
    if waits:
        try:
            becomes = conversions.foreseen(
                tx, one.department_id, (one.source_pool_id, one.source), one.target_pool_id, one.asked
            )
        except Refused as refused:
            why = sentence(refused.message, refused.params)
    return render_template(
        "conversions/show.html", one=one, waits=waits, becomes=becomes, why=why, unit=_(CLASSES[one.source.kind].shown), decides=actor().role is Role.AUTHORITY,
        asks=lending.acts_for(tx, one.department_id),
        back=url_for("conversions.ask", department=one.department_id, target=one.source_pool_id,
                     wallet=f"{one.target_pool_id}/{one.target}", amount=shown(one.source.kind, one.received or 0)),
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(ConversionForm, sends={"confirm": "1"})
def ask() -> str | Response | tuple[str, int]:
    """Ask for a conversion; the first sending shows what it would become."""
    tx = reading()
    form = ConversionForm()
    who = actor()
    within = agencies.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None
    form.offer(tx, within=within)
    if request.method == "GET":
        form.department.data = request.args.get("department", type=row) or form.department.data
        form.target.data = request.args.get("target", type=row) or form.target.data
        form.wallet.data = request.args.get("wallet", "")[:64] or form.wallet.data
        form.amount.data = request.args.get("amount", type=row) or form.amount.data

    def act() -> str | Response:
        pool_id, cls, figure = form.chosen()
        if not request.form.get("confirm"):
            becomes = conversions.foreseen(tx, form.department.data, (pool_id, cls), form.target.data, figure)
            answers = [
                (_("单位"), agencies.department(tx, form.department.data).name, ""),
                (_("换出资源池"), tx.get_one(Pool, pool_id).name, ""),
                (_("换入资源池"), tx.get_one(Pool, form.target.data).name, ""),
                (_("资源"), kind_label(cls.kind), ""),
                (_("申请换出"), amount(figure, cls), ""),
                (_("理由"), form.reason.data or "", ""),
            ]
            return render_template(
                "conversions/check.html",
                form=form,
                answers=answers,
                becomes=becomes,
                cls=cls,
                unit=_(CLASSES[cls.kind].shown),
            )
        with transaction() as writing:
            made = conversions.ask(
                writing, form.department.data, (pool_id, cls), form.target.data, figure, reason=form.reason.data or "",
                key=f"form:{form.key.data[:64]}",
            )  # fmt: skip
        return done(_("已提出，等待主管部门办理"), "conversions.show", conversion_id=made.id)

    page = partial(
        render_template, "conversions/ask.html", form=form, rule=rules.in_force(tx, ExchangeSubject.CONVERSION)
    )
    return answer(form, act, page, Refused)


def _acts() -> dict[str, Takes]:
    reason = Given("reason", label=N_("理由"), longest=500, required=True)
    return {
        "carry_out": Takes(given=(GENERATION,), by=(Role.AUTHORITY,)),
        "refuse": Takes(given=(GENERATION, reason), by=(Role.AUTHORITY,)),
        "retract": Takes(given=(GENERATION,)),
    }


@blueprint.post("/<int:conversion_id>/<verb>")
@allow(Role.AUTHORITY, Role.TENANT)
@takes(each=_acts, of="verb")
def act(conversion_id: int, verb: str) -> Response:
    """carry_out, refuse, retract; the page says beforehand what each does."""
    generation = request.form.get("generation", type=row) or 0
    with transaction() as tx:
        if verb == "carry_out":
            conversions.carry_out(tx, conversion_id, generation=generation)
        elif verb == "refuse":
            reason = request.form.get("reason", "")[:500]
            conversions.refuse(tx, conversion_id, generation=generation, reason=reason)
        elif verb == "retract":
            conversions.withdraw(tx, conversion_id, generation=generation)
        else:
            raise Invalid("loan.verb", N_("没有这种操作"))
    flash(_("已办理"), "success")
    return redirect(url_for("conversions.show", conversion_id=conversion_id))


@frame.home_block(Role.AUTHORITY, order=43)
def waiting_conversions(tx: Tx, _who: Actor) -> str | None:
    """What was asked to be converted and waits; nothing where there is none."""
    waits = Conversion.state == ConversionState.ASKED.value
    found, count = frame.shortened(tx, _rows(tx).where(waits).order_by(Conversion.id), SHOWN)
    if not found:
        return None
    return render_template("conversions/_home.html", found=found, count=count)
