"""机构调整: departments that merge, take over systems, or come under another: each one batch that can be undone.

All that a department has moves in one transaction: systems, resources, people, what waits for a decision, and its
quota, by one ledger transfer with the batch as its subject. A department that was merged is closed and put under its
successor, so that its history stays where it was and its successor's people see it.

The batch keeps what it moved. Undoing moves the same things back; a resource takes home what is booked for it *now*.
It is refused where the successor has put the unused quota to use meanwhile, and where something that was pending when
it moved has been decided since: then there is no telling whose it is, and a new batch must say so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select, update

from metering.cases import Case, State
from providers import orders
from providers.orders import WorkOrder
from quota import inventory, ledger
from quota.actors import Role
from quota.db import among, batches
from quota.directory import Adjustment, Department, Person, Reorganisation, System, departments, reorganisation
from quota.errors import N_, Invalid, OverCapacity, WrongState, reused, stated
from quota.inventory import Resource
from quota.ledger import OUT, Account, Hold, Holder, HoldState, Loan, LoanState
from quota.requests import OPEN, Request, RequestState
from quota.units import Arch, Commodity, amounts, classes

if TYPE_CHECKING:
    from quota.db import Tx

Booked = dict[tuple[int, Commodity], int]
"""Base units by pool and class."""


@dataclass(slots=True)
class Extent:
    """What a batch would move: shown before the button, then moved and kept."""

    children: list[int] = field(default_factory=list)
    systems: list[int] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    resources: list[int] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    cases: list[int] = field(default_factory=list)
    loans: list[int] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    quota: dict[tuple[int, Commodity, Holder], int] = field(default_factory=dict)


def extent(tx: Tx, kind: Adjustment, source_id: int, target_id: int | None, system_ids: Collection[int] = ()) -> Extent:
    """What the batch would move. Raises Invalid where it makes no sense, so for closed departments."""
    source = departments.department(tx, source_id)
    target = departments.department(tx, target_id) if target_id is not None else None
    if target is None and kind is not Adjustment.PARENT:
        raise Invalid("reorganisation.target", N_("请选择接收单位"), field="target")
    if target is not None and target.id == source.id:
        raise Invalid("ledger.same", N_("转出和转入不能是同一单位"), field="target")
    for one in (source, target):
        if one is not None:
            departments.must_be_open(one)
    if target is not None and kind is not Adjustment.SYSTEMS and target.id in departments.subtree(tx, source.id):
        raise Invalid("reorganisation.cycle", N_("不能并入或隶属于自己的下级单位"), field="target")
    if kind is Adjustment.PARENT:
        return Extent()
    return _all_of(tx, source.id) if kind is Adjustment.MERGE else _systems_of(tx, source.id, system_ids)


def reorganise(
    tx: Tx,
    kind: Adjustment,
    source_id: int,
    target_id: int | None,
    *,
    reason: str,
    key: str,
    system_ids: Collection[int] = (),
) -> Reorganisation:
    """Carry the batch out. The same ``key`` again returns the first."""
    tx.actor.must_be(Role.AUTHORITY)
    reason = stated(reason)
    tx.alone(key)
    # Before looking: whoever hands something in for either department waits for this batch, or this batch for him.
    both = [one for one in (source_id, target_id) if one is not None]
    tx.execute(select(Department.id).where(Department.id.in_(both)).order_by(Department.id).with_for_update())
    earlier = tx.scalar(select(Reorganisation).where(Reorganisation.key == key))
    if earlier is not None:
        if (earlier.kind, earlier.source_id, earlier.target_id) != (kind.value, source_id, target_id):
            raise reused(key)
        return earlier
    what = extent(tx, kind, source_id, target_id, system_ids)
    source = departments.department(tx, source_id)
    batch = Reorganisation(
        key=key,
        kind=kind.value,
        source_id=source_id,
        target_id=target_id,
        reason=reason,
        at=tx.now,
        by=tx.actor.login,
        moved={**_spelled(tx, what), "parent": source.parent_id},
    )
    tx.add(batch)
    tx.flush()
    if kind is not Adjustment.PARENT and target_id is not None:
        _move(tx, what, source_id, target_id, batch.subject, "move")
    if kind is Adjustment.MERGE:
        source.active = False
    if kind is not Adjustment.SYSTEMS:
        source.parent_id = target_id
    tx.flush()
    tx.audit(
        "department.reorganise",
        f"department:{source_id}",
        after={
            "batch": batch.id, "kind": kind, "target": target_id,
            **{name: len(ids) for name, ids in batch.moved.items() if isinstance(ids, list)},
        },
        reason=batch.reason,
    )  # fmt: skip
    return batch


def undo(tx: Tx, batch_id: int, *, reason: str) -> Reorganisation:
    """Move everything back. See the module for when that is refused."""
    tx.actor.must_be(Role.AUTHORITY)
    reason = stated(reason)
    batch = reorganisation(tx, batch_id)
    tx.refresh(batch, with_for_update=True)
    if batch.undone_at is not None:
        raise WrongState("reorganisation.undone", N_("这次机构调整已经撤销"))
    later = tx.scalar(
        select(Reorganisation.id).where(
            Reorganisation.id > batch.id,
            Reorganisation.undone_at.is_(None),
            or_(
                Reorganisation.source_id.in_([batch.source_id, batch.target_id]),
                Reorganisation.target_id.in_([batch.source_id, batch.target_id]),
            ),
        )
    )
    if later is not None:
        raise WrongState("reorganisation.later", N_("其后的机构调整 %(id)s 也涉及这些单位,须先撤销它"), id=later)
    source = departments.department(tx, batch.source_id)
    if batch.kind != Adjustment.PARENT.value and batch.target_id is not None:
        both = [batch.source_id, batch.target_id]
        tx.execute(select(Department.id).where(Department.id.in_(both)).order_by(Department.id).with_for_update())
        if batch.kind == Adjustment.MERGE.value:
            source.active = True
        _move(tx, _back(tx, batch), batch.target_id, batch.source_id, batch.subject, "undo")
    if batch.kind != Adjustment.SYSTEMS.value:
        source.parent_id = batch.moved["parent"]
    batch.undone_at, batch.undone_by = tx.now, tx.actor.login
    tx.flush()
    tx.audit("department.reorganise_undo", f"department:{batch.source_id}", after={"batch": batch.id}, reason=reason)
    return batch


# ----------------------------------------------------------------------------------------------------------- mechanism


def _all_of(tx: Tx, source_id: int) -> Extent:
    def ids(model: Any, *where: Any) -> list[int]:
        return list(tx.scalars(select(model.id).where(model.department_id == source_id, *where).order_by(model.id)))

    found = Extent(
        children=list(
            tx.scalars(select(Department.id).where(Department.parent_id == source_id).order_by(Department.id))
        ),
        systems=ids(System),
        people=ids(Person),
        resources=ids(Resource),
        requests=ids(Request, Request.state.in_([*OPEN, RequestState.DRAFT])),
        orders=ids(WorkOrder, WorkOrder.state.in_(orders.OPEN)),
        cases=ids(Case, Case.state != State.CLOSED.value),
        loans=list(
            tx.scalars(
                select(Loan.id)
                .where(
                    or_(Loan.lender_id == source_id, Loan.borrower_id == source_id),
                    Loan.state.in_([*OUT, LoanState.OFFERED.value]),
                )
                .order_by(Loan.id)
            )
        ),
        holds=_pending(tx, source_id),
    )
    for account in tx.scalars(select(Account).where(Account.department_id == source_id, Account.balance > 0)):
        if account.holder != Holder.HELD.value:
            found.quota[account.pool_id, account.commodity, Holder(account.holder)] = account.balance
    return found


def _systems_of(tx: Tx, source_id: int, system_ids: Collection[int]) -> Extent:
    systems = list(
        tx.scalars(
            select(System.id).where(System.department_id == source_id, among(System.id, system_ids)).order_by(System.id)
        )
    )
    if not systems or len(systems) != len(set(system_ids)):
        raise Invalid("reorganisation.systems", N_("请选择转出单位的信息系统"), field="systems")
    theirs = among(Resource.system_id, systems), Resource.department_id == source_id
    resources = list(tx.scalars(select(Resource).where(*theirs)))
    mine = select(Resource.id).where(*theirs)
    found = Extent(systems=systems, resources=sorted(one.id for one in resources))
    waiting: list[tuple[Any, ...]] = [
        (Request, Request.state.in_(OPEN), among(Request.system_id, systems)),
        (WorkOrder, WorkOrder.state.in_(orders.OPEN), WorkOrder.resource_id.in_(mine)),
        (Case, Case.state != State.CLOSED.value, Case.resource_id.in_(mine)),
    ]
    for model, *where in waiting:
        if tx.scalar(select(model.id).where(*where).limit(1)) is not None:
            raise WrongState("reorganisation.waiting", N_("这些系统还有未办结的申请、工单或案件,请办结后再划转"))
    for place, amount in _booked(resources).items():
        found.quota[*place, Holder.USED] = amount
    return found


def _back(tx: Tx, batch: Reorganisation) -> Extent:
    """What goes back: the same things, a resource with what is booked for it now."""
    moved = batch.moved
    for model, states, word in (
        (Request, moved["states"]["requests"], N_("申请")),
        (WorkOrder, moved["states"]["orders"], N_("工单")),
        (Case, moved["states"]["cases"], N_("案件")),
        (Loan, moved["states"]["loans"], N_("出借")),
        (Hold, moved["states"]["holds"], N_("预占")),
    ):
        for id_, state in states.items():
            if tx.scalar(select(model.state).where(model.id == int(id_))) != state:
                raise WrongState(
                    "reorganisation.decided",
                    N_("调整之后,%(kind)s %(id)s 已有变化,不能原样撤销;请另做一次划转"),
                    kind=word,
                    id=id_,
                )
    home = [one for one in _resources(tx, moved["resources"]) if one.department_id == batch.target_id]
    found = Extent(
        **{name: moved[name] for name in ("children", "systems", "people", "requests", "orders", "cases", "loans")},
        resources=sorted(one.id for one in home),
        holds=list(tx.scalars(select(Hold).where(among(Hold.id, map(int, moved["states"]["holds"]))))),
    )
    now = _booked(home)
    was = {(row[0], Commodity.parse(row[1])): row[2] for row in moved["booked"]}
    for pool_id, spelled, holder, amount in moved["quota"]:
        found.quota[pool_id, Commodity.parse(spelled), Holder(holder)] = amount
    for place in {*now, *was}:
        used = (*place, Holder.USED)
        found.quota[used] = found.quota.get(used, 0) + now.get(place, 0) - was.get(place, 0)
    found.quota = {place: amount for place, amount in found.quota.items() if amount > 0}
    return found


def _move(tx: Tx, what: Extent, source_id: int, target_id: int, subject: str, step: str) -> None:
    owned: list[tuple[Any, list[int]]] = [
        (System, what.systems), (Person, what.people), (Request, what.requests), (WorkOrder, what.orders),
        (Case, what.cases),
    ]  # fmt: skip
    for model, rows in owned:
        _assign(tx, model, rows, source_id, target_id)
    tx.execute(update(Department).where(among(Department.id, what.children)).values(parent_id=target_id))
    for one in tx.scalars(select(Loan).where(among(Loan.id, what.loans)).with_for_update()):
        if {one.lender_id, one.borrower_id} == {source_id, target_id}:
            raise WrongState("reorganisation.loan", N_("两单位之间还有未了结的出借,请先归还或撤销"))
        one.lender_id = target_id if one.lender_id == source_id else one.lender_id
        one.borrower_id = target_id if one.borrower_id == source_id else one.borrower_id
        one.generation += 1
    inventory.reassign(tx, what.resources, target_id, source=subject)
    if what.quota or what.holds:
        try:
            ledger.hand_over(
                tx, source_id, target_id, what.quota, key=f"{subject}/{step}", subject=subject, holds=what.holds
            )
        except OverCapacity as short:
            raise OverCapacity(
                "reorganisation.short",
                N_("转出单位的%(kind)s不足以随迁:需要 %(need)s,只有 %(have)s %(unit)s"),
                **short.params,
            ) from short
    tx.flush()
    tx.expire_all()


def _assign(tx: Tx, model: Any, rows: Sequence[int], source_id: int, target_id: int) -> None:
    """Give rows of ``model`` to the target; those that somebody gave to a third department meanwhile stay there."""
    if not rows:
        return
    values: dict[str, Any] = {"department_id": target_id}
    if model is Person:
        values["session_epoch"] = Person.session_epoch + 1  # what they may see changes: they log in again
    for part in batches(rows):
        tx.execute(
            update(model)
            .where(model.id.in_(part), model.department_id == source_id)
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def _resources(tx: Tx, ids: Sequence[int]) -> list[Resource]:
    found = (tx.scalars(select(Resource).where(Resource.id.in_(part)).order_by(Resource.id)) for part in batches(ids))
    return list(chain.from_iterable(found))


def _pending(tx: Tx, department_id: int) -> list[Hold]:
    return list(
        tx.scalars(select(Hold).where(Hold.department_id == department_id, Hold.state == HoldState.PENDING.value))
    )


def _booked(resources: Sequence[Resource]) -> Booked:
    found: Booked = {}
    for one in resources:
        for cls, figure in classes(amounts(one.booked), Arch(one.pool.arch)).items():
            found[one.pool_id, cls] = found.get((one.pool_id, cls), 0) + figure
    return found


def _spelled(tx: Tx, what: Extent) -> dict[str, Any]:
    """What was moved, as JSON: ids, quota, what is booked for the resources, and the state of what was pending."""

    def states(model: Any, rows: Sequence[int]) -> dict[str, str]:
        some = (tx.execute(select(model.id, model.state).where(model.id.in_(part))) for part in batches(rows))
        return {str(id_): state for id_, state in chain.from_iterable(some)}

    resources = _resources(tx, what.resources)
    return {
        "children": what.children,
        "systems": what.systems,
        "people": what.people,
        "resources": what.resources,
        "requests": what.requests,
        "orders": what.orders,
        "cases": what.cases,
        "loans": what.loans,
        "quota": [[pool, str(cls), holder.value, amount] for (pool, cls, holder), amount in sorted(what.quota.items())],
        "booked": [[pool, str(cls), amount] for (pool, cls), amount in sorted(_booked(resources).items())],
        "states": {
            "requests": states(Request, what.requests),
            "orders": states(WorkOrder, what.orders),
            "cases": states(Case, what.cases),
            "loans": states(Loan, what.loans),
            "holds": {str(one.id): one.state for one in what.holds},
        },
    }
