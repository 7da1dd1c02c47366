"""Fills a real OpenStack with one of everything that a listing must tell: servers in each state that can be had there, a volume,
its snapshot, a server's picture, an address and a port that nobody uses; and three hours of measures of known usage in
Gnocchi. Run again it adds what is missing.

    python -m tests.clouds.filling         the cloud that OS_CLIENT_CONFIG_FILE and OS_CLOUD name
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import openstack
from openstack import exceptions

from tests.patience import until

PROJECT = "ostack"
FLAVOR, LARGER = "m1.small", "m1.medium"
STATES: dict[str, str] = {
    "off": "SHUTOFF", "paused": "PAUSED", "suspended": "SUSPENDED", "shelved": "SHELVED_OFFLOADED", "resized": "VERIFY_RESIZE",
    "running": "ACTIVE", "broken": "ERROR",
}  # fmt: skip
FLAVORS = {"m1.small": (1, 2048, 20), "m1.medium": (2, 4096, 20)}
STEP_S = 300
LONG, BRIEF = timedelta(days=3), (("5 minutes", "1 day"), ("1 hour", "365 days"))
"""So long one is measured whose fine measures are kept for a day, the mean of an hour for a year."""
USED = 0.25
"""Of each measured server's CPUs, in every slot; of its memory twice as much."""


def connected() -> Any:
    """As the administrator of the cloud."""
    return openstack.connect(cloud=os.environ.get("OS_CLOUD", "testbed"))


def fill(cloud: Any) -> dict[str, str]:
    """What ``STATES`` and the docstring name; server's name → the state that it has now."""
    domain = cloud.identity.find_domain("Default") or cloud.identity.find_domain("default")
    project = cloud.identity.find_project(PROJECT) or cloud.identity.create_project(
        name=PROJECT, domain_id=domain.id, tags=["department"]
    )
    admin = next(role for role in cloud.identity.roles() if role.name == "admin")
    cloud.identity.assign_project_role_to_user(project, cloud.current_user_id, admin)
    own = cloud.connect_as_project(project)
    flavors = {one.name: one for one in cloud.compute.flavors()}
    for name, (vcpus, ram, disk) in FLAVORS.items():
        flavors[name] = flavors.get(name) or cloud.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=disk)
    if cloud.image.find_image("cirros") is None:
        cloud.image.create_image(
            name="cirros", disk_format="raw", container_format="bare", visibility="public", data=bytes(4096)
        )
    if "ssd" not in {one.name for one in cloud.block_storage.types()}:
        cloud.block_storage.create_type(name="ssd", extra_specs={"volume_backend_name": "fake"})
    if cloud.network.find_network("ext") is None:
        outside = {"router:external": True, "provider:network_type": "flat", "provider:physical_network": "physnet1"}
        network = cloud.network.create_network(name="ext", **outside)
        cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="203.0.113.0/24", enable_dhcp=False)
    _servers(own, flavors[FLAVOR], flavors[LARGER])
    _beside(cloud, own, project)
    named = {one.name: one for one in own.compute.servers()}
    measure(cloud, named[f"{PROJECT}-running"], timedelta(hours=3), lambda _at: USED, lambda _at: 2 * USED)
    measure(
        cloud, named[f"{PROJECT}-paused"], LONG, by_the_hour, lambda at: 2 * by_the_hour(at), "ceilometer-brief", BRIEF
    )
    return {one.name: one.status for one in own.compute.servers()}


