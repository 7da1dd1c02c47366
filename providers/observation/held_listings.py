"""Held listings (待核实的清单): complete listings that lacked so much of their pool that a person has to look first.

Until then nothing that they lack is gone. ``end`` says that it is, ``keep`` that the listing is wrong; a later listing that
tells all of the pool leaves nothing to be said of an earlier one. Who handed a listing in does not end by it what it lacks, where
there is another supervisor to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from providers.observation.listings import HeldBack, Listing
from quota import inventory
from quota.actors import Role
from quota.db import batches
from quota.directory import Person, Pool
from quota.errors import N_, Invalid, NotAllowed, NotFound, WrongState
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST_REASON = 500


def waiting(tx: Tx) -> list[Listing]:
    """Listings whose ends wait for a person's look, the latest first."""
    query = (
        select(Listing).where(Listing.held == HeldBack.WAITS.value).order_by(Listing.as_of.desc(), Listing.id.desc())
    )
    return list(tx.scalars(query))


def listing(tx: Tx, listing_id: int) -> Listing:
    """The listing, or NotFound."""
    found = tx.get(Listing, listing_id)
    if found is None:
        raise NotFound("listing.none", N_("没有编号为 %(id)s 的清单"), id=listing_id)
    return found


def missing(tx: Tx, listing: Listing) -> list[Resource]:
    """What the listing lacked and no later listing or order has told of since, by name: what ``end`` would end."""
    younger = inventory.ordered_since(tx, listing.pool_id, listing.as_of)
    rows: list[Resource] = []
    for part in batches(listing.missing):
        query = select(Resource).where(Resource.id.in_(part), Resource.gone_at.is_(None))
        unseen = (Resource.last_seen_at.is_(None)) | (Resource.last_seen_at < listing.as_of)
        rows += [row for row in tx.scalars(query.where(unseen)) if row.id not in younger]
    return sorted(rows, key=lambda row: (row.name, row.id))


def end(tx: Tx, listing: Listing, reason: str) -> int:
    """The machines that the listing lacked are gone, since its instant; returns how many. Raises Invalid without a reason,
    WrongState where nothing waits (any more), NotAllowed for who handed the listing in, where another supervisor may decide."""
    tx.actor.must_sign()
    if may_not_end(tx, listing):
        raise NotAllowed("listing.own", N_("清单由您导入，所缺资源是否消失须由另一位监督人员核实"))
    _decide(tx, listing, HeldBack.ENDED, reason)
    ended = missing(tx, listing)
    inventory.write(
        tx,
        [{"id": row.id, "gone_at": listing.as_of} for row in ended],
        [inventory.gone(row.id, row.state, listing.as_of) for row in ended],
    )
    listing.complete = not listing.short
    listing.drift = {**listing.drift, "gone": listing.drift.get("gone", 0) + len(ended)}
    tx.flush()
    tx.expire_all()  # rows were written past the session
    after = {"as_of": listing.as_of, "gone": len(ended)}
    tx.audit("inventory.end_missing", f"pool:{listing.pool_id}", after=after, reason=listing.reason)
    return len(ended)


def may_not_end(tx: Tx, listing: Listing) -> bool:
    """Whether the actor handed the listing in, and somebody else may look."""
    if not listing.taken_by or listing.taken_by != tx.actor.login:
        return False
    others = select(Person.id).where(
        Person.role == Role.SUPERVISOR.value, Person.active, Person.granted, ~Person.service,
        Person.login != tx.actor.login,
    )  # fmt: skip
    return tx.scalar(others.limit(1)) is not None


def keep(tx: Tx, listing: Listing, reason: str) -> None:
    """The listing is wrong: what it lacked stays, whoever handed it in. Raises Invalid and WrongState as ``end`` does."""
    _decide(tx, listing, HeldBack.KEPT, reason)
    after = {"as_of": listing.as_of, "held": len(listing.missing)}
    tx.audit("inventory.keep_missing", f"pool:{listing.pool_id}", after=after, reason=listing.reason)


def _decide(tx: Tx, listing: Listing, how: HeldBack, reason: str) -> None:
    tx.actor.must_be(Role.SUPERVISOR)
    tx.execute(select(Pool.id).where(Pool.id == listing.pool_id).with_for_update())  # one listing of a pool at a time
    tx.refresh(listing)
    if listing.held != HeldBack.WAITS:
        raise WrongState("listing.decided", N_("这份清单没有待核实的内容,或已被更新的清单取代"))
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON:
        raise Invalid("listing.reason", N_("请写明核实情况,不超过%(most)s字"), most=LONGEST_REASON, field="reason")
    listing.held, listing.decided_at, listing.decided_by, listing.reason = how.value, tx.now, tx.actor.login, reason
    tx.flush()
