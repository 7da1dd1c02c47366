"""What a pool has of each kind, moved into its free account and out of it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota.actors import Role
from quota.directory import Pool, PoolCapacity, check_capacity, usable
from quota.errors import N_, WrongState, stated
from quota.ledger import commitments, entries, slicing
from quota.ledger.tables import OWNED, Account
from quota.units import CLASSES, Arch, ClassCode, Commodity

if TYPE_CHECKING:
    from quota.db import Tx


def equip(
    tx: Tx,
    where: Pool,
    kind: ClassCode,
    total: int,
    *,
    reserved: int = 0,
    ratio: Decimal = Decimal(1),
    key: str,
    reason: str = "",
) -> PoolCapacity:
    """Set what ``where`` has of ``kind`` and move the difference into (or out of) the pool's free account.

    Raises Invalid for figures that make no sense, OverCapacity when less would remain than is already given out.
    """
    tx.alone(key)
    if entries.made(tx, key) is not None:  # a form sent twice
        return tx.scalars(select(PoolCapacity).where(PoolCapacity.pool_id == where.id, PoolCapacity.kind == kind)).one()
    check_capacity(kind, total, reserved, ratio)
    # One at a time: what is moved is the difference to what was there before.
    tx.execute(select(Pool.id).where(Pool.id == where.id).with_for_update())
    row = tx.scalar(
        select(PoolCapacity)
        .where(PoolCapacity.pool_id == where.id, PoolCapacity.kind == kind)
        .execution_options(populate_existing=True)
    )
    slicing.check_equipment(tx, where.id, kind, reserved, ratio)
    before = {"total": row.total, "reserved": row.reserved, "ratio": row.ratio} if row else {}
    was = row.usable if row else 0
    if row is None:
        row = PoolCapacity(pool_id=where.id, kind=kind, total=total, reserved=reserved, ratio=ratio)
        tx.add(row)
    else:
        row.total, row.reserved, row.ratio = total, reserved, ratio
    tx.flush()
    cls = Commodity.of(kind, Arch(where.arch))
    difference = usable(total, reserved, ratio) - was
    if difference > 0:
        CLASSES.offered(kind)
        entries.provision(tx, where.id, {cls: difference}, key=key)
    elif difference < 0:
        entries.retire(tx, where.id, {cls: -difference}, key=key)
    tx.audit(
        "pool.equip",
        f"pool:{where.id}",
        before=before,
        after={"kind": kind, "total": total, "reserved": reserved, "ratio": ratio},
        reason=reason,
    )
    return row


def close(tx: Tx, where: Pool, reason: str) -> None:
    """Take a pool out of use: it is no longer collected, nothing more can be asked of it; what is on record stays.

    Raises Invalid without a reason, WrongState where it is out already, or anything of it is held, granted, used or lent.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    reason = stated(reason)
    tx.execute(select(Pool.id).where(Pool.id == where.id).with_for_update())
    if not where.active:
        raise WrongState("pool.closed", N_("%(name)s已停用"), name=where.name)
    owned = [holder.value for holder in OWNED]
    given = select(Account.id).where(Account.pool_id == where.id, Account.holder.in_(owned), Account.balance != 0)
    if tx.scalar(given.limit(1)) is not None:
        raise WrongState("pool.given", N_("%(name)s还有预占或已授予的配额,收回后才能停用"), name=where.name)
    commitments.must_have_none(tx, where.id)
    where.active = False
    tx.flush()
    tx.audit("pool.close", f"pool:{where.id}", before={"active": True}, after={"active": False}, reason=reason)
