"""What a cloud tells beside its machines: services that did not tell everything, its own words, projects and whose they are,
architectures that are not the pool's, quotas and capacity."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from providers import observation
from providers.base import CloudCapacity, Inventory, ProjectFact, ProjectQuota, ResourceFact, ResourceState, ServiceKind
from providers.observation import cloud_figures, held_listings
from providers.observation.listings import Listing
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.errors import Invalid, NotAllowed, NotFound
from quota.inventory import CloudProject, Resource, projects, takeovers
from quota.units import BLOCK, MEMORY, VCPU, Arch
from tests.providers.test_inventory import DAY, city, department_of, pool_of, rows, vm  # noqa: F401 - a fixture

SUPERVISOR = Actor("supervisor", "监督", Role.SUPERVISOR)
DOWN = {ServiceKind.VOLUME: "block_storage /volumes/detail: 503"}
FINANCE, HEALTH = ProjectFact("p-1", "d1-finance", "Default", ("gov",)), ProjectFact("p-2", "clinic")


def volume(external_id: str, gb: int = 100) -> ResourceFact:
    return ResourceFact(external_id, external_id, ServiceKind.VOLUME, Arch.ANY, {BLOCK: gb}, ResourceState.RUNNING)


def observe(book: Book, *facts: ResourceFact, hours: float = 0, **more: Any) -> observation.Drift:
    with book.transaction(steward()) as tx:
        return observation.observe(tx, pool_of(tx), Inventory(DAY + timedelta(hours=hours), list(facts), **more))


def project_ids(book: Book) -> dict[str, int]:
    with book.reading() as tx:
        return {one.external_id: one.id for one in tx.scalars(select(CloudProject))}


def assign(
    book: Book, names: list[str], department: str | None, actor: Actor = SUPERVISOR, reason: str = "核对"
) -> int:
    ids = project_ids(book)
    with book.transaction(actor) as tx:
        department_id = department_of(tx, department) if department else None
        return projects.assign(tx, pool_of(tx).id, [ids[one] for one in names], department_id, reason)


def test_a_service_that_is_down_ends_nothing_of_its_kind_and_everything_of_others(city: Book) -> None:  # noqa: F811
    observe(city, vm("a"), vm("b"), volume("v1"), volume("v2"))
    drift = observe(city, vm("a"), hours=1, short=DOWN)
    found = rows(city)
    assert found["b"].gone_at == DAY + timedelta(hours=1)
    assert [found[one].gone_at for one in ("a", "v1", "v2")] == [None] * 3
    assert found["a"].last_seen_at == DAY + timedelta(hours=1)
    assert found["v1"].last_seen_at == DAY
    assert not drift.complete
    assert drift.summary()["short"] == {"volume": DOWN[ServiceKind.VOLUME]}
    with city.reading() as tx:
        pool_id = pool_of(tx).id
        latest = observation.last_listing(tx, pool_id)
        assert latest is not None
        assert (latest.complete, latest.tells("vm"), latest.tells("volume")) == (False, True, False)
        assert observation.last_listing(tx, pool_id, of="vm") is latest
        before = observation.last_listing(tx, pool_id, of="volume")
        assert before is not None
        assert before.as_of == DAY
    observe(city, vm("a"), volume("v1"), hours=2)
    assert rows(city)["v2"].gone_at == DAY + timedelta(hours=2)


def test_what_a_service_told_of_its_kind_before_it_broke_off_is_seen(city: Book) -> None:  # noqa: F811
    observe(city, vm("a"), volume("v1"), volume("v2"))
    observe(city, vm("a"), volume("v1"), hours=1, short=DOWN)
    found = rows(city)
    assert (found["v1"].last_seen_at, found["v2"].last_seen_at) == (DAY + timedelta(hours=1), DAY)
    assert found["v2"].gone_at is None


def test_half_of_one_kind_is_held_however_many_others_there_are(city: Book) -> None:  # noqa: F811
    machines = [vm(f"m{n}") for n in range(200)]
    observe(city, *machines, *(volume(f"v{n}") for n in range(24)))
    drift = observe(city, *machines, *(volume(f"v{n}") for n in range(12)), hours=1)
    assert (len(drift.held), drift.gone) == (12, [])


def test_a_listing_of_which_a_part_is_short_can_be_ended_by_a_person(city: Book) -> None:  # noqa: F811
    machines = [vm(f"m{n}") for n in range(24)]
    observe(city, *machines, volume("v1"))
    drift = observe(city, *machines[:12], hours=1, short=DOWN)
    assert len(drift.held) == 12
    with city.transaction(SUPERVISOR) as tx:
        latest = tx.scalars(select(Listing).order_by(Listing.as_of.desc())).first()
        assert latest is not None
        assert held_listings.end(tx, latest, "已核实") == 12
        assert not latest.complete
    assert rows(city)["v1"].gone_at is None


def test_the_clouds_own_word_is_kept_beside_ours_with_its_history(city: Book) -> None:  # noqa: F811
    observe(city, vm("a", cloud_state="ACTIVE"))
    observe(city, vm("a", state=ResourceState.CHANGING, cloud_state="VERIFY_RESIZE"), hours=1)
    one = rows(city)["a"]
    assert (one.state, one.cloud_state) == ("changing", "VERIFY_RESIZE")
    with city.reading() as tx:
        assert inventory.history(tx, one.id)[-1].before == {"state": "running", "cloud_state": "ACTIVE"}


def test_projects_are_listed_until_somebody_says_whose_they_are(city: Book) -> None:  # noqa: F811
    untagged = {"department_code": None, "system_code": None}
    drift = observe(
        city,
        vm("a", project=FINANCE, **untagged),
        vm("b", project=HEALTH, **untagged),
        projects=[ProjectFact("p-3", "empty")],
    )
    assert drift.unmapped == {"d1-finance": 1, "clinic": 1}
    assert set(project_ids(city)) == {"p-1", "p-2", "p-3"}
    assert {one.department_id for one in rows(city).values()} == {None}
    with city.reading() as tx:
        known = list(tx.scalars(select(CloudProject).order_by(CloudProject.external_id)))
        suggested = projects.suggest(tx, known)
        assert {tx.get_one(CloudProject, id_).external_id: one.department.code for id_, one in suggested.items()} == {
            "p-1": "d1"
        }
    assert assign(city, ["p-1", "p-2"], "d2") == 2
    with city.reading() as tx:
        d2 = department_of(tx, "d2")
        assert projects.resources_in(tx, project_ids(city).values()) == {
            project_ids(city)[one]: 1 for one in ("p-1", "p-2")
        }
    assert {one.department_id for one in rows(city).values()} == {d2}
    drift = observe(city, vm("a", project=FINANCE, **untagged), vm("c", project=FINANCE, **untagged), hours=1)
    assert drift.unmapped == {}
    assert rows(city)["c"].department_id == d2


def test_a_person_s_word_goes_before_a_tag_and_never_over_what_was_approved(city: Book) -> None:  # noqa: F811
    observe(city, vm("a", project=FINANCE), vm("b", project=FINANCE))
    found = rows(city)
    with city.transaction(SUPERVISOR) as tx:
        d1, d2 = department_of(tx, "d1"), department_of(tx, "d2")
        tx.get_one(Resource, found["b"].id).basis = "adopted"
    assert found["a"].department_id == d1
    assert assign(city, ["p-1"], "d2") == 1
    assert {name: one.department_id for name, one in rows(city).items()} == {"a": d2, "b": d1}
    drift = observe(city, vm("a", project=FINANCE), vm("b", project=FINANCE), hours=1)
    assert drift.misowned == [found["b"].id]
    assert rows(city)["a"].department_id == d2
    assert assign(city, ["p-1"], None) == 0
    observe(city, vm("a", project=FINANCE), vm("b", project=FINANCE), hours=2)
    assert rows(city)["a"].department_id == d1, "the tag counts again"


def test_a_project_keeps_what_was_known_of_it(city: Book) -> None:  # noqa: F811
    observe(city, vm("a", project=FINANCE))
    assign(city, ["p-1"], "d2")
    observe(city, vm("a", project=ProjectFact("p-1")), hours=1)
    observe(city, vm("a", project=ProjectFact("p-1", "renamed")), hours=2)
    observe(city, hours=3)
    with city.reading() as tx:
        one = tx.scalars(select(CloudProject)).one()
        assert (one.name, one.domain, one.tags, one.mapped_by) == ("renamed", "Default", ["gov"], "supervisor")
        assert (one.first_seen_at, one.last_seen_at) == (DAY, DAY + timedelta(hours=2))


def test_what_is_decided_in_one_pool_is_suggested_in_the_companys_others(city: Book) -> None:  # noqa: F811
    observe(city, vm("a", project=HEALTH))
    assign(city, ["p-2"], "d2")
    with city.transaction(steward()) as tx:
        other, same = pool_of(tx, "p2"), pool_of(tx)
        other.provider_id = same.provider_id
        tx.flush()
        observation.observe(tx, other, Inventory(DAY, [vm("x", project=HEALTH)]))
    with city.reading() as tx:
        row = tx.scalars(select(CloudProject).where(CloudProject.pool_id == pool_of(tx, "p2").id)).one()
        assert projects.suggest(tx, [row])[row.id].department.code == "d2"


def test_who_may_not_or_says_nothing_decides_nothing(city: Book) -> None:  # noqa: F811
    observe(city, vm("a", project=FINANCE))
    with pytest.raises(NotAllowed):
        assign(city, ["p-1"], "d2", Actor("somebody", "某人", Role.AUTHORITY))
    with pytest.raises(Invalid):
        assign(city, ["p-1"], "d2", reason=" ")
    with pytest.raises(Invalid):
        assign(city, [], "d2")
    with city.transaction(SUPERVISOR) as tx, pytest.raises(NotFound):
        projects.assign(tx, pool_of(tx, "p2").id, project_ids(city).values(), None, "核对")


def test_another_architecture_than_the_pools_is_shown_and_never_booked(city: Book) -> None:  # noqa: F811
    drift = observe(city, vm("a"), vm("b", arch=Arch.X86_64), volume("v1"))
    found = rows(city)
    assert drift.misplaced == [found["b"].id]
    assert observe(city, vm("a"), vm("b", arch=Arch.X86_64), volume("v1"), hours=1).misplaced == [found["b"].id]
    with city.transaction(SUPERVISOR) as tx:
        d1 = department_of(tx, "d1")
        assert [one.external_id for one in takeovers.preview(tx, d1).resources] == ["a"]
        booked = inventory.adopt(tx, pool_of(tx))
        assert booked.resources == 1
    assert {name: one.basis for name, one in rows(city).items()} == {"a": "adopted", "b": "", "v1": ""}


def test_what_a_cloud_says_of_its_quotas_and_capacity_takes_the_place_of_what_it_said(city: Book) -> None:  # noqa: F811
    observe(city, vm("a", project=FINANCE))
    with city.transaction(steward()) as tx:
        pool_id = pool_of(tx).id
        assert cloud_figures.due(tx, pool_id, cloud_figures.CloudBook.QUOTAS)
        told = ProjectQuota(FINANCE, {VCPU: 96, MEMORY: None}, {VCPU: 4, MEMORY: 8192}, {VCPU: 80})
        cloud_figures.enter_quotas(tx, pool_id, [told], now := tx.now)
        cloud_figures.enter_capacity(tx, pool_id, [CloudCapacity(VCPU, 64, 4, Decimal("3.99996"), 30)], DAY)
        assert not cloud_figures.due(tx, pool_id, cloud_figures.CloudBook.QUOTAS)
    with city.transaction(steward()) as tx:
        cloud_figures.enter_capacity(
            tx, pool_id, [CloudCapacity(VCPU, 64, 8, Decimal(4), 30)], DAY + timedelta(hours=1)
        )
        cloud_figures.failed(tx, pool_id, cloud_figures.CloudBook.QUOTAS, "rights", "403 Forbidden")
    with city.reading() as tx:
        one = cloud_figures.capacities(tx, pool_id)[VCPU]
        assert (one.total, one.reserved, one.ratio, one.usable, one.used) == (64, 8, Decimal(4), 224, 30)
        (project,) = tx.scalars(select(CloudProject))
        kept = {row.kind: (row.most, row.unified, row.used) for row in cloud_figures.quotas(tx, [project])[project.id]}
        assert kept == {"vcpu": (96, 80, 4), "memory": (None, None, 8192)}
        failed = cloud_figures.reading(tx, pool_id, cloud_figures.CloudBook.QUOTAS)
        assert failed is not None
        assert (failed.fault, failed.read_at) == ("rights", now)
        assert cloud_figures.due(tx, pool_id, cloud_figures.CloudBook.QUOTAS)
    assert cloud_figures.sound_ratio(Decimal("3.99996")) == Decimal("3.999"), "rather less than there is"
