"""Sessions: opened by whoever was admitted, listed, ended. The browser holds a token, the book its digest."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, delete, or_, select, true, update

from console.accounts.origins import Origin
from console.accounts.proofs import AT_SOURCE, Proof
from console.accounts.tables import SignIn
from console.settings import Settings
from quota.actors import Role
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, NotAllowed, NotFound, WrongState

SEEN_EVERY_MINUTES = 5
GRACE_MINUTES = 30
"""How long somebody may work on in a session whose source is to be asked anew and does not answer."""
KEPT_DAYS = 180
"""How long an ended session is listed; the trail keeps that it was."""


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def start(tx: Tx, who: Person, proof: Proof, origin: Origin) -> str:
    """Open a session for ``who``, who was admitted by ``proof``; its token, which is kept nowhere."""
    return _started(tx, who, proof, origin, _again(tx, proof.good_for))


def _again(tx: Tx, minutes: int) -> datetime | None:
    return tx.now + timedelta(minutes=minutes) if minutes else None


def _started(
    tx: Tx, who: Person, proof: Proof, origin: Origin, again_at: datetime | None, unheard_at: datetime | None = None
) -> str:
    token = secrets.token_urlsafe(32)
    tx.add(
        SignIn(
            digest=digest(token),
            person_id=who.id,
            epoch=who.session_epoch,
            method=proof.method,
            factor=proof.factor,
            outside=proof.outside,
            address=origin.address[:64],
            browser=origin.browser[:200],
            started_at=tx.now,
            seen_at=tx.now,
            proven_at=tx.now,
            again_at=again_at,
            unheard_at=unheard_at,
        )
    )
    tx.flush()
    return token


def start_again(tx: Tx, who: Person, session_id: int, factor: str = "") -> str:
    """Go on in a new session in place of ``session_id``, which a change of the account (``who``, as it is now) ended;
    ``factor`` that was proven meanwhile."""
    former = tx.get_one(SignIn, session_id)
    origin = Origin(former.address, browser=former.browser)
    former.ended_at, former.ended_by = former.ended_at or tx.now, former.ended_by or tx.actor.login
    proof = Proof(who.id, former.method, who.session_epoch, factor or former.factor, former.outside)
    return _started(tx, who, proof, origin, former.again_at, former.unheard_at)


def is_open(settings: Settings, now: datetime) -> ColumnElement[bool]:
    """What holds of an open session and its person, joined."""
    return (
        SignIn.ended_at.is_(None)
        & (SignIn.epoch == Person.session_epoch)
        & (SignIn.started_at > now - timedelta(hours=settings.session_hours))
        & or_(SignIn.unheard_at.is_(None), SignIn.unheard_at > now - timedelta(minutes=GRACE_MINUTES))
        & (SignIn.seen_at > now - timedelta(minutes=settings.idle_minutes + SEEN_EVERY_MINUTES))
        & Person.active
        & Person.granted
    )


def of_person(tx: Tx, settings: Settings, person_id: int) -> Sequence[SignIn]:
    """The open sessions of a person, the newest first."""
    query = select(SignIn).join(Person, Person.id == SignIn.person_id)
    query = query.where(SignIn.person_id == person_id, is_open(settings, tx.now))
    return tx.scalars(query.order_by(SignIn.started_at.desc(), SignIn.id.desc())).all()


def seen(tx: Tx, session_id: int) -> None:
    """Somebody still works in this session."""
    tx.execute(update(SignIn).where(SignIn.id == session_id).values(seen_at=tx.now))


def unheard(tx: Tx, session_id: int) -> None:
    """Somebody works in this session although its source is to be asked anew: from the first time on they may for ``GRACE_MINUTES``."""
    first = (SignIn.id == session_id) & SignIn.unheard_at.is_(None)
    tx.execute(update(SignIn).where(first).values(unheard_at=tx.now))


def proven(tx: Tx, session_id: int, factor: str) -> None:
    """The person of this session has proven anew to be there."""
    row = tx.get_one(SignIn, session_id)
    row.proven_at = tx.now
    if factor:
        row.factor = factor
    tx.audit("login.proven", f"person:{row.person_id}", after={"factor": factor} if factor else {})


def heard(tx: Tx, session_id: int, minutes: int, *, twice: bool) -> None:
    """The source of this session still knows its person, for ``minutes`` (0: it is not asked again). ``twice``: whether it says that
    it asked for two factors; if not, none of them is believed any more."""
    row = tx.lock(tx.get_one(SignIn, session_id))
    row.again_at, row.unheard_at = _again(tx, minutes), None
    if row.factor == AT_SOURCE and not twice:
        row.factor = ""


def ask_again(tx: Tx, names: Select[str], minutes: int) -> None:
    """Have the source of the open sessions that came by proofs called ``names`` outside be asked anew within ``minutes`` from now; 0:
    not at all."""
    at = _again(tx, minutes)
    sooner = true() if at is None else or_(SignIn.again_at.is_(None), SignIn.again_at > at)
    asked: dict[str, datetime | None] = {"again_at": at} if at is not None else {"again_at": None, "unheard_at": None}
    tx.execute(update(SignIn).where(SignIn.outside.in_(names), SignIn.ended_at.is_(None), sooner).values(asked))


def end(tx: Tx, session_id: int) -> SignIn:
    """End somebody's session, as the security administrator. Raises NotFound, WrongState."""
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    return _ended(tx, tx.get(SignIn, session_id), session_id)


