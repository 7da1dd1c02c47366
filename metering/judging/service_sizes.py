"""Sizes of what is no machine: lines by their traffic, volumes, stores, databases and middleware by what is stored, sets of cards by how
busy these are.

The smallest step of the catalogue that keeps the P95 of the traffic (what is stored now, the cards' mean of the week) at or under 70 % of
it. Storage shrinks only where the pool's cloud gives storage back when it is resized, as its release map says; else it only
grows. Cards only grow: how many a model needs to fit is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metering.filling import FULL
from metering.judging.assess import Findings
from metering.judging.policy import GROWS, Verdict
from metering.workbench import Workbench
from providers.base import ProviderFault, ServiceKind, Verb
from providers.metrics import LIVE
from quota.directory import CatalogItem, Pool
from quota.errors import Refused
from quota.inventory import Resource
from quota.units import ACCELERATOR, BANDWIDTH, BLOCK, OBJECT, Amount, Arch, ClassCode

if TYPE_CHECKING:
    from metering.judging.span import Window

CEILING = 70.0
YOUNG_DAYS = 7
COVERED = 0.9
KEPT = frozenset({Verdict.UNKNOWN, Verdict.DEAD, Verdict.UNJUDGED})

SIZED: Mapping[str, ClassCode] = {
    ServiceKind.BANDWIDTH.value: BANDWIDTH,
    ServiceKind.VOLUME.value: BLOCK,
    ServiceKind.OBJECT_STORE.value: OBJECT,
    ServiceKind.DATABASE.value: BLOCK,
    ServiceKind.MIDDLEWARE.value: BLOCK,
    ServiceKind.VM.value: BLOCK,
    ServiceKind.ACCELERATOR.value: ACCELERATOR,
}
"""Service → what of it is sized here."""

FILLED = frozenset({"disk_last", "disk_full_days"})
"""Figures by which storage alone is short."""

OF_ONE = frozenset(
    {
        ServiceKind.BANDWIDTH.value,
        ServiceKind.VOLUME.value,
        ServiceKind.OBJECT_STORE.value,
        ServiceKind.ACCELERATOR.value,
    }
)
"""What has one dimension alone: called busy, it is that dimension that is short."""

Frees = Callable[[int], Collection[ClassCode]]
"""Pool id → the kinds that its cloud gives back when a resource is resized."""


@dataclass(frozen=True, slots=True)
class ServiceAdvice:
    """Another size in base units, and what it follows from: {"figure", "value" (% now), "after" (% of the target)}."""

    target: Amount
    basis: Mapping[str, Any]


def advise(
    workbench: Workbench,
    span: Window,
    resources: Sequence[Resource],
    found: Findings,
    items: Sequence[CatalogItem],
    frees: Frees,
) -> dict[int, ServiceAdvice]:
    """Resource id → the step that fits it, where it is another than the present one."""
    rows = {
        one.id: i
        for i, one in enumerate(resources)
        if one.kind in SIZED and one.actual().get(SIZED[one.kind], 0) and found[i] not in KEPT
    }
    lines = {one: i for one, i in rows.items() if resources[i].kind == ServiceKind.BANDWIDTH}
    used: dict[int, tuple[str, float]] = _traffic(workbench, span, lines, resources, found)
    week, month = (found.facts.windows[pick(found.facts.windows)] for pick in (min, max))
    for one, i in rows.items():
        stored, busy = float(month.disk_last[i]), float(week.card_mean[i])
        if SIZED[resources[i].kind] == ACCELERATOR:
            if found[i] in GROWS and busy == busy:
                used[one] = "card_mean", busy
        elif one not in lines and stored == stored:
            used[one] = "disk_last", stored
    told: dict[int, ServiceAdvice] = {}
    for one, (figure, share) in used.items():
        i, now = rows[one], share
        resource, kind = resources[i], SIZED[resources[i].kind]
        has = resource.actual()[kind]
        steps = steps_of(items, resource.kind, kind, Arch(resource.arch))
        if found[i] in GROWS:
            # What will be full is sized for when it is: what it holds now may have room in it.
            share = max(share, FULL) if figure in FILLED and _fills(found, i) else share
            target = _larger(steps, has, share, alone=resource.kind in OF_ONE)
        else:
            target = _smaller(steps, has, share)
            # Nobody shrinks the file system under a running machine, nor what was hardly seen yet.
            if resource.kind == ServiceKind.VM or month.observed_days[i] < YOUNG_DAYS:
                target = None
            if target is not None and kind not in frees(resource.pool_id):
                target = None
        if target is not None:
            basis = {"figure": figure, "value": round(now, 4), "after": round(now * has / target, 4)}
            told[one] = ServiceAdvice(Amount({kind: target}), basis)
    return told


def steps_of(items: Iterable[CatalogItem], service: str, kind: ClassCode, arch: Arch) -> list[int]:
    """The sizes that the catalogue offers, smallest first: the service's own, for storage else those of volumes."""
    own = {item.takes().get(kind, 0) for item in items if item.service == service and item.offered_on(arch)} - {0}
    if kind == BLOCK and (service == ServiceKind.VM.value or not own):
        own = {
            item.takes().get(kind, 0)
            for item in items
            if item.service == ServiceKind.VOLUME.value and item.offered_on(arch)
        } - {0}
    return sorted(own)


