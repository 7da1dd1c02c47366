"""PromQL asked of a real Prometheus for samples that exporters would have given: what is pulled is what the samples say.

machines  steady (15 s), minutely (60 s, a little late each time, some missing), reborn (restarted in the middle of a slot),
          guest (there for part of the time), slow (every ten minutes), twice (two senders), silent (one long gap)
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from metering.intake import signals
from metering.intake.pulled import pull
from providers.adapters.promql import EXPORTERS, PromQL, mappings
from providers.adapters.promql.store import Store
from providers.base import CERTIFICATE_SERIES, PROBE_SERIES, ProviderFault
from quota.errors import Invalid
from tests import expositions
from tests.expositions import Series, prometheus

pytestmark = pytest.mark.slow

BEGIN = datetime(2026, 10, 12, 0, 0, tzinfo=UTC)
HOURS = 4
START = int(BEGIN.timestamp() * 1000)
END = START + HOURS * 3_600_000
MACHINES = ("steady", "minutely", "reborn", "guest", "slow", "twice", "silent")
HOSTS = {name: number for number, name in enumerate(MACHINES, 1)}
STEP = 300


def moments(name: str, dice: random.Random) -> list[int]:
    """When a machine was scraped, ms."""
    pace = {"minutely": 60_000, "slow": 600_000}.get(name, 15_000)
    at = START - 600_000 + dice.randrange(pace)
    found = []
    while at < END + 900_000:
        found.append(at + (dice.randrange(30) if name == "minutely" else 0))
        at += pace
    if name == "minutely":
        found = [one for one in found if dice.random() > 0.04]
    if name == "guest":
        found = [one for one in found if START + 4_000_000 < one < END - 5_130_000]
    if name in ("silent", "reborn"):
        hole = START + 7_333_000
        long = 2_000_000 if name == "silent" else 70_000
        found = [one for one in found if not hole < one < hole + long]
    return found


def machine(name: str, sender: str = "") -> list[Series]:
    """What node_exporter gives of a machine with four CPUs whose work comes in bursts."""
    dice = random.Random(name)
    base = {"instance": f"{name}:9100", "job": "node", **({"replica": sender} if sender else {})}
    made: dict[tuple[str, ...], Series] = {}

    def add(at: int, metric: str, value: float, **labels: str) -> None:
        key = (metric, *labels.values())
        made.setdefault(key, Series({"__name__": metric, **base, **labels})).points.append((at, value))

    total: dict[tuple[str, ...], float] = {}
    reborn = START + 7_370_000 if name == "reborn" else 0
    before, boot = None, True
    for at in moments(name, dice):
        passed = (at - (before if before is not None else at - 15_000)) / 1000
        if reborn and at > reborn and boot:
            total, boot, passed = {}, False, (at - reborn) / 1000
        before = at
        load = 0.9 if dice.random() < 0.1 else 0.02 + 0.3 * dice.random()
        for cpu in "0123":
            for mode, share in (("user", load * 0.7), ("system", load * 0.3), ("iowait", 0.01), ("idle", 0.99 - load)):
                grown = total[cpu, mode] = total.get((cpu, mode), 1000.0 if boot else 0.0) + share * passed
                add(at, "node_cpu_seconds_total", round(grown, 2), cpu=cpu, mode=mode)
        for metric, speed in (
            ("node_network_receive_bytes_total", 40_000), ("node_network_transmit_bytes_total", 9_000),
            ("node_disk_read_bytes_total", 70_000), ("node_disk_written_bytes_total", 200_000),
        ):  # fmt: skip
            for device in ("eth0", "docker0") if "network" in metric else ("vda", "vda1"):
                burst = speed * (20 if dice.random() < 0.05 else dice.random())
                grown = total[metric, device] = total.get((metric, device), 1e9 if boot else 0.0) + burst * passed
                add(at, metric, float(int(grown)), device=device)
        for metric, speed in (
            ("node_pressure_cpu_waiting_seconds_total", load), ("node_pressure_memory_waiting_seconds_total", load / 3),
        ):  # fmt: skip
            grown = total[metric,] = total.get((metric,), 50.0 if boot else 0.0) + speed * passed
            add(at, metric, round(grown, 6))
        for way, ended, took in (("read", 40, 0.005), ("write", 10, 0.03)):
            for metric, speed in ((f"{way}s_completed", ended), (f"{way}_time_seconds", ended * took)):
                grown = total[metric,] = total.get((metric,), 1e4 if boot else 0.0) + speed * (1 + load) * passed
                add(at, f"node_disk_{metric}_total", round(grown, 6), device="vda")
        add(at, "node_load1", round(4 * load, 2))
        add(at, "node_memory_MemTotal_bytes", 8 * 2.0**30)
        add(at, "node_memory_MemAvailable_bytes", float(int(2.0**30 * (2 + 4 * dice.random()))))
        for mount, size in (("/", 40e9), ("/data", 500e9)):
            disk = {"device": f"/dev/{mount[1:] or 'vda'}", "mountpoint": mount, "fstype": "ext4"}
            add(at, "node_filesystem_size_bytes", size, **disk)
            add(at, "node_filesystem_avail_bytes", float(int(size * (0.3 + 0.1 * dice.random()))), **disk)
    return list(made.values())


@pytest.fixture(scope="module")
def every() -> list[Series]:
    found = [one for name in MACHINES if name != "twice" for one in machine(name)]
    return found + machine("twice", "a") + machine("twice", "b")


@pytest.fixture(scope="module")
def address(every, tmp_path_factory):
    with prometheus(tmp_path_factory.mktemp("prometheus"), every) as url:
        yield url


def pushed(every: list[Series]) -> expositions.Slots:
    machine = lambda labels: HOSTS[labels["instance"].partition(":")[0]]  # noqa: E731
    return expositions.pushed(every, machine, START // 1000, END // 1000, STEP)


def figures(samples):
    return expositions.figures(samples, START // 1000, END // 1000)


def pulled(meter: PromQL, since: datetime = BEGIN, until: datetime | None = None):
    """(machine, slot) → figures, over all pieces."""
    found, refused = {}, {}
    for one in meter.readings(since, until or BEGIN + timedelta(hours=HOURS, seconds=meter.settle_s), STEP):
        got = pull(one, HOSTS, STEP)
        found |= figures(got.samples)
        refused |= got.refused
    return found, refused


def test_what_is_pulled_is_what_the_samples_say(address, every) -> None:
    meter = PromQL(address, settle_s=900)
    ours, _refused = pulled(meter)
    theirs = pushed(every)
    for name, number in HOSTS.items():
        mine = {slot: ours[who, slot] for who, slot in ours if who == number}
        expected = {slot: theirs[who, slot] for who, slot in theirs if who == number}
        assert mine.keys() == expected.keys(), (name, sorted(mine.keys() ^ expected.keys()))
        for slot, values in expected.items():
            assert mine[slot].keys() == values.keys(), (name, slot)
            for metric, value in values.items():
                limit = 0.5 if metric.endswith("_pct") else abs(value) * 0.01
                assert mine[slot][metric] == pytest.approx(value, abs=limit), (name, slot, metric)
        for values in mine.values():
            if "disk_wait_ms" in values and "cpu_wait_pct" in values:  # 40 reads of 5 ms, 10 writes of 30 ms
                assert values["disk_wait_ms"] == pytest.approx(10, rel=1e-3)
                assert values["mem_wait_pct"] == pytest.approx(values["cpu_wait_pct"] / 3, abs=0.02)
                assert 1.9 < values["load_pct"] < 91
        for metric in ("net_rx_kbps", "disk_write_kbs"):
            total = sum(values.get(metric, 0) for values in expected.values())
            assert sum(values.get(metric, 0) for values in mine.values()) == pytest.approx(total, rel=1e-6), name
    # The counter's own: what it rose by over all those hours, as its first and last sample have it.
    counter = next(
        one
        for one in every
        if one.labels["__name__"].startswith("node_network_rec") and "steady" in one.labels["instance"]
    )
    at = np.array([ts for ts, _value in counter.points])
    edge = np.interp([START, END], at, [value for _ts, value in counter.points])
    total = sum(ours[HOSTS["steady"], slot]["net_rx_kbps"] for slot in range(START // 1000, END // 1000, STEP))
    assert total * STEP * 1000 / 8 == pytest.approx(edge[1] - edge[0], rel=1e-9)


def test_asked_in_pieces_or_twice_it_says_the_same(address) -> None:
    meter = PromQL(address, settle_s=900)
    whole, _refused = pulled(meter)
    end = BEGIN + timedelta(hours=HOURS)
    parts: dict = {}
    since = BEGIN
    while since < end:
        until = min(since + timedelta(minutes=95), end)
        parts |= pulled(meter, since, until + timedelta(seconds=meter.settle_s))[0]
        since = datetime.fromtimestamp(int(until.timestamp()) // STEP * STEP, UTC)
    assert parts.keys() == whole.keys()
    for key, values in whole.items():
        assert parts[key] == pytest.approx(values, rel=1e-6, abs=1e-6), key


def test_it_asks_little(address) -> None:
    meter = PromQL(address, match='instance=~"steady.*"', settle_s=900)
    list(meter.readings(BEGIN, BEGIN + timedelta(hours=1, seconds=900), STEP))
    assert meter.store.connection.requests <= 40


def test_matchers_leave_out_the_others(address) -> None:
    meter = PromQL(address, match='instance=~"steady.*",', settle_s=0)
    found, _refused = pulled(meter, BEGIN, BEGIN + timedelta(hours=1))
    assert {number for number, _slot in found} == {HOSTS["steady"]}
    assert meter.probe(BEGIN + timedelta(hours=1)).endswith("node: 1")


def test_queries_of_ones_own(address) -> None:
    lines = """
        # as the hypervisor's people want it
        mem_pct = 100 - 100 * max by ($by) (avg_over_time(node_memory_MemAvailable_bytes{$match}[$window])) / 2^33
    """
    meter = PromQL(address, exporters=(), queries=lines, match='job="node"', settle_s=0)
    own, _refused = pulled(meter, BEGIN, BEGIN + timedelta(hours=1))
    theirs, _refused = pulled(PromQL(address, settle_s=0), BEGIN, BEGIN + timedelta(hours=1))
    key = HOSTS["steady"], int(BEGIN.timestamp())
    assert own[key]["mem_pct"] == pytest.approx(theirs[key]["mem_pct"], abs=0.01)
    assert set(own[key]) == {"mem_pct"}


def test_a_range_is_split_to_the_servers_limit(address) -> None:
    store = PromQL(address).store
    lines = store.over("vector(1)", START, START + 25_000_000, 1000)  # 25,001 points, where 11,000 are allowed
    assert [len(one.ts) for one in lines] == [25_001]
    assert (np.diff(lines[0].ts) == 1000).all()
    assert store.connection.requests == 3


def test_a_window_holds_the_slots_samples_and_no_others(address) -> None:
    store = PromQL(address).store
    assert store.window(300_000) == "299999ms"  # Prometheus before 3.0 has both ends
    store._closed = False
    assert store.window(300_000) == "300000ms"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": "success", "isPartial": True, "data": {"resultType": "vector", "result": []}}, "partial"),
        ({"status": "success", "warnings": ["remote read: timeout"], "data": {"resultType": "vector", "result": []}}, "partial"),
        ({"status": "error", "error": "x"}, "kind"),
        ({"hello": "world"}, "kind"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "query"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}}, "kind"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_whole_is_a_fault(answer, code) -> None:
    class Says:
        def post(self, *_args, **_params):
            return answer

    with pytest.raises(ProviderFault) as fault:
        Store(Says()).at("x", 0)  # type: ignore[arg-type]
    assert fault.value.code == code


def test_advice_is_passed_on() -> None:
    class Says:
        def post(self, *_args, **_params):
            said = {"infos": ["PromQL info: metric might not be a counter"], "warnings": ["PromQL warning: mixed"]}
            return {"status": "success", "data": {"resultType": "vector", "result": []}, **said}

    store = Store(Says())  # type: ignore[arg-type]
    store.at("x", 0)
    assert list(store.notes) == ["PromQL info: metric might not be a counter", "PromQL warning: mixed"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "prometheus"}, "url"),
        ({"exporters": ("nodes",)}, "exporters"),
        ({"exporters": ()}, "exporters"),
        ({"queries": "cpu_pct"}, "queries"),
        ({"queries": "cpu_pct = x"}, "queries"),
        ({"queries": "heat = max by ($by) (x)"}, "queries"),
        ({"label": "a b"}, "label"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, field) -> None:
    with pytest.raises(Invalid) as refused:
        PromQL(**{"url": "http://a", **options})
    assert refused.value.params["field"] == field


def test_every_row_is_known_to_the_fold_and_every_query_is_one(address) -> None:
    store = PromQL(address).store
    for exporter in [one for each in EXPORTERS.values() for one in (each, *each.versions)]:
        assert exporter.source
        for row in exporter.rows:
            labels = {"__name__": row.series, "mode": "idle", "device": "eth0", "volume": "C:", **row.labels}
            known = signals.recognise(labels) is not None
            probe = row.series in (PROBE_SERIES, CERTIFICATE_SERIES)
            assert known != probe, (exporter.name, row.series)  # probes are told apart from use
            for query in filter(None, (row.query, row.of, exporter.clock and f"timestamp({exporter.clock})")):
                text = mappings.filled(query, by=exporter.by, match='job="x"', window="5m")
                assert "$" not in text.replace('"$1"', ""), text
                store.at(text, START)  # Prometheus itself refuses what is no PromQL
