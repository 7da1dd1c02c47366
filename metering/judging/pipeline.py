"""The chef: the only module that strings hands, eye and book together.

Each stage reads what the one before left and writes its own; each may be run again at any time and then changes
nothing that is not new. No transaction is open while a cloud or the lake is being read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from metering.judging import (
    assess,
    business,
    engines,
    facts,
    findings,
    machine_sizes,
    measuring,
    months,
    policies,
    service_sizes,
)
from metering.judging.engines import BlockSurvey, Engine
from metering.judging.facts import Facts, concat
from metering.judging.findings import Assessment
from metering.judging.policy import GROWS, STEADY, Policy, Standing
from metering.judging.span import Window, window
from metering.sizing import rightsizing, sizing
from metering.workbench import Progress, Workbench, silent
from providers.orders import WorkOrder
from quota import inventory, requests
from quota.actors import Actor, steward
from quota.db import Tx, among
from quota.directory import CatalogItem, Department, Pool, System, catalog, mergers
from quota.inventory import Resource
from quota.requests import Request
from quota.units import BANDWIDTH, MEMORY, NOTHING, VCPU, Amount, Arch

GIB = 1024

ENGINE = "exact-2"
"""How findings are made now, told by each assessment: "exact" gave no sizes to what is no machine."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What the city offers: shapes of machines by architecture, every active item, and what its clouds give back."""

    shapes: Mapping[str, list[CatalogItem]]
    items: Sequence[CatalogItem]
    frees: service_sizes.Frees


def judge(
    workbench: Workbench,
    on: date,
    *,
    policy_name: str = "default",
    actor: Actor | None = None,
    engine: Engine | None = None,
    where: str | None = None,
    progress: Progress = silent,
) -> Assessment:
    """Judge every resource on the morning of ``on`` by the policy in force then, from exact samples, and record it.
    ``engine``, ``where``: as for `measure`.

    Judging the same morning again returns the first assessment: later corrections of samples make a new morning's.
    """
    actor = actor or steward("job:assess")
    days = workbench.lake.days()
    with workbench.book.reading(actor) as tx:
        version = policies.in_force(tx, on, policy_name)
        policy = version.policy()
        span = window(policy, on, min(days) if days else None)
        earlier = findings.of(tx, version, span.first, span.last, span.end)
        if earlier is not None:
            return earlier
        present = present_at(tx, span)
        offers = offers_of(tx, workbench)
        loose = inventory.unattached(tx, present)
        calendars = business.calendars(tx)
        held = sections(tx, present, policy, calendars)
    order, seen = measure(
        workbench, present, loose, span, policy, calendars, engine=engine, where=where, progress=progress
    )
    ordered = [present[i] for i in order]
    found = assess.judge(seen, policy, held[order])
    advised, basis = targets(workbench, span, ordered, found, offers, progress)
    shortest = min(seen.windows) or span.days
    with workbench.book.reading(actor) as tx:
        resized = inventory.resized(tx, span.end - timedelta(days=shortest))
    changed = [one for one in ordered if one.id in resized]
    of_present = machine_sizes.of_present_size(workbench, span.last, shortest, changed)
    asked = policy.wholes.months
    since = {one.id: one.created_at for one in present}
    monthly = months.measure(workbench.lake, since, span.last, asked) if asked else {}
    with workbench.book.transaction(actor) as tx:
        rows = findings.judged(found, ordered, advised, basis, of_present)
        return findings.record(tx, version, span.first, span.last, span.end, ENGINE, rows, monthly)


def present_at(tx: Tx, span: Window) -> list[Resource]:
    """Resources that were there in the window and are not gone at its end."""
    return list(tx.scalars(select(Resource).where(inventory.there_at(span.end)).order_by(Resource.id)))


def sections(tx: Tx, resources: Sequence[Resource], policy: Policy, calendars: business.Calendars) -> NDArray[np.int64]:
    """The section of the policy that each resource is judged by, -1 = none. What came from a merged department is judged
    by what the policy says of that department, too."""
    if not policy.sections:
        return np.full(len(resources), -1, np.int64)
    pools = {one: (code, zone) for one, code, zone in tx.execute(select(Pool.id, Pool.code, Pool.zone))}
    codes = dict(tx.execute(select(Department.id, Department.code)).all())
    levels: dict[int, tuple[int | None, str]] = {
        one: (level, code) for one, level, code in tx.execute(select(System.id, System.mlps_level, System.code))
    }
    merged = mergers(tx)
    purposes = _purposes(tx, resources) if any(one.purposes for one in policy.sections) else {}

    def standing(one: Resource) -> Standing:
        level, system = levels.get(one.system_id or 0, (None, ""))
        code, zone = pools[one.pool_id]
        chain = [codes[each] for each in merged.known_as(one, calendars.chain(one.department_id))]
        tags = [*one.tags, *(f"{name}={value}" for name, value in one.tags.items())]
        return Standing(one.kind, code, chain, level, system, zone, tags, purposes.get(one.basis, ""))

    return np.array([policy.section(standing(one)) for one in resources], np.int64)


