"""The OpenStack adapter through the real openstacksdk, over replies of real services (tests/clouds/recordings.py), and over the
same with what goes wrong there declared."""

from __future__ import annotations

import copy
import json
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trustme
from sqlalchemy import select

from metering.intake import widths
from providers import connection, observation
from providers.adapters.conformance import CloudSuite
from providers.adapters.openstack import OpenStackCloud, listing, words
from providers.base import ProviderFault, ResourceFact, ResourceState, ServiceKind
from providers.secrets import Secret
from quota.actors import steward
from quota.directory import Pool
from quota.errors import Invalid
from quota.inventory import Resource
from quota.units import ACCELERATOR, BLOCK, EIP, MEMORY, VCPU, Arch
from tests.city import City
from tests.clouds import filling
from tests.clouds.filling import LONG, by_the_hour
from tests.clouds.recordings import (
    FOLDER,
    Ask,
    Change,
    Recording,
    Reply,
    Served,
    first_page_again,
    many,
    on,
    rows_of,
    served,
    wired,
)
from tests.patience import PATIENCE, free_port

FILES = sorted(FOLDER.glob("*.jsonl"))
PLANE = Recording.read(FOLDER / "control-plane.jsonl")
SERVERS = r"^compute/v2.1/servers/detail"
VOLUMES = r"^volumes/v3(/[^/]+)?/volumes/detail"
FLOATING = r"^network/v2.0/floatingips"


def cloud(of: Served | str, **options: Any) -> OpenStackCloud:
    url = of if isinstance(of, str) else f"{of.url}/identity/v3"
    given: dict[str, Any] = {"user": "admin", "password": Secret("env:none", lambda _name: "testbed")}
    one = OpenStackCloud(url, **(given | {"settle_s": 0} | options))
    one.session.pause_s = 0.01
    return one


def asked(here: Served, place: str = "") -> list[Ask]:
    return [one for one in here.asked if place in one.path]


def facts(listing: Any) -> dict[str, ResourceFact]:
    return {one.external_id: one for one in listing.facts}


def told(place: str, key: str) -> list[dict[str, Any]]:
    """A list as the services answered it."""
    return next(
        reply.answer[key] for ask, reply in PLANE.exchanges if place in ask.path and ("status", "SOFT_DELETED") not in ask.query
        and isinstance(reply.answer, dict) and key in reply.answer
    )  # fmt: skip


