"""Jobs (人工服务单): what was granted, what the company says that it did, what the department confirms.

    ordered ──report▶ reported ──confirm▶ confirmed (paid for in that month)
       ▲                 └──send back──┘            ordered, reported ──cancel▶ cancelled

What is confirmed is never changed: what was wrong with it is settled by a job of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import CTE, CheckConstraint, ColumnElement, ForeignKey, Index, Numeric, String, Text, and_, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.billing import month_bounds
from providers.labour.rates import LabourRate
from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.calendar import ZONE
from quota.directory import CloudProvider, Department, Pool, System, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated
from quota.inventory import seen_by
from quota.requests import Request

if TYPE_CHECKING:
    from quota.db import Tx


class LabourState(StrEnum):
    ORDERED = "ordered"
    REPORTED = "reported"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


JOB_LABELS = {
    LabourState.ORDERED: N_("待服务"),
    LabourState.REPORTED: N_("待确认"),
    LabourState.CONFIRMED: N_("已确认"),
    LabourState.CANCELLED: N_("已取消"),
}


UNDER_WAY = (LabourState.ORDERED, LabourState.REPORTED)


class LabourJob(Base):
    """人工服务单. ``quantity``: granted, of the rate's unit; ``done``: of it as the company reports; ``fen``: what is paid, once confirmed.
    Its rate is the one by which it was granted."""

    __tablename__ = "labour_jobs"
    __table_args__ = (
        CheckConstraint("quantity > 0 AND (done IS NULL OR (done > 0 AND done <= quantity))", name="quantities"),
        CheckConstraint("(fen IS NULL) = (confirmed_at IS NULL)", name="paid"),
        Index("ix_labour_jobs_provider_id_confirmed_at", "provider_id", "confirmed_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("requests.id"), unique=True)
    rate_id: Mapped[int] = mapped_column(ForeignKey("labour_rates.id"))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"))
    content: Mapped[str] = mapped_column(Text)
    quantity: Mapped[Decimal] = mapped_column(Numeric(8, 2))
    state: Mapped[str] = mapped_column(String(12), index=True)
    done: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    done_on: Mapped[date | None]
    report: Mapped[str] = mapped_column(Text, default="")
    answer: Mapped[str] = mapped_column(Text, default="")  # why it was sent back or cancelled, or what was said of it
    fen: Mapped[int | None] = mapped_column(Count)
    ordered_at: Mapped[datetime]
    reported_by: Mapped[str] = mapped_column(String(64), default="")
    confirmed_at: Mapped[datetime | None]
    confirmed_by: Mapped[str] = mapped_column(String(64), default="")
    generation: Mapped[int] = mapped_column(default=1)

    rate: Mapped[LabourRate] = relationship()
    pool: Mapped[Pool] = relationship()
    provider: Mapped[CloudProvider] = relationship()
    department: Mapped[Department] = relationship()
    system: Mapped[System | None] = relationship()
    request: Mapped[Request] = relationship()

    @property
    def number(self) -> str:
        return f"FW-{self.id:06d}"

    @property
    def subject(self) -> str:
        return f"labour:{self.id}"


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A department those of its own and below, a company those of its pools, the steward, authority and auditor all."""
    return seen_by(tx, actor, LabourJob.department_id, LabourJob.pool_id)


def job(tx: Tx, job_id: int) -> LabourJob:
    """The job, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(LabourJob).where(LabourJob.id == job_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("labour.none", N_("没有编号为 %(id)s 的人工服务单"), id=job_id)
    return found


class ConfirmedLabour(NamedTuple):
    """Of a confirmed job what it costs, on which day, and whose it was."""

    id: int
    provider_id: int
    pool_id: int
    department_id: int
    day: date
    fen: int

    @property
    def month(self) -> str:
        return f"{self.day:%Y-%m}"


def parts(tx: Tx, months: Collection[str]) -> list[ConfirmedLabour]:
    """What was confirmed in any of these months."""
    if not months:
        return []
    since, until = month_bounds(min(months))[0], month_bounds(max(months))[1]
    job = LabourJob
    query = select(job.id, job.provider_id, job.pool_id, job.department_id, job.confirmed_at, job.fen).order_by(job.id)
    found = [
        ConfirmedLabour(*row[:4], row[4].astimezone(ZONE).date(), row[5] or 0)
        for row in tx.execute(query.where(job.confirmed_at >= since, job.confirmed_at < until))
        if row[4] is not None
    ]
    return [one for one in found if one.month in months]


def by_month(tx: Tx, months: Collection[str]) -> dict[tuple[int, str], int]:
    """(company, month) → fen, of what was confirmed in any of these months."""
    found: dict[tuple[int, str], int] = {}
    for one in parts(tx, months):
        found[one.provider_id, one.month] = found.get((one.provider_id, one.month), 0) + one.fen
    return found


def by_department(tx: Tx, first_month: str, last_month: str) -> dict[int, int]:
    """Department → fen, of what was confirmed in these months, both included."""
    query = select(LabourJob.department_id, func.sum(LabourJob.fen)).group_by(LabourJob.department_id)
    return {one: int(fen or 0) for one, fen in tx.execute(query.where(_confirmed(first_month, last_month)))}


def below(tx: Tx, first_month: str, last_month: str, tops: CTE) -> dict[int, int]:
    """The same of departments (``departments.trees``), each with all below it."""
    query = (
        select(tops.c.top, func.sum(LabourJob.fen))
        .join(LabourJob, LabourJob.department_id == tops.c.id)
        .where(_confirmed(first_month, last_month))
        .group_by(tops.c.top)
    )
    return {one: int(fen or 0) for one, fen in tx.execute(query)}


def _confirmed(first_month: str, last_month: str) -> ColumnElement[bool]:
    since, until = month_bounds(first_month)[0], month_bounds(last_month)[1]
    return and_(LabourJob.confirmed_at >= since, LabourJob.confirmed_at < until)


def worth(price: Decimal, quantity: Decimal) -> int:
    """Fen, half up."""
    return int((price * quantity * 100).quantize(Decimal(1), ROUND_HALF_UP))


# --------------------------------------------------------------------------------------------------------------- verbs


def order(tx: Tx, request: Request, rate: LabourRate, quantity: Decimal, content: str) -> LabourJob:
    """A granted request becomes a job of the pool's company."""
    made = LabourJob(
        request_id=request.id, rate_id=rate.id, pool_id=request.pool_id, provider_id=request.pool.provider_id,
        department_id=request.department_id, system_id=request.system_id, content=content, quantity=quantity,
        state=LabourState.ORDERED.value, ordered_at=tx.now, generation=1,
    )  # fmt: skip
    tx.add(made)
    tx.flush()
    tx.audit(
        "labour.order",
        made.subject,
        after={"request": request.id, "rate": rate.id, "price": rate.price, "quantity": quantity},
    )
    return made


