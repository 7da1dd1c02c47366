"""Every adapter of ours keeps what the suite asks of any, a package of somebody else's is found and held to it, and the suite
fails where it should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from providers import registry
from providers.adapters.agent import AgentCloud
from providers.adapters.conformance import CloudSuite, MeterSuite
from providers.adapters.files import FilesCloud
from providers.adapters.libvirt import LibvirtCloud
from providers.adapters.promql import PromQL
from providers.adapters.recorded import RecordedCloud
from providers.adapters.simulated import SimulatedCloud
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind, Verb
from providers.mailbox import AgentReport, Mailbox
from providers.options import option
from quota.units import VCPU, Arch
from tests.expositions import Series, prometheus
from tests.patience import refusing_port
from tests.providers import test_openstack
from tests.providers.test_libvirt import node
from tests.providers.test_recorded import START, recording
from tests.suite.outside import ROOT

NOW = CloudSuite.now


class TestSimulated(CloudSuite):
    adapter = SimulatedCloud

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"pool": "net-x86", "epoch": "2026-11-20", "history_days": 2, "state_file": str(folder / "cloud.db")}


class TestFiles(CloudSuite):
    adapter = FilesCloud

    def options(self, folder: Path) -> Mapping[str, Any]:
        for name in ("usage", "inventory", "orders"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "inventory" / "list.csv").write_text(
            "id,name,type,arch,vcpu,memory_gb,status\nvm-1,one,vm,x86_64,4,8,running\nvm-2,two,vm,x86_64,2,4,stopped\n"
        )
        rows = [
            f"{name},{(NOW - timedelta(minutes=5 * n)).isoformat()},{n % 90}.5"
            for name in ("vm-1", "vm-2")
            for n in range(1, 80)
        ]
        (folder / "usage" / "week.csv").write_text("resource_id,time,cpu_pct\n" + "\n".join(rows) + "\n")
        return {"folder": str(folder), "orders_folder": str(folder / "orders"), "utc_offset_s": 0}


class TestAgent(CloudSuite):
    """Beside what an agent brought into its mailbox."""

    adapter = AgentCloud

    def options(self, folder: Path) -> Mapping[str, Any]:
        box = Mailbox(folder / "box")
        beside = SimulatedCloud("net-x86", epoch="2026-11-20", history_days=2, state_file=str(folder / "cloud.db"))
        able = {verb: list(map(str, codes)) for verb, codes in beside.releases.items()}
        box.report(AgentReport("i", "1", "simulated", NOW, beside.capabilities, True, able), NOW)
        box.keep_listing(beside.inventory(NOW), NOW)
        for batch in beside.samples(NOW - timedelta(hours=8), NOW):
            box.take(batch, NOW)
        return {"folder": str(folder / "box")}

    def unreachable(self, folder: Path) -> Mapping[str, Any]:
        return {"folder": str(folder / "nobody")}


class TestRecorded(CloudSuite):
    """It is opened with a recording, by rehearsals alone: it has no options."""

    adapter = RecordedCloud
    now = START + timedelta(days=2)

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {}

    def opened(self, options: Mapping[str, Any]) -> RecordedCloud:
        return RecordedCloud(recording(), {"m-2": "d1", "m-10": "d2"}, takes=timedelta(hours=4))

    test_each_option_has_a_label_and_a_shape_that_a_form_has_a_field_for = None
    test_what_lets_us_in_is_a_secret = None
    test_options_are_plain_json_and_say_the_same_when_read_again = None
    test_what_is_missing_or_unknown_is_refused_by_its_name = None


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory):
    first = int((NOW - timedelta(hours=3)).timestamp() * 1000)
    moments = range(first, first + 4 * 3_600_000, 15_000)
    series = [
        Series({"__name__": name, "instance": "vm-1:9100", "job": "node", **more}, [(at, float(value(at - first))) for at in moments])
        for name, more, value in (
            ("node_memory_MemTotal_bytes", {}, lambda _at: 2**33),
            ("node_memory_MemAvailable_bytes", {}, lambda at: 2**32 + at),
            ("node_cpu_seconds_total", {"cpu": "0", "mode": "idle"}, lambda at: at * 0.7 / 1000),
            ("node_cpu_seconds_total", {"cpu": "0", "mode": "user"}, lambda at: at * 0.3 / 1000),
            ("node_network_receive_bytes_total", {"device": "eth0"}, lambda at: at * 40),
        )
    ]  # fmt: skip
    with prometheus(tmp_path_factory.mktemp("prometheus"), series) as url:
        yield url


@pytest.mark.slow
class TestPromQL(MeterSuite):
    adapter = PromQL

    @pytest.fixture(autouse=True)
    def _there(self, address: str) -> None:
        self.address = address

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"url": self.address}

    def unreachable(self, folder: Path) -> Mapping[str, Any]:
        return {"url": f"http://127.0.0.1:{refusing_port()}", "timeout_s": 1}


class TestLibvirt(CloudSuite):
    """libvirt's test driver; its usage comes as readings."""

    adapter = LibvirtCloud

    @cached_property
    def now(self) -> datetime:
        """The clock that libvirt itself goes by: of the test, not of the collection, which may be an hour ago."""
        return datetime.now(UTC)

    history = None

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"hosts": f"test://{node(folder)}", "journal": str(folder / "libvirt.db")}

    def unreachable(self, folder: Path) -> Mapping[str, Any]:
        return {"hosts": f"qemu+tcp://127.0.0.1:{refusing_port()}/system", "journal": str(folder / "libvirt.db")}


