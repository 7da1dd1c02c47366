"""The scorecard: evidence rows and a formula → marks, each with its reason and the rows that it rests on.

Pure: neither database nor clock; the same evidence and formula always give the same card, of whomever they speak. An
indicator without evidence is not scored, and its weight is spread over those that are:

    mark = max(0, weight − deduction) × 100 ÷ (sum of the weights that are scored)

How much a resource is used is never evidence against a company: the tenant controls the load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from providers.assessment import registry
from providers.assessment.formula import Criterion, Formula, Grade
from providers.assessment.measures import HUNDRED, ZERO, EvidenceRow, MeasureResult, rounded
from quota.errors import N_

Evidence = Mapping[str, Sequence[EvidenceRow]]
"""Indicator's code → rows."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One indicator of a card. ``figure``, ``deduction`` and ``mark`` are None where it was not scored; ``share`` is its
    weight out of 100 after the spreading (0 where not scored); ``refs`` the evidence rows it rests on, in order."""

    indicator: str
    weight: Decimal
    share: Decimal
    figure: Decimal | None
    deduction: Decimal | None
    mark: Decimal | None
    reason: str
    params: Mapping[str, Any]
    refs: tuple[str, ...]

    @property
    def scored(self) -> bool:
        return self.mark is not None


@dataclass(frozen=True, slots=True)
class Scorecard:
    """``total`` out of 100 and ``grade`` are None where less than the formula's least weight could be scored: too little is
    known to say them. ``veto``: the rows that fail whom the card is about whatever the total (一票否决)."""

    formula: str
    marks: tuple[Mark, ...]
    scored_weight: Decimal
    total: Decimal | None
    grade: Grade | None
    veto: tuple[str, ...] = ()


NOT_MEASURED = N_("尚无此项指标的数据来源,不计分,权重分摊到其他指标")
NO_EVIDENCE = N_("本期没有证据,不计分,权重分摊到其他指标")
TOO_LITTLE = N_("本期证据不足以计分,权重分摊到其他指标")


def score(evidence: Evidence, formula: Formula) -> Scorecard:
    """Score ``evidence`` by ``formula``. Rows that veto are no part of any figure. Raises Invalid for a formula that names
    what is not known here."""
    formula.checked()
    measured = {criterion.indicator: _measure(criterion, evidence) for criterion in formula.criteria}
    scored = sum(
        (criterion.weight for criterion in formula.criteria if measured[criterion.indicator] is not None), ZERO
    )
    marks = tuple(
        _mark(criterion, measured[criterion.indicator], evidence.get(criterion.indicator, ()), scored)
        for criterion in formula.criteria
    )
    veto = tuple(row.ref for rows in evidence.values() for row in rows if row.facts.get("veto"))
    if scored < formula.least or not scored:
        return Scorecard(formula.version, marks, scored, None, Grade.FAIL if veto else None, veto)
    exact = sum(
        (
            max(ZERO, criterion.weight - found.deduction)
            for criterion in formula.criteria
            if (found := measured[criterion.indicator])
        ),
        ZERO,
    )
    total = rounded(exact * HUNDRED / scored)
    return Scorecard(formula.version, marks, scored, total, Grade.FAIL if veto else formula.grade(total), veto)


def _measure(criterion: Criterion, evidence: Evidence) -> MeasureResult | None:
    measure = registry.measure(criterion.measure) if criterion.measure else None
    rows = [row for row in evidence.get(criterion.indicator, ()) if not row.facts.get("veto")]
    return measure.compute(rows, criterion.limits) if measure is not None and rows else None


def _mark(criterion: Criterion, found: MeasureResult | None, rows: Sequence[EvidenceRow], scored: Decimal) -> Mark:
    refs = tuple(row.ref for row in rows)
    if found is None:
        reason = (TOO_LITTLE if rows else NO_EVIDENCE) if criterion.measure else NOT_MEASURED
        return Mark(criterion.indicator, criterion.weight, ZERO, None, None, None, reason, {}, refs)
    stretch = HUNDRED / scored
    kept = max(ZERO, criterion.weight - found.deduction)
    return Mark(
        criterion.indicator,
        criterion.weight,
        rounded(criterion.weight * stretch),
        found.value,
        rounded(min(found.deduction, criterion.weight)),
        rounded(kept * stretch),
        found.reason,
        found.params,
        refs,
    )


YEAR_END_SHARE = Decimal("0.2")
"""Our own default: what the year-end review weighs beside the mean of the quarters."""


def annual(quarters: Sequence[Decimal | None], year_end: Decimal | None) -> Decimal | None:
    """The year: 80 % the mean of the quarters that were scored, 20 % the year-end review; None while either is missing."""
    known = [total for total in quarters if total is not None]
    if not known or year_end is None:
        return None
    return rounded((1 - YEAR_END_SHARE) * sum(known, ZERO) / len(known) + YEAR_END_SHARE * year_end)
