"""The verbs of tickets: filed by a department, answered, asked back, handed on, solved by who handles them; confirmed, reopened or
withdrawn by the department. Every act is a step that stays, and says whose turn it is next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from providers.incident_terms import LEVELS
from providers.ticket_terms import DEFAULT_TICKETS, TicketTerms
from providers.tickets import clock
from providers.tickets.tables import (
    DEPARTMENTS_TURN,
    HANDLERS_TURN,
    OPEN_TICKETS,
    UNDONE,
    Ticket,
    TicketAct,
    TicketKind,
    TicketState,
    TicketStep,
    TicketTurn,
    ticket,
)
from quota.actors import Role
from quota.calendar import WorkingDays, working_days
from quota.directory import Department, Pool, System, must_be_open
from quota.errors import N_, Conflict, Invalid, NotAllowed, WrongState, stated
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

MOST = 4000
"""Characters of what anybody writes."""

TicketTermsSource = Callable[["Tx", "int | None", datetime], TicketTerms]
_sources: list[TicketTermsSource] = []


def laid_down_by(source: TicketTermsSource) -> None:
    """Register who knows the terms that a company (None: the supervisor) is held to: whoever assesses companies."""
    _sources[:] = [source]


def terms(tx: Tx, provider_id: int | None, at: datetime) -> TicketTerms:
    """What a ticket that came at ``at`` is held to; our default where nobody lays any down."""
    return _sources[0](tx, provider_id, at) if _sources else DEFAULT_TICKETS


# --------------------------------------------------------------------------------------------------------- departments


def file(
    tx: Tx,
    kind: TicketKind,
    level: int,
    title: str,
    description: str,
    *,
    system_id: int | None = None,
    resource_id: int | None = None,
    pool_id: int | None = None,
) -> Ticket:
    """A department asks for something. It goes to the company of the pool that it is about: the one that is named, else the
    resource's, else the only one where the system has anything; advice goes to the supervisor.

    Raises Invalid for what is not the department's own, and where no pool or several come into question; Conflict where the same is
    open already.
    """
    tx.actor.must_be(Role.TENANT)
    department = tx.get_one(Department, tx.actor.department_id or 0)
    must_be_open(department)
    if level not in LEVELS:
        raise Invalid("ticket.level", N_("级别须为 1 至 4"), field="level")
    title = stated(title, "title", code="ticket.title", message=N_("请填写标题"))
    description = _said(description, "description")
    if len(title) > 256:
        raise Invalid("ticket.long", N_("不超过 %(most)s 字"), most=256, field="title")
    system, resource, pool = _about(tx, department, system_id, resource_id, pool_id)
    if pool is None and kind is not TicketKind.ADVICE:
        raise Invalid("ticket.no_pool", N_("请选择资源池，或有在用资源的信息系统"), field="pool")
    _not_twice(tx, department, kind, title, system)
    provider_id = None if kind is TicketKind.ADVICE or pool is None else pool.provider_id
    return enter(
        tx, kind, level, title, description, department=department, system=system, resource=resource, pool=pool,
        provider_id=provider_id,
    )  # fmt: skip


def enter(
    tx: Tx,
    kind: TicketKind,
    level: int,
    title: str,
    description: str,
    *,
    department: Department,
    system: System | None = None,
    resource: Resource | None = None,
    pool: Pool | None = None,
    provider_id: int | None = None,
    request_id: int | None = None,
    ends_on: date | None = None,
) -> Ticket:
    """Enter a ticket of a department with who handles it; what it says was looked at by the caller."""
    found = Ticket(
        kind=kind.value, level=level, title=title, department_id=department.id, system_id=system and system.id,
        resource_id=resource and resource.id, pool_id=pool and pool.id, provider_id=provider_id, request_id=request_id,
        ends_on=ends_on, state=TicketState.FILED.value, filed_at=tx.now, filed_by=tx.actor.login, generation=1,
    )  # fmt: skip
    tx.add(found)
    tx.flush()
    turn = _turn_of(tx, found, provider_id)
    found.due_at = turn.respond_by
    _step(tx, found, TicketAct.FILED, description, level=level, provider_id=provider_id)
    told = {"kind": kind, "level": level, "title": title, "pool": pool and pool.code, "provider": provider_id}
    of = {"request": request_id, **({"ends_on": ends_on} if ends_on else {})} if request_id else {}
    tx.audit("ticket.filed", found.subject, after={**told, **of, "due_at": found.due_at}, reason=description)
    return found


def tell(tx: Tx, number: int, generation: int | None, said: str) -> Ticket:
    """The department answers what it was asked; the clock of who handles it goes on."""
    found = _of_department(tx, number, generation, TicketState.ASKED)
    _resumed(tx, _turn(tx, found))
    return _moved(tx, found, TicketState.WORKING, TicketAct.TOLD, said)


def confirm(tx: Tx, number: int, generation: int | None, said: str = "") -> Ticket:
    """The department says that it is solved, which ends it."""
    found = _of_department(tx, number, generation, TicketState.SOLVED)
    return _over(tx, found, TicketState.CONFIRMED, TicketAct.CONFIRMED, said, silent=True)


def reopen(tx: Tx, number: int, generation: int | None, said: str) -> Ticket:
    """The department says that it is not solved: the clock goes on as if nothing had been handed in, but for the time that it lay with
    the department."""
    found = _of_department(tx, number, generation, TicketState.SOLVED)
    turn = _turn(tx, found)
    turn.solved_at = None
    _resumed(tx, turn)
    return _moved(tx, found, TicketState.WORKING, TicketAct.REOPENED, said)


def withdraw(tx: Tx, number: int, generation: int | None, said: str) -> Ticket:
    """The department asks for it no more; it counts for nobody."""
    found = _of_department(tx, number, generation, *map(TicketState, OPEN_TICKETS))
    return _over(tx, found, TicketState.WITHDRAWN, TicketAct.WITHDRAWN, said)


# ------------------------------------------------------------------------------------------------------ who handles it


def answer(tx: Tx, number: int, generation: int | None, said: str) -> Ticket:
    """Whoever handles it has taken it up, and says what will be done."""
    found = _handled(tx, number, generation, TicketState.FILED)
    _responded(tx, found)
    return _moved(tx, found, TicketState.WORKING, TicketAct.ANSWERED, said)


def ask(tx: Tx, number: int, generation: int | None, said: str) -> Ticket:
    """Whoever handles it must know something of the department, whose turn it is until it says so."""
    found = _handled(tx, number, generation)
    _responded(tx, found).paused_at = tx.now
    return _moved(tx, found, TicketState.ASKED, TicketAct.ASKED, said)


def solve(tx: Tx, number: int, generation: int | None, said: str) -> Ticket:
    """Whoever handles it says what was done, and that it is solved; the department has the last word."""
    found = _handled(tx, number, generation)
    turn = _responded(tx, found)
    turn.solved_at = turn.paused_at = tx.now
    return _moved(tx, found, TicketState.SOLVED, TicketAct.SOLVED, said)


def hand_over(tx: Tx, number: int, generation: int | None, pool_id: int | None, said: str) -> Ticket:
    """Hand it to the company of a pool, or to the supervisor (``pool_id`` None). A company hands what it handles to the supervisor
    alone; the supervisor any, also out of a company's hands. Who had it before goes on by its old clock.

    Raises Invalid where it lies there already, NotAllowed for a company that would hand it to another.
    """
    found = _locked(tx, number, generation)
    tx.actor.must_be(Role.PROVIDER, Role.SUPERVISOR)
    if tx.actor.role is Role.PROVIDER:
        _must_handle(tx, found)
        if pool_id is not None:
            raise NotAllowed("ticket.to_supervisor", N_("云服务商只能转给运营监督方"))
    if found.state not in (*HANDLERS_TURN, TicketState.ASKED.value):
        raise _not_now()
    pool = tx.get(Pool, pool_id) if pool_id is not None else None
    if pool_id is not None and (pool is None or not pool.active):
        raise Invalid("ticket.pool", N_("请选择在用的资源池"), field="to")
    provider_id = pool.provider_id if pool is not None else None
    if provider_id == found.provider_id and (pool is None or pool.id == found.pool_id):
        raise Invalid("ticket.there", N_("已在其手中，不必转办"), field="to")
    said = _said(said)
    if provider_id != found.provider_id:
        earlier = _turn(tx, found)
        if earlier.paused_at is not None:
            _resumed(tx, earlier)
        earlier.ended_at = tx.now
        tx.flush()
        found.provider_id = provider_id
    if pool is not None:
        found.pool_id = pool.id
    turn = _turn_of(tx, found, provider_id)
    if turn.paused_at is not None:  # another pool of the company that asked the department
        return _moved(tx, found, TicketState.ASKED, TicketAct.HANDED, said, provider_id=provider_id)
    state = TicketState.WORKING if turn.responded_at is not None else TicketState.FILED
    return _moved(tx, found, state, TicketAct.HANDED, said, provider_id=provider_id)


def set_level(tx: Tx, number: int, generation: int | None, level: int, said: str) -> Ticket:
    """The supervisor says that it is of another level; its limits are that level's, from when it came to who handles it."""
    found = _locked(tx, number, generation)
    tx.actor.must_be(Role.SUPERVISOR)
    if not found.open:
        raise _not_now()
    if level not in LEVELS or level == found.level:
        raise Invalid("ticket.level_same", N_("请选择另一个级别"), field="level")
    turn = _turn(tx, found)
    turn.allowed = clock.written(terms(tx, turn.provider_id, found.filed_at), level)
    _reckon(turn, working_days(tx))
    found.level = level
    return _moved(tx, found, TicketState(found.state), TicketAct.LEVELLED, said, level=level)


