"""A cloud that hangs holds up nobody else: neither while it is collected nor while its orders are carried, nor in the runs after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from console import worklist
from console.jobs import Abreast, Said, Unsuccessful, say
from console.settings import Settings
from console.worklist import Worklist
from metering.intake import Intake, schedules
from metering.lake import Lake
from metering.workbench import Workbench
from providers.adapters.simulated.cloud import SimulatedCloud
from providers.base import IncidentFact, Inventory, Order, Outcome, ProviderFault
from providers.orders.tables import OrderState
from quota.db import Book
from tests import books
from tests.city import WORKS, City
from tests.conftest import Clock
from tests.patience import PATIENCE, together, until

SOON_S = 0.3


class Hanging(SimulatedCloud):
    """Answers nothing until it is let go."""

    let_go: threading.Event

    def inventory(self, now: datetime) -> Inventory:
        assert self.let_go.wait(PATIENCE)
        return super().inventory(now)

    def incidents(self, since: datetime, until: datetime) -> list[IncidentFact]:
        assert self.let_go.wait(PATIENCE)
        return super().incidents(since, until)

    def deliver(self, order: Order, now: datetime) -> Outcome:
        assert self.let_go.wait(PATIENCE)
        return super().deliver(order, now)


@pytest.fixture
def city(tmp_path: Path, clock: Clock) -> Iterator[City]:
    book = Book(books.sqlite(tmp_path / "book.db"), clock=clock)
    yield City(book, plan=WORKS, home=tmp_path)
    book.dispose()


@pytest.fixture
def hanging(city: City) -> Iterator[Hanging]:
    """The cloud of the first pool."""
    found = city.cloud(Hanging)
    assert isinstance(found, Hanging)
    found.let_go = threading.Event()
    yield found
    found.let_go.set()


@pytest.fixture
def work(city: City, hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worklist:
    """The jobs over a cloud that hangs and one that does not."""
    for name in ("CARRYING_S", "COLLECTING_S", "ACCOUNTING_S"):
        monkeypatch.setattr(worklist, name, SOON_S)
    monkeypatch.setattr(schedules, "USUAL", schedules.CollectionPace(window_days=1))
    healthy = SimulatedCloud(pool="gov-arm", epoch="2026-05-25", state_file=tmp_path / "healthy.jsonl")
    opened = {city.pool: hanging, city.named["hand"]: healthy}
    workbench = Workbench(city.book, Lake(tmp_path / "lake"), tmp_path, opened)
    return Worklist(workbench, Settings(data=tmp_path), Abreast(leaves=True))


def read(city: City, pool: int) -> bool:
    with city.book.reading() as tx:
        return tx.get(Intake, pool) is not None


def test_while_one_cloud_hangs_the_others_are_collected(city: City, work: Worklist, hanging: Hanging) -> None:
    slow, quick = "gov-arm", "hand"
    until(
        lambda: say("under_way", at=slow) in work.collect() and read(city, city.named[quick]), "the quick one is read"
    )
    city.book.clock.advance(minutes=5)
    until(
        lambda: any(one.code == "collected" and one.figures["at"] == quick for one in work.collect()),
        "and once more, in a run of its own",
    )
    assert not read(city, city.pool), "one turn, however many runs there were"
    hanging.let_go.set()
    until(
        lambda: any(one.code == "collected" and one.figures["at"] == slow for one in work.collect()),
        "what came of the slow one is told afterwards",
    )
    assert read(city, city.pool)


def test_while_one_cloud_hangs_the_orders_of_others_are_carried(city: City, work: Worklist, hanging: Hanging) -> None:
    stuck, free = city.create("stuck"), city.create("free", pool=city.named["hand"])
    said = until(
        lambda: (told := work.carry()) and city.now(free).state == OrderState.DELIVERED and told,
        "the free one is carried",
    )
    assert say("under_way", at="gov-arm") in said
    second = city.create("second", pool=city.named["hand"])
    until(lambda: work.carry() and city.now(second).state == OrderState.DELIVERED, "and one that came later")
    assert city.now(stuck).state == OrderState.SENT
    hanging.let_go.set()
    until(lambda: work.carry() and city.now(stuck).state == OrderState.DELIVERED, "the stuck one goes on")
    assert say("under_way", at="gov-arm") not in until(work.carry, "a last run")


def test_while_one_cloud_hangs_the_accounts_of_others_come(work: Worklist, hanging: Hanging) -> None:
    until(
        lambda: [one for one in work.account() if one.code == "under_way"] == [say("under_way", at="gov-arm")],
        "all but the stuck one are through",
    )
    hanging.let_go.set()
    until(lambda: say("under_way", at="gov-arm") not in work.account(), "the stuck one goes on")


def test_what_is_left_takes_no_place_and_is_told_once() -> None:
    gates = {name: threading.Event() for name in "abc"}

    def act(name: str) -> str:
        if name in gates:
            assert gates[name].wait(PATIENCE)
        if name == "c":
            raise ProviderFault("c is down", transient=True)
        return name.upper()

    abreast = Abreast(leaves=True, at_once=1)
    turn = abreast.each("abcd", act, SOON_S)
    assert (dict(turn.done).get("d", "D"), turn.left[:3]) == ("D", ["a", "b", "c"])
    for gate in gates.values():
        gate.set()
    told = []
    until(lambda: told.extend(abreast.each("", act, SOON_S).done) or len(told) >= 3, "all have ended")
    assert {name: str(what) for name, what in told if name != "d"} == {"a": "A", "b": "B", "c": "c is down"}
    assert abreast.each("ad", act, PATIENCE).done == [("a", "A"), ("d", "D")]


def test_who_does_not_leave_waits_for_all() -> None:
    gate, turns = threading.Event(), []
    abreast = Abreast()

    def run() -> None:
        turns.append(abreast.each("xy", lambda name: name if name == "y" else str(gate.wait(PATIENCE)), 0))

    together(run, gate.set)
    assert (turns[0].done, turns[0].left) == ([("x", "True"), ("y", "y")], [])


def test_what_nobody_expects_fails_the_run_and_what_came_of_the_others_is_told(
    city: City, work: Worklist, hanging: Hanging
) -> None:
    hanging.let_go.set()
    hanging.deliver = lambda *_: {}["a fault of ours"]  # type: ignore[assignment, method-assign]
    city.create("wrong")
    right = city.create("right", pool=city.named["hand"])
    said: list[Said] = []
    failed = []

    def told() -> bool:
        try:
            said.extend(work.carry())
        except Unsuccessful as run:
            failed.append(run)
            said.extend(run.said)
        return bool(failed) and sum(one.figures["delivered"] for one in said if one.code == "carried") == 1

    until(told, "both are told of")
    assert say("error_at", at="gov-arm", error="KeyError: 'a fault of ours'") in failed[0].said
    assert city.now(right).state == OrderState.DELIVERED
