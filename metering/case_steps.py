"""The steps of a case: which state may follow which, who may do what in it, which orders it takes, by which clocks.

Pure: neither database nor clock. A case takes something away (shrink, reclaim) or gives (expand). What takes away goes
through notice and reply; silence is consent to a shrink, and to nothing else.

    detected → reviewed → noticed → cleared → ordered ⇄ watched → ordered → binned → confirming → ordered → closed
                             ↘ disputed ↗       (snapshot, then shrink or stop; recycle; delete)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from metering.policy import Verdict
from providers.base import ServiceKind, Verb
from quota.actors import Role
from quota.errors import N_, Invalid, WrongState
from quota.units import Amounts, Kind


class CaseKind(StrEnum):
    SHRINK = "shrink"
    RECLAIM = "reclaim"
    EXPAND = "expand"


KIND_LABELS = {CaseKind.SHRINK: N_("缩容"), CaseKind.RECLAIM: N_("回收"), CaseKind.EXPAND: N_("扩容")}

TAKES = frozenset({CaseKind.SHRINK, CaseKind.RECLAIM})
"""Kinds that take something away from a department."""

CALLS_FOR: Mapping[Verdict, CaseKind] = {
    Verdict.UNDERUSED: CaseKind.SHRINK,
    Verdict.IDLE: CaseKind.RECLAIM,
    Verdict.STOPPED: CaseKind.RECLAIM,
    Verdict.UNATTACHED: CaseKind.RECLAIM,
    Verdict.BUSY: CaseKind.EXPAND,
    Verdict.OVERLOADED: CaseKind.EXPAND,
}
"""Class of a finding → the kind of case that it opens."""

STILL: Mapping[CaseKind, frozenset[Verdict]] = {
    CaseKind.SHRINK: frozenset({Verdict.UNDERUSED, Verdict.IDLE}),
    CaseKind.RECLAIM: frozenset({Verdict.IDLE, Verdict.STOPPED, Verdict.UNATTACHED}),
    CaseKind.EXPAND: frozenset({Verdict.BUSY, Verdict.OVERLOADED}),
}
"""What a fresh judgement must say for a case to be acted on. Anything else, unknown above all, ends the case."""

ALIVE = frozenset({Verdict.BUSY, Verdict.OVERLOADED, Verdict.NORMAL, Verdict.UNDERUSED})
"""What shows that somebody works with a machine that we had taken for idle."""


class State(StrEnum):
    DETECTED = "detected"
    REVIEWED = "reviewed"
    NOTICED = "noticed"
    DISPUTED = "disputed"
    CLEARED = "cleared"
    ORDERED = "ordered"
    WATCHED = "watched"
    STRAINED = "strained"
    BINNED = "binned"
    CONFIRMING = "confirming"
    CLOSED = "closed"


STATE_LABELS = {
    State.DETECTED: N_("待审核"),
    State.REVIEWED: N_("待通知"),
    State.NOTICED: N_("待答复"),
    State.DISPUTED: N_("待裁定"),
    State.CLEARED: N_("待执行"),
    State.ORDERED: N_("执行中"),
    State.WATCHED: N_("观察期"),
    State.STRAINED: N_("待定是否回退"),
    State.BINNED: N_("回收站"),
    State.CONFIRMING: N_("待确认删除"),
    State.CLOSED: N_("已结案"),
}

OPEN = frozenset(State) - {State.CLOSED}
HEARING = frozenset({State.DETECTED, State.REVIEWED, State.NOTICED, State.DISPUTED, State.CLEARED})
"""Before anything was done to the resource."""
RESTING = frozenset({State.WATCHED, State.BINNED, State.CONFIRMING})
"""A reclaimed resource is off or in the recycle bin, and can be had back."""

FOLLOWS: Mapping[State, frozenset[State]] = {
    State.DETECTED: frozenset({State.REVIEWED, State.CLOSED}),
    State.REVIEWED: frozenset({State.NOTICED, State.CLOSED}),
    State.NOTICED: frozenset({State.DISPUTED, State.CLEARED, State.CLOSED}),
    State.DISPUTED: frozenset({State.DISPUTED, State.CLEARED, State.CLOSED}),
    State.CLEARED: frozenset({State.DISPUTED, State.ORDERED, State.WATCHED, State.CLOSED}),
    State.ORDERED: frozenset(
        {State.ORDERED, State.CLEARED, State.WATCHED, State.STRAINED, State.BINNED, State.CONFIRMING, State.CLOSED}
    ),
    State.WATCHED: frozenset({State.ORDERED, State.STRAINED, State.CLOSED}),
    State.STRAINED: frozenset({State.ORDERED, State.CLOSED}),
    State.BINNED: frozenset({State.ORDERED, State.CONFIRMING}),
    State.CONFIRMING: frozenset({State.CONFIRMING, State.ORDERED}),
    State.CLOSED: frozenset(),
}


def follow(state: State, to: State) -> State:
    """``to``, if it may follow ``state``; WrongState otherwise."""
    if to not in FOLLOWS[state]:
        raise WrongState(
            "case.step",
            N_("案件处于“%(state)s”,不能转为“%(to)s”"),
            state=STATE_LABELS[state],
            to=STATE_LABELS[to],
        )
    return to


class Act(StrEnum):
    """What a person may do to a case."""

    REVIEW = "review"
    DISMISS = "dismiss"
    ISSUE = "issue"
    REPLY = "reply"
    RULE = "rule"
    WITHDRAW = "withdraw"
    ACT = "act"
    RESTORE = "restore"
    CONFIRM_DELETION = "confirm_deletion"
    ROLL_BACK = "roll_back"
    KEEP = "keep"


MAY: Mapping[Act, tuple[frozenset[State], tuple[Role, ...]]] = {
    Act.REVIEW: (frozenset({State.DETECTED}), (Role.SUPERVISOR,)),
    Act.DISMISS: (frozenset({State.DETECTED, State.REVIEWED}), (Role.SUPERVISOR,)),
    Act.ISSUE: (frozenset({State.REVIEWED}), (Role.SUPERVISOR,)),
    Act.REPLY: (frozenset({State.NOTICED, State.DISPUTED, State.CLEARED}), (Role.TENANT,)),
    Act.RULE: (frozenset({State.DISPUTED}), (Role.SUPERVISOR, Role.AUTHORITY)),
    Act.WITHDRAW: (HEARING, (Role.SUPERVISOR, Role.AUTHORITY)),
    Act.ACT: (frozenset({State.CLEARED}), (Role.SUPERVISOR,)),
    Act.RESTORE: (RESTING, (Role.TENANT, Role.SUPERVISOR, Role.AUTHORITY)),
    Act.CONFIRM_DELETION: (frozenset({State.CONFIRMING}), (Role.SUPERVISOR, Role.AUTHORITY)),
    Act.ROLL_BACK: (frozenset({State.WATCHED, State.STRAINED}), (Role.TENANT, Role.SUPERVISOR)),
    Act.KEEP: (frozenset({State.STRAINED}), (Role.TENANT, Role.SUPERVISOR)),
}
"""Act → the states in which it may be done, and by whom."""


class Matter(StrEnum):
    """What a ruling is about."""

    OBJECTION = "objection"
    EXEMPTION = "exemption"
    SILENCE = "silence"


MATTER_LABELS = {Matter.OBJECTION: N_("异议"), Matter.EXEMPTION: N_("申请豁免"), Matter.SILENCE: N_("逾期未答复")}


class Consent(StrEnum):
    """On what ground a case was cleared to be acted on; asked: the department itself gives back what it was lent; standing:
    it had authorised growth within the day beforehand."""

    AGREED = "agreed"
    SILENCE = "silence"
    RULING = "ruling"
    ASKED = "asked"
    STANDING = "standing"


CONSENT_LABELS = {
    Consent.AGREED: N_("使用单位同意"),
    Consent.SILENCE: N_("逾期未答复,视为同意"),
    Consent.RULING: N_("裁定执行"),
    Consent.ASKED: N_("使用单位要求归还"),
    Consent.STANDING: N_("使用单位的常备授权"),
}


class Answer(StrEnum):
    AGREE = "agree"
    OBJECT = "object"
    EXEMPT = "exempt"


ANSWER_LABELS = {Answer.AGREE: N_("同意"), Answer.OBJECT: N_("异议"), Answer.EXEMPT: N_("申请豁免")}


class Decision(StrEnum):
    PROCEED = "proceed"
    UPHOLD = "uphold"
    EXEMPT = "exempt"


DECISION_LABELS = {
    Decision.PROCEED: N_("驳回,继续执行"),
    Decision.UPHOLD: N_("采纳,撤销案件"),
    Decision.EXEMPT: N_("准予豁免"),
}


class Ending(StrEnum):
    """How a case ended."""

    DISMISSED = "dismissed"
    WITHDRAWN = "withdrawn"
    UPHELD = "upheld"
    EXEMPTED = "exempted"
    PROTECTED = "protected"
    RECOVERED = "recovered"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    DECLINED = "declined"
    LAPSED = "lapsed"
    FAILED = "failed"
    RETURNED = "returned"
    ROLLED_BACK = "rolled_back"
    SHRUNK = "shrunk"
    DELETED = "deleted"
    EXPANDED = "expanded"
    REQUESTED = "requested"
    TERM_OVER = "term_over"


ENDING_LABELS = {
    Ending.DISMISSED: N_("审核不通过"),
    Ending.WITHDRAWN: N_("已撤回"),
    Ending.UPHELD: N_("异议成立"),
    Ending.EXEMPTED: N_("已豁免"),
    Ending.PROTECTED: N_("受保护"),
    Ending.RECOVERED: N_("已恢复使用"),
    Ending.UNKNOWN: N_("数据不足"),
    Ending.CHANGED: N_("资源已变化"),
    Ending.DECLINED: N_("使用单位不扩容"),
    Ending.LAPSED: N_("逾期未答复"),
    Ending.FAILED: N_("执行失败"),
    Ending.RETURNED: N_("已归还"),
    Ending.ROLLED_BACK: N_("已回退"),
    Ending.SHRUNK: N_("已缩容"),
    Ending.DELETED: N_("已回收"),
    Ending.EXPANDED: N_("已扩容"),
    Ending.REQUESTED: N_("已转扩容申请"),
    Ending.TERM_OVER: N_("临时扩容已归还"),
}

SETBACKS = frozenset(
    {
        Ending.DISMISSED,
        Ending.WITHDRAWN,
        Ending.UPHELD,
        Ending.FAILED,
        Ending.RETURNED,
        Ending.ROLLED_BACK,
        Ending.DECLINED,
        Ending.LAPSED,
    }
)
"""Endings after which the same resource is left alone for a time that doubles."""

REGRETS = frozenset({Ending.RETURNED, Ending.ROLLED_BACK})
"""Endings that show that we should not have acted."""

DONE = frozenset({Ending.SHRUNK, Ending.DELETED, Ending.EXPANDED, Ending.REQUESTED, Ending.TERM_OVER})


@dataclass(frozen=True, slots=True)
class Procedure:
    """The clocks and limits of a case; a part of the policy version that it was opened under. Our own defaults.

    Days of review, reply, reminder, ruling, acting and confirmation are working days; the others calendar days.
    ``listing_hours``: how old a listing may be that shows that a resource is still off or in the recycle bin.
    ``worth_*``: ceilings of what is taken, in vCPU. ``regret_limit``: share of at least ``regret_least`` resources acted
    on above which a version is suspended. ``system_slack``: mean CPU (%) of a system's machines below which a busy one
    among idle ones is no shortage.
    """

    review_days: int = 3
    recommend_days: int = 1
    reply_days: int = 10
    reminder_days: int = 5
    ruling_days: int = 5
    act_days: int = 5
    confirm_days: int = 5
    fresh_days: int = 7
    stop_watch_days: int = 15
    bin_days: int = 30
    listing_hours: int = 48
    shrink_watch_days: int = 7
    rollback_level: float = 80.0
    exemption_days: int = 180
    newcomer_days: int = 90
    fast_growth: float = 0.25
    temporary_days: int = 30
    temporary_growth: float = 1.0
    backoff_days: int = 30
    backoff_limit_days: int = 360
    attempts: int = 3
    reason_length: int = 10
    cases_per_run: int = 200
    cases_per_department: int = 50
    worth_per_run: float = 2000.0
    worth_per_department: float = 500.0
    regret_limit: float = 0.10
    regret_least: int = 10
    system_slack: float = 40.0

    def __post_init__(self) -> None:
        for one in fields(self):
            figure = getattr(self, one.name)
            if isinstance(figure, bool) or not isinstance(figure, int | float) or figure <= 0:
                raise Invalid("procedure.bad", N_("须为正数"), name=one.name, field=one.name)
        if self.reminder_days >= self.reply_days:
            raise Invalid("procedure.reminder", N_("提醒须早于答复期限"), field="reminder_days")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Procedure:
        """Raises Invalid for names that no procedure has."""
        unknown = set(plain) - {one.name for one in fields(cls)}
        if unknown:
            raise Invalid("procedure.unknown", N_("没有这个办案参数:%(name)s"), name=min(unknown))
        return cls(**plain)


# ------------------------------------------------------------------------------------------------------------- orders

STOPPABLE = frozenset({ServiceKind.VM, ServiceKind.BARE_METAL})
"""What can be powered off and watched; the others go to the recycle bin, from where they come back whole."""
KEEPS_DATA = STOPPABLE | {ServiceKind.VOLUME, ServiceKind.DATABASE}
"""What is snapshotted before anything is done to it."""


def orders(kind: CaseKind, service: ServiceKind) -> tuple[Verb, ...]:
    """What a case of ``kind`` tells the cloud to do to such a resource, in order."""
    if kind is CaseKind.EXPAND:
        return (Verb.RESIZE,)
    saved = (Verb.SNAPSHOT,) if service in KEEPS_DATA else ()
    if kind is CaseKind.SHRINK:
        return (*saved, Verb.RESIZE)
    halted = (Verb.STOP,) if service in STOPPABLE else ()
    return (*saved, *halted, Verb.RECYCLE, Verb.DELETE)


def next_order(kind: CaseKind, service: ServiceKind, done: Verb | None) -> Verb | None:
    """The order after ``done`` (None: the first); None after the last."""
    plan = orders(kind, service)
    at = 0 if done is None else plan.index(done) + 1
    return plan[at] if at < len(plan) else None


# ------------------------------------------------------------------------------------------------------------ figures

WORTH: Mapping[Kind, float] = {
    Kind.VCPU: 1.0,
    Kind.MEMORY: 0.25 / 1024,
    Kind.BLOCK: 0.005,
    Kind.OBJECT: 0.001,
    Kind.BANDWIDTH: 0.1,
    Kind.EIP: 0.5,
    Kind.DATABASE: 2.0,
    Kind.MIDDLEWARE: 2.0,
    Kind.SECURITY: 1.0,
    Kind.CRYPTOGRAPHY: 2.0,
    Kind.ACCELERATOR: 20.0,
}
"""Our own default: what one base unit counts for when cases are ranked, in vCPU (4 GB of memory = 1)."""


def worth(what: Amounts) -> float:
    """What recovering (or giving) ``what`` counts for, in vCPU."""
    return round(sum(WORTH[kind] * figure for kind, figure in what.items()), 4)


def less(shape: Amounts, target: Amounts) -> dict[Kind, int]:
    """What a shrink from ``shape`` to ``target`` frees, kind by kind; a kind that ``target`` leaves out stays."""
    freed = {kind: figure - target.get(kind, figure) for kind, figure in shape.items()}
    return {kind: figure for kind, figure in freed.items() if figure > 0}


def more(shape: Amounts, target: Amounts) -> dict[Kind, int]:
    """What an expansion from ``shape`` to ``target`` needs beyond ``shape``."""
    needed = {kind: figure - shape.get(kind, 0) for kind, figure in target.items()}
    return {kind: figure for kind, figure in needed.items() if figure > 0}


def gentler(shape: Amounts, noticed: Amounts, fresh: Amounts | None) -> dict[Kind, int]:
    """The target of a shrink after it was judged again: never below what the department was told, never below what
    the fresh judgement holds safe, never above the present ``shape``. No fresh target: nothing may shrink."""
    if fresh is None:
        return dict(shape)
    return {
        kind: min(figure, max(noticed.get(kind, figure), fresh.get(kind, figure))) for kind, figure in shape.items()
    }


def growth(shape: Amounts, target: Amounts) -> float:
    """The largest relative growth over the kinds: 0.25 = a quarter more, inf = of something it had none of."""
    ratios = (figure / shape[kind] if shape.get(kind) else float("inf") for kind, figure in more(shape, target).items())
    return max(ratios, default=0.0)


def backoff(procedure: Procedure, setbacks: int) -> int:
    """Days for which a resource is left alone after its ``setbacks``-th setback in a row: 30, 60, 120 … 360."""
    return int(min(procedure.backoff_days * 2 ** max(setbacks - 1, 0), procedure.backoff_limit_days))


def risk(
    kind: CaseKind,
    numbers: Mapping[str, Any],
    coverage: float | None,
    mlps_level: int | None,
    setbacks: int,
    left: float,
) -> float:
    """How likely acting on it is to hurt, 0 to 1; our own default, for ranking alone, never a ground to act.

    What cannot be undone weighs most; then how near the use is to what would forbid it, what is not known of it, the
    protection level of its system, and that we were wrong about it before. ``left``: the share of the capacity that
    stays (0 for a reclaim, above 1 for an expansion).
    """
    if kind is CaseKind.EXPAND:
        return 0.0
    months = numbers.get("windows", {})
    peak = next(
        (
            float(months[days]["cpu_max"])
            for days in sorted(months, key=int, reverse=True)
            if months[days].get("cpu_max")
        ),
        None,
    )
    ceiling = 100.0 * left if left > 0 else 20.0
    near = 0.5 if peak is None else min(peak / ceiling, 1.0)
    figure = (
        (0.3 if kind is CaseKind.RECLAIM else 0.1)
        + 0.3 * near
        + 0.2 * min((1.0 - (coverage or 0.0)) / 0.1, 1.0)
        + 0.1 * (min(mlps_level or 0, 4) / 4)
        + 0.1 * min(setbacks, 1)
    )
    return round(min(figure, 1.0), 2)


RISK_LABELS = ((0.6, N_("高")), (0.35, N_("中")), (0.0, N_("低")))


def risk_label(figure: float) -> str:
    """The word for a risk."""
    return next(label for least, label in RISK_LABELS if figure >= least)


STRAIN_OF: Mapping[str, tuple[str, ...]] = {
    ServiceKind.BANDWIDTH.value: ("line_peak",),
    ServiceKind.VOLUME.value: ("disk_last",),
    ServiceKind.OBJECT_STORE.value: ("disk_last",),
    ServiceKind.DATABASE.value: ("cpu_p95", "disk_last"),
    ServiceKind.MIDDLEWARE.value: ("cpu_p95", "disk_last"),
}
"""What shows that a service was made too small; of machines the CPU P95 does."""


def strain(numbers: Mapping[str, Any], days: int) -> float | None:
    """CPU P95, or what else shows strain in such a resource (%), over the longest window of a finding's figures of at
    most ``days`` days; None where unknown."""
    fitting = [int(each) for each in numbers.get("windows", {}) if 0 < int(each) <= days]
    if not fitting:
        return None
    window = numbers["windows"][str(max(fitting))]
    shown = [window.get(name) for name in STRAIN_OF.get(str(numbers.get("kind")), ("cpu_p95",))]
    return max((float(one) for one in shown if one is not None), default=None)


FULL_OF: Mapping[Kind, str] = {
    Kind.VCPU: "cpu_p95",
    Kind.MEMORY: "mem_p95",
    Kind.BANDWIDTH: "line_peak",
    Kind.BLOCK: "disk_last",
    Kind.OBJECT: "disk_last",
}
"""What shows how full that much of a kind is."""


def crowded(numbers: Mapping[str, Any], shape: Amounts, has: Amounts) -> float | None:
    """How full (%) a resource that ``has`` so much would be in ``shape``, by the P95 of the shortest window of a
    finding's figures: the fullest of what is known of it; None where nothing is."""
    windows = numbers.get("windows", {})
    if not windows:
        return None
    shown = windows[min(windows, key=int)]
    found = [
        float(shown[name]) * has[kind] / shape[kind]
        for kind, name in FULL_OF.items()
        if shown.get(name) is not None
        and shape.get(kind)
        and has.get(kind)
        # A full disk that keeps its size is no reason to keep the cores.
        and (kind in (Kind.VCPU, Kind.MEMORY) or has[kind] != shape[kind])
    ]
    return max(found, default=None)
