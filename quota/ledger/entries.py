"""The ledger: a double-entry book of who may have how much of which pool.

For each pool × resource class there are accounts; every movement takes from one and adds to another:

    supply ──provision──▶ free ──grant──▶ granted(department) ──use──▶ used(department)
                          free/granted/lent/shared ──hold──▶ held(department) ──post──▶ granted/used, the rest back
                          granted(lender) ──lend──▶ lent(borrower) ──give_back──▶ granted(lender)

``supply`` is the counter-account and runs below zero by exactly what was put in, so that at every instant

    free + held + granted + shared + used + lent = capacity = −supply.

``lent(department)`` is what a department has borrowed and not put to use: it is taken up after its own granted quota.
``shared(department)`` is what it set apart for its systems (``shares``), for their requests alone.

No other account can fall below zero: a CHECK in the database says so, not only Python. Entries are append-only by
trigger, and chained per account with SM3, so a changed row is found and named. Every command carries an idempotency
key: the same command again returns the first transfer, the same key for something else is a Conflict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select
from sqlalchemy.dialects import postgresql, sqlite

from quota.errors import N_, Conflict, Invalid, NotFound, OverCapacity, WrongState, reused
from quota.ledger.checks import check
from quota.ledger.tables import (
    OWNED,
    Account,
    Classes,
    Entry,
    Hold,
    Holder,
    HoldState,
    Move,
    Side,
    SystemShare,
    Transfer,
)
from quota.seals import GENESIS, fingerprint, link
from quota.units import CLASSES, ClassCode, Commodity, shown

if TYPE_CHECKING:
    from quota.db import Tx

__all__ = [
    "OWNED",
    "Account",
    "Classes",
    "Entry",
    "Hold",
    "HoldState",
    "Holder",
    "Move",
    "Side",
    "Transfer",
    "account",
    "balance",
    "balances",
    "balances_of",
    "check",
    "conserved",
    "content",
    "convert",
    "drawn_of_pool",
    "expire",
    "give_back",
    "grant",
    "hand_over",
    "held_of_pool",
    "hold",
    "lend",
    "lock",
    "made",
    "pass_on",
    "pending",
    "post",
    "provision",
    "recast",
    "reclaim",
    "release",
    "retire",
    "set_apart",
    "statement",
    "use",
    "void",
]


# ---------------------------------------------------------------------------------------------------------- commands


def provision(tx: Tx, pool_id: int, what: Classes, *, key: str, memo: str = "") -> Transfer:
    """Put capacity into a pool: supply → free."""
    return _move(tx, "provision", key, _between(pool_id, what, Holder.SUPPLY, Holder.FREE), memo=memo)


def retire(tx: Tx, pool_id: int, what: Classes, *, key: str, memo: str = "") -> Transfer:
    """Take capacity out of a pool: free → supply. OverCapacity where less than that is free."""
    return _move(tx, "retire", key, _between(pool_id, what, Holder.FREE, Holder.SUPPLY), memo=memo)


def grant(
    tx: Tx, pool_id: int, department_id: int, what: Classes, *, key: str, subject: str = "", memo: str = ""
) -> Transfer:
    """Give a department quota: free → granted."""
    return _move(tx, "grant", key, _between(pool_id, what, Holder.FREE, Holder.GRANTED, department_id), subject, memo)


def use(
    tx: Tx, pool_id: int, department_id: int, what: Classes, *, key: str, subject: str = "", memo: str = ""
) -> Transfer:
    """A resource of the department's came into being: granted → used."""
    return _move(tx, "use", key, _between(pool_id, what, Holder.GRANTED, Holder.USED, department_id), subject, memo)


def release(
    tx: Tx, pool_id: int, department_id: int, what: Classes, *, key: str, subject: str = "", memo: str = ""
) -> Transfer:
    """A resource shrank or went; the department keeps its quota: used → granted."""
    return _move(tx, "release", key, _between(pool_id, what, Holder.USED, Holder.GRANTED, department_id), subject, memo)


def set_apart(
    tx: Tx,
    pool_id: int,
    department_id: int,
    what: Classes,
    *,
    key: str,
    subject: str = "",
    memo: str = "",
    back: bool = False,
) -> Transfer:
    """Of a department's unused quota, for its systems: granted → shared, or ``back``."""
    source, target = (Holder.SHARED, Holder.GRANTED) if back else (Holder.GRANTED, Holder.SHARED)
    return _move(
        tx, "unset" if back else "set_apart", key, _between(pool_id, what, source, target, department_id), subject, memo
    )


