"""Everything that can be proven about the book and the lake, in parts that are carried out one after the other: the command, the
job and the page use this.

``examine`` carries out all of them, or a night's: what is new, whole (rows that were added, the ends of the chains behind their
sealed segments, the newest findings, statement and day), what is small, whole, and of all that is longer one part in its turn. So
a night reads no more of a long history than of a short one, and every row and file is read again within ``Verification.nights``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Table, func, select

from console import anchors
from console.schema import upgrade
from console.verification import agreement
from console.verification.progress import Log
from metering import reports, settlement, statements
from metering.archive import archives
from metering.cases import certificates
from metering.intake import spool
from metering.judging import Assessment
from metering.lake import health
from metering.statements import StatementRun
from metering.workbench import Progress, Workbench, silent
from providers.assessment import ScorecardRecord, cards
from providers.billing import Bill, bills
from quota import attachments, audit, inspection, ledger, sealing, search, spans
from quota.actors import Actor
from quota.base import Base
from quota.db import Tx
from quota.exchange import conversions
from quota.ledger import Account
from quota.sealing import Chain, segments
from quota.spans import WHOLE, Links, NumberSpan

OfNumbers = Callable[[Tx, NumberSpan], Iterator[str]]
"""A check of rows by their numbers."""

DIGESTED: tuple[tuple[str, Callable[[Tx], Iterator[str]]], ...] = (
    ("month_closings", statements.check_closings),
    ("report_inputs", reports.editions.check),
    ("settlement_sheets", settlement.sheets.check),
    ("billing_years", settlement.years.check),
)
"""What is kept under a digest of its own, and is little."""

LONG: tuple[tuple[type[Base], OfNumbers, int], ...] = (
    (ScorecardRecord, cards.check, 500),
    (attachments.Attachment, attachments.check, 200),
    (certificates.Certificate, certificates.check, 2_000),
)
"""What there is more of from year to year, and how many of it are checked in one part: a card is reckoned anew, a file is read."""

NIGHTS = 30
"""Within so many nights findings, statements and days of the lake are read again."""
CAUGHT_UP = 8
"""So many nights' turns are read in one, where those before were missed."""


def _record_at(tx: Tx, number: int) -> str | None:
    return tx.scalar(select(audit.AuditRecord.digest).where(audit.AuditRecord.sequence == number))


def _sealing_at(tx: Tx, number: int) -> str | None:
    return tx.scalar(select(sealing.Sealing.digest).where(sealing.Sealing.sequence == number))


def _counted(tx: Tx, table: Table) -> int:
    """How many rows there are: links of a chain are numbered without a gap, and a number may have been changed."""
    return tx.scalar(select(func.count()).select_from(table)) or 0


def _table(model: type[Base]) -> Table:
    return cast("Table", model.__table__)


def _sealings(tx: Tx, span: NumberSpan, links: Links) -> Iterator[str]:
    yield from sealing.check_chain(tx, span, links)
    yield from sealing.check_gone(tx, span=span)


CHAINS = (
    Chain(
        "audit_records",
        lambda tx, span, links: audit.check(tx, span, links),
        lambda tx: _counted(tx, _table(audit.AuditRecord)),
        _record_at,
    ),
    Chain("sealings", _sealings, lambda tx: _counted(tx, _table(sealing.Sealing)), _sealing_at),
    Chain("entries", ledger.check_transfers, ledger.settled),
)


OfTable = Callable[[Tx, Table, NumberSpan, Counter[str]], Iterator[str]]
"""A check of the rows of a table."""
TOGETHER = 16
"""So many tables are read in one part, where they are short."""


@dataclass(slots=True)
class Verification:
    """What was checked, what was left for other nights, and what does not fit; ``problems`` name rows and files, ``wrong`` the
    parts that found them. ``nights``: within so many all that was left is read again."""

    checked: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    conserved: bool = True
    head: str = ""
    nights: int = 0

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
        left = f"; left for other nights: {_listed(self.left)}" if self.left else ""
        said = "clean" if self.clean else f"{len(self.problems)} problems"
        yield f"{said}: {_listed(self.checked)}{left}; audit head {self.head}"

    def counted(self, counts: Counter[str]) -> None:
        for name, count in counts.items():
            self.checked[name] = self.checked.get(name, 0) + count


@dataclass(frozen=True, slots=True)
class VerificationPart:
    """``check`` yields what does not fit, and counts what it read. ``tonight``: whether a night's share has it. ``ends``: it looks
    at what goes on meanwhile, so that it is looked at again when an interrupted verification is taken up. ``stays``: the name under
    which it is found on later nights, where it has another while it is the newest."""

    name: str
    check: Callable[[Counter[str]], Iterator[str]]
    tonight: bool = True
    ends: bool = False
    stays: str = ""


