"""Fills a real OpenStack with a city: departments with servers of several sizes, volumes, addresses, quotas in Nova and Cinder and
limits in Keystone; one of everything that a listing must tell, in every state that can be had there; and hours of measures of
known usage in Gnocchi. Run again it adds what is missing.

    python -m tests.clouds.filling         the cloud that OS_CLIENT_CONFIG_FILE and OS_CLOUD name
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import openstack
from openstack import exceptions

from tests.patience import until

PROJECT = "ostack"
FLAVOR, LARGER = "m1.small", "m1.medium"
STATES: dict[str, str] = {
    "off": "SHUTOFF", "paused": "PAUSED", "suspended": "SUSPENDED", "shelved": "SHELVED_OFFLOADED", "resized": "VERIFY_RESIZE",
    "running": "ACTIVE", "broken": "ERROR",
}  # fmt: skip
FLAVORS = {
    "m1.tiny": (1, 1024, 20), "m1.small": (1, 2048, 20), "m1.medium": (2, 4096, 20), "m1.large": (4, 8192, 40),
    "m1.xlarge": (8, 16384, 40), "c1.xlarge": (16, 16384, 40), "r1.large": (4, 32768, 40), "g1.gpu": (8, 65536, 200),
}  # fmt: skip
"""vCPUs, MiB, GB of root disk."""
DEPARTMENTS = (
    "finance", "education", "health", "transport", "water", "housing", "culture", "justice", "planning", "statistics", "archives",
    "markets",
)  # fmt: skip
SIZES = ("m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.medium")
"""Of the servers of each department."""
HELD = sum(FLAVORS[one][0] for one in SIZES)
"""vCPUs that each department has."""
SERVERS = len(DEPARTMENTS) * len(SIZES) + len(STATES)
CORES = (96, 128, 160)
"""That a department may have in Nova and in Keystone, by turns."""
MIB_A_CORE, VOLUMES_GB, DISKS = 4096, 5000, {"ssd": 20, "hdd": 100}
REGISTERED = {"class:VCPU": 20, "class:MEMORY_MB": 51200, "servers": 10}
"""Keystone's limits of Nova for who has none of its own."""
STEP_S = 300
LONG, BRIEF = timedelta(days=3), (("5 minutes", "1 day"), ("1 hour", "365 days"))
"""So long one is measured whose fine measures are kept for a day, the mean of an hour for a year."""
RECENT = timedelta(hours=3)
"""So long all others are."""
USED = 0.25
"""Of each measured server's CPUs in the project of all states, in every slot; of its memory twice as much."""
WIRES = ((40, 24), (8, 4))
"""kbit/s in and out on each interface of a measured server, in every slot."""


def connected() -> Any:
    """As the administrator of the cloud."""
    return openstack.connect(cloud=os.environ.get("OS_CLOUD", "testbed"))


def fill(cloud: Any) -> dict[str, str]:
    """What the docstring names; server's name → the state that it has now, of the project of all states."""
    domain = cloud.identity.find_domain("Default") or cloud.identity.find_domain("default")
    flavors = {one.name: one for one in cloud.compute.flavors()}
    for name, (vcpus, ram, disk) in FLAVORS.items():
        flavors[name] = flavors.get(name) or cloud.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=disk)
    if cloud.image.find_image("cirros") is None:
        cloud.image.create_image(
            name="cirros", disk_format="raw", container_format="bare", visibility="public", data=bytes(4096)
        )
    for kind in DISKS:
        if kind not in {one.name for one in cloud.block_storage.types()}:
            cloud.block_storage.create_type(name=kind, extra_specs={"volume_backend_name": "fake"})
    if cloud.network.find_network("ext") is None:
        outside = {"router:external": True, "provider:network_type": "flat", "provider:physical_network": "physnet1"}
        network = cloud.network.create_network(name="ext", **outside)
        cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="203.0.113.0/24", enable_dhcp=False)
    project, own = _within(cloud, PROJECT, domain)
    _limits(cloud, {name: _within(cloud, name, domain)[0] for name in DEPARTMENTS})
    for number, name in enumerate(DEPARTMENTS):
        _department(cloud, number, *_within(cloud, name, domain), flavors)
    _servers(own, flavors[FLAVOR], flavors[LARGER])
    _beside(cloud, own, project)
    _measured(cloud)
    return {one.name: one.status for one in own.compute.servers()}


def _within(cloud: Any, name: str, domain: Any) -> tuple[Any, Any]:
    """A project, and its administrator's connection."""
    project = cloud.identity.find_project(name) or cloud.identity.create_project(
        name=name, domain_id=domain.id, tags=["department"]
    )
    admin = next(role for role in cloud.identity.roles() if role.name == "admin")
    cloud.identity.assign_project_role_to_user(project, cloud.current_user_id, admin)
    return project, cloud.connect_as_project(project)


def _limits(cloud: Any, projects: dict[str, Any]) -> None:
    """What departments may have, in Keystone: as it is registered, and of vCPUs each its own."""
    nova = cloud.identity.find_service("nova")
    of = {"service_id": nova.id, "region_id": "RegionOne"}
    registered = {one.resource_name for one in cloud.identity.registered_limits(**of)}
    for name, most in REGISTERED.items():
        if name not in registered:
            cloud.identity.create_registered_limit(**of, resource_name=name, default_limit=most)
    there = {one.project_id for one in cloud.identity.limits(**of, resource_name="class:VCPU")}
    for number, project in enumerate(projects.values()):
        if project.id not in there:
            cores = CORES[number % len(CORES)]
            cloud.identity.create_limit(project_id=project.id, **of, resource_name="class:VCPU", resource_limit=cores)


