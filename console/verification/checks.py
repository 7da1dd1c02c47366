"""Everything that can be proven about the book and the lake: the command, the job and the page use this.

What hangs together (the audit chain, the chain of seals, the ledger) is recomputed whole each time, and the rows of every table
but the largest are held against their seals. What stands by itself (a night's findings,
a statement, a closed day of the lake) is too much to read every night in a large city: there ``night`` reads the newest and
a thirtieth of the rest, so that every row and file is read again within ``NIGHTS`` days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from console import anchors
from console.schema import upgrade
from console.verification import agreement
from metering import reports, settlement, statements
from metering.archive import archives
from metering.cases import certificates
from metering.intake import spool
from metering.judging import Assessment
from metering.lake import health
from metering.statements import StatementRun
from metering.workbench import Progress, Workbench, silent
from providers.assessment import cards
from providers.billing import Bill, bills
from quota import attachments, audit, inspection, ledger, sealing
from quota.db import Tx
from quota.exchange import conversions
from quota.ledger import Account

Check = tuple[str, Callable[[Tx], Iterator[str]]]
"""What a check is of, and the check."""

DIGESTED: tuple[Check, ...] = (
    ("scorecards", cards.check),
    ("attachments", attachments.check),
    ("certificates", certificates.check),
    ("month_closings", statements.check_closings),
    ("report_inputs", reports.editions.check),
    ("settlement_sheets", settlement.sheets.check),
    ("billing_years", settlement.years.check),
)
"""What is kept under a digest of its own."""

NIGHTS = 30
STAGES = 6


@dataclass(slots=True)
class Verification:
    """What was checked, what was left for other nights, and what does not fit; ``problems`` name rows and files."""

    checked: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    conserved: bool = True
    head: str = ""

    @property
    def clean(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "conserved": self.conserved,
            "head": self.head,
            "checked": self.checked,
            "left": self.left,
            "problems": self.problems,
        }

    def lines(self) -> Iterator[str]:
        yield from self.problems
        left = f"; left for other nights: {_counted(self.left)}" if self.left else ""
        said = "clean" if self.clean else f"{len(self.problems)} problems"
        yield f"{said}: {_counted(self.checked)}{left}; audit head {self.head}"

    def share(self, name: str, numbers: Sequence[int], night: date | None) -> list[int]:
        """Those of ``numbers``, oldest first, that are read: all, or a night's share. What is left is counted."""
        turn = None if night is None else night.toordinal() % NIGHTS
        read = [one for one in numbers if turn is None or one % NIGHTS == turn or one == numbers[-1]]
        self.checked[name] = len(read)
        if len(read) < len(numbers):
            self.left[name] = len(numbers) - len(read)
        return read


def examine(
    workbench: Workbench,
    progress: Progress = silent,
    *,
    night: date | None = None,
    anchored: Sequence[Path] = (),
    trusted: str = "",
) -> Verification:
    """Recompute every seal and balance, look for the guards, and check the lake's files; with ``night`` a share of them
    (see above). ``anchored``: files and folders with anchors that the book is held against, ``trusted`` the id of the key that
    signed the oldest."""
    found = Verification()
    done, of = 0, STAGES

    def going_on(numbers: Sequence[int]) -> Iterator[int]:
        """A city's nights take hours: between two of them it is said that somebody is still at it."""
        for number in numbers:
            progress("verify", done, of)
            yield number

    stages = _stages(workbench, found, night, going_on)
    for stage in [*stages, _anchored(workbench, found, anchored, trusted)]:
        progress("verify", done, of)
        found.problems += [one for one in dict.fromkeys(stage) if one not in found.problems]
        done += 1
    progress("verify", of, of)
    return found


