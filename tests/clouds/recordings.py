"""Replies of real services, kept in files and served again on the loopback, so that an adapter speaks to them through its real
library in any clone.

A file says which services answered, in what versions and when, and has a digest over the replies: a file that was edited is
refused. What a service does when things go wrong is a *change* of what was recorded, declared by the test that needs it.

Lists are served whole or in pages, as the question's ``limit`` and ``marker`` have it and ``cap`` allows; a recording holds
each of them whole. Gnocchi's measures are served of whatever time is asked for, out of all that were recorded.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

FOLDER = Path(__file__).parents[1] / "recordings" / "openstack"
CLOUD = "{cloud}"
"""Stands in a recording for the address of whoever serves it."""
KEPT_HEADERS = ("content-type", "x-subject-token", "openstack-api-version", "x-openstack-nova-api-version")
PAGING = ("limit", "marker")
AGGREGATES = "metric/v1/aggregates"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: ``path`` begins with the service (compute/v2.1/servers)."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""

    @property
    def plain(self) -> Ask:
        """The same whatever part of a list it is for, and whoever asks for a token."""
        body = "" if self.path.endswith("/auth/tokens") else self.body
        return replace(self, query=tuple(sorted(one for one in self.query if one[0] not in PAGING)), body=body)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    answer: Any
    headers: Mapping[str, str] = field(default_factory=dict)


Change = Callable[[Ask, Reply], Reply]


@dataclass(slots=True)
class Recording:
    """``about``: services with their versions, and ``now``: of when it is."""

    about: dict[str, Any]
    exchanges: list[tuple[Ask, Reply]]

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.about["now"])

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"method": ask.method, "path": ask.path, "query": list(map(list, ask.query)), "body": ask.body,
             "status": reply.status, "headers": dict(reply.headers), "answer": reply.answer}
            for ask, reply in self.exchanges
        ]  # fmt: skip

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        head = {"about": self.about, "digest": digest(self.about, rows)}
        lines = [json.dumps(one, ensure_ascii=False, sort_keys=True) for one in (head, *rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Raises ValueError for a file whose digest is off."""
        head, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if digest(head["about"], rows) != head["digest"]:
            raise ValueError(f"{path.name}: its digest is off; record it again (make record-clouds)")
        exchanges = [
            (Ask(one["method"], one["path"], tuple((name, value) for name, value in one["query"]), one["body"]),
             Reply(one["status"], one["answer"], one["headers"]))
            for one in rows
        ]  # fmt: skip
        return cls(head["about"], exchanges)


