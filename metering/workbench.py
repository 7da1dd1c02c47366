"""What the steward works with: one book, one lake, and how a pool's cloud is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from metering.lake import Lake
from providers.base import Provider
from providers.observation import CAUTION, Caution
from providers.registry import open_provider
from quota.db import Book
from quota.directory import Pool

Progress = Callable[[str, int, int], None]
"""Told ``(stage, done, of)`` on long work."""


def silent(_stage: str, _done: int, _of: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, slots=True)
class Works:
    """One book, one lake, and the clouds of its pools. ``home`` is what "{home}" in an adapter's options stands for:
    the data directory, so that options survive its being moved. ``caution``: how much a listing may end by itself."""

    book: Book
    lake: Lake
    home: Path = Path()
    opened: dict[int, Provider] = field(default_factory=dict)
    caution: Caution = CAUTION

    def provider(self, pool: Pool) -> Provider:
        """The adapter of ``pool``, opened once."""
        if pool.id not in self.opened:
            self.opened[pool.id] = open_provider(pool.adapter, self._resolved(pool.adapter_options))
        return self.opened[pool.id]

    def _resolved(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value.replace("{home}", str(self.home)) if isinstance(value, str) else value
            for name, value in options.items()
        }

    def pools(self) -> list[Pool]:
        """Active pools."""
        with self.book.reading() as tx:
            return list(tx.scalars(select(Pool).where(Pool.active).order_by(Pool.id)))
