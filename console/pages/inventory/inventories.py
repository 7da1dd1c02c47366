"""Inventories: listings of pools as they came in, files taken in by hand, and where book and cloud differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from sqlalchemy import ColumnElement, Select, String, and_, case, cast, func, literal, not_, or_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import STEWARDS, allow, proven
from console.book import actor, book, reading, settings, transaction
from console.errors import Denied
from console.forms import DateField, DateTimeLocalField, NeededByAnAct, answer, done, sent_back
from console.founding import Look, StepStanding, checklist
from console.lists import Column, Filter, Rows, listing
from console.pages.inventory import inquiry_forms, uploads
from console.pages.inventory import takeovers as takeover_pages
from console.programs import Given, asked, listed, takes
from console.security import row_or
from console.words import KINDS, _, amounts, lazy, sentence
from metering.intake import ListingReport, imports
from providers import observation
from providers.base import ResourceState
from providers.observation import HeldBack, Listing, held_listings
from providers.orders import WorkOrder
from providers.readers import UNMAPPED
from quota import inventory
from quota.actors import Actor, Role
from quota.attachments import StagedFile
from quota.db import Tx, among
from quota.directory import Department, Pool, System
from quota.errors import N_, Invalid, NotAllowed, NotFound, Refused, WrongState
from quota.inventory import CloudProject, Resource, inquiries, takeovers
from quota.requests import Request, finds, terms
from quota.units import CLASSES, Arch

blueprint = Blueprint("inventories", __name__, url_prefix="/inventories")
frame.page("providers", "inventories.drift", N_("台账差异"), order=80)
frame.page("providers", "inventories.index", N_("清单"), order=85)

READERS = (*STEWARDS, Role.PROVIDER)
DIFFERENCES = {
    "unapproved": N_("无审批依据"), "misplaced": N_("架构与资源池不符"), "reshaped": N_("规格与账面不符"), "gone": N_("账面有、云上无"), "ownerless": N_("无使用单位"),
    "misowned": N_("归属与账面不符"), "expired": N_("使用期限已过，仍在云上"),
}  # fmt: skip

NEXT_STEPS = {
    "unapproved": N_("凭文件接管，或请其单位补登、退还"),
    "misplaced": N_("核对资源池的架构；确属另一架构的，由那种架构的资源池列出"),
    "reshaped": N_("由使用单位按云上现有规格提交变更申请，批准后账面随之更正；不批准的，由云服务商改回账面的规格"),
    "gone": N_(
        "向云服务商核实；误删的恢复后，下一份清单会认出它；确已不在的，由运营监督方凭核实材料在资源页面核销，配额回到其单位"
    ),
    "ownerless": N_("确定它的云侧项目属于哪个单位，或在清单中写明单位"),
    "misowned": N_("核对由哪个单位使用：账面无误的，更正云侧项目的使用单位或云上的单位标签"),
    "expired": N_("由使用单位申请延期或退订"),
}
"""What is to be done about each difference, and by whom."""


def difference(resource: Resource) -> list[str]:
    """How a resource differs from the book; words of DIFFERENCES."""
    found = []
    if resource.gone_at is not None:
        return ["gone"] if resource.booked else []
    if not resource.basis:
        found.append("unapproved")
    elif resource.booked and dict(resource.counts()) != {
        kind: figure for kind, figure in resource.actual().items() if figure
    }:
        found.append("reshaped")
    if not resource.fits_its_pool:
        found.append("misplaced")
    if resource.department_id is None:
        found.append("ownerless")
    if resource.id in _misowned():
        found.append("misowned")
    if resource.basis in _expired():
        found.append("expired")
    return found


def _ended() -> Select[Any]:
    """By what the resources are there whose term has ended: the orders of such requests."""
    today = reading().now.astimezone(settings().zone).date()
    orders = select(literal("order:") + cast(WorkOrder.id, String))
    return orders.join(Request, Request.id == WorkOrder.request_id).where(terms.ending(today))


def _expired() -> frozenset[str]:
    if "expired" not in g:
        g.expired = frozenset(reading().scalars(_ended()))
    known: frozenset[str] = g.expired
    return known


def _of_another() -> ColumnElement[bool]:
    """Whether the cloud tells of a resource that it is another department's than the book says: by its project, where people
    have said whose that is, else by its tags, as listings are entered. The tag of a department that was closed says nothing."""
    by_project = select(CloudProject.department_id).where(CloudProject.id == Resource.project_id).scalar_subquery()
    by_tag = (
        select(Department.id).where(Department.code == Resource.department_code, Department.active).scalar_subquery()
    )
    by_system = select(System.department_id).where(System.code == Resource.system_code).scalar_subquery()
    tagged = func.coalesce(Resource.department_code, "") != ""
    told = func.coalesce(by_project, case((tagged, by_tag), else_=by_system))
    return and_(Resource.basis != "", Resource.department_id.is_not(None), told != Resource.department_id)


def _misowned() -> frozenset[int]:
    """Ids of the resources that the cloud tells as another department's: of those of the page, or, for who exports, of all."""
    if "misowned" not in g:
        g.misowned = frozenset(reading().scalars(select(Resource.id).where(_differs("misowned"))))
    known: frozenset[int] = g.misowned
    return known


