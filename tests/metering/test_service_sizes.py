"""Lines, volumes, stores and databases: judged, given the next step that fits, and brought there by a case."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pytest

from metering import cases
from metering.archive import recompute
from metering.cases import surges
from metering.cases.figures import crowded
from metering.cases.steps import CaseState, Ending
from metering.judging import findings, pipeline, policies, service_sizes
from metering.judging.policy import Condition, PolicyRule, Verdict, default
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers.base import ServiceKind
from quota import units
from quota.calendar import ZONE
from quota.directory import catalog
from quota.directory.pools import Pool
from quota.inventory import Resource
from quota.ledger.capacities import equip
from quota.ledger.tables import Holder
from quota.units import BANDWIDTH, DATABASE, MEMORY, OBJECT, VCPU, Amount, Arch, Commodity

DAYS = 31
LINE = Commodity(BANDWIDTH, Arch.ANY)
BLOCK = Commodity(units.BLOCK, Arch.ANY)
STORAGE = ("volume", "object_store", "database")

# name: kind, what it has, traffic both ways in kbit/s or None, disk % or None, CPU %
CITY = {
    "quiet": (ServiceKind.BANDWIDTH, {BANDWIDTH: 200}, 8_000, None),  # 4 %: 12 Mbps would do, the step is 50
    "short": (ServiceKind.BANDWIDTH, {BANDWIDTH: 50}, 46_000, None),  # 92 %: 66 Mbps, the step is 100
    "great": (ServiceKind.BANDWIDTH, {BANDWIDTH: 200}, 190_000, None),  # there is no larger step
    "silent": (ServiceKind.BANDWIDTH, {BANDWIDTH: 200}, None, None),
    "full": (ServiceKind.VOLUME, {units.BLOCK: 500}, None, 90.0),  # 643 GB, the step is 1000
    "empty": (ServiceKind.VOLUME, {units.BLOCK: 2000}, None, 10.0),  # 286 GB, the step is 500
    "store": (ServiceKind.OBJECT_STORE, {OBJECT: 20_000}, None, 10.0),  # 2,857 GB, the step is 5000
    "base": (ServiceKind.DATABASE, {DATABASE: 1, units.BLOCK: 100}, None, 96.0),  # 137 GB, the step is 500
    "disk": (ServiceKind.VM, {VCPU: 4, MEMORY: 8192, units.BLOCK: 100}, None, 88.0),
    # 84 % now and 1.7 points more each day: full in nine days; what is full wants 143 GB, the step is 500.
    "filling": (ServiceKind.VM, {VCPU: 4, MEMORY: 8192, units.BLOCK: 100}, None, (30.0, 84.0)),
    "trained": (ServiceKind.ACCELERATOR, {units.ACCELERATOR: 2}, None, None),  # 90 %: 2.6 cards, the step is 4
    "largest": (ServiceKind.ACCELERATOR, {units.ACCELERATOR: 4}, None, 10.0),  # there is no larger set
    "spared": (ServiceKind.ACCELERATOR, {units.ACCELERATOR: 4}, None, 10.0),
}
CARDS = {"trained": 90.0, "largest": 90.0, "spared": 40.0}


@pytest.fixture
def works(city, tmp_path):
    return Workbench(city.book, Lake(tmp_path / "lake"), tmp_path)


@pytest.fixture
def ids(city, works, tmp_path):
    """The resources with a month of samples, a catalogue of steps, and rules for what is stored."""
    with city.by() as tx:
        pool = tx.get_one(Pool, city.pool)
        pool.adapter_options = {"folder": str(tmp_path)}
        for kind in (BANDWIDTH, OBJECT, DATABASE, units.ACCELERATOR):
            equip(tx, pool, kind, 100_000, key=f"equip:{kind}")
        for kind, service, steps in (
            (BANDWIDTH, "bandwidth", (10, 50, 100, 200)),
            (units.BLOCK, "volume", (100, 500, 1000, 2000)),
            (OBJECT, "object_store", (1000, 5000, 20_000)),
            (units.ACCELERATOR, "accelerator", (1, 2, 4)),
        ):
            for step in steps:
                catalog.offer(tx, f"{service}-{step}", f"{service} {step}", service, {kind: step}, [Arch.ANY])
        catalog.offer(tx, "4C8G", "4C8G", "vm", {VCPU: 4, MEMORY: 8192}, [Arch.X86_64])
        catalog.offer(tx, "8C16G", "8C16G", "vm", {VCPU: 8, MEMORY: 16384}, [Arch.X86_64])
        thrifty = PolicyRule(Verdict.UNDERUSED, 30, (Condition("disk_last", "<", 20, "unknown"),), STORAGE, 0.9)
        policy = replace(default(), effective_from=tx.now.astimezone(ZONE).date(), rules=(*default().rules, thrifty))
        city.policy = policies.enact(tx, policy, reason="存储也判").id
    ids = {name: city.machine(has, kind, attached_to="host") for name, (kind, has, _net, _disk) in CITY.items()}
    fill(city, works, ids)
    return ids


def fill(city, works, ids, days: int = DAYS, changed: dict[str, float] | None = None) -> None:
    """Samples up to yesterday; changed: another traffic."""
    today = city.clock().astimezone(ZONE).date()
    start = int(datetime.combine(today - timedelta(days=days), time(), ZONE).timestamp())
    n = days * 288
    ts = start + np.arange(n, dtype=np.int64) * 300
    wobble = 1 + 0.02 * np.random.default_rng(7).random(n)
    columns: dict[str, list[np.ndarray]] = {}
    for name, (_kind, _has, net, disk) in CITY.items():
        net = (changed or {}).get(name, net)
        values = {
            "resource": np.full(n, ids[name], np.int32),
            "ts": ts,
            "cpu_pct": 15 * wobble,
            "net_rx_kbps": np.full(n, np.nan) if net is None else net / 2 * wobble,
            "net_tx_kbps": np.full(n, np.nan) if net is None else net / 2 * wobble,
            "disk_pct": np.full(n, np.nan)
            if disk is None
            else np.linspace(*(disk if isinstance(disk, tuple) else (disk, disk)), n),
            "card_pct": CARDS.get(name, np.nan) * wobble,
        }
        for key, column in values.items():
            columns.setdefault(key, []).append(column)
    works.lake.append(f"s{today}", pa.table({key: np.concatenate(each) for key, each in columns.items()}))
    works.lake.roll()


def judged(city, works) -> dict[str, findings.Finding]:
    run = pipeline.judge(works, city.clock().astimezone(ZONE).date())
    with city.book.reading() as tx:
        rows = findings.of_run(tx, findings.assessment(tx, run.id))
        return {row.resource.external_id: row for row in rows}


def by_name(city, works, ids):
    rows = judged(city, works)
    with city.book.reading() as tx:
        return {name: rows[tx.get_one(Resource, one).external_id] for name, one in ids.items()}


def test_each_has_the_step_that_fits_it(city, works, ids):
    found = by_name(city, works, ids)
    told = {name: (row.verdict, row.target) for name, row in found.items()}
    assert told["quiet"] == ("underused", {"bandwidth": 50})
    assert told["short"] == ("busy", {"bandwidth": 100})
    assert told["great"] == ("busy", None)
    assert told["silent"] == ("unknown", None)
    assert told["full"] == ("busy", {"block": 1000})
    # This cloud does not give block storage back when it is made smaller; a store it does.
    assert told["empty"] == ("underused", None)
    assert told["store"] == ("underused", {"object": 5000})
    assert told["base"] == ("overloaded", {"block": 500})
    # A full disk asks for no more cores, nor does one that will be full.
    assert told["disk"] == ("busy", {"block": 500})
    assert told["filling"] == ("busy", {"block": 500})
    assert [told[name] for name in CARDS] == [("busy", {"accelerator": 4}), ("busy", None), ("normal", None)]
    assert found["trained"].numbers["sizing"] == pytest.approx(
        {"figure": "card_mean", "value": 90.9, "after": 45.45}, abs=0.1
    )
    with city.by() as tx:

        def on_offer(name: str, figure: str) -> bool:
            return service_sizes.on_offer(catalog.offered(tx), tx.get_one(Resource, ids[name]), {figure})

        assert on_offer("base", "disk_last"), "there are larger disks"
        catalog.offer(tx, "db", "db", "database", {DATABASE: 1, units.BLOCK: 100}, [Arch.ANY])
        assert (on_offer("trained", "card_mean"), on_offer("largest", "card_mean")) == (True, False)
        assert (on_offer("disk", "cpu_p95"), on_offer("base", "conn_full")) == (True, False)
        catalog.offer(tx, "db-large", "db-large", "database", {DATABASE: 1, units.BLOCK: 500}, [Arch.ANY])
        assert on_offer("base", "conn_full"), "nothing is advised, and not for want of a larger one"
    (reason,) = found["filling"].reasons
    assert (reason["figure"], reason["days"]) == ("disk_full_days", 30)
    assert reason["value"] == pytest.approx((100 - 84) / (54 / DAYS), abs=0.2)
    assert found["filling"].numbers["sizing"]["value"] == pytest.approx(84, abs=0.1)
    assert found["quiet"].recoverable == {"bandwidth": 150}
    basis = found["short"].numbers["sizing"]
    assert basis["figure"] == "line_p95"
    assert 92 < basis["value"] < 94
    assert basis["after"] == pytest.approx(basis["value"] / 2, abs=0.001)
    assert found["full"].numbers["sizing"] == {"figure": "disk_last", "value": 90.0, "after": 45.0}
    with city.book.reading() as tx:
        run = findings.assessment(tx, found["quiet"].assessment_id)
        assert list(findings.recheck(tx, run)) == []
    assert recompute.run(works, found["quiet"].assessment_id).same


def test_storage_shrinks_where_the_cloud_gives_it_back(city, works, ids, tmp_path):
    with city.by() as tx:
        pool = tx.get_one(Pool, city.pool)
        pool.adapter_options = {"folder": str(tmp_path), "frees": ["block"]}
    found = by_name(city, works, ids)
    assert found["empty"].target == {"block": 500}  # 40 % of it are used
    assert found["empty"].recoverable == {"block": 1500}


def open_cases(city, works, ids) -> dict[str, int]:
    found = by_name(city, works, ids)
    with city.by() as tx:
        run = findings.assessment(tx, found["quiet"].assessment_id)
        opening = cases.open_from(tx, run)
        opened, passed = opening.opened, dict(opening.skipped)
        assert passed[ids["great"]] == passed[ids["largest"]] == "no_larger"
        of = {tx.get_one(cases.Case, one).resource_id: one for one in opened}
    return {name: of[one] for name, one in ids.items() if one in of}


def agree(city, case_id: int) -> None:
    with city.by(city.supervisor) as tx:
        one = cases.case(tx, case_id)
        cases.review(tx, one, generation=one.generation)
        cases.issue(tx, [one], generations={one.id: one.generation})
    with city.by(city.tenant) as tx:
        cases.reply(tx, cases.case(tx, case_id), cases.Answer.AGREE)


def test_a_line_is_made_smaller_and_what_it_frees_goes_to_the_city(city, works, ids):
    opened = open_cases(city, works, ids)
    assert set(opened) == {"quiet", "short", "full", "store", "base", "disk", "filling", "trained"}, opened
    case_id = opened["quiet"]
    free, used = city.balance(Holder.FREE, LINE), city.balance(Holder.USED, LINE)
    agree(city, case_id)
    city.act(case_id)
    (order,) = city.orders(case_id)
    assert (order.verb, order.amounts) == ("resize", {"bandwidth": 50})
    assert city.deliver(case_id) == CaseState.WATCHED
    assert city.balance(Holder.USED, LINE) == used - 150
    assert city.balance(Holder.HELD, LINE) == 150
    # It is watched by its own traffic, not by a CPU that it has not.
    city.clock.advance(days=8)
    fill(city, works, ids, 8)
    judged(city, works)
    assert city.advance(case_id) == CaseState.CLOSED
    assert city.see(case_id).ending == Ending.SHRUNK
    assert city.balance(Holder.FREE, LINE) == free + 150
    assert city.balance(Holder.HELD, LINE) == 0


def test_cards_that_were_lent_are_too_few_again_where_their_work_would_not_fit():
    numbers = {"windows": {"7": {"card_mean": 60.0, "cpu_p95": None}, "30": {"card_mean": 20.0}}}
    two, four = Amount({units.ACCELERATOR: 2}), Amount({units.ACCELERATOR: 4})
    assert (crowded(numbers, two, four), crowded(numbers, four, four)) == (120.0, None)


def test_a_line_made_too_small_is_proposed_for_rollback(city, works, ids):
    case_id = open_cases(city, works, ids)["quiet"]
    agree(city, case_id)
    city.act(case_id)
    city.deliver(case_id)
    city.clock.advance(days=8)
    fill(city, works, ids, 8, {"quiet": 45_000.0})
    judged(city, works)
    assert city.advance(case_id) == CaseState.STRAINED
    with city.by(city.supervisor) as tx:
        cases.roll_back(tx, cases.case(tx, case_id))
    assert city.deliver(case_id) == CaseState.CLOSED
    assert city.see(case_id).resource.amounts == {"bandwidth": 200}
    assert city.balance(Holder.HELD, LINE) == 0


def test_a_full_disk_and_busy_cards_become_requests_for_the_next_step(city, works, ids):
    """More than a quarter: not the fast track, but a request in the department's name."""
    opened = open_cases(city, works, ids)
    used = city.balance(Holder.USED, BLOCK)
    with city.book.reading() as tx:
        cold = {name: surges.restarts(tx, cases.case(tx, one)) for name, one in opened.items()}
    assert [name for name, restarts in cold.items() if restarts] == ["trained"], "cards are put into what is shut down"
    for name in ("full", "trained"):
        agree(city, opened[name])
        one = city.see(opened[name])
        assert one.ending == Ending.REQUESTED
        assert one.request_id is not None
    assert city.balance(Holder.USED, BLOCK) == used
