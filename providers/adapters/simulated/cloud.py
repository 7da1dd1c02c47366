"""A cloud that does not exist: one pool of the city 云港市, the same for the same seed whenever it is asked.

It begins 90 days before ``epoch`` and goes on for ever. It obeys orders and keeps them in ``state_file``;
what it reported of the time before an order stays as it was. Options are plain JSON, as a pool's adapter
options hold them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

from providers.adapters.simulated.city import pools
from providers.adapters.simulated.evidence import CARELESS, bills, incidents
from providers.adapters.simulated.faults import PlannedFault, Trouble, chance
from providers.adapters.simulated.faults import faults as read_faults
from providers.adapters.simulated.fleet import Machine, fleet, local_day, moment
from providers.adapters.simulated.journal import Journal, JournalEntry
from providers.adapters.simulated.meter import SimulatedMeter
from providers.adapters.simulated.orders import after, decide, snapshot_name
from providers.base import (
    ON_RESOURCES,
    BillFact,
    IncidentFact,
    Inventory,
    Order,
    Outcome,
    OutcomeState,
    ProviderFault,
    ResourceFact,
    ResourceState,
    Samples,
    Verb,
)
from providers.options import Json, option
from quota.errors import N_, Invalid
from quota.units import ACCELERATOR, BANDWIDTH, CLASSES, MEMORY, OBJECT, VCPU, ClassCode


@dataclass(frozen=True, kw_only=True)
class SimulatedOptions:
    """As SimulatedCloud has them."""

    pool: str = option(N_("资源池"), N_("模拟城市中的资源池编码"), choices=[one.code for one in pools()])
    epoch: str = option(N_("基准日"), N_("如 2026-11-23"))
    seed: int = option(N_("种子"), default=1)
    state_file: str | None = option(N_("状态文件"), N_("{home} 代表数据目录"), default=None)
    history_days: int = option(N_("历史天数"), default=90)
    fail_rate: float = option(N_("工单失败率"), default=0.0)
    pending_minutes: float = option(N_("办理分钟"), default=0.0)
    missing_rate: float | None = option(N_("缺失率"), default=None)
    live_resize: bool = option(N_("不停机调整规格"), default=True)
    faults: Json = option(N_("故障设定"), default=())
    departments: tuple[str, ...] | None = option(N_("使用单位"), N_("编码,用逗号分开;留空为全部"), default=None)


class SimulatedCloud:
    """One pool. Implements providers.base.Provider and Accountable.

    pool: a code of simulated_city.pools(). seed: another seed, another city. state_file: where orders are
    kept (None: in memory; several pools may share one file). epoch: the day (2026-11-23) that "stopped 40
    days ago", "new" and the like are counted from; history begins ``history_days`` before. fail_rate:
    share of orders that fail. pending_minutes: orders answer PENDING first and are DONE after half to one
    and a half times that. missing_rate: share of samples that never arrive. live_resize: whether running machines change their size. faults: see simulated_faults.
    departments: codes of those whose resources there are (None: everybody's).
    Raises Invalid for options that make no sense.
    """

    Options = SimulatedOptions
    capabilities = ON_RESOURCES
    # Quota comes back when a thing shrinks or is gone; what is off or in the recycle bin keeps its place.
    releases: Mapping[Verb, Collection[ClassCode]] = {
        **dict.fromkeys(Verb, frozenset()),
        Verb.RESIZE: frozenset({VCPU, MEMORY, OBJECT, BANDWIDTH, ACCELERATOR}),
        Verb.DELETE: CLASSES,
    }

    def __init__(
        self,
        pool: str,
        epoch: str | date,
        seed: int = 1,
        state_file: str | Path | None = None,
        history_days: int = 90,
        fail_rate: float = 0.0,
        pending_minutes: float = 0.0,
        missing_rate: float | None = None,
        live_resize: bool = True,
        faults: Iterable[Mapping[str, Any]] = (),
        departments: Iterable[str] | None = None,
    ) -> None:
        found = next((one for one in pools() if one.code == pool), None)
        if found is None:
            raise Invalid("pool.unknown", N_("模拟城市没有资源池 %(pool)s"), pool=pool)
        try:
            self.epoch = date.fromisoformat(epoch) if isinstance(epoch, str) else epoch
        except ValueError:
            raise Invalid("epoch.bad", N_("%(epoch)s 不是日期"), epoch=epoch) from None
        rates = (fail_rate, missing_rate or 0.0)
        if history_days < 1 or pending_minutes < 0 or not all(0 <= rate <= 1 for rate in rates):
            raise Invalid("options.bad", N_("模拟云的天数、比率或延时不合理"))
        self.name = f"simulated-{pool}"
        self.pool = found
        self.seed = seed
        self.start = self.epoch - timedelta(days=history_days)
        self.live_resize = bool(live_resize)
        self._fail_rate = fail_rate
        self._pending_s = pending_minutes * 60
        self._missing = 0.0005 if found.company_code != CARELESS else 0.012
        if missing_rate is not None:
            self._missing = missing_rate
        self._faults = read_faults(faults)
        self._journal = Journal(state_file, pool)
        every = fleet(found, seed, self.start, self.epoch)
        mine = None if departments is None else frozenset(departments)
        self._origin = every if mine is None else [one for one in every if one.department in mine]
        self._stream_seed = seed << 32 | crc32(pool.encode())
        self._now: tuple[int, list[Machine]] | None = None
        self._meter: SimulatedMeter | None = None

    def inventory(self, now: datetime) -> Inventory:
        """Every resource that exists at ``now``, recycled ones too; deleted ones are not listed."""
        self._reach(now)
        machines = self._machines()
        facts = [fact for one in machines if (fact := _fact(one, int(now.timestamp()))) is not None]
        partial = self._trouble(Trouble.PARTIAL, now)
        return Inventory(now, facts[: len(facts) * 2 // 3] if partial else facts, complete=partial is None)

    def samples(self, since: datetime, until: datetime, *, lost: bool = False) -> Iterator[Samples]:
        """Samples on the 5-minute grid with since <= ts < until, batched by local day and collector; ``lost``: those that
        never arrived, which the machines' agents kept."""
        self._reach(until)
        machines = self._machines()
        if self._meter is None or self._meter.machines is not machines:
            self._meter = SimulatedMeter.of(machines, self._stream_seed, self.start, self._missing)
        meter = self._meter
        low = max(_ceiling(since), moment(self.start))
        high = _ceiling(until)
        for first, last in self._audible(low, high):
            day, end = local_day(first), local_day(last - 1)
            while day <= end:
                for part, external_ids, table in meter.read(day, first, last, lost=lost):
                    yield Samples(f"{self.name}-{part}", external_ids, table)
                day += timedelta(days=1)

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Take the order, once; PENDING until it has taken effect. The same key later tells how it stands."""
        self._reach(now)
        refusal = self._trouble(Trouble.REFUSE, now, order)
        refused = (refusal.message or "云平台拒绝执行") if refusal else ""
        if not refused and chance(self.seed, "fail", order.key) < self._fail_rate:
            refused = "云平台内部错误"
        delay = round(self._pending_s * (0.5 + chance(self.seed, "delay", order.key)))
        at = int(now.timestamp())

        def fate(entries: list[JournalEntry]) -> JournalEntry:
            machines = after(self._origin, entries, self.pool)
            return decide(order, entries, machines, self.pool, now=at, delay=delay, refused=refused)

        entry = self._journal.record(order, fate)
        lost = self._trouble(Trouble.LOST_REPLY, now, order)
        if lost:
            raise ProviderFault(lost.message or "云平台没有应答", transient=True)
        return _outcome(entry, at)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """How the order with that key stands, None where it never came in."""
        self._reach(now)
        entry = self._journal.find(key)
        return None if entry is None else _outcome(entry, int(now.timestamp()))

    def bills(self, month: str) -> list[BillFact]:
        """The company's bill for a month ("2026-10"), by the orders so far. Raises Invalid for others."""
        try:
            return bills(self._machines(), self.pool, self.seed, month)
        except ValueError:
            raise Invalid("month.bad", N_("%(month)s 不是月份"), month=month) from None

    def incidents(self, since: datetime, until: datetime) -> list[IncidentFact]:
        """Incidents that began, were answered or ended in since <= t < until, as known at ``until``."""
        return incidents(self._origin, self.pool, self.seed, self.start, self.epoch, since, until)

    def _machines(self) -> list[Machine]:
        """All resources that ever were; the same list object as long as no order came in."""
        entries = self._journal.entries()
        if self._now is None or self._now[0] != len(entries):
            self._now = len(entries), after(self._origin, entries, self.pool)
        return self._now[1]

    def _trouble(self, what: Trouble, clock: datetime, order: Order | None = None) -> PlannedFault | None:
        return next(
            (
                one
                for one in self._faults
                if one.what is what and one.since <= clock < one.until and (order is None or one.concerns(order))
            ),
            None,
        )

    def _reach(self, clock: datetime) -> None:
        fault = self._trouble(Trouble.UNREACHABLE, clock)
        if fault:
            raise ProviderFault(fault.message or "云平台无法连接", transient=True)

    def _audible(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """[low, high) without the times of silence."""
        for fault in sorted(self._faults, key=lambda one: one.since):
            if fault.what is Trouble.SILENCE and low < high:
                since = _ceiling(fault.since)
                if low < min(since, high):
                    yield low, min(since, high)
                low = max(low, _ceiling(fault.until))
        if low < high:
            yield low, high


def _ceiling(at: datetime) -> int:
    """Whole epoch seconds, never before ``at``."""
    return -int(-at.timestamp() // 1)


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _fact(machine: Machine, now: int) -> ResourceFact | None:
    current = machine.at(now)
    if current is None or current.state is ResourceState.DELETED:
        return None
    stopped_at = None
    if current.state is ResourceState.STOPPED:
        # Off since the last time that it was seen in any other state.
        past = [one for one in machine.life if one.at <= now]
        while len(past) > 1 and past[-2].state is ResourceState.STOPPED:
            past.pop()
        stopped_at = _utc(past[-1].at)
    tags = dict(machine.tags)
    detached = machine.detached_at is not None and machine.detached_at <= now
    if detached and machine.detached_at is not None:
        tags["detached_at"] = _utc(machine.detached_at).isoformat()
    made = [name for at, name in machine.snapshots if at <= now]
    if made:
        tags["snapshot"] = made[-1]
    return ResourceFact(
        machine.external_id,
        machine.name,
        machine.kind,
        machine.arch,
        dict(current.amounts),
        current.state,
        machine.department,
        machine.system,
        _utc(machine.life[0].at),
        stopped_at,
        None if detached else machine.host,
        machine.address,
        tags,
    )


def _outcome(entry: JournalEntry, now: int) -> Outcome:
    order = entry.order
    if now < entry.effective:
        return Outcome(order.key, OutcomeState.PENDING, _utc(entry.received), order.external_id)
    at = _utc(entry.effective)
    if entry.failed:
        return Outcome(order.key, OutcomeState.FAILED, at, order.external_id, message=entry.failed)
    message = snapshot_name(entry) if order.verb is Verb.SNAPSHOT else ""
    return Outcome(order.key, OutcomeState.DONE, at, entry.external_id, dict(entry.amounts), message)
