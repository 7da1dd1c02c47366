"""The tree of quota: what a node was given caps what lies below it, and it deals with its own by its own rights."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import Adjustment, Person, reorganisations
from quota.errors import Invalid, NotAllowed, OverCapacity, WrongState
from quota.ledger import allocations, allotments, entries, lending, tree
from quota.ledger.allotments import Act, Allotment
from quota.ledger.tables import Holder, Side
from tests.city import TOWN, City, DepartmentPlan, Plan
from tests.patience import together
from tests.quota.conftest import CPU

DISTRICT = Plan(
    companies={},
    departments={
        "district": DepartmentPlan("q", "某区"),
        "bureau1": DepartmentPlan("q1", "区一局", above="district"),
        "bureau2": DepartmentPlan("q2", "区二局", above="district"),
        "unit": DepartmentPlan("q11", "区一局中心", above="bureau1"),
        "other": DepartmentPlan("r", "另一区"),
    },
)


@pytest.fixture
def land(book: Book) -> City:
    return founded(book)


def founded(book: Book) -> City:
    """A district of 100 vCPU above two bureaus, one of them above a unit; each has a person who manages its quota."""
    city = City(book, plan=TOWN)
    city.add(DISTRICT)
    with book.transaction(steward()) as tx:
        entries.grant(tx, city.arm, city.district, {CPU: 100}, key="district")
        for name in ("district", "bureau1", "unit", "other"):
            tx.add(
                Person(login=f"m-{name}", name=name, role="tenant", department_id=city.named[name], quota_manager=True)
            )
        tx.add(Person(login="plain", name="plain", role="tenant", department_id=city.district))
    return city


def manager(city: City, node: str) -> Actor:
    return Actor(f"m-{node}", node, Role.TENANT, city.named[node])


def act(city: City, verb: Act, node: str, target: str, amount: int, by: str = "district", key: str = "") -> None:
    what = Allotment(verb, city.arm, CPU, city.named[node], amount, "年度统筹", city.named[target])
    actor = city.people["chief"] if by == "chief" else manager(city, by)
    with city.book.transaction(actor) as tx:
        allotments.carry_out(tx, what, key=key or f"{verb}/{node}/{target}/{amount}/{by}")


def has(city: City, node: str, holder: Holder = Holder.GRANTED) -> int:
    with city.book.reading() as tx:
        return entries.balance(tx, Side(city.arm, CPU, holder, city.named[node]))


def given(city: City, giver: str, receiver: str) -> int:
    with city.book.reading() as tx:
        rows = allocations.between(tx, city.named[giver], city.named[receiver], city.arm, CPU)
        return sum(one.outstanding for one in rows)


def use(city: City, node: str, amount: int, key: str = "use") -> None:
    with city.book.transaction(steward()) as tx:
        entries.use(tx, city.arm, city.named[node], {CPU: amount}, key=key)


def test_a_district_shares_out_its_own_down_to_the_unit_and_never_more(land: City) -> None:
    act(land, Act.SHARE, "district", "bureau1", 60)
    act(land, Act.SHARE, "bureau1", "unit", 25, by="bureau1")
    act(land, Act.SHARE, "district", "bureau2", 40)
    assert [has(land, name) for name in ("district", "bureau1", "unit", "bureau2")] == [0, 35, 25, 40]
    with pytest.raises(OverCapacity, match=r"capacity\.short"):
        act(land, Act.SHARE, "district", "bureau2", 1)
    with pytest.raises(OverCapacity):
        act(land, Act.SHARE, "bureau1", "unit", 36, by="bureau1")
    land.prove()


def test_what_it_gave_and_is_unused_it_takes_back(land: City) -> None:
    act(land, Act.SHARE, "district", "bureau1", 60)
    use(land, "bureau1", 50)
    with pytest.raises(OverCapacity):
        act(land, Act.TAKE_BACK, "district", "bureau1", 11)
    act(land, Act.TAKE_BACK, "district", "bureau1", 10)
    assert (has(land, "district"), has(land, "bureau1"), given(land, "district", "bureau1")) == (50, 0, 50)
    land.prove()


def test_what_the_city_gave_it_does_not_take(land: City) -> None:
    with land.book.transaction(steward()) as tx:
        entries.grant(tx, land.arm, land.bureau1, {CPU: 30}, key="straight")
    act(land, Act.SHARE, "district", "bureau1", 5)
    with pytest.raises(OverCapacity):
        act(land, Act.TAKE_BACK, "district", "bureau1", 6)
    with pytest.raises(OverCapacity):  # nor the city what the district gave
        reclaim(land, "bureau1", 31)
    reclaim(land, "bureau1", 30)
    assert has(land, "bureau1") == 5
    land.prove()


def reclaim(city: City, node: str, amount: int) -> None:
    what = Allotment(Act.RECLAIM, city.arm, CPU, city.named[node], amount, "未用")
    with city.book.transaction(city.people["chief"]) as tx:
        allotments.carry_out(tx, what, key=f"reclaim/{node}/{amount}")


def test_between_those_below_it_moves_without_anybody_above(land: City) -> None:
    act(land, Act.SHARE, "district", "bureau1", 20)
    act(land, Act.REALLOT, "bureau1", "bureau2", 8)
    assert (has(land, "bureau1"), has(land, "bureau2"), has(land, "district")) == (12, 8, 80)
    assert (given(land, "district", "bureau1"), given(land, "district", "bureau2")) == (12, 8)
    act(land, Act.TAKE_BACK, "district", "bureau2", 8)
    assert has(land, "district") == 88
    land.prove()


@pytest.mark.parametrize(
    ("verb", "node", "target", "by"),
    [
        (Act.SHARE, "district", "bureau1", "bureau1"),  # not of the one above
        (Act.SHARE, "district", "bureau1", "other"),  # nor of another branch
        (Act.REALLOT, "bureau1", "bureau2", "bureau1"),  # what passes between siblings is for who gave it
        (Act.TAKE_BACK, "district", "bureau1", "other"),
        (Act.GRANT, "bureau1", "bureau2", "district"),
        (Act.MOVE, "bureau1", "bureau2", "district"),
        (Act.RECLAIM, "bureau1", "bureau2", "district"),
    ],
)
def test_nobody_deals_with_what_is_not_below_them(land: City, verb: Act, node: str, target: str, by: str) -> None:
    with pytest.raises(NotAllowed):
        act(land, verb, node, target, 1, by=by)


def test_a_clerk_who_manages_no_quota_shares_out_nothing(land: City) -> None:
    what = Allotment(Act.SHARE, land.arm, CPU, land.district, 1, "统筹", land.bureau1)
    for actor in (Actor("plain", "plain", Role.TENANT, land.district), land.people["checker"], land.people["auditor"]):
        with pytest.raises(NotAllowed, match=r"tree\.not_yours"), land.book.transaction(actor) as tx:
            allotments.carry_out(tx, what, key="k")


@pytest.mark.parametrize(
    ("verb", "node", "target", "code"),
    [
        (Act.SHARE, "district", "unit", "tree.not_below"),
        (Act.SHARE, "district", "other", "tree.not_below"),
        (Act.SHARE, "district", "district", "ledger.same"),
        (Act.REALLOT, "bureau1", "other", "tree.not_beside"),
    ],
)
def test_only_along_the_tree(land: City, verb: Act, node: str, target: str, code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        act(land, verb, node, target, 1, by="chief")
    assert refusal.value.code == code


def test_the_same_key_is_one_act(land: City) -> None:
    for _ in range(2):
        act(land, Act.SHARE, "district", "bureau1", 10, key="same")
    assert (has(land, "bureau1"), given(land, "district", "bureau1")) == (10, 10)


def test_what_it_borrowed_is_not_shared_out_and_what_it_lent_counts(land: City) -> None:
    with land.book.transaction(land.people["chief"]) as tx:
        loan = lending.offer(
            tx, land.arm, CPU, 40, land.district, land.other, days=30, guaranteed_days=0, notice_days=0, reason="互助", key="l",
        )  # fmt: skip
        lending.accept(tx, loan.id, generation=1)
    with pytest.raises(OverCapacity):
        act(land, Act.SHARE, "district", "bureau1", 61)
    act(land, Act.SHARE, "district", "bureau1", 60)
    land.prove()


def test_the_proof_names_a_node_that_lacks_what_it_was_given(land: City) -> None:
    act(land, Act.SHARE, "district", "bureau1", 60)
    with land.book.engine.begin() as connection:
        connection.execute(text("UPDATE allocations SET amount = 61"))
    with land.book.reading() as tx:
        assert list(tree.check(tx)) == [
            f"allocations: department {land.bureau1} lacks 1 of what was given to it in {land.arm}/{CPU}"
        ]


# ------------------------------------------------------------------------------------------------------ reorganisations


def reorganise(city: City, kind: Adjustment, source: str, target: str | None) -> int:
    with city.book.transaction(city.people["chief"]) as tx:
        target_id = city.named[target] if target else None
        return reorganisations.reorganise(
            tx, kind, city.named[source], target_id, reason="机构改革", key=f"{kind}/{source}/{target}"
        ).id


def edges(city: City) -> dict[tuple[str, str], int]:
    names = {city.named[name]: name for name in DISTRICT.departments}
    found: dict[tuple[str, str], int] = {}
    with city.book.reading() as tx:
        for one in tx.query(allocations.Allocation):
            if one.outstanding:
                pair = (names[one.giver_id or 0], names[one.receiver_id])
                found[pair] = found.get(pair, 0) + one.outstanding
    return found


@pytest.fixture
def shared(land: City) -> City:
    """The district gave 60 and 30, the first bureau 25 of its own to its unit."""
    act(land, Act.SHARE, "district", "bureau1", 60)
    act(land, Act.SHARE, "district", "bureau2", 30)
    act(land, Act.SHARE, "bureau1", "unit", 25, by="bureau1")
    return land


@pytest.mark.parametrize(
    ("kind", "source", "target", "after"),
    [
        (Adjustment.MERGE, "bureau1", "bureau2", {("district", "bureau2"): 90, ("bureau2", "unit"): 25}),
        (Adjustment.MERGE, "bureau1", "district", {("district", "bureau2"): 30, ("district", "unit"): 25}),
        (Adjustment.MERGE, "bureau1", "other", {("district", "bureau2"): 30, ("other", "unit"): 25}),
        (Adjustment.MERGE, "district", "other", {("other", "bureau1"): 60, ("other", "bureau2"): 30, ("bureau1", "unit"): 25}),
        (Adjustment.PARENT, "bureau1", "other", {("district", "bureau2"): 30, ("bureau1", "unit"): 25}),
        (Adjustment.PARENT, "bureau1", None, {("district", "bureau2"): 30, ("bureau1", "unit"): 25}),
        (Adjustment.PARENT, "unit", "bureau2", {("district", "bureau1"): 35, ("district", "bureau2"): 30, ("district", "unit"): 25}),
        (Adjustment.PARENT, "bureau1", "bureau2", {("district", "bureau1"): 60, ("district", "bureau2"): 30, ("bureau1", "unit"): 25}),
    ],
)  # fmt: skip
def test_what_was_given_goes_along_or_ends_with_the_branch(
    shared: City, kind: Adjustment, source: str, target: str | None, after: dict[tuple[str, str], int]
) -> None:
    before = edges(shared)
    batch = reorganise(shared, kind, source, target)
    assert edges(shared) == after
    shared.prove()
    with shared.book.transaction(shared.people["chief"]) as tx:
        reorganisations.undo(tx, batch, reason="方案调整")
    assert edges(shared) == before
    shared.prove()


def test_what_a_giver_had_from_above_ends_as_well(land: City) -> None:
    """The unit takes along what its bureau has of the district: beyond the five that are the bureau's own."""
    act(land, Act.SHARE, "district", "bureau1", 20)
    with land.book.transaction(steward()) as tx:
        entries.grant(tx, land.arm, land.bureau1, {CPU: 5}, key="straight")
    act(land, Act.SHARE, "bureau1", "unit", 25, by="bureau1")
    reorganise(land, Adjustment.PARENT, "unit", "other")
    assert edges(land) == {}
    land.prove()
    reclaim(land, "unit", 25)  # it is the city's again to take


