"""What a policy version did within the day: reckoned from closed days and delivered orders, held against what was played."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta

import pytest
from sqlalchemy import select

from metering import cases
from metering.cases import Consent, recoveries
from metering.intraday import PolicyDay, effects, look
from metering.judging import Section, policies
from metering.judging.procedure import Procedure
from metering.lake.store import Lake
from metering.sizing import Fast
from quota.calendar import ZONE
from tests.city import City
from tests.metering.surging import Surging

HOT, WORKING, CALM = 99.0, 60.0, 20.0
HOLD = Fast().hold_hours
EARLY = "steward-balanced+swift"
ORDERED = 600
"""Seconds of an hour's samples that were over before the order of the look at six past was delivered."""


@pytest.fixture
def town(city: City, tmp_path) -> Surging:
    made = Surging(city, Lake(tmp_path / "lake"))
    tomorrow = made.clock.now.astimezone(ZONE).date() + timedelta(days=1)
    made.clock.now = datetime.combine(tomorrow, time(9), ZONE)  # all that follows is of one local day
    return made


def closed(town: Surging) -> None:
    """The day ends, and is closed."""
    town.clock.now = datetime.combine(town.clock.now.astimezone(ZONE).date() + timedelta(days=1), time(3), ZONE)
    town.lake.roll()


def rows(town: Surging) -> list[PolicyDay]:
    with town.book.reading() as tx:
        return list(tx.scalars(select(PolicyDay).order_by(PolicyDay.day, PolicyDay.policy_version_id)))


def lent(town: Surging, machine: int) -> None:
    """An hour at the ceiling, two of work that 4 vCPU could not do, then calm until it is given back."""
    town.hour({machine: HOT})
    town.carry()
    for load in (WORKING, WORKING, *[CALM] * (HOLD - 1)):
        town.hour({machine: load})
    assert list(town.hour({machine: CALM}).done) == ["calm"]
    town.carry()


def test_avoided_suffered_lent_and_returned_are_what_was_played(town: Surging):
    machine, hot = town.machine(), town.machine(system_id=None)
    town.authorise()
    since = town.clock.now
    town.hour({hot: HOT})
    town.clock.now = since
    lent(town, machine)
    loan = town.case(machine)
    closed(town)
    assert effects.reckon(town.works) == 1
    (row,) = rows(town)
    assert row.policy_version_id == town.city.policy
    assert (row.machines, row.growths, row.returned) == (2, 1, 1)
    assert row.avoided_s == 2 * 3600 - ORDERED, "60 % of eight is more than four can do"
    assert row.ceiling_s == 2 * 3600, "an hour of each at 99 %, before either was larger"
    assert row.known_s == (2 + 2 + HOLD) * 3600
    with town.book.reading() as tx:
        assert row.lent_core_s == 4 * round((loan.closed_at - loan.effective_at).total_seconds())
        told = effects.told(effects.effects(tx)[town.city.policy])
    assert told["avoided_ceiling_minutes"] == row.avoided_s // 60
    assert told["violation_rate"] == pytest.approx(2 / (4 + HOLD), abs=1e-6)


def test_twice_is_once_and_what_comes_late_is_counted(town: Surging):
    machine = town.machine()
    town.hour({machine: CALM})
    evening = town.clock.now
    closed(town)
    effects.reckon(town.works)
    town.feed({machine: [HOT] * 12}, end=evening.replace(minute=0) + timedelta(hours=1))
    town.lake.roll()
    assert effects.reckon(town.works) == 1
    (row,) = rows(town)
    assert (row.known_s, row.ceiling_s, row.growths, row.lent_core_s) == (7200, 3600, 0, 0)


