"""The assessment of companies, departments, systems and the steward: evidence rows and a formula become marks, cards, appeals; records where no other row speaks.

The machinery names no indicator: each is a file of ``indicators/``, or lies beside its evidence on a storey above.
"""

from __future__ import annotations

from providers.assessment import (
    appeals,
    bundles,
    cards,
    compatibility,
    consequences,
    formula,
    formula_drafts,
    formulas,
    gathering,
    indicators,  # noqa: F401 - they register themselves
    measures,
    periods,
    ratings,
    records,
    rectifications,
    registry,
    surveys,
    whose,
)
from providers.assessment.appeals import Appeal, AppealState
from providers.assessment.cards import ScorecardEvidence, ScorecardMark, ScorecardRecord
from providers.assessment.compatibility import CHIPS, FITNESS_LABELS, Combination, Fitness
from providers.assessment.evidence import OK
from providers.assessment.formula import (
    GRADE_LABELS,
    ROLE_LABELS,
    Criterion,
    Formula,
    FormulaDocument,
    Grade,
    annual,
    arithmetic,
)
from providers.assessment.formula import CriterionRole as CriterionRole
from providers.assessment.formula import documents as formula_documents
from providers.assessment.formula_drafts import FormulaDraft
from providers.assessment.formulas import AssessmentFormula
from providers.assessment.measures import EvidenceRow, FigureUnit, Measure, MeasureLimit, MeasureResult
from providers.assessment.ratings import STAR_LABELS, Rating
from providers.assessment.records import AssessmentRecord
from providers.assessment.rectifications import Rectification, RectificationState, RectificationStep
from providers.assessment.registry import (
    Direction,
    EvidenceTerm,
    Fact,
    FactFormat,
    FieldType,
    Gathering,
    Indicator,
    RecordField,
    RecordKind,
    RefSource,
    register,
)
from providers.assessment.scorecard import NO_EVIDENCE, NOT_MEASURED, TOO_LITTLE
from providers.assessment.subjects import STEWARD, SUBJECT_LABELS, CardSubject, SubjectType, company, department, system
from providers.assessment.surveys import Survey, SurveyAnswer, SurveyResult
from providers.assessment.whose import OfSubject

__all__ = [
    "CHIPS",
    "FITNESS_LABELS",
    "GRADE_LABELS",
    "NOT_MEASURED",
    "NO_EVIDENCE",
    "OK",
    "ROLE_LABELS",
    "STAR_LABELS",
    "STEWARD",
    "SUBJECT_LABELS",
    "TOO_LITTLE",
    "Appeal",
    "AppealState",
    "AssessmentFormula",
    "AssessmentRecord",
    "CardSubject",
    "Combination",
    "Criterion",
    "CriterionRole",
    "Direction",
    "EvidenceRow",
    "EvidenceTerm",
    "Fact",
    "FactFormat",
    "FieldType",
    "FigureUnit",
    "Fitness",
    "Formula",
    "FormulaDocument",
    "FormulaDraft",
    "Gathering",
    "Grade",
    "Indicator",
    "Measure",
    "MeasureLimit",
    "MeasureResult",
    "OfSubject",
    "Rating",
    "RecordField",
    "RecordKind",
    "Rectification",
    "RectificationState",
    "RectificationStep",
    "RefSource",
    "ScorecardEvidence",
    "ScorecardMark",
    "ScorecardRecord",
    "SubjectType",
    "Survey",
    "SurveyAnswer",
    "SurveyResult",
    "annual",
    "appeals",
    "arithmetic",
    "bundles",
    "cards",
    "company",
    "compatibility",
    "consequences",
    "department",
    "formula",
    "formula_documents",
    "formula_drafts",
    "formulas",
    "gathering",
    "measures",
    "periods",
    "ratings",
    "records",
    "rectifications",
    "register",
    "registry",
    "surveys",
    "system",
    "whose",
]
