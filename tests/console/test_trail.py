"""The audit trail handed on: to files and to a real receiver of syslog over TLS, at least once, with its gaps told."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import stat
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select, text

from console import trail, worklist
from console.jobs import Unsuccessful
from console.settings import BadSetting, Settings, load
from console.tables import AuditExport
from console.trail import exports, records, syslog
from console.trail.files import Folder
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota import audit
from quota.actors import Role, steward
from quota.seals import GENESIS
from tests.patience import PATIENCE, until

FRAME = re.compile(rb"(\d+) ")
HEADER = re.compile(
    r'<109>1 (\S+) (\S+) guanjia - (\S+) \[audit@32473 seq="(\d+)" (.*?)(?<!\\)\] \ufeff(\{.*\})', re.DOTALL
)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """(certificate, key) of a server on the loopback that proves itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@dataclass
class Receiver:
    """A log server: what it took, whole. ``breaks``: so many connections are reset after a few bytes."""

    port: int
    ca: Path
    messages: list[str] = field(default_factory=list)
    breaks: int = 0

    def take(self, body: bytes) -> None:
        while body:
            length = FRAME.match(body)
            assert length is not None, body[:40]
            end = length.end() + int(length[1])
            self.messages.append(body[length.end() : end].decode())
            body = body[end:]

    @property
    def sequences(self) -> list[int]:
        return [int(HEADER.fullmatch(one)[4]) for one in self.messages]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    path, key = certificate(tmp_path, "log-server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    door = socket.create_server(("127.0.0.1", 0))
    found = Receiver(door.getsockname()[1], path)

    def serve() -> None:
        while True:
            try:
                plain, _address = door.accept()
            except OSError:
                return
            plain.settimeout(PATIENCE)
            try:
                with context.wrap_socket(plain, server_side=True) as secured:
                    if found.breaks:
                        found.breaks -= 1
                        secured.recv(10)
                        secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        continue
                    body = b""
                    while part := secured.recv(65536):
                        body += part
                    found.take(body)
                    secured.unwrap()
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield found
    door.shutdown(socket.SHUT_RDWR)
    door.close()
    thread.join(PATIENCE)


def note(book, *what: str) -> None:
    with book.transaction(steward()) as tx:
        for one in what:
            tx.audit("house.seal", f"house:{one}", after={"what": one}, reason='"]\\ 中文\n第二行')


def lines(settings: Settings) -> list[str]:
    return [
        line for _day, path in Folder(settings.trail_folder).days() for line in path.read_text("utf-8").splitlines()
    ]


def sequences(settings: Settings) -> list[int]:
    return [records.read(line)[0] for line in lines(settings)]


def standing(book, kind: str = "file") -> AuditExport:
    with book.reading(steward()) as tx:
        return tx.scalars(select(AuditExport).where(AuditExport.kind == kind)).one()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", secret_key="t" * 40)


def test_every_record_is_a_line_and_the_lines_prove_themselves(book, settings) -> None:
    note(book, *map(str, range(7)))
    (done,) = trail.carry_out(settings, book)
    assert (done.records, done.gaps, done.error) == (7, [], "")
    assert sequences(settings) == list(range(1, 8))
    assert records.check(lines(settings)) is None
    forged = [line.replace('"what":"3"', '"what":"x"') for line in lines(settings)]
    assert records.check(forged) == 4
    assert records.check(lines(settings)[:2] + lines(settings)[3:]) == 4
    path = Folder(settings.trail_folder).days()[0][1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with book.reading(steward()) as tx:
        sequence, digest = audit.head(tx)
    assert records.read(lines(settings)[-1]) == (sequence, digest)


def test_the_next_run_goes_on_and_nothing_comes_twice(settings, tmp_path, book, monkeypatch) -> None:
    monkeypatch.setattr(exports, "BATCH", 3)
    note(book, *map(str, range(8)))
    trail.carry_out(settings, book)
    assert trail.carry_out(settings, book)[0].records == 0
    note(book, "more")
    trail.carry_out(settings, book)
    assert sequences(settings) == list(range(1, 10))
    with book.reading(steward()) as tx:
        assert [(one.behind, one.since) for one in trail.standings(tx)] == [(0, None)]


def test_half_a_line_of_a_crash_and_a_position_that_was_not_kept_are_mended(book, settings) -> None:
    note(book, "a", "b", "c")
    trail.carry_out(settings, book)
    path = Folder(settings.trail_folder).days()[0][1]
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 5])  # died while it wrote
    with book.transaction(steward()) as tx:
        row = tx.scalars(select(AuditExport)).one()
        row.sequence, row.digest = 1, json.loads(lines(settings)[0])["digest"]  # died before it kept how far it was
    note(book, "d")
    (done,) = trail.carry_out(settings, book)
    assert (sequences(settings), done.gaps) == ([1, 2, 3, 4], [])
    assert records.check(lines(settings)) is None