def _differs(what: str = "") -> ColumnElement[bool]:
    """The resources that differ (as ``what``): those for which ``difference`` says so."""
    there, booked = Resource.gone_at.is_(None), cast(Resource.booked, String) != "{}"
    of_pool = select(Pool.arch).where(Pool.id == Resource.pool_id).scalar_subquery()
    figures = [
        func.coalesce(Resource.booked[kind].as_integer(), 0) != func.coalesce(Resource.amounts[kind].as_integer(), 0)
        for kind in CLASSES
    ]
    another_shape = and_(cast(Resource.booked, String) != cast(Resource.amounts, String), or_(*figures))
    ways = {
        "gone": and_(not_(there), booked),
        "unapproved": and_(there, Resource.basis == ""),
        "reshaped": and_(there, Resource.basis != "", booked, another_shape),
        "misplaced": and_(there, Resource.arch != Arch.ANY.value, Resource.arch != of_pool),
        "ownerless": and_(there, Resource.department_id.is_(None)),
        "misowned": and_(there, _of_another()),
        "expired": and_(there, Resource.basis.in_(_ended())),
    }
    return and_(Resource.state != ResourceState.DELETED.value, ways[what] if what else or_(*ways.values()))


def _kind(query: Rows, value: str) -> Rows:
    return query.where(_differs(value))


DRIFT = [
    Column("name", N_("资源"), lambda r: r.name or r.external_id, sort=Resource.name,
           href=lambda r: url_for("resources.show", resource_id=r.id), title=True),
    Column("what", N_("差异"), lambda r: _("、").join(_(DIFFERENCES[one]) for one in difference(r))),
    Column("next", N_("下一步"), lambda r: _("；").join(_(NEXT_STEPS[one]) for one in difference(r)), minor=True),
    Column("pool", N_("资源池"), lambda r: r.pool.name, href=links.pool(lambda r: r.pool_id)),
    Column("department", N_("使用单位"), lambda r: r.department.name if r.department else None, href=links.department(lambda r: r.department_id)),
    Column("booked", N_("账面"), lambda r: amounts(r.counts()) if r.booked else None),
    Column("has", N_("云上"), lambda r: amounts(r.actual()) if r.gone_at is None else None),
    Column("asked", N_("已征询"), lambda r: g.get("put", {}).get(r.id)),
    Column("seen", N_("最近见到"), lambda r: r.last_seen_at, sort=Resource.last_seen_at),
    Column("gone", N_("消失于"), lambda r: r.gone_at, sort=Resource.gone_at, minor=True),
]  # fmt: skip
DRIFT_FILTERS = [
    Filter("what", N_("差异"), _kind, options=DIFFERENCES),
    Filter("q", N_("名称或编号"), lambda q, v: q.where(
        frame.matching(v, Resource.name, Resource.external_id))),
]  # fmt: skip
LISTINGS = [
    Column("as_of", N_("时点"), lambda i: i.as_of, sort=Listing.as_of, title=True,
           href=lambda i: url_for("inventories.show", listing_id=i.id)),
    Column("pool", N_("资源池"), lambda i: _pools()[i.pool_id]),
    Column("taken", N_("入库"), lambda i: i.taken_at, sort=Listing.taken_at),
    Column("complete", N_("完整"), lambda i: i.complete),
    Column("resources", N_("资源数"), lambda i: i.resources, sort=Listing.resources, number=True),
    *(
        Column(name, label, lambda i, name=name: i.drift.get(name), number=True)  # type: ignore[misc]
        for name, label in (("new", N_("新增")), ("changed", N_("变化")), ("gone", N_("消失")), ("held", N_("缺失待核实")), ("returned", N_("重现")),
                            ("reshaped", N_("规格不符")), ("misowned", N_("归属不符")), ("misplaced", N_("架构不符")))
    ),
]  # fmt: skip


