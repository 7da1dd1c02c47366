"""The look within the day: growth within the day (``+fast``, ``+swift``) carried out, by the rule that its backtest keeps.

A look reads the last hour of every machine (`metering.intraday.last_hour`), asks `metering.sizing.expansion` of those whose policy sizes them
so whether the rule holds, and acts on each in a transaction of its own. Where the machine's department authorised it
beforehand (`metering.cases.authorisations`), its quota and the pool's adapter allow it and nothing stands against it, the machine
is enlarged at once, for some hours; else the department is told and asked, as of any expansion. Nothing that is unknown
grows; what was enlarged is made smaller again only when a look has seen that it does without.

Any look may be taken again: of a machine and a moment there is one row, of a machine one open case.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from metering.cases import Case, CaseState, Consent, Surge, surges
from metering.intraday import gauges, growths, last_hour
from metering.intraday.growths import MachineLook, Settled
from metering.judging import Finding, Policy, Verdict, business, findings, pipeline, policies
from metering.overview import MACHINES, WholeSystem
from metering.scale_outs import TierLoad, measured, settling
from metering.sizing import Fast, expansion, sizing
from metering.workbench import Workbench
from providers.base import ProviderFault, Verb
from quota.actors import Actor, steward
from quota.calendar import ZONE
from quota.db import among
from quota.errors import NotFound, Refused
from quota.inventory import Resource, ResourceState, tiers
from quota.units import VCPU

if TYPE_CHECKING:
    from providers.metrics import Array
    from quota.db import Tx

log = logging.getLogger("guanjia.hourly")

QUEUE = "load_pct"
"""The column that tells how many tasks want a machine's CPUs."""

SETTLE = timedelta(minutes=5)
"""How long the samples of an hour have to arrive before it is looked at."""

MANY = 5000
"""Resources asked for at a time."""


