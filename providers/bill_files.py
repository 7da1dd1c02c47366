"""Bills as files: CSV or an Excel workbook with a header, a line for each resource and kind; a line that makes no sense is
refused, with its place.

Columns, in any order, by English or Chinese name: ``resource`` 资源编号, ``kind`` 资源类别 (a name of quota.units.Kind),
``quantity`` 用量 (base units × hours); and where they differ from the whole month and from the pool: ``month`` 账期,
``since`` 起, ``until`` 止 (without a zone: the city's time), ``service`` 服务, ``arch`` 架构; and ``cost`` 金额 in yuan where the bill tells money.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import openpyxl

from providers.base import BillLine, ServiceKind
from providers.bills import MOST, Interval, fault, month_bounds
from providers.inventory_rows import UnfitError
from providers.refusals import Reading, missing, unusable
from providers.text_files import blocks, fields, magic, split
from providers.usage_values import moment
from quota.calendar import ZONE
from quota.errors import Refused
from quota.units import Arch, Kind

HEADERS: Mapping[str, str] = {
    "resource": "resource", "resource_id": "resource", "external_id": "resource", "资源编号": "resource",
    "kind": "kind", "资源类别": "kind",
    "quantity": "quantity", "用量": "quantity", "计费量": "quantity",
    "month": "month", "账期": "month",
    "since": "since", "起": "since", "开始时间": "since",
    "until": "until", "止": "until", "结束时间": "until",
    "service": "service", "服务": "service",
    "arch": "arch", "架构": "arch",
    "cost": "cost", "amount": "cost", "金额": "cost", "费用": "cost",
}  # fmt: skip
NEEDED = ("resource", "kind", "quantity")
SEPARATORS = ",;\t|"


def read_bill(path: Path, month: str, reading: Reading, *, arch: Arch) -> list[BillLine]:
    """The lines of one file that can be taken; the others are counted in ``reading`` with line, column and reason.

    ``arch``: the pool's, where a line names none. Raises NotFound where there is no file, Invalid where it is no bill.
    """
    if not path.is_file():
        raise missing(str(path))
    bounds = month_bounds(month)
    found: dict[tuple[str, Kind, datetime], BillLine] = {}
    reading.format = "xlsx" if magic(path)[:4] == b"PK\x03\x04" else "csv"
    try:
        for number, cells in (_sheet if reading.format == "xlsx" else _rows)(path, reading):
            line = _Cells(number, cells, reading).taken(month, bounds, arch)
            if line is None:
                continue
            key = (line.external_id, line.kind, line.since)
            if key not in found:
                found[key] = line
                reading.taken += 1
            elif found[key] == line:
                reading.duplicates += 1
            else:
                reading.refuse("bill.twice", number, None, None, line.external_id)
        if not reading.rows:
            raise unusable("file.no_rows", reading.file)
    except Refused as error:
        reading.fail(error)
        raise
    reading.samples = len(found)
    return list(found.values())


Header = dict[str, tuple[int, str]]


def _rows(path: Path, reading: Reading) -> Iterator[tuple[int, tuple[Header, Sequence[str]]]]:
    separator, header, width = "", Header(), 0
    for block in blocks(path, path.name, reading):
        if not header:
            text = block.data.split(b"\n", 1)[0].decode("utf-8", "replace")
            separator = max(SEPARATORS, key=lambda mark: len(fields(text, mark)))
            heads = fields(text, separator)
            header, width = _header(heads, reading), len(heads)
            block = type(block)(block.data[len(text.encode()) + 1 :], block.first + 1, block.cut)
        if block.data:
            lines = split(block, separator, width, reading)
            for row in range(len(lines)):
                yield int(lines.numbers[row]), (header, fields(lines.text(row), separator))


def _sheet(path: Path, reading: Reading) -> Iterator[tuple[int, tuple[Header, Sequence[str]]]]:
    """Rows of the first sheet of a workbook, every cell as it would stand in a CSV."""
    header: Header | None = None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        for number, cells in enumerate(book.worksheets[0].iter_rows(values_only=True), 1):
            texts = ["" if cell is None else str(cell).strip() for cell in cells]
            if not any(texts):
                continue
            if header is None:
                header = _header(texts, reading)
                continue
            reading.rows += 1
            yield number, (header, texts)
        book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, IndexError, SyntaxError, EOFError) as error:
        raise unusable("file.unreadable", path.name, why=str(error)[:200]) from error


def _header(heads: Sequence[str], reading: Reading) -> Header:
    found: Header = {}
    for at, head in enumerate(heads):
        name = HEADERS.get(head.strip().casefold())
        if name is None:
            continue
        if name in found:
            raise unusable("column.twice", reading.file, line=1, column=at + 1, header=head)
        found[name] = (at, head)
    for name in NEEDED:
        if name not in found:
            raise unusable("column.missing", reading.file, line=1, column=name)
    return found


class _Cells:
    """One row on its way to a bill line."""

    def __init__(self, number: int, row: tuple[Header, Sequence[str]], reading: Reading) -> None:
        self.number, (self.header, self.cells), self.reading = number, row, reading

    def text(self, name: str) -> str:
        return self.cells[self.header[name][0]] if name in self.header else ""

    def unfit(self, reason: str, name: str) -> UnfitError:
        """Count the refusal of this row for what it says under ``name``."""
        at, head = self.header.get(name, (None, name))
        self.reading.refuse(reason, self.number, None if at is None else at + 1, head, self.text(name))
        return UnfitError(reason)

    def taken(self, month: str, bounds: Interval, arch: Arch) -> BillLine | None:
        """The bill line, or None where the row was refused."""
        try:
            return self._line(month, bounds, arch)
        except UnfitError:
            return None

    def _line(self, month: str, bounds: Interval, arch: Arch) -> BillLine:
        try:
            kind = Kind(self.text("kind").casefold())
        except ValueError:
            raise self.unfit("kind.unknown", "kind") from None
        try:
            service = (
                ServiceKind(self.text("service").casefold())
                if self.text("service")
                else _SERVICE.get(kind, ServiceKind.VM)
            )
        except ValueError:
            raise self.unfit("kind.unknown", "service") from None
        try:
            of = Arch(self.text("arch").casefold()) if self.text("arch") else arch
        except ValueError:
            raise self.unfit("arch.unknown", "arch") from None
        quantity = self._quantity()
        since, until = self._moment("since", bounds[0]), self._moment("until", bounds[1])
        line = BillLine(
            self.text("month") or month, self.text("resource"), service, kind, of, quantity, since, until, self._cost()
        )
        reason = fault(line, month, bounds)
        if reason:
            name = {"bill.id": "resource", "bill.month": "month", "bill.span": "since"}.get(reason, "quantity")
            raise self.unfit(reason, name)
        return line

    def _quantity(self) -> Decimal:
        try:
            figure = Decimal(self.text("quantity"))
        except InvalidOperation:
            raise self.unfit("value.text" if self.text("quantity") else "value.missing", "quantity") from None
        if figure.is_nan():
            raise self.unfit("value.nan", "quantity")
        if figure < 0:
            raise self.unfit("value.negative", "quantity")
        if figure >= MOST:
            raise self.unfit("value.absurd", "quantity")
        return figure

    def _cost(self) -> Decimal | None:
        """Yuan; None where the file tells no money."""
        if not self.text("cost"):
            return None
        try:
            figure = Decimal(self.text("cost").replace(",", ""))
        except InvalidOperation:
            raise self.unfit("value.text", "cost") from None
        if not figure.is_finite():
            raise self.unfit("value.nan", "cost")
        if abs(figure) >= MOST:
            raise self.unfit("value.absurd", "cost")
        return figure

    def _moment(self, name: str, default: datetime) -> datetime:
        if not self.text(name):
            return default
        found = moment(self.text(name))
        if found is None:
            raise self.unfit("time.bad", name)
        return found if found.tzinfo else found.replace(tzinfo=ZONE)


_SERVICE: Mapping[Kind, ServiceKind] = {
    Kind.BLOCK: ServiceKind.VOLUME,
    Kind.OBJECT: ServiceKind.OBJECT_STORE,
    Kind.BANDWIDTH: ServiceKind.BANDWIDTH,
    Kind.EIP: ServiceKind.EIP,
    Kind.DATABASE: ServiceKind.DATABASE,
    Kind.MIDDLEWARE: ServiceKind.MIDDLEWARE,
    Kind.SECURITY: ServiceKind.SECURITY,
    Kind.CRYPTOGRAPHY: ServiceKind.CRYPTOGRAPHY,
    Kind.ACCELERATOR: ServiceKind.ACCELERATOR,
}
"""What a kind is billed for where the line names no service."""
