"""What was delivered and is not known to be in use so many days later: its department is asked, as the policy says.

Nothing is taken for unused because nothing was measured: what the last assessment found in use is not asked about, everything else
is a question to its owner, and silence decides nothing. What stays off is judged by rules over the days that it was off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, String, cast, literal, select

from metering.campaigns.campaigns import gives_back, may_be_asked
from metering.cases import Case, CaseState
from metering.judging import ALIVE, Assessment, Finding, findings
from metering.judging import MACHINES as JUDGED
from providers.base import Verb
from providers.orders import WorkOrder
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
    Resource,
    ResourceState,
    engagements,
    inquiries,
)
from quota.requests import Request, known

if TYPE_CHECKING:
    from quota.db import Tx

IN_USE, LATER, GIVE_BACK = "in_use", "later", "give_back"
ASKED_WITHIN = timedelta(days=30)
"""So long after its day a delivery is asked about: a night that did not run is made up for, and what was delivered long before a policy
asks for it is left to clean-up campaigns."""
LATEST = timedelta(days=180)


def ask(tx: Tx, run: Assessment) -> list[Inquiry]:
    """Ask departments about what was delivered so many days ago as the policy of ``run`` says and is not known to be in use, once for each
    delivery, and anew once the day is past on which it was to be used; an inquiry a department. Of a run that is not the newest nobody
    is asked. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    terms = run.policy_version.policy().delivered
    newest = findings.last_run(tx, run.policy_version.name)
    if terms.days is None or newest is None or newest.id != run.id:
        return []
    wanted: dict[int, list[int]] = defaultdict(list)
    for one in _due(tx, run, terms.days):
        if one.department_id is not None and _is_free(tx, one):
            wanted[one.department_id].append(one.id)
    if not wanted:
        return []
    due_on = working_days(tx).limit(tx.now, terms.answer_days, "working_days").astimezone(ZONE).date()
    return inquiries.ask(
        tx, DELIVERED, wanted, due_on, key=f"delivered:{min(min(ids) for ids in wanted.values())}:{run.id}"
    )


# ---------------------------------------------------------------------------------------------------------- mechanism


def _due(tx: Tx, run: Assessment, days: int) -> list[Resource]:
    """What is to be asked about today, by id."""
    today = tx.now.astimezone(ZONE).date()
    last = datetime.combine(today - timedelta(days=days - 1), time(), ZONE).astimezone(UTC)
    moving = [kind.code for kind in known() if kind.moves]
    delivered = (
        select(literal("order:") + cast(WorkOrder.id, String))
        .join(Request, Request.id == WorkOrder.request_id)
        .where(
            WorkOrder.verb == Verb.CREATE.value,
            WorkOrder.delivered_at < last,
            WorkOrder.delivered_at >= last - ASKED_WITHIN,
            Request.kind.not_in(moving),
        )
    )
    mine = select(InquiryItem.resource_id).join(Inquiry).where(Inquiry.purpose == DELIVERED.code)
    again = mine.where(InquiryItem.answer == LATER, InquiryItem.until < today)
    settled = mine.where((InquiryItem.answer != LATER) | (InquiryItem.until >= today))
    unanswered = select(InquiryItem.resource_id).join(Inquiry).where(inquiries.open_items())
    used = select(Finding.resource_id).where(
        Finding.assessment_id == run.id, Finding.verdict.in_([one.value for one in ALIVE])
    )
    query = (
        select(Resource)
        .join(Department, Department.id == Resource.department_id)
        .where(
            Resource.basis.in_(delivered) | Resource.id.in_(again),
            Resource.id.not_in(settled),
            Resource.id.not_in(unanswered),
            Resource.id.not_in(used),
            Resource.id.not_in(select(Case.resource_id).where(Case.state != CaseState.CLOSED.value)),
            Resource.kind.in_(JUDGED),
            Resource.basis != "",
            Resource.gone_at.is_(None),
            Resource.state.not_in([ResourceState.DELETED.value, ResourceState.RECYCLED.value]),
            Department.active,
        )
        .order_by(Resource.id)
    )
    return list(tx.scalars(query))


def _is_free(tx: Tx, resource: Resource) -> bool:
    """Whether nothing is being done about it."""
    try:
        engagements.must_be_free(tx, resource)
    except Refused:
        return False
    return True


def _later(tx: Tx, _item: InquiryItem, given: GivenAnswer) -> str:
    today = tx.now.astimezone(ZONE).date()
    if given.until is None or not today < given.until <= today + LATEST:
        raise Invalid(
            "delivered.until", N_("请写明从哪一天起使用，最晚%(days)s天以内"), days=LATEST.days, field="until"
        )
    return ""


def _over(_today: object) -> ColumnElement[bool]:
    """It is in the recycle bin, or the department's no more that was asked."""
    return (Resource.state == ResourceState.RECYCLED.value) | Resource.department_id.is_distinct_from(
        Inquiry.department_id
    )


def _grounds(tx: Tx, resource_ids: Collection[int]) -> dict[int, InquiryGround]:
    """The request by which each was delivered, and what silence leads to."""
    by_order = Resource.basis == literal("order:") + cast(WorkOrder.id, String)
    query = select(Resource.id, Request).join(WorkOrder, by_order).join(Request, Request.id == WorkOrder.request_id)
    rows = tx.execute(query.where(among(Resource.id, list(resource_ids))))
    return {one: InquiryGround(asked.subject, asked.number, None, SILENCE) for one, asked in rows}


SILENCE = N_("不收回，由运营监督方查问")

DELIVERED = inquiries.register(
    InquiryPurpose(
        code="delivered",
        label=N_("交付后使用情况"),
        says=N_(
            "下列资源已交付多日，尚无数据表明在用。请逐台说明：在用的写明用途；尚未启用的写明从哪一天起使用；不用的退还，按退订办理。没有数据不等于没有使用，逾期未答不会收回。"
        ),
        answers=(
            InquiryAnswer(IN_USE, N_("在用"), reasoned=True),
            InquiryAnswer(LATER, N_("尚未启用"), _later, reasoned=True, until=True),
            InquiryAnswer(GIVE_BACK, N_("退还"), gives_back, reasoned=True),
        ),
        check=may_be_asked,
        over=_over,
        grounds=_grounds,
        judged=True,
    )
)
