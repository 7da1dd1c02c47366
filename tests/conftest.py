"""What every test may use: the traces, and an empty book on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings

from console import passwords
from quota.db import Book
from tests import books

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes says something of the machine that the tests share with others, nothing of the house.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


# Tests log in a thousand times; what the house takes to hash a password is asked of PasswordHasher() by test_access.
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
passwords._NOBODYS = passwords.hashed("nobody's")

MEMORY = Path("/dev/shm")  # noqa: S108 - the machine's memory as a folder; who writes there makes a folder of its own
ROOM_B = 6 * 2**30


def pytest_configure() -> None:
    """Let tests write into memory where there is room: on a disk they mostly wait for fsync, which none of them tests."""
    if "TMPDIR" in os.environ or not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if whole >= 2 * ROOM_B and shutil.disk_usage(MEMORY).free >= ROOM_B:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


SERVICES = {"postgres", "bucket", "cluster"}
"""Fixtures that start a server beside the tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what opens a browser, starts a server, reads whole traces or tells a whole story: so nobody forgets to."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        given = getattr(item, "callspec", None)
        if asked & SERVICES or (given is not None and given.params.get("book_url") == "postgresql"):
            item.add_marker("services")
        if asked & {"browser", "demo_home"}:
            item.add_marker("browser")
        if "traces" in asked or "journeys" in item.path.parts:
            item.add_marker("slow")


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 6, 1, 2, 0, tzinfo=UTC))


@pytest.fixture(scope="session")
def traces() -> Path:
    """The folder of real traces."""
    found = Path(os.environ.get("GUANJIA_TRACES", ROOT.parent / "shared" / "traces"))
    assert found.is_dir(), f"no traces at {found}; set GUANJIA_TRACES"
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a running PostgreSQL."""
    with books.server() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def book_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty book, on each database in turn."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = books.postgres(server)
        yield url
        books.drop(server, url)
    else:
        yield books.sqlite(tmp_path / "book.db")


@pytest.fixture
def book(book_url: str, clock: Clock) -> Iterator[Book]:
    """An empty book whose time is ``clock``."""
    opened = Book(book_url, clock=clock)
    yield opened
    opened.dispose()
