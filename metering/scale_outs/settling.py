"""What becomes of a tier that a look within the day saw: one machine more, asked for or ordered; one fewer; or nothing, and why.

All that stands against it is looked at in the transaction that acts, with the tier's row held: of a tier one machine at a time is added, and
the next only when an hour has shown what the last one took over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from metering.cases import Authorisation, Case, CaseState, Consent, authorisations, hearings, windows
from metering.judging import Procedure
from metering.rollout import scopes
from metering.scale_outs import scale_outs
from metering.scale_outs.load import TierLoad
from metering.scale_outs.scale_outs import ScaleOut, ScaleOutEnding, ScaleOutState, end, move, place
from providers import orders
from providers.orders import OrderState
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import N_
from quota.inventory import Resource, ResourceState, Tier, tiers
from quota.requests import Request, RequestState
from quota.units import BLOCK, Amount, ClassCode

if TYPE_CHECKING:
    from quota.actors import Actor
    from quota.db import Tx

NOTED = timedelta(hours=1)
"""How often it is written down that a tier still cannot do without, and how long a machine more has to show what it takes over."""

GAP = timedelta(hours=3)
"""So long without a look says nothing of the time between."""

UNDER_WAY = (ScaleOutState.PROPOSED.value, ScaleOutState.ORDERED.value, ScaleOutState.DELIVERED.value)

SIDEWAYS = frozenset({"scale_out_ordered", "scale_out_proposed", "under_way"})
"""Codes of ``settle`` after which no machine of the tier is enlarged: it is being helped."""

SKIPS = {
    "under_way": N_("同构组正在增加云主机"),
    "tier_waits": N_("同构组增加的云主机迟未投入服务,云主机照常变更规格"),
    "tier_full": N_("同构组已增加到上限台数"),
    "tier_slack": N_("同构组内有空闲云主机,宜先均衡负载"),
    "tier_quiet": N_("使用单位近期已答复不需要增加云主机"),
    "tier_calm": N_("同构组不繁忙"),
    "sideways": N_("同构组整体繁忙,增加云主机而不变更规格"),
}
"""Why nothing was done about a tier or a machine in it: code → words."""


@dataclass(frozen=True, slots=True)
class ScaleOutBasis:
    """What a look stands on: its moment, the id of the policy version in force and its procedure."""

    moment: datetime
    version_id: int
    procedure: Procedure


def settle(tx: Tx, tier_id: int, load: TierLoad, ground: ScaleOutBasis) -> tuple[str, int | None]:
    """Add a machine, ask for one, have one taken back, or leave it: a code, and the scale-out where something was done. Twice for the
    same moment is once."""
    tx.actor.must_be(Role.SYSTEM)
    tier = tiers.lock(tx, tier_id)
    rows = list(
        tx.scalars(
            select(ScaleOut)
            .where(ScaleOut.tier_id == tier.id, ScaleOut.state != ScaleOutState.CLOSED.value)
            .order_by(ScaleOut.id)
            .with_for_update()
        )
    )
    if tier.closed_at is not None:
        return "tier_calm", None
    busy = load.busy(ground.procedure.tier_busy)
    for one in rows:
        serves = one.joined_at is not None and one.left_at is None
        does_without = (load.spare if serves else load.calm)(ground.procedure.tier_calm)
        _noted(one, ground.moment, needed=not does_without)
    if busy:
        return _more(tx, tier, rows, load, ground)
    return _fewer(tx, rows, ground)


def _more(tx: Tx, tier: Tier, rows: list[ScaleOut], load: TierLoad, ground: ScaleOutBasis) -> tuple[str, int | None]:
    again = next((one for one in rows if one.state == ScaleOutState.LEAVING and not _over(tx, one)), None)
    if again is not None:
        again.reason, again.leave_at = "", None
        serves = again.joined_at is not None and again.left_at is None
        to, days = (ScaleOutState.SERVING, None) if serves else (ScaleOutState.DELIVERED, again.procedure().act_days)
        move(tx, again, to, "scale_out.needed", days=days, load=load.now)
        return "under_way", None
    allowed = authorisations.holding(tx, tier.system_id)
    waiting = next((one for one in rows if one.state in UNDER_WAY), None)
    opened = scopes.now(tx).opened(tier.system.department_id, tier.pool_id)
    if waiting is not None:
        wanted = waiting.state == ScaleOutState.PROPOSED and opened and len(rows) <= tier.most  # as when it was asked
        if wanted and not _why_not(tx, tier, waiting.needs(), allowed):
            return _ordered(tx, waiting, allowed)
        return "under_way" if waiting.opened_at > tx.now - NOTED else "tier_waits", None
    if any(one.joined_at is not None and one.joined_at > ground.moment - NOTED for one in rows):
        return "under_way", None
    if len(rows) >= tier.most:
        return "tier_full", None
    if not opened:
        return "shadow", None
    if _declined(tx, tier, ground):
        return "tier_quiet", None
    shape = _shape(tx, tiers.members(tx, tier.id))
    if shape is None:
        return "no_target", None
    seen = select(ScaleOut.id).where(ScaleOut.tier_id == tier.id, ScaleOut.at == ground.moment)
    if tx.scalar(seen) is not None:
        return "done", None
    why = _why_not(tx, tier, shape, allowed)
    one = ScaleOut(
        tier_id=tier.id,
        tier=tier,
        policy_version_id=ground.version_id,
        state=ScaleOutState.PROPOSED.value,
        generation=1,
        at=ground.moment,
        machines=load.machines,
        load=load.now or 0.0,
        shape=shape.to_json(),
        why=why,
        opened_at=tx.now,
        needed_at=ground.moment,
        seen_at=ground.moment,
        decided_by="",
        joined_by="",
        left_by="",
        filed=0,
        reason="",
    )
    tx.add(one)
    tx.flush()
    if not why:
        return _ordered(tx, one, allowed)
    move(tx, one, ScaleOutState.PROPOSED, "scale_out.propose", days=ground.procedure.reply_days, tier=tier.id, why=why)
    return "scale_out_proposed", one.id


def _ordered(tx: Tx, one: ScaleOut, allowed: Authorisation | None) -> tuple[str, int | None]:
    one.authorisation_id, one.why = None if allowed is None else allowed.id, ""
    place(tx, one, "scale_out.order")
    return "scale_out_ordered", one.id


def _fewer(tx: Tx, rows: list[ScaleOut], ground: ScaleOutBasis) -> tuple[str, int | None]:
    """One machine fewer where the tier has done without for the procedure's hours; the last one that came goes first."""
    hold = timedelta(hours=ground.procedure.tier_hold_hours)
    for one in reversed(rows):
        calm = one.needed_at <= ground.moment - hold
        if one.state == ScaleOutState.PROPOSED and calm:
            end(tx, one, ScaleOutEnding.CALM)
            return "scale_out_closed", one.id
        if one.state == ScaleOutState.LEAVING:
            return "tier_calm", None
        if one.state in (ScaleOutState.SERVING, ScaleOutState.DELIVERED) and calm:
            one.leave_at, one.reason = tx.now, N_("少一台也够用:请移出负载均衡后退还")
            move(tx, one, ScaleOutState.LEAVING, "scale_out.calm", days=one.procedure().act_days)
            return "scale_out_calm", one.id
    return "tier_calm", None


