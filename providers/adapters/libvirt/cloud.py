"""Hosts under libvirt as a cloud and as a source of usage: their guests listed, started, shut down and resized, and what each
used, by the counters that the host keeps of it.

libvirt keeps no history: each time usage is asked for, the counters are read and kept, and what lies between two readings
is what they rose by. It knows no keys either: orders are noted in the same file before they are carried out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from providers.adapters.libvirt import guests
from providers.adapters.libvirt.hosts import Host, addresses, fault, library
from providers.adapters.libvirt.journal import LibvirtJournal, OrderTaken
from providers.adapters.libvirt.usage import counters, readings_of
from providers.base import (
    Inventory,
    Order,
    Outcome,
    OutcomeState,
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
PATIENCE = timedelta(minutes=15)
"""How long a guest may take to shut down before the order has failed: some don't listen."""

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
    """Implements providers.base.Provider, Meter and Probed. Speaks to nobody before it is asked to.

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

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Start, shut down or resize a guest. Sizes change while it is off, and hold from its next start."""
        taken = self.journal.order(order.key)
        if taken is None:
            taken = self._take(order, now)
        return self._outcome(taken, now)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """What became of the order; a guest that is shutting down is looked at."""
        taken = self.journal.order(key)
        return None if taken is None else self._outcome(taken, now)

    def _take(self, order: Order, now: datetime) -> OrderTaken:
        if order.verb not in self.capabilities or order.kind is not ServiceKind.VM or not order.external_id:
            raise ProviderFault(f"libvirt: no {order.verb} of {order.kind} {order.external_id or ''}", transient=False)
        wanted = {str(kind): figure for kind, figure in order.amounts.items()}
        if order.verb is Verb.RESIZE and (
            not wanted or not set(order.amounts) <= {VCPU, MEMORY} or min(wanted.values()) <= 0
        ):
            raise ProviderFault(f"libvirt: only vCPU and memory can be changed, not {wanted}", transient=False)
        with self._domain(order.external_id) as (libvirt, domain):
            if order.verb is Verb.RESIZE and domain.isActive():
                raise ProviderFault(f"{domain.name()} runs: its size is changed while it is off", transient=False)
            taken = OrderTaken(order.key, order.external_id, order.verb.value, wanted, now)
            self.journal.keep(taken)  # before anything is done: what is done twice is harmless, what is lost is not
            return self._carried(libvirt, domain, taken, now)

    def _carried(self, libvirt: Any, domain: Any, taken: OrderTaken, now: datetime) -> OrderTaken:
        """Carry an order out, and note how it ended where it has."""
        try:
            if taken.verb == Verb.START and not domain.isActive():
                domain.create()
            elif taken.verb == Verb.STOP and domain.isActive():
                domain.shutdown()
            elif taken.verb == Verb.RESIZE:
                _resize(libvirt, domain, taken.wanted)
        except libvirt.libvirtError as error:
            why = fault(libvirt, domain.name(), error)
            if why.transient:
                self.journal.drop(taken.key)  # nothing was begun: it may be asked for again
                raise why from error
            taken = replace(taken, ended_at=now, failed=str(why))
        else:
            if taken.verb != Verb.STOP or not domain.isActive():
                taken = replace(taken, ended_at=now)
        self.journal.keep(taken)
        return taken

    def _outcome(self, taken: OrderTaken, now: datetime) -> Outcome:
        if taken.ended_at is None:
            with self._domain(taken.guest) as (libvirt, domain):
                if taken.verb != Verb.STOP:  # broken off before it was known how it ended
                    taken = self._carried(libvirt, domain, taken, now)
                elif not domain.isActive():
                    taken = replace(taken, ended_at=now)
                elif now - taken.begun_at > PATIENCE:
                    taken = replace(taken, ended_at=now, failed=f"{domain.name()} does not shut down")
            self.journal.keep(taken)
        state = (
            OutcomeState.PENDING
            if taken.ended_at is None
            else OutcomeState.FAILED
            if taken.failed
            else OutcomeState.DONE
        )
        amounts = Amount.from_json(dict(taken.wanted)) if state is OutcomeState.DONE else {}
        return Outcome(taken.key, state, taken.ended_at or taken.begun_at, taken.guest, amounts, taken.failed)

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


def _resize(libvirt: Any, domain: Any, wanted: Mapping[str, int]) -> None:
    """Change a guest that is off: what it may have, then what it has; the other way round where it shrinks."""
    _state, most_kib, now_kib, cpus, _time = domain.info()
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    try:
        if VCPU in wanted:
            _vcpus(libvirt, domain, wanted[VCPU], cpus)
        if MEMORY in wanted:
            kib = wanted[MEMORY] * 1024
            most = config | libvirt.VIR_DOMAIN_MEM_MAXIMUM
            for figure, flags in ((kib, most), (kib, config)) if kib > most_kib else ((kib, config), (kib, most)):
                domain.setMemoryFlags(figure, flags)
    except libvirt.libvirtError:
        _restore(libvirt, domain, cpus, most_kib, now_kib)
        raise


def _restore(libvirt: Any, domain: Any, cpus: int, most_kib: int, now_kib: int) -> None:
    """All of it or nothing, as far as libvirt goes along: what it may have stands now before, now after what it has."""
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    for call, most, now, flag in (
        (domain.setVcpusFlags, cpus, cpus, libvirt.VIR_DOMAIN_VCPU_MAXIMUM),
        (domain.setMemoryFlags, most_kib, now_kib, libvirt.VIR_DOMAIN_MEM_MAXIMUM),
    ):
        for figure, flags in ((most, config | flag), (now, config), (most, config | flag)):
            try:
                call(figure, flags)
            except libvirt.libvirtError:
                continue


def _vcpus(libvirt: Any, domain: Any, wanted: int, before: int) -> None:
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    most = config | libvirt.VIR_DOMAIN_VCPU_MAXIMUM
    for flags in (most, config) if wanted > before else (config, most):
        domain.setVcpusFlags(wanted, flags)
