"""One web process: waitress on a listening socket that it shares with the others.

The main thread reads whole requests and sends answers for all connections at once; a thread works for a request only
between the two. So a client that is slow, or says nothing, or never reads, costs a socket and no thread. How long it may
take that is bounded, too: a header has half a minute, a body and an answer half a minute and a second for every 500 bytes.
"""

from __future__ import annotations

import logging
import logging.handlers
import math
import os
import resource
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

from console.security import UNREAD
from console.service import logs
from console.settings import Settings, load
from quota.errors import out_of_room

HEADER_S = 30
GRACE_S = 30
RATE_BYTES_S = 500
IDLE_S = 75
STOP_S = 10
MOST_FILES = 65536
FILES_A_CONNECTION = 3  # its socket, a body that is large, an answer that is large
FILES_OF_OURS = 256
MOST_CONNECTIONS = 8192
MOST_WAITING = 32
"""Requests that a connection may send before it has read the answers: no browser sends a second."""
HEADER_BYTES = 64 * 1024
SEND_BYTES = 256 * 1024
"""So much of an answer is read at a time: what a socket could take in all (megabytes) would be read anew at each try."""
ANSWER_BYTES = 8 * 1024 * 1024
"""Of an answer that waits to be read so much lies in memory; files that are sent are read as they go."""
NEVER = sys.maxsize

access = logging.getLogger("guanjia.access")


class Body(OverflowableBuffer):  # type: ignore[misc]
    """What comes of a request's body. Where the disk has no room for it, the rest is read and dropped."""

    lost = False

    def append(self, part: bytes) -> None:
        if self.lost:
            return
        try:
            super().append(part)
        except OSError as error:
            if not out_of_room(error):
                raise
            self.lost = True
            self.close()
            self.buf, self.strbuf = None, b""

    def close(self) -> None:
        try:
            super().close()
        except OSError:  # what could not be written is thrown away anyway
            return


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads a request. One whose body is too large, or cannot be kept, goes to the application without it, so that the
    answer is a page of the console."""

    unread = 0
    content_length: int

    def parse_header(self, header: bytes) -> None:
        super().parse_header(header)
        if self.content_length >= self.adj.max_request_body_size:
            # The rest of it is not waited for: what would come next on this connection is not a request.
            self.unread, self.content_length, self.body_rcv = 413, 0, None
            self.headers["CONTENT_LENGTH"], self.headers["CONNECTION"] = "0", "close"
            self.expect_continue = False
        elif self.body_rcv is not None:
            self.body_rcv.buf = Body(self.adj.inbuf_overflow)

    @property
    def lost(self) -> bool:
        return bool(self.body_rcv is not None and self.body_rcv.buf.lost)


class WaitingTask(WSGITask):  # type: ignore[misc]
    """Has the application answer, and writes the line of the access log."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["wsgi.multiprocess"] = True
        status = 507 if self.request.lost else self.request.unread
        if status:
            environ[UNREAD] = status
        return environ

    def finish(self) -> None:
        super().finish()
        if access.handlers:
            at = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(self.start_time))
            line = self.request.first_line.decode("latin-1")
            status, size = self.status.partition(" ")[0], self.content_bytes_written
            took = time.time() - self.start_time
            named = {name.lower(): value for name, value in self.response_headers}
            told = {"request_id": named.get("x-request-id", "-"), "status": int(status), "bytes": size, "seconds": took}
            place = self.channel.addr[0]
            access.info('%s - - [%s] "%s" %s %d %.3f', place, at, line, status, size, took, extra=told)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows since when it is at what it does, and how much of it was done."""

    task_class = WaitingTask
    parser_class = Parser
    requests: list[Parser]
    total_outbufs_len: int
    last_activity: float
    began = 0.0  # when the first bytes of the request came that is being read, or the answer was ready to be sent
    owed = 0  # bytes of that answer

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.sendbuf_len = SEND_BYTES

    def received(self, data: bytes) -> bool:
        before = self.request
        went = bool(super().received(data))
        if self.request is not before:
            self.began = time.time()
        if len(self.requests) > MOST_WAITING:
            self.handle_close()
        return went

    def service(self) -> None:
        self.began = math.inf  # until it is known when the answer was ready
        super().service()
        self.began, self.owed = time.time(), self.total_outbufs_len

    def dawdles(self, now: float) -> bool:
        """Whether it has had the time that it may take."""
        if self.requests:
            return False  # it waits for us
        took = now - self.began
        if self.total_outbufs_len:
            return took > GRACE_S + (self.owed - self.total_outbufs_len) / RATE_BYTES_S
        if self.request is None:
            return now - self.last_activity > IDLE_S
        if not self.request.headers_finished:
            return took > HEADER_S
        return bool(took > GRACE_S + self.request.body_bytes_received / RATE_BYTES_S)


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Accepts connections, and ends those that take too long."""

    channel_class = Channel

    def maintenance(self, now: float) -> None:
        for channel in list(self.active_channels.values()):
            if channel.dawdles(now):
                channel.will_close = True
                channel.handle_close()  # at once: who does not read is never ready to be told

    @property
    def busy(self) -> bool:
        """Whether a request is being worked on, or its answer sent."""
        return any(bool(one.requests or one.total_outbufs_len) for one in self.active_channels.values())

    def serve(self, stopping: threading.Event) -> None:
        """Answer until ``stopping`` is set; then take no more, and finish what was begun within STOP_S seconds."""
        end = math.inf
        while not stopping.is_set() or (self.busy and time.monotonic() < end):
            if stopping.is_set() and end == math.inf:
                end = time.monotonic() + STOP_S
                self.del_channel()
            self.asyncore.loop(timeout=1, map=self._map, use_poll=True, count=1)
        self.task_dispatcher.shutdown()
        for channel in list(self.active_channels.values()):
            channel.handle_close()


