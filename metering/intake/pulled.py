"""Readings of a store of metrics become samples by the rules that pushed points become them by. Arrow tables in and out; no
database, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from metering.intake import signals, sources
from metering.intake.conventions import TOLD
from metering.intake.folding import fold
from metering.intake.signals import LAYER, POINTS, Points, Signal
from providers.base import CERTIFICATE_SERIES, PROBE_SERIES, Readings


@dataclass(slots=True)
class Pulled:
    """samples: as ``Lake.append`` takes them; found: machines (dense ids) that a series speaks of; unknown: names that no
    machine of the inventory has → series; unused: names of series that nobody has a use for; refused: reason → points, or
    slots; examples: reason → (dense id, what)."""

    samples: pa.Table
    found: set[int] = field(default_factory=set)
    unknown: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Rows:
    """For each series that is of use: its number among the readings', and what points say of it."""

    number: list[int] = field(default_factory=list)
    resource: list[int] = field(default_factory=list)
    signal: list[int] = field(default_factory=list)
    series: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    factor: list[float] = field(default_factory=list)


def pull(
    readings: Readings,
    machines: Mapping[str, int],
    step_s: int,
    sizes: Callable[[list[int]], Mapping[int, float]] = lambda _ids: {},
) -> Pulled:
    """Samples of the slots in since <= t < until of ``readings``. ``machines``: what a machine may be called → its dense id;
    ``sizes``: asked for the memory (bytes) of machines that do not tell it."""
    done = Pulled(pa.table({"resource": pa.array([], pa.int32()), "ts": pa.array([], pa.int64())}))
    rows = _recognised(readings, machines, done)
    points = _points(readings, rows, done)
    if not len(points):
        return done
    first, end = (round(moment.timestamp() * 1000) for moment in (readings.since, readings.until))
    made = fold(points, step_s, end, first, sizes(np.unique(points.resource).tolist()))
    ts = made.samples["ts"].to_numpy() * 1000
    done.samples = made.samples.filter(pa.array((ts >= first) & (ts < end)))
    done.refused.update(made.said.refused)
    done.examples.update(made.said.examples)
    return done


def _recognised(readings: Readings, machines: Mapping[str, int], done: Pulled) -> _Rows:
    rows = _Rows()
    for number, labels in enumerate(readings.series):
        if labels.get("__name__") in (PROBE_SERIES, CERTIFICATE_SERIES):
            continue
        signal = signals.recognise(labels)
        factor = None if signal is None else signals.scale(labels, signal)
        if signal is None or factor is None:
            done.unused[labels.get("__name__", "")] += 1
            continue
        name = labels.get(readings.label, "")
        machine = sources.named(machines, name) if name else None
        if machine is None:
            done.unknown[name] += 1
            continue
        done.found.add(machine)
        whole = "\x00".join(f"{one}\x01{labels[one]}" for one in sorted(labels) if one not in TOLD)
        told = {one: text for one, text in labels.items() if one != readings.label}
        rows.number.append(number)
        rows.resource.append(machine)
        rows.signal.append(int(signal))
        rows.series.append(signals.number(whole))
        rows.place.append(signals.number(signals.place(told)))
        rows.factor.append(factor)
    return rows


def _points(readings: Readings, rows: _Rows, done: Pulled) -> Points:
    at = np.full(len(readings.series) + 1, -1)
    at[rows.number] = np.arange(len(rows.number))
    row = at[readings.index]
    mine = row >= 0
    row, ts, value = row[mine], readings.ts[mine], readings.value[mine]
    value = value * np.array(rows.factor)[row] if len(row) else value
    base = np.array(rows.signal, np.int64)[row] % LAYER if len(row) else row
    silent = np.isnan(value) | ((base == Signal.LINK_SPEED_BS) & (value < 0))
    absurd = ~silent & (~np.isfinite(value) | (value < 0))
    above = ~silent & ~absurd & signals.no_share(base, value)
    done.refused.update({"value.absurd": int(absurd.sum()), "value.share": int(above.sum())})
    done.refused = +done.refused
    good = ~(silent | absurd | above)
    row, ts, value = row[good], ts[good], value[good]
    columns = {
        "resource": np.array(rows.resource, np.int32)[row],
        "signal": np.array(rows.signal, np.int16)[row],
        "series": np.array(rows.series, np.int64)[row],
        "place": np.array(rows.place, np.int64)[row],
        "ts": ts.astype(np.int64),
        "value": value.astype(np.float64),
        "folded": np.zeros(len(ts), bool),
    }
    return Points.of(pa.table(columns, schema=POINTS))
