"""CAS (protocol 3.0): tickets that are checked at the server behind the person's back, logout from both sides. Speaks to nobody before it
is asked to.

What the house asks of an answer:

- the service that a ticket is for holds a ``state`` of this browser and this try, so that nobody is sent in by somebody else's ticket;
- the ticket is checked by the address that it was given for, once (``serviceValidate``, never ``proxyValidate``: what another service
  fetched in somebody's name opens nothing);
- the answer is one ``serviceResponse`` of CAS's own namespace, without a document type, and names one user as its own child: what stands
  among the attributes is never taken for it;
- who is to be asked anew is asked for a new login (``renew``), both on the way there and where the ticket is checked, and the server must
  say that it was one: servers that overlook the word are refused;
- everything lies under https (or on this very machine), follows no redirect, and is bounded in size and time.

A departure (``logoutRequest``) is signed by nobody. It names the ticket by which a session was opened, which only the browser and the server
know; it can end that session and do nothing else.

A server that doesn't answer is not asked again for ``REST_S``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree.ElementTree import Element, ParseError

import requests
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from console.identity.over_http import LARGEST, TIMEOUT_S, fault, guarded, secure
from console.identity.sources import Begun, Identity, LogoutNotice, SourceFault
from providers.options import option
from quota.errors import N_

REST_S = 10.0
SKEW_S = 60
"""How far the server's clock may be from ours."""
LONGEST_TICKET = 1024
LARGEST_NOTICE = LARGEST // 16
MOST_ATTRIBUTES, LONGEST_VALUE = 5000, 2000
NAMESPACE = "{http://www.yale.edu/tp/cas}"
SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"
USER = "user"
"""The claim that holds what the server calls the user."""
FAILURES = {
    "INVALID_TICKET": "stale",
    "INVALID_TICKET_SPEC": "not_anew",
    "INVALID_SERVICE": "callback",
    "UNAUTHORIZED_SERVICE": "callback",
    "INTERNAL_ERROR": "server",
}
"""Why a server refuses a ticket → what that is to people; every other is an answer that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class CasOptions:
    """What one is told by whoever runs the server."""

    server: str = option(N_("服务器地址"), N_("如 https://sso.example.gov.cn/cas；login、logout 等都在其下"))
    validate: str = option(
        N_("验票接口"), N_("服务器地址之下的路径；只支持 CAS 2.0 的填 serviceValidate"), default="p3/serviceValidate"
    )
    subject: str | None = option(
        N_("永久编号的属性"), N_("不会改给他人的编号，如工号的属性；不填则以 CAS 的用户名为准"), default=None
    )
    ca_file: str | None = option(N_("CA 证书文件"), N_("自建 CA 的证书，在运行本系统的主机上"), default=None)


class Cas:
    """A server. ``RedirectSource``; may be shared by threads."""

    Options = CasOptions

    def __init__(self, options: CasOptions) -> None:
        self.options = options
        self._kept: tuple[float, SourceFault] | None = (
            None  # until when it rests (a clock that only runs forward), and why
        )

    # --- the person's way there and back ---

    def begin(self, callback: str, since: int = 0, *, silent: bool = False) -> Begun:
        kept = {"state": secrets.token_urlsafe(24)}
        how = {"renew": "true"} if since else {"gateway": "true"} if silent else {}
        told = {"since": str(since)} if since else {"silent": "1"} if silent else {}
        return Begun(self._place("login", service=_service(callback, kept), **how), {**kept, **told})

    def finish(self, kept: Mapping[str, str], answer: Mapping[str, str], callback: str, now: int) -> Identity:
        if not kept.get("state") or not hmac.compare_digest(kept["state"].encode(), answer.get("state", "").encode()):
            raise SourceFault("stale", "state")
        ticket, since = answer.get("ticket", ""), int(kept.get("since") or 0)
        if not ticket:
            raise SourceFault("away" if kept.get("silent") else "declined", "no ticket")
        if len(ticket) > LONGEST_TICKET:
            raise SourceFault("answer", "ticket")
        claims = self._validated(ticket, _service(callback, kept), renew=bool(since))
        if since and not _anew(claims, since, now):
            raise SourceFault("not_anew", "isFromNewLogin, authenticationDate")
        return Identity(self._issuer(), self._subject(claims), claims, _session(ticket))

    def leave(self, identity: Identity, back: str) -> str:  # noqa: ARG002 - the browser's own cookie there says who leaves
        return self._place("logout", service=back)

    def departed(self, message: Mapping[str, str], now: int) -> LogoutNotice:  # noqa: ARG002 - it has no age that could be believed
        text = message.get("logoutRequest", "")
        if len(text) > LARGEST_NOTICE:
            raise SourceFault("large")
        root = _document(text)
        tickets = [(one.text or "").strip() for one in root.findall(f"{SAMLP}SessionIndex")]
        if root.tag != f"{SAMLP}LogoutRequest" or len(tickets) != 1 or not 0 < len(tickets[0]) <= LONGEST_TICKET:
            raise SourceFault("token", "SessionIndex")
        return LogoutNotice(self._issuer(), "", _session(tickets[0]))

    def probe(self, callback: str) -> str:
        """Whether tickets are checked there as the protocol says, and whether the server knows this service: a browser that nobody
        is logged in by is sent back at once (``gateway``), to a service that it knows alone."""
        self._kept = None
        kept = {"state": secrets.token_urlsafe(24)}
        service = _service(callback, kept)
        try:
            self._validated(f"ST-{secrets.token_hex(16)}", service, renew=False)
        except SourceFault as told:
            if told.code == "answer":
                raise SourceFault("protocol", told.said) from None
            if told.code != "stale":
                raise
        answer = self._asked(self._place("login", service=service, gateway="true"))
        if answer.status_code >= 500:
            raise SourceFault("server", f"HTTP {answer.status_code}")
        back = urlsplit(answer.headers.get("Location", ""))
        home = urlsplit(callback)
        came = (back.scheme, back.netloc, back.path) == (home.scheme, home.netloc, home.path)
        if not (300 <= answer.status_code < 400 and came and parse_qs(back.query).get("state") == [kept["state"]]):
            raise SourceFault("gateway", f"HTTP {answer.status_code}: {callback}")
        return ", ".join([self._issuer(), self.options.validate, "gateway"])

    # --- what is asked of the server ---

    def _issuer(self) -> str:
        return secure(self.options.server.strip()).rstrip("/")

    def _place(self, path: str, **query: str) -> str:
        return f"{self._issuer()}/{path}?{urlencode(query)}"

    def _subject(self, claims: Mapping[str, Any]) -> str:
        """Theirs for ever. Raises SourceFault where the server tells none that can be used."""
        found = claims.get(self.options.subject or USER)
        values = found if isinstance(found, list) else [found]
        if (
            len(values) != 1
            or not isinstance(values[0], str)
            or not 0 < len(values[0]) <= 255
            or not values[0].isprintable()
        ):
            raise SourceFault("subject", f"{self.options.subject or USER}: {len(values)} values")
        return values[0]

    def _validated(self, ticket: str, service: str, *, renew: bool) -> dict[str, Any]:
        """What the server says of a ticket's person: ``user``, and its attributes as lists of texts. Raises SourceFault."""
        path = self.options.validate.strip("/ ") or "p3/serviceValidate"
        uri = self._place(path, service=service, ticket=ticket, **({"renew": "true"} if renew else {}))
        answer = self._asked(uri)
        place = uri.partition("?")[0]
        if answer.status_code >= 500:
            raise SourceFault("server", f"{place}: HTTP {answer.status_code}")
        if answer.status_code != 200:
            raise SourceFault("answer", f"{place}: HTTP {answer.status_code}")
        root = _document(answer.content)
        children = list(root)
        if root.tag != f"{NAMESPACE}serviceResponse" or len(children) != 1:
            raise SourceFault("answer", f"{place}: {root.tag[:100]}")
        if children[0].tag == f"{NAMESPACE}authenticationFailure":
            code = str(children[0].get("code") or "-")[:100]
            said = "".join(one for one in f"{code}: {children[0].text or ''}"[:300] if one.isprintable())
            anew = renew and code == "INVALID_TICKET"  # so servers say that the ticket came of no new login
            raise SourceFault("not_anew" if anew else FAILURES.get(code, "token"), said)
        if children[0].tag != f"{NAMESPACE}authenticationSuccess":
            raise SourceFault("answer", f"{place}: {children[0].tag[:100]}")
        return _claims(children[0])

    def _asked(self, uri: str) -> requests.Response:
        """The answer of the server, whatever it is. Raises SourceFault where there is none."""
        kept = self._kept
        if kept is not None and time.monotonic() < kept[0]:
            raise SourceFault(kept[1].code, kept[1].said, rested=True)
        try:
            with requests.Session() as session:
                guarded(session, self.options.ca_file)
                return session.get(
                    uri, allow_redirects=False, timeout=TIMEOUT_S,
                    headers={"Accept": "application/xml, text/xml, text/html;q=0.5"},
                )  # fmt: skip
        except OSError as error:
            found = fault(error, uri)
            self._kept = (time.monotonic() + REST_S, found)
            raise found from None
        except ValueError as error:  # an address that is none
            raise SourceFault("answer", type(error).__name__) from None


