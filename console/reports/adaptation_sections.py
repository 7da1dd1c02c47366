"""信创 and IPv6: how far systems have come; protection: what was classed and assessed, and what was not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from console.reports.documents import Block, HeadingBlock, NumberFormat, Paragraph, ReportColumn, Table
from console.reports.inputs import Inputs
from quota.directory import DATA_LEVELS
from quota.errors import N_

ASSESSED_FROM = 3
"""等保 level from which a system must be assessed."""

System = Mapping[str, Any]


def adaptation(told: Inputs) -> Iterator[Block]:
    """Editions of before tell nothing of it."""
    found = told.of.get("adaptation") or {"pools": [], "systems": []}
    if not found["pools"] and not found["systems"]:
        return
    say, systems = told.say, found["systems"]
    present = [one for one in systems if one["machines"]]
    if present:
        yield Paragraph(_domestic_said(told, present))
    if len({one["department"] for one in present}) > 1:
        yield _departments(told, present)
    if found["pools"]:
        yield HeadingBlock(say(N_("IPv6 支持")), 2)
        yield from _ipv6(told, found["pools"], present)
    if not systems and told.kind != "provider":
        yield Paragraph(say(N_("截至期末，没有登记在用的信息系统，因此不统计迁移进度、数据分级与测评。")), note=True)
    if systems:
        yield HeadingBlock(say(N_("数据分级与测评")), 2)
        yield from _protection(told, systems)
        yield _annex(told, systems)


def _moved(one: System) -> bool:
    return bool(one["domestic"] == one["machines"])


def _late(told: Inputs, one: System) -> bool:
    return not _moved(one) and one["planned"] is not None and one["planned"] <= told["period"]["last"]


def _domestic_said(told: Inputs, present: Sequence[System]) -> str:
    moved = sum(_moved(one) for one in present)
    return told.say(
        N_("%(all)s 个有云主机的信息系统中，%(moved)s 个已全部在信创资源池，%(partly)s 个部分在，%(none)s 个未迁移；%(late)s 个过了计划完成日。"),
        all=len(present),
        moved=moved,
        partly=sum(0 < one["domestic"] < one["machines"] for one in present),
        none=sum(not one["domestic"] for one in present),
        late=sum(_late(told, one) for one in present),
    )  # fmt: skip


def _departments(told: Inputs, present: Sequence[System]) -> Table:
    say = told.say
    columns = [
        ReportColumn(say(N_("使用单位"))), ReportColumn(say(N_("信息系统")), NumberFormat.COUNT),
        ReportColumn(say(N_("已迁信创")), NumberFormat.COUNT), ReportColumn(say(N_("部分迁移")), NumberFormat.COUNT),
        ReportColumn(say(N_("未迁移")), NumberFormat.COUNT), ReportColumn(say(N_("过计划日")), NumberFormat.COUNT),
        ReportColumn(say(N_("无计划日")), NumberFormat.COUNT), ReportColumn(say(N_("完成率")), NumberFormat.PERCENT, "%"),
    ]  # fmt: skip
    by: dict[str, list[System]] = {}
    for one in present:
        by.setdefault(one["department"] or say(N_("无归属")), []).append(one)
    rows = [
        [
            name, len(mine), sum(map(_moved, mine)), sum(0 < one["domestic"] < one["machines"] for one in mine),
            sum(not one["domestic"] for one in mine), sum(_late(told, one) for one in mine),
            sum(not _moved(one) and one["planned"] is None for one in mine), 100 * sum(map(_moved, mine)) / len(mine),
        ]
        for name, mine in by.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: (-row[-1], -row[1], row[0]))
    return Table(say(N_("各单位信创迁移进度")), columns, rows)


def _ipv6(told: Inputs, pools: Sequence[System], present: Sequence[System]) -> Iterator[Block]:
    say = told.say
    columns = [
        ReportColumn(say(N_("资源池"))), ReportColumn(say(N_("云服务商"))), ReportColumn(say(N_("云主机")), NumberFormat.COUNT),
        ReportColumn(say(N_("已知地址")), NumberFormat.COUNT), ReportColumn(say(N_("有 IPv6")), NumberFormat.COUNT),
        ReportColumn(say(N_("占比")), NumberFormat.PERCENT, "%"),
    ]  # fmt: skip
    yield Table(
        say(N_("IPv6 支持")),
        columns,
        [
            [one["pool"], one["provider"], one["machines"], one["addressed"], one["ipv6"],
             100 * one["ipv6"] / one["addressed"] if one["addressed"] else None]
            for one in pools
        ],
    )  # fmt: skip
    yield Paragraph(say(N_("口径：以清单中的地址为准；没有地址记录的主机既不算支持也不算不支持。")), note=True)
    if present:
        yield Paragraph(
            say(
                N_("%(all)s 个信息系统中，%(ready)s 个的全部云主机有 IPv6 地址，%(part)s 个部分有。"),
                all=len(present),
                ready=sum(one["ipv6"] == one["machines"] for one in present),
                part=sum(0 < one["ipv6"] < one["machines"] for one in present),
            )
        )


def _protection(told: Inputs, systems: Sequence[System]) -> Iterator[Block]:
    say = told.say
    columns = [
        ReportColumn(say(N_("等保级别"))), ReportColumn(say(N_("信息系统")), NumberFormat.COUNT),
        ReportColumn(say(N_("已备案")), NumberFormat.COUNT), ReportColumn(say(N_("测评有效")), NumberFormat.COUNT),
        ReportColumn(say(N_("测评过期或没有")), NumberFormat.COUNT), ReportColumn(say(N_("密评有效")), NumberFormat.COUNT),
    ]  # fmt: skip
    by: dict[int, list[System]] = {}
    for one in systems:
        by.setdefault(one["mlps_level"], []).append(one)
    rows = [
        [
            say(N_("%(level)s 级"), level=level), len(mine), sum(one["record"] for one in mine),
            sum(one["mlps"]["good"] for one in mine),
            sum(not one["mlps"]["good"] for one in mine) if level >= ASSESSED_FROM else None,
            sum(one["crypto"]["good"] for one in mine),
        ]
        for level, mine in sorted(by.items(), reverse=True)
    ]  # fmt: skip
    yield Table(say(N_("数据分级与测评")), columns, rows)
    yield Paragraph(say(N_("口径：测评日至期末不超过 366 天为有效；三级及以上应测评。")), note=True)
    classed = [
        say(N_("%(level)s %(count)s 个"), level=say(label), count=sum(one["data"] == code for one in systems))
        for code, label in DATA_LEVELS.items()
    ]
    yield Paragraph(
        say(
            N_("数据级别：%(classed)s，未定级 %(none)s 个。"),
            classed=say(N_("、")).join(classed),
            none=sum(one["data"] is None for one in systems),
        )
    )


def _annex(told: Inputs, systems: Sequence[System]) -> Table:
    say = told.say
    columns = [
        ReportColumn(say(N_("信息系统"))), ReportColumn(say(N_("使用单位"))), ReportColumn(say(N_("等保级别")), NumberFormat.COUNT),
        ReportColumn(say(N_("等保测评"))), ReportColumn(say(N_("密评"))), ReportColumn(say(N_("数据级别"))),
        ReportColumn(say(N_("云主机")), NumberFormat.COUNT), ReportColumn(say(N_("信创")), NumberFormat.COUNT),
        ReportColumn("IPv6", NumberFormat.COUNT), ReportColumn(say(N_("信创计划"))),
    ]  # fmt: skip
    rows = [
        [one["system"], one["department"], one["mlps_level"], one["mlps"]["on"], one["crypto"]["on"],
         told.named(DATA_LEVELS, one["data"]) if one["data"] else None, one["machines"], one["domestic"], one["ipv6"],
         one["planned"]]
        for one in systems
    ]  # fmt: skip
    return Table(say(N_("附表：信息系统分级与适配")), columns, rows, annex=True)
