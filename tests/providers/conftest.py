"""The works: the simulated 信创 pool in a book, one bureau that orders, and everybody who touches an order."""

from __future__ import annotations

from pathlib import Path

import pytest

from quota.db import Book
from quota.units import VCPU, Arch, Commodity
from tests.city import WORKS, City

CPU = Commodity(VCPU, Arch.AARCH64)


@pytest.fixture
def works(book: Book, tmp_path: Path) -> City:
    """The works; its bureau has been granted 32 vCPU and 128 GB, and uses nothing yet."""
    return City(book, plan=WORKS, home=tmp_path)
