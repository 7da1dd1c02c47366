"""资源池: each with its company, capacity, reserve, overcommit, ledger, use and the last samples; registered, equipped,
closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, DecimalField, HiddenField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange

from console import frame, links
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, settings, transaction
from console.charts import outlooks
from console.forms import answer, done
from console.founding import Look, StepStanding, checklist
from console.lists import Column, Filter, listing
from console.pages.cases import growth_evidence
from console.pages.directory import connections
from console.pages.quota import capacity
from console.programs import listed, takes
from console.words import CLASS_LABELS, _, amount, kind_label, lazy, policies, sentence, when
from metering.intake import Intake, probes
from metering.judging import findings
from metering.overview import measured
from providers import registry
from providers.connection import FAULTS
from providers.mappings import held_sheets
from providers.observation import cloud_figures, quota_drifts
from quota import ledger
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import CloudProvider, Pool, PoolCapacity, pools
from quota.errors import N_, Conflict, Invalid, NotFound, OverCapacity, WrongState
from quota.inventory import CloudProject, Resource
from quota.ledger import Holder, Side, capacities, slicing
from quota.units import CLASSES, Arch, ClassCode, Commodity, base_units, shown

blueprint = Blueprint("pools", __name__, url_prefix="/pools")
frame.page("resources", "pools.index", N_("资源池"), order=30)

COLUMNS = [
    Column("name", N_("名称"), lambda p: p.name, sort=Pool.name, title=True, href=lambda p: url_for("pools.show", pool_id=p.id)),
    Column("code", N_("编码"), lambda p: p.code, sort=Pool.code),
    Column("company", N_("云服务商"), lambda p: p.provider.name, href=links.provider(lambda p: p.provider_id)),
    Column("zone", N_("网络区"), lambda p: p.zone, sort=Pool.zone),
    Column("arch", N_("架构"), lambda p: p.arch, sort=Pool.arch),
    Column("xinchuang", N_("信创"), lambda p: p.xinchuang),
    Column("adapter", N_("适配器"), lambda p: p.adapter, minor=True),
    Column("state", N_("状态"), lambda p: "active" if p.active else "inactive", state=True),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, Pool.name, Pool.code))),
]  # fmt: skip


class PoolForm(FlaskForm):  # type: ignore[misc]
    code = StringField(lazy(N_("编码")), [InputRequired(lazy(N_("请填写编码"))), Length(max=32)])
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    provider = SelectField(lazy(N_("云服务商")), coerce=int)
    arch = SelectField(lazy(N_("架构")), choices=[SelectChoice(a.value, a.value) for a in Arch if a is not Arch.ANY])
    zone = StringField(lazy(N_("网络区")), [InputRequired(lazy(N_("请填写网络区"))), Length(max=64)])
    xinchuang = BooleanField(lazy(N_("信创")))
    adapter = SelectField(lazy(N_("适配器")), [InputRequired(lazy(N_("请选择适配器")))])
    shown = HiddenField()

    def offer(self, tx: Tx) -> None:
        """Fill the choices: companies that have not ended, adapters that this house may use; none is chosen beforehand."""
        rows = tx.execute(
            select(CloudProvider.id, CloudProvider.name).where(CloudProvider.active).order_by(CloudProvider.name)
        )
        self.provider.choices = [SelectChoice(str(id_), name) for id_, name in rows]
        names = registry.offered(demo=settings().demo)
        self.adapter.choices = [SelectChoice("", "—"), *(SelectChoice(name, name) for name in names)]


class CloseForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


class PoolReasonForm(CloseForm):
    dry_run = HiddenField()  # what shall be, as the page showed it


class CapacityForm(FlaskForm):  # type: ignore[misc]
    key = HiddenField()
    kind = SelectField(lazy(N_("资源")))
    total = IntegerField(lazy(N_("总量")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(0, 10**9)],
                         description=lazy(N_("内存与存储以 GB 计")))  # fmt: skip
    reserved = IntegerField(lazy(N_("预留")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(0, 10**9)], default=0)
    ratio = DecimalField(lazy(N_("超分比")), [InputRequired(lazy(N_("请填写数量")))], places=3, default=Decimal(1))
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


class SliceForm(FlaskForm):  # type: ignore[misc]
    key = HiddenField()
    kind = SelectField(lazy(N_("切片")), [InputRequired()])
    cards = IntegerField(
        lazy(N_("卡数")),
        [InputRequired(lazy(N_("请填写数量"))), NumberRange(-(10**6), 10**6)],
        description=lazy(N_("正数为切分空闲的整卡，负数为把空闲的切片合并为整卡")),
    )
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


def _visible(who: Actor) -> Any:
    query = select(Pool)
    return query.where(Pool.provider_id == who.provider_id) if who.role is Role.PROVIDER else query


def _seen(tx: Tx, pool_id: int) -> Pool:
    found: Pool | None = tx.scalar(_visible(actor()).where(Pool.id == pool_id).options(joinedload(Pool.provider)))
    if found is None:
        raise NotFound("pool.none", N_("没有编号为 %(id)s 的资源池"), id=pool_id)
    return found


@blueprint.get("/")
@allow(*STEWARDS, Role.PROVIDER)
@listed(COLUMNS, FILTERS, more=[connections.told(lambda one: one.adapter_options, Role.AUTHORITY)])
def index() -> str | Response:
    tx = reading()
    query = _visible(actor()).options(joinedload(Pool.provider))
    found = listing(tx, query, COLUMNS, key=Pool.id, filters=FILTERS, sort="code")
    return found.exported("pools") or render_template("pools/index.html", pools=found)


@blueprint.get("/<int:pool_id>")
@allow(*STEWARDS, Role.PROVIDER)
def show(pool_id: int) -> str:
    """One pool. NotFound for another company's."""
    tx = reading()
    one = _seen(tx, pool_id)
    use = measured(tx, pools=[one.id])
    rows = capacity(tx, {"pool": str(one.id)})
    for row in rows:
        row["use"] = use.total(row["cls"].kind, pools=[one.id])
    told, cut_ = cloud_figures.capacities(tx, one.id), _cut(tx, one)
    cards: Counter[ClassCode] = Counter()
    for _kind, whole, number, _n in cut_:
        cards[whole] += number
    return render_template(
        "pools/show.html",
        told=[
            (told[kind], row, row is not None and _agree(told[kind], row, cards[kind]))
            for kind, row in _beside(told, rows)
        ],
        book=cloud_figures.reading(tx, one.id, cloud_figures.CloudBook.CAPACITY),
        projects=_projects(tx, one),
        quota_drifts=_quota_drifts(tx, one),
        one=one,
        cut=cut_,
        slices=_slices(),
        forecast=outlooks.has_machines(tx, actor(), Resource.pool_id == one.id),
        rows=rows,
        intake=(intake := tx.get(Intake, one.id)),
        trouble=sentence(FAULTS[intake.fault_code]) if intake is not None and intake.fault_code in FAULTS else "",
        sheets=held_sheets.waiting(tx, one.id),
        probe=connections.probed(tx, f"pool:{one.id}"),
        resources=_resources(tx, one),
        live=growth_evidence.resizes_live(one),
        run=use.run,
        blind=[policies.blind_spot(each) for each in findings.blind_spots(tx, use.run, one)] if use.run else [],
    )


