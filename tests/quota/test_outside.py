"""What is outside the cloud: who says what of it, what decides on it and when it must move, what a merger takes along; rules that oblige."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from quota.actors import steward
from quota.calendar import ZONE
from quota.directory import Adjustment, FacilityState, OutsideFacility, outside, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.requests import Decision, RequestKind, declarations, rulebook, rules
from quota.requests.declarations import About, EntryRegister, Lines
from quota.requests.rules import Rule, RuleOutcome
from tests.city import City

FACTS = {"name": "档案楼机房", "kind": "room", "place": "三层", "size": "8 个机柜"}
PLAN = {"plan": "一年内迁入政务云"}


def today(town: City) -> date:
    return town.book.clock().astimezone(ZONE).date()


def registered(town: City, by: str = "clerk", systems: tuple[int, ...] = (), **other: Any) -> OutsideFacility:
    with town.book.transaction(town.people[by]) as tx:
        return outside.register(tx, other.pop("department", town.bureau), FACTS | other, systems)


def asked(town: City, one: OutsideFacility, **other: Any) -> Any:
    return town.submit(declarations.declared("outside"), entry_id=one.id, fields=PLAN, **other)


def now(town: City, one: OutsideFacility) -> OutsideFacility:
    with town.book.reading() as tx:
        return tx.get_one(OutsideFacility, one.id)


def oblige(town: City, **ending: Any) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        rulebook.enact(
            tx, "moves", "限期迁移", {"fact": "outside", "op": "!=", "value": ""}, [], basis="试",
            effective_from=today(town), outcome=RuleOutcome.OBLIGE, ending=ending,
        )  # fmt: skip


def test_it_is_decided_once_and_what_is_decided_on_stays_as_it_is(town: City) -> None:
    one = registered(town)
    request = asked(town, one)
    assert (request.entry_called, request.facts["outside"]) == ("档案楼机房", "room")
    with pytest.raises(Conflict, match=r"request\.entry_busy"):
        asked(town, one)
    for verb in (
        lambda tx: outside.amend(tx, one.id, FACTS | {"name": "别的"}, generation=1),
        lambda tx: outside.leave(tx, one.id, today(town), "已迁", generation=1),
    ):
        with pytest.raises(Conflict, match=r"outside\.under_way"), town.book.transaction(town.people["checker"]) as tx:
            verb(tx)
    town.approve(request)
    assert now(town, one).state(today(town)) is FacilityState.RECOGNISED
    with pytest.raises(Invalid, match=r"outside\.for_good"):
        asked(town, one)


def test_a_rejection_obliges_by_the_rules_that_it_was_handed_in_under(town: City, clock: Any) -> None:
    oblige(town, limit=30, unit="days")
    one = registered(town)
    request = asked(town, one)
    with town.book.transaction(town.people["chief"]) as tx:  # from tomorrow on: not for what was handed in
        rulebook.enact(
            tx, "moves", "限期迁移", {"fact": "outside", "op": "!=", "value": ""}, [], basis="试",
            effective_from=today(town) + timedelta(days=1), outcome=RuleOutcome.OBLIGE, ending={"limit": 2, "unit": "days"},
        )  # fmt: skip
    clock.advance(days=1)
    town.sign(request, "checker", Decision.REJECT, reason="不达标")
    found = now(town, one)
    assert (found.state(today(town)), found.move_by) == (FacilityState.MOVING, today(town) + timedelta(days=30))
    clock.advance(days=31)
    assert found.state(today(town)) is FacilityState.LATE
    with town.book.reading() as tx:
        rows = {
            state: tx.query(OutsideFacility).filter(outside.in_state(state, today(town))).count()
            for state in FacilityState
        }
    assert rows == {state: int(state is FacilityState.LATE) for state in FacilityState}
    town.sign(asked(town, one), "checker", Decision.REJECT, reason="仍不达标")  # asking again puts nothing off
    assert now(town, one).move_by == found.move_by
    assert now(town, one).state(today(town)) is FacilityState.LATE
    town.approve(asked(town, one))  # better late: asked anew, it may stay
    assert (now(town, one).state(today(town)), now(town, one).move_by) == (FacilityState.RECOGNISED, None)


def test_who_may_say_what(town: City) -> None:
    one = registered(town)
    with pytest.raises(NotAllowed, match=r"outside\.not_yours"):
        registered(town, department=town.neighbour)
    with pytest.raises(Invalid, match=r"outside\.system"):
        registered(town, systems=(99_999,), name="另一个机房")
    for wrong in ({"name": " "}, {"place": ""}):
        with pytest.raises(Invalid, match=r"outside\.empty"):
            registered(town, **wrong)
    with pytest.raises(Invalid, match=r"outside\.kind"):
        registered(town, kind="moon")
    with pytest.raises(NotFound, match=r"outside\.none"):
        asked(town, OutsideFacility(id=one.id + 7))
    with pytest.raises(Invalid, match=r"request\.entry\b"):
        town.submit(declarations.declared("outside"), fields=PLAN)
    with pytest.raises(Invalid, match=r"request\.entry\b"):
        asked(town, OutsideFacility(id=None))
    with pytest.raises(WrongState, match=r"outside\.not_refused"), town.book.transaction(town.people["chief"]) as tx:
        outside.set_day(tx, one.id, today(town), "试", generation=1)
    with pytest.raises(NotAllowed), town.book.transaction(town.people["clerk"]) as tx:
        outside.leave(tx, one.id, today(town), "已迁", generation=1)
    with pytest.raises(Conflict, match=r"outside\.stale"), town.book.transaction(town.people["checker"]) as tx:
        outside.leave(tx, one.id, today(town), "已迁", generation=2)
    with pytest.raises(Invalid, match=r"outside\.to_come"), town.book.transaction(town.people["checker"]) as tx:
        outside.leave(tx, one.id, today(town) + timedelta(days=1), "已迁", generation=1)


def test_the_share_on_the_cloud_and_a_merger(town: City) -> None:
    one = registered(town, systems=(town.system,))
    with town.book.reading(steward()) as tx:
        on, total = outside.on_the_cloud(tx, today(town))
        assert outside.on_the_cloud(tx, today(town), {town.bureau}) == (0, 1)
        assert total - on == 1
    with town.book.transaction(town.people["checker"]) as tx:
        outside.leave(tx, one.id, today(town), "已迁入政务云", generation=1)
    with town.book.reading(steward()) as tx:
        assert outside.on_the_cloud(tx, today(town)) == (total, total)
    with town.book.transaction(town.people["checker"]) as tx:
        outside.reopen(tx, one.id, "误记", generation=2)
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="one")
    assert now(town, one).department_id == town.neighbour


def test_rules_that_oblige_say_a_time_and_nothing_else() -> None:
    day = date(2026, 6, 1)
    level = {"fact": "outside", "op": "==", "value": "room"}

    def at(code: str, priority: int, **ending: Any) -> Rule:
        return Rule(code, 1, day, priority, level, (), RuleOutcome.OBLIGE, ending=ending)

    two = [at("a", 10, limit=3, unit="months"), at("b", 20, limit=250)]
    found = rules.obligation({"outside": "room"}, two, day)
    assert found is not None
    assert (found.limit, found.unit, found.rule) == (250, "working_days", "b@1")
    assert rules.obligation({"outside": "cloud"}, two, day) is None
    assert rules.obligation({}, two, day) is None  # not known obliges nobody
    assert rules.judge({"outside": "room"}, two, day).path == []
    for wrong in (
        {}, {"limit": 0, "unit": "days"}, {"limit": True}, {"limit": 25, "unit": "months"}, {"limit": 5, "unit": "hours"},
        {"limit": 5, "unit": 5}, {"limit": 1, "then": "case"}, {"limit": 1.5}, {"limit": 367, "unit": "days"}, [],
    ):  # fmt: skip
        with pytest.raises(Invalid):
            rules.check(level, [], RuleOutcome.OBLIGE, "", wrong)  # type: ignore[arg-type]
    with pytest.raises(Invalid):
        rules.check(level, [{"name": "delivery"}], RuleOutcome.OBLIGE, "", {"limit": 1})
    with pytest.raises(Invalid):
        rules.check(level, [], RuleOutcome.REFUSE, "不行", {"limit": 1})


def test_a_kind_about_an_entry_names_its_register() -> None:
    register = EntryRegister("云外资源", outside.facility, outside.named)
    for says in (
        {"about": About.ENTRY}, {"register": register}, {"about": About.ENTRY, "register": register, "lines": Lines()},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="register"):
            declarations.register(RequestKind(code="other", label="别的", position=99, **says))
    assert not declarations.declared("outside").lasting
