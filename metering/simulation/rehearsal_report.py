"""What a rehearsal has shown, as plain JSON: classes with coverage, what was recovered and given, regret, scorecards.

The regret is told from the recording, not from what the steward saw: after the machine was made smaller, would the
demand recorded have reached the new ceiling?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from metering.cases import Case, CaseState, Ending, Opening, Suspension
from metering.intake import completeness
from metering.judging import BUILT_IN, Assessment, CaseKind, Finding, Window, assess, pipeline
from metering.lake import Lake
from metering.simulation.rehearsal import Rehearsed
from metering.workbench import Workbench
from providers.adapters.recorded import RecordedCloud, Recording
from providers.assessment import EvidenceRow, cards, company, formula, gathering
from providers.orders import WorkOrder
from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CloudProvider, Pool
from quota.inventory import Resource
from quota.requests import Request, RequestState
from quota.units import MEMORY, NOTHING, VCPU, Amount, ClassCode

GIB = 1024
IN_A_ROW = 3  # slots of 300 s: a quarter of an hour


def report(workbench: Workbench, done: Rehearsed) -> dict[str, Any]:
    """Everything about the rehearsal ``done`` in ``works``; see docs/rehearsal.md for what each figure means."""
    with workbench.book.reading() as tx:
        runs = _runs(tx, done)
        opened = tx.get(Assessment, done.run) if done.run else None
        judged = opened or tx.get_one(Assessment, done.runs[max(done.runs)])
        rows = _findings(tx, judged)
        found: dict[str, Any] = {
            "vms": len(done.recording.names),
            "samples": len(done.recording),
            "span": [moment.isoformat() for moment in done.recording.span],
            "rule": done.policy,
            "judged": runs,
            "opened_from": judged.last_day.isoformat() if opened else None,
            **_classes(rows),
            "coverage": _coverage(rows),
            **_recovered(tx),
            **_regret(tx, done),
            "suspended": _suspended(tx),
            "cases": _cases(tx),
            "orders": _orders(tx),
            "refused": {**_unknown(rows), "passed_over": _passed_over(tx, done)},
        }
    found["scorecards"] = _scorecards(workbench, done)
    if BUILT_IN[done.policy]().reach() == 0:
        found |= {"classes_when_opened": found["classes"], "classes": whole_span(workbench, done)}
    return {
        **found,
        "conserved": done.conserved,
        "ledger_checks": done.checks,
        "ended_at": done.ended_at.astimezone(ZONE).isoformat() if done.ended_at else None,
        "steps": done.steps,
    }


def _runs(tx: Tx, done: Rehearsed) -> list[dict[str, Any]]:
    """Each morning's judgement up to the one that cases were opened from."""
    told = []
    for morning, run_id in sorted(done.runs.items()):
        run = tx.get_one(Assessment, run_id)
        told.append(
            {"as_of": morning.isoformat(), "classes": dict(run.counts), "why_unknown": _why(_findings(tx, run))}
        )
        if run_id == done.run:
            break
    return told


def _findings(tx: Tx, run: Assessment) -> list[Finding]:
    query = select(Finding).where(Finding.assessment_id == run.id).options(joinedload(Finding.resource))
    return list(tx.scalars(query.order_by(Finding.resource_id)))


def _classes(rows: Sequence[Finding]) -> dict[str, Any]:
    """Class → how many, and what they have and how well they are known."""
    groups: dict[str, list[Finding]] = {}
    for one in rows:
        groups.setdefault(one.verdict, []).append(one)
    detail = {
        verdict: {
            "machines": len(members),
            "vcpu": sum(one.shape.get("vcpu", 0) for one in members),
            "memory_gb": _gb(sum(one.shape.get("memory", 0) for one in members)),
            "coverage_mean": _mean([one.coverage for one in members]),
            "coverage_least": min((one.coverage for one in members if one.coverage is not None), default=None),
        }
        for verdict, members in sorted(groups.items())
    }
    return {"classes": {verdict: one["machines"] for verdict, one in detail.items()}, "resources": detail}


def _coverage(rows: Sequence[Finding]) -> dict[str, Any]:
    """Received ÷ expected samples over the longest window of the rule that opened the cases."""
    known = [one.coverage for one in rows if one.coverage is not None]
    return {
        "mean": _mean(known),
        "least": min(known, default=None),
        "below_90_percent": sum(figure < 0.9 for figure in known),
        "machines": len(known),
    }


def _why(rows: Sequence[Finding]) -> dict[str, int]:
    """Why machines are unknown: what is missing → how many."""
    why = Counter(
        f"{reason['figure']} of {reason['days'] or 'all'} days {reason['op']} {reason['threshold']:g}"
        if reason["value"] is not None
        else f"{reason['figure']} of {reason['days'] or 'all'} days is not known"
        for one in rows
        if one.verdict == "unknown"
        for reason in one.reasons[:1]
    )
    return dict(sorted(why.items()))


