"""The last weeks of the demo city, lived through by the verbs of the trade: people file, sign, deliver, answer, rule.

Who does what follows from ``STORIES``, so that the same city always lives the same life. Times are working days before
today, so that what waits today waits for a reason that a visitor can follow. Cases have their own days (demo_cases);
both are lived on one clock: before it moves on, the days in between are lived here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select

from console.demo import growth
from console.demo.peaks import Peaks
from metering import scale_outs
from metering.cases import Case, CaseState
from metering.workbench import Progress, Workbench
from providers import orders
from providers.assessment import Appeal, AppealState, appeals, company, formulas, gathering, ratings
from providers.assessment import cards as marks
from providers.base import ResourceState, Responsibility, ServiceKind
from providers.billing import Incident, bills, incidents
from providers.orders import OrderState, WorkOrder
from quota import requests
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE, WorkingDays, working_days
from quota.db import Tx
from quota.directory import CatalogItem, CloudProvider, Person, Pool
from quota.errors import Refused
from quota.inventory import Resource
from quota.requests import Ask, Line, Request, RequestKind, RequestState, approvals, kinds, notices, reservations
from quota.units import MEMORY, VCPU

DAY = timedelta(days=1)
WEEK = 7
GIB = 1024


@dataclass(frozen=True, slots=True)
class Story:
    """A request: filed ``days`` working days before today by tenant number ``who`` (from 0) in pool number ``pool``; what
    changes or gives back a machine is about one that the tenant has, wherever it is.

    fate: "" = goes its way a step a working day; draft, filed (nobody signs), technical, authority (waits there),
    returned, rejected, withdrawn, part (approved in part), late (delivered late), unseen (nobody accepts),
    arriving (ordered today), handed (delivered yesterday, to be accepted).
    """

    days: int
    who: int
    pool: int
    item: str
    count: int
    words: str
    fate: str = ""
    kind: RequestKind = kinds.CREATE


STORIES: tuple[Story, ...] = (
    Story(34, 0, 1, "", 48, "明年一网通办三个专题上线，按并发峰值测算需增加配额", kind=kinds.QUOTA),
    Story(30, 0, 2, "vm-4c8g", 2, "一件事一次办专题应用服务器，按并发 600 测算"),
    Story(28, 1, 1, "vm-8c16g", 3, "汛期预警平台扩建，按峰值并发 1200 测算", "part"),
    Story(25, 2, 0, "vm-16c32g", 4, "门户网站备用节点，按历史访问峰值测算", "rejected"),
    Story(22, 3, 1, "vm-4c16g", 2, "档案数字化前置库，按日处理 20 万件测算", "late"),
    Story(14, 4, 2, "vm-2c4g", 2, "信创适配验证环境，按三种浏览器并行测算", "unseen"),
    Story(11, 5, 0, "vm-4c8g", 1, "数据直报系统测试环境，按联调并发 50 测算", "withdrawn"),
    Story(5, 1, 2, "vm-4c8g", 2, "会议保障系统应用节点，按参会人数 3000 测算", "handed"),
    Story(4, 2, 1, "vm-8c16g", 1, "政务公开检索服务，按每秒 80 次检索测算", "arriving"),
    Story(5, 0, 0, "vm-2c8g", 1, "互联网区缓存节点，按热点访问量测算所需内存", "filed"),
    Story(4, 1, 1, "vm-4c16g", 1, "数据比对中间库，按夜间批量任务测算", "returned"),
    Story(4, 3, 0, "vm-16c64g", 2, "年终决算集中报送，按同时在线 2000 人测算", "authority"),
    Story(3, 3, 1, "", 16, "明年信息化项目立项，按测算书核定的并发用户数增加配额", "filed", kinds.QUOTA),
    Story(2, 4, 1, "vm-8c32g", 1, "统一身份认证扩容节点，按每秒登录 120 次测算", "technical"),
    Story(2, 0, 0, "vm-32c128g", 1, "报表汇总任务内存不足，按最大批次测算须提升规格", "technical", kinds.RESIZE),
    Story(1, 3, 0, "", 1, "业务已并入统一平台，原主机停用后退回", "filed", kinds.UNSUBSCRIBE),
    Story(0, 5, 2, "vm-4c8g", 1, "信创公文交换节点，按每日 5000 件公文测算", "filed"),
    Story(0, 2, 2, "vm-2c4g", 1, "知识库检索试点，规模待与业务处室核定", "draft"),
)


def first_day(today: date) -> date:
    """The day that life has to begin with, so that as of ``today`` every story was told from its first line, and two
    months' bills came."""
    calendar = WorkingDays()
    fifth = today.replace(day=5) if today.day >= 5 else (today.replace(day=1) - DAY).replace(day=5)
    before = (fifth.replace(day=1) - DAY).replace(day=5)
    return min(before, calendar.worked(today, max(story.days for story in STORIES)))


