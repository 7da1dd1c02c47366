"""One OpenStack cloud, spoken to through openstacksdk: bounded in time, tried again where that helps, its lists read to their
true end. What its services do in ways of their own is known here.

* Nova, Cinder, Neutron and Glance cut lists at a limit of their own and say so by a link to the next page; Keystone ends at
  1,000 rows and says nothing: a list that ends at a round number is asked what comes after it.
* Neutron answers a marker that is gone or unknown with the first page once more, others with 400 or 404. Either way the list
  is begun again, once; where it cannot be read to its end it is *short*, with what was read and why.
* A list may change between two pages: what is told twice counts once, as it was told last.
* openstacksdk bounds no request in time and asks nothing again by itself, but for Glance's 503, over three quarters of a minute,
  which is not left to it; keystoneauth, where it is told to, sleeps as long as
  Retry-After says, whatever that is: both are seen to here.
* A service that does not answer is left alone for a while (``providers.connection.Breaker``), each by itself: Cinder down keeps
  nobody from Nova. Without Keystone's token nothing is asked anywhere; what it fails at counts for it alone.
"""

from __future__ import annotations

import email.utils
import html
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from providers.base import BUSY, ProviderFault
from providers.connection import CONNECT_S, GATEWAY, Breaker, checked_url, fault_of, tried
from providers.secrets import Secret
from quota.errors import Refused

T = TypeVar("T")

PAGE = 500
ROUND = 1_000
"""Keystone's lists end here by themselves."""
MOST_PAGES = 20_000

COMPUTE, VOLUMES, NETWORK, IMAGES = "compute", "block_storage", "network", "image"
IDENTITY, PLACEMENT, BALANCERS = "identity", "placement", "load_balancer"
METRIC = "metric"
TOKEN = "token"  # noqa: S105 - what Keystone gives, beside what it lists
TYPES = {BALANCERS: "load-balancer", VOLUMES: "block-storage"}
"""Service types of the catalogue, where they are not called as openstacksdk calls its proxies."""

LEAST_NOVA, KNOWN_NOVA = (2, 53), (2, 96)
"""Microversions of Nova: from the first on a server tells its flavor and hypervisors their ids; up to the second we know what
is answered."""
ADMIN = "admin"


