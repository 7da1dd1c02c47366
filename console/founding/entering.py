"""What a workbook says, entered by the verbs of the trade in one transaction: all of it, or nothing where anything is wrong.

What is there already and the same is not touched; what differs is changed where a verb changes it, and refused where none
does. Each row is tried by itself, so that every fault is told, and not only the first; rows that name what is wrong
elsewhere in the workbook are not counted as faults of their own.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select

from console.accounts import accounts, passwords
from console.founding import examples, sheets
from console.mail import mails
from console.workbooks import YES, CellFault, SheetRow, Workbook, read, yes
from metering.intake import probes
from metering.judging import Procedure, policies
from metering.statements import tariffs
from providers import registry
from providers.assessment import formulas
from quota import calendar
from quota.actors import Actor, Role
from quota.calendar import CalendarDay
from quota.db import Book, Tx
from quota.directory import (
    CatalogItem,
    CloudProvider,
    Department,
    Person,
    Pool,
    PoolCapacity,
    System,
    catalog,
    city,
    companies,
    departments,
    pools,
)
from quota.errors import N_, Conflict, Invalid, Refused
from quota.ledger import capacities
from quota.requests import ApprovalRule, rulebook
from quota.units import CLASSES, Arch, ClassCode, base_units

FIRST_PASSWORDS = "first-passwords"
"""Folder in the data directory with a file a person: what to hand over, and then to delete."""

AND, OR = N_("且"), N_("或")
_JOINED = re.compile(rf"{AND}|{OR}|\band\b|\bor\b")
OPERATORS = (">=", "<=", "!=", "==", ">", "<", "=")


@dataclass(slots=True)
class EntryOutcome:
    """What came of a workbook: by sheet how many rows were new, changed and the same; what was wrong; whose first passwords
    lie in which files."""

    added: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    faults: list[CellFault] = field(default_factory=list)
    handed: list[Path] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.faults

    @property
    def alters(self) -> bool:
        return bool(self.added or self.changed)


class _Wrong(Exception):
    """Something is wrong: nothing is kept."""


class _Elsewhere(Refused):
    """What is wrong is told beside another row already."""

    def __init__(self) -> None:
        super().__init__("elsewhere", "")


def check(book: Book, workbook: Workbook, actor: Actor, *, demo: bool = False) -> EntryOutcome:
    """What would come of ``workbook``; nothing is kept."""
    with book.trial(actor) as tx:
        return _Entering(tx, workbook, demo).all()


def enter(book: Book, workbook: Workbook, actor: Actor, home: Path, *, demo: bool = False) -> EntryOutcome:
    """Enter ``workbook`` into the book, folders of ``files`` pools and files with first passwords made beside it in the data
    directory ``home``. Where anything is wrong nothing is kept, and the outcome says what."""
    outcome = check(book, workbook, actor, demo=demo)
    if not outcome.whole or not outcome.alters:
        return outcome
    # Hashing takes long: it is done before the book is held.
    secrets = {row.values["login"]: _secret() for row in _new_people(book, workbook, actor)}
    made: list[Path] = []
    try:
        with book.transaction(actor) as tx:
            entering = _Entering(tx, workbook, demo, home, secrets)
            outcome = entering.all()
            if not outcome.whole:
                raise _Wrong
            made = _hand_out(home, entering.first)
    except _Wrong:
        return outcome
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    outcome.handed = made
    return outcome


def _secret() -> tuple[str, str]:
    first = passwords.random()
    return first, passwords.hashed(first)


def _new_people(book: Book, workbook: Workbook, actor: Actor) -> list[SheetRow]:
    with book.reading(actor) as tx:
        known = {login.lower() for login in tx.scalars(select(Person.login))}
    return [row for row in workbook.rows["people"] if str(row.values["login"]).lower() not in known]


def _hand_out(home: Path, first: Mapping[str, str]) -> list[Path]:
    """A file a person, readable by the owner of the house alone."""
    if not first:
        return []
    folder = home / FIRST_PASSWORDS
    folder.mkdir(mode=0o700, exist_ok=True)
    made = []
    for login, password in first.items():
        path = folder / f"{login}.txt"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"{login}\n{password}\n")
        made.append(path)
    return made


class _Entering:
    """One workbook in one transaction."""

    def __init__(
        self,
        tx: Tx,
        workbook: Workbook,
        demo: bool,
        home: Path | None = None,
        secrets: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.tx, self.workbook, self.demo, self.home = tx, workbook, demo, home
        self.secrets = secrets or {}
        self.first: dict[str, str] = {}
        self.outcome = EntryOutcome(faults=list(workbook.faults))
        self.named = {name: {row.code for row in rows} for name, rows in workbook.rows.items()}
        self.today = tx.now.astimezone(calendar.ZONE).date()

    def all(self) -> EntryOutcome:
        """Every sheet, those first that others name."""
        self._city()
        self._each("companies", self._company)
        self._departments()
        self._each("people", self._person)
        self._each("systems", self._system)
        self._each("pools", self._pool)
        self._connections()
        self._each("capacity", self._capacity)
        self._each("catalogue", self._item)
        self._each("tariffs", self._tariff)
        self._rules()
        self._policy()
        self._each("calendar", self._day)
        self._manned()
        order = {one.title: number for number, one in enumerate(sheets.SHEETS)}
        self.outcome.faults.sort(key=lambda one: (order.get(one.sheet, len(order)), one.sheet, one.row))
        return self.outcome

    # ------------------------------------------------------------------------------------------------------ mechanism

    def _each(self, name: str, act: Callable[[SheetRow], bool]) -> None:
        for row in self.workbook.rows[name]:
            if row.sound:
                self._attempt(row, lambda row=row: act(row))  # type: ignore[misc]

    def _attempt(self, row: SheetRow, act: Callable[[], bool], columns: Mapping[str, str] | None = None) -> None:
        """Do what a row says; what is refused is undone and becomes a fault beside the column that it is about."""
        try:
            self._by_itself(row)
        except Invalid as wrong:
            self._fault(row, str(wrong.params.get("field", "")), wrong)
            return
        if not self._refers(row):
            return
        with self._trying(row, columns or {}):
            noted = len(self.tx.notes)
            new = act()
            counter = self.outcome
            found = counter.added if new else counter.changed if len(self.tx.notes) > noted else counter.same
            found[row.sheet.title] += 1

    @contextmanager
    def _trying(self, row: SheetRow, columns: Mapping[str, str]) -> Iterator[None]:
        try:
            with self.tx.apart():
                yield
        except Refused as refused:
            if isinstance(refused, _Elsewhere):
                return
            key = str(refused.params.get("field", ""))
            self._fault(row, columns.get(key, key), refused)

    def _fault(self, row: SheetRow, key: str, refused: Refused) -> None:
        labels = {one.key: one.label for one in row.sheet.columns}
        column = labels.get(key, row.sheet.columns[0].label)
        self.outcome.faults.append(
            CellFault(row.sheet.title, row.number, column, refused.code, refused.message, refused.params)
        )

    def _by_itself(self, row: SheetRow) -> None:
        """What can be said of a row whatever it names: so that it is told also where that is wrong. Raises Invalid."""
        said = row.values
        if row.sheet.name == "people":
            mails.checked(said["email"] or "")
        elif row.sheet.name == "pools" and said["adapter"] not in registry.offered(demo=self.demo):
            raise Invalid("pool.adapter", N_("没有名为“%(name)s”的适配器"), name=said["adapter"], field="adapter")
        elif row.sheet.name == "capacity":
            ratio = Decimal(1) if said["ratio"] is None else said["ratio"]
            pools.check_capacity(ClassCode(said["kind"]), said["total"], said["reserved"] or 0, ratio)

    def _refers(self, row: SheetRow) -> bool:
        """Whether all that the row names is there. What the workbook has, but could not be entered, is told there."""
        whole = True
        for column in row.sheet.columns:
            code = row.values.get(column.key)
            if column.of and code and self._named(column.of, code) is None:
                whole = False
                if code not in self.named[column.of]:
                    title = sheets.BY_NAME[column.of].title
                    unknown = Invalid(
                        "ref.unknown", N_("“%(code)s”既不在“%(sheet)s”表,也没有登记"), code=code, sheet=title
                    )
                    self._fault(row, column.key, unknown)
        return whole

    def _named(self, sheet: str, code: str) -> Any:
        model: Any = {"companies": CloudProvider, "departments": Department, "pools": Pool, "catalogue": CatalogItem}[
            sheet
        ]
        return self.tx.scalar(select(model).where(model.code == code))

    # --------------------------------------------------------------------------------------------------------- sheets

    def _city(self) -> None:
        for row in self.workbook.rows["city"]:
            if row.sound:
                self._attempt(row, lambda row=row: self._said(row))  # type: ignore[misc]

    def _said(self, row: SheetRow) -> bool:
        item, value = row.values["item"], row.values["value"]
        if item in city.NAMES:
            city.say(self.tx, {item: value})
            return False
        try:
            wanted = yes(value)
        except Invalid as wrong:
            raise Invalid(wrong.code, wrong.message, field="value") from None
        if wanted:
            {"catalogue": self._ready_catalogue, "rules": self._ready_rules, "policy": self._ready_policy}[item]()
        return False

    def _ready_catalogue(self) -> None:
        ready_catalogue(self.tx)

    def _ready_rules(self) -> None:
        rulebook.default_rules(self.tx)

    def _ready_policy(self) -> None:
        policies.seed(self.tx)
        formulas.seed(self.tx)

    def _company(self, row: SheetRow) -> bool:
        said = row.values
        facts = {name: said[name] for name in companies.FIELDS if name != "contacts" and said[name] is not None}
        if said["contacts"] is not None:
            facts["contacts"] = companies.contacts_in(said["contacts"])
        one = self._named("companies", said["code"])
        if one is None:
            companies.register(self.tx, said["code"], said["name"], facts)
            return True
        companies.amend(self.tx, one, facts)
        return False

    def _departments(self) -> None:
        """Parents before those below them, whatever the order of the rows."""
        waiting = [row for row in self.workbook.rows["departments"] if row.sound]
        own = {row.code for row in waiting}
        while waiting:
            ready = [row for row in waiting if row.values["parent"] not in own or self._there(row.values["parent"])]
            stuck = not ready
            for row in ready or waiting:
                if stuck and not self._circular(row):
                    continue  # below one of a circle, which is told there
                if stuck:
                    self._fault(row, "parent", Invalid("department.circle", N_("上级单位互为上下级")))
                else:
                    self._attempt(row, lambda row=row: self._department(row))  # type: ignore[misc]
                    own.discard(row.code)
            if stuck:
                return
            waiting = [row for row in waiting if row not in ready]

    def _there(self, code: str) -> bool:
        return self._named("departments", code) is not None

    def _circular(self, row: SheetRow) -> bool:
        above = {one.code: one.values["parent"] for one in self.workbook.rows["departments"] if one.sound}
        code = above.get(row.code)
        for _step in above:
            if code == row.code:
                return True
            code = above.get(code) if code else None
        return False

    def _department(self, row: SheetRow) -> bool:
        said = row.values
        parent = self._named("departments", said["parent"]) if said["parent"] else None
        one = self._named("departments", said["code"])
        if one is None:
            departments.register(self.tx, said["code"], said["name"], parent)
            return True
        if parent is not None and one.parent_id != parent.id:
            raise Conflict("department.moved", N_("已登记的上级单位不同,请在单位页做机构调整"), field="parent")
        departments.rename(self.tx, one, said["name"])
        return False

    def _person(self, row: SheetRow) -> bool:
        said, role = row.values, Role(row.values["role"])
        department = self._named("departments", said["department"]) if said["department"] else None
        provider = self._named("companies", said["provider"]) if said["provider"] else None
        address = mails.checked(said["email"] or "")
        who = self.tx.scalar(select(Person).where(func.lower(Person.login) == said["login"].lower()))
        machine = self.tx.actor.role is Role.SYSTEM
        if who is None:
            first, hashed = self.secrets.get(said["login"], ("", "-"))
            accounts.enrol(
                self.tx, said["login"], said["name"], role, department=department, provider=provider, granted=machine,
                email=address, secret=(first, hashed),
            )  # fmt: skip
            self.first[said["login"]] = first
            return True
        for key, was, now in (
            ("role", who.role, role.value),
            ("department", who.department_id, department.id if department else None),
            ("provider", who.provider_id, provider.id if provider else None),
            ("name", who.name, said["name"]),
            ("email", who.email, address or who.email),
        ):
            if was != now:
                raise Conflict("person.differs", N_("与已登记的不同,请在人员与授权页修改"), field=key)
        return False

    def _system(self, row: SheetRow) -> bool:
        said = dict(row.values)
        code, owner = said.pop("code"), self._named("departments", said.pop("department"))
        facts = {name: value for name, value in said.items() if value is not None}
        one = self.tx.scalar(select(System).where(System.code == code))
        if one is None:
            departments.enter(self.tx, code, owner.id, facts)
            return True
        if one.department_id != owner.id:
            raise Conflict("system.moved", N_("已登记的所属单位不同,请在单位页做机构调整"), field="department")
        departments.amend(self.tx, one, facts)
        return False

    def _pool(self, row: SheetRow) -> bool:
        said = row.values
        company, xinchuang = self._named("companies", said["provider"]), bool(said["xinchuang"])
        one = self._named("pools", said["code"])
        if one is None:
            options = self._options(said["code"], said["adapter"], {})
            if options is None:
                raise _Elsewhere
            one = pools.register(
                self.tx, said["code"], said["name"], company.id, Arch(said["arch"]), said["zone"],
                adapter=said["adapter"], options=options, xinchuang=xinchuang,
            )  # fmt: skip
            self._connected(one)
            return True
        for key, was, now in (
            ("name", one.name, said["name"]),
            ("provider", one.provider_id, company.id),
            ("arch", one.arch, said["arch"]),
            ("zone", one.zone, said["zone"]),
            ("adapter", one.adapter, said["adapter"]),
            ("xinchuang", one.xinchuang, xinchuang if said["xinchuang"] is not None else one.xinchuang),
        ):
            if was != now:
                raise Conflict("pool.differs", N_("与已登记的不同;资源池登记后不改这一项"), field=key)
        return False

    def _options(self, code: str, adapter: str, before: Mapping[str, Any]) -> dict[str, Any] | None:
        """The options that the workbook gives a pool, over those ``before``. None where one of them is wrong, which is told
        beside it."""
        rows = [one for one in self.workbook.rows["connections"] if one.values["pool"] == code]
        given = {**before, **{one.values["option"]: one.values["value"] for one in rows if one.sound}}
        if any(not one.sound for one in rows):
            return None
        try:
            return registry.checked(adapter, given)
        except Invalid as wrong:
            name = wrong.params.get("field")
            for one in rows:
                if one.values["option"] == name:
                    place = "option" if wrong.code == "options.unknown" else "value"
                    self._fault(one, place, wrong)
                    return None
            raise Invalid(wrong.code, wrong.message, **{**wrong.params, "field": "adapter"}) from None

    def _connections(self) -> None:
        """Options of pools that were there before; those of new ones went with their pool."""
        for code in dict.fromkeys(row.values["pool"] for row in self.workbook.rows["connections"] if row.sound):
            rows = [one for one in self.workbook.rows["connections"] if one.values["pool"] == code]
            if code in self.named["pools"] and self._named("pools", code) is None:
                continue
            self._attempt(rows[0], lambda code=code: self._reconnected(code))  # type: ignore[misc]

    def _reconnected(self, code: str) -> bool:
        one = self._named("pools", code)
        options = self._options(code, one.adapter, one.adapter_options)
        if options is None:
            raise _Elsewhere
        if options != one.adapter_options:
            pools.connect(self.tx, one, options)
            self._connected(one)
        return False

    def _connected(self, pool: Pool) -> None:
        """What a pool's new options ask for: a folder of the house's own is made, the connection tested."""
        folder = pool.adapter_options.get("folder")
        if (
            self.home is not None
            and pool.adapter == "files"
            and isinstance(folder, str)
            and folder.startswith("{home}/")
        ):
            Path(folder.replace("{home}", str(self.home))).mkdir(mode=0o700, parents=True, exist_ok=True)
        if registry.is_probed(pool.adapter):
            probes.ask(self.tx, f"pool:{pool.id}")

    def _capacity(self, row: SheetRow) -> bool:
        said, one = row.values, self._named("pools", row.values["pool"])
        kind = ClassCode(said["kind"])
        total, reserved = base_units(kind, said["total"]), base_units(kind, said["reserved"] or 0)
        ratio = said["ratio"] if said["ratio"] is not None else Decimal(1)
        has = self.tx.scalar(select(PoolCapacity).where(PoolCapacity.pool_id == one.id, PoolCapacity.kind == kind))
        if has is not None and (has.total, has.reserved, has.ratio) == (total, reserved, ratio):
            return False
        capacities.equip(
            self.tx, one, kind, total, reserved=reserved, ratio=ratio, key=f"workbook:{uuid4().hex}",
            reason=said["reason"] or N_("筹建工作簿"),
        )  # fmt: skip
        return has is None

    def _item(self, row: SheetRow) -> bool:
        return offer(self.tx, row.values)

    def _tariff(self, row: SheetRow) -> bool:
        said = row.values
        company = self._named("companies", said["provider"]) if said["provider"] else None
        item = self._named("catalogue", said["item"]) if said["item"] else None
        row_ = tariffs.Tariff(
            kind=said["kind"], arch=said["arch"], provider_id=company.id if company else None,
            catalog_item_id=item.id if item else None, effective_from=said["effective_from"],
        )  # fmt: skip
        before = tariffs.corrected_by(self.tx, row_)
        if before is not None and (before.price, before.per) == (said["price"], said["per"]):
            return False
        tariffs.enter(
            self.tx, ClassCode(said["kind"]), said["price"], said["effective_from"], per=tariffs.Per(said["per"]),
            arch=Arch(said["arch"]) if said["arch"] else None, provider_id=row_.provider_id,
            catalog_item_id=row_.catalog_item_id, label=said["label"] or "", reason=said["reason"] or "",
        )  # fmt: skip
        return True

    def _rules(self) -> None:
        """The rows of one code are one rule."""
        rows: dict[str, list[SheetRow]] = {}
        for row in self.workbook.rows["rules"]:
            rows.setdefault(row.code, []).append(row)
        for of in rows.values():
            if all(row.sound for row in of):
                self._attempt(of[0], lambda of=of: self._rule(of))  # type: ignore[misc]

    def _rule(self, rows: list[SheetRow]) -> bool:
        said = rows[0].values
        for row in rows[1:]:
            for key in ("name", "condition", "priority", "effective_from"):
                if row.values[key] != said[key]:
                    self._fault(row, key, Invalid("rules.differ", N_("同一规则各行的这一列须相同")))
                    raise _Elsewhere
        condition = condition_in(said["condition"] or "")
        steps = [{"name": row.values["step"], "role": row.values["role"], "days": row.values["days"]} for row in rows]
        newest = self.tx.scalar(
            select(ApprovalRule).where(ApprovalRule.code == said["code"]).order_by(ApprovalRule.version.desc()).limit(1)
        )
        told = (said["name"], condition, steps, said["priority"] or 0, said["effective_from"])
        if newest is not None and told == (
            newest.name, newest.condition, newest.steps, newest.priority, newest.effective_from,
        ):  # fmt: skip
            return False
        if said["effective_from"] < self.today:
            raise Invalid("rules.past", N_("规则不能从过去的日期起生效"), field="effective_from")
        rulebook.enact(
            self.tx, said["code"], said["name"], condition, steps, effective_from=said["effective_from"],
            priority=said["priority"] or 0, basis=said["basis"] or "",
        )  # fmt: skip
        return newest is None

    def _policy(self) -> None:
        rows = self.workbook.rows["policy"]
        if rows and all(row.sound for row in rows):
            self._attempt(rows[0], lambda: self._procedure(rows))

    def _procedure(self, rows: list[SheetRow]) -> bool:
        newest = policies.newest(self.tx, "default") or policies.seed(self.tx)
        said = rows[0].values
        kinds: dict[str, Any] = {one.name: type(one.default) for one in fields(Procedure)}
        changed: dict[str, Any] = {}
        for row in rows:
            for key in ("effective_from", "reason"):
                if row.values[key] != said[key]:
                    self._fault(row, key, Invalid("policy.differ", N_("各行的这一列须相同")))
                    raise _Elsewhere
            kind, value = kinds[row.values["parameter"]], row.values["value"]
            if kind is int and value != value.to_integral_value():
                self._fault(row, "value", Invalid("cell.whole", N_("须为整数")))
                raise _Elsewhere
            changed[row.values["parameter"]] = kind(value)
        try:
            procedure = replace(newest.rules(), **changed)
        except Invalid as wrong:
            of = next((one for one in rows if one.values["parameter"] == wrong.params.get("field")), rows[0])
            self._fault(of, "value", wrong)
            raise _Elsewhere from None
        if procedure != newest.rules():
            policies.amend(self.tx, "default", procedure, effective_from=said["effective_from"], reason=said["reason"])
        return False

    def _day(self, row: SheetRow) -> bool:
        said = row.values
        has = self.tx.get(CalendarDay, said["day"])
        if has is not None and (has.working, has.note) == (said["working"], said["note"] or ""):
            return False
        calendar.correct(self.tx, said["day"], said["working"], said["note"] or "")
        return has is None

    def _manned(self) -> None:
        """What only the whole shows: a house into which people are entered has somebody who approves, and who reviews."""
        rows = self.workbook.rows["people"]
        if not rows:
            return
        there = set(self.tx.scalars(select(Person.role).where(Person.active).distinct()))
        there |= {row.values["role"] for row in rows if row.values["role"]}
        for role, message in (
            (Role.AUTHORITY, N_("没有一位主管部门人员:无人能作最终审批")),
            (Role.SUPERVISOR, N_("没有一位运营监督人员:无人能作形式审查")),
        ):
            if role not in there:
                label = next(one.label for one in rows[0].sheet.columns if one.key == "role")
                self.outcome.faults.append(CellFault(rows[0].sheet.title, 1, label, f"house.no_{role.value}", message))


def offer(tx: Tx, said: Mapping[str, Any]) -> bool:
    """Offer what a row of the sheet 服务目录 says; whether it is new. Raises Conflict where it is offered as something else."""
    takes = {
        code: base_units(code, figure, field=f"takes_{code}")
        for code in CLASSES
        if (figure := said.get(f"takes_{code}")) is not None and figure > 0
    }
    has = tx.scalar(select(CatalogItem).where(CatalogItem.code == said["code"]))
    if has is not None:
        for key, was, now in (
            ("name", has.name, said["name"]), ("service", has.service, said["service"]),
            ("archs", sorted(has.archs), sorted(said["archs"])), ("unit", has.unit, said["unit"]),
            ("delivery_days", has.delivery_days, said["delivery_days"]), ("code", has.takes(), takes),
        ):  # fmt: skip
            if was != now:
                raise Conflict("catalog.differs", N_("目录条目列出后不改;换一个代码,或下架旧的"), field=key)
        return False
    catalog.offer(
        tx, said["code"], said["name"], said["service"], takes, [Arch(one) for one in said["archs"]],
        name_en=said.get("name_en") or "", unit=said["unit"], delivery_days=said["delivery_days"],
    )  # fmt: skip
    return True


def ready_catalogue(tx: Tx) -> int:
    """Offer the ready-made catalogue; codes that are taken are left as they are. How many items are new."""
    taken = set(tx.scalars(select(CatalogItem.code)))
    columns = {one.key: one for one in sheets.BY_NAME["catalogue"].columns}
    new = 0
    for item in examples.CATALOGUE:
        if item["code"] not in taken:
            said = {key: read(column, item.get(key)) for key, column in columns.items()}
            new += offer(tx, said)
    return new


def condition_in(text: str) -> dict[str, Any]:
    """``vcpu > 64 或 memory_gb > 128`` as a condition of a rule: comparisons joined by 且 or by 或. Raises Invalid."""
    if not text.strip():
        return {}
    parts = [part.strip() for part in _JOINED.split(text)]
    words = {AND if word in (AND, "and") else OR for word in _JOINED.findall(text)}
    if len(words) > 1:
        raise Invalid("rules.mixed", N_("条件里不能既有并且又有或者,请分成两条规则"), field="condition")
    found = [_comparison(part) for part in parts]
    return found[0] if len(found) == 1 else {"any" if OR in words else "all": found}


def _comparison(text: str) -> dict[str, Any]:
    for op in OPERATORS:
        fact, sign, value = text.partition(op)
        if sign:
            return {"fact": fact.strip(), "op": "==" if op == "=" else op, "value": _value(value.strip())}
    raise Invalid("rules.comparison", N_("“%(text)s”不是比较,如 vcpu > 64"), text=text.strip()[:80], field="condition")


def _value(text: str) -> Any:
    if text in YES:
        return YES[text]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