def by_the_hour(at: int) -> float:
    """What the one that is measured for ``LONG`` uses of its CPUs, by the moment at which it is told: a twentieth more each hour of
    ten, and by turns as much as that and a little more."""
    return (at // 3600 % 10) / 20 + (0.02 if at // STEP_S % 2 else 0.0)


def measure(
    cloud: Any,
    server: Any,
    span: timedelta,
    cpu: Callable[[int], float],
    memory: Callable[[int], float],
    policy: str = "ceilometer-low",
    keeps: tuple[tuple[str, str], ...] = (("5 minutes", "40 days"), ("1 hour", "365 days")),
) -> None:
    """Measures of one server as Ceilometer sends them, of the ``span`` that ends now, once: what share of its CPUs it used in the
    five minutes before a moment, and of its memory then. ``policy``: archive policies of that name (and -rate), which keep
    these widths for so long."""
    metric = cloud.config.get_session_endpoint("metric").rstrip("/")

    def ask(method: str, path: str, body: object = None) -> Any:
        answer = cloud.session.request(metric + path, method, json=body, raise_exc=False)
        if answer.status_code not in (200, 201, 202, 204, 404, 409):
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    widths = [{"granularity": width, "timespan": time_} for width, time_ in keeps]
    for name, ways in ((policy, ["mean", "max"]), (f"{policy}-rate", ["mean", "rate:mean"])):
        kept = {"name": name, "back_window": 0, "aggregation_methods": ways, "definition": widths}
        ask("POST", "/v1/archive_policy", kept)
    text = {"type": "string", "min_length": 0, "max_length": 255, "required": False}
    ask("POST", "/v1/resource_type", {"name": "instance", "attributes": {"display_name": text}})
    if ask("GET", f"/v1/resource/instance/{server.id}").status_code == 200:
        return
    ask(
        "POST",
        "/v1/resource/instance",
        {"id": server.id, "project_id": server.project_id, "display_name": server.name},
    )
    end = int(time.time()) // STEP_S * STEP_S
    moments = range(end - int(span.total_seconds()), end + 1, STEP_S)
    vcpus, ram, used, grown = server.flavor.vcpus, server.flavor.ram, 0.0, []
    for at in moments:
        grown.append({"timestamp": at, "value": round(used)})
        used += cpu(at + STEP_S) * vcpus * STEP_S * 1e9
    flat: dict[str, Callable[[int], float]] = {
        "memory.usage": lambda at: memory(at) * ram, "memory": lambda _at: ram, "vcpus": lambda _at: vcpus,
    }  # fmt: skip
    metrics = {"cpu": {"archive_policy_name": f"{policy}-rate", "unit": "ns", "measures": grown}} | {
        name: {
            "archive_policy_name": policy,
            "unit": "",
            "measures": [{"timestamp": at, "value": of(at)} for at in moments],
        }
        for name, of in flat.items()
    }
    for name, one in metrics.items():
        ask("POST", "/v1/batch/resources/metrics/measures?create_metrics=true", {server.id: {name: one}})
    until(
        lambda: not ask("GET", "/v1/status?details=false").json()["storage"]["summary"]["measures"], "measures are in"
    )


def _servers(own: Any, flavor: Any, larger: Any) -> None:
    acts: dict[str, Callable[[Any], object]] = {
        "off": own.compute.stop_server,
        "paused": own.compute.pause_server,
        "suspended": own.compute.suspend_server,
        "shelved": own.compute.shelve_server,
        "resized": lambda server: own.compute.resize_server(server, larger.id),
        "running": own.compute.get_server,
        "broken": lambda server: own.compute.reset_server_state(server, "error"),
    }
    image = own.image.find_image("cirros")
    there = {one.name: one for one in own.compute.servers()}
    for name in STATES:
        if f"{PROJECT}-{name}" not in there:
            own.compute.create_server(
                name=f"{PROJECT}-{name}", image_id=image.id, flavor_id=flavor.id, networks="none",
                metadata={"department": "A01", "system": "portal"},
            )  # fmt: skip
    until(lambda: all(one.status != "BUILD" for one in own.compute.servers()), "no server is being made")
    for name, wanted in STATES.items():
        server = next(one for one in own.compute.servers() if one.name == f"{PROJECT}-{name}")
        if server.status == "ACTIVE" != wanted:
            acts[name](server)
            until(
                lambda id_=server.id, wanted=wanted: own.compute.get_server(id_).status == wanted, f"{name}: {wanted}"
            )


def _beside(cloud: Any, own: Any, project: Any) -> None:
    volumes = {one.name: one for one in own.block_storage.volumes()}
    if "ostack-data" not in volumes:
        volumes["ostack-data"] = own.block_storage.create_volume(name="ostack-data", size=7)
        until(lambda: own.block_storage.get_volume(volumes["ostack-data"].id).status == "available", "a volume")
    if not list(own.block_storage.snapshots()):
        own.block_storage.create_snapshot(volume_id=volumes["ostack-data"].id, name="ostack-before", force=True)
    running = next(one for one in own.compute.servers() if one.name == "ostack-running")
    if not any(one.name == "ostack-picture" for one in own.image.images(owner=project.id)):
        own.compute.create_server_image(running, "ostack-picture")
    network = own.network.find_network("ostack-net") or own.network.create_network(name="ostack-net")
    if not list(own.network.subnets(network_id=network.id)):
        own.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.77.0.0/24", enable_dhcp=False)
    if not any(one.name == "ostack-port" for one in own.network.ports()):
        own.network.create_port(network_id=network.id, name="ostack-port")
    outside = cloud.network.find_network("ext")
    if outside is not None and not list(own.network.ips(project_id=project.id)):
        own.network.create_ip(floating_network_id=outside.id)


if __name__ == "__main__":
    try:
        print(fill(connected()))
    except exceptions.SDKException as error:
        raise SystemExit(f"the cloud refused: {error}") from error
