"""What the city calls itself and its lead body, from which amount on a takeover wants two persons, and which steps of its
founding it does without: said on a page, kept in the book. Whatever is not said here is as the settings of the house have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.errors import N_, Invalid

if TYPE_CHECKING:
    from quota.db import Tx

NAMES = {"city": N_("城市名称"), "lead_body": N_("主管部门名称")}
"""What a city may say of itself: name → label."""

TAKEOVER_LIMITS = {
    "resources": "takeover.resources",
    "vcpu": "takeover.vcpu",
    "memory_gb": "takeover.memory_gb",
    "storage_gb": "takeover.storage_gb",
}
"""Limits of a takeover that one person may book alone → how the city says them: a whole number, or nothing for no limit by that."""
MOST = 1_000_000_000

LONGEST = 64
WALL = "wall"
"""What the wall of the cockpit shows: names of its blocks in their order, separated by blanks."""
WITHOUT = "without:"
"""Begins the name of a step of the founding that the city does without."""


class CitySetting(Base):
    """One thing that the city said; ``name`` is one of NAMES, of the values of TAKEOVER_LIMITS, WALL, or WITHOUT and the name of a
    step."""

    __tablename__ = "city_settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    changed_by: Mapped[str] = mapped_column(String(64))
    changed_at: Mapped[datetime]


def told(tx: Tx) -> dict[str, str]:
    """Everything that the city said."""
    return {one.name: one.value for one in tx.scalars(select(CitySetting))}


def say(tx: Tx, given: Mapping[str, str]) -> dict[str, str]:
    """Set what the city is called; what is the same already is not touched. Returns what was changed.

    The right of the system administrator and the authority. Raises Invalid for an empty or overlong name.
    """
    tx.actor.must_be(Role.SYSADMIN, Role.AUTHORITY, Role.SYSTEM)
    said = {name: value.strip() for name, value in given.items()}
    for name, value in said.items():
        if name not in NAMES:
            raise Invalid("city.field", N_("没有这个字段:%(name)s"), name=name)
        if not value:
            raise Invalid("city.empty", N_("请填写%(label)s"), label=NAMES[name], field=name)
        if len(value) > LONGEST:
            raise Invalid("city.long", N_("最多 %(most)s 个字符"), most=LONGEST, field=name)
    return _keep(tx, said)


def limit_takeovers(tx: Tx, limits: Mapping[str, int | None]) -> dict[str, str]:
    """Set from which amount on a takeover wants two persons: names of TAKEOVER_LIMITS → whole numbers, or None for no limit by
    that. At least one must be set. The right of the authority, whom the limit serves; returns what was changed.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    for name, limit in limits.items():
        if name not in TAKEOVER_LIMITS:
            raise Invalid("city.field", N_("没有这个字段:%(name)s"), name=name)
        if limit is not None and not 0 <= limit <= MOST:
            raise Invalid("city.limit", N_("请填写 0 到 %(most)s 的整数"), most=MOST, field=name)
    if set(limits) == set(TAKEOVER_LIMITS) and all(limit is None for limit in limits.values()):
        raise Invalid("city.no_limit", N_("请至少填写一个门槛:数量再大也由一人接管是不行的"), field="resources")
    return _keep(tx, {TAKEOVER_LIMITS[name]: "" if limit is None else str(limit) for name, limit in limits.items()})


def arrange_wall(tx: Tx, blocks: Sequence[str]) -> dict[str, str]:
    """Set which blocks the wall of the cockpit shows, in this order. Returns what was changed. Raises Invalid for none, or one
    named twice."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    if not blocks:
        raise Invalid("city.wall_empty", N_("请至少选择一项"), field="blocks")
    if len(set(blocks)) < len(blocks):
        raise Invalid("city.wall_twice", N_("同一项只能放一处"), field="blocks")
    return _keep(tx, {WALL: " ".join(blocks)})


def do_without(tx: Tx, step: str, reason: str) -> None:
    """Say that the city does without an optional step of its founding, and why."""
    tx.actor.must_be(Role.SYSADMIN, Role.AUTHORITY, Role.SYSTEM)
    _keep(tx, {f"{WITHOUT}{step}": reason.strip()})


def _keep(tx: Tx, said: Mapping[str, str]) -> dict[str, str]:
    before = told(tx)
    changed = {name: value for name, value in said.items() if before.get(name) != value}
    for name, value in changed.items():
        row = tx.get(CitySetting, name) or CitySetting(name=name)
        row.value, row.changed_by, row.changed_at = value, tx.actor.login, tx.now
        tx.add(row)
    if changed:
        tx.flush()
        tx.audit("city.set", "city:1", before={name: before.get(name) for name in changed}, after=changed)
    return changed
