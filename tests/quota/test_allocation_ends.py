"""Quota given for a time: it ends by its last day, what is in use stays in use, and everybody was told."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.ledger import allotments, entries, expiry
from quota.ledger.allocations import Allocation, AllocationState
from quota.ledger.allotments import Act, Allotment
from quota.ledger.tables import Holder, Side
from tests.city import City
from tests.quota.conftest import CPU
from tests.quota.test_tree import act, given, has, land, manager, reclaim, use  # noqa: F401 - fixture


def today(city: City) -> date:
    return city.clock().astimezone(ZONE).date()


def granted(city: City, node: str, amount: int, days: int | None, key: str = "timed") -> int:
    """The city grants for so many days from today; the allocation's id (0 where it is for good)."""
    ends = None if days is None else today(city) + timedelta(days=days)
    what = Allotment(Act.GRANT, city.arm, CPU, city.named[node], amount, "年度配额", ends_on=ends)
    with city.book.transaction(city.people["chief"]) as tx:
        allotments.carry_out(tx, what, key=key)
        one = tx.query(Allocation).filter_by(key=key).one_or_none()
        return one.id if one else 0


def shared(city: City, node: str, target: str, amount: int, days: int, key: str = "s") -> int:
    ends = today(city) + timedelta(days=days)
    what = Allotment(Act.SHARE, city.arm, CPU, city.named[node], amount, "临时", city.named[target], ends)
    with city.book.transaction(manager(city, node)) as tx:
        allotments.carry_out(tx, what, key=key)
        return tx.query(Allocation).filter_by(key=key).one().id


def settle(city: City) -> list[int]:
    with city.book.transaction(steward()) as tx:
        return [one.id for one in expiry.settle(tx)]


def one(city: City, allocation_id: int) -> Allocation:
    city.prove()
    with city.book.reading() as tx:
        return expiry.allocation(tx, allocation_id)


def test_the_last_day_still_counts_and_the_next_takes_it_back(land: City, clock: Any) -> None:  # noqa: F811
    id_ = granted(land, "other", 30, days=3)
    assert has(land, "other") == 30
    clock.advance(days=3)
    assert settle(land) == []
    clock.advance(days=1)
    assert settle(land) == [id_]
    assert has(land, "other") == 0
    assert one(land, id_).state == AllocationState.ENDED
    assert settle(land) == []


def test_what_is_in_use_is_not_stopped_and_goes_home_as_it_falls_free(land: City, clock: Any) -> None:  # noqa: F811
    id_ = granted(land, "other", 30, days=3)
    use(land, "other", 12)
    clock.advance(days=4)
    assert settle(land) == [id_]
    assert has(land, "other", Holder.USED) == 12
    late = one(land, id_)
    assert (late.state, late.outstanding) == (AllocationState.OVERDUE, 12)
    assert late.overdue_at is not None
    assert settle(land) == []  # nothing has changed
    with land.book.transaction(steward()) as tx:
        entries.release(tx, land.arm, land.other, {CPU: 5}, key="smaller")
    assert settle(land) == [id_]
    assert one(land, id_).outstanding == 7
    assert has(land, "other") == 0


def test_stacked_ends_each_come_on_their_day(land: City, clock: Any) -> None:  # noqa: F811
    granted(land, "other", 10, days=None, key="good")
    granted(land, "other", 20, days=30, key="year")
    granted(land, "other", 5, days=7, key="temporary")
    assert has(land, "other") == 35
    clock.advance(days=8)
    settle(land)
    assert has(land, "other") == 30
    clock.advance(days=23)
    settle(land)
    assert has(land, "other") == 10
    land.prove()


def test_what_was_shared_out_comes_back_from_below(land: City, clock: Any) -> None:  # noqa: F811
    """The district's year ends while it has shared everything out; the unit two storeys down uses three of it."""
    with land.book.transaction(steward()) as tx:
        entries.reclaim(tx, land.arm, land.district, {CPU: 100}, key="none", source=Holder.GRANTED)
    id_ = granted(land, "district", 40, days=3)
    act(land, Act.SHARE, "district", "bureau1", 40)
    act(land, Act.SHARE, "bureau1", "unit", 15, by="bureau1")
    use(land, "unit", 3)
    clock.advance(days=4)
    assert settle(land) == [id_]
    assert [has(land, name) for name in ("district", "bureau1", "unit")] == [0, 0, 0]
    assert (given(land, "district", "bureau1"), given(land, "bureau1", "unit")) == (3, 3)
    late = one(land, id_)
    assert (late.state, late.outstanding) == (AllocationState.OVERDUE, 3)
    with land.book.transaction(steward()) as tx:
        entries.release(tx, land.arm, land.unit, {CPU: 3}, key="gone")
    settle(land)
    assert one(land, id_).state == AllocationState.ENDED
    assert given(land, "district", "bureau1") == 0


