"""Reports as files and pages: the same bytes in another process and from a restored backup, and nothing of others."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import docx
import pytest
import typst
from click.testing import CliRunner
from openpyxl import load_workbook
from sqlalchemy import select

from console import founding, reports
from console.cli.commands import main
from console.reports import archives, conduct_sections, contents, fonts, pdf
from console.reports.documents import Document, NumberFormat, ReportColumn, Table, write
from console.reports.inputs import Inputs
from console.settings import Settings
from console.worklist import Worklist
from metering.reports import ReportEdition, ScopeKind, editions, periods
from quota.actors import Role, steward
from quota.db import Book
from quota.directory import departments
from tests import books
from tests.city import City
from tests.metering.test_reports import APRIL, LATER, fill, forget
from tests.patience import PATIENCE

ZONE = ZoneInfo("Asia/Shanghai")
FORMATS = "pdf,docx,xlsx,html"
HOSTILE = '=1+1 <script>alert(1)</script> #let $x$ *粗* "引" \\ 单位'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house whose April is over; one of its departments has a name that means something to every format."""
    home = tmp_path_factory.mktemp("reports") / "data"
    founding.found(Settings(data=home), demo=False)
    book = Book(Settings(data=home).database_url)
    fill(book, home, second=HOSTILE)
    book.dispose()
    return home


def report(data: Path, *words: str, code: int = 0) -> str:
    answer = CliRunner().invoke(main, ["report", *map(str, words), "--data", str(data)])
    assert answer.exit_code == code, answer.output
    return str(answer.output)


def made(data: Path, folder: Path, scope: str = "city", *more: str) -> dict[str, bytes]:
    words = ("make", "--month", "2026-04", "--for", scope, "--format", FORMATS, "--out", str(folder), *more)
    assert report(data, *words)
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(folder.iterdir())}


def test_four_files_from_the_command_line_again_byte_for_byte_in_another_process(data, tmp_path):
    first = made(data, tmp_path / "one")
    assert [name.rpartition(".")[2] for name in first] == ["docx", "html", "pdf", "xlsx"]
    # Another process, in another zone, with other hashes; what happened meanwhile is not in it.
    book = Book(Settings(data=data).database_url)
    with book.transaction(steward()) as tx:
        departments.register(tx, "late", "后来的单位")
    book.dispose()
    words = ["report", "make", "--month", "2026-04", "--format", FORMATS, "--out", tmp_path / "two", "--data", data]
    environment = {**os.environ, "TZ": "America/New_York", "PYTHONHASHSEED": "7", "LANG": "C"}
    subprocess.run([sys.executable, "-m", "console.cli", *words], env=environment, check=True, timeout=PATIENCE)
    assert files(tmp_path / "two") == first


def test_no_file_says_when_it_was_written(data, tmp_path):
    found = made(data, tmp_path / "out")
    for name, content in found.items():
        if name.endswith(("docx", "xlsx")):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                assert {entry.date_time for entry in archive.infolist()} == {archives.EPOCH}
                core = archive.read("docProps/core.xml").decode()
                assert core.count("2026-04-30T00:00:00Z") == 2
        if name.endswith("pdf"):
            assert b"CreationDate(D:20260430000000Z)" in content


def test_the_same_from_a_restored_backup_where_only_the_book_has_it(data, tmp_path):
    first = made(data, tmp_path / "one")
    kept, new = str(tmp_path / "kept"), tmp_path / "new"
    for words in (["backup", kept, "--data", str(data)], ["restore", kept, "--data", str(new)]):
        answer = CliRunner().invoke(main, words)
        assert answer.exit_code == 0, answer.output
    shutil.rmtree(tmp_path / "one")
    assert made(new, tmp_path / "two") == first
    # And where the book has it not, nor the lake its days any more: by the moment that is printed on it.
    (page,) = (one.decode() for name, one in first.items() if name.endswith("html"))
    (known,) = re.findall(r"资料截止</th><td>([^<]+)</td>", page)
    book = Book(Settings(data=new).database_url)
    forget(book)
    book.dispose()
    for folder in ("days", "daily"):
        shutil.rmtree(new / "lake" / folder)
    assert made(new, tmp_path / "three", "city", "--known-until", f"{known.replace(' ', 'T')}+0800") == first


