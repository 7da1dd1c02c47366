"""Long histories verified in parts: sealed once, read again in their turn, whatever was changed in them found and named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import event, func, select, text

from console import founding
from console.cli import commands
from console.settings import Settings
from console.tables import VerificationRun
from console.verification import agreement, checks, runs
from console.verification.checks import examine
from console.verification.progress import BY_HAND, LOGS, Log
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota import audit, spans
from quota.actors import steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.ledger import Holder, Transfer, entries
from quota.sealing import SealedSegment, Sealing, segments
from quota.seals import link
from quota.units import VCPU, Amount, Arch
from tests.city import City
from tests.conftest import Clock
from tests.console.test_seals import lawless
from tests.quota.test_ledger import PLAN
from tests.scale.walk import COUNTER, Connection

SPAN = 30
CPU = Amount({VCPU: 1}).of_arch(Arch.X86_64)


def test_every_number_is_in_one_part_and_every_part_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "SPAN", 5)
    for newest in (0, 1, 4, 5, 6, 10, 11, 103):
        parts = spans.spans(newest)
        assert (parts[0].low, parts[-1].high) == (None, None)
        assert [one.high for one in parts[:-1]] == [(one.low or 1) - 1 for one in parts[1:]]
        assert spans.whole(newest) in {len(parts), len(parts) - 1}
    first = date(2026, 2, 20)
    for many in range(1, 70):
        within = spans.nights(many)
        assert many <= within < 2 * many
        turns = {spans.turn(many, first + timedelta(days=past)) for past in range(within)}
        assert turns == set(range(many)), many
    assert spans.turn(0, first) is None


class House:
    """A book whose parts are short, and the nights over it."""

    def __init__(self, book: Book, clock: Clock, home: Path) -> None:
        self.book, self.clock, self.home = book, clock, home
        city = City(book, plan=PLAN)
        self.pool, self.department = city.pool, city.department
        self.works = Workbench(book, Lake(home / "lake"), home)
        self.grown = 0

    def grow(self, times: int) -> None:
        """So many transactions with a record, a transfer of two entries and a sealing each; a day goes by."""
        for _time in range(times):
            self.grown += 1
            with self.book.transaction(steward()) as tx:
                if self.grown % 2:
                    entries.grant(tx, self.pool, self.department, CPU, key=f"k{self.grown}")
                else:
                    entries.reclaim(tx, self.pool, self.department, CPU, source=Holder.GRANTED, key=f"k{self.grown}")
                tx.audit("test.move", f"test:{self.grown}")
        self.clock.advance(days=2)

    def night(self) -> VerificationRun:
        """A night's share, by the job; a day goes by."""
        self.clock.advance(days=1)
        with self.book.transaction(steward()) as tx:
            runs.ask(tx, self.clock().date())
        (run,) = runs.carry_out(self.works, logs=self.home / LOGS)
        assert run.error == ""
        return run

    def nights(self) -> int:
        """Within how many nights all is read: of the longest of the chains here, as the runs tell beside the days of the lake."""
        with self.book.reading() as tx:
            query = select(func.count()).group_by(SealedSegment.chain)
            return spans.nights(max(tx.scalars(query.select_from(SealedSegment))))

    def behind_its_back(self, *statements: str) -> None:
        with self.book.engine.execution_options(guanjia_writes=True).begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def sealed(self) -> dict[str, int]:
        with self.book.reading() as tx:
            query = select(SealedSegment.chain, func.count()).group_by(SealedSegment.chain)
            return dict(tx.execute(query).all())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "SPAN", SPAN)


@pytest.fixture
def old(short: None, book: Book, clock: Clock, tmp_path: Path) -> House:
    house = House(book, clock, tmp_path)
    house.grow(70)
    return house


def named(run: VerificationRun, beginning: str) -> list[str]:
    return [one for one in run.problems if one.startswith(beginning)]


