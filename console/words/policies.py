"""Policies in words: rules as sentences, and what one version changes against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.words.texts import _
from metering.judging import (
    GAUGES,
    LABELS,
    SIGNS,
    BlindSpot,
    Condition,
    GrowthTerms,
    Policy,
    PolicyRule,
    Section,
    figure,
)
from metering.sizing import methods
from quota.errors import N_
from quota.requests import PURPOSES

NAMED = {"draft": N_("本草案"), "in-force": N_("现行策略"), "executed": N_("本草案,按实际执行")}
"""What a backtest calls its two policies."""

METHOD_LABELS = {
    "p95@70": N_("最小规格,使分位数不超过新规格的上限"),
    "p95x1.15": N_("固定分位 × 余量"),
    "vpa-p95-daily": N_("VPA 式分位(半衰期一天)"),
    "peak14x1.15-daily": N_("近期峰值 × 余量"),
    "steward-safe": N_("成本分位·稳妥"),
    "steward-balanced": N_("成本分位·均衡"),
    "steward-economy": N_("成本分位·节约"),
    "steward-lean": N_("成本分位·极简"),
    "steward-tide": N_("成本分位·随时段"),
}

FIGURES = {
    "quantile": (N_("分位数"), "%"),
    "ceiling": (N_("上限"), "%"),
    "margin": (N_("余量倍数"), ""),
    "days": (N_("峰值回看天数"), ""),
    "regret": (N_("欠配代价系数 L"), ""),
    "half_life": (N_("半衰期(天)"), ""),
}
"""Figures of sizings: label and unit."""

SPEEDS = {
    "fast": N_("快(每五分钟查看,触顶即翻倍)"),
    "swift": N_("每刻钟查看,触顶即翻倍"),
    "prompt": N_("每五分钟查看,保持半天"),
    "tide": N_("随时段(每四小时一个规格,只作回测)"),
}


MISSING_LABELS = {
    "fail": N_("条件不成立"),
    "unknown": N_("不下结论"),
    "pass": N_("条件成立"),
}
"""What a figure that is not known means for its condition."""


def method(name: str) -> str:
    """A method of sizing in words."""
    return _(METHOD_LABELS[name])


def sizing(name: str) -> str:
    """The sizing in words: the method, and the figures that are not its own; what is no sizing, as it is called."""
    if name in NAMED:
        return _(NAMED[name])
    if name in GAUGES:
        return grows(name)
    try:
        one = methods.sizing(name)
    except ValueError:
        return name
    shown = dict(one.figures) if one.method.startswith("steward-") else {**methods.OWN[one.method], **one.figures}
    told = [f"{_(FIGURES[key][0])} {value:g}{FIGURES[key][1]}" for key, value in shown.items()]
    if one.speed:
        told.append(_(SPEEDS[one.speed]))
    label = method(one.method)
    return _("%(method)s：%(figures)s", method=label, figures=_("、").join(told)) if told else label


def grows(gauge: str) -> str:
    """«当日扩容：内存使用率»."""
    return _("当日扩容：%(what)s", what=_(GAUGES[gauge].label))


def growth(one: GrowthTerms | None) -> str:
    """Terms of growth within the day as a sentence."""
    if one is None:
        return _("不扩容")
    figures = {name: f"{getattr(one, name):g}" for name in ("level", "samples", "step", "most", "calm", "hold_hours")}
    when = _(
        "最近一小时的12个样本中有%(samples)s个达到现规格的%(level)s%%，即扩到至少%(step)s倍、至多原规格的%(most)s倍",
        **figures,
    )
    if one.about.of_time:
        when = _(
            "最近一小时的12个样本中有%(samples)s个等待时间达到%(level)s%%，即扩到至少%(step)s倍、至多原规格的%(most)s倍",
            **figures,
        )
        return _("%(when)s；保持%(hold_hours)s小时且一小时内都低于%(calm)s%%、用量也不需要后归还", when=when, **figures)
    if one.about.stays:
        return _("%(when)s；不归还", when=when)
    return _("%(when)s；保持%(hold_hours)s小时且一小时内都低于原规格的%(calm)s%%后归还", when=when, **figures)


def growths(laid_down: Sequence[GrowthTerms]) -> str:
    """Of each gauge how it grows within the day."""
    by_gauge = {one.gauge: one for one in laid_down}
    return _("；").join(f"{_(GAUGES[gauge].label)}{_('：')}{growth(by_gauge.get(gauge))}" for gauge in GAUGES)


def threshold(condition: Condition) -> str:
    """«CPU P95 < 5%»."""
    about = figure(condition.figure)
    return f"{_(about.label)} {SIGNS.get(condition.op, condition.op)} {about.shown(condition.threshold):g}{about.unit}"


def rule(one: PolicyRule) -> tuple[str, str]:
    """(class, sentence)."""
    parts = [_("、").join(threshold(each) for each in one.conditions)]
    if one.days:
        parts.insert(0, _("最近%(days)s天", days=one.days))
    if one.coverage:
        parts.append(_("覆盖率不低于%(share)s%%", share=f"{100 * one.coverage:g}"))
    return _(LABELS[one.verdict]), _("；").join(parts)


def blind_spot(one: BlindSpot) -> str:
    """What a pool does not tell, and what it means."""
    return _(
        "最近%(days)s天没有一台机器的「%(figure)s」达到规则所要的覆盖率：这里的机器不会被判为「%(verdicts)s」。没有数据不等于闲置，请在来源一侧补上这项指标。",
        days=one.days, figure=_(figure(one.figure).label), verdicts=_("、").join(_(LABELS[each]) for each in one.verdicts),
    )  # fmt: skip


def starved(windows: Mapping[str, Mapping[str, Any]]) -> str | None:
    """That the provider gave less than the machine wanted, by the longest of a finding's windows that tells; None where not."""
    for days in sorted(windows, key=int, reverse=True):
        seen = windows[days]
        if seen.get("starved") and seen.get("steal_mean") is not None:
            return _(
                "供给不足：近%(days)s天有%(share)s%%的时段，机器所需的 CPU 有一成以上被宿主机抢占（平均%(mean)s%%）。是否闲置按所需判断，"
                "是否扩容按实得判断：缺的由云服务商补足，计入其考核，不由使用单位扩容。",
                days=days,
                share=f"{100 * seen['starved']:.1f}",
                mean=f"{seen['steal_mean']:.1f}",
            )
    return None


