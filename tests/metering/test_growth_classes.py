"""Growth within the day of memory, disks, lines and connections: at its limits, and that nothing beyond the size has a say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from metering.cases import Case, authorisations, surges
from metering.cases.steps import CaseState
from metering.judging import GAUGES, GrowthTerms, growth_terms, policies
from metering.judging.policy import Policy, Section, Verdict, default
from metering.judging.procedure import Procedure
from metering.lake.store import Lake
from providers.base import ServiceKind
from quota.directory import catalog
from quota.directory.pools import Pool
from quota.ledger import entries
from quota.ledger.tables import Holder
from quota.units import ACCELERATOR, BANDWIDTH, BLOCK, MEMORY, VCPU, Amount, Arch
from tests.city import GB, City
from tests.metering.surging import EIGHT, FOUR, Surging

DISK = Amount({BLOCK: 100})
LINE = Amount({BANDWIDTH: 100})
DATABASE = Amount({VCPU: 4, MEMORY: 8 * GB})


@pytest.fixture
def town(city: City, tmp_path) -> Surging:
    with city.by() as tx:
        supply = Amount({BLOCK: 10_000, BANDWIDTH: 10_000}).of_arch(Arch(tx.get_one(Pool, city.pool).arch))
        entries.provision(tx, city.pool, supply, key="supply:others")
    found = Surging(
        city,
        Lake(tmp_path / "lake"),
        quota=Amount({VCPU: 100, MEMORY: 200 * GB, BLOCK: 1000, BANDWIDTH: 1000}),
    )
    with city.by() as tx:
        arch = Arch(tx.get_one(Pool, city.pool).arch)
        for size in (150, 200, 400):
            catalog.offer(tx, f"v-{size}", f"{size}G", "volume", {BLOCK: size}, [arch])
        for speed in (120, 200, 500):
            catalog.offer(tx, f"l-{speed}", f"{speed}M", "bandwidth", {BANDWIDTH: speed}, [arch])
        for vcpu, memory in ((4, 8), (4, 16), (8, 16)):
            catalog.offer(tx, f"d-{vcpu}-{memory}", "库", "database", {VCPU: vcpu, MEMORY: memory * GB}, [arch])
    return found


def of(town: Surging, shape: Amount, kind: ServiceKind) -> int:
    return town.machine(shape, kind=kind)


def hour(town: Surging, resource: int, **metrics: float | list[float]) -> dict[str, list[int]]:
    """Let an hour of these figures pass, and look. Returns what was done."""
    town.past()
    spelled = {name: [float(x)] * 12 if isinstance(x, int | float) else x for name, x in metrics.items()}
    town.tell(resource, **spelled)
    return town.look().done


def outcome(town: Surging, resource: int) -> tuple[str, str, str]:
    """Outcome, why and class of the last look that did something."""
    one = town.case(resource)
    assert one is not None
    with town.book.reading() as tx:
        row = surges.of_case(tx, one.id)[-1]
        return row.outcome, row.why, row.cls


class TestTerms:
    def test_the_built_in_policy_lays_down_each_of_them(self):
        assert [one.gauge for one in default().growths] == list(GAUGES)
        assert Policy.from_json(default().to_json()) == default()

    def test_what_was_enacted_before_says_nothing_of_them(self):
        plain = default().to_json()
        del plain["growths"]
        assert Policy.from_json(plain).growths == ()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"gauge": "wishes"},
            {"level": 49.9},
            {"level": 100.1},
            {"samples": 0},
            {"samples": 13},
            {"samples": 2.5},
            {"step": 1.0},
            {"most": 8.1},
            {"most": 1.4},
            {"calm": 95.0},
            {"hold_hours": 0},
            {"hold_hours": True},
            {"level": "95"},
        ],
    )
    def test_what_makes_no_sense_is_none(self, wrong):
        with pytest.raises(ValueError, match=r"gauge|memory"):
            GrowthTerms(**{"gauge": "memory", **wrong})

    def test_one_thing_is_laid_down_once(self):
        with pytest.raises(ValueError, match="twice"):
            replace(default(), growths=(GrowthTerms("memory"), GrowthTerms("memory", samples=1)))

    def test_the_next_size_that_is_enough_within_what_may_be(self):
        terms = GrowthTerms("disk", step=1.5, most=2)
        steps = np.array([100, 120, 149, 150, 200, 400])
        assert growth_terms.fit(steps, 100, 100, terms) == 150
        assert growth_terms.fit(steps[:3], 100, 100, terms) == 149, "none is enough: the largest there is"
        assert growth_terms.fit(np.array([400]), 100, 100, terms) is None, "beyond what may be"
        assert growth_terms.fit(steps, 150, 100, terms) == 200, "by what was underneath"
        assert growth_terms.fit(steps, 200, 100, terms) is None

    def test_nothing_beyond_the_size_has_a_say(self):
        """Seen, not wished: the decisions stay where everything above the size is replaced by something else."""
        random = np.random.default_rng(3)
        wished = random.uniform(20, 400, (200, 12))
        force, size, lent = np.full(200, 8.0), random.choice([4.0, 8.0], 200), random.random(200) < 0.5
        for gauge in GAUGES:
            terms = next(one for one in growth_terms.DEFAULTS if one.gauge == gauge)
            first = growth_terms.sight(wished, size, force, lent, terms)
            for other in (
                np.minimum(wished, 100),
                np.where(wished > 100, 100 + random.uniform(0, 500, (200, 12)), wished),
            ):
                again = growth_terms.sight(other, size, force, lent, terms)
                for name in ("known", "count", "over", "short"):
                    assert (getattr(first, name) == getattr(again, name)).all()


class TestMemory:
    def test_it_grows_on_three_samples_and_is_given_back(self, town: Surging):
        machine, before = town.machine(), town.city.balance(Holder.GRANTED)
        town.authorise()
        assert hour(town, machine, mem_pct=[*[95.0] * 2, *[94.9] * 10], vcpu=4) == {}
        assert list(hour(town, machine, mem_pct=[*[95.0] * 3, *[50.0] * 9], vcpu=4)) == ["begun"]
        town.carry()
        assert town.has(machine) == EIGHT, "of the shapes the one with memory enough"
        assert outcome(town, machine) == ("begun", "", "memory")
        for _ in range(GrowthTerms("memory").hold_hours):
            hour(town, machine, mem_pct=39.9, vcpu=8)
        town.carry()
        assert town.has(machine) == FOUR
        assert town.city.see(town.case(machine).id).ending == "term_over"
        assert town.city.balance(Holder.GRANTED) == before

    def test_what_would_not_hold_what_is_used_is_kept(self, town: Surging):
        machine = town.machine()
        town.authorise()
        hour(town, machine, mem_pct=97, vcpu=4)
        town.carry()
        for _ in range(6):
            hour(town, machine, mem_pct=40.0, vcpu=8)  # 40 % of 16 GB are 80 % of 8 GB
        assert town.has(machine) == EIGHT
        assert town.case(machine).state == CaseState.WATCHED
        with town.book.reading() as tx:
            assert surges.last(tx, town.case(machine).id).outcome == "prolonged"

    def test_a_machine_that_calms_down_in_cpu_keeps_the_memory_that_it_fills(self, town: Surging):
        machine = town.machine()
        town.authorise()
        town.hour({machine: 99.0})
        town.carry()
        assert town.has(machine) == EIGHT
        for _ in range(5):
            town.past()
            town.feed({machine: [20.0] * 12})
            town.tell(machine, mem_pct=[60.0] * 12)
            town.look()
        town.carry()
        assert town.has(machine) == EIGHT, "60 % of 16 GB are more than the 8 GB that it had"
        for _ in range(4):
            town.past()
            town.feed({machine: [20.0] * 12})
            town.tell(machine, mem_pct=[30.0] * 12)
            town.look()
        town.carry()
        assert town.has(machine) == FOUR

    def test_a_cloud_that_stops_it_for_that_asks_first(self, town: Surging):
        machine = town.machine()
        town.authorise()
        town.cloud.live_resize = False
        assert list(hour(town, machine, mem_pct=99, vcpu=4)) == ["proposed"]
        assert outcome(town, machine) == ("proposed", "live_resize", "memory")

    def test_without_authorisation_the_department_is_asked(self, town: Surging):
        machine = town.machine()
        assert list(hour(town, machine, mem_pct=99, vcpu=4)) == ["proposed"]
        assert town.case(machine).target == {"vcpu": 8, "memory": 16 * 1024}

    def test_beyond_the_ceiling_of_memory(self, town: Surging):
        machine = town.machine()
        town.authorise(vcpu=16, memory_gb=7)
        hour(town, machine, mem_pct=99, vcpu=4)
        assert outcome(town, machine) == ("proposed", "ceiling", "memory")
        town.authorise(vcpu=16, memory_gb=8)
        assert list(hour(town, machine, mem_pct=99, vcpu=4)) == ["begun"]

    def test_a_policy_that_says_nothing_of_it(self, town: Surging):
        with town.city.by() as tx:
            policy = replace(policies.version(tx, town.city.policy).policy(), growths=())
            town.city.policy = policies.enact(tx, policy, Procedure(), reason="不扩内存").id
        machine = town.machine()
        town.authorise()
        assert hour(town, machine, mem_pct=99, vcpu=4) == {}


class TestExceptions:
    def test_who_is_of_an_exception_grows_by_its_terms_and_is_given_back_by_them(self, town: Surging):
        own = Section("申报", systems=("busy",), growths=(GrowthTerms("memory", level=80, samples=1, calm=50),))
        self.enact(town, own)
        machine, other = town.machine(), town.machine(system_id=None)
        town.authorise()
        town.past()
        for one in (machine, other):
            town.tell(one, mem_pct=[*[70.0] * 11, 80.0], vcpu=[4.0] * 12)
        assert list(town.look().done) == ["begun"]
        town.carry()
        assert (town.has(machine), town.has(other)) == (EIGHT, FOUR)
        for _ in range(5):
            hour(town, machine, mem_pct=26, vcpu=8)
        assert town.has(machine) == EIGHT, "26 % of 16 GB are 52 % of 8 GB: calm for the city, not for this system"
        for _ in range(4):
            hour(town, machine, mem_pct=24, vcpu=8)
        town.carry()
        assert town.has(machine) == FOUR
        self.enact(town, replace(own, growths=()))
        assert hour(town, machine, mem_pct=99, vcpu=4) == {}, "an exception in which nothing grows"

    @staticmethod
    def enact(town: Surging, own: Section) -> None:
        with town.city.by() as tx:
            policy = replace(policies.version(tx, town.city.policy).policy(), sections=(own,))
            assert Policy.from_json(policy.to_json()) == policy
            town.city.policy = policies.enact(tx, policy, Procedure(), reason="另定").id

    def test_documents_of_before_stay_what_they_were(self):
        policy = replace(default(), sections=(Section("甲", pools=("xc",), sizing="p95@70"),))
        assert "growths" not in policy.to_json()["sections"][0]
        with pytest.raises(ValueError, match="nothing of its own"):
            Section("甲", pools=("xc",))
        with pytest.raises(ValueError, match="twice"):
            Section("甲", pools=("xc",), growths=(GrowthTerms("memory"), GrowthTerms("memory", samples=1)))


class TestDisks:
    def test_a_full_one_is_enlarged_for_good(self, town: Surging):
        volume = of(town, DISK, ServiceKind.VOLUME)
        town.cloud.live_resize = False
        town.authorise(block=100)
        assert hour(town, volume, disk_pct=[*[94.9] * 12]) == {}
        assert list(hour(town, volume, disk_pct=[*[90.0] * 11, 95.0])) == ["begun"], "a disk grows beside what runs"
        town.carry()
        assert town.has(volume) == {BLOCK: 150}
        one = town.city.see(town.case(volume).id)
        assert (one.state, one.ending) == (CaseState.CLOSED, "expanded")
        assert hour(town, volume, disk_pct=64) == {}
        assert town.has(volume) == {BLOCK: 150}

    def test_samples_of_the_old_size_enlarge_it_no_more(self, town: Surging):
        volume = of(town, DISK, ServiceKind.VOLUME)
        town.authorise(block=1000)
        hour(town, volume, disk_pct=99)
        town.carry()
        town.clock.now += timedelta(minutes=10)
        done = town.look()
        assert done.done == {}
        assert town.has(volume) == {BLOCK: 150}

    def test_what_was_enlarged_for_good_counts_against_the_ceiling(self, town: Surging):
        volume = of(town, DISK, ServiceKind.VOLUME)
        town.authorise(block=100)
        hour(town, volume, disk_pct=99)
        town.carry()
        town.judge({volume: Verdict.NORMAL})
        assert list(hour(town, volume, disk_pct=99)) == ["begun"], "50 and 50 are 100"
        town.carry()
        assert town.has(volume) == {BLOCK: 200}
        town.judge({volume: Verdict.NORMAL})
        hour(town, volume, disk_pct=99)
        assert outcome(town, volume) == ("proposed", "ceiling", "block")
        assert town.has(volume) == {BLOCK: 200}

    def test_an_authorisation_that_does_not_name_disks_allows_none(self, town: Surging):
        volume = of(town, DISK, ServiceKind.VOLUME)
        town.authorise()
        hour(town, volume, disk_pct=99)
        assert outcome(town, volume) == ("proposed", "ceiling", "block")

    def test_beyond_the_quota_and_where_nothing_larger_is_on_offer(self, town: Surging):
        volume = of(town, DISK, ServiceKind.VOLUME)
        town.authorise(block=10_000)
        for size in (150, 200, 400):
            hour(town, volume, disk_pct=99)
            town.carry()
            assert town.has(volume) == {BLOCK: size}
            town.judge({volume: Verdict.NORMAL})
        assert hour(town, volume, disk_pct=99) == {}, "there is no larger one"
        with town.city.by() as tx:
            catalog.offer(tx, "v-1500", "1500G", "volume", {BLOCK: 1500}, [Arch(tx.get_one(Pool, town.city.pool).arch)])
        hour(town, volume, disk_pct=99)
        assert outcome(town, volume) == ("proposed", "quota", "block"), "300 of 1,000 GB are taken, 1,100 wanted"
        assert town.has(volume) == {BLOCK: 400}


class TestLines:
    def test_it_grows_by_its_traffic_both_ways_and_is_given_back(self, town: Surging):
        line = of(town, LINE, ServiceKind.BANDWIDTH)
        town.authorise(bandwidth=100)
        assert hour(town, line, net_rx_kbps=47_000.0, net_tx_kbps=47_900.0) == {}
        full = [50_000.0 + n for n in range(12)]
        assert list(hour(town, line, net_rx_kbps=full, net_tx_kbps=[45_000.0 + n for n in range(12)])) == ["begun"]
        town.carry()
        assert town.has(line) == {BANDWIDTH: 200}
        for _ in range(GrowthTerms("line").hold_hours):
            hour(town, line, net_rx_kbps=[30_000.0 + n for n in range(12)])
        town.carry()
        assert town.has(line) == LINE

    def test_a_machine_with_much_traffic_is_no_line(self, town: Surging):
        machine = town.machine()
        town.authorise(bandwidth=100)
        assert hour(town, machine, net_rx_kbps=[9e8 + n for n in range(12)], vcpu=4) == {}


class TestCards:
    def test_they_are_asked_for_by_a_window_and_never_lent(self, town: Surging):
        """Cards are put into what is shut down, in any cloud: no authorisation has them grow at once."""
        with town.city.by() as tx:
            pool = tx.get_one(Pool, town.city.pool)
            arch = Arch(pool.arch)
            entries.provision(tx, pool.id, Amount({ACCELERATOR: 16}).of_arch(arch), key="supply:cards")
            for cards in (5, 8, 16):
                catalog.offer(tx, f"c-{cards}", f"{cards}卡", "accelerator", {ACCELERATOR: cards}, [arch])
        cards = of(town, Amount({ACCELERATOR: 4}), ServiceKind.ACCELERATOR)
        town.authorise()
        assert hour(town, cards, card_pct=[94.9] * 4 + [99.0 + n / 100 for n in range(8)]) == {}
        assert list(hour(town, cards, card_pct=[90.0] * 3 + [95.0 + n / 100 for n in range(9)])) == ["proposed"]
        assert outcome(town, cards) == ("proposed", "live_resize", "accelerator")
        assert town.case(cards).target == {"accelerator": 5}
        with town.book.reading() as tx:
            assert surges.shuts_down(tx, tx.get_one(Case, town.case(cards).id))

    def test_an_authorisation_names_none(self):
        assert ACCELERATOR not in authorisations.OTHERS


class TestRunQueues:
    """Generated hours of which it is known how many tasks wanted the machine's CPUs."""

    @pytest.mark.parametrize(
        ("load", "vcpu"),
        [([], 6), ([140.0] * 12, 6), ([900.0] * 9 + [190.0] * 3, 8), ([90.0] * 12, 6), ([600.0] * 12, 8)],
        ids=["not told", "one shape more", "of what is at the line", "none waits", "within the limit"],
    )
    def test_a_queue_says_how_much_more_at_once(self, town: Surging, load, vcpu):
        with town.city.by() as tx:
            arch = Arch(tx.get_one(Pool, town.city.pool).arch)
            catalog.offer(tx, "vm-6-12", "六核", "vm", {VCPU: 6, MEMORY: 12 * GB}, [arch])
        machine = town.machine()
        town.authorise(vcpu=64)
        told = {
            "net_rx_kbps": [float(n) for n in range(12)],
            "vcpu": [4.0] * 12,
            **({"load_pct": load} if load else {}),
        }
        assert list(hour(town, machine, cpu_pct=[50.0 + n for n in range(9)] + [99.0, 99.1, 99.2], **told)) == ["begun"]
        town.carry()
        assert town.has(machine)[VCPU] == vcpu
        with town.book.reading() as tx:
            row = surges.of_case(tx, town.case(machine).id)[-1]
        if load and load[-1] > 111:
            assert row.wanted == pytest.approx(4 * load[-1] / 100), "what it rests on is written down"

    def test_a_queue_alone_enlarges_nothing(self, town: Surging):
        machine = town.machine()
        town.authorise()
        told = {"net_rx_kbps": [float(n) for n in range(12)], "load_pct": [400.0] * 12, "vcpu": [4.0] * 12}
        assert hour(town, machine, cpu_pct=[50.0 + n for n in range(12)], **told) == {}


