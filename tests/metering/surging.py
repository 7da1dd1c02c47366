"""A city whose machines may grow within the day: a lake that is fed by the hour, a catalogue, systems, a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from metering import scale_outs
from metering.cases import authorisations
from metering.cases.files import Case
from metering.intraday import look as intraday_look
from metering.intraday.look import Looked
from metering.judging import policies
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers import orders
from providers.base import Verb
from quota.actors import steward
from quota.directory import catalog
from quota.directory.departments import System
from quota.directory.pools import Pool
from quota.errors import Refused
from quota.inventory import Resource
from quota.ledger import entries
from quota.ledger.tables import Holder
from quota.requests import rulebook
from quota.units import MEMORY, VCPU, Amount, Arch, ClassCode, Commodity
from tests.city import GB, City
from tests.metering.cloud import Cloud

SHAPES = {"2C4G": (2, 4), "4C8G": (4, 8), "8C16G": (8, 16), "16C32G": (16, 32)}
FOUR: Amount = Amount({VCPU: 4, MEMORY: 8 * GB})
EIGHT: Amount = Amount({VCPU: 8, MEMORY: 16 * GB})


class Surging:
    """``city`` with a lake. ``quota``: what the department may still use; ``cloud``: the pool's adapter."""

    def __init__(
        self,
        city: City,
        lake: Lake,
        sizing: str = "steward-balanced+fast",
        quota: Amount | None = None,
        procedure: Procedure | None = None,
    ) -> None:
        self.city, self.book, self.clock, self.lake = city, city.book, city.clock, lake
        self.works, self.cloud = Workbench(city.book, lake), Cloud()
        self.works.opened[city.pool] = self.cloud  # type: ignore[assignment]
        self.random = np.random.default_rng(5)
        with city.by() as tx:
            arch = Arch(tx.get_one(Pool, city.pool).arch)
            for code, (vcpu, memory) in SHAPES.items():
                catalog.offer(tx, f"s-{code}", code, "vm", {VCPU: vcpu, MEMORY: memory * GB}, [arch])
            row = System(code="busy", name="申报系统", department_id=city.department, mlps_level=2, active=True)
            tx.add(row)
            tx.flush()
            self.system = row.id
            before = policies.version(tx, city.policy)
            policy = replace(before.policy(), sizing=sizing, effective_from=tx.now.date())
            city.policy = policies.enact(tx, policy, procedure or Procedure(), reason="试行当日扩容").id
            more = Amount({VCPU: 100, MEMORY: 200 * GB} if quota is None else quota).of_arch(arch)
            if more:
                entries.grant(tx, city.pool, city.department, more, key="grant:spare")

    def sign_once(self) -> None:
        """The city's rules: one signature, delivery, acceptance."""
        steps = [
            {"name": "technical_review", "role": "supervisor", "days": 3},
            {"name": "delivery", "role": "provider", "days": 2},
            {"name": "acceptance", "role": "tenant", "days": 3},
        ]
        with self.city.by() as tx:
            rulebook.enact(tx, "base", "所有申请", {}, steps, effective_from=tx.now.date(), priority=0, basis="试行")

    def machine(self, shape: Amount = FOUR, verdict: Verdict = Verdict.NORMAL, **more: Any) -> int:
        """A machine of the system that the last night has judged."""
        found = self.city.machine(shape, **{"system_id": self.system, **more})
        self.judge({found: verdict})
        return found

    def judge(self, verdicts: Mapping[int, Verdict], **more: Any) -> None:
        self.city.judge(verdicts, **{"policy": self.city.policy, **more})

    def authorise(
        self, vcpu: int = 16, memory_gb: int = 64, days: int = 30, any_time: bool = False, **others: int
    ) -> int:
        with self.book.transaction(self.city.tenant) as tx:
            until = tx.now.date() + timedelta(days=days)
            return authorisations.grant(
                tx,
                tx.get_one(System, self.system),
                until,
                vcpu,
                memory_gb,
                any_time=any_time,
                others=Amount({ClassCode(cls): figure for cls, figure in others.items()}),
            ).id

    def revoke(self, authorisation: int) -> None:
        with self.book.transaction(self.city.tenant) as tx:
            authorisations.revoke(tx, authorisations.authorisation(tx, authorisation))

    def feed(
        self, loads: Mapping[int, Sequence[float]], end: datetime | None = None, stolen: float | None = None
    ) -> None:
        """Samples of the last slots up to ``end`` (default: now), five minutes apart: per cent of the vCPU that each
        resource has now; NaN = none. ``stolen``: per cent of the time in which it was kept from them; None = not told."""
        end = end or self.clock.now
        rows: list[tuple[int, int, float, float]] = []
        with self.book.reading() as tx:
            for resource, load in loads.items():
                vcpu = tx.get_one(Resource, resource).actual()[VCPU]
                for i, cpu in enumerate(load):
                    if cpu == cpu:
                        rows.append((resource, int(end.timestamp()) - 300 * (len(load) - i), cpu, vcpu))
        net = self.random.random(len(rows)) * 100 + 50
        told = {} if stolen is None else {"steal_pct": pa.array([stolen] * len(rows), pa.float64())}
        self.lake.append(
            "agent",
            pa.table(
                {
                    **told,
                    "resource": pa.array([one[0] for one in rows], pa.int64()),
                    "ts": pa.array([one[1] for one in rows], pa.int64()),
                    "cpu_pct": pa.array([one[2] for one in rows], pa.float64()),
                    "net_rx_kbps": pa.array(net, pa.float64()),
                    "vcpu": pa.array([one[3] for one in rows], pa.float64()),
                }
            ),
        )

    def tell(self, resource: int, end: datetime | None = None, **metrics: Sequence[float]) -> None:
        """Samples of any metrics of the last slots up to ``end`` (default: now), five minutes apart; NaN = none."""
        end, long = end or self.clock.now, max(map(len, metrics.values()))
        first = int(end.timestamp()) - 300 * long
        told = {name: pa.array([None if one != one else float(one) for one in many]) for name, many in metrics.items()}
        when = pa.array([first + 300 * slot for slot in range(long)], pa.int64())
        self.lake.append("agent", pa.table({"resource": pa.array([resource] * long, pa.int64()), "ts": when, **told}))

    def past(self, hours: int = 1) -> None:
        """Time goes to the next full hour, and ``hours`` - 1 on."""
        self.clock.now = self.clock.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours)

    def hour(self, loads: Mapping[int, Sequence[float] | float]) -> Looked:
        """Let an hour pass with these loads, and look at it a few minutes later."""
        self.clock.now = self.clock.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        spelled = {
            one: [float(load)] * 12 if isinstance(load, int | float) else list(load) for one, load in loads.items()
        }
        self.feed(spelled)
        return self.look()

    def look(self) -> Looked:
        self.clock.now = self.clock.now.replace(minute=6, second=0, microsecond=0)
        return intraday_look.look(self.works)

    def carry(self) -> None:
        """What is ordered is done by the cloud, and taken in."""
        orders.carry_all(self.book, self.city.pool, self.cloud, scale_outs.last_look)
        self.city.advance()
        with self.book.transaction(steward()) as tx:  # as the next reading of the inventory says
            for order in (one for one in self.cloud.acted.values() if one.verb is Verb.RESIZE):
                row = tx.query(Resource).filter_by(external_id=order.external_id).one()
                row.amounts = {**row.amounts, **order.amounts}

    def case(self, resource: int) -> Case | None:
        """The last case of a machine."""
        with self.book.reading() as tx:
            found = tx.query(Case).filter_by(resource_id=resource).order_by(Case.id.desc()).first()
            return None if found is None else self.city.see(found.id)

    def has(self, resource: int) -> Amount:
        with self.book.reading() as tx:
            return tx.get_one(Resource, resource).actual()


