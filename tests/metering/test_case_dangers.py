"""Every danger against every act: what is exempt, protected, unknown, busy again, under dispute or asked for otherwise is
not powered off, shrunk, recycled, deleted, nor made small again at the end of a term, whether the danger comes before
the order is placed or while it waits to be sent. The control of each row is the same walk without a danger: there the
cloud is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metering import cases
from metering.cases import exemptions, protections, suspensions
from metering.cases.exemptions import Category
from metering.cases.steps import Answer, CaseState, RulingDecision
from metering.judging.policy import Verdict
from providers import orders
from providers.base import ServiceKind, Verb
from providers.orders.tables import WorkOrder
from quota import units
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import Invalid, Refused, WrongState
from quota.inventory import Resource
from quota.ledger import entries
from quota.requests import kinds, rulebook, submission
from quota.requests.asks import Ask, Line
from quota.units import BLOCK, VCPU, Commodity
from tests import books
from tests.city import City
from tests.metering.cloud import Cloud, Died
from tests.metering.conftest import CPU

pytestmark = pytest.mark.slow

REASON = "此机承载重要业务,请予保留"
MEMORY = Commodity(units.MEMORY, CPU.arch)
LARGE = {VCPU: 32, units.MEMORY: 64 * 1024}


@dataclass
class Scene:
    """A machine (or a volume) whose next harmful step is near."""

    city: City
    machine: int
    cloud: Cloud
    case_id: int = 0
    verdict: Verdict = Verdict.IDLE

    def carry(self) -> None:
        """The job that carries orders, as it runs by itself."""
        self.city.listed()
        orders.carry_all(self.city.book, self.city.pool, self.cloud, cases.last_look)

    def turn(self) -> None:
        """The steward's jobs, twice round: carried before cases are advanced, which is the worse order."""
        for _ in range(2):
            self.city.clock.advance(minutes=20)
            self.carry()
            self.advance()

    def advance(self) -> None:
        self.city.listed()
        with self.city.by() as tx:
            cases.advance(tx)

    def judge(self, verdict: Verdict | None = None, p95: float = 2.0) -> None:
        self.city.judge({self.machine: verdict or self.verdict}, p95=p95)

    def state(self) -> str:
        return self.city.see(self.case_id).state

    def begin(self) -> None:
        """The supervisor acts, if the case waits for it."""
        if self.state() == CaseState.CLEARED:
            with suppress(Refused):
                self.city.act(self.case_id)

    def confirm(self) -> None:
        self.city.listed()
        for who in (self.city.supervisor, self.city.authority):
            if self.state() == CaseState.CONFIRMING:
                with suppress(Refused), self.city.by(who) as tx:
                    cases.confirm_deletion(tx, cases.case(tx, self.case_id))

    def harm(self) -> list[Verb]:
        """What the cloud did to it that takes something away; growing and giving back do not."""
        with self.city.book.reading() as tx:
            external = tx.get_one(Resource, self.machine).external_id
        found = []
        for one in self.cloud.acted.values():
            if one.external_id != external or one.verb in (Verb.SNAPSHOT, Verb.START, Verb.RESTORE):
                continue
            if one.verb is Verb.RESIZE and one.amounts.get(VCPU, 0) >= LARGE[VCPU]:
                continue
            found.append(one.verb)
        return found


# -------------------------------------------------------------------------- acts: brought to where the step is due next


def shrink(scene: Scene) -> Callable[[], None]:
    scene.verdict = Verdict.UNDERUSED
    scene.case_id = scene.city.cleared(Verdict.UNDERUSED, scene.machine)

    def due() -> None:
        scene.begin()  # the snapshot
        scene.carry()
        scene.advance()  # the resize is placed

    return due


def power_off(scene: Scene) -> Callable[[], None]:
    scene.case_id = scene.city.cleared(Verdict.IDLE, scene.machine)

    def due() -> None:
        scene.begin()
        scene.carry()
        scene.advance()

    return due


def recycle(scene: Scene) -> Callable[[], None]:
    power_off(scene)()
    scene.turn()
    assert scene.state() == CaseState.WATCHED
    scene.city.clock.advance(days=15, hours=1)
    return scene.advance


def delete(scene: Scene) -> Callable[[], None]:
    recycle(scene)()
    scene.turn()
    assert scene.state() == CaseState.BINNED
    scene.city.clock.advance(days=30, hours=1)
    scene.advance()
    assert scene.state() == CaseState.CONFIRMING
    return scene.confirm


def recycle_volume(scene: Scene) -> Callable[[], None]:
    scene.machine = scene.city.machine({BLOCK: 500}, ServiceKind.VOLUME)
    scene.verdict = Verdict.UNATTACHED
    scene.case_id = scene.city.cleared(Verdict.UNATTACHED, scene.machine)

    def due() -> None:
        scene.begin()
        scene.carry()
        scene.advance()

    return due


