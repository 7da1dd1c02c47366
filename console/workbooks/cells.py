"""Sheets that people fill in: which columns one has, what a cell may hold, and what is wrong with one that holds something else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from quota.errors import N_, Invalid
from quota.units import CLASSES

EARLIEST, LATEST = 1990, 2200
MOST = 10**12


class CellShape(StrEnum):
    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    DATE = "date"
    YES = "yes"
    CHOICE = "choice"
    CHOICES = "choices"  # several, parted by 、


@dataclass(frozen=True, slots=True)
class SheetColumn:
    """``choices``: what may be chosen, as people write it → its code; ``most``: characters of a text; ``least``: of a
    figure; ``of``: the sheet (or what the book has of it) that the code must name."""

    key: str
    label: str
    shape: CellShape = CellShape.TEXT
    required: bool = False
    most: int = 128
    least: int = 0
    choices: Mapping[str, str] | None = None
    of: str = ""
    hint: str = ""
    by_class: bool = False  # what may be chosen are the resource classes that are offered

    @property
    def options(self) -> Mapping[str, str]:
        """What may be chosen, as people write it → its code; the classes as the book has them now."""
        if self.by_class:
            return {CLASSES[code].label: code for code in CLASSES.open()}
        return self.choices or {}


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """``key``: the columns that no two rows share; empty where rows may repeat. ``takes``: whether there is a column of
    each resource class, too."""

    name: str
    title: str
    about: str
    fixed: tuple[SheetColumn, ...]
    key: tuple[str, ...] = ()
    takes: bool = False

    @property
    def columns(self) -> tuple[SheetColumn, ...]:
        """Its columns; those of resource classes as the book has them now."""
        if not self.takes:
            return self.fixed
        return (
            *self.fixed,
            *(SheetColumn(f"takes_{code}", CLASSES[code].label, CellShape.NUMBER) for code in CLASSES.open()),
        )


YES = {N_("是"): True, N_("否"): False}
"""As the sheets write it; English is understood, too."""
_YES = {**YES, "yes": True, "no": False}
_PARTED = re.compile(r"[^\w.]+")


def read(column: SheetColumn, raw: Any) -> Any:
    """What a cell holds, as the book takes it; None for an empty one. Raises Invalid saying what is wrong with it."""
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        if column.required:
            raise Invalid("cell.missing", N_("不能为空"))
        return None
    return _READERS[column.shape](column, raw)


def _text(column: SheetColumn, raw: Any) -> str:
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, bool):
        raw = next(word for word, value in YES.items() if value is raw)
    text = str(raw.isoformat()[:10] if isinstance(raw, date) else raw).strip()
    if len(text) > column.most:
        raise Invalid("cell.long", N_("最多 %(most)s 个字符"), most=column.most)
    return text


def _number(column: SheetColumn, raw: Any) -> Decimal:
    if isinstance(raw, bool | date):
        raise Invalid("cell.number", N_("“%(text)s”不是数"), text=str(raw)[:80])
    try:
        found = Decimal(str(raw).strip().replace(",", ""))
    except InvalidOperation:
        raise Invalid("cell.number", N_("“%(text)s”不是数"), text=str(raw)[:80]) from None
    if not found.is_finite() or not column.least <= found <= MOST:
        raise Invalid("cell.range", N_("须不小于 %(least)s"), least=column.least)
    return found


def _whole(column: SheetColumn, raw: Any) -> int:
    found = _number(column, raw)
    if found != found.to_integral_value():
        raise Invalid("cell.whole", N_("须为整数"))
    return int(found)


def _date(_column: SheetColumn, raw: Any) -> date:
    if isinstance(raw, datetime):
        raw = raw.date()
    found: date
    if isinstance(raw, date):
        found = raw
    else:
        try:
            year, month, day = (int(part) for part in re.findall(r"\d+", str(raw)))
            found = date(year, month, day)
        except ValueError:
            raise Invalid("cell.date", N_("“%(text)s”不是日期,如 2026-01-31"), text=str(raw)[:80]) from None
    if not EARLIEST <= found.year <= LATEST:
        raise Invalid("cell.date_range", N_("年份须在%(first)s到%(last)s之间"), first=EARLIEST, last=LATEST)
    return found


def yes(text: Any) -> bool:
    """是 or 否. Raises Invalid for anything else."""
    found = _YES.get(str(text).strip().lower()) if not isinstance(text, bool) else text
    if found is None:
        raise Invalid("cell.yes", N_("请填“是”或“否”"))
    return found


def _choice(column: SheetColumn, raw: Any) -> str:
    choices = column.options
    text = str(raw).strip()
    if text in choices:
        return choices[text]
    if text in choices.values():
        return text
    raise Invalid("cell.choice", N_("“%(text)s”不在可选项中:%(known)s"), text=text[:80], known=", ".join(choices))


def _choices(column: SheetColumn, raw: Any) -> list[str]:
    return [_choice(column, part) for part in _PARTED.split(str(raw)) if part]


_READERS: Mapping[CellShape, Callable[[SheetColumn, Any], Any]] = {
    CellShape.TEXT: _text, CellShape.NUMBER: _number, CellShape.WHOLE: _whole, CellShape.DATE: _date,
    CellShape.YES: lambda _column, raw: yes(raw), CellShape.CHOICE: _choice, CellShape.CHOICES: _choices,
}  # fmt: skip
