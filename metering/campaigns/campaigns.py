"""Campaigns: begun for departments and pools with a day for answers, answered item by item through inquiries, summed up.

``start`` writes one inquiry to each owner; keep is a statement with a reason, which may become an exemption; give back files
the department's own request to return the resource, with whatever guards that. Silence takes nothing away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, String, Text, UniqueConstraint, cast, func, literal, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.cases import CATEGORY_LABELS, Category, Exemption, exemptions
from metering.judging import policies
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.db import among
from quota.directory import Department, departments, pools
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, reused, stated
from quota.inventory import (
    GivenAnswer,
    Inquiry,
    InquiryAnswer,
    InquiryItem,
    InquiryPurpose,
    InquiryState,
    Resource,
    ResourceState,
    ServiceKind,
    inquiries,
)
from quota.requests import Line, Request, RequestState, finds, kinds
from quota.units import NOTHING, Amount

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST_NAME = 100
MACHINES = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)
"""What a campaign asks about where it does not say it."""
RETURNED = (RequestState.ACCEPTING.value, RequestState.DONE.value)
"""States of a request to return something in which its cloud has said that it is gone."""
FELL_THROUGH = (RequestState.REJECTED.value, RequestState.WITHDRAWN.value)


class CampaignState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class CampaignScope:
    """Which resources a campaign asks about: of these departments and in these pools (ids), all where none are named, and of
    these kinds of service."""

    departments: Sequence[int] = ()
    pools: Sequence[int] = ()
    services: Sequence[str] = MACHINES


class Campaign(Base):
    """One campaign. ``scope``: {"departments", "pools", "services"} as Scope; ``letters`` and ``resources``: how many owners were
    asked about how many resources."""

    __tablename__ = "campaigns"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("(closed_at IS NULL) = (state = 'open')", name="closed"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    text: Mapped[str] = mapped_column(Text, default="")
    scope: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(8))
    due_on: Mapped[date]
    letters: Mapped[int]
    resources: Mapped[int]
    started_by: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    closed_by: Mapped[str] = mapped_column(String(64), default="")
    closed_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=1)

    @property
    def subject(self) -> str:
        return f"campaign:{self.id}"


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of a campaign, or of one owner's part: resources by answer; of those given back, how many are back already and
    what that freed (base units), and how many stayed after all."""

    asked: int = 0
    kept: int = 0
    given_back: int = 0
    settled: int = 0  # gone, or settled otherwise
    unanswered: int = 0
    returned: int = 0
    fell_through: int = 0  # its request was rejected or withdrawn
    freed: Amount = NOTHING


# ------------------------------------------------------------------------------------------------------------ reading


def campaign(tx: Tx, campaign_id: int) -> Campaign:
    """The campaign, or NotFound."""
    found = tx.get(Campaign, campaign_id)
    if found is None:
        raise NotFound("campaign.none", N_("没有编号为 %(id)s 的清理行动"), id=campaign_id)
    return found


def wanted(tx: Tx, scope: CampaignScope) -> dict[int, list[int]]:
    """What a campaign of ``scope`` would ask now: department id → ids of its resources that are approved and there."""
    query = select(Resource.department_id, Resource.id).order_by(Resource.department_id, Resource.id)
    found: dict[int, list[int]] = {}
    for department_id, resource_id in tx.execute(_of(tx, scope, query)):
        assert department_id is not None  # noqa: S101 - it was joined
        found.setdefault(department_id, []).append(resource_id)
    return found


@dataclass(frozen=True, slots=True)
class CampaignReach:
    """Whom a campaign would ask: how many departments about how many resources, and those that it would ask about the most, by
    name, the most first."""

    letters: int = 0
    resources: int = 0
    owners: Sequence[tuple[str, int]] = ()


def counted(tx: Tx, scope: CampaignScope, most: int) -> CampaignReach:
    """Whom a campaign of ``scope`` would ask now; ``most`` of them by name."""
    count = func.count(Resource.id)
    query = select(Department.name, count).group_by(Department.id).order_by(count.desc(), Department.code).limit(most)
    whole = select(func.count(Department.id.distinct()), count)
    letters, resources = tx.execute(_of(tx, scope, whole.select_from(Resource))).one()
    owners = [(name, number) for name, number in tx.execute(_of(tx, scope, query.select_from(Resource)))]
    return CampaignReach(letters, resources, owners)


def _of(tx: Tx, scope: CampaignScope, query: Any) -> Any:
    """``query`` of departments' resources, of those alone that a campaign of ``scope`` would ask about."""
    query = query.join(Department, Department.id == Resource.department_id).where(
        Department.active,
        Resource.basis != "",
        Resource.gone_at.is_(None),
        Resource.state.not_in([ResourceState.DELETED.value, ResourceState.RECYCLED.value]),
        Resource.kind.in_(list(scope.services)),
    )
    if scope.departments:
        below = {each for one in scope.departments for each in departments.subtree(tx, one)}
        query = query.where(among(Resource.department_id, below))
    return query.where(among(Resource.pool_id, scope.pools)) if scope.pools else query


