"""Scale-outs (横向扩容): a tier that is busy as a whole gets more machines instead of larger ones, and fewer afterwards.

The look within the day says when; the department authorises it beforehand or is asked; who looks after the load balancer enters each
machine there and takes it out again, and says so: until then the one serves nobody and the other is deleted by nobody.
"""

from __future__ import annotations

from metering.scale_outs import scale_outs, settling, sums
from metering.scale_outs.load import TierLoad, measured
from metering.scale_outs.scale_outs import (
    ScaleOut,
    ScaleOutEnding,
    ScaleOutState,
    last_look,
    objection,
    on_loan,
)
from metering.scale_outs.sums import ScaleOutSum

__all__ = [
    "ScaleOut",
    "ScaleOutEnding",
    "ScaleOutState",
    "ScaleOutSum",
    "TierLoad",
    "last_look",
    "measured",
    "objection",
    "on_loan",
    "scale_outs",
    "settling",
    "sums",
]
