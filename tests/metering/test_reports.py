"""Reports: as of the end of their period, frozen as editions; another one says what changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, text

from metering.judging import policies
from metering.lake import Damaged
from metering.reports import (
    PeriodKind,
    ReportEdition,
    ReportInputs,
    ScopeKind,
    conduct,
    editions,
    periods,
    readings,
    scopes,
)
from metering.reports.differences import EditionDifference, differences
from providers import observation
from providers.assessment import rectifications
from providers.base import IncidentFact, Inventory, ResourceFact, ResourceState, Responsibility, ServiceKind
from providers.billing import incidents
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import Department, Pool, departments
from quota.errors import Invalid, NotAllowed, NotFound, Refused, WrongState
from quota.inventory import Resource
from quota.ledger import entries
from quota.seals import fingerprint
from quota.units import MEMORY, VCPU, Amount, Arch
from tests import books
from tests.city import GB, STATEMENTS, City
from tests.city.statements import at
from tests.conftest import Clock

APRIL = periods.period("2026-04")
ENDED = datetime(2026, 5, 2, 2, tzinfo=UTC)
LATER = datetime(2026, 6, 9, 2, tzinfo=UTC)


# --- the days ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "first", "last", "kind", "before", "year_before"),
    [
        ("2026-10", "2026-10-01", "2026-10-31", PeriodKind.MONTH, "2026-09", "2025-10"),
        ("2028-02", "2028-02-01", "2028-02-29", PeriodKind.MONTH, "2028-01", "2027-02"),
        ("2026-01", "2026-01-01", "2026-01-31", PeriodKind.MONTH, "2025-12", "2025-01"),
        ("2026Q1", "2026-01-01", "2026-03-31", PeriodKind.QUARTER, "2025Q4", "2025Q1"),
        ("2026H2", "2026-07-01", "2026-12-31", PeriodKind.HALF, "2026H1", "2025H2"),
        ("2026", "2026-01-01", "2026-12-31", PeriodKind.YEAR, "2025", "2025"),
        ("2026-09-15..2026-10-14", "2026-09-15", "2026-10-14", PeriodKind.RANGE, "2026-08-16..2026-09-14",
         "2025-09-15..2025-10-14"),
        ("2028-02-29..2028-03-02", "2028-02-29", "2028-03-02", PeriodKind.RANGE, "2028-02-26..2028-02-28",
         "2027-02-28..2027-03-02"),
    ],
)  # fmt: skip
def test_a_period_is_read_named_and_compared(code, first, last, kind, before, year_before):
    found = periods.period(code)
    assert (found.first.isoformat(), found.last.isoformat(), found.kind, found.code) == (first, last, kind, code)
    assert (found.before().code, found.year_before().code) == (before, year_before)


def test_other_ways_to_write_a_period():
    assert periods.period("2026-q3") == periods.period("2026Q3")
    assert periods.period("2026-10-01..2026-10-31").code == "2026-10"
    assert periods.period("2025-11-01..2026-01-31").kind is PeriodKind.RANGE  # three months, and no quarter
    assert periods.period("2025-11-20..2026-01-03").months() == ["2025-11", "2025-12", "2026-01"]


@pytest.mark.parametrize(
    "text", ["", "2026-13", "2026Q5", "26-10", "2026-10-31..2026-10-01", "2026-02-30..2026-03-01", "2020-01-01..2026-01-01", "２０２６"]
)  # fmt: skip
def test_what_is_no_period_is_refused(text):
    with pytest.raises(Invalid):
        periods.period(text)


# --- differences ---------------------------------------------------------------------------------------------------


def test_differences_name_section_row_and_figure():
    before = {
        "use": {"whole": {"cpu": 1.5}},
        "months": [{"month": "2026-04", "proven": 1, "closed": False}],
        "layout": 1,
    }
    after = {
        "use": {"whole": {"cpu": 1.6}},
        "months": [{"month": "2026-04", "proven": 3, "closed": False}],
        "layout": 2,
    }
    assert differences(before, after) == [
        EditionDifference("use", "", "whole.cpu", 1.5, 1.6),
        EditionDifference("months", "2026-04", "proven", 1, 3),
    ]
    assert differences(before, before) == []


def test_a_section_that_another_release_tells_corrects_nothing():
    before = {"scale": {"machines": 3}, "gone": {"n": 1}}
    assert differences(before, {"scale": {"machines": 3}, "adaptation": {"pools": [{"pool": "A", "ipv6": 1}]}}) == []
    (one,) = differences(before, {"scale": {"machines": 4}, "adaptation": {"n": 2}})
    assert (one.section, one.before, one.after) == ("scale", 3, 4)


def test_rows_that_came_and_went_are_differences():
    before = {"payers": [{"department": "甲", "proven": 5}], "orders": {"buckets": [["1–3", 2]]}}
    after = {"payers": [{"department": "乙", "proven": 5}], "orders": {"buckets": [["1–3", 2], ["4–10", 1]]}}
    assert differences(before, after) == [
        EditionDifference("payers", "乙", "proven", None, 5),
        EditionDifference("orders", "", "buckets.4–10", None, 1),
        EditionDifference("payers", "甲", "proven", 5, None),
    ]


# --- editions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def city(book: Book, tmp_path: Path) -> City:
    """Two departments with a machine each through April, d1's priced and reporting in 700 of 720 hours, d2's silent."""
    return fill(book, tmp_path)


def fill(book: Book, home: Path, second: str = "d2") -> City:
    clock = Clock(datetime(2026, 3, 20, 2, tzinfo=UTC))
    book.clock = clock
    made = City(book, clock, replace(STATEMENTS, judged=False), home)
    with book.transaction(steward()) as tx:
        departments.rename(tx, tx.get_one(Department, made.second), second)
        pool = made.pools["jia"]
        what = Amount({VCPU: 64, MEMORY: 256 * GB}).of_arch(_arch(tx, pool))
        entries.provision(tx, pool, what, key="p")
        entries.grant(tx, pool, made.first, {one: amount // 4 for one, amount in what.items()}, key="g1")
        policies.seed(tx)
    clock.now = at(1)
    made.list("jia", at(-30), web={VCPU: 4, MEMORY: 8 * GB})
    made.list("yi", at(-30), db={VCPU: 2, MEMORY: 4 * GB})
    with book.transaction(steward()) as tx:
        for name, department in (("web", made.first), ("db", made.second)):
            tx.scalars(select(Resource).where(Resource.external_id == name)).one().department_id = department
    made.report("web", range(700))
    made.price(VCPU, "46")
    made.price(MEMORY, "18")
    clock.now = ENDED
    made.make()
    return made


def _arch(tx, pool_id):
    return Arch(tx.get_one(Pool, pool_id).arch)


def make(city: City, scope: str = "city", **more) -> ReportEdition:
    return editions.make(city.works, scope, more.pop("period", APRIL), actor=more.pop("actor", steward("test")), **more)


def inputs(city: City, edition: ReportEdition) -> dict:
    with city.book.reading() as tx:
        return tx.get_one(ReportInputs, edition.inputs_digest).document()


def go_on(city: City) -> None:
    """What happens after April: a rename, another size, a grant, a new policy, a price that was wrong, new people's work."""
    city.clock.now = LATER
    with city.book.transaction(steward()) as tx:
        departments.rename(tx, tx.get_one(Department, city.first), "改名后的单位")
        entries.grant(
            tx, city.pools["jia"], city.first, Amount({VCPU: 8}).of_arch(_arch(tx, city.pools["jia"])), key="g2"
        )
    with city.book.transaction(city.authority) as tx:
        old = policies.in_force(tx, LATER.date())
        policies.amend(
            tx,
            old.name,
            replace(old.rules(), reply_days=old.rules().reply_days + 1),
            effective_from=LATER.date() + timedelta(days=30),
            reason="新策略",
        )
    city.list("jia", LATER, web={VCPU: 16, MEMORY: 64 * GB}, new={VCPU: 4, MEMORY: 8 * GB})
    city.list("yi", LATER)
    city.price(VCPU, "40", reason="录入有误")
    city.make()


