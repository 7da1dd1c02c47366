"""整改 over HTTP: ordered from an incident and from a mark, planned, proven, refused, proven again, accepted; what each party
sees and may not do; how it is written about, what it costs, and what is wrong with what is sent."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from sqlalchemy import select

from console.api import calendars
from console.mail import mails
from console.tables import MailItem, MailSource
from providers import comments
from providers.assessment import (
    Rectification,
    RectificationState,
    RectificationStep,
    cards,
    company,
    formula,
    gathering,
    rectifications,
)
from providers.assessment.measures import EvidenceRow
from providers.assessment.scorecard import score
from providers.base import IncidentFact, Responsibility
from providers.billing import incidents
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Person, Pool
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from tests.console.test_house import check_page
from tests.quota.test_attachments import PDF

LATE = {"delivery": [EvidenceRow("order:1", {"number": "GD-1", "ok": False}), EvidenceRow("order:2", {"ok": True})]}
OPERATOR, CHIEF = Actor("provider1", "运维", Role.PROVIDER), Actor("authority1", "主任", Role.AUTHORITY)
SUPERVISOR = Actor("supervisor1", "监督", Role.SUPERVISOR)


@pytest.fixture
def operator(city) -> Actor:
    return Actor("provider1", "运维", Role.PROVIDER, provider_id=city.provider.id)


@pytest.fixture
def source(house, city, clock) -> str:
    """An incident that was settled as the company's."""
    with house.transaction(steward()) as tx:
        pool = Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网", xinchuang=True,
                    adapter="files")  # fmt: skip
        tx.add(pool)
        tx.flush()
        start = tx.now - timedelta(days=2)
        told = IncidentFact("G-1", 2, "登录缓慢", start, None, None, Responsibility.PROVIDER)
        found = incidents.report(tx, pool, told)
    with house.transaction(CHIEF) as tx:
        incidents.settle(tx, found.id, 1, Responsibility.PROVIDER, "监测记录")
    return f"incident:{found.id}"


@pytest.fixture
def ordered(house, source, clock) -> int:
    with house.transaction(SUPERVISOR) as tx:
        return rectifications.order(tx, source, "登录缓慢", "查明原因并扩容", (clock.now + timedelta(days=5)).date()).id


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def done(house, who: Actor, verb, number: int, **more) -> Rectification:
    with house.transaction(who) as tx:
        return verb(tx, number, None, **more)


def evidence(house, city, period: str) -> list[EvidenceRow]:
    with house.reading() as tx:
        return list(gathering.gather(tx, company(city.provider.id), period, by=formula.default())["rectification"])


def test_from_an_incident_to_acceptance(client_of, source, clock) -> None:
    supervisor, operator, chief = client_of(Role.SUPERVISOR), client_of(Role.PROVIDER), client_of(Role.AUTHORITY)
    number = source.partition(":")[2]
    assert f"/rectifications/new?source=incident:{number}" in seen(supervisor, f"/incidents/{number}")
    form = seen(supervisor, f"/rectifications/new?source={source}")
    assert "G-1" in form
    due = (clock.now + timedelta(days=5)).date()
    body = {"source": source, "title": "登录缓慢", "demand": "查明原因并扩容", "due_on": str(due)}
    made = supervisor.send("/rectifications/new", body)
    assert made.status_code == 302
    place = made.location
    assert "ZG-000001" in supervisor.send("/rectifications/new", body).text, "one is open already"
    assert "ZG-000001" in seen(operator, "/")
    assert "提交整改方案" in seen(operator, place)
    assert operator.send(f"{place}/proof", {"generation": 1, "text": "已完成"}).status_code == 422, "no plan yet"
    assert operator.send(f"{place}/plan", {"generation": 1, "text": "加两台登录节点"}).status_code == 302
    seen(operator, f"{place}/proof")
    assert "已被更新" in operator.send(f"{place}/plan", {"generation": 1, "text": "旧页面"}).text
    assert operator.send(f"{place}/proof", {"generation": 2, "text": "已扩容,附监测"}).status_code == 302
    assert "ZG-000001" in seen(supervisor, "/")
    page = seen(supervisor, f"{place}/review")
    assert "退回继续整改" in page
    assert supervisor.send(f"{place}/review", {"generation": 3, "text": "好"}).status_code == 422
    assert (
        supervisor.send(f"{place}/review", {"generation": 3, "accepted": "0", "text": "监测缺一天"}).status_code == 302
    )
    assert "监测缺一天" in seen(operator, place)
    assert operator.send(f"{place}/plan", {"generation": 4, "text": "补监测"}).status_code == 302
    assert operator.send(f"{place}/proof", {"generation": 5, "text": "已补"}).status_code == 302
    assert chief.send(f"{place}/review", {"generation": 6, "accepted": "1", "text": "属实"}).status_code == 302
    page = seen(operator, place)
    assert "整改通过" in page
    for said in ("加两台登录节点", "已扩容,附监测", "监测缺一天", "已补", "属实"):
        assert said in page, "nothing that was said is gone"
    assert "在办" in seen(chief, "/rectifications/?state=open")
    assert "ZG-000001" not in seen(chief, "/rectifications/?state=open")
    assert "ZG-000001" in seen(chief, "/rectifications/?state=accepted")


