"""Usage formats, recognised by what a file contains; its name is asked only for what the content does not
say.

``bitbrains``   one machine a file, header with units; the machine is the file name
``planetlab``   one number a line, 288 of them; the folder is the date (yyyymmdd), the file name the machine
``gcd``         two numbers a line (CPU %, memory %), 288 lines; the file is ``vm_<job>_<day of ten>``
``cloudwatch``  ``timestamp,value``, one metric a file; the metric stands in the file name
``merged``      rows with ``dur_s``: each stands for the seconds up to its time (OpenDC's fastStorage)
``wide``        a row for a resource and moment, a column for each metric
``long``        a row for a resource, moment and metric
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from providers.readers.column_mapping import ColumnMapping, key_of, spelled
from providers.readers.refusals import Reading, unusable
from providers.readers.sheet_purposes import FACTORS, LEFT_OUT, USAGE, ZONES, metric_of
from providers.readers.tables import TITLE_ROWS
from providers.readers.text_files import HUGE, SEPARATORS, TextBlock, fields
from providers.readers.usage_columns import (
    BESIDE,
    BITBRAINS,
    QUANTITIES,
    ColumnMeaning,
    meaning,
    metric,
    metric_of_file,
    plain,
)
from quota.errors import N_, Invalid

FORMATS = ("bitbrains", "planetlab", "gcd", "cloudwatch", "merged", "wide", "long")

VALUES_A_DAY = 288
GCD_FIRST_DAY = date(2011, 5, 2)
"""Nominal: the published files number their ten days of May 2011 without dates."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WITH_COMMA = re.compile(r"[+-]?\d+,\d+")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True, slots=True)
class Convention:
    """What the person who imports knows about the files and the files do not say.

    format: one of FORMATS, against recognition; utc_offset_s: the zone of times written without one
    (otherwise such times are refused, but for CloudWatch, which speaks UTC); metric: what a
    ``timestamp,value`` file holds; prefix: put before every resource id, to tell sources apart that number
    alike; mappings: how files with headings of their own are read, the newest first.
    """

    format: str | None = None
    utc_offset_s: int | None = None
    metric: str | None = None
    prefix: str = ""
    mappings: tuple[ColumnMapping, ...] = ()

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise Invalid(
                "format.unknown",
                N_("没有名为 %(format)s 的格式;现有:%(known)s"),
                format=self.format,
                known=", ".join(FORMATS),
                field="format",
            )
        if self.metric is not None and metric(self.metric) is None:
            raise Invalid("metric.unknown", N_("无法识别的指标：%(metric)s"), metric=self.metric, field="metric")
        if self.utc_offset_s is not None and abs(self.utc_offset_s) > 16 * 3600:
            raise Invalid("offset.absurd", N_("时区偏移过大"), field="utc_offset_s")

    def mapping_of(self, heads: Sequence[Any]) -> ColumnMapping | None:
        """The mapping that was made for these headings."""
        key = key_of(heads, USAGE.code)
        return next((one for one in self.mappings if one.key == key), None)


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """One column that is read: ``index`` from 0, the header as written, and what it means. ``stated``: a person said in which
    unit it is."""

    index: int
    header: str
    name: str
    factor: float = 1.0
    stated: bool = False


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """How one file is read."""

    format: str
    fields: tuple[PlannedColumn, ...]
    width: int
    separator: str = ","
    header_line: int = 0
    decimal: str = "."
    resource: str | None = None
    day_start: int | None = None
    metric: ColumnMeaning | None = None
    naive_offset_s: int | None = None
    aside: tuple[PlannedColumn, ...] = ()
    """Columns that are not read, in a file that speaks of one machine: one that tells machines apart would melt them."""
    metrics: Mapping[str, ColumnMeaning] = field(default_factory=dict)
    """What names of metrics mean by a person's word; names as ``spelled``."""
    left_out: frozenset[str] = frozenset()
    """Names of metrics whose rows are not read, by a person's word."""

    @property
    def positional(self) -> bool:
        """Whether a value's line is its time."""
        return self.day_start is not None

    def field(self, name: str) -> PlannedColumn | None:
        return next((one for one in self.fields if one.name == name), None)


