"""What changed, in sentences made from the figures: nothing is said that a table below doesn't show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.reports.documents import Block, Paragraph
from console.reports.inputs import Inputs, added, moved, yuan
from quota.errors import N_


def summary(told: Inputs) -> Iterator[Block]:
    say, end, start = told.say, told["scale"]["at"]["end"], told["scale"]["at"]["start"]
    if head := told.of.get("head"):  # editions of before have none
        yield Paragraph(
            say(N_("单位负责人：%(name)s。"), name=" ".join(one for one in (head["name"], head["title"]) if one))
        )
    if not end["resources"] and not start["resources"]:
        yield Paragraph(say(N_("报告期末台账中没有资源。")))
    else:
        yield Paragraph(_scale(told, end, start))
        yield Paragraph(_use(told))
    yield from _work(told)
    yield from _money(told)
    if told["unknown"]:
        yield Paragraph(say(N_("另有 %(count)s 类情况尚不掌握，列于“尚不掌握的情况”。"), count=len(told["unknown"])))


def _scale(told: Inputs, end: dict[str, Any], start: dict[str, Any]) -> str:
    say = told.say
    vcpu, before = end["amounts"].get("vcpu", 0), start["amounts"].get("vcpu", 0)
    text = say(
        N_("期末在册资源 %(resources)s 个，其中云主机与裸金属 %(machines)s 台，属于 %(systems)s 个信息系统；vCPU %(vcpu)s，与期初相比%(moved)s。"),
        resources=f"{end['resources']:,}",
        machines=f"{end['machines']:,}",
        systems=f"{end['systems']:,}",
        vcpu=f"{vcpu:,}",
        moved=moved(say, vcpu, before),
    )  # fmt: skip
    year = told["scale"]["at"].get("year_before")
    if year is not None:
        text += say(N_("与上年同期末相比，vCPU %(moved)s。"), moved=moved(say, vcpu, year["amounts"].get("vcpu", 0)))
    return text


def _use(told: Inputs) -> str:
    say, now, before = told.say, told["use"]["whole"], told["before"]["use"]
    if now["cpu"] is None:
        return say(N_("报告期内没有使用率数据。"))
    text = say(
        N_("CPU 均值 %(cpu)s%%，与上期相比%(moved)s；采集覆盖率 %(coverage)s%%。"),
        cpu=f"{now['cpu']:.1f}",
        moved=moved(say, now["cpu"], before["cpu"], points=True),
        coverage=f"{now['coverage']:.1f}" if now["coverage"] is not None else "—",
    )
    low = sum(one["machines"] for one in told["use"]["bands"] if one["low"] is not None and one["low"] < 10)
    high = sum(one["machines"] for one in told["use"]["bands"] if one["low"] is not None and one["low"] >= 80)
    return text + say(
        N_("CPU 均值低于 10%% 的云主机 %(low)s 台，80%% 以上的 %(high)s 台。"), low=f"{low:,}", high=f"{high:,}"
    )


def _work(told: Inputs) -> Iterator[Block]:
    say = told.say
    now, before = told["requests"]["total"], told["before"]["requests"]
    if now["submitted"] or now["open"] or before["submitted"]:
        yield Paragraph(
            say(
                N_("收到申请 %(submitted)s 件，与上期相比%(moved)s；办结 %(closed)s 件，期末在办 %(open)s 件。"),
                submitted=now["submitted"],
                moved=moved(say, now["submitted"], before["submitted"]),
                closed=now["closed"],
                open=now["open"],
            )
        )
    cases, earlier = told["cases"]["total"], told["before"]["cases"]
    if cases["opened"] or cases["closed"] or cases["open"]:
        taken = told["cases"]["taken"].get("vcpu", 0)
        yield Paragraph(
            say(
                N_("闲收忙扩立案 %(opened)s 件，与上期相比%(moved)s；结案 %(closed)s 件，收回 vCPU %(taken)s；期末在办 %(open)s 件。"),
                opened=cases["opened"],
                moved=moved(say, cases["opened"], earlier["opened"]),
                closed=cases["closed"],
                taken=f"{taken:,}",
                open=cases["open"],
            )
        )  # fmt: skip


def _money(told: Inputs) -> Iterator[Block]:
    say = told.say
    now = added(one["proven"] for one in told["months"])
    if now is None:
        return
    before = added(one["proven"] for one in told["before"]["months"])
    unmeasured = added(one["unmeasured"] for one in told["months"])
    proven, earlier = yuan(now), yuan(before)
    yield Paragraph(
        say(
            N_("已证实费用 %(proven)s 元，与上期相比%(moved)s；不可计量 %(unmeasured)s 元。"),
            proven=f"{proven:,.2f}",
            moved=moved(say, float(proven or 0), None if earlier is None else float(earlier)),
            unmeasured=f"{yuan(unmeasured) or 0:,.2f}",
        )
    )
