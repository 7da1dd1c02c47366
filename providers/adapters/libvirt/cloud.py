"""Hosts under libvirt as a cloud and as a source of usage: their guests listed, started, shut down and resized, and what each
used, by the counters that the host keeps of it.

libvirt keeps no history: each time usage is asked for, the counters are read and kept, and what lies between two readings
is what they rose by. It knows no keys either: orders are noted in the same file before they are carried out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from providers.adapters.libvirt import guests, orders
from providers.adapters.libvirt.hosts import Host, addresses, library
from providers.adapters.libvirt.journal import LibvirtJournal, OrderTaken
from providers.adapters.libvirt.usage import counters, readings_of
from providers.base import (
    NEVER,
    STALLED,
    Inventory,
    Order,
    Outcome,
    OutcomeState,
    PlannedCall,
    ProviderFault,
    Readings,
    ResourceFact,
    Samples,
    ServiceKind,
    Verb,
)
from providers.options import option
from providers.secrets import Secret
from quota.errors import N_, Invalid
from quota.units import MEMORY, VCPU, Amount, Arch, ClassCode

PIECE = timedelta(hours=6)
RECENT = timedelta(minutes=30)
"""Who asks for usage up to so long ago asks for now, and the counters are read."""


@dataclass(frozen=True, kw_only=True)
class LibvirtOptions:
    """Which hosts, and how they are asked."""

    hosts: tuple[str, ...] = option(N_("主机"), N_("用逗号分开,如 qemu+tls://host1/system, qemu+tls://host2/system"))
    journal: str = option(
        N_("记录文件"), N_("保存各次读数和已受理的工单;资源池与用量源填同一个"), default="{home}/libvirt.db"
    )
    match: str = option(N_("名称筛选"), N_("只管名称符合这个正则表达式的云主机;留空则全部"), default="")
    arch: str = option(
        N_("架构"), N_("libvirt 没有说明架构时"), default=Arch.ANY.value, choices=[one.value for one in Arch]
    )
    user: str = option(N_("用户名"), N_("SASL 认证时"), default="")
    password: Secret | None = option(N_("口令"), default=None)


class LibvirtCloud:
    """Implements providers.base.Provider, Meter, Planning and Probed. Speaks to nobody before it is asked to.

    Raises Invalid for an address that is none, and for a pattern that is none.
    """

    Options = LibvirtOptions
    name = "libvirt"
    capabilities = frozenset({Verb.START, Verb.STOP, Verb.RESIZE})
    live_resize = False
    releases: Mapping[Verb, Collection[ClassCode]] = {Verb.RESIZE: frozenset({VCPU, MEMORY})}

    def __init__(
        self,
        hosts: Sequence[str],
        journal: str = "{home}/libvirt.db",
        match: str = "",
        arch: str = Arch.ANY,
        user: str = "",
        password: Secret | None = None,
    ) -> None:
        self.hosts = [Host(one, user, password) for one in addresses(tuple(hosts))]
        self.journal = LibvirtJournal(Path(journal))
        self.arch = Arch(arch)
        try:
            self.match = re.compile(match)
        except re.error as error:
            raise Invalid("libvirt.match", N_("不是正则表达式:%(error)s"), error=str(error), field="match") from None

    def probe(self, now: datetime) -> str:  # noqa: ARG002
        """The version and number of guests of each host."""
        said = []
        for host in self.hosts:
            with host.asked() as opened:
                number = opened.getLibVersion()
                version = f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
                said.append(
                    f"{opened.getHostname()}: libvirt {version} {opened.getType()}, {len(self._mine(opened))} guests"
                )
        return "; ".join(said)

    def inventory(self, now: datetime) -> Inventory:
        """All guests of all hosts. A host that cannot be asked makes the listing incomplete; ProviderFault where none can."""
        found: dict[str, ResourceFact] = {}
        faults: list[ProviderFault] = []
        for host in self.hosts:
            try:
                for one in self._listed(host):
                    before = found.get(one.external_id)
                    # while it migrates a guest stands on two hosts, and runs on one
                    if before is None or before.cloud_state != "running":
                        found[one.external_id] = one
            except ProviderFault as failed:
                faults.append(failed)
        if len(faults) == len(self.hosts):
            raise faults[0]
        return Inventory(now, [found[one] for one in sorted(found)], complete=not faults)

    def _listed(self, host: Host) -> list[ResourceFact]:
        libvirt = library()
        rows = []
        with host.asked() as opened:
            name = opened.getHostname()
            for domain in self._mine(opened):
                try:
                    rows.append(guests.fact(libvirt, domain, name, self.arch))
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # it went while it was looked at
                        raise
        return rows

    def _mine(self, opened: Any) -> list[Any]:
        return [one for one in opened.listAllDomains(0) if self.match.fullmatch(one.name()) or not self.match.pattern]

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:  # noqa: ARG002
        """None: the counters come as ``readings``, to a feed with the same hosts and journal."""
        return iter(())

    # -------------------------------------------------------------------------------------------------------- usage

    def poll(self, at: datetime) -> tuple[str, ...]:
        """Read the counters of all guests and keep them as of ``at``; what hosts could not be asked, in words."""
        libvirt = library()
        notes: list[str] = []
        found: dict[str, dict[str, Any]] = {}
        faults: list[ProviderFault] = []
        for host in self.hosts:
            try:
                with host.asked() as opened:
                    mine = self._mine(opened)
                    for domain, said in counters(libvirt, opened, mine).items():
                        if domain not in found or said.get("busy_ns") is not None:
                            found[domain] = said
            except ProviderFault as failed:
                faults.append(failed)
                notes.append(str(failed))
        if len(faults) == len(self.hosts):
            raise faults[0]
        self.journal.add(at, found)
        return tuple(notes)

    def readings(self, since: datetime, until: datetime, step_s: int) -> Iterator[Readings]:
        """What the counters said, poll by poll, up to the last edge of a slot before the latest poll."""
        now = datetime.now(UTC)
        notes = self.poll(now) if until > since and now - until < RECENT else ()
        span = self.journal.span()
        step = step_s * 1000
        first = -(-round(since.timestamp() * 1000) // step) * step
        end = min(round(until.timestamp() * 1000), span[1] if span else 0) // step * step
        while first < end:
            last = min(end, first + round(PIECE.total_seconds() * 1000))
            yield readings_of(self.journal, first, last, notes)
            first = last

    # ------------------------------------------------------------------------------------------------------- orders

    def plan(self, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
        """As providers.base.Planning has it."""
        wanted = self._wanted(order)
        with self._domain(order.external_id or "") as (_libvirt, domain):
            self._check(order, domain)
            name, size = domain.name(), ", ".join(f"{kind}={figure}" for kind, figure in sorted(wanted.items()))
            calls = _calls(order.verb, name, size, orders.way(self.journal, domain, wanted, now))
        self.journal.plan(order.key, [one.name for one in calls], now)
        return calls

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Start, shut down or resize a guest. A size that a running guest can't be given as it runs takes a shutdown and a start."""
        taken = self.journal.order(order.key)
        return self._answer(self._take(order, now)) if taken is None else self._looked_after(taken, now)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """What became of the order; a guest that is shutting down is looked at, and one that was shut down to be resized is."""
        taken = self.journal.order(key)
        return None if taken is None else self._looked_after(taken, now)

    def _wanted(self, order: Order) -> dict[str, int]:
        """The size that an order asks for. Raises ProviderFault for an order that is none of ours."""
        if order.verb not in self.capabilities or order.kind is not ServiceKind.VM or not order.external_id:
            raise ProviderFault(
                f"libvirt: no {order.verb} of {order.kind} {order.external_id or ''}", transient=False, code=NEVER
            )
        wanted = {str(kind): figure for kind, figure in order.amounts.items()}
        if order.verb is Verb.RESIZE and (
            not wanted or not set(order.amounts) <= {VCPU, MEMORY} or min(wanted.values()) <= 0
        ):
            raise ProviderFault(
                f"libvirt: only vCPU and memory can be changed, not {wanted}", transient=False, code=NEVER
            )
        return wanted

    def _check(self, order: Order, domain: Any) -> None:
        """Raise ProviderFault for a guest that would be gone when it is shut down: nothing is kept of it anywhere."""
        if order.verb is not Verb.START and not domain.isPersistent():
            raise ProviderFault(
                f"{domain.name()} is defined nowhere: it would be gone when it is shut down",
                transient=False,
                code=NEVER,
            )

    def _take(self, order: Order, now: datetime) -> OrderTaken:
        wanted = self._wanted(order)
        with self._domain(order.external_id or "") as (libvirt, domain):
            self._check(order, domain)
            ran = live = False
            if order.verb is Verb.RESIZE:
                way = orders.way(self.journal, domain, wanted, now)
                orders.as_planned(self.journal, order.key, domain, way)
                ran, live = way is not orders.ResizeWay.OFF, way is orders.ResizeWay.LIVE
                if domain.isActive():
                    self.journal.settle(domain.UUIDString())
            taken = OrderTaken(order.key, order.external_id or "", order.verb.value, wanted, now, ran=ran, live=live)
            self.journal.keep(taken)  # before anything is done: what is done twice is harmless, what is lost is not
            return orders.go_on(libvirt, self.journal, domain, taken, now)

    def _looked_after(self, taken: OrderTaken, now: datetime) -> Outcome:
        """What became of an order; one that has not ended is gone on with."""
        if taken.ended_at is None:
            with self._domain(taken.guest) as (libvirt, domain):
                taken = orders.go_on(libvirt, self.journal, domain, taken, now)
        return self._answer(taken)

    def _answer(self, taken: OrderTaken) -> Outcome:
        at, guest = taken.ended_at or taken.begun_at, taken.guest
        if taken.ended_at is None:
            return Outcome(taken.key, OutcomeState.PENDING, at, guest, {}, taken.said)
        if taken.failed:
            code = STALLED if taken.stalled else ""
            return Outcome(taken.key, OutcomeState.FAILED, at, guest, {}, taken.failed, code)
        return Outcome(taken.key, OutcomeState.DONE, at, guest, Amount.from_json(dict(taken.wanted)))

    def _domain(self, uuid: str) -> Any:
        return _Found(self, uuid)


