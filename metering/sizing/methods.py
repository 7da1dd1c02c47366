"""How sizes are advised, by name: a method with its figures, as a policy, a backtest and the command line write it.

``p95@70``                  the smallest shape that keeps the quantile at or under so many per cent of it
``p95x1.15`` ``peakx1.15``  the quantile (the maximum) times a margin
``vpa-p95-daily``           as Kubernetes' vertical autoscaler: half-life of a day, margin 1.15, or ``vpa-p95x1.3-daily``
``peak14x1.15-daily``       the maximum of the last days times a margin
``steward-…``               the cost quantile: safe, balanced, economy, or ``steward-L40-h3-m1.2`` with its own figures,
                            each with ``+fast``, ``+swift`` or ``+tide``

``p95@70`` and the cost quantile grow within the day where ``+fast``, ``+swift`` or ``+prompt`` is written behind.

A figure that is left out is the method's own, so every sizing has one name. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metering.sizing.rightsizing import PROFILES, SPEEDS, Fast, Profile, profile

METHODS = (
    "p95@70",
    "p95x1.15",
    "vpa-p95-daily",
    "peak14x1.15-daily",
    *(f"steward-{x}" for x in ("safe", "balanced", "economy", "lean", "tide")),
)
"""Each method by the name that it has with its own figures."""

LIMITS: Mapping[str, tuple[float, float]] = {
    "quantile": (50.0, 100.0),
    "ceiling": (10.0, 100.0),
    "margin": (1.0, 3.0),
    "days": (1.0, 90.0),
    "regret": (0.1, 10_000.0),
    "half_life": (0.5, 60.0),
}
"""Figure → what it may be: per cent, per cent, a factor, days, units of capacity, observed days."""

OWN: Mapping[str, Mapping[str, float]] = {
    "p95@70": {"quantile": 95, "ceiling": 70},
    "p95x1.15": {"quantile": 95, "margin": 1.15},
    "vpa-p95-daily": {"quantile": 95, "margin": 1.15},
    "peak14x1.15-daily": {"days": 14, "margin": 1.15},
    **{
        name: {"regret": PROFILES[at].regret, "half_life": PROFILES[at].half_life_days, "margin": PROFILES[at].margin}
        for name, at in (
            ("steward-safe", "steward-safe"),
            ("steward-balanced", "steward-balanced"),
            ("steward-economy", "steward-economy"),
            ("steward-lean", "steward-lean+swift"),
            ("steward-tide", "steward-tide"),
        )
    },
}
"""Method → the figures that it takes, with its own values. Others it has no use for."""

_N = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True, slots=True)
class Sizing:
    """A method, the figures in which it differs from its own, and how it grows within a day ("" = it does not)."""

    method: str
    figures: Mapping[str, float] = field(default_factory=dict)
    speed: str = ""

    def figure(self, name: str) -> float:
        """A figure that the method takes. KeyError for another."""
        return float({**OWN[self.method], **self.figures}[name])

    @property
    def profile(self) -> Profile | None:
        """The cost quantile's settings; None for another method."""
        return profile(self.name) if self.method.startswith("steward-") else None

    @property
    def fast(self) -> Fast | None:
        """How it grows within the day where that is carried out; None where it does not: sizes that go by the tide are backtested only."""
        if self.profile is not None:
            return None if self.profile.tide else self.profile.fast
        return SPEEDS[self.speed][0] if self.speed else None

    @property
    def name(self) -> str:
        """How it is written. Raises ValueError for a figure that the method has no use for, or that is out of bounds."""
        for key, value in self.figures.items():
            least, most = LIMITS[key]
            if key not in OWN[self.method]:
                raise ValueError(f"{self.method} takes no {key}")
            if not least <= value <= most:
                raise ValueError(f"{key} {value:g} is not within {least:g} and {most:g}")
        if self.speed and not grows(self.method, self.speed):
            raise ValueError(f"{self.method} does not grow within a day")
        if self.method == "p95@70":
            told = f"p{self.figure('quantile'):g}@{self.figure('ceiling'):g}"
            return f"{told}+{self.speed}" if self.speed else told
        if self.method == "p95x1.15":
            quantile = self.figure("quantile")
            return f"{'peak' if quantile == 100 else f'p{quantile:g}'}x{self.figure('margin'):g}"
        if self.method == "vpa-p95-daily":
            times = "" if self.figure("margin") == 1.15 else f"x{self.figure('margin'):g}"
            return f"vpa-p{self.figure('quantile'):g}{times}-daily"
        if self.method == "peak14x1.15-daily":
            return f"peak{self.figure('days'):g}x{self.figure('margin'):g}-daily"
        return self._steward()

    @property
    def steady(self) -> Sizing:
        """The same without growth within the day."""
        if self.method == "steward-tide":
            return sizing(
                f"steward-L{self.figure('regret'):g}-h{self.figure('half_life'):g}-m{self.figure('margin'):g}"
            )
        return replace(self, speed="")

    def _steward(self) -> str:
        """The name of a preset that is the same, else one that tells the figures."""
        speed = self.speed or ("tide" if self.method == "steward-tide" else "")
        made = Profile("", self.figure("regret"), self.figure("half_life"), margin=self.figure("margin"))
        if speed:
            fast, tide = SPEEDS[speed]
            made = replace(made, fast=fast, tide=tide)
        for name, one in PROFILES.items():
            if replace(one, name="") == made:
                return name
        told = f"steward-L{made.regret:g}"
        if made.half_life_days != 5:
            told += f"-h{made.half_life_days:g}"
        if made.margin != 1.1:
            told += f"-m{made.margin:g}"
        return told + (f"+{speed}" if speed else "")


