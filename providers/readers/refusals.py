"""What was taken from people's files and what was not: counts in full, examples in part, each with its
place.

For every file ``rows = taken + duplicates + refused`` holds. A row is refused whole where it cannot be
placed (its time, its resource, its number of fields); otherwise only the bad value is refused, and the row
stays without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from providers.readers.figures import CUT_TOGETHER, cut_ids
from quota.errors import N_, Invalid, NotFound, Refused

KEPT = 20
"""Examples kept for each file and reason; the rest is counted only."""

TEXT = 120
"""Characters kept of an offending text."""

REASONS: Mapping[str, str] = {
    "line.fields": N_("列数与表头不符"),
    "line.cut": N_("最后一行没有换行符,可能被截断"),
    "line.quotes": N_("引号不成对"),
    "line.return": N_("行内有孤立的回车符"),
    "line.huge": N_("一行过长"),
    "line.encoding": N_("含有无法解码的字符"),
    "line.blank": N_("空行(按位置计时的文件不允许空行)"),
    "id.empty": N_("资源编号为空"),
    "id.long": N_("资源编号超过 128 个字符"),
    "id.twice": N_("资源编号重复且内容不同"),
    "id.rounded": N_("编号被表格软件改过(超过 15 位的数字被舍入,或变成了日期);请把该列设为文本再填写"),
    "total.differs": N_("合计与所列各行之和不符(合计 ≠ 各行之和);可能缺行或多行,清单记为不完整"),
    "cell.error": N_("单元格是错误值,不是内容"),
    "cell.formula": N_("公式没有保存计算结果;请在表格软件中重新计算并保存"),
    "cell.merged": N_("合并单元格中的数量,无法确定各行各占多少;请取消合并,逐行填写"),
    "cell.changes": N_("这一列会改变同一行其他数字的含义;请先换算,再清空这一格"),
    "time.bad": N_("时间无法识别"),
    "time.no_offset": N_("时间没有时区"),
    "time.absurd": N_("时间超出 2000–2100 年,或与本文件其他行的单位不同"),
    "duration.bad": N_("时长缺失、不是正数或超过 31 天"),
    "metric.unknown": N_("无法识别的指标"),
    "row.empty": N_("没有任何可用的数值"),
    "value.text": N_("不是数字"),
    "value.nan": N_("数值为 NaN"),
    "value.negative": N_("数值为负"),
    "value.absurd": N_("数值过大,不可信"),
    "value.fraction": N_("应为整数"),
    "value.missing": N_("必填项为空"),
    "value.zero": N_("不能为 0"),
    "value.ambiguous": N_("逗号是小数点还是千分位,无法确定"),
    "value.short": N_("科学计数法丢失了位数;请把该列设为数值格式再保存"),
    "unit.unknown": N_("无法识别的计量单位，或与该项不符"),
    "unit.unsaid": N_("没有写明单位,无法确定是 GB 还是 MB;请在表头或数字后写明"),
    "unit.owner": N_("使用单位一栏填的是计量单位"),
    "currency.other": N_("不是人民币金额"),
    "focus.category": N_("不是用量(税、抵扣、预购或调整),不能记到资源上;请由公司在账单之外说明"),
    "focus.correction": N_("是对以前账期的更正;请重新提交那个账期的账单"),
    "focus.unused": N_("是承诺折扣中没有用掉的部分,不是用量"),
    "time.day_only": N_("止只写了日期,当天是否计入无法确定;请写明时刻,如 2026-11-01 00:00"),
    "kind.unknown": N_("无法识别的资源类型"),
    "class.unknown": N_("不认识的资源类别,可用的写法见“可填的值”"),
    "arch.unknown": N_("无法识别的芯片架构"),
    "state.unknown": N_("无法识别的资源状态"),
    "spec.bad": N_("规格无法识别"),
    "profile.unknown": N_("没有类别用这个切片规格名，请在“资源类别”登记"),
    "spec.conflict": N_("规格与核数或内存不一致"),
    "tags.bad": N_("标签无法识别"),
    "address.bad": N_("IP 地址无法识别"),
}

NOTES: Mapping[str, str] = {
    "time.header_unit": N_("表头写明时间单位为 %(said)s,按数值大小判断实为 %(found)s"),
    "time.as_utc": N_("时间没有时区,按 UTC 读取"),
    "time.offset": N_("时间没有时区,按 UTC%(offset)s 读取"),
    "time.same": N_("%(count)s 行与同一资源同一时刻的另一行数值不同,均已保留"),
    "text.encoding": N_("按 %(encoding)s 解码"),
    "text.decimal_comma": N_("小数点写作逗号"),
    "column.unused": N_("未使用的列:%(columns)s"),
    "column.missing": N_("缺少的列:%(columns)s"),
    "metric.of_file": N_("按文件名读作指标 %(metric)s"),
    "value.clipped": N_("%(count)s 个由已用与总量算得的百分比超过 655.34,按 655.34 记"),
    "file.short": N_("只有 %(count)s 个数值,应为 288 个"),
    "file.skipped": N_("未读取(符号链接或未写完的临时文件)"),
    "id.doubtful": N_("编号 %(ids)s 第 16 位起都是 0,可能被表格软件舍入过;请核对,若被舍入请把该列设为文本再填写"),
    "rows.total": N_("%(count)s 行是合计行,未读入(第 %(lines)s 行)"),
    "rows.left_out": N_("%(count)s 行按列对照不读入"),
    "sheet.unread": N_("未读取的工作表:%(sheets)s"),
    "sheet.hidden": N_("含隐藏的行(%(rows)s)或列(%(columns)s),隐藏的内容照样读入"),
    "sheet.xls": N_("xls 格式无法区分错误值(如 #N/A)与空单元格,均按空读取;另存为 xlsx 可以区分"),
    "id.by_name": N_("没有资源编号列,按 %(header)s 区分机器;重名的机器无法区分"),
    "kind.assumed": N_("没有类型列,每行都按云主机读取"),
    "state.assumed": N_("%(count)s 行没有写明状态,按运行中读取"),
    "unit.assumed": N_("表头没有写明单位,按 %(unit)s 读取:%(columns)s"),
    "share.doubtful": N_("%(header)s 的数值都不大于 1,按百分数读取;若实为 0 到 1 之间的比例,请乘以 100 重新导入"),
    "number.rounded": N_("%(count)s 行的%(header)s多于 %(places)s 位小数,已四舍五入,合计相差 %(difference)s"),
    "rows.spread": N_("%(rows)s 行按其时长展开为 %(samples)s 个样本"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that was not taken. ``line`` and ``column`` count from 1; in Parquet ``line`` is the
    row."""

    file: str
    line: int | None
    column: int | None
    header: str | None
    reason: str
    text: str
    sheet: str = ""


