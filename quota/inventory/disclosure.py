"""Whose resources a text names: what companies write is read by every department, and names machines of all of them.

A word names a resource by its external id, or by its name where that has a figure in it; the name of a machine that is a
plain word (web, test) says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from quota.actors import Role
from quota.inventory.resources import Resource, visible

if TYPE_CHECKING:
    from quota.actors import Actor
    from quota.db import Tx

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{1,126}[A-Za-z0-9]")
PART = re.compile(r"[^:/@]+")
MOST = 5000
"""Words that one statement asks for."""
SEES_ALL = (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM)


def sees_all(actor: Actor) -> bool:
    """Whether no resource's id is kept from ``actor``."""
    return actor.role in SEES_ALL


def words(text: str) -> Iterator[str]:
    """What in ``text`` could be the id of a resource: its words, and the parts of those that are joined (i-7/vcpu)."""
    for found in WORD.finditer(text):
        yield found[0]
        parts = PART.findall(found[0])
        if len(parts) > 1:
            yield from (part for part in parts if len(part) > 2)


def own(tx: Tx, ids: Iterable[str]) -> frozenset[str]:
    """Those of ``ids`` (external ids or names) that name a resource which the actor may see."""
    return frozenset(word for word, seen in _named(tx, ids).items() if seen)


def concealed(tx: Tx, ids: Iterable[str]) -> frozenset[str]:
    """Those of ``ids`` that name a resource which the actor may not see, and none that they may."""
    return frozenset(word for word, seen in _named(tx, ids).items() if not seen)


def _named(tx: Tx, ids: Iterable[str]) -> dict[str, bool]:
    """Word → whether any resource that it names may be seen; without those that name none."""
    wanted, found = sorted(set(ids)), dict[str, bool]()
    seen = func.max(case((visible(tx, tx.actor), 1), else_=0))
    for start in range(0, len(wanted), MOST):
        some = wanted[start : start + MOST]
        for column in (Resource.external_id, Resource.name):
            for word, may in tx.execute(select(column, seen).where(column.in_(some)).group_by(column)):
                if column is Resource.external_id or any(map(str.isdigit, word)):
                    found[word] = found.get(word, False) or bool(may)
    return found
