"""Everything that speaks of somebody in a month or a quarter, for every indicator that is registered for them.

What happened and was struck by the ruling on an appeal is left out for good; what only holds at a period's end (a
certificate, a combination) is left out of that period, and looked at anew in the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from providers.assessment import appeals, evidence, formula, periods, records, registry
from providers.assessment.formula import Formula
from providers.assessment.measures import EvidenceRow
from providers.assessment.registry import Gathering, GivenRows, Indicator
from providers.assessment.scorecard import Evidence
from providers.assessment.subjects import CardSubject

if TYPE_CHECKING:
    from quota.db import Tx

VETO = "veto"


def beforehand(bench: Any, subject: CardSubject, period: str) -> GivenRows:
    """What indicators do and look up before the book is opened for writing. ``bench``: what the storeys above work with
    (``metering.workbench.Workbench``), handed on as it is."""
    return {
        indicator.code: indicator.beforehand(bench, subject, period)
        for indicator in registry.indicators(subject.type)
        if indicator.beforehand is not None
    }


def gather(
    tx: Tx, subject: CardSubject, period: str, *, by: Formula | None = None, given: GivenRows | None = None
) -> Evidence:
    """Every row that speaks of ``subject`` in ``period`` (2026-10 or 2026-Q4), up to now. ``given``: rows by indicator and
    month that are in hand already (``beforehand``), in place of what the indicator would gather of that month. ``by``: the
    formula by whose terms they are gathered, our default where none is given; what it has people score is gathered, too."""
    by = by or formula.default(subject.type)
    gathering = Gathering(tx, subject, period, periods.months(period), by, given or {})
    struck, struck_then = appeals.struck(tx, subject), appeals.struck(tx, subject, period)
    found: dict[str, list[EvidenceRow]] = {}
    for indicator in registry.indicators(subject.type):
        rows = [row for month in gathering.months for row in _of_month(gathering, indicator, month)]
        rows = [row for row in rows if row.ref not in struck]
        if indicator.holding is not None:
            rows += [row for row in indicator.holding(gathering, rows) if row.ref not in struck_then]
        _declared(indicator, rows)
        found[indicator.code] = rows
    found |= {code: [row for row in rows if row.ref not in struck] for code, rows in _by_hand(gathering, by).items()}
    return timed(found, by, period, tx.now)


def timed(found: Evidence, by: Formula, period: str, known_at: datetime) -> dict[str, Sequence[EvidenceRow]]:
    """``found``, of ``period`` as of ``known_at``; of whose days of lateness ``by`` counts, with the time within which they are."""
    start, end = periods.bounds(period)
    late = {criterion.source for criterion in by.criteria if criterion.measure == formula.arithmetic.LATE}
    return {
        code: formula.arithmetic.timed(rows, start, min(end, known_at)) if code in late else rows
        for code, rows in found.items()
    }


def _by_hand(gathering: Gathering, by: Formula) -> dict[str, list[EvidenceRow]]:
    """What people scored in the period, and what they found that fails by itself, as far as the formula knows it."""
    scored = {criterion.indicator for criterion in by.criteria if criterion.by_hand}
    own = {code for code, label in (by.vetoes or {}).items() if label}
    if not scored and not own:
        return {}
    within = {gathering.period, *gathering.months}
    found: dict[str, list[EvidenceRow]] = {code: [] for code in sorted(scored)}
    for record in records.standing(gathering.tx, gathering.subject, records.BY_HAND.code):
        item, facts = record.figures["item"], record.figures
        if facts["period"] not in within:
            continue
        if item in scored and "points" in facts:
            told = {"points": facts["points"], "scored_by": record.recorded_by}
            found[item].append(EvidenceRow(f"record:{record.id}", told))
        elif item in own:
            found.setdefault(item, []).append(EvidenceRow(f"record:{record.id}", {VETO: item}))
    return found


def _of_month(gathering: Gathering, indicator: Indicator, month: str) -> list[EvidenceRow]:
    rows = gathering.happened(indicator.code, month)
    vetoes = [kind.code for kind in indicator.records if kind.veto]
    if not vetoes:
        return rows
    return [
        *rows,
        *(
            EvidenceRow(f"record:{record.id}", {VETO: record.kind})
            for record in evidence.recorded(gathering, month, *vetoes)
        ),
    ]


def _declared(indicator: Indicator, rows: Sequence[EvidenceRow]) -> None:
    """Raises ValueError for a fact that no reader could be told."""
    known = {fact.name for fact in indicator.facts} | {VETO}
    for row in rows:
        if unknown := row.facts.keys() - known:
            raise ValueError(
                f"indicator {indicator.code}: {row.ref} has facts that it does not declare: {sorted(unknown)}"
            )
