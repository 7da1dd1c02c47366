"""Statements on both databases: what was held, proven and priced; revisions, closing, corrections."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from metering.intake import late_figures
from metering.intake.late_figures import LateFigure
from metering.statements import closings, statements, tariffs
from metering.statements.tables import CORRECTION, USAGE, StatementLine
from metering.statements.tariffs import Per, Subject
from providers.base import ResourceState
from quota.actors import Actor, Role, steward
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.units import CRYPTOGRAPHY, EIP, MEMORY, VCPU, Arch
from tests.city import GB, STATEMENTS, City
from tests.city.statements import at

HOURS = 720
AUTHORITY = Actor("zhao", "赵", Role.AUTHORITY)
SUPERVISOR = Actor("wang", "王", Role.SUPERVISOR)


@pytest.fixture
def city(book, tmp_path, clock):
    return City(book, clock, STATEMENTS, tmp_path)


@pytest.fixture
def small(city):
    """One machine of 4 vCPU and 8 GB, reporting in the first 700 of 720 hours, priced by the month."""
    city.list("jia", at(-1), web={VCPU: 4, MEMORY: 8 * GB})
    city.report("web", range(700))
    city.price(VCPU, "46")
    city.price(MEMORY, "18")
    return city


def test_what_is_held_is_split_into_proven_and_unmeasurable(small):
    run = small.make()
    assert [(one.kind, one.allocated, one.proven) for one in small.lines(run)] == [
        ("memory", 8 * GB * HOURS * 3600, 8 * GB * 700 * 3600),
        ("vcpu", 4 * HOURS * 3600, 4 * 700 * 3600),
    ]
    memory, vcpu = small.lines(run)
    assert (vcpu.cost, vcpu.unmeasured_cost) == (Decimal("178.89"), Decimal("5.11"))  # 184 × 700/720, and the rest
    assert memory.cost == Decimal("140.00")
    assert run.proven_fen == 17889 + 14000
    assert run.unmeasured_fen == 511 + 400
    assert vcpu.days == [[0, 29], [28, 29], [4 * 86400] * 2, [4 * 86400, 4 * 4 * 3600]]


def test_a_size_that_changes_within_a_day_is_split_at_the_instant(small):
    small.list("jia", at(100.5), web={VCPU: 8, MEMORY: 8 * GB})
    vcpu = small.lines(small.make())[1]
    assert vcpu.allocated == (4 * 100 * 3600 + 4 * 1800) + 8 * (HOURS * 3600 - 100 * 3600 - 1800)


def test_a_machine_that_is_off_is_charged_its_share(small):
    small.price(VCPU, "46", per=Per.MONTH, stopped_share=50, reason="关机半价")
    small.list("jia", at(360), web=({VCPU: 4, MEMORY: 8 * GB}, ResourceState.STOPPED))
    lines = [one for one in small.lines(small.make()) if one.kind == "vcpu"]
    assert [(one.stopped, one.allocated // 3600, one.cost) for one in lines] == [
        (False, 4 * 360, Decimal("92.00")),
        (True, 4 * 360, Decimal("43.44")),  # 340 of 360 hours proven, at half the price
    ]


def test_listings_a_day_apart_prove_what_sends_no_samples(city):
    for day in range(4):
        city.list("jia", at(24 * day), vault={CRYPTOGRAPHY: 1})
    city.list("jia", at(24 * 10), vault={CRYPTOGRAPHY: 1})
    line = city.lines(city.make())[0]
    assert line.proven == 72 * 3600 < line.allocated
    assert line.cost is None
    assert line.tariff_id is None


def test_a_deleted_resource_is_charged_until_the_listing_that_lacks_it(small):
    small.list("jia", at(300))
    vcpu = small.lines(small.make())[1]
    assert vcpu.allocated == 4 * 300 * 3600


def test_the_same_result_is_the_same_run(small):
    assert small.make().id == small.make().id


def test_a_corrected_tariff_makes_a_new_run_that_shows_each_difference(small):
    first = small.make()
    small.price(VCPU, "40", reason="录入有误")
    second = small.make()
    assert (second.revision, second.proven_fen - first.proven_fen) == (2, 15556 - 17889)
    with small.book.reading() as tx:
        found = statements.differences(tx, first, second)
    assert [(one.kind, one.change("proven"), one.change("cost_fen")) for one in found] == [("vcpu", 0, -2333)]


def test_a_price_that_changes_within_the_month_splits_the_line(small):
    small.price(VCPU, "60", date(2026, 4, 16))
    lines = [one for one in small.lines(small.make()) if one.kind == "vcpu"]
    assert [(one.first_day, one.last_day, one.cost) for one in lines] == [
        (0, 14, Decimal("92.00")),
        (15, 29, Decimal("113.33")),  # 4 × 60 × 340/720
    ]


@pytest.mark.parametrize("sealed", [True, False])
def test_a_closed_month_is_never_changed_and_late_samples_become_corrections(small, sealed):
    run = small.make()
    if sealed:
        closing = statements.settle(small.works, "2026-04", run_id=run.id, actor=AUTHORITY)
        assert small.lake.sealed() == {"2026-04"}
    else:
        closing = small.close(run)
    assert closing.invoices == {"2026-04-jia": 31889}
    small.report("web", range(700, 720))
    assert small.make().id == run.id
    small.clock.advance(days=31)
    small.list("jia", small.clock.now, web={VCPU: 4, MEMORY: 8 * GB})
    may = small.make("2026-05")
    found = [one for one in small.lines(may) if one.charge == CORRECTION]
    assert [(one.kind, one.corrects, one.proven, one.cost_fen, one.unmeasured_fen) for one in found] == [
        ("memory", "2026-04", 8 * GB * 20 * 3600, 400, -400),
        ("vcpu", "2026-04", 4 * 20 * 3600, 511, -511),
    ]
    assert may.correction_fen == 911
    small.close(may)
    small.clock.advance(days=31)
    june = small.make("2026-06")
    assert [one for one in small.lines(june) if one.charge == CORRECTION] == []  # billed once


def test_what_comes_for_a_closed_month_is_entered_figure_by_figure_and_once(small):
    """Two sources, the second of which contradicts the first; a third says what is known already."""
    statements.settle(small.works, "2026-04", run_id=small.make().id, actor=AUTHORITY)
    assert late_figures.enter(small.works) == 0
    web = small.id("web")

    def late(source, *told):
        moments, figures = zip(*told, strict=True)
        ts = [int(at(hour).timestamp()) for hour in moments]
        small.lake.append(source, pa.table({"resource": [web] * len(ts), "ts": ts, "cpu_pct": list(figures)}))

    def rows():
        with small.book.reading() as tx:
            query = select(LateFigure).order_by(LateFigure.id)
            return [
                (one.day, one.metric, one.source, one.samples_before, one.samples_after, one.mean_before, one.mean_after,
                 one.peak_after, one.first_at, one.last_at)
                for one in tx.scalars(query)
            ]  # fmt: skip

    day, silent = date(2026, 4, 30), date(2026, 4, 30)
    late("east", (710, 50.0), (711, 70.0))
    assert late_figures.enter(small.works) == 2
    late("west", (711, 80.0))
    late("east", (711, 80.0))
    assert late_figures.enter(small.works) == 1
    assert late_figures.enter(small.works) == 0
    known = [10.0 + n % 7 for n in range(696, 700)]
    span = (at(710), at(711) + timedelta(minutes=5))
    before, then, now = (round(sum(told) / len(told), 4) for told in (known, [*known, 50, 70], [*known, 50, 80]))
    assert sorted(rows()[:2]) == [
        (day, "cpu_pct", "east", 4, 6, before, then, 70.0, *span),
        (silent, "samples", "east", 4, 6, None, None, None, *span),
    ]
    assert rows()[2:] == [(day, "cpu_pct", "west", 6, 6, then, now, 80.0, at(711), span[1])]
    with pytest.raises(DBAPIError), small.book.transaction(steward()) as tx:
        tx.connection().execute(text("DELETE FROM late_figures"))
    late("north", (711, 90.0))
    (last,) = [one for one in small.lake.corrections() if one.source == "north"]
    kept = last.path.read_bytes()
    last.path.write_bytes(kept[:-50])
    assert late_figures.enter(small.works) == 0, "a damaged delivery holds up no job"
    last.path.write_bytes(kept)
    assert late_figures.enter(small.works) == 1


def test_months_are_closed_in_order_once_and_by_the_authority(small):
    run = small.make()
    with pytest.raises(NotAllowed), small.book.transaction(SUPERVISOR) as tx:
        statements.close(tx, "2026-04", run_id=run.id)
    small.close(run)
    with pytest.raises(Conflict), small.book.transaction(AUTHORITY) as tx:
        statements.close(tx, "2026-04", run_id=run.id)
    with pytest.raises(WrongState), small.book.transaction(AUTHORITY) as tx:
        closings.close(tx, "2026-06", 99, {})
    small.clock.advance(days=70)
    with pytest.raises(Conflict), small.book.transaction(AUTHORITY) as tx:
        closings.close(tx, "2026-06", 99, {})
    with small.book.reading() as tx:
        assert closings.corrected_in(tx) == "2026-05"
        assert closings.closing(tx, "2026-04") is not None


def test_a_line_changed_behind_its_back_is_named(small):
    run = small.make()
    with small.book.reading() as tx, tx.no_autoflush:
        assert list(statements.check(tx, [run.id])) == []
        found = statements.latest(tx, run.month)
        found.digest = "0" * 64  # as if what it seals were other lines
        assert [f"row {run.id} ({run.month})" in told for told in statements.check(tx, [run.id])] == [True]


def test_invoices_changed_behind_their_back_are_named(small):
    run = small.make()
    small.close(run)
    with small.book.reading() as tx, tx.no_autoflush:
        assert list(statements.check_closings(tx)) == []
        (closed,) = closings.closings(tx)
        assert closed.invoices
        closed.invoices = {number: fen + 1 for number, fen in closed.invoices.items()}
        assert [run.month in told for told in statements.check_closings(tx)] == [True]
        closed.run_id = 99
        assert ["names run 99" in told for told in statements.check_closings(tx)] == [True]


def test_what_was_looked_at_is_what_is_closed(small):
    first = small.make()
    small.price(VCPU, "40", reason="录入有误")
    small.make()
    with pytest.raises(Invalid), small.book.transaction(AUTHORITY) as tx:
        statements.close(tx, "2026-04", run_id=first.id)


def test_each_sees_its_own(small):
    small.list("yi", at(-1), other={VCPU: 2})
    run = small.make()
    provider = Actor("zhou", "周", Role.PROVIDER, provider_id=2)
    tenant = Actor("qian", "钱", Role.TENANT, department_id=small.departments[1].id)
    with small.book.reading() as tx:
        assert {one.provider_id for one in statements.lines_of(tx, run, statements.visible(tx, provider))} == {2}
        assert list(statements.lines_of(tx, run, statements.visible(tx, tenant))) == []


def test_lines_cannot_be_rewritten(small):
    small.make()
    for table in ("statement_lines", "statement_runs", "tariffs"):
        with pytest.raises(DBAPIError, match="append-only"), small.book.transaction(steward()) as tx:
            tx.connection().execute(text(f"UPDATE {table} SET id = id"))


def test_a_month_that_has_not_begun_has_no_statement(small):
    with pytest.raises(Invalid):
        small.make("2026-09")
    with pytest.raises(Invalid):
        small.make("2026-13")


def test_the_narrowest_then_latest_then_last_entered_tariff_holds(city):
    wide = city.price(VCPU, "10")
    later = city.price(VCPU, "11", date(2026, 3, 1))
    arm = city.price(VCPU, "9", arch=Arch.AARCH64)
    company = city.price(VCPU, "8", provider_id=1)
    fixed = city.price(VCPU, "8.5", provider_id=1, reason="更正")
    with city.book.reading() as tx:
        entered = tariffs.entered(tx)

        def held(arch, provider, day):
            found = tariffs.in_force(entered, Subject(VCPU, arch, provider), day)
            return found.id if found else None

        assert held(Arch.X86_64, 2, date(2025, 1, 1)) is None
        assert held(Arch.X86_64, 2, date(2026, 2, 1)) == wide
        assert held(Arch.X86_64, 2, date(2026, 4, 1)) == later
        assert held(Arch.AARCH64, 2, date(2026, 4, 1)) == arm
        assert held(Arch.AARCH64, 1, date(2026, 4, 1)) == fixed != company


@pytest.mark.parametrize(
    "more",
    [{"price": "-1"}, {"price": "NaN"}, {"price": "0.0000001"}, {"price": "1", "stopped_share": 101},
     {"price": "10000000"}],
)  # fmt: skip
def test_tariffs_that_make_no_sense_are_refused(city, more):
    with pytest.raises(Invalid):
        city.price(VCPU, **more)
    with pytest.raises(Invalid):
        city.price(EIP, "1", arch=Arch.AARCH64)


def test_a_correction_needs_a_reason_and_a_tariff_the_authority(city):
    city.price(VCPU, "10")
    with pytest.raises(Invalid):
        city.price(VCPU, "11")
    with pytest.raises(NotAllowed), city.book.transaction(SUPERVISOR) as tx:
        tariffs.enter(tx, VCPU, Decimal(1), date(2026, 1, 1))


def test_frozen_readings_prove_nothing(city):
    city.list("jia", at(-1), web={VCPU: 4})
    moments = [int(at(hour).timestamp()) + 300 * slot for hour in range(24) for slot in range(12)]
    city.lake.append(
        "agent",
        pa.table(
            {
                "resource": pa.array([city.id("web")] * len(moments), pa.int32()),
                "ts": pa.array(moments, pa.int64()),
                "cpu_pct": pa.array([37.25] * len(moments), pa.float64()),
                "net_rx_kbps": pa.array([512.5] * len(moments), pa.float64()),
            }
        ),
    )
    city.lake.roll()
    line = city.lines(city.make())[0]
    assert line.charge == USAGE
    assert line.proven == 0 < line.allocated


def test_a_month_under_way_is_counted_up_to_now(small):
    small.clock.now = datetime(2026, 6, 2, 16, tzinfo=UTC)
    small.list("jia", small.clock.now, web={VCPU: 4, MEMORY: 8 * GB})
    run = small.make("2026-06")
    assert {one.allocated for one in small.lines(run) if one.kind == "vcpu"} == {4 * 2 * 86400}
    with pytest.raises(Invalid), small.book.transaction(AUTHORITY) as tx:
        statements.close(tx, "2026-06", run_id=run.id)
    with small.book.reading() as tx:
        assert tx.scalar(select(StatementLine.id).limit(1)) is not None
