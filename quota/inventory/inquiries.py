"""Inquiries (征询): what one department is asked about resources, item by item, with the day by which it may answer.

What is asked is a purpose: whose a resource is, what shall become of one that nobody approved, whether one is still needed.
A purpose registers itself with its answers; an answer does what it says at once, and its item keeps what came of it. What
nobody answered in time stays open, told as overdue to who asked: silence decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    insert,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.db import among
from quota.directory import Department, departments, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, reused, stated
from quota.inventory.resources import Resource
from quota.inventory.services import ResourceState

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST_WAIT = timedelta(days=180)
REMINDED_BEFORE = timedelta(days=3)
"""So long before its day an inquiry with something unanswered is reminded of, once."""
LONGEST_REASON = 2000
LONGEST_CODE = 12
MOST_AT_ONCE = 200
"""Items that one answer is given for: each may become a request, all of them in one transaction."""
MOOT, GONE = "moot", "gone"
"""What stands in place of an answer where none is wanted any more: it was settled otherwise, or the resource is gone."""
SETTLED_LABELS = {MOOT: N_("已另行办理"), GONE: N_("资源已不存在")}


class InquiryState(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"  # every item
    WITHDRAWN = "withdrawn"


INQUIRY_LABELS = {
    InquiryState.OPEN: N_("待答复"),
    InquiryState.ANSWERED: N_("已答复"),
    InquiryState.WITHDRAWN: N_("已撤回"),
}


class Inquiry(Base):
    """One letter to one department. ``origin``: what it belongs to (campaign:3), or nothing; ``due_at``: the end of the last
    day for an answer; ``resources`` and ``answered`` count its items and those that need no answer any more."""

    __tablename__ = "inquiries"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("(closed_at IS NULL) = (state = 'open')", name="closed"),
        CheckConstraint("answered BETWEEN 0 AND resources", name="counts"),
        Index("ix_inquiries_state_due_at", "state", "due_at"),
        Index("ix_inquiries_due_at_id", "due_at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    purpose: Mapped[str] = mapped_column(String(16))  # InquiryPurpose.code
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    origin: Mapped[str] = mapped_column(String(32), default="", index=True)
    text: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(12))
    asked_by: Mapped[str] = mapped_column(String(64))
    asked_at: Mapped[datetime]
    due_at: Mapped[datetime]
    resources: Mapped[int]
    answered: Mapped[int] = mapped_column(default=0)
    reminded_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    closed_by: Mapped[str] = mapped_column(String(64), default="")
    closed_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")  # of a withdrawal
    generation: Mapped[int] = mapped_column(default=1)

    department: Mapped[Department] = relationship()

    @property
    def subject(self) -> str:
        return f"inquiry:{self.id}"

    @property
    def number(self) -> str:
        """ZX2026-00012: what people call it."""
        return f"ZX{self.asked_at.astimezone(ZONE).year}-{self.id:05d}"

    @property
    def due_on(self) -> date:
        """The last day for an answer."""
        return (self.due_at.astimezone(ZONE) - timedelta(seconds=1)).date()


class InquiryItem(Base):
    """One resource of an inquiry. ``takes``: its amounts when it was asked about (JSON, base units); ``answer``: a code of the
    purpose's answers, MOOT, GONE, or nothing yet; ``outcome``: what came of it (request:12), by its subject."""

    __tablename__ = "inquiry_items"
    __table_args__ = (
        UniqueConstraint("inquiry_id", "resource_id"),
        Index("ix_inquiry_items_inquiry_id_id", "inquiry_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    inquiry_id: Mapped[int] = mapped_column(ForeignKey("inquiries.id"))
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"), index=True)
    takes: Mapped[dict[str, int]] = mapped_column(default=dict)
    answer: Mapped[str] = mapped_column(String(LONGEST_CODE), default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    category: Mapped[str] = mapped_column(String(24), default="")
    until: Mapped[date | None]
    by: Mapped[str] = mapped_column(String(64), default="")
    at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(String(32), default="")

    inquiry: Mapped[Inquiry] = relationship()
    resource: Mapped[Resource] = relationship()


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a department says of some items: the code of an answer, why, and, where the answer asks for it, until when and of
    which category."""

    answer: str
    reason: str = ""
    until: date | None = None
    category: str = ""


@dataclass(frozen=True, slots=True)
class InquiryAnswer:
    """One answer of a purpose. ``does`` carries it out for an item, by the person who gives it, and returns the subject of
    what came of it; it raises Refused where that can't be."""

    code: str
    label: str
    does: Callable[[Tx, InquiryItem, GivenAnswer], str] = lambda _tx, _item, _said: ""
    reasoned: bool = False  # it wants a reason
    until: bool = False  # it may say until when
    categories: Mapping[str, str] = field(default_factory=dict)  # code → label: what it may be filed under


@dataclass(frozen=True, slots=True)
class InquiryGround:
    """Why a resource is asked about: what it rests on by its subject (request:12) and as people call that, the day that is over, and what
    follows where nothing is answered, in words."""

    subject: str
    number: str
    until: date | None
    silence: str


@dataclass(frozen=True, slots=True)
class InquiryPurpose:
    """What departments are asked. ``check`` refuses a resource that a department can't be asked about; ``says``: the sentence
    that a letter begins with."""

    code: str
    label: str
    says: str
    answers: Sequence[InquiryAnswer]
    check: Callable[[Tx, Resource, int], None]
    over: Callable[[date], ColumnElement[bool]] = lambda _today: false()
    """Of which resources it need not be asked any more today, as a condition on Resource."""
    grounds: Callable[[Tx, Collection[int]], Mapping[int, InquiryGround]] | None = None
    """Resource (id) → why it is asked about, as the book has it now, of those that there is a reason to tell of."""
    judged: bool = False  # whether a letter tells how each was used, as it was judged last

    def __post_init__(self) -> None:
        if any(len(one.code) > LONGEST_CODE for one in self.answers):
            raise ValueError(f"inquiry purpose {self.code!r}: an answer's code has at most {LONGEST_CODE} characters")

    def answer(self, code: str) -> InquiryAnswer:
        """The answer of a code, or Invalid."""
        for one in self.answers:
            if one.code == code:
                return one
        raise Invalid("inquiry.answer", N_("请选择答复"), field="answer")

    def labels(self) -> dict[str, str]:
        """Code → label of whatever may stand as the answer of an item."""
        return {**{one.code: one.label for one in self.answers}, **SETTLED_LABELS}


_PURPOSES: dict[str, InquiryPurpose] = {}


def register(purpose: InquiryPurpose) -> InquiryPurpose:
    """Make a purpose known. ValueError where its code is another's."""
    if _PURPOSES.get(purpose.code, purpose) is not purpose:
        raise ValueError(f"inquiry purpose {purpose.code!r}: the code is taken")
    _PURPOSES[purpose.code] = purpose
    return purpose


def purposes() -> list[InquiryPurpose]:
    """Every purpose that is known."""
    return list(_PURPOSES.values())


def purpose(code: str) -> InquiryPurpose:
    """The purpose of a code, or NotFound."""
    if code not in _PURPOSES:
        raise NotFound("inquiry.purpose", N_("没有这种征询"))
    return _PURPOSES[code]


# ------------------------------------------------------------------------------------------------------------ reading


def inquiry(tx: Tx, inquiry_id: int) -> Inquiry:
    """The inquiry, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(Inquiry).where(Inquiry.id == inquiry_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("inquiry.none", N_("没有编号为 %(id)s 的征询"), id=inquiry_id)
    return found


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """What ``actor`` may see: a department what it and those below it were asked, who sees the whole city everything."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return cast("ColumnElement[bool]", Inquiry.department_id.in_(subtree(tx, actor.department_id)))
    if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    return false()


def late(now: datetime) -> ColumnElement[bool]:
    """Which inquiries are overdue at ``now``: something of them is unanswered, and their day is over."""
    return (Inquiry.state == InquiryState.OPEN.value) & (Inquiry.due_at < now)


def gone() -> ColumnElement[bool]:
    """What is not there any more."""
    return or_(Resource.gone_at.is_not(None), Resource.state == ResourceState.DELETED.value)


def asked_about(tx: Tx, resource_ids: Collection[int], purpose: str) -> list[InquiryItem]:
    """The items about these resources in inquiries of a purpose that were not withdrawn, in the order in which they were asked."""
    query = (
        select(InquiryItem)
        .join(Inquiry)
        .where(
            Inquiry.purpose == purpose,
            Inquiry.state != InquiryState.WITHDRAWN.value,
            among(InquiryItem.resource_id, list(resource_ids)),
        )
        .order_by(InquiryItem.id)
    )
    return list(tx.scalars(query))


# ------------------------------------------------------------------------------------------------------------ writing


def ask(
    tx: Tx,
    purpose: InquiryPurpose,
    wanted: Mapping[int, Iterable[int]],
    due_on: date,
    text: str = "",
    *,
    key: str,
    origin: str = "",
) -> list[Inquiry]:
    """Ask each department (id) about its resources (ids), one inquiry a department; the same ``key`` again returns the first.

    Raises Invalid for a day that is over or too far, for nothing to ask, for a resource that can't be asked about or that the
    same department was asked about already and has not answered; WrongState for a department that has ended.
    """
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY, Role.SYSTEM)
    asked = {department_id: sorted(set(ids)) for department_id, ids in sorted(wanted.items())}
    if not asked or not all(asked.values()):
        raise Invalid("inquiry.empty", N_("请选择资源和单位"), field="id")
    tx.alone(key)
    earlier = [tx.scalar(select(Inquiry).where(Inquiry.key == f"{key}:{one}")) for one in asked]
    if any(earlier):
        made = [one for one in earlier if one is not None]
        if len(made) != len(asked) or any(_asked(tx, one) != asked[one.department_id] for one in made):
            raise reused(key)
        return made
    due_at = _due(tx, due_on)
    return [
        _write(tx, purpose, department_id, ids, due_at, text, key=f"{key}:{department_id}", origin=origin)
        for department_id, ids in asked.items()
    ]


def answer(tx: Tx, inquiry_id: int, item_ids: Iterable[int] | None, said: GivenAnswer) -> Inquiry:
    """The department's word on some items, or (None) on all that are unanswered, all or none of it: each is carried out as the
    answer says. After its day an open inquiry is still answered. Raises NotAllowed for another department, WrongState where the
    inquiry is closed, Invalid for what lacks a reason, is no answer, names what is answered or settled already or can't be asked
    about any more, or is too much at once; whatever the answer's deed is refused with."""
    tx.actor.must_be(Role.TENANT)
    found = _open(tx, inquiry_id)
    if tx.actor.department_id is None or found.department_id not in subtree(tx, tx.actor.department_id):
        raise NotAllowed("inquiry.other_department", N_("征询 %(number)s 不是问贵单位的"), number=found.number)
    asks = purpose(found.purpose)
    given = asks.answer(said.answer)
    said = _checked(tx, given, said)
    _sweep(tx, asks, found.id)
    items = _unanswered(tx, found, None if item_ids is None else sorted(set(item_ids)))
    for item in items:
        asks.check(tx, item.resource, found.department_id)
        item.answer, item.reason, item.until, item.category = said.answer, said.reason, said.until, said.category
        item.by, item.at = tx.actor.login, tx.now
        item.outcome = given.does(tx, item, said)
    tx.flush()
    tx.audit(
        "inquiry.answer",
        found.subject,
        after={"answer": said.answer, "resources": [item.resource_id for item in items][:1000], "until": said.until},
        reason=said.reason,
    )
    _recount(tx, found)
    return found


def withdraw(tx: Tx, inquiry_id: int, generation: int, reason: str) -> Inquiry:
    """No answer is wanted any more; what was answered stands. Raises WrongState where it is closed, Invalid without a reason."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    reason = stated(reason)
    found = _open(tx, inquiry_id, generation)
    found.reason = reason
    _close(tx, found, InquiryState.WITHDRAWN)
    tx.audit("inquiry.withdraw", found.subject, reason=reason)
    return found


def sweep(tx: Tx) -> int:
    """Note which items need no answer any more: the resource is gone, or what was asked is settled otherwise. Returns how many.
    A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    swept = [item for one in _PURPOSES.values() for item in _sweep(tx, one)]
    for found in sorted({item.inquiry for item in swept}, key=lambda each: each.id):
        tx.lock(found)
        _recount(tx, found)
    return len(swept)


def remind(tx: Tx) -> tuple[list[Inquiry], list[Inquiry]]:
    """Note which inquiries are to be reminded of and which have become overdue, once each. Returns both. A job's
    work."""
    tx.actor.must_be(Role.SYSTEM)
    opened = select(Inquiry).where(Inquiry.state == InquiryState.OPEN.value).order_by(Inquiry.id)
    near = list(
        tx.scalars(
            opened.where(
                Inquiry.reminded_at.is_(None), Inquiry.due_at > tx.now, Inquiry.due_at <= tx.now + REMINDED_BEFORE
            ).with_for_update()
        )
    )
    over = list(tx.scalars(opened.where(Inquiry.escalated_at.is_(None), Inquiry.due_at <= tx.now).with_for_update()))
    for one in near:
        one.reminded_at = tx.now
        tx.audit("inquiry.remind", one.subject, after={"unanswered": one.resources - one.answered})
    for one in over:
        one.escalated_at = tx.now
        tx.audit("inquiry.overdue", one.subject, after={"unanswered": one.resources - one.answered})
    return near, over


# ---------------------------------------------------------------------------------------------------------- mechanism


def _sweep(tx: Tx, purpose: InquiryPurpose, inquiry_id: int | None = None) -> list[InquiryItem]:
    """The items of a purpose, in one inquiry or in all, that need no answer any more, noted as such; whoever calls counts anew."""
    over = purpose.over(tx.now.astimezone(ZONE).date())
    query = _unanswered_of(purpose.code).add_columns(gone()).where(or_(gone(), over))
    found = []
    for item, away in tx.execute(query if inquiry_id is None else query.where(Inquiry.id == inquiry_id)).all():
        item.answer, item.at = GONE if away else MOOT, tx.now
        found.append(item)
    tx.flush()
    return found


def _due(tx: Tx, due_on: date) -> datetime:
    today = tx.now.astimezone(ZONE).date()
    if due_on <= today:
        raise Invalid("inquiry.due", N_("答复期限须晚于今天"), field="due_on")
    if due_on > today + LONGEST_WAIT:
        raise Invalid("inquiry.due_far", N_("答复期限最长%(days)s天"), days=LONGEST_WAIT.days, field="due_on")
    return datetime.combine(due_on + timedelta(days=1), time.min, ZONE)


def open_items() -> ColumnElement[bool]:
    """Items of inquiries that wait for their answer."""
    return (Inquiry.state == InquiryState.OPEN.value) & (InquiryItem.answer == "")


def _unanswered_of(purpose: str) -> Select[InquiryItem]:
    return (
        select(InquiryItem)
        .join(Inquiry)
        .join(Resource, Resource.id == InquiryItem.resource_id)
        .where(Inquiry.purpose == purpose, open_items())
        .order_by(InquiryItem.id)
    )


def _asked(tx: Tx, inquiry: Inquiry) -> list[int]:
    return sorted(tx.scalars(select(InquiryItem.resource_id).where(InquiryItem.inquiry_id == inquiry.id)))


def _write(
    tx: Tx,
    purpose: InquiryPurpose,
    department_id: int,
    resource_ids: Sequence[int],
    due_at: datetime,
    text: str,
    *,
    key: str,
    origin: str,
) -> Inquiry:
    departments.must_be_open(departments.department(tx, department_id), "department")
    known = {one.id: one for one in tx.scalars(select(Resource).where(among(Resource.id, list(resource_ids))))}
    mine = _unanswered_of(purpose.code).where(Inquiry.department_id == department_id)
    waiting = set(tx.scalars(mine.with_only_columns(InquiryItem.resource_id)))
    for resource_id in resource_ids:
        if resource_id not in known:
            raise NotFound("resource.none", N_("没有编号为 %(id)s 的资源"), id=resource_id)
        one = known[resource_id]
        purpose.check(tx, one, department_id)
        if resource_id in waiting:
            raise Invalid(
                "inquiry.asked", N_("资源 %(name)s 已问过该单位,尚未答复"), name=one.called, field="id"
            )  # fmt: skip
    row = Inquiry(
        key=key,
        purpose=purpose.code,
        department_id=department_id,
        origin=origin,
        text=text.strip(),
        state=InquiryState.OPEN.value,
        asked_by=tx.actor.login,
        asked_at=tx.now,
        due_at=due_at,
        resources=len(resource_ids),
        answered=0,
        closed_by="",
        reason="",
        generation=1,
    )
    tx.add(row)
    tx.flush()
    rows = [{"inquiry_id": row.id, "resource_id": one, "takes": dict(known[one].amounts)} for one in resource_ids]
    tx.execute(insert(InquiryItem), rows)
    tx.audit(
        "inquiry.ask",
        row.subject,
        after={
            "purpose": purpose.code,
            "department": department_id,
            "resources": len(resource_ids),
            "due_at": due_at,
            "origin": origin,
        },
    )
    return row


def _open(tx: Tx, inquiry_id: int, generation: int | None = None) -> Inquiry:
    found = inquiry(tx, inquiry_id)
    if generation is None:
        tx.lock(found)
    else:
        found = tx.lock_as_shown(found, generation, Conflict("inquiry.stale", N_("征询已有变化,请刷新后再操作")))
    if found.state != InquiryState.OPEN:
        raise WrongState(
            "inquiry.closed",
            N_("征询 %(number)s 现为“%(state)s”"),
            number=found.number,
            state=INQUIRY_LABELS[InquiryState(found.state)],
        )
    return found


def _checked(tx: Tx, given: InquiryAnswer, said: GivenAnswer) -> GivenAnswer:
    reason = stated(said.reason) if given.reasoned else said.reason.strip()
    if len(reason) > LONGEST_REASON:
        raise Invalid("inquiry.reason", N_("理由不超过%(most)s字"), most=LONGEST_REASON, field="reason")
    if said.until is not None and (not given.until or said.until < tx.now.astimezone(ZONE).date()):
        wrong = N_("日期不能早于今天") if given.until else N_("“%(answer)s”不写日期")
        raise Invalid("inquiry.until", wrong, answer=given.label, field="until")
    if said.category and said.category not in given.categories:
        raise Invalid("inquiry.category", N_("“%(answer)s”没有这个类别"), answer=given.label, field="category")
    return GivenAnswer(given.code, reason, said.until, said.category)


def _unanswered(tx: Tx, found: Inquiry, item_ids: Sequence[int] | None) -> list[InquiryItem]:
    query = (
        select(InquiryItem)
        .where(InquiryItem.inquiry_id == found.id)
        .options(joinedload(InquiryItem.resource).joinedload(Resource.pool))
        .order_by(InquiryItem.id)
    )
    if item_ids is None:
        wanted = list(tx.scalars(query.where(InquiryItem.answer == "").limit(MOST_AT_ONCE + 1)))
    else:
        items = {item.id: item for item in tx.scalars(query.where(among(InquiryItem.id, item_ids)))}
        if len(items) != len(item_ids):
            raise Invalid("inquiry.item", N_("征询 %(number)s 没有这一项"), number=found.number, field="id")
        wanted = [items[item_id] for item_id in item_ids]
    if not wanted:
        raise Invalid("inquiry.nothing", N_("请选择要答复的资源"), field="id")
    if len(wanted) > MOST_AT_ONCE:
        raise Invalid("inquiry.many", N_("一次最多答复 %(most)s 项，请分批办理"), most=MOST_AT_ONCE, field="every")
    for item in wanted:
        if item.answer:
            told = (
                N_("资源 %(name)s 已另行办理或已不存在")
                if item.answer in SETTLED_LABELS
                else N_("资源 %(name)s 已答复")
            )
            raise Invalid("inquiry.answered", told, name=item.resource.called, field="id")
    return wanted


def _recount(tx: Tx, found: Inquiry) -> None:
    found.answered = tx.scalar(
        select(func.count(InquiryItem.id)).where(InquiryItem.inquiry_id == found.id, InquiryItem.answer != "")
    ) or 0  # fmt: skip
    found.generation += 1
    if found.answered == found.resources and found.state == InquiryState.OPEN:
        _close(tx, found, InquiryState.ANSWERED)
    tx.flush()


def _close(tx: Tx, found: Inquiry, state: InquiryState) -> None:
    found.state, found.closed_by, found.closed_at = state.value, tx.actor.login, tx.now
    found.generation += 1
    tx.flush()
