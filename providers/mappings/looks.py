"""Looks: what a sheet seems to say, column by column, by its headings and by what stands under them; a proposal, which a
person corrects. Units are proposed only where the sheet states them."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers.readers import (
    ANY_HEADING,
    INVENTORY_HEADING,
    TITLE_ROWS,
    ColumnMapping,
    SheetPurpose,
    TableRow,
    column_mapping,
    inventory_words,
    is_total,
    sheet_purposes,
    tables_in,
    unusable,
    usage_columns,
)

INVENTORY, USAGE = sheet_purposes.INVENTORY, sheet_purposes.USAGE
spelled = column_mapping.spelled

MOST_VALUES = 300
"""Different things a column may say for all of them to be kept."""
LONGEST_VALUE = 80
SAMPLES = 5
USAGE_ROWS = 20_000
"""Rows of a file of usage that are looked at."""
LOOKED_AT = 400
"""Rows whose cells are looked at to see what a column holds."""


@dataclass(frozen=True, slots=True)
class ColumnLook:
    """One column: its heading, what it says (all of it, in reading order, or the first ``MOST_VALUES``), how many of ``rows``
    say anything, and how many things."""

    head: str
    values: tuple[str, ...]
    filled: int
    different: int
    rows: int

    @property
    def samples(self) -> tuple[str, ...]:
        return self.values[:SAMPLES]

    @property
    def tells_apart(self) -> bool:
        """Whether it says something else of almost every row."""
        return 2 * self.filled >= self.rows and 20 * self.different >= 19 * self.filled


@dataclass(frozen=True, slots=True)
class SheetLook:
    """One sheet of a file. ``sheet`` "" where it is no workbook; ``line``: of the headings."""

    file: str
    sheet: str
    sheets: tuple[str, ...]
    line: int
    columns: tuple[ColumnLook, ...]
    rows: int

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(one.head for one in self.columns)

    def key(self, purpose: SheetPurpose = INVENTORY) -> str:
        """What a mapping of these headings is known by."""
        return column_mapping.key_of(self.heads, purpose.code)

    def column(self, head: str) -> ColumnLook | None:
        return next((one for one in self.columns if spelled(one.head) == spelled(head)), None)

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside a mapping, to be shown when that is changed."""
        return {
            "file": self.file, "sheet": self.sheet, "line": self.line, "rows": self.rows,
            "columns": [[one.head, list(one.values), one.filled, one.different] for one in self.columns],
        }  # fmt: skip

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> SheetLook:
        rows = kept["rows"]
        columns = tuple(
            ColumnLook(head, tuple(values), filled, different, rows)
            for head, values, filled, different in kept["columns"]
        )
        return cls(kept["file"], kept["sheet"], (), kept["line"], columns, rows)


def look(path: Path, sheet: str = "", purpose: SheetPurpose = INVENTORY) -> SheetLook:
    """Look at a file; of a workbook at ``sheet``, or else at the sheet that is most like one of that purpose; of usage, which is
    long, at its first rows. Raises Invalid for what is no table."""
    most = None if purpose is INVENTORY else USAGE_ROWS
    tables = {name: rows for name, rows in tables_in(path, most).items() if len(rows) > 1}
    if not tables:
        raise unusable("file.no_rows", path.name)
    looks = {name: _look(path.name, name, tuple(tables), rows) for name, rows in tables.items()}
    return (
        looks[sheet]
        if sheet in looks
        else max(looks.values(), key=lambda one: (len(propose(one, {}, {}, purpose=purpose).columns), len(one.columns)))
    )


def _look(file: str, sheet: str, sheets: tuple[str, ...], rows: Sequence[TableRow]) -> SheetLook:
    first = rows[:TITLE_ROWS]
    names = [len(ANY_HEADING.names(row.cells)) for row in first]
    at = names.index(max(names))
    below = [row for row in rows[at + 1 :] if not any(is_total(cell) for cell in row.cells)]
    columns = []
    for place, head in enumerate(first[at].cells):
        if spelled(head):
            columns.append(_column(str(head).strip()[: column_mapping.LONGEST_HEADING], place, below))
    return SheetLook(file, sheet, sheets, first[at].line, tuple(columns), len(below))


