"""A clean-up campaign over HTTP: begun for a scope, answered on the departments' own page, summed up, exempted from, ended."""

from __future__ import annotations

import re

import pytest

from metering.judging import policies
from quota.actors import Role
from quota.actors import steward as system
from quota.inventory import Resource
from quota.ledger import entries
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.city import GB
from tests.console.test_house import check_page

SHAPE = Amount({VCPU: 4, MEMORY: 8 * GB})


@pytest.fixture
def machines(place) -> dict[str, int]:
    """Three machines of the first department, counted; one of the second."""
    made = {}
    with place.book.transaction(system()) as tx:
        policies.seed(tx)
        entries.use(tx, place.pool, place.department, (SHAPE * 3).of_arch(Arch.AARCH64), key="use")
        for name, department in (("a", "first"), ("b", "first"), ("c", "first"), ("d", "second")):
            row = Resource(
                pool_id=place.pool, external_id=name, name=name, kind="vm", arch="aarch64", state="running", basis="adopted",
                amounts=SHAPE.to_json(), booked=SHAPE.to_json(), department_id=getattr(place, department), tags={},
                first_seen_at=tx.now, protected=False,
            )  # fmt: skip
            tx.add(row)
            tx.flush()
            made[name] = row.id
    return made


def test_a_campaign_from_its_scope_to_its_sums(client_of, place, machines) -> None:
    steward, tenant = client_of(Role.SUPERVISOR), client_of(Role.TENANT)
    page = steward.get("/campaigns/new").text
    check_page("/campaigns/new", page)
    assert "将向 2 个单位征询 4 个资源" in page
    key = re.search(r'name="key"[^>]*value="(\w+)"', page).group(1)
    body = {"key": key, "name": "年末清理", "services": ["vm"], "due_on": "2026-06-20", "text": "逐台核实"}
    looked = steward.send("/campaigns/new", {**body, "departments": [str(place.second)], "step": "look"}).text
    assert "将向 1 个单位征询 1 个资源" in looked
    assert steward.send("/campaigns/new", {**body, "name": "", "step": "start"}).status_code == 422
    assert steward.send("/campaigns/new", {**body, "due_on": "2026-05-01", "step": "start"}).status_code == 422
    begun = steward.send("/campaigns/new", {**body, "step": "start"})
    assert begun.status_code == 302
    assert steward.send("/campaigns/new", {**body, "step": "start"}).location == begun.location, "a form sent twice"
    where = begun.location
    check_page("/campaigns/", steward.get("/campaigns/").text)

    assert "待答复的征询" in tenant.get("/").text
    (letter,) = set(re.findall(r'href="(/inquiries/\d+)"', tenant.get("/inquiries/").text))
    asked = tenant.get(letter).text
    check_page(letter, asked)
    assert "年末清理" in asked
    assert "CPU 均值" in asked
    ids = dict(zip("abc", re.findall(r'name="id" value="(\d+)"', asked), strict=True))
    keep = {"answer": "keep", "reason": "重要活动保障期间值守使用", "category": "key_period", "until": "2026-07-31"}
    assert tenant.send(letter, {**keep, "id": ids["a"], "until": ""}).status_code == 422
    assert tenant.send(letter, {**keep, "id": ids["a"]}).status_code == 302
    assert tenant.send(letter, {"answer": "give_back", "reason": "业务下线", "id": ids["b"]}).status_code == 302
    filed = re.search(r'href="(/requests/\d+)"', tenant.get(f"{letter}?answer=all").text).group(1)
    assert "业务下线" in tenant.get(filed).text
    assert "保留" in tenant.get(f"/resources/{machines['a']}").text

    shown = steward.get(where).text
    check_page(where, shown)
    results = steward.get(f"{where}/items").text
    check_page(f"{where}/items", results)
    assert filed in results
    assert "a" in steward.get(f"{where}/items?export=csv").text
    sheet = steward.get(f"{where}?export=csv").text
    assert "市教育局,待答复,3,1,1,0,0,1" in sheet.replace("inquiry_open", "待答复")
    no = steward.send(f"{where}/exempt", {"id": ids["b"]})
    assert no.status_code == 302, no.text
    assert "没有按类别申请保留" in steward.get(no.location).text
    assert steward.send(f"{where}/exempt", {"id": ids["a"]}).status_code == 302
    assert "重要活动保障" in steward.get("/exemptions/").text
    assert client_of(Role.AUDITOR).get(where).status_code == 200
    assert client_of(Role.AUDITOR).send(f"{where}/exempt", {"id": ids["a"]}).status_code == 403
    assert tenant.get(where).status_code == 403
    generation = re.search(r'name="generation" value="(\d+)"', shown).group(1)
    assert steward.send(f"{where}/close", {"generation": "99"}).status_code == 409
    assert steward.send(f"{where}/close", {"generation": generation}).status_code == 302
    assert "已结束" in steward.get(where).text
    assert tenant.send(letter, {"answer": "keep", "reason": "要", "every": "y"}).status_code == 200, "it asks no more"
