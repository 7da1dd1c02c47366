"""Spells: in what shape and state a resource was when, and since when it is attached to nothing, by its history."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    select,
)

from quota.db import batches
from quota.inventory.resources import Change, Resource, ResourceChange
from quota.inventory.services import ResourceState, ServiceKind
from quota.units import NOTHING, Amount

if TYPE_CHECKING:
    from quota.db import Tx


ATTACHABLE = (ServiceKind.VOLUME.value, ServiceKind.EIP.value)


@dataclass(frozen=True, slots=True)
class StatePeriod:
    """A stretch of time [start, end) in which a resource had one shape and one state (None: it was
    gone)."""

    start: datetime
    end: datetime
    amounts: Amount
    state: ResourceState | None


def state_periods(
    tx: Tx,
    start: datetime,
    end: datetime,
    *,
    pool_ids: Iterable[int] | None = None,
    shapes: bool = True,
) -> dict[int, list[StatePeriod]]:
    """Resource id → its states within [start, end), from the history; all resources where not narrowed. ``shapes`` False: who asks
    for states alone is told of none."""
    query = (
        select(ResourceChange.resource_id, ResourceChange.at, ResourceChange.after)
        .where(ResourceChange.at < end)
        .order_by(ResourceChange.resource_id, ResourceChange.at, ResourceChange.id)
    )
    if pool_ids is not None:
        query = query.join(Resource, Resource.id == ResourceChange.resource_id).where(
            Resource.pool_id.in_(list(pool_ids))
        )
    told: dict[int, list[tuple[datetime, dict[str, Any]]]] = {}
    for resource_id, at, after in tx.execute(query):
        told.setdefault(resource_id, []).append((at, after))
    return {resource_id: found for resource_id, rows in told.items() if (found := _spells(rows, start, end, shapes))}


def _spells(
    rows: list[tuple[datetime, dict[str, Any]]], start: datetime, end: datetime, shapes: bool
) -> list[StatePeriod]:
    found: list[StatePeriod] = []
    has = NOTHING
    state: str | None = None
    for number, (at, after) in enumerate(rows):
        if shapes and "amounts" in after:
            has = Amount.from_json(after["amounts"])
        if "state" in after:
            state = after["state"]
        first = max(at, start)
        last = min(rows[number + 1][0] if number + 1 < len(rows) else end, end)
        if first < last and state is not None:
            found.append(StatePeriod(first, last, has, ResourceState(state)))
    return found


def resized(tx: Tx, since: datetime) -> set[int]:
    """Ids of what was seen to have another shape since then."""
    shaped = ResourceChange.what == Change.SHAPE.value
    return set(tx.scalars(select(ResourceChange.resource_id).where(shaped, ResourceChange.at >= since).distinct()))


def unattached(tx: Tx, resources: Iterable[Resource]) -> dict[int, datetime]:
    """Id → since when, of the volumes and addresses among ``resources`` that are attached to nothing.

    Since the change that was seen; else what the cloud itself says (tag ``detached_at``, ISO 8601); else
    since we first saw it so. Never earlier than that is known: the doubt is the owner's.
    """
    loose = {
        resource.id: resource for resource in resources if resource.kind in ATTACHABLE and not resource.attached_to
    }
    since: dict[int, datetime] = {}
    for resource in loose.values():
        since[resource.id] = resource.first_seen_at
        told = resource.tags.get("detached_at")
        if told:
            with suppress(ValueError):
                moment = datetime.fromisoformat(told)
                since[resource.id] = moment if moment.tzinfo else since[resource.id]
    for part in batches(loose):
        query = (
            select(ResourceChange.resource_id, ResourceChange.at, ResourceChange.after)
            .where(ResourceChange.resource_id.in_(part), ResourceChange.what != Change.APPEARED.value)
            .order_by(ResourceChange.at, ResourceChange.id)
        )
        since |= {resource_id: at for resource_id, at, after in tx.execute(query) if "attached_to" in after}
    return since
