"""The data directory's disk fills up while the house runs, and gets room again: reading goes on, nothing else is lost.

A real ``guanjia run``, its jobs too. Where namespaces are allowed, the data directory is a small file system of its own
(tmpfs); elsewhere every process of the house gets a limit of no bytes a file, which the system reports by another error.
"""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from console import founding
from console.jobs.runs import Job, JobPlan, perform
from console.jobs.sayings import Said, say
from console.service import counters
from console.settings import Settings
from console.tables import JobRun, RunState
from metering.intake import sources
from metering.lake.store import Lake
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.errors import NoRoom, out_of_room
from quota.inventory import Resource
from tests import books
from tests.city import CONSOLE, CONSOLE_POOL, City
from tests.conftest import Clock
from tests.patience import PATIENCE, pause, until

GUANJIA = str(Path(sys.executable).with_name("guanjia"))
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


def namespaces() -> list[str] | None:
    """The words that give a command file systems of its own; None where that is not allowed."""
    for words in (["unshare", "-m"], ["unshare", "-Urm"]):
        tried = [*words, "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
        if shutil.which("unshare") and subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return words
    return None


class House:
    """A small city that runs, on a disk that can be filled."""

    def __init__(self, home: Path, *, apart: list[str] | None, database: str = "") -> None:
        made, self.apart = home / "made", apart
        self.data = home / "data"
        self.data.mkdir()
        settings = Settings(data=made, database=database)
        founding.found(settings, demo=False)
        book = Book(settings.database_url)
        city = City(book, plan=CONSOLE)
        city.add(CONSOLE_POOL)
        self.passwords = city.passwords
        with book.transaction(steward()) as tx:
            one = Resource(pool_id=city.pool, external_id="vm-1", name="web-1", kind="vm", arch="aarch64", state="running",
                           address="10.0.0.1", first_seen_at=tx.now)  # fmt: skip
            tx.add(one)
        with book.transaction(Actor("supervisor1", "督导", Role.SUPERVISOR)) as tx:
            self.token = sources.register(tx, "agents", "代理", city.pool)[1]
        book.dispose()
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        run = [GUANJIA, "run", "--data", str(self.data), "--port", str(port)]
        if apart:
            script = 'mount -t tmpfs -o size=48m tmpfs "$1"; cp -a "$2/." "$1"; shift 2; exec "$@"'
            run = [*apart, "sh", "-c", script, "sh", str(self.data), str(made), *run]
        else:
            shutil.copytree(made, self.data, dirs_exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GUANJIA_")}
        environment |= {"GUANJIA_DATABASE": database} if database else {}
        self.log = (home / "log").open("w+b")
        self.process = subprocess.Popen(run, env=environment, stdout=self.log, stderr=self.log, start_new_session=True)
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.log.close()

    def processes(self) -> list[int]:
        """The parent and its children."""
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def fill(self) -> None:
        if not self.apart:
            for pid in self.processes():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with (self.inside() / "ballast").open("wb", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def empty(self) -> None:
        if not self.apart:
            for pid in self.processes():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return
        (self.inside() / "ballast").unlink()

    def inside(self) -> Path:
        """The data directory as the house sees it."""
        return Path(f"/proc/{self.process.pid}/root{self.data}")

    def ask(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, str, Any]:
        request = urllib.request.Request(self.address + path, data, headers)  # noqa: S310
        try:
            with self.opener.open(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers

    def send(self, path: str, page: str, **typed: str) -> tuple[int, str, Any]:
        found = TOKEN.search(self.ask(page)[1])
        assert found is not None
        return self.ask(path, urllib.parse.urlencode({"csrf_token": found.group(1), **typed}).encode())

    def push(self) -> tuple[int, str, Any]:
        point = {"timeUnixNano": str(time.time_ns()), "asDouble": 1.0,
                 "attributes": [{"key": "instance", "value": {"stringValue": "10.0.0.1:9100"}}]}  # fmt: skip
        metric = {"name": "node_memory_MemTotal_bytes", "gauge": {"dataPoints": [point]}}
        body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        return self.ask("/v1/metrics", json.dumps(body).encode(), **headers)


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[list[House]]:
    """One on a small disk (where that is not allowed the limit stands in, so that the story is told all the same), one under a
    limit."""
    made: list[House] = []
    try:
        for name, apart in (("disk", namespaces() or []), ("limit", None)):
            (tmp_path / name).mkdir()
            made.append(House(tmp_path / name, apart=apart))
        yield made
    finally:
        for one in made:
            one.end()


PAGES = ("/", "/settings/jobs/", "/requests/", "/healthz", "/metrics", "/login")


def test_reading_goes_on_writing_is_refused_and_both_recover(houses: list[House]) -> None:
    """Both at once, as either waits for the next minute's jobs."""
    with ThreadPoolExecutor(len(houses)) as stories:
        list(stories.map(_fills_up_and_gets_room, houses))


def _fills_up_and_gets_room(house: House) -> None:
    until(lambda: _answers(house), "a house that answers")
    login, password = "supervisor1", house.passwords["supervisor1"]
    assert house.send("/login", "/login", login=login, password=password)[0] == 200
    assert house.push()[0] == 200
    before, another = house.processes(), "Another-1-word-here"

    def change() -> tuple[int, str, Any]:
        return house.send("/password", "/password", old=password, password=another, again=another)

    house.fill()
    try:
        for _ in range(8):
            for page in PAGES:
                assert house.ask(page)[0] == 200, page
            status, said, headers = house.push()
            assert (status, headers["Retry-After"]) == (503, "60"), said
        for language, words in (("zh_CN", "存储空间已满"), ("en", "no room")):
            house.ask(f"/language/{language}")
            status, said, headers = change()
            assert (status, headers["Retry-After"]) == (507, "60"), said[:2000]
            assert words in said.lower()
        # The jobs of the next minute find no room.
        pause(62 - datetime.now(UTC).second)
        assert house.ask("/settings/jobs/")[0] == 200
    finally:
        house.empty()

    assert house.processes() == before, "no process died of it"
    assert house.push()[0] == 200
    assert change()[0] == 200
    until(
        lambda: "There is no room left" in house.ask("/settings/jobs/?state=failed")[1],
        "jobs that tell of the full disk",
    )
    assert house.processes() == before


def test_a_book_on_postgresql_is_written_on_while_the_data_directory_has_no_room(tmp_path: Path, postgres: str) -> None:
    url = books.bare(postgres)
    house = House(tmp_path, apart=namespaces() or [], database=url)
    try:
        until(lambda: _answers(house), "a house that answers")
        login, password, another = "supervisor1", house.passwords["supervisor1"], "Another-1-word-here"
        assert house.send("/login", "/login", login=login, password=password)[0] == 200
        assert house.push()[0] == 200
        before = house.processes()
        house.fill()
        try:
            for page in PAGES:
                assert house.ask(page)[0] == 200, page
            status, said, headers = house.push()
            assert (status, headers["Retry-After"]) == (503, "60"), said
            changed = house.send("/password", "/password", old=password, password=another, again=another)
            assert changed[0] == 200, "the book lies elsewhere"
        finally:
            house.empty()
        assert house.push()[0] == 200
        assert house.processes() == before, "no process died of it"
    finally:
        house.end()
        books.drop(postgres, url)


def _answers(house: House) -> bool:
    assert house.process.poll() is None, Path(house.log.name).read_text()
    try:
        return house.ask("/healthz")[0] == 200
    except OSError:
        return False


# ------------------------------------------------------------------------------------------------------ piece by piece


def test_a_run_that_could_not_be_recorded_is_made_up_for(
    book: Book, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = True
    write = Book.transaction

    def writing(self: Book, *words: Any) -> Any:
        if not room:
            raise NoRoom("disk")
        return write(self, *words)

    monkeypatch.setattr(Book, "transaction", writing)

    def job(name: str, run: Callable[[], list[Said]]) -> Job:
        return Job(JobPlan(name, name, "* * * * *", "book", attempts=1), run)

    def fills() -> list[Said]:
        nonlocal room
        room = False
        return [say("compacted", files=3)]

    assert perform(book, job("compact", fills), clock()) is RunState.DONE
    clock.advance(minutes=1)
    assert perform(book, job("fold", list), clock()) is RunState.FAILED, "there was no room to claim it"
    assert perform(book, job("compact", list), clock()) is RunState.FAILED
    room = True
    clock.advance(minutes=1)
    assert perform(book, job("fold", list), clock()) is RunState.DONE
    with book.reading() as tx:
        kept = [(one.job, one.state, one.said) for one in tx.scalars(select(JobRun).order_by(JobRun.id))]
        told = tx.scalars(select(AuditRecord.action)).all()
    assert [one[:2] for one in kept] == [("compact", "done"), ("fold", "failed"), ("fold", "done")]
    assert kept[0][2] == [["compacted", {"files": 3}]], "what it did is told, though late"
    assert kept[1][2][0][0] == "refused"
    assert told.count("job.failed") == 1


def test_what_databases_and_systems_say_of_a_full_disk() -> None:
    import sqlite3

    from psycopg.errors import DiskFull

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert out_of_room(OSError(number, "full"))
    assert out_of_room(DiskFull("could not extend file"))
    assert not out_of_room(OSError(errno.EACCES, "no"))
    full = sqlite3.connect(":memory:")
    full.execute("PRAGMA max_page_count=3")
    full.execute("CREATE TABLE a (b)")
    with pytest.raises(sqlite3.OperationalError) as told:
        full.execute("INSERT INTO a VALUES (zeroblob(100000))")
    assert out_of_room(told.value)


def test_a_full_book_says_so(tmp_path: Path) -> None:
    founding.found(Settings(data=tmp_path), demo=False)
    book = Book(Settings(data=tmp_path).database_url)
    with book.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(NoRoom), book.transaction(steward()) as tx:
        tx.audit("a", "b", reason="x" * 1_000_000)
    book.dispose()


def test_counters_have_their_room_before_they_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MEMORY", tmp_path / "memory")
    (tmp_path / "memory").mkdir()
    folder = counters.prepare(tmp_path, 2)
    assert folder is not None
    assert folder.parent == tmp_path / "memory"
    monkeypatch.setenv(counters.VARIABLE, str(folder))
    counters.take()
    files = list(folder.glob(f"*_{os.getpid()}.db"))
    assert [one.stat().st_blocks * 512 >= counters.ROOM for one in files] == [True, True]

    def full(*_words: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    counters.take()
    assert counters.VARIABLE not in os.environ
    assert counters.prepare(tmp_path, 2) is None, "each process counts by itself"


def test_a_lake_without_room_refuses_the_whole_delivery(tmp_path: Path) -> None:
    from metering.lake.files import LakeFull, room

    assert issubclass(LakeFull, NoRoom)
    assert Lake(tmp_path).hot_days() == []
    with pytest.raises(LakeFull), room():
        raise OSError(errno.ENOSPC, "full")
