"""The contract between the steward and a cloud: what an adapter can tell, and what it can be told to do.

An adapter is one module a kind of cloud. It knows nothing of the book, of HTTP or of other adapters: it turns what a
cloud says into the facts below, and orders into what the cloud understands. Facts are evidence, never corrected here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from quota.inventory import ResourceState as ResourceState  # the book's words, which adapters speak: given out here
from quota.inventory import ServiceKind as ServiceKind
from quota.units import CLASSES, Amount, Arch, ClassCode

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Array = NDArray[Any]


class Verb(StrEnum):
    """What an order asks a cloud to do. ``RECYCLE`` is a delete that can be taken back by ``RESTORE``; ``SET_QUOTA`` is about a
    project, all others about resources."""

    CREATE = "create"
    RESIZE = "resize"
    STOP = "stop"
    START = "start"
    SNAPSHOT = "snapshot"
    RECYCLE = "recycle"
    RESTORE = "restore"
    DELETE = "delete"
    SET_QUOTA = "set_quota"


ON_RESOURCES = frozenset(Verb) - {Verb.SET_QUOTA}

HOSTS = frozenset({ServiceKind.VM, ServiceKind.BARE_METAL})
"""What runs, and may stand still."""


@dataclass(frozen=True, slots=True)
class ProjectFact:
    """A project (tenant, account) of a cloud as the cloud names it. ``external_id`` stays when it is renamed; name, domain
    and tags are empty where they could not be read."""

    external_id: str
    name: str = ""
    domain: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceFact:
    """One resource as its cloud describes it at one moment. ``amounts`` in base units of quota.units.

    ``cloud_state``: the state in the cloud's own word, kept beside ours. ``project``: the project in which it lies, where the
    cloud has any: whose that is, people say. ``placed`` False: where a pool is a part of its cloud, nobody there knows at the moment
    whether this lies in it; it counts only where the book has it in the pool already.
    """

    external_id: str
    name: str
    kind: ServiceKind
    arch: Arch
    amounts: Mapping[ClassCode, int]
    state: ResourceState
    department_code: str | None = None
    system_code: str | None = None
    created_at: datetime | None = None
    stopped_at: datetime | None = None
    attached_to: str | None = None
    address: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    cloud_state: str = ""
    project: ProjectFact | None = None
    placed: bool = True


@dataclass(frozen=True, slots=True)
class Inventory:
    """All resources of one pool. An incomplete listing never makes a resource "gone".

    ``short``: kinds of which this may not be all, each with why in the cloud's own words: nothing of them is gone by it,
    whatever else is. ``complete`` False: it may not be all of anything. ``projects``: those of the cloud that hold nothing, too.
    """

    as_of: datetime
    facts: list[ResourceFact]
    complete: bool = True
    short: Mapping[ServiceKind, str] = field(default_factory=dict)
    projects: Sequence[ProjectFact] = ()

    def tells(self, kind: ServiceKind) -> bool:
        """Whether all that there is of ``kind`` stands in it."""
        return self.complete and kind not in self.short


WIDEST_S = 3600
"""The widest sample that is believed: each collection asks again by more than that, so that none falls between two."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch of utilisation samples.

    ``table`` columns: ``resource`` int32 (index into ``external_ids``), ``ts`` int64 (epoch seconds UTC), any of the
    metric columns of ``providers.metrics.METRICS`` as floats (NaN = not reported) and, where the source tells, the
    capacity that it saw: ``vcpu`` (0 = off but reporting) and ``mem_mb``. ``width_s``, where it is told: for how many seconds
    from ``ts`` on a row speaks, where a store keeps means of an hour alone: at most ``WIDEST_S``. It covers each slot therein, and
    none of which anything finer speaks. Of figures that move by themselves (``Metric.telling``) such a row has one at most: what
    repeats itself in several for an hour is taken for a machine that is stuck.
    """

    source: str
    external_ids: list[str]
    table: pa.Table
    unfinished: bool = False  # the rest of its last file comes in the next batch


@dataclass(frozen=True, slots=True)
class Order:
    """What a cloud is told to do. ``key`` makes a second delivery of the same order harmless. ``project``: the cloud's id of
    the project in which something new is made, where it is known whose the cloud's projects are, or whose quota is set.
    ``limits``: what that quota shall be, base units; 0 is none of that class, one that is left out stays."""

    key: str
    verb: Verb
    kind: ServiceKind
    arch: Arch
    external_id: str | None = None
    amounts: Mapping[ClassCode, int] = field(default_factory=dict)
    name: str | None = None
    department_code: str | None = None
    system_code: str | None = None
    project: str | None = None
    limits: Mapping[ClassCode, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it; the same order is the same text, whatever order its amounts came in."""
        said: dict[str, Any] = {
            "key": self.key,
            "verb": self.verb.value,
            "kind": self.kind.value,
            "arch": self.arch.value,
            "external_id": self.external_id,
            "amounts": dict(sorted((kind, int(figure)) for kind, figure in self.amounts.items())),
            "name": self.name,
            "department_code": self.department_code,
            "system_code": self.system_code,
        }
        if self.project is not None:
            said["project"] = self.project
        if self.limits:
            said["limits"] = dict(sorted((kind, int(figure)) for kind, figure in self.limits.items()))
        return said

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Order:
        """The order that ``to_json`` wrote. Raises KeyError, ValueError or Refused for what it did not write."""
        return cls(
            key=said["key"],
            verb=Verb(said["verb"]),
            kind=ServiceKind(said["kind"]),
            arch=Arch(said["arch"]),
            external_id=said["external_id"],
            amounts=Amount.from_json(said["amounts"]),
            name=said["name"],
            department_code=said["department_code"],
            system_code=said["system_code"],
            project=said.get("project"),
            limits={CLASSES.known(kind): int(most) for kind, most in said.get("limits", {}).items()},
        )


