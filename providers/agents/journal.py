"""The journal of an agent: what was called for which order, a file an order, for adapters of clouds that know no keys."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from providers.base import CallRecord, CallState, Order, PlannedCall
from providers.hands import MemoryJournal
from providers.mailbox import codec


@dataclass(frozen=True, slots=True)
class AgentJournalEntry:
    """A file's content: an order and its calls."""

    order: Order
    calls: list[CallRecord]


class FileJournal(MemoryJournal):
    """Implements providers.base.OrderJournal for the one process that holds ``folder``: each change is in its file, and on the
    disk, when the method returns."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.glob("*.json"):
            entry = codec.read(json.loads(path.read_text("utf-8")), AgentJournalEntry)
            self._orders[entry.order.key], self._calls[entry.order.key] = entry.order, entry.calls

    def open(self, order: Order, calls: Sequence[PlannedCall]) -> list[CallRecord]:
        found = super().open(order, calls)
        self._keep(order.key)
        return found

    def begin(self, key: str, place: int, at: datetime, facts: Mapping[str, Any] | None = None) -> bool:
        begun = super().begin(key, place, at, facts)
        self._keep(key)
        return begun

    def note(
        self,
        key: str,
        place: int,
        state: CallState,
        at: datetime,
        *,
        facts: Mapping[str, Any] | None = None,
        said: str = "",
    ) -> None:
        super().note(key, place, state, at, facts=facts, said=said)
        self._keep(key)

    def turn(self, key: str, call: PlannedCall) -> int:
        place = super().turn(key, call)
        self._keep(key)
        return place

    def forget(self, key: str) -> None:
        """Nothing was called for the order, and it may come again as another one."""
        if all(one.state is CallState.WAITING for one in self.calls(key)):
            self._path(key).unlink(missing_ok=True)
            self._orders.pop(key, None)
            self._calls.pop(key, None)

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"

    def _keep(self, key: str) -> None:
        path = self._path(key)
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(codec.plain(AgentJournalEntry(self._orders[key], self._calls[key])), stream, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
