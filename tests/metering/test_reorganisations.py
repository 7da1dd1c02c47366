"""Departments that merge, split, move and hand over systems: as one batch, conserved, and back again."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from metering.judging import business, pipeline
from metering.judging.business import Period, Recurs
from metering.judging.policy import Section, default
from providers.base import Verb
from quota.actors import Role, steward
from quota.db import Book
from quota.directory import Division, departments, movers, reorganisations, successions
from quota.directory.people import Person
from quota.directory.reorganisations import Adjustment, Reorganisation
from quota.errors import Conflict, Invalid, NotAllowed, OverCapacity, WrongState
from quota.exchange import QuotaOffer
from quota.inventory import Resource, history
from quota.ledger import Act, Allocation, Allotment, Loan, allotments, commitments, entries, lending
from quota.ledger.tables import Holder, Side
from quota.requests import kinds, submission
from quota.units import MEMORY, VCPU, Amount
from tests.city import GB, TOWN, City
from tests.quota.conftest import CPU, MEM

WHY = "机构改革方案第 3 条"


@pytest.fixture
def town(book: Book) -> City:
    """The bureau has 40 vCPU and 80 GB, of which its machine uses 8 and 16; the neighbour has nothing."""
    town = City(book, plan=TOWN)
    town.grant({CPU: 40, MEM: 80 * GB}, "all")
    with book.transaction(steward()) as tx:
        entries.use(tx, town.arm, town.bureau, {CPU: 8, MEM: 16 * GB}, key="machine")
        tx.add(machine(town, tx.now))
        tx.add(Person(login="clerk", name="经办", role=Role.TENANT.value, department_id=town.bureau, granted=True))
    return town


def machine(town: City, at: datetime) -> Resource:
    shape = {"vcpu": 8, "memory": 16 * GB}
    return Resource(
        pool_id=town.arm, external_id="i-1", name="办件库", kind="vm", arch="aarch64", amounts=shape, booked=shape,
        state="running", department_id=town.bureau, system_id=town.system, basis="adopted", first_seen_at=at, tags={},
    )  # fmt: skip


def reorganise(town: City, kind: Adjustment = Adjustment.MERGE, by: str = "chief", **other: Any) -> Reorganisation:
    given: dict[str, Any] = {"reason": WHY, "key": "one", "target": town.neighbour, "source": town.bureau} | other
    with town.book.transaction(town.people[by]) as tx:
        source, target = given.pop("source"), given.pop("target")
        return reorganisations.reorganise(tx, kind, source, target, **given)


def undo(town: City, batch: Reorganisation) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.undo(tx, batch.id, reason="方案调整")


def wallet(town: City, department_id: int) -> dict[str, int]:
    """holder → vCPU; proves the book on the way."""
    town.prove()
    with town.book.reading() as tx:
        found = {
            holder.value: entries.balance(tx, Side(town.arm, CPU, holder, department_id)) for holder in entries.OWNED
        }
    return {holder: amount for holder, amount in found.items() if amount}


def test_a_merger_moves_everything_by_one_transfer_and_comes_back(town: City) -> None:
    batch = reorganise(town)
    assert wallet(town, town.bureau) == {}
    assert wallet(town, town.neighbour) == {"granted": 32, "used": 8}
    with town.book.reading() as tx:
        assert len(list(tx.scalars(select(entries.Transfer).where(entries.Transfer.subject == batch.subject)))) == 1
        bureau, branch = departments.department(tx, town.bureau), departments.department(tx, town.branch)
        assert (bureau.active, bureau.parent_id, branch.parent_id) == (False, town.neighbour, town.neighbour)
        one = tx.scalars(select(Resource)).one()
        assert one.department_id == departments.system(tx, town.system).department_id == town.neighbour
        assert history(tx, one.id)[-1].after == {"owner": "邻局"}
        assert tx.scalars(select(Person.department_id)).one() == town.neighbour
    undo(town, batch)
    assert wallet(town, town.bureau) == {"granted": 32, "used": 8}
    assert wallet(town, town.neighbour) == {}
    with town.book.reading() as tx:
        bureau = departments.department(tx, town.bureau)
        assert (bureau.active, bureau.parent_id) == (True, None)
        assert departments.department(tx, town.branch).parent_id == town.bureau
        assert tx.scalars(select(Resource.department_id)).one() == town.bureau
        assert tx.scalars(select(Person.department_id)).one() == town.bureau
    with pytest.raises(WrongState):
        undo(town, batch)


def test_what_waits_for_a_decision_goes_along(town: City) -> None:
    request = town.submit(kinds.CREATE)
    assert wallet(town, town.bureau) == {"granted": 24, "held": 8, "used": 8}
    batch = reorganise(town)
    assert wallet(town, town.neighbour) == {"granted": 24, "held": 8, "used": 8}
    with town.book.reading() as tx:
        assert submission.request(tx, request.id).department_id == town.neighbour
    undo(town, batch)
    assert wallet(town, town.bureau) == {"granted": 24, "held": 8, "used": 8}
    batch = reorganise(town, key="two")
    town.approve(town.seen(request))
    assert wallet(town, town.neighbour) == {"granted": 24, "used": 16}
    with pytest.raises(WrongState) as refusal:
        undo(town, batch)
    assert refusal.value.code == "reorganisation.decided"


def test_a_machine_takes_home_what_it_has_now(town: City) -> None:
    batch = reorganise(town)
    with town.book.transaction(steward()) as tx:  # shrunk to half meanwhile
        one = tx.scalars(select(Resource)).one()
        one.booked = {"vcpu": 4, "memory": 8 * GB}
        entries.release(tx, town.arm, town.neighbour, {CPU: 4, MEM: 8 * GB}, key="shrunk")
    undo(town, batch)
    assert wallet(town, town.bureau) == {"granted": 32, "used": 4}
    assert wallet(town, town.neighbour) == {"granted": 4}


def test_undoing_is_refused_where_the_quota_was_used(town: City) -> None:
    batch = reorganise(town)
    with town.book.transaction(steward()) as tx:
        entries.use(tx, town.arm, town.neighbour, {CPU: 10}, key="elsewhere")
    with pytest.raises(OverCapacity) as refusal:
        undo(town, batch)
    assert refusal.value.code == "reorganisation.short"
    assert wallet(town, town.neighbour) == {"granted": 22, "used": 18}


def test_systems_take_their_machines_and_what_these_use(town: City) -> None:
    with pytest.raises(Invalid):
        reorganise(town, Adjustment.SYSTEMS, system_ids=[])
    batch = reorganise(town, Adjustment.SYSTEMS, system_ids=[town.system])
    assert wallet(town, town.bureau) == {"granted": 32}
    assert wallet(town, town.neighbour) == {"used": 8}
    with town.book.reading() as tx:
        assert departments.department(tx, town.bureau).active
    undo(town, batch)
    assert wallet(town, town.bureau) == {"granted": 32, "used": 8}


def test_a_department_comes_under_another(town: City) -> None:
    batch = reorganise(town, Adjustment.PARENT)
    with town.book.reading() as tx:
        assert departments.subtree(tx, town.neighbour) == {town.neighbour, town.bureau, town.branch}
    undo(town, batch)
    with town.book.reading() as tx:
        assert departments.subtree(tx, town.neighbour) == {town.neighbour}


def test_loans_follow_and_forbid(town: City) -> None:
    terms: dict[str, Any] = {"days": 9, "guaranteed_days": 0, "notice_days": 0, "reason": "互助"}
    with town.book.transaction(town.people["chief"]) as tx:
        one = lending.offer(tx, town.arm, CPU, 6, town.bureau, town.branch, key="l", **terms)
        lending.accept(tx, one.id, generation=one.generation)
    batch = reorganise(town)
    with town.book.reading() as tx:
        assert lending.loan(tx, one.id).lender_id == town.neighbour
    undo(town, batch)
    with pytest.raises(WrongState) as refusal:
        reorganise(town, source=town.branch, target=town.bureau, key="two")
    assert refusal.value.code == "reorganisation.loan"


def test_what_makes_no_sense_is_refused(town: City) -> None:
    with pytest.raises(NotAllowed):
        reorganise(town, by="reviewer")
    for wrong in ({"target": town.bureau}, {"target": town.branch}, {"target": None}, {"reason": " "}):
        with pytest.raises(Invalid):
            reorganise(town, **wrong)
    batch = reorganise(town)
    assert reorganise(town).id == batch.id
    with pytest.raises(Conflict):
        reorganise(town, Adjustment.PARENT)
    with pytest.raises(Invalid, match=r"department\.closed"):
        reorganise(town, key="two")
    later = reorganise(town, source=town.neighbour, target=None, kind=Adjustment.PARENT, key="three")
    with pytest.raises(WrongState) as refusal:
        undo(town, batch)
    assert refusal.value.code == "reorganisation.later"
    undo(town, later)
    undo(town, batch)


def test_what_a_merged_department_declared_holds_for_its_successor_and_comes_back(town: City) -> None:
    fair = Period("招生季", Recurs.ONCE, starts_on=date(2026, 6, 1), ends_on=date(2026, 7, 1))
    with town.book.transaction(town.people["clerk"]) as tx:
        business.declare(tx, fair, department_id=town.bureau)

    def declared(department_id: int) -> list[str]:
        with town.book.reading() as tx:
            return [one.name for one in business.calendars(tx).of(department_id, None)]

    assert (declared(town.bureau), declared(town.neighbour)) == (["招生季"], [])
    batch = reorganise(town)
    assert declared(town.neighbour) == ["招生季"]  # its machines are judged as the neighbour's now
    undo(town, batch)
    assert (declared(town.bureau), declared(town.neighbour)) == (["招生季"], [])


def test_what_a_policy_says_of_a_merged_department_holds_for_what_came_from_it_and_no_more(town: City) -> None:
    with town.book.transaction(steward()) as tx:
        bureau, neighbour = (departments.department(tx, one) for one in (town.bureau, town.neighbour))
        third = departments.register(tx, "third", "第三局")
        policy = replace(
            default(),
            sections=(
                Section("招生", departments=(bureau.code,), sizing="max"),
                Section("邻局", departments=(neighbour.code,), sizing="p99@70"),
            ),
        )
        for n, owner, system in (2, town.neighbour, None), (3, town.branch, None), (4, third.id, None):
            other = machine(town, tx.now)
            other.external_id, other.department_id, other.system_id, other.booked = f"i-{n}", owner, system, {}
            tx.add(other)

    def held() -> list[str]:
        """The section that holds for the machines of the bureau, of the neighbour, of the bureau's branch, of the third."""
        with town.book.reading() as tx:
            machines = tx.scalars(select(Resource).order_by(Resource.external_id)).all()
            found = pipeline.sections(tx, machines, policy, business.calendars(tx))
            return ["" if i < 0 else policy.sections[i].name for i in found]

    before = held()
    assert before == ["招生", "邻局", "招生", ""]
    batch = reorganise(town)
    assert held() == before
    again = reorganise(town, key="two", source=town.neighbour, target=third.id)
    assert held() == before
    with town.book.reading() as tx:
        assert successions.mergers(tx).successors() == {town.bureau: third.id, town.neighbour: third.id}
    undo(town, again)
    undo(town, batch)
    assert held() == before
    with town.book.reading() as tx:
        assert successions.mergers(tx).successors() == {}


