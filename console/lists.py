"""Lists: what to show of a query, filtered, sorted and paged by the address, and exported as it is filtered.

A view says its columns and filters once; the page, the cards at 390 px, the totals and both exports follow from that.
"""

from __future__ import annotations

import csv
import io
import math
import re
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import chain, islice
from typing import Any
from unicodedata import east_asian_width
from urllib.parse import urlencode

from flask import Response, jsonify, request, send_file
from sqlalchemy import Column as SchemaColumn
from sqlalchemy import ColumnElement, Select, false, func, literal_column, select
from werkzeug.datastructures import MultiDict

from console import choices, frame
from console.book import settings
from console.errors import Unfilled
from console.programs import asked
from console.security import row_or
from console.words import _, amounts, show, state
from quota.db import Tx
from quota.errors import N_
from quota.inventory import Resource
from quota.units import ACCELERATOR, BANDWIDTH, BLOCK, CLASSES, MEMORY, OBJECT, VCPU, ClassCode, shown

Rows = Select[Any]
Cell = Callable[[Any], Any]

ALL = "all"
EXPORTS = ("csv", "xlsx", "parquet")
MOST_ROWS = 500
"""Rows of a page that a program may ask for."""
MAX_PAGE = 1_000_000
SPOOL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Column:
    """One column. ``value(row)`` is exported; ``sort`` makes its head a link; ``total`` is summed over all rows.
    ``code(row)`` is what programs read in its place where ``value`` is a word in the reader's language.

    ``text(value)`` overrides how the page writes it; ``href(row)`` links it; ``state`` draws it as a badge;
    ``title`` makes it the head of the card at 390 px; ``minor`` hides it there. ``apart``: exports and programs have it as a column of
    its own, the page says it in another cell.
    """

    key: str
    label: str
    value: Cell
    sort: ColumnElement[Any] | Any | None = None
    unit: str = ""
    href: Callable[[Any], str | None] | None = None
    text: Callable[[Any], str] | None = None
    total: ColumnElement[Any] | Any | None = None
    state: bool = False
    number: bool = False
    title: bool = False
    minor: bool = False
    apart: bool = False
    code: Cell | None = None

    @property
    def head(self) -> str:
        """The column's name with its unit, as exports write it."""
        return _(self.label) + (f" ({_(self.unit)})" if self.unit else "")

    @property
    def classes(self) -> str:
        """The classes of its cells that no value changes."""
        marks = {"gj-num": self.number, "gj-title": self.title, "gj-minor": self.minor}
        return " ".join(name for name, holds in marks.items() if holds)

    def written(self, value: Any) -> str:
        return self.text(value) if self.text else show(value)


def marks_of(resource: Callable[[Any], Resource | None]) -> list[Column]:
    """What tells two machines of one name apart, for exports of what is decided about a row's ``resource``."""

    def of(name: str) -> Cell:
        return lambda row: getattr(thing, name) if (thing := resource(row)) is not None else None

    return [
        Column("external_id", N_("云侧编号"), of("external_id"), apart=True),
        Column("address", N_("地址"), of("address"), apart=True),
        Column("size", N_("规格"), lambda row: amounts(thing.actual()) if (thing := resource(row)) is not None else None,
               code=lambda row: dict(thing.amounts) if (thing := resource(row)) is not None else None, apart=True),
    ]  # fmt: skip


COUNTED = (VCPU, MEMORY, BLOCK, OBJECT, BANDWIDTH, ACCELERATOR)
"""The resource classes that exports of what there are amounts of have a column for; the words beside them say all."""


def figures_of(amounts_of: Callable[[Any], Mapping[ClassCode, int] | None]) -> list[Column]:
    """Amounts of a row as exports add them up: a column of numbers for each of the classes that are COUNTED, in its shown unit."""

    def figure(code: ClassCode) -> Cell:
        def of(row: Any) -> Any:
            found = amounts_of(row)
            return shown(code, found[code]) if found and code in found else None

        return of

    return [
        Column(code, one.label, figure(code), unit=one.shown if one.shown != one.label else "", number=True, apart=True)
        for code in COUNTED
        for one in (CLASSES[code],)
    ]