def kinds(rule: PolicyRule) -> str:
    """The kinds of resources that a rule is about."""
    from console.words.services import KINDS

    return _("、").join(_(KINDS.get(each, each)) for each in rule.kinds)


def about(section: Section, names: Mapping[str, str]) -> str:
    """Whom a section is about; ``names``: code → name of pools and departments."""
    parts = []
    if section.pools:
        parts.append(_("资源池:%(names)s", names=_("、").join(names.get(each, each) for each in section.pools)))
    if section.departments:
        parts.append(_("单位:%(names)s", names=_("、").join(names.get(each, each) for each in section.departments)))
    if section.levels:
        parts.append(_("等保级别:%(names)s", names=_("、").join(map(str, section.levels))))
    if section.systems:
        parts.append(
            _("信息系统:%(names)s", names=_("、").join(names.get(f"s:{each}", each) for each in section.systems))
        )
    if section.zones:
        parts.append(_("网络区:%(names)s", names=_("、").join(section.zones)))
    if section.tags:
        parts.append(_("云侧标签:%(names)s", names=_("、").join(section.tags)))
    if section.purposes:
        purposes = _("、").join(_(PURPOSES.get(each, each)) for each in section.purposes)
        parts.append(_("使用性质:%(names)s", names=purposes))
    if section.kinds:
        from console.words.services import KINDS

        parts.append(_("类别:%(names)s", names=_("、").join(_(KINDS.get(each, each)) for each in section.kinds)))
    return _("；").join(parts)