def _purposes(tx: Tx, resources: Sequence[Resource]) -> dict[str, str]:
    """What a resource rests on (``Resource.basis``) → what that request says that it is for, where it says so."""
    named: dict[str, set[int]] = {"order": set(), "request": set()}
    for one in resources:
        what, _colon, number = one.basis.partition(":")
        if what in named and number.isdecimal():
            named[what].add(int(number))
    by_order = select(WorkOrder.id, Request.fields).join(Request, Request.id == WorkOrder.request_id)
    asked = {
        "order": by_order.where(among(WorkOrder.id, named["order"])),
        "request": select(Request.id, Request.fields).where(among(Request.id, named["request"])),
    }
    return {
        f"{what}:{number}": fields.get(requests.PURPOSE, "")
        for what, query in asked.items()
        if named[what]
        for number, fields in tx.execute(query)
    }


def measure(
    workbench: Workbench,
    resources: Sequence[Resource],
    loose: Mapping[int, datetime],
    span: Window,
    policy: Policy,
    calendars: business.Calendars | None = None,
    *,
    engine: Engine | None = None,
    where: str | None = None,
    progress: Progress = silent,
) -> tuple[list[int], Facts]:
    """Facts of ``resources`` over ``span`` from exact samples, block by block; (order of resources, facts [r]).

    ``engine`` does the blocks (default: threads of this process), reading the lake's closed days ``where`` they lie
    (default: the lake itself); the facts are the same whoever does it.

    A resource without a sample in the window is measured too: it has circumstances (unattached, powered off), and
    its silence must show as such. ``loose``: id → since when a volume or an address has been attached to nothing.
    """
    place = {one.id: i for i, one in enumerate(resources)}
    order = [place[one] for one in sorted(place)]
    chosen = [resources[i] for i in order]
    if not chosen:
        nothing = np.empty((0, span.days * workbench.lake.slots), np.uint8)
        return [], facts.measure({}, nothing, policy=policy, slots_per_day=workbench.lake.slots)
    about = _circumstances(chosen, loose, span, workbench.lake.step_s, calendars)
    tasks = measuring.tasks(np.array([one.id for one in chosen], np.int32), about)
    survey = BlockSurvey(where or str(workbench.lake.root), span.first, span.last, policy)
    parts: list[Facts] = []
    done = 0
    for part in (engine or engines.named())(measuring.measure, survey, tasks):
        parts.append(part)
        done += len(part)
        progress("assess", done, len(chosen))
    return order, concat(parts)


