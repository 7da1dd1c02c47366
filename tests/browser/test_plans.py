"""The plan of an order as people see it: a resize that was turned back, and an order that only lists its calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from console.app import create_app
from console.settings import Settings
from providers import orders
from providers.base import ProjectFact, ProjectQuota, ServiceKind, Verb
from providers.observation import cloud_figures, quota_drifts
from quota.actors import Role, steward
from quota.db import Book
from quota.directory import CloudProvider, Department, Pool, pools
from quota.ledger import capacities, entries
from quota.units import MEMORY, VCPU, Amount, Arch
from tests import books
from tests.browser.conftest import LONG_MIN, WIDTHS, Live, serve
from tests.city import CONSOLE, City
from tests.providers.stepping import SteppingCloud


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory):
    """(the console, an order that was turned back, one that is only planned)."""
    data = tmp_path_factory.mktemp("plans")
    book = Book(books.sqlite(data / "book.db"))
    city = City(book, plan=CONSOLE)
    cloud = SteppingCloud(Path(data) / "cloud.json")
    with book.transaction(steward()) as tx:
        company = tx.scalars(select(CloudProvider)).first()
        assert company is not None
        pool = pools.register(
            tx,
            "step",
            "一步一步池",
            company.id,
            Arch.AARCH64,
            "政务外网",
            adapter="files",
            options={"folder": str(data)},
        )
        for kind, total in ((VCPU, 100), (MEMORY, 200 * 1024)):
            capacities.equip(tx, pool, kind, total, key=f"equip:{kind}")
        department = tx.scalars(select(Department).where(Department.code == "A01")).one()

        def place(verb: Verb, key: str, **more) -> int:
            return orders.place(tx, pool, verb, key=key, **more).id

        what = {"kind": ServiceKind.VM, "department_id": department.id}
        granted = Amount({VCPU: 50, MEMORY: 100 * 1024}).of_arch(Arch.AARCH64)
        entries.grant(tx, pool.id, department.id, granted, key="grant", subject="test")
        made = place(Verb.CREATE, "a", amounts={VCPU: 4, MEMORY: 8192}, name="plan-01", **what)
        other = place(Verb.CREATE, "b", amounts={VCPU: 4, MEMORY: 8192}, name="plan-02", **what)
    orders.carry(book, made, cloud)
    with book.transaction(steward()) as tx:
        one = orders.order(tx, made).resource
        back = orders.place(tx, tx.get_one(Pool, one.pool_id), Verb.RESIZE, key="c", resource=one, amounts={VCPU: 2}).id
    cloud.trouble = {"confirm": ["never"]}
    orders.carry(book, back, cloud)
    with book.transaction(steward()) as tx:
        pools.try_out(tx, tx.scalars(select(Pool)).one(), dry_run=True, reason="试算一周")
    orders.carry(book, other, cloud)
    with book.transaction(steward()) as tx:
        told = [
            ProjectQuota(ProjectFact("p1", "a01-project"), {VCPU: 96, MEMORY: None}, {VCPU: 4, MEMORY: 8192}),
            ProjectQuota(ProjectFact("p2", "nobody"), {VCPU: 8}, {VCPU: 2}),
        ]
        cloud_figures.enter_quotas(tx, 1, told, tx.now)
        quota_drifts.look(tx, 1, tx.now)
    for live in serve(create_app(Settings(data=data, idle_minutes=LONG_MIN), book), city.passwords):
        yield live, back, other
    book.dispose()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_plan_can_be_read(planned: tuple[Live, int, int], open_page, check, shot, width: int) -> None:
    live, back, other = planned
    page = open_page(Role.SUPERVISOR, width, at=live)
    page.goto(f"/orders/{back}")
    card = page.get_by_role("region", name="计划")
    for text in ("resize", "confirm", "revert", "confirm: never"):
        assert text in card.inner_text()
    check(page)
    shot(page, "order-turned-back", full=True)
    page.goto(f"/orders/{other}")
    assert "未发出" in page.get_by_role("region", name="计划").inner_text()
    check(page)
    shot(page, "order-planned", full=True)
    page.goto("/pools/1/quota-drift")
    assert "无主项目有配额" in page.inner_text("main")
    check(page)
    shot(page, "quota-drift", full=True)
    page = open_page(Role.AUTHORITY, width, language="en", at=live)
    page.goto("/pools/1/dry-run")
    check(page)
    shot(page, "pool-dry-run")
