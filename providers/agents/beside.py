"""The agent itself: a process beside a cloud that runs the cloud's adapter and calls the console.

Every round it says how it is, carries out the orders that wait, and brings what is due of listing, samples, and what else the
cloud tells, as the pool's schedule has it (providers.paces): the console says it with every answer. One part that fails keeps no
other waiting, and is told with the next call. An order is begun at once or not at all: what it was told before it fell silent is not
begun on its return, and what it has begun goes on. Nothing is lost by a console that is away: the console says up to when it has samples, and they are read again from there. Nothing is done twice: orders carry their
key to the adapter, samples that were acknowledged are not sent again, and what arrives twice is kept once.
"""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from providers.agents.acknowledged import AcknowledgedSamples
from providers.agents.journal import FileJournal
from providers.agents.rereading import KeptRereading
from providers.base import (
    Accountable,
    Advancing,
    CloudTells,
    Journalled,
    Order,
    Outcome,
    OutcomeState,
    Probed,
    Provider,
    ProviderFault,
    Remembering,
    accountable,
    capacious,
    quoting,
)
from providers.connection import Connection
from providers.mailbox import AgentReport, BillBrought, CapacityBrought, IncidentsBrought, QuotasBrought, codec
from providers.paces import USUAL, CollectionPace, read_again
from providers.registry import open_provider
from providers.secrets import FOLDERS, Secret, by_reference
from quota.calendar import ZONE
from quota.errors import N_, Invalid, Refused

log = logging.getLogger("guanjia.agent")

ROWS = 50_000
"""Samples of one delivery: some megabytes."""
SETTLES = timedelta(minutes=15)
"""Over so long samples are asked for again each time: a cloud tells the newest only after a while."""
HOURLY = timedelta(hours=1)
"""How often they are asked for again over the whole look-back, for clouds that learn of them late."""
PIECE, SMALL_PIECE = timedelta(days=7), timedelta(hours=1)
"""So much at most, and at least, is measured at a time: a long absence is made up for piece by piece, and goes on after the last
whole one. It begins with a day; what takes longer than BUDGET_S is halved, what is done in a quarter of it doubled."""
OFTEN = {CloudTells.CAPACITY: HOURLY, CloudTells.QUOTAS: HOURLY, CloudTells.ACCOUNTS: timedelta(hours=6)}
"""How often what clouds tell beside listing and samples is brought: the console asks for the first two hourly, for the last
once a day."""
PROMPT = timedelta(minutes=5)
"""So long after the console was asked an order may be begun; then it is asked anew whether it is still wanted."""
BUDGET_S = 120.0
"""After so long neither a first reading nor a second one begins a further piece in this round: orders wait meanwhile, and who is
silent is a fault."""
REPORTED = timedelta(days=60)
"""Over so long a company's incident reports are brought: what was added later comes, too."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What ``agent.toml`` says. ``console``: its address; ``token``: where its secret lies; ``options``: the adapter's;
    ``history_days``: how far back is measured at first, where that is less than the pool's window."""

    console: str
    token: str
    adapter: str
    options: Mapping[str, Any]
    state: Path
    secrets: Path
    ca_file: str | None = None
    every_s: int = 60
    inventory_minutes: int = 30
    history_days: int | None = None


_NUMBERS = {"every_s": (10, 3600), "inventory_minutes": (5, 1440), "history_days": (0, 400)}


