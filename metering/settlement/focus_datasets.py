"""The datasets beside FOCUS 1.4's charges: billing periods, invoices line by line, and what contracts commit to.

A line of an invoice is a department's sum of one SKU in a month, corrections of each earlier month apart; lines that come to nothing
are there as well. It and its charges have one ``InvoiceDetailId``. A contract that is claimed by use commits nobody to
anything, whatever its ceiling: only those that are paid in agreed instalments are commitments.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from metering.settlement import sheets
from metering.statements import StatementLine, StatementRun, closings, focus_files, tariffs
from providers.billing import month_bounds
from providers.contracts import Contract, ContractBasis
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.directory import CloudProvider

if TYPE_CHECKING:
    from quota.db import Tx

DatasetRow = dict[str, str | None]

BILLING_PERIOD, INVOICE_DETAIL, CONTRACT_COMMITMENT = "billing_period", "invoice_detail", "contract_commitment"

NULLABLE = frozenset(
    {
        "InvoiceDetailDescription", "InvoiceDetailGrain", "InvoiceIssueDate", "PaymentDueDate", "ContractCommitmentDescription",
        "ContractCommitmentDiscountPercentage", "ContractCommitmentQuantity", "ContractCommitmentUnit",
    }
)  # fmt: skip
COLUMNS: Mapping[str, tuple[str, ...]] = {
    BILLING_PERIOD: (
        "BillingPeriodCreated", "BillingPeriodEnd", "BillingPeriodLastUpdated", "BillingPeriodStart", "BillingPeriodStatus",
        "InvoiceIssuerName",
    ),
    INVOICE_DETAIL: (
        "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
        "InvoiceDetailCreated", "InvoiceDetailDescription", "InvoiceDetailGrain", "InvoiceDetailId", "InvoiceDetailLastUpdated",
        "InvoiceId", "InvoiceIssueDate", "InvoiceIssueStatus", "InvoiceIssuerName", "PaymentCurrency", "PaymentDueDate",
        "PaymentTerms", "ReferenceInvoiceId",
    ),
    CONTRACT_COMMITMENT: (
        "BillingCurrency", "ContractCommitmentApplicability", "ContractCommitmentBenefitCategory", "ContractCommitmentCategory",
        "ContractCommitmentCost", "ContractCommitmentCreated", "ContractCommitmentDescription",
        "ContractCommitmentDiscountPercentage", "ContractCommitmentDurationType", "ContractCommitmentFulfillmentInterval",
        "ContractCommitmentId", "ContractCommitmentLastUpdated", "ContractCommitmentLifecycleStatus", "ContractCommitmentModel",
        "ContractCommitmentOfferCategory", "ContractCommitmentPaymentInterval", "ContractCommitmentPaymentModel",
        "ContractCommitmentPeriodEnd", "ContractCommitmentPeriodStart", "ContractCommitmentQuantity", "ContractCommitmentType",
        "ContractCommitmentUnit", "ContractId", "ContractPeriodEnd", "ContractPeriodStart", "InvoiceIssuerName",
        "ServiceProviderName",
    ),
}  # fmt: skip
"""Dataset → its columns, in the specification's order; those that are conditional on what this cloud does not have (payment in
another currency, order numbers, partial payment ahead) are left out."""

TERMS = "By settlement sheet"
"""Of every invoice here: what is payable now and what is withheld is settled by period."""


def billing_periods(tx: Tx, run: StatementRun) -> Iterator[DatasetRow]:
    """A row for each company of the month: closed once the month is, and never open again."""
    closing = closings.closing(tx, run.month)
    start, end = month_bounds(run.month)
    billed = select(StatementLine.provider_id).where(
        StatementLine.run_id == run.id, StatementLine.cost_fen.is_not(None)
    )
    issuers = tx.scalars(select(CloudProvider.name).where(CloudProvider.id.in_(billed)))
    for issuer in sorted(set(issuers)):
        yield {
            "BillingPeriodCreated": _moment(start),
            "BillingPeriodEnd": _moment(end),
            "BillingPeriodLastUpdated": _moment(closing.closed_at if closing is not None else run.made_at),
            "BillingPeriodStart": _moment(start),
            "BillingPeriodStatus": "Closed" if closing is not None else "Open",
            "InvoiceIssuerName": issuer,
        }


def invoice_details(tx: Tx, run: StatementRun) -> Iterator[DatasetRow]:
    """The lines of the month's invoices; none while it is open, or where it was closed on another run."""
    closing = closings.closing(tx, run.month)
    if closing is None or closing.run_id != run.id:
        return
    sums: dict[str, Decimal] = {}
    first: dict[str, focus_files.FocusRow] = {}
    for row in focus_files.rows_of(tx, run):
        key = str(focus_files.detail_id(row))
        first.setdefault(key, row)
        sums[key] = sums.get(key, Decimal(0)) + Decimal(str(row["BilledCost"]))
    for key, row in sorted(first.items()):
        invoice, corrected = str(row["InvoiceId"]), row["x_CorrectedMonth"]
        grain = {name: row[name] for name in ("SkuId", "SubAccountId") if row[name] is not None}
        if corrected:
            grain["x_CorrectedMonth"] = corrected
        yield {
            "BilledCost": f"{sums[key]:f}",
            **{
                name: row[name]
                for name in ("BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart")
            },
            "ChargeCategory": row["ChargeCategory"],
            "InvoiceDetailCreated": _moment(closing.closed_at),
            "InvoiceDetailDescription": " ".join(filter(None, (row["SubAccountName"], row["ServiceName"], corrected))),
            "InvoiceDetailGrain": json.dumps(grain, ensure_ascii=False, sort_keys=True) if grain else None,
            "InvoiceDetailId": key,
            "InvoiceDetailLastUpdated": _moment(closing.closed_at),
            "InvoiceId": invoice,
            "InvoiceIssueDate": _moment(closing.closed_at),
            "InvoiceIssueStatus": "Issued",
            "InvoiceIssuerName": row["InvoiceIssuerName"],
            "PaymentCurrency": row["BillingCurrency"],
            "PaymentDueDate": None,
            "PaymentTerms": TERMS,
            "ReferenceInvoiceId": invoice.replace(run.month, corrected, 1) if corrected else invoice,
        }


