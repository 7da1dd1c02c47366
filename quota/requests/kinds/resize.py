"""变更: another shape for a resource that the department has; what it does not name stays. Of what such a thing can have at all, it
may name what can be changed (``targets``, ``Resource.can_have``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quota.errors import N_, Invalid
from quota.requests.declarations import About, Compared, Lines, RequestKind, Term, register
from quota.requests.tasks import for_the_resource
from quota.units import CLASSES

if TYPE_CHECKING:
    from quota.requests.tables import Request
    from quota.transactions import Tx


def only_what_can_change(_tx: Tx, request: Request) -> None:
    """Raises Invalid where a line changes how much there is of a class that a resource keeps as it was built with."""
    for line in request.lines:
        for code, figure in line.difference().items():
            if figure and not CLASSES[code].resizable:
                raise Invalid(
                    "request.fixed", N_("已有资源不能变更%(what)s的数量"), what=CLASSES[code].label, field="lines"
                )


RESIZE = register(
    RequestKind(
        code="resize",
        label=N_("变更"),
        position=20,
        about=About.RESOURCE,
        lines=Lines(items=True, named=None),
        term=Term.OPTIONAL,
        tasks=for_the_resource("resize"),
        check=only_what_can_change,
        compares=Compared.NAMED,
        invites=N_("变更规格"),
        icon="pencil",
        services=frozenset({"vm", "bare_metal", "volume", "object_store", "bandwidth", "database"}),
    )
)
