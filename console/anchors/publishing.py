"""Taking anchors to where they go: folders, mails, web addresses; outside any transaction, tried until it is done."""

from __future__ import annotations

import os
import smtplib
from dataclasses import dataclass
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path

import urllib3
from sqlalchemy import func, select

from console.anchors.statements import SUFFIX, opened, short
from console.anchors.tables import Anchor, AnchorPublication, PublicationState, Way
from console.mail import postman
from console.settings import Settings
from quota.actors import steward
from quota.db import Book, Tx

TIMEOUT_S = 20
MOST_SAID = 500
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class AnchorsPublished:
    """How many went out, how many wait, and what the latter were told."""

    sent: int
    waiting: int
    said: tuple[str, ...]


class NotPublished(Exception):
    """The other side would not have it."""


def publish(book: Book, settings: Settings) -> AnchorsPublished:
    """Take each anchor that is due to where it goes; what fails is tried again after a growing pause."""
    who = steward("job:anchor")
    with book.reading(who) as tx:
        due = list(
            tx.scalars(
                select(AnchorPublication.id)
                .where(
                    AnchorPublication.state == PublicationState.WAITING.value, AnchorPublication.next_try_at <= tx.now
                )
                .order_by(AnchorPublication.id)
            )
        )
    sent = 0
    for one in due:
        with book.reading(who) as tx:
            row = tx.get_one(AnchorPublication, one)
            token = tx.get_one(Anchor, row.anchor).token
            way, target, number = Way(row.way), row.target, row.anchor
        fault = _taken(settings, way, target, number, token)
        with book.transaction(who) as tx:
            _noted(tx, one, fault)
        sent += not fault
    with book.reading(who) as tx:
        return AnchorsPublished(sent, waiting(tx), tuple(unpublished(tx)))


def waiting(tx: Tx) -> int:
    """How many publications are still to be done."""
    query = select(func.count()).where(AnchorPublication.state == PublicationState.WAITING.value)
    return tx.scalar(query) or 0


def unpublished(tx: Tx) -> list[str]:
    """What those that were tried in vain were told: place and reason."""
    query = select(AnchorPublication).where(
        AnchorPublication.state == PublicationState.WAITING.value, AnchorPublication.attempts > 0
    )
    return [f"{one.target}: {one.said}" for one in tx.scalars(query.order_by(AnchorPublication.id))]


def _noted(tx: Tx, publication_id: int, fault: str) -> None:
    row = tx.get_one(AnchorPublication, publication_id, with_for_update=True)
    row.attempts += 1
    row.said = fault[:MOST_SAID]
    if fault:
        row.next_try_at = tx.now + min(FIRST_PAUSE * 2 ** min(row.attempts - 1, 10), LONGEST_PAUSE)
    else:
        row.state, row.ended_at = PublicationState.DONE.value, tx.now


def _taken(settings: Settings, way: Way, target: str, number: int, token: str) -> str:
    """Take it there; why not, where it could not be done."""
    try:
        if way is Way.FOLDER:
            laid(Path(target), number, token)
        elif way is Way.MAIL:
            _mailed(settings, target, number, token)
        else:
            _posted(target, token)
    except (OSError, smtplib.SMTPException, urllib3.exceptions.HTTPError, NotPublished) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def file_name(number: int) -> str:
    return f"anchor-{number:08}{SUFFIX}"


def laid(folder: Path, number: int, token: str) -> None:
    """A file of its own, never written over. Raises NotPublished where another anchor lies under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(number)
    aside = folder / f".{file_name(number)}.{os.getpid()}"
    with aside.open("w", encoding="ascii") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        if path.read_text(encoding="ascii", errors="replace").strip() != token:
            raise NotPublished(f"another anchor lies at {path}") from None
    finally:
        aside.unlink()


def _mailed(settings: Settings, address: str, number: int, token: str) -> None:
    if not settings.mail_server:
        raise NotPublished("no mail server is set")
    said = opened(token)
    name, mailbox = parseaddr(settings.mail_from)
    letter = EmailMessage()
    letter["From"] = Address(name, addr_spec=mailbox)
    letter["To"] = Address(addr_spec=address)
    letter["Subject"] = f"[guanjia] {said.city} anchor {number} {short(token)}"
    letter.set_content(
        f"anchor {number} of {said.at.isoformat(timespec='seconds')}\nfingerprint {short(token)}\nkey {said.key_id}\n"
        f"audit records {said.records} {said.record_digest}\nsealings {said.sealings} {said.seal_digest}\n\n"
        f"Keep the attached file: guanjia verify --anchor {file_name(number)}\n"
    )
    letter.add_attachment(token.encode() + b"\n", maintype="application", subtype="jose", filename=file_name(number))
    with postman.connected(settings) as server:
        server.send_message(letter)


def _posted(url: str, token: str) -> None:
    with urllib3.PoolManager(retries=False, timeout=TIMEOUT_S) as pool:
        answer = pool.request(
            "POST", url, body=token.encode(), headers={"Content-Type": "application/jose"}, redirect=False
        )
    if not 200 <= answer.status < 300:
        raise NotPublished(f"it answered {answer.status}")
