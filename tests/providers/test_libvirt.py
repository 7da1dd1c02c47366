"""libvirt over its own test driver and a node file of ours: guests listed, started, shut down and resized; what they used, by
counters that the driver lets grow at rates written into it (one second of CPU a second, 100,000 B/s received, 50,000 sent,
50,000 read, 25,000 written), even of guests that are off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metering.intake.pulled import pull
from providers.adapters.libvirt import LibvirtCloud, sizes
from providers.adapters.libvirt.hosts import library
from providers.adapters.libvirt.usage import counters
from providers.base import (
    BUSY,
    STALLED,
    Order,
    Outcome,
    OutcomeState,
    ProviderFault,
    ResourceState,
    ServiceKind,
    Verb,
)
from quota.errors import Invalid
from quota.units import BLOCK, MEMORY, VCPU, Arch
from tests.patience import until

WEB, DATABASE, OTHER = (f"11111111-1111-1111-1111-11111111111{n}" for n in range(1, 4))
GUEST = """<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><title>{title}</title><memory>{kib}</memory>
<currentMemory>{now}</currentMemory><vcpu>{vcpu}</vcpu><os><type arch='{arch}'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/{name}.img'/><target dev='vda'/></disk>
<disk type='file' device='cdrom'><target dev='hda'/></disk>
<interface type='bridge'><source bridge='br0'/><mac address='52:54:00:00:00:0{vcpu}'/></interface></devices></domain>"""
NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)


def node(folder: Path, *names: str) -> Path:
    """A node file with two guests, or those that are named."""
    guests = (
        {"name": "web", "uuid": WEB, "title": "门户", "kib": 4 << 20, "now": 4 << 20, "vcpu": 2, "arch": "x86_64"},
        {"name": "db", "uuid": DATABASE, "title": "", "kib": 8 << 20, "now": 6 << 20, "vcpu": 4, "arch": "aarch64"},
    )
    path = folder / f"node{len(names)}.xml"
    path.write_text(
        "<node>" + "".join(GUEST.format(**one) for one in guests if not names or one["name"] in names) + "</node>"
    )
    return path


@pytest.fixture
def cloud(tmp_path: Path) -> LibvirtCloud:
    return LibvirtCloud([f"test://{node(tmp_path)}"], str(tmp_path / "libvirt.db"))


def order(key: str, verb: Verb, uuid: str = WEB, **amounts: int) -> Order:
    return Order(
        key,
        verb,
        ServiceKind.VM,
        Arch.X86_64,
        uuid,
        {VCPU if name == "vcpu" else MEMORY: n for name, n in amounts.items()},
    )


def test_guests_are_listed_with_what_is_defined_and_the_hosts_own_word(cloud: LibvirtCloud) -> None:
    listing = cloud.inventory(NOW)
    assert listing.complete
    web, database = listing.facts
    assert (web.external_id, web.name, web.kind, web.arch, web.state) == (
        WEB,
        "web",
        ServiceKind.VM,
        Arch.X86_64,
        ResourceState.RUNNING,
    )
    assert dict(web.amounts) == {VCPU: 2, MEMORY: 4096, BLOCK: 1024}, "the driver's disks are of a terabyte"
    assert (web.cloud_state, web.tags["title"]) == ("running", "门户")
    assert (database.arch, database.amounts[MEMORY], database.tags["balloon_mb"]) == (Arch.AARCH64, 8192, "6144")
    assert "2 guests" in cloud.probe(NOW)


def test_a_host_that_does_not_answer_leaves_the_listing_incomplete_and_the_others_told(tmp_path: Path) -> None:
    hosts = [f"test://{node(tmp_path)}", "qemu+tcp://127.0.0.1:1/system"]
    half = LibvirtCloud(hosts, str(tmp_path / "libvirt.db"))
    listing = half.inventory(NOW)
    assert not listing.complete
    assert [one.name for one in listing.facts] == ["web", "db"]
    half.poll(NOW)
    with pytest.raises(ProviderFault) as fault:
        LibvirtCloud(hosts[1:], str(tmp_path / "libvirt.db")).inventory(NOW)
    assert (fault.value.code, fault.value.transient) == ("refused", True)


def test_a_guest_on_two_hosts_is_one_guest(tmp_path: Path) -> None:
    hosts = [f"test://{node(tmp_path)}", f"test://{node(tmp_path, 'web')}"]
    both = LibvirtCloud(hosts, str(tmp_path / "libvirt.db"))
    assert [one.name for one in both.inventory(NOW).facts] == ["web", "db"]


def test_only_the_guests_whose_names_fit_are_the_pools(tmp_path: Path) -> None:
    mine = LibvirtCloud([f"test://{node(tmp_path)}"], str(tmp_path / "libvirt.db"), match="w.*")
    assert [one.name for one in mine.inventory(NOW).facts] == ["web"]
    with pytest.raises(ProviderFault) as fault:
        mine.deliver(order("k", Verb.STOP, DATABASE), NOW)
    assert not fault.value.transient


def test_a_guest_is_shut_down_resized_and_started(cloud: LibvirtCloud) -> None:
    assert cloud.deliver(order("1", Verb.STOP), NOW).state is OutcomeState.DONE
    assert cloud.inventory(NOW).facts[0].state is ResourceState.STOPPED
    larger = cloud.deliver(order("2", Verb.RESIZE, vcpu=8, memory=16384), NOW)
    assert (larger.state, dict(larger.amounts)) == (OutcomeState.DONE, {VCPU: 8, MEMORY: 16384})
    assert dict(cloud.inventory(NOW).facts[0].amounts) == {VCPU: 8, MEMORY: 16384, BLOCK: 1024}
    assert cloud.deliver(order("3", Verb.RESIZE, memory=2048), NOW).state is OutcomeState.DONE
    assert dict(cloud.inventory(NOW).facts[0].amounts) == {VCPU: 8, MEMORY: 2048, BLOCK: 1024}
    assert cloud.deliver(order("4", Verb.START), NOW).state is OutcomeState.DONE
    after = cloud.inventory(NOW).facts[0]
    assert (after.state, after.amounts[VCPU]) == (ResourceState.RUNNING, 8)
    assert cloud.deliver(order("1", Verb.STOP), NOW).state is OutcomeState.DONE
    assert cloud.inventory(NOW).facts[0].state is ResourceState.RUNNING, "what was delivered is not delivered again"


def test_what_is_none_of_its_orders_is_refused_and_changes_nothing(
    cloud: LibvirtCloud,
) -> None:
    before = cloud.inventory(NOW)
    wrong = [
        order("2", Verb.RESIZE),
        order("3", Verb.DELETE),
        order("4", Verb.STOP, OTHER),
        Order("5", Verb.RESIZE, ServiceKind.VM, Arch.X86_64, WEB, {BLOCK: 1}),
        Order("6", Verb.STOP, ServiceKind.VOLUME, Arch.X86_64, WEB),
    ]
    for one in wrong:
        with pytest.raises(ProviderFault) as fault:
            cloud.deliver(one, NOW)
        assert not fault.value.transient
        assert cloud.inquire(one.key, NOW) is None
    assert cloud.inventory(NOW) == before


@pytest.fixture
def roomy(tmp_path: Path) -> LibvirtCloud:
    """«web» was started with three of at most four CPUs, of which one may be taken out again."""
    path = node(tmp_path)
    cpus = "".join(
        f"<vcpu id='{number}' enabled='{'yes' if number < 3 else 'no'}' hotpluggable='{'yes' if number > 1 else 'no'}'/>"
        for number in range(4)
    )
    text = path.read_text().replace("<vcpu>2</vcpu>", f"<vcpu current='3'>4</vcpu><vcpus>{cpus}</vcpus>")
    path.write_text(text)
    return LibvirtCloud([f"test://{path}"], str(tmp_path / "libvirt.db"))


def web(cloud: LibvirtCloud) -> tuple[ResourceState, int, int]:
    fact = next(one for one in cloud.inventory(NOW).facts if one.external_id == WEB)
    return fact.state, fact.amounts[VCPU], fact.amounts[MEMORY]


def steps(cloud: LibvirtCloud, **amounts: int) -> list[str]:
    return [one.name for one in cloud.plan(order("plan", Verb.RESIZE, **amounts), NOW)]


def definition(cloud: LibvirtCloud) -> sizes.Definition:
    with cloud._domain(WEB) as (libvirt, domain):
        return sizes.defined(libvirt, domain)


def later(cloud: LibvirtCloud, key: str, minutes: float) -> Outcome:
    found = cloud.inquire(key, NOW + timedelta(minutes=minutes))
    assert found is not None
    return found


def refusing(code: str, unless: Callable[..., bool] = lambda *_given: False, then: Any = None) -> Callable[..., Any]:
    """A call of libvirt's that fails so, unless what it is given is as told: then it does what it does."""
    libvirt = library()

    def call(*given: Any) -> Any:
        if unless(*given):
            return then(*given)
        error = libvirt.libvirtError(f"no: {code}")
        error.err = (getattr(libvirt, code), 0, f"no: {code}", 2, "", "", "", 0, 0)
        raise error

    return call


