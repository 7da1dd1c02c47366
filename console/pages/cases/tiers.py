"""同构组: machines of a system behind one load balancer, and the machines that are added to them for a time (横向扩容)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import Select, select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, transaction
from console.forms import act_on, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.pages.cases import growth_evidence
from console.programs import listed, takes
from console.words import _, amounts, lazy
from metering.cases import authorisations, surges
from metering.scale_outs import ScaleOut, ScaleOutState, scale_outs
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import System, departments, subtree
from quota.errors import N_, NotFound, Refused
from quota.inventory import Tier, tiers
from quota.requests import Request

blueprint = Blueprint("tiers", __name__, url_prefix="/tiers")
frame.page("cases", "tiers.index", N_("同构组"), order=56)

READERS = (*STEWARDS, Role.TENANT)
LONGEST = 500
SHOWN = 8
"""How many a block of the home page shows."""


class TierForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=64)])
    balancer = StringField(lazy(N_("负载均衡")), [InputRequired(lazy(N_("请写明负载均衡及由谁登记,不超过200字"))), Length(max=200)],
                           description=lazy(N_("哪一个负载均衡,由谁把云主机加入和移出")))  # fmt: skip
    most = IntegerField(lazy(N_("同时增加的台数")), [InputRequired(lazy(N_("请填写数量")))], default=1,
                        description=lazy(N_("整体繁忙时最多临时增加几台;0 为只作整体评估,不增加")))  # fmt: skip


class NewTierForm(TierForm):
    machines = SelectMultipleField(lazy(N_("云主机")), coerce=int, validators=[InputRequired(lazy(N_("请选择该系统中不属于其他同构组的云主机")))],
                                   description=lazy(N_("做同样的事、规格相同、在同一资源池,由同一负载均衡分发的云主机")))  # fmt: skip


class ScaleOutForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    reason = TextAreaField(lazy(N_("说明")), [Length(max=LONGEST)])


class TierReasonForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=LONGEST)])


def _state(one: Tier) -> str:
    return "inactive" if one.closed_at is not None else "active"


def _state_is(query: Rows, value: str) -> Rows:
    return query.where(Tier.closed_at.is_(None) if value == "active" else Tier.closed_at.is_not(None))


COLUMNS = [
    Column("name", N_("名称"), lambda t: t.name, title=True, href=lambda t: url_for("tiers.show", tier_id=t.id)),
    Column("system", N_("信息系统"), lambda t: t.system.name, href=links.system(lambda t: t.system_id)),
    Column("department", N_("使用单位"), lambda t: t.system.department.name, href=links.department(lambda t: t.system.department_id)),
    Column("state", N_("状态"), _state, state=True),
    Column("machines", N_("云主机"), lambda t: len(t.standing), number=True),
    Column("most", N_("同时增加的台数"), lambda t: t.most, number=True),
    Column("balancer", N_("负载均衡"), lambda t: t.balancer, minor=True),
    Column("declared_at", N_("登记时间"), lambda t: t.declared_at, sort=Tier.id),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state_is, options={"active": N_("生效中"), "closed": N_("已撤销")}, default="active"),
    Filter("q", N_("系统或名称"), lambda q, v: q.where(frame.matching(v, System.name, Tier.name))),
]  # fmt: skip


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(Tier)
        .join(System, System.id == Tier.system_id)
        .where(tiers.visible(tx, tx.actor))
        .options(joinedload(Tier.system).joinedload(System.department), selectinload(Tier.standing))
    )
    found = listing(tx, query, COLUMNS, key=Tier.id, filters=FILTERS, sort="-declared_at")
    return found.exported("tiers") or render_template("tiers/index.html", found=found)


@blueprint.get("/<int:tier_id>")
@allow(*READERS)
def show(tier_id: int) -> str:
    tx = reading()
    one = tiers.tier(tx, tier_id)
    allowed = authorisations.holding(tx, one.system_id)
    return render_template(
        "tiers/show.html",
        one=one,
        code=_state(one),
        members=tiers.members(tx, one.id),
        rows=[(row, _request(tx, row)) for row in scale_outs.of_tier(tx, one.id)],
        why=surges.WHY,
        allowed=allowed,
        grows=growth_evidence.grows(tx, cpu=True),
        own=_own(tx, one.system.department_id),
    )


def _request(tx: Tx, row: ScaleOut) -> Request | None:
    return None if row.request_id is None else tx.get(Request, row.request_id)


def _own(tx: Tx, department_id: int) -> bool:
    who = actor()
    return who.role is Role.TENANT and department_id in subtree(tx, who.department_id or -1)


@blueprint.route("/new/<int:system_id>", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(NewTierForm)
def declare(system_id: int) -> str | Response | tuple[str, int]:
    tx = reading()
    system = departments.system(tx, system_id)
    if not _own(tx, system.department_id):
        raise NotFound("system.none", N_("没有编号为 %(id)s 的信息系统"), id=system_id)
    form = NewTierForm()
    form.machines.choices = [
        SelectChoice(str(one.id), f"{one.called} · {amounts(one.actual())} · {one.pool.name}")
        for one in tiers.offered(tx, system_id)
    ]

    def act() -> Response:
        with transaction() as write:
            made = tiers.declare(
                write,
                departments.system(write, system_id),
                form.name.data,
                form.balancer.data,
                form.most.data,
                form.machines.data,
            )
        return done(_("已登记同构组 %(name)s", name=made.name), "tiers.show", tier_id=made.id)

    return answer(form, act, lambda: render_template("tiers/edit.html", form=form, system=system, one=None), Refused)


@blueprint.route("/<int:tier_id>/edit", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(TierForm)
def edit(tier_id: int) -> str | Response | tuple[str, int]:
    one = tiers.tier(reading(), tier_id)
    form = TierForm(obj=one)

    def act() -> Response:
        with transaction() as tx:
            tiers.change(
                tx, tiers.lock(tx, tier_id, generation(form)), form.name.data, form.balancer.data, form.most.data
            )
        return done(_("已保存"), "tiers.show", tier_id=tier_id)

    return answer(form, act, lambda: render_template("tiers/edit.html", form=form, system=one.system, one=one), Refused)


@blueprint.route("/<int:tier_id>/close", methods=["GET", "POST"])
@allow(Role.TENANT, Role.AUTHORITY)
@proven
@takes(TierReasonForm)
def close(tier_id: int) -> str | Response | tuple[str, int]:
    one = tiers.tier(reading(), tier_id)
    form = TierReasonForm()
    return _act(
        one, one.generation, form, _("撤销同构组"), _("同构组已撤销"), _("此后各云主机按本机评估,不再增加云主机。"),
        lambda tx: scale_outs.close_tier(tx, tier_id, generation(form), form.reason.data),
    )  # fmt: skip


def _act(
    tier: Tier, shown: int, form: Any, title: str, told: str, note: str, verb: Callable[[Tx], object]
) -> str | Response | tuple[str, int]:
    return act_on(
        form, shown, verb, lambda: render_template("tiers/act.html", form=form, one=tier, title=title, note=note),
        told, "tiers.show", tier_id=tier.id,
    )  # fmt: skip


@blueprint.route("/scale-outs/<int:scale_out_id>/agree", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(ScaleOutForm)
def agree(scale_out_id: int) -> str | Response | tuple[str, int]:
    one, form = scale_outs.scale_out(reading(), scale_out_id), ScaleOutForm()
    del form.reason
    note = _("立即下达开通工单,占用本单位配额余额 %(what)s。开通后请把它加入负载均衡。", what=amounts(one.needs()))
    return _act(
        one.tier, one.generation, form, _("同意增加一台"), _("已下达开通工单"), note,
        lambda tx: scale_outs.agree(tx, scale_out_id, generation(form)),
    )  # fmt: skip


@blueprint.route("/scale-outs/<int:scale_out_id>/decline", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(TierReasonForm)
def decline(scale_out_id: int) -> str | Response | tuple[str, int]:
    one, form = scale_outs.scale_out(reading(), scale_out_id), TierReasonForm()
    days = one.procedure().backoff_days
    return _act(
        one.tier, one.generation, form, _("不需要增加"), _("已答复"), _("%(days)s天内不再就此征询。", days=days),
        lambda tx: scale_outs.decline(tx, scale_out_id, generation(form), form.reason.data),
    )  # fmt: skip


@blueprint.route("/scale-outs/<int:scale_out_id>/joined", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(ScaleOutForm)
def joined(scale_out_id: int) -> str | Response | tuple[str, int]:
    one, form = scale_outs.scale_out(reading(), scale_out_id), ScaleOutForm()
    del form.reason
    note = _(
        "请先在负载均衡(%(balancer)s)登记并确认健康检查通过。此后它计入同构组,工单同时验收。",
        balancer=one.tier.balancer,
    )
    return _act(
        one.tier, one.generation, form, _("已加入负载均衡"), _("已计入同构组"), note,
        lambda tx: scale_outs.joined(tx, scale_out_id, generation(form)),
    )  # fmt: skip


@blueprint.route("/scale-outs/<int:scale_out_id>/left", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(ScaleOutForm)
def left(scale_out_id: int) -> str | Response | tuple[str, int]:
    one, form = scale_outs.scale_out(reading(), scale_out_id), ScaleOutForm()
    note = _(
        "请先在负载均衡(%(balancer)s)移出这台云主机并确认没有连接。随即以本单位名义提交退订申请,按审批规则办理;删除后配额退回本单位。",
        balancer=one.tier.balancer,
    )
    return _act(
        one.tier, one.generation, form, _("已移出负载均衡,退还"), _("已提交退订申请"), note,
        lambda tx: scale_outs.left(tx, scale_out_id, generation(form), form.reason.data or ""),
    )  # fmt: skip


@blueprint.route("/scale-outs/<int:scale_out_id>/keep", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(TierReasonForm)
def keep(scale_out_id: int) -> str | Response | tuple[str, int]:
    one, form = scale_outs.scale_out(reading(), scale_out_id), TierReasonForm()
    return _act(
        one.tier, one.generation, form, _("长期保留"), _("已长期保留"), _("此后它是同构组的固定成员,不再归还。"),
        lambda tx: scale_outs.keep(tx, scale_out_id, generation(form), form.reason.data),
    )  # fmt: skip


def _waiting(tx: Tx, *states: ScaleOutState) -> Select[ScaleOut]:
    return (
        select(ScaleOut)
        .where(scale_outs.visible(tx), ScaleOut.state.in_([one.value for one in states]))
        .options(joinedload(ScaleOut.tier).joinedload(Tier.system).joinedload(System.department))
        .order_by(ScaleOut.due_at, ScaleOut.id)
    )


@frame.home_block(Role.TENANT, order=8)
def _own_steps(tx: Tx, _who: Actor) -> str | None:
    """What the department has to do about machines of its tiers."""
    rows, count = frame.shortened(tx, _waiting(tx, *scale_outs.OF_PEOPLE), SHOWN)
    return render_template("tiers/_home.html", rows=rows, title=_("横向扩容待办（%(n)s）", n=count)) if rows else None


@frame.home_block(Role.SUPERVISOR, order=47)
def _overdue(tx: Tx, _who: Actor) -> str | None:
    """Machines that are to go back and have not."""
    late = _waiting(tx, ScaleOutState.LEAVING).where(ScaleOut.due_at < tx.now)
    rows, count = frame.shortened(tx, late, SHOWN)
    title = _("逾期未退还的横向扩容（%(n)s）", n=count)
    return render_template("tiers/_home.html", rows=rows, title=title) if rows else None
