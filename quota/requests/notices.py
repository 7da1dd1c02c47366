"""What people are told about their requests, each thing once: reminders of time limits, returns, decisions, urgings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Table, Text, and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.db import among
from quota.directory import departments as agencies
from quota.errors import N_, Conflict, NotFound, WrongState
from quota.ledger import commitments
from quota.requests import progress, terms
from quota.requests.declarations import kind_of
from quota.requests.tables import OPEN, Request, RequestState, RequestStep

if TYPE_CHECKING:
    from quota.db import Tx


class NoticeKind(StrEnum):
    DUE = "due"
    OVERDUE = "overdue"
    ESCALATED = "escalated"
    RETURNED = "returned"
    APPROVED = "approved"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    URGED = "urged"
    DELIVERED = "delivered"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    ABANDONED = "abandoned"
    ENDING = "ending"
    LENT_ENDING = "lent_ending"
    RETURNING = "returning"
    HELD = "held"
    CONFIRMED = "confirmed"
    GIVEN = "given"
    SHORT = "short"
    CALLED_OFF = "called_off"
    PASSED_OVER = "passed_over"
    KEPT = "kept"
    HANDED = "handed"
    HANDED_ON = "handed_on"
    FALLEN = "fallen"
    SAID = "said"
    REPLACED = "replaced"


NOTICE_LABELS = {
    NoticeKind.DUE: N_("今日到期"),
    NoticeKind.OVERDUE: N_("已逾期"),
    NoticeKind.ESCALATED: N_("逾期未办,提请主管部门关注"),
    NoticeKind.RETURNED: N_("退回补正"),
    NoticeKind.APPROVED: N_("申请已通过"),
    NoticeKind.REJECTED: N_("申请已驳回"),
    NoticeKind.LAPSED: N_("逾期未补正,申请已撤回"),
    NoticeKind.URGED: N_("申请人催办"),
    NoticeKind.DELIVERED: N_("已交付,请验收"),
    NoticeKind.REFUSED: N_("验收未通过,请重新交付"),
    NoticeKind.ACCEPTED: N_("逾期未验收,视为验收通过"),
    NoticeKind.ABANDONED: N_("无法交付,申请已终止"),
    NoticeKind.ENDING: N_("使用期限将到,请延期或退订"),
    NoticeKind.LENT_ENDING: N_("临时扩容将到期，到期自动恢复原规格，仍需要的请延期"),
    NoticeKind.RETURNING: N_("临时扩容期满，恢复原规格"),
    NoticeKind.HELD: N_("临时扩容期满，保持现有规格，请归还或延期"),
    NoticeKind.CONFIRMED: N_("远期配额已落实，到需要日期转为配额"),
    NoticeKind.GIVEN: N_("远期配额已转为本单位配额"),
    NoticeKind.SHORT: N_("远期配额的需要日期已到，容量不足，继续排队"),
    NoticeKind.CALLED_OFF: N_("远期承诺已取消"),
    NoticeKind.PASSED_OVER: N_("远期配额排队期间，主管部门暂停为其预留容量"),
    NoticeKind.KEPT: N_("远期配额恢复预留容量"),
    NoticeKind.HANDED: N_("审批步骤已改派给您，请办理"),
    NoticeKind.HANDED_ON: N_("您承办的审批步骤已由他人接办"),
    NoticeKind.FALLEN: N_("原承办人已不在岗，请由同一方的其他人员办理"),
    NoticeKind.SAID: N_("对申请有新的意见，请查看"),
    NoticeKind.REPLACED: N_("审批更改了申请的规格、网络区或使用性质，请查看"),
}


class RequestNotice(Base):
    """One notice to a role: of a department or a company where it is one's, and where it is one person's to that one (``login``) alone.
    ``key`` keeps it from being given twice."""

    __tablename__ = "request_notices"
    __table_args__ = (Index("ix_request_notices_to", "role", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("requests.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    role: Mapped[str] = mapped_column(String(16))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    login: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    text: Mapped[str] = mapped_column(Text, default="")  # a person's own words: the reason of a return, say

    request: Mapped[Request] = relationship()


class NoticeReading(Base):
    """That a person has read a notice to his role. A notice itself is never changed by being read."""

    __tablename__ = "notice_readings"

    notice_id: Mapped[int] = mapped_column(ForeignKey("request_notices.id"), primary_key=True)
    login: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime]


append_only(cast("Table", NoticeReading.__table__))


def give(
    tx: Tx,
    request: Request,
    kind: NoticeKind,
    role: Role,
    *,
    once: str,
    text: str = "",
    due_at: datetime | None = None,
    department_id: int | None = None,
    login: str | None = None,
) -> RequestNotice | None:
    """Tell ``role`` of ``kind``; None where the same was told before. ``once`` tells apart what may be told again.

    ``due_at`` is the limit that it is about, that of the request where None; ``department_id`` the department that is told, the
    applicant where None; ``login`` who of them alone.
    """
    whose = department_id if department_id != request.department_id else None
    key = _key(request.id, kind, role, once, login or whose)
    if tx.scalar(select(RequestNotice.id).where(RequestNotice.key == key)) is not None:
        return None
    notice = RequestNotice(
        key=key,
        request_id=request.id,
        kind=kind.value,
        role=role.value,
        department_id=(department_id or request.department_id) if role is Role.TENANT else None,
        provider_id=request.pool.provider_id if role is Role.PROVIDER else None,
        login=login,
        at=tx.now,
        due_at=due_at or request.due_at,
        text=text,
    )
    tx.add(notice)
    tx.flush()
    after = {"notice": kind, "to": role, "due_at": notice.due_at, **({"reader": login} if login else {})}
    tx.audit("request.notice", request.subject, after=after)
    return notice


def told(tx: Tx, kind: NoticeKind, role: Role, once: Mapping[int, str]) -> set[int]:
    """Of the requests in ``once`` (id → what tells apart what may be told again) those of which ``role`` was told ``kind``."""
    keys = set(tx.scalars(select(RequestNotice.key).where(among(RequestNotice.request_id, once))))
    return {one for one, what in once.items() if _key(one, kind, role, what) in keys}


def _key(request_id: int, kind: NoticeKind, role: Role, once: str, to: int | str | None = None) -> str:
    """``to``: the department that is told, where that is not the applicant, or the login of who alone is told."""
    whose = role.value if to is None else f"{role.value}:{to}"
    return f"{request_id}/{kind.value}/{whose}/{once}"


def addressed(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Which notices are to ``actor``, as a condition for a query: those of the role, the department or the company, and his own."""
    alone = or_(RequestNotice.login.is_(None), RequestNotice.login == actor.login)
    mine = and_(RequestNotice.role == actor.role.value, alone)
    if actor.role is Role.TENANT:
        departments = agencies.subtree(tx, actor.department_id) if actor.department_id is not None else set()
        return and_(mine, RequestNotice.department_id.in_(departments))
    if actor.role is Role.PROVIDER:
        return and_(mine, RequestNotice.provider_id == actor.provider_id)
    return mine


