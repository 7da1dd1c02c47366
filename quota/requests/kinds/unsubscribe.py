"""退订: a resource is given back; what it has is the department's quota again once its cloud says that it is gone."""

from __future__ import annotations

from quota.errors import N_
from quota.requests.declarations import About, Lines, RequestKind, register
from quota.requests.tasks import for_the_resource

UNSUBSCRIBE = register(
    RequestKind(
        code="unsubscribe",
        label=N_("退订"),
        position=30,
        together=True,
        about=About.RESOURCE,
        lines=Lines(wanted=False),
        tasks=for_the_resource("delete"),
        invites=N_("退订"),
        icon="arrow-back-up",
    )
)
