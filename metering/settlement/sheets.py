"""Settlement sheets (结算单): drafted for a contract and a period by the supervisor, confirmed by the authority. What was confirmed is
never changed; what is drafted again of the same is the same draft, of anything else the next revision."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Numeric, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from metering.settlement import shares
from metering.settlement.reckoning import HUNDRED, Reckoned, SettlementLine, Withholding, reckon, share
from metering.settlement.shares import MonthShares
from metering.statements import closings
from providers import labour
from providers.assessment import ScorecardRecord, cards, company, periods
from providers.base import Responsibility
from providers.billing import Incident
from providers.contracts import LABOUR, Contract, ContractBasis, Held, contracts
from quota import inspection
from quota.actors import Role
from quota.base import Base, Count
from quota.calendar import ZONE
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated
from quota.seals import fingerprint

if TYPE_CHECKING:
    from quota.db import Tx

FINAL = "final"
"""The period of the sheet by which what was retained is paid."""

MAJOR = 1
"""The level of incidents that keep what was retained back."""


class SettlementSheet(Base):
    """One sheet. ``period``: a month, a quarter, or FINAL; ``lines``: claimed and withheld, as ``SettlementLine.to_json``;
    ``acceptance`` and ``paid`` in per cent; ``gross_fen`` is ``payable_fen`` and ``withheld_fen`` together."""

    __tablename__ = "settlement_sheets"
    __table_args__ = (UniqueConstraint("contract_id", "period", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    contract_id: Mapped[int] = mapped_column(ForeignKey("contracts.id"))
    period: Mapped[str] = mapped_column(String(7))
    revision: Mapped[int]
    acceptance: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    card_id: Mapped[int | None] = mapped_column(ForeignKey("scorecards.id"))
    paid: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    claimed: Mapped[list[Any]]
    withheld: Mapped[list[Any]]
    gross_fen: Mapped[int] = mapped_column(Count)
    withheld_fen: Mapped[int] = mapped_column(Count)
    retained_fen: Mapped[int] = mapped_column(Count)
    payable_fen: Mapped[int] = mapped_column(Count)
    digest: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text, default="")
    drafted_at: Mapped[datetime]
    drafted_by: Mapped[str] = mapped_column(String(64))
    confirmed_at: Mapped[datetime | None]
    confirmed_by: Mapped[str | None] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(default=1)

    contract: Mapped[Contract] = relationship()
    card: Mapped[ScorecardRecord | None] = relationship()

    @property
    def number(self) -> str:
        return f"JS-{self.id:06d}"

    @property
    def subject(self) -> str:
        """As the audit trail names it."""
        return f"settlement:{self.id}"

    @property
    def confirmed(self) -> bool:
        return self.confirmed_at is not None

    def content(self) -> dict[str, Any]:
        """What its digest covers."""
        return {
            "contract": self.contract_id, "period": self.period, "acceptance": f"{self.acceptance:.2f}", "card": self.card_id,
            "paid": None if self.paid is None else f"{self.paid:.2f}", "claimed": self.claimed, "withheld": self.withheld,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContractMoney:
    """Fen under one contract: ``paid`` and ``retained`` by confirmed sheets, ``coming``: closed months that no confirmed sheet is of
    yet; what is ``left`` of the ceiling once these are settled."""

    ceiling: int
    paid: int
    retained: int
    coming: int
    warn_share: int

    @property
    def settled(self) -> int:
        return self.paid + self.retained

    @property
    def left(self) -> int:
        return self.ceiling - self.settled - self.coming

    @property
    def share(self) -> Decimal:
        """Per cent of the ceiling that is settled or coming."""
        return HUNDRED * (self.settled + self.coming) / self.ceiling

    @property
    def warned(self) -> bool:
        return self.share >= self.warn_share


def draft(tx: Tx, contract_id: int, period: str, *, acceptance: Decimal = HUNDRED, reason: str = "") -> SettlementSheet:
    """Draft the sheet of a contract for a month, a quarter or FINAL. By the supervisor. ``acceptance``: what acceptance leaves of the
    sum, in per cent; less than all is given a ``reason``.

    Raises WrongState for months that are not closed, a period that was settled or overlaps one that was, and for FINAL before it is
    due; Invalid for a period of which the contract says nothing.
    """
    tx.actor.must_be(Role.SUPERVISOR)
    if not 0 <= acceptance <= HUNDRED:
        raise Invalid("settlement.acceptance", N_("验收系数须在 0 与 100 之间"), field="acceptance")
    if acceptance != HUNDRED:
        stated(reason, code="settlement.reason", message=N_("验收系数低于 100 时请写明依据"))
    agreed = tx.lock(contracts.contract(tx, contract_id))
    card, found = _reckoned(tx, agreed, period, acceptance)
    before = newest(tx, agreed.id, period)
    if before is not None and before.confirmed:
        raise WrongState(
            "settlement.settled", N_("%(period)s 已结算，见 %(number)s"), period=period, number=before.number
        )
    row = SettlementSheet(
        contract_id=agreed.id, period=period, revision=before.revision + 1 if before is not None else 1,
        acceptance=acceptance, card_id=card.id if card is not None else None, paid=_paid(card), reason=reason.strip()[:2000],
        claimed=[line.to_json() for line in found.claimed], withheld=[line.to_json() for line in found.withheld],
        gross_fen=found.gross, withheld_fen=found.kept_back, retained_fen=found.retained, payable_fen=found.payable,
        digest="", drafted_at=tx.now, drafted_by=tx.actor.login, generation=1,
    )  # fmt: skip
    row.digest = fingerprint(row.content())
    if before is not None and before.digest == row.digest:
        return before
    tx.add(row)
    tx.flush()
    tx.audit("settlement.draft", row.subject, after=_figures(row), reason=row.reason)
    return row


def confirm(tx: Tx, sheet_id: int, generation: int) -> SettlementSheet:
    """The second signature: by somebody of the authority who did not draft it. Raises NotAllowed for one's own draft, WrongState for one
    that is confirmed, is not the newest or whose card is not published yet (all of it would be withheld for good), Conflict where what
    it rests on has changed since it was drafted."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    row = tx.lock_as_shown(
        sheet(tx, sheet_id), generation, Conflict("settlement.stale", N_("结算单已被更新,请刷新后再操作"))
    )
    agreed = tx.lock(row.contract)
    tx.alone(f"settlement:{agreed.provider_id}")  # two contracts' sheets of one invoice
    latest = newest(tx, row.contract_id, row.period)
    if row.confirmed or (latest is not None and latest.id != row.id):
        raise WrongState("settlement.not_newest", N_("只能确认最新且尚未确认的结算单"))
    if row.drafted_by == tx.actor.login:
        raise NotAllowed("settlement.own_draft", N_("本人起草的结算单须由另一人确认"))
    card, found = _reckoned(tx, agreed, row.period, row.acceptance)
    kept = ([line.to_json() for line in found.claimed], [line.to_json() for line in found.withheld], _paid(card))
    if kept != (row.claimed, row.withheld, row.paid):
        raise Conflict("settlement.changed", N_("结算单的依据已有变化，请重新起草"))
    if any(line.code == Withholding.UNRATED for line in found.withheld):
        raise WrongState("settlement.unrated", N_("该期考核评分尚未公示，暂不能确认结算单"))
    row.confirmed_at, row.confirmed_by = tx.now, tx.actor.login
    row.generation += 1
    tx.flush()
    tx.audit("settlement.confirm", row.subject, after=_figures(row))
    return row


