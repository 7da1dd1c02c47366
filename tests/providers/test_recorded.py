"""A recording played back as a cloud: what it reports follows from what it was told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from providers.adapters.recorded.cloud import RecordedCloud, Recording, natural
from providers.base import Order, OutcomeState, ResourceState, Samples, ServiceKind, Verb
from quota.units import MEMORY, VCPU, Arch, ClassCode

START = datetime(2013, 7, 1, tzinfo=UTC)
T0 = int(START.timestamp())
DAY = timedelta(days=1)


def recording(cores: int = 8, cpu: float = 40.0, days: int = 4) -> Recording:
    """Machine m-2 before m-10, both at ``cpu`` % of ``cores``; the second is off on its last day. Given out of order."""
    ts = T0 + np.arange(days * 288) * 300
    batches = []
    for name in ("m-10", "m-2"):
        vcpu = np.full(len(ts), cores, np.float32)
        if name == "m-10":
            vcpu[-288:] = 0
        table = pa.table(
            {
                "resource": np.zeros(len(ts), np.int32),
                "ts": ts[::-1],
                "vcpu": vcpu[::-1],
                "cpu_pct": np.full(len(ts), cpu, np.float32),
                "mem_mb": np.full(len(ts), 16384.0),
                "mem_pct": np.full(len(ts), 50.0, np.float32),
            }
        )
        batches.append(Samples(name, [name], table))
    return Recording(batches)


@pytest.fixture
def cloud() -> RecordedCloud:
    return RecordedCloud(recording(), {"m-2": "d1", "m-10": "d2"}, takes=timedelta(hours=4))


def order(verb: Verb, key: str, name: str = "m-2", **amounts: int) -> Order:
    return Order(key, verb, ServiceKind.VM, Arch.X86_64, name, {ClassCode(kind): n for kind, n in amounts.items()})


def column(cloud: RecordedCloud, name: str, since: datetime, until: datetime, which: str = "cpu_pct") -> list[float]:
    found: list[float] = []
    for batch in cloud.samples(since, until):
        at = batch.table["resource"].to_numpy() == batch.external_ids.index(name)
        found += batch.table[which].to_numpy()[at].tolist()
    return found


def test_machines_are_counted_as_people_count() -> None:
    assert recording().names == ["m-2", "m-10"]
    assert sorted(["vm10b", "vm2", "7"], key=natural) == ["7", "vm2", "vm10b"]


def test_an_inventory_tells_what_was_heard_by_then(cloud: RecordedCloud) -> None:
    assert cloud.inventory(START).facts == []
    facts = {one.external_id: one for one in cloud.inventory(START + 4 * DAY).facts}
    assert facts["m-2"].amounts == {VCPU: 8, MEMORY: 16384}
    assert (facts["m-2"].state, facts["m-2"].created_at) == (ResourceState.RUNNING, START)
    assert facts["m-10"].amounts == facts["m-2"].amounts, "off now, but it has what it had"
    assert (facts["m-10"].state, facts["m-10"].stopped_at) == (ResourceState.STOPPED, START + 3 * DAY)


def test_a_smaller_machine_is_busier_up_to_its_ceiling(cloud: RecordedCloud) -> None:
    small = order(Verb.RESIZE, "k1", vcpu=4)
    assert cloud.deliver(small, START + DAY).state is OutcomeState.PENDING
    assert cloud.deliver(small, START + DAY + timedelta(hours=3)).state is OutcomeState.PENDING
    done = cloud.deliver(small, START + 2 * DAY)
    assert (done.state, done.at) == (OutcomeState.DONE, START + DAY + timedelta(hours=4))
    assert cloud.deliver(small, START + 3 * DAY) == done, "the same order again is the same order"
    assert cloud.inquire(small.key, START + 3 * DAY) == done
    assert cloud.inquire("never", START + 3 * DAY) is None
    assert set(column(cloud, "m-2", START, START + DAY)) == {40.0}
    assert set(column(cloud, "m-2", done.at, START + 4 * DAY)) == {80.0}
    assert set(column(cloud, "m-2", done.at, START + 4 * DAY, "vcpu")) == {4.0}
    cloud.deliver(order(Verb.RESIZE, "k2", vcpu=2), START + 2 * DAY)
    cloud.deliver(order(Verb.RESIZE, "k2", vcpu=2), START + 3 * DAY)
    assert set(column(cloud, "m-2", START + 3 * DAY, START + 4 * DAY)) == {100.0}
    _, cores, memory = cloud.recording.demand("m-2", T0, T0 + 4 * 86400)
    assert set(cores.round(3)) == {3.2}
    assert set(memory) == {8192.0}, "the recording keeps what was demanded"


def test_what_is_stopped_is_silent_until_it_is_started(cloud: RecordedCloud) -> None:
    for verb, key, at in ((Verb.STOP, "k1", START + DAY), (Verb.START, "k2", START + 2 * DAY)):
        cloud.deliver(order(verb, key), at)
        assert cloud.deliver(order(verb, key), at + DAY).state is OutcomeState.DONE
    stopped, started = START + DAY + timedelta(hours=4), START + 2 * DAY + timedelta(hours=4)
    assert column(cloud, "m-2", stopped, started) == []
    assert (
        len(column(cloud, "m-2", started, START + 4 * DAY)) == int((START + 4 * DAY - started).total_seconds()) // 300
    )
    cloud.deliver(order(Verb.DELETE, "k3"), START + 3 * DAY)
    cloud.deliver(order(Verb.DELETE, "k3"), START + 4 * DAY)
    assert [one.external_id for one in cloud.inventory(START + 4 * DAY).facts] == ["m-10"]


def test_what_was_not_recorded_cannot_be_ordered(cloud: RecordedCloud) -> None:
    assert Verb.CREATE not in cloud.capabilities
    assert cloud.deliver(order(Verb.STOP, "k", "m-3"), START).state is OutcomeState.FAILED


def test_every_ninth_order_is_slow(cloud: RecordedCloud) -> None:
    for number in range(9):
        cloud.deliver(order(Verb.SNAPSHOT, f"k{number}"), START)
    states = [cloud.deliver(order(Verb.SNAPSHOT, f"k{number}"), START + DAY).state for number in range(9)]
    assert states == [OutcomeState.DONE] * 8 + [OutcomeState.PENDING]
