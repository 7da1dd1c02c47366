"""The lake: samples in, once; closed days, rollups, charts and windows out.

A delivery is durable before `append` returns, and lies *hot* until `roll` closes its days: one dense file a
day, with hours and daily histograms beside it. Any number of processes may read while one process per source
appends and one rolls. A crash at any byte leaves each file old or new; hot files go only when what they held
is durable elsewhere, so that a roll can be repeated and gives the same bytes.

What a closed day holds depends on what was delivered, not on the order or the batches in which it came
(deliveries that contradict each other apart: there the later wins).

    lake = Lake(root)
    lake.append("agent-7", table)
    lake.roll()
    for window in lake.windows(None, first_day, last_day, ("cpu_pct", "mem_pct")): ...

`chart` sees hot samples at once; `hours`, `windows` and `daily` read closed days alone. `hot_days` says which
days have something that they don't show yet.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.lake import closing, health, readings, retention
from metering.lake import corrections as lake_corrections
from metering.lake import landings as lake_landings
from metering.lake import repair as lake_repair
from metering.lake import sources as lake_sources
from metering.lake.files import HotName, check_source, day_of, hot_names, hot_tables, room, write_tables
from metering.lake.places import Places, seal
from metering.lake.samples import Cells, Delivery, canonical
from providers.metrics import Array


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery. rows: delivered; taken: with something to say; refused: "column:reason" ->
    how many; days: local days touched; files: written now, 0 if exactly this lay there already; corrected: those
    of the days whose month was settled before, so that this is kept beside, as a correction."""

    rows: int
    taken: int
    refused: Mapping[str, int]
    days: tuple[date, ...]
    files: int
    corrected: tuple[date, ...] = ()


