"""A connection to a cloud's HTTP interface as one lives with it: bounded in time, tried again where that can help, shut for
a while where it can't, its secret looked up each time, and every failure told as one of a few faults.

A fault that may pass (``transient``) is tried ``ATTEMPTS`` times, after what the server asks for (Retry-After) or growing
pauses. After ``BREAKS`` attempts in a row that nobody answered (``Breaker``) nobody asks for ``REST_S`` seconds: a slow or dead
cloud costs its collection so many time-outs once, and one at each collection until it is there again.
"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from providers.base import REST, ProviderFault
from providers.secrets import Secret
from quota.errors import N_, Invalid, Refused

T = TypeVar("T")

ATTEMPTS = 3
BREAKS = 5
REST_S = 60.0
SILENT = frozenset({"name", "refused", "unreachable", "timeout", "busy"})
"""Faults by which a server does not answer, or not now. One that answers that it failed is not spared: it costs no time."""
GATEWAY: Mapping[int, str] = {502: "unreachable", 504: "timeout"}
"""What a proxy says instead of a server that does not answer it."""
CONNECT_S = 10.0
"""How long a connection may take to be made: what takes longer is not there."""
LONGEST_WAIT_S = 30.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NO_HEADERS: Mapping[str, str] = {}
TAKEN = frozenset({201, 202, 204})
"""Answers to what was sent: done, or taken and done later. They may be empty; what is asked for (200) may not."""
ASKED: frozenset[int] = frozenset()
"""The same of what was asked for, and of what is brought by ``post_json``: none. An empty 204 is a proxy's, and acknowledges nothing."""
LARGEST = 512 * 2**20
"""Bytes of an answer: what is larger should have been asked for in pieces."""

FAULTS: Mapping[str, str] = {
    "name": N_("找不到这个主机名,请核对地址与域名解析"),
    "refused": N_("主机拒绝连接:端口不对,或服务没有运行"),
    "unreachable": N_("主机或网络不可达,请检查网络与防火墙"),
    "timeout": N_("超时没有应答,请检查网络与防火墙,或对方是否过载"),
    "certificate": N_("证书不受信任或与主机名不符;自建 CA 请填写其证书文件"),
    "tls": N_("对方不是 TLS 服务,或协议版本不合:请核对 http 与 https"),
    "credentials": N_("用户名、口令或令牌不对"),
    "rights": N_("身份正确,但没有所需的权限"),
    "kind": N_("地址上的不是这种服务,请核对地址与路径"),
    "busy": N_("对方要求稍后再试"),
    "over_quota": N_("超出云上项目自己的配额,请先在云上调整"),
    "never": N_("按这样办不成,重试无用,请改正后再办"),
    "stalled": N_("云上已受理,但超过时限仍未完成:请在云上查明原因,清理未完成的部分,再重新办理"),
    "server": N_("对方内部出错"),
    "query": N_("对方不接受这个查询"),
    "partial": N_("对方只给出部分结果"),
    "secret": N_("口令取不到"),
    "library": N_("运行任务的主机上没有安装连接所需的库"),
    "sheet": N_("清单的列还没有人说明含义"),
    REST: N_("连续失败,暂停片刻后再试"),
    "silent": N_("云侧代理没有联系,请检查它是否在运行、能否访问本系统"),
    "agent": N_("云侧代理报告它的云有故障"),
}
"""Code of a fault → its sentence for people. What the other side said in its own words stands in the fault's message."""


