"""Scorecard indicators whose evidence is findings and cases: each registers itself."""

from __future__ import annotations

from metering.cases.indicators import activity, handling, idle, replies, utilisation

__all__ = ["activity", "handling", "idle", "replies", "utilisation"]