def pass_on(
    tx: Tx, pool_id: int, department_id: int, what: Classes, *, key: str, subject: str = "", memo: str = ""
) -> Transfer:
    """From one of the department's systems to another: shared → granted → shared, for the trail."""
    out = _between(pool_id, what, Holder.SHARED, Holder.GRANTED, department_id)
    again = _between(pool_id, what, Holder.GRANTED, Holder.SHARED, department_id)
    return _move(tx, "pass_on", key, [*out, *again], subject, memo)


def reclaim(
    tx: Tx,
    pool_id: int,
    department_id: int,
    what: Classes,
    *,
    key: str,
    source: Holder = Holder.USED,
    subject: str = "",
    memo: str = "",
) -> Transfer:
    """Return to the city what a department had: used (or granted) → free."""
    if source not in (Holder.USED, Holder.GRANTED):
        raise Invalid("ledger.source", N_("只能从在用或已授予的配额中回收"), field="source")
    return _move(tx, "reclaim", key, _between(pool_id, what, source, Holder.FREE, department_id), subject, memo)


def hold(
    tx: Tx,
    pool_id: int,
    department_id: int,
    what: Classes,
    *,
    key: str,
    subject: str,
    source: Holder,
    target: Holder,
    expires_at: datetime | None = None,
    share_ids: Mapping[Commodity, int] | None = None,
) -> list[Hold]:
    """Set ``what`` aside for a department until it is decided; one hold a class.

    ``source`` is FREE (new quota), GRANTED (within quota), LENT (borrowed) or SHARED (a system's: ``share_ids`` says of each
    class whose); ``target`` is where a post takes it: GRANTED or USED, of what is borrowed or a system's only USED. Limits are checked now, when it is made pending: OverCapacity names
    the class that falls short.
    """
    if (
        source not in (Holder.FREE, Holder.GRANTED, Holder.LENT, Holder.SHARED)
        or target not in (Holder.GRANTED, Holder.USED)
        or (source in (Holder.LENT, Holder.SHARED) and target is Holder.GRANTED)
        or (source is Holder.SHARED) != (share_ids is not None)
    ):
        raise Invalid("ledger.hold", N_("预占只能从空闲、已授予或借入转到已授予或在用"), field="source")
    _move(tx, "hold", key, _between(pool_id, what, source, Holder.HELD, department_id), subject)
    found = {one.key: one for one in tx.scalars(select(Hold).where(Hold.key.in_([f"{key}/{cls}" for cls in what])))}
    holds = []
    for cls, amount in sorted(what.items()):
        name = f"{key}/{cls}"
        one = found.get(name)
        if one is None:
            one = Hold(
                key=name,
                subject=subject,
                pool_id=pool_id,
                department_id=department_id,
                kind=cls.kind,
                arch=cls.arch.value,
                source=source.value,
                target=target.value,
                amount=amount,
                posted=0,
                state=HoldState.PENDING.value,
                expires_at=expires_at,
                share_id=(share_ids or {}).get(cls),
            )
            tx.add(one)
        holds.append(one)
    tx.flush()
    return holds


def post(tx: Tx, holds: Sequence[Hold], what: Classes | None = None, *, key: str) -> Transfer:
    """Decide ``holds``: take them to their target, in whole, or only ``what`` of them, the rest back to their source.

    ``what`` counts over all holds of a class together; what lies within quota (source SHARED or GRANTED) is taken first.
    Raises Invalid where ``what`` exceeds the holds or takes nothing, WrongState (hold.posted, hold.voided,
    hold.expired) where one was already decided otherwise; the same key again returns the first transfer.
    """
    left = dict(what) if what is not None else None
    # Within quota first, then what is borrowed: a part approval costs the city as little of its free capacity as can be.
    ordered = sorted(holds, key=lambda one: (_TAKEN_FIRST.index(one.source), one.id))
    parts: list[tuple[Hold, int]] = []
    for one in ordered:
        take = one.amount if left is None else min(one.amount, left.get(one.commodity, 0))
        if left is not None:
            left[one.commodity] = left.get(one.commodity, 0) - take
        parts.append((one, take))
    if left is not None and any(rest != 0 for rest in left.values()):
        raise Invalid("hold.exceeded", N_("批准量超出了预占量"), field="amounts")
    if not any(take for _, take in parts):
        raise Invalid("hold.nothing", N_("批准量为零;请改用驳回"), field="amounts")
    moves = []
    for one, take in parts:
        moves += _settled(one, take)
    done = _earlier(tx, key, "post", moves)
    if done is not None:
        return done
    if any(one.share_id is not None for one in holds):  # its row is written by who has these accounts
        lock(tx, [side for move in moves for side in (move.source, move.target)])
    for one, take in parts:
        state = HoldState.POSTED if take else HoldState.VOIDED
        _decide(tx, one, state, take)
    return _move(tx, "post", key, moves, _subject(holds))


