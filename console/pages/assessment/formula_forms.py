"""The form in which a formula is edited row by row: the sheets of its workbook as fields, read by the same readers, so that what is wrong
is told beside the same rows and columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from flask_wtf import FlaskForm
from wtforms import DateField, TextAreaField
from wtforms.validators import InputRequired, Length

from console import formula_sheets, workbooks
from console.formula_sheets import SheetDocument
from console.words import _, lazy, sentence
from console.workbooks import CellFault, CellShape, SheetColumn, SheetRow, WorkbookSheet
from providers.assessment import FormulaDocument
from quota.errors import N_, Invalid

FIELD = re.compile(r"([a-z]+)-(\d{1,3})-([a-z_]+)")
SPARE, MORE = 2, 5
"""Empty rows at the end of each sheet, and how many are added when asked for."""
BESIDE = "effective_from"
"""The column that the form asks beside the sheets."""


class FormulaRowsForm(FlaskForm):  # type: ignore[misc]
    """What is asked beside the rows."""

    effective_from = DateField(lazy("生效日"), [InputRequired(lazy("请填写生效日"))],
                               description=lazy("从这一天或以后开始的月份和季度按它评分"))  # fmt: skip
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=2000)],
                           description=lazy("依据的文件、文号和修订原因"))  # fmt: skip


@dataclass(slots=True)
class EditedRow:
    """A row of fields: what stands in each, and what is wrong with it."""

    number: int
    cells: dict[str, str]
    wrong: dict[str, list[str]] = field(default_factory=dict)
    dropped: bool = False


class EditedSheets:
    """The rows of a formula as they stand in the form: of a document, or as they were sent."""

    def __init__(self, cells: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
        self.rows = {
            sheet.name: [EditedRow(n, dict(one)) for n, one in enumerate(cells.get(sheet.name, ()), 1)]
            for sheet in formula_sheets.SHEETS
        }
        for sheet in formula_sheets.SHEETS[1:]:
            self.add(sheet.name, SPARE)

    @classmethod
    def of(cls, document: FormulaDocument) -> EditedSheets:
        told = formula_sheets.rows_of(document, lambda word: str(_(word)))
        return cls(
            {name: [{key: _shown(value) for key, value in row.items()} for row in rows] for name, rows in told.items()}
        )

    @classmethod
    def sent(cls, given: Iterable[tuple[str, str]]) -> EditedSheets:
        """As the form was sent; rows that were left empty or ticked to be dropped are not."""
        found: dict[str, dict[int, dict[str, str]]] = {}
        for name, value in given:
            told = FIELD.fullmatch(name)
            if told is not None:
                found.setdefault(told[1], {}).setdefault(int(told[2]), {})[told[3]] = value.strip()
        kept = {
            sheet: [row for _number, row in sorted(rows.items()) if any(row.values()) and not row.get("drop")]
            for sheet, rows in found.items()
        }
        return cls(kept)

    def add(self, sheet: str, count: int = MORE) -> None:
        """Empty rows at the end of a sheet; none where there is no such sheet."""
        rows = self.rows.get(sheet, [])
        rows += [EditedRow(len(rows) + n, {}) for n in range(1, count + 1)]

    def sheets(self) -> list[tuple[WorkbookSheet, list[SheetColumn], list[EditedRow]]]:
        """Each sheet with the columns that are asked, and its rows."""
        return [
            (sheet, [one for one in sheet.columns if one.key != BESIDE], self.rows[sheet.name] or [EditedRow(1, {})])
            for sheet in formula_sheets.SHEETS
        ]

    def document(self, since: date | None) -> SheetDocument:
        """The document that the rows are. Raises the first of what is wrong, all of which is told beside its field."""
        rows: dict[str, list[SheetRow]] = {}
        faults: list[CellFault] = []
        for sheet in formula_sheets.SHEETS:
            for one in self.rows[sheet.name]:
                if any(one.cells.values()) or sheet is formula_sheets.SHEETS[0]:
                    rows.setdefault(sheet.name, []).append(_read(sheet, one, faults))
        found = formula_sheets.document_of(rows, lambda word: str(_(word)))
        found.raw["effective_from"] = since.isoformat() if since else None
        found.faults = [*faults, *found.faults]
        for fault in formula_sheets.faults_of(found):
            self._hang(fault)
        return found

    def _hang(self, fault: CellFault) -> None:
        sheet = next(one for one in formula_sheets.SHEETS if one.title == fault.sheet)
        row = next((one for one in self.rows[sheet.name] if one.number == fault.row), None)
        column = next((one.key for one in sheet.columns if one.label == fault.column), sheet.columns[0].key)
        if row is not None:
            row.wrong.setdefault(column, []).append(sentence(fault.message, fault.params))


def _read(sheet: WorkbookSheet, one: EditedRow, faults: list[CellFault]) -> SheetRow:
    row = SheetRow(sheet, one.number, {})
    for column in sheet.columns:
        try:
            row.values[column.key] = workbooks.read(column, one.cells.get(column.key))
        except Invalid as wrong:
            row.values[column.key] = None
            faults.append(CellFault(sheet.title, one.number, column.label, wrong.code, wrong.message, wrong.params))
    return row


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def choices(column: SheetColumn) -> list[tuple[str, str]]:
    """What a field of a column offers, as it is kept and as the reader reads it; nothing for what is typed."""
    if column.shape is CellShape.YES:
        return [(word, str(_(word))) for word in workbooks.YES]
    return [(word, str(_(word))) for word in column.options]


def chosen(column: SheetColumn, cell: str) -> str:
    """The word that a cell means: what was sent is it already, what a document says may be in the reader's language."""
    return next((word for word, said in choices(column) if cell in (word, said, column.options.get(word))), "")


def told(faults: Sequence[CellFault]) -> list[Invalid]:
    """Faults as refusals, each with its place."""
    found = []
    for fault in faults:
        words, params = workbooks.place(fault)
        where = sentence(words, {name: _(value) if isinstance(value, str) else value for name, value in params.items()})
        found.append(Invalid("formula.cell", N_("%(place)s：%(why)s"), place=where.strip(), why=sentence(fault.message, fault.params),
                             field="file"))  # fmt: skip
    return found
