"""Who somebody is. A way of proving it ends in a ``Proof`` and decides nothing else: whether that person may come in, and with
which further proof, is said by ``admission`` for all ways alike.

Another way (OIDC, CAS, LDAP) is another function that answers with a ``Proof`` of its own ``method``.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from console.accounts import passwords, throttle
from console.accounts.origins import Origin
from console.settings import Settings
from quota.actors import nobody
from quota.db import Book
from quota.directory import Person
from quota.errors import N_, NotAllowed

PASSWORD = "password"  # noqa: S105 - a code
AT_SOURCE = "source"
"""The factor of a proof whose source asked for two: by rules that the security administrator enacted."""
METHODS = {PASSWORD: N_("密码")}
"""How it can be proven who somebody is, with its word."""

WRONG = N_("登录名或密码不对")
LOGIN_LENGTH = 64
UNKNOWN = "login:unknown"
"""What the trail names where no account has the login that was tried. What was typed is not kept: it may be a password."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That whoever is there is the person ``person_id``: proven by ``method``, and a second time by ``factor`` where there
    was one. ``epoch``: the account's, as it was then; a proof ends with the sessions. ``outside`` is how a way that has
    sessions of its own finds again what was opened by this proof; ``good_for``: minutes after which that way is asked anew (0:
    never)."""

    person_id: int
    method: str
    epoch: int
    factor: str = ""
    outside: str = ""
    good_for: int = 0


def by_password(book: Book, settings: Settings, login: str, password: str, origin: Origin) -> Proof:
    """The proof that ``password`` is that of ``login``. Raises NotAllowed, the failure having been counted; TooOften
    where it has to wait.

    Known and unknown logins do the same work: the same counters, a hash that is verified (outside any transaction), a
    record of the trail.
    """
    login = login.strip()[:LOGIN_LENGTH]
    stranger = nobody(origin.address, origin.request_id)
    with book.reading(stranger) as tx:
        waiting = throttle.wait(tx, throttle.of_sign_in(tx, settings, login, origin))
    if waiting:
        raise throttle.too_often(waiting)
    with book.transaction(stranger) as tx:
        gauges = throttle.of_sign_in(tx, settings, login, origin)
        waiting = throttle.take(tx, gauges)
        query = select(Person.id, Person.password_hash, Person.session_epoch)
        found = tx.execute(query.where(Person.login == login)).one_or_none()
    if waiting:
        raise throttle.too_often(waiting)
    right = passwords.matches(found.password_hash if found else None, password)
    with book.transaction(stranger) as tx:
        if found is not None and right:
            throttle.give_back(tx, gauges)
            return Proof(found.id, PASSWORD, found.session_epoch)
        who = tx.get(Person, found.id if found else 0)
        if who is not None:
            tx.actor = who.actor(origin.address, origin.request_id)
        tx.audit("login.fail", f"person:{who.id}" if who else UNKNOWN)
    raise NotAllowed("login.wrong", WRONG)


def again_by_password(book: Book, settings: Settings, person_id: int, password: str, origin: Origin) -> None:
    """Whether ``password`` is that of somebody who is logged in already. Raises NotAllowed or TooOften."""
    stranger = nobody(origin.address, origin.request_id)
    gauges = throttle.of_proof(settings, person_id, "again")
    with book.transaction(stranger) as tx:
        waiting = throttle.take(tx, gauges)
        kept = tx.scalar(select(Person.password_hash).where(Person.id == person_id))
    if waiting:
        raise throttle.too_often(waiting)
    right = passwords.matches(kept, password)
    with book.transaction(stranger) as tx:
        if right:
            throttle.give_back(tx, gauges)
            return
        who = tx.get_one(Person, person_id)
        tx.actor = who.actor(origin.address, origin.request_id)
        tx.audit("login.fail", f"person:{who.id}")
    raise NotAllowed("password.old", N_("密码不对"), field="passcode")
