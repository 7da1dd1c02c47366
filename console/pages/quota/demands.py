"""年度需求: departments enter next year's demand; the authority sees it beside what is held, used, measured and installed, cuts it in
one view, and enacts it as the year's quotas in one act."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement, func, select, true, tuple_
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import IntegerField
from wtforms.validators import InputRequired, NumberRange

from console import frame, links
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, settings, transaction
from console.forms import DateField, answer, done, refused_here
from console.lists import Column, Filter, listing
from console.pages.quota.quota import accounts_by_wallet
from console.pages.quota.wallet_choices import WalletForm
from console.programs import Given, listed, takes, unfit
from console.security import row_or
from console.words import CLASS_LABELS, _, amount, kind_label, lazy
from metering.overview import utilizations
from quota.actors import Role
from quota.db import Tx, among
from quota.directory import Pool, departments
from quota.errors import N_, Conflict, Invalid, NotAllowed, OverCapacity, WrongState
from quota.ledger import OWNED, Account, Demand, DemandRound, Entry, Holder, RoundState, Transfer, demands
from quota.units import CLASSES, ClassCode, base_units, shown

blueprint = Blueprint("demands", __name__, url_prefix="/quota/demands")
frame.page("quota", "demands.index", N_("年度需求"), order=18)

TREND_DAYS = 90
SETTLED = "settled-"
"""Before the number of a demand: the field that says how much of it it is to be."""
ROUNDS = [
    Column("year", N_("年度"), lambda one: str(one.year), sort=DemandRound.year, title=True,
           href=lambda one: url_for("demands.show", round_id=one.id)),
    Column("state", N_("状态"), lambda one: f"round_{one.state}", sort=DemandRound.state, state=True),
    Column("closes_on", N_("填报截止"), lambda one: one.closes_on, sort=DemandRound.closes_on, text=str),
    Column("enacted_at", N_("颁布时间"), lambda one: one.enacted_at, sort=DemandRound.enacted_at),
]  # fmt: skip
DEMANDS = [
    Column("department", N_("使用单位"), lambda one: one.department.name, title=True,
           href=links.department(lambda one: one.department_id)),
    Column("pool", N_("资源池"), lambda one: one.pool.name, href=links.pool(lambda one: one.pool_id)),
    Column("class", N_("资源"), lambda one: kind_label(one.commodity)),
    Column("asked", N_("填报量"), lambda one: shown(one.commodity.kind, one.asked), sort=Demand.asked, number=True),
    Column("settled", N_("审定量"), lambda one: None if one.settled is None else shown(one.commodity.kind, one.settled), sort=Demand.settled, number=True),
    Column("unit", N_("计量单位"), lambda one: _(CLASSES[one.commodity.kind].shown)),
    Column("basis", N_("测算依据"), lambda one: one.basis),
    Column("granted_at", N_("授予时间"), lambda one: one.granted_at, minor=True),
]  # fmt: skip
FILTERS = [Filter("kind", N_("资源"), lambda q, v: q.where(Demand.kind == v), options=CLASS_LABELS)]


class RoundForm(FlaskForm):  # type: ignore[misc]
    year = IntegerField(lazy(N_("年度")), [InputRequired(lazy(N_("请填写年度"))), NumberRange(2000, 2999)])
    closes_on = DateField(lazy(N_("填报截止")), [InputRequired(lazy(N_("请填写填报截止日")))])


class DemandForm(WalletForm):
    amount = IntegerField(
        lazy(N_("填报量")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(0, 10**9, lazy(N_("数量不能为负")))],
        description=lazy(N_("长期配额之外该年度还需要的数量；内存与存储以 GB 计，填 0 为撤回")),
    )  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(ROUNDS)
def index() -> str | Response:
    found = listing(reading(), select(DemandRound), ROUNDS, key=DemandRound.id, sort="-year")
    return found.exported("demand-rounds") or render_template("demands/index.html", rounds=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(RoundForm)
def begin() -> str | Response | tuple[str, int]:
    """Ask for the demands of a year."""
    today = reading().now.astimezone(settings().zone).date()
    form = RoundForm(year=today.year + 1, closes_on=today + timedelta(days=30))

    def act() -> Response:
        with transaction() as tx:
            found = demands.open_round(tx, form.year.data, form.closes_on.data)
        return done(_("已开始征集"), "demands.show", round_id=found.id)

    return answer(form, act, lambda: render_template("demands/new.html", form=form), Invalid, Conflict)


def _visible(tx: Tx) -> ColumnElement[bool]:
    """A tenant sees what its departments entered."""
    who = actor()
    if who.role is not Role.TENANT:
        return true()
    return Demand.department_id.in_(departments.subtree(tx, who.department_id or 0))


@blueprint.get("/<int:round_id>")
@allow(*STEWARDS, Role.TENANT)
@listed(DEMANDS, FILTERS, at="list")
def show(round_id: int) -> str | Response:
    """What was entered in one round."""
    tx = reading()
    one = demands.round_of(tx, round_id)
    query = (
        select(Demand)
        .where(Demand.round_id == one.id, _visible(tx))
        .options(joinedload(Demand.department), joinedload(Demand.pool))
    )
    found = listing(tx, query, DEMANDS, key=Demand.id, filters=FILTERS, sort="-asked")
    today = tx.now.astimezone(settings().zone).date()
    return found.exported(f"demands-{one.year}") or render_template(
        "demands/show.html", one=one, found=found, open=one.state == RoundState.OPEN.value,
        entering=one.state == RoundState.OPEN.value and (actor().role is not Role.TENANT or today <= one.closes_on),
    )  # fmt: skip


@blueprint.route("/<int:round_id>/enter", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(DemandForm)
def enter(round_id: int) -> str | Response | tuple[str, int]:
    """Say what a department needs, or correct it."""
    tx = reading()
    one, who, form = demands.round_of(tx, round_id), actor(), DemandForm()
    within = departments.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None
    form.offer(tx, within=within)
    form.reason.label.text = _("测算依据")

    def act() -> Response:
        pool_id, cls, figure = form.chosen()
        with transaction() as writing:
            demands.enter(writing, one.id, form.department.data, pool_id, cls, figure, form.reason.data or "")
        return done(_("已填报"), "demands.show", round_id=one.id)

    def page() -> str:
        return render_template("demands/enter.html", form=form, one=one)

    return answer(form, act, page, Invalid, NotAllowed, WrongState)


@blueprint.route("/<int:round_id>/meeting", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(None, Given("settled", dict, N_("需求 → 审定量")))
def meeting(round_id: int) -> str | Response | tuple[str, int]:
    """Every demand beside what its department holds, uses and grew by, and what each pool will have; settled in one form."""
    tx = reading()
    one, wrong = demands.round_of(tx, round_id), ""
    if request.method == "POST":
        try:
            amounts = _settled(tx, one)
            with transaction() as writing:
                demands.settle(writing, one.id, amounts)
        except (Invalid, Conflict, WrongState) as refused:
            wrong = refused_here(refused)
        else:
            flash(_("已保存审定量"), "success")
            return redirect(url_for("demands.meeting", round_id=one.id, page=request.args.get("page")))
    return _meeting(tx, one, wrong), 422 if wrong else 200


def _meeting(tx: Tx, round_: DemandRound, wrong: str) -> str:
    query = (
        select(Demand)
        .where(Demand.round_id == round_.id)
        .options(joinedload(Demand.department), joinedload(Demand.pool))
        .order_by(*demands.IN_ORDER)
    )
    found = listing(tx, query, (), key=Demand.id)
    return render_template(
        "demands/meeting.html", one=round_, wrong=wrong, open=round_.state == RoundState.OPEN.value,
        found=found, rows=_beside(tx, found.rows), sums=_sums(tx, round_), days=TREND_DAYS,
    )  # fmt: skip


def _settled(tx: Tx, round_: DemandRound) -> dict[int, tuple[int, int]]:
    """What the form says of each demand; a field that was left empty is not settled yet. Raises Invalid naming what is no number."""
    sent = {row_or(name.removeprefix(SETTLED), 0) for name in request.form if name.startswith(SETTLED)}
    query = (
        select(Demand)
        .where(Demand.round_id == round_.id, among(Demand.id, sent))
        .options(joinedload(Demand.department))
    )
    found = {}
    for demand in tx.scalars(query.order_by(*demands.IN_ORDER)):
        typed = request.form.get(f"{SETTLED}{demand.id}", "").strip()
        if not typed:
            continue
        if not (typed.isascii() and typed.isdigit() and len(typed) <= 12):
            raise Invalid(
                "demand.number", N_("%(name)s:“%(typed)s”不是整数"), name=demand.department.name, typed=typed[:20]
            )
        generation = row_or(request.form.get(f"generation-{demand.id}", str(demand.generation)), 0)
        found[demand.id] = (generation, base_units(demand.commodity.kind, int(typed)))
    return found


def _beside(tx: Tx, rows: Sequence[Demand]) -> list[dict[str, Any]]:
    """Each demand with its department's quota, use, measured use and growth in the same pool and class."""
    held, whose = accounts_by_wallet(), {one.department_id for one in rows}
    places = [(one.department_id, one.pool_id, one.kind, one.arch) for one in rows]
    theirs = select(held).where(tuple_(held.c.department_id, held.c.pool_id, held.c.kind, held.c.arch).in_(places))
    wallets = {(row.department_id, row.pool_id, row.kind, row.arch): row for row in tx.execute(theirs)}
    grown = _grown(tx, places)
    measured = utilizations.measured(tx, departments=whose, apart=True)
    found = []
    for one in rows:
        place = (one.department_id, one.pool_id, one.kind, one.arch)
        wallet = wallets.get(place)
        use = measured.of.get((one.pool_id, one.department_id, ClassCode(one.kind)), utilizations.UNMEASURED)
        found.append(
            {
                "one": one,
                "quota": int(wallet.quota) if wallet else 0,
                "used": int(wallet.used) if wallet else 0,
                "grown": grown.get(place, 0),
                "mean": use.mean,
                "shown": "" if one.settled is None else shown(one.commodity.kind, one.settled),
            }
        )
    return found