def report(tx: Tx, job_id: int, done: Decimal, on: date, text: str, *, generation: int) -> LabourJob:
    """The company says how much of it was done, until when, and what. Raises Invalid for more than was granted."""
    tx.actor.must_be(Role.PROVIDER)
    found = _in(tx, job_id, generation, LabourState.ORDERED)
    if not done.is_finite() or not 0 < done <= found.quantity or done != done.quantize(Decimal("0.01")):
        raise Invalid(
            "labour.done", N_("完成数量须大于 0，不超过批准的 %(most)s %(unit)s，最多两位小数"),
            most=f"{found.quantity.normalize():f}", unit=found.rate.unit, field="done",
        )  # fmt: skip
    if not found.ordered_at.astimezone(ZONE).date() <= on <= tx.now.astimezone(ZONE).date():
        raise Invalid("labour.day", N_("完成日期须在下单之日与今天之间"), field="on")
    said = stated(text, "text", code="labour.report", message=N_("请写明完成的内容"))
    after = {"state": LabourState.REPORTED.value, "done": done, "done_on": on, "report": said}
    return _change(tx, found, "labour.report", {**after, "reported_by": tx.actor.login})


def confirm(tx: Tx, job_id: int, text: str = "", *, generation: int) -> LabourJob:
    """The department confirms what was done; it is paid for with this month."""
    found = _own(tx, job_id, generation)
    fen = worth(found.rate.price, found.done or Decimal(0))
    after = {"state": LabourState.CONFIRMED.value, "fen": fen, "answer": text.strip()[:2000]}
    return _change(tx, found, "labour.confirm", {**after, "confirmed_at": tx.now, "confirmed_by": tx.actor.login})


def send_back(tx: Tx, job_id: int, text: str, *, generation: int) -> LabourJob:
    """The department says why it was not done as reported; the company reports again."""
    found = _own(tx, job_id, generation)
    said = stated(text, "text", code="labour.back", message=N_("请写明退回的理由"))
    after = {"state": LabourState.ORDERED.value, "done": None, "done_on": None, "answer": said}
    return _change(tx, found, "labour.send_back", after)


def cancel(tx: Tx, job_id: int, text: str, *, generation: int) -> LabourJob:
    """The supervisor ends what will not be done, for a reason. Nothing is paid for it."""
    tx.actor.must_be(Role.SUPERVISOR)
    found = _in(tx, job_id, generation, *UNDER_WAY)
    said = stated(text, "text", code="labour.cancel", message=N_("请写明取消的理由"))
    return _change(tx, found, "labour.cancel", {"state": LabourState.CANCELLED.value, "answer": said})


# ----------------------------------------------------------------------------------------------------------- mechanism


def _own(tx: Tx, job_id: int, generation: int) -> LabourJob:
    """A reported job of this actor's department or one below it."""
    tx.actor.must_be(Role.TENANT)
    found = _in(tx, job_id, generation, LabourState.REPORTED)
    if tx.actor.department_id is None or found.department_id not in subtree(tx, tx.actor.department_id):
        raise NotAllowed("labour.not_yours", N_("只能确认本单位及下属单位的人工服务"))
    return found


def _in(tx: Tx, job_id: int, generation: int, *states: LabourState) -> LabourJob:
    stale = Conflict("labour.stale", N_("该人工服务单已被他人更新，请核对后再办理"))
    found = tx.lock_as_shown(job(tx, job_id), generation, stale)
    if found.state not in states:
        raise WrongState(
            "labour.state", N_("人工服务单 %(number)s 现为“%(state)s”，不能这样操作"), number=found.number,
            state=JOB_LABELS[LabourState(found.state)],
        )  # fmt: skip
    return found


def _change(tx: Tx, one: LabourJob, action: str, after: dict[str, Any]) -> LabourJob:
    before = {name: getattr(one, name) for name in after}
    for name, value in after.items():
        setattr(one, name, value)
    one.generation += 1
    tx.flush()
    tx.audit(
        action,
        one.subject,
        before=before,
        after={"generation": one.generation, **after},
        reason=str(after.get("answer", "")),
    )
    return one
