"""Clause 60 of cities' published rules, enacted as data: a head of each department answers for its cloud; a rule asks for one."""

from __future__ import annotations

import re
from datetime import date, timedelta

from console.reports.documents import Paragraph
from console.reports.inputs import Inputs
from console.reports.summary import summary
from metering.cases import notices
from metering.lake import Lake
from metering.reports import editions, periods, scopes
from providers.assessment import ScorecardRecord
from providers.assessment.cards import ScorecardEvidence
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.directory import HEADSHIP_FIELDS, Duty, Headship, headships
from tests.console.test_house import check_page
from tests.journeys.test_clauses import chief, enacted, fact, rule, submitted
from tests.journeys.test_requests import small

HEAD = {"duty": "head", "name": "张云", "title": "副局长", "phone": "0371-6600", "document": "教办〔2026〕3号"}


def test_60_a_head_of_each_department_answers_for_its_cloud(client_of, place, clock) -> None:
    reason = "须先登记单位负责人"
    enacted(client_of, clock, rule("headed", fact("headed", "==", False), outcome="refuse", reason=reason))
    tenant, today = client_of("tenant1"), clock.now.astimezone(ZONE).date()
    assert reason in submitted(tenant, place, **small(place, 1))[1]
    assert "没有登记负责人的单位" not in client_of(Role.SUPERVISOR).get("/").text, "nobody keeps the register yet"
    at = f"/departments/{place.department}/heads"
    for says, word in (
        ({"name": " "}, "姓名"),
        ({"phone": ""}, "电话或邮箱"),
        ({"since": str(today + timedelta(days=1))}, "不能晚于今天"),
        ({"duty": "king"}, "有效"),
        ({"title": "长" * 65}, "64"),
    ):
        answer = tenant.send(f"{at}/new", {**HEAD, "since": str(today), **says})
        assert (answer.status_code, word in answer.text) == (422, True), says
    assert client_of("tenant2").send(f"{at}/new", {**HEAD, "since": str(today)}).status_code == 404
    assert client_of(Role.PROVIDER).get(f"{at}/").status_code == 403
    assert tenant.send(f"{at}/new", {**HEAD, "since": str(today - timedelta(days=9))}).status_code == 302
    page = tenant.get(f"/departments/{place.department}").text
    check_page(at, page)
    assert "张云 · 副局长" in page
    assert not submitted(tenant, place, **small(place, 1))[1]
    home = client_of(Role.SUPERVISOR).get("/").text
    assert "没有登记负责人的单位（1）" in home
    assert "市水务局" in home
    missing = client_of(Role.SUPERVISOR).get("/departments/?head=none").text.partition('id="results"')[2]
    assert ("市水务局" in missing, "市教育局" in missing) == (True, False)

    # Another follows: the register keeps both, and each is told of the days that were theirs.
    early = {**HEAD, "name": "李风", "since": str(today - timedelta(days=9))}
    assert "须晚于前任" in tenant.send(f"{at}/new", early).text
    assert tenant.send(f"{at}/new", {**early, "since": str(today - timedelta(days=2))}).status_code == 302
    with place.book.reading() as tx:
        assert [(one.name, one.since, one.until) for one in headships.of_department(tx, place.department)] == [
            ("李风", today - timedelta(days=2), None), ("张云", today - timedelta(days=9), today - timedelta(days=3)),
        ]  # fmt: skip
        told = tx.query(AuditRecord).filter_by(action="department.appoint").order_by(AuditRecord.sequence).all()
        ended = {"name": "张云", "since": str(today - timedelta(days=9)), "until": str(today - timedelta(days=3))}
        assert [one.before for one in told] == [{}, ended], "who comes ends who was, and the trail says whom"
        then = headships.standing(tx, [place.department], today - timedelta(days=3))[place.department]
        assert [one.name for one in then.values()] == ["张云"]
        second = tx.query(Headship).filter_by(name="李风").one()
    shown = {act: tenant.get(f"/departments/heads/{second.id}/{act}").text for act in ("edit", "leave")}
    for page in shown.values():
        assert re.search(r'name="generation"[^>]* value="1"', page), "a browser sends back what the page was made from"
    edit = {"generation": "1", **HEAD, "name": "李风", "phone": "0371-7700"}
    assert tenant.send(f"/departments/heads/{second.id}/edit", edit).status_code == 302
    assert "已被他人更新" in tenant.send(f"/departments/heads/{second.id}/edit", edit).text
    leaving = {"generation": "2", "until": str(today)}
    assert client_of("tenant2").send(f"/departments/heads/{second.id}/leave", leaving).status_code == 404
    assert "任职日期与今天之间" in tenant.send(f"/departments/heads/{second.id}/leave", {**leaving, "until": str(today - timedelta(days=3))}).text  # fmt: skip
    assert tenant.send(f"/departments/heads/{second.id}/leave", leaving).status_code == 302
    assert not submitted(tenant, place, **small(place, 1))[1], "the last day counts"
    clock.advance(days=1)
    tenant = client_of("tenant1")
    assert reason in submitted(tenant, place, **small(place, 1))[1], "a day beyond it"
    assert "没有登记负责人的单位（1）" in tenant.get("/").text
    assert "0371-7700" in client_of(Role.AUDITOR).get(f"{at}/").text
    place.prove()