class TestWaitingForMemory:
    """Generated hours of which it is known that a machine waited for memory, or did not."""

    def test_it_grows_though_its_use_is_below_and_is_kept_by_use_alone(self, town: Surging):
        machine = town.machine()
        town.authorise()
        assert hour(town, machine, mem_pct=70, mem_wait_pct=[*[20.0] * 2, *[19.9] * 10], vcpu=4) == {}
        assert list(hour(town, machine, mem_pct=70, mem_wait_pct=[*[20.0] * 3, *[0.0] * 9], vcpu=4)) == ["begun"]
        town.carry()
        assert town.has(machine) == EIGHT
        assert outcome(town, machine) == ("begun", "", "memory")
        for _ in range(5):
            hour(town, machine, mem_pct=45, mem_wait_pct=0.0, vcpu=8)  # 45 % of 16 GB are 90 % of 8 GB
        assert town.has(machine) == EIGHT
        for _ in range(4):
            hour(town, machine, mem_pct=30, mem_wait_pct=0.0, vcpu=8)
        town.carry()
        assert town.has(machine) == FOUR

    def test_where_its_use_is_not_told_nothing_says_that_it_does_without(self, town: Surging):
        machine = town.machine()
        town.authorise()
        assert list(hour(town, machine, mem_wait_pct=50.0, vcpu=4)) == ["begun"]
        town.carry()
        for _ in range(4):
            hour(town, machine, mem_wait_pct=0.0, vcpu=8)
        assert town.has(machine) == EIGHT
        with town.book.reading() as tx:
            assert surges.last(tx, town.case(machine).id).outcome == "blind"

    def test_who_tells_none_and_a_policy_without_it_have_none(self, town: Surging):
        machine = town.machine()
        town.authorise()
        assert hour(town, machine, mem_pct=94, vcpu=4) == {}
        with town.city.by() as tx:
            policy = replace(policies.version(tx, town.city.policy).policy(), growths=(GrowthTerms("memory"),))
            town.city.policy = policies.enact(tx, policy, Procedure(), reason="不看等待").id
        assert hour(town, machine, mem_pct=70, mem_wait_pct=90, vcpu=4) == {}

    def test_its_bounds_are_those_of_a_share_of_the_time(self):
        assert GrowthTerms("memory_wait", level=1, calm=0.1).level == 1
        for wrong in ({"level": 0.9}, {"calm": 0.0}, {"level": 5, "calm": 5}):
            with pytest.raises(ValueError, match="memory_wait"):
                GrowthTerms("memory_wait", **wrong)


