"""Rows held against their seals: every table of the metadata in turn, none named by hand, on both databases."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm.attributes import flag_modified

from console.schema import upgrade
from console.settings import Settings
from console.verification.checks import examine
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota import audit, sealing
from quota.actors import steward
from quota.base import Base
from quota.db import Book, Tx
from quota.directory import departments
from quota.directory.people import Person
from quota.ledger import Account
from quota.sealing import cover
from quota.sealing.rows import RowSeal
from tests import books
from tests.console.test_hostile_book import let_anything_in

TABLES = sealing.under_seal()


def kind_of(column: Column[Any]) -> type:
    kind = getattr(column.type, "impl", column.type)
    kinds = (JSON, Boolean, Integer, DateTime, Date, Float, Numeric, LargeBinary)
    return next((one for one in kinds if isinstance(kind, one)), str)


def typical(column: Column[Any], number: int) -> Any:
    """What a column may hold; other for another number."""
    return {
        JSON: {"n": number},
        Boolean: bool(number % 2),
        Integer: number,
        DateTime: datetime(2026, 6, 1, tzinfo=UTC) + timedelta(hours=number),
        Date: date(2026, 6, 1) + timedelta(days=number),
        Float: number / 4,
        Numeric: Decimal(number),
        LargeBinary: b"%d" % number,
        str: str(number),
    }[kind_of(column)]


def row_of(table: Table, number: int) -> dict[str, Any]:
    return {one.name: typical(one, number) for one in table.columns}


def named_by(book: Book, table: Table) -> list[str]:
    with book.reading(one_moment=True) as tx:
        return [*sealing.check_table(tx, table), *sealing.check_gone(tx, table)]


def lawless(book: Book) -> None:
    """Let rows be written to any table by themselves, whatever they refer to, and behind the guards."""
    if book.engine.dialect.name == "sqlite":
        book.dispose()

        @event.listens_for(book.engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA foreign_keys=OFF")
            connection.execute("PRAGMA ignore_check_constraints=ON")

    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        let_anything_in(connection)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stuffed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """A book with three rows in every table under seal, written through the book."""
    if request.param == "postgresql":
        url = books.postgres(request.getfixturevalue("postgres"))
    else:
        url = books.sqlite(tmp_path_factory.mktemp("stuffed") / "book.db")
    book = Book(url)
    lawless(book)
    with book.transaction(steward("test")) as tx:
        for table in TABLES:
            tx.execute(insert(table), [row_of(table, 800 + one) for one in (1, 2, 3)])
    yield book
    book.dispose()


def test_every_table_is_under_seal_or_says_why() -> None:
    known = set(Base.metadata.tables)
    assert known >= {*cover.ELSEWHERE, *cover.UNSEALED, *cover.PASSING}
    assert not set(cover.ELSEWHERE) & set(cover.UNSEALED)
    assert {one.name for one in TABLES} == known - {*cover.ELSEWHERE, *cover.UNSEALED}
    assert all({**cover.ELSEWHERE, **cover.UNSEALED}.values())
    for name, (columns, why) in cover.PASSING.items():
        table = Base.metadata.tables[name]
        assert why
        assert cover.sealed(table)
        assert columns <= {one.name for one in table.columns if not one.primary_key}
        assert cover.columns(table)


LEFT = {
    "progress of the house's own work, told again by the next run": {"job_runs", "intakes", "probes", "backup_runs"},
    "computed from rows under seal and the lake; computed again where in doubt": {
        "policy_replays", "kept_forecasts", "policy_days", "measured_uses", "judged_wholes", "known_figures", "coverage_days", "measured_visits", "awaited_cases", "quota_drifts", "search_entries",
    },
    "what a cloud or a source says of itself, written over by its next word": {
        "cloud_book_readings", "cloud_capacities", "cloud_quotas", "feed_readings", "feed_names",
    },
    "counts by which a source is mended; what was refused never counted": {"sample_refusals"},
    "what sources count of systems, added up each minute: a ground to ask, by which nothing is taken": {"system_visits", "visit_series"},
    "how long an endpoint was looked at, to be looked up; what counts is the incident, under seal": {"endpoint_days"},
    "its outcome is digested into the audit chain": {"verification_runs"},
    "where copies went; the copies themselves are what is believed": {"anchor_publications", "audit_exports"},
    "sessions: who came and went is in the audit chain": {"sign_ins", "identity_sessions"},
    "of use for minutes, gone afterwards": {"used_marks", "api_key_uses", "try_counters", "staged_files", "held_sheets"},
    "a reminder: no limit runs by it": {"mails", "mail_items"},
}  # fmt: skip
"""Why nobody is wronged by a change of its rows → the tables. Who adds one here takes it from under the seals, and answers for it."""
LEFT_COLUMNS = {
    "when somebody or something was last seen": {
        "people.last_login_at", "identity_links.seen_at", "api_tokens.used_at", "api_tokens.used_from",
        "resources.last_seen_at", "resources.first_sample_at", "resources.last_sample_at", "cloud_projects.last_seen_at",
        "push_sources.last_point_at", "outage_signals.last_heard_at",
    },
    "how an endpoint stands by its last probe": {f"probe_endpoints.{one}" for one in ("probed_ms", "up", "down_ms", "failed")},
    "counts of what a push source sent": {"push_sources.points", "push_sources.ignored", "push_sources.refused"},
    "how a feed's last run went, written anew by the next": {
        f"feeds.{one}"
        for one in (
            "collected_until", "collected_at", "succeeded_at", "newest_at", "samples", "seen", "due", "coverage", "skew_s",
            "unknown", "notes", "fault", "fault_said", "fault_at", "trial_asked_at", "trial_at", "trial", "withheld", "read_again_on", "second",
        )
    },
}  # fmt: skip


def test_what_is_not_under_seal_is_named_here_with_its_reason() -> None:
    assert set(cover.UNSEALED) == set().union(*LEFT.values())
    assert {f"{name}.{one}" for name, (columns, _why) in cover.PASSING.items() for one in columns} == set().union(
        *LEFT_COLUMNS.values()
    )


def test_what_the_book_wrote_is_clean_and_each_changed_column_is_named(stuffed: Book) -> None:
    behind = stuffed.engine.execution_options(guanjia_writes=True)
    for table in TABLES:
        assert named_by(stuffed, table) == []
        keys = list(table.primary_key)
        key = "/".join(str(typical(one, 802)) for one in keys)
        mine = [one == typical(one, 802) for one in keys]
        for column in table.columns:
            if column.primary_key:
                continue
            with behind.begin() as connection:
                connection.execute(update(table).where(*mine).values({column.name: typical(column, 805)}))
            said = named_by(stuffed, table)
            if column in cover.columns(table):
                (told,) = said
                assert told.startswith(f"{table.name}: row {key} differs in {column.name} from its seal "), told
            else:
                assert said == [], column
            with behind.begin() as connection:
                connection.execute(update(table).where(*mine).values({column.name: typical(column, 802)}))
        assert named_by(stuffed, table) == []


def test_rows_that_came_went_or_make_no_sense_are_named(stuffed: Book) -> None:
    behind = stuffed.engine.execution_options(guanjia_writes=True)
    for table in TABLES:
        keys = list(table.primary_key)
        names = {one: "/".join(str(typical(column, one)) for column in keys) for one in (801, 802, 803, 804)}
        with behind.begin() as connection:
            connection.execute(delete(table).where(*(one == typical(one, 801) for one in keys)))
            connection.execute(insert(table), [row_of(table, 804)])
            if connection.dialect.name == "sqlite":
                column = next(
                    one for one in cover.columns(table) if not one.primary_key and kind_of(one) is not Boolean
                )
                where = " AND ".join(f'"{one.name}" = :{one.name}' for one in keys)
                given = {
                    one.name: value.isoformat() if isinstance(value := typical(one, 803), date) else value
                    for one in keys
                }
                connection.execute(text(f'UPDATE "{table.name}" SET "{column.name}" = x\'fffe\' WHERE {where}'), given)
        said = named_by(stuffed, table)
        assert any(one.startswith(f"{table.name}: row {names[801]} is gone: its seal ") for one in said), said
        assert f"{table.name}: row {names[804]} has no seal: the book never wrote it" in said
        if behind.dialect.name == "sqlite":
            assert any(one.startswith(f"{table.name}: row {names[803]} ") for one in said), said
        assert not any(names[802] in one for one in said)
        with behind.begin() as connection:
            connection.execute(delete(table).where(*(one.in_([typical(one, 804), typical(one, 803)]) for one in keys)))
            connection.execute(insert(table), [row_of(table, 801), row_of(table, 803)])


def test_who_wrote_a_row_last_and_with_which_record_is_told(book: Book) -> None:
    with book.transaction(steward("first")) as tx:
        departments.register(tx, "d", "某局")
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        connection.execute(text("UPDATE departments SET name = '他局', active = false"))
    with book.reading() as tx:
        number, _digest = sealing.head(tx)
        record, _digest = audit.head(tx)
        assert list(sealing.check(tx)) == [
            f"departments: row 1 differs in active, name from its seal {number} (by first, audit record {record})"
        ]


# ------------------------------------------------------------------------------------------------- every way of writing


def seals_of(tx: Tx, place: str) -> list[tuple[str, bool]]:
    """(key, whether the row is there) of each seal, in order."""
    query = select(RowSeal.key, RowSeal.digest).where(RowSeal.place == place).order_by(RowSeal.sealing, RowSeal.key)
    return [(key, bool(digest)) for key, digest in tx.execute(query)]


def test_every_way_of_writing_is_sealed(book: Book) -> None:
    people, now = Person.__table__, datetime(2026, 6, 1, tzinfo=UTC)

    def one(login: str) -> dict[str, Any]:
        return {
            "login": login, "name": "某人", "role": "auditor", "email": "", "password_hash": "x", "password_history": [],
            "password_changed_at": now, "must_change": False, "session_epoch": 0, "granted": True, "active": True, "service": False,
        }  # fmt: skip

    with book.transaction(steward()) as tx:
        tx.execute(insert(Person), [one("a"), one("b")])
        assert tx.execute(insert(people).returning(people.c.login, people.c.id), [one("c")]).all() == [("c", 3)]
        person = Person(**one("d"))
        tx.add(person)
        tx.flush()
        tx.delete(person)  # came and went
        with tx.begin_nested() as aside:
            tx.add(Person(**one("e")))
            tx.flush()
            aside.rollback()
    with book.reading() as tx:
        assert seals_of(tx, "people") == [("1", True), ("2", True), ("3", True)]
    with book.transaction(steward()) as tx:
        tx.execute(update(Person).where(Person.login == "a").values(name="甲"))
        tx.execute(update(Person), [{"id": 2, "name": "乙"}])
        tx.execute(delete(people).where(people.c.login == "c"))
    with book.reading() as tx:
        assert seals_of(tx, "people")[3:] == [("1", True), ("2", True), ("3", False)]
        before = sealing.head(tx)
    with book.transaction(steward()) as tx:  # what passes is not written
        tx.get_one(Person, 1).last_login_at = now
        tx.execute(update(Person), [{"id": 2, "last_login_at": now}])
        tx.execute(update(Person).values(last_login_at=None))
    with book.transaction(steward()) as tx:  # nor what is set to what it was
        found = tx.get_one(Person, 1)
        found.name, found.role = "甲", found.role
    with book.trial(steward()) as tx:
        tx.get_one(Person, 1).name = "丙"
        tx.flush()
    with book.reading() as tx:
        assert sealing.head(tx) == before
        assert list(sealing.check(tx)) == []
    for reckoned in (True, False):  # what the database adds up, and what was changed within a value
        with book.transaction(steward()) as tx:
            found = tx.get_one(Person, 1)
            if reckoned:
                found.session_epoch = Person.session_epoch + 1
            else:
                found.password_history.append("y")
                flag_modified(found, "password_history")
    with book.reading() as tx:
        assert seals_of(tx, "people")[6:] == [("1", True), ("1", True)]
        assert list(sealing.check(tx)) == []


def test_a_statement_that_does_not_tell_which_rows_it_writes_is_refused(book: Book) -> None:
    with book.transaction(steward()) as tx, pytest.raises(sealing.Unfollowed):
        tx.execute(text("UPDATE people SET name = 'x'"))
    people = Person.__table__
    with book.transaction(steward()) as tx, pytest.raises(sealing.Unfollowed):
        tx.execute(update(people).values(name="x").returning(people.c.login))


def test_many_at_once_seal_one_chain(book: Book) -> None:
    faults: list[BaseException] = []

    def write(who: int) -> None:
        try:
            for turn in range(4):
                with book.transaction(steward(f"writer{who}")) as tx:
                    departments.register(tx, f"d{who}-{turn}", f"局{who}-{turn}")
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(one,)) for one in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert faults == []
    with book.reading(one_moment=True) as tx:
        assert list(sealing.check(tx)) == []
        assert len(seals_of(tx, "departments")) == 16


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE sealings SET actor = 'nobody' WHERE sequence = 2", "sealings: row 2 (by nobody, "),
        ("UPDATE row_seals SET digest = '' WHERE sealing = 2", "sealings: row 2 "),
        ("DELETE FROM row_seals WHERE sealing = 2", "sealings: row 2 "),
        ("DELETE FROM sealings WHERE sequence = 2", "sealings: row 2 is missing"),
        ("UPDATE seal_head SET sequence = 1", "seal_head: row 1 says 1 sealings"),
        ("UPDATE audit_records SET digest = 'x' WHERE sequence = 1", "sealings: row 2 "),
        ("UPDATE seal_layouts SET columns = 'name' WHERE place = 'departments'", "departments: row 1 differs "),
        ("UPDATE seal_layouts SET columns = 'gone name' WHERE place = 'departments'", "departments: row 1 was sealed with gone"),
        ("DELETE FROM seal_layouts WHERE place = 'departments'", "departments: row 1 is sealed by layout "),
    ],
)  # fmt: skip
def test_a_change_of_the_seals_themselves_is_named(book: Book, change: str, said: str) -> None:
    for code in ("a", "b"):
        with book.transaction(steward()) as tx:
            departments.register(tx, code, f"{code}局")
    lawless(book)
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        connection.execute(text(change))
    with book.reading() as tx:
        assert any(one.startswith(said) for one in sealing.check(tx)), list(sealing.check(tx))


# --------------------------------------------------------------------------------------------------------------- upgrades


def test_an_older_book_is_sealed_as_it_is_found(book: Book) -> None:
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        Base.metadata.drop_all(connection)
    upgrade.migrate(book)
    with book.reading() as tx:
        assert audit.head(tx)[0] == 0  # founding a book is no act of its trail
    with book.transaction(steward()) as tx:
        departments.register(tx, "d", "某局")
    upgrade.migrate(book, "0051")
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        connection.execute(text("UPDATE departments SET name = '他局'"))
    upgrade.migrate(book)
    with book.reading() as tx:
        assert list(sealing.check(tx)) == []
        record = tx.get_one(audit.AuditRecord, audit.head(tx)[0])
        assert (record.action, record.after["found"]["departments"]) == ("house.seal", 1)
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        connection.execute(text("UPDATE departments SET name = '某局'"))
    upgrade.migrate(book)  # what is sealed stays as it was sealed
    with book.reading() as tx:
        assert [one.split(" from ")[0] for one in sealing.check(tx)] == ["departments: row 1 differs in name"]
    with book.transaction(steward()) as tx:  # as a migration does that says that it rewrote a table
        assert sealing.reseal(tx, ["departments"]) == {"departments": 1}
    with book.reading() as tx:
        assert list(sealing.check(tx)) == []


# ---------------------------------------------------------------------------------------------------------- the whole city

ELSEWHERE = {
    "audit_records": "UPDATE audit_records SET reason = 'x' WHERE sequence = 5",
    "entries": "UPDATE entries SET delta = delta + 1 WHERE id = 3",
    "findings": "UPDATE findings SET coverage = 0.123 WHERE id = (SELECT MIN(id) FROM findings)",
    "statement_lines": "UPDATE statement_lines SET days = days + 1 WHERE id = (SELECT MIN(id) FROM statement_lines)",
    "bill_lines": "UPDATE bill_lines SET quantity = quantity + 1 WHERE id = (SELECT MIN(id) FROM bill_lines)",
    "file_contents": "INSERT INTO file_contents (digest, size, content) VALUES ('00', 1, x'00')",
    "audit_head": "UPDATE audit_head SET sequence = sequence - 1",
    "seal_head": "UPDATE seal_head SET sequence = sequence - 1",
    "sealings": "UPDATE sealings SET rows = rows + 1 WHERE sequence = 3",
    "row_seals": "DELETE FROM row_seals WHERE sealing = 4",
    "seal_layouts": "UPDATE seal_layouts SET columns = 'id' WHERE place = 'accounts'",
}
"""Table → a change of it, for the seals of their own."""
TOLD = {
    "findings": "assessments: run ",
    "statement_lines": "statement_runs: row ",
    "bill_lines": "bills: row ",
    "row_seals": "sealings: row 4 ",
    "seal_layouts": "accounts: row ",
}


def test_the_demo_city_is_clean_and_what_has_a_seal_of_its_own_is_named(demo_home: Path, tmp_path: Path) -> None:
    assert set(ELSEWHERE) == set(cover.ELSEWHERE)
    shutil.copyfile(demo_home / "book.db", tmp_path / "book.db")
    book = Book(Settings(data=tmp_path).database_url)
    works = Workbench(book, Lake(demo_home / "lake"), tmp_path)
    found = examine(works)
    assert found.problems == []
    with book.reading() as tx:
        accounts = len(tx.scalars(select(Account.id)).all())
        assert found.checked["sealed_rows"] > 5 * accounts > 0
    lawless(book)
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        for change in ELSEWHERE.values():
            assert connection.execute(text(change)).rowcount, change
    said = examine(works).problems
    for place in ELSEWHERE:
        assert any(one.startswith(TOLD.get(place, f"{place}: ")) for one in said), place
    book.dispose()
