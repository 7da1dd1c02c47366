"""The hearing of a case: review, notice, the department's right of reply, and a ruling by somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, or_, select

from metering.cases import exemptions, notices
from metering.cases.exemptions import Category
from metering.cases.files import Case, Reply, Ruling, close, explained, issuer, may_answer, move, take_up
from metering.cases.notices import Notice
from metering.cases.steps import STATE_LABELS, Answer, CaseAct, CaseState, Consent, Ending, Matter, RulingDecision
from metering.judging import CaseKind, growth, more
from metering.rollout import LetterRoom, ceilings
from quota import attachments, ledger, requests
from quota.attachments import StagedFile
from quota.calendar import ZONE
from quota.directory import Pool
from quota.errors import N_, Invalid, NotAllowed, WrongState
from quota.ledger import Holder, Side
from quota.requests import Ask, Line, kinds
from quota.units import NOTHING, Amount, Arch

if TYPE_CHECKING:
    from quota.db import Tx


def review(tx: Tx, case: Case, *, generation: int | None = None, note: str = "") -> Case:
    """The supervisor has looked at the figures and finds that the department should be asked."""
    take_up(tx, case, CaseAct.REVIEW, generation)
    case.reviewed_by, case.reviewed_at = tx.actor.login, tx.now
    move(tx, case, CaseState.REVIEWED, "case.review", days=case.procedure().act_days, reason=note.strip())
    return case


def dismiss(tx: Tx, case: Case, reason: str, *, generation: int | None = None) -> Case:
    """The supervisor finds nothing in it. The resource is left alone for a time that doubles."""
    take_up(tx, case, CaseAct.DISMISS, generation)
    close(tx, case, Ending.DISMISSED, explained(reason, case.procedure().reason_length), "case.dismiss")
    return case


def withdraw(tx: Tx, case: Case, reason: str, *, generation: int | None = None) -> Case:
    """Take the case back before anything was done to the resource."""
    take_up(tx, case, CaseAct.WITHDRAW, generation)
    close(tx, case, Ending.WITHDRAWN, explained(reason, case.procedure().reason_length), "case.withdraw")
    return case


def issue(
    tx: Tx, cases: Sequence[Case], *, generations: Mapping[int, int] | None = None, text: str = ""
) -> list[Notice]:
    """Send the reviewed ``cases`` to their departments: one letter to each, whatever the number of its cases.

    ``generations``: case id → the generation that the page showed. Raises Invalid for no case at all, WrongState where that
    would be more than may be written about in a week.
    """
    if not cases:
        raise Invalid("notice.empty", N_("请至少选择一个案件"), field="cases")
    tx.alone(ceilings.ALONE)
    _within_the_week(tx, letter_room(tx), cases)
    shown = generations or {}
    letters: dict[int, Notice] = {}
    for one in sorted(cases, key=lambda each: each.id):
        send(tx, one, letters, text, generation=shown.get(one.id))
    record(tx, letters.values(), cases)
    return list(letters.values())


def send(tx: Tx, case: Case, letters: dict[int, Notice], text: str, *, generation: int | None = None) -> Notice:
    """Put a reviewed case into the letter to its department: that of ``letters`` (department id → letter), or a new one, which
    is entered there. Who sends looks to the week's room and to ``record``."""
    take_up(tx, case, CaseAct.ISSUE, generation)
    tx.actor.must_sign()
    letter = letters.get(case.department_id)
    if letter is None:
        procedure = case.procedure()
        letter = notices.write(tx, case.department_id, text, procedure.reply_days, procedure.reminder_days)
        letters[case.department_id] = letter
    case.notice_id, case.notice = letter.id, letter
    move(tx, case, CaseState.NOTICED, "case.issue", days=letter.reply_days, notice=letter.number)
    return letter


def record(tx: Tx, letters: Iterable[Notice], cases: Sequence[Case]) -> None:
    """Write down of each letter which of ``cases`` it now tells of."""
    for letter in letters:
        told = [one.number for one in cases if one.notice_id == letter.id]
        if told:
            tx.audit("notice.issue", f"notice:{letter.id}", after={"department": letter.department_id, "cases": told})


def letter_room(tx: Tx, *, prepared: bool = False) -> LetterRoom:
    """How many machines departments were asked about this week, and how many more they may be. ``prepared``: with those whose
    letter is being prepared. Who goes by it is alone with ``ceilings.ALONE``."""
    room = LetterRoom(ceilings.now(tx))
    if not room.ceilings.any():
        return room
    asked = or_(Case.consent.is_(None), Case.consent != Consent.STANDING.value)  # the others were told, not asked
    sent = (
        select(Case.department_id, func.count())
        .join(Notice, Notice.id == Case.notice_id)
        .where(Notice.issued_at >= ceilings.week_of(tx.now), asked)
        .group_by(Case.department_id)
    )
    waiting = select(Case.department_id, func.count()).where(_unsent()).group_by(Case.department_id)
    for query in (sent, waiting) if prepared else (sent,):
        for department_id, count in tx.execute(query):
            room.sent += count
            room.by_department[department_id] = room.by_department.get(department_id, 0) + count
    return room


