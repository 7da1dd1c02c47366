"""Held sheets (待对照的文件): files that a pool's company delivered and nobody can read yet, the latest listing and the latest
file of usage of each pool, until a person says what their columns mean. Nothing of them has been entered, and nothing is gone
by them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, LargeBinary, String, Text, delete, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.readers import SheetPurpose, sheet_purposes
from quota.base import Base
from quota.directory import Pool
from quota.errors import N_, NotFound
from quota.seals import sm3

if TYPE_CHECKING:
    from quota.db import Tx

INVENTORY = sheet_purposes.INVENTORY
MOST_BYTES = 32 << 20
"""Of a file, to be kept; one that is larger is named, and has to be brought by hand."""


class HeldSheet(Base):
    """The latest file of a pool and a purpose (a code of providers.readers.sheet_purposes) that could not be read, and what the
    reader said of it. ``content``: None where it is too large to be kept."""

    __tablename__ = "held_sheets"

    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16), primary_key=True)
    file: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64))
    said: Mapped[str] = mapped_column(Text)
    held_at: Mapped[datetime]
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)

    pool: Mapped[Pool] = relationship()


def hold(tx: Tx, pool_id: int, path: Path, said: str, purpose: SheetPurpose = INVENTORY) -> None:
    """Keep the file for a person's look; the same file once more changes nothing."""
    content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    known = f"{path.name}:{path.stat().st_size}".encode() if content is None else content
    digest = sm3(known).hex()
    row = tx.get(HeldSheet, (pool_id, purpose.code))
    if row is not None and row.digest == digest:
        row.said = said
        return
    if row is None:
        row = HeldSheet(pool_id=pool_id, purpose=purpose.code)
        tx.add(row)
    row.file, row.digest, row.said, row.held_at, row.content = path.name[-200:], digest, said, tx.now, content
    tx.flush()
    tx.audit("mapping.ask", f"pool:{pool_id}", after={"file": row.file, "sm3": digest})


def release(tx: Tx, pool_id: int, purpose: SheetPurpose = INVENTORY) -> None:
    """What the pool delivers for that purpose can be read."""
    tx.execute(delete(HeldSheet).where(HeldSheet.pool_id == pool_id, HeldSheet.purpose == purpose.code))


def waiting(tx: Tx, pool_id: int | None = None) -> list[HeldSheet]:
    """Every sheet that waits (of one pool), the longest first."""
    query = select(HeldSheet).order_by(HeldSheet.held_at, HeldSheet.pool_id, HeldSheet.purpose)
    return list(tx.scalars(query if pool_id is None else query.where(HeldSheet.pool_id == pool_id)))


def held_sheet(tx: Tx, pool_id: int, purpose: SheetPurpose = INVENTORY) -> HeldSheet:
    """The pool's, or NotFound."""
    found = tx.get(HeldSheet, (pool_id, purpose.code))
    if found is None:
        raise NotFound("mapping.no_sheet", N_("这个资源池没有待对照的文件"))
    return found


@contextmanager
def laid_out(row: HeldSheet) -> Iterator[Path]:
    """The file under its own name, for as long as the block runs. Raises NotFound where it was too large to be kept."""
    if row.content is None:
        raise NotFound(
            "mapping.large", N_("文件 %(file)s 过大，没有留存；请在“导入清单”或“导入用量”上传"), file=row.file
        )
    with tempfile.TemporaryDirectory(prefix="guanjia-sheet-") as folder:
        path = Path(folder) / Path(row.file).name
        path.write_bytes(row.content)
        yield path
