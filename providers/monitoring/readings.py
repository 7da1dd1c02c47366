"""What a store of metrics says of probed endpoints, target by target. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from providers.base import CERTIFICATE_SERIES, PROBE_SERIES, Readings

ORIGIN = "blackbox"
"""The exporter whose answers they are."""

GOOD = 0.5
"""A probe says 1 or 0."""


@dataclass(slots=True)
class TargetProbes:
    """``said``: target → (ms, succeeded); ``twice``: targets of which several series tell, which are left out: a probe of one would
    deny what that of another said; ``newest_ms``: the time of the newest; ``ends``: target → the second in which its first certificate
    ends, as last told, of several series the earliest."""

    said: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)
    twice: Counter[str] = field(default_factory=Counter)
    newest_ms: int = 0
    ends: dict[str, int] = field(default_factory=dict)


def by_target(readings: Readings) -> TargetProbes | None:
    """The probes of ``readings``; None where these are no answers about endpoints."""
    if readings.origin != ORIGIN:
        return None
    done = TargetProbes()
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, labels in enumerate(readings.series):
        name, target = labels.get("__name__"), labels.get(readings.label, "")
        if name == PROBE_SERIES:
            numbers[target].append(number)
        elif name == CERTIFICATE_SERIES:
            mine = readings.index == number
            if mine.any() and np.isfinite(told := float(readings.value[mine][int(readings.ts[mine].argmax())])):
                done.ends[target] = min(done.ends.get(target, int(told)), int(told))
    for target, series in numbers.items():
        if len(series) > 1:
            done.twice[target] += len(series)
            continue
        mine = readings.index == series[0]
        ts = readings.ts[mine].astype(np.int64)
        done.said[target] = list(zip(ts.tolist(), (readings.value[mine] > GOOD).tolist(), strict=True))
        done.newest_ms = max(done.newest_ms, int(ts.max(initial=0)))
    return done
