"""等保 and 密评 in date: of each system that must be assessed, whether it was, and not too long ago."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, select

from providers.assessment import periods
from providers.assessment.evidence import OK
from providers.assessment.measures import PROPORTION, EvidenceRow, FigureUnit
from providers.assessment.registry import (
    Direction,
    EvidenceTerm,
    Fact,
    FactFormat,
    Gathering,
    Indicator,
    RefSource,
    register,
)
from providers.assessment.subjects import SubjectType
from quota.audit import AuditRecord
from quota.db import batches
from quota.directory import System, in_use, subtree
from quota.errors import N_

CODE = "protection"
LEVEL = EvidenceTerm("level", N_("要求等保测评的最低级别"), Decimal(3))
MLPS_DAYS = EvidenceTerm("mlps_days", N_("等保测评有效天数"), Decimal(366))
CRYPTO_DAYS = EvidenceTerm("crypto_days", N_("密评有效天数"), Decimal(366))
SORTS = {"mlps": N_("等保测评"), "crypto": N_("密评")}


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """Each system that was in use at the period's end, of a level that must be assessed."""
    tx, day = gathering.tx, periods.last_day(gathering.period, gathering.tx.now)
    systems = tx.scalars(select(System).where(_whose(gathering), in_use(day)).order_by(System.id)).all()
    amended = _amended(gathering, systems, day)
    return [row for system in systems for row in _of(gathering, system, amended.get(system.id, ()), day)]


def _whose(gathering: Gathering) -> ColumnElement[bool]:
    if gathering.subject.type is SubjectType.SYSTEM:
        return System.id == gathering.subject.id
    return System.department_id.in_(subtree(gathering.tx, gathering.subject.id))


def _of(gathering: Gathering, system: System, amended: Sequence[Mapping[str, Any]], day: date) -> Iterator[EvidenceRow]:
    if system.mlps_level >= gathering.by.term(CODE, LEVEL.name):
        yield _row("mlps", system, amended, day, int(gathering.by.term(CODE, MLPS_DAYS.name)))
    if system.crypto_level:
        yield _row("crypto", system, amended, day, int(gathering.by.term(CODE, CRYPTO_DAYS.name)))


def _row(sort: str, system: System, amended: Sequence[Mapping[str, Any]], day: date, days: int) -> EvidenceRow:
    """Where only an assessment after the period's end is known, that one is told and counts: nothing says that it was not a
    renewal in time."""
    last = _known_on(system, f"{sort}_assessed_on", amended, day)
    return EvidenceRow(
        f"protection:{sort}/{system.code}",
        {"system": system.name, "level": system.mlps_level if sort == "mlps" else system.crypto_level,
         "assessed_on": last and last.isoformat(), "on": day.isoformat(),
         "ok": last is not None and day - last <= timedelta(days=days)},
    )  # fmt: skip


def _known_on(system: System, field: str, amended: Sequence[Mapping[str, Any]], day: date) -> date | None:
    """When a system had last been assessed as of ``day``. The book keeps the newest date alone; where that is a later one, the
    first amendment after the period's end says what stood before it."""
    last: date | None = getattr(system, field)
    if last is None or last <= day:
        return last
    stood = next((before for before in amended if field in before), None)
    return last if stood is None else stood[field] and date.fromisoformat(stood[field])


def _amended(gathering: Gathering, systems: Sequence[System], day: date) -> Mapping[int, Sequence[Mapping[str, Any]]]:
    """System → what stood before each amendment since the period's end, oldest first, of those that were assessed after ``day``."""
    tx, found = gathering.tx, dict[int, list[Mapping[str, Any]]]()
    later = {
        f"system:{one.id}": one.id
        for one in systems
        if any((on := getattr(one, f"{sort}_assessed_on")) is not None and on > day for sort in SORTS)
    }
    for part in batches(sorted(later)):
        query = select(AuditRecord.subject, AuditRecord.before).where(
            AuditRecord.subject.in_(part),
            AuditRecord.action == "system.amend",
            AuditRecord.at >= periods.end(gathering.period, tx.now),
        )
        for subject, before in tx.execute(query.order_by(AuditRecord.sequence)):
            found.setdefault(later[subject], []).append(before)
    return found


register(
    Indicator(
        code=CODE,
        label=N_("等保和密评"),
        explanation=N_("期末应测评的信息系统中等保测评、密评在有效期内的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=PROPORTION,
        weight=Decimal(15),
        limits={"whole": Decimal(15)},
        order=50,
        edition=1,
        holding=gather,
        facts=(
            Fact("system", N_("信息系统"), FactFormat.PLAIN),
            Fact("level", N_("级别")),
            Fact("assessed_on", N_("测评日期"), FactFormat.MOMENT),
            Fact("on", N_("核对日"), FactFormat.MOMENT),
            OK,
        ),
        sources={"protection": RefSource(N_("测评"), SORTS)},
        subjects=frozenset({SubjectType.DEPARTMENT, SubjectType.SYSTEM}),
        terms=(LEVEL, MLPS_DAYS, CRYPTO_DAYS),
    )
)
