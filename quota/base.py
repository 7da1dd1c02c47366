"""The ground of every table: the class that they all have, the types of their columns, and the guard that keeps some append-only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DDL, JSON, BigInteger, DateTime, MetaData, Table, event
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant, kept as UTC. A naive datetime is a bug and is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: instants carry their zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table of the house. Names of constraints follow one convention so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        list[str]: JSON,
        dict[str, int]: JSON,
        dict[str, str]: JSON,
    }


class Falling(FunctionElement[Any]):
    """A column of an index from which rows are read the largest first, those without a value last, as lists show them: SQLite reads
    any index from its end like that, PostgreSQL one that was made so."""

    inherit_cache = True


@compiles(Falling, "sqlite")
def _from_the_end(element: Falling, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(*element.clauses, **kw))


@compiles(Falling, "postgresql")
def _made_so(element: Falling, compiler: Any, **kw: Any) -> str:
    (column,) = element.clauses
    return f"{compiler.process(column, **kw)} DESC{' NULLS LAST' if column.nullable else ''}"


Count = BigInteger
"""Column type of amounts in base units."""


GUARDED: dict[str, str | None] = {}
"""The tables that triggers keep append-only, by name → the column that says what of it was archived (``append_only``)."""


def append_only(table: Table, archived: str | None = None) -> None:
    """Guard ``table`` by triggers against update and delete. An ORM guard is bypassed by bulk updates.

    ``archived``: "table.column" of what was archived, and a column of the same name in ``table``: such rows may be deleted.
    """
    GUARDED[table.name] = archived
    for dialect, statements in append_only_ddl(table.name, archived).items():
        for statement in statements:
            event.listen(
                table,
                "after_create",
                DDL(statement.replace("%", "%%")).execute_if(dialect=dialect),  # type: ignore[no-untyped-call]
            )


def append_only_ddl(name: str, archived: str | None = None) -> dict[str, list[str]]:
    """Dialect → statements that make the table ``name`` append-only, as ``append_only`` says."""
    if archived is not None:
        return _archived_only_ddl(name, archived)
    return {
        "sqlite": [
            f"CREATE TRIGGER {name}_no_{verb} BEFORE {verb.upper()} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
            for verb in ("update", "delete")
        ],
        "postgresql": [
            "CREATE OR REPLACE FUNCTION guanjia_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
            f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION guanjia_append_only()",
        ],
    }


def drop_append_only_ddl(name: str) -> dict[str, list[str]]:
    """Dialect → statements that take the guard off again (for migrations going down)."""
    return {
        "sqlite": [f"DROP TRIGGER {name}_no_{verb}" for verb in ("update", "delete")],
        "postgresql": [f"DROP TRIGGER {name}_append_only ON {name}"],
    }


def _archived_only_ddl(name: str, archived: str) -> dict[str, list[str]]:
    table, key = archived.split(".")
    held = f"NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.{key} = OLD.{key})"
    return {
        "sqlite": [
            f"CREATE TRIGGER {name}_no_update BEFORE UPDATE ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END",
            f"CREATE TRIGGER {name}_no_delete BEFORE DELETE ON {name} WHEN {held} "
            f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END",
        ],
        "postgresql": [
            "CREATE OR REPLACE FUNCTION guanjia_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
            f"CREATE OR REPLACE FUNCTION guanjia_{name}_archived() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {held} THEN RAISE EXCEPTION '{name} is append-only'; END IF; RETURN OLD; END $$",
            f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION guanjia_append_only()",
            f"CREATE TRIGGER {name}_archived_only BEFORE DELETE ON {name} "
            f"FOR EACH ROW EXECUTE FUNCTION guanjia_{name}_archived()",
        ],
    }
