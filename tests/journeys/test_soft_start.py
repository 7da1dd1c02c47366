"""A house that has just taken over two thousand machines: what it measured came in usage files, and it begins softly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from console import founding
from console.cli import main, terminal
from console.settings import Settings
from console.worklist import Worklist
from metering import batches, cases
from metering.batches import Alike
from metering.cases import Case, CaseState, Notice
from metering.intake import imports
from metering.judging import policies
from metering.lake import Lake
from metering.rollout import AwaitedCase, CeilingScope, candidates, ceilings, scopes
from metering.workbench import Workbench
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Book, Tx
from quota.directory import CloudProvider, Pool, departments
from quota.errors import WrongState
from quota.inventory import Resource, takeovers
from quota.ledger import capacities
from quota.units import MEMORY, VCPU

MACHINES, DEPARTMENTS, DAYS, CEILING = 2000, 20, 4, 30
MONDAY = date(2026, 11, 23)
SIZES = (4, 8, 16, 32)
BUSY = 40
"""Of the machines, the last."""

SUPERVISOR = Actor("jiandu", "监督", Role.SUPERVISOR)
AUTHORITY = Actor("zhuguan", "主管", Role.AUTHORITY)

pytestmark = pytest.mark.slow


class House:
    """``now``: what its clock says."""

    def __init__(self, home: Path) -> None:
        self.now = datetime.combine(MONDAY - timedelta(days=DAYS), time(1), ZONE).astimezone(UTC)
        self.settings = founding.found(Settings(data=home, secret_key="t" * 40), demo=False, at=self.now)
        self.book = Book(self.settings.database_url, clock=lambda: self.now)
        self.workbench = Workbench(self.book, Lake(self.settings.lake_dir), home)
        self.work = Worklist(self.workbench, self.settings)

    def at(self, day: date, hour: int) -> None:
        self.now = datetime.combine(day, time(hour), ZONE).astimezone(UTC)

    def noticed(self) -> int:
        """How many machines departments were written to about."""
        with self.book.reading() as tx:
            return tx.scalar(select(func.count()).where(Case.notice_id.is_not(None))) or 0

    def letters(self) -> int:
        with self.book.reading() as tx:
            return tx.scalar(select(func.count(Notice.id))) or 0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "home")
    yield found
    found.book.dispose()


def _registered(tx: Tx) -> Pool:
    """A company, its pool, which no program reaches, and the departments; and a policy of a week."""
    company = CloudProvider(code="c", name="某云")
    tx.add(company)
    tx.flush()
    pool = Pool(code="p", name="政务池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files")
    tx.add(pool)
    tx.flush()
    for kind, total in ((VCPU, 100_000), (MEMORY, 1_000_000_000)):
        capacities.equip(tx, pool, kind, total, key=f"p:{kind}")
    for n in range(DEPARTMENTS):
        departments.register(tx, f"D{n:02d}", f"第{n}局")
    default = policies.seed(tx).policy()
    rules = tuple(replace(one, days=min(one.days, 7), coverage=min(one.coverage, 0.5)) for one in default.rules)
    policies.enact(tx, replace(default, rules=rules, effective_from=tx.now.astimezone(ZONE).date()), reason="看一周")
    return pool


def _listing(path: Path) -> Path:
    rows = ["资源编号,名称,类型,核数,内存(GB),使用单位"]
    for n in range(MACHINES):
        size = SIZES[n % len(SIZES)]
        rows.append(f"vm-{n:04d},机器{n},云主机,{size},{2 * size},D{n % DEPARTMENTS:02d}")
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


def _usage(path: Path, day: date) -> Path:
    """A day of all machines in five minutes: idle, but for the busy ones."""
    start = int(datetime.combine(day, time(), ZONE).timestamp())
    count = MACHINES * 288
    names = pa.array([f"vm-{n:04d}" for n in range(MACHINES)])
    which = np.repeat(np.arange(MACHINES), 288)
    busy, size = which >= MACHINES - BUSY, np.array(SIZES)[which % len(SIZES)]
    noise = np.random.default_rng(day.toordinal()).random(count)
    columns = {
        "resource_id": pa.DictionaryArray.from_arrays(pa.array(which, pa.int32()), names).cast(pa.string()),
        "ts": pa.array(np.tile(start + 300 * np.arange(288), MACHINES)),
        "cpu_pct": np.where(busy, 84 + 4 * noise, 1 + noise),
        "mem_pct": np.where(busy, 60.0, 8 + noise),
        "net_rx_kbps": np.where(busy, 900.0, noise),
        "net_tx_kbps": np.where(busy, 900.0, noise),
        "vcpu": size,
        "mem_mb": 2048 * size,
    }
    pq.write_table(pa.table(columns), path)
    return path


def _act_on_all(house: House, act: cases.CaseAct) -> None:
    """The supervisor does ``act`` to every case that waits for it, a group at a time."""
    with house.book.reading() as tx:
        groups = [row for row in tx.execute(batches.alike.groups()) if batches.ACT_IN[CaseState(row.state)] is act]
    for row in groups:
        alike = Alike(act, row.kind, row.verdict, row.policy_version_id, row.matter)
        with house.book.transaction(SUPERVISOR) as tx:
            shown = {one.id: one.generation for one in tx.scalars(batches.alike.members(alike))}
            key = f"{act}:{row.kind}:{row.verdict}:{house.now}"
            batch = batches.begin(tx, alike, shown, {}, "集中办理", key=key)
        for _again in (1, 2):
            batches.carry_out(house.book, batch.id, SUPERVISOR)


def _assess(house: House, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """What `guanjia assess` says at the house's own time."""
    with monkeypatch.context() as then:
        then.setattr(terminal, "Book", partial(Book, clock=lambda: house.now))
        done = CliRunner().invoke(main, ["assess", "--data", str(house.settings.data), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_thousand_machines_taken_over_begin_softly(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with house.book.transaction(steward()) as tx:
        pool = _registered(tx)
    listed = imports.import_inventory(house.book, pool, _listing(tmp_path / "list.csv"), as_of=house.now)
    assert listed.drift is not None
    with house.book.transaction(SUPERVISOR) as tx:
        ids = list(tx.scalars(select(Resource.id)))
        assert len(ids) == MACHINES
        made = takeovers.propose(tx, None, "市数据局〔2026〕12号", ids, key="all", pool_id=pool.id)
    with house.book.transaction(AUTHORITY) as tx:
        takeovers.confirm(tx, made.id, made.generation)
    days = [MONDAY - timedelta(days=n) for n in range(DAYS, 0, -1)]
    house.at(MONDAY, 1)
    files = [_usage(tmp_path / f"{day}.parquet", day) for day in days]
    read = imports.import_usage(house.workbench, pool, files)
    assert sum(one.taken for one in read.report.files) == MACHINES * 288 * DAYS

    house.work.open_cases()  # the night that judges first
    with house.book.reading() as tx:
        assert tx.scalar(select(func.count(Case.id))) == 0
        standing = candidates.standing(tx)
        assert (standing.whole, standing.queued) == (False, 0)
        assert MACHINES - BUSY <= standing.shadow.cases <= MACHINES
        assert standing.shadow.worth > 10_000
    held = json.loads(_assess(house, monkeypatch, "--json"))["shadow"]
    summed = standing.shadow
    assert held == {
        "cases": summed.cases, "takes": summed.takes, "worth": round(summed.worth, 1), "gives": summed.gives,
        "needs": round(summed.needs, 1),
    }  # fmt: skip
    said = _assess(house, monkeypatch)
    assert f"in the shadow: {held['cases']} cases would be opened" in said
    assert f"to recover what comes to {held['worth']:.1f} vCPU" in said

    with house.book.transaction(AUTHORITY) as tx:
        scopes.decide(tx, True, (), (), "结论核对无误")
        ceilings.set_ceiling(tx, CeilingScope.CITY, CEILING, "循序渐进")
    for n in range(1, DAYS):
        house.at(MONDAY + timedelta(days=n), 4)
        house.work.open_cases()
        house.work.open_cases()
        house.at(MONDAY + timedelta(days=n), 10)
        _act_on_all(house, cases.CaseAct.REVIEW)
        _act_on_all(house, cases.CaseAct.ISSUE)
        assert house.letters() <= house.noticed() <= CEILING
    assert house.noticed() == CEILING, "nobody waits for longer than the ceiling asks"
    with house.book.reading() as tx:
        left = tx.scalars(select(AwaitedCase).order_by(AwaitedCase.place)).all()
        assert len(left) >= MACHINES - BUSY - CEILING
        least = min(one.worth for one in tx.scalars(select(Case)))
        assert max(one.worth for one in left if one.kind == "reclaim") <= least, "what recovers most went first"
        turns = [one.expected_on for one in left]
        assert turns[0] == MONDAY + timedelta(weeks=1)
        assert turns == sorted(turns)
        assert turns.count(turns[0]) == CEILING
    assert "in the shadow" not in _assess(house, monkeypatch)
    with pytest.raises(WrongState, match=r"case\.not_opened"), house.book.transaction(SUPERVISOR) as tx:
        cases.open_one(tx, tx.get_one(AwaitedCase, left[0].id).finding)
