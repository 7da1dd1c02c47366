"""The operations of the API: each declared view at its own address below ``/api/v1``.

A list (``GET …``), one of its rows (``GET …/12``), an act (``POST``), a file (``GET``). Nothing is written twice: an operation is
the view, called for a program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from console import frame
from console.access import rule as roles_of
from console.programs import ACT, DOWNLOAD, LIST, UNFIT, Download, ListDeclaration, Takes
from quota.actors import Role

ROOT = "/api/v1"
PREFIX = "api."
"""Endpoints of operations begin with this."""


class Sort(StrEnum):
    LIST = "list"
    ONE = "one"
    ACT = "act"
    FILE = "file"


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation. ``rule``: its address as werkzeug has it; ``view`` is the console's; ``values`` are parts of the view's
    address that are settled here; ``scope`` is what a token must allow."""

    name: str
    sort: Sort
    rule: str
    view: Callable[..., Any]
    roles: frozenset[Role]
    scope: str
    listed: ListDeclaration | None = None
    takes: Takes | None = None
    download: Download | None = None
    values: tuple[tuple[str, str], ...] = ()
    key: str = ""  # of one row: the name in the address

    @property
    def endpoint(self) -> str:
        return PREFIX + self.name

    @property
    def method(self) -> str:
        return "POST" if self.sort is Sort.ACT else "GET"

    @property
    def of_one(self) -> bool:
        """Whether it is done to one thing, which its address names."""
        return "<int:" in self.rule

    @property
    def section(self) -> str:
        return self.scope.partition(":")[0]

    @property
    def summary(self) -> str:
        """The first line of what the view says of itself."""
        said = (self.view.__doc__ or "").strip().splitlines()
        return said[0] if said else ""

    @property
    def model(self) -> str:
        """The name of its body or answer in the description."""
        return "".join(part.title() for part in re.split(r"\W|_", self.name))


READ, ACTS = "read", "act"


def scope(section: str, acts: bool) -> str:
    return f"{section}:{ACTS if acts else READ}"


def scopes_of(operations: Iterable[Operation], role: Role) -> list[str]:
    """What a token of somebody with ``role`` may be allowed: no more than the role may do, by sections of the navigation."""
    found = {one.scope for one in operations if role in one.roles}
    return [one for name in frame.SECTIONS for one in (scope(name, acts=False), scope(name, acts=True)) if one in found]


def operations(app: Flask) -> list[Operation]:
    """All operations of ``app``, by address."""
    rules = [one for one in app.url_map.iter_rules() if not one.endpoint.startswith(PREFIX)]
    shows = {one.rule: one for one in rules if "GET" in (one.methods or ())}
    found = [made for one in rules for made in _of(app, one, shows)]
    return sorted(found, key=lambda one: (one.rule, one.method))


def left_out(app: Flask) -> dict[str, str]:
    """Endpoints that take a form and are no operation: why, where the view says so; empty where nobody has declared it."""
    return {
        one.endpoint: getattr(app.view_functions[one.endpoint], UNFIT, "")
        for one in app.url_map.iter_rules()
        if "POST" in (one.methods or ())
        and not one.endpoint.startswith(PREFIX)
        and roles_of(app, one.endpoint)
        and not hasattr(app.view_functions[one.endpoint], ACT)
    }


def _of(app: Flask, rule: Rule, shows: dict[str, Rule]) -> Iterator[Operation]:
    view = app.view_functions[rule.endpoint]
    roles = roles_of(app, rule.endpoint)
    if not roles:
        return
    address, section = ROOT + rule.rule.rstrip("/"), frame.section_of(rule.endpoint)
    methods = rule.methods or set()
    listing: ListDeclaration | None = getattr(view, LIST, None)
    if listing is not None and "GET" in methods:
        at = f"{address}/{listing.at}" if listing.at else address
        read = scope(section, acts=False)
        yield Operation(rule.endpoint, Sort.LIST, at, view, roles, read, listed=listing)
        alone = _alone(rule.rule, shows)
        if alone is not None and listing.alone and not listing.at:
            key = next(iter(alone.arguments - rule.arguments))
            name = (
                f"{rule.endpoint.rpartition('.')[0]}.one"
                if rule.endpoint.endswith(".index")
                else f"{rule.endpoint}_one"
            )
            yield Operation(name, Sort.ONE, ROOT + alone.rule, view, roles, read, listed=listing, key=key)
    takes: Takes | None = getattr(view, ACT, None)
    if takes is not None and "POST" in methods:
        allowed = scope(section, acts=True)
        actors = roles & frozenset(takes.by or roles)
        if takes.each is None:
            yield Operation(_named(rule, app, listing), Sort.ACT, address, view, actors, allowed, takes=takes)
        for value, one in takes.each().items() if takes.each is not None else ():
            at = re.sub(rf"<(\w+:)?{takes.of}>", value, address)
            yield Operation(
                f"{rule.endpoint}.{value}", Sort.ACT, at, view, actors, allowed, takes=one, values=((takes.of, value),)
            )
    file: Download | None = getattr(view, DOWNLOAD, None)
    if file is not None and "GET" in methods:
        yield Operation(rule.endpoint, Sort.FILE, address, view, roles, scope(section, acts=False), download=file)


def _named(rule: Rule, app: Flask, listing: ListDeclaration | None) -> str:
    """The name of the act at ``rule``: the endpoint's, unless its list has it, or the act has a shorter address, too."""
    shortest = min(app.url_map.iter_rules(rule.endpoint), key=lambda one: len(one.arguments))
    more = sorted(rule.arguments - shortest.arguments)
    return ".".join([rule.endpoint, *(["act"] if listing is not None else []), *more])


def _alone(of: str, shows: dict[str, Rule]) -> Rule | None:
    """The page of one thing of the list at ``of``."""
    at = re.compile(re.escape(of.rstrip("/")) + r"/<int:\w+>$")
    return next((rule for text, rule in shows.items() if at.match(text)), None)
