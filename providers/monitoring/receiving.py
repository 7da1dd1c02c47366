"""Alerts taken: each once, whatever is sent again, late or out of order, and told on as outages by the mapping that held."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from providers.monitoring import mappings, matching, outages
from providers.monitoring.alerts import Alert, AlertGroup
from providers.monitoring.endpoints import ProbeEndpoint
from providers.monitoring.mappings import AlertMapping
from providers.monitoring.outages import OutageSignal, SignalKind
from quota.actors import Role
from quota.calendar import ZONE
from quota.directory import Pool, System

if TYPE_CHECKING:
    from quota.db import Tx

AHEAD = timedelta(minutes=10)
"""How far Alertmanager's clock may run ahead of ours."""

BEHIND = timedelta(days=31)
"""What was over longer ago is entered by hand, where somebody sees what they do."""

MOST_UNMAPPED = 500
"""Alerts that no line speaks of and that go on: more are not kept."""


@dataclass(slots=True)
class AlertsTaken:
    """What became of a delivery. ``refused``: reason → alerts, ``examples``: reason → one of them."""

    new: int = 0
    ended: int = 0
    known: int = 0
    ignored: int = 0
    unmapped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def take(tx: Tx, group: AlertGroup) -> AlertsTaken:
    """Enter what Alertmanager hands over. By a service of the steward's."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    tx.alone("alerts")
    done = AlertsTaken()
    held: dict[object, AlertMapping | None] = {}
    for alert in sorted(group.alerts, key=lambda one: (one.began_at, one.fingerprint)):
        why = _refused(alert, tx.now)
        if why:
            done.refused[why] += 1
            done.examples.setdefault(why, f"{alert.fingerprint} {alert.summary[:80]}")
        else:
            _take(tx, alert, held, done)
    return done


def _refused(alert: Alert, now: datetime) -> str:
    if alert.began_at > now + AHEAD or (alert.ended_at is not None and alert.ended_at > now + AHEAD):
        return "alert.future"
    over = alert.ended_at or (now if alert.began_at > now - 12 * BEHIND else alert.began_at)
    return "alert.old" if over < now - BEHIND else ""


def _take(tx: Tx, alert: Alert, held: dict[object, AlertMapping | None], done: AlertsTaken) -> None:
    began, over = min(alert.began_at, tx.now), alert.ended_at and min(alert.ended_at, tx.now)
    signal = outages.known(tx, SignalKind.ALERT, alert.fingerprint, began, over)
    if signal is not None and signal.ended_at is None and began > signal.last_heard_at:
        # It fires anew: that it was over in between was told to nobody here.
        outages.ended(tx, signal, signal.last_heard_at, presumed=True)
        signal = None
    if signal is not None:
        _heard(tx, signal, over, done)
        return
    day = began.astimezone(ZONE).date()
    if day not in held:
        held[day] = mappings.in_force(tx, day)
    mapping = held[day]
    line = matching.first(mapping.read(), alert.labels) if mapping is not None else None
    if line is not None and line.ignore:
        done.ignored += 1
        return
    signal = OutageSignal(
        kind=SignalKind.ALERT.value, key=alert.fingerprint, began_at=began, ended_at=over, name=alert.summary,
        labels=alert.labels, heard_at=tx.now, heard_by=tx.actor.login, last_heard_at=tx.now, presumed=False,
    )  # fmt: skip
    if line is None or not _placed(tx, signal, line):
        _unmapped(tx, signal, done)
        return
    tx.add(signal)
    tx.flush()
    outages.enter(tx, signal)
    done.new += 1


def _heard(tx: Tx, signal: OutageSignal, over: datetime | None, done: AlertsTaken) -> None:
    """Note that a known one goes on, or is over."""
    if over is None:
        if signal.ended_at is None or signal.presumed:
            signal.last_heard_at = tx.now
        if signal.presumed and not _since(tx, signal):
            outages.goes_on(tx, signal)
        done.known += 1
    elif signal.ended_at is None or signal.presumed:
        outages.ended(tx, signal, over)
        done.ended += 1
    else:
        done.known += 1


def _since(tx: Tx, signal: OutageSignal) -> bool:
    """Whether the same alert has begun again since."""
    later = select(OutageSignal.id).where(
        OutageSignal.kind == signal.kind, OutageSignal.key == signal.key, OutageSignal.began_at > signal.began_at
    )
    return tx.scalar(later.limit(1)) is not None


def _placed(tx: Tx, signal: OutageSignal, line: matching.MappingLine) -> bool:
    """Say of a signal what it is about; False where nothing of that name is known."""
    about = line.about(signal.labels)
    if line.endpoint:
        named = tx.scalars(select(ProbeEndpoint).filter_by(target=about.endpoint, active=True).limit(2)).all()
        if len(named) != 1:
            return False
        one = named[0]
        signal.pool_id, signal.system_id, signal.level = one.pool_id, one.system_id, one.level
        signal.endpoint_id = one.id
        return True
    pool_id = tx.scalar(select(Pool.id).where(Pool.code == about.pool, Pool.active))
    system_id = tx.scalar(select(System.id).where(System.code == about.system)) if line.system else None
    if pool_id is None or (line.system and system_id is None):
        return False
    if system_id is not None and not outages.machines(tx, pool_id, system_id):
        return False
    signal.pool_id, signal.system_id, signal.level = pool_id, system_id, about.level
    return True


def _unmapped(tx: Tx, signal: OutageSignal, done: AlertsTaken) -> None:
    """Keep it, so that people see what their mapping lacks; it makes no incident."""
    done.unmapped += 1
    open_ = select(func.count(OutageSignal.id)).where(OutageSignal.pool_id.is_(None), OutageSignal.ended_at.is_(None))
    if signal.ended_at is None and (tx.scalar(open_) or 0) < MOST_UNMAPPED:
        tx.add(signal)
        tx.flush()


def again(tx: Tx, mapping: AlertMapping) -> int:
    """Ask a mapping that was just signed of the alerts that go on, began when it holds already, and that none spoke of. How many
    it places."""
    tx.alone("alerts")
    waiting = select(OutageSignal).where(OutageSignal.pool_id.is_(None), OutageSignal.ended_at.is_(None))
    placed = 0
    for signal in tx.scalars(waiting.order_by(OutageSignal.began_at, OutageSignal.id)).all():
        if signal.began_at.astimezone(ZONE).date() < mapping.effective_from:
            continue
        line = matching.first(mapping.read(), signal.labels)
        if line is not None and not line.ignore and _placed(tx, signal, line):
            tx.flush()
            tx.refresh(signal)
            outages.enter(tx, signal)
            placed += 1
    return placed


def presume(tx: Tx, silence: timedelta) -> int:
    """End what was not told to go on for as long as ``silence``: alerts when they were last heard, outages of endpoints whose probes
    nobody reads any more with the last probe. How many. Who tells of one of them after all is believed."""
    tx.alone("alerts")
    since = tx.now - silence
    going_on = select(OutageSignal).where(OutageSignal.ended_at.is_(None)).order_by(OutageSignal.id)
    alerts = tx.scalars(
        going_on.where(OutageSignal.kind == SignalKind.ALERT.value, OutageSignal.last_heard_at < since)
    ).all()
    for signal in alerts:
        outages.ended(tx, signal, signal.last_heard_at, presumed=True)
    unread = tx.execute(
        going_on.add_columns(ProbeEndpoint.probed_ms, ProbeEndpoint.interval_s)
        .join(ProbeEndpoint, ProbeEndpoint.id == OutageSignal.endpoint_id)
        .where(OutageSignal.kind == SignalKind.PROBE.value, ProbeEndpoint.probed_ms < round(since.timestamp() * 1000))
    ).all()
    for signal, probed_ms, interval_s in unread:
        last = datetime.fromtimestamp(probed_ms / 1000, UTC) + timedelta(seconds=interval_s)
        outages.ended(tx, signal, last, presumed=True)
    return len(alerts) + len(unread)
