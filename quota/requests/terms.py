"""使用期限: until when what was asked for is needed, how a term is moved, and who is told in time that it ends.

Nothing is taken away because a term ends: the department is reminded 30, 14 and 7 days before, once each, and asks for
an extension or returns what it has; what was lent to it goes back by itself (``RequestKind.returns``). While an extension waits for us there are no reminders: it was asked for in time.
Nor are there of what is reserved for a window to come: nothing was lent yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import aliased

from quota.calendar import ZONE
from quota.directory import departments
from quota.errors import N_, Invalid, NotFound
from quota.requests import reservations
from quota.requests.declarations import bounded, kind_of, known
from quota.requests.tables import OPEN, Request, RequestState

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.inventory import Resource

REMINDED = (7, 14, 30)
"""Days before the end of a term at which the department is reminded. Our default."""

GRANTED = (RequestState.APPROVED, RequestState.DELIVERING, RequestState.ACCEPTING, RequestState.DONE)

Holding = Callable[["Tx", Request, int], bool]
_holdings: list[Holding] = []
Behind = Callable[["Tx", "Resource"], Sequence[Request]]
_behind: list[Behind] = []


def held(holding: Holding) -> Holding:
    """Have ``holding`` asked whether a department (id) has something that is there by a request (a decorator): it may ask for a
    longer term then, although the request was another's."""
    if holding not in _holdings:
        _holdings.append(holding)
    return holding


def granting(behind: Behind) -> Behind:
    """Have ``behind`` asked which requests a resource is there for as it is, with those that lend it something (a decorator)."""
    if behind not in _behind:
        _behind.append(behind)
    return behind


def granted(tx: Tx, resource: Resource) -> list[Request]:
    """The requests that a resource is there for as it is: what it came by, what changed its shape, what lends it something."""
    return [one for each in _behind for one in each(tx, resource)]


def running(request: Request) -> bool:
    """Whether ``request`` gave the department something for a term."""
    return request.use_until is not None and kind_of(request).lasting and request.state in GRANTED


def ending(before: date) -> ColumnElement[bool]:
    """Requests whose term ends before ``before``, as a condition for a query."""
    lasting = [kind.code for kind in known() if kind.lasting]
    return and_(Request.use_until < before, Request.kind.in_(lasting), Request.state.in_(GRANTED))


def extendable(tx: Tx, request_id: int, extension: Request) -> Request:
    """The request that ``extension`` is about. NotFound where it is not its department's, nor anything that its department has is
    there by it; Invalid without a term."""
    found = tx.get(Request, request_id)
    if found is None or not _may_extend(tx, found, extension.department_id):
        raise NotFound("request.none", N_("没有编号为 %(id)s 的申请"), id=request_id)
    if not running(found):
        raise Invalid("extend.no_term", N_("申请 %(number)s 没有可以延长的使用期限"), number=found.number)
    return found


def _may_extend(tx: Tx, request: Request, department_id: int) -> bool:
    own = departments.successor(request.department).id == department_id
    return own or any(holding(tx, request, department_id) for holding in _holdings)


def extension(tx: Tx, request: Request, apart_from: int | None = None) -> Request | None:
    """The extension of ``request`` that is under way, other than ``apart_from``."""
    query = select(Request).where(Request.extends_id == request.id, Request.state.in_(OPEN))
    return tx.scalar(query.where(Request.id != apart_from) if apart_from is not None else query)


def moved_by(tx: Tx, request: Request, until: date) -> Request | None:
    """The newest request that moved the term of ``request``, to ``until`` or later, or ended it."""
    as_far = or_(Request.use_until >= until, Request.use_until.is_(None))
    moved = and_(Request.extends_id == request.id, Request.state.in_(GRANTED), as_far)
    return tx.scalar(select(Request).where(moved).order_by(Request.id.desc()).limit(1))


def passed(tx: Tx, request: Request) -> bool:
    """Whether the term that ``request`` asks for has passed, while it waited."""
    ends = kind_of(request).ends
    at = ends(request) if ends is not None else None
    by_day = request.use_until is not None and request.use_until < tx.now.astimezone(ZONE).date()
    return by_day or (at is not None and at <= tx.now)


def anew(tx: Tx, request: Request) -> date | None:
    """The term that a request asks for whose own has passed: as long as was asked for, from today on; None without one. What was to
    begin later was asked for from then on."""
    if request.use_until is None:
        return None
    asked, starts = request.submitted_at or request.created_at, kind_of(request).starts
    begins = max(asked, (starts(request) if starts is not None else None) or asked).astimezone(ZONE).date()
    return tx.now.astimezone(ZONE).date() + max(request.use_until - begins, timedelta(days=1))


def set_anew(tx: Tx, request: Request, until: date | None) -> None:
    """Give ``request`` the term ``until`` in place of the one that passed while it waited. Raises Invalid where none,
    one that has passed as well, or one that its kind does not allow is given."""
    if until is None or until < tx.now.astimezone(ZONE).date():
        raise Invalid(
            "approve.term_passed",
            N_("申请的使用期限 %(until)s 在办理期间已过,请填写新的使用期限,或退回由单位重报"),
            until=str(request.use_until),
            field="use_until",
        )
    bounded(tx, request, until)
    request.use_until = until


def ends_at(day: date) -> datetime:
    """The last minute of a term that lasts until ``day``."""
    return datetime.combine(day, time(23, 59), ZONE)


def to_remind(tx: Tx, apart_from: Collection[int] = ()) -> list[tuple[Request, int]]:
    """Requests whose term ends within 30 days, and the reminder that is due for each: 30, 14 or 7.

    Without those that ended already, those that wait for their window, those with an extension under way, and ``apart_from``.
    """
    today = tx.now.astimezone(ZONE).date()
    asked = aliased(Request)
    query = select(Request).where(
        ending(today + timedelta(days=max(REMINDED) + 1)),
        Request.use_until >= today,
        Request.id.not_in(reservations.later(tx.now)),
        ~exists().where(asked.extends_id == Request.id, asked.state.in_(OPEN)),
    )
    rows = tx.scalars(query.order_by(Request.use_until, Request.id)).all()
    return [
        (one, next(days for days in REMINDED if one.use_until <= today + timedelta(days=days)))
        for one in rows
        if one.use_until is not None and one.id not in apart_from
    ]
