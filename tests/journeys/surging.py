"""A town whose machines grow within the day, behind the doors of the console."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from console import worklist
from console.tables import JobRun, RunState
from metering.lake.store import Lake
from tests.journeys.test_cases import Journey
from tests.metering.surging import Surging


@pytest.fixture
def grown(app, house, clock, city, client_of, settings) -> Callable[..., Surging]:
    """Found a town; ``quota``: what its department may still use."""

    def make(**more: object) -> Surging:
        made = Surging(Journey(house, clock, city, client_of), Lake(settings.lake_dir), **more)
        made.settings = settings
        app.extensions["guanjia_adapters"] = {made.city.pool: made.cloud}
        return made

    return make


def look(town: Surging, cpu: float, *machines: int, stolen: float | None = None) -> str:
    """An hour passes; the job looks at it as it is scheduled. Returns what it said of itself."""
    return hour(town, dict.fromkeys(machines, cpu), stolen)


def hour(town: Surging, loads: dict[int, float], stolen: float | None = None) -> str:
    """As ``look``, with a load of its own for each machine."""
    town.clock.now = town.clock.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    town.feed({one: [cpu] * 12 for one, cpu in loads.items()}, stolen=stolen)
    town.clock.now += timedelta(minutes=6)
    return looked(town)


def looked(town: Surging) -> str:
    """The job looks as it is scheduled. Returns what it said of itself."""
    state = worklist.run_once(town.works, town.settings, "look")
    with town.book.reading() as tx:
        said = tx.query(JobRun).order_by(JobRun.id.desc()).first().said
    assert state is RunState.DONE, said
    return " ".join(str(one[0]) for one in said)


def authorise(town: Surging, login: str = "tenant1", **typed: object) -> str:
    """The department gives the authorisation: filled in, checked, confirmed. Returns the page on which it was checked."""
    visit = town.city.visit(login)
    visit.get(f"/authorisations/new?system={town.system}")
    until = (town.clock.now + timedelta(days=60)).date().isoformat()
    form = {"system": town.system, "ends_on": until, "vcpu": 8, "memory_gb": 32, "reason": "申报期间", **typed}
    shown = visit.send("/authorisations/new", form)
    assert shown.status_code == 200, shown.text[-2000:]
    sent = visit.send("/authorisations/new", {**form, "step": "confirm"})
    assert sent.status_code == 302, sent.text[-2000:]
    return shown.text
