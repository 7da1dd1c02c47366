"""The four-way line (四方对账): approved = enacted = metered = billed?

For every kind of every resource in a pool's month, in base units × hours: what was approved (orders, adoption), what the cloud
ran (the inventory's history), what is proven of it (presence), and what the bill says. Each difference has a cause, an amount
by the tariff in force at the month's end (a bill's own price is held against the tariffs of the days that it is for), and the rows that it rests on. Differences of a bill become disputes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, insert, or_, select

from metering.lake import Lake
from metering.memory import uncollected
from metering.statements import disputes, performance, presence, tariffs
from metering.statements.charges import PRICE_SCALE, Price, half_up
from metering.statements.disputes import Dispute, DisputeState
from metering.statements.reckoning import HELD
from metering.statements.reconciliation_tables import FourWayLine, ReconciliationRun
from metering.statements.tariffs import Per, Subject, Tariff
from metering.workbench import Workbench
from providers.assessment import EvidenceRow
from providers.base import CNY, Verb
from providers.billing import (
    CAUSE_LABELS,
    ROUNDING,
    ZERO,
    BilledLine,
    Cause,
    Comparison,
    ResourceMonth,
    Span,
    bills,
    compare,
    month_bounds,
)
from providers.contracts import Contract, Held, Lots
from providers.orders import OPEN, OrderState, WorkOrder
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Department, Pool
from quota.errors import N_
from quota.inventory import Change, Resource, ResourceChange, as_it_ran, seen_by
from quota.seals import fingerprint
from quota.units import CLASSES, NOTHING, Amount, Arch, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

HOUR = Decimal(3600)
PLACES = Decimal("0.0001")


class Gap(StrEnum):
    """Why the other three differ, beside providers.billing.claims.Cause."""

    NOT_DELIVERED = "not_delivered"
    OTHER_SIZE = "other_size"
    UNAPPROVED = "unapproved"
    UNMEASURABLE = "unmeasurable"
    PRICE = "price"
    ROUNDED = "rounded"
    CURRENCY = "currency"
    WRONG_PAYER = "wrong_payer"
    OTHER_POOL = "other_pool"


LABELS: Mapping[str, str] = {
    **{cause.value: label for cause, label in CAUSE_LABELS.items()},
    Gap.NOT_DELIVERED: N_("已批准未提供"),
    Gap.OTHER_SIZE: N_("实际与批准规格不符"),
    Gap.UNAPPROVED: N_("未经批准"),
    Gap.UNMEASURABLE: N_("不可计量"),
    Gap.PRICE: N_("单价不符"),
    Gap.ROUNDED: N_("金额舍入不符"),
    Gap.CURRENCY: N_("币种不符"),
    Gap.WRONG_PAYER: N_("付款单位不符"),
    Gap.OTHER_POOL: N_("属于其他资源池"),
}
BY_QUANTITY = frozenset({*(cause.value for cause in CAUSE_LABELS), Gap.OTHER_POOL.value})
"""Differences of a bill that are counted in unit-hours."""

OF_THE_REST = (Gap.CURRENCY.value, Gap.WRONG_PAYER.value, Gap.UNAPPROVED.value)
"""Those that put the whole of a line in question: their amount is what of it no other cause has, in this order."""

DISPUTED = BY_QUANTITY | {Gap.PRICE.value, Gap.ROUNDED.value, *OF_THE_REST}
"""Causes that are differences of a bill; the others are between the book and the cloud."""

_ALIKE: Sequence[tuple[str, str]] = (
    (Cause.LARGER_SHAPE, Cause.WRONG_UNIT),
    (Cause.SMALLER_SHAPE, Cause.WRONG_UNIT),
    (Cause.NOT_IN_INVENTORY, Gap.OTHER_POOL),
)
"""Causes that the same money may go by in one comparison and in the next: more is known by then, or told more closely."""


@dataclass(frozen=True, slots=True)
class BilledMachine:
    """Of a resource what its lines are made of: read for tens of thousands at once. ``begun``: since when it is known; ``had``: what
    it was then, where it ran before anybody was asked."""

    id: int
    external_id: str
    department_id: int | None
    system_id: int | None
    catalog_item_id: int | None
    basis: str
    begun: datetime
    had: Mapping[str, int]


@dataclass(slots=True)
class Four:
    """One line while it is made. ``approved`` and ``enacted`` in base units × hours."""

    external_id: str
    kind: ClassCode
    approved: Decimal = ZERO
    enacted: Decimal = ZERO
    compared: Comparison | None = None
    resource: BilledMachine | None = None
    elsewhere: bool = False  # no machine of this pool, but of another one
    refs: list[str] = field(default_factory=list)


@uncollected()
def reconcile(workbench: Workbench, pool_id: int, month: str, *, actor: Actor | None = None) -> ReconciliationRun:
    """Compare a pool's month and keep it; the run that stands where nothing changed. Differences of the bill open disputes,
    those no longer found lapse. Raises NotAllowed, Invalid for no month."""
    who = actor or steward("job:reconcile")
    who.must_be(Role.SYSTEM, Role.SUPERVISOR)
    with workbench.book.reading(who) as tx:
        bill = bills.current(tx, pool_id, month)
        lines = bills.lines_of(tx, bill) if bill is not None else []
        found = _fours(tx, workbench.lake, pool_id, month, lines)
        pool = tx.get_one(Pool, pool_id)
        prices = _prices(tx, pool, month)
        by_id = {line.id: line for line in lines}
        payers = _Payers(tx, pool, month, lines)
        rows = [_row(one, prices, by_id, pool_id, payers) for one in found]
    digest = fingerprint({"bill": bill.id if bill is not None else None, "rows": rows})
    with workbench.book.transaction(who) as tx:
        tx.execute(select(Pool.id).where(Pool.id == pool_id).with_for_update())  # one comparison of a pool at a time
        standing = latest(tx, pool_id, month)
        if standing is not None and standing.digest == digest:
            return standing
        sums = _sums(rows)
        run = ReconciliationRun(
            month=month,
            pool_id=pool_id,
            provider_id=pool.provider_id,
            revision=standing.revision + 1 if standing is not None else 1,
            bill_id=bill.id if bill is not None else None,
            digest=digest,
            lines=len(rows),
            differing=sum(bool(row["cause"]) for row in rows),
            made_at=tx.now,
            made_by=tx.actor.login,
            **sums,
        )
        tx.add(run)
        tx.flush()
        if rows:
            kept = [{name: value for name, value in row.items() if name != "_split"} for row in rows]
            tx.execute(insert(FourWayLine), [{**row, "run_id": run.id} for row in kept])
        if bill is not None:
            _dispute(tx, pool, month, bill.id, rows)
        tx.audit("reconciliation.make", f"reconciliation:{run.id}", after={"month": month, "pool": pool.code, **sums})
        return run


def all_pools(workbench: Workbench, month: str, *, actor: Actor | None = None) -> list[ReconciliationRun]:
    """Every active pool's month."""
    return [reconcile(workbench, pool.id, month, actor=actor) for pool in workbench.pools()]