def delete_volume(scene: Scene) -> Callable[[], None]:
    recycle_volume(scene)()
    scene.turn()
    assert scene.state() == CaseState.BINNED
    scene.city.clock.advance(days=30, hours=1)
    scene.advance()
    return scene.confirm


def return_growth(scene: Scene) -> Callable[[], None]:
    city, scene.verdict = scene.city, Verdict.NORMAL
    with city.by() as tx:
        entries.grant(tx, city.pool, city.department, {CPU: 40, MEMORY: 80 * 1024}, key="spare")
    scene.case_id = city.noticed(Verdict.BUSY, scene.machine, target=LARGE)
    with city.by(city.tenant) as tx:
        until = tx.now.astimezone(ZONE).date() + timedelta(days=10)
        cases.reply(tx, cases.case(tx, scene.case_id), Answer.AGREE, until=until)
    scene.begin()
    scene.turn()
    assert scene.state() == CaseState.WATCHED
    city.clock.advance(days=11)
    scene.judge(Verdict.NORMAL, p95=20.0)
    return scene.advance


ACTS = (shrink, power_off, recycle, delete, recycle_volume, delete_volume, return_growth)

# ------------------------------------------------------------------------------------------------------------- dangers


def exempt(scene: Scene) -> None:
    """Granted behind the back of the job, as by another process that has not come to it yet."""
    city = scene.city
    until = city.clock.now.astimezone(ZONE).date() + timedelta(days=30)
    with city.by(city.authority) as tx:
        resource = tx.get_one(Resource, scene.machine)
        exemptions.grant(tx, resource, Category.KEY_PERIOD, REASON, until, city.see(scene.case_id).procedure())


def protected(scene: Scene) -> None:
    with scene.city.by() as tx:
        tx.get_one(Resource, scene.machine).protected = True


def tagged(scene: Scene) -> None:
    with scene.city.by(scene.city.authority) as tx:
        protections.add(tx, "level", "core", "核心业务")
        tx.get_one(Resource, scene.machine).tags = {"Level": "core"}


def busy(scene: Scene) -> None:
    scene.judge(Verdict.BUSY, p95=93.0)


def unknown(scene: Scene) -> None:
    scene.judge(Verdict.UNKNOWN)


def asked_for(scene: Scene) -> None:
    """The department has asked for something else for it."""
    city = scene.city
    with city.by(city.tenant) as tx:
        resource = tx.get_one(Resource, scene.machine)
        more = {kind: figure * 2 for kind, figure in resource.actual().items()}
        ask = Ask(
            kinds.RESIZE,
            city.department,
            city.pool,
            lines=[Line(current=resource.actual(), asked=more, service=resource.kind, name=resource.name)],
            justification="年审将至,须扩容后使用",
            resource_id=resource.id,
        )
        draft = submission.draft(tx, ask)
        submission.submit(tx, draft, generation=draft.generation)


def suspended(scene: Scene) -> None:
    with scene.city.by(scene.city.authority) as tx:
        tx.add(suspensions.Suspension(policy_version_id=scene.city.policy, at=tx.now, acted=10, regretted=5, limit=0.1))


DANGERS = (exempt, protected, tagged, busy, unknown, asked_for, suspended)

NO_DANGER = {
    # What is off or in the bin by our own hand sends no samples: that it is unknown says nothing new.
    *((act, unknown) for act in (recycle, delete, delete_volume)),
    (return_growth, suspended),  # the suspended policy takes; a term that ends was agreed on, and is judged by itself
}


def found(folder: Path, clock: Any) -> Scene:
    book = Book(books.sqlite(folder / "book.db"), clock=clock)
    city = City(book, clock)
    with city.by() as tx:
        rulebook.default_rules(tx)
    return Scene(city, city.machine(), Cloud())


@pytest.fixture
def scene(tmp_path: Path, clock: Any) -> Scene:
    return found(tmp_path, clock)


@dataclass
class Brought:
    """A scene whose act is due, and all that it was when it came to that."""

    scene: Scene
    due: Callable[[], None]
    book: books.Written
    city: City
    now: datetime
    cloud: Cloud

    def again(self) -> tuple[Scene, Callable[[], None]]:
        """As it was, whatever was done since."""
        books.settle(self.scene.city.book)
        books.lay(self.scene.city.book, self.book)
        self.scene.city.__dict__.update(self.city.copied(self.scene.city.book, self.scene.city.clock).__dict__)
        self.scene.city.clock.now, self.scene.cloud = self.now, deepcopy(self.cloud)
        return self.scene, self.due


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[Scene, Callable[[], None]]]]:
    """``brought(act, clock)``: a scene where that act is due, walked to once and laid anew for each danger."""
    made: dict[Callable[..., Any], Brought] = {}

    def bring(act: Callable[[Scene], Callable[[], None]], clock: Any) -> tuple[Scene, Callable[[], None]]:
        if act not in made:
            scene = found(tmp_path_factory.mktemp("scene"), clock)
            due = act(scene)
            made[act] = Brought(
                scene,
                due,
                books.written(scene.city.book),
                scene.city.copied(scene.city.book),
                clock.now,
                deepcopy(scene.cloud),
            )
        return made[act].again()

    yield bring
    for one in made.values():
        one.scene.city.book.dispose()


