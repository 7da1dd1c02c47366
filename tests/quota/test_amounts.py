"""Amounts: arithmetic that loses nothing, JSON that stays as it was, and figures that are none."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota.errors import Invalid
from quota.units import BLOCK, MEMORY, NOTHING, SEED, VCPU, Amount, Arch, Commodity, shown

AMOUNTS = st.dictionaries(st.sampled_from([one.code for one in SEED]), st.integers(0, 10**9), max_size=5).map(Amount)


@given(AMOUNTS, AMOUNTS)
def test_what_is_added_is_taken_off_again(one: Amount, other: Amount) -> None:
    assert one + other == other + one
    assert one + other - other == one
    assert one.over(other) + one.within(other) == one
    assert one.over(other).within(other.over(one)) == NOTHING
    assert one | other == {**one, **other}
    assert (one | other).differing(one) == other.differing(one)
    assert one * 3 == one + one + one == Amount.total([one] * 3)
    assert hash(one) == hash(Amount(reversed(list(one.items()))))
    assert Amount.from_json(json.loads(json.dumps(one.to_json()))) == pickle.loads(pickle.dumps(one)) == one  # noqa: S301


@given(AMOUNTS, st.sampled_from(list(Arch)))
def test_the_ledger_books_all_of_it(one: Amount, arch: Arch) -> None:
    booked = one.of_arch(arch)
    assert Amount({commodity.kind: figure for commodity, figure in booked.items()}) == one
    assert all(commodity == Commodity.of(commodity.kind, arch) for commodity in booked)


def test_json_keeps_the_order_that_it_was_given_in() -> None:
    assert json.dumps(Amount({MEMORY: 2048, VCPU: 0, BLOCK: 5}).to_json()) == '{"memory": 2048, "block": 5}'
    assert json.dumps((Amount({MEMORY: 2, VCPU: 1}) | {BLOCK: 3, MEMORY: 4}).to_json()) == (
        '{"memory": 4, "vcpu": 1, "block": 3}'
    )


def test_it_is_shown_in_what_people_read() -> None:
    assert Amount({VCPU: 4, MEMORY: 2560}).shown() == {VCPU: 4, MEMORY: 2.5}
    assert isinstance(shown(MEMORY, 2048), int)


@pytest.mark.parametrize("figure", [-1, 1.5, True, "3"])
def test_what_is_no_amount_is_refused(figure: object) -> None:
    with pytest.raises(ValueError, match="no amount"):
        Amount({VCPU: figure})  # type: ignore[dict-item]
    with pytest.raises(Invalid, match=r"amount\.bad"):
        Amount.from_json({"vcpu": figure})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="no amount"):
        Amount({VCPU: 1}) - {VCPU: 2}
    with pytest.raises(Invalid, match=r"kind\.unknown"):
        Amount.from_json({"pony": 1})
