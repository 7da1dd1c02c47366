"""What was reckoned of the book, and how it is written out, for as long as no row changes that it rests on.

Which rows changed is what their seals say: every transaction seals what it wrote, and each place (a table) that was sealed since
the last scrape is all that is read. So a scrape costs what changed, and is as fresh as the book all the same. Rows under another
seal hang on one that is under this one: a statement's lines on the statement, an assessment's findings on the assessment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, cast

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from quota import sealing
from quota.db import Tx

Value = TypeVar("Value")
Encoder = Callable[[Collector], bytes]

END = b"# EOF\n"
"""What OpenMetrics ends with, once for all families."""
FORMATS = 2
"""In so many formats a family is kept: what another scraper asks for beside the first."""


class ScrapeCache:
    """Of one process, for one reader at a time."""

    def __init__(self) -> None:
        self._until = 0
        self._changed: dict[str, int] = {}
        self._known: dict[str, tuple[object, object]] = {}

    def look(self, tx: Tx) -> None:
        """Learn which places changed since the last look. Before anything is read: what changes meanwhile is seen by the next."""
        newest, _digest = sealing.head(tx)
        if newest < self._until:  # another book under the same name: restored from a backup, founded anew
            self._until = 0
            self._known.clear()
        for place in sealing.changed(tx, self._until) if self._known else ():
            self._changed[place] = newest
        self._until = newest

    def of(self, name: str, places: Sequence[str], make: Callable[[], Value], *by: object) -> Value:
        """What ``make`` finds; made anew where a row of ``places`` has changed, or what else it is made ``by``."""
        key = ([self._changed.get(place) for place in places], by)
        known = self._known.get(name)
        if known is None or known[0] != key:
            self._known[name] = known = (key, make())
        return cast("Value", known[1])


class Family:
    """A family of samples that stays as it is, with how it is written in the formats that were asked for."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.written: dict[str, bytes] = {}


def families(metrics: Iterable[Metric]) -> list[Family]:
    return [Family(one) for one in metrics]


class One(Collector):
    """A registry of one family: what an encoder takes."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self.metric


def write(family: Family, encode: Encoder, content_type: str) -> bytes:
    """The family as ``encode`` writes it, without the end of the whole."""
    known = family.written.get(content_type)
    if known is None:
        if len(family.written) >= FORMATS:
            family.written.clear()
        known = family.written[content_type] = encode(One(family.metric)).removesuffix(END)
    return known