def _stages(
    workbench: Workbench, found: Verification, night: date | None, going_on: Callable[[list[int]], Iterator[int]]
) -> list[Iterator[str]]:
    """What is checked, in order; nothing is read before a stage is iterated."""

    def reading(*checks: Check) -> Iterator[str]:
        """Each check by itself: what breaks one keeps no other from its work. Others go on writing: what hangs together
        is read as of one moment."""
        for name, check in checks:
            with workbench.book.reading(one_moment=True) as tx:
                yield from inspection.to_the_end(name, check(tx))

    def one_by_one(name: str, key: Any, check: Callable[[Tx, list[int]], Iterator[str]]) -> Iterator[str]:
        """Each row by itself: a look that lasted hours would keep the database from clearing up behind those who write."""
        with workbench.book.reading() as tx:
            ids = tx.scalars(select(key).order_by(key)).all()
        for one in going_on(found.share(name, ids, night)):
            with workbench.book.reading() as tx:
                yield from inspection.to_the_end(name, check(tx, [one]))

    def guards(_tx: Tx) -> Iterator[str]:
        for name in upgrade.missing_guards(workbench.book.engine):
            yield f"{name}: the trigger that keeps its table append-only is missing"

    def every_row(tx: Tx) -> Iterator[str]:
        yield from inspection.check(tx, None if night is None else night.toordinal() % NIGHTS, NIGHTS)

    def trail(tx: Tx) -> Iterator[str]:
        yield from audit.check(tx)
        found.checked["audit_records"], found.head = audit.head(tx)

    def sealed(tx: Tx) -> Iterator[str]:
        yield from _sealed(tx, found, night)

    def accounts(tx: Tx) -> Iterator[str]:
        found.checked["accounts"] = tx.scalar(select(func.count()).select_from(Account)) or 0
        found.conserved = ledger.conserved(tx)
        if not found.conserved:
            yield "accounts: a pool's accounts do not sum to zero"
        yield from chain(ledger.check(tx), ledger.tree.check(tx), conversions.check(tx))

    def billed(tx: Tx) -> Iterator[str]:
        ids = tx.scalars(select(Bill.id).order_by(Bill.id)).all()
        yield from bills.check(tx, found.share("bills", ids, night))

    def judged(tx: Tx, ids: list[int]) -> Iterator[str]:
        yield from archives.check(tx, workbench.lake, ids)

    def files(_tx: Tx) -> Iterator[str]:
        days = found.share("lake_days", [one.toordinal() for one in health.known_days(workbench.lake)], night)
        chosen = None if night is None else {date.fromordinal(one) for one in days}
        yield from (str(one) for one in workbench.lake.verify(chosen))
        yield from (str(one) for one in spool.verify(workbench.lake))

    def one_moment(_tx: Tx) -> Iterator[str]:
        yield from agreement.compare(workbench).lines()

    return [
        reading(("book", guards), ("book", every_row)),
        reading(("audit_records", trail), ("sealings", sealed), ("accounts", accounts)),
        reading(*DIGESTED),
        chain(
            reading(("bills", billed)),
            one_by_one("statement_runs", StatementRun.id, statements.check),
            one_by_one("assessments", Assessment.id, judged),
        ),
        reading(("lake", files), ("book and lake", one_moment)),
    ]


def _anchored(workbench: Workbench, found: Verification, places: Sequence[Path], trusted: str) -> Iterator[str]:
    outside, unread = anchors.read(places)
    yield from unread
    with workbench.book.reading(one_moment=True) as tx:
        yield from inspection.to_the_end("anchors", anchors.compare(tx, outside, trusted=trusted))
        found.checked["anchors"] = (tx.scalar(select(func.count()).select_from(anchors.Anchor)) or 0) + len(outside)


def _sealed(tx: Tx, found: Verification, night: date | None) -> Iterator[str]:
    counts: dict[str, int] = {}
    yield from sealing.check(tx, None if night is None else night.toordinal() % NIGHTS, NIGHTS, counts)
    found.checked["sealed_rows"] = counts.get("sealed_rows", 0)
    if counts.get("left"):
        found.left["sealed_rows"] = counts["left"]


def _counted(what: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in what.items())
