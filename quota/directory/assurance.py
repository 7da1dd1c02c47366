"""Until when the last assessments of a system are good: 等保测评 by its level, 密评. Their ends are among what ends (``dated``), so they are
listed, told in time and known to rules and cards as everything there is.

Intervals: 等保 level 3 and 5 once a year, level 4 every half year (信息安全等级保护管理办法, art. 14), level 2 every second year as
cities do; 密评 once a year (商用密码应用安全性评估管理办法).
"""

from __future__ import annotations

import calendar
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import String, and_, cast, exists, or_, select, true

from quota.calendar import ZONE
from quota.directory import dated, departments
from quota.directory.dated import DatedEntry, DatedKind
from quota.directory.departments import System
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx

MLPS_MONTHS = {2: 24, 3: 12, 4: 6, 5: 12}
"""Level of a system → months after which it is assessed again; none for level 1, which nobody assesses."""
CRYPTO_MONTHS = 12

KINDS = {DatedKind.MLPS: "mlps_assessed_on", DatedKind.CRYPTO: "crypto_assessed_on"}
MOST = 2000
"""Systems that a sweep takes up."""


def good_until(kind: DatedKind, level: int | None, assessed_on: date | None) -> date | None:
    """The last day on which an assessment of that day is good; None where there was none, or none is due."""
    months = MLPS_MONTHS.get(level or 0) if kind is DatedKind.MLPS else CRYPTO_MONTHS
    if assessed_on is None or months is None:
        return None
    year, month = divmod(assessed_on.year * 12 + assessed_on.month - 1 + months, 12)
    return date(year, month + 1, min(assessed_on.day, calendar.monthrange(year, month + 1)[1]))


@departments.said_of_a_system
def follow(tx: Tx, system: System) -> None:
    """Keep the ends of a system's assessments, as it is said now; of one that is off line there are none."""
    for kind, field in KINDS.items():
        until = good_until(kind, system.mlps_level, getattr(system, field)) if system.active else None
        if until is None:
            dated.end(
                tx, _source(system.id, kind), tx.now.astimezone(ZONE).date(), N_("信息系统已停用，或没有测评日期")
            )
            continue
        reason = N_("按信息系统台账的测评日期")
        dated.follow(tx, kind, _source(system.id, kind), system.name, until, department_id=system.department_id,
                     system_id=system.id, reason=reason)  # fmt: skip


def _source(system_id: int, kind: DatedKind) -> str:
    return f"system:{system_id}:{kind.value}"


def sweep(tx: Tx) -> int:
    """Take up systems whose assessments were said before their ends were kept."""
    missing = [
        and_(
            getattr(System, field).is_not(None),
            System.mlps_level.in_(MLPS_MONTHS) if kind is DatedKind.MLPS else true(),
            ~exists().where(DatedEntry.source == "system:" + cast(System.id, String) + f":{kind.value}"),
        )
        for kind, field in KINDS.items()
    ]
    found = tx.scalars(select(System).where(System.active, or_(*missing)).order_by(System.id).limit(MOST)).all()
    for system in found:
        follow(tx, system)
    return len(found)
