"""A settlement sheet as a document: what was claimed, what is withheld and why, what is payable now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from console.reports.documents import Cell, Document, HeadingBlock, NumberFormat, Paragraph, ReportColumn, Say, Table
from console.reports.inputs import yuan
from metering.settlement import LINE_LABELS, SettlementSheet
from quota.errors import N_


def settlement(sheet: SettlementSheet, say: Say, called: Callable[[str], str]) -> Document:
    """``called``: what a row is called that a line rests on."""
    agreed = sheet.contract
    period = say(N_("质保金返还")) if sheet.period == "final" else sheet.period
    money = [
        ReportColumn(say(N_("项目"))), ReportColumn(say(N_("期间"))), ReportColumn(say(N_("金额")), NumberFormat.MONEY, say(N_("元"))),
        ReportColumn(say(N_("依据"))),
    ]  # fmt: skip
    sums: list[list[Cell]] = [
        [say(N_("应结金额")), "", yuan(sheet.gross_fen), ""],
        [say(N_("暂不支付")), "", yuan(sheet.withheld_fen), ""],
        [say(N_("本次应付")), "", yuan(sheet.payable_fen), ""],
    ]
    note = say(
        N_("验收系数 %(acceptance)s%%；付费比例 %(paid)s%%。"),
        acceptance=f"{sheet.acceptance.normalize():f}", paid="—" if sheet.paid is None else f"{sheet.paid.normalize():f}",
    )  # fmt: skip
    return Document(
        title=say(N_("结算单")),
        subtitle=f"{agreed.provider.name} {period}",
        facts=[
            (say(N_("编号")), sheet.number), (say(N_("合同")), f"{agreed.number} {agreed.name}".strip()),
            (say(N_("云服务商")), agreed.provider.name), (say(N_("付款单位")), agreed.payer or "—"), (say(N_("期间")), period),
            (say(N_("状态")), say(N_("已确认")) if sheet.confirmed else say(N_("草案，尚未确认"))),
        ],
        blocks=[
            HeadingBlock(say(N_("应结金额"))),
            Table(say(N_("应结金额")), money, _rows(sheet.claimed, say, called), captioned=False),
            HeadingBlock(say(N_("暂不支付"))),
            Table(say(N_("暂不支付")), money, _rows(sheet.withheld, say, called), captioned=False)
            if sheet.withheld
            else Paragraph(say(N_("没有暂不支付的金额。"))),
            HeadingBlock(say(N_("合计"))),
            Table(say(N_("合计")), money, sums, captioned=False),
            Paragraph(note, note=True),
            Paragraph(say(N_("摘要")), note=True),
            Paragraph(sheet.digest, note=True),
        ],
        end=f"{(sheet.confirmed_at or sheet.drafted_at):%Y-%m-%d}",
    )  # fmt: skip


def _rows(lines: Iterable[Mapping[str, Any]], say: Say, called: Callable[[str], str]) -> list[list[Cell]]:
    return [
        [say(LINE_LABELS.get(line["code"], line["code"])), line["what"], yuan(int(line["fen"])),
         say(N_("、")).join(called(ref) for ref in line["refs"])]
        for line in lines
    ]  # fmt: skip
