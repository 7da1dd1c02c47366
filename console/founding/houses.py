"""Founding a house: the data directory, the book, the lake, the first accounts; and the demo city where asked for.

A demo is made beside the data directory's own files and moved into place when it is whole, so that a start that was
cut off leaves nothing half-made: the next one starts over.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from console.accounts import access_rules, accounts
from console.occupancy import HousePart, InUse, occupied
from console.privacy import private_files, tighten
from console.schema import upgrade
from console.settings import Settings
from metering.judging import policies
from metering.lake import Lake
from metering.rollout import ceilings, scopes
from metering.workbench import Progress, Workbench, silent
from providers.adapters.simulated import CITY
from providers.assessment import formulas
from quota.actors import ROLE_LABELS, Role, steward
from quota.audit import AuditRecord
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, WrongState
from quota.requests import formbook, rulebook

FOUNDED = "house.found"
"""The audit record that says that a founding was finished."""

UNDER_WAY = ".founding"
ACCOUNTS = "accounts.json"


@dataclass(frozen=True, slots=True)
class FoundingPlan:
    """What a new house is to be. ``at``: the instant as of which it is founded, as if it were now (None: now); ``small``: a
    demo in which a few departments alone have resources: the same stories, founded sooner."""

    demo: bool
    at: datetime | None = None
    small: bool = False
    progress: Progress = silent


def found(
    settings: Settings,
    *,
    demo: bool,
    progress: Progress = silent,
    at: datetime | None = None,
    small: bool = False,
) -> Settings:
    """Make the house ready: create it where there is none, bring an older book up to date. Returns what holds then.

    ``at``, ``small``: see FoundingPlan. Raises WrongState where a founding in a database server was cut off half-way: it must be
    emptied by hand; and where somebody else founds it at this moment.
    """
    tighten(settings)
    plan = FoundingPlan(demo, at, small, progress)
    try:
        with private_files(), occupied(settings.data, HousePart.FOUNDING):
            if is_founded(settings):
                with _book(settings) as book:
                    upgrade.migrate(book)
                return known(settings)
            if settings.database:
                _found_here(settings, plan)
            else:
                _found_beside(settings, plan)
            return _as(settings, demo)
    except InUse:
        raise WrongState("house.founding", N_("此刻正在初始化这个数据目录;请等它完成后再试")) from None


def _as(settings: Settings, demo: bool) -> Settings:
    """``settings`` of a real or a demo house; a demo bears its city's name unless another is set."""
    unnamed = demo and settings.city == Settings().city
    return replace(settings, demo=demo, city=CITY if unnamed else settings.city)


def known(settings: Settings) -> Settings:
    """``settings`` as they hold for the house that is there: whether it is a demo, and its city's name."""
    return _as(settings, demo=bool(_kept(settings)["demo"]))


def is_founded(settings: Settings) -> bool:
    """Whether there is a finished house. Raises WrongState for a half-made one on a database server."""
    if not settings.database and not (settings.data / "book.db").exists():
        return False
    with _book(settings) as book:
        if upgrade.current(book) is None:
            return False
        with book.reading() as tx:
            if tx.scalar(select(AuditRecord.sequence).where(AuditRecord.action == FOUNDED).limit(1)):
                return True
    raise WrongState("house.half", N_("数据库中的初始化没有完成;请清空该数据库后重试"))


class _book:  # noqa: N801 - a context, used as one
    """The book of ``settings``, closed afterwards; its clock stands still at ``at`` where that is given."""

    def __init__(self, settings: Settings, at: datetime | None = None) -> None:
        self.book = Book(settings.database_url, clock=None if at is None else lambda: at)

    def __enter__(self) -> Book:
        return self.book

    def __exit__(self, *_: object) -> None:
        self.book.dispose()


def _found_beside(settings: Settings, plan: FoundingPlan) -> None:
    """Make everything in a folder of its own, then move it into place; the book last, because it is what is looked for."""
    aside = settings.data / UNDER_WAY
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    _found_here(replace(settings, data=aside, lake=Path()), plan)
    if settings.lake != Path():
        shutil.move(aside / "lake", settings.lake_dir)
    for entry in sorted(aside.iterdir(), key=lambda one: one.name.startswith("book.db")):
        os.replace(entry, settings.data / entry.name)
    aside.rmdir()


def _found_here(settings: Settings, plan: FoundingPlan) -> None:
    with _book(settings, plan.at) as book:
        upgrade.migrate(book)
        workbench = Workbench(
            book, Lake(settings.lake_dir), settings.data, caution=settings.caution, secrets=settings.secrets
        )
        with book.transaction(steward("init")) as tx:
            policies.seed(tx)
            formulas.seed(tx)
            # A demo looks back on weeks in which requests were signed by these rules.
            rulebook.default_rules(tx, tx.now.date() - timedelta(days=365) if plan.demo else None)
            if not plan.demo:  # what a real city runs was not asked for by these rules: it is looked at first
                scopes.begin_in_shadow(tx)
                ceilings.begin_low(tx)
                access_rules.begin(tx)
                formbook.begin(tx)
        if plan.demo:
            from console.demo import city as demo

            passwords = demo.build(workbench, settings, plan.progress, small=plan.small)
        else:
            with book.transaction(steward("init")) as tx:
                passwords = first_accounts(tx)
        with book.transaction(steward("init")) as tx:
            tx.audit(FOUNDED, "house:1", after={"demo": plan.demo})
        if book.engine.dialect.name == "sqlite":  # nothing may be left in a write-ahead log when the file is moved
            with book.engine.connect() as connection:
                connection.exec_driver_sql("ROLLBACK")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.exec_driver_sql("BEGIN")
    _keep(settings, plan.demo, passwords)


def first_accounts(tx: Tx) -> dict[str, str]:
    """The three administrators of an empty house; login → first password, to be changed at the first login."""
    made = {}
    for role in (Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN):
        person, password = accounts.enrol(tx, role.value, ROLE_LABELS[role], role, granted=True)
        made[person.login] = password
    return made


def _keep(settings: Settings, demo: bool, passwords: dict[str, str]) -> None:
    """Remember that this is a demo, and a demo's passwords, so that the next start can print them again."""
    content = {"demo": demo, "accounts": passwords}
    handle = os.open(settings.data / ACCOUNTS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)


def _kept(settings: Settings) -> dict[str, object]:
    path = settings.data / ACCOUNTS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {"demo": False, "accounts": {}}


def accounts_text(settings: Settings) -> Iterator[str]:
    """What to print: each account with its password. A real house's first passwords are shown once and forgotten."""
    kept = _kept(settings)
    passwords = kept["accounts"]
    if not isinstance(passwords, dict) or not passwords:
        return
    with _book(settings) as book, book.reading() as tx:
        people = {one.login: one for one in tx.scalars(select(Person).where(Person.login.in_(passwords)))}
        width = max(len(login) for login in passwords)
        for login, password in passwords.items():
            one = people.get(login)
            if one is None:
                continue
            whose = one.department or one.provider
            yield (
                f"  {login:<{width}}  {password}  {ROLE_LABELS[Role(one.role)]}{f' · {whose.name}' if whose else ''}"
            )
    if not kept["demo"]:
        _keep(settings, False, {})
