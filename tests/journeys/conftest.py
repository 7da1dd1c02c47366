"""Stories over HTTP: the console of tests.console.conftest, and a pool with something in it.

pool   p1 政务外网区 (aarch64, 信创, adapter "files"): 200 vCPU, 400 GB, 1000 GB of disks, 4 cards
items  4C8G, 8C16G (云主机)         rules  the defaults
granted to A01: 40 vCPU, 80 GB
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from quota import catalog, ledger, pools, rulebook
from quota.db import Book
from quota.pools import Pool
from quota.units import Arch, Kind, ResourceClass, classes
from tests.console.conftest import (  # noqa: F401 - fixtures of every story
    _catalog,
    app,
    city,
    client,
    client_of,
    founded,
    house,
    settings,
)

GB = 1024
CPU = ResourceClass(Kind.VCPU, Arch.AARCH64)


@dataclass
class Place:
    """Where a story happens."""

    book: Book
    pool: int
    small: int
    large: int
    department: int

    def balance(self, holder: ledger.Holder, department: int | None = None, cls: ResourceClass = CPU) -> int:
        with self.book.reading() as tx:
            return ledger.balance(tx, ledger.Side(self.pool, cls, holder, department))

    def conserved(self) -> bool:
        with self.book.reading() as tx:
            return ledger.conserved(tx)


@pytest.fixture
def place(house, city) -> Place:  # noqa: F811
    """The pool, its catalogue and the default rules, in the book of the console."""
    with house.transaction() as tx:
        pool = Pool(
            code="p1", name="政务外网区", provider_id=city.provider.id, arch="aarch64", zone="政务外网",
            xinchuang=True, adapter="files", active=True,
        )  # fmt: skip
        tx.add(pool)
        tx.flush()
        for kind, total in ((Kind.VCPU, 200), (Kind.MEMORY, 400 * GB), (Kind.BLOCK, 1000), (Kind.ACCELERATOR, 4)):
            pools.equip(tx, pool, kind, total, key=f"equip:{kind}")
        items = [
            catalog.offer(tx, code, code, "vm", {Kind.VCPU: cpu, Kind.MEMORY: gb * GB}, [Arch.AARCH64])
            for code, cpu, gb in (("4C8G", 4, 8), ("8C16G", 8, 16))
        ]
        rulebook.default_rules(tx, tx.now.date())
        department = city.departments[0].id
        ledger.grant(
            tx, pool.id, department, classes({Kind.VCPU: 40, Kind.MEMORY: 80 * GB}, Arch.AARCH64), key="grant:a01"
        )
        return Place(house, pool.id, items[0].id, items[1].id, department)