def _grown(tx: Tx, places: Sequence[tuple[int, int, str, str]]) -> dict[tuple[int, int, str, str], int]:
    """How much the holdings of these departments, each in a pool and class, grew in the last TREND_DAYS."""
    first = tx.now.astimezone(settings().zone).date() - timedelta(days=TREND_DAYS)
    since = datetime.combine(first, time(), settings().zone)
    place = (Account.department_id, Account.pool_id, Account.kind, Account.arch)
    rows = tx.execute(
        select(*place, func.sum(Entry.delta))
        .join(Entry, Entry.account_id == Account.id)
        .join(Transfer, Transfer.id == Entry.transfer_id)
        .where(tuple_(*place).in_(places), Account.holder.in_([one.value for one in OWNED]), Transfer.at >= since)
        .group_by(*place)
    )
    return {(department or 0, pool_id, kind, arch): int(n) for department, pool_id, kind, arch, n in rows}


def _sums(tx: Tx, round_: DemandRound) -> list[list[str]]:
    """By pool and class: asked for, settled, what is installed, what there will be, and what would be left."""
    room = demands.there_will_be(tx, round_)
    supply = demands.held_by(tx, Holder.SUPPLY)
    summed = demands.sums(tx, round_.id)
    names = dict(tx.execute(select(Pool.id, Pool.name).where(Pool.id.in_({pool_id for pool_id, _cls in summed}))).all())
    return [
        [
            names[pool_id], kind_label(cls), amount(asked, cls), amount(settled, cls),
            amount(-supply.get((pool_id, cls), 0), cls), amount(room.get((pool_id, cls), 0), cls),
            amount(room.get((pool_id, cls), 0) - settled, cls),
        ]
        for (pool_id, cls), (asked, settled) in sorted(summed.items())
    ]  # fmt: skip


@blueprint.route("/<int:round_id>/enact", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("enacted in the meeting, by a person who has seen the sums")
def enact(round_id: int) -> str | Response | tuple[str, int]:
    """The sums once more; then all that is settled becomes the year's quotas."""
    tx = reading()
    one, wrong = demands.round_of(tx, round_id), ""
    if request.method == "POST":
        try:
            with transaction() as writing:
                demands.enact(writing, one.id)
        except (WrongState, OverCapacity) as refused:
            wrong = refused_here(refused)
        else:
            return done(_("%(year)s 年度配额已颁布", year=one.year), "demands.show", round_id=one.id)
    page = render_template("demands/enact.html", one=one, wrong=wrong, sums=_sums(tx, one))
    return page, 422 if wrong else 200
