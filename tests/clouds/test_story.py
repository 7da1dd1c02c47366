"""From an empty house to what a real cloud gives back: what runs is taken over, a department asks and Nova boots, the default
policy finds what is too large, it is made smaller, and what is deleted behind the steward's back is a difference. Nova's
interface stops in the middle of a delivery, twice: each call is taken once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openstack
import pytest
import requests
from sqlalchemy import select

from console import founding
from console.settings import Settings
from console.worklist import Worklist
from metering import cases
from metering.cases import Case, CaseState, windows
from metering.intake import collection, schedules
from metering.judging import CaseKind, policies
from metering.judging.policy import Verdict, default
from metering.lake import Lake
from metering.rollout import scopes
from metering.workbench import Workbench
from providers import orders
from providers.adapters.openstack import OpenStackCloud
from providers.base import Verb
from providers.observation import cloud_figures
from providers.orders.tables import OrderState, WorkOrder
from quota import ledger
from quota.actors import Role
from quota.db import Book, Tx
from quota.directory import Pool, pools
from quota.inventory import CloudProject, Resource, projects, takeovers
from quota.ledger import capacities, entries
from quota.ledger.tables import Holder
from quota.requests import Request, RequestState, approvals
from quota.requests.asks import Line
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.city import City
from tests.city.plans import GB, LARGE, SMALL, DepartmentPlan, PersonPlan, Plan
from tests.clouds.filling import interfaces, measure
from tests.clouds.living import rested
from tests.clouds.services import Services
from tests.patience import until

DAYS = 35
BEFORE = timedelta(days=3)
PROJECT = "story-city"
FLAVORS = {"story.8c16g": (8, 16 * GB), "story.4c8g": (4, 8 * GB), "story.2c4g": (2, 4 * GB)}
LINES = "8C16G = story.8c16g\n4C8G = story.4c8g\n2C4G = story.2c4g"
EMPTY = Plan(
    companies={"company": ("yun", "某云")},
    departments={"department": DepartmentPlan("A01", "市教育局")},
    items={
        "large": ("8c16g", "8C16G", LARGE, (Arch.X86_64,)),
        "item": ("4c8g", "4C8G", SMALL, (Arch.X86_64,)),
        "least": ("2c4g", "2C4G", Amount({VCPU: 2, MEMORY: 4 * GB}), (Arch.X86_64,)),
    },
    ruled=True,
    people={
        "clerk": PersonPlan(Role.TENANT, "department"),
        "checker": PersonPlan(Role.SUPERVISOR),
        "reviewer": PersonPlan(Role.SUPERVISOR),
        "chief": PersonPlan(Role.AUTHORITY),
    },
)


class StewardsClock:
    """It begins ``BEFORE`` the cloud's own, which goes on as it is: what was measured since is there when it comes to it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0) - BEFORE

    def __call__(self) -> datetime:
        return self.now

    def reach(self, at: datetime | None) -> None:
        if at is not None:
            self.now = max(self.now, at + timedelta(seconds=1))


