"""Direct acts on quota: the authority's (grant, take back what is not used, move between departments) and those of a node of the
tree (share out to one below, take back what it gave and is not used, pass from one below to another).

Each names one pool and one class: there is a wallet per architecture, and nothing moves from one to another. ``foreseen``
says what an act would do before it is done; the act itself checks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota.actors import Role
from quota.directory import Department, departments, pools
from quota.errors import N_, Invalid, OverCapacity, stated
from quota.ledger import allocations, commitments, entries, expiry, lending, tree
from quota.ledger.tables import OWNED, Holder, Side, Transfer
from quota.units import CLASSES, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx


class Act(StrEnum):
    GRANT = "grant"
    RECLAIM = "reclaim"
    MOVE = "move"
    SHARE = "share"
    TAKE_BACK = "take_back"
    REALLOT = "reallot"


LABELS = {
    Act.GRANT: N_("授予配额"),
    Act.RECLAIM: N_("收回未用配额"),
    Act.MOVE: N_("单位间划转"),
    Act.SHARE: N_("下拨配额"),
    Act.TAKE_BACK: N_("收回下拨"),
    Act.REALLOT: N_("下级间调剂"),
}

CITYS = (Act.GRANT, Act.RECLAIM, Act.MOVE)
"""Acts of the authority alone; the others are a node's own."""

TARGETED = (Act.MOVE, Act.SHARE, Act.TAKE_BACK, Act.REALLOT)
"""Acts that name a second department."""


@dataclass(frozen=True, slots=True)
class Allotment:
    """One act. ``amount`` in base units. ``department_id`` is who receives a grant, whose quota is reclaimed or moved, the node that
    shares out or takes back, the one below that passes on; ``target_id`` is the other party: who receives, and of a taking back
    who gives. ``ends_on``: the last day of what is granted or shared out for a time."""

    act: Act
    pool_id: int
    cls: Commodity
    department_id: int
    amount: int
    reason: str
    target_id: int | None = None
    ends_on: date | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """One account before and after. ``department_id`` None: the pool's free capacity."""

    department_id: int | None
    holder: Holder
    before: int
    after: int


def foreseen(tx: Tx, what: Allotment) -> Sequence[Effect]:
    """What the act would do to which account. Raises NotAllowed for whom it is not for, Invalid for what makes no sense,
    OverCapacity for too much."""
    _must_be_allowed(tx, what)
    where = pools.pool(tx, what.pool_id)
    if not where.active:
        raise Invalid("pool.closed", N_("该资源池已停用"), field="pool")
    if what.act in (Act.RECLAIM, Act.TAKE_BACK) and not CLASSES[what.cls.kind].recyclable:
        raise Invalid(
            "class.kept", N_("%(kind)s设定为不可回收"), kind=CLASSES[what.cls.kind].label, field="wallet"
        )  # fmt: skip
    if what.amount <= 0:
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    stated(what.reason)
    expiry.check_end(tx, what.ends_on)
    source, target = _sides(tx, what)
    _lock(tx, source, target)
    has = free = entries.balance(tx, source)
    if source.department_id is not None:
        free = min(has, _movable(tx, what, source.department_id))
    if free < what.amount:
        unit = CLASSES[what.cls.kind]
        raise OverCapacity(
            "capacity.short",
            N_("%(kind)s(%(arch)s)不足:需要 %(need)s,只有 %(have)s %(unit)s"),
            kind=unit.label,
            arch=what.cls.arch,
            need=shown(what.cls.kind, what.amount),
            have=shown(what.cls.kind, free),
            unit=unit.shown,
            field="amount",
        )
    if what.act is Act.GRANT:
        commitments.keep_for_queue(tx, what.pool_id, {what.cls: what.amount}, "amount")
    gets = entries.balance(tx, target)
    return [
        Effect(source.department_id, source.holder, has, has - what.amount),
        Effect(target.department_id, target.holder, gets, gets + what.amount),
    ]


def carry_out(tx: Tx, what: Allotment, *, key: str) -> Transfer:
    """Do it. The same ``key`` again returns the first transfer, whatever the balances are now."""
    _must_be_allowed(tx, what)
    tx.alone(key)
    earlier = entries.made(tx, key)
    if earlier is None:
        foreseen(tx, what)
    done = _moved(tx, what, key)
    if earlier is None:
        _written(tx, what, key)
        tx.audit(
            f"quota.{what.act.value}",
            f"department:{what.department_id}",
            after={
                "pool": what.pool_id, "class": str(what.cls), "amount": what.amount, "to": what.target_id,
                "transfer": done.id, **({"ends_on": what.ends_on} if what.ends_on else {}),
            },
            reason=what.reason.strip(),
        )  # fmt: skip
    return done


# ----------------------------------------------------------------------------------------------------------- mechanism


def _must_be_allowed(tx: Tx, what: Allotment) -> None:
    if what.act in CITYS:
        tx.actor.must_be(Role.AUTHORITY)
    elif what.act is Act.REALLOT:
        tree.must_manage(tx, departments.department(tx, what.department_id).parent_id)
    else:
        tree.must_manage(tx, departments.department(tx, what.department_id).id)


