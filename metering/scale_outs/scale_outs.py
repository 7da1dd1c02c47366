"""A scale-out: one machine more for a tier, from the look that asked for it to its return; and what people do about it.

    proposed ─agreed▶ ordered ▶ delivered ─entered at the balancer▶ serving ─calm, or its time is over▶ leaving
        ╰─declined, calm▶ closed ◀─cannot be had─╯                     ▲        ╰──needed again──╯        │ taken out
                                                         kept for good ╰───────────────────────▶ closed ◀─ returning

What the department authorised beforehand begins as ordered. A machine that is taken out of the balancer goes by an ordinary request of
its department for its return, with all that the city's rules ask for: nothing is deleted because a figure was low.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, Float, ForeignKey, Index, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.cases import Authorisation, authorisations, enforcement
from metering.judging import PolicyVersion, Procedure
from providers import orders
from providers.base import ServiceKind, Verb
from quota import requests
from quota.actors import Role
from quota.base import Base
from quota.calendar import working_days
from quota.errors import N_, Conflict, NotFound, WrongState, stated
from quota.inventory import Resource, Tier, tiers
from quota.requests import Ask, Line, kinds
from quota.units import Amount, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx


class ScaleOutState(StrEnum):
    PROPOSED = "proposed"
    ORDERED = "ordered"
    DELIVERED = "delivered"
    SERVING = "serving"
    LEAVING = "leaving"
    RETURNING = "returning"
    CLOSED = "closed"


STATE_LABELS = {
    ScaleOutState.PROPOSED: N_("待单位答复"),
    ScaleOutState.ORDERED: N_("开通中"),
    ScaleOutState.DELIVERED: N_("待加入负载均衡"),
    ScaleOutState.SERVING: N_("服务中"),
    ScaleOutState.LEAVING: N_("待移出负载均衡"),
    ScaleOutState.RETURNING: N_("退还中"),
    ScaleOutState.CLOSED: N_("已结束"),
}


class ScaleOutEnding(StrEnum):
    DECLINED = "declined"
    CALM = "calm"
    FAILED = "failed"
    RETURNED = "returned"
    KEPT = "kept"


LENT = (
    ScaleOutState.ORDERED,
    ScaleOutState.DELIVERED,
    ScaleOutState.SERVING,
    ScaleOutState.LEAVING,
    ScaleOutState.RETURNING,
)
"""States in which a machine more is there, or on its way."""

OF_PEOPLE = (ScaleOutState.PROPOSED, ScaleOutState.DELIVERED, ScaleOutState.LEAVING)
"""States in which the department has to do something."""


class ScaleOut(Base):
    """``at``: the moment of the look, in which ``machines`` were loaded to ``load`` % on average. ``shape``: what the machine more is to
    have. ``authorisation_id``: what it stands on; None: the department was asked, for ``why`` (a code of surges.WHY). ``needed_at``: the
    last look in which the tier could not do without, or after which nobody looked for hours; ``seen_at``: the last look, noted hourly. ``request_id``: by which it is given back; ``filed``: how often that was asked."""

    __tablename__ = "scale_outs"
    __table_args__ = (
        UniqueConstraint("tier_id", "at"),
        Index("ix_scale_outs_state_due_at", "state", "due_at"),
        CheckConstraint("(state = 'closed') = (ending IS NOT NULL)", name="ended"),
        CheckConstraint("generation > 0 AND filed >= 0", name="sane"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tier_id: Mapped[int] = mapped_column(ForeignKey("tiers.id"))
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    state: Mapped[str] = mapped_column(String(12))
    generation: Mapped[int] = mapped_column(default=1)
    at: Mapped[datetime]
    machines: Mapped[int]
    load: Mapped[float] = mapped_column(Float)
    shape: Mapped[dict[str, int]]
    why: Mapped[str] = mapped_column(String(16), default="")
    authorisation_id: Mapped[int | None] = mapped_column(ForeignKey("authorisations.id"))
    opened_at: Mapped[datetime]
    needed_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(64), default="")
    decided_at: Mapped[datetime | None]
    order_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    resource_id: Mapped[int | None] = mapped_column(ForeignKey("resources.id"), index=True)
    delivered_at: Mapped[datetime | None]
    joined_by: Mapped[str] = mapped_column(String(64), default="")
    joined_at: Mapped[datetime | None]
    leave_at: Mapped[datetime | None]
    left_by: Mapped[str] = mapped_column(String(64), default="")
    left_at: Mapped[datetime | None]
    request_id: Mapped[int | None] = mapped_column(ForeignKey("requests.id"))
    filed: Mapped[int] = mapped_column(default=0)
    ending: Mapped[str | None] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(Text, default="")
    closed_at: Mapped[datetime | None]

    tier: Mapped[Tier] = relationship()
    resource: Mapped[Resource | None] = relationship()
    policy_version: Mapped[PolicyVersion] = relationship()
    authorisation: Mapped[Authorisation | None] = relationship()

    @property
    def subject(self) -> str:
        """Its name in the trail."""
        return f"scale_out:{self.id}"

    @property
    def called(self) -> str:
        """What the machine more is called."""
        return f"{self.tier.name}-{self.id}"

    def needs(self) -> Amount:
        """What the machine more takes of the quota."""
        return Amount.from_json(self.shape)

    def procedure(self) -> Procedure:
        """The clocks of the policy version that it was opened under."""
        return self.policy_version.rules()


# ----------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx) -> ColumnElement[bool]:
    """What the actor may see of ScaleOut: those of the tiers that it may see."""
    return ScaleOut.tier_id.in_(select(Tier.id).where(tiers.visible(tx, tx.actor)))


def scale_out(tx: Tx, scale_out_id: int) -> ScaleOut:
    """The scale-out, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(ScaleOut).where(ScaleOut.id == scale_out_id, visible(tx)))
    if found is None:
        raise NotFound("scale_out.none", N_("没有编号为 %(id)s 的横向扩容"), id=scale_out_id)
    return found


