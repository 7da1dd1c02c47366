"""The tree of quota told over HTTP: a district deals with its own, its bureaus see theirs, the books agree."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from console.accounts import accounts
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.directory import Person, departments
from quota.ledger import entries, expiry, tree
from quota.ledger.tables import Holder, Side
from quota.units import VCPU, Arch, Commodity

CPU = Commodity(VCPU, Arch.AARCH64)


@pytest.fixture
def district(house, place, client_of):
    """A01 (40 vCPU granted) with two bureaus below it; tenant1 is made its quota manager by the security administrator."""
    first = place.departments[0]
    with house.transaction(steward()) as tx:
        for code in ("q1", "q2"):
            departments.register(tx, code, f"区{code}局", tx.merge(first, load=False))
        person = tx.scalar(select(Person.id).where(Person.login == "tenant1"))
    answer = client_of(Role.SECADMIN).send(
        f"/settings/people/{person}/grant",
        {"role": "tenant", "department": first.id, "provider": 0, "quota_manager": "y"},
    )
    assert answer.status_code == 302
    return place


def node(house, code: str) -> int:
    with house.reading() as tx:
        return tx.scalar(select(departments.Department.id).where(departments.Department.code == code))


def form(house, district, target: str, amount: int, **other) -> dict[str, object]:
    wallet = f"{district.pools['p1']}/{CPU}"
    return {
        "department": district.departments[0].id, "target": node(house, target), "wallet": wallet, "amount": amount,
        "reason": "年度统筹", "key": f"{target}{amount}{other}", "confirm": 1,
    } | other  # fmt: skip


def has(house, district, department_id: int) -> int:
    with house.reading() as tx:
        assert entries.conserved(tx)
        assert list(tree.check(tx)) == []
        return entries.balance(tx, Side(district.pools["p1"], CPU, Holder.GRANTED, department_id))


def test_a_district_shares_out_takes_back_and_moves_without_the_authority(house, district, client_of) -> None:
    clerk, own = client_of("tenant1"), district.departments[0].id
    page = clerk.get(f"/quota/tree/{own}")
    assert f"/quota/acts/share?department={own}" in page.text
    shown = clerk.send("/quota/acts/share", form(house, district, "q1", 15, confirm=""))
    assert shown.status_code == 200
    assert "25 vCPU" in shown.text  # what is left afterwards
    assert has(house, district, own) == 40
    for _ in range(2):
        assert clerk.send("/quota/acts/share", form(house, district, "q1", 15)).status_code == 302
    assert clerk.send("/quota/acts/share", form(house, district, "q1", 26)).status_code == 422
    moved = form(house, district, "q2", 5, department=node(house, "q1"))
    assert clerk.send("/quota/acts/reallot", moved).status_code == 302
    assert clerk.send("/quota/acts/take_back", form(house, district, "q1", 4)).status_code == 302
    assert [has(house, district, one) for one in (own, node(house, "q1"), node(house, "q2"))] == [29, 6, 5]
    assert clerk.send("/quota/acts/take_back", form(house, district, "q1", 7)).status_code == 422
    page = clerk.get(f"/quota/tree/{own}").text
    assert "区q1局" in page
    assert "区q2局" in page
    with house.reading() as tx:
        done = [one.action for one in tx.scalars(select(AuditRecord).where(AuditRecord.actor == "tenant1"))]
    assert {"quota.share", "quota.take_back", "quota.reallot"} <= set(done)


def test_the_citys_acts_and_other_branches_stay_shut(house, district, client_of) -> None:
    own = district.departments[0].id
    clerk, stranger = client_of("tenant1"), client_of("tenant2")
    for verb in ("grant", "reclaim", "move"):
        assert clerk.get(f"/quota/acts/{verb}").status_code == 403
        assert clerk.send(f"/quota/acts/{verb}", form(house, district, "q1", 1)).status_code == 403
    assert stranger.get("/quota/acts/share").status_code == 403
    assert stranger.send("/quota/acts/share", form(house, district, "q1", 1)).status_code == 403
    assert stranger.get(f"/quota/tree/{own}").status_code == 404
    assert f"/quota/tree/{own}" not in stranger.get("/quota/tree/?depth=all").text
    assert client_of(Role.PROVIDER).get("/quota/tree/").status_code == 403
    assert has(house, district, own) == 40


def test_a_bureau_sees_its_own_node_and_nothing_above(house, city, district, client_of) -> None:
    own, bureau = district.departments[0].id, node(house, "q1")
    client_of("tenant1").send("/quota/acts/share", form(house, district, "q1", 15))
    with house.transaction(steward()) as tx:
        _who, first = accounts.enrol(
            tx, "bureau", "王", Role.TENANT, department=departments.department(tx, bureau), granted=True, must_change=False,
        )  # fmt: skip
    city.passwords["bureau"] = first
    clerk = client_of("bureau")
    assert "区q1局" in clerk.get("/quota/tree/").text
    assert clerk.get(f"/quota/tree/{bureau}").status_code == 200
    assert clerk.get(f"/quota/tree/{own}").status_code == 404


def test_the_authority_sees_every_storey_and_takes_it_along(house, district, client_of) -> None:
    client_of("tenant1").send("/quota/acts/share", form(house, district, "q1", 15))
    chief, own = client_of(Role.AUTHORITY), district.departments[0].id
    assert "逐级守恒" in chief.get("/quota/tree/").text
    top = chief.get("/quota/tree/?export=csv").text.splitlines()
    (row,) = [line for line in top if district.departments[0].name in line]
    assert row.split(",")[3:] == ["0", "15", "25", "0", "0", "25"]
    below = chief.get(f"/quota/tree/{own}?export=csv").text.splitlines()
    assert below[1].split(",")[3:] == ["15", "0", "15", "0", "0", "15"]
    assert "区q1局" in chief.get("/quota/tree/?depth=all").text


def test_a_years_quota_from_the_grant_to_its_end(house, district, client_of, clock) -> None:
    chief, other = client_of(Role.AUTHORITY), district.departments[1].id
    last = (clock.now + timedelta(days=10)).astimezone(ZONE).date()
    wallet = f"{district.pools['p1']}/{CPU}"
    grant = {
        "department": other,
        "wallet": wallet,
        "amount": 12,
        "ends_on": str(last),
        "reason": "年度配额",
        "key": "year",
    }
    shown = chief.send("/quota/acts/grant", grant).text
    assert str(last) in shown
    assert f'name="ends_on" value="{last}"' in shown
    assert chief.send("/quota/acts/grant", grant | {"confirm": 1}).status_code == 302
    owner, stranger = client_of("tenant2"), client_of("tenant1")
    assert "ED-000001" in owner.get("/quota/allocations/").text
    assert "ED-000001" not in stranger.get("/quota/allocations/").text
    assert stranger.get("/quota/allocations/1").status_code == 404
    assert "将到期的额度" in owner.get("/").text
    assert owner.get("/quota/allocations/1/extend").status_code == 403
    with house.transaction(steward()) as tx:
        entries.use(tx, district.pools["p1"], other, {CPU: 5}, key="use")
    clock.advance(days=11)
    with house.transaction(steward()) as tx:
        expiry.settle(tx)
    assert has(house, district, other) == 0
    chief = client_of(Role.AUTHORITY)
    page = chief.get("/quota/allocations/1").text
    assert "到期仍在用" in page
    assert "5 vCPU" in page
    generation = re.search(r'name="generation"[^>]*value="(\d+)"', chief.get("/quota/allocations/1/extend").text).group(
        1
    )
    ends = str(last + timedelta(days=90))
    answer = chief.send(
        "/quota/allocations/1/extend", {"generation": generation, "ends_on": ends, "reason": "项目延期"}
    )
    assert answer.status_code == 302
    assert ends in chief.get("/quota/allocations/?export=csv").text
    late = {"generation": generation, "ends_on": ends, "reason": "项目延期"}
    assert chief.send("/quota/allocations/1/extend", late).status_code == 422


@pytest.mark.parametrize("ends_on", ["2001-01-01", "9999-12-31", "tomorrow"])
def test_an_end_that_makes_no_sense_is_refused_beside_its_field(house, district, client_of, ends_on) -> None:
    other = district.departments[1].id
    grant = {
        "department": other, "wallet": f"{district.pools['p1']}/{CPU}", "amount": 1, "ends_on": ends_on, "reason": "年度",
        "key": "k", "confirm": 1,
    }  # fmt: skip
    page = client_of(Role.AUTHORITY).send("/quota/acts/grant", grant)
    assert page.status_code == 422
    assert 'id="ends_on-error"' in page.text
    assert has(house, district, other) == 0