class Life:
    """The days from the first to that of ``until``, lived as the book's clock comes to them. ``judged``: one on whose morning the city
    is judged."""

    def __init__(
        self,
        workbench: Workbench,
        clock: Any,
        first: date,
        until: datetime,
        progress: Progress,
        read: Callable[[datetime], None],
        judged: date,
    ) -> None:
        self.workbench, self.clock, self.first, self.until, self.progress = workbench, clock, first, until, progress
        with workbench.book.reading() as tx:
            self.calendar: WorkingDays = working_days(tx)
            self.pools = list(tx.scalars(select(Pool).order_by(Pool.id)))
            self.items = dict(tx.execute(select(CatalogItem.code, CatalogItem.id)).all())
            people = list(tx.scalars(select(Person).order_by(Person.id)))
        self.people = {
            one.login: Actor(one.login, one.name, Role(one.role), one.department_id, one.provider_id) for one in people
        }
        self.tenants = [one for one in self.people.values() if one.role is Role.TENANT]
        self.growths = growth.Growths(workbench, clock, self.tenants, read)
        self.days = [first + DAY * n for n in range((until.astimezone(ZONE).date() - first).days + 1)]
        worked = [day for day in self.days if self.calendar.is_working(day)]
        self.worked = {day: len(worked) - 1 - n for n, day in enumerate(worked)}  # day → working days before the last
        self.filed: dict[Story, int] = {}
        self.held_back: set[int] = set()
        self.last = self.days[-1]
        self.peaks = Peaks(workbench, self.people, judged, self.last)

    def until_moment(self, moment: datetime) -> None:
        """Live the days that end before ``moment``, whatever it is that the clock moves there for."""
        while self.days and datetime.combine(self.days[0] + DAY, time(), ZONE) <= moment:
            self._day(self.days.pop(0))

    def finish(self) -> None:
        """Live what is left, today last."""
        while self.days:
            self._day(self.days.pop(0))

    def _day(self, day: date) -> None:
        self.progress("demo", len(self.worked), len(self.worked))
        self._to(day, 2)
        if day.weekday() == 0 or day == self.last:
            self._incidents()
        if day.day == 5:
            self._month((day.replace(day=1) - DAY).strftime("%Y-%m"))
        if day in self.worked:
            self._to(day, 9)
            self._requests(self.worked[day])
            self._jobs()
            if self.worked[day] == growth.AUTHORISED:
                growth.authorise(self.workbench, self.people["authority"], self.tenants)
            if self.worked[day] == growth.TIERED:
                self.growths.declare()
        self._to(day, 9)
        self.peaks.day(day)
        self._carry(day)

    # ------------------------------------------------------------------------------------------------------ the jobs

    def _to(self, day: date, hour: int) -> None:
        self.clock.now = max(self.clock.now, min(datetime(day.year, day.month, day.day, hour, tzinfo=ZONE), self.until))

    def _job(self, name: str, work: Callable[[Tx], Any]) -> None:
        with self.workbench.book.transaction(steward(name)) as tx:
            work(tx)

    def _jobs(self) -> None:
        for work in (notices.remind, approvals.lapse, orders.deem_accepted):
            self._job("job:expire", work)

    def _incidents(self) -> None:
        """Hear of last week's incidents and settle whose they were."""
        until = self.clock.now
        for pool in self.pools:
            incidents.collect(
                self.workbench.book, pool.id, self.workbench.provider(pool), until - timedelta(days=WEEK), until
            )
        self._try("supervisor", self._settle)

    def _settle(self, tx: Tx) -> None:
        """Responsibility for what is older than a week; every sixth is found to be somebody else's."""
        for one in tx.scalars(select(Incident).where(Incident.settled_at.is_(None)).order_by(Incident.id)).all():
            if one.recovered_at is not None and one.started_at < tx.now - timedelta(days=WEEK):
                whose = Responsibility.THIRD_PARTY if one.id % 6 == 0 else Responsibility.PROVIDER
                incidents.settle(tx, one.id, one.generation, whose, "依据故障报告与监测记录认定")

    def _month(self, month: str) -> None:
        """The fifth: last month's bills come, and the companies are scored; the month's card is published."""
        for pool in self.pools:
            bills.collect(self.workbench.book, pool.id, self.workbench.provider(pool), month)
        cards: list[int] = []

        def score(tx: Tx) -> None:
            firms = tx.scalars(select(CloudProvider).order_by(CloudProvider.id)).all()
            for firm in map(company, (one.id for one in firms)):
                by = formulas.in_force(tx, firm.id, month)
                found = gathering.gather(tx, firm, month, by=by)
                cards.append(marks.keep(tx, firm, month, found, by).id)

        self._job("job:score", score)
        for card in cards:
            self._try("authority", partial(_publish, card))
        self._appeal(cards)

    def _appeal(self, cards: list[int]) -> None:
        """What was appealed a month ago is dismissed; the company with the lowest mark appeals on the spot (as long as not
        enough is known for a mark, the first one does)."""

        def dismiss(tx: Tx) -> None:
            for one in tx.scalars(select(Appeal).where(Appeal.state == AppealState.FILED.value)).all():
                appeals.rule(tx, one.id, upheld=False, ruling="延期执行未经使用单位书面确认，维持原评分")

        self._try("supervisor", dismiss)
        with self.workbench.book.reading() as tx:
            shown = [one for one in (marks.scorecard(tx, card) for card in cards) if one.published_at is not None]
            lowest = min(shown, key=lambda one: (one.total is None, one.total or 0, one.id), default=None)
        if lowest is None:
            return
        staff = next(one for one in self.people.values() if one.provider_id == lowest.provider_id)
        words = "缩容工单因使用单位要求延期执行，不应计入本公司逾期"
        self._try(staff.login, lambda tx: appeals.file(tx, lowest.id, words))

    def _carry(self, day: date) -> None:
        """Orders go out in the morning and are asked about in the evening; some of them only days later."""

        def place(tx: Tx) -> None:
            for request_id in reservations.due(tx):
                orders.place_for_request(tx, tx.get_one(Request, request_id))

        self._job("job:orders", place)
        if day == self.last:
            self._begin_by_hand()
        for hour in (10, 20) if day != self.last else (23,):
            self._to(day, hour)
            for pool in self.pools:
                with self.workbench.book.reading() as tx:
                    due = [one for one in orders.waiting(tx, pool.id) if not self._waits(tx, one)]
                for order_id in due:
                    orders.carry(self.workbench.book, order_id, self.workbench.provider(pool), scale_outs.last_look)
            self.growths.day(self.worked.get(day, 0), day, hour)

    def _begin_by_hand(self) -> None:
        """What was to arrive is with the provider's staff today, and still under way."""
        arriving = [request_id for story, request_id in self.filed.items() if story.fate == "arriving"]
        with self.workbench.book.reading() as tx:
            query = select(WorkOrder).where(
                WorkOrder.request_id.in_(arriving), WorkOrder.state == OrderState.PENDING.value
            )
            found = [(one.id, one.generation, one.provider_id) for one in tx.scalars(query)]
        staff = {one.provider_id: one.login for one in self.people.values() if one.role is Role.PROVIDER}
        for order_id, generation, provider_id in found:
            self._try(staff[provider_id], partial(_start, order_id, generation))

    def _waits(self, tx: Tx, order_id: int) -> bool:
        """Whether an order is of a case, or a slow provider lets it lie by the story of its request."""
        order = tx.get_one(WorkOrder, order_id)
        return order.gives_back is None and (order.request_id is None or order.request_id in self.held_back)

    # ---------------------------------------------------------------------------------------------------- the people

    def _try(self, login: str, act: Callable[[Tx], Any]) -> bool:
        """A person's act; what is refused (somebody asked for it meanwhile, say) is left for another day."""
        try:
            with self.workbench.book.transaction(self.people[login]) as tx:
                act(tx)
        except Refused:
            return False
        return True

    def _requests(self, left: int) -> None:
        for story in STORIES:
            since = story.days - left  # working days since it was filed
            if since == 0:
                self._file(story)
            elif since > 0 and story in self.filed:
                self._go_on(story, since)

    def _file(self, story: Story) -> None:
        actor = self.tenants[story.who]
        with self.workbench.book.transaction(actor) as tx:
            one = requests.draft(tx, self._ask(tx, story, int(actor.department_id or 0)))
            if story.fate != "draft":
                requests.submit(tx, one, generation=one.generation)
            self.filed[story] = one.id

    def _ask(self, tx: Tx, story: Story, department_id: int) -> Ask:
        pool_id, resource_id = self.pools[story.pool].id, None
        item_id = self.items[story.item] if story.item else None
        if story.kind is kinds.QUOTA:
            line = Line(asked={VCPU: story.count, MEMORY: 2 * GIB * story.count})
        elif story.kind is kinds.CREATE:
            line = Line(item_id=item_id, quantity=story.count, name=story.words[:6])
        else:
            machine = _machine(tx, department_id)
            pool_id, resource_id = machine.pool_id, machine.id
            line = Line(item_id=item_id, current=machine.counts(), service=machine.kind, name=machine.name)
        return Ask(story.kind, department_id, pool_id, lines=[line], justification=story.words, resource_id=resource_id)

    def _go_on(self, story: Story, since: int) -> None:
        with self.workbench.book.reading() as tx:
            one = tx.get_one(Request, self.filed[story])
            state, step = RequestState(one.state), one.current.name if one.current else ""
            generation, lines = one.generation, [line.id for line in one.lines]
        tenant, request_id = self.tenants[story.who].login, self.filed[story]
        if state is RequestState.IN_REVIEW:
            who = {"form_check": "supervisor", "technical_review": "supervisor2"}.get(step, "authority")
            decision = approvals.Decision.APPROVE
            more: dict[str, Any] = {}
            if story.fate == "filed" or story.fate == step.split("_")[0]:
                return
            if story.fate == "withdrawn":
                self._try(
                    tenant, lambda tx: requests.withdraw(tx, request_id, generation=generation, reason="改用现有资源")
                )
                return
            if story.fate == "returned":
                decision, more = approvals.Decision.RETURN, {"reason": "请补充夜间批量任务的数据量与时长"}
            elif story.fate == "rejected" and step == "technical_review":
                decision, more = approvals.Decision.REJECT, {"reason": "现有节点峰值使用率不足 20%，不具备扩建必要"}
            elif story.fate == "part" and step == "technical_review":
                decision = approvals.Decision.APPROVE_PART
                more = {"quantities": {lines[0]: story.count - 1}, "reason": "按近三个月峰值核减一台"}
            self._try(who, lambda tx: approvals.sign(tx, request_id, decision=decision, generation=generation, **more))
            if story.fate in ("late", "arriving"):
                self.held_back.add(request_id)
        elif state in (RequestState.APPROVED, RequestState.DELIVERING):
            if since >= 10:
                self.held_back.discard(request_id)
        elif state is RequestState.ACCEPTING and story.fate not in ("unseen", "handed"):
            self._try(tenant, partial(_accept, story, request_id, generation))


