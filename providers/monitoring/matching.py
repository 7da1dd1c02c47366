"""Which alert tells of what: lines that people write, read and asked. Pure.

A line: ``alertname=EndpointDown, severity=critical|page -> pool=$pool system=oa level=2``. On its left are labels and what
they must say (``|`` parts alternatives, ``*`` stands for anything); on its right what the alert is about: a pool with, where
it is a system's alone, the system, by their codes, or ``$label`` for the code that a label says, and the level of the
incident; or ``endpoint=$label``, the target of a registered endpoint; or ``ignore``. The first line that fits counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from providers.incident_terms import LEVELS
from quota.errors import N_, Invalid

ARROW = "->"
MOST_LINES = 200
MOST_VALUE = 512
"""Characters of a label that is looked at."""

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"\$?[\w.:/\-]{1,128}")


@dataclass(frozen=True, slots=True)
class MappedTo:
    """What an alert is about: an endpoint's target, or codes of a pool and a system ("": the whole pool) with the level."""

    endpoint: str = ""
    pool: str = ""
    system: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class MappingLine:
    """One line. ``ignore``: the alert is of no interest."""

    when: Mapping[str, str]
    ignore: bool = False
    endpoint: str = ""
    pool: str = ""
    system: str = ""
    level: int = 0

    def fits(self, labels: Mapping[str, str]) -> bool:
        return all(
            any(fnmatchcase(labels.get(name, "")[:MOST_VALUE], one) for one in wanted.split("|"))
            for name, wanted in self.when.items()
        )

    def about(self, labels: Mapping[str, str]) -> MappedTo:
        """Whom this line names, for an alert with ``labels``."""

        def said(what: str) -> str:
            return labels.get(what[1:], "") if what.startswith("$") else what

        return MappedTo(said(self.endpoint), said(self.pool), said(self.system), self.level)

    def to_json(self) -> dict[str, Any]:
        told = {"endpoint": self.endpoint, "pool": self.pool, "system": self.system, "level": self.level}
        return {"when": dict(self.when), **({"ignore": True} if self.ignore else {k: v for k, v in told.items() if v})}

    def __str__(self) -> str:
        left = ", ".join(f"{name}={wanted}" for name, wanted in self.when.items())
        if self.ignore:
            return f"{left} {ARROW} ignore"
        told = {"endpoint": self.endpoint, "pool": self.pool, "system": self.system, "level": self.level}
        return f"{left} {ARROW} {' '.join(f'{name}={value}' for name, value in told.items() if value)}"


def first(lines: Sequence[MappingLine], labels: Mapping[str, str]) -> MappingLine | None:
    """The line that counts for an alert; None: no line says anything of it."""
    return next((line for line in lines if line.fits(labels)), None)


def from_json(raw: Sequence[Mapping[str, Any]]) -> list[MappingLine]:
    return [MappingLine(**one) for one in raw]


def read(text: str) -> list[MappingLine]:
    """The lines of ``text``; empty ones and those that begin with # say nothing. Raises Invalid with the line's number."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(_line(number, line))
    if not found:
        raise Invalid("alert_mapping.empty", N_("请至少写一行"), field="lines")
    if len(found) > MOST_LINES:
        raise Invalid("alert_mapping.many", N_("至多 %(most)s 行"), most=MOST_LINES, field="lines")
    return found


def _line(number: int, line: str) -> MappingLine:
    def wrong(what: str) -> Invalid:
        return Invalid("alert_mapping.line", N_("第 %(line)s 行:%(what)s"), line=number, what=what, field="lines")

    left, arrow, right = line.partition(ARROW)
    when: dict[str, str] = {}
    for part in left.split(","):
        name, equals, wanted = (piece.strip() for piece in part.partition("="))
        wanted = wanted.strip('"')
        if not (arrow and equals and wanted and _LABEL.fullmatch(name)) or name in when or len(wanted) > MOST_VALUE:
            raise wrong(part.strip()[:80] or line.strip()[:80])
        when[name] = wanted
    if right.strip() == "ignore":
        return MappingLine(when, ignore=True)
    told: dict[str, str] = {}
    for word in right.split():
        name, equals, value = word.partition("=")
        if name not in ("endpoint", "pool", "system", "level") or not _WORD.fullmatch(value) or name in told:
            raise wrong(word[:80])
        told[name] = value
    if "endpoint" in told:
        if len(told) > 1:
            raise wrong(right.strip()[:80])
        return MappingLine(when, endpoint=told["endpoint"])
    if "pool" not in told or told.get("level") not in {str(level) for level in LEVELS}:
        raise wrong(right.strip()[:80] or line.strip()[:80])
    return MappingLine(when, pool=told["pool"], system=told.get("system", ""), level=int(told["level"]))