class OutcomeState(StrEnum):
    DONE = "done"
    PENDING = "pending"
    FAILED = "failed"


BUSY = "busy"
"""Fault: not now, because something else is under way there or too much is asked at once. Later the same may succeed."""

REST = "rest"
"""Fault: not asked at all, because it did not answer before and is left alone for a while (providers.connection.Breaker)."""

OVER_QUOTA = "over_quota"
"""Fault: the cloud's own limit for the project does not admit it. Trying again helps only after somebody raised it."""

NEVER = "never"
"""Fault: it can't succeed as it is ordered, however often it is tried."""

STALLED = "stalled"
"""Fault: it was taken, and did not come to its end in the time that it may take. Whether it goes on is for somebody to look at."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order. ``message`` is the cloud's own word on a failure, or what it made (a snapshot's id).

    ``code`` of a failure: ``BUSY``, ``OVER_QUOTA``, ``NEVER``, ``STALLED`` or "" where the cloud does not tell; ``wait_s``: after how
    many seconds to look again, where the cloud or its adapter knows.
    """

    key: str
    state: OutcomeState
    at: datetime
    external_id: str | None = None
    amounts: Mapping[ClassCode, int] = field(default_factory=dict)
    message: str = ""
    code: str = ""
    wait_s: float | None = None


class CallState(StrEnum):
    """How far one call of a plan is. ``DROPPED``: it will not be sent, since what was before it failed or turned back."""

    WAITING = "waiting"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of an order's plan. ``name``: the adapter's own code for it ("confirm"); ``text``: what is sent, in the
    cloud's words; ``frees``: the classes that come free when it is done; ``final``: whether it can't be taken back;
    ``stops``: whether a running thing is down from then on, though the order's verb does not say so."""

    name: str
    text: str
    frees: frozenset[ClassCode] = frozenset()
    final: bool = False
    stops: bool = False


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as the journal holds it. ``facts``: what the adapter must know of it later (ids, former sizes); ``said``:
    the cloud's word."""

    place: int
    call: PlannedCall
    state: CallState
    facts: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""
    began_at: datetime | None = None
    ended_at: datetime | None = None


