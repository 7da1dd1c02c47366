"""The agent itself: a process beside a cloud that runs the cloud's adapter and calls the console.

Every round it says how it is, carries out the orders that wait, and brings a listing and samples where they are due. One part
that fails keeps no other waiting, and is told with the next call. Nothing is lost by a console that is away: the console says
up to when it has samples, and they are read again from there. Nothing is done twice: orders carry their key to the adapter,
and what arrives twice is kept once.
"""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from providers.agents.journal import FileJournal
from providers.base import (
    Advancing,
    Journalled,
    Order,
    Outcome,
    OutcomeState,
    Probed,
    Provider,
    ProviderFault,
    Samples,
)
from providers.connection import Connection
from providers.mailbox import AgentReport, codec
from providers.metrics import STEP_S
from providers.registry import open_provider
from providers.secrets import FOLDERS, Secret, by_reference
from quota.errors import N_, Invalid, Refused

log = logging.getLogger("guanjia.agent")

ROWS = 50_000
"""Samples of one delivery: some megabytes."""
MEASURED = timedelta(seconds=STEP_S)
"""How often samples are brought: there is nothing new before."""
SETTLES = timedelta(minutes=15)
"""Over so long samples are asked for again each time: a cloud tells the newest only after a while."""
OVERLAP, HOURLY = timedelta(hours=2), timedelta(hours=1)
"""Over so long they are asked for again once in an hour, for clouds that learn of them late."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What ``agent.toml`` says. ``console``: its address; ``token``: where its secret lies; ``options``: the adapter's."""

    console: str
    token: str
    adapter: str
    options: Mapping[str, Any]
    state: Path
    secrets: Path
    ca_file: str | None = None
    every_s: int = 60
    inventory_minutes: int = 30
    history_days: int = 30


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
        if isinstance(self.provider, Journalled):
            self.provider.keep_journal(FileJournal(config.state / "orders"))
        self.instance = self._instance()
        self.wrong: dict[str, str] = {}
        self.listed_at: datetime | None = None
        self.looked_back_at: datetime | None = None

    def probe(self) -> tuple[str, str]:
        """(what the cloud says, what the console says). Raises ProviderFault or Refused by the one that fails."""
        cloud = self.provider.probe(self.clock()) if isinstance(self.provider, Probed) else ""
        return cloud, str(self.console.post_json("/agent/v1/hello", codec.plain(self._report(cloud)))["pool"])

    def round(self) -> AgentRound:
        """One round. Raises ProviderFault where the console cannot be reached: then nothing was done."""
        done = AgentRound()
        probe = self._part(done, "probe", self._probed) or ""
        told = self.console.post_json("/agent/v1/hello", codec.plain(self._report(probe)))
        for raw in told["orders"]:
            order = codec.read(raw, Order)
            if self._part(done, f"order:{order.key}", partial(self._carry_out, order)):
                done.orders += 1
        due = self.listed_at is None or self.clock() - self.listed_at >= timedelta(
            minutes=self.config.inventory_minutes
        )
        if due or done.orders:
            done.listed = bool(self._part(done, "inventory", self._list))
        marked = datetime.fromisoformat(told["until"]) if told["until"] else None
        if marked is None or self.clock() - marked >= MEASURED:
            done.samples = self._part(done, "samples", lambda: self._measure(marked)) or 0
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
            probe[:500], dict(self.wrong),
        )  # fmt: skip

    def _carry_out(self, order: Order) -> bool:
        """Tell the cloud, and the console what came of it. What may pass is tried in the next round."""
        now = self.clock()
        try:
            outcome = self._told(order, now)
        except ProviderFault as fault:
            if fault.transient:
                raise
            outcome = Outcome(order.key, OutcomeState.FAILED, now, message=str(fault)[:500])
        self.console.post_json("/agent/v1/outcomes", codec.plain(outcome))
        return outcome.state is not OutcomeState.PENDING

    def _told(self, order: Order, now: datetime) -> Outcome:
        """Hand the order over, once; take it further where it is under way."""
        known = self.provider.inquire(order.key, now)
        if known is None:
            return self.provider.deliver(order, now)
        if known.state is OutcomeState.PENDING and isinstance(self.provider, Advancing):
            return self.provider.advance(order.key, now)
        return known

    def _list(self) -> bool:
        self.console.post_json("/agent/v1/listings", codec.plain(self.provider.inventory(self.clock())))
        self.listed_at = self.clock()
        return True

    def _measure(self, marked: datetime | None) -> int:
        """Bring what was measured since the console's mark, and a while before it once more. Returns how many samples."""
        until, count = self.clock(), 0
        late = self.looked_back_at is None or until - self.looked_back_at >= HOURLY
        if marked is None:
            since = until - timedelta(days=self.config.history_days)
        else:
            since = marked - (OVERLAP if late else SETTLES)
        for batch in self.provider.samples(since, until):
            for start in range(0, batch.table.num_rows, ROWS):
                part = Samples(batch.source, batch.external_ids, batch.table.slice(start, ROWS))
                self.console.post_json("/agent/v1/samples", codec.samples_plain(part))
                count += part.table.num_rows
        self.console.post_json("/agent/v1/mark", {"until": until.isoformat()})
        if late:
            self.looked_back_at = until
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
