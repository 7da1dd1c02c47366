"""What was seen of a block of resources: from exact samples (`measure`) or daily histograms
(`measure_daily`).

Pure and vectorised; a policy says which windows and figures are wanted. Percentages are floats 0..100 (and
above: bursts), shares 0..1, network in kbit/s. r = resources, n = slots, d = days.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metering import quantiles
from metering.judging.figures import MISSING, Array, Facts, Figures, concat
from metering.quantiles import STARVED

if TYPE_CHECKING:
    from metering.judging.policy import Policy


LIVE, OFF, FROZEN = 1, 2, 3  # states of a slot; 0 = nothing arrived
QUANTILES = (0.50, 0.95, 0.99)
CELLS = 4_000_000  # resources x slots handled at once: bounds the temporaries to some 100 MB


def demanded(cpu: NDArray[np.uint16], steal: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """What machines wanted of their CPUs, hundredths of a per cent: what they used, and what was wanted and not given.
    A machine that gets half of what it asks for is not half idle."""
    both = (cpu != MISSING) & (steal != MISSING) & (steal > 0)
    if not both.any():
        return cpu
    total = np.minimum(cpu.astype(np.uint32) + steal, MISSING - 1)
    return np.where(both, total, cpu).astype(np.uint16)


def measure(
    cpu: Array,
    mem: Array | None,
    state: Array,
    net: Array | None = None,
    disk: Array | None = None,
    card: Array | None = None,
    conn: Array | None = None,
    steal: Array | None = None,
    *,
    policy: Policy,
    slots_per_day: int = 288,
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

    cpu, mem, disk, card, steal: uint16 [r, n], hundredths of a per cent, 65535 = missing; state: uint8 [r, n] (0
    missing, 1 live, 2 off but reporting, 3 frozen); net, conn: float32 [r, n] kbit/s and connections, NaN = missing.
    n: whole local days, oldest first; windows end at the end of the block. kind: str [r], default all "vm".
    line_kbps: float [r], the bandwidth that was bought, NaN = none. expected_from,
    expected_to: int [r], the slots between which samples were due (default: all). stopped_days,
    unattached_days: float [r] from the inventory, NaN = running, attached or unknown. Raises ValueError where
    shapes do not fit.
    """
    r, n = cpu.shape
    for name, matrix in (("mem", mem), ("state", state), ("net", net), ("disk", disk), ("card", card), ("conn", conn),
                         ("steal", steal)):  # fmt: skip
        if matrix is not None and matrix.shape != (r, n):
            raise ValueError(f"{name} is {matrix.shape}, cpu is {(r, n)}")
    if n == 0 or n % slots_per_day:
        raise ValueError(f"{n} slots are not whole days of {slots_per_day}")
    if steal is not None:
        cpu = demanded(cpu, steal)
    starts = np.zeros(r, np.int64) if expected_from is None else np.clip(expected_from, 0, n)
    ends = np.full(r, n, np.int64) if expected_to is None else np.clip(expected_to, 0, n)
    spans = {days: min(days * slots_per_day, n) if days else n for days in policy.windows()}
    parts = []
    step = max(1, CELLS // n)
    for low in range(0, max(r, 1), step):
        block = slice(low, low + step)
        quiet_off, quiet_frozen = _quiet(state[block], policy.frozen_is_live, slots_per_day)
        windows = {}
        for days, span in spans.items():
            last = (block, slice(n - span, n))
            windows[days] = _figures(
                cpu[last],
                None if mem is None else mem[last],
                state[last],
                None if net is None else net[last],
                None if disk is None else disk[last],
                None if card is None else card[last],
                None if conn is None else conn[last],
                None if steal is None else steal[last],
                _column(line_kbps, block, r, np.nan),
                policy,
                slots_per_day,
                days * slots_per_day or n,
                np.clip(ends[block] - (n - span), 0, span) - np.clip(starts[block] - (n - span), 0, span),
                policy.figures(days),
            )
        parts.append(
            Facts(
                _column(kind, block, r, "vm"),
                quiet_off,
                quiet_frozen,
                _column(unattached_days, block, r, np.nan),
                _column(age_days, block, r, np.nan),
                _column(cycle_left, block, r, np.nan),
                windows,
            )
        )
    facts = concat(parts)
    if stopped_days is not None:
        facts = replace(facts, off_days=np.fmax(facts.off_days, stopped_days))
    return facts


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


def _share(part: Array, whole: Array) -> Array:
    ratio: Array = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=ratio, where=np.asarray(whole) > 0)


