"""The closed list of reasons: whatever waits has one of it, in both languages, and what is at its end has none."""

from __future__ import annotations

import re
from itertools import product

import pytest

from console import i18n
from console.words import waits
from metering.cases import CaseState
from providers.connection import FAULTS
from providers.orders import HELD, OPEN, OrderState
from quota import requests
from quota.actors import Role
from quota.requests import RequestState
from tests.city import CONSOLE_POOL, City
from tests.journeys.test_requests import handed_in, small


@pytest.fixture
def place(house, city) -> City:
    found = city.copied(house)
    found.add(CONSOLE_POOL)
    return found


NOT_WAITING = {RequestState.DRAFT, RequestState.DONE, RequestState.REJECTED, RequestState.WITHDRAWN}


def test_whatever_waits_has_a_reason_of_the_list():
    for state, turn in product(RequestState, [None, *Role]):
        why = waits.of_request(state, turn)
        assert (why is None) == (state in NOT_WAITING) == (state not in requests.OPEN), state
        assert why is None or why in waits.WAITS
    reached = set()
    for state, by_hand, fault in product(OrderState, (False, True), ("", "a code of an adapter's own", *HELD, *FAULTS)):
        why = waits.of_order(state, by_hand, fault)
        assert (why is None) == (state not in OPEN), state
        assert why is None or why in waits.WAITS
        reached.add(why)
    assert reached - {None} == {code for code in waits.WAITS if code.startswith("order.")}, (
        "none that nothing waits for"
    )
    for state in CaseState:
        assert (waits.of_case(state) is None) == (state is CaseState.CLOSED)
        assert waits.of_case(state) is None or waits.of_case(state) in waits.WAITS


def test_what_people_have_waits_for_them_whatever_its_interface_said_before():
    before = (OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING)
    said = {waits.of_order(state, True, fault) for state in before for fault in ("", *HELD, *FAULTS)}
    assert said == {"order.hands"}
    assert waits.of_order(OrderState.FAILED, True, "timeout") == "order.fault_timeout"


def test_every_reason_is_a_code_and_words_in_both_languages():
    assert all(re.fullmatch(r"(request|order|case|skipped|step)\.[a-z_]+", code) for code in waits.WAITS)
    said = i18n.english(waits.WAITS.values())
    assert [text for text, english in said.items() if not english or i18n.CHINESE.search(english)] == []


def test_a_list_shows_the_words_and_tells_programs_the_code(place, client_of):
    """Of one request that waits for its signatures; what counts them counts it."""
    tenant = client_of(Role.TENANT)
    handed_in(tenant, place, **small(place, 1))
    assert "等待审批" in tenant.get("/requests/").text
    with place.book.reading() as tx:
        assert waits.counted(tx) == {"request.signature": 1}
