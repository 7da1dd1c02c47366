"""Beside listing and orders, all that a cloud tells crosses by its agent, and of samples each crosses once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import func, select

from metering.intake import collection
from providers.adapters.agent import AgentCloud
from providers.adapters.conformance import CloudSuite
from providers.adapters.simulated import SimulatedCloud
from providers.agents import BesideCloud, beside, configured
from providers.agents.acknowledged import AcknowledgedSamples
from providers.base import (
    CloudCapacity,
    CloudTells,
    Outcome,
    OutcomeState,
    ProjectFact,
    ProjectQuota,
    ProviderFault,
    Samples,
    accountable,
    capacious,
    quoting,
)
from providers.billing import Bill, Incident, bills, incidents
from providers.mailbox import AgentReport, Mailbox
from providers.observation import cloud_figures
from quota.units import MEMORY, VCPU, Amount
from tests.journeys.test_agents import NOW, clock, house, pool_of, unbooked, written  # noqa: F401 - fixtures

MONTH = "2026-10"


class TellingCloud(SimulatedCloud):
    """A simulated cloud that tells of its own books, too: what its machines take, by department."""

    def capacity(self, now: datetime) -> list[CloudCapacity]:
        used = self._taken(now)
        return [
            CloudCapacity(kind, figure * 2, figure // 4, Decimal("1.5"), figure)
            for kind, figure in sum(used.values(), Amount()).items()
        ]

    def quotas(self, now: datetime) -> list[ProjectQuota]:
        return [
            ProjectQuota(ProjectFact(code, f"项目{code}", "gov", ("a",)), {VCPU: figure.get(VCPU, 0) + 8, MEMORY: None}, figure)
            for code, figure in sorted(self._taken(now).items())
        ]  # fmt: skip

    def _taken(self, now: datetime) -> dict[str, Amount]:
        found: dict[str, Amount] = {}
        for one in self.inventory(now).facts:
            found[str(one.department_code)] = found.get(str(one.department_code), Amount()) + Amount(one.amounts)
        return found


def telling(folder: Path) -> TellingCloud:
    """The same whenever it is asked; the machines of two departments are enough."""
    return TellingCloud(
        "net-x86", epoch="2026-11-20", history_days=45, state_file=str(folder / "cloud.db"),
        departments=["SZ-ZSJ", "SZ-RSJ"],
    )  # fmt: skip


class TestOverTheWire(CloudSuite):
    """A console that listens, an agent that calls it, a cloud behind the agent: held to what any cloud is held to."""

    adapter = AgentCloud
    now = NOW

    @pytest.fixture(autouse=True)
    def _between(self, tmp_path, house, clock, unbooked) -> None:  # noqa: F811
        self.clock = clock
        self.home = house[0].home
        self.agent = BesideCloud(
            configured(written(tmp_path / "cloud", house)), clock, provider=telling(tmp_path), pause_s=0.01
        )

    def options(self, folder: Path) -> Mapping[str, Any]:
        assert self.agent.round().wrong == {}
        return {"folder": str(self.home / "agents" / "far")}

    def unreachable(self, folder: Path) -> Mapping[str, Any]:
        return {"folder": str(folder / "nobody")}

    def finished(self, cloud: Any, key: str) -> Outcome:
        for _step in range(self.steps):
            found = cloud.inquire(key, self.clock.now)
            if found.state is not OutcomeState.PENDING:
                break
            self.clock.now += timedelta(minutes=10)
            self.agent.round()
        return found

    def test_what_the_cloud_tells_arrives_as_it_was_told(self, cloud: AgentCloud, tmp_path) -> None:
        told = telling(tmp_path)
        assert cloud.tells == frozenset(CloudTells)
        assert capacious(cloud).capacity(NOW) == told.capacity(NOW)
        assert quoting(cloud).quotas(NOW) == told.quotas(NOW)
        company = accountable(cloud)
        assert company.bills(MONTH) == told.bills(MONTH)
        assert company.bills(MONTH)
        since = NOW - timedelta(days=40)
        assert company.incidents(since, NOW) == told.incidents(since, NOW)
        assert company.incidents(since, NOW)
        for ask in (
            lambda: company.bills("2026-01"),
            lambda: company.incidents(NOW - timedelta(days=99), NOW),
            lambda: company.incidents(since, NOW + timedelta(days=2)),
            lambda: cloud.capacity(NOW + timedelta(hours=2)),
        ):
            with pytest.raises(ProviderFault):
                ask()
        assert company.incidents(NOW - timedelta(minutes=1), NOW) == []


def test_a_collection_enters_what_the_agent_told(tmp_path, house, clock, monkeypatch) -> None:  # noqa: F811
    workbench = house[0]
    agent = BesideCloud(configured(written(tmp_path / "cloud", house)), clock, provider=telling(tmp_path), pause_s=0.01)
    assert set(agent.round().told) == set(CloudTells)
    pool = pool_of(workbench)
    collection.collect(workbench, pool)
    with workbench.book.reading() as tx:
        told = {kind: (row.total, row.used) for kind, row in cloud_figures.capacities(tx, pool.id).items()}
        limits = tx.scalar(select(func.count()).select_from(cloud_figures.ToldQuota))
    assert told == {one.kind: (one.total, one.used) for one in agent.provider.capacity(NOW)}
    assert limits == sum(len({*one.limits, *one.used}) for one in agent.provider.quotas(NOW))
    cloud = workbench.provider(pool)
    assert bills.collect(workbench.book, pool.id, cloud, MONTH).new
    assert incidents.collect(workbench.book, pool.id, cloud, NOW - timedelta(days=40), NOW)
    with workbench.book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(Bill)) == 1
        assert tx.scalar(select(func.count()).select_from(Incident)) == len(
            agent.provider.incidents(NOW - timedelta(days=40), NOW)
        )

    # One of its books that cannot be read is said, is tried with each round, and keeps nothing else from coming.
    clock.now += timedelta(hours=1)
    monkeypatch.setattr(
        TellingCloud, "quotas", lambda *_: (_ for _ in ()).throw(ProviderFault("keystone down", transient=True))
    )
    done = agent.round()
    assert done.wrong == {"quotas": "keystone down"}
    assert done.told == [CloudTells.CAPACITY]
    assert agent.round().wrong == {"quotas": "keystone down"}
    collection.collect(workbench, pool)
    with workbench.book.reading() as tx:
        row = cloud_figures.reading(tx, pool.id, cloud_figures.CloudBook.QUOTAS)
        assert (row.fault, row.said) == ("agent", "keystone down")
        assert tx.scalar(select(func.count()).select_from(cloud_figures.ToldQuota)) == limits
    monkeypatch.undo()
    assert agent.round().told == [CloudTells.QUOTAS]


def test_of_a_cloud_that_tells_nothing_beside_nothing_is_asked(tmp_path, house) -> None:  # noqa: F811
    """Also of one whose agent is of an older release, and says nothing of it."""
    workbench = house[0]
    box = Mailbox(workbench.home / "agents" / "far")
    box.report(AgentReport("i", "1", "other", NOW), NOW)
    box.keep_listing(replace(telling(tmp_path).inventory(NOW), facts=[]), NOW)
    box.mark(NOW, NOW)
    cloud = workbench.provider(pool_of(workbench))
    assert (capacious(cloud), quoting(cloud), accountable(cloud)) == (None, None, None)
    collection.collect(workbench, pool_of(workbench))
    with workbench.book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(cloud_figures.BookReading)) == 0
    assert bills.collect(workbench.book, pool_of(workbench).id, cloud, MONTH) is None
    assert capacious(telling(tmp_path)) is not None


# ------------------------------------------------------------------------------------------------------- samples, once


@pytest.fixture
def sent(tmp_path, house, clock):  # noqa: F811
    """(an agent started anew, what crossed so far: (machine, second) → times, what the cloud measured until now)."""
    crossed: Counter[tuple[str, int]] = Counter()
    config = configured(written(tmp_path / "cloud", house))

    def start() -> BesideCloud:
        agent = BesideCloud(config, clock, provider=telling(tmp_path), pause_s=0.01)
        post = agent.console.post_json

        def counted(path: str, content: Any) -> Any:
            answer = post(path, content)
            if path.endswith("/samples"):
                columns = content["columns"]
                for index, ts in zip(columns["resource"], columns["ts"], strict=True):
                    crossed[content["external_ids"][index], ts] += 1
            return answer

        agent.console.post_json = counted
        return agent

    def measured() -> set[tuple[str, int]]:
        return {
            (batch.external_ids[row["resource"]], row["ts"])
            for batch in telling(tmp_path).samples(NOW - timedelta(days=1), clock.now)
            for row in batch.table.to_pylist()
        }

    return start, crossed, measured


def test_each_sample_crosses_once_whoever_is_started_again(sent, clock) -> None:  # noqa: F811
    start, crossed, measured = sent
    agent = start()
    for turn in range(30):
        assert agent.round().wrong == {}
        clock.now += timedelta(minutes=5)
        if turn % 7 == 6:
            agent = start()  # nothing but its state folder is left
    agent.round()
    assert set(crossed) == measured()
    assert set(crossed.values()) == {1}  # before, each crossed about five times
    assert len(agent.acknowledged) < len(crossed) / 8  # it remembers of two hours, not of all


def test_what_comes_late_and_what_is_corrected_crosses_still(sent, clock, monkeypatch) -> None:  # noqa: F811
    start, crossed, _measured = sent
    agent = start()
    real = TellingCloud.samples
    held = int((NOW - timedelta(minutes=40)).timestamp())

    def without(self, since, until):
        for batch in real(self, since, until):
            ts = batch.table.column("ts").to_numpy()
            yield replace(batch, table=batch.table.filter(ts < held))

    monkeypatch.setattr(TellingCloud, "samples", without)
    agent.round()
    assert max(ts for _who, ts in crossed) < held

    def corrected(self, since, until):
        for batch in real(self, since, until):
            if "cpu_pct" not in batch.table.column_names:
                continue
            ts, cpu = batch.table.column("ts").to_numpy(), batch.table.column("cpu_pct").to_numpy()
            place = batch.table.schema.get_field_index("cpu_pct")
            changed = np.where(ts == held - 300 - held % 300, cpu / 2 + 1, cpu)
            yield replace(batch, table=batch.table.set_column(place, "cpu_pct", pa.array(changed)))

    monkeypatch.setattr(TellingCloud, "samples", corrected)
    before = dict(crossed)
    clock.now += timedelta(minutes=61)
    agent.round()
    again = {key for key, count in crossed.items() if count > before.get(key, 0) and key in before}
    assert {ts for _who, ts in again} == {held - 300 - held % 300}
    assert any(ts >= held for _who, ts in crossed)


def test_a_console_that_lost_what_it_had_is_brought_it_again(sent, house, clock) -> None:  # noqa: F811
    start, crossed, measured = sent
    start().round()
    first = Counter(crossed)
    folder = house[0].home / "agents" / "far"
    folder.rename(folder.with_name("gone"))
    clock.now += timedelta(minutes=10)
    start().round()
    begin = (clock.now - timedelta(days=1)).timestamp()  # as far back as a new agent looks
    assert all(crossed[key] == (2 if key[1] >= begin else 1) for key in first)
    assert set(crossed) == measured()


def test_a_long_absence_is_made_up_for_piece_by_piece(sent, house, clock, monkeypatch) -> None:  # noqa: F811
    """What was brought of it is not brought again after the rest failed."""
    start, crossed, measured = sent
    start().round()
    clock.now += timedelta(days=3)
    monkeypatch.setattr(beside, "PIECE", timedelta(days=1))
    real = TellingCloud.samples
    asked: list[tuple[datetime, datetime]] = []

    def failing(self, since, until):
        asked.append((since, until))
        if len(asked) == 3:
            raise ProviderFault("down", transient=True)
        yield from real(self, since, until)

    monkeypatch.setattr(TellingCloud, "samples", failing)
    assert start().round().wrong == {"samples": "down"}
    box = Mailbox(house[0].home / "agents" / "far")
    assert box.marked() == asked[1][1]
    assert start().round().wrong == {}
    assert all(until - since <= timedelta(days=1, hours=2) for since, until in asked)
    assert asked[3][0] >= asked[1][1] - timedelta(hours=2)
    assert box.marked() == clock.now
    assert set(crossed.values()) == {1}
    assert set(crossed) == measured()


def test_a_first_filling_that_is_slow_leaves_each_round_in_time(sent, house, clock, monkeypatch) -> None:  # noqa: F811
    """A piece a round, smaller and smaller ones: between them the agent calls, and fetches what it shall do."""
    start, crossed, measured = sent
    monkeypatch.setattr(beside, "BUDGET_S", 0.0)
    monkeypatch.setattr(beside, "SMALL_PIECE", timedelta(hours=6))
    agent, marks = start(), []
    agent.piece = timedelta(hours=12)
    box = Mailbox(house[0].home / "agents" / "far")
    for _round in range(9):
        assert agent.round().wrong == {}
        marks.append(box.marked())
        if box.marked() == clock.now:
            break
        clock.now += timedelta(minutes=10)
    assert marks[-1] == clock.now
    assert marks[0] == NOW - timedelta(hours=12)
    assert marks[1] - marks[0] == timedelta(hours=6)
    assert all(later - earlier <= timedelta(hours=6) for earlier, later in pairwise(marks))
    assert box.news().since < clock.now - timedelta(minutes=15), "it has called without a pause"
    assert set(crossed.values()) == {1}
    assert set(crossed) == measured()


def test_a_state_that_cannot_be_read_is_no_harm(tmp_path) -> None:
    path = tmp_path / "acknowledged.npz"
    batch = Samples("s", ["m-1", "m-2"], pa.table({
        "resource": pa.array([0, 1, 1], pa.int32()), "ts": pa.array([300, 300, 300], pa.int64()), "cpu_pct": [1.0, 2.0, 2.0],
    }))  # fmt: skip
    one = AcknowledgedSamples(path)
    assert one.fresh(batch).table.num_rows == 2  # told twice in one breath
    since = datetime.fromtimestamp(0, UTC)
    one.add(one.fresh(batch), since, NOW)
    one.mark(since + timedelta(hours=1), since)
    one.save()
    again = AcknowledgedSamples(path)
    assert (again.marked, len(again)) == (since + timedelta(hours=1), 2)
    assert again.fresh(batch).table.num_rows == 0
    wider = replace(batch, table=batch.table.append_column("mem_pct", pa.array([float("nan")] * 3)))
    assert again.fresh(wider).table.num_rows == 0  # a column that says nothing says nothing new
    assert again.fresh(replace(batch, source="t")).table.num_rows == 2
    for content in (b"", b"no archive", path.read_bytes()[:-30]):
        path.write_bytes(content)
        assert len(AcknowledgedSamples(path)) == 0
    again.mark(since + timedelta(hours=3), since + timedelta(minutes=6))
    assert len(again) == 0
