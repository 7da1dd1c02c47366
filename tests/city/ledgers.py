"""What a city of the tests does with the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quota import audit
from quota.actors import Actor, steward
from quota.db import Book, Tx
from quota.directory.pools import Pool
from quota.ledger import entries, tree
from quota.ledger.tables import Holder, Side
from quota.units import VCPU, Arch, Commodity

OWNERLESS = (Holder.FREE, Holder.SUPPLY)


class LedgerActs:
    if TYPE_CHECKING:
        book: Book
        pool: int
        department: int

    @contextmanager
    def by(self, actor: Actor | None = None) -> Iterator[Tx]:
        """A transaction of somebody's, or of the steward's jobs."""
        with self.book.transaction(actor or steward("cases")) as tx:
            yield tx

    def grant(self, what: Mapping[Commodity, int], key: str, use: bool = False) -> None:
        with self.book.transaction(steward()) as tx:
            entries.grant(tx, self.pool, self.department, what, key=key)
            if use:
                entries.use(tx, self.pool, self.department, what, key=f"{key}/use")

    def balance(self, holder: Holder, cls: Commodity | None = None) -> int:
        """What the department (or nobody) holds of ``cls`` in the pool, in base units; of its vCPU unless told."""
        with self.book.reading() as tx:
            assert entries.conserved(tx)
            asked = cls or Commodity(VCPU, Arch(tx.get_one(Pool, self.pool).arch))
            owner = None if holder in OWNERLESS else self.department
            return entries.balance(tx, Side(self.pool, asked, holder, owner))

    def figures(self, pool_id: int | None = None) -> dict[str, int]:
        """holder → base units of vCPU in the pool, nobody's and the department's; proves the book on the way."""
        self.prove()
        where = pool_id or self.pool
        with self.book.reading() as tx:
            return {
                account.holder: account.balance
                for account in entries.balances(tx, pool_id=where)
                if account.kind == "vcpu" and account.balance and account.department_id in (None, self.department)
            }

    def prove(self) -> None:
        """Conserved, every entry sealed, every audit record chained."""
        with self.book.reading() as tx:
            assert entries.conserved(tx)
            assert list(entries.check(tx)) == []
            assert list(tree.check(tx)) == []
            assert list(audit.check(tx)) == []
