"""How often one may try: growing waits by address and by account, counted in the book for all web processes alike.

Nothing here knows whether an account exists: what was typed as its login is counted, by a digest. Four things are counted,
each in steps (so many tries within so long):

- an account from an address, which is what guessing looks like;
- an account from a browser that it was logged in with before: such a browser waits for its own slips alone, so that
  no stranger keeps the owner out, not even from behind the same address;
- an address, whatever accounts it tries;
- an account from all addresses and browsers that it was never logged in from, far above what people mistype.

A try is counted before it is looked at, so that many at once are no more than one after the other; a right one is given
back. No account is ever locked: whoever waits, waits for this address or for unknown browsers.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Any

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import CursorResult, case, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from console.accounts.origins import Origin
from console.accounts.tables import SignIn, TryCounter
from console.settings import Settings
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, TooOften

ACCOUNT_TRIES, ADDRESS_FACTOR = 100, 4
KNOWN_DAYS = 90
"""How long an address, or a browser, counts as known to an account after it was logged in from there."""


class BookStorage(Storage, SlidingWindowCounterSupport):
    """Counters of ``limits`` as rows of the book, inside an open transaction and by its clock; in windows that begin with the
    first try, or that slide: then two rows, of this window and of the one before."""

    STORAGE_SCHEME = None

    def __init__(self, tx: Tx) -> None:
        super().__init__()
        self.tx = tx

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count ``amount`` more under ``key``; the count of the window that this falls into, which lasts ``expiry`` s."""
        insert: Any = postgresql.insert if self.tx.dialect == "postgresql" else sqlite.insert
        now, until = self.tx.now, self.tx.now + timedelta(seconds=expiry)
        over = TryCounter.expires_at <= now
        statement = insert(TryCounter).values(key=key, count=max(amount, 0), expires_at=until)
        return int(
            self.tx.execute(
                statement.on_conflict_do_update(
                    index_elements=[TryCounter.key],
                    set_={
                        "count": case((over, max(amount, 0)), else_=TryCounter.count + amount),
                        "expires_at": case((over, until), else_=TryCounter.expires_at),
                    },
                ).returning(TryCounter.count)
            ).scalar_one()
        )

    def _row(self, key: str) -> tuple[int, datetime] | None:
        found = self.tx.execute(
            select(TryCounter.count, TryCounter.expires_at).where(
                TryCounter.key == key, TryCounter.expires_at > self.tx.now
            )
        ).one_or_none()
        return (found[0], found[1]) if found else None

    def get(self, key: str) -> int:
        found = self._row(key)
        return found[0] if found else 0

    def get_expiry(self, key: str) -> float:
        found = self._row(key)
        return (found[1] if found else self.tx.now).timestamp()

    def window_s(self, expiry: int) -> float:
        """Seconds until the present one of the windows that slide is over."""
        return expiry - self.tx.now.timestamp() % expiry

    def _windows(self, key: str, expiry: int) -> tuple[str, str]:
        """Keys of the window before and of the present one."""
        number = int(self.tx.now.timestamp() // expiry)
        return f"{key}/{number - 1}", f"{key}/{number}"

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """(count of the window before, seconds for which it still counts, count of the present one, seconds for which that does)."""
        before, present = self._windows(key, expiry)
        left = self.window_s(expiry)
        return self.get(before), left, self.get(present), left + expiry

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` more, unless these were more than ``limit`` then: of others at the same moment one finds no room."""
        before, left, count, _ends = self.get_sliding_window(key, expiry)
        if before * left / expiry + count + amount > limit:
            return False
        present = self._windows(key, expiry)[1]
        if before * left / expiry + self.incr(present, 2 * expiry, amount) > limit:
            self.incr(present, 2 * expiry, -amount)
            return False
        return True

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        for one in self._windows(key, expiry):
            self.clear(one)

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        done: CursorResult[Any] = self.tx.execute(delete(TryCounter))  # type: ignore[assignment]
        return done.rowcount

    def clear(self, key: str) -> None:
        self.tx.execute(delete(TryCounter).where(TryCounter.key == key))


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that is counted: what (``about`` and who), in which steps."""

    identifiers: tuple[str, ...]
    steps: tuple[RateLimitItem, ...]

    @property
    def of_address(self) -> bool:
        """Whether it counts an address, whatever is tried from there."""
        return self.identifiers[0] == "address"


def mark(login: str) -> str:
    """What stands for an account in counters and in a browser's own mark: nothing that can be read back easily, the same
    for logins that a directory may take for one: that differ in case, width, accents, blanks or in what can't be seen."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", login).casefold())
    seen = "".join(one for one in plain if one.isspace() or unicodedata.category(one) not in UNSEEN)
    return hashlib.sha256(b"guanjia account\n" + " ".join(seen.split()).encode()).hexdigest()[:32]


UNSEEN = ("Cc", "Cf", "Mn", "Me")
"""Categories of what a login may be strewn with and stay the same to a directory: controls, formats, accents."""


def network(address: str) -> str:
    """What one stranger can be taken for to have: an IPv4 address, or the /64 that an IPv6 host chooses its own from."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)


def _steps(settings: Settings, factor: int = 1) -> tuple[RateLimitItem, ...]:
    """So many tries within a minute, twice as many within the settings' wait, four times within four of them."""
    tries, wait = settings.lock_after * factor, settings.lock_minutes * 60
    return (
        RateLimitItemPerSecond(tries, 60),
        RateLimitItemPerSecond(2 * tries, max(wait, 120)),
        RateLimitItemPerSecond(4 * tries, 4 * max(wait, 120)),
    )


def of_sign_in(tx: Tx, settings: Settings, login: str, origin: Origin, at: str = "") -> list[Gauge]:
    """What a try to log in as ``login`` from ``origin`` is counted by; ``at``: by the account of that login elsewhere, which is
    counted apart and forgotten with the house's own. Always the same order: rows are locked in it."""
    account = (mark(login), at) if at else (mark(login),)
    if origin.device:
        return [Gauge(("device", *account, origin.device), _steps(settings))]
    gauges = [
        Gauge(("pair", *account, network(origin.address)), _steps(settings)),
        Gauge(("address", network(origin.address)), _steps(settings, ADDRESS_FACTOR)),
    ]
    if not _known(tx, login, origin):
        gauges.append(Gauge(("account", *account), (RateLimitItemPerSecond(ACCOUNT_TRIES, 3600),)))
    return gauges


def of_proof(settings: Settings, person_id: int, what: str) -> list[Gauge]:
    """What further proofs of somebody who is known by a first one are counted by: ``what`` is asked for."""
    return [Gauge((what, str(person_id)), _steps(settings))]


def of_address(settings: Settings, what: str, origin: Origin) -> list[Gauge]:
    """What strangers can have the house do for them (``what``) is counted by."""
    return [Gauge((what, network(origin.address)), _steps(settings, ADDRESS_FACTOR))]


def _known(tx: Tx, login: str, origin: Origin) -> bool:
    """Whether the account was logged in from this address of late."""
    found = tx.scalar(
        select(SignIn.id)
        .join(Person, Person.id == SignIn.person_id)
        .where(
            Person.login == login,
            SignIn.address == origin.address,
            SignIn.started_at > tx.now - timedelta(days=KNOWN_DAYS),
        )
        .limit(1)
    )
    return found is not None


def wait(tx: Tx, gauges: Sequence[Gauge]) -> float:
    """Seconds until the next try may be made; 0: at once."""
    limiter = FixedWindowRateLimiter(BookStorage(tx))
    ends = [
        limiter.get_window_stats(step, *gauge.identifiers).reset_time
        for gauge in gauges
        for step in gauge.steps
        if not limiter.test(step, *gauge.identifiers)
    ]
    return max(0.0, max(ends) - tx.now.timestamp()) if ends else 0.0


def take(tx: Tx, gauges: Sequence[Gauge]) -> float:
    """Count a try; seconds to wait instead where there were too many (which is audited once a wait)."""
    waiting = wait(tx, gauges)
    if waiting:
        return waiting
    limiter = FixedWindowRateLimiter(BookStorage(tx))
    for gauge in gauges:
        for step in gauge.steps:
            # Of tries at the same moment some may find no room only now.
            if not limiter.hit(step, *gauge.identifiers):
                waiting = float(step.get_expiry())
            elif step.amount - limiter.storage.get(step.key_for(*gauge.identifiers)) == 0:
                tx.audit("login.limit", f"limit:{gauge.identifiers[0]}", after={"seconds": step.get_expiry()})
    return waiting


def first(tx: Tx, *what: str) -> bool:
    """Whether it is the first time within a minute: of what strangers can bring about at will, one record is enough."""
    return FixedWindowRateLimiter(BookStorage(tx)).hit(RateLimitItemPerSecond(1, 60), *what)


def once(tx: Tx, *what: str) -> bool:
    """Whether it is the first time within an hour: of what is good once, and for less than that."""
    return FixedWindowRateLimiter(BookStorage(tx)).hit(RateLimitItemPerSecond(1, 3600), *what)


def give_back(tx: Tx, gauges: Sequence[Gauge]) -> None:
    """A try was right: what was counted of the account from here is forgotten, of wider counts this try."""
    storage = BookStorage(tx)
    for gauge in gauges:
        for step in gauge.steps:
            key = step.key_for(*gauge.identifiers)
            if gauge.identifiers[0] in ("address", "account"):
                storage.incr(key, step.get_expiry(), -1)
            else:
                storage.clear(key)


def take_back(tx: Tx, gauges: Sequence[Gauge]) -> None:
    """A try was none, whatever was wrong about it: it does not count, those before it do."""
    storage = BookStorage(tx)
    for gauge in gauges:
        for step in gauge.steps:
            storage.incr(step.key_for(*gauge.identifiers), step.get_expiry(), -1)


def too_often(seconds: float) -> TooOften:
    """The refusal, the same for whatever was tried."""
    return TooOften("try.wait", N_("尝试过于频繁，请%(seconds)s秒后再试"), seconds=max(1, -int(-seconds // 1)))


def forget(tx: Tx, login: str) -> int:
    """Let an account be tried anew from everywhere; how many counters there were."""
    account = mark(login)
    about = [TryCounter.key.startswith(f"LIMITER/{kind}/{account}/") for kind in ("pair", "device", "account")]
    found: CursorResult[Any] = tx.execute(  # type: ignore[assignment]
        delete(TryCounter).where(about[0] | about[1] | about[2])
    )
    return found.rowcount


def waits(tx: Tx, login: str) -> datetime | None:
    """Until when somebody has to wait to try this account, from wherever it was tried too often; None: nobody has to."""
    account = mark(login)
    rows = tx.execute(
        select(TryCounter.key, TryCounter.count, TryCounter.expires_at).where(
            TryCounter.key.startswith(f"LIMITER/pair/{account}/")
            | TryCounter.key.startswith(f"LIMITER/device/{account}/")
            | TryCounter.key.startswith(f"LIMITER/account/{account}/"),
            TryCounter.expires_at > tx.now,
        )
    )
    full = [until for key, count, until in rows if count >= int(key.split("/")[-3])]
    return max(full).astimezone(UTC) if full else None


def sweep(tx: Tx) -> int:
    """Take away counters whose time is over. Rows that somebody is counting in are left for the next time."""
    over = select(TryCounter.key).where(TryCounter.expires_at <= tx.now).limit(5000)
    keys = list(tx.scalars(over.with_for_update(skip_locked=True)))
    if keys:
        tx.execute(delete(TryCounter).where(TryCounter.key.in_(keys)))
    return len(keys)
