"""机构调整: departments that merge, split, take over systems, or come under another: each one batch that can be undone.

All that a department has moves in one transaction, storey by storey, as each registered it (``quota.directory.movers``):
systems, resources, people, what waits for a decision, and its quota, by one ledger transfer with the batch as its subject. A
department that was merged is closed and put under its successor, so that its history stays where it was and its successor's
people see it. A split is the other way round: a department that is entered with it, or is there and has nothing, takes what was
chosen, all that is about it, and a share of the quota that is granted and unused.

The batch keeps what it moved. Undoing moves the same things back; a resource takes home what is booked for it *now*.
It is refused where the successor has put the unused quota to use meanwhile, and where something that was pending when
it moved has been decided since: then there is no telling whose it is, and a new batch must say so. A department that was entered
with a split is closed again, under its source; undoing is refused while it has anything of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint, or_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.directory import departments
from quota.directory.departments import Department
from quota.directory.movers import LABELS, Adjustment, Mover, Part, PartSummary, ReorganisationStep, Rows, movers
from quota.errors import N_, Invalid, NotFound, WrongState, reused, stated

if TYPE_CHECKING:
    from quota.db import Tx

__all__ = [
    "LABELS", "Adjustment", "Division", "Reorganisation", "choosable", "preview", "reorganisation", "reorganise", "undo",
]  # fmt: skip

PLACING = frozenset({Adjustment.MERGE, Adjustment.PARENT})
"""After these the source lies under the target."""


@dataclass(frozen=True, slots=True)
class Division:
    """What a split takes beside systems: mover → ids of what was ``chosen``, and the ``share`` of the unused quota in percent. Where
    no target is named: ``code``, ``name`` and superior of the department that is entered for it."""

    chosen: Mapping[str, frozenset[int]] = field(default_factory=dict)
    share: int = 0
    code: str = ""
    name: str = ""
    parent_id: int | None = None


class Reorganisation(Base):
    """One batch. ``moved`` (JSON) is what it moved, enough to move it back: by mover what it moved, ``states`` of what waited
    for a decision, ``parent`` the department that the source lay under, ``registered`` whether its target was entered with it."""

    __tablename__ = "reorganisations"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("(undone_at IS NULL) = (undone_by = '')", name="undone"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(8))
    source_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    target_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)  # None: the top
    reason: Mapped[str] = mapped_column(Text)
    moved: Mapped[dict[str, Any]]
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(64))
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str] = mapped_column(String(64), default="")

    source: Mapped[Department] = relationship(foreign_keys=[source_id])
    target: Mapped[Department | None] = relationship(foreign_keys=[target_id])

    @property
    def subject(self) -> str:
        return f"reorganisation:{self.id}"


def reorganisation(tx: Tx, batch_id: int) -> Reorganisation:
    """The batch, or NotFound."""
    found = tx.get(Reorganisation, batch_id)
    if found is None:
        raise NotFound("reorganisation.none", N_("没有编号为 %(id)s 的机构调整"), id=batch_id)
    return found


def preview(
    tx: Tx,
    kind: Adjustment,
    source_id: int,
    target_id: int | None,
    system_ids: Collection[int] = (),
    division: Division | None = None,
) -> list[PartSummary]:
    """What the batch would move, as its movers say it. Moves nothing; raises as ``reorganise`` would."""
    parts = _found(tx, kind, source_id, target_id, system_ids, division)
    return [told for mover in movers() if mover.name in parts for told in mover.told(parts[mover.name])]


def reorganise(
    tx: Tx,
    kind: Adjustment,
    source_id: int,
    target_id: int | None,
    *,
    reason: str,
    key: str,
    system_ids: Collection[int] = (),
    division: Division | None = None,
) -> Reorganisation:
    """Carry the batch out; a split by its ``division``. The same ``key`` again returns the first.

    Raises Invalid where it makes no sense, so for closed departments; WrongState, OverCapacity or Conflict where a mover cannot
    move what it found.
    """
    tx.actor.must_be(Role.AUTHORITY)
    reason = stated(reason)
    tx.alone(key)
    # Before looking: whoever hands something in for either department waits for this batch, or this batch for him.
    _lock(tx, [source_id, target_id, division.parent_id if division else None])
    earlier = tx.scalar(select(Reorganisation).where(Reorganisation.key == key))
    if earlier is not None:
        if not _same(earlier, kind, source_id, target_id, division):
            raise reused(key)
        return earlier
    parts = _found(tx, kind, source_id, target_id, system_ids, division)
    registered = kind is Adjustment.SPLIT and target_id is None
    if division is not None and registered:
        target_id = _registered(tx, division).id
        parts = _found(tx, kind, source_id, target_id, system_ids, division)
    source = departments.department(tx, source_id)
    batch = Reorganisation(
        key=key,
        kind=kind.value,
        source_id=source_id,
        target_id=target_id,
        reason=reason,
        at=tx.now,
        by=tx.actor.login,
        moved={**_kept(parts), "parent": source.parent_id, "registered": registered},
    )
    tx.add(batch)
    tx.flush()
    _move(tx, ReorganisationStep(kind, source_id, target_id or 0, frozenset(system_ids), subject=batch.subject), parts)
    if kind is Adjustment.MERGE:
        source.active = False
    if kind in PLACING:
        source.parent_id = target_id
    tx.flush()
    tx.audit(
        "department.reorganise",
        f"department:{source_id}",
        after={
            "batch": batch.id, "kind": kind, "target": target_id, **({"share": division.share} if division else {}),
            **{name: len(rows) for name, rows in batch.moved.items() if isinstance(rows, list)},
        },
        reason=batch.reason,
    )  # fmt: skip
    return batch


def choosable(tx: Tx, source_id: int) -> list[tuple[str, str, str]]:
    """The department's open business that goes with nothing else and may be chosen in a split: (mover/id, what it is, which)."""
    found: list[tuple[str, str, str]] = []
    for mover in movers():
        where = mover.choosable(source_id) if isinstance(mover, Rows) and mover.waiting is not None else None
        if isinstance(mover, Rows) and where is not None:
            rows = tx.scalars(select(mover.model).where(where).order_by(mover.model.id))
            found.extend((f"{mover.name}/{row.id}", mover.noun, mover.called(row)) for row in rows)
    return found


