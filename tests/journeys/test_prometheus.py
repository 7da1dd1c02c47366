"""A real Prometheus scrapes a real node exporter and writes to the console: what comes, what is missing, nothing twice.

Time is short here (slots of 15 s, the lake's least): each of the three phases ends when there is enough to see of it,
or lasts ``GUANJIA_SOAK_S`` (``make soak``: ten minutes with Prometheus up).
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.serving import make_server

from console.app import create_app
from console.book import EXTENSION
from console.settings import Settings
from metering.intake import push, sources
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers.metrics import METRICS
from quota.actors import Actor, Role
from quota.db import Book
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource
from tests import books
from tests.patience import PATIENCE, answered, ended, free_port, pause, until

pytestmark = pytest.mark.slow

STEP = 15
PHASE_S = int(os.environ.get("GUANJIA_SOAK_S", "0"))


def running(*command):
    return ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


@pytest.fixture
def door(tmp_path):
    """(works, address, token) of a console that listens, with one machine in its inventory: the exporter's."""
    book = Book(books.sqlite(tmp_path / "book.db"))
    app = create_app(Settings(data=tmp_path, secret_key="t" * 40), book)
    lake = app.extensions[EXTENSION].lake = Lake(tmp_path / "lake", step_s=STEP)
    with book.transaction(Actor("s", "督导", Role.SUPERVISOR)) as tx:
        company = CloudProvider(code="jia", name="甲云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p1", name="池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files")
        tx.add(pool)
        tx.flush()
        tx.add(
            Resource(
                pool_id=pool.id, external_id="vm-1", name="node", kind="vm", arch="x86_64", state="running",
                address="127.0.0.1", first_seen_at=tx.now,
            )
        )  # fmt: skip
        token = sources.register(tx, "prom", "Prometheus", pool.id)[1]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Workbench(book, lake, tmp_path), f"http://127.0.0.1:{server.server_port}", token
    server.shutdown()
    thread.join(PATIENCE)
    book.dispose()


def scraped(port):
    """The starts of the slots in which Prometheus itself has a sample of the exporter."""
    query = "node_memory_MemTotal_bytes%5B2h%5D"
    found = json.loads(answered(f"http://127.0.0.1:{port}/api/v1/query?query={query}"))["data"]["result"]
    return {int(ts) // STEP * STEP for one in found for ts, _value in one["values"]}


def sent(port, result="samples"):
    """How many samples Prometheus says that it handed over, or failed to."""
    text = answered(f"http://127.0.0.1:{port}/metrics").decode()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(f"prometheus_remote_storage_{result}_total{{")
    )


def handed_over(port):
    """The time of the newest sample that the console has taken from it."""
    text = answered(f"http://127.0.0.1:{port}/metrics").decode()
    name = "prometheus_remote_storage_queue_highest_sent_timestamp_seconds{"
    return max((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)), default=0.0)


def test_a_hole_is_shown_and_no_sample_is_counted_twice(door, tmp_path):
    works, address, token = door
    exporter, port = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "external_labels": {"city": "test"}},
                "scrape_configs": [
                    {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]},
                    {"job_name": "self", "static_configs": [{"targets": [f"localhost:{port}"]}]},
                ],
                "remote_write": [
                    {
                        "url": f"{address}/api/v1/write",
                        "authorization": {"credentials": token},
                        "queue_config": {"batch_send_deadline": "1s", "max_backoff": "1s"},
                    }
                ],
            }
        )
    )
    prometheus = (
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    begin = datetime.now(UTC)
    with running("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter}"):
        answered(f"http://127.0.0.1:{exporter}/")
        with running(*prometheus):
            answered(f"http://127.0.0.1:{port}/-/ready")
            pause(PHASE_S)
            until(lambda: sent(port) > 0, "Prometheus has written samples", 0.5)
            assert sent(port, "samples_failed") == 0
        stopped = datetime.now(UTC)
        push.fold_all(works)
        pause(min(PHASE_S, 60))
        until(
            lambda: datetime.now(UTC) > stopped + timedelta(seconds=2 * STEP + 1),
            "a whole slot without Prometheus",
            0.5,
        )
        restarted = datetime.now(UTC)
        with running(*prometheus):
            answered(f"http://127.0.0.1:{port}/-/ready")
            pause(PHASE_S)
            # Three slots, as what is used is told by counters: from one slot to the next.
            until(
                lambda: len({one for one in scraped(port) if one > restarted.timestamp()}) > 2, "three slots more", 0.5
            )
            asked = datetime.now(UTC)
            until(lambda: handed_over(port) > asked.timestamp(), "what it scraped until now is written", 0.5)
            assert sent(port, "samples_failed") == 0
            seen = scraped(port)
    end = datetime.now(UTC)

    works.book.clock = lambda: end + timedelta(minutes=5)
    push.fold_all(works)
    folded = works.lake.chart(1, begin, end, ["cpu_pct", "mem_pct"])
    live = {int(ts) for ts, count in zip(folded.ts, folded.count, strict=True) if count}
    slot = lambda moment: int(moment.timestamp()) // STEP * STEP  # noqa: E731
    # What is live is what Prometheus itself says that it scraped, slot by slot; the last may still have been filling.
    assert {one for one in live if one < slot(asked)} == {one for one in seen if one < slot(asked)}
    hole = set(range(slot(stopped) + STEP, slot(restarted), STEP))
    assert hole
    assert not live & hole
    assert min(live) < min(hole) <= max(hole) < max(live)
    assert folded.coverage == pytest.approx(len(live) / len(folded.ts))
    assert folded.coverage < 1
    for name in ("cpu_pct", "mem_pct"):
        values = folded.values[name][folded.count > 0]
        assert ((values >= 0) & (values <= 100)).sum() >= len(live) // 2
    with works.book.reading() as tx:
        source = tx.query(sources.PushSource).one()
        assert source.refused == 0
        assert source.points > 0

    # Everything once more, as after a crash between the lake and the spool: not a cell is added or changed.
    before = _cells(works.lake)
    push.fold_all(works)
    works.lake.roll()
    assert _cells(works.lake) == before
    assert works.lake.verify() == []


def _cells(lake):
    begin = datetime.now(UTC) - timedelta(hours=1)
    chart = lake.chart(1, begin, begin + timedelta(hours=2), list(METRICS))
    cells = [tuple(value for value in row if value == value) for row in zip(*chart.values.values(), strict=True)]
    return [cell for cell in cells if cell]
