"""The formula: what counts how much, what a total is worth, and by what terms a card is made. Data with a version.

Pure: neither database nor clock. A formula names indicators and measures by code; ``checked`` says whether this installation
knows them. How it is written down is ``documents``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from providers.assessment import registry
from providers.assessment.formula import arithmetic
from providers.assessment.measures import BY_HAND, HUNDRED, ZERO, rounded
from providers.assessment.subjects import SubjectType
from providers.incident_terms import DEFAULT, IncidentTerms
from providers.ticket_terms import DEFAULT_TICKETS, TicketTerms
from quota.errors import N_, Invalid


class Grade(StrEnum):
    """From the best to the worst; a formula need not use all of them."""

    EXCELLENT = "excellent"
    GOOD = "good"
    PASS = "pass"  # noqa: S105 - a grade
    BASIC = "basic"
    FAIL = "fail"


GRADE_LABELS = {
    Grade.EXCELLENT: N_("优秀"),
    Grade.GOOD: N_("良好"),
    Grade.PASS: N_("合格"),
    Grade.BASIC: N_("基本合格"),
    Grade.FAIL: N_("不合格"),
}


class CriterionRole(StrEnum):
    """What a criterion does to the total."""

    WEIGHED = "weighed"  # its weight is part of the hundred
    BONUS = "bonus"  # points on top, up to its weight
    PENALTY = "penalty"  # points off the total, up to its weight


ROLE_LABELS = {CriterionRole.WEIGHED: N_("计权"), CriterionRole.BONUS: N_("加分"), CriterionRole.PENALTY: N_("扣减")}


@dataclass(frozen=True, slots=True)
class Criterion:
    """How one indicator is scored. ``measure`` names the arithmetic (empty: nothing is measured yet), ``limits`` its
    numbers, ``terms`` what its evidence is gathered by. One that is scored by hand is no registered indicator: it brings
    its own ``label`` and ``explanation``; so does an item of the city's own over the ``evidence`` of a registered one."""

    indicator: str
    weight: Decimal
    measure: str = ""
    limits: Mapping[str, Decimal] = field(default_factory=dict)
    role: CriterionRole = CriterionRole.WEIGHED
    label: str = ""
    explanation: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = ""

    @property
    def by_hand(self) -> bool:
        return self.measure == BY_HAND.name

    @property
    def source(self) -> str:
        """The indicator whose rows it is scored from; of what people score itself."""
        return self.evidence or self.indicator


