"""Batches (批量办理): cases that are alike, reviewed, noticed or ruled on in one act, each with a record of its own.

``alike`` groups open cases; ``begin`` keeps what was signed: which cases, as the page showed them, which of them are left out
and why; ``carry_out`` does it, some at a time, and goes on where it stopped.
"""

from __future__ import annotations

from metering.batches import alike
from metering.batches.alike import ACT_IN, Alike
from metering.batches.batches import MOST, batch, begin, carry_out, counts
from metering.batches.tables import OUTCOME_LABELS, BatchItem, BatchOutcome, CaseBatch

__all__ = [
    "ACT_IN",
    "MOST",
    "OUTCOME_LABELS",
    "Alike",
    "BatchItem",
    "BatchOutcome",
    "CaseBatch",
    "alike",
    "batch",
    "begin",
    "carry_out",
    "counts",
]
