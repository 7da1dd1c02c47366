"""An agent beside a cloud calls a console that listens: listings, samples and orders cross, whatever fails between them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import urllib3
from sqlalchemy import select
from werkzeug.serving import make_server

from console.accounts import accounts
from console.app import create_app
from console.book import EXTENSION
from console.settings import Settings
from metering.intake import collection
from metering.lake import Lake
from metering.workbench import Workbench
from providers import orders
from providers.adapters.simulated import SimulatedCloud
from providers.agents import BesideCloud, agents, configured
from providers.base import Order, Outcome, OutcomeState, ProviderFault, ServiceKind, Verb
from providers.mailbox import Mailbox, codec
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import CloudProvider, Pool
from quota.errors import Invalid
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Amount, Arch
from tests import books
from tests.console.conftest import Visit
from tests.console.test_house import check_page
from tests.patience import PATIENCE
from tests.providers.stepping import SteppingCloud
from tests.suite.outside import ROOT

WHO = Actor("a", "主管", Role.AUTHORITY)
NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(tmp_path, clock):
    """(workbench, address, token) of a console that listens, with one pool that an agent speaks for."""
    book = Book(books.sqlite(tmp_path / "book.db"), clock=clock)
    app = create_app(Settings(data=tmp_path, secret_key="t" * 40), book)
    lake = app.extensions[EXTENSION].lake = Lake(tmp_path / "lake")
    with book.transaction(WHO) as tx:
        company = CloudProvider(code="jia", name="甲云")
        tx.add(company)
        tx.flush()
        pool = Pool(
            code="far", name="远端池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="agent",
            adapter_options={"folder": "{home}/agents/far"},
        )  # fmt: skip
        tx.add(pool)
        tx.flush()
        token = agents.issue(tx, pool)[1]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Workbench(book, lake, tmp_path), f"http://127.0.0.1:{server.server_port}", token
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)
    book.dispose()


@pytest.fixture
def beside(tmp_path, house, clock):
    """The agent, beside a cloud whose state lies in a folder of its own."""
    return lambda **more: BesideCloud(configured(written(tmp_path / "cloud", house, **more)), clock, pause_s=0.01)


@pytest.fixture
def unbooked(monkeypatch) -> None:
    """Orders cross that are put into the mailbox past the book, which awaits none of them."""
    monkeypatch.setattr(orders, "awaited", lambda _tx, keys: set(keys))


def written(folder: Path, house, **more) -> Path:
    _workbench, address, token = house
    (folder / "secrets").mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "token").write_text(token)
    said = {
        "console": address, "token": f"file:{folder}/secrets/token", "adapter": "simulated", "state": "state",
        "history_days": 1, **more,
    }  # fmt: skip
    options = '[options]\npool = "net-x86"\nepoch = "2026-11-20"\nhistory_days = 2\nstate_file = "{home}/cloud.db"\n'
    path = folder / "agent.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items()) + options)
    return path


def pool_of(workbench: Workbench) -> Pool:
    return workbench.pools()[0]


def in_lake(workbench: Workbench, start: datetime, end: datetime) -> dict[tuple[int, int], float]:
    """(resource id, slot since 1970) → CPU per cent, as the lake holds it."""
    with workbench.book.reading() as tx:
        ids = tx.scalars(select(Resource.id)).all()
    found = {}
    for one in ids:
        chart = workbench.lake.chart(one, start, end, ["cpu_pct"])
        values = chart.values["cpu_pct"]
        found |= {
            (one, int(ts) // 300): float(value) for ts, value in zip(chart.ts, values, strict=True) if value == value
        }
    return found


def post(house, path: str, content, token: str | None = None, headers=None):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urllib3.request(
        "POST", house[1] + path, body=body,
        headers={"Authorization": f"Bearer {house[2] if token is None else token}", "Content-Type": "application/json", **(headers or {})},
        timeout=PATIENCE,
    )  # fmt: skip


def test_what_the_agent_brings_is_what_the_cloud_says(house, beside) -> None:
    workbench = house[0]
    agent = beside()
    with pytest.raises(ProviderFault, match="no agent has called"):
        collection.collect(workbench, pool_of(workbench))

    done = agent.round()
    assert done.listed
    assert done.wrong == {}
    found = collection.collect(workbench, pool_of(workbench))

    cloud = agent.provider
    listing = cloud.inventory(NOW)
    with workbench.book.reading() as tx:
        known = {one.external_id: one for one in tx.scalars(select(Resource))}
    assert set(known) == {one.external_id for one in listing.facts}
    assert all(known[one.external_id].amounts == dict(one.amounts) for one in listing.facts)
    direct = {}
    for batch in cloud.samples(NOW - timedelta(days=1), NOW):
        for row in batch.table.to_pylist():
            value = row.get("cpu_pct")
            if value is not None and value == value and row.get("vcpu") != 0:  # else it was off: no figure of it
                direct[known[batch.external_ids[row["resource"]]].id, row["ts"] // 300] = value
    assert found.taken
    assert found.refused == {}
    kept = in_lake(workbench, NOW - timedelta(days=1), NOW)
    frozen = set(direct) - set(kept)  # what stood still for an hour is kept as frozen, and no figure of a chart
    assert set(kept) <= set(direct)
    assert len(frozen) < 0.01 * len(direct)
    assert all(abs(kept[key] - direct[key]) < 0.011 for key in kept)

    # The same again changes nothing.
    assert beside().round().wrong == {}
    again = collection.collect(workbench, pool_of(workbench))
    assert again.drift is not None
    assert (again.drift.new, again.drift.changed, again.drift.gone) == ([], [], [])


def test_an_order_crosses_once(house, beside, clock, unbooked) -> None:
    workbench = house[0]
    agent = beside()
    agent.round()
    cloud = workbench.provider(pool_of(workbench))
    assert Verb.STOP in cloud.capabilities
    running = next(
        one for one in agent.provider.inventory(NOW).facts if one.kind == ServiceKind.VM and one.state == "running"
    )
    order = Order("o-1", Verb.STOP, running.kind, running.arch, running.external_id)
    assert cloud.deliver(order, NOW).state is OutcomeState.PENDING
    assert cloud.deliver(order, NOW).state is OutcomeState.PENDING

    delivered = []
    real = agent.provider.deliver
    agent.provider.deliver = lambda one, now: delivered.append(one.key) or real(one, now)
    for _ in range(20):  # the cloud takes its time
        clock.now += timedelta(minutes=5)
        agent.round()
        if cloud.inquire("o-1", clock.now).state is not OutcomeState.PENDING:
            break
    told = cloud.inquire("o-1", clock.now)
    assert told.state is OutcomeState.DONE
    asked = len(delivered)
    agent.round()
    assert len(delivered) == asked  # what has ended is offered no more
    state = {one.external_id: one.state for one in cloud.inventory(clock.now).facts}[running.external_id]
    assert state == "stopped"  # a listing follows an order at once
    # The first end stands, whatever a second agent or an old one says later.
    late = codec.plain(Outcome("o-1", OutcomeState.FAILED, clock.now, message="late"))
    answer = post(house, "/agent/v1/outcomes", late)
    assert (answer.status, answer.json()["kept"]) == (200, False)
    assert cloud.inquire("o-1", clock.now) == told
    assert post(house, "/agent/v1/outcomes", codec.plain(replace(told, key="never"))).json()["kept"] is False
    assert cloud.inquire("never", clock.now) is None


def test_what_can_never_be_done_fails_and_what_may_pass_waits(house, beside, clock, unbooked) -> None:
    workbench = house[0]
    agent = beside()
    agent.round()
    cloud = workbench.provider(pool_of(workbench))
    one = agent.provider.inventory(NOW).facts[0]
    real = agent.provider.deliver

    def faulty(transient):
        def deliver(order, now):
            raise ProviderFault("busy" if transient else "never", transient=transient)

        return deliver

    cloud.deliver(Order("o-2", Verb.STOP, one.kind, one.arch, one.external_id), NOW)
    agent.provider.deliver = faulty(transient=True)
    assert agent.round().wrong == {"order": "busy"}
    assert cloud.inquire("o-2", NOW).state is OutcomeState.PENDING
    agent.provider.deliver = faulty(transient=False)
    agent.round()
    told = cloud.inquire("o-2", NOW)
    assert (told.state, told.message) == (OutcomeState.FAILED, "never")
    agent.provider.deliver = real


def test_a_console_that_was_away_is_brought_what_it_missed(house, beside, clock, tmp_path) -> None:
    workbench = house[0]
    agent = beside()
    agent.round()
    collection.collect(workbench, pool_of(workbench))
    calls = agent.console
    agent.console = type(calls)("http://127.0.0.1:9", bearer=calls.bearer, pause_s=0.001)
    for _ in range(3):
        clock.now += timedelta(hours=4)
        with pytest.raises(ProviderFault):
            agent.round()
    assert isinstance(workbench.provider(pool_of(workbench)).inventory, object)
    with pytest.raises(ProviderFault, match="called last at") as silent:
        collection.collect(workbench, pool_of(workbench))
    assert silent.value.code == "silent"

    agent.console = calls
    assert agent.round().wrong == {}
    found = collection.collect(workbench, pool_of(workbench))
    assert found.unknown == {}
    with workbench.book.reading() as tx:
        machine = tx.scalars(select(Resource).where(Resource.kind == "vm", Resource.state == "running")).first()
    hours = Counter(slot // 12 for one, slot in in_lake(workbench, NOW, clock.now) if one == machine.id)
    assert len(hours) >= 11  # the twelve hours without a call are there
    assert min(sorted(hours.values())[1:]) >= 11


def test_one_part_that_fails_keeps_no_other_waiting(house, beside, monkeypatch) -> None:
    workbench = house[0]
    agent = beside()
    monkeypatch.setattr(
        SimulatedCloud, "inventory", lambda *_: (_ for _ in ()).throw(ProviderFault("api down", transient=True))
    )
    done = agent.round()
    assert done.wrong == {"inventory": "api down"}
    assert done.samples
    agent.round()  # it is told with the next call
    cloud = workbench.provider(pool_of(workbench))
    with pytest.raises(ProviderFault, match="api down"):
        cloud.inventory(NOW)


def test_who_is_let_in(house, beside, tmp_path) -> None:
    workbench = house[0]
    hello = codec.plain(beside()._report(""))
    assert post(house, "/agent/v1/hello", hello).status == 200
    for token in ("", "gja_no", "x" * 5000):
        assert post(house, "/agent/v1/hello", hello, token=token).status == 401
    other = post(house, "/agent/v1/hello", {**hello, "instance": "another"})
    assert (other.status, other.json()["code"]) == (409, "agent.other")

    with workbench.book.transaction(WHO) as tx:
        row = agents.of_pool(tx, pool_of(workbench).id)
        _row, fresh = agents.issue(tx, row.pool)
    assert post(house, "/agent/v1/hello", hello).status == 401  # the token before it opens nothing
    assert post(house, "/agent/v1/hello", hello, token=fresh).status == 200
    with workbench.book.transaction(WHO) as tx:
        agents.activate(tx, agents.of_pool(tx, row.pool_id), False)
    shut = post(house, "/agent/v1/hello", hello, token=fresh)
    assert (shut.status, shut.json()["code"]) == (403, "agent.closed")
    with workbench.book.reading() as tx:
        assert fresh not in json.dumps(tx.get(agents.Agent, row.id).token_digest)


GOOD = {"source": "s", "external_ids": ["vm-1"], "columns": {"resource": [0], "ts": [1_700_000_000], "cpu_pct": [5.0]}}


def samples_with(**columns):
    return {**GOOD, "columns": {**GOOD["columns"], **columns}}


def listed(**change):
    """A machine of a listing, with something wrong."""
    good = {"external_id": "m", "name": "m", "kind": "vm", "arch": "x86_64", "amounts": {"vcpu": 4}, "state": "running"}
    return {**good, **change}


@pytest.mark.parametrize(
    ("path", "content", "place"),
    [
        ("samples", [], "$"),
        ("samples", {**GOOD, "source": ""}, "$.source"),
        ("samples", {**GOOD, "external_ids": [1]}, "$.external_ids"),
        ("samples", {**GOOD, "columns": {"ts": []}}, "$.columns"),
        ("samples", samples_with(resource=[1]), "$.columns.resource"),
        ("samples", samples_with(resource=[-1]), "$.columns.resource"),
        ("samples", samples_with(ts=["now"]), "$.columns.ts"),
        ("samples", samples_with(ts=[1.5]), "$.columns.ts"),
        ("samples", samples_with(cpu_pct=[1, 2]), "$.columns.cpu_pct"),
        ("samples", samples_with(cpu_pct=["5"]), "$.columns.cpu_pct"),
        ("samples", samples_with(wishes=[1]), "$.columns.wishes"),
        ("listings", {}, "as_of"),
        ("listings", {"as_of": "2026-11-20T03:00:00+00:00", "facts": [{"external_id": 5, "kind": "wish"}]}, "facts[0].kind"),
        ("listings", {"as_of": "2026-11-20T03:00:00", "facts": []}, "as_of"),
        ("listings", {"as_of": "2026-11-20T03:00:00+00:00", "facts": [listed(external_id=5)]}, "facts[0].external_id"),
        ("listings", {"as_of": "2026-11-20T03:00:00+00:00", "facts": [listed(amounts={"vcpu": 4.9})]}, "facts[0].amounts"),
        ("listings", {"as_of": "2026-11-20T03:00:00+00:00", "facts": [listed(state="perhaps")]}, "facts[0].state"),
        ("listings", {"as_of": "2036-11-20T03:00:00+00:00", "facts": []}, "时钟"),
        ("mark", {"until": "2036-11-20T03:00:00+00:00"}, "时钟"),
        ("mark", ["x"], "$"),
        ("outcomes", {"key": "o", "state": "perhaps", "at": "2026-11-20T03:00:00+00:00"}, "state"),
        ("capacity", {"as_of": "2026-11-20T03:00:00+00:00", "classes": [{"kind": "vcpu", "total": "8", "reserved": 0, "ratio": "1", "used": 0}]}, "classes[0].total"),
        ("capacity", {"as_of": "2036-11-20T03:00:00+00:00", "classes": []}, "时钟"),
        ("quotas", {"as_of": "2026-11-20T03:00:00+00:00", "projects": [{"project": {"external_id": 5}, "limits": {}, "used": {}}]}, "projects[0].project"),
        ("bills", {"as_of": "2026-11-20T03:00:00+00:00", "month": "../x", "lines": []}, "月份"),
        ("bills", {"as_of": "2026-11-20T03:00:00+00:00", "month": "2026-10", "lines": [
            {"month": "2026-10", "external_id": "m", "service": "vm", "kind": "vcpu", "arch": "x86_64", "quantity": 1.5,
             "since": "2026-10-01T00:00:00+08:00", "until": "2026-11-01T00:00:00+08:00"}]}, "lines[0].quantity"),
        ("incidents", {"as_of": "2026-11-20T03:00:00+00:00", "since": "2026-10-01", "incidents": []}, "since"),
        ("incidents", [], "$"),
        ("hello", {"instance": "a"}, "adapter"),
        ("hello", b"{", "JSON"),
        ("hello", b"[" * 200_000, "JSON"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_place(house, path, content, place) -> None:
    answer = post(house, f"/agent/v1/{path}", content)
    assert answer.status == 422, answer.data
    assert place in answer.json()["message"]
    assert not (house[0].home / "agents" / "far").exists()


def test_packed_bodies_are_unpacked_within_bounds(house) -> None:
    packed = {"Content-Encoding": "gzip"}
    whole = gzip.compress(json.dumps(GOOD).encode())
    assert post(house, "/agent/v1/samples", whole, headers=packed).json()["kept"] is True
    assert post(house, "/agent/v1/samples", whole, headers=packed).json()["kept"] is False  # the same again
    assert post(house, "/agent/v1/samples", whole[:-9], headers=packed).status == 422
    assert post(house, "/agent/v1/samples", b"no gzip", headers=packed).status == 422
    large = gzip.compress(b" " * (130 * 2**20), 9)
    assert post(house, "/agent/v1/samples", large, headers=packed).json()["code"] == "agent.large"


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("every_s = 1", "every_s"),
        ('adapter = ""', "adapter"),
        ("wishes = 1", "wishes"),
        ("token = 5", "token"),
        ("= 5", "agent.toml"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_by_its_place(tmp_path, line, place) -> None:
    path = tmp_path / "agent.toml"
    head = {"console": '"http://x"', "token": '"env:T"', "adapter": '"files"', "state": '"s"'}
    head.pop(line.partition(" ")[0], None)
    path.write_text("".join(f"{name} = {value}\n" for name, value in head.items()) + line + "\n")
    with pytest.raises(Invalid, match=place):
        configured(path)
    path.write_text('console = "http://x"\n')
    with pytest.raises(Invalid, match="adapter, state, token"):
        configured(path)


def test_the_mailbox_forgets_what_is_old(tmp_path) -> None:
    box = Mailbox(tmp_path / "box")
    batch = codec.samples_read(GOOD)
    assert box.take(batch, NOW)
    box.mark(NOW, NOW)
    box.mark(NOW - timedelta(hours=1), NOW)
    assert box.marked() == NOW
    assert len(list(box.samples(NOW - timedelta(hours=1), NOW))) == 1
    box.mark(NOW + timedelta(days=31), NOW + timedelta(days=31))
    assert list(box.samples(NOW - timedelta(days=400), NOW)) == []


@pytest.mark.slow
def test_the_command_runs_it(house, clock, tmp_path) -> None:
    clock.now = datetime.now(UTC)
    config = written(tmp_path / "cloud", house)

    def guanjia(*words):
        return subprocess.run(
            [sys.executable, "-m", "console.cli", "agent", *words, "--config", str(config)],
            capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=PATIENCE,
        )  # fmt: skip

    checked = guanjia("check")
    assert checked.returncode == 0, checked.stderr
    assert "pool far" in checked.stdout
    assert checked.stderr == ""
    ran = guanjia("run", "--once")
    assert ran.returncode == 0, ran.stderr
    assert "a listing" in ran.stdout
    (tmp_path / "cloud" / "secrets" / "token").write_text("gja_wrong")
    refused = guanjia("check")
    assert refused.returncode == 1
    assert "refused" in refused.stderr
    assert "gja_wrong" not in refused.stderr


def test_an_order_of_several_calls_outlives_the_agent(house, clock, tmp_path, unbooked) -> None:
    """A cloud without keys: the agent keeps the journal, and whoever is started after it goes on from there."""
    workbench = house[0]
    config = configured(written(tmp_path / "cloud", house))
    state = tmp_path / "stepping.json"

    def agent():
        return BesideCloud(config, clock, provider=SteppingCloud(state), pause_s=0.01)

    agent().round()
    cloud = workbench.provider(pool_of(workbench))
    order = Order("r-1", Verb.RESIZE, ServiceKind.VM, Arch.AARCH64, "m-1", Amount({VCPU: 8, MEMORY: 16384}))
    cloud.deliver(order, clock.now)
    for _ in range(12):
        clock.now += timedelta(minutes=10)
        agent().round()  # another process each time
        told = cloud.inquire("r-1", clock.now)
        if told.state is not OutcomeState.PENDING:
            break
    assert told.state is OutcomeState.DONE
    taken = SteppingCloud(state).state["taken"]
    assert taken == ["resize m-1", "confirm m-1"]


def test_what_an_agent_was_told_before_it_fell_silent_it_does_not_begin(house, beside, clock) -> None:
    """It fetched an order, its cloud was busy, and the line went down: hours later the console looks first, and the page says what
    waits and since when."""
    workbench, _address, _token = house
    agent, pool = beside(), pool_of(workbench)
    agent.round()
    collection.collect(workbench, pool)
    with workbench.book.transaction(steward("test")) as tx:
        machine = tx.scalars(select(Resource).where(Resource.kind == "vm", Resource.state == "running")).first()
        order = orders.place(tx, tx.get_one(Pool, pool.id), Verb.STOP, key="case:7:stop", resource=machine)
        order_id, number = order.id, order.number

    def carry(objection: str | None = None) -> orders.WorkOrder:
        return orders.carry(workbench.book, order_id, workbench.provider(pool), lambda *_: objection, ceiling=5)

    def deaf(order: Order, now: datetime) -> Outcome:
        raise ProviderFault("busy", transient=True, code="busy")

    assert carry().state == "delivering"
    real, agent.provider.deliver = agent.provider.deliver, deaf
    assert agent.round().wrong == {"order": "busy"}
    told = []
    agent.provider.deliver = lambda order, now: told.append(order.key) or real(order, now)

    clock.now += timedelta(hours=3)
    chief = visitors(workbench, Role.AUTHORITY)[Role.AUTHORITY]
    page = chief.get(f"/pools/{pool.id}/agent").text
    check_page("/pools/1/agent", page)
    assert "代理自 2026-11-20 12:00 起没有联系" in page
    assert number in page
    assert page.count("2026-11-20 12:00") >= 4  # last call, placed, put into the mailbox, fetched
    assert carry().state == "delivering", "whether it began it, it alone knows"
    assert agent.round().wrong == {}
    assert told == []
    collection.collect(workbench, pool)
    clock.now += timedelta(minutes=6)
    kept = carry("资源受保护")
    assert (kept.state, kept.fault, kept.told) == ("pending", "objection", False)
    clock.now += timedelta(minutes=6)
    agent.round()
    assert told == []
    assert carry().state == "delivering"
    agent.round()
    assert told == ["case:7:stop"]
    for _minute in range(8):
        clock.now += timedelta(minutes=5)
        agent.round()
    assert carry().state == "delivered"


def test_a_round_that_takes_long_begins_no_order_at_its_end(house, beside, clock, unbooked) -> None:
    workbench = house[0]
    agent = beside()
    agent.round()
    cloud = workbench.provider(pool_of(workbench))
    running = [
        one for one in agent.provider.inventory(NOW).facts if one.kind == ServiceKind.VM and one.state == "running"
    ]
    for n, one in enumerate(running[:2]):
        cloud.deliver(Order(f"slow-{n}", Verb.STOP, one.kind, one.arch, one.external_id), clock.now)
        clock.now += timedelta(seconds=1)
    told, real = [], agent.provider.deliver

    def slow(order: Order, now: datetime) -> Outcome:
        told.append(order.key)
        clock.now += timedelta(minutes=6)
        return real(order, now)

    agent.provider.deliver = slow
    assert agent.round().wrong == {}
    assert told == ["slow-0"]
    agent.round()  # asked again, it may
    assert told == ["slow-0", "slow-1"]


def test_an_agent_of_before_goes_on_with_all_that_it_fetched(house, beside, clock, unbooked) -> None:
    workbench = house[0]
    agent = beside()
    agent.round()
    workbench.provider(pool_of(workbench)).deliver(Order("old", Verb.STOP, ServiceKind.VM, Arch.X86_64, "m"), clock.now)
    hello = codec.plain(agent._report(""))
    new = post(house, "/agent/v1/hello", hello).json()
    assert [[order["key"] for order in new[what]] for what in ("orders", "late")] == [["old"], []]
    clock.now += timedelta(hours=1)
    new = post(house, "/agent/v1/hello", hello).json()
    assert [[order["key"] for order in new[what]] for what in ("orders", "late")] == [[], ["old"]]
    hello.pop("every_s")
    old = post(house, "/agent/v1/hello", hello).json()
    assert [[order["key"] for order in old[what]] for what in ("orders", "late")] == [["old"], []]
    assert post(house, "/agent/v1/declined", {"key": 5}).status == 422
    assert post(house, "/agent/v1/declined", []).status == 422
    assert post(house, "/agent/v1/declined", {"key": "old"}).json()["kept"] is True
    assert post(house, "/agent/v1/declined", {"key": "old"}).json()["kept"] is False


def visitors(workbench: Workbench, *roles: Role) -> dict[Role, Visit]:
    """Somebody of each role, logged in."""
    app = create_app(Settings(data=workbench.home, secret_key="t" * 40), workbench.book)
    app.test_client_class = Visit
    with workbench.book.transaction(steward("test")) as tx:
        people = {
            role: accounts.enrol(tx, role.value, role.value, role, granted=True, must_change=False)[1] for role in roles
        }
    visits = {}
    for role, password in people.items():
        visits[role] = app.test_client()
        assert visits[role].log_in(role.value, password).status_code == 302
    return visits


def test_the_pages_of_an_agent(house, beside) -> None:
    """The authority issues a token, sees how the agent is, and shuts it out; a department sees none of it."""
    workbench, _address, _token = house
    beside().round()
    visits = visitors(workbench, Role.AUTHORITY, Role.AUDITOR)
    chief = visits[Role.AUTHORITY]
    shown = chief.get("/pools/1/agent").text
    check_page("/pools/1/agent", shown)
    assert "simulated" in shown
    assert 'aria-current="page"' in shown
    told = chief.send("/pools/1/agent/token", {})
    check_page("/pools/1/agent/token", told.text)
    assert "gja_" in told.text
    assert "gja_" not in chief.get("/pools/1/agent").text
    assert chief.send("/pools/1/agent/active", {"active": "0"}).status_code == 302
    assert "停用" in chief.get("/pools/1/agent").text
    assert visits[Role.AUDITOR].send("/pools/1/agent/token", {}).status_code == 403
    assert chief.get("/pools/9/agent").status_code == 404


def test_samples_are_brought_when_there_may_be_new_ones(house, beside, clock) -> None:
    agent = beside()
    asked = []
    real = agent.provider.samples
    agent.provider.samples = lambda since, until: asked.append((since, until)) or real(since, until)
    for _ in range(66):
        agent.round()
        clock.now += timedelta(minutes=1)
    assert len(asked) == 14  # at once, then every five minutes
    back = [previous[1] - now[0] for previous, now in pairwise(asked)]
    assert sorted(set(back)) == [timedelta(minutes=15), timedelta(hours=2)]
    assert back.count(timedelta(hours=2)) == 1
