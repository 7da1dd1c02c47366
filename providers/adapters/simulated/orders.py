"""How the simulated cloud takes orders: which it refuses, what the others make of its resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from providers.adapters.simulated.city import CityPool
from providers.adapters.simulated.fleet import MEASURE, FleetChange, Machine, name_of
from providers.adapters.simulated.journal import JournalEntry
from providers.adapters.simulated.load import Load
from providers.base import HOSTS, Order, ResourceState, ServiceKind, Verb
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CLASSES,
    CRYPTOGRAPHY,
    DATABASE,
    MEMORY,
    MIDDLEWARE,
    NOTHING,
    OBJECT,
    SECURITY,
    VCPU,
    Amount,
    Arch,
    ClassCode,
    shown,
)

RUNNING, STOPPED = ResourceState.RUNNING, ResourceState.STOPPED
RECYCLED, DELETED = ResourceState.RECYCLED, ResourceState.DELETED
_FROM: Mapping[Verb, frozenset[ResourceState]] = {
    Verb.RESIZE: frozenset({RUNNING, STOPPED}),
    Verb.STOP: frozenset({RUNNING, STOPPED}),
    Verb.START: frozenset({RUNNING, STOPPED}),
    Verb.SNAPSHOT: frozenset({RUNNING, STOPPED}),
    Verb.RECYCLE: frozenset({RUNNING, STOPPED}),
    Verb.RESTORE: frozenset({RECYCLED}),
    Verb.DELETE: frozenset({RUNNING, STOPPED, RECYCLED}),
}
_OF: Mapping[Verb, frozenset[ServiceKind]] = {
    Verb.STOP: HOSTS,
    Verb.START: HOSTS,
    Verb.SNAPSHOT: HOSTS | {ServiceKind.VOLUME, ServiceKind.DATABASE},
}
_SIZED: Mapping[ServiceKind, frozenset[ClassCode]] = {
    ServiceKind.VM: frozenset({VCPU, MEMORY}),
    ServiceKind.VOLUME: frozenset({BLOCK}),
    ServiceKind.OBJECT_STORE: frozenset({OBJECT}),
    ServiceKind.BANDWIDTH: frozenset({BANDWIDTH}),
    ServiceKind.ACCELERATOR: frozenset({ACCELERATOR}),
}
_NEEDS: Mapping[ServiceKind, ClassCode] = {
    **MEASURE,
    ServiceKind.DATABASE: DATABASE,
    ServiceKind.MIDDLEWARE: MIDDLEWARE,
    ServiceKind.SECURITY: SECURITY,
    ServiceKind.CRYPTOGRAPHY: CRYPTOGRAPHY,
}
_NEW_LOADS = (Load.OFFICE, Load.CITIZEN, Load.STEADY, Load.OFFICE, Load.LIGHT)


def after(origin: Iterable[Machine], entries: Iterable[JournalEntry], pool: CityPool) -> list[Machine]:
    """All resources that ever were, in a fixed order, with what the orders made of them."""
    machines = [replace(one, life=list(one.life), tags=dict(one.tags), snapshots=list(one.snapshots)) for one in origin]
    known = {one.external_id: one for one in machines}
    for entry in entries:
        if entry.failed or entry.external_id is None:
            continue
        if entry.order.verb is Verb.CREATE:
            machine = _built(entry, pool, len(machines))
            machines.append(machine)
            known[machine.external_id] = machine
        else:
            _apply(known[entry.external_id], entry, machines)
    return machines


def _built(entry: JournalEntry, pool: CityPool, row: int) -> Machine:
    order, name = entry.order, entry.order.name or str(entry.external_id)
    machine = Machine(
        str(entry.external_id),
        name,
        order.kind,
        pool.arch,
        order.department_code,
        order.system_code,
        _NEW_LOADS[row % len(_NEW_LOADS)],
        [FleetChange(entry.effective, RUNNING, entry.amounts)],
        tags={"zone": pool.zone},
    )
    if order.kind in (ServiceKind.DATABASE, ServiceKind.MIDDLEWARE):
        machine.seat = (4, 16 * 1024)
        machine.tags["shape"] = "4C16G"
    if order.kind in HOSTS:
        machine.address = f"10.{32 if pool.arch is Arch.AARCH64 else 30}.{row // 200}.{row % 200 + 10}"
    if order.kind is ServiceKind.EIP:
        machine.address = f"203.0.113.{row % 250 + 1}"
    return machine


def _apply(machine: Machine, entry: JournalEntry, machines: Iterable[Machine]) -> None:
    verb = entry.order.verb
    if verb is Verb.SNAPSHOT:
        machine.snapshots.append((entry.effective, snapshot_name(entry)))
        return
    # An order overtakes what fate had in store for an original machine later on.
    machine.life = [one for one in machine.life if one.at <= entry.effective]
    last = machine.life[-1]
    state = {
        Verb.STOP: STOPPED,
        Verb.START: RUNNING,
        Verb.RECYCLE: RECYCLED,
        Verb.RESTORE: STOPPED if machine.kind in HOSTS else RUNNING,
        Verb.DELETE: DELETED,
    }.get(verb, last.state)
    machine.life.append(FleetChange(entry.effective, state, entry.amounts))
    if verb is Verb.DELETE:
        for one in machines:
            if one.host == machine.external_id and one.detached_at is None:
                one.detached_at = entry.effective


def snapshot_name(entry: JournalEntry) -> str:
    return name_of(ServiceKind.VOLUME, "snapshot", entry.order.key).replace("vol-", "snap-")


def decide(
    order: Order,
    entries: Sequence[JournalEntry],
    machines: Sequence[Machine],
    pool: CityPool,
    *,
    now: int,
    delay: int,
    refused: str,
) -> JournalEntry:
    """What becomes of ``order`` at ``now``.

    machines: as ``entries`` left them; refused: why it must fail, if it must; delay: seconds until it takes
    effect. Orders for one resource take effect one after the other, whatever their delays.
    """
    if order.verb is Verb.CREATE:
        external_id = name_of(order.kind, pool.code, f"order/{order.key}")
        effective, amounts = now + delay, Amount(order.amounts)
        failed = refused or _refuse_create(order, machines, pool, effective)
        return JournalEntry(
            order, now, effective, None if failed else external_id, NOTHING if failed else amounts, failed
        )
    machine = next((one for one in machines if one.external_id == order.external_id), None)
    before = (one.effective for one in entries if one.external_id == order.external_id and not one.failed)
    effective = max([now + delay, *before])
    current = machine.at(effective) if machine else None
    if machine is None or current is None:
        return JournalEntry(order, now, now, order.external_id, NOTHING, f"没有资源 {order.external_id}")
    amounts = Amount(current.amounts)
    if order.verb is Verb.RESIZE:
        amounts |= order.amounts
    failed = refused or _refuse(order, machine, current, amounts)
    if not failed and order.verb is Verb.RESIZE:
        failed = _short(amounts, current.amounts, machines, pool, effective)
    return JournalEntry(order, now, effective, order.external_id, NOTHING if failed else amounts, failed)


def _refuse_create(order: Order, machines: Sequence[Machine], pool: CityPool, at: int) -> str:
    if order.external_id is not None:
        return "新建订单不能指定资源"
    if not order.amounts.get(_NEEDS[order.kind]):
        return f"新建 {order.kind} 没有写明{CLASSES[_NEEDS[order.kind]].label}"
    if order.kind in HOSTS and not order.amounts.get(MEMORY):
        return "新建主机没有写明内存"
    if order.arch not in (pool.arch, Arch.ANY):
        return f"资源池 {pool.code} 没有 {order.arch} 架构"
    return _short(order.amounts, {}, machines, pool, at)


def _refuse(order: Order, machine: Machine, current: FleetChange, amounts: Mapping[ClassCode, int]) -> str:
    if order.kind is not machine.kind:
        return f"{machine.external_id} 是 {machine.kind},不是 {order.kind}"
    if current.state not in _FROM[order.verb]:
        return f"{machine.external_id} 处于 {current.state},不能 {order.verb}"
    if machine.kind not in _OF.get(order.verb, frozenset(ServiceKind)):
        return f"{machine.kind} 不支持 {order.verb}"
    if order.verb is not Verb.RESIZE:
        return ""
    if not order.amounts or not set(order.amounts) <= _SIZED.get(machine.kind, frozenset()):
        return f"{machine.kind} 不支持这样变更规格"
    if min(order.amounts.values()) <= 0:
        return "规格须大于零"
    if machine.kind is ServiceKind.VOLUME and amounts[BLOCK] < current.amounts[BLOCK]:
        return "云硬盘不能缩小"
    return ""


def _short(
    wanted: Mapping[ClassCode, int],
    had: Mapping[ClassCode, int],
    machines: Iterable[Machine],
    pool: CityPool,
    at: int,
) -> str:
    """Why the pool cannot carry ``wanted`` in place of ``had`` at ``at``; empty if it can."""
    given: dict[ClassCode, int] = {}
    for machine in machines:
        current = machine.at(max(at, machine.life[0].at))
        if current and current.state is not DELETED:
            for kind, figure in current.amounts.items():
                given[kind] = given.get(kind, 0) + figure
    usable = {one.kind: one.usable for one in pool.capacities}
    for kind, figure in wanted.items():
        more = figure - had.get(kind, 0)
        free = usable.get(kind, 0) - given.get(kind, 0)
        if more > max(free, 0):
            label = CLASSES[kind].label
            return f"资源池 {pool.code} 的{label}不足:需要 {shown(kind, more)},剩余 {shown(kind, free)}"
    return ""
