"""Column mappings (列对照): how a sheet whose headings are its own is read as a listing.

A mapping belongs to one set of headings, in whatever order they stand; a sheet with others is not read by it. Units that
neither a heading nor a figure says must be said by the mapping: none is assumed here.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from providers.readers.inventory_words import AMOUNTS, SUFFIXES, arch_of, kind_of, state_of
from providers.readers.tables import TableColumn, TableRow
from providers.readers.usage_columns import plain
from quota.errors import N_, Invalid

FIELDS: Mapping[str, str] = {
    "id": N_("资源编号"), "name": N_("资源名称"), "kind": N_("资源类型"), "state": N_("状态"), "arch": N_("架构"),
    "department": N_("使用单位"), "system": N_("信息系统"), "address": N_("IP 地址"), "spec": N_("规格（如 4C8G）"),
    "vcpu": N_("CPU 核数"), "memory_gb": N_("内存"), "block_gb": N_("磁盘"), "object_gb": N_("对象存储容量"),
    "bandwidth_mbps": N_("带宽"), "eip": N_("公网 IP 数"), "database": N_("数据库数"), "middleware": N_("中间件数"),
    "security": N_("安全服务数"), "cryptography": N_("密码服务数"), "accelerator": N_("加速卡数"), "count": N_("数量（台、个）"),
    "memory_unit": N_("内存单位"), "block_unit": N_("磁盘单位"), "created_at": N_("开通时间"), "stopped_at": N_("关机时间"),
    "attached_to": N_("挂载到（资源编号）"), "tags": N_("标签"),
}  # fmt: skip
"""What a column may be read as."""

UNITS: Mapping[str, tuple[str, ...]] = {
    "memory_gb": ("GB", "MB", "TB"), "block_gb": ("GB", "MB", "TB"), "object_gb": ("GB", "MB", "TB"), "bandwidth_mbps": ("Mbps", "Gbps"),
}  # fmt: skip
"""Fields whose bare figures mean nothing, and the units that they may be in."""

WRITTEN = "-"
"""In place of a unit: each figure has its own behind it."""

LEFT_OUT = "-"
"""In place of a word of ours: rows that say this are no part of the listing."""

WORDS = {"kind": kind_of, "state": state_of, "arch": arch_of}
"""Fields that hold a word of ours, and how a word that everybody uses is understood."""

OWNERS = ("department", "system")
"""Fields that hold a code of the house's, where a sheet may have a name."""

MOST_WORDS = 2000
LONGEST_HEADING = 200


def spelled(heading: Any) -> str:
    """A heading as it is compared: without what a spreadsheet adds or people change without meaning it."""
    return " ".join(unicodedata.normalize("NFKC", str(heading)).split()).casefold() if heading is not None else ""


def key_of(cells: Sequence[Any]) -> str:
    """What a set of headings is known by, in whatever order they stand."""
    words = sorted(word for cell in cells if (word := spelled(cell)))
    return hashlib.blake2b("\x00".join(words).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """``heads``: the headings that it is for; ``columns``: field → heading; ``units``: field of ``UNITS`` → one of its units, or
    ``WRITTEN``; ``words``: field → what cells say → what it means here (a word of the field's, ``LEFT_OUT``; of ``OWNERS`` a
    code)."""

    heads: tuple[str, ...]
    columns: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return key_of(self.heads)

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
        return {
            "heads": list(self.heads),
            "columns": dict(self.columns),
            "units": dict(self.units),
            "words": {name: dict(said) for name, said in self.words.items()},
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> ColumnMapping:
        return cls(tuple(kept["heads"]), dict(kept["columns"]), dict(kept["units"]), dict(kept["words"]))


def mapping(
    heads: Sequence[Any],
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    words: Mapping[str, Mapping[str, str]] | None = None,
) -> ColumnMapping:
    """A mapping that makes sense. Raises Invalid naming the field (as ``params["field"]``) that does not."""
    written = tuple(str(head).strip()[:LONGEST_HEADING] for head in heads if spelled(head))
    times = Counter(spelled(head) for head in written)
    for name, heading in columns.items():
        if name not in FIELDS:
            raise Invalid("mapping.field", N_("没有名为 %(name)s 的字段"), name=name, field=name)
        if times[spelled(heading)] != 1:
            why = (
                N_("表中没有列 %(heading)s")
                if not times[spelled(heading)]
                else N_("表中有几列都叫 %(heading)s，请先改名")
            )
            raise Invalid("mapping.column", why, heading=heading, field=name)
    if "id" not in columns:
        raise Invalid("mapping.id", N_("请指明哪一列是资源编号"), field="id")
    given = {name: unit for name, unit in (units or {}).items() if name in columns}
    for name in columns:
        if name in UNITS and given.get(name) not in (*UNITS[name], WRITTEN):
            raise Invalid("mapping.unit", N_("请说明“%(heading)s”的单位，系统不猜"), heading=columns[name], field=name)
    said = {
        name: {spelled(word): mean for word, mean in table.items() if mean}
        for name, table in (words or {}).items()
        if name in columns and table
    }
    for name, table in said.items():
        if name not in WORDS and name not in OWNERS:
            raise Invalid("mapping.words", N_("“%(name)s”没有取值对照"), name=name, field=name)
        if len(table) > MOST_WORDS:
            raise Invalid("mapping.many", N_("取值对照至多 %(most)s 条"), most=MOST_WORDS, field=name)
        for word, mean in table.items():
            if mean != LEFT_OUT and name in WORDS and WORDS[name](mean) is None:
                raise Invalid("mapping.word", N_("“%(word)s”对应的“%(mean)s”不认识"), word=word, mean=mean, field=name)
    return ColumnMapping(written, dict(columns), {n: u for n, u in given.items() if n in UNITS}, said)


def carried(before: ColumnMapping, heads: Sequence[Any]) -> ColumnMapping:
    """As much of a mapping as still holds for other headings: what is proposed for a sheet that has changed."""
    there = {spelled(head): str(head).strip() for head in heads}
    columns = {name: there[spelled(one)] for name, one in before.columns.items() if spelled(one) in there}
    return ColumnMapping(
        tuple(str(head).strip() for head in heads if spelled(head)),
        columns,
        {name: unit for name, unit in before.units.items() if name in columns},
        {name: words for name, words in before.words.items() if name in columns},
    )


def said_unit(name: str, heading: str) -> str:
    """The unit of ``UNITS`` that a heading states in itself (内存(MB), 磁盘/G), "" where it states none."""
    text = unicodedata.normalize("NFKC", heading).strip().casefold()
    tail = text
    for mark in "([【/_:（":
        tail = tail.rpartition(mark)[2] if mark in tail else tail
    tail = tail.rstrip(")]】） ")
    if tail == text or tail not in SUFFIXES[AMOUNTS[name].unit]:
        return ""
    factor = SUFFIXES[AMOUNTS[name].unit][tail]
    return next((one for one in UNITS[name] if SUFFIXES[AMOUNTS[name].unit][plain(one)] == factor), "")
