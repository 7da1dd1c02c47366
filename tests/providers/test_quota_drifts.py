"""The quotas of a cloud beside the book: each kind of difference with its figures, since when, and that neither side is moved."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from providers.base import ProjectFact, ProjectQuota
from providers.observation import cloud_figures, quota_drifts
from providers.observation.quota_drifts import QuotaDrift, QuotaDriftKind, QuotaPair, judge
from quota import ledger
from quota.actors import steward
from quota.directory import Pool
from quota.inventory import CloudProject
from quota.units import MEMORY, VCPU, Arch
from tests.city import WORKS, City, Plan, PoolPlan


@pytest.mark.parametrize(
    ("pair", "owned", "kind"),
    [
        (QuotaPair(book=32, most=32, used=4), True, None),
        (QuotaPair(book=32, held=8, most=40), True, None),
        (QuotaPair(book=32, held=8, most=32), True, None),
        (QuotaPair(), True, None),
        (QuotaPair(), False, None),
        (QuotaPair(most=8), False, "orphaned"),
        (QuotaPair(used=1), False, "orphaned"),
        (QuotaPair(most=None), False, "orphaned"),
        (QuotaPair(most=8), True, "unapproved"),
        (QuotaPair(most=None), True, "unapproved"),
        (QuotaPair(book=32, most=None), True, "unlimited"),
        (QuotaPair(book=32, most=0), True, "missing"),
        (QuotaPair(book=32, most=64), True, "larger"),
        (QuotaPair(book=32, held=8, most=41), True, "larger"),
        (QuotaPair(book=32, most=31), True, "smaller"),
        (QuotaPair(book=32, most=16, used=33), True, "overused"),
    ],
)
def test_each_difference_has_its_kind(pair: QuotaPair, owned: bool, kind: str | None) -> None:
    assert judge(pair, owned=owned) == kind


def read(
    works: City, told: dict[str, tuple[dict[Any, int | None], dict[Any, int]]]
) -> dict[tuple[str, str], QuotaDrift]:
    """Enter quotas as a collection does; what differs then."""
    with works.book.transaction(steward("job:collect")) as tx:
        rows = [ProjectQuota(ProjectFact(name, name), limits, used) for name, (limits, used) in told.items()]
        cloud_figures.enter_quotas(tx, works.pool, rows, tx.now)
        quota_drifts.look(tx, works.pool, tx.now)
    with works.book.reading() as tx:
        return {(one.subject.partition(":")[0], one.kind): one for one in tx.scalars(select(QuotaDrift))}


def test_what_differs_is_kept_with_its_age_until_it_agrees(works: City, clock: Any) -> None:
    with works.book.reading() as tx:
        before = [(one.code, one.balance) for one in ledger.balances(tx)]
    told = {"mine": ({VCPU: 64, MEMORY: 131072}, {VCPU: 4})}
    found = read(works, told)
    assert {(key, one.drift) for key, one in found.items()} == {
        (("project", VCPU), "orphaned"), (("project", MEMORY), "orphaned"),
        (("department", VCPU), "missing"), (("department", MEMORY), "missing"),
    }  # fmt: skip
    with works.book.transaction(steward()) as tx:
        tx.scalars(select(CloudProject)).one().department_id = works.bureau
    clock.advance(hours=1)
    began = clock.now
    [one] = read(works, told).values()
    assert (one.drift, one.book, one.most, one.used, one.since) == ("larger", 32, 64, 4, began)
    clock.advance(hours=5)
    [one] = read(works, {"mine": ({VCPU: 48, MEMORY: 131072}, {})}).values()
    assert (one.drift, one.most, one.since, one.seen_at) == ("larger", 48, began, clock.now)
    clock.advance(hours=1)
    [one] = read(works, {"mine": ({VCPU: 16, MEMORY: 131072}, {})}).values()
    assert (one.drift, one.since) == ("smaller", clock.now), "another kind is another difference"
    assert (
        read(works, {"mine": ({VCPU: 20, MEMORY: 131072}, {}), "more": ({VCPU: 12, MEMORY: 0}, {})})[
            "department", VCPU
        ].drift
        == "smaller"
    )
    with works.book.transaction(steward()) as tx:
        for project in tx.scalars(select(CloudProject)):
            project.department_id = works.bureau
    assert read(works, {"mine": ({VCPU: 20, MEMORY: 131072}, {}), "more": ({VCPU: 12, MEMORY: 0}, {})}) == {}
    with works.book.reading() as tx:
        assert [(one.code, one.balance) for one in ledger.balances(tx)] == before, "a reading moves nothing"


@pytest.mark.parametrize(
    ("arch", "zone", "kind"),
    [
        (Arch.AARCH64, "互联网", "wrong_zone"),
        (Arch.X86_64, "政务外网", "wrong_arch"),
        (Arch.X86_64, "互联网", "wrong_arch"),
    ],
)
def test_what_was_set_up_in_another_pool_than_the_book_gave_it_in_says_where_it_was_meant(
    works: City, clock: Any, arch: Arch, zone: str, kind: str
) -> None:
    home = works.pool
    mine = ({VCPU: 64, MEMORY: 131072}, {VCPU: 4})
    works.add(Plan(companies={}, departments={}, pools={"away": PoolPlan("haichen", arch, zone=zone)}))
    away = works.pool
    read(works, {"there": mine})
    with works.book.transaction(steward()) as tx:
        tx.scalars(select(CloudProject)).one().department_id = works.bureau
    assert read(works, {"there": mine})["department", VCPU].drift == "unapproved", (
        "whether it is missing elsewhere is not known"
    )
    works.pool = home
    read(works, {"home": ({VCPU: 0, MEMORY: 131072}, {})})
    with works.book.transaction(steward()) as tx:
        tx.scalars(select(CloudProject).where(CloudProject.pool_id == home)).one().department_id = works.bureau
    read(works, {"home": ({VCPU: 0, MEMORY: 131072}, {})})
    works.pool = away
    clock.advance(hours=1)
    read(works, {"there": mine})
    with works.book.reading() as tx:
        there = {one.kind: one for one in tx.scalars(select(QuotaDrift).where(QuotaDrift.pool_id == away))}
    assert (there[VCPU].drift, there[VCPU].meant_pool_id, there[VCPU].since) == (kind, home, clock.now)
    assert (there[MEMORY].drift, there[MEMORY].meant_pool_id) == ("unapproved", None), (
        "the book's own place has it whole"
    )


@pytest.mark.parametrize(
    ("regions", "one"), [(("", ""), True), (("east", ""), True), (("east", "east"), True), (("east", "west"), False)]
)
def test_what_the_book_gave_in_all_pools_of_one_cloud_stands_beside_its_one_quota(
    works: City, regions: tuple[str, str], one: bool
) -> None:
    """The cloud lets a project have 48 vCPU: 32 by the book of its ARM pool and 16 by that of its x86 pool."""
    home = works.pool
    beside = PoolPlan("haichen", Arch.X86_64, WORKS.pools["pool"].capacities)
    works.add(Plan(companies={}, departments={}, pools={"beside": beside}, granted={VCPU: 16}))
    here = [home, works.pool]
    with works.book.transaction(steward()) as tx:
        for pool_id, region in zip(here, regions, strict=True):
            tx.get_one(Pool, pool_id).adapter_options = {"region": region}
    told = {"mine": ({VCPU: 48, MEMORY: 131072}, {VCPU: 40})}
    for works.pool in (*here, *here):  # the first reading enters the projects, which somebody then gives to the bureau
        found = read(works, told)
        with works.book.transaction(steward()) as tx:
            for project in tx.scalars(select(CloudProject)):
                project.department_id = works.bureau
    with works.book.reading() as tx:
        drifts = {one.pool_id: one.drift for one in tx.scalars(select(QuotaDrift).where(QuotaDrift.kind == VCPU))}
        given = {pool_id: quota_drifts.given(tx, pool_id, works.bureau)[VCPU] for pool_id in here}
        others = [[other.id for other in quota_drifts.of_same_cloud(tx, pool_id)] for pool_id in here]
    if one:
        assert (found, drifts, given, others) == ({}, {}, dict.fromkeys(here, 48), [here[1:], here[:1]])
    else:
        assert (drifts, given, others) == (
            dict.fromkeys(here, "larger"),
            dict(zip(here, (32, 16), strict=True)),
            [[], []],
        )


def test_each_kind_has_a_word_and_a_next_step() -> None:
    assert quota_drifts.LABELS.keys() == quota_drifts.NEXT_STEPS.keys() == set(QuotaDriftKind)
