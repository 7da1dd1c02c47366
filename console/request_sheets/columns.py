"""The sheets of a batch: for every request kind the columns that its declaration asks for, with what the book offers to choose from."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from console import workbooks
from console.workbooks import CellShape, SheetColumn, WorkbookSheet
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CatalogItem, Department, Pool, SizePreset, System, departments, presets
from quota.errors import N_
from quota.requests import About, RequestField, RequestKind, Term, formbook, known
from quota.units import CLASSES

LINES = (
    N_("《管家》批量申请表"),
    N_("每种申请一个表，每行一份申请；第一行是列名，带 * 的必填。用不到的表可以空着。"),
    N_("批内编号由填表单位自编，同一个表里不能重复；一份新增申请有几种规格的，各占一行，编号相同。"),
    N_("网络区、操作系统、系统盘、数据盘、数据库、中间件和 IP 各行可以不同，不同的按各行登记。"),
    N_("先核对再登记：有错误的行逐一指出表、行、列和原因。登记之后是草稿，核对后一并提交。"),
    N_("再次导入同一个表不改变任何东西；草稿提交之前改了行的内容再导入，草稿随之修改。"),
    N_("一个批号是一批：新的一批请重新下载申请表。没有批号的（如 csv）按每行的内容识别，改了内容就是另一份申请。"),
)
FREE = 500
"""Characters of a field of a kind's own, as on its form."""
MOST_CHANGE = 10_000_000
"""Of an amount, in the unit that people read, as on the form."""
LINE = ("item", "preset", "quantity", "name")
"""What a row says of its line; amounts besides."""


def sheets(tx: Tx) -> list[WorkbookSheet]:
    """A sheet for every request kind, for this transaction's actor: its department's systems and those below it."""
    own = departments.subtree(tx, departments.acting(tx, tx.actor).id)
    offers = {
        "department": _called(tx.scalars(select(Department).where(Department.id.in_(own), Department.active))),
        "system": _called(tx.scalars(select(System).where(System.department_id.in_(own), System.active))),
        "pool": _called(tx.scalars(select(Pool).where(Pool.active))),
        "item": _called(tx.scalars(select(CatalogItem).where(CatalogItem.active))),
    }
    offers |= {
        more(field): _offered(tx, field) for kind in known() for field in kind.fields if field.offers is not None
    }
    fit = presets.offered(tx)
    return [_sheet(formbook.today(tx, kind), offers, fit) for kind in known() if kind.by_itself]


def write(tx: Tx, path: Path) -> None:
    """Write the workbook to fill in to ``path``, with a number of its own: numbers within it tell apart what is of one batch."""
    batch = f"{tx.now.astimezone(ZONE):%Y%m%d}-{secrets.token_hex(4)}"
    workbooks.write(path, LINES, sheets(tx), {}, batch=batch)


def _offered(tx: Tx, field: RequestField) -> dict[str, str]:
    """What any pool in use has for a field: as people read it, with its code where several read alike → the code."""
    found: dict[str, str] = {}
    for pool in tx.scalars(select(Pool).where(Pool.active).order_by(Pool.id)):
        for code, label in (field.offers(tx, pool) if field.offers is not None else {}).items():
            found[label if found.get(label, code) == code else f"{label}（{code}）"] = code
    return found


def _called(rows: Iterable[Department | System | Pool | CatalogItem]) -> dict[str, str]:
    """Name → code; with its code where several are called the same."""
    found = sorted((one.name, one.code) for one in rows)
    named = Counter(name for name, _code in found)
    return {name if named[name] == 1 else f"{name}（{code}）": code for name, code in found}


def _sheet(kind: RequestKind, offers: Mapping[str, Mapping[str, str]], fit: Iterable[SizePreset] = ()) -> WorkbookSheet:
    repeats = kind.lines is not None and kind.lines.pieces
    columns = tuple(_distinct((*_about(kind, offers), *_lines(kind, offers, fit), *_says(kind, offers))))
    return WorkbookSheet(kind.code, kind.label, kind.hint or kind.invites, columns, () if repeats else ("ref",))


