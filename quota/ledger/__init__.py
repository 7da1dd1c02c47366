"""The ledger: who may have how much of which pool. Double entry, append-only, conserved at every instant.

``provision`` and ``retire`` set what a pool has, ``grant`` and ``take back`` what a department may have, ``hold``, ``post``
and ``void`` what a request asks for; ``lending`` and ``allotments`` move it between departments, along the tree (``tree``) as
well as across it; ``allocations`` say who gave what to whom, and until when, ``shares`` what a system was given."""

from __future__ import annotations

from quota.ledger import (
    allocations,
    allotments,
    capacities,
    commitments,
    demands,
    expiry,
    histories,
    lending,
    outlook,
    shares,
    slicing,
    tree,
)
from quota.ledger import moves as _moves  # noqa: F401 - what of the ledger a reorganisation moves, registered
from quota.ledger.allocations import Allocation, AllocationState
from quota.ledger.allotments import CITYS, TARGETED, Act, Allotment
from quota.ledger.checks import check, check_accounts, check_transfers, settled
from quota.ledger.commitments import Commitment, CommitmentState
from quota.ledger.demands import Demand, DemandRound, RoundState
from quota.ledger.entries import (
    account,
    balance,
    balances,
    balances_of,
    conserved,
    convert,
    drawn_of_pool,
    grant,
    hand_over,
    hold,
    lock,
    made,
    pending,
    post,
    reclaim,
    release,
    use,
    void,
)
from quota.ledger.lending import MAX_DAYS, OUT, Loan, LoanState
from quota.ledger.outlook import RunOut, Trend
from quota.ledger.shares import SHARE_ACTS, ShareAct, ShareOrder
from quota.ledger.tables import (
    OWNED,
    QUOTA,
    Account,
    Classes,
    Entry,
    Hold,
    Holder,
    HoldState,
    Side,
    SystemShare,
    Transfer,
)

__all__ = [
    "CITYS",
    "MAX_DAYS",
    "OUT",
    "OWNED",
    "QUOTA",
    "SHARE_ACTS",
    "TARGETED",
    "Account",
    "Act",
    "Allocation",
    "AllocationState",
    "Allotment",
    "Classes",
    "Commitment",
    "CommitmentState",
    "Demand",
    "DemandRound",
    "Entry",
    "Hold",
    "HoldState",
    "Holder",
    "Loan",
    "LoanState",
    "RoundState",
    "RunOut",
    "ShareAct",
    "ShareOrder",
    "Side",
    "SystemShare",
    "Transfer",
    "Trend",
    "account",
    "allocations",
    "allotments",
    "balance",
    "balances",
    "balances_of",
    "capacities",
    "check",
    "check_accounts",
    "check_transfers",
    "commitments",
    "conserved",
    "convert",
    "demands",
    "drawn_of_pool",
    "expiry",
    "grant",
    "hand_over",
    "histories",
    "hold",
    "lending",
    "lock",
    "made",
    "outlook",
    "pending",
    "post",
    "reclaim",
    "release",
    "settled",
    "shares",
    "slicing",
    "tree",
    "use",
    "void",
]
