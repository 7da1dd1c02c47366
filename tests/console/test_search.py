"""The search box: paged, by kind, exported and for programs, each visitor's own."""

from __future__ import annotations

import csv
import io

import pytest
from sqlalchemy import select

from console.api import TokenKind, tokens
from quota.actors import Actor, Role, steward
from quota.directory import Department, Person, departments


@pytest.fixture
def systems(house):
    """Sixty systems of each of the city's two departments."""
    with house.transaction(steward()) as tx:
        for department in tx.scalars(select(Department)).all():
            for number in range(60):
                departments.enter(
                    tx, f"{department.code}-{number:03d}", department.id, {"name": f"{department.name}审批{number}"}
                )


def test_pages_of_what_is_found(client_of, systems):
    visit = client_of(Role.SUPERVISOR)
    first = visit.get("/search?q=审批")
    assert first.status_code == 200
    assert "共 120 条" in first.text
    assert first.text.count('data-label="类别"') == 50
    assert "市水务局审批59" in first.text
    last = visit.get("/search?q=审批&page=3").text
    assert last.count('data-label="类别"') == 20
    assert "/search?q=%E5%AE%A1%E6%89%B9&amp;page=2" in last
    one = visit.get("/search?q=市水务局&kind=department")
    assert "共 1 条" in one.text
    assert "审批" not in one.text
    assert "没有找到“审计批”" in visit.get("/search?q=审计批").text
    assert "输入要找的内容" in visit.get("/search").text
    assert visit.get("/search?q=" + "长" * 5000).status_code == 200


def test_the_only_one_of_that_name_is_gone_to(client_of, systems):
    visit = client_of(Role.SUPERVISOR)
    answer = visit.get("/search?q=市水务局审批42")
    assert answer.status_code == 302
    assert visit.get(answer.location).text.count("市水务局审批42") > 0
    assert visit.get("/search?q=水务局审批42").status_code == 200


def test_a_department_finds_its_own(client_of, systems):
    tenant = client_of(Role.TENANT)
    assert "共 60 条" in tenant.get("/search?q=审批").text
    assert "没有找到“市水务局”" in tenant.get("/search?q=市水务局").text
    for role in (Role.PROVIDER, Role.SYSADMIN):
        assert "没有找到“审批”" in client_of(role).get("/search?q=审批").text
    everybodys = client_of(Role.SYSADMIN).get("/search?q=supervisor").text
    assert "其他" in everybodys
    assert "supervisor1" in everybodys


def test_an_export_has_all_of_it(client_of, systems):
    answer = client_of(Role.TENANT).get("/search?q=审批&export=csv")
    rows = list(csv.reader(io.StringIO(answer.get_data().decode("utf-8-sig"))))
    assert rows[0] == ["名称", "类别", "说明", "状态"]
    assert len(rows) == 61


def test_programs_search_too(app, house, systems):
    with house.reading() as tx:
        person = tx.scalars(select(Person).where(Person.login == "tenant1")).one()
    with house.transaction(Actor("tenant1", person.name, Role.TENANT, person.department_id)) as tx:
        person = tx.get_one(Person, person.id)
        _row, secret = tokens.make(tx, person, "test", ["resources:read"], tokens.DAYS[0], TokenKind.PERSONAL)
    client, head = app.test_client(), {"Authorization": f"Bearer {secret}"}
    answer = client.get("/api/v1/search?q=审批 59&size=5", headers=head)
    assert answer.status_code == 200, answer.text
    told = answer.get_json()
    assert told["total"] == 1
    (item,) = told["items"]
    assert (item["title"], item["kind"], item["state"]) == ("市教育局审批59", "system", None)
    its_own = item["links"]["title"]
    assert client.get(f"/api/v1{its_own}", headers=head).get_json()["name"] == "市教育局审批59"
    assert client.get("/api/v1/search?q=审批&kind=people", headers=head).status_code == 422
    assert client.get("/api/v1/search?q=", headers=head).get_json()["total"] == 0