def test_what_left_the_successor_is_no_longer_known_by_the_merged_department(town: City) -> None:
    reorganise(town)
    with town.book.transaction(steward()) as tx:
        third = departments.register(tx, "third", "第三局").id

    def known_as() -> list[int]:
        with town.book.reading() as tx:
            one = tx.scalars(select(Resource)).one()
            return successions.mergers(tx).known_as(one, business.calendars(tx).chain(one.department_id))

    assert known_as() == [town.neighbour, town.bureau]
    reorganise(town, Adjustment.SYSTEMS, key="two", source=town.neighbour, target=third, system_ids=[town.system])
    assert known_as() == [third]


def split(town: City, key: str = "s", **other: Any) -> Reorganisation:
    """A new department takes the bureau's system, and what ``other`` says."""
    systems, target = other.pop("systems", [town.system]), other.pop("target", None)
    source = other.pop("source", town.bureau)
    made = {} if target else {"code": f"new-{key}", "name": "数据局"}
    division = Division(**{**made, **other})
    return reorganise(
        town, Adjustment.SPLIT, key=key, source=source, target=target, system_ids=systems, division=division
    )


def lying(town: City) -> dict[str, Any]:
    """What the city's book says of what lies where: balances, holds, allocations, and everything that a mover answers for."""
    town.prove()
    with town.book.reading() as tx:
        accounts = {
            (one.pool_id, one.kind, one.arch, one.holder, one.department_id): one.balance
            for one in tx.scalars(select(entries.Account))
            if one.balance
        }
        given = sorted(
            (one.giver_id or 0, one.receiver_id, one.pool_id, one.kind, one.outstanding)
            for one in tx.scalars(select(Allocation))
            if one.outstanding
        )
        rows = {
            f"{mover.name}.{mover.column}": dict(
                tx.execute(select(mover.model.id, getattr(mover.model, mover.column))).all()
            )
            for mover in movers.movers()
            if isinstance(mover, movers.Rows) and mover.name != "children"
        }
    return {"accounts": accounts, "given": given, **rows}


