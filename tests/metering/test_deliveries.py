"""What was delivered and is not known to be in use is asked about, never taken: by the policy's days, once, and anew where it was to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from metering.campaigns import deliveries
from metering.judging import DeliveredTerms, Verdict, findings, policies
from providers.orders import WorkOrder
from quota import ledger
from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import CloudProvider
from quota.errors import Invalid
from quota.inventory import GivenAnswer, InquiryItem, Resource, ResourceState, inquiries
from quota.requests import Request
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.city import CASES, GB, City

SHAPE = Amount({VCPU: 2, MEMORY: 4 * GB})
DAYS = 20


@pytest.fixture
def town(book: Book, clock) -> City:
    found = City(book, clock, replace(CASES, ruled=True))
    with book.transaction(steward()) as tx:
        what = (SHAPE * 9).of_arch(Arch.X86_64)
        ledger.grant(tx, found.pool, found.department, what, key="g", subject="test")
        ledger.use(tx, found.pool, found.department, what, key="u", subject="test")
        policy = policies.newest(tx, "default").policy()
        terms = {"delivered": DeliveredTerms(DAYS, 5), "effective_from": clock().astimezone(ZONE).date()}
        found.policy = policies.enact(tx, replace(policy, **terms), reason="试").id
    return found


def delivered(town: City, name: str, days: int = DAYS, by: str = "create", **more: Any) -> int:
    """A machine that was handed over at noon so many days ago."""
    today = town.clock().astimezone(ZONE).date()
    at = datetime.combine(today - timedelta(days=days), time(12), ZONE)
    with town.book.transaction(steward()) as tx:
        told = {"created_by": "qian", "created_at": at, "changed_by": "qian", "changed_at": at, "fields": {}}
        asked = Request(
            number=f"SQ-{name}", kind=by, state="done", pool_id=town.pool, department_id=town.department, **told
        )
        tx.add(asked)
        tx.flush()
        order = WorkOrder(
            key=name, number=name, pool_id=town.pool, provider_id=tx.scalars(select(CloudProvider.id)).first(), verb="create",
            kind="vm", department_id=town.department, request_id=asked.id, state="accepted", due_at=at, placed_at=at,
            placed_by="wang", delivered_at=at,
        )  # fmt: skip
        tx.add(order)
        tx.flush()
        basis = order.basis
    return town.standing_machine(SHAPE, name, **{"basis": basis, **more})


def asked(town: City, verdicts: dict[int, Verdict]) -> list[str]:
    """Names of what the night asks about, these machines judged so and no other."""
    run = town.judge(verdicts, policy=town.policy)
    with town.book.transaction(steward()) as tx:
        letters = deliveries.ask(tx, findings.assessment(tx, run))
        again = deliveries.ask(tx, findings.assessment(tx, run))
        assert again == []
        query = select(Resource.name).join(InquiryItem).where(InquiryItem.inquiry_id.in_([one.id for one in letters]))
        return sorted(tx.scalars(query))


def answer(town: City, resource_id: int, said: GivenAnswer) -> InquiryItem:
    with town.book.transaction(town.people["tenant"]) as tx:
        query = select(InquiryItem).where(InquiryItem.resource_id == resource_id).order_by(InquiryItem.id.desc())
        item = tx.scalars(query).first()
        inquiries.answer(tx, item.inquiry_id, [item.id], said)
        return item


def test_what_is_not_known_to_be_in_use_is_asked_about(town: City) -> None:
    names: dict[str, dict[str, Any]] = {
        "silent": {}, "idle": {}, "seen": {}, "young": {"days": DAYS - 1}, "at-last": {"days": DAYS + 29},
        "long-ago": {"days": DAYS + 31}, "moved": {"by": "migrate"}, "nobodys": {"department_id": None},
        "gone": {"state": ResourceState.DELETED.value}, "disk": {"kind": "volume"},
    }  # fmt: skip
    ids = {name: delivered(town, name, **more) for name, more in names.items()}
    town.standing_machine(SHAPE, "adopted")
    run = {ids["silent"]: Verdict.UNKNOWN, ids["idle"]: Verdict.IDLE, ids["seen"]: Verdict.NORMAL}
    assert asked(town, run) == ["at-last", "idle", "silent"]
    with town.book.reading() as tx:
        (letter,) = tx.scalars(select(inquiries.Inquiry))
        assert letter.due_on == date(2026, 6, 8)  # five working days
        grounds = deliveries.DELIVERED.grounds(tx, [ids["silent"], ids["seen"]])
        assert {one.number for one in grounds.values()} == {"SQ-silent", "SQ-seen"}
    assert asked(town, run) == []
    town.clock.advance(days=1)
    assert asked(town, {**run, ids["seen"]: Verdict.UNKNOWN}) == [
        "seen",
        "young",
    ]  # a source that fell silent is a question, too


def test_each_answer_does_what_it_says(town: City) -> None:
    ids = {name: delivered(town, name) for name in ("used", "waits", "back", "cased", "quiet")}
    town.open({ids["cased"]: Verdict.IDLE}, policy=town.policy)
    assert asked(town, {}) == ["back", "quiet", "used", "waits"]  # what is in a case has its own letter
    today = town.clock().astimezone(ZONE).date()
    for until in (None, today, today + timedelta(days=181)):
        with pytest.raises(Invalid, match="从哪一天起"):
            answer(town, ids["waits"], GivenAnswer("later", "等采购", until))
    assert answer(town, ids["used"], GivenAnswer("in_use", "夜间批处理")).outcome == ""
    answer(town, ids["waits"], GivenAnswer("later", "等采购", today + timedelta(days=3)))
    filed = answer(town, ids["back"], GivenAnswer("give_back", "项目取消")).outcome
    with town.book.reading() as tx:
        assert tx.get_one(Request, int(filed.removeprefix("request:"))).kind == "unsubscribe"
        states = set(tx.scalars(select(Resource.state).where(Resource.id.in_(ids.values()))))
        assert states == {"running"}
    town.clock.advance(days=3)
    assert asked(town, {}) == []
    town.clock.advance(days=1)
    assert asked(town, {ids["waits"]: Verdict.NORMAL}) == []  # it was put to use
    assert asked(town, {}) == ["waits"]
    town.clock.advance(days=60)
    assert asked(town, {}) == []  # silence is not asked again, and takes nothing


@pytest.mark.parametrize("given", [{"days": 0}, {"days": 366}, {"days": True}, {"answer_days": 0}, {"answer_days": 91}])
def test_times_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="no time to ask"):
        DeliveredTerms(**given)
