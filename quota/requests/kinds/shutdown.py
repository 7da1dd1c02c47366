"""系统下线: a resource goes with its whole system. Filed by the system's shutdown (``quota.requests.shutdowns``), never by itself."""

from __future__ import annotations

from quota.errors import N_
from quota.requests import shutdowns
from quota.requests.declarations import About, Lines, Question, RequestKind, register
from quota.requests.tasks import for_the_resource

SHUTDOWN = register(
    RequestKind(
        code="shutdown",
        label=N_("系统下线"),
        position=35,
        together=True,
        about=About.RESOURCE,
        lines=Lines(wanted=False),
        why=Question(N_("下线理由"), N_("写明系统为什么下线、业务去向"), N_("请写明系统下线的理由")),
        tasks=for_the_resource("delete"),
        check=shutdowns.check,
        by_itself=False,
    )
)
