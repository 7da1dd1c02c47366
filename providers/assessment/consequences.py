"""What follows from published cards: consequences that a formula lays down, and of whom they are due.

Reckoned anew whenever it is asked, from the cards that stand: a card that was scored again after an appeal counts once its new
version is published, and a period without a grade neither counts nor bridges two that do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from providers.assessment import formulas, periods
from providers.assessment.cards import ScorecardRecord
from providers.assessment.formula import Consequence, Formula, Grade
from quota.calendar import ZONE

if TYPE_CHECKING:
    from quota.db import Tx

LOOK_BACK = timedelta(days=366)
"""For how long after its last period a run of bad cards is told."""

_ORDER = list(Grade)


@dataclass(frozen=True, slots=True)
class DueConsequence:
    """That ``consequence`` (the ``place``-th of ``formula``) is due of a company, and the cards that make it so, oldest first."""

    provider_id: int
    formula: Formula
    place: int
    cards: Sequence[ScorecardRecord]

    @property
    def consequence(self) -> Consequence:
        return self.formula.consequences[self.place]


def due(tx: Tx, provider_id: int | None = None) -> list[DueConsequence]:
    """What is due of one company, or of every one, by the formula that holds today; the newest first."""
    today = tx.now.astimezone(ZONE).date()
    enacted = formulas.enacted(tx)
    wanted = {
        company: by
        for company in ([provider_id] if provider_id is not None else enacted.contracts)
        if (by := enacted.formula(company, today)).consequences
    }
    if not wanted:
        return []
    since = f"{(today - 2 * LOOK_BACK).year}-"
    query = (
        select(ScorecardRecord)
        .where(ScorecardRecord.provider_id.in_(wanted), ScorecardRecord.month >= since)
        .order_by(ScorecardRecord.revision)
    )
    standing: dict[int, dict[str, ScorecardRecord]] = {company: {} for company in wanted}
    for card in tx.scalars(query):
        if card.provider_id is not None:
            standing[card.provider_id][card.month] = card
    found = [one for company, by in wanted.items() for one in _due(company, by, standing[company], today)]
    return sorted(found, key=lambda one: one.cards[-1].month, reverse=True)


def _due(company: int, by: Formula, standing: Mapping[str, ScorecardRecord], today: date) -> Iterator[DueConsequence]:
    for place, one in enumerate(by.consequences):
        bad = [
            card
            for period, card in sorted(standing.items())
            if card.published and periods.is_quarter(period) == (one.length == "quarter") and _as_bad(card, one.grade)
        ]
        cards = _run(bad, one.times) if one.running else _of_year(bad, one.times)
        if cards and periods.bounds(cards[-1].month)[1].date() >= today - LOOK_BACK:
            yield DueConsequence(company, by, place, cards)


def _as_bad(card: ScorecardRecord, grade: Grade) -> bool:
    return card.grade is not None and _ORDER.index(Grade(card.grade)) >= _ORDER.index(grade)


def _run(bad: Sequence[ScorecardRecord], times: int) -> Sequence[ScorecardRecord]:
    """The newest run of ``times`` or more periods, each the one after the other."""
    newest: list[ScorecardRecord] = []
    run: list[ScorecardRecord] = []
    for card in bad:
        run = [*run, card] if run and periods.before(card.month) == run[-1].month else [card]
        newest = run if len(run) >= times else newest
    return newest


def _of_year(bad: Sequence[ScorecardRecord], times: int) -> Sequence[ScorecardRecord]:
    """Those of the newest calendar year that has ``times`` or more."""
    years: dict[str, list[ScorecardRecord]] = {}
    for card in bad:
        years.setdefault(card.month[:4], []).append(card)
    enough = [year for year, cards in years.items() if len(cards) >= times]
    return years[max(enough)] if enough else []
