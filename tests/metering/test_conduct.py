"""What keeps cases from doing harm: windows and freezes, protected tags, ceilings, suspension, whole systems, terms."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from metering import cases
from metering.cases import protections, suspensions, windows
from metering.cases.exemptions import Category
from metering.cases.steps import Answer, CaseAct, CaseState
from metering.cases.windows import WeeklyHours, next_open
from metering.judging import findings, policies
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.judging.shape_changes import worth
from metering.overview.whole_systems import WholeSystem
from providers.orders.tables import OrderState
from quota import units
from quota.calendar import ZONE
from quota.directory.departments import System
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.inventory import Resource
from quota.ledger import entries
from quota.ledger.tables import Holder
from quota.requests.tables import Request
from quota.units import VCPU, Commodity
from tests.city import City
from tests.city.cases import SHAPE
from tests.metering.conftest import CPU, judged_city

NIGHT = WeeklyHours(frozenset({6, 7}), 22 * 60, 6 * 60)
MONDAY = datetime(2026, 6, 1, 10, 0, tzinfo=ZONE)
BIG = {VCPU: 20, units.MEMORY: 40 * 1024}


@pytest.mark.parametrize(
    ("spans", "frozen", "moment", "opens"),
    [
        ([], [], MONDAY, MONDAY),
        ([NIGHT], [], MONDAY, datetime(2026, 6, 6, 22, 0, tzinfo=ZONE)),
        ([NIGHT], [], datetime(2026, 6, 7, 5, 0, tzinfo=ZONE), datetime(2026, 6, 7, 5, 0, tzinfo=ZONE)),
        ([NIGHT], [], datetime(2026, 6, 8, 5, 59, tzinfo=ZONE), datetime(2026, 6, 8, 5, 59, tzinfo=ZONE)),
        ([NIGHT], [], datetime(2026, 6, 8, 6, 0, tzinfo=ZONE), datetime(2026, 6, 13, 22, 0, tzinfo=ZONE)),
        ([NIGHT], [(date(2026, 6, 6), date(2026, 6, 6))], MONDAY, datetime(2026, 6, 7, tzinfo=ZONE)),
        ([], [(date(2026, 6, 1), date(2026, 6, 8))], MONDAY, datetime(2026, 6, 9, tzinfo=ZONE)),
        ([NIGHT], [(date(2026, 6, 1), date(2026, 12, 31))], MONDAY, None),
    ],
)
def test_the_next_opening_is_in_a_window_and_on_no_frozen_day(spans, frozen, moment, opens) -> None:
    assert next_open(spans, frozen, moment) == opens


def test_orders_wait_for_the_window_and_what_is_given_back_does_not(city: City) -> None:
    with city.by(city.supervisor) as tx:
        windows.set_window(tx, "67", 22 * 60, 6 * 60, city.pool)
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    (snapshot,) = city.orders(case_id)
    assert snapshot.next_try_at is None, "a snapshot takes nothing away"
    city.deliver(case_id)
    stop = city.orders(case_id)[-1]
    assert stop.verb == "stop"
    assert stop.next_try_at.astimezone(ZONE).isoformat() == "2026-06-06T22:00:00+08:00"
    city.deliver(case_id)  # by hand, in the window or not: the staff answers for it
    with city.by(city.tenant) as tx:
        cases.restore(tx, cases.case(tx, case_id))
    assert city.orders(case_id)[-1].next_try_at is None


def test_a_freeze_that_is_declared_later_holds_back_what_was_ordered(city: City) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    city.deliver(case_id)
    assert city.orders(case_id)[-1].next_try_at is None
    today = city.clock.now.astimezone(ZONE).date()
    with city.by(city.authority) as tx:
        row = windows.freeze(tx, today, today + timedelta(days=9), "国庆重保")
    city.advance(case_id)
    held = city.orders(case_id)[-1]
    assert held.state == OrderState.PENDING
    assert held.next_try_at.astimezone(ZONE).date() == today + timedelta(days=10)
    with city.by(city.supervisor) as tx:
        windows.lift(tx, windows.frozen(tx, row.id))
        assert windows.freezes(tx) == []
        with pytest.raises(WrongState):
            windows.lift(tx, windows.frozen(tx, row.id))


@pytest.mark.parametrize(
    ("days", "begins", "ends"), [("", 0, 60), ("8", 0, 60), ("1", 60, 60), ("1", -1, 60), ("1", 0, 1441)]
)
def test_a_window_that_is_none_is_refused(city: City, days: str, begins: int, ends: int) -> None:
    with city.by(city.supervisor) as tx, pytest.raises(Invalid):
        windows.set_window(tx, days, begins, ends)


def test_a_tag_protects_whoever_wears_it_before_and_during_a_case(city: City) -> None:
    worn = city.machine(tags={"Level": "Core"})
    other = city.machine(tags={"level": "test"})
    with city.by(city.supervisor) as tx:
        row = protections.add(tx, "level", "core", "核心业务系统")
        with pytest.raises(Conflict):
            protections.add(tx, "LEVEL", "CORE", "再来一次")
    assert len(city.open({worn: Verdict.IDLE, other: Verdict.IDLE})) == 1
    with city.by(city.supervisor) as tx:
        protections.lift(tx, protections.tag(tx, row.id))
    (case_id,) = city.open({worn: Verdict.IDLE})
    with city.by(city.supervisor) as tx:
        protections.add(tx, "level", "", "凡有级别者")
    city.advance()
    assert city.see(case_id).ending == "protected"
    assert city.orders(case_id) == []


def test_a_version_whose_regret_passes_its_limit_is_suspended_and_says_so(book, clock) -> None:
    city = judged_city(book, clock, Procedure(regret_least=2, regret_limit=0.5, backoff_days=1))
    waiting = city.cleared(Verdict.IDLE)
    for _ in range(2):
        case_id = city.cleared(Verdict.IDLE)
        city.act(case_id)
        city.deliver(case_id)
        city.deliver(case_id)
        assert city.see(case_id).state == CaseState.WATCHED
        with city.by(city.tenant) as tx:
            cases.restore(tx, cases.case(tx, case_id))
    with city.by() as tx:
        done = cases.advance(tx)
        assert done.suspended == [city.policy]
        row = suspensions.holding(tx, city.policy)
        assert (row.acted, row.regretted, row.limit) == (2, 2, 0.5)
    with city.by(city.supervisor) as tx, pytest.raises(WrongState) as refused:
        cases.act(tx, cases.case(tx, waiting))
    assert refused.value.code == "case.suspended"
    fresh = city.machine()
    assert city.open({fresh: Verdict.IDLE}) == []
    with city.by(city.supervisor) as tx, pytest.raises(NotAllowed):
        suspensions.lift(tx, suspensions.suspension(tx, row.id), "督导不能恢复")
    with city.by(city.authority) as tx:
        suspensions.lift(tx, suspensions.suspension(tx, row.id), "已核实为演练造成")
    city.advance()
    with city.by() as tx:
        assert suspensions.holding(tx, city.policy) is None, "what was regretted before is not counted again"
    assert city.act(waiting) == CaseState.ORDERED


def test_a_ceiling_counts_what_is_taken_not_only_how_often(book, clock) -> None:
    city = judged_city(
        book, clock, Procedure(worth_per_run=2.5 * worth(SHAPE), worth_per_department=1.5 * worth(SHAPE))
    )
    own, more = city.machine(), city.machine()
    theirs, again = city.machine(department_id=city.other), city.machine(department_id=city.other)
    opened = city.open(dict.fromkeys((own, more, theirs, again), Verdict.IDLE))
    with city.by() as tx:
        assert [tx.get_one(cases.Case, one).resource_id for one in opened] == [own, theirs]


def test_a_case_is_opened_by_hand_from_a_finding_and_only_where_one_may_be(city: City) -> None:
    idle, exempted, normal = city.machine(), city.machine(protected=True), city.machine()
    run = city.judge({idle: Verdict.IDLE, exempted: Verdict.IDLE, normal: Verdict.NORMAL})
    with city.by(city.supervisor) as tx:
        found = {one.resource_id: one for one in cases_findings(tx, run)}
        one = cases.open_one(tx, found[idle])
        assert (one.state, one.kind, one.resource_id) == (CaseState.DETECTED, "reclaim", idle)
        for resource_id, why in ((idle, "已有在办案件"), (exempted, "受保护"), (normal, "不需要立案")):
            with pytest.raises(WrongState) as refused:
                cases.open_one(tx, found[resource_id])
            assert why in str(refused.value)
    with city.by(city.tenant) as tx, pytest.raises(NotAllowed):
        cases.open_one(tx, found[idle])
    city.judge({idle: Verdict.NORMAL})
    with city.by(city.supervisor) as tx, pytest.raises(WrongState) as refused:
        cases.open_one(tx, tx.merge(found[idle]))
    assert refused.value.code == "case.old_finding"


def cases_findings(tx, run: int):
    return findings.of_run(tx, findings.assessment(tx, run))


# ------------------------------------------------------------------------------------------------------ whole systems


def test_a_system_has_slack_when_its_idle_machines_outnumber_its_busy_ones() -> None:
    whole = WholeSystem()
    whole.take(Verdict.BUSY, 8, 85.0)
    assert not whole.has_slack(40)
    for _ in range(9):
        whole.take(Verdict.IDLE, 8, 2.0)
    assert whole.mean_cpu == pytest.approx(10.3)
    assert whole.has_slack(40)
    assert not whole.has_slack(10)
    silent = WholeSystem()
    silent.take(Verdict.BUSY, 8, None)
    silent.take(Verdict.IDLE, 8, None)
    assert not silent.has_slack(40), "unknown is not slack"


def test_a_busy_machine_beside_idle_ones_of_its_system_is_no_shortage(city: City) -> None:
    with city.by() as tx:
        system = System(code="s1", name="办事系统", department_id=city.department)
        tx.add(system)
        tx.flush()
        system_id = system.id
    busy = city.machine(system_id=system_id)
    spare = [city.machine(system_id=system_id) for _ in range(2)]
    alone = city.machine()
    verdicts = {busy: Verdict.BUSY, alone: Verdict.BUSY, **dict.fromkeys(spare, Verdict.IDLE)}
    city.open(verdicts, target=BIG, means={busy: 85.0, **dict.fromkeys(spare, 3.0)})
    with city.by() as tx:
        assert cases.open_case(tx, busy) is None
        assert cases.open_case(tx, alone).kind == "expand"
        assert cases.open_case(tx, spare[0]).kind == "reclaim"


# -------------------------------------------------------------------------------------------------- temporary growth


def lent(city: City, days: int, target=None) -> int:
    """An expansion that the department wants for a term. Returns the case's id."""
    with city.by() as tx:
        entries.grant(tx, city.pool, city.department, {CPU: 40, MEMORY: 80 * 1024}, key=f"more:{city.machines}")
    case_id = city.noticed(Verdict.BUSY, target=target or {VCPU: 32, units.MEMORY: 64 * 1024})
    with city.by(city.tenant) as tx:
        until = tx.now.astimezone(ZONE).date() + timedelta(days=days)
        cases.reply(tx, cases.case(tx, case_id), Answer.AGREE, until=until)
    return case_id


