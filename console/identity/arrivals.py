"""Somebody came by a source: which account is theirs, and whether their rights are still what the source allows.

An account is found by issuer and subject alone. Where there is no such link yet, the rules may let the claim that is the login
find an account, or have a new one made, which waits for a grant; else people link their own account while logged in. Nothing
that a source says ever gives a right: what it does not allow any more is told, or taken, as the rules say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from console.accounts import Origin, SignIn, accounts, passwords, proofs, sessions
from console.identity import rulebook
from console.identity.kinds import kind
from console.identity.rules import REMOVE, ClaimMeaning, Rules, meaning
from console.identity.sources import Identity
from console.identity.tables import BreakGlass, IdentityLink, IdentitySession, IdentitySource
from quota.actors import Role, steward
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, NotAllowed, Refused, WrongState

HINT_LENGTH = 16 * 1024
"""A larger token is not kept: who leaves is then asked by the source who they are."""


def arrive(book: Book, source_id: int, identity: Identity, origin: Origin) -> proofs.Proof:
    """The proof that whoever is there is the person of ``identity``. Raises NotAllowed, which is audited."""
    with book.reading() as tx:
        known = _link(tx, identity) is not None
    first = ("", "") if known else _unknown_password()
    actor = steward("identity", origin.address)
    with book.transaction(actor) as tx:
        tx.alone(f"identity:{identity.issuer}:{identity.subject}")
        source = tx.get_one(IdentitySource, source_id)
        try:
            link, rules, said = _found(tx, source, identity, first)
        except Refused as refused:
            told = (
                refused
                if isinstance(refused, NotAllowed)
                else NotAllowed(refused.code, refused.message, **refused.params)
            )
            tx.audit("identity.refuse", f"identity_source:{source.id}", after={"code": refused.code})
        else:
            who = tx.get_one(Person, link.person_id)
            row = IdentitySession(
                source_id=source.id, person_id=who.id, issuer=identity.issuer, subject=identity.subject,
                session=identity.session, hint=identity.hint if len(identity.hint) <= HINT_LENGTH else "",
                started_at=tx.now,
            )  # fmt: skip
            tx.add(row)
            tx.flush()
            factor = proofs.AT_SOURCE if said.second else ""
            return proofs.Proof(who.id, source.kind, who.session_epoch, factor, str(row.id), rules.anew)
    raise told


def heard_again(tx: Tx, source: IdentitySource, identity: Identity, sign_in_id: int, person_id: int) -> bool:
    """The source was asked whether it still knows the person of a session, and answered with ``identity``: what that means for
    their rights and for the session. False: it is somebody else, or nobody who may come."""
    tx.alone(f"identity:{identity.issuer}:{identity.subject}")
    came, rules, link = came_by(tx, sign_in_id), rulebook.in_force(tx, source.id), _link(tx, identity)
    if came is None or came.ended_at is not None or rules is None or link is None:
        return False
    if (link.source_id, link.person_id, came.source_id) != (source.id, person_id, source.id):
        return False
    said = meaning(rules, identity.claims)
    compare(tx, rules, said, link)
    link.seen_at = tx.now
    _goes_on(came, identity)
    sessions.heard(tx, sign_in_id, rules.anew, twice=said.second)
    return True


def came_anew(tx: Tx, source: IdentitySource, identity: Identity, sign_in_id: int) -> None:
    """The person of a session logged in anew at ``source``, as ``identity``: where they came by it as the same one, it is by this
    login that a later departure names them."""
    came = came_by(tx, sign_in_id)
    if came is None or tx.lock(came).ended_at is not None:
        return
    if (came.source_id, came.issuer, came.subject) == (source.id, identity.issuer, identity.subject):
        _goes_on(came, identity)


def _goes_on(came: IdentitySession, identity: Identity) -> None:
    """The session at the source may be another one by now: which that is tells a later departure."""
    came.session, came.hint = identity.session, identity.hint if len(identity.hint) <= HINT_LENGTH else ""


def link_own(book: Book, source_id: int, identity: Identity, person_id: int, origin: Origin) -> None:
    """Link somebody's own account, who is logged in and just came back from the source. Raises WrongState."""
    with book.reading() as tx:
        who = tx.get_one(Person, person_id)
        actor = who.actor(origin.address, origin.request_id)
    with book.transaction(actor) as tx:
        tx.alone(f"identity:{identity.issuer}:{identity.subject}")
        source = tx.get_one(IdentitySource, source_id)
        found = _link(tx, identity)
        if found is not None and found.person_id == person_id:
            raise WrongState("identity.linked", N_("您的账号已经关联"))
        if found is not None or _of_person(tx, source.id, person_id) is not None:
            raise WrongState(
                "identity.linked_other", N_("该身份已关联其他账号,或您的账号已关联另一身份;请联系安全管理员")
            )
        _linked(tx, source, identity, who, by=who.login)


