"""The frame that every page hangs in: sections and their pages, the blocks of the home pages, the search.

View modules enter themselves here when they are imported; the order is fixed here, not by who came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, g, request, url_for
from flask_login import current_user
from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from console import manuals
from console.access import may
from console.book import actor, reading, settings
from console.forms import always_chosen, problems
from console.security import local, same_origin
from console.settings import Settings, named
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, Refused

SECTIONS: dict[str, tuple[str, str]] = {
    "requests": (N_("申请"), "file-text"),
    "quota": (N_("配额"), "scale"),
    "resources": (N_("资源"), "server"),
    "cases": (N_("闲收忙扩"), "recycle"),
    "providers": (N_("云服务商"), "cloud"),
    "reports": (N_("报表"), "chart-bar"),
    "audit": (N_("审计"), "shield-check"),
    "settings": (N_("设置"), "settings"),
}
"""Navigation by what things are, in this order for everybody."""


Count = Callable[[Tx, Actor], int]


@dataclass(frozen=True, slots=True)
class Page:
    """A page that the navigation leads to."""

    section: str
    endpoint: str
    label: str
    order: int
    count: Count | None = None

    @property
    def waiting(self) -> int:
        """How many things there the visitor has not seen."""
        return self.count(reading(), actor()) if self.count else 0

    @property
    def here(self) -> bool:
        """Whether the page of this request belongs to it."""
        return self.endpoint == _endpoint_here()


@dataclass(frozen=True, slots=True)
class NavigationSection:
    """A section as one visitor sees it: the pages that he may open."""

    name: str
    label: str
    icon: str
    pages: tuple[Page, ...]

    @property
    def here(self) -> bool:
        return any(one.here for one in self.pages)


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that the search found: what kind of thing, its title, its address, and a line about it."""

    kind: str
    title: str
    url: str
    detail: str = ""
    state: str = ""


Block = Callable[[Tx, Actor], "str | None"]
Finder = Callable[[Tx, Actor, str, int], Iterable[Hit]]

_pages: dict[str, Page] = {}
_guests: dict[str, str] = {}
_sections: dict[str, str] = {}
_blocks: dict[str, tuple[frozenset[Role], int, str, Block]] = {}
_finders: dict[str, tuple[tuple[Role, ...], int, Finder]] = {}


def _endpoint_here() -> str | None:
    """Where the navigation stands in this request: at its own endpoint, or for one of a blueprint that is no page itself at
    the page that the blueprint stands under or its first that the visitor may open. Asked by every entry of every page,
    so found once a request."""
    if "endpoint_here" not in g:
        g.endpoint_here = _found_here(request.endpoint, request.blueprint)
    found: str | None = g.endpoint_here
    return found


def _found_here(endpoint: str | None, blueprint: str | None) -> str | None:
    if endpoint is None or endpoint in _pages:
        return endpoint
    if blueprint in _guests:
        return _guests[blueprint]
    of_it = (one for one in _pages.values() if one.endpoint.partition(".")[0] == blueprint and may(one.endpoint))
    first = min(of_it, key=lambda one: one.order, default=None)
    return first.endpoint if first else None


def label(endpoint: str | None) -> str | None:
    """What the menu calls a page; None for one that it has not."""
    found = _pages.get(endpoint or "")
    return found.label if found else None


def page(section: str, endpoint: str, label: str, order: int = 50, count: Count | None = None) -> None:
    """Lead from ``section`` to ``endpoint``; whom it is shown to follows from the view's own rule. ``count``: how many
    things there somebody has not seen, told beside the label."""
    if section not in SECTIONS:
        raise ValueError(f"{section} is no section; there are {', '.join(SECTIONS)}")
    _pages[endpoint] = Page(section, endpoint, label, order, count)


def endpoints() -> list[str]:
    """Every page that the navigation leads to somebody."""
    return list(_pages)


def icons_address() -> str:
    """The address of the icons, found once a request: a list draws more than a hundred of them."""
    if "icons_address" not in g:
        g.icons_address = url_for("static", filename="icons.svg")
    return str(g.icons_address)


def help_here() -> str:
    """Where the visitor's manual speaks of this page."""
    found = _endpoint_here()
    known: dict[str, Any] = {"_anchor": manuals.anchor(found)} if found in _pages else {}
    return url_for("manuals.show", name=manuals.manual_of(actor().role).name, **known)


def section_of(endpoint: str) -> str:
    """The section that ``endpoint`` belongs to: that of its own entry, of its blueprint's first, or of the entry that its
    blueprint stands under, or that it was put into; "settings" for what belongs to none."""
    blueprint = endpoint.partition(".")[0]
    if blueprint in _sections:
        return _sections[blueprint]
    found = _pages.get(endpoint) or min(
        (one for one in _pages.values() if one.endpoint.partition(".")[0] == blueprint),
        key=lambda one: one.order,
        default=_pages.get(_guests.get(blueprint, "")),
    )
    return found.section if found else "settings"


