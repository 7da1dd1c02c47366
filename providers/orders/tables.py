"""Work orders (工单): what a provider is told to do, by when, and how far it is.

    pending 待派单 → sent 已派单 → delivering 交付中 → delivered 待验收 → accepted 已完成
                        ↘ failed 失败 (retried, done by hand or cancelled 已取消)

An order counts in the month in which it is due, so that each counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    and_,
    case,
    false,
    func,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.base import ServiceKind, Verb
from quota import search
from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.base import Base
from quota.calendar import ZONE, WorkingDays, working_days
from quota.directory import CloudProvider, Department, Pool, System
from quota.errors import N_, Conflict, Invalid, NotFound
from quota.inventory import Resource, engagements, seen_by
from quota.requests import Unit
from quota.units import Amount

if TYPE_CHECKING:
    from quota.db import Tx


RETURN = "return:"
"""How the keys begin of orders that give back what a request was granted for a time; its id follows."""

RETIRE = "retire:"
"""How the keys begin of orders that delete what was moved elsewhere; the id of the request that moved it follows."""

BY_CLOCK = ":clock"
"""How those of them end that nobody asked for: the time was over."""


class OrderState(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    FAILED = "failed"
    CANCELLED = "cancelled"


STATE_LABELS = {
    OrderState.PENDING: N_("待派单"),
    OrderState.SENT: N_("已派单"),
    OrderState.DELIVERING: N_("交付中"),
    OrderState.DELIVERED: N_("待验收"),
    OrderState.ACCEPTED: N_("已完成"),
    OrderState.FAILED: N_("失败"),
    OrderState.CANCELLED: N_("已取消"),
}

VERB_LABELS = {
    Verb.CREATE: N_("开通"),
    Verb.RESIZE: N_("变更规格"),
    Verb.STOP: N_("关机"),
    Verb.START: N_("开机"),
    Verb.SNAPSHOT: N_("快照"),
    Verb.RECYCLE: N_("移入回收站"),
    Verb.RESTORE: N_("从回收站恢复"),
    Verb.DELETE: N_("删除"),
    Verb.SET_QUOTA: N_("设置云上配额"),
}

UNDER_WAY = frozenset({OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING})
"""The provider's turn, and nothing wrong so far."""

OPEN = UNDER_WAY | {OrderState.FAILED, OrderState.DELIVERED}

TAKING = frozenset({Verb.STOP, Verb.RECYCLE, Verb.DELETE})
"""What takes a running thing away from somebody: at most so many within an hour, and with them what is planned with a call that
stops something (PlannedCall.stops)."""

HELD = {
    "objection": N_("现在不得执行"),
    "ceiling": N_("一小时内停机、回收和删除已达上限,稍后继续"),
    "dry_run": N_("该资源池只试算、不执行"),
    "away": N_("云侧代理没有联系,或恢复联系后还没有新清单;之后重新核对,再派往云"),
}
"""Why an order waits though its turn has come, by code."""

STANDARD_DAYS = 2
"""Our own default: working days for what the catalogue says nothing of."""

LIMITS: Mapping[ServiceKind, int] = {ServiceKind.BARE_METAL: 10, ServiceKind.ACCELERATOR: 10}
"""Our own default: working days for kinds that take longer."""

EMERGENCY = timedelta(hours=4)
"""Our own default: clock time for emergencies."""

ACCEPTANCE_DAYS = 3
"""Our own default: working days after which what was delivered is deemed accepted."""


