"""Probes of an endpoint become outages. Pure.

An outage begins with the first failed probe of as many in a row as the endpoint asks for, and ends with the first that
succeeds. Between two probes that are further apart than ``MOST_MISSING`` intervals nobody was looking: that time is neither
up nor down, and an outage that nobody saw the end of ends one interval after its last failed probe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, tzinfo

MOST_MISSING = 3


@dataclass(frozen=True, slots=True)
class Pulse:
    """Where an endpoint stands: its last probe (ms, UTC) and what it said; since when it fails, and how often in a row."""

    at: int | None = None
    up: bool = True
    down_since: int | None = None
    fails: int = 0


@dataclass(frozen=True, slots=True)
class ProbedOutage:
    """[began, ended), ms; ``ended`` None: it goes on."""

    began: int
    ended: int | None


@dataclass(slots=True)
class FoldedProbes:
    """What probes said. ``outages``: those that began or ended, in order; ``days``: day of the city → ms that were looked at
    and, of them, ms after a failed probe; ``probes``: how many were new."""

    pulse: Pulse
    outages: list[ProbedOutage] = field(default_factory=list)
    days: dict[date, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    probes: int = 0


def fold(pulse: Pulse, probes: Iterable[tuple[int, bool]], interval_ms: int, fails: int, zone: tzinfo) -> FoldedProbes:
    """Go on from ``pulse`` by ``probes`` (ms, succeeded), in the order of their times; what is not newer changes nothing.
    ``zone``: whose days are meant."""
    done = FoldedProbes(pulse)
    for at, up in probes:
        now = done.pulse
        if now.at is not None and at <= now.at:
            continue
        done.probes += 1
        if now.at is not None:
            now = _since(done, now.at, at, (interval_ms, fails), zone)
        if up:
            if now.down_since is not None and now.fails >= fails:
                done.outages.append(ProbedOutage(now.down_since, at))
            done.pulse = Pulse(at)
            continue
        began, count = (at, 1) if now.down_since is None else (now.down_since, now.fails + 1)
        if count == fails:
            done.outages.append(ProbedOutage(began, None))
        done.pulse = Pulse(at, False, began, count)
    return done


def _since(done: FoldedProbes, before: int, at: int, pace: tuple[int, int], zone: tzinfo) -> Pulse:
    """Account for the time between two probes; where nobody was looking, whatever went on is over."""
    now, (interval_ms, fails) = done.pulse, pace
    if at - before <= MOST_MISSING * interval_ms:
        seen = done.days[datetime.fromtimestamp(before / 1000, UTC).astimezone(zone).date()]
        seen[0] += at - before
        seen[1] += 0 if now.up else at - before
        return now
    if now.down_since is None:
        return now
    if now.fails >= fails:
        done.outages.append(ProbedOutage(now.down_since, before + interval_ms))
    return replace(now, down_since=None, fails=0)
