"""Options, secrets and connections: what is refused by name, what is looked up when, and each way in which a real server on
loopback can fail, told apart."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from providers import connection
from providers.base import ProviderFault
from providers.connection import FAULTS, Connection, checked_url
from providers.options import Json, OptionShape, fields, kept, option, read
from providers.secrets import Secret, by_reference
from quota.errors import Invalid
from tests.patience import free_port


@dataclass(frozen=True, kw_only=True)
class Told:
    url: str = option("地址", "在哪里")
    size: int = option("大小", default=7, least=1, most=9)
    share: float | None = option("比例", default=None)
    exact: bool = option("精确", default=False)
    names: tuple[str, ...] = option("名称", default=())
    colour: str = option("颜色", default="red", choices=["red", "green"])
    password: Secret | None = option("口令", default=None)
    faults: Json = option("故障", default=None)


def test_a_dataclass_says_what_the_form_has() -> None:
    found = {one.name: one for one in fields(Told)}
    assert [one.shape for one in found.values()] == [
        OptionShape.TEXT, OptionShape.WHOLE, OptionShape.NUMBER, OptionShape.YES, OptionShape.TEXTS, OptionShape.TEXT, OptionShape.SECRET, OptionShape.JSON,
    ]  # fmt: skip
    assert found["url"].required
    assert (found["url"].label, found["url"].hint) == ("地址", "在哪里")
    assert not found["size"].required
    assert found["size"].default == 7
    assert found["colour"].choices == ("red", "green")


def test_options_are_kept_plain_and_read_typed(monkeypatch) -> None:
    monkeypatch.setenv("CLOUD_PASSWORD", "s3cret")
    given = {
        "url": " http://a ",
        "size": "8",
        "exact": "true",
        "names": "a，b, c",
        "password": "env:CLOUD_PASSWORD",
        "share": "",
    }
    plain = kept(Told, given)
    assert plain == {
        "url": "http://a", "size": 8, "exact": True, "names": ["a", "b", "c"], "password": "env:CLOUD_PASSWORD",
    }  # fmt: skip
    assert json.loads(json.dumps(plain)) == plain
    told = read(Told, plain)
    assert (told.size, told.names, told.share, told.colour) == (8, ("a", "b", "c"), None, "red")
    assert told.password is not None
    assert told.password.reveal() == "s3cret"
    assert "s3cret" not in f"{told!r} {told.password}"
    monkeypatch.setenv("CLOUD_PASSWORD", "changed")
    assert told.password.reveal() == "changed"  # rotated where it lies


@pytest.mark.parametrize(
    ("said", "means"),
    [(True, True), ("TRUE", True), ("是", True), (" yes", True), (False, False), ("False", False), ("否", False)],
)
def test_yes_and_no_are_understood_as_a_workbook_has_them(said, means) -> None:
    assert kept(Told, {"url": "x", "exact": said})["exact"] is means


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({}, "options.missing", "url"),
        ({"url": ""}, "options.missing", "url"),
        ({"url": "x", "colours": "red"}, "options.unknown", "colours"),
        ({"url": "x", "size": "many"}, "options.bad", "size"),
        ({"url": "x", "size": 1.5}, "options.bad", "size"),
        ({"url": "x", "size": 10}, "options.range", "size"),
        ({"url": ["x"]}, "options.bad", "url"),
        ({"url": "x\0"}, "options.bad", "url"),
        ({"url": "x", "share": "NaN"}, "options.bad", "share"),
        ({"url": "x", "exact": "maybe"}, "options.bad", "exact"),
        ({"url": "x", "colour": "blue"}, "options.choice", "colour"),
        ({"url": "x", "password": "hunter2"}, "secret.clear", "password"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_field(given, code, field) -> None:
    with pytest.raises(Invalid) as refused:
        kept(Told, given)
    assert (refused.value.code, refused.value.params["field"]) == (code, field)
    assert "hunter2" not in str(refused.value)


def test_a_secret_is_read_only_from_where_secrets_may_lie(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "one").write_text("pass\n")
    (folder / "empty").write_text("\n")
    (tmp_path / "shadow").write_text("root")
    (folder / "link").symlink_to(tmp_path / "shadow")
    monkeypatch.setenv("GUANJIA_SECRET_KEY", "k" * 40)
    assert by_reference(f"file:{folder}/one", [folder]) == "pass"
    for reference, code in (
        (f"file:{tmp_path}/shadow", "secret.folder"),
        (f"file:{folder}/../shadow", "secret.folder"),
        (f"file:{folder}/link", "secret.folder"),
        (f"file:{folder}/none", "secret.file"),
        (f"file:{folder}/empty", "secret.empty"),
        ("env:GUANJIA_SECRET_KEY", "secret.ours"),
        ("env:SURELY_NOT_SET", "secret.env"),
        ("store:one", "secret.store"),
    ):
        with pytest.raises(Invalid) as refused:
            by_reference(reference, [folder])
        assert refused.value.code == code, reference


@contextmanager
def server(answer, context=None):
    """A server on loopback; ``answer(path, headers)`` gives (status, headers, body); the headers have "body" and "method", too."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, headers, body = answer(
                self.path,
                {
                    **self.headers,
                    "body": self.rfile.read(length).decode(errors="replace"),
                    "method": self.command,
                },
            )
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_args) -> None:
            """Nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield listener.server_port
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def code_of(asked: Connection) -> str:
    with pytest.raises(ProviderFault) as fault:
        asked.get("/x")
    assert fault.value.code in FAULTS
    return fault.value.code


def quick(url: str, **more) -> Connection:
    return Connection(url, pause_s=0.001, **more)


@pytest.mark.parametrize(
    ("status", "body", "code", "asked"),
    [
        (401, b"{}", "credentials", 1),
        (403, b"{}", "rights", 1),
        (404, b"<html>", "kind", 1),
        (404, b"{}", "kind", 1),
        (200, b"<html>nginx</html>", "kind", 1),
        (301, b"", "kind", 1),
        (204, b"", "kind", 1),
        (202, b"{}", "kind", 1),
        (400, b'{"error": "parse"}', "query", 1),
        (429, b"", "busy", 3),
        (503, b"", "busy", 3),
        (500, b"oops", "server", 3),
    ],
)
def test_each_answer_that_is_none_is_told_apart(status, body, code, asked) -> None:
    with server(lambda *_: (status, {}, body)) as port:
        one = quick(f"http://127.0.0.1:{port}")
        assert code_of(one) == code
        assert one.requests == asked


def test_each_way_of_not_reaching_it_is_told_apart(monkeypatch) -> None:
    assert code_of(quick("http://no-such-host.invalid")) == "name"
    assert code_of(quick(f"http://127.0.0.1:{free_port()}")) == "refused"
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert code_of(quick(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.05)) == "timeout"
    with server(lambda *_: (200, {}, b"{}")) as port:
        assert code_of(quick(f"https://127.0.0.1:{port}")) == "tls"


def test_a_certificate_is_trusted_only_where_its_authority_is(tmp_path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    file = tmp_path / "ca.pem"
    with server(lambda *_: (200, {}, b'{"a": 1}'), context) as port:
        assert code_of(quick(f"https://localhost:{port}")) == "certificate"
        assert code_of(quick(f"https://localhost:{port}", ca_file=str(file))) == "certificate"  # no such file
        trustme.CA().cert_pem.write_to_path(str(file))
        asked = quick(f"https://localhost:{port}", ca_file=str(file))
        assert code_of(asked) == "certificate"
        authority.cert_pem.write_to_path(str(file))
        assert asked.get("/x") == {"a": 1}  # the file was changed; nothing was opened anew
        assert code_of(quick(f"https://127.0.0.1:{port}", ca_file=str(file))) == "certificate"  # another name


def test_who_we_are_is_said_each_time_anew(tmp_path) -> None:
    seen = []

    def answer(_path, headers):
        seen.append(headers.get("Authorization"))
        return 200, {}, b"{}"

    file = tmp_path / "token"
    bearer = Secret(f"file:{file}", lambda one: by_reference(one, [tmp_path]))
    with server(answer) as port:
        asked = quick(f"http://127.0.0.1:{port}", bearer=bearer)
        assert code_of(asked) == "secret"
        for token in ("one", "two"):
            file.write_text(token)
            asked.get("/x")
        file.write_text("a\nb")
        assert code_of(asked) == "secret"
        quick(f"http://127.0.0.1:{port}", user="u", password=Secret("env:x", lambda _: "p:w")).get("/x")
        quick(f"http://127.0.0.1:{port}").get("/x")
    assert seen == ["Bearer one", "Bearer two", "Basic " + base64.b64encode(b"u:p:w").decode(), None]


def test_it_comes_again_when_it_was_told_to_and_rests_when_nothing_helps(monkeypatch) -> None:
    answers = [(503, {"Retry-After": "0"}, b""), (500, {}, b""), (200, {}, b'{"ok": true}')]
    with server(lambda *_: answers.pop(0)) as port:
        assert quick(f"http://127.0.0.1:{port}").get("/x") == {"ok": True}
    assert answers == []


def test_who_never_answers_is_left_alone_and_tried_once_after_a_rest(monkeypatch) -> None:
    port = free_port()
    asked = quick(f"http://127.0.0.1:{port}")
    assert [code_of(asked) for _ in range(3)] == ["refused", "rest", "rest"]
    assert (asked.requests, asked.breaker.state) == (connection.BREAKS, "open")
    with pytest.raises(
        ProviderFault, match=r"no answer 5 times in a row, asked again after \d\d:\d\d:\d\d UTC .*refused"
    ):
        asked.get("/x")
    asked.breaker._until = 0.0
    assert asked.breaker.state == "half open"
    assert code_of(asked) == "rest"
    assert (asked.requests, asked.breaker.state) == (connection.BREAKS + 1, "open")
    asked.breaker._until = 0.0
    monkeypatch.setattr(asked, "_once", lambda *_: {"there": "again"})
    assert (asked.get("/x"), asked.breaker.state) == ({"there": "again"}, "closed")


def test_what_a_person_wants_to_know_is_asked_of_one_that_is_left_alone() -> None:
    asked = quick(f"http://127.0.0.1:{free_port()}")
    assert [code_of(asked) for _ in range(2)] == ["refused", "rest"]
    with connection.insisting():
        assert code_of(asked) == "refused"
    assert (asked.requests, code_of(asked)) == (connection.BREAKS + connection.ATTEMPTS, "rest")
    with server(lambda *_: (200, {}, b"{}")) as port:
        asked.url = f"http://127.0.0.1:{port}"
        with connection.insisting():
            asked.get("/x")
        assert (asked.breaker.state, asked.get("/x")) == ("closed", {})


@pytest.mark.parametrize(("status", "code"), [(502, "unreachable"), (504, "timeout")])
def test_a_proxy_that_got_no_answer_gives_none(status, code) -> None:
    with server(lambda *_: (status, {}, b"<html>Bad Gateway</html>")) as port:
        asked = quick(f"http://127.0.0.1:{port}")
        assert [code_of(asked) for _ in range(3)] == [code, "rest", "rest"]


def test_a_server_that_says_it_failed_is_not_left_alone() -> None:
    with server(lambda *_: (500, {}, b"")) as port:
        asked = quick(f"http://127.0.0.1:{port}")
        assert [code_of(asked) for _ in range(3)] == ["server"] * 3
        assert asked.breaker.state == "closed"


def test_what_a_cloud_is_told_is_plain_json_and_its_answer_may_be_empty() -> None:
    def answer(path, headers):
        if path == "/gone":
            return 404, {}, b'{"err": "no such ticket"}'
        told = [headers["method"], headers["body"], headers.get("Content-Type"), headers.get("Content-Encoding")]
        return (204, {}, b"") if path == "/empty" else (202, {}, json.dumps(told).encode())

    with server(answer) as port:
        asked = quick(f"http://127.0.0.1:{port}")
        assert asked.send("POST", "/tasks", {"名": 1}) == ["POST", '{"名":1}', "application/json", None]
        assert asked.send("PUT", "/tasks", []) == ["PUT", "[]", "application/json", None]
        assert asked.send("DELETE", "/tasks") == ["DELETE", "", None, None]
        assert asked.send("DELETE", "/empty") is None
        for ask in (asked.get, asked.post, lambda path: asked.post_json(path, {})):
            with pytest.raises(ProviderFault) as fault:
                ask("/empty")
            assert fault.value.code == "kind", "an empty answer acknowledges nothing that was brought"
        with pytest.raises(ProviderFault) as fault:
            asked.get("/gone")
        assert (fault.value.status, fault.value.code) == (404, "kind"), (
            "what is not there can be told from what is no such service"
        )
    with pytest.raises(ProviderFault) as fault:
        quick(f"http://127.0.0.1:{port}").send("POST", "/tasks", {})
    assert fault.value.status is None


def test_a_form_is_posted_and_an_answer_has_its_bounds(monkeypatch) -> None:
    with server(lambda path, headers: (200, {}, json.dumps([path, headers["body"]]).encode())) as port:
        asked = quick(f"http://127.0.0.1:{port}/prefix/")
        assert asked.post("/api", query="a b", empty=None) == ["/prefix/api", "query=a+b"]
        assert asked.get("/api", query="a b") == ["/prefix/api?query=a+b", ""]
        monkeypatch.setattr(connection, "LARGEST", 10)
        assert code_of(asked) == "query"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("prometheus:9090", "url.bad"), ("ftp://a", "url.bad"), ("https://", "url.bad"), ("http://a:port", "url.bad"),
        ("http://u:p@a", "url.secret"), ("http://a?x=1", "url.query"),
    ],
)  # fmt: skip
def test_an_address_is_one(url, code) -> None:
    with pytest.raises(Invalid) as refused:
        checked_url(url)
    assert refused.value.code == code
