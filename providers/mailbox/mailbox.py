"""A pool's mailbox: the folder in which the console keeps what the pool's agent brought, and puts what it shall do.

    agent.json       what the agent said of itself when it last called
    listing.json     the last listing
    listed.json      when the first one came since the agent last began to call, and as of when that is
    brought/         the last of what the cloud tells beside it: capacity, quotas, a bill a month, incidents
    samples/         batches of samples, each under the moment of its arrival, its span and its digest
    mark.json        up to when all samples are here
    orders/          what the cloud shall do, a file an order; until when it may be fetched, and when it was
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
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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

GOOD = timedelta(minutes=15)
"""How long an order lies here to be fetched: what waited longer is decided anew before it is put here again."""

MOST_GOOD = timedelta(hours=2)
"""The same for an agent that calls so seldom that it would miss it."""

ANSWERING = timedelta(minutes=1)
"""So much later it counts as never taken: a call that came just in time has its answer by then."""

_BATCH = re.compile(r"(\d{20})-(\d{1,12})-(\d{1,12})-([0-9a-f]{32})\.json\.gz")


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent says of itself: which adapter it runs, what that can do and ``tells``, and what went ``wrong`` last: part
    of its round → why. ``instance`` tells two agents apart; ``clock`` is its own time; ``probe`` what the cloud answered; ``pace``: by
    what it reads the cloud, None for one of before that could not be told; ``remembers``: whether the cloud is read a second time;
    ``every_s``: how often it calls, None for one of before that, which begins whatever it is told."""

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
    every_s: int | None = None

    @property
    def good_for(self) -> timedelta:
        """How long an order may lie before it is fetched."""
        every = min(max(self.every_s or 0, 0), 3600)
        return min(max(GOOD, timedelta(seconds=2 * every + 60)), MOST_GOOD)


@dataclass(frozen=True, slots=True)
class AgentNews:
    """An agent's last call: what it said, and when that was by the console's clock. ``since``: since when it has
    called without a pause; None of before that was noted."""

    at: datetime
    report: AgentReport
    since: datetime | None = None

    @property
    def skew_s(self) -> float:
        """By how many seconds the agent's clock is ahead."""
        return (self.report.clock - self.at).total_seconds()


@dataclass(frozen=True, slots=True)
class MailedOrder:
    """An order as it lies here since ``at``. ``until``: so long it may be fetched; ``fetched``: when it was, first."""

    order: Order
    at: datetime
    until: datetime
    fetched: datetime | None = None

    def missed(self, now: datetime) -> bool:
        """Whether nobody fetched it in time, nor will."""
        return self.fetched is None and now >= self.until + ANSWERING