class Lake(Places):
    """Samples of any number of resources at steps of `step_s` seconds, in days of UTC + `utc_offset_s`."""

    # --- in ---

    def append(
        self, source: str, table: pa.Table, *, not_after: datetime | None = None, landing: Path | None = None
    ) -> Receipt:
        """Take a delivery: integer columns `resource` and `ts` (seconds since 1970, UTC), any of METRICS, `vcpu`
        and `mem_mb`; NaN or null = not reported. Durable on return; the same again changes nothing.

        Refuses values and rows that can't be, and counts them: "row:future" lies more than two steps after
        `not_after` (a clock that is ahead), "row:retained" on a day whose samples were deleted by the rule of
        retention. `landing`: a folder in which it waits for the rest of its file (metering.lake.landings). Raises KeyError, ValueError or TypeError if the table has a column too few, too many or of a
        wrong type, LakeFull if there is no room: then nothing of it is acknowledged, and delivering it again
        does no harm.
        """
        check_source(source)
        delivery, refused, taken = self._sift(table, not_after)
        sealed = self.sealed()
        files = 0
        days: list[date] = []
        corrected: list[date] = []
        for number, (cells, first, last) in delivery.days.items():
            day = day_of(number)
            late = day.strftime("%Y-%m") in sealed
            (corrected if late else days).append(day)
            place = self.correction_folder(day) if late else self.hot_folder(day)
            waits = place if landing is None else landing / place.relative_to(self.root)
            with room():
                files += self._keep(place, waits, source, cells, first, last)
        return Receipt(delivery.rows, taken, dict(refused), tuple(sorted({*days, *corrected})), files, tuple(corrected))

    def refusals(self, table: pa.Table, *, not_after: datetime | None = None) -> Mapping[str, int]:
        """What `append` would refuse of this, without taking any of it."""
        return dict(self._sift(table, not_after)[1])

    def _sift(self, table: pa.Table, not_after: datetime | None) -> tuple[Delivery, Counter[str], int]:
        """A delivery without the days that retention deleted, what is refused of it, and how many rows are taken."""
        latest = None if not_after is None else int(not_after.timestamp()) + 2 * self.step_s
        delivery = canonical(table, self.step_s, self.utc_offset_s, latest)
        refused, gone, taken = Counter(delivery.refused), self.kept_from("days"), delivery.taken
        for number in [one for one in delivery.days if gone is not None and day_of(one) < gone]:
            cells = delivery.days.pop(number)[0]
            refused["row:retained"] += len(cells)
            taken -= len(cells)
        return delivery, refused, taken

    def _keep(self, place: Path, waits: Path, source: str, cells: Cells, first: int, last: int) -> int:
        """Write a day's cells to `waits` (`place`, or a landing's folder) unless they lie there already."""
        digest = _digest(cells)
        there = sorted(name for folder in {place, waits} for name in hot_names(folder) if name.source == source)
        over = [name for name in there if name.first <= last and name.last >= first]
        if over and (over[-1].first, over[-1].last, over[-1].digest) == (first, last, digest):
            return 0
        number = max(time.time_ns(), *(name.number + 1 for name in there), 0)
        name = HotName(number, source, first, last, digest)
        write_tables(waits / source / str(name), hot_tables(cells))
        return 1

    # --- closing days ---

    def roll(
        self, days: Sequence[date] | None = None, progress: Callable[[int, int], object] | None = None
    ) -> list[date]:
        """Close the days (default: all) that have hot files; returns those it closed, oldest first.

        A closed day with late deliveries is closed anew, and only it; beside it a neighbour, where a frozen
        run over midnight has become known. `progress` is called with (days done, days to do).
        """
        with closing.rolling(self):
            waiting = [day for day in self.hot_days() if days is None or day in set(days)]
            for done, day in enumerate(waiting):
                if progress:
                    progress(done, len(waiting))
                with room():
                    closing.close(self, day)
            if progress:
                progress(len(waiting), len(waiting))
        return waiting

    def compact(self, at_least: int = 12) -> int:
        """Lay waiting deliveries together, per day and source where there are so many; returns how many files went.

        It changes nothing but their number: charts of today read few files, whatever the pace of deliveries.
        """
        with closing.rolling(self), room():
            return sum(closing.compact(self, day, at_least) for day in self.hot_days())

    def rebuild(self, day: date) -> None:
        """Write a closed day's rollups, and its states, anew from its dense file (and what is hot)."""
        with closing.rolling(self), room():
            closing.close(self, day, settle=True)

    # --- months that were settled ---

    def seal(self, month: str, settled_at: datetime | None = None) -> None:
        """What comes for `month` ("2026-10") after `settled_at` (default: now) is a correction beside its days; what
        came before and still waits is closed first."""
        after = None if settled_at is None else int(settled_at.timestamp() * 1e9)
        with closing.rolling(self), room():
            for day in self.hot_days():
                if day.strftime("%Y-%m") == month:
                    closing.close(self, day, up_to=after)
            seal(self.root, month)
            for day in self.hot_days():
                if day.strftime("%Y-%m") == month:
                    closing.close(self, day)

    def corrections(self) -> list[lake_corrections.Late]:
        """What came for days of sealed months, in the order in which it came."""
        return lake_corrections.corrections(self)

    def corrected(self, day: date, up_to: int | None = None) -> tuple[pa.Table, pa.Table]:
        """Daily rollups of the resources that corrections touch: as settled, and as corrected (see lake_corrections)."""
        return lake_corrections.corrected(self, day, up_to)

    def corrected_hours(self, day: date) -> Iterator[pa.Table]:
        """Hourly rollups of the resources that corrections touch, as corrected, some at a time."""
        return lake_corrections.corrected_hours(self, day)

    # --- keeping ---

    def retain(self, today: date, keep: retention.Keep = retention.KEEP) -> retention.Removed:
        """Delete what the rule no longer keeps; says what went."""
        with closing.rolling(self):
            return retention.retain(self, today, keep)

    def repair(self) -> list[lake_repair.Repair]:
        """Put damaged files aside and write anew what can be; says what became of each."""
        return lake_repair.repair(self)

    def strangers(self, newest: int) -> list[Path]:
        """The files that have samples of resources above ``newest``, the highest that the book has."""
        return list(lake_repair.strangers(self, newest))

    def set_aside(self, newest: int) -> list[Path]:
        """Take the samples of such resources out; the files that they were in, kept in `quarantine/` as they were."""
        return lake_repair.set_aside(self, newest)

    # --- out ---

    def windows(
        self, resources: Iterable[int] | None, first_day: date, last_day: date, metrics: Sequence[str]
    ) -> Iterator[readings.SampleMatrix]:
        """Blocks of resources with every slot of the closed days; see metering.lake.readings."""
        return readings.windows(self, resources, first_day, last_day, metrics)

    def chart(self, resource: int, start: datetime, end: datetime, metrics: Sequence[str]) -> readings.ChartData:
        """One resource's samples, hot ones too; gaps are NaN."""
        return readings.chart(self, resource, start, end, metrics)

    def hours(self, resource: int, start: datetime, end: datetime, metrics: Sequence[str]) -> readings.ChartData:
        """One resource's hourly means and sample counts, of closed days."""
        return readings.hours(self, resource, start, end, metrics)

    def counts(
        self, first_day: date, last_day: date, resources: Iterable[int] | None = None
    ) -> dict[int, NDArray[np.int64]]:
        """Resource -> samples [live, off, frozen] of the closed days; of ``resources`` alone where they are named."""
        return readings.counts(self, first_day, last_day, resources)

    def day_counts(self, day: date, resources: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those of ``resources`` (rising) of which samples of a closed day tell, and how many [r, 3]: live, off, frozen."""
        return readings.day_counts(self, day, resources)

    def hours_above(
        self, resources: Iterable[int], first_day: date, last_day: date, metric: str, least: float
    ) -> dict[int, tuple[int, int]]:
        """Of ``resources`` -> (hours in which ``metric`` was told, those whose mean is ``least`` or more), of the closed days."""
        return readings.hours_above(self, resources, first_day, last_day, metric, least)

    def status(self) -> health.Status:
        """Days, files, bytes, values, and what waits to be closed."""
        return health.status(self)

    def sources(self) -> dict[str, lake_sources.Source]:
        """Who delivered, when last, and how many rows on which day."""
        return lake_sources.sources(self)

    def landings(self) -> list[lake_landings.Landed]:
        """Files that are being taken in, or were when their process died."""
        return lake_landings.landings(self)

    def verify(self, days: Container[date] | None = None, *, rest: bool = True) -> list[health.LakeProblem]:
        """Every file read, every rollup recomputed (of closed days: of those in ``days``, None = of all; not ``rest``: of nothing
        else); what does not fit is named."""
        return health.verify(self, days, rest=rest)


def _digest(cells: Cells) -> str:
    """16 hex digits that the same cells always have."""
    hasher = hashlib.blake2b(digest_size=8)
    columns: dict[str, Array] = {
        "resource": cells.resource,
        "slot": cells.slot,
        "sec": cells.sec,
        "state": cells.state,
        **cells.values,
        **{f"{name}_lag": lag for name, lag in cells.lags.items()},
    }
    for name, column in sorted(columns.items()):
        hasher.update(f"{name}:{column.dtype}:{len(column)};".encode())
        hasher.update(np.ascontiguousarray(column).tobytes())
    return hasher.hexdigest()