@blueprint.get("/companies/<int:provider_id>")
@allow(*STEWARDS, Role.PROVIDER)
def company(provider_id: int) -> str:
    """A company and its pools; provider staff see their own."""
    tx = reading()
    if actor().role is Role.PROVIDER and actor().provider_id != provider_id:
        raise NotFound("provider.none", N_("没有编号为 %(id)s 的云服务商"), id=provider_id)
    one = pools.provider(tx, provider_id)
    own = list(tx.scalars(select(Pool).where(Pool.provider_id == one.id).order_by(Pool.code)))
    use = measured(tx, pools=[each.id for each in own])
    rows = {each.id: capacity(tx, {"pool": str(each.id)}) for each in own}
    for pool_id, of in rows.items():
        for row in of:
            row["use"] = use.total(row["cls"].kind, pools=[pool_id])
    return render_template("pools/company.html", one=one, pools=own, rows=rows, run=use.run)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(PoolForm, connections.OPTIONS, own=("shown",))
def register() -> str | Response | tuple[str, int]:
    """Enter a pool; its adapter is opened with the options before anything is written."""
    names = registry.offered(demo=settings().demo)
    name = wanted if (wanted := request.values.get("adapter", "")) in names else ""
    form = connections.with_options(PoolForm, name)() if name else PoolForm()
    form.offer(reading())
    other = request.method == "POST" and form.shown.data != name and form.shown.data is not None
    form.shown.data = name
    if request.method == "GET":
        form.adapter.data = name
    if other:  # another adapter was chosen: its own fields, and nothing is wrong yet
        return render_template("pools/register.html", form=form)

    def enter() -> Response:
        options = connections.given(form, name)
        connections.opens(name, options)
        with transaction() as tx:
            options |= connections.kept_secrets(tx, form, name, form.code.data)
            one = pools.register(
                tx, form.code.data, form.name.data, form.provider.data, Arch(form.arch.data), form.zone.data,
                adapter=name, options=registry.checked(name, options), xinchuang=form.xinchuang.data,
            )  # fmt: skip
            if registry.is_probed(name):
                probes.ask(tx, f"pool:{one.id}")
        next_ = "pools.show" if registry.is_probed(name) else "pools.equip"  # what answered, and what capacity it tells
        return done(_("已登记：%(name)s", name=one.name), next_, pool_id=one.id)

    return answer(
        form, enter, lambda: render_template("pools/register.html", form=form), Invalid, Conflict, NotFound,
        hung=connections.hang,
    )  # fmt: skip


