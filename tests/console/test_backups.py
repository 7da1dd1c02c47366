"""Backups: a house comes back as it was, on both databases, from a folder and from S3; whatever is missing is named."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from console import backups, founding, worklist
from console.backups import making, places, points, retention, runs
from console.backups.bringing_back import DamagedBackup
from console.backups.retention import RetentionRule
from console.cli import backups as terminal_backups
from console.cli.commands import main
from console.jobs import latest, worded
from console.schema import upgrade
from console.settings import BadSetting, Settings, load
from console.tables import BackupRun, RunState
from console.verification import examine
from metering.lake.store import Lake
from metering.statements import statements
from metering.workbench import Workbench
from quota import attachments, audit, vault
from quota.actors import steward
from quota.attachments import Attachment
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import Department, departments
from quota.errors import Conflict, Invalid, NoRoom, NotFound, Refused, WrongState
from quota.ledger import Account
from quota.units import MEMORY, VCPU
from tests import books
from tests.city import GB, STATEMENTS, City
from tests.city.statements import at
from tests.conftest import Clock
from tests.metering.samples import joined, steady
from tests.patience import together

NOW = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)
KEY = vault.new_key()
SECRET = "Wei-Lai-2026"
PAPER = b"%PDF-1.7\n" + bytes(range(256)) * 99 + b"\n%%EOF\n"
"""Every byte that there is: what a database or a copy might read as text is among them."""


class House:
    """A house in a data directory, its book in SQLite there or in a database."""

    def __init__(self, data: Path, database: str = "", clock: Callable[[], datetime] | None = None) -> None:
        self.settings = Settings(data=data, database=database, backup_key=KEY)
        self.book = Book(self.settings.database_url, clock=clock)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_dir)

    def figures(self) -> dict[str, Any]:
        """What people look at: balances, statements with their lines, the trail's end, every sample."""
        with self.book.reading() as tx:
            balances = tx.execute(
                select(Account.holder, Account.kind, func.sum(Account.balance))
                .group_by(Account.holder, Account.kind)
                .order_by(Account.holder, Account.kind)
            ).all()
            run = statements.latest(tx, "2026-04")
            lines = [(one.kind, one.allocated, one.proven, one.cost) for one in statements.lines_of(tx, run)]
            head = audit.head(tx)
            papers = {one.name: attachments.content(tx, one) for one in tx.scalars(select(Attachment))}
        files = {
            one.relative_to(self.lake.root).as_posix(): one.read_bytes() for one in self.lake.root.rglob("*.parquet")
        }
        return {
            "balances": balances, "lines": lines, "run": run.proven_fen, "head": head, "lake": files, "papers": papers,
        }  # fmt: skip

    def problems(self) -> list[str]:
        return examine(Workbench(self.book, self.lake, self.settings.data)).problems


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def book_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the house's book lies: nowhere else, or the address of an empty database."""
    if request.param == "sqlite":
        yield ""
    else:
        yield _database(request.getfixturevalue("postgres"))


def _database(server: str) -> str:
    """An empty database, without a table."""
    return books.postgres(server, "template0")


