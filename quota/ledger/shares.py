"""Shares of systems (系统份额): the deepest level of the tree. A department sets part of its unused quota apart for one of its systems.

    granted(department) ──give──▶ shared(department) ──request of the system──▶ held ──▶ used(department)
                        ◀──take back──                ◀── what its requests give back

What is set apart lies on an account of its own, so that nobody else, the department's other requests, loans and the city's
reclaims among them, can take it. The row of each system (``SystemShare``) says how much of that account is whose: ``amount``
less ``used`` less what is held for its requests. A system that has a share of a class draws on that alone; one that has none
draws on what the department did not set apart. ``tree.check`` proves that rows and account agree.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select

from quota.db import among
from quota.directory import Department, System, departments, pools
from quota.errors import N_, Conflict, Invalid, OverCapacity, WrongState, stated
from quota.ledger import entries, tree
from quota.ledger.tables import Classes, Hold, Holder, HoldState, Side, SystemShare, Transfer
from quota.units import CLASSES, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx


class ShareAct(StrEnum):
    GIVE = "give"
    TAKE_BACK = "take_back"
    REALLOT = "reallot"
    END = "end"


SHARE_ACTS = {
    ShareAct.GIVE: N_("划给系统"),
    ShareAct.TAKE_BACK: N_("收回系统份额"),
    ShareAct.REALLOT: N_("系统间调剂"),
    ShareAct.END: N_("取消系统份额"),
}


@dataclass(frozen=True, slots=True)
class ShareOrder:
    """One act; ``amount`` in base units. ``target_id``: who receives what passes from one system to another. The end of a share
    takes no amount: what is unused goes back, and the system draws on what its department did not set apart."""

    act: ShareAct
    system_id: int
    pool_id: int
    cls: Commodity
    amount: int
    reason: str
    target_id: int | None = None


# ------------------------------------------------------------------------------------------------------------- reading


def share(tx: Tx, system_id: int, pool_id: int, cls: Commodity) -> SystemShare | None:
    """What the system was given of a class, as it stands now; None where it has no share of it."""
    return tx.scalar(
        select(SystemShare)
        .where(
            SystemShare.system_id == system_id,
            SystemShare.pool_id == pool_id,
            SystemShare.kind == cls.kind,
            SystemShare.arch == cls.arch.value,
            SystemShare.amount > 0,
        )
        .execution_options(populate_existing=True)
    )


def some(tx: Tx, department_id: int | None = None) -> bool:
    """Whether any system, or one of the department's, has a share."""
    query = select(SystemShare.id).where(SystemShare.amount > 0).limit(1)
    if department_id is not None:
        query = query.join(System, System.id == SystemShare.system_id).where(System.department_id == department_id)
    return tx.scalar(query) is not None


def held() -> Select[int]:
    """What is held out of a share, for the query of which it is part."""
    return (
        select(func.coalesce(func.sum(Hold.amount), 0))
        .where(Hold.share_id == SystemShare.id, Hold.state == HoldState.PENDING.value)
        .correlate(SystemShare)
    )


def unused(tx: Tx, row: SystemShare) -> int:
    """Base units that the system may still take of its share."""
    waits = tx.scalar(
        select(func.sum(Hold.amount)).where(Hold.share_id == row.id, Hold.state == HoldState.PENDING.value)
    )
    return row.amount - row.used - int(waits or 0)


def drawn(tx: Tx, system_id: int | None, pool_id: int, what: Classes) -> dict[Commodity, tuple[SystemShare, int]]:
    """Of each class of ``what`` of which the system has a share: the share, and what of it is unused."""
    found = {}
    for cls in what if system_id is not None else ():
        one = share(tx, system_id or 0, pool_id, cls)
        if one is not None:
            found[cls] = one, unused(tx, one)
    return found


def unused_of(tx: Tx, system_ids: Collection[int]) -> dict[tuple[int, Commodity], int]:
    """What these systems may still take of their shares, by pool and class."""
    found: dict[tuple[int, Commodity], int] = {}
    for one in tx.scalars(select(SystemShare).where(among(SystemShare.system_id, system_ids), SystemShare.amount > 0)):
        place = (one.pool_id, one.commodity)
        found[place] = found.get(place, 0) + unused(tx, one)
    return {place: amount for place, amount in found.items() if amount}


