"""Whose a cloud's projects are, over HTTP; what the cloud says of its capacity, beside what was typed."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from console.choices import fields
from providers import observation
from providers.base import CloudCapacity, Inventory, ProjectFact, ProjectQuota, ResourceFact, ResourceState, ServiceKind
from providers.observation import cloud_figures, quota_drifts
from quota.actors import Role
from quota.actors import steward as steward_
from quota.directory import Department, Pool
from quota.inventory import CloudProject, Resource
from quota.units import MEMORY, VCPU, Arch
from tests.console.test_house import check_page
from tests.journeys.test_providers import pool  # noqa: F401 - a pool that nobody's program acts on


@pytest.fixture
def told(house, pool) -> int:  # noqa: F811
    """Two projects with a machine each, of which a service was down and of which one is of another architecture."""
    sizes = {VCPU: 4, MEMORY: 8192}
    with house.transaction(steward_()) as tx:
        one = tx.get_one(Pool, pool)
        facts = [
            ResourceFact(f"s{n}", f"server {n}", ServiceKind.VM, arch, sizes, ResourceState.CHANGING,
                         cloud_state="VERIFY_RESIZE", project=project)
            for n, arch, project in (
                (1, Arch(one.arch), ProjectFact("f00", "A01-finance", "Default")), (2, Arch.SW_64, ProjectFact("h00", "x")),
            )
        ]  # fmt: skip
        observation.observe(tx, one, Inventory(tx.now, facts, short={ServiceKind.VOLUME: "block_storage: 503"}))
        quota = ProjectQuota(ProjectFact("f00"), {VCPU: 96, MEMORY: None}, {VCPU: 4, MEMORY: 8192}, {VCPU: 80})
        cloud_figures.enter_quotas(tx, pool, [quota], tx.now)
        cloud_figures.enter_capacity(tx, pool, [CloudCapacity(VCPU, 640, 40, Decimal(4), 4)], tx.now)
    return pool


def test_projects_go_to_departments(client_of, house, told) -> None:
    steward = client_of(Role.SUPERVISOR)
    where = f"/pools/{told}/projects"
    assert where in steward.get(f"/pools/{told}").text
    page = steward.get(where).text
    check_page(where, page)
    for said in ("A01-finance", "（“a01”）", "96 vCPU", "统一限额 80 vCPU", "不限"):
        assert said in page
    (mine,) = re.findall(r'name="id" value="(\d+)"', steward.get(f"{where}?q=finance").text)
    (other,) = re.findall(r'name="id" value="(\d+)"', steward.get(f"{where}?q=h00").text)
    form: dict[str, Any] = {"department": "0", "reason": "按立项文件"}
    assert steward.send(f"{where}/assign", form).status_code == 422, "nothing is ticked"
    assert "没有建议" in steward.send(f"{where}/assign", {**form, "id": [mine, other]}).text
    assert steward.send(f"{where}/assign", {**form, "id": [mine], "reason": ""}).status_code == 422
    assert steward.send(f"{where}/assign", {**form, "id": [mine]}).status_code == 302
    with house.reading() as tx:
        bureau = tx.scalars(select(Department.id).where(Department.code == "A01")).one()
        owners = dict(tx.execute(select(Resource.external_id, Resource.department_id)).all())
        number = tx.scalars(select(Resource.id).where(Resource.external_id == "s1")).one()
    assert owners == {"s1": bureau, "s2": None}
    assert "A01-finance" not in steward.get(f"{where}?owned=nobody").text
    page = steward.get(f"/resources/{number}").text
    assert "VERIFY_RESIZE" in page
    assert "A01-finance" in page
    assert "变更中" in page


def test_among_many_departments_one_is_typed(client_of, house, told, monkeypatch) -> None:
    monkeypatch.setattr(fields, "MOST", 1)
    steward, where = client_of(Role.SUPERVISOR), f"/pools/{told}/projects"
    page = steward.get(where).text
    check_page(where, page)
    assert "<datalist" in page
    assert steward.get(f"{where}?suggest=department&near=水").json == ["市水务局（A02）"]
    (other,) = re.findall(r'name="id" value="(\d+)"', steward.get(f"{where}?q=h00").text)
    sent = {"id": [other], "reason": "按立项文件"}
    assert "没有“水务”" in steward.send(f"{where}/assign", {**sent, "department": "水务"}).text
    assert steward.send(f"{where}/assign", {**sent, "department": "a02"}).status_code == 302
    with house.reading() as tx:
        assert tx.scalars(select(Department.code).join(Resource).where(Resource.external_id == "s2")).one() == "A02"
    assert steward.send(f"{where}/assign", {**sent, "department": "不属于任何单位"}).status_code == 302
    with house.reading() as tx:
        assert tx.scalars(select(CloudProject.department_id).where(CloudProject.external_id == "h00")).one() is None


def test_who_may_look_may_not_decide(client_of, told) -> None:
    auditor = client_of(Role.AUDITOR)
    page = auditor.get(f"/pools/{told}/projects").text
    assert "A01-finance" in page
    assert 'name="department"' not in page
    assert auditor.send(f"/pools/{told}/projects/assign", {"department": "0", "reason": "x"}).status_code == 403
    assert client_of(Role.TENANT).get(f"/pools/{told}/projects").status_code == 403


def test_what_was_not_told_and_what_is_elsewhere_stands_on_the_pages(client_of, told) -> None:
    steward = client_of(Role.SUPERVISOR)
    listing = re.findall(r'href="(/inventories/\d+)"', steward.get("/inventories/").text)[0]
    page = steward.get(listing).text
    check_page(listing, page)
    assert "block_storage: 503" in page
    assert "云硬盘" in page
    drift = steward.get("/inventories/drift?what=misplaced").text
    assert "server 2" in drift
    assert "server 1" not in drift


def test_capacity_is_taken_over_from_what_the_cloud_says(client_of, told) -> None:
    chief = client_of(Role.AUTHORITY)
    page = chief.get(f"/pools/{told}").text
    check_page(f"/pools/{told}", page)
    assert "2400 vCPU" in page.replace(",", "")
    form = chief.get(f"/pools/{told}/capacity?kind=vcpu&told=1").text
    assert re.search(r'name="total"[^>]*value="640"', form)
    assert re.search(r'name="reserved"[^>]*value="40"', form)
    assert re.search(r'name="ratio"[^>]*value="4', form)


def test_quotas_that_differ_from_the_book_are_listed_with_their_next_step(client_of, house, told) -> None:
    with house.transaction(steward_("job:collect")) as tx:
        observation.quota_drifts.look(tx, told, tx.now)
    chief = client_of(Role.SUPERVISOR)
    where = f"/pools/{told}/quota-drift"
    assert where in chief.get(f"/pools/{told}").text
    page = chief.get(where).text
    check_page(where, page)
    for said in ("无主项目有配额", "云上没有", "96 vCPU", "不限", "确定云侧项目属于哪个使用单位"):
        assert said in page
    assert "无主项目有配额" in chief.get(f"{where}?drift=orphaned&export=csv").text
    assert "请云服务商在云上设置" not in chief.get(f"{where}?drift=orphaned&export=csv").text
    assert client_of(Role.TENANT).get(where).status_code == 403


def test_a_quota_is_set_by_an_order_that_shows_first_what_it_sets(client_of, house, told) -> None:
    steward, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    with house.reading() as tx:
        bureau = tx.scalars(select(Department.id).where(Department.code == "A01")).one()
    where = f"/pools/{told}/quota-drift/{bureau}/set"
    assert "没有云侧项目" in steward.get(where).text
    with house.transaction(steward_()) as tx:
        tx.scalars(select(CloudProject).where(CloudProject.external_id == "f00")).one().department_id = bureau
        quota_drifts.look(tx, told, tx.now)
    drifts = steward.get(f"/pools/{told}/quota-drift").text
    check_page(f"/pools/{told}/quota-drift", drifts)
    assert where in drifts
    assert where not in chief.get(f"/pools/{told}/quota-drift").text
    assert chief.get(where).status_code == 403
    page = steward.get(where).text
    check_page(where, page)
    for said in ("A01-finance", "96 vCPU", "不限", "派工单"):
        assert said in page
    (key,) = re.findall(r'name="key"[^>]*value="([^"]+)"', page)
    assert steward.send(where, {"key": key, "reason": ""}).status_code == 422
    sent = steward.send(where, {"key": key, "reason": "按账面收回"})
    assert sent.status_code == 302
    assert steward.send(where, {"key": key, "reason": "按账面收回"}).location == sent.location, "twice is once"
    order = steward.get(sent.location).text
    check_page(sent.location, order)
    assert "设置云上配额" in order
    assert "配额设为" in order
    again = steward.send(where, {"key": "other", "reason": "再来"})
    assert again.status_code == 422
    assert "正在设置" in again.text
    assert steward.get(f"/pools/{told}/quota-drift/999/set").status_code == 404


def test_what_was_taken_over_from_a_cloud_agrees_with_it(client_of, house, told) -> None:
    """1,562 GB and some, of which half a one is reserved: typed are whole ones, and then nothing is left to be taken over."""
    with house.transaction(steward_()) as tx:
        cloud_figures.enter_capacity(tx, told, [CloudCapacity(MEMORY, 1_600_307, 512, Decimal("1.5"), 4)], tx.now)
    chief = client_of(Role.AUTHORITY)
    where = f"/pools/{told}/capacity?kind=memory&told=1"
    assert where.replace("&", "&amp;") in chief.get(f"/pools/{told}").text
    form = chief.get(where).text
    typed = {
        name: re.search(rf'name="{name}"[^>]*value="([^"]*)"', form)[1]
        for name in ("key", "total", "reserved", "ratio")
    }
    assert (typed["total"], typed["reserved"]) == ("1562", "1")
    said = {**typed, "kind": "memory", "reason": "与云平台所报一致", "confirm": "1"}
    assert chief.send(f"/pools/{told}/capacity", said).status_code == 302
    page = chief.get(f"/pools/{told}").text
    assert where.replace("&", "&amp;") not in page
    assert chief.send(f"/pools/{told}/capacity", {**said, "key": "other", "total": "1563"}).status_code == 302
    assert where.replace("&", "&amp;") in chief.get(f"/pools/{told}").text
