"""How a formula is written down: as it is kept with every card, and as a city writes it in a file.

Pure. What is kept is read whatever it names (``from_json``), since cards outlive indicators. What a city writes is held
against what is known here, and everything that is wrong with it is said, each with its place (``problems``, ``read``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from providers.assessment import registry
from providers.assessment.formula import arithmetic
from providers.assessment.formula.terms import (
    SHARES,
    SHARES_OF_OTHERS,
    Consequence,
    Criterion,
    CriterionRole,
    Formula,
    Grade,
    ProcedureDays,
    bad,
)
from providers.assessment.measures import BY_HAND, ONE, ZERO, FigureUnit, rounded
from providers.assessment.registry import Indicator
from providers.assessment.subjects import SubjectType
from providers.incident_terms import DEFAULT, LEVELS, IncidentTerms, Limit
from providers.ticket_terms import DEFAULT_TICKETS, TicketTerms
from quota.errors import N_, Invalid

MOST_BYTES = 256 * 1024

# ------------------------------------------------------------------------------------------------------- as it is kept


def to_json(formula: Formula) -> dict[str, Any]:
    """As it is kept. One that does not say what vetoes is of before formulas were enacted, and is written as it was: its
    cards are sealed with it."""
    told: dict[str, Any] = {}
    if formula.payment:
        told["payment"] = {grade.value: str(share) for grade, share in formula.payment.items()}
    if formula.subject is not SubjectType.COMPANY:
        told["subject"] = formula.subject.value
    if formula.vetoes is not None:
        told |= {
            "vetoes": dict(formula.vetoes),
            "names": {grade.value: name for grade, name in formula.names.items()},
            "shares": {part: str(share) for part, share in formula.shares.items()},
            "days": {"publicity": formula.days.publicity, "ruling": formula.days.ruling},
            "incidents": _incidents(formula.incidents),
            "consequences": [
                {"grade": one.grade.value, "times": one.times, "length": one.length, "running": one.running, "text": one.text}
                for one in formula.consequences
            ],
        }  # fmt: skip
    if formula.tickets != DEFAULT_TICKETS:  # cards of before are sealed without
        told["tickets"] = _tickets(formula.tickets)
    return {
        "version": formula.version,
        "rules": [_rule(criterion) for criterion in formula.criteria],
        "grades": [[str(floor), grade.value] for floor, grade in formula.grades],
        "least": str(formula.least),
        **told,
    }


def _rule(criterion: Criterion) -> dict[str, Any]:
    told: dict[str, Any] = {
        "indicator": criterion.indicator,
        "weight": str(criterion.weight),
        "measure": criterion.measure,
        "limits": {name: str(figure) for name, figure in criterion.limits.items()},
    }
    if criterion.role is not CriterionRole.WEIGHED:
        told["role"] = criterion.role.value
    if criterion.evidence:
        told["evidence"] = criterion.evidence
    if criterion.label:
        told |= {"label": criterion.label, "explanation": criterion.explanation}
    if criterion.terms:
        told["terms"] = {
            name: list(value) if isinstance(value, tuple) else str(value) for name, value in criterion.terms.items()
        }
    return told


def _time(allowed: timedelta | int) -> dict[str, int]:
    return {"days": allowed} if isinstance(allowed, int) else {"minutes": int(allowed.total_seconds()) // 60}


def _levels(limits: Mapping[int, Limit], end: str) -> dict[str, Any]:
    return {
        str(level): {"respond": _time(limit.respond), end: _time(limit.recover)}
        for level, limit in sorted(limits.items())
    }


def _incidents(terms: IncidentTerms) -> dict[str, Any]:
    return {"levels": _levels(terms.limits, "recover"), "announced_days": terms.announced_days}


def _tickets(terms: TicketTerms) -> dict[str, Any]:
    return {"levels": _levels(terms.limits, "resolve"), "confirm_days": terms.confirm_days}


def from_json(raw: Mapping[str, Any]) -> Formula:
    """What ``to_json`` wrote, whether or not its indicators are known here. Raises Invalid for what is no formula."""
    try:
        return Formula(
            raw["version"],
            tuple(_criterion(told) for told in raw["rules"]),
            tuple((Decimal(floor), Grade(grade)) for floor, grade in raw["grades"]),
            Decimal(raw["least"]),
            {Grade(grade): Decimal(share) for grade, share in raw.get("payment", {}).items()},
            SubjectType(raw.get("subject", SubjectType.COMPANY)),
            vetoes=dict(raw["vetoes"]) if "vetoes" in raw else None,
            names={Grade(grade): name for grade, name in raw.get("names", {}).items()},
            shares={part: Decimal(share) for part, share in raw["shares"].items()} if "shares" in raw else SHARES,
            days=ProcedureDays(**raw["days"]) if "days" in raw else ProcedureDays(),
            incidents=_terms(raw["incidents"]) if "incidents" in raw else DEFAULT,
            tickets=_ticket_terms(raw["tickets"]) if "tickets" in raw else DEFAULT_TICKETS,
            consequences=tuple(
                Consequence(Grade(one["grade"]), one["times"], one["length"], one["text"], one["running"])
                for one in raw.get("consequences", ())
            ),
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise bad(str(error)) from error


def _criterion(told: Mapping[str, Any]) -> Criterion:
    return Criterion(
        told["indicator"],
        Decimal(told["weight"]),
        told["measure"],
        {name: Decimal(figure) for name, figure in told["limits"].items()},
        CriterionRole(told.get("role", CriterionRole.WEIGHED)),
        told.get("label", ""),
        told.get("explanation", ""),
        {
            name: tuple(value) if isinstance(value, list) else Decimal(value)
            for name, value in told.get("terms", {}).items()
        },
        told.get("evidence", ""),
    )


def _terms(raw: Mapping[str, Any]) -> IncidentTerms:
    return IncidentTerms(_limits(raw["levels"], "recover"), raw["announced_days"])


def _ticket_terms(raw: Mapping[str, Any]) -> TicketTerms:
    return TicketTerms(_limits(raw["levels"], "resolve"), raw["confirm_days"])


def _limits(levels: Mapping[str, Any], end: str) -> dict[int, Limit]:
    def allowed(told: Mapping[str, int]) -> timedelta | int:
        return told["days"] if "days" in told else timedelta(minutes=told["minutes"])

    return {int(level): Limit(allowed(one["respond"]), allowed(one[end])) for level, one in levels.items()}


# ------------------------------------------------------------------------------------------------- as a city writes it


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Code = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,15}$")]
_Figure = Annotated[Decimal, Field(ge=0, le=1_000_000)]
_Share = Annotated[Decimal, Field(ge=0, le=100)]
_DayCount = Annotated[int, Field(ge=1, le=250)]
_Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Rule(_Part):
    indicator: _Code
    evidence: _Code | Literal[""] = ""
    weight: Annotated[Decimal, Field(gt=0, le=1000, decimal_places=2)]
    measure: str = ""
    limits: dict[str, _Figure] = {}
    terms: dict[str, _Figure | list[str]] = {}
    role: CriterionRole = CriterionRole.WEIGHED
    label: Annotated[str, Field(max_length=60)] = ""
    explanation: Annotated[str, Field(max_length=400)] = ""


class _Allowed(_Part):
    minutes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    days: _DayCount | None = None


class _Level(_Part):
    respond: _Allowed
    recover: _Allowed


class _Incidents(_Part):
    levels: dict[Literal["1", "2", "3", "4"], _Level]
    announced_days: _DayCount = DEFAULT.announced_days


class _TicketLevel(_Part):
    respond: _Allowed
    resolve: _Allowed


class _Tickets(_Part):
    levels: dict[Literal["1", "2", "3", "4"], _TicketLevel]
    confirm_days: _DayCount = DEFAULT_TICKETS.confirm_days


class _Days(_Part):
    publicity: _DayCount = ProcedureDays().publicity
    ruling: _DayCount = ProcedureDays().ruling


class _Consequence(_Part):
    grade: Grade
    times: Annotated[int, Field(ge=1, le=24)]
    length: Literal["month", "quarter"]
    text: _Text
    running: bool = True


class _AppliesTo(_Part):
    provider: Annotated[str, Field(max_length=32)] = ""
    contract: Annotated[str, Field(max_length=64)] = ""


class _Document(_Part):
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,31}$")]
    name: Annotated[str, Field(min_length=1, max_length=96)]
    basis: Annotated[str, Field(max_length=400)] = ""
    effective_from: date | None = None
    applies_to: _AppliesTo = _AppliesTo()
    subject: SubjectType = SubjectType.COMPANY
    ends: bool = False
    rules: Annotated[list[_Rule], Field(min_length=1, max_length=60)]
    grades: Annotated[list[tuple[_Share, Grade]], Field(min_length=1, max_length=len(Grade) - 1)]
    least: Annotated[Decimal, Field(gt=0, le=60_000, decimal_places=2)] | None = None
    payment: dict[Grade, _Share] = {}
    names: dict[Grade, Annotated[str, Field(min_length=1, max_length=20)]] = {}
    vetoes: dict[_Code, Annotated[str, Field(max_length=60)]] = {}
    shares: dict[Literal["month", "quarter", "year_end"], Annotated[Decimal, Field(ge=0, le=1)]] = {}
    days: _Days = _Days()
    incidents: _Incidents | None = None
    tickets: _Tickets | None = None
    consequences: Annotated[list[_Consequence], Field(max_length=20)] = []


@dataclass(frozen=True, slots=True)
class FormulaDocument:
    """A formula as a city writes it: its ``code`` and ``name``, the document that it rests on (``basis``), whom it is for
    (``provider``: a company's code, ``contract``: a contract's number, both empty: everybody), from when; or that the code
    ``ends`` then, so that whom it was for are scored by what else is for them. The version of ``formula`` is not known yet."""

    code: str
    name: str
    basis: str
    provider: str
    contract: str
    effective_from: date | None
    formula: Formula
    ends: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it is written into a file, and read again by ``read``."""
        kept = to_json(self.formula)
        kept.pop("version")
        return {
            "code": self.code,
            "name": self.name,
            "basis": self.basis,
            "effective_from": self.effective_from and self.effective_from.isoformat(),
            "applies_to": {"provider": self.provider, "contract": self.contract},
            **({"ends": True} if self.ends else {}),
            **kept,
        }


