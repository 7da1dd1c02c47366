"""Departments, systems and the steward assessed by the machinery of companies, over HTTP: scored from what the book knows, published
as a ranking, read by whom it concerns, appealed and ruled on, exported for the year."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from console import scoring
from console.cli.providers import verify
from metering import cases
from metering.cases import exemptions
from metering.cases.exemptions import Category
from metering.intake import PushSource
from metering.judging import Procedure, Verdict
from metering.lake import Lake
from metering.visits import SystemVisits
from metering.workbench import Workbench
from providers import comments
from providers.assessment import (
    STEWARD,
    EvidenceRow,
    ScorecardRecord,
    SubjectType,
    appeals,
    bundles,
    cards,
    department,
    formula,
    formula_documents,
    formulas,
    gathering,
    periods,
    records,
    rectifications,
    registry,
    system,
)
from providers.assessment.scorecard import score
from quota.actors import Actor, Role, steward
from quota.directory import Pool, System, departments
from quota.errors import Invalid, NotAllowed, NotFound
from quota.inventory import Resource, inquiries, owners
from quota.requests import Line, submission
from quota.units import VCPU
from tests.city import CONSOLE_POOL, City
from tests.city.cases import SHAPE
from tests.console.test_house import check_page

STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)
MONTH, QUARTER = "2026-05", "2026-Q2"
SHOWN = re.compile(r'name="shown"[^>]* value="([0-9a-f]*)"')
AT_THE_END = ("idle", "ledger", "domestic", "protection")
PORTAL = replace(
    CONSOLE_POOL, judged=True, systems={"portal": ("P1", "门户", "first"), "pipes": ("P2", "管网", "second")}
)


@pytest.fixture
def place(house, city, clock) -> City:
    """Two departments with machines: the first has an idle one and a system that was not assessed, the second neither."""
    found = city.copied(house, clock)
    found.add(PORTAL)
    first = [found.machine(system_id=found.portal), found.machine(system_id=found.portal)]
    second = [found.machine(department_id=found.second, system_id=found.pipes)]
    with house.transaction(steward()) as tx:
        for one in tx.scalars(select(System)):
            one.owner, one.phone, one.users = "张", "0371-1", "公众"
        tx.get_one(System, found.portal).mlps_level = 3
    verdicts = {first[0]: Verdict.IDLE, first[1]: Verdict.NORMAL, second[0]: Verdict.NORMAL}
    found.judge(verdicts, means=dict.fromkeys(verdicts, 20.0), frees={first[0]: SHAPE})
    return found


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def sheet(client, address: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(client.get(f"{address}?export=csv").data.decode("utf-8-sig"))))


def scored(house, period: str = MONTH) -> dict[str, ScorecardRecord]:
    with house.reading() as tx:
        rows = tx.scalars(
            select(ScorecardRecord).where(ScorecardRecord.month == period).order_by(ScorecardRecord.revision)
        )
        return {one.whose_code: one for one in rows if one.marks}


def published(client, kind: str, period: str = MONTH):
    page = seen(client, f"/rankings/publish?kind={kind}&period={period}")
    shown = SHOWN.search(page)[1]
    return client.send("/rankings/publish", {"kind": kind, "period": period, "shown": shown})


def test_12_and_63_departments_are_scored_ranked_published_and_appeal(client_of, house, place) -> None:
    """Clause 12: how well it uses what it has is part of the assessment of the department; 63: each sees its own."""
    supervisor, chief, mine = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY), client_of(Role.TENANT)
    assert "没有代码为“X9”" in supervisor.send("/rankings/new", {"kind": "system", "code": "X9", "period": MONTH}).text
    assert supervisor.send("/rankings/new", {"kind": "department", "period": "2026-5"}).status_code == 422
    assert supervisor.send("/rankings/new", {"kind": "department", "period": MONTH}).status_code == 302
    found = scored(house)
    marks = {code: {mark.indicator: mark.mark is not None for mark in card.marks} for code, card in found.items()}
    assert {name for name, told in marks["A01"].items() if told} == {"idle", "ledger", "protection", "domestic"}
    assert found["A01"].total < found["A02"].total, "idle machines and a system that nobody assessed cost"
    assert found["A01"].formula_version == "default-department-11"
    assert "市教育局" in seen(supervisor, "/rankings/")
    assert "还没有评分" in seen(mine, "/rankings/"), "nothing is told before it is published"
    assert mine.send("/rankings/publish", {"kind": "department", "period": MONTH}).status_code == 403
    stale = chief.send("/rankings/publish", {"kind": "department", "period": MONTH, "shown": "0" * 64})
    assert (stale.status_code, "已被更新" in stale.text, "市教育局" in stale.text) == (422, True, True)
    blind = chief.send("/rankings/publish", {"kind": "department", "period": MONTH})
    assert (blind.status_code, "已被更新" in blind.text) == (422, True), "nothing is published that no page showed"
    assert (
        SHOWN.search(blind.text)[1] == SHOWN.search(seen(chief, f"/rankings/publish?kind=department&period={MONTH}"))[1]
    )
    assert "本单位考核" not in seen(mine, "/"), "home tells no drafts"
    assert published(chief, "department").status_code == 302
    assert "没有可以公示的评分" in chief.send("/rankings/publish", {"kind": "department", "period": MONTH}).text
    assert "还没有评分" not in seen(mine, "/rankings/")

    page = seen(mine, "/rankings/")
    assert re.findall(r"市水务局|市教育局", page.partition('id="results"')[2])[:2] == ["市水务局", "市教育局"], (
        "the best first"
    )
    own, others = f"/scorecards/{found['A01'].id}", f"/scorecards/{found['A02'].id}"
    assert (own in page, others in page) == (True, False)
    assert mine.get(others).status_code == 404
    assert "申诉" in seen(mine, own)
    assert "本单位考核" in seen(mine, "/")
    assert "门户" in seen(mine, f"{own}/idle")
    assert client_of(Role.PROVIDER).get(own).status_code == 404
    assert not bundles.faults(mine.get(f"{own}/bundle.json").data)

    ref = "protection:mlps/P1"
    page = seen(mine, f"{own}/appeal")
    assert ref in page
    assert "idle:P1/vcpu" in page
    assert mine.send(f"{own}/appeal", {"text": "五月已测评,报告见附件", "refs": [ref]}).status_code == 302
    assert "只能申诉一次" in mine.send(f"{own}/appeal", {"text": "再来"}).text
    assert client_of("tenant2").send(f"{own}/appeal", {"text": "别家的"}).status_code == 404
    ruling = {"upheld": "1", "struck": [ref], "ruling": "报告属实"}
    assert "出具评分的人" in supervisor.send(f"{own}/ruling", ruling).text
    assert "市教育局" in seen(client_of("supervisor2"), "/")
    assert client_of("supervisor2").send(f"{own}/ruling", ruling).status_code == 302
    again = scored(house)["A01"]
    assert (again.revision, again.published) == (2, False)
    assert again.total > found["A01"].total
    stands = {row["被考核方"]: Decimal(row["总分"]) for row in sheet(mine, "/rankings/")}
    assert stands["市教育局"] == found["A01"].total, "until the new version is published"
    with house.transaction(steward()) as tx:
        assert ref not in {row.ref for row in gathering.gather(tx, department(place.first), MONTH)["protection"]}
        assert list(cards.check(tx)) == []


def test_the_years_ranking_and_its_exports(client_of, house, place, clock) -> None:
    chief, supervisor = client_of(Role.AUTHORITY), client_of(Role.SUPERVISOR)
    assert supervisor.send("/rankings/new", {"kind": "department", "period": QUARTER}).status_code == 302
    page = seen(chief, "/rankings/year/2026")
    assert ("另有 2 份最新评分尚未公示" in page, "市教育局" in page) == (True, False), "no drafts in the year's sheet"
    assert published(chief, "department", QUARTER).status_code == 302
    assert "尚未公示" not in seen(chief, "/rankings/year/2026")
    page = seen(client_of("tenant2"), "/rankings/year/2026")
    assert "二季度" in page
    rows = {row["代码"]: row for row in sheet(client_of("tenant2"), "/rankings/year/2026")}
    assert (rows["A02"]["名次"], rows["A01"]["名次"]) == ("1", "2")
    assert rows["A01"]["二季度"] == rows["A01"]["年度总分"] != ""
    listed = chief.get("/rankings/?export=xlsx")
    assert listed.mimetype.endswith("spreadsheetml.sheet")
    assert chief.get("/rankings/year/1999").status_code == 404


def test_13_and_55_systems_and_the_steward_have_cards_of_their_own(client_of, house, place) -> None:
    """Clause 13: systems graded by weighted indicators of their use; 55: who supervises is assessed, too."""
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    made = supervisor.send("/rankings/new", {"kind": "system", "code": "P1", "period": MONTH})
    assert made.status_code == 302
    told = re.sub(r"(<[^>]+>|\s)+", " ", seen(supervisor, f"{made.location}/cpu_use"))
    assert re.search(r"指标值 .{0,20}?\b20 %", told), told
    with house.transaction(steward()) as tx:
        # 20 % of cores in the mean against 30 %: ten points of twenty are left.
        card = cards.of(tx, system(place.portal), MONTH)
        assert next(mark.deduction for mark in card.marks if mark.indicator == "cpu_use") == Decimal(10)
        portal, last = tx.get_one(System, place.portal), periods.last_day(MONTH, tx.now)

        def active() -> tuple[Decimal, dict[str, Any]] | None:
            rows = gathering.gather(tx, system(place.portal), MONTH)["active_users"]
            known = registry.find("active_users")
            return (known.measure.compute(rows, known.limits).deduction, dict(rows[0].facts)) if rows else None

        portal.registered_users, portal.monthly_active_users = 200, None
        assert active() is None, "nobody said how many come"
        portal.monthly_active_users = 30
        typed = {"users": 30, "registered": 200, "basis": "typed", "source": "", "on": None}
        assert active() == (Decimal(5), typed)  # 15 % against 20 %
        pool = tx.scalars(select(Pool.id)).first()
        tx.add(
            PushSource(
                id=9, code="sso", name="统一认证", pool_id=pool, token_digest="d", created_by="x", created_at=tx.now
            )
        )
        tx.flush()
        for day, count in (
            (last - timedelta(days=7), 3),
            (last - timedelta(days=6), 20),
            (last + timedelta(days=1), 999),
        ):
            tx.add(SystemVisits(system_id=portal.id, source_id=9, kind="users", day=day, count=count, known_s=0))
        tx.flush()
        told = {"users": 20, "basis": "measured", "source": "统一认证", "on": (last - timedelta(days=6)).isoformat()}
        assert active() == (Decimal(10), {**typed, **told})
    assert client_of("tenant2").get(made.location).status_code == 404
    assert "门户" in seen(client_of(Role.TENANT), made.location)

    made = supervisor.send("/rankings/new", {"kind": "steward", "period": MONTH})
    assert "运营监督方" in seen(supervisor, made.location)
    company = client_of(Role.PROVIDER)
    assert company.get(made.location).status_code == 404
    assert published(chief, "steward").status_code == 302
    assert "运营监督方" in seen(company, "/rankings/")
    assert "运营监督方" in seen(company, made.location)
    assert company.send(f"{made.location}/appeal", {"text": "不服"}).status_code == 422
    assert company.get(f"{made.location}/bundle.json").status_code == 403
    assert supervisor.get(f"{made.location}/bundle.json").status_code == 200
    assert "这里只列您可以查看的" in seen(company, f"{made.location}/coverage")
    assert sheet(company, f"{made.location}/coverage")
    with house.reading() as tx:
        assert not appeals.may_file(tx, STAFF, STEWARD)
        coverage = next(mark for mark in cards.of(tx, STEWARD, MONTH).marks if mark.indicator == "coverage")
        assert (coverage.figure, coverage.deduction) == (1, 0)


def test_replies_and_turns_are_held_to_their_days(house, place, clock) -> None:
    """A letter that was not answered costs the department; an objection and a silence that nobody ruled on cost the steward."""
    tenant = Actor("tenant1", "员", Role.TENANT, department_id=place.first)
    opened = place.open({place.machine(): Verdict.IDLE, place.machine(): Verdict.IDLE})
    with house.transaction(STAFF) as tx:
        many = [cases.case(tx, one) for one in opened]
        for one in many:
            cases.review(tx, one, generation=one.generation)
        cases.issue(tx, many, generations={one.id: one.generation for one in many})
    with house.transaction(tenant) as tx:
        cases.reply(
            tx,
            cases.case(tx, opened[0]),
            cases.Answer.OBJECT,
            reason="月末结算批处理专用,平时不运行",
            evidence="见日志",
        )
    for days in (8, 8):  # reminded, then silent
        place.advance(days=days)
    clock.advance(days=44)
    with house.transaction(Actor("supervisor2", "督", Role.SUPERVISOR)) as tx:
        cases.rule(tx, cases.case(tx, opened[0]), cases.RulingDecision.EXEMPT, "确有结算安排,准予豁免一季,届时再评估",
                   category=Category.SEASONAL, until=date(2026, 9, 30), last_peak="六月 80%")  # fmt: skip
    months = ("2026-06", "2026-07")
    with house.reading() as tx:
        told = [row for month in months for row in gathering.gather(tx, department(place.first), month)["replies"]]
        assert [(row.facts["count"], row.facts["good"]) for row in told] == [(2, 1)]
        steward_s = {month: gathering.gather(tx, STEWARD, month) for month in months}
        turns = [row.facts for found in steward_s.values() for row in found["rulings"]]
        assert [one["turn"] for one in turns if one["ok"]] == ["detected", "reviewed"] * 2
        assert [one["turn"] for one in turns if not one["ok"]] == ["disputed", "disputed"]
        assert [row.facts["ok"] for row in steward_s["2026-07"]["objections"]] == [False], "exempted: it did not stand"
        reports = [row for found in steward_s.values() for row in found["reports"]]
        assert [(row.ref, row.facts["ok"]) for row in reports] == [
            ("monthly:2026-05", False),
            ("monthly:2026-06", False),
        ]
        quiet = gathering.gather(tx, department(place.second), "2026-06")
        assert quiet["replies"] == []


def test_a_period_is_told_as_of_its_end(house, place, clock) -> None:
    """What is taken down, exempted, founded or renewed while the cards wait to be published changes nothing of them."""

    def found(month: str = MONTH) -> dict[str, list[tuple[str, dict]]]:
        with house.reading() as tx:
            told = gathering.gather(tx, department(place.first), month)
            return {name: [(row.ref, dict(row.facts)) for row in told[name]] for name in AT_THE_END}

    before = found()
    assert all(before.values())
    with house.transaction(STAFF) as tx:
        idle = next(one for one in tx.scalars(select(Resource).order_by(Resource.id)) if one.system_id == place.portal)
        exemptions.grant(tx, idle, Category.MIGRATION, "迁移期间暂不收回,月底前完成", date(2026, 6, 30), Procedure())
        departments.amend(tx, tx.get_one(System, place.portal), {"mlps_assessed_on": date(2026, 6, 1)})
        departments.enter(tx, "P9", place.first, {"name": "新", "mlps_level": 3, "online_on": date(2026, 6, 1)})
        idle.gone_at = tx.now
    place.standing_machine({VCPU: 4}, department_id=place.first, system_id=place.portal)
    clock.advance(days=1)
    assert found() == before
    assert found("2026-06") != before

    def assessed(stood: date | None, then: date) -> tuple[str | None, bool]:
        with house.transaction(STAFF) as tx:
            pipes = tx.get_one(System, place.pipes)
            pipes.mlps_level, pipes.mlps_assessed_on = 3, stood
        clock.advance(hours=1)
        with house.transaction(STAFF) as tx:
            departments.amend(tx, tx.get_one(System, place.pipes), {"mlps_assessed_on": then})
        with house.reading() as tx:
            facts = gathering.gather(tx, system(place.pipes), MONTH)["protection"][0].facts
            return facts["assessed_on"], facts["ok"]

    with house.transaction(STAFF) as tx:  # nothing says what stood before
        tx.get_one(System, place.pipes).mlps_level = 3
        tx.get_one(System, place.pipes).mlps_assessed_on = date(2026, 6, 2)
    with house.reading() as tx:
        facts = gathering.gather(tx, system(place.pipes), MONTH)["protection"][0].facts
        assert (facts["assessed_on"], facts["ok"]) == ("2026-06-02", True)
    assert assessed(date(2026, 1, 10), date(2026, 6, 1)) == ("2026-01-10", True), "renewed, in date before"


def test_what_nobody_owes_costs_nobody(client_of, house, place, clock, tmp_path) -> None:
    """Steps of a request that was withdrawn before they were due, and items of a letter that were settled otherwise."""
    strays = [place.standing_machine({}, name, department_id=None, basis="") for name in ("s-1", "s-2")]
    place.people["clerk"] = clerk = Actor("tenant1", "员", Role.TENANT, department_id=place.first)
    place.named["item"] = place.small
    wanted = {"department_id": place.first, "lines": [Line(item_id=place.small, quantity=1)]}
    kept, taken_back = place.submit(**wanted), place.submit(**wanted)
    with house.transaction(clerk) as tx:
        submission.withdraw(tx, taken_back.id, generation=taken_back.generation)
    with house.transaction(STAFF) as tx:
        inquiries.ask(tx, owners.OWNER, {place.first: strays}, date(2026, 6, 12), key="k")
        owners.assign(tx, strays[:1], place.second, "查明属水务局,见台账")
    with house.transaction(steward()) as tx:
        inquiries.sweep(tx)
    clock.advance(days=30)
    with house.reading() as tx:
        rows = gathering.gather(tx, department(place.first), "2026-06")["inquiries"]
        assert [(row.facts["count"], row.facts["good"]) for row in rows] == [(1, 0)]
        checks = gathering.gather(tx, STEWARD, "2026-06")["form_check"]
        assert [(row.facts["number"], row.facts["ok"]) for row in checks] == [(kept.number, False)]

    chief = client_of(Role.AUTHORITY)
    made = client_of(Role.SUPERVISOR).send("/rankings/new", {"kind": "steward", "period": "2026-06"}).location
    assert published(chief, "steward", "2026-06").status_code == 302
    told = [
        kept.number in str(sheet(client_of(who), f"{made}/form_check"))
        for who in (Role.AUTHORITY, "tenant1", "tenant2")
    ]
    assert told == [True, True, False], "of the steward's rows each reader those that they may see"
    assert "1 行" in seen(client_of("tenant2"), made)
    (file := tmp_path / "card.json").write_bytes(chief.get(f"{made}/bundle.json").data)
    verified = CliRunner().invoke(verify, [str(file)])
    assert (verified.exit_code, verified.output) == (0, "steward 2026-06 revision 1: equal\n")
    emitted = json.loads(CliRunner().invoke(verify, [str(file), "--json"]).output)
    assert (emitted["subject"], emitted["subject_code"], emitted["provider"]) == ("steward", "steward", None)


def test_the_job_scores_everybody_until_they_are_published(house, place, tmp_path, clock) -> None:
    clock.advance(days=35)
    workbench = Workbench(house, Lake(tmp_path / "lake"), tmp_path)
    wanted = scoring.due(workbench)
    kinds = [one.type for one, period in wanted if period == QUARTER]
    assert kinds == [SubjectType.COMPANY, *2 * [SubjectType.DEPARTMENT], *2 * [SubjectType.SYSTEM], SubjectType.STEWARD]
    with house.transaction(steward()) as tx:
        tx.get_one(System, place.portal).active = False
    assert system(place.portal) not in {one for one, _period in scoring.due(workbench)}


def test_a_city_writes_the_departments_formula(client_of, house, place, clock) -> None:
    supervisor = client_of(Role.SUPERVISOR)
    assert "起草使用单位的考核公式" in seen(supervisor, "/formulas/")
    page = seen(supervisor, "/formulas/drafts/new?subject=department")
    assert "city_department" in page
    raw = _document()
    body = {"document": json.dumps(raw), "effective_from": "2026-07-01", "reason": "某局办法 3 号"}
    made = supervisor.send("/formulas/drafts/new", body)
    assert made.status_code == 302, made.text
    wrong = {
        "payment": {"excellent": "100", "fail": "50"}, "applies_to": {"provider": "jia"}, "vetoes": {"x_y": "否决"},
        "shares": {"quarter": "0.8", "year_end": "0.2"},
        "consequences": [{"grade": "fail", "times": 3, "length": "month", "text": "约谈"}],
    }  # fmt: skip
    told = {problem.params["where"] for problem in formula_documents.problems({**raw, **wrong})}
    assert told == {"payment", "applies_to", "vetoes", "shares.year_end", "consequences"}
    strange = {**raw, "rules": [{"indicator": "availability", "weight": "10"}]}
    assert [problem.params["where"] for problem in formula_documents.problems(strange)] == ["rules.1.indicator"]
    document = formula_documents.read(raw)
    with house.transaction(steward()) as tx:
        formulas.enact(tx, document, effective_from=date(2026, 5, 1), reason="办法")
        by = formulas.in_force_of(tx, department(place.first), MONTH)
        assert (by.version, [one.indicator for one in by.criteria]) == ("offices-1", ["idle", "ledger"])
        assert formulas.in_force(tx, place.provider.id, MONTH).subject is SubjectType.COMPANY
        ended = formulas.enact(tx, replace(document, ends=True), effective_from=date(2026, 8, 1), reason="办法废止")
        assert (ended.ends, formulas.enacted(tx).type_of(ended)) == (True, SubjectType.DEPARTMENT)
        with pytest.raises(Invalid, match=r"formula\.other_subject"):
            formulas.subject_of(tx, replace(document, formula=formula.default()))
        card = cards.keep(
            tx, department(place.first), MONTH, gathering.gather(tx, department(place.first), MONTH, by=by), by
        )
        assert card.rated
        with pytest.raises(NotFound, match=r"subject\.none"):
            cards.keep(tx, department(999), MONTH, {}, by)


def _document():
    return {
        "code": "offices", "name": "单位考核", "subject": "department", "grades": [["90", "excellent"], ["60", "pass"]],
        "rules": [{"indicator": "idle", "weight": "60", "limits": {"allowed": "0.1", "per_point": "1"}},
                  {"indicator": "ledger", "weight": "40"}],
    }  # fmt: skip


def test_what_a_card_finds_of_others_than_companies_is_put_right_too(client_of, house, place, clock) -> None:
    """整改 of a department from its own card: planned and proven by it, contested, accepted; counted on its next card."""
    supervisor, mine, other = client_of(Role.SUPERVISOR), client_of(Role.TENANT), client_of("tenant2")
    supervisor.send("/rankings/new", {"kind": "department", "code": "A01", "period": MONTH})
    card = scored(house)["A01"]
    source = f"scorecard:{card.id}/idle"
    assert f"/rectifications/new?source={source}" in seen(supervisor, f"/scorecards/{card.id}")
    body = {"source": source, "title": "闲置占比超标", "demand": "退回闲置云主机", "due_on": "2026-06-30"}
    assert mine.send("/rectifications/new", body).status_code == 403
    ordered = supervisor.send("/rectifications/new", body).location
    assert "ZG-000001" in seen(mine, "/")
    assert "ZG-000001" not in seen(other, "/")
    assert other.get(ordered).status_code == 404
    assert "ZG-000001" in seen(mine, f"/scorecards/{card.id}")
    assert [row["被考核方"] for row in sheet(mine, "/rectifications/")] == ["市教育局"]
    assert sheet(other, "/rectifications/") == []
    assert supervisor.send(f"{ordered}/plan", {"generation": 1, "text": "代办"}).status_code == 422
    assert mine.send(f"{ordered}/plan", {"generation": 1, "text": "本月退回"}).status_code == 302
    assert mine.send(f"{ordered}/remark", {"kind": "dispute", "text": "系备份机"}).status_code == 302
    clock.advance(days=35)
    with house.reading() as tx:
        rows = gathering.gather(tx, department(place.first), "2026-06")["rectification"]
        assert [(row.ref, row.facts["ok"]) for row in rows] == [("rectification:1", False)]
        by = formula.default(SubjectType.DEPARTMENT)
        mark = next(one for one in score({"rectification": rows}, by).marks if one.indicator == "rectification")
        assert (mark.figure, mark.deduction) == (0, 5)
        assert gathering.gather(tx, department(place.second), "2026-06")["rectification"] == []
    supervisor, mine = client_of(Role.SUPERVISOR), client_of(Role.TENANT)
    assert "裁定理由" not in seen(mine, ordered)
    assert mine.send(f"{ordered}/rule", {"dispute": 1, "upheld": "1", "text": "自裁"}).status_code == 403
    with house.reading() as tx:
        dispute = comments.open_dispute(tx, "rectification:1").id
    ruling = {"dispute": dispute, "upheld": "1", "text": "确系备份"}
    client_of("supervisor2").send(f"{ordered}/rule", ruling)
    with house.reading() as tx:
        assert gathering.gather(tx, department(place.first), "2026-06")["rectification"] == [], (
            "found right, it is excused"
        )
    assert mine.send(f"{ordered}/proof", {"generation": 2, "text": "已退回"}).status_code == 302
    assert supervisor.send(f"{ordered}/review", {"generation": 3, "accepted": "1", "text": "属实"}).status_code == 302
    assert "整改通过" in seen(mine, ordered)


def test_a_systems_is_its_departments_and_the_stewards_is_reviewed_by_the_authority(
    client_of, house, place, clock
) -> None:
    supervisor, chief, mine = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY), client_of(Role.TENANT)
    late = {"rulings": [EvidenceRow("case:1", {"ok": False})]}
    unused = {"protection": [EvidenceRow("protection:mlps/P1", {"ok": False})]}
    with house.transaction(steward()) as tx:
        of_system = cards.keep(tx, system(place.portal), MONTH, unused, formula.default(SubjectType.SYSTEM))
        of_steward = cards.keep(tx, STEWARD, MONTH, late, formula.default(SubjectType.STEWARD))
    with house.transaction(STAFF) as tx:
        day = date(2026, 6, 20)
        theirs = rectifications.order(tx, f"scorecard:{of_system.id}/protection", "等保超期", "补测评", day)
        with pytest.raises(NotAllowed):
            rectifications.order(tx, f"scorecard:{of_steward.id}/rulings", "裁定超期", "说明", day)
    assert theirs.number in seen(mine, "/")
    assert client_of("tenant2").get(f"/rectifications/{theirs.id}").status_code == 404
    asked = {"source": f"scorecard:{of_steward.id}/rulings", "title": "裁定超期", "demand": "说明", "due_on": str(day)}
    place_ = chief.send("/rectifications/new", asked).location
    assert "裁定超期" in seen(supervisor, "/")
    assert "裁定超期" not in seen(chief, "/")
    for client in (mine, client_of(Role.PROVIDER)):
        assert client.get(place_).status_code == 404
    assert chief.send(f"{place_}/plan", {"generation": 1, "text": "代办"}).status_code == 403
    assert supervisor.send(f"{place_}/remark", {"kind": "dispute", "text": "系统停机所致"}).status_code == 302
    assert "系统停机所致" not in seen(supervisor, "/"), "nobody rules on his own"
    assert "系统停机所致" in seen(chief, "/")
    with house.reading() as tx:
        ruling = {"dispute": comments.open_dispute(tx, "rectification:2").id, "upheld": "0", "text": "停机在期后"}
    assert client_of("authority2").send(f"{place_}/rule", ruling).status_code == 302
    assert "系统停机所致" not in seen(chief, "/")
    assert supervisor.send(f"{place_}/plan", {"generation": 1, "text": "补人"}).status_code == 302
    assert supervisor.send(f"{place_}/proof", {"generation": 2, "text": "已补"}).status_code == 302
    assert "裁定超期" in seen(chief, "/"), "it waits for the authority now"
    assert supervisor.send(f"{place_}/review", {"generation": 3, "accepted": "1", "text": "好"}).status_code == 422
    assert chief.send(f"{place_}/review", {"generation": 3, "accepted": "1", "text": "属实"}).status_code == 302
    clock.advance(days=30)
    with house.reading() as tx:
        told = {name: gathering.gather(tx, who, "2026-06")["rectification"] for name, who in (
            ("steward", STEWARD), ("system", system(place.portal)), ("department", department(place.first)))}  # fmt: skip
        assert {name: [row.facts["ok"] for row in rows] for name, rows in told.items()} == {
            "steward": [True], "system": [False], "department": [],
        }  # fmt: skip


def test_people_score_a_department_a_system_and_the_steward(client_of, house, place, clock) -> None:
    """An item that a formula has people score: the supervisor's word of departments and systems, the authority's of the steward."""
    kinds = {
        SubjectType.DEPARTMENT: department(place.first),
        SubjectType.SYSTEM: system(place.portal),
        SubjectType.STEWARD: STEWARD,
    }
    hand = {"indicator": "orderly", "weight": "40", "measure": "by_hand", "label": "管理规范"}
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    with house.reading() as tx:
        since = tx.now.date() + timedelta(days=1)
    for kind in kinds:
        begin = formula_documents.FormulaDocument(
            f"of_{kind.value}", kind.value, "文号", "", "", None, formula.default(kind)
        )
        raw = begin.to_json()
        told = {**raw, "rules": [*raw["rules"], hand, {**hand, "indicator": "extra", "label": "加分", "role": "bonus"}]}
        sent = {"document": json.dumps(told), "effective_from": since.isoformat(), "reason": "某局办法 3 号"}
        drafted = supervisor.send("/formulas/drafts/new", sent)
        assert drafted.status_code == 302, drafted.text
        digest = re.search(r'name="digest"[^>]* value="([0-9a-f]+)"', seen(chief, f"{drafted.location}/enact"))[1]
        signed = chief.send(f"{drafted.location}/enact", {"digest": digest, "reason": "同意"})
        assert "管理规范" in seen(chief, signed.location)
    clock.advance(days=40)
    with house.reading() as tx:
        month = periods.month_of(tx.now)
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    body = {"period": month, "item": "orderly", "points": "31.5", "note": "检查纪要 7 号"}
    assert "管理规范" in seen(supervisor, "/assessment-records/by-hand")
    for code in ("A09", ""):
        answer = supervisor.send("/assessment-records/by-hand", {**body, "whom": "department", "code": code})
        assert (answer.status_code, "没有代码为" in answer.text) == (422, True)
    over = supervisor.send("/assessment-records/by-hand", {**body, "whom": "department", "code": "A01", "points": "41"})
    assert (over.status_code, "0 至 40 分" in over.text) == (422, True)
    whom = {"department": "A01", "system": "P1", "steward": ""}
    who = {"department": supervisor, "system": supervisor, "steward": chief}
    for kind, code in whom.items():
        wrong = chief if who[kind] is supervisor else supervisor
        assert wrong.send("/assessment-records/by-hand", {**body, "whom": kind, "code": code}).status_code == 422
        assert who[kind].send("/assessment-records/by-hand", {**body, "whom": kind, "code": code}).status_code == 302
        twice = who[kind].send("/assessment-records/by-hand", {**body, "whom": kind, "code": code})
        assert "已经评分" in twice.text
    for kind, subject in kinds.items():
        with house.transaction(steward()) as tx:
            by = formulas.in_force_of(tx, subject, month)
            found = gathering.gather(tx, subject, month, by=by)
            (row,) = found["orderly"]
            assert row.facts["points"] == "31.5", kind
            mark = next(one for one in score(found, by).marks if one.indicator == "orderly")
            assert (mark.figure, mark.deduction) == (Decimal("31.5"), Decimal("8.5"))
    mine = [row["被考核方"] for row in sheet(client_of(Role.TENANT), "/assessment-records/")]
    assert sorted(mine) == ["市教育局", "门户"]
    assert sheet(client_of("tenant2"), "/assessment-records/") == []
    page = seen(chief, "/assessment-records/?whom=steward").partition('id="results"')[2]
    assert ("管理规范" in page, "市教育局" in page) == (True, False)
    with house.transaction(STAFF) as tx, pytest.raises(Invalid, match=r"record\.not_of"):
        records.enter(tx, department(place.first), "backups", date(2026, 5, 1), "文号", figures={"due": 1, "done": 1})
    with house.transaction(STAFF) as tx:
        one = records.enter(
            tx, department(place.first), "talk", date(2026, 5, 20), "约谈纪要", figures={"manner": "talk"}
        )
    assert "约谈纪要" in seen(client_of(Role.TENANT), f"/assessment-records/{one.id}")
    assert client_of("tenant2").get(f"/assessment-records/{one.id}").status_code == 404


def test_a_record_of_no_company_says_which_field_is_missing(client_of, house) -> None:
    supervisor = client_of(Role.SUPERVISOR)
    talk = {"whom": "company", "kind": "talk", "happened_on": "2026-05-01", "manner": "talk", "note": "约谈纪要"}
    score = {"whom": "company", "period": MONTH, "item": "x", "points": "1", "note": "依据"}
    for address, sent in (("new", talk), ("by-hand", score)):
        answer = supervisor.send(f"/assessment-records/{address}", sent)
        assert answer.status_code == 422
        assert "None" not in answer.text
    assert "请选择云服务商" in supervisor.send("/assessment-records/new", talk).text
