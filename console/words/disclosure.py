"""Texts that people of several departments read, told to each without the ids of others' resources.

Companies write into incidents which machines were affected, and every department reads them; scorecards rest on rows about
machines of all departments. Whoever may not see a resource (``quota.inventory.visible``) reads that it is another's instead
of its id. ``told`` is for free text, ``own_ids`` and ``ref`` for what is known to be an id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from flask import g
from sqlalchemy import select

from console.book import reading
from console.words.texts import _
from quota.db import among
from quota.errors import N_
from quota.inventory import Resource, disclosure, visible

NUMBERED = re.compile(r"resource:[0-9]+(/|$)")
ANOTHERS = N_("〔其他单位的资源〕")


def learn(texts: Iterable[Any]) -> None:
    """Ask the book of everything that ``texts`` could name at once."""
    if disclosure.sees_all(reading().actor):
        return
    known = _known()
    wanted = {word for text in texts if isinstance(text, str) for word in disclosure.words(text)} - known.keys()
    if wanted:
        known.update(dict.fromkeys(wanted, False))
        known.update(dict.fromkeys(disclosure.concealed(reading(), wanted), True))


def told(text: Any) -> Any:
    """``text`` as the reader may read it; anything but text as it stands."""
    if not isinstance(text, str) or disclosure.sees_all(reading().actor):
        return text
    learn([text])
    known = _known()
    if not any(known.get(word) for word in disclosure.words(text)):
        return text
    return disclosure.WORD.sub(lambda found: _masked(found[0], known), text)


def _masked(word: str, known: dict[str, bool]) -> str:
    if known.get(word):
        return _(ANOTHERS)
    return disclosure.PART.sub(lambda part: _(ANOTHERS) if known.get(part[0]) else part[0], word)


def own_ids(ids: Any) -> list[str]:
    """Of external ids those that the reader may see, and how many others there are. Ids that the book does not know are not
    the reader's either."""
    given = [one for one in ids or () if isinstance(one, str)]
    if disclosure.sees_all(reading().actor):
        return given
    own = _own(given)
    others = len([one for one in given if not own[one]])
    shown = [one for one in given if own[one]]
    return [*shown, _("其他单位的资源%(count)s项", count=others)] if others else shown


def ref(text: str) -> str:
    """``bill:7/i-12/vcpu`` as the reader may read it; ``resource:12`` of another's resource without its number."""
    head, *rest = text.split("/")
    kind, _colon, number = head.partition(":")
    if kind == "resource" and number.isdigit() and not may_name(int(number)):
        head = f"{kind}:{_(ANOTHERS)}"
    if kind == "bill" and rest:
        rest[0] = machine(rest[0])
    return "/".join([head, *map(told, rest)])


def machine(external_id: str) -> str:
    """The id of a machine on a bill, or that it is another's."""
    if disclosure.sees_all(reading().actor):
        return external_id
    return external_id if _own([external_id])[external_id] else _(ANOTHERS)


def _own(ids: Iterable[str]) -> dict[str, bool]:
    """Id → whether it is of a resource that the reader may see; asked of the book once a request."""
    own: dict[str, bool] = g.setdefault("own_machines", {})
    if fresh := set(ids) - own.keys():
        seen = disclosure.own(reading(), fresh)
        own.update({one: one in seen for one in fresh})
    return own


def learn_refs(refs: Iterable[str]) -> None:
    """Ask of all that these rows name at once: resources by number, machines of bills, words."""
    tx = reading()
    if disclosure.sees_all(tx.actor):
        return
    refs = list(refs)
    learn([part for one in refs for part in one.split("/")[1:]])
    numbers = {int(one.split("/")[0].partition(":")[2]) for one in refs if NUMBERED.match(one)}
    nameable: dict[int, bool] = g.setdefault("named_resources", {})
    if asked := numbers - nameable.keys():
        query = select(Resource.id).where(among(Resource.id, asked), visible(tx, tx.actor))
        nameable.update({**dict.fromkeys(asked, False), **dict.fromkeys(tx.scalars(query), True)})
    _own(one.split("/")[1] for one in refs if one.startswith("bill:") and "/" in one)


def may_name(resource_id: int) -> bool:
    """Whether the reader may know of the resource."""
    tx = reading()
    if disclosure.sees_all(tx.actor):
        return True
    known: dict[int, bool] = g.setdefault("named_resources", {})
    if resource_id not in known:
        query = select(Resource.id).where(Resource.id == resource_id, visible(tx, tx.actor))
        known[resource_id] = tx.scalar(query) is not None
    return known[resource_id]


def _known() -> dict[str, bool]:
    known: dict[str, bool] = g.setdefault("concealed_words", {})
    return known


def _refs(texts: Sequence[str]) -> list[str]:
    return [ref(one) for one in texts]


FILTERS = {"told": told, "own_ids": own_ids, "ref_told": ref, "refs_told": _refs}
