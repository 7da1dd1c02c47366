"""No sequence of looks, failures and clocks grows memory, a disk or a line beyond quota, ceiling or pool, or keeps what was lent for ever.

As `test_growth_properties` is of CPU and `test_scale_outs` of machines more: what reaches the cloud is held against notes of the test's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.cases.steps import CaseState
from metering.judging.policy import Verdict
from metering.lake.store import Lake
from providers.base import Order, ServiceKind, Verb
from quota.db import Book
from quota.directory import catalog
from quota.directory.pools import Pool
from quota.errors import Refused
from quota.inventory import Resource
from quota.ledger import entries
from quota.units import BANDWIDTH, BLOCK, MEMORY, VCPU, Amount, Arch, ClassCode
from tests import books
from tests.city import GB, City
from tests.conftest import Clock
from tests.metering.cloud import Died
from tests.metering.surging import FOUR, Surging
from tests.metering.test_growth_properties import AILS, BEGIN

pytestmark = pytest.mark.slow

SPARE: Amount = Amount({VCPU: 8, MEMORY: 20 * GB, BLOCK: 260, BANDWIDTH: 250})
"""What the department may use beside what it has."""
BASE = {"machine": (FOUR, MEMORY), "disk": (Amount({BLOCK: 100}), BLOCK), "line": (Amount({BANDWIDTH: 100}), BANDWIDTH)}
MOST = {"machine": 2.0, "line": 4.0}
"""Times what was underneath; a disk stays, so that each step has its own."""
EVENTS = ("hour",) * 8 + ("carry",) * 2 + ("advance",) * 2 + ("authorise", "authorise", "revoke", "leap")
SOMEBODYS = (CaseState.STRAINED, CaseState.NOTICED, CaseState.DISPUTED)
"""States in which a person has been asked."""
REACHED: Counter[str] = Counter()


class GrowingClasses:
    """A machine, a volume and a line of one system in a city of their own."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(BEGIN)
        book = Book(books.sqlite(folder / "book.db"), clock=self.clock)
        city = City(book, self.clock)
        with city.by() as tx:
            arch = Arch(tx.get_one(Pool, city.pool).arch)
            supply = Amount({BLOCK: 100 + SPARE[BLOCK], BANDWIDTH: 100 + SPARE[BANDWIDTH]})
            entries.provision(tx, city.pool, supply.of_arch(arch), key="supply:others")
        self.town = Surging(city, Lake(folder / "lake"), quota=SPARE)
        with city.by() as tx:
            for service, cls, sizes in (
                ("volume", BLOCK, (150, 200, 300, 500)),
                ("bandwidth", BANDWIDTH, (150, 200, 400)),
            ):
                for size in sizes:
                    catalog.offer(tx, f"{service}-{size}", str(size), service, {cls: size}, [arch])
        self.ids = {
            "machine": self.town.machine(),
            "disk": self.town.machine(BASE["disk"][0], kind=ServiceKind.VOLUME),
            "line": self.town.machine(BASE["line"][0], kind=ServiceKind.BANDWIDTH),
        }
        with book.reading() as tx:
            self.named = {tx.get_one(Resource, one).external_id: name for name, one in self.ids.items()}
        self.there: dict[str, Amount] = {name: shape for name, (shape, _cls) in BASE.items()}
        self.authorised: dict[int, Amount] = {}
        self.kept_before = Amount({BLOCK: 0})
        self.town.cloud.seen = self.reaches_the_cloud

    def beyond(self, there: dict[str, Amount]) -> dict[ClassCode, int]:
        """How much more than at first there is of each class."""
        return dict(Amount.total(one.over(BASE[name][0]) for name, one in there.items()))

    def reaches_the_cloud(self, order: Order) -> None:
        assert order.verb is Verb.RESIZE
        name = self.named[order.external_id]
        (shape, cls), was = BASE[name], self.there[name]
        after = {**self.there, name: was | Amount(order.amounts)}
        if after[name][cls] > was[cls]:
            REACHED[f"{name} grown"] += 1
            bound = MOST[name] * shape[cls] if name in MOST else 4.0 * was[cls]
            assert after[name][cls] <= bound, "no more than its terms allow"
            for each, figure in self.beyond(after).items():
                assert figure <= SPARE[each], "no more than the quota, nor than the pool has"
            assert self.authorised, "nothing without an authorisation"
            (ceiling,) = self.authorised.values()
            for each, figure in self.beyond(after).items():
                before = self.kept_before.get(each, 0)
                assert figure - before <= ceiling.get(each, 0), "no more than what holds allows"
        elif after[name][cls] < was[cls]:  # what was told once and is told again changes nothing
            assert name != "disk", "a disk is made smaller by nobody"
            REACHED[f"{name} given back"] += 1
        self.there = after

    def holds_together(self) -> None:
        with self.town.book.reading() as tx:
            assert entries.conserved(tx)
            assert list(entries.check(tx)) == []

    # --------------------------------------------------------------------------------------------------- what happens

    def anything(self, draw: Random) -> None:
        match draw.choice(EVENTS):
            case "hour":
                self.hour(*(draw.choice([99.0, 99.0, 60.0, 20.0, None]) for _ in range(3)))
                self.carry(draw.choice(AILS))
            case "carry":
                self.carry(draw.choice(AILS))
            case "advance":
                self.town.city.advance()
            case "authorise":
                self.authorise(draw.choice([8, 20]), draw.choice([0, 50, 150, 400]), draw.choice([0, 50, 300]))
            case "revoke" if self.authorised:
                self.revoke()
            case "leap":
                self.clock.advance(hours=draw.choice([2, 9, 30, 24 * 8]))
                self.town.judge(dict.fromkeys(self.ids.values(), Verdict.NORMAL))
        self.holds_together()

    def hour(self, memory: float | None, disk: float | None, line: float | None) -> None:
        """An hour in which each is so full, in per cent of what there is; None = it tells nothing."""
        self.town.past()
        draw = Random(str(self.clock.now))
        if memory is not None:
            self.town.tell(
                self.ids["machine"],
                mem_pct=[memory] * 12,
                cpu_pct=[20 + draw.random() for _ in range(12)],
                vcpu=[4.0] * 12,
            )
        if disk is not None:
            self.town.tell(self.ids["disk"], disk_pct=[disk] * 12)
        if line is not None:
            full = 10.0 * line * self.town.has(self.ids["line"])[BANDWIDTH]
            self.town.tell(self.ids["line"], net_rx_kbps=[full + draw.random() for _ in range(12)])
        done = self.town.look()
        assert not [one for one in done.faults.values() if not isinstance(one, Refused)], done.faults

    def carry(self, ails: str = "") -> None:
        self.town.cloud.ails = ails
        with suppress(Died):
            self.town.carry()
        self.town.cloud.ails = ""

    def authorise(self, memory_gb: int, block: int, bandwidth: int) -> None:
        """Another takes the place of the one that held: it counts what is enlarged for good from then on."""
        number = self.town.authorise(8, memory_gb, any_time=True, block=block, bandwidth=bandwidth)
        held = Amount({VCPU: 8, MEMORY: memory_gb * GB, BLOCK: block, BANDWIDTH: bandwidth})
        self.authorised = {number: held}
        self.kept_before = Amount({BLOCK: self.beyond(self.there).get(BLOCK, 0)})

    def revoke(self) -> None:
        self.town.revoke(next(iter(self.authorised)))
        self.authorised = {}

    def comes_to_rest(self) -> None:
        """Everything calm and every cloud well: what was lent is given back, or a person has been asked; a disk stays as it is."""
        for _day in range(4):
            for _ in range(5):
                self.hour(10.0, 10.0, 5.0)
                self.carry()
                self.town.city.advance()
                self.carry()
            if all(self.town.has(self.ids[name]) == BASE[name][0] for name in MOST):
                break
            self.clock.advance(hours=19)
            self.town.judge(dict.fromkeys(self.ids.values(), Verdict.NORMAL))
        for name in MOST:
            if self.town.has(self.ids[name]) != BASE[name][0]:
                case = self.town.case(self.ids[name])
                assert case is not None
                assert case.state in SOMEBODYS, (name, case.state, case.reason)
        self.holds_together()


