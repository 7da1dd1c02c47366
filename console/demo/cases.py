"""Two months of cases in the demo city: told, answered, disputed, ruled on, carried out, had back, deleted by two.

Everything is done by the verbs of the trade, by the people of the demo, on the demo's clock; the clouds obey and their
later samples show it. Who has no account in the demo stays silent, as departments do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import cycle
from typing import TYPE_CHECKING

from sqlalchemy import select

from metering import cases, scale_outs
from metering.cases import Answer, Case, CaseState, Category, RulingDecision, openings, windows
from metering.judging import CALLS_FOR, TAKES, Assessment, CaseKind, Finding, findings, pipeline
from metering.workbench import Workbench
from providers import orders
from providers.orders import WorkOrder
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE, WorkingDays
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, Refused

if TYPE_CHECKING:
    from console.demo.calendar import Calendar

PILOT, AGAIN, LEFT = 45, 24, 3
"""Cases that take something of the first run, which began small; of which departments are told today; and that wait for
the supervisor's look at the least."""

EACH, SHRINKS = 4, 2
"""How many cases of the pilot a department has, all that are reclaimed apart; and how many of them, of one that can
answer, are of machines to be made smaller: the others wait for today's letters."""

JUDGED = 31
"""Days of samples before the first letters."""

REASONS = (
    N_("该系统承担年度审核业务，每年十二月达到高峰"),
    N_("备用节点，主节点故障时须立即接管全部业务"),
    N_("正在做等级保护测评，测评期间不得改变配置"),
)


ANSWERS: Mapping[CaseKind, tuple[Answer | None, ...]] = {
    CaseKind.RECLAIM: (
        Answer.AGREE, Answer.OBJECT, Answer.EXEMPT, Answer.AGREE, None, Answer.OBJECT, Answer.AGREE, None, Answer.OBJECT,
    ),
    CaseKind.SHRINK: (Answer.AGREE, Answer.OBJECT, Answer.AGREE, None),
    CaseKind.EXPAND: (Answer.AGREE, Answer.AGREE, Answer.AGREE, Answer.AGREE, None),
}  # fmt: skip
"""What departments answer, in turn for the cases of a kind, over and over; None: nothing."""


@dataclass(frozen=True, slots=True)
class Course:
    """The days of the first cases. What people do is so many working days before something; what rests, off or in the
    recycle bin, does so for calendar days. ``judged_from``: the first day of samples that is needed."""

    judged_from: date
    began: date
    answered: date
    ruled: date
    acted: date
    silent: date

    def after(self, days: int) -> date:
        return self.acted + timedelta(days=days)


def course(today: date) -> Course:
    """The days of the first cases as of ``today``: acted on early enough for one of them to be at its end, told of and
    answered in the working days before, whatever holidays lie there."""
    calendar = WorkingDays()
    acted = calendar.worked(today - timedelta(days=51))
    began = calendar.worked(acted, 5)
    # Who was reminded when others were acted on has five working days from then.
    silent = max(acted + timedelta(days=17), calendar.due(_ten(acted), 5).date() + timedelta(days=1))
    return Course(
        began - timedelta(days=JUDGED), began, calendar.worked(acted, 3), calendar.worked(acted, 1), acted, silent
    )


def _ten(day: date) -> datetime:
    return datetime.combine(day, time(10), ZONE)


def live(workbench: Workbench, clock: Calendar, when: Course, read: Callable[[datetime], None]) -> None:
    """Live through the weeks of ``when``. ``read`` collects the clouds up to an instant."""
    city = _Town(workbench, clock)

    def on(day: date) -> None:
        clock.to(_ten(day))
        read(clock.now)
        city.job()

    on(when.began)
    city.open(pipeline.judge(workbench, when.began))
    city.tell()
    on(when.answered)
    city.answer()
    on(when.ruled)
    city.rule()
    # Nothing is done on a judgement that is older than a week, and a holiday may lie between the first one and here.
    on(when.acted)
    pipeline.judge(workbench, when.acted)
    city.act()
    city.carry(3)
    on(when.after(8))
    city.have_back(1)
    on(when.after(15))
    pipeline.judge(workbench, when.after(15))
    city.act()
    city.carry(3)
    on(when.after(16))
    city.carry(3)
    on(when.silent)
    city.rule()
    city.act()
    city.carry(3)
    for days in (26, 34):
        on(when.after(days))
        city.carry(2)
    on(when.after(47))
    city.confirm()
    city.carry(2)
    on(when.after(50))


