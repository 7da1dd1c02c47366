"""The register of what ends: whose account is named, and where two act at once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from quota.actors import Actor, Role
from quota.db import Book
from quota.directory import DatedKind, dated
from quota.errors import Invalid, Refused
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


def test_an_account_that_is_none_is_refused_for_nobody_would_see_whether_it_was_closed(book: Book) -> None:
    vendor = _vendor(book, 60)
    facts = {"name": "李四", "grants": "堡垒机", "login": "Lisi ", "ends_on": dated.LAST}
    with book.transaction(STAFF) as tx, pytest.raises(Invalid) as refusal:
        dated.enter(tx, DatedKind.ACCESS, None, facts, vendor)
    assert (refusal.value.code, refusal.value.params["field"]) == ("dated.account_none", "login")
