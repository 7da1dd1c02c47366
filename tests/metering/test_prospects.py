"""When the first verdicts of a house are due."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from metering.judging import policy
from metering.judging.policy import Condition, Policy, PolicyRule, Verdict
from metering.judging.prospects import Prospect, prospect, silent

ON = date(2026, 6, 10)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([], Prospect(0, 7, None)),
        ([0], Prospect(0, 7, ON + timedelta(days=7))),  # the first samples came this morning
        ([1], Prospect(1, 7, ON + timedelta(days=6))),
        ([1, 2, 3], Prospect(3, 7, ON + timedelta(days=4))),
        (range(1, 31), Prospect(7, 7, ON)),
        ([20, 21, 22], Prospect(0, 7, None)),  # of long ago: the window begins anew with the next sample
    ],
)
def test_by_the_default_policy_the_first_week_says_how_far_it_is(days, expected) -> None:
    assert prospect(policy.default(), ON, [ON - timedelta(days=one) for one in days]) == expected


def test_a_policy_that_asks_for_less_is_there_sooner() -> None:
    rule = PolicyRule(Verdict.BUSY, 3, (Condition("cpu_p95", ">=", 80),), coverage=0.5)
    assert prospect(Policy("p", 1, ON, (rule,)), ON, [ON - timedelta(days=1)]) == Prospect(1, 2, ON + timedelta(days=1))


def test_a_run_is_silent_where_nothing_is_known() -> None:
    assert silent({})
    assert silent({"unknown": 12})
    assert not silent({"unknown": 12, "idle": 1})
