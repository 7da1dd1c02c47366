"""What a company owes its samples for: machines that run, not those that somebody switched off."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
from sqlalchemy import func, select

from console import scoring, worklist
from console.settings import Settings
from metering.intake import collection, completeness
from metering.judging import Verdict
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers import observation
from providers.assessment import ScorecardRecord, subjects
from providers.base import ProviderFault
from providers.observation import Listing
from quota.actors import steward
from quota.directory import Department, Person, System
from quota.directory.pools import CloudProvider, Pool
from quota.errors import WrongState
from quota.inventory import Resource, ResourceChange
from tests.city import CASES, City
from tests.city.plans import DepartmentPlan


def founded(book) -> tuple[int, int]:
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="c", name="某云")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="p", provider_id=company.id, arch="x86_64", zone="z", adapter="files")
        tx.add(pool)
        tx.flush()
        since = datetime(2026, 4, 1, tzinfo=UTC)
        one = Resource(pool_id=pool.id, external_id="i", kind="vm", arch="x86_64", state="running", first_seen_at=since)
        tx.add(one)
        tx.flush()
        for at, state in (
            (since, "running"),
            (datetime(2026, 5, 10, 4, tzinfo=UTC), "stopped"),  # noon of the 10th in the city
            (datetime(2026, 5, 11, 16, tzinfo=UTC), "running"),  # the first instant of the 12th
        ):
            tx.add(
                ResourceChange(
                    resource_id=one.id, what="state", at=at, seen_at=at, source="inventory", before={},
                    after={"state": state, "amounts": {"vcpu": 2}},
                )
            )  # fmt: skip
        return pool.id, one.id


def test_a_day_on_which_a_machine_was_off_is_not_due(book) -> None:
    pool, one = founded(book)
    with book.reading() as tx:
        assert completeness.off_days(tx, [pool], "2026-05") == {(one, date(2026, 5, 10)), (one, date(2026, 5, 11))}


def test_nothing_is_due_of_the_time_before_a_pool_was_first_listed(book, tmp_path) -> None:
    """Its machines may be as old as their cloud says: nobody asked its company for samples then."""
    pool, one = founded(book)
    works = Workbench(book, Lake(tmp_path / "lake"))
    noon = int(datetime(2026, 5, 1, 4, tzinfo=UTC).timestamp())
    told = {"resource": np.full(1, one, np.int32), "ts": np.array([noon]), "cpu_pct": np.array([5.0])}
    works.lake.append("agent", pa.table(told))
    works.lake.roll([date(2026, 5, 1)])

    def due() -> int:
        with book.reading() as tx:
            company = tx.get_one(Pool, pool).provider_id
        rows = completeness.beforehand(works, subjects.company(company), "2026-05")["2026-05"]
        return sum(row.facts["expected"] for row in rows)

    assert due() == 29 * 288, "every day but the two on which it was off"
    first = datetime(2026, 5, 19, 16, tzinfo=UTC)  # the first instant of the 20th
    with book.transaction(steward()) as tx:
        empty = {"pool_id": pool, "taken_at": first, "drift": {}, "complete": False}
        tx.add(Listing(as_of=datetime(1970, 1, 1, tzinfo=UTC), resources=0, **empty))
        tx.add(Listing(as_of=first, resources=1, **empty))
    assert due() == 12 * 288


def test_an_empty_folder_tells_nothing_and_is_no_listing(book, tmp_path) -> None:
    pool, _ = founded(book)
    (tmp_path / "pool").mkdir()
    with book.transaction(steward()) as tx:
        tx.get_one(Pool, pool).adapter_options = {"folder": str(tmp_path / "pool")}
    works = Workbench(book, Lake(tmp_path / "lake"))
    with book.reading() as tx:
        found = tx.get_one(Pool, pool)
        tx.expunge(found)
    collection.collect(works, found)
    with book.reading() as tx:
        assert observation.last_listing(tx, pool) is None
    (tmp_path / "pool" / "inventory").mkdir()
    (tmp_path / "pool" / "inventory" / "a.csv").write_text("resource_id,vcpu,内存(GB)\nvm-1,2,4\n", encoding="utf-8")
    collection.collect(works, found)
    with book.reading() as tx:
        assert observation.last_listing(tx, pool).resources == 1


def test_a_cloud_that_fails_is_told_and_keeps_no_other_from_being_asked(book, tmp_path) -> None:
    pool, _ = founded(book)

    class Broken:
        name = "broken"

        def bills(self, month: str) -> list[object]:
            raise ProviderFault("down", transient=True)

        def incidents(self, since: datetime, until: datetime) -> list[object]:
            raise ProviderFault("down", transient=True)

    works = Workbench(book, Lake(tmp_path / "lake"), opened={pool: Broken()})  # type: ignore[dict-item]
    found = scoring.collect(works)
    assert (found.incidents, found.bills, list(map(str, found.faults.values()))) == (0, 0, ["down"])
    assert list(found.faults) == ["p"]


def test_a_cloud_that_cannot_be_opened_keeps_no_other_from_being_carried(book, tmp_path) -> None:
    pool, _ = founded(book)
    with book.transaction(steward()) as tx:
        company = tx.get_one(Pool, pool).provider_id
        good = Pool(code="good", name="good", provider_id=company, arch="x86_64", zone="z", adapter="files")
        tx.add(good)
        tx.flush()
        tx.get_one(Pool, pool).adapter_options = {"folder": str(tmp_path / "gone")}
        good.adapter_options = {"folder": str(tmp_path)}
    works = Workbench(book, Lake(tmp_path / "lake"))
    carry = next(job for job in worklist.jobs(works, Settings(data=tmp_path)) if job.plan.name == "carry")
    counted, refused = carry.run()
    assert counted.figures == {"placed": 0, "delivered": 0, "pending": 0, "failed": 0}
    assert (refused.code, refused.figures["at"]) == ("refused_at", "p")


def test_only_what_has_new_evidence_is_scored_anew(book, clock, tmp_path, monkeypatch) -> None:
    """And what is passed over would have got the very card that it has."""
    systems = {"portal": ("P1", "门户", "department"), "pipes": ("P2", "管网", "other")}
    above = {**CASES.departments, "branch": DepartmentPlan("d21", "另一局中心", above="other")}
    city = City(book, clock, replace(CASES, systems=systems, departments=above), tmp_path)
    city.machine(system_id=city.portal)
    second = city.machine(department_id=city.branch, system_id=city.pipes)
    city.judge({second: Verdict.IDLE})
    clock.advance(days=35)
    works = Workbench(book, Lake(tmp_path / "lake"), tmp_path)
    names = {
        subjects.department(city.department): "first", subjects.department(city.other): "above",
        subjects.department(city.branch): "second", subjects.system(city.portal): "portal",
        subjects.system(city.pipes): "pipes",
    }  # fmt: skip
    mine = {"above", "second", "pipes"}

    def scored() -> set[str]:
        turn = scoring.ScoringRound(works)
        for wanted in turn.wanted:
            turn.score(*wanted)
        turn.keep()
        with book.reading() as tx:
            before = tx.scalar(select(func.count(ScorecardRecord.id)))
        for one, period in scoring.due(works):
            scoring.score(works, one, period)
        with book.reading() as tx:
            assert tx.scalar(select(func.count(ScorecardRecord.id))) == before, "something was passed over"
        return {names[one] for one, _period in turn.wanted if one in names} | {
            one.type.value for one, _period in turn.wanted if one not in names
        }

    def change(row: type, number: int, **told) -> None:
        clock.advance(seconds=1)
        with book.transaction(steward()) as tx:
            found = tx.get_one(row, number)
            for name, value in told.items():
                setattr(found, name, value)

    rest = {"company", "steward"}
    with book.transaction(steward()) as tx:  # it owes an answer as the branch's superior
        tx.add(Person(login="above", name="上", role="tenant", department_id=city.other, active=True, granted=True))
    assert scored() == {*names.values(), *rest}
    assert scored() == set()
    change(Resource, second, address="2001:db8::1")
    assert scored() - rest == mine
    change(System, city.pipes, phone="0371-2")
    assert scored() - rest == mine
    city.judge({second: Verdict.NORMAL})
    assert scored() == set(), "an assessment of another quarter tells nothing of this one"
    change(Resource, second, department_id=city.department)
    assert scored() - rest == set(names.values()) - {"above", "second"}, "whose it was is not known any more"
    change(Department, city.department, name="某局(改)")
    assert scored() - rest == {"first"}, "no card of a system rests on what its department is called"

    def refuses(works: Workbench, one: subjects.CardSubject, period: str) -> ScorecardRecord:
        if names.get(one) == "pipes":
            raise WrongState("formula.none", "none")
        return plain(works, one, period)

    plain = scoring.score
    change(System, city.pipes, phone="0371-3")
    monkeypatch.setattr(scoring, "score", refuses)
    told = worklist.Worklist(works, Settings(data=tmp_path)).score()
    assert [one.code for one in told if one.code not in ("scored", "card", "unscored")] != []
    monkeypatch.undo()
    assert scored() == {"pipes"}, "what could not be scored is asked for again"