def test_every_format_takes_any_name_as_a_name(data, tmp_path):
    found = made(data, tmp_path / "out")
    book = load_workbook(io.BytesIO(found["report-city-2026-04-1.xlsx"]))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    named = [cell for cell in cells if cell.value == HOSTILE]
    assert named
    assert {cell.data_type for cell in named} == {"s"}
    figures = [cell for cell in cells if cell.data_type == "n"]
    assert len(figures) > 30
    page = found["report-city-2026-04-1.html"].decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    word = docx.Document(io.BytesIO(found["report-city-2026-04-1.docx"]))
    assert any(HOSTILE in cell.text for table in word.tables for row in table.rows for cell in row.cells)
    assert word.paragraphs[0].text.endswith("政务云运营月报")
    assert found["report-city-2026-04-1.pdf"].startswith(b"%PDF-1.7")
    assert found["report-city-2026-04-1.pdf"].count(b"/FontFile2") == 2  # regular and bold, embedded


@pytest.mark.parametrize(("letters", "pages"), [(20, 1), (3000, 5)], ids=["a-page-holds-it", "higher-than-a-page"])
def test_a_short_table_that_no_page_holds_goes_on_overleaf(letters, pages):
    """Eight rows of 3,000 letters are some five pages; kept together they would be printed over the first one's end."""
    rows = [[f"第{n}行", "测" * letters] for n in range(8)]
    table = Table("长文", [ReportColumn("行"), ReportColumn("内容")], rows)
    files = pdf._files(Document("报告", "", [], [table], "2026-06-30", "", "zh"), "")
    found = typst.compile({"main": pdf.TEMPLATE.read_bytes(), **files}, format="png", ppi=8.0, **pdf._settings())
    assert (len(found) if isinstance(found, list) else 1) >= pages
    assert isinstance(found, list) == (pages > 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--month", "2026-13"), 1, "report.period"),
        (("--month", "2026Q2"), 2, "a month is written"),
        ((), 2, "--period"),
        (("--period", "2099"), 1, "report.not_over"),
        (("--month", "2026-04", "--format", "pdf,odt"), 1, "report.format"),
        (("--month", "2026-04", "--format", ","), 1, "report.format"),
        (("--month", "2026-04", "--for", "department:nobody"), 1, "report.whose"),
        (("--month", "2026-04", "--edition", "9"), 1, "report.no_edition"),
        (("--month", "2026-04", "--edition", "1", "--anew"), 2, "--edition"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_and_nothing_written(data, tmp_path, words, code, said):
    assert said in report(data, "make", *words, "--out", str(tmp_path / "out"), code=code)
    assert not (tmp_path / "out").exists()


def test_an_edition_is_written_by_its_number_and_listed(data, tmp_path):
    made(data, tmp_path / "one")
    report(data, "make", "--month", "2026-04", "--edition", "1", "--format", "html", "--out", str(tmp_path / "two"))
    (name,) = files(tmp_path / "two")
    assert files(tmp_path / "two")[name] == files(tmp_path / "one")[name]
    rows = json.loads(report(data, "list", "--json"))["editions"]
    assert ("2026-04", "city", 1) in {(one["period"], one["scope"], one["edition"]) for one in rows}
    quarter = report(data, "make", "--period", "2026-03-15..2026-04-14", "--for", "provider:jia", "--format", "html", "--json",
                     "--out", str(tmp_path / "three"))  # fmt: skip
    assert json.loads(quarter)["files"] == [
        str(tmp_path / "three" / "report-provider-jia-2026-03-15_2026-04-14-1.html")
    ]


# --- the document --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    home = tmp_path_factory.mktemp("document")
    book = Book(books.sqlite(home / "book.db"))
    yield fill(book, home)
    book.dispose()


def document(city: City, edition: ReportEdition) -> Any:
    with city.book.reading() as tx:
        return reports.document(tx, tx.get_one(ReportEdition, edition.id), ZONE)


def words(of: Any) -> str:
    return " ".join(str(getattr(one, "text", "")) for one in of.blocks)


def test_its_sentences_are_made_from_its_figures(works):
    told = document(works, editions.make(works.works, "city", APRIL, actor=steward("test")))
    assert "期末在册资源 2 个，其中云主机与裸金属 2 台" in words(told)
    assert "已证实费用 318.89 元" in words(told)
    assert "没有把它们当作零" in words(told)
    tables = {one.title: one for one in told.tables}
    assert ["vCPU", "vCPU", 6, 6, 0, None] in [list(row) for row in tables["规模与变化"].rows]
    assert [one.text for one in told.blocks if getattr(one, "level", 2) == 1][:2] == ["一、概述", "二、规模与变化"]


def test_orders_to_rectify_stand_with_the_companies_and_editions_of_before_have_none() -> None:
    row = {"code": "ZG-000001", "provider": "甲云", "about": "登录缓慢", "due": "2026-05-08"}
    rows = [{**row, "stands": "proven", "in_time": True}, {**row, "stands": "refused", "in_time": False}]
    of = {"classes": [], "cards": [], "incidents": {"levels": [], "list": []}}

    def told(**more: Any) -> list[Any]:
        return list(conduct_sections.providers(Inputs({**of, **more}, lambda text, **_told: text, ZONE)))

    assert told() == []
    assert [list(one)[4:] for one in told(rectifications=rows)[1].rows] == [["待复核", "是"], ["已退回", "否"]]


def test_another_edition_says_what_changed_and_why(works):
    editions.make(works.works, "city", APRIL, actor=steward("test"))
    works.clock.now = LATER
    works.report("web", range(700, 720), cpu=80.0)
    works.make()
    second = editions.make(works.works, "city", APRIL, actor=steward("test"), anew=True, reason="补采样本")
    told = document(works, second)
    assert "本版更正第 1 版，原因：补采样本。" in words(told)
    changed = next(one for one in told.tables if one.title == "更正明细")
    assert ["费用", "2026-04", "proven"] in [list(row[:3]) for row in changed.rows]


def test_without_fonts_nothing_is_drawn_and_it_is_said_why(works, monkeypatch, tmp_path):
    monkeypatch.setattr(fonts, "__file__", str(tmp_path / "a" / "b" / "fonts.py"))
    told = document(works, editions.make(works.works, "city", APRIL, actor=steward("test")))
    with pytest.raises(RuntimeError, match="no font at"):
        reports.drawn(told, ["pdf"])


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        (NumberFormat.COUNT, 12345, "12,345"), (NumberFormat.QUANTITY, 12.0, "12"), (NumberFormat.QUANTITY, 1.25, "1.2"), (NumberFormat.PERCENT, 7, "7.0"),
        (NumberFormat.MONEY, 1234.5, "1,234.50"), (NumberFormat.TEXT, "x", "x"), (NumberFormat.COUNT, None, "—"), (NumberFormat.MONEY, "不评", "不评"),
    ],
)  # fmt: skip
def test_values_are_written_as_people_read_them(figure, value, text):
    assert write(figure, value) == text


