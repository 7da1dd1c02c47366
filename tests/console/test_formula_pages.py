"""Formulas over HTTP and from the command line: drafted from a file, every fault shown, past quarters beside what they would
have been, signed by somebody else; a card under the city's rule; nothing of another company's formula for a company."""

from __future__ import annotations

import html
import io
import json
import re
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from openpyxl import load_workbook
from sqlalchemy import select

from console import formula_sheets
from console.cli.commands import main
from console.schema import upgrade
from providers.assessment import SubjectType, bundles, cards, formula, formula_documents, formulas, periods
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import CloudProvider, Person
from quota.errors import Invalid
from tests.console.test_house import check_page

RULES = Path(__file__).parents[1] / "providers" / "formulas"
FILE = RULES / "bands-90-75-60.json"


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def sent(text: str, **more):
    return {"document": text, "effective_from": "2026-07-01", "reason": "某局办法 12 号", **more}


@pytest.fixture
def card(client_of, house, clock) -> str:
    """A card of a past quarter: one event and what the house itself knows."""
    with house.reading() as tx:
        company = tx.scalars(select(CloudProvider.id)).one()
    supervisor = client_of(Role.SUPERVISOR)
    body = {"provider": company, "kind": "event", "happened_on": "2026-06-01", "note": "通报 1 号"}
    assert supervisor.send("/assessment-records/new", body).status_code == 302
    return supervisor.send("/scorecards/new", {"provider": company, "period": "2026-Q2"}).location


def test_a_citys_rule_from_file_to_card(client_of, house, clock, card) -> None:
    """Clause 49: a city's own indicators, weights and deductions, from its file by two people to a card."""
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    assert "系统默认考核公式" in seen(supervisor, "/formulas/")
    assert "availability" in seen(supervisor, "/formulas/drafts/new")
    faulty = json.loads(FILE.read_text())
    faulty["rules"][0]["limits"]["step"] = "0"
    faulty["shares"] = {"month": "0.4"}
    answer = supervisor.send("/formulas/drafts/new", sent(json.dumps(faulty)))
    assert answer.status_code == 422
    assert "rules.1.limits.step" in answer.text
    assert "shares" in answer.text
    assert "某局办法 12 号" in answer.text, "what was typed is kept"
    upload = {**sent(""), "file": (io.BytesIO(FILE.read_bytes()), "rule.json")}
    answer = supervisor.send("/formulas/drafts/new", upload)
    assert answer.status_code == 302
    drafted = answer.location
    page = seen(supervisor, drafted)
    assert "被上级通报" in page
    assert "2026-Q2" in page, "past quarters are scored again"
    assert supervisor.get(f"{drafted}/enact").status_code == 403
    answer = supervisor.get(f"{drafted}/file.json")
    assert (answer.mimetype, answer.json["code"]) == ("application/json", "bands")
    page = seen(chief, f"{drafted}/enact")
    digest = re.search(r'name="digest"[^>]* value="([0-9a-f]+)"', page)[1]
    assert chief.send(f"{drafted}/enact", {"digest": digest, "reason": " "}).status_code == 422
    assert "不是这份草案" in chief.send(f"{drafted}/enact", {"digest": "0" * 64, "reason": "同意"}).text
    signed = chief.send(f"{drafted}/enact", {"digest": digest, "reason": "同意"})
    assert signed.status_code == 302
    page = seen(chief, signed.location)
    assert "付费比例" in page
    assert "合同外服务加分" in page
    clock.advance(days=60)
    supervisor = client_of(Role.SUPERVISOR)
    with house.reading() as tx:
        company = tx.scalars(select(CloudProvider.id)).one()
        month = periods.month_of(tx.now)
    body = {"provider": company, "period": month, "item": "named", "points": "5", "note": "省厅通报"}
    assert "0 至 5 分" in supervisor.send("/assessment-records/by-hand", {**body, "points": "6"}).text
    record = supervisor.send("/assessment-records/by-hand", body).location
    assert "被上级通报" in seen(supervisor, record)
    again = supervisor.send("/scorecards/new", {"provider": company, "period": month}).location
    page = seen(supervisor, again)
    assert "bands-1" in page
    assert "被上级通报" in page
    rows = seen(supervisor, f"{again}/named")
    assert "得分 5" in rows
    proof = supervisor.get(f"{again}/bundle.json")
    assert bundles.faults(proof.data, proof.json["head"]["digest"]) == []
    assert client_of("tenant1").get(f"{again}/bundle.json").status_code == 404, (
        "departments do not see what was not published"
    )
    with house.reading() as tx:
        record = cards.scorecard(tx, int(again.rsplit("/", 1)[1]))
        assert [mark.mark for mark in record.marks if mark.indicator == "named"] == [-5]
        assert list(cards.check(tx)) == []
    assert seen(client_of(Role.PROVIDER), "/formulas/").count("bands-1") >= 1
    seen(supervisor, f"/scorecards/year/{company}/2026")
    seen(supervisor, "/scorecards/formula/" + again.rsplit("/", 1)[1])


