"""Scoring whoever is assessed for a period: what every indicator gathers, kept as a card."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

import metering.cases
import metering.intake
import metering.reports
import metering.statements  # noqa: F401 - their indicators register themselves
from console.scoring import looks
from metering.memory import uncollected
from metering.workbench import Workbench
from providers.assessment import (
    STEWARD,
    CardSubject,
    ScorecardRecord,
    SubjectType,
    cards,
    company,
    department,
    formulas,
    gathering,
    periods,
    system,
    whose,
)
from providers.base import ProviderFault
from providers.billing import bills, incidents
from quota import sealing
from quota.actors import Actor, steward
from quota.directory import CloudProvider, Department, Person, Pool, System
from quota.errors import N_, Refused, WrongState
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

LOOK_BACK = timedelta(days=40)
"""How far back companies are asked for their incidents: what was added later is taken up, too."""


@uncollected()
def score(
    workbench: Workbench, subject: CardSubject, period: str, *, actor: Actor | None = None, reason: str = ""
) -> ScorecardRecord:
    """Score a subject for a month or a quarter by the formula of its first day, and keep the card. Raises WrongState before the period has begun."""
    with workbench.book.reading() as tx:
        start, _end = periods.bounds(period)
        if start > tx.now:
            raise WrongState("period.future", N_("%(period)s 还没有开始"), period=period, field="period")
    given = gathering.beforehand(workbench, subject, period)
    who = actor or steward("job:score")
    with workbench.book.reading(who) as tx:
        stood, by = _standing(tx, subject, period), formulas.in_force_of(tx, subject, period)
        found = gathering.gather(tx, subject, period, by=by, given=given)
    with workbench.book.transaction(who) as tx:
        whose.hold(tx, subject)
        if _standing(tx, subject, period) != stood:  # scored or ruled on meanwhile: what was struck is to stay so
            found = gathering.gather(tx, subject, period, by=by, given=given)
        return cards.keep(tx, subject, period, found, by, reason=reason)


def _standing(tx: Tx, subject: CardSubject, period: str) -> int | None:
    newest = cards.of(tx, subject, period)
    return newest.id if newest is not None else None


@dataclass(slots=True)
class Accounted:
    """What was asked of every cloud. ``faults``: pool's code → what stood in the way."""

    incidents: int = 0
    bills: int = 0
    faults: dict[str, Exception] = field(default_factory=dict)


def ask(workbench: Workbench, pool: Pool) -> Accounted:
    """Ask the cloud of ``pool`` for its incidents of the past weeks and its bill of the past month. Raises what stands in the
    way."""
    now = workbench.book.clock()
    cloud = workbench.provider(pool)
    told = incidents.collect(workbench.book, pool.id, cloud, now - LOOK_BACK, now) or ()
    taken = bills.collect(workbench.book, pool.id, cloud, periods.before(periods.month_of(now)))
    return Accounted(len(told), int(bool(taken and taken.new)))


def collect(workbench: Workbench) -> Accounted:
    """Ask every cloud, one after the other."""
    found = Accounted()
    for pool in workbench.pools():
        try:
            one = ask(workbench, pool)
            found.incidents += one.incidents
            found.bills += one.bills
        except (ProviderFault, Refused, OSError) as error:
            found.faults[pool.code] = error
    return found


def due(workbench: Workbench) -> list[tuple[CardSubject, str]]:
    """Whose card the clock asks for, and of which period, unless it is published: companies' of the past month and quarter,
    everybody else's of the past quarter."""
    now = workbench.book.clock()
    month, quarter = periods.before(periods.month_of(now)), periods.before(periods.quarter_of(now))
    with workbench.book.reading() as tx:
        found = [(one, period) for one in companies(tx) for period in (month, quarter)]
        found += [(one, quarter) for one in (*departments(tx), *systems(tx), STEWARD)]
        done = cards.published(tx, (month, quarter))
    return [one for one in found if one not in done]


class ScoringRound:
    """The cards that the clock asks for and of which there may be new evidence since its last round. Each is scored by ``score``;
    ``keep`` notes how far was looked, so that the next round passes over what stayed as it is."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        self.wanted: list[tuple[CardSubject, str]] = []
        self._asked: dict[tuple[SubjectType, str], set[int]] = {}
        for subject, period in due(workbench):
            self._asked.setdefault((subject.type, period), set()).add(subject.id)
        self._named: dict[SubjectType, set[str]] = {}
        self._stamps: dict[tuple[SubjectType, str], str] = {}
        self._scored: set[tuple[CardSubject, str]] = set()
        with workbench.book.reading() as tx:
            self._seen = sealing.head(tx)[0]  # what is written from here on is seen by the next round
            kept = looks.kept(tx, {period for _kind, period in self._asked})
            for (kind, period), ids in self._asked.items():
                stamp = self._stamps[kind, period] = looks.stamp(workbench, tx, kind, period)
                look = kept.get((kind, period))
                some = ids if look is None else looks.concerned(tx, look, stamp, ids)
                self.wanted += [(CardSubject(kind, one), period) for one in sorted(some)]

    def score(self, subject: CardSubject, period: str) -> ScorecardRecord:
        """Raises as ``score``; such a card is asked for again by the next round."""
        with looks.asked_of(self.workbench.book) as named:
            card = score(self.workbench, subject, period)
        self._named.setdefault(subject.type, set()).update(named)
        self._scored.add((subject, period))
        return card

    def keep(self) -> None:
        wanted = set(self.wanted)
        with self.workbench.book.transaction(steward("job:score")) as tx:
            kept = looks.kept(tx, {period for _kind, period in self._asked})
            for (kind, period), ids in self._asked.items():
                look = kept.get((kind, period))
                before = set(look.subjects) & ids if look is not None else set[int]()
                done = {one for one in before if (CardSubject(kind, one), period) not in wanted}
                done |= {one.id for one, of in self._scored if (one.type, of) == (kind, period)}
                places = {*looks.watched(self._named.get(kind, ())), *(look.places if look is not None else ())}
                looks.keep(tx, kind, period, self._seen, self._stamps[kind, period], places, done)


def companies(tx: Tx) -> list[CardSubject]:
    return [
        company(one)
        for one in tx.scalars(select(CloudProvider.id).where(CloudProvider.active).order_by(CloudProvider.id))
    ]


def departments(tx: Tx) -> list[CardSubject]:
    """Those that have anything of their own, and those with people that have something below them: what only groups others in the
    tree cannot answer for them."""
    above: dict[int, int | None] = dict(tx.execute(select(Department.id, Department.parent_id)).all())
    own = set(tx.scalars(select(Resource.department_id).where(Resource.gone_at.is_(None)).distinct()))
    line: set[int | None] = set()
    for one in own:
        at: int | None = one
        while at is not None and at not in line:
            line.add(at)
            at = above.get(at)
    peopled = set(tx.scalars(select(Person.department_id).where(Person.active).distinct()))
    active = tx.scalars(select(Department.id).where(Department.active).order_by(Department.id))
    return [department(one) for one in active if one in own or one in line & peopled]


def systems(tx: Tx) -> list[CardSubject]:
    """Those that have anything."""
    has = select(Resource.id).where(Resource.system_id == System.id, Resource.gone_at.is_(None)).exists()
    return [system(one) for one in tx.scalars(select(System.id).where(System.active, has).order_by(System.id))]
