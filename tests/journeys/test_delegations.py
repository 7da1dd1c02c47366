"""Who is away has a deputy, a step is taken on or handed to a colleague, and a request is asked for again: stories over HTTP."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from console.mail import mails
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import Delegation, Person, delegations
from quota.requests import RequestTemplate, approvals
from quota.requests.tables import Request
from tests.journeys.test_clauses import enacted, rule, step, submitted
from tests.journeys.test_requests import decide, small, state

CHECK = {"name": "form_check", "role": "supervisor", "days": 1}


def number_of(place, login):
    with place.book.reading() as tx:
        return tx.scalar(select(Person.id).where(Person.login == login))


def shown(place, number):
    """The generation that a page would show."""
    with place.book.reading() as tx:
        return str(tx.get(Request, number).generation)


def away(client, place, clock, deputy, first=0, last=2, **more):
    today = clock.now.astimezone(ZONE).date()
    said = {
        "deputy": str(number_of(place, deputy)), "from_on": str(today + timedelta(days=first)),
        "until_on": str(today + timedelta(days=last)), "reason": "外出培训", **more,
    }  # fmt: skip
    return client.send("/delegations/new", said)


def assigned(client, number, login, reason=""):
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', client.get(f"/decisions/{number}/assign").text)[1]
    return client.send(f"/decisions/{number}/assign", {"generation": seen, "assignee": login, "reason": reason})


def told(client, number, kind):
    """Whether this person has such a notice about the request."""
    return f'href="/requests/{number}"' in client.get(f"/requests/notices/?kind={kind}").text


@pytest.fixture
def named(client_of, clock):
    """A rule that one person's word is asked for, and after it that of one of the authority."""
    enacted(
        client_of, clock,
        rule("base", {}, steps=[CHECK], priority=0),
        rule("word", {}, steps=[
            step("word", "分管领导", {"person": "authority2"}, stage=20), step("seal", "主管审批", {"role": "authority"}, stage=30),
        ]),
    )  # fmt: skip


def test_a_deputy_signs_what_is_named_for_who_is_away_and_both_have_signed(client_of, place, clock, named):
    tenant = client_of(Role.TENANT)
    number, _refused = submitted(tenant, place, **small(place, 1))
    decide(client_of("supervisor1"), number)
    deputy, absent = client_of("authority1"), client_of("authority2")
    assert f"/decisions/{number}" not in deputy.get("/decisions/").text
    answer = away(absent, place, clock, "authority1")
    assert answer.status_code == 302, answer.text
    assert f'href="/decisions/{number}"' in deputy.get("/decisions/").text
    assert re.search(r"代 \S+ 办理", deputy.get(f"/decisions/{number}").text)
    decide(deputy, number)
    with place.book.reading() as tx:
        word = tx.get(Request, number).step("word")
        assert (word.decided_by, word.decided_for) == ("authority1", "authority2")
    assert "（代 " in tenant.get(f"/requests/{number}").text
    for who in (deputy, absent):  # either has signed: the next step is another's
        assert f'href="/decisions/{number}"' not in who.get("/decisions/").text
        assert decide(who, number, seen=shown(place, number)).status_code == 403
    assert state(place, number) == "in_review"

    clock.advance(days=3)  # over
    later, _refused = submitted(client_of(Role.TENANT), place, **small(place, 1))
    decide(client_of("supervisor1"), later)
    assert f"/decisions/{later}" not in client_of("authority1").get("/decisions/").text
    assert f'href="/decisions/{later}"' in client_of("authority2").get("/decisions/").text