def test_who_may_what(client_of, house, clock) -> None:
    company, tenant = client_of(Role.PROVIDER), client_of("tenant1")
    assert company.get("/formulas/").status_code == 200
    assert company.get("/formulas/drafts/new").status_code == 403
    assert tenant.get("/formulas/").status_code == 403
    assert company.get("/formulas/99").status_code == 404
    drafted = client_of(Role.SUPERVISOR).send("/formulas/drafts/new", sent(FILE.read_text())).location
    assert company.get(drafted).status_code == 403
    with house.transaction(Actor("second", "副主任", Role.AUTHORITY)) as tx:
        other = CloudProvider(code="other", name="别家云")
        tx.add(other)
        tx.flush()
    raw = {**json.loads(FILE.read_text()), "code": "others", "applies_to": {"provider": "other"}}
    drafted = client_of(Role.SUPERVISOR).send("/formulas/drafts/new", sent(json.dumps(raw))).location
    chief = client_of(Role.AUTHORITY)
    digest = re.search(r'name="digest"[^>]* value="([0-9a-f]+)"', chief.get(f"{drafted}/enact").text)[1]
    version = chief.send(f"{drafted}/enact", {"digest": digest, "reason": "同意"}).location
    assert company.get(version).status_code == 404
    assert "others-1" not in company.get("/formulas/").text


@pytest.mark.parametrize("file", sorted(RULES.glob("*.json")), ids=lambda file: file.stem)
def test_a_formula_is_the_same_as_a_workbook_and_the_command_line_checks_both_without_a_book(file, tmp_path) -> None:
    document = formula_documents.read(formula_documents.parsed(file.read_bytes()))
    sheets = tmp_path / "formula.xlsx"
    sheets.write_bytes(formula_sheets.workbook(document))
    for each in (file, sheets):
        done = CliRunner().invoke(main, ["formula", "check", str(each)])
        assert (done.exit_code, done.output) == (0, "0 problems\n")
    assert formula_documents.read(formula_sheets.parsed(sheets.read_bytes()).raw) == document


@pytest.mark.parametrize("kind", SubjectType)
def test_our_defaults_are_the_same_as_a_workbook(kind) -> None:
    written = formula_documents.FormulaDocument("city_x", "默认", "", "", "", None, formula.default(kind)).to_json()
    document = formula_documents.read(written)
    assert formula_documents.read(formula_sheets.parsed(formula_sheets.workbook(document)).raw) == document