def _service(callback: str, kept: Mapping[str, str]) -> str:
    """The service that a ticket is given for: the way back, with what only this browser knows."""
    return f"{callback}?{urlencode({'state': kept['state']})}"


def _session(ticket: str) -> str:
    """How a session that came by a ticket is found again: tickets are of any length, and nobody needs to read one later."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def _document(text: str | bytes) -> Element:
    """Raises SourceFault for what is no XML, or declares a document type."""
    try:
        found: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise SourceFault("answer", type(error).__name__) from None
    return found


def _claims(success: Element) -> dict[str, Any]:
    """``user`` and the attributes, by their names. Raises SourceFault where there is no one user, or another service came by proxy."""
    users = [(one.text or "").strip() for one in success.findall(f"{NAMESPACE}user")]
    if len(users) != 1 or not users[0]:
        raise SourceFault("token", "user")
    if success.find(f"{NAMESPACE}proxies") is not None:
        raise SourceFault("token", "proxies")
    found: dict[str, Any] = {}
    for attributes in success.findall(f"{NAMESPACE}attributes"):
        for one in list(attributes)[:MOST_ATTRIBUTES]:
            name, value = str(one.tag).rpartition("}")[2], (one.text or "").strip()
            if value:
                found.setdefault(name, []).append(value[:LONGEST_VALUE])
    return {**found, USER: users[0]}


def _anew(claims: Mapping[str, Any], since: int, now: int) -> bool:
    """Whether the server itself says that somebody logged in there anew, not before ``since``. It must say at least one of the two,
    and neither may speak against it."""
    told, dates = claims.get("isFromNewLogin"), claims.get("authenticationDate")
    if told is not None and told != ["true"]:
        return False
    if dates is None:
        return told is not None
    at = _moment(dates[0]) if len(dates) == 1 else None
    return at is not None and since - SKEW_S <= at <= now + SKEW_S


def _moment(text: str) -> float | None:
    """Seconds since 1970 of a time as CAS servers write it (``2026-06-01T12:00:00.123Z[UTC]``); None for what is none, or names no zone."""
    try:
        found = datetime.fromisoformat(text.partition("[")[0])
        return found.timestamp() if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