def undo(tx: Tx, batch_id: int, *, reason: str) -> Reorganisation:
    """Move everything back. See the module for when that is refused."""
    tx.actor.must_be(Role.AUTHORITY)
    reason = stated(reason)
    batch = reorganisation(tx, batch_id)
    tx.refresh(batch, with_for_update=True)
    if batch.undone_at is not None:
        raise WrongState("reorganisation.undone", N_("这次机构调整已经撤销"))
    both = [batch.source_id, batch.target_id]
    later = tx.scalar(
        select(Reorganisation.id).where(
            Reorganisation.id > batch.id,
            Reorganisation.undone_at.is_(None),
            or_(Reorganisation.source_id.in_(both), Reorganisation.target_id.in_(both)),
        )
    )
    if later is not None:
        raise WrongState("reorganisation.later", N_("其后的机构调整 %(id)s 也涉及这些单位,须先撤销它"), id=later)
    source = departments.department(tx, batch.source_id)
    _lock(tx, both)
    if batch.kind == Adjustment.MERGE.value:
        source.active = True
    home = ReorganisationStep(
        Adjustment(batch.kind), batch.target_id or 0, batch.source_id, subject=batch.subject, undoing=True
    )
    parts: dict[str, Part] = {}
    for mover in _taking_part(home.kind):
        parts[mover.name] = mover.back(tx, home, mover.kept(batch.moved), parts)
    _move(tx, home, parts)
    if home.kind in PLACING:
        source.parent_id = batch.moved["parent"]
    if batch.moved.get("registered") and batch.target_id is not None:
        _close(tx, batch.target_id, batch.source_id)
    batch.undone_at, batch.undone_by = tx.now, tx.actor.login
    tx.flush()
    tx.audit("department.reorganise_undo", f"department:{batch.source_id}", after={"batch": batch.id}, reason=reason)
    return batch


# ----------------------------------------------------------------------------------------------------------- mechanism


def _lock(tx: Tx, department_ids: Iterable[int | None]) -> None:
    """These, and all that they lie under: what was given to them from there may change."""
    ids = set().union(*(departments.above(tx, one) for one in department_ids))
    tx.execute(select(Department.id).where(Department.id.in_(ids)).order_by(Department.id).with_for_update())


def _same(
    batch: Reorganisation, kind: Adjustment, source_id: int, target_id: int | None, division: Division | None
) -> bool:
    if (batch.kind, batch.source_id) != (kind.value, source_id):
        return False
    if batch.moved.get("registered") and division is not None and target_id is None and batch.target is not None:
        return batch.target.code == division.code.strip()
    return batch.target_id == target_id


def _registered(tx: Tx, division: Division) -> Department:
    parent = departments.department(tx, division.parent_id) if division.parent_id is not None else None
    return departments.register(tx, division.code, division.name, parent)


