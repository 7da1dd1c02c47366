"""What was asked for, delivered, taken back and given in a period, and how requests, orders and cases stood at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import String, cast, exists, literal, select

from metering.cases import Case, CaseState, Ending, Notice, Reply, recoveries
from metering.intraday import effects
from metering.judging import CaseKind
from metering.reports.frames import Frame
from metering.scale_outs import sums
from providers.orders import BUCKETS, WorkOrder, bucket
from quota.audit import AuditRecord
from quota.directory import System
from quota.inventory import Tier
from quota.requests import Request, RequestState
from quota.units import CLASSES

TAKEN = (Ending.SHRUNK.value, Ending.DELETED.value)
STALE_DAYS = 10
"""Working days without a step after which a case is called stale."""


def requests(frame: Frame) -> dict[str, Any]:
    """Handed in, decided and done within the period by request kind, and how many were open at its end."""
    query = select(
        Request.kind, Request.state, Request.submitted_at, Request.decided_at, Request.delivered_at, Request.closed_at
    ).where(
        Request.submitted_at < frame.end,
        frame.scope.rows(department=Request.department_id, pool=Request.pool_id, system=Request.system_id),
    )
    kinds: dict[str, Counter[str]] = {}
    for kind, state, submitted_at, decided_at, delivered_at, closed_at in frame.tx.execute(query):
        row = kinds.setdefault(kind, Counter())
        row["submitted"] += _within(frame, submitted_at)
        row["decided"] += _within(frame, decided_at)
        row["delivered"] += _within(frame, delivered_at)
        ended = _within(frame, closed_at)
        row["closed"] += ended
        row["refused"] += ended and state == RequestState.REJECTED.value
        row["open"] += closed_at is None or closed_at >= frame.end
    names = ("submitted", "decided", "delivered", "refused", "closed", "open")
    rows = [{"kind": kind, **{name: row[name] for name in names}} for kind, row in sorted(kinds.items())]
    rows = [one for one in rows if any(one[name] for name in names)]
    return {"kinds": rows, "total": {name: sum(one[name] for one in rows) for name in names}}


def _within(frame: Frame, at: datetime | None) -> bool:
    return at is not None and frame.start <= at < frame.end


def orders(frame: Frame) -> dict[str, Any]:
    """Orders delivered in the period by how long they took (working days), those due in it in time or late, open at its
    end; what was built and what was freed by them, base units by class."""
    query = select(
        WorkOrder.verb, WorkOrder.amounts, WorkOrder.taken, WorkOrder.freed, WorkOrder.placed_at, WorkOrder.due_at,
        WorkOrder.delivered_at, WorkOrder.accepted_at,
    ).where(
        WorkOrder.placed_at < frame.end,
        frame.scope.rows(
            department=WorkOrder.department_id, provider=WorkOrder.provider_id, system=WorkOrder.system_id
        ),
    )  # fmt: skip
    buckets = dict.fromkeys((str(one) for one in BUCKETS), 0)
    verbs: Counter[str] = Counter()
    built: Counter[str] = Counter()
    freed: Counter[str] = Counter()
    due = in_time = open_at_end = 0
    for verb, _amounts, taken, gave, placed_at, due_at, delivered_at, _accepted in frame.tx.execute(query):
        done = delivered_at if delivered_at is not None and delivered_at < frame.end else None
        if done is not None and _within(frame, done):
            buckets[str(bucket(frame.calendar.between(placed_at, done)))] += 1
            verbs[verb] += 1
            built.update(taken or {})
            freed.update(gave or {})
        open_at_end += done is None
        if _within(frame, due_at):
            due += 1
            in_time += done is not None and done <= due_at
    return {
        "buckets": [[name, count] for name, count in buckets.items()],
        "verbs": [[verb, count] for verb, count in sorted(verbs.items())],
        "delivered": sum(buckets.values()),
        "due": due,
        "in_time": in_time,
        "open": open_at_end,
        "built": _ordered(built),
        "freed": _ordered(freed),
    }


def _ordered(amounts: Mapping[str, int]) -> dict[str, int]:
    return {code: amounts[code] for code in CLASSES if amounts.get(code)}


def cases(frame: Frame) -> dict[str, Any]:
    """Cases by kind: opened, ended how, open at the end, stale (no step for ``STALE_DAYS`` working days) and unanswered
    (the letter's days were over and nobody had replied); what those that ended took back and gave, base units by class."""
    mine = frame.scope.rows(department=Case.department_id, pool=Case.pool_id, system=Case.system_id)
    query = select(
        Case.id, Case.kind, Case.opened_at, Case.closed_at, Case.ending, Case.freed, Case.regretted_at
    ).where(
        Case.opened_at < frame.end, mine
    )  # fmt: skip
    found = frame.tx.execute(query.order_by(Case.id)).all()
    open_then = {one.id for one in found if one.closed_at is None or one.closed_at >= frame.end}
    stood = _stood(frame, open_then)
    kinds: dict[str, Counter[str]] = {one.value: Counter() for one in CaseKind}
    endings: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for case_id, kind, opened_at, closed_at, ending, freed, regretted_at in found:
        row = kinds[kind]
        row["opened"] += _within(frame, opened_at)
        row["regretted"] += _within(frame, regretted_at)
        if _within(frame, closed_at):
            row["closed"] += 1
            endings[ending or ""] += 1
            if ending in TAKEN:
                taken.update(freed or {})
        if case_id in open_then:
            row["open"] += 1
            since, state = stood.get(case_id, (opened_at, CaseState.DETECTED.value))
            resting = state in (CaseState.WATCHED.value, CaseState.BINNED.value)
            row["stale"] += not resting and frame.calendar.between(since, frame.end) > STALE_DAYS
    expansions, sums = recoveries.given(frame.tx, mine, Case.closed_at >= frame.start, Case.closed_at < frame.end)
    given: Counter[str] = Counter()
    for cls, figure in sums.items():
        given[cls.kind] += figure
    unanswered = _unanswered(frame, {one for one, (_at, state) in stood.items() if state == CaseState.NOTICED.value})
    names = ("opened", "closed", "open", "stale", "regretted")
    rows: list[dict[str, Any]] = [{"kind": kind, **{name: row[name] for name in names}} for kind, row in kinds.items()]
    return {
        "kinds": [one for one in rows if any(one[name] for name in names)],
        "endings": [[ending, count] for ending, count in sorted(endings.items())],
        "total": {name: sum(one[name] for one in rows) for name in names} | {"unanswered": unanswered},
        "taken": _ordered(taken),
        "given": _ordered(given),
        "expansions": expansions,
    }


def growths(frame: Frame) -> dict[str, Any] | None:
    """What the policies' growth within the day came to in the period, as their pages have it; None of a part of the city, whose machines'
    minutes are not told apart, and where no day was reckoned."""
    found = effects.between(frame.tx, frame.period.first, frame.period.last) if frame.whole else None
    return None if found is None else dict(effects.told(found) or {})


def scale_outs(frame: Frame) -> dict[str, Any]:
    """Machines that tiers were given and gave back in the period, those kept for good, and those lent still at its end; what
    those that were given have, base units by class."""
    rows = frame.scope.rows(
        department=select(System.department_id).where(System.id == Tier.system_id).scalar_subquery(),
        pool=Tier.pool_id,
        system=Tier.system_id,
    )
    told = sums.summed(frame.tx, frame.start, frame.end, rows)
    counts = {name: getattr(told, name) for name in ("added", "returned", "kept", "there")}
    return {**counts, "amounts": _ordered(told.amounts.to_json())}


def _stood(frame: Frame, case_ids: set[int]) -> dict[int, tuple[datetime, str]]:
    """Case → since when it stood in which state at the end of the period, as the audit trail has it."""
    found: dict[int, tuple[datetime, str]] = {}
    query = (
        select(AuditRecord.subject, AuditRecord.at, AuditRecord.after)
        .where(
            AuditRecord.at < frame.end,
            AuditRecord.subject.like("case:%"),
            cast(AuditRecord.after, String).like('%"state"%'),
        )
        .order_by(AuditRecord.sequence)
    )
    for subject, at, after in frame.tx.execute(query):
        number = subject.partition(":")[2]
        if number.isdigit() and int(number) in case_ids and "state" in after:
            found[int(number)] = at, str(after["state"])
    return found


def _unanswered(frame: Frame, case_ids: Iterable[int]) -> int:
    """Of these cases, which waited for a reply at the end: those whose letter's days were over."""
    replied = exists(select(literal(1)).where(Reply.case_id == Case.id, Reply.at < frame.end))
    query = (
        select(Case.id, Notice.issued_at, Notice.reply_days)
        .join(Notice, Notice.id == Case.notice_id)
        .where(Notice.issued_at < frame.end, ~replied)
    )
    wanted = set(case_ids)
    late = [
        case_id
        for case_id, issued_at, days in frame.tx.execute(query)
        if case_id in wanted and frame.calendar.due(issued_at, days) < frame.end
    ]
    return len(late)
