"""Founding: a house made, and what it takes from there to a governed city."""

from __future__ import annotations

from console.founding import checklist, entering, examples, sheets, template
from console.founding.checklist import Look, StepStanding
from console.founding.houses import ACCOUNTS, FOUNDED, accounts_text, first_accounts, found, is_founded, known

__all__ = [
    "ACCOUNTS",
    "FOUNDED",
    "Look",
    "StepStanding",
    "accounts_text",
    "checklist",
    "entering",
    "examples",
    "first_accounts",
    "found",
    "is_founded",
    "known",
    "sheets",
    "template",
]
