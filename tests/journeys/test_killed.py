"""The steward's processes are killed between what the cloud did and what the book says of it, and started again.

Real processes, nothing in them that knows of this test. They are stopped at the very instant by holding locks of the two
files that they must write: the cloud's own log (so that the order is on its way and not yet taken), then the book (so
that the cloud has acted and nobody could write it down). The story itself is told over HTTP.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from console.schema import upgrade
from metering import cases
from metering.cases.exemptions import Category
from metering.judging import assess, findings, policies
from metering.judging.facts import Facts
from metering.judging.figures import FIGURES
from metering.judging.policy import Verdict
from providers.adapters.simulated.cloud import SimulatedCloud
from providers.base import ServiceKind
from providers.orders.tables import WorkOrder
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Book
from quota.directory.pools import Pool
from quota.inventory import Resource
from quota.ledger import entries
from tests.city import CONSOLE, City
from tests.patience import PATIENCE, answered, free_port, pause, until

pytestmark = pytest.mark.slow

CLOUD_POOL = "gov-x86"
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
GENERATION = re.compile(r'name="generation"[^>]*value="(\d+)"')


class Browser:
    """Somebody who comes over the wire."""

    def __init__(self, address: str, login: str, password: str) -> None:
        self.address = address
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.token = ""
        self.page("/login")
        self.send("/login", login=login, password=password)

    def page(self, path: str, data: bytes | None = None) -> str:
        with self.opener.open(self.address + path, data, timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
        found = TOKEN.search(text)
        self.token = found.group(1) if found else self.token
        return text

    def send(self, path: str, **typed: object) -> str:
        return self.page(path, urllib.parse.urlencode({"csrf_token": self.token, **typed}).encode())


class JudgedCity(City):
    """A city whose findings are judged from figures, not said: ``guanjia verify`` judges them again."""

    def judge(self, verdicts: Mapping[int, Verdict], **_more: Any) -> int:
        self.clock.advance()
        there = ("wanted", "expected", "live", *(each for each in FIGURES if each.endswith("coverage")))
        figures = dict.fromkeys(FIGURES, 0.0) | dict.fromkeys(there, 1.0) | {"disk_full_days": 1000.0}
        if Verdict.BUSY in verdicts.values():
            busy = {"cpu_mean": 60.0, "cpu_p95": 88.0, "cpu_p99": 89.0, "cpu_max": 89.0}
            figures |= busy | {f"{code}_given": figure for code, figure in busy.items()}
        with self.by() as tx:
            version = policies.version(tx, self.policy)
            policy = version.policy()
            row = {"kind": "vm", "age_days": 400.0, "off_days": 0.0, "dead_days": 0.0}
            facts = Facts.from_rows(
                [row | {"windows": {str(days): figures for days in policy.windows()}}] * len(verdicts)
            )
            found = assess.judge(facts, policy)
            assert list(found) == list(verdicts.values())
            yesterday = tx.now.astimezone(ZONE).date() - timedelta(days=1)
            rows = findings.judged(found, [tx.get_one(Resource, one) for one in verdicts], {})
            return findings.record(tx, version, yesterday - timedelta(days=29), yesterday, tx.now, "local", rows).id


class House:
    """A data directory with a city, a simulated cloud in it, and the product's own processes over it."""

    def __init__(self, home: Path) -> None:
        self.home, self.log = home, home / "cloud.db"
        self.book = Book(f"sqlite:///{home / 'book.db'}")
        upgrade.migrate(self.book)
        self.passwords = City(self.book, plan=CONSOLE).passwords
        self.clock = Now()
        epoch = (datetime.now(UTC) - timedelta(days=1)).date()
        cloud = SimulatedCloud(CLOUD_POOL, epoch, state_file=self.log)
        one = next(
            each
            for each in cloud.inventory(datetime.now(UTC)).facts
            if each.kind is ServiceKind.VM and each.state == "running"
        )
        self.city = JudgedCity(self.book, self.clock)
        machine = self.city.machine(dict(one.amounts))
        with self.book.transaction(steward()) as tx:
            pool = tx.get_one(Pool, self.city.pool)
            pool.adapter = "simulated"
            pool.adapter_options = {"pool": CLOUD_POOL, "epoch": epoch.isoformat(), "state_file": "{home}/cloud.db"}
            resource = tx.get_one(Resource, machine)
            resource.external_id, department = one.external_id, resource.department_id
        self.city.tenant = Actor("tenant1", "钱", Role.TENANT, department_id=department)
        self.case_id = self.city.cleared(Verdict.IDLE, machine)
        self.machine = machine
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GUANJIA_")},
            "GUANJIA_DATA": str(home),
        }

    # ------------------------------------------------------------------------------------------------- its processes

    def start(self, *command: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("guanjia")), *command],
            env=self.environment,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def job(self, name: str) -> None:
        process = self.start("jobs", "--once", name)
        assert process.wait(PATIENCE) == 0, name

    @contextmanager
    def door(self) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        port = free_port()
        process = self.start("serve", "--port", str(port), "--workers", "1")
        address = f"http://127.0.0.1:{port}"
        try:
            answered(f"{address}/login")
            yield address, process
        finally:
            kill(process)

    # ---------------------------------------------------------------------------------------------- what can be seen

    def order(self) -> WorkOrder:
        with self.book.reading() as tx:
            found = tx.scalars(select(WorkOrder).order_by(WorkOrder.id.desc())).first()
            assert found is not None
            return found

    def on_its_way(self) -> bool:
        """Whether the book says that the cloud is being told just now."""
        order = self.order()
        return order.state == "sent" and order.next_try_at is not None and order.next_try_at > self.clock.now

    def acted(self) -> list[str]:
        """Every order that the cloud took, in its own words."""
        with closing(sqlite3.connect(self.log)) as log:
            return [key for (key,) in log.execute("SELECT key FROM orders ORDER BY seq")]

    def state(self) -> str:
        with self.book.reading() as tx:
            return tx.get_one(cases.Case, self.case_id).state

    def a_quarter_of_an_hour_passes(self) -> None:
        """Nobody waits so long: what an order may take at the cloud is over."""
        with self.book.transaction(steward()) as tx:
            order = tx.get_one(WorkOrder, self.order().id)
            order.next_try_at = tx.now if order.next_try_at else None