def test_segments_are_sealed_once_and_a_change_in_one_is_found(old: House) -> None:
    run = old.night()
    assert run.clean, run.problems
    sealed = old.sealed()
    assert sealed == {"audit_records": 2, "sealings": 2, "entries": 2}
    with old.book.reading() as tx:
        told = dict(
            tx.execute(
                select(AuditRecord.subject, AuditRecord.after).where(AuditRecord.action == "house.segment")
            ).all()
        )
        rows = tx.scalars(select(SealedSegment)).all()
        assert {f"segment:{one.chain}/{one.number}": one.digest for one in rows} == {
            name: after["digest"] for name, after in told.items()
        }
        second = tx.get_one(SealedSegment, ("audit_records", 1))
        assert (second.first, second.last, second.links) == (31, 60, 30)
        assert second.ends_with == tx.get_one(AuditRecord, 60).digest
        transfer = tx.scalar(select(Transfer.id).order_by(Transfer.id).offset(12).limit(1))
    run = old.night()
    assert run.clean, run.problems
    assert old.sealed()["entries"] == 2
    assert run.left_out["audit_records"] > 0
    lawless(old.book)
    old.behind_its_back(
        "UPDATE audit_records SET actor = 'nobody' WHERE sequence = 13",
        f"UPDATE transfers SET actor = 'nobody' WHERE id = {transfer}",
        "UPDATE sealings SET actor = 'nobody' WHERE sequence = 13",
    )
    wanted = ("audit_records: row 13 ", "entries: row ", "sealings: row 13 ")
    missed = 0
    while not all(named(run := old.night(), one) for one in wanted):
        assert not any(named(run, one) for one in wanted), "they are of one age, and have their turn in one night"
        missed += 1
    assert missed < old.nights()
    again = old.night()  # every night from then on, until it is mended
    assert all(named(again, one) for one in wanted)
    whole = examine(old.works)
    for one in wanted:
        assert any(problem.startswith(one) for problem in whole.problems), (one, whole.problems)


def forged(house: House, sequence: int) -> None:
    """Change a record, and have everything after it fit again: its digest, those that follow, the end."""
    with house.book.reading() as tx:
        records = [
            one.content() | {"digest": one.digest}
            for one in tx.scalars(select(AuditRecord).order_by(AuditRecord.sequence))
        ]
    previous = records[sequence - 2].pop("digest")
    with house.book.engine.execution_options(guanjia_writes=True).begin() as connection:
        for record in records[sequence - 1 :]:
            record.pop("digest")
            if record["sequence"] == sequence:
                record["actor"] = "nobody"
            previous = link(previous, record)
            connection.execute(
                text("UPDATE audit_records SET digest = :digest, actor = :actor WHERE sequence = :number"),
                {"digest": previous, "actor": record["actor"], "number": record["sequence"]},
            )
        connection.execute(text("UPDATE audit_head SET digest = :digest"), {"digest": previous})


def test_whoever_forges_the_chain_or_a_segment_is_found_that_night(old: House) -> None:
    assert old.night().clean
    lawless(old.book)
    forged(old, 13)
    with old.book.reading() as tx:
        assert list(audit.check(tx)) == [], "the chain itself bears it out"
    assert named(old.night(), "audit_records: row 60 is not the one that audit_records/1 of sealed_segments ends with")
    old.behind_its_back("UPDATE sealed_segments SET digest = 'x' WHERE chain = 'sealings' AND number = 1")
    assert named(old.night(), "sealed_segments: row sealings/1 differs in digest from its seal ")
    assert any(one.startswith("sealed_segments: row sealings/1 is not what") for one in examine(old.works).problems)
    old.behind_its_back("DELETE FROM sealed_segments WHERE chain = 'entries' AND number = 1")
    assert named(old.night(), "sealed_segments: row entries/1 is gone: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM audit_records WHERE sequence = 30", "audit_records: row 30 is missing"),
        ("DELETE FROM sealings WHERE sequence = 30", "sealings: row 30 is missing"),
        ("DELETE FROM row_seals WHERE sealing = 40", "sealings: row 40 "),
        ("UPDATE row_seals SET sealing = -4 WHERE sealing = 40", " seals are of sealing -4"),
        ("DELETE FROM transfers WHERE id = (SELECT min(id) FROM transfers)", "points to an account or a transfer that is gone"),
        ("DELETE FROM entries WHERE sequence = 5", ", and number 5 is not there"),
        ("UPDATE audit_head SET sequence = 1000000000000000", "audit_head: row 1 says 1000000000000000 records"),
        ("UPDATE audit_records SET sequence = 2000000000 WHERE sequence = 65", "audit_records: row 65 is missing"),
    ],
)  # fmt: skip
def test_what_is_done_at_the_ends_of_parts_is_named(old: House, change: str, said: str) -> None:
    if "1000000000000000" in change and old.book.engine.dialect.name == "postgresql":
        change, said = change.replace("1000000000000000", "2000000000"), said.replace("1000000000000000", "2000000000")
    lawless(old.book)
    old.behind_its_back(change)
    found: list[str] = []
    with old.book.reading(one_moment=True) as tx:
        for chain in checks.CHAINS:
            sealed, whole = segments.standing(tx, chain)
            assert (sealed, whole) == (0, 2)
            for number in range(whole):
                found += segments.check(tx, chain, number, spans.Links())
            found += segments.check_end(tx, chain, spans.Links(), behind=whole)
    assert any(said in one for one in found), found


