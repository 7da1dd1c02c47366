"""Series as agents really send them, by their labels: what a plausible wrong figure could be made of."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from metering.intake import devices, signals
from metering.intake.conventions import SCHEMA, SCOPE, UNIT
from metering.intake.folding import REACH_S, fold
from metering.intake.signals import POINTS, Points

T = 1_795_900_000 // 300 * 300 * 1000
"""A whole slot, ms."""

STEP = 300_000
GIB = 2**30


def cpu(mode, core="0", **more):
    return {"__name__": "node_cpu_seconds_total", "instance": "a", "mode": mode, "cpu": core, **more}


def net(device, name="node_network_receive_bytes_total", **more):
    return {"__name__": name, "instance": "a", "device": device, **more}


def of(*series, resource=7):
    """series: (labels, [(ms, value), …]) as points, through what the door does with their labels."""
    rows = []
    for labels, told in series:
        signal = signals.recognise(labels)
        if signal is None:
            continue
        factor = signals.scale(labels, signal)
        name, place = signals.number(repr(sorted(labels.items()))), signals.number(signals.place(labels))
        rows += [(resource, signal, name, place, ts, value * factor, False) for ts, value in told]
    columns = zip(*rows, strict=True) if rows else [[]] * 7
    return Points.of(pa.table(dict(zip(POINTS.names, map(list, columns), strict=True)), schema=POINTS))


def folded(*series, until=None, **more):
    given = of(*series)
    found = fold(given, 300, int(given.ts.max(initial=T)) // STEP * STEP if until is None else until, **more)
    return {(row["ts"] * 1000 - T) // STEP: row for row in found.samples.to_pylist()}, found.said


def one(*series, **more):
    """The sample of the first slot, {} where there is none."""
    rows, said = folded(*series, **more)
    return rows.get(0, {}), said


def rising(rate, every=15_000, until=600_000, start=1000.0):
    return [(T + ms, start + rate * ms / 1000) for ms in range(0, until + 1, every)]


def steady(value, every=15_000, until=600_000):
    return [(T + ms, value) for ms in range(0, until + 1, every)]


# --- intervals ----------------------------------------------------------------------------------------------------


def jittered(seed=1):
    chance = random.Random(seed)
    return [T + i * STEP + chance.randint(-40, 40) for i in range(40)]


@pytest.mark.parametrize(
    ("at", "slots"),
    [(jittered(), range(39)), ([T + i * 600_000 for i in range(20)], range(38))],
    ids=["five minutes, give or take 40 ms", "ten minutes"],
)
def test_each_slot_that_an_interval_covers_has_a_figure_and_the_total_is_the_counters_own(at, slots):
    value = [(t, (t - T) / 2000 + 10) for t in at]
    traffic = [(t, float(10_000 * (n + n * n // 3))) for n, t in enumerate(at)]
    used = [(t, 40.0) for t in at]
    direct = {"__name__": "guanjia_mem_pct", "instance": "a"}
    series = (cpu("idle"), value), (cpu("user"), value), (net("eth0"), traffic), (direct, used)
    rows, said = folded(*series, until=T + (slots[-1] + 1) * STEP)
    assert set(slots) <= rows.keys()
    assert {round(rows[slot]["cpu_pct"], 6) for slot in slots} == {50.0}
    assert {rows[slot]["mem_pct"] for slot in slots if slot < slots[-1]} == {40.0}
    kilobits = sum(rows[slot]["net_rx_kbps"] * 300 for slot in slots)
    assert kilobits == pytest.approx(traffic[-1][1] * 8 / 1000, rel=2e-3), "nothing twice, nothing lost"
    assert not said.refused


def test_a_silence_that_is_not_the_senders_habit_stays_unknown():
    at = [T + i * 600_000 for i in range(6)]
    missed = [t for n, t in enumerate(at) if n != 3]
    rows, _said = folded((net("eth0"), [(t, (t - T) / 10) for t in missed]))
    assert sorted(rows) == [0, 1, 2, 3, 8, 9]
    often = [*range(0, 600_000, 15_000), *range(1_200_000, 1_800_001, 15_000)]
    rows, _said = folded((net("eth0"), [(T + ms, ms / 10) for ms in often]))
    assert sorted(rows) == [0, 1, 4, 5]


def test_an_interval_that_is_too_long_to_be_shared_out_is_named():
    longest = [T + i * REACH_S * 1000 for i in range(5)]
    rows, said = folded((net("eth0"), [(t, (t - T) / 10) for t in longest]))
    assert (sorted(rows), said.refused) == (list(range(12)), {})
    hourly = [T + i * 3_600_000 for i in range(4)]
    rows, said = folded((net("eth0"), [(t, (t - T) / 10) for t in hourly]))
    assert rows == {}
    assert said.refused == {"interval.long": 3}
    assert said.examples["interval.long"] == (7, "3600 s > 900 s")


# --- CPUs ---------------------------------------------------------------------------------------------------------


def test_a_starved_machine_is_not_idle():
    found, said = one((cpu("user"), rising(0.5)), (cpu("steal"), rising(0.5)), (cpu("idle"), rising(0.0)))
    assert (found["cpu_pct"], found["steal_pct"], found["vcpu"]) == (pytest.approx(50), pytest.approx(50), 1)
    assert (said.refused, said.examples) == ({"cpu.starved": 2}, {"cpu.starved": (7, "50 %")})
    calm, _said = one((cpu("user"), rising(0.5)), (cpu("iowait"), rising(0.2)), (cpu("idle"), rising(0.3)))
    assert calm["cpu_pct"] == pytest.approx(50)
    assert calm.get("steal_pct") is None, "who tells no steal is not known to be given all"


def test_cpus_that_nobody_splits_are_not_one():
    """Semantic conventions 1.38: cpu.logical_number is opt-in. Eight cores at 80 %."""
    names = ("system.cpu.time", "cpu.mode")
    series = [({"__name__": names[0], names[1]: mode}, rising(rate)) for mode, rate in (("user", 6.4), ("idle", 1.6))]
    found, said = one(*series)
    assert found["cpu_pct"] == pytest.approx(80)
    assert found.get("vcpu") is None
    assert not said.refused
    found, _said = one(*series, ({"__name__": "system.cpu.logical.count"}, steady(8.0)))
    assert found["vcpu"] == 8
    split = [
        ({"__name__": "system.cpu.time", "cpu.logical_number": str(n), "cpu.mode": mode}, rising(rate))
        for n in range(8)
        for mode, rate in (("user", 0.8), ("idle", 0.2))
    ]
    found, _said = one(*split)
    assert (found["vcpu"], found["cpu_pct"]) == (8, pytest.approx(80))


def test_of_a_cpu_whose_idle_time_is_not_sent_nothing_is_said():
    """Only user and iowait, or user, system and a share of idle that stands still: not a machine at 100 %."""
    found, _said = one((cpu("user"), rising(0.1)), (cpu("iowait"), rising(0.1)))
    assert "cpu_pct" not in found
    found, said = one((cpu("user"), rising(0.1)), (cpu("idle"), rising(0.0)))
    assert "cpu_pct" not in found
    assert said.refused["cpu.partial"] == 2
    assert said.examples["cpu.partial"] == (7, "10 %")


def test_windows_times_are_not_counted_twice():
    def series(mode):
        return {"__name__": "windows_cpu_time_total", "instance": "a", "core": "0,0", "mode": mode}

    told = {"idle": 0.6, "user": 0.1, "privileged": 0.3, "interrupt": 0.2, "dpc": 0.1}
    found, _said = one(*((series(mode), rising(rate)) for mode, rate in told.items()))
    assert (found["cpu_pct"], found["vcpu"]) == (pytest.approx(40), 1)


# --- links and disks ----------------------------------------------------------------------------------------------

MB = 1e6


@pytest.mark.parametrize(
    ("links", "kbps"),
    [
        ({"bond0": 2, "eth0": 1, "eth1": 1}, 16_000),
        ({"eth0": 1, "eth0.100": 1}, 8_000),
        (
            {"eth0": 1, "eth0.100": 0.5, "eth0.200": 0.5, "br0": 1, "wg0": 0.3, "tun0": 0.2, "lo": 9, "veth1a2b": 5},
            8_000,
        ),
        ({"docker0": 4, "br-0123456789ab": 4, "virbr0": 4, "cali12": 3, "ens3": 1}, 8_000),
        ({"bond0": 2}, 16_000),  # its legs are not sent
        ({"bond0": 2, "bond0.7": 2}, 16_000),
        ({"bond0": 2, "mgmt": 0.1}, 16_000),  # a link beside a bond without its legs
        ({"eth0.100": 1, "eth0.200": 1}, 16_000),
        ({"wg0": 1}, 8_000),
        ({"eth0": 1, "eth1": 1}, 16_000),
        ({"Ethernet 2": 1, "Hyper-V Virtual Switch Extension Adapter": 1, "isatap.{1}": 1}, 8_000),
        ({"team0": 1, "eno1": 1, "vlan12": 1}, 8_000),
        ({"lo": 5, "veth0": 5}, None),
    ],
)
def test_each_byte_of_a_link_counts_once(links, kbps):
    found, _said = one(*((net(name), rising(MB * share)) for name, share in links.items()))
    assert found.get("net_rx_kbps") == (kbps if kbps is None else pytest.approx(kbps))


@pytest.mark.parametrize(
    "disks",
    [
        ["sda", "sda1", "md0", "dm-0"],
        ["nvme0n1", "nvme0n1p1", "nvme0c0n1", "dm-0", "loop3", "zram0", "ram0", "sr0"],
        ["vda1"],  # a cloud that shows the partition alone
        ["xvda1", "dm-0"],
        ["md0", "dm-0"],
        ["dm-0"],
        ["mmcblk0", "mmcblk0p2"],
    ],
)
@pytest.mark.parametrize("name", ["node_disk_read_bytes_total", "system.disk.io"])
def test_each_byte_of_a_disk_counts_once(disks, name):
    more = {"direction": "read"} if name == "system.disk.io" else {}
    found, _said = one(*((net(disk, name=name, **more), rising(102_400.0)) for disk in disks))
    assert found["disk_read_kbs"] == pytest.approx(100)


def test_two_physical_disks_and_two_paths_of_one_are_two():
    series = [(net(name, name="node_disk_written_bytes_total"), rising(102_400.0)) for name in ("sda", "sdb")]
    both = (net("dm-0", name="node_disk_written_bytes_total"), rising(204_800.0))
    found, _said = one(*series, both)
    assert found["disk_write_kbs"] == pytest.approx(200)


def test_what_opentelemetry_and_windows_call_their_devices():
    new = {"__name__": "system.network.io", "network.io.direction": "receive"}
    found, _said = one(*(({**new, "network.interface.name": name}, rising(MB)) for name in ("bond0", "eth0")))
    assert found["net_rx_kbps"] == pytest.approx(8_000)
    volumes = [
        ({"__name__": "windows_logical_disk_read_bytes_total", "volume": n}, rising(51_200.0)) for n in ("C:", "D:")
    ]
    disk = ({"__name__": "windows_physical_disk_read_bytes_total", "disk": "0 C: D:"}, rising(102_400.0))
    for series in (volumes, [disk], [*volumes, disk]):
        assert one(*series)[0]["disk_read_kbs"] == pytest.approx(100)


def test_rows_of_the_table_of_devices_are_reached():
    """Each row names what no row before it names."""
    samples = ["lo", "vethab", "docker0", "vnet3", "sit0", "bond0", "eth0.1", "vmbr0", "wg0"]
    assert [devices.link(name) for name in samples] == [-1, -1, -1, -1, -1, 2, 3, 3, 4]
    assert len(samples) == len(devices.LINKS)
    samples = ["loop0", "nvme0c0n1", "sda1", "c:", "md0", "dm-3"]
    assert [devices.disk(name) for name in samples] == [-1, -1, 1, 1, 2, 3]
    assert len(samples) == len(devices.DISKS)
    assert devices.disk("/dev/mapper/vg-root") == 3
    assert devices.link("vEthernet (Default Switch)") == 3


# --- counters that say what can't be ------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [1, 50, 900])
def test_a_counter_that_steps_back_a_little_is_not_reset(back):
    """100 a second; once it tells a little less than before. Its whole millions are not counted again."""
    told = [(t, value - (back if n == 5 else 0)) for n, (t, value) in enumerate(rising(100.0, start=1e6))]
    found, said = one((net("eth0"), told))
    assert found["net_rx_kbps"] == pytest.approx(0.8)
    assert not said.refused


def test_a_counter_that_falls_neither_a_little_nor_anew_says_nothing_there():
    told = rising(100.0, start=1e6)
    fallen = [*told[:10], *((t, value - 300_000) for t, value in told[10:])]
    found, said = one((net("eth0"), fallen))
    assert found["net_rx_kbps"] == pytest.approx(0.8), "the rest of the slot says as much"
    assert said.refused == {"counter.fell": 1}
    busy = [*told[:10], *((t, value - 300_000) for t, value in told[10:])]
    idle = [(t, 5e5 + (t - T) / 1000 * 0.5) for t, _value in told]
    some = [(t, v / 200) for t, v in busy]
    found, said = one((cpu("user"), some), (cpu("idle"), idle))
    assert "cpu_pct" not in found, "one mode that says nothing makes the others a lie"
    assert said.refused["counter.fell"] == 1


def test_a_jump_that_no_machine_makes_is_left_out_and_named():
    told = [(t, value + (1e15 if n >= 7 else 0)) for n, (t, value) in enumerate(rising(100.0))]
    found, said = one((net("eth0"), told))
    assert found["net_rx_kbps"] == pytest.approx(0.8)
    assert said.refused == {"counter.jump": 1}
    user = [(t, value + (50_000 if n >= 7 else 0)) for n, (t, value) in enumerate(rising(0.1))]
    found, said = one((cpu("user"), user), (cpu("idle"), rising(0.9)))
    assert "cpu_pct" not in found
    assert said.refused == {"counter.jump": 1}


def test_a_link_carries_no_more_than_the_speed_that_it_tells():
    speed = (net("eth0", name="node_network_speed_bytes"), steady(125e6))
    found, said = one((net("eth0"), rising(4e9)), speed)
    assert "net_rx_kbps" not in found
    assert said.refused == {"counter.jump": 2}
    assert one((net("eth0"), rising(100e6)), speed)[0]["net_rx_kbps"] == pytest.approx(800_000)


def test_a_clock_that_was_set_back_is_refused_and_no_difference_is_taken_across():
    """After half an hour the clock goes back by twenty minutes: what comes then lies among what was counted already."""
    direct = {"__name__": "guanjia_mem_pct", "instance": "a"}
    first = [(T + ms, 1000.0 + ms) for ms in range(0, 1_800_000, 15_000)]
    found = fold(of((net("eth0"), first), (direct, [(t, 40.0) for t, _v in first])), 300, T + 1_800_000)
    after = [(T + ms, 1000.0 + ms + 1_200_000) for ms in range(607_000, 1_785_000, 15_000)]
    rest = [(T + ms, 1000.0 + ms + 1_200_000) for ms in range(1_807_000, 2_400_001, 15_000)]
    fresh = of((net("eth0"), [*after, *rest]), (direct, [(t, 90.0) for t, _v in [*after, *rest]]))
    every = np.ones(len(fresh), bool)
    table = pa.concat_tables(
        [found.points.table(np.ones(len(found.points), bool), found.points.folded), fresh.table(every, ~every)]
    )
    then = fold(Points.of(table), 300, T + 2_400_000, T + 1_800_000)
    rows = {(row["ts"] * 1000 - T) // STEP: row for row in then.samples.to_pylist()}
    assert then.said.refused == {"ts.back": 2 * len(after)}
    assert {slot: (round(row["net_rx_kbps"], 6), row["mem_pct"]) for slot, row in rows.items()} == {
        6: (8.0, 90.0),
        7: (8.0, 90.0),
    }


def test_two_scrapers_under_one_name_with_clocks_apart_count_once():
    a = rising(100.0, start=1e6)
    b = [(t + 7_000, value + 100.0 * 3) for t, value in a[:-1]]  # its clock is 4 s ahead
    assert one((net("eth0"), [*a, *b]))[0]["net_rx_kbps"] == pytest.approx(0.8, rel=0.02)


# --- memory -------------------------------------------------------------------------------------------------------

RECEIVER = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver/internal/scraper/memoryscraper"
"""The scope under which the Collector tells memory. Its states on an 8 GiB Linux machine, MiB: MemFree 1024, Buffers 256,
Cached 3584 (of it reclaimable slab 512, of it shared 1024, which cannot be freed), unreclaimable slab 256."""

BEFORE = {
    "used": 3328,
    "free": 1024,
    "buffered": 256,
    "cached": 3584,
    "slab_reclaimable": 512,
    "slab_unreclaimable": 256,
}
SINCE = {**BEFORE, "used": 4608}  # MemTotal - MemAvailable: states overlap


def memory(states, told=None, key="state", **more):
    labels = {"__name__": "system.memory.usage", **(told or {})}
    series = [({**labels, key: state}, steady(mb * 2.0**20)) for state, mb in states.items()]
    return [
        *series,
        *(({"__name__": name.replace("_", "."), **(told or {})}, steady(mb * 2.0**20)) for name, mb in more.items()),
    ]


SEMCONV = {"used": 3328, "free": 1024, "buffers": 256, "cached": 3584}


@pytest.mark.parametrize(
    ("series", "inventory", "pct", "mb"),
    [
        # The Collector, by version: its states add up to the whole until 0.133; since 0.134 a gate may be set.
        (memory({**BEFORE, "total": 8192}, {SCOPE: f"{RECEIVER}@0.60.0"}), None, 40.625, 8192),
        (memory(BEFORE, {SCOPE: f"{RECEIVER}@v0.110.0"}), None, 40.625, 8192),
        (memory(BEFORE, {SCOPE: f"{RECEIVER}@0.133.0"}), None, 40.625, 8192),
        (memory(BEFORE, {SCOPE: f"{RECEIVER}@0.133.0"}), 8, 40.625, 8192),
        (memory(BEFORE, {SCOPE: f"{RECEIVER}@0.133.0"}), 16, 20.3125, None),  # resized, or a state is filtered
        (memory(SINCE, {SCOPE: f"{RECEIVER}@0.134.0"}), 8, 56.25, None),
        (memory(SINCE, {SCOPE: f"{RECEIVER}@0.140.1"}), None, None, None),
        (memory(SINCE, {SCOPE: f"{RECEIVER}@0.140.1"}, system_memory_limit=8192), None, 56.25, 8192),
        (memory({"used": 3328, "free": 4864}, {SCOPE: f"{RECEIVER}@0.100.0"}), None, 40.625, 8192),  # Windows
        # Semantic conventions, by version of the schema.
        (
            memory({**SEMCONV, "total": 8192, "shared": 1024}, {SCHEMA: "1.22.0"}, "system.memory.state"),
            None,
            40.625,
            8192,
        ),
        (memory({**SEMCONV, "shared": 1024}, {SCHEMA: "1.25.0"}, "system.memory.state"), None, 40.625, 8192),
        (memory(SEMCONV, {SCHEMA: "1.36.0"}, "system.memory.state"), None, 40.625, 8192),
        (memory({**SEMCONV, "used": 4608}, {SCHEMA: "1.37.0"}, "system.memory.state"), None, None, None),
        (memory({**SEMCONV, "used": 4608}, {SCHEMA: "1.44.0"}, "system.memory.state"), 8, 56.25, None),
        # Who tells no version is held to none.
        (memory(SEMCONV, None, "system.memory.state"), None, None, None),
        (memory(SEMCONV, None, "system.memory.state"), 8, 40.625, None),
        # What is available: 1.22 to 1.38, since 1.39.
        (memory({}, None, system_linux_memory_available=3584, system_memory_limit=8192), None, 56.25, 8192),
        (memory({"used": 9999}, None, system_memory_linux_available=3584), 8, 56.25, None),
    ],
)
def test_memory_by_the_version_of_who_tells_it(series, inventory, pct, mb):
    found, said = one(*series, memory_b={} if inventory is None else {7: inventory * float(GIB)})
    assert found.get("mem_pct") == (pct if pct is None else pytest.approx(pct))
    assert found.get("mem_mb") == (mb if mb is None else pytest.approx(mb))
    assert not said.refused


def test_a_senders_own_share_comes_before_the_inventorys_total():
    share = ({"__name__": "system.memory.utilization", "state": "used"}, steady(0.4))
    assert one(share, *memory({"used": 3328}), memory_b={7: 64.0 * GIB})[0]["mem_pct"] == pytest.approx(40)


def test_more_memory_used_than_there_is_is_unknown_and_named():
    found, said = one(*memory({"used": 9000}, None, system_memory_limit=8192))
    assert "mem_pct" not in found
    assert said.refused == {"memory.above": 2}
    assert said.examples["memory.above"] == (7, "109.9 %")
    found, said = one(*memory({"used": 9000}), memory_b={7: 8.0 * GIB})
    assert ("mem_pct" in found, said.refused["memory.above"]) == (False, 2)


# --- units --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [
        ("system.memory.limit", "By", 1),
        ("system.memory.limit", "", 1),
        ("system.memory.limit", "KiBy", 1024),
        ("system.memory.limit", "MBy", 1e6),
        ("system.memory.limit", "1", None),
        ("system.memory.limit", "%", None),
        ("system.memory.utilization", "1", 1),
        ("system.memory.utilization", "%", 0.01),
        ("system.memory.utilization", "By", None),
        ("system.cpu.time", "s", 1),
        ("system.cpu.time", "ms", 0.001),
        ("system.cpu.time", "{jiffies}", None),
        ("guanjia_cpu_pct", "%", 1),
        ("guanjia_cpu_pct", "", 1),
        ("guanjia_cpu_pct", "1", None),  # a name that says per cent, and a unit that says a share of 1
        ("guanjia_net_rx_kbps", "By/s", 0.008),
        ("guanjia_disk_read_kbs", "MiBy/s", 1024),
        ("guanjia_connections", "{connection}", 1),
        ("guanjia_connections", "By", None),
    ],
)
def test_a_unit_is_brought_to_ours_or_does_not_fit(name, unit, factor):
    labels = {"__name__": name, "state": "used", UNIT: unit}
    signal = signals.recognise(labels)
    assert signals.scale(labels, signal) == factor


def test_shares_under_a_name_that_says_per_cent_are_held_back():
    def direct(name, value):
        return ({"__name__": f"guanjia_{name}_pct", "instance": "a"}, steady(value))

    found, said = one(direct("cpu", 0.35), direct("mem", 0.62))
    assert found == {}
    assert said.refused["unit.fraction"] == 82
    found, said = one(direct("cpu", 0.35), direct("mem", 62.0))
    assert (found["cpu_pct"], said.refused) == (pytest.approx(0.35), {})
    found, said = one(direct("cpu", 0.35))
    assert found["cpu_pct"] == pytest.approx(0.35), "an idle fleet may say so; it is asked about"
    assert said.refused == {"unit.fraction?": 41}


def test_stale_markers_end_a_series_and_are_no_figures():
    stale = [*rising(1000.0, until=300_000), (T + 315_000, float("nan"))]
    rows, said = folded(
        (net("eth0"), stale), ({"__name__": "guanjia_mem_pct"}, [(T, 40.0), (T + 1, float("nan"))]), until=T + 600_000
    )
    assert rows[0]["net_rx_kbps"] == pytest.approx(8)
    assert rows[0]["mem_pct"] == 40
    assert (1 in rows, said.refused) == (False, {})


RATIO = {"__name__": "DCGM_FI_DEV_GPU_UTIL_RATIO", "hostname": "a", "gpu": "0"}
DAY = 86_400_000


def card(value, slot=0, habits=None, gpu="0", until=None):
    """(card_pct, what was said, habits) of one slot in which a card says ``value`` every 15 s."""
    begin = T + slot * STEP
    told = [(begin + ms, value) for ms in range(0, STEP, 15_000)]
    found = fold(of(({**RATIO, "gpu": gpu}, told)), 300, until or begin + STEP, habits=habits)
    rows = found.samples.to_pylist()
    return rows[0]["card_pct"] if rows else None, dict(found.said.refused), found.habits


def test_a_share_that_may_be_per_cent_is_believed_by_what_was_said_within_a_day() -> None:
    assert card(1.0, habits=None)[0] == 100, "whoever reads it judges of it"
    assert card(1.0, habits={})[:2] == (None, {"card.unsure": 20})
    figure, said, known = card(0.37, habits={})
    assert (figure, said) == (pytest.approx(37), {})
    assert known == {7: (-1, T + STEP - 15_000)}
    assert card(1.0, 12, known)[:2] == (100, {}), "it said something between an hour ago"
    day = DAY // STEP
    assert card(1.0, day - 1, known)[0] == 100
    assert card(1.0, day + 1, known)[:2] == (None, {"card.unsure": 20})
    assert card(0.0, habits={})[:2] == (0, {}), "nothing is nothing in either"
    assert card(1.0, 1, {8: (-1, T)})[0] is None, "another machine's word"


def test_who_said_more_than_one_means_per_cent_for_a_day() -> None:
    figure, said, known = card(40.0, habits={})
    assert (figure, said) == (None, {}), "refused at the door as no share"
    assert known == {7: (T + STEP - 15_000, -1)}
    assert card(0.4, 12, known)[:2] == (None, {"card.per_cent": 20})
    assert card(1.0, 12, known)[1] == {"card.per_cent": 20}, "doubted once"
    _figure, _said, later = card(0.4, 12, known)
    assert later[7][0] == known[7][0]
    assert card(0.4, DAY // STEP + 1, later)[0] == pytest.approx(40)
    assert card(0.4, 3 * DAY // STEP, {7: (T, T), 9: (T, T)})[2].keys() == {7}, "what is old is forgotten"


def test_a_card_speaks_for_its_machine() -> None:
    first = [(T + ms, 1.0) for ms in range(0, STEP, 15_000)]
    second = [(T + ms, 0.5) for ms in range(0, STEP, 15_000)]
    found = fold(of((RATIO, first), ({**RATIO, "gpu": "1"}, second)), 300, T + STEP, habits={})
    assert found.samples.to_pylist()[0]["card_pct"] == pytest.approx(75)


def test_what_is_not_folded_yet_is_not_doubted_yet() -> None:
    begin = [(T + ms, 1.0) for ms in range(0, 120_000, 15_000)]
    first = fold(of((RATIO, begin)), 300, T, habits={})
    assert (first.samples.num_rows, dict(first.said.refused)) == (0, {})
    rest = of((RATIO, [(T + ms, 0.5) for ms in range(120_000, STEP, 15_000)]))
    both = Points.of(pa.concat_tables([one.table(np.ones(len(one), bool), one.folded) for one in (first.points, rest)]))
    then = fold(both, 300, T + STEP, T, habits=first.habits)
    assert then.samples.to_pylist()[0]["card_pct"] == pytest.approx(70)
    assert dict(then.said.refused) == {}


# --- more is wanted than is used ----------------------------------------------------------------------------------


def named(name, device=None):
    return {"__name__": name, "instance": "a", **({} if device is None else {"device": device})}


def test_a_run_queue_pressure_and_the_time_of_disks_say_that_more_is_wanted():
    """node_exporter's names: two CPUs, three tasks that run or want to; 40 reads of 5 ms and 10 writes of 30 ms a second."""
    found, said = one(
        *((cpu(mode, core), rising(rate)) for core in "01" for mode, rate in (("user", 0.9), ("idle", 0.1))),
        (named("node_load1"), steady(3.0)),
        (named("node_pressure_cpu_waiting_seconds_total"), rising(0.6)),
        (named("node_pressure_memory_waiting_seconds_total"), rising(0.25)),
        (named("node_disk_read_time_seconds_total", "sda"), rising(0.2)),
        (named("node_disk_reads_completed_total", "sda"), rising(40.0)),
        (named("node_disk_write_time_seconds_total", "sda"), rising(0.3)),
        (named("node_disk_writes_completed_total", "sda"), rising(10.0)),
        (named("node_disk_read_time_seconds_total", "loop0"), rising(9.0)),
    )
    assert not said.refused
    names = ("load_pct", "cpu_wait_pct", "mem_wait_pct", "disk_wait_ms")
    assert [found[name] for name in names] == pytest.approx([150, 60, 25, 10])


def test_of_what_is_not_told_nothing_is_said():
    found, _said = one((named("node_load1"), steady(3.0)), (net("eth0"), rising(1.0)))
    assert found.get("load_pct") is None, "of how many CPUs is not known"
    still = [(named(f"node_disk_{one}_completed_total", "sda"), rising(0.0)) for one in ("reads", "writes")]
    took = [(named(f"node_disk_{one}_time_seconds_total", "sda"), rising(0.0)) for one in ("read", "write")]
    found, _said = one(*still, *took, (net("eth0"), rising(1.0)))
    assert found.get("disk_wait_ms") is None, "nothing was read nor written"
    found, said = one((named("node_pressure_memory_waiting_seconds_total"), rising(1.6)), (net("eth0"), rising(1.0)))
    assert (found.get("mem_wait_pct"), set(said.refused)) == (None, {"counter.jump"}), "more than passed"
