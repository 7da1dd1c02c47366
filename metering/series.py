"""Utilisation histories of many machines, of different lengths and with gaps, in flat arrays; pure.

A *canonical series* of a machine has one sample per slot in which it was on. Matrices by local day, as the
assessment reads them, are laid out from it by `grid`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from providers.metrics import LIVE, MISSING, STEP_S, Array


@dataclass(frozen=True)
class MachineSeries:
    """Canonical samples of r machines, n in all; machine i owns the rows ``starts[i]:starts[i + 1]``.

    names: r machine names; starts: int64 [r + 1]; slot: int64 [n], floor(epoch seconds / 300), rising within
    a machine; cpu: uint16 [n], hundredths of a per cent of the machine's own size; cores: float64 [n], the
    size at that sample (1.0 where the source does not know); mem: uint16 [n] as cpu, 65535 = not reported, or
    None.
    """

    dataset: str
    names: tuple[str, ...]
    starts: Array
    slot: Array
    cpu: Array
    cores: Array
    mem: Array | None = None
    cores_known: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @property
    def machine(self) -> Array:
        """int64 [n]: the machine that each sample belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, which: Array) -> MachineSeries:
        """The machines at the integer indices `which`, in that order."""
        which = np.asarray(which)
        if len(which) and (np.diff(which) == 1).all():  # as they lie
            rows: Array | slice = slice(self.starts[which[0]], self.starts[which[-1] + 1])
        else:
            rows = np.concatenate([np.arange(self.starts[i], self.starts[i + 1]) for i in which] or [np.arange(0)])
        starts = np.concatenate(([0], np.cumsum(np.diff(self.starts)[which])))
        return MachineSeries(
            self.dataset,
            tuple(self.names[i] for i in which),
            starts,
            self.slot[rows],
            self.cpu[rows],
            self.cores[rows],
            None if self.mem is None else self.mem[rows],
            self.cores_known,
        )


def hundredths(percent: Array) -> Array:
    """Per cent as uint16 hundredths; NaN or infinite becomes 65535 (missing), anything above 655.34 % is
    clipped."""
    unknown = ~np.isfinite(percent)
    scaled = percent * 100.0
    scaled[unknown] = MISSING
    np.clip(np.rint(scaled, out=scaled), 0, MISSING - 1, out=scaled)
    scaled[unknown] = MISSING
    return scaled.astype(np.uint16)


def flatten(
    dataset: str,
    names: tuple[str, ...],
    first_slot: int,
    cpu: Array,
    state: Array,
    cores: Array | None = None,
    mem: Array | None = None,
) -> MachineSeries:
    """A series from matrices [r, n] of consecutive slots from `first_slot` (floor(epoch seconds / 300)) on.

    cpu, mem: uint16 hundredths, 65535 = missing; state: uint8, 1 = live; cores: the size at each slot, None =
    1. Only live slots with a CPU figure become samples.
    """
    kept = (state == LIVE) & (cpu != MISSING)
    row, column = np.nonzero(kept)
    starts = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
    return MachineSeries(
        dataset,
        names,
        starts,
        first_slot + column,
        cpu[row, column],
        np.ones(len(row)) if cores is None else cores[row, column].astype(np.float64),
        None if mem is None else mem[row, column],
        cores is not None,
    )


@dataclass(frozen=True)
class Grid:
    """A series laid out by local day: matrices [r, days * slots a day], as the assessment reads them.

    cpu, mem: uint16 hundredths, 65535 = missing; state: uint8, 0 missing, 1 live; first_day: days since
    1970-01-01 local; expected_from, expected_to: int64 [r], first and one past the last slot in which the
    machine reported.
    """

    cpu: Array
    mem: Array | None
    state: Array
    first_day: int
    expected_from: Array
    expected_to: Array


def grid(series: MachineSeries, utc_offset_s: int = 28800) -> Grid:
    """Lay a series out over whole local days from its first to its last sample, one row a machine."""
    per_day = 86400 // STEP_S
    local = series.slot + utc_offset_s // STEP_S
    first_day = int(local.min() // per_day)
    days = int(local.max() // per_day) - first_day + 1
    column = local - first_day * per_day
    row = series.machine

    def dense(values: Array) -> Array:
        matrix = np.full((len(series), days * per_day), MISSING, np.uint16)
        matrix[row, column] = values
        return matrix

    state = np.zeros((len(series), days * per_day), np.uint8)
    state[row, column] = LIVE
    return Grid(
        dense(series.cpu),
        None if series.mem is None else dense(series.mem),
        state,
        first_day,
        column[series.starts[:-1]],
        column[series.starts[1:] - 1] + 1,
    )
