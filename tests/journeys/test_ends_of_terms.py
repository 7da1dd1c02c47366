"""The end of a term over HTTP: a rule says what it leads to, the department is asked, and what it leaves open is heard as a case."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from console import worklist
from metering import cases
from metering.cases import Case, CaseState, Ending, certificates, openings
from metering.judging import findings, policies
from metering.judging.policy import Verdict
from metering.lake import Lake
from metering.workbench import Workbench
from providers import orders
from providers.orders.ended_terms import TERM
from quota import requests
from quota.actors import Actor, Role, steward
from quota.errors import Invalid
from quota.inventory import GivenAnswer, Inquiry, InquiryItem, Resource, inquiries
from quota.inventory.resources import reassign
from quota.requests import kinds
from quota.requests.tables import Request
from quota.units import VCPU, Amount
from tests.console.test_house import check_page
from tests.journeys.test_clauses import enacted, fact, rule
from tests.journeys.test_requests import decide, generation, handed_in, small, state

ENDS = {"limit": 5, "unit": "working_days", "then": "case"}
PURPOSES = fact("purpose", "in", ["test", "development", "emergency"])
WHY = "验收推迟,测试环境还要用一个月"


@pytest.fixture
def works(house, settings) -> Workbench:
    return Workbench(house, Lake(settings.lake_dir), settings.data)


@pytest.fixture
def machines(client_of, place, city, clock):
    """Enacts the rule; files what is asked for, hands it over, and says which resource it became."""
    enacted(client_of, clock, rule("ends", PURPOSES, outcome="end", ending=ENDS))
    form = f"/requests/new/create?pool={place.pool}"
    assert "未答的可以立案" in client_of(Role.TENANT).get(form).text
    with place.book.transaction(steward()) as tx:
        place.policy = policies.seed(tx).id
    made = []

    def of(purpose: str, days: int = 20, count: int = 1, **more) -> tuple[int, ...]:
        until = str(clock.now.date() + timedelta(days=days))
        number = handed_in(
            client_of(Role.TENANT), place, more_purpose=purpose, use_until=until, **small(place, count), **more
        )
        for login in ("supervisor1", "supervisor2"):
            decide(client_of(login), number)
        return number, *delivered(number)

    def delivered(number: int) -> list[int]:
        with place.book.transaction(steward()) as tx:
            placed = [one.id for one in orders.place_for_request(tx, tx.get(Request, number))]
        company = Actor("provider1", "商", Role.PROVIDER, provider_id=city.companies["jia"])
        for order_id in placed:
            made.append(order_id)
            with place.book.transaction(company) as tx:
                order = orders.order(tx, order_id)
                has = order.approved()
                name = order.resource.external_id if order.resource else f"vm-{len(made)}"
                orders.mark_delivered(tx, order.id, order.generation, external_id=name, has=has)
        with place.book.reading() as tx:
            bases = [f"order:{one}" for one in placed]
            return list(tx.scalars(select(Resource.id).where(Resource.basis.in_(bases)).order_by(Resource.id)))

    of.delivered = delivered

    return of


def asked(place) -> dict[int, list[str]]:
    """What the job asks anew: inquiry → names of its resources."""
    with place.book.transaction(steward("job:expire")) as tx:
        return {one.id: one.number for one in orders.ended_terms.ask(tx)}


def opened(place, verdicts) -> tuple[list[int], dict[str, int]]:
    """The cases that the job opens, and why not others; the resources judged as told."""
    return openings.open_terms(place.book, place.judge(verdicts))


def answered(client, page: str, **said):
    ids = re.findall(r'name="id" value="(\d+)"', client.get(page).text)
    return client.send(page, {"id": ids[:1], **said})


def test_1_what_is_left_after_its_term_becomes_a_case_and_an_extension_ends_it(
    client_of, place, clock, machines, monkeypatch
):
    number, machine = machines("test")
    machines("production", count=2)
    machines("test", days=200)
    clock.advance(days=20)  # its last day
    assert not asked(place)
    clock.advance(days=1)
    (inquiry,) = asked(place)
    assert not asked(place), "once for each end"
    more = rule(
        "others", fact("purpose", "==", "production"), outcome="end", ending=ENDS, effective_from=str(clock.now.date())
    )
    tried = json.dumps({"format": "guanjia-approval-rules/1", "rules": [more]})
    chief = client_of("authority1")
    drafted = chief.get(chief.send("/rules/import", {"document": tried, "reason": "市政府办公厅文件"}).location).text
    check_page("draft", drafted)
    assert re.search(r"会立即征询的资源.*?>\s*2\s*<.*?其中不答复将立案 2 项", drafted, re.S), (
        "what is asked about already is not counted"
    )
    tenant, page = client_of(Role.TENANT), f"/inquiries/{inquiry}"
    assert "待答复的征询" in tenant.get("/").text
    told = tenant.get(page).text
    check_page(page, told)
    assert "使用期限已满" in told
    assert "SQ-2026-00000" in told, "the request whose term is over"
    assert str(clock.now.date() - timedelta(days=1)) in told, "its last day"
    assert "立案，按案件程序由有权的人裁定" in told, "and what follows silence"
    assert told.count('name="id" value=') == 1
    assert answered(tenant, page, answer="extend", reason=WHY).status_code == 422, "until when is not said"
    assert opened(place, {machine: Verdict.NORMAL}) == ([], {}), "it has its time to answer"
    clock.advance(days=8)
    run = {machine: Verdict.NORMAL}
    with monkeypatch.context() as patched:
        patched.setattr(openings, "_open_term", None)
        patched.setattr(openings.Ceilings, "of", classmethod(lambda cls, *_: cls(0, 0.0, 9, 99.0)))
        assert opened(place, run) == ([], {"run_ceiling": 1}), "and nothing is written for it"
    (case_id,), skipped = opened(place, run)
    assert skipped == {}
    assert opened(place, run) == ([], {"open_case": 1})
    with place.book.reading() as tx:
        one = tx.get_one(Case, case_id)
        ground = certificates._figures(tx, one, tx.now)["term"]
        assert ground["number"] == one.term.number
        assert ground["inquiry"] == tx.get_one(Inquiry, inquiry).number
        assert (ground["until"], ground["rule"]) == (one.term.use_until, "ends@1")
    with place.book.reading() as tx:
        one = tx.get_one(Case, case_id)
        assert (one.kind, one.state, one.term_id) == ("reclaim", "detected", number)
    page = client_of("supervisor1").get(f"/cases/{case_id}").text
    check_page(f"/cases/{case_id}", page)
    assert "期满征询后未办结" in page
    assert f'href="/requests/{number}"' in page
    groups = client_of("supervisor1").get("/batches/").text
    group = re.search(r'href="(/batches/review/reclaim/term-normal/\d+)"', groups).group(1)
    assert f"/cases/{case_id}" in client_of("supervisor1").get(group).text
    judged = client_of("supervisor1").get(group.replace("term-", "")).text
    assert f"/cases/{case_id}" not in judged, "one that was judged is another group"
    for cause, there in (("term", True), ("finding", False)):
        assert (f"/cases/{case_id}" in client_of("supervisor1").get(f"/cases/?cause={cause}").text) == there
    # Asked for late, but asked for: it waits, and ends with the term that is granted.
    until = str(clock.now.date() + timedelta(days=30))
    with place.book.reading() as tx:
        shown = tx.get_one(Inquiry, inquiry)
        assert shown.state == "open"
    late = answered(client_of(Role.TENANT), f"/inquiries/{inquiry}", answer="extend", reason=WHY, until=until)
    assert late.status_code == 302
    with place.book.reading() as tx:
        extension = tx.scalar(select(Request.id).where(Request.extends_id == number))
    with place.book.transaction(steward()) as tx:
        cases.advance(tx)
        assert tx.get_one(Case, case_id).state == CaseState.DETECTED
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), extension)
    assert state(place, extension) == "done"
    with place.book.transaction(steward()) as tx:
        cases.advance(tx)
        one = tx.get_one(Case, case_id)
        assert (one.state, one.ending) == (CaseState.CLOSED, Ending.EXTENDED)
        assert tx.get_one(Resource, machine).state == "running"
        for_good = orders.ended_terms.must_be_over(tx, Request(use_until=None))
        assert (for_good.code, for_good.sentence()) == ("term.extended", "使用期限已改为长期")
    clock.advance(days=31)
    assert asked(place), "of the new end anew"
    place.prove()


def test_who_has_it_since_is_asked_and_may_ask_for_longer(client_of, place, city, clock, machines):
    number, machine = machines("test")
    clock.advance(days=21)
    (former,) = asked(place)
    second = city.departments[1].id
    with place.book.transaction(steward()) as tx:
        reassign(tx, [machine], second, source="owner.assign")
    clock.advance(days=8)
    assert opened(place, {machine: Verdict.NORMAL}) == ([], {}), "who has it now was not asked"
    (inquiry,) = asked(place)
    assert not asked(place)
    with place.book.transaction(steward()) as tx:
        inquiries.sweep(tx)
        assert (tx.get_one(Inquiry, former).state, tx.get_one(Inquiry, inquiry).department_id) == ("answered", second)
    until = str(clock.now.date() + timedelta(days=30))
    heir = client_of("tenant2")
    sent = answered(heir, f"/inquiries/{inquiry}", answer="extend", reason=WHY, until=until)
    assert sent.status_code == 302, re.findall(r'class="gj-error.*?</', sent.text, re.S)
    with place.book.reading() as tx:
        extension = tx.scalar(select(Request.id).where(Request.extends_id == number, Request.department_id == second))
    page = heir.get(f"/requests/{extension}").text
    assert f'href="/requests/{number}"' not in page, "it is another's"
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), extension)
    with place.book.reading() as tx:
        assert str(tx.get_one(Request, number).use_until) == until
    place.prove()


def test_one_extension_covers_every_machine_of_a_request_as_far_as_it_goes(client_of, place, clock, machines):
    """By rule, so that the term has moved when the second machine's answer comes; and by signatures, where it is under way."""
    passing = {"all": [fact("kind", "==", "extend"), fact("term_days", "<=", 30)]}
    enacted(client_of, clock, rule("longer", passing, outcome="pass"))
    number, *both = machines("test", count=2)
    assert len(both) == 2
    clock.advance(days=21)
    (inquiry,) = asked(place)
    tenant, page = client_of(Role.TENANT), f"/inquiries/{inquiry}"
    until = str(clock.now.date() + timedelta(days=30))
    sent = tenant.send(page, {"every": "y", "answer": "extend", "reason": WHY, "until": until})
    assert sent.status_code == 302, re.findall(r'class="gj-error.*?</', sent.text, re.S)
    with place.book.reading() as tx:
        (extension,) = tx.scalars(select(Request).where(Request.extends_id == number))
        items = tx.scalars(select(InquiryItem).where(InquiryItem.inquiry_id == inquiry)).all()
        assert {one.outcome for one in items} == {extension.subject}
        assert str(tx.get_one(Request, number).use_until) == until
    clock.advance(days=31)
    (inquiry,) = asked(place)
    tenant, page = client_of(Role.TENANT), f"/inquiries/{inquiry}"
    near, far = (str(clock.now.date() + timedelta(days=days)) for days in (60, 90))
    assert answered(tenant, page, answer="extend", reason=WHY, until=near).status_code == 302
    department = Actor("tenant1", "单", Role.TENANT, department_id=place.department)
    with place.book.transaction(department) as tx:
        (item,) = tx.scalars(select(InquiryItem).where(InquiryItem.inquiry_id == inquiry, InquiryItem.answer == ""))
        (longer,) = TERM.answers[:1]
        with pytest.raises(Invalid) as refused:
            longer.does(tx, item, GivenAnswer("extend", WHY, until=date.fromisoformat(far)))
        assert refused.value.code == "term.extending_less"
        assert longer.does(tx, item, GivenAnswer("extend", WHY, until=date.fromisoformat(near))).startswith("request:")


