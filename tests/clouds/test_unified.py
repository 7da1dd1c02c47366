"""A Nova that holds projects to Keystone's limits: they are read, an order sets them, and Nova lets boot what they allow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.base import OutcomeState, ProjectQuota, ServiceKind, Verb
from quota.units import MEMORY, VCPU
from tests.clouds.services import Services
from tests.clouds.test_hands import BIG, GB, SMALL, Bench, bench, now  # noqa: F401 - a fixture

BEFORE = {VCPU: 4, MEMORY: 48 * GB}


@pytest.fixture
def unified(services: Services) -> Iterator[Services]:
    services.quota_by_keystone(True)
    yield services
    services.quota_by_keystone(False)


def told(bench: Bench) -> ProjectQuota:  # noqa: F811
    return next(one for one in bench.cloud().quotas(now()) if one.project.external_id == bench.project)


def limited(bench: Bench, limits: dict[str, int]) -> None:  # noqa: F811
    order = bench.order(Verb.SET_QUOTA, ServiceKind.PROJECT, project=bench.project, limits=limits)
    assert "quota_unified" in [one.name for one in bench.cloud().plan(order, now())]
    assert bench.run(order).state is OutcomeState.DONE
    found = told(bench)
    assert {kind: found.unified[kind] for kind in limits} == limits
    assert {kind: found.limits[kind] for kind in limits} == limits, "and Nova answers so for its own"


def test_limits_of_keystone_are_read_set_and_held_to(unified: Services, bench: Bench) -> None:  # noqa: F811
    del unified
    if told(bench).unified.get(VCPU) == BEFORE[VCPU]:  # of a run before: what stands is not set again
        limited(bench, {VCPU: BEFORE[VCPU] + 1})
    limited(bench, BEFORE)
    order = bench.order(Verb.CREATE, amounts=BIG, name="unified-big", project=bench.project)
    refused = bench.run(order)
    assert (refused.state, refused.code) == (OutcomeState.FAILED, "over_quota")
    fits = bench.run(bench.order(Verb.CREATE, amounts=SMALL, name="unified-small", project=bench.project))
    assert fits.state is OutcomeState.DONE
    limited(bench, {VCPU: 16})
    made = bench.run(bench.order(Verb.CREATE, amounts=BIG, name="unified-big", project=bench.project))
    assert made.state is OutcomeState.DONE
    for one in (fits, made):
        assert bench.run(bench.order(Verb.DELETE, external_id=one.external_id)).state is OutcomeState.DONE
    limited(bench, BEFORE)