@pytest.fixture
def group(town: City) -> int:
    """A department above the bureau, which it gives 20 vCPU for some days and 31 for good."""
    with town.book.transaction(town.people["chief"]) as tx:
        one = departments.register(tx, "g", "市直").id
        departments.department(tx, town.bureau).parent_id = one
        entries.grant(tx, town.arm, one, {CPU: 90}, key="group")
        for n, (amount, days) in enumerate(((20, 9), (31, None))):
            ends = tx.now.date() + timedelta(days=days) if days else None
            what = Allotment(Act.SHARE, town.arm, CPU, one, amount, "统筹", town.bureau, ends)
            allotments.carry_out(tx, what, key=f"share{n}")
    return one


def machine_of(town: City) -> Resource:
    with town.book.reading() as tx:
        one = tx.scalars(select(Resource)).one()
        tx.expunge(one)
        return one


def test_split_and_undone_leaves_all_as_it_was(town: City, group: int) -> None:
    """Whatever goes, wherever the new department lies: nothing is lost on the way, and everything comes home."""
    about = town.submit(kinds.CREATE, system_id=town.system)
    free = town.submit(kinds.CREATE)
    order = town.place(
        Verb.RESIZE, "grow", resource=machine_of(town), amounts={VCPU: 12, MEMORY: 16 * GB}, department_id=town.bureau
    )
    before, draw = lying(town), random.Random(20261201)
    total = {key[:3]: 0 for key in before["accounts"]}
    for key, amount in before["accounts"].items():
        total[key[:3]] += amount
    for n in range(6):
        systems = [town.system] if n % 2 == 0 else []
        share = draw.choice((0, 1, 33, 100)) if systems else draw.randint(1, 100)
        chosen = {"requests": frozenset({free.id})} if draw.random() < 0.5 else {}
        parent = draw.choice((None, group, town.bureau, town.neighbour))
        batch = split(town, f"s{n}", systems=systems, share=share, chosen=chosen, parent_id=parent)
        new, after = batch.target_id, lying(town)
        assert new is not None
        moved = {key: amount for key, amount in after["accounts"].items() if key[4] == new}
        used = moved.get((town.arm, "vcpu", "aarch64", "used", new), 0)
        held = moved.get((town.arm, "vcpu", "aarch64", "held", new), 0)
        granted = moved.get((town.arm, "vcpu", "aarch64", "granted", new), 0)
        had = before["accounts"][town.arm, "vcpu", "aarch64", "granted", town.bureau]
        assert used == (12 if systems else 0), "the machine's 8, and 4 that the open order has taken"
        assert held == 8 * (bool(systems) + bool(chosen))
        assert granted == had * share // 100
        for key, amount in after["accounts"].items():
            total[key[:3]] -= amount
        assert not any(total.values()), "nothing came into a pool or left it"
        total = {key[:3]: 0 for key in before["accounts"]}
        for key, amount in before["accounts"].items():
            total[key[:3]] += amount
        assert (after["requests.department_id"][about.id] == new) is bool(systems)
        assert (after["requests.department_id"][free.id] == new) is bool(chosen)
        assert (after["orders.department_id"][order.id] == new) is bool(systems)
        undo(town, batch)
        assert lying(town) == before
        with town.book.reading() as tx:
            closed = departments.department(tx, new)
            assert (closed.active, closed.parent_id) == (False, town.bureau)


