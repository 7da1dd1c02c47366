"""Forecasts of pools, departments, systems and machines, and how good they were."""

from __future__ import annotations

from metering.forecasting import demand, forecasts, report
from metering.forecasting.forecasts import AHEAD, HISTORY, SHARE, DemandForecast

__all__ = ["AHEAD", "HISTORY", "SHARE", "DemandForecast", "demand", "forecasts", "report"]
