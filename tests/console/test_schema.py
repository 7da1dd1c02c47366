"""The migrations make what the models say, guarded, on both databases, up and down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from inspect import getsource as inspect_source
from pathlib import Path
from types import ModuleType

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from console.schema import upgrade
from metering.intake import collection
from quota.actors import steward
from quota.base import Base
from quota.db import Book
from quota.directory import Pool
from quota.requests import kinds
from quota.requests.asks import Line
from quota.requests.tables import Request, RequestLine
from quota.units import VCPU
from tests.city import TOWN, City
from tests.console.test_hostile_book import let_anything_in, usual

pytestmark = pytest.mark.usefixtures("step_by_step")


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


def test_a_request_about_what_the_register_does_not_have_loses_the_reference_alone(bare: Book) -> None:
    upgrade.migrate(bare)
    town = City(bare, plan=TOWN)
    machine = town.standing_machine({VCPU: 4}, "known")
    requests = [town.draft(kinds.UNSUBSCRIBE, resource_id=machine, lines=[Line(current={VCPU: 4})]) for _n in range(2)]
    upgrade.migrate(bare, "0024")
    with bare.engine.begin() as connection:
        dangling = {"id": requests[0].id}
        connection.execute(text("UPDATE requests SET resource_id = 999 WHERE id = :id"), dangling)
    upgrade.migrate(bare)
    assert upgrade.differences(bare) == []
    with bare.reading() as tx:
        found = tx.execute(select(Request.id, Request.resource_id, Request.number).order_by(Request.id)).all()
        assert found == [
            (requests[0].id, None, requests[0].number), (requests[1].id, machine, requests[1].number),
        ]  # fmt: skip
        assert len(list(tx.scalars(select(RequestLine.id)))) == 2
    with pytest.raises(IntegrityError), bare.engine.begin() as connection:
        connection.execute(text("UPDATE requests SET resource_id = 999"))
    bare.dispose()


def test_gaps_of_a_pool_are_kept_on_the_way_up_and_joined_on_the_way_down(bare: Book) -> None:
    upgrade.migrate(bare)
    City(bare, plan=TOWN)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    days = [at + timedelta(days=n) for n in range(6)]
    with bare.transaction(steward("test")) as tx:
        first, *_more = tx.scalars(select(Pool)).all()
        row = collection.mark(tx, first.id, at, rows=0, refused=0, unknown=0)
        row.miss([(days[4], days[5]), (days[0], days[1])])
        assert row.gaps == [(days[0], days[1]), (days[4], days[5])]
    upgrade.migrate(bare, "0061")
    upgrade.migrate(bare)
    assert upgrade.differences(bare) == []
    with bare.reading() as tx:
        assert [one.gaps for one in tx.scalars(select(collection.Intake))] == [[(days[0], days[5])]]
    bare.dispose()


def test_every_column_that_names_a_resource_is_held_to_the_register() -> None:
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if column.name == "resource_id":
                assert [key.target_fullname for key in column.foreign_keys] == ["resources.id"], str(column)


REFUSED: list[tuple[str, str, dict[str, str]]] = [
    ("0074", "second_factors", {"kind": "'webauthn'"}),
    ("0085", "cases", {"term_id": "1"}),
    ("0085", "approval_rules", {"outcome": "'end'"}),
    ("0085", "rule_drafts", {"rules": "'{\"ending\": 1}'"}),
    ("0151", "finding_archives", {}),
    ("0185", "commitments", {"state": "'confirmed'"}),
    ("0216", "tariffs", {"contract_id": "1"}),
    ("0223", "request_lines", {"approved_item_id": "1"}),
    ("0220", "system_shares", {}),
]
"""(revision, table, what a row holds for whose sake there is no way back below it)."""


def steps() -> dict[str, ModuleType]:
    return {one.revision: one.module for one in ScriptDirectory.from_config(upgrade._config()).walk_revisions()}


def test_each_migration_that_refuses_the_way_back_is_tried() -> None:
    refusing = {revision for revision, one in steps().items() if "raise " in inspect_source(one.downgrade)}
    assert refusing == {revision for revision, _table, _held in REFUSED}


@pytest.mark.parametrize(("revision", "table", "held"), REFUSED, ids=[f"{one[0]} {one[1]}" for one in REFUSED])
def test_a_way_back_on_which_rows_would_go_is_refused(
    book: Book, revision: str, table: str, held: dict[str, str]
) -> None:
    columns = Base.metadata.tables[table].columns
    row = {one.name: usual(one, 1) for one in columns} | held
    with book.engine.execution_options(guanjia_writes=True).connect() as connection:
        if connection.dialect.name == "sqlite":
            for pragma in ("foreign_keys=OFF", "ignore_check_constraints=ON"):
                connection.connection.driver_connection.execute(f"PRAGMA {pragma}")
        else:
            let_anything_in(connection)
        names = ", ".join(f'"{name}"' for name in row)
        connection.exec_driver_sql(f'INSERT INTO "{table}" ({names}) VALUES ({", ".join(row.values())})')
        with (
            Operations.context(MigrationContext.configure(connection)),
            pytest.raises(RuntimeError, match=f"no way back below {revision}"),
        ):
            steps()[revision].downgrade()
        assert connection.scalar(text(f'SELECT count(*) FROM "{table}"')) == 1
        assert {one["name"] for one in inspect(connection).get_columns(table)} == {one.name for one in columns}
        connection.rollback()
