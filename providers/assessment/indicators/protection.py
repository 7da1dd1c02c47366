"""等保 and 密评 in date: of each system that must be assessed, whether it was, and not too long ago."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, or_, select

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
from quota.directory import System, subtree
from quota.errors import N_

CODE = "protection"
LEVEL = EvidenceTerm("level", N_("要求等保测评的最低级别"), Decimal(3))
MLPS_DAYS = EvidenceTerm("mlps_days", N_("等保测评有效天数"), Decimal(366))
CRYPTO_DAYS = EvidenceTerm("crypto_days", N_("密评有效天数"), Decimal(366))
SORTS = {"mlps": N_("等保测评"), "crypto": N_("密评")}


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """Each system in use of a level that must be assessed, as it stands at the period's end."""
    tx, day = gathering.tx, periods.last_day(gathering.period, gathering.tx.now)
    systems = tx.scalars(
        select(System)
        .where(_whose(gathering), System.active, or_(System.offline_on.is_(None), System.offline_on > day))
        .order_by(System.id)
    )
    return [row for system in systems for row in _of(gathering, system, day)]


def _whose(gathering: Gathering) -> ColumnElement[bool]:
    if gathering.subject.type is SubjectType.SYSTEM:
        return System.id == gathering.subject.id
    return System.department_id.in_(subtree(gathering.tx, gathering.subject.id))


def _of(gathering: Gathering, system: System, day: date) -> Iterator[EvidenceRow]:
    if system.mlps_level >= gathering.by.term(CODE, LEVEL.name):
        yield _row("mlps", system, system.mlps_assessed_on, day, int(gathering.by.term(CODE, MLPS_DAYS.name)))
    if system.crypto_level:
        yield _row("crypto", system, system.crypto_assessed_on, day, int(gathering.by.term(CODE, CRYPTO_DAYS.name)))


def _row(sort: str, system: System, last: date | None, day: date, days: int) -> EvidenceRow:
    last = last if last is not None and last <= day else None
    return EvidenceRow(
        f"protection:{sort}/{system.code}",
        {"system": system.name, "level": system.mlps_level if sort == "mlps" else system.crypto_level,
         "assessed_on": last and last.isoformat(), "on": day.isoformat(),
         "ok": last is not None and day - last <= timedelta(days=days)},
    )  # fmt: skip


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