@dataclass(slots=True)
class ReadList:
    """Rows of a list, and why these may not be all of them ("" = they are); ``absent``: since the service has no such list."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    why: str = ""
    code: str = ""
    absent: bool = False


class _NotThere(ProviderFault):
    """There is no such thing."""


class _MarkerGone(ProviderFault):
    """What the page was to begin after is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who we are there: a user of a project, or an application credential."""

    auth_url: str
    user: str = ""
    password: Secret | None = None
    user_domain: str = "Default"
    project: str = ""
    project_domain: str = "Default"
    credential_id: str = ""
    credential_secret: Secret | None = None


class CloudSession:
    """Speaks to nobody before it is asked to. ``requests`` counts what was sent; ``heard`` is told each answer of the wire, for
    who keeps them. For one thread at a time."""

    def __init__(
        self, who: Credentials, *, region: str = "", interface: str = "public", ca_file: str | None = None,
        timeout_s: float = 30.0, pause_s: float = 1.0,
    ) -> None:  # fmt: skip
        checked_url(who.auth_url, "auth_url")
        self.who, self.region, self.interface = who, region, interface
        self.ca_file, self.timeout_s, self.pause_s = ca_file, timeout_s, pause_s
        self.requests = 0
        self.clock_ahead_s: float | None = None
        self.heard: Callable[..., None] | None = None
        self.breakers: dict[str, Breaker] = {}
        self._connection: Any = None
        self._secret = ""
        self._nova: str | None = None
        self._guard = threading.Lock()

    # ------------------------------------------------------------------------------------------------------ questions

    def get(self, service: str, path: str, *, microversion: str | None = None, **params: object) -> Any:
        """The JSON that a service answers. Raises ProviderFault with a code of FAULTS."""
        return self._asked(service, "GET", path, microversion, params=_plain(params))

    def found(self, service: str, path: str, *, microversion: str | None = None) -> Any:
        """The same of one thing; None where the service says that there is no such thing."""
        try:
            return self.get(service, path, microversion=microversion)
        except ProviderFault as fault:
            if isinstance(fault, _NotThere):
                return None
            raise

    def sent(
        self, service: str, method: str, path: str, body: object = None, *, microversion: str | None = None
    ) -> Any:
        """The bare answer to something that changes the cloud: asked once, never again by itself. Raises ProviderFault where
        there is none."""
        more = {} if body is None else {"json": body}
        return self._told(service, lambda: self._answer(service, method, path, microversion, more))

    def as_who(self, who: Credentials) -> CloudSession:
        """The same cloud, spoken to as somebody else."""
        other = CloudSession(
            who, region=self.region, interface=self.interface, ca_file=self.ca_file, timeout_s=self.timeout_s,
            pause_s=self.pause_s,
        )  # fmt: skip
        other.heard, other.breakers = self.heard, self.breakers  # the same services
        return other

    def post(self, service: str, path: str, body: object, **params: object) -> Any:
        """The same for a question that is sent as JSON."""
        return self._asked(service, "POST", path, None, params=_plain(params), json=body)

    def all(
        self, service: str, path: str, key: str, *, microversion: str | None = None, page: int = PAGE, **params: object
    ) -> ReadList:
        """Every row of a list, by ``key`` in its answers. Never raises: what could not be read is told by ``why``."""
        found = ReadList()
        known: dict[str, dict[str, Any]] = {}
        for _try in range(2):
            rows: dict[str, dict[str, Any]] = {}
            try:
                found.why, found.code = self._pages(service, path, key, microversion, page, params, rows), "partial"
            except ProviderFault as fault:
                found.why, found.code, found.absent = str(fault), fault.code, isinstance(fault, _NotThere)
            known = {**known, **rows} if found.why else rows
            if found.code != "partial" or not found.why:  # a fault was met with patience already
                break
        found.rows = list(known.values())
        return found

    def _pages(
        self, service: str, path: str, key: str, microversion: str | None, page: int, params: Mapping[str, object],
        rows: dict[str, dict[str, Any]],
    ) -> str:  # fmt: skip
        """Read a list into ``rows``; "" when its end was seen, or what came instead."""
        marker: str | None = None
        for _number in range(MOST_PAGES):
            answer = self.get(service, path, microversion=microversion, **params, limit=page, marker=marker)
            some = answer.get(key) if isinstance(answer, dict) else None
            if not isinstance(some, list):
                raise ProviderFault(f"{service} {path}: no {key} in the answer", transient=False, code="kind")
            fresh = [one for one in some if one["id"] not in rows]
            rows |= {one["id"]: one for one in some}
            if answer.get("truncated"):
                return f"{service} {path}: truncated"
            if not some:
                return ""
            more = _leads_on(answer, key)
            if more and not fresh:
                return f"{service} {path}: a page came twice"
            if not more and len(some) < page and len(some) != ROUND:
                return ""
            if not more and not fresh:
                return f"{service} {path}: {len(rows)} rows, and the same again after the last of them"
            marker = str(some[-1]["id"])
        return f"{service} {path}: no end after {MOST_PAGES} pages"

    def offers(self, service: str) -> bool:
        """Whether the catalogue has it, where we were sent. Raises ProviderFault where there is no catalogue."""

        return self._tried(TOKEN, lambda: self._address(self._opened(), service)) is not None

    def whereabouts(self, service: str) -> tuple[str, str]:
        """The id of a service, and the region in which we speak to it, as the token's catalogue has them; "" where it does not tell."""

        def once() -> tuple[str, str]:
            session = self._opened().session
            wanted = TYPES.get(service, service)
            for one in session.auth.get_access(session).service_catalog.catalog:
                if one.get("type") == wanted:
                    regions = {
                        str(end.get("region_id") or end.get("region") or "") for end in one.get("endpoints") or ()
                    }
                    return str(one.get("id") or ""), self.region or (regions.pop() if len(regions) == 1 else "")
            return "", self.region

        return self._tried(TOKEN, once)

    def roles(self) -> frozenset[str]:
        """The names of our roles, as the token has them."""

        def once() -> frozenset[str]:
            session = self._opened().session
            return frozenset(session.auth.get_access(session).role_names)

        return self._tried(TOKEN, once)

    def nova(self) -> str:
        """The microversion that Nova is spoken to in, by its own document: keystoneauth keeps to itself that it was not answered.
        Raises ProviderFault for a Nova that is older than any we know, and where it says nothing just now."""
        if self._nova is None:
            told = self._tried(COMPUTE, lambda: self._document(self._opened(), COMPUTE))
            rows = [told.get("version"), *(told.get("versions") or ())] if isinstance(told, dict) else []
            said = [str(one.get("version") or "") for one in rows if isinstance(one, dict)]
            most = max((_numbers(one) for one in said if re.fullmatch(r"\d+\.\d+", one)), default=(0, 0))
            if most < LEAST_NOVA:
                raise ProviderFault(f"compute: microversion {_dotted(most)}", transient=False, code="kind")
            self._nova = _dotted(min(most, KNOWN_NOVA))
        return self._nova

    # ------------------------------------------------------------------------------------------------------ mechanism

    def _asked(self, service: str, method: str, path: str, microversion: str | None, **more: Any) -> Any:
        return self._tried(service, lambda: self._once(service, method, path, microversion, more))

    def _tried(self, service: str, once: Callable[[], T]) -> T:
        """As ``_told``, again where that may help: for what changes nothing."""
        return tried(lambda: self._told(service, once), self.pause_s)

    def _told(self, service: str, once: Callable[[], T]) -> T:
        """What ``once`` asks of a service, unless that, or Keystone where we have no token, is left alone just now."""

        def token() -> object:
            session = self._opened().session
            return session.auth.get_access(session)

        self._breaker(TOKEN).passed(lambda: self._guarded(token, TOKEN))
        return self._breaker(service).passed(lambda: self._guarded(once, service))

    def _breaker(self, service: str) -> Breaker:
        with self._guard:
            return self.breakers.setdefault(service, Breaker(f"{self.who.auth_url} {service}"))

    def _once(self, service: str, method: str, path: str, microversion: str | None, more: Mapping[str, Any]) -> Any:
        answer = self._answer(service, method, path, microversion, more)
        return _read(answer, f"{service} {path}", marked=bool((more.get("params") or {}).get("marker")))

    def _answer(self, service: str, method: str, path: str, microversion: str | None, more: Mapping[str, Any]) -> Any:
        connection = self._opened()
        headers = {"Accept": "application/json"}
        if service == METRIC:  # openstacksdk has no proxy of it
            answer = connection.session.request(
                self._gnocchi(connection) + path, method, raise_exc=False, headers=headers, redirect=False, **more
            )
        else:
            answer = self._proxy(connection, service).request(
                path, method, raise_exc=False, microversion=microversion, headers=headers, redirect=False,
                status_code_retries=0, **more,
            )  # fmt: skip
        self._note_clock(answer.headers.get("Date"))
        return answer

    def _proxy(self, connection: Any, service: str) -> Any:
        """openstacksdk's, which takes a service that does not answer for one without versions: then it is asked itself."""
        import openstack.exceptions

        try:
            return getattr(connection, service)
        except openstack.exceptions.NotSupported:
            self._document(connection, service)
            return getattr(connection, service)

    def _document(self, connection: Any, service: str) -> Any:
        """What a service answers where its version begins: of itself (None where that is no JSON). Raises ProviderFault as ``get``."""
        found = self._address(connection, service)
        if found is None:
            raise ProviderFault(f"the catalogue has no service of type {service}", transient=False, code="kind")
        address = re.sub(r"(/v\d+(\.\d+)?)(/.*)?$", r"\1", found.rstrip("/")) + "/"
        answer = connection.session.request(address, "GET", raise_exc=False, headers={"Accept": "application/json"})
        if answer.status_code == 300:  # several versions, of which we may choose
            return None
        try:
            return _read(answer, f"{service} {address}", marked=False)
        except _NotThere as fault:  # a service, not what was asked of it
            raise ProviderFault(str(fault), transient=False, code="kind") from None

    def _address(self, connection: Any, service: str) -> str | None:
        """Where the catalogue sends us for a service, None where it has none."""
        from keystoneauth1 import exceptions as keystone

        try:
            found = connection.session.get_endpoint(
                service_type=TYPES.get(service, service), interface=self.interface, region_name=self.region or None,
                skip_discovery=True,
            )  # fmt: skip
        except keystone.EndpointNotFound:
            return None
        return None if found is None else str(found)

    def _gnocchi(self, connection: Any) -> str:
        """Gnocchi's address before the version."""
        found = self._address(connection, METRIC)
        if found is None:
            raise ProviderFault("the catalogue has no service of type metric (Gnocchi)", transient=False, code="kind")
        return found.rstrip("/").removesuffix("/v1")

    def _note_clock(self, date: str | None) -> None:
        try:
            said = email.utils.parsedate_to_datetime(date) if date else None
        except ValueError:
            said = None
        if said is not None and said.tzinfo is not None:
            self.clock_ahead_s = (said - datetime.now(UTC)).total_seconds()

    def _guarded(self, once: Callable[[], T], place: str) -> T:
        """``once``, whatever it stumbles over told as a ProviderFault."""
        import openstack.exceptions
        import requests
        from keystoneauth1 import exceptions as keystone

        try:
            return once()
        except (
            keystone.ClientException,
            openstack.exceptions.SDKException,
            requests.RequestException,
            OSError,
        ) as error:
            raise _fault(error, f"{self.who.auth_url} {place}") from error

    def _opened(self) -> Any:
        """The connection, made anew where the secret was changed where it lies."""
        import openstack.connection
        import requests
        from keystoneauth1 import session as sessions
        from keystoneauth1.identity import v3

        who = self.who
        try:
            secret = (who.credential_secret if who.credential_id else who.password) or None
            plain = "" if secret is None else secret.reveal()
        except Refused as refused:
            raise ProviderFault(str(refused), transient=False, code="secret") from refused
        if self.ca_file and not os.access(self.ca_file, os.R_OK):
            raise ProviderFault(f"{self.ca_file}: no file that can be read", transient=False, code="certificate")
        with self._guard:
            if self._connection is not None and plain == self._secret:
                return self._connection
            auth: Any
            if who.credential_id:
                auth = v3.ApplicationCredential(
                    who.auth_url, application_credential_id=who.credential_id, application_credential_secret=plain
                )
            else:
                auth = v3.Password(
                    who.auth_url, username=who.user, password=plain, user_domain_name=who.user_domain,
                    project_name=who.project, project_domain_name=who.project_domain,
                )  # fmt: skip
            wire = requests.Session()
            wire.trust_env = False  # neither a proxy nor a password of the machine's
            for scheme in ("http://", "https://"):
                wire.mount(scheme, _quick_to_connect())
            wire.hooks["response"].append(self._count)
            if self.heard is not None:
                wire.hooks["response"].append(self.heard)
            session = sessions.Session(auth, session=wire, verify=self.ca_file or True, timeout=self.timeout_s)
            self._connection = openstack.connection.Connection(
                session=session, region_name=self.region or None, interface=self.interface, app_name="guanjia",
            )  # fmt: skip
            self._secret, self._nova = plain, None
            return self._connection

    def _count(self, *_answer: object, **_more: object) -> None:
        self.requests += 1


