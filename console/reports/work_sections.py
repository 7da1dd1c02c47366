"""What was asked for and delivered; what was taken back and given by cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.reports.documents import Block, HeadingBlock, NumberFormat, Paragraph, ReportColumn, Table
from console.reports.inputs import Inputs
from metering.cases import ENDING_LABELS
from metering.judging import KIND_LABELS as CASE_KINDS
from metering.judging import LABELS as VERDICTS
from providers.orders import VERB_LABELS
from quota.errors import N_
from quota.requests import KIND_LABELS


def requests(told: Inputs) -> Iterator[Block]:
    say, found, orders = told.say, told["requests"], told["orders"]
    if not found["kinds"] and not orders["delivered"] and not orders["due"] and not orders["open"]:
        return
    if found["kinds"]:
        names = ("submitted", "decided", "refused", "delivered", "closed", "open")
        labels = (N_("提交"), N_("审批完成"), N_("驳回"), N_("交付"), N_("办结"), N_("期末在办"))
        columns = [
            ReportColumn(say(N_("申请类型"))),
            *(ReportColumn(say(label), NumberFormat.COUNT) for label in labels),
        ]
        rows: list[list[Any]] = [
            [told.named(KIND_LABELS, one["kind"]), *(one[name] for name in names)] for one in found["kinds"]
        ]
        if len(rows) > 1:
            rows.append([say(N_("合计")), *(found["total"][name] for name in names)])
        yield Table(say(N_("申请")), columns, rows)
    if orders["due"]:
        yield Paragraph(
            say(
                N_(
                    "报告期内到期的工单 %(due)s 张，按期交付 %(in_time)s 张，交付及时率 %(share)s%%；期末未交付 %(open)s 张。"
                ),
                due=orders["due"],
                in_time=orders["in_time"],
                share=f"{100 * orders['in_time'] / orders['due']:.1f}",
                open=orders["open"],
            )
        )
    if orders["delivered"]:
        columns = [ReportColumn(say(N_("工作日"))), ReportColumn(say(N_("工单数")), NumberFormat.COUNT)]
        yield Table(say(N_("交付时长")), columns, orders["buckets"])
        columns = [ReportColumn(say(N_("工单"))), ReportColumn(say(N_("已交付")), NumberFormat.COUNT)]
        yield Table(
            say(N_("交付的工单")), columns, [[told.named(VERB_LABELS, verb), count] for verb, count in orders["verbs"]]
        )
    yield from _amounts(
        told, say(N_("交付与退还的资源")), [(N_("交付"), orders["built"]), (N_("退还"), orders["freed"])]
    )


def _amounts(told: Inputs, title: str, sides: list[tuple[str, dict[str, int]]]) -> Iterator[Block]:
    codes = [code for code in told.classes if any(code in side for _label, side in sides)]
    if not codes:
        return
    say = told.say
    columns = [
        ReportColumn(say(N_("类别"))),
        ReportColumn(say(N_("单位"))),
        *(ReportColumn(say(label), NumberFormat.QUANTITY) for label, _ in sides),
    ]
    rows = [
        [told.label(code), told.unit(code), *(told.amount(code, side.get(code, 0)) for _label, side in sides)]
        for code in codes
    ]
    yield Table(title, columns, rows)


def cases(told: Inputs) -> Iterator[Block]:
    yield from _cases(told)
    yield from _growths(told)
    yield from _scale_outs(told)


def _cases(told: Inputs) -> Iterator[Block]:
    say, found, run = told.say, told["cases"], told["findings"]
    if run is not None and run["verdicts"]:
        yield Paragraph(
            say(
                N_("最近一次评估覆盖 %(first)s 至 %(last)s，依据策略 %(policy)s 第 %(version)s 版。"),
                **{name: run[name] for name in ("first", "last", "policy", "version")},
            )
        )
        columns = [ReportColumn(say(N_("结论"))), ReportColumn(say(N_("资源数")), NumberFormat.COUNT)]
        yield Table(
            say(N_("评估结论")), columns, [[told.named(VERDICTS, name), count] for name, count in run["verdicts"]]
        )
    if not found["kinds"]:
        return
    names = ("opened", "closed", "open", "stale", "regretted")
    labels = (N_("立案"), N_("结案"), N_("期末在办"), N_("久未推进"), N_("后悔"))
    columns = [ReportColumn(say(N_("案件"))), *(ReportColumn(say(label), NumberFormat.COUNT) for label in labels)]
    rows: list[list[Any]] = [
        [told.named(CASE_KINDS, one["kind"]), *(one[name] for name in names)] for one in found["kinds"]
    ]
    if len(rows) > 1:
        rows.append([say(N_("合计")), *(found["total"][name] for name in names)])
    yield Table(say(N_("案件")), columns, rows)
    yield Paragraph(
        say(
            N_("口径：久未推进为超过 10 个工作日没有进入下一步（观察期与回收站除外）；后悔为收回后又被要回或吃紧的。期末逾期未答复的通知 %(count)s 件。"),
            count=found["total"]["unanswered"],
        ),
        note=True,
    )  # fmt: skip
    if found["endings"]:
        yield HeadingBlock(say(N_("结案结果")), 2)
        columns = [ReportColumn(say(N_("结果"))), ReportColumn(say(N_("案件")), NumberFormat.COUNT)]
        yield Table(
            say(N_("结案结果")), columns, [[told.named(ENDING_LABELS, name), count] for name, count in found["endings"]]
        )
    yield from _amounts(told, say(N_("收回与扩容的资源")), [(N_("收回"), found["taken"]), (N_("扩容"), found["given"])])


def _growths(told: Inputs) -> Iterator[Block]:
    """Growth within the day; nothing of editions that were made before it was counted, and of a part of the city."""
    say, found = told.say, told.of.get("growths")
    if not found or not any(found[name] for name in ("growths", "returned", "lent_core_hours", "ceiling_minutes")):
        return
    names = ("growths", "returned", "lent_core_hours", "avoided_ceiling_minutes", "ceiling_minutes")
    yield Paragraph(
        say(
            N_("当日扩容：报告期内扩容 %(growths)s 次，归还 %(returned)s 次，借出 %(lent_core_hours)s 核时；避免触顶 %(avoided_ceiling_minutes)s 分钟，承受触顶 %(ceiling_minutes)s 分钟。"),
            **{name: found[name] for name in names},
        )
    )  # fmt: skip


def _scale_outs(told: Inputs) -> Iterator[Block]:
    """Machines that tiers were given; nothing of editions that were made before these were counted."""
    say, found = told.say, told.of.get("scale_outs")
    if not found or not any(found[name] for name in ("added", "returned", "kept", "there")):
        return
    yield Paragraph(
        say(
            N_("同构组横向扩容：报告期内增加云主机 %(added)s 台，退还 %(returned)s 台，长期保留 %(kept)s 台；期末借用中 %(there)s 台。"),
            **{name: found[name] for name in ("added", "returned", "kept", "there")},
        )
    )  # fmt: skip
    yield from _amounts(told, say(N_("横向扩容的资源")), [(N_("增加"), found["amounts"])])
