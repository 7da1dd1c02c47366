"""Probes into outages, alerts and lines as they are written: without a book; and what both make of incidents, in one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from providers.base import IncidentFact, Responsibility
from providers.billing import Incident, incidents
from providers.monitoring import OutageSignal, alerts, endpoints, mappings, matching, outages, probing, receiving
from providers.monitoring.probing import ProbedOutage, Pulse
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import CloudProvider, Pool, System, departments
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.inventory import Resource
from tests.patience import PATIENCE, until

MINUTE = 60_000
SUPERVISOR, AUTHORITY = Actor("s", "督导", Role.SUPERVISOR), Actor("a", "主任", Role.AUTHORITY)


def probes(says: str, first: int = 0) -> list[tuple[int, bool]]:
    """One a minute: + succeeded, - failed, blank none."""
    return [(first + n * MINUTE, one == "+") for n, one in enumerate(says) if one != " "]


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ("+++++", []),
        ("+-+-+", []),
        ("++-------++", [(2, None), (2, 9)]),
        ("--", [(0, None)]),
        ("+--   --+", [(1, None), (1, 3), (6, None), (6, 8)]),
        ("+--  --+", [(1, None), (1, 7)]),
        ("+-    -+", []),
    ],
)
def test_outages_of_probes(says: str, found: list[tuple[int, int | None]]) -> None:
    """The fourth of each group: nobody looked for longer than three intervals, so what went on is over."""
    done = probing.fold(Pulse(), probes(says), MINUTE, 2, ZONE)
    assert done.outages == [ProbedOutage(a * MINUTE, b * MINUTE if b is not None else None) for a, b in found]
    again = probing.fold(done.pulse, probes(says), MINUTE, 2, ZONE)
    assert (again.outages, again.probes, again.pulse) == ([], 0, done.pulse)
    halves, pulse = [], Pulse()
    for part in (probes(says)[:3], probes(says)[2:]):  # in pieces that overlap, the same
        piece = probing.fold(pulse, part, MINUTE, 2, ZONE)
        halves += piece.outages
        pulse = piece.pulse
    assert (halves, pulse) == (done.outages, done.pulse)


def test_time_that_nobody_looked_is_neither_up_nor_down() -> None:
    done = probing.fold(Pulse(), probes("+--+      ++"), MINUTE, 2, ZONE)
    assert list(done.days.values()) == [[4 * MINUTE, 2 * MINUTE]]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "empty"),
        ("# nothing", "empty"),
        ("job=a", "line"),
        ("-> ignore", "line"),
        ("job=a, job=b -> ignore", "line"),
        ("9x=a -> ignore", "line"),
        ("job=a -> pool=p level=5", "line"),
        ("job=a -> pool=p", "line"),
        ("job=a -> endpoint=$instance level=1", "line"),
        ("job=a -> drop table", "line"),
        ("\n".join(f"job=a{n} -> ignore" for n in range(201)), "many"),
    ],
)
def test_lines_that_cannot_be_read_say_where(text: str, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        matching.read(text)
    assert refused.value.code == f"alert_mapping.{place}"


def test_the_first_line_that_fits_counts() -> None:
    text = 'alertname="Dog" -> ignore\nseverity=page|crit*, job=db -> pool=$pool system=oa level=2\njob=* -> endpoint=$instance'
    lines = matching.read(text)
    assert matching.read("\n".join(map(str, lines))) == lines == matching.from_json([one.to_json() for one in lines])
    assert matching.first(lines, {"alertname": "Dog", "job": "db", "severity": "page"}).ignore
    about = matching.first(lines, {"severity": "critical", "job": "db", "pool": "x"}).about({"pool": "x"})
    assert (about.pool, about.system, about.level) == ("x", "oa", 2)
    assert matching.first(lines, {"job": "web"}).endpoint == "$instance"


NOW = datetime(2026, 5, 29, 2, 0, tzinfo=UTC)


def alert(minutes: float, lasted: float | None = None, key: str = "00000000000000aa", **labels: str) -> dict:
    """One as Alertmanager sends it, begun so long before NOW."""
    began = NOW - timedelta(minutes=minutes)
    over = began + timedelta(minutes=lasted) if lasted is not None else datetime(1, 1, 1, tzinfo=UTC)
    return {
        "status": "firing" if lasted is None else "resolved", "labels": {"alertname": "Down", **labels},
        "annotations": {"summary": "门户不通"}, "startsAt": began.isoformat(), "endsAt": over.isoformat(),
        "generatorURL": "http://prometheus", "fingerprint": key,
    }  # fmt: skip


def body(*sent: dict, **others: object) -> bytes:
    head = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "guanjia", "truncatedAlerts": 0}
    return json.dumps({**head, "alerts": sent, **others}).encode()


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        (b"", "$"),
        (b"[1]", "$"),
        (b"{" * 5000, "$"),
        (body(version="3"), "version"),
        (body(alerts="x"), "alerts"),
        (body({**alert(1), "fingerprint": "../x"}), "alerts.0.fingerprint"),
        (body({**alert(1), "startsAt": "2026-05-29T02:00:00"}), "alerts.0.startsAt"),
        (body(alert(1), {**alert(1), "status": "maybe"}), "alerts.1.status"),
        (body({**alert(1), "labels": {"a": 1}}), "alerts.0.labels.a"),
        (body({**alert(1), "labels": {"a": "\x00"}}), "alerts.0"),
        (body(alert(5, -1)), "alerts.0.endsAt"),
        (body(*[alert(1)] * (alerts.MOST_ALERTS + 1)), "alerts"),
    ],
)
def test_hostile_bodies_are_refused_by_their_place(sent: bytes, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        alerts.read(sent)
    assert refused.value.params["place"] == place


# --------------------------------------------------------------------------------------------------------- in a book


@pytest.fixture
def watched(book, clock):
    """(pool, system) with an endpoint of the pool and one of the system; the clock stands at NOW."""
    clock.now = NOW
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="jia", name="甲云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p1", name="池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files")
        tx.add(pool)
        owner = departments.register(tx, "A01", "市教育局")
        tx.flush()
        system = System(code="oa", name="办公系统", department_id=owner.id)
        tx.add_all([system, System(code="hr", name="人事系统", department_id=owner.id)])
        tx.flush()
        for number in range(4):
            tx.add(
                Resource(
                    pool_id=pool.id, external_id=f"vm-{number}", name=f"n{number}", kind="vm", arch="x86_64",
                    state="running", first_seen_at=NOW - timedelta(days=90), system_id=system.id if number == 0 else None,
                )
            )  # fmt: skip
        ids = pool.id, system.id
    with book.transaction(SUPERVISOR) as tx:
        endpoints.register(tx, ids[0], "https://gw", "网关", system_id=None, level=1, interval_s=60, fails=2)
        endpoints.register(tx, ids[0], "https://oa", "办公", system_id=ids[1], level=2, interval_s=60, fails=2)
        row = mappings.draft(
            tx, "alertname=Dog -> ignore\njob=bb -> endpoint=$instance\nteam=net -> pool=p1 level=2",
            effective_from=NOW.astimezone(ZONE).date(), reason="试运行",
        )  # fmt: skip
        row.effective_from = NOW.date() - timedelta(days=60)
        number = row.id
    with book.transaction(AUTHORITY) as tx:
        mappings.sign(tx, number, reason="同意")
    return ids


def deliver(book, *sent: dict) -> receiving.AlertsTaken:
    with book.transaction(SUPERVISOR) as tx:
        return receiving.take(tx, alerts.read(body(*sent)))


def probe(book, pool: int, target: str, says: str, ago: int) -> None:
    """Probes one a minute, the first so many minutes before NOW."""
    first = round((NOW - timedelta(minutes=ago)).timestamp() * 1000)
    with book.transaction(steward("job:feeds")) as tx:
        endpoints.take(tx, pool, {target: probes(says, first)}, NOW)


def found(book) -> list[tuple[float, float | None, list[str]]]:
    """Incidents: how many minutes before NOW each began, how many it lasted, and what was hit."""
    with book.reading(SUPERVISOR) as tx:
        return [
            (
                (NOW - one.started_at).total_seconds() / 60,
                (one.recovered_at - one.started_at).total_seconds() / 60 if one.recovered_at else None,
                one.affected,
            )
            for one in tx.scalars(select(Incident).order_by(Incident.started_at, Incident.id))
        ]


def test_probe_and_alert_tell_of_one_outage_whoever_is_heard_first(book, watched) -> None:
    pool, _system = watched
    firing, over = alert(28, job="bb", instance="https://gw"), alert(28, 8, job="bb", instance="https://gw")
    assert deliver(book, firing).new == 1
    assert found(book) == [(28, None, [])]
    probe(book, pool, "https://gw", "+-------++", 30)
    assert found(book) == [(29, None, [])], "the alert fires still"
    assert deliver(book, firing, over, over, firing).ended == 1
    assert found(book) == [(29, 7, [])]
    probe(book, pool, "https://gw", "+-------++--+", 30)  # up between: another one
    assert found(book) == [(29, 7, []), (20, 2, [])]
    with book.reading(SUPERVISOR) as tx:
        assert len(tx.scalars(select(OutageSignal)).all()) == 3
        one = tx.scalars(select(Incident).order_by(Incident.id)).first()
        assert (one.side, one.claimed, one.responsibility, one.responded_at) == (
            "monitoring", "provider", None, one.recovered_at,
        )  # fmt: skip


def test_what_comes_again_late_and_out_of_order_changes_nothing(book, watched) -> None:
    ended, firing = alert(60, 5, team="net"), alert(60, team="net")
    assert deliver(book, ended).new == 1
    before = found(book)
    for sent in (firing, ended, alert(60, 9, team="net"), alert(57, 1, team="net")):
        assert (deliver(book, sent).known, found(book)) == (1, before)
    assert before == [(60, 5, [])]
    taken = deliver(book, alert(-30, team="net"), alert(60 * 24 * 40, 1, team="net"), alert(3, alertname="Dog"))
    assert dict(taken.refused) == {"alert.future": 1, "alert.old": 1}
    assert taken.ignored == 1
    taken = deliver(book, alert(3, key="00000000000000ee"), alert(3, key="00000000000000ff", job="bb", instance="gone"))
    assert (taken.new, taken.unmapped) == (0, 2)


def test_a_system_alone_takes_its_own_share(book, watched) -> None:
    pool, _system = watched
    probe(book, pool, "https://oa", "+---+", 30)
    assert found(book) == [(29, 3, ["vm-0"])]
    deliver(book, alert(28, 1, team="net"))  # of the whole pool: another one
    assert found(book) == [(29, 3, ["vm-0"]), (28, 1, [])]


def test_what_was_ruled_stays_and_only_its_end_is_still_noted(book, watched) -> None:
    pool, _system = watched
    deliver(book, alert(28, team="net"))
    with book.transaction(Actor("c", "运维", Role.PROVIDER, provider_id=1)) as tx:
        one = tx.scalars(select(Incident)).one()
        assert incidents.respond(tx, one.id, one.generation, NOW - timedelta(minutes=20)).responded_at
    with book.transaction(AUTHORITY) as tx:
        incidents.settle(tx, one.id, 2, Responsibility.PROVIDER, "核实")
    probe(book, pool, "https://gw", "+--+", 30)
    deliver(book, alert(28, 2, team="net"))
    assert found(book) == [(28, 2, [])]
    with book.reading(SUPERVISOR) as tx:
        one = tx.scalars(select(Incident)).one()
        assert (one.responsibility, one.level) == ("provider", 2)
        assert one.started_at == NOW - timedelta(minutes=28)
    with book.transaction(Actor("c", "运维", Role.PROVIDER, provider_id=1)) as tx, pytest.raises(WrongState):
        incidents.respond(tx, one.id, one.generation, NOW)


def test_an_endpoint_nobody_watches_any_more_is_not_down_for_ever(book, watched, clock) -> None:
    pool, _system = watched
    probe(book, pool, "https://gw", "+--", 2)
    assert found(book) == [(1, None, [])]
    clock.advance(hours=3)
    with book.transaction(steward("job:feeds")) as tx:
        assert endpoints.take(tx, pool, {"https://other": [(0, True)]}, tx.now) == (0, {"https://other": 1})
    assert found(book) == [(1, 2, [])]


def test_a_short_outage_of_an_endpoint_does_not_shorten_the_pool_s(book, watched) -> None:
    pool, _system = watched
    deliver(book, alert(180, team="net"))
    probe(book, pool, "https://gw", "+--+", 121)
    deliver(book, alert(180, 170, team="net"))
    assert found(book) == [(180, 170, [])]
    deliver(book, alert(6, 2, key="00000000000000bb", team="net"))  # after that was over: another one
    assert found(book) == [(180, 170, []), (6, 2, [])]


def test_an_alert_that_outlives_what_probes_saw_is_not_cut(book, watched) -> None:
    pool, _system = watched
    probe(book, pool, "https://gw", "+---+", 60)
    deliver(book, alert(58, 30, job="bb", instance="https://gw"))
    assert found(book) == [(59, 31, [])]


def test_an_alert_that_is_over_soon_after_the_probes_has_their_times(book, watched) -> None:
    pool, _system = watched
    deliver(book, alert(55.5, 3, job="bb", instance="https://gw"))  # the rule waited until it was over
    probe(book, pool, "https://gw", "+---+", 60)
    assert found(book) == [(59, 3, [])]


def test_what_fires_anew_ends_what_was_never_said_to_be_over(book, watched, clock) -> None:
    firing = alert(0, team="net")
    deliver(book, firing)
    clock.advance(hours=4)
    deliver(book, firing)
    clock.advance(days=19)
    passed = 60 * (4 + 19 * 24)
    deliver(book, alert(-passed + 30, 5, team="net"))
    assert found(book) == [(0, 240, []), (-passed + 30, 5, [])], "nobody heard of it for 19 days"
    deliver(book, alert(0, 300, team="net"))
    assert found(book)[0] == (0, 300, []), "who says when it was over is believed"
    assert deliver(book, alert(0, 400, team="net")).known == 1
    assert found(book)[0] == (0, 300, [])


def test_what_is_not_repeated_ends_and_goes_on_when_it_is(book, watched, clock) -> None:
    pool, _system = watched
    firing = alert(0, team="net")
    deliver(book, firing)
    probe(book, pool, "https://oa", "+--", 2)

    def presume(hours: int) -> int:
        with book.transaction(steward("job:expire")) as tx:
            return receiving.presume(tx, timedelta(hours=hours))

    clock.advance(hours=3)
    assert presume(24) == 0
    assert presume(2) == 2
    assert presume(2) == 0
    assert found(book) == [(1, 2, ["vm-0"]), (0, 0, [])]
    deliver(book, firing)
    later = round((NOW + timedelta(minutes=1)).timestamp() * 1000)
    with book.transaction(steward("job:feeds")) as tx:
        endpoints.take(tx, pool, {"https://oa": probes("--", later)}, NOW + timedelta(minutes=3))
    assert found(book) == [(1, None, ["vm-0"]), (0, None, [])]


def test_the_steward_corrects_what_monitoring_found_and_their_word_stands(book, watched) -> None:
    pool, _system = watched
    deliver(book, alert(300, team="net"))

    def correct(**said) -> Incident:
        with book.transaction(SUPERVISOR) as tx:
            one = tx.scalars(select(Incident)).one()
            told = {"level": one.level, "started_at": one.started_at, "recovered_at": one.recovered_at, "affected": one.affected,
                    "reason": "查日志", **said}  # fmt: skip
            return incidents.correct(tx, one.id, one.generation, **told)

    with pytest.raises(Invalid):
        correct(reason=" ")
    with pytest.raises(Invalid):
        correct(recovered_at=NOW - timedelta(minutes=301))
    correct(
        started_at=NOW - timedelta(minutes=290), recovered_at=NOW - timedelta(minutes=280), affected=["vm-1"], level=3
    )
    for sent in (alert(300, team="net"), alert(300, 200, team="net")):
        deliver(book, sent)
    probe(book, pool, "https://gw", "+----+", 288)
    assert found(book) == [(290, 10, ["vm-1"])]
    with book.transaction(AUTHORITY) as tx:
        one = tx.scalars(select(Incident)).one()
        incidents.settle(tx, one.id, one.generation, Responsibility.PROVIDER, "核实")
    with pytest.raises(WrongState):
        correct(level=4)
    with book.transaction(AUTHORITY) as tx, pytest.raises(NotAllowed):
        incidents.correct(
            tx, one.id, 9, level=1, started_at=NOW, recovered_at=None, affected=[], reason="x"
        )  # fmt: skip


def test_of_what_was_ruled_while_it_went_on_the_end_can_be_said(book, watched) -> None:
    deliver(book, alert(300, team="net"))
    with book.transaction(AUTHORITY) as tx:
        one = tx.scalars(select(Incident)).one()
        incidents.settle(tx, one.id, one.generation, Responsibility.PROVIDER, "核实")
    with book.transaction(SUPERVISOR) as tx:
        one = tx.scalars(select(Incident)).one()
        told = {"level": one.level, "started_at": one.started_at, "affected": [], "reason": "已恢复"}
        incidents.correct(tx, one.id, one.generation, recovered_at=NOW - timedelta(minutes=200), **told)
    assert found(book) == [(300, 100, [])]


def test_a_signal_that_is_no_outage_counts_no_more(book, watched) -> None:
    pool, _system = watched
    deliver(book, alert(300, team="net"))
    probe(book, pool, "https://gw", "+--+", 100)
    assert found(book) == [(300, None, [])]
    with book.transaction(SUPERVISOR) as tx:
        first = tx.scalars(select(OutageSignal).filter_by(kind="alert")).one()
        outages.detach(tx, first.id, "误报")
        with pytest.raises(WrongState):
            outages.detach(tx, first.id, "误报")
    deliver(book, alert(300, team="net"), alert(300, 299, team="net"))
    assert found(book) == [(99, 2, [])]
    with book.transaction(AUTHORITY) as tx, pytest.raises(NotAllowed):
        outages.detach(tx, first.id, "误报")


def test_one_outage_that_two_reported_counts_once(book, watched) -> None:
    deliver(book, alert(300, 100, team="net"))
    with book.transaction(Actor("c", "运维", Role.PROVIDER, provider_id=1)) as tx:
        theirs = IncidentFact("F-1", 2, "断网", NOW - timedelta(minutes=299), NOW - timedelta(minutes=290),
                              NOW - timedelta(minutes=205), Responsibility.PROVIDER)  # fmt: skip
        apart = IncidentFact("F-2", 2, "又断", NOW - timedelta(minutes=60), NOW - timedelta(minutes=59),
                             NOW - timedelta(minutes=58), Responsibility.PROVIDER)  # fmt: skip
        pool = tx.get_one(Pool, watched[0])
        again = replace(theirs, external_id="F-3")
        company, other, third = (incidents.report(tx, pool, one).id for one in (theirs, apart, again))
    with book.transaction(AUTHORITY) as tx:
        mine = tx.scalars(select(Incident).filter_by(side="monitoring")).one()
        with pytest.raises(Invalid):
            incidents.merge(tx, mine.id, mine.generation, other, "同一起")
        with pytest.raises(Invalid):
            incidents.merge(tx, mine.id, mine.generation, mine.id, "同一起")
        incidents.merge(tx, mine.id, mine.generation, company, "同一起")
        assert (mine.same_as_id, mine.responsibility, mine.settled_by) == (company, None, "a")
        with pytest.raises(WrongState):
            incidents.settle(tx, mine.id, mine.generation, Responsibility.PROVIDER, "x")
        with pytest.raises(Invalid):
            incidents.merge(tx, company, 1, mine.id, "同一起")
        with pytest.raises(WrongState):
            incidents.merge(tx, company, 1, third, "同一起")
    deliver(book, alert(250, 20, key="00000000000000cc", team="net"))  # more of the same
    with book.reading(SUPERVISOR) as tx:
        assert len(tx.scalars(select(Incident)).all()) == 4


def test_the_title_of_a_system_s_outage_names_no_endpoint(book, watched) -> None:
    pool, _system = watched
    probe(book, pool, "https://oa", "+---+", 30)
    probe(book, pool, "https://gw", "+---+", 10)
    with book.reading(SUPERVISOR) as tx:
        titles = tx.scalars(select(Incident.title).order_by(Incident.id)).all()
    assert titles == [incidents.SYSTEM_DOWN, "网关 https://gw"]


def test_who_may_say_what(book, watched) -> None:
    pool, _system = watched
    with book.transaction(SUPERVISOR) as tx:
        with pytest.raises(Conflict):
            endpoints.register(tx, pool, "https://gw", "again", system_id=None, level=1, interval_s=60, fails=2)
        other = tx.scalars(select(System).filter_by(code="hr")).one()
        with pytest.raises(Invalid, match="没有主机"):
            endpoints.register(tx, pool, "x", "y", system_id=other.id, level=1, interval_s=60, fails=2)
        with pytest.raises(Invalid) as refused:
            mappings.draft(tx, "a=b -> pool=none level=1", effective_from=NOW.date(), reason="x")
        assert refused.value.code == "alert_mapping.pool"
        first = mappings.draft(tx, "a=b -> ignore", effective_from=NOW.date(), reason="x").id
    with book.transaction(AUTHORITY) as tx:
        second = mappings.draft(tx, "a=c -> ignore", effective_from=NOW.date(), reason="x").id
        with pytest.raises(NotAllowed, match="另一人"):
            mappings.sign(tx, second, reason="x")
        mappings.sign(tx, first, reason="x")
    with book.transaction(Actor("b", "副主任", Role.AUTHORITY)) as tx, pytest.raises(Conflict):
        mappings.sign(tx, second, reason="x")
    with book.transaction(SUPERVISOR) as tx, pytest.raises(NotAllowed):
        mappings.sign(tx, second, reason="x")


def test_alert_and_probes_at_one_moment_make_one_incident(book, watched) -> None:
    pool, _system = watched
    with ThreadPoolExecutor(1) as beside, book.transaction(SUPERVISOR) as tx:
        receiving.take(tx, alerts.read(body(alert(28, job="bb", instance="https://gw"))))
        late = beside.submit(probe, book, pool, "https://gw", "+---+", 30)
        if tx.dialect == "postgresql":
            with book.reading(SUPERVISOR) as other:
                waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
                             "(SELECT oid FROM pg_database WHERE datname = current_database())")  # fmt: skip
                until(lambda: other.scalar(waits), "the probes wait for the alert")
    late.result(PATIENCE)
    assert found(book) == [(29, None, [])]