def close(tx: Tx, number: int, generation: int | None, said: str) -> Ticket:
    """The supervisor ends what is said to be solved and the department did not confirm in its time: it looked itself."""
    found = _locked(tx, number, generation)
    tx.actor.must_be(Role.SUPERVISOR)
    tx.actor.must_sign()
    if found.state != TicketState.SOLVED:
        raise _not_now()
    if not found.overdue(tx.now):
        raise WrongState("ticket.early", N_("单位确认的期限未到：%(due)s"), due=found.due_at)
    return _over(tx, found, TicketState.CLOSED, TicketAct.CLOSED, said)


def say(tx: Tx, number: int, said: str) -> TicketStep:
    """A word of any party, which changes nobody's turn."""
    tx.actor.must_be(Role.TENANT, Role.PROVIDER, Role.SUPERVISOR)
    found = ticket(tx, number)
    if not party(tx, found):
        raise NotAllowed("ticket.not_yours", N_("这项运维请求不由您办理"))
    if not found.open:
        raise _not_now()
    step = _step(tx, found, TicketAct.SAID, _said(said))
    tx.audit("ticket.said", found.subject, after={"step": step.id}, reason=step.text)
    return step


def party(tx: Tx, found: Ticket) -> bool:
    """Whether the actor may speak in it, and put files forward: the department, who handles it, the supervisor."""
    who = tx.actor
    if who.role is Role.TENANT:
        return who.department_id == found.department_id
    return who.role is Role.SUPERVISOR or (who.role is Role.PROVIDER and who.provider_id == found.provider_id)