def about(town: City) -> dict[str, frozenset[int]]:
    """What of the bureau lies with no system: a machine, 4 vCPU lent and 6 borrowed, an offer, and a promise that is held."""
    terms = {"days": 30, "guaranteed_days": 1, "notice_days": 1, "reason": "互助"}
    day = town.book.clock().date() + timedelta(days=30)
    loose = town.standing_machine({VCPU: 2}, "loose", department_id=town.bureau)
    with town.book.transaction(town.people["chief"]) as tx:
        entries.use(tx, town.arm, town.bureau, {CPU: 2}, key="loose")
        entries.grant(tx, town.arm, town.neighbour, {CPU: 10}, key="theirs")
        for key, amount, lender, borrower in (
            ("lent", 4, town.bureau, town.neighbour),
            ("got", 6, town.neighbour, town.bureau),
        ):
            lending.agreed(tx, town.arm, CPU, amount, lender, borrower, key=key, **terms)
        offer = QuotaOffer(
            key="o", department_id=town.bureau, pool_id=town.arm, kind=VCPU, arch=CPU.arch.value, way="lend", amount=2, until=day,
            open_until=day, reason="闲置", by="chief", at=tx.now,
        )  # fmt: skip
        tx.add(offer)
        promise = commitments.enter(tx, town.bureau, town.arm, Amount({VCPU: 3}), day, basis="request:0", called="SQ")
        tx.flush()
        found = {"loans": {1, 2}, "quota_offers": {offer.id}, "commitments": {promise.id}, "resources": {loose}}
    with town.book.transaction(steward()) as tx:
        commitments.settle(tx, town.arm)
        listed = {key for key, _noun, _called in reorganisations.choosable(tx, town.bureau)}
        assert listed == {f"{name}/{id_}" for name, ids in found.items() if name != "resources" for id_ in ids}
    return {name: frozenset(ids) for name, ids in found.items()}


