"""Verification: what a link of the audit trail costs to be proven, and an entry of the ledger. Beside: the same digests of the trail by
sqlite3 and nothing else, which names no row that it cannot read."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from benchmarks.harness import Rate, Watch, work
from console.schema import upgrade
from quota import audit, ledger
from quota.actors import steward
from quota.db import Book
from quota.directory import CloudProvider, Department, Pool
from quota.ledger import capacities
from quota.seals import GENESIS, sm3
from quota.units import VCPU, Amount, Arch

RECORDS, TOGETHER = 32_768, 64
"""A segment of the trail, and half as many transfers."""


def prepare(home: Path) -> None:
    book = Book(f"sqlite:///{home / 'book.db'}")
    upgrade.migrate(book)
    one = Amount({VCPU: 1}).of_arch(Arch.X86_64)
    with book.transaction(steward("bench")) as tx:
        tx.add(Department(id=1, code="A", name="甲局"))
        tx.add(CloudProvider(id=1, code="c", name="甲云"))
        tx.flush()
        pool = Pool(id=1, code="p", name="池", provider_id=1, arch="x86_64", zone="政务外网区", adapter="files")
        tx.add(pool)
        tx.flush()
        capacities.equip(tx, pool, VCPU, RECORDS, key="equip")
    for low in range(0, RECORDS, TOGETHER):
        with book.transaction(steward("bench")) as tx:
            for number in range(low, low + TOGETHER):
                if number % 2:
                    ledger.grant(tx, 1, 1, one, key=f"grant:{number}", subject=f"request:{number}")
                after = {"state": "running", "owner": "甲局", "number": number, "vcpu": 4, "memory": 8192}
                tx.audit("resource.change", f"resource:{number}", after=after, reason="按季度核对")
    book.dispose()


def trail(home: Path, watch: Watch) -> float:
    book = Book(f"sqlite:///{home / 'book.db'}")
    with book.reading() as tx:
        with watch:
            assert list(audit.check(tx)) == []
        return audit.head(tx)[0]


def plain(home: Path, watch: Watch) -> float:
    names = (
        "action",
        "actor",
        "address",
        "after",
        "at",
        "before",
        "reason",
        "request_id",
        "role",
        "sequence",
        "subject",
    )
    link = sqlite3.connect(home / "book.db")
    previous, count = GENESIS, 0
    with watch:
        for *values, digest in link.execute(f"SELECT {', '.join(names)}, digest FROM audit_records ORDER BY sequence"):
            record = dict(zip(names, values, strict=True))
            record |= {name: json.loads(record[name]) for name in ("before", "after")}
            record["at"] = record["at"].replace(" ", "T") + "+00:00"
            told = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            previous = sm3(f"{previous}\n{told}".encode()).hex()
            assert previous == digest
            count += 1
    return count


def entries(home: Path, watch: Watch) -> float:
    book = Book(f"sqlite:///{home / 'book.db'}")
    with book.reading() as tx, watch:
        assert list(ledger.check(tx)) == []
    return RECORDS


work(
    "verify-trail",
    "a segment of the audit trail proven",
    unit="records",
    contenders={"guanjia": trail, "sqlite3 and the digests alone": plain},
    prepare=prepare,
    reach=Rate(5_000),
)
work(
    "verify-ledger",
    "as many entries of the ledger proven, with their transfers and accounts",
    unit="entries",
    contenders={"guanjia": entries},
    prepare=prepare,
    reach=Rate(5_000),
)
