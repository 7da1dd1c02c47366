"""``guanjia run`` as the README starts it, and crowds of strangers who are slow: whoever else comes is answered in time.

Each crowd is 500 connections. The console is a real one, of real processes, that knows nothing of this test.
"""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests import books
from tests.patience import PATIENCE, pause, seconds

CROWD = 500
ANSWERED_S = 5.0
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
GUANJIA = str(Path(sys.executable).with_name("guanjia"))


class House:
    """An empty house that runs: its address, and the first password of the system administrator."""

    def __init__(self, data: Path, database: str = "") -> None:
        self.data = data
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GUANJIA_")}
        environment |= {"GUANJIA_DATABASE": database} if database else {}
        command = [GUANJIA, "run", "--empty", "--data", str(data), "--port", str(self.port)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line.decode())
            if line.startswith(b"http"):
                break
        found_password = re.search(r"^\s*sysadmin\s+(\S+)", "".join(said), re.MULTILINE)
        assert found_password, said
        self.password = found_password.group(1)

    def connect(self) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(PATIENCE)
        made.connect(("127.0.0.1", self.port))
        return made

    def open(self, path: str, opener: urllib.request.OpenerDirector | None = None, data: bytes | None = None) -> str:
        answer = (opener or urllib.request.build_opener()).open(self.address + path, data, timeout=PATIENCE)
        with answer:
            text: str = answer.read().decode()
        return text

    def log_in(self) -> None:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        token = TOKEN.search(self.open("/login", opener))
        assert token is not None
        typed = {"csrf_token": token.group(1), "login": "sysadmin", "password": self.password}
        page = self.open("/login", opener, urllib.parse.urlencode(typed).encode())
        assert 'name="new"' in page or "logout" in page, "in, and asked for a password of one's own"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("strangers") / "data")
    try:
        made.open("/healthz")
        yield made
    finally:
        os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait(PATIENCE)


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


A_SECOND = 1.0
"""Between two bytes of a slow stranger."""


@contextmanager
def crowd(house: House, begin: bytes, drip: bytes = b"") -> Iterator[list[socket.socket]]:
    """CROWD connections that each sent ``begin``, and send a byte of ``drip`` every second as long as the block runs."""
    stop = threading.Event()

    def dripping() -> None:
        for number in range(len(drip)):
            if stop.wait(A_SECOND):
                return
            for one in sockets:
                with suppress(OSError):  # the console may have ended it
                    one.send(drip[number : number + 1])

    with ExitStack() as stack:
        sockets = [stack.enter_context(house.connect()) for _ in range(CROWD)]
        for one in sockets:
            one.sendall(begin)
        slow = threading.Thread(target=dripping)
        slow.start()
        try:
            yield sockets
        finally:
            stop.set()
            slow.join()


def in_time() -> float:
    """Seconds that an answer may take: five, or more where others keep this machine busy."""
    return ANSWERED_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def all_are_answered(house: House) -> None:
    """Others come again and again while the crowd is there, and what it asked for is done."""
    house.open("/healthz")
    for _ in range(3):
        assert seconds(lambda: house.open("/healthz")) < in_time()
        assert seconds(house.log_in) < in_time()
        pause(0.5)


HEAD = b"Host: guanjia\r\nUser-Agent: stranger\r\n"
LONG = b"x" * 100000


def still_open(sockets: list[socket.socket]) -> int:
    """How many of them the console has neither answered nor ended."""
    waiting = select.poll()
    for one in sockets:
        waiting.register(one.fileno(), select.POLLIN)
    return len(sockets) - len(waiting.poll(0))


def test_slow_headers_hold_nobody(house: House) -> None:
    with crowd(house, b"GET /login HTTP/1.1\r\n" + HEAD, LONG) as sockets:
        all_are_answered(house)
        assert still_open(sockets) == CROWD, "the crowd was there all the time"


def test_slow_bodies_hold_nobody(house: House) -> None:
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\nlogin="
    with crowd(house, b"POST /login HTTP/1.1\r\n" + HEAD + kind, LONG) as sockets:
        all_are_answered(house)
        assert still_open(sockets) == CROWD


def test_slow_chunks_hold_nobody(house: House) -> None:
    chunks = b"POST /login HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n"
    with crowd(house, chunks, LONG) as sockets:
        all_are_answered(house)
        assert still_open(sockets) == CROWD


def largest_file(house: House) -> str:
    """The largest file that the login page loads."""
    found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', house.open("/login")))
    return max(found, key=lambda path: len(house.open(path)))


@pytest.mark.parametrize("what", ["a page", "the largest file"])
def test_who_does_not_read_holds_nobody(house: House, what: str) -> None:
    path = "/login" if what == "a page" else largest_file(house)
    ask = f"GET {path} HTTP/1.1\r\n".encode() + HEAD + b"\r\n"
    with crowd(house, ask):
        all_are_answered(house)


def test_all_crowds_together_hold_nobody(house: House) -> None:
    body = b"POST /login HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000\r\n\r\nlogin="
    page = f"GET {largest_file(house)} HTTP/1.1\r\n".encode() + HEAD + b"\r\n"
    with ExitStack() as stack:
        for begin, drip in ((b"GET / HTTP/1.1\r\n", LONG), (body, LONG), (page, b"")):
            stack.enter_context(crowd(house, begin, drip))
        all_are_answered(house)


def test_all_crowds_together_hold_nobody_whose_book_is_on_postgresql(tmp_path: Path, postgres: str) -> None:
    url = books.bare(postgres)
    house = House(tmp_path / "data", url)
    try:
        body = b"POST /login HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000\r\n\r\nlogin="
        ask = b"GET /login HTTP/1.1\r\n" + HEAD + b"\r\n"
        with crowd(house, b"GET / HTTP/1.1\r\n", LONG) as heads, crowd(house, body, LONG) as bodies, crowd(house, ask):
            all_are_answered(house)
            assert still_open(heads) + still_open(bodies) == 2 * CROWD, (
                "they were there, and held no connection of the book"
            )
    finally:
        os.killpg(house.process.pid, signal.SIGKILL)
        house.process.wait(PATIENCE)
        books.drop(postgres, url)


def test_a_header_that_takes_too_long_is_ended(house: House) -> None:
    with house.connect() as one:
        one.sendall(b"GET /login HTTP/1.1\r\n")
        one.settimeout(PATIENCE)

        def ended() -> None:
            with suppress(ConnectionResetError):
                assert one.recv(1) == b""

        assert seconds(ended) > 20
