"""Scale-outs: what a tier's hour shows, when a machine more is ordered, asked for or left, and that every bound holds whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from random import Random

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from metering import scale_outs as door
from metering.cases import openings
from metering.judging import findings
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.lake.store import Lake
from metering.overview import whole_systems
from metering.rollout import scopes
from metering.scale_outs import ScaleOut, ScaleOutEnding, ScaleOutState, measured, scale_outs
from providers import orders
from providers.base import Order, Verb
from quota.actors import steward
from quota.db import Book
from quota.directory.departments import System
from quota.errors import Conflict, Invalid, NotAllowed, Refused, WrongState
from quota.inventory import Resource, Tier, tiers
from quota.ledger import entries
from quota.ledger.tables import Holder
from quota.requests import OPEN, Decision, Request, approvals
from quota.units import ACCELERATOR, BLOCK, MEMORY, VCPU, Amount
from tests import books
from tests.city import GB, City
from tests.conftest import Clock
from tests.metering.cloud import Died
from tests.metering.surging import EIGHT, FOUR, FullPool, Surging

HOT, WARM, CALM, NONE = 99.0, 70.0, 20.0, float("nan")
HOLD = 2
BEGIN = datetime.fromisoformat("2026-06-01T02:00:00+00:00")
PROCEDURE = Procedure(tier_hold_hours=HOLD, temporary_days=2, backoff_days=2)


class Tiered(Surging):
    """A town with a tier of two machines, to which ``most`` may be added."""

    def __init__(self, city: City, lake: Lake, most: int = 2, quota: Amount | None = None) -> None:
        super().__init__(city, lake, quota=quota, procedure=PROCEDURE)
        self.sign_once()
        self.pair = [self.machine(), self.machine()]
        with self.book.transaction(city.tenant) as tx:
            self.tier = tiers.declare(tx, tx.get_one(System, self.system), "web", "SLB-1", most, self.pair).id

    def members(self) -> list[int]:
        with self.book.reading() as tx:
            return [one.id for one in tiers.members(tx, self.tier)]

    def loaded(self, load: float) -> str:
        """An hour in which the whole tier is loaded so. Returns what was done about it."""
        done = self.hour(dict.fromkeys(self.members(), load))
        assert not done.faults, done.faults
        assert not done.tier_faults, done.tier_faults
        return " ".join(done.tiers)

    def outs(self) -> list[ScaleOut]:
        with self.book.reading() as tx:
            return list(tx.scalars(select(ScaleOut).order_by(ScaleOut.id)))

    def do(self, verb: Callable[..., object], *more: object, supervisor: bool = False) -> None:
        one = self.outs()[-1]
        with self.book.transaction(self.city.supervisor if supervisor else self.city.tenant) as tx:
            verb(tx, one.id, one.generation, *more)

    def carry(self) -> None:
        orders.carry_all(self.book, self.city.pool, self.cloud, door.last_look)
        self.city.advance()
        with self.book.transaction(steward()) as tx:
            for order in (one for one in self.cloud.acted.values() if one.verb is Verb.RESIZE):
                row = tx.query(Resource).filter_by(external_id=order.external_id).one()
                row.amounts = {**row.amounts, **order.amounts}

    def one_more(self) -> None:
        """One is ordered, made and behind the balancer."""
        assert self.loaded(HOT) == "scale_out_ordered"
        self.carry()
        self.look()
        self.do(scale_outs.joined)

    def returned(self) -> None:
        """The request is signed by whose turn it is, and carried out."""
        with self.book.reading() as tx:
            waiting = list(tx.scalars(select(Request.id).where(Request.state.in_([one.value for one in OPEN]))))
        for number in waiting:
            with suppress(Refused), self.book.transaction(self.city.supervisor) as tx:
                row = tx.get_one(Request, number)
                approvals.sign(tx, row, decision=Decision.APPROVE, generation=row.generation)
            with suppress(Refused), self.book.transaction(steward()) as tx:
                orders.place_for_request(tx, tx.get_one(Request, number))
        self.carry()
        self.look()


@pytest.fixture
def light(tmp_path: Path) -> City:
    """A city in a book of SQLite: what is looked at here, both databases do alike."""
    clock = Clock(BEGIN)
    return City(Book(books.sqlite(tmp_path / "book.db"), clock=clock), clock)


@pytest.fixture
def town(light: City, tmp_path: Path) -> Tiered:
    return Tiered(light, Lake(tmp_path / "lake"))


@pytest.mark.parametrize(
    ("rows", "now", "peak", "covered"),
    [
        ([[80] * 12, [60] * 12], 70, 70, True),
        ([[20] * 9 + [90] * 3, [20] * 9 + [80] * 3], 85, 85, True),
        ([[95, *[20] * 11], [95, *[20] * 11]], 20, 95, True),  # a moment an hour ago
        ([[90] * 12, [NONE] * 12, [NONE] * 12], None, None, False),  # one of three speaks for none
        ([[NONE] * 9 + [50] * 3, [NONE] * 9 + [70] * 3], 60, 60, False),
        ([], None, None, False),
    ],
)
def test_a_tier_is_as_loaded_as_its_machines_are_on_average(rows, now, peak, covered):
    load = measured(np.array(rows, np.float64).reshape(len(rows), 12))
    assert (load.now, load.peak, load.covered) == (now, peak, covered)
    assert load.busy(80) == (now is not None and now >= 80)


def test_fewer_do_only_where_no_moment_would_have_been_too_much():
    assert measured(np.full((3, 12), 39.0)).spare(60)
    assert not measured(np.full((3, 12), 41.0)).spare(60), "two would come to 61.5 %"
    assert not measured(np.full((1, 12), 1.0)).spare(60), "the last one stays"


@pytest.mark.parametrize("why", ["unauthorised", "ceiling", "quota"])
def test_without_leave_the_department_is_asked_first(light: City, tmp_path: Path, why: str):
    town = Tiered(light, Lake(tmp_path / "lake"), quota=Amount({}) if why == "quota" else None)
    if why != "unauthorised":
        town.authorise(vcpu=3 if why == "ceiling" else 16)
    assert town.loaded(HOT) == "scale_out_proposed"
    (one,) = town.outs()
    assert (one.state, one.why, one.order_key) == ("proposed", why, None)
    assert town.loaded(HOT) == "", "asked once"
    if why == "quota":
        with pytest.raises(Refused):
            town.do(scale_outs.agree)
        assert town.outs()[0].state == "proposed"
        return
    town.do(scale_outs.agree)
    town.carry()
    town.look()
    assert town.outs()[0].state == "delivered"
    with town.book.reading() as tx:
        assert scale_outs.on_loan(tx, town.system) == {}, "agreed to one by one: no part of the ceiling"


def test_who_declines_is_left_alone_for_a_while(town: Tiered):
    town.loaded(HOT)
    town.do(scale_outs.decline, "有活动,已安排其他资源")
    assert town.loaded(HOT) == ""
    town.clock.advance(days=PROCEDURE.backoff_days)
    town.judge(dict.fromkeys(town.pair, Verdict.NORMAL))
    assert town.loaded(HOT) == "scale_out_proposed"
    assert town.loaded(CALM) == ""
    assert town.loaded(CALM) == "scale_out_closed"
    assert town.outs()[-1].ending == ScaleOutEnding.CALM


def test_one_at_a_time_and_no_more_than_was_declared(town: Tiered):
    town.authorise()
    town.one_more()
    assert town.loaded(HOT) == "", "what it takes over is not seen yet"
    assert town.loaded(HOT) == "scale_out_ordered", "an hour has shown that one was not enough"
    town.carry()
    done = town.hour(dict.fromkeys(town.members(), HOT))
    assert not done.tiers, "nobody has entered it at the balancer yet"
    assert done.done["begun"], "an hour later its machines are enlarged meanwhile, as any"
    town.do(scale_outs.joined)
    town.loaded(HOT)
    assert town.hour(dict.fromkeys(town.members(), HOT)).tiers == {}, "two were declared"
    assert len(town.members()) == 4


def test_a_machine_more_has_what_the_others_have_without_what_is_lent_to_them(town: Tiered):
    town.authorise(vcpu=32, memory_gb=128)
    assert town.hour({town.pair[0]: HOT, town.pair[1]: WARM / 2}).done["begun"]
    town.carry()
    assert town.has(town.pair[0]) == EIGHT
    assert town.loaded(HOT) == "scale_out_ordered"
    assert town.outs()[0].needs() == FOUR


def test_a_tier_of_one_that_is_calm_again_needs_no_answer(light: City, tmp_path: Path):
    town = Tiered(light, Lake(tmp_path / "lake"))
    with town.book.transaction(light.tenant) as tx:
        tiers.leave(tx, tiers.lock(tx, town.tier), town.pair.pop())
    assert town.loaded(HOT) == "scale_out_proposed"
    assert [town.loaded(CALM) for _ in range(HOLD)] == ["", "scale_out_closed"]


def test_what_is_authorised_bounds_machines_and_their_sizes_together(town: Tiered):
    town.authorise(vcpu=4, memory_gb=8)
    town.one_more()
    done = town.hour({town.pair[0]: HOT, town.pair[1]: CALM, town.members()[-1]: CALM})
    assert "begun" not in done.done, "the ceiling is used up by the machine more"


@pytest.mark.parametrize(("memory_gb", "card"), [(0, 0), (64, 1)], ids=["memory", "card"])
def test_what_an_authorisation_names_nothing_of_is_asked_for(town: Tiered, memory_gb: int, card: int):
    if card:
        with town.book.transaction(steward()) as tx:
            for one in town.pair:
                tx.get_one(Resource, one).amounts = Amount({**FOUR, BLOCK: 40, ACCELERATOR: card}).to_json()
    town.authorise(memory_gb=memory_gb)
    assert town.loaded(HOT) == "scale_out_proposed"
    assert town.outs()[0].why == "ceiling"


@pytest.mark.parametrize("shut", ["none more", "shadow"])
def test_what_was_asked_is_not_ordered_where_it_would_be_asked_no_more(town: Tiered, shut: str):
    assert town.loaded(HOT) == "scale_out_proposed"
    if shut == "none more":
        with town.book.transaction(town.city.tenant) as tx:
            tiers.change(tx, tiers.lock(tx, town.tier), "web", "SLB-1", 0)
    else:
        with town.book.transaction(town.city.authority) as tx:
            scopes.decide(tx, False, [], [], "暂停处置")
    town.authorise()
    assert town.loaded(HOT) == ""
    assert [one.state for one in town.outs()] == ["proposed"]


def test_a_busy_one_beside_idle_ones_of_its_tier_is_no_shortage(town: Tiered):
    """Whatever else its system does: here another machine of it, no member, is as busy."""
    town.authorise()
    busy, idle = town.pair
    other = town.machine()
    town.judge({busy: Verdict.NORMAL, idle: Verdict.IDLE, other: Verdict.NORMAL})
    done = town.hour({busy: [CALM / 2] * 9 + [HOT] * 3, idle: 1.0, other: HOT})
    assert not done.tiers
    assert done.skipped["tier_slack"] == 1
    assert [town.has(one) for one in (busy, idle)] == [FOUR, FOUR]
    assert len(done.done["begun"]) == 1
    assert town.case(other) is not None


def test_idle_machines_of_other_tiers_are_no_help(town: Tiered):
    """Four idle databases in the same system: by the system there is slack, by the tier there is none."""
    town.authorise()
    for _ in range(4):
        town.judge({town.machine(): Verdict.IDLE})
    town.judge({**dict.fromkeys(town.pair, Verdict.OVERLOADED)})
    assert town.loaded(HOT) == "scale_out_ordered"


def test_a_nights_judgement_sees_the_tier_as_well(town: Tiered):
    busy, idle = town.pair
    run = town.city.judge(
        {busy: Verdict.OVERLOADED, idle: Verdict.IDLE},
        policy=town.city.policy,
        target=EIGHT,
        means={busy: 60.0, idle: 2.0},
    )
    with town.city.by() as tx:
        opened = openings.open_from(tx, findings.assessment(tx, run))
        assert [busy, "tier_slack"] in opened.skipped


def test_calm_it_goes_back_and_busy_again_it_stays(city: City, tmp_path: Path):
    town = Tiered(city, Lake(tmp_path / "lake"))
    town.authorise()
    town.one_more()
    for _ in range(HOLD):
        assert town.loaded(WARM) == ""
    assert [town.loaded(CALM) for _ in range(HOLD)] == ["", "scale_out_calm"]
    assert town.loaded(HOT) == ""
    assert town.outs()[0].state == "serving", "needed again before it was taken out"
    for _ in range(HOLD + 1):
        town.loaded(CALM)
    with pytest.raises(NotAllowed), town.book.transaction(town.city.supervisor) as tx:
        scale_outs.left(tx, 1, town.outs()[0].generation)
    town.do(scale_outs.left)
    assert len(town.members()) == 2
    town.returned()
    assert town.outs()[0].ending == "returned"
    with town.book.reading() as tx:
        assert list(entries.check(tx)) == []


def test_silence_takes_nothing_back(town: Tiered):
    town.authorise()
    town.one_more()
    for _ in range(HOLD + 1):
        assert town.loaded(NONE) == ""
    town.clock.advance(hours=30)  # nobody looked
    town.judge(dict.fromkeys(town.pair, Verdict.NORMAL))
    assert town.loaded(CALM) == ""
    assert town.outs()[0].state == "serving"


def test_what_was_lent_as_long_as_may_be_is_kept_for_good_by_the_supervisor_alone(town: Tiered):
    town.authorise()
    town.one_more()
    town.clock.advance(days=PROCEDURE.temporary_days, hours=1)
    town.judge(dict.fromkeys(town.pair, Verdict.NORMAL))
    assert town.loaded(HOT) in ("", "scale_out_ordered")
    assert town.outs()[0].state == "leaving"
    assert "最长期限" in town.outs()[0].reason
    with town.book.transaction(town.city.supervisor) as tx:
        scale_outs.keep(tx, 1, town.outs()[0].generation, "业务量长期增加")
    assert town.outs()[0].ending == "kept"
    assert len(town.members()) == 3


def test_what_is_kept_is_one_of_the_tier_also_where_it_was_never_behind_the_balancer(town: Tiered):
    town.authorise()
    assert town.loaded(HOT) == "scale_out_ordered"
    town.carry()
    town.look()
    assert [town.loaded(CALM) for _ in range(HOLD)][-1] == "scale_out_calm"
    town.do(scale_outs.keep, "业务量长期增加", supervisor=True)
    assert sorted(town.members()) == sorted([*town.pair, town.outs()[0].resource_id])


def test_what_may_not_be_given_back_is_one_of_the_tier_again(town: Tiered):
    town.authorise()
    town.one_more()
    assert "scale_out_calm" in [town.loaded(CALM) for _ in range(HOLD + 1)]
    town.do(scale_outs.left)
    assert sorted(town.members()) == sorted(town.pair)
    with town.book.transaction(town.city.supervisor) as tx:
        asked = tx.get_one(Request, town.outs()[0].request_id)
        approvals.sign(tx, asked, decision=Decision.REJECT, generation=asked.generation, reason="年底前还要用")
    town.look()
    (one,) = town.outs()
    assert (one.state, one.ending) == ("closed", "kept")
    assert sorted(town.members()) == sorted([*town.pair, one.resource_id])


def test_a_night_does_not_take_a_machine_of_another_system_for_one_of_the_tier(town: Tiered):
    busy, idle = town.pair
    with town.city.by() as tx:
        tx.get_one(Resource, idle).system_id = None
    run = town.city.judge(
        {busy: Verdict.OVERLOADED, idle: Verdict.IDLE}, policy=town.city.policy, means={busy: 60.0, idle: 2.0}
    )
    with town.book.reading() as tx:
        seen = whole_systems.whole_tiers(tx, findings.assessment(tx, run), [busy, idle])
    assert {resource: whole.machines for resource, whole in seen.items()} == {busy: 1}


def test_what_is_gone_or_came_to_another_system_is_none_of_the_tier(town: Tiered):
    (gone, moved), stays = town.pair, town.machine()
    with town.city.by() as tx:
        tx.get_one(Resource, gone).gone_at = tx.now
        tx.get_one(Resource, moved).system_id = None
    with town.book.transaction(town.city.tenant) as tx:
        tiers.join(tx, tiers.lock(tx, town.tier), tx.get_one(Resource, stays))
    with town.book.reading() as tx:
        one = tx.scalars(select(Tier).options(selectinload(Tier.standing))).one()
        assert [member.resource_id for member in one.standing] == town.members() == [stays]


def test_revoked_before_the_order_left(town: Tiered):
    number = town.authorise()
    assert town.loaded(HOT) == "scale_out_ordered"
    town.revoke(number)
    town.carry()
    with town.book.reading() as tx:
        order = tx.scalars(select(orders.WorkOrder)).one()
        assert "已撤销常备授权" in (door.objection(tx, order.id) or ""), "nor by hand"
    assert not town.cloud.acted
    town.look()
    assert (town.outs()[0].state, town.outs()[0].ending) == ("closed", "failed")
    with town.book.reading() as tx:
        assert scale_outs.on_loan(tx, town.system) == {}


def test_declaring_asks_for_machines_that_are_alike(town: Tiered):
    odd, alike = town.machine(EIGHT), town.machine()
    system = town.system
    for machines, most, code in (
        ([], 1, "tier.machines"),
        ([town.pair[0]], 1, "tier.machines"),
        ([odd, alike], 1, "tier.unlike"),
        ([alike, 99_999], 1, "tier.machines"),
        ([alike], 21, "tier.most"),
    ):
        with pytest.raises(Invalid) as refused, town.book.transaction(town.city.tenant) as tx:
            tiers.declare(tx, tx.get_one(System, system), "x", "SLB", most, machines)
        assert refused.value.code == code
    with pytest.raises(NotAllowed), town.book.transaction(town.city.supervisor) as tx:
        tiers.declare(tx, tx.get_one(System, system), "x", "SLB", 1, [alike])


def test_a_tier_is_closed_when_nothing_is_lent_to_it(town: Tiered):
    town.authorise()
    town.one_more()
    with pytest.raises(WrongState), town.book.transaction(town.city.tenant) as tx:
        scale_outs.close_tier(tx, town.tier, 1, "系统改造")
    town.do(scale_outs.keep, "业务量长期增加", supervisor=True)
    with pytest.raises(Conflict), town.book.transaction(town.city.tenant) as tx:
        scale_outs.close_tier(tx, town.tier, 7, "系统改造")
    with town.book.transaction(town.city.tenant) as tx:
        scale_outs.close_tier(tx, town.tier, 1, "系统改造")
        assert sorted(one.id for one in tiers.offered(tx, town.system)) == sorted(
            [*town.pair, town.outs()[0].resource_id]
        )


# ------------------------------------------------------------------------------------------------------------ property


class Bound:
    """Every creation that reaches the cloud, held against the bounds of that moment."""

    def __init__(self, town: Tiered, most: int, spare: int) -> None:
        self.town, self.most, self.spare = town, most, spare
        self.ceilings: list[tuple[int, int]] = []
        self.made = 0
        self.pool = FullPool(town, 2 * FOUR[VCPU] + spare, spare)
        town.cloud.seen = self

    def __call__(self, order: Order) -> None:
        if order.verb not in (Verb.CREATE, Verb.RESIZE) or order.key in self.town.cloud.acted:
            return
        assert self.there(order) <= self.pool.vcpu, "no more than the pool has"
        if order.verb is Verb.RESIZE:
            return
        self.made += 1
        with self.town.book.reading() as tx:
            open_now = list(tx.scalars(select(ScaleOut).where(ScaleOut.state != ScaleOutState.CLOSED.value)))
            lent = scale_outs.on_loan(tx, self.town.system).get(VCPU, 0)
        assert len(open_now) <= self.most, "no more than was declared"
        assert order.amounts[VCPU] * len(open_now) <= self.spare, "no more than the quota"
        asked = all(one.authorisation_id is None for one in open_now)
        assert asked or lent <= max((vcpu for _id, vcpu in self.ceilings), default=0), "no more than what holds allows"

    def there(self, order: Order) -> int:
        """vCPU of all machines at the cloud once ``order`` is done."""
        has: dict[str, int] = {}
        for one in (*self.town.cloud.acted.values(), order):
            if one.verb is Verb.DELETE:
                has.pop(one.external_id)
            elif one.verb in (Verb.CREATE, Verb.RESIZE):
                has[one.external_id or one.key] = one.amounts[VCPU]
        with self.town.book.reading() as tx:
            first = [tx.get_one(Resource, one).external_id for one in self.town.pair]
        return sum(has.values()) + sum(FOUR[VCPU] for one in first if one not in has)

    def authorise(self, vcpu: int) -> None:
        with suppress(Refused):
            self.ceilings = [(self.town.authorise(vcpu, 4 * vcpu, any_time=True), vcpu)]

    def revoke(self) -> None:
        for number, _vcpu in self.ceilings:
            with suppress(Refused):
                self.town.revoke(number)
        self.ceilings = []

    def anything(self, draw: Random) -> None:
        town = self.town
        match draw.choice(
            ("hour",) * 6 + ("carry",) * 3 + ("person",) * 5 + ("authorise", "revoke", "return", "leap", "pool")
        ):
            case "hour":
                done = town.hour(dict.fromkeys(town.members(), draw.choice([HOT, HOT, HOT, WARM, CALM, CALM, NONE])))
                assert not [one for one in done.tier_faults.values() if not isinstance(one, Refused)], done.tier_faults
            case "carry":
                town.cloud.ails = draw.choice(["", "", "dies", "dies before", "reply lost", "refuses", "unreachable"])
                with suppress(Died):
                    town.carry()
                town.cloud.ails = ""
            case "person" if town.outs():
                verb = draw.choice(
                    [scale_outs.agree, scale_outs.joined, scale_outs.joined, scale_outs.left, scale_outs.decline]
                )
                with suppress(Refused):
                    town.do(verb, *(["不需要"] if verb is scale_outs.decline else []))
            case "authorise":
                self.authorise(draw.choice([2, 4, 8, 16]))
            case "revoke":
                self.revoke()
            case "pool" if self.pool.spare == self.spare:
                self.pool.shrink(draw.choice([4, 8]))
            case "pool":
                self.pool.widen(self.spare - self.pool.spare)
            case "return":
                town.returned()
            case "leap":
                town.clock.advance(hours=draw.choice([2, 9, 30]))
                town.judge(dict.fromkeys(town.members(), Verdict.NORMAL))
        self.holds_together()

    def holds_together(self) -> None:
        with self.town.book.reading() as tx:
            assert entries.conserved(tx)
            assert list(entries.check(tx)) == []
        assert self.town.city.balance(Holder.GRANTED) >= 0

    def comes_to_rest(self) -> None:
        """Calm, every cloud well, everybody doing what is asked: nothing that was added stays."""
        town = self.town
        for _ in range(60):
            if all(one.state == ScaleOutState.CLOSED for one in town.outs()):
                break
            town.hour(dict.fromkeys(town.members(), CALM))
            with town.book.transaction(town.city.supervisor) as tx:
                for order in tx.query(orders.WorkOrder).filter_by(state="failed").all():
                    orders.retry(tx, order.id, order.generation)
            town.carry()
            for verb in (scale_outs.joined, scale_outs.left):
                for one in town.outs():
                    if one.state == (ScaleOutState.DELIVERED if verb is scale_outs.joined else ScaleOutState.LEAVING):
                        with town.book.transaction(town.city.tenant) as tx:
                            verb(tx, one.id, one.generation)
            town.returned()
        kept = [one for one in town.outs() if one.state != ScaleOutState.CLOSED]
        assert not kept, [(one.state, one.reason) for one in kept]
        self.holds_together()


@pytest.fixture
def walks(tmp_path: Path) -> Callable[[int], Bound]:
    def make(seed: int) -> Bound:
        folder = tmp_path / str(seed)
        folder.mkdir()
        clock = Clock(BEGIN)
        city = City(Book(books.sqlite(folder / "book.db"), clock=clock), clock)
        spare: Amount = Amount({VCPU: 12, MEMORY: 40 * GB})
        return Bound(Tiered(city, Lake(folder / "lake"), most=2, quota=spare), 2, spare[VCPU])

    return make


def test_what_the_pool_has_no_more_bounds_the_machines_of_a_tier(walks: Callable[[int], Bound]):
    one = walks(0)
    one.authorise(16)
    assert one.pool.shrink(9)  # three are left
    for _ in range(3):
        one.town.hour(dict.fromkeys(one.town.members(), HOT))
        one.town.carry()
    assert (one.made, [out.authorisation_id for out in one.town.outs()]) == (0, [None]), "it is asked"
    one.pool.widen(9)
    assert one.pool.shrink(8)
    one.town.do(scale_outs.agree)
    one.town.carry()
    assert one.made == 1
    assert not one.pool.shrink(1), "it is used"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_happens_adds_a_machine_beyond_a_bound_or_for_ever(walks: Callable[[int], Bound], seed: int):
    one, draw = walks(seed), Random(seed)
    one.authorise(8)
    one.town.one_more()
    assert one.made == 1
    for _ in range(30):
        one.anything(draw)
    one.comes_to_rest()
