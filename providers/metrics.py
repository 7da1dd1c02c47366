"""What can be measured of a resource: the table of metrics, and the grid of slots that samples lie in. Pure.

A metric is a row of `METRICS`. The lake's columns, the limits of what is believed, the headings by which files name it and the
series by which agents push it all follow from the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of numbers whose type and shape its place tells."""

STEP_S = 300
"""Seconds from one sample to the next, where nothing else is said."""
SLOTS = 86_400 // STEP_S
"""Samples of a day at that step."""

ABSENT, LIVE, OFF, FROZEN = range(4)
"""States of a slot: nothing came; live; off but reporting (vcpu = 0); the same values for too long."""

MISSING = np.uint16(65535)
"""The uint16 that stands for "not reported"; it sorts behind every value."""
MOST_PERCENT = 655.34
"""The largest percentage that can be kept: hundredths in 16 bits, the last one being MISSING."""

KBPS_IN_KBS = 8.192
"""Throughput in KB/s means 1,024 bytes a second (as the Bitbrains traces have it), kbit/s a thousand bits."""
PERIOD_S = 300
"""CloudWatch reports bytes in a period of so many seconds."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured, and one column of the lake.

    limit: above it a value is absurd and refused. telling: from here on a value has digits enough that a
    live machine does not repeat it by chance for an hour; None = it may rightly stand still (memory, disk).
    joined: added when days had been closed without it: what does not report it is marked as it was before.
    Percentages are uint16 hundredths, clipped at MOST_PERCENT; the rest float32 with NaN for "not reported".

    headings: headings of files that mean it, as `plain` leaves them, several in a text with blanks between, each text with
    the factor from their unit to the metric's. series: gauges of exporters that are the metric as it is; several
    series of one machine (a card each) are averaged; shares: those that say it as a share of 1. ``guanjia_<name>`` is
    understood always.
    """

    name: str
    unit: str
    limit: float
    telling: float | None = None
    percent: bool = False
    histogram: bool = False
    last: bool = False
    joined: bool = False
    headings: tuple[tuple[float, str], ...] = ()
    series: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the lake's column."""
        return np.dtype(np.uint16 if self.percent else np.float32)

    @property
    def most(self) -> float:
        """Above it a figure in a person's file is refused: files are looked at again, so nothing is clipped."""
        return MOST_PERCENT if self.percent else self.limit


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        # Over 100 % is real (bursting above the nominal clock: 182 % seen); ten times the machine is not.
        Metric(
            "cpu_pct", "%", 1_000, telling=0.1, percent=True, histogram=True,
            headings=(
                (1, "cpu_pct cpuusage[%] cpuutilization cpu_utilization_asg_misconfiguration"),
                (1, "cpu使用率 cpu使用率(%) cpu利用率 cpu利用率(%)"),
            ),
        ),
        # Used against a provisioned figure that may be 1 MiB: 153,600 % seen.
        Metric(
            "mem_pct", "%", 1_000_000, percent=True, histogram=True,
            headings=(
                (1, "mem_pct memory_pct memoryutilization mem_used_percent"),
                (1, "内存使用率 内存使用率(%) 内存利用率 内存利用率(%)"),
            ),
        ),
        Metric(
            "disk_pct", "%", 1_000, percent=True, last=True,
            headings=((1, "disk_pct disk_used_percent 磁盘使用率 磁盘使用率(%) 磁盘利用率(%)"),),
        ),
        Metric(
            "card_pct", "%", 1_000, telling=0.1, percent=True,
            headings=((1, "card_pct gpu_pct npu_pct 加速卡使用率 加速卡使用率(%) 显卡使用率(%)"),),
            series=("DCGM_FI_DEV_GPU_UTIL", "npu_chip_info_utilization"), shares=("DCGM_FI_DEV_GPU_UTIL_RATIO",),
        ),
        Metric(
            "net_rx_kbps", "kbit/s", 1e9, telling=8.0,
            headings=(
                (1, "net_rx_kbps 入流量(kbps) 入带宽(kbps)"),
                (KBPS_IN_KBS, "net_rx_kbs networkreceivedthroughput[kb/s] 入流量(kb/s)"),
                (8 / 1000 / PERIOD_S, "networkin"),
            ),
        ),
        Metric(
            "net_tx_kbps", "kbit/s", 1e9, telling=8.0,
            headings=(
                (1, "net_tx_kbps 出流量(kbps) 出带宽(kbps)"),
                (KBPS_IN_KBS, "net_tx_kbs networktransmittedthroughput[kb/s] 出流量(kb/s)"),
                (8 / 1000 / PERIOD_S, "networkout"),
            ),
        ),
        Metric(
            "disk_read_kbs", "KiB/s", 1e9, telling=1.0,
            headings=(
                (1, "disk_read_kbs diskreadthroughput[kb/s] 磁盘读(kb/s) 磁盘读取(kb/s)"),
                (1 / 1024 / PERIOD_S, "diskreadbytes"),
            ),
        ),
        Metric(
            "disk_write_kbs", "KiB/s", 1e9, telling=1.0,
            headings=(
                (1, "disk_write_kbs diskwritethroughput[kb/s] 磁盘写(kb/s) 磁盘写入(kb/s)"),
                (1 / 1024 / PERIOD_S, "diskwritebytes"),
            ),
        ),
        Metric(
            "connections", "", 1e9, telling=10.0,
            headings=((1, "connections databaseconnections 连接数"),),
            series=("mysql_global_status_threads_connected", "redis_connected_clients"),
        ),
        # Of as many as the instance takes.
        Metric(
            "conn_pct", "%", 1_000, percent=True, joined=True,
            headings=((1, "conn_pct connection_usage 连接数使用率 连接数使用率(%) 连接使用率(%)"),),
        ),
        # What the machine wanted and the hypervisor gave to others, of the time of its CPUs.
        Metric("steal_pct", "%", 1_000, percent=True, joined=True, headings=((1, "steal_pct cpu_steal_pct cpu被抢占率(%)"),)),
        # Signs that more is wanted than is seen used. Tasks that run or want to, of as many as the machine has CPUs.
        Metric(
            "load_pct", "%", 100_000, percent=True, joined=True,
            headings=((1, "load_pct 运行队列占核数比 运行队列占核数比(%)"),),
        ),
        # Of the time: how much of it something that could have run waited for a CPU, or for memory (Linux' PSI, "some").
        Metric(
            "cpu_wait_pct", "%", 101, percent=True, joined=True,
            headings=((1, "cpu_wait_pct cpu等待时间占比 cpu等待时间占比(%)"),),
        ),
        Metric(
            "mem_wait_pct", "%", 101, percent=True, joined=True,
            headings=((1, "mem_wait_pct 内存等待时间占比 内存等待时间占比(%)"),),
        ),
        # Of all reads and writes that ended, the mean.
        Metric(
            "disk_wait_ms", "ms", 3_600_000, joined=True,
            headings=((1, "disk_wait_ms 磁盘时延 磁盘时延(ms) 磁盘读写时延(ms)"),),
        ),
    )
}  # fmt: skip


def reported(values: Array) -> NDArray[np.bool_]:
    """Where a column of samples holds a value."""
    if values.dtype.kind == "f":
        return ~np.isnan(values)
    present: NDArray[np.bool_] = values != np.iinfo(values.dtype).max
    return present
