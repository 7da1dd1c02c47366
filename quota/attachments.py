"""Attachments: files that people put forward as evidence, kept in the book with their SM3 digests.

In the book and not in a folder: a file and the row that names it are one commit, a backup of the book has both, and two
web servers over one PostgreSQL see the same. A content is kept once, whoever puts it forward how often; rows and contents
are append-only, and the audit trail names the digest. What was uploaded and not handed in yet (a form with a mistake in
it, answers that are still being checked) waits a day in a table of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, ForeignKey, Integer, LargeBinary, String, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from quota.audit import AuditRecord
from quota.base import Base, append_only
from quota.errors import N_, Conflict, Invalid, NotFound
from quota.file_kinds import recognise
from quota.inspection import going_on, readable, rows
from quota.seals import sm3
from quota.spans import WHOLE, NumberSpan

if TYPE_CHECKING:
    from quota.db import Tx

MOST = 5
"""Files that are put forward at once."""
MOST_OF_ONE = 40
"""Files of one case in all."""
MOST_STAGED = 30
"""Files of one person that wait to be handed in."""
KEPT = timedelta(days=1)
"""How long an upload waits to be handed in."""
NEAR = timedelta(days=1)
"""Numbers are given in the order of commits but for what was going on at once; no transaction takes as long as this."""
READ = "application/octet-stream"
"""Media type of a file that is to be read, not put forward."""


class StagedFile(Base):
    """An upload that is not handed in yet; only who uploaded it sees it, by its token."""

    __tablename__ = "staged_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(32), unique=True)
    by: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(160))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(Integer)
    digest: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class FileContent(Base):
    """A content, once, by its SM3."""

    __tablename__ = "file_contents"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(Integer)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class Attachment(Base):
    """A file put forward in ``subject`` (case:12). ``size`` in bytes."""

    __tablename__ = "attachments"

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    label: Mapped[str] = mapped_column(
        String(64), default="", server_default=""
    )  # what it is, where its kind is asked for
    name: Mapped[str] = mapped_column(String(160))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(Integer)
    digest: Mapped[str] = mapped_column(ForeignKey("file_contents.digest"))
    by: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]

    @property
    def reference(self) -> str:
        """As what it is evidence for names it."""
        return str(self.id)

    def told(self) -> str:
        """How the audit trail names it."""
        return f"{f'{self.label} · ' if self.label else ''}{self.name} · {self.size} B · SM3 {self.digest}"


for _table in (FileContent, Attachment):
    append_only(_table.__table__)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------- handing in


def stage(tx: Tx, name: str, content: bytes) -> StagedFile:
    """Keep an upload until it is handed in. Raises Invalid, naming the file, for what is not taken."""
    known = recognise(name, content)
    return _staged(tx, known.name, known.media_type, content)


def keep(tx: Tx, name: str, content: bytes) -> StagedFile:
    """Keep a file that is to be read, whatever it is, while its uploader looks at what would come of it: one at a time."""
    tx.execute(delete(StagedFile).where(StagedFile.media_type == READ, StagedFile.by == tx.actor.login))
    return _staged(tx, PurePosixPath(name.replace("\\", "/")).name[:120] or "upload", READ, content)


def kept(tx: Tx, token: str) -> StagedFile:
    """The actor's own file to be read, by its token. Raises Invalid where it is no longer there."""
    (found,) = staged(tx, [token])
    return found


def forget(tx: Tx, token: str) -> None:
    """A file that was kept has been read, or is of no use."""
    tx.execute(delete(StagedFile).where(StagedFile.token == token, StagedFile.by == tx.actor.login))


def _staged(tx: Tx, name: str, media_type: str, content: bytes) -> StagedFile:
    waiting = tx.scalar(select(func.count()).select_from(StagedFile).where(StagedFile.by == tx.actor.login)) or 0
    if waiting >= MOST_STAGED:
        raise Invalid(
            "file.staged", N_("您有%(most)s个文件上传后未提交,请先提交或明日再传"), most=MOST_STAGED, field="files"
        )
    row = StagedFile(
        token=secrets.token_urlsafe(18),
        by=tx.actor.login,
        at=tx.now,
        name=name,
        media_type=media_type,
        size=len(content),
        digest=sm3(content).hex(),
        content=content,
    )
    tx.add(row)
    tx.flush()
    return row


def staged(tx: Tx, tokens: Sequence[str]) -> list[StagedFile]:
    """The actor's own uploads by their tokens, in that order. Raises Invalid where one is no longer there."""
    wanted = list(dict.fromkeys(tokens))
    query = select(StagedFile).where(StagedFile.token.in_(wanted), StagedFile.by == tx.actor.login)
    found = {one.token: one for one in tx.scalars(query)}
    if len(found) < len(wanted):
        raise Invalid("file.expired", N_("有已上传的文件不在了(已提交,或超过一天),请重新选择"), field="files")
    return [found[token] for token in wanted]


def attach(tx: Tx, subject: str, files: Sequence[StagedFile], label: str = "") -> list[Attachment]:
    """Hand in uploads as evidence in ``subject``: with the change that they are evidence for, or not at all. ``label``: what they
    are, by the name that rules ask for it."""
    if len(files) > MOST:
        raise Invalid(
            "file.many", N_("一次最多%(most)s个文件,现有%(count)s个"), most=MOST, count=len(files), field="files"
        )
    earlier = tx.scalar(select(func.count()).select_from(Attachment).where(Attachment.subject == subject)) or 0
    if files and earlier + len(files) > MOST_OF_ONE:
        raise Invalid(
            "file.full", N_("附件总数不超过%(most)s个,已有%(count)s个"), most=MOST_OF_ONE, count=earlier, field="files"
        )
    names: dict[str, str] = {}
    for one in files:
        if one.digest in names:
            raise Invalid(
                "file.twice",
                N_("文件“%(name)s”与“%(other)s”内容相同"),
                name=one.name,
                other=names[one.digest],
                field="files",
            )
        names[one.digest] = one.name
    return [_attach(tx, subject, one, label.strip()) for one in files]


