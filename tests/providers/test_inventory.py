"""What a listing does to the inventory: evidence kept, nothing guessed, nothing ended by half a listing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError

from providers import observation
from providers.adapters.simulated.city import CityCapacity
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.observation.listings import Listing
from quota import inventory, units
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.db import Book, Tx
from quota.directory import departments as agencies
from quota.directory import pools
from quota.errors import Conflict, NotAllowed, NotFound, OverCapacity
from quota.inventory import Change, Resource, ResourceChange
from quota.ledger import entries
from quota.ledger.tables import Holder, Side
from quota.units import MEMORY, VCPU, Arch, Commodity
from tests.city import City, DepartmentPlan, Plan, PoolPlan

DAY = datetime(2026, 6, 1, tzinfo=UTC)
CPU = Commodity(VCPU, Arch.AARCH64)
BLOCK = Commodity(units.BLOCK, Arch.ANY)


def vm(external_id: str, *, vcpu: int = 4, gb: int = 8, **told: Any) -> ResourceFact:
    given = {
        "name": f"机{external_id}",
        "kind": ServiceKind.VM,
        "arch": Arch.AARCH64,
        "amounts": {VCPU: vcpu, MEMORY: gb * 1024},
        "state": ResourceState.RUNNING,
        "department_code": "d1",
        "system_code": "s1",
        "created_at": DAY - timedelta(days=90),
    }
    return ResourceFact(external_id=external_id, **(given | told))


CAPACITIES = tuple(
    CityCapacity(kind, figure, 0, Decimal(1))
    for kind, figure in {VCPU: 100, MEMORY: 400 * 1024, units.BLOCK: 1000}.items()
)
PLAN = Plan(
    companies={"first_company": ("c1", "云1"), "second_company": ("c2", "云2")},
    pools={
        "first_pool": PoolPlan("first_company", Arch.AARCH64, CAPACITIES, "p1", "池1", xinchuang=True),
        "second_pool": PoolPlan("second_company", Arch.AARCH64, CAPACITIES, "p2", "池2", xinchuang=True),
    },
    departments={
        "group": DepartmentPlan("d", "市直"),
        "first": DepartmentPlan("d1", "一局", above="group"),
        "second": DepartmentPlan("d2", "二局", above="group"),
    },
    systems={"portal": ("s1", "门户", "first")},
)
"""Two companies with a pool each, a group d above bureaus d1 and d2, one system of d1.

