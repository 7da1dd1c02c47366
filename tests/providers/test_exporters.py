"""Exporters that are not here, by what their documentation says that they say: expositions of known truth in one real
Prometheus, read by our queries, slot by slot what the truth is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from console.words import WORDS
from metering.intake.pulled import pull
from providers.adapters.promql import EXPORTERS, PromQL
from providers.base import QueryProof
from tests.expositions import Series, Slots, figures, prometheus, pushed
from tests.recordings import exporters

pytestmark = pytest.mark.slow

SLOTS = range(exporters.START, exporters.END, exporters.STEP)


@pytest.fixture(scope="module")
def told() -> dict[str, exporters.Exposition]:
    return {name: make() for name, make in exporters.EVERY.items()}


@pytest.fixture(scope="module")
def address(told, tmp_path_factory):
    every = [one for exposition in told.values() for one in exposition.series.values()]
    every += doubtful()
    with prometheus(tmp_path_factory.mktemp("prometheus"), every) as url:
        yield url


def doubtful() -> list[Series]:
    return [per_cent_by_the_name_of_a_ratio(), idle_by_the_name_of_a_ratio(), idle_until_it_works()]


def per_cent_by_the_name_of_a_ratio() -> Series:
    """A card that works for some minutes and is idle then, told by a DCGM before 4.7: of it nothing is known."""
    begin = exporters.START - 900
    points = [(s * 1000, 40.0 if s < begin + 600 else 0.5) for s in range(begin, exporters.END + 900, 15)]
    return Series({"__name__": "DCGM_FI_DEV_GPU_UTIL_RATIO", "hostname": "gpu-4", "gpu": "0"}, points)


def idle_by_the_name_of_a_ratio() -> Series:
    """A card of which nobody can tell whether its 1 is one per cent or all of it."""
    begin = exporters.START - 900
    points = [(s * 1000, 1.0) for s in range(begin, exporters.END + 900, 15)]
    return Series({"__name__": "DCGM_FI_DEV_GPU_UTIL_RATIO", "hostname": "gpu-5", "gpu": "0"}, points)


def idle_until_it_works() -> Series:
    """A card at 1, at nothing, at 1 again, and from the fifth slot on busy: from then on its 1 is all of it."""

    def says(s: int) -> float:
        slot = (s - exporters.START) // exporters.STEP
        return {1: 0.0, 4: 0.37}.get(slot, 1.0)

    points = [(s * 1000, says(s)) for s in range(exporters.START - 900, exporters.END + 900, 15)]
    return Series({"__name__": "DCGM_FI_DEV_GPU_UTIL_RATIO", "hostname": "gpu-6", "gpu": "0"}, points)


def test_a_one_is_believed_of_who_said_something_between_and_who_is_not_is_named(told, address) -> None:
    *_whole, ratio = PromQL(address, exporters=("dcgm",), settle_s=0).exporters
    meter = PromQL(address, exporters=("dcgm",), settle_s=0)
    meter.exporters = (ratio,)
    end = exporters.BEGIN + timedelta(seconds=len(SLOTS) * 300)
    (readings,) = meter.readings(exporters.BEGIN, end, 300)
    machines = {f"gpu-{number}": number for number in (3, 4, 5, 6)}
    found = figures(pull(readings, machines, 300).samples, SLOTS.start, SLOTS.stop)
    late = [SLOTS[1], *SLOTS[4:]]
    assert set(found) == {(3, slot) for slot in SLOTS} | {(6, slot) for slot in late}
    assert [found[6, slot]["card_pct"] for slot in late[:3]] == pytest.approx([0, 37, 100])
    assert readings.doubts == {"card.per_cent": ["gpu-4"], "card.unsure": ["gpu-5"]}
    assert readings.notes == (), "what we judge is not what the other side said"
    assert readings.doubts.keys() <= WORDS.keys()

    # The same samples pushed are the same figures, and the same is doubted.
    ratios = [one for one in told["dcgm"].series.values() if one.labels["__name__"].endswith("_RATIO")]
    again = pushed([*ratios, *doubtful()], lambda labels: machines[labels["hostname"]], SLOTS.start, SLOTS.stop, 300)
    assert again.keys() == found.keys()
    for at, values in found.items():
        assert again[at]["card_pct"] == pytest.approx(values["card_pct"], abs=0.5), at


def compare(found: Slots, truth: exporters.Truths) -> None:
    for number, (machine, metrics) in enumerate(truth.items(), 1):
        assert [ts for who, ts in sorted(found) if who == number] == list(SLOTS), machine
        for slot in SLOTS:
            values = found[number, slot]
            assert values.keys() == metrics.keys(), (machine, slot)
            for metric, value in values.items():
                right = metrics[metric](slot)
                limit = 0.5 if metric.endswith("_pct") else abs(right) * 0.01
                assert value == pytest.approx(right, abs=limit), (machine, slot, metric)


@pytest.mark.parametrize("name", exporters.EVERY)
def test_each_slot_is_the_truth(told, address, name) -> None:
    meter = PromQL(address, exporters=(name,), settle_s=0)
    machines = {machine: number for number, machine in enumerate(told[name].truth, 1)}
    found: Slots = {}
    for readings in meter.readings(exporters.BEGIN, exporters.BEGIN + timedelta(seconds=len(SLOTS) * 300), 300):
        got = pull(readings, machines, 300)
        assert set(got.unknown) <= {"gpu-6"}  # of `doubtful`
        assert not got.refused, got.refused
        for slot, values in figures(got.samples, SLOTS.start, SLOTS.stop).items():
            found.setdefault(slot, {}).update(values)
    compare(found, told[name].truth)
    assert {query.proof for query in meter.queries()} == {QueryProof.DOCUMENTED}


@pytest.mark.parametrize(
    ("name", "labels"), [("windows", ["instance"]), ("ascend", ["instance"]), ("dcgm", ["Hostname", "hostname"])]
)
def test_what_such_an_exporters_store_pushes_is_the_truth_as_well(told, name, labels) -> None:
    machines = {machine: number for number, machine in enumerate(told[name].truth, 1)}

    def machine(series: Mapping[str, str]) -> int:
        return machines[next(series[one] for one in labels if one in series).partition(":")[0]]

    every = list(told[name].series.values())
    compare(pushed(every, machine, SLOTS.start, SLOTS.stop, 300), told[name].truth)


def test_an_exporter_has_proof_of_what_it_was_tried_with() -> None:
    proofs = {name: one.proof for name, one in EXPORTERS.items()}
    documented = dict.fromkeys(exporters.EVERY, QueryProof.DOCUMENTED)
    assert proofs == dict.fromkeys(("node", "libvirt", "blackbox"), QueryProof.EXPORTER) | documented
    assert all(version.proof == one.proof for one in EXPORTERS.values() for version in one.versions)


def test_where_people_name_the_label_versions_are_not_asked_twice(address) -> None:
    assert len(PromQL(address, exporters=("dcgm",)).exporters) == 3
    named = PromQL(address, exporters=("dcgm",), label="instance")
    assert [(named.by(one), "RATIO" in one.rows[0].query) for one in named.exporters] == [
        ("instance", False),
        ("instance", True),
    ]
    # Two machines answer under per cent, four under a ratio: the test of the connection counts all.
    end = exporters.BEGIN + timedelta(seconds=len(SLOTS) * 300)
    assert PromQL(address, exporters=("dcgm",)).probe(end).endswith("dcgm: 6")

    # Each version's readings answer its own query, and are told so when a source is tried out.
    meter = PromQL(address, exporters=("dcgm",), settle_s=0)
    slot = timedelta(seconds=exporters.STEP)
    answers = [
        (one, len(one.series)) for one in meter.readings(exporters.BEGIN, exporters.BEGIN + slot, exporters.STEP)
    ]
    assert [(one.origin, one.source, one.label) for one, _many in answers] == [
        (query.origin, query.source, label)
        for query, label in zip(meter.queries(), ("Hostname", "hostname", "hostname"), strict=True)
    ]
    assert [many for _one, many in answers] == [1, 1, 1]
