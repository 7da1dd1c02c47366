"""One task of an assessment: a block of resources from the lake's files to facts. Done by whichever engine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metering.judging import facts
from metering.judging.engines import BlockSurvey, BlockTask
from metering.judging.facts import Facts
from metering.judging.figures import needed
from metering.lake import BLOCK, ClosedDays, nothing


def tasks(ids: NDArray[np.int32], about: dict[str, NDArray[np.generic]]) -> list[BlockTask]:
    """The resources `ids` (sorted), cut where the lake's files are cut; about: by name, aligned with `ids`."""
    cuts = np.flatnonzero(np.diff(ids // BLOCK)) + 1
    bounds = [0, *cuts.tolist(), len(ids)]
    return [
        BlockTask(ids[first:end], {name: column[first:end] for name, column in about.items()})
        for first, end in pairwise(bounds)
        if first < end
    ]


def measure(shelf: ClosedDays, survey: BlockSurvey, task: BlockTask) -> Facts:
    """Facts of the task's resources, in its order, from exact samples; those without a sample are silent, not left
    out."""
    days = (survey.last - survey.first).days + 1
    shape = (len(task.ids), days * shelf.slots)
    state = np.zeros(shape, np.uint8)
    columns: dict[str, NDArray[np.generic]] = {}
    kinds = frozenset(task.about["kind"].astype(str)) if "kind" in task.about else frozenset()
    for window in shelf.windows(task.ids, survey.first, survey.last, needed(kinds)):
        if len(window.resources) == len(task.ids):
            columns, state = dict(window.values), window.state
            continue
        rows = np.searchsorted(task.ids, window.resources)
        state[rows] = window.state
        for name, column in window.values.items():
            if name not in columns:
                columns[name] = np.full(shape, nothing(name), column.dtype)
            columns[name][rows] = column
    assert survey.policy is not None  # noqa: S101
    return facts.measure(columns, state, policy=survey.policy, slots_per_day=shelf.slots, **task.about)