class Story:
    """The house, its clock, what its jobs do, and the cloud beside it."""

    def __init__(self, home: Path, auth: dict[str, Any], services: Services) -> None:
        self.clock, self.auth, self.services = StewardsClock(), auth, services
        self.settings = founding.found(Settings(data=home, secret_key="t" * 40), demo=False, at=self.clock.now)
        self.book = Book(self.settings.database_url, clock=self.clock)
        self.city = City(self.book, self.clock, EMPTY)
        self.workbench = Workbench(self.book, Lake(self.settings.lake_dir), home, secrets=self.settings.secrets)
        self.work = Worklist(self.workbench, self.settings)
        self.direct = openstack.connect(
            auth=dict(auth), region_name="RegionOne", identity_api_version="3", load_yaml_config=False, load_envvars=False
        )  # fmt: skip
        self.pool, self.project = 0, ""
        self.sent: list[str] = []

    # ------------------------------------------------------------------------------------------------------- the cloud

    def fill(self) -> Any:
        """A project with a server that does little, as it was for five weeks."""
        identity, compute = self.direct.identity, self.direct.compute
        domain = identity.find_domain("Default") or identity.find_domain("default")
        project = identity.find_project(PROJECT) or identity.create_project(name=PROJECT, domain_id=domain.id)
        identity.assign_project_role_to_user(project, self.direct.current_user_id, identity.find_role("admin"))
        self.project = project.id
        known = {one.name: one for one in compute.flavors()}
        for name, (vcpus, ram) in FLAVORS.items():
            known[name] = known.get(name) or compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=20)
        body = {"quota_set": {"cores": 64, "ram": 262_144, "instances": 40}}
        assert compute.put(f"/os-quota-sets/{project.id}", json=body).status_code == 200
        own = self.direct.connect_as_project(project)
        image = own.image.find_image("cirros")
        made = own.compute.create_server(
            name="story-large", image_id=image.id, flavor_id=known["story.8c16g"].id, networks="none"
        )
        until(lambda: compute.get_server(made.id).status == "ACTIVE", "a server", every=1)
        self.services.aged(made.id, DAYS + 5)
        server = compute.get_server(made.id)
        measure(self.direct, server, timedelta(days=DAYS), _low, lambda _at: 0.3)
        return server

    def clear(self) -> None:
        """Nothing of this test is left in the cloud."""
        for picture in self.pictures():
            self.direct.image.delete_image(picture.id)
        if self.project:
            for one in self.direct.compute.servers(all_projects=True, project_id=self.project):
                self.direct.compute.delete_server(one.id)
                metric = self.direct.config.get_session_endpoint("metric").rstrip("/")
                kept = ("instance", one.id), *(("instance_network_interface", id_) for id_ in interfaces(one.id))
                for kind, id_ in kept:
                    self.direct.session.delete(f"{metric}/v1/resource/{kind}/{id_}", raise_exc=False)

    def held(self, server: str) -> dict[str, int]:
        """What Placement has allocated for it."""
        found = self.direct.placement.get(f"/allocations/{server}").json()["allocations"]
        total: Counter[str] = Counter()
        for one in found.values():
            total.update(one["resources"])
        return dict(total)

    def actions(self, server: str) -> list[str]:
        found = self.direct.compute.get(f"/servers/{server}/os-instance-actions").json()["instanceActions"]
        return [one["action"] for one in reversed(found)]

    def pictures(self) -> list[Any]:
        """Of the servers of this test."""
        return [one for one in self.direct.image.images() if one.name.startswith("story-large-")]

    def pictured(self) -> None:
        """What any hypervisor but the in-tree fake one does: put a server's picture into Glance."""
        for one in self.pictures():
            if one.status == "queued":
                self.direct.image.update_image(one.id, disk_format="raw", container_format="bare")
                kind = {"Content-Type": "application/octet-stream"}
                put = self.direct.image.put(f"/images/{one.id}/file", data=bytes(4096), headers=kind)
                assert put.status_code == 204, put.text

    def stops_after(self, place: str, word: str) -> None:
        """Nova takes the next call to ``place`` that says ``word``, and its interface goes before anybody hears of it."""
        waiting = [word]

        def heard(answer: Any, *_args: Any, **_more: Any) -> None:
            asked = answer.request
            if waiting and asked.method == "POST" and asked.url.endswith(place) and f'"{word}"' in str(asked.body):
                assert answer.status_code == 202, answer.text
                self.sent.append(waiting.pop())
                self.services.stop("nova-api")
                raise requests.ConnectionError("the connection was closed")

        self.workbench.opened[self.pool] = cloud = self.workbench.another(self.row())
        assert isinstance(cloud, OpenStackCloud)
        cloud.session.pause_s, cloud.session.heard = 0.05, heard

    def comes_back(self) -> None:
        """All services run again, and are asked again."""
        self.services.services()
        for cloud in self.workbench.opened.values():
            rested(cloud)

    # ------------------------------------------------------------------------------------------------------- the house

    def row(self) -> Pool:
        with self.book.reading() as tx:
            return tx.get_one(Pool, self.pool)

    def open_pool(self) -> None:
        options = {
            "auth_url": self.auth["auth_url"], "user": self.auth["username"], "password": "env:STORY_PASSWORD", "hands": True,
            "image": "cirros", "network": "none", "flavors": LINES, "settle_s": 60,
        }  # fmt: skip
        with self.book.transaction(self.city.people["chief"]) as tx:
            self.pool = pools.register(
                tx, "os", "云一", self.city.named["company"].id, Arch.X86_64, "政务外网", adapter="openstack", options=options
            ).id  # fmt: skip

    def collect(self) -> collection.Collected:
        self.clock.now += timedelta(minutes=5)
        return collection.collect(self.workbench, self.row())

    def take_over(self) -> None:
        """Capacity as the cloud tells it, the project given to its department, what runs there by a paper."""
        with self.book.transaction(self.city.people["chief"]) as tx:
            told = cloud_figures.capacities(tx, self.pool)
            for kind in (VCPU, MEMORY):
                capacities.equip(
                    tx, tx.get_one(Pool, self.pool), kind, told[kind].total, reserved=told[kind].reserved, ratio=told[kind].ratio,
                    key=f"equip:{kind}", reason="与云平台所报一致",
                )  # fmt: skip
        with self.book.transaction(self.city.people["checker"]) as tx:
            mine = tx.scalars(select(CloudProject.id).where(CloudProject.external_id == self.project)).one()
            projects.assign(tx, self.pool, [mine], self.city.department, "立项文件")
            ids = tx.scalars(select(Resource.id).where(Resource.project_id == mine)).all()
            made = takeovers.propose(tx, self.city.department, "市数据局〔2026〕12号", ids, key="all")
        assert made.state == "booked"

    def ask(self) -> Request:
        """A department asks for a machine, and everybody signs."""
        city = self.city
        request = city.submit(pool_id=self.pool, lines=[Line(item_id=city.item)])
        for _step in range(6):
            with self.book.reading() as tx:
                now = tx.get_one(Request, request.id)
                if now.state == RequestState.APPROVED:
                    return now
                names = [
                    one for one in ("checker", "reviewer", "chief") if approvals.may_sign(tx, now, city.people[one])
                ]
            request = city.sign(request, names[0])
        raise AssertionError(request.state)

    def carry(self) -> None:
        self.work.carry()

    def order(self, verb: Verb) -> WorkOrder:
        with self.book.reading() as tx:
            found = tx.scalars(
                select(WorkOrder).where(WorkOrder.verb == verb.value).order_by(WorkOrder.id.desc())
            ).first()
            assert found is not None
            _ = found.resource
            return found

    def led(self, verb: Verb) -> WorkOrder:
        """The newest order of that verb carried until it is delivered, the steward's clock going from look to look."""

        def ended() -> WorkOrder | None:
            one = self.order(verb)
            assert one.state != OrderState.FAILED, one.last_error
            if one.state in (OrderState.DELIVERED, OrderState.ACCEPTED):
                return one
            self.clock.reach(one.next_try_at)
            self.carry()
            return None

        found = until(ended, f"the {verb} is delivered", every=1)
        assert found is not None
        return found

    def goes_on(self) -> None:
        """The case's orders are carried, and it goes on to the next."""
        with self.book.reading() as tx:
            for one in tx.scalars(select(WorkOrder).where(WorkOrder.case_id.is_not(None))):
                assert one.state != OrderState.FAILED, one.last_error
                self.clock.reach(one.next_try_at)
        self.carry()
        self.pictured()
        self.work.advance()

    def night(self) -> None:
        """What came is rolled up, judged, and made into cases."""
        self.work.roll()
        self.work.open_cases()

    def case(self) -> Case:
        with self.book.reading() as tx:
            found = tx.scalars(select(Case)).one()
            _ = found.finding
            return found


