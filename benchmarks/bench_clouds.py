"""Two hundred servers of an OpenStack: the inventory of all classes, and an hour of their usage.

Asked are replies of real services (tests/recordings/openstack) grown to so many servers, served by a process of its own that takes
``LATENCY_S`` over each, more than the real ones take over most. Beside ours what is written first everywhere: each server's metrics
are asked for their measures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from benchmarks.harness import Watch, Within, work
from providers.adapters.openstack import OpenStackCloud
from providers.adapters.openstack.session import METRIC
from providers.base import Inventory, ServiceKind
from providers.secrets import Secret
from tests.clouds.recordings import AGGREGATES, FOLDER, Ask, Recording, Reply, many, served

SERVERS, LATENCY_S = 200, 0.1
HOUR = timedelta(hours=1)
PLANE = FOLDER / "control-plane.jsonl"
MEASURED = 0.9
"""Of the recorded servers at least so many have measures."""
WAYS = {"cpu": "rate:mean", "memory.usage": "mean"}


def serve() -> None:
    """Until nobody reads any more; says where on stdout."""
    recording = many(Recording.read(PLANE), SERVERS)
    told = next(reply.answer["measures"] for ask, reply in recording.exchanges if ask.path == AGGREGATES)

    def slow(ask: Ask, reply: Reply) -> Reply:
        time.sleep(LATENCY_S)
        part = ask.path.split("/")
        if part[-1] == "measures":  # metric/v1/resource/instance/SERVER/metric/NAME/measures
            rows = told.get(part[-4], {}).get(part[-2], {}).get(dict(ask.query)["aggregation"], [])
            return Reply(200, rows)
        return reply

    with served(recording, slow) as here:
        print(here.url, flush=True)
        sys.stdin.read()


@contextmanager
def cloud() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", "from benchmarks.bench_clouds import serve; serve()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def opened(url: str) -> OpenStackCloud:
    password = Secret("env:none", lambda _name: "testbed")
    return OpenStackCloud(f"{url}/identity/v3", user="admin", password=password, settle_s=0)


def servers_of(listing: Inventory) -> list[str]:
    assert listing.complete
    found = [fact.external_id for fact in listing.facts if fact.kind is ServiceKind.VM]
    assert len(found) == SERVERS
    return found


def ours(_home: Path, watch: Watch) -> float:
    """One reading as a collection makes it."""
    now = Recording.read(PLANE).now
    with cloud() as url:
        one = opened(url)
        with watch:
            listing = one.inventory(now)
            rows = sum(batch.table.num_rows for batch in one.samples(now - HOUR, now))
    assert one.session.requests <= 60
    assert len(servers_of(listing)) * 12 * MEASURED < rows
    return 1.0


def one_by_one(_home: Path, watch: Watch) -> float:
    """The same lists, and a question a server and metric."""
    now = Recording.read(PLANE).now
    with cloud() as url:
        one = opened(url)
        with watch:
            rows = 0
            for server in servers_of(one.inventory(now)):
                for metric, way in WAYS.items():
                    where = f"/v1/resource/instance/{server}/metric/{metric}/measures"
                    rows += len(
                        one.session.get(METRIC, where, aggregation=way, start=(now - HOUR).isoformat(), granularity=300)
                    )
    assert rows >= SERVERS * 12 * MEASURED
    return 1.0


work(
    "openstack-round",
    f"inventory of all classes and an hour of usage of {SERVERS} servers of an OpenStack that takes "
    f"{LATENCY_S * 1000:.0f} ms over each of its answers",
    unit="rounds",
    reach=Within(20),
    contenders={"guanjia": ours, "the same lists, a question a server and metric": one_by_one},
)