def _moved(tx: Tx, what: Allotment, key: str) -> Transfer:
    """What the act does to the accounts."""
    amount, memo = {what.cls: what.amount}, what.reason.strip()
    if what.act is Act.GRANT:
        return entries.grant(tx, what.pool_id, what.department_id, amount, key=key, memo=memo)
    if what.act is Act.RECLAIM:
        return entries.reclaim(tx, what.pool_id, what.department_id, amount, key=key, source=Holder.GRANTED, memo=memo)
    source, target = _sides(tx, what)
    return entries.hand_over(
        tx,
        source.department_id or 0,
        target.department_id or 0,
        {(what.pool_id, what.cls, Holder.GRANTED): what.amount},
        key=key,
        memo=memo,
        command="hand_over" if what.act is Act.MOVE else what.act.value,
    )


def _written(tx: Tx, what: Allotment, key: str) -> None:
    """What the act does to allocations."""
    if what.act is Act.GRANT and what.ends_on is not None:
        _enter(tx, what, None, what.department_id, key, ends_on=what.ends_on)
    if what.act is Act.RECLAIM:  # what the city gave for a time is taken after what it gave for good
        short = -tree.margin(tx, what.pool_id, what.cls, what.department_id)
        timed = allocations.between(tx, None, what.department_id, what.pool_id, what.cls)
        allocations.lessen(tx, timed, max(short, 0))
    if what.act in CITYS or what.target_id is None:
        return
    giver = departments.department(tx, what.department_id)
    if what.act is Act.SHARE:
        _enter(tx, what, giver.id, what.target_id, key, ends_on=what.ends_on)
        return
    receiver_id, giver_id = what.target_id, giver.id
    if what.act is Act.REALLOT:
        receiver_id, giver_id = giver.id, giver.parent_id or 0
    rows = allocations.between(tx, giver_id, receiver_id, what.pool_id, what.cls)
    ends = allocations.lessen(tx, rows, what.amount)
    if what.act is Act.REALLOT:
        for n, (ends_on, amount) in enumerate(ends):
            _enter(tx, what, giver_id, what.target_id, f"{key}/{n}", amount, ends_on)


def _enter(
    tx: Tx,
    what: Allotment,
    giver_id: int | None,
    receiver_id: int,
    key: str,
    amount: int = 0,
    ends_on: date | None = None,
) -> None:
    allocations.enter(
        tx, giver_id, receiver_id, what.pool_id, what.cls, amount or what.amount,
        key=key, reason=what.reason.strip(), ends_on=ends_on,
    )  # fmt: skip


def _movable(tx: Tx, what: Allotment, department_id: int) -> int:
    """Base units that may leave the department by this act, in whatever state they are."""
    has = lending.liquid(tx, what.pool_id, what.cls, department_id)
    if what.act in CITYS:  # what it borrowed or was given from above is not its own to be taken or moved
        own = lending.own(tx, what.pool_id, what.cls, department_id)
        timed = allocations.between(tx, None, department_id, what.pool_id, what.cls) if what.act is Act.RECLAIM else []
        return min(has, own + sum(one.outstanding for one in timed))
    if what.act is Act.SHARE:
        return has
    giver_id: int | None = what.department_id
    if what.act is Act.REALLOT:
        giver_id = departments.department(tx, what.department_id).parent_id
    given = allocations.between(tx, giver_id, department_id, what.pool_id, what.cls)
    return min(has, sum(one.outstanding for one in given))


def _lock(tx: Tx, source: Side, target: Side) -> None:
    """Whoever acts on one of both departments at this moment, or moves it in the tree, waits until this has ended."""
    if not tx.writes:
        return
    parties = [side.department_id for side in (source, target) if side.department_id is not None]
    tx.execute(
        select(Department.id).where(Department.id.in_(parties)).order_by(Department.id).with_for_update(key_share=True)
    )
    owned = [Side(side.pool_id, side.cls, holder, side.department_id) for side in (source, target) for holder in OWNED]
    entries.lock(tx, [source, target, *(side for side in owned if side.department_id is not None)])


def _sides(tx: Tx, what: Allotment) -> tuple[Side, Side]:
    """The account that the act takes from, and the one that it adds to."""
    department = departments.department(tx, what.department_id)
    free = Side(what.pool_id, what.cls, Holder.FREE)
    granted = Side(what.pool_id, what.cls, Holder.GRANTED, department.id)
    if what.act is Act.RECLAIM:
        return granted, free
    departments.must_be_open(department, "department")
    if what.act is Act.GRANT:
        return free, granted
    if what.target_id is None:
        raise Invalid("reorganisation.target", N_("请选择接收单位"), field="target")
    target = departments.department(tx, what.target_id)
    if target.id == department.id:
        raise Invalid("ledger.same", N_("转出和转入不能是同一单位"), field="target")
    other = Side(what.pool_id, what.cls, Holder.GRANTED, target.id)
    if what.act is Act.TAKE_BACK:
        return other, granted
    departments.must_be_open(target, "target")
    if what.act is Act.SHARE and target.parent_id != department.id:
        raise Invalid(
            "tree.not_below", N_("%(target)s不是%(name)s的直接下级"),
            target=target.name, name=department.name, field="target",
        )  # fmt: skip
    if what.act is Act.REALLOT and (target.parent_id is None or target.parent_id != department.parent_id):
        raise Invalid("tree.not_beside", N_("只能在同一上级的下级单位之间调剂"), field="target")
    return granted, other
