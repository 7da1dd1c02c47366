"""What was filled in, entered as drafts by the verbs of requests: all of it, or what has no fault where that is said; a request is
never entered in part.

A row is looked at as if it were handed in, after those above it: what the rules don't allow, and a pool that has not enough for all
of them, is a fault of the row. Its key is made of the batch, its sheet and its number: the same row again is the same request, and
with other words a change of it. In what bears no batch (a text file, say) the words are part of what a row is: other words are
another request. What was withdrawn or rejected is asked for anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import inspect, or_, select

from console.request_sheets.columns import LINE, amount, more
from console.workbooks import CellFault, SheetRow, Workbook
from providers.base import ServiceKind
from quota import requests
from quota.actors import Actor
from quota.db import Book, Tx
from quota.directory import CatalogItem, Department, Pool, System, departments, presets
from quota.errors import N_, Conflict, Invalid, Refused
from quota.inventory import Resource
from quota.requests import (
    About,
    Ask,
    EntryRegister,
    Line,
    Request,
    RequestKind,
    RequestState,
    asks,
    declared,
    facts,
    formbook,
)
from quota.units import CLASSES, base_units

MOST = 1000
"""Requests of one workbook."""
MOST_LINES = 8
"""Lines of one request, as on its form."""
ENDED = (RequestState.WITHDRAWN, RequestState.REJECTED)
"""Of what came to nothing a row may be asked for anew."""
COLUMNS = {
    "pool_id": "pool", "system_id": "system", "resource_id": "resource", "lines": "item", "quantity": "quantity",
    "lines-0-item": "item",
}  # fmt: skip
"""What a refusal names → the column that it is about."""


@dataclass(slots=True)
class FiledOutcome:
    """What came of a workbook: by sheet how many requests are new, changed and the same; what is wrong; ids of the drafts that there
    are now of it. ``entered``: whether any of it was."""

    added: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    faults: list[CellFault] = field(default_factory=list)
    drafts: list[int] = field(default_factory=list)
    entered: bool = False

    @property
    def whole(self) -> bool:
        return not self.faults

    @property
    def alters(self) -> bool:
        return bool(self.added or self.changed)


class _Wrong(Exception):
    """Something is wrong: nothing is kept."""


def check(book: Book, workbook: Workbook, actor: Actor) -> FiledOutcome:
    """What would come of ``workbook`` if it were entered and all of it handed in; nothing is kept."""
    with book.trial(actor) as tx:
        tx.info[facts.PAPERS_LATER] = True  # annexes are put forward with the draft
        return _Filing(tx, workbook, try_out=True).all()


def enter(book: Book, workbook: Workbook, actor: Actor, *, sound_only: bool = False) -> FiledOutcome:
    """Enter what ``workbook`` asks for as drafts; where anything is wrong nothing, or, with ``sound_only``, all requests that
    nothing is wrong with."""
    looked = check(book, workbook, actor)
    if not (looked.whole or sound_only):
        return looked
    wrong = {(one.sheet, one.row) for one in looked.faults}
    try:
        with book.transaction(actor) as tx:
            outcome = _Filing(tx, workbook, without=wrong).all()
            outcome.faults = sorted(
                {_place(one): one for one in (*looked.faults, *outcome.faults)}.values(), key=_place
            )
            if outcome.faults and not sound_only:
                raise _Wrong
    except _Wrong:
        outcome.drafts = []
        return outcome
    outcome.entered = True
    return outcome


def _place(fault: CellFault) -> tuple[str, int, str, str]:
    return fault.sheet, fault.row, fault.column, fault.code


class _Filing:
    """One workbook in one transaction. ``try_out``: each is handed in, too; ``without``: rows (sheet, number) that are left out."""

    def __init__(
        self, tx: Tx, workbook: Workbook, *, try_out: bool = False, without: Iterable[tuple[str, int]] = ()
    ) -> None:
        self.tx, self.workbook, self.try_out, self.without = tx, workbook, try_out, set(without)
        self.outcome = FiledOutcome(faults=list(workbook.faults) if try_out else [])
        self.own = departments.acting(tx, tx.actor)
        self.below = departments.subtree(tx, self.own.id)
        self.codes: dict[type, dict[str, int]] = {}

    def all(self) -> FiledOutcome:
        """Every sheet, row by row."""
        if sum(len(rows) for rows in self.workbook.rows.values()) > MOST:
            raise Invalid("sheet.many", N_("一次最多 %(most)s 行"), most=MOST, field="file")
        made = self._made()
        for name, rows in self.workbook.rows.items():
            kind = formbook.today(self.tx, declared(name))
            for group in _requests(rows):
                if all(row.sound and (row.sheet.title, row.number) not in self.without for row in group):
                    self._attempt(kind, group, made)
        titles = [rows[0].sheet.title for rows in self.workbook.rows.values() if rows]
        self.outcome.faults.sort(key=lambda one: (titles.index(one.sheet) if one.sheet in titles else -1, one.row))
        return self.outcome

    def _made(self) -> dict[str, list[Request]]:
        """What was entered of sheets before: the part of its key that names the row → the requests of it, oldest first."""
        query = select(Request).where(Request.department_id.in_(self.below), Request.key.startswith("sheet:"))
        found: dict[str, list[Request]] = {}
        for one in self.tx.scalars(query.order_by(Request.id)):
            found.setdefault((one.key or "").rpartition(":")[0], []).append(one)
        return found

    def _attempt(self, kind: RequestKind, group: list[SheetRow], made: dict[str, list[Request]]) -> None:
        head, title = group[0], group[0].sheet.title
        with self._trying(group):
            for count, row in enumerate(group[1:], start=2):
                _continues(kind, head, row, count)
            name, words = self._key(kind, group)
            earlier = made.get(name, [])
            ended = sum(one.state in ENDED for one in earlier)
            known = next((one for one in earlier if one.state not in ENDED), None)
            ask = self._ask(kind, group, key=f"{name}:{words}" + (f".{ended}" if ended else ""))
            counter = self.outcome.added if known is None else self.outcome.changed
            if known is None:
                request = requests.draft(self.tx, ask)
            elif known.key == ask.key:
                request, counter = known, self.outcome.same
            else:
                request = self._revised(known, ask)
            if self.try_out and request.state == RequestState.DRAFT:
                requests.submit(self.tx, request, generation=request.generation)
            counter[title] += 1
            if request.state == RequestState.DRAFT or self.try_out:
                self.outcome.drafts.append(request.id)

    def _revised(self, known: Request, ask: Ask) -> Request:
        if known.state != RequestState.DRAFT:
            raise Conflict(
                "sheet.filed", N_("这个批内编号已是申请 %(number)s，已经提交，不能再由表格更改"), number=known.number, field="ref"
            )  # fmt: skip
        others = next((one for one in (known.created_by, known.changed_by) if one != self.tx.actor.login), None)
        if others is not None:
            raise Conflict(
                "sheet.others", N_("这个批内编号已是 %(by)s 填写或改过的草稿 %(number)s，不能由表格更改"), by=others,
                number=known.number, field="ref",
            )  # fmt: skip
        revised = requests.revise(self.tx, known, ask, generation=known.generation)
        revised.key = ask.key
        return revised

    @contextmanager
    def _trying(self, group: list[SheetRow]) -> Iterator[None]:
        known = set(self.tx.identity_map.keys())
        try:
            with self.tx.apart():
                yield
        except Refused as refused:
            for one in list(
                self.tx
            ):  # what was read of rows that are no more must not be taken for those that come after
                if inspect(one).key not in known:
                    self.tx.expunge(one)
            row = refused.params.pop("row", group[0])
            self._fault(row, refused)

    def _fault(self, row: SheetRow, refused: Refused) -> None:
        key = str(refused.params.get("field", ""))
        labels = {one.key: one.label for one in row.sheet.columns}
        found = next(
            (labels[one] for one in (COLUMNS.get(key, key), f"more_{key}", amount(key)) if one in labels), None
        )
        if found is None:  # it is about the request as a whole: what that is about names it, else its number
            found = next(labels[one] for one in ("request", "resource", "entry", "ref") if one in labels)
        self.outcome.faults.append(
            CellFault(row.sheet.title, row.number, found, refused.code, refused.message, refused.params)
        )

    # -------------------------------------------------------------------------------------------------- what a row says

    def _ask(self, kind: RequestKind, group: list[SheetRow], *, key: str) -> Ask:
        head = group[0].values
        resource = self._resource(head["resource"]) if kind.about is About.RESOURCE else None
        extends = self._extended(head["request"]) if kind.about is About.TERM else None
        entry = self._entry(kind.register, head["entry"]) if kind.register is not None else None
        if resource is not None:
            department = resource.department_id or 0
            pool = self._coded(Pool, head["pool"]) if kind.moves else resource.pool_id
        elif extends is not None:
            department, pool = departments.successor(extends.department).id, extends.pool_id
        elif entry is not None:
            department, pool = entry.department_id, self._coded(Pool, head["pool"])
        else:
            department = self._coded(Department, head["department"]) if head["department"] else self.own.id
            pool = self._coded(Pool, head["pool"])
        # What all rows say alike is said once for all of them; else each line says its own.
        apart = [one.name for one in kind.each if any(row.values[more(one)] != head[more(one)] for row in group)]
        system = self._coded(System, head["system"]) if head.get("system") else None
        if system is None and (resource or extends):
            system = (resource or extends).system_id  # type: ignore[union-attr]
        return Ask(
            kind=kind,
            department_id=department,
            pool_id=pool,
            lines=[
                replace(line, fields={name: str(said) for name in apart if (said := row.values[f"more_{name}"])})
                for row in group
                for line in self._asked(kind, row, resource, alone=len(group) == 1)
            ],
            justification=head["justification"],
            system_id=system,
            resource_id=resource.id if resource else None,
            use_until=head.get("use_until"),
            extends_id=extends.id if extends else None,
            entry_id=entry.id if entry else None,
            fields={one.name: str(head[more(one)]) for one in kind.fields if head[more(one)] and one.name not in apart},
            key=key,
        )

    def _key(self, kind: RequestKind, group: list[SheetRow]) -> tuple[str, str]:
        """What the row is, and a digest of what it says."""
        filled = [
            {key: value for key, value in row.values.items() if value is not None and key != "ref"} for row in group
        ]
        words = _digest(json.dumps(filled, default=str, sort_keys=True, ensure_ascii=False))
        batch = f"batch {self.workbook.batch}" if self.workbook.batch else f"words {words}"
        row = _digest(f"{batch}\n{group[0].code.casefold()}")
        return f"sheet:{self.own.id}:{kind.code}:{row}", words

    def _asked(self, kind: RequestKind, row: SheetRow, resource: Resource | None, *, alone: bool) -> list[Line]:
        """The lines of a row. Of several rows of a request none may ask for nothing: what it says would be lost."""
        found = list(self._lines(kind, row, resource))
        if not found and not alone:
            raise Invalid("request.empty", N_("请至少填写一项资源"), field="item", row=row)
        return found

    def _lines(self, kind: RequestKind, row: SheetRow, resource: Resource | None) -> Iterator[Line]:
        says, said = kind.lines, row.values
        if says is None:
            return
        named = {} if not said.get("preset") else dict(presets.preset(self.tx, int(said["preset"])).takes())
        named |= {
            code: base_units(code, said[amount(code)], field=amount(code))
            for code in CLASSES
            if said.get(amount(code)) is not None
        }
        item = self._coded(CatalogItem, said["item"]) if said.get("item") else None
        if item is not None and named:
            raise Invalid("sheet.both", N_("目录规格和自定义数量只能填一种"), field="item", row=row)
        if resource is not None:
            yield from _of_resource(kind, resource, item, named)
        elif item is not None:
            yield Line(item_id=item, quantity=said.get("quantity") or 1, name=said.get("name") or "")
        elif named and says.pieces:
            yield Line(
                asked=named,
                quantity=said.get("quantity") or 1,
                service=says.service or ServiceKind.VM.value,
                name=said.get("name") or "",
            )
        elif named:
            yield Line(asked=named)

    def _coded(self, model: type[Any], code: str) -> int:
        """The id of the row of the code, which the sheet offered when it was read."""
        if model not in self.codes:
            self.codes[model] = dict(self.tx.execute(select(model.code, model.id)).all())
        return self.codes[model][code]

    def _resource(self, text: str) -> Resource:
        by = [Resource.external_id == text]
        if text.isascii() and text.isdigit() and len(text) < 10:
            by.append(Resource.id == int(text))
        query = select(Resource).where(or_(*by), Resource.department_id.in_(self.below), Resource.gone_at.is_(None))
        found = self.tx.scalars(query.limit(2)).all()
        if not found:
            raise Invalid("sheet.resource", N_("本单位没有标识或编号为“%(text)s”的资源"), text=text, field="resource")
        if len(found) > 1:
            raise Invalid("sheet.ambiguous", N_("有不止一个资源的标识或编号是“%(text)s”"), text=text, field="resource")
        return found[0]

    def _entry(self, register: EntryRegister, text: str) -> Any:
        found = [one for one in register.named(self.tx, text) if one.department_id in self.below]
        if not found:
            raise Invalid("sheet.entry", N_("本单位没有名称或编号为“%(text)s”的登记事项"), text=text, field="entry")
        if len(found) > 1:
            raise Invalid("sheet.ambiguous_entry", N_("有不止一项的名称或编号是“%(text)s”"), text=text, field="entry")
        return found[0]

    def _extended(self, number: str) -> Request:
        found = self.tx.scalar(select(Request).where(Request.number == number, Request.department_id.in_(self.below)))
        if found is None:
            raise Invalid("sheet.request", N_("本单位没有编号为“%(number)s”的申请"), number=number, field="request")
        return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _requests(rows: Iterable[SheetRow]) -> Iterator[list[SheetRow]]:
    """Rows of one number, which are one request's lines, where its sheet lets them repeat."""
    groups: dict[str, list[SheetRow]] = {}
    for row in rows:
        alone = bool(row.sheet.key) or not row.code
        groups.setdefault(f"row:{row.number}" if alone else row.code.casefold(), []).append(row)
    yield from groups.values()


