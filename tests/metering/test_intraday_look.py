"""Growth within the day, carried out: what begins it, what it needs, how long it holds, and that it is what is replayed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from metering.cases import enforcement, exemptions, safeguards, surges, windows
from metering.cases.exemptions import Category
from metering.cases.files import Case
from metering.cases.steps import CaseState
from metering.intraday import growths, look
from metering.judging import policies
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.lake.store import Lake
from metering.rollout import CeilingScope, ceilings, scopes
from metering.sizing import Fast
from providers import orders
from quota.actors import steward
from quota.directory.departments import System
from quota.inventory import Resource
from quota.ledger.tables import Holder
from quota.units import MEMORY, VCPU, Amount
from tests.city import City
from tests.metering.surging import EIGHT, FOUR, Surging
from tests.metering.test_expansion import days_of

TWO = Amount({VCPU: 2, MEMORY: 4 * 1024})
HOT, CALM, NONE = 99.0, 20.0, float("nan")
HOLD = Fast().hold_hours
"""Hours for which a growth is held after an hour that is calm."""


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def town(city: City, lake: Lake) -> Surging:
    return Surging(city, lake)


class Still:
    """A network that always carries the same."""

    def random(self, n: int) -> np.ndarray:
        return np.full(n, 0.5)


def grown(town: Surging, machine: int) -> int:
    """A machine that a look enlarged and the cloud did. Returns the case's id."""
    done = town.hour({machine: HOT})
    assert list(done.done) == ["begun"], done
    town.carry()
    return done.done["begun"][0]


class TestItBegins:
    def test_an_authorised_machine_grows_without_anyone(self, town: Surging):
        machine, before = town.machine(), town.city.balance(Holder.GRANTED)
        town.authorise()
        case_id = grown(town, machine)
        one = town.city.see(case_id)
        assert (one.state, one.consent, one.kind) == ("watched", "standing", "expand")
        assert town.has(machine) == EIGHT
        assert one.wake_at == town.clock.now.replace(minute=0) + timedelta(hours=HOLD), (
            "of the hour's end, not of today's"
        )
        assert town.city.balance(Holder.GRANTED) == before - 4
        assert one.notice is not None, "the department has a letter about it"
        (order,) = town.cloud.acted.values()
        assert order.amounts == EIGHT

    def test_one_sample_is_enough_and_silence_is_nothing(self, town: Surging):
        machine, other, silent = town.machine(), town.machine(), town.machine()
        assert town.hour({machine: [CALM] * 12, silent: [NONE] * 12}).over == 0
        assert town.hour({machine: [*[CALM] * 5, HOT, *[CALM] * 6]}).over == 1
        assert town.hour({other: [*[NONE] * 8, HOT, *[NONE] * 3]}).over == 1, "what is known is ground enough"

    def test_demand_is_cut_off_from_98_per_cent(self, town: Surging):
        machine = town.machine()
        town.authorise()
        assert town.hour({machine: 97.99}).over == 0
        assert town.hour({machine: 98.0}).over == 1

    def test_a_machine_that_repeats_itself_is_not_alive(self, town: Surging):
        machine = town.machine()
        town.authorise()
        town.random = Still()
        assert town.hour({machine: HOT}).over == 0

    @pytest.mark.parametrize("sizing", ["steward-balanced", "steward-tide", "steward-L20+tide", "p95@70"])
    def test_another_sizing_does_not_grow(self, city: City, lake: Lake, sizing: str):
        town = Surging(city, lake, sizing=sizing)
        machine = town.machine()
        town.authorise()
        assert town.hour({machine: HOT}).over == 0

    def test_swift_looks_every_quarter(self, city: City, lake: Lake):
        town = Surging(city, lake, sizing="steward-balanced+swift")
        machine = town.machine()
        town.authorise()
        town.clock.now = town.clock.now.replace(minute=30, second=0, microsecond=0)
        town.feed({machine: [*[CALM] * 10, HOT, HOT]})
        town.clock.now += timedelta(minutes=6)
        done = look.look(town.works)
        assert list(done.done) == ["begun"]
        assert look.look(town.works).skipped == {"done": 1}


