"""Every indicator from rows alone; nothing scored from silence; what the steward records, and what strikes it out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import metering.statements
from metering.intake import completeness
from providers import comments
from providers.assessment import appeals, cards, compatibility, formula, gathering, periods, ratings, records, subjects
from providers.assessment.compatibility import Fitness
from providers.assessment.formula import SHARES, Grade, annual
from providers.assessment.measures import EvidenceRow
from providers.assessment.scorecard import score
from providers.base import IncidentFact, Responsibility
from providers.billing import incidents
from quota.actors import steward
from quota.directory.pools import Pool
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.inventory import Resource

MONTH, QUARTER = "2026-06", "2026-Q2"
assert metering.statements, "its indicator is part of the default formula"
DEFAULT = replace(formula.default(), least=Decimal(10))
"""The default, told to grade from 10 points of weight on: these tests speak of few indicators at a time."""
AVAILABILITY, SECURITY, BACKUP = "availability", "security", "backup"
SATISFACTION, CAPACITY, COMPLIANCE = "satisfaction", "capacity", "compliance"


def down(minutes: float, of: int = 43_200) -> EvidenceRow:
    return EvidenceRow("pool:a/2026-06", {"pool": "a", "minutes": str(of), "down_minutes": str(minutes)})


def stars(*given_: int, of: int = 4) -> list[EvidenceRow]:
    return [EvidenceRow(f"rating:{n}", {"stars": one, "department": n, "of": of}) for n, one in enumerate(given_)]


@pytest.mark.parametrize(
    ("indicator", "rows", "deduction"),
    [
        (AVAILABILITY, [down(0)], "0"),
        (AVAILABILITY, [down(21.6)], "0"),  # 99.95 %
        (AVAILABILITY, [down(43.2)], "5"),  # 99.90 %: five hundredths below
        (AVAILABILITY, [down(216)], "15"),  # 99.50 %: 45 points, no more than its weight
        (AVAILABILITY, [down(250)], "15"),  # below 99.5 %: nothing left
        (AVAILABILITY, [down(21.6), down(21.6)], "0"),
        (SECURITY, [EvidenceRow("record:1", {"what": "none"})], "0"),
        (
            SECURITY,
            [
                EvidenceRow("record:1", {"what": "general"}),
                EvidenceRow("record:2", {"what": "vulnerability", "count": 3}),
            ],
            "8",
        ),
        (SECURITY, [EvidenceRow("record:1", {"what": "major"})], "13"),
        (CAPACITY, [EvidenceRow("a", {"ok": True}), EvidenceRow("b", {"ok": False})], "2.5"),
        (
            COMPLIANCE,
            [EvidenceRow("a", {"ok": True}), EvidenceRow("b", {"ok": True}), EvidenceRow("c", {"ok": False})],
            "1",
        ),
        (SATISFACTION, stars(5, 5), "0"),
        (SATISFACTION, stars(1, 1), "10"),
        (SATISFACTION, stars(3, 4), "3.75"),
        (BACKUP, [EvidenceRow("r", {"due": 1000, "done": 990})], "0"),
        (BACKUP, [EvidenceRow("r", {"due": 1000, "done": 970})], "2"),
        (BACKUP, [EvidenceRow("r", {"due": 10, "done": 10}), EvidenceRow("quarter:x", {"drills_due": 1})], "4"),
        (BACKUP, [EvidenceRow("r", {"drill": True}), EvidenceRow("quarter:x", {"drills_due": 1})], "0"),
        (BACKUP, [EvidenceRow("r", {"drill": False}), EvidenceRow("quarter:x", {"drills_due": 1})], "4"),
    ],
)
def test_what_each_indicator_deducts(indicator, rows, deduction) -> None:
    mark = next(one for one in score({indicator: rows}, DEFAULT).marks if one.indicator == indicator)
    assert mark.deduction == Decimal(deduction)
    assert mark.reason % mark.params


@pytest.mark.parametrize(
    ("indicator", "rows"),
    [
        (SATISFACTION, stars(5, of=40)),  # one of forty departments is not enough
        (BACKUP, [EvidenceRow("quarter:x", {"drills_due": 1})]),
        (AVAILABILITY, [down(0, of=0)]),
        ("reporting", [completeness.reported("samples:a/2026-06", 0, 0)]),
    ],
)
def test_too_little_is_not_scored(indicator, rows) -> None:
    mark = next(one for one in score({indicator: rows}, DEFAULT).marks if one.indicator == indicator)
    assert not mark.scored
    assert mark.share == 0


def test_thirty_answers_are_enough_of_any_number_of_departments() -> None:
    rows = [EvidenceRow(f"rating:{n}", {"stars": 4, "department": 1, "of": 400}) for n in range(30)]
    mark = next(one for one in score({SATISFACTION: rows}, DEFAULT).marks if one.indicator is SATISFACTION)
    assert mark.figure == 4


ROWS = {
    AVAILABILITY: st.builds(down, st.integers(0, 50_000)),
    "delivery": st.builds(lambda ok: EvidenceRow("order:1", {"ok": ok}), st.booleans()),
    "incidents": st.builds(lambda n: EvidenceRow("incident:1", {"misses": n}), st.integers(0, 30)),
    SECURITY: st.builds(lambda what: EvidenceRow("r", {"what": what}), st.sampled_from(["none", "general", "major"])),
    CAPACITY: st.builds(lambda ok: EvidenceRow("c", {"ok": ok}), st.booleans()),
    BACKUP: st.builds(lambda done: EvidenceRow("b", {"due": 100, "done": done}), st.integers(0, 100)),
    COMPLIANCE: st.builds(lambda ok: EvidenceRow("k", {"ok": ok}), st.booleans()),
}


@given(st.fixed_dictionaries({}, optional={key: st.lists(row, max_size=6) for key, row in ROWS.items()}))
def test_marks_are_never_negative_and_the_weight_of_the_silent_is_spread(found) -> None:
    card = score(found, DEFAULT)
    assert sum(one.weight for one in card.marks) == sum(one.weight for one in score({}, DEFAULT).marks) > 0
    scored = [one for one in card.marks if one.scored]
    assert card.scored_weight == sum(one.weight for one in scored)
    assert all(0 <= one.mark <= one.share + Decimal("0.01") for one in scored)
    assert all(one.share == 0 and one.mark is None for one in card.marks if not one.scored)
    if scored:
        assert abs(sum(one.share for one in scored) - 100) <= Decimal("0.1")
    assert card == score(found, DEFAULT)


def test_a_veto_fails_whatever_the_total() -> None:
    good = {SECURITY: [EvidenceRow("record:1", {"what": "none"})]}
    assert score(good, DEFAULT).grade is Grade.EXCELLENT
    bad = score({SECURITY: [*good[SECURITY], EvidenceRow("record:2", {"veto": "leak"})]}, DEFAULT)
    assert (bad.total, bad.grade, bad.veto) == (100, Grade.FAIL, ("record:2",))
    assert score({"metering": [EvidenceRow("record:3", {"veto": "falsified"})]}, DEFAULT).grade is Grade.FAIL


def test_payment_follows_the_grade_and_the_year_its_quarters() -> None:
    assert [DEFAULT.paid(grade) for grade in Grade] == [100, 95, 85, None, 70]
    assert annual(SHARES, {"quarter": [Decimal(90), None, Decimal(80), None], "year_end": [Decimal(70)]}) == 82
    assert annual(SHARES, {"quarter": [Decimal(90)], "year_end": [None]}) is None
    assert annual(SHARES, {"quarter": [None], "year_end": [Decimal(70)]}) is None


def test_periods() -> None:
    assert periods.months("2026-Q4") == ["2026-10", "2026-11", "2026-12"]
    assert periods.months("2026-06") == ["2026-06"]
    assert (periods.before("2026-Q1"), periods.before("2026-01")) == ("2025-Q4", "2025-12")
    for bad in ("2026", "2026-13", "2026-Q5", "2026-1"):
        with pytest.raises(Invalid):
            periods.months(bad)


# ---------------------------------------------------------------------------------------------- from the book


def company(works) -> int:
    return works.companies["haichen"]


def subject(works) -> subjects.CardSubject:
    return subjects.company(company(works))


def gathered(works, period: str = MONTH, **given):
    """What is gathered of the company, with rows of ``given`` indicators in hand."""
    with works.book.reading() as tx:
        told = {code: {MONTH: rows} for code, rows in given.items()}
        return gathering.gather(tx, subject(works), period, given=told)


def test_silence_is_no_evidence(works) -> None:
    found = gathered(works)
    assert {indicator for indicator, rows in found.items() if rows} <= {CAPACITY}


def enter(works, kind: str, note: str = "文号 1", **more):
    with works.book.transaction(works.people["checker"]) as tx:
        return records.enter(tx, subjects.company(company(works)), kind, more.pop("on", date(2026, 6, 1)), note, **more)


def test_what_the_steward_records_counts_until_it_is_withdrawn(works, clock) -> None:
    drill = enter(works, "drill", figures={"passed": True})
    enter(works, "backups", figures={"due": 100, "done": 99})
    enter(works, "certificate", figures={"certificate": "mlps3"}, valid_until=date(2026, 12, 1))
    found = gathered(works, QUARTER)
    assert [row.ref for row in found[BACKUP]][-1] == f"quarter:{QUARTER}"
    assert len(found[BACKUP]) == 3
    assert [row.facts["ok"] for row in found[COMPLIANCE]] == [True, False, False]
    with works.book.transaction(works.people["checker"]) as tx:
        records.withdraw(tx, drill.id, "记错了")
    assert [row.facts for row in gathered(works)[BACKUP]] == [{"due": 100, "done": 99}]
    with works.book.transaction(works.people["checker"]) as tx, pytest.raises(WrongState):
        records.withdraw(tx, drill.id, "再撤")


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("backups", {"figures": {"due": 3, "done": 4}}),
        ("backups", {"figures": {"due": -1, "done": 0}}),
        ("certificate", {"figures": {"certificate": "mlps3"}}),
        ("certificate", {"figures": {"certificate": "x"}, "valid_until": date(2027, 1, 1)}),
        ("year_end", {"figures": {"points": Decimal(101)}}),
        ("drill", {"on": date(2026, 7, 1)}),
        ("drill", {"note": " "}),
        ("withdrawal", {}),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(works, kind, more) -> None:
    with pytest.raises(Invalid):
        enter(works, kind, **more)


def test_availability_needs_a_watched_pool_and_settled_incidents(works, clock) -> None:
    clock.advance(days=2)
    start = clock.now - timedelta(hours=10)
    fact = IncidentFact("i1", 1, "核心交换机故障", start, start, start + timedelta(hours=1), Responsibility.PROVIDER)
    with works.book.transaction(works.people["operator"]) as tx:
        one = incidents.report(tx, tx.get_one(Pool, works.pool), fact, description="双机故障", evidence="工单 8")
    watched = [completeness.reported("samples:gov-arm/2026-06", 100, 95, pool="gov-arm", month=MONTH)]
    assert gathered(works)[AVAILABILITY] == []
    assert gathered(works, reporting=watched)[AVAILABILITY][0].facts["down_minutes"] == "0.0000"
    with works.book.transaction(works.people["checker"]) as tx:
        incidents.settle(tx, one.id, one.generation, Responsibility.PROVIDER, "日志为证")
    assert gathered(works, reporting=watched)[AVAILABILITY][0].facts["down_minutes"] == "60.0000"
    blind = [completeness.reported("samples:gov-arm/2026-06", 100, 50, pool="gov-arm", month=MONTH)]
    assert gathered(works, reporting=blind)[AVAILABILITY] == []


def test_a_dispute_is_settled_by_somebody_else_and_excuses(works, clock) -> None:
    subject = "order:1"
    with works.book.transaction(works.people["operator"]) as tx:
        found = comments.dispute(tx, subject, company(works), "园区断电")
        with pytest.raises(WrongState):
            comments.dispute(tx, subject, company(works), "再来")
    with works.book.transaction(works.people["rival"]) as tx, pytest.raises(NotAllowed):
        comments.dispute(tx, "order:2", company(works), "别家的")
    with works.book.transaction(works.people["checker"]) as tx:
        comments.rule(tx, found.id, upheld=True, text="属实")
        with pytest.raises(WrongState):
            comments.rule(tx, found.id, upheld=False, text="反悔")
        mine = comments.dispute(tx, "bill:1", company(works), "数量不符")
        with pytest.raises(NotAllowed):
            comments.rule(tx, mine.id, upheld=True, text="自己裁")
    with works.book.transaction(works.people["checker"]) as tx:
        against = comments.dispute(tx, "order:3", company(works), "交付记录不实")
    with works.book.transaction(works.people["chief"]) as tx:
        comments.rule(tx, against.id, upheld=True, text="属实")
    with works.book.reading() as tx:  # what was upheld against the company excuses nothing
        assert comments.upheld(tx, [subject, "bill:1", "order:3"]) == {subject}


def test_required_combinations_count_while_their_certificate_is_in_date(works, clock) -> None:
    def say(fitness: Fitness, **more) -> None:
        with works.book.transaction(works.people["checker"]) as tx:
            compatibility.state(tx, company(works), "鲲鹏", "麒麟 V10", fitness, required=True, **more)

    with pytest.raises(Invalid):
        say(Fitness.CERTIFIED)
    say(Fitness.ADAPTED)
    assert [row.facts["ok"] for row in gathered(works)["xinchuang"]] == [False]
    say(Fitness.CERTIFIED, certificate="KP-1", valid_until=date(2026, 6, 30))
    assert [row.facts["ok"] for row in gathered(works)["xinchuang"]] == [True]
    clock.advance(days=60)
    assert [row.facts["ok"] for row in gathered(works, "2026-07")["xinchuang"]] == [False]


def test_only_the_accepted_is_rated_and_once(works) -> None:
    one = works.now(works.carry(works.create()))
    with works.book.transaction(works.people["clerk"]) as tx, pytest.raises(WrongState):
        ratings.rate(tx, one.id, 5)
    from providers import orders

    works.do(orders.accept, one, "clerk")
    with works.book.transaction(works.people["clerk"]) as tx:
        with pytest.raises(Invalid):
            ratings.rate(tx, one.id, 1)
        with pytest.raises(Invalid):
            ratings.rate(tx, one.id, 6, "太好")
        ratings.rate(tx, one.id, 4)
        with pytest.raises(Conflict):
            ratings.rate(tx, one.id, 5)
    assert [row.facts["stars"] for row in gathered(works)[SATISFACTION]] == [4]


def test_what_an_appeal_struck_stays_struck(works, clock) -> None:
    late = enter(works, "event")
    enter(works, "review")
    with works.book.transaction(steward()) as tx:
        card = cards.keep(tx, subject(works), MONTH, gathering.gather(tx, subject(works), MONTH), DEFAULT)
    with works.book.transaction(works.people["operator"]) as tx, pytest.raises(WrongState):
        appeals.file(tx, card.id, "早了")
    with works.book.transaction(works.people["chief"]) as tx:
        cards.publish(tx, card.id, 1)
    with works.book.transaction(works.people["operator"]) as tx:
        with pytest.raises(Invalid):
            appeals.file(tx, card.id, "不是我们", ["record:999"])
        filed = appeals.file(tx, card.id, "不是我们", [f"record:{late.id}"])
    with works.book.transaction(works.people["chief"]) as tx, pytest.raises(NotAllowed):
        appeals.rule(tx, filed.id, upheld=False, ruling="自己出的分")
    with works.book.transaction(works.people["checker"]) as tx:
        ruled = appeals.rule(tx, filed.id, upheld=True, ruling="属实", struck=[f"record:{late.id}"])
        again = appeals.resolve(tx, ruled)
        changed = cards.changes(tx, again)
        assert changed.gone == [f"record:{late.id}"]
        assert again.total > card.total
        assert cards.agrees(tx, again) == []
    assert [row.ref for row in gathered(works)[SECURITY]] != [f"record:{late.id}"]
    assert f"record:{late.id}" not in {row.ref for row in gathered(works)[SECURITY]}


def test_what_overlaps_takes_a_pool_down_once_and_the_gone_carry_no_share(works, clock) -> None:
    one, other = (works.now(works.carry(works.create(key))).resource for key in "ab")
    with works.book.transaction(steward()) as tx:
        tx.get_one(Resource, other.id).gone_at = datetime(2026, 5, 20, tzinfo=UTC)  # before the month
        tx.get_one(Resource, other.id).first_seen_at = datetime(2026, 5, 1, tzinfo=UTC)
    clock.advance(days=2)
    start = clock.now - timedelta(hours=10)
    hour = timedelta(hours=1)
    told = [("i1", start, start + hour, ()), ("i2", start + hour / 2, start + hour, ()),
            ("i3", start + 2 * hour, start + 3 * hour, (one.external_id,))]  # fmt: skip
    for number, began, over, hit in told:
        fact = IncidentFact(number, 1, "故障", began, began, over, Responsibility.PROVIDER, hit)
        with works.book.transaction(works.people["operator"]) as tx:
            found = incidents.report(tx, tx.get_one(Pool, works.pool), fact)
        with works.book.transaction(works.people["checker"]) as tx:
            incidents.settle(tx, found.id, found.generation, Responsibility.PROVIDER, "日志为证")
    watched = [completeness.reported("samples:gov-arm/2026-06", 100, 95, pool="gov-arm", month=MONTH)]
    (row,) = gathered(works, reporting=watched)[AVAILABILITY]
    assert (row.facts["down_minutes"], row.facts["hosts"]) == ("120.0000", 1)


def test_a_struck_combination_is_looked_at_again_in_the_next_period(works, clock) -> None:
    with works.book.transaction(works.people["checker"]) as tx:
        kept = compatibility.state(tx, company(works), "鲲鹏", "麒麟 V10", Fitness.ADAPTED, required=True)
    ref = f"combination:{kept.id}"
    with works.book.transaction(steward()) as tx:
        card = cards.keep(tx, subject(works), MONTH, gathering.gather(tx, subject(works), MONTH), DEFAULT)
    with works.book.transaction(works.people["chief"]) as tx:
        cards.publish(tx, card.id, 1)
    with works.book.transaction(works.people["operator"]) as tx:
        filed = appeals.file(tx, card.id, "当月换证", [ref])
    with works.book.transaction(works.people["checker"]) as tx:
        appeals.rule(tx, filed.id, upheld=True, ruling="属实", struck=[ref])
    assert gathered(works)["xinchuang"] == []
    clock.advance(days=40)
    assert [row.ref for row in gathered(works, "2026-07")["xinchuang"]] == [ref]