@pytest.mark.parametrize("act", ACTS, ids=lambda one: one.__name__)
def test_without_a_danger_the_cloud_is_told(brought, clock, act) -> None:
    scene, due = brought(act, clock)
    before = len(scene.harm())
    due()
    scene.turn()
    assert len(scene.harm()) == before + 1, "the walk never comes to the step that the dangers are held against"


@pytest.mark.parametrize("danger", DANGERS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("act", ACTS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("placed", [False, True], ids=["before", "while-it-waits"])
def test_nothing_is_taken_in_the_face_of_a_danger(brought, clock, act, danger, placed: bool) -> None:
    scene, due = brought(act, clock)
    before = len(scene.harm())
    if placed:
        due()
        assert scene.state() == CaseState.ORDERED
        if danger is asked_for:  # then nobody can ask any more
            with pytest.raises(Invalid, match=r"request\.order_open"):
                danger(scene)
            return
    danger(scene)
    for _ in range(2):
        scene.carry()  # before any job had a chance to see the danger
        due()
        scene.begin()
        scene.confirm()
        scene.turn()
        scene.city.clock.advance(hours=5)
    expected = before + ((act, danger) in NO_DANGER)
    assert len(scene.harm()) == expected, f"{danger.__name__} did not stop {act.__name__}"
    if act is return_growth and expected == before:
        one = scene.city.see(scene.case_id)
        assert one.reason, "a machine that keeps its size says why"
        assert one.state in (CaseState.STRAINED, CaseState.WATCHED)
        if danger in (busy, unknown):
            assert (one.state, one.due_at is not None) == (CaseState.STRAINED, True), "somebody is asked"


@pytest.mark.parametrize("act", [shrink, power_off, recycle_volume], ids=lambda one: one.__name__)
@pytest.mark.parametrize("answer", [Answer.OBJECT, Answer.EXEMPT])
@pytest.mark.parametrize("silent", [False, True], ids=["in-time", "after-silence"])
def test_nothing_is_taken_while_it_is_disputed(scene: Scene, act, answer: Answer, silent: bool) -> None:
    city = scene.city
    scene.verdict = {shrink: Verdict.UNDERUSED, power_off: Verdict.IDLE, recycle_volume: Verdict.UNATTACHED}[act]
    if act is recycle_volume:
        scene.machine = city.machine({BLOCK: 500}, ServiceKind.VOLUME)
    scene.case_id = city.noticed(scene.verdict, scene.machine)
    if silent:
        for days in (10, 12):
            scene.city.clock.advance(days=days)
            scene.judge()
            scene.advance()
        assert scene.state() == (CaseState.CLEARED if act is shrink else CaseState.DISPUTED)
    until = city.clock.now.date() + timedelta(days=60)
    with city.by(city.tenant) as tx:
        one = cases.case(tx, scene.case_id)
        cases.reply(tx, one, answer, reason=REASON, category=Category.MIGRATION, until=until)
    for _ in range(3):
        scene.judge()
        with suppress(Refused), city.by(city.supervisor) as tx:  # who signed the notice neither rules nor acts on it
            cases.rule(tx, cases.case(tx, scene.case_id), RulingDecision.PROCEED, REASON)
        with suppress(Refused):
            city.act(scene.case_id)
        scene.turn()
        city.clock.advance(days=6)
    assert scene.state() == CaseState.DISPUTED
    assert scene.cloud.acted == {}
    with city.by(city.second) as tx:
        cases.rule(tx, cases.case(tx, scene.case_id), RulingDecision.PROCEED, REASON)
    scene.judge()
    scene.begin()
    scene.turn()
    assert len(scene.harm()) == 1, "what was ruled on by another goes on: the wait above was the dispute's"


@pytest.mark.parametrize("ails", ["dies", "unreachable", "refuses"])
@pytest.mark.parametrize("act", ACTS, ids=lambda one: one.__name__)
def test_whatever_fails_the_cloud_acts_once(brought, clock, act, ails: str) -> None:
    scene, due = brought(act, clock)
    due()
    before = len(scene.harm())
    scene.cloud.ails = ails
    with suppress(Died):
        scene.carry()
    for _ in range(3):
        scene.city.clock.advance(minutes=20)
        scene.carry()
    assert len(scene.harm()) == before + 1
    scene.advance()
    with scene.city.book.reading() as tx:
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []


def test_a_shrink_that_could_not_be_called_back_is_undone_for_an_exemption(scene: Scene) -> None:
    due = shrink(scene)
    due()
    scene.cloud.seen = lambda order: (
        exempt(scene) if order.verb is Verb.RESIZE and len(scene.cloud.acted) == 1 else None
    )
    scene.carry()  # exempted while the cloud was at it
    assert scene.harm() == [Verb.RESIZE]
    scene.turn()
    one = scene.city.see(scene.case_id)
    assert (one.state, one.ending) == (CaseState.CLOSED, "exempted")
    with scene.city.book.reading() as tx:
        assert tx.get_one(Resource, scene.machine).amounts["vcpu"] == 16


def test_a_shrink_is_never_below_what_the_latest_judgement_holds_safe(scene: Scene) -> None:
    due = shrink(scene)
    due()
    scene.city.judge({scene.machine: Verdict.UNDERUSED}, target={VCPU: 12, units.MEMORY: 8 * 1024})
    scene.turn()
    assert scene.harm() == []
    assert scene.state() == CaseState.CLEARED
    scene.begin()
    scene.turn()
    assert [one.amounts[VCPU] for one in scene.cloud.acted.values() if one.verb is Verb.RESIZE] == [12]


def test_what_would_be_crowded_in_its_former_shape_is_asked_about(scene: Scene) -> None:
    due = return_growth(scene)
    scene.judge(Verdict.NORMAL, p95=55.0)  # of 32; of 16 it would be 110 %
    due()
    one = scene.city.see(scene.case_id)
    assert one.state == CaseState.STRAINED
    assert "110%" in one.reason
    with scene.city.by(scene.city.supervisor) as tx, pytest.raises(Refused):
        cases.roll_back(tx, cases.case(tx, scene.case_id))
    with scene.city.by(scene.city.tenant) as tx:  # it is its own
        cases.roll_back(tx, cases.case(tx, scene.case_id), "活动已结束")
    scene.turn()
    assert scene.city.see(scene.case_id).ending == "term_over"


def test_without_a_judgement_since_it_grew_nobody_is_made_smaller(scene: Scene) -> None:
    city = scene.city
    due = return_growth(scene)
    city.clock.advance(days=20)  # the judgement of the term's end is old by now
    due()
    one = city.see(scene.case_id)
    assert one.state == CaseState.STRAINED
    assert "没有评估数据" in one.reason
    with city.by(city.supervisor) as tx:
        cases.keep(tx, cases.case(tx, scene.case_id), "业务稳定增长,长期保留")
    assert city.see(scene.case_id).ending == "expanded"
    assert scene.harm() == []


def test_what_was_changed_by_request_meanwhile_is_not_changed_back(scene: Scene) -> None:
    due = return_growth(scene)
    with scene.city.by() as tx:
        resource = tx.get_one(Resource, scene.machine)
        resource.amounts = {**resource.amounts, "vcpu": 48}
    due()
    one = scene.city.see(scene.case_id)
    assert (one.ending, one.state) == ("changed", CaseState.CLOSED)
    scene.turn()
    assert scene.harm() == []


def test_what_people_were_handed_and_have_not_begun_is_called_back(scene: Scene) -> None:
    scene.cloud.capabilities = frozenset({Verb.SNAPSHOT})
    due = power_off(scene)
    due()
    scene.carry()
    with scene.city.book.reading() as tx:
        order = tx.query(WorkOrder).order_by(WorkOrder.id.desc()).first()
        assert (order.verb, order.state, order.by_hand) == ("stop", "sent", True)
    busy(scene)
    scene.advance()
    assert scene.city.see(scene.case_id).ending == "recovered"
    with scene.city.by(scene.city.provider) as tx, pytest.raises(Refused):
        orders.start(tx, order.id, tx.get_one(WorkOrder, order.id).generation)


def test_people_do_not_begin_what_must_not_be_done_any_more(scene: Scene) -> None:
    """Between a judgement and the next run of the job: whoever begins by hand is told before the case is."""
    scene.cloud.capabilities = frozenset({Verb.SNAPSHOT})
    power_off(scene)()
    scene.carry()
    with scene.city.book.reading() as tx:
        order = tx.query(WorkOrder).order_by(WorkOrder.id.desc()).first()
    scene.judge(Verdict.BUSY, p95=90.0)
    with pytest.raises(WrongState, match=r"order\.objection.*繁忙"), scene.city.by(scene.city.provider) as tx:
        orders.start(tx, order.id, order.generation, cases.objection)
    scene.judge(Verdict.IDLE)
    with scene.city.by(scene.city.provider) as tx:
        assert orders.start(tx, order.id, order.generation, cases.objection).state == "delivering"
