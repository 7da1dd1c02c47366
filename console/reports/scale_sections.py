"""How much there is, to whom it is promised, and how much of it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.reports.documents import Block, ChartBlock, HeadingBlock, NumberFormat, Paragraph, ReportColumn, Say, Table
from console.reports.inputs import Inputs
from console.words import KINDS
from metering import drawings
from metering.judging import USES
from metering.reports import MOST_SYSTEMS
from quota.directory import HOSTED_LABELS
from quota.errors import N_

COUNTED = (
    ("departments", N_("使用单位"), N_("个")),
    ("systems", N_("信息系统"), N_("个")),
    ("machines", N_("云主机与裸金属"), N_("台")),
    ("domestic_machines", N_("　其中信创"), N_("台")),
    ("resources", N_("全部资源"), N_("个")),
)

STATES = {
    "full": N_("已承诺完"),
    "foretold": N_("按趋势可预计"),
    "steady": N_("可预见的期间内不会用完"),
    "short": N_("历史不足，不能预计"),
}


def scale(told: Inputs) -> Iterator[Block]:
    say, at = told.say, told["scale"]["at"]
    end, start, year = at["end"], at["start"], at.get("year_before")
    columns = [
        ReportColumn(say(N_("项目"))),
        ReportColumn(say(N_("单位"))),
        ReportColumn(say(N_("期末")), NumberFormat.QUANTITY),
        ReportColumn(say(N_("期初")), NumberFormat.QUANTITY),
        ReportColumn(say(N_("变化")), NumberFormat.QUANTITY),
        ReportColumn(say(N_("上年同期末")), NumberFormat.QUANTITY),
    ]
    rows: list[list[Any]] = []
    for name, label, unit in COUNTED:
        rows.append([say(label), say(unit), end[name], start[name], end[name] - start[name], year and year[name]])
    for code in sorted({*end["amounts"], *start["amounts"]}, key=list(told.classes).index):
        now, then = (one["amounts"].get(code, 0) for one in (end, start))
        rows.append(
            [
                told.label(code),
                told.unit(code),
                told.amount(code, now),
                told.amount(code, then),
                _signed(told, code, now - then),
                told.amount(code, year["amounts"].get(code, 0)) if year else None,
            ]
        )
    yield Table(say(N_("规模与变化")), columns, rows)
    if end["machine_vcpu"]:
        share = 100 * end["domestic_vcpu"] / end["machine_vcpu"]
        yield Paragraph(
            say(
                N_("信创资源占全部 vCPU 的 %(share)s%%（%(part)s / %(whole)s）。"),
                share=f"{share:.1f}",
                part=f"{end['domestic_vcpu']:,}",
                whole=f"{end['machine_vcpu']:,}",
            )
        )
    yield from _on_cloud(told)
    yield from _hosting(told)
    services = [[told.named(KINDS, kind), count] for kind, count in told["scale"]["services"]]
    if services:
        yield Table(
            say(N_("资源构成")),
            [ReportColumn(say(N_("类型"))), ReportColumn(say(N_("数量")), NumberFormat.COUNT)],
            services,
        )
    if len(told["owners"]) > 1 or told.kind == "city":
        yield from _owners(told)


def _on_cloud(told: Inputs) -> Iterator[Block]:
    """上云率 beside the year's target; nothing in editions that were made before it was told."""
    say, share = told.say, told.of.get("cloud_share")
    if not share or not share["systems"]:
        return
    now = 100 * share["on"] / share["systems"]
    figures = {"count": f"{share['systems']:,}", "on": f"{share['on']:,}", "share": f"{now:.1f}"}
    if share["target"] is None:
        yield Paragraph(say(N_("在用信息系统 %(count)s 个，其中 %(on)s 个在云上运行，上云率 %(share)s%%。"), **figures))
        return
    figures |= {
        "year": str(share["year"]),
        "target": f"{share['target'] / 10:.1f}",
        "by": f"{abs(now - share['target'] / 10):.1f}",
    }
    reached = 10 * now >= share["target"]
    yield Paragraph(
        say(
            N_(
                "在用信息系统 %(count)s 个，其中 %(on)s 个在云上运行，上云率 %(share)s%%，%(year)s 年度目标 %(target)s%%，已达到。"
            )
            if reached
            else N_(
                "在用信息系统 %(count)s 个，其中 %(on)s 个在云上运行，上云率 %(share)s%%，%(year)s 年度目标 %(target)s%%，相差 %(by)s 个百分点。"
            ),
            **figures,
        )
    )
    rows = [
        [
            one["department"],
            one["systems"],
            one["on"],
            100 * one["on"] / one["systems"] if one["systems"] else None,
            one["target"] / 10,
        ]
        for one in share["departments"]
    ]
    if rows:
        columns = [
            ReportColumn(say(N_("使用单位"))),
            ReportColumn(say(N_("信息系统")), NumberFormat.COUNT),
            ReportColumn(say(N_("在云上的信息系统")), NumberFormat.COUNT),
            ReportColumn(say(N_("上云率")), NumberFormat.PERCENT, "%"),
            ReportColumn(say(N_("目标")), NumberFormat.PERCENT, "%"),
        ]
        yield Table(say(N_("附表：各单位上云率")), columns, rows, annex=True)