def parsed(text: str | bytes) -> Any:
    """JSON with exact figures. Raises Invalid for what is none, is too large, or says a key twice."""
    if len(text) > MOST_BYTES:
        raise Invalid("formula.large", N_("考核公式文件过大"), field="file")
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_none, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Invalid("formula.json", N_("文件不是有效的 JSON:%(why)s"), why=str(error)[:200], field="file") from None


def _none(name: str) -> Any:
    raise ValueError(f"{name} is no figure")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is said twice")
    return found


def read(raw: Any) -> FormulaDocument:
    """The document that ``raw`` (parsed JSON) is. Raises the first of its ``problems``."""
    for problem in problems(raw):
        raise problem
    return _document(_Document.model_validate(raw))


def problems(raw: Any) -> list[Invalid]:
    """Everything that is wrong with a document, each with its place (``rules.3.weight``); the shape first."""
    try:
        told = _Document.model_validate(raw)
    except ValidationError as error:
        return [_shape(one) for one in error.errors(include_url=False, include_input=False)[:50]]
    return [wrong(where, why) for where, why in _wrongs(told)]


_SHAPES = {"missing": N_("缺少这一项"), "extra_forbidden": N_("没有这样的项")}


def _shape(error: Mapping[str, Any]) -> Invalid:
    where = ".".join(str(part + 1) if isinstance(part, int) else part for part in error["loc"]) or "."
    return wrong(where, _SHAPES.get(error["type"], N_("值不符合要求")))


