"""What approval rules may know of a request, looked up when it is handed in and kept with it.

A storey above that measures or prices registers a fact of its own: its name, what it is, and how it is seen. None: it is not
known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from quota import attachments, ledger
from quota.calendar import ZONE
from quota.directory import DatedEntry, DatedKind, Department, Duty, ProjectState, dated, funded_projects, headships
from quota.requests.declarations import PURPOSE, Lines, kind_of
from quota.requests.rules import ADDED, FACTS, NAMED, RuleFact
from quota.requests.tables import Request, RequestLine
from quota.units import BLOCK, CLASSES, MEMORY, VCPU, ClassCode, shown

if TYPE_CHECKING:
    from quota.db import Tx

PAPERS_LATER = "papers_later"
"""In the ``info`` of a trial: what is to be put forward is not there yet, and so not known."""

NO_PROJECT = "none"
"""What the fact ``project`` says of a system for which no project is registered."""

Sees = Callable[["Tx", Request], Any]
_SEEN: dict[str, Sees] = {}
Looks = Callable[["Tx", Request], Mapping[str, Any]]
_LOOKS: dict[tuple[str, ...], Looks] = {}


def register(name: str, fact: RuleFact, sees: Sees) -> None:
    """Let rules speak of ``name``, whose value of a request ``sees`` tells. ValueError for a name that is taken."""
    if name in FACTS and _SEEN.get(name) is not sees:
        raise ValueError(f"the fact {name!r} is another's")
    FACTS[name] = fact
    _SEEN[name] = sees


def register_together(named: Mapping[str, RuleFact], look: Looks) -> None:
    """Let rules speak of all that is ``named``, whose values of a request one ``look`` tells. ValueError for a name that is taken."""
    names = tuple(named)
    if _LOOKS.get(names) is not look and (taken := [name for name in names if name in FACTS]):
        raise ValueError(f"the facts {taken} are another's")
    FACTS.update(named)
    _LOOKS[names] = look


def facts(tx: Tx, request: Request, takes: ledger.Classes, over_quota: bool) -> dict[str, Any]:
    """The value of every fact (quota.requests.rules.FACTS) of ``request``, which would take ``takes``; as JSON."""
    kind = kind_of(request)
    return {
        **{name: fact.least for name, fact in FACTS.items()},
        "kind": request.kind,
        "services": sorted({line.service for line in request.lines if line.service}),
        "quantity": sum(line.quantity for line in request.lines),
        **_amounts(takes),
        **_shapes(request),
        "grows": bool(takes),
        "direction": request.direction.value,
        "growth_percent": _growth(request),
        "over_quota": over_quota,
        **_place(request),
        **_papers(tx, request),
        **_project(tx, request),
        **_dated(tx, request),
        "headed": _headed(tx, request),
        **_term(tx, request),
        **{name: sees(tx, request) for name, sees in _SEEN.items()},
        **{name: value for look in _LOOKS.values() for name, value in look(tx, request).items()},
        **kind.sees(request),
    }


def _amounts(takes: ledger.Classes) -> dict[str, int | float]:
    """How much of every resource class is taken, in shown units."""
    sums = dict.fromkeys(CLASSES, 0)
    for cls, amount in takes.items():
        sums[cls.kind] += amount
    return {NAMED.get(code, f"{ADDED}{code}"): _plain(code, amount) for code, amount in sums.items()}


def _plain(code: ClassCode, amount: int) -> int | float:
    figure = float(shown(code, amount))
    return int(figure) if figure.is_integer() else figure


def _shapes(request: Request) -> dict[str, Any]:
    """What a piece has of what shall be of a shape of its own: the least, the most, and what all of them are multiples of. Of what is
    there already only what shall be otherwise was chosen."""
    says = kind_of(request).lines
    own = [one for one in request.lines if one.item_id is None] if says is not None and _shaped(says) else []
    chosen = [(one, _chosen(request, one)) for one in own]
    found: dict[str, Any] = {"own_shape": any(codes for _one, codes in chosen)}
    for code in (VCPU, MEMORY, BLOCK):
        each = [one.asked[code] for one, codes in chosen if code in codes and one.asked.get(code, 0) > 0]
        for word, of in (("least", min), ("most", max), ("step", _common)):
            found[f"shape_{NAMED[code]}_{word}"] = _plain(code, of(each)) if each else None
    ratios = [
        float(shown(MEMORY, one.asked[MEMORY])) / one.asked[VCPU]
        for one, codes in chosen
        if codes & {VCPU, MEMORY} and one.asked.get(VCPU, 0) > 0 and one.asked.get(MEMORY, 0) > 0
    ]
    return {**found, "gb_per_vcpu_least": min(ratios, default=None), "gb_per_vcpu_most": max(ratios, default=None)}


def _chosen(request: Request, line: RequestLine) -> set[ClassCode]:
    """The classes of which ``line`` asks for otherwise than what it is about has."""
    moved = request.resource if kind_of(request).moves else None
    had = line.current if moved is None else moved.booked
    return {ClassCode(code) for code in {*line.asked, *had} if line.asked.get(code, 0) != had.get(code, 0)}


def _shaped(says: Lines) -> bool:
    """Whether lines that say so name what a piece shall have, and may name an item of the catalogue instead."""
    return says.items and says.wanted and not says.signed


def _common(amounts: list[int]) -> int:
    return math.gcd(*amounts)


def _growth(request: Request) -> float | None:
    """By how many per cent the class grows that grows most; None where something comes to be that was not there."""
    most = 0.0
    for line in request.lines:
        for code, more in line.difference().items():
            if more > 0:
                has = line.current.get(code, 0) * line.quantity
                if not has:
                    return None
                most = max(most, 100 * more / has)
    return round(most, 2)


def _place(request: Request) -> dict[str, Any]:
    """Whose it is, what for, and where."""
    pool, system = request.pool, request.system
    return {
        "xinchuang": pool.xinchuang,
        "pool": pool.code,
        "provider": pool.provider.code,
        "zone": pool.zone,
        "arch": pool.arch,
        **whose(request.department),
        "system": system is not None,
        "mlps_level": system.mlps_level if system is not None else None,
    }


def whose(department: Department) -> dict[str, Any]:
    """The facts that tell whose something is."""
    return {"department": department.code, "departments": [one.code for one in _line(department)]}


def _papers(tx: Tx, request: Request) -> dict[str, Any]:
    """What was filled in and put forward, and how old the assessments of its system are."""
    system, today = request.system, tx.now.astimezone(ZONE).date()

    def age(day: date | None) -> int | None:
        return (today - day).days if day is not None else None

    return {
        "mlps_record": bool(system.mlps_record) if system is not None else None,
        "mlps_age_days": age(system.mlps_assessed_on) if system is not None else None,
        "crypto_age_days": age(system.crypto_assessed_on) if system is not None else None,
        "purpose": request.fields.get(PURPOSE, ""),
        "filled": sorted(
            name
            for name in {*request.fields, *(each for line in request.lines for each in line.fields)}
            if request.says(name)
        ),
        "annexes": annexes(tx, request),
    }


def _project(tx: Tx, request: Request) -> dict[str, Any]:
    """The project of its system that its department or one above it keeps: of several the one that still runs and is due last."""
    if request.system is None:
        return {"project": None, "project_days_left": None}
    today = tx.now.astimezone(ZONE).date()
    found = next(iter(funded_projects.counted(tx, request.system)), None)
    state = found.state(today) if found is not None else None
    runs = found is not None and state in (ProjectState.RUNNING, ProjectState.LATE)
    return {
        "project": state.value if state is not None else NO_PROJECT,
        "project_days_left": (found.due_on - today).days if found is not None and runs else None,
    }


def _dated(tx: Tx, request: Request) -> dict[str, Any]:
    """What of its system, and whose access to its department, has ended and nobody closed."""
    own = DatedEntry.kind == DatedKind.ACCESS.value, DatedEntry.department_id == request.department_id
    of_system = DatedEntry.kind != DatedKind.ACCESS.value, DatedEntry.system_id == request.system_id
    return {
        "ended_entries": dated.ended(tx, *of_system) if request.system_id is not None else None,
        "ended_access": dated.ended(tx, *own),
    }


def _headed(tx: Tx, request: Request) -> bool:
    today = tx.now.astimezone(ZONE).date()
    return Duty.HEAD in headships.standing(tx, [request.department_id], today)[request.department_id]


def annexes(tx: Tx, request: Request) -> list[str] | None:
    """What was put forward, by what it is called; None where that is not known yet."""
    if request.id is None or PAPERS_LATER in tx.info:
        return None
    return sorted({one.label for one in attachments.of(tx, request.subject).values() if one.label})


def _line(department: Department) -> Iterator[Department]:
    """The department and all above it."""
    one: Department | None = department
    while one is not None:
        yield one
        one = one.parent


def _term(tx: Tx, request: Request) -> dict[str, Any]:
    today = tx.now.astimezone(ZONE).date()
    until = request.use_until
    of = tx.get(Request, request.extends_id) if request.extends_id is not None else None
    delivered = of.delivered_at if of is not None else None
    return {
        "lasts": until is None,
        "term_days": (until - today).days if until is not None else None,
        "trial_days": (today - delivered.astimezone(ZONE).date()).days if delivered is not None else None,
    }