def _noted(one: ScaleOut, moment: datetime, *, needed: bool) -> None:
    """That it was looked at. What the tier could not do without is needed, and so is what nobody looked at for hours or of which
    nothing is known: silence is no ground to take it back."""
    if needed or moment - one.seen_at > GAP:
        one.needed_at = one.needed_at if moment - NOTED < one.needed_at else moment
    if moment - one.seen_at >= NOTED:
        one.seen_at = moment


def _over(tx: Tx, one: ScaleOut) -> bool:
    """Whether it was lent for as long as may be: then it goes back or is kept for good, busy or not."""
    since = one.delivered_at
    return since is not None and tx.now > since + timedelta(days=one.procedure().temporary_days)


def _declined(tx: Tx, tier: Tier, ground: ScaleOutBasis) -> bool:
    query = select(ScaleOut.id).where(
        ScaleOut.tier_id == tier.id,
        ScaleOut.ending == ScaleOutEnding.DECLINED.value,
        ScaleOut.closed_at > tx.now - timedelta(days=ground.procedure.backoff_days),
    )
    return tx.scalar(query.limit(1)) is not None


def _shape(tx: Tx, machines: list[Resource]) -> Amount | None:
    """What most of the machines that run have, lent growth left out; None where none runs."""
    running = {one.id: one for one in machines if one.state == ResourceState.RUNNING and one.booked}
    lent = select(Case).where(
        Case.resource_id.in_(running), Case.consent == Consent.STANDING.value, Case.state != CaseState.CLOSED.value
    )
    had = {one.resource_id: one.had() for one in tx.scalars(lent)}
    shapes = Counter(tuple(sorted(had.get(one.id, one.actual()).items())) for one in running.values())
    return Amount(dict(shapes.most_common(1)[0][0])) if shapes else None


def _why_not(tx: Tx, tier: Tier, needs: Amount, allowed: Authorisation | None) -> str:
    """A code of surges.WHY: why the department is asked first; "" where it authorised this and all else allows it."""
    if allowed is None:
        return "unauthorised"
    tx.lock(allowed)  # one growth at a time is counted against its ceiling
    if not allowed.holds(tx.now.astimezone(ZONE).date()):
        return "unauthorised"
    if windows.opening(tx, tier.pool_id, any_time=allowed.any_time) > tx.now:
        return "window"
    lent, most = lent_to(tx, tier.system_id), allowed.ceiling()
    # What it names nothing of it allows nothing of (memory of 0 GB, cards); the disk of a machine comes with its size.
    if any(lent.get(kind, 0) + figure > most.get(kind, 0) for kind, figure in needs.items() if kind != BLOCK):
        return "ceiling"
    return "" if hearings.affordable(tx, tier.pool, tier.system.department_id, needs) else "quota"


