"""Sealed segments: parts of a chain that was walked whole and found right, each with a digest over the numbers and digests of its
links, behind that of the segment before.

What is sealed needs not be walked again to go on behind it, and can be on request or in its turn: whoever changes an old link,
and everything after it so that it fits again, has another digest than the one that was kept. That one is a row under seal, told
to the audit trail when it was made, so that anchors cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from sqlalchemy import Select, String, select
from sqlalchemy.orm import Mapped, mapped_column

from quota import spans
from quota.base import Base, append_only
from quota.inspection import FAR
from quota.seals import GENESIS, link
from quota.spans import Links, NumberSpan
from quota.transactions import Tx


class SealedSegment(Base):
    """封存段: the links ``first`` to ``last`` of ``chain``, so many as ``links`` says; ``ends_with``: the digest of the last of them."""

    __tablename__ = "sealed_segments"

    chain: Mapped[str] = mapped_column(String(24), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first: Mapped[int]
    last: Mapped[int]
    links: Mapped[int]
    ends_with: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    sealed_at: Mapped[datetime]


append_only(SealedSegment.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Chain:
    """A history that is sealed in segments. ``walk`` yields what does not fit of its links of these numbers, and tells them;
    ``settled``: up to which number none is still to come; ``at``: the digest of one link, where each is behind the one before."""

    name: str
    walk: Callable[[Tx, NumberSpan, Links], Iterator[str]]
    settled: Callable[[Tx], int]
    at: Callable[[Tx, int], str | None] | None = None


def standing(tx: Tx, chain: Chain) -> tuple[int, int]:
    """(how many segments are sealed without a gap, how many could be). Neither is more than is walked in a night, whatever number
    somebody wrote into the book: what is behind is walked to its end."""
    numbers = tx.scalars(
        select(SealedSegment.number).where(SealedSegment.chain == chain.name).order_by(SealedSegment.number)
    )
    sealed = sum(1 for _same in takewhile(lambda pair: pair[0] == pair[1], enumerate(numbers)))
    return sealed, min(spans.whole(chain.settled(tx)), sealed + FAR)


def check(tx: Tx, chain: Chain, number: int, links: Links) -> Iterator[str]:
    """Walk the segment again; yield a sentence for each row that does not fit, naming it, and one where the segment is not what
    was sealed. One that is not sealed yet is walked alone."""
    yield from _joined(tx, chain, number)
    yield from chain.walk(tx, spans.span(number), links)
    segment = tx.get(SealedSegment, (chain.name, number))
    if segment is None:
        if tx.scalar(_of(chain).where(SealedSegment.number > number).limit(1)) is not None:
            yield f"sealed_segments: row {chain.name}/{number} is missing"
        return
    if _made(tx, chain, number, links) != (
        segment.first,
        segment.last,
        segment.links,
        segment.ends_with,
        segment.digest,
    ):
        yield (
            f"sealed_segments: row {chain.name}/{number} is not what was sealed on {segment.sealed_at:%Y-%m-%d}: it, or one of "
            f"{chain.name} {segment.first} to {segment.last}, was changed, added or removed"
        )


def check_end(tx: Tx, chain: Chain, links: Links, *, behind: int) -> Iterator[str]:
    """Walk what comes behind so many segments, to the end, from a link that is the one that the last of them was sealed with."""
    yield from _joined(tx, chain, behind)
    yield from chain.walk(tx, spans.behind(behind), links)


def _joined(tx: Tx, chain: Chain, number: int) -> Iterator[str]:
    """Whether the link behind which this segment begins is still the one that the segment before was sealed with."""
    last = tx.get(SealedSegment, (chain.name, number - 1)) if number else None
    if last is not None and chain.at is not None and chain.at(tx, last.last) != last.ends_with:
        yield (
            f"{chain.name}: row {last.last} is not the one that {chain.name}/{last.number} of sealed_segments ends with: "
            "the chain was rewritten at or before it"
        )


def keep(tx: Tx, chain: Chain, number: int, links: Links) -> SealedSegment | None:
    """Seal the segment, whose ``links`` were found right; None where another did, where the one before is not sealed, or where there
    are none: numbers far from all others were not given by the book, and what is sealed as empty could never be filled."""
    if not links.count:
        return None
    tx.alone("sealed_segments")
    newest = tx.scalar(_of(chain).order_by(SealedSegment.number.desc()).limit(1))
    if number != (0 if newest is None else newest.number + 1):
        return None
    first, last, many, end, digest = _made(tx, chain, number, links)
    row = SealedSegment(
        chain=chain.name,
        number=number,
        first=first,
        last=last,
        links=many,
        ends_with=end,
        digest=digest,
        sealed_at=tx.now,
    )
    tx.add(row)
    tx.audit(
        "house.segment",
        f"segment:{chain.name}/{number}",
        after={"first": first, "last": last, "links": many, "end": end, "digest": digest},
    )
    return row


def _made(tx: Tx, chain: Chain, number: int, links: Links) -> tuple[int, int, int, str, str]:
    """What a segment of these links says."""
    before = tx.get(SealedSegment, (chain.name, number - 1)) if number else None
    first, last = (spans.behind(number).low or 1), (spans.span(number).high or 0)
    content = {
        "chain": chain.name,
        "first": first,
        "last": last,
        "links": links.count,
        "end": links.end,
        "lines": links.digest,
    }
    return first, last, links.count, links.end, link(GENESIS if before is None else before.digest, content)


def _of(chain: Chain) -> Select[SealedSegment]:
    return select(SealedSegment).where(SealedSegment.chain == chain.name)
