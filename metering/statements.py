"""Statements (对账单): what each department held of each provider's cloud in a month, by our own evidence, and what it costs.

``make`` computes a month from the inventory's history and the lake and keeps it; the same result again is the same run, any
other one the next revision, with the differences to the one before line by line (``differences``). A closed month is never
computed anew into itself: what is known now and was not billed becomes correction lines of the next open month.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sqlalchemy import ColumnElement, Table, func, insert, select
from sqlalchemy.orm import joinedload

from metering import charges, closings, presence, tariffs
from metering.allocation import Spells, allocate
from metering.charges import Line, Price
from metering.closings import MonthClosing
from metering.lake import Lake
from metering.statement_rows import CORRECTION, USAGE, StatementLine, StatementRun
from metering.tariffs import Per, Subject, Tariff
from metering.works import Works
from providers import inventory
from providers.base import ResourceState
from providers.bills import month_bounds
from providers.inventory import Resource, seen_by
from quota import seals
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotFound
from quota.pools import CloudProvider, Pool
from quota.units import UNITS, Arch, Kind

if TYPE_CHECKING:
    from quota.db import Tx

LOOK_BACK = 12
"""Closed months that late evidence and corrected tariffs still change, by correction lines."""

Key = tuple[int, str, bool]
"""Resource id, kind, whether it was off."""

HELD = frozenset({ResourceState.RUNNING, ResourceState.STOPPED, ResourceState.ERROR, ResourceState.RECYCLED})
"""States in which a resource holds its capacity: all but deleted. In the recycle bin it can still be restored."""

OFF = frozenset({ResourceState.STOPPED, ResourceState.RECYCLED})
"""Of these, those charged as off."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A month as it is known now. ``lines`` by row of ``resources``."""

    until: datetime
    resources: Sequence[Any]
    lines: Sequence[Line]


def compute(tx: Tx, lake: Lake, month: str) -> Computed:
    """What was held in ``month`` up to now. Raises Invalid for a month that has not begun."""
    start, end = month_bounds(month)
    if tx.now <= start:
        raise Invalid("month.future", N_("%(month)s 尚未开始"), month=month, field="month")
    until = min(end, tx.now)
    edges, first_day = day_edges(month)
    told = inventory.spells(tx, start, until)
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
    prices = _Prices(tariffs.entered(tx), first_day, len(edges) - 1, int((end - start).total_seconds()))

    def priced(row: int, kind: str) -> Sequence[Price | None]:
        one = resources[row]
        return prices.of(Kind(kind), one.arch, one.provider_id, one.catalog_item_id)

    return Computed(until, resources, charges.charge(held, priced, {kind.value: UNITS[kind].factor for kind in Kind}))


def day_edges(month: str) -> tuple[Any, date]:
    """The starts of the month's local days and its end, in seconds since it began; and its first day."""
    start, end = month_bounds(month)
    first = start.astimezone(ZONE).date()
    days = (end.astimezone(ZONE).date() - first).days
    moments = [datetime.combine(first + timedelta(days=n), datetime.min.time(), ZONE) for n in range(days + 1)]
    return np.array([int((one - start).total_seconds()) for one in moments], np.int64), first


def as_spells(told: Sequence[Sequence[inventory.Spell]], start: datetime) -> Spells:
    """The history of each resource as the kernel takes it; instants to the whole second, down."""
    base = start.timestamp()
    row: list[int] = []
    stopped: list[bool] = []
    first: list[int] = []
    last: list[int] = []
    held: dict[str, list[int]] = {kind.value: [] for kind in Kind}
    for number, one in enumerate(told):
        for spell in one:
            if spell.state not in HELD:
                continue
            row.append(number)
            stopped.append(spell.state in OFF)
            first.append(int(spell.start.timestamp() - base))
            last.append(int(spell.end.timestamp() - base))
            for kind in Kind:
                held[kind.value].append(spell.amounts.get(kind, 0))
    return Spells(
        np.array(row, np.int64),
        np.array(stopped, bool),
        np.array(first, np.int64),
        np.array(last, np.int64),
        {kind: np.array(column, np.int64) for kind, column in held.items() if any(column)},
    )


