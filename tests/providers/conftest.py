"""A works: the simulated 信创 pool in a book, one bureau that orders, and everybody who touches an order.

haichen ── gov-arm (simulated; 1792 vCPU …)     bureau ── system p1      neighbour
lantu   ── hand (no adapter that acts)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from providers import delivery, orders
from providers.base import ServiceKind, Verb
from providers.orders import WorkOrder
from providers.simulated import SimulatedCloud
from providers.simulated_city import pools as city_pools
from quota import agencies, approvals, audit, capacities, catalog, ledger, pools, requests
from quota.actors import Actor, Role, steward
from quota.approvals import Decision
from quota.db import Book
from quota.ledger import Holder, Side
from quota.requests import Ask, Line, Request, RequestKind
from quota.units import Arch, Kind, ResourceClass

CPU = ResourceClass(Kind.VCPU, Arch.AARCH64)
GB = 1024
SMALL = {Kind.VCPU: 4, Kind.MEMORY: 8 * GB}


@dataclass
class Works:
    book: Book
    folder: Path
    pool: int = 0
    hand: int = 0
    bureau: int = 0
    neighbour: int = 0
    system: int = 0
    item: int = 0  # 4C8G, delivered within 2 working days
    companies: dict[str, int] = field(default_factory=dict)
    people: dict[str, Actor] = field(default_factory=dict)

    def cloud(self, cls: type[SimulatedCloud] = SimulatedCloud, **options: Any) -> SimulatedCloud:
        """The pool's cloud, opened anew; its orders are kept in one file."""
        return cls(pool="gov-arm", epoch="2026-05-25", state_file=self.folder / "cloud.jsonl", **options)

    def place(self, verb: Verb, key: str, by: Actor | None = None, **what: Any) -> WorkOrder:
        with self.book.transaction(by) as tx:
            return delivery.place(tx, tx.get_one(pools.Pool, what.pop("pool", self.pool)), verb, key=key, **what)

    def create(self, key: str = "k", **what: Any) -> WorkOrder:
        given = {
            "kind": ServiceKind.VM,
            "amounts": SMALL,
            "department_id": self.bureau,
            "system_id": self.system,
            "name": "db-01",
        }
        return self.place(Verb.CREATE, key, **(given | what))

    def carry(self, order: WorkOrder, cloud: SimulatedCloud | None = None) -> WorkOrder:
        return delivery.carry(self.book, order.id, cloud or self.cloud())

    def do(self, what: Any, order: WorkOrder, by: str, *more: Any, **how: Any) -> WorkOrder:
        """``by`` does ``what`` to the order, having seen it as it is now."""
        with self.book.transaction(self.people[by]) as tx:
            seen = tx.get_one(WorkOrder, order.id).generation
            return what(tx, order.id, seen, *more, **how)

    def now(self, order: WorkOrder) -> WorkOrder:
        with self.book.reading() as tx:
            found = orders.order(tx, order.id)
            _ = found.resource, found.pool, found.department
            tx.expunge_all()
            return found

    def approved(self, kind: RequestKind = RequestKind.CREATE, **other: Any) -> Request:
        """A request of the bureau's, signed by all who must."""
        if kind is RequestKind.CREATE:
            other.setdefault("lines", [Line(item_id=self.item, quantity=2, name="web")])
        ask = Ask(
            kind=kind,
            department_id=self.bureau,
            pool_id=self.pool,
            system_id=self.system,
            justification="政务服务大厅高峰并发 2000,按压测折算",
            **other,
        )
        with self.book.transaction(self.people["clerk"]) as tx:
            request = requests.draft(tx, ask)
            request = requests.submit(tx, request, generation=request.generation)
        for login in ("checker", "reviewer", "chief"):
            with self.book.transaction(self.people[login]) as tx:
                found = requests.lock(tx, request)
                if found.current is not None and found.current.role == self.people[login].role:
                    approvals.sign(tx, found, decision=Decision.APPROVE, generation=found.generation)
        return request

    def balance(self, holder: Holder, cls: ResourceClass = CPU) -> int:
        with self.book.reading() as tx:
            owner = None if holder is Holder.FREE else self.bureau
            return ledger.balance(tx, Side(self.pool, cls, holder, owner))

    def prove(self) -> None:
        """Conserved, every entry sealed, every audit record chained."""
        with self.book.reading() as tx:
            assert ledger.conserved(tx)
            assert list(ledger.check(tx)) == []
            assert list(audit.check(tx)) == []


@pytest.fixture
def works(book: Book, tmp_path: Path) -> Works:
    """The works; its bureau has been granted 32 vCPU and 128 GB, and uses nothing yet."""
    found = Works(book, tmp_path)
    arm = next(one for one in city_pools() if one.code == "gov-arm")
    with book.transaction(steward()) as tx:
        for code in ("haichen", "lantu"):
            company = pools.CloudProvider(code=code, name=code)
            tx.add(company)
            tx.flush()
            found.companies[code] = company.id
        for code, company, adapter in (("gov-arm", "haichen", "simulated"), ("hand", "lantu", "files")):
            pool = pools.Pool(
                code=code,
                name=code,
                provider_id=found.companies[company],
                arch="aarch64",
                zone=arm.zone,
                xinchuang=True,
                adapter=adapter,
            )
            tx.add(pool)
            tx.flush()
            for one in arm.capacities:
                capacities.equip(
                    tx, pool, one.kind, one.total, reserved=one.reserved, ratio=one.ratio, key=f"{code}:{one.kind}"
                )
            if code == "gov-arm":
                found.pool = pool.id
            else:
                found.hand = pool.id
        bureau = agencies.register(tx, "b1", "某局")
        found.bureau, found.neighbour = bureau.id, agencies.register(tx, "b2", "邻局").id
        system = agencies.System(code="p1", name="门户", department_id=bureau.id)
        tx.add(system)
        tx.flush()
        found.system = system.id
        found.item = catalog.offer(tx, "4C8G", "4 核 8 GB", "vm", SMALL, [Arch.AARCH64]).id
        approvals.default_rules(tx, datetime(2026, 1, 1, tzinfo=UTC).date())
        for pool_id in (found.pool, found.hand):
            ledger.grant(
                tx,
                pool_id,
                bureau.id,
                {CPU: 32, ResourceClass(Kind.MEMORY, Arch.AARCH64): 128 * GB},
                key=f"grant:{pool_id}",
            )
    for login, role, department, company in (
        ("clerk", Role.TENANT, found.bureau, None),
        ("stranger", Role.TENANT, found.neighbour, None),
        ("checker", Role.SUPERVISOR, None, None),
        ("reviewer", Role.SUPERVISOR, None, None),
        ("chief", Role.AUTHORITY, None, None),
        ("operator", Role.PROVIDER, None, found.companies["haichen"]),
        ("rival", Role.PROVIDER, None, found.companies["lantu"]),
        ("auditor", Role.AUDITOR, None, None),
    ):
        found.people[login] = Actor(login, login, role, department, company, "192.0.2.1")
    return found
