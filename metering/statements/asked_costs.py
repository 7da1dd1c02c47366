"""What a request would cost a month by the tariff in force, as a fact that approval rules may speak of."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from metering.statements import tariffs
from metering.statements.tariffs import HOURS, Per, Subject
from providers.contracts import Held
from quota.calendar import ZONE
from quota.errors import N_
from quota.requests import Request, RuleFact, facts
from quota.units import Arch, ClassCode, shown

if TYPE_CHECKING:
    from quota.db import Tx


def month_yuan(tx: Tx, request: Request) -> float | None:
    """Yuan a month, to the fen, of what ``request`` adds; what it returns is not set off. None where something has no price."""
    day, pool = tx.now.astimezone(ZONE).date(), request.pool
    known, total = tariffs.entered(tx), Decimal(0)
    lots = tariffs.lots(tx, known)
    for line in request.lines:
        for code, amount in line.takes().items():
            held = Held(pool.provider_id, pool.id, code, line.item_id, request.department_id)
            subject = Subject(ClassCode(code), Arch(pool.arch), pool.provider_id, line.item_id, lots.on(held, day))
            price = tariffs.in_force(known, subject, day)
            if price is None:
                return None
            hours = HOURS if price.per == Per.HOUR else 1
            total += price.unit_price(stopped=False) * hours * Decimal(str(shown(code, amount)))
    return float(round(total, 2))


facts.register("month_yuan", RuleFact(float, N_("每月费用 元"), 0), month_yuan)