def _machine(tx: Tx, department_id: int) -> Resource:
    """The smallest machine of the department about which nothing is under way."""
    busy = select(Case.resource_id).where(Case.state != CaseState.CLOSED.value)
    asked = select(Request.resource_id).where(Request.resource_id.is_not(None))
    ordered = select(WorkOrder.resource_id).where(WorkOrder.resource_id.is_not(None), WorkOrder.state.in_(orders.OPEN))
    found = tx.scalars(
        select(Resource).where(
            Resource.department_id == department_id,
            Resource.kind == ServiceKind.VM.value,
            Resource.state == ResourceState.RUNNING.value,
            Resource.gone_at.is_(None),
            Resource.id.not_in(busy),
            Resource.id.not_in(asked),
            Resource.id.not_in(ordered),
        )
    )
    return min((one for one in found if one.booked), key=lambda one: (sum(one.actual().values()), one.id))


def _start(order_id: int, generation: int, tx: Tx) -> None:
    orders.start(tx, order_id, generation)


def _accept(story: Story, request_id: int, generation: int, tx: Tx) -> None:
    """Accept, and say how it was: who waited too long says so."""
    for order in orders.accept_request(tx, request_id, generation):
        if story.fate == "late":
            ratings.rate(tx, order.id, 2, "比承诺晚了一周，期间没有说明原因")
        else:
            ratings.rate(tx, order.id, 5 if order.id % 3 else 4, "")


def _publish(card: int, tx: Tx) -> None:
    marks.publish(tx, card, marks.scorecard(tx, card).generation)
