"""The demo city 云港市: founded by the same verbs that a real city uses, and lived in for ninety days.

Nothing here writes a table that a verb of the trade would write: departments are registered, pools equipped, clouds
collected, requests filed, signed, delivered, cases opened and answered, on a clock that runs through the past weeks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from typing import Any
from zlib import crc32

from sqlalchemy import select

from console.accounts import accounts
from console.demo import cases, dealings, reports, statements
from console.demo import companies as demo_providers
from console.demo import life as demo_life
from console.demo.calendar import Calendar
from console.demo.life import Life
from console.settings import Settings
from metering.cases import deadlines, openings
from metering.forecasting import forecasts
from metering.intake import collection, reporters
from metering.intraday import effects
from metering.judging import findings, pipeline
from metering.workbench import Progress, Workbench, silent
from providers.adapters.simulated import city
from quota import inventory
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.db import Book, Tx
from quota.directory import (
    CloudProvider,
    DataLevel,
    Department,
    Person,
    Pool,
    System,
    catalog,
    companies,
    departments,
    presets,
)
from quota.ledger import capacities
from quota.units import BLOCK, MEMORY, VCPU, Amount, ClassCode

HISTORY = 90
"""Days of samples, and more where a long holiday lies in the weeks that were lived."""

CLERKS = 6
"""Departments whose clerk has an account, the first of the city."""

PRESETS: tuple[tuple[str, dict[ClassCode, int]], ...] = (
    ("示例：办公系统，小", {VCPU: 4, MEMORY: 8 * 1024}),
    ("示例：应用服务器", {VCPU: 8, MEMORY: 32 * 1024, BLOCK: 100}),
    ("示例：数据库服务器", {VCPU: 16, MEMORY: 64 * 1024, BLOCK: 500}),
)
"""Sizes that people ask for together."""

DISTRICT = "QX-BH"
"""A district that shares out its own quota to its bureaus."""

UNHEARD = "SZ-ZSJ"
"""A department without account, some of whose machines are not heard of for hours: in a small city, too."""

PEOPLE: tuple[tuple[str, str, Role], ...] = (
    ("authority", "陈主任", Role.AUTHORITY),
    ("supervisor", "林督导", Role.SUPERVISOR),
    ("supervisor2", "周督导", Role.SUPERVISOR),
    ("auditor", "何审计", Role.AUDITOR),
    ("sysadmin", "系统管理员", Role.SYSADMIN),
    ("secadmin", "安全管理员", Role.SECADMIN),
    ("audadmin", "审计管理员", Role.AUDADMIN),
    ("authority2", "赵副主任", Role.AUTHORITY),
)


@contextmanager
def lived(book: Book, start: datetime) -> Iterator[Calendar]:
    """The book on a clock that starts at ``start``; afterwards on its own again."""
    own = book.clock
    clock = Calendar(start)
    book.clock = clock
    try:
        yield clock
    finally:
        book.clock = own


def build(
    workbench: Workbench, settings: Settings, progress: Progress = silent, *, small: bool = False
) -> dict[str, str]:
    """Found the city, read ninety days of its clouds, and let people do some weeks of work; login → password.

    Whatever day it is founded, the same things were done in it: each is so many working days, or months, before that
    day. ``small``: only departments whose clerk has an account have resources, and UNHEARD.
    """
    now = workbench.book.clock()
    today = now.astimezone(settings.zone).date()
    course = cases.course(today)
    first = min(course.began, demo_life.first_day(today))
    start = min(today - timedelta(days=HISTORY), course.judged_from, statements.months(today))
    with lived(workbench.book, datetime.combine(start, time(), ZONE)) as clock:
        with workbench.book.transaction(steward("init")) as tx:
            _found(tx, today, (today - start).days, small=small)
            passwords = _people(tx)
        clock.to(datetime.combine(first, time(1), ZONE))
        read(workbench, clock.now, progress)
        life = Life(
            workbench, clock, first, now, progress, lambda moment: read(workbench, moment, progress), course.after(15)
        )
        clock.between = life.until_moment
        cases.live(workbench, clock, course, lambda moment: read(workbench, moment, progress))
        clock.to(now)  # a lake refuses what is said to be of the future
        life.finish()
        read(workbench, now, progress)
        run = pipeline.judge(workbench, today, progress=progress)
        with workbench.book.transaction(steward("init")) as tx:
            deadlines.advance(tx)
            openings.open_from(tx, findings.assessment(tx, run.id))
        forecasts.keep(workbench, progress)
        effects.reckon(workbench, progress)
        cases.today(workbench, clock)
        statements.settle(workbench)
        dealings.live(workbench)
        demo_providers.live(workbench)
        reports.make(workbench, settings)
    return passwords


def _found(tx: Tx, today: date, history_days: int, *, small: bool) -> None:
    """Departments, systems, companies, pools with their capacity, and the catalogue."""
    for one in city.departments():
        parent = tx.scalar(select(Department).where(Department.code == one.parent_code)) if one.parent_code else None
        departments.register(tx, one.code, one.name, parent)
    ids = dict(tx.execute(select(Department.code, Department.id)).all())
    for system in city.systems(today):
        tx.add(
            System(
                code=system.code,
                name=system.name,
                department_id=ids[system.department_code],
                mlps_level=system.mlps_level,
                owner=system.owner,
                online_on=system.online_on,
                registered_users=system.registered_users,
                monthly_active_users=system.monthly_active_users,
                last_business_login_on=system.last_business_login_on,
                active=True,
                **_filed(system, today),
            )
        )
    _found_pools(tx, today, history_days, small=small)
    for item in city.catalogue():
        catalog.offer(
            tx,
            item.code,
            item.name,
            item.service.value,
            Amount(item.amounts),
            list(item.archs),
            name_en=item.name_en,
            unit=item.unit,
            delivery_days=item.delivery_days,
        )
    for name, takes in PRESETS:
        presets.add(tx, name, takes)


def _filed(system: city.CitySystem, today: date) -> dict[str, Any]:
    """What a department has entered of its system besides: most have all of it and were assessed within the year, some lack
    something or are late, as departments are."""
    dice = crc32(system.code.encode()) // 7
    filed: dict[str, Any] = {
        "phone": "" if dice % 11 == 0 else "020-00000000",
        "users": "" if dice % 13 == 0 else ("公众" if system.registered_users >= 20_000 else "机关工作人员"),
    }
    if system.mlps_level >= 3:
        late = dice % 6 == 0
        filed |= {
            "mlps_record": f"示例-{system.code}",
            "mlps_assessed_on": today - timedelta(days=460 if late else 120 + dice % 200),
        }
        if dice % 2:
            filed |= {"crypto_level": 3, "crypto_assessed_on": today - timedelta(days=130 + dice % 180)}
    if dice % 8:
        filed["data_level"] = DataLevel.IMPORTANT if system.mlps_level >= 3 else DataLevel.GENERAL
    if dice % 3:
        filed["xinchuang_by"] = date(today.year + dice % 4 // 3, 12, 31) - timedelta(days=31 * (dice % 9))
    return filed


def _found_pools(tx: Tx, today: date, history_days: int, *, small: bool) -> None:
    """The companies, and their pools with what they can give."""
    for company in city.companies():
        facts = {
            "contract_number": f"示例-{company.code}-01",
            "contract_from": date(today.year - 1, 1, 1),
            "contract_until": date(today.year + 1, 12, 31),
            "contacts": [companies.Contact("示例联系人", "运维值班", "020-00000000", f"{company.code}@example.com")],
        }
        companies.register(tx, company.code, company.name, facts)
    numbers = dict(tx.execute(select(CloudProvider.code, CloudProvider.id)).all())
    for pool in city.pools():
        row = Pool(
            code=pool.code,
            name=pool.name,
            provider_id=numbers[pool.company_code],
            arch=pool.arch.value,
            zone=pool.zone,
            xinchuang=pool.xinchuang,
            adapter="simulated",
            adapter_options={
                "pool": pool.code,
                "epoch": today.isoformat(),
                "history_days": history_days,
                "state_file": "{home}/clouds.db",
                **({"departments": [*_with_clerks(), UNHEARD]} if small else {}),
            },
            active=True,
        )
        tx.add(row)
        tx.flush()
        for capacity in pool.capacities:
            capacities.equip(
                tx,
                row,
                capacity.kind,
                capacity.total,
                reserved=capacity.reserved,
                ratio=capacity.ratio,
                key=f"found:{pool.code}:{capacity.kind}",
            )


def _with_clerks() -> list[str]:
    """Codes of the departments whose clerk has an account."""
    return [one.code for one in city.departments() if not one.grouping][:CLERKS]


def _people(tx: Tx) -> dict[str, str]:
    """One account or more for each role; a demo's passwords need not be changed."""
    passwords: dict[str, str] = {}

    def enter(login: str, name: str, role: Role, **belongs: Any) -> None:
        person, password = accounts.enrol(tx, login, name, role, granted=True, must_change=False, **belongs)
        passwords[person.login] = password

    for login, name, role in PEOPLE:
        enter(login, name, role)
    clerks = select(Department).where(Department.code.in_(_with_clerks())).order_by(Department.id)
    for number, department in enumerate(tx.scalars(clerks), 1):
        enter(
            "tenant" if number == 1 else f"tenant{number}", f"{department.name}经办", Role.TENANT, department=department
        )
    district = tx.scalars(select(Department).where(Department.code == DISTRICT)).one()
    enter("district", f"{district.name}配额统筹", Role.TENANT, department=district)
    manager = tx.scalars(select(Person).where(Person.login == "district")).one()
    accounts.grant(tx, manager, Role.TENANT, department=district, quota_manager=True)
    for number, company in enumerate(tx.scalars(select(CloudProvider).order_by(CloudProvider.id)), 1):
        enter(
            "provider" if number == 1 else f"provider{number}", f"{company.name}服务台", Role.PROVIDER, provider=company
        )
    return passwords


def read(workbench: Workbench, until: datetime, progress: Progress) -> None:
    """Collect every pool up to ``until``, adopt what runs there, and roll the days that are over by then."""
    for pool in workbench.pools():
        collection.collect(workbench, pool, until=until, progress=progress)
        with workbench.book.transaction(steward("init")) as tx:
            inventory.adopt(tx, tx.get_one(Pool, pool.id))
    over = [day for day in workbench.lake.hot_days() if day < until.astimezone(ZONE).date()]
    workbench.lake.roll(over, progress=lambda done, of: progress("roll", done, of))
    with workbench.book.transaction(steward("init")) as tx:
        reporters.keep(tx, workbench.lake, until.astimezone(ZONE).date())
