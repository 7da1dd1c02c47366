"""The figures that resources are judged by: a row each in `FIGURES`. Pure.

What is registered here is measured in every window, kept by findings, understood in policies, offered by the policy's form
and told on pages; nothing else has to know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metering.filling import days_until_full, growth
from metering.judging.seen import DEMAND, DERIVED, TRAFFIC, MetricColumn, SeenWindow, share
from metering.quantiles import HUNDREDTHS, STARVED
from providers.metrics import Array
from quota.errors import N_

CONNECTED = ("database", "middleware")
"""Kinds whose connections are looked at."""

STORES = ("volume", "object_store")
"""Kinds whose use it is to hold something."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a resource, over a window of days; NaN = not known.

    label: its name; unit: written behind it; factor: from the stored to the shown value. of: how it is made of what was
    seen in the window, [r]; None for a circumstance, which has no window and is known from the inventory or the calendar.
    columns: which columns that takes (of the lake, or DEMAND, TRAFFIC), and kinds: of which kinds of resource
    they are read, () = of all. coverage: the figure that must reach a rule's coverage for the rule to believe this one; ""
    = it is believed always. whole: slots or days, kept as integers. days: of days only the whole ones that have passed are
    shown. offered: the policy's form offers it. little: the highest level (stored) of which it can be said that whatever stays below it
    is used little; None: it tells no use, or nothing follows where it is low. holds: kinds of which alone ``little`` counts, and for making
    them smaller alone: what holds little is not idle. costly: measured only in windows of whose costly figures a rule looks at
    one; elsewhere it is as if nothing had come. given: the figure that tells the same of the CPU time that the machine got,
    known only where some was kept from it: what makes a machine larger goes by that one, as what its host owes it is not to be had by
    another size.
    """

    code: str
    label: str
    unit: str = ""
    factor: float = 1.0
    of: Callable[[SeenWindow], Array] | None = None
    columns: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    coverage: str = ""
    whole: bool = False
    days: bool = False
    offered: bool = True
    costly: bool = False
    little: float | None = None
    holds: tuple[str, ...] = ()
    given: str = ""

    def plain(self, value: Any) -> float | int | None:
        """As a JSON value; NaN is None, slots and days stay whole."""
        if value != value:
            return None
        return int(value) if self.whole else round(float(value), 6)

    def shown(self, value: float) -> float:
        """A stored value in the unit that people read."""
        return value * self.factor

    def text(self, value: float | None) -> str:
        """A stored value as people read it, with its unit; "—" = not known."""
        if value is None:
            return "—"
        return f"{int(value):,}" if self.days else f"{round(self.shown(value), 2):g}{self.unit}"


FIGURES: dict[str, Figure] = {}
"""Code → figure, of those that are measured in a window, in the order in which they are told."""

CIRCUMSTANCES: dict[str, Figure] = {}
"""Code → figure, of those without a window."""


def register(*rows: Figure) -> None:
    """Add figures. ValueError, and none is added, for a code that is taken, or a coverage that is no figure."""
    codes = {*FIGURES, *CIRCUMSTANCES}
    measured = {*FIGURES, *(row.code for row in rows if row.of is not None)}
    for row in rows:
        if row.code in codes:
            raise ValueError(f"there is a figure {row.code} already")
        if row.coverage and row.coverage not in measured:
            raise ValueError(f"{row.code} is covered by {row.coverage}, which is no figure")
        codes.add(row.code)
    for row in rows:
        (CIRCUMSTANCES if row.of is None else FIGURES)[row.code] = row


def figure(code: str) -> Figure:
    """The figure called so; one that is told by its code where it is no longer registered, as old findings may name it."""
    return FIGURES.get(code) or CIRCUMSTANCES.get(code) or Figure(code, code)


def offered() -> Iterator[Figure]:
    """What a policy's form offers."""
    return (row for row in (*FIGURES.values(), *CIRCUMSTANCES.values()) if row.offered)


def plain(code: str, value: Any) -> float | int | None:
    """A figure's value as a JSON value."""
    return figure(code).plain(value)


def needed(kinds: frozenset[str]) -> tuple[str, ...]:
    """The lake's columns from which the figures of resources of these kinds are measured."""
    wanted: dict[str, None] = {}
    for row in FIGURES.values():
        if not row.kinds or kinds & set(row.kinds):
            for name in row.columns:
                wanted |= dict.fromkeys(DERIVED[name].of if name in DERIVED else (name,))
    return tuple(wanted)


def costly(codes: frozenset[str]) -> bool:
    """Whether one of these has its window's costly figures measured."""
    return any(code in FIGURES and FIGURES[code].costly for code in codes)


