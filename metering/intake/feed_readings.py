"""What each feed says of each machine, kept side by side: as it was last told, never merged; and which of them speaks.

A feed has an order of trust. Of a machine that a more trusted feed of its pool tells of, the samples of the others are read
and compared, not entered; where the more trusted one falls silent, the next one speaks from there on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from sqlalchemy import Float, ForeignKey, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.intake.feeds import Feed
from quota.base import Base
from quota.db import among, batches
from quota.inventory import Resource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quota.db import Tx

SILENT = timedelta(minutes=30)
"""A feed that has told nothing newer of a machine for so long is silent about it."""

KEPT = ("vcpu", "mem_mb")
"""Sizes: the last that was told."""
MEANT = ("cpu_pct", "mem_pct", "steal_pct")
"""Shares: their mean over what the last run brought."""


class FeedReading(Base):
    """What a feed last said of a machine: the size that it saw (``vcpu``, ``mem_mb``), means in per cent over the last run, of
    the samples up to ``at``; ``since``: the first that it ever told."""

    __tablename__ = "feed_readings"

    feed_id: Mapped[int] = mapped_column(ForeignKey("feeds.id"), primary_key=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"), primary_key=True, index=True)
    since: Mapped[datetime]
    at: Mapped[datetime]
    vcpu: Mapped[float | None] = mapped_column(Float)
    mem_mb: Mapped[float | None] = mapped_column(Float)
    cpu_pct: Mapped[float | None] = mapped_column(Float)
    mem_pct: Mapped[float | None] = mapped_column(Float)
    steal_pct: Mapped[float | None] = mapped_column(Float)

    feed: Mapped[Feed] = relationship()


@dataclass(slots=True)
class Heard:
    """One machine in one run: the first and the newest second told, sums and counts of shares, sizes as last told."""

    first: int
    newest: int
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)


def gather(into: dict[int, Heard], samples: pa.Table) -> None:
    """Add what ``samples`` say, machine by machine."""
    resource = samples["resource"].to_numpy()
    ts = samples["ts"].to_numpy()
    order = np.lexsort((ts, resource))
    starts: list[int] = []
    if len(order):
        starts = np.flatnonzero(np.concatenate(([True], np.diff(resource[order]) != 0))).tolist()
    columns = {name: samples[name].to_numpy() for name in (*KEPT, *MEANT) if name in samples.column_names}
    for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[begin:end]
        one = into.setdefault(int(resource[rows[0]]), Heard(int(ts[rows[0]]), int(ts[rows[0]])))
        one.first = min(one.first, int(ts[rows[0]]))
        later = int(ts[rows[-1]]) >= one.newest
        one.newest = max(one.newest, int(ts[rows[-1]]))
        for name, column in columns.items():
            told = column[rows].astype(float)
            told = told[~np.isnan(told)]
            if not len(told):
                continue
            if name in MEANT:
                total, count = one.sums.get(name, (0.0, 0))
                one.sums[name] = total + float(told.sum()), count + len(told)
            elif later and told[-1] > 0:  # off says nothing of a size
                one.sizes[name] = float(told[-1])


def keep(tx: Tx, feed_id: int, heard: Mapping[int, Heard]) -> None:
    """Keep what a run of the feed said. What a machine is said to be of stays as it was told before where it isn't told."""
    known = {one.resource_id: one for one in tx.scalars(select(FeedReading).where(FeedReading.feed_id == feed_id))}
    for number, one in heard.items():
        first, newest = (datetime.fromtimestamp(second, UTC) for second in (one.first, one.newest))
        row = known.get(number)
        if row is None:
            row = FeedReading(feed_id=feed_id, resource_id=number, since=first, at=newest)
            tx.add(row)
        row.since, row.at = min(row.since, first), max(row.at, newest)
        for name, size in one.sizes.items():
            setattr(row, name, size)
        for name, (total, count) in one.sums.items():
            setattr(row, name, round(total / count, 3))
    tx.flush()


