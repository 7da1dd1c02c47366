"""Would this have hurt? A policy's verdicts some weeks ago, and what the same machines did afterwards.

Judged on the morning of a day that is past, from what was known then; a machine that would have been taken for idle or
underused and was busy, overloaded or simply at work later is told by name, with how high it went.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from metering.judging import (
    GROWS,
    RECLAIMABLE,
    Findings,
    Policy,
    Verdict,
    Window,
    assess,
    calendars,
    default,
    findings,
    more,
    pipeline,
    plain,
    window,
)
from metering.simulation.history import Past
from metering.workbench import Progress, Workbench, silent
from quota import inventory
from quota.actors import steward
from quota.inventory import Resource

AFTER = 30
"""Days for which it is watched what became of a machine, fewer where there is less history."""

SHOWN = 20
ALIVE = frozenset({*GROWS, Verdict.STARVED, Verdict.NORMAL})
"""What shows that a machine that would have been reclaimed is worked with."""


def compare(
    workbench: Workbench, draft: Policy, in_force: Policy, past: Past, progress: Progress = silent
) -> dict[str, Any]:
    """What both policies say of the latest window, who would change class, and whom the draft would have hurt.

    {"now": {"draft": counts, "in_force": counts}, "recovers": {"draft": {kind: base units}, "in_force": …}, the same
    for "gives"; "changed": {"from>to": n}, "then": date or None, "taken", "regretted": n each, "hurt": [{"resource",
    "name", "verdict", "later", "cpu_p95"}]}; "then" is None where the history is too short to look back. What would be
    recovered or given now is of every kind of resource, onto the catalogue, as nightly judgement would say it.
    """
    both = (("draft", draft), ("in_force", in_force))
    now = {name: _judged(workbench, one, past.last, progress) for name, one in both}
    order, found = now["draft"]
    of = {one.id: found[i] for i, one in enumerate(order)}
    before = {one.id: now["in_force"][1][i] for i, one in enumerate(now["in_force"][0])}
    changed: dict[str, int] = {}
    for one, verdict in of.items():
        if one in before and before[one] != verdict:
            key = f"{before[one].value}>{verdict.value}"
            changed[key] = changed.get(key, 0) + 1
    told: dict[str, Any] = {
        "now": {name: each[1].counts() for name, each in now.items()},
        "recovers": {},
        "gives": {},
        "changed": dict(sorted(changed.items(), key=lambda item: -item[1])),
        "then": None,
        "taken": 0,
        "regretted": 0,
        "hurt": [],
    }
    for name, policy in both:
        told["recovers"][name], told["gives"][name] = _moves(workbench, policy, past.last, *now[name])
    reach = max(draft.reach(), in_force.reach())
    then = past.last - timedelta(days=min(AFTER, (past.last - past.first).days + 1 - reach))
    if not reach or then >= past.last - timedelta(days=6):
        return told
    told["then"] = then.isoformat()
    # What became of a machine is told by one yardstick for both, whatever they say themselves.
    order, found = _judged(workbench, default(), past.last, progress)
    for name, policy in both:
        rows, earlier = _judged(workbench, policy, then, progress)
        taken = {one.id: i for i, one in enumerate(rows) if earlier[i] in RECLAIMABLE}
        hurt: list[dict[str, Any]] = []
        for i, machine in enumerate(order):
            if machine.id in taken and found[i] in ALIVE:
                week = found.facts.windows[min(found.facts.windows)]
                hurt.append(
                    {
                        "resource": machine.id,
                        "name": machine.name or machine.external_id,
                        "verdict": earlier[taken[machine.id]].value,
                        "later": found[i].value,
                        "cpu_p95": plain("cpu_p95", week.cpu_p95[i]),
                    }
                )
        if name == "draft":
            hurt.sort(key=lambda row: -(row["cpu_p95"] or 0))
            told |= {"taken": len(taken), "regretted": len(hurt), "hurt": hurt[:SHOWN]}
        else:
            told |= {"taken_in_force": len(taken), "regretted_in_force": len(hurt)}
    return told


def _moves(
    workbench: Workbench, policy: Policy, last: date, order: list[Resource], found: Findings
) -> tuple[dict[str, int], dict[str, int]]:
    """Base units by kind that acting on every finding would recover, and that it would give."""
    span = _span(workbench, policy, last)
    with workbench.book.reading(steward("replay")) as tx:
        offers = pipeline.offers_of(tx, workbench)
    targets, _basis = pipeline.targets(workbench, span, order, found, offers)
    recovers: dict[str, int] = {}
    gives: dict[str, int] = {}
    for i, one in enumerate(order):
        target = targets.get(one.id)
        for kind, figure in findings.recoverable(found[i], one.actual(), target).items():
            recovers[kind] = recovers.get(kind, 0) + figure
        if found[i] in GROWS and target is not None:
            for kind, figure in more(one.actual(), target).items():
                gives[kind] = gives.get(kind, 0) + figure
    return recovers, gives


def _span(workbench: Workbench, policy: Policy, last: date) -> Window:
    days = workbench.lake.days()
    return window(policy, last + timedelta(days=1), min(days) if days else None)


def _judged(workbench: Workbench, policy: Policy, last: date, progress: Progress) -> tuple[list[Resource], Findings]:
    """Every resource judged at the end of ``last`` from what was known then; nothing is written down."""
    span = _span(workbench, policy, last)
    with workbench.book.reading(steward("replay")) as tx:
        present = pipeline.present_at(tx, span)
        loose = inventory.unattached(tx, present)
        known = calendars(tx)
        sections = pipeline.sections(tx, present, policy, known)
        order, seen = pipeline.measure(workbench, present, loose, span, policy, known, progress=progress)
        found = assess.judge(seen, policy, sections[order])
        return [present[i] for i in order], found