class _Prices:
    """Prices by day, each combination looked up once."""

    def __init__(self, entered: Sequence[Tariff], first: date, days: int, month_s: int) -> None:
        self.entered, self.first, self.days, self.month_s = entered, first, days, month_s
        self.known: dict[tuple[Kind, str, int, int | None], Sequence[Price | None]] = {}
        self.made: dict[int, Price] = {}

    def of(self, kind: Kind, arch: str, provider: int, item: int | None) -> Sequence[Price | None]:
        key = (kind, arch, provider, item)
        if key not in self.known:
            found = tariffs.by_day(self.entered, Subject(kind, Arch(arch), provider, item), self.first, self.days)
            self.known[key] = [self._price(one) if one is not None else None for one in found]
        return self.known[key]

    def _price(self, one: Tariff) -> Price:
        if one.id not in self.made:
            seconds = 3600 if one.per == Per.HOUR else self.month_s
            self.made[one.id] = Price.of(one.id, one.unit_price(False), one.unit_price(True), seconds)
        return self.made[one.id]


# ------------------------------------------------------------------------------------------------------------- keeping


def make(works: Works, month: str, *, actor: Actor | None = None, reason: str = "") -> StatementRun:
    """Compute and keep the statement of ``month``; the run that stands where nothing changed, or the month is closed.

    Raises NotAllowed, Invalid for no month or one that has not begun.
    """
    who = actor or steward("job:statements")
    who.must_be(Role.SYSTEM, Role.SUPERVISOR, Role.AUTHORITY)
    with works.book.reading(who) as tx, charges.uncollected():
        closed = closings.closing(tx, month)
        if closed is not None:
            return run(tx, closed.run_id)
        found = compute(tx, works.lake, month)
        rows = [_row(found, line) for line in found.lines]
        if closings.corrected_in(tx) == month:
            rows += _corrections(tx, works.lake, month)
        digest = _digest([row[name] for name in SEALED] for row in rows)
        last_tariff = tx.scalar(select(func.max(Tariff.id)))
    with works.book.transaction(who) as tx:
        closings.must_be_open(tx, month)
        standing = latest(tx, month)
        if standing is not None and standing.digest == digest:
            return standing
        made = StatementRun(
            month=month,
            revision=standing.revision + 1 if standing is not None else 1,
            digest=digest,
            until=found.until,
            tariff_id=last_tariff,
            resources=len({row["resource_id"] for row in rows}),
            lines=len(rows),
            unpriced=sum(row["charge"] == USAGE and row["cost_fen"] is None for row in rows),
            proven_fen=sum(row["cost_fen"] or 0 for row in rows if row["charge"] == USAGE),
            unmeasured_fen=sum(row["unmeasured_fen"] or 0 for row in rows if row["charge"] == USAGE),
            correction_fen=sum(row["cost_fen"] or 0 for row in rows if row["charge"] == CORRECTION),
            reason=reason.strip(),
            made_at=tx.now,
            made_by=tx.actor.login,
        )
        tx.add(made)
        tx.flush()
        table = cast("Table", StatementLine.__table__)  # rows, not objects: nothing asks for them again here
        for low in range(0, len(rows), 5000):
            tx.execute(insert(table), [{**row, "run_id": made.id} for row in rows[low : low + 5000]])
        tx.audit(
            "statement.make",
            f"statement:{made.id}",
            before={"run": standing.id, "proven_fen": standing.proven_fen} if standing is not None else None,
            after={"month": month, "revision": made.revision, "lines": made.lines, "proven_fen": made.proven_fen,
                   "unmeasured_fen": made.unmeasured_fen, "correction_fen": made.correction_fen, "digest": digest},
            reason=made.reason,
        )  # fmt: skip
        return made


def settle(works: Works, month: str, *, run_id: int, actor: Actor, reason: str = "") -> MonthClosing:
    """Close ``month`` (see ``close``) and seal it in the lake: what arrives for it from then on lies beside its days."""
    with works.book.transaction(actor) as tx:
        closed = close(tx, month, run_id=run_id, reason=reason)
    works.lake.seal(month)
    return closed


def close(tx: Tx, month: str, *, run_id: int, reason: str = "") -> MonthClosing:
    """Close ``month`` on the run that stands; ``run_id`` is the one that was looked at.

    Raises as closings.close; NotFound without a run, Invalid where another one stands by now or it is not of the whole
    month.
    """
    standing = latest(tx, month)
    if standing is None:
        raise NotFound("statement.none", N_("%(month)s 还没有对账单"), month=month)
    if standing.id != run_id:
        raise Invalid("statement.stale", N_("对账单已有新的版本,请重新查看后再月结"), month=month)
    if standing.until < month_bounds(month)[1]:
        raise Invalid("statement.partial", N_("对账单未覆盖整月,请重新生成后再月结"), month=month)
    return closings.close(tx, month, standing.id, invoices(tx, standing), reason=reason)