LITTLE_PERCENT = 70.0
"""Smaller shapes are chosen so that P95 stays at that level (``metering.judging.policy.STEADY``): what reaches it has nothing over."""


def _percent(
    code: str, label: str, column: str, of: Callable[[MetricColumn], Array], coverage: str = "", *,
    costly: bool = False, little: float | None = None,
) -> Figure:  # fmt: skip
    """A percentage of one column."""
    return Figure(
        code, label, "%", of=lambda seen: of(seen.column(column)), columns=(column,), coverage=coverage, costly=costly,
        little=little,
    )  # fmt: skip


def _use(
    code: str, label: str, column: str, of: Callable[[MetricColumn], Array], coverage: str, *, costly: bool = True
) -> Figure:
    """A percentage that tells how much something is used."""
    return _percent(code, label, column, of, coverage, costly=costly, little=LITTLE_PERCENT)


def _covered(code: str, label: str, column: str, *, kinds: tuple[str, ...] = (), costly: bool = False) -> Figure:
    """The share of the window's slots in which a column is known."""
    return Figure(
        code, label, "%", 100.0, lambda seen: seen.column(column).n / seen.wanted, (column,), kinds, code,
        offered=False, costly=costly,
    )  # fmt: skip


def _hot(code: str, label: str, coverage: str, *columns: str) -> Figure:
    """Days at or above the policy's hot level for the policy's minutes, of any of the columns."""

    def days(seen: SeenWindow) -> Array:
        hot = seen.column(columns[0]).hot
        for name in columns[1:]:
            hot = hot | seen.column(name).hot
        return np.asarray(hot.sum(axis=1))

    return Figure(code, label, of=days, columns=columns, coverage=coverage, whole=True, days=True, costly=True)


def _slots(code: str, label: str, of: Callable[[SeenWindow], Array]) -> Figure:
    return Figure(code, label, of=of, whole=True, offered=False)


def _circumstance(code: str, label: str) -> Figure:
    return Figure(code, label, days=True)


