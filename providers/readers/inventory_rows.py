"""Rows of an inventory file → facts, with a refusal for each row or value that makes no sense.

A row is refused whole where its resource, kind, chip, state or amounts cannot be known; dates, addresses
and tags are refused alone.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timezone
from decimal import Decimal
from itertools import chain, islice
from typing import Any, TypeVar

from providers.base import ResourceFact, ResourceState, ServiceKind
from providers.readers import figures
from providers.readers.column_mapping import ColumnMapping, key_of, spelled
from providers.readers.inventory_words import (
    AMOUNTS,
    COUNTED,
    HEADERS,
    MAY_BE_ZERO,
    MOST,
    MOST_OF_ANY,
    NEEDED,
    OWNERLESS,
    SPEC,
    SUFFIXES,
    UNSAID_UNITS,
    AmountColumn,
    arch_of,
    kind_of,
    state_of,
)
from providers.readers.refusals import Reading, unusable
from providers.readers.sheet_purposes import INVENTORY, LEFT_OUT
from providers.readers.tables import TITLE_ROWS, Heading, RowCells, TableColumn, TableRow, UnfitError, columns_of
from providers.readers.usage_columns import plain
from providers.readers.usage_values import moment
from quota.units import ACCELERATOR, CLASSES, MEMORY, VCPU, Arch, ClassCode

T = TypeVar("T")

LONGEST_ID = 128
"""Characters that the book keeps of a resource's id."""

FIGURE = re.compile(r"(.*?\d\.?)\s*([^\d.,]*)", re.S)

PIECES = re.compile(r"(\d+)(?:\.0*)?\D*")
"""So many, with what they are called."""

PROFILE = re.compile(r"(?:(?P<of>[1-9]\d{0,3})\s*[x×*]\s*)?(?P<name>\S.*?)(?:\s*[x×*]\s*(?P<many>[1-9]\d{0,3}))?", re.I)
"""A profile of slices, and of how many: 1g.10gb, 1g.10gb×2, 2 x vir04."""

EXPONENT = re.compile(r"\d[eE][+-]?\d")

SUM_SLACK = Decimal("0.05")
"""By how much a total may differ from the sum of its rows, each of which was rounded."""

UNSAID = 1024
"""Memory from here on, written without a unit, may be MB as well as GB."""

HEADING = Heading(
    HEADERS, ("id",), lambda name, unit: name in AMOUNTS and unit in SUFFIXES[AMOUNTS[name].unit]
)  # fmt: skip


def heading_of(mappings: Sequence[ColumnMapping]) -> Heading:
    """The headings that are known by themselves, and those of the mappings."""
    theirs = {plain(head): f"={spelled(head)}" for one in mappings for head in one.heads}
    return Heading({**theirs, **HEADERS}, HEADING.needed, HEADING.units) if mappings else HEADING


def facts_of(
    rows: Iterator[TableRow],
    reading: Reading,
    arch: Arch,
    zone: timezone,
    mappings: Sequence[ColumnMapping] = (),
) -> list[ResourceFact]:
    """Find the header, then take row after row. With ``mappings``, sheets are read by that of their headings alone, or by
    the headings that everybody knows: Invalid (``sheet.changed``) for others."""
    mapping, columns, rows = _columns(rows, reading, mappings)
    facts: dict[str, ResourceFact] = {}
    unstated = left_out = 0
    totals = _Totals(columns, reading)
    for row in rows:
        taker = _Cells(row, columns, reading, zone, mapping)
        if taker.is_blank():
            continue
        if taker.is_total("id"):
            totals.compare(taker)
            reading.leave_out(row.line)
            continue
        totals.add(taker, read=not taker.is_left_out())
        if taker.is_left_out():
            left_out += 1
            continue
        reading.rows += 1
        fact = taker.fact(arch)
        if fact is None:
            continue
        before = facts.get(fact.external_id)
        if before is None:
            facts[fact.external_id] = fact
            reading.taken += 1
            unstated += not taker.text("state")
        elif before == fact:
            reading.duplicates += 1
        else:
            taker.refuse("id.twice", "id")
    if not reading.rows:
        raise unusable("file.no_rows", reading.place)
    reading.must_be_whole(facts)
    if left_out:
        reading.note("rows.left_out", count=left_out)
    if "kind" not in columns:
        reading.note("kind.assumed")
    if unstated:
        reading.note("state.assumed", count=unstated)
    reading.samples = len(facts)
    return list(facts.values())


_PLAIN_FIGURE = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")
_AVERAGED = re.compile(r"平均|均值|average|最大|最小|累计")


