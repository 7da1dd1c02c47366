"""Balances through time, recomputed from entries: what an account held at an instant, and how holders grew day by day."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, or_, select

from quota.calendar import ZONE
from quota.ledger.entries import content
from quota.ledger.tables import Account, Entry, Holder, Transfer
from quota.seals import GENESIS, link
from quota.units import Arch, ClassCode, Commodity

if TYPE_CHECKING:
    from quota.db import Tx

ADOPTING = ("adopt", "takeover")
"""What keys of transfers begin with that book what already ran when it was found."""

Place = tuple[int, Commodity]
"""A pool's id and a resource class: where amounts may be added up."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """An account at an instant: the sum of its entries up to then, how many they are, and the seal of the last."""

    balance: int
    entries: int
    digest: str


def replayed(tx: Tx, account_id: int, at: datetime) -> Replayed:
    """What the account held at ``at``, entries of that very instant included."""
    upto = (Entry.account_id == account_id, Transfer.at <= at)
    joined = Entry.transfer_id == Transfer.id
    total, count = tx.execute(
        select(func.coalesce(func.sum(Entry.delta), 0), func.count()).join(Transfer, joined).where(*upto)
    ).one()
    last = tx.scalar(select(Entry.digest).join(Transfer, joined).where(*upto).order_by(Entry.sequence.desc()).limit(1))
    return Replayed(int(total), int(count), last or GENESIS)


def broken(tx: Tx, account: Account) -> Iterator[int]:
    """Numbers (sequence) of entries of ``account`` that do not fit their seal, their sum or their place; 0 stands for
    the account's own row."""
    before, expected, digest = 0, 1, GENESIS
    rows = tx.execute(
        select(Entry, Transfer)
        .join(Transfer, Entry.transfer_id == Transfer.id)
        .where(Entry.account_id == account.id)
        .order_by(Entry.sequence)
    )
    for entry, transfer in rows:
        sealed = link(digest, content(entry, account, transfer)) == entry.digest
        if entry.sequence != expected or entry.balance != before + entry.delta or not sealed:
            yield entry.sequence
        before, expected, digest = entry.balance, entry.sequence + 1, entry.digest
    if (account.balance, account.entries, account.digest) != (before, expected - 1, digest):
        yield 0


def daily(
    tx: Tx,
    holders: Collection[Holder],
    first: date,
    last: date,
    *,
    pool_ids: Collection[int] | None = None,
    department_ids: Collection[int] | None = None,
    adopted: bool = False,
    zone: ZoneInfo = ZONE,
) -> Mapping[Place, list[int]]:
    """Place → the sum over ``holders`` at the end of each day from ``first`` to ``last`` (of ``last``: up to now).

    ``adopted``: only what came by booking what already ran there.
    """
    query = (
        select(Account.pool_id, Account.kind, Account.arch, Transfer.at, func.sum(Entry.delta))
        .select_from(Entry)
        .join(Account, Account.id == Entry.account_id)
        .join(Transfer, Transfer.id == Entry.transfer_id)
        .where(Account.holder.in_([one.value for one in holders]))
        .group_by(Account.pool_id, Account.kind, Account.arch, Transfer.at)
    )
    if pool_ids is not None:
        query = query.where(Account.pool_id.in_(pool_ids))
    if department_ids is not None:
        query = query.where(Account.department_id.in_(department_ids))
    if adopted:
        query = query.where(or_(*(Transfer.key.like(f"{prefix}:%") for prefix in ADOPTING)))
    days = (last - first).days + 1
    steps: dict[Place, list[int]] = {}
    for pool_id, kind, arch, at, delta in tx.execute(query):
        row = steps.setdefault((pool_id, Commodity(ClassCode(kind), Arch(arch))), [0] * days)
        day = (at.astimezone(zone).date() - first).days
        if day < days:
            row[max(day, 0)] += int(delta)
    for row in steps.values():
        for day in range(1, days):
            row[day] += row[day - 1]
    return steps


def held_at(tx: Tx, kind: ClassCode, holders: Collection[Holder], instants: Sequence[datetime]) -> list[int]:
    """What ``holders`` had of a class in all pools at each of a few ``instants``, base units: from what they have now, less what was
    moved since. Looks at the entries since the first of them alone."""
    mine = (Account.kind == kind, Account.holder.in_([one.value for one in holders]))
    now = tx.scalar(select(func.coalesce(func.sum(Account.balance), 0)).where(*mine)) or 0
    since = (
        select(*(func.coalesce(func.sum(case((Transfer.at >= at, Entry.delta), else_=0)), 0) for at in instants))
        .select_from(Transfer)
        .join(Entry, Entry.transfer_id == Transfer.id)
        .join(Account, Account.id == Entry.account_id)
        .where(Transfer.at >= min(instants), *mine)
    )
    return [int(now) - int(moved) for moved in tx.execute(since).one()]


def begun(tx: Tx, *, zone: ZoneInfo = ZONE) -> date | None:
    """The first day of the ledger; None where nothing was ever moved."""
    first = tx.scalar(select(func.min(Transfer.at)))
    return first.astimezone(zone).date() if first else None


def begun_by_pool(tx: Tx, *, zone: ZoneInfo = ZONE) -> dict[int, date]:
    """Pool id → the first day on which anything of it was moved: before that it was not there."""
    rows = tx.execute(
        select(Account.pool_id, func.min(Transfer.at))
        .join(Entry, Entry.transfer_id == Transfer.id)
        .join(Account, Account.id == Entry.account_id)
        .group_by(Account.pool_id)
    )
    return {int(pool_id): at.astimezone(zone).date() for pool_id, at in rows}


def window(today: date, days: int) -> tuple[date, date]:
    """The ``days`` days up to ``today``."""
    return today - timedelta(days=days - 1), today
