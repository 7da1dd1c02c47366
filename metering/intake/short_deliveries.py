"""Short deliveries (交付不足): machines that are less, as they themselves see it, than their company says that it delivered;
each with both readings, and with the host's own where there is one. Found, never put right: what is confirmed is a case put to the
company, which answers it, or contests it and is ruled on (providers.comments), within ``ANSWERED_DAYS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Float, ForeignKey, Index, Select, String, and_, cast, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.intake.feed_readings import FeedReading, of_feed
from metering.intake.feeds import Feed, Vantage
from providers.comments import Remark
from quota import inventory
from quota.actors import Role
from quota.base import Base
from quota.calendar import WorkingDays
from quota.db import batches
from quota.errors import N_, NotFound
from quota.inventory import Resource, ResourceState
from quota.units import MEMORY, VCPU

if TYPE_CHECKING:
    from quota.db import Tx

CONFIRMED = timedelta(hours=1)
"""How long it must be so before it is told: machines boot, and are resized before they boot anew."""

MEMORY_SHARE, MEMORY_MB = 0.10, 512
"""Of its memory a machine does not see what firmware and kernel keep: as much as the larger of these may be missing."""

ANSWERED_DAYS = 5
"""Working days within which a company is to say what it did about a short delivery, or why it is none."""

STOLEN_PCT = 10.0
"""Per cent of all its CPU time, idle included, that may be stolen from it, in the mean of two hours."""


class ShortAmount(StrEnum):
    """Of what there is less."""

    VCPU = "vcpu"
    MEMORY = "memory"
    CPU_TIME = "cpu_time"


LABELS: Mapping[ShortAmount, str] = {
    ShortAmount.VCPU: N_("CPU 核数"), ShortAmount.MEMORY: N_("内存 (MB)"), ShortAmount.CPU_TIME: N_("CPU 时间 (%)"),
}  # fmt: skip


class ShortDelivery(Base):
    """One machine that has less of one thing: ``delivered`` by the company's listing seen at ``listed_at``, ``seen`` by the
    machine as ``feed`` tells, ``host`` by a feed of the host (None where there is none); cores, MB or per cent.
    ``confirmed_at``: since when it is told; ``ended_at``: when it was no longer so."""

    __tablename__ = "short_deliveries"
    __table_args__ = (Index("ix_short_deliveries_first_at_id", "first_at", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"), index=True)
    feed_id: Mapped[int] = mapped_column(ForeignKey("feeds.id"), index=True)
    what: Mapped[str] = mapped_column(String(12))
    delivered: Mapped[float] = mapped_column(Float)
    listed_at: Mapped[datetime | None]
    seen: Mapped[float] = mapped_column(Float)
    host: Mapped[float | None] = mapped_column(Float)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    resource: Mapped[Resource] = relationship()
    feed: Mapped[Feed] = relationship()

    @property
    def subject(self) -> str:
        """What is said about it is said of this."""
        return f"short:{self.id}"

    @property
    def provider_id(self) -> int:
        """The company that it is put to."""
        return self.resource.pool.provider_id


def measured(resource: Resource, reading: FeedReading) -> dict[ShortAmount, tuple[float, float]]:
    """Of what both are told: (delivered, seen)."""
    amounts = resource.actual()
    found: dict[ShortAmount, tuple[float, float]] = {}
    if amounts.get(VCPU) and reading.vcpu:
        found[ShortAmount.VCPU] = float(amounts[VCPU]), reading.vcpu
    if amounts.get(MEMORY) and reading.mem_mb:
        found[ShortAmount.MEMORY] = float(amounts[MEMORY]), reading.mem_mb
    if reading.steal_pct is not None:
        found[ShortAmount.CPU_TIME] = 100.0, 100.0 - reading.steal_pct
    return found


def is_short(what: ShortAmount, delivered: float, seen: float) -> bool:
    if what is ShortAmount.VCPU:
        return seen < delivered - 0.5
    if what is ShortAmount.MEMORY:
        return delivered - seen > max(MEMORY_SHARE * delivered, MEMORY_MB)
    return delivered - seen >= STOLEN_PCT


def judge(tx: Tx, feed: Feed, heard: Iterable[int]) -> int:
    """Compare what the feed last said of these machines with what was delivered; how many are short by it. Only a feed that
    sees machines from inside can say so."""
    if feed.vantage != Vantage.GUEST:
        return 0
    readings = of_feed(tx, feed.id, heard)
    open_rows = {
        (one.resource_id, one.what): one
        for one in tx.scalars(
            select(ShortDelivery).where(ShortDelivery.feed_id == feed.id, ShortDelivery.ended_at.is_(None))
        )
    }
    found = 0
    for part in batches(sorted(readings)):
        for resource in tx.scalars(select(Resource).where(Resource.id.in_(part))):
            runs = resource.gone_at is None and resource.state == ResourceState.RUNNING
            for what, (delivered, seen) in measured(resource, readings[resource.id]).items():
                row = open_rows.get((resource.id, what.value))
                if runs and is_short(what, delivered, seen):
                    _note(tx, feed, resource, what, (delivered, seen), readings[resource.id].at, row)
                    found += 1
                elif row is not None:
                    row.ended_at = tx.now
    tx.flush()
    return found


def _note(
    tx: Tx,
    feed: Feed,
    resource: Resource,
    what: ShortAmount,
    told: tuple[float, float],
    at: datetime,
    row: ShortDelivery | None,
) -> None:
    if row is None:
        row = ShortDelivery(resource_id=resource.id, feed_id=feed.id, what=what.value, first_at=at, delivered=told[0])
        tx.add(row)
    elif row.delivered != told[0]:
        row.first_at, row.confirmed_at = at, None  # another size was delivered: it has its time to be taken up
    row.delivered, row.seen, row.last_at, row.listed_at = *told, at, resource.last_seen_at
    row.host = _of_host(tx, feed, resource, what)
    if row.confirmed_at is None and at - row.first_at >= CONFIRMED:
        row.confirmed_at = tx.now
        about = {"what": what, "delivered": told[0], "seen": told[1], "host": row.host, "feed": feed.code}
        tx.audit("delivery.short", f"resource:{resource.id}", after=about)


def _of_host(tx: Tx, feed: Feed, resource: Resource, what: ShortAmount) -> float | None:
    """What a feed that sees the machine from its host says, the most trusted first."""
    column = {
        ShortAmount.VCPU: FeedReading.vcpu,
        ShortAmount.MEMORY: FeedReading.mem_mb,
        ShortAmount.CPU_TIME: 100.0 - FeedReading.steal_pct,
    }
    query = (
        select(column[what])
        .join(Feed, Feed.id == FeedReading.feed_id)
        .where(FeedReading.resource_id == resource.id, Feed.vantage == Vantage.HOST.value, Feed.id != feed.id)
        .order_by(Feed.trust, Feed.id)
    )
    return tx.scalar(query.limit(1))


def short_delivery(tx: Tx, short_id: int) -> ShortDelivery:
    """The case, or NotFound; also where it is not certain yet, or the resource is not the actor's to see."""
    found = tx.scalar(told().where(ShortDelivery.id == short_id, visible(tx)))
    if found is None:
        raise NotFound("short.none", N_("没有编号为 %(id)s 的交付不足"), id=short_id)
    return found


