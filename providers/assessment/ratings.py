"""Satisfaction: a department rates what it accepted, one to five stars with a word, once an order."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, String, Text, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers import orders
from providers.orders import OrderState, WorkOrder
from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.directory import CloudProvider, Department, Pool
from quota.errors import N_, Conflict, Invalid, WrongState
from quota.inventory import Resource, seen_by

if TYPE_CHECKING:
    from quota.db import Tx

STARS = (1, 2, 3, 4, 5)
STAR_LABELS = {
    5: N_("5 很满意"), 4: N_("4 满意"), 3: N_("3 一般"), 2: N_("2 不满意"), 1: N_("1 很不满意"),
}  # fmt: skip


class Rating(Base):
    """How one department found one accepted order."""

    __tablename__ = "ratings"
    __table_args__ = (CheckConstraint("stars BETWEEN 1 AND 5", name="stars"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("work_orders.id"), unique=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"))
    stars: Mapped[int]
    word: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(index=True)
    by: Mapped[str] = mapped_column(String(64))

    order: Mapped[WorkOrder] = relationship()
    provider: Mapped[CloudProvider] = relationship()
    pool: Mapped[Pool] = relationship()
    department: Mapped[Department] = relationship()


append_only(Rating.__table__)  # type: ignore[arg-type]


def rate(tx: Tx, order_id: int, stars: int, word: str = "") -> Rating:
    """Rate an accepted order. A low mark says why. Raises WrongState before acceptance, Conflict the second time."""
    tx.actor.must_be(Role.TENANT)
    order = orders.order(tx, order_id)
    if order.state != OrderState.ACCEPTED or order.department_id is None:
        raise WrongState("rating.too_early", N_("验收后才能评价"))
    if stars not in STARS:
        raise Invalid("rating.stars", N_("请选择 1 至 5 分"), field="stars")
    word = word.strip()
    if stars <= 2 and not word:
        raise Invalid("rating.word", N_("不满意时请写明原因"), field="word")
    if of(tx, order_id) is not None:
        raise Conflict("rating.twice", N_("这份工单已经评价过"))
    rating = Rating(
        order_id=order.id, provider_id=order.provider_id, pool_id=order.pool_id, department_id=order.department_id,
        stars=stars, word=word[:2000], at=tx.now, by=tx.actor.login,
    )  # fmt: skip
    tx.add(rating)
    tx.flush()
    tx.audit("rating.give", order.basis, after={"rating": rating.id, "stars": stars}, reason=rating.word)
    return rating


def of(tx: Tx, order_id: int) -> Rating | None:
    return tx.scalar(select(Rating).where(Rating.order_id == order_id))


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A department its own, a company those of its pools, stewards all."""
    return seen_by(tx, actor, Rating.department_id, Rating.pool_id)


def served(tx: Tx, provider_id: int) -> int:
    """How many departments have something in the company's pools."""
    return (
        tx.scalar(
            select(func.count(Resource.department_id.distinct()))
            .join(Pool, Pool.id == Resource.pool_id)
            .where(Pool.provider_id == provider_id, Resource.gone_at.is_(None))
        )
        or 0
    )
