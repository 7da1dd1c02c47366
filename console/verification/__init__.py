"""Verification: everything that can be proven about book and lake, asked for, carried out part by part, kept."""

from __future__ import annotations

from console.verification import agreement, runs
from console.verification.checks import NIGHTS, examine
from console.verification.progress import BY_HAND, LOGS, Log, interrupted

__all__ = [
    "BY_HAND",
    "LOGS",
    "NIGHTS",
    "Log",
    "agreement",
    "examine",
    "interrupted",
    "runs",
]