def lent(town: City) -> list[tuple[int, int, int]]:
    with town.book.reading() as tx:
        return [(one.lender_id, one.borrower_id, one.outstanding) for one in tx.scalars(select(Loan).order_by(Loan.id))]


def test_what_lies_with_no_system_goes_where_it_was_chosen_and_comes_home(town: City, group: int) -> None:
    chosen = about(town)
    before, loans = lying(town), lent(town)
    assert wallet(town, town.bureau)["lent"] == 6
    with town.book.reading() as tx:
        mine = tx.scalars(select(Resource.id).where(Resource.system_id.is_not(None))).one()
    with pytest.raises(Invalid, match=r"reorganisation\.chosen"):
        split(town, systems=[], chosen={"resources": frozenset({mine})})
    for n, parent in enumerate((None, group)):
        batch = split(town, f"c{n}", systems=[], chosen=chosen, parent_id=parent)
        new = batch.target_id
        assert new is not None
        assert wallet(town, new) == {"lent": 6, "used": 2, "held": 3}
        assert lent(town) == [(new, town.neighbour, 4), (town.neighbour, new, 6)]
        undo(town, batch)
        assert (lying(town), lent(town)) == (before, loans)
    batch = split(town, "kept", systems=[], chosen={"loans": frozenset({1})})
    new = batch.target_id
    assert new is not None
    with town.book.transaction(town.people["chief"]) as tx:
        lending.give_back(tx, 1, 1, generation=lending.loan(tx, 1).generation)
    assert wallet(town, new) == {"granted": 1}, "it comes home to who lends it now"
    with pytest.raises(WrongState) as refusal:
        undo(town, batch)
    assert refusal.value.code == "reorganisation.decided"
    with town.book.transaction(steward()) as tx:
        entries.hold(
            tx, town.arm, town.bureau, {CPU: 1}, key="h", subject="request:9", source=Holder.LENT, target=Holder.USED
        )
    with pytest.raises(WrongState) as refusal:
        split(town, "used", systems=[], chosen={"loans": frozenset({2})})
    assert refusal.value.code == "reorganisation.in_use"


