"""Closed months (月结): a month whose statement was invoiced. It is never opened again: what becomes known later is billed or
credited by correction rows of the next open month."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from providers.billing import month_bounds
from quota.actors import Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.errors import N_, Conflict, NotFound, WrongState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quota.db import Tx


class MonthClosing(Base):
    """That a month was closed, on which run of its statement. ``invoices``: the invoice's number → fen payable."""

    __tablename__ = "month_closings"
    __table_args__ = (UniqueConstraint("month"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(String(7))
    run_id: Mapped[int] = mapped_column(unique=True)
    invoices: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(Text, default="")
    closed_at: Mapped[datetime]
    closed_by: Mapped[str] = mapped_column(String(64))


append_only(MonthClosing.__table__)  # type: ignore[arg-type]


def closing(tx: Tx, month: str) -> MonthClosing | None:
    """How ``month`` was closed; None while it is open."""
    return tx.scalar(select(MonthClosing).where(MonthClosing.month == month))


def closings(tx: Tx) -> list[MonthClosing]:
    """Every closed month, oldest first."""
    return list(tx.scalars(select(MonthClosing).order_by(MonthClosing.month)))


def hold(tx: Tx) -> None:
    """Until this transaction ends, no other one keeps a statement or closes a month."""
    tx.alone("months")


def following(month: str) -> str:
    """The month after ``month``."""
    return f"{month_bounds(month)[1].astimezone(ZONE):%Y-%m}"


def corrected_in(tx: Tx) -> str | None:
    """The month that takes corrections: the one after the last closed; None where none was closed."""
    closed = closings(tx)
    return following(closed[-1].month) if closed else None


def close(tx: Tx, month: str, run_id: int, invoices: Mapping[str, int], *, reason: str = "") -> MonthClosing:
    """Close ``month`` on a run of its statement. Months are closed in order, once each.

    Raises NotAllowed, WrongState for a month that is not over, Conflict for one closed already or out of order.
    """
    tx.actor.must_be(Role.AUTHORITY)
    _, end = month_bounds(month)
    if tx.now < end:
        raise WrongState("month.not_over", N_("%(month)s 尚未结束,不能月结"), month=month)
    closed = closings(tx)
    if any(one.month == month for one in closed):
        raise Conflict("month.closed_already", N_("%(month)s 已月结"), month=month)
    if closed and month != following(closed[-1].month):
        raise Conflict("month.order", N_("月结须按月依次进行,下一个是 %(month)s"), month=following(closed[-1].month))
    row = MonthClosing(
        month=month,
        run_id=run_id,
        invoices=dict(invoices),
        reason=reason.strip(),
        closed_at=tx.now,
        closed_by=tx.actor.login,
    )
    tx.add(row)
    tx.flush()
    tx.audit("month.close", f"month:{month}", after={"run": run_id, "invoices": dict(invoices)}, reason=row.reason)
    return row


def of(tx: Tx, month: str) -> MonthClosing:
    """How ``month`` was closed. Raises NotFound while it is open."""
    found = closing(tx, month)
    if found is None:
        raise NotFound("month.open", N_("%(month)s 尚未月结"), month=month)
    return found
