"""Bills in FOCUS 1.2: read into the lines that they mean, refused by row and column where something would be guessed; what the
house itself exports reads back."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metering.statements.focus_files import NAMES
from providers.base import BillFact, ServiceKind
from providers.readers import Reading, read_bill
from quota.errors import Invalid
from quota.units import BANDWIDTH, BLOCK, EIP, MEMORY, VCPU, Arch

ROW = {
    "BilledCost": "12.5", "BillingAccountId": "a", "BillingCurrency": "CNY", "BillingPeriodStart": "2026-09-30T16:00:00Z",
    "BillingPeriodEnd": "2026-10-31T16:00:00Z", "ChargeCategory": "Usage", "ChargeClass": None, "ChargePeriodStart": "2026-09-30T16:00:00Z",
    "ChargePeriodEnd": "2026-10-31T16:00:00Z", "ConsumedQuantity": "2976", "ConsumedUnit": "vCPU-Hours", "ResourceId": "vm-1",
    "ResourceType": "Cloud Server", "ServiceCategory": "Compute", "ServiceSubcategory": "Virtual Machines", "SkuId": "ecs.s6",
    "SkuMeter": "On", "SkuPriceId": "p1",
}  # fmt: skip
START, END = datetime(2026, 9, 30, 16, tzinfo=UTC), datetime(2026, 10, 31, 16, tzinfo=UTC)


def as_csv(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "focus.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> tuple[list[BillFact], Reading]:
    reading = Reading(path.name)
    found = read_bill(path, "2026-10", reading, arch=Arch.X86_64)
    assert reading.rows == reading.taken + reading.duplicates + reading.refused
    return found, reading


def test_rows_of_usage_are_bill_lines_in_base_unit_hours(tmp_path: Path) -> None:
    rows = [
        ROW,
        {**ROW, "ConsumedUnit": "GiB-Hours", "ConsumedQuantity": "5952", "BilledCost": "3"},
        {**ROW, "ResourceId": "vol-1", "ResourceType": "", "ServiceCategory": "Storage", "ServiceSubcategory": "Block Storage",
         "ConsumedUnit": "TB-Days", "ConsumedQuantity": "31"},
        {**ROW, "ResourceId": "ip-1", "ResourceType": "Elastic IP", "ServiceCategory": "Networking", "ServiceSubcategory": "Network Connectivity",
         "ConsumedUnit": "Hours", "ConsumedQuantity": "744"},
        {**ROW, "ResourceId": "bw-1", "ResourceType": "带宽", "ServiceCategory": "Networking", "ServiceSubcategory": "Network Connectivity",
         "ConsumedUnit": "Mbps-Hours", "ConsumedQuantity": "7440"},
    ]  # fmt: skip
    found, reading = read(as_csv(tmp_path, *rows))
    assert reading.format == "focus"
    assert found[0] == BillFact(
        "2026-10", "vm-1", ServiceKind.VM, VCPU, Arch.X86_64, Decimal(2976), START, END, Decimal("12.5")
    )  # fmt: skip
    assert [(one.kind, one.quantity) for one in found] == [
        (VCPU, 2976), (MEMORY, 5952 * 1024), (BLOCK, 31 * 24 * 1024), (EIP, 744), (BANDWIDTH, 7440),
    ]  # fmt: skip


def test_parquet_says_the_same_as_text(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "ConsumedUnit": "GiB-Hours", "ConsumedQuantity": "5952"}]
    moments = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
    typed = [
        {name: Decimal(value) if name in ("BilledCost", "ConsumedQuantity") else datetime.fromisoformat(value) if name in moments else value
         for name, value in row.items()} for row in rows
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(typed), tmp_path / "focus.parquet")
    assert read(tmp_path / "focus.parquet")[0] == read(as_csv(tmp_path, *rows))[0]


def test_prices_in_tiers_are_added_up_and_the_same_row_twice_is_not(tmp_path: Path) -> None:
    found, reading = read(
        as_csv(tmp_path, ROW, {**ROW, "SkuPriceId": "p2", "ConsumedQuantity": "24", "BilledCost": "0.5"}, ROW)
    )
    assert [(one.quantity, one.cost) for one in found] == [(3000, Decimal(13))]
    assert [(one.line, one.reason) for one in reading.examples] == [(4, "bill.twice")]


def test_hours_of_a_day_are_lines_of_their_own(tmp_path: Path) -> None:
    noon = "2026-10-10T04:00:00Z"
    rows = [{**ROW, "ChargePeriodEnd": noon}, {**ROW, "ChargePeriodStart": noon}]
    assert [(one.since, one.until) for one in read(as_csv(tmp_path, *rows))[0]] == [
        (START, datetime(2026, 10, 10, 4, tzinfo=UTC)), (datetime(2026, 10, 10, 4, tzinfo=UTC), END),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason", "column"),
    [
        ({"BillingCurrency": "US$"}, "currency.other", "BillingCurrency"),
        ({"ConsumedUnit": "GB-Months"}, "unit.unknown", "ConsumedUnit"),
        ({"ConsumedUnit": "Requests"}, "unit.unknown", "ConsumedUnit"),
        ({"ConsumedUnit": "Hours"}, "unit.unknown", "ConsumedUnit"),
        (
            {"ConsumedUnit": "Cores-Hours", "ServiceSubcategory": "Block Storage", "ResourceType": ""},
            "unit.unknown",
            "ConsumedUnit",
        ),
        ({"ConsumedQuantity": None}, "value.missing", "ConsumedQuantity"),
        ({"ConsumedQuantity": "many"}, "value.text", "ConsumedQuantity"),
        ({"ConsumedQuantity": "-1"}, "value.negative", "ConsumedQuantity"),
        ({"ConsumedQuantity": "1,000"}, "value.text", "ConsumedQuantity"),
        ({"BilledCost": "NaN"}, "value.nan", "BilledCost"),
        ({"ChargeCategory": "Tax"}, "focus.category", "ChargeCategory"),
        ({"ChargeCategory": "Credit", "BilledCost": "-5"}, "focus.category", "ChargeCategory"),
        ({"ChargeClass": "Correction"}, "focus.correction", "ChargeClass"),
        ({"CommitmentDiscountStatus": "Unused"}, "focus.unused", "CommitmentDiscountStatus"),
        ({"ResourceId": None}, "id.empty", "ResourceId"),
        ({"ServiceCategory": "Web", "ServiceSubcategory": "", "ResourceType": ""}, "kind.unknown", "ServiceCategory"),
        ({"BillingPeriodStart": "2026-08-31T16:00:00Z"}, "bill.month", "BillingPeriodStart"),
        ({"ChargePeriodEnd": "2026-11-02T00:00:00Z"}, "bill.span", "ChargePeriodStart"),
        ({"ChargePeriodStart": "2026-10-01T00:00:00"}, "time.no_offset", "ChargePeriodStart"),
        ({"ChargePeriodStart": "soon"}, "time.bad", "ChargePeriodStart"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused_by_its_place(
    tmp_path: Path, change: dict[str, Any], reason: str, column: str
) -> None:
    good = {**ROW, "CommitmentDiscountStatus": None}
    found, reading = read(as_csv(tmp_path, good, {**good, "ResourceId": "vm-2", **change}))
    assert len(found) == 1
    (refused,) = reading.examples
    assert (refused.line, refused.reason, refused.header) == (3, reason, column)


def test_what_is_no_usage_and_costs_nothing_is_left_out_and_named(tmp_path: Path) -> None:
    found, reading = read(as_csv(tmp_path, ROW, {**ROW, "ChargeCategory": "Tax", "BilledCost": "0"}))
    assert len(found) == 1
    assert reading.totals == [3]


def test_a_column_that_is_needed_is_missed_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refused:
        read(as_csv(tmp_path, {name: value for name, value in ROW.items() if name != "ConsumedUnit"}))
    assert (refused.value.code, refused.value.params["column"]) == ("column.missing", "ConsumedUnit")


def test_what_the_house_exports_reads_back(tmp_path: Path) -> None:
    ours = {
        **dict.fromkeys(NAMES),
        **ROW,
        "ResourceId": "north/vm-1",
        "SkuId": "vcpu:x86_64:any",
        "SkuMeter": "Core On",
        "ConsumedUnit": "Core-Hours",
    }
    (line,) = read(as_csv(tmp_path, ours))[0]
    assert (line.external_id, line.kind, line.quantity) == ("north/vm-1", VCPU, 2976)
