"""Settled months, retention, damage and full disks: what was taken is there, or it is said by name what is not."""

import contextlib
import errno
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from metering.lake.files import Damaged, Footers, LakeFull, Reader, write_tables
from metering.lake.retention import Keep
from metering.lake.store import Lake
from providers.metrics import LIVE
from quota.actors import steward
from tests.metering.samples import DAY, MIDNIGHT, Sample, joined, steady, table
from tests.metering.test_lake import fingerprint, seen

MONTH = "2026-09"


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Two resources over three days, closed."""
    lake = Lake(tmp_path / "lake")
    lake.append("a", joined(steady(1, days=3), steady(600, days=3)))
    lake.roll()
    return lake


# --- settled months -----------------------------------------------------------------------------------------


def test_what_comes_for_a_settled_month_lies_beside_it(lake):
    lake.seal(MONTH)
    before = fingerprint(lake)
    late = table([Sample(1, MIDNIGHT + 7, (("cpu_pct", 99.0),)), Sample(2, MIDNIGHT + 7, (("cpu_pct", 5.0),))])
    receipt = lake.append("b", late)
    assert (receipt.taken, receipt.corrected, receipt.files) == (2, (DAY,), 1)
    assert lake.append("b", late).files == 0
    assert lake.hot_days() == []
    lake.roll()
    assert fingerprint(lake) == before
    (one,) = lake.corrections()
    assert (one.day, one.source) == (DAY, "b")
    settled, corrected = lake.corrected(DAY)
    assert settled["resource"].to_pylist() == [1]
    assert corrected["resource"].to_pylist() == [1, 2]
    difference = corrected["cpu_pct_sum"].to_pylist()[0] - settled["cpu_pct_sum"].to_pylist()[0]
    assert difference == round((99.0 - steady(1)["cpu_pct"][0]) * 100)
    assert corrected["n_live"].to_pylist() == [288, 1]
    assert lake.verify() == []
    assert lake.status().corrections == 1
    nothing = lake.corrected(DAY, up_to=one.number - 1)
    assert [len(one) for one in nothing] == [0, 0]


def test_what_waits_when_a_month_is_settled_still_counts(lake):
    lake.append("b", table([Sample(2, MIDNIGHT + 7, (("cpu_pct", 5.0),))]))
    lake.seal(MONTH)
    assert lake.hot_days() == []
    assert lake.corrections() == []
    assert 2 in seen(lake, DAY, DAY)


def test_a_delivery_that_races_with_the_settling_becomes_a_correction(lake):
    other = Lake(lake.root)
    other.sealed = frozenset  # it looked just before
    lake.seal(MONTH)
    other.append("b", table([Sample(2, MIDNIGHT + 7, (("cpu_pct", 5.0),))]))
    before = fingerprint(lake)
    assert lake.roll() == [DAY]
    assert fingerprint(lake) == before
    assert [one.source for one in lake.corrections()] == ["b"]
    assert lake.hot_days() == []


def test_a_month_beside_does_not_reach_into_a_settled_one(tmp_path):
    """A run that only the first of October shows to be frozen leaves the settled thirtieth of September alone."""
    thirtieth = MIDNIGHT + 9 * 86_400
    run = {
        "resource": np.full(12, 1),
        "ts": thirtieth + 300 * (282 + np.arange(12)) + 7,
        "cpu_pct": np.full(12, 3.37),
        "net_rx_kbps": np.full(12, 12.4),
    }
    lake = Lake(tmp_path)
    lake.append("a", joined({name: column[:6] for name, column in run.items()}))
    lake.roll()
    lake.seal(MONTH)
    before = lake.path("days", date(2026, 9, 30)).read_bytes()
    lake.append("a", joined({name: column[6:] for name, column in run.items()}))
    lake.roll()
    assert lake.path("days", date(2026, 9, 30)).read_bytes() == before
    assert lake.days() == [date(2026, 9, 30), date(2026, 10, 1)]
    assert lake.verify() == []
    lake.rebuild(date(2026, 9, 30))
    assert lake.path("days", date(2026, 9, 30)).read_bytes() == before


@pytest.mark.parametrize("month", ["2026", "2026-13", "2026-9", "x"])
def test_a_month_is_written_as_one(lake, month):
    with pytest.raises(ValueError, match="a month is written"):
        lake.seal(month)


# --- retention ----------------------------------------------------------------------------------------------


def test_retention_deletes_what_is_old_and_nothing_younger(lake):
    keep = Keep(days=100, hours=200)
    young = fingerprint(lake)
    assert lake.retain(DAY + timedelta(days=100), keep).files == ()
    assert fingerprint(lake) == young
    gone = lake.retain(DAY + timedelta(days=101), keep)
    assert [path.relative_to(lake.root).as_posix() for path in gone.files] == [f"days/{DAY}.parquet"]
    assert (gone.bytes > 0, gone.days) == (True, DAY + timedelta(days=1))
    assert {name: digest for name, digest in young.items() if name != f"days/{DAY}.parquet"} == fingerprint(lake)
    assert lake.verify() == []
    assert lake.counts(DAY, DAY)[1].tolist() == [288, 0, 0]
    assert {one: row.tolist() for one, row in lake.counts(DAY, DAY, [1, 10**6]).items()} == {1: [288, 0, 0]}
    assert lake.counts(DAY, DAY, [10**6]) == lake.counts(DAY, DAY, []) == {}
    gone = lake.retain(DAY + timedelta(days=500), keep)
    assert len(gone.files) == 5
    assert {name.split("/")[0] for name in fingerprint(lake)} == {"daily"}
    assert lake.verify() == []
    assert lake.status().kept_from == DAY + timedelta(days=400)


def test_late_data_for_deleted_days_is_refused_and_replaces_nothing(lake):
    lake.retain(DAY + timedelta(days=101), Keep(days=100, hours=200))
    before = fingerprint(lake)
    receipt = lake.append(
        "a", table([Sample(1, MIDNIGHT, (("cpu_pct", 1.0),)), Sample(1, MIDNIGHT + 86_400, (("cpu_pct", 1.0),))])
    )
    assert (receipt.taken, dict(receipt.refused)) == (1, {"row:retained": 1})
    lake.roll()
    assert {name for name, digest in fingerprint(lake).items() if digest != before[name]} <= {
        f"{kind}/{DAY + timedelta(days=1)}.parquet" for kind in ("days", "hours", "daily")
    }


def test_what_was_taken_is_closed_before_its_samples_go(lake):
    lake.append("b", table([Sample(2, MIDNIGHT + 7, (("cpu_pct", 5.0),))]))
    lake.retain(DAY + timedelta(days=101), Keep(days=100, hours=200))
    assert lake.counts(DAY, DAY)[2].tolist() == [1, 0, 0]


def test_a_rule_too_short_is_no_rule():
    with pytest.raises(ValueError, match="two months"):
        Keep(days=30)
    with pytest.raises(ValueError, match="no shorter"):
        Keep(days=400, hours=399)


# --- damage -------------------------------------------------------------------------------------------------


def damage(path: Path, at: float = 0.5, n: int = 64) -> None:
    content = bytearray(path.read_bytes())
    middle = int(len(content) * at)
    content[middle : middle + n] = bytes(255 - byte for byte in content[middle : middle + n])
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["hours", "daily"])
@pytest.mark.parametrize("how", ["flipped", "missing", "cut", "empty"])
def test_a_damaged_rollup_is_named_and_made_again(lake, kind, how):
    before = fingerprint(lake)
    path = lake.path(kind, DAY)
    spoil(path, how)
    assert path in {one.path for one in lake.verify()}
    (done,) = [one for one in lake.repair() if one.path == path]
    assert (done.rebuilt, done.lost) == (True, "")
    assert (done.quarantined is None) == (how == "missing")
    assert fingerprint(lake) == before
    assert lake.verify() == []


def spoil(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        damage(path, 0.2)


def test_a_footer_that_misleads_is_named(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.append("a", joined(steady(1), steady(2)))
    lake.roll()
    assert lake.verify() == []
    path = lake.path("days", DAY)
    with Reader(path) as reader:
        kept, about = reader.table(), reader.about()
        told = reader.consecutive(0, lake.slots)
        assert told is not None
        assert (told.tolist(), reader.alike(0)) == ([1, 2], LIVE)
    # The second resource before the first: the footer's least, greatest and count still look whole.
    swapped = pa.concat_tables([kept.slice(288), kept.slice(0, 288)])
    write_tables(path, [swapped], about)
    found = [problem for problem in lake.verify() if problem.path == path]
    assert [problem.why for problem in found] == ["the footer of row group 0 contradicts its samples"]


def test_neighbours_damaged_together_are_made_again_together(lake):
    before = fingerprint(lake)
    for step in range(3):
        spoil(lake.path("daily", DAY + timedelta(days=step)), "cut")
        spoil(lake.path("hours", DAY + timedelta(days=step)), "flipped")
    assert len(lake.verify()) >= 3
    while found := lake.repair():
        assert all(one.rebuilt for one in found)
    assert fingerprint(lake) == before


def test_of_a_damaged_day_the_whole_blocks_are_kept_and_the_lost_named(lake):
    path = lake.path("days", DAY)
    damage(path, 0.1)  # within the first row group, resource 1
    with pytest.raises(Damaged):
        list(lake.windows(None, DAY, DAY, ("cpu_pct", "mem_pct")))
    (done,) = [one for one in lake.repair() if one.path == path]
    assert done.rebuilt
    assert done.lost == "samples of resources 1–1"
    assert done.quarantined is not None
    assert done.quarantined.exists()
    assert sorted(seen(lake, DAY, DAY)) == [600]
    assert lake.verify() == []
    lake.append("a", joined(steady(1)))  # asked again, the source delivers again
    lake.roll()
    assert sorted(seen(lake, DAY, DAY)) == [1, 600]


def test_a_day_that_is_gone_stays_named(lake):
    lake.path("days", DAY).unlink()
    assert [one.rebuilt for one in lake.repair()] == [False]
    assert [(one.path, one.why) for one in lake.verify()] == [(lake.path("days", DAY), "missing")]
    lake.append("a", joined(steady(1), steady(600)))
    lake.roll()
    assert lake.verify() == []


def test_a_damaged_delivery_is_put_aside_and_the_rest_closed(lake):
    lake.append("b", joined(steady(2, start=MIDNIGHT + 5 * 86_400)))
    lake.append("c", joined(steady(3, start=MIDNIGHT + 5 * 86_400)))
    day = DAY + timedelta(days=5)
    (path,) = [path for path in lake.hot_files(day) if path.parent.name == "b"]
    damage(path)
    assert [one.path for one in lake.verify()] == [path]
    (done,) = lake.repair()
    assert (done.path, done.rebuilt, done.lost) == (path, False, "the delivery")
    lake.roll()
    assert sorted(seen(lake, day, day)) == [3]
    assert lake.verify() == []


# --- no room ------------------------------------------------------------------------------------------------

APPENDING = """
import sys, resource
from metering.lake import Lake
from metering.lake.files import LakeFull
from tests.metering.samples import joined, steady, MIDNIGHT
lake = Lake(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    lake.append("b", joined(*(steady(one, start=MIDNIGHT + 86400 * 9) for one in range(50))))
except LakeFull as full:
    print(full.code)
"""


def test_a_delivery_that_finds_no_room_is_refused_and_hurts_nothing(lake):
    before = fingerprint(lake)
    done = subprocess.run([sys.executable, "-c", APPENDING, str(lake.root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "lake.full"
    assert fingerprint(lake) == before
    assert lake.hot_days() == []
    assert not list(lake.root.rglob("*.tmp"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB; needs root, as here and in CI."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_full_disk_stops_intake_and_the_roll_and_loses_nothing(small_disk):
    lake = Lake(small_disk)
    taken: list[int] = []

    def deliver() -> None:
        for n in range(10_000):
            hour = [steady(one, start=MIDNIGHT + n * 3600, days=1 / 24, seed=n) for one in range(40)]
            lake.append("a", joined(*hour))
            taken.append(n)

    with pytest.raises(LakeFull) as full:
        deliver()
    assert full.value.__cause__.errno == errno.ENOSPC
    assert len(taken) > 20
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as sink:
        while True:
            sink.write(bytes(512))
            sink.flush()
    with pytest.raises(LakeFull):
        lake.roll()
    assert lake.verify() == []
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    lake.roll()
    assert lake.verify() == []
    live = sum(int(one[0]) for one in lake.counts(DAY, DAY + timedelta(days=400)).values())
    assert live == len(taken) * 40 * 12


# --- closed in the book -------------------------------------------------------------------------------------


def test_a_month_closed_in_the_book_is_sealed_and_late_samples_still_prove_hours(book, clock, lake):
    """The days stay as they were invoiced; statements see what came afterwards, and correct by rows of their own."""
    from metering.statements import presence, settling
    from metering.statements.closings import MonthClosing
    from metering.workbench import Workbench

    works = Workbench(book, lake)
    assert settling.seal(works) == []
    with book.transaction(steward()) as tx:
        tx.add(
            MonthClosing(
                month=MONTH,
                run_id=1,
                invoices={},
                closed_at=datetime.fromtimestamp(time.time(), UTC),
                closed_by="chief",
            )
        )
    lake.append("b", table([Sample(1, MIDNIGHT + 5 * 86_400 + 7, (("cpu_pct", 5.0),))]))  # after the closing
    before = fingerprint(lake)
    assert settling.seal(works) == [MONTH]
    assert settling.seal(works) == []
    assert fingerprint(lake) == before
    assert [one.day for one in lake.corrections()] == [DAY + timedelta(days=5)]
    start = datetime.fromtimestamp(MIDNIGHT, UTC)
    with book.reading() as tx:
        seen = presence.observed(tx, lake, start, start + timedelta(days=7), [1, 600])
    assert seen.covered[0].nonzero()[0].tolist() == [*range(72), 120]
    assert seen.covered[1].nonzero()[0].tolist() == [*range(72)]


# --- footers that are remembered ----------------------------------------------------------------------------


def test_a_chart_drawn_again_shows_what_its_days_are_now(lake):
    start = datetime.fromtimestamp(MIDNIGHT, UTC)

    def drawn():
        return lake.chart(1, start, start + timedelta(days=3), ("cpu_pct",)).values["cpu_pct"]

    first = drawn()
    assert drawn().tobytes() == first.tobytes()
    lake.append(
        "b", table([Sample(1, MIDNIGHT + 300 * 300 + 1, (("cpu_pct", 99.0),)), Sample(7, MIDNIGHT + 86_407, ())])
    )
    lake.append("c", joined(steady(5), steady(1000)))  # other row groups before and behind
    lake.roll()
    second = drawn()
    assert np.flatnonzero(first != second).tolist() == [300]
    assert second[300] == 99.0
    lake.path("days", DAY).write_bytes(b"no longer")
    with pytest.raises(Damaged):
        drawn()


def test_footers_are_of_the_file_that_is_there_and_no_more_than_so_many(lake):
    known = Footers(most=2)
    days = lake.days()
    for day in [*days, *days]:
        with Reader(lake.path("days", day), known=known) as one, Reader(lake.path("days", day)) as other:
            assert one.ranges == other.ranges
            assert one.table().equals(other.table())
    assert len(known._kept) == 2
    with pytest.raises(FileNotFoundError):
        Reader(lake.root / "none.parquet", known=known)
