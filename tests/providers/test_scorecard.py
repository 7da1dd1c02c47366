"""A mark is a number with its rows: computed from them alone, and again from what was kept of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from metering.intake import completeness
from metering.lake.store import Lake
from metering.statements import reconciliation
from metering.workbench import Workbench
from providers import observation
from providers import orders as delivery
from providers.assessment import cards, formula, gathering, registry
from providers.assessment.formula import Grade, from_json, to_json
from providers.assessment.measures import EvidenceRow
from providers.assessment.scorecard import score
from providers.assessment.subjects import company
from providers.base import IncidentFact, Responsibility, Verb
from providers.billing import bills, incidents
from quota.actors import steward
from quota.directory import pools
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.requests import submission

MONTH = "2026-06"
DEFAULT = replace(formula.default(), least=Decimal(10))
"""The default, told to grade from 10 points of weight on: these tests speak of few indicators at a time."""
DELIVERY, METERING, REPORTING = "delivery", "metering", "reporting"
OPTIMISATION, INCIDENTS = "optimisation", "incidents"


def orders(good: int, bad: int) -> list[EvidenceRow]:
    return [EvidenceRow(f"order:{n}", {"ok": n < good}) for n in range(good + bad)]


def bill(disputed: float, metered: float, kind: str = "vcpu") -> EvidenceRow:
    return EvidenceRow("bill:1/a", {"kind": kind, "metered": str(metered), "disputed": str(disputed)})


def marked(indicator: str, *rows: EvidenceRow):
    card = score({indicator: rows}, DEFAULT)
    return next(one for one in card.marks if one.indicator == indicator), card


@pytest.mark.parametrize(
    ("indicator", "rows", "figure", "deduction"),
    [
        (DELIVERY, orders(98, 2), "0.98", "0"),
        (DELIVERY, orders(97, 3), "0.97", "1"),
        (DELIVERY, orders(9, 1), "0.9", "8"),
        (DELIVERY, orders(1, 1), "0.5", "10"),  # no more than its weight
        (OPTIMISATION, orders(95, 5), "0.95", "0"),
        (OPTIMISATION, orders(93, 7), "0.93", "2"),
        (METERING, [bill(0.5, 100)], "0.005", "0"),
        (METERING, [bill(1, 100)], "0.01", "2"),
        (METERING, [bill(1, 100), bill(0, 50, "memory")], "0.005", "0"),  # the mean over the kinds
        (METERING, [bill(5, 0)], "1", "8"),
        (REPORTING, [completeness.reported("p", 1000, 990)], "0.99", "0"),
        (REPORTING, [completeness.reported("p", 1000, 980)], "0.98", "1"),
        (REPORTING, [completeness.reported("p", 1000, 1000, 16)], "1", "1"),
        (REPORTING, [completeness.reported("p", 1000, 1000, 15)], "1", "0"),
        (REPORTING, [completeness.reported("p", 1000, 1200)], "1", "0"),
        (INCIDENTS, [EvidenceRow("incident:1", {"misses": 2}), EvidenceRow("incident:2", {"misses": 0})], "2", "4"),
    ],
)
def test_the_rule_of_each_indicator(indicator, rows, figure, deduction) -> None:
    mark, _ = marked(indicator, *rows)
    assert (mark.figure, mark.deduction) == (Decimal(figure), Decimal(deduction))
    assert mark.refs == tuple(row.ref for row in rows)
    assert mark.reason % mark.params


def test_without_evidence_nothing_is_scored_and_the_weight_goes_to_the_rest() -> None:
    card = score({DELIVERY: orders(9, 1), METERING: [bill(0, 100)]}, DEFAULT)
    assert card.scored_weight == 18
    by = {one.indicator: one for one in card.marks}
    assert len(by) == 16
    assert [one.scored for one in card.marks].count(True) == 2
    assert (by[DELIVERY].share, by[DELIVERY].mark) == (Decimal("55.56"), Decimal("11.11"))  # (10 − 8) × 100 ÷ 18
    assert (by[METERING].share, by[METERING].mark) == (Decimal("44.44"), Decimal("44.44"))
    assert (by[REPORTING].share, by[REPORTING].mark, by[REPORTING].figure) == (0, None, None)
    assert (card.total, card.grade) == (Decimal("55.56"), Grade.FAIL)


def test_nothing_measured_is_no_evidence() -> None:
    mark, card = marked(METERING, bill(0, 0))
    assert not mark.scored
    assert mark.refs == ("bill:1/a",)
    assert (card.total, card.grade) == (None, None)


def test_too_little_is_not_graded() -> None:
    _, card = marked(REPORTING, completeness.reported("p", 10, 10))  # 3 of 118 points of weight
    assert (card.scored_weight, card.total, card.grade) == (3, None, None)


@pytest.mark.parametrize(("enough", "grade"), [("62.99", Grade.EXCELLENT), ("63", Grade.EXCELLENT), ("63.01", None)])
def test_the_least_weight_is_a_bound_that_is_met(enough, grade) -> None:
    """Sixty of a hundred by default; exactly as much is enough."""
    weights = {DELIVERY: "63", METERING: "42"}
    criteria = tuple(
        replace(one, weight=Decimal(weights[one.indicator])) for one in DEFAULT.criteria if one.indicator in weights
    )
    by = replace(DEFAULT, criteria=criteria, least=Decimal(enough))
    card = score({DELIVERY: orders(10, 0)}, by)
    assert (card.scored_weight, card.grade, by.paid(card.grade)) == (63, grade, 100 if grade else None)


def test_the_default_wants_sixty_of_a_hundred() -> None:
    by = formula.default()
    assert (by.least, by.least_share) == (Decimal("70.8"), 60)
    few = score({DELIVERY: orders(10, 0), METERING: [bill(0, 100)]}, by)
    assert (few.scored_weight, few.total, few.grade, by.paid(few.grade)) == (18, None, None, None)
    assert [one.mark is not None for one in few.marks].count(True) == 2, "what is known of each is still told"


@pytest.mark.parametrize(
    ("good", "bad", "grade"), [(98, 2, Grade.EXCELLENT), (97, 3, Grade.EXCELLENT), (96, 4, Grade.GOOD), (94, 6, Grade.PASS), (9, 1, Grade.FAIL)]
)  # fmt: skip
def test_the_grades(good, bad, grade) -> None:
    assert marked(DELIVERY, *orders(good, bad))[1].grade is grade


def test_the_default_weighs_what_its_indicators_do_and_survives_being_stored() -> None:
    assert DEFAULT.weight == sum(one.weight for one in registry.indicators()) == 118
    assert from_json(to_json(DEFAULT)) == DEFAULT
    for raw in ({}, {**to_json(DEFAULT), "rules": [{"indicator": "delivery"}]}):
        with pytest.raises(Invalid, match=r"formula\.bad"):
            from_json(raw)
    for where, wrong in (("measure", "guess"), ("indicator", "utilisation"), ("limits", {"full": "1"})):
        broken = to_json(DEFAULT)
        broken["rules"][0][where] = wrong
        unknown = from_json(broken)  # can be read: it stands on cards
        with pytest.raises(Invalid, match=r"formula\.bad"):
            score({}, unknown)


@given(
    st.dictionaries(st.sampled_from([DELIVERY, OPTIMISATION]), st.tuples(st.integers(0, 30), st.integers(0, 30))),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 100)), max_size=5),
)
def test_the_marks_sum_to_the_total(shares, billed) -> None:
    found = {indicator: orders(*counts) for indicator, counts in shares.items()}
    found[METERING] = [bill(*one) for one in billed]
    card = score(found, DEFAULT)
    given_marks = [one for one in card.marks if one.mark is not None]
    if card.total is not None:
        assert abs(sum(one.mark for one in given_marks) - card.total) <= Decimal("0.05")
        assert abs(sum(one.share for one in given_marks) - 100) <= Decimal("0.05")
        assert 0 <= card.total <= 100


# ---------------------------------------------------------------------------------------------- from the book


def gathered(works, name: str = "haichen", month: str = MONTH, **given):
    """What is gathered of a company, with rows of ``given`` indicators in hand."""
    with works.book.reading() as tx:
        told = {code: {month: rows} for code, rows in given.items()}
        return gathering.gather(tx, company(works.companies[name]), month, given=told)


def test_an_order_counts_in_the_month_in_which_it_is_due_and_not_before(works, clock) -> None:
    request = works.approved()
    with works.book.transaction(steward()) as tx:
        first, second = delivery.place_for_request(tx, submission.lock(tx, request))
    works.carry(first)
    assert gathered(works)[DELIVERY] == []  # delivered, and its limit is not over
    clock.advance(days=10)
    works.carry(second)
    rows = gathered(works)[DELIVERY]
    assert [(row.ref, row.facts["ok"]) for row in rows] == [(f"order:{first.id}", True), (f"order:{second.id}", False)]
    assert gathered(works, "lantu")[DELIVERY] == []
    assert gathered(works, month="2026-07")[DELIVERY] == []


def test_case_orders_are_another_indicator_and_cancelled_ones_none(works, clock) -> None:
    one = works.now(works.carry(works.create())).resource
    done = works.place(Verb.STOP, "a", resource=one, case_id=1)
    dropped = works.place(Verb.SNAPSHOT, "b", resource=one, case_id=1)
    works.carry(done)
    works.do(delivery.cancel, dropped, "checker", "不需要了")
    clock.advance(days=10)
    found = gathered(works)
    assert [row.ref for row in found[OPTIMISATION]] == [f"order:{done.id}"]
    assert found[DELIVERY] == []


def incident(works, number: str = "i1", **told):
    start = works.book.clock() - timedelta(hours=10)
    given = {
        "external_id": number, "level": 2, "title": "网络出口中断", "started_at": start,
        "responded_at": start + timedelta(minutes=20), "recovered_at": start + timedelta(hours=5),
        "responsibility": Responsibility.PROVIDER,
    }  # fmt: skip
    return IncidentFact(**(given | told))


def report(works, fact: IncidentFact, by: str = "operator") -> incidents.Incident:
    with works.book.transaction(works.people[by]) as tx:
        return incidents.report(tx, tx.get_one(pools.Pool, works.pool), fact)


def settle(works, found, whose: Responsibility, by: str = "checker", reason: str = "日志为证"):
    with works.book.transaction(works.people[by]) as tx:
        return incidents.settle(tx, found.id, found.generation, whose, reason)


def test_an_incident_counts_once_it_is_settled_as_the_companys(works, clock) -> None:
    clock.advance(days=2)
    mine, theirs = report(works, incident(works)), report(works, incident(works, "i2"))
    assert gathered(works)[INCIDENTS] == []
    settle(works, mine, Responsibility.PROVIDER)
    settle(works, theirs, Responsibility.TENANT)
    rows = gathered(works)[INCIDENTS]
    assert [(row.ref, row.facts["misses"]) for row in rows] == [(f"incident:{mine.id}", 1)]  # recovered too late


def test_what_a_company_may_say_of_an_incident(works, clock) -> None:
    clock.advance(days=2)
    found = report(works, incident(works))
    assert report(works, incident(works)).generation == 1  # the same again
    assert report(works, incident(works, level=1)).generation == 2
    with pytest.raises(NotAllowed):
        report(works, incident(works), by="rival")
    with pytest.raises(Invalid, match=r"incident\.times"):
        report(works, incident(works, "i3", recovered_at=clock.now - timedelta(hours=11)))
    with pytest.raises(Invalid, match=r"incident\.level"):
        report(works, incident(works, "i3", level=5))
    with pytest.raises(NotAllowed):
        settle(works, found, Responsibility.TENANT, by="operator")
    with pytest.raises(Conflict, match=r"incident\.stale"):
        settle(works, found, Responsibility.TENANT)  # amended meanwhile
    fresh = report(works, incident(works, level=1))
    with pytest.raises(Invalid, match=r"incident\.not_announced"):
        settle(works, fresh, Responsibility.MAINTENANCE)
    with pytest.raises(Invalid, match=r"reason\.missing"):
        settle(works, fresh, Responsibility.PROVIDER, reason=" ")
    settle(works, fresh, Responsibility.PROVIDER)
    with pytest.raises(WrongState, match=r"incident\.settled"):
        report(works, incident(works, level=4))
    with works.book.reading(works.people["rival"]) as tx, pytest.raises(NotFound):
        incidents.incident(tx, found.id)


def test_the_simulated_companies_reports_are_taken_once(works, clock) -> None:
    cloud = works.cloud()
    since = clock.now - timedelta(days=60)
    first = incidents.collect(works.book, works.pool, cloud, since, clock.now)
    assert first
    again = incidents.collect(works.book, works.pool, cloud, since, clock.now)
    assert [(one.id, one.generation) for one in again] == [(one.id, one.generation) for one in first]
    assert bills.collect(works.book, works.pool, cloud, "2026-05").new


def test_limits_by_level(works, clock) -> None:
    clock.advance(days=2)
    start = clock.now - timedelta(hours=10)
    with works.book.reading() as tx:
        days = incidents.working_days(tx)
        for level, respond, recover, missed in (
            (1, 15, 120, 0), (1, 16, 121, 2), (2, 30, 240, 0), (3, 120, 480, 0), (3, 121, 480, 1), (4, 500, 590, 0),
        ):  # fmt: skip
            one = incidents.Incident(
                level=level, started_at=start, responded_at=start + timedelta(minutes=respond),
                recovered_at=start + timedelta(minutes=recover),
            )  # fmt: skip
            assert incidents.misses(one, days, clock.now) == missed
        assert incidents.misses(incidents.Incident(level=1, started_at=start), days, clock.now) == 2  # still open


# -------------------------------------------------------------------------------------------------- on record


def kept(works, found=None, formula=DEFAULT) -> cards.ScorecardRecord:
    found = found or {DELIVERY: orders(9, 1), METERING: [bill(1, 100)]}
    with works.book.transaction(steward()) as tx:
        return cards.keep(tx, company(works.companies["haichen"]), MONTH, found, formula)


def test_the_same_evidence_is_the_same_card(works) -> None:
    first = kept(works)
    assert kept(works).id == first.id
    more = kept(works, {DELIVERY: orders(10, 0), METERING: [bill(1, 100)]})
    assert (more.revision, more.total > first.total) == (2, True)
    stricter = replace(DEFAULT, version="city-2")
    assert kept(works, {DELIVERY: orders(10, 0), METERING: [bill(1, 100)]}, stricter).revision == 3


def test_a_card_is_computed_again_from_what_was_kept(works) -> None:
    record = kept(works)
    with works.book.reading() as tx:
        record = cards.scorecard(tx, record.id)
        again = cards.recompute(tx, record)
        assert (again.total, again.grade.value) == (record.total, record.grade)
        assert [one.ref for one in cards.evidence_of(tx, record, DELIVERY)] == [f"order:{n}" for n in range(10)]
        assert {one.indicator: one.evidence_rows for one in record.marks if one.evidence_rows} == {
            "delivery": 10,
            "metering": 1,
        }
        assert list(cards.check(tx)) == []


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE scorecards SET total = 99",
        "UPDATE scorecards SET grade = 'excellent'",
        "UPDATE scorecard_marks SET mark = 10 WHERE indicator = 'delivery'",
        "DELETE FROM scorecard_marks WHERE indicator = 'metering'",
        "DELETE FROM scorecard_evidence WHERE position = 10",
        "UPDATE scorecard_evidence SET ref = 'order:99' WHERE position = 3",
    ],
)
def test_a_changed_card_is_named(works, tamper) -> None:
    record = kept(works)
    with works.book.engine.begin() as connection:
        if works.book.engine.dialect.name == "sqlite":
            for table in ("scorecard_marks", "scorecard_evidence"):
                for verb in ("update", "delete"):
                    connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
        else:
            connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text(tamper))
    with works.book.reading() as tx:
        assert any(str(record.id) in line for line in cards.check(tx))


def test_marks_and_evidence_cannot_be_rewritten(works) -> None:
    kept(works)
    for statement in ("UPDATE scorecard_marks SET mark = 10", "DELETE FROM scorecard_evidence"):
        with pytest.raises(DBAPIError), works.book.engine.begin() as connection:
            connection.execute(text(statement))


def test_publishing_is_the_authoritys_and_of_the_latest(works) -> None:
    first = kept(works)
    with pytest.raises(NotAllowed), works.book.transaction(works.people["checker"]) as tx:
        cards.publish(tx, first.id, 1)
    second = kept(works, {DELIVERY: orders(10, 0), METERING: [bill(1, 100)]})
    with pytest.raises(WrongState, match=r"scorecard\.not_latest"), works.book.transaction(works.people["chief"]) as tx:
        cards.publish(tx, first.id, 1)
    with works.book.transaction(works.people["chief"]) as tx:
        assert cards.publish(tx, second.id, 1).published
    with pytest.raises(Conflict, match=r"scorecard\.stale"), works.book.transaction(works.people["chief"]) as tx:
        cards.publish(tx, second.id, 1)
    for login, card, sees in (
        ("operator", first, True), ("rival", second, False), ("clerk", first, False), ("clerk", second, True),
    ):  # fmt: skip
        with works.book.reading(works.people[login]) as tx:
            if sees:
                assert cards.scorecard(tx, card.id).id == card.id
            else:
                with pytest.raises(NotFound):
                    cards.scorecard(tx, card.id)


def test_a_month_of_the_simulated_cloud_from_order_to_card(works, clock, tmp_path) -> None:
    cloud = works.cloud()
    request = works.approved()
    with works.book.transaction(steward()) as tx:
        placed = delivery.place_for_request(tx, submission.lock(tx, request))
    for one in placed:
        works.carry(one, cloud)
    _, end = bills.month_bounds(MONTH)
    while clock.now < end:
        with works.book.transaction(steward()) as tx:
            observation.observe(tx, tx.get_one(pools.Pool, works.pool), cloud.inventory(clock.now))
        clock.advance(days=1)
    bills.collect(works.book, works.pool, cloud, MONTH)
    eye = Workbench(works.book, Lake(tmp_path / "lake"), tmp_path)
    reconciliation.bring_up_to_date(eye, works.companies["haichen"], MONTH)
    reporting = [completeness.reported("intake:gov-arm/2026-06", 8640, 8640, 2.0)]
    found = gathered(works, reporting=reporting)
    with works.book.transaction(steward()) as tx:
        record = cards.keep(tx, company(works.companies["haichen"]), MONTH, found, DEFAULT)
    with works.book.reading() as tx:
        record = cards.scorecard(tx, record.id)
        scored = {one.indicator: one.mark for one in record.marks if one.scored}
        assert set(scored) == {"capacity", "delivery", "metering", "reporting"}
        assert record.scored_weight == 26
        assert (scored["capacity"], record.total) == (0, Decimal("80.77"))  # less than 30 % allocated: 21 of 26 points
        assert record.grade == "good"
        assert all(one.facts["lines"] for one in cards.evidence_of(tx, record, METERING))
        assert list(cards.check(tx)) == []
    works.prove()
    assert datetime.fromisoformat(found[DELIVERY][0].facts["due_at"]) < clock.now