def _pools() -> dict[int, str]:
    if "pool_names" not in g:
        g.pool_names = {one.id: one.name for one in reading().scalars(select(Pool))}
    names: dict[int, str] = g.pool_names
    return names


class FileForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy("资源池"), coerce=int, choices=[])
    as_of = DateTimeLocalField(
        lazy("清单时点"), validators=[InputRequired(lazy("请填写清单时点"))],
        description=lazy("清单是什么时候导出的；同一时点再次导入不改变任何内容"),
    )  # fmt: skip
    file = FileField(
        lazy("清单文件"), validators=[FileRequired(lazy("请选择文件"))],
        description=lazy("CSV、xlsx、xls、Parquet 或 JSON；至少有资源编号、类型和规格。合计行不读入"),
    )  # fmt: skip


@blueprint.get("/")
@allow(*READERS)
@listed(LISTINGS)
def index() -> str | Response:
    tx = reading()
    query = select(Listing)
    if tx.actor.role is Role.PROVIDER:
        query = query.where(Listing.pool_id.in_(select(Pool.id).where(Pool.provider_id == tx.actor.provider_id)))
    found = listing(tx, query, LISTINGS, key=Listing.id, sort="-as_of")
    waiting = held_listings.waiting(tx) if tx.actor.role is not Role.PROVIDER else []
    return found.exported("inventories") or render_template(
        "inventories/index.html", listings=found, waiting=waiting, pools=_pools()
    )


class FindForm(FlaskForm):  # type: ignore[misc]
    document = StringField(
        lazy("依据的文件"), [NeededByAnAct(), Length(max=takeovers.LONGEST_DOCUMENT)],
        description=lazy("文号和名称；所选资源凭它接管，计入各自单位的配额与占用"),
    )  # fmt: skip
    due_on = DateField(lazy("答复期限"), [NeededByAnAct(), Optional()])
    text = TextAreaField(lazy("附言"), [Length(max=2000)])
    key = HiddenField()


@blueprint.route("/drift", methods=["GET", "POST"])
@allow(*READERS)
@listed(DRIFT, DRIFT_FILTERS)
@takes(
    FindForm,
    Given("step", label=N_("接管,或征询使用单位"), required=True, values=("propose", "ask")),
    Given("id", int, label=N_("资源"), required=True, many=True),
    by=(Role.SUPERVISOR,),
)
def drift() -> str | Response | tuple[str, int]:
    """Where book and cloud differ, each kept as it was seen: nothing here is put right by itself. What nobody approved the
    supervisor takes over by a document, or puts to its department."""
    tx = reading()
    query = (
        select(Resource)
        .where(inventory.visible(tx, tx.actor), _differs())
        .options(joinedload(Resource.pool), joinedload(Resource.department))
    )
    found = listing(tx, query, DRIFT, key=Resource.id, filters=DRIFT_FILTERS, sort="name")
    if found.rows:
        shown = among(Resource.id, [one.id for one in found.rows])
        g.misowned = frozenset(tx.scalars(select(Resource.id).where(shown, _differs("misowned"))))
    g.put = _put(tx, found.rows) if tx.actor.role in STEWARDS else {}
    if request.method != "POST" and (exported := found.exported("drift")):
        return exported
    latest = [(pool, observation.last_listing(tx, pool.id)) for pool in tx.scalars(select(Pool).order_by(Pool.name))]
    acts = tx.actor.role is Role.SUPERVISOR
    form = FindForm(data={"key": uuid4().hex, "due_on": inquiry_forms.usual_due(tx)}) if acts else None

    def page() -> str:
        return render_template("inventories/drift.html", rows=found, latest=latest, form=form)

    if form is None:
        if request.method == "POST":
            raise Denied((Role.SUPERVISOR,))
        return page()
    return answer(form, lambda: _act_on(form), page, Refused)