def ways_again(tx: Tx, person_id: int) -> list[IdentitySource]:
    """The sources that somebody who is logged in can go to, to prove anew to be there, by name."""
    return [link.source for link in _in_use(tx, person_id) if not kind(link.source.kind).typed]


def came_by(tx: Tx, sign_in_id: int) -> IdentitySession | None:
    """The session at a source by which somebody came into this one; None: they came by password."""
    outside = tx.scalar(select(SignIn.outside).where(SignIn.id == sign_in_id))
    return tx.get(IdentitySession, int(outside)) if outside else None


def directory(tx: Tx, sign_in_id: int) -> IdentityLink | None:
    """As whom the source knows somebody who came into this session by a password that is typed here; None: they came by
    another way, or that source is out of use."""
    came = came_by(tx, sign_in_id)
    if came is None:
        return None
    there = (one for one in _in_use(tx, came.person_id) if one.source_id == came.source_id)
    return next((one for one in there if kind(one.source.kind).typed), None)


def _in_use(tx: Tx, person_id: int) -> Sequence[IdentityLink]:
    query = select(IdentityLink).join(IdentitySource, IdentityLink.source_id == IdentitySource.id)
    query = query.where(IdentityLink.person_id == person_id, IdentitySource.active).options(
        joinedload(IdentityLink.source)
    )
    return tx.scalars(query.order_by(IdentitySource.name, IdentitySource.id)).all()


def is_of(tx: Tx, source_id: int, identity: Identity, person_id: int) -> bool:
    """Whether this identity of a source is linked to that person."""
    link = _link(tx, identity)
    return link is not None and (link.source_id, link.person_id) == (source_id, person_id)


def twice(tx: Tx, source_id: int, identity: Identity) -> bool:
    """Whether the source asked for two factors, as the rules in force have it."""
    rules = rulebook.in_force(tx, source_id)
    return rules is not None and meaning(rules, identity.claims).second


def own_links(tx: Tx, person_id: int) -> dict[int, IdentityLink]:
    """Source id → link of a person."""
    return {one.source_id: one for one in tx.scalars(select(IdentityLink).where(IdentityLink.person_id == person_id))}


def unlink(tx: Tx, link: IdentityLink) -> None:
    """Take a link away: one's own, or as the security administrator anybody's. Sessions that came by it end."""
    who = tx.get_one(Person, link.person_id)
    if tx.actor.login != who.login:
        tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    tx.delete(link)
    who.session_epoch += 1
    tx.audit(
        "identity.unlink", f"person:{who.id}", before={"issuer": link.issuer, "subject": link.subject, "source": link.source_id}
    )  # fmt: skip


def settle(tx: Tx, link: IdentityLink, reason: str) -> None:
    """The security administrator has looked at a difference and leaves the rights as they are, until the source says something
    else again. Raises WrongState where there is none."""
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    tx.lock(link)
    if link.differs_since is None:
        raise WrongState("identity.settled", N_("没有待核对的差异"))
    link.differs_since, link.settled = None, link.allowed
    tx.audit("identity.settle", f"person:{link.person_id}", after={"allowed": link.allowed}, reason=reason)


def _found(
    tx: Tx, source: IdentitySource, identity: Identity, first: tuple[str, str]
) -> tuple[IdentityLink, Rules, ClaimMeaning]:
    """The link of an identity, the rules in force, and what they make of its claims."""
    rules = rulebook.in_force(tx, source.id)
    if rules is None:
        raise NotAllowed("identity.no_rules", N_("该身份源还没有制定规则,请联系安全管理员"))
    said = meaning(rules, identity.claims)
    link = _link(tx, identity)
    if link is None:
        link = _linked_by_rule(tx, source, identity, rules, said, first)
    elif link.source_id != source.id:
        raise NotAllowed("identity.other_source", N_("该身份已由另一身份源关联,请联系安全管理员"))
    compare(tx, rules, said, link)
    link.seen_at = tx.now
    return link, rules, said