def _hosting(told: Inputs) -> Iterator[Block]:
    """Equipment that companies keep for departments; editions of before have none."""
    say, found = told.say, told.of.get("hosting", [])
    if not found:
        return
    columns = [
        ReportColumn(say(N_("云服务商"))), ReportColumn(say(N_("类型"))),
        ReportColumn(say(N_("期末在托")), NumberFormat.COUNT), ReportColumn(say(N_("占用")), NumberFormat.COUNT, "U"),
        ReportColumn(say(N_("额定功率")), NumberFormat.COUNT, say(N_("瓦"))), ReportColumn(say(N_("其中已到期")), NumberFormat.COUNT),
        ReportColumn(say(N_("本期登记")), NumberFormat.COUNT), ReportColumn(say(N_("本期取回")), NumberFormat.COUNT),
    ]  # fmt: skip
    names = ("there", "height_u", "power_w", "over", "came", "left")
    rows = [[one["provider"], told.named(HOSTED_LABELS, one["kind"]), *(one[name] for name in names)] for one in found]
    yield Table(say(N_("托管设备")), columns, rows)


def _signed(told: Inputs, code: str, by: int) -> Any:
    shown = told.amount(code, abs(by))
    return shown if by >= 0 or shown is None or isinstance(shown, str) else -shown


def _owners(told: Inputs) -> Iterator[Block]:
    say = told.say
    rows = [
        [one["department"] or say(N_("无归属")), one["systems"], one["machines"], one["resources"],
         told.amount("vcpu", one["vcpu"]), told.amount("memory", one["memory"])]
        for one in told["owners"]
    ]  # fmt: skip
    if not rows:
        return
    columns = [
        ReportColumn(say(N_("使用单位"))),
        ReportColumn(say(N_("信息系统")), NumberFormat.COUNT),
        ReportColumn(say(N_("云主机")), NumberFormat.COUNT),
        ReportColumn(say(N_("资源")), NumberFormat.COUNT),
        ReportColumn("vCPU", NumberFormat.QUANTITY),
        ReportColumn(told.label("memory"), NumberFormat.QUANTITY, told.unit("memory")),
    ]
    yield Table(say(N_("附表：各单位资源")), columns, rows, annex=True)


def allocation(told: Inputs) -> Iterator[Block]:
    say = told.say
    if not told["allocations"]:
        return
    whole = any(one["installed"] is not None for one in told["allocations"])
    columns = [
        ReportColumn(say(N_("资源池"))),
        ReportColumn(say(N_("网络区"))),
        ReportColumn(say(N_("类别"))),
        ReportColumn(say(N_("单位"))),
    ]
    if whole:
        columns.append(ReportColumn(say(N_("可分配")), NumberFormat.QUANTITY))
    columns += [
        ReportColumn(say(N_("已承诺")), NumberFormat.QUANTITY),
        ReportColumn(say(N_("已使用")), NumberFormat.QUANTITY),
    ]
    if whole:
        columns.append(ReportColumn(say(N_("分配率")), NumberFormat.PERCENT, "%"))
    columns.append(ReportColumn(say(N_("期初已承诺")), NumberFormat.QUANTITY))
    rows = []
    for one in told["allocations"]:
        code = one["kind"]
        row: list[Any] = [one["pool"], one["zone"], told.label(code), told.unit(code)]
        row += [told.amount(code, one["installed"])] if whole else []
        row += [told.amount(code, one["promised"]), told.amount(code, one["used"])]
        row += [100 * one["promised"] / one["installed"] if one["installed"] else None] if whole else []
        rows.append([*row, told.amount(code, one["promised_before"])])
    yield Table(say(N_("分配与承诺")), columns, rows)
    yield Paragraph(say(N_("口径：已承诺为授予、预占、已使用与借入之和，以账本截至期末的分录为准。")), note=True)
    if line := told["promised"]:
        yield _promised(say, line)
    yield from _outlook(told)


