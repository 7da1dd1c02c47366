"""Signing a batch, and carrying it out: some cases a transaction, so that nobody's writing waits for three hundred of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from metering.batches.alike import Alike, members
from metering.batches.tables import BatchItem, BatchOutcome, CaseBatch
from metering.cases import SIGNED_ACTS, Case, CaseAct, Notice, RulingDecision, case, files, hearings
from metering.rollout import LetterRoom, ceilings
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import among
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, Refused, reused, stated

if TYPE_CHECKING:
    from quota.db import Book, Tx

MOST = 1000
"""Cases of one act."""
CHUNK = 25
"""Cases of one transaction."""

CHANGED = N_("案件 %(number)s 在您打开页面之后已有变化,请查看最新情况")

MAY = {
    CaseAct.REVIEW: (Role.SUPERVISOR,),
    CaseAct.ISSUE: (Role.SUPERVISOR,),
    CaseAct.RULE: (Role.SUPERVISOR, Role.AUTHORITY),
}
"""Who may do an act in batches: who may do it to one case."""


def begin(
    tx: Tx,
    alike: Alike,
    shown: Mapping[int, int],
    left_out: Mapping[int, str],
    reason: str,
    *,
    key: str,
    decision: RulingDecision | None = None,
) -> CaseBatch:
    """Keep what is signed: the act on the cases of a group that are ``shown`` (case id → generation as the page showed it), but for
    those ``left_out`` (case id → why), which are kept with it. Nothing is done to a case yet: ``carry_out`` does it.

    The same ``key`` again returns the first. Raises NotAllowed for who may not do the act to one case; Invalid where nothing is
    left to do, where it is more than MOST, or where a reason is missing: of what is left out, and of a ruling.
    """
    tx.actor.must_be(*MAY[alike.act])
    if alike.act in SIGNED_ACTS:
        tx.actor.must_sign()
    tx.alone(key)
    earlier = tx.scalar(select(CaseBatch).where(CaseBatch.key == key))
    if earlier is not None:
        return _same(tx, earlier, alike, shown)
    doing = set(shown) - set(left_out)
    if not doing:
        raise Invalid("batch.empty", N_("请至少选择一个案件"), field="cases")
    if len(shown) > MOST:
        raise Invalid("batch.many", N_("一次最多办理 %(most)s 件"), most=MOST, field="cases")
    known = {row.id: row for row in tx.scalars(members(alike).where(among(Case.id, shown)))}
    reason = reason.strip()
    if alike.act is CaseAct.RULE:
        if decision is None:
            raise Invalid("batch.decision", N_("请选择裁定"), field="decision")
        least = max((one.procedure().reason_length for one in known.values()), default=1)
        reason = files.explained(reason, least)
    batch = CaseBatch(
        key=key,
        act=alike.act.value,
        kind=alike.kind,
        verdict=alike.verdict,
        policy_version_id=alike.policy_version_id,
        matter=alike.matter,
        decision=decision.value if decision is not None and alike.act is CaseAct.RULE else None,
        reason=reason,
        by=tx.actor.login,
        at=tx.now,
    )
    tx.add(batch)
    tx.flush()
    _enter(tx, batch, known, shown, left_out)
    tx.audit(
        "batch.begin",
        batch.subject,
        after={"act": alike.act, "cases": len(doing), "excepted": len(left_out), "decision": batch.decision},
        reason=reason,
    )
    return batch


def _enter(
    tx: Tx, batch: CaseBatch, known: Mapping[int, Case], shown: Mapping[int, int], left_out: Mapping[int, str]
) -> None:
    """A row for each case: first those of the group, in its order; what is no longer of it has changed."""
    strange = {case_id: case(tx, case_id) for case_id in sorted(set(shown) - set(known))}
    for place, case_id in enumerate([*known, *strange], 1):
        why = left_out.get(case_id)
        outcome = BatchOutcome.WAITING if case_id in known else BatchOutcome.CHANGED
        item = BatchItem(
            batch_id=batch.id,
            case_id=case_id,
            generation=shown[case_id],
            place=place,
            outcome=(BatchOutcome.EXCEPTED if why is not None else outcome).value,
        )
        if case_id in strange:
            item.said = {"code": "case.changed", "message": CHANGED, "params": {"number": strange[case_id].number}}
        if why is not None:
            item.reason = stated(why, "left_out", code="batch.reason", message=N_("请写明每个除外案件的理由"))
            tx.audit("case.except", f"case:{case_id}", after={"batch": batch.id, "act": batch.act}, reason=item.reason)
        tx.add(item)
    tx.flush()


def carry_out(book: Book, batch_id: int, actor: Actor, *, chunk: int = CHUNK) -> CaseBatch:
    """Do what was signed to every case that waits for it, ``chunk`` of them a transaction, and finish the batch.

    Only who signed may. A case that changed since the page, or to which it may not be done, is named and left; the others go on.
    If the process dies, the next call goes on where it stopped; once finished, nothing more is done.
    """
    while True:
        with book.transaction(actor) as tx:
            if _go_on(tx, batch_id, chunk):
                return tx.get_one(CaseBatch, batch_id)


def batch(tx: Tx, batch_id: int) -> CaseBatch:
    """The batch, or NotFound."""
    found = tx.get(CaseBatch, batch_id)
    if found is None:
        raise NotFound("batch.none", N_("没有编号为 %(id)s 的批量办理"), id=batch_id)
    return found


def counts(tx: Tx, batch_id: int) -> dict[BatchOutcome, int]:
    """How many cases of a batch came out how."""
    query = select(BatchItem.outcome, func.count()).where(BatchItem.batch_id == batch_id).group_by(BatchItem.outcome)
    return {BatchOutcome(outcome): count for outcome, count in tx.execute(query)}


# ----------------------------------------------------------------------------------------------------------- mechanism


def _same(tx: Tx, earlier: CaseBatch, alike: Alike, shown: Mapping[int, int]) -> CaseBatch:
    """The batch that was signed under the key; Conflict where it was another."""
    ids = set(tx.scalars(select(BatchItem.case_id).where(BatchItem.batch_id == earlier.id)))
    if earlier.by != tx.actor.login or earlier.act != alike.act or ids != set(shown):
        raise reused(earlier.key)
    return earlier


def _go_on(tx: Tx, batch_id: int, chunk: int) -> bool:
    """Do the next cases; True once none is left."""
    tx.alone(ceilings.ALONE)
    one = tx.lock(batch(tx, batch_id))
    if one.by != tx.actor.login:
        raise NotAllowed("batch.another", N_("只能由签办人本人继续办理"))
    tx.actor.must_be(*MAY[CaseAct(one.act)])
    waiting = select(BatchItem).where(BatchItem.batch_id == one.id, BatchItem.outcome == BatchOutcome.WAITING.value)
    items = list(tx.scalars(waiting.order_by(BatchItem.place).limit(chunk)))
    letters = _letters(tx, one)
    room = hearings.letter_room(tx)
    for item in items:
        _do(tx, one, item, letters, room)
    if one.act == CaseAct.ISSUE:
        told = [item.case for item in items if item.outcome == BatchOutcome.DONE]
        hearings.record(tx, letters.values(), told)
    if len(items) == chunk:
        return False
    if one.finished_at is None:
        one.finished_at = tx.now
        tx.flush()
        done = {outcome.value: count for outcome, count in counts(tx, one.id).items()}
        tx.audit("batch.finish", one.subject, after=done)
    return True


def _letters(tx: Tx, batch: CaseBatch) -> dict[int, Notice]:
    """Department id → the letter that this batch wrote to it today: what comes after is told in the same."""
    written = select(BatchItem.notice_id).where(BatchItem.batch_id == batch.id, BatchItem.notice_id.is_not(None))
    found = tx.scalars(select(Notice).where(Notice.id.in_(written)).order_by(Notice.id))
    today = tx.now.astimezone(ZONE).date()
    return {row.department_id: row for row in found if row.issued_at.astimezone(ZONE).date() == today}


def _do(tx: Tx, batch: CaseBatch, item: BatchItem, letters: dict[int, Notice], room: LetterRoom) -> None:
    """The act on one case. What is refused undoes that case alone, and its sentence is kept."""
    written = dict(letters)
    try:
        with tx.apart():
            item.outcome = _act(tx, batch, item, letters, room).value
    except Refused as refused:
        letters.clear()
        letters.update(written)
        changed = isinstance(refused, Conflict) or refused.code == "case.state"
        item.outcome = (BatchOutcome.CHANGED if changed else BatchOutcome.REFUSED).value
        params = {
            name: value if isinstance(value, int | float) else str(value) for name, value in refused.params.items()
        }
        item.said = {"code": refused.code, "message": refused.message, "params": params}
    item.at = tx.now
    tx.flush()


def _act(tx: Tx, batch: CaseBatch, item: BatchItem, letters: dict[int, Notice], room: LetterRoom) -> BatchOutcome:
    found = case(tx, item.case_id)
    if batch.act == CaseAct.REVIEW:
        hearings.review(tx, found, generation=item.generation, note=batch.reason)
    elif batch.act == CaseAct.ISSUE:
        if room.full(found.department_id) is not None:
            return BatchOutcome.LATER
        letter = hearings.send(tx, found, letters, batch.reason, generation=item.generation)
        room.take(found.department_id)
        item.notice_id, item.notice = letter.id, letter
    else:
        hearings.rule(tx, found, RulingDecision(str(batch.decision)), batch.reason, generation=item.generation)
    return BatchOutcome.DONE
