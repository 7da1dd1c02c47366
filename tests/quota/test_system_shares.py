"""Shares of systems, the deepest level of the tree: what a department set apart for a system is that system's requests' alone."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from quota.actors import Actor, Role
from quota.directory import Adjustment, Person, departments, reorganisations
from quota.errors import Invalid, NotAllowed, OverCapacity, WrongState
from quota.ledger import Act, Allotment, Hold, Holder, ShareAct, ShareOrder, allotments, lending, shares, tree
from quota.requests import Decision, Line, Request, kinds, submission
from quota.units import Commodity
from tests.city import GB, City
from tests.city.plans import SMALL
from tests.quota.conftest import CPU, MEM

pytestmark = pytest.mark.usefixtures("given")


@pytest.fixture
def given(town: City) -> None:
    """A department of 20 vCPU with two systems: a request of the small machine takes 4 vCPU and 8 GB."""
    town.grant({CPU: 20, MEM: 80 * GB}, "all")
    with town.book.transaction(town.people["chief"]) as tx:
        town.named["second"] = departments.enter(tx, "s2", town.bureau, {"name": "统计直报"}).id
        town.named["far"] = departments.enter(tx, "s3", town.neighbour, {"name": "邻局门户"}).id
        tx.add(Person(login="m", name="m", role="tenant", department_id=town.bureau, quota_manager=True))


def order(
    town: City, act: ShareAct, amount: int = 0, *, of: str = "system", to: str | None = None, cls: Commodity = CPU,
    by: str = "chief", key: str = "",
) -> None:  # fmt: skip
    what = ShareOrder(act, town.named[of], town.arm, cls, amount, "年度统筹", town.named[to] if to else None)
    actor = Actor("m", "m", Role.TENANT, town.bureau) if by == "m" else town.people[by]
    with town.book.transaction(actor) as tx:
        shares.carry_out(tx, what, key=key or f"{act}/{of}/{to}/{amount}/{cls}")


def left(town: City, of: str = "system") -> int | None:
    """What the system has unused of its vCPU; None: it has no share."""
    with town.book.reading() as tx:
        row = shares.share(tx, town.named[of], town.arm, CPU)
        return None if row is None else shares.unused(tx, row)


def rest(town: City) -> int:
    town.prove()
    return town.balance(Holder.GRANTED, CPU)


def asked(town: City, of: str | None = "system", quantity: int = 1) -> Request:
    lines = [Line(item_id=town.item, quantity=quantity)]
    return town.submit(system_id=town.named[of] if of else None, lines=lines)


def test_a_share_leaves_the_department_and_comes_back_as_far_as_it_is_unused(town: City) -> None:
    order(town, ShareAct.GIVE, 12, by="m")
    assert (rest(town), left(town), town.balance(Holder.SHARED, CPU)) == (8, 12, 12)
    order(town, ShareAct.GIVE, 12, by="m")  # the same key
    assert (rest(town), left(town)) == (8, 12)
    with pytest.raises(OverCapacity):
        order(town, ShareAct.GIVE, 9)
    order(town, ShareAct.REALLOT, 5, to="second", by="m")
    assert (rest(town), left(town), left(town, "second")) == (8, 7, 5)
    with pytest.raises(OverCapacity):
        order(town, ShareAct.TAKE_BACK, 8)
    order(town, ShareAct.TAKE_BACK, 3)
    assert (rest(town), left(town)) == (11, 4)
    order(town, ShareAct.END)
    order(town, ShareAct.END)  # the same key
    assert (rest(town), left(town)) == (15, None)
    with pytest.raises(Invalid, match=r"system_share\.none"):
        order(town, ShareAct.END, key="again")


def test_only_for_who_manages_the_departments_quota_and_only_within_it(town: City) -> None:
    for by in ("clerk", "stranger", "checker", "auditor", "operator"):
        with pytest.raises(NotAllowed):
            order(town, ShareAct.GIVE, 1, by=by)
    with pytest.raises(NotAllowed):
        order(town, ShareAct.GIVE, 1, of="far", by="m")
    order(town, ShareAct.GIVE, 5)
    for to, code in (("far", "system_share.beside"), ("system", "system_share.target"), (None, "system_share.target")):
        with pytest.raises(Invalid) as refusal:
            order(town, ShareAct.REALLOT, 1, to=to)
        assert refusal.value.code == code
    with pytest.raises(Invalid, match=r"transfer\.amount"):
        order(town, ShareAct.GIVE, 0)


def test_requests_of_a_system_with_a_share_draw_on_it_alone(town: City) -> None:
    order(town, ShareAct.GIVE, 8)
    request = asked(town)
    assert (rest(town), left(town), town.balance(Holder.HELD, CPU)) == (12, 4, 4)
    with pytest.raises(WrongState, match=r"system_share\.held"):
        order(town, ShareAct.END)
    with pytest.raises(OverCapacity) as refusal:  # although the department has 12 more
        asked(town, quantity=2)
    assert refusal.value.code == "system_share.short"
    assert refusal.value.params["system"] == "一网通办"
    assert (rest(town), left(town)) == (12, 4)
    town.approve(request)
    assert (rest(town), left(town), town.balance(Holder.USED, CPU)) == (12, 4, 4)
    with pytest.raises(OverCapacity):
        order(town, ShareAct.TAKE_BACK, 5)
    back = asked(town)
    town.sign(back, "checker", Decision.REJECT, reason="测算依据不足,请补充压测报告")
    assert (rest(town), left(town), town.balance(Holder.HELD, CPU)) == (12, 4, 0)


def test_requests_of_others_draw_on_what_was_not_set_apart(town: City) -> None:
    order(town, ShareAct.GIVE, 14)
    for of in ("second", None):
        request = asked(town, of)
        with town.book.reading() as tx:
            sources = {(one.source, one.kind): one.amount for one in tx.query(Hold).filter_by(subject=request.subject)}
        took = {source: amount for (source, kind), amount in sources.items() if kind == "vcpu"}
        assert took == ({"granted": 4} if of else {"granted": 2, "free": 2})
    assert (rest(town), left(town)) == (0, 14)


def test_nobody_takes_what_is_set_apart(town: City) -> None:
    order(town, ShareAct.GIVE, 15)
    chief = town.people["chief"]
    for what in (
        Allotment(Act.RECLAIM, town.arm, CPU, town.bureau, 6, "未用"),
        Allotment(Act.MOVE, town.arm, CPU, town.bureau, 6, "划转", town.neighbour),
        Allotment(Act.SHARE, town.arm, CPU, town.bureau, 6, "下拨", town.branch),
    ):
        with pytest.raises(OverCapacity), town.book.transaction(chief) as tx:
            allotments.carry_out(tx, what, key=f"{what.act}")
    with pytest.raises(OverCapacity), town.book.transaction(chief) as tx:
        lending.offer(
            tx, town.arm, CPU, 6, town.bureau, town.neighbour, days=9, guaranteed_days=0, notice_days=0, reason="互助", key="l",
        )  # fmt: skip
    assert (rest(town), left(town)) == (5, 15)


def test_what_its_requests_give_back_is_its_own_again(town: City) -> None:
    order(town, ShareAct.GIVE, 8)
    town.hand_over(town.approve(asked(town, quantity=2)))
    assert (rest(town), left(town)) == (12, 0)
    machine = town.standing_machine(SMALL, system_id=town.system)
    gone = town.submit(kinds.UNSUBSCRIBE, resource_id=machine, lines=[Line(current=SMALL, service="vm")])
    town.hand_over(town.approve(gone))
    assert (rest(town), left(town)) == (12, 4)


def test_a_system_that_is_no_longer_in_use_gives_its_share_back(town: City) -> None:
    order(town, ShareAct.GIVE, 8)
    with town.book.transaction(town.people["chief"]) as tx:
        departments.amend(tx, departments.system(tx, town.system), {"active": False})
    assert (rest(town), left(town)) == (20, None)
    with pytest.raises(Invalid, match=r"system_share\.inactive"):
        order(town, ShareAct.GIVE, 8, key="late")


@pytest.mark.parametrize("kind", [Adjustment.MERGE, Adjustment.SYSTEMS])
def test_a_share_goes_with_its_system_and_comes_home_with_it(town: City, kind: Adjustment) -> None:
    order(town, ShareAct.GIVE, 8)
    order(town, ShareAct.GIVE, 5, of="second")
    moved = [town.system] if kind is Adjustment.SYSTEMS else []
    with town.book.transaction(town.people["chief"]) as tx:
        batch = reorganisations.reorganise(
            tx, kind, town.bureau, town.neighbour, system_ids=moved, reason="机构改革", key="k"
        ).id
    assert left(town) == 8
    assert (rest(town), town.balance(Holder.SHARED, CPU)) == ((7, 5) if moved else (0, 0))
    with town.book.transaction(town.people["chief"]) as tx:
        shares.carry_out(tx, ShareOrder(ShareAct.TAKE_BACK, town.system, town.arm, CPU, 3, "调整"), key="there")
    town.prove()
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.undo(tx, batch, reason="方案调整")
    assert (rest(town), left(town), left(town, "second")) == (7, 5, 5)


def test_the_proof_names_a_department_whose_systems_have_other_than_it_set_apart(town: City) -> None:
    order(town, ShareAct.GIVE, 8)
    with town.book.engine.begin() as connection:
        connection.execute(text("UPDATE system_shares SET amount = 9"))
    with town.book.reading() as tx:
        said = (
            f"system_shares: department {town.bureau} has set apart -1 beside what its systems have in {town.arm}/{CPU}"
        )
        assert list(tree.check(tx)) == [said]


def test_another_system_named_in_a_supplement_draws_on_its_own(town: City) -> None:
    order(town, ShareAct.GIVE, 8)
    request = asked(town)
    request = town.sign(request, "checker", Decision.RETURN, reason="请写明所属系统")
    with town.book.transaction(town.people["clerk"]) as tx:
        request = submission.revise(
            tx,
            request,
            town.ask(system_id=town.second, lines=[Line(item_id=town.item, quantity=1)]),
            generation=request.generation,
        )
        submission.resubmit(tx, request, generation=request.generation)
    assert (rest(town), left(town)) == (8, 8)
