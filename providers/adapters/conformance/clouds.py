"""What a cloud must keep: listings that can be trusted, samples that are neither lost nor counted twice, orders that are
carried out once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from providers.adapters.conformance.opening import OpeningSuite
from providers.base import (
    WIDEST_S,
    Advancing,
    CallState,
    Fetching,
    Journalled,
    Order,
    OrderJournal,
    Outcome,
    OutcomeState,
    ProviderFault,
    ResourceState,
    Samples,
    ServiceKind,
    Verb,
    accountable,
    capacious,
    planned,
    quoting,
)
from providers.hands import MemoryJournal
from quota.calendar import ZONE
from quota.units import CLASSES, Arch

Cell = tuple[str, int, tuple[tuple[str, float], ...]]


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """A journal whose process dies ``before`` the first call is sent, having noted it, or ``after``, before it is noted as
    done."""

    def __init__(self, kept: OrderJournal, dies: str) -> None:
        self._kept, self._dies = kept, dies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def begin(self, key: str, place: int, at: datetime, facts: Any = None) -> bool:
        begun = self._kept.begin(key, place, at, facts)
        if self._dies == "before":
            raise Killed
        return begun

    def note(self, key: str, place: int, state: CallState, at: datetime, **more: Any) -> None:
        if self._dies == "after":
            raise Killed
        self._kept.note(key, place, state, at, **more)


class CloudSuite(OpeningSuite):
    """``now``: the moment of all questions; ``history``: how far back there are samples (None: there are none)."""

    now = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
    history: timedelta | None = timedelta(hours=6)
    pause_s = 0.0
    """How long to wait in truth between two steps of an order, where the cloud doesn't go by the clock that it is told."""

    steps = 20
    """Steps after which an order that is still under way is somebody else's to do (people's, as a rule)."""

    @pytest.fixture
    def journal(self) -> OrderJournal:
        return MemoryJournal()

    @pytest.fixture
    def cloud(self, tmp_path: Path, journal: OrderJournal) -> Any:
        return self.again(tmp_path, journal)

    def again(self, folder: Path, journal: OrderJournal) -> Any:
        """The cloud opened anew, as the next process would, with the journal of the one before."""
        one = self.opened(self.options(folder))
        if isinstance(one, Journalled):
            one.keep_journal(journal)
        return one

    def finished(self, cloud: Any, key: str) -> Outcome:
        """The order led on until it is done or failed. Skips where that is not the cloud's to do."""
        for step in range(self.steps):
            at = self.now + timedelta(minutes=10 * step)
            found: Outcome | None = cloud.inquire(key, at)
            if found is None and isinstance(cloud, Fetching):
                pytest.skip("nobody fetched it in time")
            assert found is not None, "it was taken, and is not known"
            if found.state is OutcomeState.PENDING and isinstance(cloud, Advancing):
                found = cloud.advance(key, at)
            if found.state is not OutcomeState.PENDING:
                return found
            time.sleep(self.pause_s)
        pytest.skip("it is still under way")

    def begun(self, cloud: Any, order: Order) -> None:
        """The order given and led on, as one process does it."""
        cloud.deliver(order, self.now)
        self.finished(cloud, order.key)

    def stoppable(self, cloud: Any) -> Order:
        """An order to stop something that runs. Skips where there is none."""
        if Verb.STOP not in cloud.capabilities:
            pytest.skip("it stops nothing")
        for one in cloud.inventory(self.now).facts:
            if one.kind == ServiceKind.VM and one.state == ResourceState.RUNNING:
                return Order(f"conformance-{uuid4().hex}", Verb.STOP, one.kind, one.arch, one.external_id)
        pytest.skip("nothing runs there")

    def spoken_to(self, one: Any) -> None:
        one.inventory(self.now)

    def test_it_says_what_it_can_do(self, cloud: Any) -> None:
        assert cloud.name
        assert isinstance(cloud.live_resize, bool)
        assert cloud.capabilities <= frozenset(Verb)
        assert set(cloud.releases) <= set(Verb)
        assert all(set(kinds) <= set(CLASSES) for kinds in cloud.releases.values()), "it frees what nobody counts"

    def test_a_listing_holds_each_thing_once_and_makes_sense(self, cloud: Any) -> None:
        listing = cloud.inventory(self.now)
        assert set(listing.short) <= set(ServiceKind)
        assert all(listing.short.values()), "say why it may not be all of a kind"
        projects = [one.external_id for one in listing.projects]
        assert len(set(projects)) == len(projects)
        assert listing.as_of.tzinfo is not None
        assert listing.as_of <= self.now
        ids = [one.external_id for one in listing.facts]
        assert len(set(ids)) == len(ids)
        for one in listing.facts:
            assert one.external_id
            assert one.kind in set(ServiceKind)
            assert one.arch in set(Arch)
            assert one.state in set(ResourceState)
            assert all(isinstance(amount, int) and amount >= 0 for amount in one.amounts.values()), one
            for moment in (one.created_at, one.stopped_at):
                assert moment is None or moment.tzinfo is not None, f"{one.external_id}: a time without a zone"
            assert one.attached_to is None or isinstance(one.attached_to, str)
            assert isinstance(one.cloud_state, str)
            assert one.project is None or one.project.external_id

    def test_listing_twice_says_the_same(self, cloud: Any) -> None:
        assert cloud.inventory(self.now) == cloud.inventory(self.now)

    def test_quotas_are_whole_amounts_a_project_once(self, cloud: Any) -> None:
        limiting = quoting(cloud)
        if limiting is None:
            pytest.skip("it tells no quotas")
        told = limiting.quotas(self.now)
        ids = [one.project.external_id for one in told]
        assert all(ids)
        assert len(set(ids)) == len(ids)
        for one in told:
            for most in (*one.limits.values(), *one.unified.values()):
                assert most is None or (isinstance(most, int) and most >= 0), "None stands for no limit"
            assert all(isinstance(used, int) and used >= 0 for used in one.used.values())

    def test_capacity_makes_sense_a_class_once(self, cloud: Any) -> None:
        roomy = capacious(cloud)
        if roomy is None:
            pytest.skip("it tells no capacity")
        told = roomy.capacity(self.now)
        assert len({one.kind for one in told}) == len(told)
        for one in told:
            assert all(isinstance(figure, int) for figure in (one.total, one.reserved, one.used))
            assert 0 <= one.reserved <= one.total
            assert one.ratio > 0
            assert one.used >= 0

    def test_bills_are_of_their_month(self, cloud: Any) -> None:
        company = accountable(cloud)
        if company is None:
            pytest.skip("it hands over no bill")
        month = f"{self.now.astimezone(ZONE).replace(day=1) - timedelta(days=1):%Y-%m}"
        told = company.bills(month)
        assert company.bills(month) == told
        for one in told:
            assert one.month == month
            assert one.external_id
            assert one.since.tzinfo is not None
            assert one.since < one.until
            inside = {f"{moment.astimezone(ZONE):%Y-%m}" for moment in (one.since, one.until - timedelta(seconds=1))}
            assert inside == {month}, "a line is for a part of its month"
            assert one.quantity.is_finite()
            assert one.quantity >= 0
            assert one.cost is None or one.cost.is_finite()

    def test_incidents_are_told_once_and_in_the_order_of_what_happened(self, cloud: Any) -> None:
        company = accountable(cloud)
        if company is None:
            pytest.skip("it reports no incidents")
        since = self.now - timedelta(days=40)
        told = company.incidents(since, self.now)
        assert company.incidents(since, self.now) == told
        assert len({one.external_id for one in told}) == len(told)
        for one in told:
            assert one.external_id
            assert one.title
            assert 1 <= one.level <= 4
            happened = [moment for moment in (one.started_at, one.responded_at, one.recovered_at) if moment is not None]
            assert happened == sorted(happened)
            assert any(since <= moment < self.now for moment in happened)
            assert all(moment <= self.now for moment in happened), "nobody knows it yet"

    def test_samples_are_of_their_time_and_twice_the_same(self, cloud: Any) -> None:
        first, end = self._span()
        cells = self._cells(cloud.samples(first, end))
        assert cells, "no samples in the time that `history` names"
        assert all(ts < end.timestamp() for _name, ts, _values in cells)
        assert self._cells(cloud.samples(first, end)) == cells

    def test_no_sample_is_lost_between_two_questions(self, cloud: Any) -> None:
        first, end = self._span()
        middle = first + (end - first) / 2
        whole = self._cells(cloud.samples(first, end))
        halves = self._cells(cloud.samples(first, middle)) | self._cells(cloud.samples(middle, end))
        assert set(halves) == set(whole)

    def test_an_order_is_carried_out_once(self, cloud: Any) -> None:
        order = self.stoppable(cloud)
        first = cloud.deliver(order, self.now)
        again = cloud.deliver(order, self.now)
        assert isinstance(first, Outcome)
        assert (first.key, again.key) == (order.key, order.key)
        assert (first.state, first.external_id) == (again.state, again.external_id)
        told = cloud.inquire(order.key, self.now)
        assert told is not None
        assert told.key == order.key
        assert cloud.inquire(order.key, self.now) == told

    def test_a_plan_says_what_would_be_called_and_changes_nothing(self, cloud: Any) -> None:
        order = self.stoppable(cloud)
        before = cloud.inventory(self.now)
        calls = planned(cloud, order, self.now)
        assert calls
        assert len({one.name for one in calls}) == len(calls), "each call has a name of its own"
        assert all(one.name and one.text for one in calls)
        assert planned(cloud, order, self.now) == calls
        assert cloud.inquire(order.key, self.now) is None
        assert cloud.inventory(self.now) == before

    def test_an_order_that_is_led_on_ends_and_stays_as_it_ended(self, cloud: Any) -> None:
        order = self.stoppable(cloud)
        cloud.deliver(order, self.now)
        ended = self.finished(cloud, order.key)
        assert ended.state is OutcomeState.DONE, ended.message
        assert ended.external_id == order.external_id
        late = self.now + timedelta(days=1)
        assert cloud.inquire(order.key, late) == ended
        assert cloud.deliver(order, late) == ended
        if isinstance(cloud, Advancing):
            assert cloud.advance(order.key, late) == ended

    @pytest.mark.parametrize("dies", ["before", "after"])
    def test_who_dies_around_a_call_leaves_it_to_be_done_once(
        self, tmp_path: Path, journal: OrderJournal, dies: str
    ) -> None:
        """A process that dies before its first call, or after it and before it could note the answer."""
        cloud = self.again(tmp_path, Mortal(journal, dies))
        if not hasattr(cloud, "keep_journal"):
            pytest.skip("its cloud keeps the keys itself")
        order = self.stoppable(cloud)
        with pytest.raises(Killed):
            self.begun(cloud, order)
        heir = self.again(tmp_path, journal)
        later = self.now + timedelta(minutes=10)
        if heir.inquire(order.key, later) is None:
            heir.deliver(order, later)
        else:
            time.sleep(self.pause_s)
            heir.advance(order.key, later)
            if heir.inquire(order.key, later) is None:  # it found that the cloud never took it
                heir.deliver(order, later)
        assert self.finished(heir, order.key).state is OutcomeState.DONE
        ended = [one.state for one in journal.calls(order.key)]
        assert set(ended) == {CallState.DONE}

    def test_of_an_order_that_was_never_taken_there_is_nothing_to_say(self, cloud: Any) -> None:
        assert cloud.inquire(f"conformance-{uuid4().hex}", self.now) is None

    def test_what_it_cannot_do_it_refuses(self, cloud: Any) -> None:
        for verb in frozenset(Verb) - cloud.capabilities:
            order = Order(f"conformance-{uuid4().hex}", verb, ServiceKind.VM, Arch.X86_64, "conformance-none")
            try:
                outcome = cloud.deliver(order, self.now)
            except ProviderFault as fault:
                assert not fault.transient, f"{verb}: trying again will not help"
            else:
                assert outcome.state is OutcomeState.FAILED, f"{verb}: taken, though it can't be done"

    def _span(self) -> tuple[datetime, datetime]:
        if self.history is None:
            pytest.skip("it gives no samples")
        return self.now - self.history, self.now

    def _cells(self, batches: Iterable[Samples]) -> Counter[Cell]:
        """Each sample: whose, when, what it says."""
        found: Counter[Cell] = Counter()
        for batch in batches:
            assert batch.source
            names = batch.table.column_names
            assert {"resource", "ts"} <= set(names)
            assert all(pa.types.is_integer(batch.table.schema.field(name).type) for name in ("resource", "ts"))
            for row in batch.table.to_pylist():
                who = batch.external_ids[row["resource"]]
                assert 0 < (row.get("width_s") or 1) <= WIDEST_S, f"{who}: {row['width_s']} seconds wide"
                values = tuple(
                    (name, float(row[name]))
                    for name in sorted(names)
                    if name not in ("resource", "ts") and row[name] is not None and row[name] == row[name]
                )
                found[who, row["ts"], values] = 1
        return found