def end_own(tx: Tx, person_id: int, session_id: int) -> SignIn:
    """End a session of the person's own. Raises NotFound, for anybody else's too; WrongState."""
    row = tx.get(SignIn, session_id)
    return _ended(tx, row if row and row.person_id == person_id else None, session_id)


def _ended(tx: Tx, row: SignIn | None, session_id: int) -> SignIn:
    if row is None:
        raise NotFound("session.none", N_("没有编号为 %(id)s 的登录"), id=session_id)
    tx.lock(row)
    if row.ended_at is not None:
        raise WrongState("session.ended", N_("该登录已结束"))
    row.ended_at, row.ended_by = tx.now, tx.actor.login
    tx.audit("login.end", f"person:{row.person_id}", after={"session": row.id})
    return row


def doubt_factor(tx: Tx, names: Select[str]) -> int:
    """Take the second proof that their source told from the open sessions that came by proofs called ``names`` outside; how many
    there were. They are asked for a factor here from the next page on."""
    found = tx.scalars(
        select(SignIn)
        .where(SignIn.outside.in_(names), SignIn.factor == AT_SOURCE, SignIn.ended_at.is_(None))
        .with_for_update()
    ).all()
    for row in found:
        row.factor = ""
    return len(found)


def end_from_outside(tx: Tx, names: Collection[str], by: str) -> int:
    """End the open sessions that came by proofs called ``names`` outside, as ``by`` says; how many there were."""
    rows = tx.scalars(
        select(SignIn).where(SignIn.outside.in_(names), SignIn.ended_at.is_(None)).with_for_update()
    ).all()
    for row in rows:
        row.ended_at, row.ended_by = tx.now, by
        tx.audit("login.end", f"person:{row.person_id}", after={"session": row.id})
    return len(rows)


def sign_out(tx: Tx, session_id: int) -> None:
    """Leave: this session ends, whoever kept its cookie; those in other browsers stay."""
    row = tx.lock(tx.get_one(SignIn, session_id))
    row.ended_at, row.ended_by = row.ended_at or tx.now, row.ended_by or tx.actor.login
    tx.audit("login.out", f"person:{row.person_id}")


def end_all(tx: Tx, who: Person) -> None:
    """End every open session of ``who``: one's own, or as the security administrator anybody's."""
    if tx.actor.login != who.login and tx.actor.role not in (Role.SECADMIN, Role.SYSTEM):
        raise NotAllowed("session.others", N_("他人的登录只能由安全管理员结束"))
    tx.lock(who)
    who.session_epoch += 1
    tx.audit("login.end_all", f"person:{who.id}")


def sweep(tx: Tx) -> int:
    """Take away what nobody lists any more."""
    old = tx.now - timedelta(days=KEPT_DAYS)
    ids = list(tx.scalars(select(SignIn.id).where(or_(SignIn.started_at < old, SignIn.ended_at < old)).limit(5000)))
    if ids:
        tx.execute(delete(SignIn).where(SignIn.id.in_(ids)))
    return len(ids)
