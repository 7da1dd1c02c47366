"""Everything that speaks of a company in a month or a quarter, for every indicator.

What happened and was struck by the ruling on an appeal is left out for good; what only holds at a period's end (a
certificate, a combination) is left out of that period, and looked at anew in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from providers.assessment import appeals, evidence, evidence_rows, periods
from providers.assessment.measures import Row
from providers.assessment.scorecard import Evidence, Indicator

if TYPE_CHECKING:
    from quota.db import Tx


def gather(
    tx: Tx,
    provider_id: int,
    period: str,
    *,
    reporting: Sequence[Row] = (),
    metering: Mapping[str, Sequence[Row]] | None = None,
) -> Evidence:
    """Every row that speaks of the company in ``period`` (2026-10 or 2026-Q4), up to now.

    ``reporting`` as in ``evidence.gather``, ``metering`` by month as there; rows of ``reporting`` that name ``pool`` and ``month`` and are
    nearly complete show that the pool was watched, without which its availability is not known.
    """
    found: dict[Indicator, list[Row]] = {indicator: [] for indicator in Indicator}
    for month in periods.months(period):
        of_month = [
            evidence.gather(tx, provider_id, month, metering=(metering or {}).get(month, ())),
            evidence_rows.of_month(tx, provider_id, month, reporting),
        ]
        for part in of_month:
            for indicator, rows in part.items():
                found[indicator] += rows
    struck, struck_then = appeals.struck(tx, provider_id), appeals.struck(tx, provider_id, period)
    found = {indicator: [row for row in rows if row.ref not in struck] for indicator, rows in found.items()}
    for indicator, rows in evidence_rows.of_period(tx, provider_id, period).items():
        found[indicator] += [row for row in rows if row.ref not in struck_then]
    if periods.is_quarter(period) and found[Indicator.BACKUP]:
        found[Indicator.BACKUP].append(Row(f"quarter:{period}", {"drills_due": 1}))
    found[Indicator.REPORTING] += [row for row in reporting if row.ref not in struck]
    return found