def bring_up_to_date(workbench: Workbench, provider_id: int, month: str, *, actor: Actor | None = None) -> None:
    """Compare those pools of a company whose standing bill of ``month`` has not been compared yet."""
    with workbench.book.reading() as tx:
        owing = []
        for pool_id in tx.scalars(select(Pool.id).where(Pool.provider_id == provider_id).order_by(Pool.id)):
            bill, run = bills.current(tx, pool_id, month), latest(tx, pool_id, month)
            if bill is not None and (run is None or run.bill_id != bill.id):
                owing.append(pool_id)
    for pool_id in owing:
        reconcile(workbench, pool_id, month, actor=actor)


# -------------------------------------------------------------------------------------------------- the four sides


def _fours(tx: Tx, lake: Lake, pool_id: int, month: str, lines: Sequence[BilledLine]) -> list[Four]:
    start, end = month_bounds(month)
    until = min(end, max(tx.now, start))
    told = inventory.state_periods(tx, start, end, pool_ids=[pool_id])
    rows = _machines(tx, pool_id)
    seen = presence.observed(tx, lake, start, end, rows).stretches()
    there = {
        one: [Span(spell.start, spell.end, spell.amounts) for spell in told.get(one, ()) if spell.state in HELD]
        for one in rows
    }
    # What the bill is compared with reaches to the month's end: what is there now is not gone tomorrow, only unproven.
    held = {rows[one].external_id: ResourceMonth(rows[one].begun, parts, seen[one]) for one, parts in there.items()}
    spans = {
        one: [Span(part.start, min(part.end, until), part.amounts) for part in parts if part.start < until]
        for one, parts in there.items()
    }
    orders = _orders(tx, pool_id)
    found: dict[tuple[str, ClassCode], Four] = {}

    def at(external_id: str, kind: ClassCode, resource: BilledMachine | None) -> Four:
        return found.setdefault((external_id, kind), Four(external_id, kind, resource=resource))

    for one, parts in spans.items():
        for kind, hours in _hours(parts).items():
            at(rows[one].external_id, kind, rows[one]).enacted = hours
        mine = orders.get(one, [])
        for kind, hours in _hours(_approved(rows[one], mine, start, until)).items():
            four = at(rows[one].external_id, kind, rows[one])
            four.approved = hours
            four.refs += [f"order:{order.id}" for order in mine]
    for order in orders.get(None, []):  # approved, and not there yet
        for kind, hours in _hours([Span(max(order.due_at, start), until, order.approved())]).items():
            four = at(order.number or f"order:{order.id}", kind, None)
            four.approved, four.refs = hours, [f"order:{order.id}"]
    known = {rows[one].external_id: rows[one] for one in rows}
    for compared in compare(bills.claims(lines), held, start, end):
        four = at(compared.external_id, compared.kind, known.get(compared.external_id))
        four.compared = compared
        four.refs += [f"bill_line:{line}" for line in compared.lines]
    strangers = [four for four in found.values() if four.compared and Cause.NOT_IN_INVENTORY in four.compared.causes]
    others = _of_other_pools(tx, pool_id, {four.external_id for four in strangers}, start, end)
    for four in strangers:
        four.elsewhere = four.external_id in others
    return [found[key] for key in sorted(found)]


