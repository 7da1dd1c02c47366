"""A small city, for tests of the console.

departments  A01 市教育局, A02 市水务局      companies  甲云
people       <role>1 and <role>2 of every role; tenant1 in A01, tenant2 in A02; provider1 and provider2 of 甲云
with found_pool
pool         p1 政务外网区 (aarch64, 信创, adapter "files"): 200 vCPU, 400 GB, 1000 GB of disks, 4 cards
items        4C8G, 8C16G (云主机)      rules  the defaults
granted to A01: 40 vCPU, 80 GB
"""

from __future__ import annotations

from dataclasses import dataclass

from console import accounts
from quota import capacities, catalog, ledger, rulebook
from quota.actors import HELD, Role, steward
from quota.agencies import Department, register
from quota.catalog import CatalogItem
from quota.db import Book, Tx
from quota.pools import CloudProvider, Pool
from quota.units import Arch, Kind, classes

GB = 1024


@dataclass
class City:
    """Who is there: login → first password."""

    passwords: dict[str, str]
    departments: list[Department]
    provider: CloudProvider


def found_city(book: Book) -> City:
    passwords = {}
    with book.transaction(steward()) as tx:
        departments = [register(tx, "A01", "市教育局"), register(tx, "A02", "市水务局")]
        provider = CloudProvider(code="jia", name="甲云")
        tx.add(provider)
        tx.flush()
        for role in HELD:
            for number in (1, 2):
                who, first = accounts.enrol(
                    tx,
                    f"{role.value}{number}",
                    f"{role.value}甲乙"[: len(role.value) + number],
                    role,
                    department=departments[number - 1] if role is Role.TENANT else None,
                    provider=provider if role is Role.PROVIDER else None,
                    granted=True,
                    must_change=False,
                )
                passwords[who.login] = first
    return City(passwords, departments, provider)


def found_pool(tx: Tx, city: City) -> tuple[Pool, list[CatalogItem]]:
    """A pool of the company, what the catalogue offers there, the default rules, and quota for the first department."""
    pool = Pool(
        code="p1", name="政务外网区", provider_id=city.provider.id, arch="aarch64", zone="政务外网",
        xinchuang=True, adapter="files", active=True,
    )  # fmt: skip
    tx.add(pool)
    tx.flush()
    for kind, total in ((Kind.VCPU, 200), (Kind.MEMORY, 400 * GB), (Kind.BLOCK, 1000), (Kind.ACCELERATOR, 4)):
        capacities.equip(tx, pool, kind, total, key=f"equip:{kind}")
    items = [
        catalog.offer(tx, code, code, "vm", {Kind.VCPU: cpu, Kind.MEMORY: gb * GB}, [Arch.AARCH64])
        for code, cpu, gb in (("4C8G", 4, 8), ("8C16G", 8, 16))
    ]
    rulebook.default_rules(tx, tx.now.date())
    granted = classes({Kind.VCPU: 40, Kind.MEMORY: 80 * GB}, Arch.AARCH64)
    ledger.grant(tx, pool.id, city.departments[0].id, granted, key="grant:a01")
    return pool, items
