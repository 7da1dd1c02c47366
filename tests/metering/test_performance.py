"""Performance classes on both databases: what was measured decides by which item's price a delivery is charged, from its day on."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from metering.statements import PerformanceClass, performance, tariffs
from metering.statements.tables import CORRECTION
from metering.statements.tariffs import Subject
from quota.actors import Actor, Role, steward
from quota.directory import Pool, catalog
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.inventory import Resource
from quota.units import VCPU, Arch
from tests.city import STATEMENTS, City
from tests.city.statements import at

CHIEF, SECOND = Actor("zhao", "赵", Role.AUTHORITY), Actor("qian", "钱", Role.AUTHORITY)
STAFF = Actor("wang", "王", Role.SUPERVISOR)
FROM = date(2026, 4, 1)


@pytest.fixture
def city(book, tmp_path, clock):
    found = City(book, clock, STATEMENTS, tmp_path)
    found.list("jia", at(-1), web={VCPU: 4})
    found.report("web", range(720))
    with book.transaction(steward()) as tx:
        found.items = {
            code: catalog.offer(tx, code, code, "vm", {VCPU: 4}, [Arch.ANY], delivery_days=2).id
            for code in ("fast", "middle", "slow", "other")
        }
        tx.get_one(Resource, found.id("web")).catalog_item_id = found.items["fast"]
        found.company = tx.get_one(Pool, found.pools["jia"]).provider_id
    with book.transaction(CHIEF) as tx:
        for code, price in (("fast", "100"), ("middle", "60"), ("slow", "30"), ("other", "1")):
            tariffs.enter(tx, VCPU, Decimal(price), FROM, catalog_item_id=found.items[code])
        for code, figure, least in (
            ("fast", "IOPS", "5000"),
            ("middle", "IOPS", "3000"),
            ("slow", "IOPS", "500"),
            ("other", "分", "1"),
        ):
            performance.demand(tx, found.items[code], figure, Decimal(least), FROM)
    return found


def measured(city, value, on, *, confirm=True, item="fast"):
    with city.book.transaction(STAFF) as tx:
        row = performance.measure(tx, city.company, city.items[item], Decimal(value), on, "fio 4K 随机读，报告 2026-17")
        made, generation = row.id, row.generation
    if confirm:
        with city.book.transaction(CHIEF) as tx:
            performance.confirm(tx, made, generation=generation)
    return made


def costs(city, run):
    return [(one.first_day, one.last_day, one.cost) for one in city.lines(run) if one.charge != CORRECTION]


def test_what_reaches_its_class_is_paid_as_it_is_called_and_a_hundredth_less_is_not(city):
    assert costs(city, city.make()) == [(0, 29, Decimal(400))]
    measured(city, "5000", date(2026, 4, 16))
    assert costs(city, city.make()) == [(0, 29, Decimal(400))]
    measured(city, "4999.99", date(2026, 4, 16), confirm=False)
    assert costs(city, city.make()) == [(0, 29, Decimal(400))]  # one person's word
    measured(city, "4999.99", date(2026, 4, 16))
    assert costs(city, city.make()) == [(0, 14, Decimal(200)), (15, 29, Decimal(120))]
    measured(city, "9000", date(2026, 4, 25))  # mended, and better than what was ordered: paid as ordered
    assert costs(city, city.make()) == [(0, 14, Decimal(200)), (15, 23, Decimal(72)), (24, 29, Decimal(80))]


@pytest.mark.parametrize(
    ("value", "code"), [("3000", "middle"), ("2999.99", "slow"), ("499.99", "slow"), ("0", "slow")]
)
def test_it_is_priced_as_the_highest_class_that_it_reached(city, value, code):
    measured(city, value, FROM)
    with city.book.reading() as tx:
        graded = performance.graded(tx)
        assert graded.item(city.company, city.items["fast"], FROM) == city.items[code]
        assert graded.item(city.company, city.items["middle"], FROM) == city.items["middle"]  # was not measured
        assert (
            graded.item(city.company + 1, city.items["fast"], FROM) == city.items["fast"]
        )  # nor was another company's
        assert graded.item(city.company, None, FROM) is None
        subject = Subject(VCPU, Arch.X86_64, city.company, city.items["fast"])
        price = tariffs.held(tariffs.entered(tx), subject, FROM, graded)
        assert price.catalog_item_id == city.items[code]


def test_a_closed_month_is_corrected_in_the_next_and_others_are_not_reckoned_anew(city):
    run = city.make()
    assert city.close(run).invoices == {"2026-04-jia": 40_000}
    measured(city, "3000", date(2026, 4, 16))
    city.clock.advance(days=31)
    city.list("jia", city.clock.now, web={VCPU: 4})
    may = city.make("2026-05")
    found = [(one.corrects, one.cost_fen) for one in city.lines(may) if one.charge == CORRECTION]
    assert sum(fen for _month, fen in found) == 12_000 - 20_000
    assert {month for month, _fen in found} == {"2026-04"}
    city.close(may)
    city.clock.advance(days=31)
    assert [one for one in city.lines(city.make("2026-06")) if one.charge == CORRECTION] == []


def test_who_may_say_what_and_what_makes_no_sense(city):
    with city.book.reading() as tx:
        today = tx.now.date()
    for wrong, code in (
        ({"value": "-1"}, "performance.value"), ({"value": "NaN"}, "performance.value"), ({"value": "0.001"}, "performance.value"),
        ({"on": date(2100, 1, 1)}, "performance.day"), ({"on": date(2026, 3, 31)}, "performance.no_class"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=code):
            measured(city, **{"value": "1", "on": today, **wrong})
    with pytest.raises(NotAllowed), city.book.transaction(STAFF) as tx:
        performance.demand(tx, city.items["fast"], "IOPS", Decimal(1), FROM)
    with pytest.raises(NotAllowed), city.book.transaction(CHIEF) as tx:
        performance.measure(tx, city.company, city.items["fast"], Decimal(1), FROM, "自测")
    one = measured(city, "1", FROM, confirm=False)
    for who, generation, refused in ((STAFF, 1, NotAllowed), (CHIEF, 2, Conflict)):
        with pytest.raises(refused), city.book.transaction(who) as tx:
            performance.confirm(tx, one, generation=generation)
    with city.book.transaction(CHIEF) as tx:
        performance.confirm(tx, one, generation=1)
    with pytest.raises(WrongState), city.book.transaction(SECOND) as tx:
        performance.confirm(tx, one, generation=2)
    with pytest.raises(DBAPIError), city.book.transaction(CHIEF) as tx:
        tx.execute(update(PerformanceClass).values(least=0))


def test_what_was_measured_says_nothing_of_another_figure(city):
    with city.book.reading() as tx:
        today = tx.now.date()
    measured(city, "4000", FROM)  # IOPS, of 5000: paid as middle
    city.clock.advance(minutes=1)
    with city.book.transaction(CHIEF) as tx:
        performance.demand(tx, city.items["fast"], "吞吐 MB/s", Decimal(350), today)
        performance.demand(tx, city.items["middle"], "吞吐 MB/s", Decimal(200), today)

    def priced_as(day):
        with city.book.reading() as tx:
            return performance.graded(tx).item(city.company, city.items["fast"], day)

    assert priced_as(FROM) == city.items["middle"]
    assert priced_as(today) == city.items["fast"]  # not measured by what it is held to
    measured(city, "349.99", today)
    assert priced_as(today) == city.items["middle"]
    assert priced_as(FROM) == city.items["middle"]
    city.clock.advance(minutes=1)
    with city.book.transaction(CHIEF) as tx:  # and back: what was measured of the old figure counts again
        performance.demand(tx, city.items["fast"], "IOPS", Decimal(3999), today, reason="更正")
    assert priced_as(today) == city.items["fast"]


def test_a_lower_class_is_never_paid_dearer(city):
    measured(city, "0", FROM)
    city.clock.advance(minutes=1)
    with city.book.transaction(CHIEF) as tx:
        tariffs.enter(tx, VCPU, Decimal(1), FROM, per=tariffs.Per.HOUR, catalog_item_id=city.items["slow"], reason="试")
    assert costs(city, city.make()) == [(0, 29, Decimal(400))]
