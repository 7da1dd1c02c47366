"""Anchors: signed, published, and what they name that no seal inside the book can: a chain cut, and a chain written anew."""

from __future__ import annotations

import base64
import json
import shutil
import smtplib
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from joserfc import jws
from joserfc.jwk import OKPKey
from sqlalchemy import select, text

from console import anchors, founding
from console.anchors import keys, making, publishing
from console.anchors.tables import Anchor, AnchorPublication
from console.cli import commands
from console.jobs import Unsuccessful
from console.mail import postman
from console.settings import BadSetting, Settings, load
from console.worklist import Worklist
from metering.lake import Lake
from metering.workbench import Workbench
from quota import audit, sealing
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import departments
from quota.errors import Invalid, NotAllowed
from quota.sealing.rows import RowSeal, Seal, Sealing, digest_of, linked
from quota.seals import GENESIS, link
from tests.conftest import Clock
from tests.console.test_seals import lawless

WHO = steward("anchor")


def register(book: Book, *codes: str) -> None:
    for code in codes:
        with book.transaction(steward("clerk")) as tx:
            departments.register(tx, code, f"{code}局")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, anchor_key=tmp_path / "elsewhere" / "key.pem", anchor_folder=tmp_path / "disk")


@pytest.fixture
def anchored(book: Book, settings: Settings) -> Book:
    """A book with an anchor in its folder, and something that came after."""
    register(book, "a", "b", "c")
    anchors.make(book, settings, anchors.signer(settings), WHO)
    assert anchors.publish(book, settings).waiting == 0
    register(book, "d")
    return book


def compared(book: Book, *places: Path, trusted: str = "") -> list[str]:
    outside, unread = anchors.read(places)
    with book.reading(one_moment=True) as tx:
        return [*unread, *anchors.compare(tx, outside, trusted=trusted)]


def clean_inside(book: Book) -> bool:
    with book.reading(one_moment=True) as tx:
        return not [*audit.check(tx), *sealing.check(tx)]


def test_an_anchor_says_where_the_chains_end_and_any_jose_library_bears_it_out(
    anchored: Book, settings: Settings
) -> None:
    (path,) = settings.anchor_folder.iterdir()
    token = path.read_text().strip()
    head = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    told = json.loads(jws.deserialize_compact(token, OKPKey.import_key(head["jwk"]), algorithms=["Ed25519"]).payload)
    with anchored.reading() as tx:
        row = tx.get_one(Anchor, 1)
        assert tx.get_one(AuditRecord, told["records"]).digest == told["record_digest"]
        assert tx.get_one(Sealing, told["sealings"]).digest == told["seal_digest"]
    assert (told["sequence"], told["rows"]["departments"], row.token) == (1, 3, token)
    key = settings.anchor_key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert compared(anchored, settings.anchor_folder, trusted=row.key_id) == []
    assert clean_inside(anchored)


def test_a_chain_that_was_cut_is_named(anchored: Book, settings: Settings) -> None:
    lawless(anchored)
    with anchored.engine.execution_options(guanjia_writes=True).begin() as tx:
        for change in (
            "DELETE FROM audit_records WHERE sequence > 1",
            "UPDATE audit_head SET sequence = 1, digest = (SELECT digest FROM audit_records)",
            "DELETE FROM anchor_publications",
            "DELETE FROM anchors",
            "DELETE FROM departments WHERE id > 1",
            "DELETE FROM row_seals WHERE sealing > 2",
            "DELETE FROM sealings WHERE sequence > 2",
            "UPDATE seal_head SET sequence = 2, digest = (SELECT digest FROM sealings WHERE sequence = 2)",
        ):
            tx.execute(text(change))
    assert clean_inside(anchored)  # nothing inside can tell
    with anchored.reading() as tx:
        assert audit.head(tx)[0] == 1
    said = compared(anchored, settings.anchor_folder)
    assert [one.split(":")[0] for one in said] == ["audit_records", "sealings", "anchors"]
    assert "row 3 is gone: anchor 1 of " in said[0]
    assert said[0].endswith("the chain ends at 1: it was cut")
    assert said[2] == "anchors: row 1 is missing, and was published"


