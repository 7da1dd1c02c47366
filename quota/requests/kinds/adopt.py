"""补登: what runs without approval is approved as it stands and booked; its cloud is told nothing. Done with the last signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quota.errors import N_
from quota.inventory import Resource
from quota.requests import targets
from quota.requests.declarations import About, Lines, Question, RequestKind, Term, register

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.requests.tables import Request


def book(tx: Tx, request: Request) -> None:
    """The resource rests on ``request`` from now on; what it takes was held, and is used. Raises Conflict where it is not as it
    was asked for any more."""
    resource = tx.get_one(Resource, request.resource_id)
    tx.lock(resource)
    targets.as_it_stands(request, resource)
    resource.basis, resource.booked = request.subject, dict(resource.amounts)
    if request.system_id is not None:
        resource.system_id = request.system_id
    tx.flush()
    tx.audit("inventory.enrol", f"resource:{resource.id}", after={"basis": resource.basis, "amounts": resource.booked})


ADOPT = register(
    RequestKind(
        code="adopt",
        label=N_("补登"),
        position=60,
        together=True,
        about=About.RESOURCE,
        lines=Lines(stands=True),
        term=Term.OPTIONAL,
        why=Question(N_("补登理由"), N_("写明资源用途和未事先申请的原因；评审以此为据"), N_("请写明补登的理由")),
        granted=book,
        invites=N_("申请补登"),
        icon="clipboard-check",
        unapproved=True,
    )
)
