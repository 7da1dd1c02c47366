"""Typed measures: what a city may have any evidence measured by, beside the measure that an indicator brings of its own.

Pure. They are made of what an indicator says already: the figure that its own measure finds in rows (of all of them, or of
each by itself), rows that are ``ok`` or count what is good, and when something was due and done. So each is offered wherever
the rows can serve it, and computes from rows and limits alone, also offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import partial
from typing import Any

from providers.assessment import registry
from providers.assessment.measures import (
    BY_HAND,
    FULL,
    HUNDRED,
    ONE,
    PER_POINT,
    ZERO,
    EvidenceRow,
    FigureUnit,
    Measure,
    MeasureLimit,
    MeasureResult,
    below,
    percent,
    plain,
    rounded,
)
from providers.assessment.registry import Direction, Indicator
from quota.errors import N_

Limits = Mapping[str, Decimal]

GRADES = 6
"""So many steps a graded deduction may have, beside what lies beyond the last."""
COUNTED_FROM, COUNTED_TO = "counted_from", "counted_to"
"""Facts of rows that days of lateness are counted of: within which time, so that a day costs in one period."""
LATE = "late"


@dataclass(frozen=True, slots=True)
class TypedMeasure:
    """``limits``: what it is given, in the units of the indicator. ``serves``: whether an indicator's rows can be measured so.
    ``unit``: what its figure is in where that is not the indicator's."""

    name: str
    label: str
    limits: Callable[[Indicator], tuple[MeasureLimit, ...]]
    serves: Callable[[Indicator], bool]
    compute: Callable[[Indicator, Sequence[EvidenceRow], Limits], MeasureResult | None]
    unit: FigureUnit | None = None
    wrong: Callable[[Indicator, Limits], Iterator[tuple[str, str]]] = lambda _indicator, _limits: iter(())

    def of(self, indicator: Indicator) -> Measure:
        """Itself over the rows of one indicator."""
        return Measure(self.name, self.limits(indicator), partial(self.compute, indicator), self.label, self.unit)


def measures(indicator: Indicator) -> list[Measure]:
    """What the rows of an indicator can be measured by: its own measure first."""
    typed = [one.of(indicator) for one in TYPED if one.name != indicator.measure.name and one.serves(indicator)]
    return [indicator.measure, *typed]


def measure(code: str, name: str) -> Measure | None:
    """The measure ``name`` over the rows of the indicator ``code``; where cards name what it is not measured by any more,
    as it was."""
    indicator = registry.find(code)
    if indicator is None or name == BY_HAND.name:
        return registry.measure(name)
    return next((one for one in measures(indicator) if one.name == name), None) or registry.measure(name)


def wrong(indicator: Indicator, name: str, limits: Limits) -> Iterator[tuple[str, str]]:
    """Limit and why, for what of ``limits`` contradicts itself."""
    typed = next((one for one in TYPED if one.name == name and name != indicator.measure.name), None)
    if typed is not None:
        yield from typed.wrong(indicator, limits)


def timed(rows: Sequence[EvidenceRow], start: datetime, until: datetime) -> list[EvidenceRow]:
    """Rows of which days of lateness are counted, with the time within which they are."""
    told = {COUNTED_FROM: start.isoformat(), COUNTED_TO: until.isoformat()}
    return [EvidenceRow(row.ref, {**row.facts, **told}) for row in rows]


# ------------------------------------------------------------------------------------------------------- what rows say


def _figure(indicator: Indicator, rows: Sequence[EvidenceRow]) -> Decimal | None:
    """What the indicator's own measure finds in them; None: too little."""
    found = indicator.measure.compute(rows, indicator.limits)
    return found.value if found is not None else None


def _told(indicator: Indicator, figure: Decimal) -> str:
    return f"{percent(figure)}%" if indicator.unit is FigureUnit.SHARE else plain(figure)


def _short(indicator: Indicator, figure: Decimal, full: Decimal) -> Decimal:
    """How far a figure is on the wrong side of ``full``."""
    return max(ZERO, full - figure if indicator.direction is Direction.HIGHER else figure - full)


def _reaches(indicator: Indicator, figure: Decimal, bound: Decimal) -> bool:
    return figure >= bound if indicator.direction is Direction.HIGHER else figure <= bound


