"""Several feeds of one pool, side by side: the one that is trusted more speaks, the others are compared; a machine that sees
less than was delivered is told with both readings once that has lasted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from metering.intake import feed_readings, feeding, feeds, short_deliveries
from metering.intake.short_deliveries import ShortAmount, ShortDelivery
from metering.lake import Lake
from metering.workbench import Workbench
from providers import observation
from providers.base import Inventory, Readings, ResourceFact, ResourceState, ServiceKind
from quota.actors import steward
from quota.audit import AuditRecord
from quota.directory.pools import CloudProvider, Pool
from quota.errors import Invalid
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Arch

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
GB = 2**30


@dataclass
class Told:
    """A source that says the same of its machines every minute: cores, bytes of memory, busy and stolen share."""

    machines: dict[str, tuple[int, float, float, float]]
    until: datetime | None = None
    name: str = "told"

    def readings(self, since: datetime, until: datetime, step_s: int) -> Any:
        end = min(until, self.until or until)
        first = int(since.timestamp()) // step_s * step_s
        last = int(end.timestamp()) // step_s * step_s
        if first >= last:
            return
        ts = np.arange(first * 1000, last * 1000 + 1, 60_000)
        series, index, value = [], [], []
        for machine, (cpus, memory, busy, stolen) in self.machines.items():
            seconds = (ts - ts[0]) / 1000 * cpus
            shares = {"user": busy, "steal": stolen, "idle": 1 - busy - stolen}
            told = [
                ({"__name__": "node_cpu_seconds_total", "mode": mode}, seconds * share)
                for mode, share in shares.items()
            ]
            told += [
                ({"__name__": "system.cpu.logical.count"}, np.full(len(ts), float(cpus))),
                ({"__name__": "node_memory_MemTotal_bytes"}, np.full(len(ts), memory)),
                ({"__name__": "node_memory_MemAvailable_bytes"}, np.full(len(ts), memory / 2)),
            ]
            for labels, values in told:
                index.append(np.full(len(ts), len(series)))
                series.append({**labels, "instance": machine})
                value.append(values)
        moments = [datetime.fromtimestamp(one, UTC) for one in (first, last)]
        yield Readings(
            series, np.concatenate(index), np.tile(ts, len(series)), np.concatenate(value), "instance", *moments
        )


@pytest.fixture
def house(book, clock, tmp_path: Path) -> Any:
    clock.now = NOW
    facts = [
        ResourceFact(name, name, ServiceKind.VM, Arch.X86_64, {VCPU: 8, MEMORY: 32768}, ResourceState.RUNNING)
        for name in ("fair", "short")
    ]
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="c", name="甲云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="池", provider_id=company.id, arch="x86_64", zone="z", adapter="files")
        tx.add(pool)
        tx.flush()
        observation.observe(tx, pool, Inventory(NOW - timedelta(days=1), facts))
        options = {"url": "http://127.0.0.1:1"}
        guest = feeds.register(tx, "guest", "机内", pool.id, "promql", options)
        host = feeds.register(tx, "host", "宿主", pool.id, "promql", {**options, "exporters": "libvirt"})
        ids = guest.id, host.id
    return Workbench(book, Lake(tmp_path / "lake"), tmp_path), *ids


def run(works: Workbench, feed_id: int, told: Told, monkeypatch: pytest.MonkeyPatch) -> feeding.Fed:
    monkeypatch.setattr(Workbench, "meter", lambda *_given: told)
    with works.book.reading() as tx:
        row = tx.get_one(feeds.Feed, feed_id)
    done = feeding.feed(works, row)
    assert done.fault == ("", "")
    return done


def rows(works: Workbench) -> list[ShortDelivery]:
    with works.book.reading() as tx:
        return list(tx.scalars(select(ShortDelivery).order_by(ShortDelivery.what)))


def test_exporters_say_from_where_they_look(house) -> None:
    works, guest, host = house
    with works.book.reading() as tx:
        assert tx.get_one(feeds.Feed, guest).vantage == "guest"
        assert tx.get_one(feeds.Feed, host).vantage == "host"
    assert feeds.vantage_of("promql", {"exporters": ["node", "libvirt"]}) == ""
    assert feeds.vantage_of("libvirt", {}) == "host"


def test_what_is_less_than_was_delivered_is_told_with_both_readings_once_it_lasted(house, clock, monkeypatch) -> None:
    works, guest, host = house
    inside = Told({"fair": (8, 31 * GB, 0.3, 0.0), "short": (4, 16 * GB, 0.3, 0.2)})
    run(works, host, Told({"short": (4, 16 * GB, 0.3, 0.0)}), monkeypatch)
    run(works, guest, inside, monkeypatch)
    assert {one.what for one in rows(works)} == {"vcpu", "memory", "cpu_time"}
    assert all(one.confirmed_at is None for one in rows(works)), "it may be booting"
    clock.now = NOW + timedelta(hours=1, minutes=5)
    run(works, guest, inside, monkeypatch)
    found = {one.what: one for one in rows(works)}
    assert len(found) == 3
    for what, delivered, seen, by_host in (
        (ShortAmount.VCPU, 8, 4, 4), (ShortAmount.MEMORY, 32768, 16384, 16384), (ShortAmount.CPU_TIME, 100, 80, 100),
    ):  # fmt: skip
        row = found[what.value]
        assert (row.delivered, row.seen, row.host) == (
            delivered,
            pytest.approx(seen, abs=0.2),
            pytest.approx(by_host, abs=0.2),
        )
        assert row.confirmed_at == clock.now
    with works.book.reading() as tx:
        name = tx.get_one(Resource, found["vcpu"].resource_id).name
        assert name == "short"
        assert [one.what for one in short_deliveries.of_resource(tx, found["vcpu"].resource_id)] == [
            "cpu_time",
            "memory",
            "vcpu",
        ]
        assert len(tx.scalars(select(AuditRecord).where(AuditRecord.action == "delivery.short")).all()) == 3
    clock.now += timedelta(hours=3)
    run(works, guest, Told({"short": (8, 31 * GB, 0.3, 0.0)}), monkeypatch)
    assert all(one.ended_at == clock.now for one in rows(works)), "it is what was delivered now"


def test_a_feed_that_sees_from_the_host_finds_no_shortage(house, clock, monkeypatch) -> None:
    works, _guest, host = house
    run(works, host, Told({"short": (4, 16 * GB, 0.3, 0.2)}), monkeypatch)
    assert rows(works) == []


@pytest.mark.parametrize(
    ("what", "delivered", "seen", "short"),
    [
        (ShortAmount.VCPU, 8, 8, False), (ShortAmount.VCPU, 8, 7, True), (ShortAmount.MEMORY, 2048, 1750, False), (ShortAmount.MEMORY, 2048, 1500, True),
        (ShortAmount.MEMORY, 65536, 63000, False), (ShortAmount.MEMORY, 65536, 50000, True), (ShortAmount.CPU_TIME, 100, 95, False), (ShortAmount.CPU_TIME, 100, 88, True),
    ],
)  # fmt: skip
def test_what_firmware_and_kernel_keep_is_no_shortage(
    what: ShortAmount, delivered: float, seen: float, short: bool
) -> None:
    assert short_deliveries.is_short(what, delivered, seen) == short


def test_the_more_trusted_feed_speaks_and_the_other_takes_over_where_it_is_silent(house, clock, monkeypatch) -> None:
    works, guest, host = house
    with works.book.transaction(steward()) as tx:
        feeds.weigh(tx, feeds.feed(tx, guest), "guest", 1)
    entered: list[tuple[str, int, int]] = []
    append = Lake.append

    def noted(lake: Lake, source: str, table: Any, **more: Any) -> Any:
        pairs = zip(table["resource"].to_pylist(), table["ts"].to_pylist(), strict=True)
        entered.extend((source, number, ts) for number, ts in pairs)
        return append(lake, source, table, **more)

    monkeypatch.setattr(Lake, "append", noted)
    inside = Told({"fair": (8, 31 * GB, 0.3, 0.0)})
    outside = Told({"fair": (8, 32 * GB, 0.6, 0.0), "short": (8, 32 * GB, 0.5, 0.0)})
    run(works, guest, inside, monkeypatch)
    done = run(works, host, outside, monkeypatch)
    with works.book.reading() as tx:
        ids = dict(tx.execute(select(Resource.name, Resource.id)).all())
        both = feed_readings.of_resource(tx, ids["fair"])
        row = tx.get_one(feeds.Feed, host)
    assert [one.feed_id for one in both] == [guest, host], "the most trusted first, and both are there"
    assert [round(one.cpu_pct) for one in both] == [30, 60]
    assert {number for source, number, _ts in entered if source == "feed.host"} == {ids["short"]}
    assert row.withheld == done.withheld > 0
    assert row.coverage == pytest.approx(1, abs=0.01), "what was compared was told"
    inside.until = NOW
    clock.now = NOW + timedelta(hours=2)
    entered.clear()
    run(works, guest, inside, monkeypatch)
    run(works, host, outside, monkeypatch)
    taken_over = [ts for source, number, ts in entered if source == "feed.host" and number == ids["fair"]]
    assert min(taken_over) == int(NOW.timestamp()), "from where the trusted one fell silent"
    assert max(taken_over) == int(clock.now.timestamp()) - 300


def test_what_is_said_of_a_feed_must_make_sense(house) -> None:
    works, guest, _host = house
    with works.book.transaction(steward()) as tx:
        row = feeds.feed(tx, guest)
        for vantage, trust, where in (("above", 5, "vantage"), ("host", 0, "trust"), ("host", 10, "trust")):
            with pytest.raises(Invalid) as refused:
                feeds.weigh(tx, row, vantage, trust)
            assert refused.value.params["field"] == where


def test_names_that_are_like_a_machines_are_suggested(house) -> None:
    works, guest, _host = house
    uuid = "0d5a3c1e-7b1f-4a54-9f4e-2f6f3a2b1c0d"
    with works.book.transaction(steward()) as tx:
        pool = tx.scalars(select(Pool)).one()
        facts = [
            ResourceFact(uuid, "web-1", ServiceKind.VM, Arch.X86_64, {VCPU: 1, MEMORY: 1024}, ResourceState.RUNNING,
                         address="10.0.0.1", tags={"addresses": "10.0.0.1,10.1.0.1"}),
            ResourceFact("vm-2", "web-2", ServiceKind.VM, Arch.X86_64, {VCPU: 1, MEMORY: 1024}, ResourceState.RUNNING),
        ]  # fmt: skip
        observation.observe(tx, pool, Inventory(NOW - timedelta(hours=1), facts, complete=False))
        row = feeds.feed(tx, guest)
        row.unknown = {
            uuid.replace("-", "").upper(): 1,
            "web-2.city.example:9100": 1,
            "10.1.0.1:9100": 1,
            "other:9100": 1,
        }
        found = feed_readings.suggested(tx, row)
        assert {label: one.name for label, one in found.items()} == {
            uuid.replace("-", "").upper(): "web-1", "web-2.city.example:9100": "web-2", "10.1.0.1:9100": "web-1",
        }  # fmt: skip