def void(tx: Tx, holds: Sequence[Hold], *, key: str) -> Transfer:
    """Give ``holds`` back to where they came from. WrongState where one was already decided."""
    return _undo(tx, "void", HoldState.VOIDED, holds, key)


def expire(tx: Tx, holds: Sequence[Hold], *, key: str) -> Transfer:
    """Like void, because the time ran out. WrongState where that time has not come or one was already decided."""
    for one in holds:
        if one.expires_at is None or one.expires_at > tx.now:
            raise WrongState("hold.early", N_("预占 %(key)s 尚未到期"), key=one.key)
    return _undo(tx, "expire", HoldState.EXPIRED, holds, key)


def lend(
    tx: Tx, pool_id: int, lender_id: int, borrower_id: int, what: Classes, *, key: str, subject: str, memo: str = ""
) -> Transfer:
    """Unused quota of the lender's for the borrower to use: granted(lender) → lent(borrower)."""
    moves = [
        Move(Side(pool_id, cls, Holder.GRANTED, lender_id), Side(pool_id, cls, Holder.LENT, borrower_id), amount)
        for cls, amount in sorted(what.items())
    ]
    return _move(tx, "lend", key, moves, subject, memo)


def give_back(
    tx: Tx,
    pool_id: int,
    borrower_id: int,
    lender_id: int,
    cls: Commodity,
    parts: Mapping[Holder, int],
    *,
    key: str,
    subject: str,
) -> Transfer:
    """What was borrowed goes home: lent(borrower), and where that is in use its own granted → granted(lender)."""
    if not set(parts) <= {Holder.LENT, Holder.GRANTED}:
        raise Invalid("ledger.source", N_("只能归还未使用的配额"), field="source")
    home = Side(pool_id, cls, Holder.GRANTED, lender_id)
    moves = [Move(Side(pool_id, cls, holder, borrower_id), home, amount) for holder, amount in sorted(parts.items())]
    return _move(tx, "give_back", key, moves, subject)


Owned = Mapping[tuple[int, Commodity, Holder], int]
"""Base units of a department by pool, class and holder."""


def hand_over(
    tx: Tx,
    source_id: int,
    target_id: int,
    what: Owned,
    *,
    key: str,
    subject: str = "",
    memo: str = "",
    holds: Sequence[Hold] = (),
    command: str = "hand_over",
) -> Transfer:
    """Move what one department has to another, holder by holder, as one transfer: nothing leaves its pool or class.

    ``command`` is what the transfer is called. ``holds`` are pending and go with their amounts, which ``what`` does not count. Raises OverCapacity where the
    source has less, WrongState where a hold was decided meanwhile, Invalid where both are the same department.
    """
    if source_id == target_id:
        raise Invalid("ledger.same", N_("转出和转入不能是同一单位"), field="target")
    if any(holder not in OWNED or holder is Holder.HELD for _pool, _cls, holder in what):
        raise Invalid("ledger.source", N_("只能划转属于单位的配额"), field="source")
    amounts = dict(what)
    for one in holds:
        place = (one.pool_id, one.commodity, Holder.HELD)
        amounts[place] = amounts.get(place, 0) + one.amount
    moves = [
        Move(Side(pool_id, cls, holder, source_id), Side(pool_id, cls, holder, target_id), amount)
        for (pool_id, cls, holder), amount in sorted(amounts.items())
    ]
    done = _earlier(tx, key, command, moves)
    if done is not None:
        return done
    for one in sorted(holds, key=lambda hold: hold.id):
        _still_pending(tx, one)
        if one.department_id != source_id:
            raise Conflict("hold.moved", N_("预占 %(key)s 已不属于转出单位"), key=one.key)
        one.department_id = target_id
    return _move(tx, command, key, moves, subject, memo)


