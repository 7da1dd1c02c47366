"""Supervision (监管事项): what the city watches of itself by which means, from what figure on somebody is warned and has to answer.

An item is enacted by two of the authority and names a measure that the house keeps already; a job looks, and an alert (监管预警) stands
from when the figure has been beyond its limit for long enough until it is back.
"""

from __future__ import annotations

from metering.supervision import alerts, items, measures
from metering.supervision.measures import MEASURES, OBJECT_LABELS, SupervisedMeasure, SupervisedObject
from metering.supervision.tables import (
    ALERT_LABELS,
    LEVEL_LABELS,
    OPEN,
    SIDE_LABELS,
    Answerer,
    SupervisionAlert,
    SupervisionItem,
    SupervisionLevel,
    SupervisionSide,
    SupervisionState,
)

__all__ = [
    "ALERT_LABELS",
    "LEVEL_LABELS",
    "MEASURES",
    "OBJECT_LABELS",
    "OPEN",
    "SIDE_LABELS",
    "Answerer",
    "SupervisedMeasure",
    "SupervisedObject",
    "SupervisionAlert",
    "SupervisionItem",
    "SupervisionLevel",
    "SupervisionSide",
    "SupervisionState",
    "alerts",
    "items",
    "measures",
]
