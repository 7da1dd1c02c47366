"""Rows of one file, checked value by value, as canonical samples.

A row is refused where it cannot be placed: its time, its resource or its number of cores is unreadable, or
nothing is left of it. Any other bad value is refused alone. Nothing is corrected, filled or guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from providers.metrics import METRICS, MOST_PERCENT, PERIOD_S, Array
from providers.readers.column_mapping import spelled
from providers.readers.figures import is_error, is_rounded, is_total, unwrapped
from providers.readers.refusals import Reading, unusable
from providers.readers.usage_columns import (
    MEM_MB,
    MOST_DURATION_S,
    QUANTITIES,
    VCPU,
    ColumnMeaning,
    agrees,
    metric,
    says_percent,
)
from providers.readers.usage_formats import VALUES_A_DAY, PlannedColumn, ReadingPlan
from providers.readers.usage_spool import repeated
from providers.readers.usage_values import EARLIEST, EPOCH_UNITS, LATEST, epoch_unit, numbers, times

MOST_LONG_ROWS = 20_000_000
"""Rows of one long file: they have to be together in memory to become rows of a moment."""

MOST_SHARE = 2.0
"""Of a whole: what a person said are shares from 0 to 1 may be a machine's that runs above its clock, but no more."""

SPREAD_ROWS = 1_000_000
"""Rows that spreading makes at once."""


@dataclass(frozen=True, slots=True)
class FileCells:
    """Rows as written: their numbers in the file, a column for each field, and the text of any one cell."""

    lines: Array
    columns: Mapping[str, pa.Array]
    cell: Callable[[int, int], str]


