"""变更: another shape for a resource that the department has; what it does not name stays."""

from __future__ import annotations

from quota.errors import N_
from quota.requests.declarations import About, Compared, Lines, RequestKind, Term, register
from quota.requests.tasks import for_the_resource
from quota.units import BLOCK, MEMORY, VCPU

RESIZE = register(
    RequestKind(
        code="resize",
        label=N_("变更"),
        position=20,
        about=About.RESOURCE,
        lines=Lines(items=True, named=(VCPU, MEMORY, BLOCK)),
        term=Term.OPTIONAL,
        tasks=for_the_resource("resize"),
        compares=Compared.NAMED,
        invites=N_("变更规格"),
        icon="pencil",
        services=frozenset({"vm", "bare_metal", "volume", "object_store", "bandwidth", "database"}),
    )
)
