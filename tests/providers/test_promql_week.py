"""A week of samples with restarts, silences and late arrivals, asked of a real Prometheus and pushed by it: the same slots, and
each counter's total of the week is the counter's own.

machines  steady; reborn (restarted ten times); sparse (one scrape in twenty missing, silent for 20 minutes and for 5 hours);
          tardy (an hour a day, and one whole night, come when all else has been folded already); guest (there from the second
          day to the sixth)
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from metering.intake.pulled import pull
from providers.adapters.promql import PromQL
from tests.expositions import Series, Slots, figures, prometheus, pushed

pytestmark = pytest.mark.slow

BEGIN = datetime(2026, 10, 12, 0, 0, tzinfo=UTC)
START, STEP, PACE = int(BEGIN.timestamp()), 300, 120
DAY = 86_400
END = START + 7 * DAY
MACHINES = ("steady", "reborn", "sparse", "tardy", "guest")
HOSTS = {name: number for number, name in enumerate(MACHINES, 1)}
COUNTERS = {"net_rx_kbps": "node_network_receive_bytes_total", "disk_write_kbs": "node_disk_written_bytes_total"}
BYTES = {"net_rx_kbps": 8 / 1000, "disk_write_kbs": 1 / 1024}


def there(name: str, s: int, dice: random.Random) -> bool:
    """Whether the machine is scraped then."""
    day = (s - START) / DAY
    if name == "sparse":
        return dice.random() > 0.05 and not 2.3 < day < 2.3 + 1200 / DAY and not 4.1 < day < 4.1 + 5 / 24
    return name != "guest" or 1.4 < day < 5.7


def late(labels: dict[str, str], ms: int) -> bool:
    """Whether the sample comes when all the others are in."""
    day = (ms / 1000 - START) / DAY
    return labels["instance"].startswith("tardy") and (0.5 < day % 1 < 0.5 + 1 / 24 or 5.9 < day < 6.3)


def machine(name: str) -> list[Series]:
    dice = random.Random(name)
    base = {"instance": f"{name}:9100", "job": "node"}
    made: dict[tuple[str, str], Series] = {}

    def add(s: int, metric: str, value: float, **labels: str) -> None:
        key = metric, labels.get("mode", "")
        made.setdefault(key, Series({"__name__": metric, **base, **labels})).points.append((s * 1000, value))

    restarts = sorted(dice.randrange(START, END) for _ in range(10)) if name == "reborn" else []
    busy = idle = 0.0
    counted = dict.fromkeys(COUNTERS.values(), 1e9)
    before = START - 2 * STEP
    for s in range(START - 2 * STEP + dice.randrange(PACE), END + 2 * STEP, PACE):
        if restarts and s > restarts[0]:
            before, busy, idle = restarts.pop(0), 0.0, 0.0
            counted = dict.fromkeys(counted, 0.0)
        load = 0.9 if dice.random() < 0.1 else 0.3 * dice.random()
        busy, idle = busy + load * (s - before), idle + (1 - load) * (s - before)
        counted = {metric: n + int(dice.expovariate(1 / 50_000) * (s - before)) for metric, n in counted.items()}
        before = s
        if not there(name, s, dice):
            continue
        add(s, "node_cpu_seconds_total", round(busy, 2), cpu="0", mode="user")
        add(s, "node_cpu_seconds_total", round(idle, 2), cpu="0", mode="idle")
        add(s, "node_memory_MemTotal_bytes", 8 * 2.0**30)
        add(s, "node_memory_MemAvailable_bytes", float(int(2.0**30 * (2 + 4 * dice.random()))))
        for metric, device in zip(COUNTERS.values(), ("eth0", "vda"), strict=True):
            add(s, metric, float(counted[metric]), device=device)
    return list(made.values())


def own(series: Series) -> float:
    """What a counter counted within the week: what it rose by from sample to sample, from nothing where it began anew."""
    at, value = (np.array(column, float) for column in zip(*series.points, strict=True))
    rise = np.where(value[1:] < value[:-1], value[1:], np.diff(value))
    grown = np.concatenate([[0.0], np.cumsum(rise)])
    first, last = np.interp([START * 1000, END * 1000], at, grown)
    return float(last - first)


@pytest.fixture(scope="module")
def every() -> list[Series]:
    return [one for name in MACHINES for one in machine(name)]


@pytest.fixture(scope="module")
def theirs(every) -> Slots:
    return pushed(every, lambda labels: HOSTS[labels["instance"].partition(":")[0]], START, END, STEP, late)


@pytest.fixture(scope="module")
def ours(every, tmp_path_factory) -> Slots:
    found: Slots = {}
    with prometheus(tmp_path_factory.mktemp("prometheus"), every) as url:
        meter = PromQL(url, settle_s=0)
        for one in meter.readings(BEGIN, BEGIN + timedelta(days=7), STEP):
            found |= figures(pull(one, HOSTS, STEP).samples, START, END)
    return found


@pytest.mark.parametrize("name", MACHINES)
def test_pull_and_push_agree_slot_by_slot(ours, theirs, name) -> None:
    mine = {slot: values for (who, slot), values in ours.items() if who == HOSTS[name]}
    expected = {slot: values for (who, slot), values in theirs.items() if who == HOSTS[name]}
    assert mine.keys() == expected.keys()
    if name not in ("sparse", "guest"):
        assert mine.keys() == set(range(START, END, STEP))
    for slot, values in expected.items():
        assert mine[slot].keys() == values.keys(), slot
        for metric, value in values.items():
            limit = 0.5 if metric.endswith("_pct") else abs(value) * 0.01
            assert mine[slot][metric] == pytest.approx(value, abs=limit), (slot, metric)


@pytest.mark.parametrize("metric", COUNTERS)
@pytest.mark.parametrize("name", MACHINES)
def test_a_counters_week_is_the_counters_own(every, ours, theirs, name, metric) -> None:
    def total(slots: Slots) -> float:
        rates = [values[metric] for (who, _slot), values in slots.items() if who == HOSTS[name] and metric in values]
        return sum(rates) * STEP / BYTES[metric]

    assert total(ours) == pytest.approx(total(theirs), rel=1e-6)
    if name not in ("sparse", "guest"):  # what they counted while nobody saw them is nobody's
        counter = next(
            one for one in every
            if one.labels["__name__"] == COUNTERS[metric] and one.labels["instance"].startswith(name)
        )  # fmt: skip
        assert total(ours) == pytest.approx(own(counter), rel=1e-6)
