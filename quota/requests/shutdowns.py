"""系统下线: a whole system ends in one act. What it runs on is listed; what is to go is asked for together, and decided as requests are.

    preparing ─(hand-over proven)▶ running ─(every request at its end, erasure proven)▶ ended: nothing of the system is left
        └────────▶ withdrawn ◀────────┘ (as long as nothing is decided)              └▶ partly: something stays, and so does it

Each resource has a request of its own: of the kind ``shutdown``, or to surrender it where nobody approved it. So each is held
against what holds for every request about a resource, nothing goes that nobody decided, and what was left out stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    false,
    select,
    text,
    true,
)
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from quota import attachments
from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Department, System, departments, subtree
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, reused, stated
from quota.inventory import Resource, ResourceState
from quota.requests import submission
from quota.requests.asks import MIN_JUSTIFICATION, Ask, Line
from quota.requests.declarations import declared
from quota.requests.tables import OPEN, Request, RequestState

if TYPE_CHECKING:
    from quota.db import Tx

MOST = 200
"""Resources that go in one act: each becomes a request, all of them in one transaction. A larger system ends in several."""
LONGEST_REASON = 500
HANDED_OVER, ERASED = N_("数据移交证明"), N_("数据清除证明")
PROOFS = (HANDED_OVER, ERASED)
"""Labels of the annexes by which a shutdown is proven: before anything is asked for, and before the system ends."""


class ShutdownState(StrEnum):
    PREPARING = "preparing"
    RUNNING = "running"
    ENDED = "ended"
    PARTLY = "partly"
    WITHDRAWN = "withdrawn"


SHUTDOWN_LABELS = {
    ShutdownState.PREPARING: N_("准备中"),
    ShutdownState.RUNNING: N_("办理中"),
    ShutdownState.ENDED: N_("系统已下线"),
    ShutdownState.PARTLY: N_("部分下线"),
    ShutdownState.WITHDRAWN: N_("已撤回"),
}
UNDER_WAY = frozenset({ShutdownState.PREPARING.value, ShutdownState.RUNNING.value})


class SystemShutdown(Base):
    """One shutdown of one system; at most one is under way. ``why_rest``: why something is left out, where it is."""

    __tablename__ = "system_shutdowns"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("(closed_at IS NULL) = (state IN ('preparing', 'running'))", name="closed"),
        Index(
            "uq_system_shutdowns_open_system_id",
            "system_id",
            unique=True,
            sqlite_where=text("state IN ('preparing', 'running')"),
            postgresql_where=text("state IN ('preparing', 'running')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"), index=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(Text)
    why_rest: Mapped[str] = mapped_column(Text, default="")
    begun_by: Mapped[str] = mapped_column(String(64))
    begun_at: Mapped[datetime]
    closed_by: Mapped[str] = mapped_column(String(64), default="")
    closed_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(Text, default="")  # why it was withdrawn
    generation: Mapped[int] = mapped_column(default=1)

    system: Mapped[System] = relationship()
    department: Mapped[Department] = relationship()
    items: Mapped[list[ShutdownItem]] = relationship(back_populates="shutdown", order_by="ShutdownItem.id")

    @property
    def subject(self) -> str:
        return f"shutdown:{self.id}"

    @property
    def number(self) -> str:
        """XX2026-00012: what people call it."""
        return f"XX{self.begun_at.astimezone(ZONE).year}-{self.id:05d}"


class ShutdownItem(Base):
    """One resource that the system had when its shutdown began: whether it ``goes``, and the request by which."""

    __tablename__ = "shutdown_items"
    __table_args__ = (UniqueConstraint("shutdown_id", "resource_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    shutdown_id: Mapped[int] = mapped_column(ForeignKey("system_shutdowns.id"))
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"), index=True)
    goes: Mapped[bool]
    request_id: Mapped[int | None] = mapped_column(ForeignKey("requests.id"), index=True)

    shutdown: Mapped[SystemShutdown] = relationship(back_populates="items")
    resource: Mapped[Resource] = relationship()
    request: Mapped[Request | None] = relationship()


# ------------------------------------------------------------------------------------------------------------ reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """What ``actor`` may see: a department its own and those of whom lies below it, who sees the whole city everything."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return cast("ColumnElement[bool]", SystemShutdown.department_id.in_(subtree(tx, actor.department_id)))
    if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    return false()


