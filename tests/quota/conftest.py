"""The town: two pools, a bureau with a branch below it, a neighbour, and who acts for whom (tests/city/plans.py)."""

from __future__ import annotations

import pytest

from quota.db import Book
from quota.units import Arch, Kind, ResourceClass
from tests.city import TOWN, City

CPU = ResourceClass(Kind.VCPU, Arch.AARCH64)
MEM = ResourceClass(Kind.MEMORY, Arch.AARCH64)


@pytest.fixture
def town(book: Book) -> City:
    return City(book, plan=TOWN)
