"""Notices about requests reach those whom they are for, and nobody else."""

from __future__ import annotations

from quota.actors import Actor, Role, steward
from quota.directory import catalog, pools
from quota.ledger import capacities
from quota.requests import kinds, notices, rulebook, submission
from quota.requests.asks import Ask, Line
from quota.units import VCPU, Arch


def test_notices_reach_whom_they_are_for(house, city, client_of):
    with house.transaction(steward()) as tx:
        rulebook.default_rules(tx)
        pool = pools.Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网",
                          xinchuang=True, adapter="files")  # fmt: skip
        tx.add(pool)
        tx.flush()
        capacities.equip(tx, pool, VCPU, 100, key="cpu")
        item = catalog.offer(tx, "8c", "8C", "vm", {VCPU: 8}, [Arch.AARCH64])
        pool_id, item_id = pool.id, item.id
    mine, other = (one.id for one in city.departments)
    numbers = []
    for login, department in (("tenant1", mine), ("tenant2", other)):
        with house.transaction(Actor(login, login, Role.TENANT, department)) as tx:
            ask = Ask(kinds.CREATE, department, pool_id, [Line(item_id=item_id)], "高峰并发两千,按压测折算")
            one = submission.submit(tx, submission.draft(tx, ask), generation=1)
            notices.urge(tx, one)
            notices.give(tx, one, notices.NoticeKind.RETURNED, Role.TENANT, once="1", text="缺压测报告")
            numbers.append(one.number)
    clerk = client_of("tenant1")
    page = clerk.get("/requests/notices/").text
    assert numbers[0] in page
    assert numbers[1] not in page
    assert "退回补正" in page
    assert "申请人催办" not in clerk.get("/requests/notices/").text.partition("<tbody>")[2]
    assert "退回补正" in clerk.get("/").text
    checker = client_of(Role.SUPERVISOR).get("/requests/notices/?kind=urged").text
    assert all(number in checker for number in numbers)
    assert "缺压测报告" not in checker
    assert numbers[0] not in client_of(Role.PROVIDER).get("/requests/notices/").text
    assert "缺压测报告" in clerk.get("/requests/notices/?export=csv").get_data(as_text=True)
    assert client_of(Role.SYSADMIN).get("/requests/notices/").status_code == 403
    # Each person reads for himself; marking all leaves what the page did not know of.
    assert 'aria-label="未读 1 条"' in clerk.get("/requests/notices/").text
    with house.reading() as tx:
        newest = max(one.id for one in notices.received(tx, Actor("tenant1", "tenant1", Role.TENANT, mine)))
        strange = max(one.id for one in notices.received(tx, Actor("tenant2", "tenant2", Role.TENANT, other)))
    assert clerk.send(f"/requests/notices/{strange}/read").status_code == 404
    assert clerk.send("/requests/notices/read", {"upto": newest - 1}).status_code == 302
    assert 'aria-label="未读 1 条"' in clerk.get("/requests/notices/").text
    for _twice in range(2):
        assert clerk.send(f"/requests/notices/{newest}/read").status_code == 302
    assert "未读 1 条" not in clerk.get("/requests/notices/").text
    assert numbers[0] not in clerk.get("/requests/notices/?read=unread").text.partition("<tbody>")[2]
    assert numbers[0] in clerk.get("/requests/notices/?read=read").text
    with house.reading() as tx:
        assert notices.unread(tx, Actor("tenant2", "tenant2", Role.TENANT, other)) == 1
        watcher = Actor("supervisor1", "supervisor1", Role.SUPERVISOR)
        assert notices.unread(tx, watcher) == len(notices.received(tx, watcher)) > 1
    checking = client_of(Role.SUPERVISOR)
    assert checking.send("/requests/notices/read", {"upto": "1e9"}).status_code == 302
    assert "未读" in checking.get("/").text
    assert checking.send("/requests/notices/read", {"upto": 10**6}).status_code == 302
    assert "未读" not in checking.get("/").text
    assert numbers[0] in checking.get("/requests/notices/").text
