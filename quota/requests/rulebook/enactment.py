"""The approval rules that a city has enacted: versions that are never edited, each with the day it takes effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.errors import N_, Conflict, Invalid
from quota.requests import rules
from quota.requests.rules import RuleOutcome, RuleText

if TYPE_CHECKING:
    from quota.db import Tx


class ApprovalRule(Base):
    """审批规则: one version of one rule, as ``quota.requests.rules`` understands it. A version that asks for steps and has none
    repeals it."""

    __tablename__ = "approval_rules"
    __table_args__ = (
        UniqueConstraint("code", "version"),
        CheckConstraint("version > 0", name="version"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    name: Mapped[str] = mapped_column(String(96))
    basis: Mapped[str] = mapped_column(Text, default="")  # what it rests on: a document, or that it is our default
    effective_from: Mapped[date]
    priority: Mapped[int] = mapped_column(default=0)
    condition: Mapped[dict[str, Any]]
    steps: Mapped[list[Any]]
    outcome: Mapped[str] = mapped_column(
        String(8), default=RuleOutcome.SIGN.value, server_default=RuleOutcome.SIGN.value
    )
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")  # why it does not allow
    ending: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")  # what the end of a term leads to
    enacted_by: Mapped[str] = mapped_column(String(64))
    enacted_at: Mapped[datetime]

    def rule(self) -> rules.Rule:
        """This version for the pure rules."""
        return rules.Rule(
            self.code, self.version, self.effective_from, self.priority, self.condition, tuple(self.steps),
            RuleOutcome(self.outcome), self.reason, self.ending,
        )  # fmt: skip

    def text(self) -> RuleText:
        """This version as it is written down."""
        return RuleText(
            code=self.code, name=self.name, effective_from=self.effective_from, basis=self.basis, priority=self.priority,
            condition=self.condition, outcome=RuleOutcome(self.outcome), reason=self.reason, steps=self.steps,
            ending=self.ending,
        )  # fmt: skip


def enact(
    tx: Tx,
    code: str,
    name: str,
    condition: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    *,
    effective_from: date,
    priority: int = 0,
    basis: str = "",
    after: int | None = None,
    outcome: RuleOutcome = RuleOutcome.SIGN,
    reason: str = "",
    ending: Mapping[str, Any] | None = None,
) -> ApprovalRule:
    """Enact the next version of rule ``code`` from ``effective_from`` on; requests already filed keep theirs.

    ``after`` is the newest version that the page showed (0: there was none). The authority's right. Raises Invalid for
    a rule that cannot be applied or that would reach into the past, Conflict where ``after`` is not the newest.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    if tx.actor.role is not Role.SYSTEM and effective_from < tx.now.astimezone(ZONE).date():
        raise Invalid("rules.past", N_("规则不能从过去的日期起生效"), field="effective_from")
    if not rules.CODE.fullmatch(code) or code in rules.RESERVED:
        raise Invalid("rules.code", N_("规则代码由小写字母、数字和 _ 组成,2 至 32 个字符"), field="code")
    rules.check(dict(condition), list(steps), outcome, reason, ending)
    last = newest(tx, code)
    if after is not None and after != last:
        raise Conflict("rules.stale", N_("规则 %(code)s 已有第 %(version)s 版,请核对后再制定"), code=code, version=last)
    row = ApprovalRule(
        code=code,
        version=last + 1,
        name=name,
        basis=basis,
        effective_from=effective_from,
        priority=priority,
        condition=dict(condition),
        steps=[dict(step) for step in steps],
        outcome=outcome.value,
        reason=reason.strip(),
        ending=dict(ending or {}),
        enacted_by=tx.actor.login,
        enacted_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "rule.enact",
        f"approval_rule:{row.id}",
        after={
            "code": code,
            "name": name,
            "version": row.version,
            "effective_from": effective_from,
            "priority": priority,
            "condition": row.condition,
            "steps": row.steps,
            "outcome": row.outcome,
            **({"reason": row.reason} if row.reason else {}),
            **({"ending": row.ending} if row.ending else {}),
        },
        reason=basis,
    )
    return row


def enacted(tx: Tx) -> list[rules.Rule]:
    """Every version of every rule."""
    return [one.rule() for one in tx.scalars(select(ApprovalRule).order_by(ApprovalRule.code, ApprovalRule.version))]


def named(tx: Tx, fact: str) -> list[str]:
    """What rules that hold or are coming ask that the list ``fact`` of a request has: labels of annexes, say."""
    found = [rules.named(one.condition, fact) for one in standing(tx, tx.now.astimezone(ZONE).date())]
    return sorted({name for names in found for name in names})