def wholes(policy: Policy) -> list[tuple[str, str]]:
    """By what systems and departments are judged as wholes, and what grows within the day beside CPU: (what, in words)."""
    levels, surplus, laid_down = policy.wholes, policy.surplus, {one.gauge: one for one in policy.growths}
    figures = {name: f"{getattr(levels, name):g}" for name in ("low_cpu", "low_memory", "high_cpu", "high_memory")}
    low = (
        _("CPU 均值低于 %(low_cpu)s%% 或内存均值低于 %(low_memory)s%%", **figures)
        if levels.either
        else _("CPU 均值低于 %(low_cpu)s%% 且内存均值低于 %(low_memory)s%%", **figures)
    )
    high = _("CPU 均值高于 %(high_cpu)s%% 或内存均值高于 %(high_memory)s%%", **figures)
    return [
        (_("利用率低的系统"), each_month(low, levels.low_months)),
        (_("利用率高的系统"), each_month(high, levels.high_months)),
        (_("评判系统所需的采集覆盖率(%)"), f"{100 * levels.covered:g}%"),
        (
            _("疑似僵尸系统"),
            _(
                "%(days)s天无业务登录，或%(few)s",
                days=levels.asleep_days,
                few=each_month(
                    _("月活不足注册用户的%(share)s%%", share=f"{100 * levels.least_active:g}"), levels.deserted_months
                ),
            ),
        ),
        (
            _("单位允许的冗余(%)"),
            _("不提醒")
            if surplus.allowed is None
            else each_month(
                _(
                    "%(allowed)s%%；提醒后 %(months)s 个月自行核减，督促后 %(days)s 个工作日",
                    allowed=f"{surplus.allowed:g}",
                    months=surplus.months,
                    days=surplus.urge_days,
                ),
                surplus.held_months,
            ),
        ),
        (
            _("交付后征询使用情况"),
            _("不征询")
            if policy.delivered.days is None
            else _(
                "交付满 %(days)s 天仍无评估表明在用的，%(answer)s 个工作日内答复",
                days=policy.delivered.days,
                answer=policy.delivered.answer_days,
            ),
        ),
        *((grows(gauge), growth(laid_down.get(gauge))) for gauge in GAUGES),
    ]


def each_month(said: str, count: int) -> str:
    """``said``, in each of ``count`` calendar months where a policy asks for that."""
    return _("%(said)s；连续 %(count)s 个自然月每月如此", said=said, count=count) if count else said


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
    for (what, was), (_what, now) in zip(wholes(before), wholes(after), strict=True):
        say(what, was, now)
    found += _rules(before.rules, after.rules, "")
    old = {one.name: one for one in before.sections}
    new = {one.name: one for one in after.sections}
    for name in dict.fromkeys([*old, *new]):
        label = _("例外:%(name)s", name=name)
        say(
            label,
            _section(old[name], names) if name in old else None,
            _section(new[name], names) if name in new else None,
        )
        if name in new:
            found += _rules(old[name].rules if name in old else (), new[name].rules, f"{label} · ")
    if list(old) != list(new) and set(old) == set(new):
        say(_("例外的次序"), _("、").join(old), _("、").join(new))
    return found


def _rules(
    before: Sequence[PolicyRule], after: Sequence[PolicyRule], where: str
) -> list[tuple[str, str | None, str | None]]:
    if len(before) == len(after) and all(a.verdict == b.verdict for a, b in zip(before, after, strict=True)):
        pairs: list[tuple[PolicyRule | None, PolicyRule | None]] = list(zip(before, after, strict=True))
    else:
        pairs = [(one, None) for one in before if one not in after]
        pairs += [(None, one) for one in after if one not in before]
    found = [
        (where + rule(one)[0], _whole(old) if old else None, _whole(new) if new else None)
        for old, new in pairs
        if old != new and (one := new or old) is not None
    ]
    kept = [one for one in before if one in after], [one for one in after if one in before]
    if kept[0] != kept[1] and not any(old and new for old, new in pairs):
        order = [_("、").join(rule(one)[0] for one in each) for each in kept]
        found.append((where + _("规则的次序"), order[0], order[1]))
    return found


def _whole(one: PolicyRule) -> str:
    """A rule with all that can differ: whom it is about, and what an unknown figure means."""
    missing = [_(MISSING_LABELS[each.missing]) for each in one.conditions]
    said = missing[:1] if len(set(missing)) == 1 else missing
    return _(
        "%(rule)s;适用:%(kinds)s;没有数据时:%(missing)s",
        rule=rule(one)[1],
        kinds=kinds(one),
        missing=_("、").join(said),
    )


def _section(section: Section, names: Mapping[str, str]) -> str:
    told = [about(section, names)]
    if section.sizing:
        told.append(sizing(section.sizing))
    if section.rules:
        told.append(_("另有%(count)s条规则", count=len(section.rules)))
    if section.growths is not None:
        told.append(growths(section.growths))
    return _("；").join(told)


def rows(policy: Policy) -> list[list[Any]]:
    """The rules as rows of a table, those of sections named."""
    told = [[*rule(one), kinds(one)] for one in policy.rules]
    for section in policy.sections:
        told += [[*rule(one), f"{section.name} · {kinds(one)}"] for one in section.rules]
    return told
