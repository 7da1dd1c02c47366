"""The yearly demand round (年度需求): departments enter what they need in a year, the authority cuts it to what there will be, and
enacts it as that year's quotas in one act.

    open ─(departments enter, the authority settles)▶ enacted ─(on 1 January, or at once where the year has begun)▶ granted

A demand is for a year on top of what the department has for good: each becomes an allocation of the city's whose last day is 31
December. Enacted are the settled amounts alone; no more than the pool will have by then, when what ends before has come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base, Count
from quota.calendar import ZONE
from quota.db import among
from quota.directory import Department, Pool, departments, pools
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState, stated
from quota.ledger import allocations, commitments, entries, lending
from quota.ledger.allocations import OPEN, Allocation
from quota.ledger.tables import Account, Holder, Side
from quota.units import CLASSES, Arch, ClassCode, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx

Place = tuple[int, Commodity]
"""A pool's id and a class."""


class RoundState(StrEnum):
    OPEN = "open"
    ENACTED = "enacted"  # waits for its year to begin, or for room in a pool
    GRANTED = "granted"


class DemandRound(Base):
    """年度需求. ``closes_on`` is the last day on which departments may enter."""

    __tablename__ = "demand_rounds"
    __table_args__ = (CheckConstraint("year BETWEEN 2000 AND 2999", name="year"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(String(8), default=RoundState.OPEN.value)
    closes_on: Mapped[date]
    opened_by: Mapped[str] = mapped_column(String(64))
    opened_at: Mapped[datetime]
    enacted_by: Mapped[str] = mapped_column(String(64), default="")
    enacted_at: Mapped[datetime | None]

    @property
    def subject(self) -> str:
        return f"demand_round:{self.id}"

    @property
    def begins_on(self) -> date:
        return date(self.year, 1, 1)

    @property
    def ends_on(self) -> date:
        return date(self.year, 12, 31)


class Demand(Base):
    """What a department needs in a round of one class of one pool. ``asked`` and ``settled`` in base units; settled None: not yet."""

    __tablename__ = "demands"
    __table_args__ = (
        UniqueConstraint("round_id", "department_id", "pool_id", "kind", "arch"),
        CheckConstraint("asked >= 0 AND (settled IS NULL OR settled BETWEEN 0 AND asked)", name="sane"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("demand_rounds.id"))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    asked: Mapped[int] = mapped_column(Count)
    basis: Mapped[str] = mapped_column(Text)
    settled: Mapped[int | None] = mapped_column(Count)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    granted_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=1)

    round: Mapped[DemandRound] = relationship()
    department: Mapped[Department] = relationship()
    pool: Mapped[Pool] = relationship()

    @property
    def commodity(self) -> Commodity:
        return Commodity(ClassCode(self.kind), Arch(self.arch))

    @property
    def subject(self) -> str:
        return f"demand:{self.id}"


def round_of(tx: Tx, round_id: int) -> DemandRound:
    """The round, or NotFound."""
    found = tx.get(DemandRound, round_id)
    if found is None:
        raise NotFound("demand.no_round", N_("没有编号为 %(id)s 的年度需求"), id=round_id)
    return found


IN_ORDER = (Demand.pool_id, Demand.kind, Demand.arch, Demand.department_id)
"""By pool, class and department."""


def of_round(tx: Tx, round_id: int) -> list[Demand]:
    """Every demand of the round."""
    return list(tx.scalars(select(Demand).where(Demand.round_id == round_id).order_by(*IN_ORDER)))


# --------------------------------------------------------------------------------------------------------------- verbs


def open_round(tx: Tx, year: int, closes_on: date) -> DemandRound:
    """The authority asks for the demands of ``year``. Raises Invalid for a year that is over or a last day that makes no sense,
    Conflict where it was asked for already."""
    tx.actor.must_be(Role.AUTHORITY)
    today = tx.now.astimezone(ZONE).date()
    if not today.year <= year <= today.year + 5:
        raise Invalid("demand.year", N_("只能征集本年度及以后五年内的需求"), field="year")
    if not today <= closes_on <= date(year, 12, 31):
        raise Invalid("demand.closes", N_("填报截止日须在今天与该年度末之间"), field="closes_on")
    tx.alone("demand rounds")
    if tx.scalar(select(DemandRound.id).where(DemandRound.year == year)) is not None:
        raise Conflict("demand.twice", N_("%(year)s 年度的需求已在征集"), year=year, field="year")
    found = DemandRound(
        year=year, state=RoundState.OPEN.value, closes_on=closes_on, opened_by=tx.actor.login, opened_at=tx.now
    )
    tx.add(found)
    tx.flush()
    tx.audit("demand.open", found.subject, after={"year": year, "closes_on": closes_on})
    return found


def enter(tx: Tx, round_id: int, department_id: int, pool_id: int, cls: Commodity, asked: int, basis: str) -> Demand:
    """A department says what it needs, or corrects it: what was settled of it is open again. Zero takes it back.

    Raises NotAllowed for somebody else's, WrongState after the last day, Invalid for what makes no sense.
    """
    if not lending.acts_for(tx, department_id):
        raise NotAllowed("demand.not_yours", N_("只能填报本单位及下属单位的需求"))
    found = _locked(tx, round_id)
    if tx.actor.role is Role.TENANT and tx.now.astimezone(ZONE).date() > found.closes_on:
        raise WrongState("demand.closed", N_("填报已于 %(on)s 截止"), on=found.closes_on)
    department, where = departments.department(tx, department_id), pools.pool(tx, pool_id)
    departments.must_be_open(department, "department")
    CLASSES.offered(cls.kind)
    if not where.active:
        raise Invalid("pool.closed", N_("该资源池已停用"), field="pool")
    if asked < 0:
        raise Invalid("transfer.amount", N_("变动数量须为正整数"), field="amount")
    basis = stated(basis)
    one = tx.scalar(
        select(Demand).where(
            Demand.round_id == found.id,
            Demand.department_id == department.id,
            Demand.pool_id == where.id,
            Demand.kind == cls.kind,
            Demand.arch == cls.arch.value,
        )
    )
    if one is None:
        one = Demand(
            round_id=found.id, department_id=department.id, pool_id=where.id, kind=cls.kind, arch=cls.arch.value,
            generation=0,
        )  # fmt: skip
        tx.add(one)
    one.asked, one.basis, one.settled = asked, basis, None
    one.by, one.at = tx.actor.login, tx.now
    one.generation += 1
    tx.flush()
    after = {"department": department.id, "pool": where.id, "class": str(cls), "asked": asked}
    tx.audit("demand.enter", one.subject, after=after, reason=basis)
    return one


def settle(tx: Tx, round_id: int, amounts: Mapping[int, tuple[int, int]]) -> int:
    """The authority says how much of each demand it is to be: id → (generation as it was shown, base units). Returns how many changed.

    Raises Conflict for one that was corrected meanwhile, Invalid for more than was asked for; then none is settled.
    """
    tx.actor.must_be(Role.AUTHORITY)
    _locked(tx, round_id)
    query = select(Demand).where(Demand.round_id == round_id, among(Demand.id, amounts)).with_for_update()
    rows = {one.id: one for one in tx.scalars(query)}
    changed = 0
    for id_, (generation, amount) in sorted(amounts.items()):
        one = rows.get(id_)
        if one is None:
            raise NotFound("demand.none", N_("没有编号为 %(id)s 的需求"), id=id_)
        if one.generation != generation:
            raise Conflict("demand.stale", N_("%(name)s的需求已被更正,请核对后再审定"), name=one.department.name)
        if not 0 <= amount <= one.asked:
            most = shown(one.commodity.kind, one.asked)
            raise Invalid(
                "demand.settled", N_("%(name)s的审定量须在 0 与填报量 %(most)s 之间"),
                name=one.department.name, most=most, field=f"settled-{id_}",
            )  # fmt: skip
        if one.settled != amount:
            before, one.settled = one.settled, amount
            tx.audit("demand.settle", one.subject, before={"settled": before}, after={"settled": amount})
            changed += 1
    tx.flush()
    return changed


def enact(tx: Tx, round_id: int) -> DemandRound:
    """All that is settled becomes the year's quotas: granted now where the year has begun, else on its first day (``begin``).

    Raises WrongState where something is not settled or nothing is, OverCapacity naming the pool and class that will not have as much.
    """
    tx.actor.must_be(Role.AUTHORITY)
    found = _locked(tx, round_id)
    rows = of_round(tx, found.id)
    if any(one.settled is None for one in rows):
        raise WrongState("demand.unsettled", N_("还有没有审定的需求"))
    if not any(one.settled for one in rows):
        raise WrongState("demand.nothing", N_("没有审定的数量,不能颁布"))
    room = there_will_be(tx, found)
    for (pool_id, cls), (_asked, wanted) in sums(tx, found.id).items():
        if wanted > room.get((pool_id, cls), 0):
            raise OverCapacity(
                "demand.short",
                N_("%(pool)s的%(kind)s届时只有 %(have)s %(unit)s,审定了 %(need)s"),
                pool=pools.pool(tx, pool_id).name,
                kind=CLASSES[cls.kind].label,
                have=shown(cls.kind, room.get((pool_id, cls), 0)),
                unit=CLASSES[cls.kind].shown,
                need=shown(cls.kind, wanted),
            )
    found.state, found.enacted_by, found.enacted_at = RoundState.ENACTED.value, tx.actor.login, tx.now
    tx.flush()
    tx.audit(
        "demand.enact", found.subject, after={"year": found.year, "demands": sum(bool(one.settled) for one in rows)}
    )
    _give(tx, found)
    return found


def begin(tx: Tx) -> list[DemandRound]:
    """Grant what was enacted and whose year has begun; what a pool has no room for waits for the next time. Returns rounds that are
    granted whole by now. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    waiting = select(DemandRound).where(DemandRound.state == RoundState.ENACTED.value)
    rounds = tx.scalars(waiting.order_by(DemandRound.year).with_for_update()).all()
    return [one for one in rounds if _give(tx, one)]


# ------------------------------------------------------------------------------------------------------------- figures


def held_by(tx: Tx, holder: Holder) -> dict[Place, int]:
    """Base units of every pool and class that lie with a holder of the city's."""
    place = (Account.pool_id, Account.kind, Account.arch)
    query = select(*place, func.sum(Account.balance)).where(Account.holder == holder.value).group_by(*place)
    return {
        (pool_id, Commodity(ClassCode(kind), Arch(arch))): int(balance)
        for pool_id, kind, arch, balance in tx.execute(query)
    }


def there_will_be(tx: Tx, found: DemandRound) -> dict[Place, int]:
    """Base units that each pool can give when the year begins: what is free now, and what the city gave until before then."""
    room = held_by(tx, Holder.FREE)
    back = (
        select(Allocation.pool_id, Allocation.kind, Allocation.arch, func.sum(Allocation.amount - Allocation.returned))
        .where(Allocation.giver_id.is_(None), Allocation.state.in_(OPEN), Allocation.ends_on < found.begins_on)
        .group_by(Allocation.pool_id, Allocation.kind, Allocation.arch)
    )
    for pool_id, kind, arch, amount in tx.execute(back):
        place = (pool_id, Commodity(ClassCode(kind), Arch(arch)))
        room[place] = room.get(place, 0) + int(amount)
    return room


def sums(tx: Tx, round_id: int) -> dict[Place, tuple[int, int]]:
    """What was asked for and what was settled in a round, by pool and class."""
    place = (Demand.pool_id, Demand.kind, Demand.arch)
    query = select(*place, func.sum(Demand.asked), func.sum(func.coalesce(Demand.settled, 0))).group_by(*place)
    return {
        (pool_id, Commodity(ClassCode(kind), Arch(arch))): (int(asked), int(settled))
        for pool_id, kind, arch, asked, settled in tx.execute(query.where(Demand.round_id == round_id))
    }


# ----------------------------------------------------------------------------------------------------------- mechanism


def _locked(tx: Tx, round_id: int) -> DemandRound:
    """The round with its row locked. Raises WrongState where it was enacted."""
    found = tx.lock(round_of(tx, round_id))
    if found.state != RoundState.OPEN.value:
        raise WrongState("demand.enacted", N_("%(year)s 年度的配额已颁布"), year=found.year)
    return found


def _give(tx: Tx, found: DemandRound) -> bool:
    """Grant what waits, where the year has begun; whether nothing waits any more."""
    if tx.now.astimezone(ZONE).date() < found.begins_on:
        return False
    waiting = [one for one in of_round(tx, found.id) if one.settled and one.granted_at is None]
    for one in waiting:
        amount, key, free = one.settled or 0, one.subject, Side(one.pool_id, one.commodity, Holder.FREE)
        receiver = departments.successor(one.department)
        entries.lock(tx, [free, Side(one.pool_id, one.commodity, Holder.GRANTED, receiver.id)])
        if entries.balance(tx, free) - commitments.kept(tx, one.pool_id, one.commodity) < amount:
            continue
        entries.grant(tx, one.pool_id, receiver.id, {one.commodity: amount}, key=key, subject=key)
        allocations.enter(
            tx, None, receiver.id, one.pool_id, one.commodity, amount,
            key=key, reason=one.basis, ends_on=found.ends_on,
        )  # fmt: skip
        one.granted_at = tx.now
    if all(one.granted_at for one in waiting):
        found.state = RoundState.GRANTED.value
        tx.audit("demand.grant", found.subject, after={"year": found.year})
    tx.flush()
    return found.state == RoundState.GRANTED.value
