"""Systems and their tiers seen as wholes: a busy machine beside idle ones that could take over is not a shortage."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from metering.judging import GROWS, Assessment, Finding, Verdict
from providers.base import ServiceKind
from quota.db import among
from quota.inventory import Resource, Tier, TierMember, tiers
from quota.units import VCPU

if TYPE_CHECKING:
    from quota.db import Tx

SPARE = frozenset({Verdict.IDLE, Verdict.UNDERUSED})
MACHINES = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)


@dataclass(slots=True)
class WholeSystem:
    """The machines of one system, or of one tier of it, by one assessment. ``mean_cpu``: % of all their cores, over the machines that are
    known; None where none is."""

    machines: int = 0
    busy: int = 0
    spare: int = 0
    known_cores: int = 0
    used: float = 0.0

    def take(self, verdict: Verdict, cores: int, cpu_mean: float | None) -> None:
        self.machines += 1
        self.busy += verdict in GROWS
        self.spare += verdict in SPARE
        if cpu_mean is not None and cores > 0:
            self.known_cores += cores
            self.used += cores * cpu_mean

    @property
    def mean_cpu(self) -> float | None:
        return self.used / self.known_cores if self.known_cores else None

    def has_slack(self, level: float) -> bool:
        """Whether its load should be spread before anything grows: at least as many machines are idle or underused as
        are busy, and all together use less than ``level`` % of their cores."""
        mean = self.mean_cpu
        return self.busy > 0 and self.spare >= self.busy and mean is not None and mean < level


def figure(numbers: dict[str, Any], name: str) -> float | None:
    """A figure of the longest window that knows it, of ``Finding.numbers``."""
    windows = numbers.get("windows", {})
    for days in sorted(windows, key=int, reverse=True):
        if windows[days].get(name) is not None:
            return float(windows[days][name])
    return None


def whole_systems(tx: Tx, run: Assessment, system_ids: Collection[int]) -> dict[int, WholeSystem]:
    """System id → what ``run`` says of its machines."""
    found: dict[int, WholeSystem] = {}
    if not system_ids:
        return found
    query = (
        select(Finding.verdict, Finding.numbers, Finding.shape, Resource.system_id)
        .join(Resource, Resource.id == Finding.resource_id)
        .where(Finding.assessment_id == run.id, among(Resource.system_id, system_ids), Resource.kind.in_(MACHINES))
    )
    for verdict, numbers, shape, system_id in tx.execute(query):
        one = found.setdefault(system_id, WholeSystem())
        one.take(Verdict(verdict), int(shape.get(VCPU, 0)), figure(numbers, "cpu_mean"))
    return found


def whole_tiers(tx: Tx, run: Assessment, resource_ids: Collection[int]) -> dict[int, WholeSystem]:
    """Resource id → what ``run`` says of the tier that it is in; those in none are left out."""
    tier_of = tiers.of(tx, resource_ids)
    if not tier_of:
        return {}
    query = (
        select(Finding.verdict, Finding.numbers, Finding.shape, TierMember.tier_id)
        .join(TierMember, TierMember.resource_id == Finding.resource_id)
        .join(Tier, tiers.stands())
        .where(Finding.assessment_id == run.id)
        .where(among(TierMember.tier_id, set(tier_of.values())))
    )
    found: dict[int, WholeSystem] = {}
    for verdict, numbers, shape, tier_id in tx.execute(query):
        one = found.setdefault(tier_id, WholeSystem())
        one.take(Verdict(verdict), int(shape.get(VCPU, 0)), figure(numbers, "cpu_mean"))
    return {resource_id: found[tier_id] for resource_id, tier_id in tier_of.items() if tier_id in found}


def fellows(tx: Tx, run: Assessment, system_id: int) -> list[Finding]:
    """The findings of all resources of a system by ``run``, machines first."""
    query = (
        select(Finding)
        .join(Resource, Resource.id == Finding.resource_id)
        .where(Finding.assessment_id == run.id, Resource.system_id == system_id)
        .options(joinedload(Finding.resource))
        .order_by(Resource.kind.not_in(MACHINES), Resource.name, Resource.id)
    )
    return list(tx.scalars(query))
