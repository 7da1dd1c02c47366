"""Growth within the day of what is no CPU, replayed: known loads, and the very rule that the look goes by."""

from __future__ import annotations

import numpy as np
import pytest

from metering.judging import GAUGES, GrowthTerms, growth_terms
from metering.simulation.growth_replays import GrowthReplay, replay
from metering.sizing import HOUR

NAN = float("nan")


def test_memory_that_fills_for_an_hour_and_three_quarters_is_enlarged_and_given_back():
    share = np.full((2, 288), 50.0)
    share[0, 100:121] = 97.0
    found = replay(share, GrowthTerms("memory"))
    assert (found.resources, found.told, found.full) == (2, 576, 21)
    assert (found.grew, found.returned, found.left) == (1, 1, 3), (
        "the third sample is the ground; what follows has room"
    )
    # Half as much again from slot 103 on; slot 120 is heard of for an hour, then three hours: until slot 168.
    assert found.lent == pytest.approx((168 - 103) * 0.5)
    assert found.to_json()["left_share"] == pytest.approx(3 / 576)


def test_a_disk_is_enlarged_for_good_and_again_when_it_is_full_again():
    share = np.full((1, 600), 60.0)
    share[0, 100:] = 97.0
    found = replay(share, GrowthTerms("disk", level=77, calm=50, samples=1, step=1.25, most=4))
    assert (found.grew, found.returned) == (2, 0), "97 of 125 are at the line of 77 %, 97 of 156 are not"
    assert found.left == 2
    assert found.lent == pytest.approx(0.25 + 0.5625 * (600 - 102))


def test_what_is_not_told_is_no_ground_to_give_back_and_beyond_the_size_nothing_counts():
    share = np.full((1, 288), 50.0)
    share[0, 100:103] = 400.0
    share[0, 103:200] = NAN
    found = replay(share, GrowthTerms("memory"))
    assert (found.grew, found.returned) == (1, 1)
    assert found.lent == pytest.approx(0.5 * 9), "after nine samples that are told"
    assert replay(np.minimum(share, 100), GrowthTerms("memory")) == found
    assert replay(np.full((1, 20), NAN), GrowthTerms("memory")) == GrowthReplay(resources=1)


@pytest.mark.parametrize("gauge", [code for code, one in GAUGES.items() if not one.of_time])
def test_it_is_what_the_look_would_have_done(gauge: str):
    """Look by look, through `growth_terms.sight`, of which the look within the day is made."""
    terms, random = GrowthTerms(gauge, hold_hours=1), np.random.default_rng(3)
    busy = np.repeat(random.choice([0.3, 0.7, 0.97, 1.2], (4, 30)), 20, axis=1)
    share = 100 * busy + random.normal(0, 3, busy.shape)
    share[np.repeat(random.random((4, 60)) < 0.15, 10, axis=1)] = NAN
    told = GrowthReplay(resources=4, told=int(np.isfinite(share).sum()))
    told.full = int((np.nan_to_num(share, nan=-1) >= terms.level - 1e-9).sum())
    for one in share:
        plainly(one, terms, told)
    found = replay(share, terms)
    assert told.grew > 3
    assert found == GrowthReplay(**{**vars(told), "lent": pytest.approx(told.lent)})


def plainly(share: np.ndarray, terms: GrowthTerms, told: GrowthReplay) -> None:
    size, force, until, since = 1.0, 1.0, 0, 0
    used = np.clip(share, 0, 100) / 100
    for slot in range(len(used)):
        if used[slot] == used[slot]:
            told.left += bool(used[slot] >= terms.level / 100 * force - 1e-9)
            told.lent += force - 1
        now = slot + 1
        hour = np.full(HOUR, NAN)
        heard = used[max(since, now - HOUR) : now]
        hour[HOUR - len(heard) :] = heard
        lent = force > size
        seen = growth_terms.sight(
            hour[None, :] / force * 100, np.array([size]), np.array([force]), np.array([lent]), terms
        )
        if seen.short[0] and force < terms.most * size - 1e-9:
            told.grew += not lent
            force, since, until = min(terms.step * force, terms.most * size), now, now + terms.hold_hours * HOUR
            size = force if terms.about.stays else size
        elif lent and seen.over[0]:
            until = now + terms.hold_hours * HOUR
        elif lent and until <= now and seen.known[0]:
            told.returned += 1
            force, since = size, now
