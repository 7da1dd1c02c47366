"""What a city of the tests does about idle machines: judged by hand, noticed, answered, acted on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from metering import cases
from metering.judging import findings, policies
from metering.judging.findings import Judged
from metering.judging.policy import Verdict
from providers import orders as delivery
from providers.base import ResourceState, ServiceKind
from providers.orders.tables import OrderState, WorkOrder
from quota.actors import Actor
from quota.calendar import ZONE
from quota.db import Book, Tx
from quota.directory.pools import Pool
from quota.inventory import Resource
from quota.ledger import entries
from quota.units import MEMORY, NOTHING, VCPU, Amount, Arch
from tests.city.plans import GB, SMALL

SHAPE: Amount = Amount({VCPU: 16, MEMORY: 32 * GB})


class CaseActs:
    if TYPE_CHECKING:
        book: Book
        clock: Any
        pool: int
        department: int
        policy: int
        machines: int
        supervisor: Actor
        tenant: Actor
        provider: Any

        def by(self, actor: Actor | None = None) -> AbstractContextManager[Tx]: ...

    def machine(
        self,
        shape: Amount = SHAPE,
        kind: ServiceKind = ServiceKind.VM,
        state: ResourceState = ResourceState.RUNNING,
        **more: Any,
    ) -> int:
        """A machine of the department's, booked as used. Returns its id."""
        self.machines += 1
        spelled = {**shape}
        with self.by() as tx:
            arch = Arch(tx.get_one(Pool, self.pool).arch)
            what = Amount(shape).of_arch(arch)
            owner = more.pop("department_id", self.department)
            if owner is not None:
                entries.grant(tx, self.pool, owner, what, key=f"grant:{self.machines}")
                entries.use(tx, self.pool, owner, what, key=f"use:{self.machines}")
            row = Resource(
                pool_id=self.pool,
                external_id=f"vm-{self.machines}",
                name=f"机器{self.machines}",
                kind=kind.value,
                arch=arch.value,
                amounts=spelled,
                booked=spelled if owner is not None else {},
                state=state.value,
                department_id=owner,
                basis="adopted",
                first_seen_at=tx.now - timedelta(days=400),
                **{"protected": False, "tags": {}, **more},
            )
            tx.add(row)
            tx.flush()
            return row.id

    def judge(
        self,
        verdicts: Mapping[int, Verdict],
        *,
        target: Amount = SMALL,
        p95: float = 2.0,
        policy: int | None = None,
        means: Mapping[int, float] | None = None,
        frees: Mapping[int, Amount] | None = None,
        of_present: Mapping[str, float] | None = None,
    ) -> int:
        """An assessment of these machines on data up to yesterday. Returns its id."""
        self.clock.advance(seconds=1)  # one run is one instant
        with self.by() as tx:
            rows = []
            for resource_id, verdict in verdicts.items():
                shape = tx.get_one(Resource, resource_id).actual()
                rows.append(
                    Judged(
                        resource_id,
                        verdict,
                        0.2 if verdict is Verdict.UNKNOWN else 0.99,
                        {
                            "windows": {
                                days: {"cpu_p95": p95, "cpu_mean": (means or {}).get(resource_id)}
                                for days in ("7", "30")
                            },
                            **({"of_present": of_present} if of_present else {}),
                        },
                        [],
                        shape,
                        Amount(target),
                        (frees or {}).get(resource_id, NOTHING),
                    )
                )
            yesterday = tx.now.astimezone(ZONE).date() - timedelta(days=1)
            version = policies.version(tx, policy or self.policy)
            return findings.record(tx, version, yesterday - timedelta(days=29), yesterday, tx.now, "by hand", rows).id

    def open(self, verdicts: Mapping[int, Verdict], **more: Any) -> list[int]:
        """Judge, and open cases from it. Returns their ids, as ranked."""
        run = self.judge(verdicts, **more)
        with self.by() as tx:
            return list(cases.open_from(tx, findings.assessment(tx, run)).opened)

    def noticed(self, verdict: Verdict = Verdict.IDLE, resource_id: int | None = None, **more: Any) -> int:
        """A case whose department has been noticed. Returns its id."""
        (case_id,) = self.open({resource_id or self.machine(): verdict}, **more)
        with self.by(self.supervisor) as tx:
            one = cases.case(tx, case_id)
            cases.review(tx, one, generation=one.generation)
            cases.issue(tx, [one], generations={one.id: one.generation})
        return case_id

    def cleared(self, verdict: Verdict = Verdict.IDLE, resource_id: int | None = None, **more: Any) -> int:
        """A case that the department agreed to. Returns its id."""
        case_id = self.noticed(verdict, resource_id, **more)
        with self.by(self.tenant) as tx:
            cases.reply(tx, cases.case(tx, case_id), cases.Answer.AGREE)
        return case_id

    def act(self, case_id: int) -> str:
        """Judge again as before, and act. Returns the state after it."""
        with self.by(self.supervisor) as tx:
            one = cases.case(tx, case_id)
            cases.act(tx, one, generation=one.generation)
            return one.state

    def deliver(self, case_id: int) -> str:
        """The provider's staff does what is ordered; the next job takes it in. Returns the case's state."""
        with self.by(self.provider) as tx:
            order = cases.current_order(tx, tx.get_one(cases.Case, case_id))
            assert order is not None
            delivery.mark_delivered(tx, order.id, order.generation)
        return self.advance(case_id)

    def listed(self) -> None:
        """The cloud lists all that it has, as the book knows it."""
        with self.by() as tx:
            tx.execute(update(Resource).where(Resource.pool_id == self.pool).values(last_seen_at=tx.now))

    def advance(self, case_id: int | None = None, **by: float) -> str:
        """Let time pass, then run the job. Returns the state of the case."""
        if by:
            self.clock.advance(**by)
        self.listed()
        with self.by() as tx:
            done = cases.advance(tx)
            assert not done.refused, done.refused
            return tx.get_one(cases.Case, case_id).state if case_id else ""

    def see(self, case_id: int) -> cases.Case:
        """The case as it stands; with what belongs to it, read at once."""
        with self.book.reading() as tx:
            one = tx.get_one(cases.Case, case_id)
            _ = (one.resource, one.notice, one.replies, one.rulings, one.confirmations, one.policy_version)
            return one

    def orders(self, case_id: int) -> list[WorkOrder]:
        with self.book.reading() as tx:
            return list(tx.scalars(select(WorkOrder).where(WorkOrder.case_id == case_id).order_by(WorkOrder.id)))

    def verbs(self, case_id: int) -> list[str]:
        """What was delivered for a case, in order."""
        done = (OrderState.DELIVERED, OrderState.ACCEPTED)
        return [one.verb for one in self.orders(case_id) if one.state in done]
