"""FOCUS 1.2 and 1.4: the columns that a statement is exported under, and the rules that a file is held to. Pure.

What is checked is the specification's own text for the columns that we write: presence, type, nulls, allowed values, and the
rules between columns (products of price and quantity, corrections, units beside quantities, the sum of an invoice). Columns
that tell of things which this cloud does not have (commitments, capacity reservations, several currencies) are conditional
and left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any

VERSION, NEWER = "1.2", "1.4"
MANDATORY, CONDITIONAL, RECOMMENDED = "Mandatory", "Conditional", "Recommended"
STRING, DECIMAL, MOMENT, JSON = "String", "Decimal", "Date/Time", "JSON"

_CHILDREN: Mapping[str, str] = {
    "AI and Machine Learning": "AI Platforms|Bots|Generative AI|Machine Learning|Natural Language Processing",
    "Analytics": "Analytics Platforms|Business Intelligence|Data Processing|Search|Streaming Analytics",
    "Business Applications": "Productivity and Collaboration",
    "Compute": "Containers|End User Computing|Quantum Compute|Serverless Compute|Virtual Machines",
    "Databases": (
        "Caching|Data Warehouses|Ledger Databases|NoSQL Databases|Relational Databases|Time Series Databases"
    ),
    "Developer Tools": (
        "Developer Platforms|Continuous Integration and Deployment|Development Environments|"
        "Source Code Management|Quality Assurance"
    ),
    "Identity": "Identity and Access Management",
    "Integration": "API Management|Messaging|Workflow Orchestration",
    "Internet of Things": "IoT Analytics|IoT Platforms",
    "Management and Governance": (
        "Architecture|Compliance|Cost Management|Data Governance|Disaster Recovery|"
        "Endpoint Management|Observability|Support"
    ),
    "Media": "Content Creation|Gaming|Media Streaming|Mixed Reality",
    "Migration": "Data Migration|Resource Migration",
    "Mobile": "",
    "Multicloud": "Multicloud Integration",
    "Networking": (
        "Application Networking|Content Delivery|Network Connectivity|Network Infrastructure|"
        "Network Routing|Network Security"
    ),
    "Security": "Secret Management|Security Posture Management|Threat Detection and Response",
    "Storage": "Backup Storage|Block Storage|File Storage|Object Storage|Storage Platforms",
    "Web": "Application Platforms",
    "Other": "",
}
"""Service category → its subcategories; each has one "Other (…)" beside them."""

SUBCATEGORIES: Mapping[str, str] = {
    child: parent
    for parent, children in _CHILDREN.items()
    for child in [*children.split("|"), f"Other ({parent})"]
    if child
}
"""Subcategory → its only parent."""

CATEGORIES = frozenset(_CHILDREN)


@dataclass(frozen=True, slots=True)
class FocusColumn:
    """One column of the specification."""

    level: str
    type: str
    nulls: bool
    allowed: frozenset[str] | None = None


def _of(level: str, kind: str, nulls: bool, *allowed: str) -> FocusColumn:
    return FocusColumn(level, kind, nulls, frozenset(allowed) or None)


COLUMNS: Mapping[str, FocusColumn] = {
    "BilledCost": _of(MANDATORY, DECIMAL, False),
    "BillingAccountId": _of(MANDATORY, STRING, False),
    "BillingAccountName": _of(MANDATORY, STRING, True),
    "BillingCurrency": _of(MANDATORY, STRING, False),
    "BillingPeriodEnd": _of(MANDATORY, MOMENT, False),
    "BillingPeriodStart": _of(MANDATORY, MOMENT, False),
    "ChargeCategory": _of(MANDATORY, STRING, False, "Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    "ChargeClass": _of(MANDATORY, STRING, True, "Correction"),
    "ChargeDescription": _of(MANDATORY, STRING, True),
    "ChargeFrequency": _of(RECOMMENDED, STRING, False, "One-Time", "Recurring", "Usage-Based"),
    "ChargePeriodEnd": _of(MANDATORY, MOMENT, False),
    "ChargePeriodStart": _of(MANDATORY, MOMENT, False),
    "ConsumedQuantity": _of(CONDITIONAL, DECIMAL, True),
    "ConsumedUnit": _of(CONDITIONAL, STRING, True),
    "ContractedCost": _of(MANDATORY, DECIMAL, False),
    "ContractedUnitPrice": _of(CONDITIONAL, DECIMAL, True),
    "EffectiveCost": _of(MANDATORY, DECIMAL, False),
    "InvoiceId": _of(RECOMMENDED, STRING, True),
    "InvoiceIssuerName": _of(MANDATORY, STRING, False),
    "ListCost": _of(MANDATORY, DECIMAL, False),
    "ListUnitPrice": _of(CONDITIONAL, DECIMAL, True),
    "PricingCategory": _of(CONDITIONAL, STRING, True, "Standard", "Dynamic", "Committed", "Other"),
    "PricingQuantity": _of(MANDATORY, DECIMAL, True),
    "PricingUnit": _of(MANDATORY, STRING, True),
    "ProviderName": _of(MANDATORY, STRING, False),
    "PublisherName": _of(MANDATORY, STRING, False),
    "RegionId": _of(CONDITIONAL, STRING, True),
    "RegionName": _of(CONDITIONAL, STRING, True),
    "ResourceId": _of(CONDITIONAL, STRING, True),
    "ResourceName": _of(CONDITIONAL, STRING, True),
    "ResourceType": _of(CONDITIONAL, STRING, True),
    "ServiceCategory": FocusColumn(MANDATORY, STRING, False, CATEGORIES),
    "ServiceName": _of(MANDATORY, STRING, False),
    "ServiceSubcategory": FocusColumn(RECOMMENDED, STRING, False, frozenset(SUBCATEGORIES)),
    "SkuId": _of(CONDITIONAL, STRING, True),
    "SkuMeter": _of(CONDITIONAL, STRING, True),
    "SkuPriceDetails": _of(CONDITIONAL, JSON, True),
    "SkuPriceId": _of(CONDITIONAL, STRING, True),
    "SubAccountId": _of(CONDITIONAL, STRING, True),
    "SubAccountName": _of(CONDITIONAL, STRING, True),
    "SubAccountType": _of(CONDITIONAL, STRING, True),
    "Tags": _of(CONDITIONAL, JSON, True),
}
"""What we write as 1.2, in the specification's order."""

