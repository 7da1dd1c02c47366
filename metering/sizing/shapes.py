"""Catalogue shapes from a file, JSON or CSV, as people have them; every error names its place."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from metering.sizing.rightsizing import Shape
from providers.readers import is_total

LARGEST = 4096  # vCPU, and GB of memory per vCPU: beyond that it is a slip of the pen


def read(path: str | Path) -> list[Shape]:
    """Shapes of ``path``: a CSV with a head line (code, vcpu, memory_gb), or a JSON list of such objects, of
    numbers (vCPU), or an object with that list under "shapes". Raises ValueError naming file and row."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    rows = _json(path.name, text) if text.lstrip()[:1] in ("[", "{") else _csv(path.name, text)
    found = [_shape(f"{path.name}, {place}", row) for place, row in rows]
    if not found:
        raise ValueError(f"{path.name}: no shapes")
    return found


def _json(name: str, text: str) -> list[tuple[str, Any]]:
    try:
        plain = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}, line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{name}: nested too deeply") from None
    listed = plain.get("shapes") if isinstance(plain, dict) else plain
    if not isinstance(listed, list):
        raise ValueError(f'{name}: neither a list of shapes nor an object with a list "shapes"')
    return [(f"entry {number}", row) for number, row in enumerate(listed, 1)]


def _csv(name: str, text: str) -> list[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text))
    if "vcpu" not in (reader.fieldnames or ()):
        raise ValueError(f"{name}, line 1: no column vcpu (found: {', '.join(reader.fieldnames or ()) or 'nothing'})")
    return [(f"line {reader.line_num}", row) for row in reader]


def _shape(place: str, row: Any) -> Shape:
    if isinstance(row, int | float) and not isinstance(row, bool):
        row = {"vcpu": row}
    if not isinstance(row, dict):
        raise ValueError(f"{place}: {row!r} is no shape")
    if is_total(row.get("code")):
        raise ValueError(f"{place}: {row['code']} sums shapes up and is none")
    vcpu = _number(place, "vcpu", row.get("vcpu"))
    given = row.get("memory_gb")
    memory = _number(place, "memory_gb", given) if given not in (None, "") else 2 * vcpu
    return Shape(str(row.get("code") or f"{vcpu}C{memory}G"), vcpu, memory)


def _number(place: str, name: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{place}: {name} {value!r} is no number") from None
    if not number.is_integer() or not 0 < number <= LARGEST * 16:
        raise ValueError(f"{place}: {name} {value!r} is no whole number from 1 to {LARGEST * 16}")
    return int(number)
