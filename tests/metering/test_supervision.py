"""Measures of supervision on figures that are known, and looks at their limits: on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from metering.judging import MeasuredUse
from metering.judging.policy import Verdict
from metering.overview import asked_uses
from metering.reports import conduct
from metering.reports.scopes import ReportScope, ScopeKind
from metering.supervision import MEASURES, SupervisedObject, SupervisionAlert, alerts, items, measures
from metering.supervision.tables import SupervisionExcess
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import System
from quota.errors import Invalid
from quota.ledger import Holder, entries
from quota.units import MEMORY, VCPU, Amount, Arch, Commodity

CPU = Commodity(VCPU, Arch.X86_64)
TERMS = items.SupervisionTerms(
    "p", "分配率", "promised_vcpu", "pool", "above", Decimal(4), 0, "warning", "provider", 5, tells_authority=True
)


def chief(number: int) -> Actor:
    return Actor(f"chief{number}", "主管", Role.AUTHORITY)


def enacted(book, terms=TERMS, day=None):
    """An item as two people sign it, in force from today or a day on: its id."""
    with book.transaction(chief(1)) as tx:
        made = items.draft(tx, terms, day or tx.now.date(), "通知").id
    with book.transaction(chief(2)) as tx:
        items.sign(tx, made)
    return made


def looked(city):
    """What a look opened and closed."""
    with city.book.transaction(steward("job:supervise")) as tx:
        done = alerts.look(tx)
        return done.opened, done.closed


def given(city, base, key):
    city.grant({CPU: base}, key)


def capacity(city):
    """Of the pool's vCPU, in base units."""
    with city.book.reading() as tx:
        found = entries.balances(tx, pool_id=city.pool)
        return sum(one.balance for one in found if one.kind == VCPU and one.holder != Holder.SUPPLY)


def figure(city, code, of, object_id=0):
    with city.book.reading() as tx:
        return measures.figures(tx, code, SupervisedObject(of))(object_id)


def test_every_measure_reads_and_what_is_not_known_is_no_figure(city) -> None:
    for code, of in ((one.code, each) for one in MEASURES.values() for each in one.objects):
        known = figure(city, code, of, 10**6)
        assert known == (Decimal(0) if MEASURES[code].counted else None), (code, of)
    idle, busy = (city.machine(Amount({VCPU: 8, MEMORY: 8192})) for _n in range(2))
    city.judge({idle: Verdict.IDLE, busy: Verdict.IDLE}, frees={idle: Amount({VCPU: 6})})
    _summed_as(city, load=400, measured=16, covered=12)
    for of, whose in (("city", 0), ("pool", city.pool), ("department", city.department)):
        assert (figure(city, "use_vcpu", of, whose), figure(city, "coverage", of, whose)) == (25, 75)
    assert figure(city, "use_memory", "pool", city.pool) is None, "no memory was measured"
    assert figure(city, "idle_share", "department", city.department) == Decimal("37.5")
    assert figure(city, "promised_vcpu", "pool", city.pool) == Decimal(100) * 16 / capacity(city)
    _summed_as(city, load=400, measured=14, covered=12)
    assert figure(city, "use_vcpu", "pool", city.pool) is None, "of too much nothing is known"
    assert figure(city, "idle_share", "department", city.department) is None
    city.clock.advance(hours=49)
    assert figure(city, "coverage", "pool", city.pool) is None, "it was assessed two days ago"


def test_rules_are_told_what_was_measured_of_what_a_department_has(city) -> None:
    idle, busy = (city.machine(Amount({VCPU: 8, MEMORY: 8192})) for _n in range(2))
    city.judge({idle: Verdict.IDLE, busy: Verdict.IDLE}, frees={idle: Amount({VCPU: 6})})
    request = SimpleNamespace(resource_id=None, pool_id=city.pool, department_id=city.department)
    for measured, told in ((16, (25.0, 37.5)), (7, (None, None))):  # seven of sixteen cores are too few
        _summed_as(city, load=400, measured=measured)
        with city.book.reading() as tx:
            facts = asked_uses.uses(tx, request)
        assert (facts["held_cpu_mean"], facts["held_cpu_idle"], facts["held_mem_mean"]) == (*told, None)


def _summed_as(city, **sums):
    """What the assessment measured of the machines' cores."""
    with city.by() as tx:
        tx.execute(update(MeasuredUse).where(MeasuredUse.kind == VCPU).values(**sums))


