"""Terms that are over while what they were granted for is still there: its department is asked, as the rules say (``rules.endings``).

    term over ─(a rule says so)▶ question to the department ─▶ extension or return ─▶ decided as such requests are
                                      └─(its day passed, nothing under way)▶ ``left_open``: what the rule says then

Nothing is done to a resource here. What was asked for in time stays until it is decided: while an extension is under way the
term is not over, whoever is late with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, String, and_, cast, exists, literal, or_, select
from sqlalchemy.orm import aliased, joinedload

from providers.orders.tables import WorkOrder
from quota.actors import Role
from quota.calendar import ZONE, working_days
from quota.directory import Department
from quota.errors import N_, Invalid, Refused
from quota.inventory import (
    GivenAnswer,
    Inquiry,
    InquiryAnswer,
    InquiryItem,
    InquiryPurpose,
    InquiryState,
    Resource,
    ResourceState,
    inquiries,
)
from quota.requests import (
    OPEN,
    PURPOSE,
    About,
    Line,
    Request,
    RequestKind,
    RuleOutcome,
    TermEnd,
    finds,
    known,
    rulebook,
    rules,
    terms,
)

if TYPE_CHECKING:
    from quota.db import Tx


EXTENDED = "term.extended"
"""Code of the refusal that says that a term was moved."""


@dataclass(frozen=True, slots=True)
class EndedTerm:
    """A resource that is there, the request whose term it was there for, and what the rules say of that term's end."""

    request: Request
    resource: Resource
    end: TermEnd


def of_resource(tx: Tx, resource: Resource) -> Request | None:
    """The request that a resource is there for; None for one that was adopted, taken over, or approved by nobody."""
    return tx.scalar(select(Request).where(_for(resource.basis)))


def ended(tx: Tx) -> list[EndedTerm]:
    """What is there although its term is over and nobody asks for longer, as far as a rule in force says anything of that; the
    longest over first."""
    today = tx.now.astimezone(ZONE).date()
    enacted = rulebook.enacted(tx)
    if not any(one.outcome is RuleOutcome.END for one in rules.in_force(enacted, today)):
        return []
    rows: list[tuple[Request, Resource]] = []
    for granted in _granted():
        query = granted.join(Department, Department.id == Resource.department_id).options(joinedload(Resource.pool))
        rows += [(one, there) for one, there in tx.execute(query.where(_over(today), _there(), Department.active))]
    said = {one.id: _end(one, enacted, today) for one, _resource in rows}
    rows.sort(key=lambda row: (row[0].use_until, row[0].id, row[1].id))
    return [EndedTerm(request, one, end) for request, one in rows if (end := said[request.id]) is not None]