class _Town:
    """Who does what, by turns."""

    def __init__(self, workbench: Workbench, clock: Calendar) -> None:
        self.workbench, self.clock = workbench, clock
        with workbench.book.reading() as tx:
            people = {one.login: one for one in tx.scalars(select(Person))}
        self.people = {
            login: Actor(one.login, one.name, Role(one.role), one.department_id, one.provider_id)
            for login, one in people.items()
        }
        self.supervisor, self.second = self.people["supervisor"], self.people["supervisor2"]
        self.authority = self.people["authority"]
        self.tenants = {
            one.department_id: one for one in reversed(list(self.people.values())) if one.role is Role.TENANT
        }

    def job(self) -> None:
        with self.workbench.book.transaction(steward("job:cases")) as tx:
            cases.advance(tx)

    def carry(self, rounds: int) -> None:
        """The clouds do what was ordered, and the cases take it in, as long as something is ordered."""
        for _ in range(rounds):
            self.clock.to(self.clock.now + timedelta(minutes=30))
            carried = 0
            for pool in self.workbench.pools():
                with self.workbench.book.reading() as tx:  # requests have their own days
                    due = [one for one in orders.waiting(tx, pool.id) if tx.get_one(WorkOrder, one).case_id is not None]
                for order_id in due:
                    orders.carry(self.workbench.book, order_id, self.workbench.provider(pool), scale_outs.last_look)
                carried += len(due)
            if not carried:
                return
            self.job()

    def _open(self, tx: Tx, *states: CaseState) -> Sequence[Case]:
        query = select(Case).where(Case.state.in_([state.value for state in states]))
        return tx.scalars(query.order_by(Case.worth.desc(), Case.id)).all()

    def open(self, run: Assessment) -> None:
        """The pilot: what the departments have that can answer, chosen by hand, and others up to its size."""
        chosen: Counter[tuple[int | None, CaseKind]] = Counter()
        with self.workbench.book.transaction(self.supervisor) as tx:
            for one in findings.of_run(tx, run, *(verdict for verdict, kind in CALLS_FOR.items() if kind in TAKES)):
                key = one.resource.department_id, CALLS_FOR[one.is_now()]
                if key[0] in self.tenants and (key[1] is CaseKind.RECLAIM or chosen[key] < SHRINKS):
                    chosen[key] += self._opened(tx, one)
        with self.workbench.book.transaction(steward("job:cases")) as tx:
            openings.open_from(tx, findings.assessment(tx, run.id), per_run=PILOT, per_department=EACH)

    def _opened(self, tx: Tx, finding: Finding) -> bool:
        """Whether a case could be opened; what cannot be is left."""
        try:
            openings.open_one(tx, finding)
        except Refused:
            return False
        return True

    def tell(self, count: int = 1000, leave: int = 0) -> None:
        """The supervisor looks at cases, those of departments that can answer first, drops one, and tells the others; at
        the least so many are left for another day."""
        with self.workbench.book.transaction(self.supervisor) as tx:
            found = list(self._open(tx, CaseState.DETECTED))
            found.sort(key=lambda one: (one.department_id not in self.tenants, -one.worth, one.id))
            found = found[: min(count, len(found) - leave)]
            for number, one in enumerate(found):
                if number == len(found) - 1:
                    cases.dismiss(tx, one, N_("名称标明为演练环境，另行核实后再办"))
                else:
                    cases.review(tx, one, note=N_("数字与台账相符"))
            cases.issue(tx, self._open(tx, CaseState.REVIEWED), text=N_("请按期逐项答复，并附上依据"))

    def answer(self) -> None:
        """Departments that have an account answer most of what they were asked."""
        with self.workbench.book.reading() as tx:
            waiting = [
                (one.id, self.tenants[one.department_id], CaseKind(one.kind))
                for one in self._open(tx, CaseState.NOTICED)
                if one.department_id in self.tenants
            ]
        until = (self.clock.now + timedelta(days=150)).astimezone(ZONE).date()
        turns = {kind: cycle(answers) for kind, answers in ANSWERS.items()}
        for number, (case_id, tenant, kind) in enumerate(waiting):
            said = next(turns[kind])
            if said is None:
                continue
            with self.workbench.book.transaction(tenant) as tx:
                one = cases.case(tx, case_id)
                if said is Answer.OBJECT:
                    cases.reply(tx, one, said, reason=REASONS[number % 2], evidence=N_("业务说明见附件清单"))
                elif said is Answer.EXEMPT:
                    cases.reply(tx, one, said, reason=REASONS[2], category=Category.EVALUATION, until=until)
                else:
                    cases.reply(tx, one, said)

    def rule(self) -> None:
        """Somebody other than the issuer rules: on objections in turn for and against the department, the last of them on
        another day; on silence mostly against it."""
        with self.workbench.book.reading() as tx:
            disputed = [
                (one.id, one.replies[-1].said() if one.replies else None) for one in self._open(tx, CaseState.DISPUTED)
            ]
        objected = [case_id for case_id, said in disputed if said is Answer.OBJECT]
        disputed = [(case_id, said) for case_id, said in disputed if case_id not in objected[-1:]]
        turns: Counter[Answer | None] = Counter()
        for case_id, said in disputed:
            turns[said] += 1
            with self.workbench.book.transaction(self.second if turns[said] % 2 else self.authority) as tx:
                one = cases.case(tx, case_id)
                if said is None:
                    decision = RulingDecision.UPHOLD if turns[said] % 3 == 1 else RulingDecision.PROCEED
                    cases.rule(tx, one, decision, N_("逾期未答复，经电话核实后裁定"))
                elif said is Answer.EXEMPT:
                    cases.rule(tx, one, RulingDecision.EXEMPT, N_("测评期间情况属实，准予豁免"))
                elif turns[said] % 2:
                    cases.rule(tx, one, RulingDecision.UPHOLD, N_("备用节点情况属实，撤销本案"))
                else:
                    cases.rule(tx, one, RulingDecision.PROCEED, N_("近两个月监测数据未见所称高峰"))

    def act(self) -> None:
        """The supervisor carries out what was cleared; what cannot be is left for another day."""
        with self.workbench.book.reading() as tx:
            cleared = [one.id for one in self._open(tx, CaseState.CLEARED)]
        for case_id in cleared:
            try:
                with self.workbench.book.transaction(self.supervisor) as tx:
                    cases.act(tx, cases.case(tx, case_id))
            except Refused:
                continue

    def have_back(self, count: int) -> None:
        """A department wants machines back that were powered off."""
        with self.workbench.book.reading() as tx:
            off = [
                (one.id, one.department_id)
                for one in self._open(tx, CaseState.WATCHED)
                if one.kind == CaseKind.RECLAIM and one.department_id in self.tenants
            ]
        for case_id, department in off[:count]:
            with self.workbench.book.transaction(self.tenants[department]) as tx:
                cases.restore(tx, cases.case(tx, case_id), N_("月末结算发现仍有定时任务在此机运行"))
        self.carry(2)

    def confirm(self) -> None:
        """Two persons confirm half of the deletions that are due."""
        with self.workbench.book.reading() as tx:
            due = [one.id for one in self._open(tx, CaseState.CONFIRMING)]
        for number, case_id in enumerate(due):
            for actor in (self.supervisor, self.authority)[: 2 - number % 2]:
                with self.workbench.book.transaction(actor) as tx:
                    cases.confirm_deletion(tx, cases.case(tx, case_id))


def today(workbench: Workbench, clock: Calendar) -> None:
    """What is on the desks this morning: letters that wait for an answer, a window for changes, a freeze to come."""
    city = _Town(workbench, clock)
    city.tell(AGAIN, leave=LEFT)
    day = clock.now.astimezone(ZONE).date()
    with workbench.book.transaction(city.authority) as tx:
        windows.set_window(tx, "12345", 20 * 60, 6 * 60)
        windows.set_window(tx, "67", 0, 1440)
        windows.freeze(tx, day + timedelta(days=30), day + timedelta(days=36), N_("重保期"))
