"""The steward's own work by the clock: what is done when, each run recorded with what it said."""

from __future__ import annotations

from console.jobs import timetable
from console.jobs.abreast import Abreast, CallRound
from console.jobs.runs import Job, lags, last_success, latest, perform, schedule, standings
from console.jobs.sayings import Said, Unsuccessful, fault, say, worded
from console.jobs.timetable import LANES, PLAN

__all__ = [
    "LANES",
    "PLAN",
    "Abreast",
    "CallRound",
    "Job",
    "Said",
    "Unsuccessful",
    "fault",
    "lags",
    "last_success",
    "latest",
    "perform",
    "say",
    "schedule",
    "standings",
    "timetable",
    "worded",
]
