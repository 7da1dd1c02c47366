"""Bills in FOCUS 1.2 (FinOps Open Cost and Usage Specification), CSV or Parquet: rows of usage become bill lines; whatever
would have to be guessed is refused with its place.

A row says what it is of by its unit and its service: ``vCPU-Hours`` of a virtual machine are cores, ``GiB-Hours`` of one are
memory, ``GB-Hours`` of block storage are volumes. Prices in tiers, which the specification tells apart by ``SkuPriceId``,
are added up. Taxes, credits, purchases and corrections of earlier months are no usage of a resource: where they cost
anything the bill cannot be taken line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from providers.base import BillFact, ServiceKind
from providers.billing import COST_STEP, MOST, MOST_COST, QUANTITY_STEP, Interval, fault, month_bounds
from providers.readers.bill_words import class_of, unit_factor
from providers.readers.inventory_words import kind_of
from providers.readers.refusals import Reading, unusable
from providers.readers.tables import Heading, RowCells, TableColumn, TableRow, UnfitError, columns_of, text_rows
from providers.readers.text_files import magic
from providers.readers.usage_columns import plain
from providers.readers.usage_values import moment
from quota.calendar import ZONE
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CRYPTOGRAPHY,
    DATABASE,
    EIP,
    MEMORY,
    MIDDLEWARE,
    OBJECT,
    SECURITY,
    VCPU,
    Arch,
    ClassCode,
)

NEEDED = (
    "BilledCost", "BillingCurrency", "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargePeriodEnd",
    "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ResourceId", "ServiceCategory",
)  # fmt: skip
"""Columns without which a bill cannot be read line by line."""

READ = (*NEEDED, "CommitmentDiscountStatus", "ResourceType", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId")

TELLING = frozenset({"BilledCost", "BillingCurrency", "ChargeCategory", "ChargePeriodStart"})
"""Columns by which a file is known to be FOCUS."""

HEADING = Heading({plain(name): name for name in READ}, NEEDED)

_SERVICES: Mapping[str, ServiceKind] = {
    "Virtual Machines": ServiceKind.VM, "Other (Compute)": ServiceKind.BARE_METAL, "Block Storage": ServiceKind.VOLUME,
    "Object Storage": ServiceKind.OBJECT_STORE, "Relational Databases": ServiceKind.DATABASE,
    "Secret Management": ServiceKind.CRYPTOGRAPHY, "Databases": ServiceKind.DATABASE, "Integration": ServiceKind.MIDDLEWARE,
    "Security": ServiceKind.SECURITY, "AI and Machine Learning": ServiceKind.ACCELERATOR, "Compute": ServiceKind.VM,
    "Other (Other)": ServiceKind.OTHER,
}  # fmt: skip
"""What a subcategory, or else a category, is a service of."""

_TYPES: Mapping[str, ServiceKind] = {
    "cloud server": ServiceKind.VM, "bare metal": ServiceKind.BARE_METAL, "cloud volume": ServiceKind.VOLUME,
    "object storage": ServiceKind.OBJECT_STORE, "elastic ip": ServiceKind.EIP, "bandwidth": ServiceKind.BANDWIDTH,
    "security service": ServiceKind.SECURITY, "cryptography service": ServiceKind.CRYPTOGRAPHY, "virtual machine": ServiceKind.VM,
    "volume": ServiceKind.VOLUME, "bucket": ServiceKind.OBJECT_STORE, "floating ip": ServiceKind.EIP,
    "other service": ServiceKind.OTHER,
}  # fmt: skip

_BY_PIECE: Mapping[ServiceKind, ClassCode] = {
    ServiceKind.EIP: EIP, ServiceKind.DATABASE: DATABASE, ServiceKind.MIDDLEWARE: MIDDLEWARE, ServiceKind.SECURITY: SECURITY,
    ServiceKind.CRYPTOGRAPHY: CRYPTOGRAPHY, ServiceKind.ACCELERATOR: ACCELERATOR,
}  # fmt: skip
_BY_SIZE: Mapping[ServiceKind, ClassCode] = {
    ServiceKind.VM: MEMORY, ServiceKind.BARE_METAL: MEMORY, ServiceKind.VOLUME: BLOCK, ServiceKind.OBJECT_STORE: OBJECT,
}  # fmt: skip
"""What gigabytes of a service are."""

_CODE = re.compile(r"[A-Z]{3}")
_UNIT = re.compile(r"(?:([A-Za-z]+)-)?(Hours?|Days?)")
_PIECES = frozenset(
    {"", "address", "addresses", "instance", "instances", "set", "sets", "card", "cards", "unit", "units", "ip", "ips"}
)
_CORES = frozenset({"core", "cores", "vcpu", "vcpus", "cpu", "cpus"})
_LARGE = frozenset({"mb", "mib", "gb", "gib", "tb", "tib"})


def is_focus(path: Path) -> bool:
    """Whether a file has the columns by which FOCUS is known."""
    try:
        if magic(path)[:4] == b"PAR1":
            return set(pq.read_schema(path).names) >= TELLING
        head = path.open("rb").readline(1 << 16).decode("utf-8-sig", "replace")
    except (OSError, pa.ArrowException):
        return False
    return {one.strip().strip('"') for one in re.split(r"[,;\t]", head)} >= TELLING


def read_focus(path: Path, month: str, reading: Reading, *, arch: Arch) -> list[BillFact]:
    """The lines of one file that can be taken; the others are counted in ``reading``. ``arch``: the pool's, which FOCUS has
    no column for. Raises Invalid where a column that is needed is missing."""
    parquet = magic(path)[:4] == b"PAR1"
    reading.format = "focus (parquet)" if parquet else "focus"
    rows = _parquet_rows(path) if parquet else text_rows(path, HEADING, reading)
    columns, below = columns_of(rows, HEADING, reading)
    bounds = month_bounds(month)
    found: dict[tuple[str, ClassCode, datetime], BillFact] = {}
    prices: dict[tuple[str, ClassCode, datetime], set[str]] = {}
    for row in below:
        cells = _FocusRow(row, columns, reading)
        if cells.is_blank():
            continue
        if cells.costs_nothing():
            reading.leave_out(row.line)
            continue
        reading.rows += 1
        line = cells.taken(month, bounds, arch)
        if line is None:
            continue
        key = (line.external_id, line.kind, line.since)
        price = cells.text("SkuPriceId")
        before = found.get(key)
        if before is None:
            found[key], prices[key] = line, {price}
        elif price in prices[key] or (before.until, before.currency) != (line.until, line.currency):
            cells.refuse("bill.twice", "ResourceId")
            continue
        else:
            prices[key].add(price)
            found[key] = replace(
                before,
                quantity=before.quantity + line.quantity,
                cost=(before.cost or Decimal(0)) + (line.cost or Decimal(0)),
            )
        reading.taken += 1
    if not reading.rows:
        raise unusable("file.no_rows", reading.place)
    reading.samples = len(found)
    return list(found.values())


def _parquet_rows(path: Path) -> Iterator[TableRow]:
    try:
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name in READ]
        yield TableRow(0, names)
        at = 0
        for batch in file.iter_batches(columns=names):
            columns: Sequence[Sequence[Any]] = [batch.column(name).to_pylist() for name in names]
            for cells in zip(*columns, strict=True):
                at += 1
                yield TableRow(at, cells)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unusable("file.parquet", path.name, why=str(error)[:200]) from error


class _FocusRow(RowCells):
    """One row on its way to a bill line."""

    def __init__(self, row: TableRow, columns: Mapping[str, TableColumn], reading: Reading) -> None:
        super().__init__(row, columns, reading)

    def text(self, name: str) -> str:
        found = super().text(name)
        return "" if found.casefold() == "null" else found

    def costs_nothing(self) -> bool:
        """Whether it is no usage and changes no sum: it may be left out."""
        if self.text("ChargeCategory") == "Usage" or not self.text("ChargeCategory"):
            return False
        try:
            return Decimal(self.text("BilledCost")) == 0
        except InvalidOperation:
            return False

    def taken(self, month: str, bounds: Interval, arch: Arch) -> BillFact | None:
        """The bill line, or None where the row was refused."""
        try:
            return self._line(month, bounds, arch)
        except UnfitError:
            return None

    def _line(self, month: str, bounds: Interval, arch: Arch) -> BillFact:
        if not self.row.cells:
            raise self.unfit("line.fields", "ResourceId")
        if self.text("ChargeCategory") != "Usage":
            raise self.unfit("focus.category", "ChargeCategory")
        if self.text("ChargeClass"):
            raise self.unfit("focus.correction", "ChargeClass")
        if self.text("CommitmentDiscountStatus") == "Unused":
            raise self.unfit("focus.unused", "CommitmentDiscountStatus")
        currency = self.text("BillingCurrency").upper()
        if not _CODE.fullmatch(currency):
            raise self.unfit("currency.other", "BillingCurrency")
        external_id = self.identity("ResourceId")
        if not external_id:
            raise self.unfit("id.empty", "ResourceId")
        service = self._service()
        kind, factor = self._kind(service)
        quantity = self._figure("ConsumedQuantity") * factor
        if quantity < 0:
            raise self.unfit("value.negative", "ConsumedQuantity")
        cost = self._figure("BilledCost")
        if quantity >= MOST or abs(cost) >= MOST_COST:
            raise self.unfit("value.absurd", "ConsumedQuantity" if quantity >= MOST else "BilledCost")
        since, until = self._moment("ChargePeriodStart"), self._moment("ChargePeriodEnd")
        billed = f"{self._moment('BillingPeriodStart').astimezone(ZONE):%Y-%m}"
        line = BillFact(
            billed,
            external_id,
            service,
            kind,
            arch,
            quantity.quantize(QUANTITY_STEP),
            since,
            until,
            cost.quantize(COST_STEP),
            currency,
        )
        reason = fault(line, month, bounds)
        if reason:
            name = {"bill.id": "ResourceId", "bill.month": "BillingPeriodStart", "bill.span": "ChargePeriodStart"}
            raise self.unfit(reason, name.get(reason, "ConsumedQuantity"))
        return line

    def _service(self) -> ServiceKind:
        kind = self.text("ResourceType")
        found = (
            _TYPES.get(kind.casefold())
            or (kind_of(kind) if kind else None)
            or _SERVICES.get(self.text("ServiceSubcategory"))
            or _SERVICES.get(self.text("ServiceCategory"))
        )
        if found is None:
            raise self.unfit("kind.unknown", "ResourceType" if kind else "ServiceCategory")
        return found

    def _kind(self, service: ServiceKind) -> tuple[ClassCode, Decimal]:
        """What the row is a usage of, and base unit-hours in one of its units: named by the SKU, or else what only one
        kind has."""
        written = self.text("ConsumedUnit")
        found = _UNIT.fullmatch(written)
        if found is None:
            raise self.unfit("unit.unknown", "ConsumedUnit")
        unit, days = (found[1] or "").casefold(), found[2].startswith("Day")
        named = next(
            (kind for name in ("SkuMeter", "SkuId") if (kind := class_of(self.text(name).partition(":")[0]))), None
        )  # fmt: skip
        kind = named or _unit_kind(unit, service)
        if kind is None:
            raise self.unfit("unit.unknown", "ConsumedUnit")
        factor = Decimal(1) if unit in _PIECES and kind in _BY_PIECE.values() else unit_factor(kind, f"{unit}·h")
        if factor is None:
            raise self.unfit("unit.unknown", "ConsumedUnit")
        return kind, factor * (24 if days else 1)

    def _figure(self, name: str) -> Decimal:
        """A figure as FOCUS writes it: a decimal point, no groups."""
        value, written = self.raw(name), self.text(name)
        if not written:
            raise self.unfit("value.missing", name)
        try:
            figure = value if isinstance(value, Decimal) else Decimal(written)
        except InvalidOperation:
            raise self.unfit("value.text", name) from None
        if not figure.is_finite():
            raise self.unfit("value.nan", name)
        return figure

    def _moment(self, name: str) -> datetime:
        value = self.raw(name)
        found = moment(value) if isinstance(value, str) else value
        if not isinstance(found, datetime):
            raise self.unfit("time.bad", name)
        if found.tzinfo is None:
            raise self.unfit("time.no_offset", name)
        return found


def _unit_kind(unit: str, service: ServiceKind) -> ClassCode | None:
    """What a unit of a service can only be of."""
    if unit in _CORES:
        return VCPU if service in (ServiceKind.VM, ServiceKind.BARE_METAL) else None
    if unit in _LARGE:
        return _BY_SIZE.get(service)
    if unit in ("mbps", "gbps"):
        return BANDWIDTH
    return _BY_PIECE.get(service) if unit in _PIECES else None
