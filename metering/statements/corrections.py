"""Corrections: what is known now of closed months and was not billed, as lines of the month that takes them.

A closed month is reckoned again only where something that it rests on is not what it was when it was last billed
(metering.statements.reckoning_inputs); all others would give what was billed, line by line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from metering.lake import Lake
from metering.statements import closings, reckoning, reckoning_inputs
from metering.statements.tables import CORRECTION, USAGE, StatementLine

if TYPE_CHECKING:
    from quota.db import Tx

LOOK_BACK = 12
"""Closed months that late evidence and corrected tariffs still change, by correction lines."""

LineKey = tuple[int, str, bool]
"""Resource id, kind, whether it was off."""

KEPT = (
    "resource_id", "pool_id", "provider_id", "department_id", "system_id", "catalog_item_id", "kind", "stopped",
    "tariff_id", "first_day", "last_day", "allocated", "proven", "quantity_nano", "cost_fen", "unmeasured_fen",
)  # fmt: skip
"""What a correction line keeps of the line that it corrects."""

FIGURES = ("allocated", "proven", "quantity_nano", "cost_fen", "unmeasured_fen")


def months(tx: Tx, month: str) -> list[str]:
    """The closed months that ``month`` corrects, oldest first; none unless it follows the last closed one."""
    if closings.corrected_in(tx) != month:
        return []
    return [one.month for one in closings.closings(tx)][-LOOK_BACK:]


def changed(tx: Tx, inputs: Mapping[str, str]) -> list[str]:
    """Of months and what they rest on now: those that were never billed on it."""
    billed = reckoning_inputs.billed(tx)
    return [month for month, digest in inputs.items() if digest not in billed.get(month, ())]


def lines(tx: Tx, lake: Lake, of: Iterable[str]) -> list[dict[str, Any]]:
    """What is known now of these closed months and was not billed: a line for each resource, kind and state that differs."""
    found: list[dict[str, Any]] = []
    for month in of:
        now = _reckoned(tx, lake, month)
        before = _billed(tx, month)
        for key in sorted(now.keys() | before.keys()):
            row = now.get(key) or _gone(before[key])
            was = before.get(key, {})
            change = {name: _minus(row[name], was.get(name)) for name in FIGURES}
            if any(change.values()):
                found.append({**row, **change, "charge": CORRECTION, "corrects": month, "days": []})
    return found


def _reckoned(tx: Tx, lake: Lake, month: str) -> dict[LineKey, dict[str, Any]]:
    """``month`` as it is known now; lines that a change of price splits as one, at the last price."""
    now = reckoning.compute(tx, lake, month)
    found: dict[LineKey, dict[str, Any]] = {}
    for line in now.lines:
        row = reckoning.row(now, line)
        key = (row["resource_id"], row["kind"], row["stopped"])
        if key in found:
            add(found[key], row)
            found[key]["tariff_id"] = row["tariff_id"]
        else:
            found[key] = row
    return found


def _billed(tx: Tx, month: str) -> dict[LineKey, dict[str, Any]]:
    """What closed runs say of ``month``: its own lines, and the corrections made since."""
    of = {one.run_id: one.month for one in closings.closings(tx)}
    own = [run_id for run_id, which in of.items() if which == month]
    wanted = (StatementLine.run_id.in_(own) & (StatementLine.charge == USAGE)) | (
        StatementLine.run_id.in_(list(of)) & (StatementLine.corrects == month)
    )
    query = select(*(getattr(StatementLine, name) for name in KEPT)).where(wanted).order_by(StatementLine.id)
    found: dict[LineKey, dict[str, Any]] = {}
    for line in tx.execute(query):
        key = (line.resource_id, line.kind, line.stopped)
        if key in found:
            add(found[key], dict(zip(KEPT, line, strict=True)))
        else:
            found[key] = dict(zip(KEPT, line, strict=True))
    return found


def add(row: dict[str, Any], other: Mapping[str, Any], names: Sequence[str] = FIGURES) -> None:
    """Add the figures of ``other`` to those of ``row``; unknown and known is known."""
    for name in names:
        if other[name] is not None:
            row[name] = other[name] if row[name] is None else row[name] + other[name]


def _gone(before: Mapping[str, Any]) -> dict[str, Any]:
    """A line that is not there any more: all of it is taken back."""
    return {**before, **dict.fromkeys(FIGURES, 0)}


def _minus(number: int | None, other: int | None) -> int | None:
    """A change; None where there never was a price."""
    return None if number is None and other is None else (number or 0) - (other or 0)
