"""满意度调查: a questionnaire with items of its own, put to every department about each company that serves it.

    drafted ─(a second signature)▶ enacted ─(its first day)▶ open ─(its last day is over)▶ closed

Who is asked about whom is laid down when it opens: whoever has something in a company's pools. A department may change its answer
until the last day; then what came of it is summed once, a row a company, and is evidence of its satisfaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    String,
    Text,
    UniqueConstraint,
    false,
    select,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.assessment.ratings import STARS
from quota import signed
from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import CloudProvider, Department, Pool, departments
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState
from quota.inventory import Resource
from quota.signed import TwiceSigned

if TYPE_CHECKING:
    from quota.db import Tx

MOST_ITEMS, LONGEST_DAYS, LONGEST_ITEM, MOST_WEIGHT = 60, 366, 200, 1000
SCALES = range(2, 11)


@dataclass(frozen=True, slots=True)
class SurveyItem:
    """One question, what it weighs among the others, and how it reads in English (empty: as in Chinese)."""

    text: str
    weight: int
    text_en: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "weight": self.weight, "text_en": self.text_en}


class Survey(TwiceSigned, Base):
    """A questionnaire. ``items`` as ``SurveyItem.to_json`` writes them; each is answered with 1 to ``scale``."""

    __tablename__ = "surveys"
    __table_args__ = (
        CheckConstraint("scale BETWEEN 2 AND 10", name="scale"),
        CheckConstraint("ends_on >= starts_on", name="days"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    scale: Mapped[int]
    items: Mapped[list[Any]]
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    begun_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]

    @property
    def subject(self) -> str:
        return f"survey:{self.id}"

    @property
    def state(self) -> str:
        """drafted, withdrawn, enacted, open or closed."""
        if self.closed_at is not None:
            return "closed"
        return "open" if self.begun_at is not None else self.standing

    @property
    def asks(self) -> list[SurveyItem]:
        return [SurveyItem(**one) for one in self.items]


class SurveyAnswer(Base):
    """What one department is asked about one company, and how it answered: ``scores`` item by item, None: not yet."""

    __tablename__ = "survey_answers"
    __table_args__ = (UniqueConstraint("survey_id", "department_id", "provider_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    survey_id: Mapped[int] = mapped_column(ForeignKey("surveys.id"))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    scores: Mapped[list[Any] | None]
    word: Mapped[str] = mapped_column(Text, default="")
    by: Mapped[str] = mapped_column(String(64), default="")
    at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=1, server_default=text("1"))

    survey: Mapped[Survey] = relationship()
    department: Mapped[Department] = relationship()
    provider: Mapped[CloudProvider] = relationship()


class SurveyResult(Base):
    """What came of a survey for one company: how many were asked, how many answered, and the sum of each item's scores."""

    __tablename__ = "survey_results"
    __table_args__ = (UniqueConstraint("survey_id", "provider_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    survey_id: Mapped[int] = mapped_column(ForeignKey("surveys.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    asked: Mapped[int]
    answered: Mapped[int]
    sums: Mapped[list[Any]]
    at: Mapped[datetime]

    survey: Mapped[Survey] = relationship()
    provider: Mapped[CloudProvider] = relationship()

    @property
    def means(self) -> list[Decimal]:
        """Of each item; none where nobody answered."""
        return [Decimal(total) / self.answered for total in self.sums] if self.answered else []

    @property
    def stars(self) -> Decimal | None:
        """All items by their weights, from 1 to 5 whatever the scale."""
        return stars(self.survey.asks, self.survey.scale, self.means) if self.answered else None


append_only(SurveyResult.__table__)  # type: ignore[arg-type]


def stars(items: Sequence[SurveyItem], scale: int, means: Sequence[Decimal]) -> Decimal:
    """The weighted mean of ``means`` on a scale of ``scale`` points, as 1 to 5 stars, to four places."""
    weight = sum(item.weight for item in items)
    mean = sum((item.weight * one for item, one in zip(items, means, strict=True)), Decimal(0)) / weight
    return (1 + (mean - 1) * (max(STARS) - 1) / (scale - 1)).quantize(Decimal("0.0001"))


def items_of(text: str) -> list[SurveyItem]:
    """Items as people write them or paste them from a sheet: a line each, 题目 | 权重 | English, by bars or tabs. Raises Invalid naming
    the line."""
    found: list[SurveyItem] = []
    for line, written in enumerate(text.splitlines(), 1):
        if not written.strip():
            continue
        cells = [cell.strip() for cell in written.replace("｜", "|").replace("\t", "|").split("|")]
        where = {"line": line, "field": "items"}
        if not cells[0] or len(cells) not in (2, 3):
            raise Invalid("survey.line", N_("第 %(line)s 行应为“题目 | 权重 | 英文题目”，英文可不填"), **where)
        if not (cells[1].isascii() and cells[1].isdigit() and len(cells[1]) <= 4 and 1 <= int(cells[1]) <= MOST_WEIGHT):
            raise Invalid(
                "survey.weight", N_("第 %(line)s 行的权重应为 1 至 %(most)s 的整数"), most=MOST_WEIGHT, **where
            )
        if max(map(len, cells)) > LONGEST_ITEM:
            raise Invalid("survey.long", N_("第 %(line)s 行的题目超过 %(most)s 字"), most=LONGEST_ITEM, **where)
        if cells[0] in {one.text for one in found}:
            raise Invalid("survey.twice", N_("第 %(line)s 行的题目与前面重复"), **where)
        found.append(SurveyItem(cells[0], int(cells[1]), cells[2] if len(cells) == 3 else ""))
    if not 1 <= len(found) <= MOST_ITEMS:
        raise Invalid("survey.items", N_("题目须有 1 至 %(most)s 道"), most=MOST_ITEMS, field="items")
    return found


def survey(tx: Tx, survey_id: int) -> Survey:
    """The survey, or NotFound: who is neither steward nor of the authority knows of those alone that were put to people."""
    found = tx.scalar(select(Survey).where(Survey.id == survey_id, visible(tx.actor)))
    if found is None:
        raise NotFound("survey.none", N_("没有编号为 %(id)s 的满意度调查"), id=survey_id)
    return found


def visible(actor: Actor) -> ColumnElement[bool]:
    """Surveys that ``actor`` may know of."""
    return Survey.begun_at.is_not(None) if actor.role in (Role.TENANT, Role.PROVIDER) else true()


def answers_seen(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Answers that ``actor`` may see: a department its own and those of what lies below it, a company none: it is told sums."""
    if actor.role is Role.TENANT:
        return SurveyAnswer.department_id.in_(departments.subtree(tx, actor.department_id or 0))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR) else false()


def results_seen(actor: Actor) -> ColumnElement[bool]:
    """Results that ``actor`` may see: a company its own, departments none."""
    if actor.role is Role.PROVIDER:
        return SurveyResult.provider_id == actor.provider_id
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR) else false()


# --------------------------------------------------------------------------------------------------------------- verbs


def draft(
    tx: Tx, name: str, items: Sequence[SurveyItem], scale: int, *, starts_on: date, ends_on: date, reason: str
) -> Survey:
    """Propose a survey. The authority's; who drafts has signed. Raises Invalid for days that make no sense and for what is missing."""
    said, name = signed.drafted(tx, reason), name.strip()
    if not 1 <= len(name) <= 128:
        raise Invalid("survey.name", N_("请填写名称，不超过 128 字"), field="name")
    if scale not in SCALES:
        raise Invalid("survey.scale", N_("分值须为 2 至 10 级"), field="scale")
    if not 1 <= len(items) <= MOST_ITEMS:
        raise Invalid("survey.items", N_("题目须有 1 至 %(most)s 道"), most=MOST_ITEMS, field="items")
    _not_past(tx, starts_on)
    if not 0 <= (ends_on - starts_on).days < LONGEST_DAYS:
        raise Invalid("survey.days", N_("截止日须不早于开始日，且不超过一年"), field="ends_on")
    row = Survey(
        name=name, scale=scale, items=[one.to_json() for one in items], starts_on=starts_on, ends_on=ends_on, **said
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    after = {"name": name, "items": row.items, "scale": scale, "starts_on": starts_on, "ends_on": ends_on}
    tx.audit("survey.draft", row.subject, after=after, reason=row.reason)
    return row


def sign(tx: Tx, survey_id: int) -> Survey:
    """Sign a draft; the second signature enacts it, and opens it where its day has come. By the authority.

    Raises NotAllowed for who signed already, WrongState for what is no draft any more, Invalid where its first day is over.
    """
    row = survey(tx, survey_id)
    if signed.sign(tx, row, "survey"):
        _not_past(tx, row.starts_on)
        tx.audit("survey.enact", row.subject, after={"starts_on": row.starts_on, "ends_on": row.ends_on})
        _open(tx, row)
    return row


def withdraw(tx: Tx, survey_id: int) -> Survey:
    """Give a draft up."""
    row = survey(tx, survey_id)
    signed.withdraw(tx, row, "survey")
    return row


def give(tx: Tx, answer_id: int, scores: Sequence[int], word: str = "", *, generation: int) -> SurveyAnswer:
    """A department answers, or answers otherwise, until the last day. Raises NotFound for what it was not asked, Conflict where a
    colleague answered meanwhile, WrongState after the last day, Invalid for an item that is not answered on the scale."""
    tx.actor.must_be(Role.TENANT)
    stale = Conflict("survey.stale", N_("该答卷已由同事提交，请刷新核对后再修改"))
    row = tx.lock_as_shown(asked_of(tx, answer_id), generation, stale)
    if row.survey.state != "open" or _today(tx) > row.survey.ends_on:
        raise WrongState("survey.over", N_("该调查已于 %(on)s 截止"), on=row.survey.ends_on)
    if len(scores) != len(row.survey.items) or not all(1 <= one <= row.survey.scale for one in scores):
        raise Invalid("survey.scores", N_("每道题须评 1 至 %(most)s 分"), most=row.survey.scale)
    before = {"scores": row.scores} if row.scores is not None else None
    row.scores, row.word, row.by, row.at = list(scores), word.strip()[:2000], tx.actor.login, tx.now
    row.generation += 1
    tx.flush()
    after = {"department": row.department_id, "provider": row.provider_id, "scores": row.scores}
    tx.audit("survey.answer", row.survey.subject, before=before, after=after, reason=row.word)
    return row


def advance(tx: Tx) -> tuple[int, int]:
    """Open what is enacted and whose day has come, close what is over: how many were opened and closed. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    waiting = select(Survey).where(Survey.enacted_at.is_not(None), Survey.closed_at.is_(None)).order_by(Survey.id)
    opened = closed = 0
    for row in tx.scalars(waiting.with_for_update()).all():
        opened += _open(tx, row)
        closed += _close(tx, row)
    return opened, closed


def asked_of(tx: Tx, answer_id: int) -> SurveyAnswer:
    """What a department was asked about a company, or NotFound where nobody may see it."""
    found = tx.scalar(select(SurveyAnswer).where(SurveyAnswer.id == answer_id, answers_seen(tx, tx.actor)))
    if found is None:
        raise NotFound("survey.no_answer", N_("没有编号为 %(id)s 的答卷"), id=answer_id)
    return found


def results(tx: Tx, row: Survey) -> list[SurveyResult]:
    """What came of it, as far as the actor may see, by company."""
    query = select(SurveyResult).where(SurveyResult.survey_id == row.id, results_seen(tx.actor))
    return list(tx.scalars(query.order_by(SurveyResult.provider_id)))


# ----------------------------------------------------------------------------------------------------------- mechanism


def _open(tx: Tx, row: Survey) -> bool:
    """Ask whoever has something in a company's pools, where the first day has come; whether it was opened now."""
    if row.begun_at is not None or _today(tx) < row.starts_on:
        return False
    served = (
        select(Resource.department_id, Pool.provider_id)
        .join(Pool, Pool.id == Resource.pool_id)
        .join(Department, Department.id == Resource.department_id)
        .where(Resource.gone_at.is_(None), Department.active)
        .distinct()
        .order_by(Resource.department_id, Pool.provider_id)
    )
    found = [SurveyAnswer(survey_id=row.id, department_id=who, provider_id=whom) for who, whom in tx.execute(served)]
    for one in found:
        tx.add(one)
    row.begun_at = tx.now
    tx.flush()
    tx.audit("survey.open", row.subject, after={"asked": len(found)})
    return True


def _close(tx: Tx, row: Survey) -> bool:
    """Sum what was answered, a row a company, once the last day is over; whether it was closed now."""
    if row.begun_at is None or _today(tx) <= row.ends_on:
        return False
    by_company: dict[int, list[list[int] | None]] = {}
    for answer in tx.scalars(select(SurveyAnswer).where(SurveyAnswer.survey_id == row.id)):
        by_company.setdefault(answer.provider_id, []).append(answer.scores)
    for company, told in sorted(by_company.items()):
        given = [scores for scores in told if scores is not None]
        sums = [sum(scores[place] for scores in given) for place in range(len(row.items))]
        tx.add(
            SurveyResult(
                survey_id=row.id, provider_id=company, asked=len(told), answered=len(given), sums=sums, at=tx.now
            )
        )
    row.closed_at = tx.now
    tx.flush()
    tx.audit("survey.close", row.subject, after={"companies": len(by_company)})
    return True


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()


def _not_past(tx: Tx, day: date) -> None:
    if day < _today(tx):
        raise Invalid("survey.past", N_("调查不能从过去的日期开始"), field="starts_on")
