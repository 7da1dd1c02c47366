"""Tariffs (价目): what one unit costs, since when. Rows are never edited: a correction is a later row for the same day.

A tariff prices one kind, for everybody or narrowed to an architecture, a company, a catalogue item or a contract; the narrowest one
that fits holds, and what a contract agreed on before all else. Of equally narrow ones the latest to take effect holds on a day, and of those of one day the last entered, so that
a wrong price is corrected by entering it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Date, ForeignKey, Index, Numeric, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.statements.performance import NOTHING_MEASURED, Gradings
from providers.contracts import Contract, Lots, contracts
from quota.actors import Role
from quota.base import Base, append_only
from quota.directory import CatalogItem, CloudProvider
from quota.errors import N_, Invalid, NotFound
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CLASSES,
    CRYPTOGRAPHY,
    DATABASE,
    EIP,
    MEMORY,
    MIDDLEWARE,
    OBJECT,
    SECURITY,
    VCPU,
    Arch,
    ClassCode,
)

if TYPE_CHECKING:
    from quota.db import Tx

CURRENCY = "CNY"
EXAMPLE = N_("示例")
HOURS = Decimal(730)
"""Of a month: a twelfth of a year."""

MOST = Decimal(10_000_000)
"""No unit costs as much: a slip of the keyboard."""


class Per(StrEnum):
    """For which time a price is."""

    HOUR = "hour"
    MONTH = "month"


PER_LABELS = {Per.HOUR: N_("时"), Per.MONTH: N_("月")}


class Tariff(Base):
    """``price`` yuan for one shown unit of ``kind`` (a GB, not a MiB) held for an hour or a month. ``stopped_share``: how many
    per cent of it a machine costs that is off. ``label`` is "示例" for prices that nobody agreed on."""

    __tablename__ = "tariffs"
    __table_args__ = (Index("ix_tariffs_kind_effective_from", "kind", "effective_from"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str | None] = mapped_column(String(16))
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"))
    catalog_item_id: Mapped[int | None] = mapped_column(ForeignKey("catalog_items.id"))
    contract_id: Mapped[int | None] = mapped_column(ForeignKey("contracts.id"))
    price: Mapped[Decimal] = mapped_column(Numeric(14, 6))
    per: Mapped[str] = mapped_column(String(8))
    stopped_share: Mapped[int] = mapped_column(default=100)
    effective_from: Mapped[date] = mapped_column(Date)
    label: Mapped[str] = mapped_column(String(32), default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))

    provider: Mapped[CloudProvider | None] = relationship()
    item: Mapped[CatalogItem | None] = relationship()
    contract: Mapped[Contract | None] = relationship()

    def unit_price(self, stopped: bool) -> Decimal:
        """Yuan for one unit, of a machine that is off where ``stopped``; exact to eight places."""
        return self.price * self.stopped_share / 100 if stopped else self.price


append_only(Tariff.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be priced."""

    kind: ClassCode
    arch: Arch
    provider_id: int
    catalog_item_id: int | None = None
    contract_id: int | None = None