def test_what_is_wrong_in_a_workbook_is_told_by_sheet_row_and_column() -> None:
    document = formula_documents.read(formula_documents.parsed((RULES / "typed-measures.json").read_bytes()))
    book = load_workbook(io.BytesIO(formula_sheets.workbook(document)))
    changes = {
        ("指标", "B2"): -20, ("指标", "C3"): "随便算", ("指标", "E6"): "weather", ("指标", "A10"): "delivery",
        ("评分标准", "C2"): "满", ("评分标准", "A4"): "nobody", ("等次", "B3"): 95, ("公式", "A2"): None,
        ("时限", "C2"): None, ("后果", "A2"): "excellent",
    }  # fmt: skip
    for (sheet, cell), value in changes.items():
        book[sheet][cell] = value
    sent = io.BytesIO()
    book.save(sent)
    found = formula_sheets.parsed(sent.getvalue())
    told = {(one.sheet, one.row, one.column) for one in formula_sheets.faults_of(found)}
    assert {("指标", 2, "权重"), ("指标", 3, "算法"), ("指标", 10, "指标代码"), ("评分标准", 4, "指标代码"), ("公式", 2, "代码"),
            ("后果", 2, "几次")} <= told  # fmt: skip
    for (sheet, cell), value in {
        ("指标", "B2"): 20,
        ("指标", "C3"): None,
        ("指标", "A10"): "quick",
        ("公式", "A2"): "typed",
    }.items():
        book[sheet][cell] = value
    book["后果"].delete_rows(2)
    book["评分标准"].delete_rows(4)
    sent = io.BytesIO()
    book.save(sent)
    told = {
        (one.sheet, one.row, one.column) for one in formula_sheets.faults_of(formula_sheets.parsed(sent.getvalue()))
    }
    assert ("评分标准", 2, "值") in told, "shapes are told before what they mean"
    for nothing in (b"PK", b"PK\x03\x04" + b"0" * 400_000):
        with pytest.raises(Invalid):
            formula_sheets.parsed(nothing)


FIELD = re.compile(r'<input class="form-control" id="([a-z]+-[0-9]+-[a-z_]+)"[^>]* value="([^"]*)"')
SELECT = re.compile(r'<select class="form-select" id="([a-z]+-[0-9]+-[a-z_]+)".*?</select>', re.S)


def fields(page: str) -> dict[str, str]:
    """What stands in the rows of the form."""
    found = {name: html.unescape(value) for name, value in FIELD.findall(page)}
    for one in SELECT.finditer(page):
        now = re.search(r'<option value="([^"]*)" selected', one[0])
        found[one[1]] = html.unescape(now[1]) if now else ""
    return found


def test_a_formula_is_edited_row_by_row_and_as_a_workbook(client_of, house, clock) -> None:
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    with house.transaction(steward("init")) as tx:
        document = formula_documents.read(formula_documents.parsed((RULES / "typed-measures.json").read_bytes()))
        version = formulas.enact(tx, document, effective_from=date(2026, 1, 1), reason="办法").id
    upload = {**sent(""), "file": (io.BytesIO(supervisor.get(f"/formulas/{version}/file.xlsx").data), "rule.xlsx")}
    same = supervisor.send("/formulas/drafts/new", upload)
    assert same.status_code == 302, same.text
    assert "没有差别" in seen(supervisor, same.location)
    page = seen(supervisor, "/formulas/drafts/edit?code=typed")
    rows = fields(page)
    assert (rows["items-2-indicator"], rows["items-2-measure"], rows["items-2-evidence"]) == (
        "late_orders",
        "按逾期天数扣分",
        "delivery",
    )
    body = {"effective_from": "2026-07-01", "reason": "办法 12 号"}
    address = "/formulas/drafts/edit?code=typed"
    more = supervisor.send(address, {**rows, "more": "items"})
    assert (more.status_code, "items-17-weight" in fields(more.text)) == (200, True)
    assert supervisor.send(address, {**rows, **body, "reason": ""}).status_code == 422
    faulty = supervisor.send(
        address, {**rows, **body, "items-1-weight": "-1", "numbers-1-value": "一", "items-4-measure": "胡算"}
    )
    assert faulty.status_code == 422
    assert {"items-1-weight", "items-4-measure"} <= set(
        re.findall(r'name="([a-z0-9_-]+)"[^>]* aria-invalid', faulty.text)
    )
    assert fields(faulty.text)["numbers-1-value"] == "一", "what was typed is kept"
    first = {name.rpartition("-")[2]: value for name, value in rows.items() if name.startswith("numbers-1-")}
    spare = max(int(name.split("-")[1]) for name in rows if name.startswith("numbers-"))
    again = {f"numbers-{spare}-{key}": value for key, value in first.items()} | {f"numbers-{spare}-value": "0.5"}
    twice = supervisor.send(address, {**rows, **body, **again, "vetoes-8-code": "mine", "vetoes-8-label": "甲", "vetoes-9-code": "mine",
                                      "vetoes-9-label": "乙"})  # fmt: skip
    assert twice.status_code == 422, "neither of the two holds silently"
    assert len(re.findall("与第 [0-9]+ 行重复</p>", twice.text)) == 2
    late = next(name for name, value in rows.items() if name.startswith("numbers") and value == "每天扣")
    changed = {**rows, late.replace("-name", "-value"): "2", "items-10-drop": "1", "items-9-weight": "6"}
    dropped = [name for name, value in rows.items() if name.startswith("numbers") and value == "quiet"]
    changed |= {name.replace("-indicator", "-drop"): "1" for name in dropped}
    made = supervisor.send(address, {**changed, **body})
    assert made.status_code == 302, re.findall("gj-error[^>]*>(?:<svg.*?</svg>)?([^<]*)", made.text)
    raw = supervisor.get(f"{made.location}/file.json").json
    by = formula_documents.read(raw).formula
    assert [one.indicator for one in by.criteria] == [one.indicator for one in document.formula.criteria][:-1]
    assert (by.criterion("late_orders").limits, by.criterion("overruns").weight) == ({"per_day": 2, "free": 1}, 6)
    assert by.grades == document.formula.grades
    assert client_of(Role.PROVIDER).get(address).status_code == 403
    assert chief.get("/formulas/drafts/new.xlsx?subject=steward").data[:2] == b"PK"