def invoices(tx: Tx, of: StatementRun) -> dict[str, int]:
    """Invoice number → fen: one invoice a company, its usage and corrections together."""
    rows = tx.execute(
        select(CloudProvider.code, func.sum(StatementLine.cost_fen))
        .join(CloudProvider, CloudProvider.id == StatementLine.provider_id)
        .where(StatementLine.run_id == of.id, StatementLine.cost_fen.is_not(None))
        .group_by(CloudProvider.code)
        .order_by(CloudProvider.code)
    )
    return {invoice_number(of.month, code): int(fen or 0) for code, fen in rows}


def invoice_number(month: str, provider_code: str) -> str:
    """The number under which a company's month is invoiced."""
    return f"{month}-{provider_code}"


def _row(found: Computed, line: Line) -> dict[str, Any]:
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


SEALED = (
    "charge", "corrects", "resource_id", "pool_id", "provider_id", "department_id", "system_id", "catalog_item_id",
    "kind", "stopped", "tariff_id", "first_day", "last_day", "allocated", "proven", "quantity_nano", "cost_fen",
    "unmeasured_fen", "days",
)  # fmt: skip
"""The columns of a line that its run's seal covers, in its order."""


def _digest(rows: Iterable[Sequence[Any]]) -> str:
    """One seal over all lines in their order: of each the columns ``SEALED``."""
    return seals.seal("\n".join(json.dumps(list(row), ensure_ascii=False) for row in rows).encode())


def check(tx: Tx, run_ids: Iterable[int]) -> Iterator[str]:
    """Recompute the seal of each of these runs; yield a sentence for each whose lines are not those that were sealed."""
    columns = [getattr(StatementLine, name) for name in SEALED]
    for run_id in run_ids:
        one = tx.get_one(StatementRun, run_id)
        lines = tx.execute(select(*columns).where(StatementLine.run_id == one.id).order_by(StatementLine.id))
        if _digest(tuple(line) for line in lines) != one.digest:
            yield f"statement_runs: row {one.id} ({one.month}) does not match its seal: a line was changed, added or removed"


KEPT = (
    "resource_id", "pool_id", "provider_id", "department_id", "system_id", "catalog_item_id", "kind", "stopped",
    "tariff_id", "first_day", "last_day", "allocated", "proven", "quantity_nano", "cost_fen", "unmeasured_fen",
)  # fmt: skip
"""What a correction line keeps of the line that it corrects."""

FIGURES = ("allocated", "proven", "quantity_nano", "cost_fen", "unmeasured_fen")


def _corrections(tx: Tx, lake: Lake, month: str) -> list[dict[str, Any]]:
    """What is known now of closed months and was not billed: a line for each resource, kind and state that differs."""
    found: list[dict[str, Any]] = []
    closed = [one for one in closings.closings(tx) if one.month < month][-LOOK_BACK:]
    for one in closed:
        now = compute(tx, lake, one.month)
        rows: dict[Key, dict[str, Any]] = {}
        for line in now.lines:
            row = _row(now, line)
            key = (row["resource_id"], row["kind"], row["stopped"])
            if key in rows:
                for name in FIGURES:
                    rows[key][name] = _plus(rows[key][name], row[name])
                rows[key]["tariff_id"] = row["tariff_id"]
            else:
                rows[key] = row
        billed = _billed(tx, one.month)
        for key in sorted(rows.keys() | billed.keys()):
            row = rows.get(key) or _gone(billed[key])
            before = billed.get(key, {})
            change = {name: _minus(row[name], before.get(name)) for name in FIGURES}
            if any(change.values()):
                found.append({**row, **change, "charge": CORRECTION, "corrects": one.month, "days": []})
    return found


