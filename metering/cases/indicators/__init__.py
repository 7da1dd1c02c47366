"""Scorecard indicators whose evidence is findings and cases: each registers itself."""

from __future__ import annotations

from metering.cases.indicators import handling, idle, replies, utilisation

__all__ = ["handling", "idle", "replies", "utilisation"]