def test_the_end_of_a_shape_is_asked_about_and_takes_nothing(client_of, place, clock, machines):
    _number, machine = machines("test", days=300)
    until = clock.now.date() + timedelta(days=20)
    department = Actor("tenant1", "单", Role.TENANT, department_id=place.department)
    with place.book.transaction(department) as tx:
        has = tx.get_one(Resource, machine).counts()
        line = requests.Line(current=has, asked=has + Amount({VCPU: 2}))
        wanted = requests.Ask(
            kind=kinds.RESIZE, department_id=place.department, pool_id=place.pool, lines=[line], justification=WHY,
            resource_id=machine, use_until=until,
        )  # fmt: skip
        request = requests.draft(tx, wanted)
        shape = requests.submit(tx, request, generation=request.generation).id
    enacted(client_of, clock, rule("shapes", fact("kind", "==", "resize"), outcome="end", ending=ENDS))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), shape)
    machines.delivered(shape)
    assert not asked(place)
    clock.advance(days=21)
    (inquiry,) = asked(place)
    clock.advance(days=9)
    tenant = client_of(Role.TENANT)
    assert opened(place, {machine: Verdict.NORMAL}) == ([], {}), "the machine itself was granted"
    later = str(clock.now.date() + timedelta(days=40))
    assert answered(tenant, f"/inquiries/{inquiry}", answer="extend", reason=WHY, until=later).status_code == 302
    with place.book.reading() as tx:
        assert tx.scalar(select(Request.extends_id).where(Request.kind == "extend")) == shape
    assert not asked(place)
    place.prove()