def grows(method: str, speed: str) -> bool:
    """Whether a method can be had with growth within the day at this speed."""
    if method == "p95@70":
        return speed in SPEEDS and SPEEDS[speed][1] is None
    return method.startswith("steward-") and speed in SPEEDS


def sizing(name: str) -> Sizing:
    """The sizing called ``name``. Raises ValueError for a name that is none, or whose figures are out of bounds."""
    found = _read(name)
    if found is None:
        raise ValueError(f"no sizing {name!r}; there are {', '.join(METHODS)} and what docs/judgement.md lists")
    found.name  # noqa: B018 - raises for figures out of bounds
    return found


def _read(name: str) -> Sizing | None:
    if name in PROFILES or name.startswith("steward-"):
        return _read_steward(name)
    if found := re.fullmatch(rf"p{_N}@{_N}(?:\+([a-z]+))?", name):
        if found[3] and not grows("p95@70", found[3]):
            return None
        return replace(_made("p95@70", quantile=found[1], ceiling=found[2]), speed=found[3] or "")
    if found := re.fullmatch(rf"(?:p{_N}|peak)x{_N}", name):
        return _made("p95x1.15", quantile=found[1] or "100", margin=found[2])
    if found := re.fullmatch(rf"vpa-p{_N}(?:x{_N})?-daily", name):
        return _made("vpa-p95-daily", quantile=found[1], margin=found[2] or "1.15")
    if found := re.fullmatch(rf"peak(\d+)x{_N}-daily", name):
        return _made("peak14x1.15-daily", days=found[1], margin=found[2])
    return None


def _read_steward(name: str) -> Sizing | None:
    one = profile(name)
    if one is None:
        return None
    speed = next((key for key, pair in SPEEDS.items() if pair == (one.fast, one.tide)), "")
    near = f"steward-{name.removeprefix('steward-').partition('+')[0]}"
    method = near if near in OWN else "steward-balanced"
    figures = {"regret": one.regret, "half_life": one.half_life_days, "margin": one.margin}
    figures = {key: value for key, value in figures.items() if value != OWN[method][key]}
    return Sizing(method, figures, "" if method == "steward-tide" else speed)


def _made(method: str, **figures: str) -> Sizing:
    read = {key: float(value) for key, value in figures.items()}
    return Sizing(method, {key: value for key, value in read.items() if value != OWN[method][key]})
