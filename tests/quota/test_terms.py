"""Terms: who is told in time that one ends, how it is moved, and that nothing asked for in time ends while it waits."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from quota.actors import steward
from quota.audit import AuditRecord
from quota.errors import Conflict, Invalid, NotAllowed, NotFound
from quota.requests import PURPOSE, declared, fulfilment, kinds, notices, submission, terms
from quota.requests.approvals import Decision
from quota.requests.notices import NoticeKind
from quota.requests.tables import Request
from tests.city import City

TERM = date(2026, 7, 31)  # the clock begins on 1 June
SIGNERS = ("checker", "reviewer", "chief")  # the town has no quota of its own: the authority signs, too


@pytest.fixture
def granted(town: City) -> Request:
    """Two machines of the bureau, in use until TERM."""
    request = town.approve(town.submit(use_until=TERM), *SIGNERS)
    return town.hand_over(request)


def extension(town: City, of: Request, until: date | None = date(2026, 12, 31), by: str = "clerk", **other) -> Request:
    return town.submit(kinds.EXTEND, by=by, extends_id=of.id, use_until=until, **other)


def reminded(town: City, returned: set[int] | None = None) -> list[str]:
    with town.book.transaction(steward()) as tx:
        return [one.key.rsplit("/", 1)[1] for one in notices.remind_of_terms(tx, returned or set())]


def test_reminders_come_thirty_fourteen_and_seven_days_before_once_each(town, granted, clock):
    told = {}
    start = clock.now
    for day in range(70):
        clock.now = start + timedelta(days=day)
        if (new := reminded(town)) or (new := reminded(town)):
            told[(TERM - clock.now.date()).days] = new
    assert told == {30: ["30"], 14: ["14"], 7: ["7"]}
    with town.book.reading() as tx:
        got = [one for one in notices.received(tx, town.people["clerk"]) if one.kind == NoticeKind.ENDING]
        assert {one.due_at for one in got} == {terms.ends_at(TERM)}
        assert notices.received(tx, town.people["stranger"]) == []


def test_after_a_pause_only_the_nearest_reminder_is_given(town, granted, clock):
    clock.now += timedelta(days=(TERM - clock.now.date()).days - 10)
    assert reminded(town) == ["14"]


def test_nobody_is_reminded_of_what_is_gone_or_was_never_granted(town, granted, clock):
    town.submit(use_until=TERM)  # still in review
    clock.now += timedelta(days=50)
    assert reminded(town, {granted.id}) == []
    assert reminded(town) == ["14"]


def test_an_approved_extension_moves_the_term_in_the_book(town, granted, clock):
    before = town.figures()
    asked = extension(town, granted)
    assert town.figures() == before  # takes no capacity
    assert [step.name for step in town.seen(asked).path] == ["form_check", "technical_review"]
    town.sign(asked, "checker")
    assert town.seen(granted).use_until == TERM
    town.sign(asked, "reviewer")
    assert town.seen(asked).state == "done"
    assert town.seen(granted).use_until == date(2026, 12, 31)
    assert town.figures() == before
    with town.book.reading() as tx:
        (row,) = tx.query(AuditRecord).filter_by(action="request.extend").all()
        assert (row.subject, row.actor) == (granted.subject, "reviewer")
        assert (row.before["use_until"], row.after["use_until"]) == ("2026-07-31", "2026-12-31")
        assert row.after["extension"] == asked.number
    clock.now += timedelta(days=59)
    assert reminded(town) == []
    clock.now += timedelta(days=130)
    assert reminded(town) == ["30"]  # of the new term


@pytest.mark.parametrize("until", [date(2027, 12, 31), None], ids=["dated", "for good"])
def test_what_went_live_lasts_until_a_day_or_for_good(town, until):
    """What ran on trial goes into production; where it says no day its term ends there, and nobody is reminded of one any more."""
    tried = town.hand_over(town.approve(town.submit(use_until=TERM, fields={PURPOSE: "test"}), *SIGNERS))
    with town.book.transaction(town.people["clerk"]) as tx:
        fulfilment.accepted(tx, tried.id)
    live = {"extends_id": tried.id, "fields": {"result": "无遗留问题"}}
    with pytest.raises(Invalid, match=r"extend\.earlier"):
        town.submit(declared("golive"), use_until=TERM, **live)
    with pytest.raises(Invalid, match=r"extend\.earlier"):
        extension(town, tried, until=None)  # an extension says until when
    town.approve(town.submit(declared("golive"), use_until=until, **live))
    now = town.seen(tried)
    assert (now.use_until, now.fields[PURPOSE], terms.running(now)) == (until, "production", until is not None)
    with pytest.raises(Invalid, match=r"golive\.not_tried" if until else r"extend\.no_term"):
        town.submit(declared("golive"), **live)
    town.prove()


def test_what_was_asked_for_in_time_does_not_end_while_it_waits(town, granted, clock):
    before = town.figures()
    asked = extension(town, granted)
    for _week in range(12):  # well past the term
        clock.now += timedelta(days=7)
        assert reminded(town) == []
        with town.book.reading() as tx:
            assert terms.extension(tx, granted).id == asked.id
            assert tx.get_one(Request, granted.id).state == granted.state
    assert clock.now.date() > TERM
    assert town.figures() == before
    town.approve(asked)
    assert town.seen(granted).use_until == date(2026, 12, 31)


def test_a_rejected_extension_leaves_the_term_and_the_reminders(town, granted, clock):
    clock.now += timedelta(days=45)
    asked = extension(town, granted)
    assert reminded(town) == []
    town.sign(asked, "checker", Decision.REJECT, reason="系统已停用")
    assert town.seen(granted).use_until == TERM
    assert reminded(town) == ["30"]


def test_a_part_of_a_term_cannot_be_approved(town, granted):
    asked = extension(town, granted)
    with pytest.raises(Invalid, match=r"approve\.unchanged"):
        town.sign(asked, "checker", Decision.APPROVE_PART, reason="短一些")


def test_another_day_after_a_return_is_signed_anew(town, granted):
    asked = extension(town, granted)
    town.sign(asked, "checker")
    town.sign(asked, "reviewer", Decision.RETURN, reason="期限太长")
    with town.book.transaction(town.people["clerk"]) as tx:
        ask = town.ask(kinds.EXTEND, extends_id=granted.id, use_until=date(2026, 9, 30))
        mended = submission.revise(tx, asked.id, ask, generation=submission.request(tx, asked.id).generation)
        submission.resubmit(tx, mended, generation=mended.generation)
    assert town.seen(asked).round == 2
    assert town.seen(granted).use_until == TERM
    town.approve(asked)
    assert town.seen(granted).use_until == date(2026, 9, 30)


@pytest.mark.parametrize("until", [None, TERM, date(2026, 7, 1)])
def test_a_term_is_only_moved_to_a_later_day(town, granted, until):
    with pytest.raises(Invalid) as refused:
        extension(town, granted, until)
    assert (refused.value.code, refused.value.params["field"]) == ("extend.earlier", "use_until")


def test_one_extension_at_a_time(town, granted):
    first = extension(town, granted)
    with pytest.raises(Conflict) as refused:
        extension(town, granted, date(2027, 1, 31))
    assert refused.value.params["number"] == first.number


def test_only_a_term_of_ones_own_is_moved(town, granted):
    with pytest.raises(NotFound):
        extension(town, granted, by="stranger", department_id=town.neighbour)
    with pytest.raises(NotAllowed):
        extension(town, granted, by="stranger")
    waiting = town.submit(use_until=TERM)
    endless = town.approve(town.submit(), *SIGNERS)
    for one in (waiting, endless):
        with pytest.raises(Invalid, match=r"extend\.no_term"):
            extension(town, one)
    with pytest.raises(Invalid, match=r"request\.extends"):
        town.submit(kinds.EXTEND, use_until=TERM)
    with pytest.raises(Invalid, match=r"request\.extends"):
        town.submit(extends_id=granted.id)


def test_what_ends_soon_is_found(town, granted, clock):
    def found(days: int) -> list[int]:
        with town.book.reading() as tx:
            return [one.id for one in tx.query(Request).filter(terms.ending(clock.now.date() + timedelta(days=days)))]

    assert found(30) == []
    assert found(61) == [granted.id]


def test_a_term_that_passed_while_the_request_waited_is_asked_for_anew(town, clock):
    asked = town.submit(use_until=TERM)
    length = TERM - clock.now.date()
    clock.now += timedelta(days=70)
    today = clock.now.date()
    with town.book.reading() as tx:
        assert terms.passed(tx, town.seen(asked))
        assert terms.anew(tx, town.seen(asked)) == today + length, "as long as was asked for"
    for until in (None, TERM, today - timedelta(days=1)):
        with pytest.raises(Invalid, match=r"approve\.term_passed.*2026-07-31"):
            town.sign(asked, SIGNERS[0], use_until=until)
    assert town.seen(asked).current.name == "form_check", "nothing was signed"
    new = today + length
    town.sign(asked, SIGNERS[0], use_until=new)
    town.sign(asked, SIGNERS[1])
    assert town.seen(asked).use_until == new
    with town.book.reading() as tx:
        record = tx.query(AuditRecord).filter_by(action="request.sign", subject=asked.subject).all()[0]
        assert (record.before["use_until"], record.after["use_until"]) == ("2026-07-31", new.isoformat())


def test_a_passed_term_does_not_keep_a_request_from_being_rejected(town, clock):
    asked = town.submit(use_until=TERM)
    clock.now += timedelta(days=70)
    town.sign(asked, SIGNERS[0], decision=Decision.REJECT, reason="项目已结束")
    assert town.seen(asked).use_until == TERM
