"""An older book beside a newer lake, and the reverse: told by verification, mended as far as it can be."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from console import founding
from console.cli.commands import main
from console.settings import Settings
from console.verification import agreement, examine
from metering.intake import Intake
from metering.judging import Assessment
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota.actors import steward
from quota.db import Book
from quota.units import VCPU
from tests.city import TOWN, City
from tests.metering.samples import DAY, joined, steady

NOW = datetime(2026, 9, 24, 2, 0, tzinfo=UTC)


@pytest.fixture
def works(tmp_path: Path) -> Workbench:
    """A town with one machine, which reported for three days of which two are closed."""
    settings = founding.found(Settings(data=tmp_path), demo=False)
    book = Book(settings.database_url, clock=lambda: NOW)
    town = City(book, plan=TOWN, home=tmp_path)
    machine = town.standing_machine({VCPU: 4}, "known")
    works = Workbench(book, Lake(settings.lake_dir), tmp_path)
    works.lake.append("arm.api", joined(steady(machine, days=3)))
    works.lake.roll([DAY, DAY + timedelta(days=1)])
    assert examine(works).problems == []
    return works


def guanjia(works: Workbench, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, [*words, "--data", str(works.home)])
    assert done.exit_code == code, done.output
    return done.output


def test_samples_of_machines_that_an_older_book_does_not_have_are_set_aside(works: Workbench) -> None:
    before = {path.relative_to(works.lake.root): path.read_bytes() for path in works.lake.root.glob("d*/*.parquet")}
    works.lake.append("arm.api", joined(steady(2, days=3), steady(700, days=2.5)))
    works.lake.roll([DAY, DAY + timedelta(days=1)])
    alone = DAY + timedelta(days=9)
    works.lake.append("arm.api", joined(steady(9, start=int(datetime(2026, 9, 29, 16, tzinfo=UTC).timestamp()))))
    works.lake.roll([alone])
    told = examine(works).problems
    assert [("the lake is newer than the book" in one) for one in told] == [True] * 4
    assert "rows set aside" in guanjia(works, "lake", "reconcile")
    assert examine(works).problems == []
    assert works.lake.days() == [DAY, DAY + timedelta(days=1)]
    for path, content in before.items():
        assert (works.lake.root / path).read_bytes() == content
    assert len(list((works.lake.root / "quarantine").glob("strangers-*"))) == 4
    assert json.loads(guanjia(works, "lake", "reconcile", "--json"))["aside"] == []
    again = works.lake.append("arm.api", joined(steady(2, days=3)))  # a machine of that number, once there is one
    assert again.taken == 3 * 288
    works.book.dispose()


def test_it_is_told_when_jobs_start(works: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    works.lake.append("arm.api", joined(steady(700)))
    monkeypatch.setattr("console.worklist.run_forever", lambda *_words: None)
    assert "guanjia lake reconcile" in guanjia(works, "jobs")
    (works.lake.root / "sealed.json").write_text("{")
    assert "could not be compared" in guanjia(works, "jobs")
    works.book.dispose()


def test_a_month_that_only_the_lake_has_settled_is_named(works: Workbench) -> None:
    works.lake.seal("2026-08")
    assert "2026-08 is sealed" in guanjia(works, "lake", "reconcile", code=1)
    assert any("2026-08 is sealed" in one for one in examine(works).problems)
    works.book.dispose()


def test_what_a_newer_book_has_judged_is_collected_again(works: Workbench) -> None:
    with works.book.transaction(steward()) as tx:
        policy = tx.execute(Assessment.__table__.metadata.tables["policy_versions"].select()).first()
        assert policy is not None
        tx.add(
            Assessment(
                policy_version_id=policy.id, first_day=DAY, last_day=DAY + timedelta(days=5), as_of=NOW, engine="exact",
                counts={}, resources=0, recorded_at=NOW, recorded_by="x", digest="",
            )
        )  # fmt: skip
        pool = tx.execute(Assessment.__table__.metadata.tables["pools"].select()).first()
        assert pool is not None
        tx.add(Intake(pool_id=pool.id, collected_until=NOW, collected_at=NOW))
    apart = agreement.compare(works)
    assert apart.missing == tuple(DAY + timedelta(days=n) for n in (3, 4, 5))
    assert apart.until == datetime(2026, 9, 23, 16, tzinfo=UTC)
    assert list(apart.lines()) == [
        "lake: 3 days that were judged are not there, 2026-09-24 to 2026-09-26 (the book is newer than the lake)"
    ]
    done = agreement.reconcile(works)
    assert list(done.again.values()) == [apart.until]
    with works.book.reading() as tx:
        assert tx.get_one(Intake, pool.id).collected_until == apart.until
    works.book.dispose()
