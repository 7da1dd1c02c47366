"""The list of cases with five thousand of them, as a browser asks for it; beside: the same rows with a query for each."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert, select

from benchmarks.harness import AtMost, Watch, work
from benchmarks.web import served
from console.accounts import accounts
from console.schema import models  # noqa: F401 - every table of the house is known from here on
from console.settings import Settings
from metering import cases
from metering.cases.files import Case
from metering.judging import findings, policies
from metering.judging.findings import Judged
from metering.judging.policy import Verdict
from quota.actors import Role, steward
from quota.base import Base
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import departments as agencies
from quota.directory import pools
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Amount

CASES, DEPARTMENTS, ASKED = 5000, 40, 40
PROCEDURE = {"cases_per_run": 10**6, "cases_per_department": 10**6, "worth_per_run": 1e9, "worth_per_department": 1e9}
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


def prepare(home: Path) -> None:
    """A book with five thousand open cases, opened by the verbs that open them."""
    settings = Settings(data=home)
    book = Book(settings.database_url)
    Base.metadata.create_all(book.engine)
    with book.transaction(steward()) as tx:
        company = pools.CloudProvider(code="c", name="某云")
        tx.add(company)
        tx.flush()
        pool = pools.Pool(
            code="p", name="政务外网区", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files"
        )
        tx.add(pool)
        departments = [agencies.register(tx, f"d{n}", f"第{n}局") for n in range(DEPARTMENTS)]
        tx.flush()
        seeded = policies.seed(tx)
        tx.execute(
            insert(Resource),
            [
                {
                    "pool_id": pool.id,
                    "external_id": f"vm-{n}",
                    "name": f"sz-{n:05d}",
                    "kind": "vm",
                    "arch": "x86_64",
                    "amounts": {"vcpu": 4, "memory": 8192},
                    "booked": {},
                    "state": "running",
                    "department_id": departments[n % DEPARTMENTS].id,
                    "basis": "adopted",
                    "tags": {},
                    "first_seen_at": tx.now - timedelta(days=400),
                    "protected": False,
                }
                for n in range(CASES)
            ],
        )
        ids = tx.scalars(select(Resource.id)).all()
        yesterday = tx.now.astimezone(ZONE).date() - timedelta(days=1)
        shape = Amount({VCPU: 4, MEMORY: 8192})
        rows = [Judged(one, Verdict.IDLE, 0.99, {"windows": {}}, [], shape, None, shape) for one in ids]
        version = policies.amend(
            tx, seeded.name, _unlimited(seeded), effective_from=tx.now.astimezone(ZONE).date(), reason="基准"
        )
        run = findings.record(tx, version, yesterday - timedelta(days=29), yesterday, tx.now, "by hand", rows)
        cases.open_from(tx, run)
        who, password = accounts.enrol(tx, "wang", "王", Role.SUPERVISOR, granted=True, must_change=False)
        (home / "login.json").write_text(json.dumps([who.login, password]))
    book.dispose()


def _unlimited(version: policies.PolicyVersion) -> policies.Procedure:
    return policies.Procedure.from_json({**version.procedure, **PROCEDURE})


def guanjia(home: Path, watch: Watch) -> float:
    """Milliseconds of the slowest of twenty pages but one (P95)."""
    settings = Settings(data=home)
    client = served(settings).test_client()
    login, password = json.loads((home / "login.json").read_text())
    token = TOKEN.search(client.get("/login").text)
    assert token is not None
    client.post("/login", data={"csrf_token": token.group(1), "login": login, "password": password})
    client.get("/cases/")
    took = []
    with watch:
        for n in range(ASKED):
            url = ("/cases/", "/cases/?page=40", "/cases/?sort=due", "/cases/?kind=reclaim&q=sz-0")[n % 4]
            began = time.perf_counter()
            answer = client.get(url)
            took.append(1000 * (time.perf_counter() - began))
            assert answer.status_code == 200, url
            assert answer.text.count("AJ20") >= 50, url
    return sorted(took)[int(0.95 * ASKED)]


def one_by_one(home: Path, watch: Watch) -> float:
    """The rows alone, every name looked up when it is written: what a list costs without care, no page drawn."""
    book = Book(Settings(data=home).database_url)
    took = []
    with watch:
        for n in range(ASKED):
            began = time.perf_counter()
            with book.reading() as tx:
                everything = list(tx.scalars(select(Case).order_by(Case.worth.desc())))
                total = sum(one.worth for one in everything)
                page = everything[50 * n : 50 * n + 50]
                said = [(one.number, one.resource.name, one.department.name, one.pool.name) for one in page]
            assert len(said) == 50
            assert total > 0
            took.append(1000 * (time.perf_counter() - began))
    book.dispose()
    return sorted(took)[int(0.95 * ASKED)]


work(
    "case-list",
    "a page of the list of 5,000 cases, P95",
    unit="ms",
    reach=AtMost(150),
    prepare=prepare,
    contenders={"guanjia": guanjia, "a query a row, no page": one_by_one},
    rounds={"a query a row, no page": 1},
)