def _continues(kind: RequestKind, head: SheetRow, row: SheetRow, count: int) -> None:
    """Refuse a further row of a request that says otherwise than its first what is said once, and one too many."""
    if count > MOST_LINES:
        raise Invalid("sheet.lines", N_("一份申请最多 %(most)s 种规格"), most=MOST_LINES, field="item", row=row)
    for column in row.sheet.columns:
        of_line = column.key in {*LINE, *map(more, kind.each)} or column.key.startswith(amount(""))
        if not of_line and column.key != "ref" and row.values[column.key] != head.values[column.key]:
            raise Invalid(
                "sheet.differs", N_("与同一批内编号的第 %(first)s 行不同；一份申请除规格、数量、用途和各台的要求外各行相同"),
                first=head.number, field=column.key, row=row,
            )  # fmt: skip


def _of_resource(kind: RequestKind, resource: Resource, item: int | None, named: dict[Any, int]) -> Iterator[Line]:
    """The one line about a resource, as its form would have it."""
    says = kind.lines
    if says is None:
        return
    if kind.moves:
        yield asks.moved(resource, item, named)
    elif says.stands:
        if resource.amounts:
            yield Line(asked=resource.actual(), service=resource.kind, name=resource.name)
    elif not says.wanted or item is not None or named:
        yield Line(item_id=item, asked=named, current=resource.counts(), service=resource.kind, name=resource.name)
