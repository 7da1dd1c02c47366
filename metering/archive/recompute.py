"""A finding made again from the lake, by the policy version that it names, and held against what was written down.

Figures are measured anew from the samples of the finding's own window. What the inventory knew then (since when it had
been off or unattached, how old it was, what was left of a business cycle) is taken as the finding kept it: the
inventory has moved on. A difference is a finding of its own: samples that came late, or a lake that is not what it was.
Where the lake no longer holds the window's samples nothing can be made again, and that is said instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from metering.archive import archives
from metering.judging import CIRCUMSTANCES, Assessment, Facts, Finding, Window, assess, findings, pipeline, plain
from metering.workbench import Progress, Workbench, silent
from quota.actors import steward
from quota.db import Tx
from quota.errors import N_, WrongState
from quota.inventory import Resource
from quota.units import ClassCode


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that comes out otherwise. ``days``: the window, 0 = the whole block or no window."""

    finding_id: int
    what: str
    days: int
    before: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Findings looked at, and what differs."""

    findings: int
    differences: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": self.findings,
            "same": self.same,
            "differences": [
                {"finding": one.finding_id, "what": one.what, "days": one.days, "before": one.before, "now": one.now}
                for one in self.differences
            ],
        }


def finding(workbench: Workbench, finding_id: int) -> Recomputed:
    """One finding again. NotFound where there is none, WrongState where its samples are no longer there."""
    with workbench.book.reading(steward("recompute")) as tx:
        row = archives.finding(tx, workbench.lake, finding_id)
        return _again(tx, workbench, row.assessment, [row])


def run(workbench: Workbench, assessment_id: int, progress: Progress = silent) -> Recomputed:
    """Every finding of a run again. Raises as ``finding`` does."""
    with workbench.book.reading(steward("recompute")) as tx:
        made = findings.assessment(tx, assessment_id)
        return _again(tx, workbench, made, archives.of_run(tx, workbench.lake, made), progress)


def _again(
    tx: Tx, workbench: Workbench, made: Assessment, rows: Sequence[Finding], progress: Progress = silent
) -> Recomputed:
    policy = made.policy_version.policy()
    span = Window(made.first_day, made.last_day)
    _held(workbench, span, rows)
    resources = [row.resource for row in rows]
    order, seen = pipeline.measure(workbench, resources, {}, span, policy, progress=progress)
    kept = Facts.from_rows([rows[i].numbers for i in order])
    facts = replace(seen, **{name: getattr(kept, name) for name in CIRCUMSTANCES})
    sections = np.array([policy.named(rows[i].numbers.get("section")) for i in order], np.int64)
    found = assess.judge(facts, policy, sections)
    ordered = [_as_it_was(rows[i]) for i in order]
    offers = pipeline.offers_of(tx, workbench)
    if made.engine == pipeline.ENGINE:
        targets, _basis = pipeline.targets(workbench, span, ordered, found, offers)
    else:
        targets = pipeline.targets_before(workbench, span, ordered, found, offers)
    told: list[Difference] = []
    for at, i in enumerate(order):
        row = rows[i]
        told += _figures(row, facts, at)
        if found[at].value != row.verdict:
            told.append(Difference(row.id, "verdict", 0, row.verdict, found[at].value))
        reasons = [each.to_json() for each in found.reasons(at)]
        if reasons != row.reasons:
            told.append(Difference(row.id, "reasons", 0, row.reasons, reasons))
        target = targets.get(row.resource_id)
        now = None if target is None else {kind: int(n) for kind, n in target.items()}
        if now != row.target:
            told.append(Difference(row.id, "target", 0, row.target, now))
    return Recomputed(len(rows), tuple(told))


def _held(workbench: Workbench, span: Window, rows: Sequence[Finding]) -> None:
    """Raise WrongState where samples that the findings were made from are no longer in the lake, saying why."""
    lake = workbench.lake
    line = lake.kept_from("days")
    if line is not None and span.first < line:
        raise WrongState(
            "recompute.retained",
            N_("采样保存自 %(line)s，更早的已按期清理；评估用到 %(first)s 至 %(last)s 的采样，不能重算"),
            line=line,
            first=span.first,
            last=span.last,
        )
    window = [span.first + timedelta(days=n) for n in range(span.days)]
    there = {*lake.days(), *lake.hot_days()}
    lost = [day for day in window if day not in there and lake.path("daily", day).exists()]
    if not lost and there.isdisjoint(window) and any(_saw(row) for row in rows):
        lost = window
    if lost:
        raise WrongState(
            "recompute.lost",
            N_("数据湖中已没有 %(days)s 的采样，评估用到它们，不能重算"),
            days=_told(lost),
        )


def _saw(row: Finding) -> bool:
    """Whether the finding was made from samples at all."""
    return any(window.get("live") or window.get("off") for window in row.numbers["windows"].values())


def _told(days: Sequence[date]) -> str:
    first, *more = (day.isoformat() for day in days)
    return first if not more else f"{first} – {more[-1]} ({len(days)})"


def _figures(row: Finding, facts: Facts, at: int) -> list[Difference]:
    told = []
    for days, window in row.numbers["windows"].items():
        seen = facts.windows[int(days)]
        for name, values in seen.values.items():
            if name not in window:  # not yet measured when the finding was kept
                continue
            before, now = window[name], plain(name, values[at])
            if before != now:
                told.append(Difference(row.id, name, int(days), before, now))
    return told


def _as_it_was(row: Finding) -> Resource:
    """The resource with the shape that it had, as far as advice on sizes looks at it."""
    one = row.resource
    return Resource(
        id=one.id,
        kind=one.kind,
        arch=one.arch,
        pool_id=one.pool_id,
        amounts={ClassCode(kind): n for kind, n in row.shape.items()},
    )
