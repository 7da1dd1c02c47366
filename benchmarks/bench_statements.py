"""A month's statement of 100,000 resources: 31 days, changes of size, hours of silence, priced to the fen; pandas beside it.

Both get the same stretches and the same table of covered hours and give the same figures: unit-seconds allocated and proven
for every resource and kind, and the cost of what is proven. Neither reads or writes the book;
the works after it do.
"""

from __future__ import annotations

import re
import shutil
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import city_samples
from benchmarks.harness import AtMost, Watch, Within, work
from benchmarks.web import served
from console import founding
from console.accounts import accounts
from console.settings import Settings
from metering.lake.store import Lake
from metering.statements import statements, tariffs
from metering.statements.allocation import Spells, allocate
from metering.statements.charges import Price, charge
from metering.workbench import Workbench
from providers import observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.billing.bills import month_bounds
from providers.metrics import SLOTS
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import departments
from quota.directory.pools import CloudProvider, Pool
from quota.units import CLASSES, MEMORY, VCPU, Arch, ClassCode

RESOURCES, DAYS = 100_000, 31
MONTH_S = DAYS * 86_400
PRICES = {"vcpu": 46, "memory": 18}
CHECK = "sums.npy"
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def prepare(home: Path) -> None:
    """100,000 machines, of which a fifth changes size within the month, with 3 % of hours silent."""
    dice = np.random.default_rng(20261001)
    changes = dice.random(RESOURCES) < 0.2
    at = dice.integers(1, MONTH_S, RESOURCES)
    row = np.concatenate([np.arange(RESOURCES), np.flatnonzero(changes)])
    start = np.concatenate([np.zeros(RESOURCES, np.int64), at[changes]])
    end = np.concatenate([np.where(changes, at, MONTH_S), np.full(int(changes.sum()), MONTH_S)])
    vcpu = dice.choice([2, 4, 8, 16, 32], len(row))
    np.savez(
        home / "month.npz", row=row, start=start, end=end, vcpu=vcpu, memory=vcpu * 2048,
        covered=dice.random((RESOURCES, DAYS * 24)) > 0.03,
    )  # fmt: skip


def ours(home: Path, watch: Watch) -> float:
    told = np.load(home / "month.npz")
    covered = told["covered"]
    edges = np.arange(DAYS + 1, dtype=np.int64) * 86_400
    prices = {
        kind: [Price(n, price * 10**8, price * 10**8, MONTH_S)] * DAYS for n, (kind, price) in enumerate(PRICES.items())
    }
    spells = Spells(
        told["row"], np.zeros(len(told["row"]), bool), told["start"], told["end"],
        {"vcpu": told["vcpu"], "memory": told["memory"]},
    )  # fmt: skip
    with watch:
        held = allocate(spells, covered, edges)
        lines = charge(held, lambda _row, kind: prices[kind], {kind: CLASSES[kind].factor for kind in CLASSES})
    _agree(home, sum(one.allocated for one in lines), sum(one.proven for one in lines), len(lines))
    return float(RESOURCES)


def pandas(home: Path, watch: Watch) -> float:
    import pandas as pd

    told = np.load(home / "month.npz")
    covered = told["covered"]
    stretches = pd.DataFrame({name: told[name] for name in ("row", "start", "end", "vcpu", "memory")})
    with watch:
        proven = []
        for day in range(DAYS):
            low, high = day * 86_400, (day + 1) * 86_400
            there = stretches[(stretches.start < high) & (stretches.end > low)].copy()
            for hour in range(24):
                since, until = low + hour * 3600, low + (hour + 1) * 3600
                lasted = there.end.clip(upper=until) - there.start.clip(lower=since)
                lasted = lasted.clip(lower=0)
                shown = lasted.where(covered[there.row.to_numpy(), day * 24 + hour], 0)
                for kind in PRICES:
                    there[f"{kind}_all"] = there.get(f"{kind}_all", 0) + lasted * there[kind]
                    there[f"{kind}_shown"] = there.get(f"{kind}_shown", 0) + shown * there[kind]
            there["day"] = day
            proven.append(there.drop(columns=["start", "end", "vcpu", "memory"]))
        days = pd.concat(proven).groupby(["row", "day"], sort=True).sum()
        months = days.groupby("row").sum()
        for kind, price in PRICES.items():
            factor = CLASSES[ClassCode(kind)].factor
            months[f"{kind}_cost"] = (months[f"{kind}_shown"] / (factor * MONTH_S) * price).round(2)
    allocated = int(months["vcpu_all"].sum() + months["memory_all"].sum())
    shown = int(months["vcpu_shown"].sum() + months["memory_shown"].sum())
    _agree(home, allocated, shown, 2 * len(months))
    return float(RESOURCES)


