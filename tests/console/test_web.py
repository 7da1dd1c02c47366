"""The web process itself: what it gives up on, what it hands on, and how it stops."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from console.security import UNREAD
from console.service import web
from console.service.web import Server
from console.settings import Settings
from tests.patience import PATIENCE, pause, until

Answer = Callable[..., Any]


class Running:
    """A server of ``application`` on loopback."""

    def __init__(self, application: Any, max_body: int = 10_000_000) -> None:
        self.door = socket.create_server(("127.0.0.1", 0))
        self.stopping = threading.Event()
        self.server: Server = web.server(application, self.door, threads=2, max_body=max_body)
        self.server.adj.cleanup_interval = 0
        self.thread = threading.Thread(target=self.server.serve, args=(self.stopping,))
        self.thread.start()

    def connect(self, receive: int = 0) -> socket.socket:
        made = socket.socket()
        if receive:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        made.settimeout(60)
        made.connect(self.door.getsockname())
        return made

    def ask(self, request: bytes) -> bytes:
        with self.connect() as one:
            one.sendall(request)
            return one.makefile("rb").read()

    def stop(self) -> None:
        self.stopping.set()
        self.server.pull_trigger()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def echo(environ: dict[str, Any], start: Answer) -> list[bytes]:
    """Says how much of a body it was given, or what it was told about it."""
    told = environ.get(UNREAD, 200)
    start(f"{told} -", [("Content-Type", "text/plain")])
    return [f"{told} {len(environ['wsgi.input'].read())}".encode()]


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(*words: Any, **options: Any) -> Running:
        made.append(Running(*words, **options))
        return made[-1]

    yield start
    for one in made:
        one.stop()
        one.door.close()


POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b""),  # says nothing
        (b"GET / HTTP/1.1\r\n", b""),
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
        (POST % 100_000, b"x"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", b"x"),
    ],
)
def test_who_takes_too_long_is_ended(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, begin: bytes, drip: bytes
) -> None:
    for name in ("HEADER_S", "GRACE_S", "IDLE_S"):
        monkeypatch.setattr(web, name, 1)
    running = serve(echo)
    with running.connect() as one:
        one.sendall(begin)
        one.settimeout(0.1)

        def ended() -> bool:
            try:
                if drip:
                    one.send(drip)
                return one.recv(100) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        until(ended, "the end of who takes too long")


def test_a_body_that_comes_at_a_fair_rate_is_waited_for(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "GRACE_S", 0.3)
    running = serve(echo)
    with running.connect() as one:
        one.sendall(POST % 10_000)
        for _ in range(10):
            one.sendall(b"x" * 1000)
            pause(0.15)
        assert one.makefile("rb").read().endswith(b"200 10000")


def test_who_does_not_read_is_ended_and_holds_no_thread(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "GRACE_S", 1)

    def large(_environ: dict[str, Any], start: Answer) -> Iterator[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 1_000_000 for _ in range(40))

    def application(environ: dict[str, Any], start: Answer) -> Any:
        return (large if environ["PATH_INFO"] == "/large" else echo)(environ, start)

    running = serve(application)
    deaf = [running.connect(receive=4096) for _ in range(10)]
    for one in deaf:
        one.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    assert running.ask(POST % 3 + b"abc").endswith(b"200 3")
    until(lambda: not running.server.active_channels, "the end of who does not read")
    for one in deaf:
        one.close()


def test_many_requests_at_once_on_one_connection_are_not_done(serve: Callable[..., Running]) -> None:
    asked = []

    def counting(environ: dict[str, Any], start: Answer) -> list[bytes]:
        asked.append(1)
        return echo(environ, start)

    running = serve(counting)
    with running.connect() as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
        try:
            while one.recv(10000):
                pass
        except ConnectionError:
            pass
    assert len(asked) <= web.MOST_WAITING + 1


def test_a_body_that_is_too_large_is_told_of_by_the_application(serve: Callable[..., Running]) -> None:
    assert serve(echo, max_body=1000).ask(POST % 1000).endswith(b"413 0")


def test_a_body_that_the_disk_has_no_room_for_is_told_of(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A file on a full disk."""

        def __getattr__(self, _name: str) -> Any:
            def full(*_words: Any) -> Any:
                raise OSError(errno.ENOSPC, "No space left on device")

            return full

    running = serve(echo)
    whole = POST % 1_000_000 + b"x" * 1_000_000
    assert running.ask(whole).endswith(b"200 1000000")
    with monkeypatch.context() as there:
        there.setattr(tempfile, "TemporaryFile", lambda *_words: Full())
        assert running.ask(whole).endswith(b"507 0"), "read to its end, so that the sender hears it"
    assert running.ask(whole).endswith(b"200 1000000"), "and by itself once there is room"


def test_stopping_finishes_what_was_begun(serve: Callable[..., Running]) -> None:
    begun = threading.Event()

    def slow(environ: dict[str, Any], start: Answer) -> list[bytes]:
        begun.set()
        pause(1)
        return echo(environ, start)

    running = serve(slow)
    with running.connect() as one:
        one.sendall(POST % 3 + b"abc")
        assert begun.wait(PATIENCE)
        running.stop()
        assert one.makefile("rb").read().endswith(b"200 3")


def test_the_access_log(serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    log = tmp_path / "access.log"
    web._log_accesses(str(log), Settings(data=tmp_path))
    try:
        serve(echo).ask(POST % 3 + b"abc")
    finally:
        for handler in list(web.access.handlers):
            web.access.removeHandler(handler)
            handler.close()
    line = log.read_text()
    assert line.startswith("127.0.0.1 - - [")
    assert '"POST / HTTP/1.1" 200 5 ' in line


def test_as_many_connections_as_files() -> None:
    assert web.connections() >= 64
    assert os.sysconf("SC_OPEN_MAX") > web.connections()
