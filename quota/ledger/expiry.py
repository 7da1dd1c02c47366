"""Quota that was given for a time: what its end does, and what comes before and after it.

    running ─(last day passed)▶ unused goes back to who gave it ▶ ended
                                  └─ part of it still in use ▶ overdue ─(falls free, or is extended)▶ ended, running

At its end ``settle`` (a job) takes back what is unused: with the receiver first, then with those it shared out to. **What is in
use stays in use**: the clock stops nothing. The rest is overdue: both sides see it and are told, its giver extends it, or it goes
home by itself as it falls free. ``remind`` tells the receiver beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota.actors import Role
from quota.calendar import ZONE
from quota.directory import Department, departments
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, stated
from quota.ledger import allocations, entries, lending, tree
from quota.ledger.allocations import OPEN, Allocation, AllocationState
from quota.ledger.tables import Holder
from quota.units import Commodity

if TYPE_CHECKING:
    from quota.db import Tx

NOTICE_DAYS = 30
"""So long before its end the receiver of an allocation is told."""

LONGEST_DAYS = 5 * 366
"""No end lies further ahead."""


def check_end(tx: Tx, ends_on: date | None) -> None:
    """Raise Invalid for a last day that is over already, or too far ahead."""
    today = tx.now.astimezone(ZONE).date()
    if ends_on is not None and not today <= ends_on <= today + timedelta(days=LONGEST_DAYS):
        raise Invalid("allocation.ends", N_("有效期的最后一天不能早于今天，也不能晚于五年以后"), field="ends_on")


def allocation(tx: Tx, allocation_id: int) -> Allocation:
    """The allocation, or NotFound."""
    found = tx.get(Allocation, allocation_id)
    if found is None:
        raise NotFound("allocation.none", N_("没有编号为 %(id)s 的额度"), id=allocation_id)
    return found


def extend(tx: Tx, allocation_id: int, ends_on: date | None, *, generation: int, reason: str) -> Allocation:
    """Who may share out what lies with its giver sets another last day (None: for good). Raises Conflict for one that is not as the
    page showed it, WrongState for one that has ended."""
    found = allocation(tx, allocation_id)
    tree.must_manage(tx, found.giver_id)
    reason = stated(reason)
    check_end(tx, ends_on)
    tx.lock_as_shown(found, generation, Conflict("allocation.stale", N_("这笔额度已有变动,请核对后再办理")))
    if found.state not in OPEN:
        raise WrongState("allocation.ended", N_("这笔额度已全部收回"))
    if ends_on == found.ends_on:
        raise Invalid("allocation.same", N_("有效期没有变化"), field="ends_on")
    before = {"ends_on": found.ends_on, "state": found.state}
    found.ends_on, found.state = ends_on, AllocationState.RUNNING.value
    found.told_at = found.overdue_at = None
    found.generation += 1
    tx.flush()
    after = {"ends_on": ends_on, "state": found.state}
    tx.audit("allocation.extend", found.subject, before=before, after=after, reason=reason)
    return found


def remind(tx: Tx) -> list[Allocation]:
    """Mark as told what ends within NOTICE_DAYS: the post writes about it, once. Returns it."""
    tx.actor.must_be(Role.SYSTEM)
    today = tx.now.astimezone(ZONE).date()
    near = tx.scalars(
        select(Allocation)
        .where(
            Allocation.state == AllocationState.RUNNING.value,
            Allocation.ends_on <= today + timedelta(days=NOTICE_DAYS),
            Allocation.told_at.is_(None),
        )
        .order_by(Allocation.id)
        .with_for_update()
    ).all()
    for one in near:
        one.told_at = tx.now
        tx.audit("allocation.remind", one.subject, after={"ends_on": one.ends_on, "outstanding": one.outstanding})
    tx.flush()
    return list(near)


def settle(tx: Tx) -> list[Allocation]:
    """Take back what has ended, what ended first before others; what is still in use becomes overdue, and is tried again next time.
    Returns the allocations that changed."""
    tx.actor.must_be(Role.SYSTEM, Role.AUTHORITY)
    today = tx.now.astimezone(ZONE).date()
    ended = select(Allocation).where(Allocation.state.in_(OPEN), Allocation.ends_on < today)
    due = tx.scalars(ended.order_by(Allocation.ends_on, Allocation.id)).all()
    _lock(tx, due)
    done = []
    for one in due:
        tx.lock(one)
        back = _take_home(tx, one)
        if one.outstanding and one.state != AllocationState.OVERDUE.value:
            one.state, one.overdue_at = AllocationState.OVERDUE.value, tx.now
            tx.audit("allocation.overdue", one.subject, after={"outstanding": one.outstanding})
        elif not back:
            continue
        one.generation += 1
        done.append(one)
    tx.flush()
    return done


def _lock(tx: Tx, due: Sequence[Allocation]) -> None:
    """Every node that may give something back, in the one order that acts on the tree keep."""
    below = departments.subtrees(tx, {one.receiver_id for one in due}).values() if due else []
    nodes = {one.giver_id for one in due if one.giver_id is not None}.union(*below)
    tx.execute(
        select(Department.id).where(Department.id.in_(nodes)).order_by(Department.id).with_for_update(key_share=True)
    )


def _take_home(tx: Tx, allocation: Allocation) -> int:
    """Give back what of it is unused; the base units that went."""
    has = _call_home(
        tx,
        allocation.receiver_id,
        allocation.pool_id,
        allocation.commodity,
        allocation.outstanding,
        f"{allocation.subject}/end",
    )
    if has:
        _give_back(tx, allocation, has, f"{allocation.subject}/end/{allocation.returned}")
        tx.audit(
            "allocation.end",
            allocation.subject,
            after={"returned": allocation.returned, "outstanding": allocation.outstanding},
        )
    return has


def _call_home(tx: Tx, node_id: int, pool_id: int, cls: Commodity, wanted: int, key: str) -> int:
    """Up to ``wanted`` unused base units that lie with the node, once what it shared out and is unused came back."""
    has = lending.lendable(tx, pool_id, cls, node_id)
    if has >= wanted:
        return wanted
    given = select(Allocation).where(
        Allocation.giver_id == node_id,
        Allocation.pool_id == pool_id,
        Allocation.kind == cls.kind,
        Allocation.arch == cls.arch.value,
        Allocation.state.in_(OPEN),
    )
    for below in sorted(tx.scalars(given), key=allocations.going_back):
        missing = min(wanted - has, below.outstanding)
        back = _call_home(tx, below.receiver_id, pool_id, cls, missing, key) if missing else 0
        if back:
            _give_back(tx, below, back, f"{key}/{below.id}/{below.returned}")
            has += back
    return min(has, wanted)


def _give_back(tx: Tx, allocation: Allocation, amount: int, key: str) -> None:
    what = {allocation.commodity: amount}
    if allocation.giver_id is None:
        entries.reclaim(
            tx,
            allocation.pool_id,
            allocation.receiver_id,
            what,
            key=key,
            source=Holder.GRANTED,
            subject=allocation.subject,
        )
    else:
        owned = {(allocation.pool_id, allocation.commodity, Holder.GRANTED): amount}
        entries.hand_over(
            tx, allocation.receiver_id, allocation.giver_id, owned, key=key, subject=allocation.subject, command="take_back"
        )  # fmt: skip
    allocations.lessen(tx, [allocation], amount)
