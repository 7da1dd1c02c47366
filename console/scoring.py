"""Scoring a company for a period: what every indicator gathers, kept as a card."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import select

import metering.intake
import metering.statements  # noqa: F401 - their indicators register themselves
from metering.workbench import Workbench
from providers.assessment import ScorecardRecord, cards, company, formulas, gathering, periods
from providers.base import ProviderFault
from providers.billing import bills, incidents
from quota.actors import Actor, steward
from quota.directory import CloudProvider
from quota.errors import N_, Refused, WrongState

LOOK_BACK = timedelta(days=40)
"""How far back companies are asked for their incidents: what was added later is taken up, too."""


def score(
    workbench: Workbench, provider_id: int, period: str, *, actor: Actor | None = None, reason: str = ""
) -> ScorecardRecord:
    """Score a company for a month or a quarter by the formula of its first day, and keep the card. Raises WrongState before the period has begun."""
    with workbench.book.reading() as tx:
        start, _end = periods.bounds(period)
        if start > tx.now:
            raise WrongState("period.future", N_("%(period)s 还没有开始"), period=period, field="period")
    subject = company(provider_id)
    given = gathering.beforehand(workbench, subject, period)
    with workbench.book.transaction(actor or steward("job:score")) as tx:
        by = formulas.in_force(tx, provider_id, period)
        found = gathering.gather(tx, subject, period, by=by, given=given)
        return cards.keep(tx, subject, period, found, by, reason=reason)


@dataclass(slots=True)
class Accounted:
    """What was asked of every cloud. ``faults``: pool's code → what stood in the way."""

    incidents: int = 0
    bills: int = 0
    faults: dict[str, Exception] = field(default_factory=dict)


def collect(workbench: Workbench) -> Accounted:
    """Ask every cloud for its incidents of the past weeks and its bill of the past month."""
    now = workbench.book.clock()
    month = periods.before(periods.month_of(now))
    found = Accounted()
    for pool in workbench.pools():
        try:
            cloud = workbench.provider(pool)
            found.incidents += len(incidents.collect(workbench.book, pool.id, cloud, now - LOOK_BACK, now) or ())
            taken = bills.collect(workbench.book, pool.id, cloud, month)
            found.bills += bool(taken and taken.new)
        except (ProviderFault, Refused, OSError) as error:
            found.faults[pool.code] = error
    return found


def due(workbench: Workbench) -> list[tuple[int, str]]:
    """(company, period) whose card the clock asks for: the past month and the past quarter, unless published."""
    now = workbench.book.clock()
    wanted = [periods.before(periods.month_of(now)), periods.before(periods.quarter_of(now))]
    with workbench.book.reading() as tx:
        companies = tx.scalars(select(CloudProvider.id).where(CloudProvider.active).order_by(CloudProvider.id)).all()
        found = []
        for provider_id in companies:
            for period in wanted:
                card = cards.current(tx, provider_id, period)
                if card is None or not card.published:
                    found.append((provider_id, period))
        return found
