"""What providers are told to do for a granted request, as its kind says it; ``providers.orders`` carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from quota.directory import CatalogItem
from quota.errors import N_, Invalid
from quota.requests.tables import Request, RequestLine
from quota.units import NOTHING, Amount


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to be done: ``verb`` (of ``providers.base.Verb``) to the resource ``resource_id``, or to what it makes.

    ``place`` tells it from the other tasks of its request, and is the same whenever they are listed: it is part of its
    order's key. ``amounts`` (base units by kind): of what is made all, of what is changed what shall differ. ``line``: the line by
    which something is made, which says more of it (its kind's ``each``); ``part_of``: what it is added to, in words, where it is a part.
    """

    verb: str
    place: str
    amounts: Amount = NOTHING
    resource_id: int | None = None
    service: str = ""
    name: str = ""
    item: CatalogItem | None = None
    line: RequestLine | None = None
    part_of: str = ""


Tasks = Callable[[Request], Iterable[Task]]
"""The tasks of a request that was granted, by what is approved of it."""


def for_each_piece(verb: str) -> Tasks:
    """``verb`` makes every piece of every line; pieces that are an amount (200 of 1 GB of a volume) are one, of all of it."""

    def tasks(request: Request) -> Iterator[Task]:
        for line in request.lines:
            wanted, pieces = Amount.from_json(line.granted_amounts), line.granted_quantity
            item = line.granted_item
            if pieces and item is not None and item.by_amount:
                wanted, pieces = wanted * pieces, 1
            for piece in range(1, pieces + 1):
                yield Task(
                    verb, f"{line.position}:{piece}", wanted, service=line.service, name=_named(line, piece, pieces),
                    item=item, line=line, part_of=_part_of(line, piece, pieces),
                )  # fmt: skip

    return tasks


def whole_of(line: RequestLine) -> RequestLine | None:
    """Of a part of the catalogue, the line of what it is added to: the nearest before it that is none; None of anything else, too."""
    if not _is_part(line):
        return None
    before = [one for one in line.request.lines if one.position < line.position and not _is_part(one)]
    return max(before, key=lambda one: one.position, default=None)


def check_parts(request: Request) -> None:
    """Refuse parts of the catalogue that do not follow what they fit, or not in a whole number for each: as asked, or as approved.
    What is about something that stands, a part or not, moves or changes it by itself."""
    for line in request.lines if request.resource_id is None else ():
        if line.item is None or not line.item.fits:
            continue
        told, whole = {"n": line.position, "name": line.item.name}, whole_of(line)
        as_what = whole.granted_item if whole is not None else None
        if whole is None or as_what is None or as_what.code not in line.item.fits:
            raise Invalid(
                "request.part", N_("第 %(n)s 行的“%(name)s”是加配件，须写在所配条目（%(fits)s）的下一行"),
                **told, fits="、".join(line.item.fits), field="lines",
            )  # fmt: skip
        pieces, wholes = line.granted_quantity, whole.granted_quantity
        if pieces and (not wholes or pieces % wholes):
            raise Invalid(
                "request.part_count", N_("第 %(n)s 行的“%(name)s”须是第 %(whole)s 行数量 %(count)s 的整倍数"),
                **told, whole=whole.position, count=wholes, field="lines",
            )  # fmt: skip


def _is_part(line: RequestLine) -> bool:
    return line.item is not None and bool(line.item.fits)


def _named(line: RequestLine, piece: int, pieces: int) -> str:
    return f"{line.name}-{piece:02d}" if line.name and pieces > 1 else line.name


def _part_of(line: RequestLine, piece: int, pieces: int) -> str:
    """Which piece of which line a part is added to: as many parts to each, in their order; all of them, where it is one amount for all."""
    whole = whole_of(line)
    as_what = whole.granted_item if whole is not None else None
    if whole is None or as_what is None or not whole.granted_quantity:
        return ""
    wholes = whole.granted_quantity
    if pieces < wholes:
        return " ".join(filter(None, (as_what.code, whole.name, f"1-{wholes}/{wholes}")))
    at = (piece - 1) * wholes // pieces + 1
    return " ".join(filter(None, (as_what.code, _named(whole, at, wholes), f"{at}/{wholes}")))


def for_the_resource(verb: str) -> Tasks:
    """``verb`` is done to the resource that the request is about; it names what shall differ, where the request does."""

    def tasks(request: Request) -> Iterator[Task]:
        for line in request.lines:
            wanted = Amount.from_json(line.granted_amounts) if line.asked else NOTHING
            changed = wanted.differing(Amount.from_json(line.current))
            for piece in range(1, line.granted_quantity + 1):
                yield Task(verb, f"{line.position}:{piece}", changed, request.resource_id, item=line.granted_item)

    return tasks
