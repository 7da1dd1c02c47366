"""What was seen of a block of resources: from exact samples (`measure`) or daily histograms
(`measure_daily`).

Pure and vectorised; a policy says which windows and figures are wanted. Percentages are floats 0..100 (and
above: bursts), shares 0..1, network in kbit/s. r = resources, n = slots, d = days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from metering.judging.figures import CIRCUMSTANCES, FIGURES, GIVEN, Figure, costly, plain
from metering.judging.seen import Daily, DailyUse, Exact, Hot, Rollups, SampleBlock, SeenWindow
from providers.metrics import FROZEN, LIVE, OFF, SLOTS, Array

if TYPE_CHECKING:
    from metering.judging.policy import Policy


CELLS = 4_000_000  # resources x slots handled at once: bounds the temporaries to some 100 MB

APART = frozenset(GIVEN.values())
"""What is kept of a resource only where it is known."""


@dataclass(frozen=True)
class Figures:
    """The figures of one window, code → [r], NaN = not known: ``seen.cpu_p95``, or ``seen["cpu_p95"]``."""

    values: Mapping[str, Array]

    def __getitem__(self, code: str) -> Array:
        return self.values[code]

    def __getattr__(self, code: str) -> Array:
        if code.startswith("_") or code == "values":  # asked for by copy and pickle, before there are any
            raise AttributeError(code)
        try:
            return self.values[code]
        except KeyError:
            raise AttributeError(f"no figure {code} was measured") from None


@dataclass(frozen=True)
class Facts:
    """All that a policy may look at: figures per window length in days, and circumstances per resource.

    kind: str [r]; off_days: days powered off up to the end of the block, by the samples or the inventory;
    dead_days: days up to the end in which only frozen values came; unattached_days: NaN = attached, or not
    known; age_days; cycle_left: days until a whole cycle of its business was seen, NaN = none is declared.
    """

    kind: Array
    off_days: Array
    dead_days: Array
    unattached_days: Array
    age_days: Array
    cycle_left: Array
    windows: Mapping[int, Figures]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, which: Array) -> Facts:
        """The facts of the resources at these indices (or under this mask)."""
        windows = {
            days: Figures({code: values[which] for code, values in seen.values.items()})
            for days, seen in self.windows.items()
        }
        return Facts(self.kind[which], windows=windows, **{name: getattr(self, name)[which] for name in CIRCUMSTANCES})

    def figure(self, name: str, days: int) -> Array:
        """[r] of one figure over one window, or of a circumstance."""
        return np.asarray(getattr(self, name) if name in CIRCUMSTANCES else self.windows[days][name])

    def row(self, i: int) -> dict[str, Any]:
        """Everything known of resource i as plain JSON: what a finding keeps. Unknown figures are None."""
        return {
            "kind": str(self.kind[i]),
            **{name: plain(name, getattr(self, name)[i]) for name in CIRCUMSTANCES},
            "windows": {
                str(days): {
                    code: plain(code, values[i])
                    for code, values in seen.values.items()
                    if code not in APART or values[i] == values[i]
                }
                for days, seen in self.windows.items()
            },
        }

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Facts:
        """The facts again from what `row` kept, so that a finding can be recomputed. Raises KeyError on other
        rows."""

        def column(values: list[Any]) -> Array:
            return np.array([np.nan if value is None else value for value in values], np.float64)

        return cls(
            np.array([row["kind"] for row in rows], dtype=object),
            **{name: column([row.get(name) for row in rows]) for name in CIRCUMSTANCES},
            windows={
                # A figure that was not yet measured when the row was kept is not known.
                int(days): Figures({code: column([row["windows"][days].get(code) for row in rows]) for code in FIGURES})
                for days in (rows[0]["windows"] if rows else ())
            },
        )


def concat(parts: Sequence[Facts]) -> Facts:
    """Blocks of resources one after another; all measured for the same windows. At least one."""
    windows = {
        days: Figures({code: np.concatenate([part.windows[days][code] for part in parts]) for code in seen.values})
        for days, seen in parts[0].windows.items()
    }
    return Facts(
        np.concatenate([part.kind for part in parts]),
        windows=windows,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in CIRCUMSTANCES},
    )


def measure(
    columns: Mapping[str, Array],
    state: Array,
    *,
    policy: Policy,
    slots_per_day: int = SLOTS,
    kind: Array | None = None,
    line_kbps: Array | None = None,
    expected_from: Array | None = None,
    expected_to: Array | None = None,
    stopped_days: Array | None = None,
    unattached_days: Array | None = None,
    age_days: Array | None = None,
    cycle_left: Array | None = None,
) -> Facts:
    """Facts from exact samples.

    columns: by metric, as the lake has them: uint16 [r, n], hundredths of a per cent, 65535 = missing, or float32
    [r, n], NaN = missing; state: uint8 [r, n] (0 missing, 1 live, 2 off but reporting, 3 frozen).
    n: whole local days, oldest first; windows end at the end of the block. kind: str [r], default all "vm".
    line_kbps: float [r], the bandwidth that was bought, NaN = none. expected_from,
    expected_to: int [r], the slots between which samples were due (default: all). stopped_days,
    unattached_days: float [r] from the inventory, NaN = running, attached or unknown. Raises ValueError where
    shapes do not fit.
    """
    r, n = state.shape
    for name, matrix in columns.items():
        if matrix.shape != (r, n):
            raise ValueError(f"{name} is {matrix.shape}, state is {(r, n)}")
    if n == 0 or n % slots_per_day:
        raise ValueError(f"{n} slots are not whole days of {slots_per_day}")
    starts = np.zeros(r, np.int64) if expected_from is None else np.clip(expected_from, 0, n)
    ends = np.full(r, n, np.int64) if expected_to is None else np.clip(expected_to, 0, n)
    parts = []
    step = max(1, CELLS // n)
    for low in range(0, max(r, 1), step):
        rows = slice(low, low + step)
        block = SampleBlock(
            {name: matrix[rows] for name, matrix in columns.items()},
            state[rows],
            _column(line_kbps, rows, r, np.nan),
        )
        quiet_off, quiet_frozen = _quiet(block.state, policy.frozen_is_live, slots_per_day)
        parts.append(
            Facts(
                _column(kind, rows, r, "vm"),
                quiet_off,
                quiet_frozen,
                _column(unattached_days, rows, r, np.nan),
                _column(age_days, rows, r, np.nan),
                _column(cycle_left, rows, r, np.nan),
                _windows(block, policy, slots_per_day, starts[rows], ends[rows]),
            )
        )
    facts = concat(parts)
    if stopped_days is not None:
        facts = replace(facts, off_days=np.fmax(facts.off_days, stopped_days))
    return facts


def _windows(block: SampleBlock, policy: Policy, slots: int, starts: Array, ends: Array) -> dict[int, Figures]:
    n = block.state.shape[1]
    found = {}
    for days in policy.windows():
        span = min(days * slots, n) if days else n
        begin = n - span
        seen = Exact(
            block,
            span,
            wanted=days * slots or n,
            expected=np.clip(ends - begin, 0, span) - np.clip(starts - begin, 0, span),
            frozen_is_live=policy.frozen_is_live,
            slots=slots,
            hot=Hot(policy.hot_level, policy.hot_minutes),
        )
        dear = seen if costly(policy.figures(days)) else seen.blind()
        found[days] = Figures({code: of(dear if row.costly else seen) for code, row, of in _measured()})
    return found


def _measured() -> list[tuple[str, Figure, Callable[[SeenWindow], Array]]]:
    return [(code, row, row.of) for code, row in FIGURES.items() if row.of is not None]


def _column(values: Array | None, block: slice, r: int, default: Any) -> Array:
    if values is None:
        values = np.full(r, default, dtype=object if isinstance(default, str) else np.float64)
    return np.asarray(values)[block]


def _quiet(state: Array, frozen_is_live: bool, slots_per_day: int) -> tuple[Array, Array]:
    """Days since the last live slot, if nine tenths of the slots since then said "off", and if half said
    "frozen"."""
    n = state.shape[1]
    live = (state == LIVE) | (frozen_is_live & (state == FROZEN))
    since = np.where(live.any(axis=1), np.argmax(live[:, ::-1], axis=1), n)
    after = np.arange(n) >= (n - since)[:, None]
    off = ((state == OFF) & after).sum(axis=1)
    frozen = ((state == FROZEN) & after).sum(axis=1)
    return _quiet_days(since, off, frozen, slots_per_day)


def _quiet_days(since: Array, off: Array, frozen: Array, slots_per_day: int) -> tuple[Array, Array]:
    days: Array = since / slots_per_day
    return (
        np.where((since > 0) & (off >= 0.9 * since), days, 0.0),
        np.where((since > 0) & (frozen >= 0.5 * since), days, 0.0),
    )


def measure_daily(
    uses: Mapping[str, DailyUse],
    live: Array,
    off: Array,
    frozen: Array,
    *,
    policy: Policy,
    slots_per_day: int = SLOTS,
    kind: Array | None = None,
    expected: Array | None = None,
    stopped_days: Array | None = None,
    unattached_days: Array | None = None,
    age_days: Array | None = None,
    cycle_left: Array | None = None,
) -> Facts:
    """The same facts from daily rollups: means, maxima, hot days and coverage exactly, quantiles within half
    a point.

    uses: by metric (TRAFFIC: both ways); live, off, frozen: int [r, d] slots of the day by state; expected: int [r,
    d], slots due (default: all). Frozen slots are in no histogram, so the policy may not count them as live:
    ValueError. Days powered off or dead are counted in whole days.
    """
    if policy.frozen_is_live:
        raise ValueError(f"policy {policy.name} counts frozen samples as live; daily rollups hold none")
    r, d = live.shape
    for name, use in uses.items():
        for part in (use.counts, use.total, use.peak, use.n, use.last):
            if part is not None and part.shape[:2] != (r, d):
                raise ValueError(f"{name} is {part.shape[:2]}, states are {(r, d)}")
    if d == 0:
        raise ValueError("no days at all")
    due = np.full((r, d), slots_per_day) if expected is None else expected
    rollups = Rollups(uses, live, off, frozen, due)
    hot = Hot(policy.hot_level, policy.hot_minutes)
    windows = {}
    for days in policy.windows():
        wanted = (days or d) * slots_per_day
        seen = Daily(rollups, min(days, d) if days else d, wanted=wanted, slots=slots_per_day, hot=hot)
        windows[days] = Figures({code: of(seen) for code, _row, of in _measured()})
    since = np.where((live > 0).any(axis=1), np.argmax(live[:, ::-1] > 0, axis=1), d)
    after = np.arange(d) >= (d - since)[:, None]
    quiet_off, quiet_frozen = _quiet_days(
        since * slots_per_day, (off * after).sum(axis=1), (frozen * after).sum(axis=1), slots_per_day
    )
    if stopped_days is not None:
        quiet_off = np.fmax(quiet_off, stopped_days)
    whole = slice(0, r)
    return Facts(
        _column(kind, whole, r, "vm"),
        quiet_off,
        quiet_frozen,
        _column(unattached_days, whole, r, np.nan),
        _column(age_days, whole, r, np.nan),
        _column(cycle_left, whole, r, np.nan),
        windows,
    )