class TestItDoesNotBegin:
    def why(self, town: Surging, machine: int) -> tuple[str, str]:
        """(outcome, why) of the only row of a machine that was asked about."""
        one = town.case(machine)
        assert one is not None
        assert one.state == CaseState.NOTICED
        assert one.target == {"vcpu": 8, "memory": 16 * 1024}
        with town.book.reading() as tx:
            (row,) = surges.of_case(tx, one.id)
            return row.outcome, row.why

    def test_without_authorisation_the_department_is_asked(self, town: Surging):
        machine = town.machine()
        done = town.hour({machine: HOT})
        assert list(done.done) == ["proposed"]
        assert self.why(town, machine) == ("proposed", "unauthorised")
        assert town.has(machine) == FOUR
        assert not town.cloud.acted
        assert town.hour({machine: HOT}).skipped == {"open_case": 1}

    def test_a_proposal_is_carried_out_once_it_is_authorised(self, town: Surging):
        machine = town.machine()
        town.hour({machine: HOT})
        town.authorise()
        assert list(town.hour({machine: HOT}).done) == ["begun"]
        town.carry()
        assert town.has(machine) == EIGHT

    def test_beyond_the_ceiling(self, town: Surging):
        first, second = town.machine(), town.machine()
        town.authorise(vcpu=4)
        done = town.hour({first: HOT, second: HOT})
        assert {code: len(ids) for code, ids in done.done.items()} == {"begun": 1, "proposed": 1}
        assert self.why(town, second) == ("proposed", "ceiling")

    def test_without_quota(self, city: City, lake: Lake):
        town = Surging(city, lake, quota={VCPU: 3, MEMORY: 50 * 1024})
        machine = town.machine()
        town.authorise()
        town.hour({machine: HOT})
        assert self.why(town, machine) == ("proposed", "quota")

    def test_in_a_pool_that_cannot_change_running_machines(self, town: Surging):
        machine = town.machine()
        town.authorise()
        town.cloud.live_resize = False
        town.hour({machine: HOT})
        assert self.why(town, machine) == ("proposed", "live_resize")

    def test_outside_of_a_window_unless_it_is_authorised_at_any_time(self, town: Surging):
        machine, other = town.machine(), town.machine()
        town.authorise()
        with town.book.transaction(town.city.supervisor) as tx:
            windows.set_window(tx, str((tx.now + timedelta(days=3)).isoweekday()), 60, 120)
        town.hour({machine: HOT})
        assert self.why(town, machine) == ("proposed", "window")
        town.authorise(any_time=True)
        assert list(town.hour({other: HOT}).done) == ["begun"]

    def test_in_a_freeze(self, town: Surging):
        machine = town.machine()
        town.authorise(any_time=True)
        with town.book.transaction(town.city.supervisor) as tx:
            today = tx.now.date()
            windows.freeze(tx, today, today + timedelta(days=3), "重保期间封网")
        town.hour({machine: HOT})
        assert self.why(town, machine) == ("proposed", "window")

    def test_where_it_is_exempt_protected_unbooked_or_under_way(self, town: Surging):
        town.authorise()
        exempt, protected, loose, shrinking = (town.machine() for _ in range(4))
        unjudged = town.city.machine(FOUR, system_id=town.system)
        with town.book.transaction(town.city.supervisor) as tx:
            until = tx.now.date() + timedelta(days=20)
            row = tx.get_one(Resource, exempt)
            exemptions.grant(tx, row, Category.PRESERVATION, "法院要求保全现状不得变更", until, Procedure())
            tx.get_one(Resource, protected).protected = True
            tx.get_one(Resource, loose).booked = {}
        town.city.open({shrinking: Verdict.UNDERUSED}, policy=town.city.policy, target={VCPU: 2, MEMORY: 4096})
        done = town.hour(dict.fromkeys((exempt, protected, loose, shrinking, unjudged), HOT))
        assert done.done == {}
        assert done.skipped == dict.fromkeys(("exempt", "protected", "unapproved", "open_case", "unjudged"), 1)

    def test_beside_idle_fellows_of_its_system(self, town: Surging):
        idle = [town.city.machine(FOUR, system_id=town.system) for _ in range(9)]
        machine = town.city.machine(FOUR, system_id=town.system)
        town.judge({**dict.fromkeys(idle, Verdict.IDLE), machine: Verdict.NORMAL})
        town.authorise()
        done = town.hour({machine: HOT, **dict.fromkeys(idle, 1.0)})
        assert done.skipped == {"system_slack": 1}
        done = town.hour({machine: HOT, **dict.fromkeys(idle, HOT)})
        assert len(done.done["begun"]) == 4, "all are busy: a shortage, up to the ceiling of 16 vCPU"

    def test_what_has_no_larger_shape_within_the_limit(self, town: Surging):
        machine = town.machine({VCPU: 16, MEMORY: 32 * 1024})
        town.authorise()
        assert town.hour({machine: HOT}).skipped == {"no_target": 1}

    def test_a_department_is_asked_once_within_the_back_off(self, town: Surging):
        machine = town.machine()
        town.hour({machine: HOT})
        town.judge({machine: Verdict.NORMAL})
        town.city.advance()
        assert town.case(machine).state == CaseState.CLOSED
        assert town.hour({machine: HOT}).skipped == {"told": 1}

    def test_a_system_of_another_department_is_not_bound(self, town: Surging):
        machine = town.machine()
        town.authorise()
        with town.book.transaction(steward()) as tx:
            tx.get_one(System, town.system).department_id = town.city.other
        town.hour({machine: HOT})
        assert self.why(town, machine) == ("proposed", "unauthorised")


