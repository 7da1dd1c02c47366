"""Editions: a report made once stays as it was; what has become known since makes another, which says what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from metering.reports import readings, scopes
from metering.reports.differences import EditionDifference, differences
from metering.reports.frames import Frame
from metering.reports.gathering import gather
from metering.reports.periods import ReportPeriod
from metering.reports.scopes import ReportScope, ScopeKind
from metering.reports.tables import ReportEdition, ReportInputs
from quota import inspection
from quota.actors import Role
from quota.calendar import working_days
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, stated
from quota.seals import canonical, fingerprint

if TYPE_CHECKING:
    from metering.workbench import Workbench
    from quota.actors import Actor
    from quota.db import Tx

MAKERS = (Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)


def make(
    workbench: Workbench,
    scope: str,
    period: ReportPeriod,
    *,
    actor: Actor,
    reason: str = "",
    anew: bool = False,
    known_at: datetime | None = None,
    standing: Mapping[str, Any] | None = None,
) -> ReportEdition:
    """The newest edition of a report, made where there is none; ``anew``: another one, for a ``reason``, from what is known by
    now (or by ``known_at``). Where nothing has changed since the newest, that one stays.

    Made again by ``known_at``, also where the book has lost the editions, it is the same: what it has from the lake was kept.

    Raises NotAllowed, NotFound and Invalid for whom it is about, WrongState for days that are not over, Invalid for another
    edition without a reason, Conflict where somebody made one meanwhile, Damaged and LakeFull.
    """
    actor.must_be(*MAKERS)
    with workbench.book.reading(actor, one_moment=True) as tx:
        whose = scopes.scope(tx, scope)
        latest = newest(tx, whose.kind, whose.id, period)
        if latest is not None and not anew:
            return latest
        if latest is not None:
            reason = stated(reason, code="report.reason", message=N_("请写明出具新版的原因"))
        frame = _frame(tx, str(workbench.lake.root), whose, period, known_at)
        document = gather(frame, standing)
        known = frame.known_at
        if latest is not None and not differences(latest.inputs.document(), document):
            return latest
        frame.readings.keep()
    with workbench.book.transaction(actor) as tx:
        return _keep(tx, whose, period, document, known, reason, after=latest.number if latest else 0)


def _frame(tx: Tx, lake: str, whose: ReportScope, period: ReportPeriod, known_at: datetime | None) -> Frame:
    # In whole seconds: as it is printed, so that paper is enough to have the edition made again.
    frame = Frame(tx, lake, whose, period, known_at or tx.now.replace(microsecond=0), working_days(tx))
    if tx.now < frame.end:
        raise WrongState("report.not_over", N_("%(period)s 尚未结束，不能出报告"), period=period.code)
    if not frame.end <= frame.known_at <= tx.now + timedelta(minutes=1):
        raise Invalid("report.known_at", N_("资料截止时间应在报告期结束之后、现在之前"), field="known_at")
    return frame


def _keep(
    tx: Tx,
    whose: ReportScope,
    period: ReportPeriod,
    document: Mapping[str, Any],
    known_at: datetime,
    reason: str,
    *,
    after: int,
) -> ReportEdition:
    tx.alone(f"report:{whose.kind}:{whose.id}:{period.code}")
    latest = newest(tx, whose.kind, whose.id, period)
    if (latest.number if latest else 0) != after:
        raise Conflict("report.made_meanwhile", N_("这份报告刚刚出了新的一版，请刷新后再看"))
    digest = fingerprint(document)
    if tx.get(ReportInputs, digest) is None:
        tx.add(ReportInputs(digest=digest, content=canonical(document).decode()))
        tx.flush()
    row = ReportEdition(
        scope=whose.kind.value,
        scope_id=whose.id,
        first_day=period.first,
        last_day=period.last,
        number=after + 1,
        name=document["scope"]["name"] or "",
        inputs_digest=digest,
        known_at=known_at,
        reason=reason.strip(),
        made_at=tx.now,
        made_by=tx.actor.login,
    )
    tx.add(row)
    tx.flush()
    tx.audit(
        "report.make",
        row.subject,
        after={"scope": whose.text, "period": period.code, "number": row.number, "inputs": digest},
        reason=row.reason,
    )
    return row


def newest(tx: Tx, kind: ScopeKind, scope_id: int, period: ReportPeriod) -> ReportEdition | None:
    """The edition of that report that stands."""
    return next(iter(of_report(tx, kind, scope_id, period)), None)


def of_report(tx: Tx, kind: ScopeKind, scope_id: int, period: ReportPeriod) -> list[ReportEdition]:
    """Every edition of a report, the newest first."""
    query = select(ReportEdition).where(
        ReportEdition.scope == kind.value,
        ReportEdition.scope_id == scope_id,
        ReportEdition.first_day == period.first,
        ReportEdition.last_day == period.last,
    )
    return list(tx.scalars(query.order_by(ReportEdition.number.desc())))


def made(tx: Tx, period: ReportPeriod) -> set[tuple[str, int]]:
    """The kind and number of each scope of which there is an edition of the period."""
    query = select(ReportEdition.scope, ReportEdition.scope_id).where(
        ReportEdition.first_day == period.first, ReportEdition.last_day == period.last
    )
    return {(kind, one) for kind, one in tx.execute(query.distinct())}


def edition(tx: Tx, edition_id: int) -> ReportEdition:
    """One that the actor may read. Raises NotFound, also for who may not."""
    found = tx.scalar(
        select(ReportEdition).where(
            ReportEdition.id == edition_id,
            scopes.visible(tx, tx.actor, ReportEdition.scope, ReportEdition.scope_id),
        )
    )
    if found is None:
        raise NotFound("report.none", N_("没有编号为 %(id)s 的报告"), id=edition_id)
    return found


def numbered(tx: Tx, scope: str, period: ReportPeriod, number: int) -> ReportEdition:
    """The edition of that number. Raises NotFound."""
    whose = scopes.scope(tx, scope)
    found = next((one for one in of_report(tx, whose.kind, whose.id, period) if one.number == number), None)
    if found is None:
        raise NotFound("report.no_edition", N_("%(period)s 没有第 %(number)s 版"), period=period.code, number=number)
    return found


def changes(tx: Tx, row: ReportEdition) -> list[EditionDifference]:
    """What differs from the edition before; nothing for the first."""
    before = next(
        (one for one in of_report(tx, ScopeKind(row.scope), row.scope_id, row.period) if one.number == row.number - 1),
        None,
    )
    return differences(before.inputs.document(), row.inputs.document()) if before is not None else []


def check(tx: Tx) -> Iterator[str]:
    """A sentence for each edition whose inputs are not those of its digest."""
    said: list[str] = []
    for row in inspection.rows(tx, select(ReportInputs).order_by(ReportInputs.digest), said):
        try:
            fits = fingerprint(json.loads(row.content)) == row.digest
        except ValueError:
            fits = False
        if not fits:
            yield f"report_inputs: row {row.digest} does not match its digest"
    yield from said


def check_readings(tx: Tx, lake: Path, edition_ids: Iterable[int]) -> Iterator[str]:
    """A sentence for each edition whose file in the lake is missing or another."""
    said: list[str] = []
    for edition_id in edition_ids:
        with inspection.going_on(said, "report_editions", edition_id):
            told = tx.get_one(ReportEdition, edition_id).inputs.document()["rests_on"].get("readings")
            if told is not None and (fault := readings.fault(lake, told)):
                yield f"report_editions: {edition_id}: {fault}"
    yield from said
