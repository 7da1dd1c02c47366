"""Two months of cases in the demo city: told, answered, disputed, ruled on, carried out, had back, deleted by two.

Everything is done by the verbs of the trade, by the people of the demo, on the demo's clock; the clouds obey and their
later samples show it. Who has no account in the demo stays silent, as departments do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from metering import cases, findings, openings, pipeline, windows
from metering.case_files import Case
from metering.case_steps import Answer, Decision, State
from metering.exemptions import Category
from metering.procedure import CaseKind
from metering.works import Works
from providers import delivery
from providers.orders import WorkOrder
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Tx
from quota.errors import N_, Refused
from quota.people import Person

if TYPE_CHECKING:
    from console.demo import Calendar

BEGAN = timedelta(days=58)
"""How long ago the first cases were opened: after a month of samples, and early enough for one to be at its end."""

PILOT, AGAIN = 45, 24
"""Cases that take something of the first run, which began small; and of which departments are told today."""

REASONS = (
    N_("该系统承担年度审核业务,每年十二月达到高峰"),
    N_("备用节点,主节点故障时须立即接管全部业务"),
    N_("正在做等级保护测评,测评期间不得改变配置"),
)


def live(works: Works, clock: Calendar, now: datetime, read: Callable[[datetime], None]) -> None:
    """Live through the weeks from BEGAN to ``now``. ``read`` collects the clouds up to an instant."""
    began = (now - BEGAN).astimezone(ZONE).replace(hour=10, minute=0, second=0, microsecond=0)
    city = _Town(works, clock)

    def on(days: int, hours: int = 0) -> None:
        moment = began + timedelta(days=days, hours=hours)
        clock.to(moment)
        read(moment)
        city.job()

    on(0)
    run = pipeline.judge(works, began.date())
    with works.book.transaction(steward("job:cases")) as tx:
        openings.open_from(tx, findings.assessment(tx, run.id), per_run=PILOT)
    city.tell()
    on(3)
    city.answer()
    on(5)
    city.rule()
    on(6)
    city.act()
    city.carry(3)
    on(14)
    pipeline.judge(works, (began + timedelta(days=14)).date())
    city.act()
    city.carry(2)
    city.have_back(1)
    for days in (22, 23):
        on(days)
        city.carry(2)
    city.rule()
    pipeline.judge(works, (began + timedelta(days=23)).date())
    city.act()
    city.carry(3)
    for days in (32, 40):
        on(days)
        city.carry(2)
    on(53)
    city.confirm()
    city.carry(2)
    on(57)


class _Town:
    """Who does what, by turns."""

    def __init__(self, works: Works, clock: Calendar) -> None:
        self.works, self.clock = works, clock
        with works.book.reading() as tx:
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
        with self.works.book.transaction(steward("job:cases")) as tx:
            cases.advance(tx)

    def carry(self, rounds: int) -> None:
        """The clouds do what was ordered, and the cases take it in."""
        for _ in range(rounds):
            self.clock.to(self.clock.now + timedelta(minutes=30))
            for pool in self.works.pools():
                with self.works.book.reading() as tx:  # requests have their own days
                    due = [
                        one for one in delivery.waiting(tx, pool.id) if tx.get_one(WorkOrder, one).case_id is not None
                    ]
                for order_id in due:
                    delivery.carry(self.works.book, order_id, self.works.provider(pool), cases.last_look)
            self.job()

    def _open(self, tx: Tx, *states: State) -> Sequence[Case]:
        query = select(Case).where(Case.state.in_([state.value for state in states]))
        return tx.scalars(query.order_by(Case.worth.desc(), Case.id)).all()

    def tell(self, count: int = 1000) -> None:
        """The supervisor looks at the cases of departments that can answer first, drops one, and tells the others."""
        with self.works.book.transaction(self.supervisor) as tx:
            found = list(self._open(tx, State.DETECTED))
            found.sort(key=lambda one: (one.department_id not in self.tenants, -one.worth, one.id))
            for number, one in enumerate(found[:count]):
                if number == min(count, len(found)) - 1:
                    cases.dismiss(tx, one, N_("名称标明为演练环境,另行核实后再办"))
                else:
                    cases.review(tx, one, note=N_("数字与台账相符"))
            cases.issue(tx, self._open(tx, State.REVIEWED), text=N_("请按期逐项答复,并附上依据"))

    def answer(self) -> None:
        """Departments that have an account answer most of what they were asked."""
        with self.works.book.reading() as tx:
            waiting = [(one.id, one.department_id, one.kind) for one in self._open(tx, State.NOTICED)]
        until = (self.clock.now + timedelta(days=150)).astimezone(ZONE).date()
        for number, (case_id, department, kind) in enumerate(waiting):
            tenant = self.tenants.get(department)
            if tenant is None or number % 9 == 8:
                continue
            with self.works.book.transaction(tenant) as tx:
                one = cases.case(tx, case_id)
                if kind != CaseKind.EXPAND and number % 6 == 3:
                    cases.reply(tx, one, Answer.OBJECT, reason=REASONS[number % 2], evidence=N_("业务说明见附件清单"))
                elif kind != CaseKind.EXPAND and number % 6 == 5:
                    cases.reply(tx, one, Answer.EXEMPT, reason=REASONS[2], category=Category.EVALUATION, until=until)
                else:
                    cases.reply(tx, one, Answer.AGREE)

    def rule(self) -> None:
        """Somebody other than the issuer rules: in turn for and against the department."""
        with self.works.book.reading() as tx:
            disputed = [one.id for one in self._open(tx, State.DISPUTED)]
        for number, case_id in enumerate(disputed[:-1]):
            with self.works.book.transaction(self.second if number % 2 else self.authority) as tx:
                one = cases.case(tx, case_id)
                if not one.replies:
                    decision = Decision.UPHOLD if number % 3 == 0 else Decision.PROCEED
                    cases.rule(tx, one, decision, N_("逾期未答复,经电话核实后裁定"))
                elif one.replies[-1].said() is Answer.EXEMPT:
                    cases.rule(tx, one, Decision.EXEMPT, N_("测评期间情况属实,准予豁免"))
                elif number % 2:
                    cases.rule(tx, one, Decision.PROCEED, N_("近两个月监测数据未见所称高峰"))
                else:
                    cases.rule(tx, one, Decision.UPHOLD, N_("备用节点情况属实,撤销本案"))

    def act(self) -> None:
        """The supervisor carries out what was cleared; what cannot be is left for another day."""
        with self.works.book.reading() as tx:
            cleared = [one.id for one in self._open(tx, State.CLEARED)]
        for case_id in cleared:
            try:
                with self.works.book.transaction(self.supervisor) as tx:
                    cases.act(tx, cases.case(tx, case_id))
            except Refused:
                continue

    def have_back(self, count: int) -> None:
        """A department wants machines back that were powered off."""
        with self.works.book.reading() as tx:
            off = [
                (one.id, one.department_id)
                for one in self._open(tx, State.WATCHED)
                if one.kind == CaseKind.RECLAIM and one.department_id in self.tenants
            ]
        for case_id, department in off[:count]:
            with self.works.book.transaction(self.tenants[department]) as tx:
                cases.restore(tx, cases.case(tx, case_id), N_("月末结算发现仍有定时任务在此机运行"))
        self.carry(2)

    def confirm(self) -> None:
        """Two persons confirm half of the deletions that are due."""
        with self.works.book.reading() as tx:
            due = [one.id for one in self._open(tx, State.CONFIRMING)]
        for number, case_id in enumerate(due):
            for actor in (self.supervisor, self.authority)[: 2 - number % 2]:
                with self.works.book.transaction(actor) as tx:
                    cases.confirm_deletion(tx, cases.case(tx, case_id))


def today(works: Works, clock: Calendar) -> None:
    """What is on the desks this morning: letters that wait for an answer, a window for changes, a freeze to come."""
    city = _Town(works, clock)
    city.tell(AGAIN)
    day = clock.now.astimezone(ZONE).date()
    with works.book.transaction(city.authority) as tx:
        windows.set_window(tx, "12345", 20 * 60, 6 * 60)
        windows.set_window(tx, "67", 0, 1440)
        windows.freeze(tx, day + timedelta(days=30), day + timedelta(days=36), N_("岁末重保"))