c1 ── p1 (aarch64: 100 vCPU, 400 GB memory, 1000 GB block)     d ── d1 ── s1
c2 ── p2 (the same)                                              └─ d2
"""


@pytest.fixture
def city(book: Book) -> Book:
    City(book, plan=PLAN)
    return book


def pool_of(tx: Tx, code: str = "p1") -> pools.Pool:
    return tx.scalars(select(pools.Pool).where(pools.Pool.code == code)).one()


def department_of(tx: Tx, code: str) -> int:
    return tx.scalars(select(agencies.Department.id).where(agencies.Department.code == code)).one()


def observe(book: Book, *facts: ResourceFact, hours: float = 0, complete: bool = True) -> observation.Drift:
    with book.transaction(steward()) as tx:
        return observation.observe(
            tx, pool_of(tx), Inventory(DAY + timedelta(hours=hours), list(facts), complete=complete)
        )


def rows(book: Book) -> dict[str, Resource]:
    with book.reading() as tx:
        found = {one.external_id: one for one in tx.scalars(select(Resource).order_by(Resource.id))}
        tx.expunge_all()
        return found


def test_what_appears_without_an_order_is_unapproved(city: Book) -> None:
    drift = observe(city, vm("a"), vm("b", department_code="d2", system_code=None))
    assert drift.new == drift.unapproved
    assert len(drift.new) == 2
    found = rows(city)
    with city.reading() as tx:
        assert found["a"].department_id == department_of(tx, "d1")
        assert found["b"].department_id == department_of(tx, "d2")
        assert inventory.ids(tx, found["a"].pool_id, ["a", "b", "zz"]) == {
            "a": found["a"].id,
            "b": found["b"].id,
        }
    assert found["a"].basis == ""
    assert found["a"].booked == {}
    assert found["a"].amounts == {"vcpu": 4, "memory": 8192}


def test_the_same_listing_again_changes_nothing(city: Book) -> None:
    observe(city, vm("a"), vm("b"))
    before = rows(city)
    drift = observe(city, vm("a"), vm("b"))
    assert (drift.new, drift.changed, drift.gone) == ([], [], [])
    after = rows(city)
    assert {key: vars(one) | {"_sa_instance_state": 0} for key, one in before.items()} == {
        key: vars(one) | {"_sa_instance_state": 0} for key, one in after.items()
    }
    with city.reading() as tx:
        assert len(tx.scalars(select(Listing)).all()) == 1
        assert len(tx.scalars(select(ResourceChange)).all()) == 2
        assert len(tx.scalars(select(AuditRecord).where(AuditRecord.action == "inventory.observe")).all()) == 1


def test_changes_are_kept_with_what_was_before(city: Book) -> None:
    observe(city, vm("a"))
    stopped = DAY + timedelta(hours=5)
    observe(city, vm("a", vcpu=8), hours=3)
    drift = observe(city, vm("a", vcpu=8, state=ResourceState.STOPPED, stopped_at=stopped), hours=6)
    one = rows(city)["a"]
    assert drift.changed == [one.id]
    with city.reading() as tx:
        told = [(c.what, c.at, c.before.get("amounts"), c.after.get("amounts")) for c in inventory.history(tx, one.id)]
        shapes = inventory.state_periods(tx, DAY, DAY + timedelta(hours=8))[one.id]
    small, big = {"vcpu": 4, "memory": 8192}, {"vcpu": 8, "memory": 8192}
    assert told == [
        (Change.APPEARED, DAY - timedelta(days=90), None, small),
        (Change.SHAPE, DAY + timedelta(hours=3), small, big),
        (
            Change.STATE,
            stopped,
            None,
            None,
        ),  # since when it is off is told by the cloud, not by when we looked
    ]
    assert [(s.end - s.start, s.amounts[VCPU], s.state) for s in shapes] == [
        (timedelta(hours=3), 4, ResourceState.RUNNING),
        (timedelta(hours=2), 8, ResourceState.RUNNING),
        (timedelta(hours=3), 8, ResourceState.STOPPED),
    ]


def test_half_a_listing_ends_nothing_and_a_whole_one_does(city: Book) -> None:
    observe(city, vm("a"), vm("b"))
    drift = observe(city, vm("a"), hours=1, complete=False)
    assert drift.gone == []
    found = rows(city)
    assert found["b"].gone_at is None
    assert (found["a"].last_seen_at, found["b"].last_seen_at) == (DAY + timedelta(hours=1), DAY)
    drift = observe(city, vm("a"), hours=2)
    assert drift.gone == [found["b"].id]
    assert rows(city)["b"].gone_at == DAY + timedelta(hours=2)
    drift = observe(city, vm("a"), vm("b"), hours=3)
    assert drift.returned == [found["b"].id]
    assert drift.new == []
    with city.reading() as tx:
        state_periods = inventory.state_periods(tx, DAY, DAY + timedelta(hours=4))[found["b"].id]
    assert [(s.start, s.end) for s in state_periods] == [
        (DAY, DAY + timedelta(hours=2)),
        (DAY + timedelta(hours=3), DAY + timedelta(hours=4)),
    ]


def test_a_sheet_that_is_corrected_for_its_moment_makes_its_listing_whole(city: Book) -> None:
    """Half of a sheet was refused; its author mends it and hands it in for the same moment."""
    first, second = vm("a"), vm("b")
    observe(city, first, complete=False)
    observe(city, first, second)
    with city.reading() as tx:
        [row] = tx.scalars(select(observation.Listing)).all()
        assert (row.complete, row.resources, row.drift["new"], row.drift["changed"]) == (True, 2, 2, 0)
    observe(city, first, complete=False)
    observe(city, first, second)
    with city.reading() as tx:
        [row] = tx.scalars(select(observation.Listing)).all()
        assert (row.complete, row.resources, row.drift["new"], row.drift["gone"]) == (True, 2, 2, 0), (
            "it was whole once"
        )


def test_an_older_listing_is_refused(city: Book) -> None:
    observe(city, vm("a"), hours=2)
    with pytest.raises(Conflict, match=r"inventory\.stale"):
        observe(city, hours=1)
    assert rows(city)["a"].gone_at is None


def test_unknown_codes_are_kept_and_listed_never_guessed(city: Book) -> None:
    drift = observe(city, vm("a", department_code="d9", system_code="s9"), vm("b", department_code="d9"))
    assert drift.unknown_departments == {"d9": 2}
    assert drift.unknown_systems == {"s9": 1}
    found = rows(city)
    assert (found["a"].department_id, found["a"].department_code) == (None, "d9")
    with city.transaction(steward()) as tx:
        assert inventory.adopt(tx, pool_of(tx)).ownerless == [found["a"].id, found["b"].id]
        agencies.register(tx, "d9", "九局")
    observe(city, vm("a", department_code="d9", system_code="s9"), vm("b", department_code="d9"), hours=1)
    with city.reading() as tx:
        assert rows(city)["a"].department_id == department_of(tx, "d9")


def test_a_system_alone_tells_the_department(city: Book) -> None:
    observe(city, vm("a", department_code=None))
    with city.reading() as tx:
        assert rows(city)["a"].department_id == department_of(tx, "d1")


def test_a_retagged_resource_stays_with_the_owner_of_the_book(city: Book) -> None:
    observe(city, vm("a"))
    with city.transaction(steward()) as tx:
        inventory.adopt(tx, pool_of(tx))
    drift = observe(city, vm("a", department_code="d2", system_code=None), hours=1)
    one = rows(city)["a"]
    assert drift.misowned == [one.id]
    assert one.department_code == "d2"
    with city.reading() as tx:
        assert one.department_id == department_of(tx, "d1")
        assert inventory.history(tx, one.id)[-1].what == Change.OWNER


def test_an_id_listed_twice_is_named_and_the_first_counts(city: Book) -> None:
    drift = observe(city, vm("a", vcpu=2), vm("a", vcpu=16))
    assert drift.twice == ["a"]
    assert rows(city)["a"].amounts["vcpu"] == 2


def test_adopting_books_one_transfer_a_department_and_only_once(city: Book) -> None:
    volume = vm("v", kind=ServiceKind.VOLUME, arch=Arch.ANY, amounts={units.BLOCK: 100})
    observe(city, vm("a"), vm("b"), vm("c", department_code="d2", system_code=None), volume)
    for _ in range(2):
        with city.transaction(steward()) as tx:
            inventory.adopt(tx, pool_of(tx))
    with city.reading() as tx:
        pool, first, second = pool_of(tx).id, department_of(tx, "d1"), department_of(tx, "d2")
        assert entries.balance(tx, Side(pool, CPU, Holder.USED, first)) == 8
        assert entries.balance(tx, Side(pool, CPU, Holder.USED, second)) == 4
        assert entries.balance(tx, Side(pool, BLOCK, Holder.USED, first)) == 100
        assert entries.balance(tx, Side(pool, CPU, Holder.FREE)) == 88
        assert entries.conserved(tx)
        commands = tx.scalars(
            select(entries.Transfer.command).where(entries.Transfer.key.like("adopt:%")).order_by(entries.Transfer.id)
        ).all()
    assert commands == ["grant", "use", "grant", "use"]
    assert rows(city)["a"].booked == {"vcpu": 4, "memory": 8192}
    drift = observe(city, vm("a", vcpu=16), vm("b"), vm("c", department_code="d2", system_code=None), volume, hours=1)
    assert drift.reshaped == [rows(city)["a"].id]  # drift is shown; the book is not overwritten
    assert rows(city)["a"].booked["vcpu"] == 4


def test_what_was_not_equipped_cannot_be_adopted(city: Book) -> None:
    observe(city, vm("a", vcpu=101))
    with pytest.raises(OverCapacity), city.transaction(steward()) as tx:
        inventory.adopt(tx, pool_of(tx))
    assert rows(city)["a"].basis == ""


def test_each_sees_their_own(city: Book) -> None:
    observe(city, vm("a"), vm("b", department_code="d2", system_code=None))
    with city.reading() as tx:
        companies = {one.code: one.id for one in tx.scalars(select(pools.CloudProvider))}
        departments = {code: department_of(tx, code) for code in ("d", "d1", "d2")}

        def seen(role: Role, **of: int) -> set[str]:
            actor = Actor("x", "某人", role, **of)
            return set(tx.scalars(select(Resource.external_id).where(inventory.visible(tx, actor))))

        assert seen(Role.TENANT, department_id=departments["d"]) == {"a", "b"}
        assert seen(Role.TENANT, department_id=departments["d2"]) == {"b"}
        assert seen(Role.PROVIDER, provider_id=companies["c1"]) == {"a", "b"}
        assert seen(Role.PROVIDER, provider_id=companies["c2"]) == set()
        assert seen(Role.AUDITOR) == {"a", "b"}
        assert seen(Role.SYSADMIN) == set()
        assert seen(Role.TENANT) == set()  # a tenant without a department is nobody
    stranger = Actor("x", "某人", Role.TENANT, department_id=departments["d2"])
    with city.reading(stranger) as tx, pytest.raises(NotFound, match=r"resource\.none"):
        inventory.resource(tx, rows(city)["a"].id)
    with pytest.raises(NotAllowed), city.transaction(stranger) as tx:
        observation.observe(tx, pool_of(tx), Inventory(DAY, []))


def test_the_history_cannot_be_rewritten(city: Book) -> None:
    observe(city, vm("a"))
    for statement in ("UPDATE resource_changes SET source = 'x'", "DELETE FROM resource_changes"):
        with pytest.raises(DBAPIError), city.engine.begin() as connection:
            connection.execute(text(statement))


def test_thousands_of_resources_take_few_statements(city: Book) -> None:
    many = [vm(f"m{number}") for number in range(3_000)]
    said: list[str] = []
    with listening(city, said):
        observe(city, *many)
        observe(city, *many, hours=1)
    assert 0 < len(said) < 100
    assert len(rows(city)) == 3_000
    with city.reading() as tx, listening(city, said):
        said.clear()
        assert len(inventory.ids(tx, pool_of(tx).id, [one.external_id for one in many])) == 3_000
        assert len(said) <= 3  # the transaction, its pool, and all ids in one


@contextmanager
def listening(book: Book, said: list[str]) -> Iterator[None]:
    """Every statement that the book's engine executes meanwhile, in ``said``."""

    def hear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    event.listen(book.engine, "before_cursor_execute", hear)
    try:
        yield
    finally:
        event.remove(book.engine, "before_cursor_execute", hear)


