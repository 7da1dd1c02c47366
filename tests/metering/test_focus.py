"""FOCUS 1.2 and 1.4: what we write holds to the rules, in both formats; what does not is named."""

from __future__ import annotations

import weakref
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from metering.settlement import focus_datasets
from metering.statements import focus, focus_files, statements
from providers.contracts import ContractBasis, ContractTerms, Instalment, contracts
from quota.directory import CloudProvider
from quota.errors import Invalid
from quota.units import MEMORY, VCPU
from tests.city import STATEMENTS, City
from tests.city.statements import at

GB = 1024


@pytest.fixture
def closed(book, tmp_path, clock):
    """April closed, May with a correction and a machine that was off for a while."""
    city = City(book, clock, STATEMENTS, tmp_path)
    city.list("jia", at(-1), web={VCPU: 4, MEMORY: 8 * GB}, db={VCPU: 2})
    city.report("web", range(700))
    city.report("db", range(720))
    city.price(VCPU, "46.35")
    city.price(MEMORY, "0.0251", per=focus_files.Per.HOUR, stopped_share=33)
    run = city.make()
    city.close(run)
    city.report("web", range(700, 720))
    clock.advance(days=31)
    return city, run, city.make("2026-05")


def rows(city, run):
    with city.book.reading() as tx:
        return list(focus_files.rows_of(tx, statements.run(tx, run.id)))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_we_write_is_clean(closed, tmp_path, ending):
    city, april, may = closed
    for run in (april, may):
        path = tmp_path / f"{run.month}.{ending}"
        count = focus_files.write(path, rows(city, run))
        assert count == run.lines - run.unpriced > 0
        assert focus_files.check(path) == []


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_we_write_as_1_4_is_clean_and_names_who_sells_and_who_hosts(closed, tmp_path, ending):
    city, april, may = closed
    for run in (april, may):
        path = tmp_path / f"{run.month}.{ending}"
        focus_files.write(path, rows(city, run), focus.NEWER)
        assert focus_files.check(path) == []
        names, found = focus_files.read(path)
        assert not {"ProviderName", "PublisherName"} & set(names)
        assert {(row["ServiceProviderName"], row["HostProviderName"]) for row in found} == {("jia云", "jia云")}
    path = tmp_path / "without.csv"
    text = (tmp_path / "2026-04.csv") if ending == "csv" else None
    if text is not None:  # a mandatory column less is named
        path.write_text(text.read_text().replace("HostProviderName", "x_Host"))
        assert [str(one) for one in focus_files.check(path)] == ["HostProviderName: a mandatory column is missing"]


def test_the_datasets_beside_it_say_what_is_closed_and_add_up_to_the_invoice(closed):
    """An invoice's lines are the sums of the charges that name them; nothing is issued before the month is closed."""
    city, april, may = closed
    with city.book.reading() as tx:
        runs = [statements.run(tx, one.id) for one in (april, may)]
        (period,), (still,) = (list(focus_datasets.billing_periods(tx, run)) for run in runs)
        assert (period["BillingPeriodStatus"], still["BillingPeriodStatus"]) == ("Closed", "Open")
        details, none = (list(focus_datasets.invoice_details(tx, run)) for run in runs)
        assert none == []
        assert focus_datasets.csv_of("billing_period", [period]).count("\n") == 2
    charges: dict[str, Decimal] = {}
    for row in rows(city, april):
        charges.setdefault(focus_files.as_version(row, focus.NEWER)["InvoiceDetailId"], Decimal(0))
        charges[focus_files.as_version(row, focus.NEWER)["InvoiceDetailId"]] += Decimal(row["BilledCost"])
    assert {row["InvoiceDetailId"]: Decimal(row["BilledCost"]) for row in details} == charges
    assert sum(charges.values()) == Decimal(rows(city, april)[0]["x_InvoiceTotal"])
    assert {(row["InvoiceId"], row["ReferenceInvoiceId"], row["InvoiceIssueStatus"]) for row in details} == {
        ("2026-04-jia", "2026-04-jia", "Issued")
    }
    city.close(may)
    with city.book.reading() as tx:
        run = statements.run(tx, may.id)
        told = list(focus_datasets.invoice_details(tx, run))
        assert [row["ReferenceInvoiceId"] for row in told if "2026-04" in row["InvoiceDetailGrain"]] == [
            "2026-04-jia"
        ] * 2
        assert focus_datasets.csv_of("invoice_detail", told).count("\n") == len(told) + 1