class RowReader:
    """Turns the cells of one file into tables (``resource`` = index into ``ids``), counting in
    ``reading``."""

    def __init__(self, plan: ReadingPlan, reading: Reading, prefix: str = "") -> None:
        self.plan = plan
        self.reading = reading
        self.prefix = prefix
        self.ids: list[str] = [] if plan.resource is None else [prefix + plan.resource]
        self._index: dict[str, int] = {}
        self._unit: str | None = None
        self._long: list[tuple[Array, Array, Array, Array]] = []
        self._clipped = 0
        self._spread = 0
        self._same_time = 0
        self._aside: dict[int, set[str]] = {}
        self._largest: dict[tuple[str, str, int], float] = {}
        self._stated: dict[tuple[str, str, int], float] = {}
        self._left_out = 0
        self._lines: Array = np.empty(0, np.int64)
        self._cell: Callable[[int, int], str] = lambda _row, _column: ""

    def take(self, cells: FileCells) -> Iterator[pa.Table]:
        """Check a block of rows and hand on what can be taken. Long files are handed on by ``finish``
        alone."""
        cells = self._without_left_out(self._without_totals(cells))
        self._lines, self._cell = cells.lines, cells.cell
        n = len(cells.lines)
        if not n:
            return
        good = np.ones(n, bool)
        ts = self._times(cells, good)
        resource = self._resources(cells, good)
        self._one_machine(cells, ts, good)
        if self.plan.format == "long":
            self._take_long(cells, good, resource, ts)
            return
        if self.plan.metric is not None:
            held = self.plan.field("value")
            assert held is not None  # noqa: S101 - a CloudWatch plan has a value column
            of = self.plan.metric
            self._units(cells, good, [of], np.zeros(n, np.int64))
            columns = {
                of.name: self._measure(cells, PlannedColumn(held.index, held.header, of.name, of.factor), good, "value")
            }
        else:
            columns = {
                field.name: self._measure(cells, field, good)
                for field in sorted(self.plan.fields, key=lambda one: one.name != VCPU.name)
                if field.name in QUANTITIES
            }
        self._memory(columns, good)
        told = [columns[name] for name in METRICS if name in columns]
        empty = np.logical_and.reduce([np.isnan(one) for one in told]) if told else np.ones(n, bool)
        if VCPU.name in columns:
            empty &= columns[VCPU.name] != 0  # a machine that is off need not say more than that
        self._refuse_rows(good, empty, "row.empty", None)
        duration = self._durations(cells, good)
        self.reading.taken += int(good.sum())
        table = {"resource": resource, "ts": ts, **columns}
        if not good.all():
            table = {name: column[good] for name, column in table.items()}
            duration = None if duration is None else duration[good]
        again, same_time = repeated(table if duration is None else {**table, "dur_s": duration})
        self._same_time += same_time
        if again is not None and again.any():
            self.reading.duplicates += int(again.sum())
            self.reading.taken -= int(again.sum())
            table = {name: column[~again] for name, column in table.items()}
            duration = None if duration is None else duration[~again]
        yield from [_table(table)] if duration is None else self._spread_out(table, duration)

    def finish(self) -> Iterator[pa.Table]:
        """What could only be handed on once the whole file was seen, and the notes that sum up.

        Raises Invalid where the whole shows that it may mean two things."""
        self._per_cent()
        self.reading.must_be_whole(self._index)
        if self.plan.format == "long" and self._long:
            yield from self._pivot()
        if self._left_out:
            self.reading.note("rows.left_out", count=self._left_out)
        if self._same_time:
            self.reading.note("time.same", count=self._same_time)
        if self._clipped:
            self.reading.note("value.clipped", count=self._clipped)
        if self._spread:
            self.reading.note("rows.spread", rows=self.reading.taken, samples=self._spread)
        if self.plan.positional and self.reading.rows < VALUES_A_DAY:
            self.reading.note("file.short", count=self.reading.rows)

    # refusing

    def _refuse_rows(self, good: Array, bad: Array, reason: str, field: PlannedColumn | None) -> None:
        self._refuse(good & bad, reason, field, rows=True)
        good &= ~bad

    def _refuse(self, bad: Array, reason: str, field: PlannedColumn | None, *, rows: bool) -> None:
        at = np.flatnonzero(bad)
        if not len(at):
            return
        for row in at[: self.reading.count(reason, len(at), rows=rows)]:
            column = None if field is None else field.index + 1
            text = "" if field is None else self._cell(int(row), field.index)
            self.reading.example(reason, int(self._lines[row]), column, field.header if field else None, text)

    # who, when, how long

    def _times(self, cells: FileCells, good: Array) -> Array:
        plan = self.plan
        if plan.day_start is not None:
            if len(cells.lines) and cells.lines[-1] > VALUES_A_DAY:
                raise unusable("file.too_many", self.reading.file, line=VALUES_A_DAY + 1)
            return plan.day_start + (cells.lines - 1) * PERIOD_S
        field = plan.field("time")
        assert field is not None  # noqa: S101 - every plan but the positional ones has a time column
        got = times(cells.columns["time"])
        seconds = got.values
        if got.epoch.any():
            self._unit = self._unit or self._judge_unit(seconds[got.epoch], field.header)
            seconds = np.where(got.epoch, seconds / EPOCH_UNITS[self._unit or "s"], seconds)
        self._refuse_rows(good, got.bad, "time.bad", field)
        if got.naive.any():
            if plan.naive_offset_s is None:
                self._refuse_rows(good, got.naive, "time.no_offset", field)
            else:
                offset = plan.naive_offset_s
                seconds = np.where(got.naive, seconds - offset, seconds)
                if offset:
                    hours, minutes = divmod(abs(offset) // 60, 60)
                    self.reading.note("time.offset", offset=f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}")
                else:
                    self.reading.note("time.as_utc")
        absurd = ~((seconds >= EARLIEST) & (seconds < LATEST))
        self._refuse_rows(good, absurd, "time.absurd", field)
        return np.floor(np.where(good, seconds, 0)).astype(np.int64)

    def _judge_unit(self, values: Array, header: str) -> str | None:
        found = epoch_unit(values)
        low = header.casefold().replace(" ", "")
        said = "ms" if "[ms]" in low or "毫秒" in low else "s" if "[s]" in low or "秒" in low else None
        if said and found and said != found:
            self.reading.note("time.header_unit", said=said, found=found)
        return found

    def _resources(self, cells: FileCells, good: Array) -> Array:
        field = self.plan.field("id")
        if field is None:
            return np.zeros(len(good), np.int32)
        column = cells.columns["id"]
        codes, names = _coded(column)
        index = np.array([self._number_of(name) for name in names] + [-1], np.int32)
        resource = index[codes]
        for reason, wrong in (("cell.error", is_error), ("id.rounded", is_rounded)):
            bad = np.array([*(wrong(name.strip()) for name in names), False])[codes]
            self._refuse_rows(good, bad, reason, field)
        self._refuse_rows(good, resource < 0, "id.empty", field)
        return resource

    def _number_of(self, name: str) -> int:
        name = unwrapped(name.strip())
        if not name or is_error(name):
            return -1
        number = self._index.setdefault(name, len(self.ids))
        if number == len(self.ids):
            self.ids.append(self.prefix + name)
        return number

    def _durations(self, cells: FileCells, good: Array) -> Array | None:
        field = self.plan.field("dur_s")
        if field is None:
            return None
        got = numbers(cells.columns["dur_s"], self.plan.decimal).values
        bad = ~((got > 0) & (got <= MOST_DURATION_S))
        self._refuse_rows(good, bad, "duration.bad", field)
        return np.where(bad, 0, got)

    def _without_totals(self, cells: FileCells) -> FileCells:
        """The rows but for those that sum others up, which are named."""
        keep = np.ones(len(cells.lines), bool)
        for name in ("id", "time"):
            column = cells.columns.get(name)
            if column is not None and pa.types.is_dictionary(column.type):
                codes, names = _coded(column)
                keep &= ~np.array([*(is_total(one) for one in names), False])[codes]
        if keep.all():
            return cells
        self.reading.rows -= int((~keep).sum())
        self.reading.leave_out(*(int(line) for line in cells.lines[~keep]))
        return _rows_of(cells, keep)

    def _without_left_out(self, cells: FileCells) -> FileCells:
        """The rows but for those that a person said are not to be read."""
        if not self.plan.left_out:
            return cells
        codes, names = _coded(cells.columns["metric"])
        keep = ~np.array([*(spelled(one) in self.plan.left_out for one in names), False])[codes]
        self._left_out += int((~keep).sum())
        self.reading.rows -= int((~keep).sum())
        return _rows_of(cells, keep)

    def _one_machine(self, cells: FileCells, ts: Array, good: Array) -> None:
        """Raises Invalid where a column that is not read tells machines apart, in a file that is to be one machine's: words
        that vary and are never left out, or anything that differs beside equal times."""
        order = np.argsort(ts[good], kind="stable")
        together = np.flatnonzero(np.diff(ts[good][order]) == 0)
        for field in self.plan.aside:
            codes, names = _coded(cells.columns[field.name])
            words = [one.strip() for one in names if one.strip()]
            blank = len(words) < len(names) or bool((codes == len(names)).any())
            seen = self._aside.setdefault(field.index, set())
            seen.update(words[:2], [""] if blank else [])
            beside = codes[good][order]
            differ = bool((beside[together] != beside[together + 1]).any())
            written = pa.array(words, pa.string())
            wordy = bool(numbers(written).text.any()) and bool(times(written).bad.any())
            if "" not in seen and (differ or (wordy and len(seen) > 1)):
                raise unusable("id.unnamed", self.reading.file, column=field.index + 1, header=field.header)

    def _units(self, cells: FileCells, good: Array, meanings: Sequence[ColumnMeaning | None], of: Array) -> None:
        """Refuse rows whose unit, in a column of its own, is not the one that their metric (``meanings[of]``) is read
        in."""
        field = self.plan.field("unit")
        if field is None:
            return
        codes, names = _coded(cells.columns["unit"])
        fits = np.array([[one is None or agrees(one, name) for name in (*names, "")] for one in (*meanings, None)])
        self._refuse_rows(good, ~fits[of, codes], "unit.unknown", field)

    # what

    def _shares(self, name: str, header: str, column: int, values: Array, stated: float | None = None) -> None:
        """Remember how large the figures of a column of per cent get. ``stated``: the factor to it that a person said."""
        if name.endswith("_pct") and len(values) and not np.isnan(values).all():
            known = self._largest.get((name, header, column), 0.0)
            self._largest[name, header, column] = max(known, float(np.nanmax(values)))
            if stated is not None:
                self._stated[name, header, column] = stated

    def _per_cent(self) -> None:
        """Raises Invalid where figures may be shares from 0 to 1 and no header says that they are per cent, and where a person
        said that they are shares and they are not; notes where it was said, and what is in use was never more than 1 %."""
        for (name, header, column), most in self._largest.items():
            stated = self._stated.get((name, header, column))
            if stated is not None:
                if stated > 1 and most > MOST_SHARE * stated:
                    raise unusable(
                        "share.not", self.reading.file, column=column, header=header, most=round(most / stated, 2)
                    )
                if stated == 1 and 0 < most <= 1:
                    self.reading.note("share.doubtful", header=header)
            elif self.plan.format in ("wide", "merged", "long") and 0 < most <= 1:
                if not says_percent(header):
                    raise unusable("share.unsaid", self.reading.file, column=column, header=header)
                if name in ("mem_pct", "disk_pct"):
                    self.reading.note("share.doubtful", header=header)

    def _measure(self, cells: FileCells, field: PlannedColumn, good: Array, column: str | None = None) -> Array:
        """One quantity in its own unit, NaN where not reported or refused."""
        got = numbers(cells.columns[column or field.name], self.plan.decimal)
        quantity = QUANTITIES[field.name]
        values = got.values if field.factor == 1 else got.values * field.factor
        plain = np.isfinite(values) & (values >= 0) & (values <= quantity.most)
        shown = np.isfinite(values) if field.stated else plain
        stated = field.factor if field.stated else None
        self._shares(quantity.name, field.header, field.index + 1, values[shown], stated)
        if plain.all() and not quantity.whole:
            return values
        trouble = {
            "value.missing": got.empty if quantity.places else np.zeros(len(values), bool),
            "value.text": got.text,
            "value.nan": np.isnan(values) & ~got.empty & ~got.text,
            "value.negative": values < 0,
            "value.absurd": values > quantity.most,
            "value.fraction": plain & (np.floor(values) != values) if quantity.whole else np.zeros(len(values), bool),
        }
        for reason, bad in trouble.items():
            if bad.any():
                if quantity.places:
                    self._refuse_rows(good, bad, reason, field)
                else:
                    self._refuse(good & bad, reason, field, rows=False)
        return np.where(plain, values, np.nan)

    def _memory(self, columns: dict[str, Array], good: Array) -> None:
        """Used and provisioned memory → per cent. More than provisioned is kept; beyond 655.34 % it is
        clipped."""
        used = columns.pop("mem_used_mb", None)
        if used is None:
            return
        total = columns[MEM_MB.name]
        share = np.divide(100.0 * used, total, out=np.full(len(used), np.nan), where=total > 0)
        over = share > MOST_PERCENT
        self._clipped += int((over & good).sum())
        columns["mem_pct"] = np.where(over, MOST_PERCENT, share)

    # merged rows

    def _spread_out(self, table: dict[str, Array], duration: Array) -> Iterator[pa.Table]:
        """A row with ``dur_s`` speaks for the time up to ``ts``: samples at ts, ts − 300, … one for each
        300 s, rounded, at least one."""
        pieces = np.maximum(1, np.rint(duration / PERIOD_S)).astype(np.int64)
        total = np.cumsum(pieces)
        self._spread += int(pieces.sum())
        first = 0
        while first < len(pieces):
            done = total[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(total, done + SPREAD_ROWS, "right")))
            many = pieces[first:last]
            rows = np.repeat(np.arange(first, last), many)
            back = np.repeat(np.cumsum(many), many) - np.arange(len(rows)) - 1
            part = {name: column[rows] for name, column in table.items()}
            part["ts"] = part["ts"] - back * PERIOD_S
            yield _table(part)
            first = last

    # long files

    def _take_long(self, cells: FileCells, good: Array, resource: Array, ts: Array) -> None:
        field, held = self.plan.field("metric"), self.plan.field("value")
        assert field is not None  # noqa: S101 - a long plan has both
        assert held is not None  # noqa: S101
        codes, names = _coded(cells.columns["metric"])
        said = [self.plan.metrics.get(spelled(name)) for name in names]
        meanings = [mine or metric(name) for mine, name in zip(said, names, strict=True)]
        known = [*(one is not None for one in meanings), False]
        self._refuse_rows(good, ~np.array(known)[codes], "metric.unknown", field)
        self._units(cells, good, meanings, codes)
        kinds = [one.name for one in QUANTITIES.values()]
        kind = np.array([*(kinds.index(one.name) if one else 0 for one in meanings), 0], np.int8)[codes]
        factor = np.array([*(one.factor if one else 1.0 for one in meanings), 1.0])[codes]
        got = numbers(cells.columns["value"], self.plan.decimal)
        values = got.values * factor
        most = np.array([one.most for one in QUANTITIES.values()])[kind]
        whole = np.array([one.whole for one in QUANTITIES.values()])[kind]
        for reason, bad in {
            "row.empty": got.empty,
            "value.text": got.text,
            "value.nan": np.isnan(values),
            "value.negative": values < 0,
            "value.absurd": values > most,
            "value.fraction": whole & np.isfinite(values) & (np.floor(values) != values),
        }.items():
            self._refuse_rows(good, bad, reason, held)
        for number, (name, one) in enumerate(zip(names, meanings, strict=True)):
            if one is not None:
                stated = one.factor if said[number] is not None else None
                self._shares(
                    one.name, name, field.index + 1, values[(codes == number) & (good | (stated is not None))], stated
                )
        self.reading.taken += int(good.sum())
        self._long.append((resource[good], ts[good], kind[good], values[good]))
        if self.reading.taken > MOST_LONG_ROWS:
            raise unusable("file.too_long", self.reading.file, most=MOST_LONG_ROWS)

    def _pivot(self) -> Iterator[pa.Table]:
        """Rows of a metric → rows of a moment. A metric told twice at one moment, differently, makes two
        rows."""
        resource, ts, kind, values = (np.concatenate(parts) for parts in zip(*self._long, strict=True))
        self._long.clear()
        order = np.lexsort((values, kind, ts, resource))
        resource, ts, kind, values = resource[order], ts[order], kind[order], values[order]
        same = np.zeros(len(ts), bool)
        same[1:] = (resource[1:] == resource[:-1]) & (ts[1:] == ts[:-1]) & (kind[1:] == kind[:-1])
        twice = same.copy()
        twice[1:] &= values[1:] == values[:-1]
        self.reading.duplicates += int(twice.sum())
        self.reading.taken -= int(twice.sum())
        keep = ~twice
        resource, ts, kind, values, same = (one[keep] for one in (resource, ts, kind, values, same))
        if not len(ts):
            return
        begins = np.flatnonzero(~same)
        again = np.arange(len(ts)) - np.repeat(begins, np.diff(np.append(begins, len(ts))))
        order = np.lexsort((again, ts, resource))
        resource, ts, kind, values, again = (one[order] for one in (resource, ts, kind, values, again))
        fresh = np.ones(len(ts), bool)
        self._same_time += int((again > 0).sum())
        fresh[1:] = (resource[1:] != resource[:-1]) | (ts[1:] != ts[:-1]) | (again[1:] != again[:-1])
        row = np.cumsum(fresh) - 1
        columns: dict[str, Array] = {}
        for number, name in enumerate(QUANTITIES):
            of = kind == number
            if of.any():
                columns[name] = np.full(int(fresh.sum()), np.nan)
                columns[name][row[of]] = values[of]
        if "mem_used_mb" in columns and ("mem_pct" in columns or MEM_MB.name not in columns):
            del columns["mem_used_mb"]
        self._memory(columns, np.ones(int(fresh.sum()), bool))
        if columns:
            yield _table({"resource": resource[fresh], "ts": ts[fresh], **columns})


def _rows_of(cells: FileCells, keep: Array) -> FileCells:
    """Those rows of a block that are kept."""
    rows, mask = np.flatnonzero(keep), pa.array(keep)
    columns = {name: column.filter(mask) for name, column in cells.columns.items()}
    return FileCells(cells.lines[keep], columns, lambda row, column: cells.cell(int(rows[row]), column))


def _coded(column: pa.Array) -> tuple[Array, list[str]]:
    """Codes and the texts that they stand for; null = one past the last text."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    names = [one.as_py() or "" for one in column.dictionary]
    codes = column.indices
    return (codes.fill_null(len(names)) if codes.null_count else codes).to_numpy(zero_copy_only=False), names


def _table(columns: Mapping[str, Array]) -> pa.Table:
    """Canonical columns in canonical types: int32, int64, then float32, memory in float64."""
    types = {"resource": np.int32, "ts": np.int64, MEM_MB.name: np.float64}
    return pa.table({name: column.astype(types.get(name, np.float32), copy=False) for name, column in columns.items()})
