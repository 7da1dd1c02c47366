"""Pages of judging: findings, systems, departments, policies, busy periods, forecasts."""

from __future__ import annotations
