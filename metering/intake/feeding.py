"""Feeds read: each from where it was read up to, in pieces that are entered one by one; and their queries tried out."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from metering.intake import feed_readings, feeds, short_deliveries
from metering.intake.collection import MACHINES, DayRefusals
from metering.intake.feeds import Feed
from metering.intake.pulled import Pulled, pull
from metering.workbench import Workbench
from providers import monitoring, paces
from providers.base import Clocked, Meter, ProviderFault, Queried, Readings
from quota.actors import steward
from quota.db import batches
from quota.errors import Refused
from quota.inventory import Resource
from quota.units import MEMORY

log = logging.getLogger("guanjia.intake")

BUDGET_S = 240.0
"""After so long a run stops between two pieces, and goes on next time: one that makes up for months keeps nobody waiting."""

DOUBTED = 10
"""Machines named of which something was not believed."""

NAMED = 50
SOME = 5


@dataclass(slots=True)
class Fed:
    """What one run of one feed brought. ``until``: up to where it is read now; ``again``: from when on the days before were read once
    more, ``second``: what is left of that."""

    code: str
    since: datetime
    until: datetime
    samples: int = 0
    slots: int = 0
    seen: set[int] = field(default_factory=set)
    unknown: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    newest: int = 0
    heard: dict[int, feed_readings.Heard] = field(default_factory=dict)
    withheld: int = 0
    probes: int = 0
    named: dict[str, str] = field(default_factory=dict)
    fault: tuple[str, str] = ("", "")
    again: datetime | None = None
    second: paces.SecondReading | None = None


def feed(workbench: Workbench, row: Feed, until: datetime | None = None, *, budget_s: float = BUDGET_S) -> Fed:
    """Read one feed. What could not be read is noted on it and raises nothing: ``fault`` tells."""
    until = until or workbench.book.clock()
    begun, step = time.monotonic(), workbench.lake.step_s
    since = until - timedelta(days=row.history_days)
    if row.collected_until is not None:
        since = row.collected_until - timedelta(hours=row.lookback_hours)
    done = Fed(row.code, since, row.collected_until or since)
    with workbench.book.reading() as tx:
        known = feeds.machines(tx, row)
        others = feed_readings.trusted(tx, row)
    skew: timedelta | None = None
    try:
        meter = workbench.meter(row.adapter, row.options, row.code)
        if isinstance(meter, Clocked):
            skew = meter.skew(workbench.book.clock())
        piece: datetime | None = None
        all_read = True
        for readings in meter.readings(since, until, step):
            if piece is not None and readings.until > piece:
                _reached(workbench, row.id, done, piece)
                further = row.collected_until is None or done.until > row.collected_until
                if further and time.monotonic() - begun > budget_s:
                    piece, all_read = None, False
                    break
            piece = readings.until
            _take(workbench, row, readings, (known, others), done)
        if piece is not None:
            _reached(workbench, row.id, done, piece)
        if all_read:
            _read_again(workbench, row, meter, (known, others), done, until, budget_s - (time.monotonic() - begun))
    except ProviderFault as fault:
        done.fault = fault.code or "fault", str(fault)
    except Refused as refused:
        done.fault = refused.code, str(refused)
    except Exception as error:
        log.exception("feed %s", row.code)
        done.fault = "error", f"{type(error).__name__}: {error}"
    _note(workbench, row.id, done, until, skew)
    return done


def _read_again(
    workbench: Workbench,
    row: Feed,
    meter: Meter,
    names: tuple[Mapping[str, int], Mapping[int, tuple[int, int]]],
    done: Fed,
    until: datetime,
    budget_s: float,
) -> None:
    """Read the days before once more. What it brings is entered, and counted nowhere: it tells nothing of how the feed is now."""
    second = paces.second_reading(
        until, row.read_again_on, row.second, row.created_at - timedelta(days=row.history_days)
    )
    if row.collected_until is None or second is None:
        return

    def read(since: datetime, end: datetime) -> None:
        for readings in meter.readings(since, end, workbench.lake.step_s):
            if monitoring.by_target(readings) is None:  # endpoints are told of as it happens
                _take(workbench, row, readings, names, Fed(row.code, since, end))

    done.again = second.since
    done.second = paces.read_again(second, done.since, read, budget_s)


def _take(
    workbench: Workbench,
    row: Feed,
    readings: Readings,
    names: tuple[Mapping[str, int], Mapping[int, tuple[int, int]]],
    done: Fed,
) -> None:
    """``names``: of machines, and of which of them a more trusted feed tells, from when to when."""
    probes = monitoring.by_target(readings)
    if probes is not None:
        _probed(workbench, row, readings, probes, done)
        return
    known, others = names
    found = pull(readings, known, workbench.lake.step_s, lambda ids: _memory(workbench, ids))
    if found.samples.num_rows:
        feed_readings.gather(done.heard, found.samples)
        samples = feed_readings.speaking(found.samples, others)
        done.withheld += found.samples.num_rows - samples.num_rows
        receipt = workbench.lake.append(f"feed.{row.code}", samples, not_after=workbench.book.clock())
        done.samples += receipt.taken
        done.refused.update({why: count for why, count in receipt.refused.items() if why != "row:empty"})
        done.newest = max(done.newest, int(found.samples["ts"].to_numpy().max()))
    _doubted(readings, done)
    done.slots = max(done.slots, round((readings.until - done.since).total_seconds()) // workbench.lake.step_s)
    done.seen |= found.found
    done.unknown.update(found.unknown)
    done.refused.update(found.refused)
    for reason, example in found.examples.items():
        done.examples.setdefault(reason, example)
    done.notes |= dict.fromkeys(readings.notes)


def _probed(workbench: Workbench, row: Feed, readings: Readings, found: monitoring.TargetProbes, done: Fed) -> None:
    """Hand probes to the register of endpoints, which knows whose they are. No machine's, and nothing for the lake."""
    with workbench.book.transaction(steward("job:feeds")) as tx:
        taken, unknown = monitoring.endpoints.take(tx, row.pool_id, found.said, readings.until)
        monitoring.endpoints.certified(tx, row.pool_id, found.ends)
    done.probes += taken
    done.newest = max(done.newest, found.newest_ms // 1000)
    done.unknown.update(unknown)
    for target, series in found.twice.items():
        done.refused["probe.twice"] += series
        done.named.setdefault("probe.twice", target)
    done.notes |= dict.fromkeys(readings.notes)


def _doubted(readings: Readings, done: Fed) -> None:
    """Note of how many machines something was not believed, and of which."""
    for code, names in readings.doubts.items():
        if len(names) > done.refused[code]:
            done.refused[code], done.named[code] = len(names), _some(names)


def _some(names: Sequence[str]) -> str:
    return "、".join(names[:DOUBTED]) + (f" +{len(names) - DOUBTED}" if len(names) > DOUBTED else "")


def _memory(workbench: Workbench, ids: list[int]) -> dict[int, float]:
    """Bytes of memory by the inventory, of those of which it says any."""
    with workbench.book.reading() as tx:
        rows = [one for part in batches(ids) for one in tx.scalars(select(Resource).where(Resource.id.in_(part)))]
        return {one.id: one.actual()[MEMORY] * 2.0**20 for one in rows if one.actual().get(MEMORY)}


def _reached(workbench: Workbench, feed_id: int, done: Fed, until: datetime) -> None:
    """Note how far all is durable, so that whatever ends this run, the next one goes on from here."""
    with workbench.book.transaction(steward("job:feeds")) as tx:
        row = tx.get_one(Feed, feed_id, with_for_update=True)
        row.collected_until = max(row.collected_until or until, until)
        done.until = row.collected_until


def _note(workbench: Workbench, feed_id: int, done: Fed, until: datetime, skew: timedelta | None) -> None:
    with workbench.book.transaction(steward("job:feeds")) as tx:
        row = tx.get_one(Feed, feed_id, with_for_update=True)
        row.collected_at = tx.now
        row.fault, row.fault_said = done.fault[0], done.fault[1][:2000]
        row.fault_at = tx.now if done.fault[0] else None
        if skew is not None:
            row.skew_s = skew.total_seconds()
        if not done.fault[0]:
            row.succeeded_at = tx.now
            if row.read_again_on is None or done.again is not None:
                row.second = done.second.to_json() if done.second else {}
                if done.second is None:
                    row.read_again_on = paces.day_of_second_reading(until)
        if done.newest:
            newest = datetime.fromtimestamp(done.newest, UTC)
            row.newest_at = max(row.newest_at or newest, newest)
        if not done.fault[0] or done.samples or done.withheld or done.probes:
            feed_readings.keep(tx, row.id, done.heard)
            short_deliveries.judge(tx, row, done.heard)
            row.withheld = done.withheld
            due = tx.scalar(
                select(func.count())
                .select_from(Resource)
                .where(Resource.pool_id == row.pool_id, Resource.gone_at.is_(None), Resource.kind.in_(MACHINES))
            )
            row.samples, row.seen, row.due = done.samples or done.probes, len(done.seen), due or 0
            row.coverage = (
                min((done.samples + done.withheld) / (row.due * done.slots), 1.0)
                if row.due and done.slots and not (done.probes and not done.samples)
                else None
            )
            row.unknown = dict(done.unknown.most_common(NAMED))
            row.notes = list(done.notes)[:20]
        evidence = DayRefusals(tx, row.pool_id, f"feed.{row.code}")
        for reason, count in done.refused.items():
            example = done.named.get(reason) or _told(workbench, done.examples.get(reason))
            evidence.at_least(reason, count, example)


def _told(workbench: Workbench, example: tuple[int, str] | None) -> str:
    if example is None:
        return ""
    with workbench.book.reading() as tx:
        one = tx.get(Resource, example[0])
        return f"{one.name or one.external_id if one else example[0]}: {example[1]}"


def due(workbench: Workbench) -> list[Feed]:
    """The active feeds whose time it is to be read, or that are still making up for what they missed."""
    now = workbench.book.clock()
    with workbench.book.reading() as tx:
        rows = list(tx.scalars(select(Feed).where(Feed.active).order_by(Feed.id)))
    return [
        one
        for one in rows
        if one.collected_at is None
        or one.fault
        or now - one.collected_at >= timedelta(minutes=one.every_minutes) - timedelta(seconds=30)
        or (one.collected_until is not None and now - one.collected_until > timedelta(minutes=one.every_minutes + 60))
    ]


def try_out(workbench: Workbench, row: Feed) -> dict[str, Any]:
    """Ask a feed for its last slots without entering anything: which query finds how many series and machines, which names
    no machine has, which machines nobody tells of, and what the figures would be. JSON."""
    now, step = workbench.book.clock(), workbench.lake.step_s
    with workbench.book.reading() as tx:
        known = feeds.machines(tx, row)
        rows = tx.scalars(
            select(Resource)
            .where(Resource.pool_id == row.pool_id, Resource.gone_at.is_(None), Resource.kind.in_(MACHINES))
            .order_by(Resource.id)
        ).all()
    called = {one.id: one.name or one.external_id for one in rows}
    told: dict[str, Any] = {"fault": "", "said": "", "queries": [], "unknown": {}, "missing": [], "figures": []}
    try:
        meter = workbench.meter(row.adapter, row.options, row.code)
        asked = meter.queries() if isinstance(meter, Queried) else []
        since = now - timedelta(seconds=4 * step + getattr(meter, "settle_s", 0))
        found = [(one, pull(one, known, step)) for one in meter.readings(since, now, step)]
    except ProviderFault as fault:
        return told | {"fault": fault.code or "fault", "said": str(fault)[:1000]}
    except Refused as refused:
        return told | {"fault": refused.code, "said": str(refused)[:1000]}
    for query in asked:
        mine = [(r, p) for r, p in found if r.origin == query.origin and r.source in ("", query.source)]
        told["queries"].append(_finds(query, mine))
    unknown: Counter[str] = Counter()
    seen: set[int] = set()
    for _readings, pulled in found:
        unknown.update(pulled.unknown)
        seen |= pulled.found
    told["unknown"] = dict(unknown.most_common(NAMED))
    told["notes"] = list(dict.fromkeys(note for readings, _pulled in found for note in readings.notes))[:20]
    told["doubts"] = {code: _some(names) for r, _pulled in found for code, names in r.doubts.items()}
    told["missing"] = [name for number, name in called.items() if number not in seen][:NAMED]
    told["seen"], told["due"] = len(seen), len(called)
    told["figures"] = _figures([pulled for _readings, pulled in found], called)
    return told


def _finds(query: Any, found: list[tuple[Readings, Pulled]]) -> dict[str, Any]:
    series = [labels for r, _p in found for labels in r.series if labels.get("__name__") == query.series]
    label = found[0][0].label if found else ""
    names = {one.get(label, "") for one in series}
    unused = sum(p.unused[query.series] for _r, p in found)
    return {
        "origin": query.origin,
        "series": query.series,
        "text": query.text,
        "proof": query.proof.value,
        "source": query.source,
        "found": len(series),
        "machines": len(names),
        "unused": unused,
        "example": {k: v for k, v in series[0].items() if k != "__name__"} if series else {},
    }


def _figures(found: list[Pulled], called: Mapping[int, str]) -> list[dict[str, Any]]:
    """Of a few machines their newest slot."""
    newest: dict[int, dict[str, Any]] = {}
    for pulled in found:
        for one in pulled.samples.to_pylist():
            name = called.get(one["resource"], str(one["resource"]))
            values = {
                k: round(v, 3) for k, v in one.items() if k not in ("resource", "ts") and v is not None and v == v
            }
            kept = newest.setdefault(one["resource"], {"machine": name, "ts": one["ts"], "values": {}})
            if one["ts"] >= kept["ts"]:
                kept["ts"] = one["ts"]
                kept["values"] |= values
    return [newest[number] for number in sorted(newest)[:SOME]]


def carry_out_trials(workbench: Workbench) -> int:
    """Carry out the tests that were asked for."""
    with workbench.book.reading() as tx:
        waiting = list(tx.scalars(select(Feed).where(Feed.trial_asked_at.is_not(None)).order_by(Feed.trial_asked_at)))
    for row in waiting:
        try:
            found = try_out(workbench, row)
        except Exception as error:  # whatever an adapter stumbles over is told where it was asked
            log.exception("trial of feed %s", row.code)
            found = {"fault": "error", "said": f"{type(error).__name__}: {error}"[:1000], "queries": []}
        with workbench.book.transaction(steward("job:probe")) as tx:
            kept = tx.get_one(Feed, row.id, with_for_update=True)
            kept.trial, kept.trial_at = found, tx.now
            if kept.trial_asked_at == row.trial_asked_at:
                kept.trial_asked_at = None
    return len(waiting)
