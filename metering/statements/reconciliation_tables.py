"""The four-way line on record: what was approved, enacted, metered and billed of one kind of one resource in a month."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.billing import Bill
from quota.base import Base, Count, append_only
from quota.directory import CloudProvider, Department, Pool, System
from quota.inventory import Resource

UnitHours = Numeric(20, 4)


class ReconciliationRun(Base):
    """One comparison of one pool's month. ``bill_id`` empty: none was handed in. Fen of the bill: ``billed`` = ``proven`` +
    ``disputed`` + ``unmeasured`` (what cannot be priced is in none of them); ``unbilled``: proven, and not on the bill."""

    __tablename__ = "reconciliations"
    __table_args__ = (UniqueConstraint("month", "pool_id", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(String(7))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    revision: Mapped[int]
    bill_id: Mapped[int | None] = mapped_column(ForeignKey("bills.id"))
    digest: Mapped[str] = mapped_column(String(64))
    lines: Mapped[int]
    differing: Mapped[int]
    billed_fen: Mapped[int] = mapped_column(Count)
    proven_fen: Mapped[int] = mapped_column(Count)
    disputed_fen: Mapped[int] = mapped_column(Count)
    unmeasured_fen: Mapped[int] = mapped_column(Count)
    unbilled_fen: Mapped[int] = mapped_column(Count)
    made_at: Mapped[datetime]
    made_by: Mapped[str] = mapped_column(String(64))

    pool: Mapped[Pool] = relationship()
    provider: Mapped[CloudProvider] = relationship()
    bill: Mapped[Bill | None] = relationship()


class FourWayLine(Base):
    """One line. Figures in base units × hours; None: there is nothing to say (no bill, nothing approved is 0). ``causes``:
    {cause, quantity, fen} each; ``refs``: the rows that it rests on (order:12, bill_line:7, resource:3)."""

    __tablename__ = "reconciliation_lines"
    __table_args__ = (Index("ix_reconciliation_lines_run_id_external_id", "run_id", "external_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("reconciliations.id"))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"))
    resource_id: Mapped[int | None] = mapped_column(ForeignKey("resources.id"))
    external_id: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    approved: Mapped[Decimal] = mapped_column(UnitHours)
    enacted: Mapped[Decimal] = mapped_column(UnitHours)
    metered: Mapped[Decimal] = mapped_column(UnitHours)
    unmeasured: Mapped[Decimal] = mapped_column(UnitHours)
    billed: Mapped[Decimal | None] = mapped_column(UnitHours)
    billed_fen: Mapped[int | None] = mapped_column(Count)
    disputed_fen: Mapped[int | None] = mapped_column(Count)
    cause: Mapped[str] = mapped_column(String(24), default="")  # the weightiest one, for filters
    causes: Mapped[list[Any]]
    refs: Mapped[list[str]]

    run: Mapped[ReconciliationRun] = relationship()
    resource: Mapped[Resource | None] = relationship()
    department: Mapped[Department | None] = relationship()
    system: Mapped[System | None] = relationship()
    pool: Mapped[Pool] = relationship()


append_only(ReconciliationRun.__table__)  # type: ignore[arg-type]
append_only(FourWayLine.__table__)  # type: ignore[arg-type]