def was_read(actor: Actor) -> ColumnElement[bool]:
    """Whether ``actor`` has read a notice, as a condition for a query."""
    return exists().where(NoticeReading.notice_id == RequestNotice.id, NoticeReading.login == actor.login)


def unread(tx: Tx, actor: Actor) -> int:
    """How many notices to ``actor`` he has not read."""
    query = select(func.count()).select_from(RequestNotice).where(addressed(tx, actor), ~was_read(actor))
    return tx.scalar(query) or 0


def read(tx: Tx, notice_id: int) -> RequestNotice:
    """Note that this person has read one notice; a second time changes nothing. NotFound for one that is not to him."""
    found = tx.scalar(select(RequestNotice).where(RequestNotice.id == notice_id, addressed(tx, tx.actor)))
    if found is None:
        raise NotFound("notice.none", N_("没有编号为 %(id)s 的通知"), id=notice_id)
    _note_read(tx, [found.id])
    return found


def read_all(tx: Tx, upto: int) -> int:
    """Note that this person has read every notice to him up to number ``upto``, the newest that he was shown: what came
    after stays unread. Returns how many."""
    wanted = select(RequestNotice.id).where(RequestNotice.id <= upto, addressed(tx, tx.actor), ~was_read(tx.actor))
    return _note_read(tx, tx.scalars(wanted).all())