def test_it_is_found_by_its_number(client_of, ordered) -> None:
    supervisor = client_of(Role.SUPERVISOR)
    assert "登录缓慢" not in supervisor.get("/search?q=ZG-000099", follow_redirects=True).text
    for typed in (f"ZG-{ordered:06d}", f"zg-{ordered}"):
        assert f"ZG-{ordered:06d} 登录缓慢" in supervisor.get(f"/search?q={typed}", follow_redirects=True).text


def test_from_a_mark_that_cost_something(client_of, house, city, clock) -> None:
    with house.transaction(steward()) as tx:
        card = cards.keep(tx, company(city.provider.id), "2026-04", LATE, formula.default())
    supervisor = client_of(Role.SUPERVISOR)
    source = f"scorecard:{card.id}/delivery"
    assert f"source=scorecard:{card.id}/delivery" in seen(supervisor, f"/scorecards/{card.id}")
    assert 'value="2026-04 交付及时率"' in seen(supervisor, f"/rectifications/new?source={source}")
    body = {"source": source, "title": "交付及时率", "demand": "说明", "due_on": "2026-06-30"}
    assert supervisor.send("/rectifications/new", body).status_code == 302
    assert "考核评分 2026-04 · 交付及时率" in seen(supervisor, "/rectifications/")
    for client in (supervisor, client_of(Role.PROVIDER)):
        page = seen(client, f"/scorecards/{card.id}")
        assert "ZG-000001" in page
        assert f"source=scorecard:{card.id}/delivery" not in page
    with house.transaction(steward()) as tx:
        worse = {"delivery": [EvidenceRow("order:1", {"ok": False})]}
        newest = cards.keep(tx, company(city.provider.id), "2026-04", worse, formula.default())
    assert "ZG-000001" in seen(supervisor, f"/scorecards/{newest.id}"), (
        "a later version tells what was ordered on an earlier"
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": "incident:999"}, r"incident\.none"),
        ({"source": "resource:1"}, r"rectification\.source"),
        ({"source": "scorecard:1"}, r"rectification\.source"),
        ({"source": "incident:1; DROP"}, r"rectification\.source"),
        ({"title": "  "}, r"rectification\.title"),
        ({"demand": ""}, r"rectification\.demand"),
        ({"due": timedelta(0)}, r"rectification\.due"),
        ({"due": timedelta(days=400)}, r"rectification\.due"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(house, source, clock, changes, code) -> None:
    told = {"source": source, "title": "甲", "demand": "乙", "due": timedelta(days=3), **changes}
    due = (clock.now + told.pop("due")).date()
    with house.transaction(SUPERVISOR) as tx, pytest.raises((Invalid, NotFound), match=code):
        rectifications.order(tx, told["source"], told["title"], told["demand"], due)
    with house.reading() as tx:
        assert tx.scalars(select(Rectification)).all() == []


def test_nothing_is_ordered_about_what_cost_nobody_anything(house, city, source, clock) -> None:
    due = (clock.now + timedelta(days=3)).date()
    with house.transaction(steward()) as tx:
        pool = tx.scalars(select(Pool).where(Pool.code == "arm")).one()
        open_ = incidents.report(tx, pool, IncidentFact("G-2", 3, "慢", tx.now, None, None, Responsibility.PROVIDER))
        first = cards.keep(tx, company(city.provider.id), "2026-04", LATE, formula.default())
        good = {"delivery": [EvidenceRow("order:2", {"ok": True})]}
        second = cards.keep(tx, company(city.provider.id), "2026-04", good, formula.default())
    for about, code in (
        (f"incident:{open_.id}", "not_theirs"),
        (f"scorecard:{first.id}/delivery", "not_newest"),
        (f"scorecard:{second.id}/delivery", "full_mark"),
        (f"scorecard:{second.id}/nothing", "full_mark"),
    ):
        with house.transaction(SUPERVISOR) as tx, pytest.raises(Invalid, match=code):
            rectifications.order(tx, about, "甲", "乙", due)


def test_each_party_does_its_own(house, city, ordered, operator, clock) -> None:
    stranger = Actor("other", "别家", Role.PROVIDER, provider_id=city.provider.id + 1)
    tenant = Actor("tenant1", "经办", Role.TENANT, city.departments[0].id)
    for who in (stranger, tenant):
        with house.reading(who) as tx:
            assert tx.scalars(select(Rectification).where(rectifications.visible(tx, who))).all() == []
            with pytest.raises(NotFound, match=r"rectification\.none"):
                rectifications.rectification(tx, ordered)
    with house.transaction(stranger) as tx, pytest.raises(NotFound):
        rectifications.plan(tx, ordered, None, "甲")
    with house.transaction(SUPERVISOR) as tx, pytest.raises(NotAllowed):
        rectifications.plan(tx, ordered, None, "甲")
    with house.transaction(operator) as tx, pytest.raises(NotAllowed):
        rectifications.review(tx, ordered, None, accepted=True, text="自己通过")
    with house.transaction(SUPERVISOR) as tx, pytest.raises(WrongState, match="nothing_in"):
        rectifications.review(tx, ordered, None, accepted=True, text="没有证明")
    with house.transaction(SUPERVISOR) as tx, pytest.raises(Conflict, match="stale"):
        rectifications.withdraw(tx, ordered, 7, "旧页面")
    done(house, SUPERVISOR, rectifications.withdraw, ordered, text="责任有误")
    with house.transaction(operator) as tx, pytest.raises(WrongState, match=r"rectification\.state"):
        rectifications.plan(tx, ordered, None, "甲")


def test_what_it_costs_and_when(house, city, ordered, operator, clock) -> None:
    """Due on 3 June: nothing before; late in June and again in July while nothing was handed in; never for a slow review."""
    assert evidence(house, city, "2026-06") == []
    clock.now += timedelta(days=10)
    (row,) = evidence(house, city, "2026-06")
    assert (row.ref, row.facts["ok"]) == (f"rectification:{ordered}", False)
    mark = next(
        one for one in score({"rectification": [row]}, formula.default()).marks if one.indicator == "rectification"
    )
    assert (mark.figure, mark.deduction) == (0, 5), "all of its weight"
    clock.now += timedelta(days=28)  # July
    assert [one.facts["ok"] for one in evidence(house, city, "2026-07")] == [False], "still not put right"
    assert len(evidence(house, city, "2026-Q2")) == 1
    done(house, operator, rectifications.plan, ordered, text="方案")
    done(house, operator, rectifications.prove, ordered, text="证明")
    done(house, SUPERVISOR, rectifications.review, ordered, accepted=True, text="属实")
    assert [one.facts["ok"] for one in evidence(house, city, "2026-07")] == [False], "put right in July, after its day"
    clock.now += timedelta(days=30)
    assert evidence(house, city, "2026-08") == [], "over"


def test_its_day_is_the_one_that_is_shown_and_ends_with_it(client_of, house, city, source, clock) -> None:
    day = (clock.now.astimezone(ZONE) + timedelta(days=5)).date()
    with house.transaction(SUPERVISOR) as tx:
        one = rectifications.order(tx, source, "登录缓慢", "扩容", day)
        assert one.due_at.astimezone(ZONE).replace(tzinfo=None).isoformat() == f"{day}T23:59:59"
    page = seen(client_of(Role.PROVIDER), f"/rectifications/{one.id}")
    assert f"{day}" in page
    assert f"{day + timedelta(days=1)}" not in page


def test_proof_is_whole_when_it_is_handed_in(client_of, house, ordered, operator) -> None:
    """Files may come while it is the company's turn, not once it waits for the review."""
    client, place = client_of(Role.PROVIDER), f"/attachments/rectification/{ordered}/add"

    def add(name: str) -> int:
        return client.send(place, {"files": (io.BytesIO(PDF), name)}, content_type="multipart/form-data").status_code

    assert add("计划.pdf") == 302
    done(house, operator, rectifications.plan, ordered, text="方案")
    assert add("监测.pdf") == 302
    done(house, operator, rectifications.prove, ordered, text="证明")
    assert (add("补.pdf"), client.get(place).status_code) == (409, 409)
    page = seen(client, f"/rectifications/{ordered}")
    assert ("监测.pdf" in page, "补.pdf" in page, place in page) == (True, False, False)
    done(house, SUPERVISOR, rectifications.review, ordered, accepted=False, text="缺一天")
    assert add("补.pdf") == 302


def test_who_ordered_it_does_not_rule_on_the_dispute_about_it(client_of, house, city, source, ordered, clock) -> None:
    place = f"/rectifications/{ordered}"
    client_of(Role.PROVIDER).send(f"{place}/remark", {"text": "责任不在我方", "kind": "dispute"})
    with house.reading() as tx:
        number = comments.open_dispute(tx, f"rectification:{ordered}").id
    ruling = {"dispute": number, "upheld": "0", "text": "维持"}
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    assert "争议不成立" not in seen(supervisor, place)
    supervisor.send(f"{place}/rule", ruling)
    assert "作出决定的人不能裁定" in supervisor.get(place).text
    supervisor.send(f"/incidents/{source.partition(':')[2]}/rule", ruling)  # by the way of another page
    with house.reading() as tx:
        assert comments.open_dispute(tx, f"rectification:{ordered}") is not None
    assert "争议不成立" in seen(chief, place)
    chief.send(f"{place}/rule", {**ruling, "upheld": "1"})
    clock.now += timedelta(days=10)
    assert evidence(house, city, "2026-06") == [], "found right, the company is excused"


def test_a_slow_review_costs_nothing_and_a_refusal_does(house, city, ordered, operator, clock) -> None:
    done(house, operator, rectifications.plan, ordered, text="方案")
    done(house, operator, rectifications.prove, ordered, text="证明")
    clock.now += timedelta(days=10)
    assert [one.facts["ok"] for one in evidence(house, city, "2026-06")] == [True], "handed in by its day"
    done(house, SUPERVISOR, rectifications.review, ordered, accepted=False, text="不实")
    assert [one.facts["ok"] for one in evidence(house, city, "2026-06")] == [False]
    done(house, SUPERVISOR, rectifications.withdraw, ordered, text="责令有误")
    assert evidence(house, city, "2026-06") == [], "what was withdrawn costs nobody anything"


def test_who_is_written_to_and_whose_calendar_has_it(house, city, ordered, operator, clock) -> None:
    with house.transaction(steward()) as tx:
        for login in ("provider1", "supervisor1"):
            tx.scalars(select(Person).where(Person.login == login)).one().email = f"{login}@example.org"

    def told() -> list[tuple[str, str]]:
        with house.transaction(steward("job:mail")) as tx:
            made = mails.gather(tx)
            return [
                (one.source, mail.person.login)
                for mail in made
                for one in tx.scalars(select(MailItem).where(MailItem.mail_id == mail.id).order_by(MailItem.id))
            ]

    assert told() == [(MailSource.RECTIFICATION, "provider1")]
    assert told() == [], "once"
    with house.reading(operator) as tx:
        (entry,) = [one for one in calendars.due(tx, operator) if one.of == f"rectification:{ordered}"]
        assert entry.at == tx.get_one(Rectification, ordered).due_at
    clock.now += timedelta(days=4)
    assert told() == [(MailSource.RECTIFICATION_NEAR, "provider1")]
    clock.now += timedelta(days=2)
    assert sorted(told()) == [
        (MailSource.RECTIFICATION_LATE, "provider1"),
        (MailSource.RECTIFICATION_LATE, "supervisor1"),
    ]
    done(house, operator, rectifications.plan, ordered, text="方案")
    assert told() == [], "a plan waits for nobody"
    done(house, operator, rectifications.prove, ordered, text="证明")
    assert told() == [(MailSource.RECTIFICATION, "supervisor1")]
    with house.reading(operator) as tx:
        assert [one for one in calendars.due(tx, operator) if one.of == f"rectification:{ordered}"] == []
        steps = tx.scalars(select(RectificationStep.step).order_by(RectificationStep.id)).all()
    assert steps == [RectificationState.ORDERED, RectificationState.PLANNED, RectificationState.PROVEN]
