"""What Prometheus scrapes is what promtool finds in order, and tells of the book what the book says."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from sqlalchemy import event, func, select, text

from console.metrics import holdings, warm
from console.metrics.collecting import PROMETHEUS, BookCollector
from console.metrics.flows import Flows
from console.metrics.kept import END, One
from metering.intake import collection, schedules
from metering.intraday import PolicyDay
from metering.judging import Assessment, MeasuredUse, Procedure, policies
from providers.base import ProviderFault
from providers.orders import OrderState, WorkOrder
from quota import audit, ledger
from quota.actors import steward
from quota.calendar import ZONE
from quota.directory import Department, Pool, System
from quota.inventory import Resource
from quota.ledger import Account
from tests.city import CONSOLE_POOL, City


@pytest.fixture
def place(house, city) -> City:
    """The city with a pool in which its first department has quota."""
    found = city.copied(house)
    found.add(CONSOLE_POOL)
    return found


OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def told(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in plain(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labelled(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def linted(text: bytes) -> tuple[int, bytes]:
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return found.returncode, found.stdout


def test_the_exposition_is_clean(client, house):
    client.get("/login")
    answer = client.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"})
    assert answer.status_code == 200
    assert b"guanjia_ledger_conserved 1.0" in answer.data
    assert linted(answer.data) == (0, b"")


def test_strangers_are_kept_out(client):
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 403


def test_who_asks_for_openmetrics_gets_the_same_in_it(client):
    ours = client.get("/metrics", headers={"Accept": f"{OPENMETRICS};q=0.9, text/plain;q=0.5"})
    assert ours.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert "Accept" in ours.headers["Vary"]
    text = client.get("/metrics")
    assert text.content_type.startswith("text/plain; version=0.0.4")
    names = {sample.name for family in openmetrics(ours.text) for sample in family.samples}
    assert names >= set(told(text.text)) - {name for name in told(text.text) if name.endswith("_created")}
    assert ours.text.endswith("# EOF\n")


def test_quota_and_machines_are_told_as_the_book_has_them(place, house, client):
    a01, a02 = (one.id for one in place.departments[:2])
    with house.transaction(steward()) as tx:
        for n in range(5):
            tx.add(
                Resource(
                    pool_id=place.pool, external_id=f"i-{n}", kind="vm", arch="aarch64", state="running",
                    first_seen_at=tx.now, department_id=a01 if n else a02, amounts={"vcpu": 4},
                )
            )  # fmt: skip
    found = told(client.get("/metrics").text)
    with house.reading(steward()) as tx:
        pool = next(code for code, one in place.pools.items() if one == place.pool)
        codes = {one.id: one.code for one in tx.scalars(select(Department))}
        owned = Counter()
        for account in tx.scalars(select(Account).where(Account.holder.in_([one.value for one in ledger.OWNED]))):
            if account.balance:
                owned[codes[account.department_id], account.kind, account.arch] += account.balance
    assert owned, "the city has granted something"
    assert found["guanjia_department_quota"] == {
        labelled(department=code, pool=pool, kind=kind, arch=arch): amount
        for (code, kind, arch), amount in owned.items()
    }
    assert found["guanjia_resources"][labelled(pool=pool, kind="vm", state="running")] == 5
    assert (
        found["guanjia_pool_info"][
            labelled(pool=pool, name="政务外网区", provider="jia", arch="aarch64", zone="政务外网")
        ]
        == 1
    )
    capacity = {dict(where)["of"] for where in found["guanjia_pool_capacity"]}
    assert capacity == {"total", "reserved", "usable"}


def test_departments_beyond_the_most_are_told_together(place, house, client, monkeypatch):
    monkeypatch.setattr(holdings, "MOST_DEPARTMENTS", 1)
    with house.transaction(steward()) as tx:
        tx.add_all(
            Resource(
                pool_id=place.pool, external_id=f"i-{n}", kind="vm", arch="aarch64", state="running",
                first_seen_at=tx.now, department_id=place.departments[1].id, amounts={},
            )
            for n in range(3)
        )  # fmt: skip
    found = told(client.get("/metrics").text)
    second = place.departments[1].code
    assert {dict(where)["department"] for where in found["guanjia_department_info"]} == {second}
    assert {dict(where)["department"] for where in found["guanjia_department_quota"]} == {holdings.REST}


def test_what_systems_use_and_what_was_measured_of_it_are_told(place, house, client, monkeypatch):
    """As the ledger counts, by kind; of the latest assessment, of what is known; those beyond the most together."""
    monkeypatch.setattr(holdings, "MOST_SYSTEMS", 1)
    owner = place.departments[0].id
    with house.transaction(steward()) as tx:
        systems = [System(code=f"x{n}", name=f"系统{n}", department_id=owner) for n in range(3)]
        tx.add_all(systems)
        tx.flush()
        for n, (system, booked) in enumerate(
            [
                (0, {"vcpu": 4, "memory": 1024}),
                (0, {"vcpu": 4, "memory": 1024}),
                (0, {"vcpu": 2}),
                (1, {"vcpu": 8}),
                (2, {}),
                (0, {"vcpu": 16}),
            ]
        ):
            tx.add(
                Resource(
                    gone_at=tx.now if n == 5 else None,
                    pool_id=place.pool, external_id=f"i-{n}", kind="vm", arch="aarch64", state="running",
                    first_seen_at=tx.now, department_id=owner, system_id=systems[system].id,
                    amounts={"vcpu": 64}, booked=booked,
                )
            )  # fmt: skip
        policy = policies.seed(tx).id
        run = Assessment(
            policy_version_id=policy, first_day=tx.now.date(), last_day=tx.now.date(), as_of=tx.now, engine="exact",
            counts={}, resources=5, recorded_at=tx.now, recorded_by="x", digest="",
        )  # fmt: skip
        tx.add(run)
        tx.flush()
        for system, kind, total, known, load in (
            (0, "vcpu", 10, 8, 8 * 25.0), (0, "memory", 2048, 0, 0.0), (1, "vcpu", 8, 8, 8 * 50.0), (2, "vcpu", 4, 4, 4 * 100.0),
        ):  # fmt: skip
            tx.add(
                MeasuredUse(
                    assessment_id=run.id, pool_id=place.pool, arch="aarch64", department_id=owner,
                    system_id=systems[system].id, kind=kind, load=load, measured=known, covered=0.0, total=total,
                    reclaimable=0,
                )
            )  # fmt: skip
    found = told(client.get("/metrics").text)
    assert found["guanjia_system_resources"] == {labelled(system="x0"): 3, labelled(system=holdings.REST): 2}
    assert found["guanjia_system_used"] == {
        labelled(system="x0", kind="vcpu"): 26, labelled(system="x0", kind="memory"): 2048,
        labelled(system=holdings.REST, kind="vcpu"): 8,
    }  # fmt: skip
    assert found["guanjia_system_measured"] == {
        labelled(system="x0", kind="vcpu"): 2, labelled(system=holdings.REST, kind="vcpu"): 8,
    }  # fmt: skip


def test_a_first_scrape_finds_reckoned_what_was_reckoned_ahead(app, place, house, client, caplog):
    asked: list[str] = []
    event.listen(house.engine, "before_cursor_execute", lambda _c, _cursor, text, *_: asked.append(text))
    warm(app)
    assert any(OWNERS.search(one) for one in asked)
    asked.clear()
    answer = client.get("/metrics", headers={"Accept": PROMETHEUS})
    assert answer.status_code == 200
    assert b"guanjia_department_info" in answer.data
    assert not any(OWNERS.search(one) for one in asked)
    with house.engine.begin() as connection:
        connection.execute(text("ALTER TABLE pools RENAME TO puddles"))
    try:
        app.extensions["guanjia.metrics.book"].kept._known.clear()
        warm(app)
    finally:
        with house.engine.begin() as connection:
            connection.execute(text("ALTER TABLE puddles RENAME TO pools"))
    assert "not reckoned ahead" in caplog.text


ACCOUNTS, OWNERS = re.compile(r"FROM accounts\b"), re.compile(r"FROM resources\b")


def test_a_scrape_reads_what_changed_and_tells_it_at_once(book):
    """Seals tell what changed, on both databases."""
    told_of = BookCollector(book)
    asked: list[str] = []
    event.listen(book.engine, "before_cursor_execute", lambda _c, _cursor, text, *_: asked.append(text))

    def scraped() -> bytes:
        asked.clear()
        return told_of.write(generate_latest, "text")

    with book.transaction(steward()) as tx:
        tx.add(Department(code="d1", name="甲局"))
    whole = scraped()
    assert b'guanjia_department_info{department="d1",name="' in whole
    assert sum(bool(ACCOUNTS.search(one)) for one in asked) == 2
    assert re.findall(b"guanjia_(?:dep|res|led).*", whole) == re.findall(b"guanjia_(?:dep|res|led).*", scraped())
    assert sum(bool(ACCOUNTS.search(one)) for one in asked) == 1, "whether it is conserved is asked each time"
    assert not any(OWNERS.search(one) for one in asked)
    with book.transaction(steward()) as tx:
        tx.scalars(select(Department)).one().name = "乙局"
    assert "乙局" in scraped().decode()
    assert not any(OWNERS.search(one) and "system_id" in one for one in asked), "no system's machines changed"
    again = told_of.write(openmetrics_latest, "openmetrics")
    assert again == b"".join(openmetrics_latest(One(one.metric)).removesuffix(END) for one in told_of.families())
    told_of.kept._until += 1000
    assert "乙局" in scraped().decode(), "a book that was put back is read anew"
    assert any(OWNERS.search(one) for one in asked)


def test_transitions_are_those_of_the_trail_whoever_counts(place, house):
    def moved(tx, n, before, after):
        tx.audit(f"order.move{n}", f"order:{n}", before={"state": before}, after={"state": after})

    def counted(flows):
        with house.reading(steward()) as tx:
            family = flows.collect(tx)
            return {tuple(one.labels[name] for name in ("of", "from", "to")): one.value for one in family.samples}

    first = Flows()
    with house.transaction(steward()) as tx:
        moved(tx, 1, "pending", "sent")
        moved(tx, 2, "pending", "sent")
        tx.audit("orderly.thing", "x", before={"state": "a"})
        tx.audit("case.note", "case:1", after={"state": "noticed"})
        tx.audit("case.issue", "case:1", before={"state": "reviewed"}, after={"state": "noticed"})
    assert counted(first) == {("order", "pending", "sent"): 2, ("case", "reviewed", "noticed"): 1}
    with house.transaction(steward()) as tx:
        moved(tx, 1, "sent", "delivered")
        moved(tx, 3, "pending", "sent")
    later = {("order", "pending", "sent"): 3, ("order", "sent", "delivered"): 1, ("case", "reviewed", "noticed"): 1}
    assert counted(first) == counted(first) == counted(Flows()) == later
    first._until += 1000
    assert counted(first) == later, "a book that was put back is counted anew"


def test_what_is_late_says_how_late(place, house, client, clock):
    with house.transaction(steward()) as tx:
        for n, (state, days) in enumerate(((OrderState.SENT, -2), (OrderState.SENT, 3), (OrderState.ACCEPTED, -9))):
            tx.add(
                WorkOrder(
                    number=f"GD-{n}", key=f"k{n}", pool_id=place.pool, provider_id=place.companies["jia"], verb="create",
                    kind="vm", state=state.value, placed_at=tx.now - timedelta(days=4 - n), placed_by="s",
                    due_at=tx.now + timedelta(days=days),
                )
            )  # fmt: skip
    found = told(client.get("/metrics").text)
    assert found["guanjia_orders_overdue"] == {labelled(provider="jia"): 1}
    assert found["guanjia_orders_oldest_seconds"] == {labelled(provider="jia"): 4 * 86400}
    assert found["guanjia_waiting"] == {labelled(reason="order.cloud"): 2}, "what is at its end waits for nothing"


def test_a_pool_that_was_never_read_has_no_lag(place, house, client):
    with house.transaction(steward("test")) as tx:
        pool = tx.scalars(select(Pool)).first()
        collection.failed(tx, pool.id, tx.now - timedelta(days=90), ProviderFault("no", transient=True, code="refused"))
        code = pool.code
    found = told(client.get("/metrics").text)
    assert found["guanjia_intake_failing"][labelled(pool=code)] == 1
    assert labelled(pool=code) in found["guanjia_intake_interval_seconds"]
    assert labelled(pool=code) not in found.get("guanjia_intake_lag_seconds", {})


def test_the_policy_in_force_and_the_one_before_it_alone_have_series(place, house, client, clock):
    with house.transaction(steward("test")) as tx:
        policy = policies.seed(tx).policy()
    made = []
    for _version in range(3):
        clock.advance(days=1)
        with house.transaction(steward("test")) as tx:
            today = tx.now.astimezone(ZONE).date()
            made.append(policies.enact(tx, replace(policy, effective_from=today), Procedure(), reason="次日再改"))
            tx.add(PolicyDay(policy_version_id=made[-1].id, day=today, known_s=300 * len(made), made_at=tx.now))
    with house.transaction(steward("test")) as tx:
        later = replace(policy, effective_from=tx.now.astimezone(ZONE).date() + timedelta(days=9))
        policies.enact(tx, later, Procedure(), reason="下月起生效")
    labels = [labelled(policy=one.name, version=str(one.version)) for one in made[1:]]
    assert told(client.get("/metrics").text)["guanjia_policy_sampled_seconds"] == dict(
        zip(labels, (600, 900), strict=True)
    )


def test_a_pool_that_is_collected_seldom_says_how_seldom_and_one_that_is_closed_says_nothing(place, house, client):
    with house.transaction(steward("test")) as tx:
        first = tx.scalars(select(Pool)).first()
        for code, active in (("seldom", True), ("closed", False)):
            pool = Pool(
                code=code, name=code, provider_id=first.provider_id, arch="x86_64", zone="z", adapter="files", active=active
            )  # fmt: skip
            tx.add(pool)
            tx.flush()
            collection.mark(tx, pool.id, tx.now, rows=0, refused=0, unknown=0)
            schedules.arrange(tx, pool, schedules.CollectionPace(1440, 30), before=schedules.USUAL)
        collection.mark(tx, first.id, tx.now, rows=0, refused=0, unknown=0)
        usual = first.code
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("guanjia_intake_interval")]
    assert sorted(lines) == sorted(
        [
            f'guanjia_intake_interval_seconds{{pool="{usual}"}} 300.0',
            'guanjia_intake_interval_seconds{pool="seldom"} 86400.0',
        ]
    )


def test_every_label_is_one_of_those_that_are_bounded(client, client_of):
    """A label that is not on this list needs a bound and a word in the reference first."""
    client_of("tenant1").get("/")
    names = {
        label
        for line in client.get("/metrics").text.splitlines()
        if not line.startswith("#")
        for label in re.findall(r'([a-z_0-9]+)="', line)
    }
    bounded = {
        "arch", "department", "endpoint", "from", "holder", "job", "kind", "lane", "le", "length", "level", "method", "name",
        "of", "pool", "provider", "reason", "sequence", "sm3", "source", "state", "status", "system", "to", "turn", "type", "verdict",
        "zone",
    }  # fmt: skip
    assert names <= bounded


def test_a_scrape_of_an_empty_house_holds(settings):
    from console import founding
    from console.app import create_app

    held = founding.found(settings, demo=False)
    answer = create_app(held).test_client().get("/metrics")
    assert (answer.status_code, linted(answer.data)) == (200, (0, b""))


def test_the_trail_is_walked_once(place, house):
    flows = Flows()
    with house.reading(steward()) as tx:
        flows.collect(tx)
        assert flows._until == audit.head(tx)[0] == tx.scalar(select(func.max(audit.AuditRecord.sequence)))


def test_room_on_disks_and_what_waits_to_be_folded_are_told(client, settings, house, clock):
    came = int(clock().timestamp()) * 10**9
    folder = settings.lake_dir / "push" / "agents"
    folder.mkdir(parents=True)
    for name, size in ((f"{came:020d}-00", 100), (f"{came - 90 * 10**9:020d}-01", 20), (f"{came:020d}-folded", 7)):
        (folder / f"{name}.arrow").write_bytes(b"x" * size)
    (folder.parent / "quiet").mkdir()
    found = told(client.get("/metrics").text)
    assert found["guanjia_spool_bytes"] == {labelled(source="agents"): 120}
    since = (house.clock() - clock()).total_seconds()
    assert found["guanjia_spool_oldest_seconds"][labelled(source="agents")] == pytest.approx(90 + since, abs=2)
    size, free = found["guanjia_disk_size_bytes"], found["guanjia_disk_free_bytes"]
    assert set(size) == set(free) >= {labelled(of="data"), labelled(of="lake")}
    assert all(0 <= free[of] <= size[of] for of in size)
