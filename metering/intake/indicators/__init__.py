"""Scorecard indicators whose evidence is what came in: each registers itself."""

from __future__ import annotations

from metering.intake.indicators import completeness, delivered_cpu_time, delivered_sizes

__all__ = ["completeness", "delivered_cpu_time", "delivered_sizes"]
