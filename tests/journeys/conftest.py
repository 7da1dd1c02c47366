"""Stories over HTTP: the console of tests.console.conftest, with the pool of tests.city in it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from quota import ledger
from quota.actors import steward
from quota.db import Book
from quota.units import Arch, Kind, ResourceClass
from tests.city import found_pool
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
    with house.transaction(steward()) as tx:
        pool, (small, large) = found_pool(tx, city)
        return Place(house, pool.id, small.id, large.id, city.departments[0].id)
