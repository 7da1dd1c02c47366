"""Charts as data: what a page gives the browser to draw, and the table behind it for everybody else.

A gap is None or NaN and is drawn as a gap. Thresholds and capacity are lines. Figures carry their unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from console.book import settings
from console.words import UNKNOWN, _, number, when

MAX_TABLE = 120
"""Rows of the table behind a chart; a longer one is thinned to means of equal stretches and says so."""


@dataclass(frozen=True)
class Series:
    """One line (or row of bars): ``values`` one for each x. ``role`` "capacity" is drawn as a line above use."""

    name: str
    values: Sequence[float | None]
    kind: str = "line"  # line, bar, area
    role: str = "use"  # use, capacity
    stack: str = ""


@dataclass(frozen=True)
class Chart:
    """``x`` are instants, days or words. ``links``: an address for each x, where a click leads."""

    id: str
    title: str
    x: Sequence[datetime | date | str]
    series: Sequence[Series]
    unit: str = ""
    period: str = ""
    coverage: float | None = None
    thresholds: Sequence[tuple[str, float]] = ()
    links: Sequence[str] = field(default=())
    x_label: str = ""
    horizontal: bool = False
    maximum: float | None = None

    @property
    def has_data(self) -> bool:
        return any(_known(value) is not None for one in self.series for value in one.values)

    @property
    def in_time(self) -> bool:
        return bool(self.x) and isinstance(self.x[0], datetime)

    def spec(self) -> dict[str, Any]:
        """JSON for app.js. Instants become local wall-clock texts: the city's time, whoever looks from wherever."""
        return {
            "unit": self.unit,
            "time": self.in_time,
            "horizontal": self.horizontal,
            "maximum": self.maximum,
            "x": [self._x(one) for one in self.x],
            "series": [
                {
                    "name": one.name,
                    "kind": one.kind,
                    "role": one.role,
                    "stack": one.stack,
                    "values": [_known(v) for v in one.values],
                }
                for one in self.series
            ],
            "thresholds": [{"name": name, "value": value} for name, value in self.thresholds],
            "links": list(self.links),
            "missing": _("无数据"),
        }

    def _x(self, one: datetime | date | str) -> str:
        if isinstance(one, datetime):
            return one.astimezone(settings().zone).strftime("%Y-%m-%dT%H:%M:%S")
        return one.isoformat() if isinstance(one, date) else one

    def heads(self) -> list[tuple[str, bool]]:
        first = self.x_label or (_("时间") if self.in_time else _("项目"))
        return [(first, False), *((one.name, True) for one in self.series)]

    def table(self) -> list[list[str]]:
        """The rows behind the chart, written; stretches averaged where there are more than ``MAX_TABLE``."""
        step = max(1, -(-len(self.x) // MAX_TABLE))
        rows = []
        for start in range(0, len(self.x), step):
            label = self.x[start] if isinstance(self.x[start], str) else when(self.x[start])  # type: ignore[arg-type]
            if step > 1:
                label = _("%(start)s 起%(count)s点平均", start=label, count=min(step, len(self.x) - start))
            rows.append([str(label), *(number(_mean(one.values[start : start + step])) for one in self.series)])
        return rows

    def summary(self) -> str:
        """What a screen reader says of the picture: range and last value of each line."""
        parts = []
        for one in self.series:
            known = [v for v in map(_known, one.values) if v is not None]
            if known:
                parts.append(
                    _(
                        "%(name)s：最低%(low)s，最高%(high)s，最近%(last)s",
                        name=one.name,
                        low=number(min(known)),
                        high=number(max(known)),
                        last=number(known[-1]),
                    )
                )
        return ";".join(parts) or UNKNOWN


@dataclass(frozen=True)
class Dot:
    """One point of a scatter: what it is called, where it lies, and which group draws it."""

    name: str
    x: float
    y: float
    group: str


@dataclass(frozen=True)
class Scatter:
    """Points in a plane, each with its name. ``logarithmic``: x by powers of ten, 0 drawn at ``least``; ``line``: names
    of the points that a line joins, in that order."""

    id: str
    title: str
    dots: Sequence[Dot]
    x_label: str
    y_label: str
    period: str = ""
    coverage: float | None = None
    logarithmic: bool = False
    least: float = 0.001
    line: Sequence[str] = ()
    unit: str = ""

    @property
    def has_data(self) -> bool:
        return bool(self.dots)

    def spec(self) -> dict[str, Any]:
        """JSON for app.js."""
        place = {one.name: [self._across(one.x), _known(one.y)] for one in self.dots}
        groups = list(dict.fromkeys(one.group for one in self.dots))
        return {
            "scatter": True,
            "logarithmic": self.logarithmic,
            "x_label": self.x_label,
            "y_label": self.y_label,
            "groups": [
                {"name": group, "points": [[*place[one.name], one.name] for one in self.dots if one.group == group]}
                for group in groups
            ],
            "line": [place[name] for name in self.line if name in place],
            "links": [],
        }

    def _across(self, x: float) -> float | None:
        return _known(max(x, self.least) if self.logarithmic else x)

    def heads(self) -> list[tuple[str, bool]]:
        return [(_("名称"), False), (self.x_label, True), (self.y_label, True)]

    def table(self) -> list[list[str]]:
        return [[one.name, number(one.x), number(one.y)] for one in self.dots]

    def summary(self) -> str:
        """What a screen reader says of the picture."""
        return ";".join(f"{one.name}: {number(one.x)}, {number(one.y)}" for one in self.dots[:12]) or UNKNOWN


def _known(value: float | None) -> float | None:
    """A figure for JSON, to four significant digits; None for a gap."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{float(value):.4g}") if not isinstance(value, int) else value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in map(_known, values) if v is not None]
    return sum(known) / len(known) if known else None