@dataclass(frozen=True, slots=True)
class FileNote:
    """Something decided about a file that its owner should know; ``code`` is one of NOTES."""

    file: str
    code: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Reading:
    """What came of one file. ``samples`` are the rows handed on: taken rows, pivoted or spread."""

    file: str
    format: str = ""
    rows: int = 0
    taken: int = 0
    duplicates: int = 0
    refused: int = 0
    values_refused: int = 0
    samples: int = 0
    span: tuple[int, int] | None = None  # first and last time taken, epoch seconds
    reasons: dict[str, int] = field(default_factory=dict)
    examples: list[Refusal] = field(default_factory=list)
    notes: list[FileNote] = field(default_factory=list)
    error: Refused | None = None
    sheet: str = ""  # of a workbook
    totals: list[int] = field(default_factory=list)  # lines that sum others up

    @property
    def place(self) -> str:
        """The file, and the sheet where it is a workbook, as errors name them."""
        return f"{self.file} [{self.sheet}]" if self.sheet else self.file

    def count(self, reason: str, number: int, *, rows: bool) -> int:
        """Count ``number`` refusals (of whole rows, or of values); returns how many examples are still
        wanted."""
        before = self.reasons.get(reason, 0)
        self.reasons[reason] = before + number
        if rows:
            self.refused += number
        else:
            self.values_refused += number
        return min(number, max(0, KEPT - before))

    def example(self, reason: str, line: int | None, column: int | None, header: str | None, text: str) -> None:
        self.examples.append(Refusal(self.file, line, column, header, reason, text[:TEXT], self.sheet))

    def refuse(
        self,
        reason: str,
        line: int | None,
        column: int | None,
        header: str | None,
        text: str,
        *,
        rows: bool = True,
    ) -> None:
        """Count one refusal and keep it as an example while there is room."""
        if self.count(reason, 1, rows=rows):
            self.example(reason, line, column, header, text)

    def note(self, code: str, **params: Any) -> None:
        """Add a note, once."""
        note = FileNote(self.file, code, params)
        if note not in self.notes:
            self.notes.append(note)

    def leave_out(self, *lines: int) -> None:
        """Name rows that sum others up; they count neither as rows nor as refused."""
        self.totals += lines
        self.notes = [one for one in self.notes if one.code != "rows.total"]
        shown = ", ".join(map(str, self.totals[:KEPT])) + ("…" if len(self.totals) > KEPT else "")
        self.note("rows.total", count=len(self.totals), lines=shown)

    def must_be_whole(self, ids: Iterable[str]) -> None:
        """Raises Invalid where ids were cut off by a spreadsheet; notes the one or two of which it cannot be told."""
        if cut := cut_ids(ids):
            told = ", ".join(cut[:KEPT])
            if len(cut) >= CUT_TOGETHER:
                raise unusable("id.cut", self.place, ids=", ".join(cut[:3]))
            self.note("id.doubtful", ids=told)

    def fail(self, error: Refused) -> None:
        """The file is refused whole: nothing of it counts as taken."""
        self.error = error
        self.taken = self.duplicates = self.samples = 0
        self.span = None
        self.refused = self.rows


