"""A recording of real machines, played back as a cloud that obeys: what is resized or stopped shows so from then on.

The recording says what the machines *demanded*; what the cloud *reports* follows from what it was told meanwhile. A
machine that was made smaller is as much busier as it is smaller, up to its ceiling; one that was stopped is silent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from providers.base import (
    ON_RESOURCES,
    Inventory,
    Order,
    Outcome,
    OutcomeState,
    ResourceFact,
    ResourceState,
    Samples,
    ServiceKind,
    Verb,
)
from providers.metrics import Array
from quota.units import CLASSES, MEMORY, VCPU, Arch, ClassCode

BATCH_ROWS = 2_000_000
SIZED = frozenset({VCPU, MEMORY})


def natural(name: str) -> tuple[Any, ...]:
    """Sorts names as people count: rnd-2 before rnd-10."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part)


class Recording:
    """Samples of many machines, in order of (machine, time). Columns as in providers.base.Samples."""

    def __init__(self, batches: Iterable[Samples]) -> None:
        place: dict[str, int] = {}
        parts: list[tuple[Array, dict[str, Array]]] = []
        for batch in batches:
            local = np.array([place.setdefault(name, len(place)) for name in batch.external_ids], np.int32)
            columns = {name: batch.table[name].to_numpy() for name in batch.table.column_names if name != "resource"}
            parts.append((local[batch.table["resource"].to_numpy()] if len(local) else np.empty(0, np.int32), columns))
        self.names = sorted(place, key=natural)
        self._row = {name: row for row, name in enumerate(self.names)}
        rank = np.array([self._row[name] for name in place], np.int32)
        resource = rank[np.concatenate([part[0] for part in parts])] if parts else np.empty(0, np.int32)
        self.columns: dict[str, Array] = {}
        for name in sorted({name for _, columns in parts for name in columns}):
            self.columns[name] = np.concatenate(
                [
                    columns.pop(name) if name in columns else np.full(len(at), np.nan, np.float32)
                    for at, columns in parts
                ]
            )
        parts.clear()
        ts = self.columns.get("ts", np.empty(0, np.int64))
        sorted_already = bool(
            ((resource[1:] > resource[:-1]) | ((resource[1:] == resource[:-1]) & (ts[1:] >= ts[:-1]))).all()
        )
        if not sorted_already:
            order = np.lexsort((ts, resource))
            resource = resource[order]
            for name in list(self.columns):
                self.columns[name] = self.columns[name][order]
        self.bounds = np.searchsorted(resource, np.arange(len(self.names) + 1))

    def __len__(self) -> int:
        """Samples in all."""
        return int(self.bounds[-1]) if len(self.bounds) else 0

    @property
    def span(self) -> tuple[datetime, datetime]:
        """First and last sample. Raises ValueError where there is none."""
        ts = self.columns["ts"]
        return datetime.fromtimestamp(int(ts.min()), UTC), datetime.fromtimestamp(int(ts.max()), UTC)

    def rows(self, name: str, since: float | None = None, until: float | None = None) -> slice:
        """The samples of a machine with since <= ts < until (epoch seconds)."""
        row = self._row[name]
        low, high = int(self.bounds[row]), int(self.bounds[row + 1])
        ts = self.columns["ts"][low:high]
        # Whole seconds, as times are: numpy would make all times fractions to look for one.
        first = 0 if since is None else int(ts.searchsorted(ceil(since)))
        last = len(ts) if until is None else int(ts.searchsorted(ceil(until)))
        return slice(low + first, low + last)

    def column(self, name: str, rows: slice) -> Array | None:
        """One column of ``rows`` as the source told it, None where it tells no such thing."""
        found = self.columns.get(name)
        return None if found is None else found[rows]

    def size(self, name: str, until: float) -> tuple[int | None, int | None]:
        """Cores of the last sample with cores before ``until``, and the most memory (MB) provisioned until then.

        Provisioned memory moves in some sources (balloons); the most that was told is what was given.
        """
        rows = self.rows(name, until=until)
        on = self.last_on(rows)
        most = self._most_memory[rows.stop - 1] if len(self._most_memory) and rows.start < rows.stop else 0
        return (
            int(self.columns["vcpu"][on]) if on is not None else None,
            round(float(most)) if most > 0 else None,
        )

    def last_on(self, rows: slice) -> int | None:
        """The place of the last sample of ``rows``, of one machine from its first, that has cores."""
        if not len(self._last_on) or rows.start == rows.stop:
            return None
        at = int(self._last_on[rows.stop - 1])
        return at if at >= rows.start else None

    @cached_property
    def _last_on(self) -> Array:
        """Of each sample the place of the last one with cores up to it, of whichever machine; -1 = none."""
        cores = self.columns.get("vcpu")
        if cores is None:
            return np.empty(0, np.int64)
        return np.maximum.accumulate(np.where(cores > 0, np.arange(len(cores)), -1))

    @cached_property
    def _most_memory(self) -> Array:
        """Of each sample the most memory that its machine told up to it; 0 = none."""
        memory = self.columns.get("mem_mb")
        if memory is None:
            return np.empty(0)
        told = np.where(memory > 0, memory, 0)
        for low, high in pairwise(self.bounds.tolist()):
            np.maximum.accumulate(told[low:high], out=told[low:high])
        return told

    def demand(self, name: str, since: float, until: float) -> tuple[Array, Array, Array]:
        """What a machine asked for: (ts, cores, memory in MB; NaN = not told), one canonical sample each 300 s.

        Canonical: with cores where the source tells them; of several in a slot the first, of equal times the busiest.
        """
        rows = self.rows(name, since, until)
        ts, cpu = self.columns["ts"][rows], self.column("cpu_pct", rows)
        cores, mem, given = (self.column(one, rows) for one in ("vcpu", "mem_pct", "mem_mb"))
        if cpu is None:
            cpu = np.full(len(ts), np.nan)
        live = np.isfinite(cpu) & (np.ones(len(ts), bool) if cores is None else cores > 0)
        at = np.flatnonzero(live)
        at = at[np.lexsort((-cpu[at], ts[at]))]
        at = at[np.append(True, np.diff(ts[at] // 300) != 0)] if len(at) else at
        asked = cpu[at].astype(np.float64) / 100 * (1.0 if cores is None else cores[at])
        used = (
            np.full(len(at), np.nan) if mem is None or given is None else mem[at].astype(np.float64) / 100 * given[at]
        )
        return ts[at], asked, used


@dataclass(slots=True)
class _Acts:
    """What was done to a machine: at → (cores, MB) in force since; [stopped from, to); its state by our hand."""

    shapes: list[tuple[int, int | None, int | None]] = field(default_factory=list)
    silences: list[list[float]] = field(default_factory=list)
    state: ResourceState | None = None
    since: int = 0


class RecordedCloud:
    """One pool's share of a recording. Implements providers.base.Provider.

    owners: machine → department code, for each machine of the pool. takes: how long an order takes; every ninth takes
    ``slow`` instead. It cannot create: there is nothing recorded of a machine that was not there.
    """

    def __init__(
        self,
        recording: Recording,
        owners: Mapping[str, str],
        *,
        name: str = "recorded",
        arch: Arch = Arch.X86_64,
        takes: timedelta = timedelta(hours=4),
        slow: timedelta = timedelta(days=5),
    ) -> None:
        self.name, self.arch = name, arch
        self.recording, self.owners = recording, dict(owners)
        self.takes, self.slow = takes, slow
        self.capabilities = ON_RESOURCES - {Verb.CREATE}
        self.live_resize = False
        self.releases: Mapping[Verb, Collection[ClassCode]] = {Verb.RESIZE: SIZED, Verb.DELETE: CLASSES}
        self._acts: dict[str, _Acts] = {}
        self._given: dict[str, tuple[Order, datetime]] = {}
        self._outcomes: dict[str, Outcome] = {}

    # ------------------------------------------------------------------------------------------------------ telling

    def inventory(self, now: datetime) -> Inventory:
        """Every machine that was heard of by ``now``, less those deleted by an order; it exists since its first sample."""
        facts = [self._fact(name, now) for name in self.owners]
        return Inventory(now, [one for one in facts if one is not None], complete=True)

    def _fact(self, name: str, now: datetime) -> ResourceFact | None:
        rows = self.recording.rows(name, until=now.timestamp())
        acts = self._acts.get(name, _Acts())
        if rows.start == rows.stop or acts.state is ResourceState.DELETED:
            return None
        cores, memory = self.recording.size(name, now.timestamp())
        if acts.shapes:
            cores, memory = acts.shapes[-1][1] or cores, acts.shapes[-1][2] or memory
        stopped = self._off_since(rows)
        state, since = (ResourceState.STOPPED if stopped is not None else ResourceState.RUNNING), stopped
        if acts.state is not None:
            state, since = acts.state, acts.since
        return ResourceFact(
            name,
            name,
            ServiceKind.VM,
            self.arch,
            {kind: n for kind, n in ((VCPU, cores), (MEMORY, memory)) if n},
            state,
            department_code=self.owners[name],
            created_at=datetime.fromtimestamp(int(self.recording.columns["ts"][rows.start]), UTC),
            stopped_at=datetime.fromtimestamp(since, UTC) if since is not None and state != "running" else None,
            tags={"derived": "usage"},
        )

    def _off_since(self, rows: slice) -> int | None:
        """Since when a machine reports without cores, if its last sample says so."""
        cores = self.recording.column("vcpu", rows)
        if cores is None or not len(cores) or cores[-1] > 0:
            return None
        on = self.recording.last_on(rows)
        return int(self.recording.columns["ts"][rows.start if on is None else on + 1])

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        """What the machines report with since <= ts < until, being what they are by then."""
        names = list(self.owners)
        waiting: list[tuple[int, dict[str, Array]]] = []
        rows = 0
        for number, name in enumerate(names):
            part = self._reported(name, since.timestamp(), until.timestamp())
            if not len(part["ts"]):
                continue
            waiting.append((number, part))
            rows += len(part["ts"])
            if rows >= BATCH_ROWS:
                yield _batch(self.name, names, waiting)
                waiting, rows = [], 0
        if waiting:
            yield _batch(self.name, names, waiting)

    def _reported(self, name: str, since: float, until: float) -> dict[str, Array]:
        rows = self.recording.rows(name, since, until)
        part = {column: values[rows] for column, values in self.recording.columns.items()}
        acts = self._acts.get(name)
        if acts is None:
            return part
        for at, cores, memory in acts.shapes:
            part = _resized(part, at, cores, memory)
        heard = np.ones(len(part["ts"]), bool)
        for first, last in acts.silences:
            heard &= (part["ts"] < first) | (part["ts"] >= last)
        return {column: values[heard] for column, values in part.items()}

    # ------------------------------------------------------------------------------------------------------ obeying

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Under way at first; done once its time is over. The same key is the same order."""
        if order.key in self._outcomes:
            return self._outcomes[order.key]
        name = order.external_id or ""
        if name not in self.owners or order.verb is Verb.CREATE:
            return self._end(Outcome(order.key, OutcomeState.FAILED, now, message=f"没有资源 {name}"))
        if order.key not in self._given:
            late = len(self._given) % 9 == 8
            self._given[order.key] = (order, now + (self.slow if late else self.takes))
        asked, at = self._given[order.key]
        if now < at:
            return Outcome(order.key, OutcomeState.PENDING, now, wait_s=(at - now).total_seconds())
        amounts = self._do(name, asked, int(at.timestamp()))
        return self._end(Outcome(order.key, OutcomeState.DONE, at, name, amounts))

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """How the order with that key stands, None where it was never given."""
        if key in self._given:
            return self.deliver(self._given[key][0], now)
        return self._outcomes.get(key)

    def _end(self, outcome: Outcome) -> Outcome:
        self._outcomes[outcome.key] = outcome
        return outcome

    def _do(self, name: str, order: Order, at: int) -> Mapping[ClassCode, int]:
        acts = self._acts.setdefault(name, _Acts())
        if order.verb is Verb.RESIZE:
            acts.shapes.append((at, order.amounts.get(VCPU), order.amounts.get(MEMORY)))
            return {}
        if order.verb in (Verb.STOP, Verb.RECYCLE, Verb.DELETE) and (
            not acts.silences or acts.silences[-1][1] != np.inf
        ):
            acts.silences.append([at, np.inf])
        if order.verb is Verb.START and acts.silences:
            acts.silences[-1][1] = min(acts.silences[-1][1], at)
        became = {
            Verb.STOP: ResourceState.STOPPED,
            Verb.START: None,
            Verb.RECYCLE: ResourceState.RECYCLED,
            Verb.RESTORE: ResourceState.STOPPED,
            Verb.DELETE: ResourceState.DELETED,
        }
        if order.verb in became:
            acts.state, acts.since = became[order.verb], at
        return {}


def _resized(part: dict[str, Array], at: int, cores: int | None, memory: int | None) -> dict[str, Array]:
    """The same demand on another shape from ``at`` on, up to its ceiling. What is off stays off."""
    after = part["ts"] >= at
    if not after.any():
        return part
    part = dict(part)
    for size, given, used in ((cores, "vcpu", "cpu_pct"), (memory, "mem_mb", "mem_pct")):
        if size is None or given not in part or used not in part:
            continue
        hit = after & (part[given] > 0)
        grown, load = part[given].copy(), part[used].copy()
        load[hit] = np.minimum(load[hit] * (grown[hit] / size), 100)
        grown[hit] = size
        part[given], part[used] = grown, load
    return part


def _batch(name: str, names: Sequence[str], waiting: Sequence[tuple[int, dict[str, Array]]]) -> Samples:
    resource = np.concatenate([np.full(len(part["ts"]), number, np.int32) for number, part in waiting])
    columns = {one: np.concatenate([part[one] for _, part in waiting]) for one in waiting[0][1]}
    return Samples(name, list(names), pa.table({"resource": resource, **columns}))
