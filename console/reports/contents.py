"""What a report says: an edition's inputs as a document, section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from console.reports import (
    adaptation_sections,
    conduct_sections,
    money_sections,
    scale_sections,
    summary,
    work_sections,
)
from console.reports.documents import Block, Document, HeadingBlock, Paragraph, ReportColumn, Say, Table
from console.reports.inputs import Inputs
from metering.reports import PERIOD_LABELS, EditionDifference, PeriodKind, ReportPeriod
from quota.errors import N_

NUMERALS = N_("一 二 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五")

Section = Callable[[Inputs], Iterator[Block]]

SECTIONS: Sequence[tuple[str, Section]] = (
    (N_("概述"), summary.summary),
    (N_("规模与变化"), scale_sections.scale),
    (N_("信创、IPv6 与分级保护"), adaptation_sections.adaptation),
    (N_("分配与承诺"), scale_sections.allocation),
    (N_("使用情况"), scale_sections.use),
    (N_("申请与交付"), work_sections.requests),
    (N_("闲收忙扩"), work_sections.cases),
    (N_("费用"), money_sections.money),
    (N_("云服务商"), conduct_sections.providers),
    (N_("监管预警"), conduct_sections.supervision),
    (N_("使用单位排名"), scale_sections.ranking),
    (N_("尚不掌握的情况"), conduct_sections.unknown),
)
"""In this order; a section that has nothing to say of whom the report is about is left out."""

MOST_CHANGES = 60
"""Of an edition's changes that its text lists; the sheet has all."""

SECTION_NAMES = {
    "scale": N_("规模与变化"), "hosting": N_("规模与变化"), "owners": N_("规模与变化"), "allocations": N_("分配与承诺"), "promised": N_("分配与承诺"),
    "outlooks": N_("分配与承诺"), "use": N_("使用情况"), "requests": N_("申请与交付"), "orders": N_("申请与交付"),
    "findings": N_("闲收忙扩"), "cases": N_("闲收忙扩"), "months": N_("费用"), "kinds": N_("费用"), "payers": N_("费用"),
    "bills": N_("费用"), "disputes": N_("费用"), "cards": N_("云服务商"), "incidents": N_("云服务商"),
    "rectifications": N_("云服务商"), "supervision": N_("监管预警"),
    "adaptation": N_("信创、IPv6 与分级保护"), "ranking": N_("使用单位排名"), "unknown": N_("尚不掌握的情况"), "before": N_("上期数据"),
}  # fmt: skip


def document(
    of: Mapping[str, Any],
    *,
    number: int,
    digest: str,
    reason: str,
    changes: Sequence[EditionDifference],
    say: Say,
    zone: ZoneInfo,
    language: str = "zh",
) -> Document:
    """The report that ``of`` (an edition's inputs) makes. The same for the same words, on every machine and day."""
    told = Inputs(of, say, zone)
    period = ReportPeriod(*(date.fromisoformat(of["period"][name]) for name in ("first", "last")))
    blocks: list[Block] = []
    if number > 1:
        blocks += _numbered(blocks, say, N_("更正说明"), list(_corrected(told, number, reason, changes)))
    annexes: list[Block] = []
    for title, section in SECTIONS:
        found = list(section(told))
        annexes += [one for one in found if isinstance(one, Table) and one.annex]
        blocks += _numbered(blocks, say, title, [one for one in found if not (isinstance(one, Table) and one.annex)])
    blocks += _numbered(blocks, say, N_("资料依据"), list(_rests_on(told, digest)))
    if annexes:
        blocks.append(HeadingBlock(say(N_("附表"))))
        blocks += annexes
    return Document(
        title=_title(told, period),
        subtitle=_spelled(say, period),
        facts=[
            (say(N_("报告对象")), _whose(told)),
            (say(N_("报告期")), say(N_("%(first)s 至 %(last)s"), first=period.first, last=period.last)),
            (say(N_("版次")), say(N_("第 %(number)s 版"), number=number)),
            (say(N_("资料截止")), told.moment(of["rests_on"]["known_at"])),
        ],
        blocks=blocks,
        end=of["period"]["last"],
        footer=say(N_("依据摘要 %(digest)s"), digest=digest[:16]),
        language=language,
    )


def _numbered(before: Sequence[Block], say: Say, title: str, found: list[Block]) -> list[Block]:
    if not found:
        return []
    name = say(title)
    found = [_under(one, name, before=found[place - 1 : place]) for place, one in enumerate(found)]
    at = sum(isinstance(one, HeadingBlock) and one.level == 1 for one in before)
    return [HeadingBlock(say(N_("%(number)s、%(title)s"), number=_numeral(say, at), title=name)), *found]


def _under(block: Block, section: str, before: Sequence[Block]) -> Block:
    """A table that is called as the heading right above it needs no caption."""
    above = [one.text for one in before if isinstance(one, HeadingBlock)] or [section]
    return replace(block, captioned=False) if isinstance(block, Table) and block.title in above else block


