"""Where there is much to choose from one types: what was typed means one, or is asked about; ids are what programs and links send."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from sqlalchemy import select

from console.choices import MOST, departments, matching
from quota.actors import Role, steward
from quota.db import Book
from quota.directory import Department, System, subtree
from tests.console.test_api import program, scopes  # noqa: F401 - fixtures

TWICE = "市档案馆"


@pytest.fixture
def large(house: Book) -> Book:
    """The city with as many departments more as are not listed any more. Their codes are numbers, as other departments' ids are;
    two have one name."""
    with house.transaction(steward()) as tx:
        tx.add_all(Department(code=str(one), name=f"第{one:03}街道办事处") for one in range(1, MOST + 10))
        tx.add_all(Department(code=code, name=TWICE) for code in ("DAG-1", "DAG-2"))
    return house


def id_of(book: Book, code: str) -> int:
    with book.reading() as tx:
        return tx.scalars(select(Department.id).where(Department.code == code)).one()


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("A01", "A01"),
        (" a01 ", "A01"),
        ("市教育局", "A01"),
        ("市教育局（A01）", "A01"),
        ("市教育局 (A01)", "A01"),
        ("市教育局(A01)", "A01"),
        ("3", "3"),
        ("dag-2", "DAG-2"),
        (f"{TWICE}（DAG-1）", "DAG-1"),
    ],
)
def test_it_means_the_one_whose_code_or_name_it_is(large: Book, app: Any, typed: str, code: str) -> None:
    with app.test_request_context("/"), large.reading() as tx:
        assert matching.found(tx, departments(), typed).code == code


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (TWICE, f"{TWICE}（DAG-1）、{TWICE}（DAG-2）"),
        ("市教育", "相近的有：市教育局（A01）"),
        ("教育委员会", "相近的有：市教育局（A01）"),
        ("%", "请填写编码，或完整的名称"),
        ("A_1", "没有“A_1”。相近的有：市教育局（A01）"),
        ("x" * 100_000, "请填写编码，或完整的名称"),
        ("市教育局（A02）", "相近的有："),
    ],
)
def test_what_means_none_or_several_is_asked_about(large: Book, app: Any, typed: str, said: str) -> None:
    with app.test_request_context("/"), large.reading() as tx:
        with pytest.raises(matching.Unclear) as unclear:
            matching.found(tx, departments(), typed)
        assert said in str(unclear.value)


def shown(page: str, name: str) -> str:
    """The tag of a field."""
    found = re.search(rf'<(?:select|input)[^>]* name="{name}"[^>]*>', page)
    assert found, page
    return found[0]


def test_a_form_suggests_and_takes_what_is_typed(large: Book, client_of: Any) -> None:
    chief = client_of(Role.AUTHORITY)
    url = "/departments/new"
    page = chief.get(url).text
    assert 'list="parent-options"' in shown(page, "parent")
    assert page.count("<option") == matching.SUGGESTED
    near = chief.get(url, query_string={"suggest": "parent", "near": "教育"}).get_json()
    assert near == ["市教育局（A01）"]
    first, *rest = chief.get(url, query_string={"suggest": "parent", "near": "6"}).get_json()
    assert first.startswith("第006")  # whose code begins so comes before names that hold it
    assert len(rest) < matching.SUGGESTED
    assert len(chief.get(url, query_string={"suggest": "parent"}).get_json()) == matching.SUGGESTED

    sent = {"code": "A99", "name": "市招生办", "parent": "教育委员会"}
    answer = chief.send(url, sent)
    assert answer.status_code == 422
    assert "没有“教育委员会”。相近的有：市教育局（A01）" in answer.text
    assert 'value="教育委员会"' in shown(answer.text, "parent")
    assert chief.send(url, sent | {"parent": "市教育局（A01）"}).status_code == 302
    assert chief.send(url, sent | {"code": "A98", "parent": ""}).status_code == 302
    with large.reading() as tx:
        above = dict(tx.execute(select(Department.code, Department.parent_id)).all())
    assert (above["A99"], above["A98"]) == (id_of(large, "A01"), None)


def test_an_id_is_not_what_people_type(large: Book, client_of: Any) -> None:
    """Code 5 is another department than the fifth row."""
    chief = client_of(Role.AUTHORITY)
    with large.reading() as tx:
        unused = max(tx.scalars(select(Department.id)))  # no department has this code
    assert id_of(large, "5") != 5
    assert chief.send("/departments/new", {"code": "B", "name": "乙", "parent": "5"}).status_code == 302
    assert chief.send("/departments/new", {"code": "C", "name": "丙", "parent": str(unused)}).status_code == 422
    with large.reading() as tx:
        assert tx.scalars(select(Department.parent_id).where(Department.code == "B")).one() == id_of(large, "5")


def test_what_was_looked_over_is_what_is_done(large: Book, client_of: Any) -> None:
    """The page of the consequences sends along what means the same again."""
    chief = client_of(Role.AUTHORITY)
    one = id_of(large, "7")
    assert id_of(large, str(one)) != one  # another department has as its code what this one has as its id
    url = f"/departments/{id_of(large, 'A02')}/reorganise"
    page = chief.get(url).text
    key = re.search(r'name="key"[^>]*value="([^"]+)"', page)
    assert key
    sent = {"key": key[1], "kind": "parent", "target": "第007街道办事处", "reason": "机构改革方案"}
    page = chief.send(url, sent).text
    again = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page)}
    assert again["target"] == "第007街道办事处（7）"
    assert chief.send(url, again).status_code == 302
    with large.reading() as tx:
        assert tx.scalars(select(Department.parent_id).where(Department.code == "A02")).one() == one


def test_programs_send_ids(large: Book, program: Any) -> None:  # noqa: F811
    chief = program("authority1")
    one = id_of(large, "9")
    answer = chief.post("/departments/new", {"code": "D", "name": "丁", "parent": one})
    assert answer.status_code == 200, answer.text
    with large.reading() as tx:
        assert tx.scalars(select(Department.parent_id).where(Department.code == "D")).one() == one
    assert chief.post("/departments/new", {"code": "E", "name": "戊", "parent": 10**6}).status_code == 422


def test_several_are_typed_one_a_line(large: Book, client_of: Any) -> None:
    chief = client_of(Role.AUTHORITY)
    sent = {"direction": "open", "departments": "A01\n第003街道办事处、 a02\nA01", "reason": "先行试点"}
    page = chief.send("/rollout/decide", sent).text
    assert "市教育局（A01）、第003街道办事处（3）、市水务局（A02）" in page
    answer = chief.send("/rollout/decide", sent | {"departments": "A01\n第00街道\n市水务"})
    assert answer.status_code == 422
    assert "没有“第00街道”" in answer.text
    assert "没有“市水务”。相近的有：市水务局（A02）" in answer.text
    page = chief.get("/rollout/decide", query_string={"departments": id_of(large, "A02")}).text
    assert "市水务局（A02）</textarea>" in page


def test_a_filter_takes_the_id_of_a_link_and_what_is_typed(large: Book, client_of: Any) -> None:
    owners = {code: id_of(large, code) for code in ("A01", "A02")}
    with large.transaction(steward()) as tx:
        tx.add_all(System(code=f"S-{code}", name=f"系统{code}", department_id=one) for code, one in owners.items())
    chief = client_of(Role.AUTHORITY)

    def listed(department: Any) -> tuple[set[str], str]:
        page = chief.get("/systems/", query_string={"department": department}).text
        return set(re.findall(r">(系统A0\d)<", page)), shown(page, "department")

    for said in (owners["A02"], "市水务局", "水务", "A02"):
        rows, field = listed(said)
        assert rows == {"系统A02"}, said
        assert 'value="市水务局（A02）"' in field
    rows, field = listed("没有的单位")
    assert rows == set()
    assert 'value="没有的单位"' in field
    assert listed("")[0] == listed("all")[0] == {"系统A01", "系统A02"}


def test_suggestions_are_those_that_the_field_offers(large: Book, client_of: Any) -> None:
    """A department's clerk is suggested nothing beyond the own tree; few enough, they are a list."""
    clerk = client_of("tenant2")
    page = clerk.get("/systems/").text
    assert shown(page, "department").startswith("<select")
    assert clerk.get("/systems/", query_string={"suggest": "department", "near": "教育"}).get_json() == []
    mine = id_of(large, "A02")
    with large.transaction(steward()) as tx:
        tx.add_all(Department(code=f"Q{one}", name=f"水务所{one}", parent_id=mine) for one in range(MOST + 1))
        assert len(subtree(tx, mine)) > MOST
    assert shown(clerk.get("/systems/").text, "department").startswith("<input")
    assert clerk.get("/systems/", query_string={"suggest": "department", "near": "教育"}).get_json() == []
    assert clerk.get("/systems/", query_string={"suggest": "department", "near": "水务所7"}).get_json() == [
        "水务所7（Q7）"
    ]
    for url in ("/quota/loans/new", "/quota/conversions/new", "/quota/market/new"):
        assert clerk.get(url, query_string={"suggest": "department", "near": "教育"}).get_json() == [], url
    assert clerk.get("/quota/loans/new", query_string={"suggest": "borrower", "near": "教育"}).get_json() == [
        "市教育局（A01）"
    ]
    assert clerk.get("/departments/new", query_string={"suggest": "parent", "near": ""}).status_code == 403


def test_a_small_city_has_lists(client_of: Any) -> None:
    page = client_of(Role.AUTHORITY).get("/departments/new").text
    assert shown(page, "parent").startswith("<select")
