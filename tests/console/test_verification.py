"""`guanjia verify` on a house whose rows were changed behind its back: exit 1, and the row by name."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text

from console import founding
from console.cli import commands
from console.metrics.collecting import BookCollector
from console.settings import Settings
from console.tables import VerificationRun
from console.verification import runs
from console.verification.checks import NIGHTS, examine
from console.verification.runs import STALLED
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota import audit
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import departments
from quota.directory.pools import CloudProvider, Pool
from quota.errors import NotAllowed
from quota.ledger import capacities, entries
from quota.units import VCPU, Amount, Arch
from tests.city import TOWN, City
from tests.metering.samples import joined, steady


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """An empty house with one pool and a grant in its book."""
    home = tmp_path_factory.mktemp("house")
    settings = founding.found(Settings(data=home), demo=False)
    book = Book(settings.database_url)
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="c", name="某云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files")
        tx.add(pool)
        tx.flush()
        capacities.equip(tx, pool, VCPU, 100, key="equip")
        department = departments.register(tx, "d", "某局")
        entries.grant(tx, pool.id, department.id, Amount({VCPU: 10}).of_arch(Arch.X86_64), key="grant")
    with book.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    book.dispose()
    return home


def verify(home, *options):
    return CliRunner().invoke(commands.main, ["verify", "--data", str(home), *options])


def test_an_untouched_house_is_clean(standing):
    found = verify(standing, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["conserved"] is True


@pytest.mark.parametrize(
    ("guard", "change", "named"),
    [
        ("", "UPDATE accounts SET balance = balance + 1 WHERE holder = 'granted'", "accounts"),
        ("entries", "UPDATE entries SET delta = delta + 1, balance = balance + 1 WHERE id = 2", "entries: row 2"),
        ("audit_records", "UPDATE audit_records SET actor = 'nobody' WHERE sequence = 3", "audit_records: row 3"),
        ("audit_records", "DELETE FROM audit_records WHERE sequence = 2", "audit_records: row 2"),
    ],
)
def test_a_row_changed_behind_its_back_is_named(standing, tmp_path, guard, change, named):
    home = tmp_path / "house"
    shutil.copytree(standing, home)
    book = sqlite3.connect(home / "book.db")
    triggers = book.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (guard,)
    ).fetchall()
    assert bool(triggers) == bool(guard)
    for name, _sql in triggers:
        book.execute(f"DROP TRIGGER {name}")
    assert book.execute(change).rowcount == 1
    for _name, sql in triggers:  # put back, so that it is the row that is found
        book.execute(sql)
    book.commit()
    book.close()
    found = verify(home)
    assert found.exit_code == 1, found.output
    assert named in found.output


def test_no_house_is_said(tmp_path):
    assert verify(tmp_path / "nowhere").exit_code == 3


AUDITOR = Actor("auditor1", "审", Role.AUDITOR)
NUMBERS = [3, 5, 6, 40, 41, 77, 90, 100]


def test_what_is_asked_for_is_carried_out_once_and_kept(book, clock, tmp_path):
    works = Workbench(book, Lake(tmp_path / "lake"))
    with book.transaction(AUDITOR) as tx:
        asked = runs.ask(tx).id
    with book.transaction(AUDITOR) as tx:
        assert runs.ask(tx).id == asked, "one that waits is enough"
    (run,) = runs.carry_out(works)
    assert (run.id, run.state, run.clean, run.done, run.total) == (asked, "done", True, run.total, run.total)
    assert run.total > 20
    assert run.checked["audit_records"] >= 0
    assert runs.carry_out(works) == []
    with book.reading() as tx:
        (told,) = tx.scalars(select(AuditRecord).where(AuditRecord.action == "house.verify"))
        assert (told.subject, told.after["clean"]) == (f"verification:{asked}", True)
        figures = {one.name: one.samples for one in BookCollector(book).collect()}
    assert [one.value for one in figures["guanjia_verification_problems"]] == [0]


def test_a_run_whose_process_died_is_carried_out_anew(book, clock, tmp_path):
    works = Workbench(book, Lake(tmp_path / "lake"))
    with book.transaction(AUDITOR) as tx:
        runs.ask(tx)
    claimed = runs._claim(works)
    assert claimed is not None
    assert runs.carry_out(works) == [], "somebody is at it"
    clock.advance(seconds=STALLED.total_seconds() + 1)
    (run,) = runs.carry_out(works)
    assert (run.id, run.state) == (claimed[0], "done")


def test_a_table_that_is_not_there_is_named_and_the_rest_is_checked(book, tmp_path):
    works = Workbench(book, Lake(tmp_path / "lake"))
    with book.transaction(AUDITOR) as tx:
        runs.ask(tx)
    with book.engine.begin() as connection:
        connection.execute(text("ALTER TABLE certificates RENAME TO elsewhere"))
    (run,) = runs.carry_out(works)
    assert (run.state, run.clean) == ("done", False)
    assert any(one.startswith("certificates: the check could not be finished") for one in run.problems)


def test_what_breaks_a_verification_is_said_where_it_was_asked_for(book, tmp_path, monkeypatch):
    works = Workbench(book, Lake(tmp_path / "lake"))
    with book.transaction(AUDITOR) as tx:
        runs.ask(tx)

    def broken(*_words, **_options):
        raise RuntimeError("no certificates")

    monkeypatch.setattr(runs, "examine", broken)
    (run,) = runs.carry_out(works)
    assert (run.state, run.clean) == ("failed", False)
    assert "certificates" in run.error
    assert [one.samples for one in BookCollector(book).collect() if one.name == "guanjia_verification_problems"] == [[]]


def test_a_department_may_not_ask(book):
    with pytest.raises(NotAllowed), book.transaction(Actor("t", "钱", Role.TENANT, department_id=1)) as tx:
        runs.ask(tx)


def test_a_night_reads_its_days_of_the_lake_and_the_newest(book, tmp_path):
    lake = Lake(tmp_path / "lake")
    machine = City(book, plan=TOWN).standing_machine({VCPU: 4}, "known")
    lake.append("a", joined(steady(machine, days=4)))
    lake.roll()
    damaged = lake.path("days", lake.days()[1])
    damaged.write_bytes(damaged.read_bytes()[:-40])
    works = Workbench(book, lake)
    turn = lake.days()[1] + timedelta(days=NIGHTS)
    assert [str(damaged) in one for one in examine(works, night=turn).problems] == [True]
    other = examine(works, night=turn + timedelta(days=1))
    assert (other.problems, other.checked["lake_days"], other.left["lake_days"]) == ([], 2, 2)
    missed = examine(works, night=turn + timedelta(days=1), since=turn - timedelta(days=1))
    assert [str(damaged) in one for one in missed.problems] == [True], "of the night before, which was missed"
    month = f"lake {lake.days()[1]:%Y-%m}"
    again = examine(works, night=turn + timedelta(days=1), again=[month])
    assert ([str(damaged) in one for one in again.problems], again.wrong) == ([True], [month]), "until it is mended"
    assert len(examine(works).problems) == 1


def test_over_the_web_it_is_asked_for_and_read(house, client_of, tmp_path):
    auditor = client_of(Role.AUDITOR)
    assert auditor.send("/audit/verification/").status_code == 302
    assert "排队中" in auditor.get("/audit/verification/").text
    works = Workbench(house, Lake(tmp_path / "lake"))
    (run,) = runs.carry_out(works)
    page = auditor.get("/audit/verification/").text
    assert "全部重新校验" in page
    assert "配额账户" in page
    with house.transaction(steward()) as tx:
        row = tx.get_one(VerificationRun, run.id)
        row.problems, row.problem_count = ["accounts: row 7 <b>"], 1
    assert "accounts: row 7 &lt;b&gt;" in auditor.get(f"/audit/verification/{run.id}").text
    assert "发现 1 处不符" in auditor.get("/audit/verification/?outcome=wrong").text
    assert "发现 1 处不符" in auditor.get("/").text
    assert auditor.get("/audit/verification/999").status_code == 404
    assert auditor.get("/audit/verification/?export=csv").status_code == 200
    assert client_of(Role.TENANT).send("/audit/verification/").status_code == 403


def test_what_is_written_meanwhile_is_no_finding(book, tmp_path, monkeypatch):
    walk = audit.check

    def walked(tx, *of):
        yield from walk(tx, *of)
        with book.transaction(steward()) as other:
            other.audit("test.meanwhile", "test:1")
        yield from walk(tx)

    monkeypatch.setattr(audit, "check", walked)
    with book.transaction(steward()) as tx:
        tx.audit("test.before", "test:1")
    found = examine(Workbench(book, Lake(tmp_path / "lake")))
    assert found.problems == []
    assert found.checked["audit_records"] == 1
