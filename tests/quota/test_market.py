"""The market of idle quota: who sees what by the rule, what is agreed becomes a loan or a move, and nothing is promised twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Adjustment, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, Refused, WrongState
from quota.exchange import (
    ClaimState,
    ExchangeRule,
    ExchangeSubject,
    MarketScope,
    MarketTerms,
    OfferState,
    OfferWay,
    QuotaClaim,
    QuotaOffer,
    market,
    rules,
)
from quota.ledger import Holder, Loan, Side, balance, entries
from tests.city import City
from tests.quota.conftest import CPU

DEPUTY = Actor("deputy", "deputy", Role.AUTHORITY)


def today(town: City) -> date:
    return town.book.clock().astimezone(ZONE).date()


def ruled(town: City, scope: MarketScope = MarketScope.CITY, *, for_good: bool = True, days: int = 90) -> ExchangeRule:
    with town.book.transaction(town.people["chief"]) as tx:
        terms = MarketTerms(scope, days, for_good)
        row = rules.draft(tx, ExchangeSubject.MARKET, terms, effective_from=today(town), reason="统筹办法第八条")
    with town.book.transaction(DEPUTY) as tx:
        return rules.sign(tx, row.id)


@pytest.fixture
def open_market(town: City) -> City:
    """The bureau has 40 vCPU that it does not use; the whole city may see what is offered."""
    town.grant({CPU: 40}, "rich")
    ruled(town)
    return town


def offered(town: City, amount: int = 20, way: OfferWay = OfferWay.LEND, by: str = "clerk", **other: Any) -> QuotaOffer:
    terms: dict[str, Any] = {
        "until": today(town) + timedelta(days=29), "open_until": today(town) + timedelta(days=9),
        "guaranteed_days": 7, "notice_days": 5, "reason": "项目推迟", "key": f"offer {amount} {way}",
    } | other  # fmt: skip
    with town.book.transaction(town.people[by]) as tx:
        return market.publish(tx, way, town.bureau, town.arm, CPU, amount, **terms)


def asked(town: City, offer: QuotaOffer, amount: int = 8, by: str = "stranger", **other: Any) -> QuotaClaim:
    said = {"reason": "重保期间并发翻倍", "key": f"claim {offer.id} {amount} {by}"} | other
    with town.book.transaction(town.people[by]) as tx:
        return market.ask(tx, offer.id, said.pop("whose", town.neighbour), amount, **said)


def act(
    town: City, by: str, verb: Callable[..., QuotaClaim], claim: QuotaClaim, *args: Any, **other: Any
) -> QuotaClaim:
    with town.book.transaction(town.people[by]) as tx:
        generation = tx.get_one(QuotaClaim, claim.id).generation
        return verb(tx, claim.id, *args, generation=generation, **other)


def has(town: City, department_id: int, holder: Holder = Holder.GRANTED) -> int:
    town.prove()
    with town.book.reading() as tx:
        return balance(tx, Side(town.arm, CPU, holder, department_id))


def test_what_is_agreed_is_lent_until_the_day_that_was_offered(open_market: City) -> None:
    town, offer = open_market, offered(open_market)
    claim = asked(town, offer)
    assert (has(town, town.bureau), has(town, town.neighbour, Holder.LENT)) == (40, 0)  # nothing moved yet
    done = act(town, "clerk", market.agree, claim, 6)
    assert (done.state, done.agreed) == (ClaimState.DONE, 6)
    assert (has(town, town.bureau), has(town, town.neighbour, Holder.LENT)) == (34, 6)
    with town.book.reading() as tx:
        loan = tx.get_one(Loan, done.loan_id)
        assert loan.ends_at is not None
        assert loan.ends_at.astimezone(ZONE).date() == today(town) + timedelta(days=30)  # the day after the last
        assert (loan.guaranteed_days, loan.notice_days) == (7, 5)
        assert tx.get_one(QuotaOffer, offer.id).left == 14


def test_what_is_given_for_good_waits_for_the_authority(open_market: City) -> None:
    town, offer = open_market, offered(open_market, way=OfferWay.GIVE)
    claim = act(town, "clerk", market.agree, asked(town, offer, 20))
    assert claim.state == ClaimState.AGREED
    assert has(town, town.neighbour) == 0
    for who in ("clerk", "stranger", "checker"):
        with pytest.raises(NotAllowed):
            act(town, who, market.confirm, claim)
    done = act(town, "chief", market.confirm, claim)
    assert done.state == ClaimState.DONE
    assert (has(town, town.bureau), has(town, town.neighbour)) == (20, 20)
    with town.book.reading() as tx:
        assert tx.get_one(QuotaOffer, offer.id).state == OfferState.TAKEN


def test_a_yes_may_be_taken_back_and_others_go_on_waiting(open_market: City) -> None:
    town, offer = open_market, offered(open_market, way=OfferWay.GIVE)
    first, second = asked(town, offer, 20), asked(town, offer, 5, by="branch_clerk", whose=open_market.branch)
    first = act(town, "clerk", market.agree, first)
    with pytest.raises(OverCapacity, match=r"loan\.short"):
        act(town, "clerk", market.agree, second)
    act(town, "chief", market.refuse, first, reason="与年度计划不符")
    assert act(town, "clerk", market.agree, second).state == ClaimState.AGREED


@pytest.mark.parametrize("scope", list(MarketScope))
def test_the_rule_says_who_sees_what_is_offered(town: City, scope: MarketScope) -> None:
    town.grant({CPU: 40}, "rich")
    ruled(town, MarketScope.CITY)
    offer = offered(town)
    ruled(town, scope)
    seen = {}
    for who in ("clerk", "branch_clerk", "stranger", "chief", "checker", "operator", "sysadmin"):
        with town.book.reading(town.people[who]) as tx:
            seen[who] = tx.query(QuotaOffer).filter(market.visible(tx, tx.actor)).count()
    assert seen == {
        "clerk": 1, "branch_clerk": scope is not MarketScope.CLOSED, "stranger": scope is MarketScope.CITY,
        "chief": 1, "checker": 1, "operator": 0, "sysadmin": 0,
    }  # fmt: skip
    if scope is MarketScope.CITY:
        assert asked(town, offer).state == ClaimState.ASKED
    else:
        with pytest.raises(NotFound):
            asked(town, offer)
        with pytest.raises(NotAllowed, match=r"market\.not_seen"):  # nor may the authority ask in its name
            asked(town, offer, by="chief")


def test_nothing_is_offered_before_there_is_a_rule(town: City) -> None:
    town.grant({CPU: 40}, "rich")
    with pytest.raises(WrongState, match=r"market\.closed"):
        offered(town)
    ruled(town, for_good=False, days=10)
    with pytest.raises(WrongState, match=r"market\.no_gifts"):
        offered(town, way=OfferWay.GIVE)
    with pytest.raises(Invalid, match=r"market\.until"):
        offered(town)


def test_what_is_offered_once_is_not_offered_again(open_market: City) -> None:
    offered(open_market, 30)
    with pytest.raises(OverCapacity, match=r"loan\.short"):
        offered(open_market, 11, way=OfferWay.GIVE)
    assert offered(open_market, 30).id == offered(open_market, 30).id  # the same key is the same offer
    with pytest.raises(Conflict, match=r"key\.reused"):
        offered(open_market, 10, key="offer 30 lend")


def test_what_was_put_to_use_meanwhile_is_not_agreed_to(open_market: City) -> None:
    town, claim = open_market, asked(open_market, offered(open_market, 20), 20)
    with town.book.transaction(steward()) as tx:
        entries.use(tx, town.arm, town.bureau, {CPU: 25}, key="use")
    with pytest.raises(OverCapacity, match=r"loan\.short"):
        act(town, "clerk", market.agree, claim)
    assert act(town, "clerk", market.agree, claim, 15).state == ClaimState.DONE
    assert has(town, town.bureau) == 0


def test_what_makes_no_sense_is_refused(open_market: City) -> None:
    offer = offered(open_market)
    claims: list[tuple[dict[str, Any], type[Refused], str]] = [
        ({"amount": 0}, Invalid, "transfer.amount"),
        ({"amount": -3}, Invalid, "transfer.amount"),
        ({"amount": 21}, OverCapacity, "loan.short"),
        ({"reason": "  "}, Invalid, "reason.missing"),
        ({"by": "clerk"}, NotAllowed, "market.not_yours"),
        ({"by": "chief", "whose": open_market.bureau}, Invalid, "loan.same"),
    ]
    for change, refused, code in claims:
        with pytest.raises(refused) as told:
            asked(open_market, offer, **change)
        assert told.value.code == code
    offers: list[tuple[dict[str, Any], str]] = [
        ({"until": None}, "market.until"),
        ({"until": date(2020, 1, 1)}, "market.until"),
        ({"open_until": date(2020, 1, 1)}, "market.open_until"),
        ({"open_until": date(2099, 1, 1)}, "market.open_until"),
        ({"guaranteed_days": 31}, "market.terms"),
        ({"notice_days": -1}, "market.terms"),
        ({"reason": ""}, "reason.missing"),
        ({"amount": 0}, "transfer.amount"),
    ]
    for change, code in offers:
        with pytest.raises(Invalid) as told:
            offered(open_market, **({"key": "other"} | change))
        assert told.value.code == code


def test_somebody_elses_quota_is_not_offered_nor_agreed_on(open_market: City) -> None:
    with pytest.raises(NotAllowed, match=r"loan\.not_yours"):
        offered(open_market, by="stranger")
    claim = asked(open_market, offered(open_market))
    for verb, more in ((market.agree, {}), (market.refuse, {"reason": "不"})):
        with pytest.raises(NotAllowed, match=r"loan\.not_yours"):
            act(open_market, "stranger", verb, claim, **more)
    with pytest.raises(NotFound):
        act(open_market, "branch_clerk", market.withdraw, claim)
    with pytest.raises(NotAllowed, match=r"market\.not_yours"):
        act(open_market, "clerk", market.withdraw, claim)


def test_who_asked_waits_once_and_may_let_it_be(open_market: City) -> None:
    offer = offered(open_market)
    claim = asked(open_market, offer)
    with pytest.raises(Conflict, match=r"market\.asked"):
        asked(open_market, offer, 3)
    assert act(open_market, "stranger", market.withdraw, claim).state == ClaimState.WITHDRAWN
    with pytest.raises(WrongState, match=r"market\.state"):
        act(open_market, "clerk", market.agree, claim)
    assert asked(open_market, offer, 3).state == ClaimState.ASKED


def test_an_offer_lapses_after_its_last_day_with_what_waits_on_it(open_market: City, clock: Any) -> None:
    town, offer = open_market, offered(open_market)
    claim = asked(town, offer)
    clock.advance(days=9)
    with town.book.transaction(steward()) as tx:
        assert market.lapse(tx) == []
    clock.advance(days=1)
    with pytest.raises(WrongState, match=r"market\.over"):
        act(town, "clerk", market.agree, claim)
    with town.book.transaction(steward()) as tx:
        assert [one.id for one in market.lapse(tx)] == [offer.id]
    with town.book.reading() as tx:
        assert tx.get_one(QuotaClaim, claim.id).state == ClaimState.LAPSED


def test_an_offer_is_taken_back_with_a_reason_and_as_it_was_shown(open_market: City) -> None:
    town, offer = open_market, offered(open_market)
    claim = asked(town, offer)
    with town.book.transaction(town.people["clerk"]) as tx, pytest.raises(Conflict, match=r"market\.stale"):
        market.close(tx, offer.id, generation=7, reason="自用")
    with town.book.transaction(town.people["clerk"]) as tx, pytest.raises(Invalid, match=r"reason\.missing"):
        market.close(tx, offer.id, generation=1, reason=" ")
    with town.book.transaction(town.people["clerk"]) as tx:
        assert market.close(tx, offer.id, generation=1, reason="自用").state == OfferState.CLOSED
    with town.book.reading() as tx:
        assert tx.get_one(QuotaClaim, claim.id).state == ClaimState.LAPSED


def test_a_merger_takes_offers_and_claims_along_but_none_between_the_two(open_market: City) -> None:
    town, offer = open_market, offered(open_market, way=OfferWay.GIVE)
    claim = asked(town, offer)

    def merge(source: int, target: int) -> reorganisations.Reorganisation:
        with town.book.transaction(town.people["chief"]) as tx:
            return reorganisations.reorganise(tx, Adjustment.MERGE, source, target, reason="机构改革", key=f"{source}")

    with pytest.raises(WrongState, match=r"reorganisation\.claim"):
        merge(town.neighbour, town.bureau)
    act(town, "stranger", market.withdraw, claim)
    waiting = asked(town, offer, 3, by="branch_clerk", whose=town.branch)
    batch = merge(town.branch, town.neighbour)
    with town.book.reading() as tx:
        assert tx.get_one(QuotaClaim, waiting.id).department_id == town.neighbour
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.undo(tx, batch.id, reason="方案调整")
    with town.book.reading() as tx:
        assert tx.get_one(QuotaClaim, waiting.id).department_id == town.branch


@pytest.mark.parametrize(
    ("narrower", "code"),
    [
        ({"scope": MarketScope.CLOSED}, "market.closed"),
        ({"scope": MarketScope.BRANCH}, "market.narrowed"),
        ({"days": 29}, "market.too_long"),
    ],
)
def test_what_the_rule_of_the_day_does_not_allow_is_not_lent(
    open_market: City, narrower: dict[str, Any], code: str
) -> None:
    town = open_market
    claim = asked(town, offered(town))
    ruled(town, **narrower)
    with pytest.raises(WrongState) as told:
        act(town, "clerk", market.agree, claim)
    assert told.value.code == code
    assert (has(town, town.bureau), has(town, town.neighbour, Holder.LENT)) == (40, 0)
    ruled(town, days=30)  # the last day is the thirtieth
    assert act(town, "clerk", market.agree, claim).state == ClaimState.DONE


def test_what_is_no_longer_given_for_good_is_neither_agreed_to_nor_confirmed(open_market: City) -> None:
    town, offer = open_market, offered(open_market, way=OfferWay.GIVE)
    first = act(town, "clerk", market.agree, asked(town, offer, 8))
    second = asked(town, offer, 2, by="branch_clerk", whose=town.branch)
    ruled(town, for_good=False)
    for who, verb, claim in (("chief", market.confirm, first), ("clerk", market.agree, second)):
        with pytest.raises(WrongState, match=r"market\.no_gifts"):
            act(town, who, verb, claim)
    assert act(town, "clerk", market.refuse, first, reason="规则已改").state == ClaimState.REFUSED
    assert has(town, town.bureau) == 40


def test_a_merger_takes_along_an_offer_that_is_over_while_the_authority_has_to_confirm(open_market: City) -> None:
    town, offer = open_market, offered(open_market, way=OfferWay.GIVE)
    claim = act(town, "clerk", market.agree, asked(town, offer, 8, by="branch_clerk", whose=town.branch))
    with town.book.transaction(town.people["clerk"]) as tx:
        market.close(tx, offer.id, generation=tx.get_one(QuotaOffer, offer.id).generation, reason="余下自用")
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="m")
    with town.book.reading() as tx:
        assert tx.get_one(QuotaOffer, offer.id).department_id == town.neighbour
    assert act(town, "chief", market.confirm, claim).state == ClaimState.DONE
    assert (has(town, town.neighbour), has(town, town.branch)) == (32, 8)


def test_a_rule_takes_two_people_and_the_newer_draft_wins(town: City) -> None:
    terms = MarketTerms(MarketScope.BRANCH, 30, False)
    with town.book.transaction(town.people["chief"]) as tx:
        first, second = (
            rules.draft(tx, ExchangeSubject.MARKET, terms, effective_from=today(town), reason="办法").id for _ in "ab"
        )
    with town.book.transaction(town.people["chief"]) as tx, pytest.raises(NotAllowed, match=r"rules\.own_draft"):
        rules.sign(tx, first)
    with town.book.transaction(town.people["clerk"]) as tx, pytest.raises(NotAllowed, match=r"role\.missing"):
        rules.sign(tx, first)
    with town.book.reading() as tx:
        assert rules.market(tx).scope is MarketScope.CLOSED
    with town.book.transaction(DEPUTY) as tx:
        rules.sign(tx, second)
    with town.book.transaction(DEPUTY) as tx, pytest.raises(WrongState, match=r"exchange\.overtaken"):
        rules.sign(tx, first)
    with town.book.reading() as tx:
        assert rules.market(tx) == terms
    with town.book.transaction(town.people["chief"]) as tx, pytest.raises(Invalid, match=r"rules\.past"):
        rules.draft(tx, ExchangeSubject.MARKET, terms, effective_from=today(town) - timedelta(days=1), reason="办法")
    with town.book.transaction(town.people["chief"]) as tx, pytest.raises(WrongState, match=r"rules\.closed"):
        rules.withdraw(tx, second)


def test_a_rule_counts_from_its_day_on(town: City, clock: Any) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        later = today(town) + timedelta(days=3)
        terms = MarketTerms(MarketScope.CITY, 30, False)
        row = rules.draft(tx, ExchangeSubject.MARKET, terms, effective_from=later, reason="办法")
    with town.book.transaction(DEPUTY) as tx:
        assert rules.sign(tx, row.id).state == "enacted"
    for scope in (MarketScope.CLOSED, MarketScope.CITY):
        with town.book.reading() as tx:
            assert rules.market(tx).scope is scope
        clock.advance(days=3)