def entries_of(tx: Tx, story: Story) -> list[Any]:
    return list(ledger.balances(tx, pool_id=story.pool))


def _low(at: int) -> float:
    """Eight per cent, up to fifteen at noon: too little for its size, too much for nothing."""
    return 0.08 + 0.06 * math.sin(at / 86_400 * 2 * math.pi) + 0.01 * ((at // 300 * 7_919) % 101) / 101


@pytest.fixture
def story(tmp_path: Path, real_cloud: dict[str, Any], services: Services, monkeypatch: Any) -> Iterator[Story]:
    monkeypatch.setenv("STORY_PASSWORD", real_cloud["password"])
    monkeypatch.setattr(schedules, "USUAL", schedules.CollectionPace(window_days=DAYS))
    found = Story(tmp_path / "home", real_cloud, services)
    try:
        yield found
    finally:
        services.services()
        found.clear()
        found.book.dispose()


def test_from_an_empty_house_to_what_the_cloud_gives_back(story: Story) -> None:
    # An empty house, a cloud in which a machine ran for five weeks: listed, measured, taken over.
    server = story.fill()
    story.open_pool()
    first = story.collect()
    assert first.drift is not None
    assert (first.drift.complete, first.drift.short) == (True, {})
    assert first.taken >= (timedelta(days=DAYS) - BEFORE) // timedelta(minutes=5) - 24
    story.take_over()
    with story.book.reading() as tx:
        large = tx.scalars(select(Resource).where(Resource.external_id == server.id)).one()
        assert (large.basis.partition(":")[0], Amount(large.counts())) == ("takeover", LARGE)

    # A department asks; Nova takes the call, and its interface is stopped before it could say so.
    story.ask()
    story.stops_after("/servers", "server")
    story.carry()
    assert story.sent == ["server"]
    lost = story.order(Verb.CREATE)
    assert (lost.state, lost.told) == (OrderState.PENDING, True)
    story.clock.reach(lost.next_try_at)
    story.carry()
    assert story.order(Verb.CREATE).told, "while nobody answers nothing is begun anew"
    story.comes_back()
    made = story.led(Verb.CREATE)
    assert made.resource is not None
    booted = story.direct.compute.get_server(made.resource.external_id)
    assert (booted.status, booted.metadata["guanjia_key"]) == ("ACTIVE", made.cloud_key)
    mine = [one.name for one in story.direct.compute.servers(all_projects=True, project_id=story.project)]
    assert sorted(mine) == sorted(["story-large", booted.name]), "once"
    with story.book.reading() as tx:
        assert tx.scalars(select(Request)).one().state == RequestState.ACCEPTING

    # The default policy finds the old one too large; its department is written to, and agrees two days later.
    with story.book.transaction(story.city.people["chief"]) as tx:
        scopes.decide(tx, True, (), (), "存量已接管,结论核对无误")
        assert policies.in_force(tx, story.clock.now.date()).policy().rules == default().rules
    story.night()
    found = story.case()
    assert (found.resource_id, found.kind, found.finding.verdict) == (large.id, CaseKind.SHRINK, Verdict.UNDERUSED)
    with story.book.transaction(story.city.people["checker"]) as tx:
        one = cases.case(tx, found.id)
        cases.review(tx, one, generation=one.generation)
    with story.book.transaction(story.city.people["reviewer"]) as tx:
        one = cases.case(tx, found.id)
        cases.issue(tx, [one], generations={one.id: one.generation})
    story.clock.now += timedelta(days=2)
    with story.book.transaction(story.city.people["clerk"]) as tx:
        cases.reply(tx, cases.case(tx, found.id), cases.Answer.AGREE)
    assert story.case().state == CaseState.CLEARED

    # Judged again on what came since, it is made smaller; the interface stops after it took the resize.
    story.collect()
    story.night()
    before, actions = story.held(server.id), story.actions(server.id)
    assert before["VCPU"] == 8
    with story.book.transaction(story.city.people["checker"]) as tx:
        one = cases.case(tx, found.id)
        cases.act(tx, one, generation=one.generation)
        assert one.state == CaseState.ORDERED, one.reason
        story.clock.reach(windows.opening(tx, story.pool))
    story.stops_after("/action", "resize")
    until(lambda: story.goes_on() or story.sent[1:], "the resize is sent", every=1)
    assert story.sent[1:] == ["resize"]
    with story.book.reading() as tx:
        assert orders.order(tx, story.order(Verb.RESIZE).id).told
        used = {one.kind: one.balance for one in entries_of(tx, story) if one.holder == Holder.USED}
        assert used[VCPU] == 8 + 4, "nothing is free before it is confirmed"
    story.comes_back()
    smaller = story.led(Verb.RESIZE)
    target = smaller.approved()
    after = story.held(server.id)
    assert after["VCPU"] == target[VCPU] < before["VCPU"]
    assert after["MEMORY_MB"] == target.get(MEMORY, before["MEMORY_MB"]) <= before["MEMORY_MB"]
    assert story.actions(server.id)[len(actions) :] == ["createImage", "resize", "confirmResize"], "each once"
    with story.book.reading() as tx:
        used = {one.kind: one.balance for one in entries_of(tx, story) if one.holder == Holder.USED}
        assert used[VCPU] == target[VCPU] + 4
    story.work.advance()
    assert story.case().state in (CaseState.WATCHED, CaseState.CLOSED)

    # Somebody deletes the new one behind the steward's back: a difference by the next collection.
    story.direct.compute.delete_server(booted.id)
    until(lambda: story.direct.compute.find_server(booted.id, all_projects=True) is None, "it is gone", every=1)
    drift = story.collect().drift
    assert drift is not None
    assert (drift.complete, drift.gone) == (True, [made.resource_id])
    with story.book.reading() as tx:
        assert tx.get_one(Resource, made.resource_id).gone_at is not None
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []
