"""The migrations make what the models say, guarded, on both databases, up and down."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url

from console.schema import upgrade
from quota.db import Book


@pytest.fixture(params=["sqlite", "postgresql"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Book:
    """A database without a single table."""
    if request.param == "sqlite":
        return Book(f"sqlite:///{tmp_path / 'bare.db'}")
    url = make_url(request.getfixturevalue("postgres"))
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS bare"))
        connection.execute(text("CREATE DATABASE bare"))
    admin.dispose()
    return Book(url.set(database="bare").render_as_string(hide_password=False))


def test_migrations_make_the_models_and_go_back(bare: Book) -> None:
    upgrade.migrate(bare)
    assert upgrade.current(bare) == upgrade.latest()
    assert upgrade.differences(bare) == []
    assert upgrade.missing_guards(bare.engine) == []
    upgrade.migrate(bare)  # again changes nothing
    upgrade.migrate(bare, "base")
    assert set(inspect(bare.engine).get_table_names()) <= {"alembic_version"}
    upgrade.migrate(bare)
    assert upgrade.differences(bare) == []
    bare.dispose()


def test_a_missing_guard_is_named(bare: Book) -> None:
    upgrade.migrate(bare)
    with bare.engine.begin() as connection:
        name = "entries_no_update" if bare.engine.dialect.name == "sqlite" else "entries_append_only ON entries"
        connection.execute(text(f"DROP TRIGGER {name}"))
    assert upgrade.missing_guards(bare.engine) == [name.split()[0]]
    bare.dispose()