@dataclass(frozen=True)
class Filter:
    """One filter in the address: ``apply(query, value)`` narrows it; ``options`` (value → label) make it a choice.

    ``default`` holds where the address says nothing; the value "all" then means no filter. ``among`` (a query of id, code, name) is
    for what may be many: few are a choice beside ``options``, many are typed; ``apply`` is given the id either way.
    """

    key: str
    label: str
    apply: Callable[[Rows, str], Rows]
    options: Mapping[str, str] | None = None
    default: str = ""
    kind: str = "text"  # or "date"
    among: choices.Choosable | None = None


@dataclass
class PagedList:
    """A page of a list, ready for ``ui.listing``."""

    rows: Sequence[Any]
    total: int
    page: int
    size: int
    columns: Sequence[Column]
    filters: Sequence[Filter]
    values: Mapping[str, str]
    sort: str
    query: Rows = field(repr=False)
    args: MultiDict[str, str] = field(repr=False)
    tx: Tx = field(repr=False)
    key: Any = field(repr=False)
    sums: Mapping[str, Any] = field(default_factory=dict)
    typed: Mapping[str, choices.Narrowed] = field(default_factory=dict)

    @cached_property
    def dressed(self) -> list[tuple[Column, str, str]]:
        """The columns with their heads in the reader's language and the classes of their cells, once for all rows."""
        return [(column, column.head, column.classes) for column in self.shown]

    @property
    def shown(self) -> list[Column]:
        """The columns of the page."""
        return [column for column in self.columns if not column.apart]

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // self.size))

    @property
    def first(self) -> int:
        return (self.page - 1) * self.size + 1 if self.total else 0

    @property
    def last(self) -> int:
        return min(self.page * self.size, self.total)

    @property
    def narrowed(self) -> bool:
        """Whether any filter differs from its default."""
        return any(self.values[one.key] != one.default for one in self.filters) or any(
            one.unknown for one in self.typed.values()
        )

    def url(self, **changes: Any) -> str:
        """This list's address with ``changes`` (None takes a parameter away); a change other than of the page
        goes back to the first."""
        args = {name: self.args.getlist(name) for name in self.args}
        if "page" not in changes:
            args.pop("page", None)
        for name, value in changes.items():
            args.pop(name, None)
            if value is not None:
                args[name] = [str(value)]
        text = urlencode([(name, one) for name, many in args.items() for one in many if one != ""])
        return f"{request.path}?{text}" if text else request.path

    def sort_url(self, column: Column) -> str:
        """The address sorted by ``column``; the other way round where it is already."""
        return self.url(sort=f"-{column.key}" if self.sort == column.key else column.key)

    def direction(self, column: Column) -> str:
        """``ascending``, ``descending`` or "" for ``column``."""
        if self.sort.lstrip("-") != column.key:
            return ""
        return "descending" if self.sort.startswith("-") else "ascending"

    def around(self) -> list[int | None]:
        """Page numbers to link to: first, last and those about the present one; None for a gap."""
        wanted = sorted(n for n in {1, self.pages, self.page - 1, self.page, self.page + 1} if 1 <= n <= self.pages)
        result: list[int | None] = []
        for one in wanted:
            if result and result[-1] is not None and one > result[-1] + 1:
                result.append(None)
            result.append(one)
        return result

    def exported(self, name: str) -> Response | None:
        """The answer to ``?export=csv``, ``xlsx`` or ``parquet``: all rows that the filters leave. Programs that ask for none
        get a page of rows as JSON; people None."""
        wanted = self.args.get("export", "")
        if wanted not in EXPORTS:
            return told(self) if asked.by_program() else None
        stamp = self.tx.now.astimezone(settings().zone).strftime("%Y%m%d-%H%M")
        rows = self._all()
        if wanted == "csv":
            return as_csv(f"{name}-{stamp}.csv", self.columns, rows)
        if wanted == "parquet":
            return as_parquet(f"{name}-{stamp}.parquet", self.columns, rows)
        return as_xlsx(f"{name}-{stamp}.xlsx", self.columns, rows)

    def _all(self) -> Iterator[Any]:
        return iter(_fetched(self.tx, self.query.execution_options(yield_per=500)))