def _column(head: str, place: int, rows: Sequence[TableRow]) -> ColumnLook:
    values: dict[str, None] = {}
    every: set[str] = set()
    filled = 0
    for row in rows:
        cell = row.cells[place] if place < len(row.cells) else None
        text = "" if cell is None else str(cell).strip()
        if not text:
            continue
        filled += 1
        every.add(text)
        if len(values) < MOST_VALUES:
            values.setdefault(text[:LONGEST_VALUE])
    return ColumnLook(head, tuple(values), filled, len(every), len(rows))


# --------------------------------------------------------------------------------------------------------- proposing

_HINTS: Mapping[str, str] = {
    "id": "uuid 序列号 资产编号 资产编码 资产号 设备号 实例号 编号 编码 唯一标识", "name": "名称 主机名 hostname vmname 名", "kind": "类型 类别", "state": "状态 电源 运行情况 运行状况", "arch": "架构 芯片 指令集",
    "department": "单位 部门 归属 委办局 租户", "system": "业务系统 应用系统 信息系统 所属系统 应用名称", "address": "ip", "spec": "规格 配置",
    "vcpu": "cpu 核数 核心 核 vcpu", "memory_gb": "内存 memory ram", "block_gb": "硬盘 磁盘 存储 disk 盘", "object_gb": "对象存储", "bandwidth_mbps": "带宽",
    "created_at": "上线 开通 创建 交付 启用", "stopped_at": "关机 停机", "tags": "标签",
}  # fmt: skip
"""What stands inside a heading that means a field, beside the readers' own words."""

_NOT = re.compile(
    r"操作系统|系统版本|型号|频率|主频|利用率|使用率|已用|空闲|剩余|负责人|联系|电话|手机|密码|备注|说明|端口|数量单位|到期|截止|维保|品牌|厂商"
)
"""Inside a heading, what it is not about."""

_NUMBERS = frozenset({"vcpu", "memory_gb", "block_gb", "object_gb", "bandwidth_mbps"})
_FIGURE = re.compile(r"\s*\d[\d,]*(?:\.\d+)?\s*([^\d.,\s]*)\s*")
_DAY = re.compile(r"(?:19|20)\d{2}[-/.年]\d{1,2}")
_ZONED = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$")
WORDS = {**INVENTORY.words, **USAGE.words}
LEAST = 25
"""Of a score: less proposes nothing."""

TOLD_BY_VALUES = frozenset({"arch", "kind"})
"""Fields of which a heading alone says too little: 类型 may be the type of anything."""

FEW, MANY = 0.3, 0.6
"""Of what a column says: so little of it, or so much, means something as the field."""

NAMES_TRIED = 40
"""Words of a column that are looked for among the departments."""


def propose(
    look: SheetLook,
    departments: Mapping[str, str],
    systems: Mapping[str, str],
    before: ColumnMapping | None = None,
    purpose: SheetPurpose = INVENTORY,
) -> ColumnMapping:
    """What the sheet seems to say. ``departments``, ``systems``: code → name; ``before``: a mapping of like headings, which
    goes before whatever is guessed. Nothing of it has been checked."""
    empty = ColumnMapping(look.heads, {}, purpose=purpose.code)
    kept = column_mapping.carried(before, look.heads) if before is not None else empty
    columns = dict(kept.columns)
    scores = sorted(
        (
            (-score, at, name)
            for at, column in enumerate(look.columns)
            for name in purpose.fields
            if (score := _score(name, column, departments, purpose)) >= LEAST
        ),
    )
    taken = {spelled(one) for one in columns.values()}
    heads = [spelled(one) for one in look.heads]
    for _rank, at, name in scores:
        if name not in columns and heads[at] not in taken and heads.count(heads[at]) == 1:
            columns[name] = look.columns[at].head
            taken.add(heads[at])
    units = {
        name: kept.units.get(name) or _unit(name, look.column(head), purpose)
        for name, head in columns.items()
        if name in purpose.units
    }
    words = {
        name: {**meanings(name, look.column(head), departments, systems), **kept.words.get(name, {})}
        for name, head in columns.items()
        if name in purpose.words or name in purpose.owners
    }
    return ColumnMapping(look.heads, columns, {n: u for n, u in units.items() if u}, words, purpose.code)


