"""A listing that lacks a large part of its pool ends nothing until a person has looked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from providers import observation
from providers.base import Inventory, ResourceState
from providers.observation import held_listings
from providers.observation.listings import Caution, HeldBack, Listing
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import Person
from quota.errors import Invalid, NotAllowed, WrongState
from tests.providers.test_inventory import DAY, city, observe, pool_of, rows, vm  # noqa: F401 - a fixture

WATCHER = Actor("watcher", "监督", Role.SUPERVISOR)
FLEET = [vm(f"m{number}") for number in range(40)]


def waiting(book: Book) -> list[Listing]:
    with book.reading() as tx:
        found = held_listings.waiting(tx)
        tx.expunge_all()
        return found


def standing(book: Book) -> set[str]:
    return {name for name, row in rows(book).items() if row.gone_at is None}


@pytest.fixture
def fleet(city: Book) -> Book:  # noqa: F811
    """40 machines in p1, listed at hour 0."""
    observe(city, *FLEET)
    return city


def test_an_answer_with_three_of_forty_ends_none_of_them(fleet: Book) -> None:
    drift = observe(fleet, *FLEET[:2], vm("new"), vm("m2", vcpu=16), hours=1)
    assert (drift.gone, len(drift.held), drift.standing) == ([], 37, 40)
    assert len(standing(fleet)) == 41
    assert rows(fleet)["m2"].actual()["vcpu"] == 16, "what it tells is entered"
    (one,) = waiting(fleet)
    assert (one.held, one.complete, len(one.missing)) == (HeldBack.WAITS, False, 37)
    with fleet.reading() as tx:
        assert observation.last_listing(tx, one.pool_id, complete=True).as_of == DAY


@pytest.mark.parametrize(
    ("kept", "of", "held"), [(30, 40, 0), (29, 40, 11), (0, 10, 0), (0, 11, 11), (88, 100, 0), (79, 100, 21)]
)
def test_more_than_ten_and_more_than_a_fifth(city: Book, kept: int, of: int, held: int) -> None:  # noqa: F811
    machines = [vm(f"x{number}", vcpu=1, gb=1) for number in range(of)]
    observe(city, *machines)
    drift = observe(city, *machines[:kept], hours=1)
    assert len(drift.held) == held
    assert len(drift.gone) == (0 if held else of - kept)


def test_how_much_is_a_setting(fleet: Book) -> None:
    with fleet.trial(steward()) as tx:
        drift = observation.observe(tx, pool_of(tx), Inventory(DAY, FLEET[:35]), caution=Caution(4, 5))
        assert len(drift.held) == 5
    with fleet.trial(steward()) as tx:
        drift = observation.observe(tx, pool_of(tx), Inventory(DAY, []), caution=Caution(0, 100))
        assert (len(drift.gone), drift.held) == (40, [])
    assert len(standing(fleet)) == 40, "a trial leaves nothing"


def test_who_looked_says_that_they_are_gone(fleet: Book) -> None:
    observe(fleet, *FLEET[:3], hours=1)
    (one,) = waiting(fleet)
    with fleet.transaction(Actor("c", "c", Role.PROVIDER, provider_id=1)) as tx, pytest.raises(NotAllowed):
        held_listings.end(tx, held_listings.listing(tx, one.id), "真的没了")
    with fleet.transaction(WATCHER) as tx, pytest.raises(Invalid):
        held_listings.end(tx, held_listings.listing(tx, one.id), "  ")
    with fleet.transaction(WATCHER) as tx:
        assert held_listings.end(tx, held_listings.listing(tx, one.id), "公司书面确认机房下线") == 37
    assert standing(fleet) == {"m0", "m1", "m2"}
    assert rows(fleet)["m9"].gone_at == one.as_of
    with fleet.reading() as tx:
        assert inventory.history(tx, rows(fleet)["m9"].id)[-1].what == "gone"
        record = tx.scalars(select(AuditRecord).order_by(AuditRecord.sequence.desc()).limit(1)).one()
        assert (record.action, record.actor, record.reason) == (
            "inventory.end_missing",
            "watcher",
            "公司书面确认机房下线",
        )
        assert observation.last_listing(tx, one.pool_id, complete=True).id == one.id
    with fleet.transaction(WATCHER) as tx, pytest.raises(WrongState):
        held_listings.keep(tx, held_listings.listing(tx, one.id), "再来一次")
    assert observe(fleet, *FLEET[:3], hours=2).held == [], "they are gone, and no longer missed"


def test_who_looked_says_that_the_listing_is_wrong(fleet: Book) -> None:
    observe(fleet, *FLEET[:3], hours=1)
    (one,) = waiting(fleet)
    with fleet.transaction(WATCHER) as tx:
        held_listings.keep(tx, held_listings.listing(tx, one.id), "云平台接口分页出错")
    assert waiting(fleet) == []
    assert len(standing(fleet)) == 40
    observe(fleet, *FLEET[:3], hours=1)
    assert waiting(fleet) == [], "the same listing again changes nothing"
    observe(fleet, *FLEET[:3], hours=2)
    assert len(waiting(fleet)) == 1, "a later one asks again"


def test_a_later_listing_overtakes_what_waits(fleet: Book) -> None:
    observe(fleet, *FLEET[:3], hours=1)
    observe(fleet, *FLEET[:3], hours=2)
    (one,) = waiting(fleet)
    assert one.as_of == DAY.replace(hour=2)
    observe(fleet, vm("m5"), hours=3, complete=False)
    assert len(waiting(fleet)) == 1, "half a listing says nothing of the others"
    with fleet.reading() as tx:
        assert len(held_listings.missing(tx, held_listings.listing(tx, one.id))) == 36, "m5 was seen since"
    observe(fleet, *FLEET, hours=4)
    assert waiting(fleet) == []
    with fleet.transaction(WATCHER) as tx, pytest.raises(WrongState):
        held_listings.end(tx, held_listings.listing(tx, one.id), "晚了")


def test_a_flag_ends_what_the_same_listing_was_held_for(fleet: Book) -> None:
    observe(fleet, *FLEET[:3], hours=1)
    with fleet.transaction(steward("import")) as tx:
        listing = Inventory(DAY.replace(hour=1), FLEET[:3])
        drift = observation.observe(tx, pool_of(tx), listing, caution=None)
    assert len(drift.gone) == 37
    assert waiting(fleet) == []
    assert len(standing(fleet)) == 3


def test_what_our_orders_deleted_is_not_missed(fleet: Book) -> None:
    ours: list[dict[str, Any]] = [{"state": ResourceState.DELETED}, {"state": ResourceState.RECYCLED}]
    observe(fleet, *FLEET[:20], *[vm(f"m{number}", **ours[number % 2]) for number in range(20, 40)], hours=1)
    drift = observe(fleet, *FLEET[:20], hours=2)
    assert (len(drift.gone), drift.held, drift.standing) == (20, [], 20)


def test_a_suspect_listing_does_not_end_what_is_in_the_bin(fleet: Book) -> None:
    observe(
        fleet, *FLEET[:38], vm("m38", state=ResourceState.DELETED), vm("m39", state=ResourceState.RECYCLED), hours=1
    )
    drift = observe(fleet, *FLEET[:3], hours=2)
    assert rows(fleet)["m38"].gone_at is not None
    assert rows(fleet)["m39"].gone_at is None
    assert (len(drift.gone), len(drift.held)) == (1, 36)


def test_what_is_lost_in_small_parts_counts_together(fleet: Book) -> None:
    """Five of forty each day are a little each time; on the second day they are more than a fifth."""
    assert len(observe(fleet, *FLEET[:34], hours=24).gone) == 6
    drift = observe(fleet, *FLEET[:28], hours=48)
    assert (len(drift.gone), len(drift.held), drift.lost_lately) == (0, 6, 6)
    assert drift.summary()["lost_lately"] == 6
    (one,) = waiting(fleet)
    with fleet.transaction(WATCHER) as tx:
        held_listings.end(tx, held_listings.listing(tx, one.id), "退役")
    # A person looked: it is counted anew from there.
    later = observe(fleet, *FLEET[:22], hours=24 * 40)
    assert (len(later.gone), later.lost_lately) == (6, 0)


def test_what_was_lost_long_ago_or_is_made_up_for_does_not_count(fleet: Book) -> None:
    assert len(observe(fleet, *FLEET[:34], hours=24).gone) == 6
    assert len(observe(fleet, *FLEET[:28], hours=24 * 9).gone) == 6, "more than a week later"
    young = [vm(f"y{number}") for number in range(8)]
    assert observe(fleet, *FLEET[:28], *young, hours=24 * 9 + 1).held == []
    assert len(observe(fleet, *FLEET[:22], *young, hours=24 * 10).gone) == 6, "eight came meanwhile"


def test_who_handed_a_listing_in_does_not_end_by_it_where_another_may(fleet: Book) -> None:
    def handed_in(hours: float) -> int:
        with fleet.transaction(WATCHER) as tx:
            at = DAY + timedelta(hours=hours)
            observation.observe(tx, pool_of(tx), Inventory(at, FLEET[:2]))
            return tx.scalars(select(Listing.id).order_by(Listing.as_of.desc())).first()

    first = handed_in(1)
    with fleet.transaction(WATCHER) as tx:  # nobody else is there
        assert not held_listings.may_not_end(tx, held_listings.listing(tx, first))
        tx.add(Person(login="other", name="另一位", role=Role.SUPERVISOR.value))
    with fleet.transaction(WATCHER) as tx, pytest.raises(NotAllowed) as refused:
        held_listings.end(tx, held_listings.listing(tx, first), "已核实")
    assert refused.value.code == "listing.own"
    assert len(standing(fleet)) == 40
    with fleet.transaction(Actor("other", "另一位", Role.SUPERVISOR)) as tx:
        assert held_listings.end(tx, held_listings.listing(tx, first), "已核实") == 38
