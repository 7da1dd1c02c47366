"""The formula as a value: what counts how much, by what terms a card is made, and how that is written down.

Pure: what was enacted is ``providers.assessment.formulas``.
"""

from __future__ import annotations

from providers.assessment.formula import arithmetic, documents
from providers.assessment.formula.documents import FormulaDocument, from_json, to_json
from providers.assessment.formula.terms import (
    GRADE_LABELS,
    ROLE_LABELS,
    SHARES,
    Consequence,
    Criterion,
    CriterionRole,
    Formula,
    Grade,
    ProcedureDays,
    annual,
    default,
)

__all__ = [
    "GRADE_LABELS",
    "ROLE_LABELS",
    "SHARES",
    "Consequence",
    "Criterion",
    "CriterionRole",
    "Formula",
    "FormulaDocument",
    "Grade",
    "ProcedureDays",
    "annual",
    "arithmetic",
    "default",
    "documents",
    "from_json",
    "to_json",
]
