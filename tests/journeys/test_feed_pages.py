"""Usage feeds over HTTP: registered and changed with typed fields, named, read again, and what is wrong said in words."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pytest
from sqlalchemy import select

from console import worklist
from console.jobs import Abreast, say
from console.marks import chinese
from metering.intake import Feed, feeding, feeds, probes, schedules
from metering.lake import Lake
from metering.workbench import Workbench
from providers import registry
from providers.adapters.promql import PromQL
from providers.base import ProviderFault, Readings
from providers.connection import FAULTS
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.inventory import Resource
from tests.patience import PATIENCE, until

FACTS = {
    "code": "prom", "name": "市云 Prometheus", "adapter": "promql", "shown": "promql", "history_days": "2",
    "every_minutes": "5", "option_url": "http://prometheus.invalid:9090", "option_exporters": "node",
}  # fmt: skip


class Store(PromQL):
    """A store that says of each machine that half of it is used, slot by slot, until its connection is cut."""

    cut_at: datetime | None = None
    doubts: Mapping[str, Sequence[str]] = {}
    gate = threading.Event()

    def probe(self, now):
        return "Store 1, node: 2"

    def skew(self, now):
        return now - now

    def readings(self, since, until, step_s):
        if "slow" in self.store.connection.url:
            assert Store.gate.wait(PATIENCE)
        step = step_s * 1000
        at, end = (round(one.timestamp() * 1000) // step * step for one in (since, until))
        while at < end:
            last = min(end, at + 12 * step)
            moment = datetime.fromtimestamp(at / 1000, UTC)
            if Store.cut_at is not None and moment >= Store.cut_at:
                raise ProviderFault("connection refused", transient=True, code="refused")
            ts = np.arange(at, last, step) + step // 2
            names = ("vm-1:9100", "10.0.0.9:9100")
            series = [{"__name__": "guanjia_cpu_pct", "instance": one} for one in names]
            yield Readings(
                series, np.repeat(np.arange(2), len(ts)), np.tile(ts, 2), np.full(2 * len(ts), 50.0), "instance",
                moment, datetime.fromtimestamp(last / 1000, UTC), origin="node", doubts=Store.doubts,
            )  # fmt: skip
            at = last


@pytest.fixture
def works(place, house, settings, monkeypatch):
    Store.cut_at, Store.doubts = None, {}
    real = registry.adapter
    monkeypatch.setattr(registry, "adapter", lambda name: Store if name == "promql" else real(name))
    with house.transaction(steward("test")) as tx:
        for number in (1, 2):
            tx.add(
                Resource(
                    pool_id=1, external_id=f"vm-{number}", name=f"node-{number}", kind="vm", arch="x86_64",
                    state="running", first_seen_at=tx.now,
                )
            )  # fmt: skip
    return Workbench(house, Lake(settings.lake_dir), settings.data, secrets=settings.secrets)


def fed(works) -> list[feeding.Fed]:
    return [feeding.feed(works, one) for one in feeding.due(works)]


def row_of(works) -> Feed:
    with works.book.reading() as tx:
        return tx.scalars(select(Feed)).one()


def test_from_registering_to_the_first_figures(works, client_of, clock) -> None:
    staff = client_of(Role.SUPERVISOR)
    assert 'name="option_exporters"' in staff.get("/resources/feeds/new").text
    made = staff.send("/resources/feeds/new", FACTS | {"pool": 1})
    assert made.status_code == 302, made.text
    address = made.location
    assert "待测试" in staff.get(address).text
    assert [one.fault for one in probes.carry_out(works)] == [""]
    assert feeding.carry_out_trials(works) == 1

    # The test says who is missing, and which name is nobody's; nothing was entered.
    shown = staff.get(f"{address}/trial").text
    assert "10.0.0.9:9100" in shown
    assert "node-2" in shown
    assert "50" in shown
    assert "已验证" in shown
    assert works.lake.sources() == {}

    # So it does of tests that were kept before they said with what a query was tried; people's own queries are theirs.
    query = {k: v for k, v in row_of(works).trial["queries"][0].items() if k != "proof"}
    for told, words in (
        ({"verified": True}, "用采集器本身验证"),
        ({"verified": False, "origin": "own"}, "自己写的查询"),
        ({"proof": "own", "origin": "own"}, "自己写的查询"),
    ):
        with works.book.transaction(steward("test")) as tx:
            row = tx.scalars(select(Feed)).one()
            row.trial = {**row.trial, "queries": [{**query, **told}]}
        assert words in staff.get(f"{address}/trial").text

    wrong = staff.send(f"{address}/names", {"names": "10.0.0.9:9100 = vm-9"})
    assert wrong.status_code == 422
    assert "vm-9" in wrong.text
    assert staff.send(f"{address}/names", {"names": "10.0.0.9:9100"}).status_code == 422
    assert staff.send(f"{address}/names", {"names": "10.0.0.9:9100 = vm-2"}).status_code == 302

    (done,) = fed(works)
    assert (done.fault, len(done.seen), done.unknown) == (("", ""), 2, {})
    shown = staff.get(address).text
    assert "2 / 2" in shown
    assert "100" in shown  # of what was due came all
    with works.book.reading() as tx:
        number = tx.scalar(select(Resource.id).where(Resource.external_id == "vm-2"))
    chart = works.lake.chart(number, done.since, done.until, ["cpu_pct"])
    assert np.nanmax(chart.values["cpu_pct"]) == 50
    assert fed(works) == []  # not due yet
    with works.book.reading() as tx:
        acts = list(tx.scalars(select(AuditRecord.action).where(AuditRecord.subject == "feed:1")))
    assert acts == ["feed.register", "feed.names"]

    # Who is named after something was read is told that what was before is not read by itself.
    both = "10.0.0.9:9100 = vm-2\n10.0.0.8:9100 = vm-1"
    assert staff.send(f"{address}/names", {"names": both}).status_code == 302
    assert "此前的样本用“补采”读入" in staff.get(address).text
    assert staff.send(f"{address}/names", {"names": both}).status_code == 302
    assert "此前的样本用“补采”读入" not in staff.get(address).text


def test_what_we_do_not_believe_is_told_in_our_own_words(works, client_of) -> None:
    Store.doubts = {"card.unsure": [f"gpu-{n:02}" for n in range(12)]}
    staff = client_of(Role.SUPERVISOR)
    address = staff.send("/resources/feeds/new", FACTS | {"pool": 1}).location
    assert feeding.carry_out_trials(works) == 1
    fed(works)
    for shown in (staff.get(f"{address}/trial").text, staff.get(address).text):
        assert "分不清是百分之一还是满载" in shown
        assert re.search(r"gpu-00、.*gpu-09 \+2\b", shown)
        assert "gpu-10" not in shown
        assert "对方随结果说明" not in shown, "the other side said nothing of it"


def test_a_store_that_hangs_delays_no_other(works, client_of, settings, monkeypatch) -> None:
    staff = client_of(Role.SUPERVISOR)
    slow = {"code": "slow", "name": "慢源", "option_url": "http://slow.invalid:9090"}
    for facts in (FACTS, FACTS | slow):
        assert staff.send("/resources/feeds/new", facts | {"pool": 1}).status_code == 302
    monkeypatch.setattr(worklist, "COLLECTING_S", 0.3)
    Store.gate.clear()
    work = worklist.Worklist(works, settings, Abreast(leaves=True))

    def quick() -> bool:
        told = work.feeds()
        with works.book.reading() as tx:
            read = tx.scalar(select(Feed.succeeded_at).where(Feed.code == "prom"))
        return read is not None and say("under_way", at="slow") in told

    try:
        until(quick, "the quick one is read")
    finally:
        Store.gate.set()
    until(
        lambda: any(one.code == "fed" and one.figures["at"] == "slow" for one in work.feeds()),
        "what came of the slow one is told afterwards",
    )


def test_an_outage_in_the_middle_is_told_and_made_up_for(works, client_of, clock) -> None:
    staff = client_of(Role.AUTHORITY)
    address = staff.send("/resources/feeds/new", FACTS | {"pool": 1}).location
    now = works.book.clock()
    Store.cut_at = datetime.fromtimestamp(now.timestamp() - 86_400, UTC)
    (done,) = fed(works)
    assert done.fault[0] == "refused"
    kept = row_of(works)
    assert kept.collected_until == done.until
    assert Store.cut_at - timedelta(hours=1) <= done.until < now  # the piece that was under way is asked for again
    assert kept.succeeded_at is None
    shown = staff.get(address).text
    assert chinese(FAULTS["refused"]) in shown
    assert "connection refused" in shown
    Store.cut_at = None
    (again,) = fed(works)
    assert again.since <= done.until - schedules.USUAL.lookback
    assert again.fault == ("", "")
    with works.book.reading() as tx:
        number = tx.scalar(select(Resource.id).where(Resource.external_id == "vm-1"))
    chart = works.lake.chart(number, done.since, again.until, ["cpu_pct"])
    assert chart.count.all()  # of two days no slot is missing
    assert chinese(FAULTS["refused"]) not in staff.get(address).text


def test_what_a_store_took_in_late_is_read_by_the_look_back_or_the_second_reading(works, client_of, clock) -> None:
    day = datetime.combine(clock.now.astimezone(ZONE).date() + timedelta(days=1), time(), ZONE)
    clock.now = day + timedelta(hours=12)
    address = client_of(Role.AUTHORITY).send("/resources/feeds/new", FACTS | {"pool": 1, "history_days": "1"}).location
    assert row_of(works).lookback_hours == 2
    asked = []
    for _turn in range(8):
        (done,) = fed(works)
        asked.append((done.since, done.again))
        clock.now += timedelta(hours=6)
    second = {3: day, 7: day + timedelta(days=1)}  # at six in the morning
    assert asked[1:] == [(day + timedelta(hours=6 * turn + 4), second.get(turn)) for turn in range(1, 8)]
    staff = client_of(Role.AUTHORITY)
    seen = re.search(r'name="seen"[^>]*value="([^"]*)"', staff.get(f"{address}/connection").text)[1]
    change = {"seen": seen, "name": "x", "history_days": 1, "every_minutes": 5, "option_url": "http://b"}
    assert staff.send(f"{address}/connection", change | {"lookback_hours": 49}).status_code == 422
    assert staff.send(f"{address}/connection", change | {"lookback_hours": 12}).status_code == 302
    (done,) = fed(works)
    assert done.since == clock.now - timedelta(hours=6 + 12)


def test_a_second_reading_that_fails_keeps_nothing_new_from_coming_in_and_is_made_up_for(
    works, client_of, clock, monkeypatch
) -> None:
    day = datetime.combine(clock.now.astimezone(ZONE).date() + timedelta(days=1), time(), ZONE)
    clock.now = day + timedelta(hours=12)
    address = client_of(Role.AUTHORITY).send("/resources/feeds/new", FACTS | {"pool": 1, "history_days": "3"}).location
    fed(works)
    read, tried = Store.readings, []

    def forgetful(self, since: datetime, until: datetime, step_s: int):
        if until <= day + timedelta(days=1):
            tried.append((since, until))
            raise ProviderFault("the old ones lie elsewhere", transient=True, code="timeout")
        return read(self, since, until, step_s)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "readings", forgetful)
        clock.now = day + timedelta(days=1, hours=6)
        for _turn in range(5):
            (done,) = fed(works)
            assert done.fault == ("", "")
            assert row_of(works).collected_until >= clock.now - timedelta(minutes=10)
            clock.now += timedelta(minutes=10)
    assert tried == [(day, day + timedelta(hours=hours)) for hours in (10, 24, 24)]
    assert "早先几天的第二次读取没有成功：the old ones lie elsewhere" in client_of(Role.AUTHORITY).get(address).text
    clock.now += timedelta(days=2)
    (done,) = fed(works)
    assert (done.again, row_of(works).second) == (day, {}), "the next one begins where that would have"


def test_one_run_stops_in_time_and_the_next_goes_on(works, client_of) -> None:
    client_of(Role.AUTHORITY).send("/resources/feeds/new", FACTS | {"pool": 1})
    reached = []
    for _ in range(3):
        done = feeding.feed(works, row_of(works), budget_s=0)
        reached.append(done.until)
        assert done.fault == ("", "")
    assert reached[0] < reached[1] < reached[2] < works.book.clock()


def test_a_feed_is_changed_read_again_and_stopped(works, client_of) -> None:
    staff = client_of(Role.SUPERVISOR)
    address = staff.send("/resources/feeds/new", FACTS | {"pool": 1}).location
    form = staff.get(f"{address}/connection").text
    seen = form.split('name="seen"')[1].split('value="')[1].split('"')[0]
    change = {
        "seen": seen, "name": "新名", "history_days": 3, "every_minutes": 15, "option_url": "http://b",
        "option_exporters": "node, dcgm",
    }  # fmt: skip
    assert staff.send(f"{address}/connection", change | {"option_exporters": "nodes"}).status_code == 422
    assert staff.send(f"{address}/connection", change | {"every_minutes": 1}).status_code == 422
    assert staff.send(f"{address}/connection", change).status_code == 302
    assert staff.send(f"{address}/connection", change).status_code == 422  # the page is stale by now
    assert row_of(works).options["exporters"] == ["node", "dcgm"]
    assert "http://b" in staff.get(f"{address}/connection").text
    assert staff.send(f"{address}/again", {"since": "2026-05-30T08:00"}).status_code == 302
    assert row_of(works).collected_until == datetime(2026, 5, 30, 0, 0, tzinfo=UTC)
    assert staff.send(f"{address}/again", {"since": "2030-01-01T00:00"}).status_code == 422
    assert staff.send(f"{address}/active", {"active": "0"}).status_code == 302
    assert fed(works) == []
    assert "停用" in staff.get("/resources/feeds/").text


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"code": "A B"}, "code"),
        ({"pool": 99}, "pool"),
        ({"option_url": "prometheus:9090"}, "option_url"),
        ({"option_url": ""}, "option_url"),
        ({"option_exporters": "smoke"}, "option_exporters"),
        ({"option_queries": "cpu = 1"}, "option_queries"),
        ({"option_password": "hunter2"}, "option_password"),
        ({"history_days": "many"}, "history_days"),
    ],
)
def test_what_makes_no_sense_is_refused_beside_its_field(works, client_of, given, field) -> None:
    page = client_of(Role.SUPERVISOR).send("/resources/feeds/new", FACTS | {"pool": 1} | given)
    assert page.status_code == 422
    assert f'id="{field}-error"' in page.text
    assert "hunter2" not in page.text


def test_names_are_read_a_line_each() -> None:
    assert feeds.parsed("a:9100 = vm-1\n\nb=c = vm-2\n") == {"a:9100": "vm-1", "b=c": "vm-2"}


def test_others_see_nothing_of_it(works, client_of) -> None:
    client_of(Role.AUTHORITY).send("/resources/feeds/new", FACTS | {"pool": 1})
    for role in (Role.TENANT, Role.PROVIDER, Role.SYSADMIN):
        assert client_of(role).get("/resources/feeds/1").status_code == 403
    assert client_of(Role.AUDITOR).get("/resources/feeds/1").status_code == 200
    assert client_of(Role.AUDITOR).send("/resources/feeds/1/trial").status_code == 403
