"""A city out of one workbook: the example whole, again and again; and one in which all kinds of things are wrong."""

from __future__ import annotations

import json
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from openpyxl import Workbook as Sheets
from openpyxl import load_workbook
from sqlalchemy import func, select

from console import founding, workbooks
from console.cli import main
from console.founding import entering, examples, sheets, template
from console.settings import Settings
from quota import audit
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import CatalogItem, CloudProvider, Department, Person, Pool, System, catalog, city
from quota.errors import Invalid
from quota.ledger import entries
from quota.requests import rulebook
from quota.units import EIP, Arch


@pytest.fixture
def home(tmp_path: Path) -> Path:
    founding.found(Settings(data=tmp_path / "home"), demo=False)
    return tmp_path / "home"


@pytest.fixture
def book(home: Path) -> Any:
    opened = Book(Settings(data=home).database_url)
    yield opened
    opened.dispose()


def written(path: Path, rows: dict[str, list[dict[str, Any]]], heads: dict[str, list[str]] | None = None) -> Path:
    """A workbook with these rows: sheet → rows by column."""
    made = Sheets()
    made.remove(made.active)
    for name, those in rows.items():
        sheet = sheets.BY_NAME[name]
        page = made.create_sheet(sheet.title)
        page.append((heads or {}).get(name) or [workbooks.headed(one) for one in sheet.columns])
        for row in those:
            page.append([row.get(one.key) for one in sheet.columns])
    made.save(path)
    return path


def entered(book: Book, path: Path, home: Path, actor: Actor | None = None) -> entering.EntryOutcome:
    return entering.enter(book, workbooks.load(path, sheets.SHEETS), actor or steward("found"), home)


def places(outcome: entering.EntryOutcome) -> list[tuple[str, int, str, str]]:
    return [(one.sheet, one.row, one.column, one.code) for one in outcome.faults]


