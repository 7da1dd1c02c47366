"""The authority makes a loan or a move of a match: what one department leaves unused goes to who asks for it."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from metering.cases import matching
from metering.judging.policy import Verdict
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.directory import Pool
from quota.errors import Conflict, Invalid, NotAllowed, OverCapacity
from quota.exchange import OfferWay
from quota.ledger import Loan, Side, balance, entries, lending
from quota.ledger.tables import Holder
from quota.units import MEMORY, VCPU, Amount, Arch, Commodity
from tests.console.test_house import check_page
from tests.journeys.test_cases import Journey

CHIEF = Actor("authority1", "主", Role.AUTHORITY)
TERMS = {"days": 30, "guaranteed_days": 7, "notice_days": 5, "reason": "供需调剂"}


@pytest.fixture
def matched(house, clock, city, client_of):
    """A01 is to give a machine up and has 6 vCPU unused besides; a machine of A02 is to grow. → (the city, donor, asker)."""
    town = Journey(house, clock, city, client_of)
    with house.transaction(steward()) as tx:
        arch = Arch(tx.get_one(Pool, town.pool).arch)
        entries.grant(tx, town.pool, town.department, Amount({VCPU: 6}).of_arch(arch), key="idle")
    (taken,) = town.open({town.machine(Amount({VCPU: 16, MEMORY: 32 * 1024})): Verdict.IDLE})
    needy = town.machine(Amount({VCPU: 4, MEMORY: 8 * 1024}), department_id=town.other)
    (grown,) = town.open({needy: Verdict.OVERLOADED}, target=Amount({VCPU: 12, MEMORY: 16 * 1024}), p95=97.0)
    return town, f"case:{taken}", f"case:{grown}", Commodity(VCPU, arch), Commodity(MEMORY, arch)


def has(house, town, department: int, cls: Commodity) -> int:
    with house.reading() as tx:
        return balance(tx, Side(town.pool, cls, Holder.GRANTED, department))


def arranged(house, matched, way, amounts, who=CHIEF, key="k", **more):
    _town, donor, asker, _vcpu, _memory = matched
    with house.transaction(who) as tx:
        return matching.arrange(tx, donor, asker, way, amounts, key=key, **{**TERMS, **more})


def test_the_button_leads_to_a_loan_that_the_borrower_accepts(house, matched, clock, client_of) -> None:
    town, donor, asker, vcpu, _memory = matched
    chief = client_of(Role.AUTHORITY)
    address = f"/recoveries/matches/arrange?{urlencode({'donor': donor, 'asker': asker})}"
    page = chief.get("/recoveries/matches").text
    assert "出借或划转" in page
    assert "出借或划转" not in client_of(Role.SUPERVISOR).get("/recoveries/matches").text
    assert client_of(Role.SUPERVISOR).get(address).status_code == 403
    form = chief.get(address).text
    check_page(address, form)
    assert re.search(r'name="amount_vcpu"[^>]*value="6"', form), "as much as is unused, of 8 that are wanted"
    key = re.search(r'name="key"[^>]*value="([0-9a-f]+)"', form).group(1)
    sent = {"key": key, "way": "lend", "amount_vcpu": "6", **TERMS}
    assert chief.send(address, sent | {"way": "sell"}).status_code == 422
    assert chief.send(address, sent | {"amount_vcpu": "9"}).status_code == 422
    assert chief.send(address, sent | {"amount_vcpu": "0"}).status_code == 422
    assert chief.send(address, sent).status_code == 302
    assert chief.send(address, sent).status_code == 302, "a form that was sent twice"
    with house.reading() as tx:
        (loan,) = tx.scalars(select(Loan)).all()
        assert (loan.lender_id, loan.borrower_id, loan.amount, loan.state) == (
            town.department,
            town.other,
            6,
            "offered",
        )
    borrower = client_of("tenant2")
    assert borrower.send(f"/quota/loans/{loan.id}/accept", {"generation": loan.generation}).status_code == 302
    assert has(house, town, town.department, vcpu) == 0


def test_a_move_is_made_at_once_and_whole_or_not_at_all(house, matched) -> None:
    town, _donor, _asker, vcpu, memory = matched
    before = has(house, town, town.other, vcpu)
    with pytest.raises(OverCapacity):
        arranged(house, matched, OfferWay.GIVE, {vcpu: 6, memory: 1024})
    assert has(house, town, town.other, vcpu) == before, "nothing half done"
    (made,) = arranged(house, matched, OfferWay.GIVE, {vcpu: 4})
    assert made.startswith("transfer:")
    assert (has(house, town, town.department, vcpu), has(house, town, town.other, vcpu)) == (2, before + 4)
    assert arranged(house, matched, OfferWay.GIVE, {vcpu: 4}) == [made], "once"
    assert has(house, town, town.department, vcpu) == 2
    with house.reading() as tx:
        assert (
            tx.scalars(select(AuditRecord.subject).where(AuditRecord.action == "match.arrange")).first() == matched[1]
        )
    town.prove()


def test_two_who_serve_the_same_give_it_no_more_than_it_wants(house, matched) -> None:
    town, donor, asker, vcpu, _memory = matched
    with house.transaction(steward()) as tx:
        entries.grant(tx, town.pool, town.department, Amount({VCPU: 10}).of_arch(vcpu.arch), key="more")
    other = Actor("authority2", "副", Role.AUTHORITY)
    (moved,) = arranged(house, matched, OfferWay.GIVE, {vcpu: 3})
    (offered,) = arranged(house, matched, OfferWay.LEND, {vcpu: 4}, who=other, key="l")
    with pytest.raises(Invalid) as refused:
        arranged(house, matched, OfferWay.GIVE, {vcpu: 2}, who=other, key="m")
    assert refused.value.code == "match.more"
    with house.reading() as tx:
        assert [one.wanted for one in matching.parts(tx, matching.standing(tx, donor, asker)) if one.cls == vcpu] == [1]
    assert arranged(house, matched, OfferWay.GIVE, {vcpu: 3}) == [moved], "the same form again"
    with house.transaction(other) as tx:
        lending.decline(tx, int(offered.partition(":")[2]), generation=1)
    arranged(house, matched, OfferWay.GIVE, {vcpu: 5}, who=other, key="n")
    assert has(house, town, town.department, vcpu) == 8
    with house.reading() as tx:
        assert vcpu not in {one.cls for one in matching.parts(tx, matching.standing(tx, donor, asker))}
    town.prove()


def test_what_is_no_match_is_refused(house, matched) -> None:
    _town, donor, asker, vcpu, _memory = matched
    with pytest.raises(NotAllowed):
        arranged(house, matched, OfferWay.LEND, {vcpu: 1}, who=Actor("supervisor1", "监", Role.SUPERVISOR))
    for amounts, code in (
        ({}, "match.nothing"),
        ({vcpu: 9}, "match.more"),
        ({Commodity(VCPU, Arch.AARCH64): 1}, "match.more"),
    ):
        with pytest.raises(Invalid) as refused:
            arranged(house, matched, OfferWay.LEND, amounts)
        assert refused.value.code == code
    with pytest.raises(Conflict), house.transaction(CHIEF) as tx:
        matching.arrange(tx, asker, donor, OfferWay.LEND, {vcpu: 1}, key="x", **TERMS)
    for wrong in ("", "case:", "case:999", "request:1", "case:1' or 1=1", "case:99999999999999999999"):
        with pytest.raises(Conflict), house.transaction(CHIEF) as tx:
            matching.standing(tx, wrong, asker)
    with house.reading() as tx:
        assert tx.scalars(select(Loan)).all() == []
        standing = matching.standing(tx, donor, asker)
        assert [(one.cls, one.wanted, one.idle) for one in matching.parts(tx, standing)][-1][1:] == (8, 6)
