"""How a resource is used, drawn by what it is: CPU and memory of machines, cards of accelerators, the filling of disks,
traffic beside the bandwidth that was bought, connections of databases and middleware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from console.book import lake
from console.charts.charts import Chart, Series
from console.words import _, when
from metering.judging import Reason, figure
from providers.base import ServiceKind
from providers.metrics import Array
from quota.errors import N_
from quota.inventory import Resource
from quota.units import ACCELERATOR, BANDWIDTH, BLOCK, MEMORY, NOTHING, VCPU, Amount, ClassCode


@dataclass(frozen=True, slots=True)
class Drawn:
    """One chart: ``lines`` name metrics of the lake and the part of a shape that they are a share of; ``figures``: how
    the names of a judgement's figures begin that belong to it; ``scale``: from the lake's unit to the shown one."""

    name: str
    title: str
    lines: Mapping[str, tuple[str, ClassCode | None]]
    figures: tuple[str, ...]
    unit: str = "%"
    scale: float = 1.0


STOLEN = "steal_pct"
"""Drawn only of machines whose source tells it."""

WAITED: Mapping[str, tuple[str, ClassCode | None]] = {
    "cpu_wait_pct": (N_("等待 CPU 的时间"), None),
    "mem_wait_pct": (N_("等待内存的时间"), None),
}
"""Drawn only where something waited."""

MACHINE = Drawn(
    "use",
    N_("CPU 与内存使用率(小时均值,占现有规格)"),
    {"cpu_pct": (N_("CPU"), VCPU), "mem_pct": (N_("内存"), MEMORY), STOLEN: (N_("CPU 被抢占"), None), **WAITED},
    ("cpu", "mem", "daily", "steal"),
)
CARD = Drawn("use", N_("加速卡使用率(小时均值)"), {"card_pct": (N_("加速卡"), ACCELERATOR)}, ("card",))
DISK = Drawn("use", N_("已用容量(小时均值,占现有容量)"), {"disk_pct": (N_("已用容量"), BLOCK)}, ("disk",))
TRAFFIC = Drawn(
    "use",
    N_("网络流量(小时均值)"),
    {"net_rx_kbps": (N_("入"), None), "net_tx_kbps": (N_("出"), None)},
    ("net", "line"),
    "Mbps",
    0.001,
)
CONNECTIONS = Drawn("connections", N_("连接数(小时均值)"), {"connections": (N_("连接数"), None)}, ("conn",), "")
INSTANCE = Drawn(
    "use",
    N_("CPU、内存与存储使用率(小时均值)"),
    {
        "cpu_pct": (N_("CPU"), None),
        "mem_pct": (N_("内存"), None),
        "disk_pct": (N_("存储"), None),
        STOLEN: (N_("CPU 被抢占"), None),
        **WAITED,
    },
    ("cpu", "mem", "disk", "daily", "steal"),
)

DRAWN: Mapping[ServiceKind, tuple[Drawn, ...]] = {
    ServiceKind.ACCELERATOR: (CARD,),
    ServiceKind.VOLUME: (DISK,),
    ServiceKind.OBJECT_STORE: (DISK,),
    ServiceKind.EIP: (TRAFFIC,),
    ServiceKind.BANDWIDTH: (TRAFFIC,),
    ServiceKind.DATABASE: (CONNECTIONS, INSTANCE),
    ServiceKind.MIDDLEWARE: (CONNECTIONS, INSTANCE),
}
"""What is drawn of a kind; of every other, CPU and memory."""


def use_charts(
    resource: Resource,
    start: datetime,
    end: datetime,
    *,
    had: Amount | None = None,
    target: Amount | None = None,
    reasons: Sequence[Mapping[str, Any]] = (),
) -> list[Chart]:
    """Hour by hour from ``start`` to ``end``, as far as anything was measured: at least one chart, which may be empty.

    ``had`` and ``target``: base units before and after a case; the target is drawn as a line. ``reasons``: the figures
    of a judgement; their thresholds are drawn in the chart that they belong to.
    """
    charts = [
        _chart(each, resource, start, end, had, target, reasons)
        for each in DRAWN.get(ServiceKind(resource.kind), (MACHINE,))
    ]
    return [each for each in charts if each.has_data] or charts[:1]


def _chart(
    drawn: Drawn,
    resource: Resource,
    start: datetime,
    end: datetime,
    had: Amount | None,
    target: Amount | None,
    reasons: Sequence[Mapping[str, Any]],
) -> Chart:
    found = lake().hours(resource.id, start, end, tuple(drawn.lines))
    instants = [datetime.fromtimestamp(int(ts), end.tzinfo) for ts in found.ts]
    series = [
        Series(_(label), np.round(found.values[metric] * drawn.scale, 3).tolist())
        for metric, (label, _kind) in drawn.lines.items()
        if _drawn(metric, found.values[metric])
    ]
    for label, kind in drawn.lines.values():
        before, after = (had or NOTHING).get(kind or VCPU), (target or NOTHING).get(kind or VCPU)
        if kind is not None and before and after is not None and after != before:
            name = _("目标规格(%(what)s)", what=_(label))
            series.append(Series(name, [round(100 * after / before, 1)] * len(instants), role="capacity"))
    bought = resource.actual().get(BANDWIDTH) if drawn is TRAFFIC else None
    if bought:
        series.append(Series(_("购买的带宽"), [float(bought)] * len(instants), role="capacity"))
    return Chart(
        drawn.name,
        _(drawn.title),
        instants,
        series,
        unit=drawn.unit,
        period=f"{when(start, only='date')} – {when(end, only='date')}",
        coverage=None if found.coverage is None else 100 * found.coverage,
        thresholds=_thresholds(drawn, reasons, bought),
    )


def _drawn(metric: str, values: Array) -> bool:
    """Whether there is something to draw of what is drawn only where there is."""
    if metric in WAITED:
        return bool((np.nan_to_num(values) > 0).any())
    return metric != STOLEN or bool(np.isfinite(values).any())


def _thresholds(drawn: Drawn, reasons: Sequence[Mapping[str, Any]], bought: int | None) -> list[tuple[str, float]]:
    """The judgement's thresholds in the unit of the chart; at most three."""
    lines: dict[str, float] = {}
    for row in reasons:
        reason = Reason(**row)
        about = figure(reason.figure)
        if not reason.figure.startswith(drawn.figures) or about.days:
            continue
        level = about.shown(reason.threshold)
        if drawn is TRAFFIC:
            if about.unit == "%" and not bought:
                continue
            level = level * (bought or 0) / 100 if about.unit == "%" else level * drawn.scale
        lines[f"{_(about.label)} {reason.op}"] = level
    return list(lines.items())[:3]
