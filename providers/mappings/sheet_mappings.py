"""Sheet mappings (列对照): how the sheets of a pool are read, as people said, version by version. The newest of a set of
headings is in force; one that reads nothing ends it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.mappings.looks import SheetLook
from providers.readers import ColumnMapping, SheetPurpose, column_mapping
from quota.actors import Role
from quota.base import Base, append_only
from quota.directory import Pool
from quota.errors import N_, Conflict, NotFound, WrongState, stated

if TYPE_CHECKING:
    from sqlalchemy import Select

    from quota.db import Tx

LONGEST_REASON = 500


class SheetMapping(Base):
    """One version of how sheets with the headings ``header`` (``ColumnMapping.key``) are read in a pool. ``mapping``: as
    ``ColumnMapping.to_json``, {} where they are read by it no more; ``seen``: the sheet that it was made from
    (``SheetLook.to_json``)."""

    __tablename__ = "sheet_mappings"
    __table_args__ = (UniqueConstraint("pool_id", "header", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    header: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    mapping: Mapped[dict[str, Any]]
    seen: Mapped[dict[str, Any]]
    made_by: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(String(LONGEST_REASON), default="")

    pool: Mapped[Pool] = relationship()

    @property
    def columns(self) -> ColumnMapping:
        return ColumnMapping.from_json(self.mapping)

    @property
    def look(self) -> SheetLook:
        return SheetLook.from_json(self.seen)


append_only(SheetMapping.__table__)  # type: ignore[arg-type]


def newest() -> Select[SheetMapping]:
    """The newest version of every set of headings, ended ones among them."""
    last = select(func.max(SheetMapping.id).label("id")).group_by(SheetMapping.pool_id, SheetMapping.header).subquery()
    return select(SheetMapping).join(last, last.c.id == SheetMapping.id)


def in_force(tx: Tx, pool_id: int, purpose: SheetPurpose | None = None) -> list[ColumnMapping]:
    """How the pool's sheets (of one purpose) are read, the newest first."""
    found = [one.columns for one in _rows(tx, pool_id)]
    return found if purpose is None else column_mapping.of_purpose(found, purpose)


def told(tx: Tx, pool_id: int) -> list[dict[str, Any]]:
    """The same as an adapter's option has it: each as JSON, with when it was kept."""
    return [{**one.mapping, "kept_at": one.made_at.isoformat()} for one in _rows(tx, pool_id)]


def _rows(tx: Tx, pool_id: int) -> list[SheetMapping]:
    rows = tx.scalars(newest().where(SheetMapping.pool_id == pool_id).order_by(SheetMapping.id.desc()))
    return [one for one in rows if one.mapping]


def sheet_mapping(tx: Tx, mapping_id: int) -> SheetMapping:
    """The version, or NotFound."""
    found = tx.get(SheetMapping, mapping_id)
    if found is None:
        raise NotFound("mapping.none", N_("没有编号为 %(id)s 的列对照"), id=mapping_id)
    return found


def versions(tx: Tx, pool_id: int, header: str) -> list[SheetMapping]:
    """Every version for these headings, the newest first."""
    query = select(SheetMapping).where(SheetMapping.pool_id == pool_id, SheetMapping.header == header)
    return list(tx.scalars(query.order_by(SheetMapping.version.desc())))


def keep(tx: Tx, pool: Pool, wanted: ColumnMapping, look: SheetLook, *, before: int = 0) -> SheetMapping:
    """Read the pool's sheets with these headings so from now on. ``before``: the version that the page showed, 0 for none;
    Conflict where another is in force by now. What changes nothing is no new version."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    last = _last(tx, pool, wanted.key, before)
    kept = wanted.to_json()
    if last is not None and last.mapping == kept:
        return last
    row = _next(tx, pool, wanted.key, last, kept, look.to_json())
    tx.audit("mapping.keep", f"pool:{pool.id}", before=_told(last), after=_told(row))
    return row


def end(tx: Tx, row: SheetMapping, reason: str) -> SheetMapping:
    """Read sheets with these headings by it no more: the next one is asked about. Raises Invalid without a reason,
    WrongState where it has ended, Conflict where there is a newer version."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    reason = stated(reason)
    pool = tx.get_one(Pool, row.pool_id)
    last = _last(tx, pool, row.header, row.version)
    if last is None or not last.mapping:
        raise WrongState("mapping.ended", N_("这份列对照已停用"))
    ended = _next(tx, pool, row.header, last, {}, last.seen, reason[:LONGEST_REASON])
    tx.audit("mapping.end", f"pool:{pool.id}", before=_told(last), after=_told(ended), reason=reason)
    return ended


def _last(tx: Tx, pool: Pool, header: str, before: int) -> SheetMapping | None:
    tx.execute(select(Pool.id).where(Pool.id == pool.id).with_for_update())  # one version after the other
    last = next(iter(versions(tx, pool.id, header)), None)
    if before != (last.version if last is not None else 0):
        raise Conflict("mapping.stale", N_("列对照已被他人修改,请重新打开页面"))
    return last


def _next(
    tx: Tx,
    pool: Pool,
    header: str,
    last: SheetMapping | None,
    mapping: Mapping[str, Any],
    seen: Mapping[str, Any],
    reason: str = "",
) -> SheetMapping:
    row = SheetMapping(
        pool_id=pool.id, header=header, version=1 + (last.version if last is not None else 0), mapping=dict(mapping),
        seen=dict(seen), made_by=tx.actor.login, made_at=tx.now, reason=reason,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    return row


def _told(row: SheetMapping | None) -> dict[str, Any]:
    """As the audit trail has it."""
    if row is None:
        return {}
    return {"header": row.header, "version": row.version, **{k: v for k, v in row.mapping.items() if k != "heads"}}