class TestItEnds:
    def test_it_returns_by_itself_when_a_look_finds_it_calm(self, town: Surging):
        machine, before = town.machine(), town.city.balance(Holder.GRANTED)
        town.authorise()
        case_id = grown(town, machine)
        for _ in range(HOLD - 1):
            assert town.hour({machine: CALM}).skipped == {"held": 1}
        assert list(town.hour({machine: CALM}).done) == ["calm"]
        town.carry()
        assert town.has(machine) == FOUR
        assert town.city.see(case_id).ending == "term_over"
        assert town.city.balance(Holder.GRANTED) == before

    def test_while_it_is_saturated_it_is_prolonged(self, town: Surging):
        machine = town.machine()
        town.authorise()
        case_id = grown(town, machine)
        assert town.hour({machine: 49.5}).done == {"prolonged": [case_id]}, "49.5 % of 8 are 99 % of 4"
        assert town.city.see(case_id).wake_at == town.clock.now.replace(minute=0) + timedelta(hours=HOLD)
        assert town.hour({machine: 48.5}).skipped == {"held": 1}

    def test_what_is_unknown_stays_and_says_so(self, town: Surging):
        machine = town.machine()
        town.authorise()
        case_id = grown(town, machine)
        for _ in range(HOLD - 1):
            town.hour({machine: CALM})
        assert town.hour({}).done == {"blind": [case_id]}
        town.city.advance()
        one = town.city.see(case_id)
        assert (one.state, "数据不足" in one.reason) == ("watched", True)
        assert town.hour({}).skipped == {"blind": 1}
        assert list(town.hour({machine: CALM}).done) == ["calm"]

    def test_silence_for_a_day_asks_somebody(self, town: Surging):
        machine = town.machine()
        town.authorise()
        case_id = grown(town, machine)
        town.clock.now += timedelta(hours=50)
        town.city.advance()
        assert town.city.see(case_id).state == "strained"
        assert "没有评估数据" in town.city.see(case_id).reason

        # Nobody decides; what is known later does: busy keeps it, calm gives it back.
        for verdict in (Verdict.UNKNOWN, Verdict.BUSY):
            town.clock.now += timedelta(days=1)
            town.judge({machine: verdict})
            town.city.advance()
            assert (town.city.see(case_id).state, town.has(machine)) == ("strained", EIGHT)
        town.judge({machine: Verdict.NORMAL}, p95=60.0)  # of eight, which are 120 % of four
        town.city.advance()
        assert (town.city.see(case_id).state, town.has(machine)) == ("strained", EIGHT)
        town.clock.now += timedelta(days=20)
        town.judge({machine: Verdict.NORMAL}, p95=30.0)
        town.city.advance()
        town.carry()
        one = town.city.see(case_id)
        assert (one.state, one.ending, town.has(machine)) == ("closed", "term_over", FOUR)

    def test_a_revoked_authorisation_stops_an_order_that_has_not_left(self, town: Surging):
        machine = town.machine()
        granted = town.authorise()
        done = town.hour({machine: HOT})
        town.revoke(granted)
        town.carry()
        assert not town.cloud.acted
        one = town.city.see(done.done["begun"][0])
        assert (one.state, one.ending) == ("closed", "declined")
        assert town.hour({machine: HOT}).skipped == {"quiet": 1}

    def test_a_revoked_authorisation_prolongs_nothing(self, town: Surging):
        machine = town.machine()
        granted = town.authorise()
        case_id = grown(town, machine)
        town.revoke(granted)
        for _ in range(HOLD - 1):
            assert town.hour({machine: 49.5}).skipped == {"revoked": 1}
        assert town.hour({machine: 49.5}).done == {"asked": [case_id]}
        assert town.city.see(case_id).state == "strained"

    def test_it_is_not_prolonged_beyond_the_longest_term(self, town: Surging):
        machine = town.machine()
        town.authorise(days=300)
        case_id = grown(town, machine)
        with town.book.transaction(steward()) as tx:
            tx.get_one(Case, case_id).effective_at = tx.now - timedelta(days=29, hours=23)
        assert town.hour({machine: 49.5}).skipped == {"term": 1}

    def test_an_exemption_keeps_what_it_has(self, town: Surging):
        machine = town.machine()
        town.authorise()
        case_id = grown(town, machine)
        with town.book.transaction(town.city.supervisor) as tx:
            until = tx.now.date() + timedelta(days=20)
            row = tx.get_one(Resource, machine)
            exemptions.grant(tx, row, Category.KEY_PERIOD, "重保期间保持现状不得变更", until, Procedure())
        for _ in range(HOLD - 1):
            town.hour({machine: CALM})
        assert town.hour({machine: CALM}).skipped == {"kept": 1}
        assert "豁免" in town.city.see(case_id).reason

    def test_a_calm_look_is_no_ground_for_ever(self, town: Surging):
        machine = town.machine()
        town.authorise()
        case_id = grown(town, machine)
        for _ in range(HOLD):
            town.hour({machine: CALM})
        town.clock.now += timedelta(hours=5)
        with town.book.transaction(steward()) as tx:
            one = tx.get_one(Case, case_id)
            assert safeguards.doubtful(tx, one) is not None


