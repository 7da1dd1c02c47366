"""Where the inputs of two editions of one report differ, figure by figure. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEYS = (
    "month", "period", "zone", "pool", "provider", "department", "code", "system", "kind", "arch", "level", "what",
    "state", "low", "title", "started",
)  # fmt: skip
"""By which fields the rows of a list are told apart, in this order; what a row lacks does not count."""

LEFT_OUT = frozenset({"rests_on", "layout"})
"""What is no figure of the report."""


@dataclass(frozen=True, slots=True)
class EditionDifference:
    """``section`` and ``figure`` as inputs name them, ``row`` what tells it apart ("" where there is one alone); None: not there
    before, or not any more."""

    section: str
    row: str
    figure: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[EditionDifference]:
    """In the order of the later document. A section that one of the two does not have is told by another release of the console: that
    it came or went corrects nothing."""
    both = before.keys() & after.keys()
    old = {one[:3]: one[3] for one in _leaves({name: before[name] for name in before if name in both})}
    new = {one[:3]: one[3] for one in _leaves({name: after[name] for name in after if name in both})}
    found = [EditionDifference(*key, old.get(key), figure) for key, figure in new.items() if old.get(key) != figure]
    found += [
        EditionDifference(*key, figure, None) for key, figure in old.items() if key not in new and figure is not None
    ]
    return found


def _leaves(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    for section in document:
        if section not in LEFT_OUT:
            yield from _within(section, "", "", document[section])


def _within(section: str, row: str, figure: str, value: Any) -> Iterator[tuple[str, str, str, Any]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _within(section, row, f"{figure}.{name}" if figure else str(name), one)
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        for place, one in enumerate(value):
            named = [str(one[key]) for key in KEYS if one.get(key) is not None]
            rest = {name: figure for name, figure in one.items() if name not in KEYS}
            yield from _within(section, " · ".join(named) or str(place + 1), figure, rest)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            name = f"{figure}.{one[0]}" if isinstance(one, list) and len(one) == 2 else f"{figure}.{place + 1}"
            yield section, row, name, one[1] if isinstance(one, list) and len(one) == 2 else one
    else:
        yield section, row, figure, value