# --------------------------------------------------------------------------------------------------------------- verbs


def carry_out(tx: Tx, what: ShareOrder, *, key: str) -> Transfer | None:
    """Do it: the right of whoever may share out what lies with the system's department. The same ``key`` again returns the first
    transfer. Raises NotAllowed, Invalid for what makes no sense, OverCapacity where there is less that is unused."""
    system = departments.system(tx, what.system_id)
    tree.must_manage(tx, system.department_id)
    tx.alone(key)
    earlier = entries.made(tx, key)
    reason = stated(what.reason)
    where, amount = (what.pool_id, system.department_id), what.amount
    _lock(tx, what.pool_id, what.cls, system.department_id)
    tx.refresh(system)
    if system.department_id != where[1]:
        raise Conflict("system_share.moved", N_("该系统已调整到其他单位，请重新办理"))
    _must_make_sense(tx, what, system, done=earlier is not None)
    one = share(tx, system.id, what.pool_id, what.cls)
    if what.act is ShareAct.END and earlier is None:
        amount = _ended(tx, one, what.cls)
    elif earlier is None and what.act is not ShareAct.GIVE:
        _take(tx, one, what.cls, amount)
    elif earlier is None:
        has = entries.balance(tx, Side(what.pool_id, what.cls, Holder.GRANTED, system.department_id))
        if has < amount:
            raise short(what.cls, has, amount)
    told: dict[str, Any] = {"key": key, "subject": f"system:{system.id}", "memo": reason}
    transfer = None
    if what.act is ShareAct.REALLOT:
        transfer = entries.pass_on(tx, *where, {what.cls: amount}, **told)
    elif amount or earlier is not None:
        amount = amount or _moved(earlier)
        transfer = entries.set_apart(tx, *where, {what.cls: amount}, back=what.act is not ShareAct.GIVE, **told)
    if earlier is not None:
        return transfer
    receiver = {ShareAct.GIVE: system.id, ShareAct.REALLOT: what.target_id}.get(what.act)
    if receiver is not None:
        _give(tx, receiver, what.pool_id, what.cls, amount)
    tx.audit(
        f"system_share.{what.act.value}",
        f"system:{system.id}",
        after={"pool": what.pool_id, "class": str(what.cls), "amount": amount, "to": what.target_id},
        reason=reason,
    )
    return transfer


def refill(
    tx: Tx, system_id: int | None, pool_id: int, department_id: int, what: Classes, *, key: str, subject: str
) -> None:
    """A request of the system gave ``what`` back to its department: as much of it as came out of its share is the share's again."""
    key = f"{key}/share"
    if system_id is None or entries.made(tx, key) is not None:
        return
    back: dict[Commodity, int] = {}
    for cls, amount in what.items():
        one = share(tx, system_id, pool_id, cls)
        if one is not None and one.system.department_id == department_id and (take := min(amount, one.used)):
            one.used -= take
            back[cls] = take
    if back:
        entries.set_apart(tx, pool_id, department_id, back, key=key, subject=subject)


def end_all(tx: Tx, system: System) -> None:
    """The system is no longer in use: what its shares have unused is its department's again."""
    if system.active:
        return
    for one in tx.scalars(
        select(SystemShare).where(SystemShare.system_id == system.id, SystemShare.amount > 0).order_by(SystemShare.id)
    ).all():
        _lock(tx, one.pool_id, one.commodity, system.department_id)
        tx.refresh(one)
        rest = _ended(tx, one, one.commodity)
        if rest:
            entries.set_apart(
                tx, one.pool_id, system.department_id, {one.commodity: rest},
                key=f"system:{system.id}/share:{one.id}/{tx.now.isoformat()}", subject=f"system:{system.id}", back=True,
            )  # fmt: skip
        tx.audit(
            "system_share.end",
            f"system:{system.id}",
            after={"pool": one.pool_id, "class": str(one.commodity), "amount": rest, "to": None},
        )


departments.said_of_a_system(end_all)


