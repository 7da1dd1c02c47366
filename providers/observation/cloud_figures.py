"""What clouds tell of their own books: the capacity of a pool, and the quota of each project with what is counted on it. Evidence
beside what people typed and granted, never in its place.

They are asked for once in a while, not with each listing: a quota costs a question a project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Numeric, String, Text, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from providers.base import CloudCapacity, ProjectQuota
from quota import inventory
from quota.actors import Role
from quota.base import Base, Count
from quota.db import among
from quota.directory import pools
from quota.inventory import CloudProject
from quota.units import ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

EVERY = timedelta(hours=1)
"""How long what was told is good enough."""

RATIO_STEP = Decimal("0.001")


class CloudBook(StrEnum):
    """Which of a cloud's books is told of."""

    CAPACITY = "capacity"
    QUOTAS = "quotas"


class BookReading(Base):
    """The last reading of one of a pool's cloud's books. ``fault``: a code of providers.connection.FAULTS, "" while all is
    well; then ``said`` are the cloud's words, and what stands there is of ``read_at``."""

    __tablename__ = "cloud_book_readings"
    __table_args__ = (UniqueConstraint("pool_id", "what"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    what: Mapped[str] = mapped_column(String(16))  # CloudBook
    tried_at: Mapped[datetime]
    read_at: Mapped[datetime | None]
    fault: Mapped[str] = mapped_column(String(64), default="")
    said: Mapped[str] = mapped_column(Text, default="")


class ToldCapacity(Base):
    """What the cloud says that a pool has of one class, as providers.base.CloudCapacity has it; base units."""

    __tablename__ = "cloud_capacities"
    __table_args__ = (UniqueConstraint("pool_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    kind: Mapped[str] = mapped_column(String(16))
    total: Mapped[int] = mapped_column(Count)
    reserved: Mapped[int] = mapped_column(Count)
    ratio: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    used: Mapped[int] = mapped_column(Count)
    as_of: Mapped[datetime]

    @property
    def usable(self) -> int:
        """Base units that the cloud gives out at most."""
        return int((self.total - self.reserved) * self.ratio)


class ToldQuota(Base):
    """What the cloud lets a project have of one class, base units: ``most`` None = no limit; ``unified`` beside it, where the
    cloud keeps limits in a second place (None: not there, or no limit)."""

    __tablename__ = "cloud_quotas"
    __table_args__ = (UniqueConstraint("project_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("cloud_projects.id"))
    kind: Mapped[str] = mapped_column(String(16))
    most: Mapped[int | None] = mapped_column(Count)
    unified: Mapped[int | None] = mapped_column(Count)
    used: Mapped[int] = mapped_column(Count)
    as_of: Mapped[datetime]


def due(tx: Tx, pool_id: int, what: CloudBook) -> bool:
    """Whether what is known is older than it should be, or the last try failed."""
    row = reading(tx, pool_id, what)
    return row is None or row.read_at is None or bool(row.fault) or row.read_at <= tx.now - EVERY


def reading(tx: Tx, pool_id: int, what: CloudBook) -> BookReading | None:
    """The last reading, if there was one."""
    return tx.scalar(select(BookReading).where(BookReading.pool_id == pool_id, BookReading.what == what.value))


def again(tx: Tx, pool_id: int, what: CloudBook) -> None:
    """What is known is not as it was any more: it is read with the next collection, however young it is."""
    row = reading(tx, pool_id, what)
    if row is not None:
        row.read_at = None
        tx.flush()


def failed(tx: Tx, pool_id: int, what: CloudBook, code: str, said: str) -> None:
    """It could not be read; what was told before stays."""
    row = _tried(tx, pool_id, what)
    row.fault, row.said = code or "fault", said[:1000]


def enter_capacity(tx: Tx, pool_id: int, told: Iterable[CloudCapacity], as_of: datetime) -> None:
    """What the cloud says it has takes the place of what it said before."""
    _read(tx, pool_id, CloudBook.CAPACITY, as_of)
    tx.execute(delete(ToldCapacity).where(ToldCapacity.pool_id == pool_id))
    for one in told:
        tx.add(
            ToldCapacity(
                pool_id=pool_id, kind=one.kind, total=min(one.total, pools.MOST), reserved=min(one.reserved, one.total, pools.MOST),
                ratio=sound_ratio(one.ratio), used=one.used, as_of=as_of,
            )
        )  # fmt: skip
    tx.flush()


def sound_ratio(ratio: Decimal) -> Decimal:
    """As the book keeps a ratio: to three places, never more than it is."""
    return min(max(ratio.quantize(RATIO_STEP, ROUND_DOWN), RATIO_STEP), Decimal(pools.MOST_RATIO))


def enter_quotas(tx: Tx, pool_id: int, told: Sequence[ProjectQuota], as_of: datetime) -> None:
    """What the cloud says of every project takes the place of what it said before."""
    _read(tx, pool_id, CloudBook.QUOTAS, as_of)
    names = {
        one.project.external_id: inventory.projects.ProjectNames(one.project.name, one.project.domain, one.project.tags)
        for one in told
    }
    rows = inventory.projects.enter(tx, pool_id, names, as_of)
    tx.execute(delete(ToldQuota).where(among(ToldQuota.project_id, [one.id for one in rows.values()])))
    for one in told:
        for kind in dict.fromkeys([*one.limits, *one.used, *one.unified]):
            tx.add(
                ToldQuota(
                    project_id=rows[one.project.external_id].id, kind=kind, most=one.limits.get(kind),
                    unified=one.unified.get(kind), used=one.used.get(kind, 0), as_of=as_of,
                )
            )  # fmt: skip
    tx.flush()


def capacities(tx: Tx, pool_id: int) -> dict[ClassCode, ToldCapacity]:
    """Class → what the pool's cloud says that it has of it."""
    return {ClassCode(one.kind): one for one in tx.scalars(select(ToldCapacity).where(ToldCapacity.pool_id == pool_id))}


def quotas(tx: Tx, projects: Iterable[CloudProject]) -> Mapping[int, list[ToldQuota]]:
    """Project id → what the cloud lets it have, class by class."""
    found: dict[int, list[ToldQuota]] = {}
    query = select(ToldQuota).where(among(ToldQuota.project_id, [one.id for one in projects])).order_by(ToldQuota.id)
    for row in tx.scalars(query):
        found.setdefault(row.project_id, []).append(row)
    return found


def _read(tx: Tx, pool_id: int, what: CloudBook, as_of: datetime) -> None:
    row = _tried(tx, pool_id, what)
    row.read_at, row.fault, row.said = as_of, "", ""


def _tried(tx: Tx, pool_id: int, what: CloudBook) -> BookReading:
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    row = reading(tx, pool_id, what)
    if row is None:
        row = BookReading(pool_id=pool_id, what=what.value, tried_at=tx.now, fault="", said="")
        tx.add(row)
    row.tried_at = tx.now
    tx.flush()
    return row
