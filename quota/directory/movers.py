"""Movers: what a reorganisation takes along. Each storey registers what lies on it; the step itself knows none of them.

A mover finds what lies with a department, says it to the page, moves it, and later says what of it can go back. Whoever adds
a table with a department's column registers a mover for it, or has a reason not to (tests/quota/test_movers.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, or_, select, update

from quota.db import among, batches
from quota.errors import N_, Invalid, WrongState

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.units import Commodity


class Adjustment(StrEnum):
    MERGE = "merge"  # the source is closed, the target takes over all
    SYSTEMS = "systems"  # the target takes over some systems with their resources and what these use
    PARENT = "parent"  # the source comes under the target
    SPLIT = "split"  # a new department takes systems with all that is about them, people, a share of the quota


LABELS = {
    Adjustment.MERGE: N_("合并"),
    Adjustment.SYSTEMS: N_("系统划转"),
    Adjustment.PARENT: N_("隶属调整"),
    Adjustment.SPLIT: N_("拆分"),
}


@dataclass(frozen=True, slots=True)
class ReorganisationStep:
    """Ids of two departments: what lies with ``source_id`` goes to ``target_id``; of PARENT the source itself comes under the target
    (0: the top). With SYSTEMS and SPLIT the ids of the ``systems`` that go; with SPLIT besides, mover → ids of what was ``chosen``, the
    ``share`` of the unused quota in percent, and, while the target is yet to be entered, the department that it will lie ``under``
    (0: the top). ``subject`` names the batch, and ``undoing`` whether it is on its way back."""

    kind: Adjustment
    source_id: int
    target_id: int
    systems: frozenset[int] = frozenset()
    chosen: Mapping[str, frozenset[int]] = field(default_factory=dict)
    share: int = 0
    under: int = 0
    subject: str = ""
    undoing: bool = False


@dataclass(slots=True)
class Part:
    """What one mover moves: ``rows`` (ids, or rows of JSON), and id → state of each that waits for somebody's decision.
    ``more``: whatever else it must know to move it back, by keys of its own. In the ledger what moves has ``holds`` under these
    subjects, has ``used`` base units by pool and class that no resource is booked for yet, has ``borrowed`` some and does not use them,
    and has ``lent`` some, which the tree counts as its own: movers after it see to them."""

    rows: list[Any] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    used: dict[tuple[int, Commodity], int] = field(default_factory=dict)
    borrowed: dict[tuple[int, Commodity], int] = field(default_factory=dict)
    lent: dict[tuple[int, Commodity], int] = field(default_factory=dict)


Parts = Mapping[str, Part]
"""By the names of their movers: what was found so far, in their order."""


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What a page says of a part before it is moved: how many ``label``; ``amounts``: rows of (class, whose state as words,
    base units)."""

    label: str
    count: int
    amounts: Sequence[tuple[Commodity, str, int]] = ()


class Mover:
    """What moves one kind of thing. ``name`` is the key under which a batch keeps it, ``columns`` are the departments' columns
    that it answers for (table.column); ``kinds`` are the steps that it takes part in."""

    name: str
    columns: tuple[str, ...] = ()
    kinds: frozenset[Adjustment] = frozenset({Adjustment.MERGE, Adjustment.SYSTEMS, Adjustment.SPLIT})

    def find(self, tx: Tx, step: ReorganisationStep, found: Parts) -> Part:
        """What would move. Raises Invalid or WrongState where the step cannot be."""
        raise NotImplementedError

    def told(self, part: Part) -> list[PartSummary]:
        """What the page says of it."""
        raise NotImplementedError

    def move(self, tx: Tx, step: ReorganisationStep, part: Part) -> None:
        """Give it from the source to the target."""
        raise NotImplementedError

    def back(self, tx: Tx, step: ReorganisationStep, part: Part, found: Parts) -> Part:
        """What of ``part``, which was moved, goes from ``step``'s source home to its target. Raises WrongState where there is no
        telling whose it is by now."""
        del tx, step, found
        return part

    def keep(self, part: Part) -> dict[str, Any]:
        """The part as the batch keeps it: JSON by keys that no other mover uses, but for ``states``."""
        return {self.name: part.rows, "states": {self.name: part.states} if part.states else {}, **part.more}

    def kept(self, moved: Mapping[str, Any]) -> Part:
        """The part of a batch that was made once: nothing, where this mover did not exist by then."""
        return Part(list(moved.get(self.name, ())), dict(moved.get("states", {}).get(self.name, {})))