register(
    _slots("wanted", N_("窗口时段数"), lambda seen: np.full(len(seen.live), seen.wanted)),
    _slots("expected", N_("应采时段数"), lambda seen: seen.expected),
    _slots("live", N_("有效时段数"), lambda seen: seen.live),
    _slots("off", N_("关机时段数"), lambda seen: seen.off),
    _slots("frozen", N_("数据冻结时段数"), lambda seen: seen.frozen),
    # Of all slots of the window, so that a resource younger than it is covered only in part; and of those that were due.
    Figure("coverage", N_("采集覆盖率"), "%", 100.0, lambda seen: seen.live / seen.wanted),
    Figure("received", N_("应采样本到达率"), "%", 100.0, lambda seen: share(seen.live, seen.expected)),
    Figure("observed_days", N_("有数据天数"), of=lambda seen: seen.observed_days, whole=True, days=True),
)
register(
    # CPU is what was wanted: what was used, and what the hypervisor gave to others (steal). Nothing is taken from whom that leaves little;
    # whether a machine is to be larger goes by what it used (`_given`).
    _covered("cpu_coverage", N_("CPU 采集覆盖率"), DEMAND, costly=True),
    _use("cpu_mean", N_("CPU 均值"), DEMAND, lambda cpu: cpu.mean, "cpu_coverage"),
    _use("cpu_p50", N_("CPU P50"), DEMAND, lambda cpu: cpu.quantile(0.50), "cpu_coverage"),
    _use("cpu_p95", N_("CPU P95"), DEMAND, lambda cpu: cpu.quantile(0.95), "cpu_coverage"),
    _use("cpu_p99", N_("CPU P99"), DEMAND, lambda cpu: cpu.quantile(0.99), "cpu_coverage"),
    _use("cpu_max", N_("CPU 峰值"), DEMAND, lambda cpu: cpu.max, "cpu_coverage"),
    _use("daily_peak", N_("CPU 均峰值"), DEMAND, lambda cpu: cpu.daily_peak, "cpu_coverage"),
    _hot("cpu_hot_days", N_("CPU 高负载天数"), "cpu_coverage", DEMAND),
)
register(
    _covered("mem_coverage", N_("内存采集覆盖率"), "mem_pct", costly=True),
    _use("mem_mean", N_("内存均值"), "mem_pct", lambda mem: mem.mean, "mem_coverage"),
    _use("mem_p95", N_("内存 P95"), "mem_pct", lambda mem: mem.quantile(0.95), "mem_coverage"),
    _use("mem_max", N_("内存峰值"), "mem_pct", lambda mem: mem.max, "mem_coverage"),
    _hot("mem_hot_days", N_("内存高负载天数"), "mem_coverage", "mem_pct"),
    _hot("hot_days", N_("高负载天数"), "coverage", DEMAND, "mem_pct"),
)
register(
    _covered("net_coverage", N_("网络采集覆盖率"), TRAFFIC),
    Figure(
        "net_mean", N_("网络均值"), " kbps", of=lambda seen: seen.column(TRAFFIC).mean,
        columns=(TRAFFIC,), coverage="net_coverage", little=1000.0,
    ),
    Figure(
        "disk_last", N_("磁盘使用率"), "%", of=lambda seen: seen.column("disk_pct").last, columns=("disk_pct",),
        little=LITTLE_PERCENT, holds=STORES,
    ),
    Figure(
        "disk_growth", N_("磁盘使用率增长"), "%", of=lambda seen: growth(seen.column("disk_pct").daily_last),
        columns=("disk_pct",), costly=True,
    ),
    # Where nothing says that it will be full, it is not known.
    Figure(
        "disk_full_days", N_("距磁盘写满天数"), of=lambda seen: days_until_full(seen.column("disk_pct").daily_last),
        columns=("disk_pct",), days=True, costly=True,
    ),
    _covered("card_coverage", N_("加速卡采集覆盖率"), "card_pct"),
    _use("card_mean", N_("加速卡均值"), "card_pct", lambda card: card.mean, "card_coverage", costly=False),
    Figure(
        "line_mean", N_("带宽使用率均值"), "%", of=lambda seen: seen.line[0], columns=(TRAFFIC,), coverage="net_coverage",
        little=LITTLE_PERCENT,
    ),
    Figure(
        "line_peak", N_("带宽使用率均峰值"), "%", of=lambda seen: seen.line[1], columns=(TRAFFIC,), coverage="net_coverage",
        little=LITTLE_PERCENT,
    ),
    _covered("conn_coverage", N_("连接数采集覆盖率"), "connections", kinds=CONNECTED),
    Figure(
        "conn_max", N_("最多连接数"), of=lambda seen: seen.column("connections").max,
        columns=("connections",), kinds=CONNECTED, coverage="conn_coverage", little=100.0,
    ),
    _covered("conn_full_coverage", N_("连接数使用率采集覆盖率"), "conn_pct", kinds=CONNECTED),
    Figure(
        "conn_full", N_("连接数使用率均峰值"), "%", of=lambda seen: seen.column("conn_pct").daily_peak,
        columns=("conn_pct",), kinds=CONNECTED, coverage="conn_full_coverage",
    ),
    _covered("steal_coverage", N_("CPU 抢占采集覆盖率"), "steal_pct"),
    _percent("steal_mean", N_("CPU 被抢占均值"), "steal_pct", lambda steal: steal.mean, "steal_coverage"),
    Figure(
        "starved", N_("供给不足时段占比"), "%", 100.0, lambda seen: seen.column("steal_pct").at_least(STARVED / HUNDREDTHS),
        ("steal_pct",), coverage="steal_coverage",
    ),
)  # fmt: skip


def _given(code: str, label: str) -> None:
    """Have a figure of demand told of what was given, too, as ``code``_given."""
    base, name = FIGURES[code], f"{code}_given"
    how = base.of
    if how is None:
        raise ValueError(f"{code} is told by nothing")

    def told(seen: SeenWindow) -> Array:
        values, part = np.full(len(seen.live), np.nan), seen.given()
        if part is not None:
            rows, view = part
            values[rows] = how(view)
        return values

    FIGURES[code] = replace(base, given=name)
    register(replace(base, code=name, label=label, of=told, offered=False, little=None))


_given("cpu_mean", N_("CPU 实得均值"))
_given("cpu_p50", N_("CPU 实得 P50"))
_given("cpu_p95", N_("CPU 实得 P95"))
_given("cpu_p99", N_("CPU 实得 P99"))
_given("cpu_max", N_("CPU 实得峰值"))
_given("daily_peak", N_("CPU 实得均峰值"))
_given("cpu_hot_days", N_("CPU 实得高负载天数"))
_given("hot_days", N_("实得高负载天数"))
GIVEN = {row.code: row.given for row in FIGURES.values() if row.given}
"""Code of a figure of demand → of the same of what was given."""

register(
    _circumstance("off_days", N_("关机天数")),
    _circumstance("dead_days", N_("数据冻结天数")),
    _circumstance("unattached_days", N_("未挂载天数")),
    _circumstance("age_days", N_("上线天数")),
    _circumstance("cycle_left", N_("业务周期尚余天数")),
)