def test_the_example_is_entered_whole_and_again_changes_nothing(tmp_path: Path, home: Path, book: Book) -> None:
    file = tmp_path / "city.xlsx"
    run = CliRunner()
    assert run.invoke(main, ["found", "template", "-o", str(file)]).exit_code == 0
    assert "示例" in str(load_workbook(file)["说明"]["A6"].value)
    only = run.invoke(main, ["found", str(file), "--check", "--data", str(home)])
    assert (only.exit_code, "only checked" in only.output) == (0, True), only.output
    with book.reading() as tx:
        assert tx.scalar(select(func.count(Person.id))) == 3  # nothing was entered
        before = tx.scalar(select(func.count()).select_from(AuditRecord))
    done = run.invoke(main, ["found", str(file), "--data", str(home), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["added"] == {"公司": 1, "单位": 3, "人员": 7, "信息系统": 2, "资源池": 1, "容量": 3}
    assert len(told["first_passwords"]) == 7
    for one in map(Path, told["first_passwords"]):
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        login, password = one.read_text("utf-8").split()
        assert (one.stem, len(password)) == (login, 14)
        assert password not in done.stdout
    assert (home / "pools" / "gov-x86").is_dir()
    with book.reading() as tx:
        assert city.told(tx)["city"] == "示例市"
        assert tx.scalar(select(func.count(CatalogItem.id))) == len(examples.CATALOGUE)
        assert entries.conserved(tx)
        assert list(audit.check(tx)) == []
        assert tx.scalar(select(func.count()).select_from(AuditRecord)) > before
        assert not any(password in str(one.after) for one in tx.scalars(select(AuditRecord)))
        settled = tx.scalar(select(func.count()).select_from(AuditRecord))
    again = run.invoke(main, ["found", str(file), "--data", str(home), "--json"])
    assert json.loads(again.stdout)["added"] == json.loads(again.stdout)["changed"] == {}
    with book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(AuditRecord)) == settled


def test_a_blank_template_has_every_sheet_and_drop_downs(tmp_path: Path) -> None:
    template.write(tmp_path / "blank.xlsx", blank=True)
    made = load_workbook(tmp_path / "blank.xlsx")
    assert made.sheetnames[:1] + made.sheetnames[1:-1] == ["说明", *(one.title for one in sheets.SHEETS)]
    for one in sheets.SHEETS:
        assert made[one.title].max_row == 1
    rules = made["人员"].data_validations.dataValidation
    assert [str(rule.sqref) for rule in rules] == ["C2:C1000"]
    found = workbooks.load(tmp_path / "blank.xlsx", sheets.SHEETS)
    assert (found.faults, any(found.rows.values())) == ([], False)
    with pytest.raises(Invalid, match="unreadable"):
        workbooks.load(Path(__file__), sheets.SHEETS)


def test_a_later_workbook_adds_and_changes(tmp_path: Path, home: Path, book: Book) -> None:
    template.write(tmp_path / "first.xlsx")
    assert entered(book, tmp_path / "first.xlsx", home).whole
    later = written(tmp_path / "later.xlsx", {
        "city": [{"item": "城市名称", "value": "云川市"}],
        "companies": [{"code": "shili", "name": "示例云", "contract_until": date(2030, 12, 31)}],
        "departments": [{"code": "A01", "name": "市教育局"}, {"code": "A03", "name": "市交通局", "parent": "A00"}],
        "people": [{"login": "jiaotong", "name": "交通", "role": "tenant", "department": "A03", "email": "a@example.com"}],
        "systems": [{"code": "S001", "name": "学籍系统", "department": "A01"}],
        "connections": [{"pool": "gov-x86", "option": "prefix", "value": "x-"}],
        "capacity": [{"pool": "gov-x86", "kind": "vCPU", "total": 600, "reserved": 16}],
        "tariffs": [{"kind": "vCPU", "price": 40.5, "per": "月", "effective_from": date(2027, 1, 1), "label": "示例"}],
        "rules": [{"code": "cards", "name": "加速卡另审", "condition": "accelerator > 0 且 xinchuang = 否",
                   "step": "主管审批", "role": "主管部门", "days": 5, "priority": 60, "effective_from": date(2099, 1, 1)}],
        "policy": [{"parameter": "reply_days", "value": 15, "effective_from": date(2099, 1, 1), "reason": "试行"}],
        "calendar": [{"day": date(2027, 2, 20), "working": "是", "note": "调休"}],
    })  # fmt: skip
    outcome = entered(book, later, home)
    assert places(outcome) == []
    assert outcome.added == {"单位": 1, "人员": 1, "价目": 1, "审批规则": 1, "日历": 1}
    assert outcome.changed == {"城市": 1, "公司": 1, "单位": 1, "信息系统": 1, "连接参数": 1, "容量": 1, "办案参数": 1}
    with book.reading() as tx:
        company = tx.scalars(select(CloudProvider)).one()
        assert (company.name, company.contract_number, company.contract_until) == (
            "示例云", "示例-2026-01", date(2030, 12, 31),
        )  # fmt: skip  # what is left empty stays
        assert tx.scalars(select(Pool)).one().adapter_options == {"folder": "{home}/pools/gov-x86", "prefix": "x-"}
        person = tx.scalars(select(Person).where(Person.login == "jiaotong")).one()
        assert (person.email, person.granted, person.must_change) == ("a@example.com", True, True)
        (rule,) = [one for one in rulebook.enacted(tx) if one.code == "cards"]
        assert rule.condition == {"all": [
            {"fact": "accelerator", "op": ">", "value": 0}, {"fact": "xinchuang", "op": "==", "value": False},
        ]}  # fmt: skip
    assert not entered(book, later, home).alters


def test_on_a_page_rights_wait_for_who_grants_them(tmp_path: Path, home: Path, book: Book) -> None:
    template.write(tmp_path / "first.xlsx")
    outcome = entered(book, tmp_path / "first.xlsx", home, Actor("chief", "主管", Role.AUTHORITY))
    assert places(outcome) == []
    with book.reading() as tx:
        assert set(tx.scalars(select(Person.granted).where(Person.login == "zhuguan"))) == {False}


DAY = date(2026, 3, 1)
SOUND: dict[str, list[dict[str, Any]]] = {
    "city": [{"item": "城市名称", "value": "云川市"}],
    "companies": [{"code": f"c{n}", "name": f"公司{n}", "contract_from": DAY} for n in range(10)],
    "departments": [{"code": f"D{n:03d}", "name": f"单位{n}", "parent": "D000" if n else None} for n in range(100)],
    "people": [
        *({"login": f"t{n}", "name": f"人员{n}", "role": "使用单位", "department": f"D{n % 50:03d}"} for n in range(100)),
        {"login": "chief", "name": "主管", "role": "审计观察员"},
        {"login": "checker", "name": "监督", "role": "运营监督方"},
    ],
    "systems": [{"code": f"S{n:03d}", "name": f"系统{n}", "department": f"D{n % 50:03d}", "mlps_level": 2} for n in range(100)],
    "pools": [
        {"code": f"p{n}", "name": f"池{n}", "provider": f"c{n}", "arch": "x86_64", "zone": "外网", "adapter": "files"}
        for n in range(10)
    ],
    "connections": [{"pool": f"p{n}", "option": "folder", "value": f"{{home}}/p{n}"} for n in range(10)],
    "capacity": [
        {"pool": f"p{n % 10}", "kind": kind, "total": 100, "reserved": 1, "ratio": 1.5}
        for n, kind in enumerate([kind for kind in ("vCPU", "内存", "块存储", "对象存储") for _ in range(10)])
    ],
    "catalogue": [
        {"code": f"i{n}", "name": f"条目{n}", "service": "云主机", "archs": "x86_64", "unit": "台·月", "delivery_days": 2,
         "takes_vcpu": n + 1, "takes_memory": 4}
        for n in range(40)
    ],
    "tariffs": [
        {"kind": "vCPU", "price": 1, "per": "月", "effective_from": date(2026, 1 + n % 12, 1 + n // 12)} for n in range(35)
    ],
    "rules": [
        {"code": f"rule_{n}", "name": f"规则{n}", "condition": f"vcpu > {n}", "step": "主管审批", "role": "主管部门",
         "days": 2, "effective_from": date(2099, 1, 1)}
        for n in range(20)
    ],
    "policy": [{"parameter": "reply_days", "value": 12, "effective_from": date(2099, 1, 1), "reason": "试行"}],
    "calendar": [{"day": date(2027, 1, 1 + n), "working": "是"} for n in range(31)],
}  # fmt: skip
"""Five hundred rows without a mistake but one that only the whole shows: nobody of the authority."""

MISTAKES: list[tuple[str, int, dict[str, Any], list[tuple[str, str]]]] = [
    ("city", 0, {"item": "城市名字"}, [("项目", "cell.choice")]),
    ("companies", 1, {"credit_code": "9111000060003734"}, [("统一社会信用代码", "company.credit_length")]),
    ("companies", 2, {"credit_code": "91110000600037341M"}, [("统一社会信用代码", "company.credit_check")]),
    ("companies", 3, {"credit_code": "A1110000600037341L"}, [("统一社会信用代码", "company.credit_format")]),
    ("companies", 4, {"contract_until": date(2025, 1, 1)}, [("合同截止日", "company.term")]),
    ("companies", 5, {"contacts": "a,b,c,d,e"}, [("联系人", "company.contact_parts")]),
    ("departments", 50, {"name": None}, [("名称", "cell.missing")]),
    ("departments", 51, {"code": "D049"}, [("编码", "row.twice")]),
    ("departments", 52, {"parent": "D053"}, [("上级单位编码", "department.circle")]),
    ("departments", 53, {"parent": "D052"}, [("上级单位编码", "department.circle")]),
    ("departments", 54, {"parent": "X999"}, [("上级单位编码", "ref.unknown")]),
    ("people", 1, {"login": "张三"}, [("登录名", "person.login")]),
    ("people", 2, {"login": "Sysadmin"}, [("角色", "person.differs")]),
    ("people", 3, {"department": None}, [("单位编码", "person.department")]),
    ("people", 4, {"role": "云服务商", "department": None}, [("公司代码", "person.provider")]),
    ("people", 5, {"email": "not an address"}, [("邮箱", "person.email")]),
    ("systems", 1, {"mlps_level": 9}, [("等保级别", "system.level")]),
    ("systems", 2, {"online_on": date(2026, 2, 1), "offline_on": date(2026, 1, 1)}, [("下线日期", "system.dates")]),
    ("systems", 3, {"registered_users": 1, "monthly_active_users": 2}, [("月活跃用户数", "system.users")]),
    ("systems", 4, {"mlps_level": 2.5, "online_on": "去年"}, [("等保级别", "cell.whole"), ("上线日期", "cell.date")]),
    ("pools", 7, {"adapter": "simulated"}, [("适配器", "pool.adapter")]),
    ("pools", 8, {"xinchuang": "也许"}, [("信创", "cell.yes")]),
    ("connections", 9, {"option": "ordner"}, [("参数", "options.unknown")]),
    ("capacity", 3, {"ratio": 0}, [("超分比", "capacity.ratio")]),
    ("capacity", 4, {"reserved": 101}, [("预留", "capacity.bad")]),
    ("capacity", 5, {"total": -1}, [("总量", "cell.range")]),
    ("catalogue", 1, {"code": "带空格 的"}, [("代码", "catalog.code")]),
    ("catalogue", 2, {"takes_vcpu": None, "takes_memory": None}, [("代码", "catalog.empty")]),
    ("catalogue", 3, {"delivery_days": 999}, [("交付工作日", "catalog.delivery_days")]),
    ("tariffs", 1, {"price": "很贵"}, [("单价", "cell.number")]),
    ("tariffs", 3, {"kind": "带宽", "arch": "x86_64"}, [("架构", "tariff.arch")]),
    ("rules", 1, {"condition": "vcpu 很多"}, [("条件", "rules.comparison")]),
    ("rules", 2, {"effective_from": date(2020, 1, 1)}, [("生效日期", "rules.past")]),
    ("policy", 0, {"reason": "很" * 501}, [("理由", "cell.long")]),
    ("calendar", 1, {"day": "1066-10-14"}, [("日期", "cell.date_range")]),
]


def test_five_hundred_rows_with_all_kinds_of_mistakes_are_told_by_their_places(
    tmp_path: Path, home: Path, book: Book
) -> None:
    rows = {name: [dict(row) for row in those] for name, those in SOUND.items()}
    assert sum(map(len, rows.values())) == 500
    expected = []
    for name, at, wrong, told in MISTAKES:
        rows[name][at] |= wrong
        expected += [(sheets.BY_NAME[name].title, at + 2, column, code) for column, code in told]
    expected.append(("人员", 1, "角色", "house.no_authority"))
    file = written(tmp_path / "wrong.xlsx", rows)
    with book.reading() as tx:
        before = [tx.scalar(select(func.count()).select_from(one)) for one in (AuditRecord, Person, Department, Pool)]
    outcome = entered(book, file, home)
    assert sorted(places(outcome)) == sorted(expected)
    assert len(outcome.faults) == 37
    assert len({code for _sheet, _row, _column, code in places(outcome)}) >= 30
    assert {sheet for sheet, *_rest in places(outcome)} == {one.title for one in sheets.SHEETS}
    with book.reading() as tx:
        after = [tx.scalar(select(func.count()).select_from(one)) for one in (AuditRecord, Person, Department, Pool)]
        assert before == after
        assert tx.scalar(select(System.id)) is None
    assert not (home / entering.FIRST_PASSWORDS).exists()
    assert not (home / "p0").exists()
    ended = CliRunner().invoke(main, ["found", str(file), "--data", str(home)])
    assert ended.exit_code == 1
    assert "公司 第 4 行 统一社会信用代码" in ended.stderr


def test_headings_and_sheets_that_are_none_are_named(tmp_path: Path, home: Path, book: Book) -> None:
    file = written(tmp_path / "heads.xlsx", {"departments": [{"code": "A", "name": "甲"}], "calendar": []},
                   {"departments": ["编码*", "名字", "编码"], "calendar": ["日期*"]})  # fmt: skip
    made = load_workbook(file)
    made.create_sheet("价格表")
    made.save(file)
    assert places(entered(book, file, home)) == [
        ("单位", 1, "名字", "column.unknown"), ("单位", 1, "编码", "column.twice"), ("单位", 1, "名称", "column.missing"),
        ("日历", 1, "上班", "column.missing"), ("价格表", 0, "", "sheet.unknown"),
    ]  # fmt: skip


def test_a_cell_that_shows_an_error_or_no_result_is_no_empty_cell(tmp_path: Path, home: Path, book: Book) -> None:
    file = written(tmp_path / "errors.xlsx", {"companies": [{"code": "A", "name": "甲"}, {"code": "B", "name": "乙"}]})
    made = load_workbook(file)
    page = made["公司"]
    heads = [cell.value for cell in page[1]]
    contract, name = heads.index("合同编号") + 1, heads.index("名称*") + 1
    page.cell(2, contract, "#N/A").data_type = "e"
    page.cell(3, name, "=A2&A3")  # saved without its result
    made.save(file)
    assert places(entered(book, file, home)) == [
        ("公司", 2, "合同编号", "cell.error"), ("公司", 3, "名称", "cell.error"),
    ]  # fmt: skip


def test_a_sheet_that_reaches_too_far_is_refused_before_room_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.readers.sheets.MOST_CELLS", 100)
    file = written(tmp_path / "far.xlsx", {"companies": [{"code": f"A{n}", "name": "甲"} for n in range(50)]})
    with pytest.raises(Invalid, match="vast"):
        workbooks.load(file, sheets.SHEETS)


def test_the_ready_catalogue_leaves_what_is_there(book: Book) -> None:
    with book.transaction(steward()) as tx:
        catalog.offer(tx, "eip", "公网地址", "eip", {EIP: 1}, [Arch.ANY])
        assert entering.ready_catalogue(tx) == len(examples.CATALOGUE) - 1
        assert entering.ready_catalogue(tx) == 0
        assert catalog.item(tx, 1).name == "公网地址"
        assert {one.by_amount for one in tx.scalars(select(CatalogItem).where(CatalogItem.code.like("%-1_")))} == {True}


@pytest.mark.parametrize("text", ["vcpu > 1 或 vcpu < 3 且 grows = 是", "vcpu"])
def test_a_condition_that_can_be_read_two_ways_or_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        entering.condition_in(text)


def test_what_begins_as_a_formula_is_a_text(tmp_path: Path) -> None:
    column = workbooks.SheetColumn("name", "名称", workbooks.CellShape.CHOICE, choices={"=1+1": "two"})
    sheet = workbooks.WorkbookSheet("names", "名称表", "=3", (column,))
    file = tmp_path / "names.xlsx"
    workbooks.write(file, ["=2"], [sheet], {"names": [{"name": "=1+1"}]}, batch="=4")
    made = load_workbook(file)
    for page, cell in (("说明", "A1"), ("说明", "B2"), ("说明", "B4"), ("可选项", "A1"), ("名称表", "A2")):
        assert (made[page][cell].data_type, made[page][cell].value[0]) == ("s", "=")
    found = workbooks.load(file, [sheet])
    assert (found.faults, found.batch, found.rows["names"][0].values) == ([], "=4", {"name": "two"})