def _linked_by_rule(
    tx: Tx, source: IdentitySource, identity: Identity, rules: Rules, said: ClaimMeaning, first: tuple[str, str]
) -> IdentityLink:
    if not said.login:
        raise NotAllowed("identity.no_login", N_("身份源没有给出可用的登录名(声明 %(claim)s)"), claim=rules.login)
    who = tx.scalar(select(Person).where(func.lower(Person.login) == said.login.lower()))
    by = f"{source.code}@{identity.subject}"[:64]
    if who is not None:
        free = _of_person(tx, source.id, who.id) is None and tx.get(BreakGlass, who.id) is None
        if not (rules.link and free):
            raise NotAllowed(
                "identity.taken", N_("登录名 %(login)s 已有账号;请先用密码登录,再在“登录方式”中关联"), login=said.login
            )
        return _linked(tx, source, identity, who, by=by)
    if not rules.create:
        raise NotAllowed("identity.unknown", N_("您在本系统还没有账号,请联系系统管理员录入"))
    allowed = rulebook.places(tx, said)
    if not allowed:
        raise NotAllowed("identity.no_role", N_("按现行规则,您在身份源中的身份没有可用于本系统的角色,请联系安全管理员"))
    place = allowed[0]
    who, _first = accounts.enrol(
        tx, said.login, said.name or said.login, place.role, department=place.department, provider=place.provider,
        granted=False, must_change=False, secret=first,  # nobody knows it, so that there is nothing to be changed
    )  # fmt: skip
    return _linked(tx, source, identity, who, by=by)


def _linked(tx: Tx, source: IdentitySource, identity: Identity, who: Person, *, by: str) -> IdentityLink:
    row = IdentityLink(
        source_id=source.id, issuer=identity.issuer, subject=identity.subject, person_id=who.id, linked_by=by,
        linked_at=tx.now, allowed=[],
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    told = {"source": source.code, "issuer": identity.issuer, "subject": identity.subject}
    tx.audit("identity.link", f"person:{who.id}", after=told)
    return row


def compare(tx: Tx, rules: Rules, said: ClaimMeaning, link: IdentityLink) -> None:
    """What somebody holds beside what their claims allow; a rule without roles allows and forbids nothing."""
    allowed = [one.to_json() for one in said.allowed]
    link.allowed = allowed
    who = tx.lock(tx.get_one(Person, link.person_id))
    holds = rulebook.held(who)
    if not rules.roles or not who.granted or holds in said.allowed:
        link.differs_since = None
        link.settled = None
        return
    lose(tx, rules, who, link)


def lose(tx: Tx, rules: Rules, who: Person, link: IdentityLink) -> None:
    """What becomes of rights that are none of ``link.allowed``, as the rules say: taken, or shown to who looks after them."""
    allowed = link.allowed
    if rules.lost == REMOVE and _withdrawn(tx, who, allowed):
        link.differs_since = None
    elif link.settled != allowed:
        _differs(tx, link, who, allowed, tx.now)


def _differs(tx: Tx, link: IdentityLink, who: Person, allowed: list[dict[str, str]], now: datetime) -> None:
    if link.differs_since is None:
        link.differs_since = now
        tx.audit("identity.differ", f"person:{who.id}", after={"allowed": allowed, "role": who.role})


def _withdrawn(tx: Tx, who: Person, allowed: list[dict[str, str]]) -> bool:
    """Take the rights away, unless the house can't do without them: then somebody has to look."""
    try:
        accounts.must_not_be_the_last(tx, who)
    except WrongState:
        return False
    who.granted = False
    who.session_epoch += 1
    tx.audit(
        "identity.withdraw", f"person:{who.id}", before={"granted": True}, after={"granted": False, "allowed": allowed}
    )
    return True


def _link(tx: Tx, identity: Identity) -> IdentityLink | None:
    query = select(IdentityLink).where(IdentityLink.issuer == identity.issuer, IdentityLink.subject == identity.subject)
    found: IdentityLink | None = tx.scalar(query)
    return found


def _of_person(tx: Tx, source_id: int, person_id: int) -> IdentityLink | None:
    query = select(IdentityLink).where(IdentityLink.source_id == source_id, IdentityLink.person_id == person_id)
    found: IdentityLink | None = tx.scalar(query)
    return found


def _unknown_password() -> tuple[str, str]:
    """A password that nobody ever learns, hashed before the transaction: such an account is opened by its source alone, until
    the system administrator resets it."""
    first = passwords.random()
    return first, passwords.hashed(first)
