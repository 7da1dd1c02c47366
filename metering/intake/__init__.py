"""Intake: what comes into the lake, pulled from clouds, read from files, pushed by agents; who reports and who fell silent."""

from __future__ import annotations

from metering.intake import (
    collection,
    completeness,
    conventions,
    imports,
    keeping,
    late_figures,
    push,
    reporters,
    sources,
    spool,
)
from metering.intake.collection import Collected, Intake, SampleRefusal
from metering.intake.feeding import Fed
from metering.intake.feeds import Feed
from metering.intake.imports import Imported, Listed
from metering.intake.late_figures import SAMPLES, LateFigure
from metering.intake.probes import Probe
from metering.intake.push import Desk, PushedBody, PushReceipt
from metering.intake.reporters import Coverage, Reporting
from metering.intake.sources import PushSource

__all__ = [
    "SAMPLES",
    "Collected",
    "Coverage",
    "Desk",
    "Fed",
    "Feed",
    "Imported",
    "Intake",
    "LateFigure",
    "Listed",
    "Probe",
    "PushReceipt",
    "PushSource",
    "PushedBody",
    "Reporting",
    "SampleRefusal",
    "collection",
    "completeness",
    "conventions",
    "feeding",
    "feeds",
    "imports",
    "keeping",
    "late_figures",
    "probes",
    "push",
    "reporters",
    "sources",
    "spool",
]
