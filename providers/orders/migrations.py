"""Migrations (迁移) after their delivery: what is moved and what was made for it are both there until the department gives its word.

    accepted ─▶ side by side ─(the department: the service runs on the new one)▶ an order that deletes the old one ─▶ moved
                    │  └─(the department: it is abandoned)▶ an order that deletes the new one ─▶ abandoned
                    └─(its days are over)▶ the department is asked: switched, abandoned, or both for longer

Nothing is retired by a clock, nor by acceptance: that says that the new one is as approved, not that the service runs there. While both
are there nothing else may be asked of either. An order that is cancelled leaves both there again. Nor is a side gone that a listing does
not show: the other one stays held until it is back, or written off.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Integer, Select, String, bindparam, cast, exists, literal, or_, select
from sqlalchemy.orm import aliased

from providers.base import Verb
from providers.orders import ended_terms, returns
from providers.orders.placing import place
from providers.orders.tables import RETIRE, RETURN, OrderState, WorkOrder, must_not_be_ordered
from quota.actors import Role
from quota.calendar import ZONE, working_days
from quota.db import among
from quota.directory import subtree
from quota.errors import N_, Invalid, NotAllowed, NotFound, WrongState, stated
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
    engagements,
    inquiries,
)
from quota.requests import Request, RequestState, Unit, changed, kind_of, known, lock, must_be, terms

if TYPE_CHECKING:
    from quota.db import Tx

ANSWER_DAYS = 5
"""Our own default: working days that a department has to say what shall become of a migration whose days are over."""
LONGEST = timedelta(days=90)
"""For so much longer both may be there each time that a department says so. Our own default."""
BOTH = (RequestState.DELIVERING.value, RequestState.ACCEPTING.value, RequestState.DONE.value)


class MigrationState(StrEnum):
    SIDE_BY_SIDE = "side_by_side"  # both are there, the department's word is awaited
    RETIRING = "retiring"  # the old one is ordered away
    MOVED = "moved"
    GIVING_BACK = "giving_back"  # the new one is ordered away
    ABANDONED = "abandoned"  # what was made went back
    OLD_MISSING = "old_missing"  # a side is not there although the department gave no word
    NEW_MISSING = "new_missing"


MIGRATION_LABELS = {
    MigrationState.SIDE_BY_SIDE: N_("新旧并行，待确认切换"),
    MigrationState.RETIRING: N_("旧资源下线中"),
    MigrationState.MOVED: N_("已迁移"),
    MigrationState.GIVING_BACK: N_("新资源退回中"),
    MigrationState.ABANDONED: N_("已放弃迁移"),
    MigrationState.OLD_MISSING: N_("旧资源已不在云上，单位未确认切换"),
    MigrationState.NEW_MISSING: N_("新资源已不在云上，单位未放弃迁移"),
}


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration that was delivered: what is moved, what was made for it, the order that ends it if there is one, and the last day on
    which both may be there without anybody being asked (None before acceptance)."""

    request: Request
    old: Resource
    new: Resource
    state: MigrationState
    order: WorkOrder | None
    until: date | None

    def mine(self, tx: Tx) -> bool:
        """Whether the word is this actor's: his department, or one below it, has what is moved."""
        below = subtree(tx, tx.actor.department_id) if tx.actor.department_id is not None else set()
        return tx.actor.role is Role.TENANT and self.old.department_id in below


# ------------------------------------------------------------------------------------------------------------ reading


def of_request(tx: Tx, request: Request) -> Migration | None:
    """How far the migration that ``request`` asked for is; None for other requests, and before anything was made."""
    if not kind_of(request).moves or request.resource is None:
        return None
    made = select(Resource).join(WorkOrder, WorkOrder.resource_id == Resource.id)
    new = tx.scalar(made.where(WorkOrder.request_id == request.id).order_by(WorkOrder.id.desc()).limit(1))
    if new is None:
        return None
    order = _word(tx, request)
    return Migration(request, request.resource, new, _state(request.resource, new, order), order, _until(tx, request))


def of_resource(tx: Tx, resource: Resource) -> list[Migration]:
    """The migrations that a resource was moved by, or made for, oldest first."""
    made = select(WorkOrder.request_id).where(WorkOrder.resource_id == resource.id)
    query = select(Request).where(
        Request.kind.in_(_codes()), or_(Request.resource_id == resource.id, Request.id.in_(made))
    )
    found = (of_request(tx, one) for one in tx.scalars(query.order_by(Request.id)))
    return [one for one in found if one is not None and one.new.id != one.old.id]


