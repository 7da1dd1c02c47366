"""Adoption (补登): what already runs in a pool is booked, when a city connects it or the supervisor accepts a find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import aliased

from quota import ledger
from quota.actors import Role
from quota.directory import Pool
from quota.inventory.resources import ADOPTED, Resource
from quota.inventory.services import ResourceState
from quota.units import Amount, Arch

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class Adopted:
    """What ``adopt`` booked. ``ownerless``: resources that no department of the book owns, so that nothing
    was booked."""

    resources: int
    by_department: Mapping[int, Amount]
    ownerless: list[int]


def adopt(tx: Tx, pool: Pool) -> Adopted:
    """Book what already runs in ``pool``: for each department one grant and one use of all its unapproved
    resources.

    For the day when a city connects a pool. What was adopted has a basis, so a second call books nothing. Raises OverCapacity
    where the pool was not equipped with as much. For one department, resting on a document, see ``takeovers``.
    """
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    found = unapproved(tx, pool_ids=[pool.id])
    groups: dict[int, list[Resource]] = {}
    for resource in found:
        if resource.department_id is not None:
            groups.setdefault(resource.department_id, []).append(resource)
    booked: dict[int, Amount] = {}
    for department_id, members in sorted(groups.items()):
        key = f"adopt:{pool.id}:{department_id}:{members[-1].id}"
        what = book(tx, pool, department_id, members, basis=ADOPTED, key=key, subject=f"pool:{pool.id}")
        booked[department_id] = what
        tx.audit(
            "inventory.adopt",
            f"pool:{pool.id}",
            after={"department": department_id, "resources": len(members), "amounts": what},
        )
    tx.flush()
    return Adopted(
        sum(map(len, groups.values())), booked, [resource.id for resource in found if resource.department_id is None]
    )


def without_basis() -> ColumnElement[bool]:
    """What is there, and nobody approved."""
    return and_(Resource.basis == "", Resource.gone_at.is_(None), Resource.state != ResourceState.DELETED.value)


def of_its_pools_arch() -> ColumnElement[bool]:
    """What is not of another architecture than its pool: the ledger counts by the pool's, so that anything else would be booked
    as what it is not."""
    own = aliased(Pool)
    arch = select(own.arch).where(own.id == Resource.pool_id).correlate(Resource).scalar_subquery()
    return or_(Resource.arch == Arch.ANY.value, Resource.arch == arch)


def unapproved(tx: Tx, *, department_id: int | None = None, pool_ids: Iterable[int] | None = None) -> list[Resource]:
    """What is there without a basis and could be given one, by id: a department's or everybody's, in these pools or in all."""
    query = select(Resource).where(without_basis(), of_its_pools_arch())
    if department_id is not None:
        query = query.where(Resource.department_id == department_id)
    if pool_ids is not None:
        query = query.where(Resource.pool_id.in_(list(pool_ids)))
    return list(tx.scalars(query.order_by(Resource.id)))


def book(
    tx: Tx, pool: Pool, department_id: int, resources: Sequence[Resource], *, basis: str, key: str, subject: str
) -> Amount:
    """Count what the resources of one department in one pool have as granted to it and used, and give them ``basis``; returns
    what was counted."""
    what = Amount.total(resource.actual() for resource in resources)
    if what:
        by_class = what.of_arch(Arch(pool.arch))
        ledger.grant(tx, pool.id, department_id, by_class, key=f"{key}:grant", subject=subject)
        ledger.use(tx, pool.id, department_id, by_class, key=f"{key}:use", subject=subject)
    for resource in resources:
        resource.basis, resource.booked = basis, dict(resource.amounts)
    return what