def _unknown(rows: Sequence[Finding]) -> dict[str, Any]:
    unknown = [one for one in rows if one.verdict == "unknown"]
    return {
        "unknown": len(unknown),
        "why": _why(rows),
        "machines": [
            {"machine": one.resource.external_id, "coverage": one.coverage, "reasons": one.reasons}
            for one in unknown[:50]
        ],
    }


def _passed_over(tx: Tx, done: Rehearsed) -> dict[str, int]:
    opening = tx.get(Opening, done.opening) if done.opening else None
    return opening.why() if opening else {}


def _recovered(tx: Tx) -> dict[str, Any]:
    """What was freed for good and what was given, by ended and delivered cases and requests."""
    taken: Counter[ClassCode] = Counter()
    given: Counter[ClassCode] = Counter()
    done = {one for (one,) in tx.execute(select(Request.id).where(Request.state == RequestState.DONE.value))}
    for case in tx.scalars(select(Case)):
        if case.ending in (Ending.SHRUNK, Ending.DELETED):
            taken.update(Amount.from_json(case.freed))
        elif case.ending == Ending.EXPANDED or (case.ending == Ending.REQUESTED and case.request_id in done):
            given.update(case.recovers())
    return {
        "recovered_vcpu": taken[VCPU],
        "recovered_memory_gb": _gb(taken[MEMORY]),
        "expanded_vcpu": given[VCPU],
        "expanded_memory_gb": _gb(given[MEMORY]),
    }


def _regret(tx: Tx, done: Rehearsed) -> dict[str, Any]:
    """Of the machines that were made smaller: whose recorded demand would have reached the new ceiling."""
    since = datetime.combine(done.judged_on, time(), ZONE)
    machines, restored = [], []
    stopped = 0
    for case in tx.scalars(select(Case).where(Case.effective_at.is_not(None)).order_by(Case.id)):
        if case.kind == CaseKind.RECLAIM:
            stopped += 1
            if case.ending == Ending.RETURNED:
                restored.append(case.resource.external_id)
        elif case.kind == CaseKind.SHRINK:
            shape = _first_shape(tx, case)
            machines.append(
                {
                    "machine": case.resource.external_id,
                    "from": _plain(case.had()),
                    "to": _plain(case.had() | shape),
                    "rolled_back": case.ending == Ending.ROLLED_BACK,
                    **_hits(done.recording, case.resource.external_id, shape, since, done.until),
                }
            )
    hit = [one for one in machines if one["hit"]]
    return {
        "regret_rate": round(len(hit) / len(machines), 4) if machines else None,
        "regret": {
            "shrunk": len(machines),
            "hit_ceiling": len(hit),
            "hit_cpu": sum(one["cpu_slots_at_ceiling"] > 0 for one in machines),
            "hit_memory": sum(one["memory_slots_at_ceiling"] > 0 for one in machines),
            "quarter_hour_at_ceiling": sum(one["longest_slots_at_ceiling"] >= IN_A_ROW for one in machines),
            "cpu_p95_above_80_percent": sum((one["cpu_p95"] or 0) > 80 for one in machines),
            "share_of_slots_at_ceiling": _share(machines),
            "rolled_back": sum(one["rolled_back"] for one in machines),
            "since": since.date().isoformat(),
            "until": done.until.astimezone(ZONE).date().isoformat(),
            "machines": machines,
            "stopped": stopped,
            "restored": restored,
        },
    }


def _first_shape(tx: Tx, case: Case) -> Amount:
    """What the case's first resize asked for."""
    order = tx.scalars(
        select(WorkOrder).where(WorkOrder.case_id == case.id, WorkOrder.verb == "resize").order_by(WorkOrder.id)
    ).first()
    return order.approved() if order is not None else NOTHING


def _hits(recording: Recording, name: str, shape: Amount, since: datetime, until: datetime) -> dict[str, Any]:
    _, cores, memory = recording.demand(name, since.timestamp(), until.timestamp())
    cpu = cores >= shape[VCPU] if VCPU in shape else np.zeros(len(cores), bool)
    mem = memory >= shape[MEMORY] if MEMORY in shape else np.zeros(len(cores), bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], cpu | mem, [False]]).astype(np.int8)))
    return {
        "hit": bool((cpu | mem).any()),
        "slots": len(cores),
        "cpu_slots_at_ceiling": int(cpu.sum()),
        "memory_slots_at_ceiling": int(mem.sum()),
        "longest_slots_at_ceiling": int((edges[1::2] - edges[::2]).max(initial=0)),
        "cpu_p95": round(float(np.percentile(cores, 95) / shape[VCPU] * 100), 2)
        if VCPU in shape and len(cores)
        else None,
    }


def _share(machines: Sequence[Mapping[str, Any]]) -> float | None:
    slots = sum(one["slots"] for one in machines)
    hits = sum(one["cpu_slots_at_ceiling"] for one in machines)
    return round(hits / slots, 6) if slots else None


def _suspended(tx: Tx) -> list[dict[str, Any]]:
    """Whether the policy was suspended because too much of what it took was wanted back."""
    return [
        {
            "at": one.at.astimezone(ZONE).isoformat(timespec="minutes"),
            "acted": one.acted,
            "regretted": one.regretted,
            "limit": one.limit,
        }
        for one in tx.scalars(select(Suspension).order_by(Suspension.id))
    ]