def tally(tx: Tx, campaign: Campaign) -> Tally:
    """What came of the whole campaign so far."""
    return tallies(tx, campaign, select(Inquiry.id).where(Inquiry.origin == campaign.subject)).get(0, Tally())


def of_letters(tx: Tx, campaign: Campaign, inquiry_ids: Iterable[int]) -> Mapping[int, Tally]:
    """What came of these inquiries of a campaign, by their ids."""
    return tallies(tx, campaign, list(inquiry_ids), by_letter=True)


def tallies(tx: Tx, campaign: Campaign, which: Any, *, by_letter: bool = False) -> dict[int, Tally]:
    """Sums over the items of these inquiries (ids or a query of them): of each by its id, or of all of them as 0."""
    group = Inquiry.id if by_letter else literal(0)
    chosen = Inquiry.id.in_(which), Inquiry.origin == campaign.subject
    counts: dict[int, dict[str, int]] = {}
    rows = select(group, InquiryItem.answer, func.count()).select_from(InquiryItem).join(Inquiry).where(*chosen)
    for where, said, number in tx.execute(rows.group_by(group, InquiryItem.answer)):
        counts.setdefault(where, {})[said] = number
    back: dict[int, list[Amount]] = {}
    stayed: dict[int, int] = {}
    decided = (
        select(group, InquiryItem.takes, Request.state)
        .select_from(InquiryItem)
        .join(Inquiry)
        .join(Request, InquiryItem.outcome == literal("request:").concat(cast(Request.id, String)))
        .where(*chosen, InquiryItem.answer == GIVE_BACK, Request.state.in_([*RETURNED, *FELL_THROUGH]))
    )
    for where, takes, state in tx.execute(decided):
        if state in FELL_THROUGH:
            stayed[where] = stayed.get(where, 0) + 1
        else:
            back.setdefault(where, []).append(Amount.from_json(takes))
    return {
        where: Tally(
            asked=sum(said.values()),
            kept=said.get(KEEP, 0),
            given_back=said.get(GIVE_BACK, 0),
            settled=said.get(inquiries.MOOT, 0) + said.get(inquiries.GONE, 0),
            unanswered=said.get("", 0),
            returned=len(back.get(where, [])),
            fell_through=stayed.get(where, 0),
            freed=Amount.total(back.get(where, [])),
        )
        for where, said in counts.items()
    }


# ------------------------------------------------------------------------------------------------------------ writing


def start(tx: Tx, name: str, scope: CampaignScope, due_on: date, text: str = "", *, key: str) -> Campaign:
    """Ask every owner in ``scope`` about its resources, one inquiry an owner. The same ``key`` again returns the first.

    Raises Invalid without a name, for a scope in which there is nothing, or a day that is over; NotFound for a department or
    pool that there is not.
    """
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    name = stated(name, "name", code="campaign.name", message=N_("请填写清理行动的名称"))
    if len(name) > LONGEST_NAME:
        raise Invalid("campaign.name_long", N_("名称不超过%(most)s字"), most=LONGEST_NAME, field="name")
    strange = sorted(set(scope.services) - {one.value for one in ServiceKind})
    if strange or not scope.services:
        raise Invalid("campaign.services", N_("请选择资源类别"), field="services")
    tx.alone(key)
    told = {"departments": sorted(scope.departments), "pools": sorted(scope.pools), "services": sorted(scope.services)}
    earlier = tx.scalar(select(Campaign).where(Campaign.key == key))
    if earlier is not None:
        if (earlier.name, earlier.scope) != (name, told):
            raise reused(key)
        return earlier
    for pool_id in scope.pools:
        pools.pool(tx, pool_id)
    asked = wanted(tx, scope)
    if not asked:
        raise Invalid("campaign.empty", N_("这个范围内没有可征询的资源"), field="departments")
    row = Campaign(
        key=key,
        name=name,
        text=text.strip(),
        scope=told,
        state=CampaignState.OPEN.value,
        due_on=due_on,
        letters=len(asked),
        resources=sum(map(len, asked.values())),
        started_by=tx.actor.login,
        started_at=tx.now,
        closed_by="",
        generation=1,
    )
    tx.add(row)
    tx.flush()
    inquiries.ask(tx, CLEANUP, asked, due_on, text, key=row.subject, origin=row.subject)
    tx.audit(
        "campaign.start",
        row.subject,
        after={"name": name, "scope": told, "letters": row.letters, "resources": row.resources, "due_on": due_on},
    )
    return row


