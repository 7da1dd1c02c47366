"""The book as one web request sees it: who asks, one view of the data for reading, a transaction for each change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flask import Flask, current_app, g, request
from flask_login import current_user

from console.settings import Settings
from metering.lake import Lake
from quota.actors import Actor, nobody
from quota.db import Book, Tx

EXTENSION = "guanjia"


class House:
    """What the application holds for all requests: settings and the open book."""

    def __init__(self, settings: Settings, book: Book) -> None:
        self.settings = settings
        self.book = book
        self.lake: Lake | None = None


def house() -> House:
    found: House = current_app.extensions[EXTENSION]
    return found


def settings() -> Settings:
    return house().settings


def book() -> Book:
    return house().book


def lake() -> Lake:
    """The lake, opened when first asked for."""
    held = house()
    if held.lake is None:
        held.lake = Lake(held.settings.lake_dir)
    return held.lake


def actor() -> Actor:
    """The person behind this request, as the book knows actors."""
    if current_user and current_user.is_authenticated:
        # What is done by a token says so in the trail.
        place = " ".join(filter(None, (request.remote_addr, g.get("acting_by"))))
        return current_user.actor(place, g.get("request_id", ""))  # type: ignore[no-any-return]
    return nobody(request.remote_addr or "", g.get("request_id", ""))


def reading() -> Tx:
    """This request's view of the book: opened when first asked for, the same until it ends, never committed.

    Pages read through it, so that templates may follow relationships and all figures of a page are of one moment.
    """
    if "tx" not in g:
        g.tx = _open().enter_context(book().reading(actor()))
    tx: Tx = g.tx
    return tx


@contextmanager
def transaction() -> Iterator[Tx]:
    """A transaction by this request's person, committed when the block ends. What is read afterwards sees it."""
    with book().transaction(actor()) as tx:
        yield tx
    g.pop("tx", None)


def _open() -> ExitStack:
    if "book_open" not in g:
        g.book_open = ExitStack()
    stack: ExitStack = g.book_open
    return stack


def _close(_error: BaseException | None = None) -> None:
    stack = g.pop("book_open", None)
    g.pop("tx", None)
    if stack is not None:
        stack.close()


def attach(app: Flask, settings: Settings, book: Book) -> None:
    """Give ``app`` its house, and close what a request opened when it ends."""
    app.extensions[EXTENSION] = House(settings, book)
    app.teardown_request(_close)
