"""Login and password typed here and tried at a source: counted like a password of the house, before the source is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from console.accounts import Origin, proofs, throttle
from console.identity import connections
from console.identity.kinds import kind
from console.identity.sources import Identity, PasswordSource, SourceFault
from console.identity.tables import IdentityLink, IdentitySource
from console.settings import Settings
from quota.actors import nobody
from quota.db import Book, Tx
from quota.errors import NotAllowed


def split(sources: Sequence[IdentitySource]) -> tuple[list[IdentitySource], list[IdentitySource]]:
    """(sources that people go to, sources whose password is typed here)."""
    typed = [one for one in sources if kind(one.kind).typed]
    return [one for one in sources if one not in typed], typed


def identified(
    book: Book, settings: Settings, source: IdentitySource, login: str, password: str, origin: Origin
) -> Identity:
    """Whose ``login`` and ``password`` are at ``source``. Raises NotAllowed where they are nobody's, TooOften, SourceFault."""
    login = login.strip()[: proofs.LOGIN_LENGTH]
    found = _opened(book, settings, source)

    def gauges(tx: Tx) -> list[throttle.Gauge]:
        return throttle.of_sign_in(tx, settings, f"{source.code}:{login}", origin)

    return _counted(book, source, gauges, lambda: found.identify(login, password), origin)


def again(
    book: Book, settings: Settings, source: IdentitySource, link: IdentityLink, password: str, origin: Origin
) -> Identity:
    """Whether ``password`` is theirs whom ``link`` knows at ``source``. Raises as ``identified``."""
    found = _opened(book, settings, source)
    gauges = throttle.of_proof(settings, link.person_id, "again")
    return _counted(book, source, lambda _tx: gauges, lambda: found.again(link.subject, password), origin)


def _opened(book: Book, settings: Settings, source: IdentitySource) -> PasswordSource:
    found = connections.opened(book, settings, source)
    if not isinstance(found, PasswordSource):
        raise SourceFault("answer", source.kind)
    return found


def _counted(
    book: Book,
    source: IdentitySource,
    gauges: Callable[[Tx], list[throttle.Gauge]],
    ask: Callable[[], Identity],
    origin: Origin,
) -> Identity:
    """What ``ask`` finds. A try counts before the source is asked, and does not where it was good or the source silent."""
    stranger = nobody(origin.address, origin.request_id)
    with book.transaction(stranger) as tx:
        counted = gauges(tx)
        waiting = throttle.take(tx, counted)
    if waiting:
        raise throttle.too_often(waiting)
    try:
        found = ask()
    except SourceFault as fault:
        if fault.code == "wrong":
            with book.transaction(stranger) as tx:
                tx.audit("login.fail", proofs.UNKNOWN, after={"source": source.code})
            raise NotAllowed("login.wrong", proofs.WRONG) from None
        with book.transaction(stranger) as tx:
            throttle.give_back(tx, counted)
        raise
    with book.transaction(stranger) as tx:
        throttle.give_back(tx, counted)
    return found
