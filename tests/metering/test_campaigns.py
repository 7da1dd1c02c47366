"""Clean-up campaigns: every owner is asked about its machines; keep is a statement, give back a request, silence nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from metering.campaigns import CLEANUP, Campaign, CampaignScope, CampaignState, Tally, campaigns
from metering.cases import exemptions
from quota import ledger
from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.inventory import GivenAnswer, Inquiry, InquiryItem, InquiryState, Resource, inquiries
from quota.ledger import Holder
from quota.requests import Request, RequestState, submission
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.city import CASES, GB, City

SHAPE = Amount({VCPU: 8, MEMORY: 16 * GB})


@pytest.fixture
def town(book: Book) -> City:
    """Three machines of one department, one of the other, all counted; one that nobody approved and one without an owner."""
    found = City(book, plan=replace(CASES, ruled=True))
    with book.transaction(steward()) as tx:
        for department, count in ((found.department, 3), (found.other, 1)):
            what = (SHAPE * count).of_arch(Arch.X86_64)
            ledger.grant(tx, found.pool, department, what, key=f"g{department}", subject="test")
            ledger.use(tx, found.pool, department, what, key=f"u{department}", subject="test")
    for name in "abc":
        found.standing_machine(SHAPE, name, arch="x86_64")
    found.standing_machine(SHAPE, "d", arch="x86_64", department_id=found.other)
    found.standing_machine(SHAPE, "unapproved", arch="x86_64", basis="", booked={})
    found.standing_machine(SHAPE, "stray", arch="x86_64", department_id=None)
    return found


def day(town: City, days: int = 14) -> date:
    return town.clock().astimezone(ZONE).date() + timedelta(days=days)


def start(town: City, by: str = "supervisor", **other: Any) -> Campaign:
    with town.book.transaction(town.people[by]) as tx:
        return campaigns.start(
            tx, other.pop("name", "年末清理"), other.pop("scope", CampaignScope()), other.pop("due_on", day(town)),
            key=other.pop("key", "k"), **other,
        )  # fmt: skip


def letters(town: City, one: Campaign) -> dict[int, Inquiry]:
    with town.book.reading() as tx:
        return {each.department_id: each for each in tx.scalars(select(Inquiry).where(Inquiry.origin == one.subject))}


def items(town: City, one: Campaign) -> dict[str, InquiryItem]:
    query = select(InquiryItem).join(Inquiry).where(Inquiry.origin == one.subject)
    with town.book.reading() as tx:
        return {each.resource.name: each for each in tx.scalars(query)}


def reply(town: City, one: Campaign, names: str, said: GivenAnswer, by: str = "tenant") -> None:
    asked = items(town, one)
    with town.book.transaction(town.people[by]) as tx:
        inquiries.answer(tx, asked[names[0]].inquiry_id, [asked[name].id for name in names], said)


def tally(town: City, one: Campaign) -> Tally:
    with town.book.reading() as tx:
        return campaigns.tally(tx, one)


def test_every_owner_gets_one_list_of_what_is_in_the_book(town: City) -> None:
    one = start(town)
    assert (one.letters, one.resources, one.state) == (2, 4, CampaignState.OPEN)
    sent = letters(town, one)
    assert {whose: letter.resources for whose, letter in sent.items()} == {town.department: 3, town.other: 1}
    assert {letter.due_on for letter in sent.values()} == {day(town)}
    assert {item.takes["vcpu"] for item in items(town, one).values()} == {8}
    assert start(town).id == one.id
    with pytest.raises(Conflict, match=r"key\.reused"):
        start(town, name="另一次")
    assert tally(town, one) == Tally(asked=4, unanswered=4)


@pytest.mark.parametrize(
    ("change", "refused", "code"),
    [
        ({"by": "tenant"}, NotAllowed, ""),
        ({"name": " "}, Invalid, "campaign.name"),
        ({"name": "长" * 101}, Invalid, "campaign.name_long"),
        ({"scope": CampaignScope(services=())}, Invalid, "campaign.services"),
        ({"scope": CampaignScope(services=("spell",))}, Invalid, "campaign.services"),
        ({"scope": CampaignScope(services=("volume",))}, Invalid, "campaign.empty"),
        ({"due_on": 0}, Invalid, "inquiry.due"),
    ],
)
def test_what_cannot_be_begun_is_refused_whole(town: City, change, refused, code) -> None:
    given = {**change, **({"due_on": day(town, change["due_on"])} if "due_on" in change else {})}
    with pytest.raises(refused) as refusal:
        start(town, **given)
    assert not code or refusal.value.code == code
    with town.book.reading() as tx:
        assert tx.scalar(select(Campaign.id)) is None
        assert tx.scalar(select(Inquiry.id)) is None


def test_a_scope_is_of_departments_and_pools(town: City) -> None:
    one = start(town, scope=CampaignScope(departments=(town.other,), pools=(town.pool,)))
    assert set(letters(town, one)) == {town.other}


def test_kept_given_back_and_silent(town: City) -> None:
    one = start(town)
    with pytest.raises(Invalid, match=r"reason\.missing"):
        reply(town, one, "a", GivenAnswer("keep"))
    reply(town, one, "a", GivenAnswer("keep", "汛期值守"))
    reply(town, one, "b", GivenAnswer("give_back", "业务已下线"))
    assert tally(town, one) == Tally(asked=4, kept=1, given_back=1, unanswered=2)
    with town.book.reading() as tx:
        (request,) = tx.scalars(select(Request))
        assert (request.kind, request.state, request.department_id) == (
            "unsubscribe", RequestState.IN_REVIEW, town.department,
        )  # fmt: skip
        assert "业务已下线" in request.justification
        assert items(town, one)["b"].outcome == request.subject
    town.approve(request, "supervisor", "second")
    assert tally(town, one).returned == 0, "approved is not yet gone"
    town.hand_over(request)
    done = tally(town, one)
    assert (done.returned, done.freed) == (1, SHAPE)
    cpu = ledger.Side(town.pool, next(iter(Amount({VCPU: 1}).of_arch(Arch.X86_64))), Holder.USED, town.department)
    with town.book.reading() as tx:
        assert ledger.balance(tx, cpu) == 16
        by_letter = campaigns.of_letters(tx, one, [each.id for each in letters(town, one).values()])
        assert {each.asked: (each.kept, each.returned) for each in by_letter.values()} == {3: (1, 1), 1: (0, 0)}


def test_what_is_kept_until_a_day_may_be_exempted(town: City) -> None:
    one = start(town)
    for said in (
        GivenAnswer("keep", "汛期值守到年底", until=day(town, 30)),
        GivenAnswer("keep", "汛期值守到年底", category="key_period"),
    ):
        with pytest.raises(Invalid, match=r"campaign\.terms"):
            reply(town, one, "a", said)
    with pytest.raises(Invalid, match=r"campaign\.until"):
        reply(town, one, "a", GivenAnswer("keep", "一直要用", day(town, 400), "key_period"))
    reply(town, one, "a", GivenAnswer("keep", "重要活动保障期间值守使用", day(town, 30), "key_period"))
    reply(town, one, "b", GivenAnswer("keep", "还要用"))
    asked = items(town, one)

    def exempt(*names: str, by: str = "supervisor") -> None:
        with town.book.transaction(town.people[by]) as tx:
            campaigns.exempt(tx, one.id, [asked[name].id for name in names])

    for names in ((), ("b",), ("c",), ("a", "b")):
        with pytest.raises(Invalid):
            exempt(*names)
    with pytest.raises(NotAllowed):
        exempt("a", by="tenant")
    with town.book.reading() as tx:
        assert exemptions.exempt_now(tx) == set()
    exempt("a")
    with pytest.raises(Invalid, match=r"campaign\.not_exempt"):
        exempt("a")
    with town.book.reading() as tx:
        held = exemptions.holding(tx, asked["a"].resource_id)
        assert held is not None
        assert (held.ends_on, held.asked_by, held.approved_by) == (day(town, 30), "qian", "wang")


def test_what_cannot_be_given_back_stops_the_whole_batch(town: City) -> None:
    one = start(town)
    reply(town, one, "a", GivenAnswer("give_back", "不用了"))
    with town.book.transaction(town.people["tenant"]) as tx:
        submission.withdraw(tx, tx.scalars(select(Request)).one(), generation=2)
    assert tally(town, one) == Tally(asked=4, given_back=1, fell_through=1, unanswered=3)
    with town.book.transaction(steward()) as tx:
        tx.scalars(select(Resource).where(Resource.name == "c")).one().department_id = town.other
    with pytest.raises(Invalid, match=r"campaign\.resource"):
        reply(town, one, "bc", GivenAnswer("give_back", "不用了"))
    assert {name: item.answer for name, item in items(town, one).items()} == {
        "a": "give_back", "b": "", "c": "", "d": "",
    }  # fmt: skip


def test_ended_it_asks_no_more_and_keeps_what_was_said(town: City) -> None:
    one = start(town)
    reply(town, one, "abc", GivenAnswer("keep", "都要"))
    assert letters(town, one)[town.department].state == InquiryState.ANSWERED
    with town.book.transaction(town.people["authority"]) as tx:
        with pytest.raises(Conflict, match=r"campaign\.stale"):
            campaigns.close(tx, one.id, 9)
        assert campaigns.close(tx, one.id, 1).state == CampaignState.CLOSED
        with pytest.raises(WrongState, match=r"campaign\.closed"):
            campaigns.close(tx, one.id, 2)
    with pytest.raises(WrongState):
        reply(town, one, "d", GivenAnswer("keep", "要"), by="stranger")
    assert tally(town, one) == Tally(asked=4, kept=3, unanswered=1)
    assert letters(town, one)[town.other].state == InquiryState.WITHDRAWN
    assert CLEANUP.judged
