"""The scorecard: evidence rows and a formula → marks, each with its reason and the rows that it rests on.

Pure: neither database nor clock; the same evidence and formula always give the same card. A formula is data with a
version. An indicator without evidence is not scored, and its weight is spread over those that are:

    mark = max(0, weight − deduction) × 100 ÷ (sum of the weights that are scored)

How much a resource is used is never evidence here: the tenant controls the load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from quota.errors import N_, Invalid

ZERO, ONE, HUNDRED = Decimal(0), Decimal(1), Decimal(100)


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


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of evidence. ``ref`` names the row of the book (order:12, bill_line:7); ``facts`` are plain JSON, figures
    with decimals as text."""

    ref: str
    facts: Mapping[str, Any] = field(default_factory=dict)


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
    """Rules, and what a total is worth. ``least``: weight that must be scored before a total is graded."""

    version: str
    rules: tuple[Rule, ...]
    grades: tuple[tuple[Decimal, Grade], ...]
    least: Decimal

    def to_json(self) -> dict[str, Any]:
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
            )
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise Invalid("formula.bad", N_("考核公式无效:%(why)s"), why=str(error)) from error
        for rule in found.rules:
            if rule.measure and rule.measure not in MEASURES:
                raise Invalid("formula.bad", N_("考核公式无效:%(why)s"), why=rule.measure)
        return found


@dataclass(frozen=True, slots=True)
class Figure:
    """What a measure found: the figure, what it deducts, and a sentence (a msgid with its params)."""

    value: Decimal
    deduction: Decimal
    reason: str
    params: Mapping[str, Any]


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
    """``total`` out of 100 and ``grade`` are None where less than the formula's least weight could be scored."""

    formula: str
    marks: tuple[Mark, ...]
    scored_weight: Decimal
    total: Decimal | None
    grade: Grade | None


NOT_MEASURED = N_("尚无此项指标的数据来源,不计分,权重分摊到其他指标")
NO_EVIDENCE = N_("本期没有证据,不计分,权重分摊到其他指标")


def score(evidence: Evidence, formula: Formula) -> Scorecard:
    """Score ``evidence`` by ``formula``."""
    figures: dict[Indicator, Figure | None] = {}
    for rule in formula.rules:
        rows = evidence.get(rule.indicator, ())
        figures[rule.indicator] = MEASURES[rule.measure](rows, rule.limits) if rule.measure and rows else None
    scored = sum((rule.weight for rule in formula.rules if figures[rule.indicator] is not None), ZERO)
    marks = tuple(
        _mark(rule, figures[rule.indicator], evidence.get(rule.indicator, ()), scored) for rule in formula.rules
    )
    if scored < formula.least or not scored:
        return Scorecard(formula.version, marks, scored, None, None)
    exact = sum(
        (max(ZERO, rule.weight - found.deduction) for rule in formula.rules if (found := figures[rule.indicator])), ZERO
    )
    total = _rounded(exact * HUNDRED / scored)
    grade = next((one for floor, one in formula.grades if total >= floor), Grade.FAIL)
    return Scorecard(formula.version, marks, scored, total, grade)


def _mark(rule: Rule, found: Figure | None, rows: Sequence[Row], scored: Decimal) -> Mark:
    refs = tuple(row.ref for row in rows)
    if found is None:
        reason = NO_EVIDENCE if rule.measure else NOT_MEASURED
        return Mark(rule.indicator, rule.weight, ZERO, None, None, None, reason, {}, refs)
    stretch = HUNDRED / scored
    kept = max(ZERO, rule.weight - found.deduction)
    return Mark(
        rule.indicator,
        rule.weight,
        _rounded(rule.weight * stretch),
        found.value,
        _rounded(min(found.deduction, rule.weight)),
        _rounded(kept * stretch),
        found.reason,
        found.params,
        refs,
    )


# ------------------------------------------------------------------------------------------------------------ measures