def test_a_delegation_is_revoked_and_what_makes_none_is_refused_at_its_place(client_of, place, clock, named):
    absent, other = client_of("authority2"), client_of("authority1")
    for more, said in (
        ({"deputy": "supervisor1"}, "不是有效的选择"),
        ({"deputy": "authority2"}, "不是有效的选择"),
        ({"first": -1}, "开始日期不能早于今天"),
        ({"last": -1}, "结束日期不早于开始日期"),
        ({"last": 180}, "最长180天"),
        ({"reason": " "}, "请写明理由"),
    ):
        answer = away(absent, place, clock, **{"deputy": "authority1", **more})
        assert (answer.status_code, said in answer.text.replace(" ", "")) == (422, True), (more, answer.text)
    assert away(absent, place, clock, "authority1").status_code == 302
    for client, deputy in ((absent, "authority1"), (other, "authority2")):  # twice, and handed on
        answer = away(client, place, clock, deputy, first=2, last=9)
        assert answer.status_code == 422
        assert "日期不能重叠" in answer.text
    assert away(client_of(Role.SECADMIN), place, clock, "supervisor2").status_code == 404  # for whom?
    stranger = client_of("supervisor1")
    with place.book.reading() as tx:
        one = tx.scalar(select(Delegation.id))
    assert stranger.get(f"/delegations/{one}").status_code == 404
    assert stranger.send(f"/delegations/{one}/revoke", {"reason": "x"}).status_code == 404
    number, _refused = submitted(client_of(Role.TENANT), place, **small(place, 1))
    decide(client_of("supervisor1"), number)
    assert f'href="/decisions/{number}"' in other.get("/decisions/").text
    assert other.send(f"/delegations/{one}/revoke", {"reason": "已回到岗位"}).status_code == 302  # the deputy declines
    assert f'href="/decisions/{number}"' not in other.get("/decisions/").text
    assert other.send(f"/delegations/{one}/revoke", {"reason": "再次"}).status_code == 422
    assert "已撤销" in other.get("/delegations/").text

    # Who is ill has it entered for him.
    chief = client_of(Role.SECADMIN)
    person = number_of(place, "authority2")
    today = clock.now.astimezone(ZONE).date()
    said = {
        "deputy": str(number_of(place, "authority1")),
        "from_on": str(today),
        "until_on": str(today),
        "reason": "病假",
    }
    assert "受托代办" not in other.get("/").text
    assert chief.send(f"/delegations/new?person={person}", said).status_code == 302
    assert f'href="/decisions/{number}"' in other.get("/decisions/").text
    assert "受托代办" in other.get("/").text

    # Who is gone holds nothing up, whoever opens it.
    assert client_of(Role.SYSADMIN).send(f"/settings/people/{person}/active", {"active": "0"}).status_code == 302
    with place.book.transaction(steward()) as tx:
        notices = [(one.request_id, one.kind, one.role, one.text) for one in approvals.tell_fallen(tx)]
        assert notices == [(number, "fallen", "authority", tx.get(Person, person).name)]
        assert approvals.tell_fallen(tx) == [], "once"
    assert told(other, number, "fallen")
    assert "（已不在岗，由同一方的其他人员办理）" in other.get(f"/requests/{number}").text
    page = other.get(f"/decisions/{number}").text
    assert "已不在岗，本步骤由同一方的任何一人办理" in page
    assert f'href="/decisions/{number}/assign"' in page
    assert assigned(other, number, "authority1").status_code == 302
    decide(other, number)
    with place.book.reading() as tx:
        word = tx.get(Request, number).step("word")
        assert (word.person, word.assignee, word.decided_by, word.decided_for) == (
            None,
            "authority1",
            "authority1",
            None,
        )


def test_what_who_is_away_asked_for_is_not_signed_for_him(client_of, place, clock):
    enacted(client_of, clock, rule("base", {}, steps=[CHECK], priority=0),
            rule("unit", {}, steps=[step("unit", "单位负责人", {"person": "tenant1"}, stage=1)]))  # fmt: skip
    own, _refused = submitted(client_of("tenant1"), place, **small(place, 1))
    with place.book.transaction(actor_of(place, "tenant1")) as tx:
        me = tx.scalar(select(Person).where(Person.login == "tenant1"))
        colleague = Person(login="tenant9", name="同事", role="tenant", department_id=me.department_id)
        tx.add(colleague)
        tx.flush()
        today = clock.now.astimezone(ZONE).date()
        delegations.delegate(tx, me.id, colleague.id, today, today, "外出")
        asked, who = tx.get(Request, own), colleague.actor()
        assert (asked.submitted_by, asked.current.person) == ("tenant1", "tenant1")
        assert not approvals.may_sign(tx, asked, who)
        assert approvals.queue(tx, who) == []
        asked.created_by = asked.submitted_by = "somebody"  # had another handed it in, he could
        tx.flush()
        assert approvals.may_sign(tx, asked, who)
        assert approvals.queue(tx, who) == [asked]
        tx.rollback()


def actor_of(place, login):
    with place.book.reading() as tx:
        return tx.scalar(select(Person).where(Person.login == login)).actor()


