"""What a city of the tests does with months: listings, samples and prices by hand, statements made and closed."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlalchemy import select

from metering.lake.store import Lake
from metering.statements import statements, tariffs
from metering.workbench import Workbench
from providers import observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.billing.bills import month_bounds
from quota import inventory
from quota.actors import Actor, steward
from quota.db import Book
from quota.directory.pools import Pool
from quota.units import Arch
from tests import lakes

START, END = month_bounds("2026-04")


def at(hours: float) -> datetime:
    """An hour of the April that most statements are of."""
    return START + timedelta(hours=hours)


class StatementActs:
    if TYPE_CHECKING:
        book: Book
        home: Path
        pools: dict[str, int]
        authority: Actor
        supervisor: Actor

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    @property
    def works(self) -> Workbench:
        return Workbench(self.book, self.lake, self.home)

    def list(self, pool, when, created=None, **shapes):
        """A complete listing of a pool: name → (amounts, state), or amounts. ``created``: name → since when it says to be there."""
        for name, told in shapes.items():
            amounts, state = told if isinstance(told, tuple) else (told, ResourceState.RUNNING)
            shapes[name] = amounts, state
        with self.book.transaction(steward()) as tx:
            where = tx.get_one(Pool, self.pools[pool])
            facts = [
                ResourceFact(
                    name,
                    name,
                    ServiceKind.VM,
                    Arch(where.arch),
                    *told,
                    "d1",
                    created_at=(created or {}).get(name, at(-100)),
                )
                for name, told in shapes.items()
            ]
            observation.observe(tx, where, Inventory(when, facts, True))

    def id(self, name):
        with self.book.reading() as tx:
            return tx.scalar(select(inventory.Resource.id).where(inventory.Resource.external_id == name))

    def report(self, name, hours, cpu=10.0):
        """One live sample in each of these hours."""
        moments, resource = [int(at(hour).timestamp()) for hour in hours], self.id(name)
        table = pa.table(
            {
                "resource": pa.array([resource] * len(moments), pa.int32()),
                "ts": pa.array(moments, pa.int64()),
                "cpu_pct": pa.array([cpu + n % 7 for n in range(len(moments))], pa.float64()),
                "vcpu": pa.array([4] * len(moments), pa.int32()),
            }
        )

        def act() -> None:
            self.lake.append("agent", table)
            self.lake.roll()

        lakes.fill(self.lake, ("report", resource, *moments, cpu), act)

    def price(self, kind, price, day=date(2026, 1, 1), **more):
        with self.book.transaction(self.authority) as tx:
            return tariffs.enter(tx, kind, Decimal(price), day, **more).id

    def make(self, month="2026-04"):
        return statements.make(self.works, month, actor=self.supervisor)

    def lines(self, run):
        with self.book.reading() as tx:
            return list(statements.lines_of(tx, run))

    def close(self, run):
        with self.book.transaction(self.authority) as tx:
            return statements.close(tx, run.month, run_id=run.id, reason="月结")
