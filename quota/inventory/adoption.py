"""Adoption (补登): what already runs in a pool is booked, when a city connects it or the supervisor accepts a find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    select,
)

from quota import ledger
from quota.actors import Role
from quota.directory import Pool
from quota.inventory.resources import ADOPTED, Resource
from quota.inventory.services import ResourceState
from quota.units import Amounts, Arch, classes, total

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class Adopted:
    """What ``adopt`` booked. ``ownerless``: resources that no department of the book owns, so that nothing
    was booked."""

    resources: int
    by_department: Mapping[int, Amounts]
    ownerless: list[int]


def adopt(tx: Tx, pool: Pool) -> Adopted:
    """Book what already runs in ``pool``: for each department one grant and one use of all its unapproved
    resources.

    For the day when a city connects a pool, and for later finds that the supervisor accepts. What was
    adopted has a basis, so a second call books nothing. Raises OverCapacity where the pool was not equipped
    with as much.
    """
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    found = list(
        tx.scalars(
            select(Resource)
            .where(
                Resource.pool_id == pool.id,
                Resource.basis == "",
                Resource.gone_at.is_(None),
                Resource.state != ResourceState.DELETED.value,
            )
            .order_by(Resource.id)
        )
    )
    groups: dict[int, list[Resource]] = {}
    for resource in found:
        if resource.department_id is not None:
            groups.setdefault(resource.department_id, []).append(resource)
    booked: dict[int, Amounts] = {}
    for department_id, members in sorted(groups.items()):
        what = total(resource.has() for resource in members)
        if what:
            key = f"adopt:{pool.id}:{department_id}:{members[-1].id}"
            by_class = classes(what, Arch(pool.arch))
            ledger.grant(tx, pool.id, department_id, by_class, key=f"{key}:grant", subject=f"pool:{pool.id}")
            ledger.use(tx, pool.id, department_id, by_class, key=f"{key}:use", subject=f"pool:{pool.id}")
        for resource in members:
            resource.basis, resource.booked = ADOPTED, dict(resource.amounts)
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