def sides(tx: Tx, only: int | None = None) -> dict[int, str]:
    """Id → number of the request, of every resource that is a side of a migration that is not ended; of ``only`` one."""
    wanted = _sides(only is not None, tuple(_codes()))
    rows = [row for each in wanted for row in tx.execute(each, {} if only is None else {"only": only})]
    return {side: number for number, *both in rows for side in both if side is not None}


@cache
def _sides(single: bool, codes: tuple[str, ...]) -> list[Select[str, int | None, int | None]]:
    """What ``sides`` asks: statements that are made once, since each order is looked at by them before it is sent. Of one resource
    (``only``): a look by each of two indexes."""
    query = _both_there(missing=True, codes=codes).with_only_columns(
        Request.number, Request.resource_id, WorkOrder.resource_id
    )
    only = bindparam("only", type_=Integer)
    return [query.where(one == only) for one in (Request.resource_id, WorkOrder.resource_id)] if single else [query]


@terms.granting
def granted(tx: Tx, resource: Resource) -> list[Request]:
    """The requests that a resource is there for as it is, and those that lend it something."""
    return [*ended_terms.of_resource(tx, resource), *returns.lent(tx, resource)]


@engagements.ask
def must_not_be_moved(tx: Tx, resource: Resource) -> None:
    """Raise Invalid where the resource is a side of a migration that is not ended. What its cloud does not show may be written off."""
    number = sides(tx, resource.id).get(resource.id) if resource.gone_at is None else None
    if number is not None:
        raise Invalid(
            "migrate.under_way", N_("资源 %(name)s 正在迁移（申请 %(number)s），请先确认切换或放弃迁移"), name=resource.called,
            number=number, field="resource_id",
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ writing


def switch(tx: Tx, request_id: int, *, generation: int) -> WorkOrder:
    """The department: the service runs on the new one. The old one is ordered away; what is counted for it is the department's quota
    again once its cloud says that it is gone. Raises Conflict for a page that is stale, NotAllowed for another department, WrongState
    before acceptance and where the word was given, Invalid where an order is at the old one."""
    found = _own(tx, request_id, generation)
    return _order(tx, found, found.old, RETIRE, "request.switch", "")


def abandon(tx: Tx, request_id: int, *, generation: int, reason: str) -> WorkOrder:
    """The department: the service stays where it is. The new one is ordered away: what came out of the pool for it goes back there, the
    rest to the department's quota. Raises as ``switch`` does, and Invalid without a reason."""
    reason = stated(reason)
    found = _own(tx, request_id, generation)
    return _order(tx, found, found.new, RETURN, "request.move_back", reason)


def ask(tx: Tx) -> list[Inquiry]:
    """Ask departments about migrations whose days are over, each in an inquiry of its own; not again while that is open. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    today = tx.now.astimezone(ZONE).date()
    due_on = working_days(tx).limit(tx.now, ANSWER_DAYS, Unit.WORKING_DAYS).astimezone(ZONE).date()
    asked = []
    query = _both_there().with_only_columns(Request).where(Request.state == RequestState.DONE.value, _unsaid())
    for request in tx.scalars(query.order_by(Request.id)).all():
        old, until = tx.get_one(Resource, request.resource_id), _until(tx, request)
        if until is None or until >= today or old.department is None or not old.department.active:
            continue
        last = _last_asked(tx, old, old.department.id)
        if last is not None and _holds_good(*last, until):
            continue
        key = f"migration:{request.id}:{last[1].id if last is not None else 0}"
        asked += inquiries.ask(tx, MIGRATION, {old.department.id: [old.id]}, due_on, key=key)
    return asked


# ---------------------------------------------------------------------------------------------------------- mechanism


def _codes() -> list[str]:
    return [kind.code for kind in known() if kind.moves]


def _both_there(*, missing: bool = False, codes: Sequence[str] | None = None) -> Select[Request]:
    """Migrations of which both sides are there, or (``missing``) not shown by their cloud and not written off: Request, and the WorkOrder
    that made the new one."""
    old, new = aliased(Resource), aliased(Resource)

    def there(side: type[Resource]) -> ColumnElement[bool]:
        here = side.gone_at.is_(None)
        return (or_(here, side.basis != "") if missing else here) & (side.state != ResourceState.DELETED.value)

    return (
        select(Request)
        .join(WorkOrder, WorkOrder.request_id == Request.id)
        .join(old, old.id == Request.resource_id)
        .join(new, new.id == WorkOrder.resource_id)
        .where(Request.kind.in_(_codes() if codes is None else codes), Request.state.in_(BOTH), there(old), there(new))
    )


def _unsaid() -> ColumnElement[bool]:
    """No order of the department's word goes, or went."""
    word = aliased(WorkOrder)
    keys = [word.key.startswith(literal(each) + cast(Request.id, String) + literal(":")) for each in (RETIRE, RETURN)]
    return ~exists().where(or_(*keys), word.state != OrderState.CANCELLED.value)


def _word(tx: Tx, request: Request) -> WorkOrder | None:
    """The order that carries out what the department said; None where there is none that goes, or went."""
    keys = [WorkOrder.key.startswith(f"{each}{request.id}:") for each in (RETIRE, RETURN)]
    query = select(WorkOrder).where(or_(*keys), WorkOrder.state != OrderState.CANCELLED.value)
    return tx.scalar(query.order_by(WorkOrder.id.desc()).limit(1))


def _state(old: Resource, new: Resource, order: WorkOrder | None) -> MigrationState:
    """By the department's word as far as it was carried out: what is given up later, or missing for a while, says nothing of it."""
    if order is not None:
        done = order.state in (OrderState.DELIVERED, OrderState.ACCEPTED)
        if order.resource_id == old.id:
            return MigrationState.MOVED if done or _gone(old) else MigrationState.RETIRING
        return MigrationState.ABANDONED if done or _gone(new) else MigrationState.GIVING_BACK
    if _gone(new):
        return MigrationState.NEW_MISSING
    return MigrationState.OLD_MISSING if _gone(old) else MigrationState.SIDE_BY_SIDE


def _gone(side: Resource) -> bool:
    return side.gone_at is not None or side.state == ResourceState.DELETED


def _until(tx: Tx, request: Request) -> date | None:
    """The last day on which both may be there: by the plan, or as the department put it off since."""
    moves = kind_of(request).moves
    if moves is None or request.closed_at is None or request.state != RequestState.DONE:
        return None
    planned = (request.closed_at + moves(request)).astimezone(ZONE).date()
    later = (
        select(InquiryItem.until)
        .join(Inquiry)
        .where(
            Inquiry.purpose == MIGRATION.code,
            Inquiry.asked_at >= request.closed_at,
            InquiryItem.resource_id == request.resource_id,
            InquiryItem.until.is_not(None),
        )
        .order_by(InquiryItem.id.desc())
        .limit(1)
    )
    return tx.scalar(later) or planned


def _holds_good(item: InquiryItem, inquiry: Inquiry, until: date) -> bool:
    """Whether the last question about a migration is not to be asked again: it waits for its answer, or was withdrawn since the days were
    over."""
    if inquiry.state == InquiryState.WITHDRAWN:
        return inquiry.asked_at.astimezone(ZONE).date() > until
    return inquiry.state == InquiryState.OPEN and not item.answer


def _last_asked(tx: Tx, old: Resource, department_id: int) -> tuple[InquiryItem, Inquiry] | None:
    query = (
        select(InquiryItem, Inquiry)
        .join(Inquiry, Inquiry.id == InquiryItem.inquiry_id)
        .where(
            Inquiry.purpose == MIGRATION.code,
            Inquiry.department_id == department_id,
            InquiryItem.resource_id == old.id,
        )
        .order_by(InquiryItem.id.desc())
        .limit(1)
    )
    row = tx.execute(query).first()
    return (row[0], row[1]) if row is not None else None


def _own(tx: Tx, request_id: int, generation: int | None = None) -> Migration:
    """A migration that waits for the word of the actor's department, its request locked."""
    request = lock(tx, request_id)
    found = of_request(tx, request)
    if found is None:
        raise NotFound("migrate.none", N_("申请 %(number)s 没有可以切换的迁移"), number=request.number)
    tx.actor.must_be(Role.TENANT)
    if not found.mine(tx):
        raise NotAllowed("request.not_yours", N_("只能办理本单位及下属单位的申请"))
    if generation is not None:
        lock(tx, request, generation)
    must_be(request, RequestState.DONE)
    if found.state is not MigrationState.SIDE_BY_SIDE:
        raise WrongState("migrate.state", N_("迁移现为“%(state)s”，不能这样操作"), state=MIGRATION_LABELS[found.state])
    return found


def _order(tx: Tx, found: Migration, goes: Resource, prefix: str, action: str, reason: str) -> WorkOrder:
    request = found.request
    must_not_be_ordered(tx, goes)
    placed = place(tx, goes.pool, Verb.DELETE, key=f"{prefix}{request.id}:{request.generation}", resource=goes)
    after = {"order": placed.number, "goes": goes.id, "stays": (found.old if goes is found.new else found.new).id}
    changed(tx, request, action, after=after, reason=reason)
    return placed


# ------------------------------------------------------------------------------------------------- what can be answered


def _moved(tx: Tx, resource: Resource) -> Request:
    """The migration that waits for a word about a resource that is moved. Invalid where none does."""
    query = (
        _both_there()
        .with_only_columns(Request)
        .where(Request.resource_id == resource.id, Request.state == RequestState.DONE.value, _unsaid())
    )
    found = tx.scalar(query.order_by(Request.id.desc()).limit(1))
    if found is None:
        raise Invalid("migrate.settled", N_("资源 %(name)s 没有待切换的迁移"), name=resource.called, field="id")
    return found


def _switched(tx: Tx, item: InquiryItem, _given: GivenAnswer) -> str:
    request = _moved(tx, item.resource)
    switch(tx, request.id, generation=request.generation)
    return request.subject


def _abandoned(tx: Tx, item: InquiryItem, given: GivenAnswer) -> str:
    request = _moved(tx, item.resource)
    abandon(tx, request.id, generation=request.generation, reason=given.reason)
    return request.subject


def _longer(tx: Tx, item: InquiryItem, given: GivenAnswer) -> str:
    today = tx.now.astimezone(ZONE).date()
    if given.until is None or not today < given.until <= today + LONGEST:
        raise Invalid("migrate.until", N_("请写明并行到哪一天，最长 %(days)s 天"), days=LONGEST.days, field="until")
    return _moved(tx, item.resource).subject


def _may_be_asked(tx: Tx, resource: Resource, department_id: int) -> None:
    if resource.department_id != department_id:
        raise Invalid("find.elsewhere", N_("资源 %(name)s 不属于所问的单位"), name=resource.called, field="id")
    _moved(tx, resource)


def _settled(_today: date) -> ColumnElement[bool]:
    """The word was given elsewhere, one of both is gone, or the resource is not the department's any more that was asked."""
    waits = _both_there().where(Request.resource_id == Resource.id, _unsaid()).correlate(Resource).exists()
    return or_(~waits, Resource.department_id.is_distinct_from(Inquiry.department_id))


def _grounds(tx: Tx, resource_ids: Collection[int]) -> dict[int, InquiryGround]:
    """The newest migration that moves each resource, and until when both may be there."""
    query = select(Request).where(Request.kind.in_(_codes()), among(Request.resource_id, list(resource_ids)))
    silence = N_("一切不变，由运营监督方跟进")
    return {
        one.resource_id: InquiryGround(one.subject, one.number, _until(tx, one), silence)
        for one in tx.scalars(query.order_by(Request.id))
        if one.resource_id is not None
    }


MIGRATION = inquiries.register(
    InquiryPurpose(
        code="migration",
        label=N_("迁移切换"),
        says=N_(
            "下列资源的迁移已过约定的并行期限，新旧资源都在运行、都计入占用，请答复：服务已在新资源上运行的，旧资源下线；不迁了的，退回新资源；还须并行的，写明理由和到哪一天。答复之前一切不变。"
        ),
        answers=(
            InquiryAnswer("switched", N_("已切换，旧资源下线"), _switched),
            InquiryAnswer("abandoned", N_("放弃迁移，退回新资源"), _abandoned, reasoned=True),
            InquiryAnswer("longer", N_("继续并行"), _longer, reasoned=True, until=True),
        ),
        check=_may_be_asked,
        over=_settled,
        grounds=_grounds,
    )
)
