"""LDAP: login and password are typed here and tried at the city's directory (OpenLDAP, Active Directory, 统信/麒麟 域). Speaks to nobody
before it is asked to.

The protocol is ldap3's; here is what the house asks of a directory:

- what is typed is sent over TLS alone (``ldaps://``, or ``ldap://`` with StartTLS), whose certificate is checked; in clear to this very
  machine only;
- the account that is meant is looked up first, by a filter that holds one entry and no other; then its own password is tried on a
  connection of its own. An empty password is none: directories take it for nobody's and say yes. Where nobody was found, an
  entry that cannot be is tried, so that known and unknown logins take the same steps;
- referrals are not followed, aliases not resolved, answers bounded in time and number.

``subject`` is what the directory never gives to anybody else (``entryUUID``, ``objectGUID``): a login may be given on. Who has
none that can be read, or shares it with another entry, is nobody.

A directory that doesn't answer, or refuses the account that looks people up, is not asked again for ``REST_S``: it costs a web
thread one time-out, not every one of them. What comes of somebody's own password lets nothing rest: strangers can choose it.
"""

from __future__ import annotations

import secrets
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPInvalidFilterError
from ldap3.core.results import (
    RESULT_CONSTRAINT_VIOLATION,
    RESULT_INAPPROPRIATE_AUTHENTICATION,
    RESULT_INSUFFICIENT_ACCESS_RIGHTS,
    RESULT_INVALID_CREDENTIALS,
    RESULT_INVALID_DN_SYNTAX,
    RESULT_NO_SUCH_OBJECT,
    RESULT_SUCCESS,
    RESULT_UNWILLING_TO_PERFORM,
)
from ldap3.protocol.formatters.formatters import format_time
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn

from console.identity.ldap_options import LdapOptions
from console.identity.sources import Claims, Identity, SourceFault
from providers.secrets import Secret
from quota.errors import Refused

TIMEOUT_S = 5
REST_S = 10.0
LONGEST = 256
"""Characters of a login or a password that a directory is asked about."""
MOST_VALUES, LONGEST_VALUE = 1000, 2000
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LOGIN = "{login}"
AT_ONCE = 100
"""Subjects that one search asks about: fewer than any directory's limit of what it answers."""
NOT_LET_IN = frozenset({
    RESULT_INVALID_CREDENTIALS, RESULT_CONSTRAINT_VIOLATION, RESULT_UNWILLING_TO_PERFORM, RESULT_INSUFFICIENT_ACCESS_RIGHTS,
    RESULT_INAPPROPRIATE_AUTHENTICATION, RESULT_NO_SUCH_OBJECT, RESULT_INVALID_DN_SYNTAX,
})  # fmt: skip
"""What directories say to somebody's own password that is wrong, or of an account that is locked (389 DS: 19), closed (53) or
has no password (48). None of it is told apart: it would tell strangers which accounts there are."""


FILETIME_1970 = 11_644_473_600
"""Seconds from 1601, from which Active Directory counts, to 1970."""
NO_END = 2**63 - 1


def _filetime_over(value: str, now: datetime) -> bool:
    """Of Active Directory: tenths of a microsecond since 1601; 0 and the largest figure are never."""
    ticks = int(value) if value.isdecimal() else 0
    return 0 < ticks < NO_END and ticks <= (int(now.timestamp()) + FILETIME_1970) * 10_000_000


def _day_over(value: str, now: datetime) -> bool:
    """Of shadow accounts: the first day on which nothing opens, counted from 1970; none from 0 downwards."""
    return value.isdecimal() and 0 < int(value) <= int(now.timestamp()) // 86_400


def _moment_over(value: str, now: datetime) -> bool:
    """Of Kerberos: a GeneralizedTime, which is never where it is 1970."""
    ends = format_time(value.encode())
    return isinstance(ends, datetime) and ends.tzinfo is not None and 0 < ends.timestamp() <= now.timestamp()