def open_tiers(tx: Tx) -> set[int]:
    """The ids of tiers for which a machine more is asked for, on its way or there."""
    return set(tx.scalars(select(ScaleOut.tier_id).where(ScaleOut.state != ScaleOutState.CLOSED.value)))


def lent_to(tx: Tx, system_id: int) -> dict[ClassCode, int]:
    """What is lent to a system now on standing authorisation, in larger machines and in more of them, base units."""
    rows = tx.scalars(
        select(Case).where(
            Case.system_id == system_id,
            Case.consent == Consent.STANDING.value,
            Case.state != CaseState.CLOSED.value,
        )
    )
    return dict(Amount.total([scale_outs.on_loan(tx, system_id), *(one.recovers() for one in rows)]))


# ------------------------------------------------------------------------------------------------- what became of orders


def advance(book: Book, actor: Actor) -> dict[int, Exception]:
    """Take in what became of orders and requests, and ask about what was lent too long; a transaction each. What went wrong, by id."""
    faults: dict[int, Exception] = {}
    with book.reading(actor) as tx:
        ids = list(tx.scalars(select(ScaleOut.id).where(ScaleOut.state != ScaleOutState.CLOSED.value)))
    for scale_out_id in ids:
        try:
            with book.transaction(actor) as tx:
                one = scale_outs.scale_out(tx, scale_out_id)
                tiers.lock(tx, one.tier_id)
                tx.refresh(one, with_for_update=True)
                _go_on(tx, one)
        except Exception as fault:
            faults[scale_out_id] = fault
    return faults


def _go_on(tx: Tx, one: ScaleOut) -> None:
    if one.state == ScaleOutState.ORDERED:
        _delivered(tx, one)
    elif one.state == ScaleOutState.RETURNING:
        _returned(tx, one)
    elif one.state == ScaleOutState.PROPOSED and one.tier.closed_at is not None:
        end(tx, one, ScaleOutEnding.CALM)
    elif one.state in (ScaleOutState.DELIVERED, ScaleOutState.SERVING, ScaleOutState.LEAVING):
        resource = tx.get_one(Resource, one.resource_id)
        if _is_gone(resource):
            tiers.leave(tx, one.tier, resource.id)
            end(tx, one, ScaleOutEnding.RETURNED, N_("资源已不存在"))
        elif one.state != ScaleOutState.LEAVING and _over(tx, one):
            one.leave_at, one.reason = tx.now, N_("已到临时扩容的最长期限:请移出负载均衡后退还,或由监督方核实长期保留")
            move(tx, one, ScaleOutState.LEAVING, "scale_out.over", days=one.procedure().act_days)


def _delivered(tx: Tx, one: ScaleOut) -> None:
    order = tx.scalar(select(orders.WorkOrder).where(orders.WorkOrder.key == one.order_key))
    if order is None:
        return
    if order.state in (OrderState.DELIVERED, OrderState.ACCEPTED) and order.resource_id is not None:
        one.resource_id, one.delivered_at = order.resource_id, order.delivered_at or tx.now
        move(tx, one, ScaleOutState.DELIVERED, "scale_out.deliver", days=one.procedure().act_days, order=order.number)
    elif order.state == OrderState.CANCELLED:
        end(tx, one, ScaleOutEnding.FAILED, order.last_error)
    elif order.may_be_called_back() and (why := scale_outs.revoked(tx, one)) is not None:
        orders.cancel(tx, order.id, order.generation, why)
        end(tx, one, ScaleOutEnding.FAILED, why)


def _is_gone(resource: Resource) -> bool:
    return resource.gone_at is not None or resource.state == ResourceState.DELETED


def _returned(tx: Tx, one: ScaleOut) -> None:
    asked = tx.get_one(Request, one.request_id)
    if _is_gone(tx.get_one(Resource, one.resource_id)) or asked.state == RequestState.DONE:
        end(tx, one, ScaleOutEnding.RETURNED)
    elif asked.state == RequestState.REJECTED:
        resource = tx.get_one(Resource, one.resource_id)
        if resource.system_id == one.tier.system_id and not tiers.of(tx, [resource.id]):
            tiers.join(tx, one.tier, resource)
        end(tx, one, ScaleOutEnding.KEPT, N_("退订未获批准，云主机由单位保留，仍属同构组：请重新加入负载均衡"))
    elif asked.state == RequestState.WITHDRAWN:
        one.reason = N_("退订已撤回:请移出负载均衡后退还,或由监督方核实长期保留")
        move(tx, one, ScaleOutState.LEAVING, "scale_out.withdrawn", days=one.procedure().act_days)
