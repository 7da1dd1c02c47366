"""A rehearsal (演练): the whole loop on a recording of real machines, in a scratch house, on the recording's own clock.

Everything goes through the verbs of the trade: capacity provisioned, quota granted, inventories observed and adopted,
samples collected, uses judged, cases heard, orders carried to a cloud that obeys. After every step the ledger is asked
the one query that proves it conserved. What the recording cannot tell (who owns a machine, how a department answers)
follows from ``RULES``, so that the same recording always gives the same rehearsal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import select

from metering import cases
from metering.cases import (
    OPEN,
    Answer,
    Case,
    CaseState,
    Category,
    Notice,
    RulingDecision,
    confirmed_by,
    openings,
    windows,
)
from metering.intake import collection
from metering.judging import BUILT_IN, CaseKind, findings, pipeline, policies
from metering.workbench import Progress, Workbench, silent
from providers import observation, orders
from providers.adapters.recorded import RecordedCloud, Recording
from providers.adapters.simulated import city
from providers.base import ServiceKind
from providers.orders import WorkOrder
from quota import inventory, ledger, requests
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE, WorkingDays, working_days
from quota.db import Tx
from quota.directory import CloudProvider, Department, Pool, catalog
from quota.directory import departments as agencies
from quota.errors import Refused
from quota.inventory import Resource
from quota.ledger import Holder, capacities
from quota.requests import Decision as Signature
from quota.requests import Request, RequestState, StepName, approvals, rulebook
from quota.units import MEMORY, VCPU, Amount, Arch

DEPARTMENTS = 12
POOLS = (("web", "互联网区", 0), ("gov", "政务外网区一", 0), ("gov2", "政务外网区二", 1))
COMPANIES = ("甲云", "乙云")
HEADROOM = 4  # a quarter of what it uses
SPARE = 2
HISTORY = 30
LONGEST = timedelta(days=150)
STILL = timedelta(days=35)  # longer than the recycle bin
WANTED = 10.0
DAY = timedelta(days=1)

RULES = (
    "Machines in order of their numbers: machine i belongs to department i mod 12 and to pool (i div 12) mod 3; two "
    "companies run the three pools. The recording tells no information systems, so none are made up.",
    "Each pool holds twice what its machines have at most. What runs is booked as used; each department is granted a "
    "quarter more than it uses in each pool.",
    "Memory provisioned moves in the source; the most that was told until a day is what the machine has on that day.",
    "The resources are judged on the first day of the recording's last calendar month (where that leaves less than 30 "
    "days before it: after two thirds of the recording), and anew every morning while there are samples (by a "
    "rule over the whole span, after the opening, every fifth). Cases are "
    "opened once: from the first judgement in which no more than half of the resources are unknown.",
    "On working days at 9 the supervisor reviews what is new, sends the notices, and acts on what is cleared; a second "
    "supervisor rules. Orders take 4 hours, every ninth takes 5 days.",
    "Of ten cases in the order of their opening, departments agree to the first five on the second working day, object "
    "to the next two, ask for an exemption in the eighth and are silent in the last two. Of objections and of silence "
    "every second one (by case number) is overruled, the other upheld; exemptions are granted for 90 days.",
    "A department wants a machine back that was switched off as soon as the recording shows it working: P95 of a day's "
    "CPU demand at or above 10 % of its former cores. A shrunk machine for which a rollback is proposed is rolled back.",
    "An expansion that is too large for the fast track becomes a request of the department, which submits it on the next "
    "working day; it is signed a step a working day.",
    "A resized machine meets the demand recorded, on its new shape: its use is as much higher as it is smaller, up to "
    "100 %. A machine that was switched off is silent.",
)
"""What the recording cannot tell, and how it is settled."""


class RehearsalClock:
    """The rehearsal's time; it never goes back."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def to(self, moment: datetime) -> None:
        self.now = max(self.now, moment)


