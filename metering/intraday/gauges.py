"""The look at what is no CPU: memory, disks, lines, connections and cards, by the terms that the policy in force lays down for each.

What is seen is `metering.judging.growth_terms`' to say; here the last hour is held against what the inventory says that a
resource has. Samples of before its size last changed are of another size, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from metering.cases import Case, CaseState, Consent, Surge
from metering.intraday import last_hour
from metering.intraday.growths import MachineLook
from metering.judging import GAUGES, GrowthTerms, calendars, growth_terms, pipeline
from metering.sizing import COVERED, HOUR, Fast
from quota.db import among, batches
from quota.inventory import Change, Resource, ResourceChange
from quota.units import BANDWIDTH, MEMORY, VCPU, ClassCode

if TYPE_CHECKING:
    from metering.judging import Policy
    from metering.lake import Lake
    from providers.metrics import Array
    from quota.db import Tx

SLOT = timedelta(minutes=5)

SHARED: Mapping[ClassCode, tuple[str, float]] = {
    VCPU: ("cpu_pct", Fast().level),
    MEMORY: ("mem_pct", GrowthTerms("memory").calm / 100),
}
"""What a machine is lent together, whichever was short: the column that tells its use, and how full the size underneath may be."""


@dataclass(frozen=True, slots=True)
class GaugeLoan:
    """A growth by a gauge that is on loan, and the terms by which it is looked after."""

    terms: GrowthTerms
    case: Case


def held(tx: Tx, policy: Policy) -> dict[int, GaugeLoan]:
    """Resource id → what is lent of it by a gauge now; by the built-in terms where the policy in force has none for it any more."""
    query = (
        select(Case, Surge.sizing)
        .join(Surge, Surge.case_id == Case.id)
        .where(Case.state == CaseState.WATCHED.value, Case.consent == Consent.STANDING.value)
        .where(Surge.sizing.in_(list(GAUGES)))
        .options(joinedload(Case.resource))
        .order_by(Surge.at)
    )
    loans = tx.execute(query).all()
    own = _terms(tx, policy, [one.resource for one, _ in loans])
    return {
        one.resource_id: GaugeLoan(own[one.resource_id].get(gauge, GrowthTerms(gauge)), one) for one, gauge in loans
    }


def _terms(tx: Tx, policy: Policy, rows: Sequence[Resource]) -> dict[int, dict[str, GrowthTerms]]:
    """Resource id → gauge → the terms that hold for it: those of its section, where the policy has one for it."""
    sections = {} if not rows else pipeline.sections(tx, rows, policy, calendars(tx)).tolist()
    by_section = {at: {one.gauge: one for one in policy.growths_of(at)} for at in set(sections)}
    return {one.id: by_section[at] for one, at in zip(rows, sections, strict=True)}


def columns(policy: Policy, lent: Mapping[int, GaugeLoan], *, machines: bool) -> tuple[str, ...]:
    """Of the lake, beside CPU's; ``machines``: whether any is on loan, so that its memory is looked at, too."""
    gauges = [one.about for one in policy.every_growth()] + [one.terms.about for one in lent.values()]
    wanted = [name for gauge in gauges for name in gauge.columns] + (["mem_pct"] if machines or lent else [])
    return tuple(dict.fromkeys(wanted))


def looks(
    tx: Tx,
    lake: Lake,
    hour: last_hour.Hour,
    moment: datetime,
    policy: Policy,
    lent: Mapping[int, GaugeLoan],
    busy: set[int],
) -> list[MachineLook]:
    """What the hour shows: of all that may begin to grow and is full, and of all that is on loan. ``busy``: on loan by another rule."""
    found: list[MachineLook] = []
    for terms in policy.every_growth():
        suspects = [one for one in _suspects(tx, hour, terms) if one.id not in lent and one.id not in busy]
        held_to = _terms(tx, policy, suspects)
        mine = [one for one in suspects if held_to[one.id].get(terms.gauge) == terms]
        found += [one for one in _seen(tx, lake, hour, moment, mine, terms, {}) if one.over]
    by_terms: dict[GrowthTerms, list[GaugeLoan]] = {}
    for loan in lent.values():
        by_terms.setdefault(loan.terms, []).append(loan)
    for terms, loans in by_terms.items():
        cases = {one.case.resource_id: one.case for one in loans}
        rows = [one.case.resource for one in loans]
        for one in _seen(tx, lake, hour, moment, rows, terms, cases):
            found.append(kept(hour, one, cases[one.resource_id]))
    return found


