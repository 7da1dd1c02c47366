"""配额市场: idle quota that departments offer, what others ask of it, and what came of that."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from uuid import uuid4

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, settings, transaction
from console.choices import ChoiceField
from console.forms import DateField, answer, done
from console.lists import Column, Filter, Rows, listing
from console.pages.quota.wallet_choices import WalletForm
from console.programs import GENERATION, Given, Takes, listed, takes
from console.security import row, row_or
from console.words import CLASS_LABELS, _, amount, kind_label, lazy, sentence
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Department, Pool
from quota.directory import departments as agencies
from quota.errors import N_, Invalid, Refused
from quota.exchange import ClaimState, MarketScope, OfferState, OfferWay, QuotaClaim, QuotaOffer, market, rules
from quota.ledger import MAX_DAYS, Holder, lending
from quota.units import CLASSES, Arch, base_units, shown

blueprint = Blueprint("market", __name__, url_prefix="/quota/market")
frame.page("quota", "market.index", N_("配额市场"), order=42)

WAYS = {OfferWay.LEND.value: N_("出借"), OfferWay.GIVE.value: N_("调出")}
OFFER_STATES = {
    OfferState.OPEN.value: N_("挂牌中"), OfferState.TAKEN.value: N_("已用完"), OfferState.CLOSED.value: N_("已撤牌"),
    OfferState.LAPSED.value: N_("已到期"),
}  # fmt: skip
CLAIM_STATES = {
    ClaimState.ASKED.value: N_("待答复"), ClaimState.AGREED.value: N_("待主管部门确认"), ClaimState.DONE.value: N_("已办结"),
    ClaimState.REFUSED.value: N_("已谢绝"), ClaimState.WITHDRAWN.value: N_("已撤回"), ClaimState.LAPSED.value: N_("挂牌已结束"),
}  # fmt: skip
SCOPES = {
    MarketScope.CLOSED: N_("不开放"), MarketScope.BRANCH: N_("同一顶级单位之下的各单位之间"), MarketScope.CITY: N_("全市各单位之间"),
}  # fmt: skip
SHOWN = 8
"""How many a block of the home page shows."""

OFFERS = [
    Column("number", N_("编号"), lambda o: o.number, title=True, sort=QuotaOffer.id,
           href=lambda o: url_for("market.show", offer_id=o.id)),
    Column("state", N_("状态"), lambda o: f"offer_{o.state}", sort=QuotaOffer.state, state=True),
    Column("department", N_("挂牌单位"), lambda o: o.department.name, href=links.department(lambda o: o.department_id)),
    Column("way", N_("方式"), lambda o: _(WAYS[o.way]), code=lambda o: o.way),
    Column("zone", N_("网络区"), lambda o: o.pool.zone),
    Column("pool", N_("资源池"), lambda o: o.pool.name, href=links.pool(lambda o: o.pool_id)),
    Column("class", N_("资源"), lambda o: kind_label(o.commodity), code=lambda o: str(o.commodity)),
    Column("left", N_("可求借"), lambda o: shown(o.commodity.kind, o.left), number=True),
    Column("amount", N_("挂牌数量"), lambda o: shown(o.commodity.kind, o.amount), number=True, minor=True),
    Column("unit", N_("计量单位"), lambda o: _(CLASSES[o.commodity.kind].shown)),
    Column("until", N_("借至"), lambda o: o.until, text=lambda v: str(v) if v else _("长期")),
    Column("open_until", N_("挂牌截止"), lambda o: o.open_until, text=str, sort=QuotaOffer.open_until),
]  # fmt: skip
CLAIMS = [
    Column("number", N_("编号"), lambda c: c.number, title=True, sort=QuotaClaim.id,
           href=lambda c: url_for("market.claim", claim_id=c.id)),
    Column("state", N_("状态"), lambda c: f"claim_{c.state}", sort=QuotaClaim.state, state=True),
    Column("department", N_("求借单位"), lambda c: c.department.name, href=links.department(lambda c: c.department_id)),
    Column("from", N_("挂牌单位"), lambda c: c.offer.department.name, href=links.department(lambda c: c.offer.department_id)),
    Column("offer", N_("挂牌"), lambda c: c.offer.number, href=lambda c: url_for("market.show", offer_id=c.offer_id)),
    Column("class", N_("资源"), lambda c: kind_label(c.offer.commodity), code=lambda c: str(c.offer.commodity)),
    Column("asked", N_("求借数量"), lambda c: shown(c.offer.commodity.kind, c.asked), number=True),
    Column("agreed", N_("同意数量"), lambda c: None if c.agreed is None else shown(c.offer.commodity.kind, c.agreed), number=True),
    Column("unit", N_("计量单位"), lambda c: _(CLASSES[c.offer.commodity.kind].shown)),
    Column("at", N_("提出于"), lambda c: c.at, minor=True),
    Column("decided", N_("办结于"), lambda c: c.decided_at, minor=True),
]  # fmt: skip


def _of_arch(query: Rows, value: str) -> Rows:
    return query.where(QuotaOffer.arch == value)


OFFER_FILTERS = [
    Filter("state", N_("状态"), lambda q, v: q.where(QuotaOffer.state == v), options=OFFER_STATES),
    Filter("way", N_("方式"), lambda q, v: q.where(QuotaOffer.way == v), options=WAYS),
    Filter("kind", N_("资源"), lambda q, v: q.where(QuotaOffer.kind == v), options=CLASS_LABELS),
    Filter("arch", N_("架构"), _of_arch, options={one.value: one.value for one in Arch if one is not Arch.ANY}),
    Filter("zone", N_("网络区"), lambda q, v: q.where(QuotaOffer.pool.has(Pool.zone == v))),
]
CLAIM_FILTERS = [Filter("state", N_("状态"), lambda q, v: q.where(QuotaClaim.state == v), options=CLAIM_STATES)]


class OfferForm(WalletForm):
    way = RadioField(lazy(N_("方式")), choices=[], validators=[InputRequired(lazy(N_("请选择方式")))])
    until = DateField(
        lazy(N_("借至")), [Optional()], description=lazy(N_("出借的最后一天；调出为长期，不填"))
    )  # fmt: skip
    open_until = DateField(lazy(N_("挂牌截止")), [InputRequired(lazy(N_("请填写挂牌截止日")))])
    guaranteed_days = IntegerField(
        lazy(N_("保证期")),
        [Optional(), NumberRange(0, MAX_DAYS)],
        default=7,
        description=lazy(N_("此期内召回不生效；只用于出借")),
    )
    notice_days = IntegerField(
        lazy(N_("召回提前期")), [Optional(), NumberRange(0, MAX_DAYS)], default=5,
        description=lazy(N_("召回后满此天数才到期；只用于出借")),
    )  # fmt: skip


class ClaimForm(FlaskForm):  # type: ignore[misc]
    key = HiddenField()
    department = ChoiceField(lazy(N_("求借单位")))
    amount = IntegerField(
        lazy(N_("数量")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(1, 10**9, lazy(N_("数量须为正整数")))],
        description=lazy(N_("内存与存储以 GB 计")),
    )  # fmt: skip
    reason = TextAreaField(lazy(N_("用途")), [InputRequired(lazy(N_("请写明用途"))), Length(max=500)])


def _within(tx: Tx, who: Actor) -> set[int] | None:
    return agencies.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None


def _claims(tx: Tx) -> Rows:
    return (
        select(QuotaClaim)
        .where(market.visible_claims(tx, actor()))
        .options(
            joinedload(QuotaClaim.department),
            joinedload(QuotaClaim.offer).joinedload(QuotaOffer.department),
            joinedload(QuotaClaim.offer).joinedload(QuotaOffer.pool),
        )
    )


# ------------------------------------------------------------------------------------------------------------- reading


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(OFFERS, OFFER_FILTERS)
def index() -> str | Response:
    """What is offered, as far as the visitor may see it."""
    tx = reading()
    query = (
        select(QuotaOffer)
        .where(market.visible(tx, actor()))
        .options(joinedload(QuotaOffer.department), joinedload(QuotaOffer.pool))
    )
    found = listing(tx, query, OFFERS, key=QuotaOffer.id, filters=OFFER_FILTERS, sort="-number")
    terms = rules.market(tx)
    return found.exported("quota-offers") or render_template(
        "market/index.html", found=found, terms=terms, scope=_(SCOPES[terms.scope]),
        open=terms.scope is not MarketScope.CLOSED,
    )  # fmt: skip


@blueprint.get("/<int:offer_id>")
@allow(*STEWARDS, Role.TENANT)
def show(offer_id: int) -> str:
    """One offer with what is asked of it, as far as the visitor may see that."""
    tx = reading()
    one = market.offer(tx, offer_id)
    found = listing(tx, _claims(tx).where(QuotaClaim.offer_id == one.id), CLAIMS, key=QuotaClaim.id, sort="-number")
    who = actor()
    mine = _within(tx, who)
    running = one.state == OfferState.OPEN.value and one.open_until >= _today()
    return render_template(
        "market/show.html", one=one, found=found, way=_(WAYS[one.way]), offers=lending.acts_for(tx, one.department_id),
        may_ask=running and one.left and (mine is None or bool(mine - {one.department_id})), running=running,
        unused=market.can_give(tx, OfferWay(one.way), one.pool_id, one.commodity, one.department_id) if running else 0,
    )  # fmt: skip


@blueprint.get("/claims")
@allow(*STEWARDS, Role.TENANT)
@listed(CLAIMS, CLAIM_FILTERS)
def claims() -> str | Response:
    """What was asked of offers: the visitor's departments' own, and what was asked of theirs."""
    tx = reading()
    found = listing(tx, _claims(tx), CLAIMS, key=QuotaClaim.id, filters=CLAIM_FILTERS, sort="-number")
    return found.exported("quota-claims") or render_template("market/claims.html", found=found)


@blueprint.get("/claims/<int:claim_id>")
@allow(*STEWARDS, Role.TENANT)
def claim(claim_id: int) -> str:
    tx = reading()
    one = market.claim(tx, claim_id)
    whose = one.offer
    asked, agreed = one.state == ClaimState.ASKED.value, one.state == ClaimState.AGREED.value
    unused = market.can_give(tx, OfferWay(whose.way), whose.pool_id, whose.commodity, whose.department_id)
    barred = market.barred(tx, one) if asked or agreed else None
    return render_template(
        "market/claim.html", one=one, whose=whose, way=_(WAYS[whose.way]), asked=asked, agreed=agreed,
        gives=lending.acts_for(tx, whose.department_id), asks=lending.acts_for(tx, one.department_id),
        confirms=actor().role is Role.AUTHORITY, most=min(one.asked, whose.left, unused) if asked else 0,
        turn=_turn(one), barred=sentence(barred.message, barred.params) if barred else "",
    )  # fmt: skip


def _turn(one: QuotaClaim) -> str:
    """Whose word it waits for, in words; nothing where it waits for nobody."""
    if one.state == ClaimState.AGREED.value:
        return _("主管部门")
    whose = market.turn(one)
    return whose.name if whose else ""


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


# -------------------------------------------------------------------------------------------------------------- acting


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(OfferForm, sends={"confirm": "1"})
def publish() -> str | Response | tuple[str, int]:
    """Offer what is not used; the first sending shows what it means."""
    tx = reading()
    form = OfferForm(open_until=_today() + timedelta(days=30))
    terms = rules.market(tx)
    form.way.choices = [
        SelectChoice(code, _(label)) for code, label in WAYS.items() if terms.for_good or code != OfferWay.GIVE.value
    ]
    form.offer(tx, Holder.GRANTED, within=_within(tx, actor()))
    if request.method == "GET":
        form.department.data = request.args.get("department", type=row) or form.department.data
        form.way.data = form.way.data or OfferWay.LEND.value

    def act() -> str | Response:
        pool_id, cls, figure = form.chosen()
        way = OfferWay(form.way.data)
        if not request.form.get("confirm"):
            whose = agencies.department(tx, form.department.data)
            has = market.can_give(tx, way, pool_id, cls, whose.id)
            return render_template(
                "market/check.html", form=form, answers=_answers(tx, form), whose=whose, cls=cls, has=has, figure=figure
            )
        with transaction() as writing:
            made = market.publish(
                writing, way, form.department.data, pool_id, cls, figure, until=form.until.data,
                open_until=form.open_until.data, guaranteed_days=form.guaranteed_days.data or 0,
                notice_days=form.notice_days.data or 0, reason=form.reason.data or "", key=f"form:{form.key.data[:64]}",
            )  # fmt: skip
        return done(_("已挂牌"), "market.show", offer_id=made.id)

    page = partial(
        render_template, "market/publish.html", form=form, terms=terms, open=terms.scope is not MarketScope.CLOSED
    )
    return answer(form, act, page, Refused)


def _answers(tx: Tx, form: OfferForm) -> list[tuple[str, object, str]]:
    pool_id, cls, figure = form.chosen()
    lends = form.way.data == OfferWay.LEND.value
    where = tx.get_one(Pool, pool_id)
    found: list[tuple[str, object, str]] = [
        (_("单位"), agencies.department(tx, form.department.data).name, ""),
        (_("方式"), _(WAYS[form.way.data]), ""),
        (_("资源池"), f"{where.name} · {where.zone}", ""),
        (_("资源"), kind_label(cls), ""),
        (_("数量"), amount(figure, cls), ""),
        (_("挂牌截止"), str(form.open_until.data), ""),
    ]
    if lends:
        found += [
            (_("借至"), str(form.until.data or "—"), ""),
            (_("保证期"), _("%(days)s 天", days=form.guaranteed_days.data or 0), ""),
            (_("召回提前期"), _("%(days)s 天", days=form.notice_days.data or 0), ""),
        ]
    return [*found, (_("理由"), form.reason.data or "", "")]


@blueprint.post("/<int:offer_id>/retire")
@allow(Role.AUTHORITY, Role.TENANT)
@takes(None, GENERATION, Given("reason", label=N_("理由"), longest=500, required=True))
def retire(offer_id: int) -> Response:
    """Take an offer back."""
    generation = request.form.get("generation", type=row) or 0
    with transaction() as tx:
        market.close(tx, offer_id, generation=generation, reason=request.form.get("reason", "")[:500])
    return done(_("已撤牌"), "market.show", offer_id=offer_id)


@blueprint.route("/<int:offer_id>/ask", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(ClaimForm)
def ask(offer_id: int) -> str | Response | tuple[str, int]:
    """Ask for some of an offer."""
    tx = reading()
    one = market.offer(tx, offer_id)
    form = ClaimForm()
    form.key.data = form.key.data or uuid4().hex
    others = choices.departments(within=_within(tx, actor())).where(Department.id != one.department_id)
    form.department.offer(tx, others)

    def act() -> Response:
        kind = one.commodity.kind
        with transaction() as writing:
            made = market.ask(
                writing, offer_id, form.department.data, base_units(kind, form.amount.data), reason=form.reason.data or "",
                key=f"form:{form.key.data[:64]}",
            )  # fmt: skip
        return done(_("已提出，等待%(name)s答复", name=one.department.name), "market.claim", claim_id=made.id)

    return answer(
        form, act, lambda: render_template("market/ask.html", form=form, one=one, way=_(WAYS[one.way])), Refused
    )


def _acts() -> dict[str, Takes]:
    reason = Given("reason", label=N_("理由"), longest=500, required=True)
    return {
        "agree": Takes(given=(GENERATION, Given("amount", int, N_("同意数量")))),
        "confirm": Takes(given=(GENERATION,), by=(Role.AUTHORITY,)),
        "refuse": Takes(given=(GENERATION, reason)),
        "retract": Takes(given=(GENERATION,)),
    }


@blueprint.post("/claims/<int:claim_id>/<verb>")
@allow(Role.AUTHORITY, Role.TENANT)
@takes(each=_acts, of="verb")
def act(claim_id: int, verb: str) -> Response:
    """agree, confirm, refuse, retract; the page says beforehand what each does."""
    generation = request.form.get("generation", type=row) or 0
    with transaction() as tx:
        if verb == "agree":
            typed = request.form.get("amount", "").strip()
            if typed and not row_or(typed, 0):  # only what was left empty is everything
                raise Invalid("market.agreed", N_("同意的数量须大于零且不超过求借数量"), field="amount")
            kind = market.claim(tx, claim_id).offer.commodity.kind
            market.agree(tx, claim_id, base_units(kind, row_or(typed, 0)) if typed else None, generation=generation)
        elif verb == "confirm":
            market.confirm(tx, claim_id, generation=generation)
        elif verb == "refuse":
            market.refuse(tx, claim_id, generation=generation, reason=request.form.get("reason", "")[:500])
        elif verb == "retract":
            market.withdraw(tx, claim_id, generation=generation)
        else:
            raise Invalid("loan.verb", N_("没有这种操作"))
    flash(_("已办理"), "success")
    return redirect(url_for("market.claim", claim_id=claim_id))


# ---------------------------------------------------------------------------------------------------------------- home


def _waiting(tx: Tx, who: Actor) -> ColumnElement[bool]:
    """The claims that wait for this actor: agreed ones for the authority, for a department those on its offers."""
    if who.role is Role.AUTHORITY:
        return QuotaClaim.state == ClaimState.AGREED.value
    mine = agencies.subtree(tx, who.department_id or 0)
    offers = select(QuotaOffer.id).where(QuotaOffer.department_id.in_(mine))
    return (QuotaClaim.state == ClaimState.ASKED.value) & QuotaClaim.offer_id.in_(offers)


@frame.home_block(Role.AUTHORITY, Role.TENANT, order=42)
def waiting_claims(tx: Tx, who: Actor) -> str | None:
    """What was asked of the visitor's offers, or waits for the authority to confirm; nothing where there is none."""
    found, count = frame.shortened(tx, _claims(tx).where(_waiting(tx, who)).order_by(QuotaClaim.id), SHOWN)
    if not found:
        return None
    state = ClaimState.AGREED.value if who.role is Role.AUTHORITY else ClaimState.ASKED.value
    return render_template("market/_home.html", found=found, count=count, state=state)


@frame.finder(*STEWARDS, Role.TENANT, order=42)
def _find(tx: Tx, who: Actor, text: str, limit: int) -> list[frame.Hit]:
    """Offers by their department or reason."""
    wanted = or_(
        frame.matching(text, QuotaOffer.reason),
        QuotaOffer.department.has(frame.matching(text, agencies.Department.name)),
    )
    query = select(QuotaOffer).where(market.visible(tx, who), wanted).options(joinedload(QuotaOffer.department))
    return [
        frame.Hit(N_("配额市场"), one.number, url_for("market.show", offer_id=one.id), one.department.name, f"offer_{one.state}")
        for one in tx.scalars(query.order_by(QuotaOffer.id.desc()).limit(limit))
    ]  # fmt: skip