CLOSED: Mapping[str, Callable[[str, datetime], bool]] = {
    "userAccountControl": lambda value, _now: value.isdecimal() and bool(int(value) & 2),
    "nsAccountLock": lambda value, _now: value.lower() == "true",
    "pwdAccountLockedTime": lambda value, _now: value.startswith("000001010000"),
    "accountExpires": _filetime_over,
    "shadowExpire": _day_over,
    "krbPrincipalExpiration": _moment_over,
}
"""By what directories say that an account is closed (AD; 389 DS; OpenLDAP, for good), and by which of its values. A lock that
ends by itself is none."""


class Ldap:
    """A directory. ``PasswordSource``; may be shared by threads: each call has connections of its own."""

    Options = LdapOptions

    def __init__(self, options: LdapOptions) -> None:
        self.options = options
        self._kept: tuple[float, SourceFault] | None = (
            None  # until when it rests (by a clock that only runs forward), and why
        )

    @property
    def issuer(self) -> str:
        return _normal(self.options.base)

    def identify(self, login: str, password: str) -> Identity:
        if not login or not password or max(len(login), len(password)) > LONGEST or "\0" in login + password:
            raise SourceFault("wrong")
        return self._proven(self._of_login(login), password)

    def again(self, subject: str, password: str) -> Identity:
        if not password or len(password) > LONGEST or "\0" in password:
            raise SourceFault("wrong")
        return self._proven(self._of_subject(subject), password)

    def standing(self, subjects: Sequence[str], now: datetime) -> Mapping[str, Claims]:
        """Asked in searches of ``AT_ONCE``. Who no longer fits the filter, whatever login it is given, could not come either."""
        found: dict[str, Claims] = {}
        twins: set[str] = set()
        anybody = self._of_anybody()
        with self._reading() as asking:
            for start in range(0, len(subjects), AT_ONCE):
                meant = "".join(self._of_subject(one) for one in subjects[start : start + AT_ONCE])
                result, entries = self._searched(asking, f"(&{anybody}(|{meant}))", most=2 * AT_ONCE)
                if result != RESULT_SUCCESS:
                    said = str(asking.result.get("description"))
                    raise self._rests(SourceFault("base" if result == RESULT_NO_SUCH_OBJECT else "answer", said))
                for entry in entries:
                    claims = _claims(entry)
                    subject = self._subject(claims)
                    twins |= {subject} & found.keys()
                    found[subject] = claims
            if subjects and not found and not self._searched(asking, anybody)[1]:
                raise SourceFault("nobody", anybody)  # an account that may see nobody says nothing of who is gone
        return {one: claims for one, claims in found.items() if one and one not in twins and not _closed(claims, now)}

    def probe(self, callback: str) -> str:  # noqa: ARG002 - a directory sends nobody back
        """The branch, the filter and the permanent ids: nobody is found by a login that cannot be, and somebody by any."""
        self._kept = None
        with self._reading() as asking:
            found, _entries = self._searched(asking, "(objectClass=*)", ldap3.BASE)
            if found != RESULT_SUCCESS:
                raise SourceFault("base", f"{self.options.base}: {asking.result.get('description')}")
            if self._one(asking, self._of_login(secrets.token_hex(16)), "filter") is not None:
                raise SourceFault("filter", self.options.filter)
            anybody = self._of_anybody()
            _found, entries = self._searched(asking, anybody)
            if not entries:
                raise SourceFault("nobody", anybody)
            self._identity(asking, entries[0])
            secured = asking.server.ssl or asking.tls_started
            said = [asking.server.name, self.options.base, self.options.subject, "TLS" if secured else "loopback"]
            return ", ".join(said)

    # --- what is asked of the directory ---

    def _proven(self, condition: str, password: str) -> Identity:
        """Who the one entry is that fits the condition, its password being this one. Raises SourceFault."""
        with self._reading() as asking:
            entry = self._one(asking, condition)
            dn = entry["dn"] if entry else f"cn={secrets.token_hex(16)},{self.options.base}"
            with self._bound(dn, password, own=True):
                pass
            if entry is None:
                raise SourceFault("wrong")
            return self._identity(asking, entry)

    def _identity(self, asking: ldap3.Connection, entry: Mapping[str, Any]) -> Identity:
        """What the entry says, which is the one of its subject."""
        claims = _claims(entry)
        subject = self._subject(claims)
        if not subject:
            raise SourceFault("subject", f"no {self.options.subject}")
        alone = self._one(asking, self._of_subject(subject), "subject")
        if alone is None or alone["dn"] != entry["dn"]:
            raise SourceFault("subject", f"{self.options.subject} is of another entry")
        return Identity(self.issuer, subject, claims)

    def _subject(self, claims: Claims) -> str:
        """The one permanent id among what an entry says; "" where there is none that can be used."""
        found = {name.lower(): many for name, many in claims.items() if isinstance(many, list)}
        subjects = found.get(self.options.subject.lower()) or []
        subject = str(subjects[0]) if len(subjects) == 1 else ""
        return subject if subject.strip() and subject.isprintable() and len(subject) <= 255 else ""

    def _of_anybody(self) -> str:
        """The filter of everybody who could come: with some login, and a permanent id."""
        return f"(&{self.options.filter.replace(LOGIN, '*')}({self.options.subject}=*))"

    def _of_login(self, login: str) -> str:
        """The filter of who has this login. Raises SourceFault where the login makes no difference to it."""
        if LOGIN not in self.options.filter:
            raise SourceFault("filter", self.options.filter)
        return self.options.filter.replace(LOGIN, escape_filter_chars(login))

    def _of_subject(self, subject: str) -> str:
        return f"({self.options.subject}={_matching(self.options.subject, subject)})"

    def _one(self, asking: ldap3.Connection, condition: str, otherwise: str = "answer") -> Mapping[str, Any] | None:
        """The one entry that fits; None: there is none. Raises SourceFault, of the code ``otherwise`` where several fit."""
        result, entries = self._searched(asking, condition)
        said = str(asking.result.get("description"))
        if result == RESULT_NO_SUCH_OBJECT:
            raise self._rests(SourceFault("base", self.options.base))
        if len(entries) > 1:
            raise SourceFault(otherwise, "several entries fit")
        if result != RESULT_SUCCESS:
            raise SourceFault(otherwise, said)
        return entries[0] if entries else None

    def _searched(
        self, asking: ldap3.Connection, condition: str, scope: str = ldap3.SUBTREE, most: int = 2
    ) -> tuple[int, list[Mapping[str, Any]]]:
        """(the result, entries of the branch: ``most`` where there are more)."""
        try:
            asking.search(
                self.options.base, condition, scope, dereference_aliases=ldap3.DEREF_NEVER, size_limit=most,
                time_limit=TIMEOUT_S, attributes=[ldap3.ALL_ATTRIBUTES, "memberOf", *CLOSED, self.options.subject],
            )  # fmt: skip
        except LDAPInvalidFilterError:
            raise SourceFault("filter", self.options.filter) from None
        except LDAPException as error:
            raise self._rests(_fault(error)) from None
        entries = [one for one in asking.response or [] if one.get("type") == "searchResEntry"]
        return int(asking.result["result"]), entries

    def _rests(self, fault: SourceFault) -> SourceFault:
        """``fault``, which is told for a while without asking."""
        self._kept = (time.monotonic() + REST_S, fault)
        return fault

    @contextmanager
    def _reading(self) -> Iterator[ldap3.Connection]:
        """A connection of the account that looks people up."""
        kept = self._kept
        if kept is not None and time.monotonic() < kept[0]:
            raise SourceFault(kept[1].code, kept[1].said, rested=True)
        with self._bound(self.options.bind_dn, _plain(self.options.bind_password)) as asking:
            yield asking

    @contextmanager
    def _bound(self, dn: str | None, password: str | None, *, own: bool = False) -> Iterator[ldap3.Connection]:
        """A connection of ``dn`` (None: of nobody). ``own``: of somebody who comes, with what they typed."""
        connection = self._connection(dn, password)
        try:
            try:
                connection.open(read_server_info=False)
                if not connection.server.ssl and not _here(self.options.server):
                    connection.start_tls(read_server_info=False)
                bound = connection.bind(read_server_info=False)
            except (LDAPException, OSError) as error:
                fault = _fault(error)
                raise (fault if own else self._rests(fault)) from None
            if not bound:
                said = str(connection.result.get("description"))
                if own:
                    raise SourceFault("wrong" if connection.result.get("result") in NOT_LET_IN else "server", said)
                raise self._rests(SourceFault("bind", said))
            yield connection
        finally:
            with suppress(LDAPException, OSError):
                connection.unbind()

    def _connection(self, dn: str | None, password: str | None) -> ldap3.Connection:
        try:
            address = urlsplit(self.options.server)
            port = address.port
        except ValueError as error:
            raise SourceFault("address", str(error)[:200]) from None
        if address.scheme not in ("ldap", "ldaps") or not address.hostname:
            raise SourceFault("address", self.options.server)
        try:
            context = ssl.create_default_context(cafile=self.options.ca_file)
        except OSError as error:
            raise SourceFault("ca_file", f"{self.options.ca_file}: {error}") from None
        try:
            tls = _Tls(context)
            secure = address.scheme == "ldaps"
            server = ldap3.Server(
                address.hostname, port or (636 if secure else 389), use_ssl=secure, tls=tls, get_info=ldap3.NONE,
                connect_timeout=TIMEOUT_S, allowed_referral_hosts=[],
            )  # fmt: skip
            return ldap3.Connection(
                server, user=dn, password=password, auto_referrals=False, receive_timeout=TIMEOUT_S, read_only=True,
                authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS, check_names=False,
            )  # fmt: skip
        except (LDAPException, ValueError) as error:
            raise SourceFault("address", str(error)[:200]) from None


