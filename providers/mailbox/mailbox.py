"""A pool's mailbox: the folder in which the console keeps what the pool's agent brought, and puts what it shall do.

    agent.json       what the agent said of itself when it last called
    listing.json     the last listing
    brought/         the last of what the cloud tells beside it: capacity, quotas, a bill a month, incidents
    samples/         batches of samples, each under the moment of its arrival, its span and its digest
    mark.json        up to when all samples are here
    orders/          what the cloud shall do, a file an order
    ended/           the orders whose end is known
    outcomes/        what became of it

Every file is written whole or not at all. What came twice is kept once.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from providers.base import CloudTells, Inventory, Order, Outcome, OutcomeState, Samples, Verb
from providers.mailbox import codec
from providers.mailbox.brought import (
    BillBrought,
    Brought,
    CapacityBrought,
    IncidentsBrought,
    QuotasBrought,
    bill_place,
    place,
)
from providers.paces import CollectionPace

T = TypeVar("T")

KEPT = timedelta(days=30)
"""How long samples stay after they arrived: the console reads them within minutes of its being well."""

_BATCH = re.compile(r"(\d{20})-(\d{1,12})-(\d{1,12})-([0-9a-f]{32})\.json\.gz")


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent says of itself: which adapter it runs, what that can do and ``tells``, and what went ``wrong`` last: part
    of its round → why. ``instance`` tells two agents apart; ``clock`` is its own time; ``probe`` what the cloud answered; ``pace``: by
    what it reads the cloud, None for one of before that could not be told; ``remembers``: whether the cloud is read a second time."""

    instance: str
    version: str
    adapter: str
    clock: datetime
    capabilities: frozenset[Verb] = frozenset()
    live_resize: bool = False
    releases: dict[Verb, list[str]] = field(default_factory=dict)
    probe: str = ""
    wrong: dict[str, str] = field(default_factory=dict)
    tells: frozenset[CloudTells] = frozenset()
    pace: CollectionPace | None = None
    remembers: bool = False


@dataclass(frozen=True, slots=True)
class AgentNews:
    """An agent's last call: what it said, and when that was by the console's clock."""

    at: datetime
    report: AgentReport

    @property
    def skew_s(self) -> float:
        """By how many seconds the agent's clock is ahead."""
        return (self.report.clock - self.at).total_seconds()


