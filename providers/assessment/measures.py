"""Measures: how rows of evidence become one figure, what it deducts, and the sentence that says so.

Pure: neither database nor clock. A measure is named by a formula's rule and given the rule's numbers; None means that
the rows are too little to score from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from quota.errors import N_

ZERO, ONE, HUNDRED = Decimal(0), Decimal(1), Decimal(100)

BEST = 5
"""The most stars of a rating."""


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of evidence. ``ref`` names the row of the book (order:12, bill_line:7); ``facts`` are plain JSON, figures
    with decimals as text. A row with the fact ``veto`` fails the company by itself."""

    ref: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a measure found: the figure, what it deducts, and a sentence (a msgid with its params)."""

    value: Decimal
    deduction: Decimal
    reason: str
    params: Mapping[str, Any]


Measure = Callable[[Sequence[Row], Mapping[str, Decimal]], Figure | None]


def _share(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure:
    """Share of rows that are ``ok``; below ``full``, ``per_point`` for each percentage point, in proportion."""
    good = sum(bool(row.facts["ok"]) for row in rows)
    share = Decimal(good) / len(rows)
    deduction = _below(share, limits["full"], limits["per_point"])
    return Figure(
        rounded(share, 4), deduction, N_("%(count)s 件中 %(good)s 件按时完成,按时率 %(share)s%%,满分线 %(full)s%%"),
        {"count": len(rows), "good": good, "share": _percent(share), "full": _percent(limits["full"])},
    )  # fmt: skip


def _reporting(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure | None:
    """Samples received ÷ expected (None where none was due); below ``full``, ``per_point`` a percentage point. ``late`` more where on more than
    ``late_share`` of the rows that tell it the lag exceeds ``lag_minutes``."""
    expected = sum(int(row.facts["expected"]) for row in rows)
    received = sum(int(row.facts["received"]) for row in rows)
    if not expected:
        return None
    share = min(ONE, Decimal(received) / expected)
    lags = [Decimal(str(row.facts["lag_minutes"])) for row in rows if row.facts.get("lag_minutes") is not None]
    late = sum(lag > limits["lag_minutes"] for lag in lags)
    deduction = _below(share, limits["full"], limits["per_point"])
    if lags and Decimal(late) / len(lags) > limits["late_share"]:
        deduction += limits["late"]
    return Figure(
        rounded(share, 4), deduction,
        N_("应收样本 %(expected)s,实收 %(received)s,完整率 %(share)s%%(满分线 %(full)s%%);"
           "%(lags)s 次中 %(late)s 次时延超过 %(limit)s 分钟"),
        {"expected": expected, "received": received, "share": _percent(share), "full": _percent(limits["full"]),
         "lags": len(lags), "late": late, "limit": _plain(limits["lag_minutes"])},
    )  # fmt: skip


def _deviation(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure | None:
    """Disputed ÷ metered unit-hours of each kind, the mean over the kinds; above ``full``, ``per_step`` for each ``step``,
    in proportion. None where nothing could be metered or disputed: that is no evidence."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in rows:
        disputed, metered = sums.get(row.facts["kind"], (ZERO, ZERO))
        sums[row.facts["kind"]] = (
            disputed + Decimal(row.facts["disputed"]),
            metered + Decimal(row.facts["metered"]),
        )
    # A kind that is billed and was never there is wholly wrong, not infinitely.
    kinds = [min(ONE, d / m) if m > 0 else ONE for d, m in sums.values() if m > 0 or d > 0]
    if not kinds:
        return None
    deviation = sum(kinds, ZERO) / len(kinds)
    deduction = max(ZERO, deviation - limits["full"]) / limits["step"] * limits["per_step"]
    wrong = sum(Decimal(row.facts["disputed"]) > 0 for row in rows)
    return Figure(
        rounded(deviation, 6), deduction,
        N_("%(count)s 项账单用量中 %(wrong)s 项与自主计量不符,平均偏差 %(deviation)s%%,满分线 %(full)s%%"),
        {"count": len(rows), "wrong": wrong, "deviation": _percent(deviation), "full": _percent(limits["full"])},
    )  # fmt: skip


