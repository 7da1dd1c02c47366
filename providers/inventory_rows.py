"""Rows of an inventory file → facts, with a refusal for each row or value that makes no sense.

A row is refused whole where its resource, kind, chip, state or amounts cannot be known; dates, addresses
and tags are refused alone.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timezone
from typing import Any

from providers.base import ResourceFact, ResourceState, ServiceKind
from providers.inventory_words import (
    AMOUNTS,
    COUNTED,
    HEADERS,
    MOST,
    MOST_OF_ANY,
    NEEDED,
    SPEC,
    SUFFIXES,
    arch_of,
    kind_of,
    state_of,
)
from providers.refusals import Reading, unusable
from providers.usage_columns import plain
from providers.usage_values import moment
from quota.units import Arch, Kind

TITLE_ROWS = 10
"""How far down the header may stand, below titles and blank rows."""

LONGEST_ID = 128
"""Characters that the book keeps of a resource's id."""

FIGURE = re.compile(r"\+?(\d+(?:\.\d+)?)\s*(\D*)")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as written: its line (or row) in the file and its cells."""

    line: int
    cells: Sequence[Any]


def known(head: Any) -> bool:
    return isinstance(head, str) and plain(head) in HEADERS


def facts_of(rows: Iterator[Row], reading: Reading, arch: Arch, zone: timezone) -> list[ResourceFact]:
    """Find the header, then take row after row."""
    columns = _header(rows, reading)
    facts: dict[str, ResourceFact] = {}
    for row in rows:
        if all(cell is None or not str(cell).strip() for cell in row.cells) and row.cells:
            continue
        reading.rows += 1
        taker = _Cells(row, columns, reading, zone)
        fact = taker.fact(arch)
        if fact is None:
            continue
        before = facts.get(fact.external_id)
        if before is None:
            facts[fact.external_id] = fact
            reading.taken += 1
        elif before == fact:
            reading.duplicates += 1
        else:
            taker.refuse("id.twice", "id")
    if not reading.rows:
        raise unusable("file.no_rows", reading.file)
    reading.samples = len(facts)
    return list(facts.values())


def _header(rows: Iterator[Row], reading: Reading) -> dict[str, tuple[int, str]]:
    """Column name → (index, header as written). Raises Invalid if none of the first rows is a header."""
    for row, _ in zip(rows, range(TITLE_ROWS), strict=False):
        if sum(known(cell) for cell in row.cells) >= 2:
            break
    else:
        raise unusable("file.unknown", reading.file, line=1, header="")
    columns: dict[str, tuple[int, str]] = {}
    line = max(row.line, 1)
    for at, head in enumerate(row.cells):
        if not known(head):
            continue
        name = HEADERS[plain(head)]
        if name in columns:
            raise unusable("column.twice", reading.file, line=line, column=at + 1, header=head)
        columns[name] = (at, head)
    if "id" not in columns:
        raise unusable("column.missing", reading.file, line=line, column="id")
    unused = [str(head) for head in row.cells if head not in (None, "") and not known(head)]
    if unused:
        reading.note("column.unused", columns=", ".join(unused)[:400])
    return columns


class UnfitError(Exception):
    """This row cannot be taken; it was counted."""


class _Cells:
    """One row on its way to a fact."""

    def __init__(self, row: Row, columns: Mapping[str, tuple[int, str]], reading: Reading, zone: timezone) -> None:
        self.row, self.columns, self.reading, self.zone = row, columns, reading, zone

    def raw(self, name: str) -> Any:
        at = self.columns.get(name, (-1, ""))[0]
        return self.row.cells[at] if 0 <= at < len(self.row.cells) else None

    def text(self, name: str) -> str:
        value = self.raw(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # spreadsheets know no integers
        return "" if value is None else str(value).strip()

    def refuse(self, reason: str, name: str, *, rows: bool = True) -> None:
        at, head = self.columns.get(name, (-1, name))
        self.reading.refuse(reason, self.row.line, at + 1 or None, head, self.text(name), rows=rows)

    def unfit(self, reason: str, name: str) -> UnfitError:
        self.refuse(reason, name)
        return UnfitError(reason)

    def fact(self, arch: Arch) -> ResourceFact | None:
        """The fact, or None if the row was refused."""
        try:
            return self._fact(arch)
        except UnfitError:
            return None

    def _fact(self, default: Arch) -> ResourceFact:
        if not self.row.cells:
            raise self.unfit("line.fields", "id")
        external_id = self.text("id")
        if not external_id:
            raise self.unfit("id.empty", "id")
        if len(external_id) > LONGEST_ID:
            raise self.unfit("id.long", "id")
        kind: ServiceKind | None = ServiceKind.VM
        if "kind" in self.columns and (kind := kind_of(self.text("kind"))) is None:
            raise self.unfit("kind.unknown", "kind")
        arch = arch_of(self.text("arch")) if self.text("arch") else default
        if arch is None:
            raise self.unfit("arch.unknown", "arch")
        state = state_of(self.text("state")) if self.text("state") else ResourceState.RUNNING
        if state is None:
            raise self.unfit("state.unknown", "state")
        assert kind is not None  # noqa: S101 - refused above
        address, tags = self._address(), self._tags()
        return ResourceFact(
            external_id,
            self.text("name") or external_id,
            kind,
            arch,
            self._amounts(kind),
            state,
            self.text("department") or None,
            self.text("system") or None,
            self._time("created_at"),
            self._time("stopped_at"),
            self.text("attached_to") or None,
            address[0] if address else None,
            {**tags, **({"addresses": ",".join(address)} if len(address) > 1 else {})},
        )

    def _amounts(self, kind: ServiceKind) -> dict[Kind, int]:
        amounts: dict[Kind, int] = {}
        for name, column in AMOUNTS.items():
            written = self.text(name)
            if not written:
                continue
            found = FIGURE.fullmatch(written)
            factor = SUFFIXES[column.unit].get(found[2].strip().casefold()) if found else None
            if found is None or factor is None:
                negative = re.fullmatch(r"-\d+(\.\d+)?", written)
                raise self.unfit("value.negative" if negative else "value.text", name)
            figure = float(found[1]) * factor * column.factor
            if figure > MOST.get(column.kind, MOST_OF_ANY):
                raise self.unfit("value.absurd", name)
            if not math.isclose(figure, round(figure), abs_tol=1e-6):
                raise self.unfit("value.fraction", name)
            if amounts.get(column.kind, round(figure)) != round(figure):
                raise self.unfit("spec.conflict", name)
            amounts[column.kind] = round(figure)
        self._spec(amounts)
        for needed in NEEDED.get(kind, ()):
            if needed not in amounts:
                name = next(name for name, column in AMOUNTS.items() if column.kind is needed)
                raise self.unfit("value.missing", name)
        if kind in COUNTED:
            amounts.setdefault(COUNTED[kind], 1)
        return {one: figure for one, figure in amounts.items() if figure}

    def _spec(self, amounts: dict[Kind, int]) -> None:
        """A shape such as 4C8G gives what the row does not state itself; the two must agree."""
        written = self.text("spec")
        if not written:
            return
        found = SPEC.fullmatch(written)
        if found is None:
            if Kind.VCPU in amounts or Kind.MEMORY in amounts:
                return  # a name of the provider's own beside the figures
            raise self.unfit("spec.bad", "spec")
        for kind, figure in ((Kind.VCPU, float(found[1])), (Kind.MEMORY, float(found[2]) * 1024)):
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