def test_a_night_reads_no_more_of_ten_times_the_history(
    short: None, database: str, clock: Clock, tmp_path: Path
) -> None:
    book = Book(database, clock=clock)

    @event.listens_for(book.engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        options["factory"] = Connection

    house = House(book, clock, tmp_path)
    read, turned = [], []
    for times in (45, 455):
        house.grow(times)
        for _night in range(3):  # what is new is sealed, and what that writes is read
            assert house.night().clean
        COUNTER.begin()
        run = house.night()
        assert run.clean
        read.append({name: run.checked[name] for name in ("audit_records", "sealings", "entries", "sealed_rows")})
        read[-1]["fetched"] = COUNTER.rows
        turned.append(run.nights)
        whole = {
            name: run.checked[name] + run.left_out.get(name, 0) for name in ("audit_records", "sealings", "entries")
        }
        assert min(whole.values()) >= times
    one, ten = read
    for name, count in one.items():
        assert ten[name] <= count * 1.25 + 3 * SPAN, (name, one, ten)
    assert turned == [30, 64]  # the seals of some 500 sealings are 1,500 rows, the longest of all
    book.dispose()


@pytest.fixture
def database(tmp_path: Path) -> str:
    settings = founding.found(Settings(data=tmp_path), demo=False)
    return settings.database_url


def stopping(check: Callable[..., Any]) -> Callable[..., Any]:
    """The check, that somebody kills the process at."""

    def stopped(*_any: Any) -> Any:
        raise KeyboardInterrupt

    return stopped if check else check


def test_what_was_interrupted_is_gone_on_with(old: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lawless(old.book)
    old.behind_its_back("UPDATE audit_records SET actor = 'nobody' WHERE sequence = 13")
    path = old.home / LOGS / BY_HAND
    with monkeypatch.context() as patch:
        patch.setattr(agreement, "compare", stopping(agreement.compare))
        with pytest.raises(KeyboardInterrupt):
            examine(old.works, log=Log(path))
    with path.open("a") as file:
        file.write('\n{"part": "audit_records to the end", "prob')  # it was writing
    walked: list[int | None] = []
    walk = audit.check

    def counting(tx: Any, span: spans.NumberSpan = spans.WHOLE, links: Any = None) -> Any:
        walked.append(span.low)
        return walk(tx, span, links)

    monkeypatch.setattr(audit, "check", counting)
    found = examine(old.works, log=Log(path, resume=True))
    assert walked == [61], "what goes on is read again, what stands is not"
    assert any(one.startswith("audit_records: row 13 ") for one in found.problems)
    with old.book.reading() as tx:
        assert found.checked["audit_records"] == audit.head(tx)[0]
        assert found.checked["sealings"] == tx.scalar(select(func.count()).select_from(Sealing))
    assert not path.exists(), "there is nothing to go on with"
    walked.clear()
    Log(path).add("audit_records 0", [], {})  # as somebody would write who has something to hide
    assert any(one.startswith("audit_records: row 13 ") for one in examine(old.works, log=Log(path)).problems)
    assert walked == [None, 31, 61]


def test_a_run_that_was_killed_goes_on(old: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with old.book.transaction(steward()) as tx:
        runs.ask(tx)
    with monkeypatch.context() as patch:
        patch.setattr(agreement, "compare", stopping(agreement.compare))
        with pytest.raises(KeyboardInterrupt):
            runs.carry_out(old.works, logs=old.home / LOGS)
    old.clock.advance(seconds=runs.STALLED.total_seconds() + 1)
    read: list[str] = []
    monkeypatch.setattr(checks, "DIGESTED", [("month_closings", lambda _tx: iter(read.append("read") or ()))])
    (run,) = runs.carry_out(old.works, logs=old.home / LOGS)
    assert (run.state, run.clean, run.wrong) == ("done", True, [])
    assert read == []
    assert old.sealed()["audit_records"] >= 2
    lawless(old.book)  # one that waited believes no log: of a book that was restored, numbers are given again
    old.behind_its_back("UPDATE audit_records SET actor = 'nobody' WHERE sequence = 13")
    with old.book.transaction(steward()) as tx:
        number = runs.ask(tx).id
    Log(old.home / LOGS / f"{number}.jsonl").add("audit_records 0", [], {})
    (run,) = runs.carry_out(old.works, logs=old.home / LOGS)
    assert run.id == number
    assert "audit_records 0" in run.wrong


@pytest.mark.parametrize("book_url", ["sqlite"], indirect=True)
def test_what_was_wrong_while_newest_is_read_again_when_it_is_not(old: House) -> None:
    with old.book.reading() as tx:
        newest = tx.scalar(select(func.max(Transfer.id)))
    lawless(old.book)
    old.behind_its_back(f"UPDATE transfers SET memo = 'x' WHERE id = {newest}")
    assert f"seals of transfers {(newest - 1) // SPAN}" in old.night().wrong
    old.grow(2 * SPAN)
    for _night in range(2):
        assert named(old.night(), f"transfers: row {newest} differs in memo")


@pytest.mark.parametrize("book_url", ["sqlite"], indirect=True)
def test_numbers_that_the_book_never_gave_keep_no_night_from_its_end(
    old: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FAR", 6)
    assert old.night().clean
    sealed = old.sealed()
    lawless(old.book)
    old.behind_its_back(
        "INSERT INTO sealed_segments SELECT chain, 2000000000, first, last, links, ends_with, digest, sealed_at "
        "FROM sealed_segments WHERE chain = 'sealings' AND number = 1",
        f"UPDATE transfers SET id = 2000000000 WHERE id = (SELECT max(id) FROM transfers WHERE id <= {2 * SPAN})",
    )
    for _night in range(2):
        run = old.night()
        assert named(run, "sealed_segments: row sealings/2000000000 has no seal")
        assert named(run, "transfers: row 2000000000 (")
    assert old.sealed()["entries"] == sealed["entries"], "nothing is sealed as empty"


def test_by_hand_it_is_said_that_one_was_interrupted(tmp_path: Path) -> None:
    founding.found(Settings(data=tmp_path), demo=False)
    Log(tmp_path / LOGS / BY_HAND).add("rows 0", ["people: row 7 was wrong then"], {})
    for options, said, code in (
        ([], "begun anew; --resume goes on with it", 0),
        (["--resume"], "clean", 0),
    ):
        found = CliRunner().invoke(commands.main, ["verify", "--data", str(tmp_path), *options])
        assert found.exit_code == code, found.output
        assert said in found.output
    Log(tmp_path / LOGS / BY_HAND).add("audit_records 0", ["people: row 7 was wrong then"], {})
    found = CliRunner().invoke(commands.main, ["verify", "--data", str(tmp_path), "--resume"])
    assert "after 1 parts: gone on with" in found.output
    # Where nothing can be written it is verified all the same.
    (tmp_path / LOGS).rmdir()
    (tmp_path / LOGS).write_text("")
    found = CliRunner().invoke(commands.main, ["verify", "--data", str(tmp_path)])
    assert (found.exit_code, "clean" in found.output) == (0, True), found.output
