"""Statements on record: runs and their lines, never rewritten. Another result for a month is its next revision."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.statements.tariffs import Tariff
from quota.base import Base, Count, Falling, append_only
from quota.directory import CatalogItem, CloudProvider, Department, Pool, System
from quota.inventory import Resource
from quota.units import CLASSES, ClassCode

USAGE, CORRECTION = "usage", "correction"


class StatementRun(Base):
    """One computation of one month. ``until``: what was counted up to (the month's end once it is over); ``tariff_id``: the
    last price entered then; figures in fen are proven and unmeasurable cost; ``unpriced``: lines that no tariff prices."""

    __tablename__ = "statement_runs"
    __table_args__ = (UniqueConstraint("month", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(String(7))
    revision: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime]
    tariff_id: Mapped[int | None]
    resources: Mapped[int]
    lines: Mapped[int]
    unpriced: Mapped[int]
    proven_fen: Mapped[int] = mapped_column(Count)
    unmeasured_fen: Mapped[int] = mapped_column(Count)
    correction_fen: Mapped[int] = mapped_column(Count)
    reason: Mapped[str] = mapped_column(Text, default="")
    made_at: Mapped[datetime]
    made_by: Mapped[str] = mapped_column(String(64))


class StatementLine(Base):
    """A line of a run (metering.statements.charges.Line), with its owners as they were then. ``corrects``: the closed month that a
    correction line is for; its figures are what changes."""

    __tablename__ = "statement_lines"
    __table_args__ = (
        Index("ix_statement_lines_run_id_department_id", "run_id", "department_id"),
        Index("ix_statement_lines_run_id_resource_id", "run_id", "resource_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("statement_runs.id"))
    charge: Mapped[str] = mapped_column(String(12))
    corrects: Mapped[str] = mapped_column(String(7), default="")
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"))
    catalog_item_id: Mapped[int | None] = mapped_column(ForeignKey("catalog_items.id"))
    kind: Mapped[str] = mapped_column(String(16))
    stopped: Mapped[bool]
    tariff_id: Mapped[int | None] = mapped_column(ForeignKey("tariffs.id"))
    first_day: Mapped[int]
    last_day: Mapped[int]
    allocated: Mapped[int] = mapped_column(Count)
    proven: Mapped[int] = mapped_column(Count)
    quantity_nano: Mapped[int] = mapped_column(Count)
    cost_fen: Mapped[int | None] = mapped_column(Count)
    unmeasured_fen: Mapped[int | None] = mapped_column(Count)
    days: Mapped[list[Any]]

    run: Mapped[StatementRun] = relationship()
    resource: Mapped[Resource] = relationship()
    pool: Mapped[Pool] = relationship()
    provider: Mapped[CloudProvider] = relationship()
    department: Mapped[Department | None] = relationship()
    system: Mapped[System | None] = relationship()
    item: Mapped[CatalogItem | None] = relationship()
    tariff: Mapped[Tariff | None] = relationship()

    @property
    def quantity(self) -> Decimal:
        """Proven, in the tariff's unit."""
        return Decimal(self.quantity_nano).scaleb(-9)

    @property
    def cost(self) -> Decimal | None:
        """Yuan for what is proven; None without a price."""
        return yuan(self.cost_fen)

    @property
    def unmeasured_cost(self) -> Decimal | None:
        """Yuan that the unmeasurable part would cost."""
        return yuan(self.unmeasured_fen)

    @property
    def unit_hours(self) -> Decimal:
        """Allocated, in shown units × hours."""
        return unit_hours(self.kind, self.allocated)

    @property
    def proven_hours(self) -> Decimal:
        return unit_hours(self.kind, self.proven)

    @property
    def coverage(self) -> float | None:
        """Proven of allocated, in per cent."""
        return 100 * self.proven / self.allocated if self.allocated > 0 else None


Index(
    "ix_statement_lines_run_id_dearest",
    StatementLine.run_id,
    Falling(StatementLine.cost_fen),
    Falling(StatementLine.id),
)
append_only(StatementRun.__table__)  # type: ignore[arg-type]
append_only(StatementLine.__table__)  # type: ignore[arg-type]


def yuan(fen: int | None) -> Decimal | None:
    """Fen → yuan with two places."""
    return None if fen is None else Decimal(fen).scaleb(-2)


def unit_hours(kind: ClassCode | str, unit_seconds: int) -> Decimal:
    """Base unit-seconds → shown units × hours, to six places."""
    by = CLASSES[ClassCode(kind)].factor * 3600
    return (Decimal(unit_seconds) / by).quantize(Decimal("0.000001"))
