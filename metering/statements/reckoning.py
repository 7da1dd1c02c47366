"""A month reckoned: what was held in it, as the inventory's history and the lake tell it now, priced line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from metering.lake import Lake
from metering.statements import charges, performance, presence, tariffs
from metering.statements.allocation import Spells, allocate
from metering.statements.charges import ChargedLine, Price
from metering.statements.performance import Gradings
from metering.statements.tables import USAGE
from metering.statements.tariffs import Per, Subject, Tariff
from providers.base import ResourceState
from providers.billing import month_bounds
from providers.contracts import Held
from quota import inventory
from quota.calendar import ZONE
from quota.directory import Pool
from quota.errors import N_, Invalid
from quota.inventory import Resource
from quota.units import CLASSES, Arch, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

HELD = frozenset(ResourceState) - {ResourceState.DELETED}
"""States in which a resource holds its capacity: all but deleted. In the recycle bin it can still be restored."""

SWITCHED_OFF = frozenset({ResourceState.STOPPED, ResourceState.RECYCLED})
"""Of these, those charged as off."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A month as it is known now. ``lines`` by row of ``resources``."""

    until: datetime
    resources: Sequence[Any]
    lines: Sequence[ChargedLine]


def compute(tx: Tx, lake: Lake, month: str) -> Computed:
    """What was held in ``month`` up to now. Raises Invalid for a month that has not begun."""
    start, end = month_bounds(month)
    if tx.now <= start:
        raise Invalid("month.future", N_("%(month)s 尚未开始"), month=month, field="month")
    until = min(end, tx.now)
    edges, first_day = day_edges(month)
    told = inventory.state_periods(tx, start, until)
    rows = list(
        tx.execute(
            select(
                Resource.id, Resource.pool_id, Pool.provider_id, Resource.department_id, Resource.system_id,
                Resource.catalog_item_id, Resource.arch,
            ).join(Pool, Pool.id == Resource.pool_id).order_by(Resource.id)
        )
    )  # fmt: skip
    resources = [one for one in rows if one.id in told]
    seen = presence.observed(tx, lake, start, end, (one.id for one in resources))
    held = allocate(as_spells([told[one.id] for one in resources], start), seen.covered, edges)
    month_s = int((end - start).total_seconds())
    entered, days = tariffs.entered(tx), len(edges) - 1
    prices, lots = _Prices(entered, first_day, days, month_s, performance.graded(tx)), tariffs.lots(tx, entered)

    def priced(row: int, kind: str) -> Sequence[Price | None]:
        one, under = resources[row], None
        if one.provider_id in lots.by_company:
            held = Held(one.provider_id, one.pool_id, kind, one.catalog_item_id, one.department_id)
            under = lots.by_day(held, first_day, days)
        return prices.of(ClassCode(kind), one.arch, one.provider_id, one.catalog_item_id, under or ())

    return Computed(until, resources, charges.charge(held, priced, {kind: CLASSES[kind].factor for kind in CLASSES}))


def day_edges(month: str) -> tuple[Any, date]:
    """The starts of the month's local days and its end, in seconds since it began; and its first day."""
    start, end = month_bounds(month)
    first = start.astimezone(ZONE).date()
    days = (end.astimezone(ZONE).date() - first).days
    moments = [datetime.combine(first + timedelta(days=n), datetime.min.time(), ZONE) for n in range(days + 1)]
    return np.array([int((one - start).total_seconds()) for one in moments], np.int64), first


def as_spells(told: Sequence[Sequence[inventory.StatePeriod]], start: datetime) -> Spells:
    """The history of each resource as the kernel takes it; instants to the whole second, down."""
    base = start.timestamp()
    row: list[int] = []
    stopped: list[bool] = []
    first: list[int] = []
    last: list[int] = []
    held: dict[str, list[int]] = {kind: [] for kind in CLASSES}
    for number, one in enumerate(told):
        for spell in one:
            if spell.state not in HELD:
                continue
            row.append(number)
            stopped.append(spell.state in SWITCHED_OFF)
            first.append(int(spell.start.timestamp() - base))
            last.append(int(spell.end.timestamp() - base))
            for kind in CLASSES:
                held[kind].append(spell.amounts.get(kind, 0))
    return Spells(
        np.array(row, np.int64),
        np.array(stopped, bool),
        np.array(first, np.int64),
        np.array(last, np.int64),
        {kind: np.array(column, np.int64) for kind, column in held.items() if any(column)},
    )


class _Prices:
    """Prices by day, each combination looked up once."""

    def __init__(self, entered: Sequence[Tariff], first: date, days: int, month_s: int, gradings: Gradings) -> None:
        self.entered, self.first, self.days, self.month_s, self.gradings = entered, first, days, month_s, gradings
        self.known: dict[tuple[ClassCode, str, int, int | None, tuple[int | None, ...]], Sequence[Price | None]] = {}
        self.made: dict[int, Price] = {}

    def of(
        self, kind: ClassCode, arch: str, provider: int, item: int | None, under: tuple[int | None, ...]
    ) -> Sequence[Price | None]:
        key = (kind, arch, provider, item, under)
        if key not in self.known:
            subject = Subject(kind, Arch(arch), provider, item)
            found = tariffs.by_day(self.entered, subject, self.first, self.days, self.gradings, under)
            self.known[key] = [self._price(one) if one is not None else None for one in found]
        return self.known[key]

    def _price(self, tariff: Tariff) -> Price:
        if tariff.id not in self.made:
            seconds = 3600 if tariff.per == Per.HOUR else self.month_s
            self.made[tariff.id] = Price.of(tariff.id, tariff.unit_price(False), tariff.unit_price(True), seconds)
        return self.made[tariff.id]


def row(found: Computed, line: ChargedLine) -> dict[str, Any]:
    """A line as a statement keeps it (metering.statements.tables.StatementLine), without its run."""
    one = found.resources[line.row]
    return {
        "charge": USAGE,
        "corrects": "",
        "resource_id": one.id,
        "pool_id": one.pool_id,
        "provider_id": one.provider_id,
        "department_id": one.department_id,
        "system_id": one.system_id,
        "catalog_item_id": one.catalog_item_id,
        "kind": line.kind,
        "stopped": line.stopped,
        "tariff_id": line.price,
        "first_day": line.first_day,
        "last_day": line.last_day,
        "allocated": line.allocated,
        "proven": line.proven,
        "quantity_nano": line.quantity_nano,
        "cost_fen": line.cost_fen,
        "unmeasured_fen": line.unmeasured_fen,
        "days": line.days,
    }