def test_a_split_that_something_came_after_is_not_undone(town: City) -> None:
    with town.book.reading() as tx:
        clerk = tx.scalars(select(Person)).one()
    with pytest.raises(Invalid, match=r"reorganisation\.chosen"):
        split(town, chosen={"people": frozenset({clerk.id + 1})})
    for wrong in ({"share": 101}, {"systems": []}, {"chosen": {"accounts": frozenset({1})}}, {"target": town.bureau}):
        with pytest.raises(Invalid):
            split(town, **wrong)
    with pytest.raises(Conflict):
        split(town, code="n")  # the neighbour's
    with town.book.transaction(town.people["chief"]) as tx:
        entries.grant(tx, town.arm, town.neighbour, {CPU: 1}, key="its own")
    with pytest.raises(Invalid, match=r"reorganisation\.occupied"):
        split(town, target=town.neighbour)
    with town.book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(Reorganisation)) == 0
    batch = split(town, chosen={"people": frozenset({clerk.id})}, share=50)
    assert split(town, chosen={"people": frozenset({clerk.id})}, share=50).id == batch.id
    with pytest.raises(Conflict):
        split(town, code="another", share=50)
    new = batch.target_id
    assert new is not None
    assert (wallet(town, town.bureau), wallet(town, new)) == ({"granted": 16}, {"granted": 16, "used": 8})
    with town.book.reading() as tx:
        assert tx.get_one(Person, clerk.id).department_id == new
    with town.book.transaction(town.people["chief"]) as tx:
        entries.grant(tx, town.arm, new, {CPU: 1}, key="more")
    with pytest.raises(WrongState) as refusal:
        undo(town, batch)
    assert refusal.value.code == "reorganisation.left"
    with town.book.transaction(steward()) as tx:
        entries.use(tx, town.arm, new, {CPU: 10}, key="elsewhere")
    with pytest.raises(OverCapacity):
        undo(town, batch)
    assert wallet(town, new) == {"granted": 7, "used": 18}


def test_what_a_split_took_along_goes_on_and_keeps_it_from_being_undone(town: City) -> None:
    request = town.submit(kinds.CREATE, system_id=town.system)
    batch = split(town)
    new = batch.target_id
    assert new is not None
    assert (wallet(town, town.bureau), wallet(town, new)) == ({"granted": 24}, {"held": 8, "used": 8})
    town.approve(town.seen(request))
    assert wallet(town, new) == {"used": 16}
    with pytest.raises(WrongState) as refusal:
        undo(town, batch)
    assert refusal.value.code == "reorganisation.decided"
    with pytest.raises(WrongState) as refusal:
        split(town, "again", source=new)  # nothing is ordered yet for the 8 that are in use
    assert refusal.value.code == "reorganisation.approved"
