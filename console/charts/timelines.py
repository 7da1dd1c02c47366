"""The history of a thing out of the audit trail, in people's words, as ``ui.timeline`` draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from console.words import _, amounts, disclosure, state
from quota.audit import AuditRecord
from quota.db import Tx

Told = Callable[[str, Any], Any]


def timeline(
    tx: Tx,
    subject: str,
    verbs: Mapping[str, str],
    labels: Mapping[str, str],
    told: Mapping[str, Callable[[Any], Any]] | None = None,
    most: int = 100,
) -> list[dict[str, Any]]:
    """What was done to ``subject``, newest first. ``verbs``: action → its words (others are left out); ``labels``: field →
    its words (others are left out); ``told``: field → how its value is told."""
    how = {"due_at": moment, "at": moment, **(told or {})}
    records = tx.scalars(
        select(AuditRecord)
        .where(AuditRecord.subject == subject, AuditRecord.action.in_(list(verbs)))
        .order_by(AuditRecord.sequence.desc())
        .limit(most)
    ).all()
    disclosure.learn(text for one in records for text in (one.reason, *one.before.values(), *one.after.values()))

    def value(name: str, raw: Any) -> Any:
        return disclosure.told(raw) if raw is None or name not in how else how[name](raw)

    return [
        {
            "at": one.at,
            "who": one.actor,
            "what": _(verbs[one.action]),
            "reason": disclosure.told(one.reason),
            "changes": [
                (_(labels[name]), value(name, one.before.get(name)), value(name, after))
                for name, after in one.after.items()
                if name in labels and one.before.get(name) != after and after not in ({}, [], "")
            ],
        }
        for one in records
    ]


def moment(raw: Any) -> Any:
    """An instant as the trail keeps it."""
    return datetime.fromisoformat(raw) if isinstance(raw, str) else raw


def stated(prefix: str) -> Callable[[Any], str]:
    """A state's code → its word."""
    return lambda raw: _(state(f"{prefix}{raw}").label)


def shape(raw: Any) -> Any:
    """Amounts as the trail keeps them."""
    return amounts(raw) if isinstance(raw, dict) else raw
