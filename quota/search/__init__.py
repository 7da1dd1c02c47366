"""The search: one kept index of what things are called, over all rooms that enter theirs (``register``).

An entry is written with the row that it is of, in the same transaction (``keep``, called by ``Book.transaction``), so that it is
never behind; who may see what is found is asked of the room that it belongs to.
"""

from __future__ import annotations

from quota.search.checks import check, check_strays
from quota.search.entries import BESIDE, SOUGHT, SearchEntry, Sought, fill, found, keep, place, register
from quota.search.grams import normal, pairs, words

__all__ = [
    "BESIDE",
    "SOUGHT",
    "SearchEntry",
    "Sought",
    "check",
    "check_strays",
    "fill",
    "found",
    "keep",
    "normal",
    "pairs",
    "place",
    "register",
    "words",
]
