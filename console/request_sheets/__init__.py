"""批量申请表: many requests in one workbook, a sheet a request kind, a row a request. Looked at first, with every fault by its place;
then entered as drafts, each whole or not at all; again changes nothing.

``columns`` says what a kind's sheet has, from its declaration and the book; ``entering`` makes drafts of what was filled in."""

from __future__ import annotations

from console.request_sheets import columns, entering
from console.request_sheets.columns import sheets, write
from console.request_sheets.entering import FiledOutcome, check, enter

__all__ = ["FiledOutcome", "check", "columns", "enter", "entering", "sheets", "write"]
