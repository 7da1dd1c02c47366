"""Takeovers (接管存量): what ran before anybody asked, department by department or a whole pool at once; and what nobody owns yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from flask import Blueprint, g, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import choices, frame, links
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, transaction
from console.choices import ChoiceField, ChoicesField
from console.forms import DateField, NeededByAnAct, answer, done, sent_back
from console.founding import Look, StepStanding, checklist
from console.lists import Column, Filter, listing
from console.pages.inventory import inquiry_forms
from console.programs import GENERATION, Given, asked, listed, takes
from console.security import row_or
from console.words import _, amount, amounts, kind_label, lazy, sentence, who
from quota import directory, inventory
from quota.actors import Actor, Role
from quota.db import Tx, among
from quota.directory import Department, Pool
from quota.errors import N_, Conflict, Invalid, OverCapacity, Refused, WrongState
from quota.inventory import Resource, inquiries, owners, takeovers
from quota.seals import sm3
from quota.units import Amount

blueprint = Blueprint("takeovers", __name__, url_prefix="/takeovers")
frame.page("resources", "takeovers.index", N_("接管存量"), order=15)

Takeover = takeovers.Takeover

SHOWN = 200
"""Resources of a takeover that its pages show, and of which some may be left out; the rest is taken over with them."""

COLUMNS = [
    Column("document", N_("依据"), lambda t: t.document, sort=Takeover.document, title=True,
           href=lambda t: url_for("takeovers.show", takeover_id=t.id)),
    Column("department", N_("使用单位"), lambda t: whose(t), href=links.department(lambda t: t.department_id)),
    Column("pool", N_("整池"), lambda t: t.pool.name if t.pool else None, href=links.pool(lambda t: t.pool_id), minor=True),
    Column("resources", N_("资源数"), lambda t: t.resources, number=True),
    Column("state", N_("状态"), lambda t: f"takeover_{t.state}", sort=Takeover.state, state=True),
    Column("proposed_by", N_("提出人"), lambda t: t.proposed_by, text=who),
    Column("proposed_at", N_("提出时间"), lambda t: t.proposed_at, sort=Takeover.proposed_at),
]  # fmt: skip

OWNERLESS = [
    Column("name", N_("资源"), lambda r: r.called, sort=Resource.name, title=True,
           href=lambda r: url_for("resources.show", resource_id=r.id)),
    Column("pool", N_("资源池"), lambda r: r.pool.name, href=links.pool(lambda r: r.pool_id)),
    Column("has", N_("云上"), lambda r: amounts(r.actual())),
    Column("tags", N_("标签"), lambda r: _("、").join(_tags(r)) or None),
    Column("suggested", N_("可能属于"), lambda r: _suggested(r)),
    Column("asked", N_("已询问"), lambda r: _("、").join(g.get("asked", {}).get(r.id, [])) or None),
    Column("seen", N_("最近见到"), lambda r: r.last_seen_at, sort=Resource.last_seen_at, minor=True),
]  # fmt: skip
OWNERLESS_FILTERS = [
    Filter("q", N_("名称或编号"), lambda q, v: q.where(frame.matching(v, Resource.name, Resource.external_id))),
]


class PoolTakeoverForm(FlaskForm):  # type: ignore[misc]
    document = StringField(
        lazy("依据的文件"), [InputRequired(lazy("请写明接管所依据的文件")), Length(max=takeovers.LONGEST_DOCUMENT)],
        description=lazy("文号和名称，例如“市数据局〔2026〕12号 关于接管存量云资源的通知”"),
    )  # fmt: skip
    key = HiddenField()
    shown = HiddenField()


class TakeoverForm(PoolTakeoverForm):
    pools = SelectMultipleField(lazy("资源池"), coerce=int, choices=[])


CHOSEN = (
    Given("resources", int, N_("拟接管的资源数；与办理时的数目不同则不予办理"), required=True),
    Given("without", int, N_("不接管的资源"), many=True),
)
"""What programs say in place of the page's list with its ticks."""


class OwnerForm(FlaskForm):  # type: ignore[misc]
    department = ChoiceField(lazy("归入使用单位"))
    reason = StringField(lazy("理由"), [NeededByAnAct(), Length(max=500)])
    asked = ChoicesField(lazy("询问单位"), description=lazy("可选多个；不选则按各自的建议询问"))
    due_on = DateField(lazy("答复期限"), [NeededByAnAct(), Optional()])
    text = TextAreaField(lazy("附言"), [Length(max=2000)])
    key = HiddenField()


def whose(takeover: Takeover) -> str:
    """Whose resources it takes over, in words."""
    if takeover.department is not None:
        return str(takeover.department.name)
    return _("%(n)s 个单位", n=len(takeover.shares))