def contract_commitments(tx: Tx, _run: StatementRun) -> Iterator[DatasetRow]:
    """Contracts that are paid in agreed instalments, as they stand."""
    query = select(Contract).where(Contract.basis == ContractBasis.INSTALMENTS.value).order_by(Contract.id)
    for one in tx.scalars(query):
        start = datetime.combine(one.first_day, time(), ZONE)
        end = datetime.combine(one.last_day + timedelta(days=1), time(), ZONE)
        changed = tx.scalar(select(func.max(AuditRecord.at)).where(AuditRecord.subject == f"contract:{one.id}"))
        status = "Pending" if tx.now < start else "Active" if tx.now < end else "Expired"
        if status == "Active" and sheets.standing(tx, one).settled >= one.ceiling_fen:
            status = "Exhausted"
        yield {
            "BillingCurrency": tariffs.CURRENCY,
            "ContractCommitmentApplicability": json.dumps(
                {
                    "InclusionOperator": "And",
                    "Inclusions": [
                        {"Dimension": "BillingAccountId", "Operator": "In", "Values": [f"guanjia:{one.provider.code}"]}
                    ],
                }
            ),
            "ContractCommitmentBenefitCategory": "Monetary Pool",
            "ContractCommitmentCategory": "Spend",
            "ContractCommitmentCost": f"{Decimal(one.ceiling_fen) / 100:f}",
            "ContractCommitmentCreated": _moment(one.entered_at),
            "ContractCommitmentDescription": one.name or None,
            "ContractCommitmentDiscountPercentage": None,
            "ContractCommitmentDurationType": _duration(one.first_day, one.last_day),
            "ContractCommitmentFulfillmentInterval": "Full Commitment Period",
            "ContractCommitmentId": one.number,
            "ContractCommitmentLastUpdated": _moment(changed or one.entered_at),
            "ContractCommitmentLifecycleStatus": status,
            "ContractCommitmentModel": "Discontinuous",
            "ContractCommitmentOfferCategory": "Negotiated",
            "ContractCommitmentPaymentInterval": "One-Time" if len(one.schedule) == 1 else "Custom",
            "ContractCommitmentPaymentModel": "No Upfront",
            "ContractCommitmentPeriodEnd": _moment(end),
            "ContractCommitmentPeriodStart": _moment(start),
            "ContractCommitmentQuantity": None,
            "ContractCommitmentType": "Service contract",
            "ContractCommitmentUnit": None,
            "ContractId": one.number,
            "ContractPeriodEnd": _moment(end),
            "ContractPeriodStart": _moment(start),
            "InvoiceIssuerName": one.provider.name,
            "ServiceProviderName": one.provider.name,
        }


def _duration(first: date, last: date) -> str:
    """From ``first`` through ``last`` in whole years or months; in days where they are not whole."""
    end = last + timedelta(days=1)
    months = 12 * (end.year - first.year) + end.month - first.month
    if end.day != first.day:
        number, unit = (end - first).days, "Day"
    else:
        number, unit = (months // 12, "Year") if months % 12 == 0 else (months, "Month")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


DATASETS: Mapping[str, Callable[[Tx, StatementRun], Iterator[DatasetRow]]] = {
    BILLING_PERIOD: billing_periods, INVOICE_DETAIL: invoice_details, CONTRACT_COMMITMENT: contract_commitments,
}  # fmt: skip


def csv_of(dataset: str, rows: Iterable[DatasetRow]) -> str:
    """The rows of a dataset as CSV, nulls as empty fields. Raises ValueError for a null where none may be."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS[dataset])
    for row in rows:
        missing = [name for name in COLUMNS[dataset] if row[name] is None and name not in NULLABLE]
        if missing:
            raise ValueError(f"{dataset}: {missing[0]} must not be null")
        writer.writerow([row[name] or "" for name in COLUMNS[dataset]])
    return out.getvalue()
