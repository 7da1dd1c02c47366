"""Later finds: what turned up without approval is enrolled as it stands, given back, or taken over, and only one of these."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from quota.actors import steward
from quota.calendar import ZONE
from quota.errors import Conflict, Invalid, OverCapacity
from quota.inventory import GivenAnswer, Inquiry, InquiryItem, InquiryState, Resource, inquiries, takeovers
from quota.ledger import Holder
from quota.requests import Line, Request, RequestState, finds, kind_of, kinds
from quota.requests.approvals import Decision
from quota.units import MEMORY, VCPU
from tests.city import GB, City
from tests.quota.conftest import CPU

SHAPE = {VCPU: 8, MEMORY: 16 * GB}
BEYOND = ("checker", "reviewer", "chief")
"""Who signs what the department's own quota does not cover."""


@pytest.fixture
def found(town: City) -> int:
    return town.standing_machine(SHAPE, "found", basis="", booked={})


def counted(town: City) -> dict[str, int]:
    town.prove()
    holders = (Holder.FREE, Holder.GRANTED, Holder.HELD, Holder.USED)
    return {one.value: amount for one in holders if (amount := town.balance(one, CPU))}


def resource(town: City, resource_id: int) -> Resource:
    with town.book.reading() as tx:
        return tx.get_one(Resource, resource_id)


def enrol(town: City, resource_id: int, **other: Any) -> Request:
    return town.submit(kinds.ADOPT, resource_id=resource_id, **{"lines": [Line(asked=SHAPE, service="vm")], **other})


def test_it_is_booked_as_it_stands_by_the_last_signature(town: City, found: int) -> None:
    request = enrol(town, found)
    assert counted(town) == {"free": 192, "held": 8}
    done = town.approve(request, *BEYOND)
    assert done.state == RequestState.DONE
    assert kind_of(done).tasks is None, "its cloud is told nothing"
    assert counted(town) == {"free": 192, "used": 8}
    one = resource(town, found)
    assert (one.basis, one.booked, one.ran_before) == (request.subject, {"vcpu": 8, "memory": 16 * GB}, True)
    back = town.submit(kinds.UNSUBSCRIBE, resource_id=found, lines=[Line(current=SHAPE, service="vm")])
    town.hand_over(town.approve(back))
    assert counted(town) == {"free": 192, "granted": 8}


def test_rejected_it_stays_what_it_was(town: City, found: int) -> None:
    town.sign(enrol(town, found), "checker", Decision.REJECT, reason="没有用途")
    assert counted(town) == {"free": 200}
    assert resource(town, found).basis == ""


def test_what_tells_no_amounts_is_enrolled_with_nothing_counted(town: City) -> None:
    odd = town.standing_machine({}, "odd", basis="", booked={})
    request = enrol(town, odd, lines=[])
    assert town.approve(request).state == RequestState.DONE
    assert resource(town, odd).basis == request.subject
    assert counted(town) == {"free": 200}


@pytest.mark.parametrize(
    ("other", "refused", "code"),
    [
        ({"lines": []}, Invalid, "request.empty"),
        ({"lines": [Line(asked={VCPU: 4}, service="vm")]}, Invalid, "request.reshaped"),
        ({"lines": [Line(current=SHAPE, asked=SHAPE, service="vm")]}, Invalid, "request.line"),
        ({"lines": [Line(asked=SHAPE, quantity=2)]}, Invalid, "request.line"),
    ],
)
def test_only_what_there_is_can_be_asked_for(town: City, found: int, other, refused, code) -> None:
    with pytest.raises(refused) as refusal:
        enrol(town, found, **other)
    assert refusal.value.code == code
    assert counted(town) == {"free": 200}


def test_what_is_of_another_architecture_than_its_pool_can_only_be_given_back(town: City) -> None:
    strange = town.standing_machine(SHAPE, "strange", arch="x86_64", basis="", booked={})
    with pytest.raises(Invalid, match=r"request\.arch"):
        enrol(town, strange)
    assert town.submit(kinds.SURRENDER, resource_id=strange).state == RequestState.IN_REVIEW


def test_more_than_the_pool_has_is_refused(town: City) -> None:
    huge = town.standing_machine({VCPU: 500}, "huge", basis="", booked={})
    with pytest.raises(OverCapacity):
        enrol(town, huge, lines=[Line(asked={VCPU: 500}, service="vm")])


def test_what_changed_meanwhile_is_not_signed_for(town: City, found: int) -> None:
    request = town.approve(enrol(town, found), "checker", "reviewer")
    with town.book.transaction(steward()) as tx:
        tx.get_one(Resource, found).amounts = {"vcpu": 16}
    with pytest.raises(Conflict, match=r"request\.resource_changed"):
        town.sign(request, "chief")
    assert counted(town) == {"free": 192, "held": 8}, "it waits as it did"
    with town.book.transaction(steward()) as tx:
        tx.get_one(Resource, found).amounts = dict(SHAPE)
        tx.get_one(Resource, found).basis = "takeover:7"
    with pytest.raises(Conflict, match=r"request\.approved"):
        town.sign(request, "chief")


