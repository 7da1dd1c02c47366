"""Scorecards on record: each with its formula and every evidence row, so that anybody can compute it again.

A card is never edited: other evidence or another formula makes the next revision. What was published stays published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    and_,
    cast,
    false,
    func,
    insert,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.orm import Mapped, aliased, joinedload, mapped_column, relationship

from providers.assessment import bundles, periods, whose
from providers.assessment.formula import Formula, Grade, from_json, to_json
from providers.assessment.measures import EvidenceRow
from providers.assessment.scorecard import Evidence, Mark, Scorecard, figures, score, seal
from providers.assessment.subjects import SUBJECT_LABELS, CardSubject, SubjectType, company
from providers.assessment.whose import OfSubject
from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.directory import System, subtree
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState
from quota.inspection import going_on, rows
from quota.seals import fingerprint, plain
from quota.spans import WHOLE, NumberSpan

if TYPE_CHECKING:
    from quota.db import Tx

POINTS = Numeric(10, 2)


STEWARDS_OWN = text("provider_id IS NULL AND department_id IS NULL AND system_id IS NULL")


class ScorecardRecord(OfSubject, Base):
    """One subject's card for one period: ``month`` holds a month (2026-10) or a quarter (2026-Q4). ``digest`` seals
    formula, evidence and marks; ``revision`` counts from 1, ``reason`` says why there is a further one."""

    __tablename__ = "scorecards"
    __table_args__ = (
        UniqueConstraint("provider_id", "month", "revision"),
        UniqueConstraint("department_id", "month", "revision"),
        UniqueConstraint("system_id", "month", "revision"),
        Index("uq_scorecards_steward", "month", "revision", unique=True, sqlite_where=STEWARDS_OWN,
              postgresql_where=STEWARDS_OWN),
        whose.one_at_most(),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(String(7), index=True)
    revision: Mapped[int]
    formula_version: Mapped[str] = mapped_column(String(64))
    formula: Mapped[dict[str, Any]]
    scored_weight: Mapped[Decimal] = mapped_column(POINTS)
    total: Mapped[Decimal | None] = mapped_column(POINTS)
    grade: Mapped[str | None] = mapped_column(String(12))
    veto: Mapped[list[str]] = mapped_column(default=list)  # refs of the rows that fail the company by themselves
    digest: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text, default="")
    computed_at: Mapped[datetime]
    computed_by: Mapped[str] = mapped_column(String(64), default="")
    published: Mapped[bool] = mapped_column(default=False)
    published_at: Mapped[datetime | None]
    published_by: Mapped[str | None] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(default=1)

    marks: Mapped[list[ScorecardMark]] = relationship(back_populates="scorecard", order_by="ScorecardMark.id")

    @property
    def rated(self) -> bool:
        """Whether enough of its formula's weight had evidence for a total, a grade and a payment share."""
        return self.total is not None


