"""FOCUS files: a statement's lines as rows of the specification, written as CSV and Parquet, read back to be checked.

Costs billed are the proven ones, to the fen; list and contracted cost are the exact product of price and quantity. Lines that
no tariff prices cannot be told in FOCUS and are left out; the caller says how many (StatementRun.unpriced).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import ColumnElement

from metering.statements import closings, focus
from metering.statements.statements import invoice_number, lines_of
from metering.statements.tables import CORRECTION, StatementLine, StatementRun, unit_hours, yuan
from metering.statements.tariffs import CURRENCY, Per
from providers.base import ServiceKind
from providers.billing import month_bounds
from quota.calendar import ZONE
from quota.errors import N_, Invalid
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CLASSES,
    CRYPTOGRAPHY,
    DATABASE,
    EIP,
    MEMORY,
    MIDDLEWARE,
    OBJECT,
    SECURITY,
    VCPU,
    ClassCode,
)

if TYPE_CHECKING:
    from quota.db import Tx

FocusRow = dict[str, str | None]

SERVICES: Mapping[ServiceKind, tuple[str, str, str]] = {
    ServiceKind.VM: ("Compute", "Virtual Machines", "Cloud Server"),
    ServiceKind.BARE_METAL: ("Compute", "Other (Compute)", "Bare Metal"),
    ServiceKind.VOLUME: ("Storage", "Block Storage", "Cloud Volume"),
    ServiceKind.OBJECT_STORE: ("Storage", "Object Storage", "Object Storage"),
    ServiceKind.EIP: ("Networking", "Network Connectivity", "Elastic IP"),
    ServiceKind.BANDWIDTH: ("Networking", "Network Connectivity", "Bandwidth"),
    ServiceKind.DATABASE: ("Databases", "Relational Databases", "Database"),
    ServiceKind.MIDDLEWARE: ("Integration", "Other (Integration)", "Middleware"),
    ServiceKind.SECURITY: ("Security", "Other (Security)", "Security Service"),
    ServiceKind.CRYPTOGRAPHY: ("Security", "Secret Management", "Cryptography Service"),
    ServiceKind.ACCELERATOR: ("AI and Machine Learning", "Machine Learning", "Accelerator"),
    ServiceKind.OTHER: ("Other", "Other (Other)", "Other Service"),
}
UNITS: Mapping[ClassCode, str] = {
    VCPU: "Core",
    MEMORY: "GiB",
    BLOCK: "GB",
    OBJECT: "GB",
    BANDWIDTH: "Mbps",
    EIP: "Address",
    DATABASE: "Instance",
    MIDDLEWARE: "Instance",
    SECURITY: "Set",
    CRYPTOGRAPHY: "Instance",
    ACCELERATOR: "Card",
}
"""Shown units as FOCUS writes them."""


def unit_of(kind: ClassCode) -> str:
    """What FOCUS calls the unit of a class; one that people added has its own."""
    return UNITS.get(kind) or CLASSES[kind].shown


def rows_of(tx: Tx, run: StatementRun, where: ColumnElement[bool] | None = None) -> Iterator[FocusRow]:
    """The rows of a run, narrowed by ``where``. An invoice is named, with its total, once the month is closed on this run; the
    total is told only where all its rows are."""
    closing = closings.closing(tx, run.month)
    invoices = dict(closing.invoices) if closing is not None and closing.run_id == run.id else {}
    priced = StatementLine.cost_fen.is_not(None)
    for line in lines_of(tx, run, priced if where is None else priced & where, days=False):
        yield row_of(line, run.month, invoices, whole=where is None)


def row_of(line: StatementLine, month: str, invoices: Mapping[str, int], *, whole: bool) -> FocusRow:
    """One line as a row: every column there, None = null."""
    told = _whose(line) | _of_what(line, month) | _costs(line) | _invoiced(line, month, invoices, whole=whole)
    return dict.fromkeys([*focus.COLUMNS, *focus.OWN]) | {name: _text(value) for name, value in told.items()}


def as_version(row: FocusRow, version: str) -> FocusRow:
    """A row of 1.2 under the columns of ``version``."""
    if version == focus.VERSION:
        return row
    told = row | {
        "HostProviderName": row["ProviderName"],
        "ServiceProviderName": row["ProviderName"],
        "InvoiceDetailId": detail_id(row),
    }
    return {name: told[name] for name in names(version)}


def detail_id(row: FocusRow) -> str | None:
    """Of the invoice's line that a charge is part of: its department's sum of one SKU, corrections of each month apart. None where
    there is no invoice yet."""
    if row["InvoiceId"] is None:
        return None
    parts = [row["InvoiceId"], row["SubAccountId"] or "-", row["SkuId"] or "-", row["x_CorrectedMonth"]]
    return "/".join(one for one in parts if one)


def names(version: str = focus.VERSION) -> tuple[str, ...]:
    """The columns that we write as ``version``, ours last."""
    return (*focus.VERSIONS[version], *focus.OWN)


def _whose(line: StatementLine) -> dict[str, Any]:
    provider, pool, department, system = line.provider, line.pool, line.department, line.system
    return {
        "BillingAccountId": f"guanjia:{provider.code}",
        "BillingAccountName": provider.name,
        "InvoiceIssuerName": provider.name,
        "ProviderName": provider.name,
        "PublisherName": provider.name,
        "RegionId": pool.code,
        "RegionName": pool.name,
        "SubAccountId": department.code if department else None,
        "SubAccountName": department.name if department else None,
        "SubAccountType": "Department" if department else None,
        "Tags": json.dumps({"system": system.code}, ensure_ascii=False) if system else None,
    }


def _of_what(line: StatementLine, month: str) -> dict[str, Any]:
    resource = line.resource
    since, until = _period(line, line.corrects or month)
    category, subcategory, service = SERVICES[ServiceKind(resource.kind)]
    described = [resource.name or resource.external_id, line.kind, "off" if line.stopped else "on", line.corrects]
    return {
        "ChargeDescription": " ".join(described).strip(),
        "ChargePeriodStart": since,
        "ChargePeriodEnd": until,
        "ResourceId": f"{line.pool.code}/{resource.external_id}",
        "ResourceName": resource.name or None,
        "ResourceType": service,
        "ServiceCategory": category,
        "ServiceName": service,
        "ServiceSubcategory": subcategory,
        "x_Coverage": None if line.coverage is None else Decimal(str(round(line.coverage, 4))),
        "x_Stopped": "true" if line.stopped else "false",
    }


def _costs(line: StatementLine) -> dict[str, Any]:
    kind, tariff = ClassCode(line.kind), line.tariff
    correction = line.charge == CORRECTION
    per = "Hours" if tariff is not None and tariff.per == Per.HOUR else "Months"
    price = tariff.unit_price(line.stopped) if tariff is not None and not correction else None
    billed = yuan(line.cost_fen)
    listed = focus.product(price, line.quantity) if price is not None else billed
    sku = ":".join([line.kind, line.resource.arch, line.item.code if line.item else "any"])
    return {
        "BilledCost": billed,
        "BillingCurrency": CURRENCY,
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if correction else None,
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": unit_hours(kind, line.proven),
        "ConsumedUnit": f"{unit_of(kind)}-Hours",
        "ContractedCost": listed,
        "ContractedUnitPrice": price,
        "EffectiveCost": billed,
        "ListCost": listed,
        "ListUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingQuantity": line.quantity,
        "PricingUnit": f"{unit_of(kind)}-{per}",
        "SkuId": sku,
        "SkuMeter": f"{unit_of(kind)} {'Off' if line.stopped else 'On'}",
        "SkuPriceId": f"{sku}:{tariff.id}{':off' if line.stopped else ''}" if tariff is not None else None,
        "x_PriceLabel": tariff.label or None if tariff is not None else None,
        "x_UnmeasuredCost": yuan(line.unmeasured_fen),
        "x_UnmeasuredQuantity": unit_hours(kind, line.allocated - line.proven),
    }


def _invoiced(line: StatementLine, month: str, invoices: Mapping[str, int], *, whole: bool) -> dict[str, Any]:
    start, end = month_bounds(month)
    invoice = invoice_number(month, line.provider.code)
    total = invoices.get(invoice)
    return {
        "BillingPeriodStart": start,
        "BillingPeriodEnd": end,
        "InvoiceId": invoice if total is not None else None,
        "x_CorrectedMonth": line.corrects or None,
        "x_InvoiceTotal": yuan(total) if whole else None,
    }


def _period(line: StatementLine, month: str) -> tuple[datetime, datetime]:
    start, end = month_bounds(month)
    first = start.astimezone(ZONE) + timedelta(days=line.first_day)
    last = start.astimezone(ZONE) + timedelta(days=line.last_day + 1)
    return (start, end) if line.corrects else (first.astimezone(UTC), min(last.astimezone(UTC), end))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
    return str(value)


NAMES = names()
_FIGURES = pa.decimal128(38, 17)


GROUP = 5_000
"""Rows in a row group of a Parquet file: as many are held at once, whatever the size of the city."""


def write_csv(sink: IO[bytes], rows: Iterable[FocusRow], version: str = focus.VERSION) -> int:
    """The rows as CSV, nulls as empty fields, into an open file; how many."""
    heads = names(version)
    text = io.TextIOWrapper(sink, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    count = 0
    for row in (as_version(one, version) for one in rows):
        writer.writerow([row[name] or "" for name in heads])
        count += 1
    text.flush()
    text.detach()
    return count


def write_parquet(sink: IO[bytes], rows: Iterable[FocusRow], version: str = focus.VERSION) -> int:
    """The rows as Parquet, a row group after another, into an open file; how many."""
    count = 0
    with pq.ParquetWriter(sink, schema(version), compression="zstd") as writer:
        remaining = iter(rows)
        while some := list(islice(remaining, GROUP)):
            writer.write_table(table(some, version))
            count += len(some)
            some.clear()
    return count


WRITERS: Mapping[str, Callable[[IO[bytes], Iterable[FocusRow], str], int]] = {
    "csv": write_csv,
    "parquet": write_parquet,
}
"""By the file's ending."""


