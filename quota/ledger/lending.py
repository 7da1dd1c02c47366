"""Lending between departments: granted quota that one does not use, for another to use, for a time.

    granted(lender) ──lend──▶ lent(borrower) ──request──▶ used(borrower)
                     ◀──give_back── lent(borrower), then its own granted

A loan has a term, a time that the lender guarantees, and a notice that a recall must give: a recalled loan ends after
its notice, never within the guaranteed time, never later than its term. At its end ``settle`` (a job) takes home what
the borrower does not use, out of the borrowed first, then out of its own unused quota. **What is in use stays in use**:
nothing that runs is harmed. The rest is overdue, shown as such to both, and goes home by itself as it falls free.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, Text, false, func, or_, select, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.directory import Department, Pool, department, must_be_open, pool, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState, reused, stated
from quota.ledger import allocations, entries
from quota.ledger.tables import Holder, Side
from quota.units import CLASSES, Arch, ClassCode, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx

MAX_DAYS = 366


class LoanState(StrEnum):
    OFFERED = "offered"  # the borrower has not said yes yet; the ledger has not moved
    ACTIVE = "active"
    RECALLED = "recalled"  # ends earlier than its term
    OVERDUE = "overdue"  # ended, part of it still in use
    RETURNED = "returned"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


OUT = (LoanState.ACTIVE.value, LoanState.RECALLED.value, LoanState.OVERDUE.value)
"""States in which something is out on loan."""


class Loan(Base):
    """出借. ``amount`` and ``returned`` in base units; ``ends_at`` is when it is to go home, by term or by recall."""

    __tablename__ = "loans"
    __table_args__ = (
        CheckConstraint("amount > 0 AND returned >= 0 AND returned <= amount", name="sane"),
        CheckConstraint("lender_id <> borrower_id", name="two"),
        CheckConstraint("days > 0 AND guaranteed_days BETWEEN 0 AND days AND notice_days >= 0", name="terms"),
        CheckConstraint("(state = 'returned') = (returned = amount)", name="ended"),
        Index("ix_loans_state_ends_at", "state", "ends_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    lender_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    borrower_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    amount: Mapped[int] = mapped_column(Count)
    returned: Mapped[int] = mapped_column(Count, default=0)
    state: Mapped[str] = mapped_column(String(12), default=LoanState.OFFERED.value)
    generation: Mapped[int] = mapped_column(default=1)
    days: Mapped[int]
    guaranteed_days: Mapped[int]
    notice_days: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    offered_by: Mapped[str] = mapped_column(String(64))
    offered_at: Mapped[datetime]
    began_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    recalled_at: Mapped[datetime | None]
    recall_reason: Mapped[str] = mapped_column(Text, default="")
    ended_at: Mapped[datetime | None]

    pool: Mapped[Pool] = relationship()
    lender: Mapped[Department] = relationship(foreign_keys=[lender_id])
    borrower: Mapped[Department] = relationship(foreign_keys=[borrower_id])

    @property
    def commodity(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.arch))

    @property
    def subject(self) -> str:
        return f"loan:{self.id}"

    @property
    def outstanding(self) -> int:
        """Base units that are still out; 0 before it began."""
        return self.amount - self.returned if self.state in OUT else 0

    @property
    def guaranteed_until(self) -> datetime | None:
        """Before this instant a recall does not end it."""
        return self.began_at + timedelta(days=self.guaranteed_days) if self.began_at else None

    def would_end(self, now: datetime) -> datetime:
        """When it would end if it were recalled at ``now``: after the notice and the guaranteed time, within its term."""
        if self.ends_at is None or self.guaranteed_until is None:
            raise WrongState("loan.not_out", N_("这笔出借尚未生效"))
        return min(max(now + timedelta(days=self.notice_days), self.guaranteed_until), self.ends_at)


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A tenant sees what its departments lend or borrow; authority, supervisor and auditor all; nobody else any."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        mine = subtree(tx, actor.department_id)
        return or_(Loan.lender_id.in_(mine), Loan.borrower_id.in_(mine))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def loan(tx: Tx, loan_id: int) -> Loan:
    """The loan, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(Loan).where(Loan.id == loan_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("loan.none", N_("没有编号为 %(id)s 的出借"), id=loan_id)
    return found


def outstanding(tx: Tx, department_ids: Collection[int]) -> list[Loan]:
    """Loans that are out and that these departments gave or took, by their end."""
    return list(
        tx.scalars(
            select(Loan)
            .where(
                Loan.state.in_(OUT),
                or_(Loan.lender_id.in_(department_ids), Loan.borrower_id.in_(department_ids)),
            )
            .order_by(Loan.ends_at, Loan.id)
        )
    )


def liquid(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that the department may lend or share out, in whatever state: all that it has, less what it owes to lenders and
    what is only held for it out of the pool. Locks its accounts for who writes."""
    sides = [Side(pool_id, cls, holder, department_id) for holder in entries.OWNED]
    if tx.writes:
        entries.lock(tx, sides)
    has = sum(entries.balance(tx, side) for side in sides) - entries.held_of_pool(tx, pool_id, cls, department_id)
    return max(has - _out(tx, pool_id, cls, Loan.borrower_id == department_id), 0)


def own(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that are the department's own, in whatever state: of what is ``liquid`` no more than it has beyond what was
    given to it from above or for a time.

    No more than this may leave it: what is borrowed or was given goes home, not to the city nor to a third. Locks its accounts
    for who writes.
    """
    has = liquid(tx, pool_id, cls, department_id)
    given_on = allocations.shared(tx, pool_id, cls, department_id)
    lent = _out(tx, pool_id, cls, Loan.lender_id == department_id)
    return max(min(has, has + given_on + lent - allocations.received(tx, pool_id, cls, department_id)), 0)


def _out(tx: Tx, pool_id: int, cls: Commodity, whose: ColumnElement[bool]) -> int:
    """Base units out on the loans that are ``whose``."""
    query = select(func.sum(Loan.amount - Loan.returned)).where(
        whose, Loan.pool_id == pool_id, Loan.kind == cls.kind, Loan.arch == cls.arch.value, Loan.state.in_(OUT)
    )
    return int(tx.scalar(query) or 0)


def lendable(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that the department does not use and may give to another."""
    return min(
        liquid(tx, pool_id, cls, department_id),
        entries.balance(tx, Side(pool_id, cls, Holder.GRANTED, department_id)),
    )


def spare(tx: Tx, pool_id: int, department_id: int, what: entries.Classes) -> dict[Commodity, int]:
    """As much of ``what`` as is the department's own."""
    found = {cls: min(amount, own(tx, pool_id, cls, department_id)) for cls, amount in sorted(what.items())}
    return {cls: amount for cls, amount in found.items() if amount}


def acts_for(tx: Tx, department_id: int) -> bool:
    """Whether this actor may decide for the department: the authority for any, a tenant for its own and those below."""
    who = tx.actor
    if who.role is Role.AUTHORITY:
        return True
    return who.role is Role.TENANT and who.department_id is not None and department_id in subtree(tx, who.department_id)


# --------------------------------------------------------------------------------------------------------------- verbs


def offer(
    tx: Tx,
    pool_id: int,
    cls: Commodity,
    amount: int,
    lender_id: int,
    borrower_id: int,
    *,
    days: int,
    guaranteed_days: int,
    notice_days: int,
    reason: str,
    key: str,
) -> Loan:
    """The lender's clerk (or the authority) offers unused quota. The ledger moves when the borrower accepts.

    The same ``key`` again returns the first offer. Raises Invalid for terms that make no sense, NotAllowed for
    somebody else's quota, OverCapacity where the lender has less that it does not use.
    """
    if not acts_for(tx, lender_id):
        raise NotAllowed("loan.not_yours", N_("只能出借本单位及下属单位的配额"))
    where, lender, borrower = pool(tx, pool_id), department(tx, lender_id), department(tx, borrower_id)
    tx.alone(key)
    earlier = tx.scalar(select(Loan).where(Loan.key == key))
    if earlier is not None:
        same = (earlier.pool_id, earlier.commodity, earlier.amount, earlier.lender_id, earlier.borrower_id)
        if same != (pool_id, cls, amount, lender_id, borrower_id):
            raise reused(key)
        return earlier
    _must_make_sense(lender, borrower, amount, days, guaranteed_days, notice_days)
    stated(reason)
    has = lendable(tx, where.id, cls, lender.id)
    if has < amount:
        raise _short(lender, cls, has)
    offered = Loan(
        key=key,
        pool_id=where.id,
        kind=cls.kind,
        arch=cls.arch.value,
        lender_id=lender.id,
        borrower_id=borrower.id,
        amount=amount,
        returned=0,
        state=LoanState.OFFERED.value,
        days=days,
        guaranteed_days=guaranteed_days,
        notice_days=notice_days,
        reason=reason.strip(),
        offered_by=tx.actor.login,
        offered_at=tx.now,
        generation=1,
    )
    tx.add(offered)
    tx.flush()
    tx.audit(
        "loan.offer",
        offered.subject,
        after={
            "lender": lender.id, "borrower": borrower.id, "pool": where.id, "class": str(cls), "amount": amount,
            "days": days, "guaranteed_days": guaranteed_days, "notice_days": notice_days,
        },
        reason=offered.reason,
    )  # fmt: skip
    return offered


def accept(tx: Tx, loan: Loan | int, *, generation: int) -> Loan:
    """The borrower's clerk (or the authority) takes it: the ledger moves now, the term begins now.

    Raises OverCapacity where the lender has put its quota to use meanwhile.
    """
    found = locked(tx, loan, generation)
    _for(tx, found.borrower_id, N_("只有借用方可以接受"))
    _must_be(found, LoanState.OFFERED)
    return _begun(tx, found, "loan.accept")


def agreed(
    tx: Tx,
    pool_id: int,
    cls: Commodity,
    amount: int,
    lender_id: int,
    borrower_id: int,
    *,
    days: int,
    guaranteed_days: int,
    notice_days: int,
    reason: str,
    key: str,
) -> Loan:
    """The lender's clerk (or the authority) lends what the borrower asked for: offered and begun in one act. That the borrower
    asked is the caller's to know. The same ``key`` again returns the first. Raises as ``offer`` and ``accept`` do."""
    found = offer(
        tx, pool_id, cls, amount, lender_id, borrower_id,
        days=days, guaranteed_days=guaranteed_days, notice_days=notice_days, reason=reason, key=key,
    )  # fmt: skip
    return _begun(tx, found, "loan.agree") if found.state == LoanState.OFFERED.value else found


def _begun(tx: Tx, found: Loan, action: str) -> Loan:
    """The ledger moves and the term begins. Raises OverCapacity where the lender has put its quota to use."""
    has = lendable(tx, found.pool_id, found.commodity, found.lender_id)
    if has < found.amount:
        raise _short(found.lender, found.commodity, has)
    entries.lend(
        tx,
        found.pool_id,
        found.lender_id,
        found.borrower_id,
        {found.commodity: found.amount},
        key=f"{found.subject}/lend",
        subject=found.subject,
    )
    found.began_at, found.ends_at = tx.now, tx.now + timedelta(days=found.days)
    return _changed(tx, found, LoanState.ACTIVE, action)


def decline(tx: Tx, loan: Loan | int, *, generation: int, reason: str = "") -> Loan:
    """The borrower does not want it; or the lender takes its offer back."""
    found = locked(tx, loan, generation)
    _must_be(found, LoanState.OFFERED)
    if acts_for(tx, found.borrower_id) and tx.actor.role is not Role.AUTHORITY:
        return _changed(tx, found, LoanState.DECLINED, "loan.decline", reason)
    _for(tx, found.lender_id, N_("只有出借方或借用方可以撤销"))
    return _changed(tx, found, LoanState.WITHDRAWN, "loan.withdraw", reason)


def recall(tx: Tx, loan: Loan | int, *, generation: int, reason: str) -> Loan:
    """The lender (or the authority) wants it back: it ends after its notice and its guaranteed time."""
    found = locked(tx, loan, generation)
    _for(tx, found.lender_id, N_("只有出借方可以召回"))
    _must_be(found, LoanState.ACTIVE)
    stated(reason)
    found.ends_at = found.would_end(tx.now)
    found.recalled_at, found.recall_reason = tx.now, reason.strip()
    return _changed(tx, found, LoanState.RECALLED, "loan.recall", reason.strip())


def give_back(tx: Tx, loan: Loan | int, amount: int | None = None, *, generation: int) -> Loan:
    """The borrower gives back, all (None) or a part, before the end.

    Raises OverCapacity where that much of it is in use: what runs is released first, by its own request.
    """
    found = locked(tx, loan, generation)
    _for(tx, found.borrower_id, N_("只有借用方可以归还"))
    _must_be(found, LoanState.ACTIVE, LoanState.RECALLED, LoanState.OVERDUE)
    wanted = found.outstanding if amount is None else amount
    if not 0 < wanted <= found.outstanding:
        raise Invalid("loan.amount", N_("归还数量须大于零且不超过在借数量"), field="amount")
    back = _take_home(tx, found, wanted)
    if back < wanted:
        raise OverCapacity(
            "loan.in_use",
            N_("其中只有 %(have)s %(unit)s未在用,其余须先释放"),
            have=shown(found.commodity.kind, back),
            unit=CLASSES[found.commodity.kind].shown,
            field="amount",
        )
    return found


def settle(tx: Tx) -> list[Loan]:
    """Take home what has ended, oldest end first; what is still in use becomes overdue and is tried again next time.

    Returns the loans that changed.
    """
    tx.actor.must_be(Role.SYSTEM, Role.AUTHORITY)
    due = tx.scalars(
        select(Loan)
        .where(Loan.state.in_(OUT), Loan.ends_at <= tx.now)
        .order_by(Loan.ends_at, Loan.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    done = []
    for one in due:
        back = _take_home(tx, one, one.outstanding)
        if one.outstanding and one.state != LoanState.OVERDUE.value:
            _changed(tx, one, LoanState.OVERDUE, "loan.overdue")
        elif not back:
            continue
        done.append(one)
    return done


def locked(tx: Tx, one: Loan | int, generation: int | None = None) -> Loan:
    """The loan with its row locked. Raises Conflict where it is not what the page showed any more."""
    found = loan(tx, one if isinstance(one, int) else one.id)
    return tx.lock_as_shown(found, generation, Conflict("loan.stale", N_("这笔出借已被他人更新,请核对后再办理")))


# ----------------------------------------------------------------------------------------------------------- mechanism


def _must_make_sense(
    lender: Department, borrower: Department, amount: int, days: int, guaranteed_days: int, notice_days: int
) -> None:
    """Raise Invalid naming the term of an offer that makes no sense."""
    if lender.id == borrower.id:
        raise Invalid("loan.same", N_("出借方和借用方不能是同一单位"), field="borrower")
    for party in (lender, borrower):
        must_be_open(party, "borrower")
    if amount <= 0:
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    if not 1 <= days <= MAX_DAYS:
        raise Invalid("loan.days", N_("期限须在 1 至 %(most)s 天之间"), most=MAX_DAYS, field="days")
    if not 0 <= guaranteed_days <= days:
        raise Invalid("loan.guaranteed", N_("保证期不能超过期限"), field="guaranteed_days")
    if not 0 <= notice_days <= days:
        raise Invalid("loan.notice", N_("召回提前期不能超过期限"), field="notice_days")


def _take_home(tx: Tx, loan: Loan, wanted: int) -> int:
    """Give back up to ``wanted``; the base units that went home."""
    cls = loan.commodity
    sides = {holder: Side(loan.pool_id, cls, holder, loan.borrower_id) for holder in (Holder.LENT, Holder.GRANTED)}
    entries.lock(tx, [*sides.values(), Side(loan.pool_id, cls, Holder.GRANTED, loan.lender_id)])
    parts: dict[Holder, int] = {}
    left = wanted
    for holder, side in sides.items():
        take = min(left, entries.balance(tx, side))
        if take:
            parts[holder] = take
            left -= take
    back = wanted - left
    if not back:
        return 0
    entries.give_back(
        tx,
        loan.pool_id,
        loan.borrower_id,
        loan.lender_id,
        cls,
        parts,
        key=f"{loan.subject}/back/{loan.returned}",
        subject=loan.subject,
    )
    loan.returned += back
    if loan.returned == loan.amount:
        loan.ended_at = tx.now
        _changed(tx, loan, LoanState.RETURNED, "loan.return")
    else:
        _changed(tx, loan, LoanState(loan.state), "loan.give_back")
    return back


def _short(lender: Department, cls: Commodity, has: int) -> OverCapacity:
    return OverCapacity(
        "loan.short",
        N_("%(lender)s未使用的%(kind)s只有 %(have)s %(unit)s"),
        lender=lender.name,
        kind=CLASSES[cls.kind].label,
        have=shown(cls.kind, has),
        unit=CLASSES[cls.kind].shown,
        field="amount",
    )


def _for(tx: Tx, department_id: int, sentence: str) -> None:
    if not acts_for(tx, department_id):
        raise NotAllowed("loan.not_yours", sentence)


def _must_be(loan: Loan, *states: LoanState) -> None:
    if loan.state not in {state.value for state in states}:
        raise WrongState("loan.state", N_("这笔出借现在不能这样办理"))


def _changed(tx: Tx, loan: Loan, state: LoanState, action: str, reason: str = "") -> Loan:
    before = loan.state
    loan.state = state.value
    loan.generation += 1
    tx.flush()
    tx.audit(
        action,
        loan.subject,
        before={"state": before},
        after={"state": state, "returned": loan.returned, "ends_at": loan.ends_at},
        reason=reason,
    )
    return loan
