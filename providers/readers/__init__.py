"""Readers: files as people have them (usage, inventories, bills) into rows, with a place for everything refused."""

from __future__ import annotations

from providers.readers import bill_words, column_mapping, inventory_words, sheet_purposes, usage_columns
from providers.readers.bill_files import read_bill
from providers.readers.column_mapping import ColumnMapping
from providers.readers.figures import is_total
from providers.readers.inventory_files import ANY_HEADING, CITY_OFFSET_S, UNMAPPED, read_inventory, tables_in
from providers.readers.inventory_rows import HEADING as INVENTORY_HEADING
from providers.readers.refusals import NOTES, REASONS, UNUSABLE, Reading, Refusals, unusable
from providers.readers.sheet_purposes import SheetPurpose
from providers.readers.sheets import SheetTable, sheet_tables, whole_tables
from providers.readers.tables import TITLE_ROWS, TableRow
from providers.readers.usage_files import PLAIN, UsageFile, find_usage, read_usage_files
from providers.readers.usage_formats import FORMATS, Convention
from providers.readers.usage_inventory import inventory_from_usage
from providers.readers.usage_values import moment

__all__ = [
    "ANY_HEADING",
    "CITY_OFFSET_S",
    "FORMATS",
    "INVENTORY_HEADING",
    "NOTES",
    "PLAIN",
    "REASONS",
    "TITLE_ROWS",
    "UNMAPPED",
    "UNUSABLE",
    "ColumnMapping",
    "Convention",
    "Reading",
    "Refusals",
    "SheetPurpose",
    "SheetTable",
    "TableRow",
    "UsageFile",
    "bill_words",
    "column_mapping",
    "find_usage",
    "inventory_from_usage",
    "inventory_words",
    "is_total",
    "moment",
    "read_bill",
    "read_inventory",
    "read_usage_files",
    "sheet_purposes",
    "sheet_tables",
    "tables_in",
    "unusable",
    "usage_columns",
    "whole_tables",
]
