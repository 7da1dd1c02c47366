"""What every test may use: the traces, and an empty book on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import atexit
import fcntl
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from wtforms import SelectField

from console import founding
from console.accounts import passwords
from console.schema import upgrade
from console.settings import Settings
from quota import db
from quota.db import Book
from tests import books
from tests.patience import PATIENCE, free_port, listening
from tests.recordings import folder
from tests.suite import affected, outside, room

outside.watch()

# Where nobody may keep bytecode, each of the hundreds of processes that tests start compiles the whole house anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

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


# Tests log in a thousand times; what the house takes to hash a password is asked of PasswordHasher() by test_access.
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)

# A statement is put into words once for each kind of database, not once for each of the thousands of books of the tests: that
# was a fifth of their time. What SQLAlchemy keeps is told apart by the dialect, of which every engine has an object of its own.
DefaultDialect.__hash__ = lambda dialect: hash(type(dialect))  # type: ignore[method-assign]
DefaultDialect.__eq__ = lambda one, other: type(one) is type(other)  # type: ignore[method-assign, assignment]
_compiled: dict[str, LRUCache[Any, Any]] = defaultdict(lambda: LRUCache(5_000))
_engine = db._engine


def _engine_that_knows(url: str, *, lasting: bool) -> Engine:
    engine = _engine(url, lasting=lasting)
    engine._compiled_cache = _compiled[engine.dialect.name]
    return engine


db._engine = _engine_that_knows

# A house that is founded begins with a copy of the schema; `step_by_step` and every process that a test starts make it.
upgrade.migrate = books.migrate


def pytest_configure(config: pytest.Config) -> None:
    if "TMPDIR" not in os.environ and (ours := room.made()):
        os.environ["TMPDIR"] = tempfile.tempdir = str(ours)
        atexit.register(room.leave, ours)


LONG = {
    "test_collection.py", "test_demo_days.py", "test_i18n.py", "test_occupancy.py", "test_privacy.py",
    "test_quota_orders.py", "test_seals.py", "test_upgrades.py",
}  # fmt: skip
"""Files of tests that found cities or wait for processes, one after the other."""

SERVICES = {"postgres", "bucket", "cluster"}
"""Fixtures that start a server beside the tests."""


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
def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--affected", action="store_true", help="only tests of what changed (tests/suite/affected.py)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``--affected``: pass over files that no change concerns, before anything of them is imported."""
    if not config.option.affected or not collection_path.match("test_*.py"):
        return None
    return True if not affected.concerned(collection_path, *affected.since()) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by what they ask for, so that nobody forgets to: what opens a browser or starts a server is left out of
    `make test-fast`; what reads the published traces needs more than a clone and is there for who asks by the mark."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        given = getattr(item, "callspec", None)
        if asked & SERVICES or (given is not None and given.params.get("book_url") == "postgresql"):
            item.add_marker("services")
        if asked & {"browser", "demo_home"}:
            item.add_marker("browser")
        if "traces" in asked or {"journeys", "browser"} & set(item.path.parts) or item.path.name in LONG:
            item.add_marker("slow")
        if "published" in asked:
            item.add_marker("published")
        if "real_cloud" in asked:
            item.add_marker("clouds")
    for outside_of_a_clone in ("published", "clouds"):
        if outside_of_a_clone not in config.option.markexpr:
            beside = [item for item in items if item.get_closest_marker(outside_of_a_clone)]
            if beside:
                config.hook.pytest_deselected(items=beside)
                items[:] = [item for item in items if not item.get_closest_marker(outside_of_a_clone)]
    # Files that take long begin: a worker that waits for a server's clock at the very end would keep all waiting.
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("browser")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: spare the garbage collector looking through them, every time, for what nobody
    needs any more (a seventh of the whole run), and let it look less often at the many small things that a test makes (a
    fifteenth). Old ones as often as it would by itself: an application that nobody needs is some MB, in each of the workers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 10)


def pytest_sessionfinish(exitstatus: int) -> None:
    gc.unfreeze()
    if exitstatus != pytest.ExitCode.OK:
        atexit.unregister(room.leave)  # what failed is looked at: it stays until the next run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    os.environ.pop("GUANJIA_TRACES", None)  # what a test starts is not told of them
    if item.get_closest_marker("published"):
        with outside.opened():
            return (yield)
    return (yield)


@pytest.fixture(scope="session")
def real_cloud() -> dict[str, Any]:
    """How the administrator of the real OpenStack gets in, as clouds.yaml has it. A test that asks for it is of
    ``make test-clouds``."""
    place = os.environ.get("OS_CLIENT_CONFIG_FILE", "")
    assert Path(place).is_file(), "no cloud: make test-clouds brings one up, or OS_CLIENT_CONFIG_FILE names one"
    with open(place, encoding="utf-8") as told:
        found: dict[str, Any] = yaml.safe_load(told)["clouds"][os.environ.get("OS_CLOUD", "testbed")]["auth"]
    return found


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo city's data directory, of this worker alone. ``GUANJIA_DEMO_CITY`` names one that is founded already."""
    given = os.environ.get("GUANJIA_DEMO_CITY")
    if given:
        founding.found(Settings(data=Path(given)), demo=True)
        return Path(given)
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo-founded"
    with Path(f"{shared}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # founding takes a minute: the first worker does it, the others copy
        if not shared.exists():
            founding.found(Settings(data=Path(f"{shared}.begun")), demo=True)
            Path(f"{shared}.begun").rename(shared)
    return Path(shutil.copytree(shared, tmp_path_factory.mktemp("demo") / "home", copy_function=taken))


def taken(source: str, target: str) -> None:
    """A file of the lake is never written to again, so that a second name for it is enough; half a GB is in them."""
    if source.endswith(".parquet"):
        with suppress(OSError):  # a city that was given may lie on another disk
            os.link(source, target)
            return
    shutil.copy2(source, target)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a running PostgreSQL."""
    with books.server() as address:
        yield address


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of a bucket on a real S3 server on loopback."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")
    try:
        listening(port)
        yield (
            f"s3://city/lake?endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
        )
    finally:
        server.terminate()
        server.wait(PATIENCE)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema is made by its migrations, as in every process of the house."""
    monkeypatch.setattr(upgrade, "migrate", books.by_migrations)


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