def test_it_is_as_of_its_end_whatever_happened_since(city):
    first = make(city)
    told = inputs(city, first)
    assert told["scale"]["at"]["end"]["amounts"] == {"memory": 12 * GB, "vcpu": 6}
    assert told["use"]["whole"]["machines"] == 2
    assert {one["what"]: one["count"] for one in told["unknown"]} == {
        "systemless": 2, "silent": 1, "uncovered": 1, "unclosed": 1, "unassessed": 1,
    }  # fmt: skip
    (month,) = told["months"]
    assert (month["proven"], month["revision"]) == (17889 + 14000, 1)
    go_on(city)
    assert make(city).id == first.id
    # The same known until then, gathered anew from a book that has gone on: the same document.
    with city.book.reading(one_moment=True) as tx:
        frame = editions._frame(tx, str(city.lake.root), scopes.scope(tx, "city"), APRIL, first.known_at)
        again = editions.gather(frame)
    assert differences(told, again) == []
    assert fingerprint(again) == first.inputs_digest


def test_what_was_listed_after_the_period_belongs_to_the_first_that_was_found_for_it(city):
    """The first report of a house, of the month before it was founded: its machines are in it by what their cloud says of them."""
    city.clock.now = LATER
    born = ResourceFact(
        "old", "old", ServiceKind.VM, Arch.AARCH64, {VCPU: 2, MEMORY: 4 * GB}, ResourceState.RUNNING, created_at=at(3)
    )
    kept = replace(born, external_id="web", name="web", amounts={VCPU: 4, MEMORY: 8 * GB}, created_at=None)
    with city.book.transaction(steward()) as tx:
        observation.observe(tx, tx.get_one(Pool, city.pools["jia"]), Inventory(LATER, [kept, born]))
        old = tx.scalars(select(Resource).where(Resource.external_id == "old")).one()
    before = inputs(city, make(city))
    assert {one["what"]: one["count"] for one in before["unknown"]}["ownerless"] == 1
    for day, department in ((1, city.second), (2, city.first)):
        city.clock.now = LATER + timedelta(days=day)
        with city.book.transaction(steward()) as tx:
            inventory.reassign(tx, [old.id], department, source="test")
    after = inputs(city, make(city, anew=True, reason="使用单位已确定"))
    assert "ownerless" not in {one["what"] for one in after["unknown"]}
    assert {one["department"]: one["machines"] for one in after["owners"]} == {"d1": 1, "d2": 2}


