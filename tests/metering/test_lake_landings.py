"""An import that is killed: each file is in the lake whole or not at all, the lake says so, and again makes it good."""

from __future__ import annotations

import os
import random
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from console.schema import models  # noqa: F401 - every table is known
from metering.intake import imports
from metering.intake.collection import SampleRefusal
from metering.lake import landings
from metering.lake.landing import Landing
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers.readers import usage_files
from quota.actors import steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory.pools import CloudProvider, Pool
from quota.errors import Conflict
from tests import books
from tests.metering.samples import DAY, joined, steady
from tests.patience import pause

FIRST = datetime(2026, 6, 1, tzinfo=UTC)
DAYS, MACHINES, FILES = 4, 12, 3
BATCH = 2_500
"""Far less than a file, so that every file is several deliveries."""


def house(home: Path) -> Workbench:
    """An empty house with one pool."""
    home.mkdir(exist_ok=True)
    book = Book(books.sqlite(home / "book.db"))
    with book.transaction(steward("test")) as tx:
        company = CloudProvider(code="c", name="c")
        tx.add(company)
        tx.flush()
        tx.add(Pool(code="p", name="p", provider_id=company.id, arch="x86_64", zone="z", adapter="files"))
    return Workbench(book, Lake(home / "lake"), home)


@pytest.fixture
def works(tmp_path: Path) -> Workbench:
    return house(tmp_path)


def files(folder: Path) -> None:
    """FILES files of MACHINES machines each."""
    folder.mkdir()
    start = int(FIRST.timestamp())
    rng = np.random.default_rng(3)
    for number in range(FILES):
        ts = np.tile(start + 300 * np.arange(DAYS * 288), MACHINES)
        names = np.repeat([f"m{number}-{one}" for one in range(MACHINES)], DAYS * 288)
        pq.write_table(
            pa.table({"vm_id": names, "ts": ts, "cpu_pct": rng.uniform(0, 90, len(ts)).round(2)}),
            folder / f"{number}.parquet",
        )


def brought(works: Workbench, folder: Path) -> imports.Imported:
    with works.book.reading() as tx:
        pool = imports.pool_of(tx, "p")
    return imports.import_usage(works, pool, [folder], register=True)


def killed(works: Workbench, folder: Path, after: int) -> None:
    """Import in a process of its own, and kill it at about its delivery number `after`."""
    works.book.dispose()
    reading, telling = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fresh = Workbench(Book(f"sqlite:///{works.home / 'book.db'}"), Lake(works.home / "lake"), works.home)
            appended = Landing.append

            def slowly(self: Landing, *given: object) -> object:
                os.write(telling, b".")
                pause(0.01)  # so that the kill falls between deliveries as often as within one
                return appended(self, *given)  # type: ignore[arg-type]

            Landing.append = slowly  # type: ignore[method-assign,assignment]
            brought(fresh, folder)
        finally:
            os._exit(0)
    for _ in range(after):
        os.read(reading, 1)
    pause(random.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(telling)


def held(lake: Lake) -> int:
    """Machines in the closed days, each of which is there with every sample of its file."""
    lake.roll()
    days = lake.days()
    found = lake.counts(days[0], days[-1]) if days else {}
    assert all(one.sum() == DAYS * 288 for one in found.values()), "no machine is there by half"
    return len(found)


def life(home: Path, source: Path, after: int) -> str:
    """One import that is killed, and made again; returns what the lake said of it in between."""
    works = house(home)
    lake = works.lake
    killed(works, source, after)
    left = lake.landings()
    machines = held(lake)
    assert machines % MACHINES == 0, "a file is there whole or not at all"
    assert lake.verify() == []
    if left:
        (one,) = left
        assert (one.pool, one.files, one.under_way) == ("p", FILES, False)
        # One file more may be there than the note says: killed between the two.
        assert machines // MACHINES - one.done in (0, 1)
    else:
        assert machines in (0, FILES * MACHINES)
    assert brought(works, source).whole
    assert held(lake) == FILES * MACHINES
    assert list((lake.root / "landings").iterdir()) == []
    with works.book.reading() as tx:
        assert tx.query(AuditRecord).filter_by(action="usage.import").count() >= 1
        assert tx.query(SampleRefusal).count() == 0
    files_then = {path: path.read_bytes() for path in lake.root.rglob("*.parquet")}
    assert brought(works, source).whole
    assert {path: path.read_bytes() for path in lake.root.rglob("*.parquet")} == files_then
    works.book.dispose()
    return left[0].state if left else "none"


@pytest.mark.slow
def test_a_killed_import_leaves_whole_files_and_says_what_it_left(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(usage_files.read_usage_files, "__kwdefaults__", {"batch_rows": BATCH, "progress": None})
    files(tmp_path / "files")
    dice = random.Random(11)
    said = [life(tmp_path / str(n), tmp_path / "files", dice.randint(1, 16)) for n in range(8)]
    assert said.count("broken_off") >= 2, said


def test_what_waits_is_read_by_nobody_until_it_is_whole(works) -> None:
    lake = works.lake
    with Landing(lake, "k", pool="p", named=["a", "b"]) as landing:
        landing.append("p.a", joined(steady(1)), works.book.clock())
        landing.append("p.a2", joined(steady(2)), works.book.clock())
        assert lake.hot_days() == []
        assert lake.landings()[0].state == "under_way"
        assert lake.landings()[0].waiting == 2
        with pytest.raises(Conflict), Landing(lake, "k", pool="p", named=["a", "b"]):
            pass
        lake.roll()
        assert lake.days() == []
        landing.land(1)
        assert lake.hot_days() == [DAY]
        landing.append("p.b", joined(steady(3)), works.book.clock())
    (left,) = lake.landings()
    assert (left.state, left.done, left.files, left.waiting) == ("broken_off", 1, 2, 0), "an error leaves no half"
    lake.roll()
    assert sorted(lake.counts(DAY, DAY)) == [1, 2]
    (mended,) = lake.repair()
    assert mended.lost.startswith("1 of 2 files")
    assert lake.landings() == []


def test_the_same_delivery_does_not_land_twice(works) -> None:
    lake = works.lake
    assert lake.append("p.a", joined(steady(1))).files == 1
    with Landing(lake, "k", pool="p", named=["a"]) as landing:
        assert landing.append("p.a", joined(steady(1)), works.book.clock()).files == 0
        landing.land(1)
        landing.close()
    assert len(lake.hot_files(DAY)) == 1
    assert lake.landings() == []


def test_what_was_whole_when_its_process_died_is_put_in_its_place_by_the_next_roll(works) -> None:
    lake = works.lake
    landing = Landing(lake, "k", pool="p", named=["a"])
    with landing:
        landing.append("p.a", joined(steady(1, days=2)), works.book.clock())
        (landing.folder / "whole").touch()
    assert lake.landings()[0].waiting == 2
    lake.roll()
    assert lake.days() == [DAY, DAY + timedelta(days=1)]
    assert lake.landings()[0].waiting == 0


def test_a_month_that_is_settled_while_a_file_lands_stays_as_it_was(works) -> None:
    lake = works.lake
    lake.append("p.old", joined(steady(1)))
    lake.roll()
    settled = datetime.now(UTC)
    with Landing(lake, "k", pool="p", named=["a"]) as landing:
        landing.append("p.a", joined(steady(2)), works.book.clock())
        lake.seal(DAY.strftime("%Y-%m"), settled)
        landing.land(1)
    lake.roll()
    assert sorted(lake.counts(DAY, DAY)) == [1]
    assert [one.source for one in lake.corrections()] == ["p.a"]
    assert landings.landings(lake)[0].state == "unentered"