class Mailbox:
    """The folder, made when something is first put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # ------------------------------------------------------------------------------------------- what the agent brings

    def report(self, said: AgentReport, now: datetime) -> None:
        self._write("agent.json", codec.plain(AgentNews(now, said)))

    def news(self) -> AgentNews | None:
        """The agent's last call; None where none ever called."""
        raw = self._read("agent.json")
        return None if raw is None else codec.read(raw, AgentNews)

    def keep_listing(self, listing: Inventory) -> None:
        """Keep a listing, unless a newer one is here."""
        last = self.listing()
        if last is None or last.as_of <= listing.as_of:
            self._write("listing.json", codec.plain(listing))

    def listing(self) -> Inventory | None:
        raw = self._read("listing.json")
        return None if raw is None else codec.read(raw, Inventory)

    def keep(self, brought: Brought) -> bool:
        """Keep what the cloud told of its own books, unless a newer one is here: False then."""
        last = self._brought(type(brought), place(brought))
        if last is not None and last.as_of > brought.as_of:
            return False
        self._write(f"brought/{place(brought)}.json", codec.plain(brought))
        return True

    def capacity(self) -> CapacityBrought | None:
        return self._brought(CapacityBrought, "capacity")

    def quotas(self) -> QuotasBrought | None:
        return self._brought(QuotasBrought, "quotas")

    def bill(self, month: str) -> BillBrought | None:
        """The last bill of the city's month ``2026-10``."""
        return self._brought(BillBrought, bill_place(month))

    def incidents(self) -> IncidentsBrought | None:
        return self._brought(IncidentsBrought, "incidents")

    def take(self, batch: Samples, now: datetime) -> bool:
        """Keep a batch; False where the same one is here already."""
        if not batch.table.num_rows:
            return False
        content = json.dumps(codec.samples_plain(batch), separators=(",", ":"), sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()[:32]
        if any(one.digest == digest for one in self._batches()):
            return False
        ts = batch.table.column("ts").to_numpy()
        name = f"{int(now.timestamp() * 1e9):020d}-{ts.min()}-{ts.max()}-{digest}.json.gz"
        self._write_bytes(f"samples/{name}", gzip.compress(content, 4, mtime=0))
        return True

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        """Batches that hold something of since <= t < until, and those before ``until`` that arrived since ``since``: what
        comes late is read late."""
        for one in sorted(self._batches(), key=lambda one: one.name):
            if one.first < until.timestamp() and (one.last >= since.timestamp() or one.arrived >= since):
                yield codec.samples_read(json.loads(gzip.decompress((self.folder / "samples" / one.name).read_bytes())))

    def mark(self, until: datetime, now: datetime, after: datetime | None = None) -> bool:
        """All samples before ``until`` are here, where those before ``after`` were; False where they are not any more, as somebody has
        asked for them again. The mark does not move backwards. What is older than KEPT goes."""
        with self._marking():
            last = self.marked()
            goes_on = after is None or (last is not None and after <= last)
            if goes_on and (last is None or last < until):
                self._write("mark.json", {"until": until.astimezone(UTC).isoformat()})
        for one in self._batches():
            if one.arrived < now - KEPT:
                (self.folder / "samples" / one.name).unlink(missing_ok=True)
        return goes_on

    def again_from(self, since: datetime) -> None:
        """Have the agent bring everything from ``since`` on once more, as far as that was brought."""
        with self._marking():
            last = self.marked()
            if last is not None and since < last:
                self._write("mark.json", {"until": since.astimezone(UTC).isoformat()})

    def marked(self) -> datetime | None:
        raw = self._read("mark.json")
        return None if raw is None else datetime.fromisoformat(raw["until"])

    def settle(self, outcome: Outcome) -> bool:
        """Keep what became of an order. False where it is not here, or its end is known already: the first end stands."""
        waits = self._path("orders", outcome.key)
        if not waits.exists():
            return False
        self._write(f"outcomes/{_name(outcome.key)}", codec.plain(outcome))
        if outcome.state is not OutcomeState.PENDING:
            ended = self._path("ended", outcome.key)
            ended.parent.mkdir(mode=0o700, exist_ok=True)
            os.replace(waits, ended)
        return True

    # ------------------------------------------------------------------------------------------ what the agent shall do

    def order(self, order: Order, now: datetime) -> None:
        """Put an order there, once."""
        if not self.knows(order.key):
            raw = {"order": codec.plain(order), "at": now.astimezone(UTC).isoformat()}
            self._write(f"orders/{_name(order.key)}", raw)

    def outcome(self, key: str) -> Outcome | None:
        """What the agent said last of the order; None where it said nothing."""
        raw = self._read(f"outcomes/{_name(key)}")
        return None if raw is None else codec.read(raw, Outcome)

    def knows(self, key: str) -> bool:
        """Whether the order was ever put there."""
        return self._path("orders", key).exists() or self._path("ended", key).exists()

    def waiting(self) -> list[Order]:
        """Orders whose end is not known, oldest first."""
        found = []
        for path in (self.folder / "orders").glob("*.json"):
            raw = json.loads(path.read_text("utf-8"))
            order = codec.read(raw["order"], Order)
            found.append((raw["at"], order.key, order))
        return [order for _at, _key, order in sorted(found, key=lambda one: one[:2])]

    # -------------------------------------------------------------------------------------------------------- mechanism

    @contextmanager
    def _marking(self) -> Iterator[None]:
        """Alone with the mark: one that is moved back is not overwritten by what was on its way."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "mark.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def _batches(self) -> list[_Batch]:
        folder = self.folder / "samples"
        names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        return [
            _Batch(match[1], match[2], match[3], match[4], name) for name in names if (match := _BATCH.fullmatch(name))
        ]

    def _brought(self, of: type[T], name: str) -> T | None:
        raw = self._read(f"brought/{name}.json")
        return None if raw is None else codec.read(raw, of)

    def _path(self, part: str, key: str) -> Path:
        return self.folder / part / _name(key)

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text("utf-8"))
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: Any) -> None:
        self._write_bytes(name, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())

    def _write_bytes(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


class _Batch:
    """A file of samples by what its name says; moments as epoch seconds."""

    def __init__(self, arrived: str, first: str, last: str, digest: str, name: str) -> None:
        self.arrived = datetime.fromtimestamp(int(arrived) / 1e9, UTC)
        self.first, self.last, self.digest, self.name = int(first), int(last), digest, name


def _name(key: str) -> str:
    """A key as a file name that cannot leave the folder."""
    return f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"
