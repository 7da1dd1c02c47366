"""Statements (对账单): what each department held of each provider's cloud in a month, by our own evidence, and what it costs.

``make`` computes a month from the inventory's history and the lake and keeps it; the same result again is the same run, any
other one the next revision, with the differences to the one before line by line (``differences``). A closed month is never
computed anew into itself: what is known now and was not billed becomes correction lines of the next open month.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, Table, func, insert, select
from sqlalchemy.orm import defer, joinedload

from metering.lake import Lake
from metering.memory import uncollected
from metering.statements import closings, corrections, reckoning, reckoning_inputs
from metering.statements.closings import MonthClosing
from metering.statements.tables import CORRECTION, USAGE, StatementLine, StatementRun
from metering.statements.tariffs import Tariff
from metering.workbench import Workbench
from providers.billing import month_bounds
from quota import seals
from quota.actors import Actor, Role, steward
from quota.directory import CatalogItem, CloudProvider, Department, Pool, System
from quota.errors import N_, Conflict, Invalid, NotFound
from quota.inspection import going_on, rows
from quota.inventory import Resource, seen_by

if TYPE_CHECKING:
    from quota.db import Tx

# ------------------------------------------------------------------------------------------------------------- keeping


def make(
    workbench: Workbench, month: str, *, actor: Actor | None = None, reason: str = "", afresh: bool = False
) -> StatementRun:
    """Compute and keep the statement of ``month``; the run that stands where nothing changed, or the month is closed.

    ``afresh``: reckon the closed months again too of which nothing has changed. Raises NotAllowed, Invalid for no month or
    one that has not begun, Conflict where others make or close months again and again meanwhile.
    """
    who = actor or steward("job:statements")
    who.must_be(Role.SYSTEM, Role.SUPERVISOR, Role.AUTHORITY)
    for _ in range(TRIES):
        with workbench.book.reading(who, one_moment=True) as tx, uncollected():
            closed = closings.closing(tx, month)
            if closed is not None:
                return run(tx, closed.run_id)
            draft = _draft(tx, workbench.lake, month, afresh=afresh)
        with workbench.book.transaction(who) as tx:
            closings.hold(tx)
            if _footing(tx, month) == draft.footing:
                return _keep(tx, draft, reason)
    raise Conflict("statement.busy", N_("%(month)s 的对账单正由他人生成或月结,请稍后重试"), month=month)


TRIES = 5
"""How often a statement is begun again because a run was kept, or a month closed, while it was computed."""

Footing = tuple[int, tuple[int, ...]]
"""The run of the month that stands (0: none), and all closings: what a computation must still find when it is kept."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A month as computed, not kept yet. ``inputs``: of it and the closed months that it corrects (reckoning_inputs)."""

    month: str
    until: datetime
    rows: Sequence[dict[str, Any]]
    digest: str
    tariff_id: int | None
    inputs: Mapping[str, str]
    footing: Footing


def _footing(tx: Tx, month: str) -> Footing:
    standing = latest(tx, month)
    return standing.id if standing is not None else 0, tuple(one.id for one in closings.closings(tx))


def _draft(tx: Tx, lake: Lake, month: str, *, afresh: bool) -> _Draft:
    footing = _footing(tx, month)
    before = corrections.months(tx, month)
    whole = [month] if tx.now >= month_bounds(month)[1] else []  # a month is closed on a run of all of it
    inputs = reckoning_inputs.digests(tx, lake, [*before, *whole])
    found = reckoning.compute(tx, lake, month)
    rows = [reckoning.row(found, line) for line in found.lines]
    doubtful = before if afresh else corrections.changed(tx, {one: inputs[one] for one in before})
    rows += corrections.lines(tx, lake, doubtful)
    digest = _digest([row[name] for name in SEALED] for row in rows)
    return _Draft(month, found.until, rows, digest, tx.scalar(select(func.max(Tariff.id))), inputs, footing)