@dataclass(slots=True)
class Rehearsed:
    """What came of it. ``runs``: morning → assessment; ``run``: the one that cases were opened from (0: none was);
    ``conserved``: of every step; ``steps``: {"at", "what", …}."""

    recording: Recording
    judged_on: date
    until: datetime
    runs: dict[date, int] = field(default_factory=dict)
    run: int = 0
    opening: int = 0
    policy: str = "default"
    conserved: bool = True
    checks: int = 0
    ended_at: datetime | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)  # machine -> (department, pool)


def judgement_day(recording: Recording) -> date:
    """When the recording's machines are judged; see RULES."""
    first, last = (moment.astimezone(ZONE).date() for moment in recording.span)
    month = last.replace(day=1)
    if (month - first).days >= HISTORY:
        return month
    return first + timedelta(days=max(1, (last - first).days * 2 // 3))


def rehearse(
    workbench: Workbench,
    clock: RehearsalClock,
    recording: Recording,
    *,
    rule: str = "default",
    progress: Progress = silent,
) -> Rehearsed:
    """Live through the recording in ``works``, an empty house whose clock is ``clock`` (at or before its first day)."""
    loop = _Loop(workbench, clock, recording, rule, progress)
    loop.found()
    loop.read_history()
    loop.judge()
    loop.live()
    return loop.done


class _Loop:
    def __init__(
        self, workbench: Workbench, clock: RehearsalClock, recording: Recording, rule: str, progress: Progress
    ) -> None:
        self.workbench, self.clock, self.recording, self.progress = workbench, clock, recording, progress
        self.rule = rule
        first, last = recording.span
        self.begins = datetime.combine(first.astimezone(ZONE).date(), time(), ZONE)
        self.ends = datetime.combine(last.astimezone(ZONE).date() + DAY, time(), ZONE)
        self.done = Rehearsed(recording, judgement_day(recording), self.ends, policy=rule)
        self.clouds: dict[int, RecordedCloud] = {}
        self.rank: dict[int, int] = {}  # case -> place in the order of opening
        self.actors: dict[str, Actor] = {}

    # ---------------------------------------------------------------------------------------------------- bookkeeping

    @contextmanager
    def by(self, who: str, what: str = "", **facts: Any) -> Iterator[Tx]:
        """A transaction of ``who``; afterwards the ledger is proven, and the step noted if it has a name."""
        with self.workbench.book.transaction(self.actors.get(who) or steward(who)) as tx:
            yield tx
        self.prove()
        if what:
            self.note(what, **facts)

    def prove(self) -> None:
        """The one query, after every step."""
        with self.workbench.book.reading() as tx:
            self._proven(tx)

    def _proven(self, tx: Tx) -> None:
        self.done.conserved &= ledger.conserved(tx)
        self.done.checks += 1

    def note(self, what: str, **facts: Any) -> None:
        at = self.clock.now.astimezone(ZONE).isoformat(timespec="minutes")
        self.done.steps.append({"at": at, "what": what, **facts, "conserved": self.done.conserved})

    # ------------------------------------------------------------------------------------------------------- founding

    def found(self) -> None:
        """Departments, companies, pools with their machines' capacity, the catalogue, the policy."""
        names = self.recording.names
        most = self.ends.timestamp()
        with self.by("init", "found", machines=len(names), departments=DEPARTMENTS, pools=len(POOLS)) as tx:
            rulebook.default_rules(tx)
            policy = BUILT_IN[self.rule]()
            policies.enact(tx, replace(policy, effective_from=self.begins.date()), reason="演练所用策略")
            codes = [f"d{number + 1:02d}" for number in range(DEPARTMENTS)]
            for number, code in enumerate(codes):
                agencies.register(tx, code, f"单位{number + 1:02d}")
            firms = [CloudProvider(code=f"c{number}", name=name, active=True) for number, name in enumerate(COMPANIES)]
            tx.add_all(firms)
            tx.flush()
            for item in city.catalogue():
                if item.service is ServiceKind.VM:
                    catalog.offer(tx, item.code, item.name, item.service.value, Amount(item.amounts), list(item.archs))
            for number, (code, name, firm) in enumerate(POOLS):
                members = {
                    machine: codes[i % DEPARTMENTS]
                    for i, machine in enumerate(names)
                    if i // DEPARTMENTS % len(POOLS) == number
                }
                self.done.owners |= {machine: (owner, code) for machine, owner in members.items()}
                row = Pool(
                    code=code,
                    name=name,
                    provider_id=firms[firm].id,
                    arch=Arch.X86_64.value,
                    zone=name,
                    xinchuang=False,
                    adapter="recorded",
                    adapter_options={},
                    active=True,
                )
                tx.add(row)
                tx.flush()
                self._equip(tx, row, [self.recording.size(machine, most) for machine in members])
                self.clouds[row.id] = self.workbench.opened[row.id] = RecordedCloud(self.recording, members, name=code)
            departments = {one.code: one.id for one in tx.scalars(select(Department))}
        self.actors = {
            "supervisor": Actor("supervisor", "监督甲", Role.SUPERVISOR),
            "second": Actor("second", "监督乙", Role.SUPERVISOR),
            "authority": Actor("authority", "主管", Role.AUTHORITY),
            **{
                f"tenant:{one}": Actor(code, f"{code}经办", Role.TENANT, department_id=one)
                for code, one in departments.items()
            },
        }
        # Its people act at 9: by night alone, as where nobody set a window, nothing that a recorded cloud shuts down would be done.
        with self.workbench.book.transaction(self.actors["supervisor"]) as tx:
            windows.set_window(tx, "1234567", 0, 1440)

    def _equip(self, tx: Tx, pool: Pool, sizes: list[tuple[int | None, int | None]]) -> None:
        for kind, total in (
            (VCPU, sum(cores or 0 for cores, _ in sizes)),
            (MEMORY, sum(memory or 0 for _, memory in sizes)),
        ):
            if total:
                capacities.equip(tx, pool, kind, SPARE * total + 1024, key=f"equip:{pool.code}:{kind}")

    # -------------------------------------------------------------------------------------------------------- reading

    def read_history(self) -> None:
        """Month by month up to the day of judgement; what runs by then is booked."""
        judged = datetime.combine(self.done.judged_on, time(), ZONE)
        moment = self.begins
        while moment < judged:
            following = (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
            moment = min(following, judged)
            self.clock.to(moment)
            self.collect(moment, "import")
        for pool in self.workbench.pools():
            with self.by("init", "grant", pool=pool.code) as tx:
                for account in ledger.balances(tx, pool_id=pool.id):
                    if account.holder == Holder.USED and account.balance // HEADROOM and account.department_id:
                        ledger.grant(
                            tx,
                            pool.id,
                            account.department_id,
                            {account.commodity: account.balance // HEADROOM},
                            key=f"headroom:{account.code}",
                        )

    def collect(self, until: datetime, what: str = "") -> None:
        """Read every pool up to ``until``, book what is new, close the days."""
        taken, refused, rows = 0, 0, 0
        for pool in self.workbench.pools():
            found = collection.collect(self.workbench, pool, until=until)
            taken, rows, refused = taken + found.taken, rows + found.rows, refused + sum(found.refused.values())
            self.prove()
            with self.by("init") as tx:
                inventory.adopt(tx, tx.get_one(Pool, pool.id))
        self.workbench.lake.roll([day for day in self.workbench.lake.hot_days() if day < until.astimezone(ZONE).date()])
        self.progress(
            "rehearse", int((until - self.begins).total_seconds()), int((self.ends - self.begins).total_seconds())
        )
        if what:
            self.note(what, until=until.date().isoformat(), rows=rows, taken=taken, values_refused=refused)

    # -------------------------------------------------------------------------------------------------------- judging

    def judge(self) -> None:
        """Judge this morning; open cases if none were and enough is known."""
        morning = self.clock.now.astimezone(ZONE).date()
        run = pipeline.judge(self.workbench, morning, policy_name=self.rule)
        self.prove()
        self.done.runs[morning] = run.id
        if self.done.run:
            return
        self.note("judge", as_of=morning.isoformat(), classes=dict(run.counts))
        if run.counts.get("unknown", 0) * 2 > run.resources:
            return
        self.done.run = run.id
        with self.by("init") as tx:
            opening = openings.open_from(tx, findings.assessment(tx, run.id))
            self.done.opening = opening.id
            self.rank = {case_id: place for place, case_id in enumerate(opening.opened)}
        self.note("open", cases=len(opening.opened), passed_over=opening.why())

    # --------------------------------------------------------------------------------------------------------- living

    def live(self) -> None:
        """Day by day until the recording is over and no case is open or moves any more, 150 days at most."""
        day = datetime.combine(self.done.judged_on, time(), ZONE)
        last = day + LONGEST
        with self.workbench.book.reading() as tx:
            calendar = working_days(tx)
        moved, steps = day, 0
        while day <= last:
            if len(self.done.steps) > steps:
                moved, steps = day, len(self.done.steps)
            self._morning(day)
            if calendar.is_working(day.date()):
                self.clock.to(day.replace(hour=9))
                self._office(calendar)
            for hour in (10, 15, 20):
                self.clock.to(day.replace(hour=hour))
                self._carry()
            if day >= self.ends and (not self._open() or day - moved > STILL):
                break
            day += DAY
        self.done.ended_at = self.clock.now

    def _morning(self, day: datetime) -> None:
        if self.done.judged_on < day.date() and day <= self.ends:
            self.clock.to(day.replace(hour=1))
            self.collect(day)
            if not self.done.run or BUILT_IN[self.rule]().reach() or (self.ends - day).days % 5 == 0:
                self.judge()  # a whole span is long to look at: after the opening, every fifth morning
            if day == self.ends:
                self.note("import", until=day.date().isoformat())
        self.clock.to(day.replace(hour=2))
        if day > self.ends:
            self._list()
        self._advance()

    def _list(self) -> None:
        """The recording is over, the clouds are still there: what is off or in the bin is seen to be so."""
        for pool_id, cloud in self.clouds.items():
            with self.by("init") as tx:
                observation.observe(tx, tx.get_one(Pool, pool_id), cloud.inventory(self.clock.now), caution=None)

    def _advance(self) -> None:
        with self.by("cases") as tx:
            done = cases.advance(tx)
        told = {name: len(getattr(done, name)) for name in ("reminded", "consented", "moved", "closed", "suspended")}
        if any(told.values()):
            self.note("advance", **{name: count for name, count in told.items() if count})

    def _carry(self) -> None:
        """Orders of requests placed, everything carried, what came of it taken into the cases."""
        with self.workbench.book.reading() as tx:
            due = requests.reservations.due(tx)
        if due:
            with self.by("delivery") as tx:
                for request_id in due:
                    orders.place_for_request(tx, tx.get_one(Request, request_id))
        else:
            self.prove()
        delivered: list[int] = []
        for pool_id, cloud in self.clouds.items():
            round_ = orders.carry_all(self.workbench.book, pool_id, cloud, cases.last_look)
            self.prove()
            delivered += round_.delivered
        if delivered:
            with self.workbench.book.reading() as tx:
                verbs = tx.scalars(select(WorkOrder.verb).where(WorkOrder.id.in_(delivered))).all()
            self.note("deliver", **{verb: list(verbs).count(verb) for verb in sorted(set(verbs))})
            self._advance()

    def _open(self) -> int:
        with self.workbench.book.reading() as tx:
            return len(tx.scalars(select(Case.id).where(Case.state != CaseState.CLOSED.value)).all())

    def _office(self, calendar: WorkingDays) -> None:
        """One working day's work, each person in turn."""
        work: dict[CaseState, list[int]] = {state: [] for state in OPEN}
        with self.workbench.book.reading() as tx:
            standing = select(Case.state, Case.id).where(Case.state.in_([one.value for one in OPEN])).order_by(Case.id)
            for state, case_id in tx.execute(standing):
                work[CaseState(state)].append(case_id)
            asked = _requests(tx, RequestState.DRAFT)
            signed = [one for one, _of in _requests(tx, RequestState.IN_REVIEW)]
            handed = _requests(tx, RequestState.ACCEPTING)
        told = {
            "submit": sum(self._try(f"tenant:{of}", partial(_submit, one)) for one, of in asked),
            "sign": sum(self._sign(one) for one in signed),
            "accept": sum(self._try(f"tenant:{of}", partial(_accept, one)) for one, of in handed),
        }
        for what, count in told.items():
            if count:
                self.note(what, requests=count)
        if work[CaseState.DETECTED]:
            with self.by("supervisor", "notice", cases=len(work[CaseState.DETECTED])) as tx:
                reviewed = [cases.review(tx, tx.get_one(Case, one)) for one in work[CaseState.DETECTED]]
                cases.issue(tx, reviewed)
        said: dict[str, int] = {}
        for case_id, department, answer in self._answers(calendar):
            if self._reply(case_id, department, answer):
                said[answer.value] = said.get(answer.value, 0) + 1
        if said:
            self.note("reply", **said)
        self._each("second", "rule", work[CaseState.DISPUTED], _rule)
        self._each("supervisor", "act", work[CaseState.CLEARED], cases.act)
        self._each("supervisor", "roll_back", work[CaseState.STRAINED], _back)
        for who in ("supervisor", "authority"):
            self._each(who, "confirm_deletion", work[CaseState.CONFIRMING], _confirm)
        self._wanted_back([*work[CaseState.WATCHED], *work[CaseState.BINNED], *work[CaseState.CONFIRMING]])

    def _each(self, who: str, what: str, members: list[int], verb: Callable[[Tx, Case], Any]) -> None:
        """``verb`` on each case, of all of them in one transaction: one that is refused does not keep the others, and the ledger
        is proven after each."""
        if not members:
            return
        done = 0
        with self.workbench.book.transaction(self.actors[who]) as tx:
            for case_id in members:
                try:
                    with tx.apart():
                        verb(tx, tx.get_one(Case, case_id))
                except Refused as refused:
                    self.note("refused", by=who, code=refused.code, why=str(refused))
                else:
                    done += 1
                    self._proven(tx)
        if done:
            self.note(what, cases=done)

    def _try(self, who: str, act: Callable[[Tx], Any]) -> bool:
        try:
            with self.by(who) as tx:
                act(tx)
        except Refused as refused:
            self.note("refused", by=who, code=refused.code, why=str(refused))
            return False
        return True

    def _answers(self, calendar: WorkingDays) -> list[tuple[int, int | None, Answer]]:
        """The noticed cases that are answered today, each with its department: on the second working day after the notice, as the
        case's place has it."""
        noticed = (
            select(Case.id, Case.kind, Case.department_id, Notice.issued_at)
            .join(Notice, Notice.id == Case.notice_id)
            .where(Case.state == CaseState.NOTICED.value)
            .order_by(Case.id)
        )
        found: list[tuple[int, int | None, Answer]] = []
        with self.workbench.book.reading() as tx:
            for case_id, kind, department, issued in tx.execute(noticed):
                place = self.rank.get(case_id, case_id) % 10
                if place >= 8 or calendar.between(issued, self.clock.now) != 2:
                    continue
                agrees = place < 5 or kind == CaseKind.EXPAND.value
                answer = Answer.AGREE if agrees else Answer.OBJECT if place < 7 else Answer.EXEMPT
                found.append((case_id, department, answer))
        return found

    def _reply(self, case_id: int, department: int | None, answer: Answer) -> bool:
        more: dict[str, Any] = {}
        if answer is Answer.OBJECT:
            more = {"reason": "该主机承担批处理业务，请暂缓处置"}
        elif answer is Answer.EXEMPT:
            today = self.clock.now.astimezone(ZONE).date()
            more = {
                "reason": "等级保护测评期间需保持现状",
                "category": Category.EVALUATION,
                "until": today + timedelta(days=90),
            }
        return self._try(f"tenant:{department}", lambda tx: cases.reply(tx, tx.get_one(Case, case_id), answer, **more))

    def _sign(self, request_id: int) -> bool:
        """The step that is under way is signed by whose turn it is, never two steps by one person."""

        def sign(tx: Tx) -> None:
            one = tx.get_one(Request, request_id)
            approvals.sign(tx, one, decision=Signature.APPROVE, generation=one.generation)

        with self.workbench.book.reading() as tx:
            one = tx.get_one(Request, request_id)
            step = one.current.name if one.current else ""
            who = {str(StepName.FORM_CHECK): "supervisor", str(StepName.TECHNICAL_REVIEW): "second"}.get(
                step, "authority"
            )
        return self._try(who, sign)

    def _wanted_back(self, members: list[int]) -> None:
        """Departments notice that a machine is missing when it would have worked."""
        now = self.clock.now.timestamp()
        with self.workbench.book.reading() as tx:
            taken = (
                select(Case.id, Resource.external_id, Case.shape, Case.department_id)
                .join(Resource, Resource.id == Case.resource_id)
                .where(Case.id.in_(members), Case.kind == CaseKind.RECLAIM.value, Case.effective_at.is_not(None))
            )
            found = {row.id: row for row in tx.execute(taken)}
        for case_id, name, shape, department in (found[one] for one in members if one in found):
            cores = Amount.from_json(shape).get(VCPU)
            if _works(self.recording, name, now - 86_400, now, cores) and self._try(
                f"tenant:{department}", partial(_restore, case_id)
            ):
                self.note("restore", machine=name)


def _works(recording: Recording, name: str, since: float, until: float, cores: int | None) -> bool:
    """Whether the recording shows a machine at work: P95 of its CPU demand against ``cores``."""
    _, asked, _ = recording.demand(name, since, until)
    return bool(cores and len(asked) and np.percentile(asked, 95) / cores * 100 >= WANTED)


def _requests(tx: Tx, state: RequestState) -> list[tuple[int, int]]:
    """(id, department) of the requests in a state."""
    return [
        (one, of)
        for one, of in tx.execute(select(Request.id, Request.department_id).where(Request.state == state.value))
    ]


def _restore(case_id: int, tx: Tx) -> None:
    cases.restore(tx, tx.get_one(Case, case_id))


def _submit(request_id: int, tx: Tx) -> None:
    one = tx.get_one(Request, request_id)
    requests.submit(tx, one, generation=one.generation)


def _accept(request_id: int, tx: Tx) -> None:
    orders.accept_request(tx, request_id, tx.get_one(Request, request_id).generation)


def _rule(tx: Tx, case: Case) -> None:
    if case.matter == "exemption":
        cases.rule(tx, case, RulingDecision.EXEMPT, "测评期内准予豁免，到期自动恢复评估")
    elif case.id % 2:
        cases.rule(tx, case, RulingDecision.PROCEED, "监测数据显示该资源长期空闲，继续执行")
    else:
        cases.rule(tx, case, RulingDecision.UPHOLD, "使用单位所述业务属实，撤销本案")


def _back(tx: Tx, case: Case) -> None:
    cases.roll_back(tx, case)


def _confirm(tx: Tx, case: Case) -> None:
    if case.state == CaseState.CONFIRMING and tx.actor.login not in confirmed_by(case):
        cases.confirm_deletion(tx, case)