def shutdown(tx: Tx, shutdown_id: int) -> SystemShutdown:
    """The shutdown with its items, or NotFound, also where the actor may not see it."""
    items = joinedload(SystemShutdown.items)
    query = select(SystemShutdown).options(
        items.joinedload(ShutdownItem.resource), items.joinedload(ShutdownItem.request)
    )
    found = tx.scalars(query.where(SystemShutdown.id == shutdown_id, visible(tx, tx.actor))).unique().one_or_none()
    if found is None:
        raise NotFound("shutdown.none", N_("没有编号为 %(id)s 的系统下线"), id=shutdown_id)
    return found


def under_way(tx: Tx, system_id: int) -> SystemShutdown | None:
    """The shutdown of a system that is under way."""
    return tx.scalar(
        select(SystemShutdown).where(SystemShutdown.system_id == system_id, SystemShutdown.state.in_(UNDER_WAY))
    )


def runs_on(tx: Tx, system: System) -> list[Resource]:
    """What a system runs on now: resources of its department that are there."""
    query = select(Resource).where(Resource.system_id == system.id, _there()).options(joinedload(Resource.pool))
    return list(tx.scalars(query.order_by(Resource.id)))


def wanted(row: SystemShutdown) -> tuple[str, ...]:
    """Which of PROOFS may be put forward now: nothing is erased before it was asked for."""
    return PROOFS if row.state != ShutdownState.PREPARING else (HANDED_OVER,)


def proven(tx: Tx, row: SystemShutdown) -> set[str]:
    """Which of PROOFS were put forward."""
    return {each.label for each in attachments.of(tx, row.subject).values()} & set(PROOFS)


# ------------------------------------------------------------------------------------------------------------ writing