def _figures(row: SettlementSheet) -> dict[str, Any]:
    return {
        "contract": row.contract_id, "period": row.period, "revision": row.revision, "gross": row.gross_fen,
        "payable": row.payable_fen, "withheld": row.withheld_fen, "digest": row.digest,
    }  # fmt: skip


def _paid(card: ScorecardRecord | None) -> Decimal | None:
    return cards.formula_of(card).paid(card.grade) if card is not None else None


def _reckoned(tx: Tx, agreed: Contract, period: str, acceptance: Decimal) -> tuple[ScorecardRecord | None, Reckoned]:
    if period == FINAL:
        return None, _final(tx, agreed)
    _apart(tx, agreed, period)
    card = cards.of(tx, company(agreed.provider_id), period)
    card = card if card is not None and card.published else None
    money = standing(tx, agreed)
    return card, reckon(
        _claimed(tx, agreed, period),
        acceptance=acceptance,
        paid=_paid(card),
        retention=agreed.retention_share,
        room=agreed.ceiling_fen - money.settled,
        card=f"scorecard:{card.id}" if card is not None else "",
    )


def _apart(tx: Tx, agreed: Contract, period: str) -> None:
    """Raises WrongState where a month of the period is of another confirmed sheet of this contract, or, where closed months are settled,
    another contract of the company has claimed something else of the month's invoice than is its part: the two parts would not
    be parts of one whole."""
    mine = set(periods.months(period))
    if agreed.basis == ContractBasis.USAGE:
        query = (
            select(SettlementSheet)
            .join(Contract)
            .where(
                Contract.provider_id == agreed.provider_id, Contract.id != agreed.id,
                Contract.basis == ContractBasis.USAGE.value, SettlementSheet.confirmed_at.is_not(None),
                SettlementSheet.period != FINAL,
            )
        )  # fmt: skip
        others = [
            one for one in tx.scalars(query.order_by(SettlementSheet.id)) if mine & set(periods.months(one.period))
        ]
        told = _shares(tx, agreed, mine) if others else MonthShares({}, {})
        for other in others:
            for month in sorted(mine & set(periods.months(other.period))):
                claimed = sum(int(line["fen"]) for line in other.claimed if line["what"] == month)
                if claimed != told.fen(other.contract_id, [month]):
                    raise WrongState(
                        "settlement.twice", N_("%(month)s 已在合同 %(number)s 下按另一范围结算"), month=month,
                        number=other.contract.number,
                    )  # fmt: skip
    for other in _confirmed(tx, agreed.id):
        if other.period not in (FINAL, period) and mine & set(periods.months(other.period)):
            raise WrongState(
                "settlement.overlaps", N_("%(period)s 与已结算的 %(other)s 重叠"), period=period, other=other.period
            )