def _misses(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure:
    """``per_miss`` for each time limit that was missed."""
    misses = sum(int(row.facts["misses"]) for row in rows)
    return Figure(
        Decimal(misses), misses * limits["per_miss"],
        N_("%(count)s 起已定责故障中,超出响应或恢复时限 %(misses)s 次"),
        {"count": len(rows), "misses": misses},
    )  # fmt: skip


def _availability(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure | None:
    """1 − time down ÷ time, over all pools; below ``full``, ``per_step`` for each ``step``, in proportion; below
    ``floor`` everything."""
    minutes = sum((Decimal(str(row.facts["minutes"])) for row in rows), ZERO)
    if minutes <= 0:
        return None
    down = min(minutes, sum((Decimal(str(row.facts["down_minutes"])) for row in rows), ZERO))
    share = ONE - down / minutes
    deduction = max(ZERO, limits["full"] - share) / limits["step"] * limits["per_step"]
    if share < limits["floor"]:
        deduction = HUNDRED
    return Figure(
        rounded(share, 6), deduction,
        N_("%(pools)s 个资源池月中断 %(down)s 分钟,可用性 %(share)s%%,满分线 %(full)s%%"),
        {"pools": len(rows), "down": _plain(rounded(down)), "share": _plain(rounded(share * HUNDRED, 4)),
         "full": _percent(limits["full"])},
    )  # fmt: skip


def _security(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure:
    """``general`` and ``major`` for each event, ``vulnerability`` for each that stayed open too long."""
    events = {name: sum(row.facts.get("what") == name for row in rows) for name in ("general", "major")}
    holes = sum(int(row.facts.get("count", 1)) for row in rows if row.facts.get("what") == "vulnerability")
    deduction = sum((count * limits[name] for name, count in events.items()), ZERO) + holes * limits["vulnerability"]
    return Figure(
        Decimal(sum(events.values()) + holes), deduction,
        N_("一般安全事件 %(general)s 起,重大安全事件 %(major)s 起,逾期未修复的高危漏洞 %(holes)s 个"),
        {**events, "holes": holes},
    )  # fmt: skip


def _proportion(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure:
    """Share of rows that are ``ok``; of the ``whole`` deduction as much as is not."""
    good = sum(bool(row.facts["ok"]) for row in rows)
    share = Decimal(good) / len(rows)
    return Figure(
        rounded(share, 4), (ONE - share) * limits["whole"],
        N_("%(count)s 项中 %(good)s 项达标,达标率 %(share)s%%"),
        {"count": len(rows), "good": good, "share": _percent(share)},
    )  # fmt: skip


def _satisfaction(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure | None:
    """Mean of 1–5 stars, ``per_star`` for each star short of five. None below ``least_answers`` answers unless those who
    answered are ``least_share`` of the departments that the company serves (``of``)."""
    answered = len({row.facts["department"] for row in rows})
    of = max(int(row.facts["of"]) for row in rows)
    if len(rows) < limits["least_answers"] and (not of or Decimal(answered) / of < limits["least_share"]):
        return None
    mean = Decimal(sum(int(row.facts["stars"]) for row in rows)) / len(rows)
    return Figure(
        rounded(mean), (BEST - mean) * limits["per_star"],
        N_("%(count)s 份评价(%(answered)s 个单位,共 %(of)s 个),平均 %(mean)s 分,满分 5 分"),
        {"count": len(rows), "answered": answered, "of": of, "mean": _plain(rounded(mean))},
    )  # fmt: skip


def _backup(rows: Sequence[Row], limits: Mapping[str, Decimal]) -> Figure | None:
    """Backups done ÷ due; below ``full``, ``per_point`` a percentage point; ``no_drill`` for each restore drill that was
    due in the period (``drills_due``) and did not succeed. None where neither was recorded."""
    due = sum(int(row.facts.get("due", 0)) for row in rows)
    done = sum(int(row.facts.get("done", 0)) for row in rows)
    wanted = sum(int(row.facts.get("drills_due", 0)) for row in rows)
    held = sum(bool(row.facts.get("drill")) for row in rows)
    if not due and not held and not any("drill" in row.facts for row in rows):
        return None
    share = min(ONE, Decimal(done) / due) if due else ONE
    deduction = _below(share, limits["full"], limits["per_point"]) if due else ZERO
    deduction += max(0, wanted - held) * limits["no_drill"]
    return Figure(
        rounded(share, 4), deduction,
        N_("应备份 %(due)s 次,成功 %(done)s 次;恢复演练应做 %(wanted)s 次,成功 %(held)s 次"),
        {"due": due, "done": done, "wanted": wanted, "held": held},
    )  # fmt: skip


MEASURES: Mapping[str, Measure] = {
    "availability": _availability,
    "backup": _backup,
    "deviation": _deviation,
    "misses": _misses,
    "proportion": _proportion,
    "reporting": _reporting,
    "satisfaction": _satisfaction,
    "security": _security,
    "share": _share,
}


def rounded(figure: Decimal, places: int = 2) -> Decimal:
    """Half up, to ``places`` decimals."""
    return figure.quantize(ONE.scaleb(-places), ROUND_HALF_UP)


def _below(share: Decimal, full: Decimal, per_point: Decimal) -> Decimal:
    return max(ZERO, full - share) * HUNDRED * per_point


def _percent(share: Decimal) -> str:
    return _plain(rounded(share * HUNDRED))


def _plain(figure: Decimal) -> str:
    return f"{figure.normalize():f}"
