"""The search box over 100,000 resources, 1,000 departments and their 4,000 systems, as a browser asks for it, on both databases.

Beside: what the box did before there was an index, the first ten of each table where any column holds the text (``LIKE '%…%'``), by
SQL alone and without a page. Half of the answers of either are to texts of Chinese characters, two of them mostly.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import or_, select

from benchmarks import cities
from benchmarks.bench_lake import postgres
from benchmarks.harness import AtMost, Watch, work
from benchmarks.web import served
from console import founding
from console.settings import Settings
from metering.cases import Case
from providers.orders import WorkOrder
from quota.db import Book
from quota.directory import Department, System
from quota.inventory import Resource
from quota.requests import Request

RESOURCES, ROUNDS = 100_000, 5
TYPED = (
    "教育", "数据", "水务局门户", "局", "审计 数据库", "没有的名称",
    "vm-0054321", "10.0.212.49", "vm-", "0541", "dw00042", "zzzz",
)  # fmt: skip
"""Found once, seldom, in each, and not at all."""
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
LIKED = (
    (Request, (Request.number,)), (Resource, (Resource.name, Resource.external_id, Resource.address)),
    (Department, (Department.name, Department.code)), (System, (System.name, System.code)),
    (WorkOrder, (WorkOrder.number, WorkOrder.name)),
)  # fmt: skip


def settings_on(home: Path, server: bool) -> Settings:
    if not server:
        return Settings(data=home / "sqlite", secret_key="b" * 40)
    address = postgres(home / "pg").replace("postgresql://", "postgresql+psycopg://", 1)
    return Settings(data=home / "house", secret_key="b" * 40, database=address)


def prepare_on(server: bool) -> Callable[[Path], None]:
    def prepare(home: Path) -> None:
        settings = settings_on(home, server)
        settings.data.mkdir(parents=True, exist_ok=True)
        cities.found(settings, cities.CityPlan(RESOURCES, lived=False))
        book = Book(settings.database_url)
        with book.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("ANALYZE")  # as each database does by itself after a while
        book.dispose()

    return prepare


def ours_on(server: bool) -> Callable[[Path, Watch], float]:
    def ours(home: Path, watch: Watch) -> float:
        """P95 of all answers in milliseconds, whole pages over the application."""
        settings = settings_on(home, server)
        client = served(settings).test_client()
        password = json.loads((settings.data / founding.ACCOUNTS).read_text("utf-8"))["accounts"]["supervisor"]
        token = TOKEN.search(client.get("/login").text)
        form = {"login": "supervisor", "password": password, "csrf_token": token[1] if token else ""}
        assert client.post("/login", data=form).status_code == 302
        took = []
        client.get("/search", query_string={"q": "统计"})
        with watch:
            for _ in range(ROUNDS):
                for typed in TYPED:
                    since = time.perf_counter()
                    answer = client.get("/search", query_string={"q": typed})
                    took.append(1000 * (time.perf_counter() - since))
                    assert answer.status_code in (200, 302), typed
        return float(np.percentile(took, 95))

    return ours


def liked_on(server: bool) -> Callable[[Path, Watch], float]:
    def liked(home: Path, watch: Watch) -> float:
        """P95 of as many looks in milliseconds."""
        book = Book(settings_on(home, server).database_url)
        took = []
        with watch:
            for _ in range(ROUNDS):
                for typed in TYPED:
                    since = time.perf_counter()
                    with book.reading() as tx:
                        for model, columns in LIKED:
                            wanted = or_(*(column.ilike(f"%{typed}%") for column in columns))
                            tx.scalars(select(model).where(wanted).limit(10)).all()
                        named = or_(*(column.ilike(f"%{typed}%") for column in (Resource.name, Resource.external_id)))
                        tx.scalars(select(Case).where(Case.resource.has(named)).limit(10)).all()
                    took.append(1000 * (time.perf_counter() - since))
        book.dispose()
        return float(np.percentile(took, 95))

    return liked


for _server, _name, _where in ((False, "search", "SQLite"), (True, "search-postgresql", "PostgreSQL")):
    work(
        _name,
        f"P95 of the search page over 100,000 resources on {_where}, milliseconds",
        unit="ms",
        reach=AtMost(100),
        prepare=prepare_on(_server),
        contenders={"guanjia": ours_on(_server), "LIKE over six tables, no page": liked_on(_server)},
    )
