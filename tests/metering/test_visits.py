"""Who comes to systems: counters that begin anew, step back, come late or twice; days that are known, and what they come to."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from metering.intake import PushSource
from metering.lake import Damaged
from metering.lake.store import Lake
from metering.visits import MeasuredVisits, SystemVisits, VisitKind, VisitSeries, receiving, settle
from metering.visits.counters import CounterState, Rise, by_day, read
from metering.visits.settling import known_since
from metering.workbench import Workbench
from quota.actors import steward
from quota.calendar import ZONE
from quota.directory import departments, pools
from quota.directory.departments import System
from quota.directory.pools import Pool

MINUTE = 60_000


@pytest.mark.parametrize(
    ("shown", "rises"),
    [
        ([10, 25, 25], [(15, True), (0, True)]),
        ([1000, 3], [(3, True)]),  # it began anew, and counted at least 3
        ([1000, 995, 1002], [(0, True), (2, True)]),  # a step back stands still
        ([1000, 700, 710], [(0, False), (10, True)]),  # nobody knows
        ([10, 1e9], [(0, False)]),  # nobody serves as many
        ([10.9, 12.2], [(2, True)]),
        ([7], []),
    ],
)
def test_what_a_counter_counted(shown, rises):
    state, found = read(None, [(n * MINUTE, value) for n, value in enumerate(shown)])
    assert [(one.count, one.known) for one in found] == rises
    assert state.ts == (len(shown) - 1) * MINUTE


def test_silence_loses_nothing_and_what_comes_late_or_twice_says_nothing():
    state, found = read(CounterState(0, 100), [(3 * 86_400_000, 400), (MINUTE, 150), (MINUTE, 150)])
    assert [one.count for one in found] == [50, 250]
    assert read(state, [(MINUTE, 150), (3 * 86_400_000, 400), (0, 1)]) == (state, [])
    _state, found = read(CounterState(0, 100), [(16 * MINUTE, 5)])
    assert found == [Rise(0, 16 * MINUTE, 5, known=False)]  # before it began anew it may have counted more


@given(st.integers(0, 10**13), st.integers(1, 10 * 86_400_000), st.integers(0, 10**9))
def test_days_share_all_of_it(since, length, count):
    told = list(by_day(Rise(since, since + length, count, known=True)))
    assert sum(part for _day, part in told) == count
    assert all(part >= 0 for _day, part in told)
    assert [day for day, _part in told] == sorted({day for day, _part in told})


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_in_whatever_parts_it_comes_it_counts_the_same(steps, random):
    """Deliveries cut anywhere, each sent again with the one before it."""
    points = [(n * MINUTE, float(sum(steps[: n + 1]))) for n in range(len(steps))]
    state, total, at = None, 0, 0
    while at < len(points):
        end = random.randint(at + 1, len(points))
        state, found = read(state, points[max(0, at - 3) : end])
        total, at = total + sum(one.count for one in found), end
    assert total == sum(steps[1:])


@pytest.mark.parametrize(
    ("known", "silent", "since"),
    [
        ([1.0] * 40, [], 40),
        ([1.0] * 5, [], 5),
        ([0.0] + [1.0] * 39, [], 40),  # yesterday alone
        ([0.0] * 2 + [1.0] * 38, [], None),
        ([1.0] * 20 + [0.0] * 5 + [1.0] * 300, [], 22),  # a hole, however much is known before it
        ([0.95] * 60, [], 60),
        ([0.85] * 60, [], None),
        ([1.0] * 40, [1, 2, 3], None),  # a front that fell silent beside another
    ],
)
def test_since_when_it_is_known(known, silent, since):
    today = date(2026, 6, 1)
    told = {today - timedelta(days=n + 1): round(part * 86_400) for n, part in enumerate(known) if part < 1}
    found = known_since(today - timedelta(days=len(known)), told, [today - timedelta(days=n) for n in silent], today)
    assert found == (None if since is None else today - timedelta(days=since))


@pytest.fixture
def works(book, tmp_path):
    """One system and two sources."""
    with book.transaction(steward()) as tx:
        company = pools.CloudProvider(code="c", name="某云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="池", provider_id=company.id, arch="x86_64", zone="z", adapter="files")
        tx.add(pool)
        tx.flush()
        owner = departments.register(tx, "d", "某局")
        tx.add(System(id=5, code="exam", name="报名系统", department_id=owner.id, active=True))
        for number in (1, 2):
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
    return Workbench(book, Lake(tmp_path / "lake"), tmp_path)


def sent(works, source, points, signal=40, series=1):
    """Points at hours after midnight of 1 May."""
    begin = datetime(2026, 5, 1, tzinfo=ZONE).timestamp()
    rows = [(5, signal, series, int((begin + hour * 3600) * 1000), float(value)) for hour, value in points]
    receiving.keep(works.lake, source, pa.table(list(zip(*rows, strict=True)), schema=receiving.SPOOLED))


def days(works, source=1, kind=VisitKind.LOGINS):
    with works.book.reading() as tx:
        query = select(SystemVisits).where(SystemVisits.source_id == source, SystemVisits.kind == kind.value)
        return {one.day.day: (one.count, one.known_s) for one in tx.scalars(query.order_by(SystemVisits.day))}


def test_deliveries_become_days_once(works, clock):
    sent(works, 1, [(h, 10 * h) for h in range(25)])
    sent(works, 1, [(h, 100 + h) for h in range(13)], series=2)  # another front, beside it
    assert receiving.take_up(works)[1].points == 38
    assert days(works) == {1: (240 + 12, 86_400)}
    sent(works, 1, [(h, 10 * h) for h in range(20, 31)])  # some of it again
    sent(works, 1, [(12, 112), (23, 130)], series=2)  # and late: counted, and known already
    receiving.take_up(works)
    assert days(works) == {1: (240 + 12 + 18, 86_400), 2: (60, 6 * 3600)}
    assert receiving.take_up(works) == {}
    sent(works, 2, [(6, 0), (30, 24), (31, 24)])
    sent(works, 2, [(30, 80), (31, 75)], signal=42, series=3)
    receiving.take_up(works)
    sent(works, 2, [(29, 999), (31, 999)], signal=42, series=3)  # older, and told already
    receiving.take_up(works)
    assert days(works, 2) == {1: (18, 18 * 3600), 2: (6, 7 * 3600)}
    assert days(works, 2, VisitKind.USERS) == {2: (80, 0)}
    with works.book.transaction(steward()) as tx:
        assert settle(tx, date(2026, 5, 3)) == 1
        one = tx.get(MeasuredVisits, 5)
        assert (one.last_login_on, one.known_since) == (date(2026, 5, 2), None)  # of 2 May a quarter is known
        assert (one.logins, one.logins_by) == (330, 1)  # never the sum of both: they may count the same
        assert (one.active_users, one.users_on, one.users_by, one.visits) == (80, date(2026, 5, 2), 2, None)
        assert settle(tx, date(2026, 5, 2)) == 1
        assert tx.get_one(MeasuredVisits, 5, populate_existing=True).known_since == date(2026, 5, 1)
        settle(tx, date(2026, 5, 20))
        assert tx.get_one(MeasuredVisits, 5, populate_existing=True).active_users is None  # too old to be believed
        assert tx.scalars(select(VisitSeries)).all()
        settle(tx, date(2026, 6, 2))
        assert tx.scalars(select(VisitSeries)).all() == []  # retired
        settle(tx, date(2027, 7, 1))
        assert tx.scalars(select(SystemVisits)).all() == []


def test_what_cannot_be_read_is_named_and_keeps_no_other_waiting(works):
    folder = works.lake.root / "push-systems" / "1"
    folder.mkdir(parents=True)
    (folder / "00000000000000000001-abc.arrow").write_bytes(b"nothing of ours")
    sent(works, 2, [(0, 1), (1, 5)])
    with pytest.raises(Damaged, match="push-systems/1/"):
        receiving.take_up(works)
    assert days(works, 2) == {1: (4, 3600)}
    assert len(list(folder.iterdir())) == 1
