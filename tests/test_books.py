"""A book on PostgreSQL that was emptied is the empty one, and one that can't be is not lent again."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from quota.actors import steward
from quota.db import Book
from quota.directory import departments
from tests import books


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
    assert books._described(again) == (empties.shape, empties.rows, empties.numbers)
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
