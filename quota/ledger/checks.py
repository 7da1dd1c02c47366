"""The ledger held against itself: every entry against the one before it, every account against its last, holds against what is
held. Entries may be read in parts, by the numbers of their transfers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import Table, exists, func, select

from quota.inspection import going_on, mappings, readable, rows
from quota.ledger.tables import Account, Entry, Hold, Holder, HoldState, Side, Transfer
from quota.seals import GENESIS, link
from quota.spans import WHOLE, Links, NumberSpan
from quota.transactions import Tx
from quota.units import Arch, ClassCode, Commodity

SETTLES = timedelta(days=1)
ASKED = 20
"""So many of the last transfers are tried."""


def check(tx: Tx) -> Iterator[str]:
    """Recompute the whole ledger from its entries; yield a sentence for each row that does not fit, naming it."""
    yield from check_transfers(tx)
    yield from check_accounts(tx)


def check_transfers(tx: Tx, span: NumberSpan = WHOLE, links: Links | None = None) -> Iterator[str]:
    """The entries of every transfer, or of those of these numbers, each against the entry before it on its account. ``links`` is
    told every entry that was passed."""
    said: list[str] = []
    entries, earlier = Entry.__table__, Entry.__table__.alias()
    query = (
        select(
            entries,
            *(getattr(Transfer, name).label(f"of_{name}") for name in ("id", *_OF_TRANSFERS)),
            Account.id.label("of_account"),
            Account.code,
            Account.entries.label("whole"),
            earlier.c.balance.label("before"),
            earlier.c.digest.label("previous"),
        )
        .outerjoin(Transfer, Transfer.id == entries.c.transfer_id)
        .outerjoin(Account, Account.id == entries.c.account_id)
        .outerjoin(
            earlier, (earlier.c.account_id == entries.c.account_id) & (earlier.c.sequence == entries.c.sequence - 1)
        )
        .where(*span.of(entries.c.transfer_id))
        .order_by(entries.c.account_id, entries.c.sequence)
    )
    for row in mappings(tx, query, entries, said):
        with going_on(said, "entries", row["id"]):
            said += _unfit(row)
        yield from said
        said.clear()
        if links is not None:
            links.add(row["id"], row["digest"])
    yield from said
    said.clear()
    where = (Account.pool_id, Account.kind, Account.arch)
    sums = select(Entry.transfer_id, *where, func.sum(Entry.delta)).join(Account, Account.id == Entry.account_id)
    sums = (
        sums.where(*span.of(entries.c.transfer_id))
        .group_by(Entry.transfer_id, *where)
        .having(func.sum(Entry.delta) != 0)
    )
    for number, pool_id, kind, arch, amount in tx.execute(sums.order_by(Entry.transfer_id, *where)):
        yield f"transfers: row {number} does not balance in {pool_id}/{kind}/{arch}: {amount}"
    idle = select(Transfer.id, Transfer.command, Transfer.key).where(*span.of(Transfer.__table__.c.id))
    idle = idle.where(~exists().where(Entry.transfer_id == Transfer.id)).order_by(Transfer.id)
    for number, command, key in readable(tx, idle, cast("Table", Transfer.__table__), said):
        yield f"transfers: row {number} ({command} {key}) moves nothing"
    yield from said


def settled(tx: Tx) -> int:
    """The number of the last transfer before which none is still to come: numbers are given before transactions commit, and none
    lasts for a day. What does not fit says nothing: its number may not be one that the book gave."""
    query = select(Transfer.id).where(Transfer.at < tx.now - SETTLES).order_by(Transfer.id.desc()).limit(ASKED)
    fit = (one for one in tx.scalars(query).all() if not any(check_transfers(tx, NumberSpan(one, one))))
    return next(fit, 0)


_OF_TRANSFERS = ("key", "command", "subject", "fingerprint", "actor", "at", "memo")
"""What of a transfer the seals of its entries cover, beside its number."""


def _unfit(row: Mapping[str, Any]) -> Iterator[str]:
    """What of an entry, read with its transfer, its account and the entry before it, does not fit."""
    if row["of_id"] is None or row["of_account"] is None:
        yield f"entries: row {row['id']} points to an account or a transfer that is gone"
        return
    number, code, previous, before = row["sequence"], row["code"], row["previous"], row["before"]
    if number == 1:
        previous, before = GENESIS, 0
    if number < 1 or number > row["whole"]:
        yield f"entries: row {row['id']} is number {number} on {code}, which has {row['whole']}"
    if previous is None:
        yield f"entries: row {row['id']} is number {number} on {code}, and number {number - 1} is not there"
        return
    if row["balance"] != before + row["delta"]:
        yield f"entries: row {row['id']} says {row['balance']} on {code}, its movements sum to {before + row['delta']}"
    covered = {
        "account": code,
        "transfer": row["of_id"],
        **{name: row[name] for name in ("sequence", "delta", "balance")},
    }
    if link(previous, covered | {name: row[f"of_{name}"] for name in _OF_TRANSFERS}) != row["digest"]:
        yield f"entries: row {row['id']} on {code} does not match its seal"


def check_accounts(tx: Tx) -> Iterator[str]:
    """Every account against its last entry, and what is held on it against the holds that are pending."""
    said: list[str] = []
    last = Entry.__table__
    accounts = Account.__table__
    query = (
        select(accounts, last.c.balance.label("ends_at"), last.c.digest.label("ends_with"))
        .outerjoin(last, (last.c.account_id == accounts.c.id) & (last.c.sequence == accounts.c.entries))
        .order_by(accounts.c.id)
    )
    held: dict[str, int] = {}
    for one in rows(tx, select(Hold).where(Hold.state == HoldState.PENDING.value).order_by(Hold.id), said):
        with going_on(said, "holds", one.id):
            code = Side(one.pool_id, one.commodity, Holder.HELD, one.department_id).code
            held[code] = held.get(code, 0) + one.amount
    for row in mappings(tx, query, accounts, said):
        number, code = row["id"], row["code"]
        with going_on(said, "accounts", number):
            cls = Commodity(ClassCode(row["kind"]), Arch(row["arch"]))
            if Side(row["pool_id"], cls, Holder(row["holder"]), row["department_id"]).code != code:
                said.append(f"accounts: row {number} ({code}) is not what its code says")
        ends = (row["ends_at"], row["ends_with"]) if row["entries"] else (0, GENESIS)
        if (row["balance"], row["digest"]) != ends:
            said.append(f"accounts: row {number} ({code}) says {row['balance']}, its entries say otherwise")
        if row["holder"] == Holder.HELD.value and row["balance"] != held.pop(code, 0):
            said.append(f"holds: those pending on {code} do not sum to its balance {row['balance']}")
        yield from said
        said.clear()
    for code, amount in held.items():
        yield f"holds: {amount} pending on {code}, an account that does not exist"
    yield from said
