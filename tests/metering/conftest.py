"""A small city for cases: one pool, two departments, people of every role, machines that are judged by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from metering.judging.procedure import Procedure
from quota.db import Book
from quota.units import VCPU, Arch, Commodity
from tests import books
from tests.city import CASES, City
from tests.conftest import Clock

CPU = Commodity(VCPU, Arch.X86_64)


def judged_city(book: Book, clock: Clock, procedure: Procedure | None = None) -> City:
    """The city of cases, where they are handled as ``procedure`` says."""
    return City(book, clock, replace(CASES, procedure=procedure))


@pytest.fixture
def city(book: Book, clock: Clock) -> City:
    return judged_city(book, clock)


@pytest.fixture
def city_class() -> Callable[..., City]:
    """What makes one, for who needs a fresh city many times."""
    return judged_city


@pytest.fixture
def fresh_postgres(postgres: str) -> Iterator[Callable[..., str]]:
    """Each call gives the address of another empty book on PostgreSQL, or of a copy of the one that is named."""
    made: list[str] = []

    def fresh(template: str = books.EMPTY) -> str:
        made.append(books.postgres(postgres, template))
        return made[-1]

    yield fresh
    for one in made:
        books.drop(postgres, one)
