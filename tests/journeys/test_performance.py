"""Performance classes over HTTP; clause 42 of cities' published rules, enacted as data (``test_clauses``)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from metering.statements import PerformanceTest, tariffs
from metering.statements.performance import graded
from metering.statements.tariffs import Subject
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import catalog
from quota.units import VCPU, Arch


def test_42_measured_performance_decides_the_class_that_is_paid(client_of, place, clock):
    today = clock.now.astimezone(ZONE).date()
    with place.book.transaction(steward()) as tx:
        fast, slow = (
            catalog.offer(tx, code, name, "volume", {VCPU: 1}, [Arch.ANY], delivery_days=2).id
            for code, name in (("ssd", "超高IO云盘"), ("hdd", "普通IO云盘"))
        )
        for item, price in ((fast, "2.00"), (slow, "0.50")):
            tariffs.enter(tx, VCPU, Decimal(price), today, catalog_item_id=item)
    company = place.provider.id
    chief, staff = client_of("authority1"), client_of("supervisor1")
    for item, least in ((fast, "20000"), (slow, "1000")):
        said = {
            "item": str(item),
            "figure": "4K随机读 IOPS",
            "least": least,
            "effective_from": str(today),
            "reason": "财政文件",
        }
        assert staff.send("/performance/classes/new", said).status_code == 403
        assert chief.send("/performance/classes/new", said).status_code == 302
    assert "4K随机读 IOPS" in client_of("tenant1").get("/performance/classes").text

    def paid(day=today):
        with place.book.reading() as tx:
            subject = Subject(VCPU, Arch.X86_64, company, fast)
            return tariffs.held(tariffs.entered(tx), subject, day, graded(tx)).price

    test = {
        "provider": str(company),
        "item": str(fast),
        "value": "20000",
        "measured_on": str(today),
        "evidence": "fio，报告 17 号",
    }
    assert chief.send("/performance/new", test).status_code == 403
    assert "请写明测试方法" in staff.send("/performance/new", {**test, "evidence": " "}).text
    for number, (value, price) in enumerate((("20000", "2.00"), ("19999.99", "0.50")), 1):  # at the limit, and below it
        before = paid()
        assert staff.send("/performance/new", {**test, "value": value}).status_code == 302
        assert paid() == before  # one person's word
        assert f"/performance/{number}/confirm" in client_of("authority1").get("/performance/").text
        assert staff.send(f"/performance/{number}/confirm", {"generation": "1"}).status_code == 403
        assert chief.send(f"/performance/{number}/confirm", {"generation": "1"}).status_code == 302
        assert paid() == Decimal(price)
    # From its day on a class may ask for less; what was paid before stays.
    tomorrow = today + timedelta(days=1)
    lower = {**said, "item": str(fast), "least": "19999.99", "effective_from": str(tomorrow)}
    assert chief.send("/performance/classes/new", lower).status_code == 302
    assert (paid(), paid(tomorrow)) == (Decimal("0.50"), Decimal("2.00"))
    assert "19999.99" in client_of(Role.PROVIDER).get("/performance/?export=csv").text
    assert "19999.99" in client_of(Role.TENANT).get("/performance/?state=confirmed").text
    with place.book.reading() as tx:
        assert tx.query(PerformanceTest).count() == 2
