"""The history of a request as people read it, and what a stale page is told of what changed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from console import errors
from console.words import _, action, role, sentence, when, who
from console.words import rules as rule_words
from quota.audit import AuditRecord
from quota.db import Tx
from quota.errors import N_
from quota.requests import STATE_LABELS, approvals, notices

STATES = {state.value: label for state, label in STATE_LABELS.items()}
TOLD = {
    "state": N_("状态"),
    "turn": N_("办理方"),
    "due_at": N_("时限"),
    "decision": N_("决定"),
    "step": N_("步骤"),
    "justification": N_("测算依据"),
    "use_until": N_("使用期限"),
    "round": N_("轮次"),
    "record": N_("文号"),
    "notice": N_("通知"),
    "to": N_("收件方"),
    "reader": N_("收件人"),
    "assignee": N_("承办人"),
    "for": N_("代谁办理"),
}


def history(tx: Tx, subject: str) -> list[Mapping[str, Any]]:
    """The audit trail of a request as a timeline, newest first."""
    rows = tx.scalars(select(AuditRecord).where(AuditRecord.subject == subject).order_by(AuditRecord.sequence.desc()))
    return [
        _event({"by": row.actor, "at": row.at, "action": row.action, "before": row.before, "after": row.after,
                "reason": row.reason})
        for row in rows
    ]  # fmt: skip


def _event(change: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded change (requests.changes) as an event of a timeline."""
    before, after = change["before"], change["after"]
    return {
        "at": change["at"],
        "who": change["by"],
        "what": action(change["action"]),
        "reason": sentence(change["reason"]),
        "changes": [
            (_(label), _told(name, before.get(name)), _told(name, after[name]))
            for name, label in TOLD.items()
            if name in after and after[name] not in (None, "", before.get(name))
        ],
    }


errors.tell("request.stale", _event)


def _told(name: str, value: Any) -> str | None:
    """A recorded value as people read it."""
    if value is None or value == "":
        return None
    if name == "state":
        return _(STATES.get(value, value))
    if name in ("turn", "to"):
        return role(value)
    if name in ("assignee", "for", "reader"):
        return who(value)
    if name == "step":
        return rule_words.step_name(value)
    if name == "decision":
        return _(approvals.DECISION_LABELS[approvals.Decision(value)])
    if name == "notice":
        return _(notices.NOTICE_LABELS[notices.NoticeKind(value)])
    if name == "due_at":
        return when(_instant(value))
    return str(value)


def _instant(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
