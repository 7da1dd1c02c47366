"""What pages draw: charts with their tables, the use of a resource, outlooks, histories of a thing."""

from __future__ import annotations

from console.charts import outlooks
from console.charts.charts import Chart, Dot, Scatter, Series
from console.charts.outlooks import when_full
from console.charts.timelines import moment, shape, stated, timeline
from console.charts.use import use_charts

__all__ = [
    "Chart",
    "Dot",
    "Scatter",
    "Series",
    "moment",
    "outlooks",
    "shape",
    "stated",
    "timeline",
    "use_charts",
    "when_full",
]
