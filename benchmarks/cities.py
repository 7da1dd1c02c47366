"""A city of any size, founded by the product's own verbs: ``python -m benchmarks city --resources N --data FOLDER``.

Nothing here writes a table that a verb of the trade would write, so that everything is audited and under seal and ``guanjia
verify`` finds it clean. In proportion to its resources it has departments, systems, requests at every stage, orders, cases, the
statements of its months and the findings of its nights; every working day has the load of the first, every day of a weekend that
of the first Sunday. The same size on the same day is the same city.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from benchmarks import city_samples
from console import founding, worklist
from console.accounts import accounts, passwords
from console.demo.calendar import Calendar
from console.founding import entering
from console.settings import Settings
from metering.cases import openings
from metering.judging import findings, pipeline, policies
from metering.lake.store import Lake
from metering.rollout import CeilingScope, ceilings, scopes
from metering.statements import statements, tariffs
from metering.workbench import Workbench
from providers import observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.metrics import SLOTS, STEP_S
from quota import attachments, inventory
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import CatalogItem, CloudProvider, Department, Pool, System, companies, departments, pools
from quota.inventory import Resource
from quota.ledger import capacities
from quota.requests import Ask, Decision, Line, Request, approvals, formbook, kinds, submission
from quota.units import BLOCK, DATABASE, EIP, MEMORY, VCPU, Arch

COMPANIES = {"jia": "甲云科技有限公司", "yi": "乙云计算有限公司"}
POOLS = (("jia-x86", Arch.X86_64), ("jia-arm", Arch.AARCH64), ("yi-x86", Arch.X86_64), ("yi-arm", Arch.AARCH64))
"""However large a city is, it has these companies and pools."""
PRICES = {VCPU: "46", MEMORY: "18", BLOCK: "0.3", EIP: "20", DATABASE: "900"}
STEWARDS = (
    ("authority", "陈主任", Role.AUTHORITY), ("auditor", "何审计", Role.AUDITOR),
    ("supervisor", "林督导", Role.SUPERVISOR), ("supervisor2", "周督导", Role.SUPERVISOR),
)  # fmt: skip
DISTRICTS = ("市直", "滨海区", "高新区", "老城区", "临江区", "东湖区", "西岭区", "南沙区", "北固区", "空港区")
BUREAUS = (
    "单位", "教育局", "水务局", "公安局", "民政局", "司法局", "财政局", "交通局", "农业农村局", "商务局", "文旅局", "卫健委",
    "应急局", "审计局", "统计局", "医保局", "城管局", "林业局", "住建局", "人社局",
)  # fmt: skip
"""The first of each district stands above the others."""
SYSTEMS = (
    "一网通办",
    "门户网站",
    "协同办公",
    "数据共享平台",
    "业务监管平台",
    "移动执法",
    "档案管理",
    "视频会议",
    "信用平台",
)
USES = ("应用", "数据库", "中间件", "前置机")
CORES = (2, 4, 4, 8, 8, 16, 32)
ONE_BY_ONE = 200
"""So many acts of one person stand in one transaction."""
MOST_ROWS = 2_000_000
"""Of one delivery of samples."""
_NARROW = pa.schema([(name, pa.float32()) for name in city_samples.SENT[:2]])


MONTHS, NIGHTS = 2, 3


@dataclass(frozen=True, slots=True)
class CityPlan:
    """How large it is. ``months``: closed ones, each with its statement; ``nights``: judged mornings, the last is today's.
    ``lived`` False: what there is alone, of which nothing was measured, asked for or judged."""

    resources: int
    months: int = MONTHS
    nights: int = NIGHTS
    lived: bool = True

    def __post_init__(self) -> None:
        if not 20 <= self.resources <= 1_000_000 or not 1 <= self.months <= 24 or not 1 <= self.nights <= 31:
            raise ValueError("a city has 20 to 1,000,000 resources, 1 to 24 months and 1 to 31 nights")

    @property
    def departments(self) -> int:
        return max(5, self.resources // 100)

    @property
    def systems(self) -> int:
        return max(10, self.resources // 25)

    @property
    def requests(self) -> int:
        return self.resources // 5

    @property
    def cases(self) -> int:
        """So many are opened at the most, of what was found that calls for one."""
        return self.resources // 5


Say = Callable[[str], None]


def found(
    settings: Settings, plan: CityPlan, *, now: datetime | None = None, say: Say = lambda _line: None
) -> Settings:
    """Found the city of ``plan`` where ``settings`` says, as if it had been lived in until ``now``. Raises ValueError where
    there is a house already."""
    if founding.is_founded(settings):
        raise ValueError("there is a house already")
    now = now or datetime.now(ZONE)
    month = now.astimezone(ZONE).date().replace(day=1)
    for _ in range(plan.months):
        month = (month - timedelta(days=1)).replace(day=1)
    begun = datetime.combine(month - timedelta(days=1), time_of_day(1), ZONE)
    settings = founding.found(settings, demo=False, at=begun)
    clock = Calendar(begun)
    book = Book(settings.database_url, clock=clock)
    try:
        _Founder(Workbench(book, Lake(settings.lake_dir), settings.data), settings, plan, clock, month, now, say).all()
    finally:
        book.dispose()
    return settings


@dataclass
class _Founder:
    workbench: Workbench
    settings: Settings
    plan: CityPlan
    clock: Calendar
    first: date
    now: datetime
    say: Say
    actors: dict[str, Actor] = field(default_factory=dict)
    first_passwords: dict[str, str] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.book, self.lake = self.workbench.book, self.workbench.lake
        self.today = self.now.astimezone(ZONE).date()
        self.dice = np.random.default_rng(self.plan.resources)

    def all(self) -> None:
        life = (self._samples, self._requests, self._statements, self._nights) if self.plan.lived else ()
        for step in (self._directory, self._people, self._rights, self._resources, *life, self._keep):
            step()

    def _told(self, many: int, what: str) -> None:
        self.say(f"{time.monotonic() - self.since:7.1f} s  {many:>11,} {what}")

    def _at(self, day: date, hour: int) -> datetime:
        moment = min(datetime.combine(day, time_of_day(hour), ZONE), self.now)
        self.clock.to(moment)
        return moment

    # ------------------------------------------------------------------------------------------------------ who and where

    def _directory(self) -> None:
        with self.book.transaction(steward("init")) as tx:
            of = {code: companies.register(tx, code, name).id for code, name in COMPANIES.items()}
            for number, (code, arch) in enumerate(POOLS, 1):
                pool = pools.register(
                    tx, code, f"政务云{number}区", of[code.partition("-")[0]], arch, "政务外网区", adapter="files", options={},
                    xinchuang=arch is Arch.AARCH64,
                )  # fmt: skip
                for kind, each in ((VCPU, 1), (MEMORY, 4096), (BLOCK, 10), (EIP, 1), (DATABASE, 1)):
                    capacities.equip(tx, pool, kind, 100 * self.plan.resources * each, key=f"found:{code}:{kind}")
            entering.ready_catalogue(tx)
            bureaus: list[Department] = []
            for number in range(self.plan.departments):
                of_district, at = divmod(number, len(BUREAUS))
                again, which = divmod(of_district, len(DISTRICTS))
                name = f"{DISTRICTS[which]}{again + 1 if again else ''}{BUREAUS[at]}"
                bureaus.append(departments.register(tx, f"DW{number:05d}", name, bureaus[-at] if at else None))
            for number in range(self.plan.systems):
                whose, title = bureaus[number % len(bureaus)], SYSTEMS[number // len(bureaus) % len(SYSTEMS)]
                facts = {"name": f"{whose.name}{title}", "mlps_level": 2 + number % 5 // 4}
                departments.enter(tx, f"XT{number:06d}", whose.id, facts)
        self._told(self.plan.departments, "departments")
        self._told(self.plan.systems, "information systems")

    def _people(self) -> None:
        """The stewards, a person of each company, and a clerk in each department; the clerks with one first password."""
        secret = passwords.random()
        theirs = secret, passwords.hashed(secret)
        with self.book.transaction(steward("init")) as tx:

            def enter(login: str, name: str, role: Role, **belongs: Any) -> None:
                one, password = accounts.enrol(
                    tx, login, name, role, granted=True, must_change=False, secret=theirs, **belongs
                )
                self.actors[login] = Actor(login, name, role, one.department_id, one.provider_id)
                self.first_passwords[login] = password

            for login, name, role in STEWARDS:
                enter(login, name, role)
            for number, company in enumerate(tx.scalars(select(CloudProvider).order_by(CloudProvider.id)), 1):
                enter(
                    f"provider{number if number > 1 else ''}", f"{company.name}服务台", Role.PROVIDER, provider=company
                )
            for number, one in enumerate(tx.scalars(select(Department).order_by(Department.id)), 1):
                enter(f"tenant{number if number > 1 else ''}", f"{one.name}经办", Role.TENANT, department=one)
        self._told(len(self.actors), "people")

    def _rights(self) -> None:
        """Prices; cases opened everywhere, and as many as the city is to have."""
        a_run = -(-self.plan.cases // self.plan.nights)
        with self.book.transaction(self.actors["authority"]) as tx:
            for kind, price in PRICES.items():
                tariffs.enter(tx, kind, Decimal(price), self.first.replace(month=1) - timedelta(days=365))
            scopes.decide(tx, True, [], [], "全市启用处置")
            ceilings.set_ceiling(tx, CeilingScope.CITY, None, "全市启用处置")
            seeded = policies.in_force(tx, self.clock.now.astimezone(ZONE).date())
            procedure = replace(
                seeded.rules(),
                cases_per_run=a_run,
                cases_per_department=a_run,
                worth_per_run=1e9,
                worth_per_department=1e9,
            )
            policies.amend(tx, seeded.name, procedure, effective_from=self.first, reason="按全市规模调整单次立案数")

    # ------------------------------------------------------------------------------------------------------- what there is

    def _resources(self) -> None:
        """Each pool's listing, entered as evidence, and booked as what ran before the steward came."""
        with self.book.reading() as tx:
            systems = tx.execute(
                select(System.code, System.name, Department.code).join(Department).order_by(System.id)
            ).all()
            where = tx.execute(select(Pool.id, Pool.arch).order_by(Pool.id)).all()
        facts: dict[int, list[ResourceFact]] = {pool: [] for pool, _arch in where}
        for number in range(self.plan.resources):
            pool, arch = where[number % len(where)]
            facts[pool].append(self._fact(number, Arch(arch), *systems[number // len(where) % len(systems)]))
        self._at(self.first - timedelta(days=1), 2)
        for pool_id, told in facts.items():
            with self.book.transaction(steward("init")) as tx:
                listed = tx.get_one(Pool, pool_id)
                observation.observe(tx, listed, Inventory(tx.now - timedelta(hours=1), told, complete=True))
                inventory.adopt(tx, listed)
        self._told(self.plan.resources, "resources")

    def _fact(self, number: int, arch: Arch, system: str, title: str, department: str) -> ResourceFact:
        """Of ten resources eight are machines, one a volume and one an address or a database; every other one has a name of
        Chinese words, and a few volumes and addresses are attached to nothing."""
        of_ten, cores = number % 10, int(self.dice.choice(CORES))
        created = self.clock.now - timedelta(days=int(self.dice.integers(200, 1500)))
        loose = number % 70 >= 60
        use = USES[number % len(USES)]
        name = f"{title}{use}{number:06d}" if number % 2 else f"{department.lower()}-{system.lower()}-{number:06d}"
        machine = None if loose else f"vm-{number - of_ten:07d}"
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        fact = ResourceFact(
            f"vm-{number:07d}", name, ServiceKind.VM, arch, {VCPU: cores, MEMORY: cores * 2048}, ResourceState.RUNNING,
            department, system, created_at=created, address=address,
        )  # fmt: skip
        if of_ten < 8:
            return fact
        if of_ten == 8:
            it, kind, has = f"vol-{number:07d}", ServiceKind.VOLUME, {BLOCK: 50 * cores}
        elif number % 20 == 9:
            it, kind, has = f"eip-{number:07d}", ServiceKind.EIP, {EIP: 1}
        else:
            it, kind, has = f"db-{number:07d}", ServiceKind.DATABASE, {DATABASE: 1}
        bound = kind is not ServiceKind.DATABASE
        return replace(
            fact, external_id=it, kind=kind, amounts=has, arch=Arch.ANY if bound else arch,
            attached_to=machine if bound else None, address=None if kind is ServiceKind.VOLUME else address,
        )  # fmt: skip

    def _samples(self) -> None:
        """A sample of each machine every five minutes: of a working day, or of a Sunday, on every day anew."""
        with self.book.reading() as tx:
            vms = select(Resource.id).where(Resource.kind == ServiceKind.VM.value).order_by(Resource.id)
            machines = np.array(tx.scalars(vms).all(), np.int32)
        fleet, names = city_samples.Fleet(len(machines)), city_samples.SENT[:2]
        # 2026-09-21 was a Monday: its slots are those of a working day, of six days later those of a Sunday.
        made = [
            [fleet.batch(start + slot, names).select(names).cast(_NARROW) for slot in range(SLOTS)]
            for start in (0, 6 * SLOTS)
        ]
        days = [self.first + timedelta(days=n) for n in range((self.today - self.first).days)]
        together = max(1, min(SLOTS, MOST_ROWS // len(machines)))
        for number, day in enumerate(days, 1):
            midnight = int(datetime.combine(day, time_of_day(), ZONE).timestamp())
            for first in range(0, SLOTS, together):
                slots = range(first, min(SLOTS, first + together))
                told = pa.concat_tables([made[day.weekday() >= 5][slot] for slot in slots]).combine_chunks()
                moments = np.repeat(midnight + np.array(slots, np.int64) * STEP_S + 3, len(machines))
                columns = {"resource": np.tile(machines, len(slots)), "ts": moments}
                self.lake.append("city", pa.table(columns | {name: told[name] for name in names}))
            if number % 7 == 0 or day == days[-1]:
                self.lake.roll()
        self._told(len(days) * SLOTS * len(machines), "samples")

    # ------------------------------------------------------------------------------------------------------- what was done

    def _requests(self) -> None:
        """Requests of machines, filed over the weeks by the clerks of all departments; of ten one is a draft, two wait for their
        first signature, two for another, and five are approved and ordered."""
        clerks = [one for one in self.actors.values() if one.role is Role.TENANT]
        with self.book.reading() as tx:
            items = tx.scalars(
                select(CatalogItem.id).where(CatalogItem.code.in_(("vm-2c4g", "vm-4c8g", "vm-8c16g")))
            ).all()
            where = tx.scalars(select(Pool.id).where(Pool.xinchuang).order_by(Pool.id)).all()
            of: dict[int, list[int]] = {}
            for system, department in tx.execute(select(System.id, System.department_id)):
                of.setdefault(department, []).append(system)
        weeks = max(1, (self.today - self.first).days // 7)
        done = 0
        for week in range(weeks):
            filed: list[int] = []
            self._at(self.first + timedelta(days=7 * week), 9)
            until = self.plan.requests * (week + 1) // weeks
            while done < until:
                # The next clerk files some of his week's in one sitting.
                who, many = clerks[done // 5 % len(clerks)], min(5, until - done)
                with self.book.transaction(who) as tx:
                    for number in range(done, done + many):
                        ask = Ask(
                            kind=kinds.CREATE, department_id=who.department_id or 0, pool_id=where[number % len(where)],
                            system_id=next(iter(of.get(who.department_id or 0, [])), None), lines=[Line(item_id=items[number % len(items)])],
                            justification=f"业务高峰并发{500 + number % 1000},按压测结果折算第{number + 1}批",
                            fields={"system_head": "系统负责人 83110000", "origin": "新建"},
                        )  # fmt: skip
                        row = submission.draft(tx, ask)
                        if number % 10:
                            for annex in formbook.form_of(tx, row).annexes:
                                paper = attachments.stage(tx, f"{annex.label}.txt", annex.label.encode())
                                attachments.attach(tx, row.subject, [paper], annex.label)
                            submission.submit(tx, row, generation=row.generation)
                            filed.append(row.id)
                done += many
            self._at(self.first + timedelta(days=7 * week), 15)
            self._sign([one for one in filed if one % 10 > 2], "supervisor")
            self._sign([one for one in filed if one % 10 > 4], "supervisor2", "authority")
        self._told(done, "requests")
        self._told(worklist.place(self.workbench)[0], "orders")

    def _sign(self, ids: list[int], *logins: str) -> None:
        """Each of these people approves what waits for them of ``ids``."""
        for login in logins:
            for start in range(0, len(ids), ONE_BY_ONE):
                with self.book.transaction(self.actors[login]) as tx:
                    for one in ids[start : start + ONE_BY_ONE]:
                        request = tx.get_one(Request, one)
                        if approvals.may_sign(tx, request):
                            approvals.sign(tx, request, decision=Decision.APPROVE, generation=request.generation)

    def _statements(self) -> None:
        month, lines = self.first, 0
        while month < self.today.replace(day=1):
            name = month.strftime("%Y-%m")
            month = (month + timedelta(days=31)).replace(day=1)
            self._at(month + timedelta(days=3), 10)
            run = statements.make(self.workbench, name)
            statements.settle(self.workbench, name, run_id=run.id, actor=self.actors["authority"])
            lines += run.lines
        self._told(lines, "lines of statements")

    def _nights(self) -> None:
        judged = cases = 0
        for before in reversed(range(self.plan.nights)):
            morning = self.today - timedelta(days=before)
            self._at(morning, 3)
            run = pipeline.judge(self.workbench, morning)
            judged += run.resources
            with self.book.transaction(steward("job:cases")) as tx:
                cases += len(openings.open_from(tx, findings.assessment(tx, run.id)).opened)
        self._told(judged, "findings")
        self._told(cases, "cases")

    def _keep(self) -> None:
        """The passwords beside those of the administrators, as of a house that is shown."""
        path = self.settings.data / founding.ACCOUNTS
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept["accounts"] |= {
            login: word for login, word in self.first_passwords.items() if not login.startswith("tenant")
        }
        kept["accounts"]["tenant"] = self.first_passwords["tenant"]
        path.write_text(json.dumps(kept, ensure_ascii=False, indent=1), encoding="utf-8")
