"""LDAP: login and password are typed here and tried at the city's directory (OpenLDAP, Active Directory, 统信/麒麟 域). Speaks to nobody
before it is asked to.

The protocol is ldap3's; here is what the house asks of a directory:

- what is typed is sent over TLS alone (``ldaps://``, or ``ldap://`` with StartTLS), whose certificate is checked; in clear to this very
  machine only;
- the account that is meant is looked up first, by a filter that holds one entry and no other; then its own password is tried on a
  connection of its own. An empty password is none: directories take it for nobody's and say yes;
- referrals are not followed, aliases not resolved, answers bounded in time and number.

``subject`` is what the directory never gives to anybody else (``entryUUID``, ``objectGUID``): a login may be given on.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPInvalidFilterError
from ldap3.core.results import RESULT_INVALID_CREDENTIALS, RESULT_NO_SUCH_OBJECT, RESULT_SUCCESS
from ldap3.utils.conv import escape_filter_chars

from console.identity.sources import Identity, SourceFault
from providers.options import option
from providers.secrets import Secret
from quota.errors import N_, Refused

TIMEOUT_S = 5
LONGEST = 256
"""Characters of a login or a password that a directory is asked about."""
MOST_VALUES, LONGEST_VALUE = 1000, 2000
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LOGIN = "{login}"


@dataclass(frozen=True, kw_only=True)
class LdapOptions:
    """What one is told by whoever runs the directory."""

    server: str = option(N_("服务器地址"), N_("如 ldaps://ldap.example.gov.cn；ldap:// 开头的先转为加密连接(StartTLS)"))
    base: str = option(N_("人员所在的目录"), N_("如 ou=people,dc=example,dc=gov,dc=cn"))
    filter: str = option(
        N_("查找人员的条件"), N_("{login} 处为所输入的登录名；AD 用 (sAMAccountName={login})"), default="(uid={login})"
    )
    subject: str = option(
        N_("永久编号的属性"), N_("不会改给他人的编号：OpenLDAP 为 entryUUID，AD 为 objectGUID"), default="entryUUID"
    )
    bind_dn: str | None = option(N_("查询所用的账号"), N_("完整 DN；不填为匿名查询"), default=None)
    bind_password: Secret | None = option(N_("查询账号的口令"), default=None)
    ca_file: str | None = option(N_("CA 证书文件"), N_("自建 CA 的证书，在运行本系统的主机上"), default=None)


class Ldap:
    """A directory. ``PasswordSource``; may be shared by threads: each call has connections of its own."""

    Options = LdapOptions

    def __init__(self, options: LdapOptions) -> None:
        self.options = options

    def identify(self, login: str, password: str) -> Identity:
        if not login or not password or max(len(login), len(password)) > LONGEST or "\0" in login + password:
            raise SourceFault("wrong")
        return self._proven(self.options.filter.replace(LOGIN, escape_filter_chars(login)), password)

    def again(self, subject: str, password: str) -> Identity:
        if not password or len(password) > LONGEST or "\0" in password:
            raise SourceFault("wrong")
        return self._proven(f"({self.options.subject}={_matching(self.options.subject, subject)})", password)

    def probe(self, callback: str) -> str:  # noqa: ARG002 - a directory sends nobody back
        with self._bound(self.options.bind_dn, _plain(self.options.bind_password)) as asking:
            found = self._searched(asking, self.options.base, "(objectClass=*)", ldap3.BASE)
            if found != RESULT_SUCCESS:
                raise SourceFault("base", f"{self.options.base}: {asking.result.get('description')}")
            secured = asking.server.ssl or asking.tls_started
            return f"{asking.server.name}, {self.options.base}, {'TLS' if secured else 'loopback'}"

    # --- what is asked of the directory ---

    def _proven(self, condition: str, password: str) -> Identity:
        """Who the one entry is that fits the condition, its password being this one. Raises SourceFault."""
        with self._bound(self.options.bind_dn, _plain(self.options.bind_password)) as asking:
            result = self._searched(asking, self.options.base, condition, ldap3.SUBTREE)
            entries = [one for one in asking.response or [] if one.get("type") == "searchResEntry"]
            if result == RESULT_NO_SUCH_OBJECT:
                raise SourceFault("base", self.options.base)
            if len(entries) > 1:
                raise SourceFault("answer", "several entries fit the login")
            if result != RESULT_SUCCESS:
                raise SourceFault("answer", str(asking.result.get("description")))
            if not entries:
                raise SourceFault("wrong")
        (entry,) = entries
        with self._bound(entry["dn"], password, wrong="wrong"):
            pass
        return self._identity(entry["dn"], entry["raw_attributes"])

    def _identity(self, dn: str, raw: Mapping[str, list[bytes]]) -> Identity:
        """What the entry says. Values that are no texts and passwords are left out."""
        claims: dict[str, Any] = {"dn": dn}
        for name, many in raw.items():
            if "password" in name.lower():
                continue
            claims[name] = [text for one in many[:MOST_VALUES] if (text := _text(name, one))]
        found = {name.lower(): many for name, many in claims.items() if isinstance(many, list)}
        subject = found.get(self.options.subject.lower()) or []
        if len(subject) != 1 or len(subject[0]) > 255:
            raise SourceFault("answer", f"no {self.options.subject}")
        return Identity(self._issuer(), subject[0], claims)

    def _issuer(self) -> str:
        """Whose subjects they are: another directory's are not the same ones."""
        return f"{self.options.server.rstrip('/').lower()}/{self.options.base.lower()}"[:255]

    def _searched(self, asking: ldap3.Connection, base: str, condition: str, scope: str) -> int:
        try:
            asking.search(
                base, condition, scope, dereference_aliases=ldap3.DEREF_NEVER, size_limit=2, time_limit=TIMEOUT_S,
                attributes=[ldap3.ALL_ATTRIBUTES, "memberOf", self.options.subject],
            )  # fmt: skip
        except LDAPInvalidFilterError:
            raise SourceFault("filter", self.options.filter) from None
        except LDAPException as error:
            raise _fault(error) from None
        return int(asking.result["result"])

    @contextmanager
    def _bound(self, dn: str | None, password: str | None, wrong: str = "bind") -> Iterator[ldap3.Connection]:
        """A connection of ``dn`` (None: of nobody). What the directory refuses is the fault ``wrong``."""
        connection = self._connection(dn, password)
        try:
            try:
                connection.open(read_server_info=False)
                if not connection.server.ssl and not _here(self.options.server):
                    connection.start_tls(read_server_info=False)
                bound = connection.bind(read_server_info=False)
            except (LDAPException, OSError) as error:
                raise _fault(error) from None
            if not bound:
                refused = connection.result.get("result") == RESULT_INVALID_CREDENTIALS
                raise SourceFault(wrong if refused else "bind", str(connection.result.get("description")))
            yield connection
        finally:
            with suppress(LDAPException, OSError):
                connection.unbind()

    def _connection(self, dn: str | None, password: str | None) -> ldap3.Connection:
        address = urlsplit(self.options.server)
        if address.scheme not in ("ldap", "ldaps") or not address.hostname:
            raise SourceFault("address", self.options.server)
        try:
            tls = _Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=self.options.ca_file)
            secure = address.scheme == "ldaps"
            server = ldap3.Server(
                address.hostname, address.port or (636 if secure else 389), use_ssl=secure, tls=tls, get_info=ldap3.NONE,
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

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        context = ssl.create_default_context(cafile=self.ca_certs_file)
        connection.socket = context.wrap_socket(
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


def _text(name: str, raw: bytes) -> str:
    """A value as a text; of an identifier in bytes (objectGUID) as such are written; "" for what is none."""
    if name.lower() == "objectguid" and len(raw) == 16:
        return str(uuid.UUID(bytes_le=bytes(raw)))
    try:
        return raw.decode()[:LONGEST_VALUE]
    except UnicodeDecodeError:
        return ""


def _matching(attribute: str, subject: str) -> str:
    """A subject as a filter has it."""
    if attribute.lower() == "objectguid":
        with suppress(ValueError):
            return "".join(f"\\{one:02x}" for one in uuid.UUID(subject).bytes_le)
    return str(escape_filter_chars(subject))


SIGNS = {
    "certificate": "certificate", "hostname": "certificate", "ssl": "tls", "tls": "tls", "timed out": "timeout",
    "timeout": "timeout", "receiv": "timeout", "refused": "refused", "getaddrinfo": "name", "name or service": "name",
    "invalid server address": "name",
}  # fmt: skip
"""What ldap3 says → what kept the directory from answering."""


def _fault(error: Exception) -> SourceFault:
    """What kept the directory from answering."""
    said = f"{type(error).__name__}: {error}"[:300]
    lower = said.lower()
    return SourceFault(next((code for word, code in SIGNS.items() if word in lower), "unreachable"), said)
