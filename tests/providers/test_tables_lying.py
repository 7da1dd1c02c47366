# ruff: noqa: DTZ001 - cells hold moments without a zone
"""Tables that say something else than they seem to: taken for what they are, or refused with the place; never guessed."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlwt
from hypothesis import given
from hypothesis import strategies as st

from providers.base import BillFact, Inventory, ServiceKind
from providers.billing.bills import month_bounds
from providers.readers import figures
from providers.readers.bill_files import read_bill
from providers.readers.inventory_files import read_inventory
from providers.readers.refusals import Reading, Refusals
from quota.calendar import ZONE
from quota.errors import Invalid
from quota.units import EIP, MEMORY, VCPU, Arch, ClassCode

from . import files

START, END = month_bounds("2026-10")
Rows = Iterable[Iterable[Any]]
Place = tuple[int | None, int | None, str]


def text(folder: Path, content: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def workbook(folder: Path, rows: Rows, *, change: Callable[[Any], None] | None = None, name: str = "台账.xlsx") -> Path:
    """One sheet of ``rows``; ``change`` does to the workbook what rows cannot say."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    if change is not None:
        change(book)
    book.save(folder / name)
    return folder / name


def edited(path: Path, part: str, change: Callable[[str], str]) -> Path:
    """The workbook with one part of it rewritten, as other programs write it."""
    with zipfile.ZipFile(path) as packed:
        parts = {one: packed.read(one) for one in packed.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in parts.items():
            packed.writestr(name, change(data.decode()).encode() if name.endswith(part) else data)
    return path


def listed(path: Path) -> tuple[Inventory, Reading]:
    report = Refusals()
    found = read_inventory(path, report)
    (reading,) = report.files
    assert reading.rows == reading.taken + reading.duplicates + reading.refused
    assert found.complete == (not reading.refused)
    return found, reading


def billed(path: Path) -> tuple[list[BillFact], Reading]:
    reading = Reading(path.name)
    found = read_bill(path, "2026-10", reading, arch=Arch.ANY)
    assert reading.rows == reading.taken + reading.duplicates + reading.refused
    return found, reading


def places(reading: Reading) -> list[Place]:
    return [(one.line, one.column, one.reason) for one in reading.examples]


def notes(reading: Reading) -> dict[str, dict[str, Any]]:
    return {one.code: dict(one.params) for one in reading.notes}


def refused(path: Path, reads: Callable[[Path], Any] = listed) -> Invalid:
    with pytest.raises(Invalid) as caught:
        reads(path)
    assert str(caught.value)
    return caught.value


# ------------------------------------------------------------------------------------------------------ rows that sum up

TOTALS = [
    "合计",
    "合 计",
    "小计",
    "总计:",
    "市教育局小计",
    "合计(2台)",
    "Total",
    "Sub-total",
    "Grand Total",
    "本页合计",
]


@pytest.mark.parametrize("word", TOTALS)
def test_a_total_is_no_machine(tmp_path: Path, word: str) -> None:
    path = text(
        tmp_path,
        "编号,名称,单位,CPU(核),内存(GB),状态\n"
        "ecs-1,合计服务,市教育局,4,8,运行\n"
        f"{word},,,4,8,\n"
        "ecs-2,b,市教育局,8,32,运行\n"
        f",{word},,12,40,\n",
    )
    found, reading = listed(path)
    assert [one.external_id for one in found.facts] == ["ecs-1", "ecs-2"]
    assert (found.complete, reading.rows, notes(reading)["rows.total"]) == (True, 2, {"count": 2, "lines": "3, 5"})


def test_a_total_is_no_line_of_a_bill(tmp_path: Path) -> None:
    found, reading = billed(text(tmp_path, "资源编号,资源类别,用量,金额\na,vcpu,2976,184\n合计,,2976,184\n"))
    assert [(one.external_id, one.cost) for one in found] == [("a", Decimal(184))]
    assert (reading.rows, reading.refused, notes(reading)["rows.total"]["lines"]) == (1, 0, "3")


def test_a_total_is_no_machine_of_a_usage_file(tmp_path: Path) -> None:
    found = files.read(
        files.write(
            tmp_path / "u.csv",
            "资源编号,采集时间,CPU使用率(%)",
            "vm-a,2026-11-01T00:00:00Z,95",
            "平均值,,95",
            "vm-b,2026-11-01T00:00:00Z,1",
            "合计,2026-11-01T00:00:00Z,96",
        )
    )
    assert [row["id"] for row in found.rows()] == ["vm-a", "vm-b"]
    (reading,) = found.report.files
    assert (reading.rows, reading.refused, notes(reading)["rows.total"]) == (2, 0, {"count": 2, "lines": "3, 5"})


# ------------------------------------------------------------------------------------------------ who a sample belongs to

MELTING = ("2026-11-01 00:00:00,95", "2026-11-01 00:00:00,1", "2026-11-01 00:05:00,95", "2026-11-01 00:05:00,1")


def melting(folder: Path, head: str, ids: Iterable[str]) -> Path:
    rows = [f"{one},{rest}" for one, rest in zip(ids, MELTING, strict=True)]
    return files.write(folder / "export_nov.csv", f"{head},采集时间,CPU使用率(%)", *rows)


@pytest.mark.parametrize("head", ["云服务器ID", "实例名称", "主机名", "Instance", "虚拟机编号"])
def test_the_word_for_a_machine_is_known(tmp_path: Path, head: str) -> None:
    found = files.read(melting(tmp_path, head, ("vm-a", "vm-b", "vm-a", "vm-b")), utc_offset_s=28800)
    assert {row["id"] for row in found.rows()} == {"vm-a", "vm-b"}
    assert ("id.by_name" in found.notes) == ("名" in head or head == "Instance")


@pytest.mark.parametrize("ids", [("vm-a", "vm-b", "vm-a", "vm-b"), ("1", "2", "1", "2"), ("a", "b", "c", "d")])
def test_a_column_that_tells_machines_apart_is_asked_for(tmp_path: Path, ids: tuple[str, ...]) -> None:
    wrong = refused(melting(tmp_path, "机器", ids), lambda path: files.read(path, utc_offset_s=28800))
    assert (wrong.code, wrong.params["column"], wrong.params["header"]) == ("id.unnamed", 1, "机器")


@pytest.mark.parametrize("beside", [("北京",) * 4, ("1", "1", "2", "2"), ("", "", "重启", ""), ("2026-11-01",) * 4])
def test_other_columns_of_one_machines_file_are_only_named(tmp_path: Path, beside: tuple[str, ...]) -> None:
    path = melting(tmp_path, "备注", beside)
    found = files.read(path, utc_offset_s=28800)
    assert {row["id"] for row in found.rows()} == {"export_nov"}
    assert {"column.unused", "time.same"} <= found.notes


@pytest.mark.parametrize("name", ["#N/A", "#REF!"])
def test_an_error_is_no_machine_of_a_usage_file(tmp_path: Path, name: str) -> None:
    path = files.write(
        tmp_path / "u.csv", "resource_id,ts,cpu_pct", f"{name},{files.T0},5", f"1.23457E+17,{files.T0},5"
    )
    assert [(one.line, one.reason) for one in files.read(path).report.examples()] == [
        (2, "cell.error"),
        (3, "id.rounded"),
    ]


# --------------------------------------------------------------------------------------------------- shares and per cent


@pytest.mark.parametrize(
    ("header", "values", "code"),
    [
        ("CPU使用率", ("0.95", "0.10"), "share.unsaid"),
        ("内存使用率", ("0.95", "1"), "share.unsaid"),
        ("CPU使用率", ("0.95", "10"), None),
        ("CPU使用率(%)", ("0.95", "0.10"), None),
        ("cpu_pct", ("0.95", "0.10"), None),
        ("CPU使用率", ("0", "0"), None),
    ],
)
def test_shares_are_not_taken_for_per_cent(
    tmp_path: Path, header: str, values: tuple[str, ...], code: str | None
) -> None:
    rows = [f"vm-{at},{files.T0},{value}" for at, value in enumerate(values)]
    wide = files.write(tmp_path / "wide.csv", f"资源编号,时间,{header}", *rows)
    long = files.write(
        tmp_path / "long.csv",
        "资源编号,时间,指标,数值",
        *(f"vm-{at},{files.T0},{header},{value}" for at, value in enumerate(values)),
    )
    for path in (wide, long):
        if code is None:
            assert len(files.read(path).rows()) == 2
        else:
            assert refused(path, files.read).code == code


def test_memory_in_use_below_one_per_cent_is_doubted(tmp_path: Path) -> None:
    path = files.write(tmp_path / "u.csv", "资源编号,时间,内存使用率(%)", f"a,{files.T0},0.95", f"b,{files.T0},0.4")
    assert "share.doubtful" in files.read(path).notes


def test_the_unit_beside_a_value_is_heeded(tmp_path: Path) -> None:
    path = files.write(
        tmp_path / "u.csv",
        "资源编号,时间,指标,数值,单位",
        f"a,{files.T0},mem_total_mb,8,GB",
        f"a,{files.T0},mem_total_gb,8,GB",
        f"a,{files.T0},cpu_pct,55,%",
        f"a,{files.T0},NetworkIn,300,Bytes",
        f"a,{files.T0},net_tx_kbps,300,KB/s",
        f"a,{files.T0},disk_pct,30,",
    )
    found = files.read(path)
    assert [(one.line, one.column, one.reason) for one in found.report.examples()] == [
        (2, 5, "unit.unknown"), (6, 5, "unit.unknown"),
    ]  # fmt: skip
    (row,) = found.rows()
    assert (row["mem_mb"], row["cpu_pct"], row["disk_pct"]) == (8192, 55, 30)


# ------------------------------------------------------------------------------------------------------ bills: what money

HEAD = "资源编号,资源类别,用量,单位,金额,币种\n"


def test_units_of_a_bill_are_read(tmp_path: Path) -> None:
    found, reading = billed(
        text(
            tmp_path,
            HEAD + "a,memory,11904,GB·时,288,CNY\nb,内存,11904,MiB*小时,288,人民币\nc,vcpu,2976,核·时,184,\n"
            "d,block,2,TB-hours,184,RMB\ne,eip,744,小时,20,¥\n",
        )
    )
    assert [int(one.quantity) for one in found] == [11904 * 1024, 11904, 2976, 2048, 744]
    assert (reading.refused, notes(reading)) == (0, {})


def test_what_a_bill_cannot_mean_is_refused_by_cell(tmp_path: Path) -> None:
    found, reading = billed(
        text(
            tmp_path,
            HEAD + "a,memory,1,GB·时,288,美金\nb,memory,1,GB,1,\nc,memory,1,核·时,1,\nd,vcpu,744,小时,1,\n"
            "e,vcpu,1,,$184,\nf,vcpu,1,,184美元,\ng,vcpu,1,,1.18E+05,\nh,vcpu,#N/A,,1,\ni,vcpu,1,,#DIV/0!,\n",
        )
    )
    assert found == []
    assert places(reading) == [
        (2, 6, "currency.other"),
        (3, 4, "unit.unknown"),
        (4, 4, "unit.unknown"),
        (5, 4, "unit.unknown"),
        (6, 5, "currency.other"),
        (7, 5, "currency.other"),
        (8, 5, "value.short"),
        (9, 3, "cell.error"),
        (10, 5, "cell.error"),
    ]


def test_another_currency_is_read_where_its_own_column_names_it(tmp_path: Path) -> None:
    """It is disputed as a currency, then; whom a line bills is read beside it."""
    found, reading = billed(
        text(tmp_path, HEAD.replace("\n", ",使用单位\n") + "a,memory,1,GB·时,40,usd,A01\nb,memory,1,GB·时,$40,USD,\n")
    )
    assert [(one.currency, one.cost, one.payer) for one in found] == [("USD", Decimal(40), "A01")]
    assert places(reading) == [(3, 5, "currency.other")]


@pytest.mark.parametrize(
    ("head", "cost", "yuan"),
    [
        ("金额(元)", "184", "184"),
        ("金额(万元)", "1.5", "15000"),
        ("金额(分)", "18450", "184.50"),
        ("金额", "¥1,184.00", "1184.00"),
        ("金额", "1.2万元", "12000"),
        ("金额", "-184.5元", "-184.5"),
    ],
)
def test_money_in_the_words_of_a_bill(tmp_path: Path, head: str, cost: str, yuan: str) -> None:
    found, reading = billed(text(tmp_path, f'资源编号,资源类别,用量(核·时),{head}\na,vcpu,2,"{cost}"\n'))
    assert (found[0].cost, reading.refused) == (Decimal(yuan), 0)


@pytest.mark.parametrize("head", ["金额(美元)", "Cost (USD)", "金额(HKD)"])
def test_a_bill_in_another_countrys_money_is_refused_whole(tmp_path: Path, head: str) -> None:
    wrong = refused(text(tmp_path, f"资源编号,资源类别,用量,{head}\na,vcpu,2,3\n"), billed)
    assert (wrong.code, wrong.params["column"], wrong.params["header"]) == ("column.currency", 4, head)


@pytest.mark.parametrize(
    ("head", "fine", "bad"),
    [
        ("折扣", "100%", "0.85"),
        ("代金券", "0", "50"),
        ("状态", "正常", "已作废"),
        ("数量", "1", "12"),
        ("计费时长", "", "744"),
    ],
)
def test_a_column_that_changes_another_is_refused_by_cell(tmp_path: Path, head: str, fine: str, bad: str) -> None:
    found, reading = billed(text(tmp_path, f"资源编号,资源类别,用量,{head}\na,vcpu,2,{fine}\nb,vcpu,2,{bad}\n"))
    assert ([one.external_id for one in found], places(reading)) == (["a"], [(3, 4, "cell.changes")])


def test_columns_that_a_bill_does_not_need_are_named(tmp_path: Path) -> None:
    _, reading = billed(text(tmp_path, "资源编号,资源类别,用量,单价,金额(含税),项目\na,vcpu,2,3,4,5\n"))
    assert notes(reading)["column.unused"] == {"columns": "单价, 金额(含税), 项目"}


def test_memory_without_a_unit_is_said_to_be_read_in_mib(tmp_path: Path) -> None:
    _, reading = billed(text(tmp_path, "资源编号,资源类别,用量\na,内存,2\n"))
    assert notes(reading) == {"unit.assumed": {"unit": "MiB·h", "columns": "用量"}}


# ------------------------------------------------------------------------------------------------------ signs of numbers


def test_decimal_commas_of_a_bill(tmp_path: Path) -> None:
    found, reading = billed(
        text(tmp_path, "resource;kind;quantity;cost\ni-1;vcpu;2976;184,50\ni-2;vcpu;2.976;1.234,50\n")
    )
    assert [(one.quantity, one.cost) for one in found] == [
        (Decimal(2976), Decimal("184.50")), (Decimal(2976), Decimal("1234.50")),
    ]  # fmt: skip
    assert reading.refused == 0


def test_one_rule_for_quantity_and_cost(tmp_path: Path) -> None:
    agreed = 'resource,kind,quantity,cost\na,vcpu,"2,976","1,184.00"\nb,vcpu,2976,"1,184"\n'
    found, _ = billed(text(tmp_path, agreed))
    assert [(one.quantity, one.cost) for one in found] == [(2976, 1184)] * 2
    found, reading = billed(text(tmp_path, 'resource,kind,quantity,cost\na,vcpu,"2,976",184\nb,vcpu,2976,"1,184"\n'))
    assert (found, places(reading)) == ([], [(2, 3, "value.ambiguous"), (3, 4, "value.ambiguous")])


@given(st.decimals(min_value=Decimal("-1e9"), max_value=Decimal("1e9"), places=2))
def test_a_figure_is_read_as_it_was_written(value: Decimal) -> None:
    english = f"{value:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert figures.figure(english) == figures.figure(german) == figures.figure(str(value)) == value
    assert (figures.decimal_sign([english]), figures.decimal_sign([german])) == (".", ",")
    assert figures.decimal_sign([english, german]) is None


@pytest.mark.parametrize(
    ("written", "sign", "value"),
    [("1,234", ".", "1234"), ("1,234", ",", "1.234"), ("1.234", ",", "1234"), ("1.234", None, "1.234"),
     ("0,123", None, "0.123"), ("1,234,567", None, "1234567"), ("1.234.567", None, "1234567"), ("1 184,5", None, "1184.5"),
     ("１２", None, "12"), (0.1 + 0.2, None, "0.3"), (12.345, None, "12.345")],
)  # fmt: skip
def test_figures(written: Any, sign: str | None, value: str) -> None:
    assert figures.figure(written, sign) == Decimal(value)


@pytest.mark.parametrize("written", ["1,23,456.7", "12,34.5.6", "1,2,3", "ten", "", "4C", True])
def test_what_is_no_figure(written: Any) -> None:
    with pytest.raises(ValueError):
        figures.figure(written)


def test_small_money_is_kept_and_smaller_is_told(tmp_path: Path) -> None:
    rows = "".join(f"{at},vcpu,1,0.004\n" for at in range(3000))
    found, reading = billed(text(tmp_path, "资源编号,资源类别,用量,金额\nx,vcpu,1,12.345\n" + rows))
    assert (found[0].cost, sum(one.cost or 0 for one in found)) == (Decimal("12.345"), Decimal("24.345"))
    assert notes(reading) == {}
    found, reading = billed(text(tmp_path, "资源编号,资源类别,用量,金额\na,vcpu,1.00005,0.0000005\n"))
    assert (found[0].quantity, found[0].cost) == (Decimal("1.0001"), Decimal("0.000001"))  # half up
    told = {one.params["header"]: dict(one.params) for one in reading.notes}
    assert told["金额"] == {"count": 1, "header": "金额", "places": 6, "difference": "0.0000005"}
    assert (told["用量"]["places"], told["用量"]["difference"]) == (4, "0.00005")


# ------------------------------------------------------------------------------------------------------ months and moments


@pytest.mark.parametrize(
    "month", ["2026-10", "2026/10", "202610", "2026年10月", "2026.10", "2026-10-01", "2026年10月份"]
)
def test_months_as_people_write_them(tmp_path: Path, month: str) -> None:
    found, reading = billed(text(tmp_path, f"2026年10月账单,,,\n\n账期,资源编号,资源类别,用量\n{month},a,vcpu,2\n"))
    assert ([one.month for one in found], reading.refused) == (["2026-10"], 0)


@pytest.mark.parametrize("month", [datetime(2026, 10, 1), date(2026, 10, 31), 202610, "2026-10"])
def test_months_in_cells(tmp_path: Path, month: Any) -> None:
    path = workbook(tmp_path, [["十月账单"], ["账期", "资源编号", "资源类别", "用量"], [month, "a", "vcpu", 2]])
    assert [one.month for one in billed(path)[0]] == ["2026-10"]


@pytest.mark.parametrize("month", ["2026-13", "10", "2026-9", "二〇二六年十月", 46300, "2026-1-10-01"])
def test_other_months_are_refused_by_cell(tmp_path: Path, month: Any) -> None:
    path = workbook(tmp_path, [["账期", "资源编号", "资源类别", "用量"], [month, "a", "vcpu", 2]])
    assert places(billed(path)[1]) == [(2, 1, "bill.month")]


def test_the_last_day_of_a_line_must_say_whether_it_counts(tmp_path: Path) -> None:
    head = ["资源编号", "资源类别", "用量", "起", "止"]
    path = workbook(
        tmp_path,
        [head, ["a", "vcpu", 2, date(2026, 10, 1), date(2026, 10, 31)], ["b", "vcpu", 2, "2026-10-01", "2026-10-15"],
         ["c", "vcpu", 2, date(2026, 10, 1), date(2026, 11, 1)],
         ["d", "vcpu", 2, datetime(2026, 10, 1), datetime(2026, 10, 15, 8)]],
    )  # fmt: skip
    found, reading = billed(path)
    assert [(one.external_id, one.since, one.until) for one in found] == [
        ("c", START, END), ("d", START, START + timedelta(days=14, hours=8)),
    ]  # fmt: skip
    assert places(reading) == [(2, 5, "time.day_only"), (3, 5, "time.day_only")]


def chinese(path: Path) -> Path:
    """Number formats 0.0000NN become the built-in ones of that number, which have no text of their own in a file."""

    def change(styles: str) -> str:
        for number, code in re.findall(r'numFmtId="(\d+)" formatCode="0\.0000(\d\d)"', styles):
            styles = re.sub(rf'<numFmt numFmtId="{number}" formatCode="[^"]*"\s*/>', "", styles)
            styles = styles.replace(f'numFmtId="{number}"', f'numFmtId="{code}"')
        return re.sub(r'<numFmts count="\d+"\s*>\s*</numFmts>|<numFmts count="\d+"\s*/>', "", styles)

    return edited(path, "styles.xml", change)


def test_dates_in_the_formats_of_a_chinese_spreadsheet(tmp_path: Path) -> None:
    def change(book: Any) -> None:
        for column, code in ((6, "0.000031"), (7, "0.000057")):
            book.active.cell(2, column).number_format = code

    row = ["vm-2", "a", 4, 8, "运行", datetime(2026, 10, 5), datetime(2026, 10, 1)]
    head = ["编号", "名称", "CPU(核)", "内存(GB)", "状态", "开通日期", "停用时间"]
    (fact,) = listed(chinese(workbook(tmp_path, [head, row], change=change)))[0].facts
    assert fact.created_at is not None
    assert fact.stopped_at is not None
    assert (fact.created_at + timedelta(hours=8)).date() == date(2026, 10, 5)
    assert (fact.stopped_at + timedelta(hours=8)).date() == date(2026, 10, 1)

    def bill(book: Any) -> None:
        book.active.cell(2, 1).number_format = "0.000057"

    rows = [["账期", "资源编号", "资源类别", "用量"], [datetime(2026, 10, 1), "a", "vcpu", 2]]
    assert [one.month for one in billed(chinese(workbook(tmp_path, rows, change=bill)))[0]] == ["2026-10"]


# -------------------------------------------------------------------------------------------------------------- workbooks

MACHINES = ["编号", "名称", "CPU(核)", "内存(GB)", "状态"]


@pytest.mark.parametrize("said", ['<dimension ref="A1:E3"', '<dimension ref="A1"'])
def test_a_declared_range_is_not_believed(tmp_path: Path, said: str) -> None:
    def change(sheet: str) -> str:
        return re.sub(r'<dimension ref="[^"]*"', said, sheet)

    rows = [MACHINES, *([f"vm-{at}", f"m{at}", 4, 8, "运行"] for at in range(300))]
    assert len(listed(edited(workbook(tmp_path, rows), "sheet1.xml", change))[0].facts) == 300
    rows = [["资源编号", "资源类别", "用量", "金额"], *([f"vm-{at}", "vcpu", 2976, 184] for at in range(300))]
    assert len(billed(edited(workbook(tmp_path, rows), "sheet1.xml", change))[0]) == 300


def test_a_merged_owner_is_the_owner_of_all_its_rows(tmp_path: Path) -> None:
    rows = [["资源编号", "名称", "使用单位", "核数", "内存(GB)"], ["e-1", "a", "甲局", 4, 8], ["e-2", "b", None, 4, 8],
            ["e-3", "c", None, 4, 8], ["e-4", "d", None, 4, 8]]  # fmt: skip
    found, reading = listed(workbook(tmp_path, rows, change=lambda book: book.active.merge_cells("C2:C4")))
    assert [one.department_code for one in found.facts] == ["甲局", "甲局", "甲局", None]
    assert reading.refused == 0


def test_a_merged_figure_is_nobodys(tmp_path: Path) -> None:
    rows = [["资源编号", "名称", "核数", "内存(GB)"], ["e-1", "a", 4, 8], ["e-2", "b", 4, None], ["e-3", "c", 4, 8]]
    found, reading = listed(workbook(tmp_path, rows, change=lambda book: book.active.merge_cells("D2:D3")))
    assert [one.external_id for one in found.facts] == ["e-3"]
    assert places(reading) == [(2, 4, "cell.merged"), (3, 4, "cell.merged")]
    rows = [["资源编号", "资源类别", "用量", "金额"], ["a", "vcpu", 1, 300], ["a", "memory", 1, None]]
    _, reading = billed(workbook(tmp_path, rows, change=lambda book: book.active.merge_cells("D2:D3")))
    assert places(reading) == [(2, 4, "cell.merged"), (3, 4, "cell.merged")]


def test_headings_over_two_rows_with_merged_cells(tmp_path: Path) -> None:
    def change(book: Any) -> None:
        for cells in ("A1:A2", "B1:C1", "D1:D2"):
            book.active.merge_cells(cells)

    rows = [["编号", "规格", None, "使用单位"], [None, "核数", "内存(GB)", None], ["e-1", 4, 8, "甲局"]]
    (fact,) = listed(workbook(tmp_path, rows, change=change))[0].facts
    assert (fact.external_id, fact.amounts, fact.department_code) == (
        "e-1", {VCPU: 4, MEMORY: 8192}, "甲局",
    )  # fmt: skip


def test_errors_and_formulas_without_results_are_no_empty_cells(tmp_path: Path) -> None:
    def change(book: Any) -> None:
        sheet = book.active
        sheet["E2"], sheet["E2"].data_type = "#N/A", "e"
        sheet["E3"] = "=VLOOKUP(A3,单位!A:B,2,0)"

    rows = [["编号", "名称", "核数", "内存(GB)", "使用单位"], ["a", "a", 4, 8], ["b", "b", 4, 8], ["c", "c", 4, 8]]
    path = workbook(tmp_path, rows, change=change)
    found, reading = listed(path)
    assert [one.external_id for one in found.facts] == ["c"]
    assert places(reading) == [(2, 5, "cell.error"), (3, 5, "cell.formula")]
    assert {one.sheet for one in reading.examples} == {"Sheet"}
    found, reading = listed(
        text(tmp_path, '编号,核数,内存(GB),使用单位\na,4,8,#N/A\nb,4,8,#REF!\n"=""007""",4,8,甲局\n')
    )
    assert [one.external_id for one in found.facts] == ["007"]
    assert places(reading) == [(2, 4, "cell.error"), (3, 4, "cell.error")]


def test_a_formula_with_its_result_is_read(tmp_path: Path) -> None:
    path = workbook(tmp_path, [MACHINES, ["a", "a", "=2+2", 8, "运行"]])
    edited(path, "sheet1.xml", lambda sheet: re.sub(r"<v ?/>|<v></v>", "<v>4</v>", sheet))
    (fact,) = listed(path)[0].facts
    assert fact.amounts[VCPU] == 4


def test_which_sheet_is_meant_is_asked(tmp_path: Path) -> None:
    def two(book: Any) -> None:
        other = book.create_sheet("云硬盘")
        for row in (["编号", "名称", "类型", "磁盘(GB)"], ["d", "d", "云硬盘", 100]):
            other.append(row)

    rows = [MACHINES, ["a", "a", 4, 8, "运行"]]
    wrong = refused(workbook(tmp_path, rows, change=two))
    assert (wrong.code, wrong.params["sheets"]) == ("sheet.several", "Sheet, 云硬盘")

    def beside(book: Any) -> None:
        two(book)
        book["云硬盘"].sheet_state = "hidden"
        book.create_sheet("说明", 0)["A1"] = "编号由云服务商给出"
        book.create_sheet("空白")

    found, reading = listed(workbook(tmp_path, rows, change=beside))
    assert [one.external_id for one in found.facts] == ["a"]
    assert (reading.sheet, notes(reading)["sheet.unread"]) == ("Sheet", {"sheets": "云硬盘, 说明"})


def test_hidden_rows_and_columns_are_read_and_said(tmp_path: Path) -> None:
    def change(book: Any) -> None:
        book.active.row_dimensions[3].hidden = True
        book.active.column_dimensions["D"].hidden = True

    found, reading = listed(workbook(tmp_path, [MACHINES, ["a", "a", 4, 8], ["b", "b", 4, 8]], change=change))
    assert (len(found.facts), notes(reading)["sheet.hidden"]) == (2, {"rows": 1, "columns": 1})


@pytest.mark.parametrize(
    ("code", "foreign"),
    [('"$"#,##0.00', True), ("[$$-409]#,##0.00", True), ("[$€-2] 0", True), ("[$USD] 0", True), ("[$¥-411]0", True),
     ('"¥"#,##0.00', False), ("[$¥-804]#,##0.00", False), ("#,##0.00", False), ("[$-804]0.00", False),
     ('_ * #,##0.00_ ;_ * -#,##0.00_ ;_ * "-"??_ ;_ @_ ', False)],
)  # fmt: skip
def test_money_of_another_country_by_its_format(tmp_path: Path, code: str, foreign: bool) -> None:
    def change(book: Any) -> None:
        book.active["D2"].number_format = code

    path = workbook(tmp_path, [["资源编号", "资源类别", "用量", "金额"], ["a", "vcpu", 2, 184.5]], change=change)
    found, reading = billed(path)
    assert ([one.cost for one in found], places(reading)) == (
        ([], [(2, 4, "currency.other")]) if foreign else ([Decimal("184.5")], [])
    )


def old_workbook(folder: Path, rows: Rows, *merged: tuple[int, int, int, int]) -> Path:
    """As ``workbook``, in the old binary format; ``merged``: first and last row, first and last column, from 0."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("台账")
    day = xlwt.easyxf(num_format_str="yyyy-mm-dd")
    for at, row in enumerate(rows):
        for column, value in enumerate(row):
            if value is not None:
                sheet.write(at, column, value, *([day] if isinstance(value, date) else []))
    for cells in merged:
        sheet.merge(*cells)
    book.save(str(folder / "台账.xls"))
    return folder / "台账.xls"


def test_workbooks_of_the_old_kind(tmp_path: Path) -> None:
    head = ["资源编号", "名称", "使用单位", "核数", "内存(GB)", "开通日期"]
    rows = [head, ["a", "a", "甲局", 4, 8, date(2026, 10, 5)], ["b", "b", None, 4, 8], ["合计", None, None, 8, 16]]
    found, reading = listed(old_workbook(tmp_path, rows, (1, 2, 2, 2)))
    assert [(one.external_id, one.department_code, one.amounts) for one in found.facts] == [
        (name, "甲局", {VCPU: 4, MEMORY: 8192}) for name in "ab"
    ]
    assert found.facts[0].created_at == datetime(2026, 10, 5, tzinfo=ZONE)
    assert (reading.format, reading.sheet) == ("xls", "台账")
    assert {"sheet.xls", "rows.total"} <= notes(reading).keys()
    bill = [["账期", "资源编号", "资源类别", "用量", "金额"], [date(2026, 10, 1), "a", "vcpu", 2976, 12.345]]
    assert [(one.month, one.quantity, one.cost) for one in billed(old_workbook(tmp_path, bill))[0]] == [
        ("2026-10", Decimal(2976), Decimal("12.345"))
    ]


def test_a_workbook_of_usage_of_either_kind_says_what_its_text_would_say(tmp_path: Path) -> None:
    rows = [["resource_id", "ts", "cpu_pct"], ["a", files.T0, 5], ["a", files.T0 + 300, 6.25], ["b", files.T0, None]]
    text = files.write(
        tmp_path / "usage.csv", *(",".join("" if one is None else str(one) for one in row) for row in rows)
    )
    for path in (workbook(tmp_path, rows), old_workbook(tmp_path, rows)):
        found = files.read(path)
        assert found.rows() == files.read(text).rows() == [
            {"id": "a", "ts": files.T0, "cpu_pct": 5.0}, {"id": "a", "ts": files.T0 + 300, "cpu_pct": 6.25},
        ]  # fmt: skip
        assert [one.line for one in found.refusals("row.empty")] == [4]


def test_a_workbook_of_usage_with_a_title_and_times_as_people_have_them(tmp_path: Path) -> None:
    rows = [
        ["十月用量"],
        [],
        ["云主机编号", "采集时间", "CPU使用率(%)"],
        ["a", datetime(2026, 10, 1, 8, 0), 5],
        ["a", datetime(2026, 10, 1, 8, 5), "坏"],
    ]
    path = workbook(tmp_path, rows)
    assert files.read(path).refusals("time.no_offset"), "a spreadsheet knows no zone; nobody guesses one"
    found = files.read(path, utc_offset_s=8 * 3600)
    assert found.rows() == [{"id": "a", "ts": 1790812800, "cpu_pct": 5.0}]
    assert [(one.line, one.text) for one in found.refusals("value.text")] == [(5, "坏")]


def test_what_a_spreadsheet_did_to_usage_is_refused_by_its_cell(tmp_path: Path) -> None:
    def merge(book: Any) -> None:
        book.active.merge_cells("C2:C3")

    head = ["resource_id", "ts", "cpu_pct"]
    path = workbook(tmp_path, [head, ["a", files.T0, 50], ["b", files.T0, None]], change=merge)
    found = files.read(path)
    assert found.rows() == [], "one figure over two machines is nobody's"
    assert len(found.refusals("value.text")) == 2
    rows = [
        [123456789012345678, files.T0, 5],
        [date(2026, 10, 5), files.T0, 5],
        ["#N/A", files.T0, 5],
        ["c", files.T0, 7],
    ]
    assert [one["id"] for one in files.read(workbook(tmp_path, [head, *rows])).rows()] == ["c"]


def test_two_sheets_of_usage_are_not_chosen_between(tmp_path: Path) -> None:
    def twice(book: Any) -> None:
        sheet = book.create_sheet("副本")
        sheet.append(["resource_id", "ts", "cpu_pct"])
        sheet.append(["a", files.T0, 5])

    path = workbook(tmp_path, [["resource_id", "ts", "cpu_pct"], ["a", files.T0, 5]], change=twice)
    assert refused(path, files.read).code == "sheet.several"


def test_a_cell_far_away_takes_no_room(tmp_path: Path) -> None:
    def change(book: Any) -> None:
        book.active["XFD1048576"] = " "

    wrong = refused(workbook(tmp_path, [MACHINES, ["a", "a", 4, 8]], change=change))
    assert (wrong.code, wrong.params["line"], wrong.params["column"]) == ("sheet.vast", 1048576, 16384)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK\x03\x04 and no more", "file.unreadable"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and no more", "file.unreadable"),
        ("word/document.xml", "file.zip"),
        ("xl/workbook.bin", "file.sheets"),
        ("content.xml", "file.sheets"),
    ],
)
def test_what_is_no_workbook(tmp_path: Path, content: bytes | str, code: str) -> None:
    path = tmp_path / "a.xlsx"
    if isinstance(content, str):
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(content, "<x/>")
    else:
        path.write_bytes(content)
    assert refused(path).code == refused(path, billed).code == code


# ------------------------------------------------------------------------------------------------ ids, sizes, left-out units


def test_ids_that_a_spreadsheet_has_changed_are_refused(tmp_path: Path) -> None:
    rows = [MACHINES, [123456789012345678, "a", 4, 8], ["123456789012345678", "b", 4, 8], [date(2026, 1, 2), "c", 4, 8],
            [123456789012345, "d", 4, 8]]  # fmt: skip
    found, reading = listed(workbook(tmp_path, rows))
    assert [one.external_id for one in found.facts] == ["123456789012345678", "123456789012345"]
    assert places(reading) == [(2, 1, "id.rounded"), (4, 1, "id.rounded")]
    shortened = text(tmp_path, "编号,核数,内存(GB)\n1.23457E+17,4,8\n123456789012345000,4,8\n123456789012345678,4,8\n")
    assert places(listed(shortened)[1]) == [(2, 1, "id.rounded"), (3, 1, "id.rounded")]
    bill = [["资源编号", "资源类别", "用量"], [123456789012345678, "vcpu", 1]]
    assert places(billed(workbook(tmp_path, bill))[1]) == [(2, 1, "id.rounded")]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("编号,核数,内存\na,0,8\n", (2, 2, "value.zero")),
        ("编号,核数,内存\na,4,0\n", (2, 3, "value.zero")),
        ("编号,核数,内存\na,4,8192\n", (2, 3, "unit.unsaid")),
        ("编号,核数,内存\na,-4,8\n", (2, 2, "value.negative")),
        ('编号,核数,内存\na,"1,024",8\n', (2, 2, "value.ambiguous")),
        ("编号,核数,内存\na,1.02E+03,8\n", (2, 2, "value.short")),
        ("编号,核数,内存\na,nan,8\n", (2, 2, "value.text")),
        ("编号,核数,内存\na,4核8,8\n", (2, 2, "value.text")),
        ("编号,类型,磁盘\na,云硬盘,0\n", (2, 3, "value.zero")),
        ("编号,类型,数据库数\na,数据库,0\n", (2, 3, "value.zero")),
        ("编号,核数,内存,数量\na,4,8,5\n", (2, 4, "cell.changes")),
        ("编号,核数,内存,内存单位\na,4,8,MB\n", (2, 4, "cell.changes")),
        ("编号,核数,内存,单位\na,4,8,GB\n", (2, 4, "unit.owner")),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_cell(tmp_path: Path, content: str, place: Place) -> None:
    found, reading = listed(text(tmp_path, content))
    assert (found.facts, found.complete, places(reading)) == ([], False, [place])


@pytest.mark.parametrize(
    ("head", "cell", "kind", "figure"),
    [
        ("内存(TB)", "2", MEMORY, 2 << 20),
        ("内存(MiB)", "8192", MEMORY, 8192),
        ("内存(GB)", "8192", MEMORY, 8192 << 10),
        ("内存", "8192MB", MEMORY, 8192),
        ("内存(GB)", "2T", MEMORY, 2 << 20),
        ("内存(GB)", "8", MEMORY, 8192),
    ],
)
def test_units_in_headings_and_cells(tmp_path: Path, head: str, cell: str, kind: ClassCode, figure: int) -> None:
    found, reading = listed(text(tmp_path, f"编号,核数,{head}\na,4,{cell}\n"))
    assert (found.facts[0].amounts[kind], "unit.assumed" in notes(reading)) == (figure, False)


def test_pieces_are_counted_where_a_row_is_several(tmp_path: Path) -> None:
    found, _ = listed(text(tmp_path, "编号,类型,数量\na,公网IP,5个\nb,公网IP,\n"))
    assert [one.amounts for one in found.facts] == [{EIP: 5}, {EIP: 1}]


def test_what_was_assumed_of_a_listing_is_said(tmp_path: Path) -> None:
    found, reading = listed(text(tmp_path, "编号,核数,内存,磁盘\na,4,8,100\nb,4,8,100\n"))
    assert [one.kind for one in found.facts] == [ServiceKind.VM] * 2
    assert {"kind.assumed", "state.assumed", "unit.assumed"} <= notes(reading).keys()
    assert {one.params["columns"] for one in reading.notes if one.code == "unit.assumed"} == {"内存", "磁盘"}


def test_a_deleted_machine_may_have_no_size(tmp_path: Path) -> None:
    found, reading = listed(text(tmp_path, "编号,核数,内存(GB),状态\na,0,0,已删除\n"))
    assert (len(found.facts), reading.refused) == (1, 0)