def _numeral(say: Say, at: int) -> str:
    return say(NUMERALS).split()[at]


def _whose(told: Inputs) -> str:
    return str(told["scope"]["name"] or told["rests_on"].get("city") or told.say(N_("全市")))


def _title(told: Inputs, period: ReportPeriod) -> str:
    label = told.say(PERIOD_LABELS[period.kind])
    return told.say(N_("%(whose)s政务云运营%(label)s"), whose=_whose(told), label=label)


def _spelled(say: Say, period: ReportPeriod) -> str:
    first = period.first
    match period.kind:
        case PeriodKind.MONTH:
            return say(N_("%(year)s年%(month)s月"), year=first.year, month=first.month)
        case PeriodKind.QUARTER:
            return say(N_("%(year)s年第%(quarter)s季度"), year=first.year, quarter=(first.month + 2) // 3)
        case PeriodKind.HALF if first.month == 1:
            return say(N_("%(year)s年上半年"), year=first.year)
        case PeriodKind.HALF:
            return say(N_("%(year)s年下半年"), year=first.year)
        case PeriodKind.YEAR:
            return say(N_("%(year)s年度"), year=first.year)
        case _:
            return say(N_("%(first)s 至 %(last)s"), first=first, last=period.last)


def _corrected(told: Inputs, number: int, reason: str, changes: Sequence[EditionDifference]) -> Iterator[Block]:
    say = told.say
    yield Paragraph(
        say(
            N_("本版更正第 %(before)s 版，原因：%(reason)s。与第 %(before)s 版相比，%(count)s 项数据有变化。"),
            before=number - 1,
            reason=reason,
            count=len(changes),
        )
    )
    columns = [ReportColumn(say(N_("章节"))), ReportColumn(say(N_("项目"))), ReportColumn(say(N_("指标")))]
    columns += [ReportColumn(say(N_("第 %(number)s 版"), number=one)) for one in (number - 1, number)]
    rows = [
        [
            say(SECTION_NAMES.get(one.section, one.section)),
            one.row,
            one.figure,
            *(_figure(say, figure) for figure in (one.before, one.after)),
        ]
        for one in changes
    ]
    yield Table(say(N_("更正明细")), columns, rows[:MOST_CHANGES])
    if len(rows) > MOST_CHANGES:
        yield Table(say(N_("全部更正明细")), columns, rows, annex=True)


def _figure(say: Say, figure: Any) -> str:
    if figure is None:
        return "—"
    return say(N_("是") if figure else N_("否")) if isinstance(figure, bool) else str(figure)


def _rests_on(told: Inputs, digest: str) -> Iterator[Block]:
    say, rests = told.say, told["rests_on"]
    trail = rests["trail"]
    rows: list[list[Any]] = [
        [say(N_("审计链")), say(N_("报告期末第 %(sequence)s 条"), sequence=trail["sequence"]), trail["digest"] or "—"]
    ]
    if anchor := rests.get("anchor"):
        rows.append([say(N_("锚点")), say(N_("%(n)s 号"), n=anchor["sequence"]), anchor["fingerprint"]])
    if run := told["findings"]:
        about = say(
            N_("%(first)s 至 %(last)s，策略 %(policy)s 第 %(version)s 版"),
            first=run["first"],
            last=run["last"],
            policy=run["policy"],
            version=run["version"],
        )
        rows.append([say(N_("评估")), about, run["digest"]])
    for one in told["months"]:
        if one["revision"] is not None:
            about = say(N_("%(month)s 第 %(revision)s 版"), month=one["month"], revision=one["revision"])
            rows.append([say(N_("对账单")), about, one["digest"]])
    for one in told["bills"]:
        about = say(N_("%(month)s %(pool)s 第 %(revision)s 版"), **{k: one[k] for k in ("month", "pool", "revision")})
        rows.append([say(N_("四方对账")), about, one["digest"]])
    for one in told["cards"]:
        about = say(
            N_("%(period)s %(provider)s 第 %(revision)s 版，公式 %(formula)s"),
            **{name: one[name] for name in ("period", "provider", "revision", "formula")},
        )
        rows.append([say(N_("考核评分")), about, one["digest"]])
    if kept := rests.get("readings"):
        about = say(N_("数据湖 editions/%(file)s，%(rows)s 行"), file=kept["file"], rows=kept["rows"])
        rows.append([say(N_("主机用量")), about, kept["digest"]])
    rows.append([say(N_("本版依据")), say(N_("全部数据的摘要（SM3）")), digest])
    if program := rests.get("program"):
        rows.append([say(N_("程序")), program, ""])
    yield Paragraph(
        say(
            N_(
                "本报告的全部数据随本版一并存于账本，由摘要封存；同一版在任何时候重新生成，文件逐字节相同。"
                "报告期末之后发生的变化不在其中。"
            )
        )
    )
    columns = [ReportColumn(say(N_("依据"))), ReportColumn(say(N_("范围与版本"))), ReportColumn(say(N_("摘要")))]
    yield Table(say(N_("资料依据")), columns, rows)
