"""Uploads of evidence: each good file is kept at once, so that a form with a mistake elsewhere does not lose it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flask import request, url_for
from sqlalchemy import select
from werkzeug.datastructures import FileStorage

from console.book import actor, reading, transaction
from console.words import sentence
from metering import cases
from providers import tickets
from providers.assessment import Appeal, AppealState, appeals, records, rectifications, whose
from providers.billing import incidents
from quota import attachments, requests
from quota.actors import Role
from quota.attachments import Attachment, StagedFile
from quota.db import Tx
from quota.errors import N_, Invalid, NotFound
from quota.file_kinds import LARGEST
from quota.requests import RequestState


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


@dataclass(frozen=True, slots=True)
class UploadPlace:
    """What files are put forward in. ``title`` and ``address``: of its page; ``may_add``: whether the actor may put
    forward more now; ``labels``: what the files may be, beside anything else. Evidence of a case comes with a reply or a ruling alone."""

    subject: str
    title: str
    address: str
    may_add: bool
    labels: Sequence[str] = ()


def _of_case(tx: Tx, number: int) -> UploadPlace:
    if tx.actor.role is Role.PROVIDER:
        raise _none()
    one = cases.case(tx, number)
    return UploadPlace(one.subject, one.number, url_for("cases.show", case_id=one.id), False)


def _of_request(tx: Tx, number: int) -> UploadPlace:
    """The department's own, as long as it is with it: what was handed in stays as those who sign have seen it."""
    one = requests.request(tx, number)
    own = tx.actor.role is Role.TENANT and one.state in (RequestState.DRAFT, RequestState.SUPPLEMENT)
    return UploadPlace(one.subject, one.number, url_for("requests.show", request_id=one.id), own)


def _of_incident(tx: Tx, number: int) -> UploadPlace:
    """The company's and the steward's, until its responsibility is settled. A department sees none of it."""
    if tx.actor.role is Role.TENANT:
        raise _none()
    one = incidents.incident(tx, number)
    adds = one.settled_at is None and tx.actor.role in (Role.PROVIDER, Role.SUPERVISOR)
    return UploadPlace(f"incident:{one.id}", one.external_id, url_for("incidents.show", incident_id=one.id), adds)


def _of_appeal(tx: Tx, number: int) -> UploadPlace:
    """Whose card it is, until the appeal is ruled on."""
    one = tx.scalar(select(Appeal).where(Appeal.id == number, appeals.visible(tx, tx.actor)))
    if one is None:
        raise _none()
    adds = one.state == AppealState.FILED and appeals.may_file(tx, tx.actor, one.subject)
    return UploadPlace(f"appeal:{one.id}", one.period, url_for("scorecards.show", scorecard_id=one.scorecard_id), adds)


def _of_rectification(tx: Tx, number: int) -> UploadPlace:
    """Whom it is about, while it is their turn: files are part of the proof, and what was handed in by its day is reviewed as it
    was handed in."""
    one = rectifications.rectification(tx, number)
    adds = one.state in rectifications.PARTYS_TURN and whose.speaks_for(tx, tx.actor, one.subject)
    return UploadPlace(one.ref, one.number, url_for("rectifications.show", rectification_id=one.id), adds)


def _of_ticket(tx: Tx, number: int) -> UploadPlace:
    """Whoever may speak in it adds, until it is over; a company that handed it on sees no files any more."""
    one = tickets.ticket(tx, number)
    if tickets.left_to(tx.actor, one):
        raise _none()
    adds = one.open and tickets.handling.party(tx, one)
    return UploadPlace(one.subject, one.number, url_for("tickets.show", ticket_id=one.id), adds)


def _of_shutdown(tx: Tx, number: int) -> UploadPlace:
    """The department's, as long as it is under way: proofs of what was handed over, and, once that was asked for, erased."""
    found = requests.shutdowns.shutdown(tx, number)
    adds = found.state in requests.shutdowns.UNDER_WAY and tx.actor.role is Role.TENANT
    address = url_for("shutdowns.show", shutdown_id=found.id)
    return UploadPlace(found.subject, found.number, address, adds, requests.shutdowns.wanted(found))


def _of_record(tx: Tx, number: int) -> UploadPlace:
    """Whoever records of such, as long as the record stands; whom it is about reads them."""
    one = records.record(tx, number)
    adds = one.withdraws is None and one.withdrawal is None and tx.actor.role is records.recorder(one.subject)
    return UploadPlace(f"record:{one.id}", one.label, url_for("records.show", record_id=one.id), adds)


PLACES: dict[str, Callable[[Tx, int], UploadPlace]] = {
    "case": _of_case,
    "request": _of_request,
    "incident": _of_incident,
    "appeal": _of_appeal,
    "rectification": _of_rectification,
    "ticket": _of_ticket,
    "shutdown": _of_shutdown,
    "record": _of_record,
}
"""Kind of subject → the place, or NotFound where the actor may not see what belongs to it."""


def _none() -> NotFound:
    return NotFound("attachment.none", N_("没有这个附件,或您不能查看"))


def place(tx: Tx, kind: str, number: int) -> UploadPlace:
    """Where files of this subject are put forward; NotFound where there is none or the actor may not see it."""
    if kind not in PLACES:
        raise _none()
    return PLACES[kind](tx, number)


def visible(tx: Tx, attachment_id: int) -> Attachment:
    """The attachment, if the actor may see what it was put forward in; NotFound otherwise."""
    one = attachments.attachment(tx, attachment_id)
    kind, _colon, number = one.subject.partition(":")
    place(tx, kind, int(number) if number.isdigit() else 0)
    return one


def evidence_of(kind: str, number: int) -> dict[str, object]:
    """For a page: the files of a subject and whether its reader may add to them."""
    tx = reading()
    try:
        found = place(tx, kind, number)
    except NotFound:
        return {"files": [], "may_add": False}
    return {"files": list(attachments.of(tx, found.subject).values()), "may_add": found.may_add}