class Connection:
    """One server. Speaks to nobody before it is asked to. For one thread at a time.

    ``url``: http or https, without user or password; ``bearer``, or ``user`` with ``password``, let us in; ``ca_file``: the
    certificates to trust instead of the machine's; ``timeout_s``: for each answer to begin and for each pause within it.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: Secret | None = None,
        bearer: Secret | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
        pause_s: float = 1.0,
    ) -> None:
        self.url = checked_url(url)
        self.user, self.password, self.bearer, self.ca_file = user, password, bearer, ca_file
        self.timeout_s, self.headers, self.pause_s = timeout_s, dict(headers or {}), pause_s
        self.requests = 0
        self._pool: urllib3.PoolManager | None = None
        self._trusted: tuple[int, int] | None = None
        self.breaker = Breaker(self.url)
        self._guard = threading.Lock()

    def get(self, path: str, **params: object) -> Any:
        """The JSON that ``path`` answers. Raises ProviderFault with a code of FAULTS."""
        return self._asked("GET", path, _query(params))

    def post(self, path: str, **params: object) -> Any:
        """The same with the parameters as a form, for queries too long for an address."""
        return self._asked("POST", path, "", _query(params).encode(), FORM)

    def post_json(self, path: str, content: object) -> Any:
        """``content`` as JSON, packed by gzip. Tried again like all else: the other side must know what comes twice."""
        body = gzip.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), 4, mtime=0)
        return self._asked("POST", path, "", body, {"Content-Type": "application/json", "Content-Encoding": "gzip"})

    def send(self, method: str, path: str, content: object = None) -> Any:
        """``content`` (None: nothing) as plain JSON by ``method`` (POST, PUT, PATCH, DELETE): the JSON that is answered, None where
        it is empty (201, 202, 204). Tried again like all else: what must not happen twice needs a key that the other side knows."""
        body = None if content is None else json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        about = {} if body is None else {"Content-Type": "application/json"}
        return self._asked(method, path, "", body, about, sent=True)

    def _asked(
        self,
        method: str,
        path: str,
        query: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        sent: bool = False,
    ) -> Any:
        place = path + (f"?{query}" if query else "")
        return tried(lambda: self.breaker.passed(lambda: self._once(method, place, body, headers, sent)), self.pause_s)

    def _once(self, method: str, path: str, body: bytes | None, about: Mapping[str, str], sent: bool) -> Any:
        address = self.url + path
        headers = {**self.headers, "Accept": "application/json", **self._let_in(), **about}
        self.requests += 1
        try:
            answer = self._manager().request(
                method, address, body=body, headers=headers, redirect=False, retries=False, preload_content=False
            )
            try:
                content = answer.read(LARGEST + 1, decode_content=True)
            finally:
                answer.release_conn()
        except (HTTPError, OSError) as error:
            raise fault_of(error, self.url) from error
        if len(content) > LARGEST:
            raise ProviderFault(f"{address[:200]}: more than {LARGEST} bytes", transient=False, code="query")
        return _read(answer.status, answer.headers, content, address.partition("?")[0], TAKEN if sent else ASKED)

    def _let_in(self) -> dict[str, str]:
        try:
            if self.bearer is not None:
                return {"Authorization": f"Bearer {_plain(self.bearer)}"}
            if self.user or self.password is not None:
                password = "" if self.password is None else _plain(self.password)
                pair = base64.b64encode(f"{self.user}:{password}".encode()).decode()
                return {"Authorization": f"Basic {pair}"}
        except Refused as refused:
            raise ProviderFault(str(refused), transient=False, code="secret") from refused
        return {}

    def _manager(self) -> urllib3.PoolManager:
        """The connections, made anew where the file of certificates was changed."""
        with self._guard:
            known = None
            if self.ca_file:
                try:
                    status = Path(self.ca_file).stat()
                    known = status.st_mtime_ns, status.st_size
                except OSError as error:
                    raise ProviderFault(
                        f"{self.ca_file}: {error.strerror}", transient=False, code="certificate"
                    ) from error
            if self._pool is None or known != self._trusted:
                try:
                    context = ssl.create_default_context(cafile=self.ca_file or None)
                except (ssl.SSLError, OSError) as error:
                    raise ProviderFault(f"{self.ca_file}: {error}", transient=False, code="certificate") from error
                timeout = urllib3.Timeout(connect=min(self.timeout_s, CONNECT_S), read=self.timeout_s)
                self._pool = urllib3.PoolManager(ssl_context=context, timeout=timeout, maxsize=2)
                self._trusted = known
            return self._pool


_INSISTS: ContextVar[bool] = ContextVar("insists", default=False)


@contextmanager
def insisting() -> Iterator[None]:
    """What is asked within, in this thread, a person wants to know now: it is asked of servers that are left alone, too."""
    token = _INSISTS.set(True)
    try:
        yield
    finally:
        _INSISTS.reset(token)


class Breaker:
    """Whether a server (``place``, as people call it) is asked at all. It is *closed*: everything passes; after ``BREAKS`` attempts
    in a row that nobody answered *open*: nothing does, for ``REST_S`` seconds; then *half open*: the first attempt passes, and by
    its end it is closed, or open for as long again. Who is ``insisting`` passes at any time."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._failures, self._until, self._trying = 0, 0.0, False
        self._said = ""
        self._guard = threading.Lock()

    @property
    def state(self) -> str:
        if self._failures < BREAKS:
            return "closed"
        return "open" if self._trying or time.monotonic() < self._until else "half open"

    def passed(self, once: Callable[[], T]) -> T:
        """What ``once`` gives. Raises ProviderFault: its own, or ``REST`` where it was not asked."""
        with self._guard:
            if self.state == "open" and not _INSISTS.get():
                left = max(self._until - time.monotonic(), 0.0)
                again = datetime.now(UTC) + timedelta(seconds=left)
                said = (
                    f"{self.place}: no answer {self._failures} times in a row, asked again after {again:%H:%M:%S} UTC"
                )
                raise ProviderFault(f"{said} ({self._said})", transient=True, code=REST, wait_s=left)
            self._trying = self.state == "half open"
        try:
            found = once()
        except ProviderFault as fault:
            with self._guard:
                self._trying = False
                if fault.code in SILENT:
                    self._failures, self._said = self._failures + 1, str(fault)[:200]
                    self._until = time.monotonic() + REST_S
                else:
                    self._failures = 0
            raise
        except BaseException:
            self._trying = False
            raise
        self._failures, self._trying = 0, False
        return found