def unknown(name: str, column: ColumnLook | None, codes: Mapping[str, str]) -> list[str]:
    """What a column that holds words of ours or codes says that means nothing here by itself."""
    if column is None:
        return []
    known: Callable[[str], object] = WORDS.get(name) or codes.get
    return [one for one in column.values if known(one) is None]


def meanings(
    name: str, column: ColumnLook | None, departments: Mapping[str, str], systems: Mapping[str, str]
) -> dict[str, str]:
    """What those words seem to mean, where that is plain; as ``ColumnMapping.words`` has them."""
    codes = departments if name == "department" else systems if name == "system" else {}
    found: dict[str, str] = {}
    for said in unknown(name, column, codes):
        mean = _named(said, codes) if name in INVENTORY.owners else _meant(name, said)
        if mean:
            found[spelled(said)] = mean
    return found


_NUMBERED = re.compile(r"\d{2,}$")
"""How names of single things end (vm-0001), which says of no kind."""
_NEGATED = re.compile(r"[未不非无待]|已停|即将|预")


def _meant(name: str, said: str) -> str:
    """The one meaning whose word stands inside what was said."""
    text = spelled(said)
    if name == "metric" or _NEGATED.search(text) or (name == "kind" and _NUMBERED.search(text)):
        return ""  # what a metric is called may be anything; in which unit it is, nobody says
    table = {"state": inventory_words.STATES, "kind": inventory_words.KINDS, "arch": inventory_words.ARCHES}[name]
    inside = [(len(word), mean) for word, mean in table.items() if len(word) >= 2 and word in text]
    longest = max((length for length, _mean in inside), default=0)
    best = {mean for length, mean in inside if length == longest}
    return best.pop() if len(best) == 1 else ""


def _named(said: str, codes: Mapping[str, str]) -> str:
    """The code of the one that is so named, or whose name is the only one that it stands in, or is most like."""
    text = spelled(said)
    exact = [code for code, name in codes.items() if spelled(name) == text]
    if exact:
        return exact[0] if len(exact) == 1 else ""
    inside = [
        code for code, name in codes.items() if len(text) >= 3 and (text in spelled(name) or spelled(name) in text)
    ]
    if inside:
        return inside[0] if len(inside) == 1 else ""
    by_name = {spelled(name): code for code, name in codes.items()}
    like = difflib.get_close_matches(text, by_name, n=2, cutoff=0.8)
    return by_name[like[0]] if len(like) == 1 else ""


_USAGE_HINTS = {
    "id": re.compile(r"uuid|编号|编码|标识|资源|主机|虚机|虚拟机|instance|server|host"), "time": re.compile(r"时间|时刻|日期|time|date"),
    "metric": re.compile(r"指标|监控项|metric|item"), "value": re.compile(r"值|value"), "dur_s": re.compile(r"时长|duration"),
    "cpu_pct": re.compile(r"cpu.*(率|占用|使用|负载|util|usage)|处理器.*(率|占用)"), "mem_pct": re.compile(r"(内存|mem).*(率|占用比|util)"),
    "disk_pct": re.compile(r"(磁盘|硬盘|disk).*(率|占用比|util)"), "card_pct": re.compile(r"(gpu|npu|显卡|加速卡).*(率|util)"),
    "net_rx_kbps": re.compile(r"入流量|下行|流入|接收|入网|net.*(in|rx)|received"), "net_tx_kbps": re.compile(r"出流量|上行|流出|发送|出网|net.*(out|tx)|sent"),
    "disk_read_kbs": re.compile(r"(磁盘|硬盘|disk).*(读|read)"), "disk_write_kbs": re.compile(r"(磁盘|硬盘|disk).*(写|write)"),
    "connections": re.compile(r"连接数(?!.*率)|connections"), "conn_pct": re.compile(r"连接(数)?.*(率|占比)"), "steal_pct": re.compile(r"被抢占|steal"),
    "load_pct": re.compile(r"运行队列|load_?pct"), "cpu_wait_pct": re.compile(r"cpu.*等待"), "mem_wait_pct": re.compile(r"(内存|mem).*(等待|wait)"),
    "disk_wait_ms": re.compile(r"(磁盘|硬盘|disk).*(时延|延迟|latency|await)"), "vcpu": re.compile(r"核数|vcpu|cores"),
    "mem_mb": re.compile(r"内存(总量|大小|容量)|mem.*(total|size)"), "mem_used_mb": re.compile(r"(已用|使用)内存|内存(已用|使用量|用量)|mem.*used"),
}  # fmt: skip
"""What stands inside a heading of usage that means a field."""