class OrderJournal(Protocol):
    """What was called for which order: durable, in the house's own store, for adapters of clouds that know no key.

    Each method has happened when it returns. Whatever dies between two of them, the next process reads how far it was.
    """

    def order(self, key: str) -> Order | None:
        """The order that was opened with that key."""

    def calls(self, key: str) -> list[CallRecord]:
        """Its calls in order; empty where there is no such order."""

    def open(self, order: Order, calls: Sequence[PlannedCall]) -> list[CallRecord]:
        """Enter an order with its plan, once; again it says what stands there."""

    def begin(self, key: str, place: int, at: datetime, facts: Mapping[str, Any] | None = None) -> bool:
        """Note that a waiting call is about to be sent. False where somebody else noted it before: it is not sent twice."""

    def note(
        self,
        key: str,
        place: int,
        state: CallState,
        at: datetime,
        *,
        facts: Mapping[str, Any] | None = None,
        said: str = "",
    ) -> None:
        """Note how a call ended; ``WAITING``: the cloud never took it, it is to be sent again. ``facts`` are added."""

    def turn(self, key: str, call: PlannedCall) -> int:
        """Turn back: drop what is still waiting, add ``call`` at the end, and say its place. Twice is once."""


class Provider(Protocol):
    """One pool's cloud, opened. Every call may raise ``ProviderFault``; none may half-do its work."""

    name: str
    capabilities: frozenset[Verb]
    live_resize: bool
    """Whether it changes the size of a running machine without stopping it: only then may the steward do so by itself."""
    releases: Mapping[Verb, Collection[ClassCode]]
    """Release map: which quota a verb frees on this kind of cloud (what stopping frees differs between clouds)."""

    def inventory(self, now: datetime) -> Inventory:
        """Every resource of the pool as of ``now``."""

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        """Samples with since <= ts < until, in batches; asking twice gives the same answer."""

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Carry out ``order``; the same key again returns the first outcome and does nothing."""

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """What became of the order with that ``key``, None where the cloud never took it; asking changes nothing."""


@runtime_checkable
class Planning(Protocol):
    """A cloud that can say beforehand what it would call for an order. For others a plan is one call."""

    def plan(self, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
        """What ``deliver`` and ``advance`` would call, in order; nothing is changed. Raises ProviderFault, with the code
        ``NEVER`` or ``OVER_QUOTA``, for an order that can't succeed."""


@runtime_checkable
class Advancing(Protocol):
    """A cloud whose orders take several calls: after ``deliver`` somebody has to go on."""

    def advance(self, key: str, now: datetime) -> Outcome:
        """Take an order that is under way one step further: send the next call where the last one is done, turn back where
        it failed. Safe again at any time, also by two at once; where there is nothing to do it says what ``inquire`` says."""


@runtime_checkable
class Parallel(Protocol):
    """A cloud that may be told several orders at a time, each through an instance of its own in a thread of its own."""

    at_once: int
    """How many at the most."""


@runtime_checkable
class Fetching(Protocol):
    """A cloud whose orders are fetched by somebody who calls. What he does not fetch in time, it never took."""

    def listed(self, now: datetime) -> datetime | None:
        """As of when the cloud was first listed since he last began to call; None while he does not call, or has not listed it since: then
        nothing is put there."""


@runtime_checkable
class Sharing(Protocol):
    """A cloud that knows which of its services do not answer."""

    def share(self, other: Provider) -> None:
        """Know it together with ``other``, opened of the same cloud: what one finds silent, neither asks."""


@runtime_checkable
class Journalled(Protocol):
    """A cloud without keys of its own: what it was told is kept by the house."""

    def keep_journal(self, journal: OrderJournal) -> None:
        """Told before any order is given; without a journal none may be carried out."""


