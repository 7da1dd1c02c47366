"""What came from departments that were merged: a merged department's machines stay known by its name.

A policy names departments by code, and is never rewritten. What it says of a department holds, after that department was
merged, for the machines, systems and departments that its successor took over, and not for the successor's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select

from quota.directory.movers import Adjustment
from quota.directory.reorganisations import Reorganisation

if TYPE_CHECKING:
    from quota.db import Tx


class Belonging(Protocol):
    """What a department has, as far as its origin goes: a resource."""

    @property
    def id(self) -> int: ...

    @property
    def system_id(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Merger:
    """One merger that stands: ids of the department that was closed, of its successor, and of what this took over."""

    source: int
    target: int
    resources: frozenset[int]
    systems: frozenset[int]
    children: frozenset[int]

    def brought(self, resource: Belonging, departments: Iterable[int]) -> bool:
        """Whether the resource came with it: itself, its system, or one of the ``departments`` that it is under."""
        return (
            resource.id in self.resources
            or (resource.system_id is not None and resource.system_id in self.systems)
            or not self.children.isdisjoint(departments)
        )


class Mergers:
    """Every merger that was not undone, newest first."""

    def __init__(self, mergers: Sequence[Merger]) -> None:
        self.mergers = mergers

    def known_as(self, resource: Belonging, departments: Sequence[int]) -> list[int]:
        """``departments`` (its own and those above it) and the merged ones that the resource came from."""
        found = list(departments)
        for merger in self.mergers:
            if merger.target in found and merger.brought(resource, found):
                found.append(merger.source)
        return found

    def successors(self) -> dict[int, int]:
        """Merged department → the one that has what it had, by way of any number of mergers."""
        found: dict[int, int] = {}
        for merger in self.mergers:
            found[merger.source] = found.get(merger.target, merger.target)
        return found


def mergers(tx: Tx) -> Mergers:
    """The mergers of the city."""
    rows = tx.scalars(
        select(Reorganisation)
        .where(Reorganisation.kind == Adjustment.MERGE.value, Reorganisation.undone_at.is_(None))
        .order_by(Reorganisation.id.desc())
    )
    return Mergers(
        [
            Merger(
                one.source_id,
                one.target_id,
                *(frozenset(one.moved[each]) for each in ("resources", "systems", "children")),
            )
            for one in rows
            if one.target_id is not None
        ]
    )
