"""The formula: what counts how much, what a total is worth. Data with a version.

Pure: neither database nor clock. A formula names indicators and measures by code; ``checked`` says whether this installation
knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from providers.assessment import registry
from providers.assessment.measures import HUNDRED, ZERO, rounded
from providers.assessment.subjects import SubjectType
from quota.errors import N_, Invalid


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
class Criterion:
    """How one indicator is scored. ``measure`` names the arithmetic (empty: nothing is measured yet), ``limits`` its
    numbers."""

    indicator: str
    weight: Decimal
    measure: str = ""
    limits: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Formula:
    """Criteria, and what a total is worth. ``least``: points of weight that must be scored before there is a total, a grade
    or a payment share at all; ``payment``: grade → per cent of the fee that is paid (empty: the formula says nothing of
    payment); ``subject``: whom it is for."""

    version: str
    criteria: tuple[Criterion, ...]
    grades: tuple[tuple[Decimal, Grade], ...]
    least: Decimal
    payment: Mapping[Grade, Decimal] = field(default_factory=dict)
    subject: SubjectType = SubjectType.COMPANY

    @property
    def weight(self) -> Decimal:
        """Points of weight of all criteria together."""
        return sum((criterion.weight for criterion in self.criteria), ZERO)

    @property
    def least_share(self) -> Decimal:
        """``least`` in per cent of the weight of all criteria."""
        return rounded(self.least * HUNDRED / self.weight) if self.weight else ZERO

    def paid(self, grade: Grade | str | None) -> Decimal | None:
        """Per cent of the fee that ``grade`` is worth; None where it is not graded or the formula does not say."""
        return self.payment.get(Grade(grade)) if grade else None

    def grade(self, total: Decimal | None) -> Grade | None:
        """The grade of a total; None without one."""
        if total is None:
            return None
        return next((grade for floor, grade in self.grades if total >= floor), Grade.FAIL)

    def checked(self) -> Formula:
        """Itself. Raises Invalid naming an indicator or a measure that is not known, or not for this type of subject, and a
        limit that the measure lacks."""
        for criterion in self.criteria:
            indicator = registry.find(criterion.indicator)
            if indicator is None or self.subject not in indicator.subjects:
                raise _bad(criterion.indicator)
            if not criterion.measure:
                continue
            measure = registry.measure(criterion.measure)
            if measure is None:
                raise _bad(criterion.measure)
            for limit in measure.limits:
                if limit.name not in criterion.limits:
                    raise _bad(f"{criterion.indicator}.{limit.name}")
        return self

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = (
            {"payment": {grade.value: str(share) for grade, share in self.payment.items()}} if self.payment else {}
        )
        # Companies are what a formula is for that does not say: so are all that were stored before there were others.
        told |= {"subject": self.subject.value} if self.subject is not SubjectType.COMPANY else {}
        return {
            "version": self.version,
            "rules": [
                {
                    "indicator": criterion.indicator,
                    "weight": str(criterion.weight),
                    "measure": criterion.measure,
                    "limits": {name: str(figure) for name, figure in criterion.limits.items()},
                }
                for criterion in self.criteria
            ],
            "grades": [[str(floor), grade.value] for floor, grade in self.grades],
            "least": str(self.least),
            **told,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Formula:
        """What ``to_json`` wrote, whether or not its indicators are known here. Raises Invalid for what is no formula."""
        try:
            return cls(
                raw["version"],
                tuple(
                    Criterion(
                        told["indicator"],
                        Decimal(told["weight"]),
                        told["measure"],
                        {name: Decimal(figure) for name, figure in told["limits"].items()},
                    )
                    for told in raw["rules"]
                ),
                tuple((Decimal(floor), Grade(grade)) for floor, grade in raw["grades"]),
                Decimal(raw["least"]),
                {Grade(grade): Decimal(share) for grade, share in raw.get("payment", {}).items()},
                SubjectType(raw.get("subject", SubjectType.COMPANY)),
            )
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise _bad(str(error)) from error


def _bad(why: str) -> Invalid:
    return Invalid("formula.bad", N_("考核公式无效:%(why)s"), why=why)


# ------------------------------------------------------------------------------------------------------------- default

_GRADES = ((Decimal(90), Grade.EXCELLENT), (Decimal(80), Grade.GOOD), (Decimal(60), Grade.PASS))
_EDITION = 4
"""Of what is said here; an indicator with a newer one makes the formula that one."""

_LEAST = Decimal("0.6")
"""Share of the weight that must be scored."""

_PAYMENT = {
    Grade.EXCELLENT: Decimal(100), Grade.GOOD: Decimal(95), Grade.PASS: Decimal(85), Grade.FAIL: Decimal(70),
}  # fmt: skip


def default(subject: SubjectType = SubjectType.COMPANY) -> Formula:
    """Our own default, to be replaced by the city's: every indicator that is registered for this type of subject, by its own
    weight and limits. With less than 60 % of the weight scored there is no total. Companies alone are paid by it."""
    known = registry.indicators(subject)
    weight = sum((indicator.weight for indicator in known), ZERO)
    return Formula(
        f"default-{max([_EDITION, *(indicator.edition for indicator in known)])}",
        tuple(
            Criterion(indicator.code, indicator.weight, indicator.measure.name, indicator.limits) for indicator in known
        ),
        _GRADES,
        rounded(weight * _LEAST),
        _PAYMENT if subject is SubjectType.COMPANY else {},
        subject,
    )
