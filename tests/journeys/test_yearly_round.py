"""The yearly demand round over HTTP: asked for, entered by two departments, cut in the meeting, enacted, granted on 1 January."""

from __future__ import annotations

from datetime import timedelta

from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.ledger import Holder, Side, balance, demands, expiry
from quota.units import VCPU, Arch, Commodity

CPU = Commodity(VCPU, Arch.AARCH64)


def test_a_year_from_the_call_to_the_quota(house, city, place, client_of, clock) -> None:
    chief, first, second = client_of(Role.AUTHORITY), client_of("tenant1"), client_of("tenant2")
    year = clock.now.astimezone(ZONE).year + 1
    closes = (clock.now + timedelta(days=30)).date()
    assert first.get("/quota/demands/new").status_code == 403
    answer = chief.send("/quota/demands/new", {"year": year, "closes_on": str(closes)})
    assert answer.location.endswith("/quota/demands/1")
    assert chief.send("/quota/demands/new", {"year": year, "closes_on": str(closes)}).status_code == 422

    wallet = f"{place.pools['p1']}/{CPU}"
    ask = {"wallet": wallet, "amount": 90, "reason": "新平台上线,按压测折算", "key": "a"}
    one, two = (department.id for department in city.departments)
    assert first.send("/quota/demands/1/enter", ask | {"department": one}).status_code == 302
    assert first.send("/quota/demands/1/enter", ask | {"department": two}).status_code == 422
    assert second.send("/quota/demands/1/enter", ask | {"department": two, "amount": 120}).status_code == 302
    assert "120" not in first.get("/quota/demands/1?export=csv").text  # one's own alone

    meeting = "/quota/demands/1/meeting"
    assert second.get(meeting).status_code == 403
    page = chief.get(meeting).text
    for told in ("90 vCPU", "120 vCPU", "160 vCPU", "40 vCPU"):  # asked for, what there will be, what A01 has
        assert told in page, told
    assert chief.send(meeting, {"settled-1": "91", "settled-2": "80"}).status_code == 422
    assert chief.send(meeting, {"settled-1": "many"}).status_code == 422
    stale = {"settled-1": "90", "generation-1": "7"}
    assert chief.send(meeting, stale).status_code == 422
    assert chief.send(meeting, {"settled-1": "90", "settled-2": "120"}).status_code == 302
    assert chief.send("/quota/demands/1/enact", {}).status_code == 422  # 210 of 160
    assert chief.send(meeting, {"settled-1": "70", "settled-2": "80"}).status_code == 302
    assert "150 vCPU" in chief.get("/quota/demands/1/enact").text
    assert chief.send("/quota/demands/1/enact", {}).status_code == 302
    assert first.send("/quota/demands/1/enter", ask | {"department": one}).status_code == 422

    clock.advance(days=366)
    with house.transaction(steward()) as tx:
        expiry.settle(tx)
        assert [round_.year for round_ in demands.begin(tx)] == [year]
    with house.reading() as tx:
        assert balance(tx, Side(place.pools["p1"], CPU, Holder.GRANTED, one)) == 110
        assert balance(tx, Side(place.pools["p1"], CPU, Holder.GRANTED, two)) == 80
    assert f"{year}-12-31" in client_of("tenant2").get("/quota/allocations/?export=csv").text
