"""What a decision on a case rests on: use with the target drawn, the release map, the whole system, the consequence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from console.charts import Chart, use_charts
from console.pages.cases.growth_evidence import adapter
from console.words import _, amount, amounts, kind_label, number, percent, when
from metering.cases import Case, CaseAct, CaseState, confirmed_by, next_order, surges, suspensions, windows
from metering.judging import LABELS, CaseKind, Finding, PolicyVersion, Procedure, Reason, less, more, policies
from metering.overview import whole_systems
from providers.base import Provider, ServiceKind, Verb
from quota import ledger
from quota.calendar import ZONE
from quota.db import Tx
from quota.errors import N_, NotFound
from quota.ledger import Holder, Side
from quota.units import NOTHING, Amount, Arch, Commodity, shown

CHART_DAYS = 30
RELEASING = (Verb.STOP, Verb.RECYCLE, Verb.RESIZE, Verb.DELETE)
VERB_LABELS = {
    Verb.CREATE: N_("新建"),
    Verb.SNAPSHOT: N_("快照"),
    Verb.STOP: N_("关机"),
    Verb.START: N_("开机"),
    Verb.RESIZE: N_("调整规格"),
    Verb.RECYCLE: N_("移入回收站"),
    Verb.RESTORE: N_("从回收站恢复"),
    Verb.DELETE: N_("删除"),
}


def provider_of(case: Case) -> Provider | None:
    """The adapter of a case's pool; None where it cannot be opened."""
    return adapter(case.pool)


def conduct(tx: Tx) -> tuple[PolicyVersion | None, Procedure]:
    """The policy version in force and its procedure; our defaults before any was enacted."""
    try:
        version = policies.in_force(tx, tx.now.astimezone(ZONE).date())
    except NotFound:
        return None, Procedure()
    return version, version.rules()


def use(case: Case, now: datetime) -> list[Chart]:
    """How its resource was used, with the target and the thresholds that the finding was judged by."""
    end = min(case.effective_at, now) if case.effective_at and case.kind == CaseKind.RECLAIM else now  # off since then
    start = end - timedelta(days=CHART_DAYS)
    return use_charts(case.resource, start, end, had=case.had(), target=case.will_have(), reasons=case.finding.reasons)


def reasons(case: Case) -> list[str]:
    """What the case began with, in the reader's words: the end of a term, and the figures beside their thresholds."""
    return [*ended_term(case), *(Reason(**row).text(_) for row in case.finding.reasons)]


def ended_term(case: Case) -> list[str]:
    """One sentence where the case began with the end of a term."""
    term = case.term
    if term is None:
        return []
    return [
        _("申请 %(number)s 的使用期限 %(until)s 已满，期满征询后未办结", number=term.number, until=when(term.use_until))
    ]


@dataclass(frozen=True, slots=True)
class Release:
    """What one verb frees of the resource's quota on this adapter. ``planned``: the case comes to it."""

    verb: str
    frees: str
    keeps: str
    possible: bool
    planned: bool


def release_map(case: Case) -> list[Release] | None:
    """What stopping, shelving, resizing and deleting frees; None where the adapter is not known."""
    provider = provider_of(case)
    if provider is None:
        return None
    has = case.resource.counts() or case.resource.actual()
    rows = []
    planned = _planned(case)
    for verb in RELEASING:
        touched: Amount = less(has, case.will_have() or NOTHING) if verb is Verb.RESIZE else has
        kinds = provider.releases.get(verb, frozenset())
        freed = touched.only(kinds)
        kept = has.over(freed)
        rows.append(
            Release(
                _(VERB_LABELS[verb]),
                amounts(freed) if freed else _("不释放配额"),
                amounts(kept),
                verb in provider.capabilities,
                verb in planned,
            )
        )
    return rows


def _planned(case: Case) -> set[Verb]:
    found: set[Verb] = set()
    verb = next_order(CaseKind(case.kind), case.service(), None)
    while verb is not None:
        found.add(verb)
        verb = next_order(CaseKind(case.kind), case.service(), verb)
    return found


@dataclass(frozen=True, slots=True)
class Fellow:
    """Another resource of the same system, by the same assessment."""

    finding: Finding
    cpu_p95: float | None
    cpu_mean: float | None
    here: bool


def fellows(tx: Tx, case: Case) -> tuple[whole_systems.WholeSystem | None, list[Fellow]]:
    """The system of a case seen as a whole, by the assessment of its finding."""
    if case.system_id is None:
        return None, []
    run = case.finding.assessment
    whole = whole_systems.whole_systems(tx, run, [case.system_id]).get(case.system_id)
    rows = [
        Fellow(
            each,
            whole_systems.figure(each.numbers, "cpu_p95"),
            whole_systems.figure(each.numbers, "cpu_mean"),
            each.resource_id == case.resource_id,
        )
        for each in whole_systems.fellows(tx, run, case.system_id)
    ]
    return whole, rows


