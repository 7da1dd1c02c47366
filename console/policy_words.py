"""Policies in words: rules as sentences, and what one version changes against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.texts import _
from metering.assess import FIGURE_LABELS
from metering.policy import LABELS, Condition, Policy, Rule, Section
from quota.errors import N_

SIZINGS = {
    "p95@70": N_("最小规格,使 P95 不超过新规格的70%(默认)"),
    "steward-safe": N_("成本分位·稳妥"),
    "steward-balanced": N_("成本分位·均衡"),
    "steward-economy": N_("成本分位·节约"),
    "peak14x1.15-daily": N_("近14天峰值 × 1.15"),
    "vpa-p95-daily": N_("VPA 式 P95"),
    "p95x1.15": N_("固定 P95 × 1.15"),
    "steward-balanced+fast": N_("成本分位·均衡 + 当日快速扩容"),
    "draft": N_("本草案"),
    "in-force": N_("现行策略"),
}
"""Sizings by name; the rest are shown by their names."""

OFFERED = ("p95@70", "steward-safe", "steward-balanced", "steward-economy")
"""Sizings that a policy may name: those that nightly judgement can advise a shape by."""


def sizing(name: str) -> str:
    """The sizing in words."""
    return _(SIZINGS[name]) if name in SIZINGS else name


def threshold(one: Condition) -> str:
    """«CPU P95 < 5%»."""
    label, unit, factor = FIGURE_LABELS.get(one.figure, (one.figure, "", 1.0))
    return f"{_(label)} {one.op} {one.threshold * factor:g}{unit}"


def rule(one: Rule) -> tuple[str, str]:
    """(class, sentence)."""
    parts = [_("、").join(threshold(each) for each in one.conditions)]
    if one.days:
        parts.insert(0, _("最近%(days)s天", days=one.days))
    if one.coverage:
        parts.append(_("覆盖率不低于%(share)s%%", share=f"{100 * one.coverage:g}"))
    return _(LABELS[one.verdict]), _(";").join(parts)


def kinds(one: Rule) -> str:
    """The kinds of resources that a rule is about."""
    from console.services import KINDS

    return _("、").join(_(KINDS.get(each, each)) for each in one.kinds)


def about(one: Section, names: Mapping[str, str]) -> str:
    """Whom a section is about; ``names``: code → name of pools and departments."""
    parts = []
    if one.pools:
        parts.append(_("资源池:%(names)s", names=_("、").join(names.get(each, each) for each in one.pools)))
    if one.departments:
        parts.append(_("单位:%(names)s", names=_("、").join(names.get(each, each) for each in one.departments)))
    if one.levels:
        parts.append(_("等保级别:%(names)s", names=_("、").join(map(str, one.levels))))
    if one.kinds:
        from console.services import KINDS

        parts.append(_("类别:%(names)s", names=_("、").join(_(KINDS.get(each, each)) for each in one.kinds)))
    return _(";").join(parts)


def differences(before: Policy, after: Policy, names: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    """What ``after`` says otherwise than ``before``: (what, before, after), in words."""
    found: list[tuple[str, str | None, str | None]] = []

    def say(what: str, old: str | None, new: str | None) -> None:
        if old != new:
            found.append((what, old, new))

    say(_("生效日"), before.effective_from.isoformat(), after.effective_from.isoformat())
    say(_("定规格方法"), sizing(before.sizing), sizing(after.sizing))
    say(
        _("高负载门槛"),
        _("%(level)s%%,%(minutes)s分钟", level=f"{before.hot_level:g}", minutes=before.hot_minutes),
        _("%(level)s%%,%(minutes)s分钟", level=f"{after.hot_level:g}", minutes=after.hot_minutes),
    )
    found += _rules(before.rules, after.rules, "")
    old = {one.name: one for one in before.sections}
    new = {one.name: one for one in after.sections}
    for name in dict.fromkeys([*old, *new]):
        say(
            _("例外:%(name)s", name=name),
            _section(old[name], names) if name in old else None,
            _section(new[name], names) if name in new else None,
        )
    return found


def _rules(before: Sequence[Rule], after: Sequence[Rule], where: str) -> list[tuple[str, str | None, str | None]]:
    if len(before) == len(after) and all(a.verdict == b.verdict for a, b in zip(before, after, strict=True)):
        pairs: list[tuple[Rule | None, Rule | None]] = list(zip(before, after, strict=True))
    else:
        gone = [one for one in before if one not in after]
        come = [one for one in after if one not in before]
        pairs = [*((one, None) for one in gone), *((None, one) for one in come)]
    return [
        (
            where + rule(new or old)[0],  # type: ignore[arg-type]
            rule(old)[1] if old else None,
            rule(new)[1] if new else None,
        )
        for old, new in pairs
        if old != new
    ]


def _section(one: Section, names: Mapping[str, str]) -> str:
    told = [about(one, names)]
    if one.sizing:
        told.append(sizing(one.sizing))
    if one.rules:
        told.append(_("另有%(count)s条规则", count=len(one.rules)))
    return _(";").join(told)


def rows(policy: Policy) -> list[list[Any]]:
    """The rules as rows of a table, those of sections named."""
    told = [[*rule(one), kinds(one)] for one in policy.rules]
    for section in policy.sections:
        told += [[*rule(one), f"{section.name} · {kinds(one)}"] for one in section.rules]
    return told