def test_a_growth_that_goes_on_is_split_at_midnight_and_stays_with_its_version(town: Surging):
    machine = town.machine()
    town.authorise()
    town.clock.now = town.clock.now.replace(hour=21)
    town.hour({machine: HOT})
    town.carry()
    first = town.city.policy
    tomorrow = town.clock.now.astimezone(ZONE).date() + timedelta(days=1)
    with town.city.by() as tx:
        other = replace(policies.version(tx, first).policy(), effective_from=tomorrow)
        second = policies.enact(tx, other, Procedure(), reason="次日起生效").id
    for _ in range(4):
        town.hour({machine: WORKING})
    closed(town)
    assert effects.reckon(town.works) == 2
    begun, on, other_version = rows(town)
    assert {on.policy_version_id, other_version.policy_version_id} == {first, second}
    on, other_version = (on, other_version) if on.policy_version_id == first else (other_version, on)
    assert (begun.growths, begun.returned, on.growths, on.returned) == (1, 0, 0, 0)
    assert (begun.avoided_s, on.avoided_s) == (2 * 3600 - ORDERED, 2 * 3600)
    assert on.lent_core_s == 4 * 86_400, "it was lent all that day, heard of or not"
    assert (other_version.machines, other_version.growths) == (1, 0), "what is suffered is of the version in force"


def test_what_a_department_gives_back_early_was_lent(town: Surging):
    machine = town.machine()
    town.authorise()
    town.hour({machine: HOT})
    town.carry()
    town.hour({machine: WORKING})
    with town.book.transaction(town.city.tenant) as tx:
        cases.roll_back(tx, cases.case(tx, town.case(machine).id), "活动结束")
    town.carry()
    loan = town.case(machine)
    assert loan.consent == Consent.ASKED, "no longer on the standing authorisation"
    closed(town)
    effects.reckon(town.works)
    (row,) = rows(town)
    assert (row.growths, row.returned, row.avoided_s) == (1, 1, 3600 - ORDERED)
    assert row.lent_core_s == 4 * round((loan.closed_at - loan.effective_at).total_seconds()) > 0


def test_each_machine_suffers_at_the_level_of_its_section(town: Surging, monkeypatch):
    monkeypatch.setattr(effects, "fast_of", lambda name: Fast(level=0.9) if name == EARLY else look.fast_of(name))
    machine, other = town.machine(), town.machine(system_id=None)
    with town.city.by() as tx:
        before = policies.version(tx, town.city.policy).policy()
        section = Section("忙系统", systems=("busy",), sizing=EARLY)
        policy = replace(before, sections=(section,), effective_from=town.clock.now.astimezone(ZONE).date())
        town.city.policy = policies.enact(tx, policy, Procedure(), reason="忙系统早一些").id
    town.hour(dict.fromkeys((machine, other), 95.0))
    closed(town)
    effects.reckon(town.works)
    (row,) = rows(town)
    assert (row.machines, row.known_s, row.ceiling_s) == (2, 2 * 3600, 3600), "the one in the section alone"


def test_days_before_any_policy_have_no_figures_and_are_not_due_again(town: Surging):
    machine = town.machine()
    with town.book.reading() as tx:
        first = min(one.effective_from for one in policies.versions(tx, "default"))
    before = datetime.combine(first, time(12), ZONE) - timedelta(days=1)
    town.feed({machine: [CALM] * 12}, end=before)
    for _ in range(effects.AGAIN):
        town.hour({machine: CALM})
        closed(town)
    assert before.date() in town.lake.days()
    assert effects.reckon(town.works) == effects.AGAIN, "one for each day under a policy"
    told: list[tuple[int, int]] = []
    assert effects.reckon(town.works, lambda _what, done, of: told.append((done, of))) == effects.AGAIN
    assert told[-1] == (effects.AGAIN, effects.AGAIN)
    assert min(row.day for row in rows(town)) >= first


def test_no_samples_are_no_figures(town: Surging):
    town.machine()
    assert effects.reckon(town.works) == 0
    with town.book.reading() as tx:
        assert effects.effects(tx) == {}
        assert effects.told(None) is None
        assert recoveries.contradictions(tx, town.city.policy) == recoveries.Contradiction(0, 0)