def test_another_edition_shows_late_samples_and_says_what_changed(city):
    first = make(city)
    with pytest.raises(Invalid, match=r"report\.reason"):
        make(city, anew=True)
    assert make(city, anew=True, reason="核对").id == first.id  # nothing has changed
    city.clock.now = LATER
    city.report("web", range(700, 720), cpu=80.0)
    city.make()
    assert make(city).id == first.id
    second = make(city, anew=True, reason="补采 4 月末样本")
    assert (second.number, second.reason) == (2, "补采 4 月末样本")
    with city.book.reading() as tx:
        changed = editions.changes(tx, tx.get_one(ReportEdition, second.id))
        assert editions.changes(tx, tx.get_one(ReportEdition, first.id)) == []
        assert [one.number for one in editions.of_report(tx, ScopeKind.CITY, 0, APRIL)] == [2, 1]
    figures = {(one.section, one.figure) for one in changed}
    assert ("use", "whole.cpu") in figures
    assert ("months", "proven") in figures
    assert {one.section for one in changed} <= {"use", "months", "kinds", "payers", "unknown", "ranking"}
    assert inputs(city, first) != inputs(city, second)


def forget(book: Book) -> None:
    """The book without its editions and what they rest on, as no verb leaves it."""
    tables = ("report_editions", "report_inputs")
    with book.engine.begin() as connection:
        for table in tables:
            if connection.dialect.name == "sqlite":
                guards = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :of")
                for name in connection.execute(guards, {"of": table}).scalars().all():
                    connection.execute(text(f'DROP TRIGGER "{name}"'))
            else:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for table in tables:
            connection.execute(text(f"DELETE FROM {table}"))


def test_an_edition_is_made_again_from_what_was_kept_where_the_book_has_lost_it(city):
    """After late samples, which the lake shows and the first edition must not."""
    city.clock.now = city.clock.now.replace(microsecond=437_000)
    first = make(city)
    assert first.known_at.microsecond == 0, "as it is printed"
    told = inputs(city, first)
    city.clock.now = LATER
    city.report("web", range(700, 720), cpu=80.0)
    city.make()
    second = make(city, anew=True, reason="补采")
    kept = [inputs(city, one)["rests_on"]["readings"] for one in (first, second)]
    folder = city.lake.root / readings.FOLDER
    assert sorted(one.name for one in folder.iterdir()) == sorted(one["file"] for one in kept)
    with city.book.reading() as tx:
        assert list(editions.check_readings(tx, city.lake.root, [first.id, second.id])) == []
    forget(city.book)
    again = make(city, known_at=first.known_at)
    assert (again.number, again.inputs_digest, inputs(city, again)) == (1, first.inputs_digest, told)
    more = make(city, anew=True, reason="补采", known_at=second.known_at)
    assert (more.number, more.inputs_digest) == (2, second.inputs_digest)
    # Without its file it is another: of the days as they are now.
    forget(city.book)
    (folder / kept[0]["file"]).unlink()
    assert make(city, known_at=first.known_at).inputs_digest != first.inputs_digest