class Mailbox:
    """The folder, made when something is first put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # ------------------------------------------------------------------------------------------- what the agent brings

    def report(self, said: AgentReport, now: datetime) -> None:
        last = self.news()
        since = now
        if last is not None and last.since is not None and now - last.at <= said.good_for:
            since = last.since
        self._write("agent.json", codec.plain(AgentNews(now, said, since)))

    def news(self) -> AgentNews | None:
        """The agent's last call; None where none ever called."""
        raw = self._read("agent.json")
        return None if raw is None else codec.read(raw, AgentNews)

    def keep_listing(self, listing: Inventory, now: datetime) -> None:
        """Keep a listing, unless a newer one is here."""
        last = self.listing()
        if last is None or last.as_of <= listing.as_of:
            self._write("listing.json", codec.plain(listing))
            news = self.news()
            if news is None or news.since is None or self.listed(news.since) is None:
                self._write("listed.json", {"at": now.isoformat(), "as_of": listing.as_of.isoformat()})

    def listed(self, since: datetime) -> datetime | None:
        """As of when the first listing is that came since then, when the agent last began to call; None where none came. Later ones need
        not be waited for."""
        raw = self._read("listed.json")
        came = raw is not None and datetime.fromisoformat(raw["at"]) >= since
        return datetime.fromisoformat(raw["as_of"]) if came else None

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
        with self._alone("mark"):
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
        with self._alone("mark"):
            last = self.marked()
            if last is not None and since < last:
                self._write("mark.json", {"until": since.astimezone(UTC).isoformat()})

    def marked(self) -> datetime | None:
        raw = self._read("mark.json")
        return None if raw is None else datetime.fromisoformat(raw["until"])

    def settle(self, outcome: Outcome) -> bool:
        """Keep what became of an order. False where it is not here, or its end is known already: the first end stands."""
        waits = self._path("orders", outcome.key)
        with self._alone("orders"):
            if not waits.exists():
                return False
            self._write(f"outcomes/{_name(outcome.key)}", codec.plain(outcome))
            if outcome.state is not OutcomeState.PENDING:
                ended = self._path("ended", outcome.key)
                ended.parent.mkdir(mode=0o700, exist_ok=True)
                os.replace(waits, ended)
        return True

    def decline(self, key: str, now: datetime) -> bool:
        """The agent fetched the order and never began it: it is as if nobody had put it here. False where it may begin it still, or there
        is none."""
        with self._alone("orders"):
            lies = self._mailed(key)
            if lies is None or now < lies.until:
                return False
            self._path("outcomes", key).unlink(missing_ok=True)
            self._path("orders", key).unlink()
        return True

    # ------------------------------------------------------------------------------------------ what the agent shall do

    def order(self, order: Order, now: datetime) -> None:
        """Put an order there, once; anew where nobody fetched it in time."""
        news = self.news()
        until = now + (news.report.good_for if news else GOOD)
        with self._alone("orders"):
            if not self.knows(order.key, now):
                self._write(f"orders/{_name(order.key)}", codec.plain(MailedOrder(order, now, until)))

    def outcome(self, key: str) -> Outcome | None:
        """What the agent said last of the order; None where it said nothing."""
        raw = self._read(f"outcomes/{_name(key)}")
        return None if raw is None else codec.read(raw, Outcome)

    def knows(self, key: str, now: datetime) -> bool:
        """Whether the order was put there, and fetched or may still be."""
        lies = self._mailed(key)
        return self._path("ended", key).exists() if lies is None else not lies.missed(now)

    def waiting(self) -> list[MailedOrder]:
        """Orders whose end is not known, oldest first."""
        paths = (self.folder / "orders").glob("*.json")
        found = [lies for path in paths if (lies := self._read_mailed(f"orders/{path.name}")) is not None]
        return sorted(found, key=lambda lies: (lies.at, lies.order.key))

    def fetch(self, now: datetime, awaited: Collection[str]) -> tuple[list[Order], list[Order]]:
        """(orders that the agent may begin now, orders that it may only go on with, having fetched them before), oldest first.
        ``awaited``: keys of those that are still wanted."""
        fresh, late = [], []
        with self._alone("orders"):
            for lies in self.waiting():
                if lies.order.key in awaited and now < lies.until:
                    if lies.fetched is None:
                        self._write(f"orders/{_name(lies.order.key)}", codec.plain(replace(lies, fetched=now)))
                    fresh.append(lies.order)
                elif lies.fetched is not None:
                    late.append(lies.order)
        return fresh, late

    # -------------------------------------------------------------------------------------------------------- mechanism

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Alone with the mark, which is moved back while it is on its way, or with the orders, which are fetched while they are missed."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / f"{what}.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def _mailed(self, key: str) -> MailedOrder | None:
        return self._read_mailed(f"orders/{_name(key)}")

    def _read_mailed(self, name: str) -> MailedOrder | None:
        raw = self._read(name)
        if raw is not None and "until" not in raw:  # of before fetching was noted: it may well have been
            raw = {**raw, "until": raw["at"], "fetched": raw["at"]}
        return None if raw is None else codec.read(raw, MailedOrder)

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