def schema(version: str = focus.VERSION) -> pa.Schema:
    """Parquet: decimals as decimals, instants as UTC instants, the rest texts."""
    kinds = {name: column.type for name, column in focus.VERSIONS[version].items()} | dict(focus.OWN)
    types = {focus.DECIMAL: _FIGURES, focus.MOMENT: pa.timestamp("s", "UTC")}
    return pa.schema([(name, types.get(kinds[name], pa.string())) for name in kinds], {"focus_version": version})


def table(rows: Iterable[FocusRow], version: str = focus.VERSION) -> pa.Table:
    """The rows as Arrow has them."""
    fields = schema(version)
    columns: dict[str, list[Any]] = {name: [] for name in fields.names}
    for row in (as_version(one, version) for one in rows):
        for name, value in row.items():
            columns[name].append(value)
    arrays = []
    for field in fields:
        values = columns[field.name]
        if pa.types.is_decimal(field.type):
            values = [None if one is None else Decimal(one) for one in values]
        elif pa.types.is_timestamp(field.type):
            values = [None if one is None else datetime.fromisoformat(one) for one in values]
        arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=fields)


def write(path: Path, rows: Iterable[FocusRow], version: str = focus.VERSION) -> int:
    """Write ``path`` (.csv or .parquet) whole or not at all; how many rows. Raises Invalid for another ending."""
    if path.suffix[1:] not in WRITERS:
        raise Invalid("focus.ending", N_("FOCUS 文件须为 .csv 或 .parquet"), field="file")
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("wb") as sink:
            count = WRITERS[path.suffix[1:]](sink, rows, version)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def read(path: Path) -> tuple[Sequence[str], Iterator[FocusRow]]:
    """The columns of a file, and its rows as texts, read as they are asked for. Raises Invalid, then too, for one that is
    neither CSV nor Parquet, or not whole."""
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    with _readable():
        names = next(rows)
    return [str(name) for name in names], _told(rows)


