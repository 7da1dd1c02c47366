"""What a request of a program asks beside its address: kept with the request, set by ``console.api`` before a view runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from flask import g, has_request_context

_KEY = "asked_by_program"


@dataclass(frozen=True, slots=True)
class Asked:
    """``one``: the key of the only row that is wanted of a list; ``more``: columns that are told of one alone; ``args``: names of
    parameters that the view reads itself."""

    one: Any = None
    more: Sequence[Any] = ()
    args: frozenset[str] = frozenset()


def begin(asked: Asked) -> None:
    """This request is answered for a program."""
    setattr(g, _KEY, asked)


def found() -> Asked | None:
    """What the program asks; None where this is a page."""
    return cast("Asked | None", g.get(_KEY)) if has_request_context() else None


def by_program() -> bool:
    """Whether this request is answered for a program."""
    return found() is not None
