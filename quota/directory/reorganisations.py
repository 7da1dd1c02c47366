"""机构调整: departments that merge, take over systems, or come under another: each one batch that can be undone.

All that a department has moves in one transaction, storey by storey, as each registered it (``quota.directory.movers``):
systems, resources, people, what waits for a decision, and its quota, by one ledger transfer with the batch as its subject. A
department that was merged is closed and put under its successor, so that its history stays where it was and its successor's
people see it.

The batch keeps what it moved. Undoing moves the same things back; a resource takes home what is booked for it *now*.
It is refused where the successor has put the unused quota to use meanwhile, and where something that was pending when
it moved has been decided since: then there is no telling whose it is, and a new batch must say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint, or_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.directory import departments
from quota.directory.departments import Department
from quota.directory.movers import LABELS, Adjustment, Mover, Part, PartSummary, ReorganisationStep, movers
from quota.errors import N_, Invalid, NotFound, WrongState, reused, stated

if TYPE_CHECKING:
    from quota.db import Tx

__all__ = ["LABELS", "Adjustment", "Reorganisation", "preview", "reorganisation", "reorganise", "undo"]


class Reorganisation(Base):
    """One batch. ``moved`` (JSON) is what it moved, enough to move it back: by mover what it moved, ``states`` of what waited
    for a decision, ``parent`` the department that the source lay under."""

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
    tx: Tx, kind: Adjustment, source_id: int, target_id: int | None, system_ids: Collection[int] = ()
) -> list[PartSummary]:
    """What the batch would move, as its movers say it. Moves nothing; raises as ``reorganise`` would."""
    parts = _found(tx, kind, source_id, target_id, system_ids)
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
) -> Reorganisation:
    """Carry the batch out. The same ``key`` again returns the first.

    Raises Invalid where it makes no sense, so for closed departments; WrongState, OverCapacity or Conflict where a mover cannot
    move what it found.
    """
    tx.actor.must_be(Role.AUTHORITY)
    reason = stated(reason)
    tx.alone(key)
    # Before looking: whoever hands something in for either department waits for this batch, or this batch for him.
    _lock(tx, [source_id, target_id])
    earlier = tx.scalar(select(Reorganisation).where(Reorganisation.key == key))
    if earlier is not None:
        if (earlier.kind, earlier.source_id, earlier.target_id) != (kind.value, source_id, target_id):
            raise reused(key)
        return earlier
    parts = _found(tx, kind, source_id, target_id, system_ids)
    source = departments.department(tx, source_id)
    batch = Reorganisation(
        key=key,
        kind=kind.value,
        source_id=source_id,
        target_id=target_id,
        reason=reason,
        at=tx.now,
        by=tx.actor.login,
        moved={**_kept(parts), "parent": source.parent_id},
    )
    tx.add(batch)
    tx.flush()
    _move(tx, ReorganisationStep(kind, source_id, target_id or 0, frozenset(system_ids), batch.subject), parts)
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
            **{name: len(rows) for name, rows in batch.moved.items() if isinstance(rows, list)},
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
    if batch.kind != Adjustment.SYSTEMS.value:
        source.parent_id = batch.moved["parent"]
    batch.undone_at, batch.undone_by = tx.now, tx.actor.login
    tx.flush()
    tx.audit("department.reorganise_undo", f"department:{batch.source_id}", after={"batch": batch.id}, reason=reason)
    return batch


# ----------------------------------------------------------------------------------------------------------- mechanism


def _lock(tx: Tx, department_ids: Iterable[int | None]) -> None:
    """These, and all that they lie under: what was given to them from there may change."""
    ids = set().union(*(departments.above(tx, one) for one in department_ids))
    tx.execute(select(Department.id).where(Department.id.in_(ids)).order_by(Department.id).with_for_update())


def _found(
    tx: Tx, kind: Adjustment, source_id: int, target_id: int | None, system_ids: Collection[int]
) -> dict[str, Part]:
    """Mover → what it would move: nothing, where it takes no part in a step of this kind."""
    source = departments.department(tx, source_id)
    target = departments.department(tx, target_id) if target_id is not None else None
    if target is None and kind is not Adjustment.PARENT:
        raise Invalid("reorganisation.target", N_("请选择接收单位"), field="target")
    if target is not None and target.id == source.id:
        raise Invalid("ledger.same", N_("转出和转入不能是同一单位"), field="target")
    for department in (source, target):
        if department is not None:
            departments.must_be_open(department)
    if target is not None and kind is not Adjustment.SYSTEMS and target.id in departments.subtree(tx, source.id):
        raise Invalid("reorganisation.cycle", N_("不能并入或隶属于自己的下级单位"), field="target")
    step = ReorganisationStep(kind, source.id, target.id if target is not None else 0, frozenset(system_ids))
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