class _Found:
    """The guest on whichever host has it, for as long as the block runs. Raises ProviderFault where none has."""

    def __init__(self, cloud: LibvirtCloud, uuid: str) -> None:
        self.cloud, self.uuid = cloud, uuid
        self._asked: Any = None

    def __enter__(self) -> tuple[Any, Any]:
        libvirt = library()
        faults: list[ProviderFault] = []
        for host in self.cloud.hosts:
            try:
                asked = host.asked()
                opened = asked.__enter__()
            except ProviderFault as failed:
                faults.append(failed)
                continue
            domain = next((one for one in self.cloud._mine(opened) if one.UUIDString() == self.uuid), None)
            if domain is not None:
                self._asked = asked
                return libvirt, domain
            asked.__exit__(None, None, None)
        if faults:
            raise faults[0]
        raise ProviderFault(f"no guest {self.uuid}", transient=False)

    def __exit__(self, *error: Any) -> None:
        self._asked.__exit__(*error)


def _calls(verb: Verb, name: str, size: str, way: orders.ResizeWay) -> tuple[PlannedCall, ...]:
    """What would be called for an order at a guest of that name."""
    if verb is not Verb.RESIZE:
        return (PlannedCall(verb.value, f"{'create' if verb is Verb.START else 'shutdown'} {name}"),)
    if way is orders.ResizeWay.LIVE:
        return (PlannedCall("resize_live", f"{name}: {size}, while it runs", frozenset({VCPU})),)
    resized = PlannedCall("resize", f"{name}: {size}", frozenset({VCPU, MEMORY}))
    if way is orders.ResizeWay.OFF:
        return (resized,)
    stopped = (PlannedCall("stop", f"shutdown {name}", stops=True),) if way is orders.ResizeWay.RESTART else ()
    return (*stopped, resized, PlannedCall("start", f"create {name}"))