def enter(
    tx: Tx,
    kind: ClassCode,
    price: Decimal,
    effective_from: date,
    *,
    per: Per = Per.MONTH,
    arch: Arch | None = None,
    provider_id: int | None = None,
    catalog_item_id: int | None = None,
    contract_id: int | None = None,
    stopped_share: int = 100,
    label: str = "",
    reason: str = "",
) -> Tariff:
    """Enter a price. One for a day that has a price already corrects it; what was closed by then is corrected by rows of its
    own. Raises NotAllowed, Invalid for figures that make no sense or a correction without a reason."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    if not price.is_finite() or not 0 <= price < MOST:
        raise Invalid("tariff.price", N_("单价须为非负数,且小于%(most)s元"), most=MOST, field="price")
    if price != price.quantize(Decimal("0.000001")):
        raise Invalid("tariff.places", N_("单价最多六位小数"), field="price")
    if not 0 <= stopped_share <= 100:
        raise Invalid("tariff.stopped", N_("关机计费比例须为0至100的整数"), field="stopped_share")
    if arch is not None and not CLASSES[kind].by_arch:
        raise Invalid("tariff.arch", N_("%(kind)s不分架构"), kind=CLASSES[kind].label, field="arch")
    if provider_id is not None and tx.get(CloudProvider, provider_id) is None:
        raise NotFound("provider.none", N_("没有编号为 %(id)s 的云服务商"), id=provider_id)
    if catalog_item_id is not None and tx.get(CatalogItem, catalog_item_id) is None:
        raise Invalid("tariff.item", N_("服务目录中没有该条目"), field="item")
    if contract_id is not None:
        agreed = contracts.contract(tx, contract_id)
        if provider_id not in (None, agreed.provider_id):
            raise Invalid("tariff.contract", N_("该合同不是这家云服务商的"), field="contract")
        if not agreed.first_day <= effective_from <= agreed.last_day:
            raise Invalid("tariff.term", N_("合同价的生效日期须在合同期内"), field="effective_from")
        provider_id = agreed.provider_id
    row = Tariff(
        kind=kind,
        arch=arch.value if arch is not None else None,
        provider_id=provider_id,
        catalog_item_id=catalog_item_id,
        contract_id=contract_id,
        price=price,
        per=per.value,
        stopped_share=stopped_share,
        effective_from=effective_from,
        label=label,
        reason=reason.strip(),
        entered_at=tx.now,
        entered_by=tx.actor.login,
    )
    before = corrected_by(tx, row)
    if before is not None and not row.reason:
        raise Invalid("tariff.reason", N_("该日期已有价格,更正须写明原因"), field="reason")
    tx.add(row)
    tx.flush()
    tx.audit(
        "tariff.enter",
        f"tariff:{row.id}",
        before={"tariff": before.id, "price": before.price} if before is not None else None,
        after={"kind": kind, "price": price, "per": per, "effective_from": effective_from}
        | ({"contract": contract_id} if contract_id is not None else {}),
        reason=row.reason,
    )
    return row


def corrected_by(tx: Tx, row: Tariff) -> Tariff | None:
    """The price in the book that ``row`` would correct: the last one for the same things from the same day on."""
    same = [
        column == value if value is not None else column.is_(None)
        for column, value in (
            (Tariff.arch, row.arch),
            (Tariff.provider_id, row.provider_id),
            (Tariff.catalog_item_id, row.catalog_item_id),
            (Tariff.contract_id, row.contract_id),
        )
    ]
    query = select(Tariff).where(Tariff.kind == row.kind, Tariff.effective_from == row.effective_from, *same)
    return tx.scalar(query.order_by(Tariff.id.desc()).limit(1))


def entered(tx: Tx) -> list[Tariff]:
    """Every price, in the order of entry."""
    return list(tx.scalars(select(Tariff).order_by(Tariff.id)))


def in_force(tariffs: Sequence[Tariff], subject: Subject, day: date) -> Tariff | None:
    """The price of ``subject`` on ``day``; None where nobody has set one."""
    best: tuple[int, date, int] | None = None
    found = None
    for one in tariffs:
        if one.kind != subject.kind or one.effective_from > day:
            continue
        if (
            (one.arch is not None and one.arch != subject.arch.value)
            or (one.provider_id is not None and one.provider_id != subject.provider_id)
            or (one.catalog_item_id is not None and one.catalog_item_id != subject.catalog_item_id)
            or (one.contract_id is not None and one.contract_id != subject.contract_id)
        ):
            continue
        narrow = (
            8 * (one.contract_id is not None) + 4 * (one.catalog_item_id is not None)
            + 2 * (one.provider_id is not None) + (one.arch is not None)
        )  # fmt: skip
        rank = (narrow, one.effective_from, one.id)
        if best is None or rank > best:
            best, found = rank, one
    return found


def lots(tx: Tx, tariffs: Sequence[Tariff]) -> Lots:
    """What the contracts cover of the companies of which one has prices of its own; of no other a price hangs on it."""
    companies = {one.provider_id for one in tariffs if one.contract_id is not None and one.provider_id is not None}
    return contracts.lots(tx, companies) if companies else Lots.of(())


def by_day(
    tariffs: Sequence[Tariff],
    subject: Subject,
    first: date,
    days: int,
    gradings: Gradings = NOTHING_MEASURED,
    under: Sequence[int | None] = (),
) -> list[Tariff | None]:
    """The price on each of ``days`` days from ``first`` on, of what was delivered as ``subject`` says; ``under``: the contract of
    each of them."""
    told = [replace(subject, contract_id=one) for one in under] if any(under) else [subject] * days
    return [held(tariffs, told[n], first + timedelta(days=n), gradings) for n in range(days)]


def held(tariffs: Sequence[Tariff], subject: Subject, day: date, gradings: Gradings) -> Tariff | None:
    """The price on ``day``, by the item that it was measured to be; never a dearer one than that of what was ordered."""
    ordered = in_force(tariffs, subject, day)
    measured = gradings.item(subject.provider_id, subject.catalog_item_id, day)
    if measured == subject.catalog_item_id:
        return ordered
    found = in_force(tariffs, replace(subject, catalog_item_id=measured), day)
    return ordered if found and ordered and _monthly(found) > _monthly(ordered) else found


def _monthly(tariff: Tariff) -> Decimal:
    return tariff.price * (HOURS if tariff.per == Per.HOUR else 1)


EXAMPLES: dict[ClassCode, tuple[str, Per]] = {
    VCPU: ("46", Per.MONTH),
    MEMORY: ("18", Per.MONTH),
    BLOCK: ("0.32", Per.MONTH),
    OBJECT: ("0.11", Per.MONTH),
    BANDWIDTH: ("36", Per.MONTH),
    EIP: ("15", Per.MONTH),
    DATABASE: ("880", Per.MONTH),
    MIDDLEWARE: ("420", Per.MONTH),
    SECURITY: ("1200", Per.MONTH),
    CRYPTOGRAPHY: ("950", Per.MONTH),
    ACCELERATOR: ("6.5", Per.HOUR),
}
"""Invented prices for the demo, each labelled as an example."""


def examples(tx: Tx, effective_from: date) -> list[Tariff]:
    """Enter the invented prices."""
    return [
        enter(tx, kind, Decimal(price), effective_from, per=per, label=EXAMPLE, reason=EXAMPLE)
        for kind, (price, per) in EXAMPLES.items()
    ]
