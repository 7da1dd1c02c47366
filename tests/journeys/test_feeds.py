"""A real Prometheus that scrapes a real node exporter is asked for usage, and says what remote-write said of the same samples."""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select
from werkzeug.serving import make_server

from console.app import create_app
from console.book import EXTENSION
from console.settings import Settings
from metering.intake import feeding, feeds, probes, push, sources
from metering.lake import Lake
from metering.workbench import Workbench
from providers.metrics import METRICS
from quota.actors import Actor, Role
from quota.db import Book
from quota.directory import CloudProvider, Pool
from quota.inventory import Resource
from tests import books
from tests.patience import PATIENCE, answered, ended, free_port, until

pytestmark = pytest.mark.slow

STEP = 15
WHO = Actor("s", "督导", Role.SUPERVISOR)


def running(*command):
    return ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


@pytest.fixture
def door(tmp_path):
    """(works, address, token) of a console that listens, with two pools of one machine each: what is pushed goes to the
    first, what is pulled to the second."""
    book = Book(books.sqlite(tmp_path / "book.db"))
    app = create_app(Settings(data=tmp_path, secret_key="t" * 40), book)
    lake = app.extensions[EXTENSION].lake = Lake(tmp_path / "lake", step_s=STEP)
    with book.transaction(WHO) as tx:
        company = CloudProvider(code="jia", name="甲云")
        tx.add(company)
        tx.flush()
        for code in ("pushed", "pulled"):
            pool = Pool(code=code, name=code, provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files")
            tx.add(pool)
            tx.flush()
            tx.add(
                Resource(
                    pool_id=pool.id, external_id=f"vm-{code}", name=f"node-{code}", kind="vm", arch="x86_64",
                    state="running", address="127.0.0.1", first_seen_at=tx.now,
                )
            )  # fmt: skip
        token = sources.register(tx, "prom", "Prometheus", 1)[1]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Workbench(book, lake, tmp_path), f"http://127.0.0.1:{server.server_port}", token
    server.shutdown()
    thread.join(PATIENCE)
    book.dispose()


def configured(tmp_path, exporter, door_address, token, *others):
    """``others``: addresses to which it writes beside the console."""
    config = tmp_path / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]},
                ],
                "remote_write": [
                    {
                        "url": f"{door_address}/api/v1/write",
                        "authorization": {"credentials": token},
                        "queue_config": {"batch_send_deadline": "1s", "max_backoff": "1s"},
                    },
                    *({"url": one, "queue_config": {"batch_send_deadline": "1s"}} for one in others),
                ],
            }
        )
    )
    return config


