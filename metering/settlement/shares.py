"""Closed months split among a company's contracts: what each may claim of an invoice, and what no contract covers, to the cent.

An invoice is a sum of lines, each of which one contract covers on a day, or none. Where a contract begins or ends within the month,
a line is split by what is proven of its days. Corrections of earlier months belong to what covers their resource last in the
month that invoices them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Row, func, select

from metering.statements import CORRECTION, MonthClosing, StatementLine, invoice_number
from providers import labour
from providers.billing import month_bounds
from providers.contracts import LABOUR, Held, Lots, contracts
from quota.calendar import ZONE
from quota.directory import CloudProvider

if TYPE_CHECKING:
    from quota.db import Tx

Parts = dict[int | None, int]
"""Contract → fen; None: what no contract covers."""

_LINE = (
    StatementLine.provider_id, StatementLine.pool_id, StatementLine.kind, StatementLine.catalog_item_id,
    StatementLine.department_id,
)  # fmt: skip
"""As ``Held`` has them."""


@dataclass(frozen=True, slots=True)
class MonthShares:
    """Of one company's months, by month: its invoice and the services of people that were confirmed, by contract."""

    used: dict[str, Parts]
    served: dict[str, Parts]

    def fen(self, contract_id: int | None, months: Iterable[str]) -> int:
        return sum(part.get(month, {}).get(contract_id, 0) for month in months for part in (self.used, self.served))


def apportion(fen: int, weights: Sequence[int]) -> list[int]:
    """``fen`` in proportion to ``weights``, to the cent: each the whole cents that it has for sure, the rest to those that are nearest
    to one more. Pure."""
    whole = sum(weights)
    sign, fen = (-1, -fen) if fen < 0 else (1, fen)
    found = [fen * weight // whole for weight in weights]
    nearest = sorted(range(len(weights)), key=lambda n: (-(fen * weights[n] % whole), n))
    for n in nearest[: fen - sum(found)]:
        found[n] += 1
    return [sign * one for one in found]


def of(
    tx: Tx, provider_ids: Collection[int], closed: Sequence[MonthClosing], lots: Lots | None = None
) -> dict[int, MonthShares]:
    """What of these closed months each contract of these companies may claim."""
    lots = contracts.lots(tx, provider_ids) if lots is None else lots
    codes = dict(
        tx.execute(select(CloudProvider.id, CloudProvider.code).where(CloudProvider.id.in_(provider_ids))).all()
    )
    found = {one: MonthShares({}, {}) for one in provider_ids}
    summed: dict[int, list[int]] = {}
    for closing in closed:
        first, last = bounds(closing.month)
        for one, code in codes.items():
            sole = lots.alone(one, first, last)
            if sole is not None or one not in lots.by_company:
                fen = int(closing.invoices.get(invoice_number(closing.month, code), 0))
                found[one].used[closing.month] = {sole: fen}
            elif lots.cut(one, first, last):
                found[one].used[closing.month] = _by_line(tx, closing, one, lots)
            else:
                summed.setdefault(closing.run_id, []).append(one)
    runs = {closing.run_id: closing.month for closing in closed}
    for run_id, those in summed.items():
        for one, parts in _by_sum(tx, run_id, those, lots, bounds(runs[run_id])[1]).items():
            found[one].used[runs[run_id]] = parts
    for job in labour.jobs.parts(tx, {closing.month for closing in closed}):
        if job.provider_id in found:
            held = Held(job.provider_id, job.pool_id, LABOUR, None, job.department_id)
            _add(found[job.provider_id].served.setdefault(job.month, {}), lots.on(held, job.day), job.fen)
    return found


def bounds(month: str) -> tuple[date, date]:
    """The first and the last day of a month."""
    start, end = month_bounds(month)
    return start.astimezone(ZONE).date(), (end.astimezone(ZONE) - timedelta(days=1)).date()


def _by_sum(tx: Tx, run_id: int, provider_ids: Collection[int], lots: Lots, day: date) -> dict[int, Parts]:
    """Of a month all of whose days are alike."""
    mine = StatementLine.run_id == run_id, StatementLine.provider_id.in_(provider_ids)
    found: dict[int, Parts] = {one: {} for one in provider_ids}
    for row in tx.execute(select(*_LINE, func.sum(StatementLine.cost_fen)).where(*mine).group_by(*_LINE)):
        held = Held(*row[:5])
        _add(found[held.provider_id], lots.on(held, day), int(row[5] or 0))
    return found


def _by_line(tx: Tx, closing: MonthClosing, provider_id: int, lots: Lots) -> Parts:
    """Of a month in which a contract begins or ends."""
    first, last = bounds(closing.month)
    count, found = (last - first).days + 1, Parts()
    query = select(*_LINE, StatementLine.charge, StatementLine.cost_fen, StatementLine.days)
    mine = StatementLine.run_id == closing.run_id, StatementLine.provider_id == provider_id
    for line in tx.execute(query.where(*mine).execution_options(yield_per=2000)):
        under = lots.by_day(Held(*line[:5]), first, count)
        for contract_id, fen in _split(line, under):
            _add(found, contract_id, fen)
    return found


def _split(line: Row[tuple[object, ...]], under: Sequence[int | None]) -> list[tuple[int | None, int]]:
    fen = int(line.cost_fen or 0)
    if not fen:
        return []
    if len(set(under)) == 1 or line.charge == CORRECTION:
        return [(next((one for one in reversed(under) if one is not None), None), fen)]
    weights: Parts = {}
    for since, until, _allocated, proven in zip(*line.days, strict=True):
        for day in range(since, until + 1):
            _add(weights, under[day], proven)
    return list(zip(weights, apportion(fen, list(weights.values())), strict=True))


def _add(parts: Parts, contract_id: int | None, fen: int) -> None:
    parts[contract_id] = parts.get(contract_id, 0) + fen