def wrong(where: str, why: str) -> Invalid:
    """``where`` of a document, and why; ``why`` is a text of its own, which readers get in their language."""
    return Invalid("formula.document", N_("考核公式 %(where)s:%(why)s"), where=where, why=why, field="file")


def _wrongs(told: _Document) -> Iterator[tuple[str, str]]:
    codes = [rule.indicator for rule in told.rules]
    if told.subject is not SubjectType.COMPANY:
        yield from _wrong_of_others(told)
    for place, rule in enumerate(told.rules, 1):
        if codes.index(rule.indicator) != place - 1:
            yield f"rules.{place}.indicator", N_("指标重复")
        yield from _wrong_rule(f"rules.{place}", rule, told.subject)
    weight = sum((rule.weight for rule in told.rules if rule.role is CriterionRole.WEIGHED), ZERO)
    if not weight:
        yield "rules", N_("没有计权的指标")
    if told.least is not None and told.least > weight:
        yield "least", N_("大于全部指标的权重")
    yield from _wrong_grades(told)
    if told.shares and sum(told.shares.values(), ZERO) != ONE:
        yield "shares", N_("各部分占比之和应为 1")
    for code, label in told.vetoes.items():
        kind = registry.record_kind(code)
        if not label and (kind is None or not kind.veto):
            yield f"vetoes.{code}", N_("不是已有的否决事项,请写明名称")
        if code in codes:
            yield f"vetoes.{code}", N_("与指标同名")
    if told.incidents is not None:
        yield from _wrong_limits("incidents", told.incidents.levels)
    if told.tickets is not None:
        yield from _wrong_limits("tickets", told.tickets.levels)


