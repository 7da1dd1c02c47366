"""Funded projects: who keeps and who closes them, what makes no sense, what rules see of them, and what a merger takes along."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from quota.actors import steward
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.directory import Adjustment, FundedProject, ProjectState, System, funded_projects, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, Refused, WrongState
from quota.requests import rulebook
from quota.requests.rules import RuleOutcome
from tests.city import City

FACTS: dict[str, Any] = {
    "approval_number": "数发〔2026〕12 号", "name": "一网通办二期", "funds": Decimal("3600000.50"), "funding": "本级财政",
    "approved_on": date(2026, 1, 5), "due_on": date(2026, 12, 31),
}  # fmt: skip


def today(town: City) -> date:
    return town.book.clock().astimezone(ZONE).date()


def registered(town: City, by: str = "clerk", **other: Any) -> FundedProject:
    facts = {
        **FACTS,
        "approved_on": today(town) - timedelta(days=30),
        "due_on": today(town) + timedelta(days=60),
    } | other
    with town.book.transaction(town.people[by]) as tx:
        return funded_projects.register(tx, facts.pop("department", town.bureau), facts)


def linked(town: City, one: FundedProject, by: str = "clerk") -> None:
    with town.book.transaction(town.people[by]) as tx:
        funded_projects.attach(tx, one.id, [town.system])


def closed(town: City, verb: Any, one: FundedProject, by: str = "checker", **other: Any) -> FundedProject:
    with town.book.transaction(town.people[by]) as tx:
        generation = tx.get_one(FundedProject, one.id).generation
        return verb(tx, one.id, other.get("on", today(town)), other.get("note", "符合批复"), generation=generation)


def reopened(town: City, one: FundedProject, by: str = "checker") -> FundedProject:
    with town.book.transaction(town.people[by]) as tx:
        return funded_projects.reopen(tx, one.id, "误记", generation=tx.get_one(FundedProject, one.id).generation)


def test_a_project_from_its_register_to_acceptance_and_back(town: City, clock: Any) -> None:
    one = registered(town)
    assert (one.funds, one.state(today(town))) == (Decimal("3600000.50"), ProjectState.RUNNING)
    clock.advance(days=61)
    assert one.state(today(town)) is ProjectState.LATE
    done = closed(town, funded_projects.accept, one)
    assert (done.state(today(town)), done.note) == (ProjectState.ACCEPTED, "符合批复")
    with pytest.raises(WrongState, match=r"project\.closed"):
        closed(town, funded_projects.end, one)
    assert reopened(town, one).state(today(town)) is ProjectState.LATE
    with pytest.raises(WrongState, match=r"project\.open"):
        reopened(town, one)
    assert closed(town, funded_projects.end, one).state(today(town)) is ProjectState.ENDED


def test_what_makes_no_sense_is_refused_and_nothing_is_kept(town: City) -> None:
    refusals: list[tuple[dict[str, Any], type[Refused], str]] = [
        ({"approval_number": "  "}, Invalid, "project.empty"),
        ({"funding": ""}, Invalid, "project.empty"),
        ({"funds": Decimal("-1")}, Invalid, "project.funds"),
        ({"funds": Decimal("1.005")}, Invalid, "project.funds"),
        ({"funds": Decimal("NaN")}, Invalid, "project.funds"),
        ({"funds": Decimal(10) ** 13}, Invalid, "project.funds"),
        ({"funds": None}, Invalid, "project.funds"),
        ({"due_on": None}, Invalid, "project.days"),
        ({"due_on": date(2020, 1, 1)}, Invalid, "project.order"),
        ({"by": "stranger"}, NotAllowed, "project.not_yours"),
        ({"by": "operator"}, NotAllowed, "project.not_yours"),
    ]
    for change, refused, code in refusals:
        with pytest.raises(refused) as told:
            registered(town, **change)
        assert told.value.code == code
    with town.book.reading() as tx:
        assert tx.query(FundedProject).count() == 0
    registered(town)
    with pytest.raises(Conflict, match=r"project\.taken"):
        registered(town, by="checker", name="另一个")


def test_who_may_see_correct_and_close(town: City) -> None:
    one = registered(town)
    for who in ("operator", "clerk"):
        with pytest.raises(NotAllowed, match=r"role\.missing"):
            closed(town, funded_projects.accept, one, by=who)
    for day in (today(town) + timedelta(days=1), one.approved_on - timedelta(days=1)):
        with pytest.raises(Invalid, match=r"project\.day"):
            closed(town, funded_projects.accept, one, on=day)
    with pytest.raises(Invalid, match=r"project\.note"):
        closed(town, funded_projects.accept, one, note=" ")
    facts = {name: getattr(one, name) for name in funded_projects.FIELDS} | {"name": "一网通办三期"}
    with town.book.transaction(town.people["stranger"]) as tx, pytest.raises(NotFound):
        funded_projects.amend(tx, one.id, facts, generation=1)
    with town.book.transaction(town.people["clerk"]) as tx:
        assert funded_projects.amend(tx, one.id, facts, generation=1).name == "一网通办三期"
    with town.book.transaction(town.people["clerk"]) as tx, pytest.raises(Conflict, match=r"project\.stale"):
        funded_projects.amend(tx, one.id, facts, generation=1)


def test_systems_are_linked_once_and_only_the_departments_own(town: City) -> None:
    one = registered(town)
    for _ in range(2):
        linked(town, one)
    with town.book.transaction(steward()) as tx:
        other = System(code="n1", name="邻局系统", department_id=town.neighbour)
        tx.add(other)
        tx.flush()
        foreign = other.id
    with town.book.transaction(town.people["checker"]) as tx, pytest.raises(Invalid, match=r"project\.system"):
        funded_projects.attach(tx, one.id, [foreign])
    with town.book.transaction(town.people["clerk"]) as tx:
        assert [system.id for system in funded_projects.project(tx, one.id).systems] == [town.system]
        assert funded_projects.detach(tx, one.id, town.system).systems == []
    with town.book.transaction(town.people["clerk"]) as tx, pytest.raises(NotFound, match=r"project\.not_its"):
        funded_projects.detach(tx, one.id, town.system)


def test_rules_see_the_project_of_the_requests_system(town: City, clock: Any) -> None:
    with town.book.transaction(steward()) as tx:
        rulebook.enact(
            tx, "funded", "立项在建", {"not": {"fact": "project", "op": "==", "value": "running"}}, [],
            effective_from=today(town), priority=90, outcome=RuleOutcome.REFUSE, reason="没有在建的立项项目",
        )  # fmt: skip
    with pytest.raises(Refused, match="rule"):
        town.submit(system_id=town.system)
    one = registered(town)
    linked(town, one)
    request = town.submit(system_id=town.system)
    assert (request.facts["project"], request.facts["project_days_left"]) == ("running", 60)
    closed(town, funded_projects.accept, one)
    with pytest.raises(Refused, match="rule"):
        town.submit(system_id=town.system)
    newer = registered(town, approval_number="数发〔2026〕40 号", due_on=today(town) + timedelta(days=5))
    linked(town, newer)
    assert town.submit(system_id=town.system).facts["project_days_left"] == 5  # the one that runs counts
    clock.advance(days=6)
    with pytest.raises(Refused, match="rule"):
        town.submit(system_id=town.system)


def test_of_what_is_closed_or_late_the_steward_alone_says_which_systems(town: City, clock: Any) -> None:
    one = registered(town)
    linked(town, one)

    def detached(by: str) -> None:
        with town.book.transaction(town.people[by]) as tx:
            funded_projects.detach(tx, one.id, town.system)

    clock.advance(days=61)
    with pytest.raises(NotAllowed, match=r"project\.links"):
        detached("clerk")
    closed(town, funded_projects.accept, one)
    for act in (detached, lambda by: linked(town, one, by)):
        with pytest.raises(NotAllowed, match=r"project\.links"):
            act("clerk")
    detached("checker")
    linked(town, one, "chief")


def test_a_project_is_put_off_with_a_reason_and_once_it_is_late_by_the_steward(town: City, clock: Any) -> None:
    one = registered(town)

    def put_off(by: str, days: int, reason: str = "") -> FundedProject:
        with town.book.transaction(town.people[by]) as tx:
            now = tx.get_one(FundedProject, one.id)
            facts = {name: getattr(now, name) for name in funded_projects.FIELDS}
            facts["due_on"] = now.due_on + timedelta(days=days)
            return funded_projects.amend(tx, one.id, facts, generation=now.generation, reason=reason)

    with pytest.raises(Invalid, match=r"project\.postponed"):
        put_off("clerk", 10, " ")
    put_off("clerk", 10, "招标流标")
    put_off("clerk", -10)
    clock.advance(days=61)
    with pytest.raises(NotAllowed, match=r"project\.late"):
        put_off("clerk", 10, "招标流标")
    assert put_off("checker", 10, "经批准延期").state(today(town)) is ProjectState.RUNNING
    with town.book.reading() as tx:
        reasons = select(AuditRecord.reason).where(AuditRecord.action == "project.amend").order_by(AuditRecord.sequence)
        assert list(tx.scalars(reasons)) == ["招标流标", "", "经批准延期"]


def test_a_system_that_changed_hands_is_not_judged_by_its_former_owners_project(town: City) -> None:
    linked(town, registered(town))
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(
            tx, Adjustment.SYSTEMS, town.bureau, town.branch, system_ids=[town.system], reason="三定方案", key="down"
        )
    with town.book.reading() as tx:  # one above keeps it
        assert len(funded_projects.counted(tx, tx.get_one(System, town.system))) == 1
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(
            tx, Adjustment.SYSTEMS, town.branch, town.neighbour, system_ids=[town.system], reason="三定方案", key="off"
        )
    request = town.submit(by="stranger", department_id=town.neighbour, system_id=town.system)
    assert (request.facts["project"], request.facts["project_days_left"]) == ("none", None)


def test_a_merger_takes_projects_along_and_brings_them_back(town: City) -> None:
    one = registered(town, department=town.branch)
    with town.book.transaction(town.people["chief"]) as tx:
        batch = reorganisations.reorganise(
            tx, Adjustment.MERGE, town.branch, town.neighbour, reason="机构改革", key="m"
        )
    with town.book.reading() as tx:
        assert tx.get_one(FundedProject, one.id).department_id == town.neighbour
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.undo(tx, batch.id, reason="方案调整")
    with town.book.reading() as tx:
        assert tx.get_one(FundedProject, one.id).department_id == town.branch
