"""From the name of a row of the book (order:12, bill:7/vm-1/vcpu) to the page that shows it, for whom it may show it."""

from __future__ import annotations

from typing import Any

from flask import current_app, url_for
from werkzeug.routing import BuildError

from console.access import may

_PAGES = {
    "order": ("orders.show", "order_id"),
    "incident": ("incidents.show", "incident_id"),
    "bill": ("bills.show", "bill_id"),
    "scorecard": ("scorecards.show", "scorecard_id"),
    "record": ("records.show", "record_id"),
    "rating": ("ratings.show", "rating_id"),
    "resource": ("resources.show", "resource_id"),
    "request": ("requests.show", "request_id"),
    "case": ("cases.show", "case_id"),
    "combination": ("compatibility.show", "combination_id"),
}


def address(ref: str) -> str | None:
    """The address of what ``ref`` names; None where it has no page or the visitor may not open it."""
    name, _colon, rest = ref.partition(":")
    number = rest.split("/")[0]
    if name not in _PAGES or not number.isdigit():
        return None
    endpoint, argument = _PAGES[name]
    if not may(endpoint):
        return None
    try:
        values: dict[str, Any] = {argument: int(number)}
        return url_for(endpoint, **values)
    except BuildError:
        current_app.logger.warning("%s takes no %s", endpoint, argument)
        return None
