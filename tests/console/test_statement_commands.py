"""``guanjia statements`` on a real house: make, show, close, export in three formats, check."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal

import pytest
from click.testing import CliRunner
from openpyxl import load_workbook

from console.cli.commands import main
from console.schema import upgrade
from console.settings import Settings
from metering.lake.store import Lake
from metering.statements import tariffs
from providers import observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.billing.bills import month_bounds
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory.people import Person
from quota.directory.pools import CloudProvider, Pool
from quota.units import VCPU, Arch

MONTH = "2026-05"
START, _END = month_bounds(MONTH)


@pytest.fixture
def data(tmp_path):
    """One machine of 4 vCPU, shown by listings a day apart through the whole month; 46 yuan a vCPU and month."""
    settings = Settings(data=tmp_path)
    book = Book(settings.database_url)
    upgrade.migrate(book)
    Lake(settings.lake_dir)
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="jia", name="甲云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="p", provider_id=company.id, arch="x86_64", zone="z", adapter="files", active=False)
        tx.add(pool)
        tx.add(Person(login="zhao", name="赵", role="authority", active=True, granted=True))
        tx.flush()
        fact = ResourceFact("web", "=web", ServiceKind.VM, Arch.X86_64, {VCPU: 4}, ResourceState.RUNNING)
        for day in range(32):
            observation.observe(tx, pool, Inventory(START + timedelta(days=day), [fact], True))
    with book.transaction(Actor("zhao", "赵", Role.AUTHORITY)) as tx:
        tariffs.enter(tx, VCPU, Decimal(46), date(2026, 1, 1))
    book.dispose()
    return tmp_path


def call(data, *words, code=0):
    end = [] if words[0] == "check" else ["--data", str(data)]
    answer = CliRunner().invoke(main, ["statements", *map(str, words), *end])
    assert answer.exit_code == code, answer.output
    return answer.output


def test_a_month_from_the_command_line(data):
    made = json.loads(call(data, "make", "--month", MONTH, "--json"))
    assert (made["proven"], made["unmeasurable"], made["lines"]) == ("184.00", "0.00", 1)
    assert "184.00" in call(data, "show", "--month", MONTH)
    assert "refused" in call(data, "close", "--month", MONTH, "--by", "nobody", code=1)
    closed = json.loads(call(data, "close", "--month", MONTH, "--by", "zhao", "--json"))
    assert closed["invoices"] == {"2026-05-jia": "184.00"}
    call(data, "close", "--month", MONTH, "--by", "zhao", code=1)
    for ending in ("csv", "parquet"):
        path = data / f"may.{ending}"
        assert "1 rows" in call(data, "export", "--month", MONTH, "--to", path)
        assert "clean" in call(data, "check", path)
    broken = data / "broken.csv"
    broken.write_text((data / "may.csv").read_text().replace("Usage,", "Using,", 1))
    assert "ChargeCategory" in call(data, "check", broken, code=1)
    call(data, "export", "--month", MONTH, "--to", data / "may.xlsx")
    sheet = load_workbook(data / "may.xlsx")["明细"]
    assert sheet["A2"].value == "=web"
    assert sheet["A2"].data_type == "s"
    assert sheet["N2"].value == 184


@pytest.mark.parametrize("words", [["make", "--month", "2026-13"], ["show", "--month", "May"]])
def test_bad_months_are_named(data, words):
    assert "2026-10" in call(data, *words, code=2)


def test_what_is_not_there_is_refused(data):
    assert "refused" in call(data, "show", "--month", MONTH, code=1)
    assert "refused" in call(data, "make", "--month", "2099-01", code=1)
    call(data, "make", "--month", MONTH)
    assert "refused" in call(data, "export", "--month", MONTH, "--to", data / "may.pdf", code=1)
