"""Cases that are alike are reviewed, noticed and ruled on in one act; each keeps its own record, and one that changed is left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

from metering import batches, cases
from metering.batches import Alike, BatchItem, BatchOutcome, CaseBatch
from metering.batches import batches as acts
from metering.cases import Answer, Case, CaseAct, CaseState, Category, Notice, RulingDecision
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.rollout import CeilingScope, ceilings
from quota.actors import Actor
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.errors import Conflict, Invalid, NotAllowed
from tests.city import SMALL, City
from tests.metering.cloud import Died

WHY = "经核对,监测数据与现场一致"
ROOMY = Procedure(cases_per_run=1000, worth_per_run=1e6, cases_per_department=1000, worth_per_department=1e6)


def alike(city: City, act: CaseAct, matter: str | None = None, kind: str = "reclaim") -> Alike:
    return Alike(act, kind, Verdict.IDLE.value, city.policy, matter)


def opened(city: City, count: int, **more) -> list[int]:
    return city.open({city.machine(**more): Verdict.IDLE for _ in range(count)}, target={})


def seen(city: City, ids: Sequence[int]) -> dict[int, int]:
    """Case id → generation, as a page shows them now."""
    with city.book.reading() as tx:
        return {one.id: one.generation for one in tx.scalars(select(Case).where(Case.id.in_(ids)))}


def do(
    city: City,
    group: Alike,
    shown: dict[int, int],
    left_out: dict[int, str] | None = None,
    *,
    by: Actor | None = None,
    reason: str = WHY,
    key: str = "one",
    decision: RulingDecision | None = None,
) -> dict[str, int]:
    """Sign and carry out. Returns how many came out how."""
    actor = by or city.supervisor
    with city.by(actor) as tx:
        batch = batches.begin(tx, group, shown, left_out or {}, reason, key=key, decision=decision).id
    batches.carry_out(city.book, batch, actor)
    with city.book.reading() as tx:
        return {outcome.value: count for outcome, count in batches.counts(tx, batch).items()}


def states(city: City, ids: Sequence[int]) -> list[str]:
    return [city.see(one).state for one in ids]


def objected(city: City, count: int) -> list[int]:
    """Cases reviewed by ``second``, noticed by ``supervisor``, to which the department objects."""
    ids = opened(city, count)
    with city.by(city.second) as tx:
        for one in ids:
            cases.review(tx, cases.case(tx, one))
    with city.by(city.supervisor) as tx:
        cases.issue(tx, [cases.case(tx, one) for one in ids])
    with city.by(city.tenant) as tx:
        for one in ids:
            cases.reply(tx, cases.case(tx, one), Answer.OBJECT, reason="年底业务高峰需要使用")
    return ids


def test_three_hundred_alike_cases_are_noticed_in_one_act(city_class, book, clock) -> None:
    city = city_class(book, clock, ROOMY)
    ids = opened(city, 200, shape=SMALL) + opened(city, 100, shape=SMALL, department_id=city.other)
    assert do(city, alike(city, CaseAct.REVIEW), seen(city, ids), key="review") == {"done": 300}
    shown = seen(city, ids)
    with city.by(city.second) as tx:
        cases.withdraw(tx, cases.case(tx, ids[7]), "责任单位正在迁移,暂不处理")
    with city.by(city.second) as tx:  # touched, and reviewed still
        cases.case(tx, ids[8]).generation += 1
    found = do(city, alike(city, CaseAct.ISSUE), shown, {ids[0]: "双方正在核对归属"}, key="issue", reason="请按期答复")
    assert found == {"done": 297, "changed": 2, "excepted": 1}
    with book.reading() as tx:
        letters = tx.scalars(select(Notice).order_by(Notice.department_id)).all()
        assert [(one.department_id, one.text) for one in letters] == [
            (city.department, "请按期答复"),
            (city.other, "请按期答复"),
        ]
        told = tx.execute(select(Case.notice_id, func.count()).where(Case.state == "noticed").group_by(Case.notice_id))
        assert sorted(count for _letter, count in told) == [100, 197]
        assert tx.scalar(select(func.count()).where(AuditRecord.action == "case.issue")) == 297
        assert tx.scalar(select(func.count()).where(AuditRecord.action == "case.review")) == 300
        left = tx.scalars(select(BatchItem).where(BatchItem.outcome == "changed")).all()
        assert sorted(one.case_id for one in left) == sorted(ids[7:9])
        assert {one.said["code"] for one in left} == {"case.changed"}
        excepted = tx.scalars(select(AuditRecord).where(AuditRecord.action == "case.except")).one()
        assert (excepted.subject, excepted.reason) == (f"case:{ids[0]}", "双方正在核对归属")
    assert states(city, ids[:1]) == ["reviewed"]
    one = city.see(ids[20])
    assert one.due_at is not None
    assert one.due_at > city.clock() + timedelta(days=10)


def test_the_same_key_again_does_nothing_again(city: City) -> None:
    ids = opened(city, 3)
    shown = seen(city, ids)
    assert do(city, alike(city, CaseAct.REVIEW), shown) == {"done": 3}
    assert do(city, alike(city, CaseAct.REVIEW), shown) == {"done": 3}
    with city.book.reading() as tx:
        assert tx.scalar(select(func.count(CaseBatch.id))) == 1
        assert tx.scalar(select(func.count()).where(AuditRecord.action == "case.review")) == 3
        assert tx.scalar(select(func.count()).where(AuditRecord.action == "batch.finish")) == 1
    with pytest.raises(Conflict, match=r"key\.reused"), city.by(city.supervisor) as tx:
        batches.begin(tx, alike(city, CaseAct.REVIEW), {ids[0]: 1}, {}, "", key="one")
    with pytest.raises(Conflict, match=r"key\.reused"), city.by(city.second) as tx:
        batches.begin(tx, alike(city, CaseAct.REVIEW), shown, {}, "", key="one")


def test_what_was_cut_off_goes_on_where_it_stopped(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = opened(city, 7)
    do(city, alike(city, CaseAct.REVIEW), seen(city, ids), key="review")
    with city.by(city.supervisor) as tx:
        batch = batches.begin(tx, alike(city, CaseAct.ISSUE), seen(city, ids), {}, "", key="issue").id
    genuine, calls = acts._go_on, []

    def dying(*args) -> bool:
        calls.append(1)
        if len(calls) == 3:
            raise Died
        return genuine(*args)

    with monkeypatch.context() as broken:
        broken.setattr(acts, "_go_on", dying)
        with pytest.raises(Died):
            batches.carry_out(city.book, batch, city.supervisor, chunk=2)
    assert states(city, ids).count("noticed") == 4
    with pytest.raises(NotAllowed, match=r"batch\.another"):
        batches.carry_out(city.book, batch, city.second)
    done = batches.carry_out(city.book, batch, city.supervisor, chunk=2)
    assert done.finished_at is not None
    assert states(city, ids) == ["noticed"] * 7
    with city.book.reading() as tx:
        assert tx.scalar(select(func.count(Notice.id))) == 1, "all of them in one letter, of one day"


def test_on_another_day_it_goes_on_with_another_letter(city: City) -> None:
    ids = opened(city, 3)
    do(city, alike(city, CaseAct.REVIEW), seen(city, ids), key="review")
    with city.by(city.supervisor) as tx:
        batch = batches.begin(tx, alike(city, CaseAct.ISSUE), seen(city, ids), {}, "", key="issue").id
    with city.by(city.supervisor) as tx:
        assert not acts._go_on(tx, batch, 1)
    city.clock.advance(days=1)
    batches.carry_out(city.book, batch, city.supervisor)
    with city.book.reading() as tx:
        days = [one.issued_at.astimezone(ZONE).date() for one in tx.scalars(select(Notice).order_by(Notice.id))]
        assert days[1] - days[0] == timedelta(days=1)


def test_who_reviewed_or_signed_does_not_rule_case_by_case(city: City) -> None:
    ids = objected(city, 3)
    mine = objected(city, 1)
    group = alike(city, CaseAct.RULE, "objection")
    found = do(city, group, seen(city, ids), by=city.second, key="a", decision=RulingDecision.PROCEED)
    assert found == {"refused": 3}
    found = do(city, group, seen(city, ids), by=city.supervisor, key="b", decision=RulingDecision.PROCEED)
    assert found == {"refused": 3}
    with city.book.reading() as tx:
        assert {one.said["code"] for one in tx.scalars(select(BatchItem))} == {"case.same_person"}
        assert tx.scalar(select(func.count(cases.Ruling.id))) == 0
    found = do(city, group, seen(city, ids), by=city.authority, key="c", decision=RulingDecision.PROCEED)
    assert found == {"done": 3}
    assert states(city, ids) == ["cleared"] * 3
    assert do(city, group, seen(city, mine), by=city.authority, key="d", decision=RulingDecision.UPHOLD) == {"done": 1}
    assert city.see(mine[0]).ending == "upheld"


def test_an_exemption_is_granted_to_each_on_its_own_terms(city: City) -> None:
    ids = opened(city, 2)
    with city.by(city.supervisor) as tx:
        for one in ids:
            cases.review(tx, cases.case(tx, one))
        cases.issue(tx, [cases.case(tx, one) for one in ids])
    until = city.clock().astimezone(ZONE).date() + timedelta(days=30)
    with city.by(city.tenant) as tx:
        for n, one in enumerate(ids):
            cases.reply(
                tx, cases.case(tx, one), Answer.EXEMPT, reason="系统正在迁移到新平台", category=Category.MIGRATION,
                until=until + timedelta(days=n),
            )  # fmt: skip
    group = alike(city, CaseAct.RULE, "exemption")
    assert do(city, group, seen(city, ids), by=city.authority, decision=RulingDecision.EXEMPT) == {"done": 2}
    with city.book.reading() as tx:
        found = tx.scalars(select(cases.Exemption).order_by(cases.Exemption.id)).all()
        assert [one.ends_on for one in found] == [until, until + timedelta(days=1)]


def test_the_permissions_are_those_of_the_single_act(city: City) -> None:
    ids = opened(city, 2)
    shown = seen(city, ids)
    for actor in (city.tenant, city.provider, city.authority):
        with pytest.raises(NotAllowed), city.by(actor) as tx:
            batches.begin(tx, alike(city, CaseAct.REVIEW), shown, {}, WHY, key="x")
    with pytest.raises(Invalid, match=r"batch\.empty"):
        do(city, alike(city, CaseAct.REVIEW), shown, dict.fromkeys(ids, "另行办理"))
    with pytest.raises(Invalid, match=r"batch\.reason"):
        do(city, alike(city, CaseAct.REVIEW), shown, {ids[0]: " "})
    with pytest.raises(Invalid, match=r"case\.reason"):
        do(city, alike(city, CaseAct.RULE, "objection"), seen(city, objected(city, 1)), by=city.authority,
           reason="短", decision=RulingDecision.PROCEED)  # fmt: skip
    assert states(city, ids) == ["detected"] * 2


def test_a_case_that_is_not_alike_is_left_out(city: City) -> None:
    ids = opened(city, 2)
    (busy,) = city.open({city.machine(): Verdict.BUSY}, target={**city.see(ids[0]).had(), "vcpu": 32})
    found = do(city, alike(city, CaseAct.REVIEW), seen(city, [*ids, busy]))
    assert found == {"done": 2, "changed": 1}
    assert city.see(busy).state == CaseState.DETECTED


def test_no_more_than_the_week_admits_are_noticed_the_rest_is_named(city: City) -> None:
    ids = opened(city, 5)
    do(city, alike(city, CaseAct.REVIEW), seen(city, ids), key="review")
    with city.by(city.authority) as tx:
        ceilings.set_ceiling(tx, CeilingScope.CITY, 3, "循序渐进")
    assert do(city, alike(city, CaseAct.ISSUE), seen(city, ids), key="issue") == {"done": 3, "later": 2}
    assert states(city, ids) == ["noticed"] * 3 + ["reviewed"] * 2
    city.clock.advance(days=7)
    assert do(city, alike(city, CaseAct.ISSUE), seen(city, ids[3:]), key="next") == {"done": 2}


def test_a_case_more_costs_no_more_questions_than_the_one_before(city_class, book, clock) -> None:
    city = city_class(book, clock, ROOMY)

    def asked(count: int, key: str) -> int:
        ids = opened(city, count)
        do(city, alike(city, CaseAct.REVIEW), seen(city, ids), key=f"review-{key}")
        shown, found = seen(city, ids), []
        event.listen(book.engine, "after_cursor_execute", lambda *_: found.append(1))
        do(city, alike(city, CaseAct.ISSUE), shown, key=key)
        return len(found)

    asked(2, "warm")
    few, many = asked(5, "few"), asked(25, "many")
    assert (many - few) / 20 <= 12


def test_groups_are_of_what_is_alike(city: City) -> None:
    first = opened(city, 3)
    opened(city, 2, department_id=city.other)
    do(city, alike(city, CaseAct.REVIEW), seen(city, first[:1]))
    with city.book.reading() as tx:
        found = {(row.state, row.kind, row.verdict): row for row in tx.execute(batches.alike.groups())}
    assert set(found) == {("detected", "reclaim", "idle"), ("reviewed", "reclaim", "idle")}
    row = found["detected", "reclaim", "idle"]
    assert (row.cases, row.departments, row.worth) == (4, 2, 96.0)


def test_outcomes_are_all_named() -> None:
    assert set(batches.OUTCOME_LABELS) == set(BatchOutcome)