def ends_terms(tx: Tx, kind: str) -> bool:
    """Whether a rule in force may say what the end of a term leads to, of what a request of this kind was granted."""
    found = [one for one in in_force(tx, tx.now.astimezone(ZONE).date()) if one.outcome == RuleOutcome.END]
    of_kind = dict.fromkeys(rules.FACTS) | {"kind": kind}
    return any(rules.truth(one.condition, of_kind) is not False for one in found)


def newest(tx: Tx, code: str) -> int:
    """The number of the newest version of rule ``code``; 0 where there is none."""
    return tx.scalar(select(func.max(ApprovalRule.version)).where(ApprovalRule.code == code)) or 0


def in_force(tx: Tx, on: date) -> list[ApprovalRule]:
    """The versions in force on ``on``, lowest priority first."""
    rows = {(one.code, one.version): one for one in tx.scalars(select(ApprovalRule))}
    return [rows[one.code, one.version] for one in rules.in_force([row.rule() for row in rows.values()], on)]


def standing(tx: Tx, on: date) -> list[RuleText]:
    """Every rule as it is in force on ``on``, or as it is to be, where a newer version waits for its day."""
    now = {(one.code, one.version) for one in in_force(tx, on)}
    rows = tx.scalars(select(ApprovalRule).order_by(ApprovalRule.priority, ApprovalRule.code, ApprovalRule.version))
    newest = {one.code: one for one in rows if (one.code, one.version) in now or one.effective_from > on}
    return [one.text() for one in newest.values() if not one.rule().repealed]


DEFAULT_BASIS = N_("系统默认值,可由主管部门调整")

_BIG = [
    {"fact": "vcpu", "op": ">", "value": 64},
    {"fact": "memory_gb", "op": ">", "value": 128},
    {"fact": "accelerator", "op": ">", "value": 0},
]
_OVER_QUOTA = {"fact": "over_quota", "op": "==", "value": True}
_NOT_XINCHUANG = {
    "all": [{"fact": "grows", "op": "==", "value": True}, {"fact": "xinchuang", "op": "==", "value": False}]
}
_DELIVERED = {"not": {"fact": "kind", "op": "in", "value": ["quota", "extend"]}}
_SLOW = [
    {"fact": "services", "op": "has", "value": "bare_metal"},
    {"fact": "services", "op": "has", "value": "accelerator"},
    {"fact": "accelerator", "op": ">", "value": 0},
]

DEFAULTS: Sequence[tuple[str, str, int, Mapping[str, Any], Sequence[Mapping[str, Any]]]] = (
    (
        "base",
        N_("所有申请:形式审查 1 个工作日,技术评审 3 个工作日"),
        0,
        {},
        (
            {"name": "form_check", "role": "supervisor", "days": 1},
            {"name": "technical_review", "role": "supervisor", "days": 3},
        ),
    ),
    (
        "big",
        N_("超过 64 vCPU 或 128 GB,或含加速卡:技术评审 5 个工作日"),
        10,
        {"any": _BIG},
        ({"name": "technical_review", "role": "supervisor", "days": 5},),
    ),
    (
        "authority",
        N_("超过 64 vCPU 或 128 GB、含加速卡、超配额或非信创:主管审批 2 个工作日"),
        20,
        {"any": [*_BIG, _OVER_QUOTA, _NOT_XINCHUANG]},
        ({"name": "authority_approval", "role": "authority", "days": 2},),
    ),
    (
        "delivery",
        N_("除配额调整和延期外:交付 2 个工作日,验收 3 个工作日"),
        30,
        _DELIVERED,
        (
            {"name": "delivery", "role": "provider", "days": 2},
            {"name": "acceptance", "role": "tenant", "days": 3},
        ),
    ),
    (
        "slow_delivery",
        N_("裸金属与加速卡:交付 10 个工作日"),
        40,
        {"all": [_DELIVERED, {"any": _SLOW}]},
        ({"name": "delivery", "role": "provider", "days": 10},),
    ),
)
"""Our defaults: code, name, priority, condition, steps. A supplement has 5 working days, as everywhere."""


def default_rules(tx: Tx, effective_from: date | None = None) -> list[ApprovalRule]:
    """Enact DEFAULTS, effective today where no day is given. Nothing happens where the city has rules already."""
    found = list(tx.scalars(select(ApprovalRule)))
    if found:
        return found
    since = effective_from or tx.now.astimezone(ZONE).date()
    return [
        enact(tx, code, name, condition, steps, effective_from=since, priority=priority, basis=DEFAULT_BASIS)
        for code, name, priority, condition, steps in DEFAULTS
    ]