def _usage_score(name: str, column: ColumnLook) -> int:
    """The same as ``_score`` of a column of usage: its heading says it, and what stands under it does not contradict."""
    text, known = spelled(column.head), usage_columns.meaning(column.head)
    exact = known is not None and known.name == name
    if not exact and (known is not None or not _USAGE_HINTS[name].search(text)):
        return 0
    values = column.values[:LOOKED_AT]
    if not values:
        return 100 if exact else 0
    if name == "time":
        fits = sum(bool(_DAY.match(one)) or (one.isdigit() and len(one) >= 10) for one in values) / len(values)
    elif name in ("id", "metric"):
        fits = 1.0 if exact or not all(_FIGURE.fullmatch(one) for one in values) else 0.5
    else:
        fits = sum(bool(_FIGURE.fullmatch(one)) for one in values) / len(values)
    return round((100 if exact else 50 + len(text) // 4) * fits) if fits >= FEW else 0


def _score(name: str, column: ColumnLook, departments: Mapping[str, str], purpose: SheetPurpose) -> int:
    """How sure it is that the column is the field's; below ``LEAST``: not at all."""
    if purpose is USAGE:
        return _usage_score(name, column)
    found = INVENTORY_HEADING.column(0, column.head)
    exact = found is not None and {"memory_mb": "memory_gb"}.get(found[0], found[0]) == name
    text = spelled(column.head)
    if not exact and ((_NOT.search(text) and name != "arch") or (found is not None and name != "id")):
        return 0
    hints = [word for word in _HINTS.get(name, "").split() if word in text]
    score = 100 if exact else 40 + 2 * max(map(len, hints)) if hints else 0
    values = column.values[:LOOKED_AT]
    if not values:
        return score if exact else 0
    share = _share(name, values, departments)
    if name == "id":
        return (score + 20 if column.tells_apart else score - 60) if score else 0
    if share is None:
        return score
    if name in _NUMBERS or name in ("created_at", "stopped_at", "address"):
        return score + 20 if share > 0.8 and (score or name == "address") else 0 if share < 0.5 else score
    if name in TOLD_BY_VALUES and share < FEW and not exact:
        return 0
    return score + round(35 * share) if share >= MANY or score else 0


def _share(name: str, values: Sequence[str], departments: Mapping[str, str]) -> float | None:
    """How much of what a column says is what the field would say; None where no look can tell."""
    if name in WORDS:
        return _part(values, lambda one: WORDS[name](one) is not None or bool(_meant(name, one)))
    if name in _NUMBERS:
        return _part(values, lambda one: _FIGURE.fullmatch(one) is not None)
    if name == "address":
        return _part(values, _is_address)
    if name in ("created_at", "stopped_at"):
        return _part(values, lambda one: _DAY.match(one) is not None)
    if name == "department" and departments:
        return _part(values[:NAMES_TRIED], lambda one: one in departments or bool(_named(one, departments)))
    if name == "spec":
        return _part(values, lambda one: inventory_words.SPEC.fullmatch(one) is not None)
    return None


def _part(values: Sequence[str], fits: Callable[[str], bool]) -> float:
    return sum(map(fits, values)) / len(values)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(re.split(r"[,;、，；\s]", text)[0])
    except ValueError:
        return False
    return True


def _unit(name: str, column: ColumnLook | None, purpose: SheetPurpose) -> str:
    """The unit that the heading states, ``WRITTEN`` where every figure has its own, "" where nobody says it."""
    if column is None:
        return ""
    if stated := column_mapping.said_unit(name, column.head, purpose):
        return stated
    if purpose is USAGE:
        written = name == "time" and column.values and all(_ZONED.search(one) or one.isdigit() for one in column.values)
        return sheet_purposes.WRITTEN if written else ""
    known = inventory_words.SUFFIXES[inventory_words.AMOUNTS[name].unit]
    behind = [found[1].casefold() for one in column.values if (found := _FIGURE.fullmatch(one))]
    return sheet_purposes.WRITTEN if behind and all(one and one in known for one in behind) else ""