class _Tls(ldap3.Tls):  # type: ignore[misc]
    """TLS as Python checks it by itself: ldap3 compares host names by a function that Python has given up."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=connection.server.host, do_handshake_on_connect=do_handshake
        )


def _here(server: str) -> bool:
    return urlsplit(server).hostname in LOOPBACK


def _plain(secret: Secret | None) -> str | None:
    """What the secret is. Raises SourceFault where it can't be had."""
    try:
        return secret.reveal() if secret is not None else None
    except Refused as refused:
        raise SourceFault("secret", str(refused)) from None


def _claims(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says. Values that are no texts and passwords are left out."""
    claims: dict[str, Any] = {"dn": entry["dn"]}
    for name, many in entry["raw_attributes"].items():
        if "password" not in name.lower():
            claims[name] = [text for one in many[:MOST_VALUES] if (text := _text(name, one))]
    return claims


def _closed(claims: Claims, now: datetime) -> bool:
    """Whether the directory says of an account that it is closed, or that its time is over."""
    found = {name.lower(): many for name, many in claims.items()}
    return any(holds(one, now) for name, holds in CLOSED.items() for one in found.get(name.lower(), ()))


def _text(name: str, raw: bytes) -> str:
    """A value as a text; of an identifier in bytes (objectGUID) as such are written; "" for what is none."""
    if name.lower() == "objectguid" and len(raw) == 16:
        return str(uuid.UUID(bytes_le=bytes(raw)))
    try:
        return raw.decode()[:LONGEST_VALUE]
    except UnicodeDecodeError:
        return ""


def _normal(dn: str) -> str:
    """A DN as one writes it once and for all."""
    with suppress(LDAPException):
        return "".join(
            f"{name.lower()}={' '.join(value.lower().split())}{separator}"
            for name, value, separator in parse_dn(dn, strip=True)
        )
    return dn.lower()


def _matching(attribute: str, subject: str) -> str:
    """A subject as a filter has it."""
    if attribute.lower() == "objectguid":
        with suppress(ValueError):
            return "".join(f"\\{one:02x}" for one in uuid.UUID(subject).bytes_le)
    return str(escape_filter_chars(subject))


SIGNS = {
    "certificate": "certificate", "hostname": "certificate", "timed out": "timeout", "timeout": "timeout", "ssl": "tls",
    "tls": "tls", "receiv": "timeout", "refused": "refused", "getaddrinfo": "name", "name or service": "name",
    "invalid server address": "name",
}  # fmt: skip
"""What ldap3 says → what kept the directory from answering. The first that fits: a handshake may be what timed out."""


def _fault(error: Exception) -> SourceFault:
    """What kept the directory from answering."""
    said = f"{type(error).__name__}: {error}"[:300]
    lower = said.lower()
    return SourceFault(next((code for word, code in SIGNS.items() if word in lower), "unreachable"), said)
