"""Readers: files as people have them (usage, inventories, bills) into rows, with a place for everything refused."""

from __future__ import annotations

from providers.readers.bill_files import read_bill
from providers.readers.figures import is_total
from providers.readers.inventory_files import CITY_OFFSET_S, read_inventory
from providers.readers.refusals import NOTES, REASONS, UNUSABLE, Reading, Refusals, unusable
from providers.readers.sheets import SheetTable, sheet_tables
from providers.readers.usage_files import PLAIN, UsageFile, find_usage, read_usage_files
from providers.readers.usage_formats import FORMATS, Convention
from providers.readers.usage_inventory import inventory_from_usage
from providers.readers.usage_values import moment

__all__ = [
    "CITY_OFFSET_S",
    "FORMATS",
    "NOTES",
    "PLAIN",
    "REASONS",
    "UNUSABLE",
    "Convention",
    "Reading",
    "Refusals",
    "SheetTable",
    "UsageFile",
    "find_usage",
    "inventory_from_usage",
    "is_total",
    "moment",
    "read_bill",
    "read_inventory",
    "read_usage_files",
    "sheet_tables",
    "unusable",
]
