"""How the house says how it is: ready or not, what of its set-up is amiss, what may be sent away; and what logs never say."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from console import anchors, founding, health, trail
from console.cli.commands import main
from console.health import Level, checks
from console.schema import upgrade
from console.service import logs
from console.settings import BadSetting, Settings, load
from console.tables import JobRun
from metering.lake.store import Lake
from quota import vault
from quota.actors import Role, steward
from quota.db import Book
from quota.directory import Department, Person, departments
from tests.city import CONSOLE, City
from tests.conftest import Clock
from tests.console.conftest import Visit
from tests.patience import answered, ended, free_port, until

NOW = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Book]]:
    """A house with people of every role, whose jobs run."""
    settings = founding.found(Settings(data=tmp_path_factory.mktemp("house") / "data"), demo=False)
    book = Book(settings.database_url)
    City(book, plan=CONSOLE)
    with book.transaction(steward()) as tx:
        tx.add(
            JobRun(
                job="carry", slot=tx.now, state="done", started_at=tx.now, lease_until=tx.now, ended_at=tx.now,
                said=[["error", {"error": "ValueError: 张三 13800000000"}]], outcome="张三",
            )
        )  # fmt: skip
    yield settings, book
    book.dispose()


# --- ready ----------------------------------------------------------------------------------------------------------


def test_the_newest_revision_is_known_without_alembic() -> None:
    assert upgrade.newest() == upgrade.latest()


def test_a_house_whose_jobs_run_is_ready(standing: tuple[Settings, Book]) -> None:
    settings, book = standing
    assert health.ready(settings, book) == dict.fromkeys(("book", "schema", "lake", "disk", "jobs"), "")


def test_what_is_amiss_is_said_and_no_more(
    standing: tuple[Settings, Book], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, book = standing
    later = Book(settings.database_url, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert health.ready(settings, later)["jobs"] == "not running"
    assert health.ready(replace(settings, lake=tmp_path / "gone"), book)["lake"] == "not writable"
    monkeypatch.setattr(checks, "NEEDED_B", 1 << 60)
    assert health.ready(settings, book)["disk"] == "full"
    away = Book("postgresql+psycopg://u:p@127.0.0.1:1/none")
    assert health.ready(settings, away)["book"] == "unreachable"
    other = Book(f"sqlite:///{tmp_path / 'old.db'}")
    upgrade.migrate(other, "0001")
    assert health.ready(settings, other)["schema"] == "another version"
    for one in (later, away, other):
        one.dispose()


def test_a_probe_needs_no_login(client: Visit, house: Book, settings: Settings) -> None:
    Lake(settings.lake_dir)
    answer = client.get("/readyz")
    told = answer.get_json()
    assert (answer.status_code, told["ready"]) == (503, False)
    assert told["checks"]["schema"] == "another version"  # the tests' book was made without migrations
    assert client.get("/healthz").status_code == 200


# --- doctor ---------------------------------------------------------------------------------------------------------


def test_the_doctor_names_what_is_amiss(standing: tuple[Settings, Book], tmp_path: Path) -> None:
    settings, book = standing

    def bad(**more: object) -> dict[str, str]:
        found = health.examine(replace(settings, **more), book)  # type: ignore[arg-type]
        return {one.check: one.said for one in found if one.level == Level.BAD}

    assert bad() == {"backups": "there is no backup"}
    assert "127.0.0.1:1 does not answer" in bad(mail_server="127.0.0.1:1", mail_from="a@b.cn")["mail"]
    with book.transaction(steward()) as tx:
        vault.keep(tx, "cloud", "Wei-Lai-2026", vault.new_key())
    assert "no secrets_key is set" in bad()["keys"]
    assert bad(secrets_key=vault.new_key())["keys"] == "the secret cloud does not open: secret.sealed"
    settings.data.chmod(0o755)
    assert "may be opened by others" in bad()["permissions"]
    settings.data.chmod(0o700)
    done = CliRunner().invoke(main, ["doctor", "--json", "--data", str(settings.data)])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["bad"]) == (1, 2)
    assert {one["check"] for one in told["findings"]} >= {"permissions", "disk", "clock", "schema", "lanes", "mail"}
    assert re.search("[\u4e00-\u9fff]", done.stdout) is None
    assert CliRunner().invoke(main, ["doctor", "--data", str(tmp_path / "none")]).exit_code == 3


def about(settings: Settings, book: Book, check: str) -> list[tuple[Level, str]]:
    return [(one.level, one.said) for one in health.examine(settings, book) if one.check == check]


def test_the_doctor_says_where_anchors_stay_with_the_book(
    house: Book,
    settings: Settings,
    clock: Clock,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = tmp_path_factory.mktemp("away")
    assert about(settings, house, "anchors") == [
        (Level.NOTE, "anchors go nowhere outside the data directory: anchor_folder, anchor_mail, anchor_webhook"),
        (
            Level.NOTE,
            "the key that signs anchors lies beside the book (anchor_key): who can write one can read the other",
        ),
    ]
    moved = replace(settings, anchor_folder=away / "anchors", anchor_key=away / "key")
    assert about(moved, house, "anchors") == [
        (Level.NOTE, "anchors lie on the disk of the house itself, and go nowhere else")
    ]
    mailed = replace(moved, anchor_mail="archive@example.gov.cn")
    assert about(mailed, house, "anchors") == [(Level.GOOD, "in order")]
    anchors.make(house, mailed, anchors.signer(mailed), steward("anchor"))
    anchors.publish(house, mailed)  # there is no mail server
    assert about(mailed, house, "anchors") == [
        (Level.BAD, "1 anchors did not get where they go: Audit › Anchors says why")
    ]
    clock.advance(days=3)
    assert (Level.BAD, "the newest anchor is 72 h old: does the job anchor run?") in about(mailed, house, "anchors")
    monkeypatch.setattr(checks, "_disk", hash)
    assert all(level is Level.BAD for level, _said in about(moved, house, "anchors")), "another disk is elsewhere"


def test_the_doctor_says_what_of_the_trail_did_not_leave_the_house(
    house: Book, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = (Level.NOTE, "the trail is handed on to the disk of the house itself alone: audit_syslog, audit_folder")
    unserved = (Level.NOTE, "the files of the trail: nothing was handed on yet; does the job trail run?")
    assert about(settings, house, "trail") == [here, unserved]
    trail.carry_out(settings, house)
    assert about(settings, house, "trail") == [here]
    with house.transaction(steward()) as tx:
        departments.register(tx, "d77", "新局")
    clock.advance(hours=2)
    late = dict(about(settings, house, "trail"))
    assert "1 records are still to be handed on" in late[Level.BAD]
    shutil.rmtree(settings.trail_folder)
    trail.carry_out(settings, house)
    (_here, (level, said)) = about(settings, house, "trail")
    assert (level, "1 gaps" in said, "(lost)" in said) == (Level.BAD, True, True)
    clock.advance(days=31)
    trail.carry_out(settings, house)
    assert [level for level, _said in about(settings, house, "trail")] == [Level.NOTE, Level.NOTE], "an old gap"
    blocked = replace(settings, audit_folder=settings.data / "blocked")
    blocked.audit_folder.write_text("a file, no folder")
    trail.carry_out(blocked, house)
    said = " ".join(said for level, said in about(blocked, house, "trail") if level is Level.BAD)
    assert "the last try failed" in said
    monkeypatch.setattr(checks, "_disk", hash)
    assert here not in about(settings, house, "trail"), "another disk is elsewhere"


# --- support bundle -------------------------------------------------------------------------------------------------


def test_a_bundle_has_nobody_in_it(standing: tuple[Settings, Book], tmp_path: Path) -> None:
    settings, book = standing
    named = replace(settings, city="临江市", mail_server="mail.linjiang.gov.cn", metrics_token="Wei-Lai-2026-token")
    health.bundle(named, book, tmp_path / "bundle.tgz")
    with tarfile.open(tmp_path / "bundle.tgz") as archive:
        parts = {one.name: archive.extractfile(one).read().decode() for one in archive}  # type: ignore[union-attr]
    whole = "\n".join(parts.values())
    with book.reading() as tx:
        people = tx.scalars(select(Person)).all()
        secret = [one for person in people for one in (person.login, person.name, person.email or "") if one]
        secret += tx.scalars(select(Department.name)).all()
        hashes = [person.password_hash for person in people if getattr(person, "password_hash", "")]
    roles = {role.value for role in Role}
    for one in {*secret, *hashes, "临江市", "linjiang", "Wei-Lai", "张三", "13800000000", str(settings.data)} - roles:
        assert one not in whole, one
    assert re.search("[\u4e00-\u9fff]", whole) is None
    assert json.loads(parts["guanjia-support/settings.json"])["metrics_token"] == "set"
    assert json.loads(parts["guanjia-support/jobs.json"])["newest"][0]["said"] == ["error ValueError"]
    assert json.loads(parts["guanjia-support/book.json"])["rows"]["people"] == len(people)
    again = CliRunner().invoke(main, ["support-bundle", str(tmp_path / "bundle.tgz"), "--data", str(settings.data)])
    assert (again.exit_code, "is there already" in again.output) == (2, True)


# --- logs -----------------------------------------------------------------------------------------------------------

SECRETS = {
    "password=Tiger-2026": "Tiger-2026",
    'tried {"password": "Tiger 2026"}': "Tiger",
    "GET /x?token=abcdef0123456789&y=1": "abcdef0123456789",
    "Authorization: Bearer eyJhbGciOi.J9.x": "eyJhbGciOi",
    "connect to postgresql+psycopg://guanjia:pa55word@db/guanjia": "pa55word",
    "new_password='Tiger-2026'": "Tiger-2026",
    "mail_password: Tiger-2026": "Tiger-2026",
    "GET /wall/gj_0a1b2c3d4e5f_Zx9-tIger_2026abcdefghijklmnopqr HTTP/1.1": "tIger",
    "error at /api/v1/calendar/gj_0a1b2c3d4e5f_Zx9-tIger_2026abcdefgh.ics": "tIger",
    "the key is k" + "e" * 40: "e" * 40,
}


def written(settings: Settings, *words: object, error: BaseException | None = None) -> str:
    sink = io.StringIO()
    record = logging.LogRecord("guanjia.x", logging.ERROR, __file__, 1, "%s", words, None)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    handler = logs.dressed(logging.StreamHandler(sink), settings)
    handler.handle(record)
    return sink.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_written(log_format: str) -> None:
    settings = Settings(log_format=log_format, secret_key="k" + "e" * 40)
    for line, secret in SECRETS.items():
        said = written(settings, line)
        assert secret not in said, said
        assert "***" in said
        assert secret not in written(settings, "x", error=ValueError(line))
    harmless = "the token of agent 3 was changed; 2 passwords are old"
    assert harmless in written(settings, harmless)


def test_every_secret_of_the_settings_is_known() -> None:
    kept = [one.name for one in fields(Settings) if not one.repr]
    settings = Settings(**{name: f"secret-of-{name}" for name in kept})  # type: ignore[arg-type]
    assert set(logs.secrets_of(settings)) == {f"secret-of-{name}" for name in kept}
    assert {"secret_key", "secrets_key", "metrics_token", "mail_password", "backup_key"} <= set(kept)


def test_an_error_of_the_database_does_not_say_what_was_kept(book: Book) -> None:
    statement = text("INSERT INTO sealed_secrets (name, sealed) VALUES ('a', :sealed)")
    carried = {"sealed": "Tiger-2026"}
    with pytest.raises(IntegrityError) as refused, book.engine.begin() as connection:
        connection.execute(statement, carried)  # whose line a traceback shows
    said = written(Settings(), "refused", error=refused.value)
    assert "sealed_secrets" in said
    assert "Tiger-2026" not in said


def test_a_format_that_is_none_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="GUANJIA_LOG_FORMAT: 'xml' is neither text nor json"):
        load(tmp_path, {"GUANJIA_LOG_FORMAT": "xml"})


def test_a_served_house_writes_objects_with_the_id_that_the_page_shows(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    founding.found(Settings(data=data), demo=False)
    access = tmp_path / "access.log"
    environment = {**os.environ, "GUANJIA_LOG_FORMAT": "json", "GUANJIA_ACCESS_LOG": str(access)}
    command = [sys.executable, "-m", "console.cli", "serve", "--data", str(data), "--port", str(port), "--workers", "1"]
    with ended(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)):
        answered(f"http://127.0.0.1:{port}/healthz")
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/login?token=abcdef0123456789", headers={"X-Request-ID": "request-0815"}
        )
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            assert answer.headers["X-Request-ID"] == "request-0815"
        found = until(lambda: [one for one in access.read_text().splitlines() if "request-0815" in one], "a line")
    told = json.loads(found[0])
    assert (told["request_id"], told["status"], told["logger"]) == ("request-0815", 200, "guanjia.access")
    assert "abcdef0123456789" not in access.read_text()
