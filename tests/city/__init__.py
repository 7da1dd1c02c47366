"""The city of the tests: a book with what a plan says in it (tests/city/plans.py draws them), and short words for acts.

``City(book, clock, WORKS, home)`` founds one; ``city.<name>`` is what the plan calls so: the id of a pool, department,
system or item, the Actor of a person, the row of a company.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from console.accounts import accounts
from metering.judging import policies
from quota.actors import HELD, Actor, Role, steward
from quota.db import Book, Tx
from quota.directory import catalog, departments, pools
from quota.directory.departments import Department
from quota.ledger import capacities, entries
from quota.requests import rulebook
from quota.units import Amount, Arch
from tests import books
from tests.city.cases import CaseActs
from tests.city.ledgers import LedgerActs
from tests.city.orders import OrderActs
from tests.city.plans import (
    CASES,
    CONSOLE,
    CONSOLE_POOL,
    GB,
    LARGE,
    SMALL,
    STATEMENTS,
    TOWN,
    WORKS,
    DepartmentPlan,
    PersonPlan,
    Plan,
    PoolPlan,
)
from tests.city.requests import RequestActs
from tests.city.statements import StatementActs

__all__ = [
    "CASES",
    "CONSOLE",
    "CONSOLE_POOL",
    "GB",
    "LARGE",
    "SMALL",
    "STATEMENTS",
    "TOWN",
    "WORKS",
    "City",
    "DepartmentPlan",
    "PersonPlan",
    "Plan",
    "PoolPlan",
]


_FOUNDED: dict[tuple[str, str, datetime], tuple[books.Written, City]] = {}
"""What was founded in this process, by database, plan and time: all that the book said, and the city as it was then."""


class City(LedgerActs, RequestActs, OrderActs, CaseActs, StatementActs):
    """One city in one book.

    ``pools``, ``companies``: code → id; ``departments``: as founded; ``people``: name in the plan → Actor;
    ``passwords``: login → first password, where people are enrolled. ``pool`` and ``department``: where it acts.
    """

    def __init__(
        self, book: Book, clock: Callable[[], datetime] | None = None, plan: Plan = CASES, home: Path | None = None
    ) -> None:
        self.book, self.clock, self.home = book, clock or book.clock, home
        self.named: dict[str, Any] = {}
        self.pools: dict[str, int] = {}
        self.companies: dict[str, int] = {}
        self.departments: list[Department] = []
        self.people: dict[str, Actor] = {}
        self.passwords: dict[str, str] = {}
        self.pool = self.department = self.policy = self.machines = 0
        key = (book.url.get_backend_name(), repr(plan), book.clock())
        if not books.untouched(book):
            self.add(plan)
        elif key in _FOUNDED:
            self._move_in(*_FOUNDED[key])
        else:
            self.add(plan)
            _FOUNDED[key] = books.written(book), self.copied(book, self.clock)

    def __getattr__(self, name: str) -> Any:
        named = self.__dict__.get("named", {})
        if name in named:
            return named[name]
        raise AttributeError(f"nothing in this city's plan is called {name}")

    def _move_in(self, founded: books.Written, first: City) -> None:
        """Lay the book as it was founded: two thousand tests begin with one of a dozen cities."""
        books.lay(self.book, founded)
        mine = {"book": self.book, "clock": self.clock, "home": self.home}
        self.__dict__ |= first.copied(self.book, self.clock).__dict__ | mine

    def copied(self, book: Book, clock: Callable[[], datetime] | None = None) -> City:
        """The same city in ``book``, which is a copy of its own."""
        twin = copy(self)
        twin.__dict__ |= {name: copy(what) for name, what in self.__dict__.items() if isinstance(what, dict | list)}
        twin.book, twin.clock = book, clock or book.clock
        return twin

    def add(self, plan: Plan) -> None:
        """Found what ``plan`` says, beside what is there."""
        with self.book.transaction(steward()) as tx:
            self._found(tx, plan)

    def _found(self, tx: Tx, plan: Plan) -> None:
        for name, (code, title) in plan.companies.items():
            company = pools.CloudProvider(code=code, name=title)
            tx.add(company)
            tx.flush()
            self.named[name], self.companies[code] = company, company.id
        for name, pool in plan.pools.items():
            self._pool(tx, name, pool)
        for name, one in plan.departments.items():
            above = tx.get_one(Department, self.named[one.above]) if one.above else None
            row = departments.register(tx, one.code, one.name, above)
            self.departments.append(row)
            self.named[name] = row.id
        if plan.pools:
            self.pool = self.named[plan.at or next(iter(plan.pools))]
        self.department = self.departments[0].id
        for name, (code, title, department) in plan.systems.items():
            system = departments.System(code=code, name=title, department_id=self.named[department])
            tx.add(system)
            tx.flush()
            self.named[name] = system.id
        for name, (code, title, shape, archs) in plan.items.items():
            self.named[name] = catalog.offer(tx, code, title, "vm", shape, list(archs)).id
        if plan.ruled:
            rulebook.default_rules(tx, plan.ruled_from or tx.now.date())
        if plan.granted:
            for name in plan.pools:
                what = Amount(plan.granted).of_arch(Arch(plan.pools[name].arch))
                entries.grant(tx, self.named[name], self.department, what, key=f"grant:{name}")
        if plan.judged:
            self._judge_by(tx, plan)
        for name, person in plan.people.items():
            self.people[name] = self.named[name] = self._actor(name, person)
        if plan.enrolled:
            self._enrol(tx)

    def _pool(self, tx: Tx, name: str, plan: PoolPlan) -> None:
        code = plan.code or name
        pool = pools.Pool(
            code=code,
            name=plan.name or code,
            provider_id=self.named[plan.company].id,
            arch=plan.arch.value,
            zone=plan.zone,
            xinchuang=plan.xinchuang,
            adapter=plan.adapter,
        )
        tx.add(pool)
        tx.flush()
        for one in plan.capacities:
            key = f"{code}:{one.kind}"
            capacities.equip(tx, pool, one.kind, one.total, reserved=one.reserved, ratio=one.ratio, key=key)
        self.named[name] = self.pools[code] = pool.id

    def _judge_by(self, tx: Tx, plan: Plan) -> None:
        policy = policies.seed(tx)
        if plan.procedure is not None:
            newer = replace(policy.policy(), effective_from=tx.now.date())
            policy = policies.enact(tx, newer, plan.procedure, reason="试用其他办案期限")
        self.policy = policy.id

    def _actor(self, name: str, person: PersonPlan) -> Actor:
        login = person.login or name
        return Actor(
            login,
            person.name or login,
            person.role,
            self.named[person.department] if person.department else None,
            self.named[person.company].id if person.company else None,
            "192.0.2.1",
        )

    def _enrol(self, tx: Tx) -> None:
        """Two people of every role: <role>1 and <role>2, of the first two departments and the first company."""
        company = tx.get_one(pools.CloudProvider, next(iter(self.companies.values())))
        for role in HELD:
            for number in (1, 2):
                who, first = accounts.enrol(
                    tx,
                    f"{role.value}{number}",
                    f"{role.value}甲乙"[: len(role.value) + number],
                    role,
                    department=self.departments[number - 1] if role is Role.TENANT else None,
                    provider=company if role is Role.PROVIDER else None,
                    granted=True,
                    must_change=False,
                )
                self.passwords[who.login] = first
