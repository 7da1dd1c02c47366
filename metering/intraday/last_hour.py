"""The last hour of every machine, out of the lake's hot samples as they lie there: what the look within the day looks at.

Deliveries are laid over each other by the rules of a closed day (`metering.lake.dayblock`), so that a look and the day that is
closed later say the same of a slot. A machine that goes on reporting the same figures is told by them, too: nine equal
samples in which two metrics should have moved are no use but silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    that each of them was measured on, NaN where the source does not tell."""

    resources: NDArray[np.int32]
    cpu: NDArray[np.float64]
    vcpu: NDArray[np.float64]

    def of(self, ids: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """cpu and vcpu [k, 12] of these resources; NaN for who is not there."""
        wanted = np.asarray(ids, np.int32)
        cpu, vcpu = np.full((len(wanted), HOUR), np.nan), np.full((len(wanted), HOUR), np.nan)
        if len(self.resources) and len(wanted):
            at = np.minimum(np.searchsorted(self.resources, wanted), len(self.resources) - 1)
            there = self.resources[at] == wanted
            cpu[there], vcpu[there] = self.cpu[at[there]], self.vcpu[at[there]]
        return cpu, vcpu


def hour(lake: Lake, end: datetime, suspect: float = 98.0) -> Hour:
    """The hour up to ``end`` (a multiple of five minutes).

    Whoever reaches ``suspect`` per cent is read again with all its metrics, to see whether it lives. Raises ValueError for
    a lake whose samples are not five minutes apart, Damaged for a broken file.
    """
    if lake.step_s != STEP_S:
        raise ValueError("an hour's look takes samples of five minutes")
    block = lay(deliveries(lake, end, _LEAN, None), HOUR, _LEAN)
    cpu = np.where(block.state == LIVE, natural("cpu_pct", block.values["cpu_pct"]), np.nan)
    with np.errstate(invalid="ignore"):
        hot = np.flatnonzero((cpu >= suspect).any(axis=1))
    if len(hot):
        ids = block.resource[hot]
        whole = lay(deliveries(lake, end, tuple(METRICS), ids), HOUR)
        freeze(whole, Edges.none(whole.resource), Edges.none(whole.resource), day=round(24 * HOUR * COVERED))
        at = np.searchsorted(whole.resource, ids)
        cpu[hot] = np.where(whole.state[at] == LIVE, cpu[hot], np.nan)
    told = block.values["vcpu"]
    return Hour(block.resource, cpu, np.where(reported(told), told.astype(np.float64), np.nan))


def last_told(vcpu: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last vCPU told in each row of [k, 12], NaN = none."""
    told = np.isfinite(vcpu)
    last = HOUR - 1 - np.argmax(told[:, ::-1], axis=1)
    return np.where(told.any(axis=1), vcpu[np.arange(len(vcpu)), last], np.nan)


def last_look(now: datetime, minutes: int, settle: timedelta) -> datetime:
    """The latest multiple of ``minutes`` of the hour whose samples have had ``settle`` to arrive by ``now``."""
    at = now - settle
    return at.replace(minute=at.minute - at.minute % minutes, second=0, microsecond=0)
