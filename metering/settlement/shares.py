"""Closed months split among a company's contracts: what each may claim of an invoice, and what no contract covers, to the cent.

An invoice is a sum of lines, each of which one contract covers on a day, or none. Where a contract begins or ends within the month,
a line is split by what is proven of its days. Corrections of earlier months belong to what covers their resource last in the
month that invoices them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Integer, and_, case, false, func, literal, not_, null, or_, select
from sqlalchemy import cast as sql_cast

from metering.statements import CORRECTION, MonthClosing, StatementLine, invoice_number
from providers import labour
from providers.billing import month_bounds
from providers.contracts import LABOUR, Held, Lots, contracts
from quota.calendar import ZONE
from quota.db import among
from quota.directory import CloudProvider

if TYPE_CHECKING:
    from quota.db import Tx

Parts = dict[int | None, int]
"""Contract → fen; None: what no contract covers."""


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
    codes = {one: tx.get_one(CloudProvider, one).code for one in provider_ids} if closed else {}
    found = {one: MonthShares({}, {}) for one in provider_ids}
    for closing in closed:
        first, last = bounds(closing.month)
        summed = []
        for one, code in codes.items():
            sole = lots.alone(one, first, last)
            if sole is not None or one not in lots.by_company:
                fen = int(closing.invoices.get(invoice_number(closing.month, code), 0))
                found[one].used[closing.month] = {sole: fen}
            else:
                summed.append(one)
        for one, parts in _split_month(tx, closing, summed, lots).items() if summed else ():
            found[one].used[closing.month] = parts
    for job in labour.jobs.parts(tx, {closing.month for closing in closed}):
        if job.provider_id in found:
            held = Held(job.provider_id, job.pool_id, LABOUR, None, job.department_id)
            _add(found[job.provider_id].served.setdefault(job.month, {}), lots.on(held, job.day), job.fen)
    return found


def bounds(month: str) -> tuple[date, date]:
    """The first and the last day of a month."""
    start, end = month_bounds(month)
    return start.astimezone(ZONE).date(), (end.astimezone(ZONE) - timedelta(days=1)).date()


def _split_month(tx: Tx, closing: MonthClosing, provider_ids: Collection[int], lots: Lots) -> dict[int, Parts]:
    """Summed by the database; of lines that come under another contract within the month each by itself."""
    first, last = bounds(closing.month)
    starts = lots.stretches(provider_ids, first, last)
    line = StatementLine
    under = [_contract(lots, provider_ids, start).label(f"under_{n}") for n, start in enumerate(starts)]
    whole = (
        select(line.id, line.provider_id, line.charge, line.cost_fen, *under)
        .where(line.run_id == closing.run_id, line.provider_id.in_(provider_ids))
        .subquery()
    )
    parts = [whole.c[one.name] for one in under]
    cut = and_(
        whole.c.charge != CORRECTION, or_(false(), *(one.is_distinct_from(other) for one, other in pairwise(parts)))
    )
    found: dict[int, Parts] = {one: {} for one in provider_ids}
    sums = select(whole.c.provider_id, func.sum(whole.c.cost_fen), *parts).where(not_(cut))
    for company, fen, *those in tx.execute(sums.group_by(whole.c.provider_id, *parts)):
        _add(found[company], next((one for one in reversed(those) if one is not None), None), int(fen or 0))
    if len(starts) == 1:
        return found
    lengths = [(until - since).days for since, until in pairwise([*starts, last + timedelta(days=1)])]
    each = select(whole.c.provider_id, whole.c.cost_fen, line.days, *parts).join(line, line.id == whole.c.id).where(cut)
    for company, fen, days, *those in tx.execute(each.execution_options(yield_per=2000)):
        by_day = [one for one, length in zip(those, lengths, strict=True) for _day in range(length)]
        for contract_id, part in _split(int(fen or 0), days, by_day):
            _add(found[company], contract_id, part)
    return found


def _contract(lots: Lots, provider_ids: Collection[int], day: date) -> ColumnElement[int | None]:
    """The contract that a line comes under on a day, as ``Lots.on`` says it."""
    line = StatementLine
    there = sorted(
        (lot for one in provider_ids for lot in lots.by_company.get(one, ()) if lot.on(day)), key=lambda lot: lot.rank
    )
    whens = []
    for lot in there:
        said = lot.coverage
        named = (line.catalog_item_id, said.items), (line.pool_id, said.pools), (line.department_id, said.departments)
        covered = [among(column, ids) for column, ids in named if ids]
        if said.classes:
            covered.append(line.kind.in_(sorted(said.classes)))
        whens.append((and_(line.provider_id == lot.provider_id, *covered), literal(lot.id, Integer)))
    return sql_cast(case(*whens, else_=None) if whens else null(), Integer)


def _split(fen: int, days: Sequence[Sequence[int]], under: Sequence[int | None]) -> list[tuple[int | None, int]]:
    """A line by what is proven of its days."""
    if not fen:
        return []
    weights: Parts = {}
    for since, until, _allocated, proven in zip(*days, strict=True):
        for day in range(since, until + 1):
            _add(weights, under[day], proven)
    return list(zip(weights, apportion(fen, list(weights.values())), strict=True))


def _add(parts: Parts, contract_id: int | None, fen: int) -> None:
    parts[contract_id] = parts.get(contract_id, 0) + fen