def _close(tx: Tx, department_id: int, source_id: int) -> None:
    """Close what was entered with a split that is undone: what it did meanwhile is seen by its source."""
    department = departments.department(tx, department_id)
    left = _with(tx, department_id, source_id)
    if left:
        raise WrongState(
            "reorganisation.left",
            N_("%(name)s还有%(what)s,不能撤销拆分;请先办结或划转"),
            name=department.name,
            what=left,
        )
    department.active, department.parent_id = False, source_id


def _with(tx: Tx, department_id: int, other_id: int) -> str:
    """What the department has that a merger would take along, in a word; empty for nothing."""
    step = ReorganisationStep(Adjustment.MERGE, department_id, other_id)
    parts: dict[str, Part] = {}
    for mover in _taking_part(step.kind):
        part = parts[mover.name] = mover.find(tx, step, parts)
        if part.rows or part.states:
            return next(told.label for told in mover.told(part) if told.count)
    return ""


def _divided(
    tx: Tx, source: Department, target: Department | None, system_ids: Collection[int], division: Division
) -> None:
    """Raise where such a split makes no sense."""
    if not 0 <= division.share <= 100:
        raise Invalid("reorganisation.share", N_("未用配额的份额须在 0 至 100 之间"), field="share")
    if not (system_ids or division.share or any(division.chosen.values())):
        raise Invalid("reorganisation.nothing", N_("请选择随拆分转出的信息系统、人员、事项或配额份额"), field="systems")
    unknown = set(division.chosen) - {
        mover.name for mover in movers() if isinstance(mover, Rows) and mover.free() is not None
    }
    if unknown:
        raise Invalid(
            "reorganisation.business", N_("不能单独选择:%(what)s"), what=", ".join(sorted(unknown)), field="business"
        )
    if target is None:
        departments.told(tx, division.code, division.name)
        if division.parent_id is not None:
            departments.must_be_open(departments.department(tx, division.parent_id), "parent")
        return
    has = _with(tx, target.id, source.id)
    if has:
        raise Invalid(
            "reorganisation.occupied", N_("%(name)s已有%(what)s;拆分须选择空单位,或登记新单位"),
            name=target.name, what=has, field="target",
        )  # fmt: skip


def _found(
    tx: Tx,
    kind: Adjustment,
    source_id: int,
    target_id: int | None,
    system_ids: Collection[int],
    division: Division | None,
) -> dict[str, Part]:
    """Mover → what it would move: nothing, where it takes no part in a step of this kind."""
    source = departments.department(tx, source_id)
    target = departments.department(tx, target_id) if target_id is not None else None
    if target is None and (kind is not Adjustment.PARENT and division is None):
        raise Invalid("reorganisation.target", N_("请选择接收单位"), field="target")
    if target is not None and target.id == source.id:
        raise Invalid("ledger.same", N_("转出和转入不能是同一单位"), field="target")
    for department in (source, target):
        if department is not None:
            departments.must_be_open(department)
    if target is not None and kind in PLACING and target.id in departments.subtree(tx, source.id):
        raise Invalid("reorganisation.cycle", N_("不能并入或隶属于自己的下级单位"), field="target")
    if (kind is Adjustment.SPLIT) != (division is not None):
        raise Invalid("reorganisation.division", N_("拆分须写明新单位和转出的内容"), field="kind")
    step = ReorganisationStep(kind, source.id, target.id if target is not None else 0, frozenset(system_ids))
    if division is not None:
        _divided(tx, source, target, system_ids, division)
        step = replace(step, chosen=division.chosen, share=division.share, under=division.parent_id or 0)
    parts: dict[str, Part] = {}
    for mover in movers():
        parts[mover.name] = mover.find(tx, step, parts) if kind in mover.kinds else Part()
    return parts


def _taking_part(kind: Adjustment) -> list[Mover]:
    return [mover for mover in movers() if kind in mover.kinds]


def _kept(parts: Mapping[str, Part]) -> dict[str, Any]:
    """The parts as the batch keeps them."""
    moved: dict[str, Any] = {"states": {}}
    for mover in movers():
        kept = mover.keep(parts[mover.name])
        moved["states"].update(kept.pop("states", {}))
        twice = sorted(moved.keys() & kept.keys())
        if twice:
            raise ValueError(f"{mover.name} keeps {', '.join(twice)}, as another mover does")
        moved.update(kept)
    return moved


def _move(tx: Tx, step: ReorganisationStep, parts: Mapping[str, Part]) -> None:
    for mover in _taking_part(step.kind):
        mover.move(tx, step, parts[mover.name])
    tx.flush()
    tx.expire_all()  # rows were written past the session
