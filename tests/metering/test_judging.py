"""Judging the city: policies with exceptions, sizes by the cost quantile, business calendars, and all of it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import delete, event, select

from metering.archive import recompute
from metering.cases.figures import crowded
from metering.judging import business, findings, pipeline, policies
from metering.judging.business import Period, Recurs
from metering.judging.policy import GROWS, Condition, Policy, PolicyRule, Section, Standing, Verdict, default
from metering.judging.wholes import KnownFigure
from metering.lake.store import Lake
from metering.simulation import history
from metering.sizing.rightsizing import PROFILES, newborn, night, outlook
from metering.workbench import Workbench
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Pool
from quota.directory.departments import Department, System
from quota.errors import Invalid, NotAllowed, NotFound
from quota.inventory import observed
from quota.inventory.resources import Change
from quota.units import MEMORY, VCPU, Amount
from tests.metering.past import found_past, mute


@pytest.fixture
def works(book, tmp_path):
    with book.transaction(steward()) as tx:
        policies.seed(tx)
    return Workbench(book, Lake(tmp_path / "lake"), tmp_path)


@pytest.fixture
def today(clock):
    return clock().astimezone(ZONE).date()


@pytest.fixture
def past(works, book, today):
    return found_past(book, works, today)


def judged(works, day):
    run = pipeline.judge(works, day)
    with works.book.reading() as tx:
        return run.id, {
            one.resource.name: (one.verdict, one.target, one.numbers, one.reasons) for one in findings.of_run(tx, run)
        }


def enact(works, **changes):
    with works.book.transaction(steward()) as tx:
        policy = policies.newest(tx, "default").policy()
        policies.enact(tx, replace(policy, effective_from=tx.now.astimezone(ZONE).date(), **changes), reason="试")


def test_the_default_policy_its_exceptions_and_all_again(works, past, today, clock):
    run, found = judged(works, today)
    assert {name: each[0] for name, each in found.items()} == {
        "office": "normal",
        "quiet": "idle",
        "late": "normal",
        "full": "overloaded",
        "seasons": "idle",
        "young": "unknown",
    }
    assert recompute.run(works, run).to_json() == {"findings": 6, "same": True, "differences": []}

    # Level 3 is never reclaimed; everything of the pool is sized by the cost quantile.
    growing = tuple(rule for rule in default().rules if rule.verdict in GROWS)
    enact(
        works,
        sections=(
            Section("三级系统", levels=(3,), rules=growing, sizing="p95@70"),
            Section("信创池", pools=("xc",), sizing="steward-safe"),
        ),
    )
    run, found = judged(works, today)
    assert (found["seasons"][0], found["seasons"][2]["section"]) == ("normal", "三级系统")
    assert (found["quiet"][0], found["quiet"][2]["section"]) == ("idle", "信创池")
    # Memory known from the hypervisor alone never falls under half of 16 GB, so 2C4G is out.
    assert found["quiet"][1] == {"vcpu": 4, "memory": 8 * 1024}
    # Three hours at 45 % each day fit into half of eight cores, not into less.
    assert found["office"][1] == {"vcpu": 4, "memory": 8 * 1024}
    assert found["young"][1] is None
    assert found["full"][1]["vcpu"] > 2
    assert recompute.run(works, run).same
    with works.book.reading() as tx:
        assert list(findings.recheck(tx, findings.assessment(tx, run))) == []


@pytest.mark.parametrize(
    "name", ["p90@60", "p99x1.15", "vpa-p90x1.3-daily", "peak21x1.2-daily", "steward-L40-h3-m1.2", "steward-tide"]
)
def test_every_sizing_advises_the_night_and_recomputes(works, past, today, book, name):
    """What a draft may name, the night can advise by: never for who is young, busy, or needs it."""
    with book.transaction(steward()) as tx:
        policies.enact(tx, replace(default(), sizing=name, effective_from=today), reason="另法定规格")
    run = pipeline.judge(works, today)
    with book.reading() as tx:
        found = {one.resource_id: one for one in findings.of_run(tx, findings.assessment(tx, run.id))}
    # 1 % of 8 cores; half of its memory is kept, whatever is seen of it.
    assert found[past["quiet"]].target == {"vcpu": 4, "memory": 8 * 1024}
    assert found[past["quiet"]].numbers["sizing"] == {"method": name}
    assert found[past["young"]].target is None
    assert found[past["late"]].target is None or found[past["late"]].verdict in GROWS
    # Three hours a day at 45 %: with a margin or a ceiling they don't fit into four cores, by the cost of shortage they do.
    fits = {"vcpu": 4, "memory": 8 * 1024} if name.startswith("steward") else None
    assert found[past["office"]].target == fits
    # Busy machines grow by the smallest shape, whatever sizes the others.
    assert found[past["full"]].verdict in GROWS
    assert found[past["full"]].target["vcpu"] > 2
    assert recompute.run(works, run.id).same


@pytest.mark.parametrize("name", ["peak30x1.15-daily", "steward-safe", "peakx1.15"])
def test_what_a_machine_did_before_it_was_resized_counts_by_what_it_needed(works, past, today, book, name):
    """30 % of sixteen cores, twelve days ago, do not fit into four; 30 % of the eight that it has now would."""
    enact(works, sizing=name)
    day = today - timedelta(days=12)
    before, after = (datetime(one.year, one.month, one.day, tzinfo=ZONE) for one in (day, day + timedelta(days=1)))
    ts = int(before.timestamp()) + np.arange(288) * 300
    memory = np.full(288, 32 * 1024)
    table = {"cpu_pct": 30.0 + np.arange(288) % 7 * 0.01, "vcpu": np.full(288, 16), "mem_mb": memory}
    works.lake.append("told", pa.table({"resource": np.full(288, past["quiet"], np.int32), "ts": ts, **table}))
    smaller = {"ts": [int(after.timestamp())], "cpu_pct": [1.2], "vcpu": [8], "mem_mb": [16 * 1024]}
    works.lake.append("told", pa.table({"resource": pa.array([past["quiet"]], pa.int32()), **smaller}))
    works.lake.roll()
    run, found = judged(works, today)
    assert found["quiet"][0] not in ("unknown", "busy")
    assert found["quiet"][1] is None
    assert recompute.run(works, run).same


def test_what_was_used_at_another_size_within_the_week_is_told_of_the_present_one(works, past, today, book):
    """60 % of four cores for four days, then 30 % of eight: 2.4 cores all the while."""
    changes = {"resource_id": past["quiet"], "what": Change.SHAPE.value, "source": "order:1"}
    start = datetime(today.year, today.month, today.day, tzinfo=ZONE)
    with book.transaction(steward()) as tx:
        at = start - timedelta(days=3)
        observed.write(tx, [], [{**changes, "at": at, "seen_at": at, "before": {}, "after": {}}])
        old = start - timedelta(days=20)
        row = {**changes, "at": old, "seen_at": old, "before": {}, "after": {}, "resource_id": past["office"]}
        observed.write(tx, [], [row])
    ts = int((start - timedelta(days=7)).timestamp()) + np.arange(7 * 288) * 300
    before = np.arange(len(ts)) < 4 * 288
    drift = np.arange(len(ts)) % 7 * 0.01
    table = {
        "cpu_pct": np.where(before, 60.0 + drift, 30.0 + drift),
        "vcpu": np.where(before, 4, 8),
        "mem_pct": np.where(before, 50.0 + drift, 25.0 + drift),
        "mem_mb": np.where(before, 8 * 1024, 16 * 1024),
    }
    works.lake.append("told", pa.table({"resource": np.full(len(ts), past["quiet"], np.int32), "ts": ts, **table}))
    works.lake.roll()
    run, found = judged(works, today)
    numbers = found["quiet"][2]
    assert numbers["windows"]["7"]["cpu_p95"] == pytest.approx(60, abs=0.2)
    assert numbers["of_present"] == pytest.approx({"cpu_p95": 30, "mem_p95": 25}, abs=0.1)
    assert crowded(numbers, Amount({VCPU: 4, MEMORY: 8192}), Amount({VCPU: 8, MEMORY: 16384})) == pytest.approx(
        60, abs=0.2
    )
    assert "of_present" not in found["office"][2], "as it was all the week"
    assert recompute.run(works, run).same


def test_what_was_seen_for_less_than_a_week_is_not_sized(works, past, today):
    """Whatever rule says that it is normal: three days are no week."""
    rule = PolicyRule(Verdict.BUSY, 7, (Condition("cpu_p95", ">=", 80),), coverage=0.3)
    for name in ("steward-economy", "p95x1.15", "vpa-p95-daily"):
        enact(works, sizing=name, rules=(rule,))
        _run, found = judged(works, today)
        assert (found["young"][0], found["young"][1]) == ("normal", None)
        assert found["quiet"][1] == {"vcpu": 4, "memory": 8 * 1024}


def test_samples_that_come_late_are_told_as_a_difference(works, past, today):
    run, _found = judged(works, today)
    with works.book.reading() as tx:
        made = findings.assessment(tx, run)
        [row] = [one for one in findings.of_run(tx, made) if one.resource.name == "quiet"]
    day = today - timedelta(days=3)
    ts = int(datetime(day.year, day.month, day.day, 10, tzinfo=ZONE).timestamp()) + np.arange(24) * 300
    works.lake.append(
        "late",
        pa.table({"resource": np.full(24, past["quiet"], np.int32), "ts": ts, "cpu_pct": 88.0 + np.arange(24) * 0.1}),
    )
    works.lake.roll()
    told = recompute.finding(works, row.id)
    assert not told.same
    assert {"cpu_max", "cpu_mean"} <= {one.what for one in told.differences}
    assert {one.finding_id for one in told.differences} == {row.id}
    changed = {(one.what, one.days): one.now for one in told.differences}
    assert changed["cpu_max", 7] == pytest.approx(90.3)
    with pytest.raises(NotFound):
        recompute.finding(works, 10_000)


def test_what_a_pool_tells_of_none_of_its_machines_is_named_with_what_it_keeps_from_being_found(
    works, past, book, today
):
    _pool, number = mute(book, works, today)

    def blind() -> dict[str, list[findings.BlindSpot]]:
        run, found = judged(works, today)
        assert (found["quiet"][0], found["mute"][0]) == (Verdict.IDLE, Verdict.UNKNOWN)
        asked: list[str] = []
        event.listen(works.book.engine, "before_cursor_execute", lambda *of_it: asked.append(of_it[2]))
        with works.book.reading() as tx:
            made = findings.assessment(tx, run)
            told = {one.code: findings.blind_spots(tx, made, one) for one in tx.scalars(select(Pool)).all()}
        assert [one for one in asked if "FROM findings" in one] == [], "it looks through all of them"
        with works.book.trial(steward()) as tx:  # as a book is summed up that was judged before there were such sums
            tx.execute(delete(KnownFigure))
            findings.sum_up(tx)
            made = findings.assessment(tx, run)
            assert told == {one.code: findings.blind_spots(tx, made, one) for one in tx.scalars(select(Pool)).all()}
        return told

    said = {"xc": [], "mute": [findings.BlindSpot("net_mean", 30, (Verdict.IDLE,))]}
    assert blind() == said
    day = today - timedelta(days=3)
    ts = int(datetime(day.year, day.month, day.day, 10, tzinfo=ZONE).timestamp())
    some = {"resource": np.array([number], np.int32), "ts": [ts], "net_rx_kbps": [1.0], "net_tx_kbps": [1.0]}
    works.lake.append("slot", pa.table(some))
    works.lake.roll()
    enact(works, sizing="p95x1.15")
    assert blind() == said, "one slot of a month is no figure"
    sighted = PolicyRule(Verdict.IDLE, 30, (Condition("cpu_max", "<", 1, "unknown"),), coverage=0.9)
    enact(works, rules=(*default().rules, sighted))
    assert blind() == {"xc": [], "mute": []}, "another rule finds what is idle without it"


def test_nothing_is_idle_before_a_whole_cycle_was_seen(works, past, today, clock):
    with works.book.transaction(steward()) as tx:
        exams = tx.scalars(select(Department).where(Department.code == "P2")).one()
        row = business.declare(
            tx,
            Period("高考报名", Recurs.YEARLY, starts_on=date(2026, 11, 1), ends_on=date(2026, 11, 10)),
            department_id=exams.id,
        )
        period_id = row.id
    run, found = judged(works, today)
    assert found["seasons"][0] == "unknown"
    assert found["seasons"][3] == [
        {"figure": "cycle_left", "value": pytest.approx(366 - 45), "op": ">", "threshold": 0, "days": 0}
    ]
    assert found["quiet"][0] == "idle"
    assert recompute.run(works, run).same
    with works.book.reading() as tx:
        assert list(findings.recheck(tx, findings.assessment(tx, run))) == []
    with works.book.transaction(steward()) as tx:
        business.withdraw(tx, period_id)
    clock.advance(days=1)
    _run, found = judged(works, today + timedelta(days=1))
    assert found["seasons"][0] != "unknown" or found["seasons"][3][0]["figure"] != "cycle_left"


def test_who_may_declare_and_what(works, past, book):
    with book.reading() as tx:
        ids = {one.code: one.id for one in tx.scalars(select(Department))}
    tenant = Actor("t", "t", Role.TENANT, department_id=ids["P1"])
    good = Period("月末结账", Recurs.MONTHLY, first_day=-3, last_day=2)
    with book.transaction(tenant) as tx:
        assert business.declare(tx, good, department_id=ids["P1"]).declared_by == "t"
    with pytest.raises(NotAllowed), book.transaction(tenant) as tx:
        business.declare(tx, good, department_id=ids["P2"])
    for bad in (
        replace(good, name=" "),
        replace(good, first_day=0),
        replace(good, lead_days=61),
        Period("x", Recurs.FESTIVAL, festival="Christmas"),
        Period("x", Recurs.YEARLY),
        Period("x", Recurs.ONCE, starts_on=date(2026, 2, 2), ends_on=date(2026, 2, 1)),
    ):
        with pytest.raises(Invalid), book.transaction(tenant) as tx:
            business.declare(tx, bad, department_id=ids["P1"])


def test_nobody_is_busy_all_the_year_on_their_own_word(works, past, book):
    """Else a department would never be judged; all that holds for it counts together, what lies above it, too."""
    with book.reading() as tx:
        ids = {one.code: one.id for one in tx.scalars(select(Department))}
        system = tx.scalars(select(System)).one().id
    tenant = Actor("t", "t", Role.TENANT, department_id=ids["P2"])
    half = Period("上半月", Recurs.MONTHLY, first_day=1, last_day=14)
    rest = Period("下半月", Recurs.MONTHLY, first_day=15, last_day=-1)
    for whole in (
        Period("天天", Recurs.MONTHLY, first_day=1, last_day=-1),
        Period("全年", Recurs.YEARLY, starts_on=date(2026, 1, 1), ends_on=date(2026, 12, 31)),
        Period("长期", Recurs.ONCE, starts_on=date(2026, 1, 1), ends_on=date(2030, 1, 1)),
    ):
        with pytest.raises(Invalid, match="183"), book.transaction(tenant) as tx:
            business.declare(tx, whole, department_id=ids["P2"])
    with book.transaction(tenant) as tx:
        business.declare(tx, half, department_id=ids["P2"])
    for owner in ({"department_id": ids["P2"]}, {"system_id": system}):
        with pytest.raises(Invalid, match="183"), book.transaction(tenant) as tx:
            business.declare(tx, rest, **owner)


class TestPeriods:
    @pytest.mark.parametrize(
        ("period", "inside", "outside"),
        [
            (Period("月末", Recurs.MONTHLY, -3, -1), date(2026, 2, 26), date(2026, 2, 25)),
            (Period("月末月初", Recurs.MONTHLY, -2, 3), date(2026, 4, 2), date(2026, 4, 4)),
            (Period("31", Recurs.MONTHLY, 31, 31), date(2026, 2, 28), date(2026, 2, 27)),
            (
                Period("跨年", Recurs.YEARLY, starts_on=date(2020, 12, 20), ends_on=date(2020, 1, 5)),
                date(2027, 1, 5),
                date(2027, 1, 6),
            ),
            (
                Period("重保", Recurs.ONCE, starts_on=date(2026, 3, 1), ends_on=date(2026, 3, 12)),
                date(2026, 3, 12),
                date(2027, 3, 5),
            ),
            # 2026-02-15 to 23 are off; 28 February, a Saturday, is worked for it.
            (Period("春节", Recurs.FESTIVAL, festival="Spring Festival"), date(2026, 2, 17), date(2026, 2, 28)),
            (
                Period("春节前", Recurs.FESTIVAL, festival="Spring Festival", lead_days=3),
                date(2026, 2, 12),
                date(2026, 2, 11),
            ),
        ],
    )
    def test_includes(self, period, inside, outside):
        assert period.includes(inside)
        assert not period.includes(outside)

    def test_hold(self):
        monthly = Period("m", Recurs.MONTHLY, 28, 31)
        once = Period("o", Recurs.ONCE, starts_on=date(2026, 3, 1), ends_on=date(2026, 3, 12))
        assert business.hold([], 0, date(2026, 3, 2)) == 0
        assert business.hold([monthly], 20, date(2026, 3, 2)) == 11
        assert business.hold([monthly], 40, date(2026, 3, 2)) == 0
        assert business.hold([monthly, once], 40, date(2026, 3, 2)) == 11
        assert business.hold([once], 400, date(2026, 3, 13)) == 0

    def test_in_years_that_are_not_published_the_usual_days_count(self):
        """Nothing is taken at Spring Festival because its decree came late; the days of law, and those around as custom has it."""
        spring = Period("春节", Recurs.FESTIVAL, festival="Spring Festival", lead_days=2)
        inside = [n for n in range(365) if spring.includes(date(2034, 1, 1) + timedelta(days=n))]
        assert (inside[0], len(inside)) == ((date(2034, 2, 16) - date(2034, 1, 1)).days, 12)
        assert business.hold([spring], 400, date(2034, 2, 19)) > 0
        # Two may fall on one day.
        assert set(business.holiday(date(2031, 10, 1))) == {"National Day", "Mid-autumn Festival"}
        assert set(business.holiday(date(2050, 10, 1))) == {"National Day", "Mid-autumn Festival"}
        assert list(business.holiday(date(2050, 10, 3))) == ["National Day"]
        assert list(business.holiday(date(2050, 2, 1))) == []
        assert list(business.holiday(date(2026, 2, 14))) == [], "worked in exchange, as published"


class TestSections:
    def policy(self) -> Policy:
        growing = tuple(rule for rule in default().rules if rule.verdict in GROWS)
        return replace(
            default(),
            sections=(
                Section("a", departments=("X",), kinds=("vm",), rules=growing),
                Section("b", levels=(3, 4), sizing="steward-safe"),
            ),
        )

    def test_the_first_that_is_about_it_holds(self):
        policy = self.policy()
        assert policy.section(Standing("vm", "p", ["Y", "X"], 3)) == 0
        assert policy.section(Standing("eip", "p", ["Y", "X"], 3)) == 1
        assert policy.section(Standing("vm", "p")) == -1
        assert list(policy.rules_of(0)) == list(range(len(policy.rules), len(policy.every)))
        assert list(policy.rules_of(1)) == list(range(len(policy.rules)))
        assert [policy.sizing_of(i) for i in (-1, 0, 1)] == ["p95@70+fast", "p95@70+fast", "steward-safe"]
        assert (policy.named(None), policy.named("b")) == (-1, 1)
        with pytest.raises(KeyError):
            policy.named("c")

    def test_there_and_back_as_json(self):
        assert Policy.from_json(self.policy().to_json()) == self.policy()
        older = {k: v for k, v in default().to_json().items() if k not in ("sizing", "sections")}
        assert Policy.from_json(older) == replace(default(), sizing="p95@70"), "what says nothing of growth has none"

    @pytest.mark.parametrize("section", [{"name": "x"}, {"name": "", "levels": (1,)}, {"name": "x", "levels": (1,)}])
    def test_a_section_says_something_about_somebody(self, section):
        with pytest.raises(ValueError):
            Section(**section)


class TestOutlook:
    """What is remembered from night to night is what the daily histograms say, gaps and all."""

    @pytest.mark.parametrize("name", ["steward-safe", "steward-balanced", "steward-economy"])
    def test_the_same_as_night_by_night(self, name):
        rng = np.random.default_rng(5)
        profile = PROFILES[name]
        r, d = 40, 30
        load = rng.gamma(2, 8, (r, d, 288)) * rng.uniform(0.2, 3, (r, 1, 1))
        there = rng.random((r, d)) > 0.15
        counts = np.zeros((r, d, 201), np.uint16)
        bins = np.minimum((load * 2).astype(int), 200)
        for i in range(r):
            for day in range(d):
                if there[i, day]:
                    counts[i, day] = np.bincount(bins[i, day], minlength=201)
        peak = np.where(there, load.max(axis=2), 0.0)
        state = newborn(r, profile)
        for day in range(d):
            state = night(state, counts[:, day].astype(float), peak[:, day], profile)
        seen = outlook(counts, peak, profile)
        np.testing.assert_allclose(seen.recent_peak, state.targets.max(axis=1), atol=0.56)
        np.testing.assert_array_equal(seen.saturated, state.saturated)
        np.testing.assert_array_equal(seen.observed, state.observed)
        assert np.mean(np.abs(seen.recent_peak - state.targets.max(axis=1)) < 1e-3) > 0.95


def test_a_lake_of_another_step_is_judged_by_its_own(works, past, today, tmp_path):
    """A sample every quarter of an hour, and all of them there: covered, for samples are due a quarter of an hour apart."""
    slow = replace(works, lake=Lake(tmp_path / "quarters", step_s=900))
    begin = today - timedelta(days=30)
    ts = int(datetime(begin.year, begin.month, begin.day, tzinfo=ZONE).timestamp()) + np.arange(30 * 96) * 900
    noise = np.random.default_rng(1).random(len(ts))
    ids = np.full(len(ts), past["quiet"], np.int32)
    slow.lake.append("slow", pa.table({"resource": ids, "ts": ts, "cpu_pct": 50 + noise, "mem_pct": 50 + noise}))
    slow.lake.roll()
    run, found = judged(slow, today)
    verdict, _target, numbers, _reasons = found["quiet"]
    month = numbers["windows"]["30"]
    assert (verdict, month["wanted"], month["expected"], month["live"]) == ("normal", 2880, 2880, 2880)
    assert (month["coverage"], month["received"]) == (1.0, 1.0)
    assert found["young"][2]["windows"]["30"]["expected"] < 30 * 96
    assert recompute.run(slow, run).same
    with pytest.raises(ValueError, match="five minutes"):
        next(history.parts(slow, history.past(slow)))
