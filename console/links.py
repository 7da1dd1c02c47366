"""From the name of a row of the book (order:12, bill:7/vm-1/vcpu) to the page that shows it, for whom it may show it; from a figure of
supervision to the list of the rows that it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import request, url_for

from console.access import may
from console.lists import ALL, Filter
from console.security import row_or
from console.words import _, disclosure
from metering.supervision import MEASURES, OBJECT_LABELS, SupervisedObject
from quota.db import Tx
from quota.errors import N_

_PAGES = {
    "order": ("orders.show", "order_id"),
    "incident": ("incidents.show", "incident_id"),
    "bill": ("bills.show", "bill_id"),
    "verification": ("verifications.show", "run_id"),
    "scorecard": ("scorecards.show", "scorecard_id"),
    "record": ("records.show", "record_id"),
    "ticket": ("tickets.show", "ticket_id"),
    "rectification": ("rectifications.show", "rectification_id"),
    "maintenance": ("maintenances.show", "maintenance_id"),
    "endpoint": ("endpoints.show", "endpoint_id"),
    "alert_mapping": ("alert_mappings.show", "mapping_id"),
    "rating": ("ratings.show", "rating_id"),
    "resource": ("resources.show", "resource_id"),
    "takeover": ("takeovers.show", "takeover_id"),
    "campaign": ("campaigns.show", "campaign_id"),
    "tier": ("tiers.show", "tier_id"),
    "supervision_alert": ("supervision_alerts.show", "alert_id"),
    "supervision_item": ("supervision_items.show", "item_id"),
    "hosted": ("hosted.show", "hosted_id"),
    "surplus": ("surpluses.show", "notice_id"),
    "inquiry": ("inquiries.show", "inquiry_id"),
    "request": ("requests.show", "request_id"),
    "shutdown": ("shutdowns.show", "shutdown_id"),
    "finding": ("findings.show", "finding_id"),
    "case": ("cases.show", "case_id"),
    "combination": ("compatibility.show", "combination_id"),
    "department": ("departments.show", "department_id"),
    "system": ("systems.show", "system_id"),
    "pool": ("pools.show", "pool_id"),
    "provider": ("companies.show", "provider_id"),
    "demand_round": ("demands.show", "round_id"),
    "allocation": ("allocations.show", "allocation_id"),
    "commitment": ("commitments.show", "commitment_id"),
    "loan": ("loans.show", "loan_id"),
    "funded_project": ("funded_projects.show", "project_id"),
    "labour": ("labour.show", "job_id"),
    "outside": ("outside.show", "facility_id"),
    "quota_offer": ("market.show", "offer_id"),
    "quota_claim": ("market.claim", "claim_id"),
    "quota_conversion": ("conversions.show", "conversion_id"),
    "request_form_field": ("request_forms.show", "version_id"),
    "exchange_rule": ("exchange_rules.show", "rule_id"),
    "notice": ("notices.show", "notice_id"),
    "dispute": ("disputes.show", "dispute_id"),
    "contract": ("contracts.show", "contract_id"),
    "settlement": ("contracts.sheet", "sheet_id"),
    "billing_year": ("billing_years.show", "year_id"),
    "dated": ("dated.show", "entry_id"),
    "report": ("editions.show", "edition_id"),
    "policy": ("policies.show", "version_id"),
    "policy_draft": ("policies.drafted", "draft_id"),
    "formula": ("formulas.show", "version_id"),
    "formula_draft": ("formulas.drafted", "draft_id"),
    "person": ("people.show", "person_id"),
    "tariff": ("tariffs.show", "tariff_id"),
    "catalog_item": ("catalog.show", "item_id"),
    "resource_class": ("classes.show", "class_id"),
    "short": ("short_deliveries.show", "short_id"),
    "feed": ("feeds.show", "feed_id"),
    "push_source": ("sources.show", "source_id"),
}


Href = Callable[[Any], "str | None"]


def address(ref: str) -> str | None:
    """The address of what ``ref`` names; None where it has no page or the visitor may not open it."""
    name, _colon, rest = ref.partition(":")
    number = rest.split("/")[0]
    if not (number.isascii() and number.isdigit()):
        return None
    if name == "resource" and not disclosure.may_name(int(number)):
        return None
    return to(name, int(number))


def to(name: str, number: int | None) -> str | None:
    """The address of the ``name`` (a word of ``_PAGES``) with this number; None where there is none, or none to open."""
    endpoint, argument = _PAGES.get(name, ("", ""))
    if not number or not may(endpoint):
        return None
    values: dict[str, Any] = {argument: number}
    return url_for(endpoint, **values)


def _leading(name: str) -> Callable[[Callable[[Any], int | None]], Href]:
    return lambda number_of: lambda row: to(name, number_of(row))


# ``row → id`` to the ``href`` of a column that names such a thing.
department = _leading("department")
system = _leading("system")
pool = _leading("pool")
provider = _leading("provider")
resource = _leading("resource")


WATCHED = "watched"
"""The parameter of a list: the rows that a measure of supervision counts of an object, late_orders:provider:3."""
_LISTS = {
    "late_requests": "requests.index",
    "late_orders": "orders.index",
    "late_cases": "cases.index",
    "late_tickets": "tickets.index",
    "late_rectifications": "rectifications.index",
    "open_incidents": "incidents.index",
    "ended_entries": "dated.index",
    "disputed": "disputes.index",
}


def counted(measure: str, of: SupervisedObject, object_id: int) -> str | None:
    """The list of the rows that a measure counts of an object now; None where it counts none, or none that may be listed."""
    endpoint = _LISTS.get(measure)
    if endpoint is None or not may(endpoint):
        return None
    values: dict[str, Any] = {"state": ALL, WATCHED: f"{measure}:{of.value}:{object_id}"}
    return url_for(endpoint, **values)


def watched(tx: Tx, model: Any) -> list[Filter]:
    """The filter of a list of ``model`` by what a measure counts, where the address has one. It names no object: who may see a row
    is told of whom it is, and nobody else."""
    if WATCHED not in request.args:
        return []
    said = request.args[WATCHED].strip()
    code, of, object_id = [*said.split(":"), "", ""][:3]
    measure = MEASURES.get(code)
    if measure is None or measure.rows is None or measure.model is not model or of not in measure.objects:
        return [Filter(WATCHED, N_("监测指标"), lambda q, _v: q, options={})]
    found = measure.rows(tx, SupervisedObject(of), row_or(object_id, 0))
    label = _("%(name)s（%(more)s）", name=_(measure.label), more=_(OBJECT_LABELS[SupervisedObject(of)]))
    return [Filter(WATCHED, N_("监测指标"), lambda q, _v: q.where(*found), options={said: label})]