def _agree(home: Path, *sums: int) -> None:
    """Whoever comes second must have found the same."""
    path = home / CHECK
    if path.exists():
        assert np.load(path).tolist() == list(sums)
    else:
        np.save(path, np.array(sums, np.int64))


# --- with the book and the lake ------------------------------------------------------------------------------------

OCTOBER = date(2026, 10, 1)


def prepare_house(home: Path) -> None:
    """A house of 100,000 machines of 50 departments, a sample of each in every hour of October."""
    found_house(home, RESOURCES, DAYS)


def found_house(home: Path, resources: int, days: int) -> None:
    """A house of machines of 50 departments, a sample of each in every hour of so many days until the end of October: the
    first of October is closed as any day, the others are copies of it."""
    settings = Settings(data=home)
    founding.found(settings, demo=False)
    lake = Lake(settings.lake_dir)
    fleet = city_samples.Fleet(resources + 1)
    first = (OCTOBER - city_samples.FIRST).days
    for hour in range(24):
        lake.append("bench", fleet.batch(first * SLOTS + hour * 12, city_samples.SENT[:2]))
    lake.roll()
    begin = OCTOBER + timedelta(days=DAYS - days)
    for day in (begin + timedelta(days=ahead) for ahead in range(days)):
        if day != OCTOBER:
            for kind in ("days", "hours", "daily"):
                shutil.copyfile(lake.path(kind, OCTOBER), lake.path(kind, day))
    works = house(home, begin)
    dice = np.random.default_rng(7)
    with works.book.transaction(Actor("zhao", "zhao", Role.AUTHORITY)) as tx:
        for kind, price in PRICES.items():
            tariffs.enter(tx, ClassCode(kind), Decimal(price), date(2026, 1, 1))
    with works.book.transaction(steward("bench")) as tx:
        company = CloudProvider(code="c", name="c")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="p", provider_id=company.id, arch="x86_64", zone="z", adapter="files")
        tx.add(pool)
        for number in range(50):
            departments.register(tx, f"d{number}", f"d{number}")
        tx.flush()
        facts = [
            ResourceFact(
                f"vm-{number}", f"vm-{number}", ServiceKind.VM, Arch.X86_64,
                {VCPU: cores, MEMORY: cores * 2048}, ResourceState.RUNNING, f"d{number % 50}",
                created_at=tx.now - timedelta(days=3),
            )
            for number, cores in enumerate(dice.choice([2, 4, 8, 16, 32], resources).tolist())
        ]  # fmt: skip
        observation.observe(tx, pool, Inventory(tx.now - timedelta(days=2), facts, complete=True))
    with works.book.transaction(steward("bench")) as tx:
        (home / "password").write_text(
            accounts.enrol(tx, "wang", "wang", Role.SUPERVISOR, granted=True, must_change=False)[1]
        )
    works.book.dispose()
    shutil.copyfile(home / "book.db", home / "book.before")


def house(home: Path, today: date) -> Workbench:
    moment = datetime.combine(today, datetime.min.time(), UTC)
    settings = Settings(data=home)
    return Workbench(Book(settings.database_url, clock=lambda: moment), Lake(settings.lake_dir), home)


