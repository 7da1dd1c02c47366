"""Deliveries of agents: which machine and which signal each series is, what is kept of it, and what is refused.

A desk stands in each web process for each source and remembers the series that it has seen, so that of the next scrape
only the numbers are new. What it keeps goes to the spool, durable before it is acknowledged; a job folds the spool
into the lake.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import repeat

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from metering import signals, sources, spool
from metering.intake import Evidence
from metering.lake import Lake
from metering.lake_files import Damaged
from metering.signals import POINTS
from metering.sources import PushSource
from metering.works import Works
from quota.actors import steward
from quota.db import Book

AHEAD = timedelta(minutes=10)
"""How far a clock may run ahead of ours before its points are refused."""

BEHIND = timedelta(days=7)
"""What is older is brought in as a file, where people see what they do."""

REMEMBERED = 2_000_000
"""Series that a desk remembers; then it begins anew."""

FORGET_S = 60
"""How long a desk believes that a machine is unknown, and that the inventory is as it was."""

_NO_USE, _UNNAMED, _STRANGER = -1, -2, -3
_WHY = {_UNNAMED: "series.unnamed", _STRANGER: "resource.unknown"}
_NO_CODE = -4


@dataclass(frozen=True, slots=True)
class Delivery:
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
class Taken:
    """What became of a delivery: points kept, points of no use or without a value, refused by reason, an example each."""

    points: int
    ignored: int
    refused: Mapping[str, int]
    examples: Mapping[str, str]


class Desk:
    """Takes the deliveries of one source. Not for several threads at once."""

    def __init__(self, lake: Lake, source: PushSource) -> None:
        self.lake, self.code, self.pool_id, self.label = lake, source.code, source.pool_id, source.label
        self._begin()

    def _begin(self) -> None:
        self.known: dict[Hashable, int] = {}
        self.strangers: dict[Hashable, int] = {}
        self.machines: dict[str, int] = {}
        self.looked_at = float("-inf")
        self.rows: list[tuple[int, int, int, int]] = []  # (resource, signal, series, place) of each known code
        self.drawn = np.zeros((0, 4), np.int64)  # the same as an array

    def take(self, book: Book, delivery: Delivery) -> Taken:
        """Keep what is of use; durable on return. Raises OSError where the disk is full: nothing was acknowledged."""
        if len(self.known) > REMEMBERED:
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
        silent = good & np.isnan(value)  # a series that ended says so with a NaN of its own
        good &= ~silent
        now = int(book.clock().timestamp() * 1000)
        for reason, wrong in (
            ("value.absurd", ~np.isfinite(value) | (value < 0)),
            ("ts.future", ts > now + AHEAD.total_seconds() * 1000),
            ("ts.old", ts < now - BEHIND.total_seconds() * 1000),
        ):
            bad = good & wrong
            refused[reason] += int(np.count_nonzero(bad))
            if bad.any():
                first = int(np.flatnonzero(bad)[0])
                examples[reason] = f"{value[first]:g} @ {ts[first]}: {_shown(delivery, int(index[first]))}"
            good &= ~bad
        refused = +refused
        ignored = int(np.count_nonzero(code == _NO_USE)) + int(np.count_nonzero(silent))
        points = self._table(code[good], ts[good], value[good])
        if points.num_rows or refused:
            spool.keep(self.lake, self.code, points, {"ignored": ignored, "refused": refused, "examples": examples})
        return Taken(points.num_rows, ignored, refused, examples)

    def _table(self, code: signals.Array, ts: signals.Array, value: signals.Array) -> pa.Table:
        if len(self.drawn) != len(self.rows):
            self.drawn = np.array(self.rows, np.int64).reshape(-1, 4)
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

    def _code(self, delivery: Delivery, number: int, examples: dict[str, str]) -> int:
        """What a series that is not known is: its new code, or why it has none."""
        key = delivery.series[number]
        code = self.known.get(key, self.strangers.get(key, _NO_CODE))
        if code == _NO_CODE:
            labels = delivery.labels(key)
            signal = signals.recognise(labels)
            if signal is None:
                code = _NO_USE
            elif self.label not in labels:
                code = _UNNAMED
            else:
                machine = sources.named(self.machines, labels[self.label])
                code = _STRANGER if machine is None else len(self.rows)
                if machine is not None:
                    whole = "\x00".join(f"{name}\x01{labels[name]}" for name in sorted(labels))
                    self.rows.append((machine, int(signal), _number(whole), _number(signals.place(labels))))
            (self.strangers if code in _WHY else self.known)[key] = code
        if code in _WHY:
            examples.setdefault(_WHY[code], _shown(delivery, number))
        return code

    def _refresh(self, book: Book) -> None:
        if time.monotonic() - self.looked_at > FORGET_S:
            with book.reading() as tx:
                found = sources.machines(tx, self.pool_id)
            if self.machines != found:
                self._begin()  # what was known may be another machine now
                self.machines = found
            self.strangers = {}
            self.looked_at = time.monotonic()


def _number(text: str) -> int:
    """64 bits of a digest of ``text``."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _shown(delivery: Delivery, number: int) -> str:
    labels = delivery.labels(delivery.series[number])
    return ", ".join(f"{name}={value}" for name, value in labels.items())[:300]


def fold_all(works: Works) -> dict[str, spool.Folded]:
    """Fold what every source delivered into the lake, and note in the book what came and what was refused. A source whose
    spool is damaged keeps no other waiting; the first such fault is raised when all were tried."""
    done: dict[str, spool.Folded] = {}
    faults: list[Exception] = []
    for code in spool.sources(works.lake):
        try:
            done[code] = spool.fold_source(works.lake, code, works.book.clock())
        except (Damaged, OSError) as fault:
            faults.append(fault)
        else:
            _note(works, code, done[code])
    if faults:
        raise faults[0]
    return done


def _note(works: Works, code: str, found: spool.Folded) -> None:
    if not (found.points or found.refused or found.ignored):
        return
    with works.book.transaction(steward("job:fold")) as tx:
        row = tx.scalar(select(PushSource).where(PushSource.code == code).with_for_update())
        if row is None:
            return
        row.points += found.points
        row.ignored += found.ignored
        row.refused += sum(found.refused.values())
        row.last_point_at = _later(row.last_point_at, found.newest)
        evidence = Evidence(tx, row.pool_id, f"push.{code}")
        for reason, count in found.refused.items():
            evidence.add(reason, count, found.examples.get(reason, ""))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)