def test_what_a_district_lent_down_for_a_time_comes_back_to_it(land: City, clock: Any) -> None:  # noqa: F811
    id_ = shared(land, "district", "bureau1", 20, days=2)
    act(land, Act.SHARE, "district", "bureau1", 10)  # for good
    clock.advance(days=3)
    assert settle(land) == [id_]
    assert (has(land, "district"), has(land, "bureau1")) == (90, 10)
    land.prove()


def test_the_receiver_is_told_once_before_it_ends(land: City, clock: Any) -> None:  # noqa: F811
    id_ = granted(land, "other", 30, days=expiry.NOTICE_DAYS + 1)

    def told() -> list[int]:
        with land.book.transaction(steward()) as tx:
            return [each.id for each in expiry.remind(tx)]

    assert told() == []
    clock.advance(days=1)
    assert told() == [id_]
    assert told() == []


def test_it_is_extended_by_who_gave_it(land: City, clock: Any) -> None:  # noqa: F811
    id_ = shared(land, "district", "bureau1", 20, days=2)
    later = today(land) + timedelta(days=90)
    seen = one(land, id_).generation
    with pytest.raises(NotAllowed), land.book.transaction(manager(land, "bureau1")) as tx:
        expiry.extend(tx, id_, later, generation=seen, reason="项目延期")
    with pytest.raises(Conflict), land.book.transaction(manager(land, "district")) as tx:
        expiry.extend(tx, id_, later, generation=seen + 1, reason="项目延期")
    with pytest.raises(Invalid, match=r"allocation\.same"), land.book.transaction(manager(land, "district")) as tx:
        expiry.extend(tx, id_, today(land) + timedelta(days=2), generation=seen, reason="项目延期")
    use(land, "bureau1", 20)
    clock.advance(days=3)
    settle(land)
    late = one(land, id_)
    assert late.state == AllocationState.OVERDUE
    with land.book.transaction(manager(land, "district")) as tx:
        expiry.extend(tx, id_, later, generation=late.generation, reason="项目延期")
    assert (one(land, id_).state, one(land, id_).ends_on) == (AllocationState.RUNNING, later)
    assert settle(land) == []


def test_an_allocation_that_went_back_is_not_extended(land: City, clock: Any) -> None:  # noqa: F811
    id_ = granted(land, "other", 30, days=1)
    clock.advance(days=2)
    settle(land)
    with pytest.raises(WrongState), land.book.transaction(land.people["chief"]) as tx:
        expiry.extend(tx, id_, None, generation=one(land, id_).generation, reason="延期")


@pytest.mark.parametrize("days", [-1, expiry.LONGEST_DAYS + 1])
def test_an_end_that_is_over_or_out_of_reach_is_refused(land: City, days: int) -> None:  # noqa: F811
    with pytest.raises(Invalid, match=r"allocation\.ends"):
        granted(land, "other", 30, days=days)
    assert has(land, "other") == 0


def test_the_city_takes_back_what_is_for_good_before_what_ends(land: City, clock: Any) -> None:  # noqa: F811
    granted(land, "other", 10, days=None, key="good")
    id_ = granted(land, "other", 20, days=30)
    reclaim(land, "other", 15)
    assert one(land, id_).outstanding == 15
    clock.advance(days=31)
    settle(land)
    assert has(land, "other") == 0
    land.prove()


def test_it_is_nobodys_clock_but_the_stewards(land: City) -> None:  # noqa: F811
    with pytest.raises(NotAllowed), land.book.transaction(manager(land, "district")) as tx:
        expiry.settle(tx)
    assert Role.SYSTEM not in {actor.role for actor in land.people.values()}
    with land.book.reading() as tx:
        assert entries.balance(tx, Side(land.arm, CPU, Holder.GRANTED, land.district)) == 100
