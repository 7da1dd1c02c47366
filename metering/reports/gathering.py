"""All figures of a report as one plain document: what an edition rests on, kept with it, and all that its files are drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from metering.archive import archives
from metering.judging import Assessment, Finding
from metering.reports import (
    adaptation,
    allocations,
    cloud_share,
    conduct,
    costs,
    doings,
    heads,
    hosting,
    inventories,
    usages,
)
from metering.reports.frames import Frame
from metering.reports.inventories import ResourceHistory
from metering.reports.scopes import ScopeKind
from quota.audit import AuditRecord
from quota.directory import city
from quota.inventory import Resource, ResourceChange
from quota.seals import plain
from quota.units import CLASSES

if TYPE_CHECKING:
    from metering.reports.usages import MachineUse

LAYOUT = 1
"""Of the document; whoever draws an older one must still be able to."""


def gather(frame: Frame, standing: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The document of ``frame``. Plain JSON: texts, whole numbers in base units and fen, percentages to two places, and None
    for what is not known. ``standing``: what else it rests on (the installation's own words), kept as it is."""
    year_before = frame.period.year_before().instants(frame.calendar.zone)[1]
    begun = frame.tx.scalar(select(func.min(ResourceChange.at)))
    old = begun is not None and begun < year_before
    instants = [*([year_before] if old else []), frame.start, frame.end]
    names = [*(["year_before"] if old else []), "start", "end"]
    rows = inventories.held(frame, instants)
    last = len(instants) - 1
    told = usages.uses(frame, rows, last)
    systems = usages.systems(frame, told)
    document = {
        "layout": LAYOUT,
        "scope": _whose(frame),
        "period": {"first": frame.period.first.isoformat(), "last": frame.period.last.isoformat()},
        "city": city.told(frame.tx) if frame.whole else {},
        "classes": [
            {"code": code, "label": one.label, "unit": one.shown, "factor": one.factor} for code, one in CLASSES.items()
        ],
        "scale": inventories.scale(frame, rows, names),
        "owners": [] if frame.scope.kind is ScopeKind.SYSTEM else inventories.owners(frame, rows, last),
        "head": heads.head(frame),
        "cloud_share": cloud_share.share(frame),
        "hosting": hosting.hosting(frame),
        "adaptation": adaptation.adaptation(frame, rows, last),
        "allocations": allocations.allocations(frame),
        "promised": allocations.promised_by_day(frame),
        "outlooks": allocations.outlooks(frame),
        "use": {
            "whole": usages.together(told),
            "pools": usages.by_pool(frame, told),
            "bands": usages.bands(told, frame.levels),
            "systems": systems,
            "counts": usages.system_counts(systems),
            "basis": usages.basis(frame.levels),
        },
        "findings": _findings(frame),
        "requests": doings.requests(frame),
        "orders": doings.orders(frame),
        "cases": doings.cases(frame),
        "scale_outs": doings.scale_outs(frame),
        "growths": doings.growths(frame),
        "months": costs.months(frame),
        "kinds": costs.kinds(frame),
        "payers": costs.payers(frame),
        "bills": costs.bills(frame),
        "disputes": costs.disputes(frame),
        "cards": conduct.cards(frame),
        "incidents": conduct.incidents(frame),
        "rectifications": conduct.rectifications(frame),
        "supervision": conduct.supervision(frame),
        "ranking": usages.ranking(told, frame) if frame.whole else [],
        "before": _before(frame, rows, last - 1),
    }
    # Last: what it has from the lake is known when all of it was read.
    rests_on = {"known_at": frame.known_at, "trail": _trail(frame), "readings": frame.readings.told()}
    document["rests_on"] = {**rests_on, **(standing or {})}
    document["unknown"] = _unknown(document, rows, told, last)
    return dict(plain(document))


def _whose(frame: Frame) -> dict[str, Any]:
    kind, one_id = frame.scope.kind, frame.scope.id
    name = None if kind is ScopeKind.CITY else frame.name(kind.value, one_id)
    return {"kind": kind.value, "code": frame.scope.code, "name": name}