def examine(
    workbench: Workbench,
    progress: Progress = silent,
    *,
    night: date | None = None,
    since: date | None = None,
    again: Collection[str] = (),
    anchored: Sequence[Path] = (),
    trusted: str = "",
    keeper: Actor | None = None,
    log: Log | None = None,
) -> Verification:
    """Recompute every seal and balance, look for the guards, and check the lake's files; with ``night`` a share of them
    (see above), with the parts named by ``again`` and those whose turn it was in the nights after ``since``, which were missed. ``anchored``: files and folders with anchors that the book is held against,
    ``trusted`` the id of the key that signed the oldest. ``keeper`` seals the segments that are found right; ``log`` knows what an
    interrupted verification has done."""
    plan = _Plan(workbench, _nights(night, since), keeper, again)
    parts = [one for one in plan.parts(anchored, trusted) if night is None or one.tonight or one.name in again]
    found, log = plan.found, log or Log()
    for done, part in enumerate(parts):
        progress("verify", done, len(parts))
        before = None if part.ends else log.done(part.name)
        if before is None:
            counts: Counter[str] = Counter()
            problems = list(dict.fromkeys(inspection.to_the_end(part.name, part.check(counts))))
            log.add(part.name, problems, counts)
        else:
            problems, counts = before
        found.counted(counts)
        if problems:
            found.wrong.append(part.stays or part.name)
            there = set(found.problems)
            found.problems += [one for one in problems if one not in there]
    for name, whole in plan.wholes.items():
        if found.checked.setdefault(name, 0) < whole and night is not None:
            found.left[name] = whole - found.checked[name]
    progress("verify", len(parts), len(parts))
    log.end()
    return found


