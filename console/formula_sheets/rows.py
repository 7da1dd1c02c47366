"""Rows of a formula's sheets and the document that they are: one made of the other, and what is wrong with the document told by the
row and the column where it was written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from console.formula_sheets.columns import BANDS, CONSEQUENCES, FORMULA, INCIDENT, ITEMS, NUMBERS, TICKET, TIMES, VETOES
from console.workbooks import CellFault, SheetRow, WorkbookSheet
from providers.assessment import Criterion, FormulaDocument, arithmetic, formula_documents, registry
from quota.errors import N_

Rows = Mapping[str, Sequence[SheetRow]]
"""By the name of their sheet."""

_PARTED = re.compile(r"[、,，;；\s]+")
_ENDS = {INCIDENT: "recover", TICKET: "resolve"}


@dataclass(slots=True)
class SheetDocument:
    """``raw``: as a file holds it; ``places``: part of it (``rules.3.weight``) → sheet, row, column. ``faults``: what is wrong with
    rows by themselves."""

    raw: dict[str, Any]
    places: dict[str, tuple[WorkbookSheet, int, str]] = field(default_factory=dict)
    faults: list[CellFault] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------- a document as rows


def rows_of(document: FormulaDocument, say: Callable[[str], str] = str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a document, by sheet, a value a column; words as ``say`` says them."""
    by = document.formula
    grades = [
        *by.grades,
        *((None, grade) for grade in {*by.payment, *by.names} - {grade for _floor, grade in by.grades}),
    ]
    return {
        FORMULA.name: [_head(document, say)],
        ITEMS.name: [_item(one, say) for one in by.criteria],
        NUMBERS.name: [row for one in by.criteria if not one.by_hand for row in _numbers(one, say)],
        BANDS.name: [
            {"grade": _word(BANDS, "grade", grade.value, say), "floor": floor, "payment": by.payment.get(grade),
             "name": by.names.get(grade)}
            for floor, grade in grades
        ],
        VETOES.name: [{"code": code, "label": label} for code, label in (by.vetoes or {}).items()],
        TIMES.name: [
            {"clock": _word(TIMES, "clock", clock, say), "level": level, **_time("respond", limit.respond), **_time("end", limit.recover)}
            for clock, terms in ((INCIDENT, by.incidents), (TICKET, by.tickets))
            for level, limit in sorted(terms.limits.items())
        ],
        CONSEQUENCES.name: [
            {"grade": _word(CONSEQUENCES, "grade", one.grade.value, say), "times": one.times,
             "length": _word(CONSEQUENCES, "length", one.length, say), "running": say(N_("是") if one.running else N_("否")),
             "text": one.text}
            for one in by.consequences
        ],
    }  # fmt: skip


def _head(document: FormulaDocument, say: Callable[[str], str]) -> dict[str, Any]:
    by = document.formula
    return {
        "code": document.code, "name": document.name, "basis": document.basis,
        "subject": _word(FORMULA, "subject", by.subject.value, say), "provider": document.provider, "contract": document.contract,
        "effective_from": document.effective_from, "ends": say(N_("是")) if document.ends else None, "least": by.least,
        **by.shares, "publicity": by.days.publicity, "ruling": by.days.ruling, "announced_days": by.incidents.announced_days,
        "confirm_days": by.tickets.confirm_days,
    }  # fmt: skip


def _item(one: Criterion, say: Callable[[str], str]) -> dict[str, Any]:
    known = registry.find(one.source)
    own = known is not None and known.measure.name == one.measure
    return {
        "indicator": one.indicator, "weight": one.weight, "measure": None if own else _word(ITEMS, "measure", one.measure, say),
        "label": one.label, "evidence": one.evidence, "role": _word(ITEMS, "role", one.role.value, say),
        "explanation": one.explanation,
    }  # fmt: skip


