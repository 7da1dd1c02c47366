"""PromQL as a source of usage: what a store says of machines, read so that folding it gives what the samples themselves say.

A slot is bounded by two edges. A counter is read at each edge and one scrape after it, each with the time of the scrape: so
what it rose by within a slot is the counter's own, and what lies across an edge is shared out as between the two samples
around it. Where a scrape is missing, or a counter began anew, the slot is read scrape by scrape. A gauge is its mean over the
slot, a size its last value. One question for all machines, whatever the number of scrapes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.adapters.promql.mappings import EXPORTERS, Exporter, MappingRow, ReadingManner, filled, own
from providers.adapters.promql.store import SeriesLine, Store
from providers.base import Query, Readings
from providers.connection import Connection, checked_url
from providers.options import option
from providers.secrets import Secret
from quota.errors import N_, Invalid

PIECE = timedelta(hours=6)
"""How much is asked for at once: 2,000 machines answer a query of this with some 60 MB."""

BATCH = 50
"""Machines that are read scrape by scrape in one query."""


JITTER_MS = 50
"""How much later than due a scrape may be stamped."""

SLOWEST_MS = 900_000
"""The longest interval between scrapes that anything is made of."""

ONE_MISSING = 1.75
"""So many times the usual interval between two scrapes, and one has been left out between them."""

LOOKS = 8
"""At so many moments of a piece it is looked how often machines are scraped."""

ALMOST = 0.05
"""Of a scrape: so much less than a whole number of them fits into a slot by jitter alone."""

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class PromQLOptions:
    """Where the store is, and what is asked of it."""

    url: str = option(
        N_("地址"), N_("如 https://prometheus.example:9090;VictoriaMetrics、Thanos、Mimir 写到 /api/v1 之前")
    )
    exporters: tuple[str, ...] = option(
        N_("采集器"),
        N_("用逗号分开:node、windows、libvirt、vmware、kubernetes、dcgm、ascend;blackbox 读取监测端点的探测结果"),
        default=("node",),
    )
    label: str | None = option(
        N_("资源标签"), N_("哪个标签说明是哪台机器;留空则按采集器的惯例,如 instance"), default=None
    )
    match: str = option(N_("筛选"), N_('只看一部分时间序列,如 job="node",region="a"'), default="")
    queries: str = option(
        N_("自定义查询"),
        N_(
            "每行一条:指标 = PromQL,结果按 $by 汇总,如 cpu_pct = 100 * max by ($by) (avg_over_time(x{$match}[$window]))"
        ),
        default="",
        lines=True,
    )
    user: str = option(N_("用户名"), default="")
    password: Secret | None = option(N_("口令"), default=None)
    bearer: Secret | None = option(N_("令牌"), N_("Bearer 令牌;与口令二选一"), default=None)
    tenant: str = option(N_("租户"), N_("Mimir 等多租户服务的 X-Scope-OrgID"), default="")
    ca_file: str | None = option(N_("CA 证书文件"), N_("自建 CA 的 PEM 文件;留空则用系统的"), default=None)
    timeout_s: float = option(N_("超时（秒）"), default=30.0, least=1, most=300)
    settle_s: int = option(N_("等待（秒）"), N_("多久以前的样本视为已经到齐"), default=60, least=0, most=3600)


@dataclass(slots=True)
class Target:
    """One machine as a label names it: the usual and the longest time between two of its scrapes, and its scrapes in each
    slot of a piece. What is scraped by the clock of another (a kubelet's cAdvisor) has no even intervals."""

    interval_ms: int
    longest_ms: int
    scrapes: NDArray[np.int64]


class PromQL:
    """One store. Implements providers.base.Meter and Probed. Speaks to nobody before it is asked to."""

    Options = PromQLOptions
    name = "promql"

    def __init__(
        self,
        url: str,
        exporters: Sequence[str] = ("node",),
        label: str | None = None,
        match: str = "",
        queries: str = "",
        user: str = "",
        password: Secret | None = None,
        bearer: Secret | None = None,
        tenant: str = "",
        ca_file: str | None = None,
        timeout_s: float = 30.0,
        settle_s: int = 60,
    ) -> None:
        if label is not None and not _LABEL.fullmatch(label):
            raise Invalid("promql.label", N_("标签名由字母、数字和下划线组成"), field="label")
        if password is not None and bearer is not None:
            raise Invalid("promql.both", N_("口令与令牌只填一种"), field="bearer")
        self.label, self.match, self.settle_s = label, match, settle_s
        self.exporters = _chosen(exporters, queries, label)
        self.store = Store(
            Connection(
                checked_url(url), user=user, password=password, bearer=bearer, ca_file=ca_file, timeout_s=timeout_s,
                headers={"X-Scope-OrgID": tenant} if tenant else None,
            )
        )  # fmt: skip

    def probe(self, now: datetime) -> str:
        """Which store answers, and how many machines each exporter tells of. Raises ProviderFault."""
        self.store.clock()
        told = self.store.version()
        machines: Counter[str] = Counter()
        for one in self.exporters:
            if one.clock:
                found = self.store.at(f"count({self._clock(one)})", _ms(now))
                machines[one.name] += int(found[0].value[0]) if found else 0
        return ", ".join([told, *(f"{name}: {count}" for name, count in machines.items())])

    def skew(self, now: datetime) -> timedelta:
        """How far the store's clock is ahead of ours."""
        return self.store.clock() - now

    def readings(self, since: datetime, until: datetime, step_s: int) -> Iterator[Readings]:
        """As providers.base.Meter has it: in pieces of some hours, up to what has settled."""
        step = step_s * 1000
        at, end = -(-_ms(since) // step) * step, (_ms(until) - self.settle_s * 1000) // step * step
        while at < end:
            last = min(end, at + max(int(PIECE.total_seconds() * 1000) // step, 1) * step)
            for one in self.exporters:
                yield self._piece(one, at, last, step)
            at = last

    def queries(self) -> list[Query]:
        """What is asked, with a slot of five minutes."""
        return [
            Query(one.name, row.series, self.asked(one, row.query, "5m"), one.proof, one.source)
            for one in self.exporters
            for row in one.rows
        ]

    def by(self, exporter: Exporter) -> str:
        return self.label or exporter.by

    def asked(self, exporter: Exporter, query: str, window: str = "", more: str = "") -> str:
        """A query of the exporter with its places filled; ``more``: further matchers."""
        match = ",".join(one.strip().strip(",") for one in (self.match, more) if one.strip(" ,"))
        return filled(query, by=self.by(exporter), match=match, window=window)

    def _clock(self, exporter: Exporter, more: str = "") -> str:
        return self.asked(exporter, f"max by ($by) (timestamp({exporter.clock}))", more=more)

    def _piece(self, exporter: Exporter, first: int, end: int, step: int) -> Readings:
        points = _Points(self.by(exporter))
        window = self.store.window(step)
        # Who is scraped less often than once a slot is known by scrapes that lie beside the piece.
        beside = -(-SLOWEST_MS // step) * step
        low, high = first - beside, end + beside
        targets = self._targets(exporter, low, high, step, window)
        slow = any(one.interval_ms >= step for one in targets.values())
        if not slow:
            low, high, cut = first, end, slice(beside // step, -beside // step)
            targets = {name: replace(one, scrapes=one.scrapes[cut]) for name, one in targets.items()}
        if targets:
            counters = [row for row in exporter.rows if row.manner in (ReadingManner.COUNTER, ReadingManner.BUSY)]
            lines = self._at_edges(exporter, counters, targets, low, high, step)
            self._scrape_by_scrape(exporter, counters, targets, lines, (low, high, step))
            for row, of in lines.items():
                points.count(row, of, self._cpus(exporter, row, low, high, step))
        last = self._last_scrapes(exporter, low, high, step) if slow else {}
        for row in exporter.rows:
            if row.manner is ReadingManner.PROBE:
                points.every(row, self.store.samples(self.asked(exporter, row.query), end - 1, end - first))
            if row.manner in (ReadingManner.GAUGE, ReadingManner.LEVEL):
                found = self.store.over(self.asked(exporter, row.query, window), low + step - 1, high - 1, step)
                points.gauge(row, found, step, targets, low, last)
        read = points.readings(first, end, tuple(self.store.notes), exporter)
        return replace(read, doubts=dict(self._doubts(exporter, end, window)))

    def _doubts(self, exporter: Exporter, end: int, window: str) -> Iterator[tuple[str, list[str]]]:
        """Code of a reason, and of which machines something is not believed for it at the end of a piece."""
        for one in exporter.doubts:
            found = self.store.at(self.asked(exporter, one.query, window), end - 1)
            if names := sorted({line.labels.get(self.by(exporter), "") for line in found}):
                yield one.code, names

    def _last_scrapes(self, exporter: Exporter, low: int, high: int, step: int) -> dict[str, dict[int, int]]:
        """Machine → number of the slot → when the last scrape within or before it was, ms."""
        found = self.store.over(self._clock(exporter), low + step - 1, high - 1, step)
        return {
            line.labels.get(self.by(exporter), ""): dict(
                zip(
                    ((line.ts - low) // step).tolist(),
                    np.rint(line.value * 1000).astype(np.int64).tolist(),
                    strict=True,
                )
            )
            for line in found
        }

    def _targets(self, exporter: Exporter, first: int, end: int, step: int, window: str) -> dict[str, Target]:
        """Machine → how it is scraped, by the samples that its clock has in each slot."""
        if not exporter.clock:
            return {}
        by = self.by(exporter)
        query = self.asked(exporter, f"max by ($by) (count_over_time({exporter.clock}[$window]))", window)
        counts: dict[str, NDArray[np.int64]] = {}
        for line in self.store.over(query, first + step - 1, end - 1, step):
            counts[line.labels.get(by, "")] = scrapes = np.zeros((end - first) // step, np.int64)
            scrapes[(line.ts - first) // step] = line.value.astype(np.int64)
        pace = self._paces(exporter, counts, first, step)
        found = {}
        for name, scrapes in counts.items():
            usual = step // max(int(np.median(scrapes[scrapes > 0])), 1)
            found[name] = Target(*pace.get(name, (usual, usual)), scrapes)
        return found

    def _paces(
        self, exporter: Exporter, counts: Mapping[str, NDArray[np.int64]], first: int, step: int
    ) -> dict[str, tuple[int, int]]:
        """Machine → the usual time between two of its scrapes and the longest without a missing one, ms, as seen in the last
        two slots; of what had fallen silent by then, in the last two before. ``counts``: its scrapes slot by slot."""
        last = {name: int(np.flatnonzero(scrapes)[-1]) for name, scrapes in counts.items() if scrapes.any()}
        found: dict[str, tuple[int, int]] = {}
        for _look in range(LOOKS):
            unknown = [slot for name, slot in last.items() if name not in found]
            if not unknown:
                break
            slot = max(unknown)
            for line in self.store.samples(
                self.asked(exporter, exporter.clock), first + (slot + 1) * step - 1, 2 * step
            ):
                name = line.labels.get(self.by(exporter), "")
                gaps = np.diff(line.ts) if len(line.ts) > 2 else np.zeros(0)
                usual = max(int(np.median(gaps)), 1) if len(gaps) else 0
                longest = int(gaps[gaps < ONE_MISSING * usual].max(initial=usual))
                was = found.get(name, (0, 0))
                found[name] = max(was[0], usual), max(was[1], longest)
            last = {name: when for name, when in last.items() if when < slot}
        return {name: pace for name, pace in found.items() if pace[0]}

    def _at_edges(
        self,
        exporter: Exporter,
        counters: Sequence[MappingRow],
        targets: Mapping[str, Target],
        first: int,
        end: int,
        step: int,
    ) -> dict[MappingRow, dict[Key, _Track]]:
        """Counters at each edge and one scrape later, for each of a few intervals that machines are scraped at."""
        intervals = sorted({round(one.interval_ms, -2) for one in targets.values()})
        chosen = {intervals[0], intervals[len(intervals) // 2], intervals[-1]}
        uneven = [one.longest_ms for one in targets.values() if one.longest_ms - one.interval_ms > JITTER_MS]
        if uneven:
            chosen.add(max(uneven))
        lines: dict[MappingRow, dict[Key, _Track]] = {row: {} for row in counters}
        for late in (0, *sorted(min(one + JITTER_MS, step - 1) for one in chosen)):
            self._read(exporter, counters, lines, (first + late, end + late, step))
        return lines

    def _read(
        self,
        exporter: Exporter,
        counters: Sequence[MappingRow],
        lines: dict[MappingRow, dict[Key, _Track]],
        grid: tuple[int, int, int],
        more: str = "",
    ) -> None:
        """Add the counters at the moments of ``grid`` (first, last, step; ms), each value at the time of its scrape."""
        by = self.by(exporter)
        clocks = {line.labels.get(by, ""): line for line in self.store.over(self._clock(exporter, more), *grid)}
        for row in counters:
            for line in self.store.over(self.asked(exporter, row.query, more=more), *grid):
                clock = clocks.get(line.labels.get(by, ""))
                if clock is None:
                    continue
                known, mine, its = np.intersect1d(line.ts, clock.ts, assume_unique=True, return_indices=True)
                if len(known):
                    track = lines[row].setdefault(_key(line.labels), _Track(line.labels))
                    track.add(np.rint(clock.value[its] * 1000).astype(np.int64), line.value[mine])

    def _scrape_by_scrape(
        self,
        exporter: Exporter,
        counters: Sequence[MappingRow],
        targets: Mapping[str, Target],
        lines: dict[MappingRow, dict[Key, _Track]],
        piece: tuple[int, int, int],
    ) -> None:
        """Read closer where edges do not tell all: a scrape is missing, came later than they were read, or a counter fell."""
        first, _end, step = piece
        by = self.by(exporter)
        wanted: dict[str, NDArray[np.bool_]] = {}
        for name, one in targets.items():
            due, here = int(step / one.interval_ms + ALMOST), one.scrapes
            beside = np.maximum(np.append(here[1:], 0), np.append([0], here[:-1]))
            # One that came a moment too late for its slot is in the next one.
            wanted[name] = (here > 0) & (here < due) & (here + beside < 2 * due)
        for tracks in lines.values():
            for track in tracks.values():
                name = track.labels.get(by, "")
                if name in wanted:
                    _doubtful(*track.sorted(), targets[name], (first, step), wanted[name])
        for run, names in _runs(wanted).items():
            low, high = first + run[0] * step, first + run[1] * step
            for begin in range(0, len(names), BATCH):
                some = names[begin : begin + BATCH]
                pace = max(min(targets[name].interval_ms for name in some), 100)
                more = f'{by}=~"{"|".join(_escaped(name) for name in some)}"'
                self._read(exporter, counters, lines, (low - pace, high + 3 * pace, pace), more)

    def _cpus(self, exporter: Exporter, row: MappingRow, first: int, end: int, step: int) -> dict[str, SeriesLine]:
        """Of BUSY: machine → how many CPUs it has, slot by slot."""
        if row.manner is not ReadingManner.BUSY:
            return {}
        found = self.store.over(self.asked(exporter, row.of), first, end + step, step)
        return {line.labels.get(self.by(exporter), ""): line for line in found}


class _Track:
    """Samples of one series as they were found, at the times of their scrapes (ms); found twice they count once."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self._ts: list[NDArray[np.int64]] = []
        self._value: list[NDArray[np.float64]] = []

    def add(self, ts: NDArray[np.int64], value: NDArray[np.float64]) -> None:
        self._ts.append(ts)
        self._value.append(value)

    def sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        ts, where = np.unique(np.concatenate(self._ts), return_index=True)
        return ts, np.concatenate(self._value)[where]


class _Points:
    """What is found of one piece, as Readings hold it."""

    def __init__(self, by: str) -> None:
        self.by = by
        self.series: list[dict[str, str]] = []
        self.parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []

    def _add(
        self, row: MappingRow, labels: Mapping[str, str], ts: NDArray[np.int64], value: NDArray[np.float64]
    ) -> None:
        kept = {name: text for name, text in labels.items() if name != "__name__"}
        self.series.append({**kept, **row.labels, "__name__": row.series})
        self.parts.append((ts, value))

    def every(self, row: MappingRow, found: Sequence[SeriesLine]) -> None:
        """Samples as they are, but for what says that a series ended."""
        for line in found:
            keep = ~np.isnan(line.value)
            self._add(row, line.labels, line.ts[keep], line.value[keep])

    def count(self, row: MappingRow, tracks: Mapping[Key, _Track], cpus: Mapping[str, SeriesLine]) -> None:
        """Counters; of BUSY what was idle beside what was busy, both growing from nothing."""
        for track in tracks.values():
            ts, value = track.sorted()
            if row.manner is ReadingManner.COUNTER:
                self._add(row, track.labels, ts, value)
                continue
            of = cpus.get(track.labels.get(self.by, ""))
            if of is None or len(ts) < 2:
                continue
            many = of.value[np.clip(np.searchsorted(of.ts, ts[1:]), 0, len(of.ts) - 1)]
            rise = np.where(value[1:] < value[:-1], value[1:], np.diff(value))
            idle = np.maximum(many * np.diff(ts) / 1000 - rise, 0)
            for mode, grown in (("user", rise), ("idle", idle)):
                self._add(row, {**track.labels, "mode": mode}, ts, np.concatenate(([0.0], np.cumsum(grown))))

    def gauge(
        self,
        row: MappingRow,
        found: Sequence[SeriesLine],
        step: int,
        targets: Mapping[str, Target],
        first: int,
        last: Mapping[str, Mapping[int, int]],
    ) -> None:
        """A value a slot, where the machine was scraped within it at all: in the slot's middle, or at the only scrape."""
        for line in found:
            slot = (line.ts - first) // step
            at = first + slot * step + step // 2
            keep = ~np.isnan(line.value)
            name = line.labels.get(self.by, "")
            if (target := targets.get(name)) is not None:
                scrapes = target.scrapes[slot]
                keep &= scrapes > 0
                only = last.get(name, {})
                for i in np.flatnonzero(scrapes == 1).tolist():
                    at[i] = only.get(int(slot[i]), at[i])
            self._add(row, line.labels, at[keep], line.value[keep])

    def readings(self, first: int, end: int, notes: tuple[str, ...], exporter: Exporter) -> Readings:
        counts = [len(ts) for ts, _value in self.parts]
        empty: list[Any] = [np.zeros(0)]
        return Readings(
            self.series,
            np.repeat(np.arange(len(counts)), counts),
            np.concatenate([ts for ts, _value in self.parts] or empty).astype(np.int64),
            np.concatenate([value for _ts, value in self.parts] or empty),
            self.by,
            datetime.fromtimestamp(first / 1000, UTC),
            datetime.fromtimestamp(end / 1000, UTC),
            notes,
            exporter.name,
            exporter.source,
        )


def _chosen(names: Sequence[str], queries: str, label: str | None) -> list[Exporter]:
    found = []
    for name in dict.fromkeys(names):
        if name not in EXPORTERS:
            raise Invalid(
                "promql.exporter", N_("没有名为 %(name)s 的采集器;现有:%(known)s"), name=name,
                known=", ".join(EXPORTERS), field="exporters",
            )  # fmt: skip
        found += _versions(EXPORTERS[name], label)
    try:
        mine = own(queries, label or "instance")
    except ValueError as wrong:
        number, what = wrong.args
        sentence = {
            "form": N_("自定义查询第 %(line)s 行须写成:指标 = PromQL,其中有 $by"),
            "metric": N_("自定义查询第 %(line)s 行:没有这个指标"),
        }[what]
        raise Invalid(f"promql.{what}", sentence, line=number, field="queries") from None
    if mine is not None:
        found.append(replace(mine))
    if not found:
        raise Invalid("promql.nothing", N_("请选择采集器,或写明自定义查询"), field="exporters")
    return found


def _doubtful(
    ts: NDArray[np.int64],
    value: NDArray[np.float64],
    target: Target,
    grid: tuple[int, int],
    wanted: NDArray[np.bool_],
) -> None:
    """Mark in ``wanted`` the slots of ``grid`` (first, step; ms) of which a counter's samples do not tell all."""
    first, step = grid
    slot = (ts - first) // step
    for at in slot[1:][value[1:] < value[:-1]].tolist():
        wanted[max(at - 1, 0) : max(at + 1, 0)] = True
    apart = (slot[1:] > slot[:-1]) & (np.diff(ts) > 2 * target.interval_ms)
    beside = np.concatenate([slot[:-1][apart], slot[1:][apart]])
    beside = beside[(beside >= 0) & (beside < len(wanted))]
    wanted[beside[target.scrapes[beside] > 0]] = True
    if slot[-1] < len(wanted) and target.scrapes[-1]:  # none was found behind the last edge
        wanted[-1] = True


def _versions(exporter: Exporter, label: str | None) -> list[Exporter]:
    """The exporter and its other versions, each once: where people say which label names the machine, some are alike."""
    every = (exporter, *exporter.versions)
    return list({(id(one.rows), label or one.by): one for one in reversed(every)}.values())[::-1]


def _runs(wanted: Mapping[str, NDArray[np.bool_]]) -> dict[tuple[int, int], list[str]]:
    """(first slot, slot after the last) → the machines to be read closely there."""
    found: dict[tuple[int, int], list[str]] = {}
    for name, slots in wanted.items():
        edges = np.flatnonzero(np.diff(np.concatenate(([0], slots.astype(np.int8), [0]))))
        for low, high in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            found.setdefault((low, high), []).append(name)
    return found


def _escaped(name: str) -> str:
    """``name`` within a matcher's regular expression, within double quotes."""
    return (
        re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", name).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    )


def _key(labels: Mapping[str, str]) -> Key:
    return tuple(sorted(labels.items()))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