def configured(path: Path) -> AgentConfig:
    """The configuration in ``path``; paths in it are seen from its folder. Raises Invalid naming the place."""
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid("agent.config", N_("配置文件 %(file)s 不可用:%(why)s"), file=str(path), why=str(error)) from error
    options = said.pop("options", {})
    texts = {"console", "token", "adapter", "state", "secrets", "ca_file"}
    for name, value in said.items():
        if name in texts:
            right = isinstance(value, str) and bool(value)
        else:
            right = type(value) is int and name in _NUMBERS and _NUMBERS[name][0] <= value <= _NUMBERS[name][1]
        if not right:
            raise Invalid("agent.config_value", N_("配置文件 %(file)s 中 %(name)s 的值不对"), file=str(path), name=name)
    missing = {"console", "token", "adapter", "state"} - set(said)
    if missing or not isinstance(options, dict):
        raise Invalid(
            "agent.config_value", N_("配置文件 %(file)s 中 %(name)s 的值不对"), file=str(path),
            name=", ".join(sorted(missing)) or "options",
        )  # fmt: skip
    folder = path.resolve().parent
    for name in ("state", "secrets", "ca_file"):
        if name in said:
            said[name] = folder / said[name]
    if "ca_file" in said:
        said["ca_file"] = str(said["ca_file"])
    return AgentConfig(**{"secrets": folder / "secrets", **said, "options": options})


@dataclass(slots=True)
class AgentRound:
    """What one round did."""

    orders: int = 0
    samples: int = 0
    listed: bool = False
    told: list[CloudTells] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)


