"""What a cloud must keep: listings that can be trusted, samples that are neither lost nor counted twice, orders that are
carried out once."""

from __future__ import annotations

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
    Capacious,
    Order,
    Outcome,
    OutcomeState,
    ProviderFault,
    Quotas,
    ResourceState,
    Samples,
    ServiceKind,
    Verb,
)
from quota.units import VCPU, Arch

Cell = tuple[str, int, tuple[tuple[str, float], ...]]


class CloudSuite(OpeningSuite):
    """``now``: the moment of all questions; ``history``: how far back there are samples (None: there are none)."""

    now = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
    history: timedelta | None = timedelta(hours=6)

    @pytest.fixture
    def cloud(self, tmp_path: Path) -> Any:
        return self.opened(self.options(tmp_path))

    def spoken_to(self, one: Any) -> None:
        one.inventory(self.now)

    def test_it_says_what_it_can_do(self, cloud: Any) -> None:
        assert cloud.name
        assert isinstance(cloud.live_resize, bool)
        assert cloud.capabilities <= frozenset(Verb)
        assert set(cloud.releases) <= set(Verb)
        assert all((VCPU in kinds) in (True, False) for kinds in cloud.releases.values())

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
        if not isinstance(cloud, Quotas):
            pytest.skip("it tells no quotas")
        told = cloud.quotas(self.now)
        ids = [one.project.external_id for one in told]
        assert all(ids)
        assert len(set(ids)) == len(ids)
        for one in told:
            for most in (*one.limits.values(), *one.unified.values()):
                assert most is None or (isinstance(most, int) and most >= 0), "None stands for no limit"
            assert all(isinstance(used, int) and used >= 0 for used in one.used.values())

    def test_capacity_makes_sense_a_class_once(self, cloud: Any) -> None:
        if not isinstance(cloud, Capacious):
            pytest.skip("it tells no capacity")
        told = cloud.capacity(self.now)
        assert len({one.kind for one in told}) == len(told)
        for one in told:
            assert all(isinstance(figure, int) for figure in (one.total, one.reserved, one.used))
            assert 0 <= one.reserved <= one.total
            assert one.ratio > 0
            assert one.used >= 0

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
        if Verb.STOP not in cloud.capabilities:
            pytest.skip("it stops nothing")
        running = [
            one
            for one in cloud.inventory(self.now).facts
            if one.kind == ServiceKind.VM and one.state == ResourceState.RUNNING
        ]
        if not running:
            pytest.skip("nothing runs there")
        order = Order(f"conformance-{uuid4().hex}", Verb.STOP, running[0].kind, running[0].arch, running[0].external_id)
        first = cloud.deliver(order, self.now)
        again = cloud.deliver(order, self.now)
        assert isinstance(first, Outcome)
        assert (first.key, again.key) == (order.key, order.key)
        assert (first.state, first.external_id) == (again.state, again.external_id)
        told = cloud.inquire(order.key, self.now)
        assert told is not None
        assert told.key == order.key
        assert cloud.inquire(order.key, self.now) == told

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
                values = tuple(
                    (name, float(row[name]))
                    for name in sorted(names)
                    if name not in ("resource", "ts") and row[name] is not None and row[name] == row[name]
                )
                found[who, row["ts"], values] = 1
        return found