def _told(rows: Iterator[FocusRow]) -> Iterator[FocusRow]:
    with _readable():
        yield from rows


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise Invalid("focus.file", N_("无法读取文件:%(why)s"), why=str(error)[:200], field="file") from None


def _csv_rows(path: Path) -> Iterator[Any]:
    """The head, then each row."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        yield names
        for row in reader:
            yield dict(zip(names, [one or None for one in row], strict=True))


def _parquet_rows(path: Path) -> Iterator[Any]:
    """The columns, then each row."""
    with pq.ParquetFile(path) as file:
        _types(file.schema_arrow)
        yield file.schema_arrow.names
        for batch in file.iter_batches(GROUP):
            for row in batch.to_pylist():
                yield {name: _text(value) for name, value in row.items()}


def _types(found: pa.Schema) -> None:
    """A Parquet file that writes figures or instants as texts is no FOCUS file. Raises ValueError."""
    for field in found:
        column = focus.VERSIONS[focus.VERSION].get(field.name) or focus.VERSIONS[focus.NEWER].get(field.name)
        if column is None:
            continue
        if column.type == focus.DECIMAL and not (pa.types.is_decimal(field.type) or pa.types.is_floating(field.type)):
            raise ValueError(f"{field.name} is of type {field.type}, not a decimal")
        if column.type == focus.MOMENT and not (pa.types.is_timestamp(field.type) and field.type.tz is not None):
            raise ValueError(f"{field.name} is of type {field.type}, not an instant in UTC")


def check(path: Path) -> list[focus.FocusFault]:
    """Everything wrong with a file."""
    names, rows = read(path)
    return focus.check(names, rows)