def _billed(tx: Tx, month: str) -> dict[Key, dict[str, Any]]:
    """What closed runs say of ``month``: its own lines, and the corrections made since."""
    runs = [one.run_id for one in closings.closings(tx)]
    of = {one.run_id: one.month for one in closings.closings(tx)}
    found: dict[Key, dict[str, Any]] = {}
    own = [run_id for run_id in runs if of[run_id] == month]
    wanted = (StatementLine.run_id.in_(own) & (StatementLine.charge == USAGE)) | (
        StatementLine.run_id.in_(runs) & (StatementLine.corrects == month)
    )
    for line in tx.scalars(select(StatementLine).where(wanted).order_by(StatementLine.id)):
        key = (line.resource_id, line.kind, line.stopped)
        if key in found:
            for name in FIGURES:
                found[key][name] = _plus(found[key][name], getattr(line, name))
        else:
            found[key] = {name: getattr(line, name) for name in KEPT}
    return found


def _gone(before: Mapping[str, Any]) -> dict[str, Any]:
    """A line that is not there any more: all of it is taken back."""
    return {**before, **dict.fromkeys(FIGURES, 0)}


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _minus(one: int | None, other: int | None) -> int | None:
    """A change; None where there never was a price."""
    return None if one is None and other is None else (one or 0) - (other or 0)


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Lines that ``actor`` may see: a department its own, a company those of its pools."""
    return seen_by(tx, actor, StatementLine.department_id, StatementLine.pool_id)


def latest(tx: Tx, month: str) -> StatementRun | None:
    """The newest run of a month."""
    query = select(StatementRun).where(StatementRun.month == month).order_by(StatementRun.revision.desc()).limit(1)
    return tx.scalar(query)


def runs_of(tx: Tx, month: str) -> list[StatementRun]:
    """Every run of a month, newest first."""
    query = select(StatementRun).where(StatementRun.month == month).order_by(StatementRun.revision.desc())
    return list(tx.scalars(query))


def months(tx: Tx) -> list[str]:
    """Months that have a statement, newest first."""
    return list(tx.scalars(select(StatementRun.month).distinct().order_by(StatementRun.month.desc())))


def run(tx: Tx, run_id: int) -> StatementRun:
    """A run. Raises NotFound."""
    found = tx.get(StatementRun, run_id)
    if found is None:
        raise NotFound("statement.none", N_("没有这份对账单"))
    return found


def lines_of(tx: Tx, of: StatementRun, where: ColumnElement[bool] | None = None) -> Iterator[StatementLine]:
    """The lines of a run with all that they name, in their order, a few thousand at a time."""
    named = (
        StatementLine.resource, StatementLine.provider, StatementLine.pool, StatementLine.department,
        StatementLine.system, StatementLine.tariff, StatementLine.item,
    )  # fmt: skip
    query = select(StatementLine).where(StatementLine.run_id == of.id)
    if where is not None:
        query = query.where(where)
    query = query.options(*(joinedload(one) for one in named)).order_by(StatementLine.id)
    yield from tx.scalars(query.execution_options(yield_per=2000))


@dataclass(frozen=True, slots=True)
class Difference:
    """How one resource, kind and state differs between two runs; None where a run has no such line."""

    resource_id: int
    kind: str
    stopped: bool
    corrects: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    def change(self, name: str) -> int:
        """After less before, of a figure."""
        return int((self.after or {}).get(name) or 0) - int((self.before or {}).get(name) or 0)


def differences(tx: Tx, one: StatementRun, other: StatementRun) -> list[Difference]:
    """Row by row what changed from ``one`` to ``other``: by resource, kind, state and month."""
    sides = [_by_key(tx, of) for of in (one, other)]
    found = []
    for key in sorted(sides[0].keys() | sides[1].keys()):
        before, after = sides[0].get(key), sides[1].get(key)
        if before != after:
            found.append(Difference(*key, before, after))
    return found


def _by_key(tx: Tx, of: StatementRun) -> dict[tuple[int, str, bool, str], dict[str, Any]]:
    found: dict[tuple[int, str, bool, str], dict[str, Any]] = {}
    names = (*FIGURES, "tariff_id")
    columns = [getattr(StatementLine, name) for name in ("resource_id", "kind", "stopped", "corrects", *names)]
    for row in tx.execute(select(*columns).where(StatementLine.run_id == of.id).order_by(StatementLine.id)):
        key = (row[0], row[1], row[2], row[3])
        told = dict(zip(names, row[4:], strict=True))
        if key in found:
            for name in FIGURES:
                found[key][name] = _plus(found[key][name], told[name])
            found[key]["tariff_id"] = told["tariff_id"]
        else:
            found[key] = told
    return found
