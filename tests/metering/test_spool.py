"""What was acknowledged is folded, once, whatever is cut off in between."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from metering import spool
from metering.lake import Lake
from metering.lake_files import Damaged
from metering.signals import POINTS, Signal
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


def test_only_two_hours_and_each_series_last_point_are_kept(tmp_path):
    lake = Lake(tmp_path)
    spool.keep(lake, "agent", delivery([0, 15], resource=1), {})
    spool.keep(lake, "agent", delivery(range(0, 10_800, 60), resource=2), {})
    spool.fold_source(lake, "agent", END + timedelta(hours=5))
    (kept,) = (tmp_path / "push" / "agent").glob("*-folded.arrow")
    with pa.OSFile(str(kept)) as file:
        table = pa.ipc.open_file(file).read_all()
    seconds = {
        one: [
            ts // 1000 - BEGIN
            for ts, who in zip(*table.select(["ts", "resource"]).to_pydict().values(), strict=True)
            if who == one
        ]
        for one in (1, 2)
    }
    assert seconds[1] == [15]
    assert min(seconds[2]) == 10_740 - 7_200


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
from metering import spool
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
