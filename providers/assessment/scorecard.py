"""The scorecard: evidence rows and a formula → marks, each with its reason and the rows that it rests on.

Pure: neither database nor clock; the same evidence and formula always give the same card, of whomever they speak. An
indicator without evidence is not scored, and its weight is spread over those that are:

    mark = max(0, weight − deduction) × 100 ÷ (sum of the weights that are scored)

What a formula calls a bonus or a penalty moves the total by the points given, within its bound; a total stays within 0 and 100.

How much a resource is used is never evidence against a company: the tenant controls the load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from providers.assessment.formula import Criterion, CriterionRole, Formula, Grade, arithmetic, to_json
from providers.assessment.measures import HUNDRED, ZERO, EvidenceRow, MeasureResult, plain, rounded
from quota.errors import N_
from quota.seals import fingerprint
from quota.seals import plain as plain_json

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
NOTHING_GIVEN = N_("本期没有记录")
GIVEN = N_("%(count)s 项记录,合计 %(points)s 分,上限 %(most)s 分")


def score(evidence: Evidence, formula: Formula) -> Scorecard:
    """Score ``evidence`` by ``formula``. Rows that veto are no part of any figure. Raises Invalid for a formula that names
    what is not known here."""
    formula.checked()
    weighed = [criterion for criterion in formula.criteria if criterion.role is CriterionRole.WEIGHED]
    measured = {criterion.indicator: _measure(criterion, evidence) for criterion in weighed}
    scored = sum((criterion.weight for criterion in weighed if measured[criterion.indicator] is not None), ZERO)
    marks = tuple(
        _mark(criterion, measured[criterion.indicator], evidence.get(criterion.source, ()), scored)
        if criterion.role is CriterionRole.WEIGHED
        else _moved(criterion, evidence)
        for criterion in formula.criteria
    )
    veto = tuple(row.ref for rows in evidence.values() for row in rows if _vetoes(formula, row))
    if scored < formula.least or not scored:
        return Scorecard(formula.version, marks, scored, None, Grade.FAIL if veto else None, veto)
    kept = (
        max(ZERO, criterion.weight - found.deduction)
        for criterion in weighed
        if (found := measured[criterion.indicator])
    )
    exact = sum(kept, ZERO) * HUNDRED / scored
    exact += sum(
        (
            mark.mark
            for criterion, mark in zip(formula.criteria, marks, strict=True)
            if criterion.role is not CriterionRole.WEIGHED and mark.mark is not None
        ),
        ZERO,
    )
    total = rounded(min(HUNDRED, max(ZERO, exact)))
    return Scorecard(formula.version, marks, scored, total, Grade.FAIL if veto else formula.grade(total), veto)


def _vetoes(formula: Formula, row: EvidenceRow) -> bool:
    told = row.facts.get("veto")
    return bool(told) and (formula.vetoes is None or told in formula.vetoes)


def _measure(criterion: Criterion, evidence: Evidence) -> MeasureResult | None:
    measure = arithmetic.measure(criterion.source, criterion.measure) if criterion.measure else None
    rows = [row for row in evidence.get(criterion.source, ()) if not row.facts.get("veto")]
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


def _moved(criterion: Criterion, evidence: Evidence) -> Mark:
    """A bonus or a penalty: the sum of the points given, within its weight. No share of the hundred. One that is measured takes
    off what its measure deducts, or gives what that leaves of its weight."""
    rows = evidence.get(criterion.source, ())
    refs = tuple(row.ref for row in rows)
    if not criterion.by_hand:
        found = _measure(criterion, evidence)
        if found is None:
            reason = TOO_LITTLE if rows else NOTHING_GIVEN
            return Mark(criterion.indicator, criterion.weight, ZERO, None, None, None, reason, {}, refs)
        lost = rounded(min(found.deduction, criterion.weight))
        points = criterion.weight - lost if criterion.role is CriterionRole.BONUS else -lost
        off = ZERO if criterion.role is CriterionRole.BONUS else lost
        return Mark(
            criterion.indicator, criterion.weight, ZERO, found.value, off, points, found.reason, found.params, refs
        )
    if not rows:
        return Mark(criterion.indicator, criterion.weight, ZERO, None, None, None, NOTHING_GIVEN, {}, refs)
    given = sum((Decimal(str(row.facts["points"])) for row in rows), ZERO)
    points = rounded(min(criterion.weight, given))
    params = {"count": len(rows), "points": plain(given), "most": plain(criterion.weight)}
    if criterion.role is CriterionRole.BONUS:
        return Mark(criterion.indicator, criterion.weight, ZERO, given, ZERO, points, GIVEN, params, refs)
    return Mark(criterion.indicator, criterion.weight, ZERO, given, points, -points, GIVEN, params, refs)


# ------------------------------------------------------------------------------------------------------------ its seal


def figures(mark: Any) -> tuple[Any, ...]:
    """What two marks are compared by: a Mark, or one as the book keeps it."""
    return mark.weight, mark.share, mark.figure, mark.deduction, mark.mark, mark.reason, plain_json(mark.params)


def seal(formula: Formula, evidence: Evidence, card: Scorecard) -> str:
    """The digest over formula, rows and marks that the book keeps of a card."""
    rows: Mapping[str, Any] = {
        indicator: [[row.ref, row.facts] for row in found] for indicator, found in sorted(evidence.items()) if found
    }
    marks = [[mark.indicator, *map(str, figures(mark)[:5])] for mark in card.marks]
    return fingerprint({"formula": to_json(formula), "evidence": rows, "marks": marks, "total": str(card.total)})
