"""Each pool collected by its own interval, asked back within its own window, and a page that says how it stands."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from console.jobs import Abreast
from console.marks import chinese
from console.worklist import Worklist
from metering.intake import Intake, collection, schedules
from metering.lake import Lake
from metering.workbench import Workbench
from providers.adapters.simulated.cloud import SimulatedCloud
from providers.base import Inventory, ProviderFault, ResourceFact, Samples
from providers.connection import FAULTS
from providers.paces import CollectionPace
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory.pools import Pool
from quota.errors import Conflict, Invalid
from quota.inventory import ResourceState, ServiceKind
from quota.units import MEMORY, VCPU, Arch

STEP = timedelta(minutes=5)


class Cloud(SimulatedCloud):
    """One machine that is half used, slot by slot; its clock is two minutes ahead."""

    live_resize = False

    def __init__(self, name: str) -> None:
        self.machine, self.down, self.asked = f"{name}-vm", False, []

    def inventory(self, now):
        if self.down:
            raise ProviderFault("no route to host", transient=True, code="unreachable")
        sizes = {VCPU: 2, MEMORY: 4096}
        fact = ResourceFact(
            self.machine, self.machine, ServiceKind.VM, Arch.X86_64, sizes, ResourceState.RUNNING, created_at=now
        )
        return Inventory(now, [fact])

    def skew(self, now):
        return timedelta(seconds=120)

    def samples(self, since, until):
        self.asked.append((since, until))
        first = -(-int(since.timestamp()) // 300) * 300
        ts = np.arange(first, int(until.timestamp()) // 300 * 300, 300)
        half = pa.array(50 + np.sin(ts / 3600), pa.float64())
        columns = {"resource": pa.array(np.zeros(len(ts)), pa.int32()), "ts": pa.array(ts, pa.int64()), "cpu_pct": half}
        yield Samples("half", [self.machine], pa.table(columns))


@pytest.fixture
def works(place, house, settings):
    with house.transaction(steward("test")) as tx:
        first = tx.scalars(select(Pool)).one()
        other = Pool(
            code="p2", name="第二池", provider_id=first.provider_id, arch="x86_64", zone=first.zone, adapter="files"
        )
        tx.add(other)
        tx.flush()
        clouds = {first.id: Cloud("a"), other.id: Cloud("b")}
    return Workbench(house, Lake(settings.lake_dir), settings.data, clouds, secrets=settings.secrets)


def mark(works: Workbench, pool: Pool) -> Intake:
    with works.book.reading() as tx:
        return tx.get_one(Intake, pool.id)


def arrange(works: Workbench, pool: Pool, pace: CollectionPace) -> None:
    with works.book.transaction(steward("test")) as tx:
        schedules.arrange(tx, tx.get_one(Pool, pool.id), pace, before=schedules.pace(tx, pool.id))


def slots(works: Workbench, pool: Pool, since: datetime, until: datetime) -> int:
    with works.book.reading() as tx:
        (number,) = collection._machines(tx, pool.id)
    return int((works.lake.chart(number, since, until, ["cpu_pct"]).count > 0).sum())


def test_a_pool_is_collected_hourly_beside_one_every_five_minutes(works, settings, clock) -> None:
    often, seldom = works.pools()
    arrange(works, seldom, CollectionPace(every_minutes=60, window_days=1))
    arrange(works, often, CollectionPace(every_minutes=5, window_days=1))
    worklist, begun = Worklist(works, settings, Abreast(leaves=True)), works.book.clock()
    for turn in range(25):
        clock.now = begun + turn * STEP
        worklist.collect()
    asked = {pool.code: works.opened[pool.id].asked for pool in (often, seldom)}
    assert [len(asked[pool.code]) for pool in (often, seldom)] == [25, 3]
    assert [until - begun for _since, until in asked[seldom.code]] == [timedelta(hours=n) for n in range(3)]
    # Both have each slot: who is asked seldom is asked for all that lies between.
    first = begun - timedelta(hours=3)
    assert slots(works, often, first, clock.now) == slots(works, seldom, first, clock.now) == 60
    # A pool that failed is tried again in half an hour, whatever its interval, and not at every turn.
    works.opened[seldom.id].down = True
    clock.now += timedelta(hours=1)
    assert "unreachable" not in str(worklist.collect())
    works.opened[seldom.id].down = False
    clock.now += STEP
    assert seldom.code not in collection.due(works)
    clock.now += timedelta(minutes=25)
    assert seldom.code in collection.due(works)
    worklist.collect()
    assert mark(works, seldom).fault == ""
    assert collection.due(works) == set()


def test_a_cloud_that_takes_its_time_is_collected_as_often_as_it_is_arranged(works, settings, clock) -> None:
    pool, other = works.pools()

    class Slow(Cloud):
        def samples(self, since, until):
            yield from super().samples(since, until)
            clock.now += timedelta(minutes=2)

    works.opened[pool.id] = Slow("a")
    arrange(works, other, CollectionPace(every_minutes=1440, window_days=2))
    worklist, begun = Worklist(works, settings, Abreast(leaves=True)), works.book.clock()
    for turn in range(4):
        clock.now = begun + turn * STEP
        worklist.collect()
    assert [until for _since, until in works.opened[pool.id].asked] == [begun + turn * STEP for turn in range(4)]


def test_an_outage_of_three_days_is_made_up_for_within_the_window_and_no_further(works, clock) -> None:
    pool, _other = works.pools()
    arrange(works, pool, CollectionPace(every_minutes=5, window_days=2))
    begun = works.book.clock()
    assert collection.collect(works, pool).since == begun - timedelta(days=2)
    cloud = works.opened[pool.id]
    cloud.down, clock.now = True, begun + timedelta(days=1)
    with pytest.raises(ProviderFault):
        collection.collect(works, pool)
    assert (mark(works, pool).fault_code, mark(works, pool).collected_until) == ("unreachable", begun)
    cloud.down, clock.now = False, begun + timedelta(days=3)
    assert collection.collect(works, pool).since == begun + timedelta(days=1)
    row = mark(works, pool)
    assert row.gaps == [(begun, begun + timedelta(days=1))]
    assert slots(works, pool, begun, begun + timedelta(days=1)) == 0
    assert slots(works, pool, begun + timedelta(days=1), clock.now) == 2 * 288
    assert (row.coverage, row.skew_s, row.fault) == (1.0, 120.0, "")
    assert row.newest_at == datetime.fromtimestamp(int(clock.now.timestamp()) // 300 * 300 - 300, UTC)

    # What was missed comes in by a wider window, and only by one.
    with works.book.transaction(steward("test")) as tx, pytest.raises(Invalid) as refused:
        collection.again_from(tx, tx.get_one(Pool, pool.id), begun)
    assert refused.value.code == "collection.window"
    arrange(works, pool, CollectionPace(every_minutes=5, window_days=4))
    with works.book.transaction(steward("test")) as tx:
        collection.again_from(tx, tx.get_one(Pool, pool.id), begun)
    assert collection.collect(works, pool).since == begun - schedules.USUAL.lookback
    assert slots(works, pool, begun, clock.now) == 3 * 288
    assert mark(works, pool).gaps == []


def test_each_gap_is_named_by_itself_and_a_pool_that_was_never_read_has_none(works, client_of, clock) -> None:
    pool, _other = works.pools()
    arrange(works, pool, CollectionPace(every_minutes=5, window_days=1))
    cloud, begun = works.opened[pool.id], works.book.clock()
    cloud.down = True
    with pytest.raises(ProviderFault):
        collection.collect(works, pool)
    staff = client_of(Role.SUPERVISOR)
    assert "还没有采集成功过；成功后往回采 1 天。" in staff.get(f"/pools/{pool.id}/collection").text
    with works.book.transaction(steward("test")) as tx, pytest.raises(Invalid) as refused:
        collection.again_from(tx, tx.get_one(Pool, pool.id), begun)
    assert refused.value.code == "collection.never"
    cloud.down, clock.now = False, begun + timedelta(hours=3)
    assert collection.collect(works, pool).missed is None
    assert mark(works, pool).gaps == [], "nothing was missed of what was never begun"

    found = []
    for days in (2, 2, 5):
        before = clock.now
        clock.now += timedelta(days=days)
        collection.collect(works, pool)
        found.append((before, clock.now - timedelta(days=1)))
    assert mark(works, pool).gaps == found
    shown = client_of(Role.SUPERVISOR).get(f"/pools/{pool.id}/collection").text
    assert shown.count("的用量早于回补窗口，没有采集") == 3
    arrange(works, pool, CollectionPace(every_minutes=5, window_days=30))
    middle = found[1][0] + timedelta(hours=6)
    with works.book.transaction(steward("test")) as tx:
        collection.again_from(tx, tx.get_one(Pool, pool.id), middle)
    collection.collect(works, pool)
    assert mark(works, pool).gaps == [found[0], (found[1][0], middle)]


class LateCloud(Cloud):
    """Its store has a sample six hours after it was made, and says of some that they were otherwise when it is asked once more."""

    remembers = True
    revised: tuple[int, float] = (0, 0.0)

    def __init__(self, name: str, clock) -> None:
        super().__init__(name)
        self.clock = clock

    def samples(self, since, until):
        for batch in super().samples(since, min(until, self.clock.now - timedelta(hours=6))):
            ts = batch.table.column("ts").to_numpy()
            cpu = np.where(ts == self.revised[0], self.revised[1], batch.table.column("cpu_pct").to_numpy())
            yield Samples(batch.source, batch.external_ids, batch.table.set_column(2, "cpu_pct", pa.array(cpu)))


def test_a_store_that_takes_in_six_hours_late_is_read_whole_the_next_morning(works, clock) -> None:
    pool, other = works.pools()
    day = datetime.combine(clock.now.astimezone(ZONE).date() + timedelta(days=2), time(), ZONE)
    clock.now = day - timedelta(hours=12)
    cloud = works.opened[pool.id] = LateCloud("a", clock)
    works.opened[other.id] = Cloud("b")  # keeps nothing: is not asked twice
    arrange(works, pool, CollectionPace(every_minutes=60, window_days=2))
    counts = []
    for _hour in range(43):
        collection.collect(works, pool)
        collection.collect(works, other)
        counts.append(slots(works, pool, day, day + timedelta(days=1)))
        clock.now += timedelta(hours=1)
    # Hour by hour nothing comes that is two hours old; from six in the morning on the day before is all there.
    assert counts[42] == 288 > counts[41] == 0
    assert (day, day + timedelta(days=1)) in cloud.asked
    assert sum(since < until - timedelta(hours=4) for since, until in works.opened[other.id].asked) == 1, "the first"
    works.lake.roll()
    with works.book.reading() as tx:
        (number,) = collection._machines(tx, pool.id)

    def told(at: datetime) -> float:
        return float(works.lake.chart(number, at, at + STEP, ["cpu_pct"]).values["cpu_pct"][0])

    # What it says otherwise the next morning stands from then on; the same again changes nothing.
    noon = day + timedelta(hours=12)
    cloud.revised = (int(noon.timestamp()), 91.0)
    assert told(noon) < 55
    with works.book.transaction(steward("test")) as tx:
        collection.again_from(tx, tx.get_one(Pool, pool.id), day)
    collection.collect(works, pool)
    assert works.lake.roll([day.date()])
    assert told(noon) == pytest.approx(91.0, abs=0.01)
    with works.book.transaction(steward("test")) as tx:
        collection.again_from(tx, tx.get_one(Pool, pool.id), day)
    chart = works.lake.chart(number, day, day + timedelta(days=1), ["cpu_pct"])
    collection.collect(works, pool)
    works.lake.roll()
    again = works.lake.chart(number, day, day + timedelta(days=1), ["cpu_pct"])
    assert (again.values["cpu_pct"] == chart.values["cpu_pct"]).all()
    assert (again.count == chart.count).all()


def test_the_day_before_an_outage_is_read_twice_after_it_and_what_is_new_comes_first(works, clock) -> None:
    pool, _other = works.pools()
    day = datetime.combine(clock.now.astimezone(ZONE).date() + timedelta(days=2), time(), ZONE)
    clock.now = day + timedelta(hours=12)
    cloud = works.opened[pool.id] = LateCloud("a", clock)
    arrange(works, pool, CollectionPace(every_minutes=60, window_days=10))
    collection.collect(works, pool)
    clock.now = day + timedelta(hours=23)
    collection.collect(works, pool)  # of the last hours nothing is there yet
    clock.now = day + timedelta(days=3, hours=7)
    asked = len(cloud.asked)
    found = collection.collect(works, pool, budget_s=0)
    assert found.again == day
    new = day + timedelta(hours=21), clock.now - timedelta(hours=6)
    assert cloud.asked[asked:] == [new, (day, day + timedelta(hours=21))]
    assert slots(works, pool, day, day + timedelta(days=1)) == 288
    assert mark(works, pool).second == {}
    clock.now += timedelta(hours=1)
    assert collection.collect(works, pool).again is None

    samples = LateCloud.samples

    def forgetful(self, since, until):
        if until <= day + timedelta(days=4):
            raise ProviderFault("the old ones lie elsewhere", transient=True, code="timeout")
        return samples(self, since, until)

    cloud.samples = forgetful.__get__(cloud)
    clock.now = day + timedelta(days=4, hours=7)
    for tries in (1, 2, 3, 3):
        collection.collect(works, pool)
        row = mark(works, pool)
        assert (row.fault, row.collected_until, row.second["tries"]) == ("", clock.now, tries)
        clock.now += timedelta(minutes=5)


def test_a_look_back_of_eight_hours_reads_such_a_store_as_it_goes(works, clock) -> None:
    pool, _other = works.pools()
    works.opened[pool.id] = LateCloud("a", clock)
    arrange(works, pool, CollectionPace(every_minutes=60, window_days=2, lookback_hours=8))
    begun = clock.now
    for _turn in range(12):
        collection.collect(works, pool)
        clock.now += timedelta(hours=1)
    until = begun + timedelta(hours=5)  # six hours before the last
    assert slots(works, pool, begun, until) == (until - begun) // STEP


@pytest.mark.parametrize(
    ("pace", "code"),
    [
        ((4, 90), "schedule.every"),
        ((1441, 90), "schedule.every"),
        ((5, 0), "schedule.window"),
        ((5, 401), "schedule.window"),
        ((5, 90, 0), "schedule.lookback"),
        ((5, 90, 49), "schedule.lookback"),
        ((5, 1, 25), "schedule.short_of_lookback"),
    ],
)
def test_a_schedule_out_of_bounds_is_refused(works, pace, code) -> None:
    with pytest.raises(Invalid) as refused:
        arrange(works, works.pools()[0], CollectionPace(*pace))
    assert refused.value.code == code


def test_two_who_change_a_schedule_do_not_overwrite_each_other(works) -> None:
    pool, _other = works.pools()
    arrange(works, pool, CollectionPace(60, 7))
    with works.book.transaction(steward("test")) as tx, pytest.raises(Conflict):
        schedules.arrange(tx, tx.get_one(Pool, pool.id), CollectionPace(30, 7), before=schedules.USUAL)


def test_the_page_of_a_collection(works, client_of, settings, clock) -> None:
    pool, _other = works.pools()
    staff, address = client_of(Role.SUPERVISOR), f"/pools/{pool.id}/collection"
    assert "还没有采集过" in staff.get(address).text
    seen = re.search(r'name="seen"[^>]*value="([^"]*)"', staff.get(f"{address}/schedule").text)[1]
    wanted = {"seen": seen, "every_minutes": "60", "window_days": "2"}
    assert staff.send(f"{address}/schedule", wanted | {"every_minutes": "3"}).status_code == 422
    assert staff.send(f"{address}/schedule", wanted).status_code == 302
    late = staff.send(f"{address}/schedule", wanted)  # the page is an old one by now
    assert late.status_code == 422
    assert "已被他人修改" in late.text
    shown = staff.get(f"{address}/schedule").text
    assert "采集间隔（分钟）" in shown
    assert ">90<" in shown.replace(" ", "")

    collection.collect(works, pool)
    clock.now += timedelta(days=3)
    collection.collect(works, pool)
    staff = client_of(Role.SUPERVISOR)
    shown = staff.get(address).text
    assert "早于回补窗口" in shown
    assert staff.get(f"{address}?export=csv").mimetype == "text/csv"
    assert "相差 120 秒" in shown
    assert staff.send(f"{address}/again", {"since": "2020-01-01T00:00"}).status_code == 422
    when = (clock.now - timedelta(hours=30)).astimezone(settings.zone)
    assert staff.send(f"{address}/again", {"since": when.strftime("%Y-%m-%dT%H:%M")}).status_code == 302

    works.opened[pool.id].down = True
    clock.now += timedelta(hours=2)
    with pytest.raises(ProviderFault):
        collection.collect(works, pool)
    staff = client_of(Role.SUPERVISOR)
    shown = staff.get(address).text
    assert chinese(FAULTS["unreachable"]) in shown
    assert "no route to host" in shown
    assert "采集情况与安排" in staff.get(f"/pools/{pool.id}").text
    assert client_of(Role.TENANT).get(address).status_code == 403
