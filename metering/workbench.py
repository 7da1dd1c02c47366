"""What the steward works with: one book, one lake, and how a pool's cloud is opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from metering.lake import Lake
from providers.base import Meter, Provider, Sharing
from providers.mappings import sheet_mappings
from providers.observation import CAUTION, Caution
from providers.registry import open_meter, open_provider, options_of
from providers.secrets import FOLDERS, by_reference
from quota import vault
from quota.db import Book
from quota.directory import Pool

Progress = Callable[[str, int, int], None]
"""Told ``(stage, done, of)`` on long work."""


def silent(_stage: str, _done: int, _of: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """How the secrets of clouds are looked up: the key of the encrypted store ("": none is set), and the folders in which
    files with secrets may lie, beside ``secrets`` in the data directory and /run/secrets."""

    key: str = field(default="", repr=False)
    folders: tuple[Path, ...] = ()


def revealed(book: Book, secrets: Secrets, home: Path, reference: str) -> str:
    """The secret that ``reference`` names, of the house whose data directory is ``home``. Raises Invalid or NotFound saying
    what is wrong with that place."""
    kind, _colon, name = reference.partition(":")
    if kind == "store":
        with book.reading() as tx:
            return vault.reveal(tx, name, secrets.key)
    return by_reference(reference, (*FOLDERS, *secrets.folders, home / "secrets"))


@dataclass(frozen=True, slots=True)
class Workbench:
    """One book, one lake, and the clouds of its pools. ``home`` is what "{home}" in an adapter's options stands for:
    the data directory, so that options survive its being moved. ``caution``: how much a listing may end by itself."""

    book: Book
    lake: Lake
    home: Path = Path()
    opened: dict[int, Provider] = field(default_factory=dict)
    caution: Caution = CAUTION
    secrets: Secrets = Secrets()
    opened_with: dict[int, str] = field(default_factory=dict)
    meters: dict[tuple[str, str], Meter] = field(default_factory=dict)

    def provider(self, pool: Pool) -> Provider:
        """The adapter of ``pool``, opened once, and anew where its options were changed; one that was put into ``opened``
        stays, whatever it is of (a recording is in no registry)."""
        if pool.id in self.opened and pool.id not in self.opened_with:
            return self.opened[pool.id]
        options = self._options(pool)
        key = json.dumps([pool.adapter, options], sort_keys=True)
        if pool.id not in self.opened or self.opened_with.get(pool.id, key) != key:
            self.opened[pool.id] = open_provider(pool.adapter, options, self.reveal)
            self.opened_with[pool.id] = key
        return self.opened[pool.id]

    def another(self, pool: Pool) -> Provider:
        """The adapter of ``pool`` opened once more, for a thread of its own; it leaves alone what the first leaves alone."""
        one, first = open_provider(pool.adapter, self._options(pool), self.reveal), self.provider(pool)
        if isinstance(one, Sharing):
            one.share(first)
        return one

    def _options(self, pool: Pool) -> dict[str, Any]:
        return self.resolved(pool.adapter, pool.adapter_options) | self.said(pool)

    def said(self, pool: Pool) -> dict[str, Any]:
        """What people said of the pool elsewhere than in its options, for an adapter that has an option of that name."""
        if all(one.name != "sheet_mappings" for one in options_of(pool.adapter)):
            return {}
        with self.book.reading() as tx:
            return {"sheet_mappings": sheet_mappings.told(tx, pool.id)}

    def meter(self, adapter: str, options: Mapping[str, Any], owner: str = "") -> Meter:
        """A source of usage, opened once for its ``owner`` and the same options: it remembers how its store behaved."""
        key = owner, json.dumps([adapter, dict(options)], sort_keys=True)
        if key not in self.meters:
            self.meters[key] = open_meter(adapter, self.resolved(adapter, options), self.reveal)
        return self.meters[key]

    def reveal(self, reference: str) -> str:
        """The secret that ``reference`` names. Raises Invalid or NotFound saying what is wrong with that place."""
        return revealed(self.book, self.secrets, self.home, reference)

    def resolved(self, adapter: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options`` with the data directory in place of "{home}", in what an adapter takes for granted, too."""
        usual = {
            one.name: one.default
            for one in options_of(adapter)
            if isinstance(one.default, str) and "{home}" in one.default
        }
        return {
            name: value.replace("{home}", str(self.home)) if isinstance(value, str) else value
            for name, value in {**usual, **options}.items()
        }

    def pools(self) -> list[Pool]:
        """Active pools."""
        with self.book.reading() as tx:
            return list(tx.scalars(select(Pool).where(Pool.active).order_by(Pool.id)))
