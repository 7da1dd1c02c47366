"""Verification: everything that can be proven about book and lake, asked for, carried out, kept."""

from __future__ import annotations

from console.verification import agreement, runs
from console.verification.checks import NIGHTS, examine

__all__ = [
    "NIGHTS",
    "agreement",
    "examine",
    "runs",
]