def test_a_letter_names_who_answered_for_the_department_on_its_day(client_of, place, clock) -> None:
    with place.book.transaction(steward()) as tx:
        letter = notices.write(tx, place.department, "", 5, 3)
        number, today = letter.id, tx.now.astimezone(ZONE).date()
    tenant = client_of("tenant1")
    for name, day in (("张云", today), ("李风", today + timedelta(days=1))):
        tenant.send(f"/departments/{place.department}/heads/new", {**HEAD, "name": name, "since": str(day)})
        clock.advance(days=1)
        tenant = client_of("tenant1")
    page = tenant.get(f"/notices/{number}").text
    assert ("张云" in page, "李风" in page) == (True, False)


def test_60_the_ledger_the_card_and_the_report_name_the_head(client_of, house, place, clock, tmp_path) -> None:
    Lake(tmp_path / "lake")
    place.machine(), place.machine(department_id=place.second)
    said = {name: HEAD.get(name, "") for name in HEADSHIP_FIELDS}
    with house.transaction(chief()) as tx:
        first = headships.appoint(tx, place.department, Duty.HEAD, said, tx.now.date()).id
    clock.advance(days=31)
    supervisor = client_of(Role.SUPERVISOR)
    for code in ("A01", "A02"):
        body = {"kind": "department", "code": code, "period": "2026-06"}
        assert supervisor.send("/rankings/new", body).status_code == 302
    with house.reading() as tx:
        cards = {one.whose_code: one.id for one in tx.query(ScorecardRecord).filter_by(month="2026-06")}
        head = tx.query(ScorecardEvidence).filter_by(ref="ledger:(head)")
        rows = {one.scorecard_id: one.facts for one in head}
    assert rows == {
        cards["A01"]: {"system": "", "count": 1, "good": 1},
        cards["A02"]: {"system": "", "count": 1, "good": 0, "lacks_head": True},
    }
    page = supervisor.get(f"/scorecards/{cards['A01']}").text
    check_page("/scorecards", page)
    assert "张云、副局长" in page
    assert "未登记" in supervisor.get(f"/scorecards/{cards['A02']}").text
    assert "缺单位负责人" in supervisor.get(f"/scorecards/{cards['A02']}/ledger").text

    def told():
        with house.reading(steward()) as tx:
            whose = scopes.scope(tx, "department:A01")
            frame = editions._frame(tx, str(tmp_path / "lake"), whose, periods.period("2026-06"), None)
            inputs = Inputs(editions.gather(frame), lambda text, **params: text % params if params else text, ZONE)
            return next(one.text for one in summary(inputs) if isinstance(one, Paragraph))

    assert told() == "单位负责人：张云 副局长。"
    with house.transaction(chief()) as tx:
        headships.amend(tx, first, {**said, "title": "局长"}, generation=1)
    with house.transaction(chief()) as tx:
        headships.leave(tx, first, date(2026, 6, 20), generation=2)
    assert told() == "单位负责人：张云 副局长。", "as it was known at the month's end"
    place.prove()
