"""A department's quota set in its cloud to what the book gave it: by an order, decided by a person, once, and compared afterwards;
over replies of real services that keep what is set."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import select

from providers import orders
from providers.base import Order, OutcomeState, ProjectFact, ProjectQuota, ProviderFault, ServiceKind, Verb
from providers.hands import MemoryJournal
from providers.observation import cloud_figures, quota_drifts
from providers.orders import quota_orders
from providers.orders.tables import OrderState, WorkOrder
from quota.actors import steward
from quota.directory import Pool
from quota.errors import Conflict, Invalid, NotAllowed
from quota.inventory import CloudProject
from quota.units import BLOCK, EIP, MEMORY, VCPU, Arch
from tests.city import WORKS, City, Plan, PoolPlan
from tests.clouds.filling import HELD
from tests.clouds.recordings import Ask, Recording, Reply, on, served
from tests.providers.test_openstack import PLANE, cloud

GB = 1024
NOW = PLANE.now
QUOTA = re.compile(
    r"^(?P<service>compute|volumes|network)/.*(?:os-quota-sets|quotas)/(?P<project>[^/]+)(?:/details?)?$"
)
WORDS = {"compute": "quota_set", "volumes": "quota_set", "network": "quota"}


class Keeping:
    """Services that keep the limits that are set, as a change of a recording. ``in_use``: vCPU that are; ``trouble``: services whose next PUT is met so: a
    status with which it is refused, or "lost" (done, and the answer is a 500). ``taken``: what was set, in order."""

    def __init__(self, recording: Recording, *, unified: bool = True) -> None:
        self.limits: dict[tuple[str, str], dict[str, Any]] = {}
        self.unified = unified
        self.own: dict[str, dict[str, Any]] = {}
        self.trouble: dict[str, int | str] = {}
        self.taken: list[str] = []
        self.resized: list[dict[str, Any]] = []
        self.in_use: int | None = None

    def __call__(self, ask: Ask, reply: Reply) -> Reply:
        if ask.path == "identity/v3/registered_limits" and not self.unified:
            return Reply(200, {"registered_limits": []})
        if ask.path.startswith("identity/v3/limits"):
            return self._keystone(ask, reply)
        if ask.path == "compute/v2.1/servers/detail" and dict(ask.query).get("project_id"):
            return Reply(200, {"servers": self.resized})
        found = QUOTA.match(ask.path)
        if found is None:
            return reply
        service, project = found["service"], found["project"]
        word = WORDS[service]
        if ask.method == "PUT":
            trouble = self.trouble.pop(service, "")
            if isinstance(trouble, int):
                return Reply(trouble, {"badRequest": {"message": f"declared {trouble}", "code": trouble}})
            self.taken.append(service)
            self.limits.setdefault((service, project), {}).update(json.loads(ask.body)[word])
            return Reply(500, {"fault": {"message": "declared"}}) if trouble == "lost" else Reply(200, {word: {}})
        told = {**reply.answer[word]}
        if service == "compute" and self.in_use is not None:
            told["cores"] = {**told["cores"], "in_use": self.in_use}
        for name, most in self.limits.get((service, project), {}).items():
            told[name] = {**told[name], "limit": most}
        return Reply(200, {word: told})

    def _keystone(self, ask: Ask, reply: Reply) -> Reply:
        if ask.method == "GET":
            rows = [{**one, **self.own.get(one["id"], {})} for one in reply.answer["limits"]]
            return Reply(200, {"limits": [*rows, *(one for id_, one in self.own.items() if id_.startswith("new"))]})
        self.taken.append("keystone")
        body = json.loads(ask.body)
        if ask.method == "POST":
            for number, one in enumerate(body["limits"], len(self.own)):
                self.own[f"new{number}"] = {**one, "id": f"new{number}"}
            return Reply(201, {"limits": []})
        self.own[ask.path.rpartition("/")[2]] = body["limit"]
        return Reply(200, {"limit": {}})


def finance() -> str:
    rows = next(reply.answer["projects"] for ask, reply in PLANE.exchanges if ask.path == "identity/v3/projects")
    found: str = next(one["id"] for one in rows if one["name"] == "finance")
    return found


class Told:
    """The cloud, its services, and the journal that outlives each process."""

    def __init__(self, here: Any, keeps: Keeping) -> None:
        self.here, self.keeps, self.journal = here, keeps, MemoryJournal()

    def opened(self) -> Any:
        one = cloud(self.here, hands=True, image="cirros", network="none")
        one.keep_journal(self.journal)
        return one

    def order(self, **limits: int) -> Order:
        return Order(
            "k", Verb.SET_QUOTA, ServiceKind.PROJECT, Arch.X86_64, project=finance(), name="finance",
            limits={kind: most for kind, most in ((VCPU, limits.get("vcpu")), (MEMORY, limits.get("memory")),
                                                  (BLOCK, limits.get("block")), (EIP, limits.get("eip"))) if most is not None},
        )  # fmt: skip

    def quota(self) -> ProjectQuota:
        return next(one for one in self.opened().quotas(NOW) if one.project.name == "finance")


@pytest.fixture
def told() -> Any:
    keeps = Keeping(PLANE)
    with served(PLANE, keeps) as here:
        yield Told(here, keeps)


def test_an_order_crosses_as_it_is(told: Told) -> None:
    order = told.order(vcpu=0, memory=4 * GB)
    assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order, "a limit of none is a limit"


def test_it_is_planned_service_by_service_and_set_wherever_limits_are_kept(told: Told) -> None:
    order = told.order(vcpu=64, memory=65536, block=6000, eip=7)
    plan = told.opened().plan(order, NOW)
    assert [one.name for one in plan] == ["quota_unified", "quota_compute", "quota_volumes", "quota_network"]
    assert "class:VCPU 96 → 64" in plan[0].text
    assert "gigabytes 5000 → 6000" in plan[2].text
    assert told.keeps.taken == [], "planned is not set"
    assert told.opened().deliver(order, NOW).state is OutcomeState.DONE
    assert told.keeps.taken == ["keystone", "keystone", "compute", "volumes", "network"]
    quota = told.quota()
    assert {kind: quota.limits[kind] for kind in order.limits} == dict(order.limits)
    assert quota.unified == {VCPU: 64, MEMORY: 65536}
    with pytest.raises(ProviderFault, match="has these limits already"):
        told.opened().plan(told.order(vcpu=64), NOW)


def test_what_differs_alone_is_set_and_without_unified_limits_nothing_of_keystone(told: Told) -> None:
    told.keeps.unified = False
    [call] = told.opened().plan(told.order(block=5000, eip=7), NOW)
    assert call.name == "quota_network"


@pytest.mark.parametrize(
    ("limits", "word", "code"),
    [
        ({"vcpu": HELD - 1}, f"cores: {HELD} are in use, {HELD - 1} are to be allowed", "never"),
        ({}, "no quota of nothing", "never"),
    ],
)
def test_what_can_not_be_set_is_refused_when_it_is_planned(
    told: Told, limits: dict[str, int], word: str, code: str
) -> None:
    with pytest.raises(ProviderFault, match=word) as fault:
        told.opened().plan(told.order(**limits), NOW)
    assert (fault.value.code, fault.value.transient) == (code, False)


def test_nothing_is_lowered_while_a_resize_waits_for_its_confirmation(told: Told) -> None:
    """Nova counts an unconfirmed shrink at its new size: with a quota lowered to that it could not be turned back."""
    told.keeps.resized = [{"id": "s1", "tenant_id": finance(), "status": "VERIFY_RESIZE"}]
    with pytest.raises(ProviderFault, match="being resized: s1") as fault:
        told.opened().plan(told.order(vcpu=32), NOW)
    assert (fault.value.code, fault.value.transient) == ("busy", True)
    assert told.opened().plan(told.order(vcpu=640), NOW), "more is never in the way"


@pytest.mark.parametrize("unified", [True, False])
def test_what_came_up_since_it_was_planned_refuses_it_when_it_is_sent(told: Told, unified: bool) -> None:
    told.keeps.unified = unified
    order = told.order(vcpu=32)
    one = told.opened()
    told.journal.open(order, one.plan(order, NOW))
    told.keeps.resized = [{"id": "s1", "tenant_id": finance(), "status": "VERIFY_RESIZE"}]
    with pytest.raises(ProviderFault, match="being resized: s1") as fault:
        one.advance(order.key, NOW)
    assert (fault.value.code, fault.value.transient) == ("busy", True)
    told.keeps.resized, told.keeps.in_use = [], 33
    ended = one.advance(order.key, NOW)
    assert (ended.state, ended.code) == (OutcomeState.FAILED, "never")
    assert "cores: 33 are in use, 32 are to be allowed" in ended.message
    assert told.keeps.taken == []


def test_limits_of_keystone_that_can_not_be_read_are_not_none(told: Told) -> None:
    with (
        served(PLANE, told.keeps, on("identity/v3/registered_limits", 503)) as here,
        pytest.raises(ProviderFault, match="503") as fault,
    ):
        cloud(here, hands=True, image="cirros", network="none").plan(told.order(vcpu=64), NOW)
    assert fault.value.transient


@pytest.mark.parametrize("service", ["compute", "volumes", "network"])
@pytest.mark.parametrize("how", ["lost", 503, 409])
def test_an_answer_that_did_not_come_is_looked_for(told: Told, service: str, how: Any) -> None:
    told.keeps.trouble = {service: how}
    order = told.order(vcpu=64, block=6000, eip=7)
    state = None
    for _process in range(8):
        try:
            one = told.opened()
            known = one.inquire(order.key, NOW)
            state = (one.deliver(order, NOW) if known is None else one.advance(order.key, NOW)).state
        except ProviderFault as fault:
            assert fault.transient
            continue
        if state is OutcomeState.DONE:
            break
    assert state is OutcomeState.DONE
    assert {kind: told.quota().limits[kind] for kind in order.limits} == dict(order.limits)
    assert told.keeps.taken.count(service) == 1


def test_a_service_that_refuses_ends_it_and_the_next_reading_shows_how_far_it_came(told: Told) -> None:
    told.keeps.trouble = {"volumes": 400}
    ended = told.opened().deliver(told.order(vcpu=64, block=6000, eip=7), NOW)
    assert (ended.state, ended.code) == (OutcomeState.FAILED, "never")
    assert [one.state for one in told.journal.calls("k")] == ["done", "done", "failed", "dropped"]
    assert (told.quota().limits[VCPU], told.quota().limits[BLOCK]) == (64, 5000)


# -------------------------------------------------------------------------------------------------------------- the house


@pytest.fixture
def differing(works: City) -> City:
    """The bureau has 32 vCPU and 128 GB by the book; its project in the cloud has other limits."""
    with works.book.transaction(steward("job:collect")) as tx:
        told = [
            ProjectQuota(ProjectFact(finance(), "finance"), {VCPU: 96, MEMORY: None}, {VCPU: 13, MEMORY: 26 * GB}),
            ProjectQuota(ProjectFact("p2", "other"), {VCPU: 8}, {}),
        ]  # fmt: skip
        cloud_figures.enter_quotas(tx, works.pool, told, tx.now)
        tx.scalars(select(CloudProject).where(CloudProject.name == "finance")).one().department_id = works.bureau
        quota_drifts.look(tx, works.pool, tx.now)
    return works


def placed(
    works: City, by: str = "checker", reason: str = "按账面设置", key: str = "q", at: int | None = None
) -> WorkOrder:
    with works.book.transaction(works.people[by]) as tx:
        return quota_orders.order(tx, tx.get_one(Pool, at or works.pool), works.bureau, reason, key=key)


def test_a_decided_order_sets_the_book_s_figures_and_the_cloud_is_read_again(
    differing: City, told: Told, clock: Any
) -> None:
    works = differing
    made = placed(works)
    assert placed(works).id == made.id, "twice is once"
    assert made.payload["limits"] == {VCPU: 32, MEMORY: 128 * GB}
    assert made.payload["before"] == {VCPU: 96, MEMORY: None}
    with pytest.raises(Conflict, match=made.number):
        placed(works, key="again")
    calls = orders.rehearse(works.book, made.id, told.opened())
    assert {one.name for one in calls} == {"quota_unified", "quota_compute"}
    assert told.keeps.taken == []
    with works.book.reading() as tx:
        assert not cloud_figures.due(tx, works.pool, cloud_figures.CloudBook.QUOTAS)
    done = orders.carry(works.book, made.id, told.opened())
    assert (done.state, dict(done.freed)) == (OrderState.DELIVERED, {})
    assert (told.quota().limits[VCPU], told.quota().limits[MEMORY]) == (32, 128 * GB)
    with works.book.reading() as tx:
        assert cloud_figures.due(tx, works.pool, cloud_figures.CloudBook.QUOTAS), "compared at the next collection"
    with works.book.transaction(steward("job:collect")) as tx:
        cloud_figures.enter_quotas(tx, works.pool, [told.quota()], tx.now)
        left = {one.kind: one.drift for one in quota_drifts.look(tx, works.pool, tx.now) if one.subject != "project:2"}
    assert set(left) == {BLOCK, EIP}, "what the cloud kept no quota of before stays a difference"
    works.prove()


def test_who_may_not_and_what_can_not_be_said_is_refused(differing: City) -> None:
    works = differing
    for by in ("clerk", "operator", "auditor", "chief"):
        with pytest.raises(NotAllowed):
            placed(works, by)
    with pytest.raises(Invalid, match="理由"):
        placed(works, reason=" ")
    with works.book.transaction(steward()) as tx:
        tx.scalars(select(CloudProject).where(CloudProject.name == "other")).one().department_id = works.bureau
    with pytest.raises(Invalid, match=r"quota_order\.several"):
        placed(works)
    with works.book.transaction(steward()) as tx:
        for one in tx.scalars(select(CloudProject)):
            one.department_id = None
    with pytest.raises(Invalid, match=r"quota_order\.no_project"):
        placed(works)


def test_an_order_sets_what_all_pools_of_one_cloud_gave_and_one_at_a_time(differing: City) -> None:
    works = differing
    home = works.pool
    beside = PoolPlan("haichen", Arch.X86_64, WORKS.pools["pool"].capacities)
    works.add(Plan(companies={}, departments={}, pools={"beside": beside}, granted={VCPU: 16}))
    with works.book.transaction(steward("job:collect")) as tx:
        told = [ProjectQuota(ProjectFact(finance(), "finance"), {VCPU: 96, MEMORY: None}, {VCPU: 13})]
        cloud_figures.enter_quotas(tx, works.pool, told, tx.now)
        there = tx.scalars(select(CloudProject).where(CloudProject.pool_id == works.pool)).one()
        there.department_id = works.neighbour
    with pytest.raises(Invalid, match=r"quota_order\.disputed"):
        placed(works, at=home)
    with works.book.transaction(steward()) as tx:
        tx.get_one(CloudProject, there.id).department_id = works.bureau
    made = placed(works)
    assert made.payload["limits"] == {VCPU: 48, MEMORY: 128 * GB}
    with pytest.raises(Conflict, match=made.number):
        placed(works, key="from the other pool", at=home)


def test_a_cloud_that_no_program_tells_has_people_do_it(differing: City) -> None:
    works = differing
    made = placed(works)
    order = orders.carry(works.book, made.id, works.cloud())
    assert (order.state, order.by_hand) == (OrderState.SENT, True)
    order = works.do(orders.start, works.now(order), "operator")
    order = works.do(orders.mark_delivered, works.now(order), "operator")
    assert works.now(order).state == OrderState.DELIVERED
