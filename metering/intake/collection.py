"""Intake: every pool read from where the last reading ended, into the inventory and the lake.

A mark says up to when a pool was read; each collection asks again a little behind it, because sources are late and
the lake takes nothing twice: the same values change nothing, others take their place, in a settled month as corrections. Where
the cloud keeps its usage, the day before is read a second time (providers.paces). What is refused is kept as evidence about the source: counted once, when it is read for the
last time, and summed by the day of the reading, so that a source that is wrong for months fills no table.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
from sqlalchemy import Float, ForeignKey, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.intake import schedules, widths
from metering.lake import Receipt
from metering.workbench import Progress, Workbench, silent
from providers import observation, paces
from providers.base import (
    Asking,
    Clocked,
    ProjectQuota,
    Provider,
    ProviderFault,
    Relaying,
    Remembering,
    Samples,
    SheetFault,
    Verb,
    capacious,
    quoting,
)
from providers.mappings import held_sheets
from providers.observation import Drift, cloud_figures, quota_drifts
from providers.readers import sheet_purposes
from quota import inventory
from quota.actors import Role, steward
from quota.base import Base, Count
from quota.calendar import ZONE
from quota.directory import Pool, pools
from quota.errors import N_, Invalid, Refused

if TYPE_CHECKING:
    from quota.db import Tx

log = logging.getLogger("guanjia.intake")
T = TypeVar("T")

MOST_GAPS = 50
AGAIN_MINUTES = 30
"""After so long at the latest a pool that could not be read is tried again."""


MACHINES = ("vm", "bare_metal")
"""Kinds of which samples are due from the first day."""


BUDGET_S = 240.0
"""So long a second reading may take in one collection."""


class Intake(Base):
    """One source of samples of one pool: up to when it was read, and what it gave last time.

    ``rows``, ``refused``, ``unknown`` and ``coverage`` (samples of machines that came, of those that were due) are of the last
    collection that reached it; ``newest_at``: the newest sample ever; ``skew_s``: how far the cloud's clock was ahead, where it
    tells. ``collected_at``: of the last success, None where there was none yet. ``missed``: pairs of moments between which nothing was
    asked for, as that lay further back than the pool's window (``gaps``). ``read_again_on``: the day of the last second reading,
    ``second``: how far the next one came, where it was begun (providers.paces). ``fault`` (what was said) is empty unless the last attempt failed, ``fault_code`` one of providers.connection.FAULTS or of a refusal.
    """

    __tablename__ = "intakes"

    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), primary_key=True)
    collected_until: Mapped[datetime]
    collected_at: Mapped[datetime | None]
    rows: Mapped[int] = mapped_column(Count, default=0)
    refused: Mapped[int] = mapped_column(Count, default=0)
    unknown: Mapped[int] = mapped_column(Count, default=0)  # samples of resources that no inventory has shown
    fault: Mapped[str] = mapped_column(Text, default="")
    fault_code: Mapped[str] = mapped_column(String(64), default="", server_default="")
    fault_at: Mapped[datetime | None]
    coverage: Mapped[float | None] = mapped_column(Float)
    newest_at: Mapped[datetime | None]
    skew_s: Mapped[float | None] = mapped_column(Float)
    missed: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    read_again_on: Mapped[date | None]
    second: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")

    @property
    def read_until(self) -> datetime | None:
        """Up to when it was read; None where it never was."""
        return self.collected_until if self.collected_at is not None else None

    @property
    def gaps(self) -> list[tuple[datetime, datetime]]:
        """What was not asked for, oldest first."""
        return [(datetime.fromisoformat(since), datetime.fromisoformat(until)) for since, until in self.missed]

    def miss(self, gaps: Iterable[tuple[datetime, datetime]]) -> None:
        """Let these be the gaps; what overlaps is one, and the oldest are joined where they are too many to name."""
        joined: list[tuple[datetime, datetime]] = []
        for since, until in sorted(gaps):
            if joined and since <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], until))
            else:
                joined.append((since, until))
        while len(joined) > MOST_GAPS:
            joined[:2] = [(joined[0][0], joined[1][1])]
        self.missed = [
            [since.astimezone(UTC).isoformat(), until.astimezone(UTC).isoformat()] for since, until in joined
        ]


class SampleRefusal(Base):
    """What of one import, or of a day's readings, was refused, and why: evidence about a source, kept as long as its
    samples are.

    ``at``: when it was entered, the last time where a day's are summed. ``example``: a place in a file, or the name of a
    resource that no inventory shows; "" where there are too many to name.
    """

    __tablename__ = "sample_refusals"

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(256))
    reason: Mapped[str] = mapped_column(String(64))
    count: Mapped[int] = mapped_column(Count)
    example: Mapped[str] = mapped_column(Text, default="")


NAMED = 20
"""How many unknown resources a day's evidence names; those beyond are summed."""

