"""Measures: how rows of evidence become one figure, what it deducts, and the sentence that says so.

Pure: neither database nor clock. A measure is named by a formula's criterion and given the criterion's limits; None means
that the rows are too little to score from. What several indicators are measured by is here; what one alone is measured by
stands in its file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from quota.errors import N_

ZERO, ONE, HUNDRED = Decimal(0), Decimal(1), Decimal(100)


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One piece of evidence. ``ref`` names the row of the book (order:12, bill_line:7); ``facts`` are plain JSON, figures
    with decimals as text. Two facts mean the same for every indicator: ``veto`` (the code of a record kind) fails whom the
    row speaks of by itself, ``ok`` true says that the row costs nothing."""

    ref: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeasureResult:
    """What a measure found: the figure, what it deducts, and a sentence (a msgid with its params)."""

    value: Decimal
    deduction: Decimal
    reason: str
    params: Mapping[str, Any]


class FigureUnit(StrEnum):
    """What a figure or a limit is in. A SHARE is kept as a fraction of one and read in per cent."""

    SHARE = "share"
    COUNT = "count"
    POINTS = "points"
    STARS = "stars"
    MINUTES = "minutes"


@dataclass(frozen=True, slots=True)
class MeasureLimit:
    """A number that a measure is given by the formula, and what a reader knows it as. ``optional``: it may be left out."""

    name: str
    label: str
    unit: FigureUnit
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """``name`` stands in stored formulas and is permanent. ``compute`` knows the rows and the limits alone. ``label``: what one
    that a city may choose is called; ``unit``: what its figure is in where that is not the indicator's."""

    name: str
    limits: tuple[MeasureLimit, ...]
    compute: Callable[[Sequence[EvidenceRow], Mapping[str, Decimal]], MeasureResult | None]
    label: str = ""
    unit: FigureUnit | None = None


FULL = MeasureLimit("full", N_("满分线"), FigureUnit.SHARE)
PER_POINT = MeasureLimit("per_point", N_("每差一个百分点扣"), FigureUnit.POINTS)


def _share(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult:
    """Share of rows that are ``ok``; below ``full``, ``per_point`` for each percentage point, in proportion."""
    good = sum(bool(row.facts["ok"]) for row in rows)
    share = Decimal(good) / len(rows)
    return MeasureResult(
        rounded(share, 4), below(share, limits), N_("%(count)s 件中 %(good)s 件按时完成,按时率 %(share)s%%,满分线 %(full)s%%"),
        {"count": len(rows), "good": good, "share": percent(share), "full": percent(limits["full"])},
    )  # fmt: skip


def _proportion(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult:
    """Share of rows that are ``ok``; of the ``whole`` deduction as much as is not."""
    good = sum(bool(row.facts["ok"]) for row in rows)
    share = Decimal(good) / len(rows)
    return MeasureResult(
        rounded(share, 4), (ONE - share) * limits["whole"],
        N_("%(count)s 项中 %(good)s 项达标,达标率 %(share)s%%"),
        {"count": len(rows), "good": good, "share": percent(share)},
    )  # fmt: skip


SHARE = Measure("share", (FULL, PER_POINT), _share)
PROPORTION = Measure("proportion", (MeasureLimit("whole", N_("全部不达标时扣"), FigureUnit.POINTS),), _proportion)


def _counted(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """Σ ``good`` ÷ Σ ``count`` of the rows; below ``full``, ``per_point`` for each percentage point. None where nothing counts."""
    count, good = (sum(int(row.facts[name]) for row in rows) for name in ("count", "good"))
    if not count:
        return None
    share = Decimal(good) / count
    return MeasureResult(
        rounded(share, 4), below(share, limits), N_("%(count)s 项中 %(good)s 项符合要求,占 %(share)s%%,满分线 %(full)s%%"),
        {"count": count, "good": good, "share": percent(share), "full": percent(limits["full"])},
    )  # fmt: skip


def _excess(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """Σ ``part`` ÷ Σ ``whole`` of each ``kind`` of row, the mean over the kinds; above ``allowed``, ``per_point`` for each
    percentage point. None where there is no whole."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in rows:
        part, whole = sums.get(row.facts.get("kind", ""), (ZERO, ZERO))
        sums[row.facts.get("kind", "")] = (part + Decimal(row.facts["part"]), whole + Decimal(row.facts["whole"]))
    shares = [part / whole for part, whole in sums.values() if whole > 0]
    if not shares:
        return None
    share = sum(shares, ZERO) / len(shares)
    deduction = max(ZERO, share - limits["allowed"]) * HUNDRED * limits["per_point"]
    return MeasureResult(
        rounded(share, 4), deduction, N_("%(count)s 行依据,平均占比 %(share)s%%,允许 %(allowed)s%%"),
        {"count": len(rows), "share": percent(share), "allowed": percent(limits["allowed"])},
    )  # fmt: skip


COUNTED = Measure("counted", (FULL, PER_POINT), _counted)
EXCESS = Measure(
    "excess",
    (
        MeasureLimit("allowed", N_("允许占比"), FigureUnit.SHARE),
        MeasureLimit("per_point", N_("每超一个百分点扣"), FigureUnit.POINTS),
    ),
    _excess,
)


def _by_hand(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult:
    """The mean of the ``points`` given, out of ``of``."""
    given = [Decimal(str(row.facts["points"])) for row in rows]
    mean = sum(given, ZERO) / len(given)
    return MeasureResult(
        rounded(mean), limits["of"] - mean,
        N_("%(count)s 次人工评分,平均 %(mean)s 分,满分 %(of)s 分"),
        {"count": len(given), "mean": plain(rounded(mean)), "of": plain(limits["of"])},
    )  # fmt: skip


BY_HAND = Measure("by_hand", (MeasureLimit("of", N_("满分"), FigureUnit.POINTS),), _by_hand)
"""What people score, with their reasons; the points of a criterion that is weighed, of a bonus or of a penalty."""


# ----------------------------------------------------------------------------------------------- arithmetic they share


def rounded(figure: Decimal, places: int = 2) -> Decimal:
    """Half up, to ``places`` decimals."""
    return figure.quantize(ONE.scaleb(-places), ROUND_HALF_UP)


def below(share: Decimal, limits: Mapping[str, Decimal]) -> Decimal:
    """What a share below ``full`` deducts: ``per_point`` for each percentage point, in proportion."""
    return max(ZERO, limits["full"] - share) * HUNDRED * limits["per_point"]


def percent(share: Decimal) -> str:
    """A fraction of one as percentage points, to two decimals at most."""
    return plain(rounded(share * HUNDRED))


def plain(figure: Decimal) -> str:
    return f"{figure.normalize():f}"