class WorkOrder(Base):
    """One thing to do in one pool. ``key`` is what its cloud is given, so that a second call does nothing.

    ``amounts`` (JSON: kind → base units) is what was approved: of a creation all, of a resize what the
    named kinds shall be. ``taken`` is what was counted as used for it before it was carried out, ``freed``
    what its delivery gave back, and ``frees`` to whom: the department's quota (granted) or the city (free).
    """

    __tablename__ = "work_orders"
    __table_args__ = (
        Index("ix_work_orders_state_pool_id", "state", "pool_id"),
        Index("ix_work_orders_due_at_id", "due_at", "id"),
        Index("ix_work_orders_provider_id_due_at", "provider_id", "due_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[str] = mapped_column(String(20), unique=True, nullable=True)  # null until its id is known
    key: Mapped[str] = mapped_column(String(128), unique=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    verb: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(24))
    resource_id: Mapped[int | None] = mapped_column(ForeignKey("resources.id"), index=True)
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"))
    catalog_item_id: Mapped[int | None] = mapped_column(ForeignKey("catalog_items.id"))
    request_id: Mapped[int | None] = mapped_column(index=True)
    case_id: Mapped[int | None] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(128), default="")
    amounts: Mapped[dict[str, int]] = mapped_column(default=dict)
    taken: Mapped[dict[str, int]] = mapped_column(default=dict)
    freed: Mapped[dict[str, int]] = mapped_column(default=dict)
    frees: Mapped[str] = mapped_column(String(8), default="granted")
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    emergency: Mapped[bool] = mapped_column(default=False)
    limit_days: Mapped[int] = mapped_column(default=STANDARD_DAYS)  # in ``limit_unit``
    limit_unit: Mapped[str] = mapped_column(
        String(16), default=Unit.WORKING_DAYS.value, server_default=Unit.WORKING_DAYS.value
    )
    due_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(12), default=OrderState.PENDING.value)
    by_hand: Mapped[bool] = mapped_column(default=False)  # the adapter cannot do it: the provider's staff does
    attempts: Mapped[int] = mapped_column(default=0)  # failed tries since it was last put on its way
    refusals: Mapped[int] = mapped_column(default=0)  # times that its cloud refused it for good; part of the next key
    told: Mapped[bool] = mapped_column(default=False, server_default=false())
    last_error: Mapped[str] = mapped_column(Text, default="")
    fault: Mapped[str] = mapped_column(
        String(16), default="", server_default=""
    )  # its code: of connection.FAULTS or HELD
    next_try_at: Mapped[datetime | None]
    placed_at: Mapped[datetime]
    placed_by: Mapped[str] = mapped_column(String(64))
    sent_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]  # when its cloud was told last: what it did not take the first time is told again
    delivered_at: Mapped[datetime | None]
    delivered_by: Mapped[str | None] = mapped_column(String(64))
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[str | None] = mapped_column(String(64))
    discrepancy: Mapped[dict[str, Any]] = mapped_column(default=dict)  # approved ≠ appeared, found on acceptance
    generation: Mapped[int] = mapped_column(default=1)

    pool: Mapped[Pool] = relationship()
    provider: Mapped[CloudProvider] = relationship()
    resource: Mapped[Resource | None] = relationship()
    department: Mapped[Department | None] = relationship()
    system: Mapped[System | None] = relationship()

    @property
    def subject(self) -> str:
        """What it was placed for: request:12, case:7, or itself."""
        if self.request_id is not None:
            return f"request:{self.request_id}"
        return f"case:{self.case_id}" if self.case_id is not None else f"order:{self.id}"

    @property
    def basis(self) -> str:
        """Under what name the inventory knows it."""
        return f"order:{self.id}"

    @property
    def cloud_key(self) -> str:
        """The key for its cloud: a new one only after the cloud itself said that it did not do it."""
        return f"{self.key}#{self.refusals + 1}" if self.refusals else self.key

    @property
    def gives_back(self) -> int | None:
        """The id of the request of which it gives back what was granted for a time; None of any other order."""
        return int(self.key.split(":")[1]) if self.key.startswith(RETURN) else None

    def approved(self) -> Amount:
        return Amount.from_json(self.amounts)

    def may_be_called_back(self) -> bool:
        """Whether nobody is at it: its cloud does not know it, or it was handed to people who have not begun."""
        state = OrderState(self.state)
        if self.by_hand:
            return state in (OrderState.PENDING, OrderState.SENT, OrderState.FAILED)
        return state in (OrderState.PENDING, OrderState.FAILED) and not self.told

    def with_interface(self) -> bool:
        """Whether its cloud's interface is at it, or may be: no work for people just now."""
        if self.by_hand:
            return False
        state = OrderState(self.state)
        return state in (OrderState.SENT, OrderState.DELIVERING) or (state is OrderState.PENDING and self.told)

    def in_time(self, now: datetime) -> bool | None:
        """Delivered by its limit? None while that is still open."""
        if self.delivered_at is not None:
            return self.delivered_at <= self.due_at
        return None if now <= self.due_at else False


@dataclass(frozen=True, slots=True)
class Bucket:
    """Working days [first, last] from placing to delivery; last None: no upper end."""

    first: int
    last: int | None

    def __str__(self) -> str:
        return f"{self.first}–{self.last}" if self.last is not None else f">{self.first - 1}"