@blueprint.get("/")
@allow(*STEWARDS)
@listed(COLUMNS)
def index() -> str | Response:
    """What is left to take over, by department and by pool, and the takeovers that there were."""
    tx = reading()
    query = select(Takeover).options(joinedload(Takeover.department), joinedload(Takeover.pool))
    found = listing(tx, query, COLUMNS, key=Takeover.id, sort="-proposed_at")
    return found.exported("takeovers") or render_template(
        "takeovers/index.html",
        takeovers=found,
        left=_left(tx, Department, Resource.department_id),
        pools=_left(tx, Pool, Resource.pool_id),
        ownerless=_ownerless(tx),
        address=links.address,
    )


@blueprint.route("/new/<int:department_id>", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(TakeoverForm, *CHOSEN, own=("shown",), sends={"step": "propose"})
def propose(department_id: int) -> str | Response | tuple[str, int]:
    """What would be booked for the department, and what stands in the way; then the takeover, or its first signature."""
    pools = _pools(reading(), department_id)
    form = TakeoverForm(data={"key": uuid4().hex, "pools": list(pools)})
    form.pools.choices = [SelectChoice(str(pool_id), name) for pool_id, name in pools.items()]
    return _proposing(form, department_id, lambda: [one for one in form.pools.data or [] if one in pools])


@blueprint.route("/pools/<int:pool_id>", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(PoolTakeoverForm, *CHOSEN, own=("shown",), sends={"step": "propose"})
def propose_pool(pool_id: int) -> str | Response | tuple[str, int]:
    """The same of a whole pool: all departments' in one act, under one document."""
    pool = directory.pool(reading(), pool_id)
    form = PoolTakeoverForm(data={"key": uuid4().hex})
    return _proposing(form, None, lambda: [pool.id], pool)


def _proposing(
    form: PoolTakeoverForm, department_id: int | None, chosen: Callable[[], list[int]], pool: Pool | None = None
) -> str | Response | tuple[str, int]:
    def page() -> str:
        seen = takeovers.preview(reading(), department_id, pool_ids=chosen())
        form.shown.data = _digest(seen)
        return render_template(
            "takeovers/propose.html",
            form=form,
            seen=seen,
            name=pool.name if pool is not None else seen.department.name if seen.department else "",
            whole=pool is not None,
            shown=seen.resources[:SHOWN],
            left_out=_left_out(),
            totals=_totals(seen),
            conflicts=[(one.resource, sentence(one.message, one.params)) for one in seen.conflicts[:SHOWN]],
            address=links.address,
            short=[_short(one) for one in seen.short],
        )

    def act() -> str | Response:
        if request.form.get("step") != "propose":
            return page()
        with transaction() as writing:
            seen = takeovers.preview(writing, department_id, pool_ids=chosen())
            without = set(_left_out())
            ids = [one.id for one in seen.resources if one.id not in without]
            wanted = str(len(ids)) if asked.by_program() else _digest(seen)
            if wanted != (request.form.get("resources", "") if asked.by_program() else form.shown.data):
                raise Conflict("takeover.moved", N_("待接管的资源在此期间有变化，请核对后重新提交"))
            made = takeovers.propose(
                writing, department_id, form.document.data, ids, key=f"form:{(form.key.data or '')[:64]}",
                pool_id=pool.id if pool is not None else None,
            )  # fmt: skip
        return done(told(made), "takeovers.show", takeover_id=made.id)

    return answer(form, act, page, Invalid, Conflict, OverCapacity, WrongState)


def told(made: Takeover) -> str:
    """What became of a takeover that was proposed."""
    if made.state == takeovers.TakeoverState.BOOKED:
        return _("已接管 %(n)s 个资源", n=made.resources)
    return _("已提出，数量较大，待另一人确认")


def _short(shortfall: takeovers.PoolShortfall) -> tuple[str, str, str, str]:
    return (
        shortfall.pool.name,
        kind_label(shortfall.commodity),
        amount(shortfall.need, shortfall.commodity),
        amount(shortfall.have, shortfall.commodity),
    )


@blueprint.get("/<int:takeover_id>")
@allow(*STEWARDS)
def show(takeover_id: int) -> str:
    tx = reading()
    takeover = takeovers.takeover(tx, takeover_id)
    first = [resource_id for resource_id, _amounts in takeover.rows[:SHOWN]]
    query = (
        select(Resource)
        .where(Resource.id.in_(first))
        .options(joinedload(Resource.pool), joinedload(Resource.department))
        .order_by(Resource.id)
    )
    return render_template(
        "takeovers/show.html",
        takeover=takeover,
        resources=list(tx.scalars(query)),
        whose=whose(takeover),
        shares=_named_shares(tx, takeover),
        booked=amounts(takeover.approved()),
        may_decide=takeover.state == takeovers.TakeoverState.PROPOSED
        and actor().role in (Role.SUPERVISOR, Role.AUTHORITY),
        own=takeover.proposed_by == actor().login,
        address=links.address,
    )


@blueprint.post("/<int:takeover_id>/decide")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@proven
@takes(
    None,
    GENERATION,
    Given("decision", label=N_("决定"), required=True, values=("confirm", "withdraw")),
    Given("reason", label=N_("理由")),
)
def decide(takeover_id: int) -> Response:
    """The second signature, or the withdrawal."""
    generation = row_or(request.form.get("generation"), 0)
    try:
        with transaction() as tx:
            if request.form.get("decision") == "confirm":
                taken = takeovers.confirm(tx, takeover_id, generation)
                said = _("已接管 %(n)s 个资源", n=taken.resources)
            else:
                takeovers.withdraw(tx, takeover_id, generation, request.form.get("reason", ""))
                said = _("已撤回，没有登记任何资源")
    except (Invalid, OverCapacity) as refused:
        return sent_back(refused, "takeovers.show", takeover_id=takeover_id)
    return done(said, "takeovers.show", takeover_id=takeover_id)


@blueprint.route("/ownerless", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@listed(OWNERLESS, OWNERLESS_FILTERS)
@takes(
    OwnerForm,
    Given("step", label=N_("归入使用单位,或询问"), required=True, values=("assign", "ask")),
    Given("id", int, label=N_("资源"), required=True, many=True),
)
def ownerless() -> str | Response | tuple[str, int]:
    """What no department owns, each with whose it seems to be; what is ticked goes to one department, or departments are asked
    whether it is theirs."""
    tx = reading()
    query = select(Resource).where(owners.ownerless()).options(joinedload(Resource.pool))
    found = listing(tx, query, OWNERLESS, key=Resource.id, filters=OWNERLESS_FILTERS, sort="name")
    g.suggested, g.asked = owners.suggest(tx, found.rows), _asked(tx, found.rows)
    if request.method != "POST" and (exported := found.exported("ownerless")):
        return exported
    form = OwnerForm(data={"key": uuid4().hex, "due_on": inquiry_forms.usual_due(tx)})
    form.department.offer(tx, choices.departments(), ("0", _("按各自的建议")))
    form.asked.offer(tx, choices.departments())
    ticked = _rows("id")

    def act() -> Response:
        with transaction() as writing:
            if request.form.get("step") == "ask":
                made = _ask(writing, form, ticked)
                return done(_("已向 %(n)s 个单位询问", n=len(made)), "takeovers.ownerless")
            count = sum(
                owners.assign(writing, ids, department_id, form.reason.data or "")
                for department_id, ids in _by_department(writing, ticked, form.department.data).items()
            )
        return done(_("%(n)s 个资源已归入使用单位", n=count), "takeovers.ownerless")

    def page() -> str:
        return render_template("takeovers/ownerless.html", rows=found, form=form, suggested=bool(g.suggested))

    return answer(form, act, page, Refused)


def _ask(tx: Tx, form: OwnerForm, ticked: Sequence[int]) -> Sequence[inquiries.Inquiry]:
    """Ask the chosen departments about all that is ticked, or each about what seems to be its own."""
    if not form.due_on.data:
        raise Invalid("inquiry.due_missing", N_("请填写答复期限"), field="due_on")
    chosen = form.asked.data or []
    wanted = dict.fromkeys(chosen, ticked) if chosen and ticked else _by_department(tx, ticked, 0)
    return inquiries.ask(
        tx, owners.OWNER, wanted, form.due_on.data, form.text.data or "", key=f"form:{(form.key.data or '')[:64]}"
    )


def _asked(tx: Tx, resources: Sequence[Resource]) -> Mapping[int, Sequence[str]]:
    """Resource id → whom it was asked of, and what they said."""
    found: dict[int, list[str]] = {}
    labels = owners.OWNER.labels()
    for item in inquiries.asked_about(tx, [one.id for one in resources], owners.OWNER.code):
        said = _(labels[item.answer]) if item.answer else _("待答复")
        name = item.inquiry.department.name
        found.setdefault(item.resource_id, []).append(_("%(department)s：%(said)s", department=name, said=said))
    return found


def _by_department(tx: Tx, ticked: Sequence[int], department_id: int) -> Mapping[int, Sequence[int]]:
    """What goes where: all to the department that was chosen, or each where it is suggested. Raises Invalid where nothing
    is ticked, or nothing is suggested for one that is."""
    if not ticked:
        raise Invalid("owner.nothing", N_("请选择资源"))
    if department_id:
        return {department_id: ticked}
    resources = list(tx.scalars(select(Resource).where(among(Resource.id, ticked)).order_by(Resource.id)))
    for strange in sorted({*ticked} - {one.id for one in resources}):
        inventory.resource(tx, strange)  # says that there is none
    suggested = owners.suggest(tx, resources)
    found: dict[int, list[int]] = {}
    for one in resources:
        if one.id not in suggested:
            raise Invalid(
                "owner.unsuggested", N_("资源 %(name)s 没有建议，请选择使用单位"), name=one.called, field="department"
            )
        found.setdefault(suggested[one.id].department.id, []).append(one.id)
    return found


def _pools(tx: Tx, department_id: int) -> dict[int, str]:
    """Pools in which the department has anything to be taken over: id → name."""
    query = (
        select(Pool.id, Pool.name)
        .join(Resource, Resource.pool_id == Pool.id)
        .where(takeovers.waiting(), Resource.department_id == department_id)
        .distinct()
        .order_by(Pool.name)
    )
    return dict(tx.execute(query).all())


def _suggested(resource: Resource) -> str | None:
    found = g.get("suggested", {}).get(resource.id)
    return _("%(department)s（“%(word)s”）", department=found.department.name, word=found.word) if found else None


def _tags(resource: Resource) -> list[str]:
    told = [code for code in (resource.department_code, resource.system_code) if code]
    return [*told, *(f"{name}={value}" for name, value in sorted(resource.tags.items()))]


def _left_out() -> list[int]:
    """Resources shown whose tick was taken out."""
    return _rows("without") if asked.by_program() else sorted({*_rows("seen")} - {*_rows("id")})


def _rows(field: str) -> list[int]:
    """The numbers of rows that a form sends under one name; what is no number is none of them."""
    return [found for text in request.form.getlist(field) if (found := row_or(text, 0))]


def _digest(seen: takeovers.Preview) -> str:
    """What a preview shows, in short: the same as long as the same resources are as large as they were."""
    said = ";".join(f"{one.id}:{sorted(one.amounts.items())}" for one in seen.resources)
    return sm3(said.encode()).hex()


def _totals(seen: takeovers.Preview) -> list[tuple[str, str]]:
    """(pool, what would be booked in it)."""
    found: dict[str, list[Amount]] = {}
    for one in seen.resources:
        found.setdefault(one.pool.name, []).append(one.actual())
    return [(name, amounts(Amount.total(many))) for name, many in found.items()]


def _left(tx: Tx, model: type[Department] | type[Pool], column: Any) -> list[Any]:
    """(id, name, how many resources nobody approved) of the departments or pools that have any, most first."""
    count = func.count(Resource.id)
    return list(
        tx.execute(
            select(model.id, model.name, count)
            .join(Resource, column == model.id)
            .where(takeovers.waiting())
            .group_by(model.id, model.name)
            .order_by(count.desc(), model.id)
        )
    )


def _named_shares(tx: Tx, takeover: Takeover) -> list[tuple[int, str, int, str]]:
    """(department id, name, resources, what they have) of a takeover of several departments' resources."""
    ids = [share[0] for share in takeover.shares]
    names = dict(tx.execute(select(Department.id, Department.name).where(among(Department.id, ids))).all())
    return [(id_, names[id_], count, amounts(Amount.from_json(told))) for id_, count, told in takeover.shares]


def _ownerless(tx: Tx) -> int:
    return tx.scalar(select(func.count(Resource.id)).where(owners.ownerless())) or 0


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, order=45)
def _proposed(tx: Tx, who: Actor) -> str | None:
    """Takeovers that wait for this person's signature; nothing where there is none."""
    query = (
        select(Takeover)
        .where(Takeover.state == takeovers.TakeoverState.PROPOSED.value, Takeover.proposed_by != who.login)
        .options(joinedload(Takeover.department))
        .order_by(Takeover.id)
        .limit(10)
    )
    found = list(tx.scalars(query))
    return render_template("takeovers/_home.html", rows=found) if found else None


@checklist.step("takeover", N_("接管存量"), N_("清单里已在运行的资源都有了审批依据。"), Role.SUPERVISOR,
                endpoint="takeovers.index", order=160)  # fmt: skip
def _taken_over(look: Look) -> StepStanding:
    living = select(func.count(Resource.id)).where(Resource.gone_at.is_(None))
    every, done_ = look.tx.scalar(living) or 0, look.tx.scalar(living.where(Resource.basis != "")) or 0
    return StepStanding(0 < every == done_, done_, every)
