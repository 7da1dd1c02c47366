"""Allocations (额度): quota that one storey of the tree gave to the one below it, and quota given for a time.

    granted(giver) ──share──▶ granted(receiver) ──take_back──▶ granted(giver)

Whatever a node shares out leaves its own account, so that what lies below can never add up to more than was given. The
allocation beside it says whose it was: ``amount`` less ``returned`` is what the receiver owes back, and no more than that
may be taken back. ``giver_id`` None is the city itself, of quota that it gave for a time; what the city gave for good needs no
allocation. Here is the record and its arithmetic; who may give is ``quota.ledger.tree``, the acts are ``allotments``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, Text, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base, Count
from quota.directory import Department, Pool
from quota.units import Arch, ClassCode, Commodity

if TYPE_CHECKING:
    from quota.db import Tx


class AllocationState(StrEnum):
    RUNNING = "running"
    OVERDUE = "overdue"  # ended, part of it still in use
    ENDED = "ended"  # all of it went back


OPEN = (AllocationState.RUNNING.value, AllocationState.OVERDUE.value)
"""States in which the receiver still has something of it."""


class Allocation(Base):
    """额度. ``amount`` and ``returned`` in base units; ``ends_on`` is its last day in the city's time, None: for good."""

    __tablename__ = "allocations"
    __table_args__ = (
        CheckConstraint("amount > 0 AND returned >= 0 AND returned <= amount", name="sane"),
        CheckConstraint("giver_id IS NULL OR giver_id <> receiver_id", name="two"),
        CheckConstraint("(state = 'ended') = (returned = amount)", name="ended"),
        Index("ix_allocations_state_ends_on", "state", "ends_on"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(160), unique=True)
    giver_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    receiver_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    amount: Mapped[int] = mapped_column(Count)
    returned: Mapped[int] = mapped_column(Count, default=0)
    ends_on: Mapped[date | None]
    state: Mapped[str] = mapped_column(String(8), default=AllocationState.RUNNING.value)
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    told_at: Mapped[datetime | None]  # when its receiver was told that it ends
    overdue_at: Mapped[datetime | None]  # when it ended with part of it in use
    generation: Mapped[int] = mapped_column(default=1, server_default="1")

    giver: Mapped[Department | None] = relationship(foreign_keys=[giver_id])
    receiver: Mapped[Department] = relationship(foreign_keys=[receiver_id])
    pool: Mapped[Pool] = relationship()

    @property
    def commodity(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.arch))

    @property
    def outstanding(self) -> int:
        """Base units that the receiver still has of it."""
        return self.amount - self.returned

    @property
    def subject(self) -> str:
        return f"allocation:{self.id}"


def enter(
    tx: Tx,
    giver_id: int | None,
    receiver_id: int,
    pool_id: int,
    cls: Commodity,
    amount: int,
    *,
    key: str,
    reason: str,
    ends_on: date | None = None,
) -> Allocation:
    """Write down that ``amount`` was given. Moves nothing."""
    one = Allocation(
        key=key,
        giver_id=giver_id,
        receiver_id=receiver_id,
        pool_id=pool_id,
        kind=cls.kind,
        arch=cls.arch.value,
        amount=amount,
        returned=0,
        ends_on=ends_on,
        state=AllocationState.RUNNING.value,
        reason=reason,
        by=tx.actor.login,
        at=tx.now,
    )
    tx.add(one)
    tx.flush()
    return one


def between(tx: Tx, giver_id: int | None, receiver_id: int, pool_id: int, cls: Commodity) -> list[Allocation]:
    """What ``receiver_id`` still has of ``giver_id``, in the order in which it goes back."""
    giver = Allocation.giver_id.is_(None) if giver_id is None else Allocation.giver_id == giver_id
    found = tx.scalars(
        select(Allocation)
        .where(
            giver,
            Allocation.receiver_id == receiver_id,
            Allocation.pool_id == pool_id,
            Allocation.kind == cls.kind,
            Allocation.arch == cls.arch.value,
            Allocation.state.in_(OPEN),
        )
        .execution_options(populate_existing=True)
    )
    return sorted(found, key=going_back)


def going_back(allocation: Allocation) -> tuple[bool, int, int]:
    """The order in which allocations are given back: those for good first, of them the newest; then what ends last."""
    return allocation.ends_on is not None, -(allocation.ends_on or date.max).toordinal(), -allocation.id


def day(text: str | None) -> date | None:
    """An ISO date as JSON keeps it."""
    return date.fromisoformat(text) if text else None


def received(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that the department has of what was given to it from above or for a time."""
    return _sum(tx, pool_id, cls, Allocation.receiver_id == department_id)


def shared(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that those below have of what the department gave them."""
    return _sum(tx, pool_id, cls, Allocation.giver_id == department_id)


def lessen(tx: Tx, rows: Sequence[Allocation], amount: int) -> list[tuple[date | None, int]]:
    """Write ``amount`` of ``rows`` down as gone back, in their order; returns how much of it was to end when."""
    gone = []
    for one in rows:
        take = min(amount, one.outstanding)
        if take:
            one.returned += take
            one.generation += 1
            one.state = AllocationState.ENDED.value if one.returned == one.amount else one.state
            amount -= take
            gone.append((one.ends_on, take))
    tx.flush()
    return gone


def _sum(tx: Tx, pool_id: int, cls: Commodity, whose: ColumnElement[bool]) -> int:
    query = select(func.sum(Allocation.amount - Allocation.returned)).where(
        whose,
        Allocation.pool_id == pool_id,
        Allocation.kind == cls.kind,
        Allocation.arch == cls.arch.value,
        Allocation.state.in_(OPEN),
    )
    return int(tx.scalar(query) or 0)