class TestItGrowsOnceMore:
    """Where the procedure lets it: each time by the conditions of the first."""

    @pytest.fixture
    def town(self, city: City, lake: Lake) -> Surging:
        town = Surging(city, lake)
        with city.by() as tx:
            policy = replace(policies.version(tx, city.policy).policy(), effective_from=tx.now.date())
            city.policy = policies.enact(tx, policy, Procedure(temporary_growth=3.0), reason="试行再次扩容").id
        return town

    def small(self, town: Surging) -> tuple[int, int]:
        """A machine of two vCPU that was enlarged to four; its case."""
        machine = town.machine(TWO)
        return machine, grown(town, machine)

    def test_who_is_at_the_line_of_what_was_lent_gets_more_and_gives_all_back(self, town: Surging):
        town.authorise()
        before = town.city.balance(Holder.GRANTED)
        machine, case_id = self.small(town)
        granted = town.city.balance(Holder.GRANTED)
        assert town.has(machine) == FOUR
        assert town.hour({machine: HOT}).done == {"raised": [case_id]}
        town.carry()
        one = town.city.see(case_id)
        assert town.has(machine) == EIGHT
        assert (one.state, one.wake_at) == ("watched", town.clock.now.replace(minute=0) + timedelta(hours=HOLD))
        assert town.city.balance(Holder.GRANTED) == granted - 4
        assert town.hour({machine: HOT}).done == {"prolonged": [case_id]}, "three times as much again is the most"
        for _ in range(HOLD - 1):
            town.hour({machine: CALM})
        assert town.hour({machine: CALM}).done == {"calm": [case_id]}
        town.carry()
        assert town.has(machine) == TWO
        assert town.city.balance(Holder.GRANTED) == before - 2 + 2
        assert town.city.see(case_id).ending == "term_over"

    def test_not_beyond_the_authorised_ceiling(self, town: Surging):
        town.authorise(vcpu=4)
        machine, case_id = self.small(town)
        assert town.hour({machine: HOT}).done == {"prolonged": [case_id]}
        assert town.has(machine) == FOUR

    def test_not_once_it_is_revoked(self, town: Surging):
        granted = town.authorise()
        machine, _case = self.small(town)
        town.revoke(granted)
        assert town.hour({machine: HOT}).skipped == {"revoked": 1}

    def test_what_the_cloud_refuses_keeps_what_it_was_lent(self, town: Surging):
        town.authorise()
        machine, case_id = self.small(town)
        town.hour({machine: HOT})
        with town.book.transaction(town.city.supervisor) as tx:
            order = enforcement.current_order(tx, tx.get_one(Case, case_id))
            orders.cancel(tx, order.id, order.generation, "云平台资源不足")
        town.city.advance()
        one = town.city.see(case_id)
        assert (one.state, one.will_have(), one.effective_at is not None) == ("watched", FOUR, True)
        for _ in range(HOLD):
            town.hour({machine: CALM})
        town.carry()
        assert town.has(machine) == TWO


class TestAgain:
    def test_a_look_that_died_is_taken_again(self, town: Surging, monkeypatch):
        """Killed between two machines: the second look finds the first one's row and does the other."""
        first, second = town.machine(), town.machine()
        town.authorise()
        real = growths.settle

        class Killed(BaseException):
            pass

        def dies(tx, seen, ground):
            done = real(tx, seen, ground)
            if seen.resource_id == second:
                raise Killed  # before its transaction was committed
            return done

        monkeypatch.setattr(growths, "settle", dies)
        with pytest.raises(Killed):
            town.hour({first: HOT, second: HOT})
        monkeypatch.undo()
        done = town.look()
        assert done.skipped == {"done": 1}
        assert [town.city.see(one).resource_id for one in done.done["begun"]] == [second]
        assert town.look().done == {}
        town.carry()
        assert [town.has(one) for one in (first, second)] == [EIGHT, EIGHT]
        assert len(town.cloud.acted) == 2