@blueprint.route("/<int:pool_id>/connection", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(connections.ConnectionForm, connections.OPTIONS)
def connect(pool_id: int) -> str | Response | tuple[str, int]:
    """How a pool's cloud is reached: its options, to be changed; who changed them before."""
    tx = reading()
    one = _seen(tx, pool_id)
    form = connections.with_options(connections.ConnectionForm, one.adapter)()
    if request.method == "GET":
        connections.fill(form, one.adapter, one.adapter_options)
        form.seen.data = connections.mark(one.adapter_options)

    def configure() -> Response:
        if form.seen.data != connections.mark(one.adapter_options):
            raise Conflict("pool.stale", N_("连接参数已被他人修改,请重新打开页面"))
        options = connections.given(form, one.adapter, one.adapter_options)
        connections.opens(one.adapter, options)
        with transaction() as writing:
            options |= connections.kept_secrets(writing, form, one.adapter, one.code)
            pools.connect(
                writing, writing.get_one(Pool, one.id), registry.checked(one.adapter, options),
                before=one.adapter_options,
            )  # fmt: skip
            if registry.is_probed(one.adapter):
                probes.ask(writing, f"pool:{one.id}")
        return done(_("连接已保存"), "pools.show", pool_id=one.id)

    def page() -> str:
        history = connections.history(tx, f"pool:{one.id}", "pool.connect", "pool.register")
        return render_template("pools/connect.html", form=form, one=one, history=history)

    return answer(form, configure, page, Invalid, Conflict, NotFound, hung=connections.hang)


@blueprint.post("/<int:pool_id>/probe")
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes()
def probe(pool_id: int) -> Response:
    """Ask for a probe of the connection; the jobs' process, which has the secrets, carries it out."""
    with transaction() as tx:
        probes.ask(tx, f"pool:{_seen(tx, pool_id).id}")
    flash(_("已安排测试，一分钟内见结果"), "success")
    return redirect(url_for("pools.show", pool_id=pool_id))


@blueprint.route("/<int:pool_id>/capacity", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(CapacityForm, sends={"confirm": "1"})
def equip(pool_id: int) -> str | Response | tuple[str, int]:
    """Set what a pool has of a kind; the first sending shows what that would do to what is free."""
    tx = reading()
    one = _seen(tx, pool_id)
    form = CapacityForm()
    form.key.data = form.key.data or uuid4().hex
    had = {row.kind for row in one.capacities}
    form.kind.choices = [
        SelectChoice(kind, _(label))
        for kind, label in CLASS_LABELS.items()
        if kind in had or not CLASSES[ClassCode(kind)].ended
    ]
    wanted = request.args.get("kind", "")
    if request.method == "GET" and wanted in CLASS_LABELS:
        form.kind.data = wanted
        has = _row(tx, one, ClassCode(wanted))
        told = cloud_figures.capacities(tx, one.id).get(ClassCode(wanted))
        if request.args.get("told") and told is not None:
            form.total.data, form.reserved.data, form.ratio.data = _whole(
                told, slicing.cut_of(tx, one.id, ClassCode(wanted))
            )
            form.reason.data = _("与云平台所报一致（%(at)s）", at=when(told.as_of))
        elif has is not None:
            form.total.data, form.reserved.data, form.ratio.data = (
                shown(ClassCode(wanted), has.total), shown(ClassCode(wanted), has.reserved), has.ratio,
            )  # fmt: skip

    def foresee_or_equip() -> str | Response:
        kind = ClassCode(form.kind.data)
        total = base_units(kind, form.total.data, field="total")
        reserved = base_units(kind, form.reserved.data, field="reserved")
        if not request.form.get("confirm"):
            effects = _foreseen(tx, one, kind, total, reserved, form.ratio.data)
            return render_template("pools/check.html", form=form, one=one, kind=_(CLASSES[kind].label), effects=effects)
        with transaction() as writing:
            capacities.equip(
                writing, writing.get_one(Pool, one.id), kind, total, reserved=reserved, ratio=form.ratio.data,
                key=f"form:{form.key.data[:64]}", reason=form.reason.data,
            )  # fmt: skip
        return done(_("容量已更新"), "pools.show", pool_id=one.id)

    return answer(
        form, foresee_or_equip, lambda: render_template("pools/equip.html", form=form, one=one),
        Invalid, OverCapacity, Conflict,
    )  # fmt: skip


@blueprint.route("/<int:pool_id>/slice", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(SliceForm)
def cut(pool_id: int) -> str | Response | tuple[str, int]:
    """Give out cards in slices, or make them whole again."""
    tx = reading()
    one, form = _seen(tx, pool_id), SliceForm()
    form.key.data = form.key.data or uuid4().hex
    form.kind.choices = [SelectChoice(kind, _(CLASSES[kind].label)) for kind in _slices()]

    def act() -> Response:
        with transaction() as writing:
            slicing.cut(
                writing, one.id, form.kind.data, form.cards.data, key=f"form:{form.key.data[:64]}", reason=form.reason.data
            )  # fmt: skip
        return done(_("已切分") if form.cards.data > 0 else _("已合并"), "pools.show", pool_id=one.id)

    return answer(
        form, act, lambda: render_template("pools/slice.html", form=form, one=one, cut=_cut(tx, one)), Invalid, OverCapacity, Conflict
    )  # fmt: skip


def _slices() -> list[ClassCode]:
    """The classes that are slices of cards."""
    return [kind for kind, of in CLASSES.items() if of.parts]


def _cut(tx: Tx, pool: Pool) -> list[tuple[ClassCode, ClassCode, int, int]]:
    """What of the pool's cards is cut: slices, the class of the card, cards and how many slices."""
    return [(kind, CLASSES[kind].whole, *figures) for kind, figures in slicing.sliced(tx, pool.id).items()]


@blueprint.route("/<int:pool_id>/close", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(CloseForm)
def close(pool_id: int) -> str | Response | tuple[str, int]:
    """Take a pool out of use; what is on record of it stays."""
    tx = reading()
    one, form = _seen(tx, pool_id), CloseForm()

    def act() -> Response:
        with transaction() as writing:
            capacities.close(writing, writing.get_one(Pool, one.id), form.reason.data)
        return done(_("已停用：%(name)s", name=one.name), "pools.show", pool_id=one.id)

    def page() -> str:
        return render_template("pools/close.html", form=form, one=one, resources=_resources(tx, one))

    return answer(form, act, page, Invalid, WrongState)


def _beside(told: Mapping[ClassCode, Any], rows: Sequence[Any]) -> list[tuple[ClassCode, Any]]:
    """Each class that the cloud tells of, with what was typed of it (None: nothing)."""
    typed = {row["cls"].kind: row["capacity"] for row in rows}
    return [(kind, typed.get(kind)) for kind in CLASSES if kind in told]


def _whole(told: cloud_figures.ToldCapacity, cut_: int) -> tuple[int, int, Decimal]:
    """What the cloud tells (total, reserved, ratio), as the form has it: whole units alone, rather less than there is. ``cut_``: cards
    that are given out in slices, which we keep reserved and the cloud doesn't."""
    factor = CLASSES[ClassCode(told.kind)].factor
    return told.total // factor, -(-told.reserved // factor) + cut_, told.ratio


def _agree(told: cloud_figures.ToldCapacity, typed: Any, cut_: int) -> bool:
    """Whether the book has what the cloud tells, as closely as it can be typed; ``cut_`` as in ``_whole``."""
    factor = CLASSES[ClassCode(told.kind)].factor
    total, reserved, ratio = _whole(told, cut_)
    exactly = told.total, told.reserved + cut_
    typed_as_told = (typed.total, typed.reserved) in ((total * factor, reserved * factor), exactly)
    return typed_as_told and bool(typed.ratio == ratio)


def _quota_drifts(tx: Tx, pool: Pool) -> int:
    """In how many places its cloud's quotas differ from the book."""
    drift = quota_drifts.QuotaDrift
    return tx.scalar(select(func.count(drift.id)).where(drift.pool_id == pool.id)) or 0


def _projects(tx: Tx, pool: Pool) -> tuple[int, int]:
    """How many projects its cloud has, and how many of them are nobody's."""
    count = select(func.count(CloudProject.id)).where(CloudProject.pool_id == pool.id)
    return tx.scalar(count) or 0, tx.scalar(count.where(CloudProject.department_id.is_(None))) or 0


@blueprint.route("/<int:pool_id>/dry-run", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(PoolReasonForm)
def try_out(pool_id: int) -> str | Response | tuple[str, int]:
    """Have the pool's orders planned and shown only, or carried out again."""
    tx = reading()
    one, form = _seen(tx, pool_id), PoolReasonForm()
    if request.method == "GET":
        form.dry_run.data = "" if one.dry_run else "1"

    def act() -> Response:
        on = bool(form.dry_run.data)
        with transaction() as writing:
            pools.try_out(writing, writing.get_one(Pool, one.id), dry_run=on, reason=form.reason.data)
        said = _("此后的工单只试算、不执行") if on else _("工单恢复执行")
        return done(said, "pools.show", pool_id=one.id)

    return answer(form, act, lambda: render_template("pools/dry_run.html", form=form, one=one), Invalid)


def _resources(tx: Tx, pool: Pool) -> int:
    """How many resources its last listing showed."""
    found = select(func.count()).select_from(Resource).where(Resource.pool_id == pool.id, Resource.gone_at.is_(None))
    return tx.scalar(found) or 0


def _row(tx: Tx, pool: Pool, kind: ClassCode) -> PoolCapacity | None:
    return tx.scalar(select(PoolCapacity).where(PoolCapacity.pool_id == pool.id, PoolCapacity.kind == kind))


def _foreseen(tx: Tx, pool: Pool, kind: ClassCode, total: int, reserved: int, ratio: Decimal) -> list[list[str]]:
    """What may be given out and what is free, before and after. Raises as equipping would."""
    pools.check_capacity(kind, total, reserved, ratio)
    cls = Commodity.of(kind, Arch(pool.arch))
    row = _row(tx, pool, kind)
    was, will = row.usable if row else 0, pools.usable(total, reserved, ratio)
    free = ledger.balance(tx, Side(pool.id, cls, Holder.FREE))
    if free + will - was < 0:
        raise OverCapacity(
            "capacity.given", N_("已承诺的多于调整后的容量:还差 %(short)s %(unit)s"),
            short=shown(kind, was - will - free), unit=CLASSES[kind].shown, field="total",
        )  # fmt: skip
    return [
        [_("可分配") + " · " + kind_label(cls), amount(was, cls), amount(will, cls)],
        [_("空闲") + " · " + kind_label(cls), amount(free, cls), amount(free + will - was, cls)],
    ]


@frame.finder(*STEWARDS, Role.PROVIDER, order=40)
def find(tx: Tx, who: Actor, text: str, limit: int) -> list[frame.Hit]:
    """Pools by name or code."""
    query = _visible(who).where(frame.matching(text, Pool.name, Pool.code))
    return [
        frame.Hit(N_("资源池"), one.name, url_for("pools.show", pool_id=one.id), one.code)
        for one in tx.scalars(query.order_by(Pool.name).limit(limit))
    ]


@checklist.step("pools", N_("资源池与连接"), N_("登记资源池，并测试其连接：每个资源池最近一次测试都通过。"), Role.AUTHORITY,
                endpoint="pools.index", order=70)  # fmt: skip
def _connected(look: Look) -> StepStanding:
    rows = look.tx.execute(select(Pool.id, Pool.adapter).where(Pool.active)).all()
    workbench = set(
        look.tx.scalars(select(probes.Probe.subject).where(probes.Probe.done_at.is_not(None), probes.Probe.fault == ""))
    )
    done = sum(not _probed(adapter) or f"pool:{id_}" in workbench for id_, adapter in rows)
    return StepStanding(0 < len(rows) == done, done, len(rows))


def _probed(adapter: str) -> bool:
    try:
        return registry.is_probed(adapter)
    except Invalid:  # an adapter that is installed here no more
        return True


@checklist.step("capacity", N_("资源池容量"), N_("写明每个资源池可分配的总量、预留和超分比。"), Role.AUTHORITY,
                endpoint="pools.index", order=80)  # fmt: skip
def _equipped(look: Look) -> StepStanding:
    every = select(func.count(Pool.id)).where(Pool.active)
    has = select(PoolCapacity.id).where(PoolCapacity.pool_id == Pool.id, PoolCapacity.total > 0).exists()
    pools_, done_ = look.tx.scalar(every) or 0, look.tx.scalar(every.where(has)) or 0
    return StepStanding(0 < pools_ == done_, done_, pools_)
