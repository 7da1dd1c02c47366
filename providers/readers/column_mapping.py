"""Column mappings (列对照): how a sheet whose headings are its own is read, as a listing or as usage.

A mapping belongs to one set of headings, in whatever order they stand; a sheet with others is not read by it. Units that
neither a heading nor a figure says must be said by the mapping: none is assumed here. Pure.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from providers.readers.inventory_words import AMOUNTS, SUFFIXES
from providers.readers.sheet_purposes import INVENTORY, LEFT_OUT, WRITTEN, SheetPurpose
from providers.readers.tables import TableColumn, TableRow
from providers.readers.usage_columns import plain
from quota.errors import N_, Invalid

MOST_WORDS = 2000
LONGEST_HEADING = 200


def spelled(heading: Any) -> str:
    """A heading as it is compared: without what a spreadsheet adds or people change without meaning it."""
    return " ".join(unicodedata.normalize("NFKC", str(heading)).split()).casefold() if heading is not None else ""


def key_of(cells: Sequence[Any], purpose: str = INVENTORY.code) -> str:
    """What a set of headings is known by, in whatever order they stand; those of usage are told from those of listings."""
    words = sorted(word for cell in cells if (word := spelled(cell)))
    if purpose != INVENTORY.code:
        words.insert(0, f"={purpose}")
    return hashlib.blake2b("\x00".join(words).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """``heads``: the headings that it is for; ``columns``: field of its purpose → heading; ``units``: field → one of its units, or
    ``WRITTEN``; ``words``: field → what cells say → what it means here (a word of the field's, ``LEFT_OUT``; of owners a
    code); ``purpose``: a code of ``PURPOSES``."""

    heads: tuple[str, ...]
    columns: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    purpose: str = INVENTORY.code

    @property
    def key(self) -> str:
        return key_of(self.heads, self.purpose)

    def places(self, row: TableRow) -> dict[str, TableColumn]:
        """Field → its column in a row of headings that this mapping is for."""
        at = {spelled(cell): (place, str(cell)) for place, cell in enumerate(row.cells) if spelled(cell)}
        found = {}
        for name, heading in self.columns.items():
            place, written = at[spelled(heading)]
            unit = self.units.get(name, "")
            found[name] = TableColumn(place, written, "" if unit == WRITTEN else plain(unit), max(row.line, 1))
        return found

    def meaning(self, name: str, said: str) -> str | None:
        """What ``said`` means under the field, None where the mapping has no word for it."""
        return self.words.get(name, {}).get(spelled(said))

    def to_json(self) -> dict[str, Any]:
        said = {
            "heads": list(self.heads),
            "columns": dict(self.columns),
            "units": dict(self.units),
            "words": {name: dict(said) for name, said in self.words.items()},
        }
        return said if self.purpose == INVENTORY.code else {**said, "purpose": self.purpose}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> ColumnMapping:
        return cls(
            tuple(kept["heads"]), dict(kept["columns"]), dict(kept["units"]), dict(kept["words"]),
            kept.get("purpose", INVENTORY.code),
        )  # fmt: skip


def mapping(
    heads: Sequence[Any],
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    words: Mapping[str, Mapping[str, str]] | None = None,
    purpose: SheetPurpose = INVENTORY,
) -> ColumnMapping:
    """A mapping that makes sense. Raises Invalid naming the field (as ``params["field"]``) that does not."""
    written = tuple(str(head).strip()[:LONGEST_HEADING] for head in heads if spelled(head))
    times = Counter(spelled(head) for head in written)
    for name, heading in columns.items():
        if name not in purpose.fields:
            raise Invalid("mapping.field", N_("没有名为 %(name)s 的字段"), name=name, field=name)
        if times[spelled(heading)] != 1:
            why = (
                N_("表中没有列 %(heading)s")
                if not times[spelled(heading)]
                else N_("表中有几列都叫 %(heading)s，请先改名")
            )
            raise Invalid("mapping.column", why, heading=heading, field=name)
    purpose.complete(columns)
    given = {name: unit for name, unit in (units or {}).items() if name in columns and name in purpose.units}
    for name in columns:
        if name in purpose.units and given.get(name) not in purpose.choices(name):
            raise Invalid("mapping.unit", N_("请说明“%(heading)s”的单位，系统不猜"), heading=columns[name], field=name)
    said = {
        name: {spelled(word): mean for word, mean in table.items() if mean}
        for name, table in (words or {}).items()
        if name in columns and table
    }
    for name, table in said.items():
        _sound_words(name, table, purpose)
    return ColumnMapping(written, dict(columns), given, said, purpose.code)


def _sound_words(name: str, table: Mapping[str, str], purpose: SheetPurpose) -> None:
    """Raises Invalid for words that mean nothing here."""
    known = purpose.words.get(name)
    if known is None and name not in purpose.owners:
        raise Invalid("mapping.words", N_("“%(name)s”没有取值对照"), name=name, field=name)
    if len(table) > MOST_WORDS:
        raise Invalid("mapping.many", N_("取值对照至多 %(most)s 条"), most=MOST_WORDS, field=name)
    for word, mean in table.items():
        if mean != LEFT_OUT and known is not None and known(mean) is None:
            raise Invalid(
                "mapping.word", N_("“%(word)s”对应的“%(mean)s”不是可识别的值"), word=word, mean=mean, field=name
            )


def carried(before: ColumnMapping, heads: Sequence[Any]) -> ColumnMapping:
    """As much of a mapping as still holds for other headings: what is proposed for a sheet that has changed."""
    there = {spelled(head): str(head).strip() for head in heads}
    columns = {name: there[spelled(one)] for name, one in before.columns.items() if spelled(one) in there}
    return ColumnMapping(
        tuple(str(head).strip() for head in heads if spelled(head)),
        columns,
        {name: unit for name, unit in before.units.items() if name in columns},
        {name: words for name, words in before.words.items() if name in columns},
        before.purpose,
    )


def of_purpose(mappings: Iterable[ColumnMapping], purpose: SheetPurpose) -> list[ColumnMapping]:
    """Those of one purpose, in their order."""
    return [one for one in mappings if one.purpose == purpose.code]


def said_unit(name: str, heading: str, purpose: SheetPurpose = INVENTORY) -> str:
    """The unit that a heading states in itself (内存(MB), 磁盘/G, CPU(%)), "" where it states none."""
    text = unicodedata.normalize("NFKC", heading).strip().casefold()
    tail = text
    for mark in "([【/_:（":
        tail = tail.rpartition(mark)[2] if mark in tail else tail
    tail = tail.rstrip(")]】） ")
    if purpose is not INVENTORY:
        # A unit of usage may hold a stroke itself: KB/s.
        inside = re.search(r"[(\[【](.+?)[)\]】]", text)
        return purpose.unit(name, plain(inside[1]) if inside else plain(tail) if tail != text else "")
    if tail == text or tail not in SUFFIXES[AMOUNTS[name].unit]:
        return ""
    factor = SUFFIXES[AMOUNTS[name].unit][tail]
    return next((one for one in INVENTORY.units[name] if SUFFIXES[AMOUNTS[name].unit][plain(one)] == factor), "")