def prepared(tx: Tx) -> list[tuple[int, int]]:
    """(case id, department id) of every case whose letter is not sent yet, in the order in which they should be: reviewed
    ones first, then what recovers most, then the oldest."""
    rows = tx.execute(
        select(Case.id, Case.department_id)
        .where(_unsent())
        .order_by(Case.state.desc(), Case.worth.desc(), Case.opened_at, Case.id)
    )
    return [(row.id, row.department_id) for row in rows]


def turns(tx: Tx) -> dict[int, date]:
    """Case id → the Monday of the week in which its turn probably is, of those whose letter finds no room in this one."""
    room = letter_room(tx)
    if not room.ceilings.any():
        return {}
    line = prepared(tx)
    weeks = room.weeks(department_id for _case_id, department_id in line)
    return {case_id: ceilings.turn(tx.now, n) for (case_id, _department), n in zip(line, weeks, strict=True) if n}


def _unsent() -> ColumnElement[bool]:
    return Case.state.in_([CaseState.DETECTED.value, CaseState.REVIEWED.value])


def _within_the_week(tx: Tx, room: LetterRoom, cases: Sequence[Case]) -> None:
    """Raises WrongState where letters about all of ``cases`` would be more than the week still admits."""
    for asked, one in enumerate(cases):
        if (full := room.full(one.department_id)) is not None:
            day = ceilings.turn(tx.now, 1)
            if full == "letters":
                raise WrongState(
                    "notice.week_full",
                    N_("本周还可通知 %(left)s 件(全市每周上限 %(most)s 件),其余 %(day)s 起再发"),
                    left=asked,
                    most=room.ceilings.city,
                    day=day.isoformat(),
                )
            raise WrongState(
                "notice.department_week_full",
                N_("%(department)s本周的通知已满(每周上限 %(most)s 件),其余 %(day)s 起再发"),
                department=one.department.name,
                most=room.ceilings.of(one.department_id),
                day=day.isoformat(),
            )
        room.take(one.department_id)


