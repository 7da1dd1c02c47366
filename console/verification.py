"""Everything that can be proven about the book and the lake, in one go: the command, the job and the page use this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from console import schema
from metering import certificates, findings, statements
from metering.works import Progress, Works, silent
from providers import marks
from quota import attachments, audit, ledger


@dataclass(slots=True)
class Verification:
    """What was checked and what does not fit; ``problems`` name rows and files."""

    checked: dict[str, int] = field(default_factory=dict)
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
            "problems": self.problems,
        }

    def lines(self) -> Iterator[str]:
        yield from self.problems
        what = ", ".join(f"{count} {name}" for name, count in self.checked.items())
        yield f"{'clean' if self.clean else f'{len(self.problems)} problems'}: {what}; audit head {self.head}"


def examine(works: Works, progress: Progress = silent) -> Verification:
    """Recompute every seal and balance, look for the guards, and check the lake's files."""
    found = Verification()
    progress("verify", 0, 3)
    for name in schema.missing_guards(works.book.engine):
        found.problems.append(f"{name}: the trigger that keeps its table append-only is missing")
    with works.book.reading() as tx:
        found.problems += list(audit.check(tx))
        found.checked["audit records"], found.head = audit.head(tx)
        progress("verify", 1, 3)
        found.problems += list(ledger.check(tx))
        found.conserved = ledger.conserved(tx)
        if not found.conserved:
            found.problems.append("accounts: a pool's accounts do not sum to zero")
        found.checked["accounts"] = len(ledger.balances(tx))
        found.problems += list(marks.check(tx))
        found.problems += list(attachments.check(tx))
        found.problems += list(certificates.check(tx))
        found.problems += list(statements.check(tx))
        found.problems += list(findings.check(tx))
    progress("verify", 2, 3)
    problems = works.lake.verify()
    found.problems += [str(one) for one in problems]
    found.checked["lake files"] = int(works.lake.status().files)
    progress("verify", 3, 3)
    return found