def rewritten(book: Book) -> None:
    """Change who did the first act and what came of it, and make every seal of both chains fit again."""
    lawless(book)
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        connection.execute(text("UPDATE departments SET name = '假局' WHERE id = 1"))
        connection.execute(text("UPDATE audit_records SET actor = 'nobody' WHERE sequence = 1"))
    with book.reading() as tx:
        previous, records = GENESIS, {0: GENESIS}
        for record in tx.scalars(select(AuditRecord).order_by(AuditRecord.sequence)):
            previous = records[record.sequence] = link(previous, record.content())
        table = departments.Department.__table__
        row = tx.execute(select(table).where(table.c.id == 1)).mappings().one()
        digest, hints = digest_of(sorted(column.name for column in table.columns), row)
        chain, before = {}, GENESIS
        for one in tx.execute(select(Sealing.__table__).order_by(Sealing.sequence)).mappings():
            seals = [
                Seal(seal.place, seal.key, seal.layout, digest, hints)
                if (seal.place, seal.key) == ("departments", "1")
                else Seal(seal.place, seal.key, seal.layout, seal.digest, seal.hints)
                for seal in tx.scalars(select(RowSeal).where(RowSeal.sealing == one["sequence"]))
            ]
            content = {name: value for name, value in one.items() if name != "digest"}
            before = chain[one["sequence"]] = linked(before, content, records[one["record"]], seals)
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        for sequence, told in records.items():
            connection.execute(
                text("UPDATE audit_records SET digest = :d WHERE sequence = :s"), {"d": told, "s": sequence}
            )
        for sequence, told in chain.items():
            connection.execute(text("UPDATE sealings SET digest = :d WHERE sequence = :s"), {"d": told, "s": sequence})
        connection.execute(
            text("UPDATE row_seals SET digest = :d, hints = :h WHERE place = 'departments' AND key = '1'"),
            {"d": digest, "h": hints},
        )
        connection.execute(text("UPDATE audit_head SET digest = :d"), {"d": previous})
        connection.execute(text("UPDATE seal_head SET digest = :d"), {"d": before})


def test_a_chain_written_anew_with_all_its_seals_is_named(anchored: Book, settings: Settings) -> None:
    rewritten(anchored)
    assert clean_inside(anchored)  # nothing inside can tell
    said = compared(anchored, settings.anchor_folder)
    assert any(one.startswith("audit_records: row 3 is not what anchor 1 of ") for one in said)
    assert any(one.startswith("sealings: row ") and "is not what anchor 1 of " in one for one in said)
    assert all(one.split(":")[0] in ("audit_records", "sealings") for one in said)


def test_a_key_is_followed_by_the_one_that_it_names_and_by_no_other(
    book: Book, settings: Settings, tmp_path: Path
) -> None:
    first = anchors.signer(settings).key_id
    anchors.make(book, settings, anchors.signer(settings), WHO)
    anchors.rotate(book, settings, WHO)
    second = anchors.signer(settings).key_id
    anchors.make(book, settings, anchors.signer(settings), WHO)
    anchors.publish(book, settings)
    assert first != second
    assert [one.name for one in settings.anchor_key.parent.iterdir() if "retired" in one.name] == [
        f"key.pem.retired-{first[:8]}"
    ]
    assert compared(book, settings.anchor_folder, trusted=first) == []
    stranger = Settings(data=tmp_path, anchor_key=tmp_path / "other.pem", anchor_folder=settings.anchor_folder)
    anchors.make(book, stranger, anchors.signer(stranger), WHO)
    anchors.publish(book, stranger)
    said = compared(book, settings.anchor_folder, trusted=first)
    assert len(said) == 2  # the row, and its copy
    assert all("which is not the house's" in one for one in said)
    assert all("which is not the house's" in one for one in compared(book, settings.anchor_folder, trusted="unknown"))


def test_an_anchor_by_a_key_whose_halves_are_no_pair_is_not_made(
    anchored: Book, settings: Settings, tmp_path: Path
) -> None:
    keys.made(tmp_path / "other.key")
    torn: Any = keys.signer(settings)
    torn.public = keys.FileSigner(tmp_path / "other.key").public
    with pytest.raises(Invalid, match=r"anchor\.pair"):
        making.make(anchored, settings, torn, steward("anchor"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB"),
        lambda _token: "",
        lambda _token: "a.b.c",
        lambda token: token.replace(".", ""),
        lambda token: ".".join([token.split(".")[0], base64.urlsafe_b64encode(b"[]").decode(), token.split(".")[2]]),
        lambda _token: "锚" * 40,
        lambda _token: "x" * 2_000_000,
        lambda token: ".".join([base64.urlsafe_b64encode(b"[" * 100_000).rstrip(b"=").decode(), *token.split(".")[1:]]),
    ],
    ids=["signature", "empty", "letters", "no dots", "another body", "Chinese", "huge", "deep"],
)  # fmt: skip
def test_what_is_no_anchor_is_named_by_its_file(tmp_path: Path, settings: Settings, spoil: Any) -> None:
    book = founded(settings)
    anchors.make(book, settings, anchors.signer(settings), WHO)
    with book.reading() as tx:
        good = tx.get_one(Anchor, 1).token
    with pytest.raises(anchors.BadAnchor):
        anchors.opened(spoil(good))
    path = tmp_path / "bad.jws"
    path.write_text(spoil(good), encoding="utf-8")
    (told,) = compared(book, path)
    assert told.startswith(f"{path}: it")
    book.dispose()


