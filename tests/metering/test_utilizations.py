"""What is measured of what is booked: summed by the database as machine by machine, unknown figures left out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from metering.cases import recoveries
from metering.judging import findings, policies
from metering.judging.findings import Judged
from metering.judging.policy import Verdict
from metering.overview import utilizations
from quota.calendar import ZONE
from quota.units import ACCELERATOR, MEMORY, VCPU, Amount, Arch, ClassCode, Commodity

GB = 1024
ABOUT = [  # vCPU, memory, figures of the longest window
    (4, 8 * GB, {"cpu_mean": 50.0, "cpu_coverage": 0.5, "mem_mean": 10.0, "mem_coverage": 1.0}),
    (12, 24 * GB, {"cpu_mean": 10.0, "cpu_coverage": 1.0, "mem_mean": None, "mem_coverage": 0.9}),
    (8, 16 * GB, {"cpu_mean": None, "cpu_coverage": 0.9, "mem_mean": 30.0, "mem_coverage": 0.0}),
    (2, 4 * GB, {}),
]


@pytest.fixture
def judged(city):
    """The machines above, judged; the last is nobody's."""
    machines = [
        city.machine({VCPU: vcpu, MEMORY: memory}, **({"department_id": None} if number == len(ABOUT) - 1 else {}))
        for number, (vcpu, memory, _figures) in enumerate(ABOUT)
    ]
    with city.by() as tx:
        rows = [
            Judged(
                one,
                Verdict.IDLE,
                0.9,
                {"windows": {"7": {"cpu_mean": 99.0, "cpu_coverage": 1.0}, "30": figures}},
                [],
                Amount({VCPU: vcpu, MEMORY: memory}),
                None,
                Amount({VCPU: vcpu, MEMORY: memory}),
            )
            for one, (vcpu, memory, figures) in zip(machines, ABOUT, strict=True)
        ]
        last = tx.now.astimezone(ZONE).date() - timedelta(days=1)
        version = policies.version(tx, city.policy)
        run = findings.record(tx, version, last - timedelta(days=29), last, tx.now, "by hand", rows)
        return run.id


def test_utilisation_is_weighed_by_what_each_machine_has(city, judged):
    with city.book.reading() as tx:
        found = utilizations.measured(tx, apart=True)
        cpu = found.of[city.pool, city.department, VCPU]
        assert (cpu.total, cpu.measured) == (24, 16)
        assert cpu.mean == pytest.approx((4 * 50 + 12 * 10) / 16)
        assert cpu.coverage == pytest.approx(100 * (4 * 0.5 + 12 * 1.0) / 24)
        memory = found.of[city.pool, city.department, MEMORY]
        assert (memory.total, memory.measured, memory.mean) == (48 * GB, 8 * GB, pytest.approx(10.0))
        unknown = found.of[city.pool, 0, VCPU]
        assert (unknown.total, unknown.mean, unknown.coverage) == (2, None, 0)
        assert (city.pool, city.department, ACCELERATOR) not in found.of


def test_a_class_is_found_by_its_code_whoever_names_it(city, judged):
    with city.book.reading() as tx:
        use = utilizations.measured(tx)
        assert use.total(ClassCode("".join(VCPU))).mean == use.total(VCPU).mean is not None


def test_what_could_be_recovered_is_summed(city, judged):
    with city.book.reading() as tx:
        run = findings.assessment(tx, judged)
        assert recoveries.recoverable_by_kind(tx, run) == {VCPU: 26, MEMORY: 52 * GB}
        assert recoveries.recoverable(tx, run) == {
            Commodity.of(VCPU, Arch.X86_64): 26,
            Commodity.of(MEMORY, Arch.X86_64): 52 * GB,
        }