class _Plan:
    """The parts of a verification of this house. Nothing but how much there is of everything is read before they are carried out."""

    def __init__(
        self, workbench: Workbench, nights: Sequence[date], keeper: Actor | None, again: Collection[str]
    ) -> None:
        self.workbench, self.nights, self.keeper, self.again = workbench, nights, keeper, again
        self.found = Verification(nights=NIGHTS)
        self.wholes: dict[str, int] = {}
        """How much there is of what is read in shares."""

    def parts(self, anchored: Sequence[Path], trusted: str) -> list[VerificationPart]:
        """In the order in which they are carried out."""
        tables = {table.name: self._spans(table) for table in Base.metadata.sorted_tables}
        return [
            VerificationPart("book", self._guards, ends=True),
            *self._of_tables("rows", tables, Base.metadata.sorted_tables, self._rows),
            *(part for one in CHAINS for part in self._of_chain(one)),
            VerificationPart("accounts", self._accounts, ends=True),
            *self._of_tables("seals", tables, sealing.under_seal(), self._sealed),
            *(part for kind in search.SOUGHT for part in self._of_search(kind, tables)),
            *(
                VerificationPart(name, self._reading(name, check))
                for name, check in (*DIGESTED, ("search_entries", search.check_strays))
            ),
            *(part for model, check, size in LONG for part in self._of_numbers(_table(model), check, size)),
            *self._one_by_one("bills", Bill.id, bills.check),
            *self._one_by_one("statement_runs", StatementRun.id, statements.check),
            *self._one_by_one("assessments", Assessment.id, self._judged),
            *self._one_by_one("report_editions", reports.ReportEdition.id, self._reported),
            *self._of_lake(),
            VerificationPart("book and lake", lambda _counts: agreement.compare(self.workbench).lines(), ends=True),
            VerificationPart("anchors", partial(self._anchored, anchored, trusted), ends=True),
        ]

    # ----------------------------------------------------------------------------------------------------- what there is

    def _asked(self, ask: Callable[[Tx], Any], otherwise: Any) -> Any:
        """What ``ask`` finds; ``otherwise`` where the book can't tell: the part itself says so."""
        try:
            with self.workbench.book.reading() as tx:
                return ask(tx)
        except Exception:
            return otherwise

    def _spans(self, table: Table) -> list[NumberSpan]:
        found: list[NumberSpan] = self._asked(lambda tx: inspection.parts(tx, table), [WHOLE])
        return found

    def _turns(self, older: int) -> set[int | None]:
        """Which of so many older parts have their turn."""
        if self.nights:
            self.found.nights = max(self.found.nights, spans.nights(older))
        return {spans.turn(older, one) for one in self.nights}

    def share(self, name: str, numbers: Sequence[int]) -> set[int]:
        """Those of ``numbers``, oldest first, that a night reads: the newest, and a share of the others."""
        self.wholes[name] = len(numbers)
        turns = {one.toordinal() % NIGHTS for one in self.nights}
        return {one for one in numbers if not turns or one % NIGHTS in turns or one == numbers[-1]}

    # ------------------------------------------------------------------------------------------------------- kinds of part

    def _reading(self, name: str, check: Callable[[Tx], Iterator[str]]) -> Callable[[Counter[str]], Iterator[str]]:
        """Each part by itself, as of one moment: what breaks one keeps no other from its work, and no look lasts so long that it
        would keep the database from clearing up behind those who write."""

        def read(_counts: Counter[str]) -> Iterator[str]:
            with self.workbench.book.reading(one_moment=True) as tx:
                yield from inspection.to_the_end(name, check(tx))

        return read

    def _of_tables(
        self,
        what: str,
        spans_of: dict[str, list[NumberSpan]],
        tables: Sequence[Table],
        check: OfTable,
    ) -> Iterator[VerificationPart]:
        for low in range(0, len(tables), TOGETHER):
            short = [table for table in tables[low : low + TOGETHER] if len(spans_of[table.name]) == 1]
            yield VerificationPart(f"{what} {low // TOGETHER}", partial(self._short, check, short), ends=True)
        for table in tables:
            *older, _newest = there = spans_of[table.name]
            if older:
                turns = self._turns(len(older))
                for number, span in enumerate(there):
                    yield _numbered(
                        f"{what} of {table.name}", number, len(older), partial(self._long, check, table, span), turns
                    )
            if what == "seals" and self.nights:
                self.wholes["sealed_rows"] = self.wholes.get("sealed_rows", 0) + self._asked(
                    partial(_counted, table=table), 0
                )

    def _short(self, check: OfTable, tables: Sequence[Table], counts: Counter[str]) -> Iterator[str]:
        # Each by itself: a statement that fails keeps others of its transaction from being answered.
        for table in tables:
            with self.workbench.book.reading(one_moment=True) as tx:
                yield from check(tx, table, WHOLE, counts)
                if check == self._sealed and self.nights:  # else the seals are asked, with their chain
                    yield from inspection.to_the_end(table.name, sealing.check_gone(tx, table))

    def _long(self, check: OfTable, table: Table, span: NumberSpan, counts: Counter[str]) -> Iterator[str]:
        with self.workbench.book.reading(one_moment=True) as tx:
            yield from check(tx, table, span, counts)

    def _rows(self, tx: Tx, table: Table, span: NumberSpan, _counts: Counter[str]) -> Iterator[str]:
        return inspection.check_table(tx, table, span)

    def _sealed(self, tx: Tx, table: Table, span: NumberSpan, counts: Counter[str]) -> Iterator[str]:
        return inspection.to_the_end(table.name, sealing.check_table(tx, table, span, counts))

    def _of_search(self, kind: str, spans_of: dict[str, list[NumberSpan]]) -> Iterator[VerificationPart]:
        """The entries of what can be searched for, as far as its rows are read together."""
        *older, _newest = there = spans_of[search.SOUGHT[kind].model.__tablename__]
        turns = self._turns(len(older))
        for number, span in enumerate(there):
            check = self._reading("search_entries", partial(search.check, kind=kind, span=span))
            yield _numbered(f"search of {kind}", number, len(older), check, turns)

    def _of_numbers(self, table: Table, check: OfNumbers, size: int) -> Iterator[VerificationPart]:
        """Rows of ``table`` that are checked by themselves, so many of them together."""
        *older, _newest = there = self._asked(lambda tx: inspection.parts(tx, table, size), [WHOLE])
        turns = self._turns(len(older))
        if self.nights:
            self.wholes[table.name] = self._asked(partial(_counted, table=table), 0)

        def read(span: NumberSpan, counts: Counter[str]) -> Iterator[str]:
            with self.workbench.book.reading(one_moment=True) as tx:
                query = select(func.count()).select_from(table).where(*inspection.within(table, span))
                counts[table.name] += tx.scalar(query) or 0
                yield from inspection.to_the_end(table.name, check(tx, span))

        for number, span in enumerate(there):
            yield _numbered(table.name, number, len(older), partial(read, span), turns)

    def _of_chain(self, one: Chain) -> Iterator[VerificationPart]:
        sealed, could_be = self._asked(lambda tx: segments.standing(tx, one), (0, 0))
        turns = self._turns(sealed)
        for number in range(max(sealed, could_be)):
            yield VerificationPart(
                f"{one.name} {number}", partial(self._segment, one, number), number >= sealed or number in turns
            )
        yield VerificationPart(f"{one.name} to the end", partial(self._end, one, max(sealed, could_be)), ends=True)

    def _segment(self, one: Chain, number: int, counts: Counter[str]) -> Iterator[str]:
        links, said = Links(), []
        with self.workbench.book.reading(one_moment=True) as tx:
            for sentence in inspection.to_the_end(one.name, segments.check(tx, one, number, links)):
                said.append(sentence)
                yield sentence
            sealed = segments.standing(tx, one)[0]
        counts[one.name] += links.count
        if self.keeper is not None and not said and number == sealed:
            with self.workbench.book.transaction(self.keeper) as tx:
                segments.keep(tx, one, number, links)

    def _end(self, one: Chain, behind: int, counts: Counter[str]) -> Iterator[str]:
        links = Links()
        with self.workbench.book.reading(one_moment=True) as tx:
            yield from inspection.to_the_end(one.name, segments.check_end(tx, one, links, behind=behind))
            self.wholes[one.name] = _counted(tx, Base.metadata.tables[one.name])
            if one.name == "audit_records":
                self.found.head = audit.head(tx)[1]
        counts[one.name] += links.count

    def _one_by_one(
        self, name: str, key: Any, check: Callable[[Tx, list[int]], Iterator[str]]
    ) -> Iterator[VerificationPart]:
        ids = self._asked(lambda tx: list(tx.scalars(select(key).order_by(key))), [])
        tonight = self.share(name, ids)

        def read(number: int, counts: Counter[str]) -> Iterator[str]:
            counts[name] += 1
            with self.workbench.book.reading() as tx:
                yield from inspection.to_the_end(name, check(tx, [number]))

        yield from (VerificationPart(f"{name} {number}", partial(read, number), number in tonight) for number in ids)

    def _of_lake(self) -> Iterator[VerificationPart]:
        """The days of the lake, those of a month together, and what lies beside them."""
        lake = self.workbench.lake
        days = health.known_days(lake)
        tonight = self.share("lake_days", [one.toordinal() for one in days])

        def read(chosen: Sequence[date], counts: Counter[str]) -> Iterator[str]:
            counts["lake_days"] += len(chosen)
            yield from (str(one) for one in lake.verify(set(chosen), rest=False))

        for month, some in groupby(days, key=lambda one: f"{one:%Y-%m}"):
            again = f"lake {month}" in self.again  # a day of it was wrong: all of them
            chosen = [one for one in some if again or one.toordinal() in tonight]
            yield VerificationPart(f"lake {month}", partial(read, chosen), bool(chosen), month == f"{days[-1]:%Y-%m}")
        yield VerificationPart(
            "lake",
            lambda _counts: (str(one) for one in chain(lake.verify((), rest=True), spool.verify(lake))),
            ends=True,
        )

    # ----------------------------------------------------------------------------------------------------- single checks

    def _guards(self, _counts: Counter[str]) -> Iterator[str]:
        for name in upgrade.missing_guards(self.workbench.book.engine):
            yield f"{name}: the trigger that keeps its table append-only is missing"

    def _accounts(self, counts: Counter[str]) -> Iterator[str]:
        with self.workbench.book.reading(one_moment=True) as tx:
            counts["accounts"] += tx.scalar(select(func.count()).select_from(Account)) or 0
            self.found.conserved = ledger.conserved(tx)
            if not self.found.conserved:
                yield "accounts: a pool's accounts do not sum to zero"
            yield from chain(
                ledger.check_accounts(tx), ledger.tree.check(tx), ledger.slicing.check(tx), conversions.check(tx)
            )

    def _judged(self, tx: Tx, ids: list[int]) -> Iterator[str]:
        yield from archives.check(tx, self.workbench.lake, ids)

    def _reported(self, tx: Tx, ids: list[int]) -> Iterator[str]:
        yield from reports.editions.check_readings(tx, self.workbench.lake.root, ids)

    def _anchored(self, places: Sequence[Path], trusted: str, counts: Counter[str]) -> Iterator[str]:
        outside, unread = anchors.read(places)
        yield from unread
        with self.workbench.book.reading(one_moment=True) as tx:
            yield from inspection.to_the_end("anchors", anchors.compare(tx, outside, trusted=trusted))
            counts["anchors"] += (tx.scalar(select(func.count()).select_from(anchors.Anchor)) or 0) + len(outside)


def _numbered(
    what: str, number: int, newest: int, check: Callable[[Counter[str]], Iterator[str]], turns: set[int | None]
) -> VerificationPart:
    """A part of what is read in several: the newest, to the end, gets its number once there is a newer one."""
    name = f"{what} {number}"
    if number == newest:
        return VerificationPart(f"{what} to the end", check, ends=True, stays=name)
    return VerificationPart(name, check, number in turns)


def _nights(night: date | None, since: date | None) -> list[date]:
    """Whose turns are read, at least that of ``night``: none where everything is."""
    if night is None:
        return []
    missed = 1 if since is None else min(max(1, (night - since).days), CAUGHT_UP)
    return [night - timedelta(days=past) for past in range(missed)]


def _listed(what: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in what.items())