def reply(
    tx: Tx,
    case: Case,
    answer: Answer,
    *,
    generation: int | None = None,
    reason: str = "",
    evidence: str = "",
    files: Sequence[StagedFile] = (),
    category: Category | None = None,
    until: date | None = None,
    last_peak: str = "",
) -> Case:
    """The department answers: it agrees, objects (with a reason), or asks to be exempted until a day.

    Heard until the time is over, and after silence as long as nothing was done. An expansion that is agreed to is made
    at once on the fast track; with ``until`` it is temporary and returns by itself after that day. One that is too large
    for either becomes a draft request in the department's name, and the case ends.
    """
    take_up(tx, case, CaseAct.REPLY, generation)
    if not may_answer(case):
        raise WrongState(
            "case.state",
            N_("案件 %(number)s 处于“%(state)s”,不能这样做"),
            number=case.number,
            state=STATE_LABELS[CaseState(case.state)],
        )
    procedure = case.procedure()
    if answer is Answer.OBJECT and case.takes:
        explained(reason, procedure.reason_length)
    term = until if answer is Answer.AGREE and not case.takes else None
    if term is not None:
        _checked_term(tx, term, procedure.temporary_days)
    if answer is Answer.EXEMPT:
        if not case.takes or category is None:
            raise Invalid("reply.category", N_("请选择豁免的类别"), field="category")
        exemptions.checked(tx, case.resource, category, reason, until, procedure, last_peak)
    handed_in = attachments.attach(tx, case.subject, files)
    row = Reply(
        case_id=case.id,
        answer=answer.value,
        reason=reason.strip(),
        evidence=evidence.strip(),
        attachments=[str(each.id) for each in handed_in],
        category=category.value if answer is Answer.EXEMPT and category else None,
        until=until if answer is Answer.EXEMPT else term,
        last_peak=last_peak.strip() if answer is Answer.EXEMPT else "",
        by=tx.actor.login,
        at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.expire(case, ["replies"])
    told: dict[str, Any] = {
        "answer": answer,
        "reply": row.id,
        "evidence": row.evidence,
        "files": [each.told() for each in handed_in],
        "category": row.category,
        "until": row.until,
    }
    if answer is Answer.AGREE:
        _agreed(tx, case, row, term, told)
    elif not case.takes:
        close(tx, case, Ending.DECLINED, row.reason or N_("使用单位认为不需要扩容"), "case.reply")
    else:
        case.matter = (Matter.OBJECTION if answer is Answer.OBJECT else Matter.EXEMPTION).value
        case.consent = None
        move(tx, case, CaseState.DISPUTED, "case.reply", days=procedure.ruling_days, reason=row.reason, **told)
    return case


def _agreed(tx: Tx, case: Case, row: Reply, term: date | None, told: dict[str, Any]) -> None:
    """The department agrees: the case is cleared, or, where an expansion is too large for that, becomes a request."""
    case.matter, case.consent = None, Consent.AGREED.value
    days = case.procedure().act_days
    if case.kind == CaseKind.EXPAND and fast(tx, case, temporary=term is not None):
        case.ends_on = term
        move(tx, case, CaseState.CLEARED, "case.reply", days=days, reason=row.reason, **told)
    elif case.kind == CaseKind.EXPAND:
        _draft(tx, case, term)
        close(tx, case, Ending.REQUESTED, N_("增幅超出快速通道,已代拟扩容申请,请核对后提交"), "case.reply")
    elif case.state == CaseState.CLEARED:
        tx.audit("case.reply", case.subject, after=told, reason=row.reason)
        case.generation += 1
    else:
        move(tx, case, CaseState.CLEARED, "case.reply", days=days, reason=row.reason, **told)


def rule(
    tx: Tx,
    case: Case,
    decision: RulingDecision,
    reason: str,
    *,
    generation: int | None = None,
    category: Category | None = None,
    until: date | None = None,
    last_peak: str = "",
    files: Sequence[StagedFile] = (),
) -> Case:
    """Decide on an objection, a plea for exemption, or silence. NotAllowed for who reviewed the case or signed its notice.

    An exemption takes its terms from the department's plea where none are given.
    """
    take_up(tx, case, CaseAct.RULE, generation)
    tx.actor.must_sign()
    if tx.actor.login == issuer(case):
        raise NotAllowed("case.same_person", N_("通知由您签发,须由其他人裁定"))
    if tx.actor.login == case.reviewed_by:
        raise NotAllowed("case.same_person", N_("案件由您审核,须由其他人裁定"))
    procedure = case.procedure()
    explained(reason, procedure.reason_length)
    handed_in = attachments.attach(tx, case.subject, files)
    row = Ruling(
        case_id=case.id,
        matter=case.matter,
        decision=decision.value,
        reason=reason.strip(),
        attachments=[str(each.id) for each in handed_in],
        by=tx.actor.login,
        role=tx.actor.role.value,
        at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.expire(case, ["rulings"])
    if decision is RulingDecision.PROCEED:
        case.consent = Consent.RULING.value
        move(
            tx,
            case,
            CaseState.CLEARED,
            "case.rule",
            days=procedure.act_days,
            reason=row.reason,
            ruling=row.id,
            matter=row.matter,
            decision=decision,
            files=[each.told() for each in handed_in],
        )
    elif decision is RulingDecision.UPHOLD:
        close(tx, case, Ending.UPHELD, row.reason, "case.rule")
    else:
        _exempted(tx, case, row, category, until, last_peak)
    return case


def _exempted(tx: Tx, case: Case, row: Ruling, category: Category | None, until: date | None, last_peak: str) -> None:
    """The ruling exempts the resource, on its own terms or those of the department's plea."""
    plea = next((each for each in reversed(case.replies) if each.category), None)
    if category is None and plea is not None:
        category = Category(str(plea.category))
        until, last_peak = until or plea.until, last_peak or plea.last_peak
    if category is None:
        raise Invalid("reply.category", N_("请选择豁免的类别"), field="category")
    exemptions.grant(
        tx,
        case.resource,
        category,
        row.reason,
        until,
        case.procedure(),
        last_peak=last_peak,
        asked_by=plea.by if plea else "",
        case_id=case.id,
    )
    close(tx, case, Ending.EXEMPTED, row.reason, "case.rule")


def fast(tx: Tx, case: Case, *, temporary: bool = False) -> bool:
    """Whether an expansion may take the fast track: small growth (for a term also larger), within what the department
    was already granted."""
    target, procedure = case.will_have(), case.procedure()
    if target is None or growth(case.had(), target) > (
        procedure.temporary_growth if temporary else procedure.fast_growth
    ):
        return False
    return affordable(tx, case.pool, case.department_id, more(case.had(), target))


def affordable(tx: Tx, pool: Pool, department_id: int, needs: Amount) -> bool:
    """Whether a department was granted as much more than it uses in a pool."""
    return all(
        ledger.balance(tx, Side(pool.id, cls, Holder.GRANTED, department_id)) >= figure
        for cls, figure in needs.of_arch(Arch(pool.arch)).items()
    )


def _checked_term(tx: Tx, until: date, days: int) -> None:
    today = tx.now.astimezone(ZONE).date()
    if until <= today:
        raise Invalid("reply.term", N_("临时扩容须到今天以后的某一天"), field="until")
    if until > today + timedelta(days=days):
        raise Invalid("reply.term_long", N_("临时扩容最长%(days)s天"), days=days, field="until")


def _draft(tx: Tx, case: Case, until: date | None = None) -> None:
    """A request for the target, in the department's name, for it to look over and submit."""
    target = case.will_have() or NOTHING
    ask = Ask(
        kinds.RESIZE,
        case.department_id,
        case.pool_id,
        lines=[Line(current=case.resource.counts(), asked=target, service=case.resource.kind, name=case.resource.name)],
        justification=N_("运营监督管家按监测数据建议扩容，依据见案件 %(number)s") % {"number": case.number},
        system_id=case.system_id,
        resource_id=case.resource_id,
        use_until=until,
        key=f"{case.subject}:request",
    )
    case.request_id = requests.draft(tx, ask).id