def founded(settings: Settings) -> Book:
    founding.found(settings, demo=False)
    return Book(settings.database_url)


def test_a_key_that_others_can_read_is_not_used(settings: Settings, tmp_path: Path) -> None:
    anchors.signer(settings)
    settings.anchor_key.chmod(0o640)
    with pytest.raises(Invalid, match=r"anchor\.key_open"):
        anchors.signer(settings)
    settings.anchor_key.chmod(0o600)
    settings.anchor_key.write_text("x")
    with pytest.raises(Invalid, match=r"anchor\.key_bad"):
        anchors.signer(settings)


def test_only_the_house_itself_makes_anchors(book: Book, settings: Settings) -> None:
    with pytest.raises(NotAllowed):
        anchors.make(book, settings, anchors.signer(settings), Actor(login="a", name="甲", role=Role.AUTHORITY))


@pytest.mark.parametrize(
    ("name", "value"), [("ANCHOR_WEBHOOK", "ftp://x"), ("ANCHOR_MAIL", "a@b.example, nobody"), ("ANCHOR_MAIL", "<a@b>")]
)
def test_a_place_that_makes_no_sense_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=f"GUANJIA_{name}"):
        load(tmp_path, {f"GUANJIA_{name}": value})


# -------------------------------------------------------------------------------------------------------------- publishing