def test_a_contract_paid_in_instalments_is_a_commitment_and_a_ceiling_is_none(closed):
    city, april, _may = closed
    common = {
        "payer": "市财政局",
        "first_day": date(2026, 1, 1),
        "last_day": date(2028, 12, 31),
        "ceiling_fen": 900_000_00,
    }
    shares = (Instalment("2026-12", Decimal(40)), Instalment("2027-12", Decimal(60)))
    with city.book.reading() as tx:
        company = tx.scalars(select(CloudProvider.id).where(CloudProvider.code == "jia")).one()
    with city.book.transaction(city.authority) as tx:
        contracts.enter(tx, company, ContractTerms(number="H-1", name="按用量", **common))
        contracts.enter(
            tx, company,
            ContractTerms(number="H-2", name="分期", basis=ContractBasis.INSTALMENTS, instalments=shares, **common),
        )  # fmt: skip
        found = list(focus_datasets.contract_commitments(tx, statements.run(tx, april.id)))
    assert [
        (row["ContractCommitmentId"], row["ContractCommitmentCost"], row["ContractCommitmentDurationType"],
         row["ContractCommitmentLifecycleStatus"], row["ContractPeriodEnd"])
        for row in found
    ] == [("H-2", "900000", "3 Years", "Active", "2028-12-31T16:00:00Z")]  # fmt: skip
    assert set(found[0]) == set(focus_datasets.COLUMNS["contract_commitment"])
    with pytest.raises(ValueError, match="ContractId must not be null"):
        focus_datasets.csv_of("contract_commitment", [found[0] | {"ContractId": None}])


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (date(2026, 1, 15), date(2027, 1, 14), "1 Year"),
        (date(2026, 1, 15), date(2026, 3, 14), "2 Months"),
        (date(2026, 1, 1), date(2028, 12, 31), "3 Years"),
        (date(2026, 1, 15), date(2026, 1, 31), "17 Days"),
        (date(2026, 1, 15), date(2026, 1, 15), "1 Day"),
    ],
    ids=["a-year-from-the-15th", "two-months", "three-years", "no-whole-month", "one-day"],
)
def test_a_commitment_lasts_whole_months_or_else_days(first, last, said):
    assert focus_datasets._duration(first, last) == said


def test_the_invoice_is_the_sum_of_what_is_billed(closed):
    city, april, may = closed
    told = rows(city, april)
    assert {row["InvoiceId"] for row in told} == {"2026-04-jia"}
    assert sum(Decimal(row["BilledCost"]) for row in told) == Decimal(told[0]["x_InvoiceTotal"])
    assert {row["InvoiceId"] for row in rows(city, may)} == {None}  # not closed: no invoice yet


def test_corrections_are_rows_of_their_own(closed):
    city, _, may = closed
    corrections = [row for row in rows(city, may) if row["ChargeClass"] == "Correction"]
    assert [row["x_CorrectedMonth"] for row in corrections] == ["2026-04"] * 2
    assert all(row["ChargePeriodStart"] == "2026-03-31T16:00:00Z" for row in corrections)
    assert all(row["ListUnitPrice"] is None for row in corrections)