def _wrong_of_others(told: _Document) -> Iterator[tuple[str, str]]:
    """What only companies have: contracts, payment, a review at the year's end, vetoes."""
    if told.applies_to.provider or told.applies_to.contract:
        yield "applies_to", N_("只有云服务商的公式可以只适用于一家公司或一个合同")
    if told.payment:
        yield "payment", N_("只有云服务商按等次付费")
    if told.shares.get("year_end"):
        yield "shares.year_end", N_("只有云服务商有年终评审")
    if told.vetoes:
        yield "vetoes", N_("只有云服务商有一票否决事项")
    if told.consequences:
        yield "consequences", N_("只有云服务商有考核后果")


def _wrong_rule(where: str, rule: _Rule, whom: SubjectType) -> Iterator[tuple[str, str]]:
    own = registry.find(rule.indicator)
    if rule.measure == BY_HAND.name or (not rule.measure and own is None and not rule.evidence):
        if own is not None:
            yield f"{where}.indicator", N_("这个代码是已有的指标,人工评分项请另取代码")
        if not rule.label.strip():
            yield f"{where}.label", N_("人工评分项请写明名称")
        if rule.terms or set(rule.limits) - {"of"} or rule.evidence:
            yield where, N_("人工评分项没有参数")
        return
    indicator = registry.find(rule.evidence) if rule.evidence else own
    if indicator is None or whom not in indicator.subjects:
        yield f"{where}.{'evidence' if rule.evidence else 'indicator'}", N_("没有这个指标")
        return
    if rule.evidence:
        yield from _wrong_item(where, rule, own)
    elif rule.role is not CriterionRole.WEIGHED:
        yield f"{where}.role", N_("只有人工评分项和自定义的项目可以加分或扣减")
    yield from _wrong_measure(where, rule, indicator)
    yield from _wrong_terms(where, rule, indicator)


def _wrong_item(where: str, rule: _Rule, own: Indicator | None) -> Iterator[tuple[str, str]]:
    """Of an item of the city's own over the rows of an indicator."""
    if own is not None:
        yield f"{where}.indicator", N_("这个代码是已有的指标，自定义的项目请另取代码")
    if not rule.label.strip():
        yield f"{where}.label", N_("自定义的项目请写明名称")
    for name in rule.terms:
        yield f"{where}.terms.{name}", N_("依据怎样取，写在这个指标自己的一项里")


def _wrong_measure(where: str, rule: _Rule, indicator: Indicator) -> Iterator[tuple[str, str]]:
    name = rule.measure or indicator.measure.name
    measure = next((one for one in arithmetic.measures(indicator) if one.name == name), None)
    if measure is None:
        yield f"{where}.measure", N_("这个指标没有这种算法")
        return
    known = {limit.name: limit for limit in measure.limits}
    for limit in rule.limits.keys() - known:
        yield f"{where}.limits.{limit}", N_("没有这个参数")
    for limit, figure in rule.limits.items():
        if limit in ("step", "of") and not figure:
            yield f"{where}.limits.{limit}", N_("不能为 0")
        elif limit in known and known[limit].unit is FigureUnit.SHARE and figure > 1:
            yield f"{where}.limits.{limit}", N_("占比写作 0 到 1 的小数")
    if measure is not indicator.measure:
        for told in measure.limits:
            if told.name not in rule.limits and not told.optional:
                yield f"{where}.limits.{told.name}", N_("缺少这一项")
        for limit, why in arithmetic.wrong(indicator, name, rule.limits):
            yield f"{where}.limits.{limit}", why