def _numbers(one: Criterion, say: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    labels = _labels(one.source, one.measure)
    for name, value in [*one.limits.items(), *one.terms.items()]:
        told = "、".join(value) if isinstance(value, tuple) else str(value)
        yield {"indicator": one.indicator, "name": say(labels[name]) if name in labels else name, "value": told}


def _labels(source: str, measure: str) -> dict[str, str]:
    """Limits of a measure and terms of an indicator → what they are called, where no two are called alike."""
    known, computed = registry.find(source), arithmetic.measure(source, measure)
    told = [(limit.name, limit.label) for limit in (computed.limits if computed is not None else ())]
    told += [(term.name, term.label) for term in (known.terms if known is not None else ())]
    labels = [label for _name, label in told]
    return {name: label for name, label in told if labels.count(label) == 1}


def _word(sheet: WorkbookSheet, column: str, code: str, say: Callable[[str], str]) -> str:
    options = next(one.options for one in sheet.columns if one.key == column)
    return next((say(word) for word, known in options.items() if known == code), code)


def _time(name: str, allowed: timedelta | int) -> dict[str, int]:
    if isinstance(allowed, int):
        return {f"{name}_days": allowed}
    return {f"{name}_minutes": int(allowed.total_seconds()) // 60}


# ------------------------------------------------------------------------------------------------- rows as a document


def document_of(rows: Rows, say: Callable[[str], str] = str) -> SheetDocument:
    """What rows, each cell of which was read, are as a document; nothing of it is held against what is known yet."""
    found = SheetDocument({})
    _tell_twice(found, rows)
    heads = rows.get(FORMULA.name, ())
    if len(heads) != 1:
        found.faults.append(CellFault(FORMULA.title, 0, "", "formula.one_row", N_("应有且只有一行")))
    for row in heads[:1]:
        _read_head(found, row)
    _read_items(found, rows, say)
    _read_grades(found, rows.get(BANDS.name, ()))
    for row in rows.get(VETOES.name, ()):
        code = row.values["code"] or ""
        found.raw.setdefault("vetoes", {})[code] = row.values["label"] or ""
        found.places[f"vetoes.{code}"] = (VETOES, row.number, "code")
    for row in rows.get(TIMES.name, ()):
        _read_time(found, row)
    for place, row in enumerate(rows.get(CONSEQUENCES.name, ()), 1):
        found.raw.setdefault("consequences", []).append(_kept(row, "grade", "times", "length", "running", "text"))
        found.places |= {
            f"consequences.{place}.{one.key}": (CONSEQUENCES, row.number, one.key) for one in CONSEQUENCES.columns
        }
    return found


def faults_of(found: SheetDocument) -> list[CellFault]:
    """Everything that is wrong with it, by sheet, row and column."""
    told = list(found.faults)
    for problem in formula_documents.problems(found.raw):
        where, why = str(problem.params["where"]), str(problem.params["why"])
        parts = where.split(".")
        known = next((name for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in found.places), None)
        sheet, number, column = found.places[known] if known is not None else (SHEET_OF.get(parts[0], FORMULA), 0, "")
        label = next((one.label for one in sheet.columns if one.key == column), "")
        told.append(CellFault(sheet.title, number, label, problem.code, why))
    return told


SHEET_OF = {"rules": ITEMS, "grades": BANDS, "payment": BANDS, "names": BANDS, "vetoes": VETOES, "incidents": TIMES, "tickets": TIMES,
            "consequences": CONSEQUENCES}  # fmt: skip


def _kept(row: SheetRow, *names: str) -> dict[str, Any]:
    return {name: row.values[name] for name in names if row.values.get(name) is not None}


def _read_head(found: SheetDocument, row: SheetRow) -> None:
    day: date | None = row.values["effective_from"]
    found.raw |= {
        **_kept(row, "code", "name", "basis", "subject", "ends", "least"),
        "applies_to": _kept(row, "provider", "contract"),
    }
    if day is not None:
        found.raw["effective_from"] = day.isoformat()
    shares = _kept(row, "month", "quarter", "year_end")
    parts = {
        "shares": {name: share for name, share in shares.items() if share}, "days": _kept(row, "publicity", "ruling"),
        INCIDENT: _kept(row, "announced_days"), TICKET: _kept(row, "confirm_days"),
    }  # fmt: skip
    found.raw |= {name: part for name, part in parts.items() if part}
    within = {"provider": "applies_to", "contract": "applies_to", "month": "shares", "quarter": "shares", "year_end": "shares",
              "publicity": "days", "ruling": "days", "announced_days": INCIDENT, "confirm_days": TICKET}  # fmt: skip
    for column in FORMULA.columns:
        path = f"{within[column.key]}.{column.key}" if column.key in within else column.key
        found.places[path] = (FORMULA, row.number, column.key)
    found.places |= {"shares": (FORMULA, row.number, "month"), "applies_to": (FORMULA, row.number, "provider")}


def _tell_twice(found: SheetDocument, rows: Rows) -> None:
    """Rows that say what another of their sheet says: of those that a workbook's reader has not told yet."""
    for sheet in (ITEMS, BANDS, VETOES, TIMES):
        seen: dict[tuple[Any, ...], int] = {}
        for row in rows.get(sheet.name, ()):
            key = tuple(row.values[name] for name in sheet.key)
            if row.sound and None not in key and (first := seen.setdefault(key, row.number)) != row.number:
                found.faults.append(_twice(row, first))


def _twice(row: SheetRow, first: int) -> CellFault:
    label = row.sheet.columns[0].label
    return CellFault(row.sheet.title, row.number, label, "row.twice", N_("与第 %(first)s 行重复"), {"first": first})


def _read_items(found: SheetDocument, rows: Rows, say: Callable[[str], str]) -> None:
    rules: dict[str, tuple[int, dict[str, Any]]] = {}
    told = found.raw.setdefault("rules", [])
    for place, row in enumerate(rows.get(ITEMS.name, ()), 1):
        rule = {**_kept(row, *(one.key for one in ITEMS.columns)), "limits": {}, "terms": {}}
        told.append(rule)
        rules.setdefault(str(rule.get("indicator", "")), (place, rule))
        found.places |= {f"rules.{place}.{one.key}": (ITEMS, row.number, one.key) for one in ITEMS.columns}
        found.places |= {
            f"rules.{place}": (ITEMS, row.number, "indicator"),
            f"rules.{place}.limits": (ITEMS, row.number, "measure"),
        }
    for row in rows.get(NUMBERS.name, ()):
        if row.values["indicator"] not in rules:
            label = NUMBERS.columns[0].label
            found.faults.append(
                CellFault(NUMBERS.title, row.number, label, "formula.no_item", N_("“指标”表里没有这个代码"))
            )
            continue
        place, rule = rules[row.values["indicator"]]
        part, name, value = _number(rule, str(row.values["name"] or ""), str(row.values["value"] or ""), say)
        where = f"rules.{place}.{part}.{name}"
        if name in rule[part] and row.sound:  # by its name, or by its code and its name
            found.faults.append(_twice(row, found.places[where][1]))
        rule[part][name] = value
        found.places[where] = (NUMBERS, row.number, "value")


def _number(rule: Mapping[str, Any], name: str, value: str, say: Callable[[str], str]) -> tuple[str, str, Any]:
    """Whether it is a limit or a term, its name, and its value; what is not known stays as it was written, to be told of."""
    source = str(rule.get("evidence") or rule.get("indicator") or "")
    known = registry.find(source)
    measure = str(rule.get("measure") or (known.measure.name if known is not None else ""))
    called = {word: code for code, label in _labels(source, measure).items() for word in (label, say(label))}
    code = called.get(name, name)
    term = next((one for one in (known.terms if known is not None else ()) if one.name == code), None)
    if term is None:
        return "limits", code, value
    if not term.choices:
        return "terms", code, value
    words = {word: choice for choice, label in term.choices.items() for word in (label, say(label))}
    return "terms", code, [words.get(part, part) for part in _PARTED.split(value) if part]


def _read_grades(found: SheetDocument, rows: Sequence[SheetRow]) -> None:
    grades: list[tuple[Decimal, str]] = found.raw.setdefault("grades", [])
    for row in rows:
        grade = row.values["grade"] or ""
        if row.values["floor"] is not None:
            grades.append((row.values["floor"], grade))
            found.places[f"grades.{len(grades)}"] = (BANDS, row.number, "floor")
        for key, part in (("payment", "payment"), ("name", "names")):
            if row.values[key] is not None:
                found.raw.setdefault(part, {})[grade] = row.values[key]
                found.places[f"{part}.{grade}"] = (BANDS, row.number, key)


def _read_time(found: SheetDocument, row: SheetRow) -> None:
    clock, level = row.values["clock"] or INCIDENT, str(row.values["level"] or "")
    limits = {}
    for name, end in (("respond", "respond"), ("end", _ENDS[clock])):
        limits[end] = {
            unit: row.values[f"{name}_{unit}"]
            for unit in ("minutes", "days")
            if row.values[f"{name}_{unit}"] is not None
        }
        found.places[f"{clock}.levels.{level}.{end}"] = (TIMES, row.number, f"{name}_minutes")
    found.raw.setdefault(clock, {}).setdefault("levels", {})[level] = limits
    found.places[f"{clock}.levels.{level}"] = (TIMES, row.number, "level")