def test_it_is_approved_whole_or_not_at_all(town: City, found: int) -> None:
    request = enrol(town, found)
    line = town.seen(request).lines[0]
    with pytest.raises(Invalid, match=r"approve\.as_it_stands"):
        town.sign(request, "checker", Decision.APPROVE_PART, amounts={line.id: {VCPU: 4}}, reason="少一点")


def test_what_was_approved_needs_none_of_it(town: City) -> None:
    standing = town.standing_machine(SHAPE, "standing")
    for kind, lines in ((kinds.ADOPT, [Line(asked=SHAPE)]), (kinds.SURRENDER, [])):
        with pytest.raises(Invalid, match=r"request\.approved"):
            town.submit(kind, resource_id=standing, lines=lines)


def test_given_back_it_is_deleted_and_nothing_is_counted(town: City, found: int) -> None:
    request = town.approve(town.submit(kinds.SURRENDER, resource_id=found))
    assert request.state == RequestState.APPROVED
    tasks = kind_of(request).tasks
    assert tasks is not None
    assert [(task.verb, task.resource_id, dict(task.amounts)) for task in tasks(request)] == [("delete", found, {})]
    assert town.hand_over(request).state == RequestState.ACCEPTING
    assert counted(town) == {"free": 200}


def test_one_way_at_a_time(town: City, found: int) -> None:
    request = enrol(town, found)
    with town.book.transaction(town.people["checker"]) as tx, pytest.raises(Invalid, match=r"takeover\.conflict"):
        takeovers.propose(tx, town.bureau, "文件", [found], key="k")
    town.sign(request, "checker", Decision.REJECT, reason="凭文件接管")
    with town.book.transaction(town.people["checker"]) as tx:
        takeovers.propose(tx, town.bureau, "文件", [found], key="k", threshold=takeovers.Threshold(0))
    with pytest.raises(Conflict, match=r"takeover\.waits"):
        enrol(town, found)


def ask(town: City, ids: list[int], department: str = "bureau") -> Inquiry:
    day = town.clock().astimezone(ZONE).date() + timedelta(days=10)
    with town.book.transaction(town.people["checker"]) as tx:
        return inquiries.ask(tx, finds.FIND, {getattr(town, department): ids}, day, key="k")[0]


def items(town: City, one: Inquiry) -> list[InquiryItem]:
    with town.book.reading() as tx:
        return list(tx.scalars(select(InquiryItem).where(InquiryItem.inquiry_id == one.id).order_by(InquiryItem.id)))


def test_a_department_answers_with_a_request_for_each(town: City, found: int) -> None:
    other = town.standing_machine(SHAPE, "other", basis="", booked={})
    one = ask(town, [found, other])
    keep, drop = items(town, one)
    with town.book.transaction(town.people["clerk"]) as tx:
        with pytest.raises(Invalid, match=r"reason\.missing"):
            inquiries.answer(tx, one.id, [keep.id], GivenAnswer("adopt"))
        inquiries.answer(tx, one.id, [keep.id], GivenAnswer("adopt", "门户备机"))
        assert (
            inquiries.answer(tx, one.id, [drop.id], GivenAnswer("surrender", "试完了")).state == InquiryState.ANSWERED
        )
    keep, drop = items(town, one)
    with town.book.reading() as tx:
        filed = {each.subject: each for each in tx.scalars(select(Request))}
        assert (filed[keep.outcome].kind, filed[drop.outcome].kind) == ("adopt", "surrender")
        assert {each.state for each in filed.values()} == {RequestState.IN_REVIEW}
        assert "门户备机" in filed[keep.outcome].justification
    assert counted(town) == {"free": 192, "held": 8}


def test_an_answer_that_cannot_be_done_is_no_answer(town: City, found: int) -> None:
    huge = town.standing_machine({VCPU: 500}, "huge", basis="", booked={})
    one = ask(town, [found, huge])
    with pytest.raises(OverCapacity), town.book.transaction(town.people["clerk"]) as tx:
        inquiries.answer(tx, one.id, [each.id for each in items(town, one)], GivenAnswer("adopt", "都要"))
    assert [each.answer for each in items(town, one)] == ["", ""]
    assert counted(town) == {"free": 200}, "all or none"


def test_only_an_owner_is_asked_and_only_about_what_nobody_approved(town: City, found: int) -> None:
    standing = town.standing_machine(SHAPE, "standing")
    stray = town.standing_machine(SHAPE, "stray", department_id=None, basis="", booked={})
    for ids, department, code in (
        ([standing], "bureau", "find.approved"),
        ([stray], "bureau", "find.ownerless"),
        ([found], "neighbour", "find.elsewhere"),
    ):
        with pytest.raises(Invalid) as refusal:
            ask(town, ids, department)
        assert refusal.value.code == code


def test_what_was_taken_over_need_not_be_answered_any_more(town: City, found: int) -> None:
    one = ask(town, [found])
    with town.book.transaction(town.people["checker"]) as tx:
        takeovers.propose(tx, town.bureau, "文件", [found], key="k")
    with town.book.transaction(steward()) as tx:
        assert inquiries.sweep(tx) == 1
    assert items(town, one)[0].answer == inquiries.MOOT
