"""Cases of each kind as stories: notice and reply, acting once, having it back, and the end with a certificate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from metering import cases
from metering.cases import certificates, deadlines, exemptions, notices
from metering.cases.exemptions import Category
from metering.cases.figures import backoff
from metering.cases.steps import Answer, CaseAct, CaseState, Consent, Ending, Matter, RulingDecision, orders
from metering.judging import findings
from metering.judging.policy import Verdict
from metering.judging.procedure import CaseKind, Procedure
from metering.judging.shape_changes import gentler
from providers import observation
from providers import orders as delivery
from providers.adapters.simulated.cloud import SimulatedCloud
from providers.base import Inventory, ResourceState, ServiceKind, Verb
from quota import attachments, audit
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory.pools import Pool
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState
from quota.inventory import Resource
from quota.ledger import entries
from quota.ledger.tables import Holder
from quota.requests.tables import Request
from quota.units import BLOCK, EIP, MEMORY, NOTHING, VCPU, Amount
from tests.metering.cloud import Cloud
from tests.patience import PATIENCE

REASON = "该机承载月末结算业务,不能回收"
SMALL_SHAPE = {VCPU: 32, MEMORY: 65536}


# ------------------------------------------------------------------------------------------------------ whole stories


def test_an_idle_machine_goes_step_by_step_to_a_certificate(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.IDLE, machine)
    assert city.act(case_id) == CaseState.ORDERED
    assert city.deliver(case_id) == CaseState.ORDERED  # the snapshot, then the stop
    assert city.deliver(case_id) == CaseState.WATCHED
    assert city.balance(Holder.USED) == 16  # what is off is still the department's
    assert city.advance(case_id, days=14, hours=23) == CaseState.WATCHED
    assert city.advance(case_id, hours=2) == CaseState.ORDERED
    assert city.deliver(case_id) == CaseState.BINNED
    assert city.advance(case_id, days=29, hours=23) == CaseState.BINNED
    assert city.advance(case_id, hours=2) == CaseState.CONFIRMING
    with city.by(city.supervisor) as tx:
        one = cases.case(tx, case_id)
        cases.confirm_deletion(tx, one, generation=one.generation)
        assert one.state == CaseState.CONFIRMING
    with city.by(city.authority) as tx:
        cases.confirm_deletion(tx, cases.case(tx, case_id))
    assert city.balance(Holder.USED) == 16  # confirmed is not yet deleted
    assert city.deliver(case_id) == CaseState.CLOSED

    assert city.verbs(case_id) == ["snapshot", "stop", "recycle", "delete"]
    assert (city.balance(Holder.USED), city.balance(Holder.GRANTED), city.balance(Holder.FREE)) == (0, 0, 2000)
    with city.book.reading() as tx:
        one = cases.case(tx, case_id)
        assert (one.ending, one.freed) == (Ending.DELETED, {"vcpu": 16, "memory": 32768})
        paper = certificates.of_case(tx, one)
        assert paper is not None
        assert paper.genuine()
        assert paper.figures["before"] == {"vcpu": 16, "memory": 32768}
        assert [each["by"] for each in paper.figures["confirmed_by"]] == ["wang", "zhao"]
        assert [each["verb"] for each in paper.figures["orders"]] == ["snapshot", "stop", "recycle", "delete"]
        stopped, recycled = (datetime.fromisoformat(paper.figures[name]) for name in ("effective_at", "recycled_at"))
        assert recycled - stopped >= timedelta(days=15)
        assert paper.charged_until - recycled >= timedelta(days=30)
        assert [
            row.command
            for row in tx.scalars(entries.select(entries.Transfer).where(entries.Transfer.subject == one.subject))
        ] == ["reclaim"]
        assert list(audit.check(tx)) == []
        assert {row.action for row in cases.timeline(tx, one)} >= {
            "case.open",
            "case.review",
            "case.issue",
            "case.reply",
            "case.order",
            "case.watch",
            "case.bin",
            "case.ripen",
            "case.confirm_deletion",
            "case.close",
            "certificate.issue",
        }


def test_a_shrink_is_watched_and_then_goes_to_the_city(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.UNDERUSED, machine)
    city.act(case_id)
    assert city.deliver(case_id) == CaseState.ORDERED
    assert city.deliver(case_id) == CaseState.WATCHED
    # Smaller at once, but what it gave up is kept for the department while it is watched.
    assert (city.balance(Holder.USED), city.balance(Holder.HELD), city.balance(Holder.GRANTED)) == (4, 12, 0)
    assert city.advance(case_id, days=7) == CaseState.WATCHED  # no data of these days yet: not judged by silence
    city.judge({machine: Verdict.NORMAL}, p95=40)
    assert city.advance(case_id) == CaseState.CLOSED
    one = city.see(case_id)
    assert (one.ending, one.freed) == (Ending.SHRUNK, {"vcpu": 12, "memory": 24 * 1024})
    assert (city.balance(Holder.USED), city.balance(Holder.HELD), city.balance(Holder.GRANTED)) == (4, 0, 0)
    assert city.balance(Holder.FREE) == 2000 - 4
    with city.book.reading() as tx:
        assert certificates.of_case(tx, one) is not None
        assert cases.regret(tx).rate == 0.0
        assert sum(cases.recoveries.recoveries(tx).recovered.values()) == 12 + 24 * 1024


def test_a_strained_machine_is_proposed_for_rollback_and_has_its_shape_again(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.UNDERUSED, machine)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    city.clock.advance(days=4)
    city.judge({machine: Verdict.NORMAL}, p95=95)  # its 7-day window still holds days in the old shape
    assert city.advance(case_id) == CaseState.WATCHED
    city.clock.advance(days=4)
    city.judge({machine: Verdict.NORMAL}, p95=80.5)
    assert city.advance(case_id) == CaseState.STRAINED
    assert CaseAct.ROLL_BACK in cases.acts(city.see(case_id), city.tenant)
    with city.by(city.supervisor) as tx:
        cases.roll_back(tx, cases.case(tx, case_id))
    assert city.deliver(case_id) == CaseState.CLOSED
    one = city.see(case_id)
    assert (one.ending, one.resource.amounts, one.freed) == (
        Ending.ROLLED_BACK,
        {"vcpu": 16, "memory": 32768},
        {},
    )
    assert (city.balance(Holder.USED), city.balance(Holder.HELD), city.balance(Holder.GRANTED)) == (16, 0, 0)
    with city.book.reading() as tx:
        regret = cases.regret(tx, city.policy)
        assert (regret.acted, regret.regretted, regret.rate) == (1, 1, 1.0)


def test_a_watch_without_data_lasts_twice_as_long_and_no_longer(city) -> None:
    case_id = city.cleared(Verdict.UNDERUSED)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    assert city.advance(case_id, days=13) == CaseState.WATCHED
    assert city.advance(case_id, days=1, minutes=1) == CaseState.CLOSED
    assert "没有足够的监测数据" in city.see(case_id).reason


def test_a_small_expansion_takes_the_fast_track(city) -> None:
    machine = city.machine()
    with city.by() as tx:
        entries.grant(tx, city.pool, city.department, {entries.Commodity.parse("vcpu:x86_64"): 10}, key="spare")
    case_id = city.cleared(Verdict.BUSY, machine, target={VCPU: 20})
    assert city.see(case_id).state == CaseState.CLEARED
    city.act(case_id)
    assert (city.balance(Holder.USED), city.balance(Holder.GRANTED)) == (20, 6)
    assert city.deliver(case_id) == CaseState.CLOSED
    one = city.see(case_id)
    assert (one.ending, one.freed, one.resource.booked["vcpu"]) == (Ending.EXPANDED, {"vcpu": 4}, 20)
    assert city.verbs(case_id) == ["resize"]


@pytest.mark.parametrize("target", [20, 32])
def test_a_larger_expansion_becomes_a_draft_in_the_departments_name(city, target: int) -> None:
    # 20: a quarter more but no quota left; 32: quota, but twice as much.
    machine = city.machine()
    if target == 32:
        with city.by() as tx:
            entries.grant(tx, city.pool, city.department, {entries.Commodity.parse("vcpu:x86_64"): 64}, key="spare")
    case_id = city.cleared(Verdict.OVERLOADED, machine, target={VCPU: target})
    one = city.see(case_id)
    assert (one.state, one.ending) == (CaseState.CLOSED, Ending.REQUESTED)
    with city.book.reading(city.tenant) as tx:
        request = tx.get_one(Request, one.request_id)
        assert (request.state, request.department_id, request.resource_id) == ("draft", city.department, machine)
        assert request.lines[0].asked == {"vcpu": target, "memory": 32768}
    assert city.orders(case_id) == []


def test_an_address_and_a_volume_need_no_power_off(city) -> None:
    volume = city.machine({BLOCK: 500}, ServiceKind.VOLUME)
    address = city.machine({EIP: 1}, ServiceKind.EIP)
    for machine, verbs in ((volume, ["snapshot", "recycle"]), (address, ["recycle"])):
        case_id = city.cleared(Verdict.UNATTACHED, machine)
        city.act(case_id)
        while city.deliver(case_id) == CaseState.ORDERED:
            pass
        assert (city.see(case_id).state, city.verbs(case_id)) == (CaseState.BINNED, verbs)


def test_what_was_off_already_is_watched_all_the_same_and_not_started_on_return(city) -> None:
    machine = city.machine(state=ResourceState.STOPPED)
    case_id = city.cleared(Verdict.STOPPED, machine)
    city.act(case_id)
    assert city.deliver(case_id) == CaseState.WATCHED
    assert city.verbs(case_id) == ["snapshot"]
    assert city.advance(case_id, days=15) == CaseState.ORDERED
    assert city.deliver(case_id) == CaseState.BINNED
    with city.by(city.tenant) as tx:
        cases.restore(tx, cases.case(tx, case_id), "需要恢复数据")
    assert city.deliver(case_id) == CaseState.CLOSED
    assert city.verbs(case_id) == ["snapshot", "recycle", "restore"]
    assert city.see(case_id).resource.state == ResourceState.STOPPED


# ---------------------------------------------------------------------------------------------- silence and deadlines


def test_silence_is_consent_to_a_shrink_after_one_reminder(city) -> None:
    case_id = city.noticed(Verdict.UNDERUSED)  # Monday 1 June 2026
    assert city.advance(case_id, days=4) == CaseState.NOTICED
    assert city.see(case_id).notice.reminded_at is None
    assert city.advance(case_id, days=3) == CaseState.NOTICED  # Monday: the fifth working day
    reminded = city.see(case_id).notice.reminded_at
    assert reminded == city.clock.now
    assert city.advance(case_id, days=1) == CaseState.NOTICED
    assert city.see(case_id).notice.reminded_at == reminded
    # The tenth working day is Monday 15 June; its end is the end.
    city.clock.now = datetime(2026, 6, 15, 23, 59, tzinfo=ZONE)
    assert city.advance(case_id) == CaseState.NOTICED
    assert city.advance(case_id, minutes=1) == CaseState.CLEARED
    one = city.see(case_id)
    assert (one.consent, one.notice.escalated_at is not None) == (Consent.SILENCE, True)


def test_silence_never_powers_off_somebody_else_must_rule(city) -> None:
    case_id = city.noticed(Verdict.IDLE)
    city.advance(days=8)
    assert city.advance(case_id, days=10) == CaseState.DISPUTED
    assert city.see(case_id).matter == Matter.SILENCE
    assert city.advance(case_id, days=300) == CaseState.DISPUTED
    with pytest.raises(NotAllowed) as refusal, city.by(city.supervisor) as tx:
        cases.rule(tx, cases.case(tx, case_id), RulingDecision.PROCEED, "使用单位逾期未答复,按程序执行")
    assert refusal.value.code == "case.same_person"
    with city.by(city.second) as tx:
        cases.rule(tx, cases.case(tx, case_id), RulingDecision.PROCEED, "使用单位逾期未答复,按程序执行")
    assert city.see(case_id).consent == Consent.RULING
    assert city.orders(case_id) == []


def test_who_was_reminded_late_has_its_time_from_then_on(city) -> None:
    case_id = city.noticed(Verdict.UNDERUSED)
    assert city.advance(case_id, days=60) == CaseState.NOTICED  # no job ran for two months: the reminder comes first
    one = city.see(case_id)
    assert one.notice.reminded_at == city.clock.now
    assert city.advance(case_id) == CaseState.NOTICED
    assert city.see(case_id).due_at > city.clock.now + timedelta(days=4)
    assert city.advance(case_id, days=8) == CaseState.CLEARED


def test_the_clock_stands_still_over_the_national_holiday_and_counts_the_worked_saturday(city) -> None:
    city.clock.now = datetime(2026, 9, 28, 2, tzinfo=UTC)  # Monday before 1–7 October; Saturday 10 October is worked
    case_id = city.noticed(Verdict.UNDERUSED)
    # 29, 30 September; 8, 9, 10, 12, 13, 14, 15, 16 October.
    assert city.see(case_id).due_at.astimezone(ZONE).date().isoformat() == "2026-10-16"


def test_the_calendar_published_later_moves_the_deadline(city) -> None:
    from quota import calendar

    case_id = city.noticed(Verdict.IDLE)
    before = city.see(case_id).due_at
    with city.by() as tx:
        calendar.correct(tx, datetime(2026, 6, 10, tzinfo=ZONE).date(), False, "本市放假")
    city.advance()
    assert city.see(case_id).due_at == before + timedelta(days=1)


def test_nobody_answers_an_expansion_and_nothing_happens(city) -> None:
    case_id = city.noticed(Verdict.BUSY, target={VCPU: 20})
    city.advance(days=8)
    assert city.advance(case_id, days=10) == CaseState.CLOSED
    assert city.see(case_id).ending == Ending.LAPSED


def test_after_silence_the_department_is_still_heard_until_something_is_done(city) -> None:
    case_id = city.noticed(Verdict.UNDERUSED)
    city.advance(days=8)
    assert city.advance(case_id, days=10) == CaseState.CLEARED
    with city.by(city.tenant) as tx:
        cases.reply(tx, cases.case(tx, case_id), Answer.OBJECT, reason=REASON)
    one = city.see(case_id)
    assert (one.state, one.matter, one.consent) == (CaseState.DISPUTED, Matter.OBJECTION, None)
    with pytest.raises(WrongState), city.by(city.supervisor) as tx:
        cases.act(tx, cases.case(tx, case_id))


# ----------------------------------------------------------------------------------------------- objection, exemption


def test_an_objection_needs_a_reason_and_another_person(city) -> None:
    case_id = city.noticed(Verdict.IDLE)
    with pytest.raises(Invalid) as refusal, city.by(city.tenant) as tx:
        cases.reply(tx, cases.case(tx, case_id), Answer.OBJECT, reason="不行")
    assert refusal.value.code == "case.reason"
    with city.by(city.tenant) as tx:
        cases.reply(
            tx,
            cases.case(tx, case_id),
            Answer.OBJECT,
            reason=REASON,
            evidence="见上年月报",
            files=[attachments.stage(tx, "月报.txt", "峰值 91%".encode())],
        )
    one = city.see(case_id)
    assert (one.state, one.replies[0].attachments, one.replies[0].by) == (CaseState.DISPUTED, ["1"], "qian")
    with city.book.reading() as tx:
        assert case_id not in [each.id for each in cases.queue(tx, city.supervisor)]
        assert [each.id for each in cases.queue(tx, city.second)] == [case_id]
    with city.by(city.authority) as tx:
        cases.rule(tx, cases.case(tx, case_id), RulingDecision.UPHOLD, "月末业务属实,异议成立,撤销本案")
    one = city.see(case_id)
    assert (one.ending, one.setbacks, one.rulings[0].by) == (Ending.UPHELD, 1, "zhao")


def test_an_exemption_is_granted_on_the_terms_asked_for_and_ends(city) -> None:
    machine = city.machine()
    case_id = city.noticed(Verdict.IDLE, machine)
    until = city.clock.now.date() + timedelta(days=100)
    with city.by(city.tenant) as tx:
        one = cases.case(tx, case_id)
        cases.reply(tx, one, Answer.EXEMPT, reason=REASON, category=Category.DISASTER_RECOVERY, until=until)
    with city.by(city.second) as tx:
        cases.rule(tx, cases.case(tx, case_id), RulingDecision.EXEMPT, "灾备属实,准予豁免到期再议")
    assert city.see(case_id).ending == Ending.EXEMPTED
    with city.book.reading() as tx:
        held = exemptions.holding(tx, machine)
        assert held is not None
        assert (held.approved_by, held.asked_by, held.ends_on, held.case_id) == ("li", "qian", until, case_id)
    run = city.judge({machine: Verdict.IDLE})
    with city.by() as tx:
        assert cases.open_from(tx, findings.assessment(tx, run)).why() == {"exempt": 1}
    city.advance(days=101)
    with city.book.reading() as tx:
        assert exemptions.holding(tx, machine) is None
        assert tx.get_one(exemptions.Exemption, held.id).ended_at == city.clock.now
    city.clock.advance(hours=1)
    assert len(city.open({machine: Verdict.IDLE})) == 1


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"category": Category.DISASTER_RECOVERY, "days": 181}, "exemption.long"),
        ({"category": Category.DISASTER_RECOVERY, "days": -1}, "exemption.until"),
        ({"category": Category.SEASONAL, "days": 90}, "exemption.peak"),
        ({"category": Category.NEWCOMER, "days": 10}, "exemption.newcomer"),  # it is 400 days old
        ({"category": None, "days": 10}, "reply.category"),
        ({"category": Category.MIGRATION, "days": 10, "reason": "迁移"}, "exemption.reason"),
    ],
)
def test_an_exemption_has_terms(city, terms: dict, code: str) -> None:
    case_id = city.noticed(Verdict.IDLE)
    until = city.clock.now.date() + timedelta(days=terms["days"])
    with pytest.raises(Invalid) as refusal, city.by(city.tenant) as tx:
        cases.reply(
            tx,
            cases.case(tx, case_id),
            Answer.EXEMPT,
            until=until,
            category=terms["category"],
            reason=terms.get("reason", REASON),
        )
    assert refusal.value.code == code
    assert city.see(case_id).state == CaseState.NOTICED


def test_an_exemption_granted_during_the_watch_starts_the_machine_again(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.IDLE, machine)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    with city.by(city.authority) as tx:
        exemptions.grant(
            tx,
            tx.get_one(Resource, machine),
            Category.PRESERVATION,
            "司法机关要求保全,不得变动",
            city.clock.now.date() + timedelta(days=30),
            Procedure(),
        )
    assert city.advance(case_id) == CaseState.ORDERED
    assert city.deliver(case_id) == CaseState.CLOSED
    one = city.see(case_id)
    assert (one.ending, one.resource.state, one.regretted_at) == (Ending.EXEMPTED, ResourceState.RUNNING, None)


# -------------------------------------------------------------------------------------------- fresh judgement, guards


def test_nothing_is_done_without_a_fresh_judgement(city) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.clock.advance(days=9)
    with pytest.raises(WrongState) as refusal:
        city.act(case_id)
    assert refusal.value.code == "case.stale_finding"
    assert city.see(case_id).state == CaseState.CLEARED


@pytest.mark.parametrize(
    ("verdict", "ending"),
    [
        (Verdict.UNKNOWN, Ending.UNKNOWN),
        (Verdict.DEAD, Ending.UNKNOWN),
        (Verdict.BUSY, Ending.RECOVERED),
        (Verdict.NORMAL, Ending.RECOVERED),
        (Verdict.UNDERUSED, Ending.RECOVERED),
    ],
)
def test_a_machine_no_longer_idle_or_no_longer_known_is_left_alone(city, verdict: Verdict, ending: Ending) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.IDLE, machine)
    city.clock.advance(hours=1)
    city.judge({machine: verdict})
    assert city.act(case_id) == CaseState.CLOSED
    one = city.see(case_id)
    assert (one.ending, city.orders(case_id), one.quiet_until) == (ending, [], None)


def test_a_machine_that_becomes_busy_during_its_notice_is_left_alone_by_itself(city) -> None:
    machine = city.machine()
    case_id = city.noticed(Verdict.IDLE, machine)
    city.clock.advance(days=1)
    city.judge({machine: Verdict.UNKNOWN})
    assert city.advance(case_id) == CaseState.NOTICED  # a gap is no proof of life
    city.clock.advance(days=1)
    city.judge({machine: Verdict.OVERLOADED})
    assert city.advance(case_id) == CaseState.CLOSED
    assert city.see(case_id).ending == Ending.RECOVERED


def test_a_machine_that_wakes_while_it_is_snapshotted_is_not_stopped(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.IDLE, machine)
    city.act(case_id)
    city.clock.advance(hours=1)
    city.judge({machine: Verdict.BUSY})
    assert city.deliver(case_id) == CaseState.CLOSED
    assert (city.see(case_id).ending, city.verbs(case_id)) == (Ending.RECOVERED, ["snapshot"])


def test_an_order_that_was_not_sent_is_called_back(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.IDLE, machine)
    city.act(case_id)
    city.deliver(case_id)  # the stop is placed now
    with city.by(city.supervisor) as tx:
        tx.get_one(Resource, machine).protected = True
    assert city.advance(case_id) == CaseState.CLOSED
    assert city.see(case_id).ending == Ending.PROTECTED
    assert [one.state for one in city.orders(case_id)] == ["delivered", "cancelled"]


def test_what_no_fresh_listing_shows_to_be_off_is_neither_recycled_nor_deleted(city, monkeypatch) -> None:
    case_id = city.cleared()
    city.act(case_id)
    city.deliver(case_id)
    assert city.deliver(case_id) == CaseState.WATCHED
    with monkeypatch.context() as blind:
        blind.setattr(city, "listed", lambda: None)  # the cloud cannot be read
        assert city.advance(case_id, days=16) == CaseState.WATCHED
    one = city.see(case_id)
    assert "48小时内没有资源池清单" in one.reason
    with city.by() as tx:  # read again, but the machine is not what it was left as
        tx.get_one(Resource, one.resource_id).state = ResourceState.RECYCLED.value
    assert city.advance(case_id) == CaseState.WATCHED
    assert "清单所见与案件不符" in city.see(case_id).reason
    with city.by() as tx:
        tx.get_one(Resource, one.resource_id).state = ResourceState.STOPPED.value
    assert city.advance(case_id) == CaseState.ORDERED
    assert city.see(case_id).reason == ""
    assert city.deliver(case_id) == CaseState.BINNED
    assert city.advance(case_id, days=31) == CaseState.CONFIRMING
    with city.by(city.supervisor) as tx:
        cases.confirm_deletion(tx, cases.case(tx, case_id))
    city.clock.advance(days=3)
    with pytest.raises(WrongState, match=r"case\.unseen"), city.by(city.authority) as tx:
        cases.confirm_deletion(tx, cases.case(tx, case_id))
    with city.by() as tx:  # some clouds list nothing of their bin: then a complete listing without it is the word
        pool = tx.get_one(Pool, city.pool)
        observation.observe(tx, pool, Inventory(tx.now, [], complete=True))
    assert city.see(case_id).resource.gone_at is not None
    with city.by(city.authority) as tx:
        assert cases.confirm_deletion(tx, cases.case(tx, case_id)).state == CaseState.ORDERED
    city.clock.advance(days=3)
    cloud = Cloud()
    delivery.carry_all(city.book, city.pool, cloud, cases.last_look)
    assert cloud.acted == {}, "three days old again"


def test_somebody_started_it_during_the_watch_so_it_stays(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.IDLE, machine)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    with city.by() as tx:
        tx.get_one(Resource, machine).state = ResourceState.RUNNING.value
    assert city.advance(case_id, days=20) == CaseState.ORDERED
    assert city.orders(case_id)[-1].verb == Verb.START
    city.deliver(case_id)
    one = city.see(case_id)
    assert one.ending == Ending.RECOVERED
    # It was wanted back, whichever way: our mistake, and left alone for a while.
    with city.book.reading() as tx:
        assert cases.regret(tx, city.policy).regretted == 1
    assert (one.setbacks, one.quiet_until > city.clock()) == (1, True)


def test_a_machine_that_was_off_already_and_is_started_is_no_regret(city) -> None:
    machine = city.machine(state=ResourceState.STOPPED)
    case_id = city.cleared(Verdict.STOPPED, machine)
    city.act(case_id)
    city.deliver(case_id)
    assert city.see(case_id).state == CaseState.WATCHED
    with city.by() as tx:
        tx.get_one(Resource, machine).state = ResourceState.RUNNING.value
    assert city.advance(case_id) == CaseState.CLOSED
    one = city.see(case_id)
    assert (one.ending, one.regretted_at, one.quiet_until) == (Ending.RECOVERED, None, None)


def test_a_shrink_never_goes_below_what_was_announced_nor_below_what_is_safe_now(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.UNDERUSED, machine)  # announced: 4 vCPU, 8 GB
    city.clock.advance(hours=1)
    city.judge({machine: Verdict.UNDERUSED}, target={VCPU: 8, MEMORY: 4 * 1024})
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    assert city.see(case_id).resource.amounts == {"vcpu": 8, "memory": 8 * 1024}


def test_the_gentler_target_is_pure_arithmetic() -> None:
    shape = Amount({VCPU: 16, MEMORY: 32})
    assert gentler(shape, {VCPU: 4}, {VCPU: 8}) == {VCPU: 8, MEMORY: 32}
    assert gentler(shape, {VCPU: 4}, {VCPU: 32}) == shape
    assert gentler(shape, {VCPU: 4}, None) == shape


# -------------------------------------------------------------------------------------------- having it back, failing


def test_a_department_has_its_machine_back_from_the_watch(city) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    with pytest.raises(NotFound), city.by(city.stranger) as tx:
        cases.restore(tx, cases.case(tx, case_id))
    with city.by(city.tenant) as tx:
        cases.restore(tx, cases.case(tx, case_id), "月末结算需要")
    order = city.orders(case_id)[-1]
    assert (order.verb, order.emergency) == (Verb.START, True)
    assert city.deliver(case_id) == CaseState.CLOSED
    one = city.see(case_id)
    assert (one.ending, one.reason, one.resource.state) == (Ending.RETURNED, "月末结算需要", ResourceState.RUNNING)
    assert one.regretted_at is not None
    assert city.balance(Holder.USED) == 16


def test_a_department_has_its_machine_back_from_the_bin_even_while_deletion_is_confirmed(city) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    city.advance(days=15)
    city.deliver(case_id)
    assert city.advance(case_id, days=30) == CaseState.CONFIRMING
    with city.by(city.supervisor) as tx:
        cases.confirm_deletion(tx, cases.case(tx, case_id))
    with city.by(city.tenant) as tx:
        cases.restore(tx, cases.case(tx, case_id))
    with pytest.raises(WrongState), city.by(city.authority) as tx:
        cases.confirm_deletion(tx, cases.case(tx, case_id))
    assert city.deliver(case_id) == CaseState.ORDERED  # restored, switched off; started next
    assert city.deliver(case_id) == CaseState.CLOSED
    assert city.verbs(case_id) == ["snapshot", "stop", "recycle", "restore", "start"]
    assert city.see(case_id).resource.state == ResourceState.RUNNING


def test_one_person_cannot_confirm_twice(city) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    city.advance(days=15)
    city.deliver(case_id)
    city.advance(case_id, days=30)
    with city.by(city.supervisor) as tx:
        cases.confirm_deletion(tx, cases.case(tx, case_id))
    with pytest.raises(NotAllowed) as refusal, city.by(city.supervisor) as tx:
        cases.confirm_deletion(tx, cases.case(tx, case_id))
    assert refusal.value.code == "case.confirmed_twice"
    with pytest.raises(IntegrityError), city.by() as tx:  # nor past the verb
        tx.add(cases.Confirmation(case_id=case_id, attempt=0, by="wang", role="supervisor", at=tx.now))


def test_two_services_are_no_two_persons(city) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    city.advance(days=15)
    city.deliver(case_id)
    city.advance(case_id, days=30)
    for person in (city.supervisor, city.authority):
        robot = replace(person, login=f"robot-{person.login}", program=True)
        assert CaseAct.CONFIRM_DELETION in cases.acts(city.see(case_id), person)
        assert CaseAct.CONFIRM_DELETION not in cases.acts(city.see(case_id), robot)
        with pytest.raises(NotAllowed, match=r"sign\.person"), city.by(robot) as tx:
            cases.confirm_deletion(tx, cases.case(tx, case_id))
    assert city.see(case_id).confirmations == []


def test_a_service_may_look_at_a_case_and_signs_no_notice(city) -> None:
    (case_id,) = city.open({city.machine(): Verdict.IDLE})
    robot = replace(city.supervisor, login="robot", program=True)
    with city.by(robot) as tx:
        cases.review(tx, cases.case(tx, case_id))
    assert CaseAct.ISSUE not in cases.acts(city.see(case_id), robot)
    with pytest.raises(NotAllowed, match=r"sign\.person"), city.by(robot) as tx:
        cases.issue(tx, [cases.case(tx, case_id)])


def test_a_cancelled_order_goes_back_to_who_decides_and_the_third_ends_it(city) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.IDLE, machine)
    for left in (2, 1, 0):
        city.act(case_id)
        with city.by(city.supervisor) as tx:
            order = cases.current_order(tx, cases.case(tx, case_id))
            assert order is not None
            delivery.cancel(tx, order.id, order.generation, "云平台暂时不能执行")
        assert city.advance(case_id) == (CaseState.CLEARED if left else CaseState.CLOSED)
    one = city.see(case_id)
    assert (one.ending, one.setbacks) == (Ending.FAILED, 1)
    assert len({order.key for order in city.orders(case_id)}) == 3


def test_a_failed_order_of_a_return_is_ordered_again(city) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    with city.by(city.tenant) as tx:
        cases.restore(tx, cases.case(tx, case_id))
    with city.by(city.supervisor) as tx:
        order = cases.current_order(tx, cases.case(tx, case_id))
        assert order is not None
        delivery.cancel(tx, order.id, order.generation, "云平台暂时不能执行")
    assert city.advance(case_id) == CaseState.ORDERED
    assert city.deliver(case_id) == CaseState.CLOSED
    assert city.see(case_id).ending == Ending.RETURNED


def test_a_deletion_that_failed_is_confirmed_anew(city) -> None:
    case_id = city.cleared(Verdict.IDLE)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    city.advance(days=15)
    city.deliver(case_id)
    city.advance(days=30)
    for actor in (city.supervisor, city.second):
        with city.by(actor) as tx:
            cases.confirm_deletion(tx, cases.case(tx, case_id))
    with city.by(city.supervisor) as tx:
        order = cases.current_order(tx, cases.case(tx, case_id))
        assert order is not None
        delivery.cancel(tx, order.id, order.generation, "云平台暂时不能执行")
    assert city.advance(case_id) == CaseState.CONFIRMING
    for actor in (city.second, city.authority):
        with city.by(actor) as tx:
            cases.confirm_deletion(tx, cases.case(tx, case_id))
    assert city.deliver(case_id) == CaseState.CLOSED
    with city.book.reading() as tx:
        paper = certificates.of_case(tx, cases.case(tx, case_id))
        assert paper is not None
        assert [each["by"] for each in paper.figures["confirmed_by"]] == ["li", "zhao"]


# ------------------------------------------------------------------------------------------------------ opening cases


def test_what_recovers_most_comes_first_and_the_rest_says_why_not(city) -> None:
    small, large = city.machine({VCPU: 2, MEMORY: 4096}), city.machine({VCPU: 64, MEMORY: 131072})
    busy = city.machine()
    skipped = {
        city.machine(protected=True): ("protected", Verdict.IDLE),
        city.machine(department_id=None): ("ownerless", Verdict.IDLE),
        city.machine(gone_at=city.clock.now): ("absent", Verdict.STOPPED),
        city.machine(dict(SMALL_SHAPE)): ("no_target", Verdict.UNDERUSED),
    }
    run = city.judge(
        {
            small: Verdict.IDLE,
            large: Verdict.IDLE,
            busy: Verdict.OVERLOADED,
            **{machine: verdict for machine, (_, verdict) in skipped.items()},
        },
        target={VCPU: 32, MEMORY: 65536},
    )
    with city.by() as tx:
        opening = cases.open_from(tx, findings.assessment(tx, run))
        ranked = [cases.case(tx, one).resource_id for one in opening.opened]
    assert ranked == [busy, large, small]
    assert dict(opening.skipped) == {machine: code for machine, (code, _) in skipped.items()}
    assert set(opening.why()) <= set(cases.SKIPS)
    with city.by() as tx:  # once for each run
        again = cases.open_from(tx, findings.assessment(tx, run), per_run=1000)
        assert again.id == opening.id


def test_ceilings_keep_a_run_and_a_department_from_being_flooded(city) -> None:
    machines = {city.machine(): Verdict.IDLE for _ in range(5)}
    run = city.judge(machines)
    with city.by() as tx:
        opening = cases.open_from(tx, findings.assessment(tx, run), per_run=4, per_department=3)
        assert (len(opening.opened), opening.why()) == (3, {"department_ceiling": 2})
    city.clock.advance(days=1)
    run = city.judge(machines)
    with city.by() as tx:
        opening = cases.open_from(tx, findings.assessment(tx, run), per_run=1, per_department=9)
        assert (len(opening.opened), opening.why()) == (1, {"open_case": 3, "run_ceiling": 1})


def test_a_machine_has_one_open_case(city) -> None:
    machine = city.machine()
    (first,) = city.open({machine: Verdict.IDLE})
    row = city.see(first)
    with pytest.raises(IntegrityError), city.by() as tx:
        tx.add(
            cases.Case(
                kind="reclaim",
                state="detected",
                resource_id=machine,
                pool_id=city.pool,
                department_id=city.department,
                policy_version_id=city.policy,
                finding_id=row.finding_id,
                shape=NOTHING,
                target=None,
                recoverable=NOTHING,
                worth=0.0,
                opened_at=tx.now,
            )
        )


def test_the_back_off_doubles_with_every_setback(city) -> None:
    machine = city.machine()
    for days in (30, 60, 120):
        (case_id,) = city.open({machine: Verdict.IDLE})
        with city.by(city.supervisor) as tx:
            cases.dismiss(tx, cases.case(tx, case_id), "业务部门已说明,暂不处理")
        assert city.see(case_id).quiet_until == city.clock.now + timedelta(days=days)
        city.clock.advance(days=days, hours=-1)
        assert city.open({machine: Verdict.IDLE}) == []
        city.clock.advance(hours=1)
    # What gives is not held back by what was wrongly taken.
    (case_id,) = city.open({machine: Verdict.IDLE})
    with city.by(city.supervisor) as tx:
        cases.dismiss(tx, cases.case(tx, case_id), "业务部门已说明,暂不处理")
    city.clock.advance(hours=1)
    assert len(city.open({machine: Verdict.BUSY}, target={VCPU: 20})) == 1
    assert [backoff(Procedure(), n) for n in (1, 2, 5, 50)] == [30, 60, 360, 360]


# -------------------------------------------------------------------------------------------------- who may, and once


def test_one_letter_holds_all_cases_of_a_department(city) -> None:
    machines = [city.machine() for _ in range(3)]
    opened = city.open(dict.fromkeys(machines, Verdict.IDLE))
    with city.by(city.supervisor) as tx:
        found = [cases.review(tx, cases.case(tx, one)) for one in opened]
        (letter,) = cases.issue(tx, found, text="请于期限内答复")
    assert letter.number == f"闲收忙扩〔2026〕{letter.id}号"
    with city.book.reading(city.tenant) as tx:
        assert {one.notice_id for one in cases.queue(tx, city.tenant)} == {letter.id}
        assert [one.id for one in notices.notices(tx)] == [letter.id]
    with city.book.reading(city.stranger) as tx:
        assert notices.notices(tx) == []
        with pytest.raises(NotFound):
            notices.notice(tx, letter.id)


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("supervisor", {CaseAct.REVIEW, CaseAct.DISMISS, CaseAct.WITHDRAW}),
        ("authority", {CaseAct.WITHDRAW}),
        ("tenant", set()),
        ("provider", set()),
    ],
)
def test_a_role_may_what_its_role_is(city, who: str, allowed: set) -> None:
    (case_id,) = city.open({city.machine(): Verdict.IDLE})
    actor = getattr(city, who)
    assert set(cases.acts(city.see(case_id), actor)) == allowed
    one = city.see(case_id)
    if CaseAct.REVIEW not in allowed:
        with pytest.raises(NotAllowed), city.by(actor) as tx:
            cases.review(tx, tx.get_one(cases.Case, one.id))


def test_what_a_department_was_not_told_it_does_not_see(city) -> None:
    (case_id,) = city.open({city.machine(): Verdict.IDLE})
    with city.book.reading(city.tenant) as tx, pytest.raises(NotFound):
        cases.case(tx, case_id)
    noticed = city.noticed()
    with city.book.reading(city.tenant) as tx:
        assert cases.case(tx, noticed).id == noticed
    for actor in (city.stranger, city.provider):
        with city.book.reading(actor) as tx, pytest.raises(NotFound):
            cases.case(tx, noticed)


def test_another_department_cannot_answer(city) -> None:
    case_id = city.noticed()
    with pytest.raises(NotAllowed) as refusal, city.by(city.stranger) as tx:
        cases.reply(tx, tx.get_one(cases.Case, case_id), Answer.AGREE)
    assert refusal.value.code == "case.other_department"


def test_a_stale_page_is_refused_and_changes_nothing(city) -> None:
    case_id = city.noticed()
    shown = city.see(case_id).generation
    with city.by(city.tenant) as tx:
        cases.reply(tx, cases.case(tx, case_id), Answer.OBJECT, reason=REASON, generation=shown)
    with pytest.raises(Conflict) as refusal, city.by(city.tenant) as tx:
        cases.reply(tx, cases.case(tx, case_id), Answer.AGREE, generation=shown)
    assert refusal.value.code == "case.changed"
    assert len(city.see(case_id).replies) == 1


def test_settling_twice_is_settling_once(city) -> None:
    case_id = city.cleared(Verdict.UNDERUSED)
    city.act(case_id)
    city.deliver(case_id)
    resize = city.orders(case_id)[-1]
    city.deliver(case_id)
    generation, used = city.see(case_id).generation, city.balance(Holder.USED)
    for _ in range(2):
        with city.by() as tx:
            assert not cases.settle(tx, cases.case(tx, case_id), tx.get_one(delivery.WorkOrder, resize.id))
            assert cases.advance(tx).quiet()
    assert (city.see(case_id).generation, city.balance(Holder.USED)) == (generation, used)


def test_each_case_moves_for_itself_and_one_that_fails_holds_up_no_other(city, monkeypatch) -> None:
    first, broken, last = (city.noticed(Verdict.UNDERUSED, target={VCPU: 2, MEMORY: 4096}) for _ in range(3))
    city.clock.advance(days=10)
    assert len(cases.advance_all(city.book).reminded) == 3
    city.clock.advance(days=30)
    step, while_it_ran = deadlines._hearing, []

    def hearing(tx: Tx, one: cases.Case, *rest: object) -> None:
        step(tx, one, *rest)
        if one.id == broken:
            while_it_ran.append(city.see(first).state)
            raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(deadlines, "_hearing", hearing)
        done = cases.advance_all(city.book)
    assert while_it_ran == [CaseState.CLEARED], "the case before it was committed, and nobody waits for its lock"
    assert (done.consented, done.moved) == ([first, last], [first, last])
    assert {case: repr(fault) for case, fault in done.failed.items()} == {broken: "RuntimeError('a fault of ours')"}
    assert [city.see(one).state for one in (first, broken, last)] == [
        CaseState.CLEARED,
        CaseState.NOTICED,
        CaseState.CLEARED,
    ]

    again = cases.advance_all(city.book)
    assert (again.consented, again.failed) == ([broken], {})
    assert cases.advance_all(city.book).quiet()


CHILD = textwrap.dedent("""
    import os, signal, sys
    from datetime import datetime
    import console.schema.models
    from metering import cases
    from providers.orders import carry
    from providers.adapters.simulated import SimulatedCloud
    from quota.actors import steward
    from quota.db import Book

    url, now, where, pool, epoch, state, order_id = sys.argv[1:]
    now = datetime.fromisoformat(now)

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    class Cloud(SimulatedCloud):
        def deliver(self, order, now):
            outcome = super().deliver(order, now)
            if where == "done at the cloud":
                die()
            return outcome

    book = Book(url, clock=lambda: now)
    carry(book, int(order_id), Cloud(pool, epoch, state_file=state))
    if where == "recorded":
        die()
    with book.transaction(steward()) as tx:
        cases.advance(tx)
        tx.flush()
        die()
