"""Two peaks that were declared beforehand (重保) in the demo city: one weeks ago, for which a machine grew the day before and went back when
it was over; one that is still to come, and waits.

What was lent goes back on a judgement of a week since, so the first ends the day before the last of the city's early judgements and began more
than a week before that. Its days are calendar days: a peak is no working day's matter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select

from metering.cases import Case, CaseState
from metering.judging import Finding, Verdict, findings
from metering.workbench import Workbench
from providers import orders
from providers.base import ResourceState, ServiceKind
from quota import requests
from quota.actors import Actor, Role, steward
from quota.db import Tx
from quota.errors import Refused
from quota.inventory import Resource
from quota.requests import Ask, Line, Request, RequestState, approvals, kinds, notices
from quota.units import MEMORY, VCPU

DAY = timedelta(days=1)
PAST = "示例：防汛应急会商视频保障"
TO_COME = "示例：年终决算集中报送"
SIGNS = {"form_check": "supervisor", "technical_review": "supervisor2"}
"""Step → who signs it; the others are the authority's."""


class Peaks:
    """Lived a day at a time, at nine in the morning. ``judged``: a day on whose morning the city was judged; ``last``: today."""

    def __init__(self, workbench: Workbench, people: Mapping[str, Actor], judged: date, last: date) -> None:
        self.workbench, self.people = workbench, people
        self.clerks = [one for one in people.values() if one.role is Role.TENANT and one.login != "district"]
        self.days = {
            judged - 15 * DAY: (PAST, judged - 9 * DAY, judged - DAY),
            last - 4 * DAY: (TO_COME, last + 12 * DAY, last + 16 * DAY),
        }
        self.past: int | None = None

    def day(self, day: date) -> None:
        """What is done about peaks on ``day``, and what the jobs do of terms."""
        if day in self.days:
            self._reserve(*self.days[day])
        self._accept()
        with self.workbench.book.transaction(steward("job:remind")) as tx:
            notices.remind_of_terms(tx, orders.returned(tx))
            orders.returns.return_all(tx)

    def _reserve(self, occasion: str, begins: date, until: date) -> None:
        """The first of the clerks whose department has the quota and a machine that stands at rest asks; it is signed on the spot."""
        clerks = self.clerks if occasion == PAST else self.clerks[::-1]
        for clerk in clerks:
            try:
                with self.workbench.book.transaction(clerk) as tx:
                    machine = _machine(tx, int(clerk.department_id or 0))
                    if machine is None:
                        continue
                    one = requests.draft(tx, _ask(machine, occasion, begins, until))
                    requests.submit(tx, one, generation=one.generation)
                    number = one.id
            except Refused:
                continue
            self._sign(number)
            self.past = number if occasion == PAST else self.past
            return

    def _sign(self, number: int) -> None:
        while True:
            with self.workbench.book.reading() as tx:
                one = requests.request(tx, number)
                if one.state != RequestState.IN_REVIEW or one.current is None:
                    return
                who, generation = SIGNS.get(one.current.name, "authority"), one.generation
            with self.workbench.book.transaction(self.people[who]) as tx:
                approvals.sign(tx, number, decision=approvals.Decision.APPROVE, generation=generation)

    def _accept(self) -> None:
        """What grew for the peak is looked at and accepted."""
        if self.past is None:
            return
        with self.workbench.book.reading() as tx:
            one = requests.request(tx, self.past)
            state, generation, department = one.state, one.generation, one.department_id
        if state == RequestState.ACCEPTING:
            clerk = next(one for one in self.clerks if one.department_id == department)
            with self.workbench.book.transaction(clerk) as tx:
                orders.accept_request(tx, self.past, generation)


def _ask(machine: Resource, occasion: str, begins: date, until: date) -> Ask:
    has = machine.actual()
    twice: dict[Any, int] = {cls: 2 * has[cls] for cls in (VCPU, MEMORY)}
    line = Line(asked=twice, current=machine.counts(), service=machine.kind, name=machine.name)
    return Ask(
        kinds.TEMPORARY,
        int(machine.department_id or 0),
        machine.pool_id,
        lines=[line],
        justification="按往年同期峰值的两倍并发测算，期满自动恢复原规格",
        resource_id=machine.id,
        use_until=until,
        fields={"occasion": occasion, "begins": begins.isoformat(), "ahead": "24"},
    )


def _machine(tx: Tx, department_id: int) -> Resource | None:
    """The machine of the department that the last judgement found to be at work and far from its ceiling, and about which nothing is
    under way; the smallest of several."""
    run = findings.last_run(tx)
    busy = select(Case.resource_id).where(Case.state != CaseState.CLOSED.value)
    asked = select(Request.resource_id).where(Request.resource_id.is_not(None))
    query = (
        select(Finding)
        .join(Resource, Resource.id == Finding.resource_id)
        .where(
            Finding.assessment_id == (run.id if run else -1),
            Finding.verdict == Verdict.NORMAL.value,
            Resource.department_id == department_id,
            Resource.kind == ServiceKind.VM.value,
            Resource.state == ResourceState.RUNNING.value,
            Resource.gone_at.is_(None),
            Resource.id.not_in(busy),
            Resource.id.not_in(asked),
        )
    )
    calm = [one.resource for one in tx.scalars(query) if _calm(one) and one.resource.booked]
    return min(calm, key=lambda one: (one.actual().get(VCPU, 0), one.id), default=None)


def _calm(finding: Finding) -> bool:
    """Whether its use stays well below its size over every window that was measured."""
    windows = finding.numbers.get("windows", {}).values()
    used = [window.get(figure) for window in windows for figure in ("cpu_p95", "mem_p95")]
    known = [one for one in used if one is not None]
    return bool(known) and max(known) < 70
