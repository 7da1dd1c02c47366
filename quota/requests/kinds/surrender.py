"""退还: what runs without approval is not wanted; its cloud deletes it. Nothing is counted for it, so nothing falls free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quota.errors import N_
from quota.requests.declarations import About, Question, RequestKind, register
from quota.requests.tasks import Task

if TYPE_CHECKING:
    from quota.requests.tables import Request


def delete(request: Request) -> Iterator[Task]:
    """One order: the resource goes."""
    yield Task("delete", "1:1", resource_id=request.resource_id)


SURRENDER = register(
    RequestKind(
        code="surrender",
        label=N_("退还"),
        position=70,
        together=True,
        about=About.RESOURCE,
        why=Question(N_("退还理由"), N_("写明这个资源是否还有数据要留、何时可以删除"), N_("请写明退还的理由")),
        tasks=delete,
        invites=N_("退还"),
        icon="arrow-back-up",
        unapproved=True,
    )
)
