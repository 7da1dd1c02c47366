"""Deliveries of agents: which machine and which signal each series is, what is kept of it, and what is refused.

A desk stands in each web process for each source and remembers the series that it has seen, so that of the next scrape
only the numbers are new. What it keeps goes to the spool, durable before it is acknowledged; a job folds the spool
into the lake.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import repeat

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from metering.intake import signals, sources, spool
from metering.intake.collection import DayRefusals
from metering.intake.conventions import TOLD
from metering.intake.folding import NOTED
from metering.intake.signals import LAYER, POINTS, SHARE, Signal
from metering.intake.sources import PushSource
from metering.lake import Damaged, Lake
from metering.visits import receiving
from metering.workbench import Workbench
from providers.metrics import Array
from quota.actors import steward
from quota.db import Book, batches
from quota.inventory import Resource
from quota.units import MEMORY

AHEAD = timedelta(minutes=10)
"""How far a clock may run ahead of ours before its points are refused."""

BEHIND = timedelta(days=7)
"""What is older is brought in as a file, where people see what they do."""

REMEMBERED = 2_000_000
"""Series that a desk remembers; then it begins anew."""

REMEMBERED_BYTES = 256 * 1024 * 1024
"""What the labels of those may take; then, too."""

MOST_LABELS = 16 * 1024
"""Bytes of the labels of one series; real ones take a few hundred."""

MOST_SERIES = 20_000
"""Series of use of one machine: 2,048 CPUs in eight modes each take fewer. Beyond, its labels are never the same twice."""

FORGET_S = 60
"""How long a desk believes that a machine is unknown, and that the inventory is as it was."""

_NO_USE, _UNNAMED, _STRANGER, _NO_CODE, _LONG, _MANY, _UNIT, _NO_SOURCE, _NO_SYSTEM = -1, -2, -3, -4, -5, -6, -7, -8, -9
_WHY = {
    _UNNAMED: "series.unnamed",
    _STRANGER: "resource.unknown",
    _LONG: "series.long",
    _MANY: "series.many",
    _UNIT: "unit.unknown",
    _NO_SOURCE: "system.source",
    _NO_SYSTEM: "system.unknown",
}


@dataclass(frozen=True, slots=True)
class PushedBody:
    """Decoded points: ``series[i]`` identifies a series whose labels ``labels(series[i])`` tells; point n belongs to
    series ``index[n]``, lies at ``ts[n]`` (ms since 1970, UTC) and says ``value[n]``. ``refused``: what the decoder
    itself had to refuse, reason → points."""

    series: Sequence[Hashable]
    labels: Callable[[Hashable], Mapping[str, str]]
    index: Sequence[int]
    ts: Sequence[int]
    value: Sequence[float]
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PushReceipt:
    """What became of a delivery: points kept, points of no use or without a value, refused by reason, an example each."""

    points: int
    ignored: int
    refused: Mapping[str, int]
    examples: Mapping[str, str]


class Desk:
    """Takes the deliveries of one source. Not for several threads at once."""

    def __init__(self, lake: Lake, source: PushSource) -> None:
        self.lake, self.code, self.pool_id, self.label = lake, source.code, source.pool_id, source.label
        self.id, self.tells_of_systems = source.id, source.systems
        self._begin()

    def _begin(self) -> None:
        self.known: dict[Hashable, int] = {}
        self.strangers: dict[Hashable, int] = {}
        self.machines: dict[str, int] = {}
        self.systems: dict[str, int] = {}
        self.looked_at = float("-inf")
        self.rows: list[
            tuple[int, int, int, int]
        ] = []  # (resource or system, signal, series, place) of each known code
        self.drawn = np.zeros((0, 4), np.int64)  # the same as an array
        self.factors: list[float] = []  # of each known code, from its unit to ours
        self.factor = np.zeros(0)
        self.counts: Counter[tuple[str, int]] = Counter()  # series of use, by machine or system
        self.size = 0  # bytes of labels that are remembered

    def take(self, book: Book, delivery: PushedBody) -> PushReceipt:
        """Keep what is of use; durable on return. Raises OSError where the disk is full: nothing was acknowledged."""
        if len(self.known) > REMEMBERED or self.size > REMEMBERED_BYTES:
            self._begin()
        self._refresh(book)
        examples: dict[str, str] = {}
        known = map(self.known.get, delivery.series, repeat(_NO_CODE))
        codes = np.fromiter(known, np.int64, len(delivery.series))
        for number in np.flatnonzero(codes == _NO_CODE).tolist():
            codes[number] = self._code(delivery, number, examples)
        index = np.asarray(delivery.index, np.int64)
        ts, value = np.asarray(delivery.ts, np.int64), np.asarray(delivery.value, np.float64)
        code = codes[index] if len(index) else index
        refused = Counter(dict(delivery.refused))
        for why, reason in _WHY.items():
            refused[reason] += int(np.count_nonzero(code == why))
        good = code >= 0
        self._draw()
        row = np.where(good, code, 0)
        if good.any():
            with np.errstate(invalid="ignore"):  # a series that ended says so with a NaN that signals
                value = value * np.where(good, self.factor[row], 1.0)
        base = self.drawn[row, 1] % LAYER if good.any() else np.zeros(len(code), np.int64)
        # A series that ended says so with a NaN of its own; a link that knows no speed tells a negative one.
        silent = good & (np.isnan(value) | ((base == Signal.LINK_SPEED_BS) & (value < 0)))
        good &= ~silent
        now = int(book.clock().timestamp() * 1000)
        for reason, wrong in (
            ("value.absurd", ~np.isfinite(value) | (value < 0) | receiving.absurd(base, value)),
            ("ts.future", ts > now + AHEAD.total_seconds() * 1000),
            ("ts.old", ts < now - BEHIND.total_seconds() * 1000),
            ("value.share", signals.no_share(base, value)),
        ):
            bad = good & wrong
            refused[reason] += int(np.count_nonzero(bad))
            if bad.any():
                first = int(np.flatnonzero(bad)[0])
                examples[reason] = f"{value[first]:g} @ {ts[first]}: {_shown(delivery, int(index[first]))}"
            good &= ~bad
        doubt = bad & (base >= SHARE)  # no share: it tells what its machine's other readings are worth
        refused = +refused
        ignored = int(np.count_nonzero(code == _NO_USE)) + int(np.count_nonzero(silent))
        kept, doubted = good | doubt, int(np.count_nonzero(doubt))
        of_system = np.isin(base, list(receiving.SIGNALS))
        visits, kept = kept & of_system, kept & ~of_system
        if visits.any():
            rows = self.drawn[code[visits]]
            columns = (rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int16), rows[:, 2], ts[visits], value[visits])
            receiving.keep(self.lake, self.id, pa.table(list(columns), schema=receiving.SPOOLED))
        points = self._table(code[kept], ts[kept], value[kept])
        if points.num_rows or refused:
            said = {"ignored": ignored, "refused": refused, "examples": examples, "doubted": doubted}
            spool.keep(self.lake, self.code, points, said)
        return PushReceipt(points.num_rows - doubted + int(np.count_nonzero(visits)), ignored, refused, examples)

    def _draw(self) -> None:
        if len(self.drawn) != len(self.rows):
            self.drawn = np.array(self.rows, np.int64).reshape(-1, 4)
            self.factor = np.array(self.factors)

    def _table(self, code: Array, ts: Array, value: Array) -> pa.Table:
        rows = self.drawn[code]
        columns = {
            "resource": rows[:, 0].astype(np.int32),
            "signal": rows[:, 1].astype(np.int16),
            "series": rows[:, 2],
            "place": rows[:, 3],
            "ts": ts,
            "value": value,
            "folded": np.zeros(len(ts), bool),
        }
        return pa.table(columns, schema=POINTS)

    def _code(self, delivery: PushedBody, number: int, examples: dict[str, str]) -> int:
        """What a series that is not known is: its new code, or why it has none."""
        key = delivery.series[number]
        code = self.known.get(key, self.strangers.get(key, _NO_CODE))
        if code == _NO_CODE:
            labels = delivery.labels(key)
            size = sum(len(name) + len(value) for name, value in labels.items())
            code = _LONG if size > MOST_LABELS else self._place(labels)
            if code != _LONG:
                (self.strangers if code in _WHY else self.known)[key] = code
                self.size += size
        if code in _WHY:
            examples.setdefault(_WHY[code], _shown(delivery, number))
        return code

    def _place(self, labels: Mapping[str, str]) -> int:
        """The new code of a series with these labels, or why it has none."""
        if (counts := receiving.signal_of(labels)) is not None:
            return self._place_of_system(labels, counts)
        signal = signals.recognise(labels)
        if signal is None:
            return _NO_USE
        if self.label not in labels:
            return _UNNAMED
        machine = sources.named(self.machines, labels[self.label])
        if machine is None:
            return _STRANGER
        factor = signals.scale(labels, signal)
        if factor is None:
            return _UNIT
        if self.counts["machine", machine] >= MOST_SERIES:
            return _MANY
        self.counts["machine", machine] += 1
        place = signals.number(signals.place(labels))
        return self._row(machine, int(signal), _digest(labels, TOLD), place, factor)

    def _place_of_system(self, labels: Mapping[str, str], signal: int) -> int:
        """The same of a series that counts who comes to a system."""
        if not self.tells_of_systems:
            return _NO_SOURCE
        system = self.systems.get(labels.get(receiving.LABEL, ""))
        if system is None:
            return _NO_SYSTEM
        if self.counts["system", system] >= receiving.MOST_SERIES:
            return _MANY
        self.counts["system", system] += 1
        return self._row(system, signal, _digest(labels, TOLD | receiving.REPLICAS), signals.WHOLE, 1.0)

    def _row(self, of: int, signal: int, series: int, place: int, factor: float) -> int:
        self.rows.append((of, signal, series, place))
        self.factors.append(factor)
        return len(self.rows) - 1

    def _refresh(self, book: Book) -> None:
        if time.monotonic() - self.looked_at > FORGET_S:
            with book.reading() as tx:
                found = sources.machines(tx, self.pool_id)
                systems = receiving.systems(tx) if self.tells_of_systems else {}
            if (self.machines, self.systems) != (found, systems):
                self._begin()  # what was known may be another machine or system now
                self.machines, self.systems = found, systems
            self.strangers = {}
            self.looked_at = time.monotonic()


def _digest(labels: Mapping[str, str], leaving: Collection[str]) -> int:
    """What a series is known by: all labels but those that make no other series."""
    return signals.number("\x00".join(f"{name}\x01{labels[name]}" for name in sorted(labels) if name not in leaving))


def _shown(delivery: PushedBody, number: int) -> str:
    labels = delivery.labels(delivery.series[number])
    return ", ".join(f"{name}={value[:80]}" for name, value in labels.items())[:300]


def fold_all(workbench: Workbench) -> dict[str, spool.Folded]:
    """Fold what every source delivered into the lake, and note in the book what came and what was refused. A source whose
    spool is damaged keeps no other waiting; the first such fault is raised when all were tried."""
    done: dict[str, spool.Folded] = {}
    faults: list[Exception] = []
    for code in spool.sources(workbench.lake):
        try:
            done[code] = spool.fold_source(
                workbench.lake, code, workbench.book.clock(), lambda ids: _memory(workbench, ids)
            )
        except (Damaged, OSError) as fault:
            faults.append(fault)
        else:
            _note(workbench, code, done[code])
    try:
        _take_up(workbench, done)
    except (Damaged, OSError) as fault:
        faults.append(fault)
    if faults:
        raise faults[0]
    return done


def _take_up(workbench: Workbench, done: dict[str, spool.Folded]) -> None:
    """Read what was told of systems; ``done`` gains the points, as of their sources."""
    for source_id, found in receiving.take_up(workbench).items():
        with workbench.book.reading() as tx:
            code = tx.scalar(select(PushSource.code).where(PushSource.id == source_id))
        if code is not None:
            told = spool.Folded(points=found.points, newest=found.newest)
            _note(workbench, code, told)
            before = done.setdefault(code, spool.Folded())
            before.points += told.points
            before.newest = _later(before.newest, told.newest)


def _memory(workbench: Workbench, ids: Sequence[int]) -> dict[int, float]:
    """Bytes of memory by the inventory, of those of which it says any."""
    with workbench.book.reading() as tx:
        rows = [row for part in batches(ids) for row in tx.scalars(select(Resource).where(Resource.id.in_(part)))]
        return {row.id: row.actual()[MEMORY] * 2.0**20 for row in rows if row.actual().get(MEMORY)}


def _note(workbench: Workbench, code: str, found: spool.Folded) -> None:
    if not (found.points or found.refused or found.ignored):
        return
    with workbench.book.transaction(steward("job:fold")) as tx:
        row = tx.scalar(select(PushSource).where(PushSource.code == code).with_for_update())
        if row is None:
            return
        row.points += found.points
        row.ignored += found.ignored
        row.refused += sum(count for reason, count in found.refused.items() if reason not in NOTED)
        row.last_point_at = _later(row.last_point_at, found.newest)
        evidence = DayRefusals(tx, row.pool_id, f"push.{code}")
        for reason, count in found.refused.items():
            example = found.examples.get(reason, "")
            if not isinstance(example, str):
                machine = tx.get(Resource, example[0])
                example = f"{machine.name or machine.external_id if machine else example[0]}: {example[1]}"
            evidence.add(reason, count, example)


def _later(moment: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (moment, other)), default=None)