class FullPool:
    """The pool of a city with nothing free in it, so that what the department may still use is all that is left; both shrink and widen
    together. ``vcpu``: what the pool has, ``spare``: what of it the department does not use; by notes of its own."""

    def __init__(self, town: Surging, vcpu: int, spare: int) -> None:
        self.town, self.vcpu, self.spare, self.turns = town, vcpu, spare, 0
        with town.book.reading() as tx:
            self.cpu = Commodity(VCPU, Arch(tx.get_one(Pool, town.city.pool).arch))
        with town.city.by() as tx:
            entries.retire(tx, town.city.pool, {self.cpu: town.city.balance(Holder.FREE)}, key="pool:full")
        assert -town.city.balance(Holder.SUPPLY) == vcpu

    def shrink(self, vcpu: int) -> bool:
        """Take so much from the department and out of the pool, if that much is neither used nor on its way."""
        self.turns += 1
        key, what = f"pool:{self.turns}", {self.cpu: vcpu}
        try:
            with self.town.city.by() as tx:
                entries.reclaim(
                    tx, self.town.city.pool, self.town.city.department, what, key=f"{key}:r", source=Holder.GRANTED
                )
                entries.retire(tx, self.town.city.pool, what, key=key)
        except Refused:
            return False
        self.vcpu, self.spare = self.vcpu - vcpu, self.spare - vcpu
        return True

    def widen(self, vcpu: int) -> None:
        """Give so much back to both."""
        self.turns += 1
        key, what = f"pool:{self.turns}", {self.cpu: vcpu}
        with self.town.city.by() as tx:
            entries.provision(tx, self.town.city.pool, what, key=key)
            entries.grant(tx, self.town.city.pool, self.town.city.department, what, key=f"{key}:g")
        self.vcpu, self.spare = self.vcpu + vcpu, self.spare + vcpu