def _department(cloud: Any, number: int, project: Any, own: Any, flavors: dict[str, Any]) -> None:
    """One project of the city: its quotas, servers, two volumes and an address."""
    cores = CORES[number % len(CORES)]
    cloud.set_compute_quotas(project.id, cores=cores, ram=cores * MIB_A_CORE, instances=40)
    cloud.set_volume_quotas(project.id, gigabytes=VOLUMES_GB, volumes=50)
    image = own.image.find_image("cirros")
    there = {one.name for one in own.compute.servers()}
    for which, size in enumerate(SIZES):
        if (name := f"{project.name}-{which}") not in there:
            own.compute.create_server(
                name=name, image_id=image.id, flavor_id=flavors[size].id, networks="none",
                metadata={"env": ("prod", "test")[which % 2]},
            )  # fmt: skip
    volumes = {one.name for one in own.block_storage.volumes()}
    for kind, size_gb in DISKS.items():
        if (name := f"{project.name}-{kind}") not in volumes:
            own.block_storage.create_volume(name=name, size=size_gb + 10 * number, volume_type=kind)
    outside = cloud.network.find_network("ext")
    if not list(own.network.ips(project_id=project.id)):
        own.network.create_ip(floating_network_id=outside.id)
    until(lambda: all(one.status != "BUILD" for one in own.compute.servers()), f"the servers of {project.name}")


def _measured(cloud: Any) -> None:
    """Every department's servers, and two of the project of all states."""
    named = {one.name: one for one in cloud.compute.servers(all_projects=True)}
    measure(cloud, named[f"{PROJECT}-running"], RECENT, lambda _at: USED, lambda _at: 2 * USED)
    measure(
        cloud, named[f"{PROJECT}-paused"], LONG, by_the_hour, lambda at: 2 * by_the_hour(at), "ceilometer-brief", BRIEF
    )
    for number, name in enumerate(DEPARTMENTS):
        for which in range(len(SIZES)):
            cpu = _load((number * len(SIZES) + which) % 10 / 10)
            measure(cloud, named[f"{name}-{which}"], RECENT, cpu, lambda at, cpu=cpu: 0.2 + cpu(at) / 2, wait=False)
    _digested(cloud)


def _load(level: float) -> Callable[[int], float]:
    """A share that goes up and down by a twentieth around what it begins with."""
    return lambda at: level + 0.01 * (at // STEP_S % 6)


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
    *,
    wait: bool = True,
) -> None:
    """Measures of one server as Ceilometer sends them, of the ``span`` that ends now, once: what share of its CPUs it used in the
    five minutes before a moment, and of its memory then. ``policy``: archive policies of that name (and -rate), which keep
    these widths for so long. ``wait``: until Gnocchi has digested them."""

    def ask(method: str, path: str, body: object = None) -> Any:
        return _gnocchi(cloud, method, path, body)

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
    _wired(ask, server, moments, f"{policy}-rate")
    if wait:
        _digested(cloud)


def interfaces(server_id: str) -> list[str]:
    """What the interfaces of a measured server are called in Gnocchi."""
    return [str(uuid5(NAMESPACE_OID, f"{server_id}-{number}")) for number in range(len(WIRES))]


def _wired(ask: Callable[..., Any], server: Any, moments: Iterable[int], policy: str) -> None:
    """What went over the interfaces of a server, as Ceilometer keeps it: resources that name their server, whose bytes are counted."""
    text = {"type": "string", "min_length": 0, "max_length": 255, "required": False}
    own = {"name": text, "instance_id": {"type": "uuid", "required": True}}
    ask("POST", "/v1/resource_type", {"name": "instance_network_interface", "attributes": own})
    for number, (id_, ways) in enumerate(zip(interfaces(server.id), WIRES, strict=True)):
        about = {"id": id_, "project_id": server.project_id, "name": f"tap{number}", "instance_id": server.id}
        ask("POST", "/v1/resource/instance_network_interface", about)
        for metric, kbps in zip(("network.incoming.bytes", "network.outgoing.bytes"), ways, strict=True):
            counted = [{"timestamp": at, "value": kbps * 125 * at} for at in moments]
            one = {metric: {"archive_policy_name": policy, "unit": "B", "measures": counted}}
            ask("POST", "/v1/batch/resources/metrics/measures?create_metrics=true", {id_: one})


def _gnocchi(cloud: Any, method: str, path: str, body: object = None) -> Any:
    metric = cloud.config.get_session_endpoint("metric").rstrip("/")
    answer = cloud.session.request(metric + path, method, json=body, raise_exc=False)
    if answer.status_code not in (200, 201, 202, 204, 404, 409):
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer


def _digested(cloud: Any) -> None:
    def left() -> int:
        told = _gnocchi(cloud, "GET", "/v1/status?details=false").json()
        return int(told["storage"]["summary"]["measures"])

    until(lambda: not left(), "measures are in")


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
