"""A book on PostgreSQL that was emptied is the empty one, and one that can't be is not lent again."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

import tests.city
from quota import audit, sealing
from quota.actors import steward
from quota.db import Book
from quota.directory import departments
from tests import books
from tests.city import TOWN, City


@pytest.mark.parametrize(
    "changed",
    [
        "ALTER TABLE departments ADD COLUMN more INTEGER",
        "CREATE INDEX ix_more ON departments (name, id)",
        "ALTER TABLE audit_records DISABLE TRIGGER USER",
        "DROP TABLE mails CASCADE",
        "ALTER TABLE certificates RENAME TO elsewhere",
    ],
)
def test_what_was_altered_is_not_lent_again(postgres: str, changed: str) -> None:
    url = books.postgres(postgres)
    book = Book(url)
    with book.engine.begin() as connection:
        connection.execute(text(changed))
    book.dispose()
    spare = list(books._empties[postgres].spare)
    books.drop(postgres, url)
    assert books._empties[postgres].spare == spare


def test_what_was_written_is_gone_and_nobody_who_was_left_behind_writes_on(postgres: str) -> None:
    url = books.postgres(postgres)
    book = Book(url)
    with book.transaction(steward()) as tx:
        departments.register(tx, "finance", "市财政局")
    with book.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM seal_layouts"))
    left_behind = book.engine.connect()
    left_behind.execute(text("SELECT 1"))
    books.drop(postgres, url)
    again = books.postgres(postgres)
    assert again != url
    empties = books._empties[postgres]
    with books._connected(again) as connection:
        assert books._shape(connection) == empties.shape
        assert books._held_by(connection) == (empties.rows, empties.numbers)
    with pytest.raises(Exception, match="terminat"):
        left_behind.execute(text("SELECT 1"))
    left_behind.invalidate()
    left_behind.close()
    book.dispose()
    fresh = Book(again)
    with fresh.transaction(steward()) as tx:
        assert departments.register(tx, "finance", "市财政局").id == 1
    fresh.dispose()
    books.drop(postgres, again)


def test_a_schema_that_is_copied_is_what_migrations_make(tmp_path: Path) -> None:
    said = []
    for name, make in {"made": books.by_migrations, "copied": books.migrate}.items():
        book = Book(f"sqlite:///{tmp_path / name}", clock=lambda: datetime(2026, 6, 1, 2, 0, tzinfo=UTC))
        make(book)
        with book.reading() as tx:
            assert list(sealing.check(tx)) == []
        books.settle(book)
        with sqlite3.connect(str(book.url.database)) as connection:
            # Where a table was written anew, its constraints and indexes stand in another order each time.
            said.append(sorted(sorted(re.split(r",?\s*\n\s*", one)) for one in connection.iterdump()))
        connection.close()
    assert said[0] == said[1]
    assert len(said[0]) > 500


def test_a_city_that_is_laid_is_the_city_that_was_founded(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row and number of it, and what is done next is sealed behind it."""
    monkeypatch.setattr(tests.city, "_FOUNDED", {})
    said = []
    for _ in range(2):
        url = books.postgres(postgres)
        book = Book(url, clock=lambda: datetime(2026, 6, 1, 2, 0, tzinfo=UTC))
        assert books.untouched(book)
        city = City(book, plan=TOWN)
        assert not books.untouched(book)
        held = books.written(book)
        with book.transaction(steward()) as tx:
            assert departments.register(tx, "finance", "市财政局").id == len(city.departments) + 1
        with book.reading() as tx:
            assert [*audit.check(tx), *sealing.check(tx)] == []
        said.append((held, {name: repr(what) for name, what in city.people.items()}, city.pools, city.companies))
        book.dispose()
        books.drop(postgres, url)
    assert said[0] == said[1]
    assert len(said[0][0][0]) > 10