@dataclass(slots=True)
class Refusals:
    """The report of one import: a Reading for every file, and their sums."""

    files: list[Reading] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.files)

    @property
    def taken(self) -> int:
        return sum(one.taken for one in self.files)

    @property
    def duplicates(self) -> int:
        return sum(one.duplicates for one in self.files)

    @property
    def refused(self) -> int:
        return sum(one.refused for one in self.files)

    @property
    def values_refused(self) -> int:
        return sum(one.values_refused for one in self.files)

    @property
    def samples(self) -> int:
        return sum(one.samples for one in self.files)

    @property
    def failed(self) -> list[Reading]:
        """The files that were refused whole."""
        return [one for one in self.files if one.error is not None]

    @property
    def reasons(self) -> dict[str, int]:
        """Reason → how many rows or values, over all files."""
        sums: dict[str, int] = {}
        for one in self.files:
            for reason, number in one.reasons.items():
                sums[reason] = sums.get(reason, 0) + number
        return sums

    def examples(self, most: int = KEPT) -> Iterator[Refusal]:
        """At most ``most`` examples of every reason, in reading order."""
        given: dict[str, int] = {}
        for one in self.files:
            for refusal in one.examples:
                given[refusal.reason] = given.get(refusal.reason, 0) + 1
                if given[refusal.reason] <= most:
                    yield refusal

    def as_json(self, most: int = KEPT) -> dict[str, Any]:
        """The whole report as plain data; ``most`` examples of each reason."""
        return {
            "rows": self.rows,
            "taken": self.taken,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "values_refused": self.values_refused,
            "samples": self.samples,
            "reasons": self.reasons,
            "files_read": sum(one.error is None for one in self.files),
            "files_refused": [
                {
                    "file": one.file,
                    "code": one.error.code,
                    "message": one.error.message,
                    "params": one.error.params,
                }
                for one in self.files
                if one.error is not None
            ],
            "notes": [
                {"file": n.file, "code": n.code, "params": dict(n.params)} for one in self.files for n in one.notes
            ],
            "examples": [asdict(one) for one in self.examples(most)],
        }