@pytest.mark.parametrize(("spoil", "said"), [(True, "does not match its digest"), (False, "is missing")])
def test_a_file_that_an_edition_rests_on_is_checked(city, spoil, said):
    first = make(city)
    path = city.lake.root / readings.FOLDER / inputs(city, first)["rests_on"]["readings"]["file"]
    if spoil:
        path.write_bytes(path.read_bytes()[:-9] + b"nonsense!")
    else:
        path.unlink()
    with city.book.reading() as tx:
        (line,) = editions.check_readings(tx, city.lake.root, [first.id])
    assert line == f"report_editions: {first.id}: editions/{path.name} {said}"
    if spoil:
        forget(city.book)
        with pytest.raises(Damaged, match=path.name):
            make(city, known_at=first.known_at)


def test_a_departments_own_reads_nothing_of_others(city):
    own = inputs(city, make(city, "department:d1"))
    rows = pq.read_table(city.lake.root / readings.FOLDER / own["rests_on"]["readings"]["file"]).column("resource")
    with city.book.reading() as tx:
        web = tx.scalars(select(Resource.id).where(Resource.external_id == "web")).one()
    assert set(rows.to_pylist()) == {web}
    assert own["scale"]["at"]["end"]["amounts"] == {"memory": 8 * GB, "vcpu": 4}
    assert own["bills"] == own["cards"] == own["ranking"] == own["outlooks"] == []
    assert {one["department"] for one in own["owners"]} == {"d1"}
    assert all(one["installed"] is None for one in own["allocations"])
    assert not {"d2", "yi", "yi云", "db"} & set(re.findall(r"[\w云]+", str(own)))
    # Whatever the other does, the same.
    city.report("db", range(720))
    city.make()
    with city.book.reading(one_moment=True) as tx:
        frame = editions._frame(tx, str(city.lake.root), scopes.scope(tx, "department:d1"), APRIL, city.clock())
        again = editions.gather(frame)
    ignored = {"revision", "digest"}
    assert [one for one in differences(own, again) if one.figure not in ignored] == []
    other = inputs(city, make(city, "department:d2"))
    assert other["allocations"] == []
    assert other["scale"]["at"]["end"]["amounts"]["vcpu"] == 2


def test_a_companys_own_has_its_pools_alone(city):
    own = inputs(city, make(city, "provider:jia"))
    assert own["scope"] == {"code": "jia", "kind": "provider", "name": "jia云"}
    assert {one["pool"] for one in own["allocations"]} == {"jia"}
    assert own["scale"]["at"]["end"]["resources"] == 1


def test_what_was_ordered_to_be_put_right_is_told_as_it_stood(city):
    """Two orders due on 8 May: one proven in time, one after the eleventh."""
    operator = Actor("jia1", "甲", Role.PROVIDER, provider_id=city.jia_company.id)
    numbers = []
    for name in ("A", "B"):
        with city.book.transaction(steward()) as tx:
            begun = tx.now - timedelta(hours=5)
            told = IncidentFact(name, 2, "登录缓慢", begun, begun, begun, Responsibility.PROVIDER)
            incident = incidents.report(tx, tx.get_one(Pool, city.pools["jia"]), told)
        with city.book.transaction(city.authority) as tx:
            incidents.settle(tx, incident.id, 1, Responsibility.PROVIDER, "监测记录")
        with city.book.transaction(city.supervisor) as tx:
            about = f"incident:{incident.id}"
            numbers.append(rectifications.order(tx, about, name, "扩容", date(2026, 5, 8)).id)
        with city.book.transaction(operator) as tx:
            rectifications.plan(tx, numbers[-1], None, "方案")
    for number, moment in zip(numbers, (ENDED + timedelta(days=3), ENDED + timedelta(days=12)), strict=True):
        city.clock.now = moment
        with city.book.transaction(operator) as tx:
            rectifications.prove(tx, number, None, "证明")
    city.clock.now = LATER

    def told_of(days: str, whose: str = "provider:jia") -> list[tuple]:
        with city.book.reading(one_moment=True) as tx:
            frame = editions._frame(tx, "", scopes.scope(tx, whose), periods.period(days), None)
            found = conduct.rectifications(frame)
            return [(one["about"], one["due"], one["stands"], one["in_time"]) for one in found]

    day = "2026-05-08"
    assert told_of("2026-05-01..2026-05-04") == [("A", day, "planned", None), ("B", day, "planned", None)]
    assert told_of("2026-05-01..2026-05-11", "city") == [("A", day, "proven", True), ("B", day, "planned", False)]
    assert told_of("2026-05-12..2026-05-31") == [("A", day, "proven", True), ("B", day, "proven", False)]
    assert told_of("2026-04") == told_of("2026-05", "provider:yi") == told_of("2026-05", "department:d1") == []