def ask(tx: Tx) -> list[Inquiry]:
    """Ask departments what shall become of what is there although its term is over: once for each end of a term, in one inquiry a
    department and limit. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    found = ended(tx)
    asked = {item.resource_id for item, _inquiry in _asked(tx, found)}
    calendar = working_days(tx)
    wanted: dict[date, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        if one.resource.id not in asked and one.resource.department_id is not None:
            due = calendar.limit(tx.now, one.end.limit, one.end.unit).astimezone(ZONE).date()
            wanted[due][one.resource.department_id].append(one.resource.id)
    today = tx.now.astimezone(ZONE).date()
    return [
        each
        for due, departments in sorted(wanted.items())
        for each in inquiries.ask(tx, TERM, departments, due, key=f"term:{today}:{due}:{_first(departments)}")
    ]


def left_open(tx: Tx) -> list[EndedTerm]:
    """What of ``ended`` its department was asked about, had its time for, and is still there: nothing extends it, whatever was
    answered. An inquiry that was withdrawn leaves nothing open."""
    found = ended(tx)
    over = {
        item.resource_id
        for item, inquiry in _asked(tx, found)
        if inquiry.state != InquiryState.WITHDRAWN and inquiry.due_at < tx.now
    }
    return [one for one in found if one.resource.id in over]


def must_be_over(tx: Tx, request: Request) -> Refused | None:
    """Why the term of ``request`` is not over, or not yet: it was moved, or an extension is under way."""
    until = request.use_until
    if until is None or until >= tx.now.astimezone(ZONE).date():
        return Invalid(EXTENDED, N_("使用期限已延至 %(until)s"), until=str(until))
    asked = terms.extension(tx, request)
    if asked is not None:
        return Invalid("term.extending", N_("延期申请 %(number)s 办结之前维持现状"), number=asked.number)
    return None


# ---------------------------------------------------------------------------------------------------------- mechanism


def _end(request: Request, enacted: Sequence[rules.Rule], on: date) -> TermEnd | None:
    """By what it is used for now, which may be another purpose than when it was handed in. None also where a rule asks for a fact that a request of long ago does not have: what is not known ends nothing."""
    try:
        return rules.end_of_term({**request.facts, PURPOSE: request.fields.get(PURPOSE, "")}, enacted, on)
    except Refused:
        return None


def _first(departments: dict[int, list[int]]) -> int:
    """What tells apart two inquiries of one day and limit: the same resources are never asked about twice."""
    return min(min(ids) for ids in departments.values())


def _granted() -> Iterator[Select[Request, Resource]]:
    """Requests with what is there by them: by an order that carried them out, or as it stood."""
    query = select(Request, Resource)
    by_order = query.join(WorkOrder, WorkOrder.request_id == Request.id)
    yield by_order.join(Resource, Resource.basis == literal("order:") + cast(WorkOrder.id, String))
    yield query.join(Resource, Resource.basis == literal("request:") + cast(Request.id, String))


def _for(basis: str) -> ColumnElement[bool]:
    """Which request ``basis`` names, directly or by an order of it."""
    what, _colon, number = basis.partition(":")
    row = int(number) if number.isdigit() else 0
    if what == "order":
        return Request.id.in_(select(WorkOrder.request_id).where(WorkOrder.id == row))
    return Request.id == (row if what == "request" else 0)


def _over(today: date) -> ColumnElement[bool]:
    """Requests whose term is over, without one that is given back by itself, or that an extension is asked for."""
    asked = aliased(Request)
    by_themselves = [kind.code for kind in known() if kind.returns]
    return and_(
        terms.ending(today),
        Request.kind.not_in(by_themselves),
        ~exists().where(asked.extends_id == Request.id, asked.state.in_(OPEN)),
    )


def _there() -> ColumnElement[bool]:
    return and_(
        Resource.gone_at.is_(None), Resource.state.not_in([ResourceState.DELETED.value, ResourceState.RECYCLED.value])
    )


def _asked(tx: Tx, found: Sequence[EndedTerm]) -> Iterator[tuple[InquiryItem, Inquiry]]:
    """What was asked about these resources since their terms ended, the newest of each resource alone."""
    until = {one.resource.id: terms.ends_at(one.request.use_until) for one in found if one.request.use_until}
    query: Select[InquiryItem, Inquiry] = (
        select(InquiryItem, Inquiry)
        .join(Inquiry, Inquiry.id == InquiryItem.inquiry_id)
        .where(Inquiry.purpose == TERM.code)
        .order_by(InquiryItem.id)
    )
    if not until:
        return
    oldest = min(until.values())
    newest = {item.resource_id: (item, inquiry) for item, inquiry in tx.execute(query.where(Inquiry.asked_at > oldest))}
    for resource_id, (item, inquiry) in newest.items():
        if resource_id in until and inquiry.asked_at > until[resource_id]:
            yield item, inquiry


# ------------------------------------------------------------------------------------------------- what can be answered


def _longer(kind: RequestKind) -> InquiryAnswer:
    """To ask for a longer term by ``kind``; one that is asked for already covers what another item asks about as well."""

    def does(tx: Tx, item: InquiryItem, given: GivenAnswer) -> str:
        request = of_resource(tx, item.resource)
        if request is None:
            raise Invalid("term.none", N_("资源 %(name)s 没有使用期限"), name=item.resource.called, field="id")
        under_way = terms.extension(tx, request)
        if under_way is not None:
            return under_way.subject
        if given.until is None:
            raise Invalid("term.until", N_("请写明延期到哪一天"), field="until")
        return finds.file(tx, item, kind, given, extends=request)

    return InquiryAnswer(kind.code, kind.label, does, reasoned=True, until=True)


def _back(kind: RequestKind) -> InquiryAnswer:
    """To return the resource by ``kind``."""

    def does(tx: Tx, item: InquiryItem, given: GivenAnswer) -> str:
        resource = item.resource
        line = Line(current=resource.counts(), service=resource.kind, name=resource.name[:96])
        return finds.file(tx, item, kind, given, [line])

    return InquiryAnswer(kind.code, kind.label, does, reasoned=True)


def _returns(kind: RequestKind) -> bool:
    """Whether it gives back a resource that was approved, as its department asks for it on the resource's page."""
    about = kind.about is About.RESOURCE and not kind.unapproved and kind.by_itself
    return about and kind.lines is not None and not kind.lines.wanted


def _may_be_asked(_tx: Tx, resource: Resource, department_id: int) -> None:
    if not resource.basis or resource.department_id != department_id:
        raise Invalid(
            "term.resource", N_("资源 %(name)s 没有审批依据，或不属于所问的单位"), name=resource.called, field="id"
        )


def _settled(today: date) -> ColumnElement[bool]:
    """The term was moved, or an extension of it is under way."""
    order = literal("order:") + cast(WorkOrder.id, String)
    by_order = exists().where(WorkOrder.request_id == Request.id, order == Resource.basis, _over(today))
    as_it_stood = exists().where(literal("request:") + cast(Request.id, String) == Resource.basis, _over(today))
    return ~or_(by_order.correlate(Resource), as_it_stood.correlate(Resource))


TERM = inquiries.register(
    InquiryPurpose(
        code="term",
        label=N_("使用期满"),
        says=N_(
            "下列资源的使用期限已满，请逐项答复：还要用的延期，写明理由和到哪一天；不用的退订。答复之前和办理期间一切不变；逾期未办结的，按规则处理。"
        ),
        answers=(
            *(_longer(kind) for kind in known() if kind.about is About.TERM and kind.fits is None),
            *(_back(kind) for kind in known() if _returns(kind)),
        ),
        check=_may_be_asked,
        over=_settled,
        judged=True,
    )
)