@dataclass(frozen=True, slots=True)
class ClassEffect:
    """What acting does to one class: the department's free quota and the pool's, now and at the end."""

    label: str
    change: str
    own_now: str
    own_then: str
    pool_now: str
    pool_then: str


def effects(tx: Tx, case: Case) -> list[ClassEffect]:
    """The consequence in numbers of carrying the case out to its end."""
    target = case.will_have() or NOTHING
    what = more(case.had(), target) if case.kind == CaseKind.EXPAND else case.recovers()
    rows = []
    for cls, figure in what.of_arch(Arch(case.pool.arch)).items():
        own = ledger.balance(tx, Side(case.pool_id, cls, Holder.GRANTED, case.department_id))
        free = ledger.balance(tx, Side(case.pool_id, cls, Holder.FREE))
        grows = case.kind == CaseKind.EXPAND
        if grows and case.orders:  # counted when the order was placed; what was lent comes back
            back = figure if case.ends_on else 0
            change = "−" + amount(figure, cls) if back else "—"
            before, after = number(shown(cls.kind, own)), number(shown(cls.kind, own + back))
            pool = number(shown(cls.kind, free))
            rows.append(ClassEffect(kind_label(cls), change, before, after, pool, pool))
            continue
        rows.append(
            ClassEffect(
                kind_label(cls),
                ("+" if grows else "−") + amount(figure, cls),
                number(shown(cls.kind, own)),
                _left(cls, own - figure) if grows else number(shown(cls.kind, own)),
                number(shown(cls.kind, free)),
                number(shown(cls.kind, free if grows else free + figure)),
            )
        )
    return rows


def _left(cls: Commodity, figure: int) -> str:
    """What is left of a quota, or how much it is short."""
    if figure < 0:
        return _("缺%(amount)s", amount=number(shown(cls.kind, -figure)))
    return number(shown(cls.kind, figure))


def restarts(tx: Tx, cases: Iterable[Case]) -> dict[int, str]:
    """Case id → that a growth shuts its machine down, when, how long it waits for that, and what the waiting costs; others are absent."""
    members = {one.id: one for one in cases}
    waits = surges.waiting(tx, members.values())
    return {case_id: _restart(members[case_id], wait, tx.now) for case_id, wait in waits.items()}


def _restart(case: Case, waits: surges.WindowWait, now: datetime) -> str:
    cards = case.resource.kind == ServiceKind.ACCELERATOR
    if waits.opens <= now:
        told = (
            _("增加加速卡须关机，现在即可执行。")
            if cards
            else _("该资源池不能在线调整规格，扩容须关机，现在即可执行。")
        )
    else:
        far = {"at": when(waits.opens), "hours": number(round((waits.opens - now).total_seconds() / 3600, 1))}
        told = (
            _("增加加速卡须关机，等到变更窗口 %(at)s 执行（%(hours)s 小时后）。", **far)
            if cards
            else _("该资源池不能在线调整规格，扩容须关机，等到变更窗口 %(at)s 执行（%(hours)s 小时后）。", **far)
        )
    if waits.minutes is not None and waits.suffered is not None:
        told += _(
            "照所查看的一小时估计，到现在已约有 %(so_far)s 分钟触顶，在此之前还约有 %(n)s 分钟触顶。",
            so_far=number(waits.suffered),
            n=number(waits.minutes),
        )
    return told + (_("使用单位同意后，到时自动执行。") if case.state == CaseState.NOTICED else "")


def _shrinking(tx: Tx, case: Case) -> list[str]:
    """That something is shut down to become smaller, and from when on its order goes."""
    said: list[str] = []
    stops = surges.shuts_down(tx, case)
    if stops:
        cards = case.resource.kind == ServiceKind.ACCELERATOR
        said.append(_("减少加速卡须关机。") if cards else _("该资源池不能在线调整规格，缩容须关机。"))
    opens = windows.opening(tx, case.pool_id, restarts=stops)
    if case.takes and opens > tx.now:
        said.append(_("现不在变更窗口,工单于 %(at)s 起执行。", at=when(opens)))
    return said