_NEW: Mapping[str, FocusColumn] = {
    "HostProviderName": _of(MANDATORY, STRING, False),
    "InvoiceDetailId": _of(CONDITIONAL, STRING, True),
    "ServiceProviderName": _of(MANDATORY, STRING, False),
}
_GONE = frozenset({"ProviderName", "PublisherName"})

VERSIONS: Mapping[str, Mapping[str, FocusColumn]] = {
    VERSION: COLUMNS,
    NEWER: dict(sorted({name: one for name, one in {**COLUMNS, **_NEW}.items() if name not in _GONE}.items())),
}
"""Version → what we write as it. Since 1.4 who sells a service and who hosts it are named apart, and a charge names its line of
the invoice."""


def version_of(names: Iterable[str]) -> str:
    """By which version a file with these columns is to be read: 1.4 where it names the service's provider, and not the provider."""
    told = set(names)
    return NEWER if "ServiceProviderName" in told and "ProviderName" not in told else VERSION


OWN: Mapping[str, str] = {
    "x_Coverage": DECIMAL,
    "x_CorrectedMonth": STRING,
    "x_InvoiceTotal": DECIMAL,
    "x_PriceLabel": STRING,
    "x_Stopped": STRING,
    "x_UnmeasuredCost": DECIMAL,
    "x_UnmeasuredQuantity": DECIMAL,
}
"""Columns of our own: coverage in per cent, what was closed as the invoice's total, and the unmeasurable part, never billed."""

USED = ("Usage", "Purchase")
PRICED = ("ContractedUnitPrice", "ListUnitPrice", "PricingCategory", "PricingQuantity", "SkuId", "SkuPriceId")
"""Not null for usage and purchases that are no corrections; null for taxes."""

PRODUCTS = (("ContractedUnitPrice", "ContractedCost"), ("ListUnitPrice", "ListCost"))
BESIDE = (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit"), ("SubAccountId", "SubAccountType"),
          ("ResourceId", "ResourceType"))  # fmt: skip
"""Where the first is, the second is, and only there."""

NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)(E-?\d+)?")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CURRENCY = re.compile(r"[A-Z]{3}")
PLACEHOLDERS = frozenset({"", "N/A", "NULL", "null", "None", "Not Applicable", "-", "—"})