def _act_on(form: FindForm) -> Response:
    """Take over what is ticked, or put it to whose it is."""
    key, ids = f"form:{(form.key.data or '')[:64]}", request.form.getlist("id")
    ticked = sorted({number for text in ids if (number := row_or(text, 0))})
    if not ticked:
        raise Invalid("find.nothing", N_("请选择资源"))
    with transaction() as tx:
        if request.form.get("step") == "ask":
            asked = _ask(tx, form, ticked, key)
            return done(_("已向 %(n)s 个单位征询", n=len(asked)), "inventories.drift", what="unapproved")
        made = takeovers.propose(tx, None, form.document.data or "", ticked, key=key)
    return done(takeover_pages.told(made), "takeovers.show", takeover_id=made.id)


def _ask(tx: Tx, form: FindForm, ticked: Sequence[int], key: str) -> Sequence[inventory.Inquiry]:
    if not form.due_on.data:
        raise Invalid("inquiry.due_missing", N_("请填写答复期限"), field="due_on")
    wanted: dict[int, list[int]] = {}
    for one in tx.scalars(select(Resource).where(among(Resource.id, ticked)).order_by(Resource.id)):
        if one.department_id is None:
            raise Invalid("find.ownerless", N_("资源 %(name)s 还没有使用单位,请先确定"), name=one.called)
        wanted.setdefault(one.department_id, []).append(one.id)
    return inquiries.ask(tx, finds.FIND, wanted, form.due_on.data, form.text.data or "", key=key)


def _put(tx: Tx, resources: Sequence[Resource]) -> Mapping[int, str]:
    """Resource id → the last that was asked and answered about it, in words."""
    labels = finds.FIND.labels()
    return {
        item.resource_id: _(labels[item.answer]) if item.answer else _("待答复")
        for item in inquiries.asked_about(tx, [one.id for one in resources], finds.FIND.code)
    }


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(FileForm, sends={"step": "enter"})
def upload() -> str | Response | tuple[str, int]:
    """An inventory file of a pool: first what would come of it, then, once that was looked at, entered."""
    tx = reading()
    now = tx.now.astimezone(settings().zone).replace(tzinfo=None, second=0, microsecond=0)
    form = FileForm(as_of=now)
    pools = tx.scalars(select(Pool).order_by(Pool.name)).all()
    form.pool.choices = [SelectChoice(str(one.id), one.name) for one in pools]
    found: ListingReport | None = None
    token = request.form.get("token", "")
    if token:
        del form.file  # it came with the page before

    def act() -> str | Response:
        nonlocal found
        pool = next(pool for pool in pools if pool.id == form.pool.data)
        when: datetime = form.as_of.data.replace(tzinfo=settings().zone)
        enters = request.form.get("step") == "enter"
        file = uploads.kept(None if token else form.file.data, token)
        found = _import(pool, when, file, write=enters)
        if found.error is not None:
            if asked.by_program():
                uploads.forget(file.token)
            elif found.error.code in UNMAPPED and uploads.has_columns(file):
                flash(
                    _("这份清单的列还没有人说明含义：%(why)s", why=sentence(found.error.message, found.error.params)),
                    "info",
                )
                return redirect(_mapping_of(form, file.token))
            raise found.error
        return _entered(found) if enters else _compared(form, found, file.token)

    return answer(form, act, lambda: _compared(form, found, token), Refused)


def _import(pool: Pool, when: datetime, file: StagedFile, *, write: bool) -> ListingReport:
    with uploads.laid_out(file) as path:
        found = imports.import_inventory(
            book(), pool, path, as_of=when, actor=actor(), caution=settings().caution, write=write
        )
    if write or (found.error is not None and found.error.code not in UNMAPPED):
        uploads.forget(file.token)
    return found


