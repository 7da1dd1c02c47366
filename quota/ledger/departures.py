"""What a reorganisation does to allocations, when quota leaves the node of the tree that it lay with.

An allocation goes along where its giver stands above the new place, too. From any other giver it is written off: the quota has
left that one's branch. Where the giver is then short of what it was given itself, that is written off as well, and so on
upward, until the city or a node above both places is reached: from there it is given anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from quota.db import among
from quota.directory import departments
from quota.errors import N_, WrongState
from quota.ledger import allocations, tree
from quota.ledger.allocations import OPEN, Allocation, AllocationState
from quota.units import Commodity

if TYPE_CHECKING:
    from quota.db import Tx

Fields = dict[str, Any]
"""Of an allocation: giver, receiver and returned."""


@dataclass(slots=True)
class Departure:
    """A plan; nothing is written while it is made. What leaves is afterwards under ``target_id`` and what is above that (0: the
    top). ``changed``: id → the allocation's fields afterwards; ``made``: rows of [giver, receiver, pool, class, amount, ends on]."""

    tx: Tx
    target_id: int
    over: set[int | None] = field(default_factory=set)
    seen: dict[int, Allocation] = field(default_factory=dict)
    changed: dict[int, Fields] = field(default_factory=dict)
    made: list[list[Any]] = field(default_factory=list)
    lost: dict[tuple[int, int, Commodity], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.over = {None, *departments.above(self.tx, self.target_id or None)}

    def merged(self, source_id: int) -> None:
        """All of ``source_id`` goes to the target: what it was given, and what it gave to those below it."""
        for one in self._open(or_(Allocation.giver_id == source_id, Allocation.receiver_id == source_id)):
            if self.target_id in (one.giver_id, one.receiver_id):  # between the two: nobody gave it any more
                self._change(one, returned=one.amount)
            elif one.giver_id == source_id:
                self._change(one, giver=self.target_id)
            elif one.giver_id in self.over:
                self._change(one, receiver=self.target_id)
            else:
                self._write_off(one, one.outstanding, self.target_id)

    def placed(self, source_id: int) -> None:
        """``source_id`` with all below it comes under the target."""
        below = departments.subtree(self.tx, source_id)
        for one in self._open(among(Allocation.receiver_id, below)):
            if one.giver_id not in self.over and one.giver_id not in below:
                self._write_off(one, one.outstanding, one.receiver_id)

    def left(self, source_id: int, pool_id: int, cls: Commodity, amount: int, heir_id: int) -> None:
        """``amount`` base units of what ``source_id`` has go to ``heir_id``: first what is its own, then what it was given."""
        place = (source_id, pool_id, cls)
        margin = max(tree.margin(self.tx, pool_id, cls, source_id) - self.lost.get(place, 0), 0)
        self.lost[place] = self.lost.get(place, 0) + min(amount, margin)
        short = amount - min(amount, margin)
        received = self._open(
            Allocation.receiver_id == source_id,
            Allocation.pool_id == pool_id,
            Allocation.kind == cls.kind,
            Allocation.arch == cls.arch.value,
        )
        for one in sorted(received, key=allocations.going_back):
            take = min(short, one.amount - self._of(one)["returned"])
            if take > 0:
                self._write_off(one, take, heir_id)
                short -= take

    def rows(self) -> list[list[Any]]:
        """What was changed: [id, fields before, fields after]."""
        return [[id_, fields(self.seen[id_]), after] for id_, after in sorted(self.changed.items())]

    def _write_off(self, allocation: Allocation, amount: int, heir_id: int) -> None:
        self._change(allocation, returned=self._of(allocation)["returned"] + amount)
        if allocation.giver_id == heir_id:
            return
        if allocation.giver_id in self.over:
            ends = allocation.ends_on.isoformat() if allocation.ends_on else None
            if allocation.giver_id is not None or ends:  # what the city gave for good needs no allocation
                self.made.append(
                    [allocation.giver_id, heir_id, allocation.pool_id, str(allocation.commodity), amount, ends]
                )
        elif allocation.giver_id is not None:
            self.left(allocation.giver_id, allocation.pool_id, allocation.commodity, amount, heir_id)

    def _open(self, *where: Any) -> list[Allocation]:
        found = self.tx.scalars(select(Allocation).where(*where, Allocation.state.in_(OPEN)).order_by(Allocation.id))
        return [self.seen.setdefault(one.id, one) for one in found]

    def _of(self, allocation: Allocation) -> Fields:
        return self.changed.get(allocation.id) or fields(allocation)

    def _change(self, allocation: Allocation, **what: Any) -> None:
        self.changed[allocation.id] = {**self._of(allocation), **what}


def fields(allocation: Allocation) -> Fields:
    return {"giver": allocation.giver_id, "receiver": allocation.receiver_id, "returned": allocation.returned}


def carry_out(tx: Tx, rows: Iterable[list[Any]], made: Iterable[list[Any]], key: str) -> None:
    """Write the plan down. Raises WrongState where an allocation is not as it was planned with any more."""
    for id_, before, after in rows:
        _rewrite(tx, id_, before, after)
    for n, (giver_id, receiver_id, pool_id, cls, amount, ends) in enumerate(made):
        allocations.enter(
            tx, giver_id, receiver_id, pool_id, Commodity.parse(cls), amount,
            key=f"{key}/{n}", reason=key, ends_on=allocations.day(ends),
        )  # fmt: skip


def undo(tx: Tx, rows: Iterable[list[Any]], made: Iterable[list[Any]], key: str) -> None:
    """Everything as it was before. Raises WrongState where an allocation has changed since."""
    for n, (giver_id, receiver_id, _pool, _cls, amount, _ends) in enumerate(made):
        one = tx.scalar(select(Allocation).where(Allocation.key == f"{key}/{n}"))
        if one is not None:
            before = {"giver": giver_id, "receiver": receiver_id, "returned": 0}
            _rewrite(tx, one.id, before, {**before, "returned": amount})
    for id_, before, after in rows:
        _rewrite(tx, id_, after, before)


def _rewrite(tx: Tx, id_: int, before: Fields, after: Fields) -> None:
    one = tx.lock(tx.get_one(Allocation, id_))
    if fields(one) != before:
        raise WrongState("reorganisation.shares", N_("其间额度 %(id)s 又经下拨或收回,请核对后另做一次调整"), id=id_)
    one.giver_id, one.receiver_id, one.returned = after["giver"], after["receiver"], after["returned"]
    one.generation += 1
    if one.returned == one.amount:
        one.state = AllocationState.ENDED.value
    elif one.state == AllocationState.ENDED.value:
        one.state = AllocationState.RUNNING.value
    tx.flush()