def seen(port, since):
    """Slots after ``since`` in which Prometheus has samples of the exporter."""
    answer = json.loads(answered(f"http://127.0.0.1:{port}/api/v1/query?query=node_memory_MemTotal_bytes%5B10m%5D"))
    found = {int(ts) // STEP * STEP for one in answer["data"]["result"] for ts, _value in one["values"]}
    return {one for one in found if one > since.timestamp()}


def cells(lake, number, first, last):
    """Slot start → metric → value of one machine."""
    chart = lake.chart(number, first, last, list(METRICS))
    return {
        int(ts): {name: float(chart.values[name][at]) for name in chart.values if not np.isnan(chart.values[name][at])}
        for at, ts in enumerate(chart.ts)
        if chart.count[at]
    }


def test_pulled_and_pushed_say_the_same_and_an_outage_is_made_up_for(door, tmp_path):
    agree(door, tmp_path)


def agree(door, tmp_path, another=None, settle_s=3):
    """``another``: of another store the command that serves it on a port and where it is written to; Prometheus then writes to it
    as to the console, and it is asked in its place."""
    works, address, token = door
    exporter, port, own = free_port(), free_port(), free_port()
    command, place = another(own) if another else ((), "")
    config = configured(tmp_path, exporter, address, token, *([place] if place else []))
    prometheus = (
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    options = {"url": f"http://127.0.0.1:{own if another else port}", "settle_s": settle_s}
    with works.book.transaction(WHO) as tx:
        row = feeds.register(tx, "prom", "Prometheus", 2, "promql", options, history_days=1)
        probes.ask(tx, row.subject)
        feeds.ask_trial(tx, row)

    # Nobody is there yet: told in words, nothing entered, nothing skipped.
    done = feeding.feed(works, row)
    assert done.fault[0] == "refused"
    assert [one.fault for one in probes.carry_out(works)] == ["refused"]
    assert feeding.carry_out_trials(works) == 1
    works.meters.clear()

    begin = datetime.now(UTC)
    with running(*command) if command else nullcontext(), running(*prometheus):
        answered(f"http://127.0.0.1:{port}/-/ready")
        with running("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter}"):
            until(lambda: len(seen(port, begin)) > 2, "three slots", 0.5)
        # The exporter is away and comes back, and its counters go on; a slot between them is half seen.
        gone = datetime.now(UTC)
        until(lambda: datetime.now(UTC) > gone + timedelta(seconds=2 * STEP), "two slots without it", 0.5)
        with running("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter}"):
            back = datetime.now(UTC)
            until(lambda: len(seen(port, back)) > 3, "four slots more", 0.5)
            with works.book.reading() as tx:
                row = feeds.feed(tx, row.id)
            first = feeding.feed(works, row)
            assert first.fault == ("", "")
            # One collection more, from where that one ended.
            until(lambda: len(seen(port, back)) > 5, "two slots more", 0.5)
            end = datetime.now(UTC)
            until(lambda: datetime.now(UTC) > end + timedelta(seconds=settle_s + 2), "what is under way", 0.5)
        with works.book.reading() as tx:
            row = feeds.feed(tx, row.id)
        second = feeding.feed(works, row)
        assert second.since <= first.until < second.until
        with works.book.transaction(WHO) as tx:
            probes.ask(tx, row.subject)
            feeds.ask_trial(tx, feeds.feed(tx, row.id))
        assert [one.fault for one in probes.carry_out(works)] == [""]
        assert feeding.carry_out_trials(works) == 1

    works.book.clock = lambda: datetime.now(UTC) + timedelta(minutes=5)
    push.fold_all(works)
    with works.book.reading() as tx:
        row = feeds.feed(tx, row.id)
        pulled, pushed = (tx.scalar(select(Resource.id).where(Resource.pool_id == pool)) for pool in (2, 1))
    last = min(row.collected_until, end) - timedelta(seconds=STEP)
    ours, theirs = cells(works.lake, pulled, begin, last), cells(works.lake, pushed, begin, last)
    assert len(theirs) >= 8
    assert ours.keys() == theirs.keys()
    for slot, expected in theirs.items():
        assert ours[slot].keys() == expected.keys(), slot
        for name, value in expected.items():
            limit = 0.02 if METRICS[name].percent else value * 0.001 + 0.01
            assert ours[slot][name] == pytest.approx(value, abs=limit), (slot, name)
    for name in ("net_rx_kbps", "net_tx_kbps", "disk_write_kbs"):
        total = sum(one.get(name, 0.0) for one in theirs.values())
        assert sum(one.get(name, 0.0) for one in ours.values()) == pytest.approx(total, rel=1e-3)

    assert (row.seen, row.due, row.unknown, row.fault) == (1, 1, {}, "")
    assert abs(row.skew_s) < 5
    found = {one["series"]: one for one in row.trial["queries"]}
    assert found["node_cpu_seconds_total"]["proof"] == "exporter"
    assert found["node_cpu_seconds_total"]["machines"] == 1
    assert row.trial["missing"] == []
    assert 0 <= row.trial["figures"][0]["values"]["cpu_pct"] <= 100

    # Everything once more: not a cell is added or changed.
    works.lake.roll()
    assert cells(works.lake, pulled, begin, last) == ours
