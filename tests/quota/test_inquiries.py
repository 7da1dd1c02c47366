"""Asking departments about resources: each item is answered by whom it asks, at once, and silence decides nothing."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from quota.actors import steward
from quota.calendar import ZONE
from quota.directory import Adjustment, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.inventory import GivenAnswer, Inquiry, InquiryItem, InquiryState, Resource, inquiries, owners
from quota.units import VCPU
from tests.city import City

NO = GivenAnswer("no", "不认识")
YES = GivenAnswer("yes")


@pytest.fixture
def strays(town: City) -> list[int]:
    return [town.standing_machine({VCPU: 4}, name, department_id=None, basis="", booked={}) for name in "abc"]


def due(town: City, days: int = 10) -> date:
    return town.clock().astimezone(ZONE).date() + timedelta(days=days)


def ask(town: City, wanted: dict[int, list[int]], by: str = "checker", **other: Any) -> list[Inquiry]:
    with town.book.transaction(town.people[by]) as tx:
        return inquiries.ask(
            tx, owners.OWNER, wanted, other.pop("due_on", due(town)), key=other.pop("key", "k"), **other
        )


def items(town: City, one: Inquiry) -> dict[int, InquiryItem]:
    with town.book.reading() as tx:
        return {
            each.resource_id: each for each in tx.scalars(select(InquiryItem).where(InquiryItem.inquiry_id == one.id))
        }


def reply(town: City, one: Inquiry, resource_ids: list[int], said: GivenAnswer = YES, by: str = "clerk") -> Inquiry:
    wanted = [items(town, one)[each].id for each in resource_ids]
    with town.book.transaction(town.people[by]) as tx:
        return inquiries.answer(tx, one.id, wanted, said)


def owner(town: City, resource_id: int) -> int | None:
    with town.book.reading() as tx:
        return tx.get_one(Resource, resource_id).department_id


def test_whose_it_is_the_department_says_and_then_it_is(town: City, strays: list[int]) -> None:
    mine, theirs = ask(town, {town.bureau: strays, town.neighbour: strays[:1]})
    assert (mine.resources, mine.due_on, mine.state) == (3, due(town), InquiryState.OPEN)
    assert ask(town, {town.bureau: strays, town.neighbour: strays[:1]})[0].id == mine.id  # a form sent twice
    with pytest.raises(Conflict, match=r"key\.reused"):
        ask(town, {town.bureau: strays[:1], town.neighbour: strays[:1]})
    left = reply(town, mine, strays[:2])
    assert (left.answered, left.state) == (2, InquiryState.OPEN)
    assert [owner(town, one) for one in strays] == [town.bureau, town.bureau, None]
    with pytest.raises(Invalid, match="已另行办理"):
        reply(town, theirs, strays[:1], by="stranger")
    assert items(town, theirs)[strays[0]].answer == "", "nothing of a refused answer is kept"
    with town.book.transaction(town.people["stranger"]) as tx, pytest.raises(Invalid, match=r"inquiry\.nothing"):
        inquiries.answer(tx, theirs.id, None, NO)  # what was left of it is settled
    done = reply(town, mine, strays[2:], NO)
    assert (done.state, done.answered) == (InquiryState.ANSWERED, 3)
    assert items(town, mine)[strays[2]].reason == "不认识"
    assert owner(town, strays[2]) is None
    with pytest.raises(WrongState, match=r"inquiry\.closed"):
        reply(town, mine, strays[2:])


def test_what_was_settled_otherwise_or_is_gone_needs_no_answer(town: City, strays: list[int]) -> None:
    (mine,) = ask(town, {town.bureau: strays})
    with town.book.transaction(town.people["checker"]) as tx:
        owners.assign(tx, strays[:1], town.neighbour, "查过合同")
    with town.book.transaction(steward()) as tx:
        tx.get_one(Resource, strays[1]).gone_at = tx.now
    with town.book.transaction(steward()) as tx:
        assert inquiries.sweep(tx) == 2
        assert inquiries.sweep(tx) == 0
    said = {one: each.answer for one, each in items(town, mine).items()}
    assert said == {strays[0]: inquiries.MOOT, strays[1]: inquiries.GONE, strays[2]: ""}
    assert reply(town, mine, strays[2:], NO).state == InquiryState.ANSWERED


@pytest.mark.parametrize(
    ("change", "refused", "code"),
    [
        ({"by": "clerk"}, NotAllowed, "permission"),
        ({"due_on": -1}, Invalid, "inquiry.due"),
        ({"due_on": 0}, Invalid, "inquiry.due"),
        ({"due_on": 181}, Invalid, "inquiry.due_far"),
        ({"wanted": {}}, Invalid, "inquiry.empty"),
        ({"wanted": "owned"}, Invalid, "owner.taken"),
        ({"wanted": "strange"}, NotFound, "resource.none"),
    ],
)
def test_what_cannot_be_asked_is_refused(town: City, strays: list[int], change, refused, code) -> None:
    given = dict(change)
    if "due_on" in given:
        given["due_on"] = due(town, given["due_on"])
    wanted = given.pop("wanted", {town.bureau: strays})
    if wanted == "owned":
        wanted = {town.bureau: [town.standing_machine({VCPU: 1}, "mine", basis="", booked={})]}
    elif wanted == "strange":
        wanted = {town.bureau: [9999]}
    with pytest.raises(refused) as refusal:
        ask(town, wanted, **given)
    if code != "permission":
        assert refusal.value.code == code
    with town.book.reading() as tx:
        assert list(tx.scalars(select(Inquiry))) == []


def test_nobody_is_asked_twice_at_a_time(town: City, strays: list[int]) -> None:
    (mine,) = ask(town, {town.bureau: strays[:1]})
    with pytest.raises(Invalid, match=r"inquiry\.asked"):
        ask(town, {town.bureau: strays}, key="again")
    reply(town, mine, strays[:1], NO)
    assert ask(town, {town.bureau: strays}, key="again")[0].resources == 3


def test_only_whom_it_asks_may_answer_and_only_what_it_asks(town: City, strays: list[int]) -> None:
    (mine,) = ask(town, {town.bureau: strays[:2]})
    (other,) = ask(town, {town.neighbour: strays[2:]}, key="other")
    with pytest.raises(NotFound):
        reply(town, mine, strays[:1], by="stranger")
    with pytest.raises(NotFound):
        reply(town, other, strays[2:], by="branch_clerk")
    with pytest.raises(NotAllowed):
        reply(town, mine, strays[:1], by="checker")
    with pytest.raises(Invalid, match=r"inquiry\.answer"):
        reply(town, mine, strays[:1], GivenAnswer("perhaps"))
    with pytest.raises(Invalid, match=r"inquiry\.nothing"):
        reply(town, mine, [])
    with pytest.raises(Invalid, match=r"inquiry\.until"):
        reply(town, mine, strays[:1], GivenAnswer("no", until=due(town)))
    with pytest.raises(Invalid, match=r"inquiry\.category"):
        reply(town, mine, strays[:1], GivenAnswer("no", category="whim"))
    with town.book.transaction(town.people["clerk"]) as tx, pytest.raises(Invalid, match=r"inquiry\.item"):
        inquiries.answer(tx, mine.id, [99999], NO)
    reply(town, mine, strays[:1], NO)
    with pytest.raises(Invalid, match=r"inquiry\.answered"):
        reply(town, mine, strays[:1], YES)


def test_one_reminder_before_its_day_and_one_word_after_it(town: City, strays: list[int]) -> None:
    (mine,) = ask(town, {town.bureau: strays}, due_on=due(town, 2))

    def reminded(at: timedelta) -> tuple[int, int]:
        with town.book.transaction(steward()) as tx:
            tx.now = town.clock() + at
            near, over = inquiries.remind(tx)
            return len(near), len(over)

    assert reminded(timedelta()) == (1, 0)
    assert reminded(timedelta(days=1)) == (0, 0)
    assert reminded(timedelta(days=4)) == (0, 1)
    assert reminded(timedelta(days=5)) == (0, 0)
    with town.book.reading() as tx:
        late = tx.scalars(select(Inquiry.id).where(inquiries.late(town.clock() + timedelta(days=4)))).all()
        assert late == [mine.id]
        assert tx.scalars(select(Inquiry.id).where(inquiries.late(tx.now))).all() == []
    assert [owner(town, one) for one in strays] == [None] * 3, "silence decides nothing"
    assert reply(town, mine, strays).state == InquiryState.ANSWERED, "late is not too late"


def test_an_inquiry_is_withdrawn_with_a_reason(town: City, strays: list[int]) -> None:
    (mine,) = ask(town, {town.bureau: strays})
    with town.book.transaction(town.people["chief"]) as tx:
        with pytest.raises(Invalid, match=r"reason\.missing"):
            inquiries.withdraw(tx, mine.id, 1, " ")
        with pytest.raises(Conflict, match=r"inquiry\.stale"):
            inquiries.withdraw(tx, mine.id, 7, "问错了")
        assert inquiries.withdraw(tx, mine.id, 1, "问错了").state == InquiryState.WITHDRAWN
    with pytest.raises(WrongState):
        reply(town, mine, strays)
    with town.book.reading() as tx:
        assert inquiries.asked_about(tx, strays, "owner") == []


def test_what_is_unanswered_goes_with_a_merged_department(town: City, strays: list[int]) -> None:
    (mine,) = ask(town, {town.bureau: strays})
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="m")
    assert reply(town, mine, strays, by="stranger").state == InquiryState.ANSWERED
    assert owner(town, strays[0]) == town.neighbour


def test_all_that_is_left_is_answered_at_once_up_to_so_many(town: City, strays: list[int], monkeypatch) -> None:
    (mine,) = ask(town, {town.bureau: strays})
    with town.book.transaction(town.people["checker"]) as tx:
        owners.assign(tx, strays[:1], town.neighbour, "查过合同")
    monkeypatch.setattr(inquiries, "MOST_AT_ONCE", 1)
    with town.book.transaction(town.people["clerk"]) as tx, pytest.raises(Invalid, match=r"inquiry\.many"):
        inquiries.answer(tx, mine.id, None, NO)
    monkeypatch.setattr(inquiries, "MOST_AT_ONCE", 2)
    with town.book.transaction(town.people["clerk"]) as tx:
        assert inquiries.answer(tx, mine.id, None, NO).state == InquiryState.ANSWERED
    assert [each.answer for each in items(town, mine).values()] == [inquiries.MOOT, "no", "no"]
