"""Judging: samples become facts, facts findings, by the policy in force; each finding keeps its numbers and its policy."""

from __future__ import annotations

from metering.judging import (
    assess,
    business,
    engines,
    findings,
    growth_terms,
    pipeline,
    policies,
    prospects,
    service_sizes,
    wholes,
)
from metering.judging.assess import SIGNS, Findings, Reason
from metering.judging.business import FESTIVALS, BusinessPeriod, Period, Recurs, calendars
from metering.judging.business import LABELS as PERIOD_LABELS
from metering.judging.engines import BlockTask, Engine, Survey, named
from metering.judging.facts import Facts
from metering.judging.figures import CIRCUMSTANCES, FIGURES, Figure, figure, offered, plain, register
from metering.judging.findings import Assessment, BlindSpot, Finding, FindingArchive, latest, of_run
from metering.judging.growth_terms import GAUGES, GrowthTerms
from metering.judging.policies import PolicyVersion
from metering.judging.policy import (
    BUILT_IN,
    COMPARE,
    GROWS,
    LABELS,
    MACHINES,
    RECLAIMABLE,
    SAFE_COVERAGE,
    VERDICTS,
    Condition,
    Policy,
    PolicyRule,
    Section,
    Standing,
    SurplusTerms,
    Verdict,
    WholeLevels,
    default,
    unsafe,
)
from metering.judging.procedure import ALIVE, CALLS_FOR, KIND_LABELS, STILL, TAKES, CaseKind, Procedure
from metering.judging.prospects import Prospect
from metering.judging.seen import demanded
from metering.judging.shape_changes import gentler, growth, less, more, worth
from metering.judging.span import Window, window
from metering.judging.wholes import USES, JudgedWhole, MeasuredUse, SystemUse

__all__ = [
    "ALIVE",
    "BUILT_IN",
    "CALLS_FOR",
    "CIRCUMSTANCES",
    "COMPARE",
    "FESTIVALS",
    "FIGURES",
    "GAUGES",
    "GROWS",
    "KIND_LABELS",
    "LABELS",
    "MACHINES",
    "PERIOD_LABELS",
    "RECLAIMABLE",
    "SAFE_COVERAGE",
    "SIGNS",
    "STILL",
    "TAKES",
    "USES",
    "VERDICTS",
    "Assessment",
    "BlindSpot",
    "BlockTask",
    "BusinessPeriod",
    "CaseKind",
    "Condition",
    "Engine",
    "Facts",
    "Figure",
    "Finding",
    "FindingArchive",
    "Findings",
    "GrowthTerms",
    "JudgedWhole",
    "MeasuredUse",
    "Period",
    "Policy",
    "PolicyRule",
    "PolicyVersion",
    "Procedure",
    "Prospect",
    "Reason",
    "Recurs",
    "Section",
    "Standing",
    "SurplusTerms",
    "Survey",
    "SystemUse",
    "Verdict",
    "WholeLevels",
    "Window",
    "assess",
    "business",
    "calendars",
    "default",
    "demanded",
    "engines",
    "figure",
    "findings",
    "gentler",
    "growth",
    "growth_terms",
    "latest",
    "less",
    "more",
    "named",
    "of_run",
    "offered",
    "pipeline",
    "plain",
    "policies",
    "prospects",
    "register",
    "service_sizes",
    "unsafe",
    "wholes",
    "window",
    "worth",
]
