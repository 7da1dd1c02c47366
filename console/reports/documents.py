"""The one model that every format is drawn from: headings, paragraphs, tables with typed columns, charts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

Say = Callable[..., str]
"""``say(message, **places)``: a text of the sources in the language of whoever reads."""

Cell = str | int | float | Decimal | None
"""A value as it is; None: not known."""


class NumberFormat(StrEnum):
    """How a column's values are written. Decimal of yuan, percentage points; a sheet keeps them as numbers."""

    TEXT = "text"
    COUNT = "count"
    QUANTITY = "quantity"
    PERCENT = "percent"
    MONEY = "money"


@dataclass(frozen=True, slots=True)
class ReportColumn:
    label: str
    figure: NumberFormat = NumberFormat.TEXT
    unit: str = ""

    @property
    def right(self) -> bool:
        return self.figure is not NumberFormat.TEXT

    @property
    def heading(self) -> str:
        return f"{self.label}（{self.unit}）" if self.unit else self.label


@dataclass(frozen=True, slots=True)
class HeadingBlock:
    text: str
    level: int = 1


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    note: bool = False  # small: what a table rests on


@dataclass(frozen=True, slots=True)
class Table:
    """``title`` names it in every format and is the name of its sheet; ``captioned``: not where the heading above says it."""

    title: str
    columns: Sequence[ReportColumn]
    rows: Sequence[Sequence[Cell]]
    annex: bool = False
    captioned: bool = True

    def written(self) -> list[list[str]]:
        return [
            [write(column.figure, cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows
        ]


@dataclass(frozen=True, slots=True)
class ChartBlock:
    """Drawn as SVG; ``told`` says in words what it shows."""

    title: str
    svg: str
    told: str


Block = HeadingBlock | Paragraph | Table | ChartBlock


@dataclass(frozen=True, slots=True)
class Document:
    """``facts``: what stands on the front. ``end``: the last day, which is the date of its files. ``language``: zh or en."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    blocks: Sequence[Block]
    end: str
    footer: str = ""
    language: str = "zh"

    @property
    def tables(self) -> list[Table]:
        return [one for one in self.blocks if isinstance(one, Table)]


UNKNOWN = "—"


def write(figure: NumberFormat, value: Any) -> str:
    """A value as people read it; thousands apart, unknown is a dash."""
    if value is None:
        return UNKNOWN
    if figure is NumberFormat.TEXT or isinstance(value, str):
        return str(value)
    if figure is NumberFormat.MONEY:
        return f"{value:,.2f}"
    if figure is NumberFormat.PERCENT:
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    text = f"{value:,.1f}"
    return text.removesuffix(".0")
