"""Systems judged from their machines, and suspected zombies from the ledger."""

from __future__ import annotations

from datetime import date

import pytest

from metering.judging import WholeLevels
from metering.judging.findings import Finding
from metering.overview import systems
from metering.overview.systems import SystemUse
from quota.directory.departments import System

TODAY = date(2026, 6, 1)


def finding(cpu, mem, vcpu=8, verdict="normal"):
    return Finding(
        verdict=verdict,
        shape={"vcpu": vcpu, "memory": vcpu * 2048},
        numbers={"windows": {"7": {"cpu_mean": 99.0, "mem_mean": 99.0}, "30": {"cpu_mean": cpu, "mem_mean": mem}}}
        if cpu is not None
        else {"windows": {}},
    )


@pytest.mark.parametrize(
    ("rows", "use"),
    [
        ([finding(10, 20), finding(20, 30)], SystemUse.LOW),
        ([finding(10, 50)], SystemUse.NORMAL),
        ([finding(60, 20)], SystemUse.HIGH),
        ([finding(10, 80)], SystemUse.HIGH),
        # The big machine weighs what it has.
        ([finding(80, 20, vcpu=32), finding(1, 20, vcpu=2)], SystemUse.HIGH),
        # A third of the cores unknown: nothing is said.
        ([finding(1, 1), finding(1, 1), finding(None, None)], SystemUse.UNKNOWN),
        ([], SystemUse.UNKNOWN),
    ],
)
def test_the_use_of_a_system(rows, use):
    assert systems.judge(rows).use(WholeLevels()) is use


def test_means_weigh_by_size():
    told = systems.judge([finding(50, 10, vcpu=12), finding(10, 30, vcpu=4, verdict="idle")])
    assert told.cpu == pytest.approx(40)
    assert told.memory == pytest.approx(15)
    assert told.classes == {"normal": 1, "idle": 1}


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"last_business_login_on": date(2026, 3, 3)}, "asleep"),
        ({"last_business_login_on": date(2026, 3, 4)}, ""),
        ({"registered_users": 1000, "monthly_active_users": 49}, "deserted"),
        ({"registered_users": 1000, "monthly_active_users": 50}, ""),
        ({"online_on": date(2026, 5, 1), "registered_users": 1000, "monthly_active_users": 0}, ""),
        ({}, ""),
        ({"registered_users": 0, "monthly_active_users": 0}, ""),
    ],
)
def test_suspected_zombies(known, why):
    assert systems.zombie(System(**known), TODAY, WholeLevels()) == why
