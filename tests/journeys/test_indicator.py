"""A new indicator is one definition: made known by the test alone, it is recorded for, gathered, scored, shown, appealed and
scored again, and no other file has heard of it.

company 甲云 (provider1); nothing of it is known but what the steward records here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select

from providers.assessment import cards, evidence, formula, gathering, registry, subjects
from providers.assessment.formula import Grade, from_json, to_json
from providers.assessment.measures import EvidenceRow, FigureUnit, Measure, MeasureLimit, MeasureResult
from providers.assessment.registry import (
    Direction,
    Fact,
    FactFormat,
    FieldType,
    Gathering,
    Indicator,
    RecordField,
    RecordKind,
    RefSource,
)
from providers.assessment.scorecard import score
from providers.assessment.subjects import CardSubject, SubjectType
from quota.actors import Role, steward
from quota.directory import CloudProvider, Department
from quota.errors import Invalid
from tests.console.test_house import check_page

MONTH = "2026-05"
WHERE = {"desk": "现场", "phone": "电话"}


def gather(gathering_: Gathering, month: str) -> list[EvidenceRow]:
    recorded = evidence.recorded(gathering_, month, "hotline")
    rows = [
        EvidenceRow(f"record:{one.id}", {"calls": one.figures["calls"], "where": one.figures["where"]})
        for one in recorded
    ]
    return [*rows, EvidenceRow(f"hours:{month}", {"share": "0.75", "note": "x"})] if rows else []


def measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult:
    calls = Decimal(sum(int(row.facts.get("calls", 0)) for row in rows))
    return MeasureResult(calls, calls * limits["per_call"], "无人接听 %(calls)s 次", {"calls": int(calls)})


HOTLINE = Indicator(
    code="hotline",
    label="热线接听",
    explanation="无人接听的热线电话",
    unit=FigureUnit.COUNT,
    direction=Direction.LOWER,
    measure=Measure("hotline", (MeasureLimit("per_call", "每次无人接听扣", FigureUnit.POINTS),), measure),
    weight=Decimal(20),
    limits={"per_call": Decimal("0.5")},
    order=25,
    edition=10,
    happened=gather,
    facts=(
        Fact("calls", "无人接听"),
        Fact("where", "渠道", FactFormat.WORD, words=WHERE),
        Fact("share", "接通率", FactFormat.SHARE),
        Fact("note", "", FactFormat.HIDDEN),
    ),
    sources={"hours": RefSource("服务时段")},
    records=(
        RecordKind(
            "hotline",
            "热线抽查",
            (
                RecordField("calls", "无人接听次数", help="热线抽查填写"),
                RecordField("where", "抽查渠道", FieldType.CHOICE, choices=WHERE, missing="请选择渠道"),
            ),
        ),
        RecordKind("hotline_off", "热线停用(一票否决)", veto=True),
    ),
)


def seen(client, address: str) -> str:
    """The page at ``address``, whole."""
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


@pytest.fixture(autouse=True)
def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known in this test alone."""
    monkeypatch.setattr(registry, "_INDICATORS", dict(registry._INDICATORS))
    registry.register(HOTLINE)


