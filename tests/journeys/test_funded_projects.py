"""Funded projects over HTTP: registered by the department with its systems, due, seen by a rule and on the request, accepted, reopened."""

from __future__ import annotations

from datetime import timedelta

from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import departments
from quota.inventory import Resource


def test_a_project_from_its_register_to_its_acceptance(house, place, client_of, clock) -> None:
    clerk, neighbour, supervisor = client_of("tenant1"), client_of("tenant2"), client_of(Role.SUPERVISOR)
    today, own = clock.now.astimezone(ZONE).date(), place.departments[0].id
    with house.transaction(steward()) as tx:
        system = departments.enter(tx, "s1", own, {"name": "一网通办"}).id
    said = {
        "department": own, "approval_number": "数发〔2026〕12 号", "name": "一网通办二期", "funds": "3600000.50", "funding": "本级财政",
        "approved_on": str(today - timedelta(days=30)), "due_on": str(today + timedelta(days=60)),
    }  # fmt: skip
    assert clerk.send("/projects/new", said | {"funds": "1.005"}).status_code == 422
    assert clerk.send("/projects/new", said | {"department": place.departments[1].id}).status_code == 422
    assert clerk.send("/projects/new", said).location.endswith("/projects/1")
    assert clerk.send("/projects/new", said).status_code == 422  # the number is taken
    assert clerk.send("/projects/1/systems", {"systems": system}).status_code == 302
    page = clerk.get("/projects/1").text
    assert "一网通办" in page
    assert "3,600,000.5" in page
    assert neighbour.get("/projects/1").status_code == 404
    assert neighbour.send("/projects/1/systems", {"systems": system}).status_code == 404
    assert "数发〔2026〕12 号" in clerk.get("/projects/?state=due&export=csv").text
    assert "数发〔2026〕12 号" not in clerk.get("/projects/?state=late&export=csv").text
    assert "一网通办二期" in supervisor.get("/").text
    assert "一网通办二期" in clerk.get(f"/systems/{system}").text
    assert clerk.send("/projects/1/edit", said | {"generation": 1, "name": "一网通办三期"}).status_code == 302
    assert clerk.send("/projects/1/edit", said | {"generation": 1}).status_code == 422
    later = said | {"generation": 2, "due_on": str(today + timedelta(days=90))}
    assert "须写明理由" in clerk.send("/projects/1/edit", later).text
    closing = {"generation": 2, "on": str(today), "note": "通过竣工验收"}
    assert clerk.send("/projects/1/accept", closing).status_code == 403
    assert supervisor.send("/projects/1/accept", closing | {"on": str(today + timedelta(days=1))}).status_code == 422
    assert supervisor.send("/projects/1/accept", closing).status_code == 302
    assert "已验收" in clerk.get("/projects/1").text
    assert supervisor.send("/projects/1/reopen", {"generation": 3, "reason": "误记"}).status_code == 302
    assert supervisor.send("/projects/1/terminate", closing | {"generation": 4, "note": "不再建设"}).status_code == 302
    assert "取消关联" not in clerk.get("/projects/1").text
    assert clerk.send("/projects/1/detach", {"system": system}).status_code == 403
    assert supervisor.send("/projects/1/detach", {"system": system}).status_code == 302
    assert "还没有关联信息系统" in clerk.get("/projects/1").text


def test_a_system_that_went_to_another_department_is_not_shown_with_what_it_has_there(
    house, place, client_of, clock
) -> None:
    clerk, today = client_of("tenant1"), clock.now.astimezone(ZONE).date()
    one, two = (each.id for each in place.departments)
    with house.transaction(steward()) as tx:
        system = departments.enter(tx, "s1", one, {"name": "一网通办"}).id
        tx.add(Resource(
            pool_id=place.pools["p1"], external_id="i-1", name="库", kind="vm", arch="aarch64", amounts={"vcpu": 6}, booked={},
            state="running", department_id=one, system_id=system, basis="adopted", first_seen_at=tx.now, tags={},
        ))  # fmt: skip
    said = {
        "department": one, "approval_number": "数发〔2026〕12 号", "name": "二期", "funds": "1", "funding": "本级财政",
        "approved_on": str(today), "due_on": str(today),
    }  # fmt: skip
    clerk.send("/projects/new", said)
    clerk.send("/projects/1/systems", {"systems": system})
    page = clerk.get("/projects/1").text
    assert "资源 1 项" in page
    assert "6 vCPU" in page
    with house.transaction(steward()) as tx:
        departments.system(tx, system).department_id = two
        tx.query(Resource).one().department_id = two
    page = clerk.get("/projects/1").text
    assert "另有 1 个信息系统已划转其他单位" in page
    assert f"/systems/{system}" not in page
    assert "vCPU" not in page
    assert "资源 1 项" in client_of(Role.SUPERVISOR).get("/projects/1").text
