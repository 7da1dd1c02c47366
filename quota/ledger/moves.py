"""What of the ledger a reorganisation takes along by itself: loans. Accounts and holds go with ``quota.inventory.moves``, which
knows what the resources that move have taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from quota.db import among
from quota.directory import Adjustment, movers
from quota.errors import N_, WrongState
from quota.ledger.lending import OUT, Loan, LoanState

if TYPE_CHECKING:
    from quota.db import Tx


class Loans(movers.Rows):
    """With a merger those that are offered or out, whether the department lends or borrows."""

    columns = ("loans.lender_id", "loans.borrower_id")

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        del found
        if step.kind is Adjustment.SYSTEMS:
            return movers.Part()
        theirs = or_(Loan.lender_id == step.source_id, Loan.borrower_id == step.source_id)
        open_ = Loan.state.in_([*OUT, LoanState.OFFERED.value])
        loans = list(tx.scalars(select(Loan).where(theirs, open_).order_by(Loan.id)))
        if any({loan.lender_id, loan.borrower_id} == {step.source_id, step.target_id} for loan in loans):
            raise WrongState("reorganisation.loan", N_("两单位之间还有未了结的出借,请先归还或撤销"))
        return movers.pending((loan.id, loan.state) for loan in loans)

    def move(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part) -> None:
        for loan in tx.scalars(select(Loan).where(among(Loan.id, part.rows)).with_for_update()):
            loan.lender_id = step.target_id if loan.lender_id == step.source_id else loan.lender_id
            loan.borrower_id = step.target_id if loan.borrower_id == step.source_id else loan.borrower_id
            loan.generation += 1


loans = movers.register(Loans("loans", Loan, N_("未了结的出借"), column="lender_id", noun=N_("出借")), order=110)
