"""What a feed says of probed endpoints (``probe_success``): handed to their register, which knows whose they are. No machine's,
and nothing for the lake."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from metering.workbench import Workbench
from providers.base import PROBE_SERIES, Readings
from providers.monitoring import endpoints
from quota.actors import steward

NEWEST = 0.5
"""What a probe says is 0 or 1."""


@dataclass(slots=True)
class EndpointProbes:
    """What became of them. ``unknown``: targets that nobody entered → probes; ``twice``: targets of which several series
    tell, which are left out: a probe of one would deny what that of another said."""

    taken: int = 0
    newest_ms: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)


def of_probes(readings: Readings) -> bool:
    """Whether these are answers about endpoints, even where there are none."""
    return readings.origin == "blackbox"


def take(workbench: Workbench, pool_id: int, readings: Readings, until: datetime) -> EndpointProbes:
    """Enter the probes that a piece of a feed tells of."""
    done = EndpointProbes()
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, labels in enumerate(readings.series):
        if labels.get("__name__") == PROBE_SERIES:
            numbers[labels.get(readings.label, "")].append(number)
    said: dict[str, list[tuple[int, bool]]] = {}
    for target, series in numbers.items():
        if len(series) > 1:
            done.twice[target] += len(series)
            continue
        mine = readings.index == series[0]
        ts, up = readings.ts[mine], readings.value[mine] > NEWEST
        said[target] = list(zip(ts.astype(np.int64).tolist(), up.tolist(), strict=True))
        done.newest_ms = max(done.newest_ms, int(ts.max(initial=0)))
    with workbench.book.transaction(steward("job:feeds")) as tx:
        done.taken, unknown = endpoints.take(tx, pool_id, said, until)
    done.unknown.update(unknown)
    return done
