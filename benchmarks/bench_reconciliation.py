"""Bills of 50 companies, 100,000 lines, held against what was approved, ran and is proven of a month; and the cards of a quarter of
all that a city assesses. pandas beside the first: the same hours by the same history and samples, and which lines differ, without causes,
prices, evidence or disputes, and without writing anything.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from benchmarks import city_samples
from benchmarks.harness import Watch, Within, work
from console import founding, scoring
from console.settings import Settings
from metering.lake.store import Lake
from metering.statements import Dispute, reconciliation, tariffs
from metering.workbench import Workbench
from providers import observation
from providers.base import BillFact, Inventory, ResourceFact, ResourceState, ServiceKind
from providers.billing import bills
from providers.billing.bills import month_bounds
from providers.metrics import SLOTS
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import CloudProvider, Pool, departments
from quota.units import MEMORY, VCPU, Arch, ClassCode

COMPANIES, LINES = 50, 100_000
MACHINES = LINES // 2
MONTH, OCTOBER, DAYS = "2026-10", date(2026, 10, 1), 31
CHECK = "differing.json"
WRONG = 97
"""Every so many-th line claims a tenth more than there was."""
QUARTER = "2026-Q4"


def _house(home: Path, today: date) -> Workbench:
    moment = datetime.combine(today, datetime.min.time(), UTC)
    settings = Settings(data=home)
    return Workbench(Book(settings.database_url, clock=lambda: moment), Lake(settings.lake_dir), home)


def prepare(home: Path) -> None:
    """50 pools of 50 companies with 1,000 machines each, a sample an hour through October, and a bill of two lines a machine."""
    settings = Settings(data=home)
    founding.found(settings, demo=False)
    lake = Lake(settings.lake_dir)
    fleet = city_samples.Fleet(MACHINES + 1)
    first = (OCTOBER - city_samples.FIRST).days
    for hour in range(24):
        lake.append("bench", fleet.batch(first * SLOTS + hour * 12, city_samples.SENT[:2]))
    lake.roll()
    for day in (OCTOBER + timedelta(days=ahead) for ahead in range(1, DAYS)):
        for kind in ("days", "hours", "daily"):
            shutil.copyfile(lake.path(kind, OCTOBER), lake.path(kind, day))
    works = _house(home, OCTOBER)
    with works.book.transaction(Actor("zhao", "zhao", Role.AUTHORITY)) as tx:
        for kind, price in ((VCPU, 46), (MEMORY, 18)):
            tariffs.enter(tx, ClassCode(kind), Decimal(price), date(2026, 1, 1))
    dice = np.random.default_rng(7)
    each = MACHINES // COMPANIES
    for number in range(COMPANIES):
        cores = dice.choice([2, 4, 8, 16, 32], each).tolist()
        with works.book.transaction(steward("bench")) as tx:
            company = CloudProvider(code=f"c{number}", name=f"c{number}")
            tx.add(company)
            tx.flush()
            pool = Pool(
                code=f"p{number}", name=f"p{number}", provider_id=company.id, arch="x86_64", zone="z", adapter="files"
            )
            tx.add(pool)
            departments.register(tx, f"d{number}", f"d{number}")
            tx.flush()
            facts = [
                ResourceFact(
                    f"vm-{place}", f"vm-{place}", ServiceKind.VM, Arch.X86_64, {VCPU: size, MEMORY: size * 2048},
                    ResourceState.RUNNING, f"d{number}", created_at=tx.now - timedelta(days=3),
                )
                for place, size in enumerate(cores)
            ]  # fmt: skip
            observation.observe(tx, pool, Inventory(tx.now - timedelta(days=2), facts, complete=True))
            bills.take(tx, pool, MONTH, _lines(cores), source="bench")
    works.book.dispose()
    shutil.copyfile(home / "book.db", home / "book.before")


def _lines(cores: list[int]) -> list[BillFact]:
    start, end = month_bounds(MONTH)
    hours = Decimal(DAYS * 24)
    found = []
    for place, size in enumerate(cores):
        for of_kind, (kind, amount) in enumerate(((VCPU, size), (MEMORY, size * 2048))):
            more = Decimal("1.1") if (2 * place + of_kind) % WRONG == 0 else Decimal(1)
            found.append(
                BillFact(
                    MONTH,
                    f"vm-{place}",
                    ServiceKind.VM,
                    ClassCode(kind),
                    Arch.X86_64,
                    amount * hours * more,
                    start,
                    end,
                )
            )
    return found


def _begun(home: Path, today: date) -> Workbench:
    for beside in home.glob("book.db*"):
        beside.unlink()
    shutil.copyfile(home / "book.before", home / "book.db")
    return _house(home, today)


def ours(home: Path, watch: Watch) -> float:
    works = _begun(home, date(2026, 11, 2))
    with watch:
        runs = reconciliation.all_pools(works, MONTH)
    assert sum(run.lines for run in runs) == LINES
    with works.book.reading() as tx:
        _agree(home, tx.scalar(select(func.count()).select_from(Dispute)) or 0)
    works.book.dispose()
    return float(LINES)


def pandas(home: Path, watch: Watch) -> float:
    import pandas as pd
    from sqlalchemy import create_engine

    _begun(home, date(2026, 11, 2)).book.dispose()
    engine = create_engine(f"sqlite:///{home / 'book.db'}")
    with watch:
        lines = pd.read_sql(
            "SELECT b.pool_id, l.external_id, l.kind, l.quantity FROM bill_lines l JOIN bills b ON b.id = l.bill_id",
            engine,
        )
        there = pd.read_sql("SELECT id, pool_id, external_id, amounts FROM resources", engine)
        amounts = there["amounts"].map(json.loads)
        sides = pd.concat(
            there[["id", "pool_id", "external_id"]].assign(
                kind=kind, amount=amounts.map(lambda one, kind=kind: one[kind])
            )
            for kind in ("vcpu", "memory")
        )
        hours = pd.concat(
            pd.read_parquet(path, columns=["resource"])
            for path in sorted((home / "lake" / "hours").glob("2026-10-*.parquet"))
        )
        proven = hours.groupby("resource").size().rename("hours")
        sides = sides.join(proven, on="id")
        whole = lines.merge(sides, on=["pool_id", "external_id", "kind"], how="outer")
        held = whole["amount"] * DAYS * 24
        differing = int((pd.to_numeric(whole["quantity"]) > held * 1.000001).sum())
    assert len(whole) == LINES
    _agree(home, differing)
    return float(LINES)


def _agree(home: Path, differing: int) -> None:
    """Whoever comes second must have found the same."""
    path = home / CHECK
    if path.exists():
        assert json.loads(path.read_text()) == differing, (path.read_text(), differing)
    else:
        path.write_text(json.dumps(differing))


def cards(home: Path, watch: Watch) -> float:
    """The quarter's cards of 50 companies, 50 departments and the steward, bills compared before, as the monthly job does."""
    before = _begun(home, date(2026, 11, 2))
    reconciliation.all_pools(before, MONTH)
    before.book.dispose()
    works = _house(home, date(2027, 1, 4))
    with works.book.reading() as tx:
        subjects = [*scoring.companies(tx), *scoring.departments(tx), *scoring.systems(tx), scoring.STEWARD]
    with watch:
        for one in subjects:
            scoring.score(works, one, QUARTER)
    works.book.dispose()
    return float(len(subjects))


work(
    "reconciliation",
    "bills of 50 companies, 100,000 lines, reconciled four ways, kept and disputed (pandas: which lines differ)",
    unit="lines",
    reach=Within(30),
    prepare=prepare,
    contenders={"guanjia": ours, "pandas": pandas},
    rounds={"guanjia": 1},
)  # fmt: skip
work(
    "quarter-cards",
    "a quarter's cards of 50 companies, 50 departments and the steward, of 50,000 machines",
    unit="cards",
    reach=Within(10),
    prepare=prepare,
    contenders={"guanjia": cards},
    rounds={"guanjia": 1},
)  # fmt: skip
