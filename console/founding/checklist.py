"""筹建: what a house still needs before it governs a city. Each room enters its own steps; no page names them one by one.

A step says what it needs, whose it is, how it stands and which page does it. The list goes when all is done; an optional
step may also be done without, with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from console.settings import Settings
from quota.actors import Role
from quota.db import Tx
from quota.directory import city


@dataclass(frozen=True, slots=True)
class Look:
    """What a step is looked at with. ``sampled``: local days of which the lake has samples; ``has``: whether the city is
    said by somebody to be called what it is called."""

    tx: Tx
    settings: Settings
    today: date
    sampled: Callable[[], set[date]]
    said: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StepStanding:
    """Whether a step is done; ``figure`` of ``of`` where it is done part by part."""

    done: bool
    figure: int | None = None
    of: int | None = None


Check = Callable[[Look], "StepStanding | bool"]


@dataclass(frozen=True, slots=True)
class ChecklistStep:
    """``needs``: what it takes, in a sentence; ``roles``: whose it is; ``endpoint``: the page that does it."""

    name: str
    label: str
    needs: str
    roles: tuple[Role, ...]
    endpoint: str
    order: int
    optional: bool
    check: Check


@dataclass(frozen=True, slots=True)
class ChecklistEntry:
    """A step as it stands. ``without``: why the city does without it; None where it does not."""

    step: ChecklistStep
    standing: StepStanding
    without: str | None

    @property
    def settled(self) -> bool:
        return self.standing.done or self.without is not None


_steps: dict[str, ChecklistStep] = {}


def step(
    name: str, label: str, needs: str, *roles: Role, endpoint: str, order: int, optional: bool = False
) -> Callable[[Check], Check]:
    """Enter a step: what follows looks whether it is done."""

    def enter(check: Check) -> Check:
        _steps[name] = ChecklistStep(name, label, needs, roles, endpoint, order, optional, check)
        return check

    return enter


def steps() -> list[ChecklistStep]:
    """Every step, in its order."""
    return sorted(_steps.values(), key=lambda one: (one.order, one.name))


def named(name: str) -> ChecklistStep | None:
    return _steps.get(name)


def entries(look: Look) -> list[ChecklistEntry]:
    """Every step as it stands."""
    return [_entry(one, look) for one in steps()]


def open_steps(look: Look, most: int) -> list[ChecklistEntry]:
    """The first steps that are not settled, no more than ``most``: what is behind them is not looked at."""
    found: list[ChecklistEntry] = []
    for one in steps():
        if len(found) == most:
            break
        entry = _entry(one, look)
        if not entry.settled:
            found.append(entry)
    return found


def _entry(step: ChecklistStep, look: Look) -> ChecklistEntry:
    found = step.check(look)
    standing = found if isinstance(found, StepStanding) else StepStanding(found)
    return ChecklistEntry(step, standing, look.said.get(f"{city.WITHOUT}{step.name}"))