FAULTS = [
    ({"BilledCost": None}, "BilledCost"),
    ({"BilledCost": "1,000.00"}, "BilledCost"),
    ({"BilledCost": "+5"}, "BilledCost"),
    ({"BilledCost": "CNY 5"}, "BilledCost"),
    ({"BillingCurrency": "RMB¥"}, "BillingCurrency"),
    ({"BillingPeriodStart": "2026-04-01 00:00:00"}, "BillingPeriodStart"),
    ({"BillingPeriodStart": "2026-03-31T16:00:00+08:00"}, "BillingPeriodStart"),
    ({"BillingPeriodEnd": "2026-03-01T00:00:00Z"}, "BillingPeriodEnd"),
    ({"ChargeCategory": "Nutzung"}, "ChargeCategory"),
    ({"ChargeCategory": "Tax"}, "SkuId"),
    ({"ChargeClass": "Regular"}, "ChargeClass"),
    ({"ChargeCategory": "Purchase"}, "ChargeFrequency"),
    ({"ChargePeriodStart": "2026-02-01T00:00:00Z"}, "ChargePeriodStart"),
    ({"ConsumedQuantity": None}, "ConsumedQuantity"),
    ({"ConsumedUnit": None}, "ConsumedUnit"),
    ({"ContractedCost": "1"}, "ContractedCost"),
    ({"ListUnitPrice": "-1"}, "ListUnitPrice"),
    ({"ListUnitPrice": None}, "ListUnitPrice"),
    ({"InvoiceIssuerName": "N/A"}, "InvoiceIssuerName"),
    ({"PricingQuantity": None}, "PricingQuantity"),
    ({"PricingUnit": None}, "PricingUnit"),
    ({"PricingCategory": "Spot"}, "PricingCategory"),
    ({"ServiceCategory": "Cloud"}, "ServiceCategory"),
    ({"ServiceSubcategory": "Block Storage"}, "ServiceSubcategory"),
    ({"SkuId": None}, "SkuMeter"),
    ({"SkuPriceId": None}, "SkuPriceId"),
    ({"SubAccountType": None}, "SubAccountType"),
    ({"ResourceType": None}, "ResourceType"),
    ({"Tags": "{"}, "Tags"),
    ({"Tags": '{"a": {"b": 1}}'}, "Tags"),
    ({"ResourceName": ""}, "ResourceName"),
    ({"x_InvoiceTotal": "1"}, "BilledCost"),
]


@pytest.fixture(scope="module")
def good():
    """One clean row, made by hand."""
    row = dict.fromkeys(focus_files.NAMES)
    row |= {
        "BilledCost": "178.89", "BillingAccountId": "a", "BillingAccountName": "甲云", "BillingCurrency": "CNY",
        "BillingPeriodStart": "2026-03-31T16:00:00Z", "BillingPeriodEnd": "2026-04-30T16:00:00Z",
        "ChargeCategory": "Usage", "ChargeDescription": "web vcpu on", "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": "2026-03-31T16:00:00Z", "ChargePeriodEnd": "2026-04-30T16:00:00Z",
        "ConsumedQuantity": "2800", "ConsumedUnit": "Core-Hours", "ContractedCost": "178.8888891",
        "ContractedUnitPrice": "46", "EffectiveCost": "178.89", "InvoiceId": "2026-04-jia", "InvoiceIssuerName": "甲云",
        "ListCost": "178.8888891", "ListUnitPrice": "46", "PricingCategory": "Standard",
        "PricingQuantity": "3.88888889", "PricingUnit": "Core-Months", "ProviderName": "甲云", "PublisherName": "甲云",
        "ResourceId": "jia/web", "ResourceName": "web", "ResourceType": "Cloud Server", "ServiceCategory": "Compute",
        "ServiceName": "Cloud Server", "ServiceSubcategory": "Virtual Machines", "SkuId": "vcpu:aarch64:any",
        "SkuMeter": "Core On", "SkuPriceId": "vcpu:aarch64:any:1", "SubAccountId": "d1", "SubAccountName": "某局",
        "SubAccountType": "Department", "Tags": '{"system": "s1"}', "x_InvoiceTotal": "178.89",
    }  # fmt: skip
    row["ContractedCost"] = row["ListCost"] = str(Decimal(46) * Decimal("3.88888889"))
    return row


def test_the_good_row_is_good(good):
    assert focus.check(focus_files.NAMES, [good]) == []


@pytest.mark.parametrize(("change", "column"), FAULTS)
def test_each_rule_has_a_failing_example(good, change, column):
    faults = focus.check(focus_files.NAMES, [{**good, **change}])
    assert column in {fault.column for fault in faults}, faults
    assert all(str(fault) for fault in faults)


def test_a_price_has_one_parent(good):
    faults = focus.check(focus_files.NAMES, [good, {**good, "SkuId": "other", "InvoiceId": None}])
    assert [fault.column for fault in faults] == ["SkuPriceId"]


def test_columns_are_checked(good):
    names = [name for name in focus_files.NAMES if name != "BilledCost"]
    assert "BilledCost" in {fault.column for fault in focus.check(names, [])}
    assert {fault.column for fault in focus.check([*focus_files.NAMES, "Remarks"], [])} == {"Remarks"}
    assert {fault.column for fault in focus.check([*focus_files.NAMES, "Tags"], [])} == {"Tags"}