def _keep(tx: Tx, draft: _Draft, reason: str) -> StatementRun:
    """The run that says what ``draft`` does: the one that stands, or the next revision."""
    standing, rows = latest(tx, draft.month), draft.rows
    if standing is not None and standing.digest == draft.digest:
        reckoning_inputs.enter(tx, standing, draft.inputs)
        return standing
    made = StatementRun(
        month=draft.month,
        revision=standing.revision + 1 if standing is not None else 1,
        digest=draft.digest,
        until=draft.until,
        tariff_id=draft.tariff_id,
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
    reckoning_inputs.enter(tx, made, draft.inputs)
    tx.audit(
        "statement.make",
        f"statement:{made.id}",
        before={"run": standing.id, "proven_fen": standing.proven_fen} if standing is not None else None,
        after={"month": made.month, "revision": made.revision, "lines": made.lines, "proven_fen": made.proven_fen,
               "unmeasured_fen": made.unmeasured_fen, "correction_fen": made.correction_fen, "digest": made.digest},
        reason=made.reason,
    )  # fmt: skip
    return made


def settle(workbench: Workbench, month: str, *, run_id: int, actor: Actor, reason: str = "") -> MonthClosing:
    """Close ``month`` (see ``close``) and seal it in the lake: what arrives for it from then on lies beside its days."""
    with workbench.book.transaction(actor) as tx:
        closed = close(tx, month, run_id=run_id, reason=reason)
    workbench.lake.seal(month)
    return closed


def close(tx: Tx, month: str, *, run_id: int, reason: str = "") -> MonthClosing:
    """Close ``month`` on the run that stands; ``run_id`` is the one that was looked at.

    Raises as closings.close; NotFound without a run, Invalid where another one stands by now or it is not of the whole
    month.
    """
    closings.hold(tx)
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


def check_closings(tx: Tx) -> Iterator[str]:
    """Yield a sentence for each closed month whose invoices are not what the lines of its run sum to."""
    said: list[str] = []
    for one in rows(tx, select(MonthClosing).order_by(MonthClosing.id), said):
        with going_on(said, "month_closings", one.id):
            closed_on = tx.get(StatementRun, one.run_id)
            if closed_on is None or closed_on.month != one.month:
                yield f"month_closings: row {one.id} ({one.month}) names run {one.run_id}, which is not of that month"
            elif invoices(tx, closed_on) != one.invoices:
                yield f"month_closings: row {one.id} ({one.month}) says other invoices than the lines of run {one.run_id} sum to"
    yield from said


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
    said: list[str] = []
    for run_id in run_ids:
        with going_on(said, "statement_runs", run_id):
            one = tx.get_one(StatementRun, run_id)
            lines = tx.execute(select(*columns).where(StatementLine.run_id == one.id).order_by(StatementLine.id))
            if _digest(tuple(line) for line in lines) != one.digest:
                yield f"statement_runs: row {one.id} ({one.month}) does not match its seal: a line was changed, added or removed"
    yield from said


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


NAMED = (CloudProvider, Pool, Department, System, Tariff, CatalogItem)
"""What lines name, resources apart: few rows each, that many lines share."""


def lines_of(
    tx: Tx, of: StatementRun, where: ColumnElement[bool] | None = None, *, days: bool = True
) -> Iterator[StatementLine]:
    """The lines of a run in their order, a few thousand at a time, with all that they name while ``tx`` is open.

    ``days`` False: for those who don't ask what was held day by day.
    """
    shared = [
        list(tx.scalars(select(model))) for model in NAMED
    ]  # the session finds them again as long as they are held
    told = joinedload(StatementLine.resource).load_only(
        Resource.name, Resource.external_id, Resource.kind, Resource.arch
    )
    query = select(StatementLine).where(StatementLine.run_id == of.id).options(told)
    if where is not None:
        query = query.where(where)
    if not days:
        query = query.options(defer(StatementLine.days))
    yield from tx.scalars(query.order_by(StatementLine.id).execution_options(yield_per=2000))
    del shared


@dataclass(frozen=True, slots=True)
class LineDifference:
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


def differences(tx: Tx, run: StatementRun, other: StatementRun) -> list[LineDifference]:
    """Row by row what changed from ``run`` to ``other``: by resource, kind, state and month."""
    sides = [_by_key(tx, of) for of in (run, other)]
    found = []
    for key in sorted(sides[0].keys() | sides[1].keys()):
        before, after = sides[0].get(key), sides[1].get(key)
        if before != after:
            found.append(LineDifference(*key, before, after))
    return found


def _by_key(tx: Tx, of: StatementRun) -> dict[tuple[int, str, bool, str], dict[str, Any]]:
    found: dict[tuple[int, str, bool, str], dict[str, Any]] = {}
    names = (*corrections.FIGURES, "tariff_id")
    columns = [getattr(StatementLine, name) for name in ("resource_id", "kind", "stopped", "corrects", *names)]
    for row in tx.execute(select(*columns).where(StatementLine.run_id == of.id).order_by(StatementLine.id)):
        key = (row[0], row[1], row[2], row[3])
        told = dict(zip(names, row[4:], strict=True))
        if key in found:
            corrections.add(found[key], told)
            found[key]["tariff_id"] = told["tariff_id"]
        else:
            found[key] = told
    return found
