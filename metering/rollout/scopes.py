"""Scopes: the departments and pools for which findings become cases (启用处置); elsewhere they are only looked at (试运行).

The authority opens a scope, or shuts it, with a reason; each such word stands for good. Of the words that cover a
department in a pool the last one holds; where nobody said anything, it is open. Shutting touches no case that is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, Text, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base, append_only
from quota.directory import Department, Pool, departments, pools
from quota.errors import N_, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

Pair = tuple[int | None, int | None]
"""(department id, pool id); None: all of them."""


class ScopeDecision(Base):
    """One word on one scope. ``department_id`` None: every department; ``pool_id`` None: every pool; ``opens``: whether cases
    are opened there from then on."""

    __tablename__ = "scope_decisions"

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"))
    opens: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    department: Mapped[Department | None] = relationship()
    pool: Mapped[Pool | None] = relationship()


append_only(ScopeDecision.__table__)  # type: ignore[arg-type]

FOUNDED = N_("新建的管家先试运行：只作评估，不立案、不发通知，由主管部门启用处置")
"""Why a house that was just founded is in the shadow."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """The last word on each scope: (department, pool) → (its number, whether it opens)."""

    words: Mapping[Pair, tuple[int, bool]]

    def opened(self, department_id: int | None, pool_id: int) -> bool:
        """Whether what is found of a department in a pool becomes a case."""
        pairs = ((department_id, pool_id), (department_id, None), (None, pool_id), (None, None))
        said = [self.words[pair] for pair in pairs if pair in self.words]
        return max(said)[1] if said else True

    def whole(self) -> bool | None:
        """Whether the whole city is open (True) or in the shadow (False); None where some of it is."""
        last, opens = self.words.get((None, None), (0, True))
        return None if any(other > last and said is not opens for other, said in self.words.values()) else opens

    def after(self, said: Iterable[Pair], opens: bool) -> Scopes:
        """As it would be with one more word on each of the scopes ``said``."""
        last = max((number for number, _opens in self.words.values()), default=0)
        return Scopes({**self.words, **{pair: (last + n, opens) for n, pair in enumerate(said, 1)}})


def now(tx: Tx) -> Scopes:
    """Where cases are opened now."""
    last = select(func.max(ScopeDecision.id)).group_by(ScopeDecision.department_id, ScopeDecision.pool_id)
    rows = tx.execute(
        select(ScopeDecision.department_id, ScopeDecision.pool_id, ScopeDecision.id, ScopeDecision.opens).where(
            ScopeDecision.id.in_(last)
        )
    )
    return Scopes({(row.department_id, row.pool_id): (row.id, row.opens) for row in rows})


def chosen(department_ids: Iterable[int], pool_ids: Iterable[int]) -> list[Pair]:
    """The scopes of these departments (none: of all) in these pools (none: in all). Pure."""
    of: list[int | None] = [*sorted(set(department_ids))] or [None]
    where: list[int | None] = [*sorted(set(pool_ids))] or [None]
    return [(department_id, pool_id) for department_id in of for pool_id in where]


def decide(
    tx: Tx, opens: bool, department_ids: Iterable[int], pool_ids: Iterable[int], reason: str
) -> list[ScopeDecision]:
    """Open (or shut) these departments, or all of them, in these pools, or in all. Findings become cases there with the next
    opening; what is open already goes on.

    Raises Invalid without a reason, NotFound for who or what there is none of, WrongState where all of it is so already.
    """
    tx.actor.must_be(Role.AUTHORITY)
    reason = stated(reason)
    tx.alone("scopes")
    pairs = chosen(department_ids, pool_ids)
    for department_id, pool_id in pairs:
        if department_id is not None:
            departments.department(tx, department_id)
        if pool_id is not None:
            pools.pool(tx, pool_id)
    before = now(tx)
    if not _changes(tx, before, before.after(pairs, opens), pairs):
        raise WrongState("scope.same", N_("所选范围已经启用处置") if opens else N_("所选范围已在试运行"))
    return [_say(tx, opens, pair, reason) for pair in pairs]


def begin_in_shadow(tx: Tx) -> ScopeDecision:
    """The first word of a house that was just founded: nothing becomes a case until the authority opens it."""
    tx.actor.must_be(Role.SYSTEM)
    return _say(tx, False, (None, None), FOUNDED)


def decisions(tx: Tx, most: int) -> list[ScopeDecision]:
    """The latest words, newest first, no more than ``most``."""
    return list(tx.scalars(select(ScopeDecision).order_by(ScopeDecision.id.desc()).limit(most)))


def _changes(tx: Tx, before: Scopes, then: Scopes, pairs: Iterable[Pair]) -> bool:
    """Whether anything is otherwise by ``then``: the whole, or any department in any pool."""
    if before.whole() is not then.whole():
        return True
    every_department = list(tx.scalars(select(Department.id).where(Department.active)))
    every_pool = list(tx.scalars(select(Pool.id).where(Pool.active)))
    return any(
        before.opened(department_id, pool_id) != then.opened(department_id, pool_id)
        for one_department, one_pool in pairs
        for department_id in ([one_department] if one_department is not None else every_department)
        for pool_id in ([one_pool] if one_pool is not None else every_pool)
    )


def _say(tx: Tx, opens: bool, pair: Pair, reason: str) -> ScopeDecision:
    row = ScopeDecision(
        department_id=pair[0], pool_id=pair[1], opens=opens, reason=reason, by=tx.actor.login, at=tx.now
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "scope.open" if opens else "scope.shut",
        f"scope:{row.id}",
        after={"department": pair[0], "pool": pair[1]},
        reason=reason,
    )
    return row