class Inbox(BaseHTTPRequestHandler):
    """A place that takes what is posted, once it is told to."""

    taken: list[bytes]
    answer = 503

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if type(self).answer == 204:
            type(self).taken.append(body)
        self.send_response(type(self).answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def inbox() -> Iterator[tuple[str, type[Inbox]]]:
    kind = type("Mine", (Inbox,), {"taken": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/anchors", kind
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_did_not_get_there_is_told_and_tried_again(
    book: Book, settings: Settings, clock: Clock, inbox: tuple[str, type[Inbox]], tmp_path: Path
) -> None:
    url, taken = inbox
    (tmp_path / "disk").write_text("a file where a folder should be")
    to = Settings(data=tmp_path, anchor_folder=tmp_path / "disk", anchor_webhook=url)
    anchors.make(book, to, anchors.signer(to), WHO)
    done = anchors.publish(book, to)
    assert (done.sent, done.waiting) == (0, 2)
    assert any("it answered 503" in one for one in done.said)
    assert any(str(tmp_path / "disk") in one for one in done.said)
    taken.answer = 204
    assert anchors.publish(book, to).sent == 0  # it is not time yet
    (tmp_path / "disk").unlink()
    clock.advance(minutes=6)
    assert anchors.publish(book, to) == anchors.AnchorsPublished(2, 0, ())
    with book.reading() as tx:
        token = tx.get_one(Anchor, 1).token
        assert [one.attempts for one in tx.scalars(select(AnchorPublication))] == [2, 2]
    assert taken.taken == [token.encode()]
    publishing.laid(tmp_path / "disk", 1, token)  # again is the same
    with pytest.raises(publishing.NotPublished):
        publishing.laid(tmp_path / "disk", 1, token + "x")
    assert [one.name for one in (tmp_path / "disk").iterdir()] == ["anchor-00000001.jws"]


def test_an_anchor_is_mailed_with_its_file(
    book: Book, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters: list[EmailMessage] = []

    class Server:
        def send_message(self, letter: EmailMessage) -> None:
            letters.append(letter)

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    to = Settings(
        data=tmp_path, anchor_mail="keeper@example.org", mail_server="mail.example", mail_from="管家 <g@example.org>"
    )
    anchors.make(book, to, anchors.signer(to), WHO)
    monkeypatch.setattr(postman, "connected", lambda _settings: Server())
    assert anchors.publish(book, to) == anchors.AnchorsPublished(2, 0, ())
    (letter,) = letters
    (attached,) = letter.iter_attachments()
    with book.reading() as tx:
        token = tx.get_one(Anchor, 1).token
    assert attached.get_content().decode().strip() == token
    assert anchors.short(token) in letter["Subject"]
    monkeypatch.setattr(postman, "connected", _refusing)
    anchors.make(book, to, anchors.signer(to), WHO)
    assert anchors.publish(book, to).said == ("keeper@example.org: SMTPServerDisconnected: gone",)


def _refusing(_settings: Settings) -> Any:
    raise smtplib.SMTPServerDisconnected("gone")


def test_one_a_day_by_the_clock(book: Book, settings: Settings, clock: Clock) -> None:
    def due() -> bool:
        with book.reading() as tx:
            return anchors.due(tx, settings)

    assert due()
    anchors.make(book, settings, anchors.signer(settings), WHO)
    assert not due()
    clock.now += timedelta(days=1)
    assert due()


# ----------------------------------------------------------------------------------------------------------- the commands


def test_the_commands_make_and_compare(tmp_path: Path) -> None:
    home, kept = tmp_path / "house", tmp_path / "kept"
    founding.found(Settings(data=home), demo=False)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(commands.main, [*arguments, "--data", str(home)])

    made = run("anchor", "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    assert (told["anchor"], told["sent"], told["waiting"]) == (1, 1, 0)
    shutil.copytree(home / "anchors", kept)
    assert run("anchor", "--rotate").exit_code == 0
    clean = run("verify", "--anchor", str(kept), "--anchor-key", told["key"], "--json")
    assert clean.exit_code == 0, clean.output
    assert json.loads(clean.stdout)["checked"]["anchors"] == 3
    other = run("verify", "--anchor", str(kept), "--anchor-key", "other")
    assert other.exit_code == 1
    assert "which is not the house's" in other.output
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty}: there is no anchor in it" in run("verify", "--anchor", str(empty)).output
    book = Book(Settings(data=home).database_url)
    rewritten_record(book, told["records"])
    found = run("verify")  # the house's own copies
    assert found.exit_code == 1
    assert f"audit_records: row {told['records']} is not what anchor 1 of " in found.output
    book.dispose()


def rewritten_record(book: Book, number: int) -> None:
    lawless(book)
    with book.engine.execution_options(guanjia_writes=True).begin() as connection:
        connection.execute(text("UPDATE audit_records SET digest = 'x' WHERE sequence = :number"), {"number": number})


def test_a_key_that_is_away_holds_back_no_anchor_that_is_signed(
    book: Book, settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    folder = tmp_path / "other-disk"
    folder.write_text("not mounted")
    here = replace(settings, anchor_folder=folder)
    anchors.make(book, here, anchors.signer(here), WHO)
    assert anchors.publish(book, here).waiting == 1
    folder.unlink()
    clock.advance(days=1)
    away = replace(
        here, anchor_pkcs11=f"pkcs11:token=a;object=b?module-path={tmp_path}/no.so&pin-source=file:{tmp_path}/pin"
    )
    with pytest.raises(Unsuccessful):
        Worklist(Workbench(book, Lake(tmp_path / "lake"), tmp_path), away).anchor()
    assert len(list(folder.iterdir())) == 1


# -------------------------------------------------------------------------------------------------------------- the pages


def test_auditors_see_anchors_where_they_went_and_take_them_along(
    house: Book, settings: Settings, client_of: Callable[[Role], Any]
) -> None:
    visit = client_of(Role.AUDITOR)
    assert "还没有锚点" in visit.get("/audit/anchors/").text
    assert visit.get("/audit/anchors/1").status_code == 404
    broken = replace(settings, anchor_webhook="http://127.0.0.1:1/x")
    anchors.make(house, broken, anchors.signer(broken), WHO)
    anchors.publish(house, broken)
    with house.reading() as tx:
        token = tx.get_one(Anchor, 1).token
    page = visit.get("/audit/anchors/").text
    assert anchors.short(token) in page
    assert "http://127.0.0.1:1/x: " in page
    shown = visit.get("/audit/anchors/1").text
    assert anchors.opened(token).seal_digest in shown
    assert str(settings.data.resolve() / "anchors") in shown or str(settings.anchor_folder) in shown
    answer = visit.get("/audit/anchors/1/file")
    assert (answer.text.strip(), answer.mimetype) == (token, "application/jose")
    assert client_of(Role.TENANT).get("/audit/anchors/").status_code == 403
    assert "guanjia_anchors_unpublished 1.0" in client_of(Role.AUDITOR).get("/metrics").text
