"""A billing year as a document: what each department owes, what each company claimed, and the opinion; or, before it is drawn up, what
is known of it so far, marked as a preview."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from console.reports.documents import (
    Block,
    Cell,
    Document,
    HeadingBlock,
    NumberFormat,
    Paragraph,
    ReportColumn,
    Say,
    Table,
)
from console.reports.inputs import yuan
from metering.settlement import FINDING_LABELS, BillingYear, YearFinding, YearPreview, YearUnit
from quota.calendar import ZONE
from quota.errors import N_


def billing_year(row: BillingYear, units: Iterable[YearUnit], say: Say, *, companies: bool) -> Document:
    """A year that was drawn up; ``units``: of it what the reader may see."""
    lines: list[list[Cell]] = [
        [one.code, one.name or say(N_("无归属")), yuan(one.audited_fen), yuan(one.unmeasured_fen), _known(one.budget_fen),
         _known(one.short_fen)]
        for one in units
    ]  # fmt: skip
    columns = [*_who(say), *_money(say, (N_("审核金额"), N_("无法计量"), N_("付款年度预算"), N_("预算缺口")))]
    finding = say(FINDING_LABELS[YearFinding(row.finding)])
    judged = row.judged_at.astimezone(ZONE).date() if row.judged_at else row.due_on
    handed = say(N_("已报送财政")) if row.handed_at else say(N_("尚未报送财政"))
    return Document(
        title=say(N_("年度结算清单")), subtitle=row.name, facts=_facts(row, say, handed),
        blocks=[
            *_units(say, columns, lines, (2, 3)),
            *(_companies(row.companies, say) if companies else ()),
            HeadingBlock(say(N_("审核意见"))), Paragraph(finding), Paragraph(row.opinion),
            Paragraph(say(N_("摘要")), note=True), Paragraph(row.digest, note=True),
        ],
        end=f"{judged:%Y-%m-%d}",
    )  # fmt: skip


def billing_preview(row: BillingYear, seen: YearPreview, say: Say, today: date) -> Document:
    """What is known of a year that is not drawn up."""
    lines: list[list[Cell]] = [
        [one.code, one.name or say(N_("无归属")), yuan(one.closed_fen), yuan(one.stated_fen), yuan(one.known_fen),
         yuan(one.unmeasured_fen), _known(one.budget_fen), _known(one.short_fen)]
        for one in seen.shares
    ]  # fmt: skip
    heads = (
        N_("已月结"), N_("未月结暂计"), N_("合计"), N_("无法计量"), N_("付款年度预算"), N_("预算缺口"),
    )  # fmt: skip
    listed = say(N_("、"))
    return Document(
        title=say(N_("年度结算清单（预览）")), subtitle=row.name,
        facts=[
            *_facts(row, say, say(N_("预览，尚未核定，不作为付款依据"))),
            (say(N_("已月结月份")), listed.join(seen.closed) or "—"),
            (say(N_("暂计月份")), listed.join(seen.stated) or "—"),
            (say(N_("尚无对账单的月份")), listed.join(seen.unknown) or "—"),
        ],
        blocks=[
            Paragraph(say(N_("预览，尚未核定，不作为付款依据"))),
            *_units(say, [*_who(say), *_money(say, heads)], lines, (2, 3, 4, 5)),
            *_companies(seen.companies, say),
        ],
        end=f"{today:%Y-%m-%d}",
    )  # fmt: skip


def _facts(row: BillingYear, say: Say, state: str) -> list[tuple[str, str]]:
    return [
        (say(N_("起始月份")), row.first_month), (say(N_("截止月份")), row.last_month),
        (say(N_("报送期限")), f"{row.due_on:%Y-%m-%d}"), (say(N_("付款预算年度")), str(row.paid_in)),
        (say(N_("依据")), row.basis), (say(N_("状态")), state),
    ]  # fmt: skip


def _who(say: Say) -> list[ReportColumn]:
    return [ReportColumn(say(N_("代码"))), ReportColumn(say(N_("使用单位")))]


def _money(say: Say, heads: Sequence[str]) -> list[ReportColumn]:
    return [ReportColumn(say(head), NumberFormat.MONEY, say(N_("元"))) for head in heads]


def _known(fen: int | None) -> Cell:
    return None if fen is None else yuan(fen)


def _units(say: Say, columns: list[ReportColumn], lines: list[list[Cell]], summed: Sequence[int]) -> list[Block]:
    """The lines, and below them the sums of those columns that are summed."""
    total: list[Cell] = [say(N_("合计")), "", *([None] * (len(columns) - 2))]
    for at in summed:
        total[at] = sum((Decimal(line[at] or 0) for line in lines), Decimal(0))
    title = say(N_("各单位金额"))
    return [HeadingBlock(title), Table(title, columns, [*lines, total], captioned=False)]


def _companies(companies: Iterable[Mapping[str, Any]], say: Say) -> list[Block]:
    names = ("invoiced", "billed", "proven", "disputed", "unmeasured", "unbilled", "labour")
    heads = (
        N_("月结金额"), N_("账单金额"), N_("属实"), N_("有争议"), N_("无法计量"), N_("未开账单"), N_("人工服务"),
    )  # fmt: skip
    rows: list[list[Cell]] = [[one["name"], *(yuan(int(one.get(name, 0))) for name in names)] for one in companies]
    title = say(N_("云服务商账单核对"))
    columns = [ReportColumn(say(N_("云服务商"))), *_money(say, heads)]
    return [HeadingBlock(title), Table(title, columns, rows, captioned=False)] if rows else []