@dataclass(frozen=True, slots=True)
class FocusFault:
    """What does not hold: row (from 1; 0 = the file), column, and which rule in words of the trade."""

    row: int
    column: str
    rule: str

    def __str__(self) -> str:
        return f"row {self.row} {self.column}: {self.rule}" if self.row else f"{self.column}: {self.rule}"


def check(names: Iterable[str], rows: Iterable[Mapping[str, str | None]], most: int = 1000) -> list[FocusFault]:
    """Everything wrong with a file of these columns and rows (texts; None = null), up to ``most`` faults."""
    names = list(names)
    columns = VERSIONS[version_of(names)]
    found = _header(names, columns)
    whole = not any(column.level == MANDATORY and name not in names for name, column in columns.items())
    sums: dict[str, Decimal] = {}
    totals: dict[str, set[str]] = {}
    doubtful: set[str] = set()  # invoices of which not every row could be added up
    skus: dict[str, str] = {}
    present = {name: columns[name] for name in names if name in columns}
    for number, row in enumerate(rows, 1):
        if len(found) >= most:
            return found[:most]
        invoice = row.get("InvoiceId")
        faults = _cells(number, row, present)
        found += faults
        if faults or not whole:
            doubtful.add(invoice or "")
            continue
        found += _between(number, row, skus)
        if invoice:
            sums[invoice] = sums.get(invoice, Decimal(0)) + Decimal(str(row["BilledCost"]))
            if (total := row.get("x_InvoiceTotal")) is not None:
                totals.setdefault(invoice, set()).add(total)
    for invoice, told in sorted(totals.items()):
        if invoice not in doubtful and (len(told) > 1 or _figure(next(iter(told))) != sums[invoice]):
            found.append(
                FocusFault(0, "BilledCost", f"the sum of invoice {invoice} is {sums[invoice]}, not {sorted(told)}")
            )
    return found[:most]


def _header(names: list[str], columns: Mapping[str, FocusColumn]) -> list[FocusFault]:
    faults = [
        FocusFault(0, name, "a mandatory column is missing")
        for name, column in columns.items()
        if column.level == MANDATORY and name not in names
    ]
    faults += [
        FocusFault(0, name, "the column is there twice") for name in sorted({n for n in names if names.count(n) > 1})
    ]
    known = set(columns)
    faults += [
        FocusFault(0, name, "a column of one's own begins with x_")
        for name in names
        if name not in known and not name.startswith("x_") and name not in NOT_WRITTEN and name not in _LATER
    ]
    return faults


NOT_WRITTEN = frozenset(
    [
        "AvailabilityZone",
        "BillingAccountType",
        "CapacityReservationId",
        "CapacityReservationStatus",
        "CommitmentDiscountCategory",
        "CommitmentDiscountId",
        "CommitmentDiscountName",
        "CommitmentDiscountQuantity",
        "CommitmentDiscountStatus",
        "CommitmentDiscountType",
        "CommitmentDiscountUnit",
        "PricingCurrency",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice",
        "SubAccountName",
    ]
)
"""Columns of the specification that we have no use for; another's file may hold them."""

_LATER = frozenset(
    [
        "AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags",
        "CommitmentProgramEligibilityDetails", "ContractApplied", "HostProviderName", "InvoiceDetailId", "ServiceProviderName",
    ]
)  # fmt: skip
"""As well, of versions after 1.2."""


def _cells(number: int, row: Mapping[str, str | None], present: Mapping[str, FocusColumn]) -> list[FocusFault]:
    faults = []
    for name, column in present.items():
        value = row.get(name)
        if value is None:
            if not column.nulls:
                faults.append(FocusFault(number, name, "must not be null"))
            continue
        wrong = _wrong(value, column)
        if wrong:
            faults.append(FocusFault(number, name, wrong))
    currency = row.get("BillingCurrency")
    if currency is not None and not CURRENCY.fullmatch(currency):
        faults.append(FocusFault(number, "BillingCurrency", f"{currency!r} is no ISO 4217 code"))
    return faults


