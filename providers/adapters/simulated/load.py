"""Shapes of load: what a machine of each class demands at any 5-minute slot of any day.

Demand is absolute (cores, MiB, kbit/s): it belongs to the business, not to the machine, so a resize
changes the utilisation and never the demand. Everything is a function of (seed, row, local day): the
random numbers of one day come from Philox streams keyed by (seed, day), row after row, so a row's numbers
do not depend on the rows after it and any interval may be asked for, in any order, any number of times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from providers.metrics import SLOTS, Array
from quota.calendar import WorkingDays


class Load(StrEnum):
    """Classes of load. The last five say how a machine behaves; what it would demand is an office day."""

    IDLE = "idle"
    LIGHT = "light"
    OFFICE = "office"
    CITIZEN = "citizen"
    MONTH_END = "month_end"
    ENROLMENT = "enrolment"
    BURSTY = "bursty"
    STEADY = "steady"
    NIGHT = "night"
    BUSY = "busy"
    SATURATED = "saturated"
    STARVED = "starved"
    STOPPED = "stopped"
    FROZEN = "frozen"
    GHOST = "ghost"
    GAPPY = "gappy"
    YOUNG = "young"


@dataclass(frozen=True, slots=True)
class LoadShape:
    """Ranges (low, high) that a machine's own figures are drawn from; shares of the size it was built with.

    rest, peak: CPU demand at the bottom and the top of the day's profile; noise: relative, per slot;
    burst: share of half-hours with a burst, and how high; weekend: factor on the activity of days off;
    season: the same within the season; memory, swing: at rest, and what the day adds; net: kbit/s, io:
    KB/s a core in use.
    """

    profile: str
    rest: tuple[float, float]
    peak: tuple[float, float]
    noise: float = 0.12
    burst: tuple[float, float] = (0.0, 0.0)
    weekend: tuple[float, float] = (0.3, 0.5)
    season: tuple[float, float] = (1.0, 1.0)
    memory: tuple[float, float] = (0.40, 0.62)
    swing: tuple[float, float] = (0.02, 0.10)
    net: tuple[float, float] = (300.0, 2500.0)
    io: tuple[float, float] = (40.0, 400.0)


_OFFICE = LoadShape("office", (0.02, 0.05), (0.22, 0.50))
SHAPES: Mapping[Load, LoadShape] = {
    Load.IDLE: LoadShape(
        "flat",
        (0.004, 0.010),
        (0.010, 0.025),
        memory=(0.06, 0.15),
        swing=(0.0, 0.02),
        weekend=(1.0, 1.0),
        net=(1.0, 10.0),
        io=(5.0, 40.0),
    ),
    Load.LIGHT: LoadShape("office", (0.010, 0.025), (0.05, 0.12), memory=(0.15, 0.32)),
    Load.OFFICE: _OFFICE,
    Load.CITIZEN: LoadShape("citizen", (0.04, 0.08), (0.30, 0.55), weekend=(0.5, 0.9)),
    Load.MONTH_END: LoadShape("office", (0.02, 0.04), (0.10, 0.18), season=(3.5, 4.8)),
    Load.ENROLMENT: LoadShape("citizen", (0.01, 0.03), (0.06, 0.11), weekend=(0.7, 0.9), season=(6.0, 8.0)),
    Load.BURSTY: LoadShape("flat", (0.02, 0.04), (0.05, 0.09), noise=0.3, burst=(0.03, 0.75), weekend=(0.7, 1.0)),
    Load.STEADY: LoadShape("flat", (0.20, 0.30), (0.28, 0.50), weekend=(0.9, 1.0)),
    Load.NIGHT: LoadShape("night", (0.015, 0.03), (0.55, 0.90), weekend=(0.8, 1.0), io=(300.0, 1500.0)),
    Load.BUSY: LoadShape("citizen", (0.40, 0.52), (0.88, 0.96), noise=0.04, weekend=(0.92, 1.0), memory=(0.55, 0.78)),
    Load.SATURATED: LoadShape(
        "citizen",
        (0.85, 0.98),
        (1.15, 1.60),
        noise=0.06,
        weekend=(0.95, 1.0),
        memory=(0.60, 0.80),
        swing=(0.05, 0.16),
    ),
    Load.STARVED: LoadShape("flat", (0.45, 0.55), (0.60, 0.72), weekend=(0.9, 1.0)),
    **dict.fromkeys((Load.STOPPED, Load.FROZEN, Load.GHOST, Load.GAPPY, Load.YOUNG), _OFFICE),
}
PROFILES = ("flat", "office", "citizen", "night")
SEASONS = {Load.MONTH_END: "month_end", Load.ENROLMENT: "enrolment"}


def _profiles() -> Array:
    """float32 [profile, slot], 0..1, of a working day."""
    hour = np.arange(SLOTS) / 12.0

    def hill(start: float, end: float, slope: float = 0.5) -> Array:
        return np.asarray(1 / (1 + np.exp(-(hour - start) / slope)) / (1 + np.exp((hour - end) / slope)))

    office = hill(8.7, 12.0, 0.25) + 0.35 * hill(12.0, 14.0, 0.25) + 0.92 * hill(14.0, 17.8, 0.3)
    citizen = 0.9 * hill(8.3, 12.3) + 0.6 * hill(12.3, 14.3) + hill(14.3, 18.0) + 0.55 * hill(18.0, 22.5)
    night = hill(0.8, 5.2, 0.1)
    return np.stack([np.ones(SLOTS), np.minimum(office, 1), np.minimum(citizen, 1), night]).astype(np.float32)


_PROFILE = _profiles()


@dataclass(frozen=True)
class Loads:
    """Each machine's own figures, one element a row. ``cores``, ``mem_mb``: the size that it began with."""

    profile: Array
    season_of: Array
    rest: Array
    peak: Array
    noise: Array
    burst_share: Array
    burst_height: Array
    weekend: Array
    season: Array
    memory: Array
    swing: Array
    net: Array
    io: Array
    disk: Array
    disk_growth: Array
    people: Array
    phase: Array
    cores: Array
    mem_mb: Array

    def __len__(self) -> int:
        return len(self.rest)

    def take(self, rows: Array) -> Loads:
        """The same of these rows only."""
        return Loads(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


@dataclass(frozen=True)
class LoadDemand:
    """What is asked for, float32 [row, slot]: cores; MiB; kbit/s; KB/s; connections; disk as a share."""

    cores: Array
    memory: Array
    net_rx: Array
    net_tx: Array
    disk_read: Array
    disk_write: Array
    connections: Array
    disk: Array


def stream(seed: int, key: int, lane: int) -> np.random.Generator:
    """The random numbers of (seed, key, lane), the same whenever and wherever asked for."""
    keys = np.array([seed & (2**64 - 1), (key << 8 | lane) & (2**64 - 1)], np.uint64)
    return np.random.Generator(np.random.Philox(key=keys))


def draw(seed: int, loads: Sequence[Load], cores: Sequence[float], mem_mb: Sequence[float]) -> Loads:
    """Each row's own figures. Row i depends on the seed, on i and on its class, not on the other rows."""
    dice = stream(seed, 0, 255).random((len(loads), 16))
    shapes = [SHAPES[load] for load in loads]

    def between(name: str, column: int) -> Array:
        low, high = np.array([getattr(one, name) for one in shapes], np.float32).reshape(-1, 2).T
        return np.asarray(low + (high - low) * dice[:, column], np.float32)

    def fixed(values: list[Any]) -> Array:
        return np.array(values, np.float32)

    full = dice[:, 12] < 0.04  # a few machines whose disk is nearly full
    return Loads(
        profile=np.array([PROFILES.index(one.profile) for one in shapes], np.int64),
        season_of=np.array([SEASONS.get(load, "") for load in loads], dtype="U16"),
        rest=between("rest", 0),
        peak=between("peak", 1),
        noise=fixed([one.noise for one in shapes]),
        burst_share=fixed([one.burst[0] for one in shapes]),
        burst_height=fixed([one.burst[1] for one in shapes]),
        weekend=between("weekend", 2),
        season=between("season", 3),
        memory=between("memory", 4),
        swing=between("swing", 5),
        net=between("net", 6),
        io=between("io", 7),
        disk=np.where(full, 0.86 + 0.1 * dice[:, 8], 0.15 + 0.5 * dice[:, 8]).astype(np.float32),
        disk_growth=(0.0007 * dice[:, 9] * (dice[:, 10] < 0.5)).astype(np.float32),
        people=(20 + 380 * dice[:, 11]).astype(np.float32),
        phase=(dice[:, 13] * 12 - 6).astype(np.int64),
        cores=fixed(list(cores)),
        mem_mb=fixed(list(mem_mb)),
    )


def in_season(day: date, working: WorkingDays) -> frozenset[str]:
    """Seasons of the city's business that ``day`` is in.

    Month end: a month's last three working days and its first. Enrolment: when pupils are registered.
    """
    found = set()
    if working.is_working(day):
        following = [day + timedelta(days=n) for n in range(1, 12)]
        left = sum(working.is_working(one) for one in following if one.month == day.month)
        before = [day - timedelta(days=n) for n in range(1, day.day)]
        if (left < 3 and following[-1].month != day.month) or not any(map(working.is_working, before)):
            found.add("month_end")
    if any(
        first <= (day.month, day.day) <= last
        for first, last in (
            ((2, 15), (3, 10)),
            ((5, 10), (5, 31)),
            ((6, 20), (7, 15)),
            ((8, 20), (9, 10)),
            ((11, 20), (11, 30)),
        )
    ):
        found.add("enrolment")
    return frozenset(found)


def demand(loads: Loads, seed: int, day: date, start: date, working: WorkingDays) -> LoadDemand:
    """What every row demands in the 288 slots of the local ``day``; ``start``: where disks begin to fill."""
    n, key = len(loads), day.toordinal()
    hours = stream(seed, key, 0).standard_normal((n, 25), np.float32)
    slots = stream(seed, key, 1).standard_normal((n, 2 * SLOTS), np.float32).reshape(n, 2, SLOTS)
    bursts = stream(seed, key, 2).random((n, 97), np.float32)

    at = np.arange(SLOTS) / 12.0
    left = at.astype(np.int64)
    weight = (at - left).astype(np.float32)
    drift = hours[:, left] * (1 - weight) + hours[:, left + 1] * weight

    factor = np.ones(n, np.float32) if working.is_working(day) else loads.weekend.copy()
    for season in in_season(day, working):
        factor = np.where(loads.season_of == season, factor * loads.season, factor)
    clock = (np.arange(SLOTS) - loads.phase[:, None]) % SLOTS
    activity = _PROFILE[loads.profile[:, None], clock] * factor[:, None]
    noise = loads.noise[:, None]
    share = loads.rest[:, None] + (loads.peak - loads.rest)[:, None] * activity
    share = share * (1 + noise * (0.5 * drift + 0.5 * slots[:, 0]))
    half = np.arange(SLOTS) // 6
    height = np.where(
        bursts[:, :48] < loads.burst_share[:, None],
        loads.burst_height[:, None] * (0.55 + 0.6 * bursts[:, 48:96]),
        0,
    )
    # A season's factor and the noise together stay a demand that a machine twice the size could serve.
    share = np.clip(share + height[:, half], 0.001, 2.0).astype(np.float32)

    extra = loads.swing[:, None] * np.minimum(activity, 1.2) + 0.004 * drift + 0.001 * slots[:, 1]
    memory = np.maximum((loads.memory[:, None] + extra) * loads.mem_mb[:, None], 160)
    cores = share * loads.cores[:, None]
    wobble = 1 + 0.15 * slots[:, 1]
    traffic = np.maximum(loads.net[:, None] * cores * wobble, 0)
    effort = np.maximum(loads.io[:, None] * cores * (1 + 0.15 * slots[:, 0]), 0)
    days = max((day - start).days, 0)
    # Disks fill slowly and are cleaned every 250 days; those few that are nearly full stay so.
    filled = loads.disk + loads.disk_growth * ((days + loads.people) % 250)
    disk = np.minimum(filled[:, None] + 0.0005 * activity, 0.985)
    return LoadDemand(
        cores,
        memory,
        0.45 * traffic,
        0.55 * traffic,
        0.4 * effort,
        0.6 * effort,
        np.round(loads.people[:, None] * share * 4),
        disk,
    )
