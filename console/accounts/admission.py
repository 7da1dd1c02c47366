"""Whether a person who was proven to be there may come in. The one place in which sessions begin, however it was proven."""

from __future__ import annotations

from dataclasses import dataclass

from console.accounts import sessions
from console.accounts.origins import Origin
from console.accounts.proofs import Proof
from quota.actors import nobody
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, NotAllowed


@dataclass(frozen=True, slots=True)
class Admission:
    """What came of a proof: a session's ``token``."""

    person_id: int
    token: str = ""


def enter(book: Book, proof: Proof, origin: Origin) -> Admission:
    """Open a session for the person of ``proof``. Raises NotAllowed, which is audited."""
    with book.transaction(nobody(origin.address, origin.request_id)) as tx:
        who = tx.get_one(Person, proof.person_id)
        tx.actor = who.actor(origin.address, origin.request_id)
        refusal = _refusal(tx, who)
        if refusal is None:
            who.last_login_at = tx.now
            tx.audit("login.ok", f"person:{who.id}", after={"method": proof.method, "factor": proof.factor})
            return Admission(who.id, sessions.start(tx, who, proof, origin))
    raise refusal


def _refusal(tx: Tx, who: Person) -> NotAllowed | None:
    """Why ``who`` may not come in, audited; None: nothing bars it."""
    if not who.active or not who.granted:
        tx.audit("login.closed", f"person:{who.id}")
        return NotAllowed("login.closed", N_("账号未启用；请联系系统管理员（启用）或安全管理员（授权）"))
    return None
