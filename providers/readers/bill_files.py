"""Bills as files: CSV or an Excel workbook with headings, a line for each resource and kind, or FOCUS (``bill_focus``); a
line that makes no sense is refused, with its place.

Columns, in any order, by English or Chinese name (``bill_words``): ``resource`` 资源编号, ``kind`` 资源类别 (a name of
quota.units.ClassCode), ``quantity`` 用量, in the ``unit`` 单位 × hours (without one: base units); where they differ from the whole
month and from the pool: ``month`` 账期, ``since`` 起, ``until`` 止 (without a zone: the city's time), ``service`` 服务, ``arch``
架构; and ``cost`` 金额 in yuan where the bill tells money. Columns that change what these mean must not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from providers.base import CNY, BillFact, ServiceKind
from providers.billing import COST_STEP, MOST, MOST_COST, QUANTITY_STEP, Interval, fault, month_bounds
from providers.readers import figures
from providers.readers.bill_focus import is_focus, read_focus
from providers.readers.bill_words import HEADERS, NEUTRAL, YUAN, class_of, is_money, is_unit, money, unit_factor
from providers.readers.inventory_words import arch_of, kind_of
from providers.readers.refusals import Reading, missing, unusable
from providers.readers.sheets import is_workbook, workbook_rows
from providers.readers.tables import Heading, RowCells, TableColumn, TableRow, UnfitError, columns_of, text_rows
from providers.readers.text_files import magic
from providers.readers.usage_columns import plain
from providers.readers.usage_values import moment
from quota.calendar import ZONE
from quota.errors import Refused
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CLASSES,
    CRYPTOGRAPHY,
    DATABASE,
    EIP,
    MIDDLEWARE,
    OBJECT,
    SECURITY,
    Arch,
    ClassCode,
)

HEADING = Heading(
    HEADERS,
    ("resource", "kind", "quantity"),
    lambda name, unit: is_unit(unit) if name == "quantity" else name == "cost" and is_money(unit),
)

_CODE = re.compile(r"[A-Z]{3}")
_SHORT = re.compile(r"\d(\.\d+)?E\+\d+")
"""A figure as a spreadsheet shortens it when it saves text: digits are lost."""


def read_bill(path: Path, month: str, reading: Reading, *, arch: Arch) -> list[BillFact]:
    """The lines of one file that can be taken; the others are counted in ``reading`` with line, column and reason.

    ``arch``: the pool's, where a line names none. Raises NotFound where there is no file, Invalid where it is no bill.
    """
    if not path.is_file():
        raise missing(str(path))
    if is_focus(path):
        try:
            return read_focus(path, month, reading, arch=arch)
        except Refused as error:
            reading.fail(error)
            raise
    bounds = month_bounds(month)
    found: dict[tuple[str, ClassCode, datetime], BillFact] = {}
    try:
        columns, rows = _open(path, reading)
        places = [columns[name].at for name in ("quantity", "cost") if name in columns]
        sign = figures.decimal_sign(
            cell for row in rows for at in places if at < len(row.cells) and isinstance(cell := row.cells[at], str)
        )
        steps = {name: _Step(step) for name, step in (("quantity", QUANTITY_STEP), ("cost", COST_STEP))}
        for row in rows:
            cells = _Line(row, columns, reading, sign, steps)
            if cells.is_blank():
                continue
            if cells.is_total("resource"):
                reading.leave_out(row.line)
                continue
            reading.rows += 1
            line = cells.taken(month, bounds, arch)
            if line is None:
                continue
            key = (line.external_id, line.kind, line.since)
            if key not in found:
                found[key] = line
                reading.taken += 1
            elif found[key] == line:
                reading.duplicates += 1
            else:
                reading.refuse("bill.twice", row.line, None, None, line.external_id)
        if not reading.rows:
            raise unusable("file.no_rows", reading.place)
    except Refused as error:
        reading.fail(error)
        raise
    for name, step in steps.items():
        step.told(reading, columns.get(name))
    reading.samples = len(found)
    return list(found.values())


def _open(path: Path, reading: Reading) -> tuple[dict[str, TableColumn], list[TableRow]]:
    """The columns and all rows: whether a comma is a decimal one, only all of them say."""
    if is_workbook(magic(path)):
        rows = workbook_rows(path, reading, HEADING.fits)
    else:
        reading.format = "csv"
        rows = text_rows(path, HEADING, reading)
    columns, below = columns_of(rows, HEADING, reading)
    cost = columns.get("cost")
    if cost is not None and cost.unit not in YUAN:
        raise unusable("column.currency", reading.place, line=cost.line, column=cost.at + 1, header=cost.head)
    return columns, list(below)


class _Step:
    """What rounding to the smallest figure that is kept took from one column, or added to it."""

    def __init__(self, step: Decimal) -> None:
        self.step, self.count, self.difference = step, 0, Decimal(0)

    def kept(self, figure: Decimal) -> Decimal:
        """``figure``, half up; it is counted where that changes it."""
        kept = figure.quantize(self.step, ROUND_HALF_UP)
        self.count += kept != figure
        self.difference += kept - figure
        return kept if kept != figure else figure

    def told(self, reading: Reading, column: TableColumn | None) -> None:
        if column is not None and self.count:
            places = -int(self.step.as_tuple().exponent)
            difference = f"{self.difference.normalize():f}"
            reading.note("number.rounded", count=self.count, header=column.head, places=places, difference=difference)


class _Line(RowCells):
    """One row on its way to a bill line."""

    def __init__(
        self,
        row: TableRow,
        columns: Mapping[str, TableColumn],
        reading: Reading,
        sign: str | None,
        steps: Mapping[str, _Step],
    ) -> None:
        super().__init__(row, columns, reading)
        self.sign, self.steps = sign, steps

    def taken(self, month: str, bounds: Interval, arch: Arch) -> BillFact | None:
        """The bill line, or None where the row was refused."""
        try:
            return self._line(month, bounds, arch)
        except UnfitError:
            return None

    def _line(self, month: str, bounds: Interval, arch: Arch) -> BillFact:
        if not self.row.cells:
            raise self.unfit("line.fields", "resource")
        self.must_be_computed()
        for name, neutral in NEUTRAL.items():
            if self.text(name).casefold() not in neutral:
                raise self.unfit("cell.changes", name)
        kind = class_of(self.text("kind"))
        if kind is None:
            raise self.unfit("class.unknown", "kind")
        service = kind_of(self.text("service")) if self.text("service") else _SERVICE.get(kind, ServiceKind.VM)
        if service is None:
            raise self.unfit("kind.unknown", "service")
        of = arch_of(self.text("arch")) if self.text("arch") else arch
        if of is None:
            raise self.unfit("arch.unknown", "arch")
        quantity = self._quantity(kind)
        since, until = self._moment("since", bounds[0]), self._moment("until", bounds[1])
        if self._is_day("until") and until != bounds[1]:
            raise self.unfit("time.day_only", "until")
        said = figures.month(self.raw("month")) if self.text("month") else month
        line = BillFact(
            said or "", self.identity("resource"), service, kind, of, quantity, since, until, self._cost(),
            self._currency(), self.text("payer").strip()
        )  # fmt: skip
        reason = fault(line, month, bounds)
        if reason:
            name = {"bill.id": "resource", "bill.month": "month", "bill.span": "since"}.get(reason, "quantity")
            raise self.unfit(reason, name)
        return line

    def _quantity(self, kind: ClassCode) -> Decimal:
        """Base units × hours."""
        unit = self.text("unit") or (self.columns["quantity"].unit if "quantity" in self.columns else "")
        factor = unit_factor(kind, unit) if unit else Decimal(1)
        if factor is None:
            raise self.unfit("unit.unknown", "unit" if self.text("unit") else "quantity")
        figure = self._figure("quantity", self.text("quantity")) * factor
        if figure.is_nan():
            raise self.unfit("value.nan", "quantity")
        if figure < 0:
            raise self.unfit("value.negative", "quantity")
        if figure >= MOST:
            raise self.unfit("value.absurd", "quantity")
        if not unit and CLASSES[kind].factor != 1:
            self.reading.note("unit.assumed", unit=f"{CLASSES[kind].base}·h", columns=self.columns["quantity"].head)
        return self.steps["quantity"].kept(figure)

    def _cost(self) -> Decimal | None:
        """Yuan; None where the file tells no money."""
        written = unicodedata.normalize("NFKC", self.text("cost")).strip()
        if not written:
            return None
        found = money(written)
        said = self.text("currency")
        if (YUAN.get(plain(said)) != 1 and not self._foreign()) or self.columns["cost"].at in self.row.foreign:
            raise self.unfit("currency.other", "currency" if said else "cost")
        if found is None:
            raise self.unfit("currency.other" if re.search(r"\d", written) else "value.text", "cost")
        figure = self._figure("cost", found[0])
        if not figure.is_finite():
            raise self.unfit("value.nan", "cost")
        factor = found[1] if found[1] != 1 else YUAN[self.columns["cost"].unit]
        if abs(figure * factor) >= MOST_COST:
            raise self.unfit("value.absurd", "cost")
        return self.steps["cost"].kept(figure * factor)

    def _foreign(self) -> str:
        """The code of another currency that the row names in the column for it, and nowhere else; else nothing."""
        said = self.text("currency").strip().upper()
        return said if _CODE.fullmatch(said) and YUAN.get(plain(said)) is None else ""

    def _currency(self) -> str:
        return (self._foreign() if self.text("cost").strip() else "") or CNY

    def _figure(self, name: str, written: str) -> Decimal:
        if not written:
            raise self.unfit("value.missing", name)
        self.must_be_own(name)
        value = self.raw(name)
        try:
            figure = figures.figure(value if isinstance(value, int | float) else written, self.sign)
        except figures.AmbiguousError:
            raise self.unfit("value.ambiguous", name) from None
        except ValueError:
            raise self.unfit("value.text", name) from None
        if isinstance(value, str) and _SHORT.fullmatch(written) and figure < MOST:
            raise self.unfit("value.short", name)
        return figure

    def _is_day(self, name: str) -> bool:
        """Whether a moment was written as a day alone."""
        value = self.raw(name)
        if isinstance(value, str):
            return bool(value.strip()) and ":" not in value
        return isinstance(value, date) and not isinstance(value, datetime)

    def _moment(self, name: str, default: datetime) -> datetime:
        value = self.raw(name)
        if not self.text(name):
            return default
        found = moment(value) if isinstance(value, str) else value
        if isinstance(found, date) and not isinstance(found, datetime):
            found = datetime.combine(found, time())
        if not isinstance(found, datetime):
            raise self.unfit("time.bad", name)
        return found if found.tzinfo else found.replace(tzinfo=ZONE)


_SERVICE: Mapping[ClassCode, ServiceKind] = {
    BLOCK: ServiceKind.VOLUME,
    OBJECT: ServiceKind.OBJECT_STORE,
    BANDWIDTH: ServiceKind.BANDWIDTH,
    EIP: ServiceKind.EIP,
    DATABASE: ServiceKind.DATABASE,
    MIDDLEWARE: ServiceKind.MIDDLEWARE,
    SECURITY: ServiceKind.SECURITY,
    CRYPTOGRAPHY: ServiceKind.CRYPTOGRAPHY,
    ACCELERATOR: ServiceKind.ACCELERATOR,
}
"""What a kind is billed for where the line names no service."""
