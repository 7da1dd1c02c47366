"""A real OpenID provider beside a test, and one that says whatever a test wants of it.

``provider`` starts npm's oidc-provider on the loopback. ``Forger`` is an issuer of our own in a thread: it signs rightly or
wrongly what the test hands it, to see that our side refuses.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from console import assets
from tests.patience import PATIENCE, ended, free_port, listening

SCRIPT = Path(__file__).with_name("provider.mjs")
CLIENT, SECRET = "guanjia", "of-the-tests-alone-0123456789abcdef"
PEOPLE = {
    "u-0001": {"preferred_username": "wang.fang", "name": "王芳", "email": "wang.fang@example.gov.cn", "org_code": "A01",
               "groups": ["staff"]},
    "u-0002": {"preferred_username": "auditor1", "name": "审计员", "groups": ["auditors"]},
    "u-0003": {"preferred_username": "nobody.here", "name": "无角色", "groups": []},
}  # fmt: skip


@dataclass
class Provider:
    """A running provider: its issuer, and the people that it knows (subject → claims)."""

    issuer: str
    file: Path
    people: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tell(self, subject: str, **claims: Any) -> None:
        """From now on the provider says this of somebody."""
        self.people[subject] = {**self.people.get(subject, {}), **claims}
        self.file.write_text(json.dumps(self.people), encoding="utf-8")


def node() -> str:
    return assets.npm()[0]


@contextmanager
def provider(
    folder: Path, console: str, *, port: int | None = None, keys: list[Any] | None = None
) -> Iterator[Provider]:
    """A provider that knows the console at ``console`` (its address) as a client."""
    found = Provider(f"http://127.0.0.1:{port or free_port()}", folder / "people.json")
    for subject, claims in PEOPLE.items():
        found.tell(subject, **claims)
    signing = keys or [RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})]
    client = {
        "client_id": CLIENT, "client_secret": SECRET, "redirect_uris": [f"{console}/identity/oa/back"],
        "post_logout_redirect_uris": [f"{console}/login"], "backchannel_logout_uri": f"{console}/identity/oa/departed",
        "backchannel_logout_session_required": True,
    }  # fmt: skip
    told = {
        "issuer": found.issuer, "people": str(found.file), "clients": [client], "conform": True,
        "jwks": {"keys": [one.as_dict(private=True) for one in signing]},
    }  # fmt: skip
    command = [node(), str(SCRIPT), json.dumps(told)]
    with (folder / "provider.log").open("w") as log, ended(subprocess.Popen(command, stdout=log, stderr=log)):
        listening(int(found.issuer.rpartition(":")[2]))
        yield found


class Forger:
    """An issuer that the test speaks for: ``claims`` and ``header`` go into the next token, signed by ``key``."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.published: list[Any] = [self.key]
        self.token: str | None = None  # the next id_token as it stands
        self.user: dict[str, Any] = {}
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.metadata: dict[str, Any] = {}
        self.broken: dict[str, tuple[int, bytes]] = {}  # path → what it answers instead
        forger = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_about: Any) -> None:
                pass

            def answer(self, content: Any, status: int = 200) -> None:
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                forger.asked.append(path)
                if path in forger.broken:
                    status, body = forger.broken[path]
                    self.answer(body, status)
                elif path == "/.well-known/openid-configuration":
                    self.answer(forger.configuration())
                elif path == "/jwks":
                    self.answer(KeySet(forger.published).as_dict(private=False))
                elif path == "/me":
                    self.answer(forger.user)
                else:
                    self.answer({"error": "invalid_request"}, 404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                forger.asked.append(self.path)
                forger.forms.append({name: many[0] for name, many in parse_qs(body).items()})
                if self.path in forger.broken:
                    status, answer = forger.broken[self.path]
                    self.answer(answer, status)
                elif forger.token is None:
                    self.answer({"error": "invalid_grant"}, 400)
                else:
                    self.answer({"access_token": "an-access-token", "token_type": "Bearer", "id_token": forger.token})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"], "id_token_signing_alg_values_supported": ["RS256"],
            "end_session_endpoint": f"{self.issuer}/end", **self.metadata,
        }  # fmt: skip

    def sign(self, claims: dict[str, Any], key: Any = None, **header: Any) -> str:
        """A token of these claims."""
        key = key or self.key
        told = {"alg": "RS256", "kid": key.kid, **header}
        return jwt.encode(told, claims, key, algorithms=[told["alg"]])

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join(PATIENCE)
        self.server.server_close()


@contextmanager
def forger() -> Iterator[Forger]:
    made = Forger()
    try:
        yield made
    finally:
        made.stop()