def _machines(tx: Tx, pool_id: int) -> dict[int, BilledMachine]:
    """All that ever was in a pool, by its number."""
    appeared = ResourceChange.what == Change.APPEARED.value
    query = (
        select(
            Resource.id, Resource.external_id, Resource.department_id, Resource.system_id, Resource.catalog_item_id,
            Resource.basis, Resource.first_seen_at, ResourceChange.at,
            case((Resource.basis != "", ResourceChange.after), else_=None),
        )
        .outerjoin(ResourceChange, and_(ResourceChange.resource_id == Resource.id, appeared))
        .where(Resource.pool_id == pool_id)
        .order_by(ResourceChange.id)
    )  # fmt: skip
    found: dict[int, BilledMachine] = {}
    for one, name, department, system, item, basis, seen, at, after in tx.execute(query):
        if one not in found:
            had = after.get("amounts", {}) if after and as_it_ran(basis) else {}
            found[one] = BilledMachine(one, name, department, system, item, basis, at or seen, had)
    return found


def _of_other_pools(tx: Tx, pool_id: int, external_ids: Iterable[str], start: datetime, end: datetime) -> set[str]:
    """Which of these name machines that other pools of the same company had within [start, end)."""
    asked = sorted(external_ids)
    company = select(Pool.provider_id).where(Pool.id == pool_id).scalar_subquery()
    known: dict[int, str] = {}
    where: set[int] = set()
    for at in range(0, len(asked), 500):
        query = (
            select(Resource.id, Resource.external_id, Resource.pool_id)
            .join(Pool, Pool.id == Resource.pool_id)
            .where(Resource.external_id.in_(asked[at : at + 500]), Pool.id != pool_id, Pool.provider_id == company)
        )
        for one, external_id, other in tx.execute(query):
            known[one] = external_id
            where.add(other)
    told = inventory.state_periods(tx, start, end, pool_ids=where) if where else {}
    return {name for one, name in known.items() if any(spell.state in HELD for spell in told.get(one, ()))}


def _orders(tx: Tx, pool_id: int) -> dict[int | None, list[WorkOrder]]:
    """Resource id → its orders that say what is approved; None: creations that brought nothing yet."""
    found: dict[int | None, list[WorkOrder]] = {}
    for order in tx.scalars(
        select(WorkOrder)
        .where(
            WorkOrder.pool_id == pool_id,
            WorkOrder.verb.in_([Verb.CREATE.value, Verb.RESIZE.value, Verb.DELETE.value]),
            WorkOrder.state != OrderState.CANCELLED.value,
        )
        .order_by(WorkOrder.id)
    ):
        if order.resource_id is not None:
            found.setdefault(order.resource_id, []).append(order)
        elif order.verb == Verb.CREATE and order.state in {one.value for one in OPEN}:
            found.setdefault(None, []).append(order)
    return found


def _approved(resource: BilledMachine, orders: Sequence[WorkOrder], start: datetime, end: datetime) -> list[Span]:
    """What was approved of a resource over time: as adopted or created, changed by orders when they were delivered, until one
    deleted it. Nothing for what nobody approved."""
    if not resource.basis:
        return []
    begin = resource.begun
    steps: list[tuple[datetime, Amount]] = [(begin, Amount.from_json(resource.had))]
    for order in orders:
        if order.delivered_at is None:
            continue
        now = NOTHING if order.verb == Verb.DELETE else steps[-1][1] | order.approved()
        moment = begin if order.verb == Verb.CREATE else max(order.delivered_at, steps[-1][0])
        steps.append((moment, now))
    spans = []
    for number, (since, what) in enumerate(steps):
        until = steps[number + 1][0] if number + 1 < len(steps) else end
        low, high = max(since, start), min(until, end)
        if low < high:
            spans.append(Span(low, high, what))
    return spans


