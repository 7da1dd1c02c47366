"""The register of what ends, where two act at once."""

from __future__ import annotations

import threading
from datetime import timedelta

from quota.actors import Actor, Role
from quota.db import Book
from quota.directory import DatedKind, dated
from quota.errors import Refused
from tests.patience import PATIENCE, pause

STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)


def _vendor(book: Book, days: int) -> int:
    with book.transaction(STAFF) as tx:
        facts = {"name": "华信运维", "grants": "运维", "ends_on": tx.now.date() + timedelta(days=days)}
        return dated.enter(tx, DatedKind.VENDOR, None, facts).id


def test_nobody_enters_a_vendors_person_while_it_is_being_closed(book: Book) -> None:
    vendor, refused = _vendor(book, 60), list[str]()

    def enter() -> None:
        try:
            with book.transaction(STAFF) as tx:
                facts = {"name": "李四", "grants": "堡垒机", "ends_on": tx.now.date()}
                dated.enter(tx, DatedKind.ACCESS, None, facts, vendor)
        except Refused as refusal:
            refused.append(refusal.code)

    other = threading.Thread(target=enter)
    with book.transaction(STAFF) as tx:
        dated.close(tx, vendor, tx.now.date(), "合同终止", generation=1)
        other.start()
        pause(0.5)
    other.join(PATIENCE)
    assert refused == ["dated.vendor"]