class ScorecardMark(Base):
    """One indicator of a card, as ``providers.assessment.scorecard.Mark``; ``figure``, ``deduction``, ``mark`` empty: not scored."""

    __tablename__ = "scorecard_marks"
    __table_args__ = (UniqueConstraint("scorecard_id", "indicator"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scorecard_id: Mapped[int] = mapped_column(ForeignKey("scorecards.id"))
    indicator: Mapped[str] = mapped_column(String(16))
    weight: Mapped[Decimal] = mapped_column(POINTS)
    share: Mapped[Decimal] = mapped_column(POINTS)
    figure: Mapped[Decimal | None] = mapped_column(Numeric(14, 6))
    deduction: Mapped[Decimal | None] = mapped_column(POINTS)
    mark: Mapped[Decimal | None] = mapped_column(POINTS)
    reason: Mapped[str] = mapped_column(Text)
    params: Mapped[dict[str, Any]]
    evidence_rows: Mapped[int]

    scorecard: Mapped[ScorecardRecord] = relationship(back_populates="marks")

    @property
    def scored(self) -> bool:
        return self.mark is not None


class ScorecardEvidence(Base):
    """One row that a mark rests on, with its facts as they were when the card was computed."""

    __tablename__ = "scorecard_evidence"
    __table_args__ = (Index("ix_scorecard_evidence_where", "scorecard_id", "indicator", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scorecard_id: Mapped[int] = mapped_column(ForeignKey("scorecards.id"))
    indicator: Mapped[str] = mapped_column(String(16))
    position: Mapped[int]
    ref: Mapped[str] = mapped_column(String(192))
    facts: Mapped[dict[str, Any]]


append_only(ScorecardMark.__table__)  # type: ignore[arg-type]
append_only(ScorecardEvidence.__table__)  # type: ignore[arg-type]


def keep(
    tx: Tx, subject: CardSubject, period: str, evidence: Evidence, formula: Formula, *, reason: str = ""
) -> ScorecardRecord:
    """Score and record a month or a quarter. The same evidence and formula as the latest revision are that revision;
    anything else is the next one, not yet published, with the ``reason`` for it. Raises Invalid for a formula that is for
    another type of subject, NotFound for a subject that is not there."""
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR, Role.AUTHORITY)
    periods.months(period)
    if formula.subject is not subject.type:
        raise Invalid("formula.subject", N_("这个考核公式不适用于%(whom)s"), whom=SUBJECT_LABELS[subject.type])
    whose.hold(tx, subject)
    card = score(evidence, formula)
    digest = seal(formula, evidence, card)
    latest = of(tx, subject, period)
    if latest is not None and latest.digest == digest:
        return latest
    record = ScorecardRecord(
        **whose.columns_of(subject),
        month=period,
        revision=latest.revision + 1 if latest is not None else 1,
        formula_version=formula.version,
        formula=to_json(formula),
        scored_weight=card.scored_weight,
        total=card.total,
        grade=card.grade.value if card.grade is not None else None,
        veto=list(card.veto),
        digest=digest,
        reason=reason,
        computed_at=tx.now,
        computed_by=tx.actor.login,
        published=False,
        generation=1,
    )
    tx.add(record)
    tx.flush()
    _keep_marks(tx, record, card)
    _audit(tx, record, _keep_rows(tx, record, evidence))
    return record


def _keep_marks(tx: Tx, record: ScorecardRecord, card: Scorecard) -> None:
    told = [
        {
            "scorecard_id": record.id,
            "indicator": mark.indicator,
            "weight": mark.weight,
            "share": mark.share,
            "figure": mark.figure,
            "deduction": mark.deduction,
            "mark": mark.mark,
            "reason": mark.reason,
            "params": dict(mark.params),
            "evidence_rows": len(mark.refs),
        }
        for mark in card.marks
    ]
    if told:
        tx.execute(insert(ScorecardMark).execution_options(render_nulls=True), told)  # all in one, scored or not


def _keep_rows(tx: Tx, record: ScorecardRecord, evidence: Evidence) -> int:
    """Keep what the card rests on; how many rows that were."""
    kept = [
        {
            "scorecard_id": record.id,
            "indicator": indicator,
            "position": position,
            "ref": row.ref,
            "facts": plain(row.facts),
        }
        for indicator, found in sorted(evidence.items())
        for position, row in enumerate(found, 1)
    ]
    if kept:
        tx.execute(insert(ScorecardEvidence), kept)
    tx.flush()
    return len(kept)


def _audit(tx: Tx, record: ScorecardRecord, evidence_rows: int) -> None:
    tx.audit(
        "scorecard.compute",
        f"scorecard:{record.id}",
        after={
            **whose.told(record.subject),
            "month": record.month,
            "revision": record.revision,
            "formula": record.formula_version,
            "total": record.total,
            "grade": record.grade,
            "evidence": evidence_rows,
            "digest": record.digest,
        },
        reason=record.reason,
    )


def publish(tx: Tx, scorecard_id: int, generation: int) -> ScorecardRecord:
    """The authority publishes the latest revision of a month's card. Raises WrongState where a newer one exists, and where
    not one indicator had evidence: there is nothing to publish."""
    tx.actor.must_be(Role.AUTHORITY)
    record = tx.lock_as_shown(
        scorecard(tx, scorecard_id), generation, Conflict("scorecard.stale", N_("这份评分已被更新,请刷新后再操作"))
    )
    latest = of(tx, record.subject, record.month)
    if record.published or (latest is not None and latest.id != record.id):
        raise WrongState("scorecard.not_latest", N_("只能公示最新且尚未公示的评分"))
    if not record.scored_weight and not record.veto:
        raise WrongState("scorecard.no_evidence", N_("这份评分没有一项指标有依据,不能公示"))
    record.published, record.published_at, record.published_by = True, tx.now, tx.actor.login
    record.generation += 1
    tx.flush()
    tx.audit("scorecard.publish", f"scorecard:{record.id}", before={"published": False}, after={"published": True})
    return record


# ------------------------------------------------------------------------------------------------------------- reading


def scorecard(tx: Tx, scorecard_id: int) -> ScorecardRecord:
    """The card, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(ScorecardRecord).where(ScorecardRecord.id == scorecard_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("scorecard.none", N_("没有编号为 %(id)s 的评分"), id=scorecard_id)
    return found


def of(tx: Tx, subject: CardSubject, period: str) -> ScorecardRecord | None:
    """The latest revision of a subject's card for a period."""
    return tx.scalar(
        select(ScorecardRecord)
        .where(whose.about(ScorecardRecord, subject), ScorecardRecord.month == period)
        .order_by(ScorecardRecord.revision.desc())
        .limit(1)
    )


def current(tx: Tx, provider_id: int, month: str) -> ScorecardRecord | None:
    """The latest revision of a company's card for a month."""
    return of(tx, company(provider_id), month)


def published(tx: Tx, periods_: Sequence[str]) -> set[tuple[CardSubject, str]]:
    """(subject, period) of which the newest card is published."""
    columns = (ScorecardRecord.provider_id, ScorecardRecord.department_id, ScorecardRecord.system_id)
    latest: dict[tuple[CardSubject, str], bool] = {}
    for *ids, period, shown in tx.execute(
        select(*columns, ScorecardRecord.month, ScorecardRecord.published)
        .where(ScorecardRecord.month.in_(periods_))
        .order_by(ScorecardRecord.revision)
    ):
        latest[whose.subject_of(*ids), period] = shown
    return {one for one, shown in latest.items() if shown}


def newest(kind: SubjectType, *, published: bool = False) -> ColumnElement[bool]:
    """Cards of one type of subject of which there is no later revision; ``published``: of those that were published."""
    later = aliased(ScorecardRecord)
    if kind is SubjectType.STEWARD:
        same = whose.of_type(later, kind)
    else:
        same = getattr(later, whose.COLUMNS[kind]) == getattr(ScorecardRecord, whose.COLUMNS[kind])
    beyond = and_(same, later.month == ScorecardRecord.month, later.revision > ScorecardRecord.revision)
    mine = whose.of_type(ScorecardRecord, kind)
    if published:
        beyond, mine = and_(beyond, later.published), and_(mine, ScorecardRecord.published)
    return and_(mine, ~select(later.id).where(beyond).exists())


def ranks(tx: Tx, kind: SubjectType, period: str, *, published: bool = False) -> dict[int, int]:
    """Card → its place among those of one type and period that have a total, the highest first; equals share a place."""
    place = func.rank().over(order_by=ScorecardRecord.total.desc())
    query = select(ScorecardRecord.id, place).where(
        newest(kind, published=published), ScorecardRecord.month == period, ScorecardRecord.total.is_not(None)
    )
    return dict(tx.execute(query).all())


def waiting(kind: SubjectType) -> ColumnElement[bool]:
    """The newest cards of one type of subject that may be published and were not yet."""
    founded = or_(ScorecardRecord.scored_weight != 0, cast(ScorecardRecord.veto, String) != "[]")
    return and_(newest(kind), ScorecardRecord.published.is_(False), founded)


def unpublished(tx: Tx, kind: SubjectType, period: str) -> list[ScorecardRecord]:
    """The newest cards of one type and period that may be published and were not yet, with whom they are about."""
    named = (ScorecardRecord.provider, ScorecardRecord.department, ScorecardRecord.system)
    return list(
        tx.scalars(
            select(ScorecardRecord)
            .where(waiting(kind), ScorecardRecord.month == period)
            .options(*map(joinedload, named))
            .order_by(ScorecardRecord.id)
        )
    )


def publish_all(tx: Tx, kind: SubjectType, period: str, shown: str) -> int:
    """The authority publishes together what ``unpublished`` names; how many that were. ``shown``: the ``fingerprint`` of the
    digests that the page showed. Raises Conflict where they are others by now, WrongState where there is none."""
    tx.actor.must_be(Role.AUTHORITY)
    found = unpublished(tx, kind, period)
    if not found:
        raise WrongState("scorecard.none_waiting", N_("%(period)s 没有可以公示的评分"), period=period)
    if shown != shown_as(found):
        raise Conflict("scorecard.stale", N_("这份评分已被更新,请刷新后再操作"))
    for one in found:
        publish(tx, one.id, one.generation)
    return len(found)


def shown_as(found: Iterable[ScorecardRecord]) -> str:
    """By what it is known whether a page showed these very cards."""
    return fingerprint({"cards": [one.digest for one in found]})


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Cards that ``actor`` may see with all that they rest on: a company its own, a department its own and those of what lies
    under it and of their systems, the steward, the authority and the auditor all. Published, those of companies are seen by
    departments, and the steward's own by everybody: its marks and counts, of its rows each reader those that they may see."""
    stewards = and_(whose.of_type(ScorecardRecord, SubjectType.STEWARD), ScorecardRecord.published)
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        return or_(ScorecardRecord.provider_id == actor.provider_id, stewards)
    if actor.role is Role.TENANT:
        shown = or_(and_(ScorecardRecord.provider_id.is_not(None), ScorecardRecord.published), stewards)
        if actor.department_id is None:
            return shown
        own = subtree(tx, actor.department_id)
        systems = select(System.id).where(System.department_id.in_(own))
        return or_(shown, ScorecardRecord.department_id.in_(own), ScorecardRecord.system_id.in_(systems))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def evidence_of(tx: Tx, record: ScorecardRecord, indicator: str | None = None) -> list[ScorecardEvidence]:
    """The rows that a card, or one of its marks, rests on."""
    query = select(ScorecardEvidence).where(ScorecardEvidence.scorecard_id == record.id)
    if indicator is not None:
        query = query.where(ScorecardEvidence.indicator == indicator)
    return list(tx.scalars(query.order_by(ScorecardEvidence.indicator, ScorecardEvidence.position)))


def recompute(tx: Tx, record: ScorecardRecord) -> Scorecard:
    """The card again, from the formula and the rows on record."""
    return score(rows_of(tx, record), formula_of(record))


def formula_of(record: ScorecardRecord) -> Formula:
    """The formula that a card was scored by."""
    return from_json(record.formula)


def bundled(tx: Tx, record: ScorecardRecord) -> bytes:
    """The card as a file that proves itself without the book (``bundles``)."""
    head = {
        "id": record.id, **_named(record), "period": record.month,
        "revision": record.revision, "formula": record.formula_version, "digest": record.digest,
        "computed_at": record.computed_at.isoformat(), "computed_by": record.computed_by, "reason": record.reason,
        "published_at": record.published_at and record.published_at.isoformat(), "published_by": record.published_by,
    }  # fmt: skip
    evidence, formula = rows_of(tx, record), formula_of(record)
    return bundles.bundle(head, formula, evidence, kept(record))


def _named(record: ScorecardRecord) -> dict[str, str]:
    if record.provider is not None:
        return {"provider": record.provider.code, "provider_name": record.provider.name}
    return {"subject": record.subject.type.value, "subject_code": record.whose_code, "subject_name": record.whose}


def kept(record: ScorecardRecord) -> Scorecard:
    """The card as it is kept, whatever its rows give. The rows behind a mark are told by ``rows_of`` alone."""
    return Scorecard(
        record.formula_version,
        tuple(
            Mark(one.indicator, one.weight, one.share, one.figure, one.deduction, one.mark, one.reason, one.params, ())
            for one in record.marks
        ),
        record.scored_weight,
        record.total,
        None if record.grade is None else Grade(record.grade),
        tuple(record.veto),
    )


def check(tx: Tx, span: NumberSpan = WHOLE) -> Iterator[str]:
    """Recompute every card, or those of these numbers; yield a sentence for each that its own rows do not give, naming it."""
    said: list[str] = []
    query = select(ScorecardRecord).where(*span.of(ScorecardRecord.id)).order_by(ScorecardRecord.id)
    for record in rows(tx, query, said):
        with going_on(said, "scorecards", record.id):
            yield from _faults(tx, record)
    yield from said


def _faults(tx: Tx, record: ScorecardRecord) -> Iterator[str]:
    evidence = rows_of(tx, record)
    try:
        formula = from_json(record.formula)
        card = score(evidence, formula)
    except Invalid as refused:
        yield f"scorecards: row {record.id} can't be scored again: {refused.params['why']} is unknown or missing here"
        return
    if seal(formula, evidence, card) != record.digest:
        yield f"scorecards: row {record.id} does not match its seal: formula or evidence was changed"
    if (record.scored_weight, record.total, record.grade, record.veto) != (
        card.scored_weight, card.total, card.grade, list(card.veto),
    ):  # fmt: skip
        yield f"scorecards: row {record.id} says {record.total} ({record.grade}), its evidence says otherwise"
    kept = {mark.indicator: mark for mark in record.marks}
    for mark in card.marks:
        stored = kept.pop(mark.indicator, None)
        if stored is None or figures(stored) != figures(mark):
            yield f"scorecard_marks: {mark.indicator} of scorecard {record.id} is not what its evidence gives"
    for name in kept:
        yield f"scorecard_marks: {name} of scorecard {record.id} is not in its formula"


@dataclass(frozen=True, slots=True)
class CardChanges:
    """What a revision changed against the one before it. ``marks``: indicator → mark before and after (None: not
    scored); ``added`` and ``gone``: refs of evidence; ``altered``: refs whose facts are told otherwise."""

    total: tuple[Decimal | None, Decimal | None]
    formula: tuple[str, str]
    marks: Mapping[str, tuple[Decimal | None, Decimal | None]]
    added: Sequence[str]
    gone: Sequence[str]
    altered: Sequence[str]


def changes(tx: Tx, record: ScorecardRecord) -> CardChanges | None:
    """What ``record`` changed against the revision before it; None for the first."""
    earlier = tx.scalar(
        select(ScorecardRecord).where(
            whose.about(ScorecardRecord, record.subject),
            ScorecardRecord.month == record.month,
            ScorecardRecord.revision == record.revision - 1,
        )
    )
    if earlier is None:
        return None
    was = {(row.indicator, row.ref): plain(row.facts) for row in evidence_of(tx, earlier)}
    now = {(row.indicator, row.ref): plain(row.facts) for row in evidence_of(tx, record)}
    old = {mark.indicator: mark.mark for mark in earlier.marks}
    new = {mark.indicator: mark.mark for mark in record.marks}
    return CardChanges(
        (earlier.total, record.total),
        (earlier.formula_version, record.formula_version),
        {
            name: (old.get(name), new.get(name))
            for name in [*new, *(name for name in old if name not in new)]
            if old.get(name) != new.get(name)
        },
        sorted({ref for _, ref in now.keys() - was.keys()}),
        sorted({ref for _, ref in was.keys() - now.keys()}),
        sorted({key[1] for key in was.keys() & now.keys() if was[key] != now[key]}),
    )


def agrees(tx: Tx, record: ScorecardRecord) -> list[str]:
    """Compute the card again from its own rows; a sentence for everything that does not agree. Empty: it agrees."""
    return list(_faults(tx, record))


def rows_of(tx: Tx, record: ScorecardRecord) -> dict[str, list[EvidenceRow]]:
    """The rows of a card as they were scored, by indicator."""
    found: dict[str, list[EvidenceRow]] = {}
    for row in evidence_of(tx, record):
        found.setdefault(row.indicator, []).append(EvidenceRow(row.ref, row.facts))
    return found
