"""How many of those registered with an information system come to it: as measured in the period's last week, else as typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import select

from metering.intake import PushSource
from metering.visits import SystemVisits, VisitKind
from providers.assessment import (
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Gathering,
    Indicator,
    Measure,
    MeasureResult,
    RefSource,
    SubjectType,
    measures,
    periods,
    register,
)
from quota.directory import System
from quota.errors import N_

LATELY = timedelta(days=7)
MEASURED, TYPED = "measured", "typed"
BASES = {MEASURED: N_("来源推送"), TYPED: N_("台账填报")}


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """One row, where it is known how many are registered and how many of them were active; who says so stands in it."""
    system = gathering.tx.get_one(System, gathering.subject.id)
    last = periods.last_day(gathering.period, gathering.tx.now)
    newest = gathering.tx.execute(
        select(SystemVisits.count, SystemVisits.day, PushSource.name)
        .join(PushSource, PushSource.id == SystemVisits.source_id)
        .where(
            SystemVisits.system_id == system.id,
            SystemVisits.kind == VisitKind.USERS.value,
            SystemVisits.day <= last,
            SystemVisits.day > last - LATELY,
        )
        .order_by(SystemVisits.day.desc(), SystemVisits.count.desc(), SystemVisits.source_id)
        .limit(1)
    ).first()
    users, on, source = newest or (system.monthly_active_users, None, "")
    if not system.registered_users or users is None:
        return []
    facts = {
        "users": min(int(users), system.registered_users), "registered": system.registered_users,
        "basis": MEASURED if newest else TYPED, "source": source, "on": on.isoformat() if on else None,
    }  # fmt: skip
    return [EvidenceRow(f"users:{system.code}", facts)]


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    registered = sum(int(row.facts["registered"]) for row in rows)
    if not registered:
        return None
    share = Decimal(sum(int(row.facts["users"]) for row in rows)) / registered
    return MeasureResult(
        measures.rounded(share, 4), measures.below(share, limits),
        N_("注册用户 %(registered)s 人，活跃占 %(share)s%%，满分线 %(full)s%%"),
        {"registered": registered, "share": measures.percent(share), "full": measures.percent(limits["full"])},
    )  # fmt: skip


register(
    Indicator(
        code="active_users",
        label=N_("活跃用户占比"),
        explanation=N_("期末近30天活跃用户占注册用户的比例：有来源推送的按实测，否则按台账填报"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=Measure("active_share", (measures.FULL, measures.PER_POINT), _measure),
        weight=Decimal(15),
        limits={"full": Decimal("0.2"), "per_point": measures.ONE},
        order=8,
        edition=11,
        holding=gather,
        facts=(
            Fact("users", N_("活跃用户")),
            Fact("registered", N_("注册用户")),
            Fact("basis", N_("口径"), FactFormat.WORD, words=BASES),
            Fact("source", N_("来源"), FactFormat.PLAIN),
            Fact("on", N_("报于"), FactFormat.MOMENT),
        ),
        sources={"users": RefSource(N_("活跃用户"))},
        subjects=frozenset({SubjectType.SYSTEM}),
    )
)
