"""The history of a request as people read it, and what a stale page is told of what changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import zip_longest
from typing import Any

from sqlalchemy import select

from console import errors
from console.book import reading
from console.words import _, action, amounts, item_name, number, role, sentence, when, who
from console.words import rules as rule_words
from quota.audit import AuditRecord
from quota.db import Tx
from quota.directory import CatalogItem, System
from quota.errors import N_
from quota.requests import STATE_LABELS, Request, RequestField, RequestKind, approvals, formbook, known, notices
from quota.units import ClassCode

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


def history(tx: Tx, request: Request) -> list[Mapping[str, Any]]:
    """The audit trail of a request as a timeline, newest first."""
    of = AuditRecord.subject == request.subject
    rows = tx.scalars(select(AuditRecord).where(of).order_by(AuditRecord.sequence.desc()))
    return [
        _event({"by": row.actor, "at": row.at, "action": row.action, "before": row.before, "after": row.after,
                "reason": row.reason}, [formbook.form_of(tx, request)])
        for row in rows
    ]  # fmt: skip


def _event(change: Mapping[str, Any], kinds: Iterable[RequestKind] | None = None) -> Mapping[str, Any]:
    """A recorded change (requests.changes) as an event of a timeline; ``kinds``: of which the request may be, any where None."""
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
        ]
        + _rewritten(before, after, {field.name: field for kind in kinds or _as_today() for field in kind.fields}),
    }


def _as_today() -> list[RequestKind]:
    tx = reading()
    return [formbook.today(tx, kind) for kind in known()]


def _rewritten(
    before: Mapping[str, Any], after: Mapping[str, Any], declared: Mapping[str, RequestField]
) -> list[tuple[str, str | None, str | None]]:
    """What a revision says otherwise than before, field by field and line by line: (label, as it was, as it is)."""
    found: list[tuple[str, str | None, str | None]] = []
    if "system" in after:
        found.append((_("信息系统"), _system(before.get("system")), _system(after["system"])))
    if "fields" in after:
        found += _fields(before.get("fields") or {}, after["fields"] or {}, declared)
    found += [
        (_("第 %(n)s 行", n=one["line"]), None, item_name(item))
        for one in after.get("approved") or []
        if one.get("item") is not None and (item := reading().get(CatalogItem, one["item"])) is not None
    ]
    if "lines" in after:
        pairs = enumerate(zip_longest(before.get("lines") or [], after["lines"] or []), start=1)
        found += [
            (_("第 %(n)s 行", n=n), _line(was, declared) if was else None, _line(now, declared) if now else None)
            for n, (was, now) in pairs
            if was != now
        ]
    return found


def _fields(
    before: Mapping[str, str], after: Mapping[str, str], declared: Mapping[str, RequestField]
) -> list[tuple[str, str | None, str | None]]:
    def said(values: Mapping[str, str], name: str) -> str | None:
        value = values.get(name)
        return _(declared[name].told(value)) if value and name in declared else value or None

    return [
        (_(declared[name].label) if name in declared else name, said(before, name), said(after, name))
        for name in [*after, *(name for name in before if name not in after)]
        if before.get(name, "") != after.get(name, "")
    ]


def _line(line: Mapping[str, Any], declared: Mapping[str, RequestField]) -> str:
    """A line as the trail keeps it (``asks.told``), in one line of text."""
    shape = line.get("amounts") or line.get("current") or {}
    parts = [amounts({ClassCode(code): figure for code, figure in shape.items()})]
    if line.get("item") is not None:
        item = reading().get(CatalogItem, line["item"])
        parts[0] = item_name(item) if item is not None else parts[0]
    if line.get("quantity", 1) != 1:
        parts[0] += f" × {number(line['quantity'])}"
    if line.get("name"):
        parts.append(line["name"])
    parts += [f"{label} {value}" for label, _was, value in _fields({}, line.get("fields") or {}, declared) if value]
    return " · ".join(parts)


def _system(system_id: int | None) -> str | None:
    found = reading().get(System, system_id) if system_id is not None else None
    return found.name if found is not None else None


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