def convert(
    tx: Tx,
    department_id: int,
    source: tuple[int, Commodity, int],
    target: tuple[int, Commodity, int],
    *,
    key: str,
    subject: str,
    memo: str = "",
) -> Transfer:
    """Quota of one pool and class for quota of another, in one transfer: granted(source) → free(source), free(target) →
    granted(target); of both the pool's id, the class and base units. Each pool keeps what it has. OverCapacity where the
    department has less, or the other pool less that is free."""
    (pool_id, cls, given), (other_id, other, received) = source, target
    moves = [
        *_between(pool_id, {cls: given}, Holder.GRANTED, Holder.FREE, department_id),
        *_between(other_id, {other: received}, Holder.FREE, Holder.GRANTED, department_id),
    ]
    return _move(tx, "convert", key, moves, subject, memo)


def recast(
    tx: Tx, pool_id: int, given: tuple[Commodity, int], made: tuple[Commodity, int], *, key: str, memo: str = ""
) -> Transfer:
    """Free capacity of a pool as another class, in one transfer: what is ``given`` (class, base units) leaves it, what is ``made``
    comes in; of both below zero the other way round. OverCapacity where less is free."""
    ways = []
    for (cls, amount), out in ((given, True), (made, False)):
        leaves = out == (amount > 0)
        source, target = (Holder.FREE, Holder.SUPPLY) if leaves else (Holder.SUPPLY, Holder.FREE)
        ways += _between(pool_id, {cls: abs(amount)}, source, target)
    return _move(tx, "recast", key, ways, memo=memo)


def lock(tx: Tx, sides: Iterable[Side]) -> None:
    """Lock the accounts of ``sides``, in the one order that every command keeps, until this transaction ends.

    For who reads balances to decide which commands to give: what is read after this stays true for them.
    """
    _locked(tx, {side.code: side for side in sides})


# ----------------------------------------------------------------------------------------------------------- reading


def balance(tx: Tx, side: Side) -> int:
    """Base units on an account; 0 where it was never opened."""
    return tx.scalar(select(Account.balance).where(Account.code == side.code)) or 0


def balances_of(tx: Tx, sides: Collection[Side]) -> dict[Side, int]:
    """``balance`` of each of ``sides``, from one look."""
    codes = {side.code: side for side in sides}
    found = dict.fromkeys(sides, 0)
    for code, there in tx.execute(select(Account.code, Account.balance).where(Account.code.in_(codes))):
        found[codes[code]] = there
    return found


def balances(tx: Tx, *, pool_id: int | None = None, department_ids: set[int] | None = None) -> list[Account]:
    """Accounts of a pool and of departments (all where None), by code."""
    query = select(Account).order_by(Account.code)
    if pool_id is not None:
        query = query.where(Account.pool_id == pool_id)
    if department_ids is not None:
        query = query.where(Account.department_id.in_(department_ids))
    return list(tx.scalars(query))


def made(tx: Tx, key: str) -> Transfer | None:
    """The transfer that was made under ``key``, if any."""
    return tx.scalar(select(Transfer).where(Transfer.key == key))


def pending(tx: Tx, subject: str) -> list[Hold]:
    """The holds of ``subject`` that wait for a decision."""
    return list(
        tx.scalars(select(Hold).where(Hold.subject == subject, Hold.state == HoldState.PENDING.value).order_by(Hold.id))
    )


def held_of_pool(tx: Tx, pool_id: int, cls: Commodity, department_id: int) -> int:
    """Base units that are held for the department out of the pool's free capacity: not its own before it is decided."""
    query = select(func.sum(Hold.amount)).where(
        Hold.department_id == department_id,
        Hold.state == HoldState.PENDING.value,
        Hold.source == Holder.FREE.value,
        Hold.pool_id == pool_id,
        Hold.kind == cls.kind,
        Hold.arch == cls.arch.value,
    )
    return int(tx.scalar(query) or 0)


