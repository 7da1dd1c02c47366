"""迁移 over HTTP: a machine goes to another pool; both are there and counted until its department says where the service runs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from console import worklist
from metering.lake import Lake
from metering.workbench import Workbench
from providers import orders
from providers.orders import OrderState, WorkOrder, migrations
from quota import requests
from quota.actors import Actor, Role, steward
from quota.directory import CatalogItem
from quota.inventory import Inquiry, Resource
from quota.inventory import inquiries as inquiries_of
from quota.ledger import entries
from quota.requests import Request
from quota.units import BLOCK, MEMORY, VCPU, Amount, Arch
from tests.city import GB, Plan, PoolPlan
from tests.city.plans import _all
from tests.console.test_house import check_page
from tests.journeys.test_request_kinds import filed, handed_in
from tests.journeys.test_requests import BASIS, decide, generation, state

SHAPE = Amount({VCPU: 4, MEMORY: 8 * GB})
THERE = PoolPlan(
    "provider", Arch.X86_64, _all(vcpu=100, memory=400 * GB, block=1000), "p2", "互联网区", zone="互联网区"
)
PLAN = {
    "more_window": "2026-06-13 22:00 至次日 02:00", "more_steps": "停写,同步数据,切换域名", "more_fallback": "域名切回旧机",
    "more_side_by_side": "7",
}  # fmt: skip


@pytest.fixture
def moved(place, city, client_of):
    """A standing machine of 4 vCPU in the first pool; a second pool in another zone, of another architecture."""
    place.add(Plan(companies={}, pools={"there": THERE}, departments={}, ruled=False))
    place.pool = place.pools["p1"]
    with place.book.transaction(steward()) as tx:
        entries.use(tx, place.pool, place.department, SHAPE.of_arch(Arch.AARCH64), key="use:1")
    place.old = place.standing_machine(SHAPE, "web-1")
    return place


def asked_for(client_of, place, **other):
    """Files the migration by the pages, has it signed by whom it names, delivered and accepted; its number and the new machine."""
    tenant = client_of(Role.TENANT)
    address = f"/requests/new/migrate?resource={place.old}&pool={place.there}"
    number, done = handed_in(tenant, filed(tenant, address, **PLAN, **other))
    assert done.location.endswith(f"/requests/{number}"), tenant.get(done.location).text
    for login in ("supervisor1", "supervisor2", "authority1"):
        decide(client_of(login), number)
    assert state(place, number) == "approved"
    return number


def delivered(place, city, number, called="vm-new"):
    with place.book.transaction(steward()) as tx:
        (order,) = orders.place_for_request(tx, requests.lock(tx, number))
        made = order.id
    company = Actor("provider1", "商", Role.PROVIDER, provider_id=city.companies["jia"])
    with place.book.transaction(company) as tx:
        order = orders.order(tx, made)
        orders.mark_delivered(tx, made, order.generation, external_id=called, has=order.approved())
        return order.resource_id


def accepted(client_of, number):
    tenant = client_of(Role.TENANT)
    seen = generation(tenant, number, "/acceptance")
    assert tenant.send(f"/requests/{number}/acceptance", {"verdict": "accept", "generation": seen}).status_code == 302


def done(place, city, order_id):
    """The company did what the order says."""
    with place.book.transaction(Actor("provider1", "商", Role.PROVIDER, provider_id=city.companies["jia"])) as tx:
        order = orders.order(tx, order_id)
        assert order.verb == "delete"
        orders.mark_delivered(tx, order_id, order.generation)


def last_order(place) -> WorkOrder:
    with place.book.reading() as tx:
        return tx.scalar(select(WorkOrder).order_by(WorkOrder.id.desc()).limit(1))


def called_back(place, order) -> None:
    with place.book.transaction(Actor("supervisor1", "监", Role.SUPERVISOR)) as tx:
        orders.cancel(tx, order.id, order.generation, "数据还没有核对完")


def switched(client, number, verdict, **more):
    page = f"/requests/{number}/switch"
    seen = re.search(r'name="generation" value="(\d+)"', client.get(page).text).group(1)
    return client.send(page, {"verdict": verdict, "generation": seen, **more})


def used(place) -> dict[str, tuple[int, int]]:
    """vCPU that the department has granted and used, in either pool."""
    found = {}
    for name in ("pool", "there"):
        has = place.figures(place.named[name])
        found[name] = has.get("granted", 0), has.get("used", 0)
    return found


def test_both_are_there_until_the_department_says_that_it_has_switched(client_of, moved, city, clock):
    tenant = client_of(Role.TENANT)
    page = tenant.get(f"/resources/{moved.old}").text
    assert f"/requests/new/migrate?resource={moved.old}" in page
    where = tenant.get(f"/requests/new/migrate?resource={moved.old}").text
    check_page("where", where)
    assert "互联网区 · 甲云 · 互联网区 · x86_64" in where
    assert "政务外网区</option>" not in where
    same = f"/requests/new/migrate?resource={moved.old}&pool={moved.pool}"
    assert "请选择另一个资源池" in tenant.get(filed(tenant, same, **PLAN).location).text
    bare = dict.fromkeys(PLAN, "")
    lacking = filed(tenant, f"/requests/new/migrate?resource={moved.old}&pool={moved.there}", **bare)
    assert lacking.status_code == 422
    assert lacking.text.count("请填写这一项") >= len(PLAN)

    number = asked_for(client_of, moved)
    assert used(moved) == {"pool": (36, 4), "there": (0, 4)}, "both are counted"
    busy = filed(tenant, f"/requests/new/unsubscribe?resource={moved.old}")
    check = tenant.get(busy.location).text
    assert "已有在办申请" in check, "what is moved is held"
    new = delivered(moved, city, number)
    assert tenant.get(f"/requests/{number}/switch").status_code == 404, "not before acceptance"
    accepted(client_of, number)
    assert used(moved) == {"pool": (36, 4), "there": (0, 4)}, "acceptance retires nothing"

    for held in (moved.old, new):
        answer = filed(tenant, f"/requests/new/unsubscribe?resource={held}")
        assert "请先确认切换或放弃迁移" in tenant.get(answer.location).text
    shown = tenant.get(f"/requests/{number}").text
    check_page("show", shown)
    assert f"/requests/{number}/switch" in shown
    assert "新旧并行，待确认切换" in shown
    assert "迁往" in tenant.get(f"/resources/{moved.old}").text
    assert "迁自" in tenant.get(f"/resources/{new}").text
    switch = tenant.get(f"/requests/{number}/switch").text
    check_page("switch", switch)
    assert "域名切回旧机" in switch
    assert client_of("tenant2").get(f"/requests/{number}/switch").status_code == 404
    stale = tenant.send(f"/requests/{number}/switch", {"verdict": "switch", "generation": "1"})
    assert stale.status_code == 409

    assert switched(tenant, number, "switch").status_code == 302
    assert used(moved) == {"pool": (36, 4), "there": (0, 4)}, "not before its cloud says that it is gone"
    assert tenant.get(f"/requests/{number}/switch").status_code == 409, "the word was given"
    done(moved, city, last_order(moved).id)
    assert used(moved) == {"pool": (40, 0), "there": (0, 4)}
    assert "已迁移" in tenant.get(f"/requests/{number}").text
    extended = filed(tenant, f"/requests/new/unsubscribe?resource={new}")
    assert "请先确认切换" not in tenant.get(extended.location).text, "free again"


def test_what_is_abandoned_gives_the_new_side_back_to_where_it_came_from(client_of, moved, city):
    with moved.book.reading() as tx:
        free = entries.balances(tx, pool_id=moved.there)
        before = {(one.holder, one.kind, one.department_id): one.balance for one in free}
    number = asked_for(client_of, moved)
    delivered(moved, city, number)
    accepted(client_of, number)
    tenant = client_of(Role.TENANT)
    assert switched(tenant, number, "abandon").status_code == 422, "without a reason"
    assert switched(tenant, number, "neither").status_code == 422
    assert switched(tenant, number, "abandon", reason="新区带宽不足").status_code == 302
    done(moved, city, last_order(moved).id)
    assert used(moved) == {"pool": (36, 4), "there": (0, 0)}
    with moved.book.reading() as tx:
        after = {
            (one.holder, one.kind, one.department_id): one.balance for one in entries.balances(tx, pool_id=moved.there)
        }
    assert {key: after.get(key, 0) for key in before} == before
    assert "已放弃迁移" in tenant.get(f"/requests/{number}").text
    again = asked_for(client_of, moved)
    assert state(moved, again) == "approved", "it may be tried anew"


def test_whose_days_are_over_is_asked_and_silence_retires_nothing(client_of, moved, city, clock, house, settings):
    number = asked_for(client_of, moved)
    delivered(moved, city, number)
    accepted(client_of, number)
    jobs = worklist.Worklist(Workbench(house, Lake(settings.lake_dir), settings.data), settings)

    def inquiries() -> list[Inquiry]:
        jobs.expire()
        with moved.book.reading() as tx:
            return list(tx.scalars(select(Inquiry).where(Inquiry.purpose == "migration").order_by(Inquiry.id)))

    clock.advance(days=7)
    assert inquiries() == [], "its last day"
    clock.advance(days=1)
    (first,) = inquiries()
    clock.advance(days=30)
    assert len(inquiries()) == 1, "once, and silence changes nothing"
    assert used(moved) == {"pool": (36, 4), "there": (0, 4)}
    tenant, page = client_of(Role.TENANT), f"/inquiries/{first.id}"
    told = tenant.get(page).text
    check_page(page, told)
    (item,) = re.findall(r'name="id" value="(\d+)"', told)
    far = str(clock.now.date() + timedelta(days=120))
    assert tenant.send(page, {"id": item, "answer": "longer", "reason": BASIS, "until": far}).status_code == 422
    near = str(clock.now.date() + timedelta(days=10))
    assert tenant.send(page, {"id": item, "answer": "longer", "reason": BASIS, "until": near}).status_code == 302
    assert f"并行到 {near}" in tenant.get(f"/requests/{number}").text
    clock.advance(days=10)
    assert len(inquiries()) == 1
    clock.advance(days=1)
    second = inquiries()[-1]
    assert second.id != first.id
    tenant, page = client_of(Role.TENANT), f"/inquiries/{second.id}"
    (item,) = re.findall(r'name="id" value="(\d+)"', tenant.get(page).text)
    assert tenant.send(page, {"id": item, "answer": "switched"}).status_code == 302
    placed = last_order(moved)
    called_back(moved, placed)
    clock.advance(days=1)
    third = inquiries()[-1]
    assert third.id != second.id, "an order that was cancelled leaves both there: it is asked anew"
    assert switched(client_of(Role.TENANT), number, "switch").status_code == 302
    with moved.book.transaction(steward()) as tx:
        inquiries_of.sweep(tx)
        assert tx.get_one(Inquiry, third.id).state == "answered", "settled on the request's own page"
    called_back(moved, last_order(moved))
    said = [one.code for one in jobs.expire()]
    assert "migrations_asked" in said, "and once more, although the same days are over"
    assert "migrations_asked" not in [one.code for one in jobs.expire()], "what was not asked anew is not told"
    assert switched(client_of(Role.TENANT), number, "switch").status_code == 302
    done(moved, city, last_order(moved).id)
    with moved.book.reading() as tx:
        assert tx.get_one(Resource, moved.old).state == "deleted"
        assert tx.get_one(WorkOrder, placed.id).state == OrderState.CANCELLED
    assert used(moved) == {"pool": (40, 0), "there": (0, 4)}


def test_what_was_decided_is_told_by_the_order_and_a_side_that_is_missing_decides_nothing(
    client_of, moved, city, clock
):
    number = asked_for(client_of, moved)
    new = delivered(moved, city, number)
    accepted(client_of, number)
    tenant = client_of(Role.TENANT)

    def seen(resource_id, at):
        with moved.book.transaction(steward()) as tx:
            tx.get_one(Resource, resource_id).gone_at = at

    for missing, said in ((moved.old, "旧资源已不在云上"), (new, "新资源已不在云上")):
        seen(missing, clock.now)
        assert said in tenant.get(f"/requests/{number}").text
        there = new if missing == moved.old else moved.old
        busy = filed(tenant, f"/requests/new/unsubscribe?resource={there}")
        assert "请先确认切换或放弃迁移" in tenant.get(busy.location).text, "the department gave no word"
        with moved.book.reading() as tx:
            migrations.must_not_be_moved(tx, tx.get_one(Resource, missing))  # so that it can be written off
        seen(missing, None)
    assert "新旧并行" in tenant.get(f"/requests/{number}").text
    assert switched(tenant, number, "switch").status_code == 302
    done(moved, city, last_order(moved).id)
    seen(new, clock.now)
    assert "已迁移" in tenant.get(f"/requests/{number}").text, "whatever becomes of the new one later"


def test_what_is_moved_stays_what_it_was_approved_as(client_of, moved, clock):
    until = clock.now.date() + timedelta(days=15)
    shape = {str(code): figure for code, figure in {**SHAPE, BLOCK: 40 * GB}.items()}
    with moved.book.transaction(steward()) as tx:
        came_by = Request(
            kind="create", number="SQ-0", department_id=moved.department, pool_id=moved.pool, state="done", generation=1,
            key="came-by", justification=BASIS, use_until=until, fields={"purpose": "test"}, facts={}, created_at=clock.now,
            created_by="tenant1", changed_by="tenant1", changed_at=clock.now,
        )  # fmt: skip
        tx.add(came_by)
        tx.flush()
        old = tx.get_one(Resource, moved.old)
        old.basis, old.booked, old.amounts = came_by.subject, dict(shape), dict(shape)
    tenant, address = client_of(Role.TENANT), f"/requests/new/migrate?resource={moved.old}&pool={moved.there}"

    def drafted(**said):
        return int(re.search(r"/requests/(\d+)/check", filed(tenant, address, **PLAN, **said).location).group(1))

    def read(number):
        with moved.book.reading() as tx:
            one = tx.get_one(Request, number)
            return one.fields.get("purpose"), one.use_until, dict(one.lines[0].asked)

    with moved.book.transaction(steward()) as tx:
        item = CatalogItem(
            code="x2", name="2C4G", service="vm", amounts={"vcpu": 2, "memory": 4 * GB}, archs=[Arch.X86_64.value]
        )
        tx.add(item)
        tx.flush()
        small = {**item.amounts, "block": 40 * GB}
    assert read(drafted()) == ("test", until, shape)
    assert read(drafted(item=str(item.id))) == ("test", until, small), "a disk that the item does not name goes along"
    both = filed(tenant, address, **PLAN, item=str(item.id), amount_block="80")
    assert "只能填一种" in both.text
    for said, why in (
        ({"more_purpose": "production"}, "迁移不改变使用性质"),
        ({"use_until": str(until + timedelta(days=1))}, "迁移不延长使用期限"),
    ):
        assert why in tenant.get(f"/requests/{drafted(**said)}/check").text
    earlier = str(until - timedelta(days=3))
    assert "迁移不" not in tenant.get(f"/requests/{drafted(use_until=earlier)}/check").text
    clock.advance(days=16)
    tenant = client_of(Role.TENANT)
    assert "请先申请延期" in tenant.get(f"/requests/{drafted()}/check").text