def on_offer(items: Iterable[CatalogItem], resource: Resource, figures: Collection[str]) -> bool:
    """Whether the catalogue has a larger one of what ``resource`` is: a larger disk where these ``figures``, for which it was called busy,
    are of its disk alone. Where it has, and none is advised, it is not for want of one."""
    has, arch = resource.actual(), Arch(resource.arch)
    if figures and FILLED.issuperset(figures) and resource.kind in SIZED:
        kind = SIZED[resource.kind]
        return any(step > has.get(kind, 0) for step in steps_of(items, resource.kind, kind, arch))
    for item in items:
        if item.service == resource.kind and item.offered_on(arch):
            takes = {kind: much for kind, much in item.takes().items() if has.get(kind, 0)}
            if any(much > has[kind] for kind, much in takes.items()) and all(
                much >= has[kind] for kind, much in takes.items()
            ):
                return True
    return False


def only_storage(found: Findings, i: int) -> bool:
    """Whether nothing but a disk that is or will be full makes resource i grow: more cores would not help it."""
    reasons = found.reasons(i) if found[i] in GROWS else ()
    return bool(reasons) and all(one.figure in FILLED for one in reasons)


def _fills(found: Findings, i: int) -> bool:
    """Whether resource i grows because its disk will be full."""
    return any(one.figure == "disk_full_days" for one in found.reasons(i))


def frees_of(workbench: Workbench, pools: Iterable[Pool]) -> Frees:
    """By the adapters' release maps; a pool whose adapter can't be opened gives nothing back, as far as is known."""
    by_id = {one.id: one for one in pools}
    known: dict[int, Collection[ClassCode]] = {}

    def frees(pool_id: int) -> Collection[ClassCode]:
        if pool_id not in known:
            try:
                known[pool_id] = workbench.provider(by_id[pool_id]).releases.get(Verb.RESIZE, frozenset())
            except (Refused, ProviderFault, KeyError):
                known[pool_id] = frozenset()
        return known[pool_id]

    return frees


def _traffic(
    workbench: Workbench, span: Window, lines: Mapping[int, int], resources: Sequence[Resource], found: Findings
) -> dict[int, tuple[str, float]]:
    """Line → P95 of its traffic both ways, % of what was bought: of the last week where it is to grow, else of all the
    window; only where nine tenths of that were seen."""
    told: dict[int, tuple[str, float]] = {}
    if not lines:
        return told
    week = min(found.facts.windows) or span.days
    metrics = ("net_rx_kbps", "net_tx_kbps")
    for block in workbench.lake.windows(np.array(sorted(lines), np.int32), span.first, span.last, metrics):
        rx, tx = (block.values[name] for name in metrics)
        known = (block.state == LIVE) & (np.isfinite(rx) | np.isfinite(tx))
        both: NDArray[np.float64] = np.where(known, np.nan_to_num(rx) + np.nan_to_num(tx), np.nan).astype(np.float64)
        for at, one in enumerate(block.resources):
            i = lines[int(one)]
            slots = week * workbench.lake.slots if found[i] in GROWS else both.shape[1]
            seen = both[at, -slots:]
            seen = seen[np.isfinite(seen)]
            if len(seen) >= COVERED * slots:
                bought = 1000.0 * resources[i].actual()[BANDWIDTH]
                told[int(one)] = "line_p95", float(np.quantile(seen, 0.95)) / bought * 100
    return told


def _larger(steps: Sequence[int], has: int, share: float, *, alone: bool) -> int | None:
    need = has * share / CEILING
    above = [step for step in steps if step > has]
    if not above or (need <= has and not alone):
        return None
    return next((step for step in above if step >= need), above[-1])


def _smaller(steps: Sequence[int], has: int, share: float) -> int | None:
    """Never under what is used and its headroom."""
    need = has * share / CEILING
    return next((step for step in steps if need <= step < has), None)