def digest(about: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> str:
    text = json.dumps([about, list(rows)], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


# -------------------------------------------------------------------------------------------------------------- recording


class Recorder:
    """Takes down what passes through a ``requests`` session. ``places``: a service's address → what it is called."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = dict(sorted(places.items(), key=lambda one: -len(one[0])))
        self.exchanges: list[tuple[Ask, Reply]] = []

    def heard(self, answer: Any, *_args: Any, **_more: Any) -> None:
        """As a hook of the session's responses."""
        asked = answer.request
        parts = urlsplit(self._named(asked.url))
        body = asked.body.decode() if isinstance(asked.body, bytes) else asked.body or ""
        ask = Ask(
            asked.method,
            parts.path.removeprefix(f"{CLOUD}/").strip("/"),
            tuple(parse_qsl(parts.query)),
            self._named(body),
        )
        headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() in KEPT_HEADERS}
        if "x-subject-token" in headers:
            headers["x-subject-token"] = "recorded"
        text = self._named(answer.text)
        try:
            said = json.loads(text)
        except ValueError:
            said = text
        self.exchanges.append((ask.plain, Reply(answer.status_code, said, headers)))

    def _named(self, text: str) -> str:
        for address, name in self.places.items():
            text = text.replace(address, f"{CLOUD}/{name}")
        return text

    def recording(self, about: dict[str, Any]) -> Recording:
        """Each question once, with its last answer: a list is asked for whole."""
        found = dict(self.exchanges)
        return Recording(about, list(found.items()))


# ---------------------------------------------------------------------------------------------------------------- serving


class Served:
    """A recording at ``url``. ``cap``: rows of a page at most; ``links``: whether a page says that more follows;
    ``changes``: in order, on each reply; ``asked``: what was asked."""

    def __init__(
        self, recording: Recording, changes: Iterable[Change] = (), *, cap: int = 1_000, links: bool = True
    ) -> None:
        self.replies = {ask.plain: reply for ask, reply in recording.exchanges}
        self.changes, self.cap, self.links = list(changes), cap, links
        self.asked: list[Ask] = []
        self.guard = threading.Lock()
        self.url = ""

    def answer(self, ask: Ask) -> Reply:
        with self.guard:
            self.asked.append(ask)
        unheard = Reply(404, {"message": f"nobody recorded {ask.method} {ask.path} {ask.query}"})
        found = self._measures(ask) if ask.path == AGGREGATES else self.replies.get(ask.plain)
        found = unheard if found is None else self._fresh(self._paged(ask, found))
        for change in self.changes:
            found = change(ask, found)
        return found

    def _measures(self, ask: Ask) -> Reply:
        """Those of start <= t < stop, its start rounded down to the granularity, as Gnocchi does; out of all that were recorded of
        the question; of what nobody was measured by, what Gnocchi says of a type of resources that it does not know."""
        told = dict(ask.query)
        same = [reply for one, reply in self.replies.items() if (one.path, one.body) == (ask.path, ask.body)]
        if not same:
            return Reply(400, {"description": {"cause": "Resource type does not exist", "detail": ask.body}})
        step = float(told["granularity"])
        start, stop = (datetime.fromisoformat(told[name]).replace(tzinfo=UTC).timestamp() for name in ("start", "stop"))
        merged: dict[str, dict[str, dict[str, dict[str, list[Any]]]]] = {}
        for reply in same:
            for who, metrics in reply.answer["measures"].items():
                for metric, ways in metrics.items():
                    for way, rows in ways.items():
                        known = merged.setdefault(who, {}).setdefault(metric, {}).setdefault(way, {})
                        known |= {
                            row[0]: row
                            for row in rows
                            if row[1] == step
                            and start // step * step <= datetime.fromisoformat(row[0]).timestamp() < stop
                        }
        measures = {
            who: {metric: {way: list(rows.values()) for way, rows in ways.items()} for metric, ways in metrics.items()}
            for who, metrics in merged.items()
        }
        return replace(same[0], answer={**same[0].answer, "measures": measures})

    def _paged(self, ask: Ask, reply: Reply) -> Reply:
        key, rows = listed(reply.answer)
        told = dict(ask.query)
        if not key or not set(told) & set(PAGING):
            return reply
        begin = 0
        if "marker" in told:
            ids = [one["id"] for one in rows]
            if told["marker"] not in ids:
                return Reply(400, {"badRequest": {"message": f"marker [{told['marker']}] not found", "code": 400}})
            begin = ids.index(told["marker"]) + 1
        end = begin + min(int(told.get("limit", self.cap)), self.cap)
        answer = {**reply.answer, key: rows[begin:end]}
        answer.pop(f"{key}_links", None)
        if end < len(rows) and self.links:
            answer[f"{key}_links"] = [{"rel": "next", "href": f"{CLOUD}/{ask.path}"}]
        return replace(reply, answer=answer)

    def _fresh(self, reply: Reply) -> Reply:
        """A token that was given a while ago is given anew."""
        if not isinstance(reply.answer, dict) or "token" not in reply.answer:
            return reply
        ends = (datetime.now(UTC) + timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        return replace(reply, answer={**reply.answer, "token": {**reply.answer["token"], "expires_at": ends}})


def listed(answer: Any) -> tuple[str, list[dict[str, Any]]]:
    """The list that an answer is made of, and its name there."""
    if isinstance(answer, dict):
        for name, rows in answer.items():
            if isinstance(rows, list) and not name.endswith("links") and all("id" in one for one in rows):
                return name, rows
    return "", []


@contextmanager
def served(
    recording: Recording, *changes: Change, tls: ssl.SSLContext | None = None, **how: Any
) -> Iterator[Served]:  # fmt: skip
    """Serve a recording while the block runs; over https where ``tls`` has a certificate for localhost."""
    here = Served(recording, changes, **how)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            parts = urlsplit(self.path)
            reply = here.answer(Ask(self.command, parts.path.strip("/"), tuple(parse_qsl(parts.query)), body))
            text = reply.answer if isinstance(reply.answer, str) else json.dumps(reply.answer)
            content = text.replace(CLOUD, here.url).encode()
            self.send_response_only(reply.status)  # no Date: the services here send none
            told = {name.lower(): value for name, value in reply.headers.items()}
            for name, value in {"content-type": "application/json", **told}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - as the library calls them

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_address[1]}"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        here.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---------------------------------------------------------------------------------------------------------------- changes


def on(
    place: str, status: int, answer: Any = None, *, times: int | None = None, after: str = "", **headers: str
) -> Change:
    """Where ``place`` (a regular expression) is asked, ``status`` is answered, ``times`` in a row at most; ``after``: only for
    pages after the first."""
    left = [times if times is not None else 1_000_000]

    def change(ask: Ask, reply: Reply) -> Reply:
        if not re.search(place, ask.path) or left[0] < 1 or (after and "marker" not in dict(ask.query)):
            return reply
        left[0] -= 1
        return Reply(status, answer if answer is not None else {"message": f"declared {status}"}, headers)

    return change


def rows_of(
    place: str, key: str, made: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], recording: Recording
) -> Recording:
    """A recording in which a list has other rows."""
    exchanges = []
    for ask, reply in recording.exchanges:
        if re.search(place, ask.path) and isinstance(reply.answer, dict) and key in reply.answer:
            reply = replace(reply, answer={**reply.answer, key: made(reply.answer[key])})
        exchanges.append((ask, reply))
    return Recording(recording.about, exchanges)


