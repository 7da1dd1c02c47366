"""Bills: what each company wants paid, month by month, kept as claims; metering.statements.reconciliation compares them.

A bill is never edited: the same content again is the same bill, other content is a new revision, and the latest stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, ForeignKey, Index, Numeric, String, UniqueConstraint, false, select, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers import base
from providers.base import Provider, accountable
from providers.billing.claims import Claim
from quota.actors import Actor, Role, steward
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import Pool
from quota.errors import N_, Invalid, NotAllowed
from quota.inspection import going_on
from quota.seals import fingerprint
from quota.units import ClassCode

if TYPE_CHECKING:
    from quota.db import Book, Tx

Interval = tuple[datetime, datetime]


class Bill(Base):
    """One company's bill for one pool and month. ``revision`` counts corrections from 1."""

    __tablename__ = "bills"
    __table_args__ = (UniqueConstraint("pool_id", "month", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    month: Mapped[str] = mapped_column(String(7))  # 2026-10
    revision: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(128))  # the adapter's name, or a file's
    taken_at: Mapped[datetime]
    taken_by: Mapped[str] = mapped_column(String(64))

    pool: Mapped[Pool] = relationship()


class BillLine(Base):
    """One line of a bill: ``quantity`` base units × hours of one kind of one resource, over [since, until). ``cost``: where the
    bill tells money, in ``currency``; ``payer``: whom it bills, as it writes it."""

    __tablename__ = "bill_lines"
    __table_args__ = (Index("ix_bill_lines_bill_id_external_id", "bill_id", "external_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    bill_id: Mapped[int] = mapped_column(ForeignKey("bills.id"))
    external_id: Mapped[str] = mapped_column(String(128))
    service: Mapped[str] = mapped_column(String(24))
    kind: Mapped[str] = mapped_column(String(16))
    arch: Mapped[str] = mapped_column(String(16))
    quantity: Mapped[Decimal] = mapped_column(Numeric(20, 4))
    since: Mapped[datetime]
    until: Mapped[datetime]
    cost: Mapped[Decimal | None] = mapped_column(Numeric(16, 6))
    currency: Mapped[str] = mapped_column(String(3), default=base.CNY, server_default=base.CNY)
    payer: Mapped[str] = mapped_column(String(128), default="", server_default="")


append_only(Bill.__table__)  # type: ignore[arg-type]
append_only(BillLine.__table__)  # type: ignore[arg-type]


LINE_FAULTS: Mapping[str, str] = {
    "bill.id": N_("资源编号为空"),
    "bill.month": N_("账期不是 %(month)s"),
    "bill.quantity": N_("用量不是非负数,或过大"),
    "bill.span": N_("起止时间不在账期之内,或起不早于止"),
    "bill.cost": N_("金额不是数,或过大"),
    "bill.payer": N_("币种不是三个字母的代码,或付款单位过长"),
    "bill.twice": N_("同一资源、类别和起始时间的账单行重复"),
}
"""Why a line is not taken."""

MOST = Decimal(10) ** 13
"""Unit-hours that no line reaches: a hundred times a pool's memory in MiB over a month."""

MOST_COST = Decimal(10) ** 9
"""Yuan that no line reaches: up to here SQLite keeps six decimals."""

QUANTITY_STEP, COST_STEP = Decimal("0.0001"), Decimal("0.000001")
"""The smallest figures that a line keeps; what is finer is rounded half up."""

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that was not taken; ``at`` counts the lines as they were handed over, from 1."""

    at: int
    reason: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a bill: the bill that stands now, whether it is new, and the lines refused."""

    bill: Bill | None
    new: bool
    lines: int
    refused: list[Fault] = field(default_factory=list)


def month_bounds(month: str) -> Interval:
    """Start and end of the city's month ``2026-10``, in UTC. Raises Invalid for anything else."""
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Invalid("month.bad", N_("%(month)s 不是月份"), month=month, field="month") from None
    following = (first + timedelta(days=32)).replace(day=1)
    start, end = (datetime.combine(day, time(), ZONE).astimezone(UTC) for day in (first, following))
    return start, end


def take(tx: Tx, pool: Pool, month: str, lines: Sequence[base.BillFact], *, source: str) -> Taken:
    """Enter a company's bill for ``pool`` and ``month``. The same bill again changes nothing; a different one is its
    next revision. Lines that make no sense are refused one by one and listed.

    Raises NotAllowed for another company's staff, Invalid where not one line can be taken.
    """
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR, Role.PROVIDER)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != pool.provider_id:
        raise NotAllowed("bill.not_yours", N_("只能提交本公司的账单"))
    bounds = month_bounds(month)
    refused: list[Fault] = []
    good: dict[tuple[str, ClassCode, datetime], base.BillFact] = {}
    for at, line in enumerate(lines, 1):
        key = (line.external_id, line.kind, line.since)
        reason = fault(line, month, bounds) or ("bill.twice" if key in good else "")
        if reason:
            refused.append(Fault(at, reason, line.external_id[:128]))
        else:
            good[key] = line
    if not good:
        raise Invalid("bill.empty", N_("账单中没有一行可以采用(共 %(count)s 行)"), count=len(lines))
    tx.execute(select(Pool.id).where(Pool.id == pool.id).with_for_update())  # one bill of a pool at a time
    rows = [
        {
            "external_id": line.external_id,
            "service": line.service.value,
            "kind": line.kind,
            "arch": line.arch.value,
            "quantity": line.quantity.quantize(QUANTITY_STEP, ROUND_HALF_UP),
            "since": line.since,
            "until": line.until,
            **({} if line.cost is None else {"cost": _cost(line.cost)}),
            **({} if line.currency == base.CNY else {"currency": line.currency}),
            **({"payer": line.payer} if line.payer else {}),
        }
        for _, line in sorted(good.items())
    ]
    digest = fingerprint({"pool": pool.id, "month": month, "lines": rows})
    standing = current(tx, pool.id, month)
    if standing is not None and standing.digest == digest:
        return Taken(standing, False, len(rows), refused)
    bill = Bill(
        pool_id=pool.id,
        provider_id=pool.provider_id,
        month=month,
        revision=standing.revision + 1 if standing is not None else 1,
        digest=digest,
        source=source,
        taken_at=tx.now,
        taken_by=tx.actor.login,
    )
    tx.add(bill)
    tx.flush()
    tx.bulk_insert_mappings(BillLine.__mapper__, [{**UNSAID, **row, "bill_id": bill.id} for row in rows])
    tx.audit(
        "bill.take",
        f"bill:{bill.id}",
        before={"revision": standing.revision} if standing is not None else None,
        after={
            "pool": pool.code,
            "month": month,
            "revision": bill.revision,
            "lines": len(rows),
            "refused": len(refused),
            "digest": digest,
        },
    )
    return Taken(bill, True, len(rows), refused)


def check(tx: Tx, bill_ids: Iterable[int]) -> Iterator[str]:
    """Recompute the seal of each of these bills; yield a sentence for each whose lines are not those that were taken."""
    columns = [getattr(BillLine, name) for name in SEALED]
    said: list[str] = []
    for bill_id in bill_ids:
        with going_on(said, "bills", bill_id):
            one = tx.get_one(Bill, bill_id)
            lines = tx.execute(select(*columns).where(BillLine.bill_id == one.id).order_by(BillLine.id))
            rows = [
                {
                    name: _cost(value) if name == "cost" else value
                    for name, value in zip(SEALED, line, strict=True)
                    if name not in UNSAID or value != UNSAID[name]
                }
                for line in lines
            ]
            if fingerprint({"pool": one.pool_id, "month": one.month, "lines": rows}) != one.digest:
                yield f"bills: row {one.id} ({one.month}) does not match its seal: a line was changed, added or removed"
    yield from said


UNSAID: Mapping[str, str | None] = {"cost": None, "currency": base.CNY, "payer": ""}
"""What a line says where it says nothing of it: no seal knows it, so that bills of before stay what they are."""

SEALED = ("external_id", "service", "kind", "arch", "quantity", "since", "until", "cost", "currency", "payer")
"""The columns of a line that its bill's seal covers."""


def _cost(figure: Decimal) -> Decimal:
    """Yuan as a seal spells them: to the fen, and to COST_STEP where a bill says more."""
    kept = figure.quantize(COST_STEP, ROUND_HALF_UP)
    return kept.quantize(CENT) if kept == kept.quantize(CENT) else kept


def collect(book: Book, pool_id: int, provider: Provider, month: str) -> Taken | None:
    """Ask a pool's cloud for its bill, outside any transaction, and enter it; None where this cloud hands none over."""
    company = accountable(provider)
    if company is None:
        return None
    lines = company.bills(month)
    if not lines:
        return None
    with book.transaction(steward("bills")) as tx:
        return take(tx, tx.get_one(Pool, pool_id), month, lines, source=provider.name)


def fault(line: base.BillFact, month: str, bounds: Interval) -> str:
    """Why ``line`` cannot be taken into the bill of ``month`` (a key of LINE_FAULTS), or nothing."""
    if not line.external_id.strip() or len(line.external_id) > 128:
        return "bill.id"
    if line.month != month:
        return "bill.month"
    if not line.quantity.is_finite() or not 0 <= line.quantity < MOST:
        return "bill.quantity"
    if line.cost is not None and not (line.cost.is_finite() and abs(line.cost) < MOST_COST):
        return "bill.cost"
    if not (len(line.currency) == 3 and line.currency.isascii() and line.currency.isupper()) or len(line.payer) > 128:
        return "bill.payer"
    if not bounds[0] <= line.since < line.until <= bounds[1]:
        return "bill.span"
    return ""


# ------------------------------------------------------------------------------------------------------------- reading


def visible(actor: Actor) -> ColumnElement[bool]:
    """Bills that ``actor`` may see: a company its own, the steward, the authority and the auditor all."""
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        return Bill.provider_id == actor.provider_id
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def current(tx: Tx, pool_id: int, month: str) -> Bill | None:
    """The latest revision of a pool's bill for a month."""
    return tx.scalar(
        select(Bill).where(Bill.pool_id == pool_id, Bill.month == month).order_by(Bill.revision.desc()).limit(1)
    )


class BilledLine(NamedTuple):
    """Of a line of a bill what it is compared by: read for tens of thousands at once."""

    id: int
    external_id: str
    kind: str
    quantity: Decimal
    since: datetime
    until: datetime
    cost: Decimal | None
    currency: str = base.CNY
    payer: str = ""


def lines_of(tx: Tx, bill: Bill) -> list[BilledLine]:
    """The lines of a bill, by resource."""
    line = BillLine
    query = select(
        line.id, line.external_id, line.kind, line.quantity, line.since, line.until, line.cost, line.currency, line.payer
    )  # fmt: skip
    ordered = query.where(line.bill_id == bill.id).order_by(line.external_id, line.kind, line.id)
    return [BilledLine(*one) for one in tx.execute(ordered)]


def claims(lines: Iterable[BilledLine]) -> list[Claim]:
    """Bill lines as ``providers.billing.claims`` compares them."""
    return [Claim(one.id, one.external_id, ClassCode(one.kind), one.quantity, one.since, one.until) for one in lines]