@pytest.fixture(scope="module")
def house(book_url: str, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with a machine, its April in the lake and on a statement, keys, and a mailbox of an agent."""
    data = tmp_path_factory.mktemp("house") / "data"
    founding.found(Settings(data=data, database=book_url), demo=False)
    made = House(data, book_url, Clock(NOW))
    city = City(made.book, plan=STATEMENTS, home=data)
    size = {VCPU: 4, MEMORY: 8 * GB}
    city.list("jia", at(-1), web=size, first=size, second=size)
    city.report("web", range(700))
    city.price(VCPU, "46")
    city.close(city.make())
    made.lake.append("later", joined(steady(1)))
    with made.book.transaction(steward("test")) as tx:
        attachments.attach(tx, "request:1", [attachments.stage(tx, "年审计划.pdf", PAPER)])
    made.settings.key()
    (data / "secrets").mkdir()
    (data / "secrets" / "cloud").write_text(SECRET)
    (data / "agents" / "east").mkdir(parents=True)
    (data / "agents" / "east" / "order.json").write_text("{}")
    return made


@pytest.fixture
def elsewhere(house: House, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], House]:
    """An empty machine: the same kind of database, nothing in it."""

    def empty(name: str = "new") -> House:
        url = _database(request.getfixturevalue("postgres")) if house.settings.database else ""
        return House(tmp_path / name, url, Clock(NOW))

    return empty


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "kept")


def keep(house: House, place: str, **more: Any) -> backups.Made:
    return backups.make(replace(house.settings, **more), house.book, backups.BackupPlace(place))


# --- there and back ------------------------------------------------------------------------------------------------


def test_a_house_comes_back_as_it_was(house: House, place: str, elsewhere: Callable[..., House]) -> None:
    made = keep(house, place)
    assert made.point.book.revision == upgrade.latest()
    assert made.point.book.rows["resources"] == 3
    there = elsewhere()
    done = backups.restore(there.settings, backups.BackupPlace(place))
    assert (done.point.name, done.keys) == (made.point.name, True)
    assert there.figures() == house.figures()
    assert there.figures()["papers"] == {"年审计划.pdf": PAPER}
    assert there.problems() == []
    assert (there.settings.data / "secrets" / "cloud").read_text() == SECRET
    assert (there.settings.data / "secret.key").read_bytes() == (house.settings.data / "secret.key").read_bytes()
    assert (there.settings.data / "agents" / "east" / "order.json").read_text() == "{}"
    assert upgrade.differences(there.book) == []
    assert upgrade.missing_guards(there.book.engine) == []
    with there.book.transaction(steward()) as tx:  # numbers go on where they were
        numbers = set(tx.scalars(select(Department.id)))
        assert departments.register(tx, "d9", "新局").id not in numbers
    there.book.dispose()


def test_of_a_second_backup_only_what_changed_is_copied(house: House, place: str) -> None:
    first, second = keep(house, place), keep(house, place)
    assert first.added == len(set(first.point.pieces()))
    assert second.point.name > first.point.name
    assert second.added <= 1  # the book at most
    assert second.point.lake == first.point.lake
    found = backups.check(house.settings, backups.BackupPlace(place), [first.point.name, second.point.name])
    assert (found.problems, found.pieces) == ([], len({*first.point.pieces(), *second.point.pieces()}))


def test_it_is_one_moment_while_everybody_writes(house: House, place: str, elsewhere: Callable[..., House]) -> None:
    """Each writer puts a sample into the lake and then says so in the book, as the intake does: whatever a backup's book
    says must be in its lake, and the trail must be whole."""
    stop = threading.Event()
    made: list[backups.Made] = []

    def write(writer: int) -> Callable[[], None]:
        def work() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                moment = int(NOW.timestamp()) + 300 * number
                house.lake.append(f"writer{writer}", joined(steady(1 + writer, days=1 / 288, start=moment)))
                with house.book.transaction(steward(f"writer{writer}")) as tx:
                    tx.audit("note", f"writer:{writer}", after={"number": number})

        return work

    def roll() -> None:
        while not stop.is_set():
            house.lake.compact(at_least=2)

    def back_up() -> None:
        try:
            made.extend(keep(house, place) for _ in range(3))
        finally:
            stop.set()

    together(write(1), write(2), roll, back_up)
    there = elsewhere()
    backups.restore(there.settings, backups.BackupPlace(place), made[1].point.name)
    assert there.problems() == []
    for writer in (1, 2):
        with there.book.reading() as tx:
            said = tx.scalar(select(func.count()).where(AuditRecord.subject == f"writer:{writer}")) or 0
        assert said > 0
        seen = there.lake.chart(1 + writer, NOW, NOW + timedelta(days=365), ["cpu_pct"])
        assert int((seen.values["cpu_pct"] >= 0).sum()) >= said
    there.book.dispose()


def test_nothing_is_restored_over_anything(house: House, place: str, elsewhere: Callable[..., House]) -> None:
    keep(house, place)
    before = house.figures()
    with pytest.raises(WrongState, match=r"restore\.not_empty"):
        backups.restore(house.settings, backups.BackupPlace(place))
    there = elsewhere()
    there.settings.lake_dir.mkdir(parents=True)
    (there.settings.lake_dir / "lake.json").write_text("{}")
    with pytest.raises(WrongState, match=r"restore\.not_empty"):
        backups.restore(there.settings, backups.BackupPlace(place))
    shutil.rmtree(there.settings.data)
    if house.settings.database:
        with pytest.raises(WrongState, match=r"restore\.database"):
            backups.restore(replace(there.settings, database=house.settings.database), backups.BackupPlace(place))
    assert house.figures() == before


def test_the_drill_brings_back_and_verifies(house: House, place: str, request: pytest.FixtureRequest) -> None:
    keep(house, place)
    database = _database(request.getfixturevalue("postgres")) if house.settings.database else ""
    found = backups.check(house.settings, backups.BackupPlace(place), [], drill=True, database=database)
    assert found.problems == []
    assert not list(house.settings.data.glob(".*"))


def test_a_damaged_row_keeps_no_backup_from_being_made(
    house: House, place: str, elsewhere: Callable[..., House]
) -> None:
    """What stands in the book is kept as it stands; verification names it, here and there."""
    with house.book.engine.begin() as connection:
        harm = "[1]" if house.settings.database else "[1"
        connection.exec_driver_sql(f"UPDATE pools SET adapter_options = '{harm}'")
    try:
        keep(house, place)
        there = elsewhere()
        backups.restore(there.settings, backups.BackupPlace(place))
        assert there.problems() == house.problems()
        there.book.dispose()
    finally:
        with house.book.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE pools SET adapter_options = '{}'")


# --- keys ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> House:
    """An empty house on SQLite."""
    data = tmp_path_factory.mktemp("small") / "data"
    founding.found(Settings(data=data), demo=False)
    (data / "guanjia.toml").write_text(f'mail_password = "{SECRET}"\n')
    made = House(data, clock=Clock(NOW))
    made.settings.key()
    (data / "anchor.key").write_text("-----BEGIN PRIVATE KEY----- " + SECRET)
    City(made.book, plan=STATEMENTS, home=data).list("jia", at(-1), web={VCPU: 4})
    made.lake.append("agent", joined(steady(1)))
    return made


def everything(place: str) -> bytes:
    return b"".join(one.read_bytes() for one in sorted(Path(place).rglob("*")) if one.is_file())


def test_no_key_lies_open_in_a_backup_and_none_comes_back_without_its_own(
    small: House, place: str, tmp_path: Path
) -> None:
    made = keep(small, place, secrets_key=vault.new_key())
    at_place = backups.BackupPlace(place)
    names = [*made.point.files, *made.point.lake]
    assert not any("key" in name or "toml" in name or "secrets" in name for name in names)
    assert SECRET.encode() not in everything(place)
    there = Settings(data=tmp_path / "new")
    with pytest.raises(Invalid, match=r"restore\.no_key"):
        backups.restore(there, at_place)
    with pytest.raises(Invalid, match=r"backup\.key"):
        backups.restore(replace(there, backup_key=vault.new_key()), at_place)
    assert not (tmp_path / "new" / "book.db").exists()
    assert backups.restore(there, at_place, keys=False).keys is False
    assert not (there.data / "guanjia.toml").exists()
    with_keys = replace(there, data=tmp_path / "other", backup_key=KEY)
    assert backups.restore(with_keys, at_place).keys is True
    assert SECRET in (with_keys.data / "guanjia.toml").read_text()
    assert SECRET in (with_keys.data / "anchor.key").read_text()
    assert "GUANJIA_SECRETS_KEY=" in (with_keys.data / "restored.env").read_text()
    shutil.rmtree(Path(place) / "keys")  # kept elsewhere
    assert backups.restore(replace(there, data=tmp_path / "third"), at_place).keys is False


def test_without_a_backup_key_the_keys_stay_at_home(small: House, place: str) -> None:
    assert keep(small, place, backup_key="").point.sealed is False
    assert not list(Path(place).glob("keys/*"))


def test_a_backup_key_that_is_none_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="GUANJIA_BACKUP_KEY: not a key"):
        load(tmp_path, {"GUANJIA_BACKUP_KEY": "open sesame"})


# --- what goes wrong ------------------------------------------------------------------------------------------------


def pieces_of(place: str) -> list[Path]:
    return sorted(one for one in Path(place, "pieces").rglob("*") if one.is_file())


@pytest.mark.parametrize("harm", ["cut", "other", "gone"])
def test_a_damaged_piece_is_named_and_nothing_comes_of_it(small: House, place: str, tmp_path: Path, harm: str) -> None:
    made = keep(small, place)
    digest = made.point.book.files["book.db"].pieces[0]
    piece = Path(place, "pieces", digest[:2], digest)
    if harm == "gone":
        piece.unlink()
    else:
        whole = piece.read_bytes()
        piece.write_bytes(
            whole[:-20] if harm == "cut" else next(one for one in pieces_of(place) if one != piece).read_bytes()
        )
    found = backups.check(small.settings, backups.BackupPlace(place), [])
    assert [f"{made.point.name}: book/book.db: piece {digest}" in one for one in found.problems] == [True]
    there = Settings(data=tmp_path / "new", backup_key=KEY)
    with pytest.raises(DamagedBackup, match=digest):
        backups.restore(there, backups.BackupPlace(place))
    assert [one.name for one in there.data.iterdir() if not one.name.endswith(".lock")] == []


def test_a_damaged_list_is_named_and_nothing_it_may_need_is_let_go(small: House, place: str) -> None:
    first = keep(small, place, backup_days=1, backup_weeks=0, backup_months=0)
    Path(place, points.path(first.point.name)).write_bytes(b"no longer")
    found = backups.check(small.settings, backups.BackupPlace(place), [first.point.name])
    assert [first.point.name in one for one in found.problems] == [True]
    stray = Path(place, "pieces", "00", "0" * 64)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"")
    keep(small, place)
    assert stray.exists()
    assert len(points.names(backups.BackupPlace(place))) == 2
    Path(place, points.path(first.point.name)).unlink()
    keep(small, place)
    assert not stray.exists()


def test_what_was_cut_off_is_no_backup_and_is_cleared_away(
    small: House, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = places.BackupPlace.write

    def few(self: places.BackupPlace, name: str, content: bytes) -> None:
        if name.startswith("points/"):
            raise OSError(28, "No space left on device")
        written(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(places.BackupPlace, "write", few)
        with pytest.raises(NoRoom):
            keep(small, place)
    assert points.names(backups.BackupPlace(place)) == []
    assert pieces_of(place)
    with pytest.raises(NotFound):
        backups.restore(replace(small.settings, data=small.settings.data / "x"), backups.BackupPlace(place))
    assert keep(small, place).added == 0  # what had come is taken up
    left = [one.name for folder in (small.settings.data, small.settings.lake_dir) for one in folder.glob(".*")]
    assert left == [".roll.lock"]


def test_the_place_of_another_house_is_left_alone(small: House, place: str, tmp_path: Path) -> None:
    keep(small, place)
    founding.found(Settings(data=tmp_path / "other"), demo=False)
    other = House(tmp_path / "other")
    with pytest.raises(Conflict, match=r"backup\.other_house"):
        keep(other, place)
    other.book.dispose()


def test_a_point_of_a_later_release_is_refused(small: House, place: str, tmp_path: Path) -> None:
    made = keep(small, place)
    at_place = backups.BackupPlace(place)
    later = replace(made.point, book=replace(made.point.book, revision="9999"))
    later.write(at_place)
    there = replace(small.settings, data=tmp_path / "new")
    with pytest.raises(Invalid, match=r"restore\.newer"):
        backups.restore(there, at_place)
    replace(made.point, book=replace(made.point.book, dialect="postgresql")).write(at_place)
    with pytest.raises(Invalid, match=r"restore\.dialect"):
        backups.restore(there, at_place)
    out = {"../../out": next(iter(made.point.lake.values()))}
    replace(made.point, lake=out).write(at_place)
    with pytest.raises(DamagedBackup, match=r"\.\./\.\./out"):
        backups.restore(there, at_place)
    assert not (tmp_path / "out").exists()


def test_addresses_that_are_none_are_refused() -> None:
    for address in ("s3://user:word@bucket/x", "gopher://x/y"):
        with pytest.raises(Invalid):
            backups.BackupPlace(address)
    assert backups.BackupPlace("s3://bucket/x?region=a&scheme=http").shown == "s3://bucket/x"


# --- S3 -------------------------------------------------------------------------------------------------------------


def test_s3_keeps_backups_as_a_folder_does(small: House, bucket: str, tmp_path: Path) -> None:
    first, second = keep(small, bucket), keep(small, bucket)
    assert (first.added > 0, second.added) == (True, 0)
    there = replace(small.settings, data=tmp_path / "new")
    backups.restore(there, backups.BackupPlace(bucket))
    kept = House(there.data)
    assert kept.problems() == []
    kept.book.dispose()
    place = backups.BackupPlace(bucket)
    for name in list(place.names("pieces"))[:1]:
        place.delete(name)
    assert len(backups.check(small.settings, place, []).problems) >= 1


def test_a_place_that_does_not_answer_is_told(small: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    nobody = "s3://city/x?endpoint_override=127.0.0.1%3A1&scheme=http&region=us-east-1"
    with pytest.raises(Refused, match=r"backup\.unreachable.*s3://city/x "):
        keep(small, nobody)


def test_a_house_moves_from_sqlite_to_postgresql(house: House, place: str, tmp_path: Path, postgres: str) -> None:
    if house.settings.database:
        return  # the other way is refused: see above
    keep(house, place)
    there = House(tmp_path / "new", _database(postgres), Clock(NOW))
    backups.restore(there.settings, backups.BackupPlace(place))
    assert there.figures() == house.figures()
    assert there.problems() == house.problems()
    assert upgrade.differences(there.book) == []
    there.book.dispose()


# --- which are kept -------------------------------------------------------------------------------------------------


def test_the_rule_keeps_the_newest_of_each_day_week_and_month() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    moments = [NOW - timedelta(hours=6 * n) for n in range(4 * 400)]
    kept = retention.kept(moments, RetentionRule(days=7, weeks=4, months=6), zone)
    days = sorted({at.astimezone(zone).date() for at in kept}, reverse=True)
    assert NOW in kept
    assert len([at for at in kept if NOW - at < timedelta(days=1)]) == 4
    assert days[:7] == [(NOW.astimezone(zone) - timedelta(days=n)).date() for n in range(7)]
    assert {(at.year, at.month) for at in kept} == {(2026, n) for n in range(1, 7)}
    assert len(kept) <= 4 + 7 + 4 + 6
    assert retention.kept([], RetentionRule(), zone) == set()
    assert retention.kept([NOW - timedelta(days=900), NOW - timedelta(days=800)], RetentionRule(1, 0, 0), zone) == {
        NOW - timedelta(days=800)
    }  # however long ago


def test_old_points_and_their_pieces_go(small: House, place: str) -> None:
    clock = Clock(NOW)
    house = House(small.settings.data, clock=clock)
    rule = {"backup_days": 2, "backup_weeks": 0, "backup_months": 0}
    for day in range(4):
        clock.now = NOW + timedelta(days=day)
        with house.book.transaction(steward()) as tx:
            tx.audit("note", "day:1", after={"day": day})
        made = keep(house, place, **rule)
    at_place = backups.BackupPlace(place)
    assert points.names(at_place) == [points.name_of(NOW + timedelta(days=n)) for n in (2, 3)]
    needed = {piece for name in points.names(at_place) for piece in points.read(at_place, name).pieces()}
    assert {one.name for one in pieces_of(place)} == needed
    assert made.gone == (points.name_of(NOW + timedelta(days=1)),)
    house.book.dispose()


# --- by the clock, on the page, from the command line ---------------------------------------------------------------


def test_the_job_makes_one_when_it_is_due(small: House, place: str) -> None:
    clock = Clock(NOW + timedelta(days=30))
    house = House(small.settings.data, clock=clock)
    settings = replace(small.settings, backup_place=place, backup_hours=24)
    works = Workbench(house.book, house.lake, small.settings.data)

    def said(with_settings: Settings = settings) -> str:
        clock.advance(seconds=1)
        assert worklist.run_once(works, with_settings, "backup") is RunState.DONE
        with house.book.reading() as tx:
            return worded(latest(tx, ["backup"])["backup"].said)

    assert said(replace(settings, backup_place="")) == "没有设置备份位置"
    assert "已备份" in said()
    assert said() == "未到下次备份时间"
    with house.book.reading() as tx:
        good = runs.last_good(tx, place)
        assert good is not None
        assert (good.by, good.sealed, runs.overdue(settings, good, tx.now)) == ("job:backup", True, False)
        assert runs.overdue(settings, good, tx.now + timedelta(hours=49)) is True
    clock.advance(hours=23, minutes=55)
    assert len(points.names(backups.BackupPlace(place))) == 1
    assert "已备份" in said()
    assert len(points.names(backups.BackupPlace(place))) == 2
    house.book.dispose()


def test_a_backup_that_fails_is_recorded_and_told(small: House, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, no folder")
    with pytest.raises(Refused, match=r"backup\.unreachable"):
        runs.carry_out(small.settings, small.book, str(blocked), steward("backup"))
    with small.book.reading() as tx:
        run = runs.last(tx)
        assert run is not None
        assert (run.point, run.place) == ("", str(blocked))
        assert "blocked" in run.error
        told = tx.scalar(
            select(AuditRecord)
            .where(AuditRecord.action == "house.backup")
            .order_by(AuditRecord.sequence.desc())
            .limit(1)
        )
        assert told is not None
        assert told.after["error"] == run.error


def test_one_that_fails_does_not_end_those_that_follow(
    small: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, no folder")
    data, slept = str(small.settings.data), list[float]()

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise Enough
        if blocked.is_file():
            blocked.unlink()

    monkeypatch.setattr(terminal_backups, "time", SimpleNamespace(sleep=sleep))
    ran = CliRunner().invoke(main, ["backup", str(blocked), "--data", data, "--every", "2"])
    assert isinstance(ran.exception, Enough), ran.output
    assert slept == [7200, 7200, 7200]
    assert "backup.unreachable" in ran.stderr
    assert "the next is tried in its turn" in ran.stderr
    assert len(ran.stdout.splitlines()) == 2
    assert points.names(backups.BackupPlace(str(blocked)))
    with small.book.reading() as tx:
        assert [bool(one) for one in tx.scalars(select(BackupRun.point).order_by(BackupRun.id))][-3:] == [
            False, True, True,
        ]  # fmt: skip
    bad = CliRunner().invoke(main, ["backup", "gopher://there", "--data", data, "--every", "2"])
    assert (bad.exit_code, len(slept)) == (1, 3)
    assert CliRunner().invoke(main, ["backup", str(blocked), "--data", f"{data}-no", "--every", "2"]).exit_code == 3


def guanjia(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == code, done.output
    return done.output


def test_the_commands_in_the_order_of_a_disaster(small: House, place: str, tmp_path: Path) -> None:
    data = str(small.settings.data)
    made = json.loads(guanjia("backup", place, "--data", data, "--json"))
    assert (made["keys"], made["gone"]) == (False, [])
    (listed,) = json.loads(guanjia("backup", "list", place, "--json"))["points"]
    assert listed["point"] == made["point"]
    assert "clean: 1 backups" in guanjia("backup", "verify", place, "--data", data)
    assert "brought back and verified" in guanjia("backup", "verify", place, "--data", data, "--drill")
    new = str(tmp_path / "new")
    assert made["point"] in guanjia("restore", place, "--data", new)
    assert "restore.not_empty" in guanjia("restore", place, "--data", new, code=1)
    assert "clean" in guanjia("verify", "--data", new)
    pieces_of(place)[0].unlink()
    assert "is not there" in guanjia("backup", "verify", place, "--data", data, code=1)
    assert "give PLACE" in guanjia("backup", "--data", data, code=2)
    assert "backup.none" in guanjia("restore", place, "--at", "20010101T000000Z", "--data", str(tmp_path / "n"), code=1)
    with making.occupied(small.settings.data, making.HousePart.BACKUP):
        assert "a backup of this house is being made" in guanjia("backup", place, "--data", data, code=2)
    vault.keys(guanjia("backup", "new-key").strip())
