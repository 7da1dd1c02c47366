"""The catalogue over HTTP: read by all of the trade; offered, withdrawn and restored by the steward."""

from __future__ import annotations

import pytest

from quota import audit
from quota.actors import Role, steward
from quota.directory import catalog
from quota.directory.catalog import CatalogItem
from quota.units import MEMORY, VCPU, Arch

ITEM = {
    "code": "vm-6c12g",
    "name": "云主机 6C12G",
    "name_en": "VM 6C12G",
    "service": "vm",
    "archs": ["x86_64", "aarch64"],
    "unit": "台·月",
    "delivery_days": "2",
    "vcpu": "6",
    "memory": "12.5",
}


def item_of(house, code):
    with house.reading() as tx:
        return tx.query(CatalogItem).filter_by(code=code).one_or_none()


def test_an_item_is_checked_offered_withdrawn_and_restored(house, client_of):
    steward, clerk = client_of(Role.SUPERVISOR), client_of(Role.TENANT)
    check = steward.send("/catalog/new", ITEM)
    assert check.status_code == 200
    assert "6 vCPU · 12.5 GB 内存" in check.text
    assert item_of(house, "vm-6c12g") is None  # nothing binds before it was confirmed
    back = steward.send("/catalog/new", {**ITEM, "step": "edit"})
    assert 'value="云主机 6C12G"' in back.text
    answer = steward.send("/catalog/new", {**ITEM, "step": "confirm"})
    assert answer.status_code == 302
    found = item_of(house, "vm-6c12g")
    assert found.takes() == {VCPU: 6, MEMORY: 12800}
    assert found.archs == ["x86_64", "aarch64"]

    assert "vm-6c12g" in clerk.get("/catalog/?arch=aarch64").text
    assert "vm-6c12g" not in clerk.get("/catalog/?arch=sw_64").text
    assert "vm-6c12g" in clerk.get("/search?q=6c12g", follow_redirects=True).text

    page = steward.get(f"/catalog/{found.id}/withdraw")
    assert "0 份草稿" in page.text
    assert steward.send(f"/catalog/{found.id}/withdraw", {"reason": " "}).status_code == 422
    assert steward.send(f"/catalog/{found.id}/withdraw", {"reason": "规格停售"}).status_code == 302
    assert steward.send(f"/catalog/{found.id}/withdraw", {"reason": "再来一次"}).status_code == 409
    assert "vm-6c12g" not in clerk.get("/catalog/").text
    assert "vm-6c12g" in clerk.get("/catalog/?state=retired").text
    assert "规格停售" in clerk.get(f"/catalog/{found.id}").text
    assert steward.send(f"/catalog/{found.id}/restore").status_code == 302
    assert item_of(house, "vm-6c12g").active
    with house.reading() as tx:
        assert list(audit.check(tx)) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"code": "有空格"}, "代码由字母、数字"),
        ({"vcpu": "", "memory": ""}, "没有写明占用的资源"),
        ({"vcpu": "1.5"}, "vCPU须为整数个"),
        ({"vcpu": "-1"}, "vcpu-error"),
        ({"archs": []}, "请选择至少一种架构"),
        ({"service": "teleport"}, "service-error"),
        ({"delivery_days": "0"}, "delivery_days-error"),
    ],
)
def test_what_makes_no_sense_is_named(house, client_of, changed, told):
    steward = client_of(Role.AUTHORITY)
    answer = steward.send("/catalog/new", {**ITEM, **changed, "step": "confirm"})
    assert answer.status_code == 422
    assert told in answer.text
    assert item_of(house, ITEM["code"]) is None


def test_a_code_is_given_once(house, client_of):
    with house.transaction(steward()) as tx:
        catalog.offer(tx, ITEM["code"], "旧", "vm", {VCPU: 1}, [Arch.ANY])
    answer = client_of(Role.SUPERVISOR).send("/catalog/new", ITEM)
    assert answer.status_code == 422
    assert "服务目录中已有代码" in answer.text


def test_only_the_steward_keeps_it(house, client_of):
    with house.transaction(steward()) as tx:
        item_id = catalog.offer(tx, "x", "旧", "vm", {VCPU: 1}, [Arch.ANY]).id
    for who in (Role.TENANT, Role.PROVIDER, Role.AUDITOR, Role.SYSADMIN):
        visit = client_of(who)
        assert visit.get("/catalog/new").status_code == 403
        assert visit.send(f"/catalog/{item_id}/withdraw", {"reason": "不要了"}).status_code == 403
        assert visit.send(f"/catalog/{item_id}/restore").status_code == 403
    assert client_of(Role.TENANT).get("/catalog/999").status_code == 404