def test_one_definition_goes_from_evidence_to_card_to_appeal(client_of, house, clock) -> None:
    with house.reading() as tx:
        company = tx.scalars(select(CloudProvider.id)).one()
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)

    page = seen(supervisor, "/assessment-records/new")
    assert "热线抽查" in page
    assert "无人接听次数" in page
    body = {"provider": company, "kind": "hotline", "happened_on": "2026-05-20", "calls": "4", "note": "抽查 1 号"}
    assert "请选择渠道" in supervisor.send("/assessment-records/new", body).text
    refused = supervisor.send("/assessment-records/new", {**body, "calls": "-1", "where": "phone"})
    assert refused.status_code == 422
    kept = supervisor.send("/assessment-records/new", {**body, "where": "phone"})
    assert kept.status_code == 302
    record = f"record:{kept.location.rsplit('/', 1)[1]}"
    page = seen(supervisor, kept.location)
    assert "热线接听" in page
    assert "无人接听次数 4；抽查渠道 电话" in page
    assert "热线抽查" in seen(supervisor, "/assessment-records/?kind=hotline")

    card = supervisor.send("/scorecards/new", {"provider": company, "period": MONTH}).location
    page = seen(supervisor, card)
    assert "default-10" in page
    assert "无人接听 4 次" in page
    assert "满分权重 138，至少 82.8 才评总分" in page
    assert "证据不足，不评总分" in page
    rows = seen(supervisor, f"{card}/hotline")
    assert "无人接听的热线电话" in rows
    assert "越低越好" in rows
    assert "无人接听 4；渠道 电话" in rows
    assert "服务时段 · 2026-05" in rows
    assert "接通率 75 %" in rows
    page = seen(supervisor, "/scorecards/formula")
    assert "每次无人接听扣 0.5 分" in page
    assert seen(supervisor, card.replace("/scorecards/", "/scorecards/formula/")).count("热线接听") == 1

    assert chief.send(f"{card}/publish", {"generation": 1}).status_code == 302
    operator = client_of(Role.PROVIDER)
    assert f'value="{record}"' in operator.get(f"{card}/appeal").text
    assert operator.send(f"{card}/appeal", {"text": "那天停电", "refs": [record]}).status_code == 302
    ruling = {"upheld": "1", "struck": [record], "ruling": "属实"}
    with house.transaction(steward()) as tx:  # computed and published by others than who rules
        tx.get_one(cards.ScorecardRecord, int(card.rsplit("/", 1)[1])).computed_by = "job:score"
    again = supervisor.send(f"{card}/ruling", ruling)
    assert again.status_code == 302
    assert again.location != card
    with house.reading() as tx:
        after = cards.scorecard(tx, int(again.location.rsplit("/", 1)[1]))
        marks = {mark.indicator: mark.deduction for mark in after.marks}
        assert (after.rated, marks["hotline"], cards.changes(tx, after).gone) == (False, 0, [record])
        assert list(cards.check(tx)) == []
    assert "热线接听" in seen(operator, again.location)

    with house.transaction(steward()) as tx:  # struck for good: nothing is left of it, and its month is not scored
        assert gathering.gather(tx, subjects.company(company), MONTH)["hotline"] == [
            EvidenceRow(f"hours:{MONTH}", {"share": "0.75", "note": "x"})
        ]


def test_its_veto_fails_the_company(client_of, house, clock) -> None:
    with house.reading() as tx:
        company = tx.scalars(select(CloudProvider.id)).one()
    supervisor = client_of(Role.SUPERVISOR)
    body = {"provider": company, "happened_on": "2026-05-20", "note": "通报", "kind": "hotline_off"}
    assert supervisor.send("/assessment-records/new", body).status_code == 302
    card = supervisor.send("/scorecards/new", {"provider": company, "period": MONTH}).location
    page = supervisor.get(card).text
    assert "一票否决" in page
    assert "不合格" in page
    assert "一票否决 热线停用(一票否决)" in supervisor.get(f"{card}/hotline").text


