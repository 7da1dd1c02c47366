"""Conversion (架构换算): unused quota of one architecture for quota of another, of equal worth by the rule in force.

    asked ──the authority──▶ done: one transfer; each pool keeps what it has, so that the other must have as much free
          └─▶ refused, withdrawn

What a unit is worth is kept with the conversion; the database itself refuses one whose sides are not worth the same. What does
not divide is not taken. To take a conversion back is to convert the other way: worth is a figure of the unit alone, so that
exactly what was given comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Text,
    and_,
    case,
    false,
    func,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.directory import Department, Pool, department, must_be_open, pool, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState, reused, stated
from quota.exchange import rules
from quota.exchange.terms import Worth
from quota.ledger import OWNED, Account, Entry, Holder, Side, balance, commitments, convert, lending, lock
from quota.units import CLASSES, Arch, ClassCode, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx


class ConversionState(StrEnum):
    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Conversion(Base):
    """架构换算. ``asked``: base units of the source that were asked to be converted; ``given`` and ``received``: what went and came,
    ``given_worth`` and ``received_worth``: what one of each was worth."""

    __tablename__ = "quota_conversions"
    __table_args__ = (
        CheckConstraint("asked > 0 AND (given IS NULL OR given BETWEEN 1 AND asked)", name="sane"),
        CheckConstraint("source_pool_id <> target_pool_id AND source_arch <> target_arch", name="two"),
        CheckConstraint(
            "(state <> 'done' AND given IS NULL) OR (state = 'done' AND given IS NOT NULL AND received IS NOT NULL "
            "AND given_worth IS NOT NULL AND received_worth IS NOT NULL AND rule_id IS NOT NULL "
            "AND transfer_id IS NOT NULL AND received > 0 AND given * given_worth = received * received_worth)",
            name="conserved",
        ),
        Index("ix_quota_conversions_state", "state", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    source_pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    source_arch: Mapped[str] = mapped_column(String(16))
    target_pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    target_arch: Mapped[str] = mapped_column(String(16))
    asked: Mapped[int] = mapped_column(Count)
    given: Mapped[int | None] = mapped_column(Count)
    received: Mapped[int | None] = mapped_column(Count)
    given_worth: Mapped[int | None] = mapped_column(Count)
    received_worth: Mapped[int | None] = mapped_column(Count)
    rule_id: Mapped[int | None] = mapped_column(ForeignKey("exchange_rules.id"))
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey("transfers.id"))
    reason: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(12), default=ConversionState.ASKED.value)
    generation: Mapped[int] = mapped_column(default=1)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    decided_by: Mapped[str] = mapped_column(String(64), default="")
    decided_at: Mapped[datetime | None]

    department: Mapped[Department] = relationship()
    source_pool: Mapped[Pool] = relationship(foreign_keys=[source_pool_id])
    target_pool: Mapped[Pool] = relationship(foreign_keys=[target_pool_id])

    @property
    def source(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.source_arch))

    @property
    def target(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.target_arch))

    @property
    def subject(self) -> str:
        return f"quota_conversion:{self.id}"

    @property
    def number(self) -> str:
        return f"HS-{self.id:06d}"


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A tenant sees those of its departments; authority, supervisor and auditor all; nobody else any."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return Conversion.department_id.in_(subtree(tx, actor.department_id))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def conversion(tx: Tx, conversion_id: int) -> Conversion:
    """The conversion, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(Conversion).where(Conversion.id == conversion_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("conversion.none", N_("没有编号为 %(id)s 的架构换算"), id=conversion_id)
    return found


def foreseen(tx: Tx, department_id: int, source: tuple[int, Commodity], target_id: int, amount: int) -> Worth:
    """What would become of ``amount`` base units today. Raises WrongState where no rule is in force, Invalid for what cannot be
    converted or does not divide at all, OverCapacity where the department or the other pool has less."""
    pool_id, cls = source
    where, there = pool(tx, pool_id), pool(tx, target_id)
    _must_differ(where, there, cls)
    if amount <= 0:
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    _rule, terms = rules.conversion(tx)
    other = Commodity(cls.kind, Arch(there.arch))
    found = terms.convert((cls, where.xinchuang), (other, there.xinchuang), amount)
    unit = CLASSES[cls.kind]
    if not found.given:
        step, _gets = terms.parcel((cls, where.xinchuang), (other, there.xinchuang))
        raise Invalid(
            "conversion.part", N_("不足一份：按现行权重须为 %(step)s %(unit)s 的整数倍"),
            step=shown(cls.kind, step), unit=unit.shown, field="amount",
        )  # fmt: skip
    free = Side(there.id, other, Holder.FREE)
    if tx.writes:  # all at once, in the order that every command keeps
        lock(tx, [free, *(Side(where.id, cls, holder, department_id) for holder in OWNED),
                  Side(there.id, other, Holder.GRANTED, department_id), Side(where.id, cls, Holder.FREE)])  # fmt: skip
    granted = balance(tx, Side(where.id, cls, Holder.GRANTED, department_id))
    has = min(granted, lending.own(tx, where.id, cls, department_id))
    for need, have, arch in ((found.given, has, cls.arch), (found.received, balance(tx, free), other.arch)):
        if have < need:
            raise OverCapacity(
                "capacity.short", N_("%(kind)s(%(arch)s)不足:需要 %(need)s,只有 %(have)s %(unit)s"), kind=unit.label,
                arch=arch, need=shown(cls.kind, need), have=shown(cls.kind, have), unit=unit.shown, field="amount",
            )  # fmt: skip
    commitments.keep_for_queue(tx, there.id, {other: found.received}, "amount")
    return found


# --------------------------------------------------------------------------------------------------------------- verbs


def ask(
    tx: Tx, department_id: int, source: tuple[int, Commodity], target_id: int, amount: int, *, reason: str, key: str
) -> Conversion:
    """The department's clerk (or the authority) asks for a conversion. Nothing moves yet. The same ``key`` again returns the first.

    Raises as ``foreseen``, and NotAllowed for somebody else's quota.
    """
    if not lending.acts_for(tx, department_id):
        raise NotAllowed("conversion.not_yours", N_("只能换算本单位及下属单位的配额"))
    whose = department(tx, department_id)
    tx.alone(key)
    pool_id, cls = source
    earlier = tx.scalar(select(Conversion).where(Conversion.key == key))
    if earlier is not None:
        said = (earlier.department_id, earlier.source_pool_id, earlier.source, earlier.target_pool_id, earlier.asked)
        if said != (department_id, pool_id, cls, target_id, amount):
            raise reused(key)
        return earlier
    reason = stated(reason)
    must_be_open(whose, "department")
    foreseen(tx, whose.id, source, target_id, amount)
    made = Conversion(
        key=key, department_id=whose.id, kind=cls.kind, source_pool_id=pool_id, source_arch=cls.arch.value,
        target_pool_id=target_id, target_arch=pool(tx, target_id).arch, asked=amount, reason=reason, answer="",
        state=ConversionState.ASKED.value, generation=1, by=tx.actor.login, at=tx.now,
    )  # fmt: skip
    tx.add(made)
    tx.flush()
    after = {"department": whose.id, "pool": pool_id, "class": str(cls), "to": target_id, "amount": amount}
    tx.audit("conversion.ask", made.subject, after=after, reason=reason)
    return made


def carry_out(tx: Tx, conversion_id: int, *, generation: int) -> Conversion:
    """The authority converts, by the rule and what there is on that day. Raises as ``foreseen``."""
    tx.actor.must_be(Role.AUTHORITY)
    found = _locked(tx, conversion_id, generation)
    must_be_open(found.department)
    becomes = foreseen(tx, found.department_id, (found.source_pool_id, found.source), found.target_pool_id, found.asked)
    rule, _terms = rules.conversion(tx)
    moved = convert(
        tx, found.department_id, (found.source_pool_id, found.source, becomes.given),
        (found.target_pool_id, found.target, becomes.received),
        key=f"{found.subject}/convert", subject=found.subject, memo=found.reason,
    )  # fmt: skip
    found.given, found.received = becomes.given, becomes.received
    found.given_worth, found.received_worth = becomes.given_worth, becomes.received_worth
    found.rule_id, found.transfer_id = rule.id, moved.id
    more = {
        "given": becomes.given, "received": becomes.received, "given_worth": becomes.given_worth,
        "received_worth": becomes.received_worth, "rule": rule.id, "transfer": moved.id,
    }  # fmt: skip
    return _decided(tx, found, ConversionState.DONE, "conversion.carry_out", more=more)


def refuse(tx: Tx, conversion_id: int, *, generation: int, reason: str) -> Conversion:
    """The authority does not convert, and says why."""
    tx.actor.must_be(Role.AUTHORITY)
    found = _locked(tx, conversion_id, generation)
    found.answer = stated(reason)
    return _decided(tx, found, ConversionState.REFUSED, "conversion.refuse", reason=found.answer)


def withdraw(tx: Tx, conversion_id: int, *, generation: int) -> Conversion:
    """Who asked does not want it any more, as long as it is not decided."""
    found = _locked(tx, conversion_id, generation)
    if not lending.acts_for(tx, found.department_id):
        raise NotAllowed("conversion.not_yours", N_("只能换算本单位及下属单位的配额"))
    return _decided(tx, found, ConversionState.WITHDRAWN, "conversion.withdraw")


def check(tx: Tx) -> Iterator[str]:
    """One query over all that was converted: a sentence for each whose sides are not worth the same, or whose transfer moved
    something else."""

    def moved(pool_id: ColumnElement[int], arch: ColumnElement[str], holder: Holder) -> ColumnElement[int]:
        """What the transfer changed on the accounts of one side."""
        here = and_(Account.pool_id == pool_id, Account.arch == arch, Account.holder == holder.value)
        return func.coalesce(func.sum(case((here, Entry.delta), else_=0)), 0)

    one = Conversion
    sides = {
        (one.source_pool_id, one.source_arch, Holder.GRANTED): -one.given,
        (one.source_pool_id, one.source_arch, Holder.FREE): one.given,
        (one.target_pool_id, one.target_arch, Holder.GRANTED): one.received,
        (one.target_pool_id, one.target_arch, Holder.FREE): -one.received,
    }
    off = [moved(*side) != amount for side, amount in sides.items()]  # type: ignore[arg-type]
    wrong = off[0] | off[1] | off[2] | off[3] | (one.given * one.given_worth != one.received * one.received_worth)
    query = (
        select(one.id)
        .outerjoin(Entry, Entry.transfer_id == one.transfer_id)
        .outerjoin(Account, and_(Account.id == Entry.account_id, Account.kind == one.kind))
        .where(one.state == ConversionState.DONE.value)
        .group_by(one.id)
        .having(wrong)
        .order_by(one.id)
    )
    for conversion_id in tx.scalars(query):
        yield f"quota_conversions: row {conversion_id} is not what its transfer moved, or its sides are not worth the same"


# ----------------------------------------------------------------------------------------------------------- mechanism


def _must_differ(where: Pool, there: Pool, cls: Commodity) -> None:
    """Raise Invalid naming what of the two pools makes no conversion."""
    for one, field in ((where, "wallet"), (there, "target")):
        if not one.active:
            raise Invalid("pool.closed", N_("该资源池已停用"), field=field)
    if not CLASSES[cls.kind].by_arch:
        raise Invalid(
            "exchange.no_arch", N_("%(kind)s不分架构，无须换算"), kind=CLASSES[cls.kind].label, field="wallet"
        )
    if cls.arch.value != where.arch:
        raise Invalid("class.unknown", N_("没有这种资源类别:%(text)s"), text=str(cls), field="wallet")
    if where.arch == there.arch:
        raise Invalid("conversion.same", N_("两个资源池架构相同，无须换算"), field="target")


def _locked(tx: Tx, conversion_id: int, generation: int) -> Conversion:
    found = tx.lock_as_shown(
        conversion(tx, conversion_id), generation,
        Conflict("conversion.stale", N_("这项换算已有变化，请核对后再办理")),
    )  # fmt: skip
    if found.state != ConversionState.ASKED.value:
        raise WrongState("conversion.decided", N_("这项换算已经办结"))
    return found


def _decided(
    tx: Tx,
    one: Conversion,
    state: ConversionState,
    action: str,
    *,
    reason: str = "",
    more: Mapping[str, object] | None = None,
) -> Conversion:
    one.state, one.decided_by, one.decided_at = state.value, tx.actor.login, tx.now
    one.generation += 1
    tx.flush()
    tx.audit(action, one.subject, before={"state": ConversionState.ASKED}, after={"state": state, **(more or {})}, reason=reason)  # fmt: skip
    return one
