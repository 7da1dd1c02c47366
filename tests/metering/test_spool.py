"""What was acknowledged is folded, once, whatever is cut off in between."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from metering.intake import spool
from metering.intake.signals import DIRECT, POINTS, Signal
from metering.lake.files import Damaged
from metering.lake.store import Lake
from providers.metrics import METRICS
from tests.patience import PATIENCE, pause

BEGIN = 1_790_000_100
END = datetime.fromtimestamp(BEGIN + 7200, UTC)


def delivery(seconds, resource=3, rate=1000.0):
    """A received-bytes counter at ``seconds`` after BEGIN."""
    seconds = list(seconds)
    count = len(seconds)
    return pa.table(
        {
            "resource": [resource] * count,
            "signal": [int(Signal.NET_RX_B)] * count,
            "series": [resource] * count,
            "place": [0] * count,
            "ts": [(BEGIN + second) * 1000 for second in seconds],
            "value": [rate * second for second in seconds],
            "folded": [False] * count,
        },
        schema=POINTS,
    )


def rates(lake, resource=3, hours=2):
    begin = datetime.fromtimestamp(BEGIN, UTC)
    chart = lake.chart(resource, begin, begin + timedelta(hours=hours), ["net_rx_kbps"])
    return [round(value, 3) for value in chart.values["net_rx_kbps"].tolist() if value == value]


def test_a_fold_takes_complete_slots_once_and_keeps_the_rest(tmp_path):
    lake = Lake(tmp_path)
    spool.keep(lake, "agent", delivery(range(0, 900, 15)), {"ignored": 5, "refused": {"ts.old": 2}})
    first = spool.fold_source(lake, "agent", datetime.fromtimestamp(BEGIN + 700, UTC))
    assert (first.points, first.samples, first.ignored, first.refused["ts.old"]) == (60, 2, 5, 2)
    again = spool.fold_source(lake, "agent", datetime.fromtimestamp(BEGIN + 700, UTC))
    assert (again.points, again.samples) == (0, 0)
    later = spool.fold_source(lake, "agent", datetime.fromtimestamp(BEGIN + 1000, UTC))
    assert (later.points, later.samples) == (0, 1)
    assert rates(lake) == [8.0, 8.0, 8.0]
    assert len(list((tmp_path / "push" / "agent").glob("*.arrow"))) == 1


def test_late_points_fold_their_slot_again_and_a_delivery_twice_changes_nothing(tmp_path):
    lake = Lake(tmp_path)
    spool.keep(lake, "agent", delivery([*range(0, 300, 15), *range(600, 900, 15)]), {})
    spool.fold_source(lake, "agent", END)
    assert rates(lake) == [8.0, 8.0]
    late = delivery(range(300, 600, 15))
    spool.keep(lake, "agent", late, {})
    spool.keep(lake, "agent", late, {})
    spool.fold_source(lake, "agent", END)
    assert rates(lake) == [8.0, 8.0, 8.0]


def kept(root):
    (path,) = (root / "push" / "agent").glob("*-folded.arrow")
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all().to_pydict()
    return {
        one: [ts // 1000 - BEGIN for ts, who in zip(table["ts"], table["resource"], strict=True) if who == one]
        for one in sorted(set(table["resource"]))
    }


def test_only_two_hours_are_kept_and_those_of_who_is_catching_up_while_it_does(tmp_path):
    lake = Lake(tmp_path)
    spool.keep(lake, "agent", delivery(range(0, 1200, 60), resource=1), {})
    spool.keep(lake, "agent", delivery(range(0, 10_800, 60), resource=2), {})
    spool.fold_source(lake, "agent", END + timedelta(hours=5))
    assert {one: (min(seconds), max(seconds)) for one, seconds in kept(tmp_path).items()} == {
        1: (0, 1140),
        2: (3_300, 10_740),  # whole slots
    }
    spool.keep(lake, "agent", delivery([10_800], resource=2), {})
    spool.fold_source(lake, "agent", END + timedelta(hours=5))
    assert list(kept(tmp_path)) == [2]


def memory(lake, resource=3):
    begin = datetime.fromtimestamp(BEGIN, UTC)
    chart = lake.chart(resource, begin, begin + timedelta(hours=2), ["mem_pct", "net_rx_kbps"])
    return {name: [round(value, 3) for value in column.tolist()] for name, column in chart.values.items()}


def direct(seconds, value, resource=3):
    """mem_pct as it is, at ``seconds`` after BEGIN."""
    table = delivery(seconds, resource)
    count = table.num_rows
    signal = DIRECT + list(METRICS).index("mem_pct")
    for name, column in (("signal", [signal] * count), ("series", [99] * count), ("value", [float(value)] * count)):
        table = table.set_column(
            POINTS.names.index(name), POINTS.field(name), pa.array(column, POINTS.field(name).type)
        )
    return table


@pytest.mark.parametrize("closed", [False, True], ids=["hot", "closed"])
def test_a_point_later_than_two_hours_fills_a_slot_and_replaces_none(tmp_path, closed):
    """Most of the slot's points are no longer here: one that comes now would speak for all of them."""
    lake = Lake(tmp_path)
    spool.keep(lake, "agent", direct(range(0, 600, 15), 40), {})
    spool.keep(lake, "agent", direct(range(0, 18_000, 60), 40, resource=4), {})
    spool.fold_source(lake, "agent", END + timedelta(hours=5))
    spool.keep(lake, "agent", direct([18_060], 40, resource=4), {})
    spool.fold_source(lake, "agent", END + timedelta(hours=5))
    if closed:
        lake.roll()
    before = memory(lake)["mem_pct"][:4]
    spool.keep(lake, "agent", direct([30, 45, 700, 715], 90), {})
    spool.keep(lake, "agent", delivery(range(0, 600, 15)), {})
    spool.fold_source(lake, "agent", END + timedelta(hours=5))
    after = memory(lake)
    assert (before[:2], after["mem_pct"][:3]) == ([40, 40], [40, 40, 90])
    assert after["net_rx_kbps"][:2] == [8, 8], "a metric of which nothing was known is filled"


