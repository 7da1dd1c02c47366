"""Requests that are alike are signed in one act: exceptions taken out, each with a record of its own, what changed left alone."""

from __future__ import annotations

import csv
import io
import re

import pytest
from sqlalchemy import select

from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.errors import Invalid
from quota.inventory import Resource
from quota.ledger import entries
from quota.requests import Decision, Request, StepName, together
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.console.test_house import check_page
from tests.journeys.test_requests import BASIS, decide, generation, handed_in, small

MACHINES = 6
ADDRESS = "/decisions/together/unsubscribe/form_check"


@pytest.fixture
def given_back(client_of, place) -> list[int]:
    """Requests to unsubscribe six machines, handed in by pages; their ids."""
    size = {"vcpu": 2, "memory": 4096}
    with place.book.transaction(Actor("s", "s", Role.SYSTEM)) as tx:
        used = Amount({VCPU: 2 * MACHINES, MEMORY: 4096 * MACHINES}).of_arch(Arch.AARCH64)
        entries.use(tx, place.pool, place.department, used, key="use:all")
        rows = [
            Resource(
                pool_id=place.pool, external_id=f"vm-{n}", name="旧主机", address=f"10.9.0.{n}", kind="vm", arch="aarch64", state="running",
                amounts=size, booked=size, basis="adopted", department_id=place.department, first_seen_at=tx.now,
            )
            for n in range(MACHINES)
        ]  # fmt: skip
        tx.add_all(rows)
        tx.flush()
        machines = [row.id for row in rows]
    tenant = client_of(Role.TENANT)
    found = []
    for machine in machines:
        address = f"/requests/new/unsubscribe?resource={machine}"
        answer = tenant.send(address, {"key": f"give-back-{machine}", "justification": BASIS, "system": "0"})
        number = int(re.search(r"/requests/(\d+)/check", answer.location).group(1))
        tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
        found.append(number)
    return found


def ticked(page: str) -> list[str]:
    return re.findall(r'name="request" value="(\d+:\d+)"', page)


def states(place, ids) -> list[str]:
    with place.book.reading() as tx:
        return [tx.get(Request, one).current.name for one in ids]


def test_two_hundred_give_backs_are_no_two_hundred_signatures(client_of, place, given_back) -> None:
    handed_in(client_of(Role.TENANT), place, **small(place))  # of another kind: never among them
    checker = client_of("supervisor1")
    queue = checker.get("/decisions/").text
    check_page("/decisions/", queue)
    assert f'href="{ADDRESS}"' in queue
    assert "6 份，1 个单位" in queue
    page = checker.get(ADDRESS).text
    check_page(ADDRESS, page)
    rows = ticked(page)
    assert [int(one.split(":")[0]) for one in rows] == given_back

    # One is taken out, one is decided by somebody else meanwhile, one is not of this group at all.
    decide(client_of("supervisor2"), given_back[1])
    rows = [one for one in rows if not one.startswith(f"{given_back[0]}:")]
    done = checker.send(ADDRESS, {"decision": "approve", "reason": "同意", "request": [*rows, "999:1", "x", "1:y"]})
    assert done.status_code == 200, done.text
    check_page(ADDRESS, done.text)
    assert "已办 4 份，未办 2 份" in done.text
    assert states(place, given_back) == ["form_check", *["technical_review"] * 5]
    with place.book.reading() as tx:
        signed = tx.scalars(
            select(AuditRecord).where(AuditRecord.action == "request.sign", AuditRecord.actor == "supervisor1")
        ).all()
        assert sorted(one.subject for one in signed) == sorted(f"request:{one}" for one in given_back[2:])
        assert {one.reason for one in signed} == {"同意"}
    # The form sent once more changes nothing.
    again = checker.send(ADDRESS, {"decision": "approve", "reason": "同意", "request": rows})
    assert "已办 0 份，未办 5 份" in again.text
    assert ADDRESS not in checker.get("/decisions/").text, "one that is left is signed by itself"
    # Who took the first step does not take the second, however it is sent.
    other = ADDRESS.replace("form_check", "technical_review")
    assert [int(one.split(":")[0]) for one in ticked(checker.get(other).text)] == [given_back[1]]
    kept = re.search(r'value="(\d+:\d+)"', client_of("supervisor2").get(other).text)[1]
    assert "已办 0 份，未办 1 份" in checker.send(other, {"decision": "approve", "request": [kept]}).text


