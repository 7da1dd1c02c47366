"""Sealing: every row as the last transaction left it has a digest in a chain of its own, which names the audit record that
it came with. A row changed, added or removed behind the book's back differs from it.

What is under seal, and what is not and why, is said in ``cover``, for the whole house.
"""

from __future__ import annotations

from quota.sealing import segments
from quota.sealing.checks import check, check_chain, check_gone, check_table
from quota.sealing.cover import ELSEWHERE, PASSING, UNSEALED, sealed, under_seal
from quota.sealing.rows import RowSeal, SealHead, Sealing, SealLayout, begin, changed, head, reseal, seal
from quota.sealing.segments import Chain, SealedSegment
from quota.sealing.touched import Unfollowed

__all__ = [
    "ELSEWHERE",
    "PASSING",
    "UNSEALED",
    "Chain",
    "RowSeal",
    "SealHead",
    "SealLayout",
    "SealedSegment",
    "Sealing",
    "Unfollowed",
    "begin",
    "changed",
    "check",
    "check_chain",
    "check_gone",
    "check_table",
    "head",
    "reseal",
    "seal",
    "sealed",
    "segments",
    "under_seal",
]