def _quick_to_connect() -> Any:
    """requests' own way to the wire, for which a server that is not there within ``CONNECT_S`` is not there: keystoneauth knows but
    one time-out, for that and for answers."""
    from requests.adapters import HTTPAdapter

    class Wire(HTTPAdapter):
        def send(
            self, request: Any, stream: bool = False, timeout: Any = None, verify: Any = True, cert: Any = None, proxies: Any = None
        ) -> Any:  # fmt: skip
            bounds = (min(timeout, CONNECT_S), timeout) if isinstance(timeout, int | float) else timeout
            return super().send(request, stream, bounds, verify, cert, proxies)

    return Wire()


def _plain(params: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value if isinstance(value, list) else str(value) for name, value in params.items() if value is not None
    }


def _numbers(version: str) -> tuple[int, int]:
    major, _dot, minor = version.partition(".")
    return int(major), int(minor)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}" if any(version) else "none"


def _leads_on(answer: Mapping[str, Any], key: str) -> bool:
    """Whether a list says that it goes on: Nova's and Neutron's links, Glance's next, Keystone's links."""
    links = answer.get(f"{key}_links") or answer.get("links") or []
    if isinstance(links, dict):
        return bool(links.get("next"))
    return bool(answer.get("next")) or any(one.get("rel") == "next" for one in links)


