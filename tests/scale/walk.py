"""Every page of every role of a city, each with cold caches: how many queries it takes, and how many rows it fetches.

    python -m tests.scale.walk DATA LAKE          walk from link to link; what was found as JSON
    python -m tests.scale.walk DATA LAKE PAGES    the same pages again, of another city

In a process of its own, so that nothing that a test looked at before is remembered.
"""

from __future__ import annotations

import functools
import gc
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from console import access, lists
from console.access import EVERYBODY, rule
from console.accounts import Origin, sessions
from console.accounts.proofs import PASSWORD, Proof
from console.api.operations import PREFIX
from console.app import create_app
from console.book import EXTENSION
from console.settings import Settings
from quota.actors import Role, steward
from quota.db import Book, Tx
from quota.directory.people import Person

HOUSE = ("console.", "metering.", "providers.", "quota.")
UNASKED = "console.api."
"""What of the house remembers nothing of a book: the models and the description of the API, two seconds' work each time."""
LINK = re.compile(r'href="([^"#]+)')


class Counter:
    """What the database was asked, and what was fetched of its answers."""

    def __init__(self) -> None:
        self.in_list = False
        self.begin()

    def begin(self) -> None:
        self.queries = self.rows = 0
        self.listed: list[tuple[str, Any]] = []


COUNTER = Counter()


class Cursor(sqlite3.Cursor):
    """A cursor that counts what is fetched from it."""

    def fetchone(self) -> Any:
        row = super().fetchone()
        COUNTER.rows += row is not None
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        rows = super().fetchmany(self.arraysize if size is None else size)
        COUNTER.rows += len(rows)
        return rows

    def fetchall(self) -> list[Any]:
        rows = super().fetchall()
        COUNTER.rows += len(rows)
        return rows

    def __next__(self) -> Any:
        row = super().__next__()
        COUNTER.rows += 1
        return row


class Connection(sqlite3.Connection):
    """A connection whose cursors count."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)


def counted(book: Book) -> None:
    """Count what is asked of ``book`` from now on."""

    @event.listens_for(book.engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        options["factory"] = Connection

    @event.listens_for(book.engine, "before_cursor_execute")
    def asked(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        COUNTER.queries += 1
        if COUNTER.in_list and " LIMIT " in statement:
            COUNTER.listed.append((statement, values))

    fetched = lists._fetched

    def page(tx: Tx, query: Any) -> Any:
        COUNTER.in_list = True
        try:
            return fetched(tx, query)
        finally:
            COUNTER.in_list = False

    lists._fetched = page


@functools.cache
def caches() -> list[Any]:
    """Whatever the house remembers from one request to the next."""
    wrappers = [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]
    names = {one: f"{one.__module__}." for one in wrappers}
    return [one for one, name in names.items() if name.startswith(HOUSE) and not name.startswith(UNASKED)]


def cold() -> None:
    for one in caches():
        one.cache_clear()


def client_of(app: Flask, person_id: int) -> FlaskClient:
    """Somebody who has logged in, without the seconds that a password takes."""
    client = app.test_client()
    with app.extensions[EXTENSION].book.transaction(steward("test")) as tx:
        who = tx.get_one(Person, person_id)
        token = sessions.start(tx, who, Proof(who.id, PASSWORD, who.session_epoch), Origin("127.0.0.1"))
    with app.test_request_context("/"):
        from flask import session

        access.begin(token)
        begun = dict(session)
    with client.session_transaction() as session:
        session.update(begun)
    return client


def look(client: FlaskClient, book: Book, url: str) -> tuple[dict[str, Any], str]:
    """One page with cold caches: what it took, and its text where it is one."""
    cold()
    COUNTER.begin()
    answer = client.get(url)
    text = answer.get_data(as_text=answer.mimetype == "text/html")
    found = {"url": url, "status": answer.status_code, "queries": COUNTER.queries, "rows": COUNTER.rows}
    found["file"] = answer.headers.get("Content-Disposition", "").startswith("attachment")
    sorting = [count for one in list(COUNTER.listed) if (count := _sorted(book, *one)) is not None]
    found["sorted"] = max(sorting, default=None)
    answer.close()
    return found, text if isinstance(text, str) else ""


def _sorted(book: Book, statement: str, values: Any) -> int | None:
    """How many rows a list puts in order before it shows a page: all that it could show; None where an index serves."""
    whole, _limit, page = statement.rpartition(" LIMIT ")
    with book.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
        if not any(re.search(r"TEMP B-TREE FOR (LAST TERM OF )?ORDER BY", str(one)) for one in plan):
            return None
        of_all = tuple(values)[: len(values) - page.count("?")]
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM ({whole})", of_all).scalar_one())


def links(app: Flask, text: str) -> Iterator[tuple[str, str]]:
    """(endpoint, address) of the house's own pages that a page leads to, without their parameters."""
    adapter = app.url_map.bind("localhost")
    for href in LINK.findall(text):
        path = urlsplit(href.replace("&amp;", "&"))
        if path.netloc or not path.path.startswith("/"):
            continue
        try:
            endpoint, _args = adapter.match(path.path, method="GET")
        except (HTTPException, RequestRedirect):
            continue
        yield endpoint, path.path


def own(app: Flask, role: Role) -> dict[str, str]:
    """Pages without a parameter in their address that are for ``role``: endpoint → address."""
    return {
        one.endpoint: one.rule
        for one in app.url_map.iter_rules()
        if "GET" in (one.methods or ()) and not one.arguments and _is_for(app, one.endpoint, role)
    }


def _is_for(app: Flask, endpoint: str, role: Role) -> bool:
    roles = rule(app, endpoint)
    return bool(roles) and role in (roles or ()) and not endpoint.startswith(PREFIX)


def walk(app: Flask, book: Book, role: Role, person_id: int) -> dict[str, Any]:
    """Each page once, by the first link that leads to it: endpoint → what it took."""
    client, found, waiting = client_of(app, person_id), {}, list(own(app, role).items())
    while waiting:
        endpoint, url = waiting.pop(0)
        if endpoint in found:
            continue
        took, text = look(client, book, url)
        if took["status"] != 200 and any(one == endpoint for one, _url in waiting):
            continue  # another link may lead there
        found[endpoint] = took
        waiting += [
            (other, path) for other, path in links(app, text) if other not in found and _is_for(app, other, role)
        ]
    return {endpoint: took for endpoint, took in found.items() if took["status"] == 200}


def again(app: Flask, book: Book, pages: dict[str, Any], person_id: int) -> dict[str, Any]:
    """The same pages as in another city."""
    client = client_of(app, person_id)
    return {endpoint: look(client, book, took["url"])[0] for endpoint, took in pages.items()}


def main(data: str, lake: str, pages: str = "", roles: str = "") -> None:
    settings = Settings(data=Path(data), lake=Path(lake), demo=True)
    book = Book(settings.database_url)
    counted(book)
    app = create_app(settings, book)
    known = json.loads(Path(pages).read_text())["pages"] if pages else None
    found = {}
    for role in [Role(one) for one in roles.split(",")] if roles else EVERYBODY:
        with book.reading() as tx:
            person = tx.scalar(select(Person.id).where(Person.role == role.value, Person.granted).order_by(Person.id))
        if person is not None:
            found[role.value] = (
                walk(app, book, role, person) if known is None else again(app, book, known[role.value], person)
            )
    book.dispose()
    json.dump(
        {
            "pages": found,
            "all": sorted(
                one.endpoint
                for one in app.url_map.iter_rules()
                if "GET" in (one.methods or ()) and any(_is_for(app, one.endpoint, role) for role in EVERYBODY)
            ),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
