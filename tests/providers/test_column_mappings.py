"""A sheet with headings of its own: what it seems to say, how it is read once somebody has said what it says, and that
another one is not read by the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pytest

from providers.base import ResourceState, ServiceKind
from providers.mappings import looks
from providers.readers import ColumnMapping, Refusals, column_mapping, read_inventory
from quota.errors import Invalid
from quota.units import BLOCK, MEMORY, VCPU, Arch

HEADS = [
    "序号",
    "资产编码",
    "虚机名",
    "归属委办局",
    "业务IP",
    "CPU核心",
    "内存大小",
    "数据盘(T)",
    "电源",
    "CPU类型",
    "操作系统",
    "上线日期",
]
ROWS = [
    [1, "ZC-0001", "门户-1", "市教育局", "10.1.0.1", 4, 8192, 0.5, "正常运行", "鲲鹏920", "麒麟 V10", "2024-03-01"],
    [2, "ZC-0002", "门户-2", "市教育局", "10.1.0.2", 8, 16384, 1, "正常运行", "海光7285", "麒麟 V10", "2024-03-01"],
    [3, "ZC-0003", "库-1", "卫健委", "10.1.0.3", 16, 65536, 2, "已下线", "鲲鹏920", "CentOS 7", "2023-11-05"],
    [4, "ZC-0004", "库-2", "卫健委", "10.1.0.4", 16, 65536, 2, "未启动", "鲲鹏920", "CentOS 7", "2023-11-05"],
]
DEPARTMENTS = {"jyj": "市教育局", "wjw": "市卫生健康委员会", "gaj": "市公安局"}
WORDS = {
    "state": {"正常运行": "running", "已下线": column_mapping.LEFT_OUT, "未启动": "stopped"},
    "arch": {"鲲鹏920": "aarch64", "海光7285": "x86_64"},
    "department": {"市教育局": "jyj", "卫健委": "wjw"},
}
COLUMNS = {
    "id": "资产编码", "name": "虚机名", "department": "归属委办局", "address": "业务IP", "vcpu": "CPU核心", "memory_gb": "内存大小",
    "block_gb": "数据盘(T)", "state": "电源", "arch": "CPU类型", "created_at": "上线日期",
}  # fmt: skip
UNITS = {"memory_gb": "MB", "block_gb": "TB"}


def sheet(folder: Path, heads: list[Any] = HEADS, rows: list[list[Any]] = ROWS, name: str = "cmdb.xlsx") -> Path:
    book = openpyxl.Workbook()
    book.active.title = "虚拟机"
    book.active.append(["某市政务云资产台账"])
    for row in (heads, *rows):
        book.active.append(row)
    book.save(folder / name)
    return folder / name


def wanted(**changes: Any) -> ColumnMapping:
    return column_mapping.mapping(HEADS, **{"columns": COLUMNS, "units": UNITS, "words": WORDS, **changes})


def read(path: Path, *mappings: ColumnMapping) -> tuple[Any, Any]:
    report = Refusals()
    found = read_inventory(path, report, mappings=mappings)
    return found, report.files[0]


def test_numbers_of_single_machines_are_no_kinds_of_them(tmp_path: Path) -> None:
    """Also where they begin with the word for one, and headings are as short as people write them."""
    heads = ["资产号", "主机名", "核", "内存", "所属单位", "运行情况", "芯片"]
    rows = [
        [f"VM-{n:04}", f"web-{n}", 4, 8192, "市教育局", ("正常运行", "已关机")[n % 2], "鲲鹏920"] for n in range(1, 9)
    ]
    found = looks.propose(looks.look(sheet(tmp_path, heads, rows)), DEPARTMENTS, {})
    assert dict(found.columns) == {
        "id": "资产号", "name": "主机名", "vcpu": "核", "memory_gb": "内存", "department": "所属单位", "state": "运行情况", "arch": "芯片",
    }  # fmt: skip


def test_a_look_proposes_what_columns_mean_and_asks_for_units_that_nobody_says(tmp_path: Path) -> None:
    look = looks.look(sheet(tmp_path))
    assert (look.sheet, look.line, look.rows, look.heads) == ("虚拟机", 2, 4, tuple(HEADS))
    found = looks.propose(look, DEPARTMENTS, {})
    assert dict(found.columns) == COLUMNS
    assert found.units == {"block_gb": "TB"}, "the memory's unit stands nowhere: it is asked, not guessed"
    assert found.words["state"] == {"正常运行": "running"}, "未启动 is not running; what 已下线 is, nobody knows"
    assert found.words["arch"] == {"鲲鹏920": "aarch64", "海光7285": "x86_64"}
    assert found.words["department"] == {"市教育局": "jyj"}
    with pytest.raises(Invalid) as asked:
        column_mapping.mapping(HEADS, found.columns, found.units, found.words)
    assert (asked.value.code, asked.value.params["field"]) == ("mapping.unit", "memory_gb")


def test_a_sheet_is_read_as_people_said(tmp_path: Path) -> None:
    found, reading = read(sheet(tmp_path), wanted())
    assert found.complete
    assert (reading.rows, reading.taken) == (3, 3)
    first, second, last = found.facts
    assert (first.external_id, first.name, first.kind, first.arch) == (
        "ZC-0001",
        "门户-1",
        ServiceKind.VM,
        Arch.AARCH64,
    )
    assert dict(first.amounts) == {VCPU: 4, MEMORY: 8192, BLOCK: 512}
    assert (first.department_code, first.address, first.state) == ("jyj", "10.1.0.1", ResourceState.RUNNING)
    assert (second.arch, last.external_id, last.state) == (Arch.X86_64, "ZC-0004", ResourceState.STOPPED)
    notes = {one.code: one.params for one in reading.notes}
    assert notes["rows.left_out"] == {"count": 1}
    assert notes["column.unused"] == {"columns": "序号, 操作系统"}


def test_the_same_headings_in_another_order_are_the_same_and_in_text_too(tmp_path: Path) -> None:
    turned = [HEADS[::-1], *(row[::-1] for row in ROWS)]
    text = tmp_path / "cmdb.csv"
    text.write_text("\n".join(",".join(map(str, row)) for row in turned) + "\n")
    facts = read(sheet(tmp_path), wanted())[0].facts
    assert read(text, wanted())[0].facts == facts


@pytest.mark.parametrize("change", ["内存", "another"])
def test_a_header_that_changed_is_not_read_and_says_what_is_other(tmp_path: Path, change: str) -> None:
    heads = [*HEADS, "新列"] if change == "another" else ["内存" if one == "内存大小" else one for one in HEADS]
    rows = [[*row, "x"] for row in ROWS] if change == "another" else ROWS
    with pytest.raises(Invalid) as refused:
        read(sheet(tmp_path, heads, rows), wanted())
    assert refused.value.code == "sheet.changed"
    assert refused.value.params["new"] == ("新列" if change == "another" else "内存")
    assert refused.value.params["gone"] == ("—" if change == "another" else "内存大小")
    look = looks.look(sheet(tmp_path, heads, rows))
    again = looks.propose(look, DEPARTMENTS, {}, wanted())
    assert dict(again.columns) == {**COLUMNS, "memory_gb": "内存大小" if change == "another" else "内存"}
    assert again.units.get("memory_gb") == ("MB" if change == "another" else None), (
        "another column may be in another unit"
    )
    assert again.words == {name: dict(words) for name, words in wanted().words.items()}


def test_a_listing_with_the_headings_that_everybody_knows_is_read_beside_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,name,vcpu,memory_gb\nvm-1,one,4,8\n")
    assert [one.external_id for one in read(path, wanted())[0].facts] == ["vm-1"]


def test_figures_without_a_unit_are_refused_where_each_should_have_its_own(tmp_path: Path) -> None:
    rows = [[*row[:6], f"{row[6]}M", *row[7:]] for row in ROWS]
    rows[1][6] = 16384
    found, reading = read(sheet(tmp_path, HEADS, rows), wanted(units={**UNITS, "memory_gb": column_mapping.WRITTEN}))
    assert not found.complete
    assert [one.amounts[MEMORY] for one in found.facts] == [8192, 65536]
    (refused,) = reading.examples
    assert (refused.sheet, refused.line, refused.column, refused.reason) == ("虚拟机", 4, 7, "unit.unsaid")


def test_a_word_that_nobody_explained_refuses_its_row_alone(tmp_path: Path) -> None:
    rows = [list(row) for row in ROWS]
    rows[0][8] = "迁移中"
    found, reading = read(sheet(tmp_path, HEADS, rows), wanted())
    assert not found.complete
    (refused,) = reading.examples
    assert (refused.line, refused.column, refused.header, refused.reason, refused.text) == (
        3,
        9,
        "电源",
        "state.unknown",
        "迁移中",
    )


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"columns": {"name": "虚机名"}}, "mapping.id", "id"),
        ({"columns": {**COLUMNS, "id": "没有这一列"}}, "mapping.column", "id"),
        ({"columns": {**COLUMNS, "colour": "电源"}}, "mapping.field", "colour"),
        ({"units": {"memory_gb": "MB"}}, "mapping.unit", "block_gb"),
        ({"units": {**UNITS, "memory_gb": "PB"}}, "mapping.unit", "memory_gb"),
        ({"words": {"state": {"正常运行": "flying"}}}, "mapping.word", "state"),
        ({"words": {"name": {"门户-1": "x"}}}, "mapping.words", "name"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_by_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        wanted(**changes)
    assert (refused.value.code, refused.value.params["field"]) == (code, field)


def test_a_column_that_stands_twice_cannot_be_told_apart() -> None:
    with pytest.raises(Invalid) as refused:
        column_mapping.mapping(["编号", "名称", "名称"], {"id": "编号", "name": "名称"})
    assert refused.value.code == "mapping.column"


def test_a_mapping_is_kept_as_plain_json() -> None:
    assert ColumnMapping.from_json(wanted().to_json()) == wanted()


@pytest.mark.parametrize(
    ("name", "heading", "unit"),
    [
        ("memory_gb", "内存(MB)", "MB"), ("memory_gb", "内存（GiB）", "GB"), ("memory_gb", "内存大小", ""), ("block_gb", "磁盘/G", "GB"),
        ("block_gb", "存储_TB", "TB"), ("bandwidth_mbps", "带宽[Gbps]", "Gbps"), ("memory_gb", "内存使用(%)", ""),
    ],
)  # fmt: skip
def test_the_unit_that_a_heading_states(name: str, heading: str, unit: str) -> None:
    assert column_mapping.said_unit(name, heading) == unit