def test_the_command_line_names_places_and_drafts(tmp_path) -> None:
    run, home = CliRunner(), tmp_path / "house"
    home.mkdir()
    data = ["--data", str(home)]
    book = Book(f"sqlite:///{home / 'book.db'}")
    upgrade.migrate(book)
    with book.transaction(steward("init")) as tx:
        tx.add(Person(login="sup", name="监督员", role=Role.SUPERVISOR.value, password_hash=""))
    bad = tmp_path / "bad.json"
    bad.write_text(FILE.read_text().replace('"30"', '"-30"'))
    done = run.invoke(main, ["formula", "check", str(bad), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.output)["problems"][0]["where"] == "rules.1.weight"
    done = run.invoke(main, ["formula", "rescore", str(FILE), "--json", *data])
    assert json.loads(done.output) == {"cards": []}
    args = ["formula", "draft", str(FILE), "--reason", "办法", "--from", "2131-01-01", *data]
    assert "draft 1 of bands" in run.invoke(main, [*args, "--by", "sup"]).output
    assert run.invoke(main, [*args, "--by", "nobody"]).exit_code == 1
    assert run.invoke(main, ["formula", "export", *data]).exit_code == 1, "nothing is enacted here"
    with book.transaction(steward("init")) as tx:
        formulas.seed(tx)
    out = tmp_path / "city.json"
    assert run.invoke(main, ["formula", "export", "-o", str(out), *data]).exit_code == 0
    assert run.invoke(main, ["formula", "check", str(out)]).exit_code == 0
    assert "city-1" in run.invoke(main, ["formula", "list", *data]).output
    book.dispose()


def test_a_consequence_is_told_to_all_whom_it_concerns(client_of, house, clock) -> None:
    document = formula_documents.read(formula_documents.parsed((RULES / "three-failing-months.json").read_bytes()))
    with house.transaction(steward("init")) as tx:
        formulas.enact(tx, document, effective_from=date(2026, 1, 1), reason="办法")
        company = tx.scalars(select(CloudProvider.id)).one()
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    body = {"provider": company, "kind": "leak", "happened_on": "2026-05-20", "note": "通报 2 号"}
    assert supervisor.send("/assessment-records/new", body).status_code == 302
    card = supervisor.send("/scorecards/new", {"provider": company, "period": "2026-05"}).location
    assert "约谈负责人" not in seen(chief, "/")
    assert chief.send(f"{card}/publish", {"generation": 1}).status_code == 302
    for client in (chief, supervisor, client_of(Role.PROVIDER)):
        page = seen(client, "/")
        assert "一年内 1 月为“不合格”或更差：约谈负责人" in page
        assert f'href="{card}"' in page
        assert "约谈负责人" in seen(client, card)
    assert "约谈负责人" not in seen(client_of("tenant1"), card)
