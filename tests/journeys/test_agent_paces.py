"""An agent reads its cloud as the pool is arranged on the console: how often, how far back, and a day once more the morning after."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from console.accounts import accounts
from console.app import create_app
from console.settings import Settings
from metering.intake import Intake, collection, schedules
from providers.agents import BesideCloud, configured
from providers.base import Inventory, ProviderFault, ResourceFact, Samples
from providers.mailbox import AgentReport, Mailbox
from providers.paces import TRIES, CollectionPace, SecondReading, read_again, second_reading
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import Pool
from quota.inventory import Resource, ResourceState, ServiceKind
from quota.units import MEMORY, VCPU, Arch
from tests.console.conftest import Visit
from tests.console.test_house import check_page
from tests.journeys.test_agents import NOW, clock, house, pool_of, written  # noqa: F401 - fixtures

STEP = timedelta(minutes=5)
HOUR = timedelta(hours=1)


class LateStore:
    """One machine, half used; ``late``: so long after it was made the store has a sample; ``down``: what a question for a time before
    this moment meets."""

    name = "late"
    capabilities = frozenset()
    live_resize = False
    releases = {}  # noqa: RUF012
    remembers = True

    def __init__(self, clock, late: timedelta = timedelta()) -> None:  # noqa: F811
        self.clock, self.late = clock, late
        self.asked: list[tuple[datetime, datetime]] = []
        self.down: datetime | None = None

    def inventory(self, now):
        sizes = {VCPU: 2, MEMORY: 4096}
        fact = ResourceFact("vm", "vm", ServiceKind.VM, Arch.X86_64, sizes, ResourceState.RUNNING, created_at=NOW)
        return Inventory(now, [fact])

    def samples(self, since, until):
        if self.down is not None and until <= self.down:
            raise ProviderFault("the old ones lie elsewhere", transient=True, code="timeout")
        self.asked.append((since, until))
        last = min(until, self.clock.now - self.late)
        ts = np.arange(-(-int(since.timestamp()) // 300) * 300, int(last.timestamp()) // 300 * 300, 300)
        half = pa.array(50 + np.sin(ts / 3600), pa.float64())
        columns = {"resource": pa.array(np.zeros(len(ts)), pa.int32()), "ts": pa.array(ts, pa.int64()), "cpu_pct": half}
        yield Samples("late", ["vm"], pa.table(columns))


@pytest.fixture
def beside(tmp_path, house, clock):  # noqa: F811
    """(an agent started anew beside a cloud, what crossed: second → times)."""
    config = configured(written(tmp_path / "cloud", house))
    crossed: Counter[int] = Counter()

    def start(cloud: LateStore) -> BesideCloud:
        agent = BesideCloud(config, clock, provider=cloud, pause_s=0.01)
        post = agent.console.post_json

        def counted(path, content):
            answer = post(path, content)
            if path.endswith("/samples"):
                crossed.update(content["columns"]["ts"])
            return answer

        agent.console.post_json = counted
        return agent

    return start, crossed


def arrange(works, **pace: int) -> None:
    with works.book.transaction(steward("test")) as tx:
        pool = tx.scalars(select(Pool)).one()
        schedules.arrange(tx, pool, CollectionPace(**pace), before=schedules.pace(tx, pool.id))


def mark(works) -> Intake:
    with works.book.reading() as tx:
        return tx.scalars(select(Intake)).one()


def slots(works, begin: datetime, end: datetime) -> int:
    with works.book.reading() as tx:
        number = tx.scalars(select(Resource.id)).one()
    return int(np.isfinite(works.lake.chart(number, begin, end, ["cpu_pct"]).values["cpu_pct"]).sum())


def visit(works, role: Role) -> Visit:
    app = create_app(Settings(data=works.home, secret_key="t" * 40), works.book)
    app.test_client_class = Visit
    with works.book.transaction(steward("test")) as tx:
        password = accounts.enrol(tx, role.value, role.value, role, granted=True, must_change=False)[1]
    client = app.test_client()
    assert client.log_in(role.value, password).status_code == 302
    return client


def test_the_cloud_is_asked_as_the_pool_is_arranged(house, beside, clock) -> None:  # noqa: F811
    works, cloud = house[0], LateStore(clock)
    cloud.remembers = False
    arrange(works, every_minutes=30, window_days=2, lookback_hours=8)
    agent = beside[0](cloud)
    agent.round()
    for _turn in range(30):
        clock.now += timedelta(minutes=10)
        agent.round()
    assert cloud.asked[0] == (NOW - timedelta(days=1), NOW), "a day, as agent.toml has it: less than the window"
    ends = [until for _since, until in cloud.asked]
    assert {later - sooner for sooner, later in pairwise(ends)} == {timedelta(minutes=30)}
    back = [before[1] - since for before, (since, _until) in pairwise(cloud.asked)]
    assert set(back) == {timedelta(minutes=15), timedelta(hours=8)}
    assert back.count(timedelta(hours=8)) == 5, "hourly"
    collection.collect(works, pool_of(works))

    # Away for longer than the window: the rest is not asked for, and the console names it.
    left = clock.now
    clock.now += timedelta(days=5)
    assert agent.round().wrong == {}
    assert cloud.asked[-1] == (clock.now - timedelta(days=2), clock.now)
    collection.collect(works, pool_of(works))
    row = mark(works)
    assert row.collected_until == clock.now
    assert row.gaps == [(left, clock.now - timedelta(days=2))]


def test_a_day_is_read_once_more_the_next_morning_whoever_is_started_again(house, beside, clock) -> None:  # noqa: F811
    works = house[0]
    start, crossed = beside
    day = datetime.combine(NOW.astimezone(ZONE).date() + timedelta(days=2), time(), ZONE)
    clock.now = day - timedelta(hours=12)
    cloud = LateStore(clock, timedelta(hours=6))
    arrange(works, every_minutes=60, window_days=3)
    counts = []
    for hour in range(44):
        assert start(cloud).round().wrong == {}
        collection.collect(works, pool_of(works))
        counts.append(slots(works, day, day + timedelta(days=1)))
        if hour < 43:
            clock.now += HOUR
    # By the look-back nothing comes that is two hours old; from six in the morning on the day before is all there.
    assert counts[42] == 288 > counts[41] == 0
    assert [piece for piece in cloud.asked if piece[0].astimezone(ZONE).time() == time() and piece[1] - piece[0] > 12 * HOUR] == [
        (day - timedelta(days=1), day), (day, day + timedelta(days=1)),
    ]  # fmt: skip
    assert set(crossed.values()) == {1}, "what was brought is not brought again by a second reading"


def test_a_second_reading_that_fails_is_told_and_made_up_for(house, beside, clock) -> None:  # noqa: F811
    works = house[0]
    start, _crossed = beside
    day = datetime.combine(NOW.astimezone(ZONE).date() + timedelta(days=1), time(), ZONE)
    clock.now = day + timedelta(hours=7)
    cloud = LateStore(clock, timedelta(hours=6))
    agent = start(cloud)
    agent.round()
    clock.now = day + timedelta(hours=30)
    cloud.down = day + timedelta(days=1)
    for _try in range(5):
        assert agent.round().wrong == {}, "what is new comes in"
        clock.now += STEP
    agent = start(cloud)
    agent.round()
    news = Mailbox(works.home / "agents" / "far").news()
    assert news is not None
    assert news.report.wrong == {"second": "the old ones lie elsewhere"}
    assert agent.rereading.kept["tries"] == 3
    shown = visit(works, Role.SUPERVISOR).get("/pools/1/agent").text
    check_page("/pools/1/agent", shown)
    assert "重读前一天" in shown

    cloud.down, clock.now = None, day + timedelta(hours=54)
    asked = len(cloud.asked)
    agent.round()  # the next may be a day later
    again = [piece for piece in cloud.asked[asked:] if piece[1] <= day + timedelta(days=2)]
    assert again == [(day, day + timedelta(days=1)), (day + timedelta(days=1), day + timedelta(days=2))]
    assert agent.rereading.kept == {}
    clock.now += STEP
    agent.round()
    assert Mailbox(works.home / "agents" / "far").news().report.wrong == {}


def test_read_again_from_a_moment_the_agent_asks_its_cloud(house, beside, clock) -> None:  # noqa: F811
    works = house[0]
    cloud = LateStore(clock, timedelta(hours=4))
    cloud.remembers = False
    arrange(works, every_minutes=5, window_days=2, lookback_hours=1)
    agent = beside[0](cloud)
    for _turn in range(8):
        agent.round()
        collection.collect(works, pool_of(works))
        clock.now += HOUR
    begin = NOW - HOUR
    assert slots(works, begin, NOW + 3 * HOUR) == 0, "late as it is, the look-back finds nothing"
    box = Mailbox(works.home / "agents" / "far")
    supervisor = visit(works, Role.SUPERVISOR)
    local = f"{begin.astimezone(ZONE):%Y-%m-%dT%H:%M}"
    assert supervisor.send("/pools/1/collection/again", {"since": "2026-01-01T00:00"}).status_code == 422
    assert box.marked() == clock.now - HOUR, "what was refused moved nothing"
    before = box.marked()
    assert supervisor.send("/pools/1/collection/again", {"since": local}).status_code == 302
    assert box.marked() == begin
    # What an agent was about to say of what it read before is not taken for what was asked for since.
    assert box.mark(clock.now, clock.now, after=before) is False
    assert box.marked() == begin
    collection.collect(works, pool_of(works))
    assert mark(works).collected_until == begin, "the agent has not brought it yet"
    agent.round()
    assert cloud.asked[-1] == (begin - HOUR, clock.now)
    collection.collect(works, pool_of(works))
    assert mark(works).collected_until == clock.now
    assert slots(works, begin, NOW + 3 * HOUR) == 4 * 12


def test_what_an_agent_could_not_read_is_no_use_that_was_collected(house, beside, clock) -> None:  # noqa: F811
    """The listing is entered; the mark stays until the agent has brought what was measured, and the page says why."""
    works = house[0]
    arrange(works, window_days=1)
    cloud = LateStore(clock)
    agent = beside[0](cloud)
    cloud.down = datetime(2100, 1, 1, tzinfo=UTC)
    for _round in range(2):
        assert agent.round().wrong == {"samples": "the old ones lie elsewhere"}
    with pytest.raises(ProviderFault) as fault:
        collection.collect(works, pool_of(works))
    assert (fault.value.code, str(fault.value)) == ("agent", "the old ones lie elsewhere")
    assert mark(works).read_until is None
    with works.book.reading() as tx:
        assert tx.scalars(select(Resource.external_id)).one() == "vm"

    cloud.down = None
    agent.round()
    agent.round()
    collection.collect(works, pool_of(works))
    read = mark(works)
    assert (read.collected_until, read.coverage, read.fault) == (clock.now, 1.0, "")
    clock.now += timedelta(minutes=20)  # the agent calls, and has not measured yet
    collection.collect(works, pool_of(works))
    assert mark(works).collected_until == read.collected_until


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({}, "版本较旧"),
        ({"pace": CollectionPace(lookback_hours=9)}, "下一次联系时生效"),
        ({"pace": CollectionPace(), "remembers": True}, "前一天也由它重读"),
        ({"pace": CollectionPace()}, "不留存用量"),
    ],
)
def test_the_page_says_whether_the_agent_keeps_to_the_schedule(house, report, said) -> None:  # noqa: F811
    works = house[0]
    Mailbox(works.home / "agents" / "far").report(AgentReport("i", "1", "other", NOW, **report), NOW)
    supervisor = visit(works, Role.SUPERVISOR)
    for path in ("/pools/1/collection", "/pools/1/agent"):
        check_page(path, supervisor.get(path).text)
    assert said in supervisor.get("/pools/1/collection").text


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"done": "yesterday", "kept": {}}', '{"done": null, "kept": {"day": "2026-11-20"}}', '{"done": 5, "kept": 5}']
)  # fmt: skip
def test_a_state_of_rereading_that_cannot_be_read_is_no_harm(tmp_path, house, beside, clock, content) -> None:  # noqa: F811
    cloud = LateStore(clock)
    agent = beside[0](cloud)
    agent.config.state.joinpath("rereading.json").write_text(content)
    again = beside[0](cloud)
    assert (again.rereading.done, again.rereading.kept) == (None, {})
    assert again.round().wrong == {}
    assert beside[0](cloud).rereading.done is not None


def test_a_second_reading_stops_between_days_when_its_time_is_over() -> None:
    begin = datetime(2026, 11, 17, tzinfo=ZONE)
    second, read = SecondReading((begin + timedelta(days=3)).date(), begin), []
    for day in (1, 2):
        second = read_again(second, begin + timedelta(days=9), lambda *piece: read.append(piece), budget_s=0)
        assert second is not None
        assert second.since == begin + timedelta(days=day)
    assert read_again(second, begin + timedelta(days=9), lambda *piece: read.append(piece), budget_s=0) is None
    assert read == [(begin + timedelta(days=day), begin + timedelta(days=day + 1)) for day in range(3)]


def test_a_second_reading_goes_on_the_next_day_where_it_stopped() -> None:
    """One day of it each morning, and two days behind: the oldest is not read again and again."""
    begin = datetime(2026, 11, 8, tzinfo=ZONE)
    kept, read = {}, []
    for day in range(2, 7):
        now = begin + timedelta(days=day, hours=7)
        second = second_reading(now, begin.date(), kept, begin - timedelta(days=90))
        left = read_again(second, now, lambda since, _until: read.append(since), budget_s=0)
        kept = left.to_json()
    assert read == [begin + timedelta(days=day) for day in range(5)]
    oldest = now - timedelta(days=1)
    assert second_reading(now + timedelta(days=1), begin.date(), kept, oldest).since == oldest, "the window bounds it"


def test_a_day_whose_second_reading_failed_is_not_left_out_where_none_was_ever_done() -> None:
    now, kept = datetime(2026, 11, 10, 7, tzinfo=ZONE), {}

    def down(_since, _until):
        raise ProviderFault("down", transient=True)

    begun = second_reading(now, None, kept, now - timedelta(days=90))
    for _try in range(TRIES):
        kept = read_again(second_reading(now, None, kept, now - timedelta(days=90)), now, down, 0).to_json()
    assert second_reading(now, None, kept, now - timedelta(days=90)) is None
    again = second_reading(now + timedelta(days=1), None, kept, now - timedelta(days=90))
    assert (again.since, again.tries) == (begun.since, 0)


def test_where_nothing_of_before_is_wanted_the_mark_is_set_all_the_same(tmp_path, house, clock) -> None:  # noqa: F811
    works, cloud = house[0], LateStore(clock)
    agent = BesideCloud(configured(written(tmp_path / "cloud", house, history_days=0)), clock, provider=cloud)
    for _round in range(2):
        assert agent.round().wrong == {}
        collection.collect(works, pool_of(works))
        assert (mark(works).read_until, mark(works).fault) == (clock.now, "")
        clock.now += STEP
    assert cloud.asked == [(NOW - timedelta(minutes=15), NOW + STEP)]