class ProviderFault(Exception):
    """The cloud could not be reached or answered nonsense; ``transient`` tells whether to try again, ``code`` (of
    providers.connection.FAULTS) which kind of fault it is, where that is known; ``wait_s``: after how many seconds the
    cloud itself asks to be tried again; ``status``: what it answered by HTTP, where it did."""

    def __init__(
        self, message: str, *, transient: bool, code: str = "", wait_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.code = code
        self.wait_s = wait_s
        self.status = status


def planned(provider: Provider, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
    """What ``provider`` would call for ``order``; of one that does not say, the one call that hands it over."""
    if isinstance(provider, Planning):
        return provider.plan(order, now)
    frees = frozenset(provider.releases.get(order.verb, ()))
    about = order.external_id or order.name or ""
    stops = order.verb is Verb.RESIZE and order.kind in HOSTS and not provider.live_resize
    text = f"{order.verb} {order.kind} {about}".rstrip()
    return (PlannedCall(HANDED_OVER, text, frees, order.verb is Verb.DELETE, stops),)


HANDED_OVER = "deliver"
"""The name of a plan's only call where a cloud takes orders whole."""


class SheetFault(ProviderFault):
    """A listing lies at ``path`` whose columns nobody has said the meaning of: a person is asked."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message, transient=False, code="sheet")
        self.path = path


@runtime_checkable
class Asking(Protocol):
    """A cloud whose usage comes as files, some of which nobody can read until a person says what their columns mean."""

    def unexplained(self) -> list[tuple[Path, str]]:
        """Files that the last reading of samples left out for that, each with why."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What counters and gauges of machines said, as a store of metrics keeps it.

    ``series[i]`` are the labels of one series, its name as ``__name__`` and the machine in ``label``; point n belongs to
    series ``index[n]``, lies at ``ts[n]`` (milliseconds since 1970, UTC) and says ``value[n]``. They speak for the slots
    of since <= t < until; points before and after are there so that what counters rose by can be told at the edges.
    ``notes``: what the store said beside them, in its own words; ``origin``: which of its queries they answer, and where some
    of one origin differ, after which ``source`` those are written; ``doubts``: code of a reason → machines, by ``label``, of which
    something was not believed for it, and is not among the points.
    """

    series: Sequence[Mapping[str, str]]
    index: Array
    ts: Array
    value: Array
    label: str
    since: datetime
    until: datetime
    notes: tuple[str, ...] = ()
    origin: str = ""
    source: str = ""
    doubts: Mapping[str, Sequence[str]] = field(default_factory=dict)


PROBE_SERIES = "probe_success"
"""The series whose points say whether an endpoint answered: 1 or 0, every one of them, and of no machine."""


CERTIFICATE_SERIES = "probe_ssl_earliest_cert_expiry"
"""The series whose points say when the first certificate of an endpoint's chain ends: seconds since 1970."""


class QueryProof(StrEnum):
    """With what a meter's question was tried: with the exporter itself; with samples of known truth whose names, types, units
    and labels are those of the exporter's documentation, in a real store; by who wrote it (``OWN``); with nothing."""

    EXPORTER = "exporter"
    DOCUMENTED = "documented"
    OWN = "own"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One question that a meter asks its store: ``text`` as it is asked, for series that are known as ``series``; with what
    it was tried (``proof``), and the ``source`` that it is written after."""

    origin: str
    series: str
    text: str
    proof: QueryProof
    source: str


@runtime_checkable
class Queried(Protocol):
    """A meter that tells what it asks."""

    def queries(self) -> list[Query]:
        """Its questions, in order."""


@runtime_checkable
class Meter(Protocol):
    """A source of usage alone: it lists no resources and takes no orders."""

    name: str

    def readings(self, since: datetime, until: datetime, step_s: int) -> Iterator[Readings]:
        """What was measured in since <= t < until, both on edges of slots of ``step_s``, oldest first, in pieces that each
        stand by themselves. May end before ``until`` where the store is not sure yet. Raises ProviderFault."""


@runtime_checkable
class Probed(Protocol):
    """An adapter that can be asked whether its connection works."""

    def probe(self, now: datetime) -> str:
        """What answers there, in its own words ("Prometheus 2.42.0, 12 targets"). Raises ProviderFault with a ``code``."""


@runtime_checkable
class Clocked(Protocol):
    """An adapter whose other side tells what time it believes that it is."""

    def skew(self, now: datetime, /) -> timedelta | None:
        """How far the other side's clock is ahead of ours; None where it has not told yet. Raises ProviderFault."""


@runtime_checkable
class Remembering(Protocol):
    """A cloud whose usage lies in a store of its own, which may take samples in late and can be asked for any time anew: yesterday is
    asked for twice. ``remembers``: whether it does, as it was opened."""

    remembers: bool


@dataclass(frozen=True, slots=True)
class ProjectQuota:
    """What a cloud lets one project have, and what it counts as had. Base units; ``limits``: None means that there is no
    limit, and a class that is left out was not told. ``unified``: limits that stand beside these in a second place of the
    cloud (Keystone's), for people to compare."""

    project: ProjectFact
    limits: Mapping[ClassCode, int | None]
    used: Mapping[ClassCode, int]
    unified: Mapping[ClassCode, int | None] = field(default_factory=dict)


@runtime_checkable
class Quotas(Protocol):
    """A cloud that keeps a quota for each project."""

    def quotas(self, now: datetime) -> list[ProjectQuota]:
        """Of every project. Raises ProviderFault rather than leaving some out."""


@dataclass(frozen=True, slots=True)
class CloudCapacity:
    """What a cloud says that the pool has of one class, in base units: ``total`` of which ``reserved`` is kept from its
    guests, and each unit of the rest is given out ``ratio`` times; ``used``: what is given out, as the cloud counts."""

    kind: ClassCode
    total: int
    reserved: int
    ratio: Decimal
    used: int


@runtime_checkable
class Capacious(Protocol):
    """A cloud that tells what it has room for."""

    def capacity(self, now: datetime) -> list[CloudCapacity]:
        """Of the pool, a row a class at most. Raises ProviderFault rather than leaving a host out."""


CNY = "CNY"
"""The currency of all contracts."""


@dataclass(frozen=True, slots=True)
class BillFact:
    """One line of the company's own bill: what it wants paid of one kind of one resource in one month.

    ``quantity``: base units of quota.units × hours, as the company counted them; ``since`` <= t < ``until``: the part
    of the month that the line is for; ``cost``: what it wants for it, in ``currency``, None where the bill tells no money;
    ``payer``: the department that it bills, as it writes it. A claim,
    to be compared with own metering, never a fact.
    """

    month: str  # 2026-10
    external_id: str
    service: ServiceKind
    kind: ClassCode
    arch: Arch
    quantity: Decimal
    since: datetime
    until: datetime
    cost: Decimal | None = None
    currency: str = CNY
    payer: str = ""


class Responsibility(StrEnum):
    """Whose an incident is; settled before anything is deducted."""

    PROVIDER = "provider"
    TENANT = "tenant"
    THIRD_PARTY = "third_party"
    FORCE_MAJEURE = "force_majeure"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class IncidentFact:
    """One incident as the company reports it. ``level`` 1 (worst) to 4; ``affected`` empty: the whole pool.

    ``responded_at`` and ``recovered_at`` are None until it happened; ``announced_at`` only for maintenance, as the company says.
    """

    external_id: str
    level: int
    title: str
    started_at: datetime
    responded_at: datetime | None
    recovered_at: datetime | None
    responsibility: Responsibility
    affected: tuple[str, ...] = ()
    announced_at: datetime | None = None


@runtime_checkable
class Accountable(Protocol):
    """A cloud whose company also hands over its bill and its incident reports."""

    def bills(self, month: str) -> list[BillFact]:
        """The company's bill lines of the pool for ``month`` (2026-10, the city's time)."""

    def incidents(self, since: datetime, until: datetime) -> list[IncidentFact]:
        """Incidents that began, were answered or ended in since <= t < until, as known at ``until``."""


class CloudTells(StrEnum):
    """What a cloud may tell beside its listing and its samples."""

    CAPACITY = "capacity"  # Capacious
    QUOTAS = "quotas"  # Quotas
    ACCOUNTS = "accounts"  # Accountable


@runtime_checkable
class Relaying(Protocol):
    """An adapter that speaks for another one, which brings by itself what it reads: it has each of these methods, and answers by
    those that the other has."""

    @property
    def tells(self) -> Collection[CloudTells]:
        """What the one that it speaks for tells; asking speaks to nobody."""

    def brought_until(self, now: datetime) -> datetime:
        """Up to when all that the other one measured is here. Raises ProviderFault where nothing is, and where it could not be read
        the last time."""


def capacious(cloud: object) -> Capacious | None:
    """``cloud``, where it tells what it has room for."""
    return cloud if isinstance(cloud, Capacious) and _relayed(cloud, CloudTells.CAPACITY) else None


def quoting(cloud: object) -> Quotas | None:
    """``cloud``, where it keeps a quota for each project."""
    return cloud if isinstance(cloud, Quotas) and _relayed(cloud, CloudTells.QUOTAS) else None


def accountable(cloud: object) -> Accountable | None:
    """``cloud``, where its company hands over bills and incident reports."""
    return cloud if isinstance(cloud, Accountable) and _relayed(cloud, CloudTells.ACCOUNTS) else None


def _relayed(cloud: object, what: CloudTells) -> bool:
    return not isinstance(cloud, Relaying) or what in cloud.tells
