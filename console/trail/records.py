"""A record of the trail as it leaves the house. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quota.seals import GENESIS, link, plain


@dataclass(frozen=True, slots=True)
class TrailGap:
    """The trail does not go on where it was left: from ``after`` on ``wanted`` should follow, and ``found`` does."""

    after: int
    found: int
    why: str  # missing, altered, cut


@dataclass(frozen=True, slots=True)
class ExportedRecord:
    """``content``: what the digest covers; ``previous``: the digest of the record before."""

    sequence: int
    at: datetime
    action: str
    content: Mapping[str, Any]
    previous: str
    digest: str

    @property
    def fits(self) -> bool:
        """Whether it is what was sealed, after the record that came before."""
        return link(self.previous, self.content) == self.digest

    def line(self) -> str:
        """One line of JSON, with both digests."""
        told = {**plain(self.content), "previous": self.previous, "digest": self.digest}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def read(line: str) -> tuple[int, str]:
    """(sequence, digest) of a line. Raises ValueError where it is none."""
    try:
        told = json.loads(line)
        return int(told["sequence"]), str(told["digest"])
    except (KeyError, TypeError, ValueError) as trouble:
        raise ValueError(f"not a line of the trail: {line[:80]!r}") from trouble


def check(lines: list[str], previous: str = GENESIS) -> int | None:
    """Prove a chain by its lines alone: the sequence of the first that does not fit, None where all do."""
    for line in lines:
        told = json.loads(line)
        claimed, digest = told.pop("previous"), told.pop("digest")
        if claimed != previous or link(previous, told) != digest:
            return int(told["sequence"])
        previous = digest
    return None