class Shutdowns:
    """Counts the shutdowns that guests are asked for; they listen or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, listen: bool = False) -> None:
        self.count = 0
        real = library().virDomain.shutdown

        def shutdown(domain: Any) -> int:
            self.count += 1
            return int(real(domain)) if listen else 0

        monkeypatch.setattr(library().virDomain, "shutdown", shutdown)


def goes_off(cloud: LibvirtCloud) -> None:
    with cloud._domain(WEB) as (_libvirt, domain):
        domain.destroy()


def test_a_running_guest_is_given_cpus_as_it_runs_within_the_most_that_it_was_started_with(
    roomy: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library().virDomain, "shutdown", lambda _domain: pytest.fail("it runs on"))
    assert steps(roomy, vcpu=4, memory=4096) == ["resize_live"]
    assert roomy.deliver(order("1", Verb.RESIZE, vcpu=4, memory=4096), NOW).state is OutcomeState.DONE
    assert web(roomy) == (ResourceState.RUNNING, 4, 4096)
    assert roomy.deliver(order("2", Verb.RESIZE, vcpu=2), NOW).state is OutcomeState.DONE
    assert web(roomy) == (ResourceState.RUNNING, 2, 4096)
    monkeypatch.undo()
    for number, verb in enumerate((Verb.STOP, Verb.START)):
        roomy.deliver(order(f"again{number}", verb), NOW)
    assert web(roomy) == (ResourceState.RUNNING, 2, 4096), "and so from its next start on"


def test_cpus_that_can_not_be_taken_out_again_are_taken_by_a_shutdown_and_a_start(roomy: LibvirtCloud) -> None:
    assert (steps(roomy, vcpu=2), steps(roomy, vcpu=1)) == (["resize_live"], ["stop", "resize", "start"])


def test_what_was_planned_as_it_runs_is_no_shutdown_and_planned_anew_where_libvirt_would_not_have_it(
    roomy: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdowns = Shutdowns(monkeypatch, listen=True)
    before = definition(roomy)
    with monkeypatch.context() as patched:
        patched.setattr(library().virDomain, "setVcpusFlags", refusing("VIR_ERR_OPERATION_FAILED"))
        failed = roomy.deliver(order("1", Verb.RESIZE, vcpu=4), NOW)
    assert (failed.state, shutdowns.count) == (OutcomeState.FAILED, 0)
    assert (web(roomy), definition(roomy)) == ((ResourceState.RUNNING, 3, 4096), before)
    assert steps(roomy, vcpu=4) == ["stop", "resize", "start"]
    assert roomy.deliver(order("1#1", Verb.RESIZE, vcpu=4), NOW).state is OutcomeState.DONE
    assert (web(roomy), shutdowns.count) == ((ResourceState.RUNNING, 4, 4096), 1)


def test_a_guest_is_not_shut_down_for_an_order_that_was_planned_while_it_was_off(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.deliver(order("1", Verb.STOP), NOW)
    larger = order("2", Verb.RESIZE, memory=8192)
    assert [one.stops for one in cloud.plan(larger, NOW)] == [False]
    cloud.deliver(order("3", Verb.START), NOW)
    shutdowns = Shutdowns(monkeypatch)
    with pytest.raises(ProviderFault, match="planned anew") as fault:
        cloud.deliver(larger, NOW)
    assert (fault.value.transient, fault.value.code, cloud.inquire("2", NOW)) == (True, BUSY, None)
    assert [one.stops for one in cloud.plan(larger, NOW)] == [True, False, False]
    assert (cloud.deliver(larger, NOW).state, shutdowns.count) == (OutcomeState.PENDING, 1)


@pytest.mark.parametrize(
    ("vcpu", "memory"), [(8, 4096), (2, 8192), (2, 2048)], ids=["more CPUs", "more memory", "less memory"]
)
def test_what_a_running_guest_can_not_be_given_as_it_runs_takes_a_shutdown_and_a_start(
    cloud: LibvirtCloud, vcpu: int, memory: int
) -> None:
    assert steps(cloud, vcpu=vcpu, memory=memory) == ["stop", "resize", "start"]
    assert web(cloud) == (ResourceState.RUNNING, 2, 4096), "a plan changes nothing"
    done = cloud.deliver(order("1", Verb.RESIZE, vcpu=vcpu, memory=memory), NOW)
    assert (done.state, done.amounts) == (OutcomeState.DONE, {VCPU: vcpu, MEMORY: memory})
    assert web(cloud) == (ResourceState.RUNNING, vcpu, memory)
    assert cloud.deliver(order("1", Verb.RESIZE, vcpu=vcpu, memory=memory), NOW) == done


def test_a_guest_is_asked_once_and_started_with_its_size_however_late_it_goes_off(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdowns = Shutdowns(monkeypatch)
    assert cloud.deliver(order("1", Verb.RESIZE, memory=8192), NOW).state is OutcomeState.PENDING
    assert web(cloud) == (ResourceState.RUNNING, 2, 4096)
    late = later(cloud, "1", 21)
    assert (late.state, "asked to shut down 21 minutes ago" in late.message) == (OutcomeState.PENDING, True)
    goes_off(cloud)
    assert later(cloud, "1", 40).state is OutcomeState.DONE
    assert (web(cloud), shutdowns.count) == ((ResourceState.RUNNING, 2, 8192), 1)


def test_a_guest_that_never_listens_stays_as_it_is_and_the_order_is_not_tried_again(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdowns, before = Shutdowns(monkeypatch), definition(cloud)
    cloud.deliver(order("1", Verb.RESIZE, memory=8192), NOW)
    failed = later(cloud, "1", 361)
    assert (failed.state, failed.code, shutdowns.count) == (OutcomeState.FAILED, STALLED, 1)
    assert (web(cloud), definition(cloud)) == ((ResourceState.RUNNING, 2, 4096), before)
    goes_off(cloud)
    assert steps(cloud, memory=8192) == ["resize", "start"], "that it ran is kept for the guest"
    assert cloud.deliver(order("2", Verb.RESIZE, memory=8192), NOW).state is OutcomeState.DONE
    assert web(cloud) == (ResourceState.RUNNING, 2, 8192)
    cloud.deliver(order("3", Verb.STOP), NOW)
    goes_off(cloud)
    assert steps(cloud, memory=4096) == ["resize"], "what is stopped by an order is to be off"


@pytest.mark.parametrize("call", ["setMemoryFlags", "setVcpusFlags"])
def test_a_size_that_is_refused_is_refused_while_the_guest_runs(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    shutdowns, before = Shutdowns(monkeypatch), definition(cloud)
    with monkeypatch.context() as patched:
        patched.setattr(library().virDomain, call, refusing("VIR_ERR_OPERATION_INVALID"))
        failed = cloud.deliver(order("1", Verb.RESIZE, vcpu=8, memory=8192), NOW)
    assert (failed.state, shutdowns.count) == (OutcomeState.FAILED, 0)
    assert (web(cloud), definition(cloud)) == ((ResourceState.RUNNING, 2, 4096), before)


def test_a_guest_that_does_not_start_with_more_runs_again_as_it_was(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = definition(cloud), library().virDomain.create
    full = refusing("VIR_ERR_OPERATION_FAILED", lambda domain: domain.info()[1] <= 4096 * 1024, real)
    monkeypatch.setattr(library().virDomain, "create", full)
    failed = cloud.deliver(order("1", Verb.RESIZE, memory=8192), NOW)
    assert (failed.state, failed.message.endswith("web runs again")) == (OutcomeState.FAILED, True), failed.message
    assert (web(cloud), definition(cloud)) == ((ResourceState.RUNNING, 2, 4096), before)


def test_a_guest_that_does_not_start_at_all_is_started_by_the_next_try(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(library().virDomain, "create", refusing("VIR_ERR_SYSTEM_ERROR"))
        failed = cloud.deliver(order("1", Verb.RESIZE, memory=8192), NOW)
    assert (failed.state, "web is off, and does not start" in failed.message) == (OutcomeState.FAILED, True)
    assert web(cloud) == (ResourceState.STOPPED, 2, 4096), "as it was defined"
    assert cloud.deliver(order("1#1", Verb.RESIZE, memory=8192), NOW).state is OutcomeState.DONE
    assert web(cloud) == (ResourceState.RUNNING, 2, 8192)


def test_a_host_out_of_reach_is_waited_for_with_its_reason_and_not_for_ever(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.inventory(NOW)
    with monkeypatch.context() as patched:
        patched.setattr(library().virDomain, "create", refusing("VIR_ERR_RPC"))
        patched.setattr(library().virDomain, "connect", lambda _domain: SimpleNamespace(isAlive=lambda: False))
        waits = cloud.deliver(order("1", Verb.RESIZE, memory=8192), NOW)
        assert (waits.state, "VIR_ERR_RPC" in waits.message) == (OutcomeState.PENDING, True)
        assert later(cloud, "1", 30).state is OutcomeState.PENDING
        assert later(cloud, "1", 361).state is OutcomeState.FAILED
    assert cloud.deliver(order("2", Verb.RESIZE, memory=8192), NOW).state is OutcomeState.DONE
    assert web(cloud) == (ResourceState.RUNNING, 2, 8192)


def test_a_host_that_has_no_time_at_first_is_asked_again(cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(library().virDomain, "shutdown", refusing("VIR_ERR_OPERATION_TIMEOUT"))
        busy = cloud.deliver(order("1", Verb.RESIZE, memory=8192), NOW)
        assert (busy.state, "TIMEOUT" in busy.message) == (OutcomeState.PENDING, True)
        assert later(cloud, "1", 5).state is OutcomeState.PENDING
    shutdowns = Shutdowns(monkeypatch)
    assert (later(cloud, "1", 14).state, shutdowns.count) == (OutcomeState.PENDING, 1)
    assert (later(cloud, "1", 25).message, shutdowns.count) == ("", 1), "its patience begins when it was asked"
    goes_off(cloud)
    assert later(cloud, "1", 26).state is OutcomeState.DONE


def test_room_to_grow_is_neither_lost_by_a_size_nor_by_what_is_taken_back(
    roomy: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy.deliver(order("1", Verb.STOP), NOW)
    before = definition(roomy)
    with monkeypatch.context() as patched:
        patched.setattr(library().virDomain, "setMemoryFlags", refusing("VIR_ERR_OPERATION_INVALID"))
        assert roomy.deliver(order("2", Verb.RESIZE, vcpu=6, memory=8192), NOW).state is OutcomeState.FAILED
    assert definition(roomy) == before
    assert roomy.deliver(order("3", Verb.RESIZE, vcpu=1, memory=2048), NOW).state is OutcomeState.DONE
    assert definition(roomy) == sizes.Definition(1, 4, 2048 * 1024, 2048 * 1024)


def test_a_guest_that_is_defined_nowhere_is_not_shut_down(cloud: LibvirtCloud) -> None:
    with cloud.hosts[0].asked() as opened:
        opened.createXML(
            GUEST.format(name="fleeting", uuid=OTHER, title="", kib=1 << 20, now=1 << 20, vcpu=1, arch="x86_64")
        )
    for number, verb in enumerate((Verb.STOP, Verb.RESIZE)):
        one = order(str(number), verb, OTHER, **({"memory": 512} if verb is Verb.RESIZE else {}))
        for act in (cloud.plan, cloud.deliver):
            with pytest.raises(ProviderFault, match="defined nowhere") as fault:
                act(one, NOW)
            assert (fault.value.transient, fault.value.code) == (False, "never")
    assert next(one for one in cloud.inventory(NOW).facts if one.name == "fleeting").state is ResourceState.RUNNING


def test_a_size_that_only_half_fits_is_taken_back(cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.deliver(order("1", Verb.STOP), NOW)
    before = cloud.inventory(NOW)
    libvirt = library()

    def refused(*_given: Any) -> None:
        raise libvirt.libvirtError("no memory")

    monkeypatch.setattr(libvirt.virDomain, "setMemoryFlags", refused)
    with pytest.raises(ProviderFault):
        cloud.deliver(order("2", Verb.RESIZE, vcpu=8, memory=65536), NOW)
    monkeypatch.undo()
    assert cloud.inventory(NOW) == before
    assert cloud.deliver(order("2", Verb.RESIZE, vcpu=8, memory=65536), NOW).state is OutcomeState.DONE


def test_a_guest_that_does_not_listen_has_failed_after_a_while(
    cloud: LibvirtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library().virDomain, "shutdown", lambda _domain: 0)
    assert cloud.deliver(order("1", Verb.STOP), NOW).state is OutcomeState.PENDING
    soon = cloud.inquire("1", NOW + timedelta(minutes=5))
    assert soon is not None
    assert soon.state is OutcomeState.PENDING
    late = cloud.inquire("1", NOW + timedelta(minutes=20))
    assert late is not None
    assert late.state is OutcomeState.FAILED
    assert "does not shut down" in late.message


def test_usage_is_what_the_counters_rose_by_and_off_is_off(cloud: LibvirtCloud) -> None:
    cloud.deliver(order("1", Verb.STOP, DATABASE), NOW)
    begun = datetime.now(UTC)
    polled = 0

    def poll() -> bool:
        nonlocal polled
        cloud.poll(datetime.now(UTC))
        polled += 1
        return polled > 12

    until(poll, "polls", 0.5)
    machines = {WEB: 1, DATABASE: 2}
    found = [pull(one, machines, 2) for one in cloud.readings(begun, datetime.now(UTC), 2)]
    assert not any(one.unknown or one.refused for one in found)
    rows = [row for one in found for row in one.samples.to_pylist()]
    web = [row for row in rows if row["resource"] == 1 and row["ts"] > begun.timestamp()]
    assert len(web) >= 2
    for row in web[:-1]:
        assert row["vcpu"] == 2
        assert row["cpu_pct"] == pytest.approx(50, abs=2)
        assert row["net_rx_kbps"] == pytest.approx(800, rel=0.05)
        assert row["net_tx_kbps"] == pytest.approx(400, rel=0.05)
        assert row["disk_read_kbs"] == pytest.approx(50_000 / 1024, rel=0.05)
        assert row["disk_write_kbs"] == pytest.approx(25_000 / 1024, rel=0.05)
    off = [row for row in rows if row["resource"] == 2]
    assert off
    for row in off:
        assert row["vcpu"] == 0
        assert row.get("cpu_pct") is None or row["cpu_pct"] != row["cpu_pct"], (
            "off is off, whatever the driver's counter says"
        )


def test_what_a_kvm_host_says_of_memory_waiting_and_cables_is_read(cloud: LibvirtCloud) -> None:
    """The driver of QEMU answers all groups at once; the keys are those of libvirt's documentation of domain statistics."""
    stats = {
        "state.state": 1, "cpu.time": 5_000_000_000, "vcpu.current": 2, "vcpu.maximum": 4, "vcpu.0.delay": 1_000, "vcpu.1.delay": 500,
        "balloon.current": 4 << 20, "balloon.available": 4_000_000, "balloon.usable": 1_000_000, "net.count": 1,
        "net.0.name": "vnet7", "net.0.rx.bytes": 10, "net.0.tx.bytes": 20, "block.count": 2, "block.0.name": "vda",
        "block.0.rd.bytes": 30, "block.0.wr.bytes": 40, "block.1.name": "hda",
    }  # fmt: skip
    with cloud.hosts[0].asked() as opened:
        domain = opened.lookupByName("web")

        class Answering:
            def getAllDomainStats(self, _groups: int, _flags: int) -> list[Any]:  # noqa: N802 - libvirt's name
                return [(domain, stats)]

        (said,) = counters(library(), Answering(), [domain]).values()
    assert said == {
        "cpus": 2, "busy_ns": 5_000_000_000, "wait_ns": 1_500, "mem_kib": 4_000_000, "free_kib": 1_000_000,
        "links": {"vnet7": [10, 20]}, "disks": {"vda": [30, 40]},
    }  # fmt: skip
    cloud.journal.add(NOW, {WEB: said})
    cloud.journal.add(NOW + timedelta(minutes=5), {WEB: {**said, "links": {"vnet7": [10 + 37_500_000, 20]}, "busy_ns": 65_000_000_000,
                                                         "wait_ns": 30_000_001_500}})  # fmt: skip
    (one,) = cloud.readings(NOW, NOW + timedelta(minutes=5), 300)
    (row,) = pull(one, {WEB: 1}, 300).samples.to_pylist()
    assert row["net_rx_kbps"] == pytest.approx(1000), "the host's end of the cable is the guest's link"
    assert row["mem_pct"] == pytest.approx(75)
    assert row["cpu_pct"] == pytest.approx(10)
    assert row["steal_pct"] == pytest.approx(5)


