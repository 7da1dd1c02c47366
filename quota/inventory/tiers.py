"""Tiers (同构组): machines of a system that do the same work behind one load balancer, as its department declares them.

A tier is seen as one: a busy machine beside idle ones of its tier is no shortage, whatever the rest of its system does, and where all of it
is busy it may get more machines instead of larger ones. No listing shows what stands behind a balancer, so whose it is says it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, and_, false, select, text, true
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.db import among
from quota.directory import Pool, System, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated
from quota.inventory.resources import Resource
from quota.inventory.services import ResourceState, ServiceKind
from quota.units import MEMORY, VCPU, Amount

if TYPE_CHECKING:
    from quota.db import Tx

MOST = 20
"""So many machines may be added to a tier at one time."""

MOST_MEMBERS = 200


class Tier(Base):
    """``balancer``: which load balancer stands before it, and who enters machines there. ``most``: how many machines may be added to
    it for a time; 0: none, it is only seen as one."""

    __tablename__ = "tiers"
    __table_args__ = (CheckConstraint("most BETWEEN 0 AND 20 AND generation > 0", name="sane"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    name: Mapped[str] = mapped_column(String(64))
    balancer: Mapped[str] = mapped_column(String(200))
    most: Mapped[int]
    generation: Mapped[int] = mapped_column(default=1)
    declared_by: Mapped[str] = mapped_column(String(64))
    declared_at: Mapped[datetime]
    closed_by: Mapped[str] = mapped_column(String(64), default="")
    closed_at: Mapped[datetime | None]

    system: Mapped[System] = relationship()
    pool: Mapped[Pool] = relationship()
    standing: Mapped[list[TierMember]] = relationship(primaryjoin=lambda: stands(), viewonly=True)

    @property
    def subject(self) -> str:
        """Its name in the trail."""
        return f"tier:{self.id}"


class TierMember(Base):
    """That a machine stood behind the balancer of a tier, from when until when; of one tier at a time."""

    __tablename__ = "tier_members"
    __table_args__ = (
        Index(
            "uq_tier_members_resource_id",
            "resource_id",
            unique=True,
            sqlite_where=text("left_at IS NULL"),
            postgresql_where=text("left_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tier_id: Mapped[int] = mapped_column(ForeignKey("tiers.id"), index=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"))
    joined_at: Mapped[datetime]
    left_at: Mapped[datetime | None]


def stands() -> ColumnElement[bool]:
    """Which members of Tier stand in it now: those that were not taken out, are there and still its system's."""
    there = aliased(Resource)
    counted = (
        select(there.id)
        .where(there.id == TierMember.resource_id, there.system_id == Tier.system_id)
        .where(there.gone_at.is_(None), there.state != ResourceState.DELETED.value)
        .correlate(Tier, TierMember)
    )
    return and_(TierMember.tier_id == Tier.id, TierMember.left_at.is_(None), counted.exists())


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """What ``actor`` may see of Tier: a department its own and those below, the stewards all."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        mine = select(System.id).where(System.department_id.in_(subtree(tx, actor.department_id)))
        return Tier.system_id.in_(mine)
    stewards = (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM)
    return true() if actor.role in stewards else false()


def tier(tx: Tx, tier_id: int) -> Tier:
    """The tier, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(Tier).where(Tier.id == tier_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("tier.none", N_("没有编号为 %(id)s 的同构组"), id=tier_id)
    return found


def lock(tx: Tx, tier_id: int, generation: int | None = None) -> Tier:
    """The tier with its row held. Conflict where it is not as the page showed it."""
    found = tier(tx, tier_id)
    tx.refresh(found, with_for_update=True)
    if generation is not None and generation != found.generation:
        raise Conflict("tier.stale", N_("同构组已被他人修改,请重新打开页面"))
    return found


def open_of(tx: Tx, system_id: int) -> list[Tier]:
    """The tiers of a system that are declared now."""
    return list(tx.scalars(select(Tier).where(Tier.system_id == system_id, Tier.closed_at.is_(None)).order_by(Tier.id)))


def members(tx: Tx, tier_id: int) -> list[Resource]:
    """The machines of a tier that are there and still its system's."""
    query = (
        select(Resource)
        .join(TierMember, TierMember.resource_id == Resource.id)
        .join(Tier, Tier.id == TierMember.tier_id)
        .where(TierMember.tier_id == tier_id, stands())
        .order_by(Resource.name, Resource.id)
    )
    return list(tx.scalars(query))


def of(tx: Tx, resource_ids: Collection[int]) -> dict[int, int]:
    """Resource id → the id of the open tier in which it is; those in none are left out."""
    if not resource_ids:
        return {}
    query = (
        select(TierMember.resource_id, TierMember.tier_id)
        .join(Tier, Tier.id == TierMember.tier_id)
        .join(Resource, Resource.id == TierMember.resource_id)
        .where(TierMember.left_at.is_(None), Tier.closed_at.is_(None), Resource.system_id == Tier.system_id)
        .where(among(TierMember.resource_id, resource_ids))
    )
    return {row.resource_id: row.tier_id for row in tx.execute(query)}


def offered(tx: Tx, system_id: int) -> list[Resource]:
    """The machines of a system that a tier may be declared of: there, virtual, and in no tier."""
    taken = (
        select(TierMember.resource_id)
        .join(Tier, Tier.id == TierMember.tier_id)
        .where(TierMember.left_at.is_(None), Tier.closed_at.is_(None), Tier.system_id == system_id)
    )
    query = (
        select(Resource)
        .where(Resource.system_id == system_id, Resource.gone_at.is_(None), Resource.kind == ServiceKind.VM.value)
        .where(Resource.id.not_in(taken))
        .order_by(Resource.name, Resource.id)
    )
    return list(tx.scalars(query))


def declare(tx: Tx, system: System, name: str, balancer: str, most: int, machines: Sequence[int]) -> Tier:
    """Declare machines of ``system`` to be a tier. Raises Invalid with the field; NotAllowed for another department's system."""
    tx.lock(system)
    own(tx, system)
    name, balancer = _checked(name, balancer, most)
    rows = _alike(tx, system, machines)
    row = Tier(
        system_id=system.id,
        pool_id=rows[0].pool_id,
        name=name,
        balancer=balancer,
        most=most,
        declared_by=tx.actor.login,
        declared_at=tx.now,
        closed_by="",
    )
    tx.add(row)
    tx.flush()
    for one in rows:
        join(tx, row, one)
    tx.audit("tier.declare", row.subject, after={**_told(row), "machines": [one.id for one in rows]})
    return row


def change(tx: Tx, row: Tier, name: str, balancer: str, most: int) -> None:
    """Say otherwise of a tier that the actor holds (``lock``). Raises Invalid with the field, WrongState for one that is closed."""
    own(tx, row.system)
    must_be_open(row)
    name, balancer = _checked(name, balancer, most)
    before = _told(row)
    row.name, row.balancer, row.most, row.generation = name, balancer, most, row.generation + 1
    tx.audit("tier.change", row.subject, before=before, after=_told(row))


def close(tx: Tx, row: Tier, reason: str) -> None:
    """It is a tier no more: its machines are judged each by itself. By its department or the authority."""
    tx.actor.must_be(Role.TENANT, Role.AUTHORITY)
    if tx.actor.role is Role.TENANT:
        own(tx, row.system)
    must_be_open(row)
    reason = stated(reason)
    for member in tx.scalars(select(TierMember).where(TierMember.tier_id == row.id, TierMember.left_at.is_(None))):
        member.left_at = tx.now
    row.closed_at, row.closed_by, row.generation = tx.now, tx.actor.login, row.generation + 1
    tx.audit("tier.close", row.subject, before=_told(row), reason=reason)


def join(tx: Tx, row: Tier, resource: Resource) -> None:
    """A machine stands behind the balancer from now on. Conflict for one that is in a tier already."""
    before = tx.scalar(
        select(TierMember).where(TierMember.resource_id == resource.id, TierMember.left_at.is_(None)).with_for_update()
    )
    if before is not None and before.tier_id == row.id:
        return
    if before is not None and tx.get_one(Tier, before.tier_id).system_id != resource.system_id:
        before.left_at, before = tx.now, None  # it came to another system
    if before is not None:
        raise Conflict("tier.taken", N_("%(name)s 已在另一个同构组中"), name=resource.called, field="machines")
    tx.add(TierMember(tier_id=row.id, resource_id=resource.id, joined_at=tx.now))
    tx.flush()


def leave(tx: Tx, row: Tier, resource_id: int) -> None:
    """A machine stands behind the balancer no more."""
    query = select(TierMember).where(TierMember.tier_id == row.id, TierMember.resource_id == resource_id)
    for member in tx.scalars(query.where(TierMember.left_at.is_(None))):
        member.left_at = tx.now
    tx.flush()


def own(tx: Tx, system: System) -> None:
    """Raises NotAllowed unless the actor is of the department whose system it is, or of one above it."""
    tx.actor.must_be(Role.TENANT)
    if tx.actor.department_id is None or system.department_id not in subtree(tx, tx.actor.department_id):
        raise NotAllowed("tier.not_yours", N_("只能办理本单位及下属单位系统的同构组"))


def must_be_open(row: Tier) -> None:
    """Raises WrongState for a tier that is one no more."""
    if row.closed_at is not None:
        raise WrongState("tier.closed", N_("同构组已经撤销"))


def _checked(name: str, balancer: str, most: int) -> tuple[str, str]:
    name, balancer = name.strip(), balancer.strip()
    if not name or len(name) > 64:
        raise Invalid("tier.name", N_("请写明同构组的名称,不超过64字"), field="name")
    if not balancer or len(balancer) > 200:
        raise Invalid("tier.balancer", N_("请写明负载均衡及由谁登记,不超过200字"), field="balancer")
    if not 0 <= most <= MOST:
        raise Invalid("tier.most", N_("同时增加的台数为0至%(most)s"), most=MOST, field="most")
    return name, balancer


def _alike(tx: Tx, system: System, machines: Sequence[int]) -> list[Resource]:
    """The machines, which have to be of one shape in one pool."""
    rows = [one for one in offered(tx, system.id) if one.id in set(machines)]
    if not rows or len(rows) != len(set(machines)) or len(rows) > MOST_MEMBERS:
        raise Invalid("tier.machines", N_("请选择该系统中不属于其他同构组的云主机"), field="machines")
    if any(one.state not in (ResourceState.RUNNING, ResourceState.STOPPED) for one in rows):
        raise Invalid("tier.machines", N_("请选择该系统中不属于其他同构组的云主机"), field="machines")
    if len({(one.pool_id, _size(one.actual())) for one in rows}) > 1:
        raise Invalid("tier.unlike", N_("同构组的云主机须在同一资源池,规格相同"), field="machines")
    return rows


def _size(shape: Amount) -> tuple[int, int]:
    return shape.get(VCPU, 0), shape.get(MEMORY, 0)


def _told(row: Tier) -> dict[str, object]:
    return {
        "system": row.system_id,
        "pool": row.pool_id,
        "name": row.name,
        "balancer": row.balancer,
        "most": row.most,
    }
