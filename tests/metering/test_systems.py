"""Systems judged from their machines, and suspected zombies from the ledger."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import select

from metering.intake import PushSource
from metering.judging import WholeLevels
from metering.judging.findings import Finding
from metering.overview import systems
from metering.overview.systems import SystemUse
from metering.visits import MeasuredVisits, SystemVisits
from quota.actors import steward
from quota.directory import departments, pools
from quota.directory.departments import System
from quota.directory.pools import Pool

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
    assert systems.zombie(System(**known), None, TODAY, WholeLevels()) == (why, None)


LONG_AGO, DAYS_90, LATELY = date(2026, 1, 1), date(2026, 3, 3), date(2026, 3, 4)
BOTH = [
    ({}, {"known_since": DAYS_90, "logins_by": 7}, ("asleep", 7)),
    ({}, {"known_since": LATELY, "logins_by": 7}, ("", None)),  # a day less is known: no data is not zero
    ({}, {"logins_by": 7}, ("", None)),
    ({}, {"last_login_on": DAYS_90, "known_since": LONG_AGO, "logins_by": 7}, ("asleep", 7)),
    ({}, {"last_login_on": DAYS_90, "logins_by": 7}, ("", None)),  # the source fell silent: since then nothing is known
    ({}, {"last_login_on": LONG_AGO, "known_since": LATELY, "logins_by": 7}, ("", None)),
    ({"last_business_login_on": LONG_AGO}, {"last_login_on": DAYS_90}, ("", None)),  # and that was typed before
    ({"last_business_login_on": LONG_AGO}, {"last_login_on": DAYS_90, "known_since": DAYS_90, "logins_by": 7}, ("asleep", 7)),
    ({"last_business_login_on": LATELY}, {"last_login_on": LONG_AGO, "known_since": LONG_AGO}, ("", None)),
    ({}, {"last_login_on": LATELY, "known_since": LONG_AGO, "logins_by": 7}, ("", None)),
    ({"last_business_login_on": LATELY}, {"known_since": LONG_AGO, "logins_by": 7}, ("", None)),  # the owner says so
    ({"last_business_login_on": DAYS_90}, {"last_login_on": LATELY}, ("", None)),  # what was typed is of another time
    ({"last_business_login_on": DAYS_90}, {"last_login_on": LONG_AGO, "logins_by": 7}, ("asleep", None)),
    ({"last_business_login_on": DAYS_90}, {"known_since": LATELY, "logins_by": 7}, ("asleep", None)),
    ({"online_on": LATELY}, {"known_since": LONG_AGO}, ("", None)),
    ({"registered_users": 1000, "monthly_active_users": 49}, {"active_users": 50, "users_by": 8}, ("", None)),
    ({"registered_users": 1000, "monthly_active_users": 50}, {"active_users": 49, "users_by": 8}, ("deserted", 8)),
    ({"registered_users": 1000}, {"active_users": 0, "users_by": 8}, ("deserted", 8)),
    ({}, {"active_users": 0, "users_by": 8}, ("", None)),  # of how many nobody says
]  # fmt: skip


@pytest.mark.parametrize(("typed", "measured", "why"), BOTH)
def test_what_is_measured_stands_beside_what_is_typed(typed, measured, why):
    assert systems.zombie(System(**typed), MeasuredVisits(**measured), TODAY, WholeLevels()) == why


MONTHS = [
    ((49, 49, 49), 1000, True),
    ((49, 50, 49), 1000, False),
    ((49, None, 49), 1000, False),  # a month that nobody measured is none
    ((0, 0, 0), None, False),
]
"""The most active users at the end of March, April and May, registered users, and whether so few are active."""


def test_the_database_suspects_the_same(book):
    with book.transaction(steward()) as tx:
        owner = departments.register(tx, "d", "某局")
        company = pools.CloudProvider(code="c", name="某云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="池", provider_id=company.id, arch="x86_64", zone="z", adapter="files")
        tx.add(pool)
        tx.flush()
        for number in (7, 8):
            tx.add(
                PushSource(
                    id=number,
                    code=f"s{number}",
                    name="认证",
                    pool_id=pool.id,
                    token_digest=str(number),
                    created_by="x",
                    created_at=tx.now,
                )
            )
        tx.flush()
        rows = []
        for number, (typed, measured, _why) in enumerate(BOTH):
            row = System(code=str(number), name=str(number), department_id=owner.id, active=True, **typed)
            tx.add(row)
            tx.flush()
            tx.add(MeasuredVisits(system_id=row.id, **measured))
            rows.append(row)
        tx.flush()
        found = set(tx.scalars(select(System.code).where(systems.suspected(TODAY, WholeLevels()))))
        assert found == {str(number) for number, (_typed, _measured, why) in enumerate(BOTH) if why[0]}

        levels, deserted = WholeLevels(deserted_months=3, asleep_days=3660), set()
        for number, (told, registered, few) in enumerate(MONTHS):
            row = System(code=f"m{number}", name="月", department_id=owner.id, active=True, registered_users=registered,
                         monthly_active_users=0)  # fmt: skip
            tx.add(row)
            tx.flush()
            for month, users in enumerate(told, 3):
                week = date(2026, month, 24 if month == 4 else 25)  # of which the last week of the month begins
                for day, count in ((week, users), (week - timedelta(days=1), 900)):
                    if count is not None:
                        tx.add(
                            SystemVisits(system_id=row.id, source_id=7, kind="users", day=day, count=count, known_s=0)
                        )
            deserted |= {row.code} if few else set()
        tx.flush()
        june = date(2026, 6, 1)
        assert set(tx.scalars(select(System.code).where(systems.suspected(june, levels)))) == deserted == {"m0"}
        query = select(System, systems.most_users(june, levels)).where(System.code.startswith("m"))
        for row, most in tx.execute(query):
            assert (systems.zombie(row, None, june, levels, most)[0] == "deserted") is (row.code in deserted), row.code
        fewer = WholeLevels(deserted_months=2, asleep_days=3660)
        assert set(tx.scalars(select(System.code).where(systems.suspected(date(2026, 4, 30), fewer)))) == set()