class Rows(Mover):
    """Rows of one table, each lying with a department by ``column``: with a merger they go along, all or those whose ``state``
    is among ``waiting``; with systems none do, and what waits about these systems ``forbids`` it; with a split go those that are
    ``about`` what goes, and what was chosen of those that are ``free`` to be.

    ``noun`` is what one of them is called, ``label`` the count of them.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        label: str,
        *,
        column: str = "department_id",
        noun: str = "",
        waiting: Sequence[str] | None = None,
    ) -> None:
        self.name, self.model, self.label, self.noun = name, model, label, noun
        self.column, self.waiting = column, waiting
        self.columns = self.columns or (f"{model.__tablename__}.{column}",)

    def find(self, tx: Tx, step: ReorganisationStep, found: Parts) -> Part:
        if step.kind is Adjustment.SYSTEMS:
            forbidding = self.forbids(found)
            if forbidding is not None and tx.scalar(select(self.model.id).where(forbidding).limit(1)) is not None:
                raise WrongState("reorganisation.waiting", N_("这些系统还有未办结的申请、工单或案件,请办结后再划转"))
            return Part()
        if step.kind is Adjustment.SPLIT:
            return self._split(tx, step, found)
        query = select(self.model).where(getattr(self.model, self.column) == step.source_id).order_by(self.model.id)
        if self.waiting is None:
            return Part(list(tx.scalars(query.with_only_columns(self.model.id))))
        states = tx.execute(
            query.where(self.model.state.in_(self.waiting)).with_only_columns(self.model.id, self.model.state)
        )
        return pending(states)

    def forbids(self, found: Parts) -> ColumnElement[bool] | None:
        """Which rows, while there are any, keep the systems that were found from going; None where no row can."""
        del found
        return None

    def about(self, found: Parts) -> ColumnElement[bool] | None:
        """Which rows go with what was found, in a split."""
        return self.forbids(found)

    def free(self) -> ColumnElement[bool] | None:
        """Which rows go with nothing else, and may be chosen one by one in a split; None where none may."""
        return None

    def choosable(self, source_id: int) -> ColumnElement[bool] | None:
        """The department's own of these."""
        free = self.free()
        return None if free is None else and_(getattr(self.model, self.column) == source_id, free)

    def called(self, row: Any) -> str:
        """What tells one that may be chosen from others of its ``noun``."""
        return str(row.number)

    def _split(self, tx: Tx, step: ReorganisationStep, found: Parts) -> Part:
        about, choosable = self.about(found), self.choosable(step.source_id)
        chosen = step.chosen.get(self.name, frozenset())
        ways = [] if about is None else [and_(getattr(self.model, self.column) == step.source_id, about)]
        if chosen and choosable is not None:
            mine = and_(among(self.model.id, chosen), choosable)
            if set(tx.scalars(select(self.model.id).where(mine))) != chosen:
                raise Invalid(
                    "reorganisation.chosen", N_("所选的%(kind)s不属于转出单位,或已不能单独选择"), kind=self.label
                )
            ways.append(mine)
        if not ways:
            return Part()
        query = select(self.model.id).where(or_(*ways)).order_by(self.model.id)
        if self.waiting is None:
            return Part(list(tx.scalars(query)))
        return pending((id_, state) for id_, state in tx.execute(query.add_columns(self.model.state)))

    def told(self, part: Part) -> list[PartSummary]:
        return [PartSummary(self.label, len(part.rows))]

    def move(self, tx: Tx, step: ReorganisationStep, part: Part) -> None:
        """Those that somebody gave to a third department meanwhile stay there."""
        column = getattr(self.model, self.column)
        for some in batches(part.rows):
            tx.execute(
                update(self.model)
                .where(self.model.id.in_(some), column == step.source_id)
                .values({self.column: step.target_id, **self.beside()})
                .execution_options(synchronize_session=False)
            )

    def beside(self) -> dict[str, Any]:
        """What else a row that moves is given: column → value."""
        return {}

    def back(self, tx: Tx, step: ReorganisationStep, part: Part, found: Parts) -> Part:
        del step, found
        undecided(tx, self.model, part.states, self.noun)
        return part


def undecided(tx: Tx, model: Any, states: Mapping[str, str], noun: str) -> None:
    """Raise WrongState where one of the rows is in another state than when it was moved. ``noun``: what one is called."""
    now: dict[str, str] = {}
    for some in batches([int(id_) for id_ in states]):
        now |= {str(id_): state for id_, state in tx.execute(select(model.id, model.state).where(model.id.in_(some)))}
    for id_, state in states.items():
        if now.get(id_) != state:
            raise decided(noun, id_)


def decided(noun: str, id_: int | str) -> WrongState:
    """That row ``id_`` has changed since it was moved."""
    return WrongState(
        "reorganisation.decided",
        N_("调整之后,%(kind)s %(id)s 已有变化,不能原样撤销;请另做一次划转"),
        kind=noun,
        id=id_,
    )


def pending(rows: Iterable[tuple[int, str]]) -> Part:
    """The part of rows (id, state) that wait for a decision."""
    found = list(rows)
    return Part([id_ for id_, _state in found], {str(id_): state for id_, state in found})


_movers: dict[str, tuple[int, Mover]] = {}


def register(mover: Mover, *, order: int) -> Mover:
    """Have every reorganisation take along what ``mover`` finds. It is asked in ``order``, lowest first: later movers see what
    earlier ones found. A storey keeps to its hundreds: directory, ledger, inventory, requests 0-399, providers 500-599,
    metering 700-799; but what has holds or uses quota of its own comes before quota (220)."""
    if mover.name in _movers or mover.name in ("states", "parent", "registered"):
        raise ValueError(f"a mover named {mover.name!r} is registered already, or the name is the batch's own")
    _movers[mover.name] = (order, mover)
    return mover


def movers() -> list[Mover]:
    """All that are registered, in their order."""
    return [mover for _order, mover in sorted(_movers.values(), key=lambda one: (one[0], one[1].name))]