@dataclass(slots=True)
class Looked:
    """What one look did. Case ids by outcome; ``machines``: how many were heard of; ``over``: of how many the rule held;
    ``skipped``: code of surges.SKIPS → how many; ``faults``: resource id → what went wrong with it. ``tiers``: code of
    scale_outs.settling → scale-out ids; ``tier_faults``: tier:N or scale_out:N → what went wrong with it."""

    machines: int = 0
    over: int = 0
    done: dict[str, list[int]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    faults: dict[int, Exception] = field(default_factory=dict)
    tiers: dict[str, list[int]] = field(default_factory=dict)
    tier_faults: dict[str, Exception] = field(default_factory=dict)

    def take(self, settled: Settled) -> None:
        """Count what became of one machine."""
        if settled.case_id is None:
            self.skipped[settled.code] += 1
        else:
            self.done.setdefault(settled.code, []).append(settled.case_id)


def fast_of(name: str) -> Fast | None:
    """How a sizing grows within the day where that is carried out: not for one that goes by the tide."""
    try:
        return sizing(name).fast
    except ValueError:
        return None


def look(workbench: Workbench, actor: Actor | None = None) -> Looked:
    """Take the look that is due now. What goes wrong with one machine or tier is named and keeps no other."""
    actor, done, now = actor or steward("job:hourly"), Looked(), workbench.book.clock()
    gone_on = settling.advance(workbench.book, actor)
    done.tier_faults = {f"scale_out:{one}": fault for one, fault in gone_on.items()}
    with workbench.book.reading(actor) as tx:
        try:
            version = policies.in_force(tx, now.astimezone(ZONE).date())
        except NotFound:
            return done
        policy = version.policy()
        held, loans = _held(tx), gauges.held(tx, policy)
        lent = settling.open_tiers(tx)
    sections = {at: policy.sizing_of(at) for at in range(-1, len(policy.sections))}
    named = {at: (name, fast) for at, name in sections.items() if (fast := fast_of(name)) is not None}
    every = {fast.check_slots for _, fast in named.values()} | {fast.check_slots for _, fast, _, _ in held.values()}
    lines = {fast.level for _, fast in named.values()} | {fast.level for _, fast, _, _ in held.values()}
    every |= {1} if policy.every_growth() or loans or (lent and not every) else set()
    live, hands = _hands(workbench) if every else ({}, {})
    for slots in sorted(every):
        moment = last_hour.last_look(now, slots * 5, SETTLE)
        others = gauges.columns(policy, loans, machines=bool(held)) if slots == 1 else ("mem_pct",) if held else ()
        others = (*others, QUEUE) if named or held else others
        hour = last_hour.hour(workbench.lake, moment, 100 * min(lines, default=1.0), others)
        done.machines = max(done.machines, len(hour.resources))
        mine = {at: pair for at, pair in named.items() if pair[1].check_slots == slots}
        with workbench.book.reading(actor) as tx:
            seen = [*_grown(held, hour, slots), *_candidates(tx, policy, mine, hour, held, done)]
            hot = {one.resource_id for one in seen if one.over}
            relieved = _slack(tx, hour, {one.resource_id for one in seen if one.over and one.case_id is None}, hot)
            loads, members = _loads(tx, hour, hot - set(relieved), lent)
            more = gauges.looks(tx, workbench.lake, hour, moment, policy, loans, set(held)) if slots == 1 else []
            offers = pipeline.offers_of(tx, workbench) if hot or more else None
        lent = set()  # looked at once
        done.over += len(hot) + sum(one.over for one in more)
        basis = settling.ScaleOutBasis(moment, version.id, version.rules())
        for tier_id in _look_after(workbench, actor, loads, basis, done):
            relieved |= dict.fromkeys(members[tier_id], "sideways")
        offered = (offers.shapes, hands, offers.items) if offers is not None else ({}, hands, ())
        ground = growths.GrowthBasis(moment, version.id, policy.name, relieved, live, *offered)
        for one in [*seen, *more]:
            if not one.over and one.case_id is None:
                continue
            try:
                with workbench.book.transaction(actor) as tx:
                    done.take(growths.settle(tx, one, ground))
            except Refused as refusal:
                done.faults[one.resource_id] = refusal
            except Exception as fault:
                log.exception("resource %s cannot be looked after", one.resource_id)
                done.faults[one.resource_id] = fault
    return done


def _look_after(
    workbench: Workbench, actor: Actor, loads: Mapping[int, TierLoad], basis: settling.ScaleOutBasis, done: Looked
) -> list[int]:
    """Settle each of these tiers, a transaction each. Returns those that are being helped, so that none of their machines grows."""
    helped = []
    for tier_id, load in sorted(loads.items()):
        try:
            with workbench.book.transaction(actor) as tx:
                code, scale_out_id = settling.settle(tx, tier_id, load, basis)
        except Exception as fault:
            if not isinstance(fault, Refused):
                log.exception("tier %s cannot be looked after", tier_id)
            done.tier_faults[f"tier:{tier_id}"] = fault
            continue
        if scale_out_id is not None:
            done.tiers.setdefault(code, []).append(scale_out_id)
        elif code not in ("tier_calm", "done"):
            done.skipped[code] += 1
        if code in settling.SIDEWAYS:
            helped.append(tier_id)
    return helped


def _loads(
    tx: Tx, hour: last_hour.Hour, hot: set[int], lent: set[int]
) -> tuple[dict[int, TierLoad], dict[int, list[int]]]:
    """Of the tiers in which something is hot, and of those that machines are lent to: their load, and the ids of their machines."""
    loads, members = {}, {}
    for tier_id in {*tiers.of(tx, hot).values(), *lent}:
        rows = tiers.members(tx, tier_id)
        members[tier_id] = [one.id for one in rows]
        running = [one.id for one in rows if one.state == ResourceState.RUNNING]
        loads[tier_id] = measured(hour.of(running)[0])
    return loads, members


def _held(tx: Tx) -> dict[int, tuple[str, Fast, Case, int]]:
    """Resource id → (sizing, its rule, case, vCPU in force) of what is enlarged on an authorisation now."""
    found = {}
    query = (
        select(Case, Surge.sizing)
        .join(Surge, Surge.case_id == Case.id)
        .where(Case.state == CaseState.WATCHED.value, Case.consent == Consent.STANDING.value)
        .order_by(Surge.at)
    )
    for one, name in tx.execute(query):
        fast = fast_of(name)
        if fast is not None:
            found[one.resource_id] = name, fast, one, one.resource.actual().get(VCPU, 0)
    return found


def _grown(held: Mapping[int, tuple[str, Fast, Case, int]], hour: last_hour.Hour, slots: int) -> Iterator[MachineLook]:
    """What the hour shows of each machine that is enlarged: against the size underneath."""
    for resource_id, (name, fast, one, force) in held.items():
        if fast.check_slots == slots:
            size = one.had().get(VCPU, 0)
            for seen in _seen(hour, [resource_id], [size], [force], name, fast, one.id):
                yield gauges.kept(hour, seen, one)


def _candidates(
    tx: Tx,
    policy: Policy,
    named: Mapping[int, tuple[str, Fast]],
    hour: last_hour.Hour,
    held: Mapping[int, tuple[str, Fast, Case, int]],
    done: Looked,
) -> list[MachineLook]:
    """Machines, databases and middleware in which something reached the line, and whose policy lets them grow within the day."""
    with np.errstate(invalid="ignore"):
        line = 100 * min((fast.level for _, fast in named.values()), default=1.0)
        suspects = hour.resources[(hour.cpu >= line).any(axis=1)]
    calendars = business.calendars(tx)
    found: list[MachineLook] = []
    for start in range(0, len(suspects) if named else 0, MANY):
        ids = [one for one in suspects[start : start + MANY].tolist() if one not in held]
        query = select(Resource).where(Resource.id.in_(ids), Resource.kind.in_(surges.RESTARTED))
        rows = list(tx.scalars(query.order_by(Resource.id)))
        section = pipeline.sections(tx, rows, policy, calendars)
        for at, (name, fast) in named.items():
            members = [one for one, where in zip(rows, section, strict=True) if where == at]
            sizes = [one.actual().get(VCPU, 0) for one in members]
            vcpu = last_hour.last_told(hour.of([one.id for one in members])[1])
            numbers = [one.id for one in members]
            for one, there in zip(_seen(hour, numbers, sizes, sizes, name, fast, None), vcpu, strict=True):
                if one.over and one.size <= 0:
                    done.skipped["unsized"] += 1
                elif one.over and np.isfinite(there) and there != one.size:
                    done.skipped["changed"] += 1
                else:
                    found.append(one)
    return found


def _seen(
    hour: last_hour.Hour,
    ids: Sequence[int],
    sizes: Sequence[int],
    forces: Sequence[int],
    name: str,
    fast: Fast,
    case_id: int | None,
) -> Iterator[MachineLook]:
    cpu, vcpu = hour.of(ids)
    under, force = np.array(sizes, np.float64), np.array(forces, np.float64)
    measured = np.where(np.isfinite(vcpu), vcpu, force[:, None])  # what each percentage is of
    told = expansion.sight(cpu / 100 * measured, under, force, under, fast)
    samples = np.isfinite(cpu).sum(axis=1)
    queued = _queued(hour, ids, measured, cpu >= 100 * fast.level)
    for i, one in enumerate(ids):
        yield MachineLook(
            resource_id=one,
            sizing=name,
            fast=fast,
            case_id=case_id,
            size=int(under[i]),
            known=bool(told.known[i]),
            over=bool(told.over[i]),
            short=bool(told.short[i]),
            samples=int(samples[i]),
            count=int(told.count[i]),
            top=round(float(np.nanmax(cpu[i])), 2) if samples[i] else None,
            wanted=round(max(float(told.wanted[i]), float(queued[i])), 3),
            queued=round(float(queued[i]), 3),
        )


def _queued(hour: last_hour.Hour, ids: Sequence[int], vcpu: Array, capped: Array) -> Array:
    """vCPU [k] that a machine's tasks could have used while it was ``capped`` [k, 12]: the median of its run queue then; 0 where it
    tells none. Of what is not capped a queue says nothing: tasks that wait for a disk are counted in it, too."""
    told = np.where(capped, hour.other((QUEUE,), ids) / 100 * vcpu, np.nan)
    some, found = np.isfinite(told).any(axis=1), np.zeros(len(ids))
    found[some] = np.nanmedian(told[some], axis=1)
    return found


def _slack(tx: Tx, hour: last_hour.Hour, ids: set[int], hot: set[int]) -> dict[int, str]:
    """Those of ``ids`` that have idle fellows in their tier, or in their system where they are in no tier: busy by this hour, idle by the
    latest judgement, and all together by their mean of this hour. With the code of SKIPS that says so."""
    run = findings.last_run(tx)
    if run is None or not ids:
        return {}
    systems = select(Resource.system_id).where(among(Resource.id, ids), Resource.system_id.is_not(None))
    rows = tx.execute(
        select(Resource.id, Resource.system_id, Resource.amounts, Finding.verdict)
        .outerjoin(Finding, (Finding.resource_id == Resource.id) & (Finding.assessment_id == run.id))
        .where(Resource.system_id.in_(systems), Resource.kind.in_(MACHINES), Resource.gone_at.is_(None))
    ).all()
    cpu, _ = hour.of([row.id for row in rows])
    tier_of = tiers.of(tx, [row.id for row in rows])
    wholes: dict[tuple[str, int], WholeSystem] = {}
    for row, samples in zip(rows, cpu, strict=True):
        known = samples[np.isfinite(samples)]
        mean = float(known.mean()) if len(known) >= expansion.COVERED * expansion.HOUR else None
        verdict = Verdict.OVERLOADED if row.id in hot else Verdict(row.verdict or Verdict.UNKNOWN.value)
        for whole in {("system_slack", row.system_id), _whole(tier_of, row.id, row.system_id)}:
            wholes.setdefault(whole, WholeSystem()).take(verdict, int(row.amounts.get(VCPU, 0)), mean)
    level = run.policy_version.rules().system_slack
    mine = {row.id: _whole(tier_of, row.id, row.system_id) for row in rows if row.id in ids}
    return {one: whole[0] for one, whole in mine.items() if wholes[whole].has_slack(level)}


def _whole(tier_of: Mapping[int, int], resource_id: int, system_id: int) -> tuple[str, int]:
    """What a machine is seen as a part of: the code of SKIPS, and the id of its tier, or of its system."""
    return ("tier_slack", tier_of[resource_id]) if resource_id in tier_of else ("system_slack", system_id)


def _hands(workbench: Workbench) -> tuple[dict[int, bool], dict[int, bool]]:
    """Pool id → whether its adapter changes running machines, and whether it resizes at all; one that cannot be opened does neither."""
    live, resizes = {}, {}
    for pool in workbench.pools():
        try:
            provider = workbench.provider(pool)
            resizes[pool.id] = Verb.RESIZE in provider.capabilities
            live[pool.id] = provider.live_resize and resizes[pool.id]
        except (ProviderFault, Refused, OSError):
            live[pool.id] = resizes[pool.id] = False
    return live, resizes


__all__ = ["Looked", "fast_of", "look"]