def test_more_resources_than_a_statement_can_name_are_given_away(city: Book) -> None:
    observe(city, vm("a"), vm("b"))
    with city.transaction(steward()) as tx:
        theirs = [one.id for one in tx.scalars(select(Resource))]
        target = department_of(tx, "d2")
        inventory.reassign(tx, [*theirs, *range(1_000_000, 1_070_000)], target, source="test")
    assert {one.department_id for one in rows(city).values()} == {target}


def test_overlong_words_of_a_cloud_do_not_keep_its_listing_out(city: Book) -> None:
    told = {"name": "机" * 200, "department_code": "x" * 90, "system_code": "s" * 90, "address": "a" * 80}
    for hours in (0, 1):
        drift = observe(city, vm("i-1", **told), vm("i-2"), hours=hours)
    assert (len(rows(city)), len(drift.changed)) == (2, 0)
    assert rows(city)["i-1"].name == "机" * 128


def test_off_counts_from_when_it_was_told_or_from_the_first_listing_that_shows_it(city: Book) -> None:
    """A cloud that does not tell since when, or not with each listing, resets nothing that is known."""
    off = {"state": ResourceState.STOPPED}
    told = DAY - timedelta(days=3)
    observe(city, vm("off", **off), vm("on"), vm("told", **off, stopped_at=told))
    assert {name: row.stopped_at for name, row in rows(city).items()} == {"off": DAY, "on": None, "told": told}
    assert observe(city, vm("off", **off), vm("on", **off), vm("told", **off), hours=1).changed == [rows(city)["on"].id]
    assert {name: row.stopped_at for name, row in rows(city).items()} == {
        "off": DAY, "on": DAY + timedelta(hours=1), "told": told,
    }  # fmt: skip
    observe(city, vm("off", **off, stopped_at=told), vm("on"), vm("told"), hours=2)
    assert {name: row.stopped_at for name, row in rows(city).items()} == {"off": told, "on": None, "told": None}
    observe(city, vm("off", **off), vm("on", **off), vm("told", **off), hours=3)
    later = DAY + timedelta(hours=3)
    assert {name: row.stopped_at for name, row in rows(city).items()} == {"off": told, "on": later, "told": later}