class BesideCloud:
    """One agent. ``clock`` gives the time with its zone."""

    def __init__(
        self,
        config: AgentConfig,
        clock: Callable[[], datetime],
        *,
        provider: Provider | None = None,
        pause_s: float = 1.0,
    ) -> None:
        self.config, self.clock = config, clock
        config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.console = Connection(
            config.console, bearer=Secret(config.token, self._reveal), ca_file=config.ca_file, pause_s=pause_s
        )
        self.provider = provider or open_provider(config.adapter, self._options(), self._reveal)
        self.journal = FileJournal(config.state / "orders")
        if isinstance(self.provider, Journalled):
            self.provider.keep_journal(self.journal)
        self.instance = self._instance()
        self.wrong: dict[str, str] = {}
        self.acknowledged = AcknowledgedSamples(config.state / "acknowledged.npz")
        self.listed_at: datetime | None = None
        self.told_at: dict[CloudTells, datetime] = {}
        self.looked_back_at: datetime | None = None
        self.piece = timedelta(days=1)
        self.pace = USUAL
        self.rereading = KeptRereading(config.state / "rereading.json")

    def probe(self) -> tuple[str, str]:
        """(what the cloud says, what the console says). Raises ProviderFault or Refused by the one that fails."""
        cloud = self.provider.probe(self.clock()) if isinstance(self.provider, Probed) else ""
        return cloud, str(self.console.post_json("/agent/v1/hello", codec.plain(self._report(cloud)))["pool"])

    def round(self) -> AgentRound:
        """One round. Raises ProviderFault where the console cannot be reached: then nothing was done."""
        done = AgentRound()
        probe = self._part(done, "probe", self._probed) or ""
        told = self.console.post_json("/agent/v1/hello", codec.plain(self._report(probe)))
        if "pace" in told:  # a console of before says none
            self.pace = codec.read(told["pace"], CollectionPace)
        until = self.clock() + PROMPT
        for raw, begun in [*((raw, False) for raw in told["orders"]), *((raw, True) for raw in told.get("late", ()))]:
            order = codec.read(raw, Order)
            if self._part(done, f"order:{order.key}", partial(self._carry_out, order, None if begun else until)):
                done.orders += 1
        every = max(timedelta(minutes=self.config.inventory_minutes), self.pace.every)
        if self.listed_at is None or self.clock() - self.listed_at >= every or done.orders:
            done.listed = bool(self._part(done, "inventory", self._list))
        for what, bring in self._tells().items():
            if what in self.told_at and self.clock() - self.told_at[what] < OFTEN[what]:
                continue
            if self._part(done, what, bring):
                done.told.append(what)
        marked = datetime.fromisoformat(told["until"]) if told["until"] else None
        self.acknowledged.believe(marked)
        if self.pace.due(marked, self.clock()):
            measured = self._part(done, "samples", lambda: self._measure(marked))
            if measured is not None:
                done.samples = measured + self._read_again(first=marked is None)
        self.wrong = done.wrong
        return done

    def _part(self, done: AgentRound, name: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (ProviderFault, Refused) as fault:
            log.warning("%s: %s", name, fault)
            done.wrong[name.partition(":")[0]] = str(fault)[:500]
            return None

    def _probed(self) -> str:
        return self.provider.probe(self.clock()) if isinstance(self.provider, Probed) else ""

    def _report(self, probe: str) -> AgentReport:
        return AgentReport(
            self.instance, version("guanjia"), self.config.adapter, self.clock(),
            frozenset(self.provider.capabilities), self.provider.live_resize,
            {verb: [str(one) for one in codes] for verb, codes in self.provider.releases.items()},
            probe[:500], {**self.wrong, **self.rereading.wrong}, frozenset(self._tells()), self.pace, self.remembers,
            self.config.every_s,
        )  # fmt: skip

    @property
    def remembers(self) -> bool:
        """Whether the cloud can be asked for a day once more."""
        return isinstance(self.provider, Remembering) and self.provider.remembers

    def _carry_out(self, order: Order, until: datetime | None) -> bool:
        """Tell the cloud, and the console what came of it. What may pass is tried in the next round. ``until``: so long it may be
        begun; None: no more."""
        now = self.clock()
        try:
            outcome = self._told(order, now, until)
        except ProviderFault as fault:
            if fault.transient:
                raise
            outcome = Outcome(order.key, OutcomeState.FAILED, now, message=str(fault)[:500])
        if outcome is None:
            if until is None:
                self.journal.forget(order.key)
                self.console.post_json("/agent/v1/declined", {"key": order.key})
            return False
        self.console.post_json("/agent/v1/outcomes", codec.plain(outcome))
        return outcome.state is not OutcomeState.PENDING

    def _told(self, order: Order, now: datetime, until: datetime | None) -> Outcome | None:
        """Hand the order over, once; take it further where it is under way. None where it is not begun, and is not to be."""
        known = self.provider.inquire(order.key, now)
        if known is None:
            return self.provider.deliver(order, now) if until is not None and now <= until else None
        if known.state is OutcomeState.PENDING and isinstance(self.provider, Advancing):
            return self.provider.advance(order.key, now)
        return known

    def _list(self) -> bool:
        self.console.post_json("/agent/v1/listings", codec.plain(self.provider.inventory(self.clock())))
        self.listed_at = self.clock()
        return True

    def _tells(self) -> dict[CloudTells, Callable[[], bool]]:
        """What this cloud tells beside listing and samples → how it is brought."""
        roomy, limiting, company = capacious(self.provider), quoting(self.provider), accountable(self.provider)
        found: dict[CloudTells, Callable[[], bool]] = {}
        if roomy is not None:
            found[CloudTells.CAPACITY] = lambda: self._bring(
                CloudTells.CAPACITY, "capacity", CapacityBrought(self.clock(), roomy.capacity(self.clock()))
            )
        if limiting is not None:
            found[CloudTells.QUOTAS] = lambda: self._bring(
                CloudTells.QUOTAS, "quotas", QuotasBrought(self.clock(), limiting.quotas(self.clock()))
            )
        if company is not None:
            found[CloudTells.ACCOUNTS] = lambda: self._account(company)
        return found

    def _account(self, company: Accountable) -> bool:
        """The bill of the past month, and the incidents of the last weeks."""
        now = self.clock()
        month = f"{now.astimezone(ZONE).replace(day=1) - timedelta(days=1):%Y-%m}"
        since = now - REPORTED
        self.console.post_json("/agent/v1/bills", codec.plain(BillBrought(now, month, company.bills(month))))
        incidents = IncidentsBrought(now, since, company.incidents(since, now))
        return self._bring(CloudTells.ACCOUNTS, "incidents", incidents)

    def _bring(self, what: CloudTells, where: str, content: Any) -> bool:
        self.console.post_json(f"/agent/v1/{where}", codec.plain(content))
        self.told_at[what] = self.clock()
        return True

    def _measure(self, marked: datetime | None) -> int:
        """Bring what was measured since the console's mark, and what came late of a while before it; of a first filling or a long
        absence as much as fits a round, the rest in the next ones. Returns how many samples."""
        until, count = self.clock(), 0
        late = self.looked_back_at is None or until - self.looked_back_at >= HOURLY
        since = until - self.pace.window
        if marked is not None:
            since = max(marked - (self.pace.lookback if late else SETTLES), since)
        elif self.config.history_days is not None:
            since = max(until - timedelta(days=self.config.history_days), since)
        first, after, begun = since, marked, monotonic()
        try:
            if marked is None and since >= until:  # nothing of before is wanted: the console's mark begins here
                self._mark(None, until)
            while since < until and (since == first or monotonic() - begun < BUDGET_S):
                piece_begun = monotonic()
                end = min(max(since, after or since) + min(self.piece, PIECE), until)
                count += self._bring_samples(since, end, whole=since == first)
                self._mark(after, end)
                since = after = end
                self._pace_pieces(monotonic() - piece_begun)
        finally:
            self.acknowledged.save()
        if late:
            self.looked_back_at = until
        return count

    def _pace_pieces(self, took_s: float) -> None:
        """The next piece's size, by how long this one ``took_s``."""
        if took_s > BUDGET_S:
            self.piece = max(self.piece / 2, SMALL_PIECE)
        elif took_s < BUDGET_S / 4:
            self.piece = min(self.piece * 2, PIECE)

    def _mark(self, after: datetime | None, until: datetime) -> None:
        """The console has every sample before ``until``, where it has those before ``after``."""
        went_on = after.isoformat() if after else None
        self.console.post_json("/agent/v1/mark", {"after": went_on, "until": until.isoformat()})
        self.acknowledged.mark(until, self._told_again_from(until))

    def _read_again(self, *, first: bool) -> int:
        """Bring what the cloud took in late of the days before, day by day, where it remembers them; after a first reading there
        is nothing of the kind. Returns how many samples; what goes wrong is told with the next call."""
        if not self.remembers:
            return 0
        now, count = self.clock(), 0
        if first:
            self.rereading.note(now, None)
            return 0
        second = self.rereading.due(now, now - self.pace.window)
        if second is None:
            return 0

        def read(since: datetime, until: datetime) -> None:
            nonlocal count
            count += self._bring_samples(since, until, whole=False)

        end = (self.acknowledged.marked or now) - self.pace.lookback
        try:
            self.rereading.note(now, read_again(second, end, read, BUDGET_S))
        finally:
            self.acknowledged.save()
        return count

    def _told_again_from(self, end: datetime) -> datetime:
        """Samples from here on may be told once more when all before ``end`` were told: by the look-back, or by a second reading."""
        oldest = end - self.pace.lookback - SETTLES
        return min(oldest, self.rereading.since(self.clock())) if self.remembers else oldest

    def _bring_samples(self, since: datetime, until: datetime, *, whole: bool) -> int:
        """Bring one piece. Unless ``whole``, what is of before it was brought with the piece before."""
        count = 0
        for batch in self.provider.samples(since, until):
            fresh = self.acknowledged.fresh(batch)
            if not whole:
                ts = fresh.table.column("ts").to_numpy()
                fresh = replace(fresh, table=fresh.table.filter(ts >= since.timestamp()))
            for start in range(0, fresh.table.num_rows, ROWS):
                part = replace(fresh, table=fresh.table.slice(start, ROWS))
                self.console.post_json("/agent/v1/samples", codec.samples_plain(part))
                self.acknowledged.add(part, since, self.clock())
                count += part.table.num_rows
        return count

    def _options(self) -> dict[str, Any]:
        return {
            name: value.replace("{home}", str(self.config.state)) if isinstance(value, str) else value
            for name, value in self.config.options.items()
        }

    def _reveal(self, reference: str) -> str:
        return by_reference(reference, (*FOLDERS, self.config.secrets))

    def _instance(self) -> str:
        """What tells this agent from another one with the same token."""
        path = self.config.state / "instance"
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(uuid4().hex), "utf-8")
            os.replace(temporary, path)
        return str(json.loads(path.read_text("utf-8")))
