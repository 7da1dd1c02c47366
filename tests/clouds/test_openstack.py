"""The adapter beside the real services: what it tells is what their own interfaces answer, and what is stopped is short."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import openstack
import pytest

from providers.adapters.openstack import OpenStackCloud
from providers.base import ProviderFault, ServiceKind
from providers.secrets import Secret
from quota.units import MEMORY, VCPU
from tests.clouds.filling import PROJECT, STATES, USED, WIRES


@pytest.fixture(scope="module")
def direct(real_cloud: dict[str, Any]) -> Any:
    return openstack.connect(
        auth=dict(real_cloud),
        region_name="RegionOne",
        identity_api_version="3",
        load_yaml_config=False,
        load_envvars=False,
    )


@pytest.fixture
def cloud(real_cloud: dict[str, Any]) -> OpenStackCloud:
    return opened(real_cloud)


def opened(auth: dict[str, Any], **more: Any) -> OpenStackCloud:
    given = {"user": auth["username"], "password": Secret("env:none", lambda _name: auth["password"]), "settle_s": 60}
    return OpenStackCloud(auth["auth_url"], **(given | more))


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def test_counts_and_states_are_the_services_own(cloud: OpenStackCloud, direct: Any) -> None:
    listing = cloud.inventory(now())
    assert listing.short == {}
    kinds = Counter(one.kind for one in listing.facts)
    servers = {one.id: one for one in direct.compute.servers(all_projects=True)}
    assert kinds[ServiceKind.VM] == len(servers)
    assert kinds[ServiceKind.VOLUME] == len(list(direct.block_storage.volumes(all_projects=True)))
    assert kinds[ServiceKind.SNAPSHOT] == len(list(direct.block_storage.snapshots(all_projects=True)))
    assert kinds[ServiceKind.EIP] == len(list(direct.network.ips()))
    assert {one.external_id for one in listing.projects} == {one.id for one in direct.identity.projects()}
    for fact in listing.facts:
        if fact.kind is ServiceKind.VM:
            assert fact.amounts == {
                VCPU: servers[fact.external_id].flavor.vcpus,
                MEMORY: servers[fact.external_id].flavor.ram,
            }
    ours = {fact.name: fact.cloud_state for fact in listing.facts if fact.kind is ServiceKind.VM}
    assert {name: ours[f"{PROJECT}-{name}"] for name in STATES} == STATES


def test_quotas_and_capacity_are_what_nova_and_placement_count(cloud: OpenStackCloud, direct: Any) -> None:
    told = {one.project.name: one for one in cloud.quotas(now())}
    project = direct.identity.find_project(PROJECT)
    said = direct.compute.get(f"/os-quota-sets/{project.id}/detail").json()["quota_set"]
    assert (told[PROJECT].limits[VCPU], told[PROJECT].used[VCPU]) == (said["cores"]["limit"], said["cores"]["in_use"])
    has = {one.kind: one for one in cloud.capacity(now())}
    hosts = direct.placement.get("/resource_providers").json()["resource_providers"]
    used = [direct.placement.get(f"/resource_providers/{one['uuid']}/usages").json()["usages"] for one in hosts]
    assert has[VCPU].used == sum(one.get("VCPU", 0) for one in used)


def test_usage_is_what_was_measured(cloud: OpenStackCloud) -> None:
    end = now()
    listing = cloud.inventory(end)
    running = next(one.external_id for one in listing.facts if one.name == f"{PROJECT}-running")
    rows = [
        row for batch in cloud.samples(end - timedelta(days=2), end) for row in batch.table.to_pylist()
        if batch.external_ids[row["resource"]] == running
    ]  # fmt: skip
    assert len(rows) >= 30
    for row in rows[1:]:
        assert row["cpu_pct"] == pytest.approx(100 * USED, abs=0.01)
        assert row["mem_pct"] == pytest.approx(200 * USED, abs=0.01)
        assert row["net_rx_kbps"] == pytest.approx(sum(received for received, _sent in WIRES), rel=1e-6)
        assert row["net_tx_kbps"] == pytest.approx(sum(sent for _received, sent in WIRES), rel=1e-6)
    assert len({row["ts"] for row in rows}) == len(rows)


def test_a_wrong_password_and_a_missing_right_are_told(real_cloud: dict[str, Any], direct: Any) -> None:
    with pytest.raises(ProviderFault) as fault:
        opened(real_cloud, password=Secret("env:none", lambda _name: "wrong")).probe(now())
    assert fault.value.code == "credentials"
    project = direct.identity.find_project(PROJECT)
    user = direct.identity.find_user("ostack-member") or direct.identity.create_user(
        name="ostack-member", password="testbed", domain_id=project.domain_id
    )
    direct.identity.assign_project_role_to_user(project, user, direct.identity.find_role("member"))
    member = opened({**real_cloud, "username": "ostack-member"}, project=PROJECT)
    with pytest.raises(ProviderFault) as fault:
        member.probe(now())
    assert fault.value.code == "rights"
    assert "get_all_tenants" in str(fault.value)
    listing = member.inventory(now())
    assert {ServiceKind.VM, ServiceKind.VOLUME, ServiceKind.EIP} <= set(listing.short)