def test_lost_lines_are_written_again_and_told(book, settings) -> None:
    note(book, "a", "b", "c")
    trail.carry_out(settings, book)
    path = Folder(settings.trail_folder).days()[0][1]
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:1]), encoding="utf-8")
    (done,) = trail.carry_out(settings, book)
    assert [(one.after, one.why) for one in done.gaps] == [(1, "lost")]
    path.unlink()
    (done,) = trail.carry_out(settings, book)
    assert [one.why for one in done.gaps] == ["lost"]
    assert records.check(lines(settings)) is None
    assert standing(book).gaps == 2
    with book.reading(steward()) as tx:
        assert tx.scalars(select(audit.AuditRecord.subject).where(audit.AuditRecord.action == "trail.gap")).all() == [
            "audit:1",
            "audit:0",
        ]


def behind_its_back(book, *statements: str) -> None:
    with book.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            for name in connection.execute(
                text("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='audit_records'")
            ).scalars():
                connection.execute(text(f'DROP TRIGGER "{name}"'))
        else:
            connection.execute(text("ALTER TABLE audit_records DISABLE TRIGGER USER"))
        for one in statements:
            connection.execute(text(one))


def test_a_record_that_is_missing_or_altered_is_told_and_the_rest_goes_on(book, settings) -> None:
    note(book, *"abcdef")
    behind_its_back(
        book,
        "DELETE FROM audit_records WHERE sequence = 2",
        "UPDATE audit_records SET reason = 'forged' WHERE sequence = 5",
    )
    (done,) = trail.carry_out(settings, book)
    assert [(one.after, one.found, one.why) for one in done.gaps] == [(1, 3, "missing"), (4, 5, "altered")]
    assert sequences(settings)[:5] == [1, 3, 4, 5, 6]
    row = standing(book)
    assert (row.gaps, row.gap_at, row.gap_why) == (2, 4, "altered")
    assert trail.carry_out(settings, book)[0].gaps == [], "told once"


def test_a_trail_that_was_cut_is_told_once_and_its_new_records_are_handed_on(book, settings) -> None:
    note(book, *"abcdef")
    trail.carry_out(settings, book)
    kept = json.loads(lines(settings)[2])["digest"]
    behind_its_back(
        book,
        "DELETE FROM audit_records WHERE sequence > 3",
        f"UPDATE audit_head SET sequence = 3, digest = '{kept}'",
    )
    (done,) = trail.carry_out(settings, book)
    assert [(one.after, one.found, one.why) for one in done.gaps] == [(6, 3, "cut")]
    note(book, "x")
    for _ in range(2):
        trail.carry_out(settings, book)
    assert sequences(settings) == [1, 2, 3, 4, 5, 6, 4, 5]  # the gap itself is the fourth record, x the fifth
    assert standing(book).gaps == 1


def test_files_are_kept_for_their_time_and_the_newest_always(book, settings, clock) -> None:
    for _ in range(3):
        note(book, "a")
        trail.carry_out(settings, book)
        clock.advance(days=200)
    assert len(Folder(settings.trail_folder).days()) == 3
    (settings.trail_folder / "notes.txt").write_text("mine")
    trail.carry_out(replace(settings, audit_keep_days=250), book)
    assert len(Folder(settings.trail_folder).days()) == 1
    clock.advance(days=4000)
    trail.carry_out(settings, book)
    assert [path.name for path in settings.trail_folder.iterdir() if path.suffix == ".txt"] == ["notes.txt"]
    assert len(Folder(settings.trail_folder).days()) == 1


def test_a_clock_that_was_set_back_does_not_mix_the_order(book, settings, clock) -> None:
    note(book, "a")
    trail.carry_out(settings, book)
    clock.advance(days=-3)
    note(book, "b")
    trail.carry_out(settings, book)
    assert sequences(settings) == [1, 2]
    assert len(Folder(settings.trail_folder).days()) == 1


def test_a_log_server_gets_every_record_over_tls(book, settings, receiver, monkeypatch) -> None:
    monkeypatch.setattr(exports, "BATCH", 4)
    told = replace(settings, audit_syslog=f"127.0.0.1:{receiver.port}", audit_syslog_ca=receiver.ca)
    note(book, *map(str, range(10)))
    done = trail.carry_out(told, book)
    assert [one.error for one in done] == ["", ""]
    until(lambda: len(receiver.messages) == 10, "ten messages")
    assert receiver.sequences == list(range(1, 11))
    bodies = [HEADER.fullmatch(one)[6] for one in receiver.messages]
    assert records.check(bodies) is None
    assert bodies == lines(settings)
    first = HEADER.fullmatch(receiver.messages[0])
    assert (first[3], datetime.fromisoformat(first[1])) == ("house.seal", book.clock())
    assert json.loads(bodies[0])["reason"].endswith("第二行")


