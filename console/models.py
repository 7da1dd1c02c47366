"""Every table of the house, imported so that migrations and tests see them all."""

from providers import inventory
from quota import agencies, audit, calendar, catalog, ledger, people, pools

__all__ = ["agencies", "audit", "calendar", "catalog", "inventory", "ledger", "people", "pools"]