def _wrong(value: str, column: FocusColumn) -> str:
    if value.strip() in PLACEHOLDERS:
        return f"{value!r} stands for null"
    if column.type == DECIMAL and not NUMBER.fullmatch(value):
        return f"{value!r} is no number"
    if column.type == MOMENT and not (INSTANT.fullmatch(value) and _real(value)):
        return f"{value!r} is no instant in UTC like 2026-10-01T00:00:00Z"
    if column.type == JSON:
        return _object(value)
    if column.allowed is not None and value not in column.allowed:
        return f"{value!r} is not an allowed value"
    return ""


def _real(instant: str) -> bool:
    try:
        return bool(datetime.fromisoformat(instant))
    except ValueError:
        return False


def _object(value: str) -> str:
    try:
        told: Any = json.loads(value)
    except ValueError:
        return "is no JSON"
    if not isinstance(told, dict) or any(isinstance(one, dict | list) for one in told.values()):
        return "is no flat JSON object"
    return ""


def _between(number: int, row: Mapping[str, str | None], skus: dict[str, str]) -> list[FocusFault]:
    """The rules between the columns of one row."""
    faults = []

    def wrong(column: str, rule: str) -> None:
        faults.append(FocusFault(number, column, rule))

    category, correction = row.get("ChargeCategory"), row.get("ChargeClass") == "Correction"
    for name in PRICED:
        if name in row and category == "Tax" and row[name] is not None:
            wrong(name, "must be null for a tax")
        if name in row and category in USED and not correction and row[name] is None:
            wrong(name, "must not be null for usage and purchases that are no corrections")
    if category == "Purchase" and row.get("ChargeFrequency") == "Usage-Based":
        wrong("ChargeFrequency", "a purchase is not usage-based")
    if category != "Usage" and row.get("ConsumedQuantity") is not None:
        wrong("ConsumedQuantity", "must be null for what is no usage")
    if category == "Usage" and not correction and "ConsumedQuantity" in row and row["ConsumedQuantity"] is None:
        wrong("ConsumedQuantity", "must not be null for usage that is no correction")
    for one, other in BESIDE:
        if one in row and other in row and (row[one] is None) != (row[other] is None):
            wrong(other, f"must be there where {one} is, and only there")
    if row.get("SkuMeter") is not None and row.get("SkuId") is None:
        wrong("SkuMeter", "must be null where SkuId is")
    if row.get("SkuPriceDetails") is not None and row.get("SkuPriceId") is None:
        wrong("SkuPriceDetails", "must be null where SkuPriceId is")
    faults += _products(number, row, correction)
    for first, last in (("BillingPeriodStart", "BillingPeriodEnd"), ("ChargePeriodStart", "ChargePeriodEnd")):
        if str(row[first]) >= str(row[last]):
            wrong(last, f"must be after {first}")
    if not correction and not (
        str(row["BillingPeriodStart"]) <= str(row["ChargePeriodStart"]) < str(row["BillingPeriodEnd"])
    ):
        wrong("ChargePeriodStart", "a charge outside of the billing period is a correction")
    child, parent = row.get("ServiceSubcategory"), row.get("ServiceCategory")
    if child is not None and SUBCATEGORIES[child] != parent:
        wrong("ServiceSubcategory", f"belongs to {SUBCATEGORIES[child]}, not {parent}")
    price, sku = row.get("SkuPriceId"), row.get("SkuId")
    if price is not None and sku is not None and skus.setdefault(price, sku) != sku:
        wrong("SkuPriceId", f"has two parents: {skus[price]} and {sku}")
    return faults


def _products(number: int, row: Mapping[str, str | None], correction: bool) -> list[FocusFault]:
    faults = []
    quantity = _figure(row.get("PricingQuantity"))
    for price_name, cost_name in PRODUCTS:
        price, cost = _figure(row.get(price_name)), _figure(row.get(cost_name))
        if price is not None and price < 0:
            faults.append(FocusFault(number, price_name, "must not be negative"))
        if (
            price is not None
            and quantity is not None
            and cost is not None
            and not correction
            and product(price, quantity) != cost
        ):
            faults.append(
                FocusFault(
                    number, cost_name, f"is {cost}, not {price_name} × PricingQuantity = {product(price, quantity)}"
                )
            )
    return faults


def product(price: Decimal, quantity: Decimal) -> Decimal:
    """Price × quantity exactly, however many places both have."""
    return _EXACT.multiply(price, quantity)


_EXACT = Context(prec=100)


def _figure(value: str | None) -> Decimal | None:
    try:
        return None if value is None else Decimal(value)
    except InvalidOperation:
        return None