def trusted(tx: Tx, feed: Feed) -> dict[int, tuple[int, int]]:
    """Machine → from and up to which second a feed of the same pool that is trusted more tells of it; up to whenever, while
    that one is not silent."""
    rows = tx.execute(
        select(FeedReading.resource_id, FeedReading.since, FeedReading.at)
        .join(Feed, Feed.id == FeedReading.feed_id)
        .where(Feed.pool_id == feed.pool_id, Feed.active, Feed.trust < feed.trust, Feed.id != feed.id)
    )
    found: dict[int, tuple[int, int]] = {}
    for number, since, at in rows:
        last = np.iinfo(np.int64).max if tx.now - at < SILENT else int(at.timestamp())
        first, before = found.get(number, (int(since.timestamp()), int(last)))
        found[number] = min(first, int(since.timestamp())), max(before, int(last))
    return found


def speaking(samples: pa.Table, others: Mapping[int, tuple[int, int]]) -> pa.Table:
    """``samples`` less those of which a more trusted feed tells."""
    if not others:
        return samples
    resource = samples["resource"].to_numpy()
    ts = samples["ts"].to_numpy()
    names: NDArray[np.int64] = np.array(sorted(others), np.int64)
    spans = np.array([others[int(one)] for one in names], np.int64)
    at = np.minimum(np.searchsorted(names, resource), len(names) - 1)
    told = (names[at] == resource) & (ts >= spans[at, 0]) & (ts <= spans[at, 1])
    return samples.filter(pa.array(~told))


def of_resource(tx: Tx, resource_id: int) -> list[FeedReading]:
    """What every feed last said of a machine, the most trusted first."""
    query = select(FeedReading).join(Feed, Feed.id == FeedReading.feed_id).where(FeedReading.resource_id == resource_id)
    return list(tx.scalars(query.order_by(Feed.trust, Feed.id)))


LIKE = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


def suggested(tx: Tx, feed: Feed) -> dict[str, Resource]:
    """Which machine each name is that the last run did not know, where only one is like it: the same UUID however it is
    written, the same name without its domain, an address among several."""
    if not feed.unknown:
        return {}
    signs: dict[str, set[int]] = {}
    columns = (Resource.id, Resource.external_id, Resource.name, Resource.address, Resource.tags)
    there = select(*columns).where(Resource.pool_id == feed.pool_id, Resource.gone_at.is_(None))
    for number, external_id, name, address, tags in tx.execute(there):
        for sign in _signs(external_id, name, address or "", tags.get("addresses", "")):
            signs.setdefault(sign, set()).add(number)
    fits = {label: {number for sign in _signs(label) for number in signs.get(sign, ())} for label in feed.unknown}
    one_each = {label: next(iter(numbers)) for label, numbers in fits.items() if len(numbers) == 1}
    rows = {one.id: one for one in tx.scalars(select(Resource).where(among(Resource.id, one_each.values())))}
    return {label: rows[number] for label, number in one_each.items()}


def _signs(*texts: str) -> set[str]:
    """By what a machine may be known again."""
    found = set()
    for text in texts:
        for part in re.split(r"[,\s]+", text.casefold().strip()):
            bare = re.sub(r":\d+$", "", part)
            if uuid := LIKE.search(bare):
                found.add(uuid[0].replace("-", ""))
            elif len(bare) > 2:
                found.add(bare)
                if not re.fullmatch(r"[\d.]+", bare):
                    found.add(bare.partition(".")[0])
    return found - {""}


def of_feed(tx: Tx, feed_id: int, resource_ids: Iterable[int]) -> dict[int, FeedReading]:
    """What the feed last said of these machines."""
    return {
        one.resource_id: one
        for part in batches(sorted(resource_ids))
        for one in tx.scalars(
            select(FeedReading).where(FeedReading.feed_id == feed_id, FeedReading.resource_id.in_(part))
        )
    }