def test_machines_of_one_name_are_told_apart_wherever_somebody_decides(client_of, place, given_back) -> None:
    told = [f"旧主机（vm-{n} · 10.9.0.{n}）" for n in range(MACHINES)]
    tenant, checker = client_of(Role.TENANT), client_of("supervisor1")
    for who, page in ((checker, "/decisions/"), (checker, ADDRESS), (tenant, "/requests/"), (checker, "/requests/")):
        text = who.get(page).text
        assert [one for one in told if one not in text] == [], page
    for number, one in zip(given_back, told, strict=True):
        for who, page in (
            (checker, f"/decisions/{number}"), (checker, f"/requests/{number}"), (tenant, f"/requests/{number}/paper"),
        ):  # fmt: skip
            assert one in who.get(page).text, page
    for page in ("/decisions/?export=csv", "/requests/?export=csv"):
        rows = list(csv.DictReader(io.StringIO(checker.get(page).text.lstrip("\ufeff"))))
        found = sorted((row["云侧编号"], row["地址"], row["规格"]) for row in rows)
        assert found == [(f"vm-{n}", f"10.9.0.{n}", "2 vCPU · 4 GB 内存") for n in range(MACHINES)], page


def test_what_makes_no_sense_is_refused(client_of, place, given_back) -> None:
    checker = client_of("supervisor1")
    rows = ticked(checker.get(ADDRESS).text)
    for body, said in (
        ({"decision": "approve"}, "请至少选择一份申请"),
        ({"request": rows}, "请选择一个决定"),
        ({"decision": "reject", "request": rows}, "请写明理由"),
        ({"decision": "return", "reason": "x", "request": rows}, "Not a valid choice"),
    ):
        answer = checker.send(ADDRESS, body)
        assert answer.status_code == 422, body
        assert said in answer.text or said == "Not a valid choice"
        check_page(ADDRESS, answer.text)
    assert set(states(place, given_back)) == {"form_check"}
    for nobody in (
        "/decisions/together/create/form_check",
        "/decisions/together/quota/form_check?pool=1&item=1",
        "/decisions/together/unsubscribe/never",
    ):
        assert checker.get(nobody).status_code == 404
    assert client_of(Role.TENANT).get(ADDRESS).status_code == 403
    actor = Actor("supervisor1", "一", Role.SUPERVISOR)
    with pytest.raises(Invalid, match="500"):
        together.sign_all(
            place.book,
            actor,
            together.AlikeKey("unsubscribe", StepName.FORM_CHECK),
            dict.fromkeys(range(501), 1),
            Decision.APPROVE,
            "",
        )
    rejected = checker.send(ADDRESS, {"decision": "reject", "reason": "仍在使用", "request": rows})
    assert "已办 6 份，未办 0 份" in rejected.text
    with place.book.reading() as tx:
        assert {tx.get(Request, one).state for one in given_back} == {"rejected"}


def test_requests_for_one_item_in_one_pool_are_alike(client_of, place) -> None:
    tenant, checker = client_of(Role.TENANT), client_of("supervisor1")
    alike = [handed_in(tenant, place, **small(place, count)) for count in (1, 2)]
    large = handed_in(tenant, place, **{**small(place, 1), "lines-0-item": str(place.large)})
    both = handed_in(tenant, place, **{**small(place, 1), "lines-1-item": str(place.large), "lines-1-quantity": "1"})
    address = f"/decisions/together/create/form_check?pool={place.pool}&item={place.small}"
    queue = checker.get("/decisions/").text
    check_page("/decisions/", queue)
    assert f'href="{address.replace("&", "&amp;")}"' in queue
    assert f"item={place.large}" not in queue  # one is no group
    page = checker.get(address).text
    check_page(address, page)
    rows = ticked(page)
    assert [int(one.split(":")[0]) for one in rows] == alike
    done = checker.send(address, {"decision": "approve", "request": [*rows, f"{large}:2", f"{both}:2"]})
    assert "已办 2 份，未办 2 份" in done.text
    assert states(place, [*alike, large, both]) == [*["technical_review"] * 2, *["form_check"] * 2]
