"""What the steward records of whom it assesses where no other row of the book speaks of it: drills, backups, security events,
certificates, the year-end review, what people score, and what fails somebody by itself (一票否决). Of the steward the authority does.

A record is kept for good. A wrong one is withdrawn by a further record that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, select
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from providers.assessment import formulas, periods, registry, whose
from providers.assessment.formula import CriterionRole as CriterionRole
from providers.assessment.registry import FieldType, RecordField, RecordKind
from providers.assessment.subjects import SUBJECT_LABELS, CardSubject, SubjectType, company
from providers.assessment.whose import OfSubject
from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx


YEAR_END = RecordKind(
    "year_end",
    N_("年终评审"),
    (RecordField("points", N_("评审得分"), FieldType.POINTS, help=N_("年终评审填写，0 至 100")),),
)
TALK = RecordKind(
    "talk",
    N_("约谈与警示"),
    (
        RecordField(
            "manner", N_("方式"), FieldType.CHOICE, help=N_("约谈与警示填写"), missing=N_("请选择方式"),
            choices={
                "reminder": N_("提醒函"), "talk": N_("约谈"), "warning": N_("书面警告"), "notice": N_("通报"),
            },
        ),
    ),
)  # fmt: skip
"""What was said to somebody for how they did; it costs no marks by itself."""
BY_HAND = RecordKind(
    "by_hand",
    N_("人工评分"),
    (
        RecordField("label", N_("评分项")),
        RecordField("period", N_("期间")),
        RecordField("points", N_("得分"), FieldType.POINTS),
    ),
)
"""What a formula has people score; ``item`` beside these is its code."""

WITHDRAWAL = RecordKind("withdrawal", N_("撤销记录"))


def kinds() -> list[RecordKind]:
    """What may be recorded: for the indicators in their order, and beside them."""
    return [*registry.record_kinds(), TALK, YEAR_END]


def _kept_of(told: RecordKind, subject: CardSubject) -> bool:
    """Whether such records are kept of ``subject``: a talk of anybody, the year-end review of companies, the others of whom
    their indicator is for."""
    known = registry.indicator_of(told.code)
    if known is not None:
        return subject.type in known.subjects
    return told is TALK or subject.type is SubjectType.COMPANY


def kind(code: str) -> RecordKind:
    """The kind of a record on file; one without words of its own where its indicator is not registered (any more)."""
    known = next((told for told in (*kinds(), BY_HAND, WITHDRAWAL) if told.code == code), None)
    return known or RecordKind(code, code)


class AssessmentRecord(OfSubject, Base):
    """One thing that was recorded of one subject. ``figures``: what its kind needs; ``happened_on`` decides its month;
    ``withdraws``: the record that it takes back."""

    __tablename__ = "assessment_records"
    __table_args__ = (
        Index("ix_assessment_records_provider_id_happened_on", "provider_id", "happened_on"),
        Index("ix_assessment_records_department_id_happened_on", "department_id", "happened_on"),
        Index("ix_assessment_records_system_id_happened_on", "system_id", "happened_on"),
        Index("ix_assessment_records_happened_on_id", "happened_on", "id"),
        whose.one_at_most(),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    happened_on: Mapped[date]
    valid_until: Mapped[date | None]
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)
    note: Mapped[str] = mapped_column(Text)
    withdraws: Mapped[int | None] = mapped_column(ForeignKey("assessment_records.id"), unique=True)
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str] = mapped_column(String(64))

    withdrawal: Mapped[AssessmentRecord | None] = relationship(
        primaryjoin="AssessmentRecord.id == foreign(remote(AssessmentRecord.withdraws))", uselist=False, viewonly=True
    )
    """The record that takes this one back."""

    @property
    def label(self) -> str:
        """What its kind is called."""
        return kind(self.kind).label


append_only(AssessmentRecord.__table__)  # type: ignore[arg-type]


def enter(
    tx: Tx,
    subject: CardSubject,
    code: str,
    happened_on: date,
    note: str,
    *,
    figures: Mapping[str, Any] | None = None,
    valid_until: date | None = None,
) -> AssessmentRecord:
    """Record something of the kind ``code``. Raises Invalid naming the field that is missing or makes no sense."""
    tx.actor.must_be(recorder(subject))
    whose.hold(tx, subject)
    told = next((known for known in kinds() if known.code == code), None)
    if told is None:
        raise Invalid("record.kind", N_("请选择记录类型"), field="kind")
    if not _kept_of(told, subject):
        raise Invalid("record.not_of", N_("这类记录不适用于%(whom)s"), whom=SUBJECT_LABELS[subject.type], field="kind")
    if happened_on > tx.now.astimezone(ZONE).date():
        raise Invalid("record.future", N_("日期不能晚于今天"), field="happened_on")
    stated(note, "note", code="record.note", message=N_("请写明依据(文号、报告、日志)"))
    kept = _figures(told, figures or {})
    ends = any(field.type is FieldType.UNTIL for field in told.fields)
    if ends and valid_until is None:
        raise Invalid("record.until", N_("请填写有效期至"), field="valid_until")
    if valid_until is not None and valid_until < happened_on:
        raise Invalid("record.until", N_("有效期不能早于发证日期"), field="valid_until")
    return _keep(tx, subject, code, happened_on, note, kept, valid_until if ends else None)


def score_by_hand(
    tx: Tx, subject: CardSubject, period: str, item: str, points: Decimal | None, note: str
) -> AssessmentRecord:
    """Score what the formula in force has people score, with the reason and by whom; or state what fails by itself (without
    ``points``). Counts in ``period``, once; a wrong one is withdrawn first.

    Raises Invalid for an item that the period's formula does not have, or points beyond its bound; WrongState before the
    period has begun or while one stands.
    """
    tx.actor.must_be(recorder(subject))
    whose.hold(tx, subject)  # one at a time
    by = formulas.in_force_of(tx, subject, period)
    if periods.bounds(period)[0] > tx.now:
        raise WrongState("period.future", N_("%(period)s 还没有开始"), period=period, field="period")
    stated(note, "note", code="record.note", message=N_("请写明依据(文号、报告、日志)"))
    criterion = by.criterion(item)
    figures: dict[str, Any] = {"item": item, "period": period, "label": by.label(item)}
    if criterion is not None and criterion.by_hand:
        if points is None or not 0 <= points <= criterion.weight:
            raise Invalid("record.by_hand", N_("请填写 0 至 %(most)s 分"), most=criterion.weight, field="points")
        figures["points"] = str(points)
    elif not (by.vetoes or {}).get(item):
        raise Invalid("record.item", N_("本期考核公式没有这个人工评分项"), field="item")
    weighed = criterion is not None and criterion.role is CriterionRole.WEIGHED
    if weighed and any(
        (one.figures["item"], one.figures["period"]) == (item, period) for one in standing(tx, subject, BY_HAND.code)
    ):
        raise WrongState("record.scored", N_("这一项本期已经评分,有误请先撤销"))
    day = min(tx.now.astimezone(ZONE).date(), periods.last_day(period, tx.now))
    return _keep(tx, subject, BY_HAND.code, day, note, figures, None)


def withdraw(tx: Tx, record_id: int, note: str) -> AssessmentRecord:
    """Take a record back, with a reason; once."""
    found = record(tx, record_id)
    tx.actor.must_be(recorder(found.subject))
    if found.kind == WITHDRAWAL.code or found.withdrawal is not None:
        raise WrongState("record.withdrawn", N_("这条记录已经撤销"))
    stated(note, "note")
    return _keep(tx, found.subject, WITHDRAWAL.code, tx.now.astimezone(ZONE).date(), note, {}, None, found.id)


def record(tx: Tx, record_id: int) -> AssessmentRecord:
    """The record, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(AssessmentRecord).where(AssessmentRecord.id == record_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("record.none", N_("没有编号为 %(id)s 的考核记录"), id=record_id)
    return found


def standing(tx: Tx, subject: CardSubject, *codes: str) -> list[AssessmentRecord]:
    """A subject's records of the kinds ``codes`` that were not withdrawn, oldest first."""
    taken_back = aliased(AssessmentRecord)
    return list(
        tx.scalars(
            select(AssessmentRecord)
            .where(
                whose.about(AssessmentRecord, subject),
                AssessmentRecord.kind.in_(codes),
                ~select(taken_back.id).where(taken_back.withdraws == AssessmentRecord.id).exists(),
            )
            .order_by(AssessmentRecord.happened_on, AssessmentRecord.id)
        )
    )


def year_end(tx: Tx, provider_id: int, year: int) -> Decimal | None:
    """Points of the year-end review of ``year``: the latest that stands; None where there is none."""
    found = [record for record in standing(tx, company(provider_id), YEAR_END.code) if record.happened_on.year == year]
    return Decimal(str(found[-1].figures["points"])) if found else None


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A company and a department their own, the steward, the authority and the auditor all."""
    return whose.seen_by(tx, AssessmentRecord, actor)


def recorder(subject: CardSubject) -> Role:
    """Who records of ``subject``: the supervisor, and of itself the authority."""
    return Role.AUTHORITY if subject.type is SubjectType.STEWARD else Role.SUPERVISOR


def _figures(told: RecordKind, given: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        field.name: _FIGURE_OF[field.type](field, given.get(field.name))
        for field in told.fields
        if field.type is not FieldType.UNTIL
    }
    if told.check is not None:
        told.check(kept)
    return kept


def _count(field: RecordField, value: Any) -> int:
    if value is None or not 0 <= int(value) <= 10**9:
        raise Invalid("record.count", N_("请填写不小于 0 的整数"), field=field.name)
    return int(value)


def _yes(_field: RecordField, value: Any) -> bool:
    return bool(value)


def _choice(field: RecordField, value: Any) -> str:
    if value not in field.choices:
        raise Invalid(f"record.{field.name}", field.missing, field=field.name)
    return str(value)


def _points(field: RecordField, value: Any) -> str:
    if value is None or not 0 <= value <= 100:
        raise Invalid("record.points", N_("请填写 0 至 100 分"), field=field.name)
    return str(value)


_FIGURE_OF: Mapping[FieldType, Callable[[RecordField, Any], Any]] = {
    FieldType.COUNT: _count, FieldType.YES: _yes, FieldType.CHOICE: _choice, FieldType.POINTS: _points,
}  # fmt: skip


def _keep(
    tx: Tx,
    subject: CardSubject,
    code: str,
    happened_on: date,
    note: str,
    figures: dict[str, Any],
    valid_until: date | None,
    withdraws: int | None = None,
) -> AssessmentRecord:
    record = AssessmentRecord(
        **whose.columns_of(subject), kind=code, happened_on=happened_on, valid_until=valid_until, figures=figures,
        note=note.strip()[:4000], withdraws=withdraws, recorded_at=tx.now, recorded_by=tx.actor.login,
    )  # fmt: skip
    tx.add(record)
    tx.flush()
    tx.audit(
        "record.withdraw" if withdraws else "record.enter", f"record:{record.id}",
        after={**whose.told(subject), "kind": code, "on": happened_on, "until": valid_until, "figures": figures,
               "withdraws": withdraws}, reason=record.note,
    )  # fmt: skip
    return record