class TestLibvirtUsage(MeterSuite):
    adapter = LibvirtCloud

    @cached_property
    def now(self) -> datetime:
        """The clock that libvirt itself goes by: of the test, not of the collection, which may be an hour ago."""
        return datetime.now(UTC)

    def options(self, folder: Path) -> Mapping[str, Any]:
        given = {"hosts": f"test://{node(folder)}", "journal": str(folder / "libvirt.db")}
        cloud = self.opened(given)
        for minutes in range(130, 0, -5):
            cloud.poll(self.now - timedelta(minutes=minutes))
        return given

    def unreachable(self, folder: Path) -> Mapping[str, Any]:
        return {"hosts": f"qemu+tcp://127.0.0.1:{refusing_port()}/system", "journal": str(folder / "libvirt.db")}


def test_each_of_ours_is_held_to_it() -> None:
    held = {
        one.adapter
        for one in (
            TestSimulated,
            TestFiles,
            TestAgent,
            TestRecorded,
            TestPromQL,
            TestLibvirt,
            test_openstack.TestOpenStack,
        )
    }
    assert {registry.adapter(name) for name in registry.ADAPTERS} <= held


CLOUD = """
from dataclasses import dataclass
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.mailbox import AgentReport, Mailbox
from providers.options import option
from quota.units import VCPU, Arch


@dataclass(frozen=True, kw_only=True)
class Options:
    region: str = option("地域")


class OtherCloud:
    Options = Options
    name = "other"
    capabilities = frozenset()
    live_resize = False
    releases = {}

    def __init__(self, region):
        self.region = region

    def inventory(self, now):
        return Inventory(now, [ResourceFact("i-1", "one", ServiceKind.VM, Arch.AARCH64, {VCPU: 4}, ResourceState.RUNNING)])

    def samples(self, since, until):
        return iter(())

    def deliver(self, order, now):
        from providers.base import ProviderFault
        raise ProviderFault("no hands", transient=False)

    def inquire(self, key, now):
        return None
"""
TESTS = """
from other_cloud import OtherCloud
from providers import registry
from providers.adapters.agent import AgentCloud
from providers.adapters.conformance import CloudSuite


class TestOther(CloudSuite):
    adapter = OtherCloud
    history = None

    def options(self, folder):
        return {"region": "north"}


def test_it_is_offered():
    assert "other" in registry.offered(demo=False)
    assert registry.open_provider("other", {"region": "north"}).inventory(TestOther.now).facts[0].external_id == "i-1"
    assert registry.adapters()["files"].startswith("providers.")
"""


@pytest.mark.slow
def test_a_package_from_outside_is_found_and_holds_to_it(tmp_path: Path) -> None:
    about = tmp_path / "other_cloud-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-cloud\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[guanjia.providers]\nother = other_cloud:OtherCloud\nfiles = other_cloud:OtherCloud\n"
    )
    (tmp_path / "other_cloud.py").write_text(CLOUD)
    (tmp_path / "test_other.py").write_text(TESTS)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_other.py"],
        cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "passed" in run.stdout


@dataclass(frozen=True, kw_only=True)
class Careless:
    password: str = option("口令", default="")


class CarelessCloud:
    """Whatever can be wrong with a cloud."""

    Options = Careless
    name = "careless"
    capabilities = frozenset()
    live_resize = False
    releases: Mapping[Any, Any] = {Verb.RESIZE: {"cores"}}

    def __init__(self, password: str) -> None:
        import socket

        with socket.socket() as reaches:
            reaches.connect_ex(("127.0.0.1", 1))

    def inventory(self, now: datetime) -> Inventory:
        one = ResourceFact(
            "i-1", "one", ServiceKind.VM, Arch.X86_64, {VCPU: 4}, ResourceState.RUNNING,
            created_at=now.replace(tzinfo=None),
        )  # fmt: skip
        return Inventory(now, [one, one])


class CarelessSuite(CloudSuite):
    adapter = CarelessCloud
    now = datetime(2026, 11, 20, tzinfo=UTC)

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {}


def test_the_suite_fails_where_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = CarelessSuite()
    with pytest.raises(AssertionError, match="Secret"):
        suite.test_what_lets_us_in_is_a_secret()
    with pytest.raises(AssertionError, match="speaks to somebody"):
        suite.test_opening_speaks_to_nobody({}, monkeypatch)
    monkeypatch.undo()
    with pytest.raises(AssertionError):
        suite.test_a_listing_holds_each_thing_once_and_makes_sense(CarelessCloud(""))
    with pytest.raises(AssertionError, match="nobody counts"):
        suite.test_it_says_what_it_can_do(CarelessCloud(""))
