"""Systems that are called alike: what one registers may be there already, in one's own department or in another.

A name without the words that half of all names have is compared by its pairs of neighbouring characters. Who may not see another
department's systems is told how many there are, and not which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from quota import search
from quota.directory.departments import System, seen_by

if TYPE_CHECKING:
    from quota.db import Tx

COMMON = re.compile(
    r"系统|平台|信息化|信息|综合|管理|服务|应用|软件|项目|[一二三四五\d]期|\bsystem\b|\bplatform\b|[^\w]|_"
)
"""Words that tell nothing of what a system is for."""
ALIKE = 0.6
"""Such a share of two names' pairs is the same where they are alike. Our own."""
LEAST = 3
"""So many characters a name must have for one that holds it to be alike."""
MOST = 5


@dataclass(frozen=True, slots=True)
class LikeSystems:
    """Those that may be seen, the likest first, and how many more there are that may not."""

    seen: Sequence[System]
    elsewhere: int

    def __bool__(self) -> bool:
        return bool(self.seen or self.elsewhere)


def likeness(one: str, other: str) -> float:
    """How alike two names are, from 0 to 1."""
    first, second = _core(one), _core(other)
    if first == second:
        return 1.0
    pairs, others = set(search.pairs(first)), set(search.pairs(second))
    shared = 2 * len(pairs & others) / (len(pairs) + len(others)) if pairs and others else 0.0
    short, long = sorted((first, second), key=len)
    return max(shared, ALIKE) if len(short) >= LEAST and short in long else shared


def _core(name: str) -> str:
    whole = search.normal(name)
    return COMMON.sub("", whole) or whole


def alike(tx: Tx, name: str) -> LikeSystems:
    """The systems in use that are called like ``name``, for whoever asks."""
    rows = tx.execute(select(System.id, System.name).where(System.active)).all()
    scored = sorted((-score, id_) for id_, called in rows if (score := likeness(name, called)) >= ALIKE)
    ids = [id_ for _score, id_ in scored[:MOST]]
    query = select(System).where(System.id.in_(ids), seen_by(tx, tx.actor, System.department_id))
    found = {one.id: one for one in tx.scalars(query.options(joinedload(System.department)))}
    return LikeSystems([found[id_] for id_ in ids if id_ in found], len(ids) - len(found))