class TestOpenStack(CloudSuite):
    adapter = OpenStackCloud
    now = PLANE.now
    history = timedelta(hours=2)

    @pytest.fixture(autouse=True)
    def _there(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("TEST_OPENSTACK", "testbed")
        with served(PLANE) as here:
            self.here = here
            yield

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {
            "auth_url": f"{self.here.url}/identity/v3",
            "user": "admin",
            "password": "env:TEST_OPENSTACK",
            "settle_s": 0,
        }

    def unreachable(self, folder: Path) -> Mapping[str, Any]:
        return {**self.options(folder), "auth_url": f"http://127.0.0.1:{free_port()}/v3"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_recording_says_what_it_is_of_and_is_as_it_was_recorded(path: Path, tmp_path: Path) -> None:
    about = Recording.read(path).about
    assert set(about) == {"recorded_at", "now", "services", "openstacksdk"}
    assert set(about["services"]) >= {
        "nova",
        "keystone",
        "neutron",
        "cinder",
        "glance",
        "gnocchi",
        "openstack-placement",
    }
    edited = tmp_path / path.name
    edited.write_text(path.read_text().replace('"ACTIVE"', '"SHUTOFF"', 1))
    with pytest.raises(ValueError, match="digest"):
        Recording.read(edited)


def test_what_is_listed_is_what_the_services_answered() -> None:
    with served(PLANE) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert (listing.complete, listing.short) == (True, {})
    found = facts(listing)
    servers, volumes = told("servers/detail", "servers"), told("volumes/detail", "volumes")
    kinds = Counter(one.kind for one in listing.facts)
    assert kinds[ServiceKind.VM] == len(servers) == filling.SERVERS
    assert kinds[ServiceKind.VOLUME] == len(volumes)
    assert kinds[ServiceKind.EIP] == len(told("floatingips", "floatingips"))
    assert (kinds[ServiceKind.SNAPSHOT], kinds[ServiceKind.PORT], kinds[ServiceKind.IMAGE]) == (1, 1, 2)
    for one in servers:
        fact = found[one["id"]]
        assert (fact.name, fact.cloud_state) == (one["name"], one["status"])
        assert fact.amounts == {VCPU: one["flavor"]["vcpus"], MEMORY: one["flavor"]["ram"]}
        assert fact.project is not None
        assert fact.project.external_id == one["tenant_id"]
        assert fact.created_at is not None
        assert fact.created_at.strftime("%Y-%m-%dT%H:%M:%SZ") == one["created"]
    for one in volumes:
        assert found[one["id"]].amounts == {BLOCK: one["size"]}
    assert all(one.amounts == {EIP: 1} and one.address for one in listing.facts if one.kind is ServiceKind.EIP)
    names = {one.external_id: one for one in listing.projects}
    assert len(names) == len(told("identity/v3/projects", "projects"))
    finance = next(one for one in listing.projects if one.name == "finance")
    assert (finance.domain, "department" in finance.tags) == ("Default", True)


def test_each_state_of_nova_has_a_word_and_keeps_its_own() -> None:
    with served(PLANE) as here:
        listing = cloud(here).inventory(PLANE.now)
    states = {one.name.removeprefix("ostack-"): (one.state, one.cloud_state) for one in listing.facts if one.name.startswith("ostack-")
              and one.kind is ServiceKind.VM}  # fmt: skip
    assert states == {
        "off": (ResourceState.STOPPED, "SHUTOFF"), "paused": (ResourceState.STOPPED, "PAUSED"),
        "suspended": (ResourceState.STOPPED, "SUSPENDED"), "shelved": (ResourceState.STOPPED, "SHELVED_OFFLOADED"),
        "resized": (ResourceState.CHANGING, "VERIFY_RESIZE"), "running": (ResourceState.RUNNING, "ACTIVE"),
        "broken": (ResourceState.ERROR, "ERROR"),
    }  # fmt: skip
    tagged = next(one for one in listing.facts if one.name == "ostack-running")
    assert (tagged.department_code, tagged.system_code, tagged.tags["flavor"]) == ("A01", "portal", "m1.small")
    assert {words.server_state(one) for one in ("BUILD", "MIGRATING", "SOFT_DELETED", "DELETED", "WHAT_COMES_NEXT")} == {
        ResourceState.BUILDING, ResourceState.RUNNING, ResourceState.RECYCLED, ResourceState.DELETED, ResourceState.CHANGING,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------- many, in few requests


def test_two_hundred_servers_and_their_usage_take_sixty_requests_at_the_most() -> None:
    flows = wired({"network.incoming.bytes rate:mean": lambda _id, _at: 3e6})
    with served(many(PLANE, 200), flows, cap=100) as here:
        one = cloud(here)
        listing = one.inventory(PLANE.now)
        (batch,) = one.samples(PLANE.now - timedelta(hours=2), PLANE.now)
        rows = batch.table.num_rows
        assert batch.table.column("net_rx_kbps").null_count == 0
        sent = one.session.requests
    assert sum(fact.kind is ServiceKind.VM for fact in listing.facts) == 200
    assert rows > 170 * 20
    assert sent == len(here.asked)
    assert sent <= 60


def test_pages_of_any_length_are_read_to_the_end_whoever_says_that_there_are_more() -> None:
    with served(PLANE) as here:
        whole = cloud(here).inventory(PLANE.now)
    with served(PLANE, cap=7) as here:
        assert cloud(here).inventory(PLANE.now) == whole
    with served(many(PLANE, 1_200), links=False) as here:  # 1,000 rows, and no word that there are more
        cut = cloud(here).inventory(PLANE.now)
    assert sum(fact.kind is ServiceKind.VM for fact in cut.facts) == 1_200
    assert cut.short == {}


# --------------------------------------------------------------------------------------------------------- what goes wrong


def test_one_service_that_is_down_makes_its_own_kinds_short() -> None:
    with served(PLANE, on("^volumes/", 503)) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert set(listing.short) == {ServiceKind.VOLUME, ServiceKind.SNAPSHOT}
    assert "503" in listing.short[ServiceKind.VOLUME]
    assert sum(one.kind is ServiceKind.VM for one in listing.facts) == filling.SERVERS
    with served(PLANE, on("^compute/", 500)) as here:
        assert set(cloud(here).inventory(PLANE.now).short) == {ServiceKind.VM, ServiceKind.BARE_METAL}


def test_what_was_read_before_a_list_broke_off_is_kept_and_the_list_is_short() -> None:
    with served(PLANE, on(VOLUMES, 500, after="page"), cap=10) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert sum(one.kind is ServiceKind.VOLUME for one in listing.facts) == 10
    assert set(listing.short) == {ServiceKind.VOLUME}


def test_a_page_that_comes_twice_is_no_end() -> None:
    with served(PLANE, first_page_again(FLOATING), cap=5) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert sum(one.kind is ServiceKind.EIP for one in listing.facts) == 5
    assert "twice" in listing.short[ServiceKind.EIP]
    assert ServiceKind.VM not in listing.short


def test_a_marker_that_is_gone_begins_the_list_again() -> None:
    gone = on(SERVERS, 400, {"badRequest": {"message": "marker [x] not found", "code": 400}}, times=1, after="page")
    with served(PLANE, gone, cap=30) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert sum(one.kind is ServiceKind.VM for one in listing.facts) == filling.SERVERS
    assert listing.short == {}
    always = on(SERVERS, 404, {"itemNotFound": {"message": "marker", "code": 404}}, after="page")
    with served(PLANE, always, cap=30) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert "marker" in listing.short[ServiceKind.VM]


def test_a_list_that_says_it_is_truncated_is_short() -> None:
    def truncated(ask: Ask, reply: Reply) -> Reply:
        if not ask.path.endswith("/snapshots/detail"):
            return reply
        return Reply(200, {**reply.answer, "truncated": True}, reply.headers)

    with served(PLANE, truncated) as here:
        assert set(cloud(here).inventory(PLANE.now).short) == {ServiceKind.SNAPSHOT}


@pytest.mark.parametrize("status", [429, 413, 503])
def test_who_asks_for_patience_is_asked_again_after_what_it_says(status: int) -> None:
    with served(PLANE, on(SERVERS, status, times=2, **{"Retry-After": "0"})) as here:
        listing = cloud(here).inventory(PLANE.now)
        assert len(asked(here, "servers/detail")) == 4  # twice refused, then both lists
    assert listing.short == {}
    with (
        served(PLANE, on(SERVERS, status, {"overLimit": {"message": "slow down"}})) as here,
        pytest.raises(ProviderFault) as fault,
    ):
        cloud(here).probe(PLANE.now)
    assert (fault.value.code, fault.value.transient) == ("busy", True)
    assert "slow down" in str(fault.value)


def test_a_conflict_and_what_is_no_json_are_no_empty_list() -> None:
    with served(PLANE, on(VOLUMES, 409), on(FLOATING, 200, "<html>login</html>")) as here:
        assert set(cloud(here).inventory(PLANE.now).short) == {ServiceKind.VOLUME, ServiceKind.EIP}


def test_who_is_no_administrator_sees_his_own_and_is_told_so() -> None:
    def member(ask: Ask, reply: Reply) -> Reply:
        if not ask.path.endswith("/auth/tokens"):
            return reply
        return Reply(
            reply.status, {"token": {**reply.answer["token"], "roles": [{"id": "m", "name": "member"}]}}, reply.headers
        )

    with served(PLANE, member) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert "admin" in listing.short[ServiceKind.VOLUME]
    assert ServiceKind.VM not in listing.short, "Nova refuses who may not see all"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (on("auth/tokens", 401, {"error": {"message": "wrong", "code": 401}}), "credentials"),
        (
            on(SERVERS, 403, {"forbidden": {"message": "os_compute_api:servers:index:get_all_tenants", "code": 403}}),
            "rights",
        ),
        (on("identity/v3/projects", 403, {"error": {"message": "identity:list_projects", "code": 403}}), "rights"),
        (on("metric/v1/capabilities", 404, "<html><body>not here</body></html>"), "kind"),
        (on("auth/tokens", 404, "<html>"), "kind"),
        (on(SERVERS, 500, {"computeFault": {"message": "boom"}}), "server"),
    ],
)
def test_a_probe_tells_what_is_wrong(change: Any, code: str) -> None:
    with served(PLANE, change) as here, pytest.raises(ProviderFault) as fault:
        cloud(here).probe(PLANE.now)
    assert fault.value.code == code, str(fault.value)
    if code == "rights":
        assert "os_compute_api:servers:index:get_all_tenants" in str(fault.value) or "identity:list_projects" in str(
            fault.value
        )


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", "refused"), ("nobody.invalid", "name")])
def test_a_cloud_that_is_not_there_is_told_by_why(host: str, code: str) -> None:
    with pytest.raises(ProviderFault) as fault:
        cloud(f"http://{host}:{free_port()}/v3", timeout_s=5).probe(PLANE.now)
    assert (fault.value.code, fault.value.transient) == (code, True)


def test_an_authority_of_ones_own_is_believed_where_its_file_is_named(tmp_path: Path) -> None:
    own = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue_cert("localhost").configure_cert(tls)
    own.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with served(PLANE, tls=tls) as here:
        assert cloud(here, ca_file=str(tmp_path / "ca.pem")).inventory(PLANE.now).short == {}
        with pytest.raises(ProviderFault) as fault:
            cloud(here).probe(PLANE.now)
        plain = here.url.replace("https", "http")
        with pytest.raises(ProviderFault) as spoken:
            cloud(f"{plain}/identity/v3", timeout_s=3).probe(PLANE.now)
    assert (fault.value.code, fault.value.transient) == ("certificate", False)
    assert spoken.value.code in ("unreachable", "timeout", "kind")
    with pytest.raises(ProviderFault) as missing:
        cloud("https://localhost:1/v3", ca_file=str(tmp_path / "none.pem")).probe(PLANE.now)
    assert missing.value.code == "certificate"


@pytest.mark.parametrize(("most", "spoken"), [("2.53", "2.53"), ("2.79", "2.79"), ("2.300", "2.96")])
def test_nova_is_spoken_to_in_the_newest_words_that_both_know(most: str, spoken: str) -> None:
    def limited(ask: Ask, reply: Reply) -> Reply:
        if not ask.path.startswith("compute") or "min_version" not in json.dumps(reply.answer):
            return reply
        return Reply(
            reply.status, json.loads(re.sub(r'"2\.1\d\d"', f'"{most}"', json.dumps(reply.answer))), reply.headers
        )

    with served(PLANE, limited) as here:
        one = cloud(here)
        assert one.session.nova() == spoken
        assert one.inventory(PLANE.now).short == {}


def test_a_probe_says_who_answers() -> None:
    with served(PLANE) as here:
        said = cloud(here).probe(PLANE.now)
    projects = len(told("identity/v3/projects", "projects"))
    services = f"Nova 2.96, {projects} projects, block_storage, network, image, placement, Gnocchi"
    assert said == services
    for kept, more in ([], " without instance_network_interface: no network figures"), ([{"id": "tap0"}], ""):
        with served(PLANE, on("metric/v1/search/resource/instance_network_interface", 200, kept)) as here:
            assert cloud(here).probe(PLANE.now) == services + more


def test_a_nova_too_old_to_tell_flavors_is_refused() -> None:
    def old(ask: Ask, reply: Reply) -> Reply:
        if not ask.path.startswith("compute") or "version" not in json.dumps(reply.answer):
            return reply
        return Reply(
            reply.status,
            json.loads(json.dumps(reply.answer).replace('"2.103"', '"2.42"').replace('"2.104"', '"2.42"')),
            reply.headers,
        )

    with served(PLANE, old) as here, pytest.raises(ProviderFault, match=r"2\.42"):
        cloud(here).probe(PLANE.now)


# ------------------------------------------------------------------------------------------------------- quotas, capacity


def test_quotas_are_what_nova_cinder_and_neutron_answer() -> None:
    with served(PLANE) as here:
        found = {one.project.name: one for one in cloud(here).quotas(PLANE.now)}
    assert "service" not in found
    ids = {one["name"]: one["id"] for one in told("identity/v3/projects", "projects")}
    for name, one in found.items():
        said = next(
            reply.answer["quota_set"]
            for ask, reply in PLANE.exchanges
            if ask.path.endswith(f"os-quota-sets/{ids[name]}/detail")
        )
        assert one.limits[VCPU] == said["cores"]["limit"]
        assert one.used[VCPU] == said["cores"]["in_use"]
        assert one.limits[MEMORY] == said["ram"]["limit"]
    for number, name in enumerate(filling.DEPARTMENTS):
        one, most = found[name], filling.CORES[number % len(filling.CORES)]
        assert (one.limits[VCPU], one.used[VCPU], one.limits[BLOCK]) == (most, filling.HELD, filling.VOLUMES_GB)
        assert one.unified == {VCPU: most, MEMORY: filling.REGISTERED["class:MEMORY_MB"]}


def test_capacity_is_what_placement_counts() -> None:
    with served(PLANE) as here:
        found = {one.kind: one for one in cloud(here).capacity(PLANE.now)}
    hosts = [reply.answer["inventories"] for ask, reply in PLANE.exchanges if ask.path.endswith("/inventories")]
    used = [reply.answer["usages"] for ask, reply in PLANE.exchanges if ask.path.endswith("/usages")]
    assert len(hosts) == 2
    for kind, name in ((VCPU, "VCPU"), (MEMORY, "MEMORY_MB")):
        assert found[kind].total == sum(one[name]["total"] for one in hosts)
        assert found[kind].reserved == sum(one[name]["reserved"] for one in hosts)
        assert found[kind].used == sum(one[name] for one in used)
        assert found[kind].ratio == 4


def test_an_unlimited_quota_is_none_and_a_list_that_is_not_whole_is_a_fault() -> None:
    def unlimited(ask: Ask, reply: Reply) -> Reply:
        if "os-quota-sets" not in ask.path or not ask.path.endswith("/detail"):
            return reply
        told = {**reply.answer["quota_set"], "cores": {"limit": -1, "in_use": 3, "reserved": 0}}
        return Reply(200, {"quota_set": told}, reply.headers)

    with served(PLANE, unlimited) as here:
        assert {one.limits[VCPU] for one in cloud(here).quotas(PLANE.now)} == {None}
    with served(PLANE, on("identity/v3/projects", 500)) as here, pytest.raises(ProviderFault):
        cloud(here).quotas(PLANE.now)


def test_limits_of_keystone_are_nova_s_in_our_region_and_none_only_where_it_keeps_none() -> None:
    def beside(figure: str) -> Any:
        """The same names, of another service and of another region, and one for all regions that ours goes before."""
        strange: list[dict[str, Any]] = [{"service_id": "other"}, {"region_id": "west"}, {"region_id": None}]
        return lambda rows: [*rows, *({**row, figure: 7, "id": f"{row['id']}{n}", **more}
                                      for n, more in enumerate(strange) for row in rows)]  # fmt: skip

    with served(PLANE) as here:
        alone = cloud(here).quotas(PLANE.now)
    more = rows_of("identity/v3/registered_limits", "registered_limits", beside("default_limit"), PLANE)
    more = rows_of("identity/v3/limits", "limits", beside("resource_limit"), more)
    with served(more) as here:
        assert cloud(here).quotas(PLANE.now) == alone
        assert cloud(here, region="RegionOne").quotas(PLANE.now) == alone
    with served(PLANE, on("identity/v3/registered_limits", 404)) as here:
        assert {len(one.unified) for one in cloud(here).quotas(PLANE.now)} == {0}
    with served(PLANE, on("identity/v3/registered_limits", 503)) as here, pytest.raises(ProviderFault, match="503"):
        cloud(here).quotas(PLANE.now)


# ------------------------------------------------------------------------------------------------------------------ usage


def test_usage_is_what_gnocchi_keeps_by_the_nanosecond() -> None:
    begin = PLANE.now - timedelta(hours=2)
    with served(PLANE) as here:
        one = cloud(here)
        one.inventory(PLANE.now)
        before = len(here.asked)
        (batch,) = one.samples(begin, PLANE.now)
        paths = [ask.path for ask in here.asked[before:]]
        assert paths == ["metric/v1/aggregates"] * 2, "one question for all servers, one for all their interfaces"
    (measures,) = (
        reply.answer["measures"] for ask, reply in PLANE.exchanges
        if ask.path == "metric/v1/aggregates" and '"instance"' in ask.body
    )  # fmt: skip
    sizes = {one["id"]: one["flavor"] for one in told("servers/detail", "servers")}
    rows = batch.table.to_pylist()
    assert {batch.external_ids[row["resource"]] for row in rows} == set(measures)
    assert len(rows) == len(measures) * 24 == 24 * (len(filling.DEPARTMENTS) * len(filling.SIZES) + 2)
    for row in rows[::97]:
        name = batch.external_ids[row["resource"]]
        at = {int(_seconds(when)): value for when, width, value in measures[name]["cpu"]["rate:mean"] if width == 300}
        flavor = sizes[name]
        assert row["cpu_pct"] == pytest.approx(at[row["ts"]] / (300 * 1e9 * flavor["vcpus"]) * 100)
        used = {
            int(_seconds(when)): value for when, width, value in measures[name]["memory.usage"]["mean"] if width == 300
        }
        assert row["mem_pct"] == pytest.approx(used[row["ts"]] / flavor["ram"] * 100)
        assert (row["vcpu"], row["mem_mb"]) == (flavor["vcpus"], flavor["ram"])


def test_a_fall_below_zero_and_a_hole_are_left_out_and_a_faster_poll_is_counted_as_such() -> None:
    def bent(ask: Ask, reply: Reply) -> Reply:
        if ask.path != "metric/v1/aggregates" or '"instance"' not in ask.body:
            return reply
        answer = copy.deepcopy(reply.answer)
        for one in answer["measures"].values():
            cpu, memory = (
                {_seconds(row[0]): row for row in rows}
                for rows in (one["cpu"]["rate:mean"], one["memory.usage"]["mean"])
            )
            cpu[fallen][2], cpu[hole][2], memory[fallen][2] = -65e9, None, None
        return Reply(200, answer, reply.headers)

    begin = PLANE.now - timedelta(hours=2)
    fallen, hole = (begin.timestamp() + 300 * slot for slot in (3, 4))
    with served(PLANE, unwired) as here:
        (plain,) = cloud(here).samples(begin, PLANE.now)
    with served(PLANE, bent, unwired) as here:
        (batch,) = cloud(here, poll_s=60).samples(begin, PLANE.now)
    first = {row["ts"]: row for row in batch.table.to_pylist() if row["resource"] == 0}
    before = {row["ts"]: row for row in plain.table.to_pylist() if row["resource"] == 0}
    moments = sorted(before)
    assert set(before) - set(first) == {moments[3]}, "nothing is left of that slot"
    assert first[moments[4]]["cpu_pct"] != first[moments[4]]["cpu_pct"]
    assert first[moments[5]]["cpu_pct"] == pytest.approx(5 * before[moments[5]]["cpu_pct"])


def unwired(ask: Ask, reply: Reply) -> Reply:
    """A cloud that measures no interface."""
    if "instance_network_interface" not in ask.body:
        return reply
    return Reply(
        404, {"description": {"cause": "Resource type does not exist", "detail": "instance_network_interface"}}
    )


def traffic_of(*changes: Change, **options: Any) -> dict[tuple[str, int], tuple[float, float]]:
    """(Server, slot from the beginning) → kbit/s in and out, NaN = not told; of two hours of the recorded cloud."""
    begin = PLANE.now - timedelta(hours=2)
    with served(PLANE, *changes) as here:
        (batch,) = cloud(here, **options).samples(begin, PLANE.now)
    return {
        (batch.external_ids[row["resource"]], (row["ts"] - int(begin.timestamp())) // 300): (
            row["net_rx_kbps"], row["net_tx_kbps"],
        )
        for row in batch.table.to_pylist()
    }  # fmt: skip


def test_traffic_of_a_server_is_what_all_its_interfaces_took_and_sent() -> None:
    received, sent = (float(sum(ways)) for ways in zip(*filling.WIRES, strict=True))
    assert set(traffic_of().values()) == {(received, sent)}, "as recorded"
    counted: dict[str, Any] = {
        "network.incoming.bytes rate:mean": lambda id_, _at: 3e6 if id_.endswith("-0") else 1.5e6,
        "network.outgoing.bytes rate:mean": lambda _id, _at: 37_500.0,
    }
    found = traffic_of(wired(counted))
    assert len(found) == 24 * (len(filling.DEPARTMENTS) * len(filling.SIZES) + 2)
    assert set(found.values()) == {(120.0, 2.0)}
    assert set(traffic_of(wired(counted), poll_s=60).values()) == {(600.0, 10.0)}
    speeds: dict[str, Any] = {
        "network.incoming.bytes.rate mean": lambda _id, _at: 125.0, "network.outgoing.bytes.rate mean": lambda _id, _at: 250.0
    }  # fmt: skip
    assert set(traffic_of(wired(speeds)).values()) == {(2.0, 4.0)}, "as older Ceilometers tell it"
    plain: dict[str, Any] = {"network.incoming.bytes mean": lambda _id, at: float(at)}
    assert set(traffic_of(wired(plain | speeds)).values()) == {(2.0, 4.0)}, (
        "what is counted, without growth, is no speed"
    )
    assert set(traffic_of(wired(counted | speeds)).values()) == {(120.0, 2.0)}


def test_traffic_is_not_told_where_an_interface_began_anew_or_nobody_keeps_any() -> None:
    begin = int((PLANE.now - timedelta(hours=2)).timestamp())

    def received(id_: str, at: int) -> float | None:
        slot = (at - begin) // 300
        if id_.endswith("-1"):
            return -5e6 if slot == 3 else None if slot == 4 else 37_500.0
        return None if slot == 4 else 37_500.0

    found = traffic_of(wired({"network.incoming.bytes rate:mean": received}))
    told = {slot: rx for (_server, slot), (rx, _tx) in found.items()}
    assert [slot for slot, rx in told.items() if rx != rx] == [3, 4]
    assert {rx for rx in told.values() if rx == rx} == {2.0}
    assert all(tx != tx for _rx, tx in found.values())
    assert all(rx != rx for rx, _tx in traffic_of(unwired).values()), "the cloud has no such resources"
    refusing = on("metric/v1/aggregates", 404, {"description": {"cause": "Metrics with unknown aggregation"}})

    def of_interfaces(ask: Ask, reply: Reply) -> Reply:
        return refusing(ask, reply) if "instance_network_interface" in ask.body else reply

    assert all(rx != rx for rx, _tx in traffic_of(of_interfaces).values())


def test_a_bucket_that_may_still_change_waits() -> None:
    def now(ask: Ask, reply: Reply) -> Reply:
        del ask
        return Reply(
            reply.status, reply.answer, {**reply.headers, "Date": PLANE.now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        )

    with served(PLANE, now) as here:
        one = cloud(here, settle_s=900)
        one.probe(PLANE.now)
        (batch,) = one.samples(PLANE.now - timedelta(hours=2), PLANE.now)
    last = max(row["ts"] for row in batch.table.to_pylist())
    assert last == int(PLANE.now.timestamp()) - 900 - 300


def test_a_gnocchi_without_the_aggregate_says_which() -> None:
    page = "<html><title>404 Not Found</title>{&#x27;cause&#x27;: &#x27;Metrics with unknown aggregation&#x27;}</html>"
    with served(PLANE, on("metric/v1/aggregates", 404, page)) as here, pytest.raises(ProviderFault) as fault:
        list(cloud(here).samples(PLANE.now - timedelta(hours=2), PLANE.now))
    assert (fault.value.code, "unknown aggregation" in str(fault.value)) == ("query", True)
    nobody = "<html>Metric [&#x27;cpu&#x27;] does not exist</html>"
    with served(PLANE, on("metric/v1/aggregates", 404, nobody)) as here:
        (batch,) = cloud(here).samples(PLANE.now - timedelta(hours=2), PLANE.now)
    assert batch.table.num_rows == 0


# ---------------------------------------------------------------------------------------------------- a part of one cloud


def test_one_cloud_is_several_pools_by_architecture() -> None:
    with served(PLANE) as here:
        whole = cloud(here).inventory(PLANE.now)
        arm = cloud(
            here, arch="aarch64", arches="x1.* = x86_64\nm1.* = aarch64\n* = x86_64", only_arch=True, lists=("servers",)
        )
        rest = cloud(here, arch="x86_64", arches="m1.* = aarch64", only_arch=True)
        of_arm, of_rest = arm.inventory(PLANE.now), rest.inventory(PLANE.now)
    servers = {one.external_id for one in whole.facts if one.kind is ServiceKind.VM}
    mine = {one.external_id for one in of_arm.facts}
    assert {one.arch for one in of_arm.facts} == {Arch.AARCH64}
    others = {one.external_id for one in of_rest.facts if one.kind is ServiceKind.VM}
    assert (mine | others, mine & others) == (servers, set())
    assert {one.kind for one in of_arm.facts} == {ServiceKind.VM}
    with served(PLANE) as here:
        elsewhere = cloud(here, zones=("elsewhere",), lists=("servers",)).inventory(PLANE.now).facts
    assert {(one.name, one.placed) for one in elsewhere} == {("ostack-shelved", False)}, "who knows"


def test_a_server_that_left_its_host_stays_in_the_pool_that_knew_it_with_what_hangs_on_it(
    works: City, clock: Any
) -> None:
    """Nova takes host and zone from a server that is shelved."""
    shelved, volume = told("servers/detail", "servers"), told("volumes/detail", "volumes")[0]["id"]
    server = next(one["id"] for one in shelved if one["status"] == "SHELVED_OFFLOADED")
    plane = rows_of(VOLUMES, "volumes", lambda rows: [
        {**one, "attachments": [{"server_id": server}]} if one["id"] == volume else one for one in rows
    ], PLANE)  # fmt: skip

    def runs_in(zone: str) -> Recording:
        up = {"status": "ACTIVE", "OS-EXT-SRV-ATTR:host": "fake01", "OS-EXT-AZ:availability_zone": zone}
        return rows_of(SERVERS, "servers", lambda rows: [
            {**one, **up} if one["id"] == server else one for one in rows
        ], plane)  # fmt: skip

    def there(of: Recording, **part: Any) -> tuple[Any, Any]:
        """The state in which the pool has the server, and the volume, after it was listed; None: it has it not."""
        with served(of) as here:
            found = cloud(here, lists=("servers", "volumes"), **part).inventory(clock.now)
        with works.book.transaction(steward("job:collect")) as tx:
            observation.observe(tx, tx.get_one(Pool, works.pool), found)
        clock.advance(hours=1)
        with works.book.reading() as tx:
            rows = {one.external_id: one for one in tx.scalars(select(Resource).where(Resource.gone_at.is_(None)))}
            server_, volume_ = ((rows[id_].state if id_ in rows else None) for id_ in (server, volume))
            return server_, volume_

    nova: dict[str, Any] = {"zones": ("nova",)}
    assert there(plane, **nova) == (None, None), "nothing is born by it"
    assert there(runs_in("nova"), **nova) == ("running", "running")
    assert there(plane, **nova) == ("stopped", "running")
    assert there(runs_in("elsewhere"), **nova) == (None, None)
    assert there(plane, **nova) == (None, None), "nor does it return"
    assert there(plane)[0] == "stopped", "where the pool is all of the cloud it is in it"


def test_servers_are_short_where_those_in_the_bin_can_not_be_read() -> None:
    def failing(ask: Ask, reply: Reply) -> Reply:
        return Reply(500, {"message": "declared"}) if ("status", "SOFT_DELETED") in ask.query else reply

    with served(PLANE, failing) as here:
        listing = cloud(here).inventory(PLANE.now)
    assert set(listing.short) == {ServiceKind.VM, ServiceKind.BARE_METAL}
    assert sum(one.kind is ServiceKind.VM for one in listing.facts) == filling.SERVERS


def test_what_hangs_on_servers_is_short_where_nobody_knows_which_are_ours() -> None:
    with served(PLANE, on("^compute/", 500)) as here:
        listing = cloud(here, zones=("nova",)).inventory(PLANE.now)
    assert {ServiceKind.VM, ServiceKind.VOLUME, ServiceKind.EIP} <= set(listing.short)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"user": ""}, "user"), ({"credential_id": "c"}, "user"), ({"password": None}, "password"),
        ({"lists": ("servers", "cats")}, "lists"), ({"arches": "m1.* = vax"}, "arches"), ({"coarse_s": 300}, "coarse_s"),
        ({"coarse_s": 2700}, "coarse_s"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_by_their_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        cloud("http://127.0.0.1:1/v3", **given)
    assert refused.value.params["field"] == field


def test_flavors_tell_cards_metal_and_disks() -> None:
    flavor = {"vcpus": 8, "ram": 1024, "disk": 40, "ephemeral": 10, "swap": 1500,
              "extra_specs": {"pci_passthrough:alias": "a100:2, nic:1", "resources:CUSTOM_NPU": "4", "resources:VGPU": "1"}}  # fmt: skip
    assert words.cards(flavor, ("a100", "CUSTOM_NPU")) == 7
    assert words.amounts({"flavor": flavor, "image": {"id": "x"}}, local_disks=True, accelerators=("a100",)) == {
        VCPU: 8, MEMORY: 1024, ACCELERATOR: 3, BLOCK: 52,
    }  # fmt: skip
    assert words.local_disk({"flavor": flavor, "image": ""}) == 12, "its root is a volume"
    assert words.is_metal({"extra_specs": {"resources:CUSTOM_BAREMETAL_GOLD": "1"}})
    assert (
        words.arch_of({"original_name": "x", "extra_specs": {"trait:HW_ARCH_AARCH64": "required"}}, (), Arch.X86_64)
        is Arch.AARCH64
    )


def _seconds(when: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(when).timestamp()


# ------------------------------------------------------------------------------------------------------ since when it is off


def action(name: str, day: int, message: str | None = None) -> dict[str, Any]:
    return {"action": name, "start_time": f"2026-11-{day:02d}T08:00:00.000000", "message": message}


@pytest.mark.parametrize(
    ("actions", "day"),
    [
        ([action("create", 1), action("stop", 5)], 5),
        ([action("create", 1), action("stop", 3), action("start", 4), action("stop", 9)], 9),
        ([action("create", 1), action("stop", 3), action("shelve", 9), action("lock", 10)], 3),
        ([action("create", 1), action("stop", 3), action("resize", 5), action("confirmResize", 6)], 3),
        ([action("create", 1), action("stop", 3), action("start", 4, "Error")], 3),
        ([action("create", 1), action("stop", 3), action("start", 4), action("stop", 5, "Error")], None),
        ([action("create", 1)], None),
        ([], None),
    ],
)
def test_since_when_a_server_is_off_is_told_by_its_actions(actions: list[dict[str, Any]], day: int | None) -> None:
    for told in (actions, actions[::-1]):
        since = words.off_since(told)
        assert (since.day if since is not None else None) == day


def test_who_is_off_is_asked_about_once_and_few_at_a_time() -> None:
    off = {one["id"] for one in told("servers/detail", "servers") if one["status"] in words.SWITCHED_OFF}
    assert off

    def acted(ask: Ask, reply: Reply) -> Reply:
        if not ask.path.endswith("os-instance-actions"):
            return reply
        return Reply(200, {"instanceActions": [action("create", 1), action("stop", 5)]})

    def actions(here: Served) -> list[str]:
        return [one.path.split("/")[3] for one in asked(here, "os-instance-actions")]

    with served(PLANE, acted) as here:
        one = cloud(here)
        found = facts(one.inventory(PLANE.now))
        assert sorted(actions(here)) == sorted(off)
        assert {id_ for id_, fact in found.items() if fact.stopped_at is not None} == off
        assert facts(one.inventory(PLANE.now)) == found
        assert len(actions(here)) == len(off), "each once"
    stopped = rows_of(SERVERS, "servers", lambda rows: [{**row, "status": "SHUTOFF"} for row in rows], many(PLANE, 200))
    with served(stopped, acted) as here:
        one = cloud(here)
        one.inventory(PLANE.now)
        assert len(actions(here)) == listing.ASKED_OFF
        one.inventory(PLANE.now)
        assert len(set(actions(here))) == 2 * listing.ASKED_OFF
    with served(PLANE, acted, on("os-instance-actions", 403)) as here:
        found = facts(cloud(here).inventory(PLANE.now))
        assert {fact.stopped_at for fact in found.values()} == {None}
        assert len(actions(here)) == 1, "who may not is told so once"


# ------------------------------------------------------------------------------------------------------ of several widths


WIDTHS = Recording.read(FOLDER / "widths.jsonl")


def test_what_is_kept_by_the_hour_alone_is_told_by_the_hour_and_what_is_finer_as_it_is() -> None:
    """The paused server's fine measures are kept for a day, the means of hours longer; it is known what it used."""
    begin = WIDTHS.now - LONG
    with served(WIDTHS) as here:
        one = cloud(here)
        paused = next(fact.external_id for fact in one.inventory(WIDTHS.now).facts if fact.name == "ostack-paused")
        rows = [
            row for batch in one.samples(begin, WIDTHS.now) for row in batch.table.to_pylist()
            if batch.external_ids[row["resource"]] == paused
        ]  # fmt: skip
    wide = [row for row in rows if row["width_s"] == 3600]
    fine = [row for row in rows if row["width_s"] == 300]
    assert len(wide) + len(fine) == len(rows)
    assert len(wide) >= 40
    assert len(fine) >= 12 * 20
    assert max(row["ts"] for row in wide) + 3600 <= min(row["ts"] for row in fine), "no hour is told twice"
    for row in wide[1:]:
        assert row["cpu_pct"] == pytest.approx(100 * (row["ts"] // 3600 % 10 / 20 + 0.01), abs=0.01)
        assert row["mem_pct"] == pytest.approx(200 * (row["ts"] // 3600 % 10 / 20 + 0.01), abs=0.01)
    for row in fine:
        assert row["cpu_pct"] == pytest.approx(100 * by_the_hour(row["ts"]), abs=0.01)
    assert {row["net_rx_kbps"] == row["net_rx_kbps"] for row in wide} == {False}, "one moving figure a wide sample"
    covered = widths.spread(pa.Table.from_pylist(wide), 300).num_rows + len(fine)
    assert covered >= (LONG - timedelta(hours=2)) // timedelta(minutes=5), "an hour's mean covers its hour"
    with served(WIDTHS) as here:
        assert {
            row["width_s"]
            for batch in cloud(here, coarse_s=0).samples(begin, WIDTHS.now)
            for row in batch.table.to_pylist()
        } == {300}


def test_a_service_that_is_down_is_left_alone_and_the_others_are_not() -> None:
    down = on("^volumes/", 503, **{"Retry-After": "0"})
    with served(PLANE, down) as here:
        one = cloud(here)

        def listed() -> tuple[int, set[str]]:
            before = len(asked(here, "volumes/"))
            found = one.inventory(PLANE.now)
            assert "server" not in found.short
            return len(asked(here, "volumes/")) - before, set(found.short)

        assert listed() == (connection.BREAKS, {"volume", "snapshot"})
        assert listed() == (0, {"volume", "snapshot"})
        assert "asked again after" in one.inventory(PLANE.now).short["volume"]
        breaker = one.session.breakers["block_storage"]
        breaker._until = 0.0
        assert listed() == (1, {"volume", "snapshot"}), "one is tried for all"
        here.changes.clear()
        breaker._until = 0.0
        many, short = listed()
        assert (many > 1, short, breaker.state) == (True, set(), "closed")


@pytest.mark.parametrize(("status", "code"), [(503, "busy"), (502, "unreachable"), (504, "timeout")])
@pytest.mark.parametrize("service", ["compute", "placement"])
def test_a_service_whose_versions_nobody_tells_is_down_and_no_other_service(
    service: str, status: int, code: str
) -> None:
    with served(PLANE, on(f"^{service}", status, **{"Retry-After": "0"})) as here:
        one = cloud(here).session

        def ask() -> object:
            return one.nova() if service == "compute" else one.get(service, "/resource_providers")

        told = []
        for _time in range(3):
            with pytest.raises(ProviderFault) as fault:
                ask()
            told.append((fault.value.code, fault.value.transient))
        assert told == [(code, True), ("rest", True), ("rest", True)]
        here.changes.clear()
        one.breakers[service]._until = 0.0
        assert ask()
        assert one.breakers[service].state == "closed"


def test_a_nova_that_is_too_old_is_none_of_ours() -> None:
    old = {"version": {"id": "v2.1", "version": "2.42", "min_version": "2.1"}}
    with served(PLANE, on("^compute/v2.1$", 200, old)) as here, pytest.raises(ProviderFault, match=r"2\.42") as fault:
        cloud(here).session.nova()
    assert (fault.value.code, fault.value.transient) == ("kind", False)


def test_what_the_token_says_is_known_while_keystones_lists_are_left_alone() -> None:
    with served(PLANE, on("^identity/v3/projects", 503, **{"Retry-After": "0"})) as here:
        one = cloud(here).session
        for _time in range(2):
            assert one.all("identity", "/projects", "projects").why
        assert one.breakers["identity"].state == "open"
        assert one.offers("compute")
        assert (one.roles() >= {"admin"}, bool(one.whereabouts("compute")[0])) == (True, True)
        with pytest.raises(ProviderFault) as fault:
            one.as_who(one.who).get("identity", "/projects")
        assert fault.value.code == "rest"


def test_a_cloud_that_hangs_costs_so_many_time_outs_and_no_more() -> None:
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    taken.append(silent.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        one = cloud(f"http://127.0.0.1:{silent.getsockname()[1]}/v3", timeout_s=0.1)
        for code in ("timeout", "rest", "rest"):
            with pytest.raises(ProviderFault) as fault:
                one.inventory(PLANE.now)
            assert fault.value.code == code
        assert one.session.breakers["token"].state == "open"
        silent.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
    assert len(taken) <= 2 * connection.BREAKS
    for each in taken:
        each.close()