def kept(hour: last_hour.Hour, seen: MachineLook, case: Case) -> MachineLook:
    """As it was seen; with the word that it can't do without where something else that was lent with it is used beyond what it had:
    a machine that calms down in CPU keeps the memory that it fills. Who waited for memory waits no longer once there is more of it:
    only what is used of it tells whether it does without, and where that is not told nothing is known."""
    waited = seen.terms is not None and seen.terms.about.of_time
    has, had = case.resource.actual(), case.had()
    for cls, (column, share) in SHARED.items():
        if column != "cpu_pct" and column not in hour.others:
            continue
        if (cls == seen.cls and not waited) or not 0 < had.get(cls, 0) < has.get(cls, 0):
            continue
        told = hour.of([seen.resource_id])[0] if column == "cpu_pct" else hour.other((column,), [seen.resource_id])
        with np.errstate(invalid="ignore"):
            if (told / 100 * has[cls] >= share * had[cls]).any():
                return replace(seen, over=True)
        if waited and cls == seen.cls and np.isfinite(told).sum() < COVERED * HOUR:
            seen = replace(seen, known=False)
    return seen


def _suspects(tx: Tx, hour: last_hour.Hour, terms: GrowthTerms) -> list[Resource]:
    """What may be full: by its percentages where it tells them, every line that tells its traffic."""
    gauge = terms.about
    query = (
        select(Resource).where(Resource.kind.in_(list(gauge.grows)), Resource.gone_at.is_(None)).order_by(Resource.id)
    )
    if BANDWIDTH in gauge.grows.values():
        there = set(hour.resources.tolist())
        return [one for one in tx.scalars(query) if one.id in there]
    with np.errstate(invalid="ignore"):
        full = (hour.others[gauge.columns[0]] >= terms.level - 1e-9).sum(axis=1) >= terms.samples
    ids = hour.resources[full].tolist()
    return [one for part in batches(ids) for one in tx.scalars(query.where(Resource.id.in_(part)))]


def _seen(
    tx: Tx,
    lake: Lake,
    hour: last_hour.Hour,
    moment: datetime,
    rows: Sequence[Resource],
    terms: GrowthTerms,
    cases: Mapping[int, Case],
) -> Iterator[MachineLook]:
    """What the hour shows of ``rows``; ``cases``: resource id → by which it is on loan."""
    gauge = terms.about
    sized = [one for one in rows if one.kind in gauge.grows and one.actual().get(gauge.grows[one.kind], 0) > 0]
    if not sized:
        return
    ids = [one.id for one in sized]
    force = np.array([one.actual()[gauge.grows[one.kind]] for one in sized], np.float64)
    lent = np.array([one.id in cases for one in sized])
    under = np.array([cases[one.id].had().get(gauge.grows[one.kind], 0) if one.id in cases else 0 for one in sized])
    under = np.where(lent, under, force).astype(np.float64)
    share = hour.other(gauge.columns, ids)
    if BANDWIDTH in gauge.grows.values():
        share = share / (1000.0 * force[:, None]) * 100
    share = np.where(_of_this_size(tx, ids, moment), share, np.nan)
    told = growth_terms.sight(share, under, force, lent, terms)
    if told.over.any():
        hot = np.flatnonzero(told.over)
        share[hot] = np.where(last_hour.alive(lake, moment, [ids[i] for i in hot]), share[hot], np.nan)
        told = growth_terms.sight(share, under, force, lent, terms)
    samples = np.isfinite(share).sum(axis=1)
    for i, one in enumerate(sized):
        case = cases.get(one.id)
        yield MachineLook(
            resource_id=one.id,
            sizing=terms.gauge,
            fast=None,
            case_id=None if case is None else case.id,
            size=int(under[i]),
            known=bool(told.known[i]),
            over=bool(told.over[i]),
            short=bool(told.short[i]),
            samples=int(samples[i]),
            count=int(told.count[i]),
            top=round(float(np.nanmax(share[i])), 2) if samples[i] else None,
            wanted=round(terms.step * float(force[i]), 3),
            terms=terms,
            cls=gauge.grows[one.kind],
        )


def _of_this_size(tx: Tx, ids: Sequence[int], moment: datetime) -> Array:
    """Which slots of the hour are of the size in force, bool [k, 12]: those that began after it last changed."""
    first = moment - HOUR * SLOT
    query = (
        select(ResourceChange.resource_id, func.max(ResourceChange.at))
        .where(among(ResourceChange.resource_id, list(ids)), ResourceChange.what == Change.SHAPE.value)
        .where(ResourceChange.at > first)
        .group_by(ResourceChange.resource_id)
    )
    changed: dict[int, datetime] = dict(tx.execute(query).all())
    begins = [first + slot * SLOT for slot in range(HOUR)]
    return np.array([[one not in changed or at >= changed[one] for at in begins] for one in ids], bool)
