"""A class of resources that nobody wrote code for: added on its page, offered, given to a pool, asked for, granted, shown,
exported, and ended."""

from __future__ import annotations

import re
from decimal import Decimal
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from providers import orders
from providers.base import CloudCapacity
from providers.observation import cloud_figures
from quota.actors import Role, steward
from quota.directory import CatalogItem, Pool
from quota.errors import Invalid
from quota.ledger import entries
from quota.ledger.tables import Holder, Side
from quota.requests import Request, RequestLine, kind_of
from quota.requests.tasks import check_parts
from quota.resource_classes import ResourceClassRow
from quota.units import CLASSES, VCPU, Arch, ClassCode, Commodity
from tests.console.test_house import check_page
from tests.journeys.test_clauses import enacted, fact, rule, submitted
from tests.journeys.test_requests import decide, filed, handed_in, place_line, state

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


def equip(client_of, place, total, key="k", kind=FILES, **more):
    return client_of(Role.AUTHORITY).send(
        f"/pools/{place.pool}/capacity",
        {"kind": kind, "total": str(total), "reserved": "0", "ratio": "1", "reason": "扩容", "key": key, "confirm": "1"} | more,
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


def test_39_and_41_a_service_of_no_kind_of_its_own_is_offered_priced_asked_for_and_ordered(
    client_of, place, keeper, clock
):
    """A VPN line: its class, item, capacity and price by pages alone; priced from its day, by the item; quota at its limit and beyond."""
    vpn = {**NEW, "code": "vpnline", "name": "VPN专线", "name_en": "VPN line", "group": "network", "unit": "条",
           "base_unit": "条", "factor": "1", "resizable": "", "recyclable": ""}  # fmt: skip
    assert keeper.send("/classes/new", vpn).status_code == 302
    item = {"code": "ipsec-vpn", "name": "IPsec VPN", "service": "other", "archs": ["any"], "unit": "个·月",
            "delivery_days": "3", "vpnline": "1", "step": "confirm"}  # fmt: skip
    offered = keeper.send("/catalog/new", item)
    assert offered.status_code == 302
    number = int(offered.location.rsplit("/", 1)[1])
    assert "其他服务" in keeper.get(offered.location).text
    assert equip(client_of, place, 10, kind="vpnline").status_code == 302
    with place.book.reading() as tx:
        today = tx.now.date().isoformat()
    price = {"kind": "vpnline", "arch": "", "provider": "0", "item": str(number), "price": "300", "per": "month",
             "stopped_share": "100", "effective_from": today, "label": "", "reason": "财政部门核定", "sure": "1"}  # fmt: skip
    assert client_of(Role.AUTHORITY).send("/reports/tariffs/new", price).status_code == 302

    def granted(asked):
        for clerk in ("supervisor1", "supervisor2", "authority1"):
            if state(place, asked) in ("done", "approved"):
                break
            assert decide(client_of(clerk), asked).status_code == 302

    granted(handed_in(client_of(Role.TENANT), place, kind="quota", amount_vpnline="2"))
    # A rule may speak of the city's own class, from its day on, once two have signed it.
    at_most = fact("adds_vpnline", ">", 2)
    enacted(client_of, clock, rule("lines", at_most, outcome="refuse", reason="每次最多申请两条专线"))
    line = {"lines-0-item": str(number), "lines-0-name": "专线", "lines-0-quantity": "2"}
    assert "最多申请两条专线" in submitted(client_of(Role.TENANT), place, **{**line, "lines-0-quantity": "3"})[1]
    asked, refused = submitted(client_of(Role.TENANT), place, **line)
    assert not refused
    with place.book.reading() as tx:
        facts = tx.get(Request, asked).facts
    assert (facts["month_yuan"], facts["adds_vpnline"], facts["over_quota"], facts["services"]) == (
        600,
        2,
        False,
        ["other"],
    )
    granted(asked)
    beyond = handed_in(client_of(Role.TENANT), place, **{**line, "lines-0-quantity": "1"})
    with place.book.transaction(steward()) as tx:
        assert tx.get(Request, beyond).facts["over_quota"]
        placed = orders.place_for_request(tx, tx.get(Request, asked))
        assert [(one.kind, dict(one.amounts)) for one in placed] == [("other", {"vpnline": 1})] * 2
        assert list(entries.check(tx)) == []


def test_38_bare_metal_of_another_architecture_with_parts_to_add(client_of, place, keeper, settings):
    """What is added is an item of its own, beside the machine in one request; each on its architecture, at the price of both."""
    chief = client_of(Role.AUTHORITY)
    (settings.data / "mips").mkdir(parents=True)
    pool = {"code": "mips", "name": "MIPS裸金属池", "provider": _first_company(place), "arch": "mips64", "zone": "政务外网区",
            "adapter": "files", "shown": "files", "option_folder": "{home}/mips"}  # fmt: skip
    made = chief.send("/pools/new", pool)
    assert made.status_code == 302, re.findall(r"gj-error.{0,300}", made.text, re.S)
    with place.book.reading() as tx:
        mips = tx.scalars(select(Pool).where(Pool.code == "mips")).one().id
    for kind, total in (("vcpu", 128), ("memory", 2048), ("accelerator", 4)):
        grown = {
            "kind": kind,
            "total": str(total),
            "reserved": "0",
            "ratio": "1",
            "reason": "扩容",
            "key": kind,
            "confirm": "1",
        }
        assert chief.send(f"/pools/{mips}/capacity", grown).status_code == 302
    numbers = []
    for code, says in (
        ("bm-mips", {"service": "bare_metal", "vcpu": "32", "memory": "128"}),
        ("bm-ram", {"service": "bare_metal", "memory": "128"}),
    ):
        item = {
            "code": code,
            "name": code,
            "archs": ["mips64"],
            "unit": "台·月",
            "delivery_days": "5",
            "step": "confirm",
        }
        if code == "bm-ram":
            says |= {"fits": "bm-mips"}
            assert "没有代码为 bm-none" in keeper.send("/catalog/new", {**item, **says, "fits": "bm-none"}).text
        offered = keeper.send("/catalog/new", {**item, **says})
        numbers.append(int(offered.location.rsplit("/", 1)[1]))
    both = {f"lines-{at}-{name}": value for at, number in enumerate(numbers)
            for name, value in (("item", str(number)), ("quantity", "1"), ("name", f"裸机{at}"))}  # fmt: skip
    tenant = client_of(Role.TENANT)
    here = tenant.get(f"/requests/new/create?pool={mips}").text
    assert "bm-mips" in here
    assert "bm-mips" not in tenant.get(f"/requests/new/create?pool={place.pool}").text  # of another architecture
    asked = handed_in(tenant, SimpleNamespace(pool=mips), **both)
    with place.book.reading() as tx:
        facts = tx.get(Request, asked).facts
    assert (facts["arch"], facts["vcpu"], facts["memory_gb"], facts["services"]) == ("mips64", 32, 256, ["bare_metal"])
    ram, machine = (
        {"lines-0-item": str(numbers[1]), "lines-0-quantity": "1"},
        {"lines-1-item": str(numbers[0]), "lines-1-quantity": "1"},
    )
    for wrong in (ram, {**ram, **machine}):  # a part alone, and one before its machine
        assert "须写在所配条目（bm-mips）的下一行" in refused_in(tenant, mips, **wrong)
    assert "须是第 1 行数量 2 的整倍数" in refused_in(
        tenant, mips, **{**both, "lines-0-quantity": "2", "lines-1-quantity": "3"}
    )
    two = handed_in(tenant, SimpleNamespace(pool=mips), **{**both, "lines-0-quantity": "2", "lines-1-quantity": "4"})
    with place.book.reading() as tx:
        request = tx.get(Request, two)
        tasks = [one.part_of for one in kind_of(request).tasks(request)]
        assert tasks == ["", "", *["bm-mips 裸机0-01 1/2"] * 2, *["bm-mips 裸机0-02 2/2"] * 2]


def test_parts_go_with_what_is_approved_of_their_machines():
    """A part beside another part of the same machine; fewer machines, fewer parts, or none of them."""
    machine, part = (
        CatalogItem(code="bm", name="裸金属", amounts={}),
        CatalogItem(code="ram", name="内存", amounts={}, fits=["bm"]),
    )
    rows = [
        RequestLine(position=at, item=item, name="", service="bare_metal", quantity=2, asked={}, current={})
        for at, item in enumerate((machine, part, part), 1)
    ]
    request = Request(kind="create", lines=rows)
    check_parts(request)
    assert [one.part_of for one in kind_of(request).tasks(request)] == ["", "", *["bm 1/2", "bm 2/2"] * 2]
    rows[0].approved_quantity = 1
    check_parts(request)
    assert [one.part_of for one in kind_of(request).tasks(request)] == ["", *["bm 1/1"] * 4]
    rows[0].approved_quantity = 0
    with pytest.raises(Invalid, match="须是第 1 行数量 0 的整倍数"):
        check_parts(request)
    rows[1].approved_quantity = rows[2].approved_quantity = 0
    check_parts(request)
    check_parts(Request(kind="migrate", resource_id=7, lines=[RequestLine(position=1, item=part, quantity=1)]))
    rows[0].approved_quantity, rows[1].approved_quantity = 2, 200
    part.amounts = {"block": 1}  # an amount in one order, for both
    assert [one.part_of for one in kind_of(request).tasks(request)] == ["", "", "bm 1-2/2"]


def refused_in(client, pool, **fields):
    """What handing in such a request is refused with."""
    number = filed(client, SimpleNamespace(pool=pool), **fields)
    return re.sub(r"<[^>]+>", "", client.get(f"/requests/{number}/check").text)


def _first_company(place):
    with place.book.reading() as tx:
        return str(tx.get(Pool, place.pool).provider_id)


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


def test_cards_are_cut_into_slices_on_the_pools_page(client_of, place, keeper):
    chief, page = client_of(Role.AUTHORITY), f"/pools/{place.pool}/slice"
    assert "切分加速卡" not in chief.get(f"/pools/{place.pool}").text
    new = {
        "code": "mig1g",
        "name": "MIG 1g",
        "name_en": "MIG 1g",
        "group": "ai",
        "unit": "片",
        "factor": "1",
        "recyclable": "y",
    }
    for wrong in ({"whole": "accelerator"}, {"whole": "accelerator", "parts": "1"}, {"whole": "vcpu", "parts": "7"}):
        assert keeper.send("/classes/new", new | wrong).status_code == 422
    assert keeper.send("/classes/new", new | {"whole": "accelerator", "parts": "7"}).status_code == 302
    assert "1 片 = 1/7 加速卡" in keeper.get("/classes/").text
    with place.book.reading() as tx:
        number = tx.query(ResourceClassRow).filter_by(code="mig1g").one().id
    told = f"/classes/{number}/profiles"
    check_page("profiles", keeper.get(told).text)
    assert keeper.send(told, {"profiles": "\n".join(f"p{n}" for n in range(51))}).status_code == 422
    assert keeper.send(told, {"profiles": "—"}).status_code == 422
    assert keeper.send("/classes/1/profiles", {"profiles": "x"}).status_code == 422  # no slices
    assert client_of(Role.TENANT).get(told).status_code == 403
    assert keeper.send(told, {"profiles": "1g.10gb\r\n 1g.5gb \n\n1g.10gb"}).status_code == 302
    assert "1g.10gb、1g.5gb" in keeper.get(f"/classes/{number}").text
    assert CLASSES.of_profile("MIG-1g.5gb") == "mig1g"
    assert (
        keeper.send(
            "/classes/new", new | {"code": "dcu", "name": "DCU", "whole": "accelerator", "parts": "4"}
        ).status_code
        == 302
    )
    answer = keeper.send(f"/classes/{number + 1}/profiles", {"profiles": "CUSTOM_MIG_1G_10GB"})
    assert (answer.status_code, "已是“MIG 1g”的切片规格名" in answer.text) == (422, True)
    assert keeper.send(told, {"profiles": "1g.10gb", "named": "0"}).status_code == 409, (
        "two at once: the first is not lost"
    )
    assert 'name="named" type="hidden" value="1"' in keeper.get(told).text
    assert keeper.send(told, {"profiles": "1g.10gb", "named": "1"}).status_code == 302  # said anew: the other is free
    assert CLASSES.of_profile("MIG-1g.5gb") is None
    check_page("slice", chief.get(page).text)
    assert keeper.get(page).status_code == 403
    given = {"kind": "mig1g", "cards": "3", "reason": "推理", "key": "k" * 32}
    assert "不足" in chief.send(page, given | {"cards": "5"}).text
    assert chief.send(page, given).status_code == 302
    pool = chief.get(f"/pools/{place.pool}").text
    assert "加速卡：3 卡切为 MIG 1g 21 片" in pool
    form = chief.send(
        f"/pools/{place.pool}/capacity",
        {
            "kind": "accelerator",
            "total": "4",
            "reserved": "0",
            "ratio": "1",
            "reason": "扩容",
            "key": "e",
            "confirm": "1",
        },
    )
    assert "已有 3 张切分为切片" in form.text
    with place.book.transaction(steward()) as tx:  # the cloud knows of no slices: what is cut is no difference to it
        card = CloudCapacity(ClassCode("accelerator"), 4, 0, Decimal(1), 0)
        cloud_figures.enter_capacity(tx, place.pool, [card], tx.now)
    assert "told=1" not in chief.get(f"/pools/{place.pool}").text
    told = chief.get(f"/pools/{place.pool}/capacity?kind=accelerator&told=1").text
    assert re.search(r'name="reserved"[^>]*value="3"', told), "what is cut stays reserved"
    number = handed_in(client_of(Role.TENANT), place, kind="quota", amount_mig1g="8")
    assert "8 片" in client_of(Role.TENANT).get(f"/requests/{number}").text
    place.prove()