def _wrong_terms(where: str, rule: _Rule, indicator: Indicator) -> Iterator[tuple[str, str]]:
    known = {term.name: term for term in indicator.terms}
    for name, value in rule.terms.items():
        if name not in known:
            yield f"{where}.terms.{name}", N_("没有这个参数")
        elif known[name].choices and (
            not isinstance(value, list) or set(value) - set(known[name].choices) or not value
        ):
            yield f"{where}.terms.{name}", N_("请从已有的代码中选择")
        elif not known[name].choices and isinstance(value, list):
            yield f"{where}.terms.{name}", N_("应为数字")


def _wrong_grades(told: _Document) -> Iterator[tuple[str, str]]:
    floors, grades = [floor for floor, _ in told.grades], [grade for _, grade in told.grades]
    order = list(Grade)
    if floors != sorted(set(floors), reverse=True):
        yield "grades", N_("等次的下限须从高到低,互不相同")
    if Grade.FAIL in grades or grades != sorted(set(grades), key=order.index):
        yield "grades", N_("等次须从优到劣,不重复;不合格没有下限")
    used = [*grades, Grade.FAIL]
    if told.payment:
        if set(told.payment) != set(used):
            yield "payment", N_("每个等次都要有付费比例")
        else:
            paid = [told.payment[grade] for grade in used]
            if paid != sorted(paid, reverse=True):
                yield "payment", N_("较差等次的付费比例不能更高")


def _wrong_limits(where: str, levels: Mapping[Any, _Level | _TicketLevel]) -> Iterator[tuple[str, str]]:
    if set(levels) != {str(level) for level in LEVELS}:
        yield f"{where}.levels", N_("四个级别都要有时限")
    for level, limits in levels.items():
        for name, allowed in limits:
            if (allowed.minutes is None) == (allowed.days is None):
                yield f"{where}.levels.{level}.{name}", N_("请写分钟数或工作日数之一")


def _document(told: _Document) -> FormulaDocument:
    weight = sum((rule.weight for rule in told.rules if rule.role is CriterionRole.WEIGHED), ZERO)
    formula = Formula(
        "",
        tuple(_written(rule) for rule in told.rules),
        tuple((floor, grade) for floor, grade in told.grades),
        told.least if told.least is not None else rounded(weight * Decimal("0.6")),
        dict(told.payment),
        told.subject,
        vetoes=dict(told.vetoes),
        names=dict(told.names),
        shares={str(part): share for part, share in told.shares.items()}
        or (SHARES if told.subject is SubjectType.COMPANY else SHARES_OF_OTHERS),
        days=ProcedureDays(told.days.publicity, told.days.ruling),
        incidents=_terms(told.incidents.model_dump(exclude_none=True)) if told.incidents is not None else DEFAULT,
        tickets=_ticket_terms(told.tickets.model_dump(exclude_none=True))
        if told.tickets is not None
        else DEFAULT_TICKETS,
        consequences=tuple(
            Consequence(one.grade, one.times, one.length, one.text.strip(), one.running) for one in told.consequences
        ),
    )
    return FormulaDocument(
        told.code, told.name.strip(), told.basis.strip(), told.applies_to.provider.strip(),
        told.applies_to.contract.strip(), told.effective_from, formula.checked(), told.ends,
    )  # fmt: skip


def _written(rule: _Rule) -> Criterion:
    indicator = registry.find(rule.evidence or rule.indicator)
    label, explanation = rule.label.strip(), rule.explanation.strip()
    if indicator is None:
        return Criterion(
            rule.indicator, rule.weight, BY_HAND.name, {"of": rule.weight}, rule.role, label, explanation
        )  # fmt: skip
    measure = rule.measure or indicator.measure.name
    limits = indicator.limits if measure == indicator.measure.name else {}
    terms = {term.name: term.default for term in indicator.terms if not rule.evidence} | {
        name: tuple(value) if isinstance(value, list) else value for name, value in rule.terms.items()
    }
    return Criterion(
        rule.indicator, rule.weight, measure, {**limits, **rule.limits}, rule.role, label, explanation, terms, rule.evidence,
    )  # fmt: skip


def text(document: FormulaDocument) -> str:
    """The file of a document: the same document, the same bytes."""
    return json.dumps(document.to_json(), ensure_ascii=False, indent=1) + "\n"
