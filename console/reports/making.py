"""An edition made with what the installation itself has to say: the city's name, the program's version, the newest anchor."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from console import anchors
from console.anchors import Anchor
from console.settings import Settings, named
from metering.reports import ReportEdition, ReportPeriod, ScopeKind, editions, periods
from quota.directory import CloudProvider, Department

if TYPE_CHECKING:
    from metering.workbench import Workbench
    from quota.actors import Actor
    from quota.db import Tx


def make(
    workbench: Workbench,
    settings: Settings,
    scope: str,
    period: ReportPeriod,
    *,
    actor: Actor,
    reason: str = "",
    anew: bool = False,
    known_at: datetime | None = None,
) -> ReportEdition:
    """As ``editions.make``."""
    with workbench.book.reading() as tx:
        standing = _standing(tx, settings, period)
    return editions.make(
        workbench, scope, period, actor=actor, reason=reason, anew=anew, known_at=known_at, standing=standing
    )


def due(tx: Tx, zone: ZoneInfo) -> Iterator[tuple[str, ReportPeriod]]:
    """Whose reports of which periods should be there and are not: of the month before, and of the quarter, half and year where
    it was their last; of the city, each company, and each department that stands under no other."""
    month = periods.last_month(tx.now, zone)
    codes = [month.code]
    if month.last.month % 3 == 0:
        codes.append(f"{month.last.year}Q{month.last.month // 3}")
    if month.last.month % 6 == 0:
        codes.append(f"{month.last.year}H{month.last.month // 6}")
    if month.last.month == 12:
        codes.append(f"{month.last.year}")
    whose: list[tuple[ScopeKind, int, str]] = [(ScopeKind.CITY, 0, "")]
    for kind, of in (
        (ScopeKind.PROVIDER, select(CloudProvider.id, CloudProvider.code).where(CloudProvider.active)),
        (
            ScopeKind.DEPARTMENT,
            select(Department.id, Department.code).where(Department.active, Department.parent_id.is_(None)),
        ),
    ):
        whose += [(kind, one, code) for one, code in sorted(tx.execute(of).all(), key=lambda row: row.code)]
    for period in map(periods.period, codes):
        there = editions.made(tx, period)
        for kind, one, code in whose:
            if (kind.value, one) not in there:
                yield f"{kind.value}:{code}" if code else kind.value, period


def _standing(tx: Tx, settings: Settings, period: ReportPeriod) -> dict[str, Any]:
    """What of it is as of the period's end is asked for as of then: the anchor."""
    end = period.instants(settings.zone)[1]
    anchor = tx.scalar(select(Anchor).where(Anchor.at < end).order_by(Anchor.sequence.desc()).limit(1))
    return {
        "city": named(settings, tx).city,
        "program": _program(),
        "anchor": {"sequence": anchor.sequence, "fingerprint": anchors.short(anchor.token)} if anchor else None,
    }


def _program() -> str:
    try:
        return f"guanjia {version('guanjia')}"
    except PackageNotFoundError:
        return "guanjia"