def test_what_was_asked_for_in_time_stays_and_a_refusal_leads_to_a_case(client_of, place, clock, machines):
    number, machine = machines("development")
    clock.advance(days=15)
    tenant = client_of(Role.TENANT)
    key = re.search(r'name="key"[^>]*value="(\w+)"', tenant.get(f"/requests/new/extend?request={number}").text).group(1)
    until = str(clock.now.date() + timedelta(days=60))
    form = {"key": key, "justification": WHY, "use_until": until}
    sent = tenant.send(f"/requests/new/extend?request={number}", form)
    extension = int(re.search(r"/requests/(\d+)/check", sent.location).group(1))
    tenant.send(f"/requests/{extension}/submit", {"generation": generation(tenant, extension, "/check")})
    for _week in range(6):  # our own delay ends nothing
        clock.advance(days=7)
        assert not asked(place)
        assert opened(place, {machine: Verdict.NORMAL}) == ([], {})
    decide(client_of("supervisor1"), extension, "reject", "项目已终止")
    (inquiry,) = asked(place)
    back = answered(client_of(Role.TENANT), f"/inquiries/{inquiry}", answer="unsubscribe", reason="业务已下线")
    assert back.status_code == 302
    clock.advance(days=10)
    assert opened(place, {machine: Verdict.NORMAL}) == ([], {"open_request": 1})
    with place.book.reading() as tx:
        back = tx.scalar(select(Request.id).where(Request.kind == "unsubscribe"))
    decide(client_of("supervisor1"), back, "reject", "请先迁移数据")
    (case_id,), _skipped = opened(place, {machine: Verdict.NORMAL})
    heard(client_of, place, clock, case_id)


