"""How risky, how strained, how crowded: figures by which cases are ranked and watched. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metering.judging import CaseKind, Procedure
from providers.base import ServiceKind
from quota.errors import N_
from quota.units import ACCELERATOR, BANDWIDTH, BLOCK, MEMORY, OBJECT, VCPU, Amount, ClassCode


def backoff(procedure: Procedure, setbacks: int) -> int:
    """Days for which a resource is left alone after its ``setbacks``-th setback in a row: 30, 60, 120 … 360."""
    return int(min(procedure.backoff_days * 2 ** max(setbacks - 1, 0), procedure.backoff_limit_days))


def risk(
    kind: CaseKind,
    numbers: Mapping[str, Any],
    coverage: float | None,
    mlps_level: int | None,
    setbacks: int,
    left: float,
) -> float:
    """How likely acting on it is to hurt, 0 to 1; our own default, for ranking alone, never a ground to act.

    What cannot be undone weighs most; then how near the use is to what would forbid it, what is not known of it, the
    protection level of its system, and that we were wrong about it before. ``left``: the share of the capacity that
    stays (0 for a reclaim, above 1 for an expansion).
    """
    if kind is CaseKind.EXPAND:
        return 0.0
    months = numbers.get("windows", {})
    peak = next(
        (
            float(months[days]["cpu_max"])
            for days in sorted(months, key=int, reverse=True)
            if months[days].get("cpu_max")
        ),
        None,
    )
    ceiling = 100.0 * left if left > 0 else 20.0
    near = 0.5 if peak is None else min(peak / ceiling, 1.0)
    figure = (
        (0.3 if kind is CaseKind.RECLAIM else 0.1)
        + 0.3 * near
        + 0.2 * min((1.0 - (coverage or 0.0)) / 0.1, 1.0)
        + 0.1 * (min(mlps_level or 0, 4) / 4)
        + 0.1 * min(setbacks, 1)
    )
    return round(min(figure, 1.0), 2)


RISK_LABELS = ((0.6, N_("高")), (0.35, N_("中")), (0.0, N_("低")))


def risk_label(figure: float) -> str:
    """The word for a risk."""
    return next(label for least, label in RISK_LABELS if figure >= least)


STRAIN_OF: Mapping[str, tuple[str, ...]] = {
    ServiceKind.BANDWIDTH.value: ("line_peak",),
    ServiceKind.VOLUME.value: ("disk_last",),
    ServiceKind.OBJECT_STORE.value: ("disk_last",),
    ServiceKind.DATABASE.value: ("cpu_p95", "disk_last"),
    ServiceKind.MIDDLEWARE.value: ("cpu_p95", "disk_last"),
}
"""What shows that a service was made too small; of machines the CPU P95 does."""


def strain(numbers: Mapping[str, Any], days: int) -> float | None:
    """CPU P95, or what else shows strain in such a resource (%), over the longest window of a finding's figures of at
    most ``days`` days; None where unknown."""
    fitting = [int(each) for each in numbers.get("windows", {}) if 0 < int(each) <= days]
    if not fitting:
        return None
    window = numbers["windows"][str(max(fitting))]
    shown = [window.get(name) for name in STRAIN_OF.get(str(numbers.get("kind")), ("cpu_p95",))]
    return max((float(one) for one in shown if one is not None), default=None)


FULL_OF: Mapping[ClassCode, str] = {
    VCPU: "cpu_p95",
    MEMORY: "mem_p95",
    BANDWIDTH: "line_peak",
    BLOCK: "disk_last",
    OBJECT: "disk_last",
    ACCELERATOR: "card_mean",
}
"""What shows how full that much of a kind is."""


def crowded(numbers: Mapping[str, Any], shape: Amount, has: Amount) -> float | None:
    """How full (%) a resource that ``has`` so much would be in ``shape``, by the P95 of the shortest window of a
    finding's figures: the fullest of what is known of it; None where nothing is. What it used at another size counts as a share of the
    present one."""
    windows = numbers.get("windows", {})
    if not windows:
        return None
    shown = {**windows[min(windows, key=int)], **numbers.get("of_present", {})}
    found = [
        float(shown[name]) * has[kind] / shape[kind]
        for kind, name in FULL_OF.items()
        if shown.get(name) is not None
        and shape.get(kind)
        and has.get(kind)
        # A full disk that keeps its size is no reason to keep the cores.
        and (kind in (VCPU, MEMORY) or has[kind] != shape[kind])
    ]
    return max(found, default=None)
