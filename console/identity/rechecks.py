"""People who are known by a directory are asked about there while they are away: who left it, was closed or lost a group there
loses here what the rules say, without having to log in again for it.

All accounts with rights that are linked to a directory are asked about, in few searches; the passwords of none are needed. What a
directory that fails does not say changes nothing. Nor does one that knows most of them no longer, or says less of them than their
rights rest on: such an answer looks like a branch that was moved, an attribute that was renamed or an account that may see less, and is
told instead of shutting a city out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from console.identity import arrivals, connections, departures, rulebook, typed
from console.identity.rules import ClaimMeaning, Rules, meaning
from console.identity.sources import Claims, SourceFault
from console.identity.tables import IdentityLink, IdentitySource
from console.settings import Settings
from quota.actors import steward
from quota.db import Book
from quota.directory import Person

FEW = 3
"""So many may lose something at once, whatever part of all they are."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """What came of one source: how many were ``asked`` about, how many are ``gone``, how many others hold more than it allows since now
    (``less``), of how many the rights were taken or shown to the security administrator (``changed``). ``fault``: the directory did not say; ``doubted``: what it said was not believed."""

    source: str
    asked: int = 0
    gone: int = 0
    less: int = 0
    changed: int = 0
    fault: SourceFault | None = None

    @property
    def doubted(self) -> bool:
        losing = self.gone + self.less
        return losing > FEW and 2 * losing > self.asked


def recheck(book: Book, settings: Settings) -> Iterator[Recheck]:
    """Ask each directory in use that has rules, one after the other."""
    with book.reading() as tx:
        found = [(one, rulebook.in_force(tx, one.id)) for one in typed.split(connections.sources(tx, active=True))[1]]
    for source, rules in found:
        if rules is not None:
            yield _recheck(book, settings, source, rules)


def _recheck(book: Book, settings: Settings, source: IdentitySource, rules: Rules) -> Recheck:
    try:
        directory = typed.opened(book, settings, source)
        issuer = typed.issuer(source, directory.issuer)
        with book.reading() as tx:
            query = select(IdentityLink).join(Person, Person.id == IdentityLink.person_id)
            query = query.where(IdentityLink.source_id == source.id, IdentityLink.issuer == issuer)
            links = tx.scalars(
                query.where(Person.active, Person.granted)
                .options(
                    joinedload(IdentityLink.person).options(joinedload(Person.department), joinedload(Person.provider))
                )
                .order_by(IdentityLink.id)
            ).all()
        told = directory.standing([one.subject for one in links], book.clock())
    except SourceFault as fault:
        return Recheck(source.code, fault=fault)
    gone = sum(one.subject not in told for one in links)
    less = sum(_loses(rules, one, meaning(rules, told[one.subject])) for one in links if one.subject in told)
    done = Recheck(source.code, len(links), gone, less)
    if done.doubted:
        return done
    waiting = [one for one in links if _differs(rules, one, told.get(one.subject))]
    changed = sum(_entered(book, rules, one, told.get(one.subject)) for one in waiting)
    return replace(done, changed=changed)


def _loses(rules: Rules, link: IdentityLink, said: ClaimMeaning) -> bool:
    """Whether somebody holds what the directory does not allow, and nobody was shown it yet."""
    lost = bool(rules.roles) and rulebook.held(link.person) not in said.allowed
    allowed = [one.to_json() for one in said.allowed]
    return lost and link.differs_since is None and link.settled != allowed


def _differs(rules: Rules, link: IdentityLink, claims: Claims | None) -> bool:
    """Whether what the directory says of somebody is anything new. Of who is gone, it is looked at each time: they may have a
    session that another directory or a password opened since."""
    if claims is None:
        return True
    said = meaning(rules, claims)
    return [one.to_json() for one in said.allowed] != link.allowed or _loses(rules, link, said)


def _entered(book: Book, rules: Rules, link: IdentityLink, claims: Claims | None) -> bool:
    """Enter what the directory says; whether it cost somebody a right, or is to be looked at."""
    with book.transaction(steward("job:identities")) as tx:
        tx.alone(f"identity:{link.issuer}:{link.subject}")
        found = tx.get(IdentityLink, link.id)
        if found is None:
            return False
        who = tx.lock(tx.get_one(Person, found.person_id))
        before = (who.granted, found.differs_since)
        if claims is not None:
            arrivals.compare(tx, rules, meaning(rules, claims), found)
            return (who.granted, found.differs_since) != before
        found.allowed = []
        if who.granted:
            arrivals.lose(tx, rules, who, found)
        ended = departures.gone(tx, found)
        if ended or (who.granted, found.differs_since) != before:
            tx.audit("identity.gone", f"person:{who.id}", after={"source": found.source.code, "sessions": ended})
        return (who.granted, found.differs_since) != before