def test_sheets_have_names_that_sheets_may_have():
    made_of = contents.Document(
        "标题", "2026年4月", [], [Table(name, [ReportColumn("a")], [["1"]]) for name in ("a/b", "A?B", "x" * 40, "x" * 40)], "2026-04-30"
    )  # fmt: skip
    names = load_workbook(io.BytesIO(reports.drawn(made_of, ["xlsx"])["xlsx"])).sheetnames
    assert len({one.casefold() for one in names}) == 5
    assert max(map(len, names)) <= 31


# --- by the clock --------------------------------------------------------------------------------------------------


def test_the_job_makes_what_is_missing_once(works):
    works.clock.now = datetime(2026, 7, 9, 2, tzinfo=UTC)
    listed = Worklist(works.works, Settings(data=works.home))
    said = listed.reports()
    assert [(one.code, one.figures["period"], one.figures["n"]) for one in said] == [
        ("reported", "2026-06", 5), ("reported", "2026Q2", 5), ("reported", "2026H1", 5),
    ]  # fmt: skip
    with works.book.reading() as tx:
        whose = {(one.scope, one.name) for one in tx.scalars(select(ReportEdition).where(ReportEdition.last_day == date(2026, 6, 30)))}  # fmt: skip
    assert whose == {
        ("city", ""),
        ("department", "d1"),
        ("department", "d2"),
        ("provider", "jia云"),
        ("provider", "yi云"),
    }
    assert listed.reports() == []


# --- pages ---------------------------------------------------------------------------------------------------------


