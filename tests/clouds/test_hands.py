"""Orders on a real Nova and Cinder: each ends as it was ordered, frees what it should, and is done once whatever dies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from providers.adapters.openstack import OpenStackCloud
from providers.adapters.openstack.session import COMPUTE, IDENTITY, PLACEMENT, ROUND, VOLUMES
from providers.base import Order, Outcome, OutcomeState, ProviderFault, ResourceState, ServiceKind, Verb
from providers.hands import MemoryJournal
from providers.secrets import Secret
from quota.units import BLOCK, EIP, MEMORY, VCPU, Amount, Arch
from tests.patience import until

GB = 1024
PROJECT = "hands-city"
BIG, SMALL = {VCPU: 8, MEMORY: 16 * GB}, {VCPU: 4, MEMORY: 8 * GB}
CLOUD_KEEPS_THE_DISK = (("hands.8c16g", 8, 16 * GB), ("hands.4c8g", 4, 8 * GB))
LINES = "8C16G = hands.8c16g\n4C8G = hands.4c8g"


class Bench:
    """A cloud that takes orders, opened anew for each step, and the journal that survives."""

    def __init__(self, auth: dict[str, Any]) -> None:
        self.auth, self.journal = auth, MemoryJournal()
        self.project = ""

    def cloud(self) -> OpenStackCloud:
        auth = self.auth
        one = OpenStackCloud(
            auth["auth_url"], user=auth["username"], password=Secret("env:none", lambda _name: auth["password"]),
            hands=True, usage="none", image="cirros", network="none", flavors=LINES,
        )  # fmt: skip
        one.keep_journal(self.journal)
        return one

    def order(self, verb: Verb, kind: ServiceKind = ServiceKind.VM, **more: Any) -> Order:
        return Order(uuid4().hex, verb, kind, Arch.X86_64, **more)

    def run(self, order: Order) -> Outcome:
        """Led on until it ends, each step by a process of its own."""

        def ended() -> Outcome | None:
            one = self.cloud()
            known = one.inquire(order.key, now())
            found = one.deliver(order, now()) if known is None else one.advance(order.key, now())
            return None if found.state is OutcomeState.PENDING else found

        found = until(ended, f"the end of {order.verb} {order.external_id}", every=1)
        assert found is not None
        assert self.cloud().inquire(order.key, now()) == found
        return found

    def states(self, order: Order) -> list[tuple[str, str]]:
        return [(one.call.name, one.state.value) for one in self.journal.calls(order.key)]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def bench(real_cloud: dict[str, Any]) -> Iterator[Bench]:
    here = Bench(real_cloud)
    session = here.cloud().session
    projects = {one["name"]: one["id"] for one in session.all(IDENTITY, "/projects", "projects", page=ROUND).rows}
    here.project = projects.get(PROJECT) or str(
        session.post(IDENTITY, "/projects", {"project": {"name": PROJECT, "domain_id": "default"}})["project"]["id"]
    )
    roles = {one["name"]: one["id"] for one in session.get(IDENTITY, "/roles")["roles"]}
    users = {one["name"]: one["id"] for one in session.get(IDENTITY, "/users")["users"]}
    place = f"/projects/{here.project}/users/{users[real_cloud['username']]}/roles/{roles['admin']}"
    assert session.sent(IDENTITY, "PUT", place).status_code == 204
    known = {one["name"] for one in here.cloud().calls.flavors()}
    for name, vcpus, ram in CLOUD_KEEPS_THE_DISK:
        if name not in known:
            session.post(COMPUTE, "/flavors", {"flavor": {"name": name, "vcpus": vcpus, "ram": ram, "disk": 20}})
    cores(here, 64)
    yield here
    made = session.all(COMPUTE, "/servers/detail", "servers", microversion=session.nova(), all_tenants=1).rows
    for one in made:
        if one["tenant_id"] == here.project:
            session.sent(COMPUTE, "DELETE", f"/servers/{one['id']}")


def cores(bench: Bench, most: int) -> None:
    body = {"quota_set": {"cores": most, "ram": 262_144, "instances": 40}}
    answer = bench.cloud().session.sent(COMPUTE, "PUT", f"/os-quota-sets/{bench.project}", body)
    assert answer.status_code == 200


def held(bench: Bench, server: str) -> dict[str, int]:
    """What Placement has allocated for a server."""
    found = bench.cloud().session.get(PLACEMENT, f"/allocations/{server}")["allocations"]
    total: dict[str, int] = {}
    for one in found.values():
        for name, figure in one["resources"].items():
            total[name] = total.get(name, 0) + figure
    return total


@pytest.fixture
def server(bench: Bench) -> str:
    made = bench.run(bench.order(Verb.CREATE, amounts=BIG, name=f"hands-{uuid4().hex[:6]}", project=bench.project))
    assert (made.state, dict(made.amounts)) == (OutcomeState.DONE, BIG)
    assert made.external_id is not None
    return made.external_id


def test_a_machine_is_shrunk_and_placement_holds_less(bench: Bench, server: str) -> None:
    assert held(bench, server)["VCPU"] == 8
    order = bench.order(Verb.RESIZE, external_id=server, amounts=SMALL)
    done = bench.run(order)
    assert (done.state, Amount(done.amounts)) == (OutcomeState.DONE, Amount(SMALL))
    assert bench.states(order) == [("resize", "done"), ("confirm", "done")]
    assert (held(bench, server)["VCPU"], held(bench, server)["MEMORY_MB"]) == (4, 8 * GB)
    assert bench.run(bench.order(Verb.DELETE, external_id=server)).state is OutcomeState.DONE


def test_off_into_the_bin_and_back(bench: Bench, server: str) -> None:
    for verb in (Verb.STOP, Verb.START, Verb.RECYCLE):
        assert bench.run(bench.order(verb, external_id=server)).state is OutcomeState.DONE, verb
    [fact] = [one for one in bench.cloud().inventory(now()).facts if one.external_id == server]
    assert fact.state is ResourceState.RECYCLED
    assert held(bench, server) == {}
    assert bench.run(bench.order(Verb.RESTORE, external_id=server)).state is OutcomeState.DONE
    [fact] = [one for one in bench.cloud().inventory(now()).facts if one.external_id == server]
    assert (fact.state, fact.cloud_state) == (ResourceState.STOPPED, "SHUTOFF")
    assert held(bench, server)["VCPU"] == 8
    assert bench.run(bench.order(Verb.DELETE, external_id=server)).state is OutcomeState.DONE
    # Nova calls it deleted a moment before it takes it off its lists.
    left = [one.state for one in bench.cloud().inventory(now()).facts if one.external_id == server]
    assert set(left) <= {ResourceState.DELETED}


def test_what_nova_took_and_nobody_heard_of_is_not_asked_for_again(bench: Bench) -> None:
    """The process dies after each call, before it could note it: the next one finds what there is."""
    order = bench.order(Verb.CREATE, amounts=SMALL, name=f"hands-{uuid4().hex[:6]}", project=bench.project)
    one = bench.cloud()
    sent = one.session.sent

    def dying(*what: Any, **more: Any) -> Any:
        sent(*what, **more)
        raise ProviderFault("killed", transient=True, code="unreachable")

    one.calls.acts._within({"id": bench.project, "name": PROJECT, "domain": "Default"}).sent = dying  # type: ignore[method-assign]
    with pytest.raises(ProviderFault):
        one.deliver(order, now())
    made = bench.run(order)
    assert made.state is OutcomeState.DONE
    session = bench.cloud().session
    rows = session.all(COMPUTE, "/servers/detail", "servers", microversion=session.nova(), all_tenants=1).rows
    assert [row["id"] for row in rows if row["name"] == order.name] == [made.external_id]
    assert bench.run(bench.order(Verb.DELETE, external_id=made.external_id)).state is OutcomeState.DONE


def test_over_the_projects_quota_is_said(bench: Bench) -> None:
    cores(bench, 2)
    try:
        ended = bench.run(bench.order(Verb.CREATE, amounts=SMALL, name="hands-over", project=bench.project))
    finally:
        cores(bench, 64)
    assert (ended.state, ended.code) == (OutcomeState.FAILED, "over_quota")


def test_a_volume_is_made_grown_pictured_and_deleted(bench: Bench) -> None:
    kind = ServiceKind.VOLUME
    made = bench.run(bench.order(Verb.CREATE, kind, amounts={BLOCK: 1}, name="hands-v", project=bench.project))
    assert (made.state, dict(made.amounts)) == (OutcomeState.DONE, {BLOCK: 1})
    grown = bench.run(bench.order(Verb.RESIZE, kind, amounts={BLOCK: 3}, external_id=made.external_id))
    assert (grown.state, dict(grown.amounts)) == (OutcomeState.DONE, {BLOCK: 3})
    with pytest.raises(ProviderFault, match="can't shrink"):
        bench.cloud().plan(bench.order(Verb.RESIZE, kind, amounts={BLOCK: 1}, external_id=made.external_id), now())
    picture = bench.run(bench.order(Verb.SNAPSHOT, kind, external_id=made.external_id))
    assert picture.state is OutcomeState.DONE
    session = bench.cloud().session
    assert session.found(VOLUMES, f"/snapshots/{picture.message}") is not None
    assert session.sent(VOLUMES, "DELETE", f"/snapshots/{picture.message}").status_code == 202
    until(lambda: session.found(VOLUMES, f"/snapshots/{picture.message}") is None, "the snapshot is gone", every=1)
    assert bench.run(bench.order(Verb.DELETE, kind, external_id=made.external_id)).state is OutcomeState.DONE


def test_a_projects_quota_is_set_where_the_services_keep_it(bench: Bench, server: str) -> None:
    def told() -> Any:
        return next(one for one in bench.cloud().quotas(now()) if one.project.external_id == bench.project)

    before = told()
    limits = {VCPU: 12, MEMORY: 48 * GB, BLOCK: 77, EIP: 3}
    order = bench.order(Verb.SET_QUOTA, ServiceKind.PROJECT, project=bench.project, limits=limits)
    try:
        plan = bench.cloud().plan(order, now())
        assert [one.name for one in plan if one.name != "quota_unified"] == [
            "quota_compute",
            "quota_volumes",
            "quota_network",
        ]
        assert bench.run(order).state is OutcomeState.DONE
        assert {kind: told().limits[kind] for kind in limits} == limits
        assert {kind: most for kind, most in told().unified.items() if kind in limits} in (
            {},
            {VCPU: 12, MEMORY: 48 * GB},
        )
        with pytest.raises(ProviderFault, match="these limits already"):
            bench.cloud().plan(
                bench.order(Verb.SET_QUOTA, ServiceKind.PROJECT, project=bench.project, limits=limits), now()
            )
        less = bench.order(Verb.SET_QUOTA, ServiceKind.PROJECT, project=bench.project, limits={VCPU: 4})
        with pytest.raises(ProviderFault, match="8 are in use, 4 are to be allowed") as fault:
            bench.cloud().plan(less, now())
        assert fault.value.code == "never"
    finally:
        assert bench.run(bench.order(Verb.DELETE, external_id=server)).state is OutcomeState.DONE
        again = {kind: most for kind, most in before.limits.items() if most is not None and kind in limits}
        bench.run(bench.order(Verb.SET_QUOTA, ServiceKind.PROJECT, project=bench.project, limits=again))
