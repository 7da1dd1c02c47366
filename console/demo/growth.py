"""Growth within the day in the demo city: departments authorise it beforehand; on some working days the look is taken, as its job
takes it, in the morning, in the afternoon and at night; the clouds obey, and what is calm again goes back. Whose machine grew first declares
it a tier the day after: from then on it gets a second one beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import select

from metering import cases
from metering.cases import Case, CaseState, Consent, authorisations
from metering.intraday import look
from metering.judging import CaseKind
from metering.scale_outs import ScaleOut, ScaleOutState, last_look, scale_outs, settling
from metering.workbench import Workbench
from providers import orders
from providers.base import ServiceKind
from providers.orders import WorkOrder
from quota import ledger
from quota.actors import Actor, steward
from quota.calendar import ZONE
from quota.directory import Pool, System
from quota.errors import Refused
from quota.inventory import Resource, tiers
from quota.units import MEMORY, VCPU, Amount, Arch

AUTHORISED = 32
"""Working days before today on which departments authorise."""

TIERED = 20
"""Working days before today on which a department declares a tier."""

DAYS = (21, 12, 5)
"""Working days before today on which looks are taken here."""

LOOKS = {10: (timedelta(hours=10, minutes=35), timedelta(hours=15, minutes=35)), 20: (timedelta(hours=28, minutes=35),)}
"""When, from the day's beginning, after the orders of which hour of the day."""

AMPLE, SCANTY = (32, 64), (2, 4)
"""vCPU and GB that departments allow; and the third of them, which has not looked at the catalogue: less than the next shape takes."""

RESERVE = Amount({VCPU: 16, MEMORY: 32 * 1024})
"""Quota that the authority grants for it in each pool where an authorised system has machines."""


class Growths:
    """The looks of the demo, taken on the days of ``DAYS``. ``read`` collects the clouds up to an instant."""

    def __init__(self, workbench: Workbench, clock: Any, clerks: list[Actor], read: Callable[[datetime], None]) -> None:
        self.workbench, self.clock, self.clerks, self.read = workbench, clock, clerks, read

    def day(self, left: int, day: date, hour: int) -> None:
        """What is looked at on ``day``, ``left`` working days before today, after the orders of ``hour``."""
        looked = left in DAYS or (left + 1 in DAYS and hour == 20) or self._lent()
        for at in LOOKS.get(hour, ()) if looked else ():
            self.clock.now = max(self.clock.now, datetime.combine(day, time(), ZONE) + at)
            self.read(self.clock.now)
            look.look(self.workbench)
            self._carry()

    def _lent(self) -> bool:
        """Whether anything is on loan: that is looked at until it is given back."""
        query = select(Case.id).where(
            Case.kind == CaseKind.EXPAND.value,
            Case.consent == Consent.STANDING.value,
            Case.state == CaseState.WATCHED.value,
        )
        with self.workbench.book.reading() as tx:
            return tx.scalar(query.limit(1)) is not None

    def _carry(self) -> None:
        """The clouds do what the looks ordered, and the cases take it in."""
        query = (
            select(WorkOrder.id, WorkOrder.pool_id, Case.id)
            .join(Case, Case.order_key == WorkOrder.key)
            .where(Case.consent == Consent.STANDING.value, WorkOrder.state.in_(orders.OPEN))
            .order_by(WorkOrder.id)
        )
        with self.workbench.book.reading() as tx:
            due = [(int(order), int(pool), int(case)) for order, pool, case in tx.execute(query)]
        pools = {pool.id: pool for pool in self.workbench.pools()}
        self.clock.now += timedelta(minutes=5)
        for order_id, pool_id, case_id in due:
            provider = self.workbench.provider(pools[pool_id])
            for _ in range(2):  # sent, and asked after
                orders.carry(self.workbench.book, order_id, provider, last_look)
            with self.workbench.book.transaction(steward("job:cases")) as tx:
                cases.settle(tx, tx.get_one(Case, case_id), tx.get_one(WorkOrder, order_id))
        self._scale_out(pools)

    def _scale_out(self, pools: dict[int, Pool]) -> None:
        """Machines more are made, and their departments enter them at their balancers."""
        query = (
            select(WorkOrder.id, WorkOrder.pool_id)
            .join(ScaleOut, ScaleOut.order_key == WorkOrder.key)
            .where(ScaleOut.state == ScaleOutState.ORDERED.value)
        )
        with self.workbench.book.reading() as tx:
            due = [(int(order), int(pool)) for order, pool in tx.execute(query)]
        for order_id, pool_id in due:
            for _ in range(2):
                orders.carry(self.workbench.book, order_id, self.workbench.provider(pools[pool_id]), last_look)
        settling.advance(self.workbench.book, steward("job:hourly"))
        with self.workbench.book.reading() as tx:
            made = [
                (one.id, one.generation, one.tier.system.department_id)
                for one in tx.scalars(select(ScaleOut).where(ScaleOut.state == ScaleOutState.DELIVERED.value))
            ]
        for number, generation, department_id in made:
            clerk = next(one for one in self.clerks if one.department_id == department_id)
            with self.workbench.book.transaction(clerk) as tx:
                scale_outs.joined(tx, number, generation)

    def declare(self) -> None:
        """Whose machine was enlarged first of all declares it a tier, if it has its old size again."""
        with self.workbench.book.reading() as tx:
            first = tx.scalars(
                select(Case)
                .where(Case.consent == Consent.STANDING.value, Case.state == CaseState.CLOSED.value)
                .order_by(Case.id)
            ).first()
            if first is None or first.system_id is None:
                return
            system_id, machine, department_id = first.system_id, first.resource_id, first.department_id
        clerk = next((one for one in self.clerks if one.department_id == department_id), None)
        if clerk is not None:
            with self.workbench.book.transaction(clerk) as tx:
                balancer = "申报入口负载均衡，由本单位运维人员登记"
                tiers.declare(tx, tx.get_one(System, system_id), "申报受理", balancer, 1, [machine])


def authorise(workbench: Workbench, authority: Actor, clerks: list[Actor]) -> None:
    """Each department authorises its systems; the authority grants what they may need for it, as far as its pools have it."""
    for number, clerk in enumerate(clerks):
        department, pools = int(clerk.department_id or 0), set[tuple[int, str]]()
        vcpu, memory = SCANTY if number == 2 else AMPLE
        with workbench.book.transaction(clerk) as tx:
            until = tx.now.astimezone(ZONE).date() + timedelta(days=180)
            for system in tx.scalars(
                select(System).where(System.department_id == department).order_by(System.id)
            ).all():
                authorisations.grant(tx, system, until, vcpu, memory, "集中申报期间并发不可预测", any_time=True)
                machines = select(Resource).where(
                    Resource.system_id == system.id, Resource.gone_at.is_(None), Resource.kind == ServiceKind.VM.value
                )
                pools |= {(one.pool_id, one.arch) for one in tx.scalars(machines)}
        for pool_id, arch in sorted(pools):
            with suppress(Refused), workbench.book.transaction(authority) as tx:
                ledger.grant(
                    tx, pool_id, department, RESERVE.of_arch(Arch(arch)), key=f"demo:growth:{department}:{pool_id}"
                )
