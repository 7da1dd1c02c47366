"""A city of release 0.1.0 as it lay on its disk, brought up to this one, on both databases: nothing lost, verified clean."""

from __future__ import annotations

import json
import lzma
import re
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from console import founding
from console.app import create_app
from console.backups import books as book_files
from console.schema import upgrade
from console.settings import Settings
from console.verification import examine
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota.db import Book
from tests import books

RELEASE = Path(__file__).resolve().parent.parent / "recordings" / "release_0_1_0"
REVISION = "0021"
"""The newest of that release."""
FIGURES = {
    "ledger": "SELECT pool_id, kind, arch, holder, balance FROM accounts ORDER BY 1, 2, 3, 4, 5",
    "statements": "SELECT id, month, lines, proven_fen, unmeasured_fen FROM statement_runs ORDER BY 1",
    "trail": "SELECT sequence, digest FROM audit_records WHERE sequence <= 1689 ORDER BY 1",
    "resources": "SELECT id, external_id, name, kind FROM resources ORDER BY 1",
    "requests": "SELECT id, number, state FROM requests ORDER BY 1",
    "cases": "SELECT id, state FROM cases ORDER BY 1",
    "findings": "SELECT count(*), min(id), max(id) FROM findings",
    "certificates": "SELECT count(*), min(id), max(id) FROM certificates",
}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of the city of 0.1.0."""
    data = tmp_path_factory.mktemp("release") / "data"
    data.mkdir(mode=0o700)
    with closing(sqlite3.connect(data / "book.db")) as connection:
        connection.executescript(lzma.decompress((RELEASE / "book.sql.xz").read_bytes()).decode())
    with tarfile.open(RELEASE / "lake.tar.xz") as archive:
        archive.extractall(data, filter="data")
    return data


def figures(book: Book) -> dict[str, list[list[str]]]:
    with book.engine.connect() as connection:
        return {
            name: [[str(value) for value in row] for row in connection.execute(text(query))]
            for name, query in FIGURES.items()
        }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def book_url(request: pytest.FixtureRequest, left: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The book of 0.1.0, on each database."""
    if request.param == "sqlite":
        yield f"sqlite:///{left / 'book.db'}"
        return
    url = books.postgres(request.getfixturevalue("postgres"), "template0")
    folder = tmp_path_factory.mktemp("rows")
    book = Book(url)
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.executescript(lzma.decompress((RELEASE / "book.sql.xz").read_bytes()).decode())
        with closing(sqlite3.connect(folder / "book.db")) as copy:
            memory.backup(copy)
    book_files.load(book, REVISION, book_files.spread(folder / "book.db", folder), folder)
    book.dispose()
    yield url


def test_the_city_of_0_1_0_is_brought_up_to_date(book_url: str, left: Path, tmp_path: Path) -> None:
    book = Book(book_url)
    assert upgrade.current(book) == REVISION
    before, told = figures(book), ""
    if book.engine.dialect.name == "postgresql":
        ddl = migrated(book)
        told = linted(ddl, tmp_path)
    founding.found(Settings(data=left, database=book_url), demo=False)  # as `guanjia run` does it
    assert upgrade.current(book) == upgrade.latest()
    assert upgrade.differences(book) == []
    assert upgrade.missing_guards(book.engine) == []
    assert figures(book) == before
    assert examine(Workbench(book, Lake(left / "lake"), left)).problems == []
    app = create_app(Settings(data=left, database=book_url, secret_key="t" * 40), book)
    assert app.test_client().get("/login").status_code == 200
    assert told == ""
    book.dispose()


def migrated(book: Book) -> dict[str, list[str]]:
    """Bring the book up revision by revision; what each said to the database, values aside."""
    said: dict[str, list[str]] = {}
    for script in reversed(list(scripts().iterate_revisions("head", REVISION))):
        statements = said[script.revision] = []

        def heard(_c: object, _cursor: object, statement: str, *_rest: object, to: list[str] = statements) -> None:
            if re.match(r"\s*(CREATE|ALTER|DROP)\b", statement, re.IGNORECASE):
                to.append(statement.strip())

        event.listen(book.engine, "before_cursor_execute", heard)
        upgrade.migrate(book, script.revision)
        event.remove(book.engine, "before_cursor_execute", heard)
    return said


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(upgrade.MIGRATIONS))
    return ScriptDirectory.from_config(config)


