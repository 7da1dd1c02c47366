"""Usage out of stores that answer PromQL: Prometheus, VictoriaMetrics, Thanos, Mimir."""

from __future__ import annotations

from providers.adapters.promql.mappings import EXPORTERS, Exporter, Manner, Row
from providers.adapters.promql.meter import PromQL

__all__ = [
    "EXPORTERS",
    "Exporter",
    "Manner",
    "PromQL",
    "Row",
]