def test_pages_make_one_show_it_and_give_its_files(client_of, house, settings, clock, city):
    clock.now = datetime(2026, 7, 3, 2, tzinfo=UTC)
    authority = client_of(Role.AUTHORITY)
    assert "还没有报告" in authority.get("/reports/editions/").get_data(as_text=True)
    for form, status in (
        ({"scope": "city", "code": "", "period": "2026-06"}, 302),
        ({"scope": "department", "code": "A01", "period": "2026-06"}, 302),
        ({"scope": "provider", "code": "jia", "period": "2026Q2"}, 302),
        ({"scope": "department", "code": "", "period": "2026-06"}, 422),
        ({"scope": "city", "code": "A01", "period": "2026-06"}, 422),
        ({"scope": "system", "code": "none", "period": "2026-06"}, 422),
        ({"scope": "city", "code": "", "period": "2026-07"}, 422),
        ({"scope": "city", "code": "", "period": "下月"}, 422),
        ({"scope": "planet", "code": "", "period": "2026-06"}, 422),
    ):
        assert authority.send("/reports/editions/new", form).status_code == status, form
    with house.reading() as tx:
        whole, mine, company = (
            editions.numbered(tx, scope, periods.period(code), 1).id
            for scope, code in (("city", "2026-06"), ("department:A01", "2026-06"), ("provider:jia", "2026Q2"))
        )
    page = authority.get(f"/reports/editions/{whole}").get_data(as_text=True)
    assert "运营月报" in page
    assert "报告期末台账中没有资源。" in page
    for ending, kind in reports.MIME.items():
        answer = authority.get(f"/reports/editions/{whole}/file.{ending}")
        assert (answer.status_code, answer.mimetype) == (200, kind.partition(";")[0])
        assert answer.data == authority.get(f"/reports/editions/{whole}/file.{ending}").data
    chinese = authority.get(f"/reports/editions/{whole}/file.html").data
    with house.reading() as tx:
        made_of = reports.document(tx, tx.get_one(ReportEdition, whole), settings.zone)
    assert chinese == reports.drawn(made_of, ["html"])["html"], "to the letter as the command line writes it"
    assert_english(authority, f"/reports/editions/{whole}")
    assert authority.get(f"/reports/editions/{whole}/file.html").data == chinese
    seen = {"tenant1": {mine}, "tenant2": set(), "provider1": {company}, "auditor1": {whole, mine, company}}
    for login, ids in seen.items():
        visit = client_of(login)
        for one in (whole, mine, company):
            assert visit.get(f"/reports/editions/{one}").status_code == (200 if one in ids else 404), (login, one)
            assert visit.get(f"/reports/editions/{one}/file.xlsx").status_code == (200 if one in ids else 404)
        assert visit.get("/reports/editions/new").status_code == 403
        assert visit.send(f"/reports/editions/{mine}/anew", {"reason": "x"}).status_code == 403
    assert client_of(Role.SYSADMIN).get("/reports/editions/").status_code == 403


def assert_english(reader: Any, page: str) -> None:
    """Page and files in the language of who reads, each by a name of its own."""
    reader.set_cookie("language", "en")
    assert "What is not known" in reader.get(page).get_data(as_text=True)
    found = {ending: reader.get(f"{page}/file.{ending}") for ending in reports.MIME}
    assert all(one.headers["Content-Disposition"].endswith(f'-en.{ending}"') for ending, one in found.items())
    text = found["html"].get_data(as_text=True)
    assert "<html lang='en'>" in text
    assert "What is not known" in text
    word = docx.Document(io.BytesIO(found["docx"].data))
    assert any("What is not known" in one.text for one in word.paragraphs)
    book = load_workbook(io.BytesIO(found["xlsx"].data))
    headings = " ".join(str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row)
    for said in (text, " ".join(one.text for one in word.paragraphs), headings):
        assert "资料截止" not in said
    assert b"/Lang(en)" in found["pdf"].data
    reader.delete_cookie("language")


def test_another_edition_from_the_page_wants_a_reason_and_something_new(client_of, house, settings, clock, city):
    clock.now = datetime(2026, 7, 3, 2, tzinfo=UTC)
    supervisor = client_of(Role.SUPERVISOR)
    assert supervisor.send("/reports/editions/new", {"scope": "city", "period": "2026-06"}).status_code == 302
    with house.reading() as tx:
        first = editions.numbered(tx, "city", periods.period("2026-06"), 1).id
    assert supervisor.send(f"/reports/editions/{first}/anew", {"reason": ""}).status_code == 422
    answer = supervisor.send(f"/reports/editions/{first}/anew", {"reason": "看看"}, follow_redirects=True)
    assert "没有出新的一版" in answer.get_data(as_text=True)
    with house.reading() as tx:
        assert len(editions.of_report(tx, ScopeKind.CITY, 0, periods.period("2026-06"))) == 1
