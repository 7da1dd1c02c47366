"""Evidence rows, figures and limits of scorecards in the reader's words.

A row keeps codes and figures, so that anybody can recompute the mark; what each fact is, its indicator says
(``providers.assessment.registry``). Here they get the words, units and the city's time that a reader knows them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import g
from sqlalchemy import select

from console.book import reading
from console.words import disclosure, names
from console.words.texts import UNKNOWN, _, kind_label, number, percent, quantity, when
from providers.assessment import Fact, FactFormat, FigureUnit, arithmetic, records, registry
from quota.directory import Department, Pool
from quota.errors import N_
from quota.units import CLASSES

VETO = N_("一票否决")
COUNTED = {
    arithmetic.COUNTED_FROM: Fact(arithmetic.COUNTED_FROM, N_("计自"), FactFormat.MOMENT),
    arithmetic.COUNTED_TO: Fact(arithmetic.COUNTED_TO, N_("计至"), FactFormat.MOMENT),
}
"""Of rows whose days of lateness are counted, whatever indicator they are of."""
BY_HAND = {"points": Fact("points", N_("得分")), "scored_by": Fact("scored_by", N_("评分人"), FactFormat.PLAIN)}
"""What people score has no indicator that declares it."""

UNITS = {
    FigureUnit.COUNT: "", FigureUnit.POINTS: N_("分"), FigureUnit.STARS: N_("星"), FigureUnit.MINUTES: N_("分钟"),
}  # fmt: skip


def figure(value: Decimal | None, unit: FigureUnit) -> str:
    """A figure or a limit of an indicator: a share in per cent (to four decimals), anything else with its unit."""
    if value is None:
        return UNKNOWN
    return percent(float(100 * value), 6) if unit is FigureUnit.SHARE else quantity(value, UNITS[unit])


def called(ref: str) -> str:
    """``bill:1/i-7/vcpu`` → 账单 2026-10 · i-7 · vCPU; ``capacity:gov/2026-09/memory`` → 分配率 · 资源池名 · 2026-09 · 内存."""
    head, *rest = ref.split("/")
    kind, _colon, name = head.partition(":")
    if kind == "bill" and rest:
        rest[0] = disclosure.machine(rest[0])
    if kind == "scorecard":  # of a card, one indicator
        rest = [_(registry.label(part)) for part in rest]
    tail = [kind_label(part) if part in CLASSES else disclosure.told(part) for part in rest]
    source = registry.source(kind)
    if source is not None and not (kind in names.KINDS and name.isdigit()):
        named = _(source.words.get(name, name)) if source.words else _pool(name)
        return " · ".join([_(source.label), named, *tail])
    return " · ".join([names.subject(head), *tail])


def learn(refs: Iterable[str], facts: Iterable[Mapping[str, Any]] = ()) -> None:
    """Fetch what rows, and the facts of them, are called by, together."""
    values = [value for raw in facts for value in raw.values()]
    refs = [*refs, *(one for value in values if isinstance(value, list) for one in value if isinstance(one, str))]
    disclosure.learn_refs(refs)
    disclosure.learn(values)
    names.learn(ref.split("/")[0] for ref in refs)


def facts(raw: Mapping[str, Any], indicator: str, beside: str = "") -> str:
    """The facts of a row of ``indicator`` in words, as far as they are for reading and not said by what stands ``beside``
    them."""
    known = registry.find(indicator)
    told = []
    for name, value in raw.items():
        if name == "veto":
            told.append(f"{_(VETO)} {_(records.kind(str(value)).label)}")
            continue
        fact = (known.fact(name) or COUNTED.get(name)) if known is not None else BY_HAND.get(name)
        if fact is None or fact.shown is FactFormat.HIDDEN:
            continue
        text = _written(fact, value)
        if text != UNKNOWN and not (fact.names and text in beside):
            told.append(f"{_(fact.label)} {text}")
    return _("；").join(told)


def _written(fact: Fact, value: Any) -> str:
    if value is None or value == []:
        return UNKNOWN
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if isinstance(value, list):
        return _("、").join(called(ref) if isinstance(ref, str) else str(ref) for ref in value)
    if fact.shown is FactFormat.WORD:
        return _(fact.words.get(value, value))
    if fact.shown in WRITERS:
        return WRITERS[fact.shown](value)
    return _figure(value) if isinstance(value, str) else number(value)


def _figure(text: str) -> str:
    """A Decimal as the book keeps it, else the text as it stands."""
    try:
        return number(Decimal(text))
    except InvalidOperation:
        return str(disclosure.told(text))


def _moment(text: str) -> str:
    """A moment or a day in the city's time; a month as it stands."""
    try:
        return when(datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text))
    except ValueError:
        return text


def _pool(code: str) -> str:
    known: dict[str, str] = g.setdefault("pool_names", {})
    if not known:
        known.update((pool, name) for pool, name in reading().execute(select(Pool.code, Pool.name)))
    return known.get(code, code)


def _department(row_id: Any) -> str:
    department = reading().get(Department, int(row_id))
    return department.name if department else str(row_id)


WRITERS: Mapping[FactFormat, Callable[[Any], str]] = {
    FactFormat.PLAIN: lambda text: str(disclosure.told(str(text))),
    FactFormat.MOMENT: _moment,
    FactFormat.SHARE: lambda share: percent(100 * float(share)),
    FactFormat.RESOURCE_CLASS: lambda code: kind_label(code) if code in CLASSES else str(code),
    FactFormat.POOL: _pool,
    FactFormat.DEPARTMENT: _department,
    FactFormat.ORDER: lambda row_id: names.subject(f"order:{row_id}"),
}
"""How a fact is written where it is a code, a moment or a share."""