UNKNOWN = "resource.unknown"

ELSEWHEN = ("row:future", "row:ts")
"""Refused because their time lies outside whatever was asked for, so that they may come with each reading."""


class DayRefusals:
    """What was refused of a source of a pool on the day of the transaction, to be added to."""

    def __init__(self, tx: Tx, pool_id: int, source: str) -> None:
        self.tx, self.pool_id, self.source = tx, pool_id, source
        begin = tx.now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
        rows = tx.scalars(
            select(SampleRefusal)
            .where(SampleRefusal.pool_id == pool_id, SampleRefusal.source == source, SampleRefusal.at >= begin)
            .order_by(SampleRefusal.id)
        ).all()
        self.unknown = {one.example: one for one in rows if one.reason == UNKNOWN}
        self.others = {one.reason: one for one in rows if one.reason != UNKNOWN}

    def add(self, reason: str, count: int, example: str = "") -> None:
        """Samples that were refused and are not read again. The first example of a day is kept."""
        self._row(self.others, reason, reason, example).count += count

    def at_least(self, reason: str, count: int, example: str = "") -> None:
        """Samples that may be the same as those of the reading before."""
        row = self._row(self.others, reason, reason, example)
        row.count = max(row.count, count)

    def add_unknown(self, counts: Counter[str]) -> None:
        """Samples by the name of a resource that no inventory has shown."""
        for name, count in counts.most_common():
            named = name if name in self.unknown or len(self.unknown.keys() - {""}) < NAMED else ""
            self._row(self.unknown, named, UNKNOWN, named).count += count

    def _row(self, rows: dict[str, SampleRefusal], key: str, reason: str, example: str) -> SampleRefusal:
        row = rows.get(key)
        if row is None:
            row = SampleRefusal(pool_id=self.pool_id, source=self.source, reason=reason, count=0, example=example)
            self.tx.add(row)
            rows[key] = row
        row.at = self.tx.now
        return row


def mark(tx: Tx, pool_id: int, until: datetime, *, rows: int, refused: int, unknown: int) -> Intake:
    """Note that the pool was read up to ``until``; a mark never moves backwards."""
    row = tx.get(Intake, pool_id, with_for_update=True)
    if row is None:
        row = Intake(pool_id=pool_id, collected_until=until, missed=[])
        tx.add(row)
    row.collected_until = max(row.collected_until, until)
    row.collected_at = tx.now
    row.rows, row.refused, row.unknown = rows, refused, unknown
    row.fault, row.fault_code, row.fault_at = "", "", None
    return row


