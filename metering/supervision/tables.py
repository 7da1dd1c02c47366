"""Rows of supervision: items as two people sign them, what is beyond a limit and not yet for long enough, alerts."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.supervision.measures import MEASURES, WHOLE_CITY, SupervisedMeasure, SupervisedObject
from quota.base import Base
from quota.directory import CloudProvider, Department, Pool, System
from quota.errors import N_
from quota.signed import TwiceSigned

PLACES = 4
_FIGURE = Numeric(20, PLACES)


class SupervisionSide(StrEnum):
    ABOVE = "above"
    BELOW = "below"


SIDE_LABELS = {SupervisionSide.ABOVE: N_("高于"), SupervisionSide.BELOW: N_("低于")}


class SupervisionLevel(StrEnum):
    NOTICE = "notice"
    WARNING = "warning"
    SERIOUS = "serious"


LEVEL_LABELS = {
    SupervisionLevel.NOTICE: N_("提示"),
    SupervisionLevel.WARNING: N_("预警"),
    SupervisionLevel.SERIOUS: N_("严重"),
}


class Answerer(StrEnum):
    """Who has to answer an alert: words of roles, of a department or a company that of the object."""

    SUPERVISOR = "supervisor"
    AUTHORITY = "authority"
    TENANT = "tenant"
    PROVIDER = "provider"


class SupervisionState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    ANSWERED = "answered"
    BACK = "back"  # the figure is within its limit again
    ENDED = "ended"  # the item watches it no more, or the object is no more


ALERT_LABELS = {
    SupervisionState.OPEN: N_("待签收"),
    SupervisionState.ACKNOWLEDGED: N_("待答复"),
    SupervisionState.ANSWERED: N_("已答复"),
    SupervisionState.BACK: N_("已恢复"),
    SupervisionState.ENDED: N_("不再监测"),
}
UNANSWERED = (SupervisionState.OPEN.value, SupervisionState.ACKNOWLEDGED.value)
OPEN = (*UNANSWERED, SupervisionState.ANSWERED.value)


class SupervisionItem(TwiceSigned, Base):
    """A version of what is watched: of a ``code`` that one counts whose ``effective_from`` came last. ``chosen``: codes of the objects, empty
    for all of their type; beyond ``threshold`` on ``side`` for ``hold_days`` days it is an alert. ``stops``: from then on it is watched no more."""

    __tablename__ = "supervision_items"
    __table_args__ = (CheckConstraint("hold_days >= 0 AND reply_days >= 1", name="days"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), index=True)
    name: Mapped[str] = mapped_column(String(128))
    means: Mapped[str] = mapped_column(Text)
    requirement: Mapped[str] = mapped_column(Text)
    measure: Mapped[str] = mapped_column(String(32))
    object_type: Mapped[str] = mapped_column(String(16))
    chosen: Mapped[list[Any]]
    side: Mapped[str] = mapped_column(String(8))
    threshold: Mapped[Decimal] = mapped_column(_FIGURE)
    hold_days: Mapped[int]
    level: Mapped[str] = mapped_column(String(8))
    answerer: Mapped[str] = mapped_column(String(16))
    tells_authority: Mapped[bool]
    tells_department: Mapped[bool]
    tells_provider: Mapped[bool]
    reply_days: Mapped[int]
    effective_from: Mapped[date]
    stops: Mapped[bool]

    @property
    def subject(self) -> str:
        return f"supervision_item:{self.id}"

    @property
    def of(self) -> SupervisedObject:
        return SupervisedObject(self.object_type)

    @property
    def measured(self) -> SupervisedMeasure:
        return MEASURES[self.measure]

    def over(self, figure: Decimal) -> bool:
        """Whether ``figure`` is beyond the limit; at it, it is not."""
        return figure > self.threshold if self.side == SupervisionSide.ABOVE else figure < self.threshold


class SupervisionExcess(Base):
    """That an object is beyond an item's limit ``since`` a look, was so at each until ``seen_at``, and not yet for long enough."""

    __tablename__ = "supervision_excesses"
    __table_args__ = (UniqueConstraint("item_id", "object_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("supervision_items.id"))
    object_id: Mapped[int]
    since: Mapped[datetime]
    seen_at: Mapped[datetime]


class SupervisionAlert(Base):
    """An alert about one object; of one item and object one is open. ``item``: the version by which it was opened, whose terms are its own.
    ``since``: from when on it was beyond the limit; ``opened_with``, ``figure``: as it was then, and as it was seen last."""

    __tablename__ = "supervision_alerts"
    __table_args__ = (
        CheckConstraint("(closed_at IS NULL) = (state IN ('open', 'acknowledged', 'answered'))", name="closed"),
        Index(
            "uq_supervision_alerts_open", "code", "object_key", unique=True,
            sqlite_where=text("closed_at IS NULL"), postgresql_where=text("closed_at IS NULL"),
        ),
        Index("ix_supervision_alerts_due_at_id", "due_at", "id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("supervision_items.id"), index=True)
    code: Mapped[str] = mapped_column(String(32))
    object_key: Mapped[str] = mapped_column(String(32))
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"), index=True)
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    since: Mapped[datetime]
    opened_at: Mapped[datetime]
    opened_with: Mapped[Decimal] = mapped_column(_FIGURE)
    figure: Mapped[Decimal] = mapped_column(_FIGURE)
    due_at: Mapped[datetime]
    acknowledged_by: Mapped[str] = mapped_column(String(64), default="")
    acknowledged_at: Mapped[datetime | None]
    reply: Mapped[str] = mapped_column(Text, default="")
    answered_by: Mapped[str] = mapped_column(String(64), default="")
    answered_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=1)

    item: Mapped[SupervisionItem] = relationship()
    provider: Mapped[CloudProvider | None] = relationship()
    pool: Mapped[Pool | None] = relationship()
    department: Mapped[Department | None] = relationship()
    system: Mapped[System | None] = relationship()

    @property
    def number(self) -> str:
        return f"YJ-{self.id:06d}"

    @property
    def subject(self) -> str:
        return f"supervision_alert:{self.id}"

    @property
    def whom(self) -> CloudProvider | Pool | Department | System | None:
        """What it is about; None: the city."""
        return self.provider or self.pool or self.department or self.system

    @property
    def object_id(self) -> int:
        return self.provider_id or self.pool_id or self.department_id or self.system_id or WHOLE_CITY

    @property
    def owner_id(self) -> int | None:
        """The department that it concerns."""
        return self.system.department_id if self.system is not None else self.department_id

    @property
    def company_id(self) -> int | None:
        """The company that it concerns."""
        return self.pool.provider_id if self.pool is not None else self.provider_id