def under(endpoint: str, blueprint: str) -> None:
    """Have the pages of ``blueprint``, to which no section leads by itself, stand under ``endpoint``."""
    _guests[blueprint] = endpoint


def within(section: str, blueprint: str) -> None:
    """Have the pages of ``blueprint``, to which no navigation leads, belong to ``section`` where programs are given scopes."""
    _sections[blueprint] = section


def home_block(*roles: Role, order: int = 50, side: bool = False) -> Callable[[Block], Block]:
    """Show a block on the home page of ``roles``: a function that renders it, or returns None for nothing to show."""

    def enter(block: Block) -> Block:
        _blocks[f"{block.__module__}.{block.__name__}"] = (
            frozenset(roles),
            order,
            "side" if side else "main",
            block,
        )
        return block

    return enter


def shortened(tx: Tx, query: Select[Any], most: int) -> tuple[list[Any], int]:
    """The first ``most`` of what a block tells of, and how many there are: counted only where there are more than are shown."""
    rows = list(tx.scalars(query.limit(most + 1)))
    if len(rows) <= most:
        return rows, len(rows)
    return rows[:most], tx.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0


def finder(*roles: Role, order: int = 50) -> Callable[[Finder], Finder]:
    """Take part in the search for ``roles``: ``(tx, actor, text, limit) → hits``, only of what the actor may see."""

    def enter(find: Finder) -> Finder:
        _finders[f"{find.__module__}.{find.__name__}"] = (roles, order, find)
        return find

    return enter


def sections() -> list[NavigationSection]:
    """What the visitor may open, in the fixed order."""
    result = []
    for name, (label, icon) in SECTIONS.items():
        pages = sorted((one for one in _pages.values() if one.section == name), key=lambda one: one.order)
        open_to = tuple(one for one in pages if may(one.endpoint))
        if open_to:
            result.append(NavigationSection(name, label, icon, open_to))
    return result


def blocks(tx: Tx, actor: Actor) -> dict[str, list[str]]:
    """The home page of ``actor``: rendered blocks by column ("main", "side")."""
    columns: dict[str, list[str]] = {"main": [], "side": []}
    for roles, _order, column, block in sorted(_blocks.values(), key=lambda entry: entry[1]):
        if actor.role in roles:
            html = block(tx, actor)
            if html:
                columns[column].append(html)
    return columns


def find(tx: Tx, actor: Actor, text: str, limit: int = 10) -> list[Hit]:
    """What the search finds for ``text``: up to ``limit`` hits from each finder, in the finders' order."""
    return [
        hit
        for roles, _order, one in sorted(_finders.values(), key=lambda entry: entry[1])
        if actor.role in roles
        for hit in one(tx, actor, text, limit)
    ]


def matching(text: str, *columns: Any) -> ColumnElement[bool]:
    """What holds where one of ``columns`` holds ``text`` anywhere, as it stands: its ``%`` and ``_`` mean themselves."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return or_(*(column.ilike(f"%{escaped}%", escape="\\") for column in columns))


LOOKS = ("auto", "light", "dark")


def here() -> str:
    """The address of this page, to come back to; of the home page where this was not a page one can come back to."""
    return request.full_path.rstrip("?") if request.method == "GET" and request.url_rule else "/"


def back() -> str:
    """The page of this site that led here, else the home page."""
    if same_origin() and request.referrer:
        parts = urlsplit(request.referrer)
        return local(parts.path + (f"?{parts.query}" if parts.query else ""))
    return "/"


def granters() -> list[str]:
    """Names of those who grant rights: the active security administrators."""
    return list(
        reading().scalars(
            select(Person.name)
            .where(Person.role == Role.SECADMIN.value, Person.active, Person.granted)
            .order_by(Person.name)
            .limit(5)
        )
    )


def _named() -> Settings:
    """The settings with the city's own names; as they stand where the book cannot be read, so that a page can say so. Asked of the
    book once a request, however many templates a page is made of."""
    if "named" not in g:
        try:
            g.named = named(settings(), reading())
        except (SQLAlchemyError, Refused):
            return settings()
    found: Settings = g.named
    return found


def attach(app: Flask) -> None:
    """Let templates draw the frame."""
    app.jinja_env.globals.update(
        icons_address=icons_address,
        here=here,
        back=back,
        help_here=help_here,
        granters=granters,
        problems=problems,
        always_chosen=always_chosen,
    )

    @app.context_processor
    def _frame() -> dict[str, object]:
        look = request.cookies.get("look", "")
        return {
            "sections": sections() if current_user.is_authenticated else [],
            "settings": _named(),
            "look": look if look in LOOKS else LOOKS[0],
        }
