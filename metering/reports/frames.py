"""The frame of a report while it is gathered: whose it is, its days, and until when what is written counts as known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, cast, or_, select

from metering.judging import WholeLevels, policies
from metering.reports.periods import ReportPeriod
from metering.reports.readings import LakeReadings, readings
from metering.reports.scopes import ReportScope, ScopeKind
from quota.audit import AuditRecord
from quota.directory import Adjustment, CloudProvider, Department, Pool, Reorganisation, System

if TYPE_CHECKING:
    from quota.calendar import WorkingDays
    from quota.db import Tx

NAMED: Mapping[str, type[Any]] = {
    "department": Department,
    "provider": CloudProvider,
    "pool": Pool,
    "system": System,
}
"""How the audit trail's subjects begin → whose names they are."""


@dataclass(frozen=True)
class Frame:
    """``lake``: the place of its files. ``known_at``: what the book was told later does not count. ``whose_readings``: of the edition
    that this is gathered for, where that has another period."""

    tx: Tx
    lake: str
    scope: ReportScope
    period: ReportPeriod
    known_at: datetime
    calendar: WorkingDays
    whose_readings: LakeReadings | None = None
    start: datetime = field(init=False)
    end: datetime = field(init=False)

    def __post_init__(self) -> None:
        start, end = self.period.instants(self.calendar.zone)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)

    @cached_property
    def readings(self) -> LakeReadings:
        """What it has from the lake."""
        return self.whose_readings or readings(self.lake, self.scope, self.period, self.known_at)

    @property
    def whole(self) -> bool:
        """Whether it is about the whole city."""
        return self.scope.kind is ScopeKind.CITY

    @cached_property
    def pools(self) -> dict[int, Pool]:
        """Every pool by its id."""
        return {one.id: one for one in self.tx.scalars(select(Pool).order_by(Pool.id))}

    @cached_property
    def levels(self) -> WholeLevels:
        """By what systems were judged on the period's last day."""
        return policies.levels(self.tx, self.period.last)

    @cached_property
    def systems(self) -> dict[int, System]:
        """Every system by its id."""
        return {one.id: one for one in self.tx.scalars(select(System).order_by(System.id))}

    @cached_property
    def names(self) -> Mapping[tuple[str, int], str]:
        """(kind, id) → the name as it was at the end of the period: of what was renamed since, the name before that."""
        found = {
            (kind, one_id): name
            for kind, model in NAMED.items()
            for one_id, name in self.tx.execute(select(model.id, model.name))
        }
        renamed = (
            select(AuditRecord.subject, AuditRecord.before)
            .where(
                AuditRecord.at >= self.end,
                AuditRecord.action.in_(["department.rename", "system.amend", "company.amend"]),
                cast(AuditRecord.before, String).like('%"name"%'),
            )
            .order_by(AuditRecord.sequence.desc())
        )
        for subject, before in self.tx.execute(renamed):
            kind, _colon, number = subject.partition(":")
            if "name" in before and number.isdigit():
                found[kind, int(number)] = str(before["name"])
        return found

    def name(self, kind: str, one_id: int | None) -> str | None:
        """The name at that time; None for nobody."""
        return None if one_id is None else self.names.get((kind, one_id))

    @cached_property
    def said_of_systems(self) -> dict[int, dict[str, Any]]:
        """System → what was said of it at the end of the period of what is said otherwise since, as the trail has it."""
        amended = self.tx.execute(
            select(AuditRecord.subject, AuditRecord.before)
            .where(AuditRecord.at >= self.end, AuditRecord.action == "system.amend")
            .order_by(AuditRecord.sequence.desc())
        )
        found: dict[int, dict[str, Any]] = {}
        for subject, before in amended:
            found.setdefault(int(subject.partition(":")[2]), {}).update(before)
        return found

    @cached_property
    def registered_since(self) -> set[int]:
        """Systems that were entered after the end of the period."""
        later = self.tx.scalars(
            select(AuditRecord.subject).where(AuditRecord.at >= self.end, AuditRecord.action == "system.register")
        )
        return {int(subject.partition(":")[2]) for subject in later}

    @cached_property
    def owners_of_systems(self) -> dict[int, int]:
        """System → the department that had it at the end of the period; of those entered since, the first that had them."""
        return self.owners_then("systems", {one.id: one.department_id for one in self.systems.values()})

    def owners_then(self, mover: str, now: Mapping[int, int]) -> dict[int, int]:
        """Row → the department that had it at the end of the period, of rows that reorganisations move by ``mover``; ``now``: who has
        them."""
        found = dict(now)
        moves: list[tuple[datetime, int, int, Reorganisation]] = []
        batches = self.tx.scalars(
            select(Reorganisation).where(or_(Reorganisation.at >= self.end, Reorganisation.undone_at >= self.end))
        )
        for batch in batches:
            if batch.kind == Adjustment.PARENT.value or batch.target_id is None:
                continue
            if batch.undone_at is not None:
                moves.append((batch.undone_at, batch.id, batch.target_id, batch))
            if batch.at >= self.end:
                moves.append((batch.at, batch.id, batch.source_id, batch))
        for _at, _id, before, batch in sorted(moves, key=lambda one: one[:2], reverse=True):
            found |= {one: before for one in batch.moved.get(mover, ()) if one in found}
        return found

    @cached_property
    def departments_then(self) -> dict[int, Department]:
        """Departments that had been entered by the end of the period, by id."""
        later = {
            int(subject.partition(":")[2])
            for subject in self.tx.scalars(
                select(AuditRecord.subject).where(
                    AuditRecord.at >= self.end, AuditRecord.action == "department.register"
                )
            )
        }
        every = self.tx.scalars(select(Department).order_by(Department.id))
        return {one.id: one for one in every if one.id not in later}


def rounded(value: Any, digits: int = 2) -> float | None:
    """A figure as inputs keep it: the same text on every machine; unknown is None."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0


def day(at: date | None) -> str | None:
    return None if at is None else at.isoformat()
