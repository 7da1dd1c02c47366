"""Verifications that were asked for, by people or by the night: carried out in the background, kept with what they found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from time import monotonic

from sqlalchemy import func, select

from console.tables import VerificationRun, VerificationState
from console.verification.checks import Verification, examine
from console.verification.progress import Log
from metering.workbench import Workbench
from quota.actors import Role, steward
from quota.db import Tx
from quota.seals import sm3

STALLED = timedelta(minutes=15)
"""After so long without a word a run's process is taken to be dead, and what it had left is carried out."""
TOLD_EVERY = 5.0
"""s: how often it is told how far a run has come."""
KEPT = 1000
"""So many problems are kept of a run: where there are more, the first thousand tell enough."""


def ask(tx: Tx, night: date | None = None) -> VerificationRun:
    """Ask for a verification of everything, or of a night's share; where one waits or runs, that one is returned."""
    tx.actor.must_be(Role.AUDITOR, Role.AUDADMIN, Role.SUPERVISOR, Role.AUTHORITY, Role.SYSTEM)
    under_way = going_on(tx)
    if under_way is not None and under_way.night == night:
        return under_way
    row = VerificationRun(
        state=VerificationState.WAITING.value,
        night=night,
        asked_by=tx.actor.login,
        asked_at=tx.now,
        told_at=tx.now,
        checked={},
        left_out={},
        problems=[],
    )
    tx.add(row)
    tx.flush()
    return row


def going_on(tx: Tx) -> VerificationRun | None:
    """The run that waits or goes on, the oldest where there are several."""
    states = (VerificationState.WAITING.value, VerificationState.RUNNING.value)
    query = select(VerificationRun).where(VerificationRun.state.in_(states))
    return tx.scalar(query.order_by(VerificationRun.id).limit(1))


def latest(tx: Tx) -> VerificationRun | None:
    """The newest run that ended."""
    ended = select(VerificationRun).where(VerificationRun.ended_at.is_not(None))
    return tx.scalar(ended.order_by(VerificationRun.id.desc()).limit(1))


def carry_out(workbench: Workbench, anchored: Sequence[Path] = (), logs: Path | None = None) -> list[VerificationRun]:
    """Carry out every run that waits, or what is left of one whose process died; those that ended, well or not. ``anchored``: files
    and folders with anchors that the book is held against; ``logs``: where it is kept how far a run has come."""
    ended = []
    while (claimed := _claim(workbench)) is not None:
        run_id, night, resume = claimed
        told_at = -TOLD_EVERY

        def told(_stage: str, done: int, of: int, at: int = run_id) -> None:
            nonlocal told_at
            if 0 < done < of and monotonic() < told_at + TOLD_EVERY:
                return
            told_at = monotonic()
            with workbench.book.transaction(steward("job:verify")) as tx:
                row = tx.get_one(VerificationRun, at)
                row.done, row.total, row.told_at = done, of, tx.now

        try:
            log = None if logs is None else Log(logs / f"{run_id}.jsonl", resume=resume)
            with workbench.book.reading() as tx:
                again, since = _wrong(tx), _before(tx, night)
            who = steward("job:verify")
            found = examine(
                workbench, told, night=night, since=since, again=again, anchored=anchored, keeper=who, log=log
            )
            error = ""
        except Exception as fault:  # whatever broke it is said where it was asked for
            found, error = Verification(), f"{type(fault).__name__}: {fault}"
        ended.append(_end(workbench, run_id, found, error))
    return ended


def _wrong(tx: Tx) -> list[str]:
    """The parts in which the last run that came to its end found something."""
    done = select(VerificationRun).where(VerificationRun.state == VerificationState.DONE.value)
    last = tx.scalar(done.order_by(VerificationRun.id.desc()).limit(1))
    return [] if last is None else last.wrong


def _before(tx: Tx, night: date | None) -> date | None:
    """The last night before this one whose share came to its end."""
    if night is None:
        return None
    done = (VerificationRun.state == VerificationState.DONE.value) & (VerificationRun.night < night)
    return tx.scalar(select(func.max(VerificationRun.night)).where(done))


def _claim(workbench: Workbench) -> tuple[int, date | None, bool] | None:
    """(id, night, whether one whose process died is gone on with): only then is anything believed that a log says was read, for a book
    that was restored gives its numbers again."""
    with workbench.book.transaction(steward("job:verify")) as tx:
        silent = (VerificationRun.state == VerificationState.RUNNING.value) & (
            VerificationRun.told_at < tx.now - STALLED
        )
        waiting = VerificationRun.state == VerificationState.WAITING.value
        query = select(VerificationRun).where(waiting | silent).order_by(VerificationRun.id).limit(1)
        row = tx.scalar(query.with_for_update(skip_locked=True))
        if row is None:
            return None
        died = row.state == VerificationState.RUNNING.value
        row.state, row.told_at, row.done = VerificationState.RUNNING.value, tx.now, 0
        return row.id, row.night, died


def _end(workbench: Workbench, run_id: int, found: Verification, error: str) -> VerificationRun:
    state = VerificationState.FAILED if error else VerificationState.DONE
    with workbench.book.transaction(steward("job:verify")) as tx:
        row = tx.get_one(VerificationRun, run_id)
        row.state, row.ended_at, row.error = state.value, tx.now, error
        row.checked, row.left_out, row.head = found.checked, found.left, found.head
        row.wrong, row.nights = found.wrong, found.nights
        row.problems, row.problem_count = found.problems[:KEPT], len(found.problems)
        # The trail keeps what was found: changing the row afterwards hides nothing.
        tx.audit(
            "house.verify",
            f"verification:{row.id}",
            after={
                "state": row.state,
                "clean": row.clean,
                "problems": row.problem_count,
                "sm3": sm3("\n".join(found.problems).encode()).hex(),
                "checked": row.checked,
                "left": row.left_out,
            },
        )
        return row
