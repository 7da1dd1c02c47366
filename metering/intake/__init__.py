"""Intake: what comes into the lake, pulled from clouds, read from files, pushed by agents; who reports and who fell silent."""

from __future__ import annotations

from metering.intake import (
    collection,
    conventions,
    feed_readings,
    imports,
    keeping,
    late_figures,
    push,
    reporters,
    schedules,
    short_deliveries,
    sources,
    spool,
)
from metering.intake.collection import Collected, Intake, SampleRefusal
from metering.intake.feed_readings import FeedReading
from metering.intake.feeding import Fed
from metering.intake.feeds import Feed, Vantage
from metering.intake.imports import Imported, ListingReport
from metering.intake.indicators import completeness, delivered_sizes
from metering.intake.late_figures import SAMPLES, LateFigure
from metering.intake.probes import Probe
from metering.intake.push import Desk, PushedBody, PushReceipt
from metering.intake.reporters import Coverage, CoverageDay, Reporting
from metering.intake.short_deliveries import ShortDelivery
from metering.intake.sources import PushSource

__all__ = [
    "SAMPLES",
    "Collected",
    "Coverage",
    "CoverageDay",
    "Desk",
    "Fed",
    "Feed",
    "FeedReading",
    "Imported",
    "Intake",
    "LateFigure",
    "ListingReport",
    "Probe",
    "PushReceipt",
    "PushSource",
    "PushedBody",
    "Reporting",
    "SampleRefusal",
    "ShortDelivery",
    "Vantage",
    "collection",
    "completeness",
    "conventions",
    "delivered_sizes",
    "feed_readings",
    "feeding",
    "feeds",
    "imports",
    "keeping",
    "late_figures",
    "probes",
    "push",
    "reporters",
    "schedules",
    "short_deliveries",
    "sources",
    "spool",
]
