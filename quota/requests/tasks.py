"""What providers are told to do for a granted request, as its kind says it; ``providers.orders`` carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from quota.directory import CatalogItem
from quota.requests.tables import Request, RequestLine
from quota.units import NOTHING, Amount


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to be done: ``verb`` (of ``providers.base.Verb``) to the resource ``resource_id``, or to what it makes.

    ``place`` tells it from the other tasks of its request, and is the same whenever they are listed: it is part of its
    order's key. ``amounts`` (base units by kind): of what is made all, of what is changed what shall differ. ``line``: the line by
    which something is made, which says more of it (its kind's ``each``).
    """

    verb: str
    place: str
    amounts: Amount = NOTHING
    resource_id: int | None = None
    service: str = ""
    name: str = ""
    item: CatalogItem | None = None
    line: RequestLine | None = None


Tasks = Callable[[Request], Iterable[Task]]
"""The tasks of a request that was granted, by what is approved of it."""


def for_each_piece(verb: str) -> Tasks:
    """``verb`` makes every piece of every line; pieces that are an amount (200 of 1 GB of a volume) are one, of all of it."""

    def tasks(request: Request) -> Iterator[Task]:
        for line in request.lines:
            wanted, pieces = Amount.from_json(line.granted_amounts), line.granted_quantity
            if pieces and line.item is not None and line.item.by_amount:
                wanted, pieces = wanted * pieces, 1
            for piece in range(1, pieces + 1):
                name = f"{line.name}-{piece:02d}" if line.name and pieces > 1 else line.name
                yield Task(
                    verb, f"{line.position}:{piece}", wanted, service=line.service, name=name, item=line.item, line=line
                )

    return tasks


def for_the_resource(verb: str) -> Tasks:
    """``verb`` is done to the resource that the request is about; it names what shall differ, where the request does."""

    def tasks(request: Request) -> Iterator[Task]:
        for line in request.lines:
            wanted = Amount.from_json(line.granted_amounts) if line.asked else NOTHING
            changed = wanted.differing(Amount.from_json(line.current))
            for piece in range(1, line.granted_quantity + 1):
                yield Task(verb, f"{line.position}:{piece}", changed, request.resource_id, item=line.item)

    return tasks
