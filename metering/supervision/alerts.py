"""Alerts of supervision (监管预警): opened and closed by a job that looks, acknowledged and answered by whom the item names.

    open ──acknowledge▶ acknowledged ──answer▶ answered        any ──(the figure is back)▶ back, (watched no more)▶ ended

At an item's limit nothing is beyond it. What is not known opens nothing and closes nothing; it begins anew what was beyond the limit and
not yet for long enough, as a look that was missed does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, and_, false, or_, select, true
from sqlalchemy.orm import joinedload

from metering.supervision import items, measures
from metering.supervision.measures import SupervisedObject
from metering.supervision.tables import (
    OPEN,
    PLACES,
    UNANSWERED,
    Answerer,
    SupervisionAlert,
    SupervisionExcess,
    SupervisionItem,
    SupervisionState,
)
from quota.actors import Actor, Role
from quota.calendar import ZONE, working_days
from quota.directory import Pool, System, subtree
from quota.errors import N_, Conflict, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

GAP = timedelta(hours=26)
"""A look that comes later after the one before cannot say that it was so all the while."""
LONGEST = 2000


@dataclass(slots=True)
class SupervisionLook:
    """What a look did."""

    opened: int = 0
    closed: int = 0


def alert(tx: Tx, alert_id: int) -> SupervisionAlert:
    """The alert, or NotFound, also where the actor may not see it."""
    query = rows().where(SupervisionAlert.id == alert_id, visible(tx, tx.actor))
    found: SupervisionAlert | None = tx.scalar(query)
    if found is None:
        raise NotFound("supervision.none", N_("没有编号为 %(id)s 的监管预警"), id=alert_id)
    return found


def rows() -> Select[SupervisionAlert]:
    """Alerts with their items and what they are of."""
    of = SupervisionAlert
    return (
        select(of)
        .join(SupervisionItem, SupervisionItem.id == of.item_id)
        .options(joinedload(of.item), joinedload(of.provider), joinedload(of.pool), joinedload(of.department), joinedload(of.system))
    )  # fmt: skip


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Alerts that ``actor`` may know of (the query joins their items): a department and a company those about what is theirs that the item
    tells them of; who sees the whole city all."""
    of = SupervisionAlert
    if actor.role is Role.TENANT and actor.department_id is not None:
        own = subtree(tx, actor.department_id)
        systems = select(System.id).where(System.department_id.in_(own))
        return and_(SupervisionItem.tells_department, or_(of.department_id.in_(own), of.system_id.in_(systems)))
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        pools = select(Pool.id).where(Pool.provider_id == actor.provider_id)
        return and_(SupervisionItem.tells_provider, or_(of.provider_id == actor.provider_id, of.pool_id.in_(pools)))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def waiting(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Of those that are visible, what ``actor`` is told of and nobody has answered."""
    told = SupervisionItem.tells_authority if actor.role is Role.AUTHORITY else true()
    return and_(visible(tx, actor), told, SupervisionAlert.state.in_(UNANSWERED))


def late(now: datetime) -> ColumnElement[bool]:
    """What should have been answered."""
    return and_(SupervisionAlert.state.in_(UNANSWERED), SupervisionAlert.due_at < now)


def may_answer(tx: Tx, one: SupervisionAlert) -> bool:
    """Whether it is the actor's to acknowledge and to answer."""
    who = tx.actor
    if one.closed_at is not None or who.role != one.item.answerer:
        return False
    if one.item.answerer == Answerer.TENANT:
        return one.owner_id in subtree(tx, who.department_id or 0)
    return one.item.answerer != Answerer.PROVIDER or one.company_id == who.provider_id


# --------------------------------------------------------------------------------------------------------------- verbs


def acknowledge(tx: Tx, alert_id: int, *, generation: int) -> SupervisionAlert:
    """Say that it was read. Raises NotAllowed for whom the item does not name, WrongState where it was said or it is closed."""
    one = _locked(tx, alert_id, generation)
    if one.state != SupervisionState.OPEN:
        raise WrongState("supervision.acknowledged", N_("该预警已签收"))
    one.state, one.acknowledged_by, one.acknowledged_at = SupervisionState.ACKNOWLEDGED.value, tx.actor.login, tx.now
    tx.flush()
    tx.audit("supervision_alert.acknowledge", one.subject)
    return one


def answer(tx: Tx, alert_id: int, said: str, *, generation: int) -> SupervisionAlert:
    """Say why it is so and what is done, or say it otherwise while it is open; that acknowledges it, too. Raises as ``acknowledge``."""
    one = _locked(tx, alert_id, generation)
    before = {"reply": one.reply} if one.reply else None
    one.reply = stated(said, "text", code="supervision.said", message=N_("请写明原因和措施"))[:LONGEST]
    one.state, one.answered_by, one.answered_at = (
        SupervisionState.ANSWERED.value,
        tx.actor.login,
        one.answered_at or tx.now,
    )
    if one.acknowledged_at is None:
        one.acknowledged_by, one.acknowledged_at = tx.actor.login, tx.now
    tx.flush()
    tx.audit("supervision_alert.answer", one.subject, before=before, after={"reply": one.reply})
    return one


def look(tx: Tx) -> SupervisionLook:
    """Read every item in force and open and close alerts by it. A job's work, as often as one likes."""
    tx.actor.must_be(Role.SYSTEM)
    tx.alone("supervision")
    standing = items.in_force(tx, tx.now.astimezone(ZONE).date())
    done = SupervisionLook()
    there: dict[str, list[SupervisionAlert]] = {}
    open_ones = select(SupervisionAlert).where(SupervisionAlert.closed_at.is_(None)).order_by(SupervisionAlert.id)
    for one in tx.scalars(open_ones.with_for_update()):
        there.setdefault(one.code, []).append(one)
    beyond: dict[int, dict[int, SupervisionExcess]] = {}
    for row in tx.scalars(select(SupervisionExcess).order_by(SupervisionExcess.id)):
        beyond.setdefault(row.item_id, {})[row.object_id] = row
    read = cache(partial(measures.figures, tx))
    for code, item in standing.items():
        figure_of = read(item.measure, item.of)
        _watch(tx, item, figure_of, there.pop(code, []), beyond.pop(item.id, {}), done)
    for left in there.values():
        for one in left:
            _close(tx, one, SupervisionState.ENDED, done)
    for excesses in beyond.values():
        for row in excesses.values():
            tx.delete(row)
    tx.flush()
    return done


# ----------------------------------------------------------------------------------------------------------- mechanism


def _watch(
    tx: Tx,
    item: SupervisionItem,
    figure_of: Callable[[int], Decimal | None],
    standing: list[SupervisionAlert],
    beyond: dict[int, SupervisionExcess],
    done: SupervisionLook,
) -> None:
    known = measures.objects(tx, item.of, item.chosen)
    alerted = set()
    for one in standing:
        measured_as = (one.item.measure, one.object_key)
        if measured_as != (item.measure, key(item.of, one.object_id)) or one.object_id not in known:
            _close(tx, one, SupervisionState.ENDED, done)
            continue
        alerted.add(one.object_id)
        figure = figure_of(one.object_id)
        if figure is None:
            continue
        if (seen := round(figure, PLACES)) != one.figure:
            one.figure = seen
        if not item.over(figure):
            _close(tx, one, SupervisionState.BACK, done)
    for object_id in known:
        excess, figure = beyond.pop(object_id, None), figure_of(object_id)
        if figure is None or object_id in alerted or not item.over(figure):
            if excess is not None:
                tx.delete(excess)
            continue
        since = excess.since if excess is not None and tx.now - excess.seen_at <= GAP else tx.now
        if tx.now - since >= timedelta(days=item.hold_days):
            _open(tx, item, object_id, figure, since)
            done.opened += 1
            if excess is not None:
                tx.delete(excess)
        elif excess is None:
            tx.add(SupervisionExcess(item_id=item.id, object_id=object_id, since=since, seen_at=tx.now))
        else:
            excess.since, excess.seen_at = since, tx.now
    for excess in beyond.values():  # objects that are no more
        tx.delete(excess)
    tx.flush()


def key(of: SupervisedObject, object_id: int) -> str:
    """What an alert is about, as one text."""
    return of.value if of is SupervisedObject.CITY else f"{of.value}:{object_id}"


def _open(tx: Tx, item: SupervisionItem, object_id: int, figure: Decimal, since: datetime) -> None:
    whom = {} if item.of is SupervisedObject.CITY else {f"{item.of.value}_id": object_id}
    row = SupervisionAlert(
        item_id=item.id, code=item.code, object_key=key(item.of, object_id), state=SupervisionState.OPEN.value,
        since=since, opened_at=tx.now, opened_with=round(figure, PLACES), figure=round(figure, PLACES),
        due_at=working_days(tx).due(tx.now, item.reply_days), generation=1, **whom,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    after = {
        "code": row.code,
        "about": row.object_key,
        "figure": str(row.figure),
        "threshold": str(item.threshold),
        "due_at": row.due_at,
    }
    tx.audit("supervision_alert.open", row.subject, after=after)


def _close(tx: Tx, one: SupervisionAlert, state: SupervisionState, done: SupervisionLook) -> None:
    before = one.state
    one.state, one.closed_at = state.value, tx.now
    one.generation += 1
    done.closed += 1
    tx.flush()
    after = {"state": state.value, "figure": str(one.figure)}
    tx.audit("supervision_alert.close", one.subject, before={"state": before}, after=after)


def _locked(tx: Tx, alert_id: int, generation: int) -> SupervisionAlert:
    stale = Conflict("supervision.stale", N_("该预警已被更新，请刷新核对后再办理"))
    one = tx.lock_as_shown(alert(tx, alert_id), generation, stale)
    if one.state not in OPEN:
        raise WrongState("supervision.closed", N_("该预警已了结"))
    if not may_answer(tx, one):
        raise NotAllowed("supervision.not_yours", N_("该预警由监管事项指定的一方签收和答复"))
    one.generation += 1
    return one