def test_a_step_is_taken_on_handed_over_and_never_stuck(client_of, place, clock):
    number, _refused = submitted(client_of(Role.TENANT), place, **small(place, 1))
    one, two = client_of("supervisor1"), client_of("supervisor2")
    assert assigned(one, number, "supervisor1").status_code == 302
    assert f'href="/decisions/{number}"' in one.get("/decisions/").text
    queue = two.get("/decisions/").text
    assert f'href="/decisions/{number}"' not in queue
    assert f'href="/decisions/{number}/assign"' in queue
    assert "承办。" in two.get(f"/requests/{number}").text
    assert decide(two, number, seen=shown(place, number)).status_code == 403
    assert assigned(two, number, "supervisor1").status_code == 422  # as it is
    assert assigned(two, number, "supervisor2").status_code == 422  # of another's, without a reason
    assert assigned(two, number, "authority1", "不是这一方").status_code == 422
    assert client_of("authority1").get(f"/decisions/{number}/assign").status_code == 409
    assert away(one, place, clock, "supervisor2").status_code == 302
    assert f'href="/decisions/{number}"' in two.get("/decisions/").text  # the deputy has what the colleague took on
    assert assigned(two, number, "supervisor2", "同事外出").status_code == 302
    assert (told(one, number, "handed_on"), told(two, number, "handed_on")) == (True, False)
    assert decide(one, number, seen=shown(place, number)).status_code == 403
    assert assigned(one, number, "supervisor1", "已回来").status_code == 302
    assert told(two, number, "handed_on")
    assert (told(one, number, "handed"), told(two, number, "handed")) == (False, False), "who takes it on knows"
    assert assigned(one, number, "supervisor2").status_code == 302
    assert (told(one, number, "handed"), told(two, number, "handed")) == (False, True)
    with place.book.transaction(steward()) as tx:
        for each in tx.scalars(select(Person).where(Person.role == "supervisor")):
            each.email = f"{each.login}@city.example"
        written = {mail.address: len(mail.items) for mail in mails.gather(tx)}
        assert written["supervisor2@city.example"] == 1 + written["supervisor1@city.example"] + 1, (
            "one more, and that he is a deputy"
        )
    assert assigned(one, number, "supervisor1", "由我办").status_code == 302
    with place.book.reading() as tx:
        person = tx.scalar(select(Person.id).where(Person.login == "supervisor1"))
    assert client_of(Role.SYSADMIN).send(f"/settings/people/{person}/active", {"active": "0"}).status_code == 302
    assert f'href="/decisions/{number}"' in two.get("/decisions/").text  # nobody waits for who is gone
    decide(two, number)
    with place.book.reading() as tx:
        check = tx.get(Request, number).step("form_check")
        assert (check.decided_by, check.decided_for) == ("supervisor2", None)


def test_a_request_is_copied_and_kept_under_a_name(client_of, place):
    tenant = client_of(Role.TENANT)
    number, _refused = submitted(tenant, place, **small(place, 2), **{"lines-0-more_os": "麒麟 V10"})
    made = tenant.send(f"/requests/{number}/copy", {"key": "a" * 32}).location
    assert tenant.send(f"/requests/{number}/copy", {"key": "a" * 32}).location == made  # twice is once
    copied = int(re.search(r"/requests/(\d+)/edit", made)[1])
    with place.book.reading() as tx:
        first, second = tx.get(Request, number), tx.get(Request, copied)
        assert (second.state, second.use_until, second.submitted_by) == ("draft", None, None)
        assert [(x.item_id, x.quantity, x.asked, x.fields) for x in second.lines] == [
            (x.item_id, x.quantity, x.asked, {"os": "麒麟 V10"}) for x in first.lines
        ]
        assert second.justification == first.justification
    assert tenant.send(f"/requests/{number}/keep", {"name": "办公云主机"}).status_code == 302
    assert "已有常用申请" in tenant.get(tenant.send(f"/requests/{number}/keep", {"name": "办公云主机"}).location).text
    assert "请填写名称" in tenant.get(tenant.send(f"/requests/{number}/keep", {"name": " "}).location).text
    with place.book.reading() as tx:
        kept = tx.scalar(select(RequestTemplate.id))
    page = tenant.get("/requests/new").text
    assert f'action="/requests/templates/{kept}/use"' in page
    assert "/edit" in tenant.send(f"/requests/templates/{kept}/use", {"key": "b" * 32}).location
    other = client_of("tenant2")
    assert f"/requests/templates/{kept}/use" not in other.get("/requests/new").text
    assert other.send(f"/requests/{number}/copy", {"key": "c" * 32}).status_code == 404
    with place.book.reading() as tx:
        before = tx.query(Request).count()
    assert tenant.send(f"/requests/templates/{kept}/end", {}).status_code == 302
    assert "已停用" in tenant.get(tenant.send(f"/requests/templates/{kept}/use", {"key": "d" * 32}).location).text
    with place.book.reading() as tx:
        assert tx.query(Request).count() == before
