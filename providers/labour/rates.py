"""Rates (人工服务单价): what a man-day, or a service done once, costs from a day on. Rows are never edited: a correction is a later row.

A rate is everybody's or one company's, which holds before everybody's. Of a code's rates the latest to take effect holds on a day, and of
those of one day the last entered.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, Numeric, String, Text, or_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import CloudProvider
from quota.errors import N_, Invalid, NotFound, stated

if TYPE_CHECKING:
    from quota.db import Tx

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
MOST = Decimal(10_000_000)
"""Yuan that no man-day and no service costs: a slip of the keyboard."""


class LabourRate(Base):
    """``price`` yuan for one ``unit`` (人天, 次, 套) of the service ``code``; a price that is over is followed by one of another day."""

    __tablename__ = "labour_rates"
    __table_args__ = (
        CheckConstraint("price >= 0", name="price"),
        Index("ix_labour_rates_code_effective_from", "code", "effective_from"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(96))
    unit: Mapped[str] = mapped_column(String(16))
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"))
    effective_from: Mapped[date] = mapped_column(Date)
    offered: Mapped[bool] = mapped_column(default=True)  # False: from this day on it is not
    reason: Mapped[str] = mapped_column(Text, default="")
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))

    provider: Mapped[CloudProvider | None] = relationship()


append_only(LabourRate.__table__)  # type: ignore[arg-type]


def enter(
    tx: Tx,
    code: str,
    name: str,
    unit: str,
    price: Decimal,
    effective_from: date,
    *,
    provider_id: int | None = None,
    offered: bool = True,
    reason: str = "",
) -> LabourRate:
    """Enter a rate, or (``offered`` False) that the service is not to be had any more from a day on. By the authority.

    Raises NotAllowed, Invalid for figures that make no sense, or for a second one of a day without a reason; NotFound for no company."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    code = code.strip()
    if not CODE.fullmatch(code):
        raise Invalid("labour.code", N_("代码由字母、数字和 . - _ 组成，最多 32 个字符"), field="code")
    said = {
        field: stated(value, field, code="labour.empty", message=N_("名称和计量单位都不能为空"))
        for field, value in (("name", name), ("unit", unit))
    }
    for field, most in (("name", 96), ("unit", 16)):
        if len(said[field]) > most:
            raise Invalid("labour.long", N_("最长 %(most)s 字"), most=most, field=field)
    if not price.is_finite() or not 0 <= price < MOST or price != price.quantize(Decimal("0.01")):
        raise Invalid("labour.price", N_("单价须为小于 %(most)s 元的非负数，最多两位小数"), most=MOST, field="price")
    if provider_id is not None and tx.get(CloudProvider, provider_id) is None:
        raise NotFound("provider.none", N_("没有编号为 %(id)s 的云服务商"), id=provider_id)
    tx.alone("labour rates")
    whose = LabourRate.provider_id == provider_id if provider_id is not None else LabourRate.provider_id.is_(None)
    same = select(LabourRate.id).where(LabourRate.code == code, LabourRate.effective_from == effective_from, whose)
    if tx.scalar(same.limit(1)) is not None and not reason.strip():
        raise Invalid("labour.reason", N_("该日期已有单价，更正须写明原因"), field="reason")
    row = LabourRate(
        code=code, **said, price=price, provider_id=provider_id, effective_from=effective_from, offered=offered,
        reason=reason.strip()[:2000], entered_at=tx.now, entered_by=tx.actor.login,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit(
        "labour.rate", f"labour_rate:{row.id}",
        after={"code": code, **said, "price": price, "provider": provider_id, "effective_from": effective_from, "offered": offered},
        reason=row.reason,
    )  # fmt: skip
    return row


def in_force(tx: Tx, provider_id: int, at: datetime) -> dict[str, LabourRate]:
    """Code → the rate that a company is paid at an instant, as it was known then, of every service that is to be had."""
    query = select(LabourRate).where(
        LabourRate.effective_from <= at.astimezone(ZONE).date(), LabourRate.entered_at <= at,
        or_(LabourRate.provider_id.is_(None), LabourRate.provider_id == provider_id),
    )  # fmt: skip
    found: dict[str, LabourRate] = {}
    order = (LabourRate.provider_id.is_not(None), LabourRate.effective_from, LabourRate.id)
    for row in tx.scalars(query.order_by(*order)):
        found[row.code] = row
    return {code: row for code, row in sorted(found.items()) if row.offered}