def test_an_alert_opens_beyond_the_limit_stands_once_and_closes_by_itself(city) -> None:
    total = capacity(city)
    at = round(Decimal(800) / total, 4)
    first = enacted(city.book, replace(TERMS, threshold=at, hold_days=2))
    given(city, 8, "at")
    assert looked(city) == (0, 0)
    with city.book.reading() as tx:
        assert tx.query(SupervisionExcess).count() == 0, "at the limit"
    given(city, 1, "beyond")
    assert looked(city) == (0, 0)
    for hours, told in ((24, (0, 0)), (23, (0, 0)), (1, (1, 0)), (1, (0, 0)), (30, (0, 0))):
        city.clock.advance(hours=hours)
        assert looked(city) == told, hours
    enacted(
        city.book, replace(TERMS, threshold=at + 50, answerer="supervisor"), city.clock.now.date() + timedelta(days=1)
    )
    assert looked(city) == (0, 0), "not from today on"
    with city.book.reading() as tx:
        one = tx.query(SupervisionAlert).one()
        assert (one.item_id, one.opened_with, one.opened_at - one.since) == (
            first,
            round(Decimal(900) / total, 4),
            timedelta(days=2),
        )
        assert tx.query(SupervisionExcess).count() == 0
    city.clock.advance(hours=24)
    assert looked(city) == (0, 1), "within the limit of the version that holds"
    with city.book.reading() as tx:
        one = tx.query(SupervisionAlert).one()
        assert (one.state, one.item.answerer) == ("back", "provider")


def test_another_measure_begins_anew_and_a_systems_report_tells_what_its_department_is_told(city) -> None:
    enacted(city.book, replace(TERMS, threshold=Decimal(0)))
    given(city, 1, "beyond")
    assert looked(city) == (1, 0)
    enacted(city.book, replace(TERMS, measure="open_incidents", threshold=Decimal(-1)))
    assert looked(city) == (1, 1), "a figure of another kind answers no alert"
    with city.by() as tx:
        system = System(code="ledger-1", name="系统", department_id=city.department)
        tx.add(system)
        tx.flush()
        whose = ReportScope(ScopeKind.SYSTEM, system.id)
    late = {"measure": "late_rectifications", "object_type": "system", "side": "below", "threshold": Decimal(1)}
    for name, tells in (("只告知监督方", False), ("告知使用单位", True)):
        code = f"s{int(tells)}"
        enacted(city.book, replace(TERMS, code=code, name=name, answerer="supervisor", tells_department=tells, **late))
    looked(city)
    with city.book.reading() as tx:
        assert [(one.state, one.figure) for one in tx.query(SupervisionAlert).order_by(SupervisionAlert.id).limit(2)] == [
            ("ended", tx.get_one(SupervisionAlert, 1).opened_with), ("open", 0),
        ]  # fmt: skip
        frame = SimpleNamespace(
            tx=tx, scope=whose, start=tx.now, end=tx.now + timedelta(days=1), calendar=SimpleNamespace(zone=ZONE), name=lambda *_one: ""
        )  # fmt: skip
        assert [one["item"] for one in conduct.supervision(frame)] == ["告知使用单位"]


@pytest.mark.parametrize("gap", ["missed", "back"])
def test_what_was_not_seen_all_the_while_begins_anew(city, gap) -> None:
    enacted(city.book, replace(TERMS, threshold=Decimal(0), hold_days=2))
    given(city, 1, "beyond")
    looked(city)
    if gap == "missed":
        city.clock.advance(hours=27)
    else:
        with city.book.transaction(steward()) as tx:
            entries.reclaim(tx, city.pool, city.department, {CPU: 1}, key="back", source=Holder.GRANTED)
        city.clock.advance(hours=24)
        looked(city)
        given(city, 1, "again")
    for hours, told in ((0, (0, 0)), (25, (0, 0)), (23, (1, 0))):
        city.clock.advance(hours=hours)
        assert looked(city) == told


@pytest.mark.parametrize(
    ("says", "field"),
    [
        ({"code": "a b"}, "code"), ({"name": " "}, "name"), ({"measure": "nothing"}, "measure"), ({"measure": "score", "object_type": "pool"}, "object_type"),
        ({"object_type": "nothing"}, "object_type"), ({"side": "beside"}, "side"), ({"threshold": Decimal("NaN")}, "threshold"),
        ({"threshold": Decimal("1e13")}, "threshold"), ({"threshold": Decimal("0.00001")}, "threshold"), ({"hold_days": -1}, "hold_days"),
        ({"hold_days": 367}, "hold_days"), ({"reply_days": 0}, "reply_days"), ({"answerer": "tenant"}, "answerer"),
        ({"tells_department": True}, "tells_department"), ({"chosen": ("nowhere",)}, "chosen"),
        ({"object_type": "city", "answerer": "supervisor", "chosen": ("p1",)}, "chosen"),
    ],
)  # fmt: skip
def test_an_item_that_makes_no_sense_is_refused_by_its_field(city, says, field) -> None:
    with pytest.raises(Invalid) as refused, city.book.transaction(chief(1)) as tx:
        items.draft(tx, replace(TERMS, **says), tx.now.date(), "通知")
    assert refused.value.params["field"] == field