UNUSABLE: Mapping[str, str] = {
    "file.missing": N_("没有这个文件或目录:%(file)s"),
    "file.unreadable": N_("无法读取 %(file)s:%(why)s"),
    "file.empty": N_("%(file)s 是空文件"),
    "file.binary": N_("%(file)s 不是文本:第 %(line)s 行第 %(column)s 个字节是二进制内容"),
    "file.encoding": N_("%(file)s 的编码无法识别(第 %(line)s 行起);请用 UTF-8 或 GB18030"),
    "file.gzip": N_("%(file)s 的压缩内容不完整或已损坏:%(why)s"),
    "file.parquet": N_("%(file)s 的 Parquet 内容不完整或已损坏:%(why)s"),
    "file.sheets": N_("%(file)s 不是 xlsx 或 xls 工作簿;请另存为 xlsx"),
    "file.locked": N_("%(file)s 设有打开密码;请去掉密码后另存"),
    "file.vast": N_("%(file)s 解压后超过 %(most)s MB;请拆分"),
    "sheet.several": N_("%(file)s 有几张表都像是要导入的内容:%(sheets)s;请每张表另存为一个文件"),
    "sheet.changed": N_(
        "%(file)s 第 %(line)s 行的表头与保存的列对照不同（新增：%(new)s；缺少：%(gone)s）；请在“云服务商 › 列对照”中确认后再读入"
    ),
    "sheet.vast": N_("%(file)s 的内容伸展到第 %(line)s 行第 %(column)s 列;请删去远处多余的单元格"),
    "file.zip": N_("%(file)s 是压缩包;请先解压,或用 gzip"),
    "file.unknown": N_("%(file)s 第 %(line)s 行:不认识的格式,表头为:%(header)s"),
    "file.format": N_("%(file)s 的内容不是指定的格式 %(format)s"),
    "file.no_rows": N_("%(file)s 没有一行完整的数据"),
    "file.no_day": N_("%(file)s:目录名或文件名不含日期,无法确定时间"),
    "file.too_many": N_("%(file)s 第 %(line)s 行:多于 288 个数值,无法确定时间"),
    "file.too_long": N_("%(file)s 超过 %(most)s 行;请拆分,或用宽表"),
    "column.missing": N_("%(file)s 第 %(line)s 行:缺少列 %(column)s"),
    "column.twice": N_("%(file)s 第 %(line)s 行第 %(column)s 列:%(header)s 出现两次"),
    "column.type": N_("%(file)s 第 %(column)s 列 %(header)s 的类型 %(type)s 不能用"),
    "column.currency": N_("%(file)s 第 %(line)s 行第 %(column)s 列 %(header)s 不是人民币金额"),
    "id.cut": N_(
        "%(file)s 中 16、17 位的编号(%(ids)s …)从第 16 位起全是 0,已被表格软件舍入;请把该列设为文本,重新填写后再导入"
    ),
    "id.unnamed": N_(
        "%(file)s 没有资源编号列,而第 %(column)s 列 %(header)s 的内容各行不同,像是资源编号;请把表头改为 资源编号,或删去这一列"
    ),
    "share.not": N_("%(file)s 第 %(column)s 列 %(header)s 按列对照是 0 到 1 之间的比例,却有 %(most)s;请核对它的单位"),
    "share.unsaid": N_(
        "%(file)s 第 %(column)s 列 %(header)s 的数值都不大于 1,无法确定是百分数还是 0 到 1 之间的比例;"
        "是百分数就把表头写作 %(header)s(%%),是比例就乘以 100"
    ),
    "metric.unknown": N_("%(file)s:文件名与参数都没有说明是哪个指标"),
    "number.ambiguous": N_("%(file)s 第 %(line)s 行第 %(column)s 列:%(text)s 中的逗号是小数点还是千分位,无法确定"),
    "json.bad": N_("%(file)s 第 %(line)s 行第 %(column)s 列:不是有效的 JSON"),
}


def unusable(code: str, file: str, **params: Any) -> Invalid:
    """The error for a file that is refused whole; ``code`` is one of UNUSABLE."""
    return Invalid(code, UNUSABLE[code], file=file, **params)


def missing(file: str) -> NotFound:
    return NotFound("file.missing", UNUSABLE["file.missing"], file=file)