def test_who_catches_up_in_many_deliveries_has_whole_slots(tmp_path):
    """Three hours of backlog, oldest first, while the others go on: a slot that two deliveries share is of both."""
    lake = Lake(tmp_path)
    spool.keep(lake, "agent", direct(range(0, 18_000, 60), 40, resource=4), {})
    spool.fold_source(lake, "agent", END + timedelta(hours=5))
    for begin, value in ((0, 20), (450, 40), (900, 60)):
        spool.keep(lake, "agent", direct(range(begin, begin + 450, 15), value), {})
        spool.fold_source(lake, "agent", END + timedelta(hours=5))
    assert memory(lake)["mem_pct"][:4] == [20, 30, 40, 60]


def test_what_the_lake_refuses_is_counted(tmp_path):
    lake = Lake(tmp_path)
    spool.keep(lake, "agent", direct(range(0, 600, 15), 2_000_000), {})
    found = spool.fold_source(lake, "agent", END)
    assert (found.samples, found.refused) == (0, {"mem_pct:absurd": 2})


def test_a_damaged_delivery_is_named(tmp_path):
    lake = Lake(tmp_path)
    path = spool.keep(lake, "agent", delivery(range(0, 600, 15)), {})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Damaged, match=path.name):
        spool.fold_source(lake, "agent", END)


WORKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from metering.intake import spool
from metering.lake import Lake
from tests.metering.test_spool import BEGIN, END, delivery
lake = Lake(Path(sys.argv[1]))
begin = int(sys.argv[2])
for number in range(begin, 400):
    spool.keep(lake, "agent", delivery(range(15 * number, 15 * number + 15, 15)), {})
    print(number, flush=True)
    if number % 7 == 6:
        spool.fold_source(lake, "agent", datetime.fromtimestamp(BEGIN + 15 * number, UTC))
"""


@pytest.mark.slow
def test_killed_anywhere_nothing_acknowledged_is_lost_or_counted_twice(tmp_path):
    chance, done, kills = random.Random(7), 0, 0
    while done < 400:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(done)], stdout=subprocess.PIPE, text=True
        )
        if kills < 12:
            for _line in range(chance.randrange(5, 60)):
                line = process.stdout.readline()
                done = int(line) + 1 if line else done
            pause(chance.random() * 0.01)
            process.send_signal(signal.SIGKILL)
            kills += 1
        rest, _ = process.communicate(timeout=PATIENCE)
        done = max([done, *(int(line) + 1 for line in rest.split())])
    lake = Lake(tmp_path)
    spool.fold_source(lake, "agent", END)
    assert kills == 12
    assert rates(lake) == [8.0] * 20
    assert lake.verify() == []