def again_from(tx: Tx, pool: Pool, since: datetime) -> None:
    """Have the pool read again from ``since`` on: what is there already changes nothing, what was missing comes in. Raises
    Invalid for a moment to come, or one before the pool's window."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    row = tx.get(Intake, pool.id, with_for_update=True)
    if row is None or row.read_until is None:
        raise Invalid("collection.never", N_("还没有采集过，第一次采集会按回补窗口补齐"), field="since")
    if since > tx.now:
        raise Invalid("collection.future", N_("不能从将来补采"), field="since")
    days = schedules.pace(tx, pool.id).window_days
    if since < tx.now - timedelta(days=days):
        raise Invalid("collection.window", N_("早于回补窗口（%(days)s 天）：请先放宽窗口"), days=days, field="since")
    tx.audit("pool.again", f"pool:{pool.id}", before={"until": row.collected_until}, after={"until": since})
    row.collected_until = min(row.collected_until, since)
    row.miss((begin, min(end, since)) for begin, end in row.gaps if begin < since)


def due(workbench: Workbench) -> set[str]:
    """Codes of the active pools whose time it is to be collected: by their own interval from when they were read up to, however long that
    took, or as the last attempt failed."""
    with workbench.book.reading() as tx:
        rows = tx.execute(select(Pool, Intake).outerjoin(Intake, Intake.pool_id == Pool.id).where(Pool.active))
        return {
            pool.code
            for pool, row in rows
            if row is None or _pace(tx, row).due(row.fault_at if row.fault else row.read_until, tx.now)
        }


def _pace(tx: Tx, row: Intake) -> paces.CollectionPace:
    """Where it failed it is tried again sooner than its interval says, but not at once: a weak cloud bears no more than a well one."""
    pace = schedules.pace(tx, row.pool_id)
    return replace(pace, every_minutes=min(pace.every_minutes, AGAIN_MINUTES)) if row.fault else pace


def failed(tx: Tx, pool_id: int, since: datetime, fault: ProviderFault | Refused) -> None:
    """Note that the pool could not be read; what was read before stays."""
    row = tx.get(Intake, pool_id, with_for_update=True)
    if row is None:
        row = Intake(pool_id=pool_id, collected_until=since, missed=[])
        tx.add(row)
    row.fault, row.fault_code, row.fault_at = str(fault)[:2000], fault.code, tx.now


@dataclass(slots=True)
class Collected:
    """What one collection of one pool brought. ``since``: from when on it was asked; ``again``: from when on the days before were
    read once more. ``missed``: from when what was not asked for (up to ``since``), as it lay
    beyond the pool's window; ``machines``: their dense ids; ``told``: samples of theirs; ``newest``: the newest sample, s."""

    pool: str
    since: datetime
    until: datetime
    lookback: timedelta
    missed: datetime | None = None
    again: datetime | None = None
    machines: frozenset[int] = frozenset()
    told: int = 0
    newest: int = 0
    drift: Drift | None = None
    rows: int = 0
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    days: set[date] = field(default_factory=set)
    final_refused: Counter[str] = field(default_factory=Counter)  # of these what is not asked for again
    final_unknown: Counter[str] = field(default_factory=Counter)

    @property
    def final(self) -> datetime:
        """Samples before this are not asked for again, but by a second reading, of which nothing is counted as refused."""
        return self.until - self.lookback

    def count(self, receipt: Receipt) -> None:
        self.taken += receipt.taken
        self.refused.update(receipt.refused)
        self.days.update(receipt.days)


def collect(
    workbench: Workbench,
    pool: Pool,
    *,
    until: datetime | None = None,
    progress: Progress = silent,
    budget_s: float = BUDGET_S,
) -> Collected:
    """Read ``pool``'s inventory and every sample since its mark; the mark moves once all of it is durable.

    A cloud that cannot be read leaves its fault on the intake page and raises ProviderFault; what had been taken
    before stays, and is asked for again next time without being counted twice. A second reading of the days before comes after that,
    and goes on the next time where it takes longer than ``budget_s``.
    """
    actor = steward("job:collect")
    until = until or workbench.book.clock()
    cloud = workbench.provider(pool)
    with workbench.book.reading() as tx:
        row = tx.get(Intake, pool.id)
        before = row.read_until if row else None
        pace = schedules.pace(tx, pool.id)
    lookback = (
        paces.USUAL.lookback if isinstance(cloud, Relaying) else pace.lookback
    )  # whoever asks the cloud looks back as arranged
    oldest = until - pace.window
    since = oldest if before is None else max(before - lookback, oldest)
    missed = before if before is not None and before < since else None
    found = Collected(pool.code, since, until, lookback, missed)
    skew: timedelta | None = None
    try:
        listing = cloud.inventory(until)
        if isinstance(cloud, Clocked):
            skew = cloud.skew(workbench.book.clock())
        with workbench.book.transaction(actor) as tx:
            latest = observation.last_listing(tx, pool.id)
            tells = listing.complete or bool(listing.facts)  # an empty folder tells nothing, and nothing is no listing
            if tells and (latest is None or latest.as_of <= listing.as_of):  # else a newer one was entered by hand
                found.drift = observation.observe(tx, tx.get_one(Pool, pool.id), listing, caution=workbench.caution)
            live = cloud.live_resize and Verb.RESIZE in cloud.capabilities
            pools.tell(tx, tx.get_one(Pool, pool.id), live_resize=live)
            held_sheets.release(tx, pool.id)
            found.machines = _machines(tx, pool.id)
        _read_books(workbench, pool, cloud, until)
        if isinstance(cloud, Relaying):
            found.until = until = min(until, max(cloud.brought_until(until), since))
        for batch in cloud.samples(since, until):
            take(workbench, pool, batch, found)
            progress(pool.code, _seconds(batch, since), int((until - since).total_seconds()))
        _hold_unexplained(workbench, pool, cloud)
    except (ProviderFault, Refused) as fault:
        with workbench.book.transaction(actor) as tx:
            failed(tx, pool.id, since, fault)
            if isinstance(fault, SheetFault):
                held_sheets.hold(tx, pool.id, fault.path, str(fault))
        raise
    with workbench.book.transaction(actor) as tx:
        row = tx.get(Intake, pool.id, with_for_update=True)
        alone = before == (row.read_until if row else None)  # or another reading entered the same meanwhile
        refused, unknown = sum(found.refused.values()), sum(found.unknown.values())
        _judge(mark(tx, pool.id, until, rows=found.rows, refused=refused, unknown=unknown), found, workbench, skew)
        if alone:
            _enter(tx, pool, found)
    _read_again(workbench, pool, cloud, found, first=before is None, oldest=oldest, budget_s=budget_s)
    return found


