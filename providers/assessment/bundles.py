"""A card to be proven elsewhere: one file with its formula, every row it rests on and its marks, and the sum done again from
that file alone.

Pure: no book is asked. A bundle carries a seal of each of its parts, so that what was changed is named; and the digest that
the book sealed the card with, by which whoever has it from elsewhere (the page, the trail, a notice) knows that it is this
card.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from providers.assessment.formula import Formula, from_json, to_json
from providers.assessment.measures import EvidenceRow
from providers.assessment.scorecard import Evidence, Mark, Scorecard, score, seal
from quota.errors import N_, Invalid, Refused
from quota.seals import fingerprint, plain

FORMAT = "guanjia-scorecard-1"
MOST_BYTES = 512 * 1024 * 1024


def bundle(head: Mapping[str, Any], formula: Formula, evidence: Evidence, card: Scorecard) -> bytes:
    """The file of a card. ``head``: what it is called by (plain JSON with its ``digest``), told and not computed."""
    parts = {
        "format": FORMAT,
        "head": dict(head),
        "formula": to_json(formula),
        "evidence": {
            indicator: [[row.ref, plain(row.facts)] for row in rows] for indicator, rows in sorted(evidence.items())
        },
        "card": {
            "scored_weight": str(card.scored_weight),
            "total": None if card.total is None else str(card.total),
            "grade": None if card.grade is None else card.grade.value,
            "veto": list(card.veto),
        },
        "marks": [_mark(mark) for mark in card.marks],
    }
    return _spelled({**parts, "seals": dict(_seals(parts))})


def _mark(mark: Mark) -> dict[str, Any]:
    def text(figure: Decimal | None) -> str | None:
        return None if figure is None else str(figure)

    return {
        "indicator": mark.indicator, "weight": str(mark.weight), "share": str(mark.share), "figure": text(mark.figure),
        "deduction": text(mark.deduction), "mark": text(mark.mark), "reason": mark.reason, "params": plain(mark.params),
    }  # fmt: skip


def _seals(parts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Place in the file → digest of what stands there: a rule, a row, a mark each by itself."""
    yield "head", fingerprint(parts["head"])
    formula = dict(parts["formula"])
    for place, rule in enumerate(formula.pop("rules"), 1):
        yield f"formula.rules.{place}", fingerprint(rule)
    yield "formula", fingerprint(formula)
    for indicator, rows in parts["evidence"].items():
        for place, row in enumerate(rows, 1):
            yield f"evidence.{indicator}.{place}", fingerprint(row)
    yield "card", fingerprint(parts["card"])
    for place, mark in enumerate(parts["marks"], 1):
        yield f"marks.{place}", fingerprint(mark)


def _spelled(raw: Mapping[str, Any]) -> bytes:
    return (json.dumps(raw, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def read(data: bytes) -> dict[str, Any]:
    """The parts of a file. Raises Invalid for what is no bundle, saying where it stops making sense."""
    if len(data) > MOST_BYTES:
        raise Invalid("bundle.large", N_("文件过大,不是评分验算包"))
    try:
        raw = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Invalid("bundle.json", N_("不是评分验算包:%(why)s"), why=str(error)[:200]) from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise Invalid("bundle.format", N_("不是评分验算包:%(why)s"), why="format")
    shapes = {"head": dict, "formula": dict, "evidence": dict, "card": dict, "marks": list, "seals": dict}
    for name, shape in shapes.items():
        if not isinstance(raw.get(name), shape):
            raise Invalid("bundle.part", N_("不是评分验算包:%(why)s"), why=name)
    return raw


def faults(data: bytes, digest: str = "") -> list[str]:
    """What of a file does not agree: with its seals, with the sum done again from its formula and rows, with the book's
    ``digest`` as it is known from elsewhere. Empty: it is equal. Raises Invalid for what is no bundle."""
    raw = read(data)
    try:
        found = [*_unsealed(raw), *_unequal(raw)]
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        found = [*_broken(raw), f"shape: {type(error).__name__} {error}"]
    told = raw["head"].get("digest")
    if digest and told != digest:
        found.append(f"head.digest: the file says {told}, not {digest}")
    if not found and data != _spelled(raw):
        found.append(f"byte {_first_difference(data, _spelled(raw))}: not as the console writes it")
    return found


def _broken(raw: Mapping[str, Any]) -> list[str]:
    """The seals of a file whose shape is not that of a bundle any more, as far as they can be held against it."""
    try:
        return list(_unsealed(raw))
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def _unsealed(raw: Mapping[str, Any]) -> Iterator[str]:
    extra = raw.keys() - {"format", "head", "formula", "evidence", "card", "marks", "seals"}
    yield from (f"{name}: is no part of a bundle" for name in sorted(extra))
    now = dict(_seals(raw))
    for place in [*now, *(place for place in raw["seals"] if place not in now)]:
        if place not in now:
            yield f"{place}: is missing"
        elif place not in raw["seals"]:
            yield f"{place}: was not there when the file was written"
        elif raw["seals"][place] != now[place]:
            yield f"{place}: was changed"


def _unequal(raw: Mapping[str, Any]) -> Iterator[str]:
    try:
        formula = from_json(raw["formula"])
        evidence: dict[str, Sequence[EvidenceRow]] = {
            indicator: [EvidenceRow(ref, facts) for ref, facts in rows] for indicator, rows in raw["evidence"].items()
        }
        card = score(evidence, formula)
    except Refused as refused:
        yield f"formula: can't be scored again here: {refused.params.get('why', refused.code)}"
        return
    told = {
        "scored_weight": str(card.scored_weight),
        "total": None if card.total is None else str(card.total),
        "grade": None if card.grade is None else card.grade.value,
        "veto": list(card.veto),
    }
    for name, figure in told.items():
        if not _same(raw["card"].get(name), figure):
            yield f"card.{name}: says {raw['card'].get(name)}, its rows give {figure}"
    for place, (kept, mark) in enumerate(zip_longest(raw["marks"], card.marks), 1):
        if kept is None or mark is None:
            yield f"marks.{place}: is not one of the formula's"
            continue
        for name, figure in _mark(mark).items():
            if not _same(kept.get(name), figure):
                yield f"marks.{place}.{name} ({mark.indicator}): says {kept.get(name)}, its rows give {figure}"
    if seal(formula, evidence, card) != raw["head"].get("digest"):
        yield "head.digest: is not what formula, rows and marks give"


def _same(told: Any, figure: Any) -> bool:
    """Figures are kept with the decimals of the book's columns: 5 and 5.00 are one."""
    if isinstance(told, str) and isinstance(figure, str):
        try:
            return Decimal(told) == Decimal(figure)
        except ArithmeticError:
            return told == figure
    return bool(told == figure)


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = zip_longest(one, other)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), 0)