def of_tier(tx: Tx, tier_id: int, limit: int = 50) -> list[ScaleOut]:
    """The scale-outs of a tier, newest first."""
    query = select(ScaleOut).where(ScaleOut.tier_id == tier_id).order_by(ScaleOut.id.desc()).limit(limit)
    return list(tx.scalars(query))


def on_loan(tx: Tx, system_id: int) -> dict[ClassCode, int]:
    """What a system was lent in machines on its standing authorisation, base units; with what is still on its way."""
    rows = tx.scalars(
        select(ScaleOut.shape)
        .join(Tier, Tier.id == ScaleOut.tier_id)
        .where(Tier.system_id == system_id, ScaleOut.authorisation_id.is_not(None))
        .where(ScaleOut.state.in_([one.value for one in LENT]))
    )
    return dict(Amount.total(Amount.from_json(shape) for shape in rows))


# ------------------------------------------------------------------------------------------------------ what people do


def agree(tx: Tx, scale_out_id: int, generation: int) -> ScaleOut:
    """The department wants the machine: it is ordered out of its quota. OverCapacity where that is short."""
    one = _taken_up(tx, scale_out_id, generation, ScaleOutState.PROPOSED)
    one.decided_by, one.decided_at = tx.actor.login, tx.now
    place(tx, one, "scale_out.agree")
    return one


def decline(tx: Tx, scale_out_id: int, generation: int, reason: str) -> ScaleOut:
    """The department does not want it; it is not asked again within the procedure's back-off."""
    one = _taken_up(tx, scale_out_id, generation, ScaleOutState.PROPOSED)
    one.decided_by, one.decided_at = tx.actor.login, tx.now
    end(tx, one, ScaleOutEnding.DECLINED, stated(reason))
    return one


def joined(tx: Tx, scale_out_id: int, generation: int) -> ScaleOut:
    """The machine stands behind the balancer: from now on it counts as one of the tier."""
    one = _taken_up(tx, scale_out_id, generation, ScaleOutState.DELIVERED)
    tiers.must_be_open(one.tier)
    resource = tx.get_one(Resource, one.resource_id)
    order = tx.scalar(select(orders.WorkOrder).where(orders.WorkOrder.key == one.order_key))
    if order is not None and order.state == orders.OrderState.DELIVERED:
        orders.accept(tx, order.id, order.generation)  # who lets it serve has looked at it
    tiers.join(tx, one.tier, resource)
    one.joined_by, one.joined_at, one.needed_at, one.left_at = tx.actor.login, tx.now, tx.now, None
    move(tx, one, ScaleOutState.SERVING, "scale_out.join", resource=resource.id)
    return one


def left(tx: Tx, scale_out_id: int, generation: int, reason: str = "") -> ScaleOut:
    """The machine is out of the balancer, or never was in it: its department asks for its return, which is carried out as any other.
    Raises as the submitting of a request does: then nothing was changed."""
    one = _taken_up(tx, scale_out_id, generation, ScaleOutState.DELIVERED, ScaleOutState.SERVING, ScaleOutState.LEAVING)
    resource = tx.get_one(Resource, one.resource_id)
    tiers.leave(tx, one.tier, resource.id)
    one.left_by, one.left_at, one.filed = tx.actor.login, tx.now, one.filed + 1
    asked = requests.draft(
        tx,
        Ask(
            kinds.UNSUBSCRIBE,
            one.tier.system.department_id,
            resource.pool_id,
            lines=[Line(current=resource.counts(), service=resource.kind, name=resource.name[:96])],
            justification=reason.strip() or N_("横向扩容的云主机已移出负载均衡,退还"),
            system_id=one.tier.system_id,
            resource_id=resource.id,
            key=f"{one.subject}:{one.filed}",
        ),
    )
    requests.submit(tx, asked, generation=asked.generation)
    one.request_id, one.reason = asked.id, ""
    move(tx, one, ScaleOutState.RETURNING, "scale_out.leave", resource=resource.id, request=asked.number)
    return one


