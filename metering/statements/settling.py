"""Months closed in the book are sealed in the lake: what comes for them later lies beside their days.

Statements see it all the same (metering.statements.presence), and bill or credit it by correction rows of the next open month.
"""

from __future__ import annotations

from metering.statements import closings
from metering.workbench import Workbench


def seal(workbench: Workbench) -> list[str]:
    """Seal every month that was closed and isn't sealed yet; returns them. What came before the closing still counts
    into the month, what came after it is a correction."""
    sealed = workbench.lake.sealed()
    with workbench.book.reading() as tx:
        due = [(one.month, one.closed_at) for one in closings.closings(tx) if one.month not in sealed]
    for month, at in due:
        workbench.lake.seal(month, at)
    return [month for month, _ in due]