""")


@pytest.mark.parametrize("where", ["done at the cloud", "recorded", "being settled"])
def test_a_sigkill_anywhere_between_cloud_and_ledger_acts_once(city, tmp_path, book_url: str, where: str) -> None:
    pool, epoch, state = "gov-x86", city.clock.now.date(), tmp_path / "cloud.json"
    cloud = SimulatedCloud(pool, epoch, state_file=state)
    fact = max(
        (one for one in cloud.inventory(city.clock.now).facts if one.kind is ServiceKind.VM and one.state == "running"),
        key=lambda one: one.amounts[VCPU],
    )
    machine = city.machine(fact.amounts)
    with city.by() as tx:
        tx.get_one(Resource, machine).external_id = fact.external_id
    before, target = fact.amounts[VCPU], {VCPU: 2, MEMORY: 4096}
    case_id = city.cleared(Verdict.UNDERUSED, machine, target=target)
    city.act(case_id)
    for _ in range(2):  # the snapshot, then the shrink: each dies once, and is resumed
        order = city.orders(case_id)[-1]
        now = city.clock.advance(minutes=1)
        died = subprocess.run(
            [
                sys.executable,
                "-c",
                CHILD,
                book_url,
                now.isoformat(),
                where,
                pool,
                epoch.isoformat(),
                state,
                str(order.id),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=PATIENCE,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        city.clock.advance(minutes=20)
        for _ in range(2):
            delivery.carry(city.book, order.id, SimulatedCloud(pool, epoch, state_file=state))
            city.advance()
    assert [(one.verb, one.state) for one in city.orders(case_id)] == [
        ("snapshot", "delivered"),
        ("resize", "delivered"),
    ]
    assert city.see(case_id).state == CaseState.WATCHED
    assert (city.balance(Holder.USED), city.balance(Holder.HELD)) == (2, before - 2)
    with city.book.reading() as tx:
        moved = tx.scalars(entries.select(entries.Transfer).where(entries.Transfer.subject == f"case:{case_id}"))
        assert [one.command for one in moved] == ["release", "hold"]
        assert list(entries.check(tx)) == []
    shrunk = {
        one.external_id: one for one in SimulatedCloud(pool, epoch, state_file=state).inventory(city.clock.now).facts
    }
    assert shrunk[fact.external_id].amounts[VCPU] == 2


def test_an_expansion_beyond_the_quota_is_refused_and_nothing_is_ordered(city) -> None:
    with city.by() as tx:
        entries.grant(tx, city.pool, city.department, {entries.Commodity.parse("vcpu:x86_64"): 4}, key="spare")
    case_id = city.cleared(Verdict.BUSY, target={VCPU: 20})
    with city.by() as tx:  # used for something else meanwhile
        entries.use(tx, city.pool, city.department, {entries.Commodity.parse("vcpu:x86_64"): 4}, key="gone")
    with pytest.raises(OverCapacity):
        city.act(case_id)
    assert (city.see(case_id).state, city.orders(case_id)) == (CaseState.CLEARED, [])


def test_certificates_replies_and_rulings_cannot_be_rewritten(city) -> None:
    case_id = city.noticed()
    with city.by(city.tenant) as tx:
        cases.reply(tx, cases.case(tx, case_id), Answer.OBJECT, reason=REASON)
    for statement in ("UPDATE case_replies SET answer = 'agree'", "DELETE FROM case_replies"):
        with pytest.raises(DBAPIError), city.book.engine.begin() as connection:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE certificates SET figures = REPLACE(CAST(figures AS VARCHAR), '12', '13')",
        "UPDATE certificates SET fingerprint = '{nothing}'",
    ],
)
def test_a_certificate_changed_below_its_guard_is_named(city, change) -> None:
    machine = city.machine()
    case_id = city.cleared(Verdict.UNDERUSED, machine)
    city.act(case_id)
    city.deliver(case_id)
    city.deliver(case_id)
    city.advance(case_id, days=7)
    city.judge({machine: Verdict.NORMAL}, p95=40)
    assert city.advance(case_id) == CaseState.CLOSED
    with city.book.reading() as tx:
        paper = certificates.of_case(tx, cases.case(tx, case_id))
        assert paper is not None
        assert paper.figures["freed"] == {"vcpu": 12, "memory": 24 * 1024}
        assert list(certificates.check(tx)) == []
    change = change.replace("{nothing}", "0" * 64)
    with pytest.raises(DBAPIError), city.book.engine.begin() as connection:
        connection.execute(text(change))
    with city.book.engine.begin() as connection:
        if city.book.engine.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER certificates_no_update"))
        else:
            connection.execute(text("SET session_replication_role = replica"))
            change = change.replace(
                "REPLACE(CAST(figures AS VARCHAR), '12', '13')", "REPLACE(figures::text, '12', '13')::json"
            )
        assert connection.execute(text(change)).rowcount == 1
    with city.book.reading() as tx:
        assert list(certificates.check(tx)) == [
            f"certificates: row {paper.id} ({paper.number}) does not match its seal"
        ]


@pytest.mark.parametrize("service", list(ServiceKind))
@pytest.mark.parametrize("kind", [CaseKind.RECLAIM, CaseKind.SHRINK])
def test_whatever_holds_data_is_snapshotted_first(kind: CaseKind, service: ServiceKind) -> None:
    plan = orders(kind, service)
    if service in (ServiceKind.VM, ServiceKind.BARE_METAL, ServiceKind.VOLUME, ServiceKind.DATABASE):
        assert plan[0] is Verb.SNAPSHOT
    if kind is CaseKind.RECLAIM:
        assert plan[-2:] == (Verb.RECYCLE, Verb.DELETE)


def test_what_nobody_approved_is_not_enlarged(city) -> None:
    machine = city.machine()
    with city.by() as tx:
        one = tx.get_one(Resource, machine)
        one.basis, one.booked = "", {}
    run = city.judge({machine: Verdict.BUSY}, target={VCPU: 20})
    with city.by() as tx:
        assert cases.open_from(tx, findings.assessment(tx, run)).why() == {"unapproved": 1}