def begin(
    tx: Tx, system_id: int, going: Collection[int], *, reason: str, why_rest: str = "", key: str
) -> SystemShutdown:
    """List what the system runs on; ``going``: ids of what of it shall go, the rest stays, with ``why_rest``. Nothing is asked for yet.
    The same ``key`` again returns the first.

    The department's right. Raises NotFound for a system that is not the actor's, WrongState for one that has ended or whose shutdown is
    under way, Invalid for a reason that is missing or too short, what is not the system's, too much at once, and what is left out
    without a reason.
    """
    tx.actor.must_be(Role.TENANT)
    system = departments.system(tx, system_id)
    if tx.actor.department_id is None or system.department_id not in subtree(tx, tx.actor.department_id):
        raise NotFound("system.none", N_("没有编号为 %(id)s 的信息系统"), id=system_id)
    departments.must_be_open(system.department, "system")
    tx.alone(key)
    earlier = tx.scalar(select(SystemShutdown).where(SystemShutdown.key == key))
    if earlier is not None:
        if earlier.system_id != system.id or {one.resource_id for one in earlier.items if one.goes} != set(going):
            raise reused(key)
        return earlier
    tx.lock(system)
    if not system.active:
        raise WrongState("shutdown.ended", N_("信息系统“%(name)s”已下线"), name=system.name)
    if (other := under_way(tx, system.id)) is not None:
        raise WrongState("shutdown.under_way", N_("下线 %(number)s 正在办理"), number=other.number)
    reason, why_rest = stated(reason), why_rest.strip()
    if not len("".join(reason.split())) >= MIN_JUSTIFICATION or len(reason) > LONGEST_REASON:
        raise Invalid("shutdown.reason", N_("下线理由须为 %(least)s 至 %(most)s 字"), least=MIN_JUSTIFICATION, most=LONGEST_REASON,
                      field="reason")  # fmt: skip
    has = runs_on(tx, system)
    _chosen(has, set(going), why_rest)
    row = SystemShutdown(
        key=key, system_id=system.id, department_id=system.department_id, state=ShutdownState.PREPARING.value,
        reason=reason, why_rest=why_rest, begun_by=tx.actor.login, begun_at=tx.now, closed_by="", outcome="", generation=1,
        items=[ShutdownItem(resource_id=one.id, goes=one.id in going) for one in has],
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    after = {
        "system": system.id,
        "goes": sorted(going)[:1000],
        "stays": len(has) - len(set(going)),
        "why_rest": why_rest,
    }
    tx.audit("shutdown.begin", row.subject, after=after, reason=reason)
    return row


def submit(tx: Tx, shutdown_id: int, *, generation: int) -> SystemShutdown:
    """Ask for all that goes, a request each, all or none. The department's right. Raises Invalid without proof that its data was handed
    over, and for a resource about which no request can be handed in, which is named."""
    found = _own(tx, shutdown_id, generation, ShutdownState.PREPARING)
    if HANDED_OVER not in proven(tx, found):
        raise Invalid("shutdown.handed_over", N_("请先提交附件“%(what)s”"), what=HANDED_OVER)
    for item in found.items:
        if item.goes and _is_there(item.resource):
            item.request_id = _ask(tx, found, item.resource).id
    tx.flush()
    _move(
        tx,
        found,
        ShutdownState.RUNNING,
        "shutdown.submit",
        requests=sum(one.request_id is not None for one in found.items),
    )
    return found


def finish(tx: Tx, shutdown_id: int, *, generation: int) -> SystemShutdown:
    """Everything asked for is at its end: the system ends where nothing of it is left, and goes on with the rest otherwise.

    The department's right. Raises WrongState while a request is open, Invalid without proof that its data was erased where something went.
    """
    found = _own(tx, shutdown_id, generation, ShutdownState.RUNNING)
    waiting = [one.request for one in found.items if one.request is not None and one.request.state in OPEN]
    if waiting:
        raise WrongState(
            "shutdown.open", N_("还有 %(n)s 件申请未办结，如 %(number)s"), n=len(waiting), number=waiting[0].number
        )
    went = any(
        one.goes and not _is_there(one.resource) for one in found.items
    )  # by this shutdown or otherwise: its data is gone
    if went and ERASED not in proven(tx, found):
        raise Invalid("shutdown.erased", N_("请先提交附件“%(what)s”"), what=ERASED)
    tx.lock(found.system)
    left = [one.id for one in runs_on(tx, found.system)]
    if not left:
        day = tx.now.astimezone(ZONE).date()
        online = found.system.online_on
        facts = {"active": False, **({"offline_on": day} if online is None or online <= day else {})}
        departments.amend(tx, found.system, facts)
    _close(tx, found, ShutdownState.PARTLY if left else ShutdownState.ENDED, "shutdown.finish", left=left[:1000])
    return found


def withdraw(tx: Tx, shutdown_id: int, *, generation: int, reason: str) -> SystemShutdown:
    """Take it back, and what it asked for with it, as long as nothing of that is decided. The department's right. Raises WrongState
    where something is."""
    reason = stated(reason)
    found = _own(tx, shutdown_id, generation, *(ShutdownState(one) for one in UNDER_WAY))
    undecided = (RequestState.DRAFT, RequestState.IN_REVIEW, RequestState.SUPPLEMENT)
    for item in found.items:
        request = item.request
        if request is None or request.state in (RequestState.REJECTED, RequestState.WITHDRAWN):
            continue
        if request.state not in undecided:
            raise WrongState(
                "shutdown.decided", N_("申请 %(number)s 已通过，不能撤回，请办结后结束下线"), number=request.number
            )
        submission.withdraw(tx, request, generation=request.generation, reason=reason)
    found.outcome = reason
    _close(tx, found, ShutdownState.WITHDRAWN, "shutdown.withdraw", reason=reason)
    return found


def check(tx: Tx, request: Request) -> None:
    """Raise Invalid for a request of the kind ``shutdown`` that no shutdown filed."""
    wanted = select(ShutdownItem.id).join(SystemShutdown)
    named = SystemShutdown.state.in_(UNDER_WAY), ShutdownItem.goes, ShutdownItem.resource_id == request.resource_id
    if tx.scalar(wanted.where(*named, SystemShutdown.system_id == request.system_id)) is None:
        raise Invalid("shutdown.alone", N_("系统下线在信息系统的页面发起"), field="resource_id")


# ---------------------------------------------------------------------------------------------------------- mechanism


def _there() -> ColumnElement[bool]:
    return Resource.gone_at.is_(None) & (Resource.state != ResourceState.DELETED.value)


def _is_there(resource: Resource) -> bool:
    return resource.gone_at is None and resource.state != ResourceState.DELETED


def _chosen(has: Sequence[Resource], going: set[int], why_rest: str) -> None:
    """Raise Invalid for a choice that cannot be made."""
    strange = going - {one.id for one in has}
    if strange:
        raise Invalid("shutdown.strange", N_("资源 %(id)s 不是这个系统的，或已不存在"), id=min(strange), field="id")
    if len(going) > MOST:
        raise Invalid("shutdown.many", N_("一次最多 %(most)s 项，请分批办理"), most=MOST, field="id")
    if has and not going:
        raise Invalid("shutdown.nothing", N_("请至少选择一项资源"), field="id")
    if len(why_rest) > LONGEST_REASON or (len(going) < len(has) and not why_rest):
        raise Invalid(
            "shutdown.rest", N_("有资源保留的，请写明理由，不超过 %(most)s 字"), most=LONGEST_REASON, field="why_rest"
        )


def _ask(tx: Tx, row: SystemShutdown, resource: Resource) -> Request:
    """Hand in the request by which ``resource`` goes."""
    kind = declared("shutdown" if resource.is_approved else "surrender")
    lines = [Line(current=resource.counts(), service=resource.kind, name=resource.name[:96])] if kind.lines else []
    made = submission.draft(
        tx,
        Ask(
            kind=kind,
            department_id=row.department_id,
            pool_id=resource.pool_id,
            lines=lines,
            justification=f"{row.reason} ({row.number})",
            system_id=row.system_id,
            resource_id=resource.id,
            key=f"{row.subject}:{resource.id}",
        ),
    )
    return submission.submit(tx, made, generation=made.generation)


def _own(tx: Tx, shutdown_id: int, generation: int, *states: ShutdownState) -> SystemShutdown:
    """The shutdown, locked, as the page showed it, in one of ``states``."""
    tx.actor.must_be(Role.TENANT)
    found = shutdown(tx, shutdown_id)
    found = tx.lock_as_shown(found, generation, Conflict("shutdown.stale", N_("系统下线已有变化,请刷新后再操作")))
    if found.state not in {one.value for one in states}:
        label = SHUTDOWN_LABELS[ShutdownState(found.state)]
        raise WrongState("shutdown.state", N_("下线 %(number)s 现为“%(state)s”"), number=found.number, state=label)
    return found


def _close(tx: Tx, row: SystemShutdown, state: ShutdownState, action: str, reason: str = "", **told: object) -> None:
    row.closed_by, row.closed_at = tx.actor.login, tx.now
    _move(tx, row, state, action, reason, **told)


def _move(tx: Tx, row: SystemShutdown, state: ShutdownState, action: str, reason: str = "", **told: object) -> None:
    before, row.state = row.state, state.value
    row.generation += 1
    tx.flush()
    tx.audit(action, row.subject, before={"state": before}, after={"state": row.state, **told}, reason=reason)
