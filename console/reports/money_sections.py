"""What it cost: proven, disputed, not measurable."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from console.reports.documents import Block, NumberFormat, Paragraph, ReportColumn, Table
from console.reports.inputs import Inputs, yuan
from quota.errors import N_

DISPUTES = {"open": N_("未了结"), "settled": N_("已了结")}
MOST_PAYERS = 15


def money(told: Inputs) -> Iterator[Block]:
    say = told.say
    stated = [one for one in told["months"] if one["revision"] is not None]
    if not stated:
        if told["scale"]["at"]["end"]["resources"]:
            yield Paragraph(say(N_("报告期内还没有对账单，费用不能说明。")))
        return
    columns = [
        ReportColumn(say(N_("月份"))), ReportColumn(say(N_("对账单"))), ReportColumn(say(N_("资源")), NumberFormat.COUNT),
        ReportColumn(say(N_("已证实")), NumberFormat.MONEY, say(N_("元"))), ReportColumn(say(N_("不可计量")), NumberFormat.MONEY, say(N_("元"))),
        ReportColumn(say(N_("更正")), NumberFormat.MONEY, say(N_("元"))), ReportColumn(say(N_("vCPU 采集覆盖率")), NumberFormat.PERCENT, "%"),
    ]  # fmt: skip
    rows: list[list[Any]] = [
        [one["month"], say(N_("第 %(revision)s 版"), revision=one["revision"]) + (say(N_("（已月结）")) if one["closed"] else ""),
         one["resources"], yuan(one["proven"]), yuan(one["unmeasured"]), yuan(one["corrections"]), one["coverage"]]
        if one["revision"] is not None else [one["month"], None, None, None, None, None, None]
        for one in told["months"]
    ]  # fmt: skip
    if len(rows) > 1:
        sums = [yuan(sum(one[name] for one in stated)) for name in ("proven", "unmeasured", "corrections")]
        rows.append([say(N_("合计")), "", None, *sums, None])
    yield Table(say(N_("费用")), columns, rows)
    yield from _kinds(told)
    yield from _bills(told)
    yield from _payers(told)


def _kinds(told: Inputs) -> Iterator[Block]:
    say = told.say
    if not told["kinds"]:
        return
    columns = [
        ReportColumn(say(N_("类别"))), ReportColumn(say(N_("计量单位"))), ReportColumn(say(N_("占用量")), NumberFormat.QUANTITY),
        ReportColumn(say(N_("证实比例")), NumberFormat.PERCENT, "%"), ReportColumn(say(N_("已证实费用")), NumberFormat.MONEY, say(N_("元"))),
    ]  # fmt: skip
    rows = []
    for one in told["kinds"]:
        hours = told.amount(one["kind"], one["held"] // 3600)
        share = 100 * one["proven"] / one["held"] if one["held"] else None
        unit = say(N_("%(unit)s·时"), unit=told.unit(one["kind"]))
        rows.append([told.label(one["kind"]), unit, hours, share, yuan(one["fen"])])
    yield Table(say(N_("资源占用")), columns, rows)


def _bills(told: Inputs) -> Iterator[Block]:
    say, bills = told.say, told["bills"]
    if not bills:
        return
    unit = say(N_("元"))
    columns = [
        ReportColumn(say(N_("月份"))), ReportColumn(say(N_("资源池"))), ReportColumn(say(N_("云服务商"))),
        *(ReportColumn(say(label), NumberFormat.MONEY, unit) for label in (N_("账单金额"), N_("已证实"), N_("有争议"), N_("不可计量"))),
    ]  # fmt: skip
    names = ("billed", "proven", "disputed", "unmeasured")
    rows: list[list[Any]] = [
        [one["month"], one["pool"], one["provider"], *(yuan(one[name]) for name in names)] for one in bills
    ]
    sums = [sum((yuan(one[name]) or Decimal(0) for one in bills), Decimal(0)) for name in names]
    rows.append([say(N_("合计")), "", "", *sums])
    yield Table(say(N_("账单构成")), columns, rows)
    if told["disputes"]:
        columns = [
            ReportColumn(say(N_("争议"))), ReportColumn(say(N_("数量")), NumberFormat.COUNT), ReportColumn(say(N_("金额")), NumberFormat.MONEY, unit),
            ReportColumn(say(N_("了结金额")), NumberFormat.MONEY, unit),
        ]  # fmt: skip
        yield Table(
            say(N_("账单争议")),
            columns,
            [
                [told.named(DISPUTES, one["state"]), one["count"], yuan(one["fen"]), yuan(one["settled"])]
                for one in told["disputes"]
            ],
        )


def _payers(told: Inputs) -> Iterator[Block]:
    say = told.say
    payers = told["payers"]
    if len(payers) < 2:
        return
    unit = say(N_("元"))
    columns = [
        ReportColumn(say(N_("使用单位"))), ReportColumn(say(N_("已证实")), NumberFormat.MONEY, unit),
        ReportColumn(say(N_("不可计量")), NumberFormat.MONEY, unit),
    ]  # fmt: skip
    rows = [[one["department"] or say(N_("无归属")), yuan(one["proven"]), yuan(one["unmeasured"])] for one in payers]
    if len(rows) > MOST_PAYERS:
        yield Table(say(N_("附表：各单位费用")), columns, rows, annex=True)
        rest = payers[MOST_PAYERS:]
        sums = [yuan(sum(one[name] for one in rest)) for name in ("proven", "unmeasured")]
        rows = [*rows[:MOST_PAYERS], [say(N_("其余%(count)s个"), count=len(rest)), *sums]]
    yield Table(say(N_("各单位费用")), columns, rows)