class Now:
    """The real time; ``advance`` waits for it, so that no two words are of one instant."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def advance(self, **_by: float) -> datetime:
        pause(0.01)
        return self.now


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to it and to all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


@contextmanager
def held(path: Path) -> Iterator[Callable[[], None]]:
    """Nobody else writes to a SQLite file until the block ends or what is given is called."""
    lock = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield lambda: lock.in_transaction and lock.execute("ROLLBACK") and None
    finally:
        if lock.in_transaction:
            lock.execute("ROLLBACK")
        lock.close()


@pytest.fixture
def killed_house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.book.dispose()
    shutil.rmtree(tmp_path / "lake", ignore_errors=True)


def killed_after_the_cloud_acted(house: House) -> None:
    """The job carries the order to the cloud, which does it; before anybody can write it down the process is dead."""
    order, before = house.order(), house.acted()
    with held(house.log) as let_go:
        process = house.start("jobs", "--once", "carry")
        until(house.on_its_way, "the order is on its way")
        with held(house.home / "book.db"):
            let_go()
            until(lambda: house.acted() == [*before, order.key], "the cloud has acted")
            assert process.poll() is None
            kill(process)
    assert house.order().state == "sent", "the book knows nothing of what the cloud did"


def killed_before_the_cloud_acted(house: House) -> None:
    """The same, but the order was on its way only."""
    before = house.acted()
    with held(house.log):
        process = house.start("jobs", "--once", "carry")
        until(house.on_its_way, "the order is on its way")
        kill(process)
    assert house.acted() == before


def act(house: House) -> None:
    """The supervisor begins; the snapshot is made and the machine's stop is ordered."""
    house.city.act(house.case_id)
    house.job("carry")
    house.job("advance")
    assert (house.state(), house.order().verb, house.order().state) == ("ordered", "stop", "pending")


@pytest.mark.parametrize("reason", ["busy", "exempt"])
def test_killed_before_the_cloud_heard_of_it_it_is_looked_at_anew_and_left_alone(
    killed_house: House, reason: str
) -> None:
    house = killed_house
    act(house)
    killed_before_the_cloud_acted(house)
    assert (house.order().state, house.order().told) == ("sent", True)
    if reason == "busy":
        house.city.judge({house.machine: Verdict.BUSY})
    else:
        until_ = (datetime.now(UTC) + timedelta(days=30)).date()
        with house.book.transaction(house.city.second) as tx:
            cases.exempt(
                tx, tx.get_one(Resource, house.machine), Category.KEY_PERIOD, "重保期间不得关机,请予保留", until_
            )
    house.job("carry")
    assert house.order().state == "sent", "whoever told it may be telling it still: nothing is concluded yet"
    for _ in range(2):
        house.a_quarter_of_an_hour_passes()
        house.job("carry")
        house.job("advance")
    assert house.acted() == [f"case:{house.case_id}:1:snapshot"], "the cloud was never told to stop it"
    assert (house.order().state, house.state()) == ("cancelled", "closed")
    with house.book.reading() as tx:
        ending = tx.get_one(cases.Case, house.case_id).ending
        assert ending == {"busy": "recovered", "exempt": "exempted"}[reason]
        assert tx.get_one(Resource, house.machine).state == "running"
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []


def test_killed_between_the_cloud_and_the_book_it_resumes_and_acts_once(killed_house: House) -> None:
    house = killed_house
    with house.door() as (address, web):
        supervisor = Browser(address, "supervisor1", house.passwords["supervisor1"])
        shown = supervisor.page(f"/cases/{house.case_id}/act")
        found = GENERATION.search(shown)
        assert found is not None
        supervisor.send(f"/cases/{house.case_id}/act", generation=found.group(1), sure="y")
        assert (house.state(), house.order().verb) == ("ordered", "snapshot")

        killed_before_the_cloud_acted(house)
        house.a_quarter_of_an_hour_passes()
        killed_after_the_cloud_acted(house)
        kill(web)  # and the web server with it

    house.a_quarter_of_an_hour_passes()
    house.job("carry")
    house.job("advance")
    assert (house.state(), house.order().verb) == ("ordered", "stop"), "resumed, and gone on"
    killed_after_the_cloud_acted(house)
    for _ in range(2):
        house.a_quarter_of_an_hour_passes()
        house.job("carry")
        house.job("advance")

    subject = f"case:{house.case_id}"
    assert house.acted() == [f"{subject}:1:snapshot", f"{subject}:2:stop"], "each order reached the cloud once"
    with house.book.reading() as tx:
        assert tx.get_one(Resource, house.machine).state == "stopped"
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []
    with house.door() as (address, _web):
        page = Browser(address, "supervisor1", house.passwords["supervisor1"]).page(f"/cases/{house.case_id}")
        assert "观察期" in page
        assert "恢复资源" in page
    verified = house.start("verify", stdout=subprocess.PIPE)
    told = verified.communicate(timeout=PATIENCE)[0].decode()
    # All is right, but that days were judged which this house, without a lake, never metered: that is told.
    assert verified.returncode == 1, told
    assert told.startswith("lake: 30 days that were judged are not there"), told
    assert "\n1 problems:" in told, told