def _cases(tx: Tx) -> dict[str, dict[str, int]]:
    """ClassCode → how they ended (or where they stand) → cases."""
    found: dict[str, Counter[str]] = {}
    for kind, state, ending in tx.execute(select(Case.kind, Case.state, Case.ending)):
        found.setdefault(kind, Counter())[(ending if state == CaseState.CLOSED.value else None) or state] += 1
    return {kind: dict(sorted(of.items())) for kind, of in sorted(found.items())}


def _orders(tx: Tx) -> dict[str, dict[str, int]]:
    """Verb → state → orders."""
    found: dict[str, Counter[str]] = {}
    for verb, state in tx.execute(select(WorkOrder.verb, WorkOrder.state)):
        found.setdefault(verb, Counter())[state] += 1
    return {verb: dict(sorted(of.items())) for verb, of in sorted(found.items())}


SCORED = frozenset({"delivery", "incidents", "optimisation", "reporting"})
"""Indicators that a rehearsal has evidence of; how full its pools are, say, was made up with them."""


def _scorecards(workbench: Workbench, done: Rehearsed) -> list[dict[str, Any]]:
    """Each company's card for each month from the judgement on, from the rows of the scratch book alone."""
    told = []
    month, last = done.judged_on.replace(day=1), (done.ended_at or done.until).astimezone(ZONE).date()
    with workbench.book.transaction(steward("score")) as tx:
        while month <= last:
            for firm in tx.scalars(select(CloudProvider).order_by(CloudProvider.id)).all():
                name = month.strftime("%Y-%m")
                given = {"reporting": {name: _reported(tx, workbench, firm.id, month)}}
                found = gathering.gather(tx, company(firm.id), name, given=given)
                found = {code: rows for code, rows in found.items() if code in SCORED}
                card = cards.keep(tx, company(firm.id), name, found, formula.default())
                told.append(
                    {
                        "company": firm.name,
                        "month": name,
                        "total": _figure(card.total),
                        "grade": card.grade,
                        "scored_weight": _figure(card.scored_weight),
                        "marks": {
                            mark.indicator: {
                                "mark": _figure(mark.mark),
                                "figure": _figure(mark.figure),
                                "evidence_rows": mark.evidence_rows,
                            }
                            for mark in card.marks
                            if mark.mark is not None
                        },
                    }
                )
            month = (month + timedelta(days=32)).replace(day=1)
    return told


def _reported(tx: Tx, workbench: Workbench, provider_id: int, month: date) -> list[EvidenceRow]:
    """Samples due and received of each pool in a month, while the recording lasts."""
    days = [day for day in workbench.lake.days() if day.replace(day=1) == month]
    if not days:
        return []
    counts = workbench.lake.counts(days[0], days[-1])
    rows = []
    for pool in tx.scalars(select(Pool).where(Pool.provider_id == provider_id).order_by(Pool.id)):
        members = tx.scalars(select(Resource.id).where(Resource.pool_id == pool.id)).all()
        heard = [counts[one] for one in members if one in counts]
        due = len(heard) * len(days) * workbench.lake.slots
        rows.append(completeness.reported(f"pool:{pool.id}/{month:%Y-%m}", due, int(sum(one.sum() for one in heard))))
    return rows


def whole_span(workbench: Workbench, done: Rehearsed) -> dict[str, int]:
    """Class → machines by the rehearsal's rule over the whole recording as it was recorded, untouched by our acts."""
    lake = Lake(workbench.home / "recorded")
    with workbench.book.reading() as tx:
        resources = list(tx.scalars(select(Resource).order_by(Resource.id)))
    ids = {one.external_id: one.id for one in resources}
    first, last = done.recording.span
    cloud = RecordedCloud(done.recording, dict.fromkeys(ids, ""))
    for number, batch in enumerate(cloud.samples(first, last + timedelta(seconds=1))):
        dense = np.array([ids[name] for name in batch.external_ids], np.int32)[batch.table["resource"].to_numpy()]
        lake.append(f"recorded.{number}", batch.table.set_column(0, "resource", [dense]))
    lake.roll()
    days = lake.days()
    policy = BUILT_IN[done.policy]()
    _, seen = pipeline.measure(replace(workbench, lake=lake), resources, {}, Window(days[0], days[-1]), policy)
    return assess.judge(seen, policy).counts()


def _plain(what: Amount) -> dict[str, float]:
    told = {VCPU: ("vcpu", 1), MEMORY: ("memory_gb", GIB)}
    return {told[kind][0]: round(figure / told[kind][1], 2) for kind, figure in what.items() if kind in told}


def _gb(base: int) -> float:
    return round(base / GIB, 2)


def _mean(figures: Sequence[float | None]) -> float | None:
    known = [one for one in figures if one is not None]
    return round(sum(known) / len(known), 4) if known else None


def _figure(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
