"""规格预设: added by the supervisor, offered on forms, filled in where nothing was typed, ended; and what is refused."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from quota import resource_classes
from quota.actors import Actor, Role, steward
from quota.directory import SizePreset, presets
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.requests.tables import Request
from quota.units import MEMORY, VCPU, ClassCode
from tests.console.test_house import check_page
from tests.journeys.test_request_kinds import filed
from tests.quota.test_resource_classes import add

CHIEF = Actor("authority1", "主", Role.AUTHORITY)


def asked(house, number: int) -> list[tuple[dict[str, int], int]]:
    with house.reading() as tx:
        return [(line.asked, line.quantity) for line in tx.get_one(Request, number).lines]


def test_a_preset_fills_in_what_was_not_typed(house, place, client_of) -> None:
    supervisor, tenant = client_of(Role.SUPERVISOR), client_of(Role.TENANT)
    check_page("/size-presets/new", supervisor.get("/size-presets/new").text)
    assert client_of(Role.TENANT).get("/size-presets/new").status_code == 403
    assert supervisor.send("/size-presets/new", {"name": "空的"}).status_code == 422
    assert supervisor.send("/size-presets/new", {"name": "小型", "amount_vcpu": "-1"}).status_code == 422
    sent = {"name": "小型", "amount_vcpu": "4", "amount_memory": "8"}
    assert 'name="preset"' not in tenant.get(f"/requests/new/create?pool={place.pool}").text
    assert supervisor.send("/size-presets/new", sent).status_code == 302
    assert "已有规格预设" in supervisor.send("/size-presets/new", sent).text
    check_page("/size-presets/", supervisor.get("/size-presets/").text)
    assert "小型" in tenant.get("/size-presets/?export=csv").text

    address = f"/requests/new/create?pool={place.pool}"
    form = tenant.get(address).text
    assert "小型（" in form
    assert filed(tenant, address, preset="99").status_code == 422
    assert filed(tenant, address, preset="1", quantity="2").status_code == 302
    assert asked(house, 1) == [({"vcpu": 4, "memory": 8 * 1024}, 2)]
    assert filed(tenant, address, preset="1", amount_memory="16", amount_block="100").status_code == 302
    assert asked(house, 2) == [({"vcpu": 4, "memory": 16 * 1024, "block": 100}, 1)]
    impact = tenant.send(f"/requests/impact/create?pool={place.pool}", {"preset": "1", "quantity": "2"}).text
    assert "8 vCPU" in impact
    assert filed(tenant, f"/requests/new/quota?pool={place.pool}", preset="1").status_code == 302
    assert asked(house, 3) == [({"vcpu": 4, "memory": 8 * 1024}, 1)]

    machine = place.standing_machine({VCPU: 2, MEMORY: 4 * 1024})
    resize = f"/requests/new/resize?resource={machine}"
    assert filed(tenant, resize, preset="1", item=str(place.small)).status_code == 422, "one or the other"
    assert filed(tenant, resize, preset="1", item="0").status_code == 302
    assert asked(house, 4) == [({"vcpu": 4, "memory": 8 * 1024}, 1)]

    assert supervisor.send("/size-presets/1/end").status_code == 302
    assert "小型（" not in tenant.get(address).text
    assert filed(tenant, address, preset="1").status_code == 422
    assert asked(house, 1) == [({"vcpu": 4, "memory": 8 * 1024}, 2)], "what was asked for stays"
    assert supervisor.send("/size-presets/new", sent).status_code == 302, "the name is free again"


@pytest.mark.parametrize(
    ("name", "amounts", "code"),
    [
        (" ", {VCPU: 1}, "preset.name"),
        ("字" * 49, {VCPU: 1}, "preset.long"),
        ("小", {}, "preset.empty"),
        ("小", {VCPU: 0}, "preset.empty"),
        ("小", {VCPU: -1}, "preset.amount"),
        ("小", {VCPU: 10**13}, "preset.amount"),
        ("小", {VCPU: True}, "preset.amount"),
        ("小", {ClassCode("tea"): 1}, "kind.unknown"),
    ],
)
def test_what_says_nothing_is_no_preset(house, name, amounts, code) -> None:
    with pytest.raises(Invalid) as refused, house.transaction(CHIEF) as tx:
        presets.add(tx, name, amounts)
    assert refused.value.code == code
    with house.reading() as tx:
        assert tx.scalars(select(SizePreset)).all() == []


def test_who_may_and_how_many(house, monkeypatch) -> None:
    with pytest.raises(NotAllowed), house.transaction(Actor("t", "t", Role.TENANT, department_id=1)) as tx:
        presets.add(tx, "小", {VCPU: 1})
    monkeypatch.setattr(presets, "MOST_OPEN", 1)
    with house.transaction(CHIEF) as tx:
        presets.add(tx, "小", {VCPU: 1})
    for name, kind in (("小", Conflict), ("大", Invalid)):
        with pytest.raises(kind), house.transaction(CHIEF) as tx:
            presets.add(tx, name, {VCPU: 2})
    with house.transaction(CHIEF) as tx:
        presets.end(tx, 1)
    for number, kind in ((1, WrongState), (2, NotFound)):
        with pytest.raises(kind), house.transaction(CHIEF) as tx:
            presets.end(tx, number)


def test_a_preset_of_a_class_that_has_ended_can_still_be_ended(house, client_of) -> None:
    code = ClassCode("fileshare")
    with house.transaction(steward()) as tx:
        row = add(tx)
    with house.transaction(CHIEF) as tx:
        presets.add(tx, "文件", {code: 1})
    with house.transaction(steward()) as tx:
        resource_classes.end(tx, resource_classes.resource_class(tx, row.id), "不再提供")
    with house.reading() as tx:
        assert presets.offered(tx) == []
    supervisor = client_of(Role.SUPERVISOR)
    assert "停用：文件" in supervisor.get("/size-presets/").text
    assert supervisor.send("/size-presets/1/end").status_code == 302
    assert "停用：文件" not in supervisor.get("/size-presets/").text
