"""Filters of lists that choose among many: an address names a row by its id, as links do, or by what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from console.choices import fields, matching
from console.choices.matching import MOST, Choosable, Named, Unclear
from console.security import row_or
from quota.db import Tx


@dataclass(frozen=True)
class Narrowed:
    """``value``: the id that the address means, one of the extra values, or "". ``options``: what is chosen from, where it is short;
    else ``text`` stands in the input and ``first`` is suggested. ``unknown``: the address means none that there is."""

    value: str
    options: Mapping[str, str] | None = None
    text: str = ""
    first: list[Named] = field(default_factory=list)
    unknown: bool = False


def narrowed(tx: Tx, key: str, among: Choosable, extra: Mapping[str, str], said: str) -> Narrowed:
    """What ``said`` in the address means to the filter ``key``."""
    fields.suggestions(tx, key, among)
    rows = matching.some(tx, among, MOST + 1)
    if len(rows) <= MOST:
        return Narrowed(said, options={**{str(one.id): one.name for one in rows}, **extra})
    first = rows[: matching.SUGGESTED]
    if said in extra or not said:
        return Narrowed(said, text=extra.get(said, ""), first=first)
    typed = next((value for value, label in extra.items() if label == said), None)
    if typed is not None:
        return Narrowed(typed, text=said, first=first)
    number = row_or(said, 0)
    one = matching.by_id(tx, among, number) if number else None
    try:
        one = one or matching.found(tx, among, said)
    except Unclear:
        near = matching.suggested(tx, among, said)
        if len(near) != 1:
            return Narrowed("", text=said, first=near or first, unknown=True)
        one = near[0]  # nothing but what is looked at hangs on it
    return Narrowed(str(one.id), text=one.written, first=first)