def close(tx: Tx, campaign_id: int, generation: int) -> Campaign:
    """End it: what is unanswered stays so and is asked no more. Raises WrongState where it has ended."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    row = tx.lock_as_shown(
        campaign(tx, campaign_id), generation, Conflict("campaign.stale", N_("清理行动已有变化,请刷新后再操作"))
    )
    if row.state != CampaignState.OPEN:
        raise WrongState("campaign.closed", N_("清理行动“%(name)s”已经结束"), name=row.name)
    left = select(Inquiry).where(Inquiry.origin == row.subject, Inquiry.state == InquiryState.OPEN.value)
    for one in tx.scalars(left.order_by(Inquiry.id)).all():
        inquiries.withdraw(tx, one.id, one.generation, N_("清理行动结束"))
    row.state, row.closed_by, row.closed_at = CampaignState.CLOSED.value, tx.actor.login, tx.now
    row.generation += 1
    tx.flush()
    tx.audit("campaign.close", row.subject, after={"unanswered": tally(tx, row).unanswered})
    return row


def exempt(tx: Tx, campaign_id: int, item_ids: Iterable[int]) -> Sequence[Exemption]:
    """Exempt what these items of the campaign keep, on the grounds and until the day that their departments gave.

    Raises Invalid for an item that does not keep, gave no category or day, or was exempted by this before; NotFound while no policy
    says how long an exemption may be; what an exemption is refused with.
    """
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    row = campaign(tx, campaign_id)
    ids = sorted(set(item_ids))
    if not ids:
        raise Invalid("campaign.nothing", N_("请选择资源"), field="id")
    query = select(InquiryItem).join(Inquiry).where(Inquiry.origin == row.subject, among(InquiryItem.id, ids))
    items = {item.id: item for item in tx.scalars(query)}
    for item_id in ids:
        item = items.get(item_id)
        if item is None or item.answer != KEEP or not item.category or item.until is None or item.outcome:
            raise Invalid(
                "campaign.not_exempt",
                N_("资源 %(name)s 没有按类别申请保留到某一天,或已经准予"),
                name=item.resource.called if item is not None else item_id,
                field="id",
            )
    procedure = policies.in_force(tx, tx.now.astimezone(ZONE).date()).rules()
    found = []
    for item in (items[item_id] for item_id in ids):
        granted = exemptions.grant(
            tx, item.resource, Category(item.category), item.reason, item.until, procedure, asked_by=item.by
        )
        item.outcome = f"exemption:{granted.id}"
        found.append(granted)
    tx.flush()
    return found


# ------------------------------------------------------------------------------------------------- what can be answered

KEEP, GIVE_BACK = "keep", "give_back"
LONGEST_KEPT = timedelta(days=366)


def may_be_asked(_tx: Tx, resource: Resource, department_id: int) -> None:
    if not resource.basis or resource.department_id != department_id:
        raise Invalid(
            "campaign.resource", N_("资源 %(name)s 没有审批依据,或不属于所问的单位"), name=resource.called, field="id"
        )  # fmt: skip


def _keep(tx: Tx, _item: InquiryItem, given: GivenAnswer) -> str:
    """It stays; until a day and under a category where an exemption is wanted, which the steward then grants or does not."""
    if bool(given.category) != (given.until is not None):
        raise Invalid("campaign.terms", N_("申请豁免的,类别和日期都要填写"), field="until")
    if given.until is not None and given.until > tx.now.astimezone(ZONE).date() + LONGEST_KEPT:
        raise Invalid("campaign.until", N_("保留最长%(days)s天"), days=LONGEST_KEPT.days, field="until")
    return ""


def gives_back(tx: Tx, item: InquiryItem, given: GivenAnswer) -> str:
    resource = item.resource
    line = Line(current=resource.counts(), service=resource.kind, name=resource.name[:96])
    return finds.file(tx, item, kinds.UNSUBSCRIBE, given, [line])


CLEANUP = inquiries.register(
    InquiryPurpose(
        code="cleanup",
        label=N_("清理行动"),
        says=N_(
            "请逐台说明下列资源是否还要用：继续使用的写明理由，需要豁免的写明类别和日期；不用的退还，按退订办理。逾期未答不会收回，但会通报。"
        ),
        answers=(
            InquiryAnswer(
                KEEP,
                N_("保留"),
                _keep,
                reasoned=True,
                until=True,
                categories={one.value: label for one, label in CATEGORY_LABELS.items()},
            ),
            InquiryAnswer(GIVE_BACK, N_("退还"), gives_back, reasoned=True),
        ),
        check=may_be_asked,
        over=lambda _today: Resource.state == ResourceState.RECYCLED.value,
        judged=True,
    )
)
