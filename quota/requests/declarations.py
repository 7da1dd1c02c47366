"""What sets one request kind apart from another, in one declaration each; ``quota.requests.kinds`` has a file for every one.

Verbs, forms, lists, orders and acceptance ask the declaration and name no request kind. What is registered is known from
then on everywhere: on the forms, in filters, to approval rules, to deliveries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from quota.errors import N_, NotFound
from quota.ledger import Holder
from quota.requests.rules import FACTS, RuleFact
from quota.requests.tables import Request
from quota.requests.tasks import Tasks
from quota.units import CLASSES, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.directory import Pool

CODE = re.compile(r"[a-z][a-z0-9_]{1,15}")


class About(StrEnum):
    """What a request is about, and so what its form's address names: ``pool=``, ``resource=``, ``request=``, or ``entry=`` with ``pool=``."""

    POOL = "pool"
    RESOURCE = "resource"
    TERM = "term"  # of an earlier request
    ENTRY = "entry"  # a row of a register; the pool is the one that it concerns


class Term(StrEnum):
    """Whether a request says until when: of what it is granted, or of the earlier request that it is about."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Compared(StrEnum):
    """What acceptance compares of a resource: every amount, those that the order names, or none."""

    ALL = "all"
    NAMED = "named"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Lines:
    """What the lines of a request may say. About a resource: one line of one piece that says what it has now."""

    wanted: bool = True  # what there shall be
    pieces: bool = False  # more than one, of one shape; a part approval takes pieces away, not figures
    items: bool = False  # an item of the catalogue in place of amounts
    signed: bool = False  # a change, negative where it returns, in place of what there shall be
    stands: bool = (
        False  # what the resource has as it runs: all of it or nothing, and nothing where it tells no amounts
    )
    named: tuple[ClassCode, ...] | None = ()  # the resource classes that the form offers; None: all that there are
    service: str = ""  # the only kind of service that is asked for; empty: any, and what names amounts is a machine

    def offered(self) -> tuple[ClassCode, ...]:
        """The resource classes that the form offers, as they are when it is made."""
        return tuple(CLASSES.open()) if self.named is None else self.named


@dataclass(frozen=True, slots=True)
class NumberBounds:
    """What a figure may be, and its unit."""

    least: Decimal | None = None
    most: Decimal | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class RequestAnnex:
    """A file that a form asks for, by what such a file is called."""

    label: str
    required: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RequestField:
    """One more thing that a form asks for. ``group``: the heading that it stands under; ``long``: more than a line of text;
    ``choices``: the only answers, by code; ``offers``: those that the book has for a pool, which the kind's ``check`` holds it to; ``day``: a day,
    kept as YYYY-MM-DD; ``each``: every line may say it for its own pieces, and the request for all lines that say nothing;
    ``number``: a figure within bounds; ``hint``: what to write."""

    name: str
    label: str
    group: str = ""
    long: bool = False
    required: bool = False
    choices: Mapping[str, str] | None = None
    offers: Callable[[Tx, Pool], Mapping[str, str]] | None = None
    day: bool = False
    each: bool = False
    number: NumberBounds | None = None
    hint: str = ""

    @property
    def unit(self) -> str:
        return self.number.unit if self.number is not None else ""

    def told(self, said: str) -> str:
        """What was said, as the form has it."""
        return f"{said} {self.unit}" if self.unit else (self.choices or {}).get(said, said)


PURPOSE = "purpose"
PURPOSES = {
    "production": N_("生产"), "test": N_("测试"), "development": N_("开发"), "emergency": N_("应急"), "event": N_("重保活动"),
}  # fmt: skip
"""What resources are asked for; rules speak of it, so codes are never changed."""


@dataclass(frozen=True, slots=True)
class EntryRegister:
    """A register whose rows requests may be about: what a row is, how one is found (NotFound where there is none, or the actor
    may not see it), and which of those that he may see are ``named`` by what somebody wrote: its number, or what it is called. A row knows its ``department_id``, its ``subject`` and what it is ``called``."""

    label: str
    find: Callable[[Tx, int], Any]
    named: Callable[[Tx, str], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """How the form asks for the justification: its name, what to write, and what is said where nothing was written."""

    label: str
    hint: str
    missing: str


SIZING = Question(
    N_("测算依据"), N_("写明并发、峰值、现有用量等;评审以此为据"), N_("请写明测算依据,例如并发、峰值和现有用量")
)


def _nothing(_request: Request) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class RequestKind:
    """A request kind: all that differs between it and the others. Codes are stored, so they are never changed.

    On the way: ``check`` refuses at hand-in what the declaration cannot say (Invalid, Conflict), after what it can; ``carries`` writes into
    it, each time that it is written, what of the thing that it is about holds on where nothing else was said;
    ``signed`` is what signatures are about beside pool, resource and lines, or fields where it has no lines; ``granted`` is what the last signature does
    beside posting; ``tasks`` is what providers are told then (None: nothing, the last signature ends it). ``facts`` are
    what approval rules may ask of it beside ``rules.FACTS``, ``sees`` their values of a request.
    """

    code: str
    label: str
    position: int  # in lists of request kinds
    about: About = About.POOL
    lines: Lines | None = None
    fields: tuple[RequestField, ...] = ()
    annexes: tuple[RequestAnnex, ...] = ()
    term: Term = Term.NONE
    why: Question = SIZING
    together: bool = False
    """Whether requests of it that are alike may be signed in one act: each is about one thing and as it stands, so that there
    is nothing to weigh but whether it is so."""
    counts_as: Holder | None = Holder.USED
    """What its amounts are in the ledger once they are granted: use, out of the department's own quota, what it borrowed,
    then the pool; or quota (GRANTED), out of the pool alone. None: nothing of the ledger is held or posted for it; ``granted``
    says what it leads to."""
    check: Callable[[Tx, Request], None] | None = None
    carries: Callable[[Tx, Request], None] | None = None
    signed: Callable[[Request], Mapping[str, Any]] = _nothing
    facts: Mapping[str, RuleFact] = field(default_factory=dict)
    sees: Callable[[Request], Mapping[str, Any]] = _nothing
    granted: Callable[[Tx, Request], None] | None = None
    tasks: Tasks | None = None
    compares: Compared = Compared.NOTHING
    returns: bool = False
    """Whether what it granted for a term is given back by itself when that is over: the resource is made what it was before."""
    ends: Callable[[Request], datetime | None] | None = None
    """When within the last day of its term what is given back by itself goes; None: when the day is over."""
    starts: Callable[[Request], datetime | None] | None = None
    """From when on what was granted is delivered, where that is for a window to come (``quota.requests.reservations``); None: at once."""
    moves: Callable[[Request], timedelta] | None = None
    """Where it makes anew, in another pool that the request names, what its resource is: for how long after acceptance both may be there
    before the department is asked. Both are counted until it says that it works with the new one (``providers.orders.migrations``); the
    line says what is made, and nothing of what there is."""
    bounds: Callable[[Tx, Request, date], None] | None = None
    """Refuses (Invalid) a day that is too far off as the end of what it grants, whether a request of it says so, an extension, or
    who decides after the day that was asked for has passed."""
    hint: str = ""
    """What it is for, where a department chooses what to ask for; it can be asked for out of the blue only with one."""
    invites: str = ""
    """The words of the button on the page of what it is about; there is none without them."""
    icon: str = ""
    services: frozenset[str] | None = None
    """For what kinds of service the page of a resource offers it; None: for all."""
    unapproved: bool = False
    """It is about a resource that nobody approved; all others about a resource are about one that was."""
    fits: Callable[[Request], bool] | None = None
    """About a term: to which earlier requests' pages it belongs; None: to all that have one."""
    summary: str = N_("%(number)s 延期至 %(until)s")
    """About a term: what is asked for in one line, of the request's number, until when."""
    by_itself: bool = True
    """Whether a sheet of many requests may ask for it; what something larger files together is asked for there alone."""
    register: EntryRegister | None = None
    """About an entry: the register that has it."""
    rejected: Callable[[Tx, Request], None] | None = None
    """What a rejection does beside ending it."""
    by_ticket: str = ""
    """Where the last signature ends it: the kind of ticket (``providers.tickets``) by which the company of its pool is told to do what was
    granted, and the department asked, when its term is over, whether it is to be undone."""
    headline: tuple[str, ...] = ()
    """The fields that say in one line what is asked for, where it has no lines."""

    @property
    def lasting(self) -> bool:
        """Whether what it grants is granted until a day, which can be moved."""
        return self.about not in (About.TERM, About.ENTRY) and self.term is not Term.NONE

    def offered_for(self, service: str, *, approved: bool = True) -> bool:
        """Whether the page of a resource of this kind of service offers it, approved or not."""
        fits = self.services is None or service in self.services
        return self.about is About.RESOURCE and fits and self.unapproved != approved

    @property
    def each(self) -> tuple[RequestField, ...]:
        """The fields that every line may say by itself."""
        return tuple(one for one in self.fields if one.each)

    def told(self, fields: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(label, what was said) of its fields that were filled in, in their order."""
        return [(one.label, one.told(str(fields[one.name]))) for one in self.fields if fields.get(one.name)]

    def groups(self) -> dict[str, list[RequestField]]:
        """Its fields under their headings, in order."""
        found: dict[str, list[RequestField]] = {}
        for one in self.fields:
            found.setdefault(one.group, []).append(one)
        return found


_REGISTERED: dict[str, RequestKind] = {}


def register(kind: RequestKind) -> RequestKind:
    """Make ``kind`` known. ValueError for one that contradicts itself, or whose code or facts are another's."""
    if not CODE.fullmatch(kind.code) or _REGISTERED.get(kind.code, kind) is not kind:
        raise ValueError(f"request kind {kind.code!r}: the code is taken, or not of a-z, 0-9 and _, 2 to 16 characters")
    names = [one.name for one in kind.fields]
    if len(names) != len(set(names)) or not set(kind.headline) <= set(names):
        raise ValueError(f"request kind {kind.code!r}: a field twice, or a headline of what is no field")
    if kind.each and (kind.lines is None or not kind.lines.pieces or any(one.day or one.offers for one in kind.each)):
        raise ValueError(f"request kind {kind.code!r}: what lines say for themselves are words, of lines of pieces")
    if kind.about is About.TERM and (kind.lines is not None or kind.term is Term.NONE):
        raise ValueError(f"request kind {kind.code!r}: about a term it has no lines and says until when")
    if (kind.about is About.ENTRY) != (kind.register is not None) or (kind.register and kind.lines is not None):
        raise ValueError(f"request kind {kind.code!r}: about an entry it names its register and has no lines")
    if kind.unapproved and kind.about is not About.RESOURCE:
        raise ValueError(f"request kind {kind.code!r}: only a resource can be unapproved")
    if kind.lines is not None and kind.lines.stands and not kind.unapproved:
        raise ValueError(f"request kind {kind.code!r}: what stands is booked once, when it is approved")
    if kind.returns and (kind.about is not About.RESOURCE or kind.term is not Term.REQUIRED or kind.tasks is None):
        raise ValueError(f"request kind {kind.code!r}: what is given back by itself is a resource's, and has a term")
    if kind.moves and (kind.about is not About.RESOURCE or kind.lines is None or not kind.lines.wanted or kind.returns):
        raise ValueError(f"request kind {kind.code!r}: what moves is a resource, and its line says what it is made as")
    if kind.by_ticket and (kind.about is not About.POOL or kind.tasks is not None or kind.lines is not None):
        raise ValueError(
            f"request kind {kind.code!r}: what a ticket carries out is about a pool, and has no lines or tasks"
        )
    uncounted = kind.counts_as is None
    if uncounted and (kind.tasks is not None or kind.granted is None or kind.lines is None or kind.lines.signed):
        raise ValueError(
            f"request kind {kind.code!r}: what is not counted says what it leads to, and gives nothing back"
        )
    if kind.counts_as not in (Holder.USED, Holder.GRANTED, None):
        raise ValueError(f"request kind {kind.code!r}: what is granted is used or quota")
    if any(FACTS.get(name, fact) != fact for name, fact in kind.facts.items()):
        raise ValueError(f"request kind {kind.code!r}: a fact of another meaning has this name")
    FACTS.update(kind.facts)
    _REGISTERED[kind.code] = kind
    return kind


def known() -> list[RequestKind]:
    """Every request kind, in the order of lists."""
    return sorted(_REGISTERED.values(), key=lambda kind: (kind.position, kind.code))


def declared(code: str) -> RequestKind:
    """The request kind of a code. NotFound where there is none."""
    if code not in _REGISTERED:
        raise NotFound("request.kind", N_("没有这种申请"))
    return _REGISTERED[code]


def kind_of(request: Request) -> RequestKind:
    """The request kind of ``request``."""
    return declared(request.kind)


def bounded(tx: Tx, request: Request, until: date) -> None:
    """Raise Invalid where ``until`` is too far off as the end of what the kind of ``request`` grants."""
    bounds = kind_of(request).bounds
    if bounds is not None:
        bounds(tx, request, until)


class Labels(Mapping[str, str]):
    """Code → label of every request kind that is known when it is looked at."""

    def __getitem__(self, code: str) -> str:
        return _REGISTERED[code].label

    def __iter__(self) -> Iterator[str]:
        return (kind.code for kind in known())

    def __len__(self) -> int:
        return len(_REGISTERED)


KIND_LABELS = Labels()
