"""An OpenStack in the console, from the form to what its departments run: registered, tested, collected, its projects given to
departments, its capacity taken over, what runs there taken over. The replies are those of real services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from metering.intake import collection, probes
from metering.lake import Lake
from metering.workbench import Workbench
from providers import observation
from providers.adapters.openstack import OpenStackCloud
from providers.observation import cloud_figures
from quota.actors import Role
from quota.directory import Department, Pool
from quota.inventory import CloudProject, Resource
from tests.clouds import filling
from tests.clouds.living import rested
from tests.clouds.recordings import FOLDER, Recording, Served, on, served
from tests.console.test_house import check_page
from tests.journeys.test_takeovers import form_of

PLANE = Recording.read(FOLDER / "control-plane.jsonl")
PAPER = "市数据局〔2026〕12号 关于接管存量云资源的通知"


@pytest.fixture
def there() -> Iterator[Served]:
    with served(PLANE) as here:
        yield here


@pytest.fixture
def works(house, settings, clock, monkeypatch) -> Workbench:
    monkeypatch.setenv("OPENSTACK_PASSWORD", "testbed")
    clock.now = PLANE.now
    return Workbench(house, Lake(settings.lake_dir), settings.data, secrets=settings.secrets)


def registered(client_of, house, city, there: Served) -> int:
    """The pool, entered on its form by the authority."""
    chief = client_of(Role.AUTHORITY)
    form = chief.get("/pools/new?adapter=openstack").text
    check_page("/pools/new?adapter=openstack", form)
    lists = re.findall(r'name="option_lists"[^>]*value="([^"]*)"', form)
    facts: dict[str, Any] = {
        "code": "os", "name": "云一", "provider": city.provider.id, "arch": "x86_64", "zone": "政务外网", "adapter": "openstack",
        "shown": "openstack", "option_auth_url": f"{there.url}/identity/v3", "option_user": "admin", "option_lists": lists,
        "option_password": "env:OPENSTACK_PASSWORD", "option_project": "admin", "option_user_domain": "Default",
        "option_project_domain": "Default", "option_interface": "public", "option_timeout_s": "30", "option_arch": "x86_64",
        "option_usage": "gnocchi", "option_granularity_s": "300", "option_poll_s": "300", "option_settle_s": "0",
        "option_department_key": "department", "option_system_key": "system",
    }  # fmt: skip
    wrong = chief.send("/pools/new", facts | {"option_lists": "servers, cats"})
    assert wrong.status_code == 422
    assert "能列出的有" in wrong.text
    page = chief.send("/pools/new", facts)
    assert page.status_code == 302, re.findall(r"gj-error[^<]*<[^<]*", page.text)
    with house.reading() as tx:
        return tx.scalars(select(Pool.id).where(Pool.code == "os")).one()


def collect(works: Workbench, pool: int) -> collection.Collected:
    with works.book.reading() as tx:
        one = tx.get_one(Pool, pool)
    return collection.collect(works, one)


def test_from_the_form_to_what_departments_run(client_of, house, city, works, there) -> None:
    pool = registered(client_of, house, city, there)
    assert [one.fault for one in probes.carry_out(works)] == [""]
    with house.reading() as tx:
        once_more = works.another(tx.get_one(Pool, pool))
    assert isinstance(once_more, OpenStackCloud)
    assert once_more.session.breakers is works.opened[pool].session.breakers
    chief, steward = client_of(Role.AUTHORITY), client_of(Role.SUPERVISOR)
    projects = len(filling.DEPARTMENTS) + 3
    assert f"Nova 2.96, {projects} projects" in chief.get(f"/pools/{pool}").text
    found = collect(works, pool)
    assert found.drift is not None
    assert found.drift.complete
    assert found.taken > 0
    with house.reading() as tx:
        assert tx.scalar(select(func.count(CloudProject.id))) == projects
        listing = observation.last_listing(tx, pool)
        assert listing is not None
        assert listing.complete
        number = tx.scalars(select(Resource.id).where(Resource.name == "ostack-resized")).one()
        bureau = tx.scalars(select(Department.id).where(Department.code == "A01")).one()
        assert set(cloud_figures.capacities(tx, pool)) == {"vcpu", "memory"}
    resource = steward.get(f"/resources/{number}").text
    check_page(f"/resources/{number}", resource)
    assert "VERIFY_RESIZE" in resource

    # Whose the projects are: all but one are nobody's yet; the page shows what the cloud lets each have.
    where = f"/pools/{pool}/projects"
    page = steward.get(f"{where}?q=finance").text
    check_page(where, page)
    assert f"{filling.HELD} vCPU/{filling.CORES[0]} vCPU" in page
    (finance,) = re.findall(r'name="id" value="(\d+)"', page)
    sent = steward.send(f"{where}/assign", {"department": str(bureau), "reason": "立项文件", "id": [finance]})
    assert sent.status_code == 302
    with house.reading() as tx:
        ours = list(tx.scalars(select(Resource).where(Resource.project_id == int(finance))))
        assert ours
        assert {one.department_id for one in ours} == {bureau}

    # Capacity as the cloud says, confirmed by the authority; then what runs is taken over.
    for kind in ("vcpu", "memory"):
        form = chief.get(f"/pools/{pool}/capacity?kind={kind}&told=1").text
        values = dict(re.findall(r'name="(total|reserved|ratio|key)"[^>]*value="([^"]*)"', form))
        values |= {"kind": kind, "reason": "与云平台所报一致", "confirm": "1"}
        assert chief.send(f"/pools/{pool}/capacity", values).status_code == 302, kind
    for kind, total in (("block", "100000"), ("eip", "100")):
        body = {
            "kind": kind,
            "total": total,
            "reserved": "0",
            "ratio": "1",
            "reason": "合同",
            "key": f"k-{kind}",
            "confirm": "1",
        }
        assert chief.send(f"/pools/{pool}/capacity", body).status_code == 302
    assert "一致" in chief.get(f"/pools/{pool}").text
    form = steward.get(f"/takeovers/new/{bureau}").text
    assert "容量不足" not in form
    sent = steward.send(f"/takeovers/new/{bureau}", form_of(form) | {"document": PAPER, "step": "propose"})
    assert sent.status_code == 302
    with house.reading() as tx:
        ours = list(tx.scalars(select(Resource).where(Resource.project_id == int(finance))))
        assert {one.basis.partition(":")[0] for one in ours} == {"takeover"}


def test_a_service_that_is_down_in_the_middle_loses_nothing(client_of, house, city, works, there) -> None:
    pool = registered(client_of, house, city, there)
    collect(works, pool)
    with house.reading() as tx:
        before = {one.external_id: one.kind for one in tx.scalars(select(Resource).where(Resource.gone_at.is_(None)))}
    there.changes.append(on("^volumes/", 503))
    works.book.clock.advance(minutes=5)
    drift = collect(works, pool).drift
    assert drift is not None
    assert set(drift.short) == {"volume", "snapshot"}
    there.changes.clear()
    rested(works.opened[pool])
    works.book.clock.advance(minutes=5)
    drift = collect(works, pool).drift
    assert drift is not None
    assert (drift.complete, drift.gone, drift.new) == (True, [], [])
    with house.reading() as tx:
        after = {one.external_id: one.kind for one in tx.scalars(select(Resource).where(Resource.gone_at.is_(None)))}
    assert after == before


def test_the_whole_cloud_down_is_a_fault_and_no_listing(client_of, house, city, works, there) -> None:
    pool = registered(client_of, house, city, there)
    collect(works, pool)
    there.changes.append(on("", 503, **{"Retry-After": "0"}))

    def fails(code: str) -> str:
        """The cloud is read, which fails so; the pool's page afterwards."""
        works.book.clock.advance(minutes=5)
        with pytest.raises(Exception, match="503"):
            collect(works, pool)
        with house.reading() as tx:
            row = tx.get_one(collection.Intake, pool)
            assert (row.fault_code, "503" in row.fault) == (code, True)
            listing = observation.last_listing(tx, pool)
            assert listing is not None
            assert listing.as_of == PLANE.now
        return str(client_of(Role.SUPERVISOR).get(f"/pools/{pool}").text)

    assert "对方要求稍后再试" in fails("busy")
    page = fails("rest")
    check_page(f"/pools/{pool}", page)
    assert "连续失败，暂停片刻后再试" in page
    before = len(there.asked)
    fails("rest")
    assert len(there.asked) == before, "it is left alone"
    there.changes.clear()
    rested(works.opened[pool])
    works.book.clock.advance(minutes=5)
    collect(works, pool)
    assert "连续失败" not in client_of(Role.SUPERVISOR).get(f"/pools/{pool}").text