def machine_name(path: Path) -> str:
    """A file's name as a resource id: without the endings that only say how it is stored."""
    name = path.name
    while (cut := re.sub(r"\.(csv|txt|tsv|dat|gz|parquet)$", "", name, flags=re.I)) != name and cut:
        name = cut
    return name.encode("utf-8", "backslashreplace").decode()


def recognise_text(block: TextBlock, path: Path, convention: Convention, reading: Reading) -> ReadingPlan:
    """Plan the reading of a text file from its first block. Raises Invalid naming file, line and column."""
    name = reading.file
    lines = block.data[:HUGE].decode("utf-8", "replace").split("\n")
    first = next((at for at, line in enumerate(lines[:-1]) if line.strip()), None)
    if first is None or block.cut:
        raise unusable("file.no_rows" if len(block.data) < HUGE else "file.unknown", name, line=1, header=lines[0][:80])
    first = _mapped_line(lines, convention) or first
    header = lines[first]
    cells = header.split()
    if cells and all(NUMBER.fullmatch(one) for one in cells) and convention.format in (None, "planetlab", "gcd"):
        plan = _positional(cells, header, path, name)
    else:
        separator, heads, headless = _header(header, convention)
        plan = _columns(heads, path, convention, reading, first + 1)
        plan = replace(plan, separator=separator, header_line=0 if headless else first + 1)
        body = enumerate(lines[first + 1 : -1][:200], first + 2)
        sample = [(at, fields(line, separator)) for at, line in body if line.strip()]
        plan = replace(plan, decimal=_decimal(plan, sample, name))
        if plan.decimal == ",":
            reading.note("text.decimal_comma")
    return _as_told(plan, convention, name)


def recognise_schema(schema: pa.Schema, path: Path, convention: Convention, reading: Reading) -> ReadingPlan:
    """Plan the reading of a Parquet file from its schema. Raises Invalid naming file and column."""
    plan = _columns(schema.names, path, convention, reading, 1)
    for one in plan.fields:
        kind = schema.field(one.index).type
        inner = kind.value_type if pa.types.is_dictionary(kind) else kind
        text = pa.types.is_string(inner) or pa.types.is_large_string(inner)
        number = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner)
        moment = one.name == "time" and pa.types.is_timestamp(inner)
        integer_id = one.name == "id" and pa.types.is_integer(inner)
        if not (text or moment or integer_id or (number and one.name not in ("id", "metric"))):
            raise unusable("column.type", reading.file, column=one.index + 1, header=one.header, type=str(kind))
    plan = replace(plan, aside=tuple(one for one in plan.aside if _tells_apart(schema.field(one.index).type)))
    return _as_told(plan, convention, reading.file)


