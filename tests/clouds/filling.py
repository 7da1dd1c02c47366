"""Fills a real OpenStack with one of everything that a listing must tell: servers in each state that can be had there, a volume,
its snapshot, a server's picture, an address and a port that nobody uses. Run again it adds what is missing.

    python -m tests.clouds.filling         the cloud that OS_CLIENT_CONFIG_FILE and OS_CLOUD name
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import openstack
from openstack import exceptions

PROJECT = "ostack"
FLAVOR, LARGER = "m1.small", "m1.medium"
STATES: dict[str, str] = {
    "off": "SHUTOFF", "paused": "PAUSED", "suspended": "SUSPENDED", "shelved": "SHELVED_OFFLOADED", "resized": "VERIFY_RESIZE",
    "running": "ACTIVE", "broken": "ERROR",
}  # fmt: skip
WAIT_S = 300


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
    _servers(own, flavors[FLAVOR], flavors[LARGER])
    _beside(cloud, own, project)
    return {one.name: one.status for one in own.compute.servers()}


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
    _until(lambda: all(one.status != "BUILD" for one in own.compute.servers()), "no server is being made")
    for name, wanted in STATES.items():
        server = next(one for one in own.compute.servers() if one.name == f"{PROJECT}-{name}")
        if server.status == "ACTIVE" != wanted:
            acts[name](server)
            _until(
                lambda id_=server.id, wanted=wanted: own.compute.get_server(id_).status == wanted, f"{name}: {wanted}"
            )


def _beside(cloud: Any, own: Any, project: Any) -> None:
    volumes = {one.name: one for one in own.block_storage.volumes()}
    if "ostack-data" not in volumes:
        volumes["ostack-data"] = own.block_storage.create_volume(name="ostack-data", size=7)
        _until(lambda: own.block_storage.get_volume(volumes["ostack-data"].id).status == "available", "a volume")
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


def _until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.5)


if __name__ == "__main__":
    try:
        print(fill(connected()))
    except exceptions.SDKException as error:
        raise SystemExit(f"the cloud refused: {error}") from error
