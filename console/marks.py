"""Punctuation of Chinese texts as GB/T 15834 has it, whichever width a source was typed with. Pure.

In a text that has Chinese in it a mark is Chinese (``，：；？！（）``) unless Latin stands on both sides of it: a figure (1,024), a
time (10:30), an address, JSON, codes in a list (``a100, b200``). Brackets are Latin where they hold and follow nothing else:
``rate(x)``. What a place holds is not looked at, so that names and figures stay as people wrote them.
"""

from __future__ import annotations

import re

_FULL = dict(zip(",;:?!()", "，；：？！（）", strict=True))
_HAN = re.compile(r"[\u3400-\u9fff]")
_PLACE = re.compile(r"%\(\w+\)[sdf]")
_HELD = "\ue000"
_LOOSE = re.compile(r"(?<=[，；：？！）]) | (?=（)")


def chinese(source: str) -> str:
    """``source``, with its ``%(places)s``, with Chinese marks; one without Chinese as it is."""
    if not _HAN.search(source):
        return source
    places = iter(_PLACE.findall(source))
    signs = list(_PLACE.sub(_HELD, source))
    _brackets(signs)
    for at, sign in enumerate(signs):
        if sign in ",:?!" and _latin(_beside(signs, at, -1)) and _latin(_beside(signs, at, 1)):
            continue
        if sign not in "()":
            signs[at] = _FULL.get(sign, sign)
    return re.sub(_HELD, lambda _: next(places), _LOOSE.sub("", "".join(signs)))


def _brackets(signs: list[str]) -> None:
    opened: list[int] = []
    for at, sign in enumerate(signs):
        if sign == "(":
            opened.append(at)
        elif sign == ")" and opened:
            start = opened.pop()
            if not (_latin(_beside(signs, start, -1)) and "".join(signs[start : at + 1]).isascii()):
                signs[start], signs[at] = _FULL["("], _FULL[")"]


def _beside(signs: list[str], at: int, step: int) -> str:
    """The sign before or after ``at``, over one blank; "" at the ends."""
    for place in (at + step, at + 2 * step):
        if not 0 <= place < len(signs):
            return ""
        if signs[place] != " ":
            return signs[place]
    return ""


def _latin(sign: str) -> bool:
    return "!" <= sign <= "~"