def tried(once: Callable[[], T], pause_s: float = 1.0) -> T:
    """What ``once`` gives, tried ``ATTEMPTS`` times where its ProviderFault may pass: after what the server asks for
    (``wait_s`` of the fault), or after growing pauses from ``pause_s`` on. Raises the last fault."""

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked: float | None = getattr(error, "wait_s", None)
        if asked is not None:
            return min(asked, LONGEST_WAIT_S)
        return wait_exponential_jitter(multiplier=pause_s, max=LONGEST_WAIT_S, jitter=pause_s)(state)

    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        retry=retry_if_exception(
            lambda error: isinstance(error, ProviderFault) and error.transient and error.code != REST
        ),
        wait=wait,
        reraise=True,
    )
    return attempts(once)


def _query(params: Mapping[str, object]) -> str:
    return urlencode({name: value for name, value in params.items() if value is not None})


def checked_url(url: str, field: str = "url") -> str:
    """``url`` without its last slash. Raises Invalid for what is no address, and for one with a password in it."""
    parts = urlsplit(url.strip())
    try:
        _port = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid("url.bad", N_("地址以 http:// 或 https:// 开头,如 https://prometheus.example:9090"), field=field)
    if parts.username or parts.password:
        raise Invalid("url.secret", N_("地址中不能写用户名或口令,请填在各自的栏目中"), field=field)
    if parts.query or parts.fragment:
        raise Invalid("url.query", N_("地址不能带问号或井号后面的部分"), field=field)
    return url.strip().rstrip("/")


def _plain(secret: Secret) -> str:
    found = secret.reveal()
    if any(ord(one) < 32 or ord(one) == 127 for one in found):
        raise Invalid("secret.control", N_("口令中有换行或控制字符:%(reference)s"), reference=secret.reference)
    return found


def fault_of(error: BaseException, url: str) -> ProviderFault:
    """What a failed connection is, by what the library and the system say."""
    inner = error.reason if isinstance(error, MaxRetryError) and error.reason is not None else error
    text = f"{url}: {inner}"
    if isinstance(inner, NameResolutionError) or isinstance(inner.__cause__, socket.gaierror):
        return ProviderFault(text, transient=True, code="name")
    if isinstance(inner, SSLError | ssl.SSLError):
        whole = f"{inner} {inner.__cause__}"
        code = "certificate" if "CERTIFICATE" in whole.upper() or "hostname" in whole else "tls"
        return ProviderFault(text, transient=False, code=code)
    if isinstance(inner, NewConnectionError | OSError) and not isinstance(inner, TimeoutError):
        cause = inner.__cause__ if isinstance(inner, NewConnectionError) else inner
        code = "refused" if isinstance(cause, ConnectionRefusedError) else "unreachable"
        return ProviderFault(text, transient=True, code=code)
    if isinstance(inner, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return ProviderFault(text, transient=True, code="timeout")
    return ProviderFault(text, transient=True, code="unreachable")


def _read(status: int, headers: Mapping[str, str], content: bytes, place: str, taken: frozenset[int]) -> Any:
    said = content[:300].decode("utf-8", "replace").strip()
    if status == 401:
        raise ProviderFault(f"{place}: 401 {said}", transient=False, code="credentials", status=status)
    if status == 403:
        raise ProviderFault(f"{place}: 403 {said}", transient=False, code="rights", status=status)
    if status in (429, 503):
        wait = headers.get("Retry-After", "")
        wait_s = float(wait) if wait.isdigit() else None
        raise ProviderFault(f"{place}: {status} {said}", transient=True, code="busy", wait_s=wait_s, status=status)
    if status == 409:
        raise ProviderFault(f"{place}: 409 {said}", transient=True, code="busy", status=status)
    if status >= 500:
        raise ProviderFault(
            f"{place}: {status} {said}", transient=True, code=GATEWAY.get(status, "server"), status=status
        )
    if status in taken and not content.strip():
        return None
    try:
        found = json.loads(content)
    except ValueError:
        raise ProviderFault(f"{place}: {status} {said[:120]}", transient=False, code="kind", status=status) from None
    if status in (400, 422):
        raise ProviderFault(f"{place}: {status} {said}", transient=False, code="query", status=status)
    if status != 200 and status not in taken:
        raise ProviderFault(f"{place}: {status} {said}", transient=False, code="kind", status=status)
    return found
