"""Conditions on more ids than a statement carries values."""

from __future__ import annotations

from sqlalchemy import select, update

from quota.actors import steward
from quota.db import Book, among
from quota.directory.departments import Department

MANY = range(3, 70_000)


def test_one_of_any_number_of_ids(book: Book) -> None:
    with book.transaction(steward()) as tx:
        tx.add_all([Department(code=f"d{n}", name=f"局{n}") for n in range(1, 6)])
    with book.transaction(steward()) as tx:
        ids = select(Department.id).order_by(Department.id)
        assert tx.scalars(ids.where(among(Department.id, MANY))).all() == [3, 4, 5]
        assert tx.scalars(ids.where(~among(Department.id, MANY))).all() == [1, 2]
        assert tx.scalars(ids.where(among(Department.id, {2}))).all() == [2], "the same statement with other ids"
        assert tx.scalars(ids.where(among(Department.id, []))).all() == []
        held = tx.scalars(select(Department).where(among(Department.id, [4])).with_for_update()).one()
        tx.execute(update(Department).where(among(Department.id, [4, 5])).values(active=False))
        assert not held.active
