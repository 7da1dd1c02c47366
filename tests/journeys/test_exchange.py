"""The exchange over HTTP: rules drafted by one and signed by another, an offer that becomes a loan, one that is moved, a conversion."""

from __future__ import annotations

from datetime import timedelta

import pytest

from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import pools
from quota.exchange import conversions
from quota.ledger import Holder, Side, balance, capacities, entries, tree
from quota.units import VCPU, Arch, Commodity

CPU, X86 = Commodity(VCPU, Arch.AARCH64), Commodity(VCPU, Arch.X86_64)


@pytest.fixture
def market(house, place, client_of, clock):
    """Open to the whole city by a rule of two people of the authority; what may be given and lent for 90 days at most."""
    rule = {
        "scope": "city",
        "longest_days": 90,
        "for_good": "y",
        "effective_from": str(day(clock)),
        "reason": "办法第八条",
    }
    enacted(client_of, "market", rule, 1)
    return place


def day(clock, days: int = 0):
    return clock.now.astimezone(ZONE).date() + timedelta(days=days)


def enacted(client_of, what: str, rule: dict[str, object], number: int) -> None:
    first, second = client_of("authority1"), client_of("authority2")
    assert client_of("tenant1").send(f"/quota/exchange-rules/{what}", rule).status_code == 403
    assert first.send(f"/quota/exchange-rules/{what}", rule).location.endswith(f"/quota/exchange-rules/{number}")
    sign = f"/quota/exchange-rules/{number}/sign"
    first.send(sign, {})
    assert "还须 1 人签署" in first.get(f"/quota/exchange-rules/{number}").text
    assert second.send(sign, {}).status_code == 302
    assert "还须" not in second.get(f"/quota/exchange-rules/{number}").text


def offer(market, clock, **other) -> dict[str, object]:
    return {
        "key": "o", "department": market.departments[0].id, "wallet": f"{market.pools['p1']}/{CPU}", "amount": 20,
        "way": "lend", "until": str(day(clock, 29)), "open_until": str(day(clock, 9)), "guaranteed_days": 7,
        "notice_days": 5, "reason": "项目推迟", "confirm": 1,
    } | other  # fmt: skip


def granted(house, pool: int, cls: Commodity, department: int, holder: Holder = Holder.GRANTED) -> int:
    with house.reading() as tx:
        assert entries.conserved(tx)
        assert [*tree.check(tx), *conversions.check(tx)] == []
        return balance(tx, Side(pool, cls, holder, department))


def test_before_there_is_a_rule_the_page_says_so(place, client_of, clock) -> None:
    clerk = client_of("tenant1")
    assert "配额市场尚未开放" in clerk.get("/quota/market/").text
    answer = clerk.send("/quota/market/new", offer(place, clock))
    assert answer.status_code == 422
    assert "配额市场尚未开放" in answer.text


def test_an_offer_is_asked_for_agreed_to_and_lent(house, market, client_of, clock) -> None:
    clerk, neighbour = client_of("tenant1"), client_of("tenant2")
    one, two = (each.id for each in market.departments)
    check = clerk.send("/quota/market/new", offer(market, clock, confirm=""))
    assert "40 vCPU" in check.text  # what could be given
    for _ in range(2):  # a second sending is the same offer
        assert clerk.send("/quota/market/new", offer(market, clock)).location.endswith("/quota/market/1")
    assert clerk.send("/quota/market/new", offer(market, clock, key="p", amount=21)).status_code == 422
    assert "GP-000001" in neighbour.get("/quota/market/?export=csv").text
    ask = {"department": two, "amount": 8, "reason": "重保", "key": "c"}
    assert neighbour.send("/quota/market/1/ask", ask | {"amount": 21}).status_code == 422
    assert neighbour.send("/quota/market/1/ask", ask | {"department": one}).status_code == 422
    assert neighbour.send("/quota/market/1/ask", ask).location.endswith("/quota/market/claims/1")
    assert "QJ-000001" in clerk.get("/").text  # waits on the offerer's home page
    act = "/quota/market/claims/1/agree"
    assert neighbour.send(act, {"generation": 1}).status_code == 403
    assert clerk.send(act, {"generation": 1, "amount": "many"}).status_code == 422
    assert clerk.send(act, {"generation": 1, "amount": 6}).status_code == 302
    assert clerk.send(act, {"generation": 1, "amount": 6}).status_code == 409
    pool = market.pools["p1"]
    assert granted(house, pool, CPU, one) == 34
    assert granted(house, pool, CPU, two, Holder.LENT) == 6
    page = neighbour.get("/quota/market/claims/1").text
    assert "/quota/loans/1" in page
    assert "14" in neighbour.get("/quota/market/1").text
    assert clerk.send("/quota/market/1/retire", {"generation": 2, "reason": ""}).status_code == 422
    assert clerk.send("/quota/market/1/retire", {"generation": 2, "reason": "自用"}).status_code == 302
    assert "已撤牌" in clerk.get("/quota/market/1").text