def kept(home: Path, watch: Watch) -> float:
    """What ``guanjia statements make`` does: history and hours read, allocated, priced, sealed, every line written."""
    for beside in home.glob("book.db*"):
        beside.unlink()
    shutil.copyfile(home / "book.before", home / "book.db")
    works = house(home, date(2026, 11, 2))
    with watch:
        run = statements.make(works, "2026-10")
    assert (run.resources, run.lines) == (RESOURCES, 2 * RESOURCES)
    assert run.proven_fen > 0
    works.book.dispose()
    return float(RESOURCES)


YEAR, PART = 365, 10_000
"""Days and machines of the house whose year is closed."""


def prepare_year(home: Path) -> None:
    """A house of 10,000 machines, the twelve months before October closed; in August samples came late, for ten of them."""
    found_house(home, PART, YEAR + DAYS)
    shutil.copyfile(home / "book.before", home / "book.db")
    months = [f"{2025 + (n >= 3)}-{(n + 9) % 12 + 1:02d}" for n in range(12)]
    for month in months:
        works = house(home, (month_bounds(month)[1] + timedelta(days=3)).date())
        run = statements.make(works, month)
        statements.settle(works, month, run_id=run.id, actor=Actor("zhao", "zhao", Role.AUTHORITY))
        works.book.dispose()
    noon = int(datetime(2026, 8, 9, 12, tzinfo=UTC).timestamp())
    late = {"resource": np.arange(1, 11, dtype=np.int32), "ts": np.full(10, noon), "cpu_pct": np.linspace(5, 50, 10)}
    house(home, date(2026, 11, 2)).lake.append("late", pa.table(late))
    shutil.copyfile(home / "book.db", home / "book.before")


def again(home: Path, watch: Watch, *, afresh: bool = False) -> float:
    """October made over twelve closed months, for one of which samples came late."""
    for beside in home.glob("book.db*"):
        beside.unlink()
    shutil.copyfile(home / "book.before", home / "book.db")
    works = house(home, date(2026, 11, 2))
    with watch:
        run = statements.make(works, "2026-10", afresh=afresh)
    assert (run.resources, run.lines) == (PART, 2 * PART)  # the late samples lay in hours that were proven already
    works.book.dispose()
    return float(PART)


def all_again(home: Path, watch: Watch) -> float:
    return again(home, watch, afresh=True)


PAGES = ("/reports/statements/?month=2026-10", "/reports/statements/lines?month=2026-10")


def pages(home: Path, watch: Watch) -> float:
    """Of that statement: the overview by department and the first page of its lines; the slower one's P95, milliseconds."""
    kept(home, Watch())
    app = served(Settings(data=home, secret_key="b" * 40), house(home, date(2026, 11, 2)).book)
    client = app.test_client()
    password = (home / "password").read_text()
    token = TOKEN.search(client.get("/login").text)
    form = {"login": "wang", "password": password, "csrf_token": token[1] if token else ""}
    assert client.post("/login", data=form).status_code == 302
    worst = 0.0
    for page in PAGES:
        took = []
        for _ in range(8):
            since = time.perf_counter()
            with watch:
                answer = client.get(page)
            assert answer.status_code == 200, (page, answer.status_code)
            took.append(time.perf_counter() - since)
        worst = max(worst, float(np.percentile(took[1:], 95)) * 1000)
    return worst


work(
    "statements", "month statement of 100,000 resources", unit="resources", prepare=prepare, reach=Within(10),
    contenders={"guanjia": ours, "pandas": pandas}, rounds={"pandas": 1},
)  # fmt: skip
work(
    "statement-kept", "the same with history and hours read and every line written into the book", unit="resources",
    prepare=prepare_house, reach=Within(60, 3000), contenders={"guanjia": kept}, rounds={"guanjia": 1},
)  # fmt: skip
work(
    "statement-corrections", "a month of 10,000 resources made over twelve closed months, one of them with late samples",
    unit="resources", prepare=prepare_year, reach=Within(10, 3000),
    contenders={"guanjia": again, "every month reckoned again": all_again}, rounds={"every month reckoned again": 1},
)  # fmt: skip
work(
    "statement-page", "P95 of the slower page of that statement, milliseconds", unit="ms", prepare=prepare_house,
    reach=AtMost(1000), contenders={"guanjia": pages}, rounds={"guanjia": 1},
)  # fmt: skip