def _has(indicator: Indicator, *names: str) -> bool:
    return {fact.name for fact in indicator.facts}.issuperset(names)


def _is_share(indicator: Indicator) -> bool:
    return indicator.unit is FigureUnit.SHARE


def _by_row(indicator: Indicator) -> bool:
    """Whether each row has a figure of its own that is more than whether it is ``ok``."""
    return _is_share(indicator) and not _has(indicator, "ok")


def _own(indicator: Indicator, name: str, label: str, *, optional: bool = False) -> MeasureLimit:
    return MeasureLimit(name, label, indicator.unit, optional)


def _points(name: str, label: str, *, optional: bool = False) -> MeasureLimit:
    return MeasureLimit(name, label, FigureUnit.POINTS, optional)


# ------------------------------------------------------------------------------------------- of the figure of all rows


def _share(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """``per_point`` for each percentage point below ``full``, in proportion."""
    figure = _figure(indicator, rows)
    if figure is None:
        return None
    told = {"figure": _told(indicator, figure), "full": f"{percent(limits['full'])}%"}
    return MeasureResult(figure, below(figure, limits), N_("本期为 %(figure)s，满分线 %(full)s"), told)


def _excess(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """``per_point`` for each percentage point above ``allowed``, in proportion."""
    figure = _figure(indicator, rows)
    if figure is None:
        return None
    deduction = _short(indicator, figure, limits["allowed"]) * HUNDRED * limits["per_point"]
    told = {"figure": _told(indicator, figure), "allowed": f"{percent(limits['allowed'])}%"}
    return MeasureResult(figure, deduction, N_("本期为 %(figure)s，允许 %(allowed)s"), told)


def _proportion(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """Of ``whole`` as much as the share falls short of all (of none, where less is better)."""
    figure = _figure(indicator, rows)
    if figure is None:
        return None
    lost = ONE - figure if indicator.direction is Direction.HIGHER else figure
    told = {"figure": _told(indicator, figure), "whole": plain(limits["whole"])}
    return MeasureResult(
        figure,
        max(ZERO, lost) * limits["whole"],
        N_("本期为 %(figure)s，按未达标的比例扣，全部不达标时扣 %(whole)s 分"),
        told,
    )


def _stepped(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """``per_step`` for each ``step`` that the figure is on the wrong side of ``full``, in proportion."""
    figure = _figure(indicator, rows)
    return (
        None
        if figure is None
        else _by_steps(indicator, figure, limits, len(rows), N_("本期为 %(figure)s，满分线 %(full)s，每档 %(step)s"))
    )


def _by_steps(indicator: Indicator, figure: Decimal, limits: Limits, count: int, said: str) -> MeasureResult:
    deduction = _short(indicator, figure, limits["full"]) / limits["step"] * limits["per_step"]
    told = {name: _told(indicator, limits[name]) for name in ("full", "step")}
    return MeasureResult(figure, deduction, said, {"count": count, "figure": _told(indicator, figure), **told})


def _linear(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """Nothing at ``full`` or better, ``whole`` at ``none`` or worse, between them in proportion."""
    figure = _figure(indicator, rows)
    if figure is None:
        return None
    lost = min(ONE, max(ZERO, (limits["full"] - figure) / (limits["full"] - limits["none"])))
    told = {name: _told(indicator, limits[name]) for name in ("full", "none")}
    return MeasureResult(
        figure, lost * limits["whole"], N_("本期为 %(figure)s，%(full)s 不扣分，%(none)s 扣 %(whole)s 分，其间按比例"),
        {"figure": _told(indicator, figure), "whole": plain(limits["whole"]), **told},
    )  # fmt: skip


def _wrong_linear(indicator: Indicator, limits: Limits) -> Iterator[tuple[str, str]]:
    if {"full", "none"} <= limits.keys() and (
        limits["full"] == limits["none"] or not _reaches(indicator, limits["full"], limits["none"])
    ):
        yield "none", N_("应比不扣分的点差")


def _graded(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """What the first of the steps ``at_1``, ``at_2`` … that is reached takes off (``off_1`` …); ``rest`` where none is."""
    figure = _figure(indicator, rows)
    if figure is None:
        return None
    reached = (n for n in _steps(limits) if _reaches(indicator, figure, limits[f"at_{n}"]))
    place = next(reached, None)
    off = limits["rest"] if place is None else limits[f"off_{place}"]
    told = {"figure": _told(indicator, figure), "off": plain(off)}
    return MeasureResult(figure, off, N_("本期为 %(figure)s，按所在档扣 %(off)s 分"), told)


def _steps(limits: Limits) -> list[int]:
    return [n for n in range(1, GRADES + 1) if f"at_{n}" in limits]


def _graded_limits(indicator: Indicator) -> tuple[MeasureLimit, ...]:
    steps = [
        limit
        for n, (at, off) in enumerate(_STEPS, 1)
        for limit in (_own(indicator, f"at_{n}", at, optional=n > 1), _points(f"off_{n}", off, optional=n > 1))
    ]
    return (*steps, _points("rest", N_("以下各档都未达到时扣")))


_STEPS = (
    (N_("第一档"), N_("第一档扣")), (N_("第二档"), N_("第二档扣")), (N_("第三档"), N_("第三档扣")),
    (N_("第四档"), N_("第四档扣")), (N_("第五档"), N_("第五档扣")), (N_("第六档"), N_("第六档扣")),
)  # fmt: skip


def _wrong_graded(indicator: Indicator, limits: Limits) -> Iterator[tuple[str, str]]:
    steps = _steps(limits)
    for n in range(1, GRADES + 1):
        if (f"at_{n}" in limits) != (f"off_{n}" in limits):
            yield f"at_{n}", N_("档的界限和扣分须成对")
        elif f"at_{n}" in limits and n > 1 and f"at_{n - 1}" not in limits:
            yield f"at_{n}", N_("档须依次填写")
    ats = [limits[f"at_{n}"] for n in steps]
    if ats != sorted(set(ats), reverse=indicator.direction is Direction.HIGHER):
        yield "at_1", N_("各档须从优到劣，互不相同")
    offs = [*(limits.get(f"off_{n}", ZERO) for n in steps), limits.get("rest", HUNDRED * HUNDRED)]
    if offs != sorted(offs):
        yield "off_1", N_("较差的档不能少扣")


# ---------------------------------------------------------------------------------------------------- of each row alone


def _figures(indicator: Indicator, rows: Sequence[EvidenceRow]) -> list[Decimal]:
    return [figure for row in rows if (figure := _figure(indicator, [row])) is not None]


def _reaching(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """Share of rows whose own figure reaches ``bound``; below ``full``, ``per_point`` for each percentage point."""
    figures = _figures(indicator, rows)
    if not figures:
        return None
    good = sum(_reaches(indicator, figure, limits["bound"]) for figure in figures)
    share = Decimal(good) / len(figures)
    return MeasureResult(
        rounded(share, 4), below(share, limits),
        N_("%(count)s 项中 %(good)s 项达到 %(bound)s，占 %(share)s，满分线 %(full)s"),
        {"count": len(figures), "good": good, "bound": _told(indicator, limits["bound"]), "share": f"{percent(share)}%",
         "full": f"{percent(limits['full'])}%"},
    )  # fmt: skip


def _mean(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """The mean of the rows' own figures, each counting alike; ``per_step`` for each ``step`` on the wrong side of ``full``."""
    figures = _figures(indicator, rows)
    if not figures:
        return None
    mean = rounded(sum(figures, ZERO) / len(figures), 6)
    return _by_steps(
        indicator, mean, limits, len(figures), N_("%(count)s 项平均 %(figure)s，满分线 %(full)s，每档 %(step)s")
    )


def _counts(indicator: Indicator) -> bool:
    return indicator.unit is FigureUnit.COUNT or _has(indicator, "ok") or _has(indicator, "count", "good")


def _each(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """``per`` for each thing that is not as it should be, the first ``free`` of them for nothing."""
    if indicator.unit is FigureUnit.COUNT:
        found = _figure(indicator, rows)
        if found is None:
            return None
        count = int(found)
    elif _has(indicator, "ok"):
        count = sum(not row.facts["ok"] for row in rows)
    else:
        count = sum(int(row.facts["count"]) - int(row.facts["good"]) for row in rows)
    free = limits.get("free", ZERO)
    return MeasureResult(
        Decimal(count), max(ZERO, count - free) * limits["per"], N_("%(count)s 次（项），免扣 %(free)s 次，每次扣 %(per)s 分"),
        {"count": count, "free": plain(free), "per": plain(limits["per"])},
    )  # fmt: skip


def _late(indicator: Indicator, rows: Sequence[EvidenceRow], limits: Limits) -> MeasureResult | None:
    """``per_day`` for each day, begun days as whole ones, that something was late within the period; of each, the first
    ``free`` days for nothing."""
    days = [found for row in rows if (found := _days(indicator, row.facts)) is not None]
    if not days:
        return None
    free = limits.get("free", ZERO)
    costly = sum((max(ZERO, one - free) for one in days), ZERO)
    return MeasureResult(
        sum(days, ZERO), costly * limits["per_day"],
        N_("%(count)s 件中 %(late)s 件逾期，本期共计 %(days)s 天，每件免扣 %(free)s 天，每天扣 %(per_day)s 分"),
        {"count": len(days), "late": sum(one > 0 for one in days), "days": plain(sum(days, ZERO)), "free": plain(free),
         "per_day": plain(limits["per_day"])},
    )  # fmt: skip


def _days(indicator: Indicator, facts: Mapping[str, Any]) -> Decimal | None:
    due, done = (facts.get(name) for name in indicator.lateness or ("", ""))
    if not due or COUNTED_TO not in facts:
        return None
    until = datetime.fromisoformat(facts[COUNTED_TO])
    since = max(datetime.fromisoformat(due), datetime.fromisoformat(facts[COUNTED_FROM]))
    until = min(until, datetime.fromisoformat(done)) if done else until
    days = Decimal((until - since) // timedelta(microseconds=1)) / Decimal(86_400_000_000)
    return max(ZERO, days).to_integral_value(ROUND_CEILING)


TYPED: tuple[TypedMeasure, ...] = (
    TypedMeasure("share", N_("每差一个百分点扣分"), lambda _one: (FULL, PER_POINT),
                 lambda one: _is_share(one) and one.direction is Direction.HIGHER, _share),
    TypedMeasure("excess", N_("每超一个百分点扣分"),
                 lambda _one: (MeasureLimit("allowed", N_("允许占比"), FigureUnit.SHARE), _points("per_point", N_("每超一个百分点扣"))),
                 lambda one: _is_share(one) and one.direction is Direction.LOWER, _excess),
    TypedMeasure("proportion", N_("按未达标的比例扣分"), lambda _one: (_points("whole", N_("全部不达标时扣")),), _is_share, _proportion),
    TypedMeasure("stepped", N_("每差一档扣分"),
                 lambda one: (_own(one, "full", N_("满分线")), _own(one, "step", N_("每档")), _points("per_step", N_("每档扣"))),
                 lambda _one: True, _stepped),
    TypedMeasure("linear", N_("两点之间按比例扣分"),
                 lambda one: (_own(one, "full", N_("不扣分的点")), _own(one, "none", N_("扣满的点")), _points("whole", N_("扣满"))),
                 lambda _one: True, _linear, wrong=_wrong_linear),
    TypedMeasure("graded", N_("分档扣分"), _graded_limits, lambda _one: True, _graded, wrong=_wrong_graded),
    TypedMeasure("reaching", N_("达到限值的占比"), lambda one: (_own(one, "bound", N_("限值")), FULL, PER_POINT), _by_row, _reaching,
                 FigureUnit.SHARE),
    TypedMeasure("mean", N_("各项平均"),
                 lambda one: (_own(one, "full", N_("满分线")), _own(one, "step", N_("每档")), _points("per_step", N_("每档扣"))),
                 _by_row, _mean),
    TypedMeasure("each", N_("每次扣分"),
                 lambda _one: (_points("per", N_("每次扣")), MeasureLimit("free", N_("免扣次数"), FigureUnit.COUNT, True)),
                 _counts, _each, FigureUnit.COUNT),
    TypedMeasure(LATE, N_("按逾期天数扣分"),
                 lambda _one: (_points("per_day", N_("每天扣")), MeasureLimit("free", N_("每件免扣天数"), FigureUnit.COUNT, True)),
                 lambda one: one.lateness is not None, _late, FigureUnit.COUNT),
)  # fmt: skip
"""Their names stand in stored formulas and are permanent."""
