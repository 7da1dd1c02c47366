"""That a provider gives less than a machine wants is said where its figures are read."""

from __future__ import annotations

import pytest

from console.words.policies import starved
from console.words.refusals import WORDS, words


@pytest.fixture
def page(app):
    with app.test_request_context():
        yield


def test_a_finding_says_that_its_machine_was_starved_by_the_longest_window_that_tells(page):
    told = starved(
        {
            "7": {"starved": 0.9, "steal_mean": 60.0},
            "30": {"starved": 0.5, "steal_mean": 31.25},
            "90": {"starved": None, "steal_mean": None},
        }
    )
    assert told is not None
    assert all(part in told for part in ("供给不足", "近30天", "50.0%", "31.2%"))


@pytest.mark.parametrize("seen", [{}, {"starved": 0.0, "steal_mean": 0.4}, {"starved": None}])
def test_who_was_given_all_or_tells_nothing_has_no_such_word(page, seen):
    assert starved({"30": seen}) is None


def test_each_reason_has_a_sentence_and_another_stands_as_it_is(page):
    assert {one for one in WORDS if words(one) == one} == set()
    assert words("mem_pct:absurd") == "mem_pct超出合理范围"
    assert words("something.else") == "something.else"
