"""What a source of usage must keep: readings whose edges fit, that say the same when they are asked for again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from providers.adapters.conformance.opening import OpeningSuite
from providers.base import Queried, Readings


class MeterSuite(OpeningSuite):
    """``now``: the moment of all questions; ``history``: how far back there is something to read; ``step_s``: of a slot."""

    now = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
    history = timedelta(hours=2)
    step_s = 300

    @pytest.fixture
    def meter(self, tmp_path: Path) -> Any:
        return self.opened(self.options(tmp_path))

    def spoken_to(self, one: Any) -> None:
        list(one.readings(self.now - self.history, self.now, self.step_s))

    def read(self, meter: Any) -> list[Readings]:
        return list(meter.readings(self.now - self.history, self.now, self.step_s))

    def test_readings_hold_together(self, meter: Any) -> None:
        assert meter.name
        found = self.read(meter)
        assert any(len(one.ts) for one in found), "nothing to read in the time that `history` names"
        for one in found:
            assert len(one.index) == len(one.ts) == len(one.value)
            assert len(one.index) == 0 or (one.index.min() >= 0 and one.index.max() < len(one.series))
            assert one.label
            assert all(labels.get("__name__") for labels in one.series)
            assert np.issubdtype(one.ts.dtype, np.integer), "milliseconds, as whole numbers"

    def test_pieces_follow_one_another_on_edges_of_slots(self, meter: Any) -> None:
        found = self.read(meter)
        assert all(one.since < one.until for one in found)
        for one in found:
            for moment in (one.since, one.until):
                assert moment.tzinfo is not None
                assert moment.timestamp() % self.step_s == 0
            assert one.until <= self.now
        spans = sorted({(one.since, one.until) for one in found})
        assert [until for _since, until in spans[:-1]] == [since for since, _until in spans[1:]], (
            "a hole, or an overlap"
        )
        assert spans[0][0] - (self.now - self.history) < timedelta(seconds=self.step_s)

    def test_asked_twice_they_say_the_same(self, meter: Any) -> None:
        assert _said(self.read(meter)) == _said(self.read(meter))

    def test_nothing_is_read_of_no_time(self, meter: Any) -> None:
        assert not any(len(one.ts) for one in meter.readings(self.now, self.now, self.step_s))

    def test_its_questions_can_be_shown(self, meter: Any) -> None:
        if not isinstance(meter, Queried):
            pytest.skip("it asks none")
        queries = meter.queries()
        assert queries
        for one in queries:
            assert one.text.strip()
            assert one.series
            assert one.source, "written after which documentation?"


def _said(found: Iterable[Readings]) -> list[tuple[Any, ...]]:
    return sorted(
        (one.since, tuple(sorted(one.series[number].items())), int(ts), float(value))
        for one in found
        for number, ts, value in zip(one.index.tolist(), one.ts.tolist(), one.value.tolist(), strict=True)
    )
