"""Orders carried out on an OpenStack through the real openstacksdk: over the recorded control plane, with a Nova that changes
(tests/clouds/living.py)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from providers import observation, orders
from providers.adapters.conformance import CloudSuite
from providers.adapters.openstack import OpenStackCloud
from providers.adapters.openstack.acts import CloudActs
from providers.base import Order, Outcome, OutcomeState, ProviderFault, ResourceState, ServiceKind, Verb
from providers.hands import MemoryJournal
from providers.orders.tables import OrderState, WorkOrder
from quota.actors import steward
from quota.directory import Pool
from quota.errors import Invalid
from quota.inventory import CloudProject
from quota.ledger.tables import Holder
from quota.units import BLOCK, CLASSES, MEMORY, VCPU, Arch
from tests.city import City
from tests.clouds.living import LivingNova
from tests.clouds.recordings import Ask, Reply, on, served
from tests.providers.test_openstack import PLANE, cloud

GB = 1024
NOW = PLANE.now
DONE, PENDING, FAILED = OutcomeState.DONE, OutcomeState.PENDING, OutcomeState.FAILED


class Told:
    """A cloud that takes orders, its Nova, and the journal of its orders."""

    def __init__(self, here: Any, nova: LivingNova, **options: Any) -> None:
        self.nova, self.here, self.options = nova, here, options
        self.journal = MemoryJournal()
        self.clock = NOW
        self.cloud = self.opened()

    def opened(self) -> OpenStackCloud:
        """As the next process opens it."""
        one = cloud(self.here, hands=True, **{"image": "cirros", "network": "none", **self.options})
        one.keep_journal(self.journal)
        return one

    def order(self, verb: Verb, name: str = "", key: str = "", **more: Any) -> Order:
        about = self.nova.of(name)["id"] if name else None
        return Order(key or uuid4().hex, verb, ServiceKind.VM, Arch.X86_64, external_id=about, **more)

    def run(self, order: Order, looks: int = 12) -> Outcome:
        """Led on until it ends, by a process of its own at each look."""
        found = self.opened().deliver(order, self.clock)
        for _look in range(looks):
            if found.state is not PENDING:
                break
            self.clock += timedelta(minutes=3)
            found = self.opened().advance(order.key, self.clock)
        return found

    def states(self, order: Order) -> list[tuple[str, str]]:
        return [(one.call.name, one.state.value) for one in self.journal.calls(order.key)]


@pytest.fixture
def told() -> Any:
    nova = LivingNova(PLANE)
    running = next(one for one in nova.servers.values() if one["status"] == "ACTIVE")
    running |= {
        "name": "hands",
        "flavor": {**running["flavor"], "vcpus": 4, "ram": 8 * GB, "disk": 40, "original_name": "m1.large"},
    }
    with served(PLANE, nova) as here:
        yield Told(here, nova)


class TestOpenStackHands(CloudSuite):
    adapter = OpenStackCloud
    now = NOW
    history = None

    @pytest.fixture(autouse=True)
    def _there(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("TEST_OPENSTACK", "testbed")
        with served(PLANE, LivingNova(PLANE)) as here:
            self.here = here
            yield

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {
            "auth_url": f"{self.here.url}/identity/v3", "user": "admin", "password": "env:TEST_OPENSTACK", "hands": True,
            "usage": "none",
        }  # fmt: skip


def test_a_server_is_made_of_the_flavor_of_its_size_in_its_departments_project(told: Told) -> None:
    order = Order("k1", Verb.CREATE, ServiceKind.VM, Arch.X86_64, amounts={VCPU: 2, MEMORY: 4 * GB}, name="web-01",
                  department_code="finance")  # fmt: skip
    [call] = told.cloud.plan(order, NOW)
    assert call.text == "POST /servers web-01 m1.medium cirros none → finance"
    assert told.nova.taken == []
    made = told.run(order)
    assert (made.state, dict(made.amounts)) == (DONE, {VCPU: 2, MEMORY: 4 * GB})
    row = told.nova.of("web-01")
    assert (made.external_id, row["metadata"]) == (row["id"], {"guanjia_key": "k1", "department": "finance"})
    assert told.nova.taken == ["create"]


def test_a_resize_is_confirmed_and_frees_only_then(told: Told) -> None:
    order = told.order(Verb.RESIZE, "hands", amounts={VCPU: 8, MEMORY: 16 * GB})
    calls = told.cloud.plan(order, NOW)
    assert [(one.name, sorted(one.frees), one.final, one.stops) for one in calls] == [
        ("resize", [], False, True), ("confirm", [MEMORY, VCPU], True, False),
    ]  # fmt: skip
    first = told.cloud.deliver(order, NOW)
    assert (first.state, told.nova.taken) == (PENDING, ["resize"])
    done = told.run(order)
    assert (done.state, dict(done.amounts)) == (DONE, {VCPU: 8, MEMORY: 16 * GB})
    assert told.nova.taken == ["resize", "confirmResize"]
    assert told.nova.of("hands")["status"] == "ACTIVE"


def test_what_became_another_size_is_reverted(told: Told) -> None:
    order = told.order(Verb.RESIZE, "hands", amounts={VCPU: 8, MEMORY: 16 * GB})
    told.cloud.deliver(order, NOW)
    _looks, change = told.nova._later[str(order.external_id)]
    change["flavor"]["vcpus"] = 2  # somebody made the flavor another one meanwhile
    ended = told.run(order)
    assert (ended.state, ended.code) == (FAILED, "never")
    assert "became 2C16G" in ended.message
    assert told.states(order) == [("resize", "done"), ("confirm", "failed"), ("revert", "done")]
    assert told.nova.of("hands")["flavor"]["vcpus"] == 4


def test_a_confirm_that_is_refused_for_good_is_taken_back(told: Told) -> None:
    told.nova.trouble = {"confirmResize": [400]}
    order = told.order(Verb.RESIZE, "hands", amounts={VCPU: 8, MEMORY: 16 * GB})
    ended = told.run(order)
    assert (ended.state, ended.code) == (FAILED, "never")
    assert told.states(order) == [("resize", "done"), ("confirm", "failed"), ("revert", "done")]
    assert told.nova.of("hands")["flavor"]["vcpus"] == 4
    assert told.nova.of("hands")["status"] == "ACTIVE"


@pytest.mark.parametrize("call", ["resize", "confirmResize"])
@pytest.mark.parametrize("how", ["down", "lost", 503, 429, 409])
def test_an_answer_that_did_not_come_is_never_a_second_call(told: Told, call: str, how: Any) -> None:
    told.nova.trouble = {call: [how]}
    order = told.order(Verb.RESIZE, "hands", amounts={VCPU: 8, MEMORY: 16 * GB})
    found = None
    for _process in range(14):
        told.clock += timedelta(minutes=3)
        one = told.opened()
        try:
            known = one.inquire(order.key, told.clock)
            found = one.deliver(order, told.clock) if known is None else one.advance(order.key, told.clock)
        except ProviderFault as fault:
            assert fault.transient
            if how in (503, 429):
                assert (fault.code, fault.wait_s) == ("busy", 7)
            continue
        if found.state is not PENDING:
            break
    assert found is not None
    assert found.state is DONE
    assert told.nova.taken == ["resize", "confirmResize"], "each once"


def test_a_lost_create_is_found_by_its_key(told: Told) -> None:
    told.nova.trouble = {"create": ["lost"]}
    order = Order("k9", Verb.CREATE, ServiceKind.VM, Arch.X86_64, amounts={VCPU: 1, MEMORY: 2 * GB}, name="x",
                  department_code="finance")  # fmt: skip
    with pytest.raises(ProviderFault) as fault:
        told.cloud.deliver(order, NOW)
    assert fault.value.transient
    assert told.run(order).state is DONE
    assert [one["metadata"].get("guanjia_key") for one in told.nova.servers.values()].count("k9") == 1


def test_a_server_that_never_ran_is_cleared_away_and_nothing_else_is(told: Told) -> None:
    told.nova.trouble = {"create": ["fails"]}
    before = set(told.nova.servers)
    order = Order("k9", Verb.CREATE, ServiceKind.VM, Arch.X86_64, amounts={VCPU: 1, MEMORY: 2 * GB}, name="x",
                  department_code="finance")  # fmt: skip
    ended = told.run(order)
    assert (ended.state, ended.message) == (FAILED, "No valid host was found. ")
    assert told.states(order) == [("create", "failed"), ("discard", "done")]
    assert set(told.nova.servers) == before


def test_a_resize_that_goes_wrong_on_its_host_is_told(told: Told) -> None:
    told.nova.trouble = {"resize": ["fails"]}
    order = told.order(Verb.RESIZE, "hands", amounts={VCPU: 8, MEMORY: 16 * GB})
    ended = told.run(order)
    assert ended.state is FAILED
    assert told.states(order) == [("resize", "failed"), ("confirm", "dropped")]


@pytest.mark.parametrize("unified", [False, True])
def test_over_the_projects_own_quota_is_its_own_fault(told: Told, unified: bool) -> None:
    told.nova.cores, told.nova.unified = 4, unified
    order = Order("k9", Verb.CREATE, ServiceKind.VM, Arch.X86_64, amounts={VCPU: 16, MEMORY: 16 * GB}, name="x",
                  department_code="finance")  # fmt: skip
    ended = told.run(order)
    assert (ended.state, ended.code) == (FAILED, "over_quota")
    assert ("class:VCPU" if unified else "cores") in ended.message


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (403, "Policy doesn't allow os_compute_api:os-quota-sets:update to be performed.", "rights"),
        (403, "Quota exceeded for cores: Requested 4, but already used 20 of 20 cores", "over_quota"),
        (
            413,
            "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'.",
            "over_quota",
        ),
        (413, "Requested volume or snapshot exceeds allowed gigabytes quota.", "over_quota"),
        (403, "Quota has been met for resources: load_balancer", "over_quota"),
        (409, "Quota exceeded for resources: ['floatingip'].", "over_quota"),
        (409, "Quota set of the project is being changed.", "busy"),
    ],
)
def test_over_quota_is_what_says_so_and_no_question_about_quotas(status: int, said: str, code: str) -> None:
    answered = on("os-quota-sets", status, {"error": {"message": said}})
    with served(PLANE, answered) as here, pytest.raises(ProviderFault) as fault:
        CloudActs(cloud(here).session).act("compute", "PUT", "/os-quota-sets/1", {"quota_set": {}})
    assert fault.value.code == code


@pytest.mark.parametrize(
    ("wanted", "word"),
    [({VCPU: 3}, "no flavor of 3C8G"), ({VCPU: 1, MEMORY: 2 * GB}, "root disk of 40 GB")],
)
def test_what_no_flavor_fits_is_refused_when_it_is_planned(told: Told, wanted: dict[Any, int], word: str) -> None:
    with pytest.raises(ProviderFault, match=word) as fault:
        told.cloud.plan(told.order(Verb.RESIZE, "hands", amounts=wanted), NOW)
    assert (fault.value.transient, fault.value.code) == (False, "never")
    assert told.nova.taken == []


@pytest.mark.parametrize("wanted", [{VCPU: 4}, {VCPU: 4, MEMORY: 8 * GB}])
def test_a_size_that_stands_already_is_done_without_a_call(told: Told, wanted: dict[Any, int]) -> None:
    order = told.order(Verb.RESIZE, "hands", amounts=wanted)
    calls = told.cloud.plan(order, NOW)
    assert {one.text for one in calls} == {f"/servers/{order.external_id} is 4C8G already"}
    done = told.cloud.deliver(order, NOW)
    assert (done.state, dict(done.amounts)) == (DONE, {VCPU: 4, MEMORY: 8 * GB})
    assert told.nova.taken == []


def test_a_volume_that_has_its_size_already_is_done_without_a_call() -> None:
    def volume(ask: Ask, reply: Reply) -> Reply:
        if not ask.path.endswith("/volumes/v-1"):
            return reply
        return Reply(200, {"volume": {"id": "v-1", "size": 7, "status": "available", "attachments": []}})

    with served(PLANE, volume) as here:
        one = cloud(here, hands=True)
        one.keep_journal(MemoryJournal())
        order = Order("k", Verb.RESIZE, ServiceKind.VOLUME, Arch.X86_64, external_id="v-1", amounts={BLOCK: 7})
        [call] = one.plan(order, NOW)
        assert call.text == "/volumes/v-1 is 7 GB already"
        done = one.deliver(order, NOW)
        assert (done.state, dict(done.amounts)) == (DONE, {BLOCK: 7})
        assert {ask.method for ask in here.asked if ask.path.startswith("volumes/")} == {"GET"}


@pytest.mark.parametrize(
    "place", ["identity/v3/projects", "identity/v3/domains", "images/v2/images", "network/v2.0/networks"]
)
def test_a_list_that_can_not_be_read_is_not_an_empty_one(place: str) -> None:
    order = Order("k", Verb.CREATE, ServiceKind.VM, Arch.X86_64, amounts={VCPU: 2, MEMORY: 4 * GB}, name="web-01",
                  department_code="finance")  # fmt: skip
    with served(PLANE, LivingNova(PLANE), on(f"{place}$", 503)) as here, pytest.raises(ProviderFault) as fault:
        cloud(here, hands=True, image="cirros", network="inside").plan(order, NOW)
    assert fault.value.transient, "it is tried again"
    assert place.rpartition("/")[2] in str(fault.value)


def test_where_several_flavors_fit_the_options_say_which(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.clouds import living

    monkeypatch.setitem(living.FLAVORS, "gov.8c16g", (8, 16 * GB, 40))
    order = told.order(Verb.RESIZE, "hands", amounts={VCPU: 8, MEMORY: 16 * GB})
    with pytest.raises(ProviderFault, match=r"several flavors fit \(gov\.8c16g, m1\.xlarge\)"):
        told.cloud.plan(order, NOW)
    told.options["flavors"] = "8C16G = gov.8c16g"
    assert told.opened().plan(order, NOW)[0].text.endswith("gov.8c16g")
    assert "1 flavors" in told.opened().probe(NOW)
    told.options["flavors"] = "8C16G = m1.large\n2C4G = nowhere"
    with pytest.raises(ProviderFault, match=r"8C16G = m1\.large: it is 4C8G; 2C4G = nowhere: no such flavor"):
        told.opened().probe(NOW)


@pytest.mark.parametrize("lines", ["8C16G", "8C16G = a\n8c16g = b", "C8G = a"])
def test_lines_that_say_no_size_are_refused_by_their_number(told: Told, lines: str) -> None:
    told.options["flavors"] = lines
    with pytest.raises(Invalid, match="第") as wrong:
        told.opened()
    assert wrong.value.params["field"] == "flavors"


def test_recycled_is_shelved_and_locked_and_comes_back_switched_off(told: Told) -> None:
    order = told.order(Verb.RECYCLE, "hands")
    assert told.run(order).state is DONE
    row = told.nova.of("hands")
    assert (row["status"], row["locked"], row["locked_reason"]) == ("SHELVED_OFFLOADED", True, "guanjia")
    [fact] = [one for one in told.cloud.inventory(NOW).facts if one.name == "hands"]
    assert (fact.state, fact.cloud_state) == (ResourceState.RECYCLED, "SHELVED_OFFLOADED")
    assert "delete" not in told.nova.taken
    assert told.run(told.order(Verb.RESTORE, "hands")).state is DONE
    row = told.nova.of("hands")
    assert (row["status"], row["locked"]) == ("SHUTOFF", False)


def test_what_a_department_shelved_itself_is_no_recycle_bin(told: Told) -> None:
    told.nova.of("hands").update(status="SHELVED_OFFLOADED", locked=True, locked_reason="holiday")
    [fact] = [one for one in told.cloud.inventory(NOW).facts if one.name == "hands"]
    assert fact.state is ResourceState.STOPPED


def test_a_snapshots_id_is_kept(told: Told) -> None:
    done = told.run(told.order(Verb.SNAPSHOT, "hands"))
    assert (done.state, done.message) == (DONE, told.nova.images[0]["id"])


@pytest.mark.parametrize(
    ("state", "doing", "hours"), [("queued", None, 2), ("queued", "image_pending_upload", 24), ("saving", None, 24)]
)
def test_a_picture_that_stays_where_it_is_ends_its_order_in_words(
    told: Told, state: str, doing: str | None, hours: int
) -> None:
    told.nova.pictured = state
    order = told.order(Verb.SNAPSHOT, "hands")
    assert told.opened().deliver(order, NOW).state is PENDING
    told.nova.of("hands")["OS-EXT-STS:task_state"] = doing
    assert told.opened().advance(order.key, NOW + timedelta(hours=hours, seconds=-1)).state is PENDING
    ended = told.opened().advance(order.key, NOW + timedelta(hours=hours))
    assert (ended.state, ended.code) == (FAILED, "stalled")
    assert f"image {told.nova.images[0]['id']} is {state}" in ended.message
    assert told.opened().advance(order.key, NOW + timedelta(days=9)) == ended
    assert told.nova.taken == ["createImage"], "once"


def test_a_delete_is_sent_for_a_delete_alone(told: Told) -> None:
    order = told.order(Verb.DELETE, "hands")
    [call] = told.cloud.plan(order, NOW)
    assert (call.final, call.frees) == (True, frozenset(CLASSES))
    assert told.run(order).state is DONE
    assert order.external_id not in told.nova.servers
    assert told.nova.taken == ["delete"]


def test_what_is_under_way_there_is_busy_and_what_is_broken_is_never(told: Told) -> None:
    told.nova.of("hands").update(**{"OS-EXT-STS:task_state": "powering-off"})
    with pytest.raises(ProviderFault) as busy:
        told.cloud.plan(told.order(Verb.RESIZE, "hands", amounts={VCPU: 8, MEMORY: 16 * GB}), NOW)
    assert (busy.value.transient, busy.value.code) == (True, "busy")
    told.nova.of("hands").update(**{"OS-EXT-STS:task_state": None, "status": "ERROR"})
    with pytest.raises(ProviderFault) as never:
        told.cloud.plan(told.order(Verb.STOP, "hands"), NOW)
    assert (never.value.transient, never.value.code) == (False, "never")


def test_who_may_only_read_takes_no_orders() -> None:
    with served(PLANE) as here:
        one = cloud(here)
        assert one.capabilities == frozenset()
        with pytest.raises(ProviderFault) as fault:
            one.deliver(Order("k", Verb.STOP, ServiceKind.VM, Arch.X86_64, "x"), NOW)
        assert not fault.value.transient
        assert one.inquire("k", NOW) is None


def test_the_house_delivers_what_was_approved_and_frees_it_when_it_is_confirmed(
    works: City, clock: Any, told: Told
) -> None:
    """Through the book: nova-api stops in the middle of a delivery, and nothing is lost or done twice."""
    with works.book.transaction(steward()) as tx:
        tx.add(
            CloudProject(
                pool_id=works.pool, external_id=_finance(), name="finance", department_id=works.bureau,
                first_seen_at=tx.now, last_seen_at=tx.now,
            )
        )  # fmt: skip
    told.options["arch"] = "aarch64"
    made = works.create(amounts={VCPU: 8, MEMORY: 16 * GB})
    order = _led(works, clock, made, told)
    assert order.state == OrderState.DELIVERED
    assert told.nova.of("db-01")["metadata"]["guanjia_key"] == "k"
    smaller = works.place(Verb.RESIZE, "smaller", resource=order.resource, amounts={VCPU: 4, MEMORY: 8 * GB})
    told.nova.trouble = {"resize": ["lost"], "confirmResize": ["down", "down"]}
    seen = []
    for _process in range(16):
        smaller = orders.carry(works.book, smaller.id, told.opened())
        seen.append(works.balance(Holder.USED))
        if smaller.next_try_at is None:
            break
        clock.advance(seconds=(smaller.next_try_at - clock.now).total_seconds() + 1)
    assert smaller.state == OrderState.DELIVERED
    assert told.nova.taken == ["create", "resize", "confirmResize"]
    assert (seen[:-1], seen[-1]) == ([8] * (len(seen) - 1), 4), "freed when it was confirmed, not before"
    works.prove()


def test_what_somebody_resized_past_the_book_is_booked_as_it_stands(works: City, clock: Any, told: Told) -> None:
    """The department asks for the size that the server has already: nothing is called, and the book follows."""
    with works.book.transaction(steward()) as tx:
        tx.add(
            CloudProject(
                pool_id=works.pool, external_id=_finance(), name="finance", department_id=works.bureau,
                first_seen_at=tx.now, last_seen_at=tx.now,
            )
        )  # fmt: skip
    told.options["arch"] = "aarch64"
    made = _led(works, clock, works.create(amounts={VCPU: 8, MEMORY: 16 * GB}), told)
    told.nova.of("db-01")["flavor"].update(vcpus=4, ram=8 * GB)
    with works.book.transaction(steward("job:collect")) as tx:
        observation.observe(tx, tx.get_one(Pool, works.pool), told.opened().inventory(clock.now))
    order = works.place(Verb.RESIZE, "as it is", resource=made.resource, amounts={VCPU: 4, MEMORY: 8 * GB})
    order = _led(works, clock, order, told)
    assert (order.state, dict(order.resource.counts())) == (OrderState.DELIVERED, {VCPU: 4, MEMORY: 8 * GB})
    assert (told.nova.taken, works.balance(Holder.USED)) == (["create"], 4)
    works.prove()


def _led(works: City, clock: Any, order: WorkOrder, told: Told) -> WorkOrder:
    for _process in range(12):
        order = orders.carry(works.book, order.id, told.opened())
        if order.next_try_at is None:
            break
        clock.advance(seconds=(order.next_try_at - clock.now).total_seconds() + 1)
    return works.now(order)


def _finance() -> str:
    return next(
        one["id"]
        for ask, reply in PLANE.exchanges
        if ask.path == "identity/v3/projects"
        for one in reply.answer["projects"]
        if one["name"] == "finance"
    )