def _read(answer: Any, place: str, *, marked: bool) -> Any:
    """The JSON of an answer. Raises ProviderFault with a code of FAULTS."""
    status = answer.status_code
    try:
        found = answer.json()
    except ValueError:
        found = None
    said = f"{place}: {status} {_said(found) or _text(answer.text)}"
    if status == 401:
        raise ProviderFault(said, transient=False, code="credentials")
    if status == 403:
        raise ProviderFault(said, transient=False, code="rights")
    if status in (413, 429, 503):
        raise ProviderFault(said, transient=True, code=BUSY, wait_s=wait_of(answer))
    if status >= 500:
        raise ProviderFault(said, transient=True, code=GATEWAY.get(status, "server"))
    if marked and status in (400, 404):
        raise _MarkerGone(said, transient=False, code="partial")
    if status in (400, 406, 409, 422):
        raise ProviderFault(said, transient=False, code="query")
    if not 200 <= status < 300 or found is None:
        raise (
            _NotThere(said, transient=False, code="kind")
            if status == 404
            else ProviderFault(said, transient=False, code="kind")
        )
    return found


def said_of(answer: Any) -> str:
    """A service's own sentence in an answer."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    return _said(found) or _text(answer.text)


def wait_of(answer: Any) -> float | None:
    """After how many seconds an answer asks to be tried again."""
    return _wait_s(answer.headers.get("Retry-After"))


def _text(page: str) -> str:
    """A page of HTML as a sentence."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())[:400]


