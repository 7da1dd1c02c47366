"""What an assessment keeps of wholes is what a plain count over its findings says, machine by machine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import joinedload

from console.pages.requests import evidence
from console.settings import Settings
from metering.cases import Case, recoveries
from metering.judging import (
    RECLAIMABLE,
    TAKES,
    Assessment,
    Finding,
    JudgedWhole,
    MeasuredUse,
    WholeLevels,
    findings,
    wholes,
    worth,
)
from metering.judging.wholes import longest
from metering.overview import Utilization, gains, measured, most_reclaimable, systems
from quota.actors import steward
from quota.db import Book, Tx
from quota.directory import Department, System
from quota.units import MEMORY, VCPU, Amount, Arch, ClassCode, Commodity


@pytest.fixture
def tx(demo_home: Path) -> Iterator[Tx]:
    """The demo city, its wholes summed up as of now: what moved since the night stands otherwise in what was kept then."""
    book = Book(Settings(data=demo_home).database_url)
    try:
        with book.trial(steward()) as tx:
            for model in (MeasuredUse, JudgedWhole):
                tx.execute(delete(model))
            findings.sum_up(tx)
            yield tx
    finally:
        book.dispose()


def judged(tx: Tx) -> tuple[Assessment, list[Finding]]:
    run = findings.last_run(tx)
    assert run is not None
    query = select(Finding).where(Finding.assessment_id == run.id).options(joinedload(Finding.resource))
    return run, list(tx.scalars(query))


def plain(rows: list[Finding]) -> dict[tuple[int, int, ClassCode], Utilization]:
    found: dict[tuple[int, int, ClassCode], Utilization] = defaultdict(Utilization)
    for one in rows:
        if one.resource.gone_at is None:
            window = one.numbers["windows"][max(one.numbers["windows"], key=int)]
            for kind, (mean_of, coverage_of) in wholes.FIGURES.items():
                amount, mean, coverage = one.resource.amounts.get(kind, 0), window.get(mean_of), window.get(coverage_of)
                if amount:
                    known = mean is not None and bool(coverage)
                    used = Utilization(amount * mean, amount, amount * coverage) if known else Utilization()
                    used.total = amount
                    found[one.resource.pool_id, one.resource.department_id or 0, kind].join(used)
    return found


def near(one: Utilization) -> tuple[object, ...]:
    return one.measured, one.total, pytest.approx(one.load), pytest.approx(one.covered)


def test_utilisation(tx: Tx) -> None:
    _run, rows = judged(tx)
    counted = plain(rows)
    assert len(counted) > 20
    of = measured(tx, apart=True).of
    assert {key: (one.measured, one.total, one.load, one.covered) for key, one in of.items()} == {
        key: near(one) for key, one in counted.items()
    }
    (pool, department, _kind), _one = max(counted.items(), key=lambda item: item[1].total)
    narrow = measured(tx, pools=[pool], departments=[department]).total(VCPU)
    assert narrow.total == counted[pool, department, VCPU].total
    assert measured(tx, pools=[pool]).total(MEMORY).total == sum(
        one.total for (where, _whose, kind), one in counted.items() if (where, kind) == (pool, MEMORY)
    )
    by_system = Counter[int]()
    for one in rows:
        if one.resource.gone_at is None and one.resource.system_id and one.resource.amounts.get(VCPU):
            by_system[one.resource.system_id] += one.resource.amounts[VCPU]
    assert {system: one.total for (system, kind), one in gains(tx).systems.items() if kind == VCPU} == by_system
    system_id, cores = by_system.most_common(1)[0]
    assert measured(tx, systems=[system_id]).total(VCPU).total == cores


def test_what_could_be_recovered(tx: Tx) -> None:
    run, rows = judged(tx)
    counted = Counter[object]()
    for one in rows:
        for cls, figure in Amount.from_json(one.recoverable).of_arch(Arch(one.resource.arch)).items():
            counted[cls] += figure
    assert recoveries.recoverable(tx, run) == counted
    assert counted
    whole = Amount.total(Amount.from_json(one.recoverable) for one in rows)
    assert recoveries.recoverable_by_kind(tx, run) == whole


def test_what_departments_have_measured_and_idle(tx: Tx) -> None:
    """What a decision is taken by, each department with those below it, and who could give back the most."""
    run, rows = judged(tx)
    parents = dict(tx.execute(select(Department.id, Department.parent_id)).all())
    theirs, freed = defaultdict(list), defaultdict(Counter[ClassCode])
    for one in rows:
        at = one.resource.department_id
        if at and one.resource.gone_at is None and one.verdict in ("idle", "underused"):
            freed[at].update(Amount.from_json(one.recoverable))
        while at is not None:
            theirs[at, one.resource.pool_id].append(one)
            at = parents[at]
    found = evidence.uses(tx, theirs.keys())
    assert sum(use.idle for use in found.values()) > 10
    for pair, of in theirs.items():
        machines = [one for one in of if VCPU in one.resource.amounts]
        known = [one for one in machines if (one.coverage or 0) >= 0.9 and longest(one.numbers, "cpu_mean") is not None]
        cores = [(longest(one.numbers, "cpu_p95"), one.resource.amounts[VCPU]) for one in known]
        idle = [one for one in of if one.recoverable and one.verdict in RECLAIMABLE]
        back = Counter[Commodity]()
        for one in idle:
            back.update(Amount.from_json(one.recoverable).of_arch(Arch(one.resource.arch)))
        use = found[pair]
        assert (use.run, use.machines, use.known, use.idle) == (run, len(machines), len(known), len(idle))
        assert use.recoverable == back
        weighed = (
            sum(value * amount for value, amount in cores) / sum(amount for _value, amount in cores) if cores else None
        )
        assert use.cpu_p95 == (weighed if weighed is None else pytest.approx(weighed))
        six = evidence.idle(tx, use, *pair, most=6)
        assert [one.id for one in six] == sorted(one.id for one in idle)[:6]
    ranked = sorted(((worth(Amount(what)), id_) for id_, what in freed.items()), reverse=True)[:8]
    assert [(worth(what), id_) for id_, what in most_reclaimable(tx, 8)] == ranked


def test_what_cases_recovered(tx: Tx) -> None:
    year = tx.now.replace(month=1, day=1)
    taken = [one.value for one in recoveries.TAKEN]
    under_way, recovered, given = Counter[Commodity](), Counter[Commodity](), Counter[Commodity]()
    cases = list(tx.scalars(select(Case).options(joinedload(Case.pool))))
    for one in cases:
        ended = one.closed_at is not None and one.closed_at >= year
        what = one.freed if one.closed_at else one.recoverable
        amounts = Amount.from_json(what).of_arch(Arch(one.pool.arch))
        if one.closed_at is None and one.kind in {kind.value for kind in TAKES}:
            under_way.update(amounts)
        elif ended and one.ending in taken:
            recovered.update(amounts)
        elif ended and one.ending == "expanded":
            given.update(amounts)
        elif ended and one.ending == "term_over" and one.effective_at is not None:  # lent, and back
            given.update(Amount.from_json(one.recoverable).of_arch(Arch(one.pool.arch)))
    found = recoveries.recoveries(tx, year)
    assert (found.under_way, found.recovered, found.given) == (under_way, recovered, given)
    assert recovered
    assert found.cases_recovered == sum(1 for one in cases if one.ending in taken and (one.closed_at or year) >= year)
    (all_year,) = recoveries.by_month(tx, [(year, year.replace(year=year.year + 1))])
    assert all_year == recovered


def test_systems_and_departments(tx: Tx) -> None:
    run, rows = judged(tx)
    parents = dict(tx.execute(select(Department.id, Department.parent_id)).all())
    by_system, by_department = defaultdict(list), defaultdict(list)
    for one in rows:
        by_system[one.resource.system_id].append(one)
        at = one.resource.department_id
        while at is not None:
            by_department[at].append(one)
            at = parents[at]
    for model, counted in ((System, by_system), (Department, by_department)):
        told = tx.execute(systems.of_run(run, model)).all()
        assert {one.id for one, _judged in told} == set(tx.scalars(select(model.id).where(model.active)))
        for one, kept in told:
            if kept is None:
                assert one.id not in counted
                continue
            again = systems.judge(counted[one.id])
            assert (kept.machines, kept.cores, kept.use, kept.classes) == (
                again.machines, again.cores, again.use(WholeLevels()), again.classes,
            )  # fmt: skip
            for name in ("cpu", "memory", "coverage"):
                value = getattr(again, name)
                assert getattr(kept, name) == (value if value is None else pytest.approx(value))
        counts = Counter("unknown" if kept is None else kept.use for _one, kept in told)
        assert systems.uses(tx, run, model) == {use.value: counts[use.value] for use in wholes.SystemUse}


def test_a_book_without_them_is_summed_up_as_if_it_had_been_judged_now(demo_home: Path) -> None:
    def kept(tx: Tx) -> list[list[str]]:
        tables = [model.__table__ for model in (MeasuredUse, JudgedWhole)]
        rows = [tx.execute(select(*(one for one in table.columns if one.name != "id"))) for table in tables]
        return [sorted(map(repr, each)) for each in rows]

    book = Book(Settings(data=demo_home).database_url)
    try:
        with book.trial(steward()) as tx:
            before = kept(tx)
            for model in (MeasuredUse, JudgedWhole):
                tx.execute(delete(model))
            findings.sum_up(tx)
            again = kept(tx)
            findings.sum_up(tx)
            assert kept(tx) == again
        for kept_then, kept_now in zip(before, again, strict=True):
            # What changed hands or shape since the night is a handful of machines.
            assert len(set(kept_then) ^ set(kept_now)) < len(kept_now) // 10
    finally:
        book.dispose()