def test_what_was_given_or_taken_meanwhile_keeps_a_step_from_being_undone(shared: City) -> None:
    batch = reorganise(shared, Adjustment.MERGE, "bureau1", "bureau2")
    act(shared, Act.TAKE_BACK, "district", "bureau2", 40)
    act(shared, Act.SHARE, "district", "bureau2", 40, key="again")
    with (
        pytest.raises(WrongState, match=r"reorganisation\.shares"),
        shared.book.transaction(shared.people["chief"]) as tx,
    ):
        reorganisations.undo(tx, batch, reason="方案调整")
    shared.prove()


# ---------------------------------------------------------------------------------------------------------------- races


def test_many_share_out_and_take_back_at_once_and_nothing_is_given_twice(land: City) -> None:
    act(land, Act.SHARE, "district", "bureau1", 50, key="first")
    refused: list[str] = []

    def tried(verb: Act, node: str, target: str, amount: int, key: str) -> None:
        try:
            act(land, verb, node, target, amount, key=key)
        except OverCapacity as short:
            refused.append(short.code)

    def draw() -> None:
        """The bureau uses what it has meanwhile."""
        with land.book.transaction(steward()) as tx:
            entries.lock(tx, [Side(land.arm, CPU, Holder.GRANTED, land.bureau1)])
            free = entries.balance(tx, Side(land.arm, CPU, Holder.GRANTED, land.bureau1))
            if free:
                entries.use(tx, land.arm, land.bureau1, {CPU: min(free, 7)}, key=f"use/{free}")

    acts: list[Any] = [partial(tried, Act.SHARE, "district", "bureau2", 20, f"s{n}") for n in range(4)]
    acts += [partial(tried, Act.TAKE_BACK, "district", "bureau1", 15, f"t{n}") for n in range(4)]
    together(*acts, draw, draw)
    land.prove()
    total = sum(
        has(land, name, holder)
        for name in ("district", "bureau1", "bureau2")
        for holder in (Holder.GRANTED, Holder.USED)
    )
    assert total == 100
    assert given(land, "district", "bureau1") == has(land, "bureau1") + has(land, "bureau1", Holder.USED)
    assert given(land, "district", "bureau2") == has(land, "bureau2")
    assert refused  # together they wanted more than there was