def test_what_a_broken_connection_took_is_sent_again(book, settings, receiver) -> None:
    told = replace(settings, audit_syslog=f"127.0.0.1:{receiver.port}", audit_syslog_ca=receiver.ca)
    receiver.breaks = 1
    note(book, *map(str, range(2000)))
    file, server = trail.carry_out(told, book)
    assert (file.error, server.records) == ("", 0), "one place that fails keeps no other from being served"
    assert server.error
    row = standing(book, "syslog")
    assert (row.sequence, row.handed_at, row.error) == (0, None, server.error)
    trail.carry_out(told, book)
    until(lambda: len(receiver.messages) >= 2000, "all messages")
    assert sorted(set(receiver.sequences)) == list(range(1, 2001))
    assert standing(book, "syslog").error == ""


def test_a_server_that_does_not_prove_itself_is_told_nothing(book, settings, receiver, tmp_path) -> None:
    (tmp_path / "other").mkdir()
    other, _key = certificate(tmp_path / "other", "somebody")
    note(book, "secret")
    for ca in (other, Path()):
        told = replace(settings, audit_syslog=f"127.0.0.1:{receiver.port}", audit_syslog_ca=ca)
        assert "certificate verify failed" in trail.carry_out(told, book)[1].error
    assert receiver.messages == []


def test_a_full_or_closed_disk_is_said_and_made_up_for(book, settings) -> None:
    note(book, "a")
    settings.data.mkdir()
    settings.trail_folder.write_text("in the way")
    (done,) = trail.carry_out(settings, book)
    assert (done.records, done.error.partition(":")[0]) == (0, "FileExistsError")
    assert standing(book).error == done.error
    settings.trail_folder.unlink()
    trail.carry_out(settings, book)
    assert (sequences(settings), standing(book).error) == ([1], "")


def test_the_job_says_what_it_did_and_fails_where_a_place_did(book, settings) -> None:
    note(book, "a")
    works = Workbench(book, Lake(settings.data / "lake"))
    job = next(one for one in worklist.jobs(works, settings) if one.plan.name == "trail")
    (said,) = job.run()
    assert (said.code, said.figures) == ("handed_on", {"at": "file", "records": 1})
    broken = replace(settings, audit_syslog="127.0.0.1:1")
    with pytest.raises(Unsuccessful) as raised:
        next(one for one in worklist.jobs(works, broken) if one.plan.name == "trail").run()
    assert [one.code for one in raised.value.said] == ["handed_on", "error_at"]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("audit_keep_days", "30", "not between 183"),
        ("audit_syslog", "a b", "neither host nor host:port"),
        ("audit_syslog_ca", "/no/such/file", "there is no file"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, name, value, why) -> None:
    with pytest.raises(BadSetting, match=why):
        load(tmp_path, {f"GUANJIA_{name.upper()}": value})


def test_a_message_is_as_the_rfc_has_it() -> None:
    content = {"actor": 'a"b]\\', "subject": "case:1", "address": "10.0.0.1", "sequence": 7}
    one = records.ExportedRecord(7, datetime(2026, 6, 1, 2, tzinfo=UTC), "a" * 40 + " é", content, GENESIS, "d")
    said = syslog.message(one, "host").decode()
    assert said.startswith("<109>1 2026-06-01T02:00:00.000000Z host guanjia - " + "a" * 32 + " [audit@32473 ")
    assert r'actor="a\"b\]\\"' in said
    assert syslog.framed("é".encode()) == b"2 \xc3\xa9"
    assert os.linesep not in said


def test_the_page_and_the_metrics_tell_how_far_each_place_is(house, client_of, app, tmp_path) -> None:
    auditor = client_of(Role.AUDITOR)
    assert "还没有外送过" in auditor.get("/audit/exports/").text
    settings = Settings(data=tmp_path, secret_key="t" * 40)
    note(house, *"abc")
    trail.carry_out(settings, house)
    behind_its_back(house, "DELETE FROM audit_records WHERE sequence = (SELECT max(sequence) FROM audit_records)")
    note(house, "d")
    trail.carry_out(replace(settings, audit_syslog="127.0.0.1:1"), house)
    page = auditor.get("/audit/exports/").text
    for word in ("日志服务器", "文件", "最近一次外送失败", "Connection refused", "发现中断 1 处"):
        assert word in page
    scraped = app.test_client().get("/metrics").text
    assert 'guanjia_audit_export_failing{type="syslog"} 1.0' in scraped
    assert 'guanjia_audit_export_gaps{type="file"} 1.0' in scraped
    assert client_of(Role.TENANT).get("/audit/exports/").status_code == 403
