"""The history of a case as people read it: every line of its trail and of its letter's, with what it changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import or_, select

from console.pages.cases.evidence import VERB_LABELS
from console.words import CASE_ACTIONS, _, amounts, number, role, when
from metering.cases import (
    ANSWER_LABELS,
    CATEGORY_LABELS,
    DECISION_LABELS,
    ENDING_LABELS,
    MATTER_LABELS,
    STATE_LABELS,
    Case,
)
from metering.judging import KIND_LABELS
from metering.judging import LABELS as VERDICT_LABELS
from quota.actors import Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.errors import N_

FIELDS = {
    "state": N_("状态"), "ending": N_("结果"), "kind": N_("类别"), "verdict": N_("结论"), "shape": N_("现规格"),
    "target": N_("目标规格"), "answer": N_("答复"), "decision": N_("裁定"), "matter": N_("事项"), "verb": N_("动作"),
    "order": N_("工单"), "amounts": N_("规格"), "notice": N_("通知"), "number": N_("凭证"), "until": N_("截止"),
    "category": N_("类别"), "evidence": N_("证据"), "confirmed": N_("已确认人数"), "days_watched": N_("观察天数"),
    "protected": N_("受保护"), "file": N_("文件"), "size": N_("大小(字节)"), "sm3": N_("SM3摘要"),
}  # fmt: skip
WORDS: dict[str, dict[str, str]] = {
    "state": {one.value: label for one, label in STATE_LABELS.items()},
    "ending": {one.value: label for one, label in ENDING_LABELS.items()},
    "kind": {one.value: label for one, label in KIND_LABELS.items()},
    "verdict": {one.value: label for one, label in VERDICT_LABELS.items()},
    "answer": {one.value: label for one, label in ANSWER_LABELS.items()},
    "decision": {one.value: label for one, label in DECISION_LABELS.items()},
    "matter": {one.value: label for one, label in MATTER_LABELS.items()},
    "category": {one.value: label for one, label in CATEGORY_LABELS.items()},
    "verb": {one.value: label for one, label in VERB_LABELS.items()},
}


def history(tx: Tx, case: Case) -> list[dict[str, Any]]:
    """Newest first: events for ``ui.timeline``."""
    subjects = [case.subject, f"notice:{case.notice_id}" if case.notice_id else case.subject]
    about = AuditRecord.subject.in_(subjects)
    exempt = (AuditRecord.subject == f"resource:{case.resource_id}") & (AuditRecord.at >= case.opened_at)
    query = select(AuditRecord).where(or_(about, exempt), AuditRecord.action.in_(CASE_ACTIONS))
    records = tx.scalars(query.order_by(AuditRecord.sequence.desc()).limit(200))
    return [
        {
            "at": each.at,
            "who": role(Role.SYSTEM) if each.role == Role.SYSTEM else each.actor,
            "what": _(CASE_ACTIONS[each.action]),
            "reason": _(each.reason) if each.reason else "",
            "changes": [
                (_(FIELDS[name]), _written(name, (each.before or {}).get(name)), _written(name, value))
                for name, value in (each.after or {}).items()
                if name in FIELDS and value not in (None, "", [], {})
            ],
        }
        for each in records
    ]


def _written(name: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if name in WORDS and isinstance(value, str):
        return _(WORDS[name].get(value, value))
    if isinstance(value, dict):
        return amounts(value)
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if isinstance(value, int | float):
        return number(value)
    if name == "until" and isinstance(value, str) and "T" in value:  # to the minute, where it is lent by the hour
        return when(datetime.fromisoformat(value))
    return when(value) if hasattr(value, "isoformat") else str(value)
