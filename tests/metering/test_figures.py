"""The table of figures: what a row there brings, from the samples to a finding; and the table of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import date

import numpy as np
import pytest

from metering.intake import signals
from metering.judging import assess, figures
from metering.judging.facts import Facts
from metering.judging.figures import CIRCUMSTANCES, FIGURES, Figure, needed, register
from metering.judging.policy import Condition, Policy, PolicyRule, Verdict, default
from metering.judging.seen import DERIVED
from providers.metrics import METRICS, SLOTS
from providers.readers import usage_columns
from quota.errors import N_

TOY = Figure(
    "disk_busy", N_("磁盘读取均值"), " KiB/s", of=lambda seen: seen.column("disk_read_kbs").mean,
    columns=("disk_read_kbs",), coverage="disk_busy_coverage",
)  # fmt: skip
ITS_COVERAGE = Figure(
    "disk_busy_coverage", N_("磁盘读取采集覆盖率"), "%", 100.0,
    lambda seen: seen.column("disk_read_kbs").n / seen.wanted, ("disk_read_kbs",), offered=False,
)  # fmt: skip


@pytest.fixture
def toy() -> Iterator[Figure]:
    register(ITS_COVERAGE, TOY)
    yield TOY
    del FIGURES[TOY.code], FIGURES[ITS_COVERAGE.code]


def busy_disks(days: int = 7) -> Policy:
    rule = PolicyRule(Verdict.BUSY, days, (Condition("disk_busy", ">=", 100, "unknown"),), coverage=0.9)
    return Policy("disks", 1, date(2026, 1, 1), (rule,))


def samples(*rates: float, days: int = 7) -> tuple[dict[str, np.ndarray], np.ndarray]:
    shape = (len(rates), days * SLOTS)
    return {"disk_read_kbs": np.repeat(np.float32(rates), shape[1]).reshape(shape)}, np.ones(shape, np.uint8)


def test_a_row_of_the_table_is_measured_judged_named_and_kept(toy: Figure) -> None:
    columns, state = samples(80, 120, 120)
    columns["disk_read_kbs"][2, : SLOTS * 2] = np.nan
    policy = Policy.from_json(busy_disks().to_json())
    found = assess.judge(assess.measure(columns, state, policy=policy), policy)
    assert list(found) == [Verdict.NORMAL, Verdict.BUSY, Verdict.UNKNOWN]
    assert found.reasons(1)[0].text() == "磁盘读取均值 120 KiB/s ≥ 100 KiB/s"
    kept = [found.facts.row(i) for i in range(3)]
    assert kept[2]["windows"]["7"]["disk_busy_coverage"] == round(5 / 7, 6)
    again = assess.judge(Facts.from_rows(kept), policy)
    assert [again.row(i) for i in range(3)] == [found.row(i) for i in range(3)]
    assert "disk_read_kbs" in needed(frozenset({"vm"}))
    assert toy in list(figures.offered())


def test_a_figure_that_is_gone_is_told_by_its_code_and_that_is_all() -> None:
    reason = assess.Reason("disk_busy", 120.0, ">=", 100, 7)
    assert reason.text() == "disk_busy 120 ≥ 100"
    with pytest.raises(ValueError, match="disk_busy"):
        busy_disks()


def test_what_was_kept_before_a_figure_came_is_read_and_not_known(toy: Figure) -> None:
    columns, state = samples(120)
    row = assess.measure(columns, state, policy=busy_disks()).row(0)
    del row["windows"]["7"][toy.code]
    assert np.isnan(Facts.from_rows([row]).figure(toy.code, 7)[0])


def test_two_rows_of_one_code_are_refused(toy: Figure) -> None:
    with pytest.raises(ValueError, match="disk_busy"):
        register(toy)
    with pytest.raises(ValueError, match="no figure"):
        register(replace(toy, code="other", coverage="nothing_such"))
    assert "other" not in FIGURES


def test_every_circumstance_is_measured_and_every_column_is_there() -> None:
    known = {field.name for field in fields(Facts)} - {"kind", "windows"}
    assert known == set(CIRCUMSTANCES)
    for row in FIGURES.values():
        assert set(row.columns) <= METRICS.keys() | DERIVED.keys(), row.code
    assert not METRICS.keys() & DERIVED.keys()


def test_connections_are_read_of_what_people_connect_to_alone() -> None:
    assert "connections" not in needed(frozenset({"vm", "bandwidth"}))
    assert "connections" in needed(frozenset({"vm", "database"}))


def test_in_a_window_that_asks_for_nothing_dear_nothing_dear_is_measured() -> None:
    """The default policy's fortnight is about cards alone; its CPU stays unknown, as it always did."""
    shape = (1, 30 * SLOTS)
    columns = {"cpu_pct": np.full(shape, 5000, np.uint16), "card_pct": np.full(shape, 2000, np.uint16)}
    seen = assess.measure(columns, np.ones(shape, np.uint8), policy=default()).windows
    assert (seen[7].cpu_mean[0], seen[14].card_mean[0]) == (50, 20)
    assert np.isnan(seen[14].cpu_mean[0])
    assert (seen[14].cpu_coverage[0], seen[14].coverage[0], seen[14].hot_days[0]) == (0, 1, 0)


def test_a_metric_is_a_row_known_to_files_and_to_agents() -> None:
    for name, metric in METRICS.items():
        assert usage_columns.QUANTITIES[name].most == metric.most
        meaning = usage_columns.meaning(name)
        assert meaning is not None
        assert (meaning.name, meaning.factor) == (name, 1)
        signal = signals.recognise({"__name__": f"guanjia_{name}"})
        assert signal is not None
        assert signals.scale({}, signal) == 1.0
        for series in metric.series:
            assert signals.recognise({"__name__": series}) == signal
    said = [word for metric in METRICS.values() for _factor, many in metric.headings for word in many.split()]
    assert len({usage_columns.plain(word) for word in said}) == len(said)