def _promised(say: Say, line: dict[str, Any]) -> ChartBlock:
    title = say(N_("已承诺 vCPU，逐日"))
    days = [one[5:] for one in line["days"]]
    said = say(
        N_("已承诺 vCPU 由期初日的 %(first)s 到期末日的 %(last)s。"),
        first=f"{line['vcpu'][0]:,}",
        last=f"{line['vcpu'][-1]:,}",
    )
    return ChartBlock(title, drawings.trend(title, days, line["vcpu"]), said)


def _outlook(told: Inputs) -> Iterator[Block]:
    say = told.say
    if not told["outlooks"]:
        return
    known = [one for one in told["outlooks"] if one["state"] != "short"]
    yield HeadingBlock(say(N_("容量与用完日期")), 2)
    if len(known) < len(told["outlooks"]):
        yield Paragraph(say(N_("%(count)s 项历史不足，不能预计何时用完。"), count=len(told["outlooks"]) - len(known)))
    if not known:
        return
    columns = [
        ReportColumn(say(N_("资源池"))), ReportColumn(say(N_("类别"))), ReportColumn(say(N_("单位"))), ReportColumn(say(N_("剩余")), NumberFormat.QUANTITY),
        ReportColumn(say(N_("预计"))), ReportColumn(say(N_("用完日期"))), ReportColumn(say(N_("最早"))), ReportColumn(say(N_("最晚"))),
    ]  # fmt: skip
    rows = [
        [one["pool"], told.label(one["kind"]), told.unit(one["kind"]), told.amount(one["kind"], max(one["left"], 0)),
         say(STATES[one["state"]]), one["on"], one["earliest"], one["latest"]]
        for one in known
    ]  # fmt: skip
    yield Table(say(N_("容量与用完日期")), columns, rows)


def use(told: Inputs) -> Iterator[Block]:
    say, found = told.say, told["use"]
    if not found["whole"]["machines"]:
        return
    columns = [
        ReportColumn(say(N_("资源池"))), ReportColumn(say(N_("网络区"))), ReportColumn(say(N_("云主机")), NumberFormat.COUNT),
        ReportColumn("vCPU", NumberFormat.COUNT), ReportColumn(say(N_("CPU 均值")), NumberFormat.PERCENT, "%"),
        ReportColumn("CPU P95", NumberFormat.PERCENT, "%"), ReportColumn(say(N_("CPU 峰值")), NumberFormat.PERCENT, "%"),
        ReportColumn(say(N_("内存均值")), NumberFormat.PERCENT, "%"), ReportColumn(say(N_("内存 P95")), NumberFormat.PERCENT, "%"),
        ReportColumn(say(N_("采集覆盖率")), NumberFormat.PERCENT, "%"),
    ]  # fmt: skip
    names = ("machines", "vcpu", "cpu", "cpu_p95", "cpu_top", "mem", "mem_p95", "coverage")
    rows: list[list[Any]] = [[one["pool"], one["zone"], *(one[name] for name in names)] for one in found["pools"]]
    if len(rows) > 1:
        rows.append([say(N_("合计")), "", *(found["whole"][name] for name in names)])
    yield Table(say(N_("资源池使用率")), columns, rows)
    yield Paragraph(
        say(
            N_(
                "口径：期末在册的云主机与裸金属，以报告期内每个采样时隙为准；均值与 P95 按 vCPU（内存按容量）加权；"
                "峰值为其中单台的最高值；没有数据的不计入均值，只降低采集覆盖率。"
            )
        ),
        note=True,
    )
    yield from _bands(told)
    yield from _systems(told)


def _bands(told: Inputs) -> Iterator[Block]:
    say, bands = told.say, told["use"]["bands"]
    whole = sum(one["machines"] for one in bands)
    labels = [_band(say, one) for one in bands]
    title = say(N_("云主机按 CPU 均值分布（台）"))
    yield ChartBlock(title, drawings.bars(title, labels, [one["machines"] for one in bands]), title)
    columns = [
        ReportColumn(say(N_("CPU 均值"))), ReportColumn(say(N_("云主机")), NumberFormat.COUNT), ReportColumn("vCPU", NumberFormat.COUNT),
        ReportColumn(say(N_("占比")), NumberFormat.PERCENT, "%"),
    ]  # fmt: skip
    rows = [
        [label, one["machines"], one["vcpu"], 100 * one["machines"] / whole if whole else None]
        for label, one in zip(labels, bands, strict=True)
    ]
    yield Table(say(N_("使用率分段")), columns, rows)


def _band(say: Say, one: dict[str, Any]) -> str:
    if one["low"] is None:
        return say(N_("数据不足"))
    if one["high"] is None:
        return f"≥{one['low']:g}%"
    return f"{one['low']:g}–{one['high']:g}%"


