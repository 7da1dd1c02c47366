"""Presets of sizes (规格预设): amounts that people usually ask for together, under a name, as rows. A form fills them in where nothing
else was typed; what is asked for are the amounts, and a preset that ended changes nothing that was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, stated
from quota.units import CLASSES, Amount, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST = 48
MOST = 10**12
"""Base units of a class, at the most."""
MOST_OPEN = 60
"""Presets that forms offer at once."""


class SizePreset(Base):
    """One preset. ``amounts`` in base units; one that has ended is offered no more."""

    __tablename__ = "size_presets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST))
    amounts: Mapped[dict[str, int]]
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(String(64))
    ended_at: Mapped[datetime | None]

    @property
    def subject(self) -> str:
        return f"size_preset:{self.id}"

    def takes(self) -> Amount:
        """What it says."""
        return Amount.from_json(self.amounts)


def offered(tx: Tx) -> list[SizePreset]:
    """Those that forms offer, without one of a class that has ended, in the order that they were added in."""
    known = set(CLASSES.open())
    return [one for one in standing(tx) if known.issuperset(one.amounts)]


def standing(tx: Tx) -> Sequence[SizePreset]:
    """Those that were not ended, also where a class of them has."""
    return tx.scalars(select(SizePreset).where(SizePreset.ended_at.is_(None)).order_by(SizePreset.id)).all()


def preset(tx: Tx, preset_id: int) -> SizePreset:
    """The preset, or NotFound."""
    found = tx.get(SizePreset, preset_id)
    if found is None:
        raise NotFound("preset.none", N_("没有编号为 %(id)s 的规格预设"), id=preset_id)
    return found


def add(tx: Tx, name: str, amounts: Mapping[ClassCode, int]) -> SizePreset:
    """Add a preset. The authority's and the supervisor's. Raises Invalid naming the field, Conflict for a name that is offered."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    name = stated(name, "name", code="preset.name", message=N_("请填写名称"))
    if len(name) > LONGEST:
        raise Invalid("preset.long", N_("须为 1 至 %(most)s 个字符"), most=LONGEST, field="name")
    for code, figure in amounts.items():
        CLASSES.offered(code)
        if isinstance(figure, bool) or not isinstance(figure, int) or not 0 <= figure <= MOST:
            raise Invalid("preset.amount", N_("数量须为非负整数"), field=f"amount_{code}")
    given = {str(code): figure for code, figure in amounts.items() if figure}
    if not given:
        raise Invalid("preset.empty", N_("请至少填写一项数量"), field="name")
    tx.alone("size_presets")
    there = standing(tx)
    if any(one.name == name for one in there):
        raise Conflict("preset.twice", N_("已有规格预设“%(name)s”"), name=name, field="name")
    if len(there) >= MOST_OPEN:
        raise Invalid("preset.many", N_("规格预设最多 %(most)s 项，请先停用不用的"), most=MOST_OPEN, field="name")
    row = SizePreset(name=name, amounts=given, added_at=tx.now, added_by=tx.actor.login)
    tx.add(row)
    tx.flush()
    tx.audit("size_preset.add", row.subject, after={"name": name, "amounts": given})
    return row


def end(tx: Tx, preset_id: int) -> SizePreset:
    """Offer it no more. The authority's and the supervisor's. Raises WrongState for one that has ended."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR)
    row = tx.lock(preset(tx, preset_id))
    if row.ended_at is not None:
        raise WrongState("preset.ended", N_("该规格预设已停用"))
    row.ended_at = tx.now
    tx.flush()
    tx.audit("size_preset.end", row.subject, before={"name": row.name})
    return row