class _Totals:
    """The figures of a sheet summed up, beside what its own total rows say: what differs lacks rows or has too many.

    A total may be of all rows above it or of those since any total before it, with the rows that a mapping leaves out or without
    them. A column in which anything is no plain figure is not compared.
    """

    def __init__(self, columns: Mapping[str, TableColumn], reading: Reading) -> None:
        self._reading = reading
        self._sums = {name: (Decimal(0), Decimal(0)) for name in columns if name in AMOUNTS or name == "count"}
        self._before = {name: [(Decimal(0), Decimal(0))] for name in self._sums}

    def add(self, taker: RowCells, *, read: bool) -> None:
        """A row that is no total; ``read``: it is not left out."""
        for name, (every, ours) in list(self._sums.items()):
            figure = self._figure(taker.text(name) or "0")
            if figure is None:
                del self._sums[name]
            else:
                self._sums[name] = every + figure, ours + (figure if read else 0)

    def compare(self, taker: RowCells) -> None:
        """A total row. Refuses each of its figures that is none of these sums."""
        if any(isinstance(cell, str) and _AVERAGED.search(plain(cell)) for cell in taker.row.cells):
            return
        for name, now in self._sums.items():
            figure = self._figure(taker.text(name))
            before = self._before[name]
            if figure is not None and all(
                abs(figure - (now[place] - one[place])) > SUM_SLACK for one in before for place in (0, 1)
            ):
                head = taker.columns[name]
                said = f"{taker.text(name)} ≠ {now[0] - before[-1][0]}"
                self._reading.refuse("total.differs", taker.row.line, head.at + 1, head.head, said, rows=False)
            before.append(now)

    @staticmethod
    def _figure(text: str) -> Decimal | None:
        return Decimal(text.replace(",", "")) if _PLAIN_FIGURE.fullmatch(text) else None


def _columns(
    rows: Iterator[TableRow], reading: Reading, mappings: Sequence[ColumnMapping]
) -> tuple[ColumnMapping | None, Mapping[str, TableColumn], Iterator[TableRow]]:
    """The mapping that the headings have, the columns by name, and the rows below them."""
    if not mappings:
        return None, *columns_of(rows, HEADING, reading)
    first = list(islice(rows, TITLE_ROWS))
    by_key = {one.key: one for one in reversed(mappings)}  # the first of like headings
    for at, row in enumerate(first):
        mapping = by_key.get(key_of(row.cells))
        if mapping is not None:
            columns = mapping.places(row)
            used = {spelled(one) for one in mapping.columns.values()}
            unread = [head for head in mapping.heads if spelled(head) not in used]
            if unread:
                reading.note("column.unused", columns=", ".join(unread)[:400])
            return mapping, columns, chain(first[at + 1 :], rows)
    known = heading_of(mappings)
    best = max(first, key=lambda row: len(known.names(row.cells)), default=None)
    if best is None or any(HEADING.column(0, cell) is None for cell in best.cells if spelled(cell)):
        raise _changed(best, reading, mappings)
    return None, *columns_of(chain(first, rows), HEADING, reading)


def _changed(row: TableRow | None, reading: Reading, mappings: Sequence[ColumnMapping]) -> Exception:
    """What is other about the headings than in the mapping that they are most like."""
    there = {spelled(cell): str(cell).strip() for cell in row.cells if spelled(cell)} if row is not None else {}
    like = max(mappings, key=lambda one: len(there.keys() & {spelled(head) for head in one.heads}))
    theirs = {spelled(head): head for head in like.heads}
    return unusable(
        "sheet.changed",
        reading.place,
        line=row.line if row is not None else 1,
        new=", ".join(there[one] for one in there if one not in theirs)[:200] or "—",
        gone=", ".join(theirs[one] for one in theirs if one not in there)[:200] or "—",
    )


