"""Terms that are over while what they were granted for is still there: its department is asked, as the rules say (``rules.endings``).

    term over ─(a rule says so)▶ question to the department ─▶ extension or return ─▶ decided as such requests are
                                      └─(its day passed, nothing under way)▶ ``left_open``: what the rule says then

Nothing is done to a resource here. What was asked for in time stays until it is decided: while an extension is under way the
term is not over, whoever is late with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, String, and_, cast, exists, literal, or_, select
from sqlalchemy.orm import aliased, joinedload

from providers.orders.tables import WorkOrder
from quota.actors import Role
from quota.calendar import ZONE, working_days
from quota.db import among
from quota.directory import Department
from quota.errors import N_, Invalid, Refused
from quota.inventory import (
    GivenAnswer,
    Inquiry,
    InquiryAnswer,
    InquiryGround,
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
    THEN_LABELS,
    About,
    Line,
    Request,
    RequestKind,
    RuleOutcome,
    TermEnd,
    Then,
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

    @property
    def ended_at(self) -> datetime:
        assert self.request.use_until is not None  # noqa: S101 - else it had not ended
        return terms.ends_at(self.request.use_until)


def of_resource(tx: Tx, resource: Resource) -> list[Request]:
    """The requests that a resource is there for, as it is: the one that it came by, and the newest that changed its shape for a term.
    Of one that was adopted, taken over, or approved by nobody the first is missing."""
    changed = and_(Request.resource_id == resource.id, _reshapes())
    return list(tx.scalars(select(Request).where(or_(_for(resource.basis), changed)).order_by(Request.id)))


@terms.held
def holds(tx: Tx, request: Request, department_id: int) -> bool:
    """Whether a department has something that is there by ``request``, also where it was another's when it was asked for."""
    there = (granted.where(Request.id == request.id, Resource.department_id == department_id) for granted in _granted())
    return any(tx.execute(query.where(_there()).limit(1)).first() is not None for query in there)


def ended(tx: Tx) -> list[EndedTerm]:
    """What is there although its term is over and nobody asks for longer, as far as a rule in force says anything of that; the
    longest over first. The end of a shape's term is asked about, and never leads to more: the resource itself was granted."""
    return _ended(tx, rulebook.enacted(tx))


def would_ask(tx: Tx, tried: Sequence[rules.Rule]) -> tuple[int, int]:
    """Of how many resources that are there although their term is over departments would be asked at once if rules that are not enacted
    yet were in force today, and of how many of them a case would be opened where nothing is answered. What was asked since the term
    ended is not asked again."""
    on = max(each.effective_from for each in tried)
    today = tx.now.astimezone(ZONE).date()
    found = _ended(tx, [*rulebook.enacted(tx), *tried], max(on, today))
    newest = _asked(tx, found)
    wanted: dict[int, bool] = {}
    for one in found:
        if one.resource.department_id is not None and not _is_asked(one, newest.get(_whose(one))):
            wanted[one.resource.id] = wanted.get(one.resource.id, False) or one.end.then is Then.CASE
    return len(wanted), sum(wanted.values())


def _ended(tx: Tx, enacted: Sequence[rules.Rule], on: date | None = None) -> list[EndedTerm]:
    """What is over today, by what of ``enacted`` is in force on a day, today unless told."""
    today = tx.now.astimezone(ZONE).date()
    on = on or today
    if not any(one.outcome is RuleOutcome.END for one in rules.in_force(enacted, on)):
        return []
    rows: list[tuple[Request, Resource]] = []
    for granted in _granted():
        query = granted.join(Department, Department.id == Resource.department_id).options(joinedload(Resource.pool))
        rows += [(one, there) for one, there in tx.execute(query.where(_over(today), _there(), Department.active))]
    said = {one.id: end_of(one, enacted, on) for one, _resource in rows}
    rows.sort(key=lambda row: (row[0].use_until, row[0].id, row[1].id))
    return [EndedTerm(request, one, end) for request, one in rows if (end := said[request.id]) is not None]


def end_of(request: Request, enacted: Sequence[rules.Rule], on: date) -> TermEnd | None:
    """What the rules in force on ``on`` say of the end of the term of ``request``, by what it is used for now, which may be another
    purpose than when it was handed in."""
    end = rules.end_of_term({**request.facts, PURPOSE: request.fields.get(PURPOSE, "")}, enacted, on)
    return replace(end, then=Then.QUESTION) if end is not None and request.kind in _reshaping() else end