@pytest.fixture
def growing(tmp_path: Path) -> Callable[[int], GrowingClasses]:
    def make(number: int = 0) -> GrowingClasses:
        folder = tmp_path / str(number)
        folder.mkdir()
        return GrowingClasses(folder)

    return make


def test_every_check_is_reached(growing: Callable[..., GrowingClasses]) -> None:
    REACHED.clear()
    one = growing()
    one.authorise(20, 150, 300)
    for _ in range(3):
        one.hour(99.0, 99.0, 99.0)
        one.carry()
    assert REACHED["machine grown"] == 1
    assert REACHED["disk grown"] == 2, "150, then 200 GB; the third would be beyond the ceiling"
    assert REACHED["line grown"] >= 1
    one.comes_to_rest()
    assert REACHED["machine given back"] == REACHED["line given back"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_walks(growing: Callable[..., GrowingClasses], seed: int) -> None:
    one, draw = growing(), Random(seed)
    one.authorise(20, 150, 300)
    for _ in range(20):
        one.anything(draw)
    one.comes_to_rest()


@settings(max_examples=4, database=None, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=15))
def test_hypothesis_finds_no_order_that_breaks_a_bound(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int]
) -> None:
    one = GrowingClasses(tmp_path_factory.mktemp("growing"))
    for seed in seeds:
        one.anything(Random(seed))
    one.comes_to_rest()