LEFT_OUT = {
    # The house stands still while it is brought up to date, in one transaction (docs/operators/upgrades.md): what only
    # spares those who write meanwhile is of no use, and CONCURRENTLY is not possible in a transaction.
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "adding-foreign-key-constraint",
    "constraint-missing-not-valid",
    "changing-column-type",
    "require-lock-timeout",
    "require-statement-timeout",
    # Old releases do not run beside new ones on one book: nothing that they would miss is kept for them.
    "ban-drop-column",
    "ban-drop-table",
    "ban-drop-not-null",
    # One schema for two databases: lengths are held by both, ids are what SQLite can count.
    "prefer-text-field",
    "prefer-bigint-over-int",
    "prefer-identity",
    # All or nothing: each revision is in a transaction, which the lines alone do not show.
    "prefer-robust-stmts",
}
"""Rules of squawk that are not asked, by reason."""


def linted(said: dict[str, list[str]], folder: Path) -> str:
    """What squawk finds in the statements of the revisions; "" where all is in order."""
    files = []
    for revision, statements in said.items():
        if statements:
            path = folder / f"{revision}.sql"
            path.write_text("".join(f"{one.rstrip(';')};\n" for one in statements))
            files.append(str(path))
    squawk = str(Path(sys.executable).with_name("squawk"))
    words = [squawk, "--reporter", "json", "--pg-version", "14", "--exclude", ",".join(sorted(LEFT_OUT)), *files]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout or "[]")
    assert done.returncode in (0, 1), done.stderr
    return "\n".join(f"{Path(one['file']).stem}: {one['rule_name']}: {one['message']}" for one in found)


def test_squawk_finds_what_it_is_asked_for(tmp_path: Path) -> None:
    found = linted({"0000": ["ALTER TABLE a ADD COLUMN b timestamp", "CREATE TABLE c (d char(3))"]}, tmp_path)
    assert "prefer-timestamp-tz" in found
    assert "ban-char-field" in found


def test_each_migration_since_says_what_it_locks_and_whether_there_is_a_way_back() -> None:
    silent = []
    for script in scripts().iterate_revisions("head", REVISION):
        said = script.module.__doc__ or ""
        if not re.search(r"^Locks: .+", said, re.MULTILINE) or not re.search(r"\bBack: .+", said):
            silent.append(Path(script.path).name)
    assert silent == []


def test_a_table_that_others_refer_to_is_written_anew_with_its_rows_there(tmp_path: Path) -> None:
    """SQLite drops it to do so; what then refers to nothing is found before the commit, and all is as it was."""
    book = Book(f"sqlite:///{tmp_path / 'book.db'}")

    def anew(kept: str) -> None:
        with upgrade._unguarded(book) as connection:
            connection.execute(text("CREATE TABLE written (id INTEGER PRIMARY KEY, more TEXT)"))
            connection.execute(text(f"INSERT INTO written (id) SELECT id FROM whole WHERE {kept}"))
            connection.execute(text("DROP TABLE whole"))
            connection.execute(text("ALTER TABLE written RENAME TO whole"))

    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        connection.execute(text("CREATE TABLE whole (id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE part (id INTEGER PRIMARY KEY, of_id INTEGER REFERENCES whole (id))"))
        connection.execute(text("INSERT INTO whole VALUES (1), (2)"))
        connection.execute(text("INSERT INTO part VALUES (7, 2)"))
    with pytest.raises(IntegrityError, match="1 rows refer"):
        anew("id = 1")
    anew("id > 0")
    with book.engine.connect() as connection:
        assert connection.execute(text("SELECT id, more FROM whole")).all() == [(1, None), (2, None)]
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    book.dispose()