BY_BOTH = N_(
    "口径：CPU 均值低于 %(low_cpu)s%% 且内存均值低于 %(low_memory)s%% 为低；CPU 高于 %(high_cpu)s%% 或内存高于 "
    "%(high_memory)s%% 为高；采集覆盖率不足 %(covered)s%% 的不判。"
)
BY_EITHER = N_(
    "口径：CPU 均值低于 %(low_cpu)s%% 或内存均值低于 %(low_memory)s%% 为低；CPU 高于 %(high_cpu)s%% 或内存高于 "
    "%(high_memory)s%% 为高；采集覆盖率不足 %(covered)s%% 的不判。"
)


def _systems(told: Inputs) -> Iterator[Block]:
    say, found = told.say, told["use"]
    rows = found["systems"]
    if not rows:
        return
    counts, basis = found["counts"], found["basis"]
    yield HeadingBlock(say(N_("信息系统")), 2)
    yield Paragraph(
        say(
            N_(
                "%(all)s 个信息系统中，利用率低 %(low)s 个，正常 %(normal)s 个，利用率高 %(high)s 个，数据不足 %(unknown)s 个。"
            ),
            all=len(rows),
            low=counts["system_low"],
            normal=counts["normal"],
            high=counts["system_high"],
            unknown=counts["unknown"],
        )
    )
    yield Paragraph(
        say(
            BY_EITHER if basis.get("either") else BY_BOTH,
            **{name: f"{figure:g}" for name, figure in basis.items()},
        ),
        note=True,
    )
    for use, title in (("system_low", N_("利用率低的信息系统")), ("system_high", N_("利用率高的信息系统"))):
        some = [one for one in rows if one["use"] == use]
        if some:
            yield _system_table(told, say(title), some[:MOST_SYSTEMS])
            if len(some) > MOST_SYSTEMS:
                rest = len(some) - MOST_SYSTEMS
                yield Paragraph(say(N_("按 vCPU 列出前 %(most)s 个，其余 %(rest)s 个见附表。"), most=MOST_SYSTEMS, rest=rest), note=True)  # fmt: skip
    yield _system_table(told, say(N_("附表：各信息系统使用率")), rows, annex=True)


def _system_table(told: Inputs, title: str, rows: list[dict[str, Any]], *, annex: bool = False) -> Table:
    say = told.say
    columns = [
        ReportColumn(say(N_("信息系统"))), ReportColumn(say(N_("使用单位"))), ReportColumn(say(N_("云主机")), NumberFormat.COUNT),
        ReportColumn("vCPU", NumberFormat.COUNT), ReportColumn("CPU", NumberFormat.PERCENT, "%"), ReportColumn("CPU P95", NumberFormat.PERCENT, "%"),
        ReportColumn(say(N_("内存")), NumberFormat.PERCENT, "%"), ReportColumn(say(N_("采集覆盖率")), NumberFormat.PERCENT, "%"),
        ReportColumn(say(N_("结论"))),
    ]  # fmt: skip
    return Table(
        title,
        columns,
        [
            [one["system"], one["department"], one["machines"], one["vcpu"], one["cpu"], one["cpu_p95"], one["mem"],
             one["coverage"], told.named(USES, one["use"])]
            for one in rows
        ],
        annex=annex,
    )  # fmt: skip


def ranking(told: Inputs) -> Iterator[Block]:
    say = told.say
    rows = told["ranking"]
    if not rows:
        return
    yield Paragraph(
        say(N_("按 CPU 均值由高到低；采集覆盖率不足 %(covered)s%% 的不排名。低用占比为 CPU 均值低于 10%% 的云主机所占 vCPU 的比例。"),
            covered=f"{told['use']['basis']['covered']:g}")
    )  # fmt: skip
    columns = [
        ReportColumn(say(N_("名次"))), ReportColumn(say(N_("使用单位"))), ReportColumn(say(N_("云主机")), NumberFormat.COUNT),
        ReportColumn("vCPU", NumberFormat.COUNT), ReportColumn(say(N_("CPU 均值")), NumberFormat.PERCENT, "%"),
        ReportColumn(say(N_("内存均值")), NumberFormat.PERCENT, "%"), ReportColumn(say(N_("低用占比")), NumberFormat.PERCENT, "%"),
        ReportColumn(say(N_("采集覆盖率")), NumberFormat.PERCENT, "%"),
    ]  # fmt: skip
    yield Table(
        say(N_("使用单位排名")),
        columns,
        [
            [str(place) if one["ranked"] else say(N_("不排名")), one["department"], one["machines"], one["vcpu"], one["cpu"],
             one["mem"], one["low_share"], one["coverage"]]
            for place, one in enumerate(rows, 1)
        ],
    )  # fmt: skip