def _said(found: Any) -> str:
    """A service's own sentence, from wherever it puts it."""
    while isinstance(found, dict):
        inner = next((found[name] for name in ("message", "description", "error", "title") if found.get(name)), None)
        found = inner if inner is not None else next((one for one in found.values() if isinstance(one, dict | str)), "")
    if isinstance(found, list):
        return "; ".join(_said(one) for one in found)[:300]
    return str(found or "")[:300]


def _wait_s(said: str | None) -> float | None:
    """Of Retry-After: seconds, or until a date."""
    if said is None:
        return None
    if said.strip().isdigit():
        return float(said)
    try:
        return max((email.utils.parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _fault(error: BaseException, place: str) -> ProviderFault:
    """What keystoneauth or openstacksdk failed at, by what lies under it."""
    from keystoneauth1 import exceptions as keystone

    said = f"{place}: {error}"[:500]
    status = getattr(error, "http_status", None) or getattr(error, "status_code", None)
    if status == 401:
        return ProviderFault(said, transient=False, code="credentials")
    if status == 403:
        return ProviderFault(said, transient=False, code="rights")
    if isinstance(error, keystone.EndpointNotFound | keystone.MissingRequiredOptions):
        return ProviderFault(said, transient=False, code="kind")
    for inner in _under(error):
        reason = getattr(inner, "reason", None)
        for one in (reason, inner):
            if (
                isinstance(one, BaseException)
                and type(one).__module__.startswith(("urllib3", "ssl", "socket"))
                or isinstance(one, TimeoutError)
            ):
                return fault_of(one, place)
    if isinstance(error, keystone.ConnectTimeout | keystone.RequestTimeout) or "timed out" in str(error):
        return ProviderFault(said, transient=True, code="timeout")
    if isinstance(error, keystone.ConnectFailure):
        return ProviderFault(said, transient=True, code="unreachable")
    if status in (429, 503):
        return ProviderFault(said, transient=True, code=BUSY)
    if status and status >= 500:
        return ProviderFault(said, transient=True, code=GATEWAY.get(status, "server"))
    return ProviderFault(said, transient=False, code="kind")


def _under(error: BaseException) -> list[BaseException]:
    """An error and all that lies under it, outermost first: what it came from, and what libraries put into its arguments."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [*one.args, one.__cause__, one.__context__]
    return found