def _about(kind: RequestKind, offers: Mapping[str, Mapping[str, str]]) -> Iterator[SheetColumn]:
    choice = CellShape.CHOICE
    yield SheetColumn("ref", N_("批内编号"), required=True, most=32)
    if kind.about is About.RESOURCE:
        hint = N_("云上标识，或台账中的资源编号")
        yield SheetColumn("resource", N_("资源"), required=True, hint=hint)
        if kind.moves:
            yield SheetColumn("pool", N_("新资源池"), choice, True, choices=offers["pool"])
    elif kind.register is not None:
        yield SheetColumn("entry", kind.register.label, required=True, hint=N_("名称，或登记的编号"))
        yield SheetColumn("pool", N_("资源池"), choice, True, choices=offers["pool"])
    elif kind.about is About.TERM:
        yield SheetColumn("request", N_("延期的申请"), required=True, most=40, hint=N_("申请编号，如 SQ-2026-000123"))
    else:
        yield SheetColumn("department", N_("使用单位"), choice, choices=offers["department"], hint=N_("不填为本单位"))
        yield SheetColumn("pool", N_("资源池"), choice, True, choices=offers["pool"])
    if kind.about is not About.TERM:
        yield SheetColumn("system", N_("信息系统"), choice, choices=offers["system"])


def _lines(
    kind: RequestKind, offers: Mapping[str, Mapping[str, str]], fit: Iterable[SizePreset]
) -> Iterator[SheetColumn]:
    says = kind.lines
    if says is None or not says.wanted:
        return
    if says.items:
        yield SheetColumn("item", N_("规格"), CellShape.CHOICE, choices=offers["item"])
    named = () if says.stands else says.offered()
    known = {one.name: str(one.id) for one in fit if set(named).issuperset(one.takes())}
    if known:
        hint = N_("填入预设的数量；另外填写的以填写的为准")
        yield SheetColumn("preset", N_("规格预设"), CellShape.CHOICE, choices=known, hint=hint)
    least = -MOST_CHANGE if says.signed else 0
    for code in named:
        label, unit = CLASSES[code].label, CLASSES[code].shown
        told = label if label == unit else f"{label}（{unit}）"
        yield SheetColumn(amount(code), told, CellShape.WHOLE, least=least)
    if says.pieces:
        yield SheetColumn("quantity", N_("数量"), CellShape.WHOLE, least=1, hint=N_("不填为 1"))
        yield SheetColumn("name", N_("用途"), most=96)


def amount(code: str) -> str:
    """The key of the column of a resource class."""
    return f"amount_{code}"


def _says(kind: RequestKind, offers: Mapping[str, Mapping[str, str]]) -> Iterator[SheetColumn]:
    if kind.term is not Term.NONE:
        label = N_("新的使用期限") if kind.about is About.TERM else N_("使用期限")
        yield SheetColumn("use_until", label, CellShape.DATE, kind.term is Term.REQUIRED)
    yield SheetColumn("justification", kind.why.label, required=True, most=4000, hint=kind.why.hint)
    for one in kind.fields:
        if one.offers is not None:
            yield SheetColumn(
                more(one), one.label, CellShape.CHOICE, one.required, choices=offers[more(one)], hint=one.hint
            )
        elif one.day:
            yield SheetColumn(more(one), one.label, CellShape.DATE, one.required, hint=one.hint)
        elif one.choices is None:
            told = f"{one.label}（{one.unit}）" if one.unit else one.label
            yield SheetColumn(more(one), told, required=one.required, most=FREE, hint=one.hint)
        else:
            known = {label: code for code, label in one.choices.items()}
            yield SheetColumn(more(one), one.label, CellShape.CHOICE, one.required, choices=known, hint=one.hint)


def _distinct(columns: Iterable[SheetColumn]) -> Iterator[SheetColumn]:
    """A heading names one column: where a field is called as one before it is, it is counted."""
    seen: Counter[str] = Counter()
    for one in columns:
        seen[one.label] += 1
        yield one if seen[one.label] == 1 else replace(one, label=f"{one.label} {seen[one.label]}")


def more(field: RequestField) -> str:
    """The key of the column of a field of the kind's own."""
    return f"more_{field.name}"