def drawn_of_pool(tx: Tx, subject: str) -> dict[Commodity, int]:
    """Base units that were granted to ``subject`` out of the pool's free capacity, by class: what no department had before."""
    query = select(Hold).where(
        Hold.subject == subject, Hold.state == HoldState.POSTED.value, Hold.source == Holder.FREE.value
    )
    found: dict[Commodity, int] = {}
    for one in tx.scalars(query):
        found[one.commodity] = found.get(one.commodity, 0) + one.posted
    return found


def conserved(tx: Tx) -> bool:
    """Whether every pool × class sums to zero over all its accounts, supply included. One query."""
    return tx.scalar(_uneven()) == 0


@cache
def _uneven() -> Select[int]:
    """How many sum to something else: a statement that is made once, as a rehearsal asks it after every step."""
    off = select(Account.pool_id).group_by(Account.pool_id, Account.kind, Account.arch)
    return select(func.count()).select_from(off.having(func.sum(Account.balance) != 0).subquery())


# ---------------------------------------------------------------------------------------------------------- mechanism


def _between(
    pool_id: int, what: Classes, source: Holder, target: Holder, department_id: int | None = None
) -> list[Move]:
    def side(cls: Commodity, holder: Holder) -> Side:
        owner = None if holder in (Holder.SUPPLY, Holder.FREE) else department_id
        return Side(pool_id, cls, holder, owner)

    return [Move(side(cls, source), side(cls, target), amount) for cls, amount in sorted(what.items())]


def _settled(hold: Hold, take: int) -> list[Move]:
    cls = hold.commodity
    held = _between(hold.pool_id, {cls: hold.amount}, Holder.HELD, Holder.HELD, hold.department_id)[0].source
    target, source = (
        Side(
            hold.pool_id,
            cls,
            holder,
            None if holder is Holder.FREE else hold.department_id,
        )
        for holder in (Holder(hold.target), Holder(hold.source))
    )
    moves = [Move(held, target, take)] if take else []
    return moves + ([Move(held, source, hold.amount - take)] if take < hold.amount else [])


def _undo(tx: Tx, command: str, state: HoldState, holds: Sequence[Hold], key: str) -> Transfer:
    moves = [move for one in holds for move in _settled(one, 0)]
    done = _earlier(tx, key, command, moves)
    if done is not None:
        return done
    for one in holds:
        _decide(tx, one, state, 0)
    return _move(tx, command, key, moves, _subject(holds))


def _decide(tx: Tx, hold: Hold, state: HoldState, posted: int) -> None:
    """Take a hold out of pending."""
    _still_pending(tx, hold)
    hold.state, hold.posted = state.value, posted
    if hold.share_id is not None and posted:
        share = tx.get_one(SystemShare, hold.share_id, with_for_update=True, populate_existing=True)
        share.used += posted


def _still_pending(tx: Tx, hold: Hold) -> None:
    """Raise WrongState where a hold was decided; the row lock makes a second decision wait, then fail."""
    tx.lock(hold)
    if hold.state != HoldState.PENDING.value:
        words = {"posted": N_("已入账"), "voided": N_("已作废"), "expired": N_("已过期")}
        raise WrongState(
            f"hold.{hold.state}", N_("预占 %(key)s %(state)s,不能再次处理"), key=hold.key, state=words[hold.state]
        )


_TAKEN_FIRST = (Holder.SHARED.value, Holder.GRANTED.value, Holder.LENT.value, Holder.FREE.value)


def _subject(holds: Sequence[Hold]) -> str:
    return holds[0].subject if holds else ""


def _spelled(command: str, moves: Sequence[Move]) -> str:
    return fingerprint(
        {"command": command, "moves": [[move.source.code, move.target.code, move.amount] for move in moves]}
    )


def _earlier(tx: Tx, key: str, command: str, moves: Sequence[Move]) -> Transfer | None:
    """The transfer that this key already made, if it was the same command; Conflict if it was another."""
    earlier = made(tx, key)
    if earlier is not None and earlier.fingerprint != _spelled(command, moves):
        raise reused(key)
    return earlier


