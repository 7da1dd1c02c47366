"""Files as evidence: told by content, kept once, sealed, forgotten if never handed in. Bytes, not names, decide."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from functools import partial

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from quota import attachments, spans
from quota.actors import Actor, Role, steward
from quota.attachments import Attachment, FileContent, StagedFile
from quota.db import Book
from quota.errors import Conflict, Invalid, NotFound
from quota.file_kinds import LARGEST, bare_name, recognise
from tests import books
from tests.patience import together

WHO = Actor("qian", "钱", Role.TENANT, department_id=1)
PDF = b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(17) + b"\x00\x00\x00\x00IEND\xaeB`\x82"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(40) + b"\xff\xd9"


def package(*names: str, body: bytes = b"<x/>") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            made.writestr(
                zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED
            )  # no clock in it: parameters are made of it
    return held.getvalue()


XLSX = package("[Content_Types].xml", "xl/workbook.xml")
DOCX = package("[Content_Types].xml", "word/document.xml")


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("年审计划.pdf", PDF, "application/pdf"),
        ("截图.PNG", PNG, "image/png"),
        ("a.jpeg", JPEG, "image/jpeg"),
        ("用量.xlsx", XLSX, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("说明.docx", DOCX, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("说明.txt", "峰值 91%\r\n".encode(), "text/plain"),
        ("用量.csv", "时间,CPU\n2025-06-20,91".encode("gb18030"), "text/csv"),
        ("导出.csv", "\ufeff时间,CPU\n".encode("utf-16"), "text/csv"),
        ("小于号.txt", "CPU < 5 且 内存 < 20".encode(), "text/plain"),
    ],
)
def test_what_is_taken(name: str, content: bytes, media_type: str) -> None:
    assert recognise(name, content).media_type == media_type


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("空.pdf", b"", "file.empty"),
        ("大.txt", b"x" * (LARGEST + 1), "file.large"),
        ("page.html", b"<!doctype html><script>alert(1)</script>", "file.kind"),
        ("page.txt", b"<!doctype html><script>alert(1)</script>", "file.kind"),
        ("later.csv", b"a,b\n1,<ScRiPt src=//x>", "file.kind"),
        ("draw.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "file.kind"),
        ("draw.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "file.kind"),
        ("draw.txt", "\ufeff \n<?xml version='1.0'?><svg/>".encode(), "file.kind"),
        ("run.pdf", b"MZ\x90\x00" + bytes(100), "file.kind"),
        ("cut.pdf", PDF[:20], "file.kind"),
        ("cut.png", PNG[:30], "file.kind"),
        ("zip.xlsx", package("readme.txt"), "file.kind"),
        ("broken.docx", DOCX[:40], "file.kind"),
        ("macro.xlsx", package("[Content_Types].xml", "xl/workbook.xml", "xl/vbaProject.bin"), "file.kind"),
        ("nul.txt", b"a\x00b", "file.kind"),
        ("photo.pdf", PNG, "file.name"),
        ("report.pdf.exe", PDF, "file.name"),
        ("sheet.docx", XLSX, "file.name"),
        ("noending", PDF, "file.name"),
    ],
)
def test_what_is_refused_and_by_which_name(name: str, content: bytes, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        recognise(name, content)
    assert refused.value.code == code
    assert name in str(refused.value)


def test_a_package_that_unpacks_to_a_flood_is_refused() -> None:
    flood = package(
        "[Content_Types].xml", "xl/workbook.xml", *(f"xl/{n}.xml" for n in range(21)), body=bytes(10 * 1024**2)
    )
    assert len(flood) < LARGEST
    with pytest.raises(Invalid):
        recognise("bomb.xlsx", flood)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\a\\证据.pdf", "证据.pdf"),
        ("a\u202etxt.pdf", "atxt.pdf"),
        ("a\r\nSet-Cookie: x.pdf", "aSet-Cookie: x.pdf"),
        ("..", "未命名"),
        ("", "未命名"),
        ("长" * 300 + ".pdf", "长" * 116 + ".pdf"),
    ],
)
def test_names_are_bare(given: str, kept: str) -> None:
    assert bare_name(given) == kept


def hand_in(book: Book, *files: tuple[str, bytes], subject: str = "case:1") -> list[int]:
    with book.transaction(WHO) as tx:
        rows = [attachments.stage(tx, name, content) for name, content in files]
        return [one.id for one in attachments.attach(tx, subject, rows)]


def test_a_content_is_kept_once_and_named_as_often_as_it_is_put_forward(book: Book) -> None:
    first = hand_in(book, ("a.pdf", PDF), ("b.png", PNG))
    second = hand_in(book, ("again.pdf", PDF), subject="case:2")
    with book.reading() as tx:
        assert list(attachments.of(tx, "case:1")) == first
        assert [one.name for one in attachments.of(tx, "case:2").values()] == ["again.pdf"]
        assert tx.scalar(select(func.count()).select_from(FileContent)) == 2
        assert tx.scalar(select(func.count()).select_from(StagedFile)) == 0
        assert attachments.content(tx, tx.get_one(Attachment, second[0])) == PDF
        assert list(attachments.check(tx)) == []


def test_the_same_twice_at_once_and_too_many_are_refused_by_name(book: Book) -> None:
    with pytest.raises(Invalid, match=r"b\.pdf.*a\.pdf.*内容相同"):
        hand_in(book, ("a.pdf", PDF), ("b.pdf", PDF))
    with pytest.raises(Invalid, match="最多5个"):
        hand_in(book, *((f"{n}.txt", f"{n}".encode()) for n in range(6)))
    for n in range(8):
        hand_in(book, *((f"{n}-{m}.txt", f"{n}-{m}".encode()) for m in range(5)))
    with pytest.raises(Invalid, match="不超过40个"):
        hand_in(book, ("one-more.pdf", PDF))
    with book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(Attachment)) == 40
        assert attachments.of(tx, "case:9") == {}


def test_an_upload_is_its_owners_and_is_used_once_and_forgotten_after_a_day(book: Book, clock) -> None:
    with book.transaction(WHO) as tx:
        token = attachments.stage(tx, "a.pdf", PDF).token
        left = attachments.stage(tx, "left.png", PNG).token
    with book.transaction(Actor("sun", "孙", Role.TENANT, department_id=2)) as tx, pytest.raises(Invalid):
        attachments.staged(tx, [token])
    with book.transaction(WHO) as tx:
        attachments.attach(tx, "case:1", attachments.staged(tx, [token, token]))
    with book.transaction(WHO) as tx, pytest.raises(Invalid, match="不在了"):
        attachments.staged(tx, [token])
    clock.advance(hours=23)
    with book.transaction(steward()) as tx:
        assert attachments.purge(tx) == 0
    clock.advance(hours=2)
    with book.transaction(steward()) as tx:
        assert attachments.purge(tx) == 1
    with book.transaction(WHO) as tx, pytest.raises(Invalid):
        attachments.staged(tx, [left])


def test_nobody_fills_the_book_with_uploads_that_are_never_handed_in(book: Book) -> None:
    with book.transaction(WHO) as tx:
        for n in range(attachments.MOST_STAGED):
            attachments.stage(tx, f"{n}.txt", b"x%d" % n)
        with pytest.raises(Invalid, match="未提交"):
            attachments.stage(tx, "more.txt", b"more")


def test_a_crash_before_the_commit_leaves_nothing(book: Book) -> None:
    with suppress(KeyboardInterrupt), book.transaction(WHO) as tx:
        attachments.attach(tx, "case:1", [attachments.stage(tx, "a.pdf", PDF)])
        tx.flush()
        raise KeyboardInterrupt
    with book.reading() as tx:
        for model in (StagedFile, FileContent, Attachment):
            assert tx.scalar(select(func.count()).select_from(model)) == 0


def test_two_put_the_same_forward_at_one_moment(book: Book) -> None:
    together(*(partial(hand_in, book, ("same.pdf", PDF), subject=f"case:{number}") for number in range(4)))
    with book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(FileContent)) == 1
        assert tx.scalar(select(func.count()).select_from(Attachment)) == 4


@pytest.mark.parametrize("table", ["attachments", "file_contents"])
def test_rows_and_contents_are_append_only(book: Book, table: str) -> None:
    hand_in(book, ("a.pdf", PDF))
    for statement in (f"UPDATE {table} SET size = 1", f"DELETE FROM {table}"):
        with pytest.raises(DBAPIError, match="append-only"), book.transaction(steward()) as tx:
            tx.connection().execute(text(statement))


@pytest.mark.parametrize(
    ("table", "change", "named"),
    [
        (
            "file_contents",
            "UPDATE file_contents SET content = X'000000000000' WHERE size = 6",
            "is not the digest of its content",
        ),
        ("attachments", "UPDATE attachments SET name = 'other.pdf' WHERE id = 3", "is not what the audit trail says"),
        ("attachments", "DELETE FROM attachments WHERE id = 3", "of the audit trail is not there"),
    ],
)
def test_what_was_changed_behind_the_guards_is_named(tmp_path, clock, table: str, change: str, named: str) -> None:
    """And by the part of the rows alone that it is of, whenever the others were put forward."""
    book = Book(books.sqlite(tmp_path / "book.db"), clock=clock)
    for number in range(1, 6):
        (attachment_id,) = hand_in(book, (f"{number}.txt", b"%d" % number * (6 if number == 3 else 2)))
        clock.advance(days=40)
        attachment_id = min(attachment_id, 3)
    with book.transaction(steward()) as tx:
        for verb in ("update", "delete"):
            tx.connection().execute(text(f"DROP TRIGGER {table}_no_{verb}"))
        tx.connection().execute(text(change))
    with book.reading() as tx:
        (said,) = attachments.check(tx)
        assert named in said
        # Three parts of two each, the newest to the end: what is wrong is of the second.
        assert [list(attachments.check(tx, one)) for one in spans.spans(5, 2)] == [[], [said], []]
        if table == "file_contents":
            with pytest.raises(Conflict, match="SM3"):
                attachments.content(tx, tx.get_one(Attachment, attachment_id))
    book.dispose()


def test_what_there_is_not(book: Book) -> None:
    with book.reading() as tx, pytest.raises(NotFound):
        attachments.attachment(tx, 7)