def _read_again(
    workbench: Workbench,
    pool: Pool,
    cloud: Provider,
    found: Collected,
    *,
    first: bool,
    oldest: datetime,
    budget_s: float,
) -> None:
    """Read the days before once more, where the cloud remembers them. What it brings is entered, and counted nowhere."""
    with workbench.book.reading() as tx:
        row = tx.get_one(Intake, pool.id)
        second = paces.second_reading(found.until, row.read_again_on, row.second, oldest)
    if second is None:
        return
    left = None
    if isinstance(cloud, Remembering) and cloud.remembers and not first:

        def read(since: datetime, until: datetime) -> None:
            for batch in cloud.samples(since, until):
                part = Collected(pool.code, since, until, until - since)
                take(workbench, pool, batch, part)
                found.days |= part.days

        found.again = second.since
        left = paces.read_again(second, found.since, read, budget_s)
    with workbench.book.transaction(steward("job:collect")) as tx:
        row = tx.get_one(Intake, pool.id, with_for_update=True)
        row.second = left.to_json() if left else {}
        if left is None:
            row.read_again_on = second.day


def _machines(tx: Tx, pool_id: int) -> frozenset[int]:
    one = inventory.Resource
    return frozenset(
        tx.scalars(select(one.id).where(one.pool_id == pool_id, one.gone_at.is_(None), one.kind.in_(MACHINES)))
    )


def _judge(row: Intake, found: Collected, workbench: Workbench, skew: timedelta | None) -> None:
    """Note on the mark how the collection went."""
    slots = int((found.until - found.since).total_seconds()) // workbench.lake.step_s
    owed = len(found.machines) * slots
    row.coverage = min(found.told / owed, 1.0) if owed else None
    if found.newest:
        newest = datetime.fromtimestamp(found.newest, UTC)
        row.newest_at = max(row.newest_at or newest, newest)
    row.skew_s = skew.total_seconds() if skew is not None else None
    if found.missed is not None:
        row.miss([*row.gaps, (found.missed, found.since)])


def _hold_unexplained(workbench: Workbench, pool: Pool, cloud: object) -> None:
    """Keep the last file of usage that nobody can read for a person's look; whatever else there was has been taken."""
    asked = cloud.unexplained() if isinstance(cloud, Asking) else []
    if asked:
        path, why = asked[-1]
        with workbench.book.transaction(steward("job:collect")) as tx:
            held_sheets.hold(tx, pool.id, path, why, sheet_purposes.USAGE)


def _read_books(workbench: Workbench, pool: Pool, cloud: object, until: datetime) -> None:
    """What the cloud's own books say, where it tells and it is time. One that cannot be read keeps nothing else from being."""
    roomy, limiting = capacious(cloud), quoting(cloud)
    if roomy is not None:
        _read_book(
            workbench, pool, cloud_figures.CloudBook.CAPACITY, roomy.capacity, cloud_figures.enter_capacity, until
        )
    if limiting is not None:
        _read_book(workbench, pool, cloud_figures.CloudBook.QUOTAS, limiting.quotas, _enter_quotas, until)