def _trail(frame: Frame) -> dict[str, Any]:
    """Where the audit trail ended with the period."""
    last = frame.tx.scalar(
        select(AuditRecord).where(AuditRecord.at < frame.end).order_by(AuditRecord.sequence.desc()).limit(1)
    )
    return {"sequence": last.sequence if last else 0, "digest": last.digest if last else None}


def _findings(frame: Frame) -> dict[str, Any] | None:
    """What the assessment found that was the newest then: the last one of days within or before the period."""
    run = frame.tx.scalar(
        select(Assessment)
        .where(Assessment.last_day <= frame.period.last, Assessment.recorded_at <= frame.known_at)
        .order_by(Assessment.last_day.desc(), Assessment.recorded_at.desc(), Assessment.id.desc())
        .limit(1)
    )
    if run is None:
        return None
    return {
        "first": run.first_day.isoformat(),
        "last": run.last_day.isoformat(),
        "policy": run.policy_version.name,
        "version": run.policy_version.version,
        "digest": run.digest,
        "verdicts": [[verdict, count] for verdict, count in sorted(_verdicts(frame, run).items())],
    }


def _verdicts(frame: Frame, run: Assessment) -> dict[str, int]:
    """Class → how many of the subject's resources a run found to be of it; from its file where the book no longer has them."""
    mine = frame.scope.rows(department=Resource.department_id, pool=Resource.pool_id, system=Resource.system_id)
    if archives.archived_at(frame.tx, run) is not None:
        counted = set(frame.tx.scalars(select(Resource.id).where(mine)))
        return Counter(one for resource_id, one in archives.verdicts(Path(frame.lake), run) if resource_id in counted)
    query = (
        select(Finding.verdict, func.count())
        .join(Resource, Resource.id == Finding.resource_id)
        .where(Finding.assessment_id == run.id, mine)
        .group_by(Finding.verdict)
    )
    return {str(verdict): count for verdict, count in frame.tx.execute(query)}


def _before(frame: Frame, rows: Sequence[ResourceHistory], at: int) -> dict[str, Any]:
    """The figures of the period before that this one is compared with; ``at``: the instant when it ended, and this began."""
    earlier = Frame(
        frame.tx, frame.lake, frame.scope, frame.period.before(), frame.known_at, frame.calendar, frame.readings
    )
    return {
        "first": earlier.period.first.isoformat(),
        "last": earlier.period.last.isoformat(),
        "use": usages.together(usages.uses(earlier, rows, at)),
        "requests": doings.requests(earlier)["total"],
        "orders": {name: figure for name, figure in doings.orders(earlier).items() if isinstance(figure, int)},
        "cases": doings.cases(earlier)["total"],
        "months": [{name: one[name] for name in ("month", "proven", "unmeasured")} for one in costs.months(earlier)],
    }


def _unknown(
    document: Mapping[str, Any], rows: Sequence[ResourceHistory], told: Sequence[MachineUse], last: int
) -> list[dict[str, Any]]:
    """What is not known, each with its count: the report says so in a list of its own."""
    there = [one for one in rows if one.at[last] is not None]
    found = {
        "ownerless": sum(one.department_id is None for one in there),
        "systemless": sum(one.machine and one.system_id is None for one in there),
        "silent": usages.silent(told),
        "uncovered": sum(one.cpu is not None and one.coverage < 0.9 for one in told),
        "unstated": sum(one["revision"] is None for one in document["months"]),
        "unclosed": sum(one["revision"] is not None and not one["closed"] for one in document["months"]),
        "unpriced": sum(one["unpriced"] for one in document["months"]),
        "unbilled": sum(one["billed"] is None for one in document["bills"]),
        "unsettled": sum(one["unsettled"] for one in document["incidents"]["levels"]),
        "unscored": sum(one["total"] is None for one in document["cards"]),
        "unassessed": int(document["findings"] is None),
    }
    return [{"what": what, "count": count} for what, count in found.items() if count]
