"""How companies did, and what nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from console.reports.documents import Block, HeadingBlock, NumberFormat, Paragraph, ReportColumn, Table
from console.reports.inputs import Inputs
from metering.supervision import LEVEL_LABELS, SupervisionSide
from providers.assessment import GRADE_LABELS, SUBJECT_LABELS, RectificationState, SubjectType
from providers.billing import RESPONSIBILITY_LABELS
from quota.errors import N_

UNKNOWNS = {
    "ownerless": N_("没有归属单位的资源"),
    "systemless": N_("没有归属信息系统的云主机"),
    "silent": N_("报告期内没有一个采样的云主机"),
    "uncovered": N_("采集覆盖率不足 90% 的云主机"),
    "unstated": N_("没有对账单的月份"),
    "unclosed": N_("有对账单、尚未月结的月份"),
    "unpriced": N_("没有价目的对账单明细"),
    "unbilled": N_("没有账单可比的资源池月份"),
    "unsettled": N_("责任尚未认定的故障"),
    "unscored": N_("证据不足、不评总分的评分"),
    "unassessed": N_("没有评估"),
}

IN_TIME = {True: N_("是"), False: N_("否")}

STANDS = {
    RectificationState.ORDERED: N_("待提交方案"), RectificationState.PLANNED: N_("整改中"),
    RectificationState.PROVEN: N_("待复核"), RectificationState.REFUSED: N_("已退回"),
    RectificationState.ACCEPTED: N_("整改通过"), RectificationState.WITHDRAWN: N_("已撤销"),
}  # fmt: skip


def providers(told: Inputs) -> Iterator[Block]:
    say, cards, incidents = told.say, told["cards"], told["incidents"]
    if cards:
        columns = [
            ReportColumn(say(N_("考核期"))), ReportColumn(say(N_("云服务商"))), ReportColumn(say(N_("总分")), NumberFormat.MONEY),
            ReportColumn(say(N_("等级"))), ReportColumn(say(N_("已评权重")), NumberFormat.PERCENT), ReportColumn(say(N_("公式"))),
        ]  # fmt: skip
        rows = [
            [
                one["period"],
                one["provider"],
                None if one["total"] is None else Decimal(one["total"]),
                told.named(GRADE_LABELS, one["grade"]) if one["grade"] else say(N_("不评总分")),
                float(one["scored"]),
                one["formula"],
            ]
            for one in cards
        ]
        yield Table(say(N_("考核评分")), columns, rows)
        yield Paragraph(say(N_("只列资料截止时已公布的评分；已评权重为有证据的指标权重之和（满分 100）。")), note=True)
    if incidents["levels"]:
        yield HeadingBlock(say(N_("故障")), 2)
        columns = [
            ReportColumn(say(N_("级别"))), ReportColumn(say(N_("次数")), NumberFormat.COUNT), ReportColumn(say(N_("其中云服务商责任")), NumberFormat.COUNT),
            ReportColumn(say(N_("责任未定")), NumberFormat.COUNT), ReportColumn(say(N_("历时")), NumberFormat.QUANTITY, say(N_("分钟"))),
        ]  # fmt: skip
        yield Table(
            say(N_("故障")),
            columns,
            [
                [say(N_("%(level)s 级"), level=one["level"]), one["count"], one["companies"], one["unsettled"], one["minutes"]]
                for one in incidents["levels"]
            ],
        )  # fmt: skip
        columns = [
            ReportColumn(say(N_("开始"))), ReportColumn(say(N_("云服务商"))), ReportColumn(say(N_("资源池"))), ReportColumn(say(N_("故障"))),
            ReportColumn(say(N_("级别")), NumberFormat.COUNT), ReportColumn(say(N_("历时")), NumberFormat.QUANTITY, say(N_("分钟"))),
            ReportColumn(say(N_("责任"))),
        ]  # fmt: skip
        yield Table(
            say(N_("附表：故障清单")),
            columns,
            [
                [one["started"][:16].replace("T", " "), one["provider"], one["pool"], one["title"], one["level"],
                 one["minutes"],
                 told.named(RESPONSIBILITY_LABELS, one["responsibility"]) if one["responsibility"] else say(N_("未定"))]
                for one in incidents["list"]
            ],
            annex=True,
        )  # fmt: skip
    yield from _rectifications(told)


def _rectifications(told: Inputs) -> Iterator[Block]:
    say, found = told.say, told.of.get("rectifications", [])  # editions of before have none
    if not found:
        return
    yield HeadingBlock(say(N_("整改")), 2)
    columns = [
        ReportColumn(say(N_("编号"))), ReportColumn(say(N_("被考核方"))), ReportColumn(say(N_("整改事项"))), ReportColumn(say(N_("期限"))),
        ReportColumn(say(N_("状态"))), ReportColumn(say(N_("按期提交"))),
    ]  # fmt: skip
    rows = [
        [one["code"], _whom(told, one), one["about"], one["due"], told.named(STANDS, one["stands"]),
         None if one["in_time"] is None else say(IN_TIME[one["in_time"]])]
        for one in found
    ]  # fmt: skip
    yield Table(say(N_("整改")), columns, rows)


def _whom(told: Inputs, rectification: dict[str, Any]) -> str:
    """Who is to put it right; editions of before knew companies alone."""
    name = rectification.get("whom", rectification.get("provider"))
    return str(name) if name else told.say(SUBJECT_LABELS[SubjectType.STEWARD])


def supervision(told: Inputs) -> Iterator[Block]:
    """What was beyond the limits of supervision; editions of before have none."""
    say, found = told.say, told.of.get("supervision", [])
    if not found:
        return
    yield Paragraph(
        say(
            N_("报告期内监管预警 %(count)s 项，其中期末尚未恢复 %(open)s 项，未按期答复 %(late)s 项。"),
            count=str(len(found)),
            open=str(sum(one["closed"] is None for one in found)),
            late=str(sum(one["in_time"] is False for one in found)),
        )
    )
    columns = [
        ReportColumn(say(label))
        for label in (
            N_("编号"),
            N_("监管事项"),
            N_("级别"),
            N_("对象"),
            N_("预警时"),
            N_("限值"),
            N_("预警于"),
            N_("了结于"),
            N_("按期答复"),
        )
    ]
    rows = [
        [one["code"], one["item"], told.named(LEVEL_LABELS, one["level"]), one["about"] or say(N_("全市")),
         f"{one['figure']} {say(one['unit'])}", _bound(told, one), one["opened"][:16].replace("T", " "),
         None if one["closed"] is None else one["closed"][:16].replace("T", " "),
         None if one["in_time"] is None else say(IN_TIME[one["in_time"]])]
        for one in found
    ]  # fmt: skip
    yield Table(say(N_("附表：监管预警")), columns, rows, annex=True)


def _bound(told: Inputs, one: dict[str, Any]) -> str:
    words = N_("高于 %(figure)s") if one["side"] == SupervisionSide.ABOVE else N_("低于 %(figure)s")
    return told.say(words, figure=f"{one['threshold']} {told.say(one['unit'])}")


def unknown(told: Inputs) -> Iterator[Block]:
    say = told.say
    rows = told["unknown"]
    if not rows:
        yield Paragraph(say(N_("没有。")))
        return
    yield Paragraph(say(N_("以下情况不掌握或尚未确定，本报告没有把它们当作零。")))
    columns = [ReportColumn(say(N_("情况"))), ReportColumn(say(N_("数量")), NumberFormat.COUNT)]
    yield Table(say(N_("尚不掌握的情况")), columns, [[told.named(UNKNOWNS, one["what"]), one["count"]] for one in rows])