def connections() -> int:
    """How many connections this process may hold, after it was allowed as many files as the system lets it have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(64, min(MOST_CONNECTIONS, (files - FILES_OF_OURS) // FILES_A_CONNECTION))


def server(application: Any, door: socket.socket, *, threads: int, max_body: int) -> Server:
    """waitress on ``door``, which listens; ``max_body`` bytes of a request are taken."""
    adjusted = Adjustments(
        sockets=[door],
        threads=threads,
        ident=None,
        connection_limit=connections(),
        cleanup_interval=5,
        max_request_header_size=HEADER_BYTES,
        max_request_body_size=max_body,
        outbuf_overflow=ANSWER_BYTES,
        outbuf_high_watermark=NEVER,  # a thread never waits for who reads its answer
        clear_untrusted_proxy_headers=False,  # the application knows how many proxies it trusts
        log_socket_errors=False,
    )
    about = (door.family, door.type, door.proto, door.getsockname())
    return Server(application, {}, _sock=door, adj=adjusted, sockinfo=about, bind_socket=False)


def main() -> None:
    """``python -m console.service.web FD THREADS``: serve the house that the environment names on the socket FD."""
    os.umask(0o077)
    descriptor, threads = int(sys.argv[1]), int(sys.argv[2])
    settings = load()
    logs.configure(settings)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    from console.memory import loading
    from console.service import counters
    from console.service.processes import follow_parent, standing

    counters.take()
    stopping = threading.Event()
    made: list[Server] = []

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()
        for one in made:
            one.pull_trigger()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    follow_parent()
    _log_accesses(os.environ.get("GUANJIA_ACCESS_LOG", ""), settings)
    with loading():
        from console import metrics
        from console.wsgi import application

    with socket.socket(fileno=descriptor) as door:
        limit = int(application.config["MAX_CONTENT_LENGTH"]) + HEADER_BYTES
        made.append(server(application, door, threads=threads, max_body=limit))
        threading.Thread(target=metrics.warm, args=(application,), name="metrics", daemon=True).start()
        standing()
        made[0].serve(stopping)


def _log_accesses(place: str, settings: Settings) -> None:
    """Write a line for each answer to the file ``place`` (``-`` is stdout), which may be moved away at any time."""
    if place:
        handler = logging.StreamHandler(sys.stdout) if place == "-" else logging.handlers.WatchedFileHandler(place)
        access.addHandler(logs.dressed(handler, settings, "%(message)s"))
        access.setLevel(logging.INFO)
        access.propagate = False


if __name__ == "__main__":
    main()