BUCKETS = (Bucket(1, 3), Bucket(4, 10), Bucket(11, 30), Bucket(31, 60), Bucket(61, None))
"""As one city reports its delivery times."""


def bucket(days: int) -> Bucket:
    """The bucket of a delivery that took ``days`` working days; the same day counts as the first."""
    return next(one for one in BUCKETS if one.last is None or days <= one.last)


def late(now: datetime) -> ColumnElement[bool]:
    """Orders that the company should have delivered by now and did not: what is delivered waits for its department."""
    return WorkOrder.state.in_([one.value for one in UNDER_WAY | {OrderState.FAILED}]) & (WorkOrder.due_at < now)


def due(calendar: WorkingDays, placed_at: datetime, limit: int, unit: str, *, emergency: bool) -> datetime:
    """When an order placed at ``placed_at`` must be delivered."""
    return placed_at + EMERGENCY if emergency else calendar.limit(placed_at, limit, unit)


def numbered(order_id: int, placed_at: datetime) -> str:
    """GD-2026-000123: the year it was placed in, and its id, so that no two writers wait for a counter."""
    return f"GD-{placed_at.astimezone(ZONE).year}-{order_id:06d}"


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Orders that ``actor`` may see: a department's own, a company's own, all for the steward and the
    auditor."""
    if actor.role is Role.PROVIDER:
        return WorkOrder.provider_id == actor.provider_id if actor.provider_id is not None else false()
    return seen_by(tx, actor, WorkOrder.department_id, WorkOrder.pool_id)


search.register(
    search.Sought(
        "order", 5, WorkOrder,
        select(WorkOrder.id, WorkOrder.department_id, WorkOrder.pool_id, WorkOrder.number, WorkOrder.name, WorkOrder.state),
        lambda row: (row.number or "", row.name, (row.name,)),
        visible,
    )
)  # fmt: skip


def order(tx: Tx, order_id: int) -> WorkOrder:
    """The order, or NotFound, also where the actor may not see it."""
    may = visible(tx, tx.actor)
    if may.compare(true()):  # nearly always the steward, and the order is at hand
        found = tx.get(WorkOrder, order_id)
    else:
        found = tx.scalar(select(WorkOrder).where(WorkOrder.id == order_id, may))
    if found is None:
        raise NotFound("order.none", N_("没有编号为 %(id)s 的工单"), id=order_id)
    return found


def locked(tx: Tx, order_id: int, generation: int | None = None) -> WorkOrder:
    """The order, locked for writing. Conflict where the page that it was decided on shows an older
    ``generation``."""
    found = order(tx, order_id)
    stale = Conflict("order.stale", N_("工单 %(number)s 已被他人更新,请刷新后再操作"), number=found.number)
    return tx.lock_as_shown(found, generation, stale)


@engagements.ask
def must_not_be_ordered(tx: Tx, resource: Resource) -> None:
    """Raise Invalid where the resource is being changed by an order now, or by one that failed and is not settled."""
    changing = WorkOrder.state.in_([*UNDER_WAY, OrderState.FAILED])
    under_way = tx.scalar(select(WorkOrder.number).where(WorkOrder.resource_id == resource.id, changing))
    if under_way is not None:
        raise Invalid(
            "request.order_open",
            N_("该资源有未办结的工单 %(number)s,请等它办结"),
            number=under_way,
            field="resource_id",
        )


def undecided() -> ColumnElement[bool]:
    """The orders whose end is yet to be taken in, or that may still be called back (``may_be_called_back``)."""
    ended = [OrderState.DELIVERED.value, OrderState.ACCEPTED.value, OrderState.CANCELLED.value]
    early = [OrderState.PENDING.value, OrderState.FAILED.value]
    by_hand = and_(WorkOrder.by_hand, WorkOrder.state.in_([*early, OrderState.SENT.value]))
    by_interface = and_(not_(WorkOrder.by_hand), not_(WorkOrder.told), WorkOrder.state.in_(early))
    return or_(WorkOrder.state.in_(ended), by_hand, by_interface)


def bucket_number(calendar: WorkingDays, start: datetime, end: datetime) -> ColumnElement[int | None]:
    """Of an order that was delivered in [start, end), which is not empty: the place of its bucket in BUCKETS, reckoned by the database, so that a month
    of deliveries is counted and filtered where it lies. None for every other order."""
    days = []
    day = start.astimezone(calendar.zone).date()
    while (begin := _midnight(calendar, day)) < end:
        placed = _placed_from(calendar, day)
        took = case(*((WorkOrder.placed_at >= since, number) for number, since in placed), else_=len(BUCKETS) - 1)
        next_day = day + timedelta(days=1)
        within = (
            WorkOrder.delivered_at >= max(begin, start),
            WorkOrder.delivered_at < min(_midnight(calendar, next_day), end),
        )
        days.append((and_(*within), took))
        day = next_day
    return case(*days)


def _midnight(calendar: WorkingDays, day: date) -> datetime:
    return datetime.combine(day, time(), calendar.zone).astimezone(UTC)


def _placed_from(calendar: WorkingDays, delivered_on: date) -> list[tuple[int, datetime]]:
    """For a delivery on that day (place of a bucket, from when an order must have been placed to be no later than that bucket),
    the last bucket left out."""
    found = []
    day, worked = delivered_on, 0
    for number, one in enumerate(BUCKETS[:-1]):
        while worked + calendar.is_working(day) <= (one.last or 0):
            worked += calendar.is_working(day)
            day -= timedelta(days=1)
        found.append((number, _midnight(calendar, day)))
    return found


def delivery_times(tx: Tx, start: datetime, end: datetime, *, provider_id: int | None = None) -> dict[Bucket, int]:
    """How many orders delivered in [start, end) took how long, by bucket; every bucket is named."""
    query = select(bucket_number(working_days(tx), start, end).label("bucket")).where(
        WorkOrder.delivered_at >= start, WorkOrder.delivered_at < end
    )
    if provider_id is not None:
        query = query.where(WorkOrder.provider_id == provider_id)
    each = query.subquery()
    counted: dict[int | None, int] = dict(tx.execute(select(each.c.bucket, func.count()).group_by(each.c.bucket)).all())
    return {one: int(counted.get(number, 0)) for number, one in enumerate(BUCKETS)}


def moving(tx: Tx, calendar: WorkingDays) -> list[tuple[WorkOrder, datetime]]:
    """Open orders whose limit would be another one by ``calendar``, and that limit. Changes nothing."""
    query = select(WorkOrder).where(WorkOrder.state.in_([one.value for one in OPEN - {OrderState.DELIVERED}]))
    found = tx.scalars(query.order_by(WorkOrder.id)).all()
    begun = _begun_anew(tx, [one.basis for one in found if one.by_hand and one.state == OrderState.DELIVERING])
    limits = (
        (
            one,
            due(calendar, begun.get(one.basis, one.placed_at), one.limit_days, one.limit_unit, emergency=one.emergency),
        )
        for one in found
    )
    return [(one, limit) for one, limit in limits if limit != one.due_at]


def _begun_anew(tx: Tx, subjects: Sequence[str]) -> dict[str, datetime]:
    """Subject → when its delivery was last refused: its limit runs from there, not from its placing."""
    found: dict[str, datetime] = {}
    for low in range(0, len(subjects), 500):
        refused = select(AuditRecord.subject, AuditRecord.at).where(
            AuditRecord.subject.in_(subjects[low : low + 500]), AuditRecord.action == "order.refuse"
        )
        found |= dict(tx.execute(refused.order_by(AuditRecord.sequence)).all())
    return found


def reschedule(tx: Tx) -> int:
    """Compute the limits of open orders again, after the calendar changed; returns how many moved."""
    moved = moving(tx, working_days(tx))
    for one, limit in moved:
        tx.audit("order.reschedule", one.basis, before={"due_at": one.due_at}, after={"due_at": limit})
        one.due_at = limit
    return len(moved)


def returned(tx: Tx) -> set[int]:
    """Ids of requests of which nothing is left: every resource that their orders made or changed is gone, or what was granted for a
    time is given back."""
    query = (
        select(WorkOrder.request_id)
        .join(Resource, Resource.id == WorkOrder.resource_id)
        .where(WorkOrder.request_id.is_not(None))
        .group_by(WorkOrder.request_id)
        .having(func.count(Resource.id) == func.count(Resource.gone_at))
    )
    given_back = select(WorkOrder.key).where(
        WorkOrder.key.startswith(RETURN), WorkOrder.state.in_([OrderState.DELIVERED.value, OrderState.ACCEPTED.value])
    )
    back = {int(key.split(":")[1]) for key in tx.scalars(given_back)}
    return back | {one for one in tx.scalars(query) if one is not None}