# ----------------------------------------------------------------------------------------------------------- mechanism


def _must_make_sense(tx: Tx, what: ShareOrder, system: System, *, done: bool) -> None:
    if what.act is not ShareAct.END and (isinstance(what.amount, bool) or what.amount <= 0):
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    if done:
        return
    if what.act in (ShareAct.GIVE, ShareAct.REALLOT) and not pools.pool(tx, what.pool_id).active:
        raise Invalid("pool.closed", N_("该资源池已停用"), field="pool")
    receiver, field = system, "system"
    if what.act is ShareAct.REALLOT:
        if what.target_id is None or what.target_id == system.id:
            raise Invalid("system_share.target", N_("请选择另一个信息系统"), field="target")
        receiver, field = departments.system(tx, what.target_id), "target"
        if receiver.department_id != system.department_id:
            raise Invalid("system_share.beside", N_("只能在同一单位的信息系统之间调剂"), field="target")
    if what.act in (ShareAct.GIVE, ShareAct.REALLOT):
        if not receiver.active:
            raise Invalid("system_share.inactive", N_("%(name)s已停用"), name=receiver.name, field=field)
        departments.must_be_open(departments.department(tx, system.department_id), "system")


def _lock(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> None:
    """Whoever reorganises the department at this moment, or holds its quota, waits until this has ended."""
    tx.execute(select(Department.id).where(Department.id == department_id).with_for_update(key_share=True))
    entries.lock(
        tx, [Side(pool_id, cls, holder, department_id) for holder in (Holder.GRANTED, Holder.HELD, Holder.SHARED)]
    )


def _take(tx: Tx, row: SystemShare | None, cls: Commodity, amount: int) -> None:
    has = unused(tx, row) if row is not None else 0
    if row is None or has < amount:
        raise short(cls, has, amount)
    row.amount -= amount


def _ended(tx: Tx, row: SystemShare | None, cls: Commodity) -> int:
    """End a share; what of it is unused."""
    if row is None:
        raise Invalid("system_share.none", N_("该系统没有%(kind)s份额"), kind=CLASSES[cls.kind].label, field="wallet")
    rest = unused(tx, row)
    if rest != row.amount - row.used:
        raise WrongState("system_share.held", N_("该系统有在途申请预占了份额，请办结或撤回后再取消"))
    row.amount = row.used = 0
    tx.flush()
    return rest


def _give(tx: Tx, system_id: int, pool_id: int, cls: Commodity, amount: int) -> None:
    here = (
        SystemShare.system_id == system_id, SystemShare.pool_id == pool_id,
        SystemShare.kind == cls.kind, SystemShare.arch == cls.arch.value,
    )  # fmt: skip
    one = tx.scalar(select(SystemShare).where(*here).execution_options(populate_existing=True))
    if one is None:
        one = SystemShare(system_id=system_id, pool_id=pool_id, kind=cls.kind, arch=cls.arch.value, amount=0, used=0)
        tx.add(one)
    one.amount += amount
    tx.flush()


def _moved(transfer: Transfer | None) -> int:
    """What an act moved that named no amount."""
    return max((entry.delta for entry in transfer.movements), default=0) if transfer is not None else 0


def short(cls: Commodity, has: int, wanted: int, *, system: str = "") -> OverCapacity:
    """What is said where a system has less left of its share; ``system``: of which, where that is not plain."""
    unit = CLASSES[cls.kind]
    said: dict[str, Any] = {
        "kind": unit.label, "arch": cls.arch.value, "need": shown(cls.kind, wanted), "have": shown(cls.kind, has), "unit": unit.shown,
    }  # fmt: skip
    if system:
        return OverCapacity(
            "system_share.short",
            N_("系统“%(system)s”的份额不足：%(kind)s（%(arch)s）需要 %(need)s，份额只剩 %(have)s %(unit)s；请由本单位配额统筹人员调整份额"),
            system=system, field=cls.kind, **said,
        )  # fmt: skip
    return OverCapacity(
        "capacity.short", N_("%(kind)s(%(arch)s)不足:需要 %(need)s,只有 %(have)s %(unit)s"), field="amount", **said
    )