def test_a_card_outlives_its_indicator(client_of, house, clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not registered any more can be read, told by its code, and is named where it can't be scored again."""
    with house.reading() as tx:
        company = tx.scalars(select(CloudProvider.id)).one()
    supervisor = client_of(Role.SUPERVISOR)
    body = {
        "provider": company,
        "kind": "hotline",
        "happened_on": "2026-05-20",
        "calls": "4",
        "note": "抽查 1 号",
        "where": "desk",
    }
    kept = supervisor.send("/assessment-records/new", body).location
    card = supervisor.send("/scorecards/new", {"provider": company, "period": MONTH}).location
    known = dict(registry._INDICATORS)
    del known["hotline"]
    monkeypatch.setattr(registry, "_INDICATORS", known)
    for address in (kept, card, f"{card}/hotline", "/scorecards/", "/assessment-records/", "/scorecards/formula",
                    card.replace("/scorecards/", "/scorecards/formula/")):  # fmt: skip
        seen(supervisor, address)
    assert "hotline" in supervisor.get(card).text
    assert "can&#39;t be scored again: hotline" in supervisor.send(f"{card}/verify").text
    with house.reading() as tx:
        assert [line for line in cards.check(tx) if "hotline" in line]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "registered already"),
        ({"code": "Hot line"}, "a code is"),
        ({"code": "h" * 17}, "a code is"),
        ({"code": "h", "weight": Decimal(0)}, "a code is"),
        ({"code": "hot", "weight": Decimal(0)}, "weighs nothing"),
        ({"code": "hot", "subjects": frozenset()}, "for nobody"),
        ({"code": "hot", "limits": {}}, "asks for the limits"),
        ({"code": "hot", "happened": None}, "gathers nothing"),
        ({"code": "hot", "facts": (Fact("a", "一"), Fact("a", "二"))}, "a fact twice"),
        ({"code": "hot", "measure": replace(HOTLINE.measure, compute=lambda _rows, _limits: None)}, "another measure"),
        ({"code": "hot", "sources": {"hours": RefSource("别的")}}, "rows hours"),
        ({"code": "hot"}, "record kind 'hotline'"),
        ({"code": "hot", "records": (RecordKind("x9", "九"),)}, "record kind 'x9'"),
        ({"code": "hot", "records": (RecordKind("other", "别的", (RecordField("calls", "来电"),)),)}, "state calls otherwise"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_indicator_is_said_when_it_is_registered(wrong, why) -> None:
    with pytest.raises(ValueError, match=why):
        registry.register(replace(HOTLINE, **wrong))


def test_a_fact_that_no_reader_could_be_told_is_not_gathered(house, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(registry._INDICATORS)
    known["hotline"] = replace(HOTLINE, happened=lambda _gathering, _month: [EvidenceRow("hours:x", {"secret": 1})])
    monkeypatch.setattr(registry, "_INDICATORS", known)
    with house.reading() as tx, pytest.raises(ValueError, match="secret"):
        gathering.gather(tx, subjects.company(1), MONTH)


def test_a_department_is_judged_by_the_same_machinery(house) -> None:
    """Formula, evidence, card and grade of another type of subject."""
    registry.register(
        replace(
            HOTLINE, code="answers", records=(), sources={}, subjects=frozenset({SubjectType.DEPARTMENT}),
            happened=lambda asked, _month: [EvidenceRow(f"department:{asked.subject.id}", {"calls": 8})],
        )
    )  # fmt: skip
    with house.reading() as tx:
        subject = CardSubject(SubjectType.DEPARTMENT, tx.scalars(select(Department.id)).first())
    ours = formula.default(SubjectType.DEPARTMENT)
    answers = ours.criterion("answers")
    assert len(ours.criteria) > 1
    by = replace(ours, criteria=(answers,), least=answers.weight)
    assert "answers" not in {criterion.indicator for criterion in formula.default().criteria}
    assert from_json(to_json(by)) == by
    with house.transaction(steward()) as tx:
        found = gathering.gather(tx, subject, MONTH)
        card = score(found, by)
        assert (card.total, card.grade, by.paid(card.grade)) == (80, Grade.GOOD, None)
        assert cards.keep(tx, subject, MONTH, found, by).subject == subject
        company = subjects.company(tx.scalars(select(CloudProvider.id)).one())
        with pytest.raises(Invalid, match=r"formula\.subject"):
            cards.keep(tx, company, MONTH, found, by)
    with pytest.raises(Invalid, match=r"formula\.bad"):  # an indicator of departments in a company's formula
        score(found, replace(by, subject=SubjectType.COMPANY))