def _hours(spans: Iterable[Span]) -> dict[ClassCode, Decimal]:
    found: dict[ClassCode, Decimal] = {}
    for span in spans:
        lasted = max(span.end - span.start, timedelta(0))
        seconds = Decimal(lasted.days * 86_400 + lasted.seconds)
        for kind, figure in span.amounts.items():
            if figure and seconds:
                found[kind] = found.get(kind, ZERO) + figure * seconds / HOUR
    return {kind: hours.quantize(PLACES) for kind, hours in found.items()}


# ------------------------------------------------------------------------------------------------------ money and causes


class _Prices:
    """The prices of a pool's month: of differences at its end, of what is billed on the days that it is billed for."""

    def __init__(
        self, entered: Sequence[Tariff], pool: Pool, month: str, gradings: performance.Gradings, lots: Lots
    ) -> None:
        start, end = month_bounds(month)
        self.entered, self.pool, self.gradings, self.lots = entered, pool, gradings, lots
        self.start, self.end = start, end
        self.month_s = int((end - start).total_seconds())
        self._known: dict[Held, list[tuple[datetime, Tariff | None]]] = {}
        self._per: dict[tuple[int, ClassCode], tuple[int, int]] = {}

    def held(self, kind: ClassCode, resource: BilledMachine | None) -> Held:
        """Something of this pool as prices are asked for it; by its department only where contracts have prices of their own."""
        item = resource.catalog_item_id if resource is not None else None
        whose = resource.department_id if resource is not None and self.lots.by_company else None
        return Held(self.pool.provider_id, self.pool.id, kind, item, whose)

    def fen(self, what: Held, quantity: Decimal) -> int | None:
        """Fen for base units × hours at the month's end; None without a price."""
        return self._at(self._prices(what)[-1][1], ClassCode(what.kind), quantity)

    def billed(self, what: Held, lines: Sequence[BilledLine]) -> int | None:
        """Fen for what ``lines`` say, by the prices of their own days; a price that changes within a line's time holds for
        its share of it. None where a day has no price."""
        costs = [self._at(tariff, ClassCode(what.kind), quantity) for tariff, quantity in self._parts(what, lines)]
        return None if None in costs or not costs else sum(one for one in costs if one is not None)

    def at_once(self, what: Held, lines: Sequence[BilledLine]) -> int | None:
        """As ``billed``, rounded once: of two prices in a month each is rounded by itself there."""
        whole = Fraction(0)
        for tariff, quantity in self._parts(what, lines):
            if tariff is None:
                return None
            whole += Fraction(*self._ratio(tariff, ClassCode(what.kind), quantity))
        return half_up(whole.numerator, whole.denominator)

    def _parts(self, what: Held, lines: Sequence[BilledLine]) -> list[tuple[Tariff | None, Decimal]]:
        """How much of ``lines`` goes by which price."""
        held = self._prices(what)
        parts: dict[int, Decimal] = {}
        for line in lines:
            whole = Decimal((line.until - line.since).total_seconds())
            for n, (since, _tariff) in enumerate(held):
                until = held[n + 1][0] if n + 1 < len(held) else self.end
                inside = (min(until, line.until) - max(since, line.since)).total_seconds()
                if inside > 0:
                    parts[n] = parts.get(n, ZERO) + line.quantity * Decimal(inside) / whole
        return [(held[n][1], quantity) for n, quantity in parts.items()]

    def _prices(self, what: Held) -> list[tuple[datetime, Tariff | None]]:
        """From when in the month which price holds, in order."""
        if what not in self._known:
            subject = Subject(ClassCode(what.kind), Arch(self.pool.arch), self.pool.provider_id, what.item_id)
            found: list[tuple[datetime, Tariff | None]] = []
            moment = self.start
            while moment < self.end:
                day = moment.astimezone(ZONE).date()
                agreed = replace(subject, contract_id=self.lots.on(what, day))
                tariff = tariffs.held(self.entered, agreed, day, self.gradings)
                if not found or found[-1][1] is not tariff:
                    found.append((moment, tariff))
                moment += timedelta(days=1)
            self._known[what] = found
        return self._known[what]

    def _at(self, found: Tariff | None, kind: ClassCode, quantity: Decimal) -> int | None:
        return None if found is None else half_up(*self._ratio(found, kind, quantity))

    def _ratio(self, found: Tariff, kind: ClassCode, quantity: Decimal) -> tuple[int, int]:
        """Fen as a fraction, not rounded yet."""
        if (found.id, kind) not in self._per:
            seconds = 3600 if found.per == Per.HOUR else self.month_s
            price = Price.of(found.id, found.unit_price(False), found.unit_price(True), seconds)
            by = CLASSES[kind].factor * seconds * 10_000 * (PRICE_SCALE // 100)
            self._per[found.id, kind] = price.unit * 3600, by
        unit, by = self._per[found.id, kind]
        return unit * int((quantity * 10_000).to_integral_value()), by


def _prices(tx: Tx, pool: Pool, month: str) -> _Prices:
    entered = tariffs.entered(tx)
    return _Prices(entered, pool, month, performance.graded(tx), tariffs.lots(tx, entered))


def _row(four: Four, prices: _Prices, lines: Mapping[int, BilledLine], pool_id: int, payers: _Payers) -> dict[str, Any]:
    resource = four.resource
    what = prices.held(four.kind, resource)
    compared = four.compared
    metered = compared.metered if compared is not None else ZERO
    unmeasured = four.enacted - metered if four.enacted > metered else ZERO
    billed = compared.billed if compared is not None and compared.lines else None
    causes = [*_approval(four), *(_of_bill(four) if lines else ())]
    if unmeasured > ROUNDING:
        causes.append((Gap.UNMEASURABLE, unmeasured))
    told: list[dict[str, Any]] = [
        {"cause": str(cause), "quantity": str(quantity), "fen": prices.fen(what, quantity)}
        for cause, quantity in causes
    ]
    billed_fen, split = None, None
    if billed is not None and compared is not None:
        mine = [lines[number] for number in compared.lines]
        unmeasured_fen = prices.fen(what, compared.unmeasured)
        billed_fen, split = _of_money(told, prices, what, mine, unmeasured_fen, payers.wrong(resource, mine))
    weights = [(abs(row["fen"] or 0), abs(Decimal(row["quantity"])), row["cause"]) for row in told]
    named = [weight for weight in weights if weight[2] in DISPUTED] or weights
    return {
        "pool_id": pool_id,
        "department_id": resource.department_id if resource is not None else None,
        "system_id": resource.system_id if resource is not None else None,
        "resource_id": resource.id if resource is not None else None,
        "external_id": four.external_id,
        "kind": four.kind,
        "approved": four.approved,
        "enacted": four.enacted,
        "metered": metered,
        "unmeasured": unmeasured,
        "billed": billed,
        "billed_fen": billed_fen,
        "disputed_fen": None if split is None else split[1],
        "cause": max(named)[2] if named else "",
        "causes": told,
        "refs": list(dict.fromkeys([*([f"resource:{resource.id}"] if resource is not None else []), *four.refs])),
        "_split": split,
    }


def _of_money(
    told: list[dict[str, Any]],
    prices: _Prices,
    what: Held,
    lines: Sequence[BilledLine],
    unmeasured: int | None,
    astray: Sequence[BilledLine],
) -> tuple[int | None, tuple[int, int, int, int] | None]:
    """What ``lines`` want in fen, and how that splits; ``told`` is told how their money differs. What is billed in another currency
    comes to what the tariff says of it; ``astray``: those of them that bill another department."""
    foreign = [line for line in lines if line.currency != CNY]
    own = [line for line in lines if line.currency == CNY]
    by_tariff = prices.billed(what, lines)
    if own and all(line.cost is not None for line in own):
        claimed = _cents(own)
        fair = prices.billed(what, own)
        if fair is not None and abs(claimed - fair) > len(own):
            told.append({"cause": Gap.PRICE.value, "quantity": "0", "fen": claimed - fair})
        elif fair is not None and claimed not in _rounded(prices, what, own):
            fen = _each(prices.billed, what, own)
            told.append({"cause": Gap.ROUNDED.value, "quantity": "0", "fen": claimed - (fair if fen is None else fen)})
        abroad = prices.billed(what, foreign) if foreign else 0
        billed = None if abroad is None else claimed + abroad
    else:
        billed = by_tariff
    rest = max(billed or 0, 0) - sum(
        one["fen"] or 0 for one in told if one["cause"] in DISPUTED - {*OF_THE_REST} and (one["fen"] or 0) > 0
    )
    rest = max(rest - (unmeasured or 0), 0)
    for cause, those in ((Gap.CURRENCY, foreign), (Gap.WRONG_PAYER, astray)):
        if those:
            fen = None if billed is None else min(rest, max(0, _worth(prices, what, those) or 0))
            told.append({"cause": cause.value, "quantity": "0", "fen": fen})
            rest -= fen or 0
    for one in told:
        if one["cause"] == Gap.UNAPPROVED and billed is not None:
            one["fen"] = rest
    if billed is None:
        return None, None
    # Where no tariff speaks of it nothing of its price can be proven, nor may it vanish.
    return billed, _split(told, billed, billed if by_tariff is None else unmeasured or 0)


def _cents(lines: Sequence[BilledLine]) -> int:
    whole = sum((line.cost for line in lines if line.cost is not None), ZERO) * 100
    return int(whole.to_integral_value(ROUND_HALF_UP))


def _each(
    cost: Callable[[Held, Sequence[BilledLine]], int | None], what: Held, lines: Sequence[BilledLine]
) -> int | None:
    """What lines cost that are rounded one by one."""
    found = [cost(what, [line]) for line in lines]
    return None if None in found else sum(one for one in found if one is not None)


def _rounded(prices: _Prices, what: Held, lines: Sequence[BilledLine]) -> Iterator[int | None]:
    """What lines may cost as one rounds: their sum or each, by each price or over the prices of a month."""
    for cost in (prices.billed, prices.at_once):
        yield cost(what, lines)
        yield _each(cost, what, lines)


def _worth(prices: _Prices, what: Held, lines: Sequence[BilledLine]) -> int | None:
    """What lines want; by the tariff where they don't tell it in yuan."""
    plain = all(line.currency == CNY and line.cost is not None for line in lines)
    return _cents(lines) if plain else prices.billed(what, lines)


class _Payers:
    """Whom lines bill, as far as they say it. A name that no department has, or several, is held against nobody, nor is who pays by a
    contract of the month."""

    def __init__(self, tx: Tx, pool: Pool, month: str, lines: Sequence[BilledLine]) -> None:
        self.known: dict[str, int] = {}
        self.above: dict[int, int | None] = {}
        self.had: dict[int, set[str]] = {}
        self.paying: set[int] = set()
        if not any(line.payer for line in lines):
            return
        names: dict[str, list[int]] = {}
        for one, code, name, parent in tx.execute(
            select(Department.id, Department.code, Department.name, Department.parent_id)
        ):
            self.above[one] = parent
            self.known[code] = one
            names.setdefault(name, []).append(one)
        self.known = {name: ids[0] for name, ids in names.items() if len(ids) == 1} | self.known
        start, end = month_bounds(month)
        paying = select(Contract.payer).where(
            Contract.provider_id == pool.provider_id,
            Contract.first_day < end.astimezone(ZONE).date(),
            Contract.last_day >= start.astimezone(ZONE).date(),
        )
        self.paying = {self.known[payer] for payer in tx.scalars(paying) if payer in self.known}
        changed = (
            select(ResourceChange.resource_id, ResourceChange.before)
            .join(Resource, Resource.id == ResourceChange.resource_id)
            .where(Resource.pool_id == pool.id, ResourceChange.what == Change.OWNER.value, ResourceChange.at >= start)
        )
        for one, before in tx.execute(changed):
            told = (before or {}).get("owner"), (before or {}).get("department_code")
            self.had.setdefault(one, set()).update(name for name in told if name)

    def wrong(self, resource: BilledMachine | None, lines: Sequence[BilledLine]) -> list[BilledLine]:
        """Those that bill a department which neither holds the resource, nor held it since the month began, nor lies above one that
        does."""
        if not self.above or resource is None or resource.department_id is None:
            return []
        before = [self.known[name] for name in self.had.get(resource.id, ()) if name in self.known]
        may = set(self.paying)
        for whose in (resource.department_id, *before):
            one: int | None = whose
            while one is not None and one not in may:
                may.add(one)
                one = self.above.get(one)
        return [line for line in lines if line.payer in self.known and self.known[line.payer] not in may]


def _of_bill(four: Four) -> Iterable[tuple[str, Decimal]]:
    """How what is billed differs from what was metered."""
    if four.compared is None:
        return []
    told = {Cause.NOT_IN_INVENTORY: Gap.OTHER_POOL} if four.elsewhere else {}
    wild = bool(four.enacted) and not four.approved  # what nobody approved need not be billed
    return [
        (told.get(cause, cause), quantity)
        for cause, quantity in four.compared.causes.items()
        if not (wild and cause is Cause.NOT_BILLED)
    ]


def _approval(four: Four) -> list[tuple[str, Decimal]]:
    """How what the cloud ran differs from what was approved."""
    apart = four.enacted - four.approved
    if abs(apart) <= ROUNDING:
        return []
    if not four.approved:
        return [(Gap.UNAPPROVED, apart)]
    return [(Gap.NOT_DELIVERED if not four.enacted else Gap.OTHER_SIZE, apart)]


def _split(told: Sequence[Mapping[str, Any]], billed: int, unmeasured: int) -> tuple[int, int, int, int]:
    """A line of a bill in fen: proven, disputed, unmeasurable, and beside it what is proven and not billed. The first three
    add up to what is billed: rounding falls to the proven part."""
    figures = [row["fen"] or 0 for row in told if row["cause"] in DISPUTED]
    most = max(billed, 0)  # a credit is neither disputed nor unmeasurable
    disputed = min(sum(fen for fen in figures if fen > 0), most)
    unmeasured = min(unmeasured, most - disputed)
    return billed - disputed - unmeasured, disputed, unmeasured, -sum(fen for fen in figures if fen < 0)


def _sums(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    splits = [row["_split"] for row in rows if row["_split"] is not None]
    names = ("proven_fen", "disputed_fen", "unmeasured_fen", "unbilled_fen")
    sums = {name: sum(split[number] for split in splits) for number, name in enumerate(names)}
    return {"billed_fen": sums["proven_fen"] + sums["disputed_fen"] + sums["unmeasured_fen"], **sums}


def _dispute(tx: Tx, pool: Pool, month: str, bill_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Open what is new, bring up to date what nobody claimed yet, let lapse what is gone. What was claimed or settled stands
    as it was laid, and its money is not disputed again under the name that a later comparison has for it."""
    standing = {
        (one.external_id, one.kind, one.cause): one
        for one in tx.scalars(
            select(Dispute).where(Dispute.month == month, Dispute.pool_id == pool.id).with_for_update()
        )
    }
    told: set[tuple[str, str, str]] = set()
    for row in rows:
        for cause in row["causes"]:
            key = (row["external_id"], row["kind"], cause["cause"])
            if cause["cause"] not in DISPUTED or _laid_otherwise(standing, key, Decimal(cause["quantity"])):
                continue
            if cause["cause"] in OF_THE_REST and (row["billed"] is None or cause["fen"] == 0):
                continue  # nothing is billed for it, or all that is, is disputed otherwise
            told.add(key)
            one = standing.get(key)
            if one is None:
                one = Dispute(
                    month=month, pool_id=pool.id, provider_id=pool.provider_id, external_id=row["external_id"],
                    kind=row["kind"], cause=cause["cause"], opened_at=tx.now, state=DisputeState.OPEN.value,
                )  # fmt: skip
                tx.add(one)
            elif one.state not in (DisputeState.OPEN, DisputeState.LAPSED):
                continue  # claimed: its numbers are those that were laid before the company
            one.state, one.bill_id, one.resource_id = DisputeState.OPEN.value, bill_id, row["resource_id"]
            one.quantity, one.fen, one.refs = Decimal(cause["quantity"]), cause["fen"], list(row["refs"])
    tx.flush()
    disputes.lapse(tx, [one for key, one in standing.items() if key not in told and one.state == DisputeState.OPEN])


def _laid_otherwise(
    standing: Mapping[tuple[str, str, str], Dispute], key: tuple[str, str, str], quantity: Decimal
) -> bool:
    """Whether what differs by ``quantity`` was laid before the company already, under another cause that it may go by."""
    external_id, kind, cause = key
    others = [names[1 - names.index(cause)] for names in _ALIKE if cause in names]
    laid = [one for other in others if (one := standing.get((external_id, kind, other))) is not None]
    return any(
        one.state not in (DisputeState.OPEN, DisputeState.LAPSED) and (one.quantity > 0) == (quantity > 0)
        for one in laid
    )


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A department its own lines, a company those of its pools."""
    return seen_by(tx, actor, FourWayLine.department_id, FourWayLine.pool_id)


def has(cause: str) -> ColumnElement[bool]:
    """Lines of which it is a cause, the weightiest or not."""
    return cast(FourWayLine.causes, Text).contains(f'"cause": "{cause}"', autoescape=True)


def differs() -> ColumnElement[bool]:
    """Lines with a cause other than that something could not be measured."""
    return and_(FourWayLine.cause != "", or_(*(has(cause) for cause in LABELS if cause != Gap.UNMEASURABLE)))


def latest(tx: Tx, pool_id: int, month: str) -> ReconciliationRun | None:
    """The newest comparison of a pool's month."""
    return tx.scalar(
        select(ReconciliationRun)
        .where(ReconciliationRun.pool_id == pool_id, ReconciliationRun.month == month)
        .order_by(ReconciliationRun.revision.desc())
        .limit(1)
    )


def standing(
    tx: Tx, month: str, provider_id: int | None = None, *, known_at: datetime | None = None
) -> list[ReconciliationRun]:
    """The newest comparison of each pool in ``month``; as of an instant, the newest that had been made by then."""
    query = select(ReconciliationRun).where(ReconciliationRun.month == month).order_by(ReconciliationRun.revision)
    if known_at is not None:
        query = query.where(ReconciliationRun.made_at <= known_at)
    if provider_id is not None:
        query = query.where(ReconciliationRun.provider_id == provider_id)
    newest = {one.pool_id: one for one in tx.scalars(query)}
    return [newest[pool_id] for pool_id in sorted(newest)]


@dataclass(frozen=True, slots=True)
class BilledMonth:
    """What companies want for a month, in fen: proven, in dispute and unmeasurable are all of it. What was taken back of settled
    disputes nobody wants any more; what was not is proven."""

    month: str
    proven: int
    disputed: int
    unmeasured: int

    @property
    def billed(self) -> int:
        return self.proven + self.disputed + self.unmeasured


def billed_month(tx: Tx) -> BilledMonth | None:
    """The newest month of which a bill was compared; None: none was."""
    newest = select(func.max(ReconciliationRun.month)).where(ReconciliationRun.bill_id.is_not(None))
    month = tx.scalar(newest)
    if month is None:
        return None
    runs = {one.bill_id: one for one in standing(tx, month) if one.bill_id is not None}
    query = select(Dispute.bill_id, func.sum(Dispute.fen), func.sum(Dispute.settled_fen)).where(
        Dispute.bill_id.in_(list(runs)), Dispute.state == DisputeState.SETTLED.value, Dispute.fen > 0
    )
    proven = sum(one.proven_fen for one in runs.values())
    disputed = sum(one.disputed_fen for one in runs.values())
    for bill_id, fen, back in tx.execute(query.group_by(Dispute.bill_id)):
        ended = min(int(fen or 0), runs[bill_id].disputed_fen)
        disputed -= ended
        proven += max(0, ended - int(back or 0))
    return BilledMonth(month, proven, disputed, sum(one.unmeasured_fen for one in runs.values()))


def months(tx: Tx) -> list[str]:
    """Months that were compared, newest first."""
    query = select(ReconciliationRun.month).distinct().order_by(ReconciliationRun.month.desc())
    return list(tx.scalars(query))


@dataclass(slots=True)
class BilledSums:
    """Base units × hours of one class in a comparison, of the lines that speak of its bill."""

    billed: Decimal = ZERO
    metered: Decimal = ZERO
    unmeasured: Decimal = ZERO
    disputed: Decimal = ZERO


def billed_sums(tx: Tx, run: ReconciliationRun) -> dict[ClassCode, BilledSums]:
    """What ``billed_rows`` come to, class by class: summed where they lie, but for lines that differ, which say why."""
    if run.bill_id is None:
        return {}
    line = FourWayLine
    speaks = line.run_id == run.id, or_(line.billed.is_not(None), line.metered != 0)
    sums = select(line.kind, func.sum(func.coalesce(line.billed, 0)), func.sum(line.metered), func.sum(line.unmeasured))
    found = {
        ClassCode(kind): BilledSums(*(Decimal(figure or 0) for figure in figures))
        for kind, *figures in sorted(tx.execute(sums.where(*speaks).group_by(line.kind)))
    }
    for kind, causes in tx.execute(select(line.kind, line.causes).where(*speaks, line.cause != "")):
        found[ClassCode(kind)].disputed += sum((abs(Decimal(one)) for one in _disputed(causes).values()), ZERO)
    return found


def _disputed(causes: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Of the causes of a line, those that are the bill's: how much of each."""
    return {row["cause"]: row["quantity"] for row in causes if row["cause"] in BY_QUANTITY}


def billed_rows(tx: Tx, run: ReconciliationRun) -> list[EvidenceRow]:
    """The lines of one comparison that speak of its bill, unit-hours as text: what was billed or proven, and the difference
    that is the bill's. Nothing where no bill was handed in."""
    if run.bill_id is None:
        return []
    rows, line, pool = [], FourWayLine, run.pool.code
    told = (line.external_id, line.kind, line.metered, line.unmeasured, line.billed, line.causes, line.refs)
    for one in tx.execute(select(*told).where(line.run_id == run.id).order_by(line.id)):
        if one.billed is None and one.metered == 0:
            continue
        causes = _disputed(one.causes)
        disputed = sum((abs(Decimal(figure)) for figure in causes.values()), ZERO)
        billed = one.billed if one.billed is not None else ZERO
        rows.append(
            EvidenceRow(
                f"bill:{run.bill_id}/{one.external_id}/{one.kind}",
                {
                    "pool": pool,
                    "lines": [int(ref.partition(":")[2]) for ref in one.refs if ref.startswith("bill_line:")],
                    "kind": one.kind,
                    "billed": str(billed),
                    "metered": str(one.metered),
                    "unmeasured": str(one.unmeasured),
                    "disputed": str(disputed),
                    "causes": causes,
                },
            )
        )
    return rows
