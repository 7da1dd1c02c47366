"""The libvirt exporter itself, over libvirt's test driver, scraped by a real Prometheus: what its queries say of guests whose
counters grow at rates that the driver has written into it (one second of CPU a second, 100,000 B/s received, 50,000 sent,
50,000 read, 25,000 written)."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from metering.intake.pulled import pull
from providers.adapters.promql import PromQL
from tests.patience import answered, ended, free_port, until

pytestmark = pytest.mark.slow

STEP = 15
GUEST = """<domain type='test'><name>{name}</name><uuid>11111111-1111-1111-1111-11111111111{vcpu}</uuid>
<memory>1048576</memory><vcpu>{vcpu}</vcpu><os><type arch='x86_64'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/{name}.img'/><target dev='vda'/></disk>
<interface type='bridge'><source bridge='br0'/><mac address='52:54:00:00:00:0{vcpu}'/></interface></devices></domain>"""


def running(*command):
    return ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def test_guests_by_what_their_host_says_of_them(tmp_path) -> None:
    node = tmp_path / "node.xml"
    guests = {"vm-a": 2, "vm-b": 4}
    node.write_text("<node>" + "".join(GUEST.format(name=name, vcpu=vcpu) for name, vcpu in guests.items()) + "</node>")
    exporter, port = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    target = {"job_name": "libvirt", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [target]}))
    listen = f"--web.listen-address=127.0.0.1:{exporter}"
    prometheus = (
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    begin = datetime.now(UTC)
    with running("prometheus-libvirt-exporter", listen, f"--libvirt.uri=test://{node}"), running(*prometheus):
        answered(f"http://127.0.0.1:{exporter}/metrics")
        answered(f"http://127.0.0.1:{port}/-/ready")
        begun = datetime.now(UTC)
        until(lambda: datetime.now(UTC) > begun + timedelta(seconds=4 * STEP + 5), "four slots", 0.5)
        meter = PromQL(f"http://127.0.0.1:{port}", exporters=("libvirt",), settle_s=3)
        assert meter.probe(datetime.now(UTC)).endswith("libvirt: 2")
        machines = {name: number for number, name in enumerate(guests, 1)}
        found = [pull(one, machines, STEP) for one in meter.readings(begin, datetime.now(UTC), STEP)]
    assert not any(one.unknown or one.refused for one in found)
    rows = [row for one in found for row in one.samples.to_pylist() if row["ts"] > begun.timestamp()]
    assert len({row["ts"] for row in rows}) >= 2
    for row in rows:
        vcpu = list(guests.values())[row["resource"] - 1]
        assert row["vcpu"] == vcpu
        assert row["cpu_pct"] == pytest.approx(100 / vcpu, abs=0.5)
        for metric, rate in (
            ("net_rx_kbps", 800), ("net_tx_kbps", 400), ("disk_read_kbs", 50_000 / 1024), ("disk_write_kbs", 25_000 / 1024),
        ):  # fmt: skip
            assert row[metric] == pytest.approx(rate, rel=0.01), metric
        assert "mem_pct" not in row or row["mem_pct"] != row["mem_pct"]  # what guests use of it their host doesn't know
