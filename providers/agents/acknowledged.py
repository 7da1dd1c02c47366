"""Which samples the console has acknowledged, so that an agent brings each once.

A cloud tells the newest of its samples late, so the same time is asked about again and again; of what it then says, only what
the console does not have is sent. Of each sample a 64-bit digest is remembered (whose, when, what), for as long as the cloud may
tell it again, in one file that a restart goes on from. What was forgotten is sent twice, and kept once.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from providers.base import Samples

Words = NDArray[np.uint64]

MOST = 2_000_000
"""Samples remembered at most; two hours of eighty thousand machines."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class AcknowledgedSamples:
    """``marked``: up to when the console said that it has everything; None where it never did. One process holds ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.marked: datetime | None = None
        self._forget()
        try:
            with np.load(path, allow_pickle=False) as kept:
                ts, digests, marked = kept["ts"], kept["digests"], int(kept["marked"])
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            BadZipFile,
        ):  # none yet, or no file of ours: what is sent twice is kept once
            return
        self._ts, self._digests = ts.astype(np.int64), digests.astype(np.uint64)
        self.marked = datetime.fromtimestamp(marked / 1e6, UTC) if marked >= 0 else None

    def believe(self, told: datetime | None) -> None:
        """The console says up to when it has everything. Where that is less than it once said (it was set up anew, or put back
        to an older state), all is brought again."""
        if self.marked is not None and (told is None or told < self.marked):
            self._forget()
        self.marked = told

    def fresh(self, batch: Samples) -> Samples:
        """What of ``batch`` was not acknowledged."""
        digests = _digests(batch)
        new = ~np.isin(digests, self._digests)
        _first, index = np.unique(digests[new], return_index=True)
        rows = np.sort(np.flatnonzero(new)[index])  # a cloud that says something twice
        if len(rows) == len(digests):
            return batch
        return Samples(batch.source, batch.external_ids, batch.table.take(rows), batch.unfinished)

    def add(self, batch: Samples, since: datetime, now: datetime) -> None:
        """``batch`` was acknowledged at ``now``. What is of before ``since``, the time that was asked for, came late: it may come
        again for as long as if it were of now."""
        ts = batch.table.column("ts").to_numpy().astype(np.int64)
        self._ts = np.concatenate([self._ts, np.where(ts < since.timestamp(), int(now.timestamp()), ts)])
        self._digests = np.concatenate([self._digests, _digests(batch)])

    def mark(self, until: datetime, keep_from: datetime) -> None:
        """The console has everything before ``until``; what is of before ``keep_from`` is not told any more."""
        self.marked = until
        kept = np.flatnonzero(self._ts >= keep_from.timestamp())
        if len(kept) > MOST:
            kept = kept[np.argpartition(self._ts[kept], -MOST)[-MOST:]]
        self._ts, self._digests = self._ts[kept], self._digests[kept]

    def save(self) -> None:
        """Write it down, whole or not at all."""
        temporary = self._path.with_suffix(".tmp")
        marked = -1 if self.marked is None else round(self.marked.timestamp() * 1e6)
        with temporary.open("wb") as stream:
            np.savez(stream, ts=self._ts, digests=self._digests, marked=np.int64(marked))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self._path)

    def __len__(self) -> int:
        return len(self._digests)

    def _forget(self) -> None:
        self._ts, self._digests = np.empty(0, np.int64), np.empty(0, np.uint64)


def _digests(batch: Samples) -> Words:
    """A word for each sample: of its source, its series, its time and all that it says. What was not reported counts for
    nothing, so that a column that is all empty changes no word."""
    table = batch.table
    series = np.array([_word(f"{batch.source}\n{one}") for one in batch.external_ids], np.uint64)
    found = series[table.column("resource").to_numpy()] if table.num_rows else np.empty(0, np.uint64)
    found = _mixed(found ^ _mixed(table.column("ts").to_numpy().astype(np.int64).view(np.uint64) * _ODD))
    for name in sorted(set(table.column_names) - {"resource", "ts"}):
        values = _floats(table, name)
        said = _mixed((values + 0.0).view(np.uint64) ^ np.uint64(_word(name)))  # + 0.0: minus nothing is nothing
        found = found + np.where(np.isnan(values), np.uint64(0), said)
    return _mixed(found)


def _floats(table: Any, name: str) -> NDArray[np.float64]:
    column = table.column(name)
    return np.ascontiguousarray(column.cast("float64").fill_null(np.nan).to_numpy(), np.float64)


def _word(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _mixed(words: Words) -> Words:
    """Each bit of a word carried to all of them (the finalizer of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * _MIX_1
    words = (words ^ (words >> np.uint64(27))) * _MIX_2
    return words ^ (words >> np.uint64(31))
