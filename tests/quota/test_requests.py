"""A request is held from submission until it is decided, seen and touched only by whom it concerns."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from quota import calendar, resource_classes
from quota.actors import Actor, Role, steward
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState
from quota.inventory import Resource
from quota.ledger import allotments, entries
from quota.ledger.allotments import Act, Allotment
from quota.ledger.tables import Holder
from quota.requests import approvals, fulfilment, kinds, notices, submission
from quota.requests.approvals import Decision
from quota.requests.asks import Line
from quota.requests.tables import Request
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    EIP,
    MEMORY,
    OBJECT,
    VCPU,
    Amount,
    Arch,
    ClassCode,
    Commodity,
    Group,
)
from tests.patience import together

ZONE = ZoneInfo("Asia/Shanghai")
CPU = Commodity(VCPU, Arch.AARCH64)
MEM = Commodity(MEMORY, Arch.AARCH64)
GB = 1024
EMPTY = {"supply": -200, "free": 200}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def shape(cpu: int, memory: int) -> dict[ClassCode, int]:
    return {VCPU: cpu, MEMORY: memory * GB}


def end_of(day: str) -> datetime:
    return at(f"{day} 23:59:59")


# ------------------------------------------------------------------------------------------------------------ the hold


def test_a_request_goes_all_the_way(town) -> None:
    request = town.submit()
    assert town.figures() == {"supply": -200, "free": 192, "held": 8}
    request = town.approve(request, "checker", "reviewer", "chief")
    assert request.state == "approved"
    assert town.figures() == {"supply": -200, "free": 192, "used": 8}
    request = town.hand_over(request)
    assert (request.state, request.turn) == ("accepting", "tenant")
    with town.book.transaction(town.people["clerk"]) as tx:
        request = fulfilment.accepted(tx, request, generation=request.generation)
    assert (request.state, request.turn, request.due_at) == ("done", None, None)
    assert town.figures() == {"supply": -200, "free": 192, "used": 8}
    with town.book.reading() as tx:
        actions = [one["action"] for one in submission.changes(tx, request, 0)]
    assert actions == [
        "request.draft", "request.submit", "request.sign", "request.sign", "request.sign", "request.deliver",
        "request.delivered", "request.accept",
    ]  # fmt: skip


def test_a_draft_holds_nothing(town) -> None:
    request = town.draft()
    assert request.number.startswith("SQ-2026-")
    assert town.figures() == EMPTY


def test_what_is_granted_is_held_before_what_is_free(town) -> None:
    town.grant({CPU: 6, MEM: 100 * GB}, "g")
    request = town.draft()
    with town.book.reading(town.people["clerk"]) as tx:
        planned = submission.plan(tx, submission.request(tx, request.id))
    assert (planned.sources.within[CPU], planned.sources.beyond[CPU], planned.over_quota) == (6, 2, True)
    assert MEM not in planned.sources.beyond
    assert town.figures() == {"supply": -200, "free": 194, "granted": 6}  # looking takes nothing
    with town.book.transaction(town.people["clerk"]) as tx:
        submission.submit(tx, request, generation=1)
    assert town.figures() == {"supply": -200, "free": 192, "held": 8}
    assert [step.name for step in town.seen(request).path][:3] == [
        "form_check", "technical_review", "authority_approval",
    ]  # fmt: skip


def test_within_quota_the_authority_need_not_sign(town) -> None:
    town.grant({CPU: 8, MEM: 100 * GB}, "g")
    request = town.approve(town.submit())
    assert request.state == "approved"
    assert town.figures() == {"supply": -200, "free": 192, "used": 8}


@pytest.mark.parametrize("how", ["withdraw", "reject", "lapse"])
def test_what_is_not_granted_returns_to_where_it_came_from(town, clock, how) -> None:
    town.grant({CPU: 6, MEM: 100 * GB}, "g")
    before = town.figures()
    request = town.submit()
    if how == "withdraw":
        with town.book.transaction(town.people["clerk"]) as tx:
            submission.withdraw(tx, request, generation=request.generation, reason="项目暂缓")
    elif how == "reject":
        town.sign(request, "checker", Decision.REJECT, reason="与在建项目重复")
    else:
        town.sign(request, "checker", Decision.RETURN, reason="缺压测报告")
        clock.advance(days=9)
        with town.book.transaction(steward()) as tx:
            assert [one.id for one in approvals.lapse(tx)] == [request.id]
    found = town.seen(request)
    assert (found.state, found.turn) == ("rejected" if how == "reject" else "withdrawn", None)
    assert town.figures() == before
    for act in (
        lambda tx: submission.withdraw(tx, request.id, generation=found.generation),
        lambda tx: submission.submit(tx, request.id, generation=found.generation),
    ):
        with pytest.raises(WrongState), town.book.transaction(town.people["clerk"]) as tx:
            act(tx)


def test_more_than_the_pool_has_is_refused_and_stays_a_draft(town) -> None:
    request = town.draft(lines=[Line(item_id=town.item, quantity=51)])
    with pytest.raises(OverCapacity) as refusal, town.book.transaction(town.people["clerk"]) as tx:
        submission.submit(tx, request, generation=1)
    assert refusal.value.params["have"] == 200
    found = town.seen(request)
    assert (found.state, found.generation, found.steps) == ("draft", 1, [])
    assert town.figures() == EMPTY


def test_two_departments_cannot_be_promised_the_same(town) -> None:
    town.submit(lines=[Line(item_id=town.item, quantity=30)])
    with pytest.raises(OverCapacity):
        town.submit(by="stranger", department_id=town.neighbour, lines=[Line(item_id=town.item, quantity=30)])
    assert town.figures() == {"supply": -200, "free": 80, "held": 120}


# ---------------------------------------------------------------------------------------------------------- signatures


def test_part_of_it_is_approved_and_the_rest_returns(town) -> None:
    request = town.submit(lines=[Line(item_id=town.item, quantity=5)])
    line = town.seen(request).lines[0].id
    town.sign(request, "checker")
    town.sign(request, "reviewer", Decision.APPROVE_PART, quantities={line: 4}, reason="并发测算偏高")
    assert town.figures() == {"supply": -200, "free": 180, "held": 20}
    request = town.sign(request, "chief", Decision.APPROVE_PART, quantities={line: 3}, reason="先开三台")
    assert (request.state, request.reduced) == ("approved", True)
    assert town.figures() == {"supply": -200, "free": 188, "used": 12}


def test_a_later_signature_may_give_back_what_an_earlier_one_cut(town) -> None:
    request = town.submit(lines=[Line(item_id=town.item, quantity=5)])
    line = town.seen(request).lines[0].id
    town.sign(request, "checker", Decision.APPROVE_PART, quantities={line: 1}, reason="偏高")
    town.sign(request, "reviewer", Decision.APPROVE_PART, quantities={line: 5}, reason="测算属实")
    town.sign(request, "chief")
    assert town.figures() == {"supply": -200, "free": 180, "used": 20}


def test_figures_of_a_quota_request_are_approved_in_part(town) -> None:
    request = town.submit(kinds.QUOTA, lines=[Line(asked=shape(40, 80))])
    line = town.seen(request).lines[0].id
    town.sign(request, "checker")
    town.sign(request, "reviewer", Decision.APPROVE_PART, amounts={line: {VCPU: 24}}, reason="按实测")
    request = town.sign(request, "chief")
    assert request.state == "done"
    assert town.figures() == {"supply": -200, "free": 176, "granted": 24}
    assert town.balance(Holder.GRANTED, MEM) == 80 * GB


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"decision": Decision.REJECT}, "reason.missing"),
        ({"decision": Decision.RETURN, "reason": " "}, "reason.missing"),
        ({"decision": Decision.APPROVE_PART, "reason": "少给"}, "approve.unchanged"),
        ({"decision": Decision.APPROVE_PART, "reason": "少给", "quantities": {"line": 2}}, "approve.unchanged"),
        ({"decision": Decision.APPROVE_PART, "reason": "少给", "quantities": {"line": 0}}, "approve.nothing"),
        ({"decision": Decision.APPROVE_PART, "reason": "多给", "quantities": {"line": 3}}, "approve.quantity"),
        ({"decision": Decision.APPROVE_PART, "reason": "少给", "quantities": {"line": True}}, "approve.quantity"),
        ({"decision": Decision.APPROVE_PART, "reason": "少给", "quantities": {"other": 1}}, "approve.line"),
        ({"decision": Decision.APPROVE_PART, "reason": "少给", "amounts": {"line": {VCPU: 1}}}, "approve.shape"),
        ({"decision": Decision.APPROVE, "quantities": {"line": 1}}, "approve.whole"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(town, how: dict[str, Any], code: str) -> None:
    request = town.submit()
    ids = {"line": town.seen(request).lines[0].id, "other": 10_000}
    for name in ("quantities", "amounts"):
        if name in how:
            how = {**how, name: {ids[key]: value for key, value in how[name].items()}}
    with pytest.raises(Invalid) as refusal:
        town.sign(request, "checker", **how)
    assert refusal.value.code == code
    found = town.seen(request)
    assert (found.generation, found.current.name, found.lines[0].approved_quantity) == (2, "form_check", None)
    assert town.figures() == {"supply": -200, "free": 192, "held": 8}


@pytest.mark.parametrize(
    ("by", "code"),
    [
        ("clerk", "role.missing"),
        ("operator", "role.missing"),
        ("auditor", "role.missing"),
        ("sysadmin", "role.missing"),
        ("chief", "approve.not_your_step"),
    ],
)
def test_each_signs_the_own_step_and_nobody_elses(town, by: str, code: str) -> None:
    request = town.submit()
    with town.book.reading() as tx:
        assert not approvals.may_sign(tx, submission.request(tx, request.id), town.people[by])
    with pytest.raises(NotAllowed) as refusal:
        town.sign(request, by)
    assert refusal.value.code == code


def test_the_requester_never_signs_in_whatever_role(town) -> None:
    town.people["moved"] = Actor("clerk", "调任督导", Role.SUPERVISOR)
    request = town.submit()
    with pytest.raises(NotAllowed) as refusal:
        town.sign(request, "moved")
    assert refusal.value.code == "approve.own"
    with town.book.reading() as tx:
        assert approvals.queue(tx, town.people["moved"]) == []
        assert [one.id for one in approvals.queue(tx, town.people["checker"])] == [request.id]


def test_nobody_signs_two_steps_of_one_request(town) -> None:
    request = town.sign(town.submit(), "checker")
    with pytest.raises(NotAllowed) as refusal:
        town.sign(request, "checker")
    assert refusal.value.code == "approve.twice"
    with town.book.reading() as tx:
        assert approvals.queue(tx, town.people["checker"]) == []
        assert [one.id for one in approvals.queue(tx, town.people["reviewer"])] == [request.id]


def test_a_service_signs_nothing(town) -> None:
    """Though it has the role, and a person of that role may."""
    town.people["robot"] = Actor("robot", "报表平台", Role.SUPERVISOR, program=True)
    request = town.submit()
    with town.book.reading() as tx:
        assert not approvals.may_sign(tx, submission.request(tx, request.id), town.people["robot"])
        assert approvals.queue(tx, town.people["robot"]) == []
    with pytest.raises(NotAllowed) as refusal:
        town.sign(request, "robot")
    assert refusal.value.code == "sign.person"


def test_a_stale_page_is_told_what_happened_meanwhile(town) -> None:
    request = town.submit()
    seen = request.generation
    town.sign(request, "checker")
    with pytest.raises(Conflict) as refusal:
        town.sign(request, "reviewer", generation=seen)
    assert refusal.value.code == "request.stale"
    params = refusal.value.params
    assert (params["by"], params["generation"]) == ("checker", seen + 1)
    assert [one["action"] for one in params["changes"]] == ["request.sign"]
    assert town.seen(request).current.name == "technical_review"
    for act in (submission.withdraw, submission.submit, submission.resubmit):
        with pytest.raises(Conflict), town.book.transaction(town.people["clerk"]) as tx:
            act(tx, request, generation=seen)


def test_two_who_sign_at_once_sign_once(town) -> None:
    request = town.submit()
    town.people["checker2"] = Actor("checker2", "另一人", Role.SUPERVISOR)
    outcomes: list[str] = []

    def sign(by: str) -> None:
        try:
            town.sign(request, by, generation=request.generation)
            outcomes.append("signed")
        except Conflict as refusal:
            outcomes.append(refusal.code)

    together(*(partial(sign, by) for by in ("checker", "checker2")))
    assert sorted(outcomes) == ["request.stale", "signed"]
    assert [step.decided_by is not None for step in town.seen(request).path].count(True) == 1


# -------------------------------------------------------------------------------------------------------------- drafts


def test_a_form_sent_twice_is_one_draft(town) -> None:
    first, second = town.draft(key="form-1"), town.draft(key="form-1")
    assert first.id == second.id
    with pytest.raises(Conflict) as refusal:
        town.draft(by="branch_clerk", department_id=town.branch, key="form-1")
    assert refusal.value.code == "key.reused"
    made: list[int] = []
    together(*[lambda: made.append(town.draft(key="form-2").id)] * 4)
    assert len(made) == 4
    assert len(set(made)) == 1
    with town.book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(Request)) == 2


def test_a_draft_is_revised_and_nothing_else_of_it(town) -> None:
    request = town.draft()
    with town.book.transaction(town.people["clerk"]) as tx:
        request = submission.revise(tx, request, town.ask(lines=[Line(item_id=town.item, quantity=3)]), generation=1)
        assert (request.generation, request.takes()[CPU]) == (2, 12)
    for ask in (
        town.ask(kinds.QUOTA, lines=[Line(asked=shape(4, 8))]),
        town.ask(department_id=town.branch),
    ):
        with pytest.raises(Invalid) as refusal, town.book.transaction(town.people["clerk"]) as tx:
            submission.revise(tx, request, ask, generation=2)
        assert refusal.value.code == "request.fixed"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"justification": "要"}, "request.justification"),
        ({"lines": []}, "request.empty"),
        ({"lines": [Line()]}, "request.line"),
        ({"lines": [Line(asked=shape(4, 8), current=shape(2, 4))]}, "request.line"),
        ({"use_until": date(2026, 5, 31)}, "request.use_until"),
        ({"resource_id": "machine"}, "request.resource"),
        ({"department_id": "branch", "system_id": "system"}, "request.system"),
        ({"kind": kinds.RESIZE, "lines": [Line(current=shape(4, 8), asked=shape(8, 16))]}, "request.resource"),
        ({"kind": kinds.RESIZE, "resource_id": "machine", "lines": [Line(current=shape(4, 8))]}, "request.nothing"),
        ({"kind": kinds.QUOTA, "lines": [Line(item_id=1)]}, "request.line"),
        ({"kind": kinds.QUOTA, "lines": [Line(asked={VCPU: -8})]}, "request.too_much_back"),
        ({"kind": kinds.UNSUBSCRIBE, "resource_id": "machine", "lines": [Line(current=shape(4, 8))]},
         "request.too_much_back"),
    ],
)  # fmt: skip
def test_what_is_not_ready_is_refused_with_the_place(town, other: dict[str, Any], code: str) -> None:
    places = {"branch": town.branch, "system": town.system, "machine": town.standing_machine(shape(4, 8))}
    how = {name: places.get(value, value) if isinstance(value, str) and name != "justification" else value
           for name, value in other.items()}  # fmt: skip
    with pytest.raises(Invalid) as refusal:
        town.submit(how.pop("kind", kinds.CREATE), **how)
    assert refusal.value.code == code
    assert refusal.value.params["field"]
    assert town.figures() == EMPTY


@pytest.mark.parametrize(
    ("machine", "ask", "code"),
    [
        ({"department_id": "branch"}, {}, "request.resource_elsewhere"),
        ({}, {"pool_id": "x86"}, "request.resource_pool"),
        ({"gone_at": at("2026-05-31 10:00")}, {}, "request.resource_gone"),
        ({"state": "deleted"}, {}, "request.resource_gone"),
        ({"booked": {}, "basis": ""}, {}, "request.unapproved"),
        ({"booked": {"vcpu": 2, "memory": 8 * GB}}, {}, "request.reshaped"),
    ],
)
def test_a_request_about_a_resource_starts_from_the_register(town, machine, ask, code) -> None:
    """Whoever calls: the verb refuses, not only the page."""
    town.grant({CPU: 8, MEM: 16 * GB}, "g", use=True)
    places = {"branch": town.branch, "x86": town.x86}
    machine, ask = ({name: places.get(value, value) if isinstance(value, str) else value for name, value in how.items()}
                    for how in (machine, ask))  # fmt: skip
    line = Line(current=shape(8, 16), service="vm")
    how = {"resource_id": town.standing_machine(shape(8, 16), **machine), "lines": [line], **ask}
    with pytest.raises(Invalid) as refusal:
        town.submit(kinds.UNSUBSCRIBE, **how)
    assert (refusal.value.code, refusal.value.params["field"]) == (code, "resource_id")
    with town.book.reading() as tx:
        assert list(tx.scalars(select(Request.id))) == []


def test_what_is_not_in_the_register_or_not_theirs_cannot_even_be_drafted(town) -> None:
    others = town.standing_machine(shape(8, 16), department_id=town.neighbour)
    for resource_id in (others, others + 1):
        with pytest.raises(NotFound) as refusal:
            town.draft(kinds.UNSUBSCRIBE, resource_id=resource_id, lines=[Line(current=shape(8, 16))])
        assert refusal.value.code == "resource.none"


def test_an_answer_is_held_to_the_register_as_a_first_asking_is(town) -> None:
    town.grant({CPU: 8, MEM: 16 * GB}, "g", use=True)
    machine = town.standing_machine(shape(8, 16))
    request = town.submit(kinds.UNSUBSCRIBE, resource_id=machine, lines=[Line(current=shape(8, 16), service="vm")])
    request = town.sign(request, "checker", Decision.RETURN, reason="缺下线证明")
    with town.book.transaction(steward()) as tx:
        tx.get_one(Resource, machine).gone_at = tx.now
    with pytest.raises(Invalid) as refusal, town.book.transaction(town.people["clerk"]) as tx:
        submission.resubmit(tx, request, generation=request.generation)
    assert refusal.value.code == "request.resource_gone"


# --------------------------------------------------------------------------------------------------------- supplements


def test_the_clock_stands_still_while_it_is_mended_through_the_holidays(town, clock) -> None:
    """国庆 2026: off from 10-01 to 10-07, worked on Saturday 10-10."""
    clock.now = at("2026-09-29 10:00")
    request = town.submit()
    assert request.due_at == end_of("2026-09-30")
    clock.now = at("2026-09-30 09:00")
    request = town.sign(request, "checker")
    assert request.due_at == end_of("2026-10-10")  # 8, 9 and the Saturday
    clock.now = at("2026-10-08 15:00")
    request = town.sign(request, "reviewer", Decision.RETURN, reason="缺压测报告")
    assert (request.state, request.turn, request.due_at) == ("supplement", "tenant", end_of("2026-10-14"))
    assert request.current.due_at is None
    clock.now = at("2026-10-12 09:00")
    with town.book.transaction(town.people["clerk"]) as tx:
        mended = submission.revise(
            tx, request, town.ask(fields={"peak": "并发 2000"}), generation=request.generation
        )  # fmt: skip
        request = submission.resubmit(tx, mended, generation=mended.generation)
    # One of three days was used before the return: two are left, from the 12th.
    assert (request.state, request.round, request.due_at) == ("in_review", 1, end_of("2026-10-14"))
    assert town.seen(request).path[0].decided_by == "checker"
    with pytest.raises(WrongState) as refusal:
        town.sign(request, "reviewer", Decision.RETURN, reason="还缺")
    assert refusal.value.code == "request.returned_before"


def test_a_supplement_that_asks_for_something_else_begins_anew(town) -> None:
    request = town.sign(town.submit(), "checker")
    request = town.sign(request, "reviewer", Decision.RETURN, reason="台数过多")
    with town.book.transaction(town.people["clerk"]) as tx:
        one = submission.revise(
            tx, request, town.ask(lines=[Line(item_id=town.item)]), generation=request.generation
        )  # fmt: skip
        one = submission.resubmit(tx, one, generation=one.generation)
    found = town.seen(one)
    assert (found.round, found.current.name) == (2, "form_check")
    assert {step.decision for step in found.steps if step.round == 1} == {"approve", "superseded"}
    assert town.figures() == {"supply": -200, "free": 196, "held": 4}
    town.approve(one, "checker", "reviewer", "chief")  # who signed the first round may sign this one
    assert town.figures() == {"supply": -200, "free": 196, "used": 4}


def test_a_supplement_that_the_pool_cannot_hold_changes_nothing(town) -> None:
    request = town.sign(town.submit(), "checker", Decision.RETURN, reason="台数不符")
    with town.book.transaction(town.people["clerk"]) as tx:
        more = town.ask(lines=[Line(item_id=town.item, quantity=99)])
        request = submission.revise(tx, request, more, generation=request.generation)
    with pytest.raises(OverCapacity), town.book.transaction(town.people["clerk"]) as tx:
        submission.resubmit(tx, request, generation=request.generation)
    found = town.seen(request)
    assert (found.state, found.round) == ("supplement", 1)
    assert town.figures() == {"supply": -200, "free": 192, "held": 8}


def test_what_was_mended_in_time_does_not_lapse_and_waiting_for_us_never_does(town, clock) -> None:
    request = town.submit()
    clock.advance(days=40)
    with town.book.transaction(steward()) as tx:
        assert approvals.lapse(tx) == []
    request = town.sign(request, "checker", Decision.RETURN, reason="缺附件")
    clock.advance(days=1)
    with town.book.transaction(town.people["clerk"]) as tx:
        submission.resubmit(tx, request, generation=request.generation)
    clock.advance(days=40)
    with town.book.transaction(steward()) as tx:
        assert approvals.lapse(tx) == []
    assert town.figures() == {"supply": -200, "free": 192, "held": 8}


def test_limits_follow_a_corrected_calendar(town, clock) -> None:
    request = town.submit()
    assert request.due_at == end_of("2026-06-02")
    with town.book.transaction(steward()) as tx:
        calendar.correct(tx, date(2026, 6, 2), False, "台风停工")
        tx.flush()
        assert [one.id for one in approvals.redate(tx)] == [request.id]
        assert approvals.redate(tx) == []
    found = town.seen(request)
    assert (found.due_at, found.current.due_at) == (end_of("2026-06-03"), end_of("2026-06-03"))
    with pytest.raises(Conflict):  # the page that showed the old limit is out of date
        town.sign(request, "checker", generation=request.generation)


# ------------------------------------------------------------------------------------------------------ after decision


def test_what_is_returned_is_free_only_when_the_cloud_confirmed_it(town) -> None:
    town.grant(dict.fromkeys([CPU], 8) | {MEM: 16 * GB}, "g", use=True)
    machine = town.standing_machine(shape(8, 16))
    line = Line(current=shape(8, 16), service="vm")
    request = town.submit(kinds.UNSUBSCRIBE, resource_id=machine, lines=[line])
    request = town.approve(request)
    assert town.figures() == {"supply": -200, "free": 192, "used": 8}
    town.hand_over(request)
    assert town.figures() == {"supply": -200, "free": 192, "granted": 8}


def test_a_resize_takes_the_difference_and_gives_back_the_rest(town) -> None:
    town.grant({CPU: 8, MEM: 64 * GB}, "g", use=True)
    line = Line(current=shape(8, 64), asked=shape(12, 32), service="vm")
    ask = {"resource_id": town.standing_machine(shape(8, 64)), "lines": [line]}
    request = town.submit(kinds.RESIZE, **ask)
    assert (request.takes(), request.gives()) == ({CPU: 4}, {MEM: 32 * GB})
    with pytest.raises(Conflict) as refusal:
        town.submit(kinds.RESIZE, **ask)
    assert refusal.value.code == "request.resource_busy"
    request = town.approve(request, "checker", "reviewer", "chief")
    assert town.balance(Holder.USED, MEM) == 64 * GB
    town.hand_over(request)
    assert town.figures() == {"supply": -200, "free": 188, "used": 12}
    assert (town.balance(Holder.USED, MEM), town.balance(Holder.GRANTED, MEM)) == (32 * GB, 32 * GB)


def test_quota_is_returned_to_the_city(town) -> None:
    town.grant({CPU: 20}, "g")
    request = town.submit(kinds.QUOTA, lines=[Line(asked={VCPU: -12})])
    assert town.figures() == {"supply": -200, "free": 180, "granted": 20}
    assert town.approve(request).state == "done"
    assert town.figures() == {"supply": -200, "free": 192, "granted": 8}


def test_what_is_not_as_approved_is_refused_and_delivered_again(town, clock) -> None:
    approved = town.approve(town.submit(), "checker", "reviewer", "chief")
    assert approved.turn == "provider"
    for who, sides in (("clerk", {"supervisor"}), ("chief", {"supervisor", "tenant"}), ("checker", {"tenant"})):
        with town.book.transaction(town.people[who]) as tx:
            told = notices.said(tx, submission.request(tx, approved.id), "价格另议", once=f"remark:{who}")
            assert {one.role for one in told} == sides, "the company delivers, and is no party of the talk"
    request = town.hand_over(approved)
    assert request.due_at == end_of("2026-06-04")
    for who, error in (("stranger", NotAllowed), ("checker", NotAllowed)):
        with pytest.raises(error), town.book.transaction(town.people[who]) as tx:
            fulfilment.accepted(tx, request)
    with pytest.raises(Invalid), town.book.transaction(town.people["clerk"]) as tx:
        fulfilment.refused(tx, request, generation=request.generation, reason="")
    with town.book.transaction(town.people["clerk"]) as tx:
        request = fulfilment.refused(tx, request, generation=request.generation, reason="内存只有 4 GB")
    assert (request.state, request.turn) == ("delivering", "provider")
    with town.book.transaction(steward()) as tx:
        request = fulfilment.delivered(tx, request)
    clock.advance(days=5)
    with town.book.transaction(steward()) as tx:
        assert [one.id for one in fulfilment.deemed_accepted(tx)] == [request.id]
    assert town.seen(request).state == "done"
    with town.book.reading() as tx:
        told = [one.kind for one in notices.received(tx, town.people["clerk"])]
    assert told == ["accepted", "delivered", "delivered", "said", "said", "approved"]


# ------------------------------------------------------------------------------------------------------------ who sees


def test_each_sees_what_concerns_them(town) -> None:
    upper, lower = town.submit(), town.submit(by="branch_clerk", department_id=town.branch)

    def seen(login: str) -> set[int]:
        with town.book.reading(town.people[login]) as tx:
            return set(tx.scalars(select(Request.id).where(submission.visible(tx))))

    both = {upper.id, lower.id}
    assert {login: seen(login) for login in town.people} == {
        "clerk": both,
        "branch_clerk": {lower.id},
        "stranger": set(),
        "checker": both,
        "reviewer": both,
        "chief": both,
        "operator": set(),
        "rival": set(),
        "auditor": both,
        "sysadmin": set(),
    }
    with pytest.raises(NotFound), town.book.reading(town.people["stranger"]) as tx:
        submission.request(tx, upper.id)
    with pytest.raises(NotAllowed), town.book.transaction(town.people["branch_clerk"]) as tx:
        submission.withdraw(tx, upper, generation=upper.generation)
    with pytest.raises(NotAllowed):
        town.draft(by="stranger")


def test_whoever_is_slow_is_urged_once_a_day(town, clock) -> None:
    request = town.submit()
    turn = submission.whose_turn(town.seen(request))
    assert turn is not None
    assert (turn.role, turn.step.name, turn.due_at) == (Role.SUPERVISOR, "form_check", end_of("2026-06-02"))
    for day in range(2):
        with town.book.transaction(town.people["clerk"]) as tx:
            assert notices.urge(tx, request).role == "supervisor"
        with pytest.raises(Conflict), town.book.transaction(town.people["clerk"]) as tx:
            notices.urge(tx, request)
        clock.advance(days=1 + day)
    town.sign(request, "checker", Decision.RETURN, reason="缺附件")
    with pytest.raises(WrongState), town.book.transaction(town.people["clerk"]) as tx:
        notices.urge(tx, request)


def test_reminders_come_once_for_each_limit_and_silence_is_put_before_the_authority(town, clock) -> None:
    request = town.submit()
    clock.now = at("2026-06-02 08:00")
    for expected in (["due"], []):
        with town.book.transaction(steward()) as tx:
            assert [one.kind for one in notices.remind(tx)] == expected
    clock.now = at("2026-06-03 08:00")
    with town.book.transaction(steward()) as tx:
        assert sorted((one.kind, one.role) for one in notices.remind(tx)) == [
            ("escalated", "authority"),
            ("overdue", "supervisor"),
        ]
    assert town.seen(request).state == "in_review"
    assert entries.Holder.HELD in town.figures()


def test_what_is_built_in_cannot_be_resized(town) -> None:
    """Cards stay as many as a machine was built with; what can be resized beside them can."""
    built = Amount({VCPU: 8, MEMORY: 64 * GB, ACCELERATOR: 2})
    machine = town.standing_machine(built)
    for wanted, refused in ((Amount({VCPU: 8, MEMORY: 64 * GB, ACCELERATOR: 4}), True), (built | {VCPU: 4}, False)):
        line = Line(current=built, asked=wanted, service="vm")
        if refused:
            with pytest.raises(Invalid, match=r"request\.fixed"):
                town.submit(kinds.RESIZE, resource_id=machine, lines=[line])
        else:
            town.grant({CPU: 8, MEM: 64 * GB}, "g", use=True)
            assert town.submit(kinds.RESIZE, resource_id=machine, lines=[line]).number


def test_what_is_not_recyclable_is_not_taken_back(town) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        kept = resource_classes.add(tx, "permit", "许可", Group.SECURITY, "套", recyclable=False).code
    held = Commodity(ClassCode(kept), Arch.ANY)
    what = Allotment(Act.RECLAIM, town.pool, held, town.department, 1, "清理")
    with pytest.raises(Invalid, match=r"class\.kept"), town.book.transaction(town.people["chief"]) as tx:
        allotments.carry_out(tx, what, key="k")


@pytest.mark.parametrize(
    ("service", "has", "wanted", "refused"),
    [
        ("volume", {BLOCK: 200}, {VCPU: 4}, "request.class_fits"),
        ("volume", {BLOCK: 200}, {BLOCK: 300}, ""),
        ("bandwidth", {BANDWIDTH: 10}, {MEMORY: 8 * GB}, "request.class_fits"),
        ("bandwidth", {BANDWIDTH: 10}, {BANDWIDTH: 20}, ""),
        ("object_store", {OBJECT: 100}, {BLOCK: 100}, "request.class_fits"),
        ("vm", {VCPU: 2, MEMORY: 4 * GB}, {BANDWIDTH: 5}, "request.class_fits"),
        ("vm", {VCPU: 2, MEMORY: 4 * GB}, {BLOCK: 100}, ""),  # a first disk
        ("eip", {EIP: 1}, {BANDWIDTH: 5}, "request.service"),
    ],
)
def test_a_resize_asks_for_what_such_a_thing_can_have(town, service, has, wanted, refused) -> None:
    """What fits gets as far as the pool, which need not have it."""
    resource = town.standing_machine(Amount(has), kind=service)
    line = Line(current=Amount(has), asked=Amount(wanted), service=service)
    code = ""
    try:
        town.submit(kinds.RESIZE, resource_id=resource, lines=[line])
    except OverCapacity:
        pass
    except Invalid as refusal:
        code = refusal.code
    assert code == refused
