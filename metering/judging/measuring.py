"""One task of an assessment: a block of resources from the lake's files to facts. Done by whichever engine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metering.judging import facts
from metering.judging.engines import Survey, Task
from metering.judging.figures import MISSING, Facts
from metering.lake import BLOCK, Shelf

METRICS = ("cpu_pct", "mem_pct", "net_rx_kbps", "net_tx_kbps", "disk_pct", "card_pct", "steal_pct")
CONNECTED = ("database", "middleware")
"""Kinds whose connections are looked at."""


def tasks(ids: NDArray[np.int32], about: dict[str, NDArray[np.generic]]) -> list[Task]:
    """The resources `ids` (sorted), cut where the lake's files are cut; about: by name, aligned with `ids`."""
    cuts = np.flatnonzero(np.diff(ids // BLOCK)) + 1
    bounds = [0, *cuts.tolist(), len(ids)]
    return [
        Task(ids[first:end], {name: column[first:end] for name, column in about.items()})
        for first, end in pairwise(bounds)
        if first < end
    ]


def measure(shelf: Shelf, survey: Survey, task: Task) -> Facts:
    """Facts of the task's resources, in its order, from exact samples; those without a sample are silent, not left
    out."""
    days = (survey.last - survey.first).days + 1
    r, n = len(task.ids), days * shelf.slots
    state = np.zeros((r, n), np.uint8)
    columns: dict[str, NDArray[np.generic] | None] = dict.fromkeys(
        ("cpu", "mem", "net", "disk", "card", "conn", "steal")
    )
    columns["cpu"] = np.full((r, n), MISSING, np.uint16)
    connected = bool(np.isin(task.about["kind"].astype(str), CONNECTED).any()) if "kind" in task.about else False
    metrics = (*METRICS, "connections") if connected else METRICS
    for window in shelf.windows(task.ids, survey.first, survey.last, metrics):
        values = {
            "cpu": window.values["cpu_pct"],
            "mem": window.values["mem_pct"],
            "net": _both(window.values["net_rx_kbps"], window.values["net_tx_kbps"]),
            "disk": window.values["disk_pct"],
            "card": window.values["card_pct"],
            "steal": window.values["steal_pct"],
        }
        if connected:
            values["conn"] = window.values["connections"]
        if len(window.resources) == r:
            columns, state = {**columns, **values}, window.state
            continue
        rows = np.searchsorted(task.ids, window.resources)
        state[rows] = window.state
        for name, column in values.items():
            whole = columns[name]
            if whole is None:
                whole = np.full((r, n), np.nan if name in ("net", "conn") else MISSING, column.dtype)
            whole[rows] = column
            columns[name] = whole
    assert survey.policy is not None  # noqa: S101
    return facts.measure(
        **columns,  # type: ignore[arg-type]
        state=state,
        policy=survey.policy,
        slots_per_day=shelf.slots,
        **task.about,
    )


def _both(rx: NDArray[np.float32], tx: NDArray[np.float32]) -> NDArray[np.float32]:
    """Traffic both ways; unknown only where neither way is known."""
    known = np.isfinite(rx) | np.isfinite(tx)
    return np.where(known, np.nan_to_num(rx) + np.nan_to_num(tx), np.nan).astype(np.float32)
