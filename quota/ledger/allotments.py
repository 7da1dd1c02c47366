"""The authority's direct acts on quota: grant, take back what is not used, move between departments.

Each names one pool and one class: there is a wallet per architecture, and nothing moves from one to another. ``foreseen``
says what an act would do before it is done; the act itself checks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from quota.actors import Role
from quota.directory import departments, pools
from quota.errors import N_, Invalid, OverCapacity, stated
from quota.ledger import entries, lending
from quota.ledger.tables import Holder, Side, Transfer
from quota.units import CLASSES, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx


class Act(StrEnum):
    GRANT = "grant"
    RECLAIM = "reclaim"
    MOVE = "move"


LABELS = {Act.GRANT: N_("授予配额"), Act.RECLAIM: N_("收回未用配额"), Act.MOVE: N_("单位间划转")}


@dataclass(frozen=True, slots=True)
class Allotment:
    """One act. ``amount`` in base units; ``target_id`` is who receives, of a move alone."""

    act: Act
    pool_id: int
    cls: Commodity
    department_id: int
    amount: int
    reason: str
    target_id: int | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """One account before and after. ``department_id`` None: the pool's free capacity."""

    department_id: int | None
    holder: Holder
    before: int
    after: int


def foreseen(tx: Tx, what: Allotment) -> Sequence[Effect]:
    """What the act would do to which account. Raises Invalid for what makes no sense, OverCapacity for too much."""
    where, department = pools.pool(tx, what.pool_id), departments.department(tx, what.department_id)
    if not where.active:
        raise Invalid("pool.closed", N_("该资源池已停用"), field="pool")
    if what.act is not Act.RECLAIM:
        departments.must_be_open(department, "department")
    if what.act is Act.RECLAIM and not CLASSES[what.cls.kind].recyclable:
        raise Invalid(
            "class.kept", N_("%(kind)s设定为不可回收"), kind=CLASSES[what.cls.kind].label, field="wallet"
        )  # fmt: skip
    if what.amount <= 0:
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    stated(what.reason)
    source, target = _sides(tx, what)
    has = free = entries.balance(tx, source)
    if source.department_id is not None:  # what it borrowed is not its own to be taken or given on
        free = min(has, lending.own(tx, what.pool_id, what.cls, source.department_id))
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
    gets = entries.balance(tx, target)
    return [
        Effect(source.department_id, source.holder, has, has - what.amount),
        Effect(target.department_id, target.holder, gets, gets + what.amount),
    ]


def carry_out(tx: Tx, what: Allotment, *, key: str) -> Transfer:
    """Do it. The same ``key`` again returns the first transfer, whatever the balances are now."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.alone(key)
    earlier = entries.made(tx, key)
    if earlier is None:
        foreseen(tx, what)
    amount = {what.cls: what.amount}
    if what.act is Act.GRANT:
        done = entries.grant(tx, what.pool_id, what.department_id, amount, key=key, memo=what.reason.strip())
    elif what.act is Act.RECLAIM:
        done = entries.reclaim(
            tx, what.pool_id, what.department_id, amount, key=key, source=Holder.GRANTED, memo=what.reason.strip()
        )
    else:
        _source, target = _sides(tx, what)
        place = (what.pool_id, what.cls, Holder.GRANTED)
        done = entries.hand_over(
            tx, what.department_id, target.department_id or 0, {place: what.amount}, key=key, memo=what.reason.strip()
        )
    if earlier is None:
        tx.audit(
            f"quota.{what.act.value}",
            f"department:{what.department_id}",
            after={
                "pool": what.pool_id, "class": str(what.cls), "amount": what.amount, "to": what.target_id,
                "transfer": done.id,
            },
            reason=what.reason.strip(),
        )  # fmt: skip
    return done


def _sides(tx: Tx, what: Allotment) -> tuple[Side, Side]:
    free = Side(what.pool_id, what.cls, Holder.FREE)
    granted = Side(what.pool_id, what.cls, Holder.GRANTED, what.department_id)
    if what.act is Act.GRANT:
        return free, granted
    if what.act is Act.RECLAIM:
        return granted, free
    if what.target_id is None:
        raise Invalid("reorganisation.target", N_("请选择接收单位"), field="target")
    target = departments.department(tx, what.target_id)
    if target.id == what.department_id:
        raise Invalid("ledger.same", N_("转出和转入不能是同一单位"), field="target")
    departments.must_be_open(target, "target")
    return granted, Side(what.pool_id, what.cls, Holder.GRANTED, target.id)