def test_a_counter_that_began_anew_with_its_guest_loses_nothing_else(cloud: LibvirtCloud) -> None:
    for minutes, busy in ((0, 100), (5, 160), (10, 30), (15, 90)):
        cloud.journal.add(
            NOW + timedelta(minutes=minutes), {WEB: {"cpus": 1, "busy_ns": busy * 10**9, "links": {}, "disks": {}}}
        )
    found = [
        pull(one, {WEB: 1}, 300).samples.to_pylist() for one in cloud.readings(NOW, NOW + timedelta(minutes=15), 300)
    ]
    assert [row["cpu_pct"] for rows in found for row in rows] == pytest.approx([20, 10, 20])


@pytest.mark.parametrize(
    ("hosts", "code"),
    [
        (["host1"], "libvirt.address"),
        (["qemu+tls://a:b@host/system"], "libvirt.clear"),
        ([], "options.missing"),
        (["qemu+tls://a b/"], "libvirt.address"),
    ],
)
def test_addresses_that_make_no_sense_or_hold_a_password_are_refused(
    hosts: list[str], code: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid) as refused:
        LibvirtCloud(hosts, str(tmp_path / "libvirt.db"))
    assert (refused.value.code, refused.value.params["field"]) == (code, "hosts")


def test_polls_are_forgotten_after_some_days_and_orders_are_not(cloud: LibvirtCloud) -> None:
    cloud.deliver(order("1", Verb.STOP), NOW)
    for days in (0, 5, 12):
        cloud.journal.add(NOW + timedelta(days=days), {WEB: {"cpus": 0}})
    assert cloud.journal.span() == tuple(round((NOW + timedelta(days=days)).timestamp() * 1000) for days in (5, 12))
    assert cloud.inquire("1", NOW + timedelta(days=12)) is not None
