"""SIGKILL at random points of appending, compaction, closing, retention and repair: all that was acknowledged is there."""

import json
import os
import random
import shutil
import signal
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from metering.lake.retention import Keep
from metering.lake.store import Lake
from tests.metering.samples import DAY, MIDNIGHT, Sample, table

KILLS = 100
KEEP = Keep(days=62, hours=80)
N_DAYS = 4


def work(root: Path, told: int, seed: int) -> None:
    """In a child: deliver, close, settle, retain, for ever; each acknowledged delivery is told through `told`."""
    random.seed(seed)
    lake = Lake(root)
    number = seed * 100_000
    while True:
        dice = random.random()
        if dice < 0.70:
            number += 1
            day = random.randrange(N_DAYS)
            slot = number % 288
            # Over midnight too, with figures that may freeze: neighbours are rewritten.
            level = 3.37 if random.random() < 0.5 else number % 90 + 0.01
            batch = [
                Sample(
                    resource,
                    MIDNIGHT + day * 86_400 + slot * 300 + seed % 300,
                    (("cpu_pct", level), ("net_rx_kbps", 12.4)),
                )
                for resource in (1, 700, 9000)
            ]
            lake.append(f"s{number % 3}", table(batch))
            # Nobody else reports this one, so that its source's deliveries may be laid together.
            lake.append("alone", table([replace(batch[0], resource=20_000)]))
            os.write(told, (json.dumps([day, slot]) + "\n").encode())
        elif dice < 0.80:
            lake.compact(2)
        elif dice < 0.92:
            lake.roll()
        elif dice < 0.96:
            lake.retain(line(seed) + timedelta(days=62), KEEP)  # takes the decoy of this life
        else:
            lake.repair()


def killed(root: Path, seed: int, after: float) -> set[tuple[int, int]]:
    """Run `work` in a process of its own, kill it, and return what it had acknowledged: (day, slot).

    It dies ``after`` seconds of its own work, however many of the clock that takes on a busy machine.
    """
    reading, telling = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends it at once, like SIGKILL
            signal.setitimer(signal.ITIMER_PROF, after)
            work(root, telling, seed)
        finally:
            os._exit(1)
    os.close(telling)
    with os.fdopen(reading) as told:
        lines = told.read().splitlines(keepends=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGPROF
    return {tuple(json.loads(line)) for line in lines if line.endswith("\n")}


def present(lake: Lake) -> dict[int, set[tuple[int, int]]]:
    """resource -> (day, slot) with a sample, live or frozen, once all is closed."""
    found: dict[int, set[tuple[int, int]]] = {}
    for window in lake.windows(None, DAY, DAY + timedelta(days=N_DAYS - 1), ("cpu_pct",)):
        for row, resource in enumerate(window.resources.tolist()):
            found[resource] = {(int(i) // 288, int(i) % 288) for i in window.state[row].nonzero()[0]}
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.slow
def test_killed_a_hundred_times_it_is_whole_and_remembers(tmp_path):
    random.seed(20261124)
    lake = Lake(tmp_path)
    promised: set[tuple[int, int]] = set()
    interrupted = 0
    for seed in range(KILLS):
        decoy(lake, line(seed) - timedelta(days=1))
        promised |= killed(tmp_path, seed, random.uniform(0.02, 0.25))
        interrupted += (tmp_path / "closing.json").exists() or bool(list(tmp_path.rglob("*.tmp")))
        if seed % 5 == 4:
            assert lake.verify() == []
            assert not (tmp_path / "closing.json").exists()
    assert lake.verify() == []
    lake.roll()
    assert lake.verify() == []
    assert len(promised) > KILLS
    assert interrupted > 5  # the kills did hit something half-done
    found = present(lake)
    assert {1, 700, 9000, 20_000} <= set(found)
    for slots in found.values():
        assert promised <= slots
    # What the rule of retention spared is there: every day's rollups, and samples of no younger day are gone.
    assert {day for day in lake.days() if day >= DAY} == {DAY + timedelta(days=n) for n in range(N_DAYS)}


def line(seed: int) -> date:
    """From which day on samples are kept in this life: one day later in each."""
    return DAY - timedelta(days=KILLS - seed)


def decoy(lake: Lake, day: date) -> None:
    """Give retention something to delete."""
    lake.append("old", table([Sample(1, MIDNIGHT + (day - DAY).days * 86_400, (("cpu_pct", 5.0),))]))


def test_a_crash_between_the_files_of_a_day_is_finished_by_the_next(tmp_path, monkeypatch):
    """Every point between two renames, one after another: dense new, rollups old; day done, neighbour not."""
    from metering.lake import files

    real = os.replace
    for stop in range(1, 12):
        root = tmp_path / str(stop)
        lake = Lake(root)
        run = [Sample(1, MIDNIGHT + 300 * (282 + n), (("cpu_pct", 3.37), ("net_rx_kbps", 12.4))) for n in range(6)]
        rest = [Sample(1, MIDNIGHT + 300 * (288 + n), (("cpu_pct", 3.37), ("net_rx_kbps", 12.4))) for n in range(6)]
        lake.append("a", table(rest))
        lake.roll()
        lake.append("a", table(run))
        count = 0

        def failing(source, target, stop=stop):
            nonlocal count
            count += 1
            if count == stop:
                raise KeyboardInterrupt
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", failing)
            try:
                lake.roll()
                finished = True
            except KeyboardInterrupt:
                finished = False
        assert lake.verify() == [], stop
        lake.roll()
        assert lake.counts(DAY, DAY + timedelta(days=1))[1].tolist() == [0, 0, 12], stop
        shutil.rmtree(root)
        if finished:
            break
    else:
        pytest.fail("more renames than were tried")
