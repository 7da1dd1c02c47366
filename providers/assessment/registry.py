"""Indicators: what one is made of, and which there are.

Pure: an indicator is a value, registered by the module that defines it (a file of ``indicators/``, or beside its evidence
on a storey above). Formula, card, marks, appeal and publication ask here and name none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from providers.assessment.measures import (
    BY_HAND,
    COUNTED,
    EXCESS,
    PROPORTION,
    SHARE,
    EvidenceRow,
    FigureUnit,
    Measure,
)
from providers.assessment.subjects import CardSubject, SubjectType
from providers.incident_terms import IncidentTerms

if TYPE_CHECKING:
    from quota.db import Tx

_CODE = re.compile(r"[a-z][a-z_]{1,15}")

GivenRows = Mapping[str, Mapping[str, Sequence[EvidenceRow]]]
"""Indicator → month (2026-10) → rows that whoever gathers has in hand already."""


class Direction(StrEnum):
    HIGHER = "higher"
    LOWER = "lower"


class FactFormat(StrEnum):
    """How a fact is put before a reader."""

    FIGURE = "figure"  # a number, a Decimal as text, yes or no, a list of refs; any other text as it stands
    PLAIN = "plain"
    MOMENT = "moment"  # a moment, a day or a month, as ISO text
    SHARE = "share"  # a fraction of one, in per cent
    WORD = "word"  # a code with ``words``
    RESOURCE_CLASS = "resource_class"
    POOL = "pool"  # a pool's code
    DEPARTMENT = "department"  # its id
    ORDER = "order"  # its id
    HIDDEN = "hidden"  # for the recomputation, not for reading


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of an indicator's rows. ``words``: code → label of a WORD. ``names``: it may stand in the row's own name and
    is not said again beside it."""

    name: str
    label: str
    shown: FactFormat = FactFormat.FIGURE
    words: Mapping[str, str] = field(default_factory=dict)
    names: bool = False


@dataclass(frozen=True, slots=True)
class RefSource:
    """What a row is called whose ref names no row of the book (``capacity:gov/2026-10``): its word, and the labels of what
    stands behind the colon (empty: a pool's code, or what it is)."""

    label: str
    words: Mapping[str, str] = field(default_factory=dict)


class FieldType(StrEnum):
    COUNT = "count"
    YES = "yes"
    CHOICE = "choice"
    POINTS = "points"  # 0 to 100
    UNTIL = "until"  # a day, kept as the record's ``valid_until``


@dataclass(frozen=True, slots=True)
class RecordField:
    """One figure that a record states. ``missing``: the sentence that asks for it (CHOICE)."""

    name: str
    label: str
    type: FieldType = FieldType.COUNT
    help: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True, slots=True)
class RecordKind:
    """A kind of record that the steward enters where no other row speaks. ``check`` is given the figures and raises Invalid
    where they contradict each other. ``veto``: such a record fails whom it is about, whatever the total. ``proof``: it should have
    a file that proves it."""

    code: str
    label: str
    fields: tuple[RecordField, ...] = ()
    veto: bool = False
    check: Callable[[Mapping[str, Any]], None] | None = None
    proof: bool = False


@dataclass(frozen=True, slots=True)
class EvidenceTerm:
    """Something that evidence is gathered by and a formula may lay down otherwise. ``default``: a number, or, where there
    are ``choices`` (code → label), a tuple of codes."""

    name: str
    label: str
    default: Decimal | tuple[str, ...]
    unit: FigureUnit = FigureUnit.COUNT
    choices: Mapping[str, str] = field(default_factory=dict)


class GatheredBy(Protocol):
    """What of a formula evidence is gathered by."""

    @property
    def incidents(self) -> IncidentTerms: ...

    def term(self, indicator: str, name: str) -> Any: ...


@dataclass(slots=True)
class Gathering:
    """One gathering of evidence: about whom, over which months, from which open book, by the terms of which formula.
    ``given`` stands in place of what an indicator would gather of a month."""

    tx: Tx
    subject: CardSubject
    period: str
    months: Sequence[str]
    by: GatheredBy
    given: GivenRows = field(default_factory=dict)
    _known: dict[tuple[str, str], list[EvidenceRow]] = field(default_factory=dict, init=False)

    def happened(self, code: str, month: str) -> list[EvidenceRow]:
        """What speaks in ``month`` for the indicator ``code``, also of another than the one that gathers; nothing where no
        such indicator is registered."""
        if (code, month) not in self._known:
            told = self.given.get(code, {})
            known = find(code)
            if month in told:
                self._known[code, month] = list(told[month])
            else:
                gather = known.happened if known is not None else None
                self._known[code, month] = list(gather(self, month)) if gather is not None else []
        return self._known[code, month]


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """All about one indicator.

    ``label`` and ``explanation`` are what a reader is told; ``unit`` and ``direction`` what its figure is in, and which way
    is better. ``measure`` and the default ``weight`` (points) and ``limits`` make its criterion of the default formula,
    whose version counts up with the newest ``edition`` of an indicator; ``order`` is its place there and on cards.

    Evidence: ``happened(gathering, month)`` gives the rows of what happened in a month; a ruling that strikes one strikes it
    for good. ``holding(gathering, rows)`` gives what holds at the period's end, beside the ``rows`` found so far; struck,
    it is looked at anew in the next period. ``beforehand(bench, subject, period)`` is called before the book is opened
    for writing, with whatever the storeys above work with; the rows that it returns by month stand in place of ``happened``.
    ``records``: the kinds of record that are entered for it; those with a veto become rows by themselves.

    ``terms``: what its evidence is gathered by, which a formula may lay down otherwise (``gathering.by.term``).
    ``by_incident_terms``: it holds incidents to the formula's limits (``gathering.by.incidents``).
    ``lateness``: the facts that say when a row was due and when it was done, where days of lateness can be counted.
    ``facts`` says every fact that its rows may have, ``sources`` what reckoned rows are called by: kind of the ref → words.
    """

    code: str
    label: str
    explanation: str
    unit: FigureUnit
    direction: Direction
    measure: Measure
    weight: Decimal
    limits: Mapping[str, Decimal]
    order: int
    edition: int
    facts: tuple[Fact, ...]
    happened: Callable[[Gathering, str], Sequence[EvidenceRow]] | None = None
    holding: Callable[[Gathering, Sequence[EvidenceRow]], Sequence[EvidenceRow]] | None = None
    beforehand: Callable[[Any, CardSubject, str], Mapping[str, Sequence[EvidenceRow]]] | None = None
    sources: Mapping[str, RefSource] = field(default_factory=dict)
    records: tuple[RecordKind, ...] = ()
    subjects: frozenset[SubjectType] = frozenset({SubjectType.COMPANY})
    terms: tuple[EvidenceTerm, ...] = ()
    by_incident_terms: bool = False
    lateness: tuple[str, str] | None = None

    def fact(self, name: str) -> Fact | None:
        return next((fact for fact in self.facts if fact.name == name), None)


