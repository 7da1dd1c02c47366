"""The tree of quota: city, district or department, unit, system. Who may share out what lies with a node, and the proof that no storey
gave more than it has.

The authority may act for every node; a person of a department whom the security administrator made its quota manager
(配额统筹) for that department and for all below it, without anybody above.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, literal_column, or_, select, union_all

from quota.actors import Actor, Role
from quota.directory import Person, System, departments
from quota.errors import N_, NotAllowed
from quota.ledger import allocations, entries
from quota.ledger.allocations import Allocation
from quota.ledger.lending import OUT, Loan
from quota.ledger.tables import OWNED, Account, Hold, Holder, HoldState, Side, SystemShare
from quota.units import Commodity

if TYPE_CHECKING:
    from quota.db import Tx


def manages(tx: Tx, actor: Actor) -> set[int] | None:
    """Ids of the nodes whose quota this actor may share out; None: every one."""
    if actor.role is Role.AUTHORITY:
        return None
    if actor.role is not Role.TENANT or actor.department_id is None:
        return set()
    manager = select(Person.id).where(
        Person.login == actor.login, Person.department_id == actor.department_id, Person.quota_manager
    )
    return departments.subtree(tx, actor.department_id) if tx.scalar(manager) is not None else set()


def must_manage(tx: Tx, node_id: int | None) -> None:
    """Raise NotAllowed unless this actor may share out what lies with ``node_id`` (None: with the city)."""
    found = manages(tx, tx.actor)
    if found is not None and node_id not in found:
        raise NotAllowed("tree.not_yours", N_("只有主管部门或该单位(及其上级)的配额统筹人员可以这样调配"))


def margin(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that the department has beyond what was given to it from above or for a time: what it has, gave on and lent,
    less what it was given. Below zero never, but in the midst of a reorganisation."""
    sides = [Side(pool_id, cls, holder, department_id) for holder in OWNED]
    if tx.writes:
        entries.lock(tx, sides)
    lent = select(func.sum(Loan.amount - Loan.returned)).where(
        Loan.lender_id == department_id,
        Loan.pool_id == pool_id,
        Loan.kind == cls.kind,
        Loan.arch == cls.arch.value,
        Loan.state.in_(OUT),
    )
    return (
        sum(entries.balance(tx, side) for side in sides)
        - entries.held_of_pool(tx, pool_id, cls, department_id)
        + allocations.shared(tx, pool_id, cls, department_id)
        + int(tx.scalar(lent) or 0)
        - allocations.received(tx, pool_id, cls, department_id)
    )


def check(tx: Tx) -> Iterator[str]:
    """One query over all nodes, pools and classes: a sentence for each node that was given, or gave on, what is not there, and for
    each whose systems have other than what it set apart for them."""
    place = ("pool_id", "kind", "arch")
    owned = [one.value for one in OWNED]
    nodes: Any = literal_column("0").label("level")
    systems: Any = literal_column("1").label("level")
    pending = Hold.state == HoldState.PENDING.value
    parts = union_all(
        select(nodes, Account.department_id.label("node"), *(getattr(Account, one) for one in place), Account.balance.label("n"))
        .where(Account.holder.in_(owned)),
        select(nodes, Hold.department_id, *(getattr(Hold, one) for one in place), -Hold.amount)
        .where(pending, Hold.source == Holder.FREE.value),
        select(nodes, Allocation.giver_id, *(getattr(Allocation, one) for one in place), Allocation.amount - Allocation.returned)
        .where(Allocation.giver_id.is_not(None)),
        select(nodes, Allocation.receiver_id, *(getattr(Allocation, one) for one in place), Allocation.returned - Allocation.amount),
        select(nodes, Loan.lender_id, *(getattr(Loan, one) for one in place), Loan.amount - Loan.returned)
        .where(Loan.state.in_(OUT)),
        select(systems, Account.department_id, *(getattr(Account, one) for one in place), Account.balance)
        .where(Account.holder == Holder.SHARED.value),
        select(systems, Hold.department_id, *(getattr(Hold, one) for one in place), Hold.amount)
        .where(pending, Hold.source == Holder.SHARED.value),
        select(systems, System.department_id, *(getattr(SystemShare, one) for one in place), SystemShare.used - SystemShare.amount)
        .join(System, System.id == SystemShare.system_id),
    ).subquery()  # fmt: skip
    level, total = parts.c.level, func.sum(parts.c.n)
    key = (level, parts.c.node, parts.c.pool_id, parts.c.kind, parts.c.arch)
    wrong = or_(and_(level == 0, total < 0), and_(level == 1, total != 0))
    for of_systems, node, pool_id, kind, arch, over in tx.execute(
        select(*key, total).group_by(*key).having(wrong).order_by(*key)
    ):
        if of_systems:
            yield (
                f"system_shares: department {node} has set apart {int(over):+} beside what its systems have "
                f"in {pool_id}/{kind}:{arch}"
            )
        else:
            yield f"allocations: department {node} lacks {-int(over)} of what was given to it in {pool_id}/{kind}:{arch}"