@dataclass(frozen=True, slots=True)
class ProcedureDays:
    """Working days of a card's way: on public display (and open to appeal), and to rule on an appeal."""

    publicity: int = 5
    ruling: int = 10


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows when ``times`` published cards of one ``length`` (month or quarter) are graded ``grade`` or worse; in a
    row where ``running``, else within a calendar year. ``text`` is what is told then."""

    grade: Grade
    times: int
    length: str
    text: str
    running: bool = True


SHARES: Mapping[str, Decimal] = {"quarter": Decimal("0.8"), "year_end": Decimal("0.2")}
"""Our own default: what the mean of the quarters and the year-end review weigh in the year."""

SHARES_OF_OTHERS: Mapping[str, Decimal] = {"quarter": Decimal(1)}
"""Who is no company has no year-end review."""


@dataclass(frozen=True, slots=True)
class Formula:
    """Criteria, and what a total is worth.

    ``least``: points of weight that must be scored before there is a total, a grade or a payment share at all;
    ``payment``: grade → per cent of the fee that is paid (empty: the formula says nothing of payment); ``subject``: whom it
    is for. ``vetoes``: what fails whom the card is about by itself, code → label of its own (empty: a registered record
    kind's); None: whatever is registered as a veto. ``names``: grade → what this city calls it. ``shares``: month, quarter,
    year_end → share of one in the year's total.
    """

    version: str
    criteria: tuple[Criterion, ...]
    grades: tuple[tuple[Decimal, Grade], ...]
    least: Decimal
    payment: Mapping[Grade, Decimal] = field(default_factory=dict)
    subject: SubjectType = SubjectType.COMPANY
    vetoes: Mapping[str, str] | None = None
    names: Mapping[Grade, str] = field(default_factory=dict)
    shares: Mapping[str, Decimal] = field(default_factory=lambda: SHARES)
    days: ProcedureDays = ProcedureDays()
    incidents: IncidentTerms = DEFAULT
    tickets: TicketTerms = DEFAULT_TICKETS
    consequences: tuple[Consequence, ...] = ()

    @property
    def weight(self) -> Decimal:
        """Points of weight of all criteria that are weighed together."""
        return sum((criterion.weight for criterion in self.criteria if criterion.role is CriterionRole.WEIGHED), ZERO)

    @property
    def least_share(self) -> Decimal:
        """``least`` in per cent of the weight of all criteria."""
        return rounded(self.least * HUNDRED / self.weight) if self.weight else ZERO

    def criterion(self, code: str) -> Criterion | None:
        return next((criterion for criterion in self.criteria if criterion.indicator == code), None)

    def label(self, code: str) -> str:
        """What an indicator, or something that vetoes, is called in this formula."""
        known = self.criterion(code)
        return (known.label if known else "") or (self.vetoes or {}).get(code, "") or registry.label(code)

    def grade_label(self, grade: Grade | str) -> str:
        return self.names.get(Grade(grade)) or GRADE_LABELS[Grade(grade)]

    def paid(self, grade: Grade | str | None) -> Decimal | None:
        """Per cent of the fee that ``grade`` is worth; None where it is not graded or the formula does not say."""
        return self.payment.get(Grade(grade)) if grade else None

    def grade(self, total: Decimal | None) -> Grade | None:
        """The grade of a total; None without one."""
        if total is None:
            return None
        return next((grade for floor, grade in self.grades if total >= floor), Grade.FAIL)

    def term(self, indicator: str, name: str) -> Any:
        """What the evidence of ``indicator`` is gathered by: as the formula says, else as the indicator does by default."""
        criterion = self.criterion(indicator)
        if criterion is not None and name in criterion.terms:
            return criterion.terms[name]
        known = registry.find(indicator)
        return next((term.default for term in known.terms if term.name == name), None) if known is not None else None

    def checked(self) -> Formula:
        """Itself. Raises Invalid naming an indicator or a measure that is not known, or not for this type of subject, and a
        limit that the measure lacks."""
        for criterion in self.criteria:
            indicator = registry.find(criterion.source)
            if not criterion.by_hand and (indicator is None or self.subject not in indicator.subjects):
                raise bad(criterion.source)
            if not criterion.measure:
                continue
            measure = arithmetic.measure(criterion.source, criterion.measure)
            if measure is None:
                raise bad(criterion.measure)
            for limit in measure.limits:
                if limit.name not in criterion.limits and not limit.optional:
                    raise bad(f"{criterion.indicator}.{limit.name}")
        return self


def bad(why: str) -> Invalid:
    return Invalid("formula.bad", N_("考核公式无效:%(why)s"), why=why)


# ------------------------------------------------------------------------------------------------------------- default

_GRADES = ((Decimal(90), Grade.EXCELLENT), (Decimal(80), Grade.GOOD), (Decimal(60), Grade.PASS))
_EDITION = 10
"""Of what is said here; an indicator with a newer one makes the formula that one."""

_LEAST, _LEAST_OF_OTHERS = Decimal("0.6"), Decimal("0.45")
"""Share of the weight that must be scored. Who was asked nothing in a period owes no answers: of departments less must be."""

_PAYMENT = {
    Grade.EXCELLENT: Decimal(100), Grade.GOOD: Decimal(95), Grade.PASS: Decimal(85), Grade.FAIL: Decimal(70),
}  # fmt: skip


def default(subject: SubjectType = SubjectType.COMPANY) -> Formula:
    """Our own default, to be replaced by the city's: every indicator that is registered for this type of subject, by its own
    weight, limits and terms. With less than 60 % of the weight scored (of others than companies: 45 %) there is no total. Companies alone are paid by it."""
    known = registry.indicators(subject)
    weight = sum((indicator.weight for indicator in known), ZERO)
    edition = max([_EDITION, *(indicator.edition for indicator in known)])
    return Formula(
        f"default-{edition}" if subject is SubjectType.COMPANY else f"default-{subject.value}-{edition}",
        tuple(
            Criterion(
                indicator.code,
                indicator.weight,
                indicator.measure.name,
                indicator.limits,
                terms={term.name: term.default for term in indicator.terms},
            )
            for indicator in known
        ),
        _GRADES,
        rounded(weight * (_LEAST if subject is SubjectType.COMPANY else _LEAST_OF_OTHERS)),
        _PAYMENT if subject is SubjectType.COMPANY else {},
        subject,
        shares=SHARES if subject is SubjectType.COMPANY else SHARES_OF_OTHERS,
        vetoes={kind.code: "" for indicator in known for kind in indicator.records if kind.veto},
    )


def annual(shares: Mapping[str, Decimal], totals: Mapping[str, Sequence[Decimal | None]]) -> Decimal | None:
    """The year: each part that has a share (month, quarter, year_end) by the mean of its totals that are known; None while
    a part has none."""
    year = ZERO
    for part, share in shares.items():
        known = [total for total in totals.get(part, ()) if total is not None]
        if not share:
            continue
        if not known:
            return None
        year += share * sum(known, ZERO) / len(known)
    return rounded(year) if shares else None