class _Cells(RowCells):
    """One row on its way to a fact."""

    def __init__(
        self,
        row: TableRow,
        columns: Mapping[str, TableColumn],
        reading: Reading,
        zone: timezone,
        mapping: ColumnMapping | None,
    ) -> None:
        super().__init__(row, columns, reading)
        self.zone, self.mapping = zone, mapping

    def is_left_out(self) -> bool:
        """Whether the mapping says that such a row is no part of the listing."""
        mapping = self.mapping
        return mapping is not None and any(mapping.meaning(name, self.text(name)) == LEFT_OUT for name in mapping.words)

    def word(self, name: str, known: Callable[[str], T | None]) -> T | None:
        """What the cell means: as the mapping has it, else as everybody does."""
        said = self.text(name)
        return known((self.mapping.meaning(name, said) if self.mapping is not None else None) or said)

    def owner(self, name: str) -> str | None:
        """The code of a department or system: as the mapping has it, else as it is written."""
        said = self.text(name)
        return (self.mapping.meaning(name, said) if self.mapping is not None else None) or said or None

    def fact(self, arch: Arch) -> ResourceFact | None:
        """The fact, or None if the row was refused."""
        try:
            return self._fact(arch)
        except UnfitError:
            return None

    def _fact(self, default: Arch) -> ResourceFact:
        if not self.row.cells:
            raise self.unfit("line.fields", "id")
        self.must_be_computed()
        external_id = self.identity("id")
        if not external_id:
            raise self.unfit("id.empty", "id")
        if len(external_id) > LONGEST_ID:
            raise self.unfit("id.long", "id")
        kind: ServiceKind | None = ServiceKind.VM
        if "kind" in self.columns and (kind := self.word("kind", kind_of)) is None:
            raise self.unfit("kind.unknown", "kind")
        arch = self.word("arch", arch_of) if self.text("arch") else default
        if arch is None:
            raise self.unfit("arch.unknown", "arch")
        state = self.word("state", state_of) if self.text("state") else ResourceState.RUNNING
        if state is None:
            raise self.unfit("state.unknown", "state")
        assert kind is not None  # noqa: S101 - refused above
        if plain(self.text("department")) in OWNERLESS and plain(self.columns["department"].head) == "单位":
            raise self.unfit("unit.owner", "department")
        address, tags = self._address(), self._tags()
        return ResourceFact(
            external_id,
            self.text("name") or external_id,
            kind,
            arch,
            self._amounts(kind, state),
            state,
            self.owner("department"),
            self.owner("system"),
            self._time("created_at"),
            self._time("stopped_at"),
            self.identity("attached_to") or None,
            address[0] if address else None,
            {**tags, **({"addresses": ",".join(address)} if len(address) > 1 else {})},
        )

    def _amounts(self, kind: ServiceKind, state: ResourceState) -> dict[ClassCode, int]:
        amounts: dict[ClassCode, int] = {}
        for name, column in AMOUNTS.items():
            if not self.text(name):
                continue
            self.must_be_own(name)
            figure = self._figure(name, column)
            if figure > MOST.get(column.kind, MOST_OF_ANY):
                raise self.unfit("value.absurd", name)
            if not math.isclose(figure, round(figure), abs_tol=1e-6):
                raise self.unfit("value.fraction", name)
            if amounts.get(column.kind, round(figure)) != round(figure):
                raise self.unfit("spec.conflict", name)
            amounts[column.kind] = round(figure)
        self._spec(amounts)
        sliced = self._sliced(kind, amounts)
        self._pieces(kind, amounts, sliced)
        counted = [COUNTED[kind]] if kind in COUNTED and not (sliced and kind is ServiceKind.ACCELERATOR) else []
        for needed in (*NEEDED.get(kind, ()), *counted):
            name = next(name for name, column in AMOUNTS.items() if column.kind == needed)
            if needed not in amounts:
                raise self.unfit("value.missing", name)
            if not amounts[needed] and needed not in MAY_BE_ZERO and state is not ResourceState.DELETED:
                raise self.unfit("value.zero", name)
        return {one: figure for one, figure in amounts.items() if figure}

    def _figure(self, name: str, column: AmountColumn) -> float:
        """One amount in base units. Raises UnfitError for what is none, or may be two."""
        value, written = self.raw(name), self.text(name)
        found = FIGURE.fullmatch(written)
        head = self.columns[name]
        said = plain(found[2]) if found else ""
        factor = SUFFIXES[column.unit].get(said or head.unit)
        try:
            if found is None or factor is None:
                raise ValueError(written)
            if EXPONENT.search(written):
                raise self.unfit("value.short", name)
            figure = figures.figure(value if isinstance(value, int | float) else found[1])
        except figures.AmbiguousError:
            raise self.unfit("value.ambiguous", name) from None
        except ValueError:
            raise self.unfit("value.text", name) from None
        if figure.is_signed() and figure:
            raise self.unfit("value.negative", name)
        if not figure.is_finite():
            raise self.unfit("value.nan", name)
        if not said and not head.unit and self.mapping is not None and name in INVENTORY.units:
            raise self.unfit("unit.unsaid", name)
        if not said and not head.unit and (unit := UNSAID_UNITS.get(plain(head.head))):
            if column.kind == MEMORY and figure >= UNSAID:
                raise self.unfit("unit.unsaid", name)
            self.reading.note("unit.assumed", unit=unit, columns=head.head)
        return float(figure) * factor * column.factor

    def _sliced(self, kind: ServiceKind, amounts: dict[ClassCode, int]) -> int:
        """The slices of cards that a profile says the class of, a number of them beside its name (``1g.10gb×2``), else as many as the row
        has cards: those are slices, and no whole cards. How many there are."""
        written = self.text("profile")
        if not written:
            return 0
        self.must_be_own("profile")
        cards = amounts.pop(ACCELERATOR, None)
        if cards is None and kind is ServiceKind.ACCELERATOR and (pieces := PIECES.fullmatch(self.text("count"))):
            cards = int(pieces[1])
        parts = [PROFILE.fullmatch(one.strip()) for one in re.split(r"[,，;；、]|\+(?!me\b)", written, flags=re.I)]
        total = 0
        for one in parts:
            code = CLASSES.of_profile(one["name"]) if one is not None else None
            if one is None or code is None:
                raise self.unfit("profile.unknown", "profile")
            many = int(one["many"] or one["of"] or (cards if cards is not None and len(parts) == 1 else 1))
            amounts[code] = amounts.get(code, 0) + many
            total += many
        if cards is not None and total != cards:
            raise self.unfit("spec.conflict", "profile")
        return total

    def _pieces(self, kind: ServiceKind, amounts: dict[ClassCode, int], sliced: int) -> None:
        """A number of pieces is an amount of what is counted by the piece; anything else is one thing a row. Units that
        stand in a column of their own must be those that the figures are read in."""
        self.must_be_own("count")
        found = PIECES.fullmatch(self.text("count"))
        pieces = int(found[1]) if found else 1 if not self.text("count") else None
        if sliced and kind is ServiceKind.ACCELERATOR:
            if pieces != sliced and found:
                raise self.unfit("spec.conflict", "count")
        elif kind in COUNTED and pieces is not None:
            if amounts.setdefault(COUNTED[kind], pieces) != pieces and found:
                raise self.unfit("spec.conflict", "count")
        elif pieces != 1:
            raise self.unfit("cell.changes", "count")
        for name in ("memory_unit", "block_unit"):
            if self.text(name) and SUFFIXES["gb"].get(plain(self.text(name))) != 1:
                raise self.unfit("cell.changes", name)

    def _spec(self, amounts: dict[ClassCode, int]) -> None:
        """A shape such as 4C8G gives what the row does not state itself; the two must agree."""
        written = self.text("spec")
        if not written:
            return
        found = SPEC.fullmatch(written)
        if found is None:
            if VCPU in amounts or MEMORY in amounts:
                return  # a name of the provider's own beside the figures
            raise self.unfit("spec.bad", "spec")
        for kind, figure in ((VCPU, float(found[1])), (MEMORY, float(found[2]) * 1024)):
            if figure > MOST[kind]:
                raise self.unfit("value.absurd", "spec")
            if amounts.setdefault(kind, round(figure)) != round(figure):
                raise self.unfit("spec.conflict", "spec")

    def _time(self, name: str) -> datetime | None:
        value = self.raw(name)
        if value is None or not str(value).strip():
            return None
        found = aware(value, self.zone)
        if found is None:
            self.refuse("time.bad", name, rows=False)
        return found

    def _address(self) -> list[str]:
        written = [one for one in re.split(r"[,;、,;\s]+", self.text("address")) if one]
        try:
            return [str(ipaddress.ip_address(one)) for one in written]
        except ValueError:
            self.refuse("address.bad", "address", rows=False)
            return []

    def _tags(self) -> dict[str, str]:
        value = self.raw("tags")
        if isinstance(value, dict):
            return {str(key): str(one) for key, one in value.items() if one is not None}
        text = self.text("tags")
        if not text:
            return {}
        try:
            loaded = json.loads(text) if text.startswith("{") else None
        except (json.JSONDecodeError, RecursionError):
            loaded = None
        if isinstance(loaded, dict):
            return {str(key): str(one) for key, one in loaded.items()}
        pairs = [one.partition("=") for one in re.split(r"[;;]", text) if one.strip()]
        if not all(mark and key.strip() for key, mark, _ in pairs):
            self.refuse("tags.bad", "tags", rows=False)
            return {}
        return {key.strip(): one.strip() for key, _, one in pairs}


def aware(value: Any, zone: timezone) -> datetime | None:
    """A date or moment as a cell holds it → aware, UTC; without a zone it is ``zone``'s. None if it is
    none."""
    if isinstance(value, datetime):
        found: datetime | None = value
    elif isinstance(value, date):
        found = datetime.combine(value, time())
    else:
        found = moment(value) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return None
