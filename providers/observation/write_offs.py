"""Write-offs (核销): what the book holds and its cloud has no more is taken off the book, by decision and on a document, and what was
counted as used for it is its department's quota again. Only where a listing told all of its kind and it was not there; what comes
back afterwards is a find like any other."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from providers.observation.listings import Listing, last_listing
from quota import ledger
from quota.actors import Role
from quota.errors import N_, NotFound, WrongState, stated
from quota.inventory import Resource, engagements
from quota.units import Amount, Arch

if TYPE_CHECKING:
    from quota.db import Tx


def proof(tx: Tx, resource: Resource) -> tuple[Listing, datetime]:
    """The listing that shows it gone (the pool's last, of after it was missed, that told all of its kind), and since when it is.
    Raises WrongState where the book holds nothing of it, where it is there, and where the last listing proves nothing."""
    if not resource.booked:
        raise WrongState("write_off.nothing", N_("账面上没有这个资源的占用"))
    if resource.gone_at is None:
        raise WrongState("write_off.there", N_("最近的清单中有这个资源，不能核销"))
    last = last_listing(tx, resource.pool_id)
    if last is None or last.as_of < resource.gone_at or not last.tells(resource.kind):
        raise WrongState("write_off.partial", N_("最近的清单没有给全这一类资源，不能据以核销；请等下一份完整的清单"))
    return last, resource.gone_at


def write_off(tx: Tx, resource_id: int, document: str) -> Amount:
    """Take the resource off the book: what it was counted for goes back to its department's quota, and it rests on nothing any more.
    Returns what that was.

    Raises Invalid without a document, WrongState as ``proof`` does, Refused while an order or a takeover works on it.
    """
    tx.actor.must_be(Role.SUPERVISOR)
    tx.actor.must_sign()
    document = stated(document, "document", code="write_off.document", message=N_("请写明核销所依据的核实材料"))
    resource = tx.get(Resource, resource_id, with_for_update=True, populate_existing=True)
    if resource is None:
        raise NotFound("resource.none", N_("没有编号为 %(id)s 的资源"), id=resource_id)
    engagements.must_be_free(tx, resource)
    listing, gone_at = proof(tx, resource)
    what, was = resource.counts(), resource.basis
    if resource.department_id is not None:
        ledger.release(
            tx, resource.pool_id, resource.department_id, what.of_arch(Arch(resource.pool.arch)),
            key=f"write_off:{resource.id}:{gone_at:%Y%m%dT%H%M%S}", subject=f"resource:{resource.id}", memo=document,
        )  # fmt: skip
    resource.booked, resource.basis = {}, ""
    tx.audit(
        "resource.write_off",
        f"resource:{resource.id}",
        before={"booked": what.to_json(), "basis": was},
        after={"listing": listing.id, "as_of": listing.as_of, "gone_at": gone_at, "department": resource.department_id},
        reason=document,
    )
    return what
