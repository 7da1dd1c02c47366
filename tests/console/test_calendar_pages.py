"""The working-day calendar over HTTP: what is published, what the city corrects, and the limits that move with it."""

from __future__ import annotations

from datetime import date

import pytest

from quota import audit, calendar
from quota.actors import Actor, Role, steward
from quota.directory import catalog, pools
from quota.ledger import capacities
from quota.requests import approvals, kinds, rulebook, submission
from quota.requests.asks import Ask, Line
from quota.requests.tables import Request
from quota.units import VCPU, Arch


@pytest.fixture
def waiting(house, city):
    """A request whose form check ends on 2026-06-02."""
    with house.transaction(steward()) as tx:
        rulebook.default_rules(tx)
        pool = pools.Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网",
                          xinchuang=True, adapter="files")  # fmt: skip
        tx.add(pool)
        tx.flush()
        capacities.equip(tx, pool, VCPU, 100, key="cpu")
        item = catalog.offer(tx, "8c", "8C", "vm", {VCPU: 8}, [Arch.AARCH64])
        pool_id, item_id = pool.id, item.id
    with house.transaction(Actor("tenant1", "经办", Role.TENANT, city.departments[0].id)) as tx:
        ask = Ask(kinds.CREATE, city.departments[0].id, pool_id, [Line(item_id=item_id)], "高峰并发两千,按压测折算")
        one = submission.submit(tx, submission.draft(tx, ask), generation=1)
        assert one.due_at is not None
        assert one.due_at.astimezone(calendar.ZONE).date() == date(2026, 6, 2)
        return one.id


def due(house, request_id):
    with house.reading() as tx:
        return tx.get(Request, request_id).due_at.astimezone(calendar.ZONE).date()


def test_a_correction_is_shown_before_it_binds_and_moves_what_runs(house, waiting, client_of):
    chief = client_of(Role.AUTHORITY)
    data = {"first": "2026-06-02", "last": "2026-06-03", "setting": "rested", "note": "台风停工"}
    check = chief.send("/calendar/correct", data)
    assert check.status_code == 200
    assert "2026-06-04 23:59" in check.text  # where the limit would go
    assert due(house, waiting) == date(2026, 6, 2)
    answer = chief.send("/calendar/correct", {**data, "step": "confirm"})
    assert answer.status_code == 302
    assert due(house, waiting) == date(2026, 6, 4)
    page = chief.get(answer.location).text
    assert "1 份申请" in page
    assert "本市更正" in page
    assert "台风停工" in page
    back = {"first": "2026-06-02", "last": "2026-06-03", "setting": "published", "note": "风向变了", "step": "confirm"}
    assert chief.send("/calendar/correct", back).status_code == 302
    assert due(house, waiting) == date(2026, 6, 2)
    with house.reading() as tx:
        assert calendar.working_days(tx).corrections == {}
        assert list(audit.check(tx)) == []
    assert "风向变了" in chief.get("/calendar/").text


def test_moving_names_what_redate_moves(house, waiting):
    with house.transaction(steward()) as tx:
        after = calendar.working_days(tx).corrected({date(2026, 6, 2): False})
        ((one, limit),) = approvals.moving(tx, after)
        assert one.id == waiting
        calendar.correct(tx, date(2026, 6, 2), False)
        tx.flush()
        (moved,) = approvals.redate(tx)
        assert (moved.id, moved.due_at) == (waiting, limit)
        assert approvals.moving(tx, calendar.working_days(tx)) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"last": "2026-06-01"}, "结束日期不能早于开始日期"),
        ({"last": "2026-12-31"}, "一次最多更正"),
        ({"first": "1999-01-01"}, "年份须在"),
        ({"first": "someday"}, "first-error"),
        ({"setting": ""}, "setting-error"),
        ({"note": ""}, "请写明依据"),
    ],
)
def test_what_makes_no_sense_is_named(house, client_of, changed, told):
    data = {"first": "2026-06-02", "setting": "rested", "note": "台风", "step": "confirm", **changed}
    answer = client_of(Role.AUTHORITY).send("/calendar/correct", data)
    assert answer.status_code == 422
    assert told in answer.text
    with house.reading() as tx:
        assert calendar.working_days(tx).corrections == {}


def test_the_year_as_everybody_reads_it(client_of):
    clerk = client_of(Role.TENANT)
    page = clerk.get("/calendar/?year=2026").text
    assert "全年 248 个工作日" in page
    assert "调休（国庆节）" in page
    assert "日历未发布" not in page
    assert "日历未发布，按法定节日和周末推算" in clerk.get("/calendar/?year=2099").text
    assert clerk.get("/calendar/?year=nonsense").status_code == 200
    assert "<b>2026-10-10</b>" in clerk.get("/calendar/?from=2026-09-30&days=3").text
    assert clerk.get("/calendar/correct").status_code == 403
    assert client_of(Role.SUPERVISOR).send("/calendar/correct", {"first": "2026-06-02"}).status_code == 403