def _figures(
    cpu: Array,
    mem: Array | None,
    state: Array,
    net: Array | None,
    disk: Array | None,
    card: Array | None,
    conn: Array | None,
    steal: Array | None,
    line_kbps: Array,
    policy: Policy,
    slots_per_day: int,
    wanted_slots: int,
    expected: Array,
    needed: frozenset[str],
) -> Figures:
    r = len(state)
    nan = np.full(r, np.nan)
    live = (state == LIVE) | (policy.frozen_is_live & (state == FROZEN))
    n_live = live.sum(axis=1)
    sampled = any(name.startswith(("cpu", "daily", "mem", "hot")) for name in needed)
    usage = _usage(cpu if sampled else None, live, policy, slots_per_day)
    memory = _usage(mem if sampled else None, live, policy, slots_per_day)
    net_known = live & np.isfinite(net) if net is not None else None
    card_known = live & (card != MISSING) if card is not None else None
    conn_known = live & np.isfinite(conn) if conn is not None else None
    steal_known = live & (steal != MISSING) if steal is not None else np.zeros_like(live)
    stolen = np.where(steal_known, 0 if steal is None else steal, 0)
    n_steal = steal_known.sum(axis=1)
    line_mean, line_peak = _line(net, net_known, line_kbps, slots_per_day)
    return Figures(
        wanted=np.full(r, wanted_slots),
        expected=expected,
        live=n_live,
        off=(state == OFF).sum(axis=1),
        frozen=(state == FROZEN).sum(axis=1),
        observed_days=live.reshape(r, live.shape[1] // slots_per_day, slots_per_day).any(axis=2).sum(axis=1),
        coverage=n_live / wanted_slots,
        received=_share(n_live, expected),
        cpu_coverage=usage["n"] / wanted_slots,
        cpu_mean=usage["mean"],
        cpu_p50=usage["p50"],
        cpu_p95=usage["p95"],
        cpu_p99=usage["p99"],
        cpu_max=usage["max"],
        daily_peak=usage["daily_peak"],
        cpu_hot_days=usage["hot"].sum(axis=1),
        mem_coverage=memory["n"] / wanted_slots,
        mem_mean=memory["mean"],
        mem_p95=memory["p95"],
        mem_max=memory["max"],
        mem_hot_days=memory["hot"].sum(axis=1),
        hot_days=(usage["hot"] | memory["hot"]).sum(axis=1),
        net_coverage=np.zeros(r) if net_known is None else net_known.sum(axis=1) / wanted_slots,
        net_mean=nan
        if net is None or net_known is None
        else _share(np.where(net_known, net, 0).sum(axis=1, dtype=np.float64), net_known.sum(axis=1)),
        disk_last=nan if disk is None else _latest(disk, live),
        card_coverage=np.zeros(r) if card_known is None else card_known.sum(axis=1) / wanted_slots,
        card_mean=nan
        if card is None or card_known is None
        else _share(np.where(card_known, card, 0).sum(axis=1, dtype=np.float64), card_known.sum(axis=1) * 100.0),
        line_mean=line_mean,
        line_peak=line_peak,
        conn_coverage=np.zeros(r) if conn_known is None else conn_known.sum(axis=1) / wanted_slots,
        conn_max=nan
        if conn is None or conn_known is None
        else np.where(conn_known.any(axis=1), np.where(conn_known, conn, 0).max(axis=1), np.nan),
        steal_coverage=n_steal / wanted_slots,
        steal_mean=_share(stolen.sum(axis=1, dtype=np.int64), n_steal * 100.0),
        starved=_share((stolen >= STARVED).sum(axis=1), n_steal),
    )


def _line(net: Array | None, known: Array | None, bought: Array, slots_per_day: int) -> tuple[Array, Array]:
    """Mean and mean daily maximum of the traffic, % of what was bought [r]; NaN = nothing bought, or nothing known."""
    mean, peak = np.full(len(bought), np.nan), np.full(len(bought), np.nan)
    rows = np.flatnonzero(bought > 0)
    if net is None or known is None or not len(rows):
        return mean, peak
    seen = known[rows]
    share = np.where(seen, net[rows], 0).astype(np.float64) * 100.0 / bought[rows, None]
    daily = seen.reshape(len(rows), -1, slots_per_day).any(axis=2)
    tops = share.reshape(len(rows), -1, slots_per_day).max(axis=2)
    mean[rows] = _share(share.sum(axis=1), seen.sum(axis=1))
    peak[rows] = _share(tops.sum(axis=1), daily.sum(axis=1))
    return mean, peak


def _usage(values: Array | None, live: Array, policy: Policy, slots_per_day: int) -> dict[str, Array]:
    """Mean, quantiles, maximum, mean daily peak and hot days of one utilisation over a window."""
    r, span = live.shape
    days = span // slots_per_day
    if values is None:
        nan = np.full(r, np.nan)
        return {
            "n": np.zeros(r),
            "mean": nan,
            "p50": nan,
            "p95": nan,
            "p99": nan,
            "max": nan,
            "daily_peak": nan,
            "hot": np.zeros((r, days), bool),
        }
    valid = live & (values != MISSING)
    kept = np.where(valid, values, 0)
    n = valid.sum(axis=1)
    quantile = np.asarray(quantiles.exact(values, QUANTILES, valid))
    peaks = kept.reshape(r, days, slots_per_day).max(axis=2)
    seen = valid.reshape(r, days, slots_per_day).any(axis=2)
    hot_slots = (kept >= round(policy.hot_level * 100)).reshape(r, days, slots_per_day).sum(axis=2)
    return {
        "n": n,
        "mean": _share(kept.sum(axis=1, dtype=np.int64), n * 100.0),
        "p50": quantile[:, 0],
        "p95": quantile[:, 1],
        "p99": quantile[:, 2],
        "max": np.where(n > 0, peaks.max(axis=1) / 100.0, np.nan),
        "daily_peak": _share(peaks.sum(axis=1, dtype=np.int64), seen.sum(axis=1) * 100.0),
        "hot": hot_slots * (1440 / slots_per_day) >= policy.hot_minutes,
    }


def _latest(values: Array, live: Array) -> Array:
    known = live & (values != MISSING)
    last = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), values[np.arange(len(values)), last] / 100.0, np.nan)


