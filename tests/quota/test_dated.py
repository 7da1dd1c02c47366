"""The register of what ends: whose account is named, and where two act at once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from quota.actors import Actor, Role
from quota.db import Book
from quota.directory import Adjustment, DatedEntry, DatedKind, dated, reorganisations
from quota.errors import Invalid, Refused
from tests.city import City
from tests.patience import PATIENCE, pause

STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)
CHIEF = Actor("authority1", "主", Role.AUTHORITY)


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


def test_what_ends_of_a_system_goes_where_the_system_goes_and_comes_back_with_it(town: City) -> None:
    with town.book.transaction(STAFF) as tx:
        facts = {"grants": "运维", "ends_on": dated.LAST}
        theirs = {"system_id": town.system, **facts}
        domain = dated.enter(tx, DatedKind.DOMAIN, town.bureau, {"name": "portal.example", **theirs}).id
        vendor = dated.enter(tx, DatedKind.VENDOR, town.bureau, {"name": "华信运维", **theirs}).id
        dated.enter(tx, DatedKind.ACCESS, None, {"name": "李四", **theirs}, vendor)
        dated.enter(tx, DatedKind.LICENCE, town.bureau, {"name": "数据库", **facts})

    def lie() -> list[int | None]:
        with town.book.reading() as tx:
            return list(tx.scalars(select(DatedEntry.department_id).order_by(DatedEntry.id)))

    with town.book.transaction(CHIEF) as tx:
        batch = reorganisations.reorganise(
            tx, Adjustment.SYSTEMS, town.bureau, town.neighbour, reason="职能划转", key="one", system_ids=[town.system]
        ).id
    assert domain == 1
    assert lie() == [town.neighbour, town.bureau, town.bureau, town.bureau]
    with town.book.transaction(CHIEF) as tx:
        reorganisations.undo(tx, batch, reason="划转有误")
    assert lie() == [town.bureau] * 4