def _share(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure:
    """Share of rows that are ``ok``; below ``full``, ``per_point`` for each percentage point, in proportion."""
    good = sum(bool(row.facts["ok"]) for row in rows)
    share = Decimal(good) / len(rows)
    deduction = _below(share, limits["full"], limits["per_point"])
    return Figure(
        _rounded(share, 4), deduction, N_("%(count)s 件中 %(good)s 件按时完成,按时率 %(share)s%%,满分线 %(full)s%%"),
        {"count": len(rows), "good": good, "share": _percent(share), "full": _percent(limits["full"])},
    )  # fmt: skip


def _reporting(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure:
    """Samples received ÷ expected; below ``full``, ``per_point`` a percentage point. ``late`` more where on more than
    ``late_share`` of the rows that tell it the lag exceeds ``lag_minutes``."""
    expected = sum(int(row.facts["expected"]) for row in rows)
    received = sum(int(row.facts["received"]) for row in rows)
    share = min(ONE, Decimal(received) / expected) if expected else ZERO
    lags = [Decimal(str(row.facts["lag_minutes"])) for row in rows if row.facts.get("lag_minutes") is not None]
    late = sum(lag > limits["lag_minutes"] for lag in lags)
    deduction = _below(share, limits["full"], limits["per_point"])
    if lags and Decimal(late) / len(lags) > limits["late_share"]:
        deduction += limits["late"]
    return Figure(
        _rounded(share, 4), deduction,
        N_("应收样本 %(expected)s,实收 %(received)s,完整率 %(share)s%%(满分线 %(full)s%%);"
           "%(lags)s 次中 %(late)s 次时延超过 %(limit)s 分钟"),
        {"expected": expected, "received": received, "share": _percent(share), "full": _percent(limits["full"]),
         "lags": len(lags), "late": late, "limit": _plain(limits["lag_minutes"])},
    )  # fmt: skip


def _deviation(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure | None:
    """Disputed ÷ metered unit-hours of each kind, the mean over the kinds; above ``full``, ``per_step`` for each ``step``,
    in proportion. None where nothing could be metered or disputed: that is no evidence."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in rows:
        disputed, metered = sums.get(row.facts["kind"], (ZERO, ZERO))
        sums[row.facts["kind"]] = (
            disputed + Decimal(row.facts["disputed"]),
            metered + Decimal(row.facts["metered"]),
        )
    # A kind that is billed and was never there is wholly wrong, not infinitely.
    kinds = [min(ONE, d / m) if m > 0 else ONE for d, m in sums.values() if m > 0 or d > 0]
    if not kinds:
        return None
    deviation = sum(kinds, ZERO) / len(kinds)
    deduction = max(ZERO, deviation - limits["full"]) / limits["step"] * limits["per_step"]
    wrong = sum(Decimal(row.facts["disputed"]) > 0 for row in rows)
    return Figure(
        _rounded(deviation, 6), deduction,
        N_("%(count)s 项账单用量中 %(wrong)s 项与自主计量不符,平均偏差 %(deviation)s%%,满分线 %(full)s%%"),
        {"count": len(rows), "wrong": wrong, "deviation": _percent(deviation), "full": _percent(limits["full"])},
    )  # fmt: skip


def _misses(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure:
    """``per_miss`` for each time limit that was missed."""
    misses = sum(int(row.facts["misses"]) for row in rows)
    return Figure(
        Decimal(misses), misses * limits["per_miss"],
        N_("%(count)s 起已定责故障中,超出响应或恢复时限 %(misses)s 次"),
        {"count": len(rows), "misses": misses},
    )  # fmt: skip


Measure = Callable[[Sequence[Row], Mapping[str, Decimal]], Figure | None]

MEASURES: Mapping[str, Measure] = {
    "share": _share,
    "reporting": _reporting,
    "deviation": _deviation,
    "misses": _misses,
}


def _below(share: Decimal, full: Decimal, per_point: Decimal) -> Decimal:
    return max(ZERO, full - share) * HUNDRED * per_point


def _rounded(figure: Decimal, places: int = 2) -> Decimal:
    return figure.quantize(ONE.scaleb(-places), ROUND_HALF_UP)


def _percent(share: Decimal) -> str:
    return _plain(_rounded(share * HUNDRED))


def _plain(figure: Decimal) -> str:
    return f"{figure.normalize():f}"


# ------------------------------------------------------------------------------------------------------------- default


def _rules(rows: Iterable[tuple[Indicator, int, str, Mapping[str, str]]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(indicator, Decimal(weight), measure, {name: Decimal(figure) for name, figure in limits.items()})
        for indicator, weight, measure, limits in rows
    )


DEFAULT = Formula(
    version="default-1",
    rules=_rules(
        [
            (Indicator.AVAILABILITY, 15, "", {}),
            (Indicator.DELIVERY, 10, "share", {"full": "0.98", "per_point": "1"}),
            (Indicator.INCIDENTS, 12, "misses", {"per_miss": "2"}),
            (Indicator.SECURITY, 13, "", {}),
            (Indicator.OPTIMISATION, 8, "share", {"full": "0.95", "per_point": "1"}),
            (Indicator.CAPACITY, 5, "", {}),
            (Indicator.SATISFACTION, 10, "", {}),
            (Indicator.BACKUP, 8, "", {}),
            (Indicator.METERING, 8, "deviation", {"full": "0.005", "step": "0.005", "per_step": "2"}),
            (Indicator.XINCHUANG, 5, "", {}),
            (
                Indicator.REPORTING, 3, "reporting",
                {"full": "0.99", "per_point": "1", "lag_minutes": "15", "late_share": "0.05", "late": "1"},
            ),
            (Indicator.COMPLIANCE, 3, "", {}),
        ]
    ),
    grades=((Decimal(90), Grade.EXCELLENT), (Decimal(80), Grade.GOOD), (Decimal(60), Grade.PASS)),
    least=Decimal(10),
)  # fmt: skip
"""Our own default, to be replaced by the city's. A card of less than 10 of 100 points of weight is not graded."""