def ask(tx: Tx) -> list[Inquiry]:
    """Ask departments what shall become of what is there although its term is over: once for each end of a term, in one inquiry a
    department and limit. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    found = ended(tx)
    newest = _asked(tx, found)
    calendar = working_days(tx)
    wanted: dict[date, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    asked: set[int] = set()
    for one in found:
        department_id = one.resource.department_id
        if department_id is None or one.resource.id in asked or _is_asked(one, newest.get(_whose(one))):
            continue
        due = calendar.limit(tx.now, one.end.limit, one.end.unit).astimezone(ZONE).date()
        wanted[due][department_id].append(one.resource.id)
        asked.add(one.resource.id)
    today = tx.now.astimezone(ZONE).date()
    return [
        each
        for due, departments in sorted(wanted.items())
        for each in inquiries.ask(tx, TERM, departments, due, key=f"term:{today}:{due}:{_first(departments)}")
    ]


def left_open(tx: Tx) -> list[EndedTerm]:
    """What of ``ended`` its department was asked about, had its time for, and is still there: nothing extends it, whatever was
    answered. An inquiry that was withdrawn leaves nothing open, nor does one that asked whoever had the resource before."""
    found = ended(tx)
    newest = _asked(tx, found)
    over = []
    for one in found:
        inquiry = newest[_whose(one)][1] if _whose(one) in newest else None
        if inquiry is None or inquiry.state == InquiryState.WITHDRAWN or inquiry.asked_at <= one.ended_at:
            continue
        if inquiry.due_at < tx.now:
            over.append(one)
    return over


def inquiry_of(tx: Tx, request: Request, resource: Resource, before: datetime) -> Inquiry | None:
    """The inquiry that was the last to ask about a resource when the term of ``request`` was over, before an instant."""
    if request.use_until is None:
        return None
    query = select(Inquiry).join(InquiryItem, InquiryItem.inquiry_id == Inquiry.id)
    return tx.scalar(
        query.where(
            Inquiry.purpose == TERM.code,
            InquiryItem.resource_id == resource.id,
            Inquiry.asked_at > terms.ends_at(request.use_until),
            Inquiry.asked_at <= before,
        )
        .order_by(Inquiry.id.desc())
        .limit(1)
    )


def must_be_over(tx: Tx, request: Request) -> Refused | None:
    """Why the term of ``request`` is not over, or not yet: it was moved, or an extension is under way."""
    until = request.use_until
    if until is None:
        return Invalid(EXTENDED, N_("使用期限已改为长期"))
    if until >= tx.now.astimezone(ZONE).date():
        return Invalid(EXTENDED, N_("使用期限已延至 %(until)s"), until=str(until))
    asked = terms.extension(tx, request)
    if asked is not None:
        return Invalid("term.extending", N_("延期申请 %(number)s 办结之前维持现状"), number=asked.number)
    return None


# ---------------------------------------------------------------------------------------------------------- mechanism


def _first(departments: dict[int, list[int]]) -> int:
    """What tells apart two inquiries of one day and limit: the same resources are never asked about twice."""
    return min(min(ids) for ids in departments.values())


def _granted() -> Iterator[Select[Request, Resource]]:
    """Requests with what is there by them: by an order that carried them out, as it stood, or in the shape that they gave it."""
    query = select(Request, Resource)
    by_order = query.join(WorkOrder, WorkOrder.request_id == Request.id)
    yield by_order.join(Resource, Resource.basis == literal("order:") + cast(WorkOrder.id, String))
    yield query.join(Resource, Resource.basis == literal("request:") + cast(Request.id, String))
    yield query.join(Resource, Resource.id == Request.resource_id).where(_reshapes())


def _reshaping() -> list[str]:
    """Kinds of request that change the shape of what is there, until a day if they say one."""
    about = [kind for kind in known() if kind.about is About.RESOURCE and not kind.unapproved]
    return [kind.code for kind in about if kind.lasting and not kind.returns and not kind.moves]


def _reshapes() -> ColumnElement[bool]:
    """Requests that changed the shape of a resource: the newest of each, whatever those before it said of a term."""
    later, codes = aliased(Request), _reshaping()
    newer = exists().where(
        later.resource_id == Request.resource_id,
        later.id > Request.id,
        later.kind.in_(codes),
        later.state.in_(terms.GRANTED),
    )
    return and_(Request.kind.in_(codes), Request.state.in_(terms.GRANTED), ~newer)


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


def _whose(one: EndedTerm) -> tuple[int, int | None]:
    return one.resource.id, one.resource.department_id


def _is_asked(one: EndedTerm, newest: tuple[InquiryItem, Inquiry] | None) -> bool:
    """Whether its department was asked since the term ended, or has been since before and has not answered."""
    if newest is None:
        return False
    item, inquiry = newest
    return inquiry.asked_at > one.ended_at or (inquiry.state == InquiryState.OPEN and not item.answer)


def _asked(tx: Tx, found: Sequence[EndedTerm]) -> Mapping[tuple[int, int | None], tuple[InquiryItem, Inquiry]]:
    """What departments were asked about these resources since the first of these terms ended, or have not answered yet: the newest
    by resource and department."""
    if not found:
        return {}
    oldest = min(one.ended_at for one in found)
    query: Select[InquiryItem, Inquiry] = (
        select(InquiryItem, Inquiry)
        .join(Inquiry, Inquiry.id == InquiryItem.inquiry_id)
        .where(Inquiry.purpose == TERM.code, or_(Inquiry.asked_at > oldest, Inquiry.state == InquiryState.OPEN.value))
        .order_by(InquiryItem.id)
    )
    return {(item.resource_id, inquiry.department_id): (item, inquiry) for item, inquiry in tx.execute(query)}


# ------------------------------------------------------------------------------------------------- what can be answered


def _longer(kind: RequestKind) -> InquiryAnswer:
    """To ask for a longer term by ``kind``: of each request that the resource is there for, whose term is over. What another item
    asks for, or got, covers this one as far as it goes."""

    def does(tx: Tx, item: InquiryItem, given: GivenAnswer) -> str:
        found = [one for one in of_resource(tx, item.resource) if terms.running(one)]
        if not found:
            raise Invalid("term.none", N_("资源 %(name)s 没有使用期限"), name=item.resource.called, field="id")
        said = [_extended(tx, item, kind, given, one) for one in found]
        return next((subject for subject in said if subject), "")

    return InquiryAnswer(kind.code, kind.label, does, reasoned=True, until=True)


def _extended(tx: Tx, item: InquiryItem, kind: RequestKind, given: GivenAnswer, request: Request) -> str:
    """The subject of the request by which the term of ``request`` lasts, or may come to last, as long as ``given`` says; empty where
    it does already by none. Raises Invalid without a day, and where one that ends earlier is under way."""
    under_way = terms.extension(tx, request)
    if under_way is not None:
        if given.until is not None and under_way.use_until is not None and under_way.use_until < given.until:
            raise Invalid(
                "term.extending_less",
                N_("申请 %(number)s 的延期申请 %(extension)s 正在办理，只到 %(until)s；请等它办结，或撤回后重新申请"),
                number=request.number, extension=under_way.number, until=str(under_way.use_until), field="until",
            )  # fmt: skip
        return under_way.subject
    if given.until is None:
        raise Invalid("term.until", N_("请写明延期到哪一天"), field="until")
    until = request.use_until
    if until is not None and until >= given.until:
        moved = terms.moved_by(tx, request, given.until)
        return moved.subject if moved is not None else ""
    if until is None or until >= tx.now.astimezone(ZONE).date():
        return ""
    return finds.file(tx, item, kind, given, extends=request)


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
    """The term was moved, an extension of it is under way, or the resource is not the department's any more that was asked."""
    order = literal("order:") + cast(WorkOrder.id, String)
    by_order = exists().where(WorkOrder.request_id == Request.id, order == Resource.basis, _over(today))
    as_it_stood = exists().where(literal("request:") + cast(Request.id, String) == Resource.basis, _over(today))
    reshaped = exists().where(Request.resource_id == Resource.id, _reshapes(), _over(today))
    over = or_(*(each.correlate(Resource) for each in (by_order, as_it_stood, reshaped)))
    return or_(~over, Resource.department_id.is_distinct_from(Inquiry.department_id))


def _grounds(tx: Tx, resource_ids: Collection[int]) -> dict[int, InquiryGround]:
    """The request whose term ended first of those that each resource is there for, and what the rules say of its end."""
    enacted, today = rulebook.enacted(tx), tx.now.astimezone(ZONE).date()
    rows: list[tuple[Request, Resource]] = []
    for granted in _granted():
        of_these = granted.where(among(Resource.id, list(resource_ids)), Request.use_until.is_not(None))
        rows += [(one, there) for one, there in tx.execute(of_these)]
    rows.sort(key=lambda row: (row[0].use_until, row[0].id), reverse=True)
    first = {there.id: one for one, there in rows}
    found = {}
    for resource_id, one in first.items():
        end = end_of(one, enacted, today)
        silence = THEN_LABELS[end.then] if end is not None else ""
        found[resource_id] = InquiryGround(one.subject, one.number, one.use_until, silence)
    return found


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
        grounds=_grounds,
        judged=True,
    )
)