_INDICATORS: dict[str, Indicator] = {}


def register(indicator: Indicator) -> Indicator:
    """Make an indicator known. Raises ValueError naming what is wrong with it, or what it has in common with another."""
    if not _CODE.fullmatch(indicator.code):
        raise ValueError(f"indicator {indicator.code!r}: a code is 2 to 16 of a-z and _")
    if indicator.code in _INDICATORS:
        raise ValueError(f"indicator {indicator.code}: registered already")
    for problem in _problems(indicator):
        raise ValueError(f"indicator {indicator.code}: {problem}")
    _INDICATORS[indicator.code] = indicator
    return indicator


def _problems(indicator: Indicator) -> Iterator[str]:
    if indicator.weight <= 0 or not indicator.subjects:
        yield "weighs nothing, or is for nobody"
    wanted = {limit.name for limit in indicator.measure.limits}
    if wanted != set(indicator.limits):
        yield f"its measure asks for the limits {sorted(wanted)}"
    if not (indicator.happened or indicator.holding or indicator.beforehand):
        yield "gathers nothing"
    if len({fact.name for fact in indicator.facts}) != len(indicator.facts):
        yield "tells a fact twice"
    if not {*(indicator.lateness or ())} <= {fact.name for fact in indicator.facts}:
        yield "is late by facts that its rows do not have"
    named = {**_MEASURES_OF_ALL, **{indicator.measure.name: indicator.measure for indicator in _INDICATORS.values()}}
    if named.get(indicator.measure.name, indicator.measure) != indicator.measure:
        yield f"another measure is called {indicator.measure.name}"
    for kind in indicator.sources:
        if source(kind) not in (None, indicator.sources[kind]):
            yield f"rows {kind}:… are another indicator's"
    fields = {told.name: told for kind in record_kinds() for told in kind.fields}
    for record in indicator.records:
        if not _CODE.fullmatch(record.code) or record_kind(record.code) is not None:
            yield f"record kind {record.code!r} is no code, or another indicator's"
        for told in record.fields:
            if fields.setdefault(told.name, told) != told:
                yield f"records state {told.name} otherwise elsewhere"


_MEASURES_OF_ALL: Mapping[str, Measure] = {
    measure.name: measure for measure in (SHARE, PROPORTION, COUNTED, EXCESS, BY_HAND)
}


def find(code: str) -> Indicator | None:
    return _INDICATORS.get(code)


def label(code: str) -> str:
    """What an indicator is called; its code where a card names one that is not registered (any more)."""
    known = find(code)
    return known.label if known is not None else code


def indicators(subject: SubjectType = SubjectType.COMPANY) -> list[Indicator]:
    """Those for one type of subject, in their order."""
    found = [indicator for indicator in _INDICATORS.values() if subject in indicator.subjects]
    return sorted(found, key=lambda indicator: (indicator.order, indicator.code))


def measure(name: str) -> Measure | None:
    found = next((indicator.measure for indicator in _INDICATORS.values() if indicator.measure.name == name), None)
    return found or _MEASURES_OF_ALL.get(name)


def source(kind: str) -> RefSource | None:
    """What reckoned rows ``kind:…`` are called by."""
    return next((indicator.sources[kind] for indicator in _INDICATORS.values() if kind in indicator.sources), None)


def record_kinds() -> list[RecordKind]:
    """What may be recorded for some indicator, in the indicators' order."""
    return [
        kind
        for indicator in sorted(_INDICATORS.values(), key=lambda indicator: (indicator.order, indicator.code))
        for kind in indicator.records
    ]


def record_kind(code: str) -> RecordKind | None:
    return next((kind for kind in record_kinds() if kind.code == code), None)


def indicator_of(record_code: str) -> Indicator | None:
    """The indicator that a kind of record speaks for."""
    return next(
        (indicator for indicator in _INDICATORS.values() for kind in indicator.records if kind.code == record_code),
        None,
    )