def _tells_apart(kind: pa.DataType) -> bool:
    """Whether a column of this type could hold ids."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_integer(inner))


def _as_told(plan: ReadingPlan, convention: Convention, name: str) -> ReadingPlan:
    tables = {"bitbrains", "wide", "merged"}
    if convention.format in (None, plan.format) or {convention.format, plan.format} <= tables:
        return plan
    raise unusable("file.format", name, format=convention.format)


def _positional(cells: Sequence[str], header: str, path: Path, name: str) -> ReadingPlan:
    """A file of bare numbers: PlanetLab (one a line) or GCD (two a line)."""
    if len(cells) == 1:
        folder = path.parent.name
        try:
            day = datetime.strptime(folder, "%Y%m%d").date() if re.fullmatch(r"\d{8}", folder) else None  # noqa: DTZ007
        except ValueError:
            day = None
        if day is None:
            raise unusable("file.no_day", name)
        one = (PlannedColumn(0, "CPU %", "cpu_pct"),)
        return ReadingPlan("planetlab", one, 1, resource=machine_name(path), day_start=_midnight(day))
    if len(cells) == 2:
        found = re.fullmatch(r"vm_(\d+)_([1-9]|10)", machine_name(path))
        if not found:
            raise unusable("file.no_day", name)
        two = (PlannedColumn(0, "CPU %", "cpu_pct"), PlannedColumn(1, "memory %", "mem_pct"))
        start = _midnight(GCD_FIRST_DAY) + (int(found[2]) - 1) * 86400
        separator = "\t" if "\t" in header.strip() else " "
        return ReadingPlan("gcd", two, 2, separator, resource=f"gcd-{found[1]}", day_start=start)
    raise unusable("file.unknown", name, line=1, header=header[:80])


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _mapped_line(lines: Sequence[str], convention: Convention) -> int:
    """Which of the first lines is that of a mapping's headings, below titles; 0 where none is, or the first."""
    for at, line in enumerate(lines[:TITLE_ROWS] if convention.mappings else ()):
        if any(convention.mapping_of(fields(line, separator)) for separator in SEPARATORS):
            return at
    return 0


def _header(line: str, convention: Convention) -> tuple[str, list[str], bool]:
    """Separator, headers, and whether the headers come from the convention because the file has none."""
    choices = [(separator, fields(line, separator)) for separator in SEPARATORS]
    separator, heads = max(
        choices,
        key=lambda one: (
            convention.mapping_of(one[1]) is not None,
            sum(meaning(head) is not None for head in one[1]),
            len(one[1]),
        ),
    )
    told: Mapping[str, Sequence[str]] = {"bitbrains": BITBRAINS, "cloudwatch": ("timestamp", "value")}
    names = told.get(convention.format or "")
    if names and len(heads) == len(names) and not any(meaning(head) for head in heads):
        return separator, list(names), True
    return separator, heads, False


def _columns(heads: Sequence[str], path: Path, convention: Convention, reading: Reading, line: int) -> ReadingPlan:
    """How a table with these headings is read: as a person said, or by what everybody calls its columns."""
    said = convention.mapping_of(heads)
    if said is not None:
        return _mapped(heads, said, convention, reading)
    return _recognised(heads, path, convention, reading, line)


