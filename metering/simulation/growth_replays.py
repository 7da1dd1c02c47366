"""Growth within the day of what is no CPU, replayed over the city's own lake or a recording: what a policy's terms for memory, disks, lines and
connections would have grown, lent and given back, and what of the time at the ceiling would have been left.

A recording shows no more than the size that was there, so what lay above it is in no figure: the ceiling as recorded, and as it would have
been, count what is seen at the line. Any size can be had here, as in the other backtests; the look within the day takes the next one of the
catalogue, and asks authorisations, quota and windows, which no recording has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from metering.judging import GrowthTerms, Policy, calendars, pipeline
from metering.lake import natural
from metering.series import MachineSeries, grid
from metering.simulation.history import Past
from metering.sizing import COVERED, HOUR
from metering.workbench import Workbench
from providers.metrics import LIVE, MISSING, Array
from quota.actors import steward
from quota.inventory import Resource
from quota.units import BANDWIDTH

AT_ONCE = 64
"""Machines of a recording that are replayed at a time."""


@dataclass
class GrowthReplay:
    """Sums over resources: ``told`` samples, of these ``full`` at the line as recorded and ``left`` of what would have been in force; how often it
    ``grew``, was raised once more, and was ``returned``; ``lent``: the sum over samples of what was more, as a share of the size."""

    resources: int = 0
    told: int = 0
    full: int = 0
    left: int = 0
    grew: int = 0
    returned: int = 0
    lent: float = 0.0

    def add(self, other: GrowthReplay) -> None:
        """Of more resources."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_json(self) -> dict[str, float]:
        """Plain JSON: shares of the samples, and counts."""
        told = self.told or 1
        return {
            "resources": self.resources,
            "full_share": self.full / told,
            "left_share": self.left / told,
            "growths": self.grew,
            "returned": self.returned,
            "lent_share": self.lent / told,
        }


def replay(share: Array, terms: GrowthTerms) -> GrowthReplay:
    """The rule of the look over [r, n] shares of the recorded size, % (NaN = no sample), five minutes apart. Pure.

    Each slot's size follows from samples before it, and of those only from what is at the line of the size in force; samples of before the size
    last changed are left out, as of another size.
    """
    used = np.clip(share, 0, 100) / 100
    known = np.isfinite(used)
    at = np.where(known, used, -1.0)
    sums = GrowthReplay(len(at), int(known.sum()), int((at >= terms.level / 100 - 1e-9).sum()))
    rows = np.flatnonzero((at >= terms.level / 100 - 1e-9).any(axis=1))
    if len(rows):
        _walk(np.ascontiguousarray(at[rows].T), terms, sums)
    return sums


def _walk(at: Array, terms: GrowthTerms, sums: GrowthReplay) -> None:
    n, r = at.shape
    size, force = np.ones(r), np.ones(r)
    until = np.zeros(r, np.int64)
    full, needed, told = (np.zeros((HOUR, r), bool) for _ in range(3))
    hold, line, calm = terms.hold_hours * HOUR, terms.level / 100, terms.calm / 100
    for slot in range(n):
        here = at[slot]
        ring = slot % HOUR
        told[ring] = here >= 0
        full[ring] = here >= line * force - 1e-9
        needed[ring] = here >= calm * size - 1e-9
        sums.left += int(full[ring].sum())
        sums.lent += float((force - 1)[told[ring]].sum())
        lent = force > size
        if not full[ring].any() and not lent.any():
            continue
        now = slot + 1
        short = (full.sum(axis=0) >= terms.samples) & (force < terms.most * size - 1e-9)
        busy = lent & ~short & needed.any(axis=0)
        until[busy] = now + hold
        back = lent & ~short & ~busy & (until <= now) & (told.sum(axis=0) >= COVERED * HOUR)
        sums.grew += int((short & ~lent).sum())
        sums.returned += int(back.sum())
        force[short] = np.minimum(terms.step * force[short], terms.most * size[short])
        until[short], force[back] = now + hold, size[back]
        if terms.about.stays:
            size[short] = force[short]
        changed = short | back
        if changed.any():
            for each in (full, needed, told):
                each[:, changed] = False


def of_series(series: MachineSeries, policy: Policy) -> dict[str, dict[str, float]]:
    """Gauge → what the terms of ``policy`` (for whoever is in none of its sections) would have done on a recording; it has memory, or nothing."""
    found: dict[str, GrowthReplay] = {}
    if series.mem is None:
        return {}
    told = np.flatnonzero(np.logical_or.reduceat(series.mem != MISSING, series.starts[:-1]))
    for terms in policy.growths_of(-1):
        if terms.about.columns != ("mem_pct",):
            continue
        for low in range(0, len(told), AT_ONCE):
            mem = grid(series.take(told[low : low + AT_ONCE])).mem
            found.setdefault(terms.gauge, GrowthReplay()).add(replay(natural("mem_pct", np.asarray(mem)), terms))
    return {gauge: sums.to_json() for gauge, sums in found.items()}


def of_policy(workbench: Workbench, policy: Policy, past: Past) -> dict[str, dict[str, float]]:
    """Gauge → what the terms of ``policy`` (of its sections, for whoever is of one) would have done over the days of ``past``; gauges of
    which the lake tells nothing are absent."""
    found: dict[str, GrowthReplay] = {}
    for terms in policy.every_growth():
        if terms.about.of_time:  # what it would have waited with more, no recording tells
            continue
        rows = _rows(workbench, policy, terms)
        ids = np.array(sorted(rows), np.int32)
        for block in workbench.lake.windows(ids, past.first, past.last, terms.about.columns) if rows else ():
            sizes = np.array([rows[int(one)] for one in block.resources], np.float64)
            share = _share(block.values, block.state == LIVE, terms, sizes)
            told = np.isfinite(share).any(axis=1)
            if told.any():
                found.setdefault(terms.gauge, GrowthReplay()).add(replay(share[told], terms))
    return {gauge: sums.to_json() for gauge, sums in found.items()}


def _rows(workbench: Workbench, policy: Policy, terms: GrowthTerms) -> dict[int, int]:
    """Resource id → what it has of the class that these terms enlarge, of those that they hold for."""
    grows = terms.about.grows
    with workbench.book.reading(steward("replay")) as tx:
        query = select(Resource).where(Resource.kind.in_(list(grows)), Resource.gone_at.is_(None)).order_by(Resource.id)
        rows = [one for one in tx.scalars(query) if one.actual().get(grows[one.kind], 0) > 0]
        section = pipeline.sections(tx, rows, policy, calendars(tx))
        holds = {at: terms in policy.growths_of(at) for at in range(-1, len(policy.sections))}
        return {
            one.id: one.actual()[grows[one.kind]] for one, at in zip(rows, section.tolist(), strict=True) if holds[at]
        }


def _share(values: dict[str, Array], live: Array, terms: GrowthTerms, sizes: Array) -> Array:
    """[r, n] % of the size, NaN where it is not told."""
    gauge = terms.about
    parts = np.array([np.where(live, natural(name, values[name]), np.nan) for name in gauge.columns])
    told: Array = np.where(np.isfinite(parts).any(axis=0), np.nansum(parts, axis=0), np.nan)
    return told / (1000.0 * sizes[:, None]) * 100 if BANDWIDTH in gauge.grows.values() else told
