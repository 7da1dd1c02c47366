"""What a city of the tests does with requests: asked, signed, handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quota.actors import Actor, steward
from quota.db import Book
from quota.directory import Pool
from quota.inventory import Resource
from quota.requests import RequestKind, approvals, fulfilment, kinds, submission
from quota.requests.approvals import Decision
from quota.requests.asks import Ask, Line
from quota.requests.tables import Request
from quota.units import Amount

WHY = "政务服务大厅高峰并发 2000,按压测折算"


class RequestActs:
    if TYPE_CHECKING:
        book: Book
        pool: int
        department: int
        item: int
        people: dict[str, Actor]

    def ask(self, kind: RequestKind = kinds.CREATE, **other: Any) -> Ask:
        """An ask for two 4C8G machines in the 信创 pool, or what ``other`` says."""
        if kind is kinds.CREATE:
            other.setdefault("lines", [Line(item_id=self.item, quantity=2)])
        return Ask(
            kind=kind,
            department_id=other.pop("department_id", self.department),
            pool_id=other.pop("pool_id", self.pool),
            justification=other.pop("justification", WHY),
            **other,
        )

    def standing_machine(self, amounts: Amount, name: str = "i-1", **other: Any) -> int:
        """A running machine of the department's, counted with ``amounts``; returns its id. The ledger is the caller's."""
        shape = {str(code): figure for code, figure in amounts.items()}
        with self.book.transaction(steward()) as tx:
            given = {
                "pool_id": self.pool, "external_id": name, "name": name, "kind": "vm",
                "amounts": shape, "booked": shape, "state": "running", "department_id": self.department,
                "basis": "adopted", "first_seen_at": tx.now, "tags": {}, **other,
            }  # fmt: skip
            if "arch" not in other:
                given["arch"] = tx.get_one(Pool, given["pool_id"]).arch
            resource = Resource(**given)
            tx.add(resource)
            tx.flush()
            return resource.id

    def draft(self, kind: RequestKind = kinds.CREATE, by: str = "clerk", **other: Any) -> Request:
        with self.book.transaction(self.people[by]) as tx:
            return submission.draft(tx, self.ask(kind, **other))

    def submit(self, kind: RequestKind = kinds.CREATE, by: str = "clerk", **other: Any) -> Request:
        with self.book.transaction(self.people[by]) as tx:
            request = submission.draft(tx, self.ask(kind, **other))
            return submission.submit(tx, request, generation=request.generation)

    def sign(self, request: Request, by: str, decision: Decision = Decision.APPROVE, **how: Any) -> Request:
        """``by`` decides, having seen ``request`` as it is now (or as ``generation`` says)."""
        with self.book.transaction(self.people[by]) as tx:
            how.setdefault("generation", submission.lock(tx, request).generation)
            return approvals.sign(tx, request, decision=decision, **how)

    def approve(self, request: Request, *by: str) -> Request:
        for login in by or ("checker", "reviewer"):
            request = self.sign(request, login)
        return request

    def hand_over(self, request: Request) -> Request:
        with self.book.transaction(steward()) as tx:
            fulfilment.delivering(tx, request)
            return fulfilment.delivered(tx, request)

    def seen(self, request: Request) -> Request:
        """``request`` as the book has it now, lines and steps and all, to look at after the transaction."""
        with self.book.reading() as tx:
            found = submission.request(tx, request.id)
            _ = [found.pool, *found.steps, *(line.item for line in found.lines)]
            return found
