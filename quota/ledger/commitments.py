"""Quota that was promised for a day to come (远期承诺): a queue by day and order, filled as capacity comes.

    waiting ─(free capacity, and nobody before it waits for the same)▶ confirmed: held ─(its day)▶ given: quota
    waiting, confirmed ─▶ cancelled

``settle`` (a job) goes through a pool's queue in the order of days, then of entry. What is confirmed is held out of the pool's free
capacity, so no more can be confirmed than there is. It is confirmed whole; while it waits, nothing that comes after it and wants one of
its classes is confirmed, so that many small ones don't starve a large one. For the same reason nothing else takes out of the pool's free
capacity what it needs (``keep_for_queue``), unless the authority lets others go before it (``pass_over``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Text,
    and_,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Department, Pool, departments
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState, stated
from quota.ledger import entries
from quota.ledger.tables import Holder, Side
from quota.units import CLASSES, Amount, Arch, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx

FURTHEST_DAYS = 5 * 366
"""No day lies further ahead."""


class CommitmentState(StrEnum):
    WAITING = "waiting"
    CONFIRMED = "confirmed"
    GIVEN = "given"
    CANCELLED = "cancelled"


OPEN = (CommitmentState.WAITING.value, CommitmentState.CONFIRMED.value)


class Commitment(Base):
    """One promise. ``basis``: the subject of what it was promised by, once for each; ``amounts`` in base units by class;
    ``late_at``: since when its day is past without capacity; ``passed_over_at``: since when others may go before it, and ``_for`` what."""

    __tablename__ = "commitments"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'confirmed', 'given', 'cancelled')", name="state"),
        Index("ix_commitments_queue", "state", "pool_id", "wanted_on"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    basis: Mapped[str] = mapped_column(String(40), unique=True)
    called: Mapped[str] = mapped_column(String(40))  # the number of what it was promised by
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    amounts: Mapped[dict[str, int]]
    wanted_on: Mapped[date]
    state: Mapped[str] = mapped_column(String(16), default=CommitmentState.WAITING.value)
    generation: Mapped[int] = mapped_column(default=1)
    entered_at: Mapped[datetime]
    late_at: Mapped[datetime | None]
    confirmed_at: Mapped[datetime | None]
    given_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    passed_over_at: Mapped[datetime | None]
    passed_over_for: Mapped[str] = mapped_column(Text, default="", server_default="")
    reason: Mapped[str] = mapped_column(Text, default="")  # why it was cancelled

    department: Mapped[Department] = relationship()
    pool: Mapped[Pool] = relationship()

    @property
    def subject(self) -> str:
        return f"commitment:{self.id}"

    def takes(self) -> Amount:
        return Amount.from_json(self.amounts)

    def classes(self) -> dict[Commodity, int]:
        return self.takes().of_arch(Arch(self.pool.arch))


@dataclass(frozen=True, slots=True)
class QueueOutcome:
    """What came of the queue of a pool: confirmed, given, and late since now."""

    confirmed: Sequence[Commitment] = ()
    given: Sequence[Commitment] = ()
    late: Sequence[Commitment] = ()


# ----------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A tenant sees its departments' and those below; authority, supervisor and auditor all; nobody else any."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return Commitment.department_id.in_(departments.subtree(tx, actor.department_id))
    seeing = (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM)
    return true() if actor.role in seeing else false()


def commitment(tx: Tx, commitment_id: int) -> Commitment:
    """The commitment, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(Commitment).where(Commitment.id == commitment_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("commitment.none", N_("没有编号为 %(id)s 的远期承诺"), id=commitment_id)
    return found


def by_basis(tx: Tx, basis: str) -> Commitment | None:
    """What was promised by ``basis``."""
    return tx.scalar(select(Commitment).where(Commitment.basis == basis))


def waiting_for(tx: Tx, pool_id: int, what: Iterable[Commodity]) -> bool:
    """Whether somebody waits for one of these classes in the pool."""
    wanted = {str(cls.kind) for cls in what}
    query = select(Commitment.amounts).where(
        Commitment.state == CommitmentState.WAITING.value, Commitment.pool_id == pool_id
    )
    return bool(wanted) and any(wanted & amounts.keys() for amounts in tx.scalars(query))


class Outstanding(NamedTuple):
    """What is waited for of one class in one pool: how much in all, the first day, and what of it is ``kept``: nobody else's."""

    amount: int
    first: date
    kept: int


def outstanding(tx: Tx, pool_id: int | None = None) -> Mapping[tuple[int, Commodity], Outstanding]:
    """What is waited for, by pool and class; of one pool alone where it is named."""
    found: dict[tuple[int, Commodity], Outstanding] = {}
    query = select(Commitment).where(Commitment.state == CommitmentState.WAITING.value).order_by(Commitment.id)
    if pool_id is not None:
        query = query.where(Commitment.pool_id == pool_id)
    for one in tx.scalars(query):
        for cls, amount in one.classes().items():
            was = found.get((one.pool_id, cls), Outstanding(0, one.wanted_on, 0))
            kept = amount if one.passed_over_at is None else 0
            found[one.pool_id, cls] = Outstanding(was.amount + amount, min(was.first, one.wanted_on), was.kept + kept)
    return found


def kept(tx: Tx, pool_id: int, cls: Commodity) -> int:
    """How much of the pool's free capacity is nobody's but of those who wait for it."""
    found = outstanding(tx, pool_id).get((pool_id, cls))
    return found.kept if found is not None else 0


def keep_for_queue(tx: Tx, pool_id: int, what: Mapping[Commodity, int], field: str = "") -> None:
    """Raise OverCapacity where the pool's free capacity has not ``what`` beside all that is kept for those who wait. The accounts are
    locked."""
    waiting = outstanding(tx, pool_id)
    for cls, need in sorted(what.items()):
        found = waiting.get((pool_id, cls))
        if need <= 0 or found is None or not found.kept:
            continue
        have, unit = entries.balance(tx, Side(pool_id, cls, Holder.FREE)), CLASSES[cls.kind]
        if have - found.kept < need:
            raise OverCapacity(
                "capacity.promised",
                N_(
                    "%(kind)s(%(arch)s)不足：需要 %(need)s，空闲 %(have)s，其中为排队的远期承诺预留 %(kept)s %(unit)s；确需先行的，由主管部门在“远期承诺”中暂停预留"
                ),
                kind=unit.label, arch=cls.arch, need=shown(cls.kind, need), have=shown(cls.kind, have),
                kept=shown(cls.kind, min(found.kept, have)), unit=unit.shown, field=field or cls.kind,
            )  # fmt: skip


def ahead(tx: Tx, row: Commitment) -> int:
    """How many wait before it in its pool."""
    before = or_(
        Commitment.wanted_on < row.wanted_on, and_(Commitment.wanted_on == row.wanted_on, Commitment.id < row.id)
    )
    query = select(func.count()).where(
        Commitment.pool_id == row.pool_id, Commitment.state == CommitmentState.WAITING.value, before
    )
    return tx.scalar(query) or 0


def may_cancel(tx: Tx, commitment: Commitment) -> bool:
    """Whether this actor may call it off: its department, one above it, or the authority."""
    if commitment.state not in OPEN:
        return False
    who = tx.actor
    mine = who.role is Role.TENANT and commitment.department_id in departments.subtree(tx, who.department_id or 0)
    return mine or who.role is Role.AUTHORITY


# ------------------------------------------------------------------------------------------------------------- verbs


def check(tx: Tx, wanted_on: date, what: Mapping[str, int] | Amount) -> None:
    """Raise Invalid for nothing, and for a day that is not to come or too far ahead."""
    today = tx.now.astimezone(ZONE).date()
    if not today < wanted_on <= today + timedelta(days=FURTHEST_DAYS):
        raise Invalid("commitment.day", N_("需要日期须在今天之后、五年以内"), field="wanted_on")
    if not any(what.values()):
        raise Invalid("commitment.empty", N_("请至少填写一项数量"), field="lines")


def enter(
    tx: Tx, department_id: int, pool_id: int, what: Amount, wanted_on: date, *, basis: str, called: str
) -> Commitment:
    """Promise ``what`` of a pool to a department for a day: it waits in the pool's queue. Once a ``basis``; again is the same. Raises
    Invalid for a pool that was taken out of use: nobody would fill its queue."""
    found = by_basis(tx, basis)
    if found is not None:
        return found
    where = tx.lock(tx.get_one(Pool, pool_id))  # who takes it out of use counts what is promised, under the same lock
    if not where.active:
        raise Invalid("request.pool", N_("资源池“%(name)s”已停用"), name=where.name, field="pool_id")
    amounts = {str(code): figure for code, figure in what.items() if figure}
    if not amounts:
        raise Invalid("commitment.empty", N_("请至少填写一项数量"), field="lines")
    made = Commitment(
        basis=basis, called=called, department_id=department_id, pool_id=pool_id, amounts=amounts, wanted_on=wanted_on,
        state=CommitmentState.WAITING.value, entered_at=tx.now,
    )  # fmt: skip
    tx.add(made)
    tx.flush()
    after = {"department": department_id, "pool": pool_id, "amounts": amounts, "wanted_on": wanted_on, "for": basis}
    tx.audit("commitment.enter", made.subject, after=after)
    return made


def queues(tx: Tx) -> list[int]:
    """The pools with something open, by id."""
    query = select(Commitment.pool_id).where(Commitment.state.in_(OPEN)).distinct().order_by(Commitment.pool_id)
    return list(tx.scalars(query))


def settle(tx: Tx, pool_id: int) -> QueueOutcome:
    """Go through the queue of a pool: confirm what there is capacity for, give what is confirmed and whose day has come, note what is
    late. A job's work, a transaction a pool."""
    tx.actor.must_be(Role.SYSTEM)
    tx.alone(f"commitments/{pool_id}")
    today = tx.now.astimezone(ZONE).date()
    found = tx.scalars(
        select(Commitment)
        .where(Commitment.pool_id == pool_id, Commitment.state.in_(OPEN))
        .order_by(Commitment.wanted_on, Commitment.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    waiting = [one for one in found if one.state == CommitmentState.WAITING.value]
    entries.lock(tx, _sides(found, today))  # all that is looked at and moved, in the one order
    confirmed = _confirm(tx, waiting)
    given = [one for one in found if one.state == CommitmentState.CONFIRMED.value and one.wanted_on <= today]
    for one in given:
        entries.post(tx, entries.pending(tx, one.subject), key=f"{one.subject}/give")
        _change(tx, one, CommitmentState.GIVEN, "commitment.give")
        one.given_at = tx.now
    late = [
        one
        for one in waiting
        if one.state == CommitmentState.WAITING.value and one.wanted_on <= today and one.late_at is None
    ]
    for one in late:
        one.late_at = tx.now
        tx.audit("commitment.late", one.subject, after={"wanted_on": one.wanted_on})
    tx.flush()
    return QueueOutcome(confirmed, given, late)


def _sides(found: Sequence[Commitment], today: date) -> set[Side]:
    """The accounts that the queue moves between: free to held of what waits, held to granted of what is due."""
    sides = set()
    for one in found:
        for cls in one.classes():
            sides.add(Side(one.pool_id, cls, Holder.HELD, one.department_id))
            if one.state == CommitmentState.WAITING.value:
                sides.add(Side(one.pool_id, cls, Holder.FREE))
            if one.wanted_on <= today:
                sides.add(Side(one.pool_id, cls, Holder.GRANTED, one.department_id))
    return sides


def _confirm(tx: Tx, waiting: Sequence[Commitment]) -> list[Commitment]:
    """Those of the queue that free capacity is there for, held. Their accounts are locked."""
    free = {Side(one.pool_id, cls, Holder.FREE) for one in waiting for cls in one.classes()}
    left = {side.cls: amount for side, amount in entries.balances_of(tx, free).items()} if free else {}
    blocked: set[Commodity] = set()
    done = []
    for one in waiting:
        wanted = one.classes()
        if blocked & wanted.keys() or any(left[cls] < amount for cls, amount in wanted.items()):
            if one.passed_over_at is None:
                blocked |= wanted.keys()
            continue
        entries.hold(
            tx, one.pool_id, one.department_id, wanted, key=f"{one.subject}/hold", subject=one.subject,
            source=Holder.FREE, target=Holder.GRANTED,
        )  # fmt: skip
        for cls, amount in wanted.items():
            left[cls] -= amount
        _change(tx, one, CommitmentState.CONFIRMED, "commitment.confirm")
        one.confirmed_at = tx.now
        done.append(one)
    return done


def cancel(tx: Tx, commitment_id: int, *, generation: int, reason: str) -> Commitment:
    """It is wanted or promised no more: what it holds is free again. By its department, one above it, or the authority. Raises Conflict
    for one that is not as the page showed it, WrongState for one that was given or cancelled."""
    found = commitment(tx, commitment_id)
    reason = stated(reason)
    if tx.actor.role not in (Role.TENANT, Role.AUTHORITY):
        raise NotAllowed("commitment.not_yours", N_("远期承诺由使用单位或主管部门取消"))
    if tx.actor.role is Role.AUTHORITY:
        tx.actor.must_sign()
    tx.alone(f"commitments/{found.pool_id}")
    tx.lock_as_shown(found, generation, Conflict("commitment.stale", N_("这项远期承诺已有变动，请核对后再办理")))
    if found.state not in OPEN:
        raise WrongState("commitment.closed", N_("这项远期承诺已转为配额或已取消"))
    holds = entries.pending(tx, found.subject)
    if holds:
        entries.void(tx, holds, key=f"{found.subject}/void")
    _change(tx, found, CommitmentState.CANCELLED, "commitment.cancel", reason)
    found.cancelled_at, found.reason = tx.now, reason
    tx.flush()
    return found


def pass_over(tx: Tx, commitment_id: int, *, generation: int, reason: str, over: bool = True) -> Commitment:
    """Let others take what is free before it, while it waits; ``over`` False: no longer. By the authority, with a reason. Raises Conflict
    for one that is not as the page showed it, WrongState for one that does not wait, or stands so already."""
    found = commitment(tx, commitment_id)
    reason = stated(reason)
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    tx.alone(f"commitments/{found.pool_id}")
    tx.lock_as_shown(found, generation, Conflict("commitment.stale", N_("这项远期承诺已有变动，请核对后再办理")))
    if found.state != CommitmentState.WAITING.value or (found.passed_over_at is not None) == over:
        raise WrongState("commitment.kept", N_("这项远期承诺不在排队，或预留没有变化"))
    found.passed_over_at, found.passed_over_for = (tx.now, reason) if over else (None, "")
    found.generation += 1
    tx.flush()
    tx.audit(
        "commitment.pass_over" if over else "commitment.keep", found.subject, after={"generation": found.generation},
        reason=reason,
    )  # fmt: skip
    return found


def must_have_none(tx: Tx, pool_id: int) -> None:
    """Raise WrongState for a pool that something is promised out of."""
    query = select(func.count()).where(Commitment.pool_id == pool_id, Commitment.state.in_(OPEN))
    if tx.scalar(query):
        raise WrongState("pool.promised", N_("该资源池还有远期承诺，取消后才能停用"))


def _change(tx: Tx, row: Commitment, state: CommitmentState, action: str, reason: str = "") -> None:
    before, row.state = row.state, state.value
    row.generation += 1
    tx.flush()
    tx.audit(
        action, row.subject, before={"state": before}, after={"state": state, "generation": row.generation},
        reason=reason,
    )  # fmt: skip
