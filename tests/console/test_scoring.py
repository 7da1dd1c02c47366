"""What a company owes its samples for: machines that run, not those that somebody switched off."""

from __future__ import annotations

from datetime import UTC, date, datetime

from console import scoring, worklist
from console.settings import Settings
from metering.intake import completeness
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers.base import ProviderFault
from quota.actors import steward
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource, ResourceChange


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
