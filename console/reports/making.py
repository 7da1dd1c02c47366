"""An edition made with what the installation itself has to say: the city's name, the program's version, the newest anchor."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from console import anchors
from console.anchors import Anchor
from console.settings import Settings, named
from metering.reports import ReportEdition, ReportPeriod, editions

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