def _enter_quotas(tx: Tx, pool_id: int, told: list[ProjectQuota], as_of: datetime) -> None:
    """What the cloud says of its quotas, and where that differs from the book by now."""
    cloud_figures.enter_quotas(tx, pool_id, told, as_of)
    quota_drifts.look(tx, pool_id, as_of)


def _read_book(
    workbench: Workbench,
    pool: Pool,
    what: cloud_figures.CloudBook,
    ask: Callable[[datetime], list[T]],
    enter: Callable[[Tx, int, list[T], datetime], None],
    until: datetime,
) -> None:
    with workbench.book.reading() as tx:
        if not cloud_figures.due(tx, pool.id, what):
            return
    actor = steward("job:collect")
    try:
        told = ask(until)
    except ProviderFault as fault:
        log.warning("the %s of %s could not be read: %s", what.value, pool.code, fault)
        with workbench.book.transaction(actor) as tx:
            cloud_figures.failed(tx, pool.id, what, fault.code, str(fault))
        return
    with workbench.book.transaction(actor) as tx:
        enter(tx, pool.id, told, until)


def _enter(tx: Tx, pool: Pool, found: Collected) -> None:
    """Keep what was refused for good. What may yet be taken, from the overlap, is entered when it is read again."""
    evidence = DayRefusals(tx, pool.id, pool.code)
    for reason, count in found.final_refused.items():
        evidence.add(reason, count)
    for reason in ELSEWHEN:
        if found.refused[reason]:
            evidence.at_least(reason, found.refused[reason])
    evidence.add_unknown(found.final_unknown)


def take(workbench: Workbench, pool: Pool, batch: Samples, found: Collected) -> None:
    """Append a batch to the lake under the dense ids of the book; samples of unknown resources are counted by name."""
    with workbench.book.reading() as tx:
        known = inventory.ids(tx, pool.id, batch.external_ids)
    dense = np.array([known.get(name, -1) for name in batch.external_ids], np.int32)
    table = widths.spread(batch.table, workbench.lake.step_s)
    index = table.column("resource").to_numpy()
    ids = dense[index] if len(dense) else np.empty(0, np.int32)
    found.rows += table.num_rows
    table = table.set_column(table.schema.get_field_index("resource"), "resource", pa.array(ids))
    strangers = ids < 0
    ts = table.column("ts").fill_null(-1).to_numpy()
    final = (ts >= found.since.timestamp()) & (ts < found.final.timestamp())
    if strangers.any():
        for counter, rows in (found.unknown, strangers), (found.final_unknown, strangers & final):
            for name, count in zip(*np.unique(index[rows], return_counts=True), strict=True):
                counter[batch.external_ids[name]] += int(count)
        table, final = table.filter(pa.array(~strangers)), final[~strangers]
    if table.num_rows:
        known_ids, times = table.column("resource").to_numpy(), table.column("ts").fill_null(-1).to_numpy()
        found.told += int(np.isin(known_ids, list(found.machines)).sum()) if found.machines else 0
        found.newest = max(found.newest, int(times[times <= found.until.timestamp()].max(initial=0)))
        not_after = max(found.until, workbench.book.clock())
        receipt = workbench.lake.append(f"{pool.code}.{batch.source}", table, not_after=not_after)
        found.count(receipt)
        if receipt.refused and final.any():
            found.final_refused.update(workbench.lake.refusals(table.filter(pa.array(final)), not_after=not_after))


def _seconds(batch: Samples, since: datetime) -> int:
    if not batch.table.num_rows:
        return 0
    return int(batch.table.column("ts")[-1].as_py() - since.timestamp())


def lag(workbench: Workbench) -> dict[str, timedelta]:
    """Pool code → how old the newest collected moment is."""
    now = workbench.book.clock()
    with workbench.book.reading() as tx:
        rows = tx.execute(select(Pool.code, Intake.collected_until).join(Intake, Intake.pool_id == Pool.id))
        return {code: now - until for code, until in rows}
