"""Figures, months and names as people write them in tables: read where they can mean one thing only.

``1,184.00`` and ``1.234,50`` say by themselves which sign is the decimal one; ``2,976`` does not, and is read only where
the other figures of its file agree on one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from providers.readers.usage_columns import plain

_GROUPED = r"\d{1,3}(?:%s\d{3})+"
_WHOLE = re.compile(r"[+-]?\d+(?:[eE][+-]?\d+)?")
_POINT = re.compile(rf"[+-]?(?:\d*\.\d+|\d+\.|{_GROUPED % ','}\.\d+)(?:[eE][+-]?\d+)?|[+-]?\d{{1,3}}(?:,\d{{3}}){{2,}}")
_COMMA = re.compile(rf"[+-]?(?:\d*,\d+|{_GROUPED % '[.]'},\d+)|[+-]?\d{{1,3}}(?:\.\d{{3}}){{2,}}")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
_MONTH = re.compile(r"(\d{4})(?:[-/.年]?(\d{2})|[-/.年](\d))(?:月份?|[-/.月]\d{1,2}日?(?:[ T]00:00(?::00)?)?)?")

DIGITS = 15
"""Significant digits that spreadsheets keep of a number."""

TOTAL = re.compile(
    r".{0,20}(?:合计|小计|总计|共计|累计|总和)(?:[:(].*)?|(?:sub|grand)?totals?(?:[:(].*)?|平均值?|均值|average|最大值|最小值"
)
ERROR = re.compile(r"#(?:n/a|ref!|value!|div/0!|name\?|num!|null!|spill!|calc!|getting_data|#+)", re.I)
"""What spreadsheets leave where a formula failed, or where a column was too narrow when it was saved as text."""

FORMULA = re.compile(r"=[^=].*", re.S)
_TEXT_FORMULA = re.compile(r'="([^"]*)"')


class AmbiguousError(ValueError):
    """The figure may mean two things."""


def is_total(value: Any) -> bool:
    """Whether a cell says that its row sums others up."""
    return isinstance(value, str) and TOTAL.fullmatch(plain(value)) is not None


def is_error(text: str) -> bool:
    """Whether a cell holds what a spreadsheet leaves instead of a value."""
    return text[:1] == "#" and ERROR.fullmatch(text) is not None


def unwrapped(cell: str) -> str:
    """``="0012"``, by which text tables keep a spreadsheet from counting, → 0012."""
    found = _TEXT_FORMULA.fullmatch(cell) if cell.startswith("=") else None
    return found[1].strip() if found else cell


SPOILT = " ⋮"
"""Behind the text of a cell that is not what was typed, so that whoever reads the text refuses it."""


def is_rounded(value: Any) -> bool:
    """Whether an id is what a spreadsheet made of one: more digits than it keeps, cut off; or a date."""
    if isinstance(value, date):
        return True
    if isinstance(value, float):
        return bool(abs(value) >= 10**DIGITS)
    if not isinstance(value, str):
        return False
    if value.endswith(SPOILT):
        return True
    text = value.strip()
    return bool(re.fullmatch(r"\d(\.\d+)?[eE]\+\d+", text) or re.fullmatch(rf"[1-9]\d{{{DIGITS - 1}}}0{{3,}}", text))


CUT_TOGETHER = 3
"""Ids that end in zeros from the 16th digit on: so many, and no other as long, are no chance (one in a thousand)."""


def cut_ids(ids: Iterable[str]) -> list[str]:
    """Ids of 16 or 17 digits that look as if a spreadsheet had cut them off, which only all of them together can tell: none
    where one of that length ends otherwise."""
    long = sorted({one for one in ids if re.fullmatch(r"[1-9]\d{15,16}", one)})
    return long if all(not one[DIGITS:].strip("0") for one in long) else []


def _spelled(text: str) -> str:
    return re.sub(r"(?<=\d)[\s']+(?=\d)", "", unicodedata.normalize("NFKC", text).strip())


def decimal_sign(texts: Iterable[str]) -> str | None:
    """The decimal sign that the figures of a file agree on; None where none of them says, or where they disagree."""
    signs = set()
    for text in texts:
        written = _spelled(text)
        if not _EITHER.fullmatch(written):
            signs |= {"."} if _POINT.fullmatch(written) else {","} if _COMMA.fullmatch(written) else set()
    return signs.pop() if len(signs) == 1 else None


def figure(value: Any, sign: str | None = None) -> Decimal:
    """A cell → its figure. ``sign``: what the file's other figures agree on (``decimal_sign``); without it ``1,234`` is
    ambiguous, and ``1.234`` is read with a decimal point.

    Raises AmbiguousError, and ValueError for what is no figure.
    """
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(value, int | float):
        return Decimal(f"{value:.{DIGITS}g}") if isinstance(value, float) else Decimal(value)
    written = _spelled(str(value))
    if _EITHER.fullmatch(written):
        if sign is None and "," in written:
            raise AmbiguousError(written)
        sign = sign or "."
    elif _WHOLE.fullmatch(written):
        return Decimal(written)
    elif _POINT.fullmatch(written):
        sign = "."
    elif _COMMA.fullmatch(written):
        sign = ","
    elif re.fullmatch(r"[+-]?(nan|inf|infinity)", written, re.I):
        return Decimal(written)
    else:
        raise ValueError(written)
    return Decimal(written.replace(",", "") if sign == "." else written.replace(".", "").replace(",", "."))


def month(value: Any) -> str | None:
    """A month as a cell holds it (2026-10, 2026/10, 202610, 2026年10月, its first day or a date of it) → ``2026-10``, or
    None."""
    if isinstance(value, date):
        return f"{value:%Y-%m}"
    found = _MONTH.fullmatch(unicodedata.normalize("NFKC", str(value)).strip())
    if found is None or not 1 <= int(found[2] or found[3]) <= 12:
        return None
    return f"{found[1]}-{int(found[2] or found[3]):02d}"