def listing(
    tx: Tx,
    query: Rows,
    columns: Sequence[Column],
    *,
    key: ColumnElement[Any] | Any,
    filters: Sequence[Filter] = (),
    sort: str = "",
    size: int | None = None,
    args: MultiDict[str, str] | None = None,
) -> PagedList:
    """Run ``query`` as the address asks. ``key`` is a unique column that settles the order of equals.

    ``sort`` is the default ("-opened_at" for descending). Unknown parameters and values that make no sense are passed
    over: an address that was mailed last year still opens.
    """
    args = request.args if args is None else args
    program = asked.found()
    if program is not None and program.one is not None:
        return _alone(tx, query, columns, key, program, args)
    if program is not None:
        _refuse_unfit(program, args, columns, filters)
    values: dict[str, str] = {}
    typed: dict[str, choices.Narrowed] = {}
    filters, searched = list(filters), False
    for i, one in enumerate(filters):
        value = args.get(one.key, one.default).strip()[:LONGEST_VALUE]
        if one.among is not None and value != ALL:
            meant = choices.narrowed(tx, one.key, one.among, one.options or {}, value)
            one = filters[i] = replace(one, options=meant.options)
            if meant.options is None:
                typed[one.key], value = meant, meant.value
            if meant.unknown:
                query = query.where(false())
        if one.options is not None and value and value != ALL and value not in one.options:
            value = one.default
        if one.kind == "date" and value and not _is_day(value):
            value = one.default
        values[one.key] = value
        if value and value != ALL:
            query = one.apply(query, value)
            searched |= one.options is None and one.kind != "date" and one.among is None

    sorts = {one.key: one.sort for one in columns if one.sort is not None}
    wanted = args.get("sort", sort)
    if wanted.lstrip("-") not in sorts:
        wanted = sort
    if wanted.lstrip("-") in sorts:
        by = sorts[wanted.lstrip("-")]
        query = query.order_by(*_order(by, key, down=wanted.startswith("-"), searched=searched))
    else:
        query = query.order_by(key)

    sums_of = {one.key: one.total for one in columns if one.total is not None}
    total, sums = _summed(tx, query.order_by(None), sums_of)
    size = size or settings().page_size
    if program is not None:
        size = min(_number(args.get("size", str(size))) or size, MOST_ROWS)
    page = min(max(_number(args.get("page", "1")), 1), max(1, -(-total // size)))
    rows = [] if args.get("export") in EXPORTS else list(_fetched(tx, query.limit(size).offset((page - 1) * size)))
    return PagedList(rows, total, page, size, columns, filters, values, wanted, query, args, tx, key, sums, typed)


def page_of(tx: Tx, rows: Sequence[Any], columns: Sequence[Column]) -> PagedList:
    """A page, as the address asks, of what was worked out and lies in no table: it has no filters and one order."""
    size, args = settings().page_size, request.args
    page = min(max(_number(args.get("page", "1")), 1), max(1, -(-len(rows) // size)))
    shown = rows[(page - 1) * size : page * size]
    return PagedList(shown, len(rows), page, size, columns, (), {}, "", select(literal_column("1")), args, tx, None)


OF_LISTS = ("sort", "page", "size", "export")
"""Parameters that every list takes."""


def _refuse_unfit(
    program: asked.Asked, args: MultiDict[str, str], columns: Sequence[Column], filters: Sequence[Filter]
) -> None:
    """People's addresses of last year still open, whatever is in them; a program that asks for what there is not is told so,
    rather than given all rows. Raises Unfilled."""
    known = {one.key: one for one in filters}
    sorts = {way + one.key for one in columns if one.sort is not None for way in ("", "-")}
    wrong = []
    for name, value in args.items():
        one = known.get(name)
        if one is None:
            fits = name in program.args or (name in OF_LISTS and _fits(name, value, sorts))
            said = _("不在可选项中") if name in OF_LISTS else _("没有这一项")
        else:
            said = _("请填写日期,如 2026-10-31") if one.kind == "date" else _("不在可选项中")
            fits = value in ("", ALL) or (_is_day(value) if one.kind == "date" else _offered(one, value))
        if not fits or len(value) > LONGEST_VALUE:
            wrong.append((name, said))
    if wrong:
        raise Unfilled(wrong)


def _offered(one: Filter, value: str) -> bool:
    """Whether a program may ask for ``value``: of what may be many, whether it is an id."""
    if one.among is not None:
        return value in (one.options or {}) or row_or(value, 0) > 0
    return one.options is None or value in one.options


LONGEST_VALUE = 200
"""Characters of a parameter."""


def _fits(name: str, value: str, sorts: Container[str]) -> bool:
    if name == "sort":
        return value in sorts
    if name == "export":
        return value in EXPORTS
    return value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= (MOST_ROWS if name == "size" else MAX_PAGE)


def _alone(
    tx: Tx, query: Rows, columns: Sequence[Column], key: Any, program: asked.Asked, args: MultiDict[str, str]
) -> PagedList:
    """The one row that a program asks for, whatever the filters' defaults; an empty list where the reader's has none such."""
    query = query.where(key == program.one)
    rows = list(_fetched(tx, query.limit(1)))
    return PagedList(rows, len(rows), 1, 1, [*columns, *program.more], (), {}, "", query, args, tx, key)


def _order(by: Any, key: Any, *, down: bool, searched: bool = False) -> tuple[ColumnElement[Any], ...]:
    """By ``by``, then by ``key``, both one way, so that an index of the two serves either way. ``searched``: rows are looked
    for by a text, which no such index helps to find: of equals the first found come first, or each that is found later would
    be put before all the others, with whatever is joined to it.

    Unknown values come last, whichever way it is sorted: nobody sorts to see what is missing. That is said only where
    there may be any; of a column that allows none it would keep PostgreSQL from its index.
    """
    first, second = by.desc() if down else by.asc(), key.desc() if down and not searched else key.asc()
    if _same(by, key):
        return (first,)
    return (first if _always_there(by, key) else first.nulls_last(), second)


def _column(one: Any) -> Any:
    return one.__clause_element__() if hasattr(one, "__clause_element__") else one


def _same(by: Any, key: Any) -> bool:
    one, other = _column(by), _column(key)
    return isinstance(one, SchemaColumn) and one.compare(other)


def _always_there(by: Any, key: Any) -> bool:
    """Whether ``by`` is a column without unknown values of the very table that is listed (one that was joined may be
    missing altogether)."""
    one, other = _column(by), _column(key)
    return (
        isinstance(one, SchemaColumn)
        and isinstance(other, SchemaColumn)
        and not one.nullable
        and one.table.description == other.table.description
    )


def _summed(tx: Tx, bare: Rows, sums_of: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """How many rows, and the sums: in one look at them where the query is of rows as they lie."""
    if not sums_of:
        # Of rows that are groups, too: how many there are, without what is summed in each.
        alone: Rows = bare.with_only_columns(literal_column("1"), maintain_column_froms=True)
        return tx.scalar(select(func.count()).select_from(alone.subquery())) or 0, {}
    total, *sums = tx.execute(bare.with_only_columns(func.count(), *sums_of.values(), maintain_column_froms=True)).one()
    return total, dict(zip(sums_of, sums, strict=True))


def _fetched(tx: Tx, query: Rows) -> Iterable[Any]:
    """Entities where the query is of one thing, rows where it is of several."""
    return tx.scalars(query) if len(query.column_descriptions) == 1 else tx.execute(query)


def _is_day(text: str) -> bool:
    """Whether ``text`` is a day (2026-10-31) that a midnight can be found for."""
    try:
        return 1900 <= date.fromisoformat(text).year < 3000
    except ValueError:
        return False


def _number(text: str) -> int:
    return min(int(text), MAX_PAGE) if text.isascii() and text.isdigit() and len(text) < 10 else 1


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Where a thing is in an ordered list: who stands before and after it, its place (from 1; 0: it is not in the list,
    whose first then comes after it), and the list's length."""

    before: int | None
    after: int | None
    at: int
    of: int


def place_in(tx: Tx, query: Rows, key: ColumnElement[Any] | Any, order: Sequence[Any], one: int) -> ListPosition:
    """The place of ``one`` among what ``query`` finds, known by ``key``, in ``order``: the list stays in the database."""
    ids = query.order_by(None).with_only_columns(
        key.label("id"),
        func.lag(key).over(order_by=order).label("before"),
        func.lead(key).over(order_by=order).label("after"),
        func.row_number().over(order_by=order).label("at"),
        func.count().over().label("of"),
        maintain_column_froms=True,
    )
    places = ids.subquery()
    found = tx.execute(select(places).where(places.c.id == one)).one_or_none()
    if found is not None:
        return ListPosition(found.before, found.after, found.at, found.of)
    first = tx.execute(select(places).where(places.c.at == 1)).one_or_none()
    return ListPosition(None, first.id, 0, first.of) if first is not None else ListPosition(None, None, 0, 0)


# -- days ------------------------------------------------------------------------------------------------------------


def midnight(text: str, *, end: bool = False) -> datetime | None:
    """The beginning (or the ``end``) of a day of the city, ``2026-11-23``; None for what is no day."""
    try:
        day = date.fromisoformat(text) + timedelta(days=end)
        return datetime.combine(day, time(), settings().zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def since(column: ColumnElement[Any] | Any) -> Callable[[Rows, str], Rows]:
    """A filter's ``apply``: from the day on; all where it is no day."""
    return lambda query, text: query if (day := midnight(text)) is None else query.where(column >= day)


def until(column: ColumnElement[Any] | Any) -> Callable[[Rows, str], Rows]:
    """A filter's ``apply``: up to and with the day."""
    return lambda query, text: query if (day := midnight(text, end=True)) is None else query.where(column < day)


# -- exports ---------------------------------------------------------------------------------------------------------


def as_csv(name: str, columns: Sequence[Column], rows: Iterable[Any]) -> Response:
    """Rows as CSV in UTF-8 with a mark that makes Excel read it as such; no cell is a formula.

    Written out before it is sent: an export that fails is an error page, not half a file.
    """
    file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - closed with the answer
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([harmless(one.head) for one in columns])
    for row in rows:
        writer.writerow([_csv_cell(_exported(one, row)) for one in columns])
    text.flush()
    text.detach()
    return _sent(file, name, "text/csv")


def sheet_name(file: str) -> str:
    """What a workbook's only sheet is called: as the page that it was asked on, else as the file; what Excel takes of that."""
    page = frame.label(request.endpoint) if request else None
    return re.sub(r"[\[\]:*?/\\']", " ", _(page) if page else file.rpartition(".")[0]).strip()[:31] or "Sheet1"


def as_xlsx(name: str, columns: Sequence[Column], rows: Iterable[Any]) -> Response:
    """Rows as a workbook: figures stay figures, times are the city's, texts are texts even where they begin with =."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet(sheet_name(name))
    sheet.freeze_panes = "A2"

    def cell(value: Any) -> Any:
        made = WriteOnlyCell(sheet)
        if isinstance(value, str):
            made.value = _CONTROL.sub("", value)[:32767]
            made.data_type = "s"
        elif value is not None:
            made.value = value
        return made

    values = ([_exported(one, row) for one in columns] for row in rows)
    first = list(islice(values, MEASURED))  # widths stand before the rows in the file, so the first rows decide
    names = [one.head for one in columns]
    for number, column in enumerate(zip(names, *first, strict=True), start=1):
        width = max(map(_width, column))
        sheet.column_dimensions[get_column_letter(number)].width = min(max(width, NARROWEST), WIDEST)
    heads = [cell(one) for one in names]
    for head in heads:
        head.font = Font(bold=True)
    sheet.append(heads)
    count = 1
    for row in chain(first, values):
        sheet.append([cell(one) for one in row])
        count += 1
    sheet.auto_filter.ref = f"A1:{get_column_letter(max(len(columns), 1))}{count}"
    file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - closed with the answer
    workbook.save(file)
    return _sent(file, name, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")


MEASURED = 200
"""Rows of a workbook that its widths are taken from."""
NARROWEST, WIDEST = 8, 48
"""Widths of columns, in characters."""


def _width(value: Any) -> int:
    """How many characters a cell is wide: a Chinese one counts double, a time is written with its seconds."""
    if isinstance(value, datetime):
        return 20
    text = "" if value is None else str(value)
    return 2 + sum(2 if east_asian_width(one) in "WF" else 1 for one in text[:WIDEST])


def as_parquet(name: str, columns: Sequence[Column], rows: Iterable[Any]) -> Response:
    """Rows as Parquet, named by the columns' keys: figures and times stay such, what a column has of several kinds is text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [[] for _column in columns]  # type: list[list[Any]]
    for row in rows:
        for kept, column in zip(cells, columns, strict=True):
            kept.append(coded(column, row))
    arrays = []
    for kept in cells:
        kinds = {type(one) for one in kept if one is not None}
        if kinds == {int, float}:  # whole figures and others are figures
            kept, kinds = [None if one is None else float(one) for one in kept], {float}
        plain = len(kinds) == 1 and kinds <= {int, float, str, bool, date, datetime}
        arrays.append(pa.array(kept if plain else [None if one is None else str(one) for one in kept]))
    file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - closed with the answer
    pq.write_table(pa.table(arrays, names=[one.key for one in columns]), file)
    return _sent(file, name, "application/vnd.apache.parquet")


def _sent(file: Any, name: str, mimetype: str) -> Response:
    file.seek(0)
    return send_file(file, mimetype=mimetype, as_attachment=True, download_name=name)


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(text: str) -> str:
    """``text`` such that no spreadsheet takes it for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def _exported(column: Column, row: Any) -> Any:
    """A cell's value in the types that exports know: text, figure, naive local time, date or nothing."""
    value = column.value(row)
    if column.state and value is not None:
        return _(state(value).label)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(settings().zone).replace(tzinfo=None, microsecond=0)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if value is None or (isinstance(value, int | Decimal | date) and not isinstance(value, bool)):
        return value
    return None if value == "" else value if isinstance(value, str) else show(value)


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return harmless(value) if isinstance(value, str) else str(value)


# -- for programs ----------------------------------------------------------------------------------------------------


def told(found: PagedList) -> Response:
    """A page of rows as JSON: each with its key as ``id``, its ``generation`` where it has one, and its columns."""
    return jsonify(
        items=[row_told(found, row) for row in found.rows],
        total=found.total,
        page=found.page,
        pages=found.pages,
        size=found.size,
        sums={name: spelled(value) for name, value in found.sums.items()},
    )


def row_told(found: PagedList, row: Any) -> dict[str, Any]:
    """One row as programs read it: times in UTC, amounts of money as text, words of the trade as codes; ``links`` are the pages
    of what it names, each of which is an address of the API as well."""
    fields = {one.key: spelled(coded(one, row)) for one in found.columns}
    generation = getattr(row, "generation", None)
    known = {} if generation is None else {"generation": generation}
    links = {one.key: to for one in found.columns if one.href and (to := one.href(row))}
    return {"id": spelled(_identity(row, found.key)), **known, **fields, "links": links}


def coded(column: Column, row: Any) -> Any:
    """A cell's value for programs."""
    value = column.code(row) if column.code else column.value(row)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | Decimal | date | Mapping | list):
        return value
    return str(value) if isinstance(value, str) else show(value)


def spelled(value: Any) -> Any:
    """``value`` as JSON has it."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(name): spelled(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [spelled(one) for one in value]
    return str(value) if isinstance(value, Decimal | date) else value


def _identity(row: Any, key: Any) -> Any:
    """What ``key`` is of ``row``: of an entity, of the entity in a row of several, or of the row itself."""
    owner = getattr(key, "class_", None)
    for one in (row, *(row if isinstance(row, tuple) else ())):
        if owner is not None and isinstance(one, owner):
            return getattr(one, key.key)
    return getattr(row, str(getattr(key, "key", "") or "id"), getattr(row, "id", None))
