"""`guanjia verify` on a house whose rows were changed behind its back: exit 1, and the row by name."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest
from click.testing import CliRunner

from console import cli, founding
from console.settings import Settings
from quota import agencies, ledger, pools
from quota.db import Book
from quota.pools import CloudProvider, Pool
from quota.units import Arch, Kind, classes


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """An empty house with one pool and a grant in its book."""
    home = tmp_path_factory.mktemp("house")
    settings = founding.found(Settings(data=home), demo=False)
    book = Book(settings.database_url)
    with book.transaction() as tx:
        company = CloudProvider(code="c", name="某云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files")
        tx.add(pool)
        tx.flush()
        pools.equip(tx, pool, Kind.VCPU, 100, key="equip")
        department = agencies.register(tx, "d", "某局")
        ledger.grant(tx, pool.id, department.id, classes({Kind.VCPU: 10}, Arch.X86_64), key="grant")
    with book.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    book.dispose()
    return home


def verify(home, *options):
    return CliRunner().invoke(cli.main, ["verify", "--data", str(home), *options])


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