def _recognised(heads: Sequence[str], path: Path, convention: Convention, reading: Reading, line: int) -> ReadingPlan:
    """Which format a header belongs to, and which of its columns are read."""
    name = reading.file
    found: dict[str, PlannedColumn] = {}
    twice: list[PlannedColumn] = []
    for index, head in enumerate(heads):
        if known := meaning(head):
            field = PlannedColumn(index, head, known.name, known.factor)
            if known.name in found:
                twice.append(field)
            else:
                found[known.name] = field
    if "name" in found and "id" not in found:
        found["id"] = replace(found["name"], name="id")
        reading.note("id.by_name", header=found["id"].header)
    measured = [one for one in found if one in QUANTITIES]
    if not found or (len(found) == 1 and "time" not in found):
        raise unusable("file.unknown", name, line=line, header=" ".join(heads)[:80])
    if "time" not in found:
        raise unusable("column.missing", name, line=line, column="time")

    metric_of = None
    if {"metric", "value"} <= found.keys() or ("id" in found and {"metric", "value"} & found.keys()):
        kind, wanted = "long", ["id", "time", "metric", "value"]
    elif "value" in found and "id" not in found:
        kind, wanted = "cloudwatch", ["time", "value"]
        told = convention.metric
        metric_of = metric(told) if told else metric_of_file(machine_name(path))
        if metric_of is None:
            raise unusable("metric.unknown", name)
        if not told:
            reading.note("metric.of_file", metric=metric_of.name)
    elif not measured:
        raise unusable("file.unknown", name, line=line, header=" ".join(heads)[:80])
    else:
        bitbrains = "id" not in found and len({plain(one) for one in BITBRAINS} & {plain(one) for one in heads}) >= 4
        kind = "merged" if "dur_s" in found else "bitbrains" if bitbrains else "wide"
        wanted = [
            "time",
            *(["id"] if "id" in found else []),
            *(["dur_s"] if kind == "merged" else []),
            *measured,
        ]
        if "mem_used_mb" in found and ("mem_pct" in found or "mem_mb" not in found):
            wanted.remove("mem_used_mb")
    for one in wanted:
        if one not in found:
            raise unusable("column.missing", name, line=line, column=one)
    if kind in ("long", "cloudwatch") and "unit" in found:
        wanted.append("unit")
    for field in twice:
        if field.name in wanted:
            raise unusable("column.twice", name, line=line, column=field.index + 1, header=field.header)
    read = tuple(found[one] for one in wanted)
    used = {one.index for one in read}
    aside = [at for at, head in enumerate(heads) if at not in used and head.strip() and plain(head) not in BESIDE]
    if aside:
        reading.note("column.unused", columns=", ".join(heads[at] for at in aside)[:400])
    if kind == "bitbrains" and (absent := [one for one in BITBRAINS if plain(one) not in map(plain, heads)]):
        reading.note("column.missing", columns=", ".join(absent))
    zone = convention.utc_offset_s if convention.utc_offset_s is not None else 0 if kind == "cloudwatch" else None
    return ReadingPlan(
        kind,
        read,
        len(heads),
        resource=None if "id" in wanted else machine_name(path),
        metric=metric_of,
        naive_offset_s=zone,
        aside=() if "id" in wanted else tuple(PlannedColumn(at, heads[at], f"aside{at}") for at in aside),
    )


def _mapped(heads: Sequence[str], said: ColumnMapping, convention: Convention, reading: Reading) -> ReadingPlan:
    """How a file is read whose columns a person has explained: as they said, and nothing besides."""
    at = {spelled(head): index for index, head in enumerate(heads)}
    read = []
    for name, head in said.columns.items():
        unit = said.units.get(name, "")
        factor = FACTORS[name][unit][0] if name in FACTORS else 1.0
        read.append(PlannedColumn(at[spelled(head)], heads[at[spelled(head)]], name, factor, stated=name in FACTORS))
    used = {one.index for one in read}
    if unread := [head for index, head in enumerate(heads) if index not in used and head.strip()]:
        reading.note("column.unused", columns=", ".join(unread)[:400])
    words = said.words.get("metric", {})
    return ReadingPlan(
        "long" if "metric" in said.columns else "merged" if "dur_s" in said.columns else "wide",
        tuple(read),
        len(heads),
        naive_offset_s=ZONES.get(said.units.get("time", ""), convention.utc_offset_s),
        metrics={word: found for word, mean in words.items() if mean != LEFT_OUT and (found := metric_of(mean))},
        left_out=frozenset(word for word, mean in words.items() if mean == LEFT_OUT),
    )


def _decimal(plan: ReadingPlan, sample: Sequence[tuple[int, Sequence[str]]], name: str) -> str:
    """The decimal sign of a file's numbers. Raises Invalid where ``1,234`` may mean two things."""
    comma: list[tuple[int, int, str]] = []
    points = 0
    for line, cells in sample:
        for one in plan.fields:
            if (one.name in QUANTITIES or one.name == "value") and one.index < len(cells):
                cell = cells[one.index]
                points += "." in cell
                if WITH_COMMA.fullmatch(cell):
                    comma.append((line, one.index + 1, cell))
    if len(comma) <= points:
        return "."
    if all(THOUSANDS.fullmatch(cell) for _, _, cell in comma):
        raise unusable("number.ambiguous", name, line=comma[0][0], column=comma[0][1], text=comma[0][2])
    return ","
