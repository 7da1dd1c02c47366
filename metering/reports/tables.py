"""Editions of reports, and the inputs that each rests on, kept by their own digest. Neither is ever rewritten."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.reports.periods import ReportPeriod
from quota.base import Base, append_only


class ReportInputs(Base):
    """All that an edition rests on, as canonical JSON (``quota.seals.canonical``); ``digest``: SM3 of it."""

    __tablename__ = "report_inputs"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[str] = mapped_column(Text)

    def document(self) -> dict[str, Any]:
        """As ``gathering.gather`` gave it."""
        return dict(json.loads(self.content))


class ReportEdition(Base):
    """One edition of one report. ``scope_id`` is 0 for the city; ``number`` runs from 1, and whatever follows the first was
    made for a ``reason``. ``known_at``: what the book was told later does not count in it."""

    __tablename__ = "report_editions"
    __table_args__ = (UniqueConstraint("scope", "scope_id", "first_day", "last_day", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(String(12))
    scope_id: Mapped[int]
    first_day: Mapped[date]
    last_day: Mapped[date]
    number: Mapped[int]
    name: Mapped[str] = mapped_column(String(128), default="")  # whose it is, as it was called then
    inputs_digest: Mapped[str] = mapped_column(ForeignKey("report_inputs.digest"), index=True)
    known_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text, default="")
    made_at: Mapped[datetime]
    made_by: Mapped[str] = mapped_column(String(64))

    inputs: Mapped[ReportInputs] = relationship()

    @property
    def period(self) -> ReportPeriod:
        return ReportPeriod(self.first_day, self.last_day)

    @property
    def subject(self) -> str:
        """As the audit trail names it."""
        return f"report:{self.id}"


append_only(ReportInputs.__table__)  # type: ignore[arg-type]
append_only(ReportEdition.__table__)  # type: ignore[arg-type]
