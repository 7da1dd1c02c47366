"""What of the ledger a reorganisation takes along by itself: loans, and what the tree's nodes were given. Accounts and holds go
with ``quota.inventory.moves``, which knows what the resources that move have taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, or_, select

from quota.db import among
from quota.directory import Adjustment, movers
from quota.errors import N_, WrongState
from quota.ledger import departures, entries
from quota.ledger.commitments import OPEN, Commitment
from quota.ledger.departures import Departure
from quota.ledger.lending import OUT, Loan, LoanState
from quota.ledger.tables import Hold, Holder, Side
from quota.units import Commodity

if TYPE_CHECKING:
    from quota.db import Tx


class Loans(movers.Rows):
    """With a merger those that are offered or out, whether the department lends or borrows; with a split what was chosen of them. What is
    borrowed goes with its loan, and so as long as nothing of it is in use: whose that is, nobody can tell."""

    columns = ("loans.lender_id", "loans.borrower_id")

    def free(self) -> ColumnElement[bool]:
        return Loan.state.in_([*OUT, LoanState.OFFERED.value])

    def choosable(self, source_id: int) -> ColumnElement[bool]:
        return and_(or_(Loan.lender_id == source_id, Loan.borrower_id == source_id), self.free())

    def called(self, row: Loan) -> str:
        return f"{row.id} {row.lender.name} → {row.borrower.name}"

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        if step.kind is Adjustment.SPLIT:
            return self._chosen(tx, step, self._split(tx, step, found))
        if step.kind is not Adjustment.MERGE:
            return movers.Part()
        theirs = self.choosable(step.source_id)
        loans = list(tx.scalars(select(Loan).where(theirs).order_by(Loan.id)))
        if any({loan.lender_id, loan.borrower_id} == {step.source_id, step.target_id} for loan in loans):
            raise WrongState("reorganisation.loan", N_("两单位之间还有未了结的出借,请先归还或撤销"))
        return movers.pending((loan.id, loan.state) for loan in loans)

    def _chosen(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part) -> movers.Part:
        for loan in tx.scalars(select(Loan).where(among(Loan.id, part.rows)).order_by(Loan.id)):
            of = part.lent if loan.lender_id == step.source_id else part.borrowed
            place = loan.pool_id, loan.commodity
            if loan.outstanding:
                of[place] = of.get(place, 0) + loan.outstanding
            part.more.setdefault("loans_returned", {})[str(loan.id)] = loan.returned
        for (pool_id, cls), amount in part.borrowed.items():
            if entries.balance(tx, Side(pool_id, cls, Holder.LENT, step.source_id)) < amount:
                raise WrongState(
                    "reorganisation.in_use", N_("所选的借入有一部分在用或预占，不能随拆分转出；请先释放或归还")
                )
        return part

    def kept(self, moved: Mapping[str, Any]) -> movers.Part:
        part = super().kept(moved)
        part.more = {"loans_returned": dict(moved.get("loans_returned", {}))}
        return part

    def back(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part, found: movers.Parts) -> movers.Part:
        """Of what a split took, only what nothing has come home of since: that lies with the new lender."""
        was = part.more["loans_returned"]
        rows = tx.execute(select(Loan.id, Loan.returned).where(among(Loan.id, map(int, was))))
        changed = next((id_ for id_, returned in rows if returned != was[str(id_)]), None)
        if changed is not None:
            raise movers.decided(self.noun, changed)
        return super().back(tx, step, part, found)

    def move(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part) -> None:
        for loan in tx.scalars(select(Loan).where(among(Loan.id, part.rows)).with_for_update()):
            loan.lender_id = step.target_id if loan.lender_id == step.source_id else loan.lender_id
            loan.borrower_id = step.target_id if loan.borrower_id == step.source_id else loan.borrower_id
            loan.generation += 1


class Promises(movers.Rows):
    """With what is held for them; in a split what was chosen."""

    def free(self) -> ColumnElement[bool]:
        return Commitment.state.in_(OPEN)

    def called(self, row: Commitment) -> str:
        return row.called

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        part = super().find(tx, step, found)
        part.holds = [f"commitment:{id_}" for id_ in part.rows]
        return part


loans = movers.register(
    Loans(
        "loans", Loan, N_("未了结的出借"), column="lender_id", noun=N_("出借"), waiting=[*OUT, LoanState.OFFERED.value]
    ),
    order=110,
)
promised = movers.register(
    Promises("commitments", Commitment, N_("未办结的远期承诺"), noun=N_("远期承诺"), waiting=OPEN), order=112
)


class Allocations(movers.Mover):
    """Rows of [id, fields before, fields after]; ``allocations_made``: those that are entered anew."""

    name = "allocations"
    columns = ("allocations.giver_id", "allocations.receiver_id")
    kinds = frozenset(Adjustment)

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        plan = Departure(tx, step.target_id or step.under)
        if step.kind is Adjustment.MERGE:
            plan.merged(step.source_id)
        elif step.kind is Adjustment.PARENT:
            plan.placed(step.source_id)
        else:
            for pool_id, cls, _holder, amount in found["quota"].rows:
                plan.left(step.source_id, pool_id, Commodity.parse(cls), amount, step.target_id)
            for hold in tx.scalars(select(Hold).where(among(Hold.id, map(int, found["quota"].states)))):
                if hold.source != Holder.FREE.value:  # that is the city's until it is decided
                    plan.left(step.source_id, hold.pool_id, hold.commodity, hold.amount, step.target_id)
            for (pool_id, cls), amount in found["loans"].lent.items():
                plan.left(step.source_id, pool_id, cls, amount, step.target_id)
        return movers.Part(plan.rows(), more={"allocations_made": plan.made})

    def told(self, part: movers.Part) -> list[movers.PartSummary]:
        return [movers.PartSummary(N_("随之变动的下拨额度"), len(part.rows))]

    def move(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part) -> None:
        act = departures.undo if step.undoing else departures.carry_out
        act(tx, part.rows, part.more.get("allocations_made", []), step.subject)

    def keep(self, part: movers.Part) -> dict[str, Any]:
        return {"allocations": part.rows, "allocations_made": part.more.get("allocations_made", [])}

    def kept(self, moved: Mapping[str, Any]) -> movers.Part:
        more = {"allocations_made": list(moved.get("allocations_made", ()))}
        return movers.Part(list(moved.get("allocations", ())), more=more)


given = movers.register(Allocations(), order=225)