def test_who_may_make_and_who_may_read(city):
    mine, whole = make(city, "department:d1"), make(city)
    company = make(city, "provider:jia")
    tenant = Actor("li", "李", Role.TENANT, department_id=city.first)
    other = Actor("lu", "陆", Role.TENANT, department_id=city.second)
    staff = Actor("jia1", "甲", Role.PROVIDER, provider_id=city.jia_company.id)
    for actor in (tenant, staff, Actor("x", "x", Role.AUDITOR), Actor("s", "s", Role.SYSADMIN)):
        with pytest.raises(NotAllowed):
            make(city, actor=actor)
    seen = {
        tenant: {mine.id}, other: set(), staff: {company.id}, Actor("z", "z", Role.AUDITOR): {mine.id, whole.id, company.id},
        Actor("s", "s", Role.SYSADMIN): set(),
    }  # fmt: skip
    for actor, ids in seen.items():
        with city.book.reading(actor) as tx:
            own = scopes.visible(tx, actor, ReportEdition.scope, ReportEdition.scope_id)
            assert set(tx.scalars(select(ReportEdition.id).where(own))) == ids
            for one in (mine, whole, company):
                if one.id not in ids:
                    with pytest.raises(NotFound):
                        editions.edition(tx, one.id)


@pytest.mark.parametrize(
    ("scope", "period", "known_at", "refusal"),
    [
        ("city", "2026-05", None, WrongState),
        ("city:1", "2026-04", None, Invalid),
        ("department", "2026-04", None, Invalid),
        ("pool:jia", "2026-04", None, Invalid),
        ("department:nobody", "2026-04", None, NotFound),
        ("city", "2026-04", datetime(2026, 4, 30, 0, tzinfo=UTC), Invalid),
        ("city", "2026-04", datetime(2036, 5, 1, 0, tzinfo=UTC), Invalid),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_kept(small_city, scope, period, known_at, refusal):
    with pytest.raises(refusal):
        make(small_city, scope, period=periods.period(period), known_at=known_at)
    with small_city.book.reading() as tx:
        assert list(tx.scalars(select(ReportEdition))) == list(tx.scalars(select(ReportInputs))) == []


@pytest.fixture(scope="module")
def small_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city for what is refused, founded once."""
    home = tmp_path_factory.mktemp("refused")
    book = Book(books.sqlite(home / "book.db"))
    yield fill(book, home)
    book.dispose()


def test_an_empty_house_has_an_honest_report(book, tmp_path):
    clock = Clock(ENDED)
    book.clock = clock
    city = City(
        book,
        clock,
        replace(STATEMENTS, companies={}, pools={}, departments={"first": STATEMENTS.departments["first"]}),
        tmp_path,
    )
    told = inputs(city, make(city))
    assert told["scale"]["at"]["end"]["resources"] == 0
    assert told["use"]["whole"]["cpu"] is None
    assert {one["what"]: one["count"] for one in told["unknown"]} == {"unstated": 1, "unassessed": 1}


def test_two_who_make_it_at_once_make_one(city):
    first = make(city)
    with city.book.reading() as tx:
        document = inputs(city, first)
        whose = scopes.scope(tx, "city")
    with pytest.raises(Refused, match=r"report\.made_meanwhile"), city.book.transaction(city.supervisor) as tx:
        editions._keep(tx, whose, APRIL, document, city.clock(), "", after=0)


@pytest.mark.parametrize("changed", ['{"title": "forged"}', "not JSON"])
def test_inputs_that_were_changed_are_found(city, changed):
    digest = make(city).inputs_digest
    with city.book.reading() as tx:
        assert list(editions.check(tx)) == []
    with city.book.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER report_inputs_no_update"))
        else:
            connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text("UPDATE report_inputs SET content = :content"), {"content": changed})
    with city.book.reading() as tx:
        assert list(editions.check(tx)) == [f"report_inputs: row {digest} does not match its digest"]


def test_a_resource_that_was_off_is_there_and_one_that_is_gone_is_not(city):
    city.list("jia", at(200), web=({VCPU: 4, MEMORY: 8 * GB}, ResourceState.STOPPED))
    city.list("yi", at(300))
    city.clock.now = ENDED
    told = inputs(city, make(city))
    assert told["scale"]["at"]["end"]["resources"] == 1
    assert (told["scale"]["appeared"], told["scale"]["gone"]) == (0, 1)