def ask_whether(tx: Tx, found: Ticket, said: str) -> Ticket:
    """Begin a ticket with a question to its department; the clock of who handles it begins with the answer."""
    _responded(tx, found).paused_at = tx.now
    return _moved(tx, found, TicketState.ASKED, TicketAct.ASKED, said)


def let_be(tx: Tx, found: Ticket, said: str) -> bool:
    """It need not be done any more, as the system has seen; it counts for nobody. False where it was done, or ended, meanwhile."""
    tx.actor.must_be(Role.SYSTEM)
    if tx.lock(found).state not in UNDONE:
        return False
    _over(tx, found, TicketState.WITHDRAWN, TicketAct.WITHDRAWN, said)
    return True


def redate(tx: Tx) -> int:
    """Reckon the limits of open tickets again, after the calendar changed; returns how many moved."""
    days, moved = working_days(tx), 0
    query = select(TicketTurn, Ticket).join(Ticket).where(Ticket.state.in_(OPEN_TICKETS), TicketTurn.ended_at.is_(None))
    for turn, found in tx.execute(query.order_by(Ticket.id).with_for_update(of=[Ticket, TicketTurn])).all():
        before = found.due_at
        _reckon(turn, days)
        found.due_at = _due(found, turn, days)
        if found.due_at != before:
            tx.audit("ticket.redate", found.subject, before={"due_at": before}, after={"due_at": found.due_at})
            moved += 1
    return moved


