"""Exemptions: for a stated reason, approved by a named person, until a day. While one holds, nothing is taken away.

Whoever grants an exemption and whoever places an order that harms lock the same row, the resource's, so neither can
slip past the other.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, Text, or_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.judging import Procedure
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotFound, WrongState, stated
from quota.inventory import Resource

if TYPE_CHECKING:
    from metering.cases.files import Case
    from quota.db import Tx


class Category(StrEnum):
    DISASTER_RECOVERY = "disaster_recovery"
    KEY_PERIOD = "key_period"
    SEASONAL = "seasonal"
    NEWCOMER = "newcomer"
    MIGRATION = "migration"
    EVALUATION = "evaluation"
    PRESERVATION = "preservation"


CATEGORY_LABELS = {
    Category.DISASTER_RECOVERY: N_("灾备"),
    Category.KEY_PERIOD: N_("重保期"),
    Category.SEASONAL: N_("季节性"),
    Category.NEWCOMER: N_("新上线"),
    Category.MIGRATION: N_("迁移中"),
    Category.EVALUATION: N_("测评中"),
    Category.PRESERVATION: N_("审计/司法保全"),
}


class Exemption(Base):
    """Days ``starts_on`` to ``ends_on``, both included. ``last_peak``: last year's peak, for the seasonal."""

    __tablename__ = "exemptions"
    __table_args__ = (
        CheckConstraint("ends_on >= starts_on", name="ends"),
        Index("ix_exemptions_resource_id_ends_on", "resource_id", "ends_on"),
        Index("ix_exemptions_ends_on_id", "ends_on", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"))
    case_id: Mapped[int | None] = mapped_column(ForeignKey("cases.id"), index=True)
    category: Mapped[str] = mapped_column(String(24))
    reason: Mapped[str] = mapped_column(Text)
    last_peak: Mapped[str] = mapped_column(String(128), default="")
    asked_by: Mapped[str] = mapped_column(String(64), default="")
    approved_by: Mapped[str] = mapped_column(String(64))
    approved_at: Mapped[datetime]
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    revoked_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]  # when it was noted that it had run out

    resource: Mapped[Resource] = relationship()
    case: Mapped[Case | None] = relationship()


def checked(
    tx: Tx,
    resource: Resource,
    category: Category,
    reason: str,
    until: date | None,
    procedure: Procedure,
    last_peak: str = "",
) -> date:
    """``until``, if an exemption of this category may be asked for on these terms; Invalid otherwise."""
    today = tx.now.astimezone(ZONE).date()
    if len(reason.strip()) < procedure.reason_length:
        raise Invalid("exemption.reason", N_("理由不少于%(least)s个字"), least=procedure.reason_length, field="reason")
    if until is None or until < today:
        raise Invalid("exemption.until", N_("请写明豁免到哪一天,不能早于今天"), field="until")
    if until > today + timedelta(days=procedure.exemption_days):
        raise Invalid("exemption.long", N_("豁免期最长%(days)s天"), days=procedure.exemption_days, field="until")
    if category is Category.SEASONAL and not last_peak.strip():
        raise Invalid("exemption.peak", N_("季节性业务须写明上一年的峰值"), field="last_peak")
    if category is Category.NEWCOMER:
        begun = (resource.created_at or resource.first_seen_at).astimezone(ZONE).date()
        if until > begun + timedelta(days=procedure.newcomer_days):
            raise Invalid(
                "exemption.newcomer",
                N_("新上线豁免只到上线后第%(days)s天"),
                days=procedure.newcomer_days,
                field="until",
            )
    return until


def grant(
    tx: Tx,
    resource: Resource,
    category: Category,
    reason: str,
    until: date | None,
    procedure: Procedure,
    *,
    last_peak: str = "",
    asked_by: str = "",
    case_id: int | None = None,
) -> Exemption:
    """Exempt ``resource`` from today until ``until``. By supervisor or authority, never by who asked for it."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    lock(tx, resource)
    row = Exemption(
        resource_id=resource.id,
        case_id=case_id,
        category=category.value,
        reason=reason.strip(),
        last_peak=last_peak.strip(),
        asked_by=asked_by,
        approved_by=tx.actor.login,
        approved_at=tx.now,
        starts_on=tx.now.astimezone(ZONE).date(),
        ends_on=checked(tx, resource, category, reason, until, procedure, last_peak),
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "exemption.grant",
        f"resource:{resource.id}",
        after={"exemption": row.id, "category": category, "until": row.ends_on, "case": case_id},
        reason=row.reason,
    )
    return row


def revoke(tx: Tx, row: Exemption, reason: str) -> None:
    """End an exemption before its day. WrongState where it has ended already."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    tx.lock(row)
    if row.revoked_at is not None or row.ends_on < tx.now.astimezone(ZONE).date():
        raise WrongState("exemption.over", N_("这项豁免已经结束"))
    stated(reason, code="exemption.reason", message=N_("请写明提前终止的理由"))
    row.revoked_at = tx.now
    tx.audit("exemption.revoke", f"resource:{row.resource_id}", after={"exemption": row.id}, reason=reason.strip())


def exemption(tx: Tx, exemption_id: int) -> Exemption:
    """The exemption, or NotFound."""
    found = tx.get(Exemption, exemption_id)
    if found is None:
        raise NotFound("exemption.none", N_("没有编号为 %(id)s 的豁免"), id=exemption_id)
    return found


def holding(tx: Tx, resource_id: int) -> Exemption | None:
    """The exemption that holds for a resource now: of several, the one that ends last."""
    today = tx.now.astimezone(ZONE).date()
    return tx.scalar(
        select(Exemption)
        .where(
            Exemption.resource_id == resource_id,
            Exemption.revoked_at.is_(None),
            Exemption.starts_on <= today,
            Exemption.ends_on >= today,
        )
        .order_by(Exemption.ends_on.desc())
        .limit(1)
    )


def held(tx: Tx) -> ColumnElement[bool]:
    """The resources (of the query that asks) that an exemption holds for now."""
    today = tx.now.astimezone(ZONE).date()
    holding = select(Exemption.resource_id).where(
        Exemption.revoked_at.is_(None), Exemption.starts_on <= today, Exemption.ends_on >= today
    )
    return Resource.id.in_(holding)


def exempt_now(tx: Tx) -> set[int]:
    """Ids of all resources that an exemption holds for now."""
    today = tx.now.astimezone(ZONE).date()
    query = select(Exemption.resource_id).where(
        Exemption.revoked_at.is_(None), Exemption.starts_on <= today, Exemption.ends_on >= today
    )
    return set(tx.scalars(query))


def exempt_at(tx: Tx, end: datetime) -> set[int]:
    """Ids of all resources that an exemption held for at the last instant before ``end``."""
    day = (end - timedelta(microseconds=1)).astimezone(ZONE).date()
    query = select(Exemption.resource_id).where(
        or_(Exemption.revoked_at.is_(None), Exemption.revoked_at >= end),
        Exemption.approved_at < end,
        Exemption.starts_on <= day,
        Exemption.ends_on >= day,
    )
    return set(tx.scalars(query))


def end_due(tx: Tx) -> list[Exemption]:
    """Note, once each, the exemptions that ran out: from then on the resource is judged like any other."""
    today = tx.now.astimezone(ZONE).date()
    due = list(
        tx.scalars(
            select(Exemption)
            .where(Exemption.ended_at.is_(None), Exemption.revoked_at.is_(None), Exemption.ends_on < today)
            .order_by(Exemption.id)
            .with_for_update()
        )
    )
    for row in due:
        row.ended_at = tx.now
        tx.audit("exemption.end", f"resource:{row.resource_id}", after={"exemption": row.id, "until": row.ends_on})
    return due


def lock(tx: Tx, resource: Resource) -> None:
    """Hold the resource's row until the transaction ends, and read it anew."""
    tx.lock(resource)