def _note_read(tx: Tx, notice_ids: Sequence[int]) -> int:
    rows = [{"notice_id": one, "login": tx.actor.login, "at": tx.now} for one in notice_ids]
    if rows:
        # Two pages of one person may say it at once.
        insert = sqlite_insert if tx.get_bind().dialect.name == "sqlite" else postgresql_insert
        tx.execute(insert(NoticeReading).values(rows).on_conflict_do_nothing())
    return len(rows)


def received(tx: Tx, actor: Actor, since: datetime | None = None) -> list[RequestNotice]:
    """The notices to ``actor``, newest first."""
    query = select(RequestNotice).where(addressed(tx, actor)).order_by(RequestNotice.at.desc(), RequestNotice.id.desc())
    if since is not None:
        query = query.where(RequestNotice.at >= since)
    return list(tx.scalars(query))


def remind(tx: Tx) -> list[RequestNotice]:
    """Remind whoever must act today or should have acted, once for each time limit; an overdue supplement is
    left to ``approvals.lapse``.

    What is overdue with the supervisor or the provider is also put before the authority. Returns what was new.
    """
    today = tx.now.astimezone(ZONE).date()
    tomorrow = datetime.combine(today + timedelta(days=1), datetime.min.time(), ZONE)
    due = Request.turn.is_not(None), Request.due_at < tomorrow, Request.state.in_(OPEN)
    waiting = tx.execute(
        select(Request.id, Request.turn, Request.due_at, Request.state).where(*due).order_by(Request.due_at, Request.id)
    ).all()
    before = set(
        tx.scalars(select(RequestNotice.key).join(Request, Request.id == RequestNotice.request_id).where(*due))
    )
    told: list[RequestNotice | None] = []
    asked = _asked(tx, tomorrow)
    for request_id, turn, until, state in waiting:
        whom = asked.get(request_id, [])
        if state != RequestState.IN_REVIEW and turn is not None and until is not None:
            whom = [(Role(turn), None, until)]
        for role, department_id, due_at in whom:
            late, once = due_at < tx.now, due_at.isoformat()
            letters = [(NoticeKind.OVERDUE if late else NoticeKind.DUE, role, department_id)]
            if late and (role in (Role.SUPERVISOR, Role.PROVIDER) or department_id is not None):
                letters.append((NoticeKind.ESCALATED, Role.AUTHORITY, None))
            for kind, to, of in letters:
                if _key(request_id, kind, to, once, of) not in before:
                    request = tx.get_one(Request, request_id)
                    told.append(give(tx, request, kind, to, once=once, due_at=due_at, department_id=of))
    return [one for one in told if one is not None]


def _asked(tx: Tx, until: datetime) -> dict[int, list[tuple[Role, int | None, datetime]]]:
    """Request → whom it waits for before ``until`` while it is decided: role, department where it is another than the applicant, and
    until when."""
    query = (
        select(Request.id, Request.department_id, RequestStep.role, RequestStep.department_id, RequestStep.due_at)
        .join(RequestStep, and_(RequestStep.request_id == Request.id, RequestStep.round == Request.round))
        .where(
            Request.state == RequestState.IN_REVIEW.value,
            Request.due_at < until,
            RequestStep.decided_at.is_(None),
            RequestStep.due_at < until,
        )
        .order_by(Request.id, RequestStep.sequence)
    )
    found: dict[int, list[tuple[Role, int | None, datetime]]] = {}
    for request_id, applicant, role, department_id, due_at in tx.execute(query):
        whose = department_id if department_id != applicant else None
        if due_at is not None:
            found.setdefault(request_id, []).append((Role(role), whose, due_at))
    return found


def remind_of_terms(tx: Tx, returned: Collection[int] = ()) -> list[RequestNotice]:
    """Remind departments 30, 14 and 7 days before a term ends, once each; of a term that was moved, again.

    ``returned``: ids of requests of which nothing is left to end. Returns what was new.
    """
    told = []
    ending = terms.to_remind(tx, returned)
    before = set(
        tx.scalars(select(RequestNotice.key).where(among(RequestNotice.request_id, (one.id for one, _d in ending))))
    )
    for request, days in ending:
        once, kind = f"{request.use_until}/{days}", NoticeKind.ENDING
        if kind_of(request).returns:  # nothing is to be given back by hand
            kind = NoticeKind.LENT_ENDING
        if request.use_until is not None and _key(request.id, kind, Role.TENANT, once) not in before:
            ends = terms.ends_at(request.use_until)
            told.append(give(tx, request, kind, Role.TENANT, once=once, due_at=ends))
    return [one for one in told if one is not None]


