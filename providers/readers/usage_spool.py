"""Where the rows of one file wait until the whole file was read: in memory while they are few, then on
disk.

Repeated rows are found here: within a block by sorting, between blocks only where two of them overlap in
resources and in time (sorted files never do).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from providers.metrics import Array

IN_MEMORY = 2_000_000
"""Rows kept in memory; what comes after goes to a temporary file."""


def _bits(column: Array) -> Array:
    """The values' bits as uint64, so that NaN equals NaN."""
    if column.dtype == np.float64:
        return column.view(np.uint64)
    return column.view(np.uint32).astype(np.uint64) if column.dtype == np.float32 else column.astype(np.uint64)


def fingerprint(columns: Sequence[Array]) -> Array:
    """uint64 [n]: equal for equal rows, and hardly ever for others."""
    total = np.full(len(columns[0]), 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        total ^= _bits(column)
        total *= np.uint64(0xFF51AFD7ED558CCD)
        total ^= total >> np.uint64(32)
    return total


def repeated(columns: Mapping[str, Array]) -> tuple[Array | None, int]:
    """Rows that say again, word for word, what an earlier row said, and how many others share another row's
    time.

    None means that there are none. Rows in order, the usual case, cost one comparison.
    """
    resource, ts = columns["resource"], columns["ts"]
    if len(ts) < 2:
        return None, 0
    onward = resource[1:] == resource[:-1]
    later = ts[1:] > ts[:-1]
    further = (resource[1:] > resource[:-1]) | (onward & later)
    if further.all():
        return None, 0
    tied = onward & (ts[1:] == ts[:-1])
    if (further | tied).all():  # in order, with equal moments side by side: only those need a look
        asked = np.flatnonzero(np.append(tied, False) | np.insert(tied, 0, False))
    else:
        asked = np.arange(len(ts))
    part = {name: column[asked] for name, column in columns.items()}
    there, then = part["resource"], part["ts"]
    order = np.lexsort((fingerprint(list(part.values())), then, there))  # stable: the earliest comes first
    there, then = there[order], then[order]
    moment = (there[1:] == there[:-1]) & (then[1:] == then[:-1])
    same = moment.copy()
    for column in part.values():
        bits = _bits(column)[order]
        same &= bits[1:] == bits[:-1]
    if not same.any():
        return None, int(moment.sum())
    again = np.zeros(len(ts), bool)
    again[asked[order[1:][same]]] = True
    return again, int(moment.sum() - same.sum())


@dataclass(frozen=True, slots=True)
class Reach:
    """What a block may have in common with another: its resources, its times, its first and last row in
    order."""

    resources: tuple[int, int]
    times: tuple[int, int]
    rows: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def of(cls, resource: Array, ts: Array) -> Reach:
        low, high = int(resource.min()), int(resource.max())
        first, last = int(ts[resource == low].min()), int(ts[resource == high].max())
        return cls((low, high), (int(ts.min()), int(ts.max())), ((low, first), (high, last)))

    def meets(self, other: Reach) -> bool:
        """Whether both can hold a row of one resource and time."""
        return (
            self.resources[0] <= other.resources[1]
            and other.resources[0] <= self.resources[1]
            and self.times[0] <= other.times[1]
            and other.times[0] <= self.times[1]
            and self.rows[0] <= other.rows[1]
            and other.rows[0] <= self.rows[1]
        )


class Spool:
    """Tables of one schema, kept until ``tables`` hands them on. Close it, or use it in a ``with``."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self.rows = 0
        self._in_memory = in_memory
        self._held: list[pa.Table] = []
        self._reach: list[Reach] = []
        self._file: IO[bytes] | None = None
        self._sink: Any = None
        self._again: dict[int, Array] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the rows and of the temporary file."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, table: pa.Table) -> None:
        """Keep one more table; empty ones are passed over."""
        if not table.num_rows:
            return
        resource, ts = table["resource"].to_numpy(), table["ts"].to_numpy()
        self._reach.append(Reach.of(resource, ts))
        self.rows += table.num_rows
        if self._sink is None and self.rows <= self._in_memory:
            self._held.append(table)
            return
        if self._sink is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            self._sink = pa.ipc.new_file(self._file, table.schema)
        self._sink.write_batch(table.combine_chunks().to_batches()[0])

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last time, epoch seconds, or None if empty."""
        if not self._reach:
            return None
        return min(one.times[0] for one in self._reach), max(one.times[1] for one in self._reach)

    def drop_repeats(self) -> int:
        """Find rows that repeat a row of an earlier block; returns how many. Call once, after the last
        ``add``."""
        seen: list[tuple[Reach, Array, Array]] = []
        overlap = [
            any(reach.meets(other) for at, other in enumerate(self._reach) if at != mine)
            for mine, reach in enumerate(self._reach)
        ]
        if not any(overlap):
            return 0
        dropped = 0
        for at, table in enumerate(self._blocks()):
            if not overlap[at]:
                continue
            columns = [table[name].to_numpy() for name in table.column_names]
            prints, moments = fingerprint(columns), fingerprint(columns[:2])
            again = np.zeros(len(prints), bool)
            for reach, earlier, when in seen:
                if reach.meets(self._reach[at]):
                    place = np.minimum(np.searchsorted(earlier, prints), len(earlier) - 1)
                    again |= (earlier[place] == prints) & (when[place] == moments)
            order = np.argsort(prints, kind="stable")
            seen.append((self._reach[at], prints[order], moments[order]))
            if again.any():
                self._again[at] = again
                dropped += int(again.sum())
        self.rows -= dropped
        return dropped

    def tables(self) -> Iterator[pa.Table]:
        """Every row once, in reading order."""
        for at, table in enumerate(self._blocks()):
            again = self._again.get(at)
            yield table if again is None else table.filter(pa.array(~again))

    def _blocks(self) -> Iterator[pa.Table]:
        yield from self._held
        if self._file is not None:
            if self._sink is not None:
                self._sink.close()
                self._file.flush()
                self._sink = None
            self._file.seek(0)
            stored = pa.ipc.open_file(self._file)
            for number in range(stored.num_record_batches):
                yield pa.Table.from_batches([stored.get_batch(number)])
