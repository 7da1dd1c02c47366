"""A real CAS server (django-cas-server) beside a test, and one that answers whatever a test wants of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE, ended, free_port, listening

SCRIPT = Path(__file__).with_name("run_cas.py")
SECRET = "Lu-xun-1881"
PEOPLE: dict[str, dict[str, Any]] = {
    "chen.hao": {"displayName": "陈浩", "employeeNumber": "E-1001", "orgCode": "A01", "memberOf": ["staff", "all"]},
    "auditor1": {"displayName": "与账号同名", "employeeNumber": "E-1002", "memberOf": ["auditors"]},
    "nobody.here": {"displayName": "无角色", "employeeNumber": "E-1003"},
}


@dataclass
class CasServer:
    """A running server: its address, and the people that it knows (login → attributes); everybody's password is SECRET."""

    address: str
    file: Path
    people: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tell(self, login: str, **attributes: Any) -> None:
        """From now on the server says this of somebody who logs in."""
        self.people[login] = {**self.people.get(login, {}), **attributes}
        told = {one: {"password": SECRET, "attributes": about} for one, about in self.people.items()}
        self.file.write_text(json.dumps(told), encoding="utf-8")


@contextmanager
def cas_server(folder: Path, *callbacks: str) -> Iterator[CasServer]:
    """A server that knows the services that come back to ``callbacks`` (the part before their query)."""
    port = free_port()
    found = CasServer(f"http://127.0.0.1:{port}/cas", folder / "cas-people.json")
    for login, attributes in PEOPLE.items():
        found.tell(login, **attributes)
    services = [rf"^{re.escape(one)}(\?.*)?$" for one in callbacks]
    told = {"port": port, "services": services, "people": str(found.file), "folder": str(folder)}
    command = [sys.executable, str(SCRIPT), json.dumps(told)]
    with (folder / "cas.log").open("w") as log, ended(subprocess.Popen(command, stdout=log, stderr=log)):
        listening(port)
        yield found


SUCCESS = """<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess>
<cas:user>{user}</cas:user>{more}</cas:authenticationSuccess></cas:serviceResponse>"""


class Answerer:
    """A server that a test speaks for: ``body`` is what it says of any ticket, ``login`` what of its login page."""

    def __init__(self) -> None:
        self.status, self.body = 200, SUCCESS.format(user="chen.hao", more="").encode()
        self.login: tuple[int, str] = (200, "")
        self.asked: list[str] = []
        answerer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_about: Any) -> None:
                pass

            def do_GET(self) -> None:
                answerer.asked.append(self.path)
                entering = self.path.startswith("/cas/login")
                status, body = (answerer.login[0], b"") if entering else (answerer.status, answerer.body)
                self.send_response(status)
                if entering and answerer.login[1]:
                    self.send_header("Location", answerer.login[1])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/cas"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def says(self, user: str = "chen.hao", more: str = "") -> None:
        self.body = SUCCESS.format(user=user, more=more).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join(PATIENCE)
        self.server.server_close()


@contextmanager
def answerer() -> Iterator[Answerer]:
    made = Answerer()
    try:
        yield made
    finally:
        made.stop()


def left(ticket: str) -> str:
    """What a server sends about a session that ended there."""
    return (
        '<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="LR-1" Version="2.0" '
        'IssueInstant="2026-06-01T12:00:00Z"><saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">@NOT_USED@'
        f"</saml:NameID><samlp:SessionIndex>{ticket}</samlp:SessionIndex></samlp:LogoutRequest>"
    )
