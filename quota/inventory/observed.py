"""What listings tell, as the register keeps it: rows and their history in bulk, past the session. Whoever writes expires it.

Nothing here decides: what a listing means for a resource is said by whoever reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from quota.inventory.resources import Change, Resource, ResourceChange
from quota.inventory.services import ServiceKind
from quota.seals import plain

if TYPE_CHECKING:
    from quota.db import Tx


def known(tx: Tx, pool_id: int) -> dict[str, Any]:
    """External id → the row of each resource that the pool has or had."""
    query = select(Resource.__table__).where(Resource.pool_id == pool_id)
    return {row.external_id: row for row in tx.execute(query)}


def ordered_since(tx: Tx, pool_id: int, as_of: datetime) -> dict[int, frozenset[str]]:
    """Resource id → the fields that orders changed after ``as_of``."""
    query = (
        select(ResourceChange.resource_id, ResourceChange.after)
        .join(Resource, Resource.id == ResourceChange.resource_id)
        .where(Resource.pool_id == pool_id, ResourceChange.at > as_of, ResourceChange.source.like("order:%"))
    )
    found: dict[int, frozenset[str]] = {}
    for resource_id, after in tx.execute(query):
        found[resource_id] = found.get(resource_id, frozenset()) | frozenset(after)
    return found


def gone(resource_id: int, state: str, as_of: datetime) -> dict[str, Any]:
    """The row of the history that a resource in ``state`` is gone since ``as_of``."""
    return change(resource_id, Change.GONE, as_of, as_of, {"state": state}, {"state": None})


def change(
    resource_id: int,
    what: Change,
    at: datetime,
    seen_at: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "resource_id": resource_id,
        "what": what.value,
        "at": at,
        "seen_at": seen_at,
        "source": "inventory",
        "before": plain(before),
        "after": plain(after),
    }


def bear(tx: Tx, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Enter resources that the register did not know, each as its columns; returns external id → id. Their history is the
    caller's to write."""
    if not rows:
        return {}
    return dict(tx.execute(insert(Resource).returning(Resource.external_id, Resource.id), rows).all())


def write(tx: Tx, updates: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
    """Columns of resources by their ids, and rows of the history, past the session."""
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in updates:
        by_columns.setdefault(tuple(sorted(row)), []).append(row)
    for rows in by_columns.values():
        tx.execute(update(Resource), rows)
    if history:
        tx.execute(insert(ResourceChange), history)


def seen(tx: Tx, pool_id: int, as_of: datetime, *, but: Collection[ServiceKind] = ()) -> None:
    """A listing told all of the pool, ``but`` what is of these kinds: whatever is not gone by now was seen; an order's resource
    younger than the listing was not."""
    proven = (Resource.last_seen_at.is_not(None)) | (Resource.first_seen_at < as_of)
    told = Resource.kind.not_in([one.value for one in but])
    tx.execute(
        update(Resource)
        .where(Resource.pool_id == pool_id, Resource.gone_at.is_(None), proven, told)
        .values(last_seen_at=as_of)
        .execution_options(synchronize_session=False)
    )