def _claimed(tx: Tx, agreed: Contract, period: str) -> list[SettlementLine]:
    mine = [month for month in periods.months(period) if month in agreed.months()]
    if not mine:
        raise Invalid("settlement.outside", N_("%(period)s 不在合同期内"), period=period, field="period")
    if agreed.basis == ContractBasis.INSTALMENTS:
        due = [one for one in agreed.schedule if one.month in periods.months(period)]
        if not due:
            raise Invalid("settlement.nothing_due", N_("%(period)s 没有到期的分期款"), period=period, field="period")
        return [SettlementLine("instalment", share(agreed.ceiling_fen, one.share), one.month) for one in due]
    closed = {one.month: one.run_id for one in closings.closings(tx)}
    for month in mine:
        if month not in closed:
            raise WrongState("settlement.open_month", N_("%(month)s 尚未月结，不能结算"), month=month)
    lines, lots = [], contracts.lots(tx, [agreed.provider_id])
    told = _shares(tx, agreed, mine)
    for month in mine:
        fen = told.used[month].get(agreed.id, 0)
        lines.append(SettlementLine("month", fen, month, (f"statement_run:{closed[month]}",)))
        served = [
            one for one in labour.jobs.parts(tx, [month])
            if one.provider_id == agreed.provider_id
            and lots.on(Held(one.provider_id, one.pool_id, LABOUR, None, one.department_id), one.day) == agreed.id
        ]  # fmt: skip
        if served:
            total = sum(one.fen for one in served)
            lines.append(SettlementLine("labour", total, month, tuple(f"labour:{one.id}" for one in served)))
    return lines


def _shares(tx: Tx, agreed: Contract, months: Collection[str]) -> MonthShares:
    """How these months of a contract's company are split; of those that are not closed nothing."""
    closed = [one for one in closings.closings(tx) if one.month in months]
    return shares.of(tx, [agreed.provider_id], closed)[agreed.provider_id]


def _final(tx: Tx, agreed: Contract) -> Reckoned:
    """What was retained, once it is due; kept back where the company had a major incident since the contract's last day."""
    due = final_due(agreed)
    today = tx.now.astimezone(ZONE).date()
    if today < due:
        raise WrongState("settlement.early", N_("质保金 %(day)s 起返还"), day=due)
    claimed = [
        SettlementLine("retained", one.retained_fen, one.period, (one.subject,))
        for one in _confirmed(tx, agreed.id)
        if one.retained_fen
    ]
    if not claimed:
        raise Invalid("settlement.nothing_retained", N_("没有扣留的质保金"), field="period")
    since = datetime(agreed.last_day.year, agreed.last_day.month, agreed.last_day.day, tzinfo=ZONE)
    found = tx.scalars(
        select(Incident.id).where(
            Incident.provider_id == agreed.provider_id, Incident.level == MAJOR, Incident.started_at >= since,
            Incident.responsibility == Responsibility.PROVIDER.value,
        ).order_by(Incident.id)
    ).all()  # fmt: skip
    refs = tuple(f"incident:{one}" for one in found)
    total = sum(line.fen for line in claimed)
    return Reckoned(tuple(claimed), (SettlementLine(Withholding.INCIDENTS.value, total, refs=refs),) if refs else ())


def final_due(agreed: Contract) -> date:
    """From what day on what was retained may be paid."""
    month = agreed.last_day.year * 12 + agreed.last_day.month - 1 + agreed.retention_months
    year, number = divmod(month, 12)
    for day in (agreed.last_day.day, 30, 29, 28):
        try:
            return date(year, number + 1, day)
        except ValueError:
            continue
    raise AssertionError("a month has 28 days")


# ------------------------------------------------------------------------------------------------------------- reading


def sheet(tx: Tx, sheet_id: int) -> SettlementSheet:
    """The sheet, or NotFound, also where the actor may not see its contract."""
    found = tx.scalar(
        select(SettlementSheet).join(Contract).where(SettlementSheet.id == sheet_id, contracts.visible(tx.actor))
    )
    if found is None:
        raise NotFound("settlement.none", N_("没有编号为 %(id)s 的结算单"), id=sheet_id)
    return found