def told() -> Select[ShortDelivery]:
    """Those that are certain."""
    return select(ShortDelivery).where(ShortDelivery.confirmed_at.is_not(None))


def visible(tx: Tx) -> ColumnElement[bool]:
    """Those of resources that the actor may see."""
    return ShortDelivery.resource_id.in_(select(Resource.id).where(inventory.visible(tx, tx.actor)))


def unanswered() -> ColumnElement[bool]:
    """Still short, and its company has said nothing of it."""
    said = select(Remark.id).where(
        Remark.subject == "short:" + cast(ShortDelivery.id, String), Remark.role == Role.PROVIDER.value
    )
    return and_(ShortDelivery.ended_at.is_(None), ~said.exists())


def due_at(delivery: ShortDelivery, days: WorkingDays) -> datetime | None:
    """By when the company is to answer; None before it is told."""
    return None if delivery.confirmed_at is None else days.due(delivery.confirmed_at, ANSWERED_DAYS)


def of_resource(tx: Tx, resource_id: int) -> list[ShortDelivery]:
    """What is short of a machine now, as far as it is certain."""
    query = select(ShortDelivery).where(
        ShortDelivery.resource_id == resource_id,
        ShortDelivery.confirmed_at.is_not(None),
        ShortDelivery.ended_at.is_(None),
    )
    return list(tx.scalars(query.order_by(ShortDelivery.what)))