# ------------------------------------------------------------------------------------------------------------- keeping


def _about(
    tx: Tx, department: Department, system_id: int | None, resource_id: int | None, pool_id: int | None
) -> tuple[System | None, Resource | None, Pool | None]:
    """What it is about: all of it the department's own, and of one pool. None for a pool that nothing tells."""
    system = tx.get(System, system_id) if system_id else None
    if system_id and (system is None or system.department_id != department.id or not system.active):
        raise Invalid("ticket.system", N_("请选择本单位在用的信息系统"), field="system")
    resource = tx.get(Resource, resource_id) if resource_id else None
    if resource_id and (resource is None or resource.department_id != department.id or resource.gone_at is not None):
        raise Invalid("ticket.resource", N_("请选择本单位在用的资源"), field="resource")
    pool = tx.get(Pool, pool_id) if pool_id else None
    if pool_id and (pool is None or not pool.active):
        raise Invalid("ticket.pool", N_("请选择在用的资源池"), field="pool")
    if resource is not None:
        if pool is not None and pool.id != resource.pool_id:
            raise Invalid("ticket.resource_pool", N_("这项资源不在所选的资源池"), field="pool")
        if system is not None and resource.system_id not in (None, system.id):
            raise Invalid("ticket.resource_system", N_("这项资源不属于所选的信息系统"), field="resource")
        if system is None and resource.system_id is not None:
            system = tx.get(System, resource.system_id)
        return system, resource, resource.pool
    if pool is None and system is not None:
        pool = _only_pool(tx, system)
    return system, None, pool


def _only_pool(tx: Tx, system: System) -> Pool | None:
    there = select(Resource.pool_id).where(Resource.system_id == system.id, Resource.gone_at.is_(None)).distinct()
    found = tx.scalars(select(Pool).where(Pool.id.in_(there)).order_by(Pool.name)).all()
    if len(found) > 1:
        names = "、".join(one.name for one in found)
        raise Invalid("ticket.pools", N_("该系统的资源在 %(pools)s，请选择资源池"), pools=names, field="pool")
    return found[0] if found else None


def _not_twice(tx: Tx, department: Department, kind: TicketKind, title: str, system: System | None) -> None:
    tx.lock(department)  # one at a time
    same = select(Ticket).where(
        Ticket.department_id == department.id, Ticket.kind == kind.value, Ticket.title == title,
        Ticket.system_id == (system.id if system else None), Ticket.state.in_(OPEN_TICKETS),
    )  # fmt: skip
    standing = tx.scalar(same.limit(1))
    if standing is not None:
        raise Conflict("ticket.twice", N_("同样的事项已有在办的 %(number)s"), number=standing.number, field="title")


def _locked(tx: Tx, number: int, generation: int | None) -> Ticket:
    found = ticket(tx, number)
    stale = Conflict("ticket.stale", N_("运维请求 %(number)s 已被更新，请刷新后再操作"), number=found.number)
    tx.lock_as_shown(found, generation, stale)
    return found


def _of_department(tx: Tx, number: int, generation: int | None, *states: TicketState) -> Ticket:
    tx.actor.must_be(Role.TENANT)
    found = _locked(tx, number, generation)
    if tx.actor.department_id != found.department_id:
        raise NotAllowed("ticket.not_own", N_("由提出的单位自行办理"))
    if found.state not in states:
        raise _not_now()
    return found


def _handled(tx: Tx, number: int, generation: int | None, *states: TicketState) -> Ticket:
    """The ticket, locked, which the actor handles and whose turn it is."""
    tx.actor.must_be(Role.PROVIDER, Role.SUPERVISOR)
    found = _locked(tx, number, generation)
    _must_handle(tx, found)
    if found.state not in (states or HANDLERS_TURN):
        raise _not_now()
    return found


def _must_handle(tx: Tx, found: Ticket) -> None:
    """The company, or the supervisor where no company does."""
    mine = tx.actor.provider_id if tx.actor.role is Role.PROVIDER else None
    if mine != found.provider_id:
        raise NotAllowed("ticket.not_yours", N_("这项运维请求不由您办理"))


