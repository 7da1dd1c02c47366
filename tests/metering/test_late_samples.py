"""What comes for settled months: what it proves, and that none of it is passed over, whoever is cut off or comes between."""

from __future__ import annotations

import dataclasses
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from metering.intake import late_figures
from metering.intake.late_figures import LateFigure
from metering.lake.closing import CHUNK, rolling
from metering.lake.files import hot_names, write_json
from metering.lake.places import seal
from metering.lake.store import Lake
from metering.statements import statements
from metering.statements.tables import CORRECTION
from quota.units import VCPU
from tests.city import STATEMENTS, City
from tests.city.statements import at
from tests.metering.test_closing_races import Interposed
from tests.metering.test_statements import AUTHORITY

DAY = date(2026, 4, 30)
MIDNIGHT = int(at(29 * 24).timestamp())


@pytest.fixture
def city(book, tmp_path, clock):
    """April settled: one machine that was heard in its first 696 hours, and not on its last day."""
    made = City(book, clock, STATEMENTS, tmp_path)
    made.list("jia", at(-1), web={VCPU: 4})
    made.report("web", range(696))
    made.price(VCPU, "46")
    statements.settle(made.works, "2026-04", run_id=made.make().id, actor=AUTHORITY)
    clock.advance(days=31)
    made.list("jia", clock.now, web={VCPU: 4})
    return made


def late(lake, source, resource, slots, cpu, net=None):
    columns = {
        "resource": [resource] * len(slots),
        "ts": [MIDNIGHT + 300 * slot for slot in slots],
        "cpu_pct": list(cpu),
    }
    if net is not None:
        columns["net_rx_kbps"] = list(net)
    return lake.append(source, pa.table(columns))


def corrections(city):
    return [one.proven // 3600 for one in city.lines(city.make("2026-05")) if one.charge == CORRECTION]


def test_what_comes_late_and_frozen_proves_nothing(city):
    """An agent that repeats itself proves no hours in the month, and none afterwards."""
    slots = range(120)
    late(city.lake, "agent", city.id("web"), slots, [37.25] * 120, [512.5] * 120)
    assert corrections(city) == []
    late(city.lake, "agent", city.id("web"), range(240, 264), np.linspace(10, 40, 24))
    assert corrections(city) == [4 * 2]


def test_two_that_enter_at_once_enter_it_once(city):
    late(city.lake, "agent", city.id("web"), range(3), [1, 2, 3])
    other = Interposed(city.book.url, city.clock, lambda: late_figures.enter(city.works))
    assert late_figures.enter(dataclasses.replace(city.works, book=other)) == 0
    other.dispose()
    with city.book.reading() as tx:
        rows = tx.scalars(select(LateFigure).order_by(LateFigure.metric)).all()
    assert [(one.metric, one.samples_before, one.samples_after) for one in rows] == [
        ("cpu_pct", 0, 3),
        ("samples", 0, 3),
    ]


def test_a_delivery_that_the_sealing_overtook_is_entered_too(city):
    """Taken in before its month was sealed and not rolled since; meanwhile another one came, and was entered."""
    (city.lake.root / "sealed.json").unlink()
    late(city.lake, "east", city.id("web"), range(12), range(10, 22))
    seal(city.lake.root, "2026-04")
    late(city.lake, "west", city.id("web"), range(60, 72), range(30, 42))
    assert late_figures.enter(city.works) == 2
    city.lake.roll()
    assert late_figures.enter(city.works) == 2
    assert late_figures.enter(city.works) == 0
    assert [one.source for one in city.lake.corrections()] == ["west", "east"]
    assert corrections(city) == [4 * 2]


def test_a_sealing_that_was_cut_off_takes_no_more_into_the_month(tmp_path):
    """Killed while it closed a day with what had come by the month's closing: what came after stays out of the day."""
    lake = Lake(tmp_path / "lake")
    late(lake, "agent", 7, range(12), range(10, 22))
    late(lake, "agent", 7, range(24, 36), range(30, 42))
    first, second = hot_names(lake.hot_folder(DAY))
    write_json(lake.root / "closing.json", {"day": DAY.isoformat(), "up_to": first.number})
    with rolling(lake):
        pass
    assert hot_names(lake.hot_folder(DAY)) == [second]
    assert lake.counts(DAY, DAY)[7].tolist() == [12, 0, 0]
    assert not (lake.root / "closing.json").exists()
    assert lake.verify() == []


def test_what_is_corrected_is_laid_out_a_chunk_at_a_time(tmp_path):
    """Machines far apart, each with columns that the other lacks: the same figures as if they were alone."""
    lake, alone = Lake(tmp_path / "lake"), Lake(tmp_path / "alone")
    far = 3 * CHUNK + 5
    for one in (lake, alone):
        late(one, "agent", 1, range(12), range(10, 22))
        one.roll()
        seal(one.root, "2026-04")
    late(lake, "agent", 1, range(12, 24), range(30, 42))
    late(lake, "agent", far, range(5), range(5), range(50, 55))
    late(alone, "agent", 1, range(12, 24), range(30, 42))
    before, after = lake.corrected(DAY)
    assert before["resource"].to_pylist() == [1]
    assert after["resource"].to_pylist() == [1, far]
    assert after["n_live"].to_pylist() == [24, 5]
    assert after["net_rx_kbps_n"].to_pylist() == [0, 5]
    single = alone.corrected(DAY)[1]
    assert after.slice(0, 1).select(single.column_names).to_pylist() == single.to_pylist()
    hours = list(lake.corrected_hours(DAY))
    assert [int(one["n_live"].to_numpy().sum()) for one in hours] == [24, 5]
