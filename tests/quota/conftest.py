"""The town: two pools, a bureau with a branch below it, a neighbour, and who acts for whom (tests/city/plans.py)."""

from __future__ import annotations

import pytest

from quota.db import Book
from quota.units import MEMORY, VCPU, Arch, Commodity
from tests.city import TOWN, City

CPU = Commodity(VCPU, Arch.AARCH64)
MEM = Commodity(MEMORY, Arch.AARCH64)


@pytest.fixture
def town(book: Book) -> City:
    return City(book, plan=TOWN)