@dataclass(frozen=True)
class DailyUse:
    """One utilisation by resource and day: counts [r, d, 201] in half-point bins (the last: 100 % and above),
    total and peak [r, d] in per cent (sum and maximum of the day's samples; 0 where there was none)."""

    counts: Array
    total: Array
    peak: Array


def measure_daily(
    cpu: DailyUse,
    mem: DailyUse | None,
    live: Array,
    off: Array,
    frozen: Array,
    net_mean: Array | None = None,
    disk_last: Array | None = None,
    card: DailyUse | None = None,
    *,
    policy: Policy,
    slots_per_day: int = 288,
    kind: Array | None = None,
    expected: Array | None = None,
    stopped_days: Array | None = None,
    unattached_days: Array | None = None,
    age_days: Array | None = None,
    cycle_left: Array | None = None,
) -> Facts:
    """The same facts from daily rollups: means, maxima, hot days and coverage exactly, quantiles within half
    a point.

    live, off, frozen: int [r, d] slots of the day by state; net_mean: [r, d] kbit/s, NaN = none, each day
    weighing as many samples as it has live slots; disk_last: [r, d] per cent, NaN = none; expected: int [r,
    d], slots due (default: all). Frozen slots are in no histogram, so the policy may not count them as live:
    ValueError. Days powered off or dead are counted in whole days.
    """
    if policy.frozen_is_live:
        raise ValueError(f"policy {policy.name} counts frozen samples as live; daily rollups hold none")
    r, d = live.shape
    if d == 0 or cpu.counts.shape[:2] != (r, d):
        raise ValueError(f"histograms are {cpu.counts.shape}, states are {(r, d)}")
    hot_bin = round(policy.hot_level * 2)
    hot_slots = policy.hot_minutes * slots_per_day / 1440
    spans = {days: min(days, d) if days else d for days in policy.windows()}
    due = np.full((r, d), slots_per_day) if expected is None else expected
    nothing = DailyUse(np.zeros((r, d, 1), np.uint8), np.zeros((r, d)), np.zeros((r, d)))
    windows = {}
    for days, span in spans.items():
        last = slice(d - span, d)
        wanted = (days or d) * slots_per_day
        n_live = live[:, last].sum(axis=1)
        usage, memory, cards = (
            _daily_usage(each if each is not None else nothing, last, hot_bin, hot_slots) for each in (cpu, mem, card)
        )
        weight = np.zeros((r, span)) if net_mean is None else np.where(np.isfinite(net_mean[:, last]), live[:, last], 0)
        traffic = np.zeros(r) if net_mean is None else (weight * np.nan_to_num(net_mean[:, last])).sum(axis=1)
        windows[days] = Figures(
            wanted=np.full(r, wanted),
            expected=due[:, last].sum(axis=1),
            live=n_live,
            off=off[:, last].sum(axis=1),
            frozen=frozen[:, last].sum(axis=1),
            observed_days=(live[:, last] > 0).sum(axis=1),
            coverage=n_live / wanted,
            received=_share(n_live, due[:, last].sum(axis=1)),
            cpu_coverage=usage["n"] / wanted,
            cpu_mean=usage["mean"],
            cpu_p50=usage["p50"],
            cpu_p95=usage["p95"],
            cpu_p99=usage["p99"],
            cpu_max=usage["max"],
            daily_peak=usage["daily_peak"],
            cpu_hot_days=usage["hot"].sum(axis=1),
            mem_coverage=memory["n"] / wanted,
            mem_mean=memory["mean"],
            mem_p95=memory["p95"],
            mem_max=memory["max"],
            mem_hot_days=memory["hot"].sum(axis=1),
            hot_days=(usage["hot"] | memory["hot"]).sum(axis=1),
            net_coverage=weight.sum(axis=1) / wanted,
            net_mean=_share(traffic, weight.sum(axis=1)),
            disk_last=np.full(r, np.nan) if disk_last is None else _latest_day(disk_last[:, last]),
            card_coverage=cards["n"] / wanted,
            card_mean=cards["mean"],
            line_mean=np.full(r, np.nan),
            line_peak=np.full(r, np.nan),
            conn_coverage=np.zeros(r),
            conn_max=np.full(r, np.nan),
            steal_coverage=np.zeros(r),
            steal_mean=np.full(r, np.nan),
            starved=np.full(r, np.nan),
        )
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


def _daily_usage(use: DailyUse, last: slice, hot_bin: int, hot_slots: float) -> dict[str, Array]:
    counts, total, peak = use.counts[:, last], use.total[:, last], use.peak[:, last]
    by_day = counts.sum(axis=2, dtype=np.int64)
    n = by_day.sum(axis=1)
    top = peak.max(axis=1)
    if counts.shape[2] == 1:  # not reported by anybody
        quantile = np.full((len(n), len(QUANTILES)), np.nan)
    else:
        quantile = np.asarray(quantiles.from_histogram(counts.sum(axis=1, dtype=np.int64), QUANTILES, top))
    return {
        "n": n,
        "mean": _share(total.sum(axis=1), n),
        "p50": quantile[:, 0],
        "p95": quantile[:, 1],
        "p99": quantile[:, 2],
        "max": np.where(n > 0, top, np.nan),
        "daily_peak": _share(np.where(by_day > 0, peak, 0.0).sum(axis=1), (by_day > 0).sum(axis=1)),
        "hot": counts[:, :, hot_bin:].sum(axis=2) >= hot_slots,
    }


def _latest_day(values: Array) -> Array:
    known = np.isfinite(values)
    last = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), values[np.arange(len(values)), last], np.nan)