def _move(tx: Tx, command: str, key: str, moves: Sequence[Move], subject: str = "", memo: str = "") -> Transfer:
    """Make ``moves`` as one transfer: the only writer of balances."""
    if not moves:
        raise Invalid("transfer.empty", N_("没有要变动的数量"), field="amounts")
    for move in moves:
        if isinstance(move.amount, bool) or not isinstance(move.amount, int) or move.amount <= 0:
            raise Invalid("transfer.amount", N_("变动数量须为正整数"), field=move.source.cls.kind)
    accounts = _locked(tx, {side.code: side for move in moves for side in (move.source, move.target)})
    # Looked up after the accounts are locked: a second command with this key waited for the first to finish.
    earlier = _earlier(tx, key, command, moves)
    if earlier is not None:
        return earlier
    transfer = Transfer(
        key=key,
        command=command,
        subject=subject,
        fingerprint=_spelled(command, moves),
        actor=tx.actor.login,
        at=tx.now,
        memo=memo,
    )
    tx.add(transfer)
    tx.flush()
    for move in moves:
        _enter(tx, transfer, accounts[move.source.code], -move.amount)
        _enter(tx, transfer, accounts[move.target.code], move.amount)
    tx.flush()
    return transfer


def _locked(tx: Tx, sides: Mapping[str, Side]) -> dict[str, Account]:
    """The accounts of ``sides``, opened where new, locked in one order so that no two commands wait for each other."""
    insert = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
    rows: list[dict[str, Any]] = [
        {
            "code": code,
            "pool_id": side.pool_id,
            "kind": side.cls.kind,
            "arch": side.cls.arch.value,
            "holder": side.holder.value,
            "department_id": side.department_id,
            "balance": 0,
            "entries": 0,
            "digest": GENESIS,
        }
        for code, side in sorted(sides.items())
    ]
    query = (
        select(Account)
        .where(Account.code.in_(list(sides)))
        .order_by(Account.code)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = {one.code: one for one in tx.scalars(query)}
    missing = [row for row in rows if row["code"] not in found]
    if missing:
        tx.execute(insert(Account).values(missing).on_conflict_do_nothing(index_elements=["code"]))
        found = {one.code: one for one in tx.scalars(query)}
    return found


def _enter(tx: Tx, transfer: Transfer, account: Account, delta: int) -> None:
    after = account.balance + delta
    if (after < 0) != (account.holder == Holder.SUPPLY.value) and after != 0:
        unit = CLASSES[ClassCode(account.kind)]
        raise OverCapacity(
            "capacity.short",
            N_("%(kind)s(%(arch)s)不足:需要 %(need)s,只有 %(have)s %(unit)s"),
            kind=unit.label,
            arch=account.arch,
            need=shown(ClassCode(account.kind), abs(delta)),
            have=shown(ClassCode(account.kind), abs(account.balance)),
            unit=unit.shown,
            field=account.kind,
        )
    account.balance = after
    account.entries += 1
    entry = Entry(
        transfer_id=transfer.id,
        account_id=account.id,
        sequence=account.entries,
        delta=delta,
        balance=after,
    )
    entry.digest = link(account.digest, content(entry, account, transfer))
    account.digest = entry.digest
    tx.add(entry)


def content(entry: Entry, account: Account, transfer: Transfer) -> dict[str, Any]:
    """What an entry's seal covers: itself, the account that it is on and the transfer that it is of."""
    return {
        "account": account.code,
        "sequence": entry.sequence,
        "delta": entry.delta,
        "balance": entry.balance,
        "transfer": transfer.id,
        "key": transfer.key,
        "command": transfer.command,
        "subject": transfer.subject,
        "fingerprint": transfer.fingerprint,
        "actor": transfer.actor,
        "at": transfer.at,
        "memo": transfer.memo,
    }


def account(tx: Tx, account_id: int) -> Account:
    """The account, or NotFound."""
    found = tx.get(Account, account_id)
    if found is None:
        raise NotFound("account.none", N_("没有编号为 %(id)s 的账户"), id=account_id)
    return found


def statement(tx: Tx, account_id: int) -> list[tuple[Entry, Transfer]]:
    """Every entry of an account with its transfer, oldest first: a balance replayed to its rows."""
    rows = tx.execute(
        select(Entry, Transfer)
        .join(Transfer, Entry.transfer_id == Transfer.id)
        .where(Entry.account_id == account_id)
        .order_by(Entry.sequence)
    )
    return [(entry, transfer) for entry, transfer in rows]
