"""Later finds (补登): what turned up without approval is put to its department, which asks for it as it stands or gives it back.

Every request kind about what nobody approved is an answer; it files its request, as the person who gives it would on the request's
own form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quota.errors import N_, Invalid
from quota.inventory import GivenAnswer, InquiryAnswer, InquiryItem, InquiryPurpose, Resource, inquiries
from quota.requests import kinds as _kinds  # noqa: F401 - those about what nobody approved are the answers
from quota.requests import submission
from quota.requests.asks import Ask, Line
from quota.requests.declarations import RequestKind, Term, known
from quota.requests.tables import Request

if TYPE_CHECKING:
    from quota.db import Tx


def file(
    tx: Tx,
    item: InquiryItem,
    kind: RequestKind,
    given: GivenAnswer,
    lines: Sequence[Line] = (),
    extends: Request | None = None,
) -> str:
    """Draft and hand in the request of ``kind`` about the item's resource, or about the term of ``extends``, in the words of the
    answer; returns its subject. Raises what handing one in raises."""
    inquiry, resource = item.inquiry, item.resource
    system = resource.system
    request = submission.draft(
        tx,
        Ask(
            kind=kind,
            department_id=inquiry.department_id,
            pool_id=resource.pool_id if extends is None else extends.pool_id,
            lines=lines,
            justification=f"{given.reason} ({inquiry.number})".strip(),
            system_id=system.id if system is not None and system.department_id == inquiry.department_id else None,
            resource_id=resource.id if extends is None else None,
            extends_id=extends.id if extends is not None else None,
            use_until=given.until if kind.term is not Term.NONE else None,
            key=f"{inquiry.subject}:{item.id}" + (f":{extends.id}" if extends is not None else ""),
        ),
    )
    return submission.submit(tx, request, generation=request.generation).subject


def _answer(kind: RequestKind) -> InquiryAnswer:
    """To ask for ``kind`` about what was found."""
    stands = kind.lines is not None and kind.lines.stands

    def does(tx: Tx, item: InquiryItem, given: GivenAnswer) -> str:
        resource, lines = item.resource, []
        if stands and resource.amounts:
            lines.append(Line(asked=resource.actual(), service=resource.kind, name=resource.name[:96]))
        return file(tx, item, kind, given, lines)

    return InquiryAnswer(kind.code, kind.invites, does, reasoned=True, until=kind.term is not Term.NONE)


def _may_be_asked(_tx: Tx, resource: Resource, department_id: int) -> None:
    if resource.basis:
        raise Invalid("find.approved", N_("资源 %(name)s 已有审批依据"), name=resource.called, field="id")
    if resource.department_id is None:
        raise Invalid("find.ownerless", N_("资源 %(name)s 还没有使用单位,请先确定"), name=resource.called, field="id")
    if resource.department_id != department_id:
        raise Invalid("find.elsewhere", N_("资源 %(name)s 不属于所问的单位"), name=resource.called, field="id")
    if resource.gone_at is not None:
        raise Invalid("find.gone", N_("资源 %(name)s 已不存在"), name=resource.called, field="id")


FIND = inquiries.register(
    InquiryPurpose(
        code="find",
        label=N_("补登或退还"),
        says=N_(
            "清单里有贵单位的下列资源没有审批依据，请逐项答复：还要用的申请补登，按现状计入贵单位配额；不用的退还，由云服务商删除。"
        ),
        answers=[_answer(kind) for kind in known() if kind.unapproved],
        check=_may_be_asked,
        over=lambda _today: Resource.basis != "",
    )
)
