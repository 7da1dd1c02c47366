"""The ledger on record: accounts, transfers, their entries, and holds; quota.ledger alone writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base, Count, append_only
from quota.directory import Pool, System
from quota.seals import GENESIS
from quota.units import Arch, ClassCode, Commodity


class Holder(StrEnum):
    SUPPLY = "supply"
    FREE = "free"
    HELD = "held"
    GRANTED = "granted"
    USED = "used"
    LENT = "lent"  # borrowed by its department, not in use
    SHARED = "shared"  # a department's, given to its systems, not in use


OWNED = (Holder.GRANTED, Holder.HELD, Holder.USED, Holder.LENT, Holder.SHARED)
"""The holders that belong to a department."""

QUOTA = (Holder.GRANTED, Holder.SHARED, Holder.HELD, Holder.USED)
"""What counts as a department's quota: all that belongs to it but what it borrowed."""


class HoldState(StrEnum):
    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"
    EXPIRED = "expired"


class Account(Base):
    """A balance in base units. ``code`` is its identity: pool/class/holder/department."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint(
            "(holder = 'supply' AND balance <= 0) OR (holder <> 'supply' AND balance >= 0)",
            name="never_below_zero",
        ),
        Index("ix_accounts_where", "pool_id", "kind", "arch"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(96), unique=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    holder: Mapped[str] = mapped_column(String(8))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    balance: Mapped[int] = mapped_column(Count, default=0)
    entries: Mapped[int] = mapped_column(default=0)  # how many entries it has
    digest: Mapped[str] = mapped_column(String(64), default=GENESIS)  # of the last entry

    @property
    def commodity(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.arch))


class Transfer(Base):
    """One command and its movements."""

    __tablename__ = "transfers"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    command: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(128), default="", index=True)  # request:12, case:7
    fingerprint: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    memo: Mapped[str] = mapped_column(Text, default="")

    movements: Mapped[list[Entry]] = relationship(back_populates="transfer", order_by="Entry.id")


class Entry(Base):
    """One side of a movement, sealed to the entry before it on the same account."""

    __tablename__ = "entries"
    __table_args__ = (
        UniqueConstraint("account_id", "sequence"),
        CheckConstraint("delta <> 0", name="moves"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    transfer_id: Mapped[int] = mapped_column(ForeignKey("transfers.id"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    sequence: Mapped[int]
    delta: Mapped[int] = mapped_column(Count)
    balance: Mapped[int] = mapped_column(Count)  # after this entry
    digest: Mapped[str] = mapped_column(String(64))

    transfer: Mapped[Transfer] = relationship(back_populates="movements")
    account: Mapped[Account] = relationship()


append_only(Transfer.__table__)  # type: ignore[arg-type]
append_only(Entry.__table__)  # type: ignore[arg-type]


class SystemShare(Base):
    """What of its department's quota a system was given (系统份额): ``amount`` in all, of that ``used`` by what requests brought it;
    what is left lies on the department's account SHARED, or is held for a request. Nothing of it left: it has no share."""

    __tablename__ = "system_shares"
    __table_args__ = (
        UniqueConstraint("system_id", "pool_id", "kind", "arch"),
        CheckConstraint("used >= 0 AND used <= amount", name="sane"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    amount: Mapped[int] = mapped_column(Count, default=0)
    used: Mapped[int] = mapped_column(Count, default=0)

    system: Mapped[System] = relationship()
    pool: Mapped[Pool] = relationship()

    @property
    def commodity(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.arch))


class Hold(Base):
    """Capacity set aside until decided. Posted (whole or in part), voided or expired exactly once."""

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("amount > 0 AND posted >= 0 AND posted <= amount", name="sane"),
        CheckConstraint("(state = 'posted') = (posted > 0)", name="posted"),
        Index("ix_holds_state_expires", "state", "expires_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(160), unique=True)
    subject: Mapped[str] = mapped_column(String(128), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"))
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(8))  # the holder it was taken from, and goes back to
    target: Mapped[str] = mapped_column(String(8))  # the holder it is posted to
    amount: Mapped[int] = mapped_column(Count)
    posted: Mapped[int] = mapped_column(Count, default=0)
    state: Mapped[str] = mapped_column(String(8), default=HoldState.PENDING.value)
    expires_at: Mapped[datetime | None]
    share_id: Mapped[int | None] = mapped_column(ForeignKey("system_shares.id"), index=True)  # of what is SHARED: whose

    @property
    def commodity(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.arch))


@dataclass(frozen=True, slots=True)
class Side:
    """An account by what it is; it is opened when first moved to."""

    pool_id: int
    cls: Commodity
    holder: Holder
    department_id: int | None = None

    @property
    def code(self) -> str:
        return f"{self.pool_id}/{self.cls}/{self.holder.value}/{self.department_id or '-'}"


@dataclass(frozen=True, slots=True)
class Move:
    source: Side
    target: Side
    amount: int


Classes = Mapping[Commodity, int]
"""Base units by resource class."""