def consequence(tx: Tx, case: Case, act: CaseAct) -> list[str]:
    """What follows when ``act`` is done now, in sentences."""
    rules, kind = case.procedure(), CaseKind(case.kind)
    said: list[str] = []
    if act is CaseAct.REVIEW:
        said.append(_("复核后等待发出通知;资源不受影响。"))
    elif act in (CaseAct.DISMISS, CaseAct.WITHDRAW):
        said.append(_("案件结束,资源不受影响;静默期内不再对它立案,每次加倍。"))
    elif act is CaseAct.REPLY:
        said.append(_("答复后不能修改;答复期限 %(due)s。", due=when(case.due_at)))
        if kind is CaseKind.EXPAND:
            said += restarts(tx, [case]).values()
            said.append(
                _(
                    "同意即按快通道办理:增幅不超过%(growth)s且本单位余额足够;写明截止日为临时扩容(最长%(days)s天,到期自动归还);超出的代拟申请,由贵单位核对后提交。",
                    growth=percent(100 * rules.fast_growth),
                    days=rules.temporary_days,
                )
            )
        else:
            said.append(_("有异议或申请豁免的,由签发人以外的人裁定,裁定之前不作任何处置。"))
    elif act is CaseAct.RULE:
        said.append(_("驳回则转入执行;采纳则撤销案件;豁免则在期限内不再处置。裁定人不得是通知的签发人。"))
    elif act is CaseAct.ACT:
        said += _of_acting(case, rules, kind)
        waits = restarts(tx, [case]).values()
        said += waits or _shrinking(tx, case)
        if case.takes and suspensions.holding(tx, case.policy_version_id):
            said.append(_("所依据的策略版本已暂停,不能执行。"))
    elif act is CaseAct.CONFIRM_DELETION:
        missing = 2 - len(confirmed_by(case))
        said.append(
            _("您是最后一位确认人:确认后立即下达删除工单,数据不可恢复。")
            if missing <= 1
            else _("还须另一人确认;两人都确认后才删除,数据不可恢复。")
        )
        said.append(_("删除后收回 %(what)s,停止计费,出具回收凭证。", what=amounts(case.recovers())))
    elif act is CaseAct.RESTORE:
        said.append(_("资源恢复到处置之前的状态,配额退回本单位;此案计入误回收率。"))
    elif act is CaseAct.ROLL_BACK:
        said.append(
            _("提前归还临时扩容,恢复 %(shape)s。", shape=amounts(case.had()))
            if kind is CaseKind.EXPAND
            else _("恢复原规格 %(shape)s;此案计入误回收率。", shape=amounts(case.had()))
        )
    elif act is CaseAct.KEEP:
        said.append(
            _("临时扩容转为长期保留,不再自动归还。")
            if kind is CaseKind.EXPAND
            else _("维持缩容后的规格,配额归全市统筹,出具回收凭证。")
        )
    return said


def _of_acting(case: Case, rules: Any, kind: CaseKind) -> list[str]:
    said = [_("执行前按%(days)s天内的最新数据重新评估;已恢复使用或数据不足的,案件自动结束。", days=rules.fresh_days)]
    if kind is CaseKind.EXPAND:
        said.append(_("规格调整为 %(shape)s,占用本单位配额。", shape=amounts(case.will_have())))
        if case.ends_on:
            said.append(_("临时扩容到 %(day)s,之后自动恢复原规格。", day=when(case.ends_on)))
    elif kind is CaseKind.SHRINK:
        said.append(_("先快照,再缩到 %(shape)s;观察%(days)s天,P95超过%(level)s即自动提出回退。",
                      shape=amounts(case.will_have()), days=rules.shrink_watch_days, level=percent(rules.rollback_level)))  # fmt: skip
    elif next_order(kind, case.service(), Verb.SNAPSHOT) is Verb.STOP:
        said.append(_("先快照,再关机观察%(watch)s天,移入回收站%(bin)s天(可恢复),之后须两人确认才删除。",
                      watch=rules.stop_watch_days, bin=rules.bin_days))  # fmt: skip
    else:
        said.append(_("移入回收站%(bin)s天(可恢复),之后须两人确认才删除。", bin=rules.bin_days))
    return said


def verdict_then_and_now(case: Case, newest: Finding | None) -> str | None:
    """Where the latest judgement differs from that which opened the case, in words."""
    if newest is None or newest.id == case.finding_id or newest.verdict == case.finding.verdict:
        return None
    return _(
        "立案时为“%(then)s”,最新评估(%(day)s)为“%(now)s”",
        then=_(LABELS[case.finding.is_now()]),
        now=_(LABELS[newest.is_now()]),
        day=when(newest.assessment.last_day),
    )


__all__ = [
    "ClassEffect",
    "Fellow",
    "Release",
    "conduct",
    "consequence",
    "effects",
    "fellows",
    "reasons",
    "release_map",
    "restarts",
    "use",
    "verdict_then_and_now",
]