def settle_commitments(tx: Tx, pool_id: int) -> commitments.QueueOutcome:
    """Go through the queue of a pool, and tell the departments and the authority what came of it. A job's work."""
    found = commitments.settle(tx, pool_id)
    for rows, kind in (
        (found.confirmed, NoticeKind.CONFIRMED), (found.given, NoticeKind.GIVEN), (found.late, NoticeKind.SHORT),
    ):  # fmt: skip
        for row in rows:
            request = tx.get_one(Request, int(row.basis.rpartition(":")[2]))
            give(tx, request, kind, Role.TENANT, once="", department_id=row.department_id)
            give(tx, request, kind, Role.AUTHORITY, once="")
    return found


def call_off(tx: Tx, commitment_id: int, *, generation: int, reason: str) -> commitments.Commitment:
    """Cancel a promise, and tell the other side why. Raises as ``commitments.cancel``."""
    row = commitments.cancel(tx, commitment_id, generation=generation, reason=reason)
    request = tx.get_one(Request, int(row.basis.rpartition(":")[2]))
    if tx.actor.role is Role.TENANT:
        give(tx, request, NoticeKind.CALLED_OFF, Role.AUTHORITY, once="", text=row.reason)
    else:
        give(tx, request, NoticeKind.CALLED_OFF, Role.TENANT, once="", text=row.reason, department_id=row.department_id)
    return row


def pass_over(tx: Tx, commitment_id: int, *, generation: int, reason: str, over: bool = True) -> commitments.Commitment:
    """Let others go before a promise, or no longer, and tell its department why. Raises as ``commitments.pass_over``."""
    row = commitments.pass_over(tx, commitment_id, generation=generation, reason=reason, over=over)
    request = tx.get_one(Request, int(row.basis.rpartition(":")[2]))
    kind = NoticeKind.PASSED_OVER if over else NoticeKind.KEPT
    give(tx, request, kind, Role.TENANT, once=str(row.generation), text=reason, department_id=row.department_id)
    return row


def said(tx: Tx, request: Request, text: str, once: str) -> list[RequestNotice]:
    """Tell the other side what was said about a request: the applicant, and whoever signs now or whose turn it is (the supervisor where
    that is nobody, or a company: what is said here is not for companies); not the side that said it. Changes nothing about the request."""
    turn, applicant = progress.whose_turn(request), request.department_id
    signing = request.active if request.state == RequestState.IN_REVIEW else []
    asked = {(Role(one.role), one.department_id) for one in signing}
    if turn is not None and not signing:
        asked.add((turn.role, turn.department_id))
    sides = {one for one in asked if one[0] is not Role.PROVIDER} or {(Role.SUPERVISOR, None)}
    own = tx.actor.role, tx.actor.department_id if tx.actor.role is Role.TENANT else None
    notices = [
        give(tx, request, NoticeKind.SAID, role, once=once, text=text, department_id=department_id)
        for role, department_id in sorted(sides | {(Role.TENANT, applicant)}, key=str)
        if (role, department_id) != own
    ]
    return [notice for notice in notices if notice is not None]


def urge(tx: Tx, request: Request | int) -> RequestNotice:
    """The department asks whoever's turn it is to hurry: once a day. Changes nothing about the request."""
    found = progress.lock(tx, request)
    progress.own(tx, found)
    turn = progress.whose_turn(found)
    if turn is None or found.state in (RequestState.SUPPLEMENT, RequestState.ACCEPTING):
        raise WrongState("request.nobody_to_urge", N_("申请 %(number)s 现在不等待他人办理"), number=found.number)
    today = tx.now.astimezone(ZONE).date()
    notice = give(tx, found, NoticeKind.URGED, turn.role, once=today.isoformat(), department_id=turn.department_id)
    if notice is None:
        raise Conflict("request.urged", N_("今天已经催办过申请 %(number)s"), number=found.number)
    return notice
