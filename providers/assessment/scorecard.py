"""The scorecard: evidence rows and a formula → marks, each with its reason and the rows that it rests on.

Pure: neither database nor clock; the same evidence and formula always give the same card. A formula is data with a
version. An indicator without evidence is not scored, and its weight is spread over those that are:

    mark = max(0, weight − deduction) × 100 ÷ (sum of the weights that are scored)

How much a resource is used is never evidence here: the tenant controls the load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from providers.assessment.measures import HUNDRED, MEASURES, ZERO, Figure, Row, rounded
from quota.errors import N_, Invalid


class Indicator(StrEnum):
    AVAILABILITY = "availability"
    DELIVERY = "delivery"
    INCIDENTS = "incidents"
    SECURITY = "security"
    OPTIMISATION = "optimisation"
    CAPACITY = "capacity"
    SATISFACTION = "satisfaction"
    BACKUP = "backup"
    METERING = "metering"
    XINCHUANG = "xinchuang"
    REPORTING = "reporting"
    COMPLIANCE = "compliance"


LABELS = {
    Indicator.AVAILABILITY: N_("平台可用性"),
    Indicator.DELIVERY: N_("交付及时率"),
    Indicator.INCIDENTS: N_("故障响应与恢复"),
    Indicator.SECURITY: N_("安全事件"),
    Indicator.OPTIMISATION: N_("资源优化执行"),
    Indicator.CAPACITY: N_("容量保障"),
    Indicator.SATISFACTION: N_("满意度"),
    Indicator.BACKUP: N_("备份恢复演练"),
    Indicator.METERING: N_("计量准确性"),
    Indicator.XINCHUANG: N_("信创适配"),
    Indicator.REPORTING: N_("数据上报"),
    Indicator.COMPLIANCE: N_("合规"),
}


class Grade(StrEnum):
    EXCELLENT = "excellent"
    GOOD = "good"
    PASS = "pass"  # noqa: S105 - a grade
    FAIL = "fail"


GRADE_LABELS = {
    Grade.EXCELLENT: N_("优秀"),
    Grade.GOOD: N_("良好"),
    Grade.PASS: N_("合格"),
    Grade.FAIL: N_("不合格"),
}


Evidence = Mapping[Indicator, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one indicator is scored. ``measure`` names the arithmetic (a key of MEASURES; empty: nothing is measured yet),
    ``limits`` its numbers."""

    indicator: Indicator
    weight: Decimal
    measure: str = ""
    limits: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Formula:
    """Rules, and what a total is worth. ``least``: weight that must be scored before a total is graded; ``payment``:
    grade → per cent of the fee that is paid (empty: the formula says nothing of payment)."""

    version: str
    rules: tuple[Rule, ...]
    grades: tuple[tuple[Decimal, Grade], ...]
    least: Decimal
    payment: Mapping[Grade, Decimal] = field(default_factory=dict)

    def paid(self, grade: Grade | str | None) -> Decimal | None:
        """Per cent of the fee that ``grade`` is worth; None where it is not graded or the formula does not say."""
        return self.payment.get(Grade(grade)) if grade else None

    def to_json(self) -> dict[str, Any]:
        told = {"payment": {grade.value: str(share) for grade, share in self.payment.items()}} if self.payment else {}
        return {
            "version": self.version,
            "rules": [
                {
                    "indicator": rule.indicator.value,
                    "weight": str(rule.weight),
                    "measure": rule.measure,
                    "limits": {name: str(figure) for name, figure in rule.limits.items()},
                }
                for rule in self.rules
            ],
            "grades": [[str(floor), grade.value] for floor, grade in self.grades],
            "least": str(self.least),
            **told,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Formula:
        """Raises Invalid for what is no formula."""
        try:
            found = cls(
                raw["version"],
                tuple(
                    Rule(
                        Indicator(one["indicator"]),
                        Decimal(one["weight"]),
                        one["measure"],
                        {name: Decimal(figure) for name, figure in one["limits"].items()},
                    )
                    for one in raw["rules"]
                ),
                tuple((Decimal(floor), Grade(grade)) for floor, grade in raw["grades"]),
                Decimal(raw["least"]),
                {Grade(grade): Decimal(share) for grade, share in raw.get("payment", {}).items()},
            )
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise Invalid("formula.bad", N_("考核公式无效:%(why)s"), why=str(error)) from error
        for rule in found.rules:
            if rule.measure and rule.measure not in MEASURES:
                raise Invalid("formula.bad", N_("考核公式无效:%(why)s"), why=rule.measure)
        return found


@dataclass(frozen=True, slots=True)
class Mark:
    """One indicator of a card. ``figure``, ``deduction`` and ``mark`` are None where it was not scored; ``share`` is its
    weight out of 100 after the spreading (0 where not scored); ``refs`` the evidence rows it rests on, in order."""

    indicator: Indicator
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
    """``total`` out of 100 and ``grade`` are None where less than the formula's least weight could be scored. ``veto``:
    the rows that fail the company whatever its total (一票否决)."""

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
    """Score ``evidence`` by ``formula``. Rows that veto are no part of any figure."""
    figures: dict[Indicator, Figure | None] = {}
    for rule in formula.rules:
        rows = [row for row in evidence.get(rule.indicator, ()) if not row.facts.get("veto")]
        figures[rule.indicator] = MEASURES[rule.measure](rows, rule.limits) if rule.measure and rows else None
    scored = sum((rule.weight for rule in formula.rules if figures[rule.indicator] is not None), ZERO)
    marks = tuple(
        _mark(rule, figures[rule.indicator], evidence.get(rule.indicator, ()), scored) for rule in formula.rules
    )
    veto = tuple(row.ref for rows in evidence.values() for row in rows if row.facts.get("veto"))
    if scored < formula.least or not scored:
        return Scorecard(formula.version, marks, scored, None, Grade.FAIL if veto else None, veto)
    exact = sum(
        (max(ZERO, rule.weight - found.deduction) for rule in formula.rules if (found := figures[rule.indicator])), ZERO
    )
    total = rounded(exact * HUNDRED / scored)
    grade = next((one for floor, one in formula.grades if total >= floor), Grade.FAIL)
    return Scorecard(formula.version, marks, scored, total, Grade.FAIL if veto else grade, veto)


def _mark(rule: Rule, found: Figure | None, rows: Sequence[Row], scored: Decimal) -> Mark:
    refs = tuple(row.ref for row in rows)
    if found is None:
        reason = (TOO_LITTLE if rows else NO_EVIDENCE) if rule.measure else NOT_MEASURED
        return Mark(rule.indicator, rule.weight, ZERO, None, None, None, reason, {}, refs)
    stretch = HUNDRED / scored
    kept = max(ZERO, rule.weight - found.deduction)
    return Mark(
        rule.indicator,
        rule.weight,
        rounded(rule.weight * stretch),
        found.value,
        rounded(min(found.deduction, rule.weight)),
        rounded(kept * stretch),
        found.reason,
        found.params,
        refs,
    )


# ------------------------------------------------------------------------------------------------------------- default


def _rules(rows: Iterable[tuple[Indicator, int, str, Mapping[str, str]]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(indicator, Decimal(weight), measure, {name: Decimal(figure) for name, figure in limits.items()})
        for indicator, weight, measure, limits in rows
    )


DEFAULT = Formula(
    version="default-2",
    rules=_rules(
        [
            (Indicator.AVAILABILITY, 15, "availability", {"full": "0.9995", "per_step": "1", "step": "0.0001", "floor": "0.995"}),
            (Indicator.DELIVERY, 10, "share", {"full": "0.98", "per_point": "1"}),
            (Indicator.INCIDENTS, 12, "misses", {"per_miss": "2"}),
            (Indicator.SECURITY, 13, "security", {"general": "5", "major": "13", "vulnerability": "1"}),
            (Indicator.OPTIMISATION, 8, "share", {"full": "0.95", "per_point": "1"}),
            (Indicator.CAPACITY, 5, "proportion", {"whole": "5"}),
            (
                Indicator.SATISFACTION, 10, "satisfaction",
                {"per_star": "2.5", "least_answers": "30", "least_share": "0.2"},
            ),
            (Indicator.BACKUP, 8, "backup", {"full": "0.99", "per_point": "1", "no_drill": "4"}),
            (Indicator.METERING, 8, "deviation", {"full": "0.005", "step": "0.005", "per_step": "2"}),
            (Indicator.XINCHUANG, 5, "proportion", {"whole": "5"}),
            (
                Indicator.REPORTING, 3, "reporting",
                {"full": "0.99", "per_point": "1", "lag_minutes": "15", "late_share": "0.05", "late": "1"},
            ),
            (Indicator.COMPLIANCE, 3, "proportion", {"whole": "3"}),
        ]
    ),
    grades=((Decimal(90), Grade.EXCELLENT), (Decimal(80), Grade.GOOD), (Decimal(60), Grade.PASS)),
    least=Decimal(10),
    payment={
        Grade.EXCELLENT: Decimal(100), Grade.GOOD: Decimal(95), Grade.PASS: Decimal(85), Grade.FAIL: Decimal(70),
    },
)  # fmt: skip
"""Our own default, to be replaced by the city's. A card of less than 10 of 100 points of weight is not graded."""

YEAR_END_SHARE = Decimal("0.2")
"""Our own default: what the year-end review weighs beside the mean of the quarters."""


def annual(quarters: Sequence[Decimal | None], year_end: Decimal | None) -> Decimal | None:
    """The year: 80 % the mean of the quarters that were scored, 20 % the year-end review; None while either is missing."""
    known = [one for one in quarters if one is not None]
    if not known or year_end is None:
        return None
    return rounded((1 - YEAR_END_SHARE) * sum(known, ZERO) / len(known) + YEAR_END_SHARE * year_end)


def graded(total: Decimal | None, formula: Formula) -> Grade | None:
    """The grade of a total that was not scored from evidence itself (the year)."""
    if total is None:
        return None
    return next((one for floor, one in formula.grades if total >= floor), Grade.FAIL)


__all__ = [
    "DEFAULT",
    "GRADE_LABELS",
    "LABELS",
    "NOT_MEASURED",
    "NO_EVIDENCE",
    "TOO_LITTLE",
    "Evidence",
    "Figure",
    "Formula",
    "Grade",
    "Indicator",
    "Mark",
    "Row",
    "Rule",
    "Scorecard",
    "annual",
    "graded",
    "score",
]