MEMORY = Commodity(units.MEMORY, CPU.arch)


def test_temporary_growth_returns_by_itself(city: City) -> None:
    case_id = lent(city, 10)
    assert city.see(case_id).state == CaseState.CLEARED
    free = city.balance(Holder.GRANTED)
    city.act(case_id)
    assert city.balance(Holder.GRANTED) == free - 16
    assert city.deliver(case_id) == CaseState.WATCHED
    machine = city.see(case_id).resource_id
    with city.by() as tx:
        assert tx.get_one(Resource, machine).amounts["vcpu"] == 32
    assert city.advance(case_id, days=10) == CaseState.WATCHED, "its last day is its own"
    city.clock.advance(days=1)
    city.judge({machine: Verdict.NORMAL})
    assert city.advance(case_id) == CaseState.ORDERED
    assert city.deliver(case_id) == CaseState.CLOSED
    assert city.see(case_id).ending == "term_over"
    with city.by() as tx:
        assert tx.get_one(Resource, machine).amounts == {"vcpu": 16, "memory": 32 * 1024}
    assert city.balance(Holder.GRANTED) == free


@pytest.mark.parametrize("days", [0, 31])
def test_a_term_is_at_most_thirty_days(city: City, days: int) -> None:
    with pytest.raises(Invalid):
        lent(city, days)


