"""Whether a person who was proven to be there may come in. The one place in which sessions begin, however it was proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from console.accounts import access_rules, factors, sessions
from console.accounts.origins import Origin
from console.accounts.proofs import AT_SOURCE, Proof
from console.settings import Settings
from quota.actors import ROLE_LABELS, Role, nobody
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, NotAllowed


@dataclass(frozen=True, slots=True)
class Admission:
    """What came of a proof: a session's ``token``; none where a second factor has to be proven first."""

    person_id: int
    token: str = ""


def enter(book: Book, settings: Settings, proof: Proof, origin: Origin) -> Admission:
    """Open a session for the person of ``proof``, unless a second factor has to be proven first. Raises NotAllowed, which is
    audited.

    Whoever enrolled a factor is asked for it; who has none and whose role needs one comes in, and is led to enrolling
    (``console.access``).
    """
    with book.transaction(nobody(origin.address, origin.request_id)) as tx:
        who = tx.get_one(Person, proof.person_id)
        tx.actor = who.actor(origin.address, origin.request_id)
        refusal = _refusal(tx, who, proof, origin)
        if refusal is None:
            short = not proof.factor or (proof.factor == AT_SOURCE and factors.by_key_alone(tx, settings, who))
            if short and factors.of_person(tx, who.id):
                return Admission(who.id)
            who.last_login_at = tx.now
            how = {"method": proof.method} | ({"factor": proof.factor} if proof.factor else {})
            tx.audit("login.ok", f"person:{who.id}", after=how)
            return Admission(who.id, sessions.start(tx, who, proof, origin))
    raise refusal


Bar = Callable[[Tx, Person, Proof], NotAllowed | None]
_bars: list[Bar] = []


def bar(check: Bar) -> Bar:
    """Have ``check`` say whether something bars a person who came by this proof; what it refuses, it audits. It is asked again
    when a second factor follows."""
    if check not in _bars:
        _bars.append(check)
    return check


def _refusal(tx: Tx, who: Person, proof: Proof, origin: Origin) -> NotAllowed | None:
    """Why ``who`` may not come in from ``origin``, audited; None: nothing bars it."""
    if not who.active or not who.granted:
        tx.audit("login.closed", f"person:{who.id}")
        return NotAllowed("login.closed", N_("账号未启用；请联系系统管理员（启用）或安全管理员（授权）"))
    if proof.epoch != who.session_epoch:
        return NotAllowed("login.again", N_("账号刚有变动，请重新登录"))
    role = Role(who.role)
    if not access_rules.in_force(tx).lets_in(role, origin.address):
        tx.audit("login.network", f"person:{who.id}")
        return outside(role, origin.address)
    return next(filter(None, (check(tx, who, proof) for check in _bars)), None)


def outside(role: Role, address: str) -> NotAllowed:
    """That somebody came from where the rules don't let the role come from."""
    return NotAllowed(
        "network.outside",
        N_("%(role)s只能从规定的网段登录；您现在的地址是 %(address)s。需要调整时请联系安全管理员"),
        role=ROLE_LABELS[role],
        address=address,
    )