def test_parquet_with_texts_for_figures_is_refused(good, tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"BilledCost": ["5"]}), path)
    with pytest.raises(Invalid):
        focus_files.check(path)
    (tmp_path / "g.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid):
        focus_files.check(tmp_path / "g.csv")
    with pytest.raises(Invalid):
        focus_files.write(tmp_path / "f.txt", [good])
    assert not (tmp_path / "f.txt").exists()


class Told(dict):
    """A row that can be counted while it lives: each is another one."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


@pytest.mark.parametrize(("ending", "most"), [("csv", 2), ("parquet", 101)])
def test_a_file_is_written_and_read_a_part_at_a_time(good, tmp_path, monkeypatch, ending, most):
    monkeypatch.setattr(focus_files, "GROUP", 100)
    alive: weakref.WeakSet[Told] = weakref.WeakSet()
    peak = 0

    def told():
        nonlocal peak
        for number in range(1000):
            row = Told(good, InvoiceId=f"i{number}")
            alive.add(row)
            peak = max(peak, len(alive))
            yield row
            del row

    path = tmp_path / f"f.{ending}"
    assert focus_files.write(path, told()) == 1000
    assert peak <= most
    names, rows = focus_files.read(path)
    assert list(names) == list(focus_files.NAMES)
    assert [row["InvoiceId"] for row in rows] == [f"i{number}" for number in range(1000)]
    if ending == "parquet":
        assert pq.ParquetFile(path).num_row_groups == 10
    assert focus_files.check(path) == []


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_export_that_fails_leaves_nothing_and_what_was_there(good, tmp_path, ending):
    def broken():
        yield good
        raise RuntimeError

    path = tmp_path / f"f.{ending}"
    assert focus_files.write(path, []) == 0
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        focus_files.write(path, broken())
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert focus_files.check(path) == []


def test_a_file_that_breaks_off_is_refused_where_it_does(good, tmp_path):
    path = tmp_path / "f.csv"
    focus_files.write(path, [good] * 3)
    with path.open("a") as file:
        file.write("1,2,3\n")
    with pytest.raises(Invalid):
        focus_files.check(path)
    whole = tmp_path / "f.parquet"
    focus_files.write(whole, [good] * 3)
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(Invalid):
        focus_files.check(whole)


def test_another_house_s_file_is_named_not_stumbled_over(good):
    """Columns that are missing, instants that no calendar has, totals that are no figures."""
    names = [name for name in focus_files.NAMES if name not in ("BilledCost", "ChargePeriodStart")]
    row = {name: good[name] for name in names}
    assert {fault.column for fault in focus.check(names, [row])} == {"BilledCost", "ChargePeriodStart"}
    faults = focus.check(focus_files.NAMES, [{**good, "ChargePeriodEnd": "2026-13-41T25:00:00Z"}])
    assert [fault.column for fault in faults] == ["ChargePeriodEnd"], "the sum of an invoice is not doubted beside it"
    assert "not ['much']" in str(focus.check(focus_files.NAMES, [{**good, "x_InvoiceTotal": "much"}])[0])


def test_instants_without_a_zone_are_no_instants(tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"BillingPeriodStart": pa.array([0], pa.timestamp("s"))}), path)
    with pytest.raises(Invalid, match="UTC"):
        focus_files.check(path)


def test_the_product_of_long_figures_is_exact(good):
    """28 digits, as decimals are multiplied where nobody says otherwise, round a province's storage."""
    price, quantity = Decimal("9999999.99999999"), Decimal("1234567890123.123456789")

    assert str(focus.product(price, quantity)) != str(price * quantity)
    figures = {"ContractedUnitPrice": str(price), "ListUnitPrice": str(price), "PricingQuantity": str(quantity)}
    wrong = {"ContractedCost": str(price * quantity), "ListCost": str(price * quantity)}
    assert {fault.column for fault in focus.check(focus_files.NAMES, [{**good, **figures, **wrong}])} == set(wrong)
    right = dict.fromkeys(wrong, str(focus.product(price, quantity)))
    assert focus.check(focus_files.NAMES, [{**good, **figures, **right}]) == []
