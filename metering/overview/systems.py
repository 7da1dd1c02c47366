"""Systems and departments judged from their machines, and zombie systems from what the system ledger knows.

A system's use is that of its machines together, each weighing what it has; machines that nothing is known of weigh in
the coverage, not in the use. A suspected zombie is a suspicion: the owner's word decides, nothing here acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from metering.judging import Assessment, Finding, findings
from quota.directory import Department, System
from quota.errors import N_
from quota.units import MEMORY, VCPU

if TYPE_CHECKING:
    from quota.db import Tx

ASLEEP_DAYS = 90
"""Without a business login for so long a system is suspected to be a zombie."""
LEAST_ACTIVE = 0.05
"""So is one with fewer of its registered users active in a month."""
COVERED = 0.9
LOW_CPU, LOW_MEMORY, HIGH_CPU, HIGH_MEMORY = 30.0, 40.0, 50.0, 70.0
"""Per cent of the system's cores and memory in the mean: what one province calls low and high. Our default."""


class SystemUse(StrEnum):
    LOW = "system_low"
    NORMAL = "normal"
    HIGH = "system_high"
    UNKNOWN = "unknown"


USES = {
    SystemUse.LOW: N_("利用率低"),
    SystemUse.NORMAL: N_("正常"),
    SystemUse.HIGH: N_("利用率高"),
    SystemUse.UNKNOWN: N_("数据不足"),
}


@dataclass(frozen=True)
class JudgedSystem:
    """One system (or department): machines, their cores, means weighed by what each has (None = unknown), the share
    of cores that something is known of, machines by class, and why it is suspected to be a zombie ("" = it is not)."""

    machines: int
    cores: int
    cpu: float | None
    memory: float | None
    coverage: float
    classes: Mapping[str, int]
    zombie: str = ""

    @property
    def use(self) -> SystemUse:
        """Low needs both figures low, high either: one number alone floods the queue."""
        if self.cpu is None or self.coverage < COVERED:
            return SystemUse.UNKNOWN
        if self.cpu > HIGH_CPU or (self.memory is not None and self.memory > HIGH_MEMORY):
            return SystemUse.HIGH
        if self.cpu < LOW_CPU and (self.memory is None or self.memory < LOW_MEMORY):
            return SystemUse.LOW
        return SystemUse.NORMAL


def judge(rows: Sequence[Finding], zombie: str = "") -> JudgedSystem:
    """A group of machines from their findings of one run."""
    known = cores = 0
    used = 0.0
    remembered = memory_used = 0.0
    classes: dict[str, int] = {}
    for one in rows:
        has = one.had()
        vcpu, memory = has.get(VCPU, 0), has.get(MEMORY, 0)
        cores += vcpu
        classes[one.verdict] = classes.get(one.verdict, 0) + 1
        cpu, mem = _longest(one.numbers, "cpu_mean"), _longest(one.numbers, "mem_mean")
        if cpu is not None:
            known += vcpu
            used += cpu * vcpu
        if mem is not None:
            remembered += memory
            memory_used += mem * memory
    return JudgedSystem(
        len(rows),
        cores,
        used / known if known else None,
        memory_used / remembered if remembered else None,
        known / cores if cores else 0.0,
        classes,
        zombie,
    )


def _longest(numbers: Mapping[str, Any], figure: str) -> float | None:
    windows = numbers.get("windows", {})
    for days in sorted(windows, key=int, reverse=True):
        if windows[days].get(figure) is not None:
            return float(windows[days][figure])
    return None


def zombie(system: System, on: date) -> str:
    """Why ``system`` is suspected: "asleep", "deserted", or "" (also where the ledger says nothing)."""
    if system.online_on is not None and (on - system.online_on).days < ASLEEP_DAYS:
        return ""
    if system.last_business_login_on is not None and (on - system.last_business_login_on).days >= ASLEEP_DAYS:
        return "asleep"
    if system.registered_users and system.monthly_active_users is not None:
        return "deserted" if system.monthly_active_users < LEAST_ACTIVE * system.registered_users else ""
    return ""


ZOMBIES = {"asleep": N_("90天无业务登录"), "deserted": N_("月活不足注册用户的5%")}


def of_run(tx: Tx, run: Assessment | None, on: date) -> list[tuple[System, JudgedSystem]]:
    """Every active system with how it is judged; those suspected first, then by cores."""
    rows: dict[int, list[Finding]] = {}
    if run is not None:
        query = select(Finding).where(Finding.assessment_id == run.id).options(joinedload(Finding.resource))
        for one in tx.scalars(query):
            if one.resource.system_id is not None:
                rows.setdefault(one.resource.system_id, []).append(one)
    told = [
        (system, judge(rows.get(system.id, []), zombie(system, on)))
        for system in tx.scalars(select(System).where(System.active).options(joinedload(System.department)))
    ]
    return sorted(told, key=lambda each: (not each[1].zombie, -each[1].cores, each[0].code))


def latest(tx: Tx, on: date) -> list[tuple[System, JudgedSystem]]:
    """As ``of_run``, of the latest assessment."""
    return of_run(tx, findings.last_run(tx), on)


def departments(tx: Tx, run: Assessment | None) -> list[tuple[Department, JudgedSystem]]:
    """Every active department with how it is judged, from the resources of its own and of those under it, whether or
    not they belong to a system; by cores, the largest first."""
    every = list(tx.scalars(select(Department)))
    parents = {one.id: one.parent_id for one in every}
    rows: dict[int, list[Finding]] = {}
    if run is not None:
        query = select(Finding).where(Finding.assessment_id == run.id).options(joinedload(Finding.resource))
        for one in tx.scalars(query):
            at, seen = one.resource.department_id, set[int]()
            while at is not None and at not in seen:
                rows.setdefault(at, []).append(one)
                seen.add(at)
                at = parents.get(at)
    told = [(one, judge(rows.get(one.id, []))) for one in every if one.active]
    return sorted(told, key=lambda each: (-each[1].cores, each[0].code))
