"""到期事项在期率: whether what a department has of certificates, domain names, licences and vendors was in date at the period's end, and who
of vendors' people had ended was out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import func, or_, select

from providers.assessment import periods
from providers.assessment.evidence import OK
from providers.assessment.measures import SHARE, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, register
from providers.assessment.subjects import SubjectType
from quota.directory import DATED_LABELS, DatedEntry, DatedTerm
from quota.errors import N_


def standing(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """What the department had at the period's end, by the days that had been said by then."""
    tx, (_start, end) = gathering.tx, periods.bounds(gathering.period)
    known = min(end, tx.now)
    last = periods.last_day(gathering.period, tx.now)
    newest = select(func.max(DatedTerm.id)).where(DatedTerm.entry_id == DatedEntry.id, DatedTerm.at <= known)
    found = tx.execute(
        select(DatedEntry, DatedTerm.ends_on)
        .join(DatedTerm, DatedTerm.id == newest.correlate(DatedEntry).scalar_subquery())
        .where(
            DatedEntry.department_id == gathering.subject.id,
            or_(DatedEntry.closed_on.is_(None), DatedEntry.closed_on > last),
        )
        .order_by(DatedEntry.id)
    )
    return [
        EvidenceRow(
            one.ref, {"name": one.name, "kind": one.kind, "ends_on": ends_on.isoformat(), "ok": ends_on >= last}
        )
        for one, ends_on in found
    ]


register(
    Indicator(
        code="dated",
        label=N_("到期事项在期率"),
        explanation=N_(
            "期末登记的证书、域名、软件许可和供应商在有效期内,到期的供应商人员已退出的比例;按期末已登记的到期日计"
        ),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=SHARE,
        weight=Decimal(5),
        limits={"full": Decimal(1), "per_point": Decimal("0.1")},
        order=58,
        edition=10,
        holding=standing,
        subjects=frozenset({SubjectType.DEPARTMENT}),
        facts=(
            Fact("name", N_("名称"), FactFormat.PLAIN),
            Fact("kind", N_("类型"), FactFormat.WORD, words=DATED_LABELS),
            Fact("ends_on", N_("到期日"), FactFormat.MOMENT),
            OK,
        ),
    )
)
