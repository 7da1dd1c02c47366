"""A cloud that the console cannot reach. An agent beside it runs the cloud's own adapter, calls the console over HTTPS, and
leaves what it brings in the pool's mailbox; this adapter reads the mailbox, and puts orders there.

An agent that does not call is a fault, never an old listing told once more. Nothing is ordered of one that does not call, and an
order that it does not fetch in time was never taken: whether it is still wanted is seen when it calls again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from providers.base import (
    BillFact,
    CloudCapacity,
    CloudTells,
    IncidentFact,
    Inventory,
    Order,
    Outcome,
    OutcomeState,
    ProjectQuota,
    ProviderFault,
    Samples,
    Verb,
)
from providers.mailbox import AgentReport, Brought, Mailbox
from providers.options import option
from quota.errors import N_, Refused
from quota.units import ClassCode

B = TypeVar("B", bound=Brought)

FRESH = timedelta(days=1)
"""How old incident reports may be: an agent brings them several times a day."""


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """Where the mailbox lies, and when silence is a fault."""

    folder: str = option(N_("信箱目录"), N_("云侧代理上报的内容放在这里，如 {home}/agents/gov-arm;{home} 代表数据目录"))
    silent_minutes: int = option(
        N_("静默多久算故障（分钟）"), N_("代理超过这么久没有联系,采集报故障"), default=60, least=5, most=1440
    )
    region: str = option(
        N_("区域"), N_("同一个云有几个区域时写明:各区域的配额分开核对;留空则与同一家的其他资源池一起核对"), default=""
    )


class AgentCloud:
    """One pool whose cloud speaks through an agent. Implements providers.base.Provider, Fetching and Relaying, and Quotas, Capacious and
    Accountable for an agent whose cloud is that.

    What it can do is what the agent's own adapter said when it last called; nothing, before it ever did.
    """

    Options = AgentOptions
    name = "agent"

    def __init__(self, folder: str | Path, *, silent_minutes: int = 60, region: str = "") -> None:
        self.mailbox = Mailbox(Path(folder))
        self.patience = timedelta(minutes=silent_minutes)
        self.region = region  # told by the pool's options, for who compares quotas

    @property
    def capabilities(self) -> frozenset[Verb]:
        said = self._said()
        return said.capabilities if said else frozenset()

    @property
    def live_resize(self) -> bool:
        said = self._said()
        return bool(said and said.live_resize)

    @property
    def releases(self) -> Mapping[Verb, Collection[ClassCode]]:
        said = self._said()
        return {verb: [ClassCode(one) for one in codes] for verb, codes in said.releases.items()} if said else {}

    @property
    def tells(self) -> Collection[CloudTells]:
        said = self._said()
        return said.tells if said else frozenset()

    def brought_until(self, now: datetime) -> datetime:
        """As the agent said last. Raises ProviderFault where it has brought nothing yet, is silent, or could not read its cloud."""
        said = self._heard(now)
        if "samples" in said.wrong:
            raise ProviderFault(said.wrong["samples"], transient=True, code="agent")
        try:
            until = self.mailbox.marked()
        except (OSError, ValueError, Refused) as error:
            raise ProviderFault(str(error), transient=True) from error
        if until is None:
            raise ProviderFault("the agent has not brought any samples yet", transient=True, code="silent")
        return until

    def listed(self, now: datetime) -> datetime | None:
        """As providers.base.Fetching."""
        try:
            news = self.mailbox.news()
            if news is None or news.since is None or now - news.at > news.report.good_for:
                return None
            found = self.mailbox.listed(news.since)
        except (OSError, ValueError, Refused):
            return None
        return found and min(found, now)

    def probe(self, now: datetime) -> str:
        """What the agent says of itself and of its cloud."""
        said = self._heard(now)
        if "probe" in said.wrong:
            raise ProviderFault(said.wrong["probe"], transient=True, code="agent")
        return f"{said.adapter} {said.version}: {said.probe}".rstrip(": ")

    def skew(self, _now: datetime) -> timedelta | None:
        """The agent's own clock, as of its last call."""
        try:
            news = self.mailbox.news()
        except (OSError, ValueError, Refused):
            return None
        return None if news is None else timedelta(seconds=news.skew_s)

    def inventory(self, now: datetime) -> Inventory:
        """The agent's last listing. Raises ProviderFault while it is silent, or could not list."""
        said = self._heard(now)
        if "inventory" in said.wrong:
            raise ProviderFault(said.wrong["inventory"], transient=True, code="agent")
        try:
            found = self.mailbox.listing()
        except (OSError, ValueError, Refused) as error:
            raise ProviderFault(str(error), transient=True) from error
        if found is None:
            raise ProviderFault("the agent has not listed anything yet", transient=True, code="silent")
        return replace(found, as_of=min(found.as_of, now))

    def capacity(self, now: datetime) -> list[CloudCapacity]:
        """As the agent brought it last, within the hour. Raises ProviderFault while it is silent, or could not ask."""
        return self._brought(now, CloudTells.CAPACITY, self.mailbox.capacity).classes

    def quotas(self, now: datetime) -> list[ProjectQuota]:
        """The same of the quotas."""
        return self._brought(now, CloudTells.QUOTAS, self.mailbox.quotas).projects

    def bills(self, month: str) -> list[BillFact]:
        """The bill of a month that the agent brought. Raises ProviderFault where it brought none of that month: it brings that
        of the month before, while that is the last."""
        return self._found(CloudTells.ACCOUNTS, lambda: self.mailbox.bill(month)).lines

    def incidents(self, since: datetime, until: datetime) -> list[IncidentFact]:
        """As providers.base.Accountable, of what the agent brought. Raises ProviderFault for a time before that."""
        found = self._found(CloudTells.ACCOUNTS, self.mailbox.incidents)
        if until - found.as_of > FRESH:
            raise ProviderFault(
                f"the agent brought incidents until {found.as_of:%Y-%m-%d %H:%M} UTC", transient=True, code="silent"
            )
        if since < found.since:
            raise ProviderFault(f"the agent brought incidents since {found.since:%Y-%m-%d}", transient=False)
        return [
            one
            for one in found.incidents
            if one.started_at < until
            and any(
                moment is not None and since <= moment < until
                for moment in (one.started_at, one.responded_at, one.recovered_at)
            )
        ]

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        """What the agent brought of since <= ts < until, and what arrived since ``since`` of before."""
        first, last = since.timestamp(), until.timestamp()
        try:
            for batch in self.mailbox.samples(since, until):
                ts = batch.table.column("ts").to_numpy()
                if (ts < last).all():
                    yield batch
                elif (ts < last).any():
                    yield Samples(batch.source, batch.external_ids, batch.table.filter(ts < last))
        except (OSError, ValueError, Refused) as error:
            raise ProviderFault(f"samples of {first:.0f}: {error}", transient=True) from error

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Put the order into the mailbox; PENDING until the agent has carried it out."""
        if order.verb not in self.capabilities:
            raise ProviderFault(f"the agent's cloud cannot {order.verb}", transient=False)
        try:
            self.mailbox.order(order, now)
            return self._answered(order.key, now)
        except (OSError, ValueError, Refused) as error:
            raise ProviderFault(str(error), transient=True) from error

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """What the agent said of the order last; None where none of that key was put into the mailbox, or it was not fetched in time,
        or never begun."""
        try:
            return self._answered(key, now) if self.mailbox.knows(key, now) else None
        except (OSError, ValueError, Refused) as error:
            raise ProviderFault(str(error), transient=True) from error

    def _answered(self, key: str, now: datetime) -> Outcome:
        return self.mailbox.outcome(key) or Outcome(key, OutcomeState.PENDING, now)

    def _brought(self, now: datetime, what: CloudTells, look: Callable[[], B | None]) -> B:
        said = self._heard(now)
        if what in said.wrong:
            raise ProviderFault(said.wrong[what], transient=True, code="agent")
        return self._found(what, look)

    def _found(self, what: CloudTells, look: Callable[[], B | None]) -> B:
        try:
            found = look()
        except (OSError, ValueError, Refused) as error:
            raise ProviderFault(str(error), transient=True) from error
        if found is None:
            raise ProviderFault(f"the agent has not brought this of its {what} yet", transient=True, code="silent")
        return found

    def _said(self) -> AgentReport | None:
        """What the agent said of itself last, whenever that was."""
        try:
            news = self.mailbox.news()
        except (OSError, ValueError, Refused):
            return None
        return news.report if news else None

    def _heard(self, now: datetime) -> AgentReport:
        """The same, of late. Raises ProviderFault where the agent is silent."""
        try:
            news = self.mailbox.news()
        except (OSError, ValueError, Refused) as error:
            raise ProviderFault(str(error), transient=True) from error
        if news is None:
            raise ProviderFault("no agent has called yet", transient=True, code="silent")
        if now - news.at > self.patience:
            raise ProviderFault(f"the agent called last at {news.at:%Y-%m-%d %H:%M} UTC", transient=True, code="silent")
        return news.report
