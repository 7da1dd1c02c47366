"""A class of resources that nobody wrote code for: added on its page, offered, given to a pool, asked for, granted, shown,
exported, and ended."""

from __future__ import annotations

import pytest

from quota.actors import Role
from quota.ledger import entries
from quota.ledger.tables import Holder, Side
from quota.units import CLASSES, VCPU, Arch, ClassCode, Commodity
from tests.journeys.test_requests import decide, handed_in, place_line, state

FILES = ClassCode("fileshare")
NEW = {"code": "fileshare", "name": "文件存储", "name_en": "File storage", "group": "storage", "unit": "GB",
       "base_unit": "MB", "factor": "1000", "by_arch": "", "resizable": "y", "recyclable": "y"}  # fmt: skip
ITEM = {"code": "nas-100", "name": "文件存储 100 GB", "service": "object_store", "archs": ["any"], "unit": "GB·月",
        "delivery_days": "2", "fileshare": "12.5"}  # fmt: skip
WHERE = Commodity(FILES, Arch.ANY)


@pytest.fixture
def keeper(client_of):
    return client_of(Role.SUPERVISOR)


def held(place, holder, department=None):
    with place.book.reading() as tx:
        assert list(entries.check(tx)) == []
        return entries.balance(tx, Side(place.pool, WHERE, holder, department))


def equip(client_of, place, total, key="k", **more):
    return client_of(Role.AUTHORITY).send(
        f"/pools/{place.pool}/capacity",
        {"kind": FILES, "total": str(total), "reserved": "0", "ratio": "1", "reason": "扩容", "key": key, "confirm": "1"} | more,
    )  # fmt: skip


def test_a_twelfth_class_goes_all_the_way(client_of, place, keeper):
    assert keeper.send("/classes/new", NEW).status_code == 302
    assert "文件存储" in client_of(Role.TENANT).get("/classes/").text

    check = keeper.send("/catalog/new", ITEM)
    assert "12.5 GB 文件存储" in check.text
    assert keeper.send("/catalog/new", ITEM | {"step": "confirm"}).status_code == 302

    assert equip(client_of, place, 5000).status_code == 302
    assert held(place, Holder.FREE) == 5_000_000

    tenant = client_of(Role.TENANT)
    number = handed_in(tenant, place, kind="quota", amount_fileshare="300")
    assert held(place, Holder.HELD, place.department) == 300_000
    assert "300 GB" in tenant.get(f"/requests/{number}").text
    line = place_line(place, number)
    assert f'name="amount-{line}-fileshare"' in client_of("supervisor1").get(f"/decisions/{number}").text
    for clerk in ("supervisor1", "supervisor2", Role.AUTHORITY):
        if state(place, number) in ("done", "approved"):
            break
        assert decide(client_of(clerk), number).status_code == 302
    assert held(place, Holder.GRANTED, place.department) == 300_000

    board = keeper.get("/quota/?kind=fileshare").text
    assert "300" in board
    assert "GB" in board
    assert "fileshare" in keeper.get("/quota/").text  # the filter offers it
    export = keeper.get("/quota/?kind=fileshare&export=csv").text
    assert "300" in export
    accounts = keeper.get("/quota/accounts/?kind=fileshare").text
    assert "文件存储" in accounts
    gauge = 'guanjia_ledger_balance{arch="any",holder="granted",kind="fileshare"'
    assert gauge in keeper.get("/metrics").text

    keeper.set_cookie("language", "en")
    assert "File storage" in keeper.get("/quota/accounts/?kind=fileshare").text


def test_what_has_ended_is_counted_on_and_asked_for_no_more(client_of, place, keeper):
    keeper.send("/classes/new", NEW)
    equip(client_of, place, 50)
    row = len(CLASSES)
    assert keeper.send(f"/classes/{row}/end", {"reason": " "}).status_code == 422
    assert keeper.send(f"/classes/{row}/end", {"reason": "改用对象存储"}).status_code == 302
    assert keeper.send(f"/classes/{row}/end", {"reason": "再来一次"}).status_code == 409
    page = keeper.get(f"/classes/{row}").text
    assert "已停用" in page
    assert "改用对象存储" in page
    assert 'name="fileshare"' not in keeper.get("/catalog/new").text
    assert "amount_fileshare" not in client_of(Role.TENANT).get(f"/requests/new/quota?pool={place.pool}").text
    assert equip(client_of, place, 60, key="more").status_code == 422
    assert held(place, Holder.FREE) == 50_000
    assert "文件存储" in keeper.get(f"/quota/accounts/?kind={FILES}").text
    assert equip(client_of, place, 0, key="less").status_code == 302  # what was built is taken down
    assert held(place, Holder.FREE) == 0


def test_a_class_is_checked_field_by_field(client_of, place, keeper):
    wrong = {
        "code": "File Share", "name": "", "name_en": "x" * 49, "group": "no", "unit": "", "base_unit": "y" * 17, "factor": "0",
    }  # fmt: skip
    for field, value in wrong.items():
        page = keeper.send("/classes/new", NEW | {field: value})
        assert page.status_code == 422
        assert f'id="{field}-error"' in page.text, field
    assert 'id="base_unit-error"' in keeper.send("/classes/new", NEW | {"factor": "1"}).text
    assert 'id="code-error"' in keeper.send("/classes/new", NEW | {"code": VCPU}).text
    assert 'id="name-error"' in keeper.send("/classes/new", NEW | {"name": "块存储"}).text
    assert FILES not in CLASSES
    for role in (Role.TENANT, Role.PROVIDER, Role.AUDITOR):
        assert client_of(role).get("/classes/").status_code == 200
        assert client_of(role).get("/classes/new").status_code == 403
    assert keeper.send("/classes/1/end", {"reason": "不要了"}).status_code == 422
