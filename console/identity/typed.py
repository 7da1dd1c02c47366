"""Login and password typed here and tried at a source: counted like a password of the house, before the source is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from console.accounts import Origin, proofs, throttle
from console.identity import connections
from console.identity.kinds import kind
from console.identity.sources import Identity, PasswordSource, SourceFault
from console.identity.tables import ISSUER_LENGTH, IdentityLink, IdentitySource
from console.settings import Settings
from quota.actors import nobody
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, NotAllowed, NotFound


def split(sources: Sequence[IdentitySource]) -> tuple[list[IdentitySource], list[IdentitySource]]:
    """(sources that people go to, sources whose password is typed here)."""
    typed = [one for one in sources if kind(one.kind).typed]
    return [one for one in sources if one not in typed], typed


def offered(tx: Tx, code: str) -> IdentitySource:
    """The source of that code, which is in use and whose password is typed here. Raises NotFound for every other: there is
    nothing to count or to record of what no page offers."""
    for one in split(connections.sources(tx, active=True))[1]:
        if one.code == code:
            return one
    raise NotFound("identity.not_typed", N_("这里不能用该身份源的密码登录,请重新选择"))


def identified(
    book: Book, settings: Settings, source: IdentitySource, login: str, password: str, origin: Origin
) -> Identity:
    """Whose ``login`` and ``password`` are at ``source``. Raises NotAllowed where they are nobody's, TooOften, SourceFault."""
    login = login.strip()[: proofs.LOGIN_LENGTH]

    def gauges(tx: Tx) -> list[throttle.Gauge]:
        return throttle.of_sign_in(tx, settings, login, origin, at=source.code)

    return _counted(book, settings, source, gauges, lambda found: found.identify(login, password), origin)


def again(
    book: Book, settings: Settings, source: IdentitySource, link: IdentityLink, password: str, origin: Origin
) -> Identity:
    """Whether ``password`` is theirs whom ``link`` knows at ``source``. Raises as ``identified``."""
    gauges = throttle.of_proof(settings, link.person_id, "again")
    return _counted(
        book, settings, source, lambda _tx: gauges, lambda found: found.again(link.subject, password), origin,
        link.person_id,
    )  # fmt: skip


def opened(book: Book, settings: Settings, source: IdentitySource) -> PasswordSource:
    """The source of that row. Raises SourceFault."""
    found = connections.opened(book, settings, source)
    if not isinstance(found, PasswordSource):
        raise SourceFault("answer", source.kind)
    return found


def _counted(
    book: Book,
    settings: Settings,
    source: IdentitySource,
    gauges: Callable[[Tx], list[throttle.Gauge]],
    ask: Callable[[PasswordSource], Identity],
    origin: Origin,
    person_id: int = 0,
) -> Identity:
    """What ``ask`` finds. A try counts before the source is asked, and does not where it was good. Where the source failed, it
    counts for the address alone, unless nobody had to wait for that: a source that hangs is no way to hold the house up.
    ``person_id``: who tries, where that is known."""
    stranger = nobody(origin.address, origin.request_id)
    with book.transaction(stranger) as tx:
        counted = gauges(tx)
        waiting = throttle.take(tx, counted)
    if waiting:
        raise throttle.too_often(waiting)
    try:
        found = ask(opened(book, settings, source))
    except SourceFault as fault:
        if fault.code == "wrong":
            with book.transaction(stranger) as tx:
                who = tx.get(Person, person_id)
                if who is not None:
                    tx.actor = who.actor(origin.address, origin.request_id)
                about = f"person:{who.id}" if who is not None else proofs.UNKNOWN
                tx.audit("login.fail", about, after={"source": source.code})
            raise NotAllowed("login.wrong", proofs.WRONG) from None
        with book.transaction(stranger) as tx:
            throttle.take_back(tx, [one for one in counted if fault.rested or not one.of_address])
        raise
    with book.transaction(stranger) as tx:
        throttle.give_back(tx, counted)
    return replace(found, issuer=issuer(source, found.issuer))


def issuer(source: IdentitySource, named: str) -> str:
    """What is kept as the issuer of identities that the source itself says are of ``named``: its address may change, whose
    subjects they are is said by what stays."""
    return f"{source.code}:{named}"[:ISSUER_LENGTH]
