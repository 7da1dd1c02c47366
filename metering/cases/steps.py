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


class CaseState(StrEnum):
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
    CaseState.DETECTED: N_("待审核"),
    CaseState.REVIEWED: N_("待通知"),
    CaseState.NOTICED: N_("待答复"),
    CaseState.DISPUTED: N_("待裁定"),
    CaseState.CLEARED: N_("待执行"),
    CaseState.ORDERED: N_("执行中"),
    CaseState.WATCHED: N_("观察期"),
    CaseState.STRAINED: N_("待定是否回退"),
    CaseState.BINNED: N_("回收站"),
    CaseState.CONFIRMING: N_("待确认删除"),
    CaseState.CLOSED: N_("已结案"),
}

OPEN = frozenset(CaseState) - {CaseState.CLOSED}
HEARING = frozenset({CaseState.DETECTED, CaseState.REVIEWED, CaseState.NOTICED, CaseState.DISPUTED, CaseState.CLEARED})
"""Before anything was done to the resource."""
RESTING = frozenset({CaseState.WATCHED, CaseState.BINNED, CaseState.CONFIRMING})
"""A reclaimed resource is off or in the recycle bin, and can be had back."""

FOLLOWS: Mapping[CaseState, frozenset[CaseState]] = {
    CaseState.DETECTED: frozenset({CaseState.REVIEWED, CaseState.CLOSED}),
    CaseState.REVIEWED: frozenset({CaseState.NOTICED, CaseState.CLOSED}),
    CaseState.NOTICED: frozenset({CaseState.DISPUTED, CaseState.CLEARED, CaseState.CLOSED}),
    CaseState.DISPUTED: frozenset({CaseState.DISPUTED, CaseState.CLEARED, CaseState.CLOSED}),
    CaseState.CLEARED: frozenset({CaseState.DISPUTED, CaseState.ORDERED, CaseState.WATCHED, CaseState.CLOSED}),
    CaseState.ORDERED: frozenset(
        {
            CaseState.ORDERED,
            CaseState.CLEARED,
            CaseState.WATCHED,
            CaseState.STRAINED,
            CaseState.BINNED,
            CaseState.CONFIRMING,
            CaseState.CLOSED,
        }
    ),
    CaseState.WATCHED: frozenset({CaseState.ORDERED, CaseState.STRAINED, CaseState.CLOSED}),
    CaseState.STRAINED: frozenset({CaseState.ORDERED, CaseState.CLOSED}),
    CaseState.BINNED: frozenset({CaseState.ORDERED, CaseState.CONFIRMING}),
    CaseState.CONFIRMING: frozenset({CaseState.CONFIRMING, CaseState.ORDERED}),
    CaseState.CLOSED: frozenset(),
}


def follow(state: CaseState, to: CaseState) -> CaseState:
    """``to``, if it may follow ``state``; WrongState otherwise."""
    if to not in FOLLOWS[state]:
        raise WrongState(
            "case.step",
            N_("案件处于“%(state)s”,不能转为“%(to)s”"),
            state=STATE_LABELS[state],
            to=STATE_LABELS[to],
        )
    return to


class CaseAct(StrEnum):
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


MAY: Mapping[CaseAct, tuple[frozenset[CaseState], tuple[Role, ...]]] = {
    CaseAct.REVIEW: (frozenset({CaseState.DETECTED}), (Role.SUPERVISOR,)),
    CaseAct.DISMISS: (frozenset({CaseState.DETECTED, CaseState.REVIEWED}), (Role.SUPERVISOR,)),
    CaseAct.ISSUE: (frozenset({CaseState.REVIEWED}), (Role.SUPERVISOR,)),
    CaseAct.REPLY: (frozenset({CaseState.NOTICED, CaseState.DISPUTED, CaseState.CLEARED}), (Role.TENANT,)),
    CaseAct.RULE: (frozenset({CaseState.DISPUTED}), (Role.SUPERVISOR, Role.AUTHORITY)),
    CaseAct.WITHDRAW: (HEARING, (Role.SUPERVISOR, Role.AUTHORITY)),
    CaseAct.ACT: (frozenset({CaseState.CLEARED}), (Role.SUPERVISOR,)),
    CaseAct.RESTORE: (RESTING, (Role.TENANT, Role.SUPERVISOR, Role.AUTHORITY)),
    CaseAct.CONFIRM_DELETION: (frozenset({CaseState.CONFIRMING}), (Role.SUPERVISOR, Role.AUTHORITY)),
    CaseAct.ROLL_BACK: (frozenset({CaseState.WATCHED, CaseState.STRAINED}), (Role.TENANT, Role.SUPERVISOR)),
    CaseAct.KEEP: (frozenset({CaseState.STRAINED}), (Role.TENANT, Role.SUPERVISOR)),
}
"""Act → the states in which it may be done, and by whom."""
SIGNED_ACTS = frozenset({CaseAct.ISSUE, CaseAct.RULE, CaseAct.CONFIRM_DELETION})
"""Acts that are a person's signature, which no service gives."""


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


class RulingDecision(StrEnum):
    PROCEED = "proceed"
    UPHOLD = "uphold"
    EXEMPT = "exempt"


DECISION_LABELS = {
    RulingDecision.PROCEED: N_("驳回,继续执行"),
    RulingDecision.UPHOLD: N_("采纳,撤销案件"),
    RulingDecision.EXEMPT: N_("准予豁免"),
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
    EXTENDED = "extended"


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
    Ending.EXTENDED: N_("使用期限已延长"),
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
