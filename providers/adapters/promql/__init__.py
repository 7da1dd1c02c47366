"""Usage out of stores that answer PromQL: Prometheus, VictoriaMetrics, Thanos, Mimir."""

from __future__ import annotations

from providers.adapters.promql.mappings import EXPORTERS, Exporter, MappingRow, ReadingManner
from providers.adapters.promql.meter import PromQL

__all__ = [
    "EXPORTERS",
    "Exporter",
    "MappingRow",
    "PromQL",
    "ReadingManner",
]
