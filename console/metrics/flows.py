"""Flows: how often requests, orders and cases went from one state to another, counted from the audit trail.

The trail is never rewritten, so that a count of it only grows, whichever process counts and whenever it began. A process
counts each record once: what came since the last scrape is all that is read.
"""

from __future__ import annotations

import threading
from collections import Counter

from prometheus_client.core import CounterMetricFamily, Metric
from sqlalchemy import func, select

from quota import audit
from quota.db import Tx

LENGTH = 5
SUBJECTS = {"case.": "case", "order": "order", "reque": "request"}
"""The first letters of actions → what has states that it goes through. One pass over the trail tells all three."""


class Flows:
    """Transitions counted up to a record of the trail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0
        self._counted: Counter[tuple[str, str, str]] = Counter()

    def collect(self, tx: Tx) -> Metric:
        """The family, with what was appended since."""
        with self._lock:
            self._count(tx)
            family = CounterMetricFamily(
                "guanjia_transitions",
                "Times that requests, orders and cases went from one state to another, by the audit trail.",
                labels=["of", "from", "to"],
            )
            for (subject, before, after), count in sorted(self._counted.items()):
                family.add_metric([subject, before, after], count)
            return family

    def _count(self, tx: Tx) -> None:
        newest, _digest = audit.head(tx)
        if newest < self._until:  # another book under the same name: restored from a backup, founded anew
            self._until, self._counted = 0, Counter()
        before = audit.AuditRecord.before["state"].as_string()
        after = audit.AuditRecord.after["state"].as_string()
        subject = func.substr(audit.AuditRecord.action, 1, LENGTH)
        query = (
            select(subject, before, after, func.count())
            .where(
                audit.AuditRecord.sequence > self._until,
                audit.AuditRecord.sequence <= newest,
                subject.in_(SUBJECTS),
                before.is_not(None),
                after.is_not(None),
            )
            .group_by(subject, before, after)
        )
        for begins, was, now, count in tx.execute(query):
            self._counted[SUBJECTS[begins], was, now] += count
        self._until = newest
