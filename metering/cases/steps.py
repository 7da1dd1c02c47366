"""The steps of a case: which state may follow which, who may do what in it, which orders it takes, by which clocks.

Pure: neither database nor clock. A case takes something away (shrink, reclaim) or gives (expand). What takes away goes
through notice and reply; silence is consent to a shrink, and to nothing else.

    detected → reviewed → noticed → cleared → ordered ⇄ watched → ordered → binned → confirming → ordered → closed
                             ↘ disputed ↗       (snapshot, then shrink or stop; recycle; delete)
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from metering.judging import CaseKind
from providers.base import ServiceKind, Verb
from quota.actors import Role
from quota.errors import N_, WrongState


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