def test_growth_too_large_even_for_a_term_becomes_a_request_with_that_term(city: City) -> None:
    case_id = lent(city, 10, {VCPU: 64, units.MEMORY: 128 * 1024})
    one = city.see(case_id)
    assert one.ending == "requested"
    with city.by() as tx:
        request = tx.get_one(Request, one.request_id)
        assert (request.state, request.use_until) == ("draft", tx.now.astimezone(ZONE).date() + timedelta(days=10))


def test_who_is_still_busy_at_the_end_of_the_term_is_not_made_smaller_by_itself(city: City) -> None:
    case_id = lent(city, 10)
    city.act(case_id)
    city.deliver(case_id)
    machine = city.see(case_id).resource_id
    city.clock.advance(days=11)
    city.judge({machine: Verdict.BUSY})
    assert city.advance(case_id) == CaseState.STRAINED
    assert city.advance(case_id, days=40) == CaseState.STRAINED
    with city.by(city.tenant) as tx, pytest.raises(NotAllowed):
        cases.keep(tx, cases.case(tx, case_id))
    with city.by(city.supervisor) as tx:
        one = cases.case(tx, case_id)
        assert {CaseAct.KEEP, CaseAct.ROLL_BACK} <= set(cases.acts(one, city.supervisor))
        assert CaseAct.KEEP not in cases.acts(one, city.tenant)
        cases.keep(tx, one)
    assert city.see(case_id).ending == "expanded"


def test_an_exempt_machine_keeps_its_temporary_growth_until_the_exemption_ends(city: City) -> None:
    case_id = lent(city, 5)
    city.act(case_id)
    city.deliver(case_id)
    machine = city.see(case_id).resource_id
    with city.by(city.authority) as tx:
        until = tx.now.astimezone(ZONE).date() + timedelta(days=20)
        cases.exempt(tx, tx.get_one(Resource, machine), Category.KEY_PERIOD, "重保期间不得变更该机的任何配置", until)
    assert city.advance(case_id, days=6) == CaseState.WATCHED
    assert "豁免" in city.see(case_id).reason
    city.clock.advance(days=16)
    city.judge({machine: Verdict.NORMAL})
    assert city.advance(case_id) == CaseState.ORDERED


def test_a_procedure_of_before_reads_with_our_defaults() -> None:
    old = {
        name: value for name, value in Procedure().to_json().items() if name not in ("temporary_days", "regret_limit")
    }
    assert Procedure.from_json(old) == Procedure()
    assert replace(Procedure(), regret_limit=0.2).to_json()["regret_limit"] == 0.2
    assert policies.PolicyVersion(procedure=old).rules().temporary_days == 30
