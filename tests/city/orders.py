"""What a city of the tests has done in its pool: orders placed, carried to the cloud, taken over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from providers import orders
from providers.adapters.simulated.cloud import SimulatedCloud
from providers.base import ServiceKind, Verb
from providers.orders import tables
from providers.orders.tables import WorkOrder
from quota.actors import Actor, steward
from quota.db import Book
from quota.directory import pools
from quota.requests import RequestKind, approvals, kinds, submission
from quota.requests.approvals import Decision
from quota.requests.asks import Ask, Line
from quota.requests.tables import Request
from tests.city.plans import SMALL
from tests.city.requests import WHY


class OrderActs:
    if TYPE_CHECKING:
        book: Book
        home: Path
        pool: int
        department: int
        system: int
        item: int
        people: dict[str, Actor]

    def cloud(self, cls: type[SimulatedCloud] = SimulatedCloud, **options: Any) -> SimulatedCloud:
        """The pool's cloud, opened anew; its orders are kept in one file."""
        return cls(pool="gov-arm", epoch="2026-05-25", state_file=self.home / "cloud.jsonl", **options)

    def place(self, verb: Verb, key: str, by: Actor | None = None, **what: Any) -> WorkOrder:
        with self.book.transaction(by or steward()) as tx:
            return orders.place(tx, tx.get_one(pools.Pool, what.pop("pool", self.pool)), verb, key=key, **what)

    def create(self, key: str = "k", **what: Any) -> WorkOrder:
        given = {
            "kind": ServiceKind.VM,
            "amounts": SMALL,
            "department_id": self.department,
            "system_id": self.system,
            "name": "db-01",
        }
        return self.place(Verb.CREATE, key, **(given | what))

    def carry(self, order: WorkOrder, cloud: SimulatedCloud | None = None) -> WorkOrder:
        return orders.carry(self.book, order.id, cloud or self.cloud())

    def do(self, what: Any, order: WorkOrder, by: str, *more: Any, **how: Any) -> WorkOrder:
        """``by`` does ``what`` to the order, having seen it as it is now."""
        with self.book.transaction(self.people[by]) as tx:
            seen = tx.get_one(WorkOrder, order.id).generation
            return what(tx, order.id, seen, *more, **how)

    def now(self, order: WorkOrder) -> WorkOrder:
        with self.book.reading() as tx:
            found = tables.order(tx, order.id)
            _ = found.resource, found.pool, found.department
            tx.expunge_all()
            return found

    def approved(self, kind: RequestKind = kinds.CREATE, **other: Any) -> Request:
        """A request of the bureau's, signed by all who must."""
        if kind is kinds.CREATE:
            other.setdefault("lines", [Line(item_id=self.item, quantity=2, name="web")])
        ask = Ask(
            kind=kind,
            department_id=self.department,
            pool_id=self.pool,
            system_id=self.system,
            justification=WHY,
            **other,
        )
        with self.book.transaction(self.people["clerk"]) as tx:
            request = submission.draft(tx, ask)
            request = submission.submit(tx, request, generation=request.generation)
        for login in ("checker", "reviewer", "chief"):
            with self.book.transaction(self.people[login]) as tx:
                found = submission.lock(tx, request)
                if found.current is not None and found.current.role == self.people[login].role:
                    approvals.sign(tx, found, decision=Decision.APPROVE, generation=found.generation)
        return request