def keep(tx: Tx, scale_out_id: int, generation: int, reason: str) -> ScaleOut:
    """The tier needs the machine for good: the supervisor says so, and it is one of the tier and lent no more."""
    one = _taken_up(tx, scale_out_id, generation, ScaleOutState.SERVING, ScaleOutState.LEAVING, by=(Role.SUPERVISOR,))
    # Also what never was behind the balancer, or was taken out before.
    tiers.join(tx, one.tier, tx.get_one(Resource, one.resource_id))
    one.decided_by, one.decided_at = tx.actor.login, tx.now
    end(tx, one, ScaleOutEnding.KEPT, stated(reason))
    return one


def close_tier(tx: Tx, tier_id: int, generation: int, reason: str) -> Tier:
    """It is a tier no more. WrongState while a machine is lent to it; what was only asked for is asked for no more."""
    tier = tiers.lock(tx, tier_id, generation)
    rows = tx.scalars(
        select(ScaleOut)
        .where(ScaleOut.tier_id == tier.id, ScaleOut.state != ScaleOutState.CLOSED.value)
        .with_for_update()
    ).all()
    if any(one.state != ScaleOutState.PROPOSED for one in rows):
        raise WrongState("tier.lent", N_("还有横向扩容的云主机没有退还,不能撤销同构组"))
    tiers.close(tx, tier, reason)
    for one in rows:
        end(tx, one, ScaleOutEnding.CALM, N_("同构组已经撤销"))
    return tier


def _taken_up(
    tx: Tx, scale_out_id: int, generation: int, *states: ScaleOutState, by: Sequence[Role] = (Role.TENANT,)
) -> ScaleOut:
    """The scale-out with its row and its tier's held, as the page showed it, in one of ``states``."""
    tx.actor.must_be(*by)
    one = scale_out(tx, scale_out_id)
    tiers.lock(tx, one.tier_id)
    tx.refresh(one, with_for_update=True)
    if tx.actor.role is Role.TENANT:
        tiers.own(tx, one.tier.system)
    if one.generation != generation:
        raise Conflict("scale_out.stale", N_("此项已有变化,请重新打开页面"))
    if one.state not in states:
        raise WrongState(
            "scale_out.state", N_("现为“%(state)s”,不能这样做"), state=STATE_LABELS[ScaleOutState(one.state)]
        )
    return one


# ---------------------------------------------------------------------------------------------------------- mechanism


def place(tx: Tx, one: ScaleOut, action: str) -> None:
    """Order the machine out of the granted quota of its system's department. OverCapacity where that is short."""
    tier = one.tier
    key = f"{one.subject}:create"
    order = orders.place(
        tx,
        tier.pool,
        Verb.CREATE,
        key=key,
        kind=ServiceKind.VM,
        amounts=one.needs(),
        name=one.called,
        department_id=tier.system.department_id,
        system_id=tier.system_id,
    )
    one.order_key, one.reason = key, ""
    move(
        tx,
        one,
        ScaleOutState.ORDERED,
        action,
        order=order.number,
        amounts=one.needs(),
        authorisation=one.authorisation_id,
    )


def move(tx: Tx, one: ScaleOut, to: ScaleOutState, action: str, *, days: int | None = None, **told: object) -> None:
    """It is in state ``to`` from now on; ``days``: working days that its department has for it."""
    before, one.state, one.generation = one.state, to.value, one.generation + 1
    one.due_at = None if days is None else working_days(tx).due(tx.now, days)
    tx.flush()
    tx.audit(action, one.subject, before={"state": before}, after={"state": to, **told}, reason=one.reason)


def end(tx: Tx, one: ScaleOut, ending: ScaleOutEnding, reason: str = "") -> None:
    """It is over."""
    one.ending, one.reason, one.closed_at = ending.value, reason, tx.now
    move(tx, one, ScaleOutState.CLOSED, "scale_out.close", ending=ending)


def last_look(tx: Tx, order_id: int) -> str | None:
    """Why an order must not be sent just now; None where it may go. As ``cases.last_look``, and of a machine more that stands on an
    authorisation: that it still holds."""
    order = tx.get_one(orders.WorkOrder, order_id)
    one = tx.scalar(select(ScaleOut).where(ScaleOut.order_key == order.key))
    if one is None:
        return enforcement.last_look(tx, order_id)
    return revoked(tx, one)


def objection(tx: Tx, order_id: int) -> str | None:
    """As ``last_look``, for people who begin an order by hand."""
    order = tx.get_one(orders.WorkOrder, order_id)
    one = tx.scalar(select(ScaleOut).where(ScaleOut.order_key == order.key))
    return enforcement.objection(tx, order_id) if one is None else revoked(tx, one)


def revoked(tx: Tx, one: ScaleOut) -> str | None:
    """That the authorisation is gone on which a machine is to be added that was not begun yet."""
    if one.authorisation_id is None or authorisations.holding(tx, one.tier.system_id) is not None:
        return None
    return N_("使用单位已撤销常备授权,或授权已到期")