def test_what_is_given_for_good_is_moved_by_the_authority(house, market, client_of, clock) -> None:
    clerk, neighbour, chief = client_of("tenant1"), client_of("tenant2"), client_of(Role.AUTHORITY)
    one, two = (each.id for each in market.departments)
    assert clerk.send("/quota/market/new", offer(market, clock, way="give", until="")).status_code == 302
    assert neighbour.send("/quota/market/1/ask", {"department": two, "amount": 20, "reason": "扩容", "key": "c"}).status_code == 302  # fmt: skip
    assert clerk.send("/quota/market/claims/1/agree", {"generation": 1}).status_code == 302
    assert clerk.send("/quota/market/claims/1/confirm", {"generation": 2}).status_code == 403
    assert "QJ-000001" in chief.get("/").text
    assert chief.send("/quota/market/claims/1/confirm", {"generation": 2}).status_code == 302
    assert granted(house, market.pools["p1"], CPU, one) == granted(house, market.pools["p1"], CPU, two) == 20
    assert "已用完" in chief.get("/quota/market/1").text


def test_a_conversion_from_the_weights_to_the_way_back(house, market, client_of, clock) -> None:
    with house.transaction(steward()) as tx:
        other = pools.Pool(
            code="p2", name="互联网区", provider_id=tx.get_one(pools.Pool, market.pools["p1"]).provider_id, arch="x86_64",
            zone="互联网区", xinchuang=False, adapter="files",
        )  # fmt: skip
        tx.add(other)
        tx.flush()
        capacities.equip(tx, other, VCPU, 50, key="p2", reason="新建")
        x86 = other.id
    clerk, chief = client_of("tenant1"), client_of(Role.AUTHORITY)
    one, arm = market.departments[0].id, market.pools["p1"]
    ask = {
        "key": "h", "department": one, "wallet": f"{arm}/{CPU}", "amount": 27, "target": x86, "reason": "改版",
    }  # fmt: skip
    assert "尚未施行架构换算规则" in clerk.send("/quota/conversions/new", ask).text
    page = chief.get("/quota/exchange-rules/conversion").text
    assert "vCPU" in page
    rule = {
        "weights-0-code": str(X86), "weights-0-weight": 100, "weights-1-code": str(CPU), "weights-1-weight": 80,
        "weights-2-code": "memory:x86_64", "weights-2-weight": "", "credit": 0, "effective_from": str(day(clock)),
        "reason": "办法第九条",
    }  # fmt: skip
    assert chief.send("/quota/exchange-rules/conversion", rule | {"weights-1-weight": ""}).status_code == 422
    enacted(client_of, "conversion", rule, 2)
    assert "5 vCPU → 4 vCPU" in clerk.get("/quota/exchange-rules/2").text  # before anybody asks for less
    check = clerk.send("/quota/conversions/new", ask).text
    assert "25 vCPU" in check
    assert "20 vCPU" in check
    assert "2 vCPU" in check  # stays
    assert clerk.send("/quota/conversions/new", ask | {"amount": 3}).status_code == 422
    assert clerk.send("/quota/conversions/new", ask | {"confirm": 1}).location.endswith("/quota/conversions/1")
    assert "HS-000001" in chief.get("/").text
    assert clerk.send("/quota/conversions/1/carry_out", {"generation": 1}).status_code == 403
    assert chief.send("/quota/conversions/1/carry_out", {"generation": 1}).status_code == 302
    assert (granted(house, arm, CPU, one), granted(house, x86, X86, one)) == (15, 20)
    assert "换回" in clerk.get("/quota/conversions/1").text
    back = {"key": "b", "wallet": f"{x86}/{X86}", "amount": 20, "target": arm, "confirm": 1}
    assert clerk.send("/quota/conversions/new", ask | back).status_code == 302
    assert chief.send("/quota/conversions/2/carry_out", {"generation": 1}).status_code == 302
    assert (granted(house, arm, CPU, one), granted(house, x86, X86, one)) == (40, 0)
