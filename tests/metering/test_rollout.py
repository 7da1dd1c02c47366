"""Starting softly: what is in the shadow opens nothing, and no more letters go out in a week than the ceiling."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from metering import cases
from metering.cases import hearings, openings
from metering.judging import findings
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.rollout import AwaitedCase, CeilingScope, LetterCeilings, LetterRoom, candidates, ceilings, scopes
from quota.actors import steward
from quota.audit import AuditRecord
from quota.errors import Invalid, NotAllowed, NotFound, WrongState
from quota.units import VCPU, Amount
from tests.city import City
from tests.city.plans import GB
from tests.patience import together


def say(city: City, opens: bool, departments=(), pools=(), reason="先看结论") -> None:
    with city.by(city.authority) as tx:
        scopes.decide(tx, opens, departments, pools, reason)


def limit(city: City, per_week: int | None, scope=CeilingScope.CITY, department: int | None = None) -> None:
    with city.by(city.authority) as tx:
        ceilings.set_ceiling(tx, scope, per_week, "循序渐进", department)


def judged(city: City, count: int, **more) -> int:
    return city.judge({city.machine(**more): Verdict.IDLE for _ in range(count)}, target={})


def opened(city: City) -> list[int]:
    with city.book.reading() as tx:
        return list(tx.scalars(select(cases.Case.resource_id).order_by(cases.Case.id)))


def waiting(city: City) -> list[AwaitedCase]:
    with city.book.reading() as tx:
        return list(tx.scalars(select(AwaitedCase).order_by(AwaitedCase.place)))


def notice(city: City, case_ids, actor=None) -> int:
    """Review what is not, and send it. Returns how many letters."""
    with city.by(actor or city.supervisor) as tx:
        found = [cases.case(tx, one) for one in case_ids]
        for one in found:
            if one.state == cases.CaseState.DETECTED:
                cases.review(tx, one)
        return len(cases.issue(tx, found))


# -------------------------------------------------------------------------------------------------------- the shadow


def test_in_the_shadow_findings_are_made_and_nothing_is_opened(city: City) -> None:
    say(city, False)
    run = judged(city, 3)
    opening = openings.open_all(city.book, run)
    assert (opening.opened, opening.why()) == ([], {"shadow": 3})
    assert opened(city) == []
    rows = waiting(city)
    assert [(one.why, one.worth, one.expected_on) for one in rows] == [("shadow", 24.0, None)] * 3
    with city.book.reading() as tx:
        assert candidates.standing(tx) == candidates.RolloutStanding(False, candidates.ShadowSum(3, 3, 72.0), 0)
        assert openings.shadow(tx, findings.assessment(tx, run)) == candidates.ShadowSum(3, 3, 72.0)
    with city.by(city.supervisor) as tx, pytest.raises(WrongState, match="试运行"):
        cases.open_one(tx, findings.of_run(tx, findings.assessment(tx, run))[0])


def test_what_would_be_given_is_no_part_of_what_would_be_recovered(city: City) -> None:
    say(city, False)
    idle, busy, other = city.machine(), city.machine(), city.machine(department_id=city.other)
    with city.book.reading() as tx:
        assert openings.outlook(tx).day is None, "nothing was ever opened"
    run = city.judge({idle: Verdict.IDLE, busy: Verdict.BUSY, other: Verdict.IDLE}, target={VCPU: 20})
    with city.book.reading() as tx:
        told = openings.shadow(tx, findings.assessment(tx, run))
        assert (told.cases, told.takes, told.gives, told.worth, told.needs) == (3, 2, 1, 48.0, 4.0)
        assert openings.shadow(tx, findings.assessment(tx, run), [city.department]).worth == 24.0
        assert openings.shadow(tx, findings.assessment(tx, run), (), [city.pool + 99]).cases == 0
        newer = openings.outlook(tx).newer
        assert newer is not None
        assert newer.id == run, "it was judged, and no sum of what waits holds it"
        assert candidates.in_shadow(tx) == candidates.ShadowSum(0)
    openings.open_all(city.book, run)
    with city.book.reading() as tx:
        assert candidates.in_shadow(tx) == told
        assert candidates.in_shadow(tx, [city.other]) == candidates.ShadowSum(1, 1, 24.0)
        assert candidates.in_shadow(tx, (), [city.pool]) == told
        after = openings.outlook(tx)
        assert (after.day, after.newer) == (findings.assessment(tx, run).last_day, None)


def test_the_authority_opens_by_department_and_pool_and_the_last_word_holds(city: City) -> None:
    other = city.machine(department_id=city.other)
    mine = city.machine()
    say(city, False)
    say(city, True, [city.department])
    found = openings.open_all(city.book, city.judge({mine: Verdict.IDLE, other: Verdict.IDLE}, target={}))
    assert opened(city) == [mine]
    assert found.skipped == [[other, "shadow"]]
    with city.book.reading() as tx:
        assert candidates.standing(tx).whole is None
    say(city, True, [city.other])
    with city.book.reading() as tx:
        assert candidates.standing(tx).whole is True, "whoever has anything is open"
        assert scopes.now(tx).whole() is None, "who comes later is not"
    say(city, False, [city.other])
    say(city, False, pools=[city.pool])
    again = city.machine()
    openings.open_all(city.book, city.judge({again: Verdict.IDLE}, target={}))
    assert opened(city) == [mine], "the pool was shut after its department was opened"
    say(city, True)
    openings.open_all(city.book, city.judge({again: Verdict.IDLE, other: Verdict.IDLE}, target={}))
    assert sorted(opened(city)) == sorted([mine, again, other])
    assert waiting(city) == []


def test_shutting_lets_open_cases_go_on(city: City) -> None:
    case_id = city.noticed()
    say(city, False)
    with city.by(city.tenant) as tx:
        cases.reply(tx, cases.case(tx, case_id), cases.Answer.AGREE)
    assert city.act(case_id) == "ordered"
    assert city.deliver(case_id) == "ordered"


def test_only_the_authority_says_so_with_a_reason_and_not_twice(city: City) -> None:
    for actor in (city.supervisor, city.tenant, city.provider):
        with pytest.raises(NotAllowed), city.by(actor) as tx:
            scopes.decide(tx, False, (), (), "先看")
    with pytest.raises(Invalid, match=r"reason\.missing"):
        say(city, False, reason="  ")
    with pytest.raises(NotFound):
        say(city, False, departments=[999])
    with pytest.raises(NotFound):
        say(city, False, pools=[999])
    with pytest.raises(WrongState, match=r"scope\.same"):
        say(city, True)
    say(city, False)
    with pytest.raises(WrongState, match=r"scope\.same"):
        say(city, False, departments=[city.department])
    with city.book.reading() as tx:
        found = tx.scalars(select(AuditRecord).where(AuditRecord.action.like("scope.%"))).all()
        assert [(one.action, one.actor, one.reason) for one in found] == [("scope.shut", "zhao", "先看结论")]


def test_what_was_said_last_holds_for_whom_it_covers() -> None:
    found = scopes.Scopes({})
    assert (found.opened(1, 1), found.whole()) == (True, True)
    found = found.after([(None, None)], False)
    assert (found.opened(1, 1), found.whole()) == (False, False)
    found = found.after([(1, None)], True)
    assert [found.opened(*pair) for pair in ((1, 1), (2, 1))] == [True, False]
    assert found.whole() is None
    found = found.after([(None, 2)], False)
    assert [found.opened(*pair) for pair in ((1, 1), (1, 2))] == [True, False]
    found = found.after([(1, 2)], True)
    assert found.opened(1, 2)
    found = found.after([(None, None)], True)
    assert found.whole() is True
    assert scopes.chosen([2, 1, 2], [3]) == [(1, 3), (2, 3)]


def test_a_house_that_was_just_founded_begins_in_the_shadow(city: City) -> None:
    with city.by(steward("init")) as tx:
        scopes.begin_in_shadow(tx)
        ceilings.begin_low(tx)
    with city.book.reading() as tx:
        assert scopes.now(tx).whole() is False
        assert ceilings.now(tx) == LetterCeilings(ceilings.FIRST)
    with pytest.raises(NotAllowed), city.by(city.authority) as tx:
        scopes.begin_in_shadow(tx)


# ------------------------------------------------------------------------------------------------------- the ceiling


def test_the_ceiling_is_of_a_local_week_and_what_recovers_most_goes_first(city: City) -> None:
    limit(city, 2)
    small = city.machine(Amount({VCPU: 8, "memory": 16 * GB}))
    large = [city.machine() for _ in range(4)]
    verdicts = dict.fromkeys((small, *large), Verdict.IDLE)
    openings.open_all(city.book, city.judge(verdicts, target={}))
    assert opened(city) == large[:2]
    monday = ceilings.week_of(city.clock()).date()
    assert [(one.resource_id, one.why, one.expected_on) for one in waiting(city)] == [
        (large[2], "letters", monday + timedelta(weeks=1)),
        (large[3], "letters", monday + timedelta(weeks=1)),
        (small, "letters", monday + timedelta(weeks=2)),
    ]
    since = waiting(city)[0].since
    openings.open_all(city.book, city.judge(verdicts, target={}))
    assert opened(city) == large[:2], "their letters are being prepared"
    assert waiting(city)[0].since == since, "it waits since it first did"
    assert notice(city, [1, 2]) == 1
    openings.open_all(city.book, city.judge(verdicts, target={}))
    assert opened(city) == large[:2], "the week's letters are sent"
    city.clock.advance(days=7)
    openings.open_all(city.book, city.judge(verdicts, target={}))
    assert opened(city) == large[:4]
    with city.book.reading() as tx:
        assert hearings.letter_room(tx).left() == 2


def test_what_waited_longer_goes_before_what_recovers_as_much(city: City) -> None:
    limit(city, 1)
    young, first, old = (city.machine() for _ in range(3))
    openings.open_all(city.book, city.judge({first: Verdict.IDLE, old: Verdict.IDLE}, target={}))
    assert opened(city) == [first]
    notice(city, [1])
    city.clock.advance(days=7)
    # By number alone the young one would be the first.
    run = city.judge({old: Verdict.IDLE, young: Verdict.IDLE}, target={})
    with city.book.reading() as tx:
        assert list(candidates.since(tx, findings.assessment(tx, run))) == [(old, "reclaim")]
    openings.open_all(city.book, run)
    assert opened(city) == [first, old]
    assert [one.resource_id for one in waiting(city)] == [young]


def test_a_department_may_have_a_ceiling_of_its_own(city: City) -> None:
    limit(city, 2, CeilingScope.EACH)
    limit(city, 1, CeilingScope.ONE, city.other)
    mine = [city.machine() for _ in range(3)]
    theirs = [city.machine(department_id=city.other) for _ in range(3)]
    found = openings.open_all(city.book, city.judge(dict.fromkeys((*mine, *theirs), Verdict.IDLE), target={}))
    assert sorted(opened(city)) == sorted([*mine[:2], theirs[0]])
    assert found.why() == {"department_letters": 3}
    monday = ceilings.week_of(city.clock()).date()
    turns = {one.resource_id: (one.expected_on - monday).days // 7 for one in waiting(city)}
    assert turns == {mine[2]: 1, theirs[1]: 1, theirs[2]: 2}


def test_no_more_letters_are_sent_than_the_week_admits_whoever_opened_the_cases(city: City) -> None:
    openings.open_all(city.book, judged(city, 4))
    limit(city, 3)
    with pytest.raises(WrongState, match=r"notice\.week_full") as refused:
        notice(city, [1, 2, 3, 4])
    assert refused.value.params["left"] == 3
    assert notice(city, [1, 2, 3]) == 1
    with pytest.raises(WrongState, match=r"notice\.week_full"):
        notice(city, [4])
    city.clock.advance(days=7)
    assert notice(city, [4]) == 1
    limit(city, 1, CeilingScope.ONE, city.department)
    openings.open_all(city.book, judged(city, 1))
    assert len(opened(city)) == 4


def test_a_clock_that_jumped_lets_nothing_through_twice(city: City) -> None:
    openings.open_all(city.book, judged(city, 6))
    limit(city, 2)
    city.clock.advance(days=14)
    notice(city, [1, 2])
    city.clock.advance(days=-14)
    with pytest.raises(WrongState, match=r"notice\.week_full"):
        notice(city, [3])
    city.clock.advance(days=14)
    with pytest.raises(WrongState, match=r"notice\.week_full"):
        notice(city, [3])
    city.clock.advance(days=7)
    assert notice(city, [3, 4]) == 1


def test_two_at_once_send_no_more_than_the_ceiling(city_class, book, clock) -> None:
    city = city_class(book, clock)
    openings.open_all(book, judged(city, 8))
    limit(city, 3)
    refused: list[WrongState] = []

    def send(case_id: int) -> None:
        try:
            notice(city, [case_id])
        except WrongState as full:
            refused.append(full)

    together(*(partial(send, one) for one in range(1, 9)))
    with book.reading() as tx:
        assert tx.scalar(select(func.count()).where(cases.Case.notice_id.is_not(None))) == 3
        assert tx.scalar(select(func.count(cases.Notice.id))) == 3
    assert len(refused) == 5


def test_two_openings_at_once_keep_the_ceiling(city_class, book, clock) -> None:
    city = city_class(book, clock)
    limit(city, 4)
    first = judged(city, 6)
    clock.advance(seconds=1)
    second = judged(city, 6)
    together(*(partial(openings.open_all, book, run) for run in (first, second, first)))
    assert len(opened(city)) == 4


@pytest.mark.parametrize("per_week", [0, -1, ceilings.MOST + 1])
def test_a_ceiling_is_a_number_of_machines(city: City, per_week: int) -> None:
    with pytest.raises(Invalid, match=r"letters\.ceiling"):
        limit(city, per_week)
    with pytest.raises(Invalid, match=r"letters\.whose"):
        limit(city, 5, CeilingScope.ONE)
    with pytest.raises(NotAllowed), city.by(city.supervisor) as tx:
        ceilings.set_ceiling(tx, CeilingScope.CITY, 5, "少发")


def test_a_ceiling_can_be_lifted(city: City) -> None:
    limit(city, 1)
    limit(city, None)
    openings.open_all(city.book, judged(city, 3))
    assert len(opened(city)) == 3
    with city.book.reading() as tx:
        assert not ceilings.now(tx).any()


def test_turns_fill_each_week_up_to_both_ceilings() -> None:
    room = LetterRoom(LetterCeilings(city=3, each=2), sent=2, by_department={1: 2})
    assert room.weeks([1, 1, 2, 2, 2, 1]) == [1, 1, 0, 1, 2, 2]
    assert LetterRoom(LetterCeilings()).weeks([1, 2, 3]) == [0, 0, 0]
    assert LetterRoom(LetterCeilings(city=1)).weeks([1] * 500) == list(range(500))


def test_cases_that_wait_for_the_next_run_are_told_apart(city_class, book, clock) -> None:
    city = city_class(book, clock, Procedure(cases_per_run=1))
    openings.open_all(book, judged(city, 2))
    assert [(one.why, one.expected_on) for one in waiting(city)] == [("run_ceiling", None)]


def test_the_week_begins_on_monday_by_the_citys_time(clock) -> None:
    from datetime import UTC, datetime

    sunday_in_utc = datetime(2026, 11, 29, 16, 30, tzinfo=UTC)  # half past midnight on Monday here
    assert ceilings.week_of(sunday_in_utc).date() == date(2026, 11, 30)
    assert ceilings.turn(sunday_in_utc - timedelta(hours=1), 1) == date(2026, 11, 30)
