"""The assessment of companies: evidence rows and a formula become marks, cards, appeals; records where no other row speaks."""

from __future__ import annotations

from providers.assessment import appeals, cards, compatibility, evidence, gathering, periods, ratings, records
from providers.assessment.appeals import Appeal, AppealState
from providers.assessment.cards import ScorecardEvidence, ScorecardRecord
from providers.assessment.compatibility import CHIPS, FITNESS_LABELS, Combination, Fitness
from providers.assessment.measures import Row
from providers.assessment.ratings import STAR_LABELS, Rating
from providers.assessment.records import CERTIFICATES, FORMS, AssessmentRecord, RecordKind
from providers.assessment.scorecard import DEFAULT, GRADE_LABELS, LABELS, Grade, Indicator, annual, graded

__all__ = [
    "CERTIFICATES",
    "CHIPS",
    "DEFAULT",
    "FITNESS_LABELS",
    "FORMS",
    "GRADE_LABELS",
    "LABELS",
    "STAR_LABELS",
    "Appeal",
    "AppealState",
    "AssessmentRecord",
    "Combination",
    "Fitness",
    "Grade",
    "Indicator",
    "Rating",
    "RecordKind",
    "Row",
    "ScorecardEvidence",
    "ScorecardRecord",
    "annual",
    "appeals",
    "cards",
    "compatibility",
    "evidence",
    "gathering",
    "graded",
    "periods",
    "ratings",
    "records",
]
