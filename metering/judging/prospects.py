"""When the first verdicts are due in a house that has just begun: what was looked at, and how many days it still takes. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from metering.judging.policy import Policy, Verdict


@dataclass(frozen=True, slots=True)
class Prospect:
    """``days`` of the ``needed`` whole local days have samples; ``due``: the first morning on which a figure can be judged,
    None while there is no sample at all."""

    days: int
    needed: int
    due: date | None


def silent(counts: Mapping[str, int]) -> bool:
    """Whether a run came to no verdict on anything: there was nothing, or not enough was known."""
    return not any(count for verdict, count in counts.items() if verdict != Verdict.UNKNOWN)


def prospect(policy: Policy, on: date, sampled: Iterable[date]) -> Prospect:
    """What ``policy`` still waits for on the morning of ``on``. ``sampled``: local days of which there are samples.

    The shortest window of a rule that asks for coverage is what the first verdict waits for: its whole days that make up
    the coverage asked.
    """
    rules = [one for one in policy.every if one.coverage > 0 and one.days > 0]
    needed = min((max(1, math.ceil(one.days * one.coverage)) for one in rules), default=1)
    window = min((one.days for one in rules), default=1)
    past = sorted({day for day in sampled if day < on})
    whole = [day for day in past if day >= on - timedelta(days=window)]
    begun = whole or sorted({day for day in sampled if day == on})
    if not begun:
        return Prospect(0, needed, None)
    return Prospect(min(len(whole), needed), needed, on + timedelta(days=max(0, needed - len(whole))))
