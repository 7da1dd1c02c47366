"""The last hour of every machine, out of the lake's hot samples as they lie there: what the look within the day looks at.

Deliveries are laid over each other by the rules of a closed day (`metering.lake.dayblock`), so that a look and the day that is
closed later say the same of a slot. A machine that goes on reporting the same figures is told by them, too: nine equal
samples in which two metrics should have moved are no use but silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metering.lake import Edges, deliveries, freeze, lay, natural
from metering.sizing import COVERED, HOUR
from providers.metrics import LIVE, METRICS, STEP_S, reported

if TYPE_CHECKING:
    from metering.lake import Lake

_LEAN = ("cpu_pct", "vcpu")


@dataclass(frozen=True, slots=True)
class Hour:
    """resources: int32 [r], sorted; cpu: [r, 12] per cent of the machine's vCPU, NaN = no live sample; vcpu: [r, 12], the vCPU
    that each of them was measured on, NaN where the source does not tell. others: column → [r, 12], of those that were asked for."""

    resources: NDArray[np.int32]
    cpu: NDArray[np.float64]
    vcpu: NDArray[np.float64]
    others: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def of(self, ids: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """cpu and vcpu [k, 12] of these resources; NaN for who is not there."""
        return self._rows(self.cpu, ids), self._rows(self.vcpu, ids)

    def other(self, columns: Sequence[str], ids: Sequence[int]) -> NDArray[np.float64]:
        """The sum of these of the ``others`` of these resources [k, 12]; NaN where none of them was told."""
        rows = np.array([self._rows(self.others[name], ids) for name in columns])
        return np.where(np.isfinite(rows).any(axis=0), np.nansum(rows, axis=0), np.nan)

    def _rows(self, told: NDArray[np.float64], ids: Sequence[int]) -> NDArray[np.float64]:
        wanted = np.asarray(ids, np.int32)
        found = np.full((len(wanted), HOUR), np.nan)
        if len(self.resources) and len(wanted):
            at = np.minimum(np.searchsorted(self.resources, wanted), len(self.resources) - 1)
            there = self.resources[at] == wanted
            found[there] = told[at[there]]
        return found


def hour(lake: Lake, end: datetime, suspect: float = 98.0, others: Sequence[str] = ()) -> Hour:
    """The hour up to ``end`` (a multiple of five minutes), with ``others`` of its columns beside CPU's.

    Whoever reaches ``suspect`` per cent of CPU, and repeats itself, is read again with all its metrics, to see whether it lives. Raises ValueError for
    a lake whose samples are not five minutes apart, Damaged for a broken file.
    """
    if lake.step_s != STEP_S:
        raise ValueError("an hour's look takes samples of five minutes")
    columns = tuple(dict.fromkeys((*_LEAN, *others)))
    block = lay(deliveries(lake, end, columns, None), HOUR, columns)
    live = block.state == LIVE
    cpu = np.where(live, natural("cpu_pct", block.values["cpu_pct"]), np.nan)
    with np.errstate(invalid="ignore"):
        hot = np.flatnonzero((cpu >= suspect).any(axis=1))
    hot = hot[_repeats(cpu[hot])]
    if len(hot):
        cpu[hot] = np.where(alive(lake, end, block.resource[hot].tolist()), cpu[hot], np.nan)
    told = block.values["vcpu"]
    more = {name: np.where(live, natural(name, block.values[name]), np.nan) for name in others}
    return Hour(block.resource, cpu, np.where(reported(told), told.astype(np.float64), np.nan), more)


_WHOLE = round(24 * HOUR * COVERED)
"""Samples of a day, as far as the hour must be covered."""


def _repeats(cpu: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Who tells the same CPU [k, 12] so often on end that all of it might be a repetition: whoever does not lives for certain, and
    need not be read again."""
    last, run, longest = np.full(len(cpu), np.nan), np.zeros(len(cpu), int), np.zeros(len(cpu), int)
    for told in cpu.T:
        there = np.isfinite(told)
        run = np.where(there, np.where(told == last, run + 1, 1), run)
        last, longest = np.where(there, told, last), np.maximum(longest, run)
    return np.asarray(longest >= _WHOLE // 24)


def alive(lake: Lake, end: datetime, ids: Sequence[int]) -> NDArray[np.bool_]:
    """Which samples of the hour up to ``end`` are live, bool [k, 12], by all the metrics that these resources tell."""
    wanted = np.asarray(ids, np.int32)
    whole = lay(deliveries(lake, end, tuple(METRICS), np.unique(wanted)), HOUR)
    freeze(whole, Edges.none(whole.resource), Edges.none(whole.resource), day=_WHOLE)
    found = np.zeros((len(wanted), HOUR), bool)
    if len(whole.resource) and len(wanted):
        at = np.minimum(np.searchsorted(whole.resource, wanted), len(whole.resource) - 1)
        there = whole.resource[at] == wanted
        found[there] = whole.state[at[there]] == LIVE
    return found


def last_told(vcpu: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last vCPU told in each row of [k, 12], NaN = none."""
    told = np.isfinite(vcpu)
    last = HOUR - 1 - np.argmax(told[:, ::-1], axis=1)
    return np.where(told.any(axis=1), vcpu[np.arange(len(vcpu)), last], np.nan)


def last_look(now: datetime, minutes: int, settle: timedelta) -> datetime:
    """The latest multiple of ``minutes`` of the hour whose samples have had ``settle`` to arrive by ``now``."""
    at = now - settle
    return at.replace(minute=at.minute - at.minute % minutes, second=0, microsecond=0)
