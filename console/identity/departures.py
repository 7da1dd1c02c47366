"""Leaving, both ways: who leaves here is led on to leave at the source; who left there leaves here, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select

from console.accounts import admission, proofs, sessions
from console.identity import arrivals, connections, marks
from console.identity.sources import Identity, LogoutNotice, RedirectSource, SourceFault
from console.identity.tables import IdentityLink, IdentitySession, IdentitySource
from console.settings import Settings
from quota import vault
from quota.actors import steward
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, NotAllowed


def sealed(settings: Settings, identity: Identity) -> Identity:
    """``identity`` as it may be kept: what the source wants back is a token that says who somebody is, and only who has the key
    of the house reads it."""
    return replace(identity, hint=vault.seal(identity.hint, settings.factors_key())) if identity.hint else identity


def closed(tx: Tx, sign_in_id: int) -> tuple[IdentitySource, Identity] | None:
    """Whoever leaves this session came by a source: which, and what it is told. Its own row ends, and keeps no token."""
    row = arrivals.came_by(tx, sign_in_id)
    if row is None:
        return None
    identity = Identity(row.issuer, row.subject, session=row.session, hint=row.hint)
    _end(tx, [row])
    return tx.get_one(IdentitySource, row.source_id), identity


def onward(book: Book, settings: Settings, source: IdentitySource, identity: Identity, back: str) -> str:
    """Where to send who left, to leave at the source as well and come back to ``back``; "" where it can't be asked."""
    try:
        found = connections.opened(book, settings, source)
        hint = vault.unseal(identity.hint, settings.factors_key()) if identity.hint else ""
        return found.leave(replace(identity, hint=hint or ""), back) if isinstance(found, RedirectSource) else ""
    except SourceFault:
        return ""


def departed(book: Book, settings: Settings, source: IdentitySource, message: Mapping[str, str], address: str) -> int:
    """A source says by a form that somebody left: their sessions that came by it end. How many there were; a message that comes
    again ends none, and of one that nobody signed and that means none nothing is recorded. Raises SourceFault."""
    found = connections.opened(book, settings, source)
    if not isinstance(found, RedirectSource):
        raise SourceFault("answer", source.kind)
    told = found.departed(message, int(book.clock().timestamp()))
    if not told.mark:
        with book.reading() as reading:
            if reading.scalar(_meant(told).with_only_columns(IdentitySession.id).limit(1)) is None:
                return 0
    with book.transaction(steward("identity", address)) as tx:
        if told.mark and not marks.use(
            tx, f"departed\n{told.issuer}\n{told.mark}", datetime.fromtimestamp(told.until, UTC)
        ):
            raise SourceFault("stale", "jti")
        ended = _closed_there(tx, source, _open(tx, told))
        tx.audit("identity.departed", f"identity_source:{source.id}", after={"sessions": ended})
        return ended


def away(book: Book, source: IdentitySource, sign_in_id: int, address: str) -> None:
    """A source that was asked about a session says that its person is not there any more: what came by it ends."""
    with book.transaction(steward("identity", address)) as tx:
        row = arrivals.came_by(tx, sign_in_id)
        ended = _closed_there(tx, source, [row]) if row is not None else 0
        tx.audit("identity.departed", f"identity_source:{source.id}", after={"sessions": ended})


def gone(tx: Tx, link: IdentityLink) -> int:
    """Whoever a source knows no longer: their sessions that came by it end. How many there were."""
    query = select(IdentitySession).where(
        IdentitySession.source_id == link.source_id, IdentitySession.ended_at.is_(None)
    )
    rows = tx.scalars(query.where(IdentitySession.person_id == link.person_id).with_for_update()).all()
    return _closed_there(tx, link.source, rows)


def _closed_there(tx: Tx, source: IdentitySource, rows: Sequence[IdentitySession]) -> int:
    ended = sessions.end_from_outside(tx, [str(one.id) for one in rows], f"identity:{source.code}"[:64])
    _end(tx, rows)
    return ended


@admission.bar
def ended_there(tx: Tx, who: Person, proof: proofs.Proof) -> NotAllowed | None:
    """Refuse a proof by a session at a source that ended since: a second factor may take minutes."""
    row = tx.get(IdentitySession, int(proof.outside)) if proof.outside else None
    if row is None or row.ended_at is None:
        return None
    tx.audit("identity.ended", f"person:{who.id}")
    return NotAllowed("identity.ended", N_("您在身份源的登录已结束,请重新登录"))


def _open(tx: Tx, told: LogoutNotice) -> Sequence[IdentitySession]:
    return tx.scalars(_meant(told).with_for_update()).all()


def _meant(told: LogoutNotice) -> Select[Any]:
    """The sessions that are meant: where a session is named, that one; it must be of the subject, where one is named."""
    query = select(IdentitySession).where(IdentitySession.issuer == told.issuer, IdentitySession.ended_at.is_(None))
    if told.session:
        query = query.where(IdentitySession.session == told.session)
    if told.subject:
        query = query.where(IdentitySession.subject == told.subject)
    return query


def _end(tx: Tx, rows: Sequence[IdentitySession]) -> None:
    for row in rows:
        row.ended_at, row.hint = row.ended_at or tx.now, ""