class TestConnections:
    def test_an_instance_gets_memory_with_as_many_vcpu_as_it_has(self, town: Surging):
        database = of(town, DATABASE, ServiceKind.DATABASE)
        town.authorise()
        assert hour(town, database, conn_pct=89.9, vcpu=4) == {}
        assert list(hour(town, database, conn_pct=90, vcpu=4)) == ["begun"]
        town.carry()
        assert town.has(database) == {VCPU: 4, MEMORY: 16 * GB}

    def test_one_that_is_at_the_end_of_its_vcpu_gets_the_next_size_of_its_service(self, town: Surging):
        """Not a machine's: for one of four vCPU machines are offered with six, too."""
        with town.city.by() as tx:
            arch = Arch(tx.get_one(Pool, town.city.pool).arch)
            catalog.offer(tx, "vm-6-8", "六核", "vm", {VCPU: 6, MEMORY: 8 * GB}, [arch])
        database, queue = of(town, DATABASE, ServiceKind.DATABASE), of(town, DATABASE, ServiceKind.MIDDLEWARE)
        untold = town.city.machine(Amount({MEMORY: 8 * GB}), system_id=town.system, kind=ServiceKind.DATABASE)
        town.authorise()
        town.past()
        for one in (database, queue, untold):
            town.tell(one, cpu_pct=[99.0 + 0.05 * n for n in range(12)], net_rx_kbps=[float(n) for n in range(12)])
        done = town.look()
        case = town.case(database)
        assert done.done == {"begun": [case.id]}
        assert done.skipped == {"no_target": 1, "unsized": 1}, "no larger middleware is on offer"
        town.carry()
        assert town.has(database) == {VCPU: 8, MEMORY: 16 * GB}
        for _ in range(9):
            hour(town, database, cpu_pct=[20.0 + n for n in range(12)], net_rx_kbps=[float(n) for n in range(12)])
            town.carry()
        assert (town.city.see(case.id).ending, town.has(database)) == ("term_over", DATABASE)

    def test_where_it_would_be_restarted_it_is_asked(self, town: Surging):
        database = of(town, DATABASE, ServiceKind.DATABASE)
        town.authorise()
        town.cloud.live_resize = False
        hour(town, database, conn_pct=99, vcpu=4)
        assert outcome(town, database) == ("proposed", "live_resize", "memory")


def test_what_grew_by_terms_that_are_gone_is_given_back_all_the_same(town: Surging) -> None:
    machine = town.machine()
    town.authorise()
    hour(town, machine, mem_pct=99, vcpu=4)
    town.carry()
    assert town.has(machine) == EIGHT
    with town.city.by() as tx:
        policy = replace(policies.version(tx, town.city.policy).policy(), growths=(), sizing="p95@70")
        town.city.policy = policies.enact(tx, policy, Procedure(), reason="不再当日扩容").id
    for _ in range(GrowthTerms("memory").hold_hours):
        hour(town, machine, mem_pct=20, vcpu=8)
    town.carry()
    assert town.has(machine) == FOUR


def test_a_resource_of_which_nothing_is_known_stays_and_says_so(town: Surging) -> None:
    line = of(town, LINE, ServiceKind.BANDWIDTH)
    town.authorise(bandwidth=100)
    hour(town, line, net_rx_kbps=[99_000.0 + n for n in range(12)])
    town.carry()
    for _ in range(GrowthTerms("line").hold_hours):
        town.past()
        done = town.look()
    assert list(done.done) == ["blind"]
    assert town.has(line) == {BANDWIDTH: 200}
