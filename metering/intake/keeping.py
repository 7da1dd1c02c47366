"""The rule of retention carried out, with what went written into the audit trail."""

from __future__ import annotations

from datetime import date, datetime, time

from sqlalchemy import delete

from metering.intake.collection import SampleRefusal
from metering.lake import KEEP, Keep, Removed
from metering.workbench import Workbench
from quota.actors import Actor, steward
from quota.calendar import ZONE

NAMED = 200
"""How many deleted files a record of the trail names; it counts them all."""


def retain(workbench: Workbench, today: date, keep: Keep = KEEP, actor: Actor | None = None) -> Removed:
    """Delete samples, what was refused of them, and hourly figures older than the rule says, and say so in the trail.

    The trail is written after the files went: a crash in between leaves files that the next run no longer finds, but
    the line from which on things are kept stands in the lake itself (`retention.json`).
    """
    removed = workbench.lake.retain(today, keep)
    line = datetime.combine(removed.days, time(), ZONE)
    with workbench.book.transaction(actor or steward("job:retain")) as tx:
        old = delete(SampleRefusal).where(SampleRefusal.at < line)
        refusals = tx.execute(old.execution_options(synchronize_session=False)).rowcount  # type: ignore[attr-defined]
        if removed.files or refusals:
            tx.audit(
                "lake.retain",
                "lake",
                after={
                    "files": len(removed.files),
                    "bytes": removed.bytes,
                    "refusals": refusals,
                    "samples_from": removed.days.isoformat(),
                    "hours_from": removed.hours.isoformat(),
                    "names": [path.relative_to(workbench.lake.root).as_posix() for path in removed.files[:NAMED]],
                },
                reason=f"samples are kept {keep.days} days, hourly figures {keep.hours} days",
            )
    return removed
