"""Inventories from files: read, entered as one listing in one transaction, and told what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from providers import inventory
from providers.base import Inventory
from providers.inventory import Drift
from providers.inventory_files import read_inventory
from providers.refusals import Refusals
from quota.actors import Actor, steward
from quota.db import Book
from quota.errors import N_, Conflict, NotFound, Refused
from quota.pools import Pool
from quota.units import Arch


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file. ``drift`` is None, and ``error`` says why, where nothing was entered."""

    pool: str
    report: Refusals
    drift: Drift | None
    error: Refused | None
    again: bool = False

    @property
    def clean(self) -> bool:
        return self.error is None and not self.report.refused and not self.report.values_refused

    def to_json(self) -> dict[str, Any]:
        return {
            "pool": self.pool,
            "entered": self.drift is not None,
            "again": self.again,
            "complete": bool(self.drift and self.drift.complete),
            "resources": self.drift and self.report.taken,
            "drift": self.drift and self.drift.summary(),
            "error": self.error and {"code": self.error.code, "message": str(self.error)},
            **self.report.as_json(),
        }


def pool_of(book: Book, code: str) -> Pool:
    """The pool with that code, or NotFound."""
    with book.reading() as tx:
        found = tx.scalar(select(Pool).where(Pool.code == code))
        if found is None:
            raise NotFound("pool.none", N_("没有编号为 %(id)s 的资源池"), id=code)
        return found


def enter(book: Book, pool: Pool, path: Path, *, as_of: datetime | None = None, actor: Actor | None = None) -> Imported:
    """Read ``path`` and enter it as a listing of ``pool`` as of ``as_of`` (else what the file says, else its date).

    Rows that make no sense are refused with their places, and make the listing incomplete: nothing is then concluded
    from what it lacks. A file that cannot be read enters nothing. The same file again changes nothing.
    """
    report = Refusals()
    try:
        listing = read_inventory(path, report, arch=Arch(pool.arch))
        if as_of is not None:
            listing = Inventory(as_of, listing.facts, complete=listing.complete)
        with book.transaction(actor or steward("import")) as tx:
            here = tx.get_one(Pool, pool.id)
            last = inventory.last_listing(tx, pool.id)
            if listing.as_of > tx.now:
                raise Conflict("inventory.future", N_("清单的时点 %(at)s 晚于现在"), at=listing.as_of)
            drift = inventory.observe(tx, here, listing)
            again = last is not None and last.as_of == listing.as_of and not (drift.new or drift.changed or drift.gone)
    except Refused as error:
        return Imported(pool.code, report, None, error)
    return Imported(pool.code, report, drift, None, again)
