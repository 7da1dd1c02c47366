"""What views declare so that programs may call them: the list that they show, the form that they take, the file that they send.

``console.api`` makes an operation of each declared view, at the view's own address below ``/api/v1``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from quota.actors import Role

View = TypeVar("View", bound=Callable[..., Any])

LIST = "guanjia_listed"
ACT = "guanjia_takes"
DOWNLOAD = "guanjia_downloads"
UNFIT = "guanjia_unfit"


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a view reads by its name, outside any form class. ``kind``: int, str, bool (sent as 1) or date; ``values``
    are the only ones taken; ``many``: a list of such. A dict's entries become fields of their own, ``joint`` between its name and
    theirs."""

    name: str
    kind: type = str
    label: str = ""
    required: bool = False
    longest: int | None = None
    values: Sequence[str] = ()
    many: bool = False
    joint: str = "-"


GENERATION = Given("generation", int)


@dataclass(frozen=True, slots=True)
class ListDeclaration:
    """A list: its columns and filters as far as they are known without the book (``open``: there may be others), and what more
    is told of one row alone (``alone`` is False where rows are sums, and no thing of their own). ``at`` is added to the address where the page at it is about the whole that holds the list."""

    columns: Sequence[Any]
    filters: Sequence[Any] = ()
    more: Sequence[Any] = ()
    at: str = ""
    args: Sequence[Given] = ()
    open: bool = False
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Takes:
    """An act: its form class (or what makes it, where it hangs on the book's resource classes), or further values. ``sends`` is what the last of its pages sends along (that one has seen the
    consequence); ``args`` go into the query. ``each`` names the values that the part ``of`` of the address may have, each with the
    form of its own. ``own`` are fields of the form that its page fills in for itself; ``by``: who of the view's readers acts (all
    where empty)."""

    form: type | Callable[[], type] | None = None
    given: Sequence[Given] = ()
    sends: Mapping[str, str] = field(default_factory=dict)
    args: Sequence[Given] = ()
    each: Callable[[], Mapping[str, Takes]] | None = None
    of: str = ""
    own: Collection[str] = ()
    by: Collection[Role] = ()
    stamp: Callable[[], object] | None = None

    @property
    def made(self) -> type | None:
        """The form class, with what the book knows at this moment."""
        return self.form if self.form is None or isinstance(self.form, type) else self.form()


@dataclass(frozen=True, slots=True)
class Download:
    """A file, of one of these media types."""

    types: Sequence[str]


def listed(
    columns: Sequence[Any],
    filters: Sequence[Any] = (),
    *,
    more: Sequence[Any] = (),
    at: str = "",
    args: Sequence[str] = (),
    open: bool = False,  # noqa: A002 - as in descriptions: an open schema
    alone: bool = True,
) -> Callable[[View], View]:
    """Programs may read the view's list. ``args`` are parameters that the view reads itself, or filters whose choices are in the
    book."""
    return _marked(LIST, ListDeclaration(columns, filters, more, at, [Given(one) for one in args], open, alone))


def takes(
    form: type | Callable[[], type] | None = None,
    *given: Given,
    sends: Mapping[str, str] | None = None,
    args: Sequence[Given] = (),
    each: Callable[[], Mapping[str, Takes]] | None = None,
    of: str = "",
    own: Collection[str] = (),
    by: Collection[Role] = (),
) -> Callable[[View], View]:
    """Programs may send the view's form."""
    return _marked(ACT, Takes(form, given, sends or {}, args, each, of, own, by))


def downloads(*types: str) -> Callable[[View], View]:
    """Programs may fetch the view's file."""
    return _marked(DOWNLOAD, Download(types))


def unfit(why: str) -> Callable[[View], View]:
    """The view's form is for people alone: ``why``."""
    return _marked(UNFIT, why)


def _marked(name: str, value: object) -> Callable[[View], View]:
    def mark(view: View) -> View:
        setattr(view, name, value)
        return view

    return mark