def newest(tx: Tx, contract_id: int, period: str) -> SettlementSheet | None:
    """The newest sheet of a contract and period."""
    query = select(SettlementSheet).where(SettlementSheet.contract_id == contract_id, SettlementSheet.period == period)
    return tx.scalar(query.order_by(SettlementSheet.revision.desc()).limit(1))


def of(tx: Tx, contract_id: int) -> list[SettlementSheet]:
    """Every sheet of a contract, the newest first."""
    query = select(SettlementSheet).where(SettlementSheet.contract_id == contract_id)
    return list(tx.scalars(query.order_by(SettlementSheet.id.desc())))


def _confirmed(tx: Tx, contract_id: int) -> list[SettlementSheet]:
    query = select(SettlementSheet).where(
        SettlementSheet.contract_id == contract_id, SettlementSheet.confirmed_at.is_not(None)
    )
    return list(tx.scalars(query.order_by(SettlementSheet.period)))


def standing(tx: Tx, agreed: Contract) -> ContractMoney:
    """What was settled under a contract and what is coming. What was retained and paid by FINAL counts once."""
    done = _confirmed(tx, agreed.id)
    return _money(agreed, done, _shares(tx, agreed, _to_come(agreed, done)))


def _money(agreed: Contract, done: Sequence[SettlementSheet], told: MonthShares) -> ContractMoney:
    paid = sum(one.payable_fen for one in done)
    retained = sum(one.retained_fen for one in done) - sum(one.payable_fen for one in done if one.period == FINAL)
    coming = told.fen(agreed.id, _to_come(agreed, done))
    return ContractMoney(agreed.ceiling_fen, paid, retained, coming, agreed.warn_share)


def _to_come(agreed: Contract, done: Sequence[SettlementSheet]) -> set[str]:
    """The months of a contract by usage that no sheet has settled."""
    if agreed.basis != ContractBasis.USAGE:
        return set()
    return set(agreed.months()) - {month for one in done if one.period != FINAL for month in periods.months(one.period)}


def warned(tx: Tx) -> list[tuple[Contract, ContractMoney]]:
    """Contracts whose ceiling is about to be passed by what is settled and coming, the nearest to it first."""
    query = (
        select(Contract).where(contracts.visible(tx.actor)).options(joinedload(Contract.provider)).order_by(Contract.id)
    )
    mine = tx.scalars(query).all()
    if not mine:
        return []
    done: dict[int, list[SettlementSheet]] = {}
    for each in tx.scalars(select(SettlementSheet).where(SettlementSheet.confirmed_at.is_not(None))):
        done.setdefault(each.contract_id, []).append(each)
    to_come = set().union(*(_to_come(one, done.get(one.id, [])) for one in mine))
    closed = [one for one in closings.closings(tx) if one.month in to_come]
    told = shares.of(tx, {one.provider_id for one in mine}, closed)
    found = [(one, _money(one, done.get(one.id, []), told[one.provider_id])) for one in mine]
    return sorted((one for one in found if one[1].warned), key=lambda one: one[1].left)


def payers(tx: Tx, year: int) -> Sequence[tuple[str, int, int, int]]:
    """For finance: payer, claimed, withheld and payable fen of the confirmed sheets of a year's periods."""
    query = (
        select(
            Contract.payer, func.sum(SettlementSheet.gross_fen), func.sum(SettlementSheet.withheld_fen),
            func.sum(SettlementSheet.payable_fen),
        )
        .join(Contract)
        .where(SettlementSheet.confirmed_at.is_not(None), SettlementSheet.period.like(f"{year}-%"))
        .group_by(Contract.payer)
        .order_by(Contract.payer)
    )  # fmt: skip
    return [(payer, int(gross), int(kept), int(payable)) for payer, gross, kept, payable in tx.execute(query)]


def check(tx: Tx) -> Iterator[str]:
    """A sentence for each sheet that does not match its digest, or whose sums are not those of its lines."""
    said: list[str] = []
    for row in inspection.rows(tx, select(SettlementSheet).order_by(SettlementSheet.id), said):
        with inspection.going_on(said, "settlement_sheets", row.id):
            if fingerprint(row.content()) != row.digest:
                yield f"settlement_sheets: row {row.id} does not match its digest"
            gross = sum(int(line["fen"]) for line in row.claimed)
            kept = sum(int(line["fen"]) for line in row.withheld)
            held = sum(int(line["fen"]) for line in row.withheld if line["code"] == Withholding.RETENTION)
            if (row.gross_fen, row.withheld_fen, row.retained_fen, row.payable_fen) != (
                gross,
                kept,
                held,
                gross - kept,
            ):
                yield f"settlement_sheets: row {row.id} says other sums than its lines"
    yield from said
