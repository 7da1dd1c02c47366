"""Pages name people and things, not logins and rows of the book."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console.words import names
from quota.actors import Role, steward
from quota.directory import pools


def test_people_tasks_and_subjects_are_named(app, house, city):
    with house.transaction(steward("init")) as tx:
        pool = pools.Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网",
                          xinchuang=True, adapter="files")  # fmt: skip
        tx.add(pool)
        tx.flush()
        ref = f"pool:{pool.id}"
    with app.test_request_context("/"):
        assert names.who("tenant1") == "tenant甲"
        assert names.who_exactly("tenant1") == "tenant甲（tenant1）"
        assert names.who("job:cases") == names.who("init") == "系统任务"
        assert names.who("simulated-net-x86") == "simulated-net-x86"
        assert names.who(None) == names.subject("") == "—"
        assert names.subject(ref) == "资源池 信创池"
        assert names.subject("case:999") == "case:999"
        assert names.subject("manual") == "manual"
        assert names.policy("default") == "默认策略"
        assert names.policy("严格") == "严格"


@pytest.mark.parametrize("kind", names.KINDS)
def test_a_row_of_every_kind_can_be_called_by_name(app, kind):
    _word, model, called = names.KINDS[kind]
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    filled = {one.key: moment if "AT" in one.key.upper().split("_") else 7 for one in model.__mapper__.column_attrs}
    with app.test_request_context("/"):
        assert called(model(**filled))


def test_an_auditor_finds_the_trail_on_the_home_page(client_of):
    page = client_of(Role.AUDADMIN).get("/").text
    assert "最近的记录" in page
    assert "还没有做过校验" in page
    assert "登录" in page
    assert "login.ok" not in page