def _not_now() -> WrongState:
    return WrongState("ticket.state", N_("这项运维请求现在不能这样办理"))


def _said(said: str, field: str = "text") -> str:
    said = stated(said, field, code="ticket.said", message=N_("请写明内容"))
    if len(said) > MOST:
        raise Invalid("ticket.long", N_("不超过 %(most)s 字"), most=MOST, field=field)
    return said


def _turn(tx: Tx, found: Ticket) -> TicketTurn:
    """With whom it lies now."""
    return tx.scalars(select(TicketTurn).where(TicketTurn.ticket_id == found.id, TicketTurn.ended_at.is_(None))).one()


def _turn_of(tx: Tx, found: Ticket, provider_id: int | None) -> TicketTurn:
    """The turn of a party that it comes to: its first, or the one that it had, of which the time in between is not counted."""
    query = select(TicketTurn).where(TicketTurn.ticket_id == found.id)
    had = tx.scalar(query.where(TicketTurn.provider_id == provider_id))
    if had is None:
        had = TicketTurn(
            ticket_id=found.id, provider_id=provider_id, began_at=tx.now, pauses=[],
            allowed=clock.written(terms(tx, provider_id, found.filed_at), found.level),
        )  # fmt: skip
    elif had.ended_at is not None:
        had.pauses = [*had.pauses, [had.ended_at.isoformat(), tx.now.isoformat()]]
        had.ended_at = None
        had.allowed = clock.written(terms(tx, provider_id, found.filed_at), found.level)
    _reckon(had, working_days(tx))
    tx.add(had)
    tx.flush()
    return had


def _reckon(turn: TicketTurn, days: WorkingDays) -> None:
    turn.respond_by, turn.resolve_by = clock.limits(days, turn.began_at, turn.allowed, turn.pauses, turn.responded_at)


def _responded(tx: Tx, found: Ticket) -> TicketTurn:
    """The turn, answered now at the latest."""
    turn = _turn(tx, found)
    turn.responded_at = turn.responded_at or tx.now
    return turn


def _resumed(tx: Tx, turn: TicketTurn) -> None:
    """It is back from the department."""
    if turn.paused_at is not None:
        turn.pauses = [*turn.pauses, [turn.paused_at.isoformat(), tx.now.isoformat()]]
        turn.paused_at = None
        _reckon(turn, working_days(tx))


def _due(found: Ticket, turn: TicketTurn, days: WorkingDays) -> datetime | None:
    """By when whoever's turn it is must act."""
    if found.state == TicketState.FILED:
        return turn.respond_by
    if found.state in DEPARTMENTS_TURN and turn.paused_at is not None:
        return clock.confirm_by(days, turn.paused_at, turn.allowed)
    return turn.resolve_by if found.open else None


def _moved(tx: Tx, found: Ticket, state: TicketState, act: TicketAct, said: str, **more: Any) -> Ticket:
    said = _said(said)
    before = {"state": found.state, "due_at": found.due_at}
    found.state = state.value
    found.due_at = _due(found, _turn(tx, found), working_days(tx))
    found.generation += 1
    _step(tx, found, act, said, **more)
    after = {"state": state, "due_at": found.due_at, **more}
    tx.audit(f"ticket.{act.value}", found.subject, before=before, after=after, reason=said)
    return found


def _over(tx: Tx, found: Ticket, state: TicketState, act: TicketAct, said: str, *, silent: bool = False) -> Ticket:
    said = said.strip()[:MOST] if silent else _said(said)
    turn = _turn(tx, found)
    turn.ended_at, turn.paused_at = tx.now, None
    before = {"state": found.state}
    found.state, found.closed_at, found.due_at = state.value, tx.now, None
    found.generation += 1
    _step(tx, found, act, said)
    tx.audit(f"ticket.{act.value}", found.subject, before=before, after={"state": state}, reason=said)
    return found


def _step(tx: Tx, found: Ticket, act: TicketAct, said: str, **more: Any) -> TicketStep:
    step = TicketStep(
        ticket_id=found.id, act=act.value, text=said, at=tx.now, by=tx.actor.login, role=tx.actor.role.value, **more
    )
    tx.add(step)
    tx.flush()
    return step