def heard(client_of, place, clock, case_id: int) -> None:
    """A machine in use goes through the hearing: silence decides nothing, a ruling by somebody else does, and it is stopped then."""

    def do(login, act, **typed):
        client = client_of(login)
        shown = client.get(f"/cases/{case_id}/{act}").text
        seen = re.search(r'name="generation"[^>]*value="(\d+)"', shown).group(1)
        answer = client.send(f"/cases/{case_id}/{act}", {"generation": seen, **typed})
        assert answer.status_code == 302, re.findall(r'class="gj-error.*?</', answer.text, re.S)

    do("supervisor1", "review")
    steward1 = client_of("supervisor1")
    with place.book.reading() as tx:
        seen = tx.get_one(Case, case_id).generation
    sent = steward1.send("/notices/new", {"case": f"{case_id}:{seen}", "text": "请答复", "confirmed": "1"})
    assert sent.status_code == 302
    assert "期满征询后未办结" in client_of(Role.TENANT).get(sent.location).text
    for _half in range(2):
        clock.advance(days=20)
        with place.book.transaction(steward()) as tx:
            cases.advance(tx)
    with place.book.reading() as tx:
        one = tx.get_one(Case, case_id)
        assert (one.state, one.matter, one.resource.state) == ("disputed", "silence", "running")
    do("supervisor2", "rule", decision="proceed", reason="使用期限已满两个月,使用单位两次未答复,予以回收")
    do("supervisor1", "act", sure="y")
    with place.book.reading() as tx:
        one = tx.get_one(Case, case_id)
        assert (one.state, one.step) == (CaseState.ORDERED, "snapshot")
    place.prove()


def test_the_jobs_ask_and_open_and_the_form_says_the_same_as_the_document(
    client_of, place, clock, machines, works, settings
):
    _number, machine = machines("emergency", days=1)
    clock.advance(days=2)
    assert worklist.run_once(works, settings, "expire").value == "done"
    with place.book.reading() as tx:
        (inquiry,) = tx.scalars(select(Inquiry)).all()
        assert (inquiry.purpose, inquiry.asked_by) == ("term", "job:expire")
    clock.advance(days=9)
    with place.book.reading() as tx:
        assert findings.last_run(tx) is None
    assert worklist.run_once(works, settings, "open_cases").value == "done"
    with place.book.reading() as tx:
        (case,) = tx.scalars(select(Case)).all()
        assert (case.resource_id, case.finding.verdict) == (machine, "unknown")
    chief = client_of("authority1")
    page = chief.get("/rules/ends/enact").text
    form = {"code": "ends", "shown": "1", "name": "期满", "basis": "办法", "effective_from": str(clock.now.date()), "priority": "60",
            "outcome": "end", "then": "question", "answer_unit": "months", "answer_limit": "",
            **{f"groups-0-rows-0-{name}": said for name, said in (("fact", "purpose"), ("op", "in"), ("value", "test、event"))}}  # fmt: skip
    assert 'value="5"' in page
    assert "请填写时限" in chief.send("/rules/ends/enact", form).text
    assert "至多 90 个工作日、150 天、5 个月" in chief.send("/rules/ends/enact", {**form, "answer_limit": "9"}).text
    sent = chief.send("/rules/ends/enact", {**form, "answer_limit": "2", "step": "confirm"})
    assert client_of("authority2").send(f"{sent.location}/sign", {}).status_code == 302
    check_page("/rules/ends", chief.get("/rules/ends").text)
    assert "使用期满征询：2 个月内答复" in chief.get("/rules/ends").text
    (written,) = [one for one in json.loads(chief.get("/rules/export.json").text)["rules"] if one["code"] == "ends"]
    assert written["ending"] == {"limit": 2, "unit": "months", "then": "question"}
