"""Uploads of evidence: each good file is kept at once, so that a form with a mistake elsewhere does not lose it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import request
from sqlalchemy import select
from werkzeug.datastructures import FileStorage

from console.book import actor, reading, transaction
from console.texts import sentence
from metering import cases
from quota import attachments
from quota.actors import Role
from quota.attachments import Attachment, StagedFile
from quota.db import Tx
from quota.errors import N_, Invalid, NotFound
from quota.file_kinds import LARGEST


@dataclass
class Uploaded:
    """What came with a form. ``problems``: a sentence for each file that is not taken, naming it."""

    tokens: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def shown(self) -> list[StagedFile]:
        """What is there already, for the page that asks again."""
        if not self.tokens:
            return []
        query = select(StagedFile).where(StagedFile.token.in_(self.tokens), StagedFile.by == actor().login)
        return list(reading().scalars(query.order_by(StagedFile.id)))

    def hand_in(self, tx: Tx) -> list[StagedFile]:
        """For the verb, in its transaction."""
        return attachments.staged(tx, self.tokens)


def uploaded(files: str = "files", kept: str = "kept") -> Uploaded:
    """The files of this request under the name ``files``, kept at once; and those kept before, named under ``kept``."""
    found = Uploaded(request.form.getlist(kept)[: attachments.MOST_STAGED])
    for file in request.files.getlist(files):
        if not file.filename:
            continue
        try:
            body = _read(file)
            with transaction() as tx:
                found.tokens.append(attachments.stage(tx, file.filename, body).token)
        except Invalid as refused:
            found.problems.append(sentence(refused.message, refused.params))
    return found


def _read(file: FileStorage) -> bytes:
    """No more than one byte beyond what is taken: whatever it is, it is refused as too large."""
    return file.stream.read(LARGEST + 1)


def _of_case(tx: Tx, number: int) -> None:
    if tx.actor.role is Role.PROVIDER:
        raise NotFound("attachment.none", N_("没有编号为 %(id)s 的附件"), id=number)
    cases.case(tx, number)


VISIBLE: dict[str, Callable[[Tx, int], None]] = {"case": _of_case}
"""Kind of subject → raises NotFound where the actor may not see what belongs to it."""


def visible(tx: Tx, attachment_id: int) -> Attachment:
    """The attachment, if the actor may see what it was put forward in; NotFound otherwise."""
    one = attachments.attachment(tx, attachment_id)
    kind, _colon, number = one.subject.partition(":")
    if kind not in VISIBLE or not number.isdigit():
        raise NotFound("attachment.none", N_("没有编号为 %(id)s 的附件"), id=attachment_id)
    VISIBLE[kind](tx, int(number))
    return one
