"""Sums over very many rows without the collector of cycles. Pure."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of cycles: millions of rows and lists in none of which there is a cycle would be gone through
    again and again, for half of the time that a month, a comparison or a card takes."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