def _mapping_of(form: FileForm, token: str) -> str:
    """The page that asks what the file's columns mean."""
    return url_for("mappings.draw", pool=form.pool.data, token=token, as_of=form.as_of.data.isoformat())


def _compared(form: FileForm, found: ListingReport | None, token: str) -> str:
    """The form, and beside it what would come of the file."""
    usable = found is not None and found.error is None
    if "file" not in form and not usable:  # the file has to be chosen again
        choices, errors = form.pool.choices, form.form_errors
        form = FileForm()
        form.pool.choices, form.form_errors = choices, errors
    return render_template(
        "inventories/upload.html",
        form=form,
        report=uploads.told(found.report.files[0]) if found is not None and found.report.files else None,
        drift=found.drift if found is not None and usable else None,
        found=found,
        token=token,
        mapping=_mapping_of(form, token) if usable else "",
    )


def _entered(found: ListingReport) -> Response:
    if found.drift is not None and found.drift.held:
        flash(_("清单已入库；其中所缺资源占比过大，未认定消失，请核实"), "warning")
    else:
        flash(_("清单与上次相同，没有变化") if found.again else _("清单已入库"), "success")
    for note in uploads.notes(found.report.files[0]) if found.report.files else ():
        flash(note, "info")
    return redirect(url_for("inventories.index"))


MISSING_SHOWN = 200


@blueprint.get("/<int:listing_id>")
@allow(*READERS)
def show(listing_id: int) -> str:
    """One listing: what it told, and what it would end where that is held."""
    one = _listing(listing_id)
    missing = held_listings.missing(reading(), one) if one.held == HeldBack.WAITS else []
    return render_template(
        "inventories/show.html",
        one=one,
        pool=_pools()[one.pool_id],
        missing=missing,
        most=MISSING_SHOWN,
        held=HeldBack,
        own=held_listings.may_not_end(reading(), one),
        kinds=KINDS,
    )


@blueprint.post("/<int:listing_id>/decide")
@allow(Role.SUPERVISOR)
@proven
@takes(
    None, Given("decision", label=N_("决定"), required=True, values=("end", "keep")), Given("reason", label=N_("理由"))
)
def decide(listing_id: int) -> Response:
    """What the listing lacked is gone, or the listing is wrong."""
    try:
        with transaction() as tx:
            one = held_listings.listing(tx, listing_id)
            if request.form.get("decision") == "end":
                ended = held_listings.end(tx, one, request.form.get("reason", ""))
                said = _("%(n)s 台资源记为消失", n=ended)
            else:
                held_listings.keep(tx, one, request.form.get("reason", ""))
                said = _("所缺资源保留，清单记为有误")
    except (Invalid, NotAllowed, WrongState) as refused:
        return sent_back(refused, "inventories.show", listing_id=listing_id)
    flash(said, "success")
    return redirect(url_for("inventories.index"))


def _listing(listing_id: int) -> Listing:
    """The listing, or NotFound where the visitor may not see its pool."""
    tx = reading()
    one = held_listings.listing(tx, listing_id)
    if tx.actor.role is Role.PROVIDER and tx.get_one(Pool, one.pool_id).provider_id != tx.actor.provider_id:
        raise NotFound("listing.none", N_("没有编号为 %(id)s 的清单"), id=listing_id)
    return one


@frame.home_block(Role.SUPERVISOR, order=40)
def _held(tx: Tx, _actor: Actor) -> str | None:
    """Listings that wait for a look; nothing where there is none."""
    found = held_listings.waiting(tx)
    return render_template("inventories/_home.html", rows=found, pools=_pools()) if found else None


@checklist.step("listing", N_("首份资源清单"), N_("每个资源池已有一份清单：由连接采集，或由人上传。"), Role.SUPERVISOR,
                endpoint="inventories.index", order=150)  # fmt: skip
def _listed(look: Look) -> StepStanding:
    every = select(func.count(Pool.id)).where(Pool.active)
    tells = or_(Listing.complete, Listing.resources > 0, Listing.short != "")
    there = select(Listing.id).where(Listing.pool_id == Pool.id, tells).exists()
    pools_, done_ = look.tx.scalar(every) or 0, look.tx.scalar(every.where(there)) or 0
    return StepStanding(0 < pools_ == done_, done_, pools_)
