"""Texts as pairs of neighbouring characters: what makes any part of a name findable, two Chinese characters as well. Pure.

On SQLite the pairs are the tokens of a full-text table, spelled in hexadecimal digits: a part of a text is a phrase of them, and
nothing that somebody types means anything there. PostgreSQL keeps them as an array in an index of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

BREAK = "\n"
"""Between the texts of an entry: in no text itself."""
_END = "z"
MOST_WORDS = 8


def normal(text: str) -> str:
    """As texts are compared: of either width, in capitals or not, one blank for many."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def words(text: str) -> list[str]:
    """What somebody typed as parts each of which must be found, the longest first."""
    return sorted(dict.fromkeys(normal(text).split(" ")), key=len, reverse=True)[:MOST_WORDS] if normal(text) else []


def pairs(word: str) -> list[str]:
    """The pairs of a word, each once."""
    return list(dict.fromkeys(word[at : at + 2] for at in range(len(word) - 1)))


@lru_cache(maxsize=65536)
def _digits(character: str) -> str:
    return f"{ord(character):06x}"


def tokens(text: str, marks: Iterable[str] = ()) -> str:
    """The tokens of a text as it is kept (several with BREAK between), and ``marks`` beside them."""
    spelled: list[str] = []
    for part in text.split(BREAK):
        digits = [_digits(one) for one in part]
        spelled += [one + other for one, other in pairwise(digits)]
        spelled += [*digits[-1:], _END]
    return " ".join((*spelled, *marks))


def phrase(wanted: Sequence[str], marks: Sequence[str] = ()) -> str:
    """What the full-text table is asked for: every word of ``wanted``, and one of ``marks`` where there are any."""
    parts = []
    for word in wanted:
        digits = [_digits(one) for one in word]
        together = " ".join(one + other for one, other in pairwise(digits))
        parts.append(f'"{together}"' if together else f"{digits[0]}*")
    if marks:
        parts.append(f"({' OR '.join(marks)})")
    return " AND ".join(parts)