@pytest.mark.parametrize("book_url", ["sqlite"], indirect=True)
class TestItIsWhatIsReplayed:
    @pytest.mark.parametrize("sizing", ["steward-balanced+fast", "steward-balanced+swift"])
    def test_look_by_look_as_a_backtest(self, city: City, lake: Lake, sizing: str):
        """The job over a trace, look by look, against the replay's function on the same samples."""
        town = Surging(city, lake, sizing=sizing)
        machine = town.machine()
        town.authorise(days=300)
        fast = look.fast_of(sizing)
        random = np.random.default_rng(11)
        slots = 288
        # Bursts of different lengths, loads near all of four cores, and silence when a time is over.
        demand = np.minimum(random.gamma(2.0, 0.6, slots), 3.7)
        for at, length, level in ((16, 5, 6.0), (80, 1, 3.8), (100, 1, 3.95), (200, 3, 9.0)):
            demand[at : at + length] = level + random.random(length) * 0.04
        demand[138:165] = np.nan
        under = np.full((1, slots), 4.0)
        force = days_of(demand[None], under, np.full(1, 4.0), fast, np.array([2.0, 4.0, 8.0, 16.0]), np.full(1, 8.0))[0]
        rises = np.flatnonzero((force[0, 1:] > 4) & (force[0, :-1] == 4)) + 1
        assert len(rises) == 3
        assert (force[0, 153:165] == 8).all(), "unknown at its end: it stays"
        start = town.clock.now.replace(hour=16, minute=0, second=0, microsecond=0)  # local midnight
        step = fast.check_slots
        sizes, begun = np.full(slots, 4.0), []
        for now in range(step, slots, step):
            vcpu = town.has(machine)[VCPU]
            town.clock.now = start + timedelta(minutes=5 * now)
            town.feed({machine: list(np.minimum(demand[now - step : now], vcpu) / vcpu * 100)})
            town.clock.now += timedelta(minutes=6)
            done = look.look(town.works)
            assert not done.faults
            if "begun" in done.done:
                begun.append(now)
            if done.done:
                town.carry()
            sizes[now : now + step] = town.has(machine)[VCPU]
        assert begun == rises.tolist()
        np.testing.assert_array_equal(sizes, force[0])


class TestItBeginsSoftly:
    """A house that has just taken over enlarges nothing and asks nobody until it is opened, and no more than the week admits."""

    def decide(self, town: Surging, opens: bool) -> None:
        with town.book.transaction(town.city.authority) as tx:
            scopes.decide(tx, opens, (), (), "先看结论")

    def test_in_the_shadow_nothing_grows_and_nobody_is_asked(self, town: Surging):
        authorised, other = town.machine(), town.machine(system_id=None)
        town.authorise()
        self.decide(town, False)
        assert town.hour({authorised: HOT, other: HOT}).skipped == {"shadow": 2}
        assert town.case(authorised) is town.case(other) is None
        assert not town.cloud.acted
        self.decide(town, True)
        assert sorted(town.hour({authorised: HOT, other: HOT}).done) == ["begun", "proposed"]

    def test_what_grew_before_is_prolonged_and_given_back_in_the_shadow(self, town: Surging):
        machine = town.machine()
        town.authorise()
        case_id = grown(town, machine)
        self.decide(town, False)
        assert list(town.hour({machine: HOT}).done) == ["prolonged"]
        town.clock.now += timedelta(hours=HOLD)
        assert town.hour({machine: CALM}).done == {"calm": [case_id]}

    def test_who_is_asked_counts_for_the_week_and_who_authorised_it_does_not(self, town: Surging):
        with town.book.transaction(town.city.authority) as tx:
            ceilings.set_ceiling(tx, CeilingScope.CITY, 1, "循序渐进")
        authorised, first, second = town.machine(), town.machine(system_id=None), town.machine(system_id=None)
        town.authorise()
        done = town.hour({authorised: HOT, first: HOT, second: HOT})
        assert {code: len(ids) for code, ids in done.done.items()} == {"begun": 1, "proposed": 1}
        assert done.skipped == {"letters": 1}
        town.clock.now += timedelta(days=7)
        assert len(town.hour({second: HOT}).done["proposed"]) == 1