def _attach(tx: Tx, subject: str, staged: StagedFile, label: str) -> Attachment:
    if tx.get(FileContent, staged.digest) is None:
        try:
            with tx.begin_nested():
                tx.add(FileContent(digest=staged.digest, size=staged.size, content=staged.content))
        except IntegrityError:  # somebody else put the same forward at this moment
            pass
    row = Attachment(
        subject=subject,
        label=label,
        name=staged.name,
        media_type=staged.media_type,
        size=staged.size,
        digest=staged.digest,
        by=tx.actor.login,
        role=tx.actor.role.value,
        at=tx.now,
    )
    tx.add(row)
    tx.delete(staged)
    tx.flush()
    tx.audit(
        "attachment.add",
        subject,
        after={"attachment": row.id, "file": row.name, "type": row.media_type, "size": row.size, "sm3": row.digest,
               **({"label": row.label} if row.label else {})},
    )  # fmt: skip
    return row


def purge(tx: Tx) -> int:
    """Forget uploads that were never handed in; returns how many."""
    gone = tx.execute(delete(StagedFile).where(StagedFile.at < tx.now - KEPT))
    return int(gone.rowcount)  # type: ignore[attr-defined]


# ----------------------------------------------------------------------------------------------------------- reading


def of(tx: Tx, subject: str) -> dict[int, Attachment]:
    """Everything put forward in ``subject``, by id, oldest first."""
    query = select(Attachment).where(Attachment.subject == subject).order_by(Attachment.id)
    return {one.id: one for one in tx.scalars(query)}


def attachment(tx: Tx, attachment_id: int) -> Attachment:
    """The attachment, or NotFound. Who may see it follows from its subject."""
    found = tx.get(Attachment, attachment_id)
    if found is None:
        raise NotFound("attachment.none", N_("没有编号为 %(id)s 的附件"), id=attachment_id)
    return found


def content(tx: Tx, attachment: Attachment) -> bytes:
    """What is in it. Raises Conflict where it is no longer what was put forward."""
    kept = tx.scalar(select(FileContent.content).where(FileContent.digest == attachment.digest))
    if kept is None or sm3(kept).hex() != attachment.digest:
        raise Conflict("attachment.damaged", N_("附件“%(name)s”与提交时的SM3摘要不符,已停止提供"), name=attachment.name)
    return kept


def check(tx: Tx, span: NumberSpan = WHOLE) -> Iterator[str]:
    """Recompute the digests of what rows of these numbers name, and in the newest part of what none names; hold every row against
    the audit trail. A sentence for each that does not fit."""
    kept: dict[str, int] = {}
    said: list[str] = []
    named = select(Attachment.digest)
    wanted: ColumnElement[bool] = FileContent.digest.in_(named.where(*span.of(Attachment.id)))
    if span.high is None:
        wanted |= FileContent.digest.not_in(named)
    for digest in tx.scalars(select(FileContent.digest).where(wanted).order_by(FileContent.digest)).all():
        with going_on(said, "file_contents", digest):
            body = tx.scalar(select(FileContent.content).where(FileContent.digest == digest)) or b""
            if sm3(body).hex() != digest:
                yield f"file_contents: {digest} is not the digest of its content"
            kept[digest] = len(body)
    told: dict[int, AuditRecord] = {}
    added = select(AuditRecord).where(AuditRecord.action == "attachment.add", *_meanwhile(tx, span))
    for record in rows(tx, added.order_by(AuditRecord.sequence), said):
        with going_on(said, "audit_records", record.sequence):
            if span.has(number := record.after["attachment"]):
                told[number] = record
    for row in rows(tx, select(Attachment).where(*span.of(Attachment.id)).order_by(Attachment.id), said):
        put = told.pop(row.id, None)
        if kept.get(row.digest) != row.size:
            yield f"attachments: row {row.id} names a content that is not there, or of another size"
        with going_on(said, "attachments", row.id):
            if put is None or (put.subject, put.after["sm3"], put.after["file"], put.actor) != (
                row.subject,
                row.digest,
                row.name,
                row.by,
            ):
                yield f"attachments: row {row.id} is not what the audit trail says was put forward"
    for missing in told:
        yield f"attachments: row {missing} of the audit trail is not there"
    yield from said


def _meanwhile(tx: Tx, span: NumberSpan) -> list[ColumnElement[bool]]:
    """What the trail is asked for records of rows of these numbers: those from the row before them to the row behind them."""
    found: list[ColumnElement[bool]] = []
    with suppress(OverflowError):  # a day at the edge of all days bounds nothing
        if span.low is not None and (since := _said_at(tx, Attachment.id < span.low, Attachment.id.desc())) is not None:
            found.append(AuditRecord.at >= since - NEAR)
    with suppress(OverflowError):
        if (
            span.high is not None
            and (until := _said_at(tx, Attachment.id > span.high, Attachment.id.asc())) is not None
        ):
            found.append(AuditRecord.at <= until + NEAR)
    return found


def _said_at(tx: Tx, which: ColumnElement[bool], order: ColumnElement[Any]) -> datetime | None:
    """When the first of the rows in this order was put forward; None for none, or where that cannot be read: its own part says so."""
    query = select(Attachment.at).where(which).order_by(order).limit(1)
    first = next(iter(readable(tx, query, Attachment.__table__, [])), None)  # type: ignore[arg-type]
    return first[0] if first is not None and isinstance(first[0], datetime) else None