def _circumstances(
    chosen: Sequence[Resource],
    loose: Mapping[int, datetime],
    span: Window,
    step_s: int,
    calendars: business.Calendars | None = None,
) -> dict[str, NDArray[np.generic]]:
    """What the inventory knows: kind, when samples were due, how long it has been off, unattached, in being."""

    def slot(moment: datetime | None, default: int) -> int:
        return default if moment is None else int((moment - span.start).total_seconds() // step_s)

    def days_since(moment: datetime | None) -> float:
        return np.nan if moment is None else max(0.0, (span.end - moment).total_seconds() / 86400)

    def cycle(resource: Resource) -> float:
        periods = calendars.of(resource.department_id, resource.system_id) if calendars else ()
        if not periods:
            return np.nan
        seen = days_since(resource.first_sample_at or resource.first_seen_at)
        return float(business.hold(periods, seen, span.last + timedelta(days=1)))

    n = span.days * (86_400 // step_s)
    return {
        "kind": np.array([one.kind for one in chosen], dtype=object),
        "line_kbps": np.array([1000.0 * one.actual().get(BANDWIDTH, 0) or np.nan for one in chosen], np.float64),
        "expected_from": np.array([slot(one.created_at, 0) for one in chosen], np.int64),
        "expected_to": np.array([slot(one.gone_at, n) for one in chosen], np.int64),
        "stopped_days": np.array(
            [days_since(one.stopped_at) if one.state == "stopped" else np.nan for one in chosen], np.float64
        ),
        "unattached_days": np.array(
            [days_since(loose.get(one.id)) for one in chosen],
            np.float64,
        ),
        "age_days": np.array([days_since(one.created_at) for one in chosen], np.float64),
        "cycle_left": np.array([cycle(one) for one in chosen], np.float64),
    }


def offers_of(tx: Tx, workbench: Workbench) -> Offers:
    """What can be advised: read once for all resources."""
    items = catalog.offered(tx)
    pools = list(tx.scalars(select(Pool)))
    machines = [one for one in items if one.service == "vm"]
    archs = {pool.arch for pool in pools}
    shapes = {arch: [one for one in machines if one.offered_on(Arch(arch))] for arch in archs}
    return Offers(shapes, items, service_sizes.frees_of(workbench, pools))


def targets(
    workbench: Workbench,
    span: Window,
    resources: Sequence[Resource],
    found: assess.Findings,
    offers: Offers,
    progress: Progress = silent,
) -> tuple[dict[int, Amount], dict[int, Mapping[str, Any]]]:
    """Resource id → the size that fits it (base units), where one is advised; and what that follows from."""
    advised: dict[int, Amount | None] = {**advise(resources, found, offers.shapes)}
    advised |= machine_sizes.advise(workbench, span, resources, found, offers.shapes, progress)
    place = {one.id: i for i, one in enumerate(resources)}
    told = {one: shape for one, shape in advised.items() if shape and not service_sizes.only_storage(found, place[one])}
    basis: dict[int, Mapping[str, Any]] = {
        one: {"method": found.policy.sizing_of(int(found.section[place[one]]))} for one in told
    }
    for one, advice in service_sizes.advise(workbench, span, resources, found, offers.items, offers.frees).items():
        told[one] = told.get(one, NOTHING) | advice.target
        basis[one] = {**basis.get(one, {}), **advice.basis}
    return told, basis


def targets_before(
    workbench: Workbench, span: Window, resources: Sequence[Resource], found: assess.Findings, offers: Offers
) -> dict[int, Amount]:
    """As `targets` for the findings of assessments made by "exact": machines alone, by vCPU and memory."""
    advised: dict[int, Amount | None] = {**advise(resources, found, offers.shapes)}
    advised |= machine_sizes.advise(workbench, span, resources, found, offers.shapes)
    return {one: shape for one, shape in advised.items() if shape is not None}


def advise(
    resources: Sequence[Resource], found: assess.Findings, shapes: Mapping[str, Sequence[CatalogItem]]
) -> dict[int, Amount]:
    """Resource id → the smallest catalogue shape that keeps the machine at its policy's ceiling (base units), where one
    is advised. What another method sizes is only made larger by this one."""
    told: dict[int, Amount] = {}
    seen = found.facts
    week, month = min(seen.windows), max(seen.windows)
    ceilings = np.array([_ceiling(found.policy.sizing_of(int(each))) for each in found.section])
    for arch, items in shapes.items():
        rows = np.array([i for i, one in enumerate(resources) if one.arch == arch and one.kind == "vm"], np.int64)
        offered = [
            rightsizing.Shape(item.code, item.takes()[VCPU], item.takes()[MEMORY] // GIB)
            for item in items
            if {VCPU, MEMORY} <= set(item.takes())
        ]
        if not len(rows) or not offered:
            continue
        long, short = seen.take(rows).windows[month], seen.take(rows).windows[week]
        given = short.cpu_p95_given  # a larger size does not get it what its host owes it
        grow = np.array([found[int(i)] in GROWS for i in rows])
        has = [resources[int(i)].actual() for i in rows]
        advice = rightsizing.smallest_shape(
            offered,
            np.array([one.get(VCPU, 0) for one in has], np.float64),
            np.array([one.get(MEMORY, 0) / GIB for one in has], np.float64),
            np.where(grow, np.where(np.isfinite(given), given, short.cpu_p95), long.cpu_p95),
            np.where(grow, short.mem_max, long.mem_max),
            observed_days=long.observed_days,
            coverage=long.coverage,
            grow=grow,
            ceiling=ceilings[rows],
        )
        for row, size, direction, vcpu, memory in zip(
            rows, advice.shape, advice.direction, advice.vcpu, advice.memory_gb, strict=True
        ):
            if direction and size >= 0:
                told[resources[int(row)].id] = Amount({VCPU: int(vcpu), MEMORY: int(memory) * GIB})
    return told


def _ceiling(name: str) -> float:
    how = sizing(name)
    return how.figure("ceiling") if how.method == STEADY else 70.0
