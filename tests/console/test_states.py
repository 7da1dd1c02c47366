"""Every state that a page may show has its word, icon and tone."""

from __future__ import annotations

import pytest

from console.words.states import STATES
from metering.cases.steps import CaseState as CaseState
from providers.base import ResourceState
from providers.orders.tables import OrderState
from quota.requests.tables import RequestState


@pytest.mark.parametrize(
    ("states", "prefix"), [(RequestState, ""), (OrderState, "order_"), (ResourceState, "")], ids=str
)
def test_every_state_can_be_shown(states, prefix: str) -> None:
    assert {f"{prefix}{one.value}" for one in states} <= set(STATES)


def test_cases_have_states_of_their_own() -> None:
    assert all(f"case_{one.value}" in STATES or one.value in STATES for one in CaseState)
