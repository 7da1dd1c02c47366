"""A small town for requests: two pools, a bureau with a branch below it, a neighbour, and who acts for whom.

company ── pool x86 (100 vCPU, 400 GB, 1000 GB block, not 信创)      bureau ── branch
        └─ pool arm (200 vCPU, 800 GB, 8 cards, 信创)                neighbour
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from quota import agencies, approvals, audit, capacities, catalog, fulfilment, ledger, pools, requests
from quota.actors import Actor, Role, steward
from quota.approvals import Decision
from quota.db import Book
from quota.ledger import Holder, Side
from quota.requests import Ask, Line, Request, RequestKind
from quota.units import Arch, Kind, ResourceClass

CPU = ResourceClass(Kind.VCPU, Arch.AARCH64)
MEM = ResourceClass(Kind.MEMORY, Arch.AARCH64)
GB = 1024
WHY = "政务服务大厅高峰并发 2000,按压测折算"


def person(login: str, role: Role, department_id: int | None = None, provider_id: int | None = None) -> Actor:
    return Actor(login, login, role, department_id, provider_id, "192.0.2.1")


@dataclass
class Town:
    """The book of the town, its people, and short words for what tests do all the time."""

    book: Book
    x86: int = 0
    arm: int = 0
    bureau: int = 0
    branch: int = 0
    neighbour: int = 0
    system: int = 0
    item: int = 0  # 4C8G
    people: dict[str, Actor] = field(default_factory=dict)

    def ask(self, kind: RequestKind = RequestKind.CREATE, **other: Any) -> Ask:
        """An ask for two 4C8G machines in the 信创 pool, or what ``other`` says."""
        if kind is RequestKind.CREATE:
            other.setdefault("lines", [Line(item_id=self.item, quantity=2)])
        return Ask(
            kind=kind,
            department_id=other.pop("department_id", self.bureau),
            pool_id=other.pop("pool_id", self.arm),
            justification=other.pop("justification", WHY),
            **other,
        )

    def draft(self, kind: RequestKind = RequestKind.CREATE, by: str = "clerk", **other: Any) -> Request:
        with self.book.transaction(self.people[by]) as tx:
            return requests.draft(tx, self.ask(kind, **other))

    def submit(self, kind: RequestKind = RequestKind.CREATE, by: str = "clerk", **other: Any) -> Request:
        with self.book.transaction(self.people[by]) as tx:
            request = requests.draft(tx, self.ask(kind, **other))
            return requests.submit(tx, request, generation=request.generation)

    def sign(self, request: Request, by: str, decision: Decision = Decision.APPROVE, **how: Any) -> Request:
        """``by`` decides, having seen ``request`` as it is now (or as ``generation`` says)."""
        with self.book.transaction(self.people[by]) as tx:
            how.setdefault("generation", requests.lock(tx, request).generation)
            return approvals.sign(tx, request, decision=decision, **how)

    def approve(self, request: Request, *by: str) -> Request:
        for login in by or ("checker", "reviewer"):
            request = self.sign(request, login)
        return request

    def deliver(self, request: Request) -> Request:
        with self.book.transaction(steward()) as tx:
            fulfilment.delivering(tx, request)
            return fulfilment.delivered(tx, request)

    def seen(self, request: Request) -> Request:
        """``request`` as the book has it now, lines and steps and all, to look at after the transaction."""
        with self.book.reading() as tx:
            found = requests.request(tx, request.id)
            _ = [found.pool, *found.steps, *(line.item for line in found.lines)]
            return found

    def figures(self, pool_id: int | None = None) -> dict[str, int]:
        """holder[/department] → base units of vCPU in the 信创 pool; proves the book on the way."""
        self.prove()
        where = pool_id or self.arm
        with self.book.reading() as tx:
            return {
                account.holder: account.balance
                for account in ledger.balances(tx, pool_id=where)
                if account.kind == "vcpu" and account.balance and account.department_id in (None, self.bureau)
            }

    def grant(self, what: Mapping[ResourceClass, int], key: str, use: bool = False) -> None:
        with self.book.transaction(steward()) as tx:
            ledger.grant(tx, self.arm, self.bureau, what, key=key)
            if use:
                ledger.use(tx, self.arm, self.bureau, what, key=f"{key}/use")

    def balance(self, cls: ResourceClass, holder: Holder) -> int:
        with self.book.reading() as tx:
            owner = None if holder is Holder.FREE else self.bureau
            return ledger.balance(tx, Side(self.arm, cls, holder, owner))

    def prove(self) -> None:
        """Conserved, every entry sealed, every audit record chained."""
        with self.book.reading() as tx:
            assert ledger.conserved(tx)
            assert list(ledger.check(tx)) == []
            assert list(audit.check(tx)) == []


def found_town(book: Book) -> Town:
    """Build the town in an empty book."""
    town = Town(book)
    with book.transaction(steward()) as tx:
        company = pools.CloudProvider(code="c", name="某云")
        other = pools.CloudProvider(code="o", name="另一朵云")
        tx.add_all([company, other])
        tx.flush()
        for name, arch, xinchuang in (("x86", "x86_64", False), ("arm", "aarch64", True)):
            pool = pools.Pool(
                code=name,
                name=name,
                provider_id=company.id,
                arch=arch,
                zone="政务外网",
                xinchuang=xinchuang,
                adapter="files",
            )
            tx.add(pool)
            tx.flush()
            setattr(town, name, pool.id)
            size = 2 if xinchuang else 1
            capacities.equip(tx, pool, Kind.VCPU, 100 * size, key=f"{name}/cpu")
            capacities.equip(tx, pool, Kind.MEMORY, 400 * GB * size, key=f"{name}/mem")
            capacities.equip(tx, pool, Kind.BLOCK, 1000, key=f"{name}/block")
            if xinchuang:
                capacities.equip(tx, pool, Kind.ACCELERATOR, 8, key=f"{name}/cards")
        bureau = agencies.register(tx, "b", "某局")
        town.bureau = bureau.id
        town.branch = agencies.register(tx, "b1", "某局信息中心", bureau).id
        town.neighbour = agencies.register(tx, "n", "邻局").id
        system = agencies.System(code="s", name="一网通办", department_id=bureau.id)
        tx.add(system)
        town.item = catalog.offer(
            tx, "4c8g", "4C8G", "vm", {Kind.VCPU: 4, Kind.MEMORY: 8 * GB}, [Arch.X86_64, Arch.AARCH64]
        ).id
        town.system = system.id
        approvals.default_rules(tx)
        everybody = [
            person("clerk", Role.TENANT, town.bureau),
            person("branch_clerk", Role.TENANT, town.branch),
            person("stranger", Role.TENANT, town.neighbour),
            person("checker", Role.SUPERVISOR),
            person("reviewer", Role.SUPERVISOR),
            person("chief", Role.AUTHORITY),
            person("operator", Role.PROVIDER, provider_id=company.id),
            person("rival", Role.PROVIDER, provider_id=other.id),
            person("auditor", Role.AUDITOR),
            person("sysadmin", Role.SYSADMIN),
        ]
    town.people = {one.login: one for one in everybody}
    return town


@pytest.fixture
def town(book: Book) -> Town:
    return found_town(book)
