"""A small act of a person: one row changed, one line in the trail, the row sealed, durably. Beside: the row alone."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from benchmarks.harness import Watch, work
from console.schema import upgrade
from quota import audit
from quota.actors import steward
from quota.db import Book
from quota.directory import Department

WRITES = 500


def prepare(home: Path) -> None:
    book = Book(f"sqlite:///{home / 'book.db'}")
    upgrade.migrate(book)
    with book.transaction(steward("bench")) as tx:
        tx.add(Department(id=1, code="A", name="甲局"))
    book.dispose()


def guanjia(home: Path, watch: Watch) -> float:
    book, who = Book(f"sqlite:///{home / 'book.db'}"), steward("bench")

    def write(number: int) -> None:
        with book.transaction(who) as tx:
            one = tx.get_one(Department, 1)
            one.name = f"甲局{number}"
            tx.audit("department.rename", "department:1", after={"name": one.name})

    write(0)
    with book.reading() as tx:
        before, _digest = audit.head(tx)
    with watch:
        for number in range(WRITES):
            write(number + 1)
    with book.reading() as tx:
        assert audit.head(tx)[0] == before + WRITES
    book.dispose()
    return WRITES


def alone(home: Path, watch: Watch) -> float:
    """The row as durable, in a session of SQLAlchemy, neither audited nor sealed."""
    engine = create_engine(f"sqlite:///{home / 'book.db'}")

    @event.listens_for(engine, "connect")
    def prepared(connection: object, _record: object) -> None:
        connection.execute("PRAGMA synchronous=FULL")  # type: ignore[attr-defined]

    with watch:
        for number in range(WRITES):
            with Session(engine) as session:
                session.get_one(Department, 1).name = f"乙局{number}"
                session.commit()
    engine.dispose()
    return WRITES


work(
    "writes",
    "a small act, audited and sealed, durable",
    unit="writes",
    contenders={"guanjia": guanjia, "SQLAlchemy, neither audited nor sealed": alone},
    prepare=prepare,
)