def many(recording: Recording, count: int) -> Recording:
    """The same cloud with so many servers, each measured as one that was recorded."""
    copies = {}

    def grown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = list(rows)
        if not rows:
            return made  # of those that are in the bin
        for number in range(len(rows), count):
            one = copy.deepcopy(rows[number % len(rows)])
            copies[f"00000000-0000-0000-0000-{number:012d}"] = one["id"]
            made.append(one | {"id": f"00000000-0000-0000-0000-{number:012d}", "name": f"copy-{number}"})
        return made

    large = rows_of(r"^compute/v2.1/servers/detail", "servers", grown, recording)
    exchanges = []
    for ask, reply in large.exchanges:
        if ask.path == AGGREGATES:
            measures = reply.answer["measures"]
            more = {new: measures[old] for new, old in copies.items() if old in measures}
            answer = {**reply.answer, "measures": {**measures, **more}}
            if of := reply.answer.get("references"):
                wires = [
                    (f"{new}-{one['id']}", one | {"instance_id": new})
                    for new, old in copies.items()
                    for one in of
                    if one["instance_id"] == old
                ]
                answer["references"] = [*of, *(one | {"id": id_} for id_, one in wires)]
                answer["measures"] |= {id_: measures[one["id"]] for id_, one in wires}
            reply = Reply(reply.status, answer, reply.headers)
        exchanges.append((ask, reply))
    return Recording(large.about, exchanges)


def wired(keeps: Mapping[str, Callable[[str, int], float | None]], *, many: int = 2) -> Change:
    """A Gnocchi that keeps traffic of so ``many`` interfaces of each server that it measures. ``keeps``: "metric aggregate" → the value
    of the interface called so in the bucket that begins at a moment; None: there is none."""

    def change(ask: Ask, reply: Reply) -> Reply:
        body = json.loads(ask.body) if ask.path == AGGREGATES else {}
        if body.get("resource_type") == "instance":
            servers.update(reply.answer.get("measures", {}))
        if body.get("resource_type") != "instance_network_interface":
            return reply
        pairs = [tuple(one) for one in body["operations"][1:]]
        metrics = {one.split()[0] for one in keeps}
        if any(metric in metrics and f"{metric} {way}" not in keeps for metric, way in pairs):
            return Reply(404, {"description": {"cause": "Metrics with unknown aggregation", "detail": []}})
        if not any(metric in metrics for metric, _way in pairs):
            return Reply(404, {"description": "Metric does not exist"})
        told = dict(ask.query)
        step = int(told["granularity"])
        start, stop = (
            int(datetime.fromisoformat(told[name]).replace(tzinfo=UTC).timestamp()) for name in ("start", "stop")
        )
        wires = [
            {"id": f"{server}-{number}", "instance_id": server, "name": f"tap{number}"}
            for server in sorted(servers)
            for number in range(many)
        ]
        measures: dict[str, Any] = {}
        for wire in wires:
            for pair in pairs:
                if of := keeps.get(" ".join(pair)):
                    buckets = [(at, of(wire["id"], at)) for at in range(start // step * step, stop, step)]
                    rows = [
                        [datetime.fromtimestamp(at, UTC).isoformat(), float(step), value]
                        for at, value in buckets
                        if value is not None
                    ]
                    measures.setdefault(wire["id"], {}).setdefault(pair[0], {})[pair[1]] = rows
        return Reply(200, {"measures": measures, **({"references": wires} if "details" in told else {})})

    servers: set[str] = set()
    return change


def first_page_again(place: str) -> Change:
    """What Neutron answers to a marker that it does not know: the list from its beginning."""
    first: dict[Ask, Reply] = {}

    def change(ask: Ask, reply: Reply) -> Reply:
        if not re.search(place, ask.path):
            return reply
        if "marker" not in dict(ask.query):
            first[ask.plain] = reply
            return reply
        return first[ask.plain]

    return change
